//! A small SMTP and LMTP server: it takes messages in and hands each, whole, to a handler.
//!
//! Cast: [`serve`], the accept loop; [`Settings`], its limits; [`Handler`], who decides about recipients and takes messages;
//! [`Envelope`], what came with a message; [`Reply`], what the client is told.
//!
//! It never relays, never stores, never looks into a message and never logs an address. It knows nothing of newsletters.
//! Everything a client sends is bounded: command lines, messages, recipients, mistakes, connections and time.

mod data;
mod session;

use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Which of the two closely related protocols is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321: one reply for a message.
    Smtp,
    /// RFC 2033: greeted with LHLO, one reply for each recipient of a message.
    Lmtp,
}

/// What a server calls itself and what it puts up with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name in the greeting.
    pub hostname: String,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Whether addresses may hold letters beyond ASCII (RFC 6531).
    pub smtputf8: bool,
    /// Longest message in bytes; a longer one is answered with 552.
    pub message_bytes_max: usize,
    /// Most recipients of one message; further ones are answered with 452.
    pub recipients_max: usize,
    /// Most connections at a time; further ones are answered with 421.
    pub connections_max: usize,
    /// How long a client may take for one command. A whole message may take ten times as long.
    pub command_timeout: Duration,
}

impl Settings {
    /// Limits that suit an internet-facing listener (RFC 5321 §4.5.3.2 asks for five minutes a command).
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            protocol: Protocol::Smtp,
            smtputf8: true,
            message_bytes_max: 25 * 1024 * 1024,
            recipients_max: 100,
            connections_max: 200,
            command_timeout: Duration::from_secs(300),
        }
    }
}

/// What came with a message, in the words of the client.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The address of the machine that connected.
    pub peer: IpAddr,
    /// The name the client gave itself; empty before the greeting.
    pub client_name: String,
    /// The reverse path; empty for a bounce.
    pub sender: String,
    /// The recipients accepted so far, in order.
    pub recipients: Vec<String>,
}

impl std::fmt::Debug for Envelope {
    // Addresses are personal data: a debug print tells how many, never which.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Envelope")
            .field("null_sender", &self.sender.is_empty())
            .field("recipients", &self.recipients.len())
            .finish_non_exhaustive()
    }
}

/// A reply to a recipient or to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code (RFC 5321): 2xx accepts, 4xx asks to try later, 5xx refuses. 421 also ends the session.
    pub code: u16,
    /// The enhanced code (RFC 3463), class first.
    pub enhanced: [u16; 3],
    /// One line of text; line breaks are turned into spaces.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with any code.
    pub fn new(code: u16, enhanced: [u16; 3], text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    /// The recipient is welcome.
    pub fn recipient_accepted() -> Self {
        Self::new(250, [2, 1, 5], "recipient ok")
    }

    /// There is no such mailbox.
    pub fn mailbox_unknown() -> Self {
        Self::new(550, [5, 1, 1], "no such mailbox here")
    }

    /// The message is taken: from here on it is our responsibility.
    pub fn message_accepted() -> Self {
        Self::new(250, [2, 0, 0], "message accepted")
    }

    /// The message could not be stored just now; the client keeps it and tries again.
    pub fn try_later() -> Self {
        Self::new(451, [4, 3, 0], "cannot take the message now, try again later")
    }

    /// Whether it says yes.
    pub fn accepts(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// Decides about recipients and takes messages. One value is shared by all sessions.
pub trait Handler: Send + Sync + 'static {
    /// Is this recipient taken? `envelope` holds the sender and the recipients accepted before.
    fn recipient(&self, envelope: &Envelope, recipient: &str) -> Reply;

    /// Takes a finished message, dot-stuffing removed. Answer with a 2xx reply only after it is safe.
    fn message(&self, envelope: Envelope, message: Vec<u8>) -> impl Future<Output = Reply> + Send;
}

/// Accepts connections until `shutdown` completes, then says 421 to idle sessions, lets messages in flight finish, and returns.
pub async fn serve<H: Handler>(listener: TcpListener, settings: Settings, handler: H, shutdown: impl Future<Output = ()> + Send) {
    let shared = Arc::new(session::Shared { settings, handler });
    let seats = Arc::new(Semaphore::new(shared.settings.connections_max));
    let (stop, stopped) = watch::channel(false);
    let mut sessions = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = sessions.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: a short pause lets sessions end instead of spinning.
                tracing::warn!(%error, "cannot accept an SMTP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match seats.clone().try_acquire_owned() {
            Ok(seat) => {
                let shared = shared.clone();
                let stopped = stopped.clone();
                sessions.spawn(async move {
                    if let Err(error) = session::run(stream, peer.ip(), &shared, stopped).await {
                        tracing::debug!(%error, "an SMTP session broke off");
                    }
                    drop(seat);
                });
            }
            Err(_) => turn_away(stream).await,
        }
    }
    drop(listener);
    // Sessions that ended already have dropped their receivers; nobody left to tell is fine.
    let _ = stop.send(true);
    while sessions.join_next().await.is_some() {}
}

/// One short write that fits any socket buffer, so it cannot hold up the accept loop.
async fn turn_away(mut stream: TcpStream) {
    let _ =
        tokio::time::timeout(Duration::from_millis(100), stream.write_all(b"421 4.7.0 too many connections, try again later\r\n")).await;
}

#[cfg(test)]
mod tests;
