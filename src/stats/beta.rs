//! The beta distribution: density and both tails on the log scale, for parameters from 1e-3 to 1e15.
//!
//! Cast: [`BetaTails`], [`beta_tails`], [`Beta`] (what does not depend on x, computed once), [`ln_beta_power`]. Always computes the smaller
//! tail and takes the other as its complement. Never uses the statrs beta functions, which fail from parameters of about 1e6 on.

use super::special::{HALF_LN_TWO_PI, deviance_with, ln_1m_exp, stirling_error};
use super::tails::mills_ratio;
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
/// Expansion about the normal where both parameters are at least 50 and x is not far out ([`Beta`]), else the continued fraction of
/// DiDonato & Morris (1992), ACM TOMS 18:360, algorithm 708 (BFRAC); prefactor by deviances (Loader 2000).
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
    let beta = Beta::new(a, b);
    if beta.is_above_mean(x, y) {
        let ln_sf = beta.ln_sf(x, y);
        BetaTails { ln_cdf: ln_1m_exp(ln_sf), ln_sf }
    } else {
        let ln_cdf = beta.ln_cdf(x, y);
        BetaTails { ln_cdf, ln_sf: ln_1m_exp(ln_cdf) }
    }
}

/// ln of xᵃ yᵇ / B(a, b), the density of the logit of a beta variable.
pub(crate) fn ln_beta_power(a: f64, b: f64, x: f64, y: f64) -> f64 {
    Beta::new(a, b).ln_power(x, y)
}

/// Terms of the expansion.
const TERMS: usize = 20;
/// Both parameters must reach this for the expansion.
const LARGE: f64 = 50.0;
/// Largest ζ/√min(a, b) for the expansion, whose radius of convergence in ζ is √(4π min(a, b)): there its last term is below 1e-15.
const REACH: f64 = 0.6;
/// A tail below e^−DROP leaves its complement at 1.
const DROP: f64 = 60.0;

/// A beta distribution with what does not depend on x.
///
/// With s the logit, p₀ = a/(a+b) and D(s) = a ln(p₀/p) + b ln(q₀/q), the density of s is its peak times e^−D. In ζ = ±√(2D), the signed root, it is
/// normal but for ds/dζ, a power series: p − p₀ = δ obeys δ δ′ = ζ (p₀ + δ)(q₀ − δ)/(a+b), which gives its coefficients one by one, and
/// ds/dζ = ζ / ((a+b) δ). The tail is the sum of its coefficients times truncated normal moments (the method of Temme 1982, and of DiDonato &
/// Morris 1992, section 9).
#[derive(Debug, Clone)]
pub(crate) struct Beta {
    a: f64,
    b: f64,
    ln_peak: f64,
    /// Coefficients of ds/dζ; none for small parameters.
    series: Option<[f64; TERMS]>,
}

impl Beta {
    pub(crate) fn new(a: f64, b: f64) -> Self {
        let total = a + b;
        let ln_peak = 0.5 * (a * (b / total)).ln() - HALF_LN_TWO_PI + stirling_error(total) - stirling_error(a) - stirling_error(b);
        Self { a, b, ln_peak, series: (a.min(b) >= LARGE).then(|| series(a, b)) }
    }

    /// λ = a − (a+b) x = (a+b) y − b, from whichever of x and y is the smaller and so the more exact.
    fn below_mean(&self, x: f64, y: f64) -> f64 {
        let total = self.a + self.b;
        if x <= y { (-total).mul_add(x, self.a) } else { total.mul_add(y, -self.b) }
    }

    fn is_above_mean(&self, x: f64, y: f64) -> bool {
        self.below_mean(x, y) < 0.0
    }

    /// D, for x and y above 0.
    fn drop(&self, x: f64, y: f64, lambda: f64) -> f64 {
        let total = self.a + self.b;
        deviance_with(self.a, total * x, -lambda) + deviance_with(self.b, total * y, lambda)
    }

    /// ln of xᵃ yᵇ / B(a, b), the density of the logit.
    pub(crate) fn ln_power(&self, x: f64, y: f64) -> f64 {
        self.ln_peak - self.drop(x, y, self.below_mean(x, y))
    }

    /// ln P(X ≤ x), y = 1 − x.
    pub(crate) fn ln_cdf(&self, x: f64, y: f64) -> f64 {
        self.ln_tail(x, y, Side::Lower)
    }

    /// ln P(X > x), y = 1 − x.
    pub(crate) fn ln_sf(&self, x: f64, y: f64) -> f64 {
        self.ln_tail(x, y, Side::Upper)
    }

    fn ln_tail(&self, x: f64, y: f64, side: Side) -> f64 {
        let (empty, full) = if side == Side::Lower { (x, y) } else { (y, x) };
        if empty <= 0.0 {
            return f64::NEG_INFINITY;
        }
        if full <= 0.0 {
            return 0.0;
        }
        let lambda = self.below_mean(x, y);
        let drop = self.drop(x, y, lambda);
        // the tail on x's own side of the mean is the small one
        let small = if lambda >= 0.0 { Side::Lower } else { Side::Upper };
        if side != small && drop > DROP {
            return 0.0;
        }
        let ln_small = (self.ln_peak - drop + self.small_tail(x, y, lambda, drop, small).ln()).min(0.0);
        if side == small { ln_small } else { ln_1m_exp(ln_small) }
    }

    /// The smaller tail, relative to the density of the logit at x.
    fn small_tail(&self, x: f64, y: f64, lambda: f64, drop: f64, small: Side) -> f64 {
        let distance = (2.0 * drop.max(0.0)).sqrt();
        match (&self.series, small) {
            (Some(series), _) if distance <= REACH * self.a.min(self.b).sqrt() => moments(series, distance, small),
            (_, Side::Lower) => fraction(self.a, self.b, x, y, lambda),
            (_, Side::Upper) => fraction(self.b, self.a, y, x, -lambda),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

/// Coefficients of ds/dζ, see [`Beta`].
fn series(a: f64, b: f64) -> [f64; TERMS] {
    let total = a + b;
    let (share, rest) = (a / total, b / total);
    // δ in units of its first coefficient, as a series in ζ · unit, so that no power of a small number is lost
    let unit = (share * rest / total).sqrt();
    let (skew, square) = ((rest - share) / total / unit, 1.0 / total);
    let mut delta = [0.0; TERMS + 1];
    let mut inverse = [0.0; TERMS];
    if let (Some(first), Some(one)) = (delta.get_mut(1), inverse.first_mut()) {
        (*first, *one) = (1.0, 1.0);
    }
    let product = |left: &[f64], right: &[f64]| -> f64 { left.iter().zip(right.iter().rev()).map(|(one, other)| one * other).sum() };
    for order in 2..=TERMS {
        // Σ dᵢ j dⱼ over i + j = order + 1 is half of (order + 1) Σ dᵢ dⱼ by symmetry
        let known = 0.5 * (order + 1) as f64 * product(&delta[2..order], &delta[2..order]);
        let right = skew * delta[order - 1] - square * product(&delta[1..order - 1], &delta[1..order - 1]);
        delta[order] = (right - known) / (order + 1) as f64;
        // 1 = (d₁ + d₂ ζ + …) (g₀ + g₁ ζ + …)
        inverse[order - 1] = -product(&delta[2..=order], &inverse[..order - 1]);
    }
    inverse.map(|coefficient| coefficient / (total * unit))
}

/// Σ gₖ (±1)ᵏ Jₖ with Jₖ = ∫ tᵏ e^{−(t²−z²)/2} dt over t > z: J₀ is Mills' ratio, J₁ = 1, Jₖ = zᵏ⁻¹ + (k−1) Jₖ₋₂.
fn moments(series: &[f64; TERMS], z: f64, side: Side) -> f64 {
    let sign = if side == Side::Lower { -1.0 } else { 1.0 };
    let (mut even, mut odd) = (mills_ratio(z), 1.0);
    let (mut power, mut sum) = (z, 0.0);
    for (index, pair) in series.chunks_exact(2).enumerate() {
        let [first, second] = pair else { break };
        let terms = [first * even, sign * second * odd];
        sum += terms[0] + terms[1];
        if terms[0].abs() + terms[1].abs() <= 1e-17 * sum.abs() {
            break;
        }
        let order = (2 * index + 2) as f64;
        even = power + (order - 1.0) * even;
        odd = power * z + order * odd;
        power *= z * z;
    }
    sum
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
    fn fraction_and_expansion_agree_where_both_work() {
        for (a, b, x) in [
            (50.0, 50.0, 0.47),
            (60.0, 1e9, 5.5e-8),
            (51.0, 300.0, 0.08),
            (2_500.0, 4_000.0, 0.38),
            (2_500.0, 90_000.0, 0.0262),
            (3_000.0, 3_000.0, 0.48),
            (5e4, 3e6, 0.0161),
        ] {
            let y = 1.0 - x;
            let beta = Beta::new(a, b);
            let lambda = beta.below_mean(x, y);
            assert!(lambda > 0.0);
            let z = (2.0 * beta.drop(x, y, lambda)).sqrt();
            assert!(z < REACH * a.min(b).sqrt(), "{a} {b} {x}");
            check(moments(&series(a, b), z, Side::Lower), fraction(a, b, x, y, lambda), 1e-12);
            check(moments(&series(b, a), z, Side::Upper), fraction(a, b, x, y, lambda), 1e-12);
        }
    }

    #[test]
    fn arguments_out_of_range_are_named() {
        assert_eq!(beta_distribution(0.0, 1.0, 0.5).unwrap_err().argument, "a");
        assert_eq!(beta_distribution(1.0, 1.0, 1.5).unwrap_err().argument, "x");
    }
}
