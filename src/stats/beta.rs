//! The beta distribution: density and both tails on the log scale, for parameters from 1e-3 to 1e15.
//!
//! Cast: [`BetaTails`], [`beta_tails`], [`ln_beta_power`]. Always computes the smaller tail and takes the other as its complement.
//! Never uses the statrs beta functions, which fail from parameters of about 1e6 on.

use super::quadrature::panel;
use super::special::{HALF_LN_TWO_PI, deviance_with, ln_1m_exp, stirling_error};
use super::types::{InvalidInput, require_positive};

/// Natural logarithms of P(X ≤ x) and P(X > x).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaTails {
    /// ln P(X ≤ x).
    pub ln_cdf: f64,
    /// ln P(X > x).
    pub ln_sf: f64,
}

/// Both tails of Beta(a, b) at x in [0, 1]; relative error about 1e-12.
///
/// Continued fraction of DiDonato & Morris (1992), ACM TOMS 18:360, algorithm 708 (BFRAC), or, when both parameters are above 2,000,
/// Gauss–Legendre panels over the density; prefactor by deviances (Loader 2000).
///
/// # Errors
/// `a` or `b` not positive and finite, `x` outside [0, 1].
pub fn beta_distribution(a: f64, b: f64, x: f64) -> Result<BetaTails, InvalidInput> {
    require_positive("a", a)?;
    require_positive("b", b)?;
    if !(0.0..=1.0).contains(&x) {
        return Err(InvalidInput::new("x", "in [0, 1]", x));
    }
    Ok(beta_tails(a, b, x, 1.0 - x))
}

/// The same with y = 1 − x given separately, so that x near 1 keeps its digits.
pub(crate) fn beta_tails(a: f64, b: f64, x: f64, y: f64) -> BetaTails {
    if x <= 0.0 {
        return BetaTails { ln_cdf: f64::NEG_INFINITY, ln_sf: 0.0 };
    }
    if y <= 0.0 {
        return BetaTails { ln_cdf: 0.0, ln_sf: f64::NEG_INFINITY };
    }
    let lambda = below_mean(a, b, x, y);
    if lambda >= 0.0 {
        let ln_cdf = ln_lower_tail(a, b, x, y, lambda).min(0.0);
        BetaTails { ln_cdf, ln_sf: ln_1m_exp(ln_cdf) }
    } else {
        let ln_sf = ln_lower_tail(b, a, y, x, -lambda).min(0.0);
        BetaTails { ln_cdf: ln_1m_exp(ln_sf), ln_sf }
    }
}

/// λ = a − (a+b) x = (a+b) y − b, from whichever of x and y is the smaller and so the more exact.
fn below_mean(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= y { (-(a + b)).mul_add(x, a) } else { (a + b).mul_add(y, -b) }
}

/// ln of xᵃ yᵇ / B(a, b), the density of the logit of a beta variable.
pub(crate) fn ln_beta_power(a: f64, b: f64, x: f64, y: f64) -> f64 {
    ln_power_with(a, b, x, y, below_mean(a, b, x, y))
}

fn ln_power_with(a: f64, b: f64, x: f64, y: f64, lambda: f64) -> f64 {
    let total = a + b;
    0.5 * (a * (b / total)).ln() - HALF_LN_TWO_PI - deviance_with(a, total * x, -lambda) - deviance_with(b, total * y, lambda)
        + stirling_error(total)
        - stirling_error(a)
        - stirling_error(b)
}

/// ln P(X ≤ x) for x at or below the mean.
fn ln_lower_tail(a: f64, b: f64, x: f64, y: f64, lambda: f64) -> f64 {
    const LARGE: f64 = 2_000.0;
    let ln_power = ln_power_with(a, b, x, y, lambda);
    if a > LARGE && b > LARGE {
        ln_power - (x * y).ln() + density_integral(a, b, x, y, lambda).ln()
    } else {
        ln_power + fraction(a, b, x, y, lambda).ln()
    }
}

/// ∫₀ˣ of the density relative to its value at x. For large parameters the density is nearly Gaussian to the left of x, so four
/// panels over the length where it falls by e⁻⁶⁰ are exact to rounding.
fn density_integral(a: f64, b: f64, x: f64, y: f64, lambda: f64) -> f64 {
    const DROP: f64 = 60.0;
    const PANELS: u32 = 4;
    let (a1, b1) = (a - 1.0, b - 1.0);
    // slope of the log density at x
    let slope = (lambda + 2.0 * x - 1.0) / (x * y);
    let spread = (x * y / (a + b)).sqrt();
    let scaled = slope * spread;
    let length = (spread * 2.0 * DROP / (scaled + (scaled * scaled + 2.0 * DROP).sqrt())).min(x);
    let relative_density = |distance: f64| {
        let left = super::special::ln_1p_minus(-distance / x);
        let right = super::special::ln_1p_minus(distance / y);
        (a1 * left + b1 * right - slope * distance).exp()
    };
    let width = length / f64::from(PANELS);
    (0..PANELS).map(|index| panel(relative_density, width * f64::from(index), width * f64::from(index + 1))).sum()
}

/// The continued fraction BFRAC of DiDonato & Morris (1992), without its prefactor xᵃ yᵇ / B(a, b).
fn fraction(a: f64, b: f64, x: f64, y: f64, lambda: f64) -> f64 {
    const MOST_TERMS: u32 = 2_000_000;
    let c = 1.0 + lambda;
    let c0 = b / a;
    let c1 = 1.0 + 1.0 / a;
    let y_plus_one = y + 1.0;
    let (mut p, mut s) = (1.0, a + 1.0);
    let (mut numerator, mut denominator) = (0.0, 1.0);
    let (mut next_numerator, mut next_denominator) = (1.0, c / c1);
    let mut ratio = c1 / c;
    for index in 1..MOST_TERMS {
        let n = f64::from(index);
        let t = n / a;
        let w = n * (b - n) * x;
        let e = a / s;
        let alpha = p * (p + c0) * e * e * (w * x);
        let e = (1.0 + t) / (c1 + t + t);
        let beta = n + w / s + e * (c + n * y_plus_one);
        p = 1.0 + t;
        s += 2.0;
        (numerator, next_numerator) = (next_numerator, alpha * numerator + beta * next_numerator);
        (denominator, next_denominator) = (next_denominator, alpha * denominator + beta * next_denominator);
        let last = ratio;
        ratio = next_numerator / next_denominator;
        if (ratio - last).abs() <= 1e-16 * ratio {
            break;
        }
        numerator /= next_denominator;
        denominator /= next_denominator;
        next_numerator = ratio;
        next_denominator = 1.0;
    }
    ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got} is not {want}");
    }

    #[test]
    fn closed_forms_are_met() {
        for x in [1e-9, 0.1, 0.5, 0.9] {
            let tails = beta_distribution(1.0, 7.0, x).unwrap();
            check(tails.ln_sf, 7.0 * (-x).ln_1p(), 1e-12);
            check(beta_distribution(3.0, 1.0, x).unwrap().ln_cdf, 3.0 * x.ln(), 1e-12);
        }
        check(beta_distribution(0.5, 0.5, 0.25).unwrap().ln_cdf, (1.0f64 / 3.0).ln(), 1e-12);
    }

    #[test]
    fn the_middle_of_a_symmetric_beta_is_one_half_up_to_huge_parameters() {
        for a in [1.0, 30.0, 1_999.0, 2_001.0, 1e8, 1e12] {
            check(beta_distribution(a, a, 0.5).unwrap().ln_cdf, 0.5f64.ln(), 1e-12);
        }
    }

    #[test]
    fn fraction_and_integral_agree_where_both_work() {
        for (a, b, x) in [(2_500.0, 4_000.0, 0.38), (2_500.0, 90_000.0, 0.0262), (3_000.0, 3_000.0, 0.3), (5e4, 3e6, 0.0161)] {
            let (y, lambda) = (1.0 - x, below_mean(a, b, x, 1.0 - x));
            check(density_integral(a, b, x, y, lambda) / (x * y), fraction(a, b, x, y, lambda), 1e-12);
        }
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        assert_eq!(beta_distribution(0.0, 1.0, 0.5).unwrap_err().argument, "a");
        assert_eq!(beta_distribution(1.0, 1.0, 1.5).unwrap_err().argument, "x");
    }
}
