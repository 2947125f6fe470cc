//! Who asks for one letter's pixel and links far oftener than anybody reads.
//!
//! Cast: [`Floods`].
//!
//! A token is good for as many requests as its holder likes to send: a loop over one's own pixel would fill the disk, and all hits of a
//! letter are judged together, in memory. So only so many of a letter are stored in a day; those above are answered like all others and
//! counted. Nobody's reading comes near, nor do machines that open letters.
//!
//! It keeps numbers only, of a fixed size, and forgets them with the day. It never says whose letter it was.

use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use jiff::Timestamp;

use crate::ids::Pseudonym;

/// Most hits stored of one letter in a day (UTC) by one process.
pub const MOST_A_DAY: u16 = 10_000;
/// Numbers in a row; several letters share one.
const NUMBERS: usize = 1 << 16;
const DAY: i64 = 86_400;

/// Hits of each letter today. A letter has a number in either row, and the smaller is no less than its hits: two letters of a million that
/// share one number hardly ever share both, so that a flood of one takes nothing from others (Cormode and Muthukrishnan 2005,
/// "An improved data stream summary: the count-min sketch").
pub struct Floods {
    day: AtomicI64,
    rows: [Box<[AtomicU16]>; 2],
}

impl Default for Floods {
    fn default() -> Self {
        let row = || (0..NUMBERS).map(|_| AtomicU16::new(0)).collect();
        Self { day: AtomicI64::new(0), rows: [row(), row()] }
    }
}

impl Floods {
    /// Whether one more hit of this letter may be stored; counts it then.
    pub fn admit(&self, whose: Pseudonym, now: Timestamp) -> bool {
        let day = now.as_second().div_euclid(DAY);
        // A clock that was put back begins a day, too.
        if self.day.load(Ordering::Relaxed) != day && self.day.swap(day, Ordering::Relaxed) != day {
            for number in self.rows.iter().flatten() {
                number.store(0, Ordering::Relaxed);
            }
        }
        let [a, b, c, d, ..] = *whose.as_bytes();
        let places = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let numbers = || self.rows.iter().zip(places).filter_map(|(row, place)| row.get(usize::from(place)));
        let so_far = numbers().map(|number| number.load(Ordering::Relaxed)).min().unwrap_or_default();
        if so_far >= MOST_A_DAY {
            return false;
        }
        for number in numbers() {
            // Of letters that share it, one may be flooded: it stays where it is then, far below what it can hold.
            if number.load(Ordering::Relaxed) < MOST_A_DAY {
                number.fetch_add(1, Ordering::Relaxed);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(start: [u8; 4]) -> Pseudonym {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&start);
        Pseudonym::from_bytes(bytes)
    }

    fn admitted(floods: &Floods, whose: Pseudonym, tries: usize, now: &str) -> usize {
        let now = now.parse().unwrap();
        (0..tries).filter(|_| floods.admit(whose, now)).count()
    }

    #[test]
    fn a_letter_has_its_number_a_day_and_others_theirs() {
        let floods = Floods::default();
        let most = usize::from(MOST_A_DAY);
        let flooded = letter([1, 2, 3, 4]);
        assert_eq!(admitted(&floods, flooded, 3 * most, "2026-11-22T10:00:00Z"), most);
        // One number is shared with it, never both.
        for other in [letter([1, 2, 9, 9]), letter([9, 9, 3, 4]), letter([3, 4, 1, 2])] {
            assert_eq!(admitted(&floods, other, 2 * most, "2026-11-22T23:59:59Z"), most, "{other}");
        }
        assert_eq!(admitted(&floods, flooded, 1, "2026-11-22T23:59:59Z"), 0);
        assert_eq!(admitted(&floods, flooded, 5, "2026-11-23T00:00:00Z"), 5);
    }

    #[test]
    fn a_clock_put_back_lets_hits_in() {
        let floods = Floods::default();
        let flooded = letter([0, 0, 0, 0]);
        assert_eq!(admitted(&floods, flooded, 20_000, "2026-11-22T10:00:00Z"), usize::from(MOST_A_DAY));
        assert_eq!(admitted(&floods, flooded, 3, "1969-12-31T23:00:00Z"), 3);
    }
}
