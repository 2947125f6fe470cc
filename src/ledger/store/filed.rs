//! The only SQL of which events are whose.
//!
//! Cast: [`next_to_file`] and [`first_moment_behind`] (what waits), [`whose_between`], [`file`], [`note_filed`]; [`file_again`],
//! [`misfiled`] and [`unfile`] (where that is wrong); [`behind`] (a letter's events that are not filed), [`delete_hits`].
//!
//! Whoever asks for a recipient's events asks `filed` for those up to the last number filed, and looks through the few behind it. That
//! number is read first: what is filed meanwhile is then found once all the same. It never holds an event that is gone.

use std::collections::HashSet;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use jiff::Timestamp;

use super::{Counter, EventRow, count, counted, event_of, read};
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbResult, LedgerConn};
use crate::ids::Pseudonym;
use crate::ledger::event::{Event, EventKind};
use crate::ledger::schema::{event, filed};

/// Most numbers in one statement.
const CHUNK: usize = 1000;

/// Events to be filed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfiled {
    /// Behind this number.
    pub from: i64,
    /// Up to this one, which is the same if there are none.
    pub until: i64,
    /// Hits deleted so far: when more are, what was read of these events may be gone.
    pub deleted: i64,
}

impl Unfiled {
    /// How many, or a few less: numbers need not all be used.
    pub fn many(self) -> i64 {
        self.until - self.from
    }
}

/// The next events to be filed, at most so many.
///
/// # Errors
/// When the ledger cannot be read.
pub fn next_to_file(conn: &mut LedgerConn, most: i64) -> DbResult<Unfiled> {
    let deleted = counted(conn, Counter::DeletedHits)?;
    let from = counted(conn, Counter::FiledSeq)?;
    // Whatever has a number up to this one is committed.
    let given = counted(conn, Counter::EventSeq)?;
    Ok(Unfiled { from, until: given.min(from.saturating_add(most)).max(from), deleted })
}

/// When the first event behind a number happened; none: there is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn first_moment_behind(conn: &mut LedgerConn, from: i64) -> DbResult<Option<Timestamp>> {
    let at: Option<i64> = event::table.filter(event::seq.gt(from)).order(event::seq).select(event::at).first(conn.sql()).optional()?;
    Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Whose the events behind one number and up to another are, but those of arms as a whole.
///
/// # Errors
/// When the ledger cannot be read.
pub fn whose_between(conn: &mut LedgerConn, from: i64, until: i64) -> DbResult<Vec<(Pseudonym, i64)>> {
    let rows: Vec<(String, i64)> = event::table
        .filter(event::seq.gt(from))
        .filter(event::seq.le(until))
        .filter(event::pseudonym.is_not_null())
        .select((event::pseudonym.assume_not_null(), event::seq))
        .load(conn.sql())?;
    rows.into_iter().map(|(text, seq)| Ok((read("a pseudonym", &text)?, seq))).collect()
}

const FILE: &str = "INSERT INTO filed (pseudonym, seq) VALUES (?, ?) ON CONFLICT DO NOTHING";
const FILE_ARRAYS: &str = "INSERT INTO filed (pseudonym, seq) SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING";

/// Files some of those events; what is filed already stays so, and nobody takes note of it before [`note_filed`]. `false`, and nothing is
/// done, when others have filed them, or hits were deleted since they were read. Call inside a transaction.
///
/// # Errors
/// When the ledger cannot be written.
pub fn file(conn: &mut LedgerConn, unfiled: Unfiled, events: &[(Pseudonym, i64)]) -> DbResult<bool> {
    // Adding nothing locks the counter's row, which a withdrawal does too before it deletes.
    if count(conn, Counter::FiledSeq, 0)? != unfiled.from || counted(conn, Counter::DeletedHits)? != unfiled.deleted {
        return Ok(false);
    }
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for (pseudonym, seq) in events {
                Fixed::<()>::new(FILE, [Value::Text(pseudonym.text().as_str()), Value::Number(*seq)]).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            let (texts, numbers): (Vec<String>, Vec<i64>) = events.iter().map(|(pseudonym, seq)| (pseudonym.to_string(), *seq)).unzip();
            diesel::sql_query(FILE_ARRAYS)
                .into_boxed::<Pg>()
                .bind::<Array<Text>, _>(texts)
                .bind::<Array<BigInt>, _>(numbers)
                .execute(postgres)?;
        }
    }
    Ok(true)
}

/// Notes that all of those events are filed, unless others did. Call inside a transaction.
///
/// # Errors
/// When the ledger cannot be written.
pub fn note_filed(conn: &mut LedgerConn, unfiled: Unfiled) -> DbResult<()> {
    if count(conn, Counter::FiledSeq, 0)? == unfiled.from {
        count(conn, Counter::FiledSeq, unfiled.many())?;
    }
    Ok(())
}

/// Has all events filed again from the first on, so that none is missing. What is filed stays: whoever is filing meanwhile files no less.
/// Call inside a transaction.
///
/// # Errors
/// When the ledger cannot be written.
pub fn file_again(conn: &mut LedgerConn) -> DbResult<()> {
    super::set_counter(conn, Counter::FiledSeq, 0)
}

/// What is filed under these recipients and is no event of theirs.
///
/// # Errors
/// When the ledger cannot be read.
pub fn misfiled(conn: &mut LedgerConn, pseudonyms: &[Pseudonym]) -> DbResult<Vec<(Pseudonym, i64)>> {
    let mut all = Vec::new();
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let rows: Vec<(String, i64)> = filed::table
            .left_join(event::table.on(event::seq.eq(filed::seq).and(event::pseudonym.eq(filed::pseudonym.nullable()))))
            .filter(filed::pseudonym.eq_any(texts))
            .filter(event::seq.nullable().is_null())
            .select((filed::pseudonym, filed::seq))
            .load(conn.sql())?;
        for (pseudonym, seq) in rows {
            all.push((read("a pseudonym", &pseudonym)?, seq));
        }
    }
    Ok(all)
}

/// Removes what [`misfiled`] answered: events never change whose they are, and no number is given twice.
///
/// # Errors
/// When the ledger cannot be written.
pub fn unfile(conn: &mut LedgerConn, misfiled: &[(Pseudonym, i64)]) -> DbResult<()> {
    for (pseudonym, seq) in misfiled {
        diesel::delete(filed::table.find((pseudonym.to_string(), *seq))).execute(conn.sql())?;
    }
    Ok(())
}

/// How many events with numbers up to `until` are filed under each of these recipients, and the sum of their numbers; who has none is left
/// out.
///
/// # Errors
/// When the ledger cannot be read.
pub fn filed_under(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], until: i64) -> DbResult<Vec<(Pseudonym, u64, i64)>> {
    let mut all = Vec::with_capacity(pseudonyms.len());
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let rows: Vec<(String, i64, i64)> = filed::table
            .filter(filed::pseudonym.eq_any(texts))
            .filter(filed::seq.le(until))
            .group_by(filed::pseudonym)
            .select((filed::pseudonym, diesel::dsl::count_star(), diesel::dsl::sql::<BigInt>("CAST(SUM(seq) AS BIGINT)")))
            .load(conn.sql())?;
        for (pseudonym, many, sum) in rows {
            all.push((read("a pseudonym", &pseudonym)?, many.unsigned_abs(), sum));
        }
    }
    Ok(all)
}

/// Numbers of these recipients' events behind one number and up to another, in order. The few that are not filed are looked through here:
/// PostgreSQL, once it keeps the plan of a statement, would compare each of them with each of the recipients.
pub(super) fn behind(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], from: i64, until: i64) -> DbResult<Vec<i64>> {
    let all: HashSet<Pseudonym> = pseudonyms.iter().copied().collect();
    let mut numbers: Vec<i64> =
        whose_between(conn, from, until)?.into_iter().filter(|(whose, _)| all.contains(whose)).map(|(_, seq)| seq).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Every hit of these recipients, removed; answers the ones removed that the projection has seen, so that counts can be taken back. Call
/// inside a transaction that lets no hits be added.
///
/// # Errors
/// When the ledger cannot be written.
pub fn delete_hits(conn: &mut LedgerConn, pseudonyms: &[Pseudonym]) -> DbResult<Vec<Event>> {
    let cursor = counted(conn, Counter::ProjectedSeq)?;
    // Locked: what is being filed is there before this and removed with the events, or not filed at all.
    let filed_until = count(conn, Counter::FiledSeq, 0)?;
    let kinds = [EventKind::Open.as_str(), EventKind::Click.as_str()];
    let mut rows: Vec<EventRow> = Vec::new();
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let found = filed::table
            .inner_join(event::table.on(event::seq.eq(filed::seq)))
            .filter(filed::pseudonym.eq_any(texts))
            .filter(event::pseudonym.eq(filed::pseudonym.nullable()))
            .filter(filed::seq.le(filed_until))
            .filter(event::kind.eq_any(kinds))
            .select(EventRow::as_select());
        rows.extend(found.load::<EventRow>(conn.sql())?);
    }
    for some in behind(conn, pseudonyms, filed_until, i64::MAX)?.chunks(CHUNK) {
        let found = event::table.filter(event::seq.eq_any(some)).filter(event::kind.eq_any(kinds)).select(EventRow::as_select());
        rows.extend(found.load::<EventRow>(conn.sql())?);
    }
    count(conn, Counter::DeletedHits, i64::try_from(rows.len()).unwrap_or_default())?;
    for some in rows.chunks(CHUNK) {
        let numbers = || some.iter().map(|row| row.seq);
        let texts: HashSet<&str> = some.iter().filter_map(|row| row.pseudonym.as_deref()).collect();
        let entries = filed::table.filter(filed::pseudonym.eq_any(texts)).filter(filed::seq.eq_any(numbers()));
        diesel::delete(entries).execute(conn.sql())?;
        diesel::delete(event::table.filter(event::seq.eq_any(numbers()))).execute(conn.sql())?;
    }
    rows.into_iter().filter(|row| row.seq <= cursor).map(event_of).collect()
}
