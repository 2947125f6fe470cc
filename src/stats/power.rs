//! Planning: sample size, power and detectable effect, dilution by machine opens, the size of a test before rolling out.
//!
//! Cast: [`Plan`] (error rate, power, allocation), [`SampleSize`], [`DetectableEffect`], [`Dilution`]. Planning is by the normal approximation
//! that R's `power.prop.test` uses; the analysis never is. Never looks at results.

use serde::Serialize;

use super::roots::bracketed_root;
use super::tails::{normal_cdf, normal_isf};
use super::types::{Estimate, InvalidInput, NotEstimable, require_open_unit, require_positive};

/// What a test is to achieve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    alpha: f64,
    power: f64,
    ratio_b_to_a: f64,
}

impl Plan {
    /// Two-sided error rate, power, and n_B / n_A.
    ///
    /// # Errors
    /// `alpha` or `power` outside (0, 1), `ratio_b_to_a` not positive.
    pub fn new(alpha: f64, power: f64, ratio_b_to_a: f64) -> Result<Self, InvalidInput> {
        require_open_unit("alpha", alpha)?;
        require_open_unit("power", power)?;
        require_positive("ratio_b_to_a", ratio_b_to_a)?;
        Ok(Self { alpha, power, ratio_b_to_a })
    }

    /// The same plan for one of `comparisons` against the control, at the strictest Holm level alpha / comparisons.
    ///
    /// # Errors
    /// `comparisons` of 0.
    pub fn with_holm(self, comparisons: u32) -> Result<Self, InvalidInput> {
        if comparisons == 0 {
            return Err(InvalidInput::new("comparisons", "at least 1", comparisons));
        }
        Ok(Self { alpha: self.alpha / f64::from(comparisons), ..self })
    }

    fn critical(self) -> f64 {
        normal_isf(self.alpha / 2.0)
    }

    fn reserve(self) -> f64 {
        normal_isf(1.0 - self.power)
    }
}

/// Recipients needed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SampleSize {
    /// Unrounded size of A.
    pub n_a_exact: f64,
    /// Size of A, rounded up.
    pub n_a: u64,
    /// Size of B, rounded up.
    pub n_b: u64,
}

impl SampleSize {
    fn new(n_a_exact: f64, ratio_b_to_a: f64) -> Estimate<Self> {
        let (size_a, size_b) = (n_a_exact.ceil(), (n_a_exact * ratio_b_to_a).ceil());
        if !(size_a < u64::MAX as f64 && size_b < u64::MAX as f64) {
            return Err(NotEstimable::NotFinite);
        }
        Ok(Self { n_a_exact, n_a: size_a as u64, n_b: size_b as u64 })
    }

    /// Recipients to send to when a share `loss` in [0, 1) of them bounces: n / (1 − loss), rounded up.
    ///
    /// # Errors
    /// `loss` outside [0, 1).
    pub fn with_loss(self, loss: f64) -> Estimate<Self> {
        if !(0.0..1.0).contains(&loss) {
            return Err(InvalidInput::new("loss", "in [0, 1)", loss).into());
        }
        Self::new(self.n_a_exact / (1.0 - loss), self.n_b as f64 / self.n_a as f64)
    }
}

fn require_two_rates(p_a: f64, p_b: f64) -> Result<(), InvalidInput> {
    require_open_unit("p_a", p_a)?;
    require_open_unit("p_b", p_b)?;
    if p_a == p_b { Err(InvalidInput::new("p_b", "different from p_a", p_b)) } else { Ok(()) }
}

/// Variance per recipient of A under "no difference" and under the planned rates.
fn planned_variances(p_a: f64, p_b: f64, ratio: f64) -> (f64, f64) {
    let pooled = (p_a + ratio * p_b) / (1.0 + ratio);
    let null = pooled * (1.0 - pooled) * (1.0 + 1.0 / ratio);
    (null, p_a * (1.0 - p_a) + p_b * (1.0 - p_b) / ratio)
}

/// Sizes for two proportions: n_A = [z_{1−α/2} √(p̄q̄(1+1/r)) + z_{power} √(p_A q_A + p_B q_B/r)]² / (p_B − p_A)².
///
/// Source: Fleiss, Levin & Paik (2003), equation 4.14; R `power.prop.test` for r = 1.
///
/// # Errors
/// `Invalid` rates (outside (0, 1) or equal); `NotFinite` for sizes beyond counting.
pub fn sample_size_two_proportions(p_a: f64, p_b: f64, plan: Plan) -> Estimate<SampleSize> {
    require_two_rates(p_a, p_b)?;
    let (null, planned) = planned_variances(p_a, p_b, plan.ratio_b_to_a);
    let root = plan.critical() * null.sqrt() + plan.reserve() * planned.sqrt();
    SampleSize::new((root / (p_b - p_a)).powi(2), plan.ratio_b_to_a)
}

/// Power of the two-sided test for two proportions (the far side ignored, as in R): Φ((|Δ| − z √V₀) / √V₁).
///
/// Source: Fleiss, Levin & Paik (2003), section 4.3. Equal rates are allowed and give half the level.
///
/// # Errors
/// `Invalid` rates or alpha; `EmptyArm`.
pub fn power_two_proportions(p_a: f64, p_b: f64, n_a: u64, n_b: u64, alpha: f64) -> Estimate<f64> {
    require_open_unit("p_a", p_a)?;
    require_open_unit("p_b", p_b)?;
    require_open_unit("alpha", alpha)?;
    if n_a == 0 || n_b == 0 {
        return Err(NotEstimable::EmptyArm);
    }
    Ok(normal_cdf(power_quantile(p_a, p_b, n_a as f64, n_b as f64, normal_isf(alpha / 2.0))))
}

fn power_quantile(p_a: f64, p_b: f64, n_a: f64, n_b: f64, critical: f64) -> f64 {
    let (null, planned) = planned_variances(p_a, p_b, n_b / n_a);
    ((p_b - p_a).abs() - critical * (null / n_a).sqrt()) / (planned / n_a).sqrt()
}

/// Smallest rate above A's that the sizes detect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DetectableEffect {
    /// Rate of B.
    pub p_b: f64,
    /// p_B − p_A.
    pub absolute: f64,
    /// (p_B − p_A) / p_A.
    pub relative: f64,
}

/// Smallest p_B > p_A that is detected with the given power: [`power_two_proportions`] solved for the effect.
///
/// # Errors
/// `Invalid` arguments; `EmptyArm`; `NotDetectable` when not even a rate of 1 would be.
pub fn detectable_effect(p_a: f64, n_a: u64, n_b: u64, alpha: f64, power: f64) -> Estimate<DetectableEffect> {
    require_open_unit("p_a", p_a)?;
    require_open_unit("alpha", alpha)?;
    require_open_unit("power", power)?;
    if n_a == 0 || n_b == 0 {
        return Err(NotEstimable::EmptyArm);
    }
    let (critical, reserve) = (normal_isf(alpha / 2.0), normal_isf(1.0 - power));
    let (size_a, size_b) = (n_a as f64, n_b as f64);
    let short_of = |effect: f64| {
        let p_b = p_a + effect;
        let (null, planned) = planned_variances(p_a, p_b, size_b / size_a);
        effect - critical * (null / size_a).sqrt() - reserve * (planned / size_a).sqrt()
    };
    let room = 1.0 - p_a;
    if short_of(room) < 0.0 {
        return Err(NotEstimable::NotDetectable);
    }
    let absolute = bracketed_root(short_of, 0.0, room);
    Ok(DetectableEffect { p_b: p_a + absolute, absolute, relative: absolute / p_a })
}

/// Sizes for two means with a common standard deviation: n_A = (z_{1−α/2} + z_{power})² σ² (1 + 1/r) / δ².
///
/// Source: Chow, Shao & Wang (2008), section 3.2 (normal approximation).
///
/// # Errors
/// `Invalid` sd or delta (`delta` may be negative, not 0).
pub fn sample_size_means(sd: f64, delta: f64, plan: Plan) -> Estimate<SampleSize> {
    require_positive("sd", sd)?;
    require_positive("delta", delta.abs())?;
    let root = (plan.critical() + plan.reserve()) * (sd / delta);
    SampleSize::new(root * root * (1.0 + 1.0 / plan.ratio_b_to_a), plan.ratio_b_to_a)
}

/// Power of the two-sided test of two means (the far side ignored): Φ(|δ| / (σ √(1/n_A + 1/n_B)) − z_{1−α/2}).
///
/// Source: Chow, Shao & Wang (2008), section 3.2. A `delta` of 0 gives half the level.
///
/// # Errors
/// `Invalid` sd, delta (not finite) or alpha; `EmptyArm`.
pub fn power_means(sd: f64, delta: f64, n_a: u64, n_b: u64, alpha: f64) -> Estimate<f64> {
    require_open_unit("alpha", alpha)?;
    if !delta.is_finite() {
        return Err(InvalidInput::new("delta", "finite", delta).into());
    }
    Ok(normal_cdf(delta.abs() / error_of_means(sd, n_a, n_b)? - normal_isf(alpha / 2.0)))
}

/// Smallest difference of two means that is detected with the given power: (z_{1−α/2} + z_{power}) σ √(1/n_A + 1/n_B).
///
/// # Errors
/// `Invalid` sd, alpha or power; `EmptyArm`.
pub fn detectable_difference_of_means(sd: f64, n_a: u64, n_b: u64, alpha: f64, power: f64) -> Estimate<f64> {
    require_open_unit("alpha", alpha)?;
    require_open_unit("power", power)?;
    Ok((normal_isf(alpha / 2.0) + normal_isf(1.0 - power)) * error_of_means(sd, n_a, n_b)?)
}

fn error_of_means(sd: f64, n_a: u64, n_b: u64) -> Estimate<f64> {
    require_positive("sd", sd)?;
    if n_a == 0 || n_b == 0 {
        return Err(NotEstimable::EmptyArm);
    }
    Ok(sd * (1.0 / n_a as f64 + 1.0 / n_b as f64).sqrt())
}

/// What prefetched opens do to a test of open rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dilution {
    /// Observed rate of A.
    pub observed_a: f64,
    /// Observed rate of B.
    pub observed_b: f64,
    /// Observed relative lift.
    pub observed_lift: f64,
    /// Observed difference.
    pub observed_difference: f64,
    /// Factor on the sample size when machine opens are left in the mix.
    pub inflation_mixed: f64,
    /// Factor on the sample size when those recipients are left out: 1 / (1 − m).
    pub inflation_excluded: f64,
}

/// Dilution by a share m in [0, 1) of recipients whose opens are prefetched in every case (arm-independent): observed rate
/// q = m + (1 − m) p; the needed size grows by q̄(1−q̄) / (p̄(1−p̄)) / (1 − m)², with p̄ and q̄ the means of the two rates.
///
/// Source: variance ratio of the pooled two-proportion score. Exact for equal arms, α-free approximation of [`sample_size_two_proportions`].
///
/// # Errors
/// `Invalid` rates or share.
pub fn dilution(p_a: f64, p_b: f64, machine_share: f64) -> Estimate<Dilution> {
    require_two_rates(p_a, p_b)?;
    if !(0.0..1.0).contains(&machine_share) {
        return Err(InvalidInput::new("machine_share", "in [0, 1)", machine_share).into());
    }
    let human = 1.0 - machine_share;
    let (observed_a, observed_b) = (machine_share + human * p_a, machine_share + human * p_b);
    let observed_difference = human * (p_b - p_a);
    let spread = |rate: f64| rate * (1.0 - rate);
    let inflation_mixed = spread(0.5 * (observed_a + observed_b)) / spread(0.5 * (p_a + p_b)) / (human * human);
    Ok(Dilution {
        observed_a,
        observed_b,
        observed_lift: observed_difference / observed_a,
        observed_difference,
        inflation_mixed,
        inflation_excluded: 1.0 / human,
    })
}

/// Size per arm of a test before the rest of the list gets the better letter, which maximises the expected total response:
/// n = √(N/4 (s/σ)² + (¾ (s/σ)²)²) − ¾ (s/σ)², for a list of N, response standard deviation s and prior standard deviation σ of the arms'
/// means. A suggestion, never a rule.
///
/// Source: Feit & Berman (2019), Marketing Science 38:1038, equation 12. Written without cancellation.
///
/// # Errors
/// `Invalid` list size (0), s or σ.
pub fn test_and_roll(list_size: u64, response_sd: f64, prior_sd: f64) -> Estimate<f64> {
    require_positive("list_size", list_size as f64)?;
    require_positive("response_sd", response_sd)?;
    require_positive("prior_sd", prior_sd)?;
    let noise = (response_sd / prior_sd).powi(2);
    let quarter = list_size as f64 / 4.0 * noise;
    let shift = 0.75 * noise;
    Ok(quarter / ((quarter + shift * shift).sqrt() + shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_reaches_the_power_it_was_planned_for() {
        let plan = Plan::new(0.05, 0.8, 0.5).unwrap();
        let size = sample_size_two_proportions(0.1, 0.12, plan).unwrap();
        let power = power_two_proportions(0.1, 0.12, size.n_a, size.n_b, 0.05).unwrap();
        assert!((0.8..0.801).contains(&power), "{power}");
        let effect = detectable_effect(0.1, size.n_a, size.n_b, 0.05, 0.8).unwrap();
        assert!((effect.p_b - 0.12).abs() < 1e-4);
    }

    #[test]
    fn holm_and_loss_ask_for_more() {
        let plan = Plan::new(0.05, 0.8, 1.0).unwrap();
        let plain = sample_size_two_proportions(0.1, 0.12, plan).unwrap();
        assert!(sample_size_two_proportions(0.1, 0.12, plan.with_holm(3).unwrap()).unwrap().n_a > plain.n_a);
        assert_eq!(plain.with_loss(0.5).unwrap().n_a, (plain.n_a_exact * 2.0).ceil() as u64);
        assert!(plan.with_holm(0).is_err());
    }

    #[test]
    fn size_power_and_effect_of_means_undo_each_other() {
        let size = sample_size_means(3.0, 0.4, Plan::new(0.05, 0.9, 2.0).unwrap()).unwrap();
        let power = power_means(3.0, -0.4, size.n_a, size.n_b, 0.05).unwrap();
        assert!((0.9..0.902).contains(&power), "{power}");
        let effect = detectable_difference_of_means(3.0, size.n_a, size.n_b, 0.05, power).unwrap();
        assert!((effect - 0.4).abs() < 1e-12, "{effect}");
    }

    #[test]
    fn nothing_is_detectable_with_one_recipient_each() {
        assert_eq!(detectable_effect(0.5, 1, 1, 0.05, 0.8), Err(NotEstimable::NotDetectable));
    }

    #[test]
    fn no_machines_dilute_nothing() {
        let plain = dilution(0.2, 0.22, 0.0).unwrap();
        assert_eq!((plain.inflation_mixed, plain.inflation_excluded), (1.0, 1.0));
        assert!(dilution(0.2, 0.22, 1.0).is_err());
    }
}
