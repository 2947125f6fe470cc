//! Tails of the normal and the chi-square distribution, on the log scale.
//!
//! Cast: plain functions. Series near the middle and continued fractions in the tails, because a p-value of 1e-3000 must stay a
//! number and statrs' erfc is off by 5e-11 near 2 (measured at 1.96); statrs only starts the inverse. Never looks at counts or arms.

use statrs::distribution::{ContinuousCDF, Normal};

use super::special::{HALF_LN_TWO_PI, deviance, ln_1m_exp, stirling_error};
use super::types::PValue;

/// Standard normal density.
pub(crate) fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x - HALF_LN_TWO_PI).exp()
}

/// P(0 < Z < x) for 0 ≤ x below about 5: φ(x) Σ x²ⁿ⁺¹ / (1·3·…·(2n+1)), all terms positive (Abramowitz & Stegun 1964, 26.2.11).
fn normal_central(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    let mut odd = 3.0;
    while term > 1e-17 * sum {
        term *= x * x / odd;
        sum += term;
        odd += 2.0;
    }
    sum * normal_density(x)
}

/// ln P(Z > x) of the standard normal, for every x; relative error of P about 1e-15 · max(1, x²).
///
/// Power series below 2, Laplace's continued fraction of Mills' ratio beyond (Abramowitz & Stegun 1964, 26.2.11 and 26.2.14).
pub fn ln_normal_sf(x: f64) -> f64 {
    if x < 0.0 {
        return ln_1m_exp(ln_normal_sf(-x));
    }
    if x < 2.0 {
        return (0.5 - normal_central(x)).ln();
    }
    if x > 1e150 {
        return f64::NEG_INFINITY;
    }
    -0.5 * x * x - HALF_LN_TWO_PI + mills_fraction(x).ln()
}

/// Mills' ratio P(Z > x) / φ(x) for x ≥ 0; relative error about 1e-15 above 2, 1e-14 below.
pub(crate) fn mills_ratio(x: f64) -> f64 {
    if x < 2.0 { (0.5 - normal_central(x)) / normal_density(x) } else { mills_fraction(x) }
}

/// Laplace's continued fraction, for x ≥ 2; the number of terms that reach the last bit falls with x².
fn mills_fraction(x: f64) -> f64 {
    let terms = (360.0 / (x * x)) as u32 + 10;
    1.0 / (1..=terms).rev().fold(x, |value, k| x + f64::from(k) / value)
}

/// P(Z > x) of the standard normal.
pub fn normal_sf(x: f64) -> f64 {
    if x < 0.0 { 1.0 - normal_sf(-x) } else { ln_normal_sf(x).exp() }
}

/// P(Z ≤ x) of the standard normal.
pub fn normal_cdf(x: f64) -> f64 {
    normal_sf(-x)
}

/// x with P(Z > x) = q, for q in (0, 1); relative error about 1e-14. +∞ at q = 0, −∞ at q = 1.
///
/// statrs for the start, Newton steps: on the central area near the middle, on ln P in the tails.
pub fn normal_isf(q: f64) -> f64 {
    if q > 0.5 {
        return -normal_isf(1.0 - q);
    }
    if q <= 0.0 {
        return f64::INFINITY;
    }
    if q > 0.3 {
        let start = -Normal::standard().inverse_cdf(q);
        let central = normal_central(start);
        let once = start - (central - (0.5 - q)) / normal_density(start);
        return once - (normal_central(once) - (0.5 - q)) / normal_density(once);
    }
    normal_isf_ln(q.ln())
}

/// x with ln P(Z > x) = `ln_q`, for every ln_q ≤ 0; ±∞ at p = 0 and p = 1.
pub(crate) fn normal_isf_of_ln(ln_q: f64) -> f64 {
    if ln_q == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    if ln_q < -1.2 { normal_isf_ln(ln_q) } else { normal_isf(ln_q.exp()) }
}

/// x with ln P(Z > x) = `ln_q`, for ln_q below ln 0.4.
pub(crate) fn normal_isf_ln(ln_q: f64) -> f64 {
    let mut x = if ln_q > -600.0 {
        -Normal::standard().inverse_cdf(ln_q.exp())
    } else {
        (-2.0 * ln_q - (-4.0 * std::f64::consts::PI * ln_q).ln()).sqrt()
    };
    for _ in 0..4 {
        let ln_tail = ln_normal_sf(x);
        let hazard = (-0.5 * x * x - HALF_LN_TWO_PI - ln_tail).exp();
        x += (ln_tail - ln_q) / hazard;
    }
    x
}

/// Two-sided p-value 2 P(Z > |z|).
pub fn two_sided_normal(z: f64) -> PValue {
    PValue::from_ln(std::f64::consts::LN_2 + ln_normal_sf(z.abs()))
}

/// ln P(X > x) of the chi-square distribution with `df` > 0 degrees of freedom, x ≥ 0.
///
/// Regularised upper incomplete gamma Q(df/2, x/2): power series below the mean, Legendre's continued fraction above
/// (Abramowitz & Stegun 1964, 6.5.29 and 6.5.31), prefactor by deviance (Loader 2000). One degree of freedom goes through the normal.
pub fn ln_chi_square_sf(x: f64, df: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x.is_infinite() {
        return f64::NEG_INFINITY;
    }
    if df == 1.0 {
        return (std::f64::consts::LN_2 + ln_normal_sf(x.sqrt())).min(0.0);
    }
    let (shape, point) = (0.5 * df, 0.5 * x);
    // ln of point^shape e^−point / Γ(shape)
    let ln_prefactor = -deviance(shape, point) + 0.5 * shape.ln() - HALF_LN_TWO_PI - stirling_error(shape);
    if point < shape + 1.0 {
        ln_1m_exp((ln_prefactor + lower_gamma_series(shape, point).ln()).min(0.0))
    } else {
        ln_prefactor + upper_gamma_fraction(shape, point).ln()
    }
}

/// Σ xⁿ / (a (a+1) … (a+n)).
fn lower_gamma_series(shape: f64, point: f64) -> f64 {
    let mut term = 1.0 / shape;
    let mut sum = term;
    let mut denominator = shape;
    for _ in 0..1_000_000 {
        denominator += 1.0;
        term *= point / denominator;
        sum += term;
        if term <= 1e-17 * sum {
            break;
        }
    }
    sum
}

/// 1/(x+1−a− 1·(1−a)/(x+3−a− 2·(2−a)/(x+5−a− …))), by the modified Lentz method (Thompson & Barnett 1986).
fn upper_gamma_fraction(shape: f64, point: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = point + 1.0 - shape;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..1_000_000 {
        let i = f64::from(i);
        let numerator = -i * (i - shape);
        b += 2.0;
        d = numerator * d + b;
        if d.abs() < TINY {
            d = TINY;
        }
        c = b + numerator / c;
        if c.abs() < TINY {
            c = TINY;
        }
        d = 1.0 / d;
        let factor = c * d;
        fraction *= factor;
        if (factor - 1.0).abs() < 2e-16 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::ChiSquared;

    fn check(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1e-300), "{got} is not {want}");
    }

    #[test]
    fn the_normal_tail_is_seamless_and_reaches_past_the_floating_range() {
        check(ln_normal_sf(0.0), 0.5f64.ln(), 1e-15);
        check(ln_normal_sf(1.999_999_999), ln_normal_sf(2.000_000_001), 1e-8);
        check(normal_sf(1.959_963_984_540_054), 0.025, 1e-13);
        check(ln_normal_sf(100.0), -5_005.524_208_694_205, 1e-13);
    }

    #[test]
    fn the_normal_inverse_undoes_the_tail() {
        for q in [1e-300, 1e-20, 0.025, 0.299, 0.301, 0.499_999_9, 0.7, 0.999] {
            check(normal_sf(normal_isf(q)), q, 1e-13);
        }
        check(normal_isf_ln(ln_normal_sf(60.0)), 60.0, 1e-13);
        assert_eq!(normal_isf(0.5), 0.0);
    }

    #[test]
    fn the_chi_square_tail_agrees_with_statrs() {
        for df in [1.0, 2.0, 3.0, 7.0, 40.0] {
            let reference = ChiSquared::new(df).unwrap();
            for x in [0.01, 0.5, 2.0, 10.0, 60.0, 300.0] {
                check(ln_chi_square_sf(x, df).exp(), reference.sf(x), 1e-10);
            }
        }
    }
}
