//! Rates of one and two arms: closed-form tests and intervals.
//!
//! Cast: [`pooled_z`], [`wilson`], [`newcombe_difference`], [`agresti_caffo_difference`], [`katz_ratio`]. The solved (score)
//! intervals are in `score_interval`. A is the control, B the variant; effects are B − A or B / A. Never a Wald interval.

use serde::Serialize;

use super::tails::two_sided_normal;
use super::types::{Count, Estimate, Interval, Level, NotEstimable, PValue, RatioInterval, require_trials};

/// A z statistic (positive when B is above A) with its two-sided p-value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ZTest {
    /// Standardised difference B − A.
    pub z: f64,
    /// Two-sided p-value.
    pub p_value: PValue,
}

/// p̂_B − p̂_A, exact in its numerator.
pub(crate) fn difference_of_rates(a: Count, b: Count) -> f64 {
    let cross = i128::from(b.successes()) * i128::from(a.trials()) - i128::from(a.successes()) * i128::from(b.trials());
    cross as f64 / (a.n() * b.n())
}

/// Pooled two-proportion score test: z = (p̂_B − p̂_A) / √(p̄ q̄ (1/n_A + 1/n_B)), p = 2 P(Z > |z|).
///
/// Source: Pearson (1900); R `prop.test(correct = FALSE)`. Edges: nobody or everybody succeeds → z = 0, p = 1.
///
/// # Errors
/// [`NotEstimable::EmptyArm`].
pub fn pooled_z(a: Count, b: Count) -> Estimate<ZTest> {
    require_trials(&[a, b])?;
    let total = a.n() + b.n();
    let successes = a.x() + b.x();
    let failures = a.misses() + b.misses();
    if successes == 0.0 || failures == 0.0 {
        return Ok(ZTest { z: 0.0, p_value: PValue::ONE });
    }
    let variance = (successes / total) * (failures / total) * (1.0 / a.n() + 1.0 / b.n());
    let z = difference_of_rates(a, b) / variance.sqrt();
    Ok(ZTest { z, p_value: two_sided_normal(z) })
}

/// Wilson's score interval of one rate: the roots of (p̂ − p)² = z² p (1 − p) / n, in cancellation-free form.
///
/// Source: Wilson (1927), JASA 22:209. Edges: 0 of n starts at exactly 0, n of n ends at exactly 1.
///
/// # Errors
/// [`NotEstimable::EmptyArm`].
pub fn wilson(count: Count, level: Level) -> Estimate<Interval> {
    require_trials(&[count])?;
    let upper = wilson_upper(count, level.z_two_sided());
    let lower = wilson_lower(count, level.z_two_sided());
    Ok(Interval { lower, upper })
}

fn wilson_upper(count: Count, z: f64) -> f64 {
    if count.failures() == 0 {
        return 1.0;
    }
    let square = z * z;
    let (x, n) = (count.x(), count.n());
    let root = (square * (square / 4.0 + x * (count.misses() / n))).sqrt();
    ((x + square / 2.0 + root) / (n + square)).min(1.0)
}

fn wilson_lower(count: Count, z: f64) -> f64 {
    if count.successes() == 0 {
        return 0.0;
    }
    // product of the roots is (x²/n) / (n + z²)
    let square = z * z;
    let (x, n) = (count.x(), count.n());
    let root = (square * (square / 4.0 + x * (count.misses() / n))).sqrt();
    x * (x / n) / (x + square / 2.0 + root)
}

/// Distances p̂ − l and u − p̂ of the Wilson ends, taken on the rarer of success and failure so that they keep their digits at rates near 1.
fn wilson_arms(count: Count, z: f64) -> (f64, f64) {
    if count.successes() > count.failures() {
        let (below, above) = wilson_arms(count.complement(), z);
        return (above, below);
    }
    let rate = count.x() / count.n();
    (rate - wilson_lower(count, z), wilson_upper(count, z) - rate)
}

/// Newcombe's hybrid score interval of p_B − p_A from the two Wilson intervals (l, u):
/// d − √((p̂_B − l_B)² + (u_A − p̂_A)²) to d + √((u_B − p̂_B)² + (p̂_A − l_A)²).
///
/// Source: Newcombe (1998), Stat. Med. 17:873, method 10. Always inside [−1, 1].
///
/// # Errors
/// [`NotEstimable::EmptyArm`].
pub fn newcombe_difference(a: Count, b: Count, level: Level) -> Estimate<Interval> {
    require_trials(&[a, b])?;
    let z = level.z_two_sided();
    let ((below_a, above_a), (below_b, above_b)) = (wilson_arms(a, z), wilson_arms(b, z));
    let difference = difference_of_rates(a, b);
    let (lower, upper) = (difference - below_b.hypot(above_a), difference + above_b.hypot(below_a));
    Ok(Interval { lower: lower.max(-1.0), upper: upper.min(1.0) })
}

/// Agresti–Caffo interval of p_B − p_A: one success and one failure added to each arm, then Wald, clipped to [−1, 1].
///
/// Source: Agresti & Caffo (2000), Am. Stat. 54:280.
///
/// # Errors
/// [`NotEstimable::EmptyArm`].
pub fn agresti_caffo_difference(a: Count, b: Count, level: Level) -> Estimate<Interval> {
    require_trials(&[a, b])?;
    let (n_a, n_b) = (a.n() + 2.0, b.n() + 2.0);
    let (hits_a, hits_b) = (a.x() + 1.0, b.x() + 1.0);
    let variance = (hits_a / n_a) * ((a.misses() + 1.0) / n_a) / n_a + (hits_b / n_b) * ((b.misses() + 1.0) / n_b) / n_b;
    let cross = i128::from(b.successes() + 1) * i128::from(a.trials() + 2) - i128::from(a.successes() + 1) * i128::from(b.trials() + 2);
    let difference = cross as f64 / (n_a * n_b);
    let half = level.z_two_sided() * variance.sqrt();
    Ok(Interval { lower: (difference - half).max(-1.0), upper: (difference + half).min(1.0) })
}

/// Katz log interval of p_B / p_A: exp(ln(p̂_B/p̂_A) ± z √(1/x_B − 1/n_B + 1/x_A − 1/n_A)).
///
/// Source: Katz, Baptista, Azen & Pike (1978), Biometrics 34:469.
///
/// # Errors
/// [`NotEstimable::EmptyArm`]; [`NotEstimable::NoSuccesses`] when either arm has none.
pub fn katz_ratio(a: Count, b: Count, level: Level) -> Estimate<RatioInterval> {
    require_trials(&[a, b])?;
    if a.successes() == 0 || b.successes() == 0 {
        return Err(NotEstimable::NoSuccesses);
    }
    let ratio = (b.x() / b.n()) / (a.x() / a.n());
    let variance = b.misses() / (b.x() * b.n()) + a.misses() / (a.x() * a.n());
    let half = level.z_two_sided() * variance.sqrt();
    Ok(RatioInterval { lower: ratio * (-half).exp(), upper: Some(ratio * half.exp()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(successes: u64, trials: u64) -> Count {
        Count::new(successes, trials).unwrap()
    }

    fn check(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1e-12), "{got} is not {want}");
    }

    #[test]
    fn a_count_names_the_argument_that_is_wrong() {
        assert_eq!(Count::new(3, 2).unwrap_err().argument, "successes");
        assert_eq!(Count::new(0, u64::MAX).unwrap_err().argument, "trials");
    }

    #[test]
    fn the_pooled_test_survives_p_values_below_the_floating_range() {
        let test = pooled_z(count(200_000, 10_000_000), count(300_000, 10_000_000)).unwrap();
        assert_eq!(test.p_value.value(), 0.0);
        assert!(test.p_value.ln() < -10_000.0);
    }

    #[test]
    fn wilson_reaches_the_ends_exactly() {
        let level = Level::new(0.95).unwrap();
        let none = wilson(count(0, 10), level).unwrap();
        assert_eq!(none.lower, 0.0);
        check(none.upper, 3.841_458_820_694_124 / 13.841_458_820_694_124);
        assert_eq!(wilson(count(10, 10), level).unwrap().upper, 1.0);
    }

    #[test]
    fn an_empty_arm_is_not_estimable_and_no_success_gives_no_katz_ratio() {
        let level = Level::new(0.95).unwrap();
        assert_eq!(wilson(count(0, 0), level), Err(NotEstimable::EmptyArm));
        assert_eq!(pooled_z(count(0, 0), count(1, 2)), Err(NotEstimable::EmptyArm));
        assert_eq!(katz_ratio(count(0, 5), count(1, 5), level), Err(NotEstimable::NoSuccesses));
    }
}
