//! Score tests and the intervals that invert them: Mee, Miettinen–Nurminen, SCAS and Koopman.
//!
//! Cast: [`ScoreFamily`] (which correction), [`ScoreReading`] (estimate, interval and p-value of a difference) and
//! [`RatioReading`]. Test and interval are one family, so they never disagree. Never a closed approximation: the ends are solved.

use serde::Serialize;

use super::proportion::{ZTest, difference_of_rates};
use super::restricted::{Restricted, given_difference, given_ratio};
use super::roots::bracketed_root;
use super::tails::{ln_normal_sf, two_sided_normal};
use super::types::{Count, Estimate, Interval, InvalidInput, Level, PValue, RatioInterval, require_trials};

/// Which member of the score family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ScoreFamily {
    /// Restricted variance as it is (Mee 1984 for differences, Koopman 1984 for ratios).
    Plain,
    /// Variance times N/(N−1) (Miettinen & Nurminen 1985).
    MiettinenNurminen,
    /// Miettinen–Nurminen with the skewness correction (SCAS; Laud 2017, Pharm. Stat. 16:334).
    SkewnessCorrected,
}

/// Test at "no difference" and interval of p_B − p_A.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScoreReading {
    /// Observed difference p̂_B − p̂_A.
    pub estimate: f64,
    /// Confidence interval of the difference.
    pub interval: Interval,
    /// Score at difference 0 and its two-sided p-value.
    pub test: ZTest,
}

/// Interval of p_B / p_A with the test at ratio 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RatioReading {
    /// Observed ratio; `None` without successes in A.
    pub estimate: Option<f64>,
    /// Confidence interval of the ratio.
    pub interval: RatioInterval,
    /// Score at ratio 1 and its two-sided p-value (the same as for difference 0).
    pub test: ZTest,
}

/// Score, variance and third central moment of the contrast under its null.
struct Contrast {
    score: f64,
    variance: f64,
    third_moment: f64,
}

impl Contrast {
    /// Moments of p̂_B − weight · p̂_A at the restricted rates; the weight is 1 for a difference and θ for a ratio.
    fn new(score: f64, a: Count, b: Count, rates: Restricted, weight: f64) -> Self {
        let (n_a, n_b) = (a.n(), b.n());
        let spread_a = weight * weight * rates.p_a * rates.q_a / n_a;
        let spread_b = rates.p_b * rates.q_b / n_b;
        let third_moment = spread_b * (rates.q_b - rates.p_b) / n_b - weight * spread_a * (rates.q_a - rates.p_a) / n_a;
        Self { score, variance: spread_a + spread_b, third_moment }
    }

    /// Standardised score; infinite where the null allows no variation at all.
    fn z(&self, family: ScoreFamily, total: f64) -> f64 {
        let inflation = if family == ScoreFamily::Plain { 1.0 } else { total / (total - 1.0) };
        let variance = self.variance * inflation;
        if self.score == 0.0 && (variance <= 0.0 || family != ScoreFamily::SkewnessCorrected) {
            return 0.0;
        }
        if variance <= 0.0 {
            return f64::INFINITY.copysign(self.score);
        }
        let z = self.score / variance.sqrt();
        if family == ScoreFamily::SkewnessCorrected {
            skewness_corrected(z, self.third_moment / (6.0 * variance * variance.sqrt()))
        } else {
            z
        }
    }
}

/// Laud (2017), equation 2: the corrected score is the root next to z₁ of a z² + z − (z₁ + a) = 0, with a = μ₃ / (6 V^{3/2}), here in
/// cancellation-free form.
/// A negative discriminant (far outside any interval of use) is set to 0, as in R's ratesci.
fn skewness_corrected(plain: f64, skew: f64) -> f64 {
    let target = plain + skew;
    let discriminant = (4.0 * skew).mul_add(target, 1.0);
    if discriminant <= 0.0 { -0.5 / skew } else { 2.0 * target / (1.0 + discriminant.sqrt()) }
}

/// Score of the hypothesis p_B − p_A = `delta`; positive when the data lie above it. Falls as delta rises.
fn difference_z(family: ScoreFamily, a: Count, b: Count, delta: f64) -> f64 {
    let rates = given_difference(a, b, delta);
    let score = difference_of_rates(a, b) - delta;
    Contrast::new(score, a, b, rates, 1.0).z(family, a.n() + b.n())
}

/// Score of the hypothesis p_B / p_A = `ratio`.
fn ratio_z(family: ScoreFamily, a: Count, b: Count, ratio: f64) -> f64 {
    let rates = given_ratio(a, b, ratio);
    let score = b.x() / b.n() - ratio * (a.x() / a.n());
    Contrast::new(score, a, b, rates, ratio).z(family, a.n() + b.n())
}

/// Score test of "no difference" at any horizon looked at once.
///
/// p = 2 P(Z > |z|). Edges: both arms 0 or both n of n → z = 0, p = 1.
///
/// # Errors
/// `EmptyArm`.
pub fn score_test(family: ScoreFamily, a: Count, b: Count) -> Estimate<ZTest> {
    require_trials(&[a, b])?;
    let z = difference_z(family, a, b, 0.0);
    Ok(ZTest { z, p_value: two_sided_normal(z) })
}

/// Test and interval of p_B − p_A. The interval holds every δ with |z(δ)| ≤ z_{1−α/2}, solved to the last bits.
///
/// Sources: Mee (1984), Miettinen & Nurminen (1985), Laud (2017), see [`ScoreFamily`]; restricted estimates by the closed cubic.
/// Edges: 0 of n against n of n reaches ±1; both 0 gives p = 1 with an interval around 0. With an arm of a handful of recipients against a huge
/// one, the corrected score is not monotone where |z| < 1: test and interval agree at every level from 70 % on.
///
/// # Errors
/// `EmptyArm`.
pub fn score_difference(family: ScoreFamily, a: Count, b: Count, level: Level) -> Estimate<ScoreReading> {
    let test = score_test(family, a, b)?;
    let critical = level.z_two_sided();
    let estimate = difference_of_rates(a, b);
    let z_at = |delta: f64| difference_z(family, a, b, delta);
    let interval = Interval { lower: solve_end(&z_at, critical, estimate, -1.0), upper: solve_end(&z_at, -critical, estimate, 1.0) };
    Ok(ScoreReading { estimate, interval, test })
}

/// The δ where the score equals `critical`, searched from the estimate towards `edge`.
fn solve_end(z_at: &impl Fn(f64) -> f64, critical: f64, estimate: f64, edge: f64) -> f64 {
    let beyond = |delta: f64| z_at(delta) - critical;
    let at_edge = beyond(edge);
    // Without a crossing before the edge (all or nothing in an arm) the interval reaches it.
    if at_edge == 0.0 || (at_edge > 0.0) != (edge < 0.0) || estimate == edge {
        return edge;
    }
    // The corrected score need not vanish at the estimate, and jumps there when both arms are all or nothing: stay on the end's side
    // of the estimate unless the crossing lies beyond it.
    let inner = if (beyond(estimate) > 0.0) == (at_edge > 0.0) { -edge } else { estimate };
    bracketed_root(beyond, edge, inner)
}

/// Interval of p_B / p_A with the test at ratio 1. Solved on ln θ.
///
/// Sources: Koopman (1984), Miettinen & Nurminen (1985), Laud (2017). Edges: no successes in A → no upper end; none in B → lower end 0.
///
/// # Errors
/// `EmptyArm`.
pub fn score_ratio(family: ScoreFamily, a: Count, b: Count, level: Level) -> Estimate<RatioReading> {
    let test = score_test(family, a, b)?;
    let critical = level.z_two_sided();
    let estimate = (a.successes() > 0).then(|| (b.x() / b.n()) / (a.x() / a.n()));
    let lower = if b.successes() == 0 { 0.0 } else { solve_ratio(family, a, b, critical) };
    let upper = (a.successes() > 0).then(|| solve_ratio(family, a, b, -critical));
    Ok(RatioReading { estimate, interval: RatioInterval { lower, upper }, test })
}

fn solve_ratio(family: ScoreFamily, a: Count, b: Count, critical: f64) -> f64 {
    let beyond = |ln_ratio: f64| ratio_z(family, a, b, ln_ratio.exp()) - critical;
    let plain = (b.x() / b.n()) / (a.x() / a.n());
    let start =
        if plain > 0.0 && plain.is_finite() { plain.ln() } else { ((b.x() + 0.5) / (b.n() + 1.0) / ((a.x() + 0.5) / (a.n() + 1.0))).ln() };
    let at_start = beyond(start);
    if at_start == 0.0 {
        return start.exp();
    }
    // the score falls as the ratio rises, so its sign says where the crossing lies
    let mut width = 0.125f64.copysign(at_start);
    let (mut near, mut far) = (start, start + width);
    while (beyond(far) > 0.0) == (at_start > 0.0) && far.abs() < 700.0 {
        width *= 2.0;
        (near, far) = (far, far + width);
    }
    bracketed_root(beyond, near, far).exp()
}

/// SCAS test and interval of p_B − p_A: the house method for two proportions. See [`score_difference`].
///
/// # Errors
/// `EmptyArm`.
pub fn scas_difference(a: Count, b: Count, level: Level) -> Estimate<ScoreReading> {
    score_difference(ScoreFamily::SkewnessCorrected, a, b, level)
}

/// SCAS interval of p_B / p_A: the house method for the lift. See [`score_ratio`].
///
/// # Errors
/// `EmptyArm`.
pub fn scas_ratio(a: Count, b: Count, level: Level) -> Estimate<RatioReading> {
    score_ratio(ScoreFamily::SkewnessCorrected, a, b, level)
}

/// Miettinen–Nurminen test and interval of p_B − p_A. See [`score_difference`].
///
/// # Errors
/// `EmptyArm`.
pub fn miettinen_nurminen_difference(a: Count, b: Count, level: Level) -> Estimate<ScoreReading> {
    score_difference(ScoreFamily::MiettinenNurminen, a, b, level)
}

/// Mee's test and interval of p_B − p_A. See [`score_difference`].
///
/// # Errors
/// `EmptyArm`.
pub fn mee_difference(a: Count, b: Count, level: Level) -> Estimate<ScoreReading> {
    score_difference(ScoreFamily::Plain, a, b, level)
}

/// Koopman's interval of p_B / p_A. See [`score_ratio`].
///
/// # Errors
/// `EmptyArm`.
pub fn koopman_ratio(a: Count, b: Count, level: Level) -> Estimate<RatioReading> {
    score_ratio(ScoreFamily::Plain, a, b, level)
}

/// One-sided non-inferiority of a guard metric where more is worse (bounces, unsubscribes, complaints): p-value of the null
/// "p_B − p_A ≥ margin", by the SCAS score at the margin. A small p says: B is not worse by the margin.
///
/// Source: Laud (2017); Farrington & Manning (1990). `margin` in [0, 1).
///
/// # Errors
/// `EmptyArm`, or `Invalid` for a margin outside [0, 1).
pub fn guard_not_worse(a: Count, b: Count, margin: f64) -> Estimate<PValue> {
    require_trials(&[a, b])?;
    if !(0.0..1.0).contains(&margin) {
        return Err(InvalidInput::new("margin", "in [0, 1)", margin).into());
    }
    let z = difference_z(ScoreFamily::SkewnessCorrected, a, b, margin);
    Ok(PValue::from_ln(ln_normal_sf(-z)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [ScoreFamily; 3] = [ScoreFamily::Plain, ScoreFamily::MiettinenNurminen, ScoreFamily::SkewnessCorrected];

    fn count(successes: u64, trials: u64) -> Count {
        Count::new(successes, trials).unwrap()
    }

    #[test]
    fn the_score_at_a_solved_end_is_the_critical_value() {
        let level = Level::new(0.9).unwrap();
        for (a, b) in [(count(3, 40), count(9, 55)), (count(0, 30), count(4, 25)), (count(900_000, 50_000_000), count(1_000, 60_000))] {
            for family in FAMILIES {
                let interval = score_difference(family, a, b, level).unwrap().interval;
                for end in [interval.lower, interval.upper] {
                    assert!((difference_z(family, a, b, end).abs() - level.z_two_sided()).abs() < 1e-8, "{family:?} {end}");
                }
            }
        }
    }

    #[test]
    fn all_against_nothing_reaches_the_edge() {
        let level = Level::new(0.95).unwrap();
        for family in FAMILIES {
            assert_eq!(score_difference(family, count(0, 12), count(9, 9), level).unwrap().interval.upper, 1.0);
            assert_eq!(score_difference(family, count(9, 9), count(0, 12), level).unwrap().interval.lower, -1.0);
            assert_eq!(score_ratio(family, count(0, 12), count(9, 9), level).unwrap().interval.upper, None);
        }
    }

    #[test]
    fn a_guard_passes_only_with_enough_evidence() {
        let few = guard_not_worse(count(1, 100), count(1, 100), 0.01).unwrap();
        let many = guard_not_worse(count(1_000, 100_000), count(1_000, 100_000), 0.01).unwrap();
        assert!(!few.at_most(0.05) && many.at_most(0.05));
        assert!(guard_not_worse(count(1, 100), count(1, 100), 1.5).is_err());
    }
}
