//! The only SQL of anytime-valid tests: who is at risk, and the first crossing of the bound.
//!
//! Everything here is written once and never changed: of two that try, one does it and the other is told.

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::Timestamp;

use super::{Counter, count, measured_modes};
use crate::db::{DbError, DbResult, LedgerConn};
use crate::ids::CampaignNumber;
use crate::ledger::schema::{subject, watch};
use crate::ledger::subject::{Part, State};
use crate::ledger::watch::{Crossing, Watch};

/// Fixes who is at risk: every measured recipient of the test whose letter is delivered by now. Answers whether this call did it. Call
/// inside a transaction.
pub fn begin_watch(conn: &mut LedgerConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<bool> {
    // Adding nothing makes other folders of events and other beginners wait.
    let seq = count(conn, Counter::ProjectedSeq, 0)?;
    if self::watch(conn, campaign)?.is_some() {
        return Ok(false);
    }
    let of_campaign = subject::campaign.eq(i64::from(campaign.0));
    let flags: Vec<i32> = subject::table.filter(of_campaign).select(subject::delivery_flags).distinct().load(conn.sql())?;
    let delivered: Vec<i32> = flags.into_iter().filter(|flags| State { delivery: *flags, ..State::default() }.is_delivered()).collect();
    let measured = subject::table
        .filter(of_campaign)
        .filter(subject::part.eq(Part::Test.as_str()))
        .filter(subject::recording.eq_any(measured_modes()))
        .filter(subject::delivery_flags.eq_any(delivered));
    diesel::update(measured).set(subject::at_risk.eq(true)).execute(conn.sql())?;
    let rows: Vec<(i32, i64)> = subject::table
        .filter(of_campaign)
        .filter(subject::at_risk)
        .group_by(subject::variant)
        .select((subject::variant, diesel::dsl::count_star()))
        .load(conn.sql())?;
    let at_risk: BTreeMap<u8, u64> = rows
        .into_iter()
        .map(|(variant, count)| Ok((u8::try_from(variant).map_err(|_| DbError::unreadable("a variant", variant))?, count.unsigned_abs())))
        .collect::<DbResult<_>>()?;
    diesel::insert_into(watch::table)
        .values((
            watch::campaign.eq(i64::from(campaign.0)),
            watch::since.eq(now.as_millisecond()),
            watch::seq.eq(seq),
            watch::at_risk.eq(json(&at_risk)?),
        ))
        .execute(conn.sql())?;
    Ok(true)
}

fn json(value: &impl serde::Serialize) -> DbResult<String> {
    serde_json::to_string(value).map_err(|error| DbError::unreadable("a watched test", error))
}

type Row = (i64, i64, String, Option<String>, Option<i64>, Option<i64>);

/// A campaign's watch; none before its observation began, and for tests looked at once.
///
/// # Errors
/// When the ledger cannot be read.
pub fn watch(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Option<Watch>> {
    let row: Option<Row> = watch::table
        .find(i64::from(campaign.0))
        .select((watch::since, watch::seq, watch::at_risk, watch::crossing, watch::found_at, watch::settled_at))
        .first(conn.sql())
        .optional()?;
    let moment = |milliseconds: i64| Timestamp::from_millisecond(milliseconds).map_err(|_| DbError::unreadable("a moment", milliseconds));
    row.map(|(since, seq, at_risk, crossing, found_at, settled_at)| {
        let crossing: Option<Crossing> = crossing.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?;
        Ok(Watch {
            since: moment(since)?,
            seq,
            at_risk: serde_json::from_str(&at_risk).map_err(unreadable)?,
            crossing,
            found_at: found_at.map(moment).transpose()?,
            settled_at: settled_at.map(moment).transpose()?,
        })
    })
    .transpose()
}

fn unreadable(error: serde_json::Error) -> DbError {
    DbError::unreadable("a watched test", error)
}

/// Writes the first crossing down; answers whether there was none before.
///
/// # Errors
/// When the ledger cannot be written.
pub fn save_crossing(conn: &mut LedgerConn, campaign: CampaignNumber, crossing: &Crossing, now: Timestamp) -> DbResult<bool> {
    let open = watch::table.find(i64::from(campaign.0)).filter(watch::crossing.is_null());
    let set = (watch::crossing.eq(json(crossing)?), watch::found_at.eq(now.as_millisecond()));
    Ok(diesel::update(open).set(set).execute(conn.sql())? > 0)
}

/// Writes down that every check let the crossing pass; answers whether that was not known before.
///
/// # Errors
/// When the ledger cannot be written.
pub fn settle(conn: &mut LedgerConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<bool> {
    let open = watch::table.find(i64::from(campaign.0)).filter(watch::crossing.is_not_null()).filter(watch::settled_at.is_null());
    Ok(diesel::update(open).set(watch::settled_at.eq(now.as_millisecond())).execute(conn.sql())? > 0)
}
