//! What the ledger holds about a campaign's test, read once.
//!
//! Cast: [`Counts`], [`Way`] (raw, standard, strict).
//!
//! Tallies do not grow with events; only first successes are looked up one by one, in the order of time, for the anytime-valid reading, from
//! the newest [`replay`](crate::report::replay) that is kept.
//! Once the sealed time's facts are written down, everything here is read from there, and later facts are only told.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::campaign::store::{self as campaigns, Campaign};
use crate::db::{DbResult, LedgerConn};
use crate::experiment::design::{Method, Metric};
use crate::experiment::watch::Watched;
use crate::ids::VariantNumber;
use crate::ledger::event::EventKind;
use crate::ledger::look::{ArmTallies, Look, Silent};
use crate::ledger::store as events;
use crate::ledger::subject::{MEASURED, Part, Tally};
use crate::ledger::watch::Watch;
use crate::report::reading::MaybeCount;
use crate::report::replay::{self, Patience};
use crate::stats::Count;

/// Counts of a campaign's test.
#[derive(Default)]
pub struct Counts {
    enrolled: BTreeMap<VariantNumber, u64>,
    links: BTreeMap<VariantNumber, u64>,
    held_out: u64,
    tallies: BTreeMap<(VariantNumber, String), u64>,
    /// The first successes up to the sealed time replayed; none where an arm is empty, or where that is put off.
    pub watched: Option<Watched>,
    /// Tracking nodes whose hits up to the sealed time may be missing.
    pub silent: Vec<Silent>,
    /// Until when facts count; none before the sealed time's facts are written down.
    pub until: Option<Timestamp>,
    /// What came later and does not count.
    pub later: Later,
    /// Of an anytime-valid test: who is at risk, and the crossing written down.
    pub watch: Option<Watch>,
}

/// What came after the sealed time, in the whole test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Later {
    /// Recipients who opened or clicked for the first time, as the primary metric counts.
    pub successes: u64,
    /// Letters that came back.
    pub bounced: u64,
    /// Recipients who unsubscribed.
    pub unsubscribed: u64,
    /// Recipients who reported the letter as spam.
    pub complained: u64,
}

/// How hits are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Every hit.
    Raw,
    /// People, also through their mail provider.
    Standard,
    /// People beyond doubt.
    Strict,
}

/// The kind of event a metric counts.
pub const fn kind(metric: Metric) -> EventKind {
    match metric {
        Metric::Open => EventKind::Open,
        Metric::Click => EventKind::Click,
    }
}

impl Counts {
    /// Reads everything a page needs.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn read(conn: &mut LedgerConn, campaign: &Campaign, patience: Patience) -> DbResult<Self> {
        let mut counts = Self::without_replay(conn, campaign)?;
        let Some(frozen) = events::frozen(conn, campaign.number)? else {
            counts.watched = replay::replayed(conn, campaign, &counts, patience)?;
            return Ok(counts);
        };
        let design = &campaign.definition.design;
        let successes = events::late_successes(conn, campaign.number, kind(design.metric), frozen.until)?;
        counts.freeze(frozen.until, &frozen.tallies, successes);
        counts.silent = frozen.silent;
        counts.watched = match frozen.replay {
            Some(text) => Some(replay::from_text(&text)?),
            None => replay::of_look(campaign, &counts, &events::frozen_firsts(conn, campaign.number)?),
        };
        Ok(counts)
    }

    /// As they are in a look that is about to be written down, its first successes replayed.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn of_look(conn: &mut LedgerConn, campaign: &Campaign, until: Timestamp, look: &Look) -> DbResult<Self> {
        let mut counts = Self::without_replay(conn, campaign)?;
        counts.freeze(until, &look.tallies, 0);
        counts.watched = replay::of_look(campaign, &counts, &look.firsts);
        Ok(counts)
    }

    /// What is known by now, the anytime-valid reading left out.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn without_replay(conn: &mut LedgerConn, campaign: &Campaign) -> DbResult<Self> {
        let enrolled = events::enrolled(conn, campaign.number)?;
        let tallies = events::tallies(conn, campaign.number)?;
        let of_test = |part: Part| part == Part::Test;
        let held_out = enrolled.iter().filter(|((part, _), _)| *part == Part::Holdout).map(|(_, count)| count).sum();
        let mut counts = Self {
            enrolled: enrolled.into_iter().filter(|((part, _), _)| of_test(*part)).map(|((_, variant), count)| (variant, count)).collect(),
            links: campaigns::link_counts(conn, campaign.number)?,
            held_out,
            tallies: tallies
                .into_iter()
                .filter(|((part, _, _), _)| of_test(*part))
                .map(|((_, variant, name), value)| ((variant, name), u64::try_from(value).unwrap_or_default()))
                .collect(),
            ..Self::default()
        };
        if campaign.definition.design.method == Method::Anytime {
            counts.watch = events::watch(conn, campaign.number)?;
        }
        Ok(counts)
    }

    /// Puts the look in the place of what is known by now, and keeps how much came later.
    fn freeze(&mut self, until: Timestamp, look: &ArmTallies, successes: u64) {
        let frozen = |name: &str| -> u64 { look.values().filter_map(|tallies| tallies.get(name)).sum() };
        let since = |tally: Tally| -> u64 {
            let now: u64 = self.enrolled.keys().map(|variant| self.of(*variant, tally)).sum();
            now.saturating_sub(frozen(tally.as_str()))
        };
        self.later = Later {
            successes,
            bounced: since(Tally::Bounced),
            unsubscribed: since(Tally::Unsubscribed),
            complained: since(Tally::Complained),
        };
        self.tallies = look
            .iter()
            .flat_map(|(variant, tallies)| tallies.iter().map(|(name, value)| ((VariantNumber(*variant), name.clone()), *value)))
            .collect();
        self.until = Some(until);
    }

    /// Recipients who count as success by now, in all arms.
    pub fn successes(&self, metric: Metric) -> u64 {
        let tally = if metric == Metric::Open { Tally::OpenStandard } else { Tally::ClickStandard };
        self.enrolled.keys().map(|variant| self.of(*variant, tally)).sum()
    }

    /// Recipients assigned to an arm.
    pub fn enrolled(&self, variant: VariantNumber) -> u64 {
        self.enrolled.get(&variant).copied().unwrap_or_default()
    }

    /// How many links an arm's letter has; 0 where it has none or is not sealed.
    pub fn links(&self, variant: VariantNumber) -> u64 {
        self.links.get(&variant).copied().unwrap_or_default()
    }

    /// Recipients who received nothing by plan.
    pub fn held_out(&self) -> u64 {
        self.held_out
    }

    /// A tally by name.
    pub fn named(&self, variant: VariantNumber, name: &str) -> u64 {
        self.tallies.get(&(variant, name.to_owned())).copied().unwrap_or_default()
    }

    /// A tally.
    pub fn of(&self, variant: VariantNumber, tally: Tally) -> u64 {
        self.named(variant, tally.as_str())
    }

    /// A tally summed over arms.
    pub fn sum(&self, variants: &[VariantNumber], tally: Tally) -> u64 {
        variants.iter().map(|variant| self.of(*variant, tally)).sum()
    }

    /// Successes and recipients of an arm.
    pub fn count(&self, variant: VariantNumber, metric: Metric, way: Way) -> MaybeCount {
        let measured = self.named(variant, MEASURED);
        // Prefetching says nothing either way and is a property of the mailbox, not of the arm: it leaves both sides.
        let shown = measured.saturating_sub(self.of(variant, Tally::PrefetchOnly));
        let (tally, trials) = match (metric, way) {
            (Metric::Click, Way::Raw) => (Tally::ClickRaw, measured),
            (Metric::Click, Way::Standard) => (Tally::ClickStandard, measured),
            (Metric::Click, Way::Strict) => (Tally::ClickStrict, measured),
            (Metric::Open, Way::Raw) => (Tally::OpenRaw, measured),
            (Metric::Open, Way::Standard) => (Tally::OpenStandard, shown),
            (Metric::Open, Way::Strict) => (Tally::OpenStrict, shown),
        };
        Ok(Count::new(self.of(variant, tally).min(trials), trials)?)
    }
}
