//! What became of letters, copied from the vault to the ledger under the pseudonym.
//!
//! Exactly once by the outcome's id: the ledger passes over what it has, and only then the outcome goes. Run it as often as you like.

use crate::db::{DbError, DbResult, LedgerDb, VaultDb};
use crate::delivery::mailing::{Outcome, OutcomeKind};
use crate::delivery::store as deliveries;
use crate::ids::RecordingMode;
use crate::ledger::event::{Event, EventKind, Whose};
use crate::ledger::projection;
use crate::ledger::store::{self as events, Counter};

/// Most outcomes copied in one step: as many as are counted in one.
pub const STEP: i64 = projection::STEP;

/// Copies the next outcomes and counts them; answers how many, 0 when nothing is left.
pub fn relay(vault: &VaultDb, ledger: &LedgerDb) -> DbResult<usize> {
    let outcomes = vault.read(|conn| deliveries::outcomes_waiting(conn, STEP))?;
    if outcomes.is_empty() {
        return Ok(0);
    }
    let facts: Vec<Event> = outcomes.iter().map(event).collect();
    ledger.write(|conn| {
        // Adding nothing locks: event numbers, cursor, recipients, in this order as everywhere.
        let before = events::count(conn, Counter::EventSeq, 0)?;
        events::count(conn, Counter::ProjectedSeq, 0)?;
        // Whoever agreed to less between enrolment and sending got a letter that measures less: no missing click of theirs means "no".
        for mode in RecordingMode::ALL {
            let made_so = outcomes.iter().filter(|outcome| outcome.recording == Some(mode)).map(|outcome| outcome.pseudonym);
            events::lower_recording(conn, &made_so.collect::<Vec<_>>(), mode)?;
        }
        let new = events::append(conn, &facts)?;
        // Usual: all are new, nothing waits. Otherwise they are counted from what is stored, a little later.
        if new == facts.len() {
            projection::follow(conn, &facts, before)?;
        }
        Ok::<_, DbError>(())
    })?;
    vault.write_soon(|conn| deliveries::forget_relayed(conn, &outcomes))?;
    Ok(outcomes.len())
}

fn event(outcome: &Outcome) -> Event {
    Event {
        id: outcome.event,
        campaign: outcome.campaign,
        whose: Whose::Recipient(outcome.pseudonym),
        kind: match outcome.kind {
            OutcomeKind::Sent => EventKind::Sent,
            OutcomeKind::Refused => EventKind::Refused,
            OutcomeKind::Failed => EventKind::Failed,
            OutcomeKind::Skipped => EventKind::Skipped,
            OutcomeKind::Uncertain => EventKind::Uncertain,
            OutcomeKind::Bounced => EventKind::Bounced,
            OutcomeKind::Complained => EventKind::Complained,
            OutcomeKind::Unsubscribed => EventKind::Unsubscribed,
        },
        at: outcome.at,
        hit: None,
        reason: (!outcome.reason.is_empty()).then(|| outcome.reason.clone()),
    }
}
