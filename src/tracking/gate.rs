//! Where a worker's hits gather for one turn of its loop and its requests wait for them: the worker hands its hits over together, the
//! writer rings once per group and worker, and the worker wakes its own, on its own thread.
//!
//! Cast: [`Gate`] (one per worker), its task [`Gate::keep`], [`Place`].
//!
//! It never waits longer than told: patience is counted in ticks, so that no timer is set per request. It keeps no hit for longer than
//! [`ROUNDS`] turns, nor more than one per connection; what it holds when it is dropped is handed over.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::intake::{Intake, Ticket};
use super::record::{RECORD, encode};
use crate::ledger::event::Event;

/// One tick of patience.
pub const TICK: Duration = Duration::from_millis(25);
/// Turns of the worker's loop for which hits gather at most: a flush costs as much as answering several.
const ROUNDS: usize = 8;
/// Hits in one turn after which another is waited for. With fewer, the disk would only wait, and so would those whose hits are there.
const MANY: usize = 16;

/// A hit's place in the order of all hits of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// One worker's waiting room.
pub struct Gate {
    intake: Intake,
    room: Mutex<Room>,
    /// Rung by the first hit of a turn.
    came: Notify,
    /// Rung when hits are handed over, and by the first who waits.
    stirred: Notify,
    ticks: AtomicU64,
}

#[derive(Default)]
struct Room {
    /// Records of the hits that are not handed over yet.
    records: Vec<u8>,
    /// The last place given.
    last: u64,
    /// What was handed over together: its last place, and the ticket after which it is settled.
    handed: VecDeque<(u64, Ticket)>,
    /// Every place up to it is durable, or was shed and counted.
    settled: u64,
    waiting: VecDeque<(u64, Waker)>,
}

impl Room {
    /// Whether nothing is on its way and nobody waits: no tick is needed then.
    fn is_quiet(&self) -> bool {
        self.handed.is_empty() && self.waiting.is_empty()
    }
}

impl Gate {
    /// A gate before this intake.
    pub fn new(intake: Intake) -> Self {
        Self { intake, room: Mutex::default(), came: Notify::new(), stirred: Notify::new(), ticks: AtomicU64::new(0) }
    }

    /// Takes a hit, to be handed to the writer at the end of this turn. None: that is no hit.
    pub fn submit(&self, event: &Event) -> Option<Place> {
        let mut room = self.room();
        let is_first = room.records.is_empty();
        if !encode(event, &mut room.records) {
            return None;
        }
        room.last += 1;
        let place = Place(room.last);
        drop(room);
        if is_first {
            self.came.notify_one();
        }
        Some(place)
    }

    /// Waits until a hit is settled, at most about `patience` ticks; [`Gate::keep`] must be running. Answers whether it is: durable, or
    /// shed because too many wait for the disk, and counted.
    pub async fn settled(&self, place: Place, patience: u64) -> bool {
        let give_up = self.ticks.load(Ordering::Relaxed) + patience;
        poll_fn(|context| {
            let mut room = self.room();
            if room.settled >= place.0 {
                return Poll::Ready(true);
            }
            if self.intake.is_stalled() || self.ticks.load(Ordering::Relaxed) > give_up {
                return Poll::Ready(false);
            }
            if room.waiting.is_empty() {
                self.stirred.notify_one();
            }
            room.waiting.push_back((place.0, context.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Hands hits over and wakes who waits, for ever. Runs on the worker's own thread: waking there is cheap.
    pub async fn keep(&self) {
        tokio::join!(self.keep_handing_over(), self.keep_waking());
    }

    async fn keep_handing_over(&self) {
        loop {
            self.came.notified().await;
            // Everything that was ready has come before this task's turn; only while much is coming, what arrived meanwhile comes, too.
            let mut gathered = 0;
            for _ in 0..ROUNDS {
                let now = self.room().records.len();
                if now - std::mem::replace(&mut gathered, now) < MANY * RECORD {
                    break;
                }
                tokio::task::yield_now().await;
            }
            self.hand_over();
        }
    }

    fn hand_over(&self) {
        let mut room = self.room();
        let ticket = self.intake.hand_over(&mut room.records);
        let last = room.last;
        match room.handed.back_mut() {
            // Shed: settled with those before, so that a long stall takes no memory.
            Some((place, before)) if *before == ticket => *place = last,
            _ => room.handed.push_back((last, ticket)),
        }
        self.stirred.notify_one();
    }

    async fn keep_waking(&self) {
        let mut durable = self.intake.watch();
        loop {
            if self.room().is_quiet() {
                self.stirred.notified().await;
            }
            let changed = tokio::time::timeout(TICK, durable.changed()).await;
            let upto = *durable.borrow_and_update();
            match changed {
                // After trouble everybody looks for himself.
                Ok(Ok(())) => self.wake(upto, self.intake.is_stalled()),
                // The sender lives as long as the intake, which is ours.
                Ok(Err(_)) => return,
                Err(_) => {
                    self.ticks.fetch_add(1, Ordering::Relaxed);
                    self.wake(upto, true);
                }
            }
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes in the order of places; who came back after a tick stands behind later ones and is woken with them at the latest.
    fn wake(&self, upto: u64, everybody: bool) {
        let mut room = self.room();
        while let Some((last, _)) = room.handed.pop_front_if(|(_, ticket)| ticket.0 <= upto) {
            room.settled = last;
        }
        let settled = if everybody { u64::MAX } else { room.settled };
        while let Some((_, waker)) = room.waiting.pop_front_if(|(place, _)| *place <= settled) {
            waker.wake();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if !self.room().records.is_empty() {
            self.hand_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::intake;
    use super::super::record::tests::click;
    use super::super::slot;
    use super::*;

    fn keep(gate: &Arc<Gate>) -> tokio::task::JoinHandle<()> {
        let gate = gate.clone();
        tokio::spawn(async move { gate.keep().await })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn everybody_who_waits_is_woken_when_durable_and_after_patience_when_not() {
        let root = tempfile::tempdir().unwrap();
        let (intake, writer) = intake::start(root.path().join("spool"), || [7; 16]).unwrap();
        let gate = Arc::new(Gate::new(intake.clone()));
        let keeper = keep(&gate);
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..200 {
            let (gate, intake) = (gate.clone(), intake.clone());
            waiting.spawn(async move {
                let settled = gate.settled(gate.submit(&click(number)).unwrap(), 2000).await;
                // All came within one turn of the loop and were handed over together.
                settled && intake.last() == Ticket(200) && intake.is_durable(Ticket(200))
            });
        }
        assert_eq!(waiting.join_all().await, [true; 200]);
        // A place that never comes, while another does.
        let (never, place) = (gate.settled(Place(u64::MAX), 2), gate.submit(&click(1)).unwrap());
        assert_eq!(tokio::join!(gate.settled(place, 2000), never), (true, false));
        keeper.abort();
        let _ = keeper.await;
        drop((gate, intake));
        writer.join();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn while_the_disk_refuses_nobody_waits_and_nothing_taken_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spool");
        // A file where the folder should be.
        std::fs::write(&folder, "").unwrap();
        let (intake, writer) = intake::start(folder.clone(), || [7; 16]).unwrap();
        let gate = Arc::new(Gate::new(intake.clone()));
        let keeper = keep(&gate);
        assert!(!gate.settled(gate.submit(&click(1)).unwrap(), 2000).await);
        assert!(intake.is_stalled());
        keeper.abort();
        let _ = keeper.await;
        // Nobody hands this one over but the end.
        gate.submit(&click(2)).unwrap();
        drop(gate);
        assert_eq!(intake.last(), Ticket(2));
        std::fs::remove_file(&folder).unwrap();
        drop(intake);
        writer.join();
        assert_eq!(slot::folders(&folder).unwrap().len(), 1);
    }
}
