//! One SMTP connection of our own, message after message, without a pool.
//!
//! Cast: [`Connection`] (opened from [`RelaySettings`], or refused with an [`SmtpFault`]), [`Message`], [`Outcome`] (what became of one),
//! [`Stage`], [`BeforeDot`] (the caller's last word), [`judge`] (whose fault a refusal is).
//!
//! A relay that takes commands in groups (RFC 2920) gets the next message's MAIL, RCPT and DATA in the same group as the dot of the one
//! before: a message costs one round trip instead of two, and no more than the dot and these commands are left to say when the caller
//! has given its last word.
//!
//! Commands are lettre's; the stream is ours, because a pool or a connection of lettre's knows no timeouts, hides whether the final
//! dot has left, cannot see PIPELINING, fails on a reply that is not UTF-8 and keeps plain-text input across STARTTLS.
//!
//! It never sends a message twice, never retries, and never uses a connection again after a fault, a timeout, or a call whose future
//! was dropped half-way. It never logs.

mod judge;
mod masking;
mod message;
mod open;
mod probe;
mod settings;
mod sign_in;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::net::IpAddr;

use lettre::transport::smtp::commands::{Quit, Rset};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};

pub use judge::{Judgement, is_goodbye, judge};
pub use masking::without_addresses;
pub use message::{Envelope, Message};
pub use open::SmtpFault;
pub use probe::{ProbeStep, probe};
pub use settings::{Credentials, RelaySettings, Secret, Security, Timeouts, TokenSource};

use super::address::UnusableAddress;
use masking::without_recipient;
pub use wire::Offers;
use wire::{Reply, Wire, WireFault};

/// The end of a message.
const DOT: &str = ".\r\n";
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
#[derive(Clone, PartialEq, Eq)]
pub enum BeforeDot {
    /// Send the message.
    Send,
    /// Send it, and begin the next one in the same breath where the relay allows that: see [`Connection::has_begun`].
    SendAndBegin(Envelope),
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
    /// What was begun behind the last dot.
    begun: Option<Envelope>,
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
    /// alone for so long that the relay may have closed it. A message that was begun may be sent.
    pub fn usable(&self) -> bool {
        let now = Instant::now();
        self.wire.is_some() && now.duration_since(self.last_used) < LONGEST_PAUSE && (self.begun.is_some() || self.may_begin(now))
    }

    fn may_begin(&self, now: Instant) -> bool {
        self.transactions < self.messages_per_connection && now < self.good_until
    }

    /// Whether the relay waits for a message already: the next one sent here must be that one, or the connection must be dropped.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// What the relay offers, for [`Message::envelope`].
    pub fn offers(&self) -> Offers {
        self.offers
    }

    /// Messages the relay has taken over this connection.
    pub fn messages_sent(&self) -> u32 {
        self.accepted
    }

    /// Sends one message to one recipient and nothing behind it: [`Message::new`] and [`Connection::send`].
    pub async fn transact(
        &mut self,
        envelope_from: &str,
        recipient: &str,
        message: &[u8],
        before_dot: impl Future<Output = BeforeDot> + Send,
    ) -> Outcome {
        match Message::new(envelope_from, recipient, message.to_vec()) {
            Ok(message) => self.send(&message, before_dot).await,
            Err(why) => Outcome::Unsupported { why },
        }
    }

    /// Sends one message.
    ///
    /// `before_dot` is awaited once all of the message has left but its final dot; it is not awaited when the message is refused before
    /// that.
    pub async fn send(&mut self, message: &Message, before_dot: impl Future<Output = BeforeDot> + Send) -> Outcome {
        let envelope = match message.envelope(self.offers) {
            Ok(envelope) => envelope,
            Err(why) => return Outcome::Unsupported { why },
        };
        let lost = |why: &str| Outcome::Lost { stage: Stage::Connect, after_dot: false, why: why.to_owned() };
        let Some(mut wire) = self.wire.take() else { return lost("the connection was already closed") };
        let begun = self.begun.take();
        if begun.as_ref().is_some_and(|begun| *begun != envelope) {
            return lost("another message had been begun");
        }
        self.transactions += 1;
        let end = self.converse(&mut wire, message, &envelope, begun.is_some(), before_dot).await;
        self.last_used = Instant::now();
        match end {
            Ok(reply) => {
                self.accepted += 1;
                self.wire = Some(wire);
                let reply = [reply.enhanced().unwrap_or_default(), &reply.text()].join(" ");
                Outcome::Accepted { reply: without_recipient(reply.trim(), &message.to) }
            }
            Err(Stop::Refused(stage, reply)) => {
                // 421 announces that the relay closes the connection. Behind a dot the transaction is over whatever the answer, and what
                // was begun there must not be reset.
                if reply.code != 421 && (self.begun.is_some() || self.reset(&mut wire).await) {
                    self.wire = Some(wire);
                }
                refusal(stage, &reply, &message.to)
            }
            Err(Stop::Broken { stage, after_dot, why }) => Outcome::Lost { stage, after_dot, why },
            Err(Stop::Withheld) => Outcome::Withheld,
        }
    }

    /// Says goodbye. Dropping the connection is as good, only less polite.
    pub async fn quit(mut self) {
        let Some(mut wire) = self.wire.take() else { return };
        // A relay that waits for a message would take the goodbye for its first line.
        if self.begun.is_some() {
            return;
        }
        // The relay may close at once; either way we are done.
        if wire.send(Quit.to_string().as_bytes(), QUIT_WAIT).await.is_ok() && wire.reply(QUIT_WAIT).await.is_ok() {
            wire.close(QUIT_WAIT).await.ok();
        }
    }

    async fn converse(
        &mut self,
        wire: &mut Wire,
        message: &Message,
        envelope: &Envelope,
        has_begun: bool,
        before_dot: impl Future<Output = BeforeDot> + Send,
    ) -> Result<Reply, Stop> {
        if self.offers.pipelining {
            if !has_begun {
                send(wire, Stage::Mail, &envelope.at_once(), self.timeouts.command()).await?;
            }
            self.hear_at_once(wire).await?;
        } else {
            self.begin_step_by_step(wire, envelope).await?;
        }
        wire.send(&message.bytes, self.timeouts.data()).await.map_err(|fault| broken(Stage::Data, &fault))?;
        let next = match before_dot.await {
            BeforeDot::Send => None,
            BeforeDot::SendAndBegin(next) => Some(next).filter(|_| self.offers.pipelining && self.may_begin(Instant::now())),
            BeforeDot::Withhold => return Err(Stop::Withheld),
        };
        let end = [DOT, &next.as_ref().map(Envelope::at_once).unwrap_or_default()].concat();
        if let Err(fault) = wire.send(end.as_bytes(), self.timeouts.data()).await {
            let after_dot = wire.sent() >= DOT.len();
            let stage = if after_dot { Stage::Dot } else { Stage::Data };
            return Err(Stop::Broken { stage, after_dot, why: fault.to_string() });
        }
        self.begun = next;
        let broken = |why: String| Stop::Broken { stage: Stage::Dot, after_dot: true, why };
        let reply = wire.reply(self.timeouts.dot()).await.map_err(|fault| broken(fault.to_string()))?;
        match reply.code {
            200..=299 => Ok(reply),
            400..=599 => Err(Stop::Refused(Stage::Dot, reply)),
            code => Err(broken(format!("unexpected answer {code}"))),
        }
    }

    /// The answers to MAIL, RCPT and DATA in one go. All three are read, whatever they are.
    async fn hear_at_once(&self, wire: &mut Wire) -> Result<(), Stop> {
        let mail = self.answer(wire, Stage::Mail).await?;
        let mail = completed(Stage::Mail, mail)?;
        let rcpt = self.answer(wire, Stage::Rcpt).await?;
        let rcpt = completed(Stage::Rcpt, rcpt)?;
        let data = self.answer(wire, Stage::Data).await?;
        let ready = data.code == 354;
        if let Some(refused) = mail.or(rcpt) {
            if ready {
                // The relay waits for a message that has no recipient: an empty one ends it (RFC 2920 §3.1).
                send(wire, Stage::Data, DOT, self.timeouts.data()).await?;
                wire.reply(self.timeouts.dot()).await.map_err(|fault| broken(Stage::Data, &fault))?;
            }
            return Err(refused);
        }
        if ready { Ok(()) } else { Err(not_ready(data)) }
    }

    async fn begin_step_by_step(&self, wire: &mut Wire, envelope: &Envelope) -> Result<(), Stop> {
        for (stage, command) in [(Stage::Mail, &envelope.mail), (Stage::Rcpt, &envelope.rcpt)] {
            send(wire, stage, command, self.timeouts.command()).await?;
            let reply = self.answer(wire, stage).await?;
            if let Some(refused) = completed(stage, reply)? {
                return Err(refused);
            }
        }
        send(wire, Stage::Data, &envelope.data, self.timeouts.command()).await?;
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
