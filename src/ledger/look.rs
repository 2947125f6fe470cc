//! What was known of a campaign's test at its sealed time, written down once so that nothing later moves a verdict.
//!
//! Cast: [`Look`], [`Firsts`], [`Silent`] (whose hits may be missing), [`take`] (derive it from events).
//!
//! It keeps counts per arm, and in which arms first successes came, to the minute: no person, no pseudonym. Who withdraws from
//! measurement afterwards loses the recorded hits; the counts they were part of stay.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{DbResult, LedgerConn};
use crate::ids::{CampaignNumber, Pseudonym, VariantNumber};
use crate::ledger::derive::derive;
use crate::ledger::event::EventKind;
use crate::ledger::store::{self, Counter, Placed};
use crate::ledger::subject::Part;

const MINUTE: i64 = 60_000;

/// Tallies by arm and name.
pub type ArmTallies = BTreeMap<u8, BTreeMap<String, u64>>;

/// A test at its sealed time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Tallies, of the test only.
    pub tallies: ArmTallies,
    /// First successes.
    pub firsts: Firsts,
    /// Tracking nodes whose hits up to the sealed time may be missing.
    pub silent: Vec<Silent>,
}

/// Minute since 1970 and arm of each measured, delivered recipient's first success, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Firsts(pub Vec<(i64, u8)>);

impl Firsts {
    /// First successes, their moments in milliseconds since 1970, rounded down to the minute.
    pub fn moments(&self) -> impl Iterator<Item = (i64, VariantNumber)> {
        self.0.iter().map(|(minute, variant)| (minute.saturating_mul(MINUTE), VariantNumber(*variant)))
    }
}

/// A tracking node that was there shortly before the sealed time, and did not say afterwards that all its hits up to then are in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// The name of its spool, as it stands in the spool's folder.
    pub spool: String,
    /// When it was last heard of, milliseconds since 1970.
    pub alive_at: i64,
}

/// Derives a campaign's look from every event counted so far that happened up to and with `until`; `kind` is what counts as success.
///
/// Holds one small state per recipient in memory, up to 100 bytes each.
///
/// # Errors
/// When the ledger cannot be read.
pub fn take(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind, until: Timestamp) -> DbResult<Look> {
    let last = store::counted(conn, Counter::ProjectedSeq)?;
    let Some(derived) = derive(conn, campaign, last, Some(until), &mut |_| ControlFlow::Continue(()))? else { return Ok(Look::default()) };
    let is_watched = store::watch(conn, campaign)?.is_some();
    let mut look = Look::default();
    for ((_, part, variant, name), value) in derived.tallies() {
        if part == Part::Test {
            look.tallies.entry(variant.0).or_default().insert(name, u64::try_from(value).unwrap_or_default());
        }
    }
    let mut firsts: Vec<(i64, Pseudonym, VariantNumber)> = derived
        .recipients
        .placed()
        .filter_map(|(pseudonym, placed)| Some((first_success(&placed, kind, is_watched)?, pseudonym, placed.variant)))
        .collect();
    // Within a millisecond by pseudonym, which is chance.
    firsts.sort_unstable_by_key(|(at, pseudonym, _)| (*at, *pseudonym.as_bytes()));
    look.firsts = Firsts(firsts.into_iter().map(|(at, _, variant)| (at.div_euclid(MINUTE), variant.0)).collect());
    Ok(look)
}

/// Of a watched test those count who were at risk when it began, whatever became of their letters later.
fn first_success(placed: &Placed, kind: EventKind, is_watched: bool) -> Option<i64> {
    let delivered = placed.part == Part::Test && placed.measured && placed.state.is_delivered();
    let counts = if is_watched { placed.at_risk } else { delivered };
    match kind {
        _ if !counts => None,
        EventKind::Open => placed.state.first_open_at,
        EventKind::Click => placed.state.first_click_at,
        _ => None,
    }
}
