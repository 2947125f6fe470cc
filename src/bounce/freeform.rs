//! Free-form bounces that cannot be mistaken: X-Failed-Recipients, and paragraphs that begin with the address.
//!
//! Cast: [`recipients`], what they say; [`reason_text`], the text above the quoted letter.
//!
//! Exim and Gmail write the header; qmail (Bernstein's QSBMF, 1997) and old Postfix write `<address>: reason`. Guessing further is left to
//! a person. Nothing below the quoted letter's first line is read.

use super::autoreply::is_from_mail_system;
use super::codes::EnhancedCode;
use super::dsn::redacted;
use super::mail::Mail;
use super::reason;
use super::returned::{Action, MaskedAddress, RecipientStatus};

/// Most recipients taken from one message.
const RECIPIENTS_MAX: usize = 100;
/// Most lines read above the quoted letter.
const LINES_MAX: usize = 80;
/// Most of a reason kept, in characters.
const DIAGNOSTIC_MAX: usize = 500;

/// Lines that begin the quoted letter, lower case.
const QUOTE_STARTS: [&str; 8] = [
    "------ this is a copy of",
    "--- below this line is a copy",
    "----- original message",
    "-----original message",
    "----- message header",
    "--- undelivered message follows",
    "return-path:",
    "received: ",
];

/// Subjects and words of warnings that a letter is late, lower case.
const DELAY_WORDS: [&str; 5] = ["delayed", "still being retried", "warning: could not send", "will be retried", "do not need to resend"];

/// The recipients a free-form bounce names; empty when it is not an unmistakable one.
pub(super) fn recipients(mail: &Mail<'_>, own_text: &str) -> Vec<RecipientStatus> {
    let reason = reason_text(own_text);
    let lower = format!("{} {reason}", mail.subject()).to_lowercase();
    let action = if DELAY_WORDS.iter().any(|words| lower.contains(words)) { Action::Delayed } else { Action::Failed };
    let named = mail.headers("x-failed-recipients");
    let failed: Vec<RecipientStatus> = named
        .iter()
        .flat_map(|value| value.split(','))
        .filter_map(MaskedAddress::read)
        .take(RECIPIENTS_MAX)
        .map(|address| status(address, action, &reason))
        .collect();
    if !failed.is_empty() || !is_from_mail_system(mail) {
        return failed;
    }
    paragraphs(own_text).into_iter().take(RECIPIENTS_MAX).map(|(address, reason)| status(address, action, &reason)).collect()
}

fn status(address: MaskedAddress, action: Action, reason: &str) -> RecipientStatus {
    let status = EnhancedCode::find(reason);
    RecipientStatus {
        action,
        status,
        class: (action == Action::Failed).then(|| reason::classify(status, reason)),
        diagnostic: redacted(reason).chars().take(DIAGNOSTIC_MAX).collect(),
        original_recipient: None,
        final_recipient: Some(address),
    }
}

/// `<address>: reason`, the reason on the same and the following lines up to a blank one.
fn paragraphs(own_text: &str) -> Vec<(MaskedAddress, String)> {
    let mut found: Vec<(MaskedAddress, String)> = Vec::new();
    let mut open = false;
    for line in own_lines(own_text) {
        let begins = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).filter(|(_, rest)| rest.starts_with(':'));
        match begins.and_then(|(address, rest)| Some((MaskedAddress::read(address)?, rest.trim_start_matches(':').trim().to_owned()))) {
            Some(paragraph) => {
                found.push(paragraph);
                open = true;
            }
            None if line.is_empty() => open = false,
            None => {
                if let Some((_, reason)) = found.last_mut().filter(|_| open) {
                    reason.push(' ');
                    reason.push_str(line);
                }
            }
        }
    }
    found
}

/// What the reporting server wrote, in one line.
pub(super) fn reason_text(own_text: &str) -> String {
    own_lines(own_text).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn own_lines(own_text: &str) -> impl Iterator<Item = &str> {
    let is_quote = |line: &str| {
        let lower = line.to_lowercase();
        QUOTE_STARTS.iter().any(|start| lower.starts_with(start))
    };
    own_text.lines().map(str::trim).take_while(move |line| !is_quote(line)).take(LINES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounce::BounceClass;

    /// Class per recipient of a message with this sender and text.
    fn check(from: &str, text: &str, expected: &[(Action, Option<BounceClass>)]) {
        let message = format!("From: {from}\r\nSubject: failure notice\r\n\r\n{text}");
        let mail = Mail::parse(message.as_bytes()).unwrap();
        let found: Vec<_> = recipients(&mail, &mail.own_text()).into_iter().map(|recipient| (recipient.action, recipient.class)).collect();
        assert_eq!(found, expected, "{text}");
    }

    const QMAIL: &str = "Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message.\n\n\
        <a@x.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n<b@x.example>:\nThe users mailfolder is full\n\n\
        --- Below this line is a copy of the message.\n\n<c@x.example>: 550 5.7.1 quoted\n";

    #[test]
    fn qmail_paragraphs_are_read_up_to_the_quoted_letter() {
        let failed = |class| (Action::Failed, Some(class));
        check("MAILER-DAEMON@mx.example", QMAIL, &[failed(BounceClass::Hard), failed(BounceClass::Full)]);
        check(
            "MAILER-DAEMON@mx.example",
            "<a@x.example>: host mx.x.example said: 550 5.1.1\n unknown\n\nbye",
            &[failed(BounceClass::Hard)],
        );
    }

    #[test]
    fn warnings_of_delay_are_no_failures() {
        check("MAILER-DAEMON@mx.example", "Your message is delayed.\n<a@x.example>: timed out\n", &[(Action::Delayed, None)]);
    }

    #[test]
    fn people_who_quote_addresses_are_no_mail_systems() {
        check("ann@x.example", QMAIL, &[]);
        check("MAILER-DAEMON@mx.example", "Something went wrong with <a@x.example>: sorry\n", &[]);
    }
}
