//! Anytime-valid methods: they may be looked at whenever one likes.
//!
//! Cast: [`UrnProcess`] (which arm each new clicker came from), [`LabelReading`] (ratio of rates from success labels), [`rate_sequence`] (one arm),
//! [`asymptotic_sequence`] (means), [`sample_ratio_sequence`] (allocation). E-values are kept as logarithms; reject when ln E reaches
//! ln(1/alpha). Never needs a stopping rule.

use serde::{Deserialize, Serialize};

use super::balance::{excess_over_share, require_weights};
use super::roots::bracketed_root;
use super::special::{deviance_with, ln_1p_minus, ln_beta, stirling_error};
use super::types::{Count, Estimate, Interval, InvalidInput, Level, NotEstimable, PValue, RatioInterval, require_positive, require_trials};

/// Control or variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Arm {
    /// The control.
    A,
    /// The variant.
    B,
}

/// p-value of an e-value: min(1, 1/E).
pub fn e_to_p(ln_e: f64) -> PValue {
    PValue::from_ln(-ln_e)
}

const GRID_HALF: i32 = 20;

/// One log hazard ratio of the mixture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, f64, f64)", into = "(f64, f64, f64)")]
struct GridPoint {
    ratio: f64,
    ratio_minus_one: f64,
    /// Weight times likelihood ratio, divided by e^`ln_scale` of the process.
    value: f64,
}

impl From<(f64, f64, f64)> for GridPoint {
    fn from((ratio, ratio_minus_one, value): (f64, f64, f64)) -> Self {
        Self { ratio, ratio_minus_one, value }
    }
}

impl From<GridPoint> for (f64, f64, f64) {
    fn from(point: GridPoint) -> Self {
        (point.ratio, point.ratio_minus_one, point.value)
    }
}

/// Centre and standard deviation of [`UrnProcess::planned`]'s normals, in planned effects. A test that ends finds the planned effect most often when
/// tuned to a little more than it: for a Brownian motion of drift cδ² − c²δ²/2 and variance c²δ² the chance to cross ln 40 by the end is highest at
/// c = 1.1, where a fixed test has a power of 80 %.
const PLANNED_CENTRE: f64 = 1.1;
const PLANNED_SPREAD: f64 = 0.2;

/// The values are kept near 1 by a common factor: outside this range it is taken out.
const SCALE_RANGE: std::ops::Range<f64> = 1e-50..1e50;

/// Urn e-process: at each first click the clicker comes, under "no difference", from B with probability y_B/(y_A + y_B), y being those delivered
/// and not yet clicked. E is the mixture over 41 log hazard ratios θᵢ = 3τi/20, i = −20…20, with weights ∝ exp(−(θᵢ/τ)²/2), of the
/// products of q_θ/q_0.
///
/// Source: safe log-rank test, Grünwald, Ly, Pérez-Ortiz & ter Schure (2020). Valid whatever the pattern of arrivals.
///
/// It can be written down and gone on with: every number in it is finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UrnProcess {
    waiting_a: u64,
    waiting_b: u64,
    grid: Vec<GridPoint>,
    sum: f64,
    ln_scale: f64,
    ln_e_max: f64,
}

impl UrnProcess {
    /// Starts with the numbers delivered and the sealed width τ > 0 of the mixture.
    ///
    /// # Errors
    /// `EmptyArm`; `Invalid` τ.
    pub fn new(delivered_a: u64, delivered_b: u64, tau: f64) -> Estimate<Self> {
        require_positive("tau", tau)?;
        Self::mixture(delivered_a, delivered_b, tau, |step| (-0.5 * step * step).exp())
    }

    /// Starts with the numbers delivered and a planned effect θ > 0, the log hazard ratio worth finding in either direction: the same grid (τ = θ)
    /// with the weights of an equal mixture of normals at −1.1 θ and 1.1 θ with standard deviation θ/5. As valid as [`Self::new`], whatever the
    /// true effect; near the planned one it needs about a seventh less evidence, because no weight is spent on effects near 0.
    ///
    /// # Errors
    /// `EmptyArm`; `Invalid` effect.
    pub fn planned(delivered_a: u64, delivered_b: u64, effect: f64) -> Estimate<Self> {
        require_positive("effect", effect)?;
        let bell = |distance: f64| (-0.5 * (distance / PLANNED_SPREAD).powi(2)).exp();
        Self::mixture(delivered_a, delivered_b, effect, |step| bell(step - PLANNED_CENTRE) + bell(step + PLANNED_CENTRE))
    }

    fn mixture(delivered_a: u64, delivered_b: u64, tau: f64, weight: impl Fn(f64) -> f64) -> Estimate<Self> {
        if delivered_a == 0 || delivered_b == 0 {
            return Err(NotEstimable::EmptyArm);
        }
        // Beyond e^±300 a hazard ratio is no number any more; such a τ has no use.
        let tau = tau.min(100.0);
        let steps: Vec<f64> = (-GRID_HALF..=GRID_HALF).map(|index| 3.0 * f64::from(index) / f64::from(GRID_HALF)).collect();
        let weights: Vec<f64> = steps.iter().map(|step| weight(*step)).collect();
        let total: f64 = weights.iter().sum();
        let grid = steps
            .iter()
            .zip(&weights)
            .map(|(step, weight)| GridPoint { ratio: (tau * step).exp(), ratio_minus_one: (tau * step).exp_m1(), value: weight / total })
            .collect();
        Ok(Self { waiting_a: delivered_a, waiting_b: delivered_b, grid, sum: 1.0, ln_scale: 0.0, ln_e_max: 0.0 })
    }

    /// Takes the next first click.
    ///
    /// # Errors
    /// `Invalid` when nobody of that arm is still waiting; the process is unchanged then.
    pub fn observe(&mut self, arm: Arm) -> Estimate<()> {
        let share_b = self.waiting_b as f64 / (self.waiting_a + self.waiting_b) as f64;
        let waiting = match arm {
            Arm::A => &mut self.waiting_a,
            Arm::B => &mut self.waiting_b,
        };
        if *waiting == 0 {
            return Err(InvalidInput::new("arm", "one with recipients who have not yet clicked", format!("{arm:?}")).into());
        }
        *waiting -= 1;
        let mut sum = 0.0;
        for point in &mut self.grid {
            let chosen = if arm == Arm::B { point.ratio } else { 1.0 };
            // not fused: where the machine has no such instruction a call per point would cost more than all the rest
            point.value *= chosen / (point.ratio_minus_one * share_b + 1.0);
            sum += point.value;
        }
        self.sum = sum;
        if !SCALE_RANGE.contains(&sum) {
            for point in &mut self.grid {
                point.value /= sum;
            }
            self.ln_scale += sum.ln();
            self.sum = 1.0;
        }
        self.ln_e_max = self.ln_e_max.max(self.ln_e());
        Ok(())
    }

    /// B's share of those who wait now.
    pub fn share_b(&self) -> f64 {
        self.waiting_b as f64 / (self.waiting_a + self.waiting_b) as f64
    }

    /// ln E now.
    pub fn ln_e(&self) -> f64 {
        self.ln_scale + self.sum.ln()
    }

    /// min(1, 1/E) now.
    pub fn p_value(&self) -> PValue {
        e_to_p(self.ln_e())
    }

    /// Smallest 1/E seen so far: the anytime p-value.
    pub fn anytime_p_value(&self) -> PValue {
        e_to_p(self.ln_e_max)
    }
}

/// Test of "no difference" and confidence sequence of the ratio of rates, from success labels alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LabelReading {
    /// ln E against "no difference".
    pub ln_e: f64,
    /// min(1, 1/E).
    pub p_value: PValue,
    /// Confidence sequence of rate_B / rate_A.
    pub ratio: RatioInterval,
}

/// Successes labelled by arm, in interleaved sending where B gets a share s of the recipients: under a ratio r of rates each success is B's with
/// probability r s / (1 − s + r s). Beta(κ s, κ (1 − s)) mixture; the sequence holds every r whose e-value is below 1/alpha.
///
/// Source: Robbins (1970), Ann. Math. Stat. 41:1397. Edges: no successes of A → no upper end, none of B → lower end 0.
///
/// # Errors
/// `Invalid` share (outside (0, 1)) or κ (not positive).
pub fn label_sequence(successes_a: u64, successes_b: u64, share_b: f64, kappa: f64, level: Level) -> Estimate<LabelReading> {
    super::types::require_open_unit("share_b", share_b)?;
    require_positive("kappa", kappa)?;
    let counts = [successes_a, successes_b];
    let ln_e = ln_dirichlet_evidence(&counts, &[1.0 - share_b, share_b], kappa)?;
    let labels = Labels::new(successes_b, successes_a);
    // ln E at π is `room` below the bound when the deviance from the observed share is `room`
    let room = -level.alpha().ln() - ln_e + labels.deviance(share_b, 1.0 - share_b);
    let odds = share_b / (1.0 - share_b);
    let (lower, upper) = (labels.lower_end(room), labels.upper_end(room));
    let ratio = RatioInterval { lower: lower / (1.0 - lower) / odds, upper: (successes_a > 0).then(|| upper / (1.0 - upper) / odds) };
    Ok(LabelReading { ln_e, p_value: e_to_p(ln_e), ratio })
}

/// Confidence sequence of one arm's rate: every p with B(a+x, b+n−x) / B(a, b) < pˣ (1−p)ⁿ⁻ˣ / alpha.
///
/// Source: Robbins (1970), beta mixture. `a`, `b` > 0 are the sealed mixture parameters (½, ½ is a good choice). No data → [0, 1].
///
/// # Errors
/// `Invalid` a or b.
pub fn rate_sequence(count: Count, a: f64, b: f64, level: Level) -> Estimate<Interval> {
    require_positive("a", a)?;
    require_positive("b", b)?;
    if count.trials() == 0 {
        return Ok(Interval { lower: 0.0, upper: 1.0 });
    }
    require_trials(&[count])?;
    let labels = Labels::new(count.successes(), count.failures());
    let room = -level.alpha().ln() - ln_evidence_at_observed(count, a, b);
    Ok(Interval { lower: labels.lower_end(room), upper: labels.upper_end(room) })
}

/// ln of the beta mixture over the likelihood at the observed rate (≤ 0).
fn ln_evidence_at_observed(count: Count, a: f64, b: f64) -> f64 {
    let (x, y) = (count.x(), count.misses());
    if x == 0.0 || y == 0.0 {
        return ln_beta(a + x, b + y) - ln_beta(a, b);
    }
    let (rate, rest) = (x / count.n(), y / count.n());
    a * rate.ln() + b * rest.ln() - super::beta::ln_beta_power(a + x, b + y, rate, rest) - ln_beta(a, b)
}

/// Hits and misses, and the rates whose deviance from them is a given number.
struct Labels {
    hits: f64,
    misses: f64,
}

impl Labels {
    fn new(hits: u64, misses: u64) -> Self {
        Self { hits: hits as f64, misses: misses as f64 }
    }

    /// n · KL(observed ‖ rate), with rest = 1 − rate.
    fn deviance(&self, rate: f64, rest: f64) -> f64 {
        let total = self.hits + self.misses;
        if total == 0.0 {
            return 0.0;
        }
        // total·rate − hits, from whichever side rounds less
        let excess = if rate <= rest { total.mul_add(rate, -self.hits) } else { -total.mul_add(rest, -self.misses) };
        deviance_with(self.hits, total * rate, excess) + deviance_with(self.misses, total * rest, -excess)
    }

    fn lower_end(&self, room: f64) -> f64 {
        if self.hits == 0.0 {
            return 0.0;
        }
        let observed = self.hits / (self.hits + self.misses);
        bracketed_root(|rate| if rate <= 0.0 { f64::INFINITY } else { self.deviance(rate, 1.0 - rate) - room }, 0.0, observed)
    }

    fn upper_end(&self, room: f64) -> f64 {
        if self.misses == 0.0 {
            return 1.0;
        }
        let observed = self.hits / (self.hits + self.misses);
        bracketed_root(|rate| if rate >= 1.0 { f64::INFINITY } else { self.deviance(rate, 1.0 - rate) - room }, observed, 1.0)
    }
}

/// Half width of an asymptotic confidence sequence and the matching p-value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AsymptoticReading {
    /// The interval is estimate ± half_width at this time, simultaneously over all times.
    pub half_width: f64,
    /// Anytime p-value of "the effect is 0".
    pub p_value: PValue,
}

/// Asymptotic confidence sequence of a mean effect: with ρ² = (−2 ln α + ln(1 − 2 ln α)) / n*, half width
/// se √n √(2 (nρ²+1) ln(√(nρ²+1)/α) / (nρ)²); p = min(1, 1/E) of the matching mixture.
///
/// Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2021), theorem 2.2; tuned to be tightest at the sealed horizon n*.
///
/// # Errors
/// `TooFewObservations` (n = 0); `ZeroVariance` (se = 0); `Invalid` arguments.
pub fn asymptotic_sequence(n_total: u64, estimate: f64, standard_error: f64, level: Level, horizon: u64) -> Estimate<AsymptoticReading> {
    if n_total == 0 {
        return Err(NotEstimable::TooFewObservations);
    }
    if standard_error == 0.0 {
        return Err(NotEstimable::ZeroVariance);
    }
    require_positive("standard_error", standard_error)?;
    require_positive("horizon", horizon as f64)?;
    if !estimate.is_finite() {
        return Err(InvalidInput::new("estimate", "finite", estimate).into());
    }
    let n = n_total as f64;
    let doubled = -2.0 * level.alpha().ln();
    let rho_square = (doubled + doubled.ln_1p()) / horizon as f64;
    let information = n * rho_square;
    let ln_root = 0.5 * information.ln_1p();
    let half_width = standard_error * (2.0 * (1.0 + 1.0 / information) * (ln_root - level.alpha().ln())).sqrt();
    let z = estimate / standard_error;
    let ln_e = 0.5 * z * z * (information / (information + 1.0)) - ln_root;
    Ok(AsymptoticReading { half_width, p_value: e_to_p(ln_e) })
}

/// Sequential sample-ratio check: ln of the Dirichlet-multinomial e-value of the counts against the sealed weights, with prior
/// Dirichlet(concentration · weights).
///
/// Source: Lindon & Malek (2022), "Anytime-valid inference for multinomial count data". Alarm when ln E reaches ln(1/alpha).
///
/// # Errors
/// `TooFewArms`; `Invalid` weights or concentration.
pub fn sample_ratio_sequence(counts: &[u64], weights: &[f64], concentration: f64) -> Estimate<f64> {
    require_positive("concentration", concentration)?;
    ln_dirichlet_evidence(counts, weights, concentration)
}

/// ln [B(α + n) / B(α)] − Σ nᵢ ln θᵢ with α = A θ. With Stirling's formula the large terms combine to a weighted deviance, so that counts of 1e8 keep
/// all their digits: (A+N) Σ θᵢ [(1+uᵢ) ln(1+uᵢ) − uᵢ] with uᵢ = (nᵢ − Nθᵢ) / ((A+N) θᵢ), plus logarithms and Stirling errors.
fn ln_dirichlet_evidence(counts: &[u64], weights: &[f64], concentration: f64) -> Estimate<f64> {
    let weight_sum = require_weights(counts, weights)?;
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    let grown = concentration + total;
    let mut ln_e = 0.5 * (total / concentration).ln_1p() - stirling_error(grown) + stirling_error(concentration);
    for (count, weight) in counts.iter().zip(weights) {
        let observed = *count as f64;
        let prior = concentration * (weight / weight_sum);
        let excess = excess_over_share(observed, total, *weight, weight_sum);
        let relative = excess / (grown * (weight / weight_sum));
        // (1+u) ln(1+u) − u = −(1+u) [ln(1 − u/(1+u)) + u/(1+u)]
        let posterior = prior + observed;
        ln_e += -posterior * ln_1p_minus(-relative / (1.0 + relative));
        ln_e += -0.5 * (observed / prior).ln_1p() + stirling_error(posterior) - stirling_error(prior);
    }
    if ln_e.is_finite() { Ok(ln_e) } else { Err(NotEstimable::NotFinite) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_urn_without_clicks_says_nothing_and_a_lopsided_one_rejects() {
        let mut urn = UrnProcess::new(1_000, 1_000, 0.5).unwrap();
        assert!(urn.ln_e().abs() < 1e-14);
        for _ in 0..60 {
            urn.observe(Arm::B).unwrap();
        }
        assert!(urn.p_value().at_most(0.001));
        assert!(urn.anytime_p_value().ln() <= urn.p_value().ln());
        let mut tiny = UrnProcess::new(1, 1, 0.5).unwrap();
        tiny.observe(Arm::A).unwrap();
        assert!(tiny.observe(Arm::A).is_err());
    }

    #[test]
    fn the_urn_is_a_fair_game_under_no_difference() {
        for before in [UrnProcess::new(7, 3, 0.8).unwrap(), UrnProcess::planned(7, 3, 0.8).unwrap()] {
            let after = |arm| {
                let mut urn = before.clone();
                urn.observe(arm).unwrap();
                urn.ln_e().exp()
            };
            assert!((0.7 * after(Arm::A) + 0.3 * after(Arm::B) - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn the_label_mixture_of_one_success_is_fair() {
        let level = Level::new(0.95).unwrap();
        let one = label_sequence(0, 1, 0.2, 100.0, level).unwrap();
        assert!(one.ln_e.abs() < 1e-13 && (one.ratio.lower - 4.0 / 99.0).abs() < 1e-12 && one.ratio.upper.is_none());
    }

    #[test]
    fn no_data_leave_the_whole_range() {
        let level = Level::new(0.95).unwrap();
        assert_eq!(rate_sequence(Count::new(0, 0).unwrap(), 0.5, 0.5, level).unwrap(), Interval { lower: 0.0, upper: 1.0 });
        let nothing = label_sequence(0, 0, 0.5, 50.0, level).unwrap();
        assert_eq!((nothing.ratio.lower, nothing.ratio.upper), (0.0, None));
    }

    #[test]
    fn the_allocation_alarm_needs_a_fault() {
        assert!(sample_ratio_sequence(&[50_000, 50_000], &[1.0, 1.0], 100.0).unwrap() < 0.0);
        assert!(sample_ratio_sequence(&[50_000, 48_000], &[1.0, 1.0], 100.0).unwrap() > 1_000.0f64.ln());
    }
}
