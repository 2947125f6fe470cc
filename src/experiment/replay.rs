//! The anytime-valid test as far as it has been replayed: it can be written down, read back and gone on with.
//!
//! Cast: [`Replay`], [`Base`] (what it started from), its outcome [`Watched`].
//!
//! Whether it goes from the first success to the last in one go or is written down in between any number of times, the outcome is the same
//! to the last bit: marks are taken after numbers of successes that do not depend on how many will come. It never looks at a clock.

use serde::{Deserialize, Serialize};

use crate::experiment::watch::{Crossing, Mark, Race, Watched};
use crate::ids::VariantNumber;
use crate::stats::{Estimate, Level};

/// Most marks kept; when there are more, every second one is dropped. A band has between half of it and all of it as points.
const MARKS: usize = 120;
/// Trials that are not fixed may have moved by one in so many since a replay began.
const NEARLY: u64 = 100;

/// What a replay starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// Recipients of each arm, the control first.
    pub trials: Vec<u64>,
    /// The sealed log ratio worth finding, above 0.
    pub effect: f64,
    /// The sealed level.
    pub alpha: f64,
    /// Whether the trials were written down and never change; otherwise some letter may still come back.
    pub fixed: bool,
}

impl Base {
    /// Whether what was replayed from this base still goes for what is known `now`: a few letters that came back since move nothing.
    pub fn goes_for(&self, now: &Self) -> bool {
        let near = |(one, other): (&u64, &u64)| if now.fixed { one == other } else { one.abs_diff(*other) <= other / NEARLY };
        (self.effect, self.alpha, self.fixed, self.trials.len()) == (now.effect, now.alpha, now.fixed, now.trials.len())
            && self.trials.iter().zip(&now.trials).all(near)
    }
}

/// A test in the middle of its replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    base: Base,
    race: Race,
    after: usize,
    last_at: i64,
    won: Option<Crossing>,
    marks: Vec<Mark>,
    /// A mark is taken after every so many successes.
    every: usize,
}

impl Replay {
    /// Before the first success.
    ///
    /// # Errors
    /// Fewer than two arms, an arm without recipients, an effect not above 0, a level out of range.
    pub fn begin(base: Base) -> Estimate<Self> {
        let race = Race::new(&base.trials, base.effect, Some(Level::from_alpha(base.alpha)?))?;
        Ok(Self { base, race, after: 0, last_at: 0, won: None, marks: Vec::new(), every: 1 })
    }

    /// What it started from.
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// First successes so far.
    pub const fn after(&self) -> usize {
        self.after
    }

    /// Takes the next first success: its arm and when it came, milliseconds since 1970. One of an arm whose recipients have all succeeded
    /// is passed over.
    pub fn observe(&mut self, arm: VariantNumber, at: i64) {
        self.race.observe(usize::from(arm.0));
        self.after += 1;
        self.last_at = at;
        if self.won.is_none() {
            self.won = self.race.crossing(self.base.alpha, self.after, at);
        }
        if self.after.is_multiple_of(self.every) {
            self.marks.push(self.race.mark(self.after, at));
            if self.marks.len() > MARKS {
                self.every *= 2;
                self.marks.retain(|mark| mark.after.is_multiple_of(self.every));
            }
        }
    }

    /// How it has come out so far, with a mark at the last success.
    pub fn watched(&self) -> Watched {
        let mut marks = self.marks.clone();
        if marks.last().is_none_or(|mark| mark.after < self.after) && self.after > 0 {
            // A copy: what is narrowed to be shown now must not depend on who looks when.
            marks.push(self.race.clone().mark(self.after, self.last_at));
        }
        Watched { arms: self.race.trials().len(), p_values: self.race.p_values(), won: self.won.clone(), marks }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(trials: &[u64], fixed: bool) -> Base {
        Base { trials: trials.to_vec(), effect: 0.3, alpha: 0.05, fixed }
    }

    fn play(replay: &mut Replay, arms: &[u8], from: usize) {
        for (number, arm) in arms.iter().enumerate().skip(from) {
            replay.observe(VariantNumber(*arm), 60_000 * number as i64);
        }
    }

    proptest! {
        #[test]
        fn written_down_anywhere_and_gone_on_with_it_comes_out_the_same(
            arms in prop::collection::vec(0..3_u8, 0..900),
            cuts in prop::collection::vec(0..900_usize, 0..6),
            lean in 0..4_u8,
        ) {
            // With a lean, most of the control's successes go to another arm: then the bound is crossed.
            let arms: Vec<u8> = arms.iter().enumerate().map(|(number, arm)| if number % 4 < usize::from(lean) { (*arm).max(1) } else { *arm }).collect();
            let mut whole = Replay::begin(base(&[500, 400, 300], true)).unwrap();
            play(&mut whole, &arms, 0);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(arms.len())).collect();
            cuts.sort_unstable();
            let (mut parts, mut from) = (Replay::begin(base(&[500, 400, 300], true)).unwrap(), 0);
            for cut in cuts {
                play(&mut parts, &arms[..cut], from);
                from = cut;
                // Somebody looks, and it is written down.
                let shown = parts.watched();
                let text = serde_json::to_string(&(&parts, &shown)).unwrap();
                let (read, seen): (Replay, Watched) = serde_json::from_str(&text).unwrap();
                prop_assert_eq!((&read, &seen), (&parts, &shown));
                parts = read;
            }
            play(&mut parts, &arms, from);
            prop_assert_eq!(parts.watched(), whole.watched());
        }
    }

    #[test]
    fn it_says_what_a_replay_in_one_go_says() {
        let arms: Vec<u8> = b"ABCBCBBAB".repeat(30).iter().map(|letter| letter - b'A').collect();
        let firsts: Vec<VariantNumber> = arms.iter().map(|arm| VariantNumber(*arm)).collect();
        let mut replay = Replay::begin(base(&[400, 300, 500], true)).unwrap();
        play(&mut replay, &arms, 0);
        let (shown, plain) = (replay.watched(), Watched::replay(&[400, 300, 500], &firsts, 0.3, 0.05, &[]).unwrap());
        assert_eq!(shown.p_values, plain.p_values);
        let crossed = |watched: &Watched| watched.crossing().map(|won| (won.after, won.variant, won.p_value));
        assert!(crossed(&shown).is_some());
        assert_eq!(crossed(&shown), crossed(&plain));
        assert_eq!(shown.crossing().map(|won| won.at), crossed(&plain).map(|(after, _, _)| 60_000 * (after as i64 - 1)));
        let marks = shown.marks();
        assert!((60..=121).contains(&marks.len()) && marks.last().map(|mark| mark.after) == Some(arms.len()), "{}", marks.len());
    }

    #[test]
    fn letters_that_come_back_move_a_base_a_little_and_never_a_fixed_one() {
        for (then, now, fixed, goes) in [
            ([1000, 1000], [1000, 1000], true, true),
            ([1000, 1000], [1000, 999], true, false),
            ([1000, 1000], [1000, 990], false, false),
            ([1000, 1000], [1000, 992], false, true),
            ([1000, 1000], [0, 1000], false, false),
        ] {
            assert_eq!(base(&then, fixed).goes_for(&base(&now, fixed)), goes, "{then:?} {now:?}");
        }
        assert!(!base(&[9, 9], false).goes_for(&base(&[9, 9], true)), "who is at risk has been written down since");
        assert!(!base(&[9, 9], true).goes_for(&base(&[9, 9, 9], true)));
    }
}
