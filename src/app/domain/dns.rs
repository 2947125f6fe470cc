//! Questions to the DNS.
//!
//! Cast: [`Dns`], whose every answer is a list (empty: there is no such record) or [`NoAnswer`] (nobody can tell now).
//!
//! Names are taken as complete: no search domain, no hosts file.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

/// How long one question may take before it is asked again, once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Nobody can tell now: the server is away or answers that it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the DNS gives no answer about {name}: {why}")]
pub struct NoAnswer {
    name: String,
    why: String,
}

/// A DNS server to ask.
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// Asks `server`, or the system's servers.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let builder = match server {
            None => TokioResolver::builder_tokio().map_err(|error| error.to_string())?,
            Some(server) => {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                (udp.port, tcp.port) = (server.port(), server.port());
                let named = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
                TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![named]), TokioRuntimeProvider::default())
            }
        };
        let mut builder = builder;
        let options = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = 2;
        options.use_hosts_file = ResolveHosts::Never;
        // Long keys do not fit into the 512 bytes of old.
        options.edns0 = true;
        Ok(Self { resolver: builder.build().map_err(|error| error.to_string())? })
    }

    /// TXT records, the strings of each joined.
    ///
    /// # Errors
    /// [`NoAnswer`], as everywhere here.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let found = self.look_up(name, RecordType::TXT).await?;
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        Ok(found.iter().filter_map(text).collect())
    }

    /// A and AAAA records.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NoAnswer> {
        let mut found = self.look_up(name, RecordType::A).await?;
        found.extend(self.look_up(name, RecordType::AAAA).await?);
        let address = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        };
        Ok(found.iter().filter_map(address).collect())
    }

    /// MX records, the preferred one first; a lone empty name is a null MX (RFC 7505).
    pub async fn mx(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let found = self.look_up(name, RecordType::MX).await?;
        let exchange = |data: &RData| match data {
            RData::MX(mx) => Some((mx.preference, plain(&mx.exchange.to_ascii()))),
            _ => None,
        };
        let mut exchanges: Vec<(u16, String)> = found.iter().filter_map(exchange).collect();
        exchanges.sort();
        Ok(exchanges.into_iter().map(|(_, name)| name).collect())
    }

    /// Names of an address.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, NoAnswer> {
        let asked = self.resolver.reverse_lookup(address).await;
        let name = |data: &RData| match data {
            RData::PTR(ptr) => Some(plain(&ptr.0.to_ascii())),
            _ => None,
        };
        Ok(answers(&address.to_string(), asked)?.iter().filter_map(name).collect())
    }

    async fn look_up(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, NoAnswer> {
        // The dot at the end keeps the system's search domains away.
        answers(name, self.resolver.lookup(format!("{}.", name.trim_end_matches('.')), kind).await)
    }
}

fn answers(name: &str, asked: Result<Lookup, NetError>) -> Result<Vec<RData>, NoAnswer> {
    match asked {
        Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
        Err(error) => Err(NoAnswer { name: name.to_owned(), why: error.to_string() }),
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
