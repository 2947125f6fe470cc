//! One writer that makes every step of sending durable, in groups.
//!
//! Cast: [`Journal`] (shared by the workers), [`Session`] (a worker that sends now), [`Writer`] (the thread behind it), [`Group`] (one
//! commit).
//!
//! Before the last dot of a letter its mailing is marked; what became of it is written after the answer, at the latest with its worker's
//! next mark. Both go through here, so that ten workers cost one commit, and a crash leaves at most the letters between mark and answer
//! unknown: one for each worker.
//!
//! A mark is a row of the vault, not a line of a local file, which would be cheaper: whoever takes over the leases of a machine that is
//! gone has to see it, a pause or a lease that ended has to win against it in the same transaction, and after a loss of power it has to
//! be as durable as the answers. So the cost of a commit is shared instead: nobody waits for ends, so they wait for the next mark; and a
//! mark waits a moment for the other workers', as long as the last commit makes worth while.
//!
//! It never sends. What is not a mark is never lost while the process lives: with the database away it is tried again until it is there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::db::{DbError, DbResult, VaultConn, VaultDb};
use crate::delivery::mailing::Finished;
use crate::delivery::store;
use crate::ids::MailingId;

/// Steps waiting at most: workers wait when the disk is slower than the relay.
const QUEUE: usize = 4096;
/// Steps made durable together at most.
const GROUP: usize = 512;
/// How long ends wait for a mark to go with.
const LINGER: Duration = Duration::from_millis(10);
/// How long a mark waits for those of other workers, at most; and of the time that the last commit took, one part in so many.
const PATIENCE: (Duration, u32) = (Duration::from_millis(3), 2);
/// First and longest wait before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

enum Step {
    Commit(MailingId, Arc<str>, oneshot::Sender<bool>),
    Finish(Box<Finished>, Arc<str>),
    GiveBack(Vec<MailingId>, Arc<str>),
    Flush(Done),
}

/// Says that everything is durable.
type Done = Box<dyn FnOnce() + Send>;

/// The door to the writer. Dropping every copy lets the writer finish what it has and end.
#[derive(Clone)]
pub struct Journal {
    steps: mpsc::Sender<Step>,
    load: Arc<Load>,
}

/// How much is to be expected.
#[derive(Default)]
struct Load {
    /// Steps handed over and not yet taken up.
    waiting: AtomicUsize,
    /// Workers that send now.
    sessions: AtomicUsize,
}

/// A worker that sends now: the writer waits a moment for its mark. Ends when dropped.
pub struct Session(Arc<Load>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The running writer.
pub struct Writer {
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Waits until everything handed over is durable. Call after every [`Journal`] is dropped.
    pub fn join(self) {
        let _ = self.thread.join();
    }
}

/// Starts the writer.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(vault: VaultDb) -> std::io::Result<(Journal, Writer)> {
    let (steps, waiting) = mpsc::channel();
    let load = Arc::new(Load::default());
    let mut desk = Desk { vault, waiting, load: load.clone(), patience: Duration::ZERO };
    let thread = std::thread::Builder::new().name("delivery journal".to_owned()).spawn(move || desk.work())?;
    Ok((Journal { steps, load }, Writer { thread }))
}

impl Journal {
    /// Says that a worker sends from now on.
    pub fn session(&self) -> Session {
        self.load.sessions.fetch_add(1, Ordering::Relaxed);
        Session(self.load.clone())
    }

    /// Marks a mailing: its last dot is about to be sent. Answers whether it may be: `owner`'s lease still holds and the mark is durable.
    /// While the database is away the answer is no: nobody waits until it is back.
    pub async fn commit_to(&self, mailing: MailingId, owner: Arc<str>) -> bool {
        let (answer, marked) = oneshot::channel();
        self.hand_over(Step::Commit(mailing, owner, answer)) && marked.await.unwrap_or(false)
    }

    /// Hands over what became of a mailing that `owner` holds.
    pub async fn finish(&self, finished: Finished, owner: Arc<str>) {
        self.hand_over(Step::Finish(Box::new(finished), owner));
        self.keep_pace().await;
    }

    /// Gives mailings of `owner` back, whose last dot was not sent although they may have been marked.
    pub async fn give_back(&self, mailings: Vec<MailingId>, owner: Arc<str>) {
        if !mailings.is_empty() {
            self.hand_over(Step::GiveBack(mailings, owner));
            self.keep_pace().await;
        }
    }

    /// Waits until everything handed over before is durable.
    pub async fn flush(&self) {
        let (answer, done) = oneshot::channel();
        if self.hand_over(Step::Flush(Box::new(move || {
            let _ = answer.send(());
        }))) {
            let _ = done.await;
        }
    }

    /// As [`Journal::flush`], holding up its thread.
    pub fn flush_here(&self) {
        let (answer, done) = mpsc::channel();
        if self.hand_over(Step::Flush(Box::new(move || {
            let _ = answer.send(());
        }))) {
            let _ = done.recv();
        }
    }

    /// The writer ends only after every door is closed, and this is one: a step is always taken up, unless the writer has panicked.
    fn hand_over(&self, step: Step) -> bool {
        self.load.waiting.fetch_add(1, Ordering::Relaxed);
        self.steps.send(step).is_ok()
    }

    async fn keep_pace(&self) {
        if self.load.waiting.load(Ordering::Relaxed) > QUEUE {
            self.flush().await;
        }
    }
}

/// Steps of several batches that become durable in one commit, by the owner of each.
#[derive(Default)]
struct Group {
    steps: usize,
    marks: BTreeMap<Arc<str>, Vec<MailingId>>,
    finished: BTreeMap<Arc<str>, Vec<Finished>>,
    given_back: BTreeMap<Arc<str>, Vec<MailingId>>,
    wait_for_marks: Vec<(MailingId, oneshot::Sender<bool>)>,
    wait_for_all: Vec<Done>,
}

impl Group {
    fn add(&mut self, step: Step) {
        self.steps += 1;
        match step {
            Step::Commit(mailing, owner, answer) => {
                self.marks.entry(owner).or_default().push(mailing);
                self.wait_for_marks.push((mailing, answer));
            }
            Step::Finish(end, owner) => self.finished.entry(owner).or_default().push(*end),
            Step::GiveBack(mailings, owner) => self.given_back.entry(owner).or_default().extend(mailings),
            Step::Flush(answer) => self.wait_for_all.push(answer),
        }
    }

    /// Marks first: a letter refused while its mark was on its way has both in one group, and its end counts.
    fn write(&self, conn: &mut VaultConn) -> DbResult<HashSet<MailingId>> {
        let mut held = HashSet::new();
        for (owner, mailings) in &self.marks {
            held.extend(store::commit_to(conn, mailings, owner)?);
        }
        for (owner, mailings) in &self.given_back {
            store::withhold(conn, mailings, owner)?;
        }
        // Last, because the counts come with it: rows first, counts afterwards, everywhere.
        for (owner, finished) in &self.finished {
            store::finish(conn, finished, owner)?;
        }
        Ok(held)
    }

    fn answer_marks(&mut self, held: &HashSet<MailingId>) {
        self.marks.clear();
        for (mailing, answer) in self.wait_for_marks.drain(..) {
            let _ = answer.send(held.contains(&mailing));
        }
    }

    fn answer_the_rest(self) {
        for answer in self.wait_for_all {
            answer();
        }
    }
}

/// Where the writer works.
struct Desk {
    vault: VaultDb,
    waiting: Receiver<Step>,
    load: Arc<Load>,
    /// How long the next group's marks wait for others.
    patience: Duration,
}

impl Desk {
    fn work(&mut self) {
        while let Some(mut group) = self.gather() {
            let began = Instant::now();
            match self.vault.write(|conn| group.write(conn)) {
                Ok(held) => group.answer_marks(&held),
                Err(error) => self.insist(&mut group, &error),
            }
            self.patience = (began.elapsed() / PATIENCE.1).min(PATIENCE.0);
            group.answer_the_rest();
        }
    }

    /// The next group; none when every door is closed and nothing is left.
    fn gather(&mut self) -> Option<Group> {
        let mut group = Group::default();
        let first = self.waiting.recv().ok()?;
        self.take_up(&mut group, first);
        let mut marks_wait_until = None;
        while !self.take_up_what_is_there(&mut group) && group.steps < GROUP && group.wait_for_all.is_empty() {
            let limit = match group.wait_for_marks.len() {
                0 => LINGER,
                marks if marks >= self.load.sessions.load(Ordering::Relaxed) => break,
                _ => {
                    let now = Instant::now();
                    marks_wait_until.get_or_insert(now + self.patience).saturating_duration_since(now)
                }
            };
            match self.waiting.recv_timeout(limit) {
                Ok(step) => self.take_up(&mut group, step),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(group)
    }

    fn take_up(&self, group: &mut Group, step: Step) {
        self.load.waiting.fetch_sub(1, Ordering::Relaxed);
        group.add(step);
    }

    /// Answers whether every door is closed.
    fn take_up_what_is_there(&self, group: &mut Group) -> bool {
        while group.steps < GROUP {
            match self.waiting.try_recv() {
                Ok(step) => self.take_up(group, step),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
        false
    }

    /// Ends must not be lost, so they are tried until they are durable, with those that come meanwhile. Marks are refused instead: a
    /// relay does not wait for our database, and a letter that was not sent can be sent later.
    fn insist(&self, group: &mut Group, error: &DbError) {
        tracing::error!(error = error as &dyn std::error::Error, "steps of sending cannot be written yet; trying again");
        let mut wait = RETRY.0;
        loop {
            group.answer_marks(&HashSet::new());
            if group.finished.is_empty() && group.given_back.is_empty() {
                return;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(RETRY.1);
            while let Ok(step) = self.waiting.try_recv() {
                self.take_up(group, step);
            }
            group.answer_marks(&HashSet::new());
            if self.vault.write(|conn| group.write(conn)).is_ok() {
                return;
            }
        }
    }
}
