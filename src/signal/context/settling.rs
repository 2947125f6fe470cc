//! When a judgement becomes final, and what is left of its time then.
//!
//! Cast: [`settle`], its answer [`Settling`], [`to_the_hour`].
//!
//! Never asks what a hit is taken for.

/// A letter is judged when it has been quiet for so long.
pub const QUIET: i64 = 600_000;
/// Judgements are final so long after the last hit nearby, and at the latest twice as long after the hit itself.
pub const FINAL: i64 = 24 * 3_600_000;
/// Final times are cut to this.
pub const HOUR: i64 = 3_600_000;

/// Which hits are final now, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settling {
    /// One answer per hit, in the order given. A hit that was final stays so.
    pub is_final: Vec<bool>,
    /// The next moment worth looking, milliseconds since 1970; none once everything is final.
    pub look_again: Option<i64>,
}

/// Decides what is final at `now`, from each hit's moment (milliseconds) and whether it was final before.
///
/// Hits with less than [`QUIET`] between them become final together, [`FINAL`] after the last of them, because a rule may need them
/// all to the second; one that goes on for longer does not keep its beginning open for more than twice that.
pub fn settle(hits: &[(i64, bool)], now: i64) -> Settling {
    let mut open: Vec<(i64, usize)> = hits.iter().enumerate().filter(|(_, (_, done))| !done).map(|(index, (at, _))| (*at, index)).collect();
    open.sort_unstable();
    let mut is_final: Vec<bool> = hits.iter().map(|(_, done)| *done).collect();
    let mut look_again: Option<i64> = None;
    for cluster in open.chunk_by(|one, next| next.0 - one.0 < QUIET) {
        let (Some((begin, _)), Some((end, _))) = (cluster.first(), cluster.last()) else { continue };
        let mut left = None;
        for (at, index) in cluster {
            let done = now >= end.saturating_add(FINAL) || now >= at.saturating_add(2 * FINAL);
            if let Some(one) = is_final.get_mut(*index) {
                *one = done;
            }
            if !done && left.is_none() {
                left = Some(*at);
            }
        }
        let Some(left) = left else { continue };
        let quiet = end.saturating_add(QUIET);
        let final_at = end.saturating_add(FINAL).min(left.max(*begin).saturating_add(2 * FINAL));
        let next = if now < quiet { quiet.min(final_at) } else { final_at };
        look_again = Some(look_again.map_or(next, |known| known.min(next)));
    }
    Settling { is_final, look_again }
}

/// A final moment: the beginning of its hour, in milliseconds since 1970.
pub const fn to_the_hour(at: i64) -> i64 {
    at - at.rem_euclid(HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_looked_at_when_quiet_and_becomes_final_after_a_day() {
        let at = |hits: &[(i64, bool)], now: i64, is_final: &[bool], look_again: Option<i64>| {
            assert_eq!(settle(hits, now), Settling { is_final: is_final.to_vec(), look_again }, "{hits:?} at {now}");
        };
        at(&[], 0, &[], None);
        at(&[(0, false)], 0, &[false], Some(QUIET));
        at(&[(0, false)], QUIET, &[false], Some(FINAL));
        at(&[(0, false)], FINAL, &[true], None);
        at(&[(0, true), (9, false)], FINAL, &[true, false], Some(FINAL + 9));
        // Near each other: together. Far from each other: each in its time.
        at(&[(0, false), (QUIET - 1, false)], FINAL, &[false, false], Some(FINAL + QUIET - 1));
        at(&[(QUIET, false), (0, false)], FINAL, &[false, true], Some(FINAL + QUIET));
        // A stream that never ends does not keep its beginning to the second for ever.
        let stream: Vec<(i64, bool)> = (0..400).map(|number| (number * (QUIET - 1), false)).collect();
        let settled = settle(&stream, 2 * FINAL + 5);
        assert_eq!(settled.is_final.iter().filter(|done| **done).count(), 1);
        assert_eq!(settled.look_again, Some(QUIET - 1 + 2 * FINAL));
    }

    #[test]
    fn hours_begin_before_their_moments_on_both_sides_of_1970() {
        assert_eq!((to_the_hour(0), to_the_hour(HOUR - 1), to_the_hour(-1)), (0, 0, -HOUR));
    }
}
