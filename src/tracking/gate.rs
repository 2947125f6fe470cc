//! Where a worker's requests wait for their hits to become durable: the writer rings once per group and worker, and the worker wakes its
//! own, on its own thread.
//!
//! Cast: [`Gate`] (one per worker), its task [`Gate::keep`].
//!
//! It never waits longer than told: patience is counted in ticks, so that no timer is set per request.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::intake::{Intake, Recorded, Ticket};

/// One tick of patience.
pub const TICK: Duration = Duration::from_millis(25);

/// One worker's waiting room.
pub struct Gate {
    intake: Intake,
    waiting: Mutex<VecDeque<(Ticket, Waker)>>,
    /// Rung by the first who waits.
    bell: Notify,
    ticks: AtomicU64,
}

impl Gate {
    /// A gate before this intake.
    pub fn new(intake: Intake) -> Self {
        Self { intake, waiting: Mutex::default(), bell: Notify::new(), ticks: AtomicU64::new(0) }
    }

    /// Waits until a hit is durable, at most about `patience` ticks; [`Gate::keep`] must be running.
    pub async fn durable(&self, ticket: Ticket, patience: u64) -> Recorded {
        let give_up = self.ticks.load(Ordering::Relaxed) + patience;
        poll_fn(|context| {
            if self.intake.is_durable(ticket) {
                return Poll::Ready(Recorded::Durable);
            }
            if self.intake.is_stalled() || self.ticks.load(Ordering::Relaxed) > give_up {
                return Poll::Ready(Recorded::Pending);
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_empty() {
                self.bell.notify_one();
            }
            waiting.push_back((ticket, context.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Wakes who waits, for ever. Runs on the worker's own thread: waking there is cheap.
    pub async fn keep(&self) {
        let mut durable = self.intake.watch();
        loop {
            if self.is_empty() {
                self.bell.notified().await;
            }
            match tokio::time::timeout(TICK, durable.changed()).await {
                Ok(Ok(())) => {
                    let upto = *durable.borrow_and_update();
                    // After trouble everybody looks for himself.
                    self.wake(if self.intake.is_stalled() { u64::MAX } else { upto });
                }
                // The sender lives as long as the intake, which is ours.
                Ok(Err(_)) => return,
                Err(_) => {
                    self.ticks.fetch_add(1, Ordering::Relaxed);
                    self.wake(u64::MAX);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Wakes in the order of tickets; who came back after a tick stands behind later ones and is woken with them at the latest.
    fn wake(&self, upto: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.front().is_some_and(|(ticket, _)| ticket.0 <= upto) {
            if let Some((_, waker)) = waiting.pop_front() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::intake;
    use super::super::record::tests::click;
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn everybody_who_waits_is_woken_when_durable_and_after_patience_when_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spool");
        let (intake, writer) = intake::start(folder.clone(), || [7; 16]).unwrap();
        let gate = std::sync::Arc::new(Gate::new(intake.clone()));
        let keeper = tokio::spawn({
            let gate = gate.clone();
            async move { gate.keep().await }
        });
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..200 {
            let (gate, intake) = (gate.clone(), intake.clone());
            waiting.spawn(async move { gate.durable(intake.submit(&click(number)).unwrap(), 2000).await });
        }
        assert!(waiting.join_all().await.into_iter().all(|became| became == Recorded::Durable));
        // A ticket that never comes.
        assert_eq!(gate.durable(Ticket(u64::MAX), 2).await, Recorded::Pending);
        keeper.abort();
        let _ = keeper.await;
        drop((gate, intake));
        writer.join();
    }
}
