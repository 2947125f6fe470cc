//! Who holds which mailing: leases taken, kept, given back, taken back.
//!
//! A lease is one conditional update with an owner and an end; everything its holder does asks for both again.

use std::collections::{BTreeSet, HashMap};

use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use jiff::Timestamp;

use super::outcome::insert_outcome;
use super::tally::Changes;
use super::{COMMITTING, LEASED, QUEUED, campaign_number, literally, moment, read, variant};
use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::mailing::{Leased, OutcomeKind};
use crate::delivery::schema::{mailing, sender};
use crate::ids::{CampaignNumber, EventId, MailingId, Mint};

/// Mailings in workers' hands. Every lease has an end; asked for by it, SQLite finds the few that are leased by their own index. Asked for
/// by campaign or owner alone, it walks through every letter of a campaign, or of all.
#[diesel::dsl::auto_type]
pub(super) fn in_hands(state: &'static str) -> _ {
    let of_state: SqlLiteral<Bool> = literally(state);
    mailing::table.filter(of_state).filter(mailing::lease_until.ge(0_i64))
}

type LeasedRow = (String, i64, String, String, Option<i32>, String, String, String, i32, Option<i64>);
/// When due, where in the order, which: in this order letters leave.
type Candidate = (i64, i64, String);

/// Takes up to `limit` due mailings of a campaign for `owner` until `until`; they come in sending order.
pub fn lease(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> DbResult<Vec<Leased>> {
    let due = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(QUEUED))
        .filter(mailing::due_at.le(now.as_millisecond()))
        .order((mailing::due_at, mailing::position))
        .limit(limit)
        .select((mailing::due_at, mailing::position, mailing::id));
    let due: Vec<Candidate> = match conn.sql() {
        // What another node is taking at this moment is passed over instead of waited for.
        AnyConnection::Postgres(postgres) => due.for_update().skip_locked().load(postgres)?,
        AnyConnection::Sqlite(sqlite) => due.load(sqlite)?,
    };
    take(conn, due, owner, until)
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
    let mut all: Vec<Candidate> = Vec::new();
    for (provider, allowed) in allowances.iter().filter(|(_, allowed)| *allowed > 0) {
        let due = mailing::table
            .filter(mailing::campaign.eq(i64::from(campaign.0)))
            .filter(mailing::provider.eq(provider))
            .filter(literally(QUEUED))
            .filter(mailing::due_at.le(now.as_millisecond()))
            .order((mailing::due_at, mailing::position))
            .limit(limit.min(*allowed))
            .select((mailing::due_at, mailing::position, mailing::id));
        all.extend(match conn.sql() {
            AnyConnection::Postgres(postgres) => due.for_update().skip_locked().load::<Candidate>(postgres)?,
            AnyConnection::Sqlite(sqlite) => due.load::<Candidate>(sqlite)?,
        });
    }
    all.sort_unstable();
    all.truncate(usize::try_from(limit).unwrap_or_default());
    take(conn, all, owner, until)
}

fn take(conn: &mut VaultConn, due: Vec<Candidate>, owner: &str, until: Timestamp) -> DbResult<Vec<Leased>> {
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = due.iter().map(|(_, _, id)| id.as_str()).collect();
    let mut rows: Vec<LeasedRow> = diesel::update(mailing::table.filter(mailing::id.eq_any(&ids)).filter(mailing::state.eq("queued")))
        .set((mailing::state.eq("leased"), mailing::lease_owner.eq(owner), mailing::lease_until.eq(until.as_millisecond())))
        .returning((
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
        ))
        .get_results(conn.sql())?;
    let place: HashMap<&str, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    rows.sort_by_key(|row| place.get(row.0.as_str()).copied());
    rows.into_iter()
        .map(|(id, campaign, subscriber, pseudonym, number, part, provider, recording, attempts, first)| {
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

/// Queued again, nobody's.
#[derive(AsChangeset)]
#[diesel(table_name = mailing, treat_none_as_null = true)]
struct Freed {
    state: &'static str,
    lease_owner: Option<String>,
    lease_until: Option<i64>,
}

const FREED: Freed = Freed { state: "queued", lease_owner: None, lease_until: None };

/// Gives mailings back untried, so that another worker may take them at once.
pub fn give_back(conn: &mut VaultConn, ids: &[MailingId], owner: &str) -> DbResult<()> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let held = mailing::table.filter(mailing::id.eq_any(texts)).filter(mailing::lease_owner.eq(owner)).filter(mailing::state.eq("leased"));
    diesel::update(held).set(FREED).execute(conn.sql())?;
    Ok(())
}

/// Gives back mailings whose last dot was *not* sent although they may have been marked so: only their holder can know that.
pub fn withhold(conn: &mut VaultConn, ids: &[MailingId], owner: &str) -> DbResult<()> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let held = mailing::table
        .filter(mailing::id.eq_any(texts))
        .filter(mailing::lease_owner.eq(owner))
        .filter(mailing::state.eq_any(["leased", "committing"]));
    diesel::update(held).set(FREED).execute(conn.sql())?;
    Ok(())
}

/// Takes every letter of a campaign out of its workers' hands, but those at their last dot. Whoever held one finds that out before the
/// dot and sends nothing. Answers how many.
pub fn recall(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<usize> {
    let held: Vec<(String, i64)> = in_hands(LEASED).select((mailing::id, mailing::campaign)).load(conn.sql())?;
    let mut ids: Vec<String> = held.into_iter().filter(|(_, of)| *of == i64::from(campaign.0)).map(|(id, _)| id).collect();
    ids.sort_unstable();
    Ok(diesel::update(mailing::table.filter(mailing::id.eq_any(ids)).filter(literally(LEASED))).set(FREED).execute(conn.sql())?)
}

/// Notes that the last dot of these letters is about to be sent; answers those still held by `owner`, the only ones that may be.
pub fn commit_to(conn: &mut VaultConn, ids: &[MailingId], owner: &str) -> DbResult<Vec<MailingId>> {
    let mut held = Vec::with_capacity(ids.len());
    for id in ids {
        let mine = mailing::table.find(id.to_string()).filter(mailing::lease_owner.eq(owner)).filter(mailing::state.eq("leased"));
        if diesel::update(mine).set(mailing::state.eq("committing")).execute(conn.sql())? > 0 {
            held.push(*id);
        }
    }
    Ok(held)
}

/// Keeps the leases of these owners until `until`; answers how many.
pub fn renew(conn: &mut VaultConn, owners: &BTreeSet<String>, until: Timestamp) -> DbResult<usize> {
    set_end(conn, until.as_millisecond(), |owner| owners.contains(owner))
}

/// Ends the leases of these owners: their workers have left, and everything they said is written. [`expire_leases`] then takes them back.
/// Answers how many.
pub fn let_go(conn: &mut VaultConn, owners: &BTreeSet<String>) -> DbResult<usize> {
    set_end(conn, 0, |owner| owners.contains(owner))
}

/// Ends the leases that earlier processes of `node` left behind; those of `process` stay. [`expire_leases`] then takes them back.
/// Owners are written `node/process/batch`. Answers how many.
pub fn end_leases(conn: &mut VaultConn, node: &str, process: &str) -> DbResult<usize> {
    let (of_node, of_process) = (format!("{node}/"), format!("{node}/{process}/"));
    set_end(conn, 0, |owner| owner.starts_with(&of_node) && !owner.starts_with(&of_process))
}

fn set_end(conn: &mut VaultConn, until: i64, is_meant: impl Fn(&str) -> bool) -> DbResult<usize> {
    let mut changed = 0;
    for state in [LEASED, COMMITTING] {
        for owner in owners(conn, state, i64::MAX)?.into_iter().filter(|owner| is_meant(owner)) {
            let held = in_hands(state).filter(mailing::lease_owner.eq(owner));
            changed += diesel::update(held).set(mailing::lease_until.eq(until)).execute(conn.sql())?;
        }
    }
    Ok(changed)
}

/// Who holds leases that end by a moment, each once and in order.
fn owners(conn: &mut VaultConn, state: &'static str, until: i64) -> DbResult<BTreeSet<String>> {
    let owners: Vec<Option<String>> =
        in_hands(state).filter(mailing::lease_until.le(until)).select(mailing::lease_owner).distinct().load(conn.sql())?;
    Ok(owners.into_iter().flatten().collect())
}

/// Whether a lease has ended: looking costs no commit.
pub fn has_ended(conn: &mut VaultConn, now: Timestamp) -> DbResult<bool> {
    for state in [LEASED, COMMITTING] {
        let ended = in_hands(state).filter(mailing::lease_until.le(now.as_millisecond()));
        if diesel::select(diesel::dsl::exists(ended)).get_result(conn.sql())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes leases back that ended without a word: what was not yet at the last dot is queued again, the rest is unknown and stays so. Those
/// of the owners in `spared` are left alone: they live, and only the database was away for longer than a lease. Answers how many of each.
pub fn expire_leases(conn: &mut VaultConn, now: Timestamp, mint: Mint, spared: &BTreeSet<String>) -> DbResult<(usize, usize)> {
    let ended = |state: &'static str| in_hands(state).filter(mailing::lease_until.le(now.as_millisecond()));
    type Lost = (String, i64, String, String, Option<String>);
    let mut lost: Vec<Lost> = ended(COMMITTING)
        .select((mailing::id, mailing::campaign, mailing::pseudonym, mailing::part, mailing::lease_owner))
        .load(conn.sql())?;
    // In one order everywhere. Asked for it, SQLite would walk through the whole table by its key.
    lost.sort_unstable();
    let mut unknown = 0;
    let mut changes = Changes::default();
    for (id, campaign, pseudonym, part, owner) in &lost {
        if owner.as_ref().is_some_and(|owner| spared.contains(owner)) {
            continue;
        }
        // The state is asked again: on PostgreSQL the answer may have been written, or another node have been here, in between.
        let set = (mailing::state.eq("unknown"), mailing::finished_at.eq(now.as_millisecond()), mailing::lease_owner.eq(None::<String>));
        if diesel::update(ended(COMMITTING).filter(mailing::id.eq(id))).set(set).execute(conn.sql())? == 0 {
            continue;
        }
        unknown += 1;
        changes.add(*campaign, part, "unknown", "", 1);
        let (id, pseudonym) = (read("a mailing id", id)?, read("a pseudonym", pseudonym)?);
        let event = EventId::from_bytes(mint());
        insert_outcome(conn, &id, campaign_number(*campaign)?, pseudonym, OutcomeKind::Uncertain, "", None, now.as_millisecond(), event)?;
    }
    let mut requeued = 0;
    for owner in owners(conn, LEASED, now.as_millisecond())?.difference(spared) {
        requeued += diesel::update(ended(LEASED).filter(mailing::lease_owner.eq(owner))).set(FREED).execute(conn.sql())?;
    }
    changes.write(conn)?;
    Ok((requeued, unknown))
}

/// Leases that have not ended, of any owner: zero when nobody sends.
pub fn leases_open(conn: &mut VaultConn) -> DbResult<i64> {
    Ok(mailing::table.filter(mailing::state.eq_any(["leased", "committing"])).count().get_result(conn.sql())?)
}

/// When the next mailing of a campaign is due, if any is queued.
pub fn next_due(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<Option<Timestamp>> {
    let earliest: Option<i64> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(QUEUED))
        .select(diesel::dsl::min(mailing::due_at))
        .first(conn.sql())?;
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
