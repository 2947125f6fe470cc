//! Who holds which mailings: leases taken, kept, marked, revoked, taken back.
//!
//! A batch of mailings is held under one lease, a row of its own with an owner and an end; a mailing says under whose. What its holder
//! does before and after each letter asks that row, so that a pause, or somebody who takes over, is seen by the very next step.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use jiff::Timestamp;

use super::fold::{fold, free, settle};
use super::tally::Changes;
use super::{campaign_number, moment, read, variant};
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::mailing::Leased;
use crate::delivery::schema::{lease, mailing, sender};
use crate::ids::{CampaignNumber, MailingId, Mint};

/// Due, place, id, campaign, person, pseudonym, variant, part, provider, recording, attempts, first attempt: as it comes back from a take.
type LeasedRow = (i64, i64, String, i64, String, String, Option<i32>, String, String, String, i32, Option<i64>);
type LeasedTypes = (BigInt, BigInt, Text, BigInt, Text, Text, Nullable<Integer>, Text, Text, Text, Integer, Nullable<BigInt>);
/// When due, where in the order, which: in this order letters leave.
type Candidate = (i64, i64, String);

/// `+ 0`: SQLite prepares a statement anew whenever a value that is a limit by itself is bound.
const TAKE: &str = "UPDATE mailing SET state = 'leased', lease_owner = ? WHERE id IN \
     (SELECT id FROM mailing WHERE campaign = ? AND state = 'queued' AND due_at <= ? ORDER BY due_at, position LIMIT ? + 0) \
     RETURNING due_at, position, id, campaign, subscriber_id, pseudonym, variant, part, provider, recording, attempts, first_attempt_at";

/// What another node is taking at this moment is passed over instead of waited for. Not one statement with the update: prepared once for
/// any limit, that may be planned to read the whole table.
const DUE: &str = "SELECT due_at, position, id FROM mailing WHERE campaign = ? AND state = 'queued' AND due_at <= ? \
     ORDER BY due_at, position LIMIT ? FOR UPDATE SKIP LOCKED";

const DUE_OF_PROVIDER: &str = "SELECT due_at, position, id FROM mailing WHERE campaign = ? AND provider = ? AND state = 'queued' \
     AND due_at <= ? ORDER BY due_at, position LIMIT ? + 0";
const DUE_OF_PROVIDER_LOCKED: &str = "SELECT due_at, position, id FROM mailing WHERE campaign = ? AND provider = ? \
     AND state = 'queued' AND due_at <= ? ORDER BY due_at, position LIMIT ? FOR UPDATE SKIP LOCKED";

const BEGIN: &str = "INSERT INTO lease (owner, campaign, ends_at) VALUES (?, ?, ?) \
     ON CONFLICT (owner) DO UPDATE SET ends_at = excluded.ends_at";

/// Takes up to `limit` due mailings of a campaign for `owner` until `until`; they come in sending order.
pub fn lease(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> DbResult<Vec<Leased>> {
    let key = i64::from(campaign.0);
    let due = || [Value::Number(key), Value::Number(now.as_millisecond()), Value::Number(limit)];
    let rows = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            let values: Vec<Value<'_>> = [Value::Text(owner)].into_iter().chain(due()).collect();
            Fixed::<LeasedTypes>::new(TAKE, values).load(sqlite)?
        }
        AnyConnection::Postgres(postgres) => {
            let due: Vec<Candidate> = Fixed::<(BigInt, BigInt, Text)>::new(DUE, due()).load(postgres)?;
            take(conn, &due, owner)?
        }
    };
    held(conn, key, rows, owner, until)
}

/// The same with a limit for each mailbox provider; providers not named get nothing.
pub fn lease_within(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
    allowances: &[(String, i64)],
) -> DbResult<Vec<Leased>> {
    let key = i64::from(campaign.0);
    let mut all: Vec<Candidate> = Vec::new();
    for (provider, allowed) in allowances.iter().filter(|(_, allowed)| *allowed > 0) {
        let due = |text| {
            let limit = limit.min(*allowed);
            let values = [Value::Number(key), Value::Text(provider), Value::Number(now.as_millisecond()), Value::Number(limit)];
            Fixed::<(BigInt, BigInt, Text)>::new(text, values)
        };
        all.extend(match conn.sql() {
            AnyConnection::Postgres(postgres) => due(DUE_OF_PROVIDER_LOCKED).load::<Candidate>(postgres)?,
            AnyConnection::Sqlite(sqlite) => due(DUE_OF_PROVIDER).load::<Candidate>(sqlite)?,
        });
    }
    all.sort_unstable();
    all.truncate(usize::try_from(limit).unwrap_or_default());
    let rows = if all.is_empty() { Vec::new() } else { take(conn, &all, owner)? };
    held(conn, key, rows, owner, until)
}

fn take(conn: &mut VaultConn, due: &[Candidate], owner: &str) -> DbResult<Vec<LeasedRow>> {
    let ids: Vec<&str> = due.iter().map(|(_, _, id)| id.as_str()).collect();
    let columns = (
        mailing::due_at,
        mailing::position,
        mailing::id,
        mailing::campaign,
        mailing::subscriber_id,
        mailing::pseudonym,
        mailing::variant,
        mailing::part,
        mailing::provider,
        mailing::recording,
        mailing::attempts,
        mailing::first_attempt_at,
    );
    Ok(diesel::update(mailing::table.filter(mailing::id.eq_any(ids)).filter(mailing::state.eq("queued")))
        .set((mailing::state.eq("leased"), mailing::lease_owner.eq(owner)))
        .returning(columns)
        .get_results(conn.sql())?)
}

fn held(conn: &mut VaultConn, campaign: i64, mut rows: Vec<LeasedRow>, owner: &str, until: Timestamp) -> DbResult<Vec<Leased>> {
    if !rows.is_empty() {
        Fixed::new(BEGIN, [Value::Text(owner), Value::Number(campaign), Value::Number(until.as_millisecond())]).run(conn)?;
    }
    rows.sort_unstable();
    rows.into_iter()
        .map(|(_, _, id, campaign, subscriber, pseudonym, number, part, provider, recording, attempts, first)| {
            Ok(Leased {
                id: read("a mailing id", &id)?,
                campaign: campaign_number(campaign)?,
                subscriber: read("a subscriber id", &subscriber)?,
                pseudonym: read("a pseudonym", &pseudonym)?,
                variant: variant(number)?,
                provider,
                is_rest: part == "rest",
                recording: read("a recording mode", &recording)?,
                attempts: attempts.unsigned_abs(),
                first_attempt_at: first.map(moment).transpose()?,
            })
        })
        .collect()
}

const MARK: &str = "UPDATE lease SET at_dot = ? WHERE owner = ? AND NOT revoked AND (at_dot IS NULL OR at_dot <> ?) \
     AND EXISTS (SELECT 1 FROM mailing WHERE id = ? AND state = 'leased' AND lease_owner = ? \
     AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.subscriber_id = mailing.subscriber_id))";

/// Notes that the last dot of this letter is about to be sent; answers whether it may be: `owner` holds it, its lease was neither revoked
/// nor taken over, and the person did not unsubscribe meanwhile (whoever takes the letter next skips it with that reason). Call after
/// the end of the letter before it is written, or in the same transaction.
pub fn mark(conn: &mut VaultConn, id: MailingId, owner: &str) -> DbResult<bool> {
    let id = id.to_string();
    let values = [Value::Text(&id), Value::Text(owner), Value::Text(&id), Value::Text(&id), Value::Text(owner)];
    Ok(Fixed::new(MARK, values).run(conn)? > 0)
}

const MARK_ALL: &str = "UPDATE lease SET at_dot = step.mailing FROM unnest(?, ?) AS step (owner, mailing) \
     WHERE lease.owner = step.owner AND NOT lease.revoked AND (lease.at_dot IS NULL OR lease.at_dot <> step.mailing) \
     AND EXISTS (SELECT 1 FROM mailing WHERE mailing.id = step.mailing AND mailing.state = 'leased' \
     AND mailing.lease_owner = step.owner \
     AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.subscriber_id = mailing.subscriber_id)) RETURNING lease.owner";

/// The same for several owners, whose leases this transaction has locked; answers which may.
pub(super) fn mark_all(conn: &mut VaultConn, marks: &[(&str, MailingId)]) -> DbResult<BTreeSet<String>> {
    match conn.sql() {
        AnyConnection::Sqlite(_) => {
            let mut may = BTreeSet::new();
            for (owner, id) in marks {
                if mark(conn, *id, owner)? {
                    may.insert((*owner).to_owned());
                }
            }
            Ok(may)
        }
        AnyConnection::Postgres(postgres) => {
            let ids: Vec<String> = marks.iter().map(|(_, id)| id.to_string()).collect();
            let owners = marks.iter().map(|(owner, _)| *owner).collect();
            let values = [Value::Texts(owners), Value::Texts(ids.iter().map(String::as_str).collect())];
            let may: Vec<String> = if marks.is_empty() { Vec::new() } else { Fixed::<Text>::new(MARK_ALL, values).load(postgres)? };
            Ok(may.into_iter().collect())
        }
    }
}

const LOCK: &str = "SELECT owner FROM lease WHERE owner = ANY (?) ORDER BY owner FOR UPDATE";

/// Keeps others from ending or revoking these leases until the transaction ends; a lease that is gone stays gone. In one order, as
/// everywhere. On SQLite a transaction that writes is alone anyway.
pub(super) fn lock(conn: &mut VaultConn, owners: Vec<&str>) -> DbResult<()> {
    if let AnyConnection::Postgres(postgres) = conn.sql()
        && !owners.is_empty()
    {
        Fixed::<Text>::new(LOCK, [Value::Texts(owners)]).load::<String>(postgres)?;
    }
    Ok(())
}

/// Takes every letter of a campaign out of its workers' hands, but those at their last dot, and forbids any further one. Whoever held one
/// finds that out before the dot and sends nothing. Answers how many.
pub fn recall(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<usize> {
    let open: Vec<String> =
        lease::table.filter(lease::campaign.eq(i64::from(campaign.0))).order(lease::owner).select(lease::owner).load(conn.sql())?;
    lock(conn, open.iter().map(String::as_str).collect())?;
    let mut changes = Changes::default();
    let mut recalled = 0;
    for owner in &open {
        let at_dot: Option<Option<String>> = lease::table.find(owner).select(lease::at_dot).first(conn.sql()).optional()?;
        let Some(at_dot) = at_dot else { continue };
        fold(conn, owner, &mut changes)?;
        recalled += free(conn, owner, at_dot.as_deref())?;
        diesel::update(lease::table.find(owner)).set(lease::revoked.eq(true)).execute(conn.sql())?;
    }
    changes.write(conn)?;
    Ok(recalled)
}

/// Keeps the leases of these owners until `until`; answers how many.
pub fn renew(conn: &mut VaultConn, owners: &BTreeSet<String>, until: Timestamp) -> DbResult<usize> {
    set_end(conn, until.as_millisecond(), |owner| owners.contains(owner))
}

/// Ends the leases of these owners: their workers have left, and everything they said is written. [`expire_leases`] then takes the
/// letters back. Answers how many.
pub fn let_go(conn: &mut VaultConn, owners: &BTreeSet<String>) -> DbResult<usize> {
    set_end(conn, 0, |owner| owners.contains(owner))
}

/// Ends the leases that earlier processes of `node` left behind; those of `process` stay. [`expire_leases`] then takes the letters back.
/// Owners are written `node/process/batch`. Answers how many.
pub fn end_leases(conn: &mut VaultConn, node: &str, process: &str) -> DbResult<usize> {
    let (of_node, of_process) = (format!("{node}/"), format!("{node}/{process}/"));
    set_end(conn, 0, |owner| owner.starts_with(&of_node) && !owner.starts_with(&of_process))
}

fn set_end(conn: &mut VaultConn, until: i64, is_meant: impl Fn(&str) -> bool) -> DbResult<usize> {
    let owners: Vec<String> = lease::table.order(lease::owner).select(lease::owner).load(conn.sql())?;
    let mut changed = 0;
    for owner in owners.iter().filter(|owner| is_meant(owner)) {
        changed += diesel::update(lease::table.find(owner)).set(lease::ends_at.eq(until)).execute(conn.sql())?;
    }
    Ok(changed)
}

/// Whether a lease has ended: looking costs no commit.
pub fn has_ended(conn: &mut VaultConn, now: Timestamp) -> DbResult<bool> {
    let ended = lease::table.filter(lease::ends_at.le(now.as_millisecond()));
    Ok(diesel::select(diesel::dsl::exists(ended)).get_result(conn.sql())?)
}

/// Takes leases back that ended without a word: first what came to an end is written; then what was not yet at the last dot is queued
/// again, and the rest is unknown and stays so. Those of the owners in `spared` are left alone: they live, and only the database was
/// away for longer than a lease. Answers how many letters of each.
pub fn expire_leases(conn: &mut VaultConn, now: Timestamp, mint: Mint, spared: &BTreeSet<String>) -> DbResult<(usize, usize)> {
    let ended = || lease::table.filter(lease::ends_at.le(now.as_millisecond())).order(lease::owner).select(lease::owner);
    let owners: Vec<String> = ended().load(conn.sql())?;
    let owners: Vec<&str> = owners.iter().map(String::as_str).filter(|owner| !spared.contains(*owner)).collect();
    lock(conn, owners.clone())?;
    // Asked again: on PostgreSQL a lease may have been renewed, or taken back by another node, before it was locked.
    let still: BTreeSet<String> = ended().load::<String>(conn.sql())?.into_iter().collect();
    let mut changes = Changes::default();
    let mut taken = (0, 0);
    for owner in owners.into_iter().filter(|owner| still.contains(*owner)) {
        let (requeued, unknown) = settle(conn, owner, now, mint, &mut changes)?;
        taken = (taken.0 + requeued, taken.1 + unknown);
    }
    changes.write(conn)?;
    Ok(taken)
}

/// Ends the lease of an owner none of whose letters was tried: they are queued again at once.
pub fn drop_lease(conn: &mut VaultConn, owner: &str) -> DbResult<()> {
    lock(conn, vec![owner])?;
    free(conn, owner, None)?;
    diesel::delete(lease::table.find(owner)).execute(conn.sql())?;
    Ok(())
}

/// Letters in workers' hands, and leases that stand: zero of both when nobody sends and nothing waits to be taken back.
pub fn leases_open(conn: &mut VaultConn) -> DbResult<(i64, i64)> {
    let letters = mailing::table.filter(mailing::state.eq("leased")).count().get_result(conn.sql())?;
    Ok((letters, lease::table.count().get_result(conn.sql())?))
}

/// The head of the queue, found as [`TAKE`] finds it. Asked for the smallest, PostgreSQL may read the whole table while that is not analysed.
const NEXT_DUE: &str = "SELECT due_at FROM mailing WHERE campaign = ? AND state = 'queued' ORDER BY due_at, position LIMIT 1";

/// When the next mailing of a campaign is due, if any is queued.
pub fn next_due(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<Option<Timestamp>> {
    let next = Fixed::<BigInt>::new(NEXT_DUE, [Value::Number(i64::from(campaign.0))]);
    let earliest: Option<i64> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => next.get_result(sqlite).optional()?,
        AnyConnection::Postgres(postgres) => next.get_result(postgres).optional()?,
    };
    earliest.map(moment).transpose()
}

/// Says that a process sends; answers how many were seen since `since`, this one included.
pub fn seen(conn: &mut VaultConn, process: &str, now: Timestamp, since: Timestamp) -> DbResult<u64> {
    diesel::delete(sender::table.filter(sender::seen_at.lt(since.as_millisecond()).or(sender::process.eq(process)))).execute(conn.sql())?;
    diesel::insert_into(sender::table)
        .values((sender::process.eq(process), sender::seen_at.eq(now.as_millisecond())))
        .execute(conn.sql())?;
    let count: i64 = sender::table.count().get_result(conn.sql())?;
    Ok(count.unsigned_abs().max(1))
}

/// Says that a process sends no more.
pub fn gone(conn: &mut VaultConn, process: &str) -> DbResult<()> {
    diesel::delete(sender::table.find(process)).execute(conn.sql())?;
    Ok(())
}
