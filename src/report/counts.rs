//! What the ledger holds about a campaign's test, read once.
//!
//! Cast: [`Counts`], [`Way`] (raw, standard, strict).
//!
//! Tallies do not grow with events. Only two things are looked up one by one: first successes in the order of time, for the anytime-valid
//! reading, and who came after the sealed time and therefore does not count.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::campaign::store::Campaign;
use crate::db::{DbResult, LedgerConn};
use crate::experiment::design::{Method, Metric};
use crate::ids::VariantNumber;
use crate::ledger::event::EventKind;
use crate::ledger::store::{self as events, Late};
use crate::ledger::subject::{MEASURED, Part, Tally};
use crate::report::reading::MaybeCount;
use crate::report::results::due;
use crate::stats::Count;

/// Most first successes replayed for a page whose verdict does not rest on them.
const WATCHED_AT_MOST: u64 = 200_000;

/// Counts of a campaign's test.
#[derive(Default)]
pub struct Counts {
    enrolled: BTreeMap<VariantNumber, u64>,
    held_out: u64,
    tallies: BTreeMap<(VariantNumber, String), u64>,
    late: BTreeMap<(&'static str, VariantNumber), Late>,
    /// First successes up to the sealed time, in its order.
    pub firsts: Option<Vec<(Timestamp, VariantNumber)>>,
    /// Until when successes count; none while it is open.
    pub until: Option<Timestamp>,
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
    pub fn read(conn: &mut LedgerConn, campaign: &Campaign, now: Timestamp) -> DbResult<Self> {
        let enrolled = events::enrolled(conn, campaign.number)?;
        let tallies = events::tallies(conn, campaign.number)?;
        let of_test = |part: Part| part == Part::Test;
        let held_out = enrolled.iter().filter(|((part, _), _)| *part == Part::Holdout).map(|(_, count)| count).sum();
        let mut counts = Self {
            enrolled: enrolled.into_iter().filter(|((part, _), _)| of_test(*part)).map(|((_, variant), count)| (variant, count)).collect(),
            held_out,
            tallies: tallies
                .into_iter()
                .filter(|((part, _, _), _)| of_test(*part))
                .map(|((_, variant, name), value)| ((variant, name), u64::try_from(value).unwrap_or_default()))
                .collect(),
            until: due(campaign).filter(|due| now >= *due),
            ..Self::default()
        };
        if let Some(until) = counts.until {
            for metric in Metric::ALL {
                let late = events::late_successes(conn, campaign.number, kind(metric), until)?;
                counts.late.extend(late.into_iter().map(|(variant, late)| ((metric.as_str(), variant), late)));
            }
        }
        let design = &campaign.definition.design;
        let tally = if design.metric == Metric::Open { Tally::OpenStandard } else { Tally::ClickStandard };
        let many: u64 = counts.enrolled.keys().map(|variant| counts.of(*variant, tally)).sum();
        if design.method == Method::Anytime || many <= WATCHED_AT_MOST {
            let mut firsts = events::first_successes(conn, campaign.number, kind(design.metric))?;
            firsts.retain(|(at, _)| counts.until.is_none_or(|until| *at <= until));
            counts.firsts = Some(firsts);
        }
        Ok(counts)
    }

    /// Recipients assigned to an arm.
    pub fn enrolled(&self, variant: VariantNumber) -> u64 {
        self.enrolled.get(&variant).copied().unwrap_or_default()
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

    /// Successes and recipients of an arm. The standard counting ends at the sealed time; raw and strict go on.
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
        let (mut successes, mut trials) = (self.of(variant, tally), trials);
        if way == Way::Standard
            && let Some(late) = self.late.get(&(metric.as_str(), variant))
        {
            successes = successes.saturating_sub(late.successes);
            if metric == Metric::Open {
                trials = trials.saturating_sub(late.prefetched);
            }
        }
        Ok(Count::new(successes.min(trials), trials)?)
    }

    /// Recipients who opened or clicked after the sealed time and therefore do not count.
    pub fn late(&self, metric: Metric) -> u64 {
        self.late.iter().filter(|((name, _), _)| *name == metric.as_str()).map(|(_, late)| late.successes).sum()
    }
}
