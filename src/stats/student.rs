//! Student's t distribution with real degrees of freedom: upper tail on the log scale and its inverse.
//!
//! Cast: [`ln_student_sf`], [`student_isf`]. Never uses the statrs t functions, which keep 7 digits at large degrees of freedom and
//! fail in the tails of the inverse.

use super::beta::beta_tails;
use super::quadrature::panel;
use super::roots::bracketed_root;
use super::special::{HALF_LN_TWO_PI, ln_1m_exp, ln_1p_minus, stirling_error};
use super::types::{InvalidInput, PValue, require_open_unit, require_positive};

/// ln of the density at 0, Γ((ν+1)/2) / (Γ(ν/2) √(νπ)), without the difference of two large log gammas.
fn ln_peak(df: f64) -> f64 {
    let half = 0.5 * df;
    half * ln_1p_minus(0.5 / half) + stirling_error(half + 0.5) - stirling_error(half) - HALF_LN_TWO_PI
}

/// P(0 < T < t) for 0 ≤ t ≤ 1: one Gauss–Legendre panel over the smooth density.
fn central(t: f64, df: f64) -> f64 {
    let shape = |s: f64| (-0.5 * (df + 1.0) * (s * s / df).ln_1p()).exp();
    ln_peak(df).exp() * panel(shape, 0.0, t)
}

/// ln P(T > t) for any t and degrees of freedom ≥ 0.5; relative error of P about 1e-12.
///
/// Below 1: ½ minus the central area. Up to 100 degrees: ½ I_{ν/(ν+t²)}(ν/2, ½) (Abramowitz & Stegun 1964, 26.7.1). Above: the tail
/// integral in the exponent w = ½(ν+1) ln(1+s²/ν), where it is e^{−w} times a smooth function.
///
/// # Errors
/// `df` below 0.5 or not finite, `t` NaN.
pub fn ln_student_sf(t: f64, df: f64) -> Result<f64, InvalidInput> {
    if !(df >= 0.5 && df.is_finite()) {
        return Err(InvalidInput::new("df", "at least 0.5 and finite", df));
    }
    if t.is_nan() {
        return Err(InvalidInput::new("t", "a number", t));
    }
    Ok(ln_sf(t, df))
}

fn ln_sf(t: f64, df: f64) -> f64 {
    if t < 0.0 {
        return ln_1m_exp(ln_sf(-t, df));
    }
    if t.is_infinite() {
        return f64::NEG_INFINITY;
    }
    if t <= 1.0 {
        return (0.5 - central(t, df)).ln();
    }
    if df <= 100.0 {
        let scaled = t / df.sqrt();
        let x = 1.0 / scaled.mul_add(scaled, 1.0);
        if x < 1e-280 {
            // leading term of the tail: density · t / ν
            return ln_peak(df) + 0.5 * (df - 1.0) * df.ln() - df * t.ln();
        }
        let y = if scaled < 1.0 { scaled * scaled * x } else { 1.0 / (1.0 + 1.0 / (scaled * scaled)) };
        return beta_tails(0.5 * df, 0.5, x, y).ln_cdf - std::f64::consts::LN_2;
    }
    ln_tail_integral(t, df)
}

fn ln_tail_integral(t: f64, df: f64) -> f64 {
    const PANELS: [f64; 7] = [0.0, 0.5, 1.5, 4.0, 10.0, 22.0, 48.0];
    let exponent = 0.5 * (df + 1.0) * (t / df * t).ln_1p();
    let integrand = |v: f64| {
        let square = df * (2.0 * (exponent + v) / (df + 1.0)).exp_m1();
        (-v).exp() * (df + square) / ((df + 1.0) * square.sqrt())
    };
    let area: f64 = PANELS.iter().zip(PANELS.iter().skip(1)).map(|(lower, upper)| panel(integrand, *lower, *upper)).sum();
    ln_peak(df) - exponent + area.ln()
}

/// Two-sided p-value 2 P(T > |t|).
///
/// # Errors
/// As [`ln_student_sf`].
pub fn two_sided_student(t: f64, df: f64) -> Result<PValue, InvalidInput> {
    Ok(PValue::from_ln(std::f64::consts::LN_2 + ln_student_sf(t.abs(), df)?))
}

/// t with P(T > t) = `tail`, for a tail in (0, 1); relative error about 1e-12.
///
/// Near the middle Newton on the central area (monotone, because the density falls), in the tail a bracketed root of ln P on ln t.
///
/// # Errors
/// `tail` outside (0, 1), `df` below 0.5 or not finite.
pub fn student_isf(tail: f64, df: f64) -> Result<f64, InvalidInput> {
    require_open_unit("tail", tail)?;
    require_positive("df", df)?;
    ln_student_sf(0.0, df)?;
    if tail > 0.5 {
        return Ok(-upper_quantile(1.0 - tail, df));
    }
    Ok(upper_quantile(tail, df))
}

fn upper_quantile(tail: f64, df: f64) -> f64 {
    let area = 0.5 - tail;
    if area <= 0.0 {
        return 0.0;
    }
    if area < central(1.0, df) {
        let peak = ln_peak(df).exp();
        let mut t = area / peak;
        for _ in 0..60 {
            let density = peak * (-0.5 * (df + 1.0) * (t * t / df).ln_1p()).exp();
            let step = (area - central(t, df)) / density;
            t += step;
            if step.abs() <= 2.0 * f64::EPSILON * t {
                break;
            }
        }
        return t;
    }
    let target = tail.ln();
    let beyond = |ln_t: f64| ln_sf(ln_t.exp(), df) - target;
    let mut high = 1.0;
    while beyond(high) > 0.0 && high < 700.0 {
        high *= 2.0;
    }
    bracketed_root(beyond, 0.0, high).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tails::ln_normal_sf;

    fn check(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got} is not {want}");
    }

    #[test]
    fn one_and_two_degrees_have_closed_forms() {
        for t in [0.3f64, 1.0, 2.5, 1e6] {
            check(ln_student_sf(t, 1.0).unwrap(), ((1.0 / t).atan() / std::f64::consts::PI).ln(), 1e-12);
            let root = (2.0 + t * t).sqrt();
            check(ln_student_sf(t, 2.0).unwrap(), (1.0 / (root * (root + t))).ln(), 1e-12);
        }
    }

    #[test]
    fn both_tail_formulas_meet_at_one_hundred_degrees() {
        for t in [1.1, 3.0, 12.0, 40.0] {
            check(ln_tail_integral(t, 100.0), ln_sf(t, 100.0), 1e-12);
        }
    }

    #[test]
    fn huge_degrees_are_the_normal() {
        for t in [0.5, 2.0, 6.0] {
            check(ln_student_sf(t, 1e14).unwrap(), ln_normal_sf(t), 1e-11);
        }
    }

    #[test]
    fn the_inverse_undoes_the_tail() {
        for df in [0.7, 1.5, 3.0, 40.0, 250.5, 1e8] {
            for tail in [1e-200, 1e-9, 0.025, 0.2, 0.49, 0.7] {
                check(ln_student_sf(student_isf(tail, df).unwrap(), df).unwrap(), tail.ln(), 1e-12);
            }
        }
        assert_eq!(student_isf(0.5, 9.0).unwrap(), 0.0);
    }
}
