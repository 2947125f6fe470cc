//! One person's letter: filled in, made into a message, signed.
//!
//! Cast: [`fill_in`] and [`signed`] (a letter that is sent), [`test_message`] with [`TestCopy`] (one that nobody counts).
//!
//! It never sends, and keeps no address longer than its letter.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Letters, Post};
use crate::content::{LetterUrls, Tracking, with_trap_link};
use crate::delivery::mailing::Leased;
use crate::delivery::message::{MessageParts, compose_with, verp};
use crate::ids::{CampaignNumber, LinkNumber, RecordingMode, VariantNumber};
use crate::token::{Bearer, Kind, Payload, TRAP_LINK};
use crate::vault::people::Person;

/// A letter that is not signed yet. Holds the address.
pub(super) struct Filled {
    pub(super) envelope_from: String,
    pub(super) recipient: String,
    pub(super) recording: RecordingMode,
    pub(super) bytes: Vec<u8>,
}

/// The letter for this person, or why there is none: words without names or addresses.
pub(super) fn fill_in(post: &Post, mailing: &Leased, person: Option<&Person>) -> Result<Filled, String> {
    let person = person.ok_or("the person is gone")?;
    if let Some(reason) = person.suppressed {
        return Err(reason.as_str().to_owned());
    }
    let letters = &post.letters;
    let compiled = letters.arms.get(usize::from(mailing.variant.0)).ok_or("the variant is gone")?;
    // The most restrictive wins: who opted out since enrolment is not measured.
    let recording = mailing.recording.min(person.recording);
    let seal = |kind, link| post.keys.seal(&payload(mailing, recording, kind, link));
    let unsubscribe_token = seal(Kind::Unsubscribe, None);
    let base = &post.site.base_url;
    let unsubscribe = format!("{base}/u/{unsubscribe_token}");
    let tracking = if recording == RecordingMode::Off {
        Tracking::Off
    } else {
        Tracking::On {
            pixel: format!("{base}/o/{}.gif", seal(Kind::Open, None)),
            links: compiled.links().iter().map(|link| format!("{base}/c/{}", seal(Kind::Click, Some(link.number)))).collect(),
        }
    };
    let urls = LetterUrls { tracking, unsubscribe: unsubscribe.clone() };
    let values: &BTreeMap<String, String> = &person.attributes;
    let rendered = compiled.render(values, &urls).map_err(|error| error.to_string())?;
    let html = if letters.trap_link && recording != RecordingMode::Off {
        with_trap_link(&rendered.html, &format!("{base}/c/{}", seal(Kind::Click, Some(TRAP_LINK))))
    } else {
        rendered.html
    };
    let domain = letters.from_address.rsplit('@').next().unwrap_or_default();
    let mailto = format!("u+{unsubscribe_token}@{}?subject=unsubscribe", post.site.bounce_domain);
    let parts = MessageParts {
        from_name: &rendered.sender_name,
        from_address: &letters.from_address,
        reply_to: letters.reply_to(mailing.variant),
        to_name: None,
        to_address: person.address.reveal(),
        subject: &rendered.subject,
        date: mailing.first_attempt_at.unwrap_or_else(|| (post.now)()),
        message_id: &format!("{}@{domain}", mailing.id),
        list_id: &format!("{}.{domain}", list_label(&letters.list)),
        list_unsubscribe_url: &unsubscribe,
        list_unsubscribe_mailto: Some(&mailto),
        feedback_id: Some(&feedback_id(letters.campaign, &letters.list, &post.site.sender_id)),
        language: compiled.language(),
        text: &rendered.text,
        html: &html,
    };
    let bytes = compose_with(&parts, letters.images(mailing.variant)).map_err(|fault| fault.to_string())?;
    let envelope_from = verp(&seal(Kind::Bounce, None), &post.site.bounce_domain);
    Ok(Filled { envelope_from, recipient: person.address.reveal().to_owned(), recording, bytes })
}

/// The letter with its DKIM signatures, made here: for the quarter of a millisecond that RSA 2048 takes, the way to another thread and back
/// costs more than the other letters of this one lose by waiting.
pub(super) fn signed(post: &Post, mut letter: Filled) -> Result<Filled, String> {
    let domain = post.letters.from_address.rsplit('@').next().unwrap_or_default();
    letter.bytes = post.dkim.sign(domain, letter.bytes, (post.now)()).map_err(|error| error.to_string())?;
    Ok(letter)
}

/// Pixel and links of an arm in mode `aggregate` are shared by all of it; the way back of a letter never is.
fn payload(mailing: &Leased, recording: RecordingMode, kind: Kind, link: Option<LinkNumber>) -> Payload {
    let shared = recording == RecordingMode::Aggregate && matches!(kind, Kind::Open | Kind::Click);
    let bearer = if shared { Bearer::Arm { rest: mailing.is_rest } } else { Bearer::Recipient(mailing.pseudonym) };
    Payload { kind, campaign: mailing.campaign, bearer, variant: mailing.variant, link, mode: recording }
}

/// A list's name as a label of a domain name: letters, digits and hyphens.
fn list_label(name: &str) -> String {
    let label: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    let label = label.trim_matches('-').to_owned();
    if label.is_empty() { "list".to_owned() } else { label }
}

/// Gmail wants fields that differ. Their hyphens keep ours apart from each other and from the sender's, which has none, whatever the
/// list is called.
fn feedback_id(campaign: CampaignNumber, list: &str, sender_id: &str) -> String {
    format!("campaign-{campaign}:list-{}:type-newsletter:{sender_id}", list_label(list))
}

/// What a test letter has that a real one takes from its mailing.
#[derive(Debug, Clone, Copy)]
pub struct TestCopy<'a> {
    /// Where it goes.
    pub to: &'a str,
    /// The name shown as recipient: it says which variant this is, so that nothing in the letter itself has to.
    pub to_name: &'a str,
    /// Unique; the left part of its Message-ID.
    pub id: &'a str,
    /// The address it shows where the unsubscribe address would be; it belongs to nobody.
    pub unsubscribe: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// A finished message as a person would get it, for test mail and previews: no mailing, no tracking.
///
/// # Errors
/// What keeps the letter from being made, in words.
pub fn test_message(
    letters: &Letters,
    variant: VariantNumber,
    copy: &TestCopy<'_>,
    values: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let compiled = letters.arms.get(usize::from(variant.0)).ok_or("there is no such variant")?;
    let domain = letters.from_address.rsplit('@').next().unwrap_or_default();
    let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: copy.unsubscribe.to_owned() };
    let rendered = compiled.render(values, &urls).map_err(|error| error.to_string())?;
    let parts = MessageParts {
        from_name: &rendered.sender_name,
        from_address: &letters.from_address,
        reply_to: letters.reply_to(variant),
        to_name: Some(copy.to_name),
        to_address: copy.to,
        subject: &rendered.subject,
        date: copy.now,
        message_id: &format!("{}@{domain}", copy.id),
        list_id: &format!("{}.{domain}", list_label(&letters.list)),
        list_unsubscribe_url: copy.unsubscribe,
        list_unsubscribe_mailto: None,
        feedback_id: None,
        language: compiled.language(),
        text: &rendered.text,
        html: &rendered.html,
    };
    compose_with(&parts, letters.images(variant)).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lists_name_becomes_a_label() {
        assert_eq!(list_label("Kunden & Freunde 2026"), "kunden---freunde-2026");
        assert_eq!(list_label("Клиенты"), "list");
    }
}
