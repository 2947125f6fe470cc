//! Ends already written as attempts, brought to where they are looked for: mailings, outcomes, counts, the pace.
//!
//! Cast: [`fold`] (what one owner's letters came to), [`settle`] (the same, and its lease is over).
//!
//! It takes nothing from memory: whoever takes over the lease of a process that is gone finds the same rows and does the same. An attempt
//! with a higher number than its mailing counts is such an end, and only the holder of a lease can have written it.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use jiff::Timestamp;

use super::outcome::insert_outcome;
use super::tally::Changes;
use super::{campaign_number, moment, read};
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::mailing::{HARD, OutcomeKind};
use crate::delivery::schema::{lease, mailing};
use crate::ids::{EventId, MailingId, Mint};
use crate::vault::people::Suppression;
use crate::vault::store as people;

/// In one order, and before anything that waits for it: of two that change the same letters one waits, and never in a circle.
const LOCK: &str = "SELECT id FROM mailing WHERE state = 'leased' AND lease_owner = ? ORDER BY id FOR NO KEY UPDATE";

const COUNT: &str = "SELECT m.campaign, m.part, a.verdict, COALESCE(a.reason, ''), a.relay, a.at / 60000, COUNT(*) \
     FROM mailing m JOIN attempt a ON a.mailing_id = m.id AND a.number = m.attempts + 1 \
     WHERE m.state = 'leased' AND m.lease_owner = ? \
     GROUP BY m.campaign, m.part, a.verdict, COALESCE(a.reason, ''), a.relay, a.at / 60000";

const REFUSED: &str = "SELECT m.subscriber_id, a.at, a.reason \
     FROM mailing m JOIN attempt a ON a.mailing_id = m.id AND a.number = m.attempts + 1 \
     WHERE m.state = 'leased' AND m.lease_owner = ? AND a.verdict = 'refused' AND a.reason IS NOT NULL ORDER BY m.subscriber_id";

const TELL: &str = "INSERT INTO outcome (id, campaign, pseudonym, kind, reason, recording, at) \
     SELECT a.id, m.campaign, m.pseudonym, CASE a.verdict WHEN 'accepted' THEN 'sent' WHEN 'unknown' THEN 'uncertain' ELSE a.verdict END, \
     COALESCE(a.reason, ''), CASE WHEN a.recording <> m.recording THEN a.recording END, a.at \
     FROM mailing m JOIN attempt a ON a.mailing_id = m.id AND a.number = m.attempts + 1 \
     WHERE m.state = 'leased' AND m.lease_owner = ? AND a.verdict <> 'deferred'";

const WRITE: &str = "UPDATE mailing SET state = CASE a.verdict WHEN 'deferred' THEN 'queued' ELSE a.verdict END, reason = a.reason, \
     attempts = a.number, first_attempt_at = COALESCE(mailing.first_attempt_at, a.at), due_at = COALESCE(a.due_at, a.at), \
     finished_at = CASE a.verdict WHEN 'deferred' THEN NULL ELSE a.at END, lease_owner = NULL \
     FROM attempt AS a WHERE a.mailing_id = mailing.id AND a.number = mailing.attempts + 1 AND mailing.state = 'leased' \
     AND mailing.lease_owner = ?";

const FREE: &str = "UPDATE mailing SET state = 'queued', lease_owner = NULL WHERE state = 'leased' AND lease_owner = ?";
const FREE_BUT_ONE: &str = "UPDATE mailing SET state = 'queued', lease_owner = NULL WHERE state = 'leased' AND lease_owner = ? AND id <> ?";

const ADD_PACE: &str = "INSERT INTO pace (relay, campaign, minute, accepted) VALUES (?, ?, ?, ?) \
     ON CONFLICT (relay, campaign, minute) DO UPDATE SET accepted = pace.accepted + excluded.accepted";

/// Campaign, part, verdict, reason, relay, minute, how many.
type Kind = (i64, String, String, String, String, i64, i64);
type KindTypes = (BigInt, Text, Text, Text, Text, BigInt, BigInt);

/// Writes what the letters of `owner` came to, as far as their ends are there. The counts go into `changes`.
pub(super) fn fold(conn: &mut VaultConn, owner: &str, changes: &mut Changes) -> DbResult<()> {
    let of_owner = || [Value::Text(owner)];
    let count = Fixed::<KindTypes>::new(COUNT, of_owner());
    let kinds: Vec<Kind> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => count.load(sqlite)?,
        AnyConnection::Postgres(postgres) => {
            Fixed::<Text>::new(LOCK, of_owner()).load::<String>(postgres)?;
            count.load(postgres)?
        }
    };
    if kinds.is_empty() {
        return Ok(());
    }
    if kinds.iter().any(|(_, _, verdict, reason, ..)| verdict == "refused" && is_hard(reason)) {
        suppress_the_refused(conn, owner)?;
    }
    Fixed::new(TELL, of_owner()).run(conn)?;
    Fixed::new(WRITE, of_owner()).run(conn)?;
    for (campaign, part, verdict, reason, relay, minute, count) in kinds {
        if verdict == "deferred" {
            continue;
        }
        if verdict == "accepted" {
            changes.add_pace(&relay, campaign, minute, count);
        }
        changes.add(campaign, &part, &verdict, &reason, count);
    }
    Ok(())
}

fn is_hard(reason: &str) -> bool {
    reason.split(' ').next() == Some(HARD)
}

/// With the mailing itself: were it later, the letter would be skipped for its own refusal.
fn suppress_the_refused(conn: &mut VaultConn, owner: &str) -> DbResult<()> {
    let refused = Fixed::<(Text, BigInt, Text)>::new(REFUSED, [Value::Text(owner)]);
    let refused: Vec<(String, i64, String)> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => refused.load(sqlite)?,
        AnyConnection::Postgres(postgres) => refused.load(postgres)?,
    };
    for (subscriber, at, _) in refused.iter().filter(|(_, _, reason)| is_hard(reason)) {
        people::suppress(conn, read("a subscriber id", subscriber)?, Suppression::HardBounce, moment(*at)?)?;
    }
    Ok(())
}

pub(super) fn add_pace(conn: &mut VaultConn, relay: &str, campaign: i64, minute: i64, count: i64) -> DbResult<()> {
    let values = [Value::Text(relay), Value::Number(campaign), Value::Number(minute), Value::Number(count)];
    Fixed::new(ADD_PACE, values).run(conn)?;
    Ok(())
}

/// Puts back what `owner` holds, but the letter that may have left. Answers how many.
pub(super) fn free(conn: &mut VaultConn, owner: &str, but: Option<&str>) -> DbResult<usize> {
    match but {
        Some(at_dot) => Fixed::new(FREE_BUT_ONE, [Value::Text(owner), Value::Text(at_dot)]).run(conn),
        None => Fixed::new(FREE, [Value::Text(owner)]).run(conn),
    }
}

/// Ends the lease of `owner`, whose row is locked or cannot be changed by others: what came to an end is written, the letter whose last
/// dot may have been sent and of which nothing else is known is unknown, the rest is queued again. Answers how many of the latter two,
/// the unknown last.
pub(super) fn settle(conn: &mut VaultConn, owner: &str, now: Timestamp, mint: Mint, changes: &mut Changes) -> DbResult<(usize, usize)> {
    let at_dot: Option<Option<String>> = lease::table.find(owner).select(lease::at_dot).get_result(conn.sql()).optional()?;
    fold(conn, owner, changes)?;
    let mut unknown = 0;
    if let Some(id) = at_dot.flatten() {
        unknown = lose(conn, owner, &id, now, mint, changes)?;
    }
    let freed = free(conn, owner, None)?;
    diesel::delete(lease::table.find(owner)).execute(conn.sql())?;
    Ok((freed, unknown))
}

/// Nobody knows what became of it, and nobody ever will.
fn lose(conn: &mut VaultConn, owner: &str, id: &str, now: Timestamp, mint: Mint, changes: &mut Changes) -> DbResult<usize> {
    let held = || mailing::table.find(id).filter(mailing::state.eq("leased")).filter(mailing::lease_owner.eq(owner));
    let found: Option<(i64, String, String)> =
        held().select((mailing::campaign, mailing::pseudonym, mailing::part)).first(conn.sql()).optional()?;
    let Some((campaign, pseudonym, part)) = found else { return Ok(0) };
    let at = now.as_millisecond();
    diesel::update(held())
        .set((mailing::state.eq("unknown"), mailing::finished_at.eq(at), mailing::lease_owner.eq(None::<String>)))
        .execute(conn.sql())?;
    changes.add(campaign, &part, "unknown", "", 1);
    let event = EventId::from_bytes(mint());
    let pseudonym = read("a pseudonym", &pseudonym)?;
    insert_outcome(conn, campaign_number(campaign)?, pseudonym, OutcomeKind::Uncertain, "", None, at, event)?;
    Ok(1)
}

const GIVE_BACK: &str = "UPDATE mailing SET state = 'queued', lease_owner = NULL WHERE id = ? AND state = 'leased' AND lease_owner = ?";

/// Gives mailings of `owner` back whose last dot was *not* sent although it may have been marked: only their holder can know that.
pub(super) fn give_back(conn: &mut VaultConn, ids: &[MailingId], owner: &str) -> DbResult<()> {
    for id in ids {
        let id = id.to_string();
        Fixed::new(GIVE_BACK, [Value::Text(&id), Value::Text(owner)]).run(conn)?;
    }
    Ok(())
}
