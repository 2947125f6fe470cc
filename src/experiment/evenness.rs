//! Whether something befell every arm alike: loss on the way, hits of machines.
//!
//! Cast: [`even`]. Its alarm at [`CHECK_LEVEL`](crate::experiment::decide::CHECK_LEVEL) is false in at most one of 1,000 tests, also for
//! rare events and unequal arms. It never says why.

use crate::stats::{Count, Estimate, NotEstimable, PValue, fisher, homogeneity};

/// Where this many are expected in every cell, the chi-square tail at 0.001 is accurate.
const CHI_SQUARE_FROM: f64 = 1000.0;

/// p-value of "the same share in every arm", the arms having been drawn in fixed sizes. Pearson's chi-square where counts are large; elsewhere Fisher's
/// exact test of each arm against all others together, the smallest times the number of arms (Bonferroni; times 1 for two arms).
///
/// Conditional on the sizes drawn this is far sharper than comparing the sizes that are left with the weights: a loss of 2 % in one of
/// two arms of 25,000 shifts the split by 2 standard deviations of a coin, but the shares by 13 of their own.
///
/// # Errors
/// Fewer than two arms, an arm nobody was drawn into.
pub fn even(arms: &[Count]) -> Estimate<PValue> {
    if arms.len() < 2 {
        return Err(NotEstimable::TooFewArms);
    }
    let trials: u64 = arms.iter().map(|arm| arm.trials()).sum();
    let successes: u64 = arms.iter().map(|arm| arm.successes()).sum();
    let fewest = arms.iter().map(|arm| arm.trials()).min().unwrap_or_default();
    let rarer = successes.min(trials - successes);
    if rarer as f64 * (fewest as f64 / trials as f64) >= CHI_SQUARE_FROM {
        return Ok(homogeneity(arms)?.p_value);
    }
    let mut smallest = PValue::ONE;
    for arm in arms {
        let others = Count::new(successes - arm.successes(), trials - arm.trials())?;
        let p = fisher(*arm, others)?;
        if p < smallest {
            smallest = p;
        }
    }
    let comparisons = if arms.len() == 2 { 1.0 } else { arms.len() as f64 };
    Ok(PValue::from_ln(smallest.ln() + comparisons.ln()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::decide::CHECK_LEVEL;

    fn check(arms: &[(u64, u64)], alarm: bool) {
        let counts: Vec<Count> = arms.iter().map(|(successes, trials)| Count::new(*successes, *trials).unwrap()).collect();
        assert_eq!(even(&counts).unwrap().at_most(CHECK_LEVEL), alarm, "{arms:?}");
    }

    #[test]
    fn a_loss_in_one_arm_raises_the_alarm_and_the_same_loss_in_all_does_not() {
        check(&[(25_000, 25_000), (24_500, 25_000)], true);
        check(&[(24_480, 25_000), (24_500, 25_000)], false);
        check(&[(24_000, 25_000), (24_500, 25_000), (24_000, 25_000)], true);
        check(&[(0, 100), (3, 100)], false);
        assert!(even(&[Count::new(0, 0).unwrap(), Count::new(3, 100).unwrap()]).is_err());
    }
}
