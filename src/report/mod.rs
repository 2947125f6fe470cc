//! Reports: the ledger's counts → a page anybody may see.
//!
//! Cast: [`page`] (the one struct that web page, command line, API and exports share), [`results`] (plan and [`counts`] → that struct,
//! with [`judged`], [`replay`], [`reading`], [`countings`], [`checks`], [`beside`] and [`deviations`] for its parts), [`wording`] (its sentences), [`export`] (as CSV and as a
//! table for a terminal), [`script`] (as a script that computes it again).
//!
//! It never sees a person: counts per arm come in, words and numbers go out.

pub mod beside;
pub mod checks;
pub mod countings;
pub mod counts;
pub mod deviations;
pub mod export;
pub mod judged;
pub mod page;
pub mod reading;
pub mod replay;
pub mod results;
pub mod script;
#[cfg(test)]
mod story_tests;
pub mod wording;
