//! Exact tests of two proportions for small counts: Fisher, its mid-p form and Boschloo.
//!
//! Cast: [`fisher`], [`fisher_mid_p`], [`boschloo`] with [`BoschlooTest`]. Never approximates: it sums or refuses
//! ([`NotEstimable::TooLarge`]).

use serde::Serialize;

use super::hypergeometric::Hypergeometric;
use super::roots::{bracketed_root, golden_maximum};
use super::special::{HALF_LN_TWO_PI, deviance, ln_1m_exp, ln_add_exp, stirling_error};
use super::types::{Count, Estimate, Interval, Level, NotEstimable, PValue, require_trials};

/// Largest n_A + n_B for which [`boschloo`] enumerates.
pub const BOSCHLOO_LIMIT: u64 = 4_000;

/// Two tables count as equally likely within this relative distance, as in R's `fisher.test`.
const TIE: f64 = 1e-7;

/// Two tables count as equally extreme for Boschloo within this relative distance of their one-sided p-values: well above rounding. In
/// practice it joins different tables only where both p-values are nearly 1, and then errs to the larger p.
const BOSCHLOO_TIE: f64 = 1e-10;

fn conditional(a: Count, b: Count) -> Hypergeometric {
    Hypergeometric::new(a.trials(), b.trials(), a.successes() + b.successes())
}

/// Fisher's exact test, two-sided by minimum likelihood: the probability of all tables no more likely than the observed one.
///
/// Source: Fisher (1935); R `fisher.test` (ties within 1e-7). Tails by ratio recurrence; any n. Edges: nobody or everybody succeeds → p = 1.
///
/// # Errors
/// `EmptyArm`.
pub fn fisher(a: Count, b: Count) -> Estimate<PValue> {
    require_trials(&[a, b])?;
    Ok(PValue::from_ln(ln_no_more_likely(a, b, TIE)))
}

/// Fisher's test with tables exactly as likely as the observed one counted half (Lancaster 1961, JASA 56:223).
///
/// Less conservative than [`fisher`]; may exceed the nominal level slightly.
///
/// # Errors
/// `EmptyArm`.
pub fn fisher_mid_p(a: Count, b: Count) -> Estimate<PValue> {
    require_trials(&[a, b])?;
    let (with_ties, without_ties) = (ln_no_more_likely(a, b, TIE), ln_no_more_likely(a, b, -TIE));
    Ok(PValue::from_ln(ln_add_exp(with_ties, without_ties) - std::f64::consts::LN_2))
}

/// ln of the probability of all tables whose probability is at most (1 + `slack`) times the observed one.
fn ln_no_more_likely(a: Count, b: Count, slack: f64) -> f64 {
    let tables = conditional(a, b);
    let ceiling = tables.ln_probability(b.successes()) + slack.ln_1p();
    let lower = tables.last_below_mode(ceiling);
    let upper = tables.first_above_mode(ceiling);
    match (lower, upper) {
        (Some(low), Some(high)) if low >= high => 0.0,
        (Some(low), Some(high)) => ln_add_exp(tables.ln_at_most(low), tables.ln_at_least(high)),
        (Some(low), None) => tables.ln_at_most(low),
        (None, Some(high)) => tables.ln_at_least(high),
        (None, None) => f64::NEG_INFINITY,
    }
}

/// Boschloo's test: central two-sided p and both one-sided p-values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BoschlooTest {
    /// Twice the smaller one-sided p-value, at most 1.
    pub p_value: PValue,
    /// One-sided, alternative p_B < p_A.
    pub b_less: PValue,
    /// One-sided, alternative p_B > p_A.
    pub b_greater: PValue,
}

/// Boschloo's unconditional exact test with Fisher's one-sided p-value as statistic, central two-sided: uniformly more powerful than
/// Fisher.
///
/// Source: Boschloo (1970), Stat. Neerl. 24:1; maximum over the common rate on an arcsine grid of 1,024 points, the best ten refined by
/// golden section (error about 1e-12 of p).
///
/// # Errors
/// `EmptyArm`; `TooLarge` when n_A + n_B exceeds [`BOSCHLOO_LIMIT`].
pub fn boschloo(a: Count, b: Count) -> Estimate<BoschlooTest> {
    require_trials(&[a, b])?;
    if a.trials() + b.trials() > BOSCHLOO_LIMIT {
        return Err(NotEstimable::TooLarge);
    }
    let b_greater = one_sided(a, b);
    let b_less = one_sided(b, a);
    Ok(BoschlooTest { p_value: b_greater.min(b_less).times(2.0), b_less, b_greater })
}

/// One-sided p-value for "the high arm's rate is the greater".
fn one_sided(low: Count, high: Count) -> PValue {
    if high.successes() == 0 || low.failures() == 0 {
        // every table is at least as extreme
        return PValue::ONE;
    }
    let thresholds = critical_region(low, high);
    let (ln_ways_low, ln_ways_high) = (ln_binomials(low.trials()), ln_binomials(high.trials()));
    let size = |angle: f64| region_probability(&thresholds, &ln_ways_low, &ln_ways_high, angle);
    const GRID: u32 = 1_024;
    let step = std::f64::consts::FRAC_PI_2 / f64::from(GRID);
    let values: Vec<f64> = (0..=GRID).map(|index| size(step * f64::from(index))).collect();
    let mut peaks: Vec<(f64, f64)> = Vec::new();
    for (index, window) in (1u32..).zip(values.windows(3)) {
        if let [before, here, after] = *window
            && here >= before
            && here >= after
        {
            peaks.push((here, step * f64::from(index)));
        }
    }
    peaks.sort_by(|one, other| other.0.total_cmp(&one.0));
    let on_grid = values.iter().copied().fold(0.0, f64::max);
    let refined =
        peaks.iter().take(10).map(|(_, angle)| size(golden_maximum(size, angle - step, angle + step, 1e-9))).fold(on_grid, f64::max);
    PValue::from_value(refined.min(1.0))
}

/// For every number of successes in the low arm, the smallest number in the high arm at which Fisher's one-sided p is no larger than
/// the observed one (n_high + 1 if none). Non-decreasing, so one walk up the staircase finds them all.
fn critical_region(low: Count, high: Count) -> Vec<u64> {
    let ln_fisher = |x_low: u64, x_high: u64| Hypergeometric::new(low.trials(), high.trials(), x_low + x_high).ln_at_least(x_high);
    let ceiling = ln_fisher(low.successes(), high.successes()) + BOSCHLOO_TIE.ln_1p();
    let mut x_high = 0;
    (0..=low.trials())
        .map(|x_low| {
            while x_high <= high.trials() && ln_fisher(x_low, x_high) > ceiling {
                x_high += 1;
            }
            x_high
        })
        .collect()
}

/// ln of the binomial coefficients of n.
fn ln_binomials(n: u64) -> Vec<f64> {
    let size = n as f64;
    (0..=n)
        .map(|k| {
            if k == 0 || k == n {
                return 0.0;
            }
            let (hits, misses) = (k as f64, (n - k) as f64);
            let entropy = size * std::f64::consts::LN_2 - deviance(hits, 0.5 * size) - deviance(misses, 0.5 * size);
            entropy + stirling_error(size) - stirling_error(hits) - stirling_error(misses) + 0.5 * (size / hits / misses).ln()
                - HALF_LN_TWO_PI
        })
        .collect()
}

/// Probability of the critical region at the common rate sin²(angle).
fn region_probability(thresholds: &[u64], ln_ways_low: &[f64], ln_ways_high: &[f64], angle: f64) -> f64 {
    let (ln_rate, ln_rest) = (2.0 * angle.sin().abs().ln(), 2.0 * angle.cos().abs().ln());
    if !(ln_rate.is_finite() && ln_rest.is_finite()) {
        return 0.0;
    }
    let probabilities = |ln_ways: &[f64]| -> Vec<f64> {
        let n = ln_ways.len() as f64 - 1.0;
        ln_ways.iter().enumerate().map(|(k, ways)| (ways + k as f64 * ln_rate + (n - k as f64) * ln_rest).exp()).collect()
    };
    let mut at_least = probabilities(ln_ways_high);
    let mut sum = 0.0;
    for value in at_least.iter_mut().rev() {
        sum += *value;
        *value = sum;
    }
    probabilities(ln_ways_low)
        .iter()
        .zip(thresholds)
        .map(|(probability, threshold)| {
            usize::try_from(*threshold).ok().and_then(|index| at_least.get(index)).map_or(0.0, |tail| probability * tail)
        })
        .sum()
}

/// ln P(X ≥ x) for X ~ Binomial(n, rate), `count` being x of n: the exact bound of a simulated error rate.
///
/// Source: P(X ≥ x) = I_rate(x, n − x + 1) (Abramowitz & Stegun 1964, 26.5.24). Range: rate in [0, 1].
///
/// # Errors
/// `Invalid` for a rate outside [0, 1], `EmptyArm`.
pub fn ln_binomial_at_least(count: Count, rate: f64) -> Estimate<f64> {
    require_trials(&[count])?;
    if count.successes() == 0 {
        return Ok(0.0);
    }
    Ok(super::beta::beta_distribution(count.x(), count.misses() + 1.0, rate)?.ln_cdf)
}

/// ln P(X ≤ x) for X ~ Binomial(n, rate), the mirror of [`ln_binomial_at_least`]. Solving both for alpha/2 gives Clopper & Pearson's interval.
///
/// # Errors
/// As [`ln_binomial_at_least`].
pub fn ln_binomial_at_most(count: Count, rate: f64) -> Estimate<f64> {
    require_trials(&[count])?;
    if count.failures() == 0 {
        return Ok(0.0);
    }
    let next = Count::new(count.successes() + 1, count.trials())?;
    Ok(ln_1m_exp(ln_binomial_at_least(next, rate)?))
}

/// Exact interval of a rate: its ends are the rates at which the count, or one further out, has a chance of alpha/2. Edges: 0 of n has the lower
/// end 0, n of n the upper end 1.
///
/// Source: Clopper & Pearson (1934), Biometrika 26:404.
///
/// # Errors
/// `EmptyArm`.
pub fn clopper_pearson(count: Count, level: Level) -> Estimate<Interval> {
    let observed = count.rate()?;
    let target = (level.alpha() / 2.0).ln();
    let above = |rate: f64| ln_binomial_at_least(count, rate).map_or(f64::NEG_INFINITY, |ln| ln.max(-1e300)) - target;
    let below = |rate: f64| ln_binomial_at_most(count, rate).map_or(f64::NEG_INFINITY, |ln| ln.max(-1e300)) - target;
    let lower = if count.successes() == 0 { 0.0 } else { bracketed_root(above, 0.0, observed) };
    let upper = if count.failures() == 0 { 1.0 } else { bracketed_root(below, observed, 1.0) };
    Ok(Interval { lower, upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(successes: u64, trials: u64) -> Count {
        Count::new(successes, trials).unwrap()
    }

    fn check(got: PValue, want: f64) {
        assert!((got.value() / want - 1.0).abs() < 1e-10, "{} is not {want}", got.value());
    }

    #[test]
    fn the_tea_tasting_lady_has_her_known_p_values() {
        check(fisher(count(1, 4), count(3, 4)).unwrap(), 34.0 / 70.0);
        check(fisher_mid_p(count(1, 4), count(3, 4)).unwrap(), (2.0 + 16.0) / 70.0);
        check(fisher(count(0, 9), count(0, 7)).unwrap(), 1.0);
    }

    #[test]
    fn fisher_reaches_far_tails_of_large_samples() {
        let p = fisher(count(1_000_000, 100_000_000), count(1_200_000, 100_000_000)).unwrap();
        assert!(p.value() == 0.0 && p.ln() < -9_000.0 && p.ln() > -9_400.0, "{}", p.ln());
    }

    #[test]
    fn boschloo_of_one_against_one_is_one_half() {
        let test = boschloo(count(0, 1), count(1, 1)).unwrap();
        check(test.b_greater, 0.25);
        check(test.p_value, 0.5);
        assert_eq!(boschloo(count(0, 3_000), count(1, 3_000)), Err(NotEstimable::TooLarge));
    }

    #[test]
    fn the_binomial_tails_are_complements() {
        let (least, most) = (ln_binomial_at_least(count(3, 10), 0.2).unwrap().exp(), ln_binomial_at_most(count(2, 10), 0.2).unwrap().exp());
        assert!((least + most - 1.0).abs() < 1e-14 && (least - 0.322_200_473_6).abs() < 1e-9, "{least} {most}");
    }

    // R: binom.test(10, 100), binom.test(0, 50).
    #[test]
    fn the_exact_interval_of_a_rate_is_clopper_and_pearsons() {
        let ten = clopper_pearson(count(10, 100), Level::USUAL).unwrap();
        assert!((ten.lower - 0.049_004_69).abs() < 1e-8 && (ten.upper - 0.176_222_6).abs() < 1e-7, "{ten:?}");
        let none = clopper_pearson(count(0, 50), Level::USUAL).unwrap();
        assert!(none.lower == 0.0 && (none.upper - (1.0 - 0.025f64.powf(0.02))).abs() < 1e-12, "{none:?}");
        assert!(clopper_pearson(count(0, 0), Level::USUAL).is_err());
    }
}
