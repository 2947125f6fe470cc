//! Numerical integration: Gauss–Legendre panels and the trapezoidal rule for bell-shaped integrands on the log scale.
//!
//! Cast: [`panel`], [`ln_integral_of_bell`], [`ln_integral_by_panels`]. Never guesses an accuracy: the callers choose panels and steps that make the error
//! negligible, and say why.

use std::sync::OnceLock;

use super::roots::golden_maximum;
use super::special::ln_sum_exp;

const POINTS: usize = 32;

/// Nodes and weights of the 32-point Gauss–Legendre rule on [−1, 1], by Newton on the Legendre recurrence
/// (Abramowitz & Stegun 1964, 25.4.29).
fn rule() -> &'static Vec<(f64, f64)> {
    static RULE: OnceLock<Vec<(f64, f64)>> = OnceLock::new();
    RULE.get_or_init(|| {
        let count = POINTS as f64;
        (0..POINTS)
            .map(|index| {
                let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (count + 0.5)).cos();
                let mut slope = 1.0;
                for _ in 0..20 {
                    let (mut last, mut value) = (1.0, x);
                    for k in 2..=POINTS {
                        let k = k as f64;
                        (last, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * last) / k);
                    }
                    slope = count * (x * value - last) / (x * x - 1.0);
                    x -= value / slope;
                }
                (x, 2.0 / ((1.0 - x * x) * slope * slope))
            })
            .collect()
    })
}

/// ∫ f over [lower, upper] by one 32-point Gauss–Legendre panel.
pub(crate) fn panel(function: impl Fn(f64) -> f64, lower: f64, upper: f64) -> f64 {
    let (middle, half) = (0.5 * (lower + upper), 0.5 * (upper - lower));
    half * rule().iter().map(|(node, weight)| weight * function(middle + half * node)).sum::<f64>()
}

/// ln ∫ exp(`ln_f`) over the line, for a unimodal integrand whose mode lies in [lower, upper], by the trapezoidal rule with the
/// given step, summed outwards from the mode until the terms no longer count.
///
/// The rule converges geometrically for analytic integrands (Trefethen & Weideman 2014, SIAM Rev. 56:385): a step of a quarter of
/// the standard deviation leaves an error below 1e-16.
pub(crate) fn ln_integral_of_bell(ln_f: impl Fn(f64) -> f64, lower: f64, upper: f64, step: f64) -> f64 {
    const NEGLIGIBLE: f64 = 45.0;
    const MOST_NODES: u32 = 400_000;
    let mode = golden_maximum(&ln_f, lower, upper, step);
    let top = ln_f(mode);
    if top == f64::NEG_INFINITY || top.is_nan() {
        return f64::NEG_INFINITY;
    }
    let mut sum = 1.0;
    for direction in [-1.0, 1.0] {
        for index in 1..MOST_NODES {
            let drop = ln_f(mode + direction * step * f64::from(index)) - top;
            if drop.is_nan() || drop < -NEGLIGIBLE {
                break;
            }
            sum += drop.exp();
        }
    }
    top + (sum * step).ln()
}

/// Breakpoints around a place where an integrand varies on the given scale: every two scales up to 40, then at doubling distances up to
/// `reach`.
pub(crate) fn breakpoints_around(centre: f64, scale: f64, reach: f64) -> Vec<f64> {
    let mut distances: Vec<f64> = (1..=20).map(|index| 2.0 * scale * f64::from(index)).collect();
    let mut distance = 80.0 * scale;
    while distance < reach {
        distances.push(distance);
        distance *= 2.0;
    }
    distances.push(reach.max(42.0 * scale));
    distances.iter().flat_map(|distance| [centre - distance, centre + distance]).chain([centre]).collect()
}

/// ln ∫ exp(`ln_f`) by 32-point panels between the breakpoints, for integrands with features of very different widths. Breakpoints
/// closer than `smallest` are merged.
pub(crate) fn ln_integral_by_panels(ln_f: impl Fn(f64) -> f64, mut breakpoints: Vec<f64>, smallest: f64) -> f64 {
    breakpoints.sort_by(f64::total_cmp);
    breakpoints.dedup_by(|later, earlier| *later - *earlier < smallest);
    let terms: Vec<f64> = breakpoints
        .iter()
        .zip(breakpoints.iter().skip(1))
        .flat_map(|(lower, upper)| {
            let (middle, half) = (0.5 * (lower + upper), 0.5 * (upper - lower));
            rule().iter().map(|(node, weight)| ln_f(middle + half * node) + (weight * half).ln()).collect::<Vec<f64>>()
        })
        .filter(|term| !term.is_nan())
        .collect();
    ln_sum_exp(&terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_integrates_high_powers_exactly() {
        assert!((panel(|x| x.powi(40), 0.0, 2.0) / (2.0f64.powi(41) / 41.0) - 1.0).abs() < 1e-13);
    }

    #[test]
    fn the_bell_of_the_normal_has_its_known_area() {
        let ln_area = ln_integral_of_bell(|x| -0.5 * (x - 3.0) * (x - 3.0) - 900.0, -20.0, 30.0, 0.3);
        assert!((ln_area - (-900.0 + super::super::special::HALF_LN_TWO_PI)).abs() < 1e-12, "{ln_area}");
        let by_panels = ln_integral_by_panels(|x| -0.5 * (x - 3.0) * (x - 3.0) - 900.0, breakpoints_around(3.0, 1.0, 100.0), 0.1);
        assert!((ln_area - by_panels).abs() < 1e-12, "{by_panels}");
    }
}
