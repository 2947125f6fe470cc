//! One letter to one person as the bytes that go over the wire.
//!
//! Cast: [`MessageParts`] (everything that goes in), [`InlineImage`] (pictures inside it), [`compose`] (bytes out), [`MessageFault`] (why not), [`verp`] (the envelope
//! sender that brings a bounce home).
//!
//! It never asks a clock or a random number: the same parts give the same bytes, so that a retry sends the same letter.
//! It does not sign. The bytes are finished: a signer reads them and puts its header in front.

mod body;
mod header_text;
#[cfg(test)]
mod tests;

use super::address::{UnusableAddress, wire_address};
use header_text::{clean, end_column, phrase, unstructured};

/// Longest line without its CRLF (RFC 5322 §2.1.1).
const LONGEST_LINE: usize = 998;
/// Enough for the headers of a part, or a quarter of a letter's: more is only slower.
const ROOM_FOR_HEADERS: usize = 512;
/// Longest Message-ID taken, without brackets; one physical line with room to spare.
const LONGEST_MESSAGE_ID: usize = 250;

/// What a letter to one person is made of. Merge values are already filled in.
#[derive(Debug, Clone, Copy)]
pub struct MessageParts<'a> {
    /// Sender's display name; may be empty. Cleaned here.
    pub from_name: &'a str,
    /// Sender's address; its local part must be ASCII.
    pub from_address: &'a str,
    /// Where replies go, if not to the sender.
    pub reply_to: Option<&'a str>,
    /// Recipient's display name, if it is to be shown. Cleaned here.
    pub to_name: Option<&'a str>,
    /// Recipient's address. A non-ASCII local part makes the `To` header UTF-8 (RFC 6532), which needs a relay with SMTPUTF8.
    pub to_address: &'a str,
    /// Subject of any length. Cleaned here.
    pub subject: &'a str,
    /// When the letter was made: fixed per mailing, so that a retry carries the same date.
    pub date: jiff::Timestamp,
    /// Unique per mailing and stable across retries, `left@right` without brackets.
    pub message_id: &'a str,
    /// Name of the list, `news.example.org`, without brackets.
    pub list_id: &'a str,
    /// One-click unsubscription (RFC 8058); https, or http on this machine for trials.
    pub list_unsubscribe_url: &'a str,
    /// Unsubscription by mail: an address, with `?subject=…` if wanted, with or without `mailto:`.
    pub list_unsubscribe_mailto: Option<&'a str>,
    /// Gmail's `campaign:customer:type:sender`; the last field is 5 to 15 characters.
    pub feedback_id: Option<&'a str>,
    /// BCP 47 tag for `Content-Language`.
    pub language: Option<&'a str>,
    /// The text part; must not be blank.
    pub text: &'a str,
    /// The HTML part; must not be blank.
    pub html: &'a str,
}

/// A picture inside the message, ready to be written: encoded once, not once per recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineImage {
    content_id: String,
    media_type: &'static str,
    encoded: Vec<u8>,
}

impl InlineImage {
    /// `content_id` is what the HTML part calls it after `cid:`, ASCII without brackets.
    pub fn new(content_id: String, media_type: &'static str, bytes: &[u8]) -> Self {
        Self { content_id, media_type, encoded: body::base64_of(bytes) }
    }

    fn write(&self, letter: &mut Vec<u8>) -> Result<(), MessageFault> {
        let fault = |why| MessageFault::Header { header: "Content-ID", why };
        if !self.content_id.split_once('@').is_some_and(|(left, right)| is_dot_atom(left) && is_dot_atom(right)) {
            return Err(fault("it must be left@right in ASCII, without brackets"));
        }
        if self.media_type.is_empty() {
            return Err(fault("its picture has no media type"));
        }
        set(letter, "Content-Type", self.media_type);
        set(letter, "Content-Disposition", "inline");
        set(letter, "Content-ID", &format!("<{}>", self.content_id));
        set(letter, "Content-Transfer-Encoding", "base64");
        letter.extend_from_slice(b"\r\n");
        letter.extend_from_slice(&self.encoded);
        letter.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Why a letter cannot be made. Never contains an address or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// An address cannot be written into a header.
    #[error("the {header} address cannot be used: {why}")]
    Address {
        /// `From`, `To` or `Reply-To`.
        header: &'static str,
        /// What is wrong with it.
        why: UnusableAddress,
    },
    /// A non-ASCII local part where it cannot be.
    #[error("the {header} address has a non-ASCII name before the @; many recipients could not read it: use an ASCII one")]
    NonAsciiLocalPart {
        /// `From` or `Reply-To`.
        header: &'static str,
    },
    /// A header value outside its syntax.
    #[error("{header} cannot be written: {why}")]
    Header {
        /// The header's name.
        header: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// A part with nothing in it.
    #[error("the {part} part is blank; a letter needs both a text and an HTML part")]
    BlankPart {
        /// `text` or `HTML`.
        part: &'static str,
    },
}

/// The envelope sender of a mailing, `b+TOKEN@bounce.domain`. The token must survive case folding.
pub fn verp(token: &str, bounce_domain: &str) -> String {
    format!("b+{token}@{bounce_domain}")
}

/// Writes a letter: headers, then `multipart/alternative` with the text first and the HTML last.
///
/// Every line ends in CRLF, is 7-bit (but see [`MessageParts::to_address`]) and at most 998 bytes long. Each header occurs once.
/// The bytes are what a DKIM signer signs: its header goes in front of them and nothing else may change.
pub fn compose(parts: &MessageParts<'_>) -> Result<Vec<u8>, MessageFault> {
    compose_with(parts, &[])
}

/// As [`compose`], with pictures inside the message: the HTML part becomes `multipart/related` with them (RFC 2387).
pub fn compose_with(parts: &MessageParts<'_>, images: &[InlineImage]) -> Result<Vec<u8>, MessageFault> {
    if parts.text.trim().is_empty() {
        return Err(MessageFault::BlankPart { part: "text" });
    }
    if parts.html.trim().is_empty() {
        return Err(MessageFault::BlankPart { part: "HTML" });
    }
    let pictures: usize = images.iter().map(|image| image.encoded.len() + ROOM_FOR_HEADERS).sum();
    let bodies = parts.text.len() + parts.html.len();
    let mut letter = Vec::with_capacity(ROOM_FOR_HEADERS * 4 + bodies + bodies / 4 + pictures);
    write_people(&mut letter, parts)?;
    let subject = clean(parts.subject);
    set(&mut letter, "Subject", &unstructured(&subject, "Subject: ".len()));
    set(&mut letter, "Date", &date(parts.date)?);
    let message_id = message_id(parts.message_id)?;
    set(&mut letter, "Message-ID", &format!("<{message_id}>"));
    write_list(&mut letter, parts)?;
    set(&mut letter, "Precedence", "bulk");
    // Exchange answers out-of-office to Precedence: bulk all the same; this is what it listens to.
    set(&mut letter, "X-Auto-Response-Suppress", "OOF, AutoReply");
    if let Some(language) = parts.language {
        set(&mut letter, "Content-Language", &language_tag(language)?);
    }
    set(&mut letter, "MIME-Version", "1.0");

    let boundary = boundary(message_id);
    begin_multipart(&mut letter, "alternative", &boundary);
    begin_part(&mut letter, &boundary);
    write_text(&mut letter, "text/plain", parts.text);
    begin_part(&mut letter, &boundary);
    if images.is_empty() {
        write_text(&mut letter, "text/html", parts.html);
    } else {
        let related = boundary.replacen("letter", "related", 1);
        begin_multipart(&mut letter, "related", &related);
        begin_part(&mut letter, &related);
        write_text(&mut letter, "text/html", parts.html);
        for image in images {
            begin_part(&mut letter, &related);
            image.write(&mut letter)?;
        }
        end_multipart(&mut letter, &related);
    }
    end_multipart(&mut letter, &boundary);
    Ok(letter)
}

/// The boundary follows from the Message-ID. It holds `=_`, which neither quoted-printable nor base64 ever writes.
fn boundary(message_id: &str) -> String {
    let id: String = message_id.chars().filter(char::is_ascii_alphanumeric).take(50).collect();
    format!("=_letter_{id}")
}

/// The last header of what it is in.
fn begin_multipart(letter: &mut Vec<u8>, kind: &str, boundary: &str) {
    set(letter, "Content-Type", &format!("multipart/{kind}; boundary=\"{boundary}\""));
    letter.extend_from_slice(b"\r\n");
}

fn begin_part(letter: &mut Vec<u8>, boundary: &str) {
    for piece in ["--", boundary, "\r\n"] {
        letter.extend_from_slice(piece.as_bytes());
    }
}

fn end_multipart(letter: &mut Vec<u8>, boundary: &str) {
    for piece in ["--", boundary, "--\r\n"] {
        letter.extend_from_slice(piece.as_bytes());
    }
}

/// A whole part, encoded where it is to stay.
fn write_text(letter: &mut Vec<u8>, media_type: &str, text: &str) {
    let text = body::Encodable::of(text);
    set(letter, "Content-Type", &format!("{media_type}; charset=utf-8"));
    set(letter, "Content-Transfer-Encoding", text.encoding());
    letter.extend_from_slice(b"\r\n");
    text.write(letter);
    letter.extend_from_slice(b"\r\n");
}

/// Writes a header whose value is already ASCII, folded and free of line breaks other than folds.
fn set(letter: &mut Vec<u8>, name: &'static str, value: &str) {
    for piece in [name, ": ", value, "\r\n"] {
        letter.extend_from_slice(piece.as_bytes());
    }
}

fn write_people(letter: &mut Vec<u8>, parts: &MessageParts<'_>) -> Result<(), MessageFault> {
    let from = ascii_address("From", parts.from_address)?;
    set(letter, "From", &mailbox("From: ".len(), parts.from_name, &from));
    let to = wire_address(parts.to_address).map_err(|why| MessageFault::Address { header: "To", why })?;
    set(letter, "To", &mailbox("To: ".len(), parts.to_name.unwrap_or_default(), to.as_ref()));
    if let Some(reply_to) = parts.reply_to {
        let reply_to = ascii_address("Reply-To", reply_to)?;
        set(letter, "Reply-To", &mailbox("Reply-To: ".len(), "", &reply_to));
    }
    Ok(())
}

fn ascii_address(header: &'static str, text: &str) -> Result<String, MessageFault> {
    let address = wire_address(text).map_err(|why| MessageFault::Address { header, why })?.to_string();
    if address.is_ascii() { Ok(address) } else { Err(MessageFault::NonAsciiLocalPart { header }) }
}

/// `"Name" <address>`, or the bare address when there is no name.
fn mailbox(column: usize, name: &str, address: &str) -> String {
    let name = clean(name);
    if name.is_empty() {
        return address.to_owned();
    }
    let mut value = phrase(&name, column);
    if end_column(&value, column) + address.len() + 3 > 76 {
        value.push_str("\r\n");
    }
    value.push_str(" <");
    value.push_str(address);
    value.push('>');
    value
}

/// RFC 5322 §3.3, always in UTC.
fn date(date: jiff::Timestamp) -> Result<String, MessageFault> {
    let date = date.to_zoned(jiff::tz::TimeZone::UTC);
    if !(1900..=9999).contains(&date.year()) {
        return Err(MessageFault::Header { header: "Date", why: "the year must have four digits and not be before 1900" });
    }
    Ok(date.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

fn message_id(text: &str) -> Result<&str, MessageFault> {
    let good =
        text.len() <= LONGEST_MESSAGE_ID && text.split_once('@').is_some_and(|(left, right)| is_dot_atom(left) && is_dot_atom(right));
    if good {
        Ok(text)
    } else {
        Err(MessageFault::Header { header: "Message-ID", why: "it must be left@right in ASCII, without brackets, at most 250 characters" })
    }
}

fn is_dot_atom(text: &str) -> bool {
    let is_atom =
        |atom: &str| !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte));
    text.split('.').all(is_atom)
}

fn write_list(letter: &mut Vec<u8>, parts: &MessageParts<'_>) -> Result<(), MessageFault> {
    set(letter, "List-Id", &list_id(parts.list_id)?);
    set(letter, "List-Unsubscribe", &list_unsubscribe(parts)?);
    set(letter, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
    if let Some(feedback_id) = parts.feedback_id {
        set(letter, "Feedback-ID", &feedback_id_value(feedback_id)?);
    }
    Ok(())
}

/// RFC 2919 §3: a dot-atom of two labels or more in brackets; an international name as A-labels.
fn list_id(text: &str) -> Result<String, MessageFault> {
    let ascii = if text.is_ascii() { text.to_owned() } else { idna::domain_to_ascii_strict(text).unwrap_or_default() };
    if ascii.contains('.') && ascii.len() <= 255 && is_dot_atom(&ascii) {
        Ok(format!("<{ascii}>"))
    } else {
        Err(MessageFault::Header { header: "List-Id", why: "it must look like news.example.org, without brackets" })
    }
}

fn is_https(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
}

/// Trials on one machine have no certificate; nobody else can follow such an address anyway.
fn is_on_this_machine(url: &str) -> bool {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next());
    matches!(host, Some("127.0.0.1" | "localhost"))
}

/// One physical line, nothing encoded: some relays refold or recode anything else and so break the signature (RFC 8058 §3.1, RFC 2369).
fn list_unsubscribe(parts: &MessageParts<'_>) -> Result<String, MessageFault> {
    let fault = |why| MessageFault::Header { header: "List-Unsubscribe", why };
    let is_bare = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b','));
    let url = parts.list_unsubscribe_url;
    if !(is_https(url) || is_on_this_machine(url)) || !is_bare(url) {
        return Err(fault("the address must begin with https:// and hold neither spaces, commas, angle brackets nor non-ASCII characters"));
    }
    let mut value = format!("<{url}>");
    if let Some(mailto) = parts.list_unsubscribe_mailto {
        let mailto = mailto.strip_prefix("mailto:").unwrap_or(mailto);
        let address = mailto.split('?').next().unwrap_or_default();
        let is_address = wire_address(address).is_ok_and(|wire| AsRef::<str>::as_ref(&wire).is_ascii());
        if !is_bare(mailto) || !is_address {
            return Err(fault("the mailto must be an ASCII address, with ?subject=… at most, without spaces and commas"));
        }
        value.push_str(&format!(", <mailto:{mailto}>"));
    }
    if "List-Unsubscribe: ".len() + value.len() > LONGEST_LINE {
        return Err(fault("it must fit on one line of 998 characters: shorten the address or the token"));
    }
    Ok(value)
}

/// Gmail's feedback loop: up to four fields between colons, none twice, the last one 5 to 15 characters.
fn feedback_id_value(text: &str) -> Result<String, MessageFault> {
    let fields: Vec<&str> = text.split(':').collect();
    let filled: Vec<&&str> = fields.iter().filter(|field| !field.is_empty()).collect();
    let distinct: std::collections::HashSet<_> = filled.iter().collect();
    let sender_length = fields.last().map_or(0, |field| field.len());
    let good = fields.len() <= 4
        && distinct.len() == filled.len()
        && (5..=15).contains(&sender_length)
        && text.len() <= 200
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        Ok(text.to_owned())
    } else {
        Err(MessageFault::Header {
            header: "Feedback-ID",
            why: "it must be up to four different fields between colons, ASCII, the last of 5 to 15 characters",
        })
    }
}

fn language_tag(text: &str) -> Result<String, MessageFault> {
    let good = text.len() <= 35
        && text.split('-').all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if good {
        Ok(text.to_owned())
    } else {
        Err(MessageFault::Header { header: "Content-Language", why: "it must be a language tag such as fr or pt-BR" })
    }
}
