//! A request's facts reduced to closed values. Address, user agent and headers stop here: nothing behind this module sees them.
//!
//! Cast: [`RequestFacts`] (borrowed from the request), [`reduce`], [`Client`] (what is left) and its closed lists
//! [`MethodKind`], [`AgentKind`], [`ClientFamily`], [`DeviceClass`].
//!
//! What a user agent says is read by [`super::agent`]. Never copies, hashes, logs or returns any part of what it reads.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::agent::{contains, lowered, read_agent};
use super::agent_memory::remembered;
use super::class::{InvalidWord, read_word};
use super::network::{NetworkKind, NetworkTable};

/// What is looked at of a request, borrowed for the length of one call.
///
/// Deliberately without `Debug`: it holds an address and a user agent.
#[derive(Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The request method, as sent.
    pub method: &'a str,
    /// The peer's address, if known and trusted.
    pub peer: Option<IpAddr>,
    /// The user agent; empty where the header is missing.
    pub user_agent: &'a str,
    /// The value of `Sec-Purpose`, `Purpose` or `X-Moz`, whichever came.
    pub purpose: Option<&'a str>,
    /// The value of `Referer`.
    pub referer: Option<&'a str>,
    /// Whether `Accept-Language` was sent.
    pub accept_language: bool,
    /// Whether `Sec-Fetch-User: ?1` was sent.
    pub fetch_user: bool,
}

/// The request method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// Anything else.
    Other,
}

/// What a user agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentKind {
    /// Missing or blank.
    Empty,
    /// Speaks neither for a person nor for a machine: injected code, control characters, or a browser's first word without an
    /// engine or a device behind it.
    Unclear,
    /// Exactly `Mozilla/5.0`.
    BareMozilla,
    /// Exactly Gmail's prefetch.
    GmailPrefetch,
    /// A mail provider's fetcher.
    MailProxy,
    /// A mail program.
    MailClient,
    /// A browser, or an app on a device people use.
    Browser,
    /// A security product by name.
    NamedScanner,
    /// A link preview by name.
    NamedPreview,
    /// A robot, a library, or no shape people's programs have.
    OtherAgent,
}

impl AgentKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Empty,
        Self::Unclear,
        Self::BareMozilla,
        Self::GmailPrefetch,
        Self::MailProxy,
        Self::MailClient,
        Self::Browser,
        Self::NamedScanner,
        Self::NamedPreview,
        Self::OtherAgent,
    ];
}

/// The program, from a short list; kept with a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFamily {
    /// Gmail, mostly through its image proxy.
    Gmail,
    /// Apple Mail, prefetch included.
    AppleMail,
    /// Outlook and other Microsoft mail programs.
    Outlook,
    /// Yahoo and AOL.
    Yahoo,
    /// Thunderbird and its relatives.
    Thunderbird,
    /// Samsung's mail app.
    Samsung,
    /// Any other mail program or mail fetcher.
    OtherMail,
    /// Chrome or Chromium.
    Chrome,
    /// Safari.
    Safari,
    /// Firefox.
    Firefox,
    /// Edge.
    Edge,
    /// Any other browser or app.
    OtherBrowser,
    /// No person's program.
    Machine,
    /// Not told.
    Unknown,
}

impl ClientFamily {
    /// Every family.
    pub const ALL: [Self; 14] = [
        Self::Gmail,
        Self::AppleMail,
        Self::Outlook,
        Self::Yahoo,
        Self::Thunderbird,
        Self::Samsung,
        Self::OtherMail,
        Self::Chrome,
        Self::Safari,
        Self::Firefox,
        Self::Edge,
        Self::OtherBrowser,
        Self::Machine,
        Self::Unknown,
    ];

    /// The word used in files, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gmail => "gmail",
            Self::AppleMail => "apple_mail",
            Self::Outlook => "outlook",
            Self::Yahoo => "yahoo",
            Self::Thunderbird => "thunderbird",
            Self::Samsung => "samsung",
            Self::OtherMail => "other_mail",
            Self::Chrome => "chrome",
            Self::Safari => "safari",
            Self::Firefox => "firefox",
            Self::Edge => "edge",
            Self::OtherBrowser => "other_browser",
            Self::Machine => "machine",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ClientFamily {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for ClientFamily {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        read_word(&Self::ALL, Self::as_str, "client family (gmail, outlook, chrome …)", text)
    }
}

/// The size of device; kept with a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceClass {
    /// Held in one hand.
    Phone,
    /// Held in two.
    Tablet,
    /// Stands or is opened.
    Desktop,
    /// Not told, or not a person's.
    Unknown,
}

impl DeviceClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Phone, Self::Tablet, Self::Desktop, Self::Unknown];

    /// The word used in files, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Tablet => "tablet",
            Self::Desktop => "desktop",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for DeviceClass {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        read_word(&Self::ALL, Self::as_str, "device class (phone, tablet, desktop, unknown)", text)
    }
}

/// What is left of a request: closed values only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// The method.
    pub method: MethodKind,
    /// The kind of user agent.
    pub agent: AgentKind,
    /// The kind of network.
    pub network: NetworkKind,
    /// A header announced a prefetch, preview or prerender.
    pub prefetch_purpose: bool,
    /// The referer was Gmail.
    pub gmail_referer: bool,
    /// A language preference was sent.
    pub accept_language: bool,
    /// The browser says that a person's action caused the request.
    pub fetch_user: bool,
    /// The program.
    pub family: ClientFamily,
    /// The device.
    pub device: DeviceClass,
}

/// Reduces a request to closed values.
pub fn reduce(facts: RequestFacts<'_>, networks: &NetworkTable) -> Client {
    let agent = remembered(facts.user_agent, read_agent);
    Client {
        method: match facts.method {
            "GET" => MethodKind::Get,
            "HEAD" => MethodKind::Head,
            _ => MethodKind::Other,
        },
        agent: agent.kind,
        network: facts.peer.map_or(NetworkKind::None, |peer| networks.kind_of(peer)),
        prefetch_purpose: facts.purpose.is_some_and(announces_prefetch),
        gmail_referer: facts.referer.is_some_and(is_gmail),
        accept_language: facts.accept_language,
        fetch_user: facts.fetch_user,
        family: agent.family,
        device: agent.device,
    }
}

fn announces_prefetch(purpose: &str) -> bool {
    let mut buffer = [0; 64];
    let text = lowered(purpose.as_bytes(), &mut buffer);
    ["prefetch", "preview", "prerender"].iter().any(|word| contains(text, word.as_bytes()))
}

fn is_gmail(referer: &str) -> bool {
    let mut buffer = [0; 32];
    let text = lowered(referer.as_bytes(), &mut buffer);
    ["http://mail.google.com", "https://mail.google.com"]
        .iter()
        .filter_map(|host| text.strip_prefix(host.as_bytes()))
        .any(|rest| matches!(rest.first(), None | Some(b'/' | b':' | b'?')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(user_agent: &str) -> RequestFacts<'_> {
        RequestFacts { method: "GET", peer: None, user_agent, purpose: None, referer: None, accept_language: false, fetch_user: false }
    }

    #[test]
    fn methods_are_told_apart_by_case() {
        for (method, expected) in
            [("GET", MethodKind::Get), ("HEAD", MethodKind::Head), ("get", MethodKind::Other), ("", MethodKind::Other)]
        {
            assert_eq!(reduce(RequestFacts { method, ..facts("") }, &NetworkTable::empty()).method, expected, "{method}");
        }
    }

    #[test]
    fn headers_and_address_become_flags_and_a_kind() {
        let networks = NetworkTable::parse("192.0.2.0/24 apple_relay").unwrap();
        let client = |purpose, referer| {
            reduce(RequestFacts { purpose, referer, peer: Some(IpAddr::from([192, 0, 2, 7])), fetch_user: true, ..facts("") }, &networks)
        };
        let told = client(Some("Prefetch;prerender"), Some("https://mail.google.com/mail/u/0"));
        assert!(told.prefetch_purpose && told.gmail_referer && told.fetch_user && !told.accept_language);
        assert_eq!(told.network, NetworkKind::AppleRelay);
        let untold = client(Some("navigate"), Some("https://mail.google.com.example/"));
        assert!(!untold.prefetch_purpose && !untold.gmail_referer);
    }

    #[test]
    fn families_and_devices_read_back_as_text_and_as_json() {
        for family in ClientFamily::ALL {
            assert_eq!(family.as_str().parse(), Ok(family));
            assert_eq!(serde_json::to_string(&family).unwrap(), format!("\"{family}\""));
        }
        for device in DeviceClass::ALL {
            assert_eq!(device.as_str().parse(), Ok(device));
            assert_eq!(serde_json::to_string(&device).unwrap(), format!("\"{device}\""));
        }
        assert!("netscape".parse::<ClientFamily>().is_err());
    }
}
