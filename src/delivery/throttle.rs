//! How many letters may leave now: token buckets per relay, per mailbox provider and per campaign; and how many a relay may be given in
//! a day, which the store counts for all nodes.
//!
//! Cast: [`Throttle`], [`Throttles`] and [`RelayLimits`] (from the settings), [`Offer`] (tokens set aside for one batch).
//!
//! Pure: time is an argument. Tokens are set aside before letters are taken from the queue and given back for those that did not need
//! them, so that many workers together keep a limit. Several processes on one database each keep their share of it.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, tz};
use serde::Deserialize;

use crate::ids::CampaignNumber;

/// What a bucket saves up at most, in seconds of its rate: workers do not ask at every moment.
const SAVED_SECONDS: f64 = 2.0;

/// Limits that hold for all relays together.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Throttles {
    /// Letters per second of one campaign; 0 for no limit.
    pub campaign_per_second: f64,
    /// Letters per second to a mailbox provider, by its name.
    pub providers: BTreeMap<String, f64>,
    /// Whether the DNS is asked whose mailboxes a small domain's are.
    pub by_mx: bool,
}

/// Limits of one relay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayLimits {
    /// Letters per second; 0 for no limit.
    pub per_second: f64,
    /// Letters accepted per day (UTC); 0 for no limit.
    pub per_day: u64,
    /// The first day of warming up, as `2026-12-01`; empty for none.
    pub warm_up_from: String,
    /// Letters on that day.
    pub warm_up_first: u64,
    /// How many times as many on each day after.
    pub warm_up_growth: f64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { per_second: 0.0, per_day: 0, warm_up_from: String::new(), warm_up_first: 500, warm_up_growth: 1.5 }
    }
}

impl RelayLimits {
    /// What is wrong with them, if anything.
    pub fn problem(&self) -> Option<&'static str> {
        if !(self.per_second >= 0.0 && self.per_second.is_finite()) {
            Some("per_second must be 0 or more")
        } else if !self.warm_up_from.is_empty() && self.warm_up_from.parse::<Date>().is_err() {
            Some("warm_up_from must be a day, as 2026-12-01")
        } else if !(1.0..=10.0).contains(&self.warm_up_growth) || self.warm_up_first == 0 {
            Some("warm_up_first must be 1 or more, warm_up_growth between 1 and 10")
        } else {
            None
        }
    }

    /// Letters that may be accepted on the day of `now` (UTC); none for as many as there are.
    pub fn on_day_of(&self, now: Timestamp) -> Option<u64> {
        let most = (self.per_day > 0).then_some(self.per_day);
        let Ok(from) = self.warm_up_from.parse::<Date>() else { return most };
        let days = tz::Offset::UTC.to_datetime(now).date().since(from).map_or(0, |span| span.get_days()).max(0);
        let warm = self.warm_up_first as f64 * self.warm_up_growth.powi(days);
        // Above any list there is, warming up is over.
        let warm = (warm < 1e9).then_some(warm as u64);
        match (most, warm) {
            (Some(most), Some(warm)) => Some(most.min(warm)),
            (most, warm) => most.or(warm),
        }
    }
}

/// Fills at a steady rate.
#[derive(Debug, Clone)]
struct Bucket {
    per_second: f64,
    level: f64,
    at: Timestamp,
}

impl Bucket {
    /// Begins with one letter's worth, so that a restart gives nothing away.
    fn new(per_second: f64, now: Timestamp) -> Self {
        Self { per_second, level: 1.0, at: now }
    }

    fn fill(&mut self, now: Timestamp) {
        // A clock set back must not empty it.
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.level = (self.level + seconds * self.per_second).min((self.per_second * SAVED_SECONDS).max(2.0));
        self.at = now;
    }

    fn whole(&self) -> u32 {
        self.level.max(0.0) as u32
    }

    /// When the next letter's worth is there.
    fn next(&self) -> Timestamp {
        let missing = ((1.0 - self.level) / self.per_second).clamp(0.001, 86_400.0);
        self.at.checked_add(SignedDuration::from_millis((missing * 1000.0).ceil() as i64)).unwrap_or(self.at)
    }
}

/// Tokens set aside for one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Letters at most.
    pub total: u32,
    /// Letters at most per provider, where any provider has a limit; providers not named get none.
    pub providers: Option<Vec<(String, u32)>>,
    /// Where nothing is offered: when to ask again.
    pub next: Timestamp,
}

/// All buckets of one process.
#[derive(Debug)]
pub struct Throttle {
    settings: Throttles,
    known_providers: Vec<String>,
    /// Processes that share the limits.
    nodes: u64,
    relays: HashMap<String, Bucket>,
    providers: HashMap<String, Bucket>,
    campaigns: HashMap<CampaignNumber, Bucket>,
}

/// The number of a moment's day (UTC), from 1970.
pub fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(86_400)
}

/// When the next day (UTC) begins.
pub fn tomorrow(now: Timestamp) -> Timestamp {
    Timestamp::from_second((day_of(now) + 1) * 86_400).unwrap_or(now)
}

impl Throttle {
    /// Nothing sent yet. `known_providers` are all there are.
    pub fn new(settings: Throttles, known_providers: Vec<String>) -> Self {
        Self { settings, known_providers, nodes: 1, relays: HashMap::new(), providers: HashMap::new(), campaigns: HashMap::new() }
    }

    /// How many processes send: each keeps its share of every rate.
    pub fn share(&mut self, nodes: u64) {
        self.nodes = nodes.max(1);
    }

    /// Sets aside tokens for up to `wanted` letters of a campaign over a relay.
    pub fn offer(&mut self, relay: &str, limits: &RelayLimits, campaign: CampaignNumber, wanted: u32, now: Timestamp) -> Offer {
        let nodes = self.nodes as f64;
        let mut total = wanted;
        let mut next = now;
        let mut keep = |bucket: &mut Bucket, rate: f64| {
            bucket.per_second = rate;
            bucket.fill(now);
            total = total.min(bucket.whole());
            if bucket.whole() == 0 {
                next = next.max(bucket.next());
            }
        };
        if limits.per_second > 0.0 {
            let rate = limits.per_second / nodes;
            keep(self.relays.entry(relay.to_owned()).or_insert_with(|| Bucket::new(rate, now)), rate);
        }
        if self.settings.campaign_per_second > 0.0 {
            let rate = self.settings.campaign_per_second / nodes;
            keep(self.campaigns.entry(campaign).or_insert_with(|| Bucket::new(rate, now)), rate);
        }
        let providers = (total > 0 && !self.settings.providers.is_empty()).then(|| self.offer_providers(total, now));
        if let Some(offered) = &providers
            && offered.is_empty()
        {
            let soonest = self.providers.values().map(Bucket::next).min().unwrap_or(now);
            return Offer { total: 0, providers: None, next: soonest };
        }
        let offer = Offer { total, providers, next };
        if total > 0 {
            self.change(relay, limits, campaign, &offer, -1.0);
        }
        offer
    }

    fn offer_providers(&mut self, total: u32, now: Timestamp) -> Vec<(String, u32)> {
        let mut offered = Vec::new();
        for provider in &self.known_providers {
            let allowed = match self.settings.providers.get(provider) {
                None => total,
                Some(rate) => {
                    let rate = rate / self.nodes as f64;
                    let bucket = self.providers.entry(provider.clone()).or_insert_with(|| Bucket::new(rate, now));
                    bucket.per_second = rate;
                    bucket.fill(now);
                    bucket.whole().min(total)
                }
            };
            if allowed > 0 {
                offered.push((provider.clone(), allowed));
            }
        }
        offered
    }

    /// Only `granted` of the letters offered may leave for another reason: the other tokens are given back.
    pub fn lower(&mut self, relay: &str, limits: &RelayLimits, campaign: CampaignNumber, offer: &mut Offer, granted: u32) {
        let unused = Offer { total: offer.total.saturating_sub(granted), providers: None, next: offer.next };
        self.change(relay, limits, campaign, &unused, 1.0);
        offer.total = offer.total.min(granted);
    }

    /// Gives tokens back that were set aside for letters that were not taken. `taken` counts the letters taken by provider.
    pub fn settle(&mut self, relay: &str, limits: &RelayLimits, campaign: CampaignNumber, offer: &Offer, taken: &BTreeMap<String, u32>) {
        let all: u32 = taken.values().sum();
        let providers = offer.providers.as_ref().map(|offered| {
            offered
                .iter()
                .map(|(name, allowed)| (name.clone(), allowed.saturating_sub(taken.get(name).copied().unwrap_or_default())))
                .collect()
        });
        let unused = Offer { total: offer.total.saturating_sub(all), providers, next: offer.next };
        self.change(relay, limits, campaign, &unused, 1.0);
    }

    /// Gives tokens back for letters that were taken and never offered to the relay, by provider: of a person left alone at this hour, or who
    /// is not to have the letter any more.
    pub fn give_back(&mut self, relay: &str, limits: &RelayLimits, campaign: CampaignNumber, untried: &BTreeMap<String, u32>) {
        let providers = Some(untried.iter().map(|(name, letters)| (name.clone(), *letters)).collect());
        let unused = Offer { total: untried.values().sum(), providers, next: Timestamp::default() };
        self.change(relay, limits, campaign, &unused, 1.0);
    }

    fn change(&mut self, relay: &str, limits: &RelayLimits, campaign: CampaignNumber, offer: &Offer, sign: f64) {
        let by = f64::from(offer.total) * sign;
        if limits.per_second > 0.0
            && let Some(bucket) = self.relays.get_mut(relay)
        {
            bucket.level += by;
        }
        if let Some(bucket) = self.campaigns.get_mut(&campaign) {
            bucket.level += by;
        }
        for (name, allowed) in offer.providers.iter().flatten() {
            if let Some(bucket) = self.providers.get_mut(name) {
                bucket.level += f64::from(*allowed) * sign;
            }
        }
    }
}

#[cfg(test)]
mod tests;
