//! Code and words of a failure, and what they mean for the mailbox.
//!
//! Cast: [`BounceClass`], the meaning; [`classify`], code and text to class.
//!
//! A permanent code is not a dead address: about a third of them are about the sender, its reputation or the content. The class says what
//! the failure means; how many of which class suppress an address is policy and lives elsewhere.

use super::codes::{EnhancedCode, reply_code};

/// What a failure means for the mailbox. Ordered from least to most weight against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BounceClass {
    /// Refused for our reputation, authentication, content or size: never counts against the mailbox.
    Block,
    /// Nothing could be learned: weighs like a light soft bounce.
    Unknown,
    /// Mailbox, system or network in trouble: may work later.
    Soft,
    /// Over quota: may work later, often does not for long.
    Full,
    /// Disabled mailbox or vanished domain: dead if seen again on another day.
    Suspended,
    /// The address cannot work: no such mailbox or domain.
    Hard,
}

impl BounceClass {
    /// The word used in tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Unknown => "unknown",
            Self::Soft => "soft",
            Self::Full => "full",
            Self::Suspended => "suspended",
            Self::Hard => "hard",
        }
    }
}

/// The class of a failure. `status` is what the reporting server concluded; `diagnostic` is what the receiving server said.
///
/// The receiving server's own code is preferred: the two disagree in about one report of eight.
pub fn classify(status: Option<EnhancedCode>, diagnostic: &str) -> BounceClass {
    let said = EnhancedCode::find(diagnostic);
    let code = said.filter(|code| !code.is_undefined()).or(status.filter(|code| !code.is_undefined())).or(said).or(status);
    let reply = reply_code(diagnostic);
    let text = diagnostic.to_lowercase();
    let hint = text_hint(&text);
    // The diagnostic's reply code decides over a bare class in the status field.
    let permanent = match (code, reply) {
        (Some(code), _) if !code.is_undefined() => code.class == 5,
        (_, Some(reply)) => reply >= 500,
        (Some(code), None) => code.class == 5,
        (None, None) => hint.is_some(),
    };
    let class = match code.and_then(|code| code_meaning(code, &text, hint)) {
        Some(class) => class,
        None => hint.unwrap_or_else(|| bare_reply(reply, permanent)),
    };
    if !permanent && class >= BounceClass::Suspended { BounceClass::Soft } else { class }
}

/// What a registered code means; `None` when it leaves the meaning to the text.
fn code_meaning(code: EnhancedCode, text: &str, hint: Option<BounceClass>) -> Option<BounceClass> {
    use BounceClass::{Block, Full, Hard, Soft, Suspended};
    let about_us = hint == Some(Block);
    Some(match (code.subject, code.detail) {
        // Filters like to answer "unknown" too; when they say why, that counts.
        (1, 1) if about_us => Block,
        (1, 1..=3 | 6 | 10) | (7, 17 | 18) => Hard,
        (1, 7 | 8) => Block,
        (1, 4 | 9) | (2, 4) => Soft,
        (2, 2) if contains_any(text, &["overquotaperm", "inactive"]) => Hard,
        (2, 2) => match hint {
            Some(Hard) => Hard,
            _ => Full,
        },
        (2, 3) | (3, 4) => match hint {
            Some(Full) => Full,
            _ => Block,
        },
        (3, 1) => Soft,
        (3, _) => return hint.or(Some(Soft)),
        (4, 1) if text.contains("access denied") => Hard,
        (4, 4) if hint == Some(Hard) || hint == Some(Suspended) => Suspended,
        (4, _) => match hint {
            Some(Hard | Suspended) => return hint,
            _ => Soft,
        },
        (5, _) => hint.unwrap_or(Block),
        (6, _) => Block,
        (7, 13) => Suspended,
        // A policy code with the plain words of a missing mailbox. Of other things, too, is said that they do not exist: our records.
        (7, _) if hint == Some(Hard) && contains_any(text, &A_MAILBOX) => Hard,
        (7, _) => Block,
        // x.0.x, x.1.0, x.2.0, x.2.1 and everything unregistered: the text decides.
        (2, 1) => match hint {
            Some(Hard) => Suspended,
            other => return other.or(Some(Soft)),
        },
        _ => return None,
    })
}

/// A reply without an enhanced code and without telling words.
fn bare_reply(reply: Option<u16>, permanent: bool) -> BounceClass {
    match reply {
        Some(552) => BounceClass::Full,
        Some(554 | 571) => BounceClass::Block,
        Some(400..=499) => BounceClass::Soft,
        _ if permanent => BounceClass::Unknown,
        _ => BounceClass::Soft,
    }
}

fn contains_any(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}

/// What a mailbox is called.
const A_MAILBOX: [&str; 10] = [
    "user",
    "mailbox",
    "mail box",
    "recipient",
    "account",
    "customer",
    "no such address",
    "address not found",
    "unknown address",
    "address unknown",
];

/// Words that tell, most telling group first. Lower case.
const PHRASES: [(BounceClass, &[&str]); 8] = [
    // About us, though other words follow ("sender address rejected: domain not found").
    (
        BounceClass::Block,
        &[
            "sender address rejected",
            "sender rejected",
            "sender verify",
            "sender domain",
            "client host",
            "your hostname",
            "ptr record",
            "reverse dns",
            "spf record",
            "spf check",
            "dkim record",
            "dkim key",
            "dmarc record",
            "helo",
            "spamhaus",
            "blacklist",
            "blocklist",
            "block list",
            "dnsbl",
        ],
    ),
    (
        BounceClass::Full,
        &[
            "over quota",
            "overquota",
            "quota exceeded",
            "exceeded storage",
            "exceeded its storage",
            "mailbox full",
            "mailbox is full",
            "inbox is full",
            "full mailbox",
            "mailfolder is full",
            "insufficient disk",
            "out of storage",
            "quota",
            "insufficient storage",
            "mailbox size limit",
        ],
    ),
    (BounceClass::Soft, &["greylist", "graylist", "try again later", "temporarily", "temporary failure", "too busy"]),
    (
        BounceClass::Hard,
        &[
            "user unknown",
            "unknown user",
            "no such user",
            "nonexistent user",
            "non-existent",
            "no such local user",
            "mail box not found",
            "no such recipient",
            "no such mailbox",
            "no such address",
            "no such account",
            "no such person",
            "no mailbox",
            "mailbox not found",
            "user not found",
            "recipient not found",
            "address not found",
            "account not found",
            "not found in",
            "does not exist",
            "doesn't exist",
            "not exist",
            "unknown recipient",
            "recipient unknown",
            "unknown address",
            "address unknown",
            "unknown local",
            "unknown or illegal alias",
            "unknown mailbox",
            "mailbox unknown",
            "mailbox unavailable",
            "invalid recipient",
            "invalid mailbox",
            "invalid user",
            "invalid address",
            "bad destination mailbox",
            "recipient address rejected: access denied",
            "not a valid",
            "no longer valid",
            "no longer in use",
            "no longer at",
            "no valid recipient",
            "not our customer",
            "doesn't have a",
            "not listed in",
            "isn't a",
            "unrouteable address",
            "unroutable address",
            "undeliverable address",
            "user doesn't",
            "null mx",
            "resolver.adr.recipnotfound",
            "recipient invalid",
            "not known",
        ],
    ),
    (
        BounceClass::Suspended,
        &[
            "host not found",
            "domain not found",
            "nxdomain",
            "no such host",
            "no such domain",
            "host unknown",
            "unknown host",
            "host or domain name not found",
            "domain does not",
            "couldn't find any host",
            "no mx",
            "lookup failure",
            "does not accept mail",
            "disabled",
            "deactivated",
            "suspended",
            "inactive",
        ],
    ),
    (
        BounceClass::Block,
        &[
            "spam",
            "blocked",
            "reputation",
            "policy",
            "dkim",
            "dmarc",
            "spf ",
            "not authorized",
            "unauthenticated",
            "not permitted",
            "content",
            "virus",
            "bulk mail",
            "rate limit",
            "too many",
            "access denied",
            "prohibited",
            "administrative",
            "banned",
            "rejected by",
            "rbl",
            "relay",
            "too large",
            "too big",
            "size limit",
            "not allowed",
            "unsolicited",
            "security",
        ],
    ),
    (
        BounceClass::Soft,
        &[
            "timeout",
            "timed out",
            "connection refused",
            "deferred",
            "connection lost",
            "unable to connect",
            "network is unreachable",
            "loop",
            "expired",
            "try again",
        ],
    ),
    (BounceClass::Soft, &["has been delayed", "retry"]),
];

/// What the words alone suggest.
fn text_hint(text: &str) -> Option<BounceClass> {
    PHRASES.iter().find(|(_, phrases)| contains_any(text, phrases)).map(|(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status field, diagnostic text, class.
    fn check(status: &str, diagnostic: &str, class: BounceClass) {
        assert_eq!(classify(EnhancedCode::find(status), diagnostic), class, "{status:?} {diagnostic:?}");
    }

    #[test]
    fn codes_have_their_class() {
        use BounceClass::*;
        let table = [
            ("5.1.1", Hard),
            ("4.1.1", Soft),
            ("5.1.2", Hard),
            ("5.1.3", Hard),
            ("5.1.4", Soft),
            ("5.1.6", Hard),
            ("5.1.7", Block),
            ("5.1.8", Block),
            ("5.1.9", Soft),
            ("5.1.10", Hard),
            ("5.2.2", Full),
            ("4.2.2", Full),
            ("5.2.3", Block),
            ("5.3.0", Soft),
            ("5.3.4", Block),
            ("5.4.1", Soft),
            ("5.4.4", Soft),
            ("4.4.7", Soft),
            ("5.5.0", Block),
            ("5.6.1", Block),
            ("5.7.1", Block),
            ("5.7.26", Block),
            ("5.7.515", Block),
            ("5.7.13", Suspended),
            ("5.7.17", Hard),
            ("5.0.0", Unknown),
            ("4.0.0", Soft),
        ];
        for (status, class) in table {
            check(status, "", class);
        }
    }

    #[test]
    fn the_receiving_server_is_believed_over_the_reporting_one() {
        use BounceClass::*;
        check("5.0.0", "550 5.1.1 unknown", Hard);
        check("5.1.1", "550 5.7.1 message blocked", Block);
        check("4.0.0", "550 no such user", Hard);
        check("5.4.1", "550 5.4.1 Recipient address rejected: Access denied", Hard);
        check("5.7.1", "550 5.7.1 user unknown", Hard);
        // Our own records are nobody's mailbox.
        check("5.7.1", "550 5.7.1 Client host rejected: PTR record for 192.0.2.1 does not exist", Block);
        check("5.7.23", "550 5.7.23 SPF record not found in DNS", Block);
        check("", "550 Client host rejected: hostname of 192.0.2.1 does not exist", Block);
        check("5.7.26", "550 5.7.26 DMARC record of example.org does not exist", Block);
        check("5.7.1", "550 5.7.1 the policy of this domain does not exist for you", Block);
        check("5.1.1", "550 5.1.1 rejected, listed at Spamhaus", Block);
        check("5.1.8", "553 Sender address rejected: Domain not found", Block);
        check("5.4.4", "Host or domain name not found", Suspended);
        check("5.2.2", "552 5.2.2 OverQuotaPerm: inactive", Hard);
        check("5.2.1", "550 5.2.1 account disabled", Suspended);
        check("", "552 requested action aborted", Full);
        check("", "421 busy", Soft);
        check("", "554 refused", Block);
        check("", "", Soft);
        check("4.7.1", "451 4.7.1 Greylisted: recipient address rejected", Block);
        check("4.1.1", "450 4.1.1 user unknown", Soft);
    }
}
