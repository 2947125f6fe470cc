//! Guessing tokens is pointless, and loud guessing is turned away: tokens that are not ours are counted per source, in memory.
//!
//! Cast: [`Misses`]. A genuine token is never counted, so nobody behind a shared address loses a picture or a link.
//!
//! No address is kept: a source is a place in a table of fixed size, found by a hash whose key ends with the process. Two sources may share
//! a place; then they share what is left to guess.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

/// Misses of one source within a minute before it is turned away.
pub const MOST: u64 = 300;
/// Places: 512 KiB altogether.
const PLACES: usize = 1 << 16;
/// Of a place, the lower bits are the count, the upper ones the minute.
const COUNT_BITS: u32 = 24;

/// Misses of late.
pub struct Misses {
    hasher: RandomState,
    places: Vec<AtomicU64>,
}

impl Default for Misses {
    fn default() -> Self {
        Self { hasher: RandomState::new(), places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Misses {
    /// Counts a miss. Answers whether the source has had too many within this minute.
    pub fn note(&self, peer: IpAddr, now: Timestamp) -> bool {
        let minute = u64::try_from(now.as_second() / 60).unwrap_or_default();
        let place = self.hasher.hash_one(source(peer)) as usize % PLACES;
        let Some(place) = self.places.get(place) else { return false };
        let add = |value: u64| {
            let count = if value >> COUNT_BITS == minute { value & ((1 << COUNT_BITS) - 1) } else { 0 };
            minute << COUNT_BITS | (count + 1).min(MOST + 1)
        };
        let before = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(add(value))).unwrap_or_default();
        add(before) & ((1 << COUNT_BITS) - 1) > MOST
    }
}

/// An address of version 4; of version 6 the network, since a machine may have all addresses of one.
fn source(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_turned_away_after_many_misses_and_only_for_its_minute() {
        let misses = Misses::default();
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..MOST).all(|_| !misses.note(peer, at(0))));
        assert!(misses.note(peer, at(1)) && misses.note(peer, at(59)));
        assert!(misses.note("::ffff:192.0.2.1".parse().unwrap(), at(2)), "the same machine");
        assert!(!misses.note(peer, at(60)), "forgiven");
    }

    #[test]
    fn other_sources_have_their_own_count_and_a_network_of_version_6_has_one() {
        let misses = Misses::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for number in 0..=MOST {
            misses.note(format!("2001:db8::{number:x}").parse().unwrap(), now);
        }
        assert!(misses.note("2001:db8::ffff".parse().unwrap(), now));
        // One of a few may share its place; not all of them.
        let free = (0..8).filter(|number| !misses.note(format!("2001:db8:{number}:1::").parse().unwrap(), now)).count();
        assert!(free >= 6, "{free}");
    }
}
