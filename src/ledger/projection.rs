//! Events → each recipient's state and the counts per arm, with the cursor, in one transaction.
//!
//! Cast: [`advance`] (one step), [`follow`] (what was appended a moment ago), [`withdraw`] (take one recipient's hits out).
//!
//! Idempotent and restartable: a step either happened with its cursor, or not at all. It never changes an event.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::db::{DbError, DbResult, LedgerConn, LedgerDb};
use crate::ids::{CampaignNumber, Pseudonym, VariantNumber};
use crate::ledger::event::{Event, Whose};
use crate::ledger::filing;
use crate::ledger::judgement;
use crate::ledger::moved::Moved;
use crate::ledger::store::{self, Counter, Placed, TallyKey};
use crate::ledger::subject::{MEASURED, Part, State, Tally, clicked_link, hits_tally, link_tally};

pub use crate::ledger::verify::{Verified, verify};

/// Most events folded in one transaction: large enough to be cheap, small enough to let other writers in between.
pub const STEP: i64 = 5000;

/// Folds the next events. Answers how many there were; 0 when nothing is left.
pub fn advance(db: &LedgerDb) -> DbResult<usize> {
    // An idle round writes nothing: looking costs no commit.
    let is_behind =
        db.read(|conn| Ok::<_, DbError>(store::counted(conn, Counter::EventSeq)? > store::counted(conn, Counter::ProjectedSeq)?))?;
    if !is_behind {
        return Ok(0);
    }
    db.write(|conn| {
        // Adding nothing locks the cursor's row, so that two nodes never fold the same events.
        let cursor = store::count(conn, Counter::ProjectedSeq, 0)?;
        // Read before the events: whatever has a number up to it is committed and will be among them.
        let given = store::counted(conn, Counter::EventSeq)?;
        let (events, last) = store::events_after(conn, cursor, STEP)?;
        // Numbers of events passed over as known already are never used: the cursor goes on behind them.
        let last = if (events.len() as i64) < STEP { last.max(given) } else { last };
        if events.is_empty() {
            if last > cursor {
                store::save_tallies(conn, &BTreeMap::new(), last)?;
            }
            return Ok(0);
        }
        save(conn, &events, last)?;
        Ok(events.len())
    })
}

/// Folds events in the transaction that has just appended them under the numbers from behind `before` on, all of them new. Answers
/// `false`, and folds nothing, while earlier ones wait: then it is [`advance`]'s turn.
pub fn follow(conn: &mut LedgerConn, events: &[Event], before: i64) -> DbResult<bool> {
    // Adding nothing locks the cursor's row, as above. Whoever needs more locks takes them in this order: event numbers, cursor, recipients.
    if store::count(conn, Counter::ProjectedSeq, 0)? != before {
        return Ok(false);
    }
    save(conn, events, before.saturating_add(i64::try_from(events.len()).unwrap_or_default()))?;
    Ok(true)
}

fn save(conn: &mut LedgerConn, events: &[Event], cursor: i64) -> DbResult<()> {
    let mut subjects = store::placed(conn, &recipients(events))?;
    let mut moved = Moved::default();
    let (states, changes) = fold(events, &mut subjects, &mut moved);
    judgement::save_expecting(conn, &states, events)?;
    store::save_tallies(conn, &changes, cursor)?;
    store::forget_replays(conn, &moved)
}

fn recipients(events: &[Event]) -> HashSet<Pseudonym> {
    events
        .iter()
        .filter_map(|event| match event.whose {
            Whose::Recipient(pseudonym) => Some(pseudonym),
            Whose::Arm { .. } => None,
        })
        .collect()
}

/// The pure part: new states of those that changed, and the differences of the counts.
fn fold(
    events: &[Event],
    subjects: &mut HashMap<Pseudonym, Placed>,
    moved: &mut Moved,
) -> (Vec<(Pseudonym, State)>, BTreeMap<TallyKey, i64>) {
    let before: HashMap<Pseudonym, State> = subjects.iter().map(|(pseudonym, placed)| (*pseudonym, placed.state)).collect();
    let mut changes = BTreeMap::new();
    for event in events {
        let place = match event.whose {
            Whose::Arm { variant, part } => Some((event.campaign, part, variant)),
            Whose::Recipient(pseudonym) => subjects.get_mut(&pseudonym).map(|placed| {
                placed.state = placed.state.fold(event);
                (placed.campaign, placed.part, placed.variant)
            }),
        };
        if let Some(place) = place {
            count_hit(event, place, 1, &mut changes);
        }
    }
    let mut changed = Vec::new();
    for (pseudonym, placed) in subjects.iter() {
        let old = before.get(pseudonym).copied().unwrap_or_default();
        if old != placed.state {
            let old = Placed { state: old, ..*placed };
            count_difference(&old, placed, &mut changes);
            moved.note(&old, placed);
            changed.push((*pseudonym, placed.state));
        }
    }
    // Rows that lie together are written together.
    changed.sort_unstable_by_key(|(pseudonym, _)| *pseudonym);
    (changed, changes)
}

pub(super) fn count_hit(
    event: &Event,
    (campaign, part, variant): (CampaignNumber, Part, VariantNumber),
    by: i64,
    changes: &mut BTreeMap<TallyKey, i64>,
) {
    let Some(hit) = &event.hit else { return };
    *changes.entry((campaign, part, variant, hits_tally(event.kind, hit.verdict.class))).or_default() += by;
    if let Some(link) = clicked_link(event.kind, hit.verdict.class, hit.link, hit.multiplicity) {
        *changes.entry((campaign, part, variant, link_tally(link))).or_default() += by;
    }
}

pub(super) fn count_difference(old: &Placed, new: &Placed, changes: &mut BTreeMap<TallyKey, i64>) {
    count_state(old, -1, changes);
    count_state(new, 1, changes);
}

/// Adds what a recipient's state counts for, `by` times.
pub(super) fn count_state(placed: &Placed, by: i64, changes: &mut BTreeMap<TallyKey, i64>) {
    let mut name = |name: &str| *changes.entry((placed.campaign, placed.part, placed.variant, name.to_owned())).or_default() += by;
    for tally in placed.state.tallies() {
        name(tally.as_str());
        if tally == Tally::Delivered && placed.measured {
            name(MEASURED);
        }
    }
}

/// Takes measurement of these recipients back: nothing more is recorded, what was recorded of their hits goes, counts follow.
pub fn withdraw(db: &LedgerDb, pseudonyms: &[Pseudonym], now: Timestamp) -> DbResult<()> {
    // A person waits for it: looking through many events takes less time than filing them.
    filing::keep_up(db, filing::MOST)?;
    db.write(|conn| {
        // Adding nothing makes hits on their way wait: those after this are refused by the store, those before are deleted here.
        store::count(conn, Counter::EventSeq, 0)?;
        let cursor = store::count(conn, Counter::ProjectedSeq, 0)?;
        let all: HashSet<Pseudonym> = pseudonyms.iter().copied().collect();
        let subjects = store::placed(conn, &all)?;
        store::withdraw(conn, pseudonyms, now)?;
        let mut changes = BTreeMap::new();
        let mut moved = Moved::default();
        let mut states = Vec::new();
        let known: Vec<Pseudonym> = subjects.keys().copied().collect();
        for event in store::delete_hits(conn, &known)? {
            if let Whose::Recipient(pseudonym) = event.whose
                && let Some(placed) = subjects.get(&pseudonym)
            {
                count_hit(&event, (placed.campaign, placed.part, placed.variant), -1, &mut changes);
            }
        }
        for (pseudonym, placed) in subjects {
            let without_hits = State { delivery: placed.state.delivery, ..State::default() };
            let new = Placed { state: without_hits, measured: false, ..placed };
            count_difference(&placed, &new, &mut changes);
            moved.note(&placed, &new);
            states.push((pseudonym, without_hits));
        }
        store::save_states(conn, &states)?;
        store::save_tallies(conn, &changes, cursor)?;
        store::forget_replays(conn, &moved)
    })
}
