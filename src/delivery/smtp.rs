//! One SMTP connection of our own, message after message, without a pool.
//!
//! Cast: [`Connection`] (opened from [`RelaySettings`], or refused with an [`SmtpFault`]), [`Outcome`] (what became of one message),
//! [`Stage`], [`BeforeDot`] (the caller's last word), [`judge`] (whose fault a refusal is).
//!
//! Commands are lettre's; the stream is ours, because a pool or a connection of lettre's knows no timeouts, hides whether the final
//! dot has left, cannot see PIPELINING, fails on a reply that is not UTF-8 and keeps plain-text input across STARTTLS.
//!
//! It never sends a message twice, never retries, and never uses a connection again after a fault, a timeout, or a call whose future
//! was dropped half-way. It never logs.

mod judge;
mod masking;
mod open;
mod probe;
mod settings;
mod sign_in;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::net::IpAddr;

use lettre::Address;
use lettre::transport::smtp::commands::{Data, Mail, Quit, Rcpt, Rset};
use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};

pub use judge::{Judgement, is_goodbye, judge};
pub use masking::without_addresses;
pub use open::SmtpFault;
pub use probe::{ProbeStep, probe};
pub use settings::{Credentials, RelaySettings, Secret, Security, Timeouts, TokenSource};

use super::address::{UnusableAddress, wire_address};
use masking::without_recipient;
use wire::{Offers, Reply, Wire, WireFault};

/// Longest wait for the goodbye: nothing depends on it.
const QUIT_WAIT: Duration = Duration::from_secs(5);
/// Longest pause between two messages: many relays end a quiet connection after a minute, and a message begun on it would be put off.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where in the conversation something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding the relay, TCP, TLS, the greeting.
    Connect,
    /// EHLO and STARTTLS.
    Hello,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA and the message up to its final dot.
    Data,
    /// The answer to the final dot.
    Dot,
}

/// What became of one message. Texts are already without addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The relay has taken the message.
    Accepted {
        /// Its answer, usually with its queue id.
        reply: String,
    },
    /// The relay has refused it for good (5xx); see [`judge`].
    Refused {
        /// Where.
        stage: Stage,
        /// Reply code, 500 to 599.
        code: u16,
        /// RFC 3463 code, if the relay gave one that agrees with the reply code.
        enhanced: Option<String>,
        /// The rest of the reply.
        text: String,
    },
    /// The relay has refused it for now (4xx).
    Deferred {
        /// Where.
        stage: Stage,
        /// Reply code, 400 to 499.
        code: u16,
        /// RFC 3463 code, if the relay gave one that agrees with the reply code.
        enhanced: Option<String>,
        /// The rest of the reply.
        text: String,
    },
    /// The conversation broke off. Where `after_dot` is set nobody knows whether the relay has taken the message.
    Lost {
        /// Where.
        stage: Stage,
        /// Whether the final dot may have reached the relay; if not, the message has certainly not been taken.
        after_dot: bool,
        /// Why.
        why: String,
    },
    /// This message cannot be sent to this address through this relay; nothing was sent and the connection is as before.
    Unsupported {
        /// Why.
        why: Unsupported,
    },
    /// The caller held the message back at the last moment; the connection is closed, the message has not been taken.
    Withheld,
}

/// Why a message cannot be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A non-ASCII local part or header, and a relay without SMTPUTF8.
    #[error("the address or the message is not ASCII and the relay does not offer SMTPUTF8")]
    NeedsSmtpUtf8,
    /// A body that is not ASCII, and a relay without 8BITMIME.
    #[error("the body of the message is not ASCII and the relay does not offer 8BITMIME")]
    NeedsEightBitMime,
    /// The recipient cannot be written into a command.
    #[error("the recipient's address cannot be used: {0}")]
    Recipient(UnusableAddress),
    /// The envelope sender cannot be written into a command.
    #[error("the envelope sender cannot be used: {0}")]
    Sender(UnusableAddress),
    /// A bare CR or LF, which servers read differently (SMTP smuggling), or a last line without CRLF.
    #[error("the message has a line that does not end in CRLF")]
    LineEnds,
}

/// The caller's last word before the final dot: whatever must be durable before the relay may take the message is so, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeDot {
    /// Send the message.
    Send,
    /// Do not; the outcome is [`Outcome::Withheld`].
    Withhold,
}

/// An open connection to a relay, ready for messages.
pub struct Connection {
    /// Taken out while a message is on its way and put back only after a clean end: a dropped future leaves none to go on with.
    wire: Option<Wire>,
    offers: Offers,
    timeouts: Timeouts,
    messages_per_connection: u32,
    is_encrypted: bool,
    good_until: Instant,
    last_used: Instant,
    transactions: u32,
    accepted: u32,
    /// The message as it goes over the wire; kept for its memory.
    outgoing: Vec<u8>,
}

/// The commands of one message, ready to send.
struct Commands {
    mail: String,
    rcpt: String,
}

/// Why a transaction ended without the message being taken.
enum Stop {
    Refused(Stage, Reply),
    Broken { stage: Stage, after_dot: bool, why: String },
    Withheld,
}

impl Connection {
    /// Connects, encrypts, greets and signs in.
    pub async fn open(settings: &RelaySettings) -> Result<Self, SmtpFault> {
        open::open(settings).await
    }

    /// As [`Connection::open`], over a stream that is already connected and, where wanted from the first byte, encrypted. `local` is our
    /// end's address.
    pub async fn over<S>(stream: S, settings: &RelaySettings, local: IpAddr) -> Result<Self, SmtpFault>
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        match settings.problem() {
            Some(what) => Err(SmtpFault::Settings { what }),
            None => open::greet(Box::new(stream), settings, local).await,
        }
    }

    /// Whether another message may be sent: no fault so far, not yet as many messages or minutes as the settings allow, and not left
    /// alone for so long that the relay may have closed it.
    pub fn usable(&self) -> bool {
        let now = Instant::now();
        let is_fresh = now < self.good_until && now.duration_since(self.last_used) < LONGEST_PAUSE;
        self.wire.is_some() && self.transactions < self.messages_per_connection && is_fresh
    }

    /// Messages the relay has taken over this connection.
    pub fn messages_sent(&self) -> u32 {
        self.accepted
    }

    /// Sends one message to one recipient.
    ///
    /// `message` is finished: CRLF line ends, no dot-stuffing. `before_dot` is awaited once the relay is ready for the message and
    /// before any of it is sent; it is not awaited when the message is refused before that.
    pub async fn transact(
        &mut self,
        envelope_from: &str,
        recipient: &str,
        message: &[u8],
        before_dot: impl Future<Output = BeforeDot> + Send,
    ) -> Outcome {
        let commands = match self.prepare(envelope_from, recipient, message) {
            Ok(commands) => commands,
            Err(why) => return Outcome::Unsupported { why },
        };
        let Some(mut wire) = self.wire.take() else {
            return Outcome::Lost { stage: Stage::Connect, after_dot: false, why: "the connection was already closed".to_owned() };
        };
        self.transactions += 1;
        let end = self.converse(&mut wire, &commands, before_dot).await;
        self.last_used = Instant::now();
        match end {
            Ok(reply) => {
                self.accepted += 1;
                self.wire = Some(wire);
                let reply = [reply.enhanced().unwrap_or_default(), &reply.text()].join(" ");
                Outcome::Accepted { reply: without_recipient(reply.trim(), recipient) }
            }
            Err(Stop::Refused(stage, reply)) => {
                // 421 announces that the relay closes the connection.
                if reply.code != 421 && self.reset(&mut wire).await {
                    self.wire = Some(wire);
                }
                refusal(stage, &reply, recipient)
            }
            Err(Stop::Broken { stage, after_dot, why }) => Outcome::Lost { stage, after_dot, why },
            Err(Stop::Withheld) => Outcome::Withheld,
        }
    }

    /// Says goodbye. Dropping the connection is as good, only less polite.
    pub async fn quit(mut self) {
        let Some(mut wire) = self.wire.take() else { return };
        // The relay may close at once; either way we are done.
        if wire.send(Quit.to_string().as_bytes(), QUIT_WAIT).await.is_ok() && wire.reply(QUIT_WAIT).await.is_ok() {
            wire.close(QUIT_WAIT).await.ok();
        }
    }

    /// Writes the commands and the message into memory, so that nothing is left to go wrong between the relay's 354 and the dot.
    fn prepare(&mut self, envelope_from: &str, recipient: &str, message: &[u8]) -> Result<Commands, Unsupported> {
        let sender = wire_address(envelope_from).map_err(Unsupported::Sender)?;
        let recipient = wire_address(recipient).map_err(Unsupported::Recipient)?;
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let mut parameters = Vec::new();
        if self.offers.size {
            parameters.push(MailParameter::Size(message.len()));
        }
        let has_plain_header = message.is_ascii() || header(message).is_ascii();
        if !is_ascii(&sender) || !is_ascii(&recipient) || !has_plain_header {
            if !self.offers.smtp_utf8 {
                return Err(Unsupported::NeedsSmtpUtf8);
            }
            // RFC 6531 §3.1: a relay with SMTPUTF8 has 8BITMIME.
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
            parameters.push(MailParameter::SmtpUtfEight);
        } else if !message.is_ascii() {
            if !self.offers.eight_bit_mime {
                return Err(Unsupported::NeedsEightBitMime);
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        stuff(message, &mut self.outgoing)?;
        Ok(Commands { mail: Mail::new(Some(sender), parameters).to_string(), rcpt: Rcpt::new(recipient, Vec::new()).to_string() })
    }

    async fn converse(
        &self,
        wire: &mut Wire,
        commands: &Commands,
        before_dot: impl Future<Output = BeforeDot> + Send,
    ) -> Result<Reply, Stop> {
        if self.offers.pipelining {
            self.begin_at_once(wire, commands).await?;
        } else {
            self.begin_step_by_step(wire, commands).await?;
        }
        if before_dot.await == BeforeDot::Withhold {
            return Err(Stop::Withheld);
        }
        if let Err(fault) = wire.send(&self.outgoing, self.timeouts.data()).await {
            let after_dot = wire.sent_whole();
            let stage = if after_dot { Stage::Dot } else { Stage::Data };
            return Err(Stop::Broken { stage, after_dot, why: fault.to_string() });
        }
        let broken = |why: String| Stop::Broken { stage: Stage::Dot, after_dot: true, why };
        let reply = wire.reply(self.timeouts.dot()).await.map_err(|fault| broken(fault.to_string()))?;
        match reply.code {
            200..=299 => Ok(reply),
            400..=599 => Err(Stop::Refused(Stage::Dot, reply)),
            code => Err(broken(format!("unexpected answer {code}"))),
        }
    }

    /// MAIL, RCPT and DATA in one go (RFC 2920). All three answers are read, whatever they are.
    async fn begin_at_once(&self, wire: &mut Wire, commands: &Commands) -> Result<(), Stop> {
        let all = [commands.mail.as_str(), &commands.rcpt, &Data.to_string()].concat();
        send(wire, Stage::Mail, &all, self.timeouts.command()).await?;
        let mail = self.answer(wire, Stage::Mail).await?;
        let mail = completed(Stage::Mail, mail)?;
        let rcpt = self.answer(wire, Stage::Rcpt).await?;
        let rcpt = completed(Stage::Rcpt, rcpt)?;
        let data = self.answer(wire, Stage::Data).await?;
        let ready = data.code == 354;
        if let Some(refused) = mail.or(rcpt) {
            if ready {
                // The relay waits for a message that has no recipient: an empty one ends it (RFC 2920 §3.1).
                send(wire, Stage::Data, ".\r\n", self.timeouts.data()).await?;
                wire.reply(self.timeouts.dot()).await.map_err(|fault| broken(Stage::Data, &fault))?;
            }
            return Err(refused);
        }
        if ready { Ok(()) } else { Err(not_ready(data)) }
    }

    async fn begin_step_by_step(&self, wire: &mut Wire, commands: &Commands) -> Result<(), Stop> {
        for (stage, command) in [(Stage::Mail, &commands.mail), (Stage::Rcpt, &commands.rcpt)] {
            send(wire, stage, command, self.timeouts.command()).await?;
            let reply = self.answer(wire, stage).await?;
            if let Some(refused) = completed(stage, reply)? {
                return Err(refused);
            }
        }
        send(wire, Stage::Data, &Data.to_string(), self.timeouts.command()).await?;
        let data = self.answer(wire, Stage::Data).await?;
        if data.code == 354 { Ok(()) } else { Err(not_ready(data)) }
    }

    async fn answer(&self, wire: &mut Wire, stage: Stage) -> Result<Reply, Stop> {
        let limit = if stage == Stage::Data { self.timeouts.data() } else { self.timeouts.command() };
        let reply = wire.reply(limit).await.map_err(|fault| broken(stage, &fault))?;
        // After a 421 no further answers come.
        if reply.code == 421 { Err(Stop::Refused(stage, reply)) } else { Ok(reply) }
    }

    /// Clears the refused transaction; whether the connection can go on.
    async fn reset(&self, wire: &mut Wire) -> bool {
        let limit = self.timeouts.command();
        wire.send(Rset.to_string().as_bytes(), limit).await.is_ok() && wire.reply(limit).await.is_ok_and(|reply| reply.code == 250)
    }
}

/// The message up to its first empty line.
fn header(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(message.len());
    message.get(..end).unwrap_or_default()
}

/// Dot-stuffed (RFC 5321 §4.5.2) and with the final dot, so that body and dot leave in one write.
fn stuff(message: &[u8], outgoing: &mut Vec<u8>) -> Result<(), Unsupported> {
    let pairs = || message.iter().zip(message.get(1..).unwrap_or_default());
    // Looked at as a whole, sixteen bytes take as long as one: our own letters never need more.
    let all_in_pairs = pairs().fold(true, |all, (&first, &second)| all & ((first == b'\r') == (second == b'\n')));
    if !all_in_pairs || message.first() == Some(&b'\n') || !(message.is_empty() || message.ends_with(b"\r\n")) {
        return Err(Unsupported::LineEnds);
    }
    let has_dots = pairs().fold(false, |any, (&first, &second)| any | ((first == b'\n') & (second == b'.')));
    outgoing.clear();
    outgoing.reserve(message.len() + message.len() / 64 + 16);
    if has_dots || message.first() == Some(&b'.') {
        for line in message.split_inclusive(|&byte| byte == b'\n') {
            if line.first() == Some(&b'.') {
                outgoing.push(b'.');
            }
            outgoing.extend_from_slice(line);
        }
    } else {
        outgoing.extend_from_slice(message);
    }
    outgoing.extend_from_slice(b".\r\n");
    Ok(())
}

async fn send(wire: &mut Wire, stage: Stage, command: &str, limit: Duration) -> Result<(), Stop> {
    wire.send(command.as_bytes(), limit).await.map_err(|fault| broken(stage, &fault))
}

/// A fault before the message has left.
fn broken(stage: Stage, fault: &WireFault) -> Stop {
    Stop::Broken { stage, after_dot: false, why: fault.to_string() }
}

/// A refusal, if the reply is one; an answer that fits nowhere breaks the conversation.
fn completed(stage: Stage, reply: Reply) -> Result<Option<Stop>, Stop> {
    match reply.code {
        200..=299 => Ok(None),
        400..=599 => Ok(Some(Stop::Refused(stage, reply))),
        code => Err(Stop::Broken { stage, after_dot: false, why: format!("unexpected answer {code}") }),
    }
}

fn not_ready(data: Reply) -> Stop {
    match data.code {
        400..=599 => Stop::Refused(Stage::Data, data),
        code => Stop::Broken { stage: Stage::Data, after_dot: false, why: format!("unexpected answer {code}") },
    }
}

fn refusal(stage: Stage, reply: &Reply, recipient: &str) -> Outcome {
    let (code, enhanced) = (reply.code, reply.enhanced().map(str::to_owned));
    let text = without_recipient(&reply.text(), recipient);
    if code < 500 { Outcome::Deferred { stage, code, enhanced, text } } else { Outcome::Refused { stage, code, enhanced, text } }
}
