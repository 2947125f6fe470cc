//! The sealed rule applied to counts: who won, nobody, or not yet.
//!
//! Cast: [`Evidence`] (counts and checks), [`test`] and [`compare`] (one variant against another), [`judge_guard`], [`decide`],
//! [`Decision`].
//!
//! Nothing is ever decided by a point estimate alone, and a check that fails forbids a verdict. It reads no clock: the caller says
//! whether the sealed time has come.

use crate::experiment::design::{Design, Guard, Limit, Method};
use crate::experiment::watch::Watched;
use crate::ids::VariantNumber;
use crate::stats::{
    Count, Estimate, Level, NotEstimable, PValue, RatioReading, ScoreFamily, ScoreReading, fisher, guard_not_worse, scas_difference,
    scas_ratio, score_test,
};

/// Checks below this p-value forbid a verdict (Fabijan et al. 2019 use 0.0005 to 0.001 for sample ratios).
pub const CHECK_LEVEL: f64 = 0.001;
/// Under this least expected count the exact test is used (Cochran 1954).
pub const EXACT_BELOW: f64 = 5.0;

/// What the decision rests on.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Successes of each arm, the control first, in the counting that decides, up to the sealed time.
    pub arms: Vec<Count>,
    /// p-value of the split as assigned and as delivered, whichever is smaller; none where it cannot be told.
    pub sample_ratio: Option<PValue>,
    /// p-value of equal machine rates across the arms; none where it cannot be told.
    pub machine_balance: Option<PValue>,
    /// Every guard of every variant.
    pub guards: Vec<GuardReading>,
    /// The first successes one by one, for the anytime-valid method; none where they were not read.
    pub watched: Option<Watched>,
    /// The first crossing of the anytime-valid bound as it was written down; none while there is none.
    pub crossing: Option<Recorded>,
    /// Whether every letter of the test is out: nothing is decided before.
    pub all_sent: bool,
    /// Whether the sealed observation is over.
    pub is_due: bool,
}

/// A crossing of the anytime-valid bound that was written down, and is never taken back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    /// Who crossed it against every other arm.
    pub variant: VariantNumber,
    /// The largest anytime p-value against any other, then.
    pub p_value: PValue,
    /// Whether every check let it pass at some time: then the verdict stays, whatever the checks say later.
    pub settled: bool,
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
    /// The sealed time has not come, or the anytime-valid test has not seen enough.
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
    /// The variant that would win is worse in this respect.
    Guard(VariantNumber, Guard),
    /// The arms got the same letter and differ all the same.
    SameLetters,
}

/// How a guarded rate of a variant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardState {
    /// Shown to be worse by less than the margin.
    Held,
    /// Neither shown to be within the margin nor to be broken: too few recipients to tell.
    Open,
    /// Worse by more than the margin, and worse by more than chance explains.
    Broken,
}

/// A guarded rate of a variant beside the control's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardReading {
    /// The sealed limit.
    pub limit: Limit,
    /// The variant.
    pub variant: VariantNumber,
    /// The control's count.
    pub control: Count,
    /// The variant's count.
    pub count: Count,
    /// One-sided p-value against "worse by the margin or more": small shows that it is not.
    pub not_worse: Option<PValue>,
    /// How it stands.
    pub state: GuardState,
}

/// Judges one guard of one variant, by the one-sided SCAS score test of non-inferiority (Laud 2017; Farrington & Manning 1990).
///
/// Only [`GuardState::Broken`] forbids a winner: with few recipients a rare complaint can be neither excluded nor blamed, and that is said.
pub fn judge_guard(limit: Limit, variant: VariantNumber, control: Count, count: Count) -> GuardReading {
    let not_worse = guard_not_worse(control, count, limit.margin).ok();
    // "The control is not worse than the variant by anything" is the same as "the variant is worse".
    let worse = guard_not_worse(count, control, 0.0).is_ok_and(|p| p.at_most(limit.level));
    let beyond = match (control.rate(), count.rate()) {
        (Ok(control), Ok(variant)) => variant - control > limit.margin,
        _ => false,
    };
    let state = if not_worse.is_some_and(|p| p.at_most(limit.level)) {
        GuardState::Held
    } else if worse && beyond {
        GuardState::Broken
    } else {
        GuardState::Open
    };
    GuardReading { limit, variant, control, count, not_worse, state }
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

/// The p-value that decides between two arms, two-sided, and which test gave it: the score test of the interval's family, so that they
/// never disagree; only where fewer than 5 are expected in a cell, Fisher's.
///
/// # Errors
/// An arm without recipients.
pub fn test(a: Count, b: Count) -> Estimate<(PValue, &'static str)> {
    if least_expected(a, b) < EXACT_BELOW {
        Ok((fisher(a, b)?, EXACT))
    } else {
        Ok((score_test(ScoreFamily::SkewnessCorrected, a, b)?.p_value, SCORE))
    }
}

/// Compares `b` with `a`: [`test`] with the intervals of difference and ratio.
///
/// # Errors
/// An arm without recipients.
pub fn compare(a: Count, b: Count, level: Level) -> Estimate<Pair> {
    let (difference, ratio) = (scas_difference(a, b, level)?, scas_ratio(a, b, level)?);
    let (p_value, method) = test(a, b)?;
    Ok(Pair { difference, ratio, p_value, method })
}

fn least_expected(a: Count, b: Count) -> f64 {
    let (n_a, n_b) = (a.trials() as f64, b.trials() as f64);
    if n_a + n_b == 0.0 {
        return 0.0;
    }
    let successes = (a.successes() + b.successes()) as f64;
    let rarer = successes.min(n_a + n_b - successes);
    n_a.min(n_b) * rarer / (n_a + n_b)
}

/// Applies the sealed rule. A winner must differ from each other arm at the sealed level (intersection–union, Berger 1982): with no
/// difference at all, some arm is called a winner with at most that chance, however many arms there are.
pub fn decide(design: &Design, evidence: &Evidence) -> Decision {
    if let (Method::Anytime, Some(Recorded { variant, p_value, settled: true })) = (design.method, evidence.crossing) {
        return Decision::Winner { variant, p_value };
    }
    let broken = |check: Option<PValue>| check.is_some_and(|p| p.at_most(CHECK_LEVEL));
    if broken(evidence.sample_ratio) {
        return Decision::Stopped(Veto::SampleRatio);
    }
    if broken(evidence.machine_balance) {
        return Decision::Stopped(Veto::MachineBalance);
    }
    let found = match (design.method, &evidence.watched) {
        (Method::Fixed, _) => once(design, evidence),
        (Method::Anytime, watched) => whenever(watched.as_ref(), evidence),
    };
    match found {
        Decision::Winner { .. } if design.same_letters => Decision::Stopped(Veto::SameLetters),
        Decision::Winner { variant, .. } => broken_guard(evidence, variant).map_or(found, Decision::Stopped),
        other => other,
    }
}

fn broken_guard(evidence: &Evidence, winner: VariantNumber) -> Option<Veto> {
    let broken = |guard: &&GuardReading| guard.variant == winner && guard.state == GuardState::Broken;
    evidence.guards.iter().find(broken).map(|guard| Veto::Guard(winner, guard.limit.guard))
}

/// Fixed horizon: judged at the sealed time and never before.
fn once(design: &Design, evidence: &Evidence) -> Decision {
    match judge(&evidence.arms, design.significance) {
        Decision::NotEstimable(reason) => Decision::NotEstimable(reason),
        _ if !evidence.is_due => Decision::NotYet,
        judged => judged,
    }
}

/// Anytime-valid: as soon as a crossing of the bound is written down, once every letter is out; without one there is no winner at the
/// sealed end.
fn whenever(watched: Option<&Watched>, evidence: &Evidence) -> Decision {
    match (evidence.crossing, watched) {
        (Some(Recorded { variant, p_value, .. }), _) if evidence.all_sent => Decision::Winner { variant, p_value },
        (_, Some(watched)) if evidence.is_due => match leader(&evidence.arms) {
            Ok((variant, _)) => Decision::NoWinner { leader: variant, p_value: watched.weakest(variant) },
            Err(reason) => Decision::NotEstimable(reason),
        },
        _ => Decision::NotYet,
    }
}

/// Winner or not, by counts alone and looked at once.
pub fn judge(arms: &[Count], significance: f64) -> Decision {
    match leader_against_all(arms) {
        Err(reason) => Decision::NotEstimable(reason),
        Ok((variant, p_value)) if p_value.at_most(significance) => Decision::Winner { variant, p_value },
        Ok((leader, p_value)) => Decision::NoWinner { leader, p_value },
    }
}

/// The arm with the highest rate, the first of equals.
fn leader(arms: &[Count]) -> Estimate<(VariantNumber, Count)> {
    let mut leader: Option<(VariantNumber, f64, Count)> = None;
    for (number, arm) in (0u8..).zip(arms) {
        let rate = arm.rate()?;
        if leader.is_none_or(|(_, best, _)| rate > best) {
            leader = Some((VariantNumber(number), rate, *arm));
        }
    }
    leader.map(|(variant, _, count)| (variant, count)).ok_or(NotEstimable::TooFewArms)
}

/// The leader and its largest p-value against any other arm.
fn leader_against_all(arms: &[Count]) -> Estimate<(VariantNumber, PValue)> {
    let (variant, best) = leader(arms)?;
    let mut largest: Option<PValue> = None;
    for (_, other) in (0u8..).zip(arms).filter(|(number, _)| *number != variant.0) {
        let (p, _) = test(*other, best)?;
        if largest.is_none_or(|known| p > known) {
            largest = Some(p);
        }
    }
    largest.map(|p| (variant, p)).ok_or(NotEstimable::TooFewArms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(arms: Vec<Count>) -> Evidence {
        Evidence {
            arms,
            sample_ratio: None,
            machine_balance: None,
            guards: Vec::new(),
            watched: None,
            crossing: None,
            all_sent: true,
            is_due: true,
        }
    }

    fn check(arms: &[(u64, u64)], change: impl Fn(&mut Evidence), expected: impl Fn(&Decision) -> bool) {
        let design = Design { weights: vec![1; arms.len()], ..Design::default() };
        let arms = arms.iter().map(|(successes, trials)| Count::new(*successes, *trials).unwrap()).collect();
        let mut evidence = evidence(arms);
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

    fn guard(control: u64, variant: u64, trials: u64) -> GuardReading {
        let limit = Limit { guard: Guard::Unsubscribe, margin: 0.005, level: 0.05 };
        judge_guard(limit, VariantNumber(1), Count::new(control, trials).unwrap(), Count::new(variant, trials).unwrap())
    }

    #[test]
    fn a_guard_is_held_open_or_broken() {
        assert_eq!(guard(30, 32, 10_000).state, GuardState::Held);
        assert_eq!(guard(0, 1, 100).state, GuardState::Open, "too few to tell");
        assert_eq!(guard(30, 130, 10_000).state, GuardState::Broken);
        assert_eq!(guard(0, 0, 0).state, GuardState::Open);
    }

    #[test]
    fn a_winner_that_drives_people_away_wins_nothing() {
        let broken = guard(30, 130, 10_000);
        let vetoed = Decision::Stopped(Veto::Guard(VariantNumber(1), Guard::Unsubscribe));
        check(&[(100, 5000), (180, 5000)], |evidence| evidence.guards = vec![broken], |d| *d == vetoed);
        // The control has nothing to be worse than.
        check(&[(180, 5000), (100, 5000)], |evidence| evidence.guards = vec![broken], |d| matches!(d, Decision::Winner { .. }));
    }

    #[test]
    fn the_same_letter_twice_has_no_winner_but_an_alarm() {
        let design = Design { same_letters: true, ..Design::default() };
        let arms = |b| vec![Count::new(100, 5000).unwrap(), Count::new(b, 5000).unwrap()];
        assert_eq!(decide(&design, &evidence(arms(180))), Decision::Stopped(Veto::SameLetters));
        assert!(matches!(decide(&design, &evidence(arms(104))), Decision::NoWinner { .. }));
    }

    #[test]
    fn the_anytime_rule_decides_before_the_end_and_not_before_the_last_letter() {
        let design = Design { method: Method::Anytime, ..Design::default() };
        let firsts: Vec<VariantNumber> = (0..280).map(|event| VariantNumber(u8::from(event % 14 > 4))).collect();
        let arms = vec![Count::new(100, 5000).unwrap(), Count::new(180, 5000).unwrap()];
        let watched = Watched::replay(&[5000, 5000], &firsts, 0.2, 0.05, &[]).unwrap();
        let seen = |watched: &Watched, all_sent, is_due| {
            let crossing = watched.won().map(|(variant, p_value)| Recorded { variant, p_value, settled: false });
            decide(&design, &Evidence { watched: Some(watched.clone()), crossing, all_sent, is_due, ..evidence(arms.clone()) })
        };
        assert!(matches!(seen(&watched, true, false), Decision::Winner { variant: VariantNumber(1), .. }));
        assert_eq!(seen(&watched, false, false), Decision::NotYet);
        let nothing = Watched::replay(&[5000, 5000], &[], 0.2, 0.05, &[]).unwrap();
        assert_eq!(seen(&nothing, true, false), Decision::NotYet);
        assert!(matches!(seen(&nothing, true, true), Decision::NoWinner { .. }));
    }

    #[test]
    fn a_recorded_crossing_stays_and_a_settled_one_stands_whatever_the_checks_say_later() {
        let design = Design { method: Method::Anytime, ..Design::default() };
        let arms = vec![Count::new(100, 5000).unwrap(), Count::new(101, 5000).unwrap()];
        let nothing = Watched::replay(&[5000, 5000], &[], 0.2, 0.05, &[]).unwrap();
        let seen = |settled, sample_ratio: f64, is_due| {
            let crossing = Some(Recorded { variant: VariantNumber(1), p_value: PValue::from_value(0.04), settled });
            let sample_ratio = Some(PValue::from_value(sample_ratio));
            decide(&design, &Evidence { watched: Some(nothing.clone()), crossing, sample_ratio, is_due, ..evidence(arms.clone()) })
        };
        let is_winner = |decision: &Decision| matches!(decision, Decision::Winner { variant: VariantNumber(1), .. });
        assert!(is_winner(&seen(false, 0.5, false)) && is_winner(&seen(false, 0.5, true)), "replay or not");
        assert_eq!(seen(false, 1e-9, true), Decision::Stopped(Veto::SampleRatio));
        assert!(is_winner(&seen(true, 1e-9, true)));
    }
}
