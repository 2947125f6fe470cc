//! What the vault knows of people, as values: lists, subscribers, consent, suppression.
//!
//! Cast: [`List`], [`Person`] (all that a letter needs), [`RosterEntry`] (all that enrolment needs), [`Consent`], [`Suppression`],
//! [`NoSuchList`] (the one way to say it).
//!
//! Plain data only; the store reads and writes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::address::EmailAddress;
use crate::ids::{RecordingMode, SubscriberId};

/// A list, with how many people are on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct List {
    /// Its name, unique.
    pub name: String,
    /// People on it, suppressed ones included.
    pub people: u64,
    /// Those of them who may not be mailed.
    pub suppressed: u64,
}

/// Nobody called a list so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no list is named {wanted:?}; {}", there(known))]
pub struct NoSuchList {
    /// What was asked for.
    pub wanted: String,
    /// The names of the lists there are.
    pub known: Vec<String>,
}

fn there(known: &[String]) -> String {
    if known.is_empty() { "there are none yet: import people first".to_owned() } else { format!("there are: {}", known.join(", ")) }
}

/// The source of a consent that nobody stated: the operator's default, which any statement replaces, whatever its date.
pub const NOT_STATED: &str = "not stated";

/// What a person agreed to, from where, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// What may be recorded.
    pub mode: RecordingMode,
    /// Where the agreement was given, in the operator's words.
    pub source: String,
    /// When it was given.
    pub at: Timestamp,
}

/// A person as a letter needs them. Holds the address: hand it on only to the message.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub id: SubscriberId,
    /// Where to.
    pub address: EmailAddress,
    /// Merge fields.
    pub attributes: BTreeMap<String, String>,
    /// What may be recorded now.
    pub recording: RecordingMode,
    /// Why they may not be mailed, if so.
    pub suppressed: Option<Suppression>,
}

/// A person as enrolment needs them: without name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterEntry {
    /// Who.
    pub id: SubscriberId,
    /// A large mailbox provider, by the domain or by its MX as far as that was asked; or `other`.
    pub provider: String,
    /// What may be recorded.
    pub recording: RecordingMode,
}

/// Why a person is not mailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppression {
    /// They asked for no more letters.
    Unsubscribed,
    /// The address does not exist.
    HardBounce,
    /// They reported a letter as spam.
    Complaint,
    /// The operator decided so.
    ByHand,
}

impl Serialize for Suppression {
    // The word that an import takes.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Suppression {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Unsubscribed, Self::HardBounce, Self::Complaint, Self::ByHand];

    /// The word used in tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsubscribed => "unsubscribed",
            Self::HardBounce => "hard bounce",
            Self::Complaint => "complaint",
            Self::ByHand => "by hand",
        }
    }
}
