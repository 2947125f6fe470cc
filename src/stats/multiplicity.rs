//! Several comparisons at once: Holm, Benjamini–Hochberg, averaged e-values and the winner by intersection–union.
//!
//! Cast: [`holm`], [`benjamini_hochberg`], [`average_ln_e`], [`WinnerTest`]. Never lowers a p-value.

use serde::Serialize;

use super::proportion::difference_of_rates;
use super::score_interval::{ScoreFamily, score_test};
use super::special::ln_sum_exp;
use super::types::{Count, Estimate, NotEstimable, PValue, require_open_unit, require_trials};

/// Holm's step-down adjusted p-values, in the order given: the running maximum of (m − i + 1) p₍ᵢ₎, capped at 1. Controls the chance of
/// any false finding, whatever the dependence.
///
/// Source: Holm (1979), Scand. J. Stat. 6:65; R `p.adjust(method = "holm")`.
pub fn holm(p_values: &[PValue]) -> Vec<PValue> {
    let order = ascending(p_values);
    let count = p_values.len();
    let mut adjusted = p_values.to_vec();
    let mut running = PValue::from_ln(f64::NEG_INFINITY);
    for (rank, (index, p)) in order.into_iter().enumerate() {
        running = running.max(p.times((count - rank) as f64));
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = running;
        }
    }
    adjusted
}

/// Benjamini–Hochberg adjusted p-values, in the order given: the running minimum from above of m p₍ᵢ₎ / i. Controls the expected share of
/// false findings; for secondary metrics.
///
/// Source: Benjamini & Hochberg (1995), JRSS B 57:289; R `p.adjust(method = "BH")`.
pub fn benjamini_hochberg(p_values: &[PValue]) -> Vec<PValue> {
    let order = ascending(p_values);
    let count = p_values.len();
    let mut adjusted = p_values.to_vec();
    let mut running = PValue::ONE;
    for (rank, (index, p)) in order.into_iter().enumerate().rev() {
        running = running.min(p.times(count as f64 / (rank + 1) as f64));
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = running;
        }
    }
    adjusted
}

fn ascending(p_values: &[PValue]) -> Vec<(usize, PValue)> {
    let mut order: Vec<(usize, PValue)> = p_values.iter().copied().enumerate().collect();
    order.sort_by(|one, other| one.1.ln().total_cmp(&other.1.ln()));
    order
}

/// ln of the mean of e-values given by their logarithms: an e-value for "no difference anywhere", whatever the dependence
/// (Vovk & Wang 2021, Ann. Stat. 49:1736).
///
/// # Errors
/// `TooFewArms` when empty.
pub fn average_ln_e(ln_e: &[f64]) -> Estimate<f64> {
    if ln_e.is_empty() { Err(NotEstimable::TooFewArms) } else { Ok(ln_sum_exp(ln_e) - (ln_e.len() as f64).ln()) }
}

/// Is the arm with the highest rate above every other one?
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WinnerTest {
    /// Index of the arm with the highest rate (the first of equals).
    pub leader: usize,
    /// Index of the arm that is hardest to tell from the leader (the last of equals).
    pub weakest_comparison: usize,
    /// Largest two-sided SCAS p-value of the leader against any other arm.
    pub p_max: PValue,
    /// The leader when `p_max` ≤ alpha.
    pub winner: Option<usize>,
}

/// Winner against all others by intersection–union: the leader wins when each comparison with it is significant at `alpha`. No further
/// adjustment is needed, since the null "some other arm is as good" is a union.
///
/// Source: Berger (1982), Technometrics 24:295; SCAS per comparison (Laud 2017). Equal rates at the top → p = 1, no winner.
///
/// # Errors
/// `TooFewArms`, `EmptyArm`, `Invalid` alpha.
pub fn winner(arms: &[Count], alpha: f64) -> Estimate<WinnerTest> {
    require_open_unit("alpha", alpha)?;
    require_trials(arms)?;
    let mut numbered = arms.iter().copied().enumerate();
    let (mut leader, mut best) = numbered.next().ok_or(NotEstimable::TooFewArms)?;
    for (index, arm) in numbered {
        if difference_of_rates(best, arm) > 0.0 {
            (leader, best) = (index, arm);
        }
    }
    let mut weakest: Option<(usize, PValue)> = None;
    for (index, arm) in arms.iter().copied().enumerate().filter(|(index, _)| *index != leader) {
        let p = score_test(ScoreFamily::SkewnessCorrected, arm, best)?.p_value;
        if weakest.is_none_or(|(_, highest)| p >= highest) {
            weakest = Some((index, p));
        }
    }
    let (weakest_comparison, p_max) = weakest.ok_or(NotEstimable::TooFewArms)?;
    Ok(WinnerTest { leader, weakest_comparison, p_max, winner: p_max.at_most(alpha).then_some(leader) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(adjusted: &[PValue]) -> Vec<f64> {
        adjusted.iter().map(|p| (p.value() * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn the_textbook_adjustments_come_out_in_the_given_order() {
        let raw: Vec<PValue> = [0.04, 0.01, 0.03, 0.005].into_iter().map(PValue::from_value).collect();
        assert_eq!(values(&holm(&raw)), [0.06, 0.03, 0.06, 0.02]);
        assert_eq!(values(&benjamini_hochberg(&raw)), [0.04, 0.02, 0.04, 0.02]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn only_a_clear_leader_wins() {
        let arms = |top: u64| vec![Count::new(100, 1_000).unwrap(), Count::new(top, 1_000).unwrap(), Count::new(105, 1_000).unwrap()];
        assert_eq!(winner(&arms(200), 0.05).unwrap().winner, Some(1));
        let close = winner(&arms(106), 0.05).unwrap();
        assert_eq!((close.leader, close.weakest_comparison, close.winner), (1, 2, None));
        assert_eq!(winner(&arms(200)[..1], 0.05), Err(NotEstimable::TooFewArms));
    }

    #[test]
    fn averaging_e_values_averages_them() {
        assert!((average_ln_e(&[1.0f64.ln(), 3.0f64.ln()]).unwrap() - 2.0f64.ln()).abs() < 1e-15);
    }
}
