//! One pass over a user agent that finds every literal of the rules.
//!
//! Cast: [`find_signs`], [`Signs`] (the set of what was found).
//!
//! Never keeps the text; decides nothing.

use std::sync::LazyLock;

use super::rules::{LITERALS, Place, Sign};

/// One literal of the rules.
#[derive(Debug, Clone, Copy)]
struct Literal {
    /// In lower case, not empty.
    text: &'static str,
    /// Where it counts.
    place: Place,
    /// What it says.
    sign: Sign,
}

/// A set of signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs(u64);

impl Signs {
    /// Whether this sign was seen.
    pub const fn has(self, sign: Sign) -> bool {
        self.0 & (1 << sign as u32) != 0
    }

    fn add(&mut self, sign: Sign) {
        self.0 |= 1 << sign as u32;
    }
}

/// The literals by their first byte, in the order of the data.
static BY_FIRST_BYTE: LazyLock<[Vec<Literal>; 256]> = LazyLock::new(|| {
    let mut buckets = std::array::from_fn(|_| Vec::new());
    for (sign, place, texts) in LITERALS.into_iter().flatten().copied() {
        for text in texts.iter().copied() {
            if let Some(bucket) = text.bytes().next().and_then(|first| buckets.get_mut(usize::from(first))) {
                bucket.push(Literal { text, place, sign });
            }
        }
    }
    buckets
});

/// Looks for every literal in one pass over a lower-case user agent. Time grows with its length only.
pub fn find_signs(text: &[u8]) -> Signs {
    let buckets = &*BY_FIRST_BYTE;
    let mut signs = Signs::default();
    let mut harmless_until = 0;
    for (position, first) in text.iter().enumerate() {
        let (Some(rest), Some(bucket)) = (text.get(position..), buckets.get(usize::from(*first))) else { continue };
        let ahead = text.get(..position).unwrap_or_default();
        let before = ahead.last().copied();
        // The second byte turns most candidates away before the longer comparison.
        let second = rest.get(1).copied();
        for literal in bucket {
            let wanted = literal.text.as_bytes();
            if wanted.get(1).is_some_and(|byte| Some(*byte) != second) || !rest.starts_with(wanted) {
                continue;
            }
            let behind = rest.get(wanted.len()..).unwrap_or_default();
            if !stands_right(literal.place, ahead, behind) || (literal.sign.is_mail_program() && is_in_address(before, behind)) {
                continue;
            }
            match literal.sign {
                Sign::Harmless => harmless_until = harmless_until.max(position + wanted.len()),
                Sign::Robot | Sign::Trade | Sign::Library if position < harmless_until => {}
                sign => signs.add(sign),
            }
        }
    }
    signs
}

fn stands_right(place: Place, ahead: &[u8], behind: &[u8]) -> bool {
    let before = ahead.last().copied();
    let letter = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic());
    let after = behind.first().copied();
    match place {
        Place::Anywhere => true,
        Place::Start => before.is_none(),
        Place::Word => !letter(before),
        Place::Tail => !letter(after),
        Place::Version => after.is_some_and(|byte| byte.is_ascii_digit()),
        Place::Ending => {
            ends_with_label(ahead) && !after.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
        Place::Mailbox => before.is_some_and(|byte| byte.is_ascii_alphanumeric()) && starts_with_host(behind),
    }
}

/// A robot's contact address at a mail provider names the provider, not the program.
fn is_in_address(before: Option<u8>, behind: &[u8]) -> bool {
    before == Some(b'@') || behind.starts_with(b".com")
}

/// A host name's part: letters, digits and hyphens with a letter among them, which a version has not.
fn ends_with_label(text: &[u8]) -> bool {
    let label = text.iter().rev().take(63).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-');
    label.filter(|byte| byte.is_ascii_alphabetic()).count() > 0
}

/// A label, a dot and a letter. A label has at most 63 bytes, which bounds the look-ahead.
fn starts_with_host(text: &[u8]) -> bool {
    let label = text.iter().take(64).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    let (dot, next) = (text.get(label), text.get(label + 1));
    label > 0 && dot == Some(&b'.') && next.is_some_and(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, sign: Sign, expected: bool) {
        assert_eq!(find_signs(text.as_bytes()).has(sign), expected, "{sign:?} in {text:?}");
    }

    #[test]
    fn literals_are_lower_case_and_stand_in_one_group_of_a_sign_only_once() {
        let mut seen = std::collections::HashSet::new();
        for (sign, _, texts) in LITERALS.into_iter().flatten() {
            for text in *texts {
                assert_eq!(*text, text.to_ascii_lowercase());
                assert!(seen.insert((*sign as u32, *text)), "{text:?} twice");
            }
        }
    }

    #[test]
    fn places_are_respected() {
        for (text, sign, expected) in [
            ("a robot", Sign::Robot, true),
            ("cubot x18", Sign::Robot, false),
            ("cubot x18 robot", Sign::Robot, true),
            ("whatsapp/9", Sign::Preview, true),
            ("my whatsapp/9", Sign::Preview, false),
            ("visit example.com/x", Sign::Trade, true),
            ("com.example.company", Sign::Trade, false),
            ("pigeon4.com", Sign::Trade, true),
            ("pigeon/4.0.eu", Sign::Trade, false),
            ("; .net clr 9", Sign::Trade, false),
            ("me@example.org", Sign::Robot, true),
            ("scale@2.0", Sign::Robot, false),
            ("fubot9", Sign::Robot, true),
            ("fubotv/4", Sign::Robot, false),
            ("botany", Sign::Robot, false),
            ("xkmail2", Sign::MailOther, false),
            ("kmail2", Sign::MailOther, true),
            ("examplemail/2.0", Sign::MailOther, true),
            ("host/mail/help", Sign::MailOther, false),
            ("me@outlook.com", Sign::MailOutlook, false),
            ("outlook/16", Sign::MailOutlook, true),
        ] {
            check(text, sign, expected);
        }
    }
}
