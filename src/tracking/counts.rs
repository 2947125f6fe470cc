//! How many requests came and what was made of them: numbers only.
//!
//! Cast: [`Counts`], [`Totals`]. What was answered without being stored is also added to the ledger's counters, by the caller.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::signal::{Class, HitKind};

/// Over how many seconds requests per second are told.
const SPAN_MS: i64 = 10_000;

/// Requests for pixels and links, since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Since they were taken out last.
    refused: AtomicU64,
    unrecorded: AtomicU64,
    /// Since the start.
    all_refused: AtomicU64,
    all_unrecorded: AtomicU64,
    flooded: AtomicU64,
    limited: AtomicU64,
    opens: [AtomicU64; Class::ALL.len()],
    clicks: [AtomicU64; Class::ALL.len()],
    /// Moments, in milliseconds, and how many requests had come by then.
    samples: Mutex<VecDeque<(i64, u64)>>,
}

/// Requests that became no hit, since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// With a token that is not ours.
    pub refused: u64,
    /// That may not be recorded.
    pub unrecorded: u64,
    /// Of the unrecorded, those of letters with too many hits that day.
    pub flooded: u64,
    /// Of the refused, those turned away.
    pub limited: u64,
}

impl Counts {
    /// A token that is not ours.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.all_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A hit that may not be recorded.
    pub fn unrecorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
        self.all_unrecorded.fetch_add(1, Ordering::Relaxed);
    }

    /// A hit above what is stored of one letter in a day; it is unrecorded, too.
    pub fn flooded(&self) {
        self.flooded.fetch_add(1, Ordering::Relaxed);
    }

    /// A refused request of a source with too many of them.
    pub fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    /// A hit of this class.
    pub fn hit(&self, kind: HitKind, class: Class) {
        if let Some(number) = self.number(kind, class) {
            number.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hits of this class since the start.
    pub fn judged(&self, kind: HitKind, class: Class) -> u64 {
        self.number(kind, class).map_or(0, |number| number.load(Ordering::Relaxed))
    }

    fn number(&self, kind: HitKind, class: Class) -> Option<&AtomicU64> {
        let numbers = match kind {
            HitKind::Open => &self.opens,
            HitKind::Click => &self.clicks,
        };
        numbers.get(class as usize)
    }

    /// What became no hit since the start.
    pub fn totals(&self) -> Totals {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Totals {
            refused: read(&self.all_refused),
            unrecorded: read(&self.all_unrecorded),
            flooded: read(&self.flooded),
            limited: read(&self.limited),
        }
    }

    fn all(&self) -> u64 {
        let totals = self.totals();
        let hits: u64 = self.opens.iter().chain(&self.clicks).map(|number| number.load(Ordering::Relaxed)).sum();
        hits + totals.refused + totals.unrecorded
    }

    /// Notes how many requests have come by now; called about twice a second.
    pub fn sample(&self, now: Timestamp) {
        let now = now.as_millisecond();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was put back begins anew.
        if samples.back().is_some_and(|(last, _)| *last > now) {
            samples.clear();
        }
        samples.push_back((now, self.all()));
        while samples.len() > 2 && samples.get(1).is_some_and(|(at, _)| now - at >= SPAN_MS) {
            samples.pop_front();
        }
    }

    /// Requests per second of late; 0 before there are two samples.
    pub fn per_second(&self) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        match (samples.front(), samples.back()) {
            (Some((since, before)), Some((until, after))) if until > since => (after - before) as f64 * 1_000.0 / (until - since) as f64,
            _ => 0.0,
        }
    }

    /// Refused and unrecorded, taken out: the caller adds them to the ledger's counters.
    pub fn take(&self) -> (u64, u64) {
        (self.refused.swap(0, Ordering::Relaxed), self.unrecorded.swap(0, Ordering::Relaxed))
    }

    /// Puts numbers back that could not be written.
    pub fn put_back(&self, refused: u64, unrecorded: u64) {
        self.refused.fetch_add(refused, Ordering::Relaxed);
        self.unrecorded.fetch_add(unrecorded, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_number_of_its_own() {
        let counts = Counts::default();
        for (times, class) in (1_u64..).zip(Class::ALL) {
            for _ in 0..times {
                counts.hit(HitKind::Open, class);
            }
        }
        counts.hit(HitKind::Click, Class::Unknown);
        assert_eq!(Class::ALL.map(|class| counts.judged(HitKind::Open, class)), [1, 2, 3, 4, 5]);
        assert_eq!(Class::ALL.map(|class| counts.judged(HitKind::Click, class)), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn taking_numbers_out_leaves_the_totals() {
        let counts = Counts::default();
        counts.refused();
        counts.unrecorded();
        assert_eq!(counts.take(), (1, 1));
        assert_eq!(counts.take(), (0, 0));
        counts.put_back(1, 0);
        assert_eq!((counts.take(), counts.totals()), ((1, 0), Totals { refused: 1, unrecorded: 1, flooded: 0, limited: 0 }));
    }

    #[test]
    fn requests_per_second_are_those_of_the_last_seconds() {
        let counts = Counts::default();
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        assert_eq!(counts.per_second(), 0.0);
        for second in 0..40 {
            counts.sample(at(second));
            // Twenty a second at first, later two.
            for _ in 0..if second < 20 { 20 } else { 2 } {
                counts.hit(HitKind::Open, Class::Human);
            }
            if second == 15 {
                assert_eq!(counts.per_second(), 20.0);
            }
        }
        assert_eq!(counts.per_second(), 2.0);
        counts.sample(at(0));
        assert_eq!(counts.per_second(), 0.0, "a clock put back begins anew");
    }
}
