//! What answers pixels and links and nothing else: ledger, spool, signing keys. It holds no way to people, by its type.
//!
//! Cast: [`Outpost`], [`Outpost::open`] (a process with the role `track` alone), [`refresh_targets`] (what the tracker knows of
//! campaigns), [`round`] and [`run`] (its background work), [`Live`] (its numbers now). Every [`Lab`](super::lab::Lab) has one inside.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::sync::watch as channel;

use crate::app::clock::{self, Clock};
use crate::app::config::Config;
use crate::app::keyfile;
use crate::app::keywatch::{self, KeyWatch};
use crate::app::lab::Background;
use crate::campaign::state::State;
use crate::campaign::store as campaigns;
use crate::db::{DbError, DbResult, LedgerDb, Location};
use crate::ledger::store::{self as events, Counter};
use crate::signal::{Class, HitKind};
use crate::token::Keys;
use crate::tracking::commits::Taken;
use crate::tracking::floods::Floods;
use crate::tracking::{Counts, Tracker, intake, loader::Loader, presence::Presence, snapshot, targets::Target, targets::Targets};

/// How long between rounds.
const ROUND: Duration = Duration::from_millis(500);

/// Everything that answers pixels and links. Copies share everything.
#[derive(Clone)]
pub struct Outpost {
    /// The settings; of a tracking node without what belongs to people.
    pub config: Arc<Config>,
    /// Events.
    pub ledger: LedgerDb,
    /// The time.
    pub clock: Clock,
    /// Answers pixels and links.
    pub tracker: Arc<Tracker>,
}

impl Outpost {
    /// Opens ledger and spool, and nothing of people: the vault's location and the relays' credentials are forgotten first. The key file
    /// must be there: with another key no letter's pixel or link would be ours.
    ///
    /// # Errors
    /// Whatever keeps it from starting, with what to do.
    pub fn open(mut config: Config, clock: Clock) -> anyhow::Result<(Self, Background)> {
        forget_people(&mut config);
        let keys = keyfile::read_existing(&config.files.keys, clock.now())?;
        let (outpost, writer, knows_campaigns) = Self::begin(Arc::new(config), clock, keys, Loader::without_counting)?;
        outpost.learn(knows_campaigns)?;
        Ok((outpost, Background::of_outpost(writer)))
    }

    /// The parts, with whether a snapshot of campaigns was there: then the ledger may be away.
    pub(super) fn begin(
        config: Arc<Config>,
        clock: Clock,
        keys: Keys,
        loading: fn(Loader) -> Loader,
    ) -> anyhow::Result<(Self, intake::Writer, bool)> {
        let targets = Targets::default();
        let knows_campaigns = snapshot::load(&snapshot_of(&config), &targets).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
            false
        });
        let ledger = reach(&config.database.ledger, knows_campaigns, LedgerDb::open, LedgerDb::open_later)?;
        let networks = super::networks::read(Path::new(&config.files.networks))?;
        let spool = &config.files.spool;
        let (intake, writer) = intake::start(spool.clone(), clock::fresh).context("the writer of hits cannot be started")?;
        let loader = loading(Loader::new(ledger.clone(), spool.clone(), clock::fresh, &intake));
        let presence = Presence::new(&intake);
        let tracker =
            Arc::new(Tracker { keys, targets, intake, loader, presence, networks, floods: Floods::default(), counts: Counts::default() });
        Ok((Self { config, ledger, clock, tracker }, writer, knows_campaigns))
    }

    /// Learns of campaigns for the first time.
    pub(super) fn learn(&self, knows_campaigns: bool) -> anyhow::Result<()> {
        if let Err(error) = refresh_targets(self) {
            if !knows_campaigns {
                return Err(anyhow::Error::new(error).context("campaigns cannot be read"));
            }
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database is away; pixels and links work from the snapshot of campaigns"
            );
        }
        Ok(())
    }
}

fn forget_people(config: &mut Config) {
    config.database.vault.clear();
    config.relay.credentials = None;
    config.relays.clear();
    config.domain.dkim.clear();
}

/// Where the tracker's knowledge of campaigns is kept for a start without a database.
fn snapshot_of(config: &Config) -> PathBuf {
    config.files.spool.join("campaigns.snapshot")
}

/// Opens a database. With a snapshot of campaigns at hand, one that is away is opened when it comes back: pixels and links go on meanwhile.
pub(super) fn reach<D>(
    location: &str,
    may_be_away: bool,
    open: fn(&Location) -> DbResult<D>,
    open_later: fn(&Location) -> DbResult<D>,
) -> anyhow::Result<D> {
    let location = location.parse()?;
    match open(&location) {
        Err(DbError::Unavailable { .. }) if may_be_away => Ok(open_later(&location)?),
        opened => Ok(opened?),
    }
}

/// Tells the tracker where links lead, what is recorded, and who withdrew.
///
/// # Errors
/// When the ledger cannot be read; the tracker then goes on with what it knows.
pub fn refresh_targets(outpost: &Outpost) -> DbResult<()> {
    let (known, now) = (&outpost.tracker.targets, outpost.clock.now());
    let since = known.withdrawals_known_until();
    let (targets, withdrawn) = outpost.ledger.read(|conn| {
        let mut targets = HashMap::new();
        for (number, state) in campaigns::states(conn)?.into_iter().filter(|(_, state)| *state != State::Draft) {
            // Links never change once sealed: what is known is kept.
            let links = match known.campaign(number) {
                Some(target) => target.links.clone(),
                None => {
                    let frozen = campaigns::links(conn, number)?;
                    Arc::new(frozen.into_iter().map(|link| ((link.variant, link.number), Arc::from(link.url))).collect())
                }
            };
            targets.insert(number, Arc::new(Target { records: state.records(), links }));
        }
        Ok::<_, DbError>((targets, events::withdrawn_since(conn, since)?))
    })?;
    known.replace(targets);
    known.withdraw(withdrawn);
    known.withdrawals_looked_up(now);
    if known.take_changed()
        && let Err(error) = snapshot::save(&snapshot_of(&outpost.config), known)
    {
        known.keep_changed();
        tracing::error!(error = &error as &dyn std::error::Error, "{error}");
    }
    Ok(())
}

/// Adds what was answered without being stored to the ledger's counters.
pub(super) fn count_unstored_hits(outpost: &Outpost) -> DbResult<()> {
    let counts = &outpost.tracker.counts;
    counts.sample(outpost.clock.now());
    let (refused, unrecorded) = counts.take();
    if refused + unrecorded == 0 {
        return Ok(());
    }
    let written = outpost.ledger.write(|conn| {
        events::count(conn, Counter::RefusedHits, i64::try_from(refused).unwrap_or_default())?;
        events::count(conn, Counter::UnrecordedHits, i64::try_from(unrecorded).unwrap_or_default())
    });
    if written.is_err() {
        counts.put_back(refused, unrecorded);
    }
    written.map(|_| ())
}

/// One round of background work.
///
/// # Errors
/// When the ledger is away; the next round goes on.
pub fn round(outpost: &Outpost) -> DbResult<()> {
    count_unstored_hits(outpost)?;
    outpost.tracker.presence.tell(&outpost.ledger, &outpost.tracker.intake, outpost.clock.now())?;
    refresh_targets(outpost)
}

/// The last of a process: what was not stored is counted, and nobody waits for it any more.
///
/// # Errors
/// When the ledger is away.
pub(super) fn leave(outpost: &Outpost) -> DbResult<()> {
    count_unstored_hits(outpost)?;
    outpost.tracker.presence.leave(&outpost.ledger)
}

/// Loads hits into the ledger and keeps what the tracker knows fresh, until `stop` says so.
pub async fn run(outpost: Outpost, stop: channel::Receiver<bool>) {
    outpost.tracker.intake.prepare();
    let loading = {
        let (outpost, stop) = (outpost.clone(), stop.clone());
        tokio::task::spawn_blocking(move || outpost.tracker.loader.run(|| *stop.borrow()))
    };
    let watching = tokio::spawn(keywatch::run(KeyWatch::new(&outpost), outpost.clock.clone(), stop.clone()));
    rounds(&outpost, stop).await;
    if watching.await.is_err() {
        tracing::error!("the watch over signing keys ended unexpectedly; new ones wait for the next start");
    }
    if loading.await.is_err() {
        tracing::error!("loading hits ended unexpectedly; they stay in the spool until the next start");
    }
    let last = outpost.clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || leave(&last)).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "hits that were not stored are not counted in the ledger, and other nodes may wait for this one"
        );
    }
}

/// Rounds without loading.
pub(super) async fn rounds(outpost: &Outpost, mut stop: channel::Receiver<bool>) {
    let mut fails = false;
    while !*stop.borrow() {
        let this = outpost.clone();
        let ended = tokio::task::spawn_blocking(move || round(&this)).await;
        if let Ok(Err(error)) = &ended
            && !fails
        {
            tracing::error!(error = error as &dyn std::error::Error, "campaigns cannot be read and what is known is used: {error}");
        }
        fails = matches!(ended, Ok(Err(_)));
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Hits of one kind and class since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// `open` or `click`.
    pub kind: &'static str,
    /// The class.
    pub class: Class,
    /// How many.
    pub hits: u64,
}

/// What this process's tracker does now. Counts are since it started.
#[derive(Debug, Clone, Serialize)]
pub struct Live {
    /// Hits taken, by what they are at once.
    pub judged: Vec<Judged>,
    /// Requests for pixels and links per second, over the last ten seconds or so.
    pub per_second: f64,
    /// Tokens that are not ours.
    pub refused: u64,
    /// Answered without recording.
    pub unrecorded: u64,
    /// Of these, hits of letters with too many of them that day.
    pub flooded: u64,
    /// Turned away: too many tokens that are not ours from one source.
    pub limited: u64,
    /// Not taken: too many were waiting for the disk.
    pub shed: u64,
    /// Waiting for the disk.
    pub waiting: u64,
    /// On the disk and not known to be in the ledger, of every process that shares this spool; none when the spool cannot be read.
    pub spooled: Option<u64>,
    /// Whether the spool can be written.
    pub spool_works: bool,
    /// How long it takes to make a group of hits durable.
    pub commits: Taken,
}

/// The numbers now. No database is asked.
pub fn live(outpost: &Outpost) -> Live {
    let tracker = &outpost.tracker;
    let totals = tracker.counts.totals();
    let of = |kind: HitKind, word| Class::ALL.into_iter().map(move |class| (kind, word, class));
    let judged = of(HitKind::Open, "open").chain(of(HitKind::Click, "click"));
    Live {
        judged: judged.map(|(kind, word, class)| Judged { kind: word, class, hits: tracker.counts.judged(kind, class) }).collect(),
        per_second: tracker.counts.per_second(),
        refused: totals.refused,
        unrecorded: totals.unrecorded,
        flooded: totals.flooded,
        limited: totals.limited,
        shed: tracker.intake.shed(),
        waiting: tracker.intake.waiting(),
        spooled: tracker.loader.depth().ok(),
        spool_works: !tracker.intake.is_stalled(),
        commits: tracker.intake.commits(),
    }
}
