//! A letter's hits judged together, some time after they came: the second pass over what is stored.
//!
//! Cast: [`step`] (what is due), [`campaign`] (a whole campaign at once: before its look, or after a change of rules), [`Round`] (what a
//! step did), [`Changes`] (hits by class before and after), [`save_expecting`] (the projection tells which letters got hits).
//!
//! Hits, states, counts and the next moment to look change in one transaction, so that counts can be derived again at any time. What the
//! immediate rules said is never changed. Hits become final a day after they came; their times are cut to the hour then, here and in
//! the recipient's state.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::db::{DbError, DbResult, LedgerConn, LedgerDb};
use crate::ids::{CampaignNumber, Pseudonym, VariantNumber};
use crate::ledger::event::{Event, EventKind, Hit, Whose};
use crate::ledger::filing;
use crate::ledger::moved::Moved;
use crate::ledger::projection::{count_difference, count_hit};
use crate::ledger::store::{self, Change, Counter, JudgedHit, Placed, TallyKey};
use crate::ledger::subject::State;
use crate::signal::context::{FINAL, Judged, Letter, LetterHit, QUIET, judge, settle, to_the_hour};
use crate::signal::verdict::revise;
use crate::signal::{Class, HitKind, Verdict};

/// Most recipients judged in one transaction.
pub const STEP: i64 = 500;
/// Most hits judged in one transaction, but for a single recipient's: what is judged together is held in memory.
const MOST_HITS: u64 = 100_000;
/// Milliseconds that a letter may be looked at before it has been quiet for long enough: it is looked at again then.
const EARLY: i64 = 60_000;

/// How many different links a variant's letter has; 0 where that is not known.
pub type LinksOf<'a> = &'a dyn Fn(CampaignNumber, VariantNumber) -> usize;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Recipients whose hits were judged.
    pub letters: usize,
    /// Hits whose time was cut to the hour without being judged with others: those of shared pixels and links.
    pub cut: usize,
    /// What changed.
    pub changes: Changes,
}

/// Hits by kind, class before and class after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    /// Hits looked at.
    pub hits: u64,
    /// Of these, hits with another class, confidence or reason than before.
    pub changed: u64,
    /// `(kind, before, after)` → hits, those that stayed in their class included.
    #[serde(serialize_with = "as_list")]
    pub moves: BTreeMap<(&'static str, Class, Class), u64>,
}

impl Changes {
    /// Adds another round's changes.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.changed += other.changed;
        for (key, count) in &other.moves {
            *self.moves.entry(*key).or_default() += count;
        }
    }

    fn note(&mut self, old: &Event, new: &Event) {
        let (Some(before), Some(after)) = (old.hit, new.hit) else { return };
        self.hits += 1;
        let words = |hit: Hit| (hit.verdict.class, hit.verdict.confidence, hit.verdict.reasons);
        self.changed += u64::from(words(before) != words(after));
        *self.moves.entry((old.kind.as_str(), before.verdict.class, after.verdict.class)).or_default() += 1;
    }
}

fn as_list<S: serde::Serializer>(moves: &BTreeMap<(&'static str, Class, Class), u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(moves.iter().map(|((kind, before, after), hits)| Move { kind, before: *before, after: *after, hits: *hits }))
}

#[derive(Serialize)]
struct Move {
    kind: &'static str,
    before: Class,
    after: Class,
    hits: u64,
}

/// When the letters of those with hits among the events will have been quiet, and who they are. One moment for all: a little later than
/// needed for the first of them, and one statement for all. None: there is no hit among the events.
fn expected(events: &[Event]) -> Option<(i64, BTreeSet<Pseudonym>)> {
    let hits = || events.iter().filter(|event| event.hit.is_some());
    let last = hits().map(|event| event.at.as_millisecond()).max()?;
    let whose = hits().filter_map(|event| match event.whose {
        Whose::Recipient(pseudonym) => Some(pseudonym),
        Whose::Arm { .. } => None,
    });
    Some((last.saturating_add(QUIET), whose.collect()))
}

/// Saves states of recipients in the step that folded their events, and when their hits are to be judged; theirs too whose states are as
/// they were.
///
/// # Errors
/// When the ledger cannot be written.
pub fn save_expecting(conn: &mut LedgerConn, states: &[(Pseudonym, State)], events: &[Event]) -> DbResult<()> {
    let Some((quiet, mut whose)) = expected(events) else { return store::save_states(conn, states) };
    let (with_hits, others): (Vec<_>, Vec<_>) = states.iter().copied().partition(|(pseudonym, _)| whose.remove(pseudonym));
    store::save_states_to_judge(conn, &with_hits, quiet)?;
    store::save_states(conn, &others)?;
    let unchanged: Vec<Pseudonym> = whose.into_iter().collect();
    store::await_quiet(conn, &unchanged, quiet, EARLY)
}

/// Judges the letters that are due by `now`, a bounded number of them.
///
/// # Errors
/// When the ledger cannot be read or written; nothing has happened then.
pub fn step(db: &LedgerDb, links_of: LinksOf<'_>, now: Timestamp) -> DbResult<Round> {
    let a_day = SignedDuration::from_millis(FINAL);
    let yesterday = now.checked_sub(a_day).unwrap_or(now);
    let (due, shared) = db.read(|conn| Ok::<_, DbError>((store::to_judge(conn, now, 1)?, store::has_shared_hits(conn, yesterday)?)))?;
    // An idle round writes nothing: looking costs no commit.
    if due.is_empty() && !shared {
        return Ok(Round::default());
    }
    filing::keep_up(db, filing::FEW)?;
    db.write(|conn| {
        let cursor = lock(conn)?;
        let due = store::to_judge(conn, now, STEP)?;
        let due = together(conn, &due)?;
        let round = Round { cut: store::cut_shared_hits(conn, yesterday, cursor)?, ..Round::default() };
        let mut judging = Judging { cursor, links_of, now, again: false, writes: true, round };
        judging.letters(conn, due)?;
        Ok(judging.round)
    })
}

/// Which letters of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those with hits that are not final.
    Open,
    /// All: after a change of rules. Final hits have no exact time any more, so only their immediate rule is looked up again.
    All,
}

/// Judges a campaign's letters now, due or not. A dry run changes nothing and answers what would change.
///
/// # Errors
/// When the ledger cannot be read or written; what was judged before stays judged.
pub fn campaign(
    db: &LedgerDb,
    number: CampaignNumber,
    extent: Extent,
    links_of: LinksOf<'_>,
    now: Timestamp,
    is_dry: bool,
) -> DbResult<Round> {
    let mut judging = Judging { cursor: 0, links_of, now, again: extent == Extent::All, writes: !is_dry, round: Round::default() };
    let mut after = None;
    loop {
        filing::keep_up(db, filing::FEW)?;
        let some = db.read(|conn| {
            let some = store::pseudonyms_after(conn, number, after, extent == Extent::Open, STEP)?;
            together(conn, &some).map(<[Pseudonym]>::to_vec)
        })?;
        let Some(last) = some.last() else { return Ok(judging.round) };
        after = Some(*last);
        if is_dry {
            db.read(|conn| {
                judging.cursor = store::counted(conn, Counter::ProjectedSeq)?;
                judging.letters(conn, &some)
            })?;
        } else {
            db.write(|conn| {
                judging.cursor = lock(conn)?;
                judging.letters(conn, &some)
            })?;
        }
    }
}

/// As many of these recipients, from the first on, as have few enough hits to be judged together.
fn together<'a>(conn: &mut LedgerConn, some: &'a [Pseudonym]) -> DbResult<&'a [Pseudonym]> {
    let filed = store::filed_under(conn, some, i64::MAX)?;
    let events: HashMap<Pseudonym, u64> = filed.into_iter().map(|(pseudonym, events, _)| (pseudonym, events)).collect();
    Ok(first_of(some, |pseudonym| events.get(pseudonym).copied().unwrap_or_default()))
}

/// The pure part of it: at least one.
fn first_of(some: &[Pseudonym], events: impl Fn(&Pseudonym) -> u64) -> &[Pseudonym] {
    let mut sum = 0_u64;
    let fits = |pseudonym: &&Pseudonym| {
        sum = sum.saturating_add(events(pseudonym));
        sum <= MOST_HITS
    };
    let many = some.iter().take_while(fits).count();
    some.get(..many.max(1)).unwrap_or(some)
}

/// Adding nothing locks the cursor's row: events are either folded before, or after with what is written here.
fn lock(conn: &mut LedgerConn) -> DbResult<i64> {
    store::count(conn, Counter::ProjectedSeq, 0)
}

/// One piece of judging: what it is told, and what it did.
struct Judging<'a> {
    /// Events up to this number are folded into states and counts.
    cursor: i64,
    links_of: LinksOf<'a>,
    now: Timestamp,
    /// Whether final hits are looked at again.
    again: bool,
    writes: bool,
    round: Round,
}

impl Judging<'_> {
    fn letters(&mut self, conn: &mut LedgerConn, due: &[Pseudonym]) -> DbResult<()> {
        let all: HashSet<Pseudonym> = due.iter().copied().collect();
        let placed = store::placed(conn, &all)?;
        let letters = store::letters(conn, due, self.cursor)?;
        let mut tallies: BTreeMap<TallyKey, i64> = BTreeMap::new();
        let mut moved = Moved::default();
        let (mut states, mut changed) = (Vec::new(), Vec::new());
        let mut look_again: BTreeMap<Option<i64>, Vec<Pseudonym>> = BTreeMap::new();
        for pseudonym in due {
            let Some(place) = placed.get(pseudonym) else { continue };
            let events = letters.get(pseudonym).map(Vec::as_slice).unwrap_or_default();
            let (changes, next) = judge_letter(events, (self.links_of)(place.campaign, place.variant), self.now, self.again);
            let state = refold(events, &changes);
            for change in &changes {
                let at = (place.campaign, place.part, place.variant);
                count_hit(&change.old, at, -1, &mut tallies);
                count_hit(&change.new, at, 1, &mut tallies);
                self.round.changes.note(&change.old, &change.new);
            }
            if state != place.state {
                let new = Placed { state, ..*place };
                count_difference(place, &new, &mut tallies);
                moved.note(place, &new);
                states.push((*pseudonym, state));
            }
            changed.extend(changes.into_iter().filter(|change| change.old != change.new || change.settled != change.was_settled));
            look_again.entry(next).or_default().push(*pseudonym);
            self.round.letters += 1;
        }
        if self.writes {
            store::save_judgements(conn, &changed)?;
            store::save_states(conn, &states)?;
            store::save_tallies(conn, &tallies, self.cursor)?;
            store::forget_replays(conn, &moved)?;
            for (next, pseudonyms) in look_again {
                store::await_judgement(conn, &pseudonyms, next)?;
            }
        }
        Ok(())
    }
}

/// The pure part: every hit of a letter as it was and as it will be (without final ones, unless `again`), and when to look again.
fn judge_letter(events: &[JudgedHit], links: usize, now: Timestamp, again: bool) -> (Vec<Change>, Option<i64>) {
    let hits: Vec<(&JudgedHit, LetterHit)> = events.iter().filter_map(|one| Some((one, letter_hit(one, again)?))).collect();
    let of_kind = |kind: EventKind| events.iter().filter(move |one| one.event.kind == kind).map(|one| one.event.at.as_millisecond());
    let letter = Letter {
        hits: hits.iter().map(|(_, hit)| *hit).collect(),
        links,
        confirmed: of_kind(EventKind::Unsubscribed).collect(),
        accepted: of_kind(EventKind::Sent).min(),
    };
    let times: Vec<(i64, bool)> = hits.iter().map(|(one, hit)| (hit.at, one.settled)).collect();
    let settling = settle(&times, now.as_millisecond());
    let changes = hits
        .iter()
        .zip(judge(&letter))
        .zip(&settling.is_final)
        .filter(|(((one, _), _), _)| again || !one.settled)
        .filter_map(|(((one, hit), judged), is_final)| change(one, hit, judged, *is_final));
    (changes.collect(), settling.look_again)
}

fn letter_hit(one: &JudgedHit, again: bool) -> Option<LetterHit> {
    let (hit, first) = (one.event.hit?, one.first?);
    let kind = if one.event.kind == EventKind::Open { HitKind::Open } else { HitKind::Click };
    let settled = if again { revise_final(kind, first, hit.verdict) } else { hit.verdict };
    Some(LetterHit {
        at: one.event.at.as_millisecond(),
        kind,
        link: hit.link.map_or(0, |link| link.0),
        first,
        family: hit.family,
        device: hit.device,
        settled: one.settled.then_some(settled),
    })
}

/// A final hit under the rules of today: where its immediate rule says another class than it did, that; otherwise what it was.
fn revise_final(kind: HitKind, first: Verdict, stood: Verdict) -> Verdict {
    let revised = revise(kind, first);
    if revised.class == first.class { Verdict { ruleset: revised.ruleset, ..stood } } else { revised }
}

fn change(one: &JudgedHit, hit: &LetterHit, judged: Judged, is_final: bool) -> Option<Change> {
    let (old, stored) = (one.event.clone(), one.event.hit?);
    let at = if is_final { Timestamp::from_millisecond(to_the_hour(hit.at)).unwrap_or(old.at) } else { old.at };
    // Who stands for whom is final too.
    let multiplicity = if one.settled { stored.multiplicity } else { judged.multiplicity };
    let new = Event { at, hit: Some(Hit { verdict: judged.verdict, multiplicity, ..stored }), ..old.clone() };
    Some(Change { seq: one.seq, old, new, first: one.first?, was_settled: one.settled, settled: is_final })
}

/// A recipient's state from all events, with these hits as they will be.
fn refold(events: &[JudgedHit], changes: &[Change]) -> State {
    let new: BTreeMap<i64, &Event> = changes.iter().map(|change| (change.seq, &change.new)).collect();
    events.iter().fold(State::default(), |state, one| state.fold(new.get(&one.seq).copied().unwrap_or(&one.event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_letters_are_judged_together_as_memory_allows_and_one_at_least() {
        let all: Vec<Pseudonym> = (0..5).map(|number| Pseudonym::from_bytes([number; 16])).collect();
        let of = |events: [u64; 5]| first_of(&all, |pseudonym| events[usize::from(pseudonym.as_bytes()[0])]).len();
        assert_eq!(of([1, 0, 3, 4, 5]), 5);
        assert_eq!(of([60_000, 40_000, 0, 1, 0]), 3);
        assert_eq!(of([60_000, 40_001, 0, 1, 0]), 1);
        assert_eq!(of([600_000, 0, 0, 0, 0]), 1);
        assert!(first_of(&[], |_| 0).is_empty());
    }
}
