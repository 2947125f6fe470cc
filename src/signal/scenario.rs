//! Made-up letters with known truth: the nineteen ways machines and people meet a letter, and how well the rules tell them apart.
//!
//! Cast: [`SCENARIOS`] (the list of [`Scenario`]), [`Recipient`] and [`Request`] (what happens to one letter, with its truth), [`play`],
//! [`Outcome`] (the counts).
//!
//! Every request takes the way of a real one: facts → [`super::client::reduce`] → immediate rules → second pass. Chance is an argument.

mod list;

use std::net::IpAddr;

use rand::Rng;

use super::class::Class;
use super::client::{RequestFacts, reduce};
use super::context::{Judged, Letter, LetterHit, judge};
use super::network::NetworkTable;
use super::verdict::{DeliveryAge, HitKind, classify, counts_standard, trapped};

pub use list::SCENARIOS;

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
    NetworkTable::parse(list::NETWORKS).unwrap_or_default()
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
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

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
}
