//! Events filed under their recipients, so that a letter's events are found without looking through all.
//!
//! Cast: [`waiting`] (whether it is time), [`file`], [`keep_up`] (before letters are looked up).
//!
//! An index of the events themselves would be changed by every hit in a page of its own, and a burst of hits would wait for the disk
//! because of it. Filed later, many at a time and in order, a page is changed once for all of its recipients.
//!
//! Nothing depends on how far filing has come but how long it takes to find a letter's events.

use jiff::{SignedDuration, Timestamp};

use crate::db::{DbResult, LedgerDb};
use crate::ledger::store;

/// Most events put in order together: 24 bytes of memory each.
pub const MOST: i64 = 100_000;
/// Events read or filed at once: few enough to let other writers in between.
const STEP: i64 = 5_000;
/// Events so few that looking through them costs less than filing them.
const FEW: i64 = 1000;

/// How many events are to be filed, up to [`MOST`].
///
/// # Errors
/// When the ledger cannot be read.
pub fn waiting(db: &LedgerDb) -> DbResult<i64> {
    let (from, until) = db.read(|conn| store::next_to_file(conn, MOST))?;
    Ok(until - from)
}

/// Whether events wait that happened longer than `patience` ago; or later than now, by a clock that was set back since.
///
/// # Errors
/// When the ledger cannot be read.
pub fn is_overdue(db: &LedgerDb, now: Timestamp, patience: SignedDuration) -> DbResult<bool> {
    db.read(|conn| {
        let (from, until) = store::next_to_file(conn, 1)?;
        let at = if until > from { store::first_moment_behind(conn, from)? } else { Some(now) };
        Ok(at.is_none_or(|at| now.duration_since(at).abs() > patience))
    })
}

/// Files the events that wait, up to [`MOST`]; answers whether there were any. Cut off in between, it is done again from the beginning.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn file(db: &LedgerDb) -> DbResult<bool> {
    let (from, until) = db.read(|conn| store::next_to_file(conn, MOST))?;
    if from == until {
        return Ok(false);
    }
    let mut events = Vec::with_capacity(usize::try_from(until - from).unwrap_or_default());
    let mut at = from;
    while at < until {
        let next = until.min(at + STEP);
        events.extend(db.read(|conn| store::whose_between(conn, (at, next)))?);
        at = next;
    }
    // Rows that lie together are written together.
    events.sort_unstable();
    for some in events.chunks(usize::try_from(STEP).unwrap_or(usize::MAX)) {
        // Lost with the power, it is done again: the last transaction says that all is there, and is later than these.
        db.write_soon(|conn| store::file(conn, some))?;
    }
    db.write(|conn| store::note_filed(conn, (from, until)))?;
    Ok(true)
}

/// Files all but a few events.
///
/// # Errors
/// When the ledger cannot be read or written; what was filed stays filed.
pub fn keep_up(db: &LedgerDb) -> DbResult<()> {
    while waiting(db)? > FEW {
        file(db)?;
    }
    Ok(())
}
