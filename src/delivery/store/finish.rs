//! What became of attempts, written with the try itself, the outcome for the ledger, the counts and the pace.

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::Timestamp;

use super::outcome::insert_outcome;
use super::tally::Changes;
use super::{PLANNED_REST, PLANNED_TEST, QUEUED, literally, read};
use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::mailing::{Attempt, Finished, HARD, OutcomeKind, Verdict};
use crate::delivery::schema::{attempt, mailing, pace, relay_day};
use crate::ids::{CampaignNumber, EventId, Mint};
use crate::vault::people::Suppression;
use crate::vault::store as people;

/// Milliseconds of a minute, the grain of [`pace`](accepted_since).
const MINUTE: i64 = 60_000;

/// Writes what became of attempts, and the outcomes the ledger is to learn of. Only the holder's word counts.
pub fn finish(conn: &mut VaultConn, finished: &[Finished], owner: &str) -> DbResult<()> {
    let mut changes = Changes::default();
    let mut accepted: BTreeMap<(String, i64, i64), i64> = BTreeMap::new();
    for end in finished {
        let (state, due, reason, kind) = match &end.verdict {
            Verdict::Accepted => ("accepted", None, None, Some(OutcomeKind::Sent)),
            Verdict::Deferred { until, reason } => ("queued", Some(until.as_millisecond()), Some(reason), None),
            Verdict::Refused { reason } => ("refused", None, Some(reason), Some(OutcomeKind::Refused)),
            Verdict::Failed { reason } => ("failed", None, Some(reason), Some(OutcomeKind::Failed)),
            Verdict::Skipped { reason } => ("skipped", None, Some(reason), Some(OutcomeKind::Skipped)),
            Verdict::Unknown => ("unknown", None, None, Some(OutcomeKind::Uncertain)),
            Verdict::Postponed { until } => {
                postpone(conn, end, *until, owner)?;
                continue;
            }
        };
        let at = end.at.as_millisecond();
        let held = mailing::table
            .find(end.mailing.id.to_string())
            .filter(mailing::lease_owner.eq(owner))
            // Not `eq_any`, which is never kept prepared: this one is asked for every letter.
            .filter(mailing::state.eq("leased").or(mailing::state.eq("committing")));
        let changed = diesel::update(held)
            .set((
                mailing::state.eq(state),
                mailing::due_at.eq(due.unwrap_or(at)),
                mailing::reason.eq(reason),
                mailing::attempts.eq(mailing::attempts + 1),
                mailing::first_attempt_at.eq(end.mailing.first_attempt_at.map_or(at, Timestamp::as_millisecond)),
                mailing::finished_at.eq(kind.map(|_| at)),
                mailing::lease_owner.eq(None::<String>),
                mailing::lease_until.eq(None::<i64>),
            ))
            .execute(conn.sql())?;
        if changed == 0 {
            continue;
        }
        if let Verdict::Refused { reason } = &end.verdict
            && reason.split(' ').next() == Some(HARD)
        {
            // With the end itself: after a crash between the two the letter would be skipped for its own refusal.
            people::suppress(conn, end.mailing.subscriber, Suppression::HardBounce, end.at)?;
        }
        let campaign = i64::from(end.mailing.campaign.0);
        if let Some(tried) = &end.attempt {
            insert_attempt(conn, end, tried, if state == "queued" { "deferred" } else { state })?;
            if end.verdict == Verdict::Accepted {
                *accepted.entry((tried.relay.clone(), campaign, at / MINUTE)).or_default() += 1;
            }
        }
        if let Some(kind) = kind {
            let words = reason.map_or("", String::as_str);
            changes.add(campaign, if end.mailing.is_rest { "rest" } else { "test" }, state, words, 1);
            insert_outcome(
                conn,
                &end.mailing.id,
                end.mailing.campaign,
                end.mailing.pseudonym,
                kind,
                words,
                matches!(kind, OutcomeKind::Sent | OutcomeKind::Uncertain).then_some(end.mailing.recording),
                at,
                end.event,
            )?;
        }
    }
    for (key, count) in accepted {
        count_accepted(conn, key, count)?;
    }
    changes.write(conn)
}

/// Not tried: the letter keeps its attempts and its first one's moment.
fn postpone(conn: &mut VaultConn, end: &Finished, until: Timestamp, owner: &str) -> DbResult<()> {
    let held = mailing::table.find(end.mailing.id.to_string()).filter(mailing::lease_owner.eq(owner)).filter(mailing::state.eq("leased"));
    diesel::update(held)
        .set((
            mailing::state.eq("queued"),
            mailing::due_at.eq(until.as_millisecond()),
            mailing::lease_owner.eq(None::<String>),
            mailing::lease_until.eq(None::<i64>),
        ))
        .execute(conn.sql())?;
    Ok(())
}

fn insert_attempt(conn: &mut VaultConn, end: &Finished, tried: &Attempt, verdict: &str) -> DbResult<()> {
    diesel::insert_into(attempt::table)
        .values((
            // The same id as the outcome's: both are of this one end.
            attempt::id.eq(end.event.to_string()),
            attempt::mailing_id.eq(end.mailing.id.to_string()),
            attempt::at.eq(end.at.as_millisecond()),
            attempt::relay.eq(&tried.relay),
            attempt::stage.eq(&tried.stage),
            attempt::verdict.eq(verdict),
            attempt::code.eq(tried.code.map(i32::from)),
            attempt::enhanced.eq(&tried.enhanced),
            attempt::text.eq(&tried.text),
        ))
        .execute(conn.sql())?;
    Ok(())
}

fn count_accepted(conn: &mut VaultConn, (relay, campaign, minute): (String, i64, i64), count: i64) -> DbResult<()> {
    let row = (pace::relay.eq(relay), pace::campaign.eq(campaign), pace::minute.eq(minute), pace::accepted.eq(count));
    let insert = diesel::insert_into(pace::table).values(row);
    let key = (pace::relay, pace::campaign, pace::minute);
    let more = pace::accepted.eq(pace::accepted + count);
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => insert.on_conflict(key).do_update().set(more).execute(sqlite)?,
        AnyConnection::Postgres(postgres) => insert.on_conflict(key).do_update().set(more).execute(postgres)?,
    };
    Ok(())
}

/// Letters of a campaign accepted since a moment, to the minute, by any relay.
pub fn accepted_since(conn: &mut VaultConn, campaign: CampaignNumber, since: Timestamp) -> DbResult<u64> {
    let counts: Vec<i64> = pace::table
        .filter(pace::campaign.eq(i64::from(campaign.0)))
        .filter(pace::minute.ge(since.as_millisecond() / MINUTE))
        .select(pace::accepted)
        .load(conn.sql())?;
    Ok(counts.into_iter().sum::<i64>().unsigned_abs())
}

/// Sets aside up to `wanted` of the `most` letters a relay may be given on a day (days since 1970); answers how many.
pub fn reserve_day(conn: &mut VaultConn, relay: &str, day: i64, wanted: u32, most: u64) -> DbResult<u32> {
    let first = (relay_day::relay.eq(relay), relay_day::day.eq(day), relay_day::reserved.eq(0));
    let insert = diesel::insert_into(relay_day::table).values(first).on_conflict_do_nothing();
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
        AnyConnection::Postgres(postgres) => insert.execute(postgres)?,
    };
    loop {
        let reserved: i64 = relay_day::table.find((relay, day)).select(relay_day::reserved).first(conn.sql())?;
        let left = most.saturating_sub(reserved.max(0).unsigned_abs());
        let granted = wanted.min(u32::try_from(left).unwrap_or(u32::MAX));
        // As it was read: another node may have been faster.
        let same = relay_day::table.find((relay, day)).filter(relay_day::reserved.eq(reserved));
        if granted == 0 || diesel::update(same).set(relay_day::reserved.eq(reserved + i64::from(granted))).execute(conn.sql())? > 0 {
            return Ok(granted);
        }
    }
}

/// Gives back what was set aside for letters that the relay did not take.
pub fn refund_day(conn: &mut VaultConn, relay: &str, day: i64, letters: u32) -> DbResult<()> {
    diesel::update(relay_day::table.find((relay, day)))
        .set(relay_day::reserved.eq(relay_day::reserved - i64::from(letters)))
        .execute(conn.sql())?;
    Ok(())
}

/// Forgets the pace and the days before a moment.
pub fn forget_pace(conn: &mut VaultConn, before: Timestamp) -> DbResult<usize> {
    diesel::delete(relay_day::table.filter(relay_day::day.lt(before.as_second() / 86_400))).execute(conn.sql())?;
    Ok(diesel::delete(pace::table.filter(pace::minute.lt(before.as_millisecond() / MINUTE))).execute(conn.sql())?)
}

/// What has not left yet and is in nobody's hands; apart, so that each is answered by an index.
const WAITING: [(&str, &str); 3] = [(PLANNED_TEST, "planned"), (PLANNED_REST, "planned"), (QUEUED, "queued")];

/// Up to `limit` mailings that will not be sent any more because the campaign ends: skipped, with their outcomes. Answers how many.
pub fn skip_waiting(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    reason: &str,
    now: Timestamp,
    mint: Mint,
    limit: i64,
) -> DbResult<usize> {
    let key = i64::from(campaign.0);
    let mut rows: Vec<(String, String, String, &str)> = Vec::new();
    for (condition, state) in WAITING {
        let found: Vec<(String, String, String)> = mailing::table
            .filter(mailing::campaign.eq(key))
            .filter(literally(condition))
            .limit(limit.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX)))
            .select((mailing::id, mailing::pseudonym, mailing::part))
            .load(conn.sql())?;
        rows.extend(found.into_iter().map(|(id, pseudonym, part)| (id, pseudonym, part, state)));
    }
    // In one order everywhere, so that two nodes at once wait for each other and never in a circle.
    rows.sort_unstable();
    let mut skipped = 0;
    let mut changes = Changes::default();
    for (id, pseudonym, part, state) in &rows {
        // The state is asked again: on PostgreSQL a worker of another node may have taken it in between, and it is the worker's then.
        let waiting = mailing::table.find(id).filter(mailing::state.eq(*state));
        let set = (mailing::state.eq("skipped"), mailing::reason.eq(reason), mailing::finished_at.eq(now.as_millisecond()));
        if diesel::update(waiting).set(set).execute(conn.sql())? == 0 {
            continue;
        }
        skipped += 1;
        changes.add(key, part, "skipped", reason, 1);
        if *state == "planned" {
            changes.add(key, part, "planned", "", -1);
        }
        let (id, pseudonym) = (read("a mailing id", id)?, read("a pseudonym", pseudonym)?);
        let event = EventId::from_bytes(mint());
        insert_outcome(conn, &id, campaign, pseudonym, OutcomeKind::Skipped, reason, None, now.as_millisecond(), event)?;
    }
    changes.write(conn)?;
    Ok(skipped)
}
