//! Logarithmic building blocks: ln(1+x)−x, deviances, Stirling's error, log gamma and log beta.
//!
//! Cast: plain functions. Everything else that must stay accurate for huge counts is written in terms of deviances
//! (Loader 2000, "Fast and accurate computation of binomial probabilities"), because differences of log gammas lose all
//! their digits there. Never returns a probability: those live in the `tails`, `beta` and `hypergeometric` files.

/// ½ ln 2π.
pub(crate) const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// ln(1+x) − x for x > −1, accurate near 0.
///
/// With r = x/(2+x): ln(1+x) = 2 artanh r, hence ln(1+x) − x = −r x + 2 (r³/3 + r⁵/5 + …)  (Abramowitz & Stegun 1964, 4.1.27).
pub(crate) fn ln_1p_minus(x: f64) -> f64 {
    if x.abs() > 0.5 {
        return x.ln_1p() - x;
    }
    let r = x / (2.0 + x);
    let square = r * r;
    let mut power = r * square;
    let mut sum = 0.0;
    let mut odd = 3.0;
    loop {
        let term = power / odd;
        sum += term;
        if term.abs() <= 1e-18 * sum.abs() || term == 0.0 {
            return 2.0f64.mul_add(sum, -r * x);
        }
        power *= square;
        odd += 2.0;
    }
}

/// Poisson deviance x ln(x/m) − x + m ≥ 0, with `excess` = m − x given by the caller (who may know it more exactly).
/// x ≥ 0, m > 0. Source: Loader (2000), the function bd0.
pub(crate) fn deviance_with(x: f64, m: f64, excess: f64) -> f64 {
    if x == 0.0 {
        return m;
    }
    if excess.abs() <= 0.5 * x { -x * ln_1p_minus(excess / x) } else { x.mul_add((x / m).ln(), excess) }
}

/// Poisson deviance x ln(x/m) − x + m.
pub(crate) fn deviance(x: f64, m: f64) -> f64 {
    deviance_with(x, m, m - x)
}

/// Stirling's error ln Γ(x) − [(x−½) ln x − x + ½ ln 2π] for x > 0; absolute error about 1e-15.
///
/// Asymptotic series from 16 on (Abramowitz & Stegun 1964, 6.1.41), the recurrence δ(x) = δ(x+1) + (x+½) ln(1+1/x) − 1 below.
pub(crate) fn stirling_error(x: f64) -> f64 {
    let mut shifted = x;
    let mut sum = 0.0;
    while shifted < 16.0 {
        sum += (shifted + 0.5) * (1.0 / shifted).ln_1p() - 1.0;
        shifted += 1.0;
    }
    let inverse = 1.0 / shifted;
    let square = inverse * inverse;
    let coefficients = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    sum + inverse * coefficients.iter().rev().fold(0.0, |value, coefficient| value * square + coefficient)
}

/// ln Γ(x) for x > 0; absolute error about 1e-15 · max(1, |ln Γ|).
#[cfg(test)]
pub(crate) fn ln_gamma(x: f64) -> f64 {
    (x - 0.5) * x.ln() - x + HALF_LN_TWO_PI + stirling_error(x)
}

/// ln B(a, b) for a, b > 0, without the cancellation of three log gammas.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a <= b { (a, b) } else { (b, a) };
    let total = a + b;
    small * (small / total).ln() - large * (small / large).ln_1p()
        + 0.5 * (1.0 / a + 1.0 / b).ln()
        + HALF_LN_TWO_PI
        + stirling_error(a)
        + stirling_error(b)
        - stirling_error(total)
}

/// ln(1 − eˣ) for x ≤ 0 (Mächler 2012, "Accurately computing log(1 − exp(−|a|))").
pub(crate) fn ln_1m_exp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// ln(eˣ + eʸ); −∞ stands for a missing term.
pub(crate) fn ln_add_exp(x: f64, y: f64) -> f64 {
    let (high, low) = if x >= y { (x, y) } else { (y, x) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln Σ e^{xᵢ}; −∞ for an empty sum.
pub(crate) fn ln_sum_exp(terms: &[f64]) -> f64 {
    let high = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high == f64::NEG_INFINITY {
        return high;
    }
    high + terms.iter().map(|term| (term - high).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-13 * want.abs().max(1e-3), "{got} is not {want}");
    }

    #[test]
    fn ln_1p_minus_keeps_its_digits_near_zero() {
        check(ln_1p_minus(1e-6), -4.999_996_666_669_167e-13);
        check(ln_1p_minus(-0.3), -0.056_674_943_938_732_375);
        check(ln_1p_minus(3.0), 4.0f64.ln() - 3.0);
    }

    #[test]
    fn ln_gamma_agrees_with_factorials_and_the_half() {
        check(ln_gamma(5.0), 24.0f64.ln());
        check(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        check(ln_gamma(171.0), 706.573_062_245_787_5);
    }

    #[test]
    fn ln_beta_is_symmetric_and_survives_large_arguments() {
        check(ln_beta(2.0, 3.0), -(12.0f64.ln()));
        check(ln_beta(1.0, 1e12), -(1e12f64.ln()));
        assert_eq!(ln_beta(0.3, 7.0), ln_beta(7.0, 0.3));
    }
}
