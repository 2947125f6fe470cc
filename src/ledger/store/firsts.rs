//! The only SQL of first successes: who opened or clicked for the first time, in the order of time, some at once.
//!
//! Cast: [`First`], [`Who`], [`first_successes`], [`late_successes`].
//!
//! It reads the index of first successes alone, so that those without one cost nothing.

use diesel::prelude::*;
use jiff::Timestamp;

use super::{measured_modes, read, variant};
use crate::db::{DbResult, LedgerConn};
use crate::ids::{CampaignNumber, Pseudonym, VariantNumber};
use crate::ledger::event::EventKind;
use crate::ledger::schema::subject;
use crate::ledger::subject::{Part, State};

/// A recipient's first open or click in the standard counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// Who; within a millisecond this, which is chance, is the order.
    pub pseudonym: Pseudonym,
    /// The arm.
    pub variant: VariantNumber,
    /// Whether it counts: of those delivered and measured, or at risk.
    pub counts: bool,
}

/// Whose first successes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Those measured and delivered by now.
    Delivered,
    /// Those at risk since the observation of an anytime-valid test began, whatever became of their letters later.
    AtRisk,
}

type Row = (Option<i64>, String, i32, String, i32, bool);

/// Up to `limit` first successes of recipients of the test, those that do not count included, in the order of time: from a moment on, without
/// those of that very moment up to and with a pseudonym, where one is given; up to and with `until`. `kind` is an open or a click; for others there
/// is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn first_successes(
    conn: &mut LedgerConn,
    (campaign, kind, who): (CampaignNumber, EventKind, Who),
    from: (i64, Option<Pseudonym>),
    until: i64,
    limit: i64,
) -> DbResult<Vec<First>> {
    let (at, after) = (from.0, from.1.map(|pseudonym| pseudonym.to_string()).unwrap_or_default());
    let of_test = subject::table.filter(subject::campaign.eq(i64::from(campaign.0))).filter(subject::part.eq(Part::Test.as_str()));
    let rows: Vec<Row> = match kind {
        EventKind::Open => of_test
            .filter(subject::first_open_at.ge(at))
            .filter(subject::first_open_at.gt(at).or(subject::pseudonym.gt(after)))
            .filter(subject::first_open_at.le(until))
            .order((subject::first_open_at, subject::pseudonym))
            .limit(limit)
            .select((
                subject::first_open_at,
                subject::pseudonym,
                subject::variant,
                subject::recording,
                subject::delivery_flags,
                subject::at_risk,
            ))
            .load(conn.sql())?,
        EventKind::Click => of_test
            .filter(subject::first_click_at.ge(at))
            .filter(subject::first_click_at.gt(at).or(subject::pseudonym.gt(after)))
            .filter(subject::first_click_at.le(until))
            .order((subject::first_click_at, subject::pseudonym))
            .limit(limit)
            .select((
                subject::first_click_at,
                subject::pseudonym,
                subject::variant,
                subject::recording,
                subject::delivery_flags,
                subject::at_risk,
            ))
            .load(conn.sql())?,
        _ => Vec::new(),
    };
    rows.into_iter().filter_map(|row| first_of(row, who).transpose()).collect()
}

fn first_of((at, pseudonym, number, recording, flags, at_risk): Row, who: Who) -> DbResult<Option<First>> {
    let Some(at) = at else { return Ok(None) };
    let delivered = || measured_modes().contains(&recording.as_str()) && State { delivery: flags, ..State::default() }.is_delivered();
    let counts = match who {
        Who::AtRisk => at_risk,
        Who::Delivered => delivered(),
    };
    Ok(Some(First { at, pseudonym: read("a pseudonym", &pseudonym)?, variant: variant(number)?, counts }))
}

/// How many measured recipients of the test, delivered, opened or clicked for the first time after `after`. `kind` is an open or a click;
/// for others there is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn late_successes(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind, after: Timestamp) -> DbResult<u64> {
    let query = subject::table
        .filter(subject::campaign.eq(i64::from(campaign.0)))
        .filter(subject::part.eq(Part::Test.as_str()))
        .filter(subject::recording.eq_any(measured_modes()));
    let after = after.as_millisecond();
    let columns = (subject::delivery_flags, diesel::dsl::count_star());
    let rows: Vec<(i32, i64)> = match kind {
        EventKind::Open => {
            query.filter(subject::first_open_at.gt(after)).group_by(subject::delivery_flags).select(columns).load(conn.sql())?
        }
        EventKind::Click => {
            query.filter(subject::first_click_at.gt(after)).group_by(subject::delivery_flags).select(columns).load(conn.sql())?
        }
        _ => Vec::new(),
    };
    let delivered = |flags: i32| State { delivery: flags, ..State::default() }.is_delivered();
    Ok(rows.into_iter().filter(|(flags, _)| delivered(*flags)).map(|(_, count)| count.unsigned_abs()).sum())
}
