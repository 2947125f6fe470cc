//! The hypergeometric distribution of B's successes given all margins, on the log scale.
//!
//! Cast: [`Hypergeometric`]. Probabilities by Loader's saddle-point form, tails by ratio recurrence away from the mode, so that
//! n = 1e8 and p = 1e-300 stay exact. Never uses log-gamma differences or the statrs Fisher test.

use super::special::{HALF_LN_TWO_PI, deviance_with, ln_1m_exp, stirling_error};

/// Number of successes that fall to B, when `draws` successes are spread over `group_b` and `group_a` recipients at random.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hypergeometric {
    group_a: u64,
    group_b: u64,
    draws: u64,
}

impl Hypergeometric {
    /// `draws` must be at most `group_a + group_b`.
    pub(crate) fn new(group_a: u64, group_b: u64, draws: u64) -> Self {
        Self { group_a, group_b, draws: draws.min(group_a + group_b) }
    }

    pub(crate) fn lowest(&self) -> u64 {
        self.draws.saturating_sub(self.group_a)
    }

    pub(crate) fn highest(&self) -> u64 {
        self.draws.min(self.group_b)
    }

    pub(crate) fn mode(&self) -> u64 {
        let mode = u128::from(self.draws + 1) * u128::from(self.group_b + 1) / u128::from(self.group_a + self.group_b + 2);
        u64::try_from(mode).unwrap_or(u64::MAX).clamp(self.lowest(), self.highest())
    }

    /// ln P(K = k) for k in the support (Loader 2000; R's dhyper).
    pub(crate) fn ln_probability(&self, k: u64) -> f64 {
        if self.lowest() == self.highest() {
            return 0.0;
        }
        let total = self.group_a + self.group_b;
        let (draws, rest) = (self.draws as f64, (total - self.draws) as f64);
        let ln_all = stirling_error(total as f64) - stirling_error(draws) - stirling_error(rest) + 0.5 * (total as f64 / draws / rest).ln()
            - HALF_LN_TWO_PI;
        self.ln_binomial(k, self.group_b) + self.ln_binomial(self.draws - k, self.group_a) - ln_all
    }

    /// ln of the binomial probability of `x` out of `n` at the pooled share.
    fn ln_binomial(&self, x: u64, n: u64) -> f64 {
        let total = self.group_a + self.group_b;
        let (whole, size, hits) = (total as f64, n as f64, x as f64);
        let expected = size * (self.draws as f64 / whole);
        let expected_rest = size * ((total - self.draws) as f64 / whole);
        let cross = i128::from(n) * i128::from(self.draws) - i128::from(x) * i128::from(total);
        let excess = cross as f64 / whole;
        let misses = (n - x) as f64;
        let exponent = -deviance_with(hits, expected, excess) - deviance_with(misses, expected_rest, -excess);
        if x == 0 || x == n {
            return exponent;
        }
        exponent + stirling_error(size) - stirling_error(hits) - stirling_error(misses) + 0.5 * (size / hits / misses).ln() - HALF_LN_TWO_PI
    }

    /// ln P(K ≥ k).
    pub(crate) fn ln_at_least(&self, k: u64) -> f64 {
        if k <= self.lowest() {
            return 0.0;
        }
        if k > self.highest() {
            return f64::NEG_INFINITY;
        }
        if k > self.mode() { self.ln_sum_upwards(k) } else { ln_1m_exp(self.ln_sum_downwards(k - 1).min(0.0)) }
    }

    /// ln P(K ≤ k).
    pub(crate) fn ln_at_most(&self, k: u64) -> f64 {
        if k >= self.highest() {
            return 0.0;
        }
        if k < self.lowest() {
            return f64::NEG_INFINITY;
        }
        if k <= self.mode() { self.ln_sum_downwards(k) } else { ln_1m_exp(self.ln_sum_upwards(k + 1).min(0.0)) }
    }

    fn ln_sum_upwards(&self, from: u64) -> f64 {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in from..self.highest() {
            term *= (self.group_b - k) as f64 / (k + 1) as f64 * ((self.draws - k) as f64 / ((self.group_a + k + 1) - self.draws) as f64);
            sum += term;
            if term < 1e-18 * sum {
                break;
            }
        }
        self.ln_probability(from) + f64::ln(sum)
    }

    fn ln_sum_downwards(&self, from: u64) -> f64 {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in (self.lowest() + 1..=from).rev() {
            term *= k as f64 / (self.group_b + 1 - k) as f64 * (((self.group_a + k) - self.draws) as f64 / (self.draws + 1 - k) as f64);
            sum += term;
            if term < 1e-18 * sum {
                break;
            }
        }
        self.ln_probability(from) + f64::ln(sum)
    }

    /// Largest k up to the mode with ln P(K = k) ≤ `ceiling`, if any.
    pub(crate) fn last_below_mode(&self, ceiling: f64) -> Option<u64> {
        let (mut low, mut high) = (self.lowest(), self.mode());
        if self.ln_probability(low) > ceiling {
            return None;
        }
        while low < high {
            let middle = high - (high - low) / 2;
            if self.ln_probability(middle) <= ceiling {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Some(low)
    }

    /// Smallest k from the mode on with ln P(K = k) ≤ `ceiling`, if any.
    pub(crate) fn first_above_mode(&self, ceiling: f64) -> Option<u64> {
        let (mut low, mut high) = (self.mode(), self.highest());
        if self.ln_probability(high) > ceiling {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.ln_probability(middle) <= ceiling {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_a_small_table_are_the_known_fractions() {
        let table = Hypergeometric::new(4, 4, 4);
        let want = [1.0, 16.0, 36.0, 16.0, 1.0];
        for (k, ways) in (0u64..).zip(want) {
            assert!((table.ln_probability(k).exp() * 70.0 - ways).abs() < 1e-12);
        }
        assert!((table.ln_at_least(3).exp() * 70.0 - 17.0).abs() < 1e-12);
        assert!((table.ln_at_most(2).exp() * 70.0 - 53.0).abs() < 1e-12);
    }

    #[test]
    fn both_tails_add_up_for_huge_groups() {
        let table = Hypergeometric::new(100_000_000, 30_000_000, 7_000_000);
        for k in [1_610_000, 1_615_384, 1_616_000] {
            let sum = table.ln_at_least(k).exp() + table.ln_sum_downwards(k - 1).exp();
            assert!((sum - 1.0).abs() < 1e-10, "{sum}");
        }
    }
}
