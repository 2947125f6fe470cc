//! Mailings planned and let go, in steps small enough that nobody else waits long for the database.
//!
//! Cast: [`claim_enrolment`] and [`plan`] (who plans, and the rows), [`release`] and [`release_rest`] (planned → queued),
//! [`choose_for_rest`], [`set_start`] (when the first may leave).

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::{SignedDuration, Timestamp};

use super::tally::Changes;
use super::{PLANNED_REST, PLANNED_TEST, literally, moment, read, variant};
use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::mailing::{Drawn, NewMailing, Planned};
use crate::delivery::schema::{enrolment, mailing, schedule};
use crate::ids::{CampaignNumber, VariantNumber};

/// Rows changed in one transaction at most.
const STEP: i64 = 5000;
/// How long a planner that says nothing keeps others away: it writes a step every second or so.
const PLANNING: SignedDuration = SignedDuration::from_mins(2);

#[derive(Insertable, Clone)]
#[diesel(table_name = mailing, treat_none_as_default_value = false)]
struct NewRow<'a> {
    id: String,
    campaign: i64,
    subscriber_id: String,
    pseudonym: String,
    part: &'static str,
    variant: Option<i32>,
    stratum: &'a str,
    provider: &'a str,
    recording: &'static str,
    state: &'static str,
    position: i64,
    due_at: i64,
    not_before: Option<i64>,
    reason: Option<&'static str>,
    finished_at: Option<i64>,
}

/// How far the planning of a campaign's mailings is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// Nobody has begun.
    NotBegun,
    /// Somebody else is at it.
    Elsewhere,
    /// Ours to do: nobody was at it, or whoever was has not been heard of.
    Ours,
    /// All are planned.
    Planned,
}

/// Takes the planning of a campaign for `owner`, or says who has it. With `begin` unset an enrolment that nobody began stays so.
pub fn claim_enrolment(conn: &mut VaultConn, campaign: CampaignNumber, owner: &str, now: Timestamp, begin: bool) -> DbResult<Enrolment> {
    let key = i64::from(campaign.0);
    let known: Option<(String, i64, Option<i64>)> = enrolment::table
        .find(key)
        .select((enrolment::owner, enrolment::owned_until, enrolment::planned_at))
        .first(conn.sql())
        .optional()?;
    match known {
        None if !begin => Ok(Enrolment::NotBegun),
        None => {
            let row = (enrolment::campaign.eq(key), enrolment::owner.eq(owner), enrolment::owned_until.eq(later(now)));
            let insert = diesel::insert_into(enrolment::table).values(row).on_conflict_do_nothing();
            let changed = match conn.sql() {
                AnyConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
                AnyConnection::Postgres(postgres) => insert.execute(postgres)?,
            };
            Ok(if changed > 0 { Enrolment::Ours } else { Enrolment::Elsewhere })
        }
        Some((_, _, Some(_))) => Ok(Enrolment::Planned),
        Some((holder, until, None)) if holder != owner && until > now.as_millisecond() => Ok(Enrolment::Elsewhere),
        Some((holder, until, None)) => {
            // As it was read: of two that find a dead planner one takes over.
            let same = enrolment::table.find(key).filter(enrolment::owner.eq(holder)).filter(enrolment::owned_until.eq(until));
            let set = (enrolment::owner.eq(owner), enrolment::owned_until.eq(later(now)));
            Ok(if diesel::update(same).set(set).execute(conn.sql())? > 0 { Enrolment::Ours } else { Enrolment::Elsewhere })
        }
    }
}

fn later(now: Timestamp) -> i64 {
    now.checked_add(PLANNING).unwrap_or(now).as_millisecond()
}

/// Keeps the planning of a campaign; answers whether it is still `owner`'s. Call in the transaction of each step.
pub fn keep_enrolment(conn: &mut VaultConn, campaign: CampaignNumber, owner: &str, now: Timestamp) -> DbResult<bool> {
    let ours = enrolment::table.find(i64::from(campaign.0)).filter(enrolment::owner.eq(owner)).filter(enrolment::planned_at.is_null());
    Ok(diesel::update(ours).set(enrolment::owned_until.eq(later(now))).execute(conn.sql())? > 0)
}

/// Notes that all mailings are planned; answers whether the planning was still `owner`'s.
pub fn end_enrolment(conn: &mut VaultConn, campaign: CampaignNumber, owner: &str, now: Timestamp) -> DbResult<bool> {
    let ours = enrolment::table.find(i64::from(campaign.0)).filter(enrolment::owner.eq(owner)).filter(enrolment::planned_at.is_null());
    Ok(diesel::update(ours).set(enrolment::planned_at.eq(now.as_millisecond())).execute(conn.sql())? > 0)
}

/// Gives the planning up, so that it may be begun anew.
pub fn drop_enrolment(conn: &mut VaultConn, campaign: CampaignNumber, owner: &str) -> DbResult<()> {
    let ours = enrolment::table.find(i64::from(campaign.0)).filter(enrolment::owner.eq(owner)).filter(enrolment::planned_at.is_null());
    diesel::delete(ours).execute(conn.sql())?;
    Ok(())
}

/// Plans mailings. Nothing is sent before [`release`].
pub fn plan(conn: &mut VaultConn, mailings: &[NewMailing<'_>]) -> DbResult<()> {
    let rows: Vec<NewRow<'_>> = mailings.iter().map(row).collect();
    let mut kinds: BTreeMap<(i64, &str, &str, &str), i64> = BTreeMap::new();
    for row in &rows {
        *kinds.entry((row.campaign, row.part, row.state, row.reason.unwrap_or_default())).or_default() += 1;
    }
    let mut changes = Changes::default();
    for ((campaign, part, state, reason), count) in kinds {
        changes.add(campaign, part, "enrolled", "", count);
        changes.add(campaign, part, state, reason, count);
    }
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for row in &rows {
                diesel::insert_into(mailing::table).values(row).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            diesel::copy_from(mailing::table).from_insertable(&rows).execute(postgres)?;
        }
    }
    changes.write(conn)
}

fn row<'a>(new: &NewMailing<'a>) -> NewRow<'a> {
    NewRow {
        id: new.id.to_string(),
        campaign: i64::from(new.campaign.0),
        subscriber_id: new.subscriber.to_string(),
        pseudonym: new.pseudonym.to_string(),
        part: match (new.variant, new.held_out) {
            (Some(_), _) => "test",
            (None, false) => "rest",
            (None, true) => "holdout",
        },
        variant: new.variant.map(|variant| i32::from(variant.0)),
        stratum: new.stratum,
        provider: new.provider,
        recording: new.recording.as_str(),
        state: if new.held_out { "skipped" } else { "planned" },
        reason: new.held_out.then_some("held out"),
        position: i64::try_from(new.position).unwrap_or(i64::MAX),
        due_at: 0,
        not_before: new.not_before.map(Timestamp::as_millisecond),
        finished_at: None,
    }
}

/// Throws a step of a half-made plan away, so that it can be made again; answers how many. What was released stays.
pub fn unplan(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<usize> {
    let key = i64::from(campaign.0);
    let rows: Vec<(String, String, String, Option<String>)> = mailing::table
        .filter(mailing::campaign.eq(key))
        .filter(mailing::state.eq("planned").or(mailing::part.eq("holdout")))
        .limit(STEP)
        .select((mailing::id, mailing::part, mailing::state, mailing::reason))
        .load(conn.sql())?;
    let mut changes = Changes::default();
    let mut ids = Vec::with_capacity(rows.len());
    for (id, part, state, reason) in rows {
        changes.add(key, &part, "enrolled", "", -1);
        changes.add(key, &part, &state, reason.as_deref().unwrap_or_default(), -1);
        ids.push(id);
    }
    let deleted = diesel::delete(mailing::table.filter(mailing::id.eq_any(&ids))).execute(conn.sql())?;
    changes.write(conn)?;
    Ok(deleted)
}

/// Up to `limit` mailings of the test after `after` in the sending order, whatever their state.
pub fn planned_test(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    planned(conn, campaign, "test", after, limit)
}

/// The same for the rest, once their variant is chosen.
pub fn planned_rest(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    planned(conn, campaign, "rest", after, limit)
}

/// The same for the held out; they have no variant, and the control's number stands for that.
pub fn planned_holdout(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    planned(conn, campaign, "holdout", after, limit)
}

fn planned(conn: &mut VaultConn, campaign: CampaignNumber, part: &str, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    let rows: Vec<(i64, String, Option<i32>, String, String)> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(mailing::part.eq(part))
        .filter(mailing::position.gt(after))
        .order(mailing::position)
        .limit(limit)
        .select((mailing::position, mailing::pseudonym, mailing::variant, mailing::stratum, mailing::recording))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(position, pseudonym, number, stratum, recording)| {
            Ok(Planned {
                position: position.unsigned_abs(),
                pseudonym: read("a pseudonym", &pseudonym)?,
                variant: if part == "holdout" { VariantNumber::CONTROL } else { variant(number)? },
                stratum,
                recording: read("a recording mode", &recording)?,
            })
        })
        .collect()
}

/// Everybody of a campaign as drawn, in the sending order, after a place.
pub fn drawn(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Drawn>> {
    let rows: Vec<(i64, String, Option<i32>, String, String)> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(mailing::position.gt(after))
        .order(mailing::position)
        .limit(limit)
        .select((mailing::position, mailing::pseudonym, mailing::variant, mailing::part, mailing::stratum))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(position, pseudonym, number, part, stratum)| {
            Ok(Drawn {
                position: position.unsigned_abs(),
                pseudonym: read("a pseudonym", &pseudonym)?,
                // The rest get theirs by choice, not by the draw.
                variant: if part == "test" { Some(variant(number)?) } else { None },
                held_out: part == "holdout",
                stratum,
            })
        })
        .collect()
}

/// Lets the next step of the test's planned mailings go, in sending order; answers how many, 0 when none is left. Saying it once more
/// changes nothing.
pub fn release(conn: &mut VaultConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<usize> {
    let first: Option<i64> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(PLANNED_TEST))
        .select(diesel::dsl::min(mailing::position))
        .first(conn.sql())?;
    let Some(first) = first else { return Ok(0) };
    release_from(conn, campaign, ("test", PLANNED_TEST), first, now)
}

/// Lets the next step of the rest go, once their variant is chosen.
pub fn release_rest(conn: &mut VaultConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<usize> {
    let first: Option<i64> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(PLANNED_REST))
        .filter(mailing::variant.is_not_null())
        .select(diesel::dsl::min(mailing::position))
        .first(conn.sql())?;
    let Some(first) = first else { return Ok(0) };
    release_from(conn, campaign, ("rest", PLANNED_REST), first, now)
}

/// Positions are given without gaps, so a step of them is a step of rows.
fn release_from(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    (part, condition): (&str, &'static str),
    first: i64,
    now: Timestamp,
) -> DbResult<usize> {
    let (key, now) = (i64::from(campaign.0), now.as_millisecond());
    let step = || {
        mailing::table
            .filter(mailing::campaign.eq(key))
            .filter(literally(condition))
            .filter(mailing::variant.is_not_null())
            .filter(mailing::position.ge(first))
            .filter(mailing::position.lt(first.saturating_add(STEP)))
    };
    let later = diesel::update(step().filter(mailing::not_before.gt(now)))
        .set((mailing::state.eq("queued"), mailing::due_at.eq(mailing::not_before.assume_not_null())))
        .execute(conn.sql())?;
    let at_once = diesel::update(step()).set((mailing::state.eq("queued"), mailing::due_at.eq(now))).execute(conn.sql())?;
    let released = later + at_once;
    let mut changes = Changes::default();
    changes.add(key, part, "planned", "", -i64::try_from(released).unwrap_or_default());
    changes.write(conn)?;
    Ok(released)
}

/// Gives a step of the rest their variant, and the moment they are to get it, if there is one; they stay planned. Answers how many, 0 when
/// all have it.
pub fn choose_for_rest(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    variant: VariantNumber,
    not_before: Option<Timestamp>,
) -> DbResult<usize> {
    let open = || {
        mailing::table
            .filter(mailing::campaign.eq(i64::from(campaign.0)))
            .filter(literally(PLANNED_REST))
            .filter(mailing::variant.is_null())
    };
    let first: Option<i64> = open().select(diesel::dsl::min(mailing::position)).first(conn.sql())?;
    let Some(first) = first else { return Ok(0) };
    let step = open().filter(mailing::position.ge(first)).filter(mailing::position.lt(first.saturating_add(STEP)));
    let set = (mailing::variant.eq(i32::from(variant.0)), mailing::not_before.eq(not_before.map(Timestamp::as_millisecond)));
    Ok(diesel::update(step).set(set).execute(conn.sql())?)
}

/// Whether mailings of the test still wait to be let go.
pub fn test_is_planned(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<bool> {
    let planned = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(literally(PLANNED_TEST));
    Ok(diesel::select(diesel::dsl::exists(planned)).get_result(conn.sql())?)
}

/// Whether mailings of the rest still wait for the test's choice to be carried out.
pub fn rest_is_planned(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<bool> {
    let planned = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(literally(PLANNED_REST));
    Ok(diesel::select(diesel::dsl::exists(planned)).get_result(conn.sql())?)
}

/// Says when the first letter of a campaign may leave; none for at once.
pub fn set_start(conn: &mut VaultConn, campaign: CampaignNumber, start: Option<Timestamp>) -> DbResult<()> {
    diesel::delete(schedule::table.find(i64::from(campaign.0))).execute(conn.sql())?;
    if let Some(start) = start {
        diesel::insert_into(schedule::table)
            .values((schedule::campaign.eq(i64::from(campaign.0)), schedule::start_at.eq(start.as_millisecond())))
            .execute(conn.sql())?;
    }
    Ok(())
}

/// When the first letter of a campaign may leave, if that was said.
pub fn start(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<Option<Timestamp>> {
    let start: Option<i64> = schedule::table.find(i64::from(campaign.0)).select(schedule::start_at).first(conn.sql()).optional()?;
    start.map(moment).transpose()
}
