//! The statistics room: numbers in, numbers out.
//!
//! Cast: [`Count`], [`Level`], [`PValue`], [`Interval`] and one file per family of methods. Everything takes sufficient
//! statistics and answers with a value or with [`NotEstimable`], the reason why there is none. Small p-values live on the log
//! scale. Never names a recipient, a date or a campaign, never reads a clock, never draws a random number.

mod balance;
mod bayes;
mod beta;
mod exact;
mod hypergeometric;
mod mean;
mod multiplicity;
mod pace;
mod power;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod properties_more;
mod proportion;
mod quadrature;
mod ratio;
mod restricted;
mod roots;
mod score;
mod score_cases;
mod score_interval;
mod sequential;
mod special;
mod student;
mod tails;
mod types;

pub use balance::{ChiSquareTest, homogeneity, machine_balance, sample_ratio};
pub use bayes::{BestReading, ExpectedLosses, Posterior, best_of, expected_losses, lift_interval, ln_prob_b_beats_a, prob_b_beats_a};
pub use beta::{BetaTails, beta_distribution};
pub use exact::{BOSCHLOO_LIMIT, BoschlooTest, boschloo, clopper_pearson, fisher, fisher_mid_p, ln_binomial_at_least, ln_binomial_at_most};
pub use mean::{LiftReading, MeanSummary, WelchReading, concentration, mean_lift, welch, winsorised};
pub use multiplicity::{WinnerTest, average_ln_e, benjamini_hochberg, holm, winner};
pub use pace::{PaceBand, PaceTrace};
pub use power::{
    DetectableEffect, Dilution, Plan, SampleSize, detectable_difference_of_means, detectable_effect, dilution, power_means,
    power_two_proportions, sample_size_means, sample_size_two_proportions, test_and_roll,
};
pub use proportion::{ZTest, agresti_caffo_difference, katz_ratio, newcombe_difference, pooled_z, wilson};
pub use ratio::{DeltaReading, RatioSums, delta_ratio};
pub use score::{MethodScore, ScoreError, score};
pub use score_interval::{
    RatioReading, ScoreFamily, ScoreReading, guard_not_worse, koopman_ratio, mee_difference, miettinen_nurminen_difference,
    scas_difference, scas_ratio, score_difference, score_ratio, score_test,
};
pub use sequential::{
    Arm, AsymptoticReading, LabelReading, UrnProcess, asymptotic_sequence, e_to_p, label_sequence, rate_sequence, sample_ratio_sequence,
};
pub use student::{ln_student_sf, student_isf, two_sided_student};
pub use tails::{ln_chi_square_sf, ln_normal_sf, normal_cdf, normal_isf, normal_sf, two_sided_normal};
pub use types::{Count, Estimate, Interval, InvalidInput, Level, MAX_TRIALS, NotEstimable, PValue, RatioInterval};
