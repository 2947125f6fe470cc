//! One writer that makes every step of sending durable, in groups.
//!
//! Cast: [`Journal`] (shared by the workers), [`Writer`] (the thread behind it).
//!
//! Before the last dot of a letter its mailing is marked; what became of it is written right after the answer. Both go through here,
//! so that ten workers cost one commit, and a crash leaves at most the letters between mark and answer unknown. It never sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::db::{DbError, DbResult, VaultConn, VaultDb};
use crate::delivery::mailing::Finished;
use crate::delivery::store;
use crate::ids::MailingId;

/// Steps waiting at most: workers wait when the disk is slower than the relay.
const QUEUE: usize = 4096;
/// Steps made durable together at most.
const GROUP: usize = 512;
/// First and longest wait before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

enum Step {
    Commit(MailingId, Arc<str>, oneshot::Sender<bool>),
    Finish(Box<Finished>, Arc<str>),
    Flush(oneshot::Sender<()>),
}

/// The door to the writer. Dropping every copy lets the writer finish what it has and end.
#[derive(Clone)]
pub struct Journal {
    steps: mpsc::Sender<Step>,
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
    let (steps, waiting) = mpsc::channel(QUEUE);
    let thread = std::thread::Builder::new().name("delivery journal".to_owned()).spawn(move || write(&vault, waiting))?;
    Ok((Journal { steps }, Writer { thread }))
}

impl Journal {
    /// Marks a mailing: its last dot is about to be sent. Answers whether it may be: `owner`'s lease still holds and the mark is durable.
    pub async fn commit_to(&self, mailing: MailingId, owner: Arc<str>) -> bool {
        let (answer, marked) = oneshot::channel();
        self.steps.send(Step::Commit(mailing, owner, answer)).await.is_ok() && marked.await.unwrap_or(false)
    }

    /// Hands over what became of a mailing that `owner` holds.
    pub async fn finish(&self, finished: Finished, owner: Arc<str>) {
        // The writer ends only after every door is closed, and this is one.
        let _ = self.steps.send(Step::Finish(Box::new(finished), owner)).await;
    }

    /// Waits until everything handed over before is durable.
    pub async fn flush(&self) {
        let (answer, done) = oneshot::channel();
        if self.steps.send(Step::Flush(answer)).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// Steps of several batches, by the owner of each.
#[derive(Default)]
struct Group {
    finished: BTreeMap<Arc<str>, Vec<Finished>>,
    marks: BTreeMap<Arc<str>, Vec<MailingId>>,
}

fn write(vault: &VaultDb, mut waiting: mpsc::Receiver<Step>) {
    let mut steps = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut steps, GROUP) > 0 {
        let mut group = Group::default();
        let mut marks = Vec::new();
        let mut flushes = Vec::new();
        for step in steps.drain(..) {
            match step {
                Step::Commit(mailing, owner, answer) => {
                    group.marks.entry(owner).or_default().push(mailing);
                    marks.push((mailing, answer));
                }
                Step::Finish(end, owner) => group.finished.entry(owner).or_default().push(*end),
                Step::Flush(answer) => flushes.push(answer),
            }
        }
        let held = write_group(vault, &group);
        for (mailing, answer) in marks {
            let _ = answer.send(held.contains(&mailing));
        }
        for answer in flushes {
            let _ = answer.send(());
        }
    }
}

/// Ends must not be lost, so they are tried until they are durable; marks are simply refused when the first try fails.
fn write_group(vault: &VaultDb, group: &Group) -> Vec<MailingId> {
    let together = vault.write(|conn| {
        let mut held = Vec::new();
        for (owner, ids) in &group.marks {
            held.extend(store::commit_to(conn, ids, owner)?);
        }
        // Last, because the counts come with it: rows first, counts afterwards, everywhere.
        finish(conn, group)?;
        Ok::<_, DbError>(held)
    });
    let error = match together {
        Ok(held) => return held,
        Err(error) => error,
    };
    tracing::error!(error = &error as &dyn std::error::Error, "steps of sending cannot be written yet; trying again");
    let mut wait = RETRY.0;
    while !group.finished.is_empty() {
        std::thread::sleep(wait);
        wait = (wait * 2).min(RETRY.1);
        if vault.write(|conn| finish(conn, group)).is_ok() {
            break;
        }
    }
    Vec::new()
}

fn finish(conn: &mut VaultConn, group: &Group) -> DbResult<()> {
    group.finished.iter().try_for_each(|(owner, finished)| store::finish(conn, finished, owner))
}
