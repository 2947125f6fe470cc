//! What kind of network an address belongs to, by longest prefix, and what that says about a hit in each direction.
//!
//! Cast: [`NetworkTable`] (loaded from text by whoever owns the files), [`NetworkKind`], [`Meaning`], [`NetworkError`].
//!
//! Never opens a file, never resolves a name, never keeps an address that was looked up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;

use super::verdict::HitKind;

/// The kinds of network worth telling apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkKind {
    /// In no table, or no address known.
    None,
    /// Exits of Apple's relay: Mail's image prefetch, and people browsing with Private Relay.
    AppleRelay,
    /// Google machines that fetch because a user asked, the mail image proxy among them.
    GoogleFetcher,
    /// Google's crawlers.
    GoogleCrawler,
    /// Any other address of Google's.
    GoogleOther,
    /// Microsoft, whose mail scanners and web mail share addresses.
    Microsoft,
    /// A network the operator lists as a mail scanner's.
    ListedScanner,
    /// A hosting company. Loaded for reports; no rule of this version decides on it.
    Hosting,
}

/// What a network says about a hit. The same network may say opposite things about an open and a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Nothing either way.
    Nothing,
    /// A mail provider fetches from here: confirms a fetcher's user agent, decides nothing alone.
    Fetcher,
    /// People and machines both arrive from here.
    Mixed,
    /// Only machines arrive from here.
    Machine,
}

/// One row per kind: its word in the file, its meaning for an open, its meaning for a click.
const KINDS: [(NetworkKind, &str, Meaning, Meaning); 8] = [
    (NetworkKind::None, "none", Meaning::Nothing, Meaning::Nothing),
    (NetworkKind::AppleRelay, "apple_relay", Meaning::Fetcher, Meaning::Nothing),
    (NetworkKind::GoogleFetcher, "google_fetcher", Meaning::Fetcher, Meaning::Nothing),
    (NetworkKind::GoogleCrawler, "google_crawler", Meaning::Mixed, Meaning::Machine),
    (NetworkKind::GoogleOther, "google_other", Meaning::Nothing, Meaning::Nothing),
    (NetworkKind::Microsoft, "microsoft", Meaning::Mixed, Meaning::Machine),
    (NetworkKind::ListedScanner, "listed_scanner", Meaning::Mixed, Meaning::Machine),
    (NetworkKind::Hosting, "hosting", Meaning::Nothing, Meaning::Nothing),
];

impl NetworkKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::AppleRelay,
        Self::GoogleFetcher,
        Self::GoogleCrawler,
        Self::GoogleOther,
        Self::Microsoft,
        Self::ListedScanner,
        Self::Hosting,
    ];

    /// The word used in table files.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|row| row.0 == self).map_or("none", |row| row.1)
    }

    /// What this network says about an open or a click.
    pub fn meaning(self, hit: HitKind) -> Meaning {
        let row = KINDS.iter().find(|row| row.0 == self);
        row.map_or(Meaning::Nothing, |row| match hit {
            HitKind::Open => row.2,
            HitKind::Click => row.3,
        })
    }

    /// Whether Google owns it, whatever for.
    pub const fn is_google(self) -> bool {
        matches!(self, Self::GoogleFetcher | Self::GoogleCrawler | Self::GoogleOther)
    }
}

/// A table file could not be read. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The line has not exactly two words.
    #[error("network table, line {line}: write `address/length kind`, for instance `192.0.2.0/24 microsoft`")]
    Shape {
        /// Where.
        line: usize,
    },
    /// The first word is no network.
    #[error("network table, line {line}: {text:?} is no network; give an address, a slash and at most 32 (IPv4) or 128 (IPv6) bits")]
    Prefix {
        /// Where.
        line: usize,
        /// What was found, cut to 64 characters.
        text: String,
    },
    /// The second word is no kind.
    #[error(
        "network table, line {line}: {text:?} is no kind; use apple_relay, google_fetcher, google_crawler, google_other, microsoft, listed_scanner or hosting"
    )]
    Kind {
        /// Where.
        line: usize,
        /// What was found, cut to 64 characters.
        text: String,
    },
}

/// The networks of one prefix length, by their masked address.
type Level = HashMap<u128, NetworkKind>;

/// Networks of both address families. Immutable once read; share it behind an `Arc` and swap it whole on refresh.
#[derive(Debug, Clone, Default)]
pub struct NetworkTable {
    version_four: Vec<(u8, Level)>,
    version_six: Vec<(u8, Level)>,
    networks: usize,
}

impl NetworkTable {
    /// A table that knows nothing: every address is [`NetworkKind::None`].
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads lines of `address/length kind`; empty lines and text after `#` are skipped, an address without a length is that one
    /// host, bits behind the length are ignored. Where the same network occurs twice, the later line wins.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let mut table = Self::default();
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let content = raw.split('#').next().unwrap_or_default();
            let mut words = content.split_whitespace();
            let (prefix, kind) = match (words.next(), words.next(), words.next()) {
                (None, _, _) => continue,
                (Some(prefix), Some(kind), None) => (prefix, kind),
                _ => return Err(NetworkError::Shape { line }),
            };
            let (address, length) = read_prefix(prefix).ok_or_else(|| NetworkError::Prefix { line, text: shortened(prefix) })?;
            let kind = KINDS.iter().find(|row| row.1 == kind).ok_or_else(|| NetworkError::Kind { line, text: shortened(kind) })?.0;
            table.insert(address, length, kind);
        }
        Ok(table)
    }

    /// How many networks are loaded.
    pub fn len(&self) -> usize {
        self.networks
    }

    /// Whether nothing is loaded.
    pub fn is_empty(&self) -> bool {
        self.networks == 0
    }

    /// The kind of the longest network that holds this address. An IPv4 address written inside IPv6 counts as IPv4.
    pub fn kind_of(&self, address: IpAddr) -> NetworkKind {
        let (levels, bits, width) = match address.to_canonical() {
            IpAddr::V4(four) => (&self.version_four, u128::from(u32::from(four)), 32),
            IpAddr::V6(six) => (&self.version_six, u128::from(six), 128),
        };
        levels.iter().find_map(|(length, level)| level.get(&masked(bits, *length, width)).copied()).unwrap_or(NetworkKind::None)
    }

    fn insert(&mut self, address: IpAddr, length: u8, kind: NetworkKind) {
        let (levels, bits, width) = match address {
            IpAddr::V4(four) => (&mut self.version_four, u128::from(u32::from(four)), 32),
            IpAddr::V6(six) => (&mut self.version_six, u128::from(six), 128),
        };
        let key = masked(bits, length, width);
        // Longest first, so that the first level that knows an address is the answer.
        let place = levels.iter().position(|(known, _)| *known <= length).unwrap_or(levels.len());
        if levels.get(place).is_none_or(|(known, _)| *known != length) {
            levels.insert(place, (length, Level::new()));
        }
        if let Some((_, level)) = levels.get_mut(place)
            && level.insert(key, kind).is_none()
        {
            self.networks += 1;
        }
    }
}

/// Keeps the first `length` of `width` bits.
fn masked(bits: u128, length: u8, width: u8) -> u128 {
    let dropped = u32::from(width.saturating_sub(length));
    bits.checked_shr(dropped).unwrap_or(0)
}

fn read_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(u8::from_str(length).ok()?)),
        None => (text, None),
    };
    let address = IpAddr::from_str(address).ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(width);
    (length <= width).then_some((address, length))
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# documentation ranges only
192.0.2.0/24 microsoft
192.0.2.128/25 listed_scanner   # a part of the former
192.0.2.200 google_fetcher
198.51.100.77/24 apple_relay
2001:db8::/32 google_other
2001:db8:1::/48 google_crawler

203.0.113.0/24 hosting
203.0.113.0/24 apple_relay
";

    fn check(table: &NetworkTable, address: &str, expected: NetworkKind) {
        assert_eq!(table.kind_of(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn the_longest_prefix_wins_in_both_families() {
        let table = NetworkTable::parse(TABLE).unwrap();
        for (address, expected) in [
            ("192.0.2.1", NetworkKind::Microsoft),
            ("192.0.2.129", NetworkKind::ListedScanner),
            ("192.0.2.200", NetworkKind::GoogleFetcher),
            ("::ffff:192.0.2.200", NetworkKind::GoogleFetcher),
            ("192.0.3.1", NetworkKind::None),
            ("198.51.100.1", NetworkKind::AppleRelay),
            ("2001:db8:2::1", NetworkKind::GoogleOther),
            ("2001:db8:1::1", NetworkKind::GoogleCrawler),
            ("2001:db9::1", NetworkKind::None),
        ] {
            check(&table, address, expected);
        }
    }

    #[test]
    fn the_later_of_two_equal_networks_wins_and_counts_once() {
        let table = NetworkTable::parse(TABLE).unwrap();
        check(&table, "203.0.113.9", NetworkKind::AppleRelay);
        assert_eq!(table.len(), 7);
    }

    #[test]
    fn a_network_of_length_zero_holds_its_whole_family_and_no_other() {
        let table = NetworkTable::parse("::/0 hosting").unwrap();
        check(&table, "2001:db8::1", NetworkKind::Hosting);
        check(&table, "192.0.2.1", NetworkKind::None);
        check(&NetworkTable::empty(), "2001:db8::1", NetworkKind::None);
    }

    #[test]
    fn broken_lines_are_named_by_number() {
        let too_long = |text: &str| NetworkTable::parse(text).unwrap_err();
        assert_eq!(too_long("\n192.0.2.0/24"), NetworkError::Shape { line: 2 });
        assert_eq!(too_long("192.0.2.0/24 microsoft now"), NetworkError::Shape { line: 1 });
        assert!(matches!(too_long("192.0.2.0/33 microsoft"), NetworkError::Prefix { line: 1, .. }));
        assert!(matches!(too_long("2001:db8::/129 microsoft"), NetworkError::Prefix { .. }));
        assert!(matches!(too_long("example/8 microsoft"), NetworkError::Prefix { .. }));
        assert!(matches!(too_long("192.0.2.0/24 neighbours"), NetworkError::Kind { line: 1, .. }));
    }

    #[test]
    fn every_kind_has_one_row_and_one_word() {
        for kind in NetworkKind::ALL {
            assert_eq!(KINDS.iter().filter(|row| row.0 == kind).count(), 1);
            assert_eq!(KINDS.iter().filter(|row| row.1 == kind.as_str()).count(), 1);
        }
    }

    #[test]
    fn the_relay_speaks_about_opens_only_and_microsoft_condemns_clicks_only() {
        assert_eq!(NetworkKind::AppleRelay.meaning(HitKind::Open), Meaning::Fetcher);
        assert_eq!(NetworkKind::AppleRelay.meaning(HitKind::Click), Meaning::Nothing);
        assert_eq!(NetworkKind::Microsoft.meaning(HitKind::Open), Meaning::Mixed);
        assert_eq!(NetworkKind::Microsoft.meaning(HitKind::Click), Meaning::Machine);
    }
}
