//! SPF (RFC 7208): may this address send for this domain?
//!
//! Cast: [`SpfRecord`] and its [`Term`]s, [`evaluate`] (the answer a receiver comes to), [`count_lookups`] (how near to its limit a record is).
//!
//! Macros (`%{i}` …) depend on the letter: terms that have one never match here. `ptr` is never followed; the standard advises against it.

use std::net::IpAddr;

use super::dns::Dns;

/// Questions a record may cost a receiver (RFC 7208 §4.6.4).
pub const LOOKUPS_MOST: u32 = 10;
/// How deep includes are followed; deeper ones have passed the limit anyway.
const DEPTH_MOST: u32 = 12;

/// What becomes of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// May send.
    Pass,
    /// May not.
    Fail,
    /// Should not.
    SoftFail,
    /// Nothing is said.
    Neutral,
    /// There is no record.
    None,
}

/// What a term looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// Everybody.
    All,
    /// Whoever passes for another domain.
    Include(String),
    /// Addresses of a name (none: the domain itself), prefix lengths for IPv4 and IPv6.
    A(Option<String>, u8, u8),
    /// Addresses of its mail servers.
    Mx(Option<String>, u8, u8),
    /// A network.
    Network(IpAddr, u8),
    /// Costs a question and is not followed: `exists`, `ptr`, anything with a macro.
    NotFollowed,
}

/// A mechanism and what it means when it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// When it matches.
    pub verdict: Verdict,
    /// What it looks at.
    pub mechanism: Mechanism,
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpfRecord {
    /// Its terms in order.
    pub terms: Vec<Term>,
    /// Where to go on when none matches.
    pub redirect: Option<String>,
}

impl SpfRecord {
    /// Whether a TXT record is one of SPF.
    pub fn is_one(text: &str) -> bool {
        let start = text.get(..6).unwrap_or_default();
        start.eq_ignore_ascii_case("v=spf1") && text.get(6..).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The term that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        for word in text.split_whitespace().skip(1) {
            let name_end = word.find([':', '/', '=']).unwrap_or(word.len());
            if word.get(name_end..).is_some_and(|rest| rest.starts_with('=')) {
                if let Some(target) = word.to_ascii_lowercase().strip_prefix("redirect=") {
                    record.redirect = Some(target.to_owned());
                }
                continue;
            }
            record.terms.push(term(word).ok_or_else(|| word.to_owned())?);
        }
        Ok(record)
    }

    /// What is said of everybody else, if anything is.
    pub fn all(&self) -> Option<Verdict> {
        self.terms.iter().find(|term| term.mechanism == Mechanism::All).map(|term| term.verdict)
    }
}

fn term(word: &str) -> Option<Term> {
    let (verdict, word) = match word.split_at_checked(1)? {
        ("+", rest) => (Verdict::Pass, rest),
        ("-", rest) => (Verdict::Fail, rest),
        ("~", rest) => (Verdict::SoftFail, rest),
        ("?", rest) => (Verdict::Neutral, rest),
        _ => (Verdict::Pass, word),
    };
    let word = word.to_ascii_lowercase();
    let name = word.split([':', '/']).next().unwrap_or_default();
    let argument = word.get(name.len()..).unwrap_or_default();
    let mechanism = match name {
        "all" if argument.is_empty() => Mechanism::All,
        "include" | "a" | "mx" | "exists" | "ptr" if argument.contains('%') => Mechanism::NotFollowed,
        "include" => Mechanism::Include(argument.strip_prefix(':').filter(|name| !name.is_empty())?.to_owned()),
        "a" => hosts(argument).map(|(name, v4, v6)| Mechanism::A(name, v4, v6))?,
        "mx" => hosts(argument).map(|(name, v4, v6)| Mechanism::Mx(name, v4, v6))?,
        "ip4" | "ip6" => network(name == "ip4", argument.strip_prefix(':')?)?,
        "exists" | "ptr" => Mechanism::NotFollowed,
        _ => return None,
    };
    Some(Term { verdict, mechanism })
}

/// `:name/24//64`, each part optional.
fn hosts(argument: &str) -> Option<(Option<String>, u8, u8)> {
    let (argument, v6) = match argument.split_once("//") {
        Some((before, length)) => (before, length.parse().ok().filter(|length| *length <= 128)?),
        None => (argument, 128),
    };
    let (name, v4) = match argument.split_once('/') {
        Some((name, length)) => (name, length.parse().ok().filter(|length| *length <= 32)?),
        None => (argument, 32),
    };
    match name.strip_prefix(':') {
        Some("") => None,
        Some(name) => Some((Some(name.to_owned()), v4, v6)),
        None => name.is_empty().then_some((None, v4, v6)),
    }
}

fn network(is_v4: bool, text: &str) -> Option<Mechanism> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if is_v4 { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.parse().ok())?;
    (address.is_ipv4() == is_v4 && length <= most).then_some(Mechanism::Network(address, length))
}

/// Whether an address lies in a network; never across families.
fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let shift = |bits: u32| bits.saturating_sub(u32::from(length));
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (address.to_bits() ^ network.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0,
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits() ^ network.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0,
        _ => false,
    }
}

/// What a receiver finds when `address` sends for `domain`.
///
/// # Errors
/// A permanent or temporary error of the standard, in words.
pub async fn evaluate(dns: &Dns, domain: &str, address: IpAddr) -> Result<Verdict, String> {
    Walk { dns, address: Some(address), lookups: 0 }.domain(domain.to_owned(), 0).await
}

/// Questions the whole record costs when nothing matches.
///
/// # Errors
/// A permanent or temporary error of the standard, in words.
pub async fn count_lookups(dns: &Dns, domain: &str) -> Result<u32, String> {
    let mut walk = Walk { dns, address: None, lookups: 0 };
    walk.domain(domain.to_owned(), 0).await?;
    Ok(walk.lookups)
}

/// One evaluation; without an address nothing matches and everything is counted.
struct Walk<'a> {
    dns: &'a Dns,
    address: Option<IpAddr>,
    lookups: u32,
}

impl Walk<'_> {
    async fn domain(&mut self, domain: String, depth: u32) -> Result<Verdict, String> {
        if depth > DEPTH_MOST {
            return Err(format!("the includes of {domain} lead too deep or in a circle"));
        }
        let texts = self.dns.txt(&domain).await.map_err(|error| error.to_string())?;
        let records: Vec<&String> = texts.iter().filter(|text| SpfRecord::is_one(text)).collect();
        let [record] = records.as_slice() else {
            return if records.is_empty() { Ok(Verdict::None) } else { Err(format!("{domain} has {} SPF records", records.len())) };
        };
        let record = SpfRecord::parse(record).map_err(|term| format!("the SPF record of {domain} has an unknown term {term:?}"))?;
        for term in &record.terms {
            if self.matches(&term.mechanism, &domain, depth).await? {
                return Ok(term.verdict);
            }
        }
        match record.redirect {
            Some(target) if record.terms.iter().all(|term| term.mechanism != Mechanism::All) => {
                self.count()?;
                match Box::pin(self.domain(target.clone(), depth + 1)).await? {
                    Verdict::None => Err(format!("{domain} redirects to {target}, which has no SPF record")),
                    verdict => Ok(verdict),
                }
            }
            _ => Ok(Verdict::Neutral),
        }
    }

    fn count(&mut self) -> Result<(), String> {
        self.lookups += 1;
        // Without an address the number itself is what is wanted, within reason.
        let most = if self.address.is_some() { LOOKUPS_MOST } else { 5 * LOOKUPS_MOST };
        if self.lookups > most { Err(format!("it costs more than {LOOKUPS_MOST} questions to the DNS")) } else { Ok(()) }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str, depth: u32) -> Result<bool, String> {
        match mechanism {
            Mechanism::All => Ok(self.address.is_some()),
            Mechanism::Network(network, length) => Ok(self.address.is_some_and(|address| is_within(address, *network, *length))),
            Mechanism::NotFollowed => self.count().map(|()| false),
            Mechanism::Include(other) => {
                self.count()?;
                match Box::pin(self.domain(other.clone(), depth + 1)).await? {
                    Verdict::None => Err(format!("{domain} includes {other}, which has no SPF record")),
                    verdict => Ok(self.address.is_some() && verdict == Verdict::Pass),
                }
            }
            Mechanism::A(name, v4, v6) => {
                self.count()?;
                self.is_one_of(&[name.as_deref().unwrap_or(domain).to_owned()], *v4, *v6).await
            }
            Mechanism::Mx(name, v4, v6) => {
                self.count()?;
                let hosts = self.dns.mx(name.as_deref().unwrap_or(domain)).await.map_err(|error| error.to_string())?;
                self.is_one_of(&hosts, *v4, *v6).await
            }
        }
    }

    async fn is_one_of(&self, hosts: &[String], v4: u8, v6: u8) -> Result<bool, String> {
        let Some(address) = self.address else { return Ok(false) };
        for host in hosts.iter().filter(|host| !host.is_empty()) {
            let known = self.dns.addresses(host).await.map_err(|error| error.to_string())?;
            if known.iter().any(|known| is_within(address, *known, if known.is_ipv4() { v4 } else { v6 })) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let record =
            SpfRecord::parse("v=spf1 ip4:192.0.2.0/24 a:Mail.example.org/28//64 mx -include:_spf.example.net exists:%{i}.x ~all").unwrap();
        let mechanisms: Vec<&Mechanism> = record.terms.iter().map(|term| &term.mechanism).collect();
        assert_eq!(
            mechanisms,
            [
                &Mechanism::Network("192.0.2.0".parse().unwrap(), 24),
                &Mechanism::A(Some("mail.example.org".to_owned()), 28, 64),
                &Mechanism::Mx(None, 32, 128),
                &Mechanism::Include("_spf.example.net".to_owned()),
                &Mechanism::NotFollowed,
                &Mechanism::All,
            ]
        );
        assert_eq!((record.terms[3].verdict, record.all()), (Verdict::Fail, Some(Verdict::SoftFail)));
        let record = SpfRecord::parse("v=spf1 redirect=_spf.example.org exp=why.example.org").unwrap();
        assert_eq!((record.redirect.as_deref(), record.terms.len()), (Some("_spf.example.org"), 0));
        for bad in ["ipv4:192.0.2.1", "ip4:300.0.0.1", "ip4:2001:db8::1", "ip4:192.0.2.0/33", "include:", "a:", "all:x", "?", "v6:x"] {
            assert_eq!(SpfRecord::parse(&format!("v=spf1 {bad} -all")), Err(bad.to_owned()));
        }
    }

    #[test]
    fn only_records_of_spf_are_taken_for_some() {
        for (text, expected) in [("v=spf1", true), ("V=SPF1 -all", true), ("v=spf10 -all", false), ("v=spf1-all", false), ("é", false)] {
            assert_eq!(SpfRecord::is_one(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_lie_in_networks() {
        for (address, network, length, expected) in [
            ("192.0.2.77", "192.0.2.0", 24, true),
            ("192.0.3.1", "192.0.2.0", 24, false),
            ("192.0.2.1", "192.0.2.1", 32, true),
            ("192.0.2.2", "192.0.2.1", 32, false),
            ("8.8.8.8", "0.0.0.0", 0, true),
            ("2001:db8::5", "2001:db8::", 64, true),
            ("2001:db9::5", "2001:db8::", 32, false),
            ("::1", "0.0.0.0", 0, false),
        ] {
            assert_eq!(is_within(address.parse().unwrap(), network.parse().unwrap(), length), expected, "{address} in {network}/{length}");
        }
    }
}
