//! Root finding and maximisation on a bracket.
//!
//! Cast: [`bracketed_root`] (Chandrupatla's method) and [`golden_maximum`]. Never leaves the bracket it was given and
//! always ends.

/// Root of a continuous function on a bracket with a change of sign, to the last bits (relative).
///
/// Chandrupatla (1997), "A new hybrid quadratic/bisection algorithm", Adv. Eng. Software 28:145. Infinite values at the ends are
/// allowed. Without a change of sign the end with the smaller absolute value is returned.
pub(crate) fn bracketed_root(function: impl Fn(f64) -> f64, lower: f64, upper: f64) -> f64 {
    let (mut a, mut b) = (upper, lower);
    let (mut value_a, mut value_b) = (function(a), function(b));
    if value_a == 0.0 {
        return a;
    }
    if value_b == 0.0 {
        return b;
    }
    if (value_a > 0.0) == (value_b > 0.0) {
        return if value_a.abs() < value_b.abs() { a } else { b };
    }
    let mut step = 0.5;
    for _ in 0..400 {
        let next = a + step * (b - a);
        let value_next = function(next);
        let (c, value_c);
        if (value_next > 0.0) == (value_a > 0.0) {
            (c, value_c) = (a, value_a);
        } else {
            (c, value_c) = (b, value_b);
            (b, value_b) = (a, value_a);
        }
        (a, value_a) = (next, value_next);
        let best = if value_a.abs() < value_b.abs() { a } else { b };
        let tolerance = 2.0 * f64::EPSILON * best.abs() + f64::MIN_POSITIVE;
        let limit = tolerance / (b - a).abs();
        if limit > 0.5 || value_a == 0.0 {
            return best;
        }
        let xi = (a - b) / (c - b);
        let phi = (value_a - value_b) / (value_c - value_b);
        step = if phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi {
            value_a / (value_b - value_a) * value_c / (value_b - value_c)
                + (c - a) / (b - a) * value_a / (value_c - value_a) * value_b / (value_c - value_b)
        } else {
            0.5
        };
        if !step.is_finite() {
            step = 0.5;
        }
        step = step.max(limit).min(1.0 - limit);
    }
    a
}

/// Place of the maximum of a unimodal function on [lower, upper], to about √ε of the bracket (Kiefer 1953, golden section).
pub(crate) fn golden_maximum(function: impl Fn(f64) -> f64, lower: f64, upper: f64, width: f64) -> f64 {
    const SHRINK: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (lower, upper);
    let mut left = high - SHRINK * (high - low);
    let mut right = low + SHRINK * (high - low);
    let (mut value_left, mut value_right) = (function(left), function(right));
    for _ in 0..200 {
        if high - low <= width {
            break;
        }
        if value_left >= value_right {
            high = right;
            (right, value_right) = (left, value_left);
            left = high - SHRINK * (high - low);
            value_left = function(left);
        } else {
            low = left;
            (left, value_left) = (right, value_right);
            right = low + SHRINK * (high - low);
            value_right = function(right);
        }
    }
    if value_left >= value_right { left } else { right }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_to_the_last_bits_even_near_zero() {
        let root = bracketed_root(|x| x * x * x - 1e-30, -1.0, 1.0);
        assert!((root / 1e-10 - 1.0).abs() < 1e-14, "{root}");
        let pole = bracketed_root(|x| 1.0 / x - 3.0, 0.0, 1.0);
        assert!((pole * 3.0 - 1.0).abs() < 1e-14, "{pole}");
    }

    #[test]
    fn the_maximum_of_a_parabola_is_found() {
        let place = golden_maximum(|x| -(x - 0.3) * (x - 0.3), -5.0, 9.0, 1e-9);
        assert!((place - 0.3).abs() < 1e-7, "{place}");
    }
}
