//! One writer that makes hits durable in groups, then acknowledges each group.
//!
//! Cast: [`Intake`] (shared by every worker; a bounded queue), [`Recorded`] (what became of a hit), the writer thread.
//!
//! Nothing grows without limit: when the queue is full a hit is shed, counted and shown. When the ledger is away the writer keeps its
//! group and tries again; hits behind it wait in the queue. It never answers a request itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::db::LedgerDb;
use crate::ledger::event::Event;
use crate::ledger::store::{self, Counter};

/// Hits waiting at most; beyond it they are shed.
const QUEUE: usize = 65_536;
/// Hits made durable together at most.
const GROUP: usize = 2_048;
/// First and longest wait before a failed write is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What became of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// In the database, whatever happens now.
    Durable,
    /// In the writer's hands; the caller's patience ended first.
    Pending,
    /// Not taken: too many are waiting.
    Shed,
}

struct Waiting {
    event: Event,
    done: oneshot::Sender<()>,
}

/// The door to the writer. Dropping every copy lets the writer finish what it has and end.
#[derive(Clone)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
    shed: Arc<AtomicU64>,
}

/// The running writer.
pub struct Writer {
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Waits until everything taken is durable. Call after every [`Intake`] is dropped, or it waits for them.
    pub fn join(self) {
        // A panic in the writer was already printed by its thread; there is nothing left to save here.
        let _ = self.thread.join();
    }
}

/// Starts the writer.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(ledger: LedgerDb) -> std::io::Result<(Intake, Writer)> {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let thread = std::thread::Builder::new().name("intake".to_owned()).spawn(move || write(&ledger, waiting))?;
    Ok((Intake { queue, shed: Arc::default() }, Writer { thread }))
}

impl Intake {
    /// Hands a hit to the writer and waits until it is durable, at most `patience`.
    pub async fn record(&self, event: Event, patience: Duration) -> Recorded {
        let (done, durable) = oneshot::channel();
        if self.queue.try_send(Waiting { event, done }).is_err() {
            self.shed.fetch_add(1, Ordering::Relaxed);
            return Recorded::Shed;
        }
        match tokio::time::timeout(patience, durable).await {
            Ok(Ok(())) => Recorded::Durable,
            Ok(Err(_)) | Err(_) => Recorded::Pending,
        }
    }

    /// Hits shed since the process started.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Hits waiting for the writer now.
    pub fn waiting(&self) -> usize {
        QUEUE - self.queue.capacity()
    }
}

fn write(ledger: &LedgerDb, mut waiting: mpsc::Receiver<Waiting>) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let (events, acknowledgements): (Vec<Event>, Vec<_>) = group.drain(..).map(|one| (one.event, one.done)).unzip();
        store_until_durable(ledger, &events);
        for done in acknowledgements {
            // Whoever lost patience is not there any more.
            let _ = done.send(());
        }
    }
}

fn store_until_durable(ledger: &LedgerDb, events: &[Event]) {
    let mut wait = RETRY.0;
    loop {
        let stored = ledger.write(|conn| {
            let (new, withdrawn) = store::append_hits(conn, events)?;
            if withdrawn > 0 {
                store::count(conn, Counter::UnrecordedHits, i64::try_from(withdrawn).unwrap_or_default())?;
            }
            store::count(conn, Counter::StoredHits, i64::try_from(new).unwrap_or_default())
        });
        match stored {
            Ok(_) => return,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, hits = events.len(), "hits cannot be stored yet; trying again");
                std::thread::sleep(wait);
                wait = (wait * 2).min(RETRY.1);
            }
        }
    }
}
