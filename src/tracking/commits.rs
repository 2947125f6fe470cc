//! How long it takes to make hits durable: a histogram of the writer's flushes.
//!
//! Cast: [`Commits`] (filled by the writer), [`Taken`] (what was measured so far). Nothing is ever decided by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper ends of the histogram's classes, in microseconds; slower ones are in none.
pub const BOUNDS_MICROS: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// Flushes since the process started.
#[derive(Debug, Default)]
pub(super) struct Commits {
    within: [AtomicU64; BOUNDS_MICROS.len()],
    count: AtomicU64,
    micros: AtomicU64,
    slowest: AtomicU64,
}

/// What was measured so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Taken {
    /// Flushes.
    pub count: u64,
    /// All of them together, in microseconds.
    pub micros: u64,
    /// The slowest, in microseconds.
    pub slowest_micros: u64,
    /// How many were within each of [`BOUNDS_MICROS`] and not within the one before.
    pub within: [u64; BOUNDS_MICROS.len()],
}

impl Commits {
    /// Runs `work` and notes how long it took, when it went well.
    pub(super) fn time<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let began = Instant::now();
        let done = work()?;
        self.note(began.elapsed());
        Ok(done)
    }

    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(class) = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).and_then(|place| self.within.get(place)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.slowest.fetch_max(micros, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn taken(&self) -> Taken {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Taken {
            count: read(&self.count),
            micros: read(&self.micros),
            slowest_micros: read(&self.slowest),
            within: std::array::from_fn(|place| self.within.get(place).map(read).unwrap_or_default()),
        }
    }
}

impl Taken {
    /// The mean, in microseconds.
    pub fn mean_micros(&self) -> u64 {
        self.micros.checked_div(self.count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_counted_in_their_class_and_failures_are_not() {
        let commits = Commits::default();
        for micros in [90, 100, 101, 900, 2_000_000] {
            commits.note(Duration::from_micros(micros));
        }
        assert!(commits.time(|| Err::<(), ()>(())).is_err());
        let taken = commits.taken();
        assert_eq!((taken.count, taken.micros, taken.slowest_micros, taken.mean_micros()), (5, 2_001_191, 2_000_000, 400_238));
        assert_eq!(taken.within, [2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(commits.time(|| Ok::<u8, ()>(7)), Ok(7));
        assert_eq!(commits.taken().count, 6);
        assert_eq!(Taken::default().mean_micros(), 0);
    }
}
