//! What became of letters, as their workers say it; the pace and the limits of a day; letters that will not be sent any more,
//! or once more.
//!
//! Cast: [`Said`] (what the worker of one batch says), [`write_down`] (of several batches, in one transaction), [`bring_in`].
//!
//! The end of a letter is one new row: nothing that is asked in other ways changes with it. The rest follows in [`super::fold`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::prelude::*;
use jiff::Timestamp;

use super::fold::{fold, give_back, settle};
use super::lease::{lock, mark_all};
use super::outcome::insert_outcome;
use super::tally::Changes;
use super::{PLANNED_REST, PLANNED_TEST, QUEUED, literally, read};
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::mailing::{Attempt, Finished, OutcomeKind, Verdict};
use crate::delivery::schema::{mailing, pace, relay_day};
use crate::ids::{CampaignNumber, EventId, MailingId, Mint, RecordingMode};

/// Milliseconds of a minute, the grain of [`pace`](accepted_since).
const MINUTE: i64 = 60_000;

/// What the worker of one batch says, in this order.
#[derive(Debug, Default)]
pub struct Said {
    /// These came to an end.
    pub finished: Vec<Finished>,
    /// These did not leave, although they may have been marked.
    pub given_back: Vec<MailingId>,
    /// This one's last dot is about to be sent, if it may be.
    pub mark: Option<MailingId>,
    /// Whether the ends written so far are to be brought to where they are looked for.
    pub fold: bool,
    /// Whether the batch is over, and its lease with it.
    pub is_over: bool,
}

impl Said {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        !self.is_new() && !self.fold && !self.is_over
    }

    /// Whether there is something to write down.
    pub fn is_new(&self) -> bool {
        !self.finished.is_empty() || !self.given_back.is_empty() || self.mark.is_some()
    }
}

/// Writes down what workers say; only the holder's word counts. Answers whose marks are there, and so may send the last dot.
pub fn write_down(conn: &mut VaultConn, said: &BTreeMap<Arc<str>, Said>) -> DbResult<BTreeSet<String>> {
    lock(conn, said.keys().map(|owner| &**owner).collect())?;
    let ends: Vec<End<'_>> =
        said.iter().flat_map(|(owner, said)| said.finished.iter().filter_map(|finished| End::new(owner, finished))).collect();
    write_ends(conn, &ends)?;
    for (owner, said) in said {
        for finished in &said.finished {
            if let Verdict::Postponed { until } = finished.verdict {
                postpone(conn, finished.mailing.id, until, owner)?;
            }
        }
        give_back(conn, &said.given_back, owner)?;
    }
    let marks: Vec<(&str, MailingId)> = said.iter().filter_map(|(owner, said)| Some((&**owner, said.mark?))).collect();
    mark_all(conn, &marks)
}

/// Brings what was written down before to where it is looked for, of those who say so, and ends the leases of batches that are over. What
/// is lost of it with the power is found and done again by whoever takes over the lease.
pub fn bring_in(conn: &mut VaultConn, said: &BTreeMap<Arc<str>, Said>, now: Timestamp, mint: Mint) -> DbResult<()> {
    lock(conn, said.iter().filter(|(_, said)| said.fold || said.is_over).map(|(owner, _)| &**owner).collect())?;
    // Rows first, counts afterwards, everywhere.
    let mut changes = Changes::default();
    for (owner, said) in said {
        if said.is_over {
            settle(conn, owner, now, mint, &mut changes)?;
        } else if said.fold {
            fold(conn, owner, &mut changes)?;
        }
    }
    changes.write(conn)
}

/// An attempt that ends a letter's stay in its worker's hands, as its row is written.
struct End<'a> {
    owner: &'a str,
    mailing: String,
    id: String,
    at: i64,
    tried: &'a Attempt,
    verdict: &'static str,
    reason: Option<&'a str>,
    due_at: Option<i64>,
    recording: Option<&'static str>,
}

/// Of a letter that was not tried after all.
static NOT_TRIED: Attempt = Attempt { relay: String::new(), stage: String::new(), code: None, enhanced: None, text: String::new() };

impl<'a> End<'a> {
    /// None for a letter that was only postponed: it keeps its attempts.
    fn new(owner: &'a str, end: &'a Finished) -> Option<Self> {
        let (verdict, reason, due_at): (_, Option<&String>, _) = match &end.verdict {
            Verdict::Accepted => ("accepted", None, None),
            Verdict::Deferred { until, reason } => ("deferred", Some(reason), Some(until.as_millisecond())),
            Verdict::Refused { reason } => ("refused", Some(reason), None),
            Verdict::Failed { reason } => ("failed", Some(reason), None),
            Verdict::Skipped { reason } => ("skipped", Some(reason), None),
            Verdict::Unknown => ("unknown", None, None),
            Verdict::Postponed { .. } => return None,
        };
        let may_have_left = matches!(end.verdict, Verdict::Accepted | Verdict::Unknown);
        Some(Self {
            owner,
            mailing: end.mailing.id.to_string(),
            id: end.event.to_string(),
            at: end.at.as_millisecond(),
            tried: end.attempt.as_ref().unwrap_or(&NOT_TRIED),
            verdict,
            reason: reason.map(String::as_str),
            due_at,
            recording: may_have_left.then(|| RecordingMode::as_str(end.mailing.recording)),
        })
    }

    fn code(&self) -> Option<i64> {
        self.tried.code.map(i64::from)
    }
}

const END: &str = "INSERT INTO attempt \
     (mailing_id, number, id, at, relay, stage, verdict, code, enhanced, text, reason, due_at, recording) \
     SELECT mailing.id, mailing.attempts + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM mailing \
     WHERE mailing.id = ? AND mailing.state = 'leased' AND mailing.lease_owner = ? ON CONFLICT DO NOTHING";

const END_ALL: &str = "INSERT INTO attempt \
     (mailing_id, number, id, at, relay, stage, verdict, code, enhanced, text, reason, due_at, recording) \
     SELECT mailing.id, mailing.attempts + 1, said.id, said.at, said.relay, said.stage, said.verdict, said.code, said.enhanced, said.text, \
     said.reason, said.due_at, said.recording FROM mailing \
     JOIN unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     AS said (id, at, relay, stage, verdict, code, enhanced, text, reason, due_at, recording, mailing, owner) \
     ON mailing.id = said.mailing AND mailing.lease_owner = said.owner WHERE mailing.state = 'leased' ORDER BY mailing.id \
     ON CONFLICT DO NOTHING";

fn write_ends(conn: &mut VaultConn, ends: &[End<'_>]) -> DbResult<()> {
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for end in ends {
                let values = [
                    Value::Text(&end.id),
                    Value::Number(end.at),
                    Value::Text(&end.tried.relay),
                    Value::Text(&end.tried.stage),
                    Value::Text(end.verdict),
                    Value::MaybeNumber(end.code()),
                    Value::MaybeText(end.tried.enhanced.as_deref()),
                    Value::Text(&end.tried.text),
                    Value::MaybeText(end.reason),
                    Value::MaybeNumber(end.due_at),
                    Value::MaybeText(end.recording),
                    Value::Text(&end.mailing),
                    Value::Text(end.owner),
                ];
                Fixed::<()>::new(END, values).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(_) if ends.is_empty() => {}
        AnyConnection::Postgres(postgres) => {
            let values = [
                Value::Texts(ends.iter().map(|end| end.id.as_str()).collect()),
                Value::Numbers(ends.iter().map(|end| end.at).collect()),
                Value::Texts(ends.iter().map(|end| end.tried.relay.as_str()).collect()),
                Value::Texts(ends.iter().map(|end| end.tried.stage.as_str()).collect()),
                Value::Texts(ends.iter().map(|end| end.verdict).collect()),
                Value::MaybeNumbers(ends.iter().map(End::code).collect()),
                Value::MaybeTexts(ends.iter().map(|end| end.tried.enhanced.as_deref()).collect()),
                Value::Texts(ends.iter().map(|end| end.tried.text.as_str()).collect()),
                Value::MaybeTexts(ends.iter().map(|end| end.reason).collect()),
                Value::MaybeNumbers(ends.iter().map(|end| end.due_at).collect()),
                Value::MaybeTexts(ends.iter().map(|end| end.recording).collect()),
                Value::Texts(ends.iter().map(|end| end.mailing.as_str()).collect()),
                Value::Texts(ends.iter().map(|end| end.owner).collect()),
            ];
            Fixed::<()>::new(END_ALL, values).execute(postgres)?;
        }
    }
    Ok(())
}

const POSTPONE: &str = "UPDATE mailing SET state = 'queued', due_at = ?, lease_owner = NULL \
     WHERE id = ? AND state = 'leased' AND lease_owner = ?";

/// Not tried: the letter keeps its attempts and its first one's moment.
fn postpone(conn: &mut VaultConn, id: MailingId, until: Timestamp, owner: &str) -> DbResult<()> {
    let id = id.to_string();
    Fixed::new(POSTPONE, [Value::Number(until.as_millisecond()), Value::Text(&id), Value::Text(owner)]).run(conn)?;
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

const SKIP: &str = "UPDATE mailing SET state = 'skipped', reason = ?, finished_at = ? WHERE id = ? AND state = ?";

/// What came of skipping letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Letters that waited. Only when there are none is nothing left: on PostgreSQL all that were found may have been on their way
    /// from planned to queued at that moment, in the hands of another transaction.
    pub found: usize,
    /// Those of them that are skipped now.
    pub skipped: usize,
}

/// Whether letters of a campaign wait that are in nobody's hands.
pub fn has_waiting(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<bool> {
    for (condition, _) in WAITING {
        let waiting = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(literally(condition));
        if waiting.select(mailing::id).limit(1).first::<String>(conn.sql()).optional()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

const SEND_AGAIN: &str = "UPDATE mailing SET state = 'queued', due_at = ?, finished_at = NULL, first_attempt_at = NULL \
     WHERE id = ? AND state = 'unknown'";

/// Puts letters of a campaign of which nobody knows whether they left back in the queue, to be tried as if for the first time. Answers how
/// many.
pub fn send_again(conn: &mut VaultConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<usize> {
    let key = i64::from(campaign.0);
    let rows: Vec<(String, String)> = mailing::table
        .filter(mailing::campaign.eq(key))
        .filter(mailing::state.eq("unknown"))
        .order(mailing::id)
        .select((mailing::id, mailing::part))
        .load(conn.sql())?;
    let (mut again, mut changes) = (0, Changes::default());
    for (id, part) in &rows {
        // Asked again: of two who say so at once, one does it.
        if Fixed::new(SEND_AGAIN, [Value::Number(now.as_millisecond()), Value::Text(id)]).run(conn)? > 0 {
            changes.add(key, part, "unknown", "", -1);
            again += 1;
        }
    }
    changes.write(conn)?;
    Ok(again)
}

/// Up to `limit` mailings that will not be sent any more because the campaign ends: skipped, with their outcomes.
pub fn skip_waiting(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    reason: &str,
    now: Timestamp,
    mint: Mint,
    limit: i64,
) -> DbResult<Skipped> {
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
        let values = [Value::Text(reason), Value::Number(now.as_millisecond()), Value::Text(id), Value::Text(state)];
        if Fixed::new(SKIP, values).run(conn)? == 0 {
            continue;
        }
        skipped += 1;
        changes.add(key, part, "skipped", reason, 1);
        if *state == "planned" {
            changes.add(key, part, "planned", "", -1);
        }
        let pseudonym = read("a pseudonym", pseudonym)?;
        let event = EventId::from_bytes(mint());
        insert_outcome(conn, campaign, pseudonym, OutcomeKind::Skipped, reason, None, now.as_millisecond(), event)?;
    }
    changes.write(conn)?;
    Ok(Skipped { found: rows.len(), skipped })
}
