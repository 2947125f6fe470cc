//! From settings to a connection that takes messages.
//!
//! Cast: [`open`] over TCP, [`greet`] over any stream, [`SmtpFault`].
//!
//! It never signs in over an encryption that was asked for and not given.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lettre::transport::smtp::commands::{Ehlo, Starttls};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::sign_in::sign_in;
use super::wire::{Offers, Reply, Stream, Wire, WireFault};
use super::{Connection, Judgement, RelaySettings, Security, Stage, judge, tls, without_addresses};

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SmtpFault {
    /// The settings cannot work.
    #[error("the relay's settings cannot work: {what}")]
    Settings {
        /// What is wrong.
        what: &'static str,
    },
    /// No address, or none that answers.
    #[error("the relay at {host}:{port} cannot be reached: check its name and port, and that this machine may connect to it")]
    Unreachable {
        /// Host as set.
        host: String,
        /// Port tried.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing came in time.
    #[error("the relay did not answer within {seconds} s ({stage:?})")]
    TimedOut {
        /// Where.
        stage: Stage,
        /// How long we waited.
        seconds: u64,
    },
    /// The relay does not offer STARTTLS, or something on the way has removed it.
    #[error("the relay does not offer STARTTLS: nothing was sent; if that is right, set security to tls or none")]
    NoStartTls,
    /// The certificate or the handshake failed.
    #[error("no TLS with the relay: check that its certificate is valid for the host set")]
    Tls {
        /// What rustls said.
        source: io::Error,
    },
    /// The handshake did not end in time.
    #[error("no TLS with the relay within {seconds} s: check that its port speaks TLS as set, and that this machine may connect to it")]
    TlsTimedOut {
        /// How long we waited.
        seconds: u64,
    },
    /// The relay offers no way to sign in with these credentials.
    #[error(
        "the relay does not offer AUTH PLAIN or LOGIN, which a password needs, or XOAUTH2, which a token needs: remove the credentials, \
         or use a port where it does"
    )]
    NoMechanism,
    /// There is no access token to sign in with.
    #[error("no access token to sign in with: {what}")]
    NoToken {
        /// What went wrong, without the token.
        what: String,
    },
    /// The relay said no.
    #[error("the relay refused us with {code} ({stage:?}): {text}")]
    Refused {
        /// Where.
        stage: Stage,
        /// Reply code, 400 to 599.
        code: u16,
        /// RFC 3463 code.
        enhanced: Option<String>,
        /// The rest of the reply, without addresses.
        text: String,
    },
    /// The connection broke, or what came is not SMTP.
    #[error("the connection to the relay broke ({stage:?}): {why}")]
    Broken {
        /// Where.
        stage: Stage,
        /// What happened.
        why: String,
    },
}

impl SmtpFault {
    /// Whether trying again later may help ([`Judgement::Retry`]) or somebody must change something ([`Judgement::SenderFault`]).
    pub fn judgement(&self) -> Judgement {
        match self {
            Self::Settings { .. } | Self::NoStartTls | Self::NoMechanism | Self::Tls { .. } => Judgement::SenderFault,
            // Whatever keeps the token fresh may come back by itself.
            Self::NoToken { .. } | Self::Unreachable { .. } | Self::TimedOut { .. } | Self::TlsTimedOut { .. } | Self::Broken { .. } => {
                Judgement::Retry
            }
            Self::Refused { stage, code, enhanced, text } => judge(*stage, *code, enhanced.as_deref(), text),
        }
    }

    pub(super) fn broken(stage: Stage) -> impl Fn(WireFault) -> Self {
        move |fault| match fault {
            WireFault::TimedOut(limit) => Self::TimedOut { stage, seconds: limit.as_secs() },
            fault => Self::Broken { stage, why: fault.to_string() },
        }
    }

    fn refused(stage: Stage, reply: &Reply) -> Self {
        let enhanced = reply.enhanced().map(str::to_owned);
        Self::Refused { stage, code: reply.code, enhanced, text: without_addresses(&reply.text()) }
    }
}

/// Connects over TCP, then as [`greet`].
pub(super) async fn open(settings: &RelaySettings) -> Result<Connection, SmtpFault> {
    if let Some(what) = settings.problem() {
        return Err(SmtpFault::Settings { what });
    }
    let stream = connect(settings).await?;
    let local = stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    let mut stream: Stream = Box::new(stream);
    if settings.security == Security::Tls {
        stream = tls::wrap(stream, settings).await?;
    }
    greet(stream, settings, local).await
}

async fn connect(settings: &RelaySettings) -> Result<TcpStream, SmtpFault> {
    let (host, port, limit) = (settings.host.as_str(), settings.port(), settings.timeouts.connect());
    let unreachable = |source| SmtpFault::Unreachable { host: host.to_owned(), port, source };
    // Not the greeting's time-out: nobody is there to greet.
    let silent = |what| unreachable(io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {} s", limit.as_secs())));
    let Ok(found) = timeout(limit, tokio::net::lookup_host((host, port))).await else { return Err(silent("no address")) };
    let addresses: Vec<SocketAddr> = found.map_err(unreachable)?.collect();
    let mut last = SmtpFault::Unreachable { host: host.to_owned(), port, source: io::ErrorKind::NotFound.into() };
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without this the message waits 40 ms for an acknowledgement of the commands before it.
                stream.set_nodelay(true).map_err(unreachable)?;
                return Ok(stream);
            }
            Ok(Err(source)) => last = unreachable(source),
            Err(_) => last = silent("no connection"),
        }
    }
    Err(last)
}

/// Reads the greeting, says EHLO, encrypts if asked to, signs in if asked to. `local` is our end's address.
pub(super) async fn greet(stream: Stream, settings: &RelaySettings, local: IpAddr) -> Result<Connection, SmtpFault> {
    let mut wire = Wire::new(stream);
    let greeting = wire.reply(settings.timeouts.command()).await.map_err(SmtpFault::broken(Stage::Connect))?;
    expect(Stage::Connect, &greeting, 220)?;
    let hello = Ehlo::new(hello_name(settings, local)).to_string();
    let mut offers = Offers::read(&ask(&mut wire, settings, Stage::Hello, &hello, 250).await?);
    if settings.security == Security::StartTls && !offers.start_tls {
        return Err(SmtpFault::NoStartTls);
    }
    let upgrades = matches!(settings.security, Security::StartTls | Security::Opportunistic) && offers.start_tls;
    if upgrades {
        ask(&mut wire, settings, Stage::Hello, &Starttls.to_string(), 220).await?;
        let stream = wire.into_stream().map_err(SmtpFault::broken(Stage::Hello))?;
        wire = Wire::new(tls::wrap(stream, settings).await?);
        // What was offered in plain text counts no more.
        offers = Offers::read(&ask(&mut wire, settings, Stage::Hello, &hello, 250).await?);
    }
    sign_in(&mut wire, settings, offers).await?;
    Ok(Connection {
        wire: Some(wire),
        offers,
        timeouts: settings.timeouts,
        messages_per_connection: settings.messages_per_connection,
        is_encrypted: upgrades || settings.security == Security::Tls,
        good_until: Instant::now() + Duration::from_secs(60 * u64::from(settings.minutes_per_connection)),
        last_used: Instant::now(),
        transactions: 0,
        accepted: 0,
        begun: None,
    })
}

/// The name set, or our end's address as a literal (RFC 5321 §4.1.4).
fn hello_name(settings: &RelaySettings, local: IpAddr) -> ClientId {
    match (&settings.hello_name, local) {
        (Some(name), _) => ClientId::Domain(name.clone()),
        (None, IpAddr::V4(address)) => ClientId::Ipv4(address),
        (None, IpAddr::V6(address)) => ClientId::Ipv6(address),
    }
}

/// One command and its answer, which must be `wanted`.
pub(super) async fn ask(wire: &mut Wire, settings: &RelaySettings, stage: Stage, command: &str, wanted: u16) -> Result<Reply, SmtpFault> {
    let limit = settings.timeouts.command();
    wire.send(command.as_bytes(), limit).await.map_err(SmtpFault::broken(stage))?;
    let reply = wire.reply(limit).await.map_err(SmtpFault::broken(stage))?;
    expect(stage, &reply, wanted)?;
    Ok(reply)
}

pub(super) fn expect(stage: Stage, reply: &Reply, wanted: u16) -> Result<(), SmtpFault> {
    match reply.code {
        code if code == wanted => Ok(()),
        400..=599 => Err(SmtpFault::refused(stage, reply)),
        code => Err(SmtpFault::Broken { stage, why: format!("unexpected answer {code}") }),
    }
}
