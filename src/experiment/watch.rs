//! The anytime-valid test: first successes replayed one by one, and whether the bound was ever crossed.
//!
//! Cast: [`Watched`] (the outcome), [`Mark`] (how things stood after so many events), [`Crossing`] (when the bound was reached). A replay
//! that is written down and gone on with is in [`replay`](super::replay).
//!
//! Every pair of arms has an urn e-process of its own (safe log-rank: Grünwald, Ly, Pérez-Ortiz & ter Schure 2020). An arm wins at the
//! first event after which it leads and its process against each other arm has reached 1/α at some time: intersection–union (Berger
//! 1982), valid however often one looks. The band of each variant against the control is the same process turned round, so that it leaves
//! out "no difference" exactly when the p-value is at most α. It never looks at a clock: the order of events is all it needs.

use serde::{Deserialize, Serialize};

use crate::ids::VariantNumber;
use crate::stats::{Arm, Estimate, Level, NotEstimable, PValue, PaceBand, PaceTrace, UrnProcess};

/// How things stood after some number of first successes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// First successes so far.
    pub after: usize,
    /// The moment handed over with the last of them, milliseconds since 1970; 0 where arms alone were.
    pub at: i64,
    /// Successes of each arm.
    pub successes: Vec<u64>,
    /// Anytime p-value of each variant against the control, in the order of the variants.
    pub p_values: Vec<PValue>,
    /// Band of the ratio of paces of each variant against the control, in the same order, holding at all times together.
    pub bands: Vec<PaceBand>,
}

/// The first event after which an arm had crossed the bound against everybody else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// First successes up to and with it.
    pub after: usize,
    /// The moment handed over with it, milliseconds since 1970; 0 where arms alone were.
    pub at: i64,
    /// The arm.
    pub variant: VariantNumber,
    /// The largest of its anytime p-values then.
    pub p_value: PValue,
    /// Successes of each arm by then.
    pub successes: Vec<u64>,
}

/// The replayed test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    pub(super) arms: usize,
    /// Of pair (one, other) with one < other at one · arms + other.
    pub(super) p_values: Vec<PValue>,
    pub(super) won: Option<Crossing>,
    pub(super) marks: Vec<Mark>,
}

impl Watched {
    /// Replays `firsts`, the arms of the first successes in the order of time, for arms with `trials` recipients. `effect` is the sealed
    /// log ratio worth finding, above 0, `alpha` the sealed level; `marks` are numbers of events, ascending, after which to take a mark.
    ///
    /// Events of an arm whose recipients have all succeeded are passed over. Cost: 41 divisions per event and other arm; each mark adds
    /// about 50 logarithms per hundred events before it and variant.
    ///
    /// # Errors
    /// Fewer than two arms, an arm without recipients, `effect` not above 0.
    pub fn replay(trials: &[u64], firsts: &[VariantNumber], effect: f64, alpha: f64, marks: &[usize]) -> Estimate<Self> {
        let level = if marks.is_empty() { None } else { Some(Level::from_alpha(alpha)?) };
        let mut race = Race::new(trials, effect, level)?;
        let mut marks = marks.iter().copied().peekable();
        let mut watched = Self { arms: trials.len(), p_values: Vec::new(), won: None, marks: Vec::new() };
        for (after, first) in (1..).zip(firsts) {
            race.observe(usize::from(first.0));
            if watched.won.is_none() {
                watched.won = race.crossing(alpha, after, 0);
            }
            if marks.next_if_eq(&after).is_some() {
                watched.marks.push(race.mark(after, 0));
            }
        }
        watched.p_values = race.p_values();
        Ok(watched)
    }

    /// Who crossed the bound against everybody else first, and the largest of its p-values then.
    pub fn won(&self) -> Option<(VariantNumber, PValue)> {
        self.won.as_ref().map(|won| (won.variant, won.p_value))
    }

    /// When the bound was crossed.
    pub fn crossing(&self) -> Option<&Crossing> {
        self.won.as_ref()
    }

    /// The anytime p-value between two arms, over all events.
    pub fn p_value(&self, one: VariantNumber, other: VariantNumber) -> PValue {
        self.p_values.get(usize::from(one.0) * self.arms + usize::from(other.0)).copied().unwrap_or(PValue::ONE)
    }

    /// The largest anytime p-value of an arm against any other.
    pub fn weakest(&self, arm: VariantNumber) -> PValue {
        let others = (0u8..).take(self.arms).map(VariantNumber).filter(|other| *other != arm);
        others.map(|other| self.p_value(arm, other)).fold(PValue::from_value(0.0), |largest, p| if p > largest { p } else { largest })
    }

    /// The marks asked for.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }
}

/// One process per pair, and the successes so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Race {
    trials: Vec<u64>,
    successes: Vec<u64>,
    /// Pair (one, other) with one < other; the others hold none.
    pairs: Vec<Option<UrnProcess>>,
    /// Of each variant against the control, where bands are asked for.
    traces: Vec<PaceTrace>,
}

impl Race {
    /// Bands are kept where a level for them is given.
    pub(super) fn new(trials: &[u64], effect: f64, level: Option<Level>) -> Estimate<Self> {
        if trials.len() < 2 {
            return Err(NotEstimable::TooFewArms);
        }
        let mut pairs = Vec::with_capacity(trials.len() * trials.len());
        for (one, trials_one) in trials.iter().enumerate() {
            for (other, trials_other) in trials.iter().enumerate() {
                pairs.push(if one < other { Some(UrnProcess::planned(*trials_one, *trials_other, effect)?) } else { None });
            }
        }
        let traces = level.map(|level| vec![PaceTrace::new(level); trials.len() - 1]).unwrap_or_default();
        Ok(Self { trials: trials.to_vec(), successes: vec![0; trials.len()], pairs, traces })
    }

    /// How it stands after `after` events, the bands narrowed by it.
    pub(super) fn mark(&mut self, after: usize, at: i64) -> Mark {
        let p_values = (1..self.trials.len()).map(|variant| self.p_value(0, variant)).collect();
        let bands = self.traces.iter_mut().map(PaceTrace::narrow).collect();
        Mark { after, at, successes: self.successes.clone(), p_values, bands }
    }

    /// Who is across the bound against everybody else, after `after` events.
    pub(super) fn crossing(&self, alpha: f64, after: usize, at: i64) -> Option<Crossing> {
        let (variant, p_value) = self.winner(alpha)?;
        Some(Crossing { after, at, variant, p_value, successes: self.successes.clone() })
    }

    /// Of every pair, in the order of [`Watched`].
    pub(super) fn p_values(&self) -> Vec<PValue> {
        let arms = self.trials.len();
        (0..arms).flat_map(|one| (0..arms).map(move |other| (one, other))).map(|(one, other)| self.p_value(one, other)).collect()
    }

    pub(super) fn trials(&self) -> &[u64] {
        &self.trials
    }

    pub(super) fn observe(&mut self, arm: usize) {
        let arms = self.trials.len();
        match (self.successes.get_mut(arm), self.trials.get(arm)) {
            (Some(successes), Some(trials)) if *successes < *trials => *successes += 1,
            _ => return,
        }
        for other in (0..arms).filter(|other| *other != arm) {
            let (index, side) = if arm < other { (arm * arms + other, Arm::A) } else { (other * arms + arm, Arm::B) };
            if let Some(Some(process)) = self.pairs.get_mut(index) {
                let share = process.share_b();
                // Refused only when nobody of this arm is waiting, which the count above excludes.
                let taken = process.observe(side).is_ok();
                // The control is the first of its pairs, so that they have the variants' numbers.
                let variant = if index < arms { index.checked_sub(1) } else { None };
                if let Some(trace) = variant.and_then(|variant| self.traces.get_mut(variant)).filter(|_| taken) {
                    trace.observe(side, share, process.ln_e());
                }
            }
        }
    }

    fn p_value(&self, one: usize, other: usize) -> PValue {
        let index = one.min(other) * self.trials.len() + one.max(other);
        self.pairs.get(index).and_then(Option::as_ref).map_or(PValue::ONE, UrnProcess::anytime_p_value)
    }

    fn winner(&self, alpha: f64) -> Option<(VariantNumber, PValue)> {
        let mut leader: Option<(usize, f64)> = None;
        for (arm, (successes, trials)) in self.successes.iter().zip(&self.trials).enumerate() {
            let rate = *successes as f64 / *trials as f64;
            if leader.is_none_or(|(_, best)| rate > best) {
                leader = Some((arm, rate));
            }
        }
        let (leader, _) = leader?;
        let mut largest = PValue::from_value(0.0);
        for other in (0..self.trials.len()).filter(|other| *other != leader) {
            let p = self.p_value(leader, other);
            if !p.at_most(alpha) {
                return None;
            }
            if p > largest {
                largest = p;
            }
        }
        u8::try_from(leader).ok().map(|leader| (VariantNumber(leader), largest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firsts(arms: &str) -> Vec<VariantNumber> {
        arms.bytes().map(|letter| VariantNumber(letter - b'A')).collect()
    }

    fn replay(trials: &[u64], arms: &str) -> Watched {
        Watched::replay(trials, &firsts(arms), 0.5, 0.05, &[]).unwrap()
    }

    #[test]
    fn one_sided_successes_cross_the_bound_and_even_ones_do_not() {
        let b_only = replay(&[1000, 1000], &"B".repeat(40));
        assert_eq!(b_only.won().map(|(variant, _)| variant), Some(VariantNumber(1)));
        assert!(b_only.crossing().unwrap().after < 40);
        assert_eq!(replay(&[1000, 1000], &"AB".repeat(40)).won(), None);
    }

    #[test]
    fn a_winner_must_beat_every_arm() {
        assert_eq!(replay(&[1000, 1000, 1000], &"BC".repeat(60)).won(), None, "B and C both beat A, not each other");
        assert_eq!(replay(&[1000, 1000, 1000], &"BBBBBCA".repeat(20)).won().map(|(variant, _)| variant), Some(VariantNumber(1)));
    }

    // What was shown once is not taken back by what comes later.
    #[test]
    fn a_crossing_stays() {
        let then_even = "B".repeat(40) + &"A".repeat(40);
        assert_eq!(replay(&[1000, 1000], &then_even).won(), replay(&[1000, 1000], &"B".repeat(40)).won());
    }

    #[test]
    fn exchanging_the_arms_exchanges_the_winner_only() {
        let (one, other) = (replay(&[500, 500], &"B".repeat(40)), replay(&[500, 500], &"A".repeat(40)));
        assert!((one.weakest(VariantNumber(1)).ln() - other.weakest(VariantNumber(0)).ln()).abs() < 1e-9);
        assert_eq!(other.won().map(|(variant, _)| variant), Some(VariantNumber::CONTROL));
    }

    #[test]
    fn marks_tell_how_it_stood() {
        let watched = Watched::replay(&[50, 50], &firsts("ABBB"), 0.5, 0.05, &[1, 4]).unwrap();
        let counts: Vec<(usize, Vec<u64>)> = watched.marks().iter().map(|mark| (mark.after, mark.successes.clone())).collect();
        assert_eq!(counts, vec![(1, vec![1, 0]), (4, vec![1, 3])]);
    }

    #[test]
    fn band_and_p_value_of_every_variant_agree_at_every_mark() {
        let arms = firsts(&"ABCBCBBAB".repeat(14));
        let every: Vec<usize> = (1..=arms.len()).collect();
        let watched = Watched::replay(&[400, 300, 500], &arms, 0.5, 0.05, &every).unwrap();
        let mut outside = 0;
        for mark in watched.marks() {
            assert_eq!((mark.p_values.len(), mark.bands.len()), (2, 2));
            for (p_value, band) in mark.p_values.iter().zip(&mark.bands) {
                let excludes = band.band.lower >= 1.0 || band.band.upper.is_some_and(|upper| upper <= 1.0);
                assert_eq!(excludes, p_value.at_most(0.05), "{mark:?}");
                outside += usize::from(excludes);
            }
        }
        assert!(outside > 10, "B beats A in the end");
        let fewer = Watched::replay(&[400, 300, 500], &arms, 0.5, 0.05, &[arms.len()]).unwrap();
        let last = |watched: &Watched| watched.marks().last().unwrap().bands[0].band;
        assert!(last(&fewer).lower <= last(&watched).lower && last(&fewer).upper >= last(&watched).upper, "fewer marks leave it wider");
    }

    #[test]
    fn more_successes_than_recipients_are_passed_over() {
        assert_eq!(replay(&[2, 2], "AAAA").won(), None);
        assert!(Watched::replay(&[2, 0], &[], 0.5, 0.05, &[]).is_err());
        assert!(Watched::replay(&[2], &[], 0.5, 0.05, &[]).is_err());
    }
}
