//! The sealed rule applied to counts: who won, nobody, or not yet.
//!
//! Cast: [`Evidence`] (counts and checks), [`compare`] (one variant against another), [`decide`], [`Decision`].
//!
//! Nothing is ever decided by a point estimate alone, and a check that fails forbids a verdict. It reads no clock: the caller says
//! whether the sealed time has come.

use crate::experiment::design::Design;
use crate::ids::VariantNumber;
use crate::stats::{Count, Estimate, Level, NotEstimable, PValue, RatioReading, ScoreReading, fisher, scas_difference, scas_ratio};

/// Checks below this p-value forbid a verdict (Fabijan et al. 2019 use 0.0005 to 0.001 for sample ratios).
pub const CHECK_LEVEL: f64 = 0.001;
/// Under this least expected count the exact test is used (Cochran 1954).
const EXACT_BELOW: f64 = 5.0;

/// What the decision rests on.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Successes of each arm, the control first, in the counting that decides.
    pub arms: Vec<Count>,
    /// p-value of the split as assigned and as delivered, whichever is smaller; none where it cannot be told.
    pub sample_ratio: Option<PValue>,
    /// p-value of equal machine rates across the arms; none where it cannot be told.
    pub machine_balance: Option<PValue>,
    /// Whether the sealed observation is over.
    pub is_due: bool,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// This variant beats every other at the sealed level.
    Winner {
        /// Which.
        variant: VariantNumber,
        /// The largest p-value against any other.
        p_value: PValue,
    },
    /// The time is over and no variant beats every other.
    NoWinner {
        /// The one with the highest rate.
        leader: VariantNumber,
        /// Its largest p-value against any other.
        p_value: PValue,
    },
    /// The sealed time has not come.
    NotYet,
    /// A check forbids a verdict.
    Stopped(Veto),
    /// The counts allow none.
    NotEstimable(NotEstimable),
}

/// Which check forbids a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Veto {
    /// The arms are not as large as they were drawn.
    SampleRatio,
    /// Machines hit the arms unequally.
    MachineBalance,
}

/// Two arms compared.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Difference, variant − control, with its interval.
    pub difference: ScoreReading,
    /// Ratio, variant / control, with its interval.
    pub ratio: RatioReading,
    /// The p-value that decides.
    pub p_value: PValue,
    /// Which test gave it.
    pub method: &'static str,
}

/// The name of the usual test and interval.
pub const SCORE: &str = "skewness-corrected score (SCAS, Laud 2017)";
/// The name of the test for small counts.
pub const EXACT: &str = "Fisher's exact test (two-sided by minimum likelihood)";

/// Compares `b` with `a`. Test and interval are the same family, so that they never disagree; only where a count of fewer than 5 is
/// expected the p-value is Fisher's.
///
/// # Errors
/// An arm without recipients.
pub fn compare(a: Count, b: Count, level: Level) -> Estimate<Pair> {
    let difference = scas_difference(a, b, level)?;
    let ratio = scas_ratio(a, b, level)?;
    if least_expected(a, b) < EXACT_BELOW {
        return Ok(Pair { difference, ratio, p_value: fisher(a, b)?, method: EXACT });
    }
    Ok(Pair { difference, ratio, p_value: difference.test.p_value, method: SCORE })
}

fn least_expected(a: Count, b: Count) -> f64 {
    let (n_a, n_b) = (a.trials() as f64, b.trials() as f64);
    let successes = (a.successes() + b.successes()) as f64;
    let rarer = successes.min(n_a + n_b - successes);
    n_a.min(n_b) * rarer / (n_a + n_b)
}

/// Applies the sealed rule. A winner must differ from each other arm at the sealed level (intersection–union, Berger 1982): with no
/// difference at all, some arm is called a winner with at most that chance, however many arms there are.
pub fn decide(design: &Design, evidence: &Evidence) -> Decision {
    let broken = |check: Option<PValue>| check.is_some_and(|p| p.at_most(CHECK_LEVEL));
    if broken(evidence.sample_ratio) {
        return Decision::Stopped(Veto::SampleRatio);
    }
    if broken(evidence.machine_balance) {
        return Decision::Stopped(Veto::MachineBalance);
    }
    match leader_against_all(&evidence.arms, design.significance) {
        Err(reason) => Decision::NotEstimable(reason),
        Ok(_) if !evidence.is_due => Decision::NotYet,
        Ok((variant, p_value)) if p_value.at_most(design.significance) => Decision::Winner { variant, p_value },
        Ok((leader, p_value)) => Decision::NoWinner { leader, p_value },
    }
}

/// The arm with the highest rate (the first of equals) and its largest p-value against any other.
fn leader_against_all(arms: &[Count], significance: f64) -> Estimate<(VariantNumber, PValue)> {
    let level = Level::from_alpha(significance)?;
    let mut leader: Option<(usize, f64, Count)> = None;
    for (index, arm) in arms.iter().enumerate() {
        let rate = arm.rate()?;
        if leader.is_none_or(|(_, best, _)| rate > best) {
            leader = Some((index, rate, *arm));
        }
    }
    let Some((index, _, best)) = leader else { return Err(NotEstimable::TooFewArms) };
    let mut largest: Option<PValue> = None;
    for (_, other) in arms.iter().enumerate().filter(|(other, _)| *other != index) {
        let p = compare(*other, best, level)?.p_value;
        if largest.is_none_or(|known| p > known) {
            largest = Some(p);
        }
    }
    let number = u8::try_from(index).map_err(|_| NotEstimable::TooFewArms)?;
    largest.map(|p| (VariantNumber(number), p)).ok_or(NotEstimable::TooFewArms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::design::{Metric, Rule};

    fn check(arms: &[(u64, u64)], change: impl Fn(&mut Evidence), expected: impl Fn(&Decision) -> bool) {
        let design = Design {
            metric: Metric::Click,
            weights: vec![1; arms.len()],
            share: 1.0,
            significance: 0.05,
            observe_hours: 1,
            rule: Rule::Hand,
        };
        let arms = arms.iter().map(|(successes, trials)| Count::new(*successes, *trials).unwrap()).collect();
        let mut evidence = Evidence { arms, sample_ratio: None, machine_balance: None, is_due: true };
        change(&mut evidence);
        let decision = decide(&design, &evidence);
        assert!(expected(&decision), "{decision:?}");
    }

    #[test]
    fn a_clear_difference_wins_for_the_better_arm_whichever_it_is() {
        check(&[(100, 5000), (180, 5000)], |_| {}, |d| matches!(d, Decision::Winner { variant: VariantNumber(1), .. }));
        check(&[(180, 5000), (100, 5000)], |_| {}, |d| matches!(d, Decision::Winner { variant: VariantNumber(0), .. }));
    }

    #[test]
    fn a_larger_rate_alone_wins_nothing() {
        check(&[(100, 5000), (110, 5000)], |_| {}, |d| matches!(d, Decision::NoWinner { leader: VariantNumber(1), .. }));
        // B beats the control but not C: no winner among three.
        check(&[(100, 5000), (180, 5000), (175, 5000)], |_| {}, |d| matches!(d, Decision::NoWinner { .. }));
    }

    #[test]
    fn before_its_time_nothing_is_decided() {
        check(&[(100, 5000), (180, 5000)], |evidence| evidence.is_due = false, |d| *d == Decision::NotYet);
    }

    #[test]
    fn a_failed_check_forbids_a_verdict() {
        let bad = Some(PValue::from_value(1e-6));
        check(&[(100, 5000), (180, 5000)], |evidence| evidence.sample_ratio = bad, |d| *d == Decision::Stopped(Veto::SampleRatio));
        check(&[(100, 5000), (180, 5000)], |evidence| evidence.machine_balance = bad, |d| *d == Decision::Stopped(Veto::MachineBalance));
    }

    #[test]
    fn an_empty_arm_cannot_be_estimated() {
        check(&[(0, 0), (180, 5000)], |_| {}, |d| matches!(d, Decision::NotEstimable(NotEstimable::EmptyArm)));
    }

    #[test]
    fn small_counts_are_tested_exactly() {
        let level = Level::from_alpha(0.05).unwrap();
        let small = compare(Count::new(1, 40).unwrap(), Count::new(3, 40).unwrap(), level).unwrap();
        assert_eq!(small.method, EXACT);
        let large = compare(Count::new(100, 400).unwrap(), Count::new(130, 400).unwrap(), level).unwrap();
        assert_eq!(large.method, SCORE);
    }
}
