//! From the spool into the ledger: in order, in large batches, exactly once; then the segment is deleted.
//!
//! Cast: [`Loader`], [`LoadError`], [`Damage`] (what could not be read, found by `reading`).
//!
//! The position in the spool is stored in the same transaction as the hits, and a hit's id is stored once: whatever is tried again adds
//! nothing. A ledger that is away is nothing special: hits wait on the disk. A recipient's hits keep the order of writing, never that of
//! clocks; recipients of one batch come in the order of their pseudonyms, because rows that lie together are written together.

mod reading;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::intake::{Intake, Shared};
use super::segment::FIRST_FRAME;
use super::slot::{self, Slot};
use crate::db::{DbError, LedgerDb};
use crate::ids::Mint;
use crate::ledger::event::Whose;
use crate::ledger::store::{self, Counter, Position};
use crate::ledger::{filing, projection};
use reading::{Batch, Reading, Source};

pub use reading::Damage;

/// Hits loaded in one transaction, about: many of them go to the same pages of an index, and each page is written once.
const BATCH: usize = 16_000;
/// The pause before a load, so that a steady trickle is no commit per hit.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes of the spool, about 700 hits, that in one such pause make a burst: it is answered first.
const BURST: u64 = 50_000;
/// Bytes of the spool, about 170,000 hits, that may wait during a burst: an idle machine loads them in about a second.
const PUT_OFF: u64 = 12_000_000;
/// Pauses that hits may wait during a burst, so that who looks at the counts meanwhile sees them grow: 0.9 seconds.
const PUT_OFF_PAUSES: u32 = 18;
/// Steps of counting that the loader lends a hand with when counts have fallen behind, before it loads more.
const CATCH_UP: usize = 4;
/// How long events wait to be filed under their recipients, unless they are as many as are filed at once.
const FILED_AFTER: Duration = Duration::from_secs(5);
/// How long they wait in a burst, however many they are.
const FILED_IN_A_BURST_AFTER: Duration = Duration::from_secs(60);
/// How long to wait for hits before looking for what other processes left behind.
const LOOK: Duration = Duration::from_millis(500);
/// Every how many looks.
const ORPHANS_EVERY: u32 = 60;
/// The longest wait before a failed load is tried again.
const RETRY_MOST: Duration = Duration::from_secs(5);
/// The loader's share of a busy processor is small: answering comes first, hits wait on the disk.
const NICE: i32 = 19;

/// Why hits could not be loaded; they stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The ledger.
    #[error("hits cannot be stored in the ledger yet; they wait in the spool")]
    Ledger(#[from] DbError),
    /// The spool.
    #[error("the spool of hits in {folder} cannot be read or tidied")]
    Spool {
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Moves hits to the ledger.
pub struct Loader {
    ledger: LedgerDb,
    root: PathBuf,
    mint: Mint,
    shared: Arc<Shared>,
    /// One at a time.
    turn: Mutex<()>,
    /// How far each spool was last known to be loaded, for a look without the ledger.
    known: Mutex<HashMap<String, Position>>,
    reading: Reading,
    /// Whether it counts what it stores.
    counts: bool,
}

impl Loader {
    /// A loader for the spool in `root`, whose writer is behind `intake`.
    pub fn new(ledger: LedgerDb, root: PathBuf, mint: Mint, intake: &Intake) -> Self {
        Self {
            ledger,
            root,
            mint,
            shared: intake.for_loader(),
            turn: Mutex::default(),
            known: Mutex::default(),
            reading: Reading::default(),
            counts: true,
        }
    }

    /// A loader that leaves counting to others: a tracking node has no right to read recipients' states.
    pub fn without_counting(self) -> Self {
        Self { counts: false, ..self }
    }

    /// Loads everything that is durable now, dead processes' hits included. Answers how many hits were new.
    ///
    /// # Errors
    /// [`LoadError`]; what was loaded before it stays loaded.
    pub fn load(&self) -> Result<usize, LoadError> {
        let (orphans, own) = (self.load_orphans(), self.load_own(usize::MAX));
        Ok(orphans? + own?)
    }

    /// Loads until told to stop, then once more.
    pub fn run(&self, is_over: impl Fn() -> bool) {
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!("the loader of hits runs at full priority: {error}");
        }
        let (mut looks, mut wait, mut unfiled) = (0_u32, GATHER, None);
        while !is_over() {
            self.shared.wait_for_hits(LOOK);
            let is_burst = self.let_gather(&is_over);
            let most = if is_burst { 1 } else { usize::MAX };
            if looks.is_multiple_of(ORPHANS_EVERY)
                && let Err(error) = self.load_orphans()
            {
                // Its own hits are no worse for what others left behind.
                tracing::error!(error = &error as &dyn std::error::Error, "hits of a process that has ended wait in the spool: {error}");
            }
            looks = looks.wrapping_add(1);
            match self.load_own(most) {
                Ok(loaded) => {
                    if wait > GATHER {
                        tracing::info!("hits are loaded into the ledger again");
                        wait = GATHER;
                    }
                    if loaded > 0 && self.waiting() > 0 {
                        self.shared.ring();
                    }
                    if let Err(error) = self.file(&mut unfiled, is_burst) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "events are not filed under their recipients yet; tried again"
                        );
                    }
                }
                Err(error) => {
                    if wait == GATHER {
                        tracing::error!(error = &error as &dyn std::error::Error, "{error}");
                    }
                    wait = (wait * 2).min(RETRY_MOST);
                    looks = 0;
                    self.pause(wait, &is_over);
                }
            }
        }
        if let Err(error) = self.load() {
            tracing::warn!(error = &error as &dyn std::error::Error, "hits stay in the spool until the next start");
        }
    }

    /// Files events under their recipients, once they are many or have waited for long: `since` tells when they were first seen. Whether
    /// that is done keeps no hit waiting.
    fn file(&self, since: &mut Option<Instant>, is_burst: bool) -> Result<(), DbError> {
        let many = if self.counts { filing::unfiled(&self.ledger)? } else { 0 };
        if many == 0 {
            *since = None;
            return Ok(());
        }
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        let is_full = many >= filing::MOST;
        let is_due = if is_burst { waited >= FILED_IN_A_BURST_AFTER } else { is_full || waited >= FILED_AFTER };
        if is_due {
            filing::file(&self.ledger)?;
            if !is_full {
                *since = None;
            }
        }
        Ok(())
    }

    /// Lets hits gather: for a moment, and in a burst until so many wait or so long that it cannot be put off, or it is over. Answers
    /// whether there is a burst.
    fn let_gather(&self, is_over: &impl Fn() -> bool) -> bool {
        let mut before = self.waiting();
        for _ in 0..PUT_OFF_PAUSES {
            if is_over() {
                return false;
            }
            std::thread::sleep(GATHER);
            let now = self.waiting();
            let is_burst = now.saturating_sub(before) >= BURST;
            if !is_burst || now >= PUT_OFF {
                return is_burst;
            }
            before = now;
        }
        true
    }

    /// Bytes of this process's spool that are durable and not loaded, about.
    fn waiting(&self) -> u64 {
        let Some(live) = self.shared.live() else { return 0 };
        let loaded = self.known(&live.id);
        match live.segment.checked_sub(loaded.segment) {
            // Nothing is known of a spool that was never loaded from: of what it has, only the segment at hand is counted.
            Some(segments) if segments > 0 && loaded.segment > 0 => {
                (segments * self.shared.segment + live.place).saturating_sub(loaded.place)
            }
            Some(0) => live.place.saturating_sub(loaded.place.max(FIRST_FRAME)),
            _ => live.place.saturating_sub(FIRST_FRAME),
        }
    }

    fn known(&self, id: &str) -> Position {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied().unwrap_or_default()
    }

    fn pause(&self, wait: Duration, is_over: &impl Fn() -> bool) {
        let mut left = wait;
        while !left.is_zero() && !is_over() {
            std::thread::sleep(left.min(GATHER));
            left = left.saturating_sub(GATHER);
        }
        self.shared.ring();
    }

    /// What was found damaged since the start.
    pub fn damage(&self) -> Damage {
        self.reading.damage()
    }

    /// Hits on the disk that are not in the ledger, of every process, and segments set aside. Reads heads of groups only.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn backlog(&self) -> Result<(u64, usize), LoadError> {
        let (mut hits, mut aside) = (0, 0);
        for folder in slot::folders(&self.root).map_err(|source| self.spool(&self.root, source))? {
            let fault = |source| self.spool(&folder, source);
            let id = slot::id_of(&folder).map_err(fault)?;
            let position = self.ledger.read(|conn| store::spool_position(conn, &id))?;
            let (left, set_aside) = reading::left(&folder, position).map_err(fault)?;
            hits += left;
            aside += set_aside;
        }
        Ok((hits, aside))
    }

    /// Hits on the disk that are not known to be in the ledger, of every process. Asks no database, so that it answers while the ledger is
    /// away; what others loaded meanwhile is still counted.
    ///
    /// # Errors
    /// [`LoadError::Spool`].
    pub fn depth(&self) -> Result<u64, LoadError> {
        let mut hits = 0;
        for folder in slot::folders(&self.root).map_err(|source| self.spool(&self.root, source))? {
            let fault = |source| self.spool(&folder, source);
            let id = slot::id_of(&folder).map_err(fault)?;
            hits += reading::left(&folder, self.known(&id)).map_err(fault)?.0;
        }
        Ok(hits)
    }

    fn remember(&self, id: &str, position: Position) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), position);
    }

    fn spool(&self, folder: &Path, source: io::Error) -> LoadError {
        LoadError::Spool { folder: folder.to_owned(), source }
    }

    /// Up to `most` batches of this process's own hits.
    fn load_own(&self, most: usize) -> Result<usize, LoadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = self.shared.live() else { return Ok(0) };
        self.load_from(&Source { folder: &live.folder, id: &live.id, live: Some((live.segment, live.place)) }, most)
    }

    fn load_orphans(&self) -> Result<usize, LoadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut loaded, mut fault) = (0, None);
        for slot in slot::orphans(&self.root, self.mint).map_err(|source| self.spool(&self.root, source))? {
            match self.load_orphan(&slot) {
                Ok(hits) => loaded += hits,
                // What the disk does not give back of one says nothing of the others.
                Err(error @ LoadError::Spool { .. }) => fault = fault.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        fault.map_or(Ok(loaded), Err)
    }

    fn load_orphan(&self, slot: &Slot) -> Result<usize, LoadError> {
        let loaded = self.load_from(&Source { folder: &slot.folder, id: &slot.id, live: None }, usize::MAX)?;
        // Nobody needs to wait for a process that ended, now that its hits are in.
        if self.ledger.read(|conn| store::is_there(conn, &slot.id))? {
            self.ledger.write(|conn| store::note_gone(conn, &slot.id))?;
        }
        Ok(loaded)
    }

    fn load_from(&self, source: &Source<'_>, most: usize) -> Result<usize, LoadError> {
        let fault = |error| self.spool(source.folder, error);
        let mut loaded = 0;
        self.mend_position(source)?;
        for _ in 0..most {
            let position = self.ledger.read(|conn| store::spool_position(conn, source.id))?;
            self.remember(source.id, position);
            let mut batch = self.reading.batch(source, position).map_err(fault)?;
            batch.events.sort_by_key(|event| match event.whose {
                Whose::Recipient(pseudonym) => Some(pseudonym),
                Whose::Arm { .. } => None,
            });
            if batch.next == position && batch.ended.is_empty() {
                break;
            }
            self.catch_up()?;
            loaded += self.store(source.id, position, &batch)?;
            self.remember(source.id, batch.next);
            for (number, why) in batch.ended {
                reading::put_away(source, number, why).map_err(fault)?;
            }
        }
        Ok(loaded)
    }

    /// A spool that ends before the position was set back (a machine restored from a snapshot, files deleted) or is another's copy. Read on
    /// from there, its hits would pass for loaded: all of it is loaded again, and what the ledger knows is passed over by its ids.
    fn mend_position(&self, source: &Source<'_>) -> Result<(), LoadError> {
        let position = self.ledger.read(|conn| store::spool_position(conn, source.id))?;
        if reading::ends_before(source, position).map_err(|error| self.spool(source.folder, error))? {
            tracing::error!(
                folder = %source.folder.display(),
                "more of this spool was loaded than it has: was it set back, or copied from another machine? All of it is loaded again"
            );
            self.ledger.write(|conn| store::set_spool_position(conn, source.id, Position::default()))?;
        }
        Ok(())
    }

    /// Counts that have fallen behind would stay so if hits were always faster.
    fn catch_up(&self) -> Result<(), DbError> {
        if !self.counts {
            return Ok(());
        }
        for _ in 0..CATCH_UP {
            if projection::advance(&self.ledger)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Hits, counts and position in one transaction; nothing when somebody else has moved the position meanwhile.
    fn store(&self, id: &str, from: Position, batch: &Batch) -> Result<usize, LoadError> {
        let stored = self.ledger.write(|conn| {
            // Adding nothing makes a withdrawal or another loader wait, or waits for it.
            let before = store::count(conn, Counter::EventSeq, 0)?;
            if store::spool_position(conn, id)? != from {
                return Ok(0);
            }
            let (new, withdrawn) = store::append_hits(conn, &batch.events)?;
            if withdrawn > 0 {
                store::count(conn, Counter::UnrecordedHits, i64::try_from(withdrawn).unwrap_or_default())?;
            }
            store::count(conn, Counter::StoredHits, i64::try_from(new).unwrap_or_default())?;
            store::set_spool_position(conn, id, batch.next)?;
            // Usual: all are new, nothing waits. Otherwise they are counted from what is stored, a little later.
            if self.counts && new > 0 && new == batch.events.len() {
                projection::follow(conn, &batch.events, before)?;
            }
            Ok::<_, DbError>(new)
        });
        Ok(stored?)
    }
}

#[cfg(test)]
mod tests;
