//! Which relay takes a batch.
//!
//! Cast: [`Relay`] (one of several, from the settings), [`Relays`] (all of them, and how they fare).
//!
//! Pure: time is an argument. A relay that failed rests for a while and the others take its load; with no other left it is asked all the
//! same.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::smtp::RelaySettings;
use super::throttle::RelayLimits;

/// The first rest after a failure and the longest one.
const REST: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(15), SignedDuration::from_mins(10));

/// One relay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// What it is called in reports.
    pub name: String,
    /// How many batches it gets beside the others; at least 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// Takes letters from senders of these domains, and only these; empty for all that no other relay names.
    #[serde(default)]
    pub sender_domains: Vec<String>,
    /// How much it may be given.
    #[serde(default)]
    pub limits: RelayLimits,
    /// How it is reached.
    pub smtp: RelaySettings,
}

const fn one() -> u32 {
    1
}

impl Relay {
    fn serves(&self, domain: &str) -> bool {
        self.sender_domains.iter().any(|own| own.eq_ignore_ascii_case(domain))
    }
}

#[derive(Debug, Clone, Default)]
struct Health {
    rests_until: Option<Timestamp>,
    failures: u32,
    trouble: Option<String>,
    credit: i64,
}

/// All relays.
#[derive(Debug)]
pub struct Relays {
    relays: Vec<Arc<Relay>>,
    health: Mutex<Vec<Health>>,
}

impl Relays {
    /// From the settings.
    pub fn new(relays: Vec<Relay>) -> Self {
        let health = Mutex::new(vec![Health::default(); relays.len()]);
        Self { relays: relays.into_iter().map(Arc::new).collect(), health }
    }

    /// What is wrong with the settings, if anything.
    pub fn problem(relays: &[Relay]) -> Option<String> {
        relays.iter().enumerate().find_map(|(index, relay)| {
            let is_twin = relays.iter().take(index).any(|other| other.name == relay.name);
            let what = match () {
                () if relay.name.trim().is_empty() => Some("needs a name"),
                () if is_twin => Some("has the name of another one"),
                () if relay.weight == 0 => Some("has weight 0: give at least 1, or take it out"),
                () => relay.limits.problem().or_else(|| relay.smtp.problem()),
            };
            what.map(|what| format!("relay {:?} {what}", relay.name))
        })
    }

    /// Every relay, in the order of the settings.
    pub fn all(&self) -> &[Arc<Relay>] {
        &self.relays
    }

    /// Whether there is a relay for letters from a domain at all.
    pub fn carry(&self, domain: &str) -> bool {
        self.relays.iter().any(|relay| relay.sender_domains.is_empty() || relay.serves(domain))
    }

    /// The relay for the next batch of a sender's domain: by turns after weight among those that do not rest. With `passed_over` those
    /// that have nothing to give at the moment. None only when all are passed over.
    pub fn choose(&self, domain: &str, now: Timestamp, passed_over: &[Arc<Relay>]) -> Option<Arc<Relay>> {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.relays.iter().any(|relay| relay.serves(domain));
        let candidates: Vec<usize> = (0..self.relays.len())
            .filter(|index| {
                self.relays.get(*index).is_some_and(|relay| {
                    let fits = if own { relay.serves(domain) } else { relay.sender_domains.is_empty() };
                    fits && !passed_over.iter().any(|passed| passed.name == relay.name)
                })
            })
            .collect();
        let rested = |index: &usize| health.get(*index).is_some_and(|health| health.rests_until.is_none_or(|until| until <= now));
        let ready: Vec<usize> = candidates.iter().copied().filter(rested).collect();
        if ready.is_empty() {
            let soonest = candidates.into_iter().min_by_key(|index| health.get(*index).and_then(|health| health.rests_until));
            return self.relays.get(soonest?).cloned();
        }
        // Smooth weighted turns: each gains its weight, the richest pays for all.
        let mut sum = 0;
        for index in &ready {
            if let (Some(relay), Some(health)) = (self.relays.get(*index), health.get_mut(*index)) {
                health.credit += i64::from(relay.weight);
                sum += i64::from(relay.weight);
            }
        }
        let richest = ready.into_iter().rev().max_by_key(|index| health.get(*index).map(|health| health.credit))?;
        health.get_mut(richest)?.credit -= sum;
        self.relays.get(richest).cloned()
    }

    /// It could not be used: it rests, twice as long each time; workers that find the same out while it rests change nothing. Answers whether
    /// another relay may take its load now.
    pub fn failed(&self, relay: &Relay, domain: &str, why: &str, now: Timestamp) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.relays.iter().zip(health.iter_mut()).find(|(other, _)| other.name == relay.name);
        if let Some((_, state)) = own.filter(|(_, state)| state.rests_until.is_none_or(|until| until <= now)) {
            let rest = REST.0.saturating_mul(1 << state.failures.min(10)).min(REST.1);
            state.failures += 1;
            state.rests_until = now.checked_add(rest).ok();
            state.trouble = Some(why.to_owned());
        }
        let own = self.relays.iter().any(|relay| relay.serves(domain));
        self.relays.iter().zip(health.iter()).any(|(other, health)| {
            let fits = if own { other.serves(domain) } else { other.sender_domains.is_empty() };
            fits && other.name != relay.name && health.rests_until.is_none_or(|until| until <= now)
        })
    }

    /// It took a letter.
    pub fn worked(&self, relay: &Relay) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, state)) = self.relays.iter().zip(health.iter_mut()).find(|(other, _)| other.name == relay.name) {
            (state.failures, state.rests_until, state.trouble) = (0, None, None);
        }
    }

    /// Relays that rest, and why.
    pub fn troubled(&self, now: Timestamp) -> Vec<(String, String)> {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let troubled = self.relays.iter().zip(health.iter()).filter(|(_, health)| health.rests_until.is_some_and(|until| until > now));
        troubled.map(|(relay, health)| (relay.name.clone(), health.trouble.clone().unwrap_or_default())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(texts: &[&str]) -> Relays {
        Relays::new(texts.iter().map(|text| toml::from_str(&format!("{text}\nsmtp = {{ host = \"a.example\" }}")).unwrap()).collect())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn chosen(relays: &Relays, domain: &str, now: Timestamp, times: usize) -> String {
        (0..times).map(|_| relays.choose(domain, now, &[]).map_or("-".to_owned(), |relay| relay.name.clone())).collect()
    }

    #[test]
    fn relays_take_turns_after_their_weight() {
        let two = relays(&["name = \"a\"\nweight = 3", "name = \"b\""]);
        let turns = chosen(&two, "example.org", at(0), 40);
        assert_eq!((turns.matches('a').count(), turns.matches('b').count()), (30, 10));
        assert!(!turns.contains("aaaa"), "interleaved: {turns}");
    }

    #[test]
    fn a_domain_with_relays_of_its_own_uses_only_those() {
        let three = relays(&["name = \"a\"", "name = \"b\"\nsender_domains = [\"shop.example\"]", "name = \"c\""]);
        assert_eq!(chosen(&three, "Shop.example", at(0), 3), "bbb");
        assert!(!chosen(&three, "example.org", at(0), 10).contains('b'));
    }

    #[test]
    fn a_failed_relay_rests_longer_each_time_and_the_other_takes_its_load() {
        let two = relays(&["name = \"a\"", "name = \"b\""]);
        let first = two.all()[0].clone();
        // Seven workers find out at the same moment.
        assert!((0..7).all(|_| two.failed(&first, "example.org", "no answer", at(0))), "b is there");
        assert_eq!(chosen(&two, "example.org", at(14), 3), "bbb");
        assert_eq!(two.troubled(at(14)), [("a".to_owned(), "no answer".to_owned())]);
        assert!(chosen(&two, "example.org", at(15), 4).contains('a'));
        two.failed(&first, "example.org", "no answer", at(15));
        assert_eq!(chosen(&two, "example.org", at(44), 3), "bbb", "half a minute now");
        assert!(!two.failed(&two.all()[1].clone(), "example.org", "no answer", at(20)), "nobody is left");
        assert_eq!(chosen(&two, "example.org", at(21), 1), "b", "the one that has rested most is asked all the same");
        two.worked(&first);
        assert_eq!(chosen(&two, "example.org", at(21), 2), "aa");
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let relay = |text: &str| toml::from_str::<Relay>(&format!("{text}\nsmtp = {{ host = \"a.example\" }}")).unwrap();
        let cases = [
            (vec![relay("name = \"\"")], "name"),
            (vec![relay("name = \"a\""), relay("name = \"a\"")], "another"),
            (vec![relay("name = \"a\"\nweight = 0")], "weight"),
            (vec![relay("name = \"a\"\nlimits = { warm_up_from = \"soon\" }")], "warm_up_from"),
        ];
        for (relays, word) in cases {
            assert!(Relays::problem(&relays).is_some_and(|problem| problem.contains(word)), "{word}");
        }
    }
}
