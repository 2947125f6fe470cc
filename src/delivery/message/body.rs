//! A text part as 7-bit lines: quoted-printable, or base64 where that is shorter.
//!
//! Cast: [`encode`], which gives the [`lettre`] body with its transfer encoding.
//!
//! It never leaves a line that begins with a dot or with `From `: relays and mailboxes alter such lines, and a signature would break.
//! `=_` occurs in neither encoding, which is what makes the boundary in the module above safe.

use data_encoding::BASE64;
use lettre::message::Body;
use lettre::message::header::ContentTransferEncoding;

/// Longest quoted-printable line without its soft break (RFC 2045 §6.7: 76 with it).
const LINE: usize = 75;
/// Bytes to a base64 line of 76 characters.
const BASE64_LINE_BYTES: usize = 57;

/// Encodes a part. Line ends of any kind become CRLF; control characters other than tab are dropped.
pub fn encode(text: &str) -> Body {
    let text = normalised(text);
    let escaped = text.bytes().filter(|&byte| !is_literal(byte) && byte != b'\n').count();
    // An escape costs two bytes more than the byte itself, base64 37 % more on everything.
    if escaped * 200 > text.len() * 37 {
        Body::dangerous_pre_encoded(base64(&text), ContentTransferEncoding::Base64)
    } else {
        Body::dangerous_pre_encoded(quoted_printable(&text), ContentTransferEncoding::QuotedPrintable)
    }
}

/// The text with `\n` as its only line end and without control characters; borrowed when it already is so.
fn normalised(text: &str) -> std::borrow::Cow<'_, str> {
    let unwanted = |byte: u8| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    if !text.bytes().fold(false, |any, byte| any | unwanted(byte)) {
        return text.into();
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|character| !character.is_ascii() || !unwanted(*character as u8)).collect::<String>().into()
}

/// Bytes that quoted-printable shows as they are, the end of a line apart.
fn is_literal(byte: u8) -> bool {
    matches!(byte, b' '..=b'<' | b'>'..=b'~' | b'\t')
}

fn base64(text: &str) -> Vec<u8> {
    base64_of(text.replace('\n', "\r\n").as_bytes())
}

/// Lines of base64, as the body of a part.
pub fn base64_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = String::with_capacity(bytes.len() * 3 / 2 + 4);
    for (number, chunk) in bytes.chunks(BASE64_LINE_BYTES).enumerate() {
        if number > 0 {
            encoded.push_str("\r\n");
        }
        BASE64.encode_append(chunk, &mut encoded);
    }
    encoded.into_bytes()
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len() + text.len() / 4 + 64);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            encoded.extend_from_slice(b"\r\n");
        }
        encode_line(line.as_bytes(), &mut encoded);
    }
    encoded
}

/// One line, broken softly so that no encoded line is over 76 characters.
fn encode_line(line: &[u8], encoded: &mut Vec<u8>) {
    let mut column = 0;
    let mut rest = line;
    while let Some((&first, after)) = rest.split_first() {
        let ends_in_space = after.is_empty() && matches!(first, b' ' | b'\t');
        let starts_badly = column == 0 && (first == b'.' || rest.starts_with(b"From "));
        if !is_literal(first) || ends_in_space || starts_badly {
            if column + 3 > LINE {
                encoded.extend_from_slice(b"=\r\n");
                column = 0;
            }
            encoded.extend_from_slice(&escape(first));
            column += 3;
            rest = after;
            continue;
        }
        if column == LINE {
            encoded.extend_from_slice(b"=\r\n");
            column = 0;
            continue;
        }
        let within = rest.get(..LINE - column).unwrap_or(rest);
        // Most lines have nothing to escape; looked at as a whole, sixteen bytes take as long as one.
        let all_literal = within.iter().fold(true, |all, &byte| all & is_literal(byte));
        let run = if all_literal { within.len() } else { within.iter().position(|&byte| !is_literal(byte)).unwrap_or(within.len()) };
        // A space at the very end of the line is left for the escape above.
        let run = if run == rest.len() && matches!(rest.last(), Some(b' ' | b'\t')) { run - 1 } else { run };
        let (literal, remaining) = rest.split_at(run);
        encoded.extend_from_slice(literal);
        column += run;
        rest = remaining;
    }
}

fn escape(byte: u8) -> [u8; 3] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    [b'=', digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let body = encode(text);
        assert_eq!(String::from_utf8_lossy(body.as_ref()), expected, "{text:?}");
    }

    #[test]
    fn short_texts_are_quoted_printable() {
        check("", "");
        check("Hello\nworld\r\nagain\r!", "Hello\r\nworld\r\nagain\r\n!");
        check("1 + 1 = 2, plain otherwise", "1 + 1 =3D 2, plain otherwise");
        check("a trailing space \nand a trailing tab\t", "a trailing space=20\r\nand a trailing tab=09");
        check(".\n.hidden\nFrom me", "=2E\r\n=2Ehidden\r\n=46rom me");
        check("n\0u\u{7}ll\u{7f}", "null");
        check("a long enough line with an é", "a long enough line with an =C3=A9");
    }

    #[test]
    fn long_lines_are_broken_softly() {
        let cases = [
            "x".repeat(75),
            "x".repeat(76),
            "x".repeat(1000),
            format!("{} ", "x".repeat(74)),
            format!("{} ", "x".repeat(75)),
            format!("{}.y", "x".repeat(75)),
            format!("{}From y", "x".repeat(75)),
            format!("{}=", "x".repeat(74)),
            " ".repeat(300),
            ".".repeat(300),
        ];
        for text in cases {
            let encoded = String::from_utf8(quoted_printable(&text)).unwrap();
            for line in encoded.split("\r\n") {
                assert!(line.len() <= 76, "{} in {encoded}", line.len());
                assert!(!line.starts_with('.') && !line.starts_with("From ") && !line.ends_with(' '), "{line}");
            }
            let joined = encoded.replace("=\r\n", "").replace("=2E", ".").replace("=46", "F").replace("=20", " ").replace("=3D", "=");
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn text_that_is_mostly_not_ascii_is_base64() {
        let text = "नमस्ते दुनिया\n".repeat(40);
        let body = encode(&text);
        assert_eq!(body.encoding(), ContentTransferEncoding::Base64);
        let joined: String =
            String::from_utf8(body.as_ref().to_vec()).unwrap().split("\r\n").inspect(|line| assert!(line.len() <= 76)).collect();
        assert_eq!(BASE64.decode(joined.as_bytes()).unwrap(), text.replace('\n', "\r\n").into_bytes());
    }
}
