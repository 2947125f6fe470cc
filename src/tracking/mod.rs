//! Tracking: a hit → a durable event.
//!
//! Cast: [`hit`] (is the token ours, may it be recorded, what does it mean), [`targets`] (where links lead, held in memory),
//! [`snapshot`] (the same in a file, for a start without a database), [`intake`] (one writer that makes hits durable in the spool, in groups),
//! [`gate`] (where workers wait for it), [`loader`] (from the spool to the ledger), [`presence`] (what others are told of that), [`floods`] (too many
//! hits of one letter), [`counts`] and [`commits`] (live numbers), [`Tracker`] (all together, shared by every worker).
//!
//! One path, always the same: hit → spool (segments of checksummed groups of records, one folder per process: `segment`, `record`, `slot`) →
//! acknowledged → loaded into the ledger → segment deleted. With the database there or away, SQLite or PostgreSQL.
//!
//! It opens the ledger only. Addresses and user agents stop in `signal::client`; nothing here could write one.

pub mod commits;
pub mod counts;
pub mod floods;
pub mod gate;
pub mod hit;
pub mod intake;
pub mod loader;
pub mod presence;
mod record;
mod segment;
mod slot;
pub mod snapshot;
pub mod targets;

use crate::signal::NetworkTable;
use crate::token::Keys;
pub use counts::Counts;

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
    /// Tells others that this process is there, and what of its hits is loaded.
    pub presence: presence::Presence,
    /// Whose networks are whose.
    pub networks: NetworkTable,
    /// Letters with too many hits today.
    pub floods: floods::Floods,
    /// How many came, and what was made of them.
    pub counts: Counts,
}
