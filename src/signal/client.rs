//! A request's facts reduced to closed values. Address, user agent and headers stop here: nothing behind this module sees them.
//!
//! Cast: [`RequestFacts`] (borrowed from the request), [`reduce`], [`Client`] (what is left) and its closed lists
//! [`MethodKind`], [`AgentKind`], [`ClientFamily`], [`DeviceClass`].
//!
//! Never copies, hashes, logs or returns any part of what it reads. Reads at most the first KiB of a user agent.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::agent_memory::remembered;
use super::class::{InvalidWord, read_word};
use super::network::{NetworkKind, NetworkTable};
use super::rules::Sign;
use super::signs::{Signs, find_signs};

/// What the rules read of a user agent, in bytes. Real ones are shorter; the rest of a longer one is ignored.
const READ_AT_MOST: usize = 1024;

/// What Apple Mail's image prefetch sends, all of it.
const BARE: &[u8] = b"mozilla/5.0";

/// What Gmail's prefetch sends, all of it, in lower case.
const GMAIL_PREFETCH: &[u8] =
    b"mozilla/5.0 (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/42.0.2311.135 safari/537.36 edge/12.246 mozilla/5.0";

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

/// The first bytes in lower case, as many as the buffer holds.
fn lowered<'b>(text: &[u8], buffer: &'b mut [u8]) -> &'b [u8] {
    let length = text.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(text) {
        *to = from.to_ascii_lowercase();
    }
    buffer.get(..length).unwrap_or_default()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// All that is told from a user agent.
#[derive(Clone, Copy)]
pub(super) struct Agent {
    kind: AgentKind,
    family: ClientFamily,
    device: DeviceClass,
}

fn read_agent(user_agent: &str) -> Agent {
    let mut buffer = [0; READ_AT_MOST];
    let text = lowered(user_agent.as_bytes(), &mut buffer).trim_ascii();
    let signs = find_signs(text);
    let kind = agent_kind(text, user_agent, signs);
    Agent { kind, family: family(kind, text, signs), device: device(kind, signs) }
}

/// The order is the meaning: mail comes before every robot rule.
fn agent_kind(text: &[u8], original: &str, signs: Signs) -> AgentKind {
    if text.is_empty() {
        AgentKind::Empty
    } else if text == BARE {
        AgentKind::BareMozilla
    } else if text == GMAIL_PREFETCH {
        AgentKind::GmailPrefetch
    } else if proxy_family(signs).is_some() {
        AgentKind::MailProxy
    } else if mail_family(text, signs).is_some() {
        AgentKind::MailClient
    } else if signs.has(Sign::Injection) || text.iter().any(u8::is_ascii_control) {
        AgentKind::Unclear
    } else if signs.has(Sign::Scanner) {
        AgentKind::NamedScanner
    } else if signs.has(Sign::Preview) {
        AgentKind::NamedPreview
    } else if is_robot(text, signs) || is_imitation(text, original) {
        AgentKind::OtherAgent
    } else if has_a_persons_shape(signs) {
        if signs.has(Sign::Oddity) { AgentKind::Unclear } else { AgentKind::Browser }
    } else if text.starts_with(b"mozilla/") && !is_lone_product(text) {
        AgentKind::Unclear
    } else {
        AgentKind::OtherAgent
    }
}

/// Apps carry the names of the libraries they are made with, and their own name, whatever it says. Where no app speaks, such words
/// mean a program without a person.
fn is_robot(text: &[u8], signs: Signs) -> bool {
    let on_mobile = signs.has(Sign::Phone) || signs.has(Sign::Tablet) || signs.has(Sign::Android);
    let app = signs.has(Sign::InApp) || (on_mobile && !text.starts_with(b"mozilla/"));
    signs.has(Sign::Robot) || (signs.has(Sign::Trade) && !app) || (signs.has(Sign::Library) && !on_mobile)
}

fn proxy_family(signs: Signs) -> Option<ClientFamily> {
    let families =
        [(Sign::ProxyGmail, ClientFamily::Gmail), (Sign::ProxyYahoo, ClientFamily::Yahoo), (Sign::ProxyOther, ClientFamily::OtherMail)];
    families.into_iter().find(|(sign, _)| signs.has(*sign)).map(|(_, family)| family)
}

fn mail_family(text: &[u8], signs: Signs) -> Option<ClientFamily> {
    let families = [
        (Sign::MailOutlook, ClientFamily::Outlook),
        (Sign::MailYahoo, ClientFamily::Yahoo),
        (Sign::MailThunderbird, ClientFamily::Thunderbird),
        (Sign::MailSamsung, ClientFamily::Samsung),
        (Sign::MailGmail, ClientFamily::Gmail),
        (Sign::MailApple, ClientFamily::AppleMail),
        (Sign::MailOther, ClientFamily::OtherMail),
    ];
    let named = families.into_iter().find(|(sign, _)| signs.has(*sign)).map(|(_, family)| family);
    named.or_else(|| is_apple_mail(text, signs).then_some(ClientFamily::AppleMail))
}

/// Apple Mail without its prefetch sends a WebKit's words and names no browser behind them.
fn is_apple_mail(text: &[u8], signs: Signs) -> bool {
    if !text.starts_with(b"mozilla/5.0 (") {
        return false;
    }
    let tail = |engine: &[u8]| text.windows(engine.len()).position(|window| window == engine).and_then(|at| text.get(at + engine.len()..));
    let Some(rest) = tail(b"(khtml, like gecko)") else { return false };
    let mac = text.starts_with(b"mozilla/5.0 (macintosh; intel mac os x") && rest.is_empty();
    let apple_mobile = signs.has(Sign::Phone) || signs.has(Sign::Tablet);
    let mobile = rest.strip_prefix(b" mobile/").is_some_and(|build| build.iter().all(u8::is_ascii_alphanumeric));
    mac || (apple_mobile && mobile)
}

/// Programs that people use name an engine or a device.
fn has_a_persons_shape(signs: Signs) -> bool {
    let shapes = [Sign::Engine, Sign::Platform, Sign::Phone, Sign::Tablet, Sign::Desktop, Sign::Android];
    shapes.into_iter().any(|sign| signs.has(sign))
}

/// Marks of programs that imitate a browser: they write its name in lower case, or separate what they add by semicolons.
fn is_imitation(text: &[u8], original: &str) -> bool {
    if !text.starts_with(b"mozilla/") {
        return false;
    }
    original.trim_start().starts_with("mozilla") || has_semicolon_outside_comments(text) || has_letters_in_its_version(text)
}

/// Chrome's version is numbers and dots; who puts a browser's string together from parts forgets the space behind it.
fn has_letters_in_its_version(text: &[u8]) -> bool {
    let Some(rest) = behind(text, b"chrome/") else { return false };
    let version = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    version > 0 && rest.get(version).is_some_and(u8::is_ascii_alphabetic)
}

/// The text behind the first place where these bytes stand.
fn behind<'t>(text: &'t [u8], part: &[u8]) -> Option<&'t [u8]> {
    text.windows(part.len()).position(|window| window == part).and_then(|at| text.get(at + part.len()..))
}

/// A product's name where browsers name a system: `Mozilla/5.0 (compatible; Name/1.0)`, `Mozilla/5.0 Name`.
fn is_lone_product(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"mozilla/5.0 ").or_else(|| text.strip_prefix(b"mozilla/4.0 ")) else { return false };
    let inside = rest.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")).unwrap_or(rest);
    let said = inside.strip_prefix(b"compatible;").map(<[u8]>::trim_ascii);
    let first = said.unwrap_or(inside).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let mut parts = first.split(|byte| *byte == b'/');
    let is_word = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    let named = parts.next().is_some_and(|name| is_word(name) && name.iter().any(u8::is_ascii_alphabetic));
    named && parts.next().is_none_or(is_word) && parts.next().is_none() && (said.is_some() || !inside.contains(&b';'))
}

fn has_semicolon_outside_comments(text: &[u8]) -> bool {
    let mut depth = 0_i32;
    for byte in text {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth <= 0 => return true,
            _ => {}
        }
    }
    false
}

fn family(kind: AgentKind, text: &[u8], signs: Signs) -> ClientFamily {
    match kind {
        AgentKind::Empty | AgentKind::Unclear => ClientFamily::Unknown,
        AgentKind::BareMozilla => ClientFamily::AppleMail,
        AgentKind::GmailPrefetch => ClientFamily::Gmail,
        AgentKind::MailProxy => proxy_family(signs).unwrap_or(ClientFamily::OtherMail),
        AgentKind::MailClient => mail_family(text, signs).unwrap_or(ClientFamily::OtherMail),
        AgentKind::NamedScanner | AgentKind::NamedPreview | AgentKind::OtherAgent => ClientFamily::Machine,
        AgentKind::Browser => browser_family(signs),
    }
}

/// Brands that borrow another's name come before the one they borrow from.
fn browser_family(signs: Signs) -> ClientFamily {
    let families = [
        (Sign::OtherBrowser, ClientFamily::OtherBrowser),
        (Sign::Edge, ClientFamily::Edge),
        (Sign::Chrome, ClientFamily::Chrome),
        (Sign::Firefox, ClientFamily::Firefox),
        (Sign::Safari, ClientFamily::Safari),
    ];
    families.into_iter().find(|(sign, _)| signs.has(*sign)).map_or(ClientFamily::OtherBrowser, |(_, family)| family)
}

/// A fetcher's or a machine's user agent describes no person's device.
fn device(kind: AgentKind, signs: Signs) -> DeviceClass {
    if !matches!(kind, AgentKind::MailClient | AgentKind::Browser) {
        DeviceClass::Unknown
    } else if signs.has(Sign::Tablet) {
        DeviceClass::Tablet
    } else if signs.has(Sign::Phone) || (signs.has(Sign::Android) && signs.has(Sign::Mobile)) {
        DeviceClass::Phone
    } else if signs.has(Sign::Android) && signs.has(Sign::Engine) {
        DeviceClass::Tablet
    } else if signs.has(Sign::Desktop) {
        DeviceClass::Desktop
    } else {
        DeviceClass::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(user_agent: &str) -> RequestFacts<'_> {
        RequestFacts { method: "GET", peer: None, user_agent, purpose: None, referer: None, accept_language: false, fetch_user: false }
    }

    fn read(user_agent: &str) -> Client {
        reduce(facts(user_agent), &NetworkTable::empty())
    }

    fn check(user_agent: &str, kind: AgentKind, family: ClientFamily, device: DeviceClass) {
        let client = read(user_agent);
        assert_eq!((client.agent, client.family, client.device), (kind, family, device), "{user_agent:?}");
    }

    const NO_DEVICE: DeviceClass = DeviceClass::Unknown;

    #[test]
    fn nothing_and_nonsense_are_neither_person_nor_machine() {
        for (text, kind) in [
            ("", AgentKind::Empty),
            ("  \t ", AgentKind::Empty),
            ("Mozilla/5.0 (nobody in particular)", AgentKind::Unclear),
            ("Mozilla/5.0 (compatible; one/two/3)", AgentKind::Unclear),
            ("Mozilla/4.08 [en]", AgentKind::Unclear),
            ("Agent-<number>", AgentKind::Unclear),
            ("x') OR 1=1", AgentKind::Unclear),
            ("bot\u{0}bot", AgentKind::Unclear),
        ] {
            check(text, kind, ClientFamily::Unknown, NO_DEVICE);
        }
    }

    #[test]
    fn prefetches_are_known_by_their_whole_text_only() {
        check("Mozilla/5.0", AgentKind::BareMozilla, ClientFamily::AppleMail, NO_DEVICE);
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246";
        check(&format!("{chrome} Mozilla/5.0"), AgentKind::GmailPrefetch, ClientFamily::Gmail, NO_DEVICE);
        check(chrome, AgentKind::Browser, ClientFamily::Edge, DeviceClass::Desktop);
    }

    #[test]
    fn mail_comes_before_every_robot_rule() {
        for (text, kind, family, device) in [
            ("Gecko (via ggpht.com GoogleImageProxy)", AgentKind::MailProxy, ClientFamily::Gmail, NO_DEVICE),
            ("YahooMailProxy; https://help.example/bot", AgentKind::MailProxy, ClientFamily::Yahoo, NO_DEVICE),
            ("ExampleMail ImageProxy/2 (+http://mail.example/crawler)", AgentKind::MailProxy, ClientFamily::OtherMail, NO_DEVICE),
            (
                "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.1; Pro)",
                AgentKind::MailClient,
                ClientFamily::Outlook,
                DeviceClass::Desktop,
            ),
            ("Outlook-iOS/9.9 monitor", AgentKind::MailClient, ClientFamily::Outlook, NO_DEVICE),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.1 http://robot.example",
                AgentKind::MailClient,
                ClientFamily::Thunderbird,
                DeviceClass::Desktop,
            ),
            ("PigeonMail/4.2 (crawler)", AgentKind::MailClient, ClientFamily::OtherMail, NO_DEVICE),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
                AgentKind::MailClient,
                ClientFamily::AppleMail,
                DeviceClass::Phone,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                AgentKind::MailClient,
                ClientFamily::AppleMail,
                DeviceClass::Desktop,
            ),
        ] {
            check(text, kind, family, device);
        }
    }

    #[test]
    fn machines_are_machines() {
        for (text, kind) in [
            ("Kaspersky link opener/1", AgentKind::NamedScanner),
            ("Example vulnerability seeker", AgentKind::NamedScanner),
            ("WhatsApp/9.99.1 A", AgentKind::NamedPreview),
            ("Slackbot-LinkExpanding 9.0 (+https://chat.example)", AgentKind::NamedPreview),
            ("Mozilla/5.0 (compatible; Pigeonbot/2.1; +http://pigeon.example/)", AgentKind::OtherAgent),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36",
                AgentKind::OtherAgent,
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0; Pigeon", AgentKind::OtherAgent),
            ("mozilla/5.0 (windows nt 10.0) gecko/20100101 firefox/130.0", AgentKind::OtherAgent),
            ("Mozilla/5.0 (X11; Linux x86_64) Gecko/1 Firefox/1 (ask pigeon@example.org)", AgentKind::OtherAgent),
            ("pigeon-loft/2.0 (pigeon@outlook.com)", AgentKind::OtherAgent),
            ("Mozilla/5.0 (compatible; Pigeon/1.0)", AgentKind::OtherAgent),
            ("Mozilla/5.0 (compatible; Pigeon; +pigeon)", AgentKind::OtherAgent),
            ("Mozilla/5.0 (Pigeonloft/1.0)", AgentKind::OtherAgent),
            ("Mozilla/5.0 Pigeon", AgentKind::OtherAgent),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; compatible; pigeon) Chrome/140.0 Safari/537.36",
                AgentKind::OtherAgent,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/105.0.0.0PigeonBrowser/6.2 Mobile Safari/537.36",
                AgentKind::OtherAgent,
            ),
            ("Pigeon, Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0", AgentKind::OtherAgent),
            ("pigeond (unknown version) CFNetwork/1 Darwin/25.0", AgentKind::OtherAgent),
            ("PigeonRSS/1.0 (X11; en)", AgentKind::OtherAgent),
            ("Mozilla/5.0 (X11; Linux x86_64; feeder) Gecko/1 Firefox/1", AgentKind::OtherAgent),
            ("python-requests/9.1", AgentKind::OtherAgent),
            ("curl/9.0", AgentKind::OtherAgent),
            ("Pigeon", AgentKind::OtherAgent),
            ("\u{e9}t\u{e9} \u{1f54a}", AgentKind::OtherAgent),
        ] {
            check(text, kind, ClientFamily::Machine, NO_DEVICE);
        }
    }

    #[test]
    fn browsers_and_apps_are_peoples() {
        for (text, family, device) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                ClientFamily::Chrome,
                DeviceClass::Desktop,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
                ClientFamily::Edge,
                DeviceClass::Desktop,
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", ClientFamily::Firefox, DeviceClass::Desktop),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/1 Safari/604.1",
                ClientFamily::Safari,
                DeviceClass::Tablet,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; CUBOT X99) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                ClientFamily::Chrome,
                DeviceClass::Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; SM-S1; wv) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36 PageScanner/2",
                ClientFamily::Chrome,
                DeviceClass::Phone,
            ),
            ("PigeonPost/3 (Linux; Android 15; Mobile) okhttp/5", ClientFamily::OtherBrowser, DeviceClass::Phone),
            ("PigeonPost/3 CFNetwork/1 Darwin/25.0", ClientFamily::OtherBrowser, NO_DEVICE),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Pigeonchat",
                ClientFamily::Chrome,
                DeviceClass::Desktop,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Pigeon/4.2",
                ClientFamily::Chrome,
                DeviceClass::Desktop,
            ),
            ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; .NET CLR 9.9)", ClientFamily::OtherBrowser, DeviceClass::Desktop),
        ] {
            check(text, AgentKind::Browser, family, device);
        }
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
    fn of_a_hostile_user_agent_only_the_beginning_is_read() {
        let filler = "a@a.".repeat(2_500_000);
        assert_eq!(read(&filler), read(&filler[..READ_AT_MOST]));
        let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
        let padded = format!("{browser}{}crawler", " x".repeat(READ_AT_MOST));
        assert_eq!(read(&padded).agent, AgentKind::Browser);
        for hostile in ["\u{0}".repeat(10_000_000), "\u{1f54a}".repeat(2_500_000), "(".repeat(10_000_000)] {
            assert!(matches!(read(&hostile).agent, AgentKind::Unclear | AgentKind::OtherAgent));
        }
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
