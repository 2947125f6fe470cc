//! Reply texts without the people in them: they are stored beside pseudonyms.
//!
//! Cast: [`without_addresses`] for any text, [`without_recipient`] where the recipient is known.
//!
//! It would rather mask too much than leave an address.

/// What stands in for an address.
pub const MASK: &str = "<address>";

/// Longest text kept, in characters.
const LONGEST: usize = 400;

/// Ways to write an @ sign; the longer ones are taken for it in texts that carry links or markup.
const AT_SIGNS: [&str; 5] = ["@", "%40", "=40", "&#64;", "＠"];

/// Masks everything that looks like an address, drops control characters, shortens to 400 characters.
pub fn without_addresses(text: &str) -> String {
    let mut text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    for at in AT_SIGNS {
        text = mask_around(&text, at);
    }
    text.chars().take(LONGEST).collect()
}

/// As [`without_addresses`], and the recipient's local part alone is masked too, as in "mailbox jane.doe is full".
///
/// A local part shorter than 3 characters, or one of the words replies are judged by ("user", "mailbox"), is left: it tells nothing.
pub(super) fn without_recipient(text: &str, recipient: &str) -> String {
    let masked = without_addresses(text);
    let local = recipient.rsplit_once('@').map_or(recipient, |(local, _)| local).trim_matches('"');
    let bare_local = local.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
    if bare_local.is_empty() || local.chars().count() < 3 || super::judge::is_a_word_of_replies(local) {
        return masked;
    }
    let (mut result, mut word) = (String::with_capacity(masked.len()), String::new());
    for character in masked.chars().chain([' ']) {
        if is_local_character(character) {
            word.push(character);
            continue;
        }
        // Quotes and a full stop around it belong to the sentence.
        let bare = word.trim_matches(|character: char| !character.is_alphanumeric());
        if bare.to_lowercase() == bare_local {
            result.push_str(&word.replacen(bare, MASK, 1));
        } else {
            result.push_str(&word);
        }
        word.clear();
        result.push(character);
    }
    result.pop();
    result.chars().take(LONGEST).collect()
}

/// Replaces what stands on both sides of each `at`, up to a space or a bracket, by the mask.
fn mask_around(text: &str, at: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(at) {
        let (before, from_at) = rest.split_at(position);
        let local_length = local_part_length(before);
        let (kept, _) = before.split_at(before.len() - local_length);
        result.push_str(kept);
        result.push_str(MASK);
        let after = from_at.get(at.len()..).unwrap_or_default();
        let domain_end = after.find(|character: char| !is_address_character(character)).unwrap_or(after.len());
        let domain = after.get(..domain_end).unwrap_or_default().trim_end_matches(['.', ':']);
        rest = after.get(domain.len()..).unwrap_or_default();
    }
    result.push_str(rest);
    result
}

/// Bytes of the local part at the end of a text; a quoted one reaches back to its opening quote.
fn local_part_length(before: &str) -> usize {
    if let Some(inner) = before.strip_suffix('"') {
        return inner.rfind('"').map_or(before.len(), |quote| before.len() - quote);
    }
    before.chars().rev().take_while(|&character| is_address_character(character)).map(char::len_utf8).sum()
}

fn is_address_character(character: char) -> bool {
    !character.is_whitespace() && !matches!(character, '<' | '>' | '(' | ')' | '{' | '}' | ',' | ';' | '"' | '\\' | '@')
}

fn is_local_character(character: char) -> bool {
    character.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_looks_like_an_address_is_masked() {
        let cases = [
            ("<jane.doe@example.org>: Recipient address rejected", "<<address>>: Recipient address rejected"),
            ("mail to jane@example.org, is not possible", "mail to <address>, is not possible"),
            ("jane@example.org.", "<address>."),
            ("jane@[192.0.2.1] refused", "<address> refused"),
            ("\"jane doe\"@example.org unknown", "<address> unknown"),
            ("आन@उदाहरण.example unknown", "<address> unknown"),
            ("b+x=jane=example.org@relay.example", "<address>"),
            ("a@b@c.example x", "<address><address> x"),
            ("see https://x.example/?who=jane%40example.org for more", "see <address> for more"),
            ("jane&#64;example.org jane=40example.org", "<address> <address>"),
            ("no address, queue 4ABC", "no address, queue 4ABC"),
            ("line\r\nbreak\0", "line  break "),
            ("@", "<address>"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(without_addresses(text), expected);
        }
        assert_eq!(without_addresses(&"é".repeat(1000)).chars().count(), 400);
    }

    #[test]
    fn the_recipient_s_name_alone_is_masked_too() {
        let cases = [
            ("mailbox Jane.Doe is full", "mailbox <address> is full"),
            ("no such user: 'jane.doe'", "no such user: '<address>'"),
            ("jane.doe.", "<address>."),
            ("jane.doeling stays", "jane.doeling stays"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_recipient(text, "jane.doe@example.org"), expected);
        }
        assert_eq!(without_recipient("user unknown", "user@example.org"), "user unknown");
        assert_eq!(without_recipient("al is full", "al@example.org"), "al is full");
    }
}
