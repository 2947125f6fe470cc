//! Bytes to and from a relay: commands out, replies in, each under a time limit.
//!
//! Cast: [`Wire`] (a stream and what it has received), [`Reply`], [`WireFault`], [`Offers`] (what EHLO listed).
//!
//! Replies are bounded in size and read whatever their bytes are. It never goes on after a fault: the caller drops the wire.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest reply line taken; RFC 5321 §4.5.3.1.5 allows 512 bytes, relays write more.
const LONGEST_LINE: usize = 4096;
/// Most lines of one reply.
const MOST_LINES: usize = 128;

/// A TCP connection, TLS over one, or a pipe in memory.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for S {}

/// Any of them.
pub(super) type Stream = Box<dyn Duplex>;

/// What ended a wire.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireFault {
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the relay closed the connection")]
    Closed,
    #[error("the connection failed: {}", .0.kind())]
    Failed(#[source] io::Error),
    #[error("the relay's answer is not SMTP: {0}")]
    Garbled(&'static str),
}

/// A relay's answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// The enhanced code of the first line, if its class agrees with the reply's (RFC 2034 §4).
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut fields = word.split('.');
        let class = fields.next()?.parse::<u16>().ok()?;
        let is_number = |field: &str| (1..=3).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit());
        let rest_is_good = fields.next().is_some_and(is_number) && fields.next().is_some_and(is_number) && fields.next().is_none();
        (rest_is_good && class == self.code / 100).then_some(word)
    }

    /// The lines as one, without the enhanced codes that begin them.
    pub fn text(&self) -> String {
        let enhanced = self.enhanced();
        let bare = |line: &String| match enhanced.and_then(|code| line.strip_prefix(code)) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => rest.trim().to_owned(),
            _ => line.trim().to_owned(),
        };
        self.lines.iter().map(bare).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// The part of an EHLO answer we use. Keywords are compared without regard to case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    pub(super) pipelining: bool,
    pub(super) size: bool,
    pub(super) eight_bit_mime: bool,
    pub(super) smtp_utf8: bool,
    pub(super) start_tls: bool,
    pub(super) auth_plain: bool,
    pub(super) auth_login: bool,
    pub(super) auth_xoauth2: bool,
}

impl Offers {
    pub(super) fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        // The first line is the relay's name.
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Old servers write AUTH=PLAIN.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next().unwrap_or_default() {
                "PIPELINING" => offers.pipelining = true,
                "SIZE" => offers.size = true,
                "8BITMIME" => offers.eight_bit_mime = true,
                "SMTPUTF8" => offers.smtp_utf8 = true,
                "STARTTLS" => offers.start_tls = true,
                "AUTH" => {
                    for mechanism in words {
                        offers.auth_plain |= mechanism == "PLAIN";
                        offers.auth_login |= mechanism == "LOGIN";
                        offers.auth_xoauth2 |= mechanism == "XOAUTH2";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

/// A stream to a relay.
pub(super) struct Wire {
    stream: Stream,
    received: Vec<u8>,
    sent: usize,
}

impl Wire {
    pub fn new(stream: Stream) -> Self {
        Self { stream, received: Vec::with_capacity(1024), sent: 0 }
    }

    /// Sends everything; each block that leaves has `limit` to do so.
    pub async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), WireFault> {
        self.sent = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = within(limit, self.stream.write(rest)).await?;
            if count == 0 {
                return Err(WireFault::Closed);
            }
            rest = rest.get(count..).unwrap_or_default();
            self.sent += count;
        }
        within(limit, self.stream.flush()).await
    }

    /// How many of the bytes last given to [`Wire::send`] may have reached the relay.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Reads one reply of one or more lines; all of it has `limit` to come.
    pub async fn reply(&mut self, limit: Duration) -> Result<Reply, WireFault> {
        timeout(limit, self.read_reply()).await.map_err(|_| WireFault::TimedOut(limit))?
    }

    /// The stream, for TLS; refused when the relay has said more than it was asked (an attacker's injected plain text).
    pub fn into_stream(self) -> Result<Stream, WireFault> {
        if self.received.is_empty() { Ok(self.stream) } else { Err(WireFault::Garbled("more than was asked for, before TLS")) }
    }

    /// Ends the stream politely.
    pub async fn close(mut self, limit: Duration) -> Result<(), WireFault> {
        within(limit, self.stream.shutdown()).await
    }

    async fn read_reply(&mut self) -> Result<Reply, WireFault> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        loop {
            let line = self.read_line().await?;
            let (code, is_last, text) = split_line(&line)?;
            if !reply.lines.is_empty() && code != reply.code {
                return Err(WireFault::Garbled("two codes in one reply"));
            }
            reply.code = code;
            reply.lines.push(text);
            if is_last {
                return Ok(reply);
            }
            if reply.lines.len() == MOST_LINES {
                return Err(WireFault::Garbled("a reply without end"));
            }
        }
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, WireFault> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.received.len() > LONGEST_LINE {
                return Err(WireFault::Garbled("a line over 4,096 bytes"));
            }
            let count = self.stream.read_buf(&mut self.received).await.map_err(WireFault::Failed)?;
            if count == 0 {
                return Err(WireFault::Closed);
            }
        }
    }
}

/// Code, whether it is the reply's last line, and text; bytes that are not UTF-8 become U+FFFD.
fn split_line(line: &[u8]) -> Result<(u16, bool, String), WireFault> {
    let (digits, rest) = line.split_at_checked(3).ok_or(WireFault::Garbled("a line without a code"))?;
    let code =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    let code = code.filter(|code| (200..=599).contains(code)).ok_or(WireFault::Garbled("a line without a code from 200 to 599"))?;
    let (is_last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return Err(WireFault::Garbled("a code without a space or hyphen after it")),
    };
    Ok((code, is_last, String::from_utf8_lossy(text).into_owned()))
}

async fn within<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> Result<T, WireFault> {
    match timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(WireFault::Failed(error)),
        Err(_) => Err(WireFault::TimedOut(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn enhanced_codes_are_read_only_where_they_agree_with_the_reply() {
        let cases = [
            (reply(550, &["5.1.1 No such user"]), Some("5.1.1"), "No such user"),
            (reply(550, &["5.7.26 first", "5.7.26 second"]), Some("5.7.26"), "first second"),
            (reply(550, &["5.1.1"]), Some("5.1.1"), ""),
            (reply(550, &["4.1.1 odd"]), None, "4.1.1 odd"),
            (reply(550, &["5.1 odd"]), None, "5.1 odd"),
            (reply(550, &["5.1.1.1 odd"]), None, "5.1.1.1 odd"),
            (reply(250, &["2.0.0 Ok: queued as 12345", ""]), Some("2.0.0"), "Ok: queued as 12345"),
            (reply(250, &[""]), None, ""),
        ];
        for (reply, enhanced, text) in cases {
            assert_eq!((reply.enhanced(), reply.text().as_str()), (enhanced, text), "{reply:?}");
        }
    }

    #[test]
    fn offers_are_read_in_any_case() {
        let offers = Offers::read(&reply(
            250,
            &["relay SMTPUTF8", "pipelining", "Size 1000", "AUTH=LOGIN", "auth cram-md5 plain xoauth2", "8bitmime", "X"],
        ));
        let expected = Offers {
            pipelining: true,
            size: true,
            eight_bit_mime: true,
            auth_plain: true,
            auth_login: true,
            auth_xoauth2: true,
            ..Offers::default()
        };
        assert_eq!(offers, expected);
    }

    #[tokio::test]
    async fn replies_are_read_whatever_their_bytes_and_refused_when_they_are_none() {
        let endless = "250-x\r\n".repeat(MOST_LINES + 1);
        // Bytes, and the code (0 for a fault) and number of lines they are.
        let cases: &[(&[u8], u16, usize)] = &[
            (b"250 ok\r\n", 250, 1),
            (b"250\r\n", 250, 1),
            (b"250 ok\n", 250, 1),
            (b"250-a\r\n250-b\r\n250 c\r\n", 250, 3),
            (b"550 bo\xeete pleine\r\n", 550, 1),
            (b"250-a\r\n550 b\r\n", 0, 0),
            (b"abc\r\n", 0, 0),
            (b"25\r\n", 0, 0),
            (b"999 x\r\n", 0, 0),
            (b"250_x\r\n", 0, 0),
            (b"250 no end", 0, 0),
            (b"", 0, 0),
            (&[b'2'; 10_000], 0, 0),
            (endless.as_bytes(), 0, 0),
        ];
        for (bytes, code, lines) in cases {
            let mut wire = Wire::new(Box::new(tokio::io::join(std::io::Cursor::new(bytes.to_vec()), tokio::io::sink())));
            let found = wire.reply(Duration::from_secs(60)).await.map_or((0, 0), |reply| (reply.code, reply.lines.len()));
            assert_eq!(found, (*code, *lines), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
