//! The answers to pixels and links as bytes: made once a second and worker, because of the date, and copied out.
//!
//! Cast: [`Answer`], [`write`].

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::web::public::pixel::{self, GIF};
use crate::web::public::redirect::{HEADERS, NOWHERE, NOWHERE_HEADERS};

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The pixel, the same for every token.
    Pixel,
    /// On to the link's frozen target.
    Onward(Arc<str>),
    /// A link of nobody's.
    Nothing,
    /// Too many tokens of nobody's from one source.
    TooMany,
}

/// Head of each answer up to where the connection's end may be announced.
#[derive(Default)]
struct Heads {
    second: i64,
    pixel: Vec<u8>,
    onward: Vec<u8>,
    nothing: Vec<u8>,
    too_many: Vec<u8>,
}

thread_local! {
    static HEADS: RefCell<Heads> = RefCell::new(Heads { second: i64::MIN, ..Heads::default() });
}

fn head(status: &str, length: usize, headers: &[(&str, &str)], date: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("date: ");
    text.push_str(date);
    text.push_str("\r\n");
    text.into_bytes()
}

/// Appends an answer to `out`.
pub fn write(answer: &Answer, is_head: bool, is_last: bool, now: Timestamp, out: &mut Vec<u8>) {
    HEADS.with_borrow_mut(|heads| {
        if heads.second != now.as_second() {
            // A date that cannot be written would be thousands of years away.
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default();
            *heads = Heads {
                second: now.as_second(),
                pixel: head("200 OK", GIF.len(), &pixel::HEADERS, &date),
                onward: head("302 Found", 0, &HEADERS, &date),
                nothing: head("404 Not Found", NOWHERE.len(), &[&HEADERS[..], &NOWHERE_HEADERS[..]].concat(), &date),
                too_many: head("429 Too Many Requests", 0, &[("retry-after", "60")], &date),
            };
        }
        match answer {
            Answer::Pixel => out.extend_from_slice(&heads.pixel),
            Answer::Nothing => out.extend_from_slice(&heads.nothing),
            Answer::TooMany => out.extend_from_slice(&heads.too_many),
            Answer::Onward(target) => {
                out.extend_from_slice(&heads.onward);
                out.extend_from_slice(b"location: ");
                out.extend_from_slice(target.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    });
    out.extend_from_slice(if is_last { b"connection: close\r\n\r\n" } else { b"\r\n" });
    match answer {
        Answer::Pixel if !is_head => out.extend_from_slice(GIF),
        Answer::Nothing if !is_head => out.extend_from_slice(NOWHERE.as_bytes()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer, is_head: bool, is_last: bool, now: &str) -> String {
        let mut out = Vec::new();
        write(answer, is_head, is_last, now.parse().unwrap(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn answers_are_whole_and_dated() {
        let onward = text(&Answer::Onward(Arc::from("https://shop.example/a?b=1#c")), false, false, "2026-11-22T12:00:01Z");
        assert!(onward.starts_with("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n"), "{onward}");
        assert!(onward.ends_with("date: Sun, 22 Nov 2026 12:00:01 GMT\r\nlocation: https://shop.example/a?b=1#c\r\n\r\n"), "{onward}");
        let pixel = text(&Answer::Pixel, false, true, "2026-11-22T12:00:02Z");
        assert!(pixel.contains("12:00:02") && pixel.contains("connection: close\r\n\r\nGIF89a"), "{pixel}");
        let head = text(&Answer::Pixel, true, false, "2026-11-22T12:00:02Z");
        assert!(head.contains("content-length: 43\r\n") && head.ends_with("\r\n\r\n") && !head.contains("GIF89a"), "{head}");
        let nothing = text(&Answer::Nothing, false, false, "2026-11-22T12:00:02Z");
        let (above, page) = nothing.split_once("\r\n\r\n").unwrap();
        assert!(above.starts_with("HTTP/1.1 404 Not Found\r\n") && above.contains("content-type: text/html; charset=utf-8"), "{above}");
        assert!(above.contains(&format!("content-length: {}\r\n", page.len())) && page.contains("leads nowhere"), "{nothing}");
        assert!(text(&Answer::Nothing, true, false, "2026-11-22T12:00:02Z").ends_with("\r\n\r\n"));
    }
}
