//! Chances of tests and intervals by adding up every outcome, instead of drawing some.
//!
//! Cast: [`Binomial`] (the outcomes of one arm with their chances), [`Place`] (where an outcome lies), [`inside`] (the chance to lie inside).
//!
//! Outcomes with a chance under 1e-15 of the likeliest are left out; everything else is exact to rounding.

use rand::{Rng, RngExt};

use crate::stats::Count;

/// Outcomes under this chance relative to the likeliest are left out.
const NEGLIGIBLE: f64 = 1e-15;
/// Up to so many outcomes every one is looked at; above, only the boundary is.
const EVERY_OUTCOME: usize = 10_000;

/// The successes of one arm: every outcome that matters, with its chance.
#[derive(Debug, Clone)]
pub struct Binomial {
    trials: u64,
    first: u64,
    chances: Vec<f64>,
    /// Chance of each outcome or a smaller one.
    cumulated: Vec<f64>,
}

impl Binomial {
    /// Of `trials` recipients with a `rate` in [0, 1]. The chances grow from the likeliest outcome by their ratios and are scaled to 1.
    pub fn new(trials: u64, rate: f64) -> Self {
        let n = trials as f64;
        let mode = ((n + 1.0) * rate).floor().min(n).max(0.0) as u64;
        let odds = if rate < 1.0 { rate / (1.0 - rate) } else { f64::INFINITY };
        let mut below = Vec::new();
        let (mut weight, mut x) = (1.0, mode);
        while x > 0 {
            weight *= x as f64 / ((trials - x + 1) as f64 * odds);
            if weight <= NEGLIGIBLE {
                break;
            }
            below.push(weight);
            x -= 1;
        }
        let first = x;
        let mut chances: Vec<f64> = below.into_iter().rev().chain([1.0]).collect();
        (weight, x) = (1.0, mode);
        while x < trials {
            weight *= (trials - x) as f64 * odds / (x + 1) as f64;
            if weight <= NEGLIGIBLE {
                break;
            }
            chances.push(weight);
            x += 1;
        }
        let sum: f64 = chances.iter().sum();
        chances.iter_mut().for_each(|chance| *chance /= sum);
        let mut total = 0.0;
        let cumulated = chances
            .iter()
            .map(|chance| {
                total += chance;
                total
            })
            .collect();
        Self { trials, first, chances, cumulated }
    }

    /// Draws one outcome: the table of cumulated chances is searched, which costs about ten comparisons however many recipients there are.
    pub fn draw(&self, rng: &mut impl Rng) -> u64 {
        let level: f64 = rng.random();
        let index = self.cumulated.partition_point(|total| *total <= level).min(self.chances.len() - 1);
        self.first + index as u64
    }

    /// Recipients.
    pub fn trials(&self) -> u64 {
        self.trials
    }

    fn counts(&self) -> impl Iterator<Item = (Count, f64)> {
        (self.first..).zip(&self.chances).filter_map(|(x, chance)| Some((Count::new(x, self.trials).ok()?, *chance)))
    }

    /// Chance of the outcomes from `low` up to but without `high`.
    fn between(&self, low: usize, high: usize) -> f64 {
        let up_to = |index: usize| index.checked_sub(1).and_then(|last| self.cumulated.get(last)).copied().unwrap_or(0.0);
        (up_to(high) - up_to(low)).max(0.0)
    }
}

/// Where an outcome lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// B has too few successes.
    Below,
    /// Not rejected, or covered.
    Inside,
    /// B has too many.
    Above,
}

/// The chance that an outcome lies inside. With few outcomes each is asked; with many only those along the boundary, which rises: more successes of A
/// allow more of B, never fewer.
pub fn inside(a: &Binomial, b: &Binomial, place: impl Fn(Count, Count) -> Place) -> f64 {
    if a.chances.len() * b.chances.len() <= EVERY_OUTCOME { by_every_outcome(a, b, place) } else { by_boundary(a, b, place) }
}

fn by_every_outcome(a: &Binomial, b: &Binomial, place: impl Fn(Count, Count) -> Place) -> f64 {
    let row = |count_a: Count| -> f64 {
        b.counts().filter(|(count_b, _)| place(count_a, *count_b) == Place::Inside).map(|(_, chance)| chance).sum()
    };
    a.counts().map(|(count_a, chance)| chance * row(count_a)).sum()
}

fn by_boundary(a: &Binomial, b: &Binomial, place: impl Fn(Count, Count) -> Place) -> f64 {
    let counts: Vec<Count> = b.counts().map(|(count, _)| count).collect();
    let (mut low, mut high) = (0, 0);
    let mut total = 0.0;
    for (count_a, chance) in a.counts() {
        while counts.get(low).is_some_and(|count_b| place(count_a, *count_b) == Place::Below) {
            low += 1;
        }
        high = high.max(low);
        while counts.get(high).is_some_and(|count_b| place(count_a, *count_b) != Place::Above) {
            high += 1;
        }
        total += chance * b.between(low, high);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{ScoreFamily, ln_binomial_at_most, score_test};
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    fn scas(a: Count, b: Count) -> Place {
        let test = score_test(ScoreFamily::SkewnessCorrected, a, b).unwrap();
        match (test.p_value.at_most(0.05), test.z > 0.0) {
            (false, _) => Place::Inside,
            (true, true) => Place::Above,
            (true, false) => Place::Below,
        }
    }

    #[test]
    fn chances_are_binomial() {
        for (trials, rate) in [(20, 0.3), (1000, 0.001), (100_000, 0.6), (5, 0.0), (5, 1.0)] {
            let arm = Binomial::new(trials, rate);
            assert!((arm.cumulated.last().unwrap() - 1.0).abs() < 1e-12);
            for index in (0..arm.chances.len()).step_by(7) {
                let wanted = ln_binomial_at_most(Count::new(arm.first + index as u64, trials).unwrap(), rate).unwrap().exp();
                assert!((arm.cumulated[index] - wanted).abs() < 1e-9, "{trials} {rate} {index}: {} {wanted}", arm.cumulated[index]);
            }
        }
    }

    #[test]
    fn the_boundary_tells_the_same_as_every_outcome() {
        for (n_a, n_b, rate) in [(300, 300, 0.2), (900, 100, 0.1), (100, 900, 0.02)] {
            let (a, b) = (Binomial::new(n_a, rate), Binomial::new(n_b, rate));
            let (one, other) = (by_every_outcome(&a, &b, scas), by_boundary(&a, &b, scas));
            assert!((one - other).abs() < 1e-12, "{n_a} {n_b} {rate}: {one} {other}");
        }
    }

    #[test]
    fn draws_follow_the_chances() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let arm = Binomial::new(1000, 0.03);
        let mean = (0..20_000).map(|_| arm.draw(&mut rng) as f64).sum::<f64>() / 20_000.0;
        // Standard error 0.038: eight of them.
        assert!((mean - 30.0).abs() < 0.3, "{mean}");
    }
}
