//! How many recipients a question needs, and what a number of recipients can answer.
//!
//! Cast: [`Question`] (rates, arms, level), [`needed`], [`power`], [`detectable`], [`suggested_test`] (test and roll).
//!
//! Several variants are planned at Holm's strictest level, so that every comparison with the control has the power asked for. Recipients
//! lost on the way (bounces), left out (prefetched opens) and blurred by machines are reckoned with. Planning is an approximation by
//! the normal distribution; the analysis never is.

use crate::experiment::design::Method;
use crate::stats::{
    Estimate, InvalidInput, NotEstimable, Plan, ln_normal_sf, normal_cdf, power_two_proportions, sample_size_two_proportions, test_and_roll,
};

/// What is asked.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Question {
    /// The control's true rate among people, in (0, 1).
    pub base: f64,
    /// Weights of the arms, the control first; 2 to 8, each at least 1.
    pub weights: Vec<u32>,
    /// Two-sided level, in (0, 1).
    pub significance: f64,
    /// The chance to see the difference if it is there, in (0, 1).
    pub power: f64,
    /// How often the result is looked at.
    pub method: Method,
    /// The part of the letters that does not arrive, in [0, 1).
    pub loss: f64,
    /// The part of recipients counted as success by a machine whatever they do, the same in every arm, in [0, 1).
    pub machines: f64,
    /// The part of recipients left out because their pictures are fetched in advance, in [0, 1); for open rates.
    pub prefetched: f64,
}

/// Recipients needed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Needed {
    /// Letters to send to each arm, the control first.
    pub arms: Vec<u64>,
    /// Letters to send in all.
    pub total: u64,
}

/// The smallest lift that is found with the power asked for.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Detectable {
    /// The variant's rate.
    pub rate: f64,
    /// Difference of the rates.
    pub absolute: f64,
    /// Difference ÷ base.
    pub relative: f64,
}

impl Question {
    fn check(&self) -> Result<(), InvalidInput> {
        let share = |argument: &'static str, value: f64| {
            if (0.0..1.0).contains(&value) { Ok(()) } else { Err(invalid(argument, "from 0 to below 1", value)) }
        };
        let open = |argument: &'static str, value: f64| {
            if value > 0.0 && value < 1.0 { Ok(()) } else { Err(invalid(argument, "above 0 and below 1", value)) }
        };
        open("base rate", self.base)?;
        open("level", self.significance)?;
        open("power", self.power)?;
        share("loss", self.loss)?;
        share("machine share", self.machines)?;
        share("prefetched share", self.prefetched)?;
        if self.weights.len() < 2 || self.weights.contains(&0) {
            return Err(invalid("weights", "at least two, each at least 1", format!("{:?}", self.weights)));
        }
        Ok(())
    }

    /// A rate as it is counted: people and machines together.
    fn counted(&self, rate: f64) -> f64 {
        self.machines + (1.0 - self.machines) * rate
    }

    /// The part of letters sent that ends up in the denominator.
    fn kept(&self) -> f64 {
        (1.0 - self.loss) * (1.0 - self.prefetched)
    }

    /// Holm's strictest level.
    fn strictest(&self) -> f64 {
        self.significance / (self.weights.len() - 1) as f64
    }

    fn weight(&self, arm: usize) -> f64 {
        self.weights.get(arm).map_or(1.0, |weight| f64::from(*weight))
    }

    /// The variant with the fewest recipients: what it can show, every other can.
    fn smallest(&self) -> usize {
        (1..self.weights.len()).min_by_key(|arm| self.weights.get(*arm).copied().unwrap_or(u32::MAX)).unwrap_or(1)
    }

    fn rate_with(&self, lift: f64) -> Estimate<f64> {
        let rate = self.base * (1.0 + lift);
        if rate > 0.0 && rate < 1.0 && lift != 0.0 {
            Ok(rate)
        } else {
            Err(invalid("lift", "not 0, and leading to a rate above 0 and below 1", lift).into())
        }
    }
}

fn invalid(argument: &'static str, allowed: &'static str, given: impl ToString) -> InvalidInput {
    InvalidInput { argument, allowed, given: given.to_string() }
}

/// Letters to send so that a relative `lift` of any variant over the control is found with the power asked for.
///
/// # Errors
/// An argument out of range; a size beyond counting.
pub fn needed(question: &Question, lift: f64) -> Estimate<Needed> {
    question.check()?;
    let rate = question.rate_with(lift)?;
    let ratio = question.weight(question.smallest()) / question.weight(0);
    let plan = Plan::new(question.strictest(), question.power, ratio)?;
    let fixed = sample_size_two_proportions(question.counted(question.base), question.counted(rate), plan)?.n_a_exact / question.kept();
    let control = match question.method {
        Method::Fixed => fixed,
        Method::Anytime => grow(fixed, |control| Ok(power_of(question, rate, control)? >= question.power))?,
    };
    let arms: Vec<u64> =
        (0..question.weights.len()).map(|arm| (control * question.weight(arm) / question.weight(0)).ceil() as u64).collect();
    Ok(Needed { total: arms.iter().sum(), arms })
}

/// The smallest number from `start` on that is enough, to 1 in 10,000.
fn grow(start: f64, enough: impl Fn(f64) -> Estimate<bool>) -> Estimate<f64> {
    let (mut low, mut high) = (start, start);
    while !enough(high)? {
        low = high;
        high *= 2.0;
        if high > 1e15 {
            return Err(NotEstimable::NotFinite);
        }
    }
    while high - low > 1e-4 * high {
        let middle = 0.5 * (low + high);
        if enough(middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

/// The chance to find a relative `lift` of the smallest variant with `letters` sent in all.
///
/// # Errors
/// An argument out of range; too few letters for every arm to get one.
pub fn power(question: &Question, letters: u64, lift: f64) -> Estimate<f64> {
    question.check()?;
    power_of(question, question.rate_with(lift)?, control_letters(question, letters))
}

fn control_letters(question: &Question, letters: u64) -> f64 {
    let sum: f64 = question.weights.iter().map(|weight| f64::from(*weight)).sum();
    letters as f64 * question.weight(0) / sum
}

fn power_of(question: &Question, rate: f64, control_letters: f64) -> Estimate<f64> {
    let kept = control_letters * question.kept();
    let variant = kept * question.weight(question.smallest()) / question.weight(0);
    let (n_a, n_b) = (kept.floor(), variant.floor());
    let (p_a, p_b) = (question.counted(question.base), question.counted(rate));
    match question.method {
        Method::Fixed => power_two_proportions(p_a, p_b, n_a as u64, n_b as u64, question.strictest()),
        Method::Anytime if n_a < 1.0 || n_b < 1.0 => Err(NotEstimable::EmptyArm),
        Method::Anytime => Ok(anytime_power(question.significance, p_a, p_b, n_a, n_b)),
    }
}

/// Evidence spent on the spread of the mixture around the planned effect, in ln E; found by simulation.
const SPREAD_COST: f64 = 0.2;

/// The chance that the urn e-process tuned to the true effect reaches 1/α by the end. With δ² = θ² x s (1 − s) for the log hazard ratio θ, x first
/// successes and a share s of the recipients in B, ln E is nearly a Brownian motion of drift δ²/2 and variance δ², and its mixture over
/// ±θ crosses b = ln(2/α) with the chance Φ((δ²/2 − b)/δ) + e^b Φ(−(δ²/2 + b)/δ). Within 3 points of simulated power.
///
/// Source: reflection principle (Siegmund 1985, equation 3.15) for the safe log-rank test (Grünwald, Ly, Pérez-Ortiz & ter Schure 2020).
fn anytime_power(alpha: f64, p_a: f64, p_b: f64, n_a: f64, n_b: f64) -> f64 {
    let share = n_b / (n_a + n_b);
    let hazard = |rate: f64| -(-rate).ln_1p();
    let effect = (hazard(p_b) / hazard(p_a)).ln();
    let delta = (effect * effect * (n_a * p_a + n_b * p_b) * share * (1.0 - share)).sqrt();
    let (drift, bound) = (0.5 * delta * delta, (2.0 / alpha).ln() + SPREAD_COST);
    if delta == 0.0 {
        return 0.0;
    }
    (normal_cdf((drift - bound) / delta) + (bound + ln_normal_sf((drift + bound) / delta)).exp()).min(1.0)
}

/// The smallest lift over the control that `letters` sent in all find with the power asked for.
///
/// # Errors
/// An argument out of range; [`NotEstimable::NotDetectable`] when not even a rate of nearly 1 would be found.
pub fn detectable(question: &Question, letters: u64) -> Estimate<Detectable> {
    question.check()?;
    let control = control_letters(question, letters);
    let found = |rate: f64| Ok::<bool, NotEstimable>(power_of(question, rate, control)? >= question.power);
    let (mut low, mut high) = (question.base, 1.0 - 1e-9 * (1.0 - question.base));
    if !found(high)? {
        return Err(NotEstimable::NotDetectable);
    }
    while high - low > 1e-9 * high {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if found(middle)? { high = middle } else { low = middle }
    }
    let absolute = high - question.base;
    Ok(Detectable { rate: high, absolute, relative: absolute / question.base })
}

/// A suggested number of letters for the test, of `list` in all, when the rest get what the test chooses: Feit & Berman's test and roll
/// for two arms, scaled to the number of arms. `spread` is the standard deviation of what letters of this list reach beside each other.
/// It maximises the expected number of successes and is smaller than what a test at a level needs. A suggestion, never a rule.
///
/// # Errors
/// An argument out of range.
pub fn suggested_test(question: &Question, list: u64, spread: f64) -> Estimate<u64> {
    question.check()?;
    let response = (question.base * (1.0 - question.base)).sqrt();
    let per_arm = test_and_roll(list, response, spread)?;
    let arms = question.weights.len() as f64;
    Ok(((per_arm * arms).ceil()).min(list as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            base: 0.03,
            weights: vec![1, 1],
            significance: 0.05,
            power: 0.8,
            method: Method::Fixed,
            loss: 0.0,
            machines: 0.0,
            prefetched: 0.0,
        }
    }

    // 3.0 % against 3.6 % with 0, 2, 5 and 10 % of machines: 4.94/5.53, 7.85/8.42 and 12.7/13.24 % are what is counted.
    #[test]
    fn sizes_are_those_of_power_prop_test_and_grow_with_machines() {
        let control = |machines| needed(&Question { machines, ..question() }, 0.2).unwrap().arms[0];
        assert_eq!([control(0.0), control(0.02), control(0.05), control(0.1)], [13_914, 22_519, 36_107, 60_765]);
    }

    #[test]
    fn losses_and_prefetching_ask_for_more_letters_in_proportion() {
        let plain = needed(&question(), 0.2).unwrap().total as f64;
        let lossy = needed(&Question { loss: 0.2, prefetched: 0.5, ..question() }, 0.2).unwrap().total as f64;
        assert!((lossy / plain - 2.5).abs() < 1e-3);
    }

    #[test]
    fn size_power_and_detectable_lift_undo_each_other() {
        for weights in [vec![1, 1], vec![3, 1], vec![1, 1, 1, 1], vec![4, 2, 1]] {
            for method in Method::ALL {
                let question = Question { weights: weights.clone(), method, loss: 0.02, ..question() };
                let size = needed(&question, 0.2).unwrap();
                let reached = power(&question, size.total, 0.2).unwrap();
                assert!((reached - 0.8).abs() < 0.002, "{question:?}: {reached}");
                let lift = detectable(&question, size.total).unwrap().relative;
                assert!((lift - 0.2).abs() < 0.001, "{question:?}: {lift}");
            }
        }
    }

    #[test]
    fn looking_always_costs_recipients() {
        let fixed = needed(&question(), 0.2).unwrap().total as f64;
        let anytime = needed(&Question { method: Method::Anytime, ..question() }, 0.2).unwrap().total as f64;
        assert!((1.2..2.2).contains(&(anytime / fixed)), "{}", anytime / fixed);
    }

    #[test]
    fn nonsense_is_named() {
        let check = |question: Question, lift: f64, word: &str| {
            let error = needed(&question, lift).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        check(Question { base: 3.0, ..question() }, 0.2, "base rate");
        check(question(), 40.0, "lift");
        check(question(), 0.0, "lift");
        check(Question { loss: 1.0, ..question() }, 0.2, "loss");
        check(Question { weights: vec![1], ..question() }, 0.2, "weights");
        assert!(detectable(&question(), 1).is_err());
        assert!(detectable(&Question { base: 0.5, ..question() }, 6).is_err());
    }

    #[test]
    fn the_suggested_test_is_a_part_of_the_list() {
        let half = suggested_test(&question(), 100_000, 0.003).unwrap();
        assert!(half > 1000 && half < 100_000, "{half}");
        assert!(suggested_test(&question(), 10, 1e-9).unwrap() <= 10);
    }
}
