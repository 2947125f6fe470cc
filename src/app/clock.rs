//! Wall time and unseeded randomness: the only place below the command line that asks for either.
//!
//! Cast: [`Clock`] (may run ahead, for demonstrations and tests), [`Stopwatch`] (how long something took), [`fresh`], [`fresh_ordered`]
//! and [`fresh_in_turn`] (bytes of new ids).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};

/// Tells the time. Copies share one offset.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicI64>,
    fixed_ms: Option<i64>,
}

impl Clock {
    /// The machine's clock.
    pub fn wall() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is moved.
    pub fn fixed(at: Timestamp) -> Self {
        Self { ahead_ms: Arc::default(), fixed_ms: Some(at.as_millisecond()) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let base = self.fixed_ms.unwrap_or_else(|| Timestamp::now().as_millisecond());
        Timestamp::from_millisecond(base.saturating_add(self.ahead_ms.load(Ordering::SeqCst))).unwrap_or(Timestamp::MAX)
    }

    /// Moves the clock forward: a demonstration does not wait three days.
    pub fn advance(&self, by: SignedDuration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead_ms.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

/// Measures how long something took, for logs and reports; nothing is ever decided by it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Since the start.
    pub fn elapsed(self) -> Duration {
        self.started.elapsed()
    }
}

/// A seeded source that replaces the operating system's, for demonstrations that can be repeated. Never set in earnest.
static SEEDED: OnceLock<Mutex<ChaCha12Rng>> = OnceLock::new();
/// Keeps ids made within one millisecond in order.
static ORDER: AtomicU64 = AtomicU64::new(0);

/// From now on every "random" byte of this process follows from `seed`: for demonstrations on one machine only. Answers whether this
/// call did it; the first seed stays.
pub fn seed_chance(seed: u64) -> bool {
    SEEDED.set(Mutex::new(ChaCha12Rng::seed_from_u64(seed))).is_ok()
}

fn fill(bytes: &mut [u8]) {
    match SEEDED.get() {
        None => rand::rng().fill_bytes(bytes),
        Some(seeded) => seeded.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes),
    }
}

/// Sixteen random bytes, from the operating system's generator by way of the thread's.
pub fn fresh() -> [u8; 16] {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    bytes
}

/// Thirty-two random bytes, for keys and seeds.
pub fn fresh_key() -> [u8; 32] {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    bytes
}

/// Sixteen bytes that no other call answers, without a time in them: eight random ones of this process, and a running number. Rows under
/// such ids go to one place of an index for each process instead of all over it.
pub fn fresh_in_turn() -> [u8; 16] {
    static PROCESS: OnceLock<[u8; 8]> = OnceLock::new();
    static TURN: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        bytes
    });
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(process);
    bytes[8..].copy_from_slice(&TURN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

/// Sixteen bytes that sort in the order they were made (UUID version 7 with a counter), so that new rows go to the end of an index.
pub fn fresh_ordered(now: Timestamp) -> [u8; 16] {
    let mut tail = [0; 10];
    fill(&mut tail);
    tail[..8].copy_from_slice(&ORDER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &tail).into_uuid().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_they_were_made() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ids: Vec<[u8; 16]> = (0..1000).map(|_| fresh_ordered(now)).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn ids_made_in_turn_follow_each_other_and_are_never_the_same() {
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| (0..1000).map(|_| fresh_in_turn()).collect::<Vec<_>>())).collect();
        let ids: Vec<Vec<[u8; 16]>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(ids.iter().all(|ids| ids.is_sorted()));
        let all: std::collections::BTreeSet<[u8; 16]> = ids.into_iter().flatten().collect();
        assert_eq!(all.len(), 4000);
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let start: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let clock = Clock::fixed(start);
        let copy = clock.clone();
        assert_eq!(clock.now(), start);
        copy.advance(SignedDuration::from_hours(72));
        assert_eq!(clock.now().to_string(), "2026-11-25T12:00:00Z");
    }
}
