//! The only SQL of which tracking nodes are there, and up to when all hits they took are in the ledger.
//!
//! Each node writes this of itself, by its own clock, which is the one its hits carry.

use diesel::prelude::*;
use jiff::Timestamp;

use crate::db::{AnyConnection, DbResult, LedgerConn};
use crate::ledger::look::Silent;
use crate::ledger::schema::spool;

/// Notes that a spool's process is there, and, where that is known, the moment before which every hit it took is in the ledger.
///
/// # Errors
/// When the ledger cannot be written.
pub fn note_alive(conn: &mut LedgerConn, id: &str, alive_at: Timestamp, loaded_before: Option<Timestamp>) -> DbResult<()> {
    let insert =
        diesel::insert_into(spool::table).values((spool::id.eq(id), spool::segment.eq(0), spool::place.eq(0), spool::damaged.eq(false)));
    let this = || spool::table.find(id);
    let alive = spool::alive_at.eq(alive_at.as_millisecond());
    if diesel::update(this()).set(alive).execute(conn.sql())? == 0 {
        // The first hits may be stored by another thread at the same time.
        match conn.sql() {
            AnyConnection::Sqlite(sqlite) => insert.on_conflict_do_nothing().execute(sqlite)?,
            AnyConnection::Postgres(postgres) => insert.on_conflict_do_nothing().execute(postgres)?,
        };
        diesel::update(this()).set(alive).execute(conn.sql())?;
    }
    if let Some(before) = loaded_before {
        diesel::update(this()).set(spool::loaded_before.eq(before.as_millisecond())).execute(conn.sql())?;
    }
    Ok(())
}

/// Notes that a spool's process has ended with every hit it took in the ledger: nobody waits for it.
///
/// # Errors
/// When the ledger cannot be written.
pub fn note_gone(conn: &mut LedgerConn, id: &str) -> DbResult<()> {
    diesel::update(spool::table.find(id)).set(spool::alive_at.eq(None::<i64>)).execute(conn.sql())?;
    Ok(())
}

/// Whether a spool's process is noted as being there.
///
/// # Errors
/// When the ledger cannot be read.
pub fn is_there(conn: &mut LedgerConn, id: &str) -> DbResult<bool> {
    let there = spool::table.find(id).filter(spool::alive_at.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(there)).get_result(conn.sql())?)
}

/// Spools that were there at `since` or later and of which nothing tells that all hits before `before` are in the ledger, but for `own`.
///
/// # Errors
/// When the ledger cannot be read.
pub fn silent_spools(conn: &mut LedgerConn, own: Option<&str>, since: Timestamp, before: Timestamp) -> DbResult<Vec<Silent>> {
    let rows: Vec<(String, Option<i64>)> = spool::table
        .filter(spool::alive_at.ge(since.as_millisecond()))
        .filter(spool::loaded_before.is_null().or(spool::loaded_before.lt(before.as_millisecond())))
        .filter(spool::id.ne(own.unwrap_or_default()))
        .order(spool::id)
        .select((spool::id, spool::alive_at))
        .load(conn.sql())?;
    Ok(rows.into_iter().filter_map(|(spool, alive_at)| Some(Silent { spool, alive_at: alive_at? })).collect())
}
