//! The nineteen ways machines and people meet a letter, and two with a trap link.
//!
//! Cast: [`SCENARIOS`], and the programs and networks its requests come from. Addresses are set aside for documentation.
//!
//! Judges nothing.

use rand::{Rng, RngExt};

use super::{Recipient, Request, Scenario, Truth};

/// Whose networks the made-up requests come from.
pub(super) const NETWORKS: &str = "\
192.0.2.0/26 apple_relay
192.0.2.64/26 google_fetcher
192.0.2.128/26 microsoft
192.0.2.192/26 listed_scanner";

const APPLE: [u8; 4] = [192, 0, 2, 7];
const GOOGLE: [u8; 4] = [192, 0, 2, 70];
const MICROSOFT: [u8; 4] = [192, 0, 2, 140];
const HOME: [u8; 4] = [198, 51, 100, 20];
const OFFICE: [u8; 4] = [198, 51, 100, 99];
const CLOUD: [u8; 4] = [203, 0, 113, 50];

const WINDOWS_CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
const WINDOWS_EDGE: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0";
const ANDROID_CHROME: &str =
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36";
const IPHONE_SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1";
const DESKTOP_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const OUTLOOK: &str = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.18000; Pro)";
const BARE: &str = "Mozilla/5.0";
const GMAIL: &str = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
const GMAIL_PREFETCH: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0";
const YAHOO: &str = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
const BARRACUDA: &str = "Barracuda Sentinel (EE)";
const CHAT: &str = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)";

const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;

/// A while in which people come: minutes to many hours, most of them early.
fn later(rng: &mut dyn Rng) -> i64 {
    let exponent: f64 = rng.random_range(0.0..1.0);
    // From a minute to about sixteen hours, evenly on a logarithmic scale.
    (60_000.0 * 1000_f64.powf(exponent)) as i64
}

fn links(rng: &mut dyn Rng) -> u16 {
    rng.random_range(4..=12)
}

fn one_of(rng: &mut dyn Rng, links: u16) -> u16 {
    rng.random_range(1..=links)
}

/// A person clicks one link, in half of the cases another a while after.
fn reads(recipient: &mut Recipient, at: i64, agent: &'static str, peer: [u8; 4], rng: &mut dyn Rng) {
    let link = one_of(rng, recipient.links);
    recipient.add(at, link, agent, peer, Truth::Person);
    if rng.random_bool(0.5) {
        let next = one_of(rng, recipient.links);
        recipient.add(at + rng.random_range(4_000..120_000), next, agent, peer, Truth::Person);
    }
}

/// The nineteen scenarios, and two with a trap link.
pub const SCENARIOS: [Scenario; 21] = [
    Scenario {
        name: "Apple prefetch, later a click",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            one.add(later(rng), 0, BARE, APPLE, Truth::Machine);
            let at = later(rng) + HOUR;
            reads(&mut one, at, IPHONE_SAFARI, APPLE, rng);
            one
        },
    },
    Scenario {
        name: "Apple prefetch and Gmail's app",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            one.add(later(rng), 0, BARE, APPLE, Truth::Machine);
            let at = later(rng);
            one.add(at, 0, GMAIL, GOOGLE, Truth::Person);
            reads(&mut one, at + 9_000, ANDROID_CHROME, HOME, rng);
            one
        },
    },
    Scenario {
        name: "Gmail's picture proxy",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let at = later(rng);
            one.add(at, 0, GMAIL, GOOGLE, Truth::Person);
            reads(&mut one, at + rng.random_range(2_000..90_000), WINDOWS_CHROME, HOME, rng);
            one
        },
    },
    Scenario {
        name: "Gmail prefetch, then an open",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            one.requests.push(Request {
                at: 25_000,
                link: 0,
                method: "GET",
                agent: GMAIL_PREFETCH,
                peer: if rng.random_bool(0.5) { GOOGLE } else { CLOUD },
                from_gmail: true,
                truth: Truth::Machine,
            });
            one.add(30_000, 0, GMAIL, GOOGLE, Truth::Person);
            reads(&mut one, 41_000, WINDOWS_CHROME, HOME, rng);
            one
        },
    },
    Scenario {
        name: "Yahoo asks four times",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let at = later(rng);
            for retry in 0..4 {
                one.add(at + retry * 9_000, 0, YAHOO, CLOUD, Truth::Person);
            }
            reads(&mut one, at + 50_000, DESKTOP_FIREFOX, HOME, rng);
            one
        },
    },
    Scenario {
        name: "Outlook on a desk",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let at = later(rng);
            one.add(at, 0, OUTLOOK, OFFICE, Truth::Person);
            reads(&mut one, at + 20_000, WINDOWS_EDGE, OFFICE, rng);
            one
        },
    },
    Scenario {
        name: "detonation before delivery",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let peer = if rng.random_bool(0.5) { MICROSOFT } else { CLOUD };
            one.add(-4_000, 0, WINDOWS_CHROME, peer, Truth::Machine);
            one.sweep(-3_500, || 400, "GET", WINDOWS_CHROME, peer);
            let at = later(rng) + 10 * MINUTE;
            reads(&mut one, at, WINDOWS_EDGE, OFFICE, rng);
            one
        },
    },
    Scenario {
        name: "HEAD on every link",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            one.sweep(1_000, || 300, "HEAD", WINDOWS_CHROME, CLOUD);
            let some = one_of(rng, one.links);
            one.add(6_000, some, WINDOWS_CHROME, CLOUD, Truth::Machine);
            let at = later(rng) + 10 * MINUTE;
            reads(&mut one, at, WINDOWS_EDGE, OFFICE, rng);
            one
        },
    },
    Scenario {
        name: "checked at the click",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let (at, link) = (later(rng), one_of(rng, one.links));
            one.add(at, link, WINDOWS_CHROME, CLOUD, Truth::Machine);
            one.add(at + rng.random_range(200..12_000), link, IPHONE_SAFARI, HOME, Truth::Person);
            one
        },
    },
    Scenario {
        name: "a scanner that gives its name",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            one.sweep(20_000, || 1_500, "GET", BARRACUDA, CLOUD);
            let at = later(rng) + 10 * MINUTE;
            reads(&mut one, at, WINDOWS_CHROME, OFFICE, rng);
            one
        },
    },
    Scenario {
        name: "a slow scanner, 30 to 90 s a link",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let gap = rng.random_range(30_000..90_000);
            one.sweep(15_000, || gap, "GET", WINDOWS_CHROME, CLOUD);
            one
        },
    },
    Scenario {
        name: "a letter with one link, scanned",
        make: |rng| {
            let mut one = Recipient::with(1);
            one.sweep(8_000, || 0, "GET", WINDOWS_CHROME, CLOUD);
            if rng.random_bool(0.5) {
                let at = later(rng) + 10 * MINUTE;
                one.add(at, 1, IPHONE_SAFARI, HOME, Truth::Person);
            }
            one
        },
    },
    Scenario {
        name: "forwarded, with a preview",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let at = later(rng);
            let link = one_of(rng, one.links);
            one.add(at, link, DESKTOP_FIREFOX, HOME, Truth::Person);
            one.add(at + 90_000, link, CHAT, CLOUD, Truth::Machine);
            one.add(at + 200_000, link, IPHONE_SAFARI, HOME, Truth::Person);
            one
        },
    },
    Scenario {
        name: "an office behind one address",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            // Colleagues open at nine; their letters are judged one by one.
            let at = 9 * HOUR + rng.random_range(0..30_000);
            one.add(at, 0, OUTLOOK, OFFICE, Truth::Person);
            reads(&mut one, at + rng.random_range(1_000..60_000), WINDOWS_EDGE, OFFICE, rng);
            one
        },
    },
    Scenario {
        name: "pictures blocked",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let at = later(rng);
            reads(&mut one, at, DESKTOP_FIREFOX, HOME, rng);
            one
        },
    },
    Scenario {
        name: "a person who clicks a lot",
        make: |rng| {
            let mut one = Recipient::with(12);
            let mut at = later(rng);
            for link in 1..=rng.random_range(3..=6_u16) {
                one.add(at, link, WINDOWS_CHROME, HOME, Truth::Person);
                // New tabs, one after the other: two to twelve seconds.
                at += rng.random_range(2_000..12_000);
            }
            one
        },
    },
    Scenario {
        name: "double click",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let (at, link) = (later(rng), one_of(rng, one.links));
            one.add(at, link, DESKTOP_FIREFOX, HOME, Truth::Person);
            one.add(at + rng.random_range(120..450), link, DESKTOP_FIREFOX, HOME, Truth::Person);
            one
        },
    },
    Scenario {
        name: "clocks that differ",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            // The relay's clock is ahead: everything seems to come before the letter.
            let skew = rng.random_range(30_000..600_000);
            one.sweep(2_000 - skew, || 250, "GET", WINDOWS_CHROME, CLOUD);
            reads(&mut one, 20 * MINUTE - skew, IPHONE_SAFARI, HOME, rng);
            one
        },
    },
    Scenario {
        name: "looked at again hours later",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let at = later(rng);
            reads(&mut one, at, WINDOWS_EDGE, OFFICE, rng);
            let again = at + rng.random_range(2..20) * HOUR;
            one.sweep(again, || 700, "GET", WINDOWS_CHROME, CLOUD);
            one
        },
    },
    Scenario {
        name: "trap link: the slow scanner",
        make: |rng| {
            let mut one = Recipient::with(links(rng));
            let gap = rng.random_range(30_000..90_000);
            one.sweep(15_000, || gap, "GET", WINDOWS_CHROME, CLOUD);
            one.trap = Some(one.links);
            one
        },
    },
    Scenario {
        name: "trap link: two links, five seconds apart",
        make: |rng| {
            let mut one = Recipient::with(2);
            one.sweep(8_000, || 5_000, "GET", WINDOWS_CHROME, CLOUD);
            one.trap = Some(2);
            let at = later(rng) + 10 * MINUTE;
            one.add(at, 1, IPHONE_SAFARI, HOME, Truth::Person);
            one
        },
    },
];
