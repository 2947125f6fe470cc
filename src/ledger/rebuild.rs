//! States and counts made anew from the events, while hits come in, letters go out and campaigns go on.
//!
//! Cast: [`run`] (a campaign, or all of them, from where it was stopped), [`Rebuilt`] (what it did).
//!
//! It looks without holding anybody up, and changes only what is wrong: first each campaign's counts, by what they are off from the states
//! and hits as they stand; then a recipient's state under the cursor's lock, from that recipient's events, its counts with it. Whatever is
//! written meanwhile adds its own differences to states and counts alike, so what a count is off stays the same until it is corrected,
//! once. It never changes an event, what was written down of a test, or who was at risk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::Serialize;

use crate::db::{DbError, DbResult, LedgerConn, LedgerDb};
use crate::ids::{CampaignNumber, Pseudonym};
use crate::ledger::derive::{Derived, derive};
use crate::ledger::filing;
use crate::ledger::moved::Moved;
use crate::ledger::projection::{count_difference, count_state};
use crate::ledger::store::{self, Counter, Placed, Progress, TallyKey};
use crate::ledger::subject::State;
use crate::signal::context::QUIET;

/// Recipients looked at in one go, and mended in one transaction at most.
pub const STEP: i64 = 1000;
/// Where nothing is wrong, how far it is is written down every so many goes.
const NOTE_EVERY: u32 = 10;

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Recipients looked at, before it was stopped included.
    pub recipients: u64,
    /// Recipients whose state, or whose hits' next judgement, was not what the events say.
    pub mended: u64,
    /// Counts that were off from states and hits as they stood at its beginning, and are corrected.
    pub corrected: u64,
    /// Whether it came to its end; otherwise the next one goes on from here.
    pub is_finished: bool,
}

/// Makes states and counts anew: of one campaign, or of `campaigns`, all there are. Goes on with one that was stopped unless told to begin
/// `afresh`. `told` hears of every thousand recipients, and may stop it.
///
/// # Errors
/// When the ledger cannot be read or written; the next one goes on.
pub fn run(
    db: &LedgerDb,
    scope: Option<CampaignNumber>,
    campaigns: &[CampaignNumber],
    afresh: bool,
    now: Timestamp,
    told: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> DbResult<Rebuilt> {
    let begun = if afresh { None } else { db.read(|conn| store::rebuild(conn, scope))? };
    let mut progress = begun.unwrap_or(Progress { began_at: now, after: None, recipients: 0, mended: 0 });
    db.write(|conn| {
        if begun.is_none() {
            // What letters' events are found by may be what is wrong: here what is missing, with each recipient what is too much.
            store::file_again(conn)?;
        }
        store::save_rebuild(conn, scope, &progress)
    })?;
    let chosen = || campaigns.iter().filter(|campaign| scope.is_none_or(|scope| scope == **campaign));
    let mut corrected = 0;
    for campaign in chosen() {
        corrected += recount(db, *campaign)?;
    }
    let mut goes = 0_u32;
    while let Some(wrong) = look(db, scope, &mut progress)? {
        goes = goes.wrapping_add(1);
        if !wrong.is_empty() {
            progress.mended += db.write(|conn| {
                let mended = mend(conn, &wrong)?;
                store::save_rebuild(conn, scope, &Progress { mended: progress.mended + mended, ..progress })?;
                Ok::<_, DbError>(mended)
            })?;
        } else if goes.is_multiple_of(NOTE_EVERY) {
            db.write(|conn| store::save_rebuild(conn, scope, &progress))?;
        }
        if told(&progress).is_break() {
            db.write(|conn| store::save_rebuild(conn, scope, &progress))?;
            return Ok(Rebuilt { recipients: progress.recipients, mended: progress.mended, corrected, is_finished: false });
        }
    }
    // Nothing, unless somebody has changed counts by hand since.
    for campaign in chosen() {
        corrected += recount(db, *campaign)?;
    }
    db.write(|conn| store::end_rebuild(conn, scope))?;
    Ok(Rebuilt { recipients: progress.recipients, mended: progress.mended, corrected, is_finished: true })
}

/// The next recipients, and which of them are to be mended. None: that was all.
fn look(db: &LedgerDb, scope: Option<CampaignNumber>, progress: &mut Progress) -> DbResult<Option<Vec<Pseudonym>>> {
    filing::keep_up(db, filing::FEW)?;
    let looked = db.snapshot(|conn| {
        let page = store::recipients_after(conn, progress.after, STEP)?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        progress.after = Some(*last);
        let of_scope = page.iter().filter(|(_, campaign)| scope.is_none_or(|scope| scope == *campaign));
        let chosen: Vec<Pseudonym> = of_scope.map(|(pseudonym, _)| *pseudonym).collect();
        progress.recipients += chosen.len() as u64;
        let cursor = store::counted(conn, Counter::ProjectedSeq)?;
        let wrong: Vec<Pseudonym> = wrong(conn, &chosen, cursor)?.into_iter().map(|wrong| wrong.pseudonym).collect();
        Ok::<_, DbError>(Some((wrong, store::misfiled(conn, &chosen)?)))
    })?;
    let Some((wrong, misfiled)) = looked else { return Ok(None) };
    if !misfiled.is_empty() {
        db.write(|conn| store::unfile(conn, &misfiled))?;
    }
    Ok(Some(wrong))
}

/// A recipient whose state is not what the events say, or whose hits nobody would judge.
struct Wrong {
    pseudonym: Pseudonym,
    placed: Placed,
    /// As it should be.
    state: State,
    /// When its hits should be judged, where they should and no moment is set.
    judge_at: Option<i64>,
}

fn wrong(conn: &mut LedgerConn, chosen: &[Pseudonym], cursor: i64) -> DbResult<Vec<Wrong>> {
    let all: HashSet<Pseudonym> = chosen.iter().copied().collect();
    let placed = store::placed(conn, &all)?;
    let awaited = store::awaited(conn, chosen)?;
    let mut letters: HashMap<Pseudonym, (State, Option<i64>)> = HashMap::with_capacity(chosen.len());
    for (pseudonym, fact, settled) in store::facts_of_letters(conn, chosen, cursor)? {
        let (state, last) = letters.entry(pseudonym).or_default();
        *state = state.add(fact.kind, fact.at, fact.hit.map(|hit| (hit.class, hit.confidence)));
        if fact.hit.is_some() && !settled {
            *last = (*last).max(Some(fact.at));
        }
    }
    let judge = |(pseudonym, placed): (Pseudonym, Placed)| {
        let (state, last) = letters.get(&pseudonym).copied().unwrap_or_default();
        let judge_at = last.filter(|_| !awaited.contains(&pseudonym)).map(|last| last.saturating_add(QUIET));
        (state != placed.state || judge_at.is_some()).then_some(Wrong { pseudonym, placed, state, judge_at })
    };
    Ok(placed.into_iter().filter_map(judge).collect())
}

/// Mends what is still wrong with these. Call inside a transaction.
fn mend(conn: &mut LedgerConn, suspects: &[Pseudonym]) -> DbResult<u64> {
    // Adding nothing locks the cursor's row: nobody folds, judges or withdraws meanwhile.
    let cursor = store::count(conn, Counter::ProjectedSeq, 0)?;
    let wrong = wrong(conn, suspects, cursor)?;
    let mut tallies: BTreeMap<TallyKey, i64> = BTreeMap::new();
    let mut moved = Moved::default();
    let mut judge_at: HashMap<i64, Vec<Pseudonym>> = HashMap::new();
    for one in &wrong {
        let new = Placed { state: one.state, ..one.placed };
        count_difference(&one.placed, &new, &mut tallies);
        moved.note(&one.placed, &new);
        if let Some(at) = one.judge_at {
            judge_at.entry(at).or_default().push(one.pseudonym);
        }
    }
    let states: Vec<(Pseudonym, State)> = wrong.iter().map(|one| (one.pseudonym, one.state)).collect();
    store::save_states(conn, &states)?;
    store::save_tallies(conn, &tallies, cursor)?;
    store::forget_replays(conn, &moved)?;
    for (at, pseudonyms) in judge_at {
        store::await_judgement(conn, &pseudonyms, Some(at))?;
    }
    Ok(wrong.len() as u64)
}

/// Corrects a campaign's counts by what they are off. Answers how many were.
fn recount(db: &LedgerDb, campaign: CampaignNumber) -> DbResult<u64> {
    loop {
        let (turn, off) = db.snapshot(|conn| Ok::<_, DbError>((store::counted(conn, Counter::Recounts)?, off(conn, campaign)?)))?;
        if off.is_empty() {
            return Ok(0);
        }
        let corrected = db.write(|conn| {
            let cursor = store::count(conn, Counter::ProjectedSeq, 0)?;
            // Somebody else has corrected counts since we looked, perhaps these: once is enough.
            if store::count(conn, Counter::Recounts, 1)? != turn + 1 {
                return Ok(false);
            }
            store::save_tallies(conn, &off, cursor)?;
            Ok::<_, DbError>(true)
        })?;
        if corrected {
            return Ok(off.len() as u64);
        }
    }
}

/// What is to be added to a campaign's counts so that they are what states and hits say. Call inside a snapshot.
fn off(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<BTreeMap<TallyKey, i64>> {
    let cursor = store::counted(conn, Counter::ProjectedSeq)?;
    // Only its counts of hits: what states count for is asked of the states as they stand.
    let Some(Derived { hits: mut off, .. }) = derive(conn, campaign, cursor, None, &mut |_| ControlFlow::Continue(()))? else {
        return Ok(BTreeMap::new());
    };
    for (placed, many) in store::states_by_arm(conn, campaign)? {
        count_state(&placed, many, &mut off);
        *off.entry(store::enrolled_key(&placed)).or_default() += many;
    }
    for (key, value) in store::all_tallies(conn, campaign)? {
        *off.entry(key).or_default() -= value;
    }
    off.retain(|_, by| *by != 0);
    Ok(off)
}
