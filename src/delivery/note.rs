//! A plain mail to whoever runs this: no campaign's, no list's, nothing in it is measured.
//!
//! Cast: [`Note`], [`note`]. It asks no clock, and sends nothing.

use jiff::Timestamp;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};

use super::address::{UnusableAddress, wire_address};

/// What goes into it.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    /// The sender's address.
    pub from: &'a str,
    /// The recipient's.
    pub to: &'a str,
    /// Of any length.
    pub subject: &'a str,
    /// Plain text.
    pub text: &'a str,
    /// When it was written.
    pub date: Timestamp,
    /// `left@right`, without brackets.
    pub id: &'a str,
}

/// Why a note cannot be written. Never contains an address.
#[derive(Debug, thiserror::Error)]
pub enum NoteFault {
    /// An address that cannot be used.
    #[error("the {whose} address cannot be used: {why}")]
    Address {
        /// `sender's` or `recipient's`.
        whose: &'static str,
        /// What is wrong with it.
        why: UnusableAddress,
    },
    /// Something else in it.
    #[error("it cannot be written")]
    Message(#[from] lettre::error::Error),
}

/// The message as bytes, ready to be signed.
///
/// # Errors
/// An address that cannot be used.
pub fn note(note: &Note<'_>) -> Result<Vec<u8>, NoteFault> {
    let address = |whose, text| wire_address(text).map_err(|why| NoteFault::Address { whose, why });
    let message = lettre::Message::builder()
        .from(Mailbox::new(Some("Letterlab".to_owned()), address("sender's", note.from)?))
        .to(Mailbox::new(None, address("recipient's", note.to)?))
        .subject(note.subject)
        .date(note.date.into())
        .message_id(Some(format!("<{}>", note.id)))
        // Nobody's absence is to answer it (RFC 3834).
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(note.text.to_owned())?;
    Ok(message.formatted())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(to: &str) -> Result<String, NoteFault> {
        let date = "2026-11-23T06:07:08Z".parse().unwrap();
        let parts = Note { from: "news@example.org", to, subject: "Größe", text: "Zeile\n.\n", date, id: "1@example.org" };
        note(&parts).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_note_is_a_plain_message_with_the_moment_it_is_given() {
        let text = written("ops@bücher.example").unwrap();
        for line in [
            "From: Letterlab <news@example.org>",
            "To: ops@xn--bcher-kva.example",
            "Date: Mon, 23 Nov 2026 06:07:08 +0000",
            "Message-ID: <1@example.org>",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
        assert!(text.is_ascii() && text.contains("Subject: =?utf-8?"), "{text}");
    }

    #[test]
    fn an_address_that_would_begin_a_header_is_refused_and_not_repeated() {
        let fault = written("a@example.org>\r\nBcc: <eve@example.org").unwrap_err().to_string();
        assert_eq!(fault, "the recipient's address cannot be used: it contains a control character or a space");
    }
}
