//! The only SQL of judgements: which letters are due, their hits, and what they are taken for by now.
//!
//! What the immediate rules said is kept beside once, when a judgement first differs from it, and never changed.

use std::collections::{BTreeMap, HashMap};

use diesel::dsl::{not, sql};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use jiff::Timestamp;

use super::filed::behind;
use super::{Counter, EventRow, counted, event_of, read};
use crate::db::{DbResult, LedgerConn};
use crate::ids::{CampaignNumber, Pseudonym};
use crate::ledger::event::{Event, EventKind, Whose};
use crate::ledger::schema::{event, filed, subject};
use crate::signal::{Reasons, Verdict};

/// Most identifiers in one statement.
const CHUNK: usize = 1000;

/// An event with what only judging needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedHit {
    /// Its place.
    pub seq: i64,
    /// As it counts now.
    pub event: Event,
    /// What the immediate rules said; none for what is no hit.
    pub first: Option<Verdict>,
    /// Whether its judgement is final.
    pub settled: bool,
}

/// A recipient's events, in order.
pub type LetterEvents = HashMap<Pseudonym, Vec<JudgedHit>>;

/// What becomes of one stored hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place.
    pub seq: i64,
    /// The hit as it was.
    pub old: Event,
    /// The hit as it will be: another class, multiplicity or, once final, a time cut to the hour.
    pub new: Event,
    /// What the immediate rules said.
    pub first: Verdict,
    /// Whether it was final before.
    pub was_settled: bool,
    /// Whether it is final from now on.
    pub settled: bool,
}

/// Sets when these recipients' hits are to be judged.
///
/// # Errors
/// When the ledger cannot be written.
pub fn await_judgement(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], at: Option<i64>) -> DbResult<()> {
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        diesel::update(subject::table.filter(subject::pseudonym.eq_any(texts))).set(subject::judge_at.eq(at)).execute(conn.sql())?;
    }
    Ok(())
}

/// Sets that these recipients' hits are to be judged at `quiet`, but where they are going to be at most `early` before: then it is looked
/// again, and a recipient whose hits come in quick succession is not written for each of them.
///
/// # Errors
/// When the ledger cannot be written.
pub fn await_quiet(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], quiet: i64, early: i64) -> DbResult<()> {
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let is_other = subject::judge_at.is_null().or(subject::judge_at.le(quiet - early)).or(subject::judge_at.gt(quiet));
        diesel::update(subject::table.filter(subject::pseudonym.eq_any(texts)).filter(is_other))
            .set(subject::judge_at.eq(Some(quiet)))
            .execute(conn.sql())?;
    }
    Ok(())
}

/// Up to `limit` recipients whose hits are to be judged by `now`, the longest due first.
///
/// # Errors
/// When the ledger cannot be read.
pub fn to_judge(conn: &mut LedgerConn, now: Timestamp, limit: i64) -> DbResult<Vec<Pseudonym>> {
    let texts: Vec<String> = subject::table
        .filter(subject::judge_at.le(now.as_millisecond()))
        .order((subject::judge_at, subject::pseudonym))
        .limit(limit)
        .select(subject::pseudonym)
        .load(conn.sql())?;
    texts.iter().map(|text| read("a pseudonym", text)).collect()
}

/// How many recipients have hits that were due to be judged by `now`, and how many have hits that are not final.
///
/// # Errors
/// When the ledger cannot be read.
pub fn letters_to_judge(conn: &mut LedgerConn, now: Timestamp) -> DbResult<(i64, i64)> {
    let open = subject::table.filter(subject::judge_at.is_not_null());
    let due = subject::table.filter(subject::judge_at.le(now.as_millisecond()));
    Ok((due.count().get_result(conn.sql())?, open.count().get_result(conn.sql())?))
}

/// Up to `limit` recipients of a campaign in the order of pseudonyms, after one; with `open_only`, those with hits that are not final.
///
/// # Errors
/// When the ledger cannot be read.
pub fn pseudonyms_after(
    conn: &mut LedgerConn,
    campaign: CampaignNumber,
    after: Option<Pseudonym>,
    open_only: bool,
    limit: i64,
) -> DbResult<Vec<Pseudonym>> {
    let after = after.map(|pseudonym| pseudonym.to_string()).unwrap_or_default();
    let query = subject::table
        .filter(subject::campaign.eq(i64::from(campaign.0)))
        .filter(subject::pseudonym.gt(after))
        .order(subject::pseudonym)
        .limit(limit)
        .select(subject::pseudonym);
    let texts: Vec<String> = if open_only {
        query.filter(subject::judge_at.is_not_null()).load(conn.sql())?
    } else {
        query.filter(subject::open_flags.ne(0).or(subject::click_flags.ne(0))).load(conn.sql())?
    };
    texts.iter().map(|text| read("a pseudonym", text)).collect()
}

type Extra = (Option<String>, Option<String>, Option<i32>, bool);

/// Everything that happened to these recipients' letters, as far as it is counted (numbers up to `until`).
///
/// # Errors
/// When the ledger cannot be read.
pub fn letters(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], until: i64) -> DbResult<LetterEvents> {
    let mut found: LetterEvents = HashMap::with_capacity(pseudonyms.len());
    let filed_until = counted(conn, Counter::FiledSeq)?;
    let columns = || (EventRow::as_select(), (event::class0, event::confidence0, event::reasons0, event::settled));
    let mut rows: Vec<(EventRow, Extra)> = Vec::new();
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let of_these = filed::table
            .inner_join(event::table.on(event::seq.eq(filed::seq)))
            .filter(filed::pseudonym.eq_any(texts))
            .filter(event::pseudonym.eq(filed::pseudonym.nullable()))
            .filter(filed::seq.le(filed_until.min(until)))
            .order(event::seq)
            .select(columns());
        rows.extend(of_these.load::<(EventRow, Extra)>(conn.sql())?);
    }
    for some in behind(conn, pseudonyms, filed_until, until)?.chunks(CHUNK) {
        let of_these = event::table.filter(event::seq.eq_any(some)).order(event::seq).select(columns());
        rows.extend(of_these.load::<(EventRow, Extra)>(conn.sql())?);
    }
    for (row, (class, confidence, reasons, settled)) in rows {
        let seq = row.seq;
        let event = event_of(row)?;
        let first = match (event.hit, class, confidence) {
            (Some(hit), Some(class), Some(confidence)) => Some(Verdict {
                class: read("a class", &class)?,
                confidence: read("a confidence", &confidence)?,
                reasons: Reasons(u16::try_from(reasons.unwrap_or_default()).unwrap_or_default()),
                ruleset: hit.verdict.ruleset,
            }),
            (hit, _, _) => hit.map(|hit| hit.verdict),
        };
        if let Whose::Recipient(pseudonym) = event.whose {
            found.entry(pseudonym).or_default().push(JudgedHit { seq, event, first, settled });
        }
    }
    Ok(found)
}

/// Writes what hits are taken for by now. What the immediate rules said is written beside, once.
///
/// # Errors
/// When the ledger cannot be written.
pub fn save_judgements(conn: &mut LedgerConn, changes: &[Change]) -> DbResult<()> {
    for change in changes {
        let Some(hit) = change.new.hit else { continue };
        let verdict = hit.verdict;
        diesel::update(event::table.find(change.seq))
            .set((
                event::at.eq(change.new.at.as_millisecond()),
                event::class.eq(verdict.class.as_str()),
                event::confidence.eq(verdict.confidence.as_str()),
                event::reasons.eq(i32::from(verdict.reasons.0)),
                event::ruleset.eq(i32::from(verdict.ruleset)),
                event::multiplicity.eq(i32::from(hit.multiplicity)),
                event::settled.eq(change.settled),
            ))
            .execute(conn.sql())?;
        let is_other =
            (change.first.class, change.first.confidence, change.first.reasons) != (verdict.class, verdict.confidence, verdict.reasons);
        if is_other {
            diesel::update(event::table.find(change.seq).filter(event::class0.is_null()))
                .set((
                    event::class0.eq(change.first.class.as_str()),
                    event::confidence0.eq(change.first.confidence.as_str()),
                    event::reasons0.eq(i32::from(change.first.reasons.0)),
                ))
                .execute(conn.sql())?;
        }
    }
    Ok(())
}

/// Whether there are hits of shared pixels and links from before `before` with times to be cut. Asked at every turn, so the condition is
/// the index's word for word: SQLite takes no index on some rows only for `settled = FALSE`, and would walk through all events.
///
/// # Errors
/// When the ledger cannot be read.
pub fn has_shared_hits(conn: &mut LedgerConn, before: Timestamp) -> DbResult<bool> {
    let due = event::table
        .filter(event::pseudonym.is_null())
        .filter(event::class.is_not_null())
        .filter(not(event::settled))
        .filter(event::at.lt(before.as_millisecond()));
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(conn.sql())?)
}

/// Cuts the times of shared pixels' and links' hits that happened before `before` to the hour: there is no letter to judge them with.
/// Answers how many.
///
/// # Errors
/// When the ledger cannot be written.
pub fn cut_shared_hits(conn: &mut LedgerConn, before: Timestamp, until: i64) -> DbResult<usize> {
    let due = event::table
        .filter(event::pseudonym.is_null())
        .filter(event::class.is_not_null())
        .filter(not(event::settled))
        .filter(event::at.lt(before.as_millisecond()))
        .filter(event::seq.le(until));
    let hour = event::at.eq(sql::<BigInt>("at - at % 3600000"));
    Ok(diesel::update(due).set((hour, event::settled.eq(true))).execute(conn.sql())?)
}

/// How many stored hits were last judged by which version of the rules.
///
/// # Errors
/// When the ledger cannot be read.
pub fn rulesets(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<BTreeMap<i32, i64>> {
    let rows: Vec<(Option<i32>, i64)> = event::table
        .filter(event::campaign.eq(i64::from(campaign.0)))
        .filter(event::kind.eq_any([EventKind::Open.as_str(), EventKind::Click.as_str()]))
        .group_by(event::ruleset)
        .select((event::ruleset, diesel::dsl::count_star()))
        .load(conn.sql())?;
    Ok(rows.into_iter().map(|(ruleset, count)| (ruleset.unwrap_or_default(), count)).collect())
}
