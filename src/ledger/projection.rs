//! Events → each recipient's state and the counts per arm, with the cursor, in one transaction.
//!
//! Cast: [`advance`] (one step), [`follow`] (what was appended a moment ago), [`verify`] (derive everything again and compare), [`withdraw`] (take one recipient's hits out).
//!
//! Idempotent and restartable: a step either happened with its cursor, or not at all. It never changes an event.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::db::{DbError, DbResult, LedgerConn, LedgerDb};
use crate::ids::{CampaignNumber, Pseudonym, VariantNumber};
use crate::ledger::event::{Event, EventKind, Whose};
use crate::ledger::judgement;
use crate::ledger::store::{self, Counter, Placed, TallyKey};
use crate::ledger::subject::{MEASURED, Part, State, Tally, hits_tally, link_tally};
use crate::signal::Class;

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
    // Adding nothing locks the cursor's row, as above; whoever needs both locks takes that of the event numbers first.
    if store::count(conn, Counter::ProjectedSeq, 0)? != before {
        return Ok(false);
    }
    save(conn, events, before.saturating_add(i64::try_from(events.len()).unwrap_or_default()))?;
    Ok(true)
}

fn save(conn: &mut LedgerConn, events: &[Event], cursor: i64) -> DbResult<()> {
    let mut subjects = store::placed(conn, &recipients(events))?;
    let (states, changes) = fold(events, &mut subjects);
    judgement::save_expecting(conn, &states, events)?;
    store::save_tallies(conn, &changes, cursor)
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
fn fold(events: &[Event], subjects: &mut HashMap<Pseudonym, Placed>) -> (Vec<(Pseudonym, State)>, BTreeMap<TallyKey, i64>) {
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
            count_difference(&Placed { state: old, ..*placed }, placed, &mut changes);
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
    // A double click on a link is one click.
    if let (EventKind::Click, Class::Human, Some(link), 1..) = (event.kind, hit.verdict.class, hit.link, hit.multiplicity) {
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
    db.write(|conn| {
        // Adding nothing makes hits on their way wait: those after this are refused by the store, those before are deleted here.
        store::count(conn, Counter::EventSeq, 0)?;
        let cursor = store::count(conn, Counter::ProjectedSeq, 0)?;
        let all: HashSet<Pseudonym> = pseudonyms.iter().copied().collect();
        let subjects = store::placed(conn, &all)?;
        store::withdraw(conn, pseudonyms, now)?;
        let mut changes = BTreeMap::new();
        let mut states = Vec::new();
        for (pseudonym, placed) in subjects {
            for event in store::delete_hits(conn, pseudonym)? {
                count_hit(&event, (placed.campaign, placed.part, placed.variant), -1, &mut changes);
            }
            let without_hits = State { delivery: placed.state.delivery, ..State::default() };
            count_difference(&placed, &Placed { state: without_hits, measured: false, ..placed }, &mut changes);
            states.push((pseudonym, without_hits));
        }
        store::save_states(conn, &states)?;
        store::save_tallies(conn, &changes, cursor)
    })
}

/// What deriving everything again found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Events read.
    pub events: u64,
    /// Counts compared.
    pub counts: u64,
    /// Recipients whose states were compared.
    pub recipients: u64,
    /// Counts that differed, as `campaign/part/variant/name: stored, derived`, and of how many recipients the states did.
    pub differences: Vec<String>,
}

/// Derives every recipient's state and every count from the events alone and compares; nothing is changed. Events after the cursor are
/// left out. Call inside a [snapshot](LedgerDb::snapshot): otherwise what is written meanwhile looks like a difference.
///
/// Holds one small state per recipient in memory, about 100 bytes each.
///
/// # Errors
/// When the ledger cannot be read.
pub fn verify(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Verified> {
    let until = store::counted(conn, Counter::ProjectedSeq)?;
    let stored = store::all_tallies(conn, campaign)?;
    let mut derived = derive(conn, campaign, until, None)?;
    for (placed, many) in store::states_by_arm(conn, campaign)? {
        *derived.tallies.entry(store::enrolled_key(&placed)).or_default() += many;
    }
    let mut verified = compare(&stored, &derived.tallies, derived.events);
    compare_states(conn, campaign, &derived.subjects, &mut verified)?;
    Ok(verified)
}

fn compare_states(
    conn: &mut LedgerConn,
    campaign: CampaignNumber,
    derived: &HashMap<Pseudonym, Placed>,
    verified: &mut Verified,
) -> DbResult<()> {
    let mut differing: BTreeMap<(Part, VariantNumber), u64> = BTreeMap::new();
    let mut with_state = 0;
    let all: Vec<Pseudonym> = derived.keys().copied().collect();
    for some in all.chunks(STEP as usize) {
        for (pseudonym, stored) in store::placed(conn, &some.iter().copied().collect())? {
            with_state += u64::from(stored.state != State::default());
            if derived.get(&pseudonym).is_none_or(|placed| placed.state != stored.state) {
                *differing.entry((stored.part, stored.variant)).or_default() += 1;
            }
        }
    }
    verified.recipients = all.len() as u64;
    for ((part, variant), many) in differing {
        verified.differences.push(format!("{campaign}/{}/{variant}: the states of {many} recipients", part.as_str()));
    }
    let without_events = store::with_state(conn, campaign)?.saturating_sub(with_state);
    if without_events > 0 {
        verified.differences.push(format!("{campaign}: {without_events} recipients have a state without events"));
    }
    Ok(())
}

/// States and counts of a campaign, from its events alone.
pub(super) struct Derived {
    /// Everybody something happened to.
    pub(super) subjects: HashMap<Pseudonym, Placed>,
    /// The counts.
    pub(super) tallies: BTreeMap<TallyKey, i64>,
    /// How many events there were.
    pub(super) events: u64,
}

/// Folds a campaign's events with numbers up to `until`; with `before`, only those that happened up to and with that moment.
pub(super) fn derive(conn: &mut LedgerConn, campaign: CampaignNumber, until: i64, before: Option<Timestamp>) -> DbResult<Derived> {
    let mut subjects: HashMap<Pseudonym, Placed> = HashMap::new();
    let mut derived: BTreeMap<TallyKey, i64> = BTreeMap::new();
    let (mut cursor, mut read) = (0, 0);
    loop {
        let (mut events, last) = store::events_of_campaign(conn, campaign, cursor..=until, STEP)?;
        if events.is_empty() {
            return Ok(Derived { subjects, tallies: derived, events: read });
        }
        events.retain(|event| before.is_none_or(|before| event.at <= before));
        let unseen: HashSet<Pseudonym> = recipients(&events).into_iter().filter(|pseudonym| !subjects.contains_key(pseudonym)).collect();
        for (pseudonym, placed) in store::placed(conn, &unseen)? {
            subjects.insert(pseudonym, Placed { state: State::default(), ..placed });
        }
        let (_, changes) = fold(&events, &mut subjects);
        for (key, by) in changes {
            *derived.entry(key).or_default() += by;
        }
        read += events.len() as u64;
        cursor = last;
    }
}

fn compare(stored: &BTreeMap<TallyKey, i64>, derived: &BTreeMap<TallyKey, i64>, events: u64) -> Verified {
    let keys: std::collections::BTreeSet<_> = stored.keys().chain(derived.keys()).collect();
    let mut differences = Vec::new();
    for key in &keys {
        let (have, should) = (stored.get(key).copied().unwrap_or_default(), derived.get(key).copied().unwrap_or_default());
        if have != should {
            differences.push(format!("{}/{}/{}/{}: {have}, {should}", key.0, key.1.as_str(), key.2, key.3));
        }
    }
    Verified { events, counts: keys.len() as u64, recipients: 0, differences }
}
