//! The only SQL of which events are whose.
//!
//! Whoever asks for a recipient's events asks [`filed`] for those up to the last number filed, and looks through the few behind it. That
//! number is read first: what is filed meanwhile is then found once all the same.

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

/// The numbers of the next events to be filed: behind the first, up to the second, at most so many. The same if there is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn next_to_file(conn: &mut LedgerConn, most: i64) -> DbResult<(i64, i64)> {
    let from = counted(conn, Counter::FiledSeq)?;
    // Whatever has a number up to this one is committed.
    let given = counted(conn, Counter::EventSeq)?;
    Ok((from, given.min(from.saturating_add(most)).max(from)))
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
pub fn whose_between(conn: &mut LedgerConn, (from, until): (i64, i64)) -> DbResult<Vec<(Pseudonym, i64)>> {
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

/// Files events; what is filed already stays so. Nobody takes note of it before [`note_filed`].
///
/// # Errors
/// When the ledger cannot be written.
pub fn file(conn: &mut LedgerConn, events: &[(Pseudonym, i64)]) -> DbResult<()> {
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
    Ok(())
}

const FORGET_WITHDRAWN: &str = "DELETE FROM filed WHERE pseudonym IN (SELECT pseudonym FROM withdrawal) AND seq > ? AND seq <= ? \
     AND NOT EXISTS (SELECT 1 FROM event WHERE event.seq = filed.seq)";

/// Notes that all events behind one number and up to another are filed, unless another node did. Call inside a transaction.
///
/// # Errors
/// When the ledger cannot be written.
pub fn note_filed(conn: &mut LedgerConn, (from, until): (i64, i64)) -> DbResult<()> {
    // Adding nothing locks the counter's row.
    if count(conn, Counter::FiledSeq, 0)? == from {
        // Removed after they were read here.
        Fixed::new(FORGET_WITHDRAWN, [Value::Number(from), Value::Number(until)]).run(conn)?;
        count(conn, Counter::FiledSeq, until - from)?;
    }
    Ok(())
}

/// Every hit of this recipient, removed; answers the ones removed that the projection has seen, so that counts can be taken back. Call
/// inside a transaction that lets no hits be added.
///
/// # Errors
/// When the ledger cannot be written.
pub fn delete_hits(conn: &mut LedgerConn, pseudonym: Pseudonym) -> DbResult<Vec<Event>> {
    let cursor = counted(conn, Counter::ProjectedSeq)?;
    // Locked: what is filed is noted before this, and then removed here, or afterwards without what is removed here.
    let filed_until = count(conn, Counter::FiledSeq, 0)?;
    let text = pseudonym.to_string();
    let kinds = [EventKind::Open.as_str(), EventKind::Click.as_str()];
    let mut rows: Vec<EventRow> = filed::table
        .inner_join(event::table.on(event::seq.eq(filed::seq)))
        .filter(filed::pseudonym.eq(&text))
        .filter(filed::seq.le(filed_until))
        .filter(event::kind.eq_any(kinds))
        .select(EventRow::as_select())
        .load(conn.sql())?;
    let behind = event::table.filter(event::seq.gt(filed_until)).filter(event::pseudonym.eq(&text)).filter(event::kind.eq_any(kinds));
    rows.extend(behind.select(EventRow::as_select()).load::<EventRow>(conn.sql())?);
    count(conn, Counter::DeletedHits, i64::try_from(rows.len()).unwrap_or_default())?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    for some in numbers.chunks(1000) {
        diesel::delete(filed::table.filter(filed::pseudonym.eq(&text)).filter(filed::seq.eq_any(some))).execute(conn.sql())?;
        diesel::delete(event::table.filter(event::seq.eq_any(some))).execute(conn.sql())?;
    }
    rows.into_iter().filter(|row| row.seq <= cursor).map(event_of).collect()
}
