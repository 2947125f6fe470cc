//! Was the split what was sealed? Sample-ratio and machine-balance checks, and the omnibus test of several arms.
//!
//! Cast: [`ChiSquareTest`], [`sample_ratio`], [`homogeneity`], [`machine_balance`]. The sequential form is in `sequential`.
//! Never decides: thresholds (p < 0.001) belong to the caller.

use serde::Serialize;

use super::tails::ln_chi_square_sf;
use super::types::{Count, Estimate, InvalidInput, NotEstimable, PValue, require_trials};

/// A chi-square statistic with its degrees of freedom and upper-tail p-value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChiSquareTest {
    /// Pearson's statistic.
    pub statistic: f64,
    /// Degrees of freedom.
    pub degrees: u32,
    /// Upper-tail p-value.
    pub p_value: PValue,
}

impl ChiSquareTest {
    fn new(statistic: f64, arms: usize) -> Self {
        let degrees = u32::try_from(arms.saturating_sub(1)).unwrap_or(u32::MAX);
        Self { statistic, degrees, p_value: PValue::from_ln(ln_chi_square_sf(statistic, f64::from(degrees))) }
    }
}

/// Checks that weights are as many as counts and all positive; returns their sum.
pub(crate) fn require_weights(counts: &[u64], weights: &[f64]) -> Estimate<f64> {
    if counts.len() < 2 {
        return Err(NotEstimable::TooFewArms);
    }
    if counts.len() != weights.len() {
        return Err(InvalidInput::new("weights", "as many as there are counts", weights.len()).into());
    }
    if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
        return Err(InvalidInput::new("weights", "finite and above 0", weight).into());
    }
    Ok(weights.iter().sum())
}

/// observed − total · weight / sum, with one rounding where it matters.
pub(crate) fn excess_over_share(observed: f64, total: f64, weight: f64, weight_sum: f64) -> f64 {
    let product = total * weight;
    let low = total.mul_add(weight, -product);
    (observed.mul_add(weight_sum, -product) - low) / weight_sum
}

/// Sample-ratio check: Pearson's chi-square of the numbers of recipients against the sealed weights (any positive scale).
///
/// Source: Pearson (1900); Fabijan et al. (2019), KDD. Edges: nobody at all → not estimable.
///
/// # Errors
/// `TooFewArms`, `EmptyArm` (all counts 0), `Invalid` weights.
pub fn sample_ratio(counts: &[u64], weights: &[f64]) -> Estimate<ChiSquareTest> {
    let weight_sum = require_weights(counts, weights)?;
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    if total == 0.0 {
        return Err(NotEstimable::EmptyArm);
    }
    let statistic = counts
        .iter()
        .zip(weights)
        .map(|(count, weight)| excess_over_share(*count as f64, total, *weight, weight_sum).powi(2) / (total * (weight / weight_sum)))
        .sum();
    Ok(ChiSquareTest::new(statistic, counts.len()))
}

/// Omnibus test "all arms have the same rate": Pearson's chi-square of the k × 2 table, k − 1 degrees of freedom.
///
/// Source: Pearson (1900); R `chisq.test(correct = FALSE)`. Edges: nobody or everybody succeeds → statistic 0, p = 1.
///
/// # Errors
/// `TooFewArms`, `EmptyArm`.
pub fn homogeneity(arms: &[Count]) -> Estimate<ChiSquareTest> {
    if arms.len() < 2 {
        return Err(NotEstimable::TooFewArms);
    }
    require_trials(arms)?;
    let trials: i128 = arms.iter().map(|arm| i128::from(arm.trials())).sum();
    let successes: i128 = arms.iter().map(|arm| i128::from(arm.successes())).sum();
    let failures = trials - successes;
    if successes == 0 || failures == 0 {
        return Ok(ChiSquareTest::new(0.0, arms.len()));
    }
    let share = (successes as f64 / trials as f64) * (failures as f64 / trials as f64);
    let statistic = arms
        .iter()
        .map(|arm| {
            let cross = i128::from(arm.successes()) * trials - i128::from(arm.trials()) * successes;
            let gap = cross as f64 / trials as f64;
            gap * gap / (arm.n() * share)
        })
        .sum();
    Ok(ChiSquareTest::new(statistic, arms.len()))
}

/// Machine balance: is the share of recipients whose hits look like machines the same in every arm? `arms` count machine-like
/// recipients among all. The same test as [`homogeneity`], named because its alarm means something else: detection, not effect.
///
/// # Errors
/// `TooFewArms`, `EmptyArm`.
pub fn machine_balance(arms: &[Count]) -> Estimate<ChiSquareTest> {
    homogeneity(arms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_split_raises_no_alarm_and_a_lossy_one_does() {
        assert_eq!(sample_ratio(&[500, 500], &[1.0, 1.0]).unwrap().p_value, PValue::ONE);
        assert!(sample_ratio(&[25_000, 24_000], &[0.5, 0.5]).unwrap().p_value.at_most(0.001));
    }

    #[test]
    fn two_arms_give_the_square_of_the_pooled_z() {
        let (a, b) = (Count::new(48, 80).unwrap(), Count::new(56, 70).unwrap());
        let z = super::super::proportion::pooled_z(a, b).unwrap().z;
        let test = homogeneity(&[a, b]).unwrap();
        assert!((test.statistic / (z * z) - 1.0).abs() < 1e-13);
        assert_eq!(test.degrees, 1);
    }

    #[test]
    fn bad_weights_are_named() {
        assert!(matches!(sample_ratio(&[1, 2], &[1.0]), Err(NotEstimable::Invalid(complaint)) if complaint.argument == "weights"));
        assert!(sample_ratio(&[1, 2], &[1.0, -1.0]).is_err());
        assert_eq!(sample_ratio(&[0, 0], &[1.0, 1.0]), Err(NotEstimable::EmptyArm));
    }
}
