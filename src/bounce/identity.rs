//! Where the token of a letter may be found in a message that came back.
//!
//! Cast: [`TokenCandidate`], a string of the right shape and its place.
//!
//! It never trusts one: anyone can write anything into a message. The caller opens each with its keys and takes the first that is genuine.

use super::mail::Mail;

/// Length of a sealed token in base32 characters.
const TOKEN_LENGTH: usize = 52;
/// Most candidates handed over: each costs the caller one check.
const CANDIDATES_MAX: usize = 16;

/// Where a candidate stood. In order of how hard it is to get there by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenPlace {
    /// The address the message was delivered to: our return path `b+TOKEN@…`.
    Recipient,
    /// The same, where it is what our letters offer for no more of them: `u+TOKEN@…`.
    UnsubscribeRecipient,
    /// The report's Original-Envelope-Id (RFC 3461).
    EnvelopeId,
    /// The return path of the returned letter.
    ReturnedReturnPath,
    /// The Message-ID of the returned letter, or a reference to it.
    ReturnedMessageId,
    /// The List-Unsubscribe, List-Id or Feedback-ID header of the returned letter.
    ReturnedListHeader,
    /// In-Reply-To or References of the message itself.
    Reference,
}

/// A string shaped like a token, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCandidate {
    /// 52 base32 characters in lower case.
    pub token: String,
    /// Where it was found.
    pub place: TokenPlace,
}

/// Headers a mail server notes the envelope recipient in.
const RECIPIENT_HEADERS: [&str; 6] = ["delivered-to", "x-original-to", "x-delivered-to", "envelope-to", "x-envelope-to", "to"];
const RETURNED_HEADERS: [(&str, TokenPlace); 7] = [
    ("return-path", TokenPlace::ReturnedReturnPath),
    ("x-envelope-from", TokenPlace::ReturnedReturnPath),
    ("message-id", TokenPlace::ReturnedMessageId),
    ("list-unsubscribe", TokenPlace::ReturnedListHeader),
    ("list-id", TokenPlace::ReturnedListHeader),
    ("feedback-id", TokenPlace::ReturnedListHeader),
    ("cfbl-feedback-id", TokenPlace::ReturnedListHeader),
];

/// The candidates of a message, best place first, each token once.
pub(super) fn candidates(mail: &Mail<'_>, envelope_id: Option<&str>) -> Vec<TokenCandidate> {
    let mut found = Vec::new();
    for name in RECIPIENT_HEADERS {
        for value in mail.headers(name) {
            add(&mut found, address_tokens(&value, 'b'), TokenPlace::Recipient);
            add(&mut found, address_tokens(&value, 'u'), TokenPlace::UnsubscribeRecipient);
        }
    }
    add(&mut found, tokens(envelope_id.unwrap_or_default()), TokenPlace::EnvelopeId);
    let names = RETURNED_HEADERS.map(|(name, _)| name);
    for (at, value) in mail.returned_headers(&names) {
        if let Some((_, place)) = RETURNED_HEADERS.get(at) {
            add(&mut found, tokens(&value), *place);
        }
    }
    for name in ["in-reply-to", "references"] {
        add(&mut found, mail.headers(name).iter().flat_map(|value| tokens(value)).collect(), TokenPlace::Reference);
    }
    found.sort_by_key(|candidate| candidate.place);
    let mut unique: Vec<TokenCandidate> = Vec::new();
    for candidate in found {
        if unique.len() < CANDIDATES_MAX && !unique.iter().any(|known| known.token == candidate.token) {
            unique.push(candidate);
        }
    }
    unique
}

fn add(found: &mut Vec<TokenCandidate>, tokens: Vec<String>, place: TokenPlace) {
    found.extend(tokens.into_iter().take(CANDIDATES_MAX).map(|token| TokenCandidate { token, place }));
}

/// The token in an envelope recipient, for a listener to authenticate before it accepts the mail; lower case.
pub fn return_path_token(address: &str) -> Option<String> {
    address_tokens(address, 'b').into_iter().next()
}

/// Tokens in addresses `b+TOKEN@…`, or those of another letter, also where a forwarder wrapped them (`prvs=1234=b+TOKEN@…`,
/// `SRS0=…=b+TOKEN@…`).
fn address_tokens(text: &str, letter: char) -> Vec<String> {
    runs(text).filter(|(before, token)| is_token(token) && is_prefix(before, letter)).map(|(_, token)| token.to_ascii_lowercase()).collect()
}

fn is_prefix(before: &str, letter: char) -> bool {
    let rest = before.strip_suffix('+').and_then(|before| before.strip_suffix(|last: char| last.eq_ignore_ascii_case(&letter)));
    rest.is_some_and(|rest| !rest.ends_with(|letter: char| letter.is_ascii_alphanumeric()))
}

fn tokens(text: &str) -> Vec<String> {
    runs(text).filter(|(_, run)| is_token(run)).map(|(_, run)| run.to_ascii_lowercase()).collect()
}

fn is_token(run: &str) -> bool {
    run.len() == TOKEN_LENGTH && run.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v' | b'A'..=b'V'))
}

/// Every longest run of letters and digits, with the text before it.
fn runs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let tail = text.get(rest..)?;
        let start = rest + tail.find(|letter: char| letter.is_ascii_alphanumeric())?;
        let run = text.get(start..)?;
        let length = run.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(run.len());
        rest = start + length;
        Some((text.get(..start)?, text.get(start..rest)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdefghijklmnopqrstuv0123456789abcdefghij";

    fn check(text: &str, found: bool) {
        let expected: Vec<String> = if found { vec![TOKEN.to_owned()] } else { Vec::new() };
        assert_eq!(address_tokens(&text.replace("TOKEN", TOKEN), 'b'), expected, "{text}");
    }

    #[test]
    fn return_paths_are_found_in_either_case_and_wrapped() {
        check("b+TOKEN@bounce.example", true);
        check("<b+TOKEN@bounce.example>", true);
        check("prvs=1234abcdef=b+TOKEN@bounce.example", true);
        check("SRS0=HHH=TT=bounce.example=b+TOKEN@forward.example", true);
        assert_eq!(return_path_token(&format!("b+{TOKEN}@x.example")).as_deref(), Some(TOKEN));
        assert_eq!(address_tokens(&format!("B+{}@X.EXAMPLE", TOKEN.to_uppercase()), 'b'), [TOKEN]);
    }

    #[test]
    fn other_strings_are_no_return_paths() {
        check("TOKEN@bounce.example", false);
        check("bob+TOKEN@bounce.example", false);
        check("b+xTOKEN@bounce.example", false);
        check("b+TOKEN1@bounce.example", false);
        check(&format!("b+{}w@bounce.example", &TOKEN[..51]), false);
        check("", false);
        check("b+é TOKEN", false);
        check("u+TOKEN@bounce.example", false);
    }

    #[test]
    fn tokens_are_found_in_unsubscribe_links() {
        assert_eq!(tokens(&format!("<https://t.example/u/{TOKEN}>, <mailto:u+{TOKEN}@b.example>")), [TOKEN, TOKEN]);
    }
}
