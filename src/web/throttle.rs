//! Guessing passwords takes long: failures are counted per login and per peer, in memory, and each makes the next wait longer.
//!
//! Cast: [`Throttle`]. An attempt counts as failed until it is told to have succeeded, so that many at once gain nothing.
//!
//! It never keeps a login or an address: only a keyed hash that ends with the process.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Failures of one login before it has to wait.
const FREE_PER_LOGIN: u32 = 5;
/// Failures from one peer before it has to wait: an office shares one address.
const FREE_PER_PEER: u32 = 20;
/// The first wait, in seconds; each further failure doubles it.
const FIRST_WAIT: i64 = 5;
/// The longest wait, in seconds.
const LONGEST_WAIT: i64 = 15 * 60;
/// Entries kept; beyond it those that need not wait are forgotten.
const ENTRIES: usize = 20_000;

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last: Timestamp,
    until: Timestamp,
}

/// Failed attempts of late.
#[derive(Debug, Default)]
pub struct Throttle {
    entries: Mutex<HashMap<u64, Entry>>,
    hasher: RandomState,
}

impl Throttle {
    /// Begins an attempt, counting it as failed for the time being.
    ///
    /// # Errors
    /// The seconds to wait first.
    pub fn begin(&self, login: &str, peer: Option<IpAddr>, now: Timestamp) -> Result<(), u64> {
        let keys = self.keys(login, peer);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            entries.retain(|_, entry| entry.until > now);
        }
        let wait = keys.iter().filter_map(|(key, _)| entries.get(key)).map(|entry| entry.until.duration_since(now).as_secs()).max();
        if let Some(wait) = wait.filter(|wait| *wait > 0) {
            return Err(wait.unsigned_abs());
        }
        for (key, free) in keys {
            let entry = entries.entry(key).or_insert(Entry { failures: 0, last: now, until: now });
            // What was long ago is forgiven.
            if now.duration_since(entry.last).as_secs() > LONGEST_WAIT {
                entry.failures = 0;
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.last = now;
            if entry.failures >= free {
                let doubled = FIRST_WAIT.saturating_mul(1_i64 << (entry.failures - free).min(20)).min(LONGEST_WAIT);
                entry.until = now.checked_add(SignedDuration::from_secs(doubled)).unwrap_or(now);
            }
        }
        Ok(())
    }

    /// The attempt succeeded: its login starts afresh, its peer gets this attempt back.
    pub fn succeeded(&self, login: &str, peer: Option<IpAddr>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, free) in self.keys(login, peer) {
            if free == FREE_PER_LOGIN {
                entries.remove(&key);
            } else if let Some(entry) = entries.get_mut(&key) {
                entry.failures = entry.failures.saturating_sub(1);
                entry.until = entry.last;
            }
        }
    }

    fn keys(&self, login: &str, peer: Option<IpAddr>) -> [(u64, u32); 2] {
        // A household has a whole /64.
        let peer = match peer {
            Some(IpAddr::V6(address)) => Some(u128::from(address) >> 64),
            Some(IpAddr::V4(address)) => Some(u128::from(u32::from(address))),
            None => None,
        };
        [(self.hasher.hash_one(("login", login.to_lowercase())), FREE_PER_LOGIN), (self.hasher.hash_one(("peer", peer)), FREE_PER_PEER)]
    }
}

/// A wait in words.
pub fn in_words(seconds: u64) -> String {
    match seconds {
        0 | 1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_fifth_failure_makes_the_next_wait_and_each_further_one_longer() {
        let throttle = Throttle::default();
        let mut now = start();
        for _ in 0..5 {
            assert_eq!(throttle.begin("Ada", None, now), Ok(()));
        }
        for wait in [5, 10, 20, 40] {
            assert_eq!(throttle.begin("ada", None, now), Err(wait), "case makes no new login");
            now += SignedDuration::from_secs(i64::try_from(wait).unwrap());
            assert_eq!(throttle.begin("ada", None, now), Ok(()));
        }
        assert_eq!(throttle.begin("lin", None, now), Ok(()), "another login is free");
    }

    #[test]
    fn success_starts_afresh_and_time_forgives() {
        let throttle = Throttle::default();
        for _ in 0..20 {
            assert_eq!(throttle.begin("ada", None, start()), Ok(()));
            throttle.succeeded("ada", None);
        }
        for _ in 0..5 {
            assert_eq!(throttle.begin("ada", None, start()), Ok(()));
        }
        assert!(throttle.begin("ada", None, start()).is_err());
        let later = start() + SignedDuration::from_hours(1);
        for _ in 0..5 {
            assert_eq!(throttle.begin("ada", None, later), Ok(()));
        }
    }

    #[test]
    fn one_peer_trying_many_logins_has_to_wait() {
        let throttle = Throttle::default();
        let peer = Some("192.0.2.1".parse().unwrap());
        for number in 0..20 {
            assert_eq!(throttle.begin(&format!("login{number}"), peer, start()), Ok(()));
        }
        assert_eq!(throttle.begin("login20", peer, start()), Err(5));
        assert_eq!(throttle.begin("login20", Some("192.0.2.2".parse().unwrap()), start()), Ok(()));
    }
}
