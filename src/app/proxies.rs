//! Whose word counts on where a request comes from: proxies in networks that the operator named.
//!
//! Cast: [`TrustedProxies`]. Whatever cannot be read as an address names nobody; nothing of it is kept.

use std::net::IpAddr;

/// Networks of proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<(IpAddr, u8)>,
}

impl TrustedProxies {
    /// Reads networks such as `10.0.0.0/8`, and single addresses.
    ///
    /// # Errors
    /// Which text is no network.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let networks =
            texts.iter().map(|text| network(text).ok_or_else(|| format!("{text:?} is no network; write 10.0.0.0/8 or fc00::/7")));
        Ok(Self { networks: networks.collect::<Result<_, _>>()? })
    }

    /// Whether an address is a trusted proxy's.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|(network, length)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => same_start(network.to_bits().into(), address.to_bits().into(), *length, 32),
            (IpAddr::V6(network), IpAddr::V6(address)) => same_start(network.to_bits(), address.to_bits(), *length, 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        })
    }

    /// Where a request comes from: read from the end of what proxies wrote, the first that is none of them. `socket` is who connected;
    /// `forwarded_for` is an X-Forwarded-For, `forwarded` a Forwarded header (RFC 7239), which counts where the first is missing. A peer that
    /// a trusted proxy does not name is nobody.
    pub fn client(&self, socket: IpAddr, forwarded_for: Option<&str>, forwarded: Option<&str>) -> Option<IpAddr> {
        if !self.contain(socket) {
            return Some(socket);
        }
        let named: Vec<Option<IpAddr>> = match (forwarded_for, forwarded) {
            (Some(list), _) => list.rsplit(',').map(|text| address(text.trim())).collect(),
            (None, Some(list)) => list.rsplit(',').map(named_by).collect(),
            (None, None) => return None,
        };
        let mut last = None;
        for name in named {
            // What stands before something unreadable could be anybody's invention.
            let name = name?;
            last = Some(name);
            if !self.contain(name) {
                break;
            }
        }
        last
    }
}

fn same_start(one: u128, other: u128, length: u8, bits: u8) -> bool {
    let behind = u32::from(bits.saturating_sub(length));
    one.checked_shr(behind).unwrap_or_default() == other.checked_shr(behind).unwrap_or_default()
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = length.map_or(Some(most), |length| length.parse().ok())?;
    if length > most {
        return None;
    }
    // Peers are compared as what they are, so an IPv4 network written in IPv6's form is taken as what it is, too.
    match address.to_canonical() {
        canonical @ IpAddr::V4(_) if address.is_ipv6() => Some((canonical, length.checked_sub(96)?)),
        canonical => Some((canonical, length)),
    }
}

/// `for=` of one element of a Forwarded header.
fn named_by(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })?;
    address(value.trim().trim_matches('"'))
}

/// An address, perhaps in brackets and with a port.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        return bracketed.split(']').next()?.parse().ok();
    }
    text.parse().ok().or_else(|| text.rsplit_once(':')?.0.parse().ok().filter(IpAddr::is_ipv4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> TrustedProxies {
        let texts = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32", "192.0.2.7"].map(str::to_owned);
        TrustedProxies::parse(&texts).unwrap()
    }

    #[test]
    fn networks_contain_what_begins_like_them() {
        for (address, is_in) in [
            ("10.1.2.3", true),
            ("11.1.2.3", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(trusted().contain(address.parse().unwrap()), is_in, "{address}");
        }
        let all = TrustedProxies::parse(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]).unwrap();
        assert!(all.contain("203.0.113.1".parse().unwrap()) && all.contain("2001::1".parse().unwrap()));
        let mapped = TrustedProxies::parse(&["::ffff:10.0.0.0/104".to_owned(), "::ffff:192.0.2.7".to_owned()]).unwrap();
        for (address, is_in) in [("10.9.9.9", true), ("11.0.0.1", false), ("192.0.2.7", true), ("192.0.2.8", false)] {
            assert_eq!(mapped.contain(address.parse().unwrap()), is_in, "{address}");
        }
        for wrong in ["", "10.0.0.0/33", "::ffff:10.0.0.0/90", "::/129", "10.0.0/8", "example.org", "10.0.0.0/-1"] {
            assert!(TrustedProxies::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_say_counts_and_only_up_to_the_first_stranger() {
        let client = |socket: &str, forwarded_for, forwarded| {
            trusted().client(socket.parse().unwrap(), forwarded_for, forwarded).map(|address| address.to_string())
        };
        let is = |address: &str| Some(address.to_owned());
        assert_eq!(client("203.0.113.9", Some("198.51.100.1"), None), is("203.0.113.9"), "a stranger's word");
        assert_eq!(client("127.0.0.1", Some("198.51.100.1"), None), is("198.51.100.1"));
        assert_eq!(client("127.0.0.1", Some("6.6.6.6, 198.51.100.1, 10.0.0.3"), None), is("198.51.100.1"), "invented in front");
        assert_eq!(client("127.0.0.1", Some("10.0.0.4, 10.0.0.3"), None), is("10.0.0.4"), "proxies only");
        assert_eq!(client("127.0.0.1", Some("6.6.6.6, unknown, 10.0.0.3"), None), None);
        assert_eq!(client("127.0.0.1", None, None), None);
        assert_eq!(client("127.0.0.1", Some("198.51.100.1:4711"), None), is("198.51.100.1"));
        for forwarded in ["for=198.51.100.1", "For=\"198.51.100.1:80\";proto=https", "for=6.6.6.6, proto=http;for=198.51.100.1;by=10.0.0.1"]
        {
            assert_eq!(client("10.0.0.1", None, Some(forwarded)), is("198.51.100.1"), "{forwarded}");
        }
        assert_eq!(client("10.0.0.1", None, Some("for=\"[2001:db9::1]:443\"")), is("2001:db9::1"));
        assert_eq!(client("10.0.0.1", None, Some("for=_hidden")), None);
        assert_eq!(client("10.0.0.1", Some("198.51.100.1"), Some("for=6.6.6.6")), is("198.51.100.1"));
    }
}
