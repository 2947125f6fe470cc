//! The Bayesian reading of binary metrics: chances and expected losses beside the test, never instead of it.
//!
//! Cast: [`Posterior`] (a beta distribution), [`prob_b_beats_a`], [`expected_losses`], [`lift_interval`], [`best_of`]. Everything is on the log scale,
//! so chances of 1e-200 are numbers. Never decides a campaign.

use serde::Serialize;

use super::beta::Beta;
use super::hypergeometric::Hypergeometric;
use super::quadrature::ln_integral_of_bell;
use super::roots::bracketed_root;
use super::special::{ln_1m_exp, ln_sum_exp};
use super::tails::normal_isf_of_ln;
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
        let odds = (-logit.abs()).exp();
        let (small, large) = (odds / (1.0 + odds), 1.0 / (1.0 + odds));
        if logit < 0.0 { Self { rate: small, rest: large } } else { Self { rate: large, rest: small } }
    }

    fn scaled(self, factor: f64) -> Self {
        let rate = (self.rate * factor).min(1.0);
        Self { rate, rest: (-factor).mul_add(self.rate, 1.0).max(0.0) }
    }
}

/// A posterior made ready for quadrature over the logit of its rate.
#[derive(Debug, Clone)]
struct Bell {
    beta: Beta,
    /// The mode of the logit.
    centre: f64,
    /// About one standard deviation of the logit, at most 1 (the scale on which all integrands are smooth).
    scale: f64,
}

impl Bell {
    fn new(posterior: Posterior) -> Self {
        let Posterior { alpha, beta } = posterior;
        Self { beta: Beta::new(alpha, beta), centre: (alpha / beta).ln(), scale: (1.0 / alpha + 1.0 / beta).sqrt().min(1.0) }
    }

    /// Density of the logit.
    fn ln_density(&self, point: Point) -> f64 {
        self.beta.ln_power(point.rate, point.rest)
    }

    fn ln_cdf(&self, point: Point) -> f64 {
        self.beta.ln_cdf(point.rate, point.rest)
    }

    fn ln_sf(&self, point: Point) -> f64 {
        self.beta.ln_sf(point.rate, point.rest)
    }

    fn feature(&self) -> (f64, f64) {
        (self.centre, self.scale)
    }
}

/// Step of the trapezoidal rule: 0.7 standard deviations of a product of bells leave an error of e^−40, and so does a quarter where the bells are
/// those of a gamma variable's logarithm (few successes), whose transform falls as e^−πω/2.
fn step_of<'a>(bells: impl Iterator<Item = &'a Bell>) -> f64 {
    let precision: f64 = bells.map(|bell| bell.scale.powi(-2)).sum();
    (0.7 / precision.sqrt()).min(0.25)
}

/// Integrates a product of densities and tails of these bells over the logit. All of them are log-concave (with parameters of 1 or more), so that the product has
/// one mode; `near` is a guess of it.
fn ln_integral_over_logit(bells: &[&Bell], near: f64, ln_f: impl Fn(Point) -> f64) -> f64 {
    let stride = bells.iter().map(|bell| bell.scale).fold(1.0, f64::min);
    let features: Vec<(f64, f64)> = bells.iter().map(|bell| bell.feature()).collect();
    ln_integral_of_bell(|logit| ln_f(Point::from_logit(logit)), near, stride, step_of(bells.iter().copied()), &features)
}

/// Below this many terms the closed sum is faster than the quadrature.
const FEW_TERMS: f64 = 400.0;

/// ln P(p_B > p_A).
///
/// Whole parameters: the closed form as a hypergeometric tail (Altham 1969, JRSS B 31:261): of the first α_A + α_B − 1 of m_A + m_B
/// uniform points, at least α_A are A's. Others, and where that sum has many terms: quadrature of the density of one arm times the tail of
/// the other.
pub fn ln_prob_b_beats_a(a: Posterior, b: Posterior) -> f64 {
    if let (Some((alpha_a, beta_a)), Some((alpha_b, beta_b))) = (a.whole(), b.whole()) {
        // about ten standard deviations of the hypergeometric variable
        let harmonic = 1.0 / (1.0 / a.alpha + 1.0 / b.alpha + 1.0 / a.beta + 1.0 / b.beta);
        if 10.0 * harmonic.sqrt() < FEW_TERMS {
            let points = Hypergeometric::new(alpha_b + beta_b - 1, alpha_a + beta_a - 1, alpha_a + alpha_b - 1);
            return points.ln_at_least(alpha_a);
        }
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
    let (a, b) = (Bell::new(a), Bell::new(b));
    let near = between(&a, &b);
    if a.scale < b.scale {
        ln_integral_over_logit(&[&a, &b], near, |point| a.ln_density(point) + b.ln_sf(point)).min(0.0)
    } else {
        ln_integral_over_logit(&[&a, &b], near, |point| b.ln_density(point) + a.ln_cdf(point)).min(0.0)
    }
}

/// Where two bells cross, if both were normal: their centres weighted by precision.
fn between(one: &Bell, other: &Bell) -> f64 {
    let (one_weight, other_weight) = (one.scale.powi(-2), other.scale.powi(-2));
    (one.centre * one_weight + other.centre * other_weight) / (one_weight + other_weight)
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
    let small = ln_excess(&Bell::new(leader), &Bell::new(other), &[]).exp();
    let large = small + gap.abs();
    if gap >= 0.0 { ExpectedLosses { choose_a: large, choose_b: small } } else { ExpectedLosses { choose_a: small, choose_b: large } }
}

/// ln ∫ F(leader) S(other) Π F(below) dt: by how much `other` is expected to exceed all of the leader and `below`.
fn ln_excess(leader: &Bell, other: &Bell, below: &[&Bell]) -> f64 {
    let bells: Vec<&Bell> = [leader, other].into_iter().chain(below.iter().copied()).collect();
    ln_integral_over_logit(&bells, between(leader, other), |point| {
        let kept: f64 = below.iter().map(|bell| bell.ln_cdf(point)).sum();
        leader.ln_cdf(point) + other.ln_sf(point) + kept + point.rate.ln() + point.rest.ln()
    })
}

/// ln P(p_B ≤ r p_A), or ln P(p_B > r p_A) when `upper`, as the density of an outer arm times a tail of the other at the scaled rate.
///
/// The outer arm is A for r ≤ 1 and B otherwise, so that the inner rate never passes 1.
fn ln_ratio_tail(a: &Bell, b: &Bell, ratio: f64, upper: bool) -> f64 {
    let a_is_outer = ratio <= 1.0;
    let (outer, inner, factor) = if a_is_outer { (a, b, ratio) } else { (b, a, 1.0 / ratio) };
    let wants_cdf = a_is_outer != upper;
    let ln_f = |logit: f64| {
        let point = Point::from_logit(logit);
        let scaled = point.scaled(factor);
        outer.ln_density(point) + if wants_cdf { inner.ln_cdf(scaled) } else { inner.ln_sf(scaled) }
    };
    // the inner bell, seen over the outer logit: never narrower than over its own
    let middle = Point::from_logit(inner.centre);
    let seen = (middle.rate / factor).min(0.999);
    let seen =
        Bell { beta: inner.beta.clone(), centre: (seen / (1.0 - seen)).ln(), scale: inner.scale * (middle.rest / (1.0 - seen)).max(1.0) };
    let features = [outer.feature(), seen.feature(), (seen.centre, inner.scale)];
    let step = step_of([outer, inner].into_iter());
    ln_integral_of_bell(ln_f, between(outer, &seen), outer.scale.min(seen.scale), step, &features).min(0.0)
}

/// Equal-tailed credible interval of the relative lift p_B / p_A − 1.
///
/// Quantiles of the ratio by the secant method on the normal deviate of its tail, which is nearly a line in the logarithm of the ratio; the tail
/// is itself a quadrature. Should the secant leave the road, a bracketed root. The lower end is above −1.
///
/// # Errors
/// `NotFinite` when an end is beyond the floating range.
pub fn lift_interval(a: Posterior, b: Posterior, level: Level) -> Estimate<Interval> {
    let centre = b.mean().ln() - a.mean().ln();
    let variance = |arm: Posterior| arm.beta / arm.alpha / (arm.alpha + arm.beta + 1.0);
    let spread = (variance(a) + variance(b)).sqrt().max(1e-12);
    let (a, b) = (Bell::new(a), Bell::new(b));
    let end = |upper: bool| lift_end(&a, &b, (level.alpha() / 2.0).ln(), centre, spread, upper).exp_m1();
    let interval = Interval { lower: end(false), upper: end(true) };
    if interval.lower.is_finite() && interval.upper.is_finite() { Ok(interval) } else { Err(NotEstimable::NotFinite) }
}

/// ln of the ratio beyond which a tail has the given logarithm.
fn lift_end(a: &Bell, b: &Bell, ln_half: f64, centre: f64, spread: f64, upper: bool) -> f64 {
    let critical = normal_isf_of_ln(ln_half);
    // rises outwards, 0 at the end
    let beyond = |ln_ratio: f64| normal_isf_of_ln(ln_ratio_tail(a, b, ln_ratio.exp(), upper)) - critical;
    let outwards = if upper { 1.0 } else { -1.0 };
    let outside = |ln_ratio: f64| outwards * beyond(ln_ratio);
    let mut last = centre + outwards * critical * spread;
    let mut last_value = beyond(last);
    let mut step = -outwards * last_value * spread;
    for _ in 0..12 {
        let next = last + step;
        let value = beyond(next);
        let slope = (value - last_value) / step;
        if !(slope * outwards > 0.0 && value.abs() < 0.5 * last_value.abs() && next.abs() < 690.0) {
            // the last digits are rounding; anything else is for the bracket
            return if last_value.abs() < 1e-11 { last } else { bracketed_lift_end(outside, centre, spread) };
        }
        (last, last_value, step) = (next, value, -value / slope);
        if step.abs() <= 1e-12 * spread {
            return last + step;
        }
    }
    bracketed_lift_end(outside, centre, spread)
}

/// The root of a function that rises with the logarithm of the ratio.
fn bracketed_lift_end(outside: impl Fn(f64) -> f64, centre: f64, spread: f64) -> f64 {
    let (mut low, mut high, mut width) = (centre - spread, centre + spread, spread);
    while outside(low) > 0.0 && low > -690.0 {
        width *= 2.0;
        low -= width;
    }
    width = spread;
    while outside(high) < 0.0 && high < 690.0 {
        width *= 2.0;
        high += width;
    }
    bracketed_root(outside, low, high)
}

/// Chance to be best and expected loss of every arm, by quadrature: P(i best) = ∫ f_i Π F_j; the leader's loss = Σ ∫ F_lead S_j Π F_i dt over the others j
/// and those i before j (the survival function of the highest of them, taken apart), the others' that plus the difference of means.
///
/// # Errors
/// `TooFewArms`.
pub fn best_of(arms: &[Posterior]) -> Estimate<Vec<BestReading>> {
    if arms.len() < 2 {
        return Err(NotEstimable::TooFewArms);
    }
    let mut numbered = arms.iter().copied().enumerate();
    let (mut lead, mut best) = numbered.next().ok_or(NotEstimable::TooFewArms)?;
    for (index, arm) in numbered {
        if difference_of_means(best, arm) > 0.0 {
            (lead, best) = (index, arm);
        }
    }
    let bells: Vec<Bell> = arms.iter().copied().map(Bell::new).collect();
    let leader = bells.get(lead).ok_or(NotEstimable::TooFewArms)?;
    // nearest first, so that the later terms are small and quickly found
    let mut others: Vec<&Bell> = bells.iter().enumerate().filter(|(index, _)| *index != lead).map(|(_, bell)| bell).collect();
    others.sort_by(|one, other| other.centre.total_cmp(&one.centre));
    let losses: Vec<f64> =
        others.iter().enumerate().map(|(index, other)| ln_excess(leader, other, others.get(..index).unwrap_or_default())).collect();
    let least_loss = ln_sum_exp(&losses).exp();
    let reading = |(index, (bell, arm)): (usize, (&Bell, &Posterior))| {
        let below: Vec<&Bell> = bells.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, bell)| bell).collect();
        let all: Vec<&Bell> = bells.iter().collect();
        let near = if index == lead { bell.centre } else { between(bell, leader) };
        let ln_chance =
            ln_integral_over_logit(&all, near, |point| bell.ln_density(point) + below.iter().map(|other| other.ln_cdf(point)).sum::<f64>());
        BestReading { chance: ln_chance.min(0.0).exp(), expected_loss: least_loss + difference_of_means(*arm, best).max(0.0) }
    };
    Ok(bells.iter().zip(arms).enumerate().map(reading).collect())
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
        let (a, b) = (Bell::new(a), Bell::new(b));
        check(ln_ratio_tail(&a, &b, 1.0 + interval.lower, false).exp(), 0.05, 1e-10);
        check(ln_ratio_tail(&a, &b, 1.0 + interval.upper, true).exp(), 0.05, 1e-10);
    }
}
