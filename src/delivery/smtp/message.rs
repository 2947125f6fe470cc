//! One message made ready for the wire: what it needs of a relay is known, and nothing is left to go wrong between 354 and the dot.
//!
//! Cast: [`Message`], [`Envelope`] (the commands that begin it).
//!
//! It never changes a byte but the dots at the beginning of lines.

use lettre::Address;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter};

use super::Unsupported;
use super::wire::Offers;
use crate::delivery::address::wire_address;

/// A finished message to one recipient. Holds the address.
pub struct Message {
    sender: Address,
    recipient: Address,
    /// As the caller wrote it: replies are searched for it.
    pub(super) to: String,
    /// Dot-stuffed, without the final dot.
    pub(super) bytes: Vec<u8>,
    length: usize,
    is_ascii: bool,
    has_plain_header: bool,
}

/// The commands that begin a message: MAIL, RCPT, DATA. Holds the address, and so is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(super) mail: String,
    pub(super) rcpt: String,
    pub(super) data: String,
}

impl Message {
    /// `bytes` are finished: CRLF line ends, no dot-stuffing.
    ///
    /// # Errors
    /// What no relay would take.
    pub fn new(envelope_from: &str, recipient: &str, bytes: Vec<u8>) -> Result<Self, Unsupported> {
        let sender = wire_address(envelope_from).map_err(Unsupported::Sender)?;
        let to = recipient.to_owned();
        let recipient = wire_address(recipient).map_err(Unsupported::Recipient)?;
        let (length, is_ascii) = (bytes.len(), bytes.is_ascii());
        let has_plain_header = is_ascii || header(&bytes).is_ascii();
        Ok(Self { sender, recipient, to, bytes: stuffed(bytes)?, length, is_ascii, has_plain_header })
    }

    /// The commands that begin it at a relay with these offers: [`super::BeforeDot::SendAndBegin`].
    ///
    /// # Errors
    /// What this relay does not offer.
    pub fn envelope(&self, offers: Offers) -> Result<Envelope, Unsupported> {
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let mut parameters = Vec::new();
        if offers.size {
            parameters.push(MailParameter::Size(self.length));
        }
        if !is_ascii(&self.sender) || !is_ascii(&self.recipient) || !self.has_plain_header {
            if !offers.smtp_utf8 {
                return Err(Unsupported::NeedsSmtpUtf8);
            }
            // RFC 6531 §3.1: a relay with SMTPUTF8 has 8BITMIME.
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
            parameters.push(MailParameter::SmtpUtfEight);
        } else if !self.is_ascii {
            if !offers.eight_bit_mime {
                return Err(Unsupported::NeedsEightBitMime);
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let mail = Mail::new(Some(self.sender.clone()), parameters).to_string();
        Ok(Envelope { mail, rcpt: Rcpt::new(self.recipient.clone(), Vec::new()).to_string(), data: Data.to_string() })
    }
}

impl Envelope {
    /// All of them (RFC 2920).
    pub(super) fn at_once(&self) -> String {
        [self.mail.as_str(), &self.rcpt, &self.data].concat()
    }
}

/// The message up to its first empty line.
fn header(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(message.len());
    message.get(..end).unwrap_or_default()
}

/// Dot-stuffed (RFC 5321 §4.5.2).
fn stuffed(message: Vec<u8>) -> Result<Vec<u8>, Unsupported> {
    let pairs = || message.iter().zip(message.get(1..).unwrap_or_default());
    // Looked at as a whole, sixteen bytes take as long as one: our own letters never need more.
    let all_in_pairs = pairs().fold(true, |all, (&first, &second)| all & ((first == b'\r') == (second == b'\n')));
    if !all_in_pairs || message.first() == Some(&b'\n') || !(message.is_empty() || message.ends_with(b"\r\n")) {
        return Err(Unsupported::LineEnds);
    }
    let has_dots = pairs().fold(false, |any, (&first, &second)| any | ((first == b'\n') & (second == b'.')));
    if !has_dots && message.first() != Some(&b'.') {
        return Ok(message);
    }
    let mut outgoing = Vec::with_capacity(message.len() + message.len() / 64 + 16);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            outgoing.push(b'.');
        }
        outgoing.extend_from_slice(line);
    }
    Ok(outgoing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_a_line_that_does_not_end_in_crlf_is_found_wherever_it_is() {
        let check = |message: &str, expected: Option<&str>| {
            let found = stuffed(message.as_bytes().to_vec()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert_eq!(found, expected.map(str::to_owned).ok_or(Unsupported::LineEnds), "{message:?}");
        };
        check("", Some(""));
        check("a\r\n", Some("a\r\n"));
        check("a.b\r\n\r\nc\r\n", Some("a.b\r\n\r\nc\r\n"));
        check(".\r\n", Some("..\r\n"));
        check("a\r\n.b\r\n..\r\n", Some("a\r\n..b\r\n...\r\n"));
        for bad in ["\n", "\r", "a", "\na\r\n", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "a\r\n\n", "a\r\n\r", "a\r\nb", "a\r\n\r.\r\n"] {
            check(bad, None);
        }
    }
}
