//! A text part as 7-bit lines: quoted-printable, or base64 where that is shorter.
//!
//! Cast: [`Encodable`], a text of which it is known how it goes over the wire.
//!
//! It never leaves a line that begins with a dot or with `From `: relays and mailboxes alter such lines, and a signature would break.
//! `=_` occurs in neither encoding, which is what makes the boundary in the module above safe.

use std::borrow::Cow;

use data_encoding::BASE64;

/// Longest quoted-printable line without its soft break (RFC 2045 §6.7: 76 with it).
const LINE: usize = 75;
/// Bytes to a base64 line of 76 characters.
const BASE64_LINE_BYTES: usize = 57;

/// A text ready to be encoded. Line ends of any kind become CRLF; control characters other than tab are dropped.
pub struct Encodable<'a> {
    text: Cow<'a, str>,
    is_base64: bool,
}

impl<'a> Encodable<'a> {
    pub fn of(text: &'a str) -> Self {
        let text = normalised(text);
        let escaped = count(text.as_bytes(), |byte| !is_literal(byte) & (byte != b'\n'));
        // An escape costs two bytes more than the byte itself, base64 37 % more on everything.
        let is_base64 = escaped * 200 > text.len() * 37;
        Self { text, is_base64 }
    }

    /// Its Content-Transfer-Encoding.
    pub fn encoding(&self) -> &'static str {
        if self.is_base64 { "base64" } else { "quoted-printable" }
    }

    /// Writes it behind what is there.
    pub fn write(&self, encoded: &mut Vec<u8>) {
        if self.is_base64 {
            encoded.extend_from_slice(&base64_of(self.text.replace('\n', "\r\n").as_bytes()));
        } else {
            quoted_printable(&self.text, encoded);
        }
    }
}

/// The text with `\n` as its only line end and without control characters; borrowed when it already is so.
fn normalised(text: &str) -> Cow<'_, str> {
    let unwanted = |byte: u8| ((byte < b' ') & (byte != b'\n') & (byte != b'\t')) | (byte == 0x7f);
    if !text.bytes().fold(false, |any, byte| any | unwanted(byte)) {
        return text.into();
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|character| !character.is_ascii() || !unwanted(*character as u8)).collect::<String>().into()
}

/// Bytes that quoted-printable shows as they are, the end of a line apart. Arithmetic instead of a `match`: so sixteen take as long as one.
fn is_literal(byte: u8) -> bool {
    ((byte.wrapping_sub(b' ') <= b'~' - b' ') & (byte != b'=')) | (byte == b'\t')
}

/// How many bytes are so; in steps whose sum fits in a byte, so that sixteen are added as fast as one.
fn count(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> usize {
    let step = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, &byte| sum + u8::from(is_so(byte)));
    bytes.chunks(usize::from(u8::MAX)).map(|bytes| usize::from(step(bytes))).sum()
}

/// How many bytes from the first on are literal.
fn literal_run(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let mut run = 0;
    for chunk in chunks {
        if !chunk.iter().fold(true, |all, &byte| all & is_literal(byte)) {
            return run + chunk.iter().take_while(|byte| is_literal(**byte)).count();
        }
        run += chunk.len();
    }
    run + rest.iter().take_while(|byte| is_literal(**byte)).count()
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

fn quoted_printable(text: &str, encoded: &mut Vec<u8>) {
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            encoded.extend_from_slice(b"\r\n");
        }
        encode_line(line.as_bytes(), encoded);
    }
}

/// One line, broken softly so that no encoded line is over 76 characters.
fn encode_line(line: &[u8], encoded: &mut Vec<u8>) {
    let mut column = 0;
    let mut rest = line;
    loop {
        let run = literal_run(rest);
        // A space at the very end of the line is left for the escape below.
        let run = if run == rest.len() && matches!(rest.last(), Some(b' ' | b'\t')) { run - 1 } else { run };
        let (mut literal, remaining) = rest.split_at(run);
        while let Some(&first) = literal.first() {
            if column == LINE {
                encoded.extend_from_slice(b"=\r\n");
                column = 0;
            }
            let starts_badly = column == 0 && (first == b'.' || literal.starts_with(b"From "));
            let (piece, left) = literal.split_at(if starts_badly { 1 } else { literal.len().min(LINE - column) });
            if starts_badly {
                encoded.extend_from_slice(&escape(first));
                column = 3;
            } else {
                encoded.extend_from_slice(piece);
                column += piece.len();
            }
            literal = left;
        }
        let Some((&first, after)) = remaining.split_first() else { return };
        if column + 3 > LINE {
            encoded.extend_from_slice(b"=\r\n");
            column = 0;
        }
        encoded.extend_from_slice(&escape(first));
        column += 3;
        rest = after;
    }
}

fn escape(byte: u8) -> [u8; 3] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    [b'=', digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> (&'static str, String) {
        let (text, mut encoded) = (Encodable::of(text), Vec::new());
        text.write(&mut encoded);
        (text.encoding(), String::from_utf8(encoded).unwrap())
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(encoded(text), ("quoted-printable", expected.to_owned()), "{text:?}");
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
    fn literal_bytes_are_those_of_the_standard() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_literal(byte), matches!(byte, b' '..=b'<' | b'>'..=b'~' | b'\t'), "{byte}");
            for place in [0, 7, 15, 16, 40] {
                let mut line = [b'x'; 41];
                line[place] = byte;
                assert_eq!(literal_run(&line), if is_literal(byte) { 41 } else { place }, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn many_bytes_are_counted_as_well_as_few() {
        for length in [0, 1, 254, 255, 256, 1000] {
            let text: Vec<u8> = (0..length).map(|place| if place % 3 == 0 { b'=' } else { b'x' }).collect();
            assert_eq!(count(&text, |byte| byte == b'='), text.len().div_ceil(3), "{length}");
            assert_eq!(count(&text, |_| true), text.len());
        }
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
            let mut encoded = Vec::new();
            quoted_printable(&text, &mut encoded);
            let encoded = String::from_utf8(encoded).unwrap();
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
        let (encoding, body) = encoded(&text);
        assert_eq!(encoding, "base64");
        let joined: String = body.split("\r\n").inspect(|line| assert!(line.len() <= 76)).collect();
        assert_eq!(BASE64.decode(joined.as_bytes()).unwrap(), text.replace('\n', "\r\n").into_bytes());
    }
}
