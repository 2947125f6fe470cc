//! What a recipient asks for: through the link in a letter no more letters, or no more measurement; through the operator to be erased.
//!
//! The two are independent: who unsubscribes may still be measured in letters already sent, and who opts out of measurement still
//! gets letters. Both are found by the pseudonym, change nothing when said twice, and tell nobody else who the person is.

use jiff::Timestamp;

use crate::db::{DbResult, LedgerDb, VaultDb};
use crate::delivery::mailing::OutcomeKind;
use crate::delivery::store as deliveries;
use crate::ids::{EventId, Mint, Pseudonym, RecordingMode, SubscriberId};
use crate::ledger::projection;
use crate::vault::people::{Consent, Suppression};
use crate::vault::store as people;

/// What the recipient's page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether they get no more letters already.
    pub unsubscribed: bool,
    /// Whether nothing is recorded of them already.
    pub unmeasured: bool,
}

/// Where the person behind a pseudonym stands; `None` when the link to the person is gone.
pub fn standing(vault: &VaultDb, pseudonym: Pseudonym) -> DbResult<Option<Standing>> {
    vault.read(|conn| {
        let Some(found) = deliveries::by_pseudonym(conn, pseudonym)? else { return Ok(None) };
        let person = people::people_by_id(conn, &[found.subscriber])?.remove(&found.subscriber);
        Ok(person.map(|person| Standing {
            unsubscribed: person.suppressed == Some(Suppression::Unsubscribed),
            unmeasured: person.recording == RecordingMode::Off,
        }))
    })
}

/// No more letters to this person. Answers whether the person is still known.
pub fn unsubscribe(vault: &VaultDb, pseudonym: Pseudonym, now: Timestamp, mint: Mint) -> DbResult<bool> {
    vault.write(|conn| {
        let Some(found) = deliveries::by_pseudonym(conn, pseudonym)? else { return Ok(false) };
        people::suppress(conn, found.subscriber, Suppression::Unsubscribed, now)?;
        deliveries::add_outcome(conn, &found, OutcomeKind::Unsubscribed, "", now, EventId::from_bytes(mint()))?;
        Ok(true)
    })
}

/// Erases a person: no letter leaves any more, their hits go, and their row is emptied, everywhere their name or address may be. Every step
/// may be done again. Answers their pseudonyms, so that running trackers can stop at once.
pub fn erase(vault: &VaultDb, ledger: &LedgerDb, subscriber: SubscriberId, now: Timestamp) -> DbResult<Vec<Pseudonym>> {
    // While it is not emptied, the person is still found by the address: what fails half-way is done again.
    let pseudonyms = vault.write(|conn| {
        people::suppress(conn, subscriber, Suppression::ByHand, now)?;
        deliveries::pseudonyms(conn, subscriber)
    })?;
    projection::withdraw(ledger, &pseudonyms, now)?;
    vault.write(|conn| {
        deliveries::forget_words(conn, subscriber)?;
        people::empty(conn, subscriber, now)
    })?;
    Ok(pseudonyms)
}

/// Nothing more is recorded of this person, and what was recorded of their hits is deleted, in every campaign whose mapping exists.
/// Answers their pseudonyms, so that running trackers can stop at once.
pub fn stop_measuring(vault: &VaultDb, ledger: &LedgerDb, pseudonym: Pseudonym, now: Timestamp, mint: Mint) -> DbResult<Vec<Pseudonym>> {
    let pseudonyms = vault.write(|conn| {
        let Some(found) = deliveries::by_pseudonym(conn, pseudonym)? else { return Ok(vec![pseudonym]) };
        let consent = Consent { mode: RecordingMode::Off, source: "opted out on their page".to_owned(), at: now };
        let known = people::people_by_id(conn, &[found.subscriber])?.remove(&found.subscriber);
        if known.is_some_and(|person| person.recording != RecordingMode::Off) {
            people::record_consent(conn, found.subscriber, &consent, &EventId::from_bytes(mint()).to_string(), now)?;
        }
        deliveries::pseudonyms(conn, found.subscriber)
    })?;
    // After the vault: if this fails the person's page says so, and pressing the button again does it.
    projection::withdraw(ledger, &pseudonyms, now)?;
    Ok(pseudonyms)
}
