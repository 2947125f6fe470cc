//! How many mailings are where, kept beside them: every change of state that these functions make is counted in its own transaction.
//!
//! Cast: [`Changes`] (gathered, the pace with them, then written last and in one order, so that two writers wait for each other and never
//! in a circle), [`counts`], [`reasons`], [`counts_of_rows`] (the same by looking at every row, for the conservation law).

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::fold::add_pace;
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::delivery::mailing::{Counts, Reason};
use crate::delivery::schema::{mailing, mailing_tally, outcome};
use crate::ids::{CampaignNumber, SubscriberId};

/// Counts to be changed: by campaign, part, state and reason; accepted letters by relay, campaign and minute.
#[derive(Default)]
pub(super) struct Changes {
    tallies: BTreeMap<(i64, String, String, String), i64>,
    pace: BTreeMap<(String, i64, i64), i64>,
}

const ADD: &str = "INSERT INTO mailing_tally (campaign, part, state, reason, value) VALUES (?, ?, ?, ?, ?) \
     ON CONFLICT (campaign, part, state, reason) DO UPDATE SET value = mailing_tally.value + excluded.value";

impl Changes {
    pub fn add(&mut self, campaign: i64, part: &str, state: &str, reason: &str, by: i64) {
        *self.tallies.entry((campaign, part.to_owned(), state.to_owned(), reason.to_owned())).or_default() += by;
    }

    pub fn add_pace(&mut self, relay: &str, campaign: i64, minute: i64, accepted: i64) {
        *self.pace.entry((relay.to_owned(), campaign, minute)).or_default() += accepted;
    }

    /// Call after everything else in the transaction.
    pub fn write(self, conn: &mut VaultConn) -> DbResult<()> {
        for ((relay, campaign, minute), accepted) in &self.pace {
            add_pace(conn, relay, *campaign, *minute, *accepted)?;
        }
        for ((campaign, part, state, reason), by) in self.tallies.iter().filter(|(_, by)| **by != 0) {
            let values = [Value::Number(*campaign), Value::Text(part), Value::Text(state), Value::Text(reason), Value::Number(*by)];
            Fixed::new(ADD, values).run(conn)?;
        }
        Ok(())
    }
}

/// How many mailings of a campaign are where; `part` narrows it to `test`, `rest` or `holdout`. Costs the same whatever the campaign's
/// size.
pub fn counts(conn: &mut VaultConn, campaign: CampaignNumber, part: Option<&str>) -> DbResult<Counts> {
    let mut counts = tallied(conn, campaign, part)?;
    // Read a moment later than the tallies: what was finished or taken in between must not be counted twice.
    let open = counts.enrolled.saturating_sub(counts.finished() + counts.planned);
    counts.in_hand = in_hand(conn, campaign, part)?.min(open);
    counts.queued = open - counts.in_hand;
    Ok(counts)
}

/// Without those that are queued or in hand.
fn tallied(conn: &mut VaultConn, campaign: CampaignNumber, part: Option<&str>) -> DbResult<Counts> {
    let rows: Vec<(String, String, i64)> = mailing_tally::table
        .filter(mailing_tally::campaign.eq(i64::from(campaign.0)))
        .select((mailing_tally::part, mailing_tally::state, mailing_tally::value))
        .load(conn.sql())?;
    let mut counts = Counts::default();
    for (row_part, state, value) in rows {
        if part.is_none_or(|part| part == row_part) {
            add(&mut counts, &state, value.unsigned_abs())?;
        }
    }
    Ok(counts)
}

const IN_HAND: &str = "SELECT mailing.part, COUNT(*) FROM lease \
     JOIN mailing ON mailing.state = 'leased' AND mailing.lease_owner = lease.owner WHERE lease.campaign = ? GROUP BY mailing.part";

fn in_hand(conn: &mut VaultConn, campaign: CampaignNumber, part: Option<&str>) -> DbResult<u64> {
    let held = Fixed::<(Text, BigInt)>::new(IN_HAND, [Value::Number(i64::from(campaign.0))]);
    let held: Vec<(String, i64)> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => held.load(sqlite)?,
        AnyConnection::Postgres(postgres) => held.load(postgres)?,
    };
    Ok(held.iter().filter(|(held, _)| part.is_none_or(|part| part == held)).map(|(_, count)| count.unsigned_abs()).sum())
}

/// Whether mailings of the test still have to leave, or are on their way.
pub fn test_is_waiting(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<bool> {
    let counts = tallied(conn, campaign, Some("test"))?;
    Ok(counts.enrolled > counts.finished())
}

/// The same by looking at every row: slow, and right whatever the tallies say. `enrolled` is the tally's, so that it can be compared.
pub fn counts_of_rows(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<Counts> {
    let rows: Vec<(String, i64)> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .group_by(mailing::state)
        .select((mailing::state, diesel::dsl::count_star()))
        .load(conn.sql())?;
    let mut counts = Counts { enrolled: self::counts(conn, campaign, None)?.enrolled, ..Counts::default() };
    for (state, count) in rows {
        add(&mut counts, &state, count.unsigned_abs())?;
    }
    Ok(counts)
}

fn add(counts: &mut Counts, state: &str, count: u64) -> DbResult<()> {
    match state {
        "enrolled" => counts.enrolled += count,
        "planned" => counts.planned += count,
        "queued" => counts.queued += count,
        "leased" => counts.in_hand += count,
        "accepted" => counts.accepted += count,
        "refused" => counts.refused += count,
        "failed" => counts.failed += count,
        "skipped" => counts.skipped += count,
        "unknown" => counts.unknown += count,
        other => return Err(DbError::unreadable("a mailing's state", other)),
    }
    Ok(())
}

/// Why letters of a campaign ended as they did, the most frequent first; accepted ones need no reason and are left out.
pub fn reasons(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<Vec<Reason>> {
    let rows: Vec<(String, String, i64)> = mailing_tally::table
        .filter(mailing_tally::campaign.eq(i64::from(campaign.0)))
        .filter(mailing_tally::state.eq_any(["refused", "failed", "skipped", "unknown"]))
        .select((mailing_tally::state, mailing_tally::reason, mailing_tally::value))
        .load(conn.sql())?;
    let mut sums: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (state, reason, value) in rows {
        *sums.entry((state, reason)).or_default() += value.unsigned_abs();
    }
    let mut reasons: Vec<Reason> =
        sums.into_iter().filter(|(_, count)| *count > 0).map(|((state, reason), count)| Reason { state, reason, count }).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    Ok(reasons)
}

/// Takes a person's mailings away, with what waits for the ledger, and out of the counts: before the person is deleted. Answers how many.
pub fn forget(conn: &mut VaultConn, subscriber: SubscriberId) -> DbResult<usize> {
    let of_person = || mailing::table.filter(mailing::subscriber_id.eq(subscriber.to_string()));
    let states =
        of_person().order(mailing::id).select((mailing::campaign, mailing::part, mailing::state, mailing::reason, mailing::pseudonym));
    let rows: Vec<(i64, String, String, Option<String>, String)> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => states.load(sqlite)?,
        // What is counted out must be what is deleted: a worker may be writing down what became of a letter.
        AnyConnection::Postgres(postgres) => states.for_update().load(postgres)?,
    };
    let mut changes = Changes::default();
    for (campaign, part, state, reason, pseudonym) in &rows {
        changes.add(*campaign, part, "enrolled", "", -1);
        if !["queued", "leased"].contains(&state.as_str()) {
            changes.add(*campaign, part, state, if is_final(state) { reason.as_deref().unwrap_or_default() } else { "" }, -1);
        }
        diesel::delete(outcome::table.filter(outcome::pseudonym.eq(pseudonym))).execute(conn.sql())?;
    }
    diesel::delete(of_person()).execute(conn.sql())?;
    changes.write(conn)?;
    Ok(rows.len())
}

fn is_final(state: &str) -> bool {
    ["accepted", "refused", "failed", "skipped", "unknown"].contains(&state)
}
