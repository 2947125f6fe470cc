//! Takes hits from every worker and makes them durable in groups: one flush for all that gathered meanwhile, one signal for all who wait.
//!
//! Cast: [`Intake`] (the door, shared by every worker), [`Ticket`], [`Recorded`] (what became of a hit), [`Writer`] (the thread behind it).
//!
//! Nothing grows without limit: when too many wait for the disk, a hit is shed, counted and shown; what was taken is never dropped. While
//! the disk refuses, nobody is kept waiting. It never asks a database.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::commits::{Commits, Taken};
use super::record::{RECORD, encode};
use super::segment::{self, FIRST_FRAME, FRAME_HEAD};
use super::slot::{self, Slot};
use crate::ids::Mint;
use crate::ledger::event::Event;

/// Hits waiting for the disk at most; beyond it they are shed.
const WAITING_MOST: usize = 65_536;
/// Bytes of a segment: about 116,000 hits.
const SEGMENT: u64 = 8 * 1024 * 1024;
/// First and longest wait before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often a write is tried again once the process is ending.
const LAST_TRIES: u32 = 5;

/// What became of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// On the disk, whatever happens now.
    Durable,
    /// In the writer's hands; the caller's patience ended first.
    Pending,
    /// Not taken: too many are waiting.
    Shed,
}

/// A hit's place in the order of all hits of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// The door to the writer. Dropping every copy lets the writer finish what it has and end.
#[derive(Clone)]
pub struct Intake {
    door: Arc<Door>,
}

struct Door {
    shared: Arc<Shared>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.pending().closed = true;
        self.shared.arrived.notify_all();
    }
}

/// What workers, writer and loader share.
pub(super) struct Shared {
    pending: Mutex<Pending>,
    arrived: Condvar,
    /// The last ticket that is durable.
    durable: watch::Sender<u64>,
    /// Whether the disk refuses.
    stalled: AtomicBool,
    shed: AtomicU64,
    commits: Commits,
    live: Mutex<Option<Live>>,
    /// Bytes of a segment.
    pub(super) segment: u64,
    /// Wakes the loader.
    loadable: (Mutex<bool>, Condvar),
}

/// Where the writer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) segment: u64,
    /// Everything before it is durable.
    pub(super) place: u64,
}

struct Pending {
    /// A frame in the making: its head's place is kept free.
    frame: Vec<u8>,
    /// The last ticket given.
    last: u64,
    asleep: bool,
    /// Whether the first segment is to be made before the first hit.
    prepare: bool,
    closed: bool,
}

impl Pending {
    fn is_full(&self) -> bool {
        self.frame.len() >= FRAME_HEAD + WAITING_MOST * RECORD
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is something to load, at most `patience`.
    pub(super) fn wait_for_hits(&self, patience: Duration) {
        let (flag, bell) = &self.loadable;
        let waiting = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut flag, _) = bell.wait_timeout_while(waiting, patience, |there| !*there).unwrap_or_else(PoisonError::into_inner);
        *flag = false;
    }

    pub(super) fn ring(&self) {
        let (flag, bell) = &self.loadable;
        let mut flag = flag.lock().unwrap_or_else(PoisonError::into_inner);
        // Ringing costs a system call: once is enough until the loader has looked.
        if !*flag {
            *flag = true;
            bell.notify_all();
        }
    }

    fn publish(&self, log: &Log, ticket: u64) {
        let live = Live { folder: log.slot.folder.clone(), id: log.slot.id.clone(), segment: log.segment, place: log.place };
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
        self.stalled.store(false, Ordering::Relaxed);
        self.durable.send_replace(ticket);
        self.ring();
    }
}

/// The running writer.
pub struct Writer {
    thread: JoinHandle<()>,
}

impl Writer {
    /// Waits until everything taken is durable. Call after every [`Intake`] is dropped, or it waits for them.
    pub fn join(self) {
        // A panic in the writer was already printed by its thread; there is nothing left to save here.
        let _ = self.thread.join();
    }
}

/// Starts the writer of the spool in `folder`; nothing is made there before the first hit or [`Intake::prepare`].
///
/// # Errors
/// When the thread cannot be started.
pub fn start(folder: PathBuf, mint: Mint) -> io::Result<(Intake, Writer)> {
    start_with(folder, mint, SEGMENT)
}

pub(super) fn start_with(folder: PathBuf, mint: Mint, segment: u64) -> io::Result<(Intake, Writer)> {
    let pending = Pending { frame: vec![0; FRAME_HEAD], last: 0, asleep: false, prepare: false, closed: false };
    let shared = Arc::new(Shared {
        pending: Mutex::new(pending),
        arrived: Condvar::new(),
        durable: watch::Sender::new(0),
        stalled: AtomicBool::new(false),
        shed: AtomicU64::new(0),
        commits: Commits::default(),
        live: Mutex::default(),
        segment,
        loadable: (Mutex::new(true), Condvar::new()),
    });
    let for_writer = shared.clone();
    let thread = std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || Writing { shared: for_writer, folder, mint, segment, log: None }.run())?;
    Ok((Intake { door: Arc::new(Door { shared }) }, Writer { thread }))
}

impl Intake {
    fn shared(&self) -> &Shared {
        &self.door.shared
    }

    pub(super) fn for_loader(&self) -> Arc<Shared> {
        self.door.shared.clone()
    }

    /// Makes the first segment now instead of at the first hit.
    pub fn prepare(&self) {
        self.shared().pending().prepare = true;
        self.shared().arrived.notify_one();
    }

    /// Hands a hit to the writer. None: shed, or no hit at all.
    pub fn submit(&self, event: &Event) -> Option<Ticket> {
        let shared = self.shared();
        let mut pending = shared.pending();
        if pending.is_full() || !encode(event, &mut pending.frame) {
            drop(pending);
            shared.shed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        pending.last += 1;
        let ticket = Ticket(pending.last);
        let wake = std::mem::take(&mut pending.asleep);
        drop(pending);
        if wake {
            shared.arrived.notify_one();
        }
        Some(ticket)
    }

    /// Hands records to the writer and leaves none behind. Answers the ticket after which all of them are durable; when too many wait
    /// already, they are shed, and counted.
    pub(super) fn hand_over(&self, records: &mut Vec<u8>) -> Ticket {
        let shared = self.shared();
        let hits = (records.len() / RECORD) as u64;
        let mut pending = shared.pending();
        let is_full = pending.is_full();
        if !is_full {
            pending.frame.extend_from_slice(records);
            pending.last += hits;
        }
        let ticket = Ticket(pending.last);
        let wake = std::mem::take(&mut pending.asleep);
        drop(pending);
        records.clear();
        if is_full {
            shared.shed.fetch_add(hits, Ordering::Relaxed);
        }
        if wake {
            shared.arrived.notify_one();
        }
        ticket
    }

    /// Hands a hit to the writer and waits until it is durable, at most `patience`.
    pub async fn record(&self, event: &Event, patience: Duration) -> Recorded {
        let Some(ticket) = self.submit(event) else { return Recorded::Shed };
        let mut durable = self.watch();
        let waiting = durable.wait_for(|last| *last >= ticket.0 || self.is_stalled());
        match tokio::time::timeout(patience, waiting).await {
            Ok(Ok(last)) if *last >= ticket.0 => Recorded::Durable,
            Ok(_) | Err(_) => Recorded::Pending,
        }
    }

    /// Whether a hit is on the disk.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        *self.shared().durable.borrow() >= ticket.0
    }

    /// Whether the disk refuses at the moment: hits wait in memory, and nobody should wait for them.
    pub fn is_stalled(&self) -> bool {
        self.shared().stalled.load(Ordering::Relaxed)
    }

    /// Changes whenever a group became durable or the disk began to refuse.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.shared().durable.subscribe()
    }

    /// The last ticket given: everything handed over before now has one up to it.
    pub fn last(&self) -> Ticket {
        Ticket(self.shared().pending().last)
    }

    /// Waits, on this thread, until everything handed over before now is durable, at most `patience`. For background work only.
    pub fn settle(&self, patience: Duration) {
        let last = self.last();
        let (mut left, step) = (patience, Duration::from_millis(5));
        while !self.is_durable(last) && !left.is_zero() {
            std::thread::sleep(step);
            left = left.saturating_sub(step);
        }
    }

    /// Hits shed since the process started.
    pub fn shed(&self) -> u64 {
        self.shared().shed.load(Ordering::Relaxed)
    }

    /// How long it took to make groups of hits durable, since the process started.
    pub fn commits(&self) -> Taken {
        self.shared().commits.taken()
    }

    /// Hits waiting for the disk now.
    pub fn waiting(&self) -> u64 {
        let last = self.shared().pending().last;
        last.saturating_sub(*self.shared().durable.borrow())
    }
}

/// The writer's own state.
struct Writing {
    shared: Arc<Shared>,
    folder: PathBuf,
    mint: Mint,
    segment: u64,
    log: Option<Log>,
}

/// The segment written to.
struct Log {
    slot: Slot,
    segment: u64,
    file: File,
    bytes: u64,
    place: u64,
    /// The next segment, being made beside.
    next: Option<JoinHandle<io::Result<File>>>,
}

impl Writing {
    fn run(mut self) {
        let mut frame = vec![0; FRAME_HEAD];
        loop {
            frame.truncate(FRAME_HEAD);
            let (ticket, closed) = self.take(&mut frame);
            if frame.len() > FRAME_HEAD {
                self.write_until_durable(&mut frame, ticket, closed);
            } else if closed {
                return self.end();
            } else if self.log.is_none() {
                self.prepare();
            }
        }
    }

    /// Waits for hits and takes all there are, leaving `frame` in their place.
    fn take(&self, frame: &mut Vec<u8>) -> (u64, bool) {
        let mut pending = self.shared.pending();
        while pending.frame.len() == FRAME_HEAD && !pending.closed && !pending.prepare {
            pending.asleep = true;
            pending = self.shared.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        pending.asleep = false;
        pending.prepare = false;
        std::mem::swap(&mut pending.frame, frame);
        (pending.last, pending.closed)
    }

    /// A segment made ahead and not used takes its space with it.
    fn end(self) {
        let Some(mut log) = self.log else { return };
        if let Some(Ok(Ok(_))) = log.next.take().map(JoinHandle::join) {
            // Left behind, it would be an empty segment: no harm.
            let _ = std::fs::remove_file(segment::path(&log.slot.folder, log.segment + 1));
        }
    }

    fn prepare(&mut self) {
        match self.open_log() {
            Ok(log) => {
                // Read first: the value is locked while it is looked at.
                let durable = *self.shared.durable.borrow();
                self.shared.publish(&log, durable);
                self.log = Some(log);
            }
            Err(error) => {
                // Told once; whoever asks whether this process is ready is told until it works.
                if !self.shared.stalled.swap(true, Ordering::Relaxed) {
                    tracing::error!(folder = %self.folder.display(), "the spool of hits cannot be written: {error}");
                }
                std::thread::sleep(RETRY.1);
                self.shared.pending().prepare = true;
            }
        }
    }

    fn write_until_durable(&mut self, frame: &mut [u8], ticket: u64, closed: bool) {
        let (mut wait, mut tries) = (RETRY.0, 0);
        loop {
            match self.write(frame) {
                Ok(()) => {
                    if tries > 0 {
                        tracing::info!("hits are written to the spool again");
                    }
                    if let Some(log) = &self.log {
                        self.shared.publish(log, ticket);
                    }
                    return;
                }
                Err(error) => {
                    if tries == 0 {
                        tracing::error!(folder = %self.folder.display(), "hits cannot be written to the spool and wait in memory: {error}; is the disk full?");
                        self.shared.stalled.store(true, Ordering::Relaxed);
                        // Whoever waits looks again, and goes.
                        self.shared.durable.send_modify(|_| {});
                    }
                    tries += 1;
                    if closed && tries >= LAST_TRIES {
                        let hits = (frame.len() - FRAME_HEAD) / RECORD;
                        tracing::error!(hits, "hits that were never acknowledged as durable are lost: the spool cannot be written");
                        return;
                    }
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    }

    fn write(&mut self, frame: &mut [u8]) -> io::Result<()> {
        let length = frame.len() as u64;
        let log = match self.log.take() {
            None => self.open_log()?,
            Some(log) if log.place + length <= log.bytes => log,
            Some(log) => self.roll(log, length)?,
        };
        let log = self.log.insert(log);
        segment::seal(frame, log.segment, log.place);
        let flush = || log.file.write_all_at(frame, log.place).and_then(|()| log.file.sync_data());
        let written = self.shared.commits.time(flush);
        if let Err(error) = written {
            // What the disk holds of this frame is unknown now: it is written again, elsewhere. Twice is once, by the events' ids.
            log.bytes = 0;
            return Err(error);
        }
        log.place += length;
        if log.next.is_none() && log.place > log.bytes / 2 {
            let (folder, number, bytes) = (log.slot.folder.clone(), log.segment + 1, self.segment);
            log.next =
                std::thread::Builder::new().name("spool next".to_owned()).spawn(move || segment::create(&folder, number, bytes)).ok();
        }
        Ok(())
    }

    fn open_log(&self) -> io::Result<Log> {
        let slot = slot::claim(&self.folder, self.mint)?;
        segment::remove_unfinished(&slot.folder)?;
        let (_, _, highest) = segment::list(&slot.folder)?;
        let number = highest + 1;
        let file = segment::create(&slot.folder, number, self.segment)?;
        Ok(Log { slot, segment: number, file, bytes: self.segment, place: FIRST_FRAME, next: None })
    }

    /// On to the next segment. After a failure the old one stays, and the next write tries again.
    fn roll(&mut self, mut log: Log, length: u64) -> io::Result<Log> {
        let number = log.segment + 1;
        let prepared = log.next.take().and_then(|thread| thread.join().ok());
        let bytes = self.segment.max(FIRST_FRAME + length);
        let file = match prepared {
            Some(Ok(file)) if bytes == self.segment => Ok(file),
            _ => segment::create(&log.slot.folder, number, bytes),
        };
        match file {
            Ok(file) => Ok(Log { slot: log.slot, segment: number, file, bytes, place: FIRST_FRAME, next: None }),
            Err(error) => {
                self.log = Some(log);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::record::tests::click;
    use super::super::segment::{Found, Reader};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Every hit in the spool's segments, in order.
    fn hits(root: &Path) -> Vec<Event> {
        let mut all = Vec::new();
        for folder in slot::folders(root).unwrap() {
            for number in segment::list(&folder).unwrap().0 {
                let reader = Reader::open(&folder, number).unwrap().unwrap();
                let mut place = FIRST_FRAME;
                while let Found::Frame(events, next) = reader.at(place).unwrap() {
                    all.extend(events);
                    place = next;
                }
            }
        }
        all
    }

    #[tokio::test]
    async fn hits_are_on_the_disk_when_acknowledged_over_many_small_segments() {
        let root = tempfile::tempdir().unwrap();
        let (intake, writer) = start_with(root.path().to_owned(), || [7; 16], FIRST_FRAME + 400).unwrap();
        for number in 1..=40 {
            assert_eq!(intake.record(&click(number), PATIENCE).await, Recorded::Durable);
            assert_eq!(hits(root.path()).last(), Some(&click(number)));
        }
        assert_eq!(intake.waiting(), 0);
        drop(intake);
        writer.join();
        assert_eq!(hits(root.path()), (1..=40).map(click).collect::<Vec<_>>());
        assert!(segment::list(&root.path().join("1")).unwrap().0.len() > 10);
    }

    #[tokio::test]
    async fn what_was_handed_over_is_written_before_the_end_and_numbers_go_on_after_it() {
        let root = tempfile::tempdir().unwrap();
        for round in 0..3_u8 {
            let (intake, writer) = start_with(root.path().to_owned(), || [7; 16], 16_384).unwrap();
            for number in 0..30 {
                intake.submit(&click(round * 30 + number)).unwrap();
            }
            drop(intake);
            writer.join();
        }
        assert_eq!(hits(root.path()), (0..90).map(click).collect::<Vec<_>>());
        assert_eq!(segment::list(&root.path().join("1")).unwrap().0, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_spool_made_before_the_first_hit_takes_hits() {
        let root = tempfile::tempdir().unwrap();
        let (intake, writer) = start_with(root.path().to_owned(), || [7; 16], 16_384).unwrap();
        intake.prepare();
        while intake.for_loader().live().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(intake.record(&click(1), PATIENCE).await, Recorded::Durable);
        assert_eq!(hits(root.path()), [click(1)]);
        drop(intake);
        writer.join();
    }

    #[tokio::test]
    async fn while_the_disk_refuses_nobody_waits_and_too_many_are_shed_and_counted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spool");
        // A file where the folder should be.
        std::fs::write(&folder, "").unwrap();
        let (intake, writer) = start_with(folder.clone(), || [7; 16], 16_384).unwrap();
        assert_eq!(intake.record(&click(1), PATIENCE).await, Recorded::Pending);
        assert!(intake.is_stalled());
        // The writer holds the first; the rest wait up to the limit.
        while intake.shed() == 0 {
            intake.submit(&click(2));
        }
        let waiting = intake.waiting();
        assert_eq!((intake.submit(&click(2)), intake.waiting()), (None, waiting));
        std::fs::remove_file(&folder).unwrap();
        let last = intake.last();
        let mut durable = intake.watch();
        tokio::time::timeout(PATIENCE, durable.wait_for(|done| *done >= last.0)).await.unwrap().unwrap();
        assert_eq!(hits(&folder).len() as u64, waiting, "whatever was taken is there");
        assert!(!intake.is_stalled());
        drop((intake, durable));
        writer.join();
    }
}
