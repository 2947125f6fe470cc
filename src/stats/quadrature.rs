//! Numerical integration: Gauss–Legendre panels and the trapezoidal rule for bell-shaped integrands on the log scale.
//!
//! Cast: [`panel`], [`ln_integral_of_bell`]. Never guesses an accuracy: the callers choose panels and steps that make the error
//! negligible, and say why; where they cannot, halving goes on until it changes nothing.

use std::sync::OnceLock;

use super::roots::golden_maximum;

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

/// Below e^−NEGLIGIBLE of the maximum an integrand no longer counts.
const NEGLIGIBLE: f64 = 37.0;

/// ln ∫ exp(`ln_f`) over the line, for a unimodal integrand that is smooth on the scale of `step`, or of its own width where that is less. `near` is a guess of the mode, from which it is
/// searched in strides of `stride`; `features` are places where the integrand may vary on a scale as short as `step`.
///
/// Trapezoidal rule, which converges geometrically for analytic integrands (Trefethen & Weideman 2014, SIAM Rev. 56:385), summed outwards from
/// the mode until the terms no longer count. When that would take too many terms, [`ln_adaptive`] over the support.
pub(crate) fn ln_integral_of_bell(ln_f: impl Fn(f64) -> f64, near: f64, stride: f64, step: f64, features: &[(f64, f64)]) -> f64 {
    const MOST_NODES: u32 = 120;
    let (mode, top, step) = smooth_step(&ln_f, climb(&ln_f, near, stride, step), step);
    if top == f64::NEG_INFINITY || top.is_nan() {
        return f64::NEG_INFINITY;
    }
    let mut sum = 1.0;
    for direction in [-1.0, 1.0] {
        let mut ended = false;
        for index in 1..=MOST_NODES {
            let drop = ln_f(mode + direction * step * f64::from(index)) - top;
            if drop.is_nan() || drop < -NEGLIGIBLE {
                ended = true;
                break;
            }
            sum += drop.exp();
        }
        if !ended {
            return ln_adaptive(&ln_f, mode, top, step, features);
        }
    }
    top + (sum * step).ln()
}

/// A step of at most 0.8 standard deviations where the mode is, which may lie far from where `step` was judged: halved until the fall over a step is
/// that of a normal density.
fn smooth_step(ln_f: &impl Fn(f64) -> f64, (mut mode, mut top): (f64, f64), mut step: f64) -> (f64, f64, f64) {
    const STEEPEST: f64 = 0.32;
    for _ in 0..40 {
        let fall = top - 0.5 * (ln_f(mode - step) + ln_f(mode + step));
        // an infinite fall is an edge, which no step gets around
        if fall <= STEEPEST || !fall.is_finite() {
            break;
        }
        let smaller = step * (0.25 / fall).sqrt().clamp(0.1, 0.9);
        mode = golden_maximum(ln_f, mode - step, mode + step, smaller);
        (top, step) = (ln_f(mode), smaller);
    }
    (mode, top, step)
}

/// The maximum of a unimodal function, to within `step`: uphill in doubling strides, then golden section.
fn climb(ln_f: &impl Fn(f64) -> f64, near: f64, stride: f64, step: f64) -> (f64, f64) {
    let start = ln_f(near);
    let right = ln_f(near + stride);
    let (mut low, mut high) = (near - stride, near + stride);
    let mut direction = stride;
    if right < start || right.is_nan() {
        direction = -stride;
    }
    let (mut last, mut best) = (near, start);
    for _ in 0..60 {
        let next = last + direction;
        let value = ln_f(next);
        if value.is_nan() || value < best || (value == best && best > f64::NEG_INFINITY) {
            (low, high) = (next.min(last - direction), next.max(last - direction));
            break;
        }
        // the bracket reaches back over the place before, at half the stride
        (last, best) = (next, value);
        direction *= 2.0;
    }
    let mode = golden_maximum(ln_f, low, high, step);
    (mode, ln_f(mode))
}

/// ln ∫ exp(`ln_f`) over the support around the mode: 32-point panels between breakpoints around the features, halved until halving changes nothing.
fn ln_adaptive(ln_f: &impl Fn(f64) -> f64, mode: f64, top: f64, step: f64, features: &[(f64, f64)]) -> f64 {
    /// Halving that changes the whole by less than this ends; with 1e12 recipients the logarithms themselves are no better.
    const CHANGE: f64 = 1e-11;
    const DEEPEST: u32 = 40;
    const MOST_PANELS: usize = 600;
    let relative = |place: f64| {
        let drop = ln_f(place) - top;
        if drop.is_nan() { 0.0 } else { drop.exp() }
    };
    let (low, high) = (support_end(ln_f, mode, top, -step), support_end(ln_f, mode, top, step));
    let around = |(centre, scale): &(f64, f64)| [-9.0, -4.0, 0.0, 4.0, 9.0].map(|deviate| centre + deviate * scale);
    let mut breaks: Vec<f64> = features.iter().flat_map(around).chain([mode]).filter(|place| *place > low && *place < high).collect();
    breaks.extend([low, high]);
    breaks.sort_by(f64::total_cmp);
    breaks.dedup_by(|later, earlier| *later - *earlier < step);
    let mut waiting: Vec<(f64, f64, f64, u32)> =
        breaks.iter().zip(breaks.iter().skip(1)).map(|(lower, upper)| (*lower, *upper, panel(relative, *lower, *upper), 0)).collect();
    let whole: f64 = waiting.iter().map(|(_, _, area, _)| area).sum();
    let (mut sum, mut panels) = (0.0, 0);
    while let Some((lower, upper, area, depth)) = waiting.pop() {
        let middle = 0.5 * (lower + upper);
        panels += 2;
        let (left, right) = (panel(relative, lower, middle), panel(relative, middle, upper));
        if (left + right - area).abs() <= CHANGE * whole || depth == DEEPEST || panels >= MOST_PANELS {
            sum += left + right;
        } else {
            waiting.extend([(lower, middle, left, depth + 1), (middle, upper, right, depth + 1)]);
        }
    }
    top + sum.ln()
}

/// Where the integrand no longer counts, from the mode in the direction of `step`.
fn support_end(ln_f: &impl Fn(f64) -> f64, mode: f64, top: f64, step: f64) -> f64 {
    let counts = |place: f64| ln_f(place) - top >= -NEGLIGIBLE;
    let (mut inside, mut outside) = (mode, mode + step);
    let mut stride = step;
    for _ in 0..60 {
        if !counts(outside) {
            break;
        }
        inside = outside;
        stride *= 2.0;
        outside += stride;
    }
    for _ in 0..6 {
        let middle = 0.5 * (inside + outside);
        if counts(middle) { inside = middle } else { outside = middle }
    }
    outside
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
        let bell = |x: f64| -0.5 * (x - 3.0) * (x - 3.0) - 900.0;
        let want = -900.0 + super::super::special::HALF_LN_TWO_PI;
        for (near, step) in [(3.0, 0.3), (-20.0, 0.5), (400.0, 0.5), (3.1, 0.01)] {
            let ln_area = ln_integral_of_bell(bell, near, 1.0, step, &[(3.0, 1.0)]);
            assert!((ln_area - want).abs() < 1e-12, "{near} {step}: {ln_area}");
        }
    }

    // Two logistic steps whose widths differ by a factor of a million: area of F(x) S(x) with a narrow F at 0 is that of S over x > 0.
    #[test]
    fn features_of_very_different_width_are_both_seen() {
        let ln_f = |x: f64| -(-x * 1e6).exp().ln_1p() - x.exp().ln_1p();
        let ln_area = ln_integral_of_bell(ln_f, 0.0, 1.0, 0.25e-6, &[(0.0, 1e-6), (0.0, 1.0)]);
        assert!((ln_area.exp() - 2.0f64.ln()).abs() < 1e-11, "{}", ln_area.exp());
    }
}
