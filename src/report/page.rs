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
    /// Recipients with such an open per arm.
    pub opens: Vec<u64>,
    /// Recipients with such a click per arm.
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
