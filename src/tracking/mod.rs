//! Tracking: a hit → a durable event.
//!
//! Cast: [`hit`] (is the token ours, may it be recorded, what does it mean), [`targets`] (where links lead, held in memory),
//! [`snapshot`] (the same in a file, for a start without a database), [`intake`] (one writer that makes hits durable in the spool, in groups),
//! [`gate`] (where workers wait for it), [`loader`] (from the spool to the ledger), [`Tracker`] (all together, shared by every worker).
//!
//! One path, always the same: hit → spool (segments of checksummed groups of records, one folder per process: `segment`, `record`, `slot`) →
//! acknowledged → loaded into the ledger → segment deleted. With the database there or away, SQLite or PostgreSQL.
//!
//! It opens the ledger only. Addresses and user agents stop in `signal::client`; nothing here could write one.

pub mod gate;
pub mod hit;
pub mod intake;
pub mod loader;
mod record;
mod segment;
mod slot;
pub mod snapshot;
pub mod targets;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::signal::NetworkTable;
use crate::token::Keys;

/// Everything that answers pixels and links.
pub struct Tracker {
    /// The operator's keys.
    pub keys: Keys,
    /// Where links lead, what is recorded, who withdrew.
    pub targets: targets::Targets,
    /// Makes hits durable.
    pub intake: intake::Intake,
    /// Moves them to the ledger.
    pub loader: loader::Loader,
    /// Whose networks are whose.
    pub networks: NetworkTable,
    /// What was answered without being stored.
    pub counts: Counts,
}

/// Hits answered without being stored, since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    refused: AtomicU64,
    unrecorded: AtomicU64,
}

impl Counts {
    /// A token that is not ours.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A hit that may not be recorded.
    pub fn unrecorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
    }

    /// Both numbers, taken out: the caller adds them to the ledger's counters.
    pub fn take(&self) -> (u64, u64) {
        (self.refused.swap(0, Ordering::Relaxed), self.unrecorded.swap(0, Ordering::Relaxed))
    }

    /// Puts numbers back that could not be written.
    pub fn put_back(&self, refused: u64, unrecorded: u64) {
        self.refused.fetch_add(refused, Ordering::Relaxed);
        self.unrecorded.fetch_add(unrecorded, Ordering::Relaxed);
    }
}
