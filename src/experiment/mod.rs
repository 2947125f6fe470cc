//! The experiment: what is compared, who gets what, and when somebody has won.
//!
//! Cast: [`design`] (the plan as sealed), [`assign`] (seeded and reproducible), [`decide`] (the sealed rule applied to counts).
//!
//! It sees pseudonyms and strata, never who the subjects are; it keeps nothing and knows no clock.

pub mod assign;
pub mod decide;
pub mod design;
