//! Made-up letters with known truth: the nineteen ways machines and people meet a letter, and how well the rules tell them apart.
//!
//! Cast: [`Scenario`] (the list), [`Recipient`] and [`Request`] (what happens to one letter, with its truth), [`play`], [`Outcome`] (the
//! counts). Addresses come from ranges set aside for documentation.
//!
//! Every request takes the way of a real one: facts → [`super::client::reduce`] → immediate rules → second pass. Chance is an argument.

use std::net::IpAddr;

use rand::{Rng, RngExt};

use super::class::Class;
use super::client::{RequestFacts, reduce};
use super::context::{Judged, Letter, LetterHit, judge};
use super::network::NetworkTable;
use super::verdict::{DeliveryAge, HitKind, classify, counts_standard, trapped};

/// Whose networks the made-up requests come from.
const NETWORKS: &str = "\
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

/// Who really caused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// Somebody looked or clicked.
    Person,
    /// Nobody did.
    Machine,
}

/// One made-up request.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Milliseconds after the letter was accepted; earlier ones are negative.
    pub at: i64,
    /// 0 for the pixel.
    pub link: u16,
    /// As sent.
    pub method: &'static str,
    /// As sent.
    pub agent: &'static str,
    /// Where it came from.
    pub peer: [u8; 4],
    /// Whether Gmail is the referer.
    pub from_gmail: bool,
    /// Who caused it.
    pub truth: Truth,
}

/// What happens to one letter.
#[derive(Debug, Clone, Default)]
pub struct Recipient {
    /// In the order it happened.
    pub requests: Vec<Request>,
    /// How many links the letter has.
    pub links: u16,
    /// The trap link's number, where there is one.
    pub trap: Option<u16>,
}

impl Recipient {
    fn with(links: u16) -> Self {
        Self { requests: Vec::new(), links, trap: None }
    }

    fn add(&mut self, at: i64, link: u16, agent: &'static str, peer: [u8; 4], truth: Truth) {
        self.requests.push(Request { at, link, method: "GET", agent, peer, from_gmail: false, truth });
    }

    /// Fetches links `1..=links` with so many milliseconds between them.
    fn sweep(&mut self, start: i64, gap: impl FnMut() -> i64, method: &'static str, agent: &'static str, peer: [u8; 4]) {
        let (mut at, mut gap) = (start, gap);
        for link in 1..=self.links {
            self.requests.push(Request { at, link, method, agent, peer, from_gmail: false, truth: Truth::Machine });
            at += gap();
        }
    }
}

type Make = fn(&mut dyn Rng) -> Recipient;

/// One way to meet a letter.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called in tables.
    pub name: &'static str,
    make: Make,
}

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

/// How the rules did on one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Requests of machines.
    pub machine: u64,
    /// Of these, not counted as a person's.
    pub caught: u64,
    /// Requests of people.
    pub person: u64,
    /// Of these, counted as a person's.
    pub kept: u64,
    /// Recipients of whom a person followed a link.
    pub clickers: u64,
    /// Of these, counted as clickers.
    pub clickers_counted: u64,
    /// Counted as clickers though no person followed a link.
    pub clickers_invented: u64,
}

impl Outcome {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            machine: self.machine + other.machine,
            caught: self.caught + other.caught,
            person: self.person + other.person,
            kept: self.kept + other.kept,
            clickers: self.clickers + other.clickers,
            clickers_counted: self.clickers_counted + other.clickers_counted,
            clickers_invented: self.clickers_invented + other.clickers_invented,
        }
    }
}

/// The hits of a made-up letter, as they would be stored.
pub fn hits(recipient: &Recipient, networks: &NetworkTable) -> Vec<LetterHit> {
    let one = |request: &Request| {
        let kind = if request.link == 0 { HitKind::Open } else { HitKind::Click };
        let facts = RequestFacts {
            method: request.method,
            peer: Some(IpAddr::from(request.peer)),
            user_agent: request.agent,
            purpose: None,
            referer: request.from_gmail.then_some("http://mail.google.com/"),
            accept_language: request.truth == Truth::Person,
            fetch_user: request.truth == Truth::Person,
        };
        let client = reduce(facts, networks);
        let is_trap = request.link != 0 && recipient.trap == Some(request.link);
        let first = if is_trap { trapped() } else { classify(kind, &client, DeliveryAge::Unknown) };
        LetterHit { at: request.at, kind, link: request.link, first, family: client.family, device: client.device, settled: None }
    };
    recipient.requests.iter().map(one).collect()
}

/// Whose networks the made-up requests come from.
pub fn networks() -> NetworkTable {
    NetworkTable::parse(NETWORKS).unwrap_or_default()
}

/// Judges one made-up letter by both passes.
pub fn judged(recipient: &Recipient, networks: &NetworkTable) -> Vec<Judged> {
    // The trap is no link of the letter's own.
    let links = usize::from(recipient.links) - usize::from(recipient.trap.is_some());
    judge(&Letter { hits: hits(recipient, networks), links, confirmed: Vec::new(), accepted: Some(0) })
}

/// One made-up letter of a scenario.
pub fn letter(scenario: &Scenario, rng: &mut dyn Rng) -> Recipient {
    (scenario.make)(rng)
}

/// Plays a scenario with so many letters.
pub fn play(scenario: &Scenario, letters: u32, rng: &mut dyn Rng) -> Outcome {
    let networks = networks();
    let mut outcome = Outcome::default();
    for _ in 0..letters {
        let recipient = letter(scenario, rng);
        let judged = judged(&recipient, &networks);
        let (mut clicked, mut counted) = (false, false);
        for (request, judged) in recipient.requests.iter().zip(&judged) {
            let counts = counts_standard(judged.verdict.class);
            match request.truth {
                Truth::Machine => {
                    outcome.machine += 1;
                    outcome.caught += u64::from(!counts);
                }
                Truth::Person => {
                    outcome.person += 1;
                    outcome.kept += u64::from(counts);
                }
            }
            clicked |= request.link != 0 && request.truth == Truth::Person;
            counted |= request.link != 0 && judged.verdict.class == Class::Human;
        }
        outcome.clickers += u64::from(clicked);
        outcome.clickers_counted += u64::from(clicked && counted);
        outcome.clickers_invented += u64::from(!clicked && counted);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;
    use rand::seq::SliceRandom;

    use super::super::class::{Confidence, Reasons};
    use super::super::client::{ClientFamily, DeviceClass};
    use super::super::verdict::{RULESET, Verdict};
    use super::*;

    /// Least share of machines not counted, and of people counted, for every scenario. What cannot be seen is written down as such.
    const BOUNDS: [(&str, f64, f64); 21] = [
        ("Apple prefetch, later a click", 1.0, 1.0),
        ("Apple prefetch and Gmail's app", 1.0, 1.0),
        ("Gmail's picture proxy", 1.0, 1.0),
        ("Gmail prefetch, then an open", 1.0, 1.0),
        ("Yahoo asks four times", 1.0, 1.0),
        ("Outlook on a desk", 1.0, 1.0),
        ("detonation before delivery", 1.0, 1.0),
        ("HEAD on every link", 1.0, 1.0),
        ("checked at the click", 1.0, 1.0),
        ("a scanner that gives its name", 1.0, 1.0),
        // Short letters hide a patient machine with a browser's shape.
        ("a slow scanner, 30 to 90 s a link", 0.75, 1.0),
        // Nothing gives it away.
        ("a letter with one link, scanned", 0.0, 1.0),
        ("forwarded, with a preview", 1.0, 1.0),
        ("an office behind one address", 1.0, 1.0),
        ("pictures blocked", 1.0, 1.0),
        ("a person who clicks a lot", 1.0, 0.95),
        ("double click", 1.0, 1.0),
        ("clocks that differ", 1.0, 1.0),
        ("looked at again hours later", 1.0, 1.0),
        ("trap link: the slow scanner", 0.75, 1.0),
        ("trap link: two links, five seconds apart", 1.0, 1.0),
    ];

    #[test]
    fn each_scenario_stays_within_its_bounds() {
        let share = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        for (scenario, (name, sensitivity, specificity)) in SCENARIOS.iter().zip(BOUNDS) {
            let outcome = play(scenario, 300, &mut ChaCha8Rng::seed_from_u64(5));
            assert_eq!(scenario.name, name);
            assert!(share(outcome.caught, outcome.machine) >= sensitivity, "{name}: {outcome:?}");
            assert!(share(outcome.kept, outcome.person) >= specificity, "{name}: {outcome:?}");
        }
    }

    #[test]
    fn scenarios_differ_by_seed_only() {
        let played = |seed| SCENARIOS.map(|scenario| play(&scenario, 20, &mut ChaCha8Rng::seed_from_u64(seed)));
        assert_eq!(played(1), played(1));
        assert_ne!(played(1), played(2));
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop::sample::select(vec![
            (Class::Human, Confidence::Weak, Reasons::BROWSER),
            (Class::Human, Confidence::Weak, Reasons::MAIL_CLIENT),
            (Class::Unknown, Confidence::Weak, Reasons::INSTANT),
            (Class::Unknown, Confidence::Weak, Reasons::NO_AGENT),
            (Class::Scanner, Confidence::Certain, Reasons::METHOD),
            (Class::Scanner, Confidence::Certain, Reasons::TRAP),
            (Class::Scanner, Confidence::Strong, Reasons::ROBOT_AGENT),
            (Class::Prefetch, Confidence::Certain, Reasons::PURPOSE),
        ])
        .prop_map(|(class, confidence, reasons)| Verdict { class, confidence, reasons, ruleset: RULESET })
    }

    fn click() -> impl Strategy<Value = LetterHit> {
        let family = prop::sample::select(vec![ClientFamily::Chrome, ClientFamily::Safari]);
        // Near each other, so that every window is met.
        let at = prop_oneof![0_i64..3_000, 0_i64..120_000, 0_i64..4_000_000];
        (at, 1_u16..6, verdict(), family).prop_map(|(at, link, first, family)| LetterHit {
            at,
            kind: HitKind::Click,
            link,
            first,
            family,
            device: DeviceClass::Desktop,
            settled: None,
        })
    }

    fn any_hit() -> impl Strategy<Value = LetterHit> {
        let first = prop::sample::select(vec![
            (Class::Human, Confidence::Weak, Reasons::BROWSER),
            (Class::Proxied, Confidence::Certain, Reasons::MAIL_PROXY),
            (Class::Prefetch, Confidence::Certain, Reasons::BARE_AGENT.with(Reasons::NETWORK)),
        ]);
        let open = (click(), first).prop_map(|(hit, (class, confidence, reasons))| LetterHit {
            kind: HitKind::Open,
            link: 0,
            first: Verdict { class, confidence, reasons, ruleset: RULESET },
            ..hit
        });
        prop_oneof![3 => click(), 1 => open]
    }

    fn a_letter() -> impl Strategy<Value = Letter> {
        let confirmed = prop::collection::vec(0_i64..700_000, 0..2);
        (prop::collection::vec(any_hit(), 0..14), 0_usize..8, confirmed, prop::option::of(-4_000_000_i64..1_000))
            .prop_map(|(hits, links, confirmed, accepted)| Letter { hits, links, confirmed, accepted })
    }

    fn is_clicker(letter: &Letter) -> bool {
        letter.hits.iter().zip(judge(letter)).any(|(hit, judged)| hit.kind == HitKind::Click && judged.verdict.class == Class::Human)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn a_machine_more_never_makes_a_clicker(letter in a_letter(), mut machine in click()) {
            machine.first = Verdict { class: Class::Scanner, confidence: Confidence::Strong, reasons: Reasons::ROBOT_AGENT, ruleset: RULESET };
            let mut more = letter.clone();
            more.hits.push(machine);
            prop_assert!(is_clicker(&letter) || !is_clicker(&more));
        }

        #[test]
        fn a_burst_more_never_makes_a_clicker_where_no_form_was_sent(letter in a_letter(), start in 0_i64..200_000, gap in 0_i64..999) {
            let letter = Letter { confirmed: Vec::new(), ..letter };
            let person = Verdict { class: Class::Human, confidence: Confidence::Weak, reasons: Reasons::BROWSER, ruleset: RULESET };
            let mut more = letter.clone();
            more.hits.extend((0..4_u16).map(|step| LetterHit {
                at: start + i64::from(step) * gap,
                kind: HitKind::Click,
                link: 10 + step,
                first: person,
                family: ClientFamily::Chrome,
                device: DeviceClass::Desktop,
                settled: None,
            }));
            prop_assert!(is_clicker(&letter) || !is_clicker(&more));
        }

        #[test]
        fn a_person_five_minutes_after_every_machine_always_counts(letter in a_letter(), wait in 300_000_i64..90_000_000, link in 1_u16..6) {
            let last = letter.hits.iter().map(|hit| hit.at).max().unwrap_or_default();
            let person = Verdict { class: Class::Human, confidence: Confidence::Weak, reasons: Reasons::BROWSER, ruleset: RULESET };
            let mut more = letter;
            more.hits.push(LetterHit {
                at: last + wait,
                kind: HitKind::Click,
                link,
                first: person,
                family: ClientFamily::Firefox,
                device: DeviceClass::Desktop,
                settled: None,
            });
            prop_assert!(judge(&more).last().is_some_and(|judged| judged.verdict.class == Class::Human));
        }

        #[test]
        fn the_order_of_arrival_changes_nothing(letter in a_letter(), seed in any::<u64>()) {
            let mut order: Vec<usize> = (0..letter.hits.len()).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            let shuffled = Letter { hits: order.iter().map(|index| letter.hits[*index]).collect(), ..letter.clone() };
            let (one, other) = (judge(&letter), judge(&shuffled));
            for (place, index) in order.iter().enumerate() {
                prop_assert_eq!(one[*index].verdict, other[place].verdict);
            }
        }

        #[test]
        fn every_hit_is_in_one_class_and_in_one_count(letter in a_letter()) {
            let judged = judge(&letter);
            prop_assert_eq!(judged.len(), letter.hits.len());
            // Retries are counted with the hit that stands for them: nothing is lost and nothing twice.
            let requests: u64 = judged.iter().map(|judged| u64::from(judged.multiplicity)).sum();
            prop_assert_eq!(requests, letter.hits.len() as u64);
            let of = |class: Class| judged.iter().filter(|judged| judged.verdict.class == class).map(|one| u64::from(one.multiplicity)).sum::<u64>();
            prop_assert_eq!(Class::ALL.into_iter().map(of).sum::<u64>(), letter.hits.len() as u64);
            let seen: BTreeSet<u16> = judged.iter().map(|judged| judged.verdict.ruleset).collect();
            prop_assert!(seen.into_iter().all(|ruleset| ruleset == RULESET));
        }
    }
}
