//! A letter to one person, from planned to its one final state.
//!
//! Cast: [`NewMailing`], [`Leased`] (being sent by one worker), [`Verdict`] (what became of an attempt), [`Outcome`] (waiting to be
//! copied to the ledger), [`Attempt`] (one try), [`Fate`] (a letter on a person's page), [`Counts`] and [`Reason`].
//!
//! Plain data; the store reads and writes it.

use jiff::Timestamp;

use crate::ids::{CampaignNumber, EventId, MailingId, Pseudonym, RecordingMode, SubscriberId, VariantNumber};

/// A mailing to be planned.
#[derive(Debug, Clone)]
pub struct NewMailing<'a> {
    /// Its id.
    pub id: MailingId,
    /// Of which campaign.
    pub campaign: CampaignNumber,
    /// To whom.
    pub subscriber: SubscriberId,
    /// The only link between the pseudonym and the person.
    pub pseudonym: Pseudonym,
    /// The arm; none for the rest, who wait for the test's choice, and for the held out.
    pub variant: Option<VariantNumber>,
    /// Gets nothing, by plan: skipped from the start.
    pub held_out: bool,
    /// What the assignment was balanced within.
    pub stratum: &'a str,
    /// The large mailbox provider, or `other`: what throttles count by.
    pub provider: &'a str,
    /// What may be recorded.
    pub recording: RecordingMode,
    /// Place in the sending order.
    pub position: u64,
    /// Not to leave before, where the moment of sending is what varies.
    pub not_before: Option<Timestamp>,
}

/// A mailing as planned, without the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Place in the sending order.
    pub position: u64,
    /// Who, within this campaign.
    pub pseudonym: Pseudonym,
    /// The arm.
    pub variant: VariantNumber,
    /// What the assignment was balanced within.
    pub stratum: String,
    /// What may be recorded.
    pub recording: RecordingMode,
}

/// A recipient as drawn, without the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Place in the sending order.
    pub position: u64,
    /// Who, within this campaign.
    pub pseudonym: Pseudonym,
    /// The arm; none for the rest and the held out.
    pub variant: Option<VariantNumber>,
    /// Gets nothing.
    pub held_out: bool,
    /// What the assignment was balanced within.
    pub stratum: String,
}

/// A mailing one worker holds until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Its id.
    pub id: MailingId,
    /// Of which campaign.
    pub campaign: CampaignNumber,
    /// To whom.
    pub subscriber: SubscriberId,
    /// Who, within this campaign.
    pub pseudonym: Pseudonym,
    /// The arm.
    pub variant: VariantNumber,
    /// The large mailbox provider, or `other`.
    pub provider: String,
    /// Whether the person got what the test chose, after it.
    pub is_rest: bool,
    /// What may be recorded.
    pub recording: RecordingMode,
    /// Attempts before this one.
    pub attempts: u32,
    /// When it was first tried.
    pub first_attempt_at: Option<Timestamp>,
}

/// Where a mailing comes from or is found by a returned letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: MailingId,
    /// Of which campaign.
    pub campaign: CampaignNumber,
    /// To whom.
    pub subscriber: SubscriberId,
    /// Who, within that campaign.
    pub pseudonym: Pseudonym,
}

/// The class of a refusal that says the address does not exist: the first word of its reason.
pub const HARD: &str = "hard";

/// What becomes of a mailing after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The relay has it.
    Accepted,
    /// To be tried again then.
    Deferred {
        /// When.
        until: Timestamp,
        /// Why, in closed words and codes.
        reason: String,
    },
    /// The relay will not take it.
    Refused {
        /// Why: a class and a code.
        reason: String,
    },
    /// Tried for too long.
    Failed {
        /// Why it did not work the last time.
        reason: String,
    },
    /// Not to be sent any more.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Lost between the last dot and the answer.
    Unknown,
    /// Not tried: its turn comes then. Counts as no attempt.
    Postponed {
        /// When.
        until: Timestamp,
    },
}

/// One try, as the relay's words tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Attempt {
    /// Through which relay.
    pub relay: String,
    /// Where in the conversation it ended.
    pub stage: String,
    /// The reply code, where there was a reply.
    pub code: Option<u16>,
    /// The RFC 3463 code.
    pub enhanced: Option<String>,
    /// The rest of the reply, addresses masked; of an accepted letter with the relay's queue id, where it gave one.
    pub text: String,
}

/// A letter as a person's page shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fate {
    /// Of which campaign.
    pub campaign: CampaignNumber,
    /// `queued`, `accepted`, `refused` …
    pub state: String,
    /// Why, where there is a reason.
    pub reason: Option<String>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// Every try, the oldest first.
    pub attempts: Vec<(Timestamp, String, Attempt)>,
}

/// How many letters ended so, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// `accepted`, `refused`, `failed`, `skipped` or `unknown`.
    pub state: String,
    /// A class and a code, or words; empty where there is nothing to say.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// The end of an attempt, on its way into the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which mailing; its recording mode is the one the letter was made with.
    pub mailing: Leased,
    /// What became of it.
    pub verdict: Verdict,
    /// The try behind it, if there was one.
    pub attempt: Option<Attempt>,
    /// The id its outcome gets in the ledger.
    pub event: EventId,
    /// When.
    pub at: Timestamp,
}

/// What happened to a mailing, as the ledger will call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Accepted by the relay.
    Sent,
    /// Refused by the relay.
    Refused,
    /// Given up.
    Failed,
    /// Not sent.
    Skipped,
    /// Nobody knows.
    Uncertain,
    /// Came back.
    Bounced,
    /// Reported as spam.
    Complained,
    /// Answered by unsubscribing.
    Unsubscribed,
}

impl OutcomeKind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Sent, Self::Refused, Self::Failed, Self::Skipped, Self::Uncertain, Self::Bounced, Self::Complained, Self::Unsubscribed];

    /// The word used in tables, the same as the ledger's.
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
        }
    }
}

/// An outcome waiting to be copied to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its id there.
    pub event: EventId,
    /// Of which campaign.
    pub campaign: CampaignNumber,
    /// Who, within that campaign.
    pub pseudonym: Pseudonym,
    /// What happened.
    pub kind: OutcomeKind,
    /// A closed word, such as `hard`.
    pub reason: String,
    /// For a letter handed over: what may be recorded of it, where that is less than planned, because the person agreed to less since.
    pub recording: Option<RecordingMode>,
    /// When.
    pub at: Timestamp,
}

/// How many mailings of a campaign are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// All of them, the waiting rest included.
    pub enrolled: u64,
    /// Not to be sent yet.
    pub planned: u64,
    /// Waiting for their turn.
    pub queued: u64,
    /// In a worker's hands.
    pub in_hand: u64,
    /// Accepted by the relay.
    pub accepted: u64,
    /// Refused by it.
    pub refused: u64,
    /// Given up.
    pub failed: u64,
    /// Not sent.
    pub skipped: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Counts {
    /// Those that still have to leave.
    pub const fn waiting(&self) -> u64 {
        self.planned + self.queued + self.in_hand
    }

    /// Those whose fate is sealed.
    pub const fn finished(&self) -> u64 {
        self.accepted + self.refused + self.failed + self.skipped + self.unknown
    }
}
