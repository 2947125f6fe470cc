//! Reports: the ledger's counts → a page anybody may see.
//!
//! Cast: [`page`] (the one struct that web page, command line, API and exports share), [`results`] (counts and plan → that struct),
//! [`wording`] (its sentences), [`export`] (as CSV and as a table for a terminal).
//!
//! It never sees a person: counts per arm come in, words and numbers go out.

pub mod export;
pub mod page;
pub mod results;
pub mod wording;
