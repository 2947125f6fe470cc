//! What a returned message changes: an outcome on the mailing, and whether the person is mailed again.
//!
//! Cast: [`apply`], its answer [`Applied`].
//!
//! Whose letter it was is decided by a genuine token only, never by an address in the message. Everything is done in one
//! transaction and once per mailing and kind; the same message twice changes nothing.

use jiff::Timestamp;
use serde::Serialize;

use crate::bounce::{BounceClass, Returned, ReturnedKind, TokenPlace, read};
use crate::db::{DbResult, VaultDb};
use crate::delivery::mailing::{Found, OutcomeKind};
use crate::delivery::store as deliveries;
use crate::ids::{EventId, Mint, Pseudonym};
use crate::token::{Bearer, Keys, Kind};
use crate::vault::people::Suppression;
use crate::vault::store as people;

/// What became of a returned message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Applied {
    /// A letter came back.
    Bounced {
        /// What it means for the mailbox: `hard`, `soft` ….
        class: &'static str,
        /// Whether the address is not mailed any more because of it.
        suppressed: bool,
        /// Whether this was not known before.
        new: bool,
    },
    /// The recipient reported the letter as spam; they are not mailed any more.
    Complained {
        /// Whether this was not known before.
        new: bool,
    },
    /// The recipient asked by mail for no more letters.
    Unsubscribed {
        /// Whether this was not known before.
        new: bool,
    },
    /// Understood, and nothing to do: a delay, an automatic answer, a receipt.
    Noted {
        /// What it is.
        what: &'static str,
    },
    /// A failure of a letter that is not ours, or whose link to the person is gone.
    Unmatched,
    /// Not a kind of message that is understood.
    NotUnderstood,
}

impl Applied {
    /// Whether the message should be kept for a person to look at.
    pub const fn wants_eyes(self) -> bool {
        matches!(self, Self::Unmatched | Self::NotUnderstood)
    }
}

impl std::fmt::Display for Applied {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let again = |new: &bool| if *new { "" } else { " (known already)" };
        match self {
            Self::Bounced { class, suppressed: true, new } => {
                write!(formatter, "bounced, {class}: the address is not mailed any more{}", again(new))
            }
            Self::Bounced { class, suppressed: false, new } => write!(formatter, "bounced, {class}{}", again(new)),
            Self::Complained { new } => write!(formatter, "complaint: the person is not mailed any more{}", again(new)),
            Self::Unsubscribed { new } => write!(formatter, "unsubscribed by mail{}", again(new)),
            Self::Noted { what } => write!(formatter, "{what}: nothing to do"),
            Self::Unmatched => formatter.write_str("not a letter of this Letterlab, or its link to the person is gone"),
            Self::NotUnderstood => formatter.write_str("not understood"),
        }
    }
}

/// Reads a returned message and does what it calls for. `recipients` are the addresses it was delivered to, where known: the most
/// reliable place of a token.
///
/// # Errors
/// A database failure; nothing was changed then, and the message should be tried again.
pub fn apply(vault: &VaultDb, keys: &Keys, message: &[u8], recipients: &[String], now: Timestamp, mint: Mint) -> DbResult<Applied> {
    let returned = read(message);
    if let Some(pseudonym) = by_mail(keys, &returned, recipients) {
        // Whatever is written to this address asks for the same; automatic answers to it do not.
        if !matches!(returned.kind, ReturnedKind::AutoReply | ReturnedKind::Challenge) {
            return record(vault, Some(pseudonym), Change::Unsubscribe, now, mint);
        }
    }
    let change = match &returned.kind {
        ReturnedKind::Failed => Change::Bounce(returned.class.unwrap_or(BounceClass::Unknown)),
        ReturnedKind::Complaint => Change::Complaint,
        ReturnedKind::Unsubscribe => Change::Unsubscribe,
        ReturnedKind::Delayed => return Ok(Applied::Noted { what: "a delay" }),
        ReturnedKind::Delivered => return Ok(Applied::Noted { what: "a receipt" }),
        ReturnedKind::AutoReply => return Ok(Applied::Noted { what: "an automatic answer" }),
        ReturnedKind::Challenge => return Ok(Applied::Noted { what: "a challenge" }),
        ReturnedKind::ComplaintWithdrawn => return Ok(Applied::Noted { what: "a complaint taken back" }),
        ReturnedKind::AuthenticationReport => return Ok(Applied::Noted { what: "an authentication report" }),
        ReturnedKind::Disposition => return Ok(Applied::Noted { what: "a reading receipt" }),
        ReturnedKind::NotUnderstood(_) => return Ok(Applied::NotUnderstood),
    };
    record(vault, genuine(keys, &returned, recipients), change, now, mint)
}

#[derive(Clone, Copy)]
enum Change {
    Bounce(BounceClass),
    Complaint,
    Unsubscribe,
}

fn record(vault: &VaultDb, pseudonym: Option<Pseudonym>, change: Change, now: Timestamp, mint: Mint) -> DbResult<Applied> {
    let Some(pseudonym) = pseudonym else { return Ok(Applied::Unmatched) };
    vault.write(|conn| {
        let Some(found) = deliveries::by_pseudonym(conn, pseudonym)? else { return Ok(Applied::Unmatched) };
        let mut note = |kind, reason: &str| add(conn, &found, kind, reason, now, mint);
        match change {
            Change::Bounce(class) => {
                let new = note(OutcomeKind::Bounced, class.as_str())?;
                let suppressed = class == BounceClass::Hard;
                if suppressed {
                    people::suppress(conn, found.subscriber, Suppression::HardBounce, now)?;
                }
                Ok(Applied::Bounced { class: class.as_str(), suppressed, new })
            }
            Change::Complaint => {
                let new = note(OutcomeKind::Complained, "")?;
                people::suppress(conn, found.subscriber, Suppression::Complaint, now)?;
                Ok(Applied::Complained { new })
            }
            Change::Unsubscribe => {
                let new = note(OutcomeKind::Unsubscribed, "")?;
                people::suppress(conn, found.subscriber, Suppression::Unsubscribed, now)?;
                Ok(Applied::Unsubscribed { new })
            }
        }
    })
}

fn add(conn: &mut crate::db::VaultConn, found: &Found, kind: OutcomeKind, reason: &str, now: Timestamp, mint: Mint) -> DbResult<bool> {
    deliveries::add_outcome(conn, found, kind, reason, now, EventId::from_bytes(mint()))
}

/// Whose letters end because the message came to the address that our letters offer for it. A pipe may tell no address: the headers do then,
/// but not of what came to a return path.
fn by_mail(keys: &Keys, returned: &Returned, recipients: &[String]) -> Option<Pseudonym> {
    let open = |token: &str| pseudonym(keys, Kind::Unsubscribe, token);
    if let Some(token) = recipients.iter().find_map(|address| token_at(address, 'u')) {
        return open(&token);
    }
    let at = |place| returned.candidates.iter().filter(move |candidate| candidate.place == place);
    let is_returned = recipients.iter().any(|address| token_at(address, 'b').is_some()) || at(TokenPlace::Recipient).next().is_some();
    if is_returned {
        return None;
    }
    at(TokenPlace::UnsubscribeRecipient).find_map(|candidate| open(&candidate.token))
}

/// The first token that is really ours: from the address it came to, then from the places the message offers.
fn genuine(keys: &Keys, returned: &Returned, recipients: &[String]) -> Option<Pseudonym> {
    let delivered = recipients.iter().filter_map(|address| token_at(address, 'b'));
    delivered
        .chain(returned.candidates.iter().map(|candidate| candidate.token.clone()))
        .find_map(|token| pseudonym(keys, Kind::Bounce, &token).or_else(|| pseudonym(keys, Kind::Unsubscribe, &token)))
}

fn pseudonym(keys: &Keys, kind: Kind, token: &str) -> Option<Pseudonym> {
    match keys.open(kind, token).ok()?.bearer {
        Bearer::Recipient(pseudonym) => Some(pseudonym),
        Bearer::Arm { .. } => None,
    }
}

/// The token of `b+TOKEN@…` or `u+TOKEN@…`, if the address has that shape.
pub fn token_at(address: &str, letter: char) -> Option<String> {
    if letter == 'b'
        && let Some(token) = crate::bounce::return_path_token(address)
    {
        return Some(token);
    }
    let local = address.trim_start_matches('<').split('@').next()?;
    let (first, token) = local.split_once('+')?;
    let is_ours = first.len() == 1 && first.chars().all(|found| found.eq_ignore_ascii_case(&letter));
    (is_ours && token.len() == crate::token::TOKEN_CHARACTERS).then(|| token.to_ascii_lowercase())
}
