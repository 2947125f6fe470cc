//! One writer that makes every step of sending durable, in groups.
//!
//! Cast: [`Journal`] (shared by the workers), [`Session`] (a worker that sends now), [`Writer`] (the thread behind it), [`Queue`] (steps
//! not yet taken up), [`Group`] (one commit).
//!
//! Before the last dot of a letter its lease is marked with it; what became of it is written after the answer, at the latest with its
//! worker's next mark. Both go through here, so that ten workers cost one commit, and a crash leaves at most the letters between mark and
//! answer unknown: one for each worker.
//!
//! A mark is a row of the vault, not a line of a local file, which would be cheaper: whoever takes over the leases of a machine that is
//! gone has to see it, a pause or a lease that ended has to win against it in the same transaction, and after a loss of power it has to
//! be as durable as the answers. So the cost of a commit is shared and kept small instead: nobody waits for ends, so they wait for the
//! next mark; an end is one new row, and is brought to where it is looked for with many others, when its batch is over or soon, in a
//! transaction of its own after the marks are answered. That one does not wait for the disk: what it does is done again from the rows.
//!
//! It never sends. What is not a mark is never lost while the process lives: with the database away it is tried again until it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::db::{DbError, VaultDb};
use crate::delivery::mailing::{Finished, Verdict};
use crate::delivery::store::{self, Said};
use crate::ids::{MailingId, Mint};

/// Steps waiting at most: workers wait when the disk is slower than the relay.
const QUEUE: usize = 4096;
/// Steps made durable together at most.
const GROUP: usize = 512;
/// How long ends wait for a mark to go with.
const LINGER: Duration = Duration::from_millis(10);
/// How long a mark waits for those of other workers, at most; and of the time that the last commit took, one part in so many.
const PATIENCE: (Duration, u32) = (Duration::from_millis(3), 2);
/// Ends of a batch that wait to be brought to where they are looked for, at most: how many, and how long.
const FOLD: (usize, Duration) = (64, Duration::from_secs(1));
/// First and longest wait before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

enum Step {
    Mark(MailingId, Arc<str>, oneshot::Sender<bool>),
    Finish(Box<Finished>, Arc<str>),
    GiveBack(Vec<MailingId>, Arc<str>),
    Over(Arc<str>),
    Flush(Done),
}

/// Says that everything is durable.
type Done = Box<dyn FnOnce() + Send>;

/// The clock, for what is written about a batch that is over.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The door to the writer. Dropping every copy lets the writer finish what it has and end.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    _door: Arc<Door>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
}

/// Steps not yet taken up, and what is to be expected.
#[derive(Default)]
struct Queue {
    steps: Vec<Step>,
    marks: usize,
    flushes: usize,
    /// Workers that send now.
    sessions: usize,
    /// Whether the writer waits for the bell: ringing it otherwise would cost a system call for nothing.
    is_awaited: bool,
    /// Every door is closed.
    is_closed: bool,
    /// The writer has ended.
    is_gone: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, mut queue: MutexGuard<'_, Queue>) {
        if std::mem::take(&mut queue.is_awaited) {
            drop(queue);
            self.bell.notify_one();
        }
    }
}

struct Door(Arc<Shared>);

impl Drop for Door {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.is_closed = true;
        self.0.ring(queue);
    }
}

/// A worker that sends now: the writer waits a moment for its mark. Ends when dropped.
pub struct Session(Arc<Shared>);

impl Drop for Session {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.sessions -= 1;
        self.0.ring(queue);
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
pub fn start(vault: VaultDb, now: Now, mint: Mint) -> std::io::Result<(Journal, Writer)> {
    let shared = Arc::new(Shared::default());
    let mut desk = Desk { vault, now, mint, shared: shared.clone(), patience: Duration::ZERO, unfolded: BTreeMap::new() };
    let thread = std::thread::Builder::new().name("delivery journal".to_owned()).spawn(move || desk.work())?;
    Ok((Journal { _door: Arc::new(Door(shared.clone())), shared }, Writer { thread }))
}

impl Journal {
    /// Says that a worker sends from now on.
    pub fn session(&self) -> Session {
        let mut queue = self.shared.queue();
        queue.sessions += 1;
        self.shared.ring(queue);
        Session(self.shared.clone())
    }

    /// Marks a mailing: its last dot is about to be sent. Answers whether it may be: `owner`'s lease still holds and the mark is durable.
    /// While the database is away the answer is no: nobody waits until it is back.
    pub async fn mark(&self, mailing: MailingId, owner: Arc<str>) -> bool {
        let (answer, marked) = oneshot::channel();
        self.hand_over(Step::Mark(mailing, owner, answer)) && marked.await.unwrap_or(false)
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

    /// Says that `owner`'s batch is over: all of its letters came to an end or were given back.
    pub fn over(&self, owner: Arc<str>) {
        self.hand_over(Step::Over(owner));
    }

    /// Waits until everything handed over before is durable, and found where it is looked for.
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
        let (answer, done) = std::sync::mpsc::channel();
        if self.hand_over(Step::Flush(Box::new(move || {
            let _ = answer.send(());
        }))) {
            let _ = done.recv();
        }
    }

    /// The writer ends only after every door is closed, and this is one: a step is always taken up, unless the writer has panicked.
    fn hand_over(&self, step: Step) -> bool {
        let mut queue = self.shared.queue();
        if queue.is_gone {
            return false;
        }
        // Ends wait for a mark to go with, and the writer looks for them by itself while a worker sends.
        let mut is_urgent = queue.sessions == 0 || queue.steps.len() >= GROUP;
        match &step {
            Step::Mark(..) => {
                queue.marks += 1;
                is_urgent |= queue.marks == 1 || queue.marks >= queue.sessions;
            }
            Step::Flush(_) => {
                queue.flushes += 1;
                is_urgent = true;
            }
            Step::Finish(..) | Step::GiveBack(..) | Step::Over(_) => {}
        }
        queue.steps.push(step);
        if is_urgent {
            self.shared.ring(queue);
        }
        true
    }

    async fn keep_pace(&self) {
        let is_behind = self.shared.queue().steps.len() > QUEUE;
        if is_behind {
            self.flush().await;
        }
    }
}

/// Steps of several batches that become durable in one commit, by the owner of each.
#[derive(Default)]
struct Group {
    said: BTreeMap<Arc<str>, Said>,
    wait_for_marks: Vec<(MailingId, Arc<str>, oneshot::Sender<bool>)>,
    wait_for_all: Vec<Done>,
}

impl Group {
    fn of(&mut self, owner: Arc<str>) -> &mut Said {
        self.said.entry(owner).or_default()
    }

    fn add(&mut self, step: Step) {
        match step {
            Step::Mark(mailing, owner, answer) => {
                self.of(owner.clone()).mark = Some(mailing);
                self.wait_for_marks.push((mailing, owner, answer));
            }
            Step::Finish(end, owner) => self.of(owner).finished.push(*end),
            Step::GiveBack(mailings, owner) => self.of(owner).given_back.extend(mailings),
            Step::Over(owner) => self.of(owner).is_over = true,
            Step::Flush(answer) => self.wait_for_all.push(answer),
        }
    }

    fn answer_marks(&mut self, marked: &BTreeSet<String>) {
        for (mailing, owner, answer) in self.wait_for_marks.drain(..) {
            let is_marked = marked.contains(&*owner) && self.said.get(&owner).is_some_and(|said| said.mark == Some(mailing));
            let _ = answer.send(is_marked);
        }
    }

    /// Nobody waits for a database that is away.
    fn refuse_marks(&mut self) {
        self.answer_marks(&BTreeSet::new());
        for said in self.said.values_mut() {
            said.mark = None;
        }
        self.said.retain(|_, said| !said.is_empty());
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
    now: Now,
    mint: Mint,
    shared: Arc<Shared>,
    /// How long the next group's marks wait for others.
    patience: Duration,
    /// Ends that are durable and not yet where they are looked for: how many of whom, since when.
    unfolded: BTreeMap<Arc<str>, (usize, Instant)>,
}

/// Whoever waits for an answer gets one even where the writer panics.
impl Drop for Desk {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_gone = true;
        queue.steps.clear();
    }
}

impl Desk {
    fn work(&mut self) {
        while let Some(mut group) = self.gather() {
            self.plan_folds(&mut group);
            if let Err(error) = self.write(&mut group) {
                self.insist(&mut group, &error);
            }
            group.answer_the_rest();
        }
    }

    /// Marks first, because everybody waits for them; while the relay has the dots, what came to an end is brought in. What is done is
    /// taken out of the group.
    fn write(&mut self, group: &mut Group) -> Result<(), DbError> {
        let began = Instant::now();
        if group.said.values().any(Said::is_new) {
            let marked = self.vault.write(|conn| store::write_down(conn, &group.said))?;
            group.answer_marks(&marked);
            self.patience = (began.elapsed() / PATIENCE.1).min(PATIENCE.0);
            self.note_unfolded(group, began);
        }
        if group.said.values().any(|said| said.fold || said.is_over) {
            let now = (self.now)();
            self.vault.write_soon(|conn| store::bring_in(conn, &group.said, now, self.mint))?;
            for owner in group.said.keys() {
                self.unfolded.remove(owner);
            }
            group.said.clear();
        }
        Ok(())
    }

    /// The next group; none when every door is closed and nothing is left.
    fn gather(&mut self) -> Option<Group> {
        let mut queue = self.shared.queue();
        let began = Instant::now();
        let mut marks_wait_until = None;
        loop {
            if queue.flushes > 0 || queue.is_closed || queue.steps.len() >= GROUP {
                break;
            }
            let now = Instant::now();
            let until = if queue.marks > 0 {
                if queue.marks >= queue.sessions {
                    break;
                }
                Some(*marks_wait_until.get_or_insert(now + self.patience))
            } else if !queue.steps.is_empty() || queue.sessions > 0 {
                Some(began + LINGER)
            } else {
                self.unfolded.values().map(|(_, since)| *since + FOLD.1).min()
            };
            if until.is_some_and(|until| until <= now) {
                break;
            }
            queue.is_awaited = true;
            queue = match until {
                None => self.shared.bell.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    self.shared.bell.wait_timeout(queue, until.saturating_duration_since(now)).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            queue.is_awaited = false;
        }
        if queue.is_closed && queue.steps.is_empty() && self.unfolded.is_empty() {
            return None;
        }
        let mut group = Group::default();
        for step in take_up(&mut queue) {
            group.add(step);
        }
        Some(group)
    }

    /// Ends are brought to where they are looked for when there are many of a batch, when they are old, and when somebody wants to see
    /// them.
    fn plan_folds(&self, group: &mut Group) {
        let is_last = group.said.is_empty();
        let all = !group.wait_for_all.is_empty();
        for (owner, (count, since)) in &self.unfolded {
            let soon = group.said.get(owner).map_or(0, |said| said.finished.len()) + count;
            if all || is_last && self.shared.queue().is_closed || soon >= FOLD.0 || since.elapsed() >= FOLD.1 {
                group.of(owner.clone()).fold = true;
            }
        }
        if all {
            for said in group.said.values_mut() {
                said.fold = true;
            }
        }
    }

    /// Ends that are written need no second try; how many wait to be brought in is kept.
    fn note_unfolded(&mut self, group: &mut Group, since: Instant) {
        for (owner, said) in &mut group.said {
            let ends = said.finished.iter().filter(|end| !matches!(end.verdict, Verdict::Postponed { .. })).count();
            if ends > 0 {
                self.unfolded.entry(owner.clone()).or_insert((0, since)).0 += ends;
            }
            *said = Said { fold: said.fold, is_over: said.is_over, ..Said::default() };
        }
        group.said.retain(|_, said| !said.is_empty());
    }

    /// Ends must not be lost, so they are tried until they are durable, with those that come meanwhile. Marks are refused instead: a
    /// relay does not wait for our database, and a letter that was not sent can be sent later.
    fn insist(&mut self, group: &mut Group, error: &DbError) {
        tracing::error!(error = error as &dyn std::error::Error, "steps of sending cannot be written yet; trying again");
        let mut wait = RETRY.0;
        loop {
            group.refuse_marks();
            if group.said.is_empty() {
                return;
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(RETRY.1);
            for step in take_up(&mut self.shared.queue()) {
                group.add(step);
            }
            group.refuse_marks();
            self.plan_folds(group);
            if self.write(group).is_ok() {
                return;
            }
        }
    }
}

fn take_up(queue: &mut Queue) -> Vec<Step> {
    (queue.marks, queue.flushes) = (0, 0);
    std::mem::take(&mut queue.steps)
}
