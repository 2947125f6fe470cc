//! What a signature covers: the relaxed forms of headers and body (RFC 6376 §3.4.2, §3.4.4).
//!
//! Cast: [`split`] (a message in [`Header`]s and body), [`relax_header`], [`relaxed_body`].
//!
//! Bytes in, bytes out; it never decodes anything.

use std::borrow::Cow;

/// A header as it stands in the message, folds included, without the CRLF at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
}

/// Headers and body of a message whose lines end in CRLF; `None` when it does not begin with a header.
pub(super) fn split(message: &[u8]) -> Option<(Vec<Header<'_>>, &[u8])> {
    let mut headers = Vec::with_capacity(16);
    let mut rest = message;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let length = header_length(rest);
        let (header, after) = rest.split_at(length);
        let colon = header.iter().position(|&byte| byte == b':')?;
        let name = std::str::from_utf8(header.get(..colon)?).ok()?.trim_end();
        headers.push(Header { name, bytes: header });
        rest = after.strip_prefix(b"\r\n").unwrap_or(after);
    }
    (!headers.is_empty()).then(|| (headers, rest.strip_prefix(b"\r\n").unwrap_or(rest)))
}

/// Up to the first CRLF that no space or tab follows.
fn header_length(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(end) = text.get(from..).and_then(|rest| rest.windows(2).position(|pair| pair == b"\r\n")) {
        let after = from + end + 2;
        if !matches!(text.get(after), Some(b' ' | b'\t')) {
            return after - 2;
        }
        from = after;
    }
    text.len()
}

/// Appends a header's name in lower case and its value, unfolded with single spaces and none at its ends; no CRLF.
pub(super) fn relax_header(header: &[u8], relaxed: &mut Vec<u8>) {
    let colon = header.iter().position(|&byte| byte == b':').unwrap_or(header.len());
    let (name, value) = header.split_at(colon);
    relaxed.reserve(header.len() + 1);
    relaxed.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    relaxed.push(b':');
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let words = value.get(1..).unwrap_or_default().split(is_space).filter(|word| !word.is_empty());
    for (number, word) in words.enumerate() {
        if number > 0 {
            relaxed.push(b' ');
        }
        relaxed.extend_from_slice(word);
    }
}

/// Runs of spaces and tabs as one space, none at the end of a line, no empty lines at the end; CRLF at the end of any text.
pub(super) fn relaxed_body(body: &[u8]) -> Cow<'_, [u8]> {
    if is_relaxed(body) {
        return Cow::Borrowed(body);
    }
    let mut relaxed = Vec::with_capacity(body.len() + 2);
    let mut content_ends = 0;
    for line in body.strip_suffix(b"\n").unwrap_or(body).split(|&byte| byte == b'\n') {
        relax_line(line.strip_suffix(b"\r").unwrap_or(line), &mut relaxed);
        let has_text = relaxed.last().is_some_and(|&last| last != b'\n');
        relaxed.extend_from_slice(b"\r\n");
        if has_text {
            content_ends = relaxed.len();
        }
    }
    relaxed.truncate(content_ends);
    Cow::Owned(relaxed)
}

/// Whether nothing would change. All is looked at in any case: so sixteen bytes take as long as one, and nearly every letter is so.
fn is_relaxed(body: &[u8]) -> bool {
    let pairs = body.iter().zip(body.get(1..).unwrap_or_default());
    let is_so = pairs.fold(true, |all, (&first, &second)| {
        all & ((first == b'\r') == (second == b'\n')) & (first != b'\t') & !((first == b' ') & ((second == b' ') | (second == b'\r')))
    });
    is_so && !body.starts_with(b"\n") && !body.ends_with(b"\n\r\n") && body != b"\r\n" && (body.is_empty() || body.ends_with(b"\r\n"))
}

fn relax_line(line: &[u8], relaxed: &mut Vec<u8>) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = line.iter().rposition(|byte| !is_space(byte)).map_or(&line[..0], |last| &line[..=last]);
    let pairs = line.iter().zip(line.get(1..).unwrap_or_default());
    if pairs.fold(true, |all, (&first, &second)| all & (first != b'\t') & !((first == b' ') & (second == b' '))) {
        relaxed.extend_from_slice(line);
        return;
    }
    let mut words = line.split(is_space);
    // A line may begin with a space.
    relaxed.extend_from_slice(words.next().unwrap_or_default());
    for word in words.filter(|word| !word.is_empty()) {
        relaxed.push(b' ');
        relaxed.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_relaxed_as_the_standard_shows() {
        // RFC 6376 §3.4.5, example 1, and folds.
        for (header, expected) in [
            ("A: X", "a:X"),
            ("B : Y\t\r\n\tZ  ", "b:Y Z"),
            ("Subject:  two   words ", "subject:two words"),
            ("X:", "x:"),
            ("List-Id:\r\n <news.example.org>", "list-id:<news.example.org>"),
        ] {
            let mut relaxed = b"before;".to_vec();
            relax_header(header.as_bytes(), &mut relaxed);
            assert_eq!(String::from_utf8(relaxed).unwrap(), format!("before;{expected}"), "{header:?}");
        }
    }

    #[test]
    fn bodies_are_relaxed_as_the_standard_shows() {
        for (body, expected) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("", ""),
            ("\r\n", ""),
            ("\r\n\r\n", ""),
            (" \t\r\n", ""),
            ("no end", "no end\r\n"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            ("tab\there\r\n", "tab here\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&relaxed_body(body.as_bytes())), expected, "{body:?}");
        }
    }

    /// Step by step as RFC 6376 §3.4.4 says it, for text whose lines end in CRLF.
    fn relaxed_slowly(body: &str) -> String {
        let mut relaxed = body.replace('\t', " ");
        for (from, to) in [("  ", " "), (" \r\n", "\r\n")] {
            while relaxed.contains(from) {
                relaxed = relaxed.replace(from, to);
            }
        }
        let relaxed = relaxed.strip_suffix(' ').unwrap_or(&relaxed).trim_end_matches("\r\n");
        if relaxed.is_empty() { String::new() } else { format!("{relaxed}\r\n") }
    }

    #[test]
    fn every_short_body_is_relaxed_and_what_is_so_already_is_borrowed() {
        const PIECES: [&str; 4] = ["x", " ", "\t", "\r\n"];
        for length in 0..=7 {
            for number in 0..4_usize.pow(length) {
                let body: String = (0..length).map(|place| PIECES[number / 4_usize.pow(place) % 4]).collect();
                let expected = relaxed_slowly(&body);
                let relaxed = relaxed_body(body.as_bytes());
                assert_eq!(String::from_utf8_lossy(&relaxed), expected, "{body:?}");
                assert_eq!(matches!(relaxed, Cow::Borrowed(_)), body == expected, "{body:?}");
            }
        }
    }

    #[test]
    fn a_message_falls_into_headers_and_body() {
        let (headers, body) = split(b"A: 1\r\nB: 2\r\n 3\r\n\r\nbody\r\n").unwrap();
        let shown: Vec<(&str, &[u8])> = headers.iter().map(|header| (header.name, header.bytes)).collect();
        assert_eq!(shown, [("A", b"A: 1".as_slice()), ("B", b"B: 2\r\n 3")]);
        assert_eq!(body, b"body\r\n");
        assert_eq!(split(b"A: 1\r\n").unwrap().1, b"");
        assert!(split(b"\r\nbody").is_none() && split(b"no header\r\n\r\n").is_none());
    }
}
