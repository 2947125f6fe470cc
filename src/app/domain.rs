//! Whether a sender's domain proves who it is: SPF, DKIM, DMARC, PTR and MX as the DNS tells them, each with what to change.
//!
//! Cast: [`check`] (asks and judges), [`Request`], [`Report`] and its [`Finding`]s, [`Record`] (what to publish), [`keys`] (new DKIM keys);
//! inside, [`dns`] (the only questions), [`spf`], and `judge` (one function for each subject).
//!
//! It reads the DNS and nothing else on the network, and changes nothing there.

pub mod dns;
mod judge;
pub mod keys;
pub mod spf;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use crate::app::config::Config;
use crate::delivery::dkim::{DkimKeys, domain_name};
use dns::Dns;

/// How long all questions together may take.
const DEADLINE: Duration = Duration::from_secs(40);

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The domain in senders' addresses.
    pub domain: String,
    /// The DNS server to ask; without it that of the settings, or the system's.
    pub resolver: Option<SocketAddr>,
    /// Addresses letters reach the world from; without any those of the settings, or the relay's.
    pub sends_from: Vec<IpAddr>,
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, or could not be looked at; worth a change.
    Warn,
    /// Letters will be refused, put among spam, or cannot come back.
    Stop,
}

impl Level {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Stop => "stop",
        }
    }
}

/// A record as it should stand in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its name, without a dot at the end.
    pub name: String,
    /// `TXT`, `MX`, `PTR`.
    pub kind: &'static str,
    /// Its value.
    pub value: String,
}

impl Record {
    fn new(kind: &'static str, name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), kind, value: value.into() }
    }

    /// A line of a zone file: a text falls into strings of at most 255 bytes.
    pub fn zone_line(&self) -> String {
        let value = match self.kind {
            "TXT" => {
                let text: Vec<char> = self.value.replace('\\', "\\\\").replace('"', "\\\"").chars().collect();
                text.chunks(250).map(|chunk| format!("\"{}\"", chunk.iter().collect::<String>())).collect::<Vec<_>>().join(" ")
            }
            _ => self.value.clone(),
        };
        format!("{}. IN {} {value}", self.name, self.kind)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `SPF`, `DKIM`, `DMARC`, `PTR`, `MX`.
    pub subject: &'static str,
    /// Which one: a name or an address.
    pub name: String,
    /// How good it is.
    pub level: Level,
    /// What is there.
    pub found: String,
    /// What to change; empty when nothing needs to be.
    pub advice: String,
    /// What to publish, where that is one record.
    pub record: Option<Record>,
}

impl Finding {
    fn new(subject: &'static str, name: &str, level: Level, found: impl Into<String>) -> Self {
        Self { subject, name: name.to_owned(), level, found: found.into(), advice: String::new(), record: None }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    fn record(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The domain in senders' addresses.
    pub domain: String,
    /// The domain of return paths, which SPF is about.
    pub return_domain: String,
    /// The worst level of all findings.
    pub level: Level,
    /// Everything looked at, in the order SPF, DKIM, DMARC, PTR, MX.
    pub findings: Vec<Finding>,
}

/// Why a domain could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// Not a domain.
    #[error("{0:?} is not a domain name; write it as example.org")]
    Name(String),
    /// The DNS cannot be asked at all.
    #[error("the DNS cannot be asked: {0}")]
    Resolver(String),
    /// It took too long.
    #[error("the DNS server took more than {} seconds; try again, or name another one", DEADLINE.as_secs())]
    Slow,
}

/// Everything the judges look at.
struct Subject<'a> {
    dns: &'a Dns,
    domain: String,
    return_domain: String,
    sends_from: Senders,
    relay: &'a str,
    keys: &'a DkimKeys,
}

/// Where letters reach the world from.
struct Senders {
    addresses: Vec<IpAddr>,
    /// Whether an operator said so; otherwise they are those of the relay, which may send from others.
    stated: bool,
}

/// Asks the DNS about a domain and judges what it says. Waits: not for threads that answer requests.
///
/// # Errors
/// [`DomainError`]; a record that is missing or wrong is a finding, not an error.
pub fn check(config: &Config, keys: &DkimKeys, request: &Request) -> Result<Report, DomainError> {
    let domain = domain_name(request.domain.trim().trim_end_matches('.')).ok().filter(|name| name.contains('.'));
    let domain = domain.ok_or_else(|| DomainError::Name(request.domain.clone()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| DomainError::Resolver(error.to_string()))?;
    runtime.block_on(async {
        let dns = Dns::new(request.resolver.or_else(|| config.domain.resolver())).map_err(DomainError::Resolver)?;
        let asked = ask(&dns, config, keys, request, domain);
        tokio::time::timeout(DEADLINE, asked).await.map_err(|_| DomainError::Slow)
    })
}

async fn ask(dns: &Dns, config: &Config, keys: &DkimKeys, request: &Request, domain: String) -> Report {
    let subject = Subject {
        dns,
        return_domain: domain_name(&config.bounce.domain).unwrap_or_default(),
        sends_from: senders(dns, config, request).await,
        relay: &config.relay.host,
        keys,
        domain,
    };
    let mut findings = judge::spf(&subject).await;
    findings.extend(judge::dkim(&subject).await);
    findings.extend(judge::dmarc(&subject).await);
    findings.extend(judge::ptr(&subject).await);
    findings.extend(judge::mx(&subject).await);
    let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    Report { domain: subject.domain, return_domain: subject.return_domain, level, findings }
}

async fn senders(dns: &Dns, config: &Config, request: &Request) -> Senders {
    for stated in [&request.sends_from, &config.domain.sends_from] {
        if !stated.is_empty() {
            return Senders { addresses: stated.clone(), stated: true };
        }
    }
    let relay = match config.relay.host.parse() {
        Ok(address) => vec![address],
        Err(_) => dns.addresses(&config.relay.host).await.unwrap_or_default(),
    };
    Senders { addresses: relay.into_iter().filter(|address| is_public(*address)).collect(), stated: false }
}

/// Whether an address is neither this machine's nor of a private network.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_written_as_several_strings() {
        let line = Record::new("TXT", "s._domainkey.example.org", "a".repeat(400)).zone_line();
        assert_eq!(line, format!("s._domainkey.example.org. IN TXT \"{}\" \"{}\"", "a".repeat(250), "a".repeat(150)));
        assert_eq!(Record::new("MX", "example.org", "10 mx.example.org.").zone_line(), "example.org. IN MX 10 mx.example.org.");
    }
}
