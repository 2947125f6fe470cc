//! The Bayesian reading of binary metrics: chances and expected losses beside the test, never instead of it.
//!
//! Cast: [`Posterior`] (a beta distribution), [`prob_b_beats_a`], [`expected_losses`], [`lift_interval`], [`best_of`]. Everything is on the log scale,
//! so chances of 1e-200 are numbers. Never decides a campaign.

use serde::Serialize;

use super::beta::{beta_tails, ln_beta_power};
use super::hypergeometric::Hypergeometric;
use super::quadrature::{breakpoints_around, ln_integral_by_panels, ln_integral_of_bell};
use super::roots::bracketed_root;
use super::special::ln_1m_exp;
use super::types::{Count, Estimate, Interval, InvalidInput, Level, NotEstimable, require_positive};

/// A beta distribution of a rate, prior or posterior.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Posterior {
    alpha: f64,
    beta: f64,
}

/// The expected losses (in points of rate) of choosing either arm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ExpectedLosses {
    /// E[max(p_B − p_A, 0)]: what choosing A costs if wrong.
    pub choose_a: f64,
    /// E[max(p_A − p_B, 0)]: what choosing B costs if wrong.
    pub choose_b: f64,
}

/// Chance to be the best and expected loss if chosen, of one arm among several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BestReading {
    /// P(this arm has the highest rate).
    pub chance: f64,
    /// E[highest rate − this arm's rate].
    pub expected_loss: f64,
}

impl Posterior {
    /// Beta(prior_alpha + x, prior_beta + n − x). The prior Beta(1, 1) knows nothing. An empty arm returns the prior.
    ///
    /// # Errors
    /// Prior parameters not positive and finite.
    pub fn new(count: Count, prior_alpha: f64, prior_beta: f64) -> Result<Self, InvalidInput> {
        require_positive("prior_alpha", prior_alpha)?;
        require_positive("prior_beta", prior_beta)?;
        Ok(Self { alpha: prior_alpha + count.x(), beta: prior_beta + count.misses() })
    }

    /// Mean rate.
    pub fn mean(self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    /// Centre of the logit of the rate.
    fn logit_centre(self) -> f64 {
        (self.alpha / self.beta).ln()
    }

    /// About one standard deviation of the logit, at most 1 (the scale on which all integrands are smooth).
    fn logit_scale(self) -> f64 {
        (1.0 / self.alpha + 1.0 / self.beta).sqrt().min(1.0)
    }

    /// Density of the logit.
    fn ln_density(self, point: Point) -> f64 {
        ln_beta_power(self.alpha, self.beta, point.rate, point.rest)
    }

    fn ln_cdf(self, point: Point) -> f64 {
        beta_tails(self.alpha, self.beta, point.rate, point.rest).ln_cdf
    }

    fn ln_sf(self, point: Point) -> f64 {
        beta_tails(self.alpha, self.beta, point.rate, point.rest).ln_sf
    }

    /// Both parameters, when they are whole numbers small enough to count with.
    fn whole(self) -> Option<(u64, u64)> {
        const LIMIT: f64 = (1u64 << 53) as f64;
        let whole = |value: f64| (value.fract() == 0.0 && value < LIMIT).then_some(value as u64);
        Some((whole(self.alpha)?, whole(self.beta)?))
    }
}

/// A rate and its complement.
#[derive(Debug, Clone, Copy)]
struct Point {
    rate: f64,
    rest: f64,
}

impl Point {
    fn from_logit(logit: f64) -> Self {
        let small = 1.0 / (1.0 + logit.abs().exp());
        let large = 1.0 / (1.0 + (-logit.abs()).exp());
        if logit < 0.0 { Self { rate: small, rest: large } } else { Self { rate: large, rest: small } }
    }

    fn scaled(self, factor: f64) -> Self {
        let rate = (self.rate * factor).min(1.0);
        Self { rate, rest: (-factor).mul_add(self.rate, 1.0).max(0.0) }
    }
}

/// Beyond this ratio of widths the trapezoidal rule would need too many nodes.
const MISMATCH: f64 = 20.0;

/// Integrates over the logit of a rate. The integrand varies around the arms' centres on their scales.
fn ln_integral_over_logit(arms: &[Posterior], ln_f: impl Fn(Point) -> f64) -> f64 {
    const MARGIN: f64 = 30.0;
    let (mut low, mut high, mut narrow, mut wide) = (f64::INFINITY, f64::NEG_INFINITY, 1.0f64, 0.0f64);
    for arm in arms {
        low = low.min(arm.logit_centre());
        high = high.max(arm.logit_centre());
        narrow = narrow.min(arm.logit_scale());
        wide = wide.max(arm.logit_scale());
    }
    let on_line = |logit: f64| ln_f(Point::from_logit(logit));
    if wide > MISMATCH * narrow {
        let breakpoints =
            arms.iter().flat_map(|arm| breakpoints_around(arm.logit_centre(), arm.logit_scale(), high - low + 3.0 * MARGIN)).collect();
        return ln_integral_by_panels(on_line, breakpoints, 0.5 * narrow);
    }
    ln_integral_of_bell(on_line, low - MARGIN, high + MARGIN, 0.25 * narrow)
}

/// ln P(p_B > p_A).
///
/// Whole parameters: the closed form as a hypergeometric tail (Altham 1969, JRSS B 31:261): of the first α_A + α_B − 1 of m_A + m_B
/// uniform points, at least α_A are A's. Others: quadrature of the density of B times the distribution of A.
pub fn ln_prob_b_beats_a(a: Posterior, b: Posterior) -> f64 {
    if let (Some((alpha_a, beta_a)), Some((alpha_b, beta_b))) = (a.whole(), b.whole()) {
        let points = Hypergeometric::new(alpha_b + beta_b - 1, alpha_a + beta_a - 1, alpha_a + alpha_b - 1);
        return points.ln_at_least(alpha_a);
    }
    ln_prob_b_beats_a_by_quadrature(a, b)
}

fn ln_prob_b_beats_a_by_quadrature(a: Posterior, b: Posterior) -> f64 {
    if difference_of_means(a, b) > 0.0 {
        // the chance is the larger one: take it as the complement
        return ln_1m_exp(ln_prob_of_upset(b, a));
    }
    ln_prob_of_upset(a, b)
}

/// The density of the narrower arm times the tail of the wider one: a bell as narrow as the narrower.
fn ln_prob_of_upset(a: Posterior, b: Posterior) -> f64 {
    let ln_f = |point: Point| {
        if a.logit_scale() < b.logit_scale() { a.ln_density(point) + b.ln_sf(point) } else { b.ln_density(point) + a.ln_cdf(point) }
    };
    let (low, high) = (a.logit_centre().min(b.logit_centre()), a.logit_centre().max(b.logit_centre()));
    let step = 0.25 * a.logit_scale().min(b.logit_scale());
    ln_integral_of_bell(|logit| ln_f(Point::from_logit(logit)), low - 30.0, high + 30.0, step).min(0.0)
}

/// P(p_B > p_A), from independent beta posteriors. See [`ln_prob_b_beats_a`].
pub fn prob_b_beats_a(a: Posterior, b: Posterior) -> f64 {
    ln_prob_b_beats_a(a, b).exp()
}

/// Mean of B minus mean of A without cancellation of the cross product.
fn difference_of_means(a: Posterior, b: Posterior) -> f64 {
    let left = b.alpha * a.beta;
    let left_low = b.alpha.mul_add(a.beta, -left);
    let cross = (-a.alpha).mul_add(b.beta, left) + left_low;
    cross / (a.alpha + a.beta) / (b.alpha + b.beta)
}

/// Expected losses of both choices. The smaller one is ∫ F(low arm) · S(high arm) dt by quadrature, the larger one that plus the difference of
/// the means, so that nothing cancels.
///
/// Source: Stucchio (2015), "Bayesian A/B testing at VWO", section 4, in survival form.
pub fn expected_losses(a: Posterior, b: Posterior) -> ExpectedLosses {
    let gap = difference_of_means(a, b);
    let (leader, other) = if gap >= 0.0 { (b, a) } else { (a, b) };
    // E[(other − leader)⁺] = ∫ P(leader < t) P(other > t) dt
    let ln_small = ln_integral_over_logit(&[a, b], |point| leader.ln_cdf(point) + other.ln_sf(point) + point.rate.ln() + point.rest.ln());
    let small = ln_small.exp();
    let large = small + gap.abs();
    if gap >= 0.0 { ExpectedLosses { choose_a: large, choose_b: small } } else { ExpectedLosses { choose_a: small, choose_b: large } }
}

/// ln P(p_B ≤ r p_A), or ln P(p_B > r p_A) when `upper`, as the density of an outer arm times a tail of the other at the scaled rate.
///
/// The outer arm is A for r ≤ 1 and B otherwise, so that the inner rate never passes 1. When one arm is much narrower it is the outer one, and
/// the place where the inner rate reaches 1 is a breakpoint.
fn ln_ratio_tail(a: Posterior, b: Posterior, ratio: f64, upper: bool) -> f64 {
    let (scale_a, scale_b) = (a.logit_scale(), b.logit_scale());
    let mismatch = scale_a.max(scale_b) > MISMATCH * scale_a.min(scale_b);
    let a_is_outer = if mismatch { scale_a < scale_b } else { ratio <= 1.0 };
    let (outer, inner, factor) = if a_is_outer { (a, b, ratio) } else { (b, a, 1.0 / ratio) };
    let integrate = || {
        let wants_cdf = a_is_outer != upper;
        let ln_f = |point: Point| {
            let scaled = point.scaled(factor);
            outer.ln_density(point) + if wants_cdf { inner.ln_cdf(scaled) } else { inner.ln_sf(scaled) }
        };
        if !mismatch {
            return ln_integral_over_logit(&[a, b], ln_f).min(0.0);
        }
        let mut breakpoints = breakpoints_around(outer.logit_centre(), outer.logit_scale(), 60.0);
        if factor > 1.0 {
            breakpoints.push(-(factor - 1.0).ln());
        }
        ln_integral_by_panels(|logit| ln_f(Point::from_logit(logit)), breakpoints, 0.0).min(0.0)
    };
    integrate()
}

/// Equal-tailed credible interval of the relative lift p_B / p_A − 1.
///
/// Quantiles of the ratio by a bracketed root of its distribution, itself a quadrature. The lower end is above −1.
///
/// # Errors
/// `NotFinite` when an end is beyond the floating range.
pub fn lift_interval(a: Posterior, b: Posterior, level: Level) -> Estimate<Interval> {
    let ln_half = (level.alpha() / 2.0).ln();
    let centre = b.mean().ln() - a.mean().ln();
    let spread = (1.0 / a.alpha + 1.0 / b.alpha).sqrt().max(1e-12);
    let solve = |upper: bool| {
        let beyond = |ln_ratio: f64| {
            let ln_tail = ln_ratio_tail(a, b, ln_ratio.exp(), upper);
            if upper { ln_half - ln_tail } else { ln_tail - ln_half }
        };
        let (mut low, mut high) = (centre - spread, centre + spread);
        let mut width = spread;
        while beyond(low) > 0.0 && low > -690.0 {
            width *= 2.0;
            low -= width;
        }
        width = spread;
        while beyond(high) < 0.0 && high < 690.0 {
            width *= 2.0;
            high += width;
        }
        bracketed_root(beyond, low, high)
    };
    let interval = Interval { lower: solve(false).exp_m1(), upper: solve(true).exp_m1() };
    if interval.lower.is_finite() && interval.upper.is_finite() { Ok(interval) } else { Err(NotEstimable::NotFinite) }
}

/// Chance to be best and expected loss of every arm, by quadrature: P(i best) = ∫ f_i Π F_j; the leader's loss = ∫ F_lead (1 − Π F_j) dt, the others'
/// that plus the difference of means.
///
/// # Errors
/// `TooFewArms`.
pub fn best_of(arms: &[Posterior]) -> Estimate<Vec<BestReading>> {
    if arms.len() < 2 {
        return Err(NotEstimable::TooFewArms);
    }
    let others_below = |index: usize, point: Point| -> f64 {
        arms.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, arm)| arm.ln_cdf(point)).sum()
    };
    let mut numbered = arms.iter().copied().enumerate();
    let (mut lead, mut best) = numbered.next().ok_or(NotEstimable::TooFewArms)?;
    for (index, arm) in numbered {
        if difference_of_means(best, arm) > 0.0 {
            (lead, best) = (index, arm);
        }
    }
    let ln_loss = ln_integral_over_logit(arms, |point| {
        best.ln_cdf(point) + ln_1m_exp(others_below(lead, point).min(0.0)) + point.rate.ln() + point.rest.ln()
    });
    let least_loss = ln_loss.exp();
    Ok(arms
        .iter()
        .copied()
        .enumerate()
        .map(|(index, arm)| {
            let ln_chance = ln_integral_over_logit(arms, |point| arm.ln_density(point) + others_below(index, point));
            BestReading { chance: ln_chance.min(0.0).exp(), expected_loss: least_loss + difference_of_means(arm, best).max(0.0) }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posterior(successes: u64, trials: u64) -> Posterior {
        Posterior::new(Count::new(successes, trials).unwrap(), 1.0, 1.0).unwrap()
    }

    fn check(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got} is not {want}");
    }

    #[test]
    fn the_closed_sum_and_the_quadrature_agree() {
        for (a, b) in [
            ((0, 1), (0, 1)),
            ((3, 40), (9, 55)),
            ((0, 900), (12, 1_000)),
            ((5_000, 100_000), (5_600, 100_000)),
            ((900, 1_000), (10, 9_000)),
        ] {
            let (a, b) = (posterior(a.0, a.1), posterior(b.0, b.1));
            check(ln_prob_b_beats_a_by_quadrature(a, b), ln_prob_b_beats_a(a, b), 1e-11);
        }
    }

    #[test]
    fn losses_of_two_ignorant_arms_have_their_closed_values() {
        // one failure each: p ~ Beta(1, 2)
        let losses = expected_losses(posterior(0, 1), posterior(0, 1));
        check(losses.choose_a, 2.0 / 15.0, 1e-13);
        check(losses.choose_b, 2.0 / 15.0, 1e-13);
    }

    #[test]
    fn two_arms_are_the_special_case_of_many() {
        let (a, b) = (posterior(30, 400), posterior(45, 420));
        let best = best_of(&[a, b]).unwrap();
        check(best[1].chance, prob_b_beats_a(a, b), 1e-12);
        check(best[1].expected_loss, expected_losses(a, b).choose_b, 1e-11);
        check(best[0].expected_loss, expected_losses(a, b).choose_a, 1e-11);
        assert_eq!(best_of(&[a]), Err(NotEstimable::TooFewArms));
    }

    #[test]
    fn the_lift_interval_has_its_credibility() {
        let (a, b) = (posterior(30, 400), posterior(45, 420));
        let interval = lift_interval(a, b, Level::new(0.9).unwrap()).unwrap();
        check(ln_ratio_tail(a, b, 1.0 + interval.lower, false).exp(), 0.05, 1e-10);
        check(ln_ratio_tail(a, b, 1.0 + interval.upper, true).exp(), 0.05, 1e-10);
    }
}
