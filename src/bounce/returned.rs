//! From a message to what it says: the order in which the standards are tried.
//!
//! Cast: [`read`]; [`Returned`], its result; [`RecipientStatus`], one recipient's fate.
//!
//! It never fails and never guesses: what no standard explains is [`ReturnedKind::NotUnderstood`], to be kept, counted and shown.

use std::fmt;

use super::codes::EnhancedCode;
use super::identity::{self, TokenCandidate};
use super::mail::Mail;
use super::reason::{self, BounceClass};
use super::{arf, autoreply, dsn, freeform};

/// Larger messages are not looked at at all.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a message that came back is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnedKind {
    /// Delivery failed for at least one recipient.
    Failed,
    /// Still being tried: never a failure.
    Delayed,
    /// Delivered, passed on or expanded: clears earlier soft failures.
    Delivered,
    /// An automatic reply of a person's mailbox: never counted.
    AutoReply,
    /// A request to prove that the sender is human: never counted.
    Challenge,
    /// The recipient called the letter spam.
    Complaint,
    /// A complaint was taken back (RFC 6430).
    ComplaintWithdrawn,
    /// A report about DKIM, SPF or DMARC (RFC 6591): ours to repair, says nothing of the recipient.
    AuthenticationReport,
    /// A read receipt (RFC 8098).
    Disposition,
    /// A mail that asks to unsubscribe.
    Unsubscribe,
    /// None of the above, and why.
    NotUnderstood(Obstacle),
}

/// Why a message was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// Not a message, or built to be expensive to read.
    NotReadable,
    /// Larger than is looked at.
    TooLarge,
    /// A mail system wrote it, in a form that is no standard.
    FreeForm,
    /// Nothing suggests that it is a report: perhaps a person answered.
    Ordinary,
}

/// What happened to a letter (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given up.
    Failed,
    /// Not yet, still trying.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a system that reports nothing further.
    Relayed,
    /// Handed to the members of a list.
    Expanded,
}

/// An address a report names. A cross-check only: reports are not authenticated. Prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedAddress(String);

impl MaskedAddress {
    /// Takes an address in angle brackets or bare; `None` when it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let inner = text.trim().trim_matches(['<', '>', '"', ' ']);
        let (local, domain) = inner.rsplit_once('@')?;
        let sound =
            !local.is_empty() && !domain.is_empty() && inner.len() <= 320 && !inner.chars().any(char::is_control) && !domain.contains(' ');
        sound.then(|| Self(inner.to_owned()))
    }

    /// The address itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MaskedAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***@***")
    }
}

/// What a report says of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientStatus {
    /// What happened.
    pub action: Action,
    /// The reporting server's code.
    pub status: Option<EnhancedCode>,
    /// What a failure means for the mailbox; present exactly when `action` is failed.
    pub class: Option<BounceClass>,
    /// The receiving server's words, addresses removed, at most 500 characters; may be empty.
    pub diagnostic: String,
    /// The recipient as we wrote it.
    pub original_recipient: Option<MaskedAddress>,
    /// The recipient after forwarding.
    pub final_recipient: Option<MaskedAddress>,
}

/// What a message that came back says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// What it is.
    pub kind: ReturnedKind,
    /// Per recipient, where a report lists them.
    pub recipients: Vec<RecipientStatus>,
    /// The heaviest class among the failed recipients; present exactly when `kind` is failed.
    pub class: Option<BounceClass>,
    /// Whose letter it may be about, best first, for the caller to authenticate. At most 16.
    pub candidates: Vec<TokenCandidate>,
}

impl Returned {
    fn plain(kind: ReturnedKind, candidates: Vec<TokenCandidate>) -> Self {
        Self { kind, recipients: Vec::new(), class: None, candidates }
    }

    fn from_recipients(recipients: Vec<RecipientStatus>, candidates: Vec<TokenCandidate>) -> Self {
        let class = recipients.iter().filter_map(|recipient| recipient.class).max();
        let kind = if class.is_some() {
            ReturnedKind::Failed
        } else if recipients.iter().any(|recipient| recipient.action == Action::Delayed) {
            ReturnedKind::Delayed
        } else {
            ReturnedKind::Delivered
        };
        Self { kind, recipients, class, candidates }
    }
}

/// Reads a message as it was received. `candidates` hold whatever has the shape of a token; the SMTP envelope is the caller's to add.
pub fn read(message: &[u8]) -> Returned {
    if message.len() > BYTES_MAX {
        return Returned::plain(ReturnedKind::NotUnderstood(Obstacle::TooLarge), Vec::new());
    }
    let Some(mail) = Mail::parse(message) else {
        return Returned::plain(ReturnedKind::NotUnderstood(Obstacle::NotReadable), Vec::new());
    };
    let feedback = mail.part(&["message/feedback-report"]);
    if let Some(kind) = feedback.as_deref().and_then(arf::kind).or_else(|| arf::junk_mail_report(&mail)) {
        return Returned::plain(kind, identity::candidates(&mail, None));
    }
    if mail.report_type() == "disposition-notification" || mail.part(&["message/disposition-notification"]).is_some() {
        return Returned::plain(ReturnedKind::Disposition, identity::candidates(&mail, None));
    }
    let own_text = mail.own_text();
    if autoreply::is_challenge(&mail, &own_text) {
        return Returned::plain(ReturnedKind::Challenge, identity::candidates(&mail, None));
    }
    let report = mail.part(&["message/delivery-status", "message/global-delivery-status"]).map(|text| dsn::read(&text)).unwrap_or_default();
    let candidates = identity::candidates(&mail, report.envelope_id.as_deref());
    if !report.recipients.is_empty() {
        return Returned::from_recipients(explained(report.recipients, &own_text), candidates);
    }
    let recipients = freeform::recipients(&mail, &own_text);
    if !recipients.is_empty() {
        return Returned::from_recipients(recipients, candidates);
    }
    let kind = if autoreply::is_unsubscribe(&mail) {
        ReturnedKind::Unsubscribe
    } else if autoreply::is_automatic_reply(&mail) {
        ReturnedKind::AutoReply
    } else if autoreply::is_from_mail_system(&mail) {
        ReturnedKind::NotUnderstood(Obstacle::FreeForm)
    } else {
        ReturnedKind::NotUnderstood(Obstacle::Ordinary)
    };
    Returned::plain(kind, candidates)
}

/// A report that gives no reason but the bare class is explained by the text its server wrote above it.
fn explained(mut recipients: Vec<RecipientStatus>, own_text: &str) -> Vec<RecipientStatus> {
    if let [only] = recipients.as_mut_slice()
        && only.class.is_some()
        && only.diagnostic.is_empty()
        && only.status.is_none_or(EnhancedCode::is_undefined)
    {
        only.class = Some(reason::classify(only.status, &freeform::reason_text(own_text)));
    }
    recipients
}

#[cfg(test)]
#[path = "returned_tests.rs"]
mod tests;
