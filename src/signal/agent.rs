//! What a user agent says: its kind, its program's family, its device.
//!
//! Cast: [`read_agent`], its answer [`Agent`].
//!
//! Reads at most the first KiB; never copies, hashes, logs or returns any part of it.

use super::client::{AgentKind, ClientFamily, DeviceClass};
use super::rules::Sign;
use super::shape::{ends_in_a_word, is_apple_mail, is_imitation, is_lone_product};
use super::signs::{Signs, find_signs};

/// What the rules read of a user agent, in bytes. Real ones are shorter; the rest of a longer one is ignored.
const READ_AT_MOST: usize = 1024;

/// What Apple Mail's image prefetch sends, all of it.
const BARE: &[u8] = b"mozilla/5.0";

/// What Gmail's prefetch sends, all of it, in lower case.
const GMAIL_PREFETCH: &[u8] =
    b"mozilla/5.0 (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/42.0.2311.135 safari/537.36 edge/12.246 mozilla/5.0";

/// All that is told from a user agent.
#[derive(Clone, Copy)]
pub(super) struct Agent {
    pub kind: AgentKind,
    pub family: ClientFamily,
    pub device: DeviceClass,
}

pub(super) fn read_agent(user_agent: &str) -> Agent {
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
    } else if proxy_family(text, signs).is_some() {
        AgentKind::MailProxy
    } else if mail_family(text, signs).is_some() {
        AgentKind::MailClient
    } else if text.iter().any(u8::is_ascii_control) {
        AgentKind::Unclear
    } else if signs.has(Sign::Scanner) {
        AgentKind::NamedScanner
    } else if signs.has(Sign::Preview) {
        AgentKind::NamedPreview
    } else if signs.has(Sign::Injection) && !signs.has(Sign::Robot) {
        AgentKind::Unclear
    } else if is_robot(text, signs) || is_imitation(text, original, signs) {
        AgentKind::OtherAgent
    } else if has_a_persons_shape(signs) {
        if signs.has(Sign::Oddity) || ends_in_a_word(text, signs) { AgentKind::Unclear } else { AgentKind::Browser }
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

/// A proxy for pictures that gives an address on the web and does not speak of mail serves a web site's visitors.
fn proxy_family(text: &[u8], signs: Signs) -> Option<ClientFamily> {
    let other = signs.has(Sign::ProxyOther) || (signs.has(Sign::ProxyPicture) && (contains(text, b"mail") || !contains(text, b"http")));
    let families = [(Sign::ProxyGmail, ClientFamily::Gmail), (Sign::ProxyYahoo, ClientFamily::Yahoo)];
    let named = families.into_iter().find(|(sign, _)| signs.has(*sign)).map(|(_, family)| family);
    named.or_else(|| other.then_some(ClientFamily::OtherMail))
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

/// Programs that people use name an engine or a device.
fn has_a_persons_shape(signs: Signs) -> bool {
    let shapes = [Sign::Engine, Sign::Platform, Sign::Phone, Sign::Tablet, Sign::Desktop, Sign::Android];
    shapes.into_iter().any(|sign| signs.has(sign))
}

/// The first bytes in lower case, as many as the buffer holds.
pub(super) fn lowered<'b>(text: &[u8], buffer: &'b mut [u8]) -> &'b [u8] {
    let length = text.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(text) {
        *to = from.to_ascii_lowercase();
    }
    buffer.get(..length).unwrap_or_default()
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn family(kind: AgentKind, text: &[u8], signs: Signs) -> ClientFamily {
    match kind {
        AgentKind::Empty | AgentKind::Unclear => ClientFamily::Unknown,
        AgentKind::BareMozilla => ClientFamily::AppleMail,
        AgentKind::GmailPrefetch => ClientFamily::Gmail,
        AgentKind::MailProxy => proxy_family(text, signs).unwrap_or(ClientFamily::OtherMail),
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
    use super::super::client::{Client, RequestFacts, reduce};
    use super::super::network::NetworkTable;
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
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Pigeon",
                AgentKind::Unclear,
            ),
            ("Mozilla/5.0 (Windows NT 10.0; rv:130.0) Gecko/20100101 Firefox/130.0 Pigeon", AgentKind::Unclear),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Pigeon-User/0.1) Chrome/140.0 Safari/537.36",
                AgentKind::Unclear,
            ),
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
            ("iPad", AgentKind::OtherAgent),
            ("Pigeon ImageProxy/2 (+http://pigeon.example)", AgentKind::OtherAgent),
            ("Pigeon/1 (see <http://pigeon.example/crawler>)", AgentKind::OtherAgent),
            ("Mozilla/5.0 (Pigeon) AppleWebKit/537.36 (KHTML, like Gecko)", AgentKind::OtherAgent),
            (
                "Mozilla/5.0 (X11; Linux x86_64; Pigeon) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
                AgentKind::OtherAgent,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36 (compatible; Pigeon)",
                AgentKind::OtherAgent,
            ),
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
            (
                "Mozilla/5.0 (Linux; Android 15; SM-S1; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0 Mobile Safari/537.36;PIGEONTALK 2410",
                ClientFamily::Chrome,
                DeviceClass::Phone,
            ),
            ("PigeonPost/3 (Linux; Android 15; Mobile) okhttp/5", ClientFamily::OtherBrowser, DeviceClass::Phone),
            ("PigeonPost/3 CFNetwork/1 Darwin/25.0", ClientFamily::OtherBrowser, NO_DEVICE),
            (
                "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36 Pigeonchat",
                ClientFamily::Chrome,
                DeviceClass::Phone,
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/30.0 Safari/537.36 Pigeonchat",
                ClientFamily::Chrome,
                DeviceClass::Desktop,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Pigeon.io/3 Chrome/140.0 Electron/30.0 Safari/537.36",
                ClientFamily::Chrome,
                DeviceClass::Desktop,
            ),
            ("PigeonPodcasts/3 CFNetwork/1 Darwin/25.0", ClientFamily::OtherBrowser, NO_DEVICE),
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
    fn shapes_speak_whatever_the_name_is() {
        const SYLLABLES: [&str; 6] = ["Ka", "lu", "mo", "ri", "ven", "zu"];
        let chrome = |system: &str, rest: &str| {
            format!("Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36{rest}")
        };
        for name in
            SYLLABLES.iter().flat_map(|first| SYLLABLES.map(|second| SYLLABLES.map(|third| format!("{first}{second}{third}")))).flatten()
        {
            for machine in [
                format!("{name}/1.2"),
                format!("{name}Crawler/1.2 (X11; Linux x86_64)"),
                format!("Mozilla/5.0 (compatible; {name}/1.2)"),
                format!("Mozilla/5.0 (compatible; {name}; +https://{name}.example/)"),
                chrome("X11; Linux x86_64", &format!(" {name}Monitor/1.2")),
                chrome("Windows NT 10.0; Win64; x64", &format!(" (compatible; {name}/1.2)")),
                chrome("Windows NT 10.0; Win64; x64", &format!(" {name}/1.2 ({name}.com)")),
                chrome(&format!("X11; Linux x86_64; {name}"), ""),
            ] {
                assert_eq!(read(&machine).agent, AgentKind::OtherAgent, "{machine}");
            }
            for person in [
                format!("{name}/1.2 (iPhone; iOS 18.1; Scale/3.00)"),
                format!("{name}/1.2 CFNetwork/1 Darwin/25.0"),
                chrome(&format!("Linux; Android 15; {name} 7 Pro"), ""),
                chrome("Windows NT 10.0; Win64; x64", &format!(" {name}/1.2")),
                chrome("Web0S; Linux/SmartTV", &format!(" {name}")),
            ] {
                assert_eq!(read(&person).agent, AgentKind::Browser, "{person}");
            }
            assert_eq!(read(&format!("{name}Mail/1.2 (crawler)")).agent, AgentKind::MailClient, "{name}");
        }
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
}
