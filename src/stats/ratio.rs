//! Ratios of means, such as clicks to opens, by the delta method.
//!
//! Cast: [`RatioSums`], [`DeltaReading`], [`delta_ratio`]. Descriptive only: opens happen after assignment, so conditioning on them breaks
//! the randomisation. Never a primary metric.

use serde::Serialize;

use super::tails::two_sided_normal;
use super::types::{Estimate, Interval, InvalidInput, Level, NotEstimable, PValue};

/// Sufficient statistics of one arm: n recipients, numerator y (clicks) and denominator x (opens) of each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RatioSums {
    /// Number of recipients.
    pub n: u64,
    /// Σ y.
    pub sum_y: f64,
    /// Σ x.
    pub sum_x: f64,
    /// Σ y².
    pub sum_yy: f64,
    /// Σ x².
    pub sum_xx: f64,
    /// Σ x y.
    pub sum_xy: f64,
}

impl RatioSums {
    /// Ratio Σy/Σx and its standard error.
    fn ratio_and_error(self) -> Estimate<(f64, f64)> {
        if self.n == 0 {
            return Err(NotEstimable::EmptyArm);
        }
        if self.n < 2 {
            return Err(NotEstimable::TooFewObservations);
        }
        if ![self.sum_y, self.sum_x, self.sum_yy, self.sum_xx, self.sum_xy].iter().all(|sum| sum.is_finite()) {
            return Err(InvalidInput::new("sums", "finite", "not finite").into());
        }
        if self.sum_x <= 0.0 {
            return Err(NotEstimable::NoSuccesses);
        }
        let n = self.n as f64;
        let ratio = self.sum_y / self.sum_x;
        // Σ (y − r x)², whose mean is 0 by construction
        let residual = (ratio.mul_add(ratio * self.sum_xx - 2.0 * self.sum_xy, self.sum_yy)).max(0.0);
        let error = (residual * (n / (n - 1.0))).sqrt() / self.sum_x;
        Ok((ratio, error))
    }
}

impl RatioSums {
    /// The ratio with its interval by the delta method, not below 0 for sums that cannot be negative.
    ///
    /// # Errors
    /// As [`delta_ratio`].
    pub fn reading(self, level: Level) -> Estimate<(f64, Interval)> {
        let (ratio, error) = self.ratio_and_error()?;
        let half = level.z_two_sided() * error;
        Ok((ratio, Interval { lower: (ratio - half).max(0.0), upper: ratio + half }))
    }
}

/// Ratios of both arms and their difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DeltaReading {
    /// Σy/Σx of A.
    pub ratio_a: f64,
    /// Σy/Σx of B.
    pub ratio_b: f64,
    /// Standard error of A's ratio.
    pub error_a: f64,
    /// Standard error of B's ratio.
    pub error_b: f64,
    /// ratio_B − ratio_A.
    pub difference: f64,
    /// Confidence interval of the difference.
    pub interval: Interval,
    /// Standardised difference.
    pub z: f64,
    /// Two-sided normal p-value.
    pub p_value: PValue,
}

/// Delta method for a ratio of means: Var(r) = (s_y² − 2 r s_xy + r² s_x²) / (n x̄²), variances with n − 1; z = Δ/√(Var_A + Var_B).
///
/// Source: Deng, Knoblich & Lu (2018), KDD, equation 7.
///
/// # Errors
/// `EmptyArm`, `TooFewObservations`, `NoSuccesses` (Σx = 0), `ZeroVariance`.
pub fn delta_ratio(a: RatioSums, b: RatioSums, level: Level) -> Estimate<DeltaReading> {
    let (ratio_a, error_a) = a.ratio_and_error()?;
    let (ratio_b, error_b) = b.ratio_and_error()?;
    let error = error_a.hypot(error_b);
    if error == 0.0 {
        return Err(NotEstimable::ZeroVariance);
    }
    let difference = ratio_b - ratio_a;
    let half = level.z_two_sided() * error;
    let z = difference / error;
    let interval = Interval { lower: difference - half, upper: difference + half };
    Ok(DeltaReading { ratio_a, ratio_b, error_a, error_b, difference, interval, z, p_value: two_sided_normal(z) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_constant_denominator_the_error_is_that_of_a_mean() {
        // y = 0, 1, 0, 1 over x = 1 each
        let arm = RatioSums { n: 4, sum_y: 2.0, sum_x: 4.0, sum_yy: 2.0, sum_xx: 4.0, sum_xy: 2.0 };
        let reading = delta_ratio(arm, arm, Level::new(0.95).unwrap()).unwrap();
        assert!((reading.error_a - (1.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
        assert_eq!((reading.difference, reading.p_value), (0.0, PValue::ONE));
    }

    #[test]
    fn one_ratio_has_the_error_of_its_half_of_the_difference() {
        let arm = RatioSums { n: 900, sum_y: 60.0, sum_x: 300.0, sum_yy: 60.0, sum_xx: 300.0, sum_xy: 50.0 };
        let (level, both) = (Level::USUAL, delta_ratio(arm, arm, Level::USUAL).unwrap());
        let (ratio, interval) = arm.reading(level).unwrap();
        assert!((ratio - 0.2).abs() < 1e-15);
        assert!((interval.upper - ratio - level.z_two_sided() * both.error_a).abs() < 1e-15);
        // Σ (y − r x)² = 60 − 2 · 0.2 · 50 + 0.04 · 300 = 52
        assert!((both.error_a - (52.0f64 * 900.0 / 899.0).sqrt() / 300.0).abs() < 1e-15);
    }

    #[test]
    fn nobody_opening_is_not_estimable() {
        let arm = RatioSums { n: 4, sum_y: 0.0, sum_x: 0.0, sum_yy: 0.0, sum_xx: 0.0, sum_xy: 0.0 };
        assert_eq!(delta_ratio(arm, arm, Level::new(0.95).unwrap()), Err(NotEstimable::NoSuccesses));
    }
}
