//! The receiving end of a story: an SMTP server in this process that keeps what it takes.
//!
//! Cast: [`Mailboxes`] (the server, and what its mailboxes answer), [`Answer`], [`Message`] (a letter as received, with its tokens).
//!
//! It forwards nothing. Messages are parsed by a library the sender does not use for writing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use letterlab::smtpd::{self, Envelope, Handler, Reply};
use mail_parser::MessageParser;
use tokio::net::TcpListener;

use crate::world::SITE;

/// What a mailbox answers instead of taking a letter.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This, the next time only.
    Once(Reply),
    /// This, always.
    Always(Reply),
    /// This to the message itself, always: the recipient was welcome.
    AfterTheLetter(Reply),
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    received: Mutex<Vec<Message>>,
    asked: Mutex<Vec<String>>,
    interruption: Mutex<Option<Interruption>>,
    at_dot: Mutex<Option<(String, What)>>,
}

/// What happens while this many letters have been offered.
type Interruption = (usize, What);
type What = Box<dyn FnOnce() + Send>;

/// A running server; copies share it. It ends with the test.
#[derive(Clone)]
pub struct Mailboxes {
    shared: Arc<Shared>,
    port: u16,
}

/// A letter as received.
#[derive(Debug, Clone)]
pub struct Message {
    /// The return path.
    pub return_path: String,
    /// Whom it was for.
    pub recipient: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Decoded.
    pub subject: String,
    /// The text part, decoded.
    pub text: String,
    /// The HTML part, decoded.
    pub html: String,
}

impl Mailboxes {
    /// Starts a server on a free port.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mailboxes = Self { shared: Arc::default(), port };
        tokio::spawn(smtpd::serve(listener, smtpd::Settings::new("mx.example.org"), mailboxes.clone(), std::future::pending()));
        mailboxes
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the mailbox of this address answers from now on.
    pub fn answer(&self, address: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(address.to_owned(), answer);
    }

    /// Does something while the letter with this number, from 1, is being offered: before it is taken.
    pub fn interrupt_at(&self, letter: usize, what: impl FnOnce() + Send + 'static) {
        *self.shared.interruption.lock().unwrap() = Some((letter, Box::new(what)));
    }

    /// Does something when the letter to this address has come with its last dot, before that is answered.
    pub fn interrupt_at_dot(&self, address: &str, what: impl FnOnce() + Send + 'static) {
        *self.shared.at_dot.lock().unwrap() = Some((address.to_owned(), Box::new(what)));
    }

    /// Every letter taken so far.
    pub fn received(&self) -> Vec<Message> {
        self.shared.received.lock().unwrap().clone()
    }

    /// How often a letter to this address was offered.
    pub fn offers(&self, address: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|asked| *asked == address).count()
    }
}

impl Handler for Mailboxes {
    fn recipient(&self, _envelope: &Envelope, recipient: &str) -> Reply {
        let asked = {
            let mut asked = self.shared.asked.lock().unwrap();
            asked.push(recipient.to_owned());
            asked.len()
        };
        let interruption = self.shared.interruption.lock().unwrap().take_if(|(letter, _)| *letter == asked);
        if let Some((_, what)) = interruption {
            what();
        }
        let mut answers = self.shared.answers.lock().unwrap();
        match answers.get(recipient).cloned() {
            Some(Answer::Once(reply)) => {
                answers.remove(recipient);
                reply
            }
            Some(Answer::Always(reply)) => reply,
            Some(Answer::AfterTheLetter(_)) | None => Reply::recipient_accepted(),
        }
    }

    async fn message(&self, envelope: Envelope, message: Vec<u8>) -> Reply {
        for recipient in &envelope.recipients {
            let interruption = self.shared.at_dot.lock().unwrap().take_if(|(address, _)| address == recipient);
            if let Some((_, what)) = interruption {
                what();
            }
            if let Some(Answer::AfterTheLetter(reply)) = self.shared.answers.lock().unwrap().get(recipient) {
                return reply.clone();
            }
            self.shared.received.lock().unwrap().push(read(&envelope.sender, recipient, &message));
        }
        Reply::message_accepted()
    }
}

fn read(return_path: &str, recipient: &str, bytes: &[u8]) -> Message {
    let mail = MessageParser::default().parse(bytes).unwrap();
    Message {
        return_path: return_path.to_owned(),
        recipient: recipient.to_owned(),
        subject: mail.subject().unwrap_or_default().to_owned(),
        text: mail.body_text(0).unwrap_or_default().into_owned(),
        html: mail.body_html(0).unwrap_or_default().into_owned(),
        bytes: bytes.to_vec(),
    }
}

impl Message {
    /// A header's value, unfolded; empty when it is missing.
    pub fn header(&self, name: &str) -> String {
        let mail = MessageParser::default().parse(&self.bytes).unwrap();
        mail.header_raw(name).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The token of the pixel, if there is one.
    pub fn pixel(&self) -> Option<String> {
        self.tokens("/o/").into_iter().next()
    }

    /// The tokens of the tracked links of the HTML part, in reading order.
    pub fn links(&self) -> Vec<String> {
        self.tokens("/c/")
    }

    fn tokens(&self, path: &str) -> Vec<String> {
        let start = format!("{SITE}{path}");
        let token = |rest: &str| rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        self.html.split(&start).skip(1).map(token).collect()
    }

    /// The token of the address in List-Unsubscribe.
    pub fn unsubscribe_token(&self) -> String {
        let header = self.header("List-Unsubscribe");
        let rest =
            header.split(&format!("{SITE}/u/")).nth(1).unwrap_or_else(|| panic!("List-Unsubscribe has no address of ours: {header}"));
        rest.chars().take_while(char::is_ascii_alphanumeric).collect()
    }

    /// The token of the return path.
    pub fn bounce_token(&self) -> String {
        self.return_path.trim_start_matches("b+").split('@').next().unwrap_or_default().to_owned()
    }
}

/// What a mail server writes when it could not deliver a letter (RFC 3464): the report, and the letter's headers.
pub fn delivery_report(letter: &Message, status: &str, diagnostic: &str) -> String {
    let text = String::from_utf8_lossy(&letter.bytes);
    let headers = text.split("\r\n\r\n").next().unwrap_or_default();
    format!(
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\r\n\
         To: <{}>\r\n\
         Subject: Undelivered Mail Returned to Sender\r\n\
         Date: Sun, 22 Nov 2026 12:05:00 +0000\r\n\
         Message-ID: <20261122120500.1@mx.example.net>\r\n\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"report\"\r\n\r\n\
         --report\r\nContent-Type: text/plain\r\n\r\nI'm sorry to have to inform you that your message could not be delivered.\r\n\r\n\
         --report\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.net\r\n\r\n\
         Final-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: smtp; {diagnostic}\r\n\r\n\
         --report\r\nContent-Type: text/rfc822-headers\r\n\r\n{headers}\r\n\r\n--report--\r\n",
        letter.return_path, letter.recipient
    )
}
