//! What this process tells the ledger of itself: that it is there, and before which moment every hit it took is loaded. A test at its sealed time
//! waits for that, so that no node's hits are missing from the look.
//!
//! Cast: [`Presence`].
//!
//! It says nothing of loading that it has not seen: first everything handed over is durable, then the position in the ledger has passed where
//! the spool ended then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::intake::{Intake, Live, Shared};
use super::segment::{self, FIRST_FRAME};
use crate::db::{DbError, DbResult, LedgerDb};
use crate::ledger::store::{self, Position};

/// How often it is told.
const EVERY: SignedDuration = SignedDuration::from_secs(10);
/// A hit got its time at most so long before it was handed over.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);
/// How long to wait for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// This process, as others know it.
pub struct Presence {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told_at: Option<Timestamp>,
    /// Once everything up to here is loaded, all hits before this moment are.
    claim: Option<(Timestamp, Live)>,
}

impl Presence {
    /// Of the process whose hits `intake` takes.
    pub fn new(intake: &Intake) -> Self {
        Self { shared: intake.for_loader(), state: Mutex::default() }
    }

    /// The name of its spool; none before there is one.
    pub fn id(&self) -> Option<String> {
        self.shared.live().map(|live| live.id)
    }

    /// Tells, where it is time to, that it is there and what is loaded. Call it twice a second or so; most calls do nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read or written; the next call goes on.
    pub fn tell(&self, ledger: &LedgerDb, intake: &Intake, now: Timestamp) -> DbResult<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = state.told_at.is_none_or(|told| now.duration_since(told).abs() >= EVERY);
        if !is_time && state.claim.is_none() {
            return Ok(());
        }
        if state.claim.is_none() {
            // A disk that is only slow says no word: what is not on it yet is not claimed.
            let last = intake.last();
            intake.settle(PATIENCE);
            let Some(live) = self.shared.live().filter(|_| intake.is_durable(last)) else { return Ok(()) };
            state.claim = Some((now.checked_sub(IN_FLIGHT).unwrap_or(now), live));
        }
        let Some((before, live)) = state.claim.clone() else { return Ok(()) };
        let position = ledger.read(|conn| store::spool_position(conn, &live.id))?;
        let loaded = is_loaded(position, &live).then_some(before);
        if loaded.is_none() && !is_time {
            return Ok(());
        }
        ledger.write(|conn| store::note_alive(conn, &live.id, now, loaded))?;
        state.told_at = Some(now);
        if loaded.is_some() {
            state.claim = None;
        }
        Ok(())
    }

    /// Tells that it has ended with every hit loaded.
    ///
    /// # Errors
    /// When the ledger cannot be written: then it looks like a node that has fallen silent.
    pub fn leave(&self, ledger: &LedgerDb) -> DbResult<()> {
        let Some(live) = self.shared.live() else { return Ok(()) };
        ledger.write(|conn| {
            if is_loaded(store::spool_position(conn, &live.id)?, &live) {
                store::note_gone(conn, &live.id)?;
            }
            Ok::<_, DbError>(())
        })
    }
}

/// Whether everything that was durable then is in the ledger: what cannot be read of the spool is not.
fn is_loaded(position: Position, live: &Live) -> bool {
    if (position.segment, position.place) >= (live.segment, live.place) {
        return true;
    }
    // A segment without hits has nothing to load; those before it are deleted once they are loaded, or cut to their heads.
    let Ok((numbers, _, _)) = segment::list(&live.folder) else { return false };
    let is_bare = |number: u64| std::fs::metadata(segment::path(&live.folder, number)).map_or(true, |file| file.len() <= FIRST_FRAME);
    live.place <= FIRST_FRAME && numbers.into_iter().filter(|number| (position.segment..live.segment).contains(number)).all(is_bare)
}
