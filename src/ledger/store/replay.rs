//! The only SQL of replays that are kept: how far a campaign's anytime-valid test has been replayed, at several moments.
//!
//! Cast: [`reserve_replay`], [`save_replay`], [`replay`], [`kept_replays`], [`drop_replays`], [`forget_replays`] (first successes changed).
//!
//! A row is reserved before the first successes up to its moment are read, and filled when it is still there afterwards: what changes one of
//! them meanwhile removes the reservation, so that no replay is kept that lacks it. What is in it is for others to know.

use diesel::prelude::*;
use jiff::Timestamp;

use super::{Counter, count};
use crate::db::{DbError, DbResult, LedgerConn};
use crate::ids::CampaignNumber;
use crate::ledger::event::EventKind;
use crate::ledger::moved::Moved;
use crate::ledger::schema::replay;

/// A replay that is kept, or being made, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// First successes up to and with this moment are in it; milliseconds since 1970.
    pub until: i64,
    /// When it was begun.
    pub made_at: Timestamp,
    /// First successes in it.
    pub successes: u64,
    /// What it started from, as it was handed over.
    pub base: String,
    /// Whether it is still being made.
    pub is_reserved: bool,
}

fn key(campaign: CampaignNumber, kind: EventKind, until: i64) -> (i64, &'static str, i64) {
    (i64::from(campaign.0), kind.as_str(), until)
}

/// Reserves the place of a replay up to a moment; `false` when there is one. Call inside a transaction, and read the first successes after it.
///
/// # Errors
/// When the ledger cannot be written.
pub fn reserve_replay(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind, until: i64, now: Timestamp) -> DbResult<bool> {
    // Adding nothing waits for those who are folding: what they do is read, and whoever folds later finds the reservation.
    count(conn, Counter::ProjectedSeq, 0)?;
    let known = replay::table.find(key(campaign, kind, until));
    if diesel::select(diesel::dsl::exists(known)).get_result(conn.sql())? {
        return Ok(false);
    }
    diesel::insert_into(replay::table)
        .values((
            replay::campaign.eq(i64::from(campaign.0)),
            replay::kind.eq(kind.as_str()),
            replay::until.eq(until),
            replay::made_at.eq(now.as_millisecond()),
            replay::successes.eq(0),
            replay::base.eq(""),
        ))
        .execute(conn.sql())?;
    Ok(true)
}

/// Fills a reserved place; `false` when it is gone, because a first success before its moment changed meanwhile.
///
/// # Errors
/// When the ledger cannot be written.
pub fn save_replay(
    conn: &mut LedgerConn,
    (campaign, kind, until): (CampaignNumber, EventKind, i64),
    successes: u64,
    base: &str,
    state: &str,
) -> DbResult<bool> {
    let successes = i64::try_from(successes).map_err(|_| DbError::unreadable("a number of successes", successes))?;
    let reserved = replay::table.find(key(campaign, kind, until)).filter(replay::state.is_null());
    let set = (replay::successes.eq(successes), replay::base.eq(base), replay::state.eq(state));
    Ok(diesel::update(reserved).set(set).execute(conn.sql())? > 0)
}

/// The newest replay up to `until` at the latest: up to when, and what is in it.
///
/// # Errors
/// When the ledger cannot be read.
pub fn replay(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind, until: i64) -> DbResult<Option<(i64, String)>> {
    let row: Option<(i64, Option<String>)> = replay::table
        .filter(replay::campaign.eq(i64::from(campaign.0)))
        .filter(replay::kind.eq(kind.as_str()))
        .filter(replay::until.le(until))
        .filter(replay::state.is_not_null())
        .order(replay::until.desc())
        .select((replay::until, replay::state))
        .first(conn.sql())
        .optional()?;
    Ok(row.and_then(|(until, state)| Some((until, state?))))
}

/// Every replay of a campaign, the newest first.
///
/// # Errors
/// When the ledger cannot be read.
pub fn kept_replays(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind) -> DbResult<Vec<Kept>> {
    let rows: Vec<(i64, i64, i64, String, bool)> = replay::table
        .filter(replay::campaign.eq(i64::from(campaign.0)))
        .filter(replay::kind.eq(kind.as_str()))
        .order(replay::until.desc())
        .select((replay::until, replay::made_at, replay::successes, replay::base, replay::state.is_null()))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(until, made_at, successes, base, is_reserved)| {
            let made_at = Timestamp::from_millisecond(made_at).map_err(|_| DbError::unreadable("a moment", made_at))?;
            Ok(Kept { until, made_at, successes: successes.unsigned_abs(), base, is_reserved })
        })
        .collect()
}

/// Removes replays that are not needed any more.
///
/// # Errors
/// When the ledger cannot be written.
pub fn drop_replays(conn: &mut LedgerConn, campaign: CampaignNumber, kind: EventKind, untils: &[i64]) -> DbResult<()> {
    for until in untils {
        diesel::delete(replay::table.find(key(campaign, kind, *until))).execute(conn.sql())?;
    }
    Ok(())
}

/// Removes the replays that first successes have changed under. Call in the transaction that changes them, with the projection's cursor
/// locked.
///
/// # Errors
/// When the ledger cannot be written.
pub fn forget_replays(conn: &mut LedgerConn, moved: &Moved) -> DbResult<()> {
    for ((campaign, kind), places) in moved.places() {
        let of_kind = || replay::table.filter(replay::campaign.eq(i64::from(campaign.0))).filter(replay::kind.eq(kind.as_str()));
        if let Some(from) = places.from {
            diesel::delete(of_kind().filter(replay::until.ge(from))).execute(conn.sql())?;
        }
        if let Some((from, to)) = places.across {
            diesel::delete(of_kind().filter(replay::until.ge(from)).filter(replay::until.lt(to))).execute(conn.sql())?;
        }
    }
    Ok(())
}

pub(super) fn forget_all(conn: &mut LedgerConn) -> DbResult<()> {
    diesel::delete(replay::table).execute(conn.sql())?;
    Ok(())
}
