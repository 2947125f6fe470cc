//! A relay over TCP that misbehaves where it is told to, and is a plain SMTP server otherwise.
//!
//! Cast: [`Peer`] (a running one, and what it heard and took), [`Manners`] (what it offers), [`Fault`] ([`At`] a stage, perhaps for one
//! recipient, so many times: an [`Act`]).
//!
//! It counts a letter as taken once its last dot has come, unless it refuses it in words: as relays do that break down afterwards.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Greeting,
    Ehlo,
    StartTls,
    Handshake,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the first bytes of a letter.
    Letter,
    Dot,
    Rset,
}

/// What happens there instead of the usual.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// This answer.
    Say(&'static str),
    /// This answer, byte by byte.
    InPieces(&'static str),
    /// This answer and the end.
    SayAndClose(&'static str),
    /// Bytes as they are, no line end added.
    Bytes(&'static [u8]),
    /// Nothing more, but the connection stays.
    Hang,
    /// The end.
    Close,
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    at: At,
    recipient: Option<&'static str>,
    times: usize,
    act: Act,
}

impl Fault {
    /// Each time.
    pub fn always(at: At, act: Act) -> Self {
        Self { at, recipient: None, times: usize::MAX, act }
    }

    /// The first time, or the first time with this recipient.
    pub fn once(at: At, act: Act) -> Self {
        Self { times: 1, ..Self::always(at, act) }
    }

    /// Only where the letter is for this address.
    pub fn of(self, recipient: &'static str) -> Self {
        Self { recipient: Some(recipient), ..self }
    }
}

/// What a peer offers and puts up with.
#[derive(Debug, Clone)]
pub struct Manners {
    pub keywords: &'static [&'static str],
    /// A file of `tests/data/tls/faults`.
    pub certificate: &'static str,
    /// TLS from the first byte.
    pub is_tls: bool,
    pub connections: usize,
    pub letters_per_connection: usize,
}

impl Default for Manners {
    fn default() -> Self {
        let keywords = &["PIPELINING", "8BITMIME", "SMTPUTF8", "AUTH PLAIN"];
        Self { keywords, certificate: "good.pem", is_tls: false, connections: usize::MAX, letters_per_connection: usize::MAX }
    }
}

/// A letter as taken.
#[derive(Debug, Clone)]
pub struct Taken {
    pub sender: String,
    pub recipient: String,
    pub letter: String,
}

struct Shared {
    manners: Manners,
    faults: Mutex<Vec<Fault>>,
    taken: Mutex<Vec<Taken>>,
    heard: Mutex<Vec<Vec<String>>>,
    open: Mutex<usize>,
}

/// A running peer; it ends with the test.
#[derive(Clone)]
pub struct Peer {
    shared: Arc<Shared>,
    pub port: u16,
}

impl Peer {
    pub async fn start(manners: Manners, faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, heard) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { manners, faults: Mutex::new(faults), taken, heard, open: Mutex::default() });
        let peer = Self { shared: shared.clone(), port };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    *shared.open.lock().unwrap() += 1;
                    // However it ends: the peer's own faults are not errors of the test.
                    let _ = Talk::begin(stream, shared.clone()).await;
                    *shared.open.lock().unwrap() -= 1;
                });
            }
        });
        peer
    }

    /// Everything taken, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// How many letters each recipient got.
    pub fn letters(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for letter in self.taken() {
            *counts.entry(letter.recipient).or_default() += 1;
        }
        counts
    }

    /// The commands heard, by connection.
    pub fn heard(&self) -> Vec<Vec<String>> {
        self.shared.heard.lock().unwrap().clone()
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

struct Talk {
    stream: BufReader<Box<dyn Duplex>>,
    shared: Arc<Shared>,
    number: usize,
    letters: usize,
    sender: String,
    recipient: Option<String>,
}

fn over() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Talk {
    async fn begin(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
        let number = {
            let mut heard = shared.heard.lock().unwrap();
            heard.push(Vec::new());
            heard.len() - 1
        };
        let stream: Box<dyn Duplex> = Box::new(stream);
        let is_tls = shared.manners.is_tls;
        let mut talk = Self { stream: BufReader::new(stream), shared, number, letters: 0, sender: String::new(), recipient: None };
        if is_tls {
            talk = talk.encrypt().await?;
        }
        let open = *talk.shared.open.lock().unwrap();
        if open > talk.shared.manners.connections {
            return talk.say("421 4.7.0 too many connections").await;
        }
        talk.answer(At::Greeting, "220 relay.test ESMTP").await?;
        loop {
            talk = talk.command().await?;
        }
    }

    async fn command(mut self) -> io::Result<Self> {
        let line = self.line().await?;
        self.shared.heard.lock().unwrap()[self.number].push(line.clone());
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO" => {
                let keywords = self.shared.manners.keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect::<String>();
                self.answer(At::Ehlo, &format!("250-relay.test\r\n{keywords}250 HELP")).await?;
            }
            "STARTTLS" => {
                if self.answer(At::StartTls, "220 go ahead").await?.starts_with("220") {
                    self = self.encrypt().await?;
                }
            }
            "AUTH" => drop(self.answer(At::Auth, "235 2.7.0 welcome").await?),
            "MAIL" => {
                if self.letters >= self.shared.manners.letters_per_connection {
                    self.say("421 4.7.0 too many letters over one connection").await?;
                    return Err(over());
                }
                self.sender = address(&line);
                self.recipient = None;
                self.answer(At::Mail, "250 2.1.0 ok").await?;
            }
            "RCPT" => {
                let recipient = address(&line);
                self.recipient = Some(recipient);
                if !self.answer(At::Rcpt, "250 2.1.5 ok").await?.starts_with('2') {
                    self.recipient = None;
                }
            }
            "DATA" => {
                let usual = if self.recipient.is_some() { "354 go on" } else { "554 5.5.1 no valid recipients" };
                if self.answer(At::Data, usual).await?.starts_with("354") {
                    self.letter().await?;
                }
            }
            "RSET" => drop(self.answer(At::Rset, "250 2.0.0 ok").await?),
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                return Err(over());
            }
            _ => self.say("502 5.5.2 what?").await?,
        }
        Ok(self)
    }

    async fn letter(&mut self) -> io::Result<()> {
        let mut letter = String::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                break;
            }
            let first = letter.is_empty();
            letter.push_str(line.strip_prefix('.').unwrap_or(&line));
            letter.push_str("\r\n");
            if first && let Some(act) = self.fault(At::Letter) {
                self.act(act).await?;
            }
        }
        let Some(recipient) = self.recipient.clone() else { return self.say("554 5.5.1 no valid recipients").await };
        let act = self.fault(At::Dot);
        let refuses = |text: &str| text.starts_with(['4', '5']);
        if !matches!(act, Some(Act::Say(text) | Act::InPieces(text) | Act::SayAndClose(text)) if refuses(text)) {
            self.letters += 1;
            self.shared.taken.lock().unwrap().push(Taken { sender: self.sender.clone(), recipient, letter });
        }
        match act {
            Some(act) => drop(self.act(act).await?),
            None => self.say("250 2.0.0 queued as 4ABC").await?,
        }
        Ok(())
    }

    /// The usual answer, or what the faults want; gives what was said.
    async fn answer(&mut self, at: At, usual: &str) -> io::Result<String> {
        match self.fault(at) {
            Some(act) => self.act(act).await,
            None => {
                self.say(usual).await?;
                Ok(usual.to_owned())
            }
        }
    }

    async fn act(&mut self, act: Act) -> io::Result<String> {
        match act {
            Act::Say(text) => {
                self.say(text).await?;
                Ok(text.to_owned())
            }
            Act::InPieces(text) => {
                for byte in text.bytes().chain(*b"\r\n") {
                    self.stream.write_all(&[byte]).await?;
                    self.stream.flush().await?;
                    tokio::task::yield_now().await;
                }
                Ok(text.to_owned())
            }
            Act::SayAndClose(text) => {
                self.say(text).await?;
                Err(over())
            }
            Act::Bytes(bytes) => {
                self.stream.write_all(bytes).await?;
                self.stream.flush().await?;
                Ok(String::from_utf8_lossy(bytes).into_owned())
            }
            Act::Hang => std::future::pending().await,
            Act::Close => Err(over()),
        }
    }

    fn fault(&self, at: At) -> Option<Act> {
        let mut faults = self.shared.faults.lock().unwrap();
        let fault = faults.iter_mut().find(|fault| {
            let is_for = fault.recipient.is_none_or(|wanted| self.recipient.as_deref() == Some(wanted));
            fault.at == at && fault.times > 0 && is_for
        })?;
        fault.times -= 1;
        Some(fault.act)
    }

    async fn encrypt(mut self) -> io::Result<Self> {
        if let Some(act) = self.fault(At::Handshake) {
            self.act(act).await?;
        }
        let config = tls(self.shared.manners.certificate);
        let stream = TlsAcceptor::from(Arc::new(config)).accept(self.stream.into_inner()).await?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), ..self })
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if (&mut self.stream).take(100_000).read_until(b'\n', &mut line).await? == 0 {
            return Err(over());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}

fn tls(certificate: &str) -> ServerConfig {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/faults").join(name);
    let certificates = vec![CertificateDer::from_pem_file(file(certificate)).unwrap()];
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(file("peer.key")).unwrap())
        .unwrap()
}
