//! Letterlab: a newsletter in variants that differ in exactly one element, opens, clicks and bounces under pseudonyms, and honest
//! statistics between the variants.
//!
//! *The vault knows who; the ledger knows what happened; only the bridge knows both.*

// floor 0 – pure: no I/O, no clock, no database
pub mod content;
pub mod experiment;
pub mod ids;
pub mod signal;
pub mod stats;
pub mod token;
