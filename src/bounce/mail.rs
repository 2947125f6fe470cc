//! MIME at arm's length: parses a stranger's message within limits.
//!
//! Cast: [`Mail`], a parsed message with unfolded headers and its parts.
//!
//! It never panics, never reads more than [`BYTES_READ_MAX`] of a message and never goes into a quoted message by itself.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

/// A report stands before the letter it returns, so the rest of a huge message is not looked at.
pub(super) const BYTES_READ_MAX: usize = 1024 * 1024;
/// More parts with a type of their own than this, nested or not, is no mail anyone reads.
const TYPED_PARTS_MAX: usize = 200;
/// Lines that may be boundaries.
const BOUNDARY_LINES_MAX: usize = 5000;
/// Most text looked at in one part, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A parsed message.
pub(super) struct Mail<'a> {
    message: Message<'a>,
}

impl<'a> Mail<'a> {
    /// Parses a message; `None` when it is empty, not mail, or built to be expensive.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        // Pipes and mail programs put blank lines or an mbox line in front; the parser would see a message without headers.
        let bytes = after_mbox_line(bytes.trim_ascii_start());
        let bytes = bytes.get(..BYTES_READ_MAX).unwrap_or(bytes);
        if is_monstrous(bytes) {
            return None;
        }
        // The parser promises not to panic. The bytes are a stranger's, so the promise is not relied upon.
        let message = catch_unwind(AssertUnwindSafe(|| MessageParser::default().parse(bytes))).ok()??;
        Some(Self { message })
    }

    /// The values of a header, unfolded and trimmed, in order. `name` in lower case.
    pub(super) fn headers(&self, name: &str) -> Vec<String> {
        header_values(&self.message, name)
    }

    /// The first value of a header, or nothing.
    pub(super) fn header(&self, name: &str) -> String {
        self.headers(name).into_iter().next().unwrap_or_default()
    }

    /// The subject with encoded words decoded.
    pub(super) fn subject(&self) -> &str {
        self.message.subject().unwrap_or_default()
    }

    /// The parameter `report-type` of the container, in lower case.
    pub(super) fn report_type(&self) -> String {
        let content_type = self.message.root_part().content_type();
        content_type.and_then(|content_type| content_type.attribute("report-type")).unwrap_or_default().to_ascii_lowercase()
    }

    /// The text of the first part of one of these types ("message/delivery-status"). Parts of quoted messages are not looked at.
    pub(super) fn part(&self, types: &[&str]) -> Option<String> {
        let part = self.message.parts.iter().find(|part| types.contains(&media_type(part).as_str()))?;
        // Some servers label the report as a message; its fields then were read as that message's headers.
        if let PartType::Message(message) = &part.body {
            return Some(lossy(message.raw_message.get(message.root_part().raw_header_offset() as usize..).unwrap_or_default()));
        }
        Some(lossy(part.contents()))
    }

    /// What the sender of the report wrote itself: text parts of this message, up to the returned letter.
    pub(super) fn own_text(&self) -> String {
        let mut text = String::new();
        for part in &self.message.parts {
            match &part.body {
                PartType::Text(body) if media_type(part) != "text/rfc822-headers" => text.push_str(&clip(body)),
                PartType::Html(body) if text.is_empty() => text.push_str(&clip(body)),
                PartType::Message(_) => break,
                _ => {}
            }
            if text.len() >= TEXT_BYTES_MAX {
                break;
            }
        }
        text
    }

    /// A header of the returned letter, whether it came whole or as headers only.
    pub(super) fn returned_headers(&self, names: &[&str]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for part in &self.message.parts {
            match &part.body {
                PartType::Message(message) => collect(message, names, &mut found),
                _ if matches!(media_type(part).as_str(), "text/rfc822-headers" | "message/rfc822-headers" | "message/global-headers") => {
                    let mut headers = part.contents().to_vec();
                    headers.extend_from_slice(b"\r\n\r\n");
                    let parsed = catch_unwind(AssertUnwindSafe(|| MessageParser::default().parse_headers(&headers))).ok().flatten();
                    if let Some(message) = parsed {
                        collect(&message, names, &mut found);
                    }
                }
                _ => {}
            }
        }
        found
    }
}

fn after_mbox_line(bytes: &[u8]) -> &[u8] {
    if !bytes.starts_with(b"From ") {
        return bytes;
    }
    let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    bytes.get(end..).unwrap_or_default()
}

fn collect(message: &Message<'_>, names: &[&str], found: &mut Vec<(usize, String)>) {
    for (at, name) in names.iter().enumerate() {
        found.extend(header_values(message, name).into_iter().map(|value| (at, value)));
    }
}

fn header_values(message: &Message<'_>, name: &str) -> Vec<String> {
    let Some(root) = message.parts.first() else { return Vec::new() };
    let raw = |start: u32, end: u32| message.raw_message.get(start as usize..end as usize).unwrap_or_default();
    root.headers
        .iter()
        .filter(|header| header.name().eq_ignore_ascii_case(name))
        .map(|header| unfold(&lossy(raw(header.offset_start(), header.offset_end()))))
        .collect()
}

fn unfold(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn media_type(part: &MessagePart<'_>) -> String {
    let Some(content_type) = part.content_type() else { return String::new() };
    format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or_default()).to_ascii_lowercase()
}

fn lossy(bytes: &[u8]) -> String {
    match String::from_utf8_lossy(bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes)) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

fn clip(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX { Cow::Borrowed(text) } else { Cow::Owned(lossy(text.as_bytes())) }
}

/// Counts what would make parsing expensive, before parsing.
fn is_monstrous(bytes: &[u8]) -> bool {
    let (mut typed, mut boundaries) = (0, 0);
    for line in bytes.split(|&byte| byte == b'\n') {
        if line.starts_with(b"--") {
            boundaries += 1;
        } else if line.get(..12).is_some_and(|name| name.eq_ignore_ascii_case(b"content-type")) {
            typed += 1;
        }
    }
    typed > TYPED_PARTS_MAX || boundaries > BOUNDARY_LINES_MAX
}
