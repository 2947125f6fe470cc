//! The bridge: the only room with doors to both stores, people and events.
//!
//! Cast: [`launch`] (seal, enrol, release, choose for the rest, close: each may be run again after a crash), [`relay`] (outcomes →
//! ledger), [`withdraw`] (unsubscribing, and taking measurement back).
//!
//! It hands pseudonyms one way only, from the vault to the ledger; it never speaks HTTP and never computes a statistic.

pub mod launch;
pub mod relay;
pub mod withdraw;
