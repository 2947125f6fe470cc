//! The experiment: what is compared, who gets what, and when somebody has won.
//!
//! Cast: [`plan`] (how many recipients a question needs), [`design`] (the plan as sealed), [`assign`] (seeded and reproducible), [`redraw`] (the same repeated),
//! [`decide`] (the sealed rule applied to counts), [`watch`] (the anytime-valid test), [`replay`] (the same, written down and gone on with),
//! [`evenness`] (did something befall one arm only?),
//! [`simulate`] (whether the promises hold, with [`enumerate`]).
//!
//! It sees pseudonyms and strata, never who the subjects are; it keeps nothing and knows no clock.

pub mod assign;
pub mod decide;
pub mod design;
pub mod enumerate;
pub mod evenness;
pub mod plan;
pub mod redraw;
pub mod replay;
pub mod simulate;
pub mod watch;
