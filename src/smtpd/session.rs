//! One SMTP or LMTP dialogue.
//!
//! Cast: [`run`], the whole dialogue; `Session`, its state between commands.
//!
//! Replies are gathered and written when no further command waits in the buffer, so a pipelining client costs one packet a group.
//! A session never blocks another one and never outlives its time limits.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use smtp_proto::{Error as CommandError, MAIL_SMTPUTF8, MailFrom, RcptTo, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::data::DataReader;
use super::{Envelope, Handler, Protocol, Reply, Settings};

/// RFC 5321 §4.5.3.1.4 asks for 512 bytes; extensions add to it.
const COMMAND_BYTES_MAX: usize = 2048;
/// Refused commands before the session is ended.
const MISTAKES_MAX: usize = 20;
const READ_BYTES: usize = 64 * 1024;
/// How much and how long we listen on after our last word.
const PARTING_BYTES_MAX: u64 = 1024 * 1024;
const PARTING_TIME: Duration = Duration::from_millis(250);

/// What all sessions of a server share.
pub(super) struct Shared<H> {
    pub(super) settings: Settings,
    pub(super) handler: H,
}

/// What follows a command.
#[derive(PartialEq, Eq)]
enum Next {
    Command,
    Data,
    End,
}

/// What came in when waiting for a line.
enum Line {
    Complete(Vec<u8>),
    TooLong,
    BareLineFeed,
    Stopped,
    TimedOut,
    Closed,
}

/// What came in when more input was awaited.
enum More {
    Bytes,
    Closed,
    TimedOut,
    Stopped,
}

struct Session<'a, H> {
    shared: &'a Shared<H>,
    stream: TcpStream,
    stopped: watch::Receiver<bool>,
    input: Vec<u8>,
    /// How much of `input` is used up.
    used: usize,
    output: Vec<u8>,
    greeted: bool,
    in_transaction: bool,
    envelope: Envelope,
    mistakes: usize,
}

/// Speaks with one client until it leaves, misbehaves or takes too long.
pub(super) async fn run<H: Handler>(stream: TcpStream, peer: IpAddr, shared: &Shared<H>, stopped: watch::Receiver<bool>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let envelope = Envelope { peer, client_name: String::new(), sender: String::new(), recipients: Vec::new() };
    let mut session = Session {
        shared,
        stream,
        stopped,
        input: Vec::new(),
        used: 0,
        output: Vec::new(),
        greeted: false,
        in_transaction: false,
        envelope,
        mistakes: 0,
    };
    let name = match shared.settings.protocol {
        Protocol::Smtp => "ESMTP",
        Protocol::Lmtp => "LMTP",
    };
    session.say(220, None, &format!("{} {name} ready", shared.settings.hostname));
    session.dialogue().await?;
    session.flush().await?;
    session.part().await
}

impl<H: Handler> Session<'_, H> {
    async fn dialogue(&mut self) -> io::Result<()> {
        loop {
            let next = match self.line().await? {
                Line::Complete(line) => self.command(&line),
                Line::TooLong => {
                    self.refuse(500, [5, 5, 6], "command line too long");
                    Next::Command
                }
                Line::BareLineFeed => {
                    // A client that ends lines this way is broken or is testing us for smuggling.
                    self.refuse(500, [5, 5, 2], "lines must end with CR LF");
                    Next::End
                }
                Line::Stopped => {
                    self.say(421, Some([4, 3, 2]), "shutting down");
                    Next::End
                }
                Line::TimedOut => {
                    self.say(421, Some([4, 4, 2]), "timeout, closing the connection");
                    Next::End
                }
                Line::Closed => Next::End,
            };
            match next {
                Next::End => return Ok(()),
                Next::Command if self.mistakes >= MISTAKES_MAX => {
                    self.say(421, Some([4, 7, 0]), "too many mistakes, closing the connection");
                    return Ok(());
                }
                Next::Command => {}
                Next::Data => {
                    if self.data().await? == Next::End {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Closes our side and drains what the client still sends: closing over unread input would reset the connection, and the client
    /// would lose our last reply.
    async fn part(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut rest = self.stream.take(PARTING_BYTES_MAX);
        let _ = tokio::time::timeout(PARTING_TIME, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        Ok(())
    }

    /// The next command line without its line end.
    async fn line(&mut self) -> io::Result<Line> {
        let deadline = Instant::now() + self.shared.settings.command_timeout;
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let waiting = self.input.get(self.used..).unwrap_or_default();
            if let Some(at) = waiting.iter().skip(searched).position(|&byte| byte == b'\n') {
                let line = waiting.get(..searched + at).unwrap_or_default();
                let result = match line.strip_suffix(b"\r") {
                    _ if too_long || line.len() > COMMAND_BYTES_MAX => Line::TooLong,
                    Some(line) => Line::Complete(line.to_vec()),
                    None => Line::BareLineFeed,
                };
                self.used += searched + at + 1;
                return Ok(result);
            }
            searched = waiting.len();
            if searched > COMMAND_BYTES_MAX {
                // Forget what came so far, but remember to refuse the line when it ends.
                too_long = true;
                self.used = self.input.len();
                searched = 0;
            }
            match self.more(deadline, true).await? {
                More::Bytes => {}
                More::Closed => return Ok(Line::Closed),
                More::TimedOut => return Ok(Line::TimedOut),
                More::Stopped => return Ok(Line::Stopped),
            }
        }
    }

    /// Writes what is due, then waits for input.
    async fn more(&mut self, deadline: Instant, may_stop: bool) -> io::Result<More> {
        self.flush().await?;
        self.input.drain(..self.used);
        self.used = 0;
        self.input.reserve(READ_BYTES);
        let stop = async {
            // A server that is gone counts as stopped.
            let _ = self.stopped.wait_for(|stopped| *stopped).await;
        };
        tokio::select! {
            read = tokio::time::timeout_at(deadline, self.stream.read_buf(&mut self.input)) => match read {
                Err(_) => Ok(More::TimedOut),
                Ok(Err(error)) => Err(error),
                Ok(Ok(0)) => Ok(More::Closed),
                Ok(Ok(_)) => Ok(More::Bytes),
            },
            () = stop, if may_stop => Ok(More::Stopped),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        // A client that sends but never reads must not hold the session for ever.
        match tokio::time::timeout(self.shared.settings.command_timeout, self.stream.write_all(&self.output)).await {
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(written) => written?,
        }
        self.output.clear();
        Ok(())
    }

    fn command(&mut self, line: &[u8]) -> Next {
        // The parser wants the line end; we have checked it.
        let mut terminated = Vec::with_capacity(line.len() + 2);
        terminated.extend_from_slice(line);
        terminated.extend_from_slice(b"\r\n");
        match Request::parse(&mut terminated.iter()) {
            Ok(request) => self.request(request),
            Err(error) => {
                self.parse_error(&error);
                Next::Command
            }
        }
    }

    fn parse_error(&mut self, error: &CommandError) {
        match error {
            CommandError::InvalidSenderAddress => self.refuse(501, [5, 1, 7], "bad sender address"),
            CommandError::InvalidRecipientAddress => self.refuse(501, [5, 1, 3], "bad recipient address"),
            CommandError::SyntaxError { syntax } => self.refuse(501, [5, 5, 4], &format!("syntax: {syntax}")),
            CommandError::InvalidParameter { .. } => self.refuse(501, [5, 5, 4], "bad parameter"),
            CommandError::UnsupportedParameter { .. } => self.refuse(555, [5, 5, 4], "parameter not supported"),
            _ => self.refuse(500, [5, 5, 1], "command not recognised"),
        }
    }

    fn request(&mut self, request: Request<Cow<'_, str>>) -> Next {
        let lmtp = self.shared.settings.protocol == Protocol::Lmtp;
        match request {
            Request::Ehlo { host } if !lmtp => self.greet(&host, true),
            Request::Helo { host } if !lmtp => self.greet(&host, false),
            Request::Lhlo { host } if lmtp => self.greet(&host, true),
            Request::Ehlo { .. } | Request::Helo { .. } => self.refuse(500, [5, 5, 1], "this is LMTP: say LHLO"),
            Request::Lhlo { .. } => self.refuse(500, [5, 5, 1], "this is SMTP: say EHLO"),
            Request::Mail { from } => self.mail(&from),
            Request::Rcpt { to } => return self.recipient(&to),
            Request::Data => return self.data_begins(),
            Request::Rset => {
                self.forget();
                self.say(250, Some([2, 0, 0]), "ok");
            }
            Request::Noop { .. } => self.say(250, Some([2, 0, 0]), "ok"),
            Request::Vrfy { .. } => self.say(252, Some([2, 5, 0]), "not telling, send mail to find out"),
            Request::Help { .. } => self.say(214, Some([2, 0, 0]), "see RFC 5321"),
            Request::Quit => {
                self.say(221, Some([2, 0, 0]), "goodbye");
                return Next::End;
            }
            // What follows these is not a command: reading on would take a client's message for commands.
            Request::Bdat { .. } | Request::Burl { .. } | Request::StartTls | Request::Auth { .. } => {
                self.refuse(502, [5, 5, 1], "not offered here");
                return Next::End;
            }
            Request::Expn { .. } | Request::Etrn { .. } | Request::Atrn { .. } => self.refuse(502, [5, 5, 1], "not offered here"),
        }
        Next::Command
    }

    fn greet(&mut self, client_name: &str, extended: bool) {
        self.forget();
        self.greeted = true;
        self.envelope.client_name = client_name.to_owned();
        let settings = &self.shared.settings;
        if !extended {
            self.say(250, None, &settings.hostname);
            return;
        }
        let size = format!("SIZE {}", settings.message_bytes_max);
        let mut lines = vec![settings.hostname.as_str(), "PIPELINING", "8BITMIME", size.as_str(), "ENHANCEDSTATUSCODES"];
        if settings.smtputf8 {
            lines.push("SMTPUTF8");
        }
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            let separator = if at == last { ' ' } else { '-' };
            self.output.extend_from_slice(format!("250{separator}{line}\r\n").as_bytes());
        }
    }

    fn mail(&mut self, from: &MailFrom<Cow<'_, str>>) {
        let settings = &self.shared.settings;
        let wide = from.flags & MAIL_SMTPUTF8 != 0;
        if !self.greeted {
            self.refuse(503, [5, 5, 1], "say hello first");
        } else if self.in_transaction {
            self.refuse(503, [5, 5, 1], "a message is already begun");
        } else if wide && !settings.smtputf8 {
            self.refuse(555, [5, 5, 4], "SMTPUTF8 is not offered here");
        } else if !from.address.is_ascii() && !wide {
            self.refuse(553, [5, 6, 7], "this address needs SMTPUTF8");
        } else if from.size > settings.message_bytes_max {
            self.refuse(552, [5, 3, 4], "message too large");
        } else {
            self.in_transaction = true;
            self.envelope.sender = from.address.clone().into_owned();
            self.say(250, Some([2, 1, 0]), "sender ok");
        }
    }

    fn recipient(&mut self, to: &RcptTo<Cow<'_, str>>) -> Next {
        if !self.in_transaction {
            self.refuse(503, [5, 5, 1], "say MAIL first");
            return Next::Command;
        }
        if to.address.is_empty() {
            self.refuse(501, [5, 1, 3], "bad recipient address");
            return Next::Command;
        }
        if self.envelope.recipients.len() >= self.shared.settings.recipients_max {
            self.say(452, Some([4, 5, 3]), "too many recipients");
            return Next::Command;
        }
        let reply = self.shared.handler.recipient(&self.envelope, &to.address);
        if reply.accepts() {
            self.envelope.recipients.push(to.address.clone().into_owned());
        }
        self.answer(&reply);
        if reply.code == 421 { Next::End } else { Next::Command }
    }

    fn data_begins(&mut self) -> Next {
        if !self.in_transaction {
            self.refuse(503, [5, 5, 1], "say MAIL first");
            Next::Command
        } else if self.envelope.recipients.is_empty() {
            // RFC 2033 §4.2 asks for 503 in LMTP.
            let code = if self.shared.settings.protocol == Protocol::Lmtp { 503 } else { 554 };
            self.refuse(code, [5, 5, 1], "no valid recipients");
            Next::Command
        } else {
            self.say(354, None, "end with a line that holds a single dot");
            Next::Data
        }
    }

    async fn data(&mut self) -> io::Result<Next> {
        let settings = &self.shared.settings;
        let whole: Duration = settings.command_timeout.saturating_mul(10);
        let message_deadline = Instant::now() + whole;
        let mut reader = DataReader::new(settings.message_bytes_max);
        loop {
            let (used, end) = reader.take(self.input.get(self.used..).unwrap_or_default());
            self.used += used;
            if end {
                break;
            }
            if reader.is_absurd() {
                self.say(552, Some([5, 3, 4]), "message too large, closing the connection");
                return Ok(Next::End);
            }
            let deadline = message_deadline.min(Instant::now() + settings.command_timeout);
            match self.more(deadline, false).await? {
                More::Bytes => {}
                More::TimedOut => {
                    self.say(421, Some([4, 4, 2]), "timeout, closing the connection");
                    return Ok(Next::End);
                }
                More::Closed | More::Stopped => return Ok(Next::End),
            }
        }
        let envelope = self.take_envelope();
        let recipients = envelope.recipients.len();
        let reply = match reader.finish() {
            None => Reply::new(552, [5, 3, 4], "message too large"),
            Some(message) => self.shared.handler.message(envelope, message).await,
        };
        let replies = if settings.protocol == Protocol::Lmtp { recipients } else { 1 };
        for _ in 0..replies {
            self.answer(&reply);
        }
        Ok(if reply.code == 421 { Next::End } else { Next::Command })
    }

    /// Ends the transaction and keeps who the client is.
    fn forget(&mut self) {
        self.in_transaction = false;
        self.envelope.sender.clear();
        self.envelope.recipients.clear();
    }

    fn take_envelope(&mut self) -> Envelope {
        let envelope = Envelope {
            peer: self.envelope.peer,
            client_name: self.envelope.client_name.clone(),
            sender: std::mem::take(&mut self.envelope.sender),
            recipients: std::mem::take(&mut self.envelope.recipients),
        };
        self.forget();
        envelope
    }

    fn answer(&mut self, reply: &Reply) {
        self.say(reply.code, Some(reply.enhanced), &reply.text);
    }

    fn refuse(&mut self, code: u16, enhanced: [u16; 3], text: &str) {
        self.mistakes += 1;
        self.say(code, Some(enhanced), text);
    }

    fn say(&mut self, code: u16, enhanced: Option<[u16; 3]>, text: &str) {
        let mut line = match enhanced {
            Some([class, subject, detail]) => format!("{code} {class}.{subject}.{detail} "),
            None => format!("{code} "),
        };
        line.extend(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        line.push_str("\r\n");
        self.output.extend_from_slice(line.as_bytes());
    }
}
