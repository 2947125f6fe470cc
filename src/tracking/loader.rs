//! From the spool into the ledger: in order, in large batches, exactly once; then the segment is deleted.
//!
//! Cast: [`Loader`], [`LoadError`], [`Damage`] (what could not be read).
//!
//! The position in the spool is stored in the same transaction as the hits, and a hit's id is stored once: whatever is tried again adds
//! nothing. A ledger that is away is nothing special: hits wait on the disk. A recipient's hits keep the order of writing, never that of
//! clocks; recipients of one batch come in the order of their pseudonyms, because rows that lie together are written together.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::intake::{Intake, Shared};
use super::segment::{self, FIRST_FRAME, Found, Reader};
use super::slot;
use crate::db::{DbError, LedgerDb};
use crate::ids::Mint;
use crate::ledger::event::{Event, Whose};
use crate::ledger::store::{self, Counter, Position};
use crate::ledger::{filing, projection};

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
/// Turns of the loader that a few events wait to be filed under their recipients: 5 seconds when nothing comes. As many as are filed at
/// once wait for the end of a burst only, and for that ten times as many turns at most.
const UNFILED: u32 = 10;
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

/// What was found damaged since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Last groups that a crash tore; they were never acknowledged.
    pub torn: u64,
    /// Places in segments that could not be read; the rest was loaded and the segment set aside.
    pub damaged: u64,
    /// Segments that could not be read at all; set aside.
    pub unreadable: u64,
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
    torn: AtomicU64,
    damaged: AtomicU64,
    unreadable: AtomicU64,
    /// Whether it counts what it stores.
    counts: bool,
}

/// A batch, read but not stored.
struct Batch {
    events: Vec<Event>,
    /// Where reading goes on.
    next: Position,
    /// Segments read to their end, to be deleted; with why they are set aside instead.
    ended: Vec<(u64, Option<&'static str>)>,
}

/// A folder to load from, and how far.
struct Source<'a> {
    folder: &'a Path,
    id: &'a str,
    /// The segment being written and where it ends for now; none for a dead process's folder.
    live: Option<(u64, u64)>,
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
            torn: AtomicU64::default(),
            damaged: AtomicU64::default(),
            unreadable: AtomicU64::default(),
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
        Ok(self.load_orphans()? + self.load_own(usize::MAX)?)
    }

    /// Loads until told to stop, then once more.
    pub fn run(&self, is_over: impl Fn() -> bool) {
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!("the loader of hits runs at full priority: {error}");
        }
        let (mut looks, mut wait, mut unfiled) = (0_u32, GATHER, 0);
        while !is_over() {
            self.shared.wait_for_hits(LOOK);
            let is_burst = self.let_gather(&is_over);
            let most = if is_burst { 1 } else { usize::MAX };
            let orphans = if looks.is_multiple_of(ORPHANS_EVERY) { self.load_orphans() } else { Ok(0) };
            looks = looks.wrapping_add(1);
            match orphans.and_then(|_| self.load_own(most)).and_then(|loaded| self.file(&mut unfiled, is_burst, loaded)) {
                Ok(loaded) => {
                    if wait > GATHER {
                        tracing::info!("hits are loaded into the ledger again");
                        wait = GATHER;
                    }
                    if loaded > 0 && self.waiting() > 0 {
                        self.shared.ring();
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

    /// Files events under their recipients, once they are many or have waited for long; `turns` counts how long. Hands on what it is told.
    fn file(&self, turns: &mut u32, is_burst: bool, loaded: usize) -> Result<usize, LoadError> {
        let waiting = if self.counts { filing::waiting(&self.ledger)? } else { 0 };
        *turns = if waiting == 0 { 0 } else { turns.saturating_add(1) };
        let is_due = if is_burst { *turns >= 10 * UNFILED } else { *turns >= UNFILED || waiting >= filing::MOST };
        if is_due {
            filing::file(&self.ledger)?;
            *turns = 0;
        }
        Ok(loaded)
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
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Damage { torn: read(&self.torn), damaged: read(&self.damaged), unreadable: read(&self.unreadable) }
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
            let (numbers, set_aside, _) = segment::list(&folder).map_err(fault)?;
            aside += set_aside;
            for number in numbers.into_iter().filter(|number| *number >= position.segment) {
                hits += match glance(&folder, number, position) {
                    // Loaded and deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    counted => counted.map_err(fault)?,
                };
            }
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
            let position = self.known(&id);
            let (numbers, _, _) = segment::list(&folder).map_err(fault)?;
            for number in numbers.into_iter().filter(|number| *number >= position.segment) {
                hits += match glance(&folder, number, position) {
                    // Loaded and deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    counted => counted.map_err(fault)?,
                };
            }
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
        let mut loaded = 0;
        for slot in slot::orphans(&self.root, self.mint).map_err(|source| self.spool(&self.root, source))? {
            loaded += self.load_from(&Source { folder: &slot.folder, id: &slot.id, live: None }, usize::MAX)?;
            // Nobody needs to wait for a process that ended, now that its hits are in.
            if self.ledger.read(|conn| store::is_there(conn, &slot.id))? {
                self.ledger.write(|conn| store::note_gone(conn, &slot.id))?;
            }
        }
        Ok(loaded)
    }

    fn load_from(&self, source: &Source<'_>, most: usize) -> Result<usize, LoadError> {
        let fault = |error| self.spool(source.folder, error);
        let mut loaded = 0;
        for _ in 0..most {
            let position = self.ledger.read(|conn| store::spool_position(conn, source.id))?;
            self.remember(source.id, position);
            let mut batch = self.read(source, position).map_err(fault)?;
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
                self.put_away(source, number, why).map_err(fault)?;
            }
        }
        Ok(loaded)
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

    /// Reads about a batch from a position on, over the ends of segments.
    fn read(&self, source: &Source<'_>, from: Position) -> io::Result<Batch> {
        let (numbers, _, highest) = segment::list(source.folder)?;
        let mut batch = Batch { events: Vec::new(), next: from, ended: Vec::new() };
        for number in numbers {
            let is_live = source.live.is_some_and(|(live, _)| number >= live);
            let end = match source.live {
                Some((live, place)) if number == live => place,
                // Made ahead, empty yet.
                Some((live, _)) if number > live => continue,
                _ => u64::MAX,
            };
            if number < from.segment {
                // Loaded long ago; the process ended before it was deleted. The highest stays as a bare head.
                let is_bare = || std::fs::metadata(segment::path(source.folder, number)).map(|file| file.len() <= FIRST_FRAME);
                if number != highest || !is_bare()? {
                    batch.ended.push((number, None));
                }
                continue;
            }
            let start = if number == from.segment { from.place.max(FIRST_FRAME) } else { FIRST_FRAME };
            if start >= end {
                continue;
            }
            let Some(reader) = self.open(source.folder, number)? else {
                self.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(segment = %segment::path(source.folder, number).display(), "a segment of the spool cannot be read and is set aside");
                batch.ended.push((number, Some("unreadable")));
                batch.next = Position { segment: number + 1, place: FIRST_FRAME, damaged: false };
                continue;
            };
            let is_finished = self.read_segment(&reader, number, start..end, &mut batch)?;
            if !is_finished {
                return Ok(batch);
            }
            if !is_live {
                let is_damaged = from.segment == number && from.damaged || batch.next.damaged;
                batch.ended.push((number, is_damaged.then_some("damaged")));
                batch.next = Position { segment: number + 1, place: FIRST_FRAME, damaged: false };
            }
        }
        Ok(batch)
    }

    /// Reads frames until the batch is full (`false`) or the segment ends (`true`).
    fn read_segment(&self, reader: &Reader, number: u64, places: std::ops::Range<u64>, batch: &mut Batch) -> io::Result<bool> {
        let damaged = batch.next.segment == number && batch.next.damaged;
        batch.next = Position { segment: number, place: places.start, damaged };
        while batch.next.place < places.end {
            match reader.at(batch.next.place)? {
                Found::Frame(events, next) => {
                    batch.events.extend(events);
                    batch.next.place = next;
                }
                Found::End => return Ok(true),
                Found::Damage(Some(next)) => {
                    self.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        segment = number,
                        place = batch.next.place,
                        "hits in the spool are damaged; what comes after them is loaded"
                    );
                    batch.next.place = next;
                    batch.next.damaged = true;
                }
                Found::Damage(None) => {
                    self.torn.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        segment = number,
                        place = batch.next.place,
                        "the last group of a segment is torn; it was never acknowledged"
                    );
                    return Ok(true);
                }
            }
            if batch.events.len() >= BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// None for what is no segment, and for what the disk does not give back.
    fn open(&self, folder: &Path, number: u64) -> io::Result<Option<Reader>> {
        match Reader::open(folder, number) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => Ok(None),
            opened => opened,
        }
    }

    fn put_away(&self, source: &Source<'_>, number: u64, why: Option<&'static str>) -> io::Result<()> {
        if let Some(why) = why {
            return segment::set_aside(source.folder, number, why);
        }
        let (_, _, highest) = segment::list(source.folder)?;
        if number == highest {
            // The highest number must stay known: the next segment gets a higher one. Its hits need not.
            return std::fs::File::options().write(true).open(segment::path(source.folder, number))?.set_len(FIRST_FRAME);
        }
        std::fs::remove_file(segment::path(source.folder, number))
    }
}

fn glance(folder: &Path, number: u64, position: Position) -> io::Result<u64> {
    let Some(reader) = Reader::open(folder, number)? else { return Ok(0) };
    let mut place = if number == position.segment { position.place.max(FIRST_FRAME) } else { FIRST_FRAME };
    let mut hits = 0;
    while let Some((count, next)) = reader.glance(place)? {
        hits += count;
        place = next;
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use super::super::intake::{Writer, start_with};
    use super::super::record::RECORD;
    use super::super::record::tests::click;
    use super::super::segment::FRAME_HEAD;
    use super::*;
    use crate::db::Location;

    const MINT: Mint = || [7; 16];
    const ONE_HIT: u64 = (FRAME_HEAD + RECORD) as u64;

    struct Bench {
        _folder: tempfile::TempDir,
        root: PathBuf,
        ledger: LedgerDb,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = LedgerDb::open(&Location::Sqlite(folder.path().join("ledger.db"))).unwrap();
            Self { root: folder.path().join("spool"), ledger, _folder: folder }
        }

        /// A process with segments that hold `hits` single hits.
        fn start(&self, hits: u64) -> (Intake, Writer, Loader) {
            let (intake, writer) = start_with(self.root.clone(), MINT, FIRST_FRAME + hits * ONE_HIT).unwrap();
            let loader = Loader::new(self.ledger.clone(), self.root.clone(), MINT, &intake);
            (intake, writer, loader)
        }

        fn stored(&self) -> Vec<Event> {
            self.ledger.read(|conn| store::events_after(conn, 0, 10_000)).unwrap().0
        }
    }

    /// Hands hits over one group each.
    fn submit(intake: &Intake, hits: std::ops::Range<u8>) {
        for hit in hits {
            intake.submit(&click(hit)).unwrap();
            intake.settle(Duration::from_secs(60));
        }
    }

    fn clicks(hits: std::ops::Range<u8>) -> Vec<Event> {
        hits.map(click).collect()
    }

    #[test]
    fn hits_are_loaded_once_in_order_and_their_segments_deleted() {
        let bench = Bench::new();
        let (intake, writer, loader) = bench.start(3);
        submit(&intake, 0..8);
        assert_eq!(loader.backlog().unwrap(), (8, 0));
        assert_eq!(loader.load().unwrap(), 8);
        assert_eq!((loader.load().unwrap(), loader.waiting()), (0, 0));
        submit(&intake, 8..10);
        assert!((2 * ONE_HIT..4 * ONE_HIT + FIRST_FRAME).contains(&loader.waiting()), "{} bytes", loader.waiting());
        assert_eq!(loader.load().unwrap(), 2);
        assert_eq!((bench.stored(), loader.backlog().unwrap()), (clicks(0..10), (0, 0)));
        let (numbers, _, _) = segment::list(&bench.root.join("1")).unwrap();
        assert!(numbers.len() <= 2, "the live one, and one made ahead: {numbers:?}");
        assert_eq!(loader.damage(), Damage::default());
        drop(intake);
        writer.join();
    }

    #[test]
    fn recipients_of_a_batch_are_stored_one_after_the_other_and_the_hits_of_each_in_their_order() {
        let bench = Bench::new();
        let (intake, writer, loader) = bench.start(100);
        let whose = |hit: u8| Event { whose: click(hit % 3).whose, ..click(hit) };
        for hit in 0..12 {
            intake.submit(&whose(hit)).unwrap();
        }
        intake.settle(Duration::from_secs(60));
        assert_eq!((loader.load().unwrap(), loader.waiting()), (12, 0));
        let expected: Vec<Event> = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11].map(whose).to_vec();
        assert_eq!(bench.stored(), expected);
        drop(intake);
        writer.join();
    }

    #[test]
    fn events_are_filed_once_they_have_waited_for_long_and_only_where_they_are_counted() {
        let bench = Bench::new();
        let (intake, writer, loader) = bench.start(100);
        submit(&intake, 0..5);
        loader.load().unwrap();
        let left = || filing::waiting(&bench.ledger).unwrap();
        let mut turns = 0;
        assert_eq!((loader.file(&mut turns, false, 7).unwrap(), turns, left()), (7, 1, 5), "not at once");
        let tracking = Loader::new(bench.ledger.clone(), bench.root.clone(), MINT, &intake).without_counting();
        let mut many = UNFILED;
        assert_eq!((tracking.file(&mut many, false, 0).unwrap(), many, left()), (0, 0, 5), "a tracking node has no right to");
        turns = UNFILED;
        assert_eq!((loader.file(&mut turns, true, 0).unwrap(), turns, left()), (0, UNFILED + 1, 5), "not in a burst");
        assert_eq!((loader.file(&mut turns, false, 0).unwrap(), turns, left()), (0, 0, 0));
        assert_eq!((loader.file(&mut turns, false, 0).unwrap(), turns), (0, 0), "nothing to file");
        submit(&intake, 5..6);
        loader.load().unwrap();
        turns = 10 * UNFILED;
        assert_eq!((loader.file(&mut turns, true, 0).unwrap(), left()), (0, 0), "but in one without end");
        drop(intake);
        writer.join();
    }

    #[test]
    fn a_dead_processs_hits_are_loaded_by_the_next_and_numbers_go_on() {
        let bench = Bench::new();
        for round in 0..4_u8 {
            let (intake, writer, loader) = bench.start(100);
            submit(&intake, round * 5..round * 5 + 5);
            drop(intake);
            writer.join();
            drop(loader);
            // Nothing was loaded by the process itself in even rounds' next start; the last round is loaded twice over.
            let (intake, writer, loader) = bench.start(100);
            loader.load().unwrap();
            loader.load().unwrap();
            assert_eq!(loader.backlog().unwrap(), (0, 0));
            drop(intake);
            writer.join();
        }
        assert_eq!(bench.stored(), clicks(0..20));
    }

    #[test]
    fn a_load_that_was_cut_off_before_the_segment_was_deleted_adds_nothing_when_repeated() {
        let bench = Bench::new();
        let (intake, writer, loader) = bench.start(2);
        submit(&intake, 0..5);
        let kept: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(bench.root.join("1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        loader.load().unwrap();
        drop(intake);
        writer.join();
        for (path, bytes) in kept {
            std::fs::write(path, bytes).unwrap();
        }
        let (_, _, again) = bench.start(2);
        assert_eq!(again.load().unwrap(), 0, "the position is known");
        bench
            .ledger
            .write(|conn| store::set_spool_position(conn, &slot::id_of(&bench.root.join("1")).unwrap(), Position::default()))
            .unwrap();
        assert_eq!(again.load().unwrap(), 0, "and so are the hits");
        assert_eq!(bench.stored(), clicks(0..5));
    }

    #[test]
    fn damage_costs_its_own_group_and_is_counted_and_set_aside() {
        let bench = Bench::new();
        let (intake, writer, loader) = bench.start(4);
        submit(&intake, 0..12);
        drop(intake);
        writer.join();
        drop(loader);
        let folder = bench.root.join("1");
        let spoil = |number: u64, place: u64, bytes: &[u8]| {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::options().write(true).open(segment::path(&folder, number)).unwrap();
            file.write_all_at(bytes, place).unwrap();
        };
        // A hit in the middle of the first segment, the head of the second, the last group of the third.
        spoil(1, FIRST_FRAME + ONE_HIT + 40, b"spoilt");
        spoil(2, 0, b"spoilt");
        spoil(3, FIRST_FRAME + 3 * ONE_HIT + 40, b"spoilt");
        let (_, _, loader) = bench.start(4);
        loader.load().unwrap();
        let expected: Vec<Event> = [0, 2, 3, 8, 9, 10].into_iter().map(click).collect();
        assert_eq!(bench.stored(), expected);
        assert_eq!(loader.damage(), Damage { torn: 1, damaged: 1, unreadable: 1 });
        assert_eq!(loader.backlog().unwrap(), (0, 2));
        let (intake, writer, loader) = bench.start(4);
        submit(&intake, 20..21);
        assert_eq!(loader.load().unwrap(), 1, "what comes after it is loaded as always");
        drop(intake);
        writer.join();
    }

    #[test]
    fn a_clock_that_steps_backward_changes_nothing() {
        let bench = Bench::new();
        let (intake, writer, loader) = bench.start(2);
        for hit in 0..6_u8 {
            let mut event = click(hit);
            event.at = jiff::Timestamp::from_second(1_000_000_000 - i64::from(hit) * 86_400).unwrap();
            intake.submit(&event).unwrap();
            intake.settle(Duration::from_secs(60));
        }
        assert_eq!(loader.load().unwrap(), 6);
        assert!(bench.stored().is_sorted_by(|one, next| one.at > next.at));
        drop(intake);
        writer.join();
    }
}
