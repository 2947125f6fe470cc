//! What was known of a campaign's test at its sealed time, written down once so that nothing later moves a verdict.
//!
//! Cast: [`Look`], [`take`] (derive it from events).
//!
//! It keeps counts per arm, and in which arms first successes came, to the minute: no person, no pseudonym. Who withdraws from
//! measurement afterwards loses the recorded hits; the counts they were part of stay.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{DbError, DbResult, LedgerConn};
use crate::ids::{CampaignNumber, Pseudonym, VariantNumber};
use crate::ledger::event::EventKind;
use crate::ledger::projection::derive;
use crate::ledger::store::{self, Counter, Placed};
use crate::ledger::subject::Part;

const MINUTE: i64 = 60_000;

/// A test at its sealed time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Look {
    /// Tallies by arm and name, of the test only.
    pub tallies: BTreeMap<u8, BTreeMap<String, u64>>,
    /// Minute since 1970 and arm of each measured, delivered recipient's first success, in the order of time.
    pub firsts: Vec<(i64, u8)>,
}

impl Look {
    /// First successes, their times rounded down to the minute.
    ///
    /// # Errors
    /// A minute that is none.
    pub fn first_successes(&self) -> DbResult<Vec<(Timestamp, VariantNumber)>> {
        let moment =
            |minute: i64| Timestamp::from_millisecond(minute.saturating_mul(MINUTE)).map_err(|_| DbError::unreadable("a minute", minute));
        self.firsts.iter().map(|(minute, variant)| Ok((moment(*minute)?, VariantNumber(*variant)))).collect()
    }
}

/// Derives a campaign's look from every event counted so far that happened up to and with `until`; `kind` is what counts as success.
///
/// Holds one small state per recipient in memory, about 100 bytes each.
///
/// # Errors
/// When the ledger cannot be read.
pub fn take(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind, until: Timestamp) -> DbResult<Look> {
    let last = store::counted(conn, Counter::ProjectedSeq)?;
    let derived = derive(conn, campaign, last, Some(until))?;
    let is_watched = store::watch(conn, campaign)?.is_some();
    let mut look = Look::default();
    for ((_, part, variant, name), value) in derived.tallies {
        if part == Part::Test {
            look.tallies.entry(variant.0).or_default().insert(name, u64::try_from(value).unwrap_or_default());
        }
    }
    let mut firsts: Vec<(i64, Pseudonym, VariantNumber)> = derived
        .subjects
        .into_iter()
        .filter_map(|(pseudonym, placed)| Some((first_success(&placed, kind, is_watched)?, pseudonym, placed.variant)))
        .collect();
    // Within a millisecond by pseudonym, which is chance.
    firsts.sort_unstable_by_key(|(at, pseudonym, _)| (*at, *pseudonym.as_bytes()));
    look.firsts = firsts.into_iter().map(|(at, _, variant)| (at.div_euclid(MINUTE), variant.0)).collect();
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
