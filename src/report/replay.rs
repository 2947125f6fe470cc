//! The anytime-valid test of a campaign, replayed: from the newest replay that is kept, so that no page goes through all first successes.
//!
//! Cast: [`replayed`] (as of now, for whoever reads), [`of_look`] (of a look, once and for good), [`advance`] (keeps a newer replay, for the background
//! work), [`keep`] (the same whether or not it is worth it), [`Patience`].
//!
//! A replay that is kept comes out as one from the first success on would: [`experiment::replay`](crate::experiment::replay).

use jiff::{SignedDuration, Timestamp};

use crate::campaign::store::Campaign;
use crate::db::{DbError, DbResult, LedgerConn, LedgerDb};
use crate::experiment::replay::{Base, Replay};
use crate::experiment::watch::Watched;
use crate::ids::{CampaignNumber, Pseudonym};
use crate::ledger::event::EventKind;
use crate::ledger::look::Firsts;
use crate::ledger::store::{self as events, Kept, Who};
use crate::ledger::subject::MEASURED;
use crate::report::counts::{Counts, kind};
use crate::report::judged::variants;
use crate::report::results::due;

/// Most first successes a page goes through: reading and replaying takes a microsecond each.
pub const AT_MOST: usize = 20_000;
/// A replay is kept once so many first successes have come since the last one.
const WORTH_KEEPING: u64 = 5_000;
/// A replay that is kept ends so long ago: hits of other nodes may still be on their way.
const LAG: SignedDuration = SignedDuration::from_secs(30);
/// How long between two that are kept.
const APART: SignedDuration = SignedDuration::from_secs(10);
/// Replays are kept of every age: the newest and the oldest of each span between these (minutes), because hits that are judged together some
/// time after they came change first successes from then on.
const AGES: [i64; 6] = [2, 8, 32, 128, 512, 2_048];
/// A place that was reserved and not filled for so long belonged to a process that is gone.
const ABANDONED: SignedDuration = SignedDuration::from_mins(10);
/// First successes read at once.
const PAGE: i64 = 5_000;
const MINUTE: i64 = 60_000;

/// How many first successes may be gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As many as a page has time for, [`AT_MOST`].
    Page,
    /// All there are.
    Endless,
}

/// What a campaign's replay is about.
struct Subject {
    campaign: CampaignNumber,
    kind: EventKind,
    who: Who,
    base: Base,
    /// Nothing later counts.
    due: i64,
}

impl Subject {
    fn of(campaign: &Campaign, counts: &Counts) -> Self {
        let design = &campaign.definition.design;
        let variants = variants(campaign);
        // Who was only prefetched is among them, as among those at risk: they are alike in all arms, and their number changes with every hit.
        let trials = match &counts.watch {
            Some(watch) => variants.iter().map(|variant| watch.of(*variant)).collect(),
            None => variants.iter().map(|variant| counts.named(*variant, MEASURED)).collect(),
        };
        let fixed = counts.watch.is_some() || counts.until.is_some();
        Self {
            campaign: campaign.number,
            kind: kind(design.metric),
            who: if counts.watch.is_some() { Who::AtRisk } else { Who::Delivered },
            base: Base { trials, effect: design.planned_effect(), alpha: design.significance, fixed },
            due: due(campaign).map_or(i64::MAX, Timestamp::as_millisecond),
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> DbError {
    DbError::unreadable("a replay", error)
}

/// The test as of now; none where an arm is empty, or where `patience` is not enough.
///
/// # Errors
/// When the ledger cannot be read.
pub fn replayed(conn: &mut LedgerConn, campaign: &Campaign, counts: &Counts, patience: Patience) -> DbResult<Option<Watched>> {
    let subject = Subject::of(campaign, counts);
    let Some((mut replay, from)) = newest(conn, &subject, subject.due)? else { return Ok(None) };
    let most = match patience {
        Patience::Page => replay.after() + AT_MOST,
        Patience::Endless => usize::MAX,
    };
    let is_through = go_on(conn, &subject, &mut replay, from, subject.due, most)?;
    Ok(is_through.then(|| replay.watched()))
}

/// The newest replay kept up to `until` that still goes, or one before the first success; and from when on it is to be gone on with. None where an
/// arm is empty.
fn newest(conn: &mut LedgerConn, subject: &Subject, until: i64) -> DbResult<Option<(Replay, i64)>> {
    if let Some((until, state)) = events::replay(conn, subject.campaign, subject.kind, until)? {
        let kept: Replay = serde_json::from_str(&state).map_err(unreadable)?;
        if kept.base().goes_for(&subject.base) {
            return Ok(Some((kept, until.saturating_add(1))));
        }
    }
    Ok(Replay::begin(subject.base.clone()).ok().map(|replay| (replay, i64::MIN)))
}

/// Goes on with first successes from a moment up to and with another; `false` when there are more than `most` in all.
fn go_on(conn: &mut LedgerConn, subject: &Subject, replay: &mut Replay, from: i64, until: i64, most: usize) -> DbResult<bool> {
    let mut from: (i64, Option<Pseudonym>) = (from, None);
    loop {
        let page = events::first_successes(conn, (subject.campaign, subject.kind, subject.who), from, until, PAGE)?;
        for first in page.iter().filter(|first| first.counts) {
            if replay.after() >= most {
                return Ok(false);
            }
            // To the minute, as in a look: what is kept tells nobody's moment.
            replay.observe(first.variant, first.at - first.at.rem_euclid(MINUTE));
        }
        match page.last() {
            Some(last) if page.len() as i64 >= PAGE => from = (last.at, Some(last.pseudonym)),
            _ => return Ok(true),
        }
    }
}

/// The test of a look, from its first successes; none where an arm is empty. `counts` are the look's.
pub fn of_look(campaign: &Campaign, counts: &Counts, firsts: &Firsts) -> Option<Watched> {
    let mut replay = Replay::begin(Subject::of(campaign, counts).base).ok()?;
    for (at, variant) in firsts.moments() {
        replay.observe(variant, at);
    }
    Some(replay.watched())
}

/// A replay of a look, to be kept with it.
///
/// # Errors
/// Never, but for a number that is none.
pub fn to_text(watched: &Watched) -> DbResult<String> {
    serde_json::to_string(watched).map_err(unreadable)
}

/// Reads a look's replay back.
///
/// # Errors
/// [`DbError::Unreadable`].
pub fn from_text(text: &str) -> DbResult<Watched> {
    serde_json::from_str(text).map_err(unreadable)
}

/// Keeps a newer replay of an open test where that is worth it, and lets those go that are not needed any more. Answers whether it did.
///
/// # Errors
/// When the ledger cannot be read or written; the next time goes on.
pub fn advance(db: &LedgerDb, campaign: &Campaign, now: Timestamp) -> DbResult<bool> {
    // While letters leave, those who might succeed become more all the time.
    if campaign.observing_at.is_none() || campaign.looked_at.is_some() {
        return Ok(false);
    }
    let (subject, successes, kept) = db.read(|conn| {
        let counts = Counts::without_replay(conn, campaign)?;
        let subject = Subject::of(campaign, &counts);
        let kept = events::kept_replays(conn, subject.campaign, subject.kind)?;
        Ok::<_, DbError>((subject, counts.successes(campaign.definition.design.metric), kept))
    })?;
    let until = now.checked_sub(LAG).unwrap_or(now).as_millisecond().min(subject.due);
    if !is_worth_it(&subject, successes, &kept, until) {
        return Ok(false);
    }
    keep_subject(db, &subject, until, now)
}

/// Keeps a replay up to a moment, whether or not that is worth it; `false` when first successes changed meanwhile, or an arm is empty.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn keep(db: &LedgerDb, campaign: &Campaign, until: Timestamp, now: Timestamp) -> DbResult<bool> {
    let subject = db.read(|conn| Ok::<_, DbError>(Subject::of(campaign, &Counts::without_replay(conn, campaign)?)))?;
    keep_subject(db, &subject, until.as_millisecond().min(subject.due), now)
}

fn is_worth_it(subject: &Subject, successes: u64, kept: &[Kept], until: i64) -> bool {
    let Some(newest) = kept.iter().find(|kept| !kept.is_reserved) else { return successes >= WORTH_KEEPING };
    let goes = serde_json::from_str::<Base>(&newest.base).is_ok_and(|base| base.goes_for(&subject.base));
    let apart = i64::try_from(APART.as_millis()).unwrap_or(i64::MAX);
    until.saturating_sub(newest.until) >= apart && (!goes || successes >= newest.successes + WORTH_KEEPING)
}

fn keep_subject(db: &LedgerDb, subject: &Subject, until: i64, now: Timestamp) -> DbResult<bool> {
    let (campaign, kind) = (subject.campaign, subject.kind);
    if !db.write(|conn| events::reserve_replay(conn, campaign, kind, until, now))? {
        return Ok(false);
    }
    let replay = db.snapshot(|conn| {
        let Some((mut replay, from)) = newest(conn, subject, until)? else { return Ok(None) };
        go_on(conn, subject, &mut replay, from, until, usize::MAX)?;
        Ok::<_, DbError>(Some(replay))
    })?;
    let made = match &replay {
        Some(replay) => Some((
            replay.after() as u64,
            serde_json::to_string(replay.base()).map_err(unreadable)?,
            serde_json::to_string(replay).map_err(unreadable)?,
        )),
        None => None,
    };
    db.write(|conn| {
        let kept = match &made {
            Some((successes, base, state)) => events::save_replay(conn, (campaign, kind, until), *successes, base, state)?,
            None => false,
        };
        let gone = not_needed(&events::kept_replays(conn, campaign, kind)?, now);
        events::drop_replays(conn, campaign, kind, &gone)?;
        Ok(kept)
    })
}

/// Which replays, the newest first, are not needed any more.
fn not_needed(all: &[Kept], now: Timestamp) -> Vec<i64> {
    let span = |until: i64| {
        let minutes = now.as_millisecond().saturating_sub(until) / MINUTE;
        AGES.iter().position(|age| minutes < *age).unwrap_or(AGES.len())
    };
    let abandoned = now.checked_sub(ABANDONED).unwrap_or(now);
    let (reserved, made): (Vec<&Kept>, Vec<&Kept>) = all.iter().partition(|kept| kept.is_reserved);
    let mut gone: Vec<i64> = reserved.iter().filter(|kept| kept.made_at < abandoned).map(|kept| kept.until).collect();
    for (index, kept) in made.iter().enumerate() {
        let here = span(kept.until);
        let is_newest = index == 0 || made.get(index - 1).is_some_and(|newer| span(newer.until) < here);
        let is_oldest = made.get(index + 1).is_none_or(|older| span(older.until) > here);
        if !is_newest && !is_oldest {
            gone.push(kept.until);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn kept(minutes_old: i64, is_reserved: bool) -> Kept {
        let at = NOW.as_millisecond() - minutes_old * MINUTE;
        Kept { until: at, made_at: Timestamp::from_millisecond(at).unwrap(), successes: 0, base: String::new(), is_reserved }
    }

    #[test]
    fn as_time_goes_by_a_replay_of_every_age_is_there() {
        let mut all: Vec<i64> = Vec::new();
        for minute in 0..6_000 {
            // One a minute; ages in minutes, the newest first.
            all = all.iter().map(|age| age + 1).collect();
            all.insert(0, 0);
            let now: Vec<Kept> = all.iter().map(|age| kept(*age, false)).collect();
            let gone = not_needed(&now, NOW);
            all.retain(|age| !gone.contains(&kept(*age, false).until));
            assert!(all.len() <= 2 * (AGES.len() + 1), "{all:?}");
            for wanted in [1, 10, 30, 100, 500, 2_000, 5_000] {
                let nearest = all.iter().find(|age| **age >= wanted);
                assert!(
                    minute < wanted || nearest.is_some_and(|age| *age <= 4 * wanted + 8),
                    "{wanted} minutes old, after {minute}: {all:?}"
                );
            }
        }
    }

    #[test]
    fn a_place_somebody_left_empty_is_taken_away_after_a_while() {
        let all = [kept(0, true), kept(1, false), kept(11, true)];
        assert_eq!(not_needed(&all, NOW), [all[2].until]);
    }

    #[test]
    fn a_replay_is_kept_again_when_enough_came_or_what_it_started_from_is_gone() {
        let base = |b| Base { trials: vec![1000, b], effect: 0.2, alpha: 0.05, fixed: false };
        let subject = Subject { campaign: CampaignNumber(1), kind: EventKind::Click, who: Who::Delivered, base: base(1000), due: i64::MAX };
        let one = |b, successes| Kept { base: serde_json::to_string(&base(b)).unwrap(), successes, ..kept(1, false) };
        let now = NOW.as_millisecond();
        for (successes, all, until, expected) in [
            (WORTH_KEEPING - 1, vec![], now, false),
            (WORTH_KEEPING, vec![], now, true),
            (WORTH_KEEPING, vec![kept(0, true)], now, true),
            (9_000, vec![one(1000, 4_001)], now, false),
            (9_001, vec![one(1000, 4_001)], now, true),
            (9_001, vec![one(1000, 4_001)], kept(1, false).until + 9_000, false),
            (4_001, vec![one(900, 4_001)], now, true),
        ] {
            assert_eq!(is_worth_it(&subject, successes, &all, until), expected, "{successes} {all:?}");
        }
    }
}
