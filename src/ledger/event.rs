//! One fact, as it is stored: a delivery's outcome or a hit.
//!
//! Cast: [`Event`], [`EventKind`], [`Hit`] (what is kept of a request), [`Whose`] (a recipient, or an arm as a whole).
//!
//! It never carries an address, a user agent or a hash of them; a hit holds closed values only.

use jiff::Timestamp;

use crate::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, VariantNumber};
use crate::ledger::subject::Part;
use crate::signal::Verdict;
use crate::signal::{ClientFamily, DeviceClass};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The relay accepted the letter.
    Sent,
    /// The relay refused it.
    Refused,
    /// It was tried for too long.
    Failed,
    /// It was not to be sent any more.
    Skipped,
    /// The connection was lost before the relay's last answer: nobody knows.
    Uncertain,
    /// It came back.
    Bounced,
    /// The recipient reported it as spam.
    Complained,
    /// The recipient wants no more letters.
    Unsubscribed,
    /// The pixel was loaded.
    Open,
    /// A link was followed.
    Click,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Sent,
        Self::Refused,
        Self::Failed,
        Self::Skipped,
        Self::Uncertain,
        Self::Bounced,
        Self::Complained,
        Self::Unsubscribed,
        Self::Open,
        Self::Click,
    ];

    /// The word used in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Uncertain => "uncertain",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
            Self::Open => "open",
            Self::Click => "click",
        }
    }

    /// Reads the word used in tables.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Whom a fact belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One recipient.
    Recipient(Pseudonym),
    /// Everyone of an arm whose recording mode is `aggregate`: counted, never unique.
    Arm {
        /// The arm.
        variant: VariantNumber,
        /// Those in the test, or those who got what it chose.
        part: Part,
    },
}

/// What is kept of a request for a pixel or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The link followed; none for a pixel.
    pub link: Option<LinkNumber>,
    /// Person, proxy or machine, and why.
    pub verdict: Verdict,
    /// Mail client or browser, from a short closed list.
    pub family: ClientFamily,
    /// Phone, tablet or desktop.
    pub device: DeviceClass,
    /// How many requests this hit stands for; 0 for a retry that an earlier hit stands for.
    pub multiplicity: u16,
}

/// One fact. The same id is stored at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its identity.
    pub id: EventId,
    /// The campaign it belongs to.
    pub campaign: CampaignNumber,
    /// The recipient or arm it belongs to.
    pub whose: Whose,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// For hits: what is kept of the request.
    pub hit: Option<Hit>,
    /// For deliveries: a closed word, such as `hard` or `block`.
    pub reason: Option<String>,
}
