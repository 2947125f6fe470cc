//! Free text in headers: cleaned, folded and, where needed, written as encoded-words.
//!
//! Cast: [`clean`] (what people may put into a subject or a name), [`unstructured`] (a subject), [`phrase`] (a display name).
//!
//! Text that is not plain is encoded as a whole, so that what looks like an encoded-word in it reaches the reader as typed.
//! It never writes 8-bit bytes, a line over 76 characters, or an encoded-word split inside a character.

use data_encoding::BASE64;

/// A line with an encoded-word holds at most 76 characters (RFC 2047 §2).
const LINE: usize = 76;
const OPEN: &str = "=?utf-8?B?";
const CLOSE: &str = "?=";
/// Bytes of text whose encoded-word, after a leading space, stays under 75 characters: 45 bytes are 60 base64 characters.
const WORD_BYTES: usize = 45;

/// Drops control and bidi-override characters, makes line breaks and tabs single spaces, trims.
///
/// The joiners U+200C and U+200D stay: Persian, Devanagari and many emoji need them.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\r' | '\n' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                if !cleaned.ends_with(' ') {
                    cleaned.push(' ');
                }
            }
            _ if character.is_control() || reorders(character) => {}
            _ => cleaned.push(character),
        }
    }
    cleaned.trim().to_owned()
}

/// Embeddings, overrides and isolates, which can make text read as something else (Unicode TR 36 §2.6), marks that only hide.
fn reorders(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// An unstructured header's value, for example a subject, after `column` characters on its line.
pub fn unstructured(text: &str, column: usize) -> String {
    let longest_word = text.split(' ').map(str::len).max().unwrap_or(0);
    if !is_plain(text) || text.contains("  ") || longest_word >= LINE - column {
        return encoded_words(text, column);
    }
    let mut value = String::with_capacity(text.len() + 16);
    let mut column = column;
    for (position, word) in text.split(' ').enumerate() {
        if position > 0 {
            if column + 1 + word.len() > LINE {
                value.push_str("\r\n");
                column = 0;
            }
            value.push(' ');
            column += 1;
        }
        value.push_str(word);
        column += word.len();
    }
    value
}

/// A display name: a quoted string when it is plain and short, encoded-words otherwise.
pub fn phrase(name: &str, column: usize) -> String {
    let quoted_length = name.len() + 2 + name.matches(['"', '\\']).count();
    if !is_plain(name) || column + quoted_length > LINE {
        return encoded_words(name, column);
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Characters on the last line of a value that began after `column` characters.
pub fn end_column(value: &str, column: usize) -> usize {
    match value.rsplit_once('\n') {
        Some((_, last)) => last.len(),
        None => column + value.len(),
    }
}

/// Printable ASCII that no reader takes for an encoded-word.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains("=?")
}

/// RFC 2047 encoded-words (UTF-8, base64), one to a line, each holding whole characters.
fn encoded_words(text: &str, column: usize) -> String {
    let mut value = String::with_capacity(text.len() * 2);
    let room = LINE.saturating_sub(column + OPEN.len() + CLOSE.len()) / 4 * 3;
    let mut room = room.clamp(6, WORD_BYTES);
    let mut rest = text;
    while !rest.is_empty() {
        let (word, remaining) = split_before(rest, room);
        if !value.is_empty() {
            value.push_str("\r\n ");
        }
        value.push_str(OPEN);
        BASE64.encode_append(word.as_bytes(), &mut value);
        value.push_str(CLOSE);
        rest = remaining;
        room = WORD_BYTES;
    }
    value
}

/// The longest start of `text` that is at most `most` bytes and ends between characters; `most` is at least 4.
fn split_before(text: &str, most: usize) -> (&str, &str) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_keeps_words_and_drops_what_could_break_or_disguise_a_header() {
        let cases = [
            ("Hello", "Hello"),
            ("  Hello  ", "Hello"),
            ("a\r\nBcc: eve@example.org", "a Bcc: eve@example.org"),
            ("a\0b\u{1b}[31mc\u{7f}", "ab[31mc"),
            ("invoice\u{202e}fdp.exe\u{202c}", "invoicefdp.exe"),
            ("क्\u{200d}ष 👩\u{200d}🚀", "क्\u{200d}ष 👩\u{200d}🚀"),
            ("a\u{2028}b\tc", "a b c"),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn plain_text_is_left_alone_and_folded_at_spaces() {
        assert_eq!(unstructured("Hello world", 9), "Hello world");
        let text = ["letter"; 40].join(" ");
        let folded = unstructured(&text, 9);
        assert!(folded.split("\r\n").all(|line| line.len() <= 76));
        assert_eq!(folded.replace("\r\n", ""), text);
    }

    #[test]
    fn names_are_quoted_or_encoded() {
        assert_eq!(phrase("Ann, \"the\" \\ boss", 6), r#""Ann, \"the\" \\ boss""#);
        assert_eq!(phrase("Zoë", 6), "=?utf-8?B?Wm/Dqw==?=");
        assert_eq!(phrase("=?utf-8?Q?x?=", 6), "=?utf-8?B?PT91dGYtOD9RP3g/PQ==?=");
    }

    #[test]
    fn encoded_words_are_short_and_hold_whole_characters() {
        for text in ["Ệ".repeat(400), "👩‍🚀".repeat(150), "क्षत्रिय ".repeat(60), "x".repeat(1200)] {
            let value = unstructured(&text, 9);
            let mut decoded = String::new();
            for (number, line) in value.split("\r\n").enumerate() {
                let before = if number == 0 { 9 } else { 0 };
                assert!(before + line.len() <= 76, "{line}");
                let word = line.trim_start().strip_prefix(OPEN).and_then(|word| word.strip_suffix(CLOSE)).unwrap();
                decoded.push_str(&String::from_utf8(BASE64.decode(word.as_bytes()).unwrap()).unwrap());
            }
            assert_eq!(decoded, text);
        }
    }
}
