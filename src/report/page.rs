//! A result as plain numbers: what the page shows, the command prints and the API and exports carry.
//!
//! Cast: [`ResultPage`], its arms, comparisons, countings, checks and the sealed plan. Rates are fractions, differences are variant − control.
//! It holds counts per arm only: no person, no pseudonym.

use serde::{Deserialize, Serialize};

/// A whole result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultPage {
    /// The campaign's name.
    pub campaign: String,
    /// The campaign's state as a word.
    pub state: String,
    /// When it was computed, in words with its zone.
    pub as_of: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What differs between the arms, for example `subject`.
    pub element: String,
    /// What is compared, for example `click rate`.
    pub metric: String,
    /// What the rate is a share of, for example `delivered`.
    pub denominator: String,
    /// Confidence of the intervals, for example 0.95.
    pub confidence: f64,
    /// Name of the method of test and interval.
    pub method: String,
    /// The arms, control first.
    pub arms: Vec<Arm>,
    /// Every variant against the control.
    pub comparisons: Vec<Comparison>,
    /// The same comparison under raw, standard and strict counting.
    pub countings: Vec<Counting>,
    /// Whether the countings agree, and what that means.
    pub agreement: Agreement,
    /// Sample ratio, machine balance, enough data, guards.
    pub checks: Vec<Check>,
    /// Hits by class, each with one count per arm in the order of `arms`.
    pub hits: Vec<HitClass>,
    /// Doubts in plain words.
    pub notes: Vec<String>,
    /// The plan as it was sealed.
    pub plan: SealedPlan,
    /// The chances, in words: beside the verdict, never instead of it. Empty where they cannot be estimated.
    #[serde(default)]
    pub chances: String,
    /// p-value of "all arms are equal", for more than two.
    #[serde(default)]
    pub all_equal_p_value: Option<f64>,
    /// Until when opens and clicks count for the verdict, in words; none while it is still open.
    #[serde(default)]
    pub counted_until: Option<String>,
    /// When the sealed time's facts were written down, in words; none before.
    #[serde(default)]
    pub looked_at: Option<String>,
    /// The anytime-valid reading over time.
    #[serde(default)]
    pub anytime: Option<Anytime>,
    /// What must not get worse, per variant.
    #[serde(default)]
    pub guards: Vec<GuardLine>,
    /// Metrics that do not decide.
    #[serde(default)]
    pub secondary: Vec<Secondary>,
    /// What the delivered letters can show.
    #[serde(default)]
    pub reached: Option<Reached>,
    /// Clicks ÷ opens, never tested.
    #[serde(default)]
    pub clicks_to_opens: Option<ClicksToOpens>,
    /// Recipients held out: they received nothing.
    #[serde(default)]
    pub held_out: u64,
    /// What the rest got or get; none before it is chosen.
    #[serde(default)]
    pub chosen: Option<Chosen>,
    /// In what each variant differs from the control, and how that was shown before the launch; empty for a draft.
    #[serde(default)]
    pub difference: Vec<String>,
}

/// What was chosen for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The variant's letter.
    pub variant: String,
    /// Who or what chose it.
    pub by: String,
    /// When, in words.
    pub at: Option<String>,
    /// What it went against, in words, as it stood then; none when it followed the plan.
    pub against: Option<String>,
}

/// A test that may be looked at whenever one likes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anytime {
    /// Whether this reading decides (sealed as method), or only stands beside a verdict at a fixed time.
    pub decides: bool,
    /// The method, with author and year.
    pub method: String,
    /// Confidence of the band, simultaneously over all times.
    pub confidence: f64,
    /// What the band says, and why it agrees with the p-value.
    #[serde(default)]
    pub band_words: String,
    /// Since when the recipients at risk stand fast, in words; none before the last letter of the test is out, and where this does not decide.
    #[serde(default)]
    pub at_risk_since: Option<String>,
    /// Recipients at risk per arm in the order of `arms`.
    #[serde(default)]
    pub at_risk: Vec<u64>,
    /// The first crossing of the bound, as it was written down: never taken back.
    #[serde(default)]
    pub crossing: Option<CrossingLine>,
    /// One line per variant, against the control.
    pub variants: Vec<AnytimeLine>,
    /// In words.
    pub sentence: String,
}

/// The first crossing of the anytime-valid bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrossingLine {
    /// The letter of the arm that crossed it against every other.
    pub variant: String,
    /// When it happened, to the minute, in words.
    pub at: String,
    /// First successes up to and with it.
    pub after: u64,
    /// First successes of each arm by then, in the order of `arms`.
    pub successes: Vec<u64>,
    /// The largest anytime p-value against any other arm, then.
    pub p_value: f64,
    /// The evidence against every other arm, as an e-value: at least 1 / level. None beyond 1e300.
    pub e_value: Option<f64>,
    /// When it was written down, in words.
    pub found_at: Option<String>,
    /// When every check let it pass, in words; none while a check forbids it.
    pub settled_at: Option<String>,
}

/// The anytime-valid reading of one variant against the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnytimeLine {
    /// The variant's letter.
    pub variant: String,
    /// The smallest p-value so far; looking often does not make it wrong.
    pub p_value: f64,
    /// The band of the ratio of paces, variant / control, in the order of time; at most some dozens of points. The pace is the rate of first
    /// successes among those who have had none yet; where few succeed its ratio is that of the rates.
    pub band: Vec<BandPoint>,
}

/// The band at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BandPoint {
    /// Milliseconds since 1970 (UTC).
    pub at: i64,
    /// The likeliest ratio of paces, variant / control; none before both have a success.
    pub ratio: Option<f64>,
    /// Lower end.
    pub lower: f64,
    /// Upper end; none where there is none yet.
    pub upper: Option<f64>,
    /// The smallest p-value up to this moment. It is at most the level exactly when the band leaves out 1.
    pub p_value: f64,
    /// No single ratio fits all the time so far: the effect has changed.
    #[serde(default)]
    pub varies: bool,
}

/// A guarded rate of a variant beside the control's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardLine {
    /// `bounce`, `unsubscribe` or `complaint`.
    pub guard: String,
    /// The variant's letter.
    pub variant: String,
    /// The control's `(cases, recipients)`.
    pub control_count: (u64, u64),
    /// The variant's `(cases, recipients)`.
    pub count: (u64, u64),
    /// How much worse it may be, as a difference of rates.
    pub margin: f64,
    /// One-sided level.
    pub level: f64,
    /// One-sided p-value against "worse by the margin or more".
    pub p_value: Option<f64>,
    /// Held, open or broken as ok, doubt or stop.
    pub state: CheckLevel,
    /// In words.
    pub sentence: String,
}

/// A metric that is shown and does not decide.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Secondary {
    /// For example `open rate`.
    pub metric: String,
    /// `(successes, recipients)` per arm in the order of `arms`.
    pub counts: Vec<(u64, u64)>,
    /// The rates with their intervals.
    pub rates: Vec<Estimate>,
    /// Every variant against the control; adjusted over all secondary comparisons (Benjamini–Hochberg).
    pub comparisons: Vec<Comparison>,
}

/// What the delivered letters can show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// The power this is reckoned with, for example 0.8.
    pub power: f64,
    /// The smallest relative lift found with that power.
    pub lift: f64,
    /// The same as a difference of rates.
    pub difference: f64,
    /// The lift the test was planned for.
    pub planned_lift: f64,
    /// The chance to find the planned lift.
    pub chance_of_planned: Option<f64>,
    /// In words.
    pub sentence: String,
}

/// Clicks ÷ opens per arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClicksToOpens {
    /// Per arm in the order of `arms`, with intervals by the delta method.
    pub ratios: Vec<Estimate>,
    /// Of each variant, variant − control, in the order of the variants.
    #[serde(default)]
    pub differences: Vec<Estimate>,
    /// How many recipients of each arm count for both, in the order of `arms`.
    #[serde(default)]
    pub both: Vec<u64>,
    /// Name of the method of the intervals.
    #[serde(default)]
    pub method: String,
    /// Why it is not tested.
    pub why_not_tested: String,
}

/// How the verdict came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A variant is better at the sealed level and every check lets it pass.
    Winner,
    /// The test is over and shows no difference.
    NoWinner,
    /// The sealed time has not come.
    NotYet,
    /// A check forbids a verdict.
    Stopped,
    /// The counts allow no estimate.
    NotEstimable,
}

/// The verdict in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// How it came out.
    pub outcome: Outcome,
    /// The winner's letter.
    pub winner: Option<String>,
    /// One sentence.
    pub sentence: String,
    /// One or two more, or empty.
    pub detail: String,
}

/// An estimate with its interval, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Estimate {
    /// Estimable.
    Interval {
        /// The estimate.
        estimate: f64,
        /// Lower end.
        lower: f64,
        /// Upper end.
        upper: f64,
    },
    /// Not estimable.
    NotEstimable {
        /// Why.
        not_estimable: String,
    },
}

/// One arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Arm {
    /// A to D; the first arm is the control.
    pub letter: String,
    /// What the varied element is in this arm.
    pub value: String,
    /// Recipients assigned.
    pub enrolled: u64,
    /// Accepted by the relay.
    pub sent: u64,
    /// Sent and not returned.
    pub delivered: u64,
    /// Not mailed on purpose.
    pub skipped: u64,
    /// Given up.
    pub failed: u64,
    /// Still to be mailed.
    pub waiting: u64,
    /// Sent and returned.
    pub bounced: u64,
    /// Recipients who unsubscribed.
    pub unsubscribed: u64,
    /// Recipients who count as success, standard counting.
    pub successes: u64,
    /// Recipients who could, standard counting.
    pub trials: u64,
    /// The rate with its interval.
    pub rate: Estimate,
    /// Chance that this arm has the highest rate.
    #[serde(default)]
    pub chance_to_be_best: Option<f64>,
    /// What choosing this arm costs on average, as a difference of rates to the best.
    #[serde(default)]
    pub expected_loss: Option<f64>,
    /// Recipients who reported the letter as spam.
    #[serde(default)]
    pub complained: u64,
}

/// A variant against the control.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The variant's letter.
    pub variant: String,
    /// The control's letter.
    pub control: String,
    /// Difference of the rates, variant − control.
    pub difference: Estimate,
    /// Ratio of the rates, variant / control.
    pub ratio: Estimate,
    /// p-value of no difference.
    pub p_value: Option<f64>,
    /// The same adjusted for several variants; equal when there is one.
    pub adjusted_p_value: Option<f64>,
    /// Which test gave the p-value.
    pub method: String,
    /// Other readings of the same counts, for reviewers: they do not decide.
    pub also: Vec<Reading>,
    /// Chance that the variant's rate is higher than the control's.
    #[serde(default)]
    pub chance_better: Option<f64>,
    /// Credible interval of the relative lift, variant / control − 1.
    #[serde(default)]
    pub lift: Option<Estimate>,
}

/// Another method's reading of a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reading {
    /// Its name, with author and year.
    pub method: String,
    /// Its p-value, if it has one.
    pub p_value: Option<f64>,
    /// Its interval of the difference, if it has one.
    pub difference: Option<Estimate>,
}

/// One way of counting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counting {
    /// `raw`, `standard` or `strict`.
    pub counting: String,
    /// Which hits count, in words.
    pub meaning: String,
    /// `(successes, trials)` per arm in the order of `arms`.
    pub counts: Vec<(u64, u64)>,
    /// Difference of the leading variant to the control.
    pub difference: Estimate,
    /// Its p-value.
    pub p_value: Option<f64>,
    /// What the verdict would be, in a few words.
    pub verdict: String,
}

/// Whether the countings agree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agreement {
    /// They lead to the same verdict.
    pub agree: bool,
    /// In words.
    pub note: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// As it should be.
    Ok,
    /// A doubt.
    Warn,
    /// Forbids a verdict.
    Stop,
}

/// A check of the experiment itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// For example `Sample ratio`.
    pub name: String,
    /// How it came out.
    pub level: CheckLevel,
    /// In words.
    pub sentence: String,
    /// The figure behind it, for example `p = 0.61`, or empty.
    pub figure: String,
}

/// Hits of one class.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HitClass {
    /// `human`, `proxied`, `prefetch`, `scanner` or `unknown`.
    pub class: String,
    /// What it means.
    pub meaning: String,
    /// Pixel hits of this class per arm.
    pub opens: Vec<u64>,
    /// Link hits of this class per arm.
    pub clicks: Vec<u64>,
}

/// The plan as it was sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealedPlan {
    /// SHA-256, hexadecimal.
    pub hash: String,
    /// When, in words with its zone.
    pub sealed_at: String,
    /// Seed of the assignment.
    pub seed: String,
    /// Primary metric.
    pub metric: String,
    /// Share of the list in the test, in words.
    pub test_share: String,
    /// Weights of the arms, in words.
    pub weights: String,
    /// Significance level, in words.
    pub level: String,
    /// When it is looked at, in words.
    pub horizon: String,
    /// Rule for the winner, in words.
    pub rule: String,
    /// What was done differently from the plan; empty is best.
    pub deviations: Vec<String>,
}
