//! Background work: takes no input, looks at state, does what is due, and may be run at any time.
//!
//! Cast: [`tidy`] (one round of everything but sending), [`work`] (one batch of sending, from [`sending`]), [`Tidied`] and
//! [`Worked`] (what a round found), [`refresh_targets`] (what the tracker knows of campaigns), [`run`] (rounds until told to stop).
//!
//! The bodies are plain functions that tests call until they say nothing is left; only [`run`] waits for time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::watch as channel;

use crate::app::keywatch::{self, KeyWatch};
use crate::app::lab::Lab;
use crate::app::roles::Roles;
use crate::app::{campaigns as verbs, clock, comparing, exchanges, outpost, sending};
use crate::bridge::{launch, relay};
use crate::campaign::state::State;
use crate::campaign::store::{self as campaigns, Campaign, Choice};
use crate::db::{DbError, DbResult, LedgerConn};
use crate::delivery::store as deliveries;
use crate::experiment::design::{Method, Rule};
use crate::ids::{CampaignNumber, VariantNumber};
use crate::ledger::look::{self, Look, Silent};
use crate::ledger::store as events;
use crate::ledger::{filing, judgement, projection};
use crate::report::counts::{Counts, kind};
use crate::report::page::Outcome;
use crate::report::results::due;
use crate::report::{judged, replay};

pub use crate::app::sending::{Worked, Worker, work};

/// How long between rounds when nobody nudges.
const ROUND: Duration = Duration::from_millis(500);
/// How long between rounds that left nothing behind them: while letters are read there is always a little to do, and looking at everything
/// costs more than doing it.
const BUSY_ROUND: Duration = Duration::from_millis(100);
/// How long after its end a campaign's letters may still come back from a worker: leases end long before.
const CLOSED_LATELY: SignedDuration = SignedDuration::from_hours(48);

/// How long hits may take to reach the disk before a test is looked at: with a full disk they must not hold it up for ever.
const SETTLE: Duration = Duration::from_secs(10);

/// How long a test's look waits for tracking nodes that have not said that all their hits are in the ledger. Then it is taken without them,
/// and the page names them.
const WAIT_FOR_NODES: SignedDuration = SignedDuration::from_mins(2);
/// Nodes that were last heard of longer before are gone.
const KNOWN_LATELY: SignedDuration = SignedDuration::from_hours(24);

/// How long events wait to be filed under their recipients where no loader does it.
const UNFILED: SignedDuration = SignedDuration::from_mins(2);

/// What a round of [`tidy`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Tidied {
    /// Outcomes copied to the ledger, and usually counted there at once.
    pub relayed: usize,
    /// Events that were not counted when they were stored, folded into states and counts.
    pub projected: usize,
    /// Letters whose hits were judged together, and shared hits whose times were cut.
    pub judged: usize,
    /// Whether events were filed under their recipients.
    pub filed: bool,
    /// Leases taken back.
    pub expired: usize,
    /// Anytime-valid tests of which something was written down.
    pub watched: usize,
    /// Tests whose sealed time came and was written down.
    pub looked_at: usize,
    /// Campaigns that took a step.
    pub stepped: usize,
}

impl Tidied {
    /// Whether there was nothing to do.
    pub fn is_idle(self) -> bool {
        self == Self::default()
    }

    /// Whether all it did was to copy and count what became of a few letters. The next ones are many more if they gather meanwhile: they
    /// cost a third of what as many small rounds do.
    fn is_of_letters(self) -> bool {
        is_counted(&self) && self == Self { relayed: self.relayed, ..Self::default() }
    }
}

/// One round: outcomes to the ledger, events into counts, leases that ended, campaigns' due steps, what the tracker knows.
///
/// # Errors
/// A database failure, or the first campaign whose step failed; everything else was done all the same, and the next round goes on.
pub fn tidy(lab: &Lab) -> anyhow::Result<Tidied> {
    let now = lab.clock.now();
    let mut tidied = Tidied::default();
    if lab.vault.read(|conn| deliveries::has_ended(conn, now))? {
        let ours = lab.sending.node.holding();
        let (requeued, lost) = lab.vault.write(|conn| deliveries::expire_leases(conn, now, clock::fresh_in_turn, &ours))?;
        tidied.expired = requeued + lost;
    }
    load_what_is_due(lab, now)?;
    tidied.relayed = relay::relay(&lab.vault, &lab.ledger)?;
    tidied.projected = projection::advance(&lab.ledger)?;
    keep_replays(lab, now)?;
    tidied.watched = watch(lab, &tidied, now)?;
    tidied.looked_at = look(lab, &tidied, now)?;
    tidied.judged = judge(lab, now)?;
    let mut failed = None;
    for campaign in
        lab.ledger.read(|conn| campaigns::in_states(conn, &[State::Sealed, State::Sending, State::Observing, State::Decided]))?
    {
        // One campaign that cannot go on must not hold up the others, nor the withdrawals below.
        match step(lab, &campaign, &tidied) {
            Ok(stepped) => tidied.stepped += usize::from(stepped),
            Err(error) => {
                failed.get_or_insert_with(|| error.context(format!("campaign {} cannot go on", campaign.number)));
            }
        }
    }
    let lately = now.checked_sub(CLOSED_LATELY).unwrap_or(now);
    for number in lab.ledger.read(|conn| campaigns::closed_since(conn, lately))? {
        tidied.stepped += usize::from(launch::skip_what_waits(&lab.vault, number, launch::CLOSED, now, clock::fresh)?.found > 0);
    }
    outpost::round(&lab.outpost())?;
    // What this process takes in is filed by its loader. This is for where it is not, and much later.
    tidied.filed = filing::is_overdue(&lab.ledger, now, UNFILED)? && filing::file(&lab.ledger)?;
    failed.map_or(Ok(tidied), Err)
}

fn step(lab: &Lab, campaign: &Campaign, round: &Tidied) -> anyhow::Result<bool> {
    let now = lab.clock.now();
    // Letters that a worker had at their last dot may have come back since.
    if campaign.cancelled_at.is_some()
        && launch::skip_what_waits(&lab.vault, campaign.number, launch::CANCELLED, now, clock::fresh)?.found > 0
    {
        return Ok(true);
    }
    if launch::step(&lab.vault, &lab.ledger, campaign, &|| lab.clock.now(), clock::fresh, lab.sending.node.process())? {
        return Ok(true);
    }
    let is_open = campaign.definition.design.rule == Rule::Automatic && campaign.chosen.is_none() && campaign.state == State::Observing;
    if !is_open || !is_counted(round) {
        return Ok(false);
    }
    match campaign.looked_at {
        // At its sealed time a test is looked at once, and the rule rests on what was seen then: that never changes, and is judged once.
        Some(looked_at) => {
            let seen = format!("the sealed time, looked at {looked_at}");
            if campaign.judged.as_deref() == Some(seen.as_str()) {
                return Ok(false);
            }
            if !decide_by_rule(lab, campaign, now)? {
                lab.ledger.write(|conn| campaigns::mark_judged(conn, campaign.number, &seen))?;
            }
            Ok(true)
        }
        // An anytime-valid test is decided earlier, as soon as its winner is written down.
        None if campaign.definition.design.method == Method::Anytime => {
            let settled = lab.ledger.read(|conn| events::watch(conn, campaign.number))?.is_some_and(|watch| watch.settled_at.is_some());
            Ok(settled && decide_by_rule(lab, campaign, now)?)
        }
        None => Ok(false),
    }
}

/// Keeps replays of first successes, so that no page goes through all of them.
fn keep_replays(lab: &Lab, now: Timestamp) -> DbResult<()> {
    for campaign in lab.ledger.read(campaigns::not_looked_at)? {
        replay::advance(&lab.ledger, &campaign, now)?;
    }
    Ok(())
}

/// Writes down what anytime-valid tests show while they are open: who is at risk, once the last letter is out, and the first crossing of
/// the bound. Answers of how many something new was written.
fn watch(lab: &Lab, round: &Tidied, now: Timestamp) -> DbResult<usize> {
    let mut written = 0;
    for campaign in lab.ledger.read(campaigns::not_looked_at)? {
        if campaign.definition.design.method == Method::Anytime {
            if !is_counted(round) {
                return Ok(written);
            }
            written += usize::from(watch_one(lab, &campaign, now)?);
        }
    }
    Ok(written)
}

fn watch_one(lab: &Lab, campaign: &Campaign, now: Timestamp) -> DbResult<bool> {
    let number = campaign.number;
    let known = lab.ledger.read(|conn| events::watch(conn, number))?;
    let begun = match &known {
        Some(watch) if watch.settled_at.is_some() => return Ok(false),
        Some(_) => false,
        None => lab.ledger.write(|conn| events::begin_watch(conn, number, now))?,
    };
    let seen = format!("counts {}", lab.ledger.read(|conn| fingerprint(conn, number))?);
    if !begun && campaign.judged.as_deref() == Some(seen.as_str()) {
        return Ok(false);
    }
    let found = lab.ledger.read(|conn| judged::found(conn, campaign))?;
    let written = lab.ledger.write(|conn| {
        let mut written = begun;
        if let Some(crossing) = &found.crossing {
            written |= events::save_crossing(conn, number, crossing, now)?;
            written |= found.passes && events::settle(conn, number, now)?;
        }
        campaigns::mark_judged(conn, number, &seen)?;
        Ok::<_, DbError>(written)
    })?;
    if written && found.crossing.is_some() {
        tracing::info!(campaign = %number, passes = found.passes, "the anytime-valid test has crossed its bound");
    }
    Ok(written)
}

/// Of all counts of a campaign: equal while nothing has happened that could change what they say.
fn fingerprint(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<String> {
    let mut hasher = Sha256::new();
    for ((part, variant, name), value) in events::tallies(conn, campaign)? {
        hasher.update(format!("{}/{variant}/{name}={value};", part.as_str()));
    }
    Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()))
}

/// Counts every event that is stored by now.
fn count_what_is_stored(lab: &Lab) -> DbResult<()> {
    let counted = |counter| lab.ledger.read(|conn| events::counted(conn, counter));
    let stored = counted(events::Counter::EventSeq)?;
    while counted(events::Counter::ProjectedSeq)? < stored && projection::advance(&lab.ledger)? > 0 {}
    Ok(())
}

/// Writes down what was known at the sealed time of each test, once every fact up to then is counted. Answers how many.
fn look(lab: &Lab, round: &Tidied, now: Timestamp) -> DbResult<usize> {
    let mut looked_at = 0;
    for campaign in lab.ledger.read(campaigns::not_looked_at)? {
        let Some(due) = due(&campaign).filter(|due| now >= *due) else { continue };
        if !is_counted(round) {
            return Ok(looked_at);
        }
        let silent = silent(lab, due)?;
        if !silent.is_empty() && now < due.checked_add(WAIT_FOR_NODES).unwrap_or(due) {
            continue;
        }
        // What a node has said to be loaded is stored, and may not be counted yet.
        count_what_is_stored(lab)?;
        if campaign.definition.design.method == Method::Anytime {
            // Whatever was counted since this round's watch: the look is the last that can find a crossing.
            watch_one(lab, &campaign, now)?;
        }
        let kind = kind(campaign.definition.design.metric);
        // What came last has not been quiet for long: it is judged with what is known by now.
        let links = |number, variant| lab.tracker.targets.links(number, variant);
        judgement::campaign(&lab.ledger, campaign.number, judgement::Extent::Open, &links, due, false)?;
        let (taken, replay) = lab.ledger.snapshot(|conn| {
            let taken = Look { silent, ..look::take(conn, campaign.number, kind, due)? };
            let watched = Counts::of_look(conn, &campaign, due, &taken)?.watched;
            Ok::<_, DbError>((taken, watched.as_ref().map(replay::to_text).transpose()?))
        })?;
        let is_new = lab.ledger.write(|conn| {
            // Of two nodes that looked, one writes.
            let is_new = campaigns::mark_looked_at(conn, campaign.number, now)?;
            if is_new {
                events::save_look(conn, campaign.number, due, &taken)?;
                if let Some(replay) = &replay {
                    events::keep_frozen_replay(conn, campaign.number, replay)?;
                }
            }
            Ok::<_, DbError>(is_new)
        })?;
        looked_at += usize::from(is_new);
    }
    Ok(looked_at)
}

/// Other tracking nodes that were there in the day before a test's sealed time and have not said since that all their hits up to it are in the
/// ledger.
fn silent(lab: &Lab, due: Timestamp) -> DbResult<Vec<Silent>> {
    let own = lab.tracker.presence.id();
    let since = due.checked_sub(KNOWN_LATELY).unwrap_or(due);
    lab.ledger.read(|conn| events::silent_spools(conn, own.as_deref(), since, due))
}

/// Judges letters' hits together that are due. Not while a look is due: it wants the moments of hits as they were.
fn judge(lab: &Lab, now: Timestamp) -> DbResult<usize> {
    let is_due = |campaign: &Campaign| due(campaign).is_some_and(|due| now >= due);
    if lab.ledger.read(campaigns::not_looked_at)?.iter().any(is_due) {
        return Ok(0);
    }
    let round = judgement::step(&lab.ledger, &|number, variant| lab.tracker.targets.links(number, variant), now)?;
    Ok(round.letters + round.cut)
}

/// Whether this round left none of what had happened before it. Asking whether nothing waits now would put the decision off for as
/// long as another campaign is being sent or read.
fn is_counted(round: &Tidied) -> bool {
    let all = |done: usize, step: i64| i64::try_from(done).is_ok_and(|done| done < step);
    all(round.relayed, relay::STEP) && all(round.projected, projection::STEP)
}

fn decide_by_rule(lab: &Lab, campaign: &Campaign, now: Timestamp) -> anyhow::Result<bool> {
    let page = verbs::results(lab, campaign)?;
    let (variant, by) = match (page.verdict.outcome, page.verdict.winner.as_deref().and_then(|letter| letter.bytes().next())) {
        (Outcome::Winner, Some(letter)) => (VariantNumber(letter.saturating_sub(b'A')), "the sealed rule: winner"),
        (Outcome::NoWinner, _) => (VariantNumber::CONTROL, "the sealed rule: no winner, the control"),
        // A failed check or counts without an answer want a person's eyes; the page says so.
        _ => return Ok(false),
    };
    launch::choose(&lab.ledger, campaign, Choice { variant, by, against: None, at: now })?;
    tracing::info!(campaign = %campaign.number, %variant, by, "chosen for the rest");
    Ok(true)
}

/// A test is looked at with every hit up to its sealed time: those on their way are loaded first.
fn load_what_is_due(lab: &Lab, now: Timestamp) -> anyhow::Result<()> {
    let waiting = lab.ledger.read(campaigns::not_looked_at)?;
    if waiting.iter().filter_map(due).any(|due| now >= due) {
        lab.tracker.intake.settle(SETTLE);
        lab.tracker.loader.load()?;
    }
    Ok(())
}

/// Tells the tracker where links lead, what is recorded, and who withdrew.
///
/// # Errors
/// When the ledger cannot be read; the tracker then goes on with what it knows.
pub fn refresh_targets(lab: &Lab) -> DbResult<()> {
    outpost::refresh_targets(&lab.outpost())
}

/// Runs what these roles ask for until `stop` says so; workers finish the letter they are at and hand the rest of their batch back.
pub async fn run(lab: Lab, roles: Roles, stop: channel::Receiver<bool>) {
    if !roles.send {
        return outpost::run(lab.outpost(), stop).await;
    }
    lab.tracker.intake.prepare();
    let loading = {
        let (lab, stop) = (lab.clone(), stop.clone());
        tokio::task::spawn_blocking(move || lab.tracker.loader.run(|| *stop.borrow()))
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(tidy_until(lab.clone(), stop.clone()));
    tasks.spawn(sending::run(lab.clone(), stop.clone()));
    tasks.spawn(comparing::run(lab.clone(), stop.clone()));
    tasks.spawn(exchanges::run(lab.clone(), stop.clone()));
    tasks.spawn(keywatch::run(KeyWatch::new(&lab.outpost()), lab.clock.clone(), stop));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(error = &error as &dyn std::error::Error, "background work ended unexpectedly");
        }
    }
    if loading.await.is_err() {
        tracing::error!("loading hits ended unexpectedly; they stay in the spool until the next start");
    }
    // Outcomes of the last letters.
    lab.journal.flush().await;
    let last = lab.clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || while_busy(&last).and_then(|()| Ok(outpost::leave(&last.outpost())?))).await
    {
        tracing::warn!("the last round was not finished: {error:#}");
    }
}

fn while_busy(lab: &Lab) -> anyhow::Result<()> {
    while !tidy(lab)?.is_idle() {}
    Ok(())
}

async fn tidy_until(lab: Lab, mut stop: channel::Receiver<bool>) {
    while !*stop.borrow() {
        let round = lab.clone();
        let pause = match tokio::task::spawn_blocking(move || tidy(&round)).await {
            Ok(Ok(tidied)) if tidied.is_idle() || tidied.is_of_letters() => ROUND,
            Ok(Ok(tidied)) if is_counted(&tidied) && tidied.stepped + tidied.judged == 0 => BUSY_ROUND,
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => {
                tracing::error!("background work failed and is tried again: {error:#}");
                ROUND
            }
            Err(_) => ROUND,
        };
        wait(&lab, &mut stop, pause).await;
    }
}

/// Waits, but not when nudged or told to stop.
pub(super) async fn wait(lab: &Lab, stop: &mut channel::Receiver<bool>, at_most: Duration) {
    tokio::select! {
        () = tokio::time::sleep(at_most) => {}
        () = lab.nudge.notified() => {}
        _ = stop.changed() => {}
    }
}
