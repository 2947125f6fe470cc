//! An e-mail address, parsed once at the edge.
//!
//! Cast: [`EmailAddress`], [`InvalidAddress`], [`provider`] (the large mailbox provider behind a domain), [`provider_by_exchange`] (the same
//! by the domain's MX).
//!
//! It never prints an address by accident: `Display` and `Debug` are masked, [`EmailAddress::reveal`] is asked for by name.

use std::fmt;

/// An address that mail can be sent to: the local part as given, the domain in lower-case A-labels.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress {
    text: String,
    at: usize,
}

/// Why a text is not an address we can send to. The text itself is not repeated: it may be a person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Nothing there.
    #[error("the e-mail address is empty")]
    Empty,
    /// No `@`, or nothing on one side of it.
    #[error("the e-mail address needs one @ with a name before and a domain after it")]
    NoAt,
    /// The part before `@` is not one we can send to.
    #[error("the part before @ {0}")]
    Local(&'static str),
    /// The part after `@` is not a domain.
    #[error("the part after @ {0}")]
    Domain(&'static str),
}

impl EmailAddress {
    /// Parses an address, surrounding blanks aside.
    ///
    /// The domain is turned into A-labels (UTS 46, strict), so `müller@Bücher.example` and `müller@xn--bcher-kva.example` are one.
    /// Local parts keep their case: RFC 5321 lets the receiving host tell `Anna` from `anna`.
    ///
    /// # Errors
    /// [`InvalidAddress`] says which part is wrong and why.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidAddress::Empty);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidAddress::NoAt)?;
        if local.is_empty() || domain.is_empty() {
            return Err(InvalidAddress::NoAt);
        }
        check_local(local).map_err(InvalidAddress::Local)?;
        let domain = read_domain(domain).map_err(InvalidAddress::Domain)?;
        Ok(Self { text: format!("{local}@{domain}"), at: local.len() })
    }

    /// The whole address. Ask for it only where mail is addressed or a person is shown to somebody who may see people.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The address without capitals, those of ASCII only: hardly any mail server tells them apart, and no person does. It tells who is one
    /// person; mail goes to the address as it was given.
    pub fn folded(&self) -> String {
        self.text.to_ascii_lowercase()
    }

    /// The domain in lower-case A-labels.
    pub fn domain(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// Whether the relay must offer SMTPUTF8 (RFC 6531), because the local part is not ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

fn check_local(local: &str) -> Result<(), &'static str> {
    if local.len() > 64 {
        return Err("is longer than 64 bytes");
    }
    if local.starts_with('"') {
        return Err("is quoted; quoted names cannot be mailed reliably");
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err("has a dot at its start or end, or two in a row");
    }
    let allowed = |character: char| !character.is_control() && !character.is_whitespace() && !"()<>[]:;@\\,\"".contains(character);
    if !local.chars().all(allowed) {
        return Err("has a blank or one of ( ) < > [ ] : ; @ \\ , \" in it");
    }
    Ok(())
}

fn read_domain(domain: &str) -> Result<String, &'static str> {
    if domain.starts_with('[') {
        return Err("is a network address, not a domain");
    }
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| "is not a domain name")?;
    if ascii.len() > 253 {
        return Err("is longer than 253 characters");
    }
    match ascii.rsplit_once('.') {
        None => Err("has no dot"),
        Some((_, "")) => Err("ends with a dot"),
        Some((_, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => Err("is a network address, not a domain"),
        Some(_) => Ok(ascii),
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.text.chars().next().unwrap_or('…');
        let last = self.domain().rsplit('.').next().unwrap_or_default();
        write!(formatter, "{first}…@….{last}")
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Large mailbox providers and their domains.
const PROVIDERS: &[(&str, &[&str])] = &[
    ("google", &["gmail.com", "googlemail.com"]),
    ("microsoft", &["outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "hotmail.de", "hotmail.fr", "hotmail.co.uk"]),
    ("yahoo", &["yahoo.com", "ymail.com", "aol.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "yahoo.co.in", "rocketmail.com"]),
    ("apple", &["icloud.com", "me.com", "mac.com"]),
    ("gmx", &["gmx.de", "gmx.net", "gmx.at", "gmx.ch", "web.de", "gmx.com", "mail.com"]),
    ("mail.ru", &["mail.ru", "bk.ru", "inbox.ru", "list.ru"]),
    ("yandex", &["yandex.ru", "yandex.com", "ya.ru"]),
    ("proton", &["proton.me", "protonmail.com", "pm.me"]),
    ("orange", &["orange.fr", "wanadoo.fr"]),
    ("t-online", &["t-online.de", "magenta.de"]),
];

/// The provider of domains that belong to no large one.
pub const OTHER: &str = "other";

/// Every name [`provider`] may answer.
pub fn providers() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|(name, _)| *name).chain([OTHER])
}

/// The large mailbox provider behind a domain, or `other`: a small domain would identify people in reports.
pub fn provider(domain: &str) -> &'static str {
    PROVIDERS.iter().find(|(_, domains)| domains.contains(&domain)).map_or(OTHER, |(name, _)| name)
}

/// Where the large providers' mail exchanges are: names that end so.
const EXCHANGES: &[(&str, &[&str])] = &[
    ("google", &["google.com", "googlemail.com"]),
    ("microsoft", &["protection.outlook.com", "mx.microsoft", "hotmail.com"]),
    ("yahoo", &["yahoodns.net"]),
    ("apple", &["mail.icloud.com"]),
    ("gmx", &["gmx.net", "web.de", "mail.com"]),
    ("mail.ru", &["mail.ru"]),
    ("yandex", &["yandex.net", "yandex.ru"]),
    ("proton", &["protonmail.ch"]),
    ("orange", &["orange.fr", "wanadoo.fr"]),
    ("t-online", &["t-online.de"]),
];

/// The large mailbox provider a mail exchange belongs to, or `other`. `host` is in lower case, without a dot at its end.
pub fn provider_by_exchange(host: &str) -> &'static str {
    let is_of = |end: &str| host.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    EXCHANGES.iter().find(|(_, ends)| ends.iter().any(|end| is_of(end))).map_or(OTHER, |(name, _)| name)
}

/// Whether a domain can have mailboxes: names for examples and tests never do (RFC 2606, RFC 6761).
pub fn may_have_mailboxes(domain: &str) -> bool {
    let of = |reserved: &str| domain.strip_suffix(reserved).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    !["example", "test", "invalid", "localhost", "example.com", "example.net", "example.org"].into_iter().any(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_by_their_domain_only() {
        for (given, kept) in [
            ("Anna@Example.COM", "Anna@example.com"),
            ("  anna@example.com ", "anna@example.com"),
            ("müller@Bücher.example", "müller@xn--bcher-kva.example"),
            ("a+b=c@news.example", "a+b=c@news.example"),
            ("иван@пример.example", "иван@xn--e1afmkfd.example"),
        ] {
            let address = EmailAddress::parse(given).unwrap();
            assert_eq!(address.reveal(), kept);
            assert_eq!(address.needs_smtputf8(), !kept.is_ascii());
            assert_eq!(EmailAddress::parse(address.reveal()), Ok(address.clone()), "normal form is stable");
        }
        assert_eq!(EmailAddress::parse("ÄnnA@Example.COM").unwrap().folded(), "Änna@example.com", "as the databases fold");
    }

    #[test]
    fn what_cannot_be_mailed_is_refused_with_the_part_that_is_wrong() {
        use InvalidAddress::{Domain, Empty, Local, NoAt};
        let too_long = format!("{}@example.com", "a".repeat(65));
        for (given, kind) in [
            (" ", Empty),
            ("anna", NoAt),
            ("@example.com", NoAt),
            ("anna@", NoAt),
            (".anna@example.com", Local("")),
            ("an..na@example.com", Local("")),
            ("an na@example.com", Local("")),
            ("an\r\nna@example.com", Local("")),
            ("\"an na\"@example.com", Local("")),
            (too_long.as_str(), Local("")),
            ("a@b@example.com", Local("")),
            ("anna@localhost", Domain("")),
            ("anna@[192.0.2.1]", Domain("")),
            ("anna@192.0.2.1", Domain("")),
            ("anna@exam_ple.com", Domain("")),
            ("anna@example..com", Domain("")),
            ("anna@-x.example", Domain("")),
        ] {
            let found = EmailAddress::parse(given).unwrap_err();
            assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&kind), "{given:?}: {found}");
        }
    }

    #[test]
    fn printing_an_address_never_shows_it() {
        let address = EmailAddress::parse("anna.schmidt@firma.example").unwrap();
        for text in [format!("{address}"), format!("{address:?}")] {
            assert!(!text.contains("anna") && !text.contains("firma"), "{text}");
        }
    }

    #[test]
    fn only_large_providers_are_named() {
        assert_eq!(provider("gmail.com"), "google");
        assert_eq!(provider("tiny-shop.example"), "other");
    }

    #[test]
    fn a_mail_exchange_tells_whose_mailboxes_a_domain_has() {
        for (host, expected) in [
            ("aspmx.l.google.com", "google"),
            ("firma-de.mail.protection.outlook.com", "microsoft"),
            ("mail.ru", "mail.ru"),
            ("mx.gmail.ru", "other"),
            ("notgoogle.com", "other"),
            ("google.com.firma.de", "other"),
            ("", "other"),
        ] {
            assert_eq!(provider_by_exchange(host), expected, "{host}");
        }
        assert!(EXCHANGES.iter().all(|(name, _)| providers().any(|known| known == *name)));
    }

    #[test]
    fn nobody_has_a_mailbox_at_a_reserved_name() {
        for domain in ["example.org", "shop.example", "a.b.test", "news.example.com", "localhost"] {
            assert!(!may_have_mailboxes(domain), "{domain}");
        }
        for domain in ["firma.de", "myexample.org", "example.de", "contest"] {
            assert!(may_have_mailboxes(domain), "{domain}");
        }
    }
}
