//! The plan of a test, as it is sealed before the first letter leaves.
//!
//! Cast: [`Design`], [`Metric`], [`Rule`], [`InvalidDesign`].
//!
//! It holds numbers only: what the variants say is the campaign's affair.

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
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_is_named() {
        let good =
            Design { metric: Metric::Click, weights: vec![1, 1], share: 1.0, significance: 0.05, observe_hours: 24, rule: Rule::Hand };
        assert_eq!(good.faults(), vec![]);
        let bad = Design { weights: vec![0], share: f64::NAN, significance: 0.5, observe_hours: 0, ..good };
        assert_eq!(bad.faults().len(), 5);
    }
}
