//! The plan of a test, as it is sealed before the first letter leaves.
//!
//! Cast: [`Design`], [`Metric`], [`Method`], [`Rule`], [`Guard`] with its [`Limit`], [`InvalidDesign`].
//!
//! It holds numbers only: what the variants say is the campaign's affair. What was sealed before a field existed is read with that
//! field's default, and written without it, so that its seal still holds.

use serde::{Deserialize, Serialize};

/// What the arms are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Recipients whose open was seen ÷ delivered letters that were not merely prefetched.
    Open,
    /// Recipients who followed a link ÷ delivered letters.
    Click,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 2] = [Self::Open, Self::Click];

    /// The word used in files and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Click => "click",
        }
    }
}

/// How often the result may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Once, at the sealed time: the most powerful test, and looking earlier decides nothing.
    #[default]
    Fixed,
    /// After every open or click: an e-process that may be looked at at any time and stops when it is clear. It needs more recipients.
    Anytime,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 2] = [Self::Fixed, Self::Anytime];

    /// The word used in files and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Anytime => "anytime",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What must not get worse, whatever the metric says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    /// Letters that came back ÷ letters tried.
    Bounce,
    /// Recipients who unsubscribed ÷ delivered letters.
    Unsubscribe,
    /// Recipients who reported the letter as spam ÷ delivered letters.
    Complaint,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 3] = [Self::Bounce, Self::Unsubscribe, Self::Complaint];

    /// The word used in files and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Unsubscribe => "unsubscribe",
            Self::Complaint => "complaint",
        }
    }
}

/// How much worse than the control a guarded rate may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Which rate.
    pub guard: Guard,
    /// The margin as a difference of rates: 0.005 is half a percentage point. Above 0 up to 0.5.
    pub margin: f64,
    /// One-sided level of this guard. Between 0.0001 and 0.2.
    pub level: f64,
}

impl Limit {
    /// The usual limits: 1 point of bounces, 0.5 points of unsubscriptions, 0.1 points of complaints, each at 5 % one-sided.
    pub const USUAL: [Self; 3] = [
        Self { guard: Guard::Bounce, margin: 0.01, level: 0.05 },
        Self { guard: Guard::Unsubscribe, margin: 0.005, level: 0.05 },
        Self { guard: Guard::Complaint, margin: 0.001, level: 0.05 },
    ];

    fn usual() -> Vec<Self> {
        Self::USUAL.to_vec()
    }
}

/// What happens when the observation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Somebody looks at the result and chooses.
    Hand,
    /// The winner, or without one the control, is sent to the rest by itself.
    Automatic,
}

/// The plan of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// What the arms are compared by.
    pub metric: Metric,
    /// How many recipients each arm gets, relative to the others; the first is the control.
    pub weights: Vec<u32>,
    /// The part of the list that takes part in the test; the rest get what it chooses. Above 0 up to 1.
    pub share: f64,
    /// The chance of calling a difference that is none, two-sided. Above 0 below 0.5.
    pub significance: f64,
    /// Hours from the last letter sent to the verdict.
    pub observe_hours: u32,
    /// What happens then.
    pub rule: Rule,
    /// How often it may be looked at.
    #[serde(default, skip_serializing_if = "Method::is_default")]
    pub method: Method,
    /// The relative lift the test is planned for, 0.2 for a fifth more; the anytime-valid test is tuned to it. Above 0 up to 5.
    #[serde(default = "usual_lift", skip_serializing_if = "is_usual_lift")]
    pub planned_lift: f64,
    /// Metrics that are shown and adjusted together, and never decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary: Vec<Metric>,
    /// What must not get worse.
    #[serde(default = "Limit::usual", skip_serializing_if = "is_usual_guards")]
    pub guards: Vec<Limit>,
    /// The part of the list that receives nothing, to see what the letter itself brings. From 0; share and hold-out together at most 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub holdout: f64,
    /// All arms get the same letter: a test of the set-up itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_letters: bool,
}

const USUAL_LIFT: f64 = 0.2;

fn usual_lift() -> f64 {
    USUAL_LIFT
}

fn is_usual_lift(lift: &f64) -> bool {
    (lift - USUAL_LIFT).abs() < f64::EPSILON
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

fn is_usual_guards(guards: &[Limit]) -> bool {
    guards == Limit::USUAL
}

impl Default for Design {
    /// Two equal arms, clicks, the whole list, 5 %, looked at once after three days, by hand.
    fn default() -> Self {
        Self {
            metric: Metric::Click,
            weights: vec![1, 1],
            share: 1.0,
            significance: 0.05,
            observe_hours: 72,
            rule: Rule::Hand,
            method: Method::Fixed,
            planned_lift: USUAL_LIFT,
            secondary: Vec::new(),
            guards: Limit::usual(),
            holdout: 0.0,
            same_letters: false,
        }
    }
}

/// Which part of a plan is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidDesign {
    /// Too few or too many arms.
    #[error("a test needs 2 to 8 variants, this one has {0}")]
    Arms(usize),
    /// A weight is not usable.
    #[error("a variant's weight must be a whole number from 1 to 100, not {0}")]
    Weight(u32),
    /// The share is out of range.
    #[error("the test share must be above 0 and at most 1 (1 = the whole list), not {0}")]
    Share(f64),
    /// The level is out of range.
    #[error("the significance level must be between 0.0001 and 0.2 (usually 0.05), not {0}")]
    Significance(f64),
    /// The observation is too short or too long.
    #[error("the observation must last 1 to 2,160 hours (90 days), not {0}")]
    Observe(u32),
    /// The planned lift is out of range.
    #[error("the planned lift must be above 0 and at most 5 (0.2 = a fifth more), not {0}")]
    Lift(f64),
    /// The hold-out is out of range.
    #[error("the hold-out must be from 0 to below 1 and, together with the test share, at most 1; it is {0}")]
    Holdout(f64),
    /// A guard's margin is out of range.
    #[error("the margin of guard {} must be above 0 and at most 0.5 (0.005 = half a percentage point), not {margin}", .guard.as_str())]
    Margin {
        /// Which.
        guard: Guard,
        /// What was given.
        margin: f64,
    },
    /// A guard's level is out of range.
    #[error("the level of guard {} must be between 0.0001 and 0.2 (usually 0.05), not {level}", .guard.as_str())]
    GuardLevel {
        /// Which.
        guard: Guard,
        /// What was given.
        level: f64,
    },
    /// A secondary metric is the primary one, or named twice.
    #[error("{} is named twice; a secondary metric is another one than the metric that decides", .0.as_str())]
    Secondary(Metric),
}

impl Design {
    /// Most arms of a test.
    pub const ARMS_MAX: usize = 8;

    /// Checks every range, and answers all that is wrong.
    pub fn faults(&self) -> Vec<InvalidDesign> {
        let mut faults = Vec::new();
        if !(2..=Self::ARMS_MAX).contains(&self.weights.len()) {
            faults.push(InvalidDesign::Arms(self.weights.len()));
        }
        faults.extend(self.weights.iter().filter(|weight| !(1..=100).contains(*weight)).map(|weight| InvalidDesign::Weight(*weight)));
        if !(self.share > 0.0 && self.share <= 1.0) {
            faults.push(InvalidDesign::Share(self.share));
        }
        if !(self.significance >= 0.0001 && self.significance <= 0.2) {
            faults.push(InvalidDesign::Significance(self.significance));
        }
        if !(1..=2160).contains(&self.observe_hours) {
            faults.push(InvalidDesign::Observe(self.observe_hours));
        }
        if !(self.planned_lift > 0.0 && self.planned_lift <= 5.0) {
            faults.push(InvalidDesign::Lift(self.planned_lift));
        }
        // Shares written as decimals may add up to a hair above 1.
        let too_much = self.holdout > 0.0 && self.share <= 1.0 && self.share + self.holdout > 1.0 + 1e-9;
        if !(0.0..1.0).contains(&self.holdout) || too_much {
            faults.push(InvalidDesign::Holdout(self.holdout));
        }
        faults.extend(self.guards.iter().flat_map(guard_faults));
        let named = |index: usize| self.secondary.iter().take(index).chain([&self.metric]);
        let twice = self.secondary.iter().enumerate().filter(|(index, metric)| named(*index).any(|other| other == *metric));
        faults.extend(twice.map(|(_, metric)| InvalidDesign::Secondary(*metric)));
        faults
    }

    /// The effect the anytime-valid test is tuned to: the logarithm of the planned ratio of rates.
    pub fn planned_effect(&self) -> f64 {
        self.planned_lift.ln_1p()
    }
}

fn guard_faults(limit: &Limit) -> Vec<InvalidDesign> {
    let mut faults = Vec::new();
    if !(limit.margin > 0.0 && limit.margin <= 0.5) {
        faults.push(InvalidDesign::Margin { guard: limit.guard, margin: limit.margin });
    }
    if !(limit.level >= 0.0001 && limit.level <= 0.2) {
        faults.push(InvalidDesign::GuardLevel { guard: limit.guard, level: limit.level });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_is_named() {
        assert_eq!(Design::default().faults(), vec![]);
        let guards = vec![Limit { guard: Guard::Bounce, margin: 0.0, level: 0.5 }];
        let bad = Design {
            weights: vec![0],
            share: f64::NAN,
            significance: 0.5,
            observe_hours: 0,
            planned_lift: 0.0,
            secondary: vec![Metric::Click],
            guards,
            holdout: 1.0,
            ..Design::default()
        };
        assert_eq!(bad.faults().len(), 10);
        let crowded = Design { share: 0.8, holdout: 0.3, ..Design::default() };
        assert_eq!(crowded.faults(), vec![InvalidDesign::Holdout(0.3)]);
    }

    // A plan sealed before methods, guards and hold-outs existed reads as what it was, and hashes as it did.
    #[test]
    fn an_older_plan_is_read_and_written_unchanged() {
        let old = r#"{"metric":"click","weights":[1,1],"share":1.0,"significance":0.05,"observe_hours":72,"rule":"hand"}"#;
        let read: Design = serde_json::from_str(old).unwrap();
        assert_eq!(read, Design::default());
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
    }

    #[test]
    fn a_newer_plan_survives_writing_and_reading() {
        let new = Design {
            method: Method::Anytime,
            planned_lift: 0.1,
            secondary: vec![Metric::Open],
            guards: vec![],
            holdout: 0.1,
            share: 0.5,
            same_letters: true,
            ..Design::default()
        };
        let written = serde_json::to_string(&new).unwrap();
        assert_eq!(serde_json::from_str::<Design>(&written).unwrap(), new);
    }
}
