//! Events filed under their recipients, so that a letter's events are found without looking through all.
//!
//! Cast: [`unfiled`] (how many wait), [`is_overdue`] (whether too long), [`file`] (up to [`MOST`] of them), [`keep_up`] (before letters
//! are looked up).
//!
//! An index of the events themselves would be changed by every hit in a page of its own, and a burst of hits would wait for the disk
//! because of it. Filed later, many at a time and in order, a page is changed once for several recipients; where there are millions of
//! them, that gain is small again.
//!
//! It never changes an event, and nothing depends on how far it has come but how long it takes to find a letter's events.

use jiff::{SignedDuration, Timestamp};

use crate::db::{DbResult, LedgerDb};
use crate::ledger::store;

/// Most events put in order together: 24 bytes of memory each.
pub const MOST: i64 = 100_000;
/// Events so few that looking through them takes some milliseconds.
pub const FEW: i64 = 10_000;
/// Events read or filed at once: few enough to let other writers in between.
const STEP: i64 = 5_000;

/// How many events are to be filed, up to [`MOST`].
///
/// # Errors
/// When the ledger cannot be read.
pub fn unfiled(db: &LedgerDb) -> DbResult<i64> {
    Ok(db.read(|conn| store::next_to_file(conn, MOST))?.many())
}

/// Whether events wait that happened longer than `patience` ago; or later than now, by a clock that was set back since.
///
/// # Errors
/// When the ledger cannot be read.
pub fn is_overdue(db: &LedgerDb, now: Timestamp, patience: SignedDuration) -> DbResult<bool> {
    db.read(|conn| {
        let next = store::next_to_file(conn, 1)?;
        let at = if next.many() > 0 { store::first_moment_behind(conn, next.from)? } else { Some(now) };
        Ok(at.is_none_or(|at| now.duration_since(at).abs() > patience))
    })
}

/// Files the events that wait, up to [`MOST`]; answers whether there were any. Cut off in between, or overtaken by others or a withdrawal,
/// it is to be done again from the beginning.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn file(db: &LedgerDb) -> DbResult<bool> {
    let next = db.read(|conn| store::next_to_file(conn, MOST))?;
    if next.many() == 0 {
        return Ok(false);
    }
    let mut events = Vec::with_capacity(usize::try_from(next.many()).unwrap_or_default());
    let mut at = next.from;
    while at < next.until {
        let until = next.until.min(at + STEP);
        events.extend(db.read(|conn| store::whose_between(conn, at, until))?);
        at = until;
    }
    // Rows that lie together are written together.
    events.sort_unstable();
    for some in events.chunks(usize::try_from(STEP).unwrap_or(usize::MAX)) {
        // Lost with the power, it is done again: the last transaction says that all is there, and is later than these.
        if !db.write_soon(|conn| store::file(conn, next, some))? {
            return Ok(true);
        }
    }
    db.write(|conn| store::note_filed(conn, next))?;
    Ok(true)
}

/// Files what waits now, but for `few`.
///
/// # Errors
/// When the ledger cannot be read or written; what was filed stays filed.
pub fn keep_up(db: &LedgerDb, few: i64) -> DbResult<()> {
    let all = db.read(|conn| store::next_to_file(conn, i64::MAX))?;
    while db.read(|conn| store::next_to_file(conn, MOST))?.from.saturating_add(few) < all.until {
        file(db)?;
    }
    Ok(())
}
