//! Whose fault a refusal is.
//!
//! Cast: [`judge`] and its answer, [`Judgement`]; [`is_goodbye`] (a refusal that says nothing of the letter).
//!
//! Doubt never suppresses anybody: a refusal that does not clearly say "this address does not exist" counts softly at most.
//! Codes: RFC 3463 and the IANA registry of enhanced status codes; Gmail and Microsoft publish theirs outside it.

use super::Stage;

/// What a refusal means for the mailing, the contact and the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The address or its domain does not exist: suppress it.
    AddressFault,
    /// We, our relay or our letter were refused: pause the campaign; never counts against the contact. A refusal by a 4xx code
    /// is still tried again once the campaign goes on.
    SenderFault,
    /// The mailbox cannot take this now, full or disabled: counts softly.
    MailboxFault,
    /// Try again later.
    Retry,
}

/// Texts by which an address is said not to exist. Narrow on purpose: "domain does not exist" is often said of the sender's.
const NO_SUCH_ADDRESS: [&str; 22] = [
    "user unknown",
    "unknown user",
    "unknown recipient",
    "recipient unknown",
    "unknown mailbox",
    "mailbox unknown",
    "no such user",
    "no such recipient",
    "no such mailbox",
    "no such address",
    "no mailbox here",
    "mailbox not found",
    "user not found",
    "recipient not found",
    "invalid recipient",
    "invalid mailbox",
    "mailbox does not exist",
    "user does not exist",
    "account does not exist",
    "account that you tried to reach does not exist",
    "address does not exist",
    "user doesn't have a",
];

/// Texts by which a mailbox is said to be full or closed for now.
const MAILBOX_TROUBLE: [&str; 8] =
    ["quota", "mailbox full", "mailbox is full", "storage", "inactive", "disabled", "suspended", "not accepting messages"];

/// Texts by which we are refused, not the recipient.
const SENDER_TROUBLE: [&str; 24] = [
    "spam",
    "spf",
    "dkim",
    "dmarc",
    "blacklist",
    "blocklist",
    "block list",
    "blocked",
    "denied",
    "reputation",
    "policy",
    "rate limit",
    "too many",
    "throttl",
    "unsolicited",
    "unauthenticated",
    "authentication",
    "relay",
    "sender",
    "reverse dns",
    "ptr record",
    "rbl",
    "dnsbl",
    "poor",
];

/// Texts that mean our own address, whatever they quote of what was said of it: a mailbox asks back whether the sender exists, and tells the
/// answer.
const OUR_ADDRESS: [&str; 5] = ["sender verif", "verification failed for", "callout", "sender address rejected", "sender rejected"];

/// Texts by which patience is asked for, in refusals for now.
const PATIENCE: [&str; 4] = ["greylist", "graylist", "later", "deferred"];

/// Maps a refusal to a [`Judgement`]; `enhanced` is the RFC 3463 code, `text` the rest of the reply.
///
/// Before RCPT nobody knows whom the letter is for, so a permanent refusal there is always ours.
pub fn judge(stage: Stage, code: u16, enhanced: Option<&str>, text: &str) -> Judgement {
    let text = text.to_ascii_lowercase();
    let enhanced = enhanced.or_else(|| code_at_the_end(&text)).and_then(subject_and_detail);
    if code < 500 {
        return if enhanced.is_some_and(refuses_sender_for_now) { Judgement::SenderFault } else { Judgement::Retry };
    }
    if !matches!(stage, Stage::Rcpt | Stage::Dot) {
        return Judgement::SenderFault;
    }
    if OUR_ADDRESS.iter().any(|phrase| text.contains(phrase)) {
        return Judgement::SenderFault;
    }
    match enhanced {
        Some((1, 0)) | Some((0, _)) | Some((2, 0 | 1)) | Some((4, 1)) | Some((5, _)) | None => by_text(stage, code, enhanced, &text),
        Some((1, 1 | 2 | 3 | 6 | 10)) => Judgement::AddressFault,
        Some((1, 7 | 8)) => Judgement::SenderFault,
        Some((1, _)) => Judgement::MailboxFault,
        Some((2, 3)) | Some((3, 4)) => Judgement::SenderFault,
        Some((2 | 3, _)) => Judgement::MailboxFault,
        // 5.4.5 is Gmail's daily sending limit.
        Some((4, 5)) => Judgement::SenderFault,
        Some((4, _)) => Judgement::MailboxFault,
        // The mailbox or its domain has changed hands (RFC 7293): whoever agreed is gone.
        Some((7, 17 | 18)) => Judgement::AddressFault,
        // The account is disabled, or the mailbox takes mail from some people only.
        Some((7, 13 | 120..=149)) => Judgement::MailboxFault,
        Some(_) => Judgement::SenderFault,
    }
}

/// Whether the relay only takes leave (RFC 5321 §3.8: 421 to any command, when it shuts down or has waited too long): as good as a lost
/// connection, and another one may do at once. A 421 that speaks of a policy, a rate or a mailbox is meant for the letter. With a code the
/// words are not looked at: relays like to name themselves in them.
pub fn is_goodbye(code: u16, enhanced: Option<&str>, text: &str) -> bool {
    let is_meant = match enhanced.and_then(subject_and_detail) {
        // The system, the connection.
        Some((3 | 4, _)) => false,
        Some((0, _)) | None => {
            let text = text.to_ascii_lowercase();
            let words = text.split_once(' ').filter(|(first, _)| first.contains('.')).map_or(text.as_str(), |(_, rest)| rest);
            [&SENDER_TROUBLE[..], &MAILBOX_TROUBLE, &PATIENCE].concat().iter().any(|phrase| words.contains(phrase))
        }
        Some(_) => true,
    };
    code == 421 && !is_meant
}

/// Codes that do not decide by themselves: the words do.
fn by_text(stage: Stage, code: u16, enhanced: Option<(u16, u16)>, text: &str) -> Judgement {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if has(&NO_SUCH_ADDRESS) {
        return Judgement::AddressFault;
    }
    // Microsoft's way to say that a directory does not hold the recipient.
    if enhanced == Some((4, 1)) && text.contains("recipient address rejected") {
        return Judgement::AddressFault;
    }
    if matches!(enhanced, Some((2 | 4, _))) || has(&MAILBOX_TROUBLE) {
        return Judgement::MailboxFault;
    }
    if has(&SENDER_TROUBLE) {
        return Judgement::SenderFault;
    }
    // Not even 551 and 553 ("user not local", "mailbox name not allowed", RFC 5321 §4.2.3): relays that take nothing from us say 553, too.
    match (stage, code, enhanced) {
        (Stage::Rcpt, _, None | Some((0 | 1, _))) | (_, 552, _) => Judgement::MailboxFault,
        (Stage::Rcpt, 550, Some((5, _))) => Judgement::MailboxFault,
        _ => Judgement::SenderFault,
    }
}

/// Deferrals that more letters would only make worse: Gmail x.7.23 to x.7.40 and Microsoft's rate and reputation codes.
fn refuses_sender_for_now(code: (u16, u16)) -> bool {
    matches!(code, (7, 23..=40 | 500..=799))
}

/// `… (#5.7.1)`, where some servers write it.
fn code_at_the_end(text: &str) -> Option<&str> {
    text.trim_end().strip_suffix(')')?.rsplit_once("(#").map(|(_, code)| code)
}

fn subject_and_detail(enhanced: &str) -> Option<(u16, u16)> {
    let mut fields = enhanced.split('.').skip(1).map(str::parse::<u16>);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

/// Whether a local part is one of the words judged by; masking it would hide the reason.
pub(super) fn is_a_word_of_replies(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let phrases = NO_SUCH_ADDRESS.iter().chain(&MAILBOX_TROUBLE).chain(&SENDER_TROUBLE);
    phrases.flat_map(|phrase| phrase.split(' ')).any(|other| other == word)
}

#[cfg(test)]
mod tests {
    use super::Judgement::{AddressFault, MailboxFault, Retry, SenderFault};
    use super::*;

    #[test]
    fn refusals_are_laid_at_the_right_door() {
        let cases = [
            // Temporary codes.
            (Stage::Rcpt, 450, Some("4.2.1"), "The user you are trying to contact is receiving mail too quickly", Retry),
            (Stage::Rcpt, 452, Some("4.2.2"), "Mailbox full", Retry),
            (Stage::Rcpt, 451, Some("4.7.1"), "Greylisted", Retry),
            (Stage::Connect, 421, None, "Too many connections", Retry),
            (Stage::Dot, 421, Some("4.7.28"), "unusual rate of unsolicited mail", SenderFault),
            (Stage::Dot, 421, Some("4.7.26"), "unauthenticated", SenderFault),
            (Stage::Rcpt, 451, Some("4.7.650"), "The mail server has been temporarily rate limited", SenderFault),
            // Addresses.
            (Stage::Rcpt, 550, Some("5.1.1"), "whatever", AddressFault),
            (Stage::Rcpt, 550, Some("5.1.10"), "recipient not found by SMTP address lookup", AddressFault),
            (Stage::Rcpt, 550, None, "No such user here", AddressFault),
            (Stage::Rcpt, 550, Some("5.2.1"), "The account does not exist", AddressFault),
            (Stage::Rcpt, 550, Some("5.4.1"), "Recipient address rejected: Access denied", AddressFault),
            (Stage::Rcpt, 550, Some("5.5.0"), "Requested action not taken: mailbox unavailable, user unknown", AddressFault),
            (Stage::Dot, 550, Some("5.1.1"), "User unknown", AddressFault),
            (Stage::Rcpt, 550, Some("5.7.17"), "Mailbox owner has changed", AddressFault),
            // Mailboxes.
            (Stage::Rcpt, 552, Some("5.2.2"), "over quota", MailboxFault),
            (Stage::Rcpt, 552, None, "too much", MailboxFault),
            (Stage::Rcpt, 550, Some("5.2.1"), "account is disabled", MailboxFault),
            (Stage::Rcpt, 550, Some("5.7.13"), "user account disabled", MailboxFault),
            (Stage::Rcpt, 550, Some("5.7.133"), "sender not authenticated for group", MailboxFault),
            (Stage::Rcpt, 550, None, "Requested action not taken", MailboxFault),
            (Stage::Rcpt, 553, None, "not allowed", MailboxFault),
            (Stage::Rcpt, 551, None, "not here", MailboxFault),
            (Stage::Rcpt, 550, Some("5.4.4"), "Unable to route", MailboxFault),
            (Stage::Rcpt, 550, Some("5.0.0"), "quota exceeded", MailboxFault),
            // Us.
            (Stage::Rcpt, 550, Some("5.1.8"), "sender domain does not exist", SenderFault),
            (Stage::Rcpt, 550, Some("5.7.1"), "relaying denied", SenderFault),
            (Stage::Rcpt, 553, None, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", SenderFault),
            (
                Stage::Rcpt,
                550,
                None,
                "Verification failed for <bounce> Called: 192.0.2.1 Sent: RCPT TO Response: 550 5.1.1 User unknown Sender verify failed",
                SenderFault,
            ),
            (Stage::Rcpt, 550, Some("5.1.0"), "Sender address rejected: undeliverable address: no such user", SenderFault),
            (Stage::Rcpt, 554, None, "blocked using a blocklist", SenderFault),
            (Stage::Dot, 550, Some("5.7.26"), "unauthenticated", SenderFault),
            (Stage::Dot, 550, Some("5.7.40"), "no DMARC record", SenderFault),
            (Stage::Dot, 550, Some("5.7.515"), "Access denied, sending domain does not meet the required level", SenderFault),
            (Stage::Dot, 554, Some("5.7.9"), "Message not accepted for policy reasons", SenderFault),
            (Stage::Dot, 554, None, "Message not accepted. Invalid Subject header", SenderFault),
            (Stage::Dot, 552, Some("5.3.4"), "too big", SenderFault),
            (Stage::Rcpt, 550, Some("5.4.5"), "Daily user sending limit exceeded", SenderFault),
            (Stage::Dot, 554, Some("5.6.0"), "malformed", SenderFault),
            (Stage::Mail, 550, Some("5.1.1"), "User unknown", SenderFault),
            (Stage::Auth, 535, Some("5.7.8"), "bad credentials", SenderFault),
            (Stage::Data, 554, Some("5.5.1"), "no valid recipients", SenderFault),
        ];
        for (stage, code, enhanced, text, expected) in cases {
            assert_eq!(judge(stage, code, enhanced, text), expected, "{stage:?} {code} {enhanced:?} {text}");
        }
    }

    #[test]
    fn a_goodbye_says_nothing_of_the_letter() {
        for (code, enhanced, text, expected) in [
            (421, Some("4.3.2"), "Service shutting down", true),
            (421, Some("4.3.0"), "mail.example.org closing connection", true),
            (421, Some("4.4.2"), "Error: timeout exceeded", true),
            (421, None, "Service not available, closing transmission channel", true),
            (421, None, "", true),
            (421, None, "relay7.sender.example.org closing connection", true),
            (421, Some("4.3.2"), "relay.example.org shutting down, try again later", true),
            (421, None, "mx.example.org too many connections", false),
            (421, None, "Too many connections", false),
            (421, None, "RP-001 exceeded the rate limit", false),
            (421, None, "Try again later", false),
            (421, Some("4.7.0"), "closing connection", false),
            (421, Some("4.2.1"), "receiving mail too quickly", false),
            (450, Some("4.3.2"), "Service shutting down", false),
        ] {
            assert_eq!(is_goodbye(code, enhanced, text), expected, "{code} {enhanced:?} {text}");
        }
    }

    #[test]
    fn no_code_without_words_suppresses_a_contact_but_the_ones_that_name_the_address() {
        let suppressing = ["1.1", "1.2", "1.3", "1.6", "1.10", "7.17", "7.18"];
        for subject in 0..=7 {
            for detail in 0..=999 {
                let enhanced = format!("5.{subject}.{detail}");
                let suppresses = judge(Stage::Rcpt, 550, Some(&enhanced), "refused") == AddressFault;
                assert_eq!(suppresses, suppressing.iter().any(|code| enhanced[2..] == **code), "{enhanced}");
            }
        }
    }
}
