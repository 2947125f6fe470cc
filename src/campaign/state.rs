//! The life of a campaign.
//!
//! Cast: [`State`]; which step may follow which is written here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// May be changed and thrown away.
    Draft,
    /// Content and plan are frozen; nobody has been mailed.
    Sealed,
    /// Letters of the test are on their way.
    Sending,
    /// Every letter of the test is out; answers come in.
    Observing,
    /// What the rest gets is chosen, and being sent.
    Decided,
    /// Nothing more is sent or recorded.
    Closed,
}

impl State {
    /// Every state, in the order of life.
    pub const ALL: [Self; 6] = [Self::Draft, Self::Sealed, Self::Sending, Self::Observing, Self::Decided, Self::Closed];

    /// The word used in tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Sealed => "sealed",
            Self::Sending => "sending",
            Self::Observing => "observing",
            Self::Decided => "decided",
            Self::Closed => "closed",
        }
    }

    /// Reads the word used in tables.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether `next` may follow directly. Closing is possible from any sealed state: it stops what is under way.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Draft, Self::Sealed)
                | (Self::Sealed, Self::Sending)
                | (Self::Sending, Self::Observing)
                | (Self::Observing, Self::Decided)
                | (Self::Sealed | Self::Sending | Self::Observing | Self::Decided, Self::Closed)
        )
    }

    /// Whether letters may leave.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Sending | Self::Observing | Self::Decided)
    }

    /// Whether hits are recorded.
    pub const fn records(self) -> bool {
        matches!(self, Self::Sending | Self::Observing | Self::Decided)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_goes_forward_only() {
        for from in State::ALL {
            for to in State::ALL {
                if from.may_become(to) {
                    assert!(from < to, "{from} → {to}");
                }
            }
        }
        assert!(!State::Draft.may_become(State::Sending), "nothing is sent before it is sealed");
        assert!(!State::Draft.may_become(State::Closed), "a draft is deleted, not closed");
    }
}
