//! RFC 3463 status codes and RFC 5321 reply codes, found in text.
//!
//! Cast: [`EnhancedCode`], a code as written; [`reply_code`], the three digits before it.
//!
//! What a code means for a mailbox is `reason`'s business.

use std::fmt;

/// An enhanced status code: class.subject.detail (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// Which of the subject's conditions.
    pub detail: u16,
}

impl EnhancedCode {
    /// The first code in a text. Four numbers with dots are an internet address, not a code.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).find_map(|word| Self::read(word.trim_matches('.')))
    }

    fn read(word: &str) -> Option<Self> {
        let mut numbers = word.split('.');
        let (class, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if numbers.next().is_some() || subject.len() > 3 || detail.len() > 3 || !matches!(class, "2" | "4" | "5") {
            return None;
        }
        Some(Self { class: class.parse().ok()?, subject: subject.parse().ok()?, detail: detail.parse().ok()? })
    }

    /// "Undefined" (x.0.0): says no more than the class.
    pub fn is_undefined(self) -> bool {
        self.subject == 0
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// The three-digit reply code a diagnostic text begins with, or nothing.
pub fn reply_code(diagnostic: &str) -> Option<u16> {
    let is_code = |word: &&str| word.len() == 3 && matches!(word.as_bytes().first(), Some(b'2'..=b'5'));
    let mut words = diagnostic.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    words.find(is_code).and_then(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3463_codes_are_found_and_addresses_are_not_taken_for_them() {
        let found = |text: &str| EnhancedCode::find(text).map(|code| code.to_string());
        assert_eq!(found("550 5.1.1 unknown").as_deref(), Some("5.1.1"));
        assert_eq!(found("(#5.1.10)").as_deref(), Some("5.1.10"));
        assert_eq!(found("from 5.1.1.7 refused").as_deref(), None);
        assert_eq!(found("550-5.7.26. sorry").as_deref(), Some("5.7.26"));
        for none in ["", "3.1.1", "5.1", "5..1", "5.1.1111", "version", "5.9999999999.1"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(reply_code("550-5.1.1 no"), Some(550));
        assert_eq!(reply_code("host mx.example[192.0.2.1] said: 452 full"), Some(452));
        assert_eq!(reply_code("nothing"), None);
    }
}
