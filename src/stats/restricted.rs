//! Rates of two arms under a fixed difference or ratio: the restricted maximum-likelihood estimates behind every score interval.
//!
//! Cast: [`Restricted`], [`given_difference`], [`given_ratio`]. Never judges: it only returns rates.

use super::types::Count;

/// Restricted rates with their complements kept separately, so that neither loses digits near 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Restricted {
    pub(crate) p_a: f64,
    pub(crate) q_a: f64,
    pub(crate) p_b: f64,
    pub(crate) q_b: f64,
}

/// Maximum-likelihood rates with p_B − p_A = `delta`, −1 ≤ delta ≤ 1.
///
/// Turned so that the difference is positive and the rates are small, where nothing cancels.
pub(crate) fn given_difference(a: Count, b: Count, delta: f64) -> Restricted {
    if delta < 0.0 {
        let turned = given_difference(b, a, -delta);
        return Restricted { p_a: turned.p_b, q_a: turned.q_b, p_b: turned.p_a, q_b: turned.q_a };
    }
    if a.x() + b.x() > a.misses() + b.misses() {
        let turned = oriented(b.complement(), a.complement(), delta);
        return Restricted { p_a: turned.q_b, q_a: turned.p_b, p_b: turned.q_a, q_b: turned.p_a };
    }
    oriented(a, b, delta)
}

/// The same for delta ≥ 0, the low arm first.
fn oriented(low: Count, high: Count, delta: f64) -> Restricted {
    let total = low.n() + high.n();
    let room = 1.0 - delta;
    let p = if delta == 0.0 {
        (low.x() + high.x()) / total
    } else if room <= 0.0 {
        0.0
    } else {
        polish(low, high, delta, room, cubic_root(low, high, delta))
    };
    let p_high = (p + delta).min(1.0);
    Restricted { p_a: p, q_a: 1.0 - p, p_b: p_high, q_b: (room - p).max(0.0) }
}

/// Closed trigonometric root of the likelihood cubic (Miettinen & Nurminen 1985, Stat. Med. 4:213, appendix I).
fn cubic_root(low: Count, high: Count, delta: f64) -> f64 {
    let total = low.n() + high.n();
    let successes = low.x() + high.x();
    let l3 = total;
    let l2 = (high.n() + 2.0 * low.n()) * delta - total - successes;
    let l1 = (low.n() * delta - total - 2.0 * low.x()) * delta + successes;
    let l0 = low.x() * delta * (1.0 - delta);
    let third = l2 / (3.0 * l3);
    let v = third.powi(3) - l1 * l2 / (6.0 * l3 * l3) + l0 / (2.0 * l3);
    let u = (third * third - l1 / (3.0 * l3)).max(0.0).sqrt().copysign(v);
    let cosine = if u == 0.0 { 0.0 } else { (v / u.powi(3)).clamp(-1.0, 1.0) };
    2.0 * u * ((std::f64::consts::PI + cosine.acos()) / 3.0).cos() - third
}

/// Slope of the log likelihood in p, and its derivative; terms without observations are left out.
fn slope(low: Count, high: Count, delta: f64, room: f64, p: f64) -> (f64, f64) {
    let (mut value, mut derivative) = (0.0, 0.0);
    for (observed, share, sign) in
        [(low.x(), p, 1.0), (low.misses(), 1.0 - p, -1.0), (high.x(), p + delta, 1.0), (high.misses(), room - p, -1.0)]
    {
        if observed > 0.0 {
            value += sign * observed / share;
            derivative -= observed / (share * share);
        }
    }
    (value, derivative)
}

/// Newton steps on the strictly concave log likelihood, kept inside a shrinking bracket: the closed root loses its digits to
/// cancellation at rates near 1e-7.
fn polish(low: Count, high: Count, delta: f64, room: f64, start: f64) -> f64 {
    if low.successes() == 0 && slope(low, high, delta, room, 0.0).0 <= 0.0 {
        return 0.0;
    }
    if high.failures() == 0 && slope(low, high, delta, room, room).0 >= 0.0 {
        return room;
    }
    let (mut floor, mut ceiling) = (0.0, room);
    let mut p = if start > floor && start < ceiling { start } else { 0.5 * room };
    for _ in 0..200 {
        let (value, derivative) = slope(low, high, delta, room, p);
        if value > 0.0 {
            floor = p;
        } else {
            ceiling = p;
        }
        let mut next = p - value / derivative;
        if !(next > floor && next < ceiling) {
            next = if floor > 0.0 && ceiling > 4.0 * floor { (floor * ceiling).sqrt() } else { 0.5 * (floor + ceiling) };
        }
        let step = (next - p).abs();
        p = next;
        if step <= 4.0 * f64::EPSILON * p {
            break;
        }
    }
    p
}

/// Maximum-likelihood rates with p_B / p_A = `ratio` > 0: the smaller root of a quadratic whose discriminant is written as a
/// sum of positive terms, (n_A + x_B − θ(n_B + x_A))² + 4 θ (n_A − x_A)(n_B − x_B).
///
/// Source: Miettinen & Nurminen (1985), equation for the rate ratio; Koopman (1984), Biometrics 40:513.
pub(crate) fn given_ratio(a: Count, b: Count, ratio: f64) -> Restricted {
    let successes = a.x() + b.x();
    let linear = b.x() + a.n() + (a.x() + b.n()) * ratio;
    let gap = a.n() + b.x() - ratio * (b.n() + a.x());
    let product = 4.0 * ratio * a.misses() * b.misses();
    let root = gap.hypot(product.sqrt());
    // root − gap and root + gap, whose product is `product`: the one that would cancel comes from the other
    let (minus, plus) = if gap > 0.0 {
        (product / (root + gap), root + gap)
    } else if root > gap {
        (root - gap, product / (root - gap))
    } else {
        (0.0, 0.0)
    };
    let bottom = linear + root;
    Restricted {
        p_a: (2.0 * successes / bottom).min(1.0),
        q_a: ((2.0 * a.misses() + minus) / bottom).min(1.0),
        p_b: (2.0 * ratio * successes / bottom).min(1.0),
        q_b: ((2.0 * ratio * b.misses() + plus) / bottom).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(successes: u64, trials: u64) -> Count {
        Count::new(successes, trials).unwrap()
    }

    #[test]
    fn the_observed_difference_gives_back_the_observed_rates() {
        let rates = given_difference(count(30, 100), count(90, 200), 0.15);
        assert!((rates.p_a - 0.3).abs() < 1e-14 && (rates.p_b - 0.45).abs() < 1e-14, "{rates:?}");
    }

    #[test]
    fn rare_events_keep_their_digits() {
        let (a, b) = (count(3, 100_000_000), count(40, 100_000_000));
        let rates = given_difference(a, b, 2e-7);
        let (value, derivative) = slope(a, b, 2e-7, 1.0 - 2e-7, rates.p_a);
        assert!((value / derivative / rates.p_a).abs() < 1e-14);
    }

    #[test]
    fn the_observed_ratio_gives_back_the_observed_rates() {
        let rates = given_ratio(count(30, 100), count(90, 200), 1.5);
        assert!((rates.p_a - 0.3).abs() < 1e-15 && (rates.p_b - 0.45).abs() < 1e-15, "{rates:?}");
    }

    #[test]
    fn no_successes_put_the_low_arm_on_the_edge() {
        let rates = given_difference(count(0, 10), count(0, 10), 0.2);
        assert_eq!((rates.p_a, rates.p_b), (0.0, 0.2));
    }
}
