//! What a signature covers: the relaxed forms of headers and body (RFC 6376 §3.4.2, §3.4.4).
//!
//! Cast: [`split`] (a message in [`Header`]s and body), [`relaxed_header`], [`relaxed_body`].
//!
//! Bytes in, bytes out; it never decodes anything.

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

/// Name in lower case, the value unfolded with single spaces and none at its ends; no CRLF.
pub(super) fn relaxed_header(header: &[u8]) -> Vec<u8> {
    let colon = header.iter().position(|&byte| byte == b':').unwrap_or(header.len());
    let (name, value) = header.split_at(colon);
    let mut relaxed = name.trim_ascii_end().to_ascii_lowercase();
    relaxed.push(b':');
    let start = relaxed.len();
    let mut space = false;
    for &byte in value.get(1..).unwrap_or_default() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => space = true,
            _ => {
                if space && relaxed.len() > start {
                    relaxed.push(b' ');
                }
                space = false;
                relaxed.push(byte);
            }
        }
    }
    relaxed
}

/// Runs of spaces and tabs as one space, none at the end of a line, no empty lines at the end; CRLF at the end of any text.
pub(super) fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut relaxed = Vec::with_capacity(body.len() + 2);
    let mut content_ends = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        relax_line(line.strip_suffix(b"\r").unwrap_or(line), &mut relaxed);
        let has_text = relaxed.last().is_some_and(|&last| last != b'\n');
        relaxed.extend_from_slice(b"\r\n");
        if has_text {
            content_ends = relaxed.len();
        }
        rest = after.get(1..).unwrap_or_default();
    }
    relaxed.truncate(content_ends);
    relaxed
}

fn relax_line(line: &[u8], relaxed: &mut Vec<u8>) {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t');
    let line = line.iter().rposition(|&byte| !is_space(byte)).map_or(&line[..0], |last| &line[..=last]);
    // Nearly every line of a letter is relaxed already.
    let mut after_space = false;
    let needs_work = line.iter().any(|&byte| {
        let bad = byte == b'\t' || (after_space && byte == b' ');
        after_space = byte == b' ';
        bad
    });
    if !needs_work {
        relaxed.extend_from_slice(line);
        return;
    }
    let mut space = false;
    for &byte in line {
        if is_space(byte) {
            space = true;
            continue;
        }
        if space {
            relaxed.push(b' ');
        }
        space = false;
        relaxed.push(byte);
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
            assert_eq!(String::from_utf8(relaxed_header(header.as_bytes())).unwrap(), expected, "{header:?}");
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
            assert_eq!(String::from_utf8(relaxed_body(body.as_bytes())).unwrap(), expected, "{body:?}");
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
