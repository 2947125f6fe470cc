//! How many mailings are where, kept beside them: every change of state that these functions make is counted in its own transaction.
//!
//! Cast: [`Changes`] (gathered, then written last and in one order, so that two writers wait for each other and never in a circle),
//! [`counts`], [`reasons`], [`counts_of_rows`] (the same by looking at every row, for the conservation law).

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::lease::in_hands;
use super::{COMMITTING, LEASED};
use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::delivery::mailing::{Counts, Reason};
use crate::delivery::schema::{mailing, mailing_tally};
use crate::ids::{CampaignNumber, SubscriberId};

/// Counts to be changed: by campaign, part, state and reason.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<(i64, String, String, String), i64>);

impl Changes {
    pub fn add(&mut self, campaign: i64, part: &str, state: &str, reason: &str, by: i64) {
        *self.0.entry((campaign, part.to_owned(), state.to_owned(), reason.to_owned())).or_default() += by;
    }

    /// Call after everything else in the transaction.
    pub fn write(self, conn: &mut VaultConn) -> DbResult<()> {
        for ((campaign, part, state, reason), by) in self.0.into_iter().filter(|(_, by)| *by != 0) {
            let row = (
                mailing_tally::campaign.eq(campaign),
                mailing_tally::part.eq(part),
                mailing_tally::state.eq(state),
                mailing_tally::reason.eq(reason),
                mailing_tally::value.eq(by),
            );
            let key = (mailing_tally::campaign, mailing_tally::part, mailing_tally::state, mailing_tally::reason);
            let insert = diesel::insert_into(mailing_tally::table).values(row);
            let more = mailing_tally::value.eq(mailing_tally::value + by);
            match conn.sql() {
                AnyConnection::Sqlite(sqlite) => insert.on_conflict(key).do_update().set(more).execute(sqlite)?,
                AnyConnection::Postgres(postgres) => insert.on_conflict(key).do_update().set(more).execute(postgres)?,
            };
        }
        Ok(())
    }
}

/// How many mailings of a campaign are where; `part` narrows it to `test`, `rest` or `holdout`. Costs the same whatever the campaign's
/// size.
pub fn counts(conn: &mut VaultConn, campaign: CampaignNumber, part: Option<&str>) -> DbResult<Counts> {
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
    // Read a moment later than the tallies: what was finished or taken in between must not be counted twice.
    let open = counts.enrolled.saturating_sub(counts.finished() + counts.planned);
    counts.in_hand = in_hand(conn, campaign, part)?.min(open);
    counts.queued = open - counts.in_hand;
    Ok(counts)
}

fn in_hand(conn: &mut VaultConn, campaign: CampaignNumber, part: Option<&str>) -> DbResult<u64> {
    let mut count = 0;
    for state in [LEASED, COMMITTING] {
        let held: Vec<(i64, String)> = in_hands(state).select((mailing::campaign, mailing::part)).load(conn.sql())?;
        let is_meant = |(of, held): &&(i64, String)| *of == i64::from(campaign.0) && part.is_none_or(|part| part == held);
        count += held.iter().filter(is_meant).count() as u64;
    }
    Ok(count)
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
        "leased" | "committing" => counts.in_hand += count,
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

/// Takes a person's mailings away, and out of the counts: before the person is deleted. Answers how many.
pub fn forget(conn: &mut VaultConn, subscriber: SubscriberId) -> DbResult<usize> {
    let rows: Vec<(i64, String, String, Option<String>)> = mailing::table
        .filter(mailing::subscriber_id.eq(subscriber.to_string()))
        .select((mailing::campaign, mailing::part, mailing::state, mailing::reason))
        .load(conn.sql())?;
    let mut changes = Changes::default();
    for (campaign, part, state, reason) in &rows {
        changes.add(*campaign, part, "enrolled", "", -1);
        if !["queued", "leased", "committing"].contains(&state.as_str()) {
            changes.add(*campaign, part, state, if is_final(state) { reason.as_deref().unwrap_or_default() } else { "" }, -1);
        }
    }
    diesel::delete(mailing::table.filter(mailing::subscriber_id.eq(subscriber.to_string()))).execute(conn.sql())?;
    changes.write(conn)?;
    Ok(rows.len())
}

fn is_final(state: &str) -> bool {
    ["accepted", "refused", "failed", "skipped", "unknown"].contains(&state)
}
