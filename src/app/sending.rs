//! Letters leave: which campaign's turn it is, over which relay, how many now; workers until told to stop.
//!
//! Cast: [`Sending`] (what all workers of a process share), [`Worker`] (its open connections), [`work`] (one batch) with [`Worked`],
//! [`run`] (workers, restarted should one panic, and the keeper of their leases).
//!
//! A pause or a close is looked for after letters are leased and asked again, by the lease, before each last dot: from the moment it is
//! written nothing more leaves.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use crate::app::config::Config;
use crate::app::lab::Lab;
use crate::app::node::{Batch, Node};
use crate::app::notices::{self, Notice};
use crate::app::{campaigns as verbs, clock};
use crate::campaign::state::State;
use crate::campaign::store::{self as campaigns, Campaign};
use crate::db::{DbError, DbResult, blocking};
use crate::delivery::breaker::{self, Breaker};
use crate::delivery::mailing::Leased;
use crate::delivery::relays::{Relay, Relays};
use crate::delivery::send::{BatchReport, Letters, Post, Site, send_batch};
use crate::delivery::smtp::Connection;
use crate::delivery::store as deliveries;
use crate::delivery::throttle::{Offer, Throttle, day_of, tomorrow};
use crate::delivery::window::{Quiet, Window, zone};
use crate::ids::CampaignNumber;
use crate::vault::address::providers;

/// How long between rounds when nobody nudges.
const ROUND: Duration = Duration::from_millis(500);
/// The shortest wait for a throttle: less would lease letters one by one.
const THROTTLED: Duration = Duration::from_millis(100);
/// How long a worker waits after the relay could not be used and no other could take its load.
const RELAY_WAIT: Duration = Duration::from_secs(15);
/// How long a worker waits after the database failed it.
const DATABASE_WAIT: Duration = Duration::from_secs(2);
/// How long a batch is a worker's unless renewed: what a dead process leaves behind is taken over after that.
const LEASE: SignedDuration = SignedDuration::from_mins(3);
/// How often leases are renewed.
const KEEP: Duration = Duration::from_secs(20);
/// Processes not heard of for so long no longer share the limits.
const SEEN_LATELY: SignedDuration = SignedDuration::from_mins(2);
/// How long the pace of each minute is remembered.
const PACE_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a worker that panicked is not replaced.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// What all workers of a process share.
pub struct Sending {
    /// Who holds its leases.
    pub node: Arc<Node>,
    /// Where letters are handed over.
    pub relays: Relays,
    throttle: Mutex<Throttle>,
    breakers: Mutex<HashMap<CampaignNumber, Arc<Mutex<Breaker>>>>,
    limits: breaker::Limits,
    last: Mutex<Option<CampaignNumber>>,
    window: Option<(Window, TimeZone)>,
    quiet: Option<Arc<Quiet>>,
    /// The database failed a worker: its letters are looked after soon.
    failed: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sending {
    /// From the settings.
    ///
    /// # Errors
    /// A window or zone that cannot be read; reading the settings says so before.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let settings = &config.delivery;
        let home = zone(&settings.time_zone).with_context(|| format!("delivery.time_zone {:?} is not known", settings.time_zone))?;
        let window = |text: &str| Window::parse(text).map_err(anyhow::Error::msg);
        let quiet = match settings.quiet_hours.as_str() {
            "" => None,
            text => Some(Arc::new(Quiet::new(window(text)?, &settings.time_zone_field, home.clone()))),
        };
        Ok(Self {
            node: Arc::new(Node::new()),
            relays: Relays::new(config.all_relays()),
            throttle: Mutex::new(Throttle::new(config.throttle.clone(), providers().map(str::to_owned).collect())),
            breakers: Mutex::default(),
            limits: breaker::Limits {
                share: settings.pause_share,
                window: SignedDuration::from_mins(i64::from(settings.pause_minutes)),
                least: settings.pause_least,
            },
            last: Mutex::default(),
            failed: Notify::new(),
            window: if settings.window.is_empty() { None } else { Some((window(&settings.window)?, home)) },
            quiet,
        })
    }

    /// When letters may leave next, if not now.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let (window, zone) = self.window.as_ref()?;
        let opens = window.opens(now, zone);
        (opens > now).then_some(opens)
    }

    /// The campaigns in the order of their turns: the next one after the last that was served.
    fn in_turn(&self, mut campaigns: Vec<Campaign>) -> Vec<Campaign> {
        if let Some(last) = *locked(&self.last) {
            let first = campaigns.iter().position(|campaign| campaign.number > last).unwrap_or(0);
            campaigns.rotate_left(first);
        }
        campaigns
    }

    /// Those of campaigns this process has sent letters of.
    pub(super) fn breakers(&self) -> Vec<(CampaignNumber, Arc<Mutex<Breaker>>)> {
        locked(&self.breakers).iter().map(|(number, breaker)| (*number, breaker.clone())).collect()
    }

    fn breaker(&self, campaign: CampaignNumber) -> Arc<Mutex<Breaker>> {
        locked(&self.breakers).entry(campaign).or_insert_with(|| Arc::new(Mutex::new(Breaker::new(self.limits)))).clone()
    }
}

/// One worker's open connections, by relay.
#[derive(Default)]
pub struct Worker {
    connections: HashMap<String, Connection>,
}

impl Worker {
    /// Says goodbye to every relay.
    pub async fn quit(self) {
        for connection in self.connections.into_values() {
            connection.quit().await;
        }
    }
}

/// What a worker's round did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worked {
    /// Letters taken from the queue.
    pub taken: usize,
    /// What became of them.
    pub report: BatchReport,
    /// When to look again, where a limit or the hours kept letters back.
    pub look_again: Option<Timestamp>,
    /// Whether another relay may take the load of one in trouble.
    pub elsewhere: bool,
}

/// Letters of one campaign for one relay, with the tokens set aside for them.
struct Taken {
    relay: Arc<Relay>,
    /// Of which day's limit, if the relay has one.
    day: Option<i64>,
    batch: Batch,
    letters: Vec<Leased>,
}

enum Turn {
    Letters(Box<Taken>),
    Nothing,
    NotBefore(Timestamp),
}

/// Sends one batch of the campaign whose turn it is.
///
/// # Errors
/// A database failure. Letters already taken go back as soon as the database answers again.
pub async fn work(lab: &Lab, worker: &mut Worker, stop: &watch::Receiver<bool>) -> anyhow::Result<Worked> {
    let mut look_again = lab.sending.closed_until(lab.clock.now());
    if look_again.is_some() {
        return Ok(Worked { look_again, ..Worked::default() });
    }
    for campaign in lab.sending.in_turn(sending(lab).await?) {
        // Before the lease: a letter that does not compile must not take letters from the queue, nor hold up other campaigns.
        let letters = match lab.letters(&campaign) {
            Ok(letters) => letters,
            Err(error) => {
                tracing::error!(campaign = %campaign.number, "letters cannot be made: {error:#}");
                continue;
            }
        };
        let domain = domain_of(&letters);
        if !lab.sending.relays.carry(&domain) {
            hold(lab, &campaign, no_relay(&domain)).await?;
            continue;
        }
        let taken = {
            let (lab, number) = (lab.clone(), campaign.number);
            blocking(move || take(&lab, number, &domain)).await?
        };
        match taken {
            Turn::Nothing => {}
            Turn::NotBefore(moment) => look_again = Some(look_again.map_or(moment, |other: Timestamp| other.min(moment))),
            Turn::Letters(taken) => {
                *locked(&lab.sending.last) = Some(campaign.number);
                return send(lab, worker, stop, &campaign, letters, *taken).await;
            }
        }
    }
    Ok(Worked { look_again, ..Worked::default() })
}

/// What is wrong where no relay is for a domain, and what to do.
pub fn no_relay(domain: &str) -> String {
    format!("no relay of the settings takes letters from {domain}: name it among the sender_domains of one, and start the service again")
}

async fn hold(lab: &Lab, campaign: &Campaign, reason: String) -> anyhow::Result<()> {
    tracing::warn!(campaign = %campaign.number, reason, "campaign paused");
    let notice = Notice::paused(lab, campaign, &reason);
    let (holding, campaign) = (lab.clone(), campaign.clone());
    // Of all workers and processes that meet a reason, one tells.
    if tokio::task::spawn_blocking(move || verbs::hold(&holding, &campaign, &reason)).await?? {
        notices::tell(lab, &notice).await;
    }
    Ok(())
}

fn domain_of(letters: &Letters) -> String {
    letters.from_address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase()
}

fn may_send(campaign: &Campaign) -> bool {
    campaign.state.sends() && campaign.paused.is_none() && campaign.cancelled_at.is_none()
}

async fn sending(lab: &Lab) -> anyhow::Result<Vec<Campaign>> {
    let reading = lab.clone();
    let campaigns =
        blocking(move || reading.ledger.read(|conn| campaigns::in_states(conn, &[State::Sending, State::Observing, State::Decided])));
    let campaigns: Vec<Campaign> = campaigns.await?.into_iter().filter(may_send).collect();
    // Whatever process a campaign was paused by, what was before the pause counts no more after it.
    locked(&lab.sending.breakers).retain(|number, _| campaigns.iter().any(|campaign| campaign.number == *number));
    Ok(campaigns)
}

/// Tokens first, then letters: of relays whose turn it is, the first that may be given some.
fn take(lab: &Lab, campaign: CampaignNumber, domain: &str) -> DbResult<Turn> {
    let now = lab.clock.now();
    // Looked at without a lock: most campaigns have nothing due most of the time.
    let (start, due) =
        lab.vault.read(|conn| Ok::<_, DbError>((deliveries::start(conn, campaign)?, deliveries::next_due(conn, campaign)?)))?;
    let Some(due) = due else { return Ok(Turn::Nothing) };
    if let Some(later) = start.into_iter().chain([due]).max().filter(|moment| *moment > now) {
        return Ok(Turn::NotBefore(later));
    }
    let mut passed_over: Vec<Arc<Relay>> = Vec::new();
    let mut soonest: Option<Timestamp> = None;
    while let Some(relay) = lab.sending.relays.choose(domain, now, &passed_over) {
        let (offer, day) = offer(lab, &relay, campaign, now)?;
        if offer.total == 0 {
            soonest = Some(soonest.map_or(offer.next, |other| other.min(offer.next)));
            passed_over.push(relay);
            continue;
        }
        let batch = lab.sending.node.batch();
        let leased = lease(lab, campaign, batch.owner(), &offer, now);
        // Tokens of letters that were not there, or could not be taken.
        let counted = by_provider(leased.as_deref().unwrap_or_default());
        locked(&lab.sending.throttle).settle(&relay.name, &relay.limits, campaign, &offer, &counted);
        let letters = leased?;
        refund(lab, &relay, day, usize::try_from(offer.total).unwrap_or_default().saturating_sub(letters.len()))?;
        if letters.is_empty() {
            return Ok(soonest.map_or(Turn::Nothing, Turn::NotBefore));
        }
        // A pause, a cancel or a close written before the lease was taken did not see it; one written later takes it back itself.
        let still = lab.ledger.read(|conn| campaigns::by_number(conn, campaign))?;
        if !still.as_ref().is_some_and(may_send) {
            lab.vault.write(|conn| deliveries::drop_lease(conn, batch.owner()))?;
            refund(lab, &relay, day, letters.len())?;
            return Ok(Turn::Nothing);
        }
        return Ok(Turn::Letters(Box::new(Taken { relay, day, batch, letters })));
    }
    Ok(soonest.map_or(Turn::Nothing, Turn::NotBefore))
}

/// What may leave now, and of which day's limit it is.
fn offer(lab: &Lab, relay: &Relay, campaign: CampaignNumber, now: Timestamp) -> DbResult<(Offer, Option<i64>)> {
    let (name, limits) = (relay.name.as_str(), &relay.limits);
    let mut offer = locked(&lab.sending.throttle).offer(name, limits, campaign, lab.config.delivery.batch, now);
    let Some(most) = limits.on_day_of(now).filter(|_| offer.total > 0) else { return Ok((offer, None)) };
    let day = day_of(now);
    let reserved = lab.vault.write(|conn| deliveries::reserve_day(conn, name, day, offer.total, most));
    let mut throttle = locked(&lab.sending.throttle);
    let granted = *reserved.as_ref().unwrap_or(&0);
    throttle.lower(name, limits, campaign, &mut offer, granted);
    if granted == 0 {
        // Those set aside for providers, too.
        throttle.settle(name, limits, campaign, &offer, &BTreeMap::new());
        offer.next = tomorrow(now);
    }
    reserved.map(|_| (offer, Some(day)))
}

/// Letters that were not given to the relay, or not taken by it, are not of its day.
fn refund(lab: &Lab, relay: &Relay, day: Option<i64>, letters: usize) -> DbResult<()> {
    let letters = u32::try_from(letters).unwrap_or(u32::MAX);
    match day {
        Some(day) if letters > 0 => lab.vault.write(|conn| deliveries::refund_day(conn, &relay.name, day, letters)),
        _ => Ok(()),
    }
}

fn lease(lab: &Lab, campaign: CampaignNumber, owner: &str, offer: &Offer, now: Timestamp) -> DbResult<Vec<Leased>> {
    let until = now.checked_add(LEASE).unwrap_or(now);
    let limit = i64::from(offer.total);
    lab.vault.write_soon(|conn| match &offer.providers {
        None => deliveries::lease(conn, campaign, owner, now, until, limit),
        Some(providers) => {
            let allowances: Vec<(String, i64)> = providers.iter().map(|(name, allowed)| (name.clone(), i64::from(*allowed))).collect();
            deliveries::lease_within(conn, campaign, owner, now, until, limit, &allowances)
        }
    })
}

fn by_provider(letters: &[Leased]) -> BTreeMap<String, u32> {
    let mut counted = BTreeMap::new();
    for mailing in letters {
        *counted.entry(mailing.provider.clone()).or_default() += 1;
    }
    counted
}

async fn send(
    lab: &Lab,
    worker: &mut Worker,
    stop: &watch::Receiver<bool>,
    campaign: &Campaign,
    letters: Arc<Letters>,
    taken: Taken,
) -> anyhow::Result<Worked> {
    let Taken { relay, day, batch, letters: mailings } = taken;
    let count = mailings.len();
    let domain = domain_of(&letters);
    let post = post(lab, letters, &relay, &batch, campaign.number, stop);
    let mut connection = worker.connections.remove(&relay.name);
    let sent = send_batch(&post, &mut connection, mailings).await;
    if let Some(open) = connection {
        worker.connections.insert(relay.name.clone(), open);
    }
    let accepted = sent.as_ref().map_or(0, |report| report.accepted);
    let not_taken = count.saturating_sub(usize::try_from(accepted).unwrap_or_default());
    if day.is_some() && not_taken > 0 {
        let (lab, relay) = (lab.clone(), relay.clone());
        // What the batch says of the relay is heard all the same.
        if let Err(error) = blocking(move || refund(&lab, &relay, day, not_taken)).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                not_taken,
                "letters that did not leave stay counted in their relay's day"
            );
        }
    }
    let mut report = sent?;
    if !report.untried.is_empty() {
        locked(&lab.sending.throttle).give_back(&relay.name, &relay.limits, campaign.number, &report.untried);
    }
    let now = lab.clock.now();
    let mut elsewhere = false;
    if let Some(trouble) = report.relay_refuses.take() {
        elsewhere = lab.sending.relays.failed(&relay, &domain, &trouble, now);
        if elsewhere {
            tracing::error!(relay = relay.name, trouble, "the relay does not let us send; others take its load");
            report.relay_trouble = Some(trouble);
        } else {
            report.pause = Some(format!("the relay does not let us send: {trouble}"));
        }
    } else if let Some(trouble) = &report.relay_trouble {
        elsewhere = lab.sending.relays.failed(&relay, &domain, trouble, now);
    } else if report.accepted > 0 {
        lab.sending.relays.worked(&relay);
    }
    if let Some(reason) = report.pause.clone() {
        // The pause takes letters out of all hands: what became of those just tried must be written before.
        lab.journal.flush().await;
        hold(lab, campaign, reason).await?;
    }
    Ok(Worked { taken: count, report, look_again: None, elsewhere })
}

fn post(
    lab: &Lab,
    letters: Arc<Letters>,
    relay: &Arc<Relay>,
    batch: &Batch,
    campaign: CampaignNumber,
    stop: &watch::Receiver<bool>,
) -> Post {
    let clock = lab.clock.clone();
    Post {
        vault: lab.vault.clone(),
        journal: lab.journal.clone(),
        relay: relay.clone(),
        site: Arc::new(Site {
            base_url: lab.config.web.base_url.clone(),
            bounce_domain: lab.config.bounce.domain.clone(),
            sender_id: lab.config.delivery.sender_id.clone(),
        }),
        keys: lab.keys.clone(),
        dkim: lab.dkim.clone(),
        letters,
        now: Arc::new(move || clock.now()),
        mint: clock::fresh,
        mint_in_turn: clock::fresh_in_turn,
        owner: batch.owner().clone(),
        breaker: lab.sending.breaker(campaign),
        quiet: lab.sending.quiet.clone(),
        give_up_after: SignedDuration::from_hours(i64::from(lab.config.delivery.give_up_hours)),
        stop: stop.clone(),
    }
}

/// Sends until `stop` says so; workers finish the letter they are at and hand the rest of their batch back.
pub async fn run(lab: Lab, stop: watch::Receiver<bool>) {
    let starting = lab.clone();
    match tokio::task::spawn_blocking(move || take_over(&starting)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("leases of an earlier process are taken over only when they end: {error:#}"),
        Err(_) => tracing::warn!("leases of an earlier process are taken over only when they end"),
    }
    let keeper = tokio::spawn(keep_until_aborted(lab.clone()));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..lab.config.delivery.workers {
        workers.spawn(work_until(lab.clone(), stop.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(error = &error as &dyn std::error::Error, "a worker ended unexpectedly and is replaced");
            if !*stop.borrow() {
                tokio::time::sleep(AFTER_PANIC).await;
                workers.spawn(work_until(lab.clone(), stop.clone()));
            }
        }
    }
    // Only now: a worker may have been at its last letter for minutes.
    keeper.abort();
    lab.journal.flush().await;
    let gone = lab.clone();
    if let Ok(Err(error)) =
        tokio::task::spawn_blocking(move || gone.vault.write(|conn| deliveries::gone(conn, gone.sending.node.process()))).await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "other processes learn later that this one has stopped");
    }
}

/// What earlier processes of this node held is free at once: their lock is ours, so they are gone.
fn take_over(lab: &Lab) -> anyhow::Result<()> {
    let path = lab.config.files.keys.with_extension("sender");
    let node = &lab.sending.node;
    if !node.take_name(&path).with_context(|| format!("{} cannot be used", path.display()))? {
        tracing::info!("another process sends from this folder; this one sends beside it");
        return Ok(());
    }
    // What came to an end is written before anything is sent.
    let (queued, unknown) = lab.vault.write(|conn| match deliveries::end_leases(conn, node.name(), node.process())? {
        0 => Ok::<_, DbError>((0, 0)),
        _ => deliveries::expire_leases(conn, lab.clock.now(), clock::fresh_in_turn, &node.holding()),
    })?;
    if queued + unknown > 0 {
        tracing::warn!(queued, unknown, "an earlier process left letters behind; they are taken over");
    }
    Ok(())
}

/// Renews the leases of letters being worked on, and tells other processes that this one sends. Sooner after a failure: by then letters
/// may wait for their leases to end.
async fn keep_until_aborted(lab: Lab) {
    loop {
        let round = lab.clone();
        let pause = match tokio::task::spawn_blocking(move || keep(&round)).await {
            Ok(Ok(())) => KEEP,
            Ok(Err(error)) => {
                tracing::error!("leases could not be renewed and are tried again: {error:#}");
                DATABASE_WAIT
            }
            Err(_) => DATABASE_WAIT,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lab.sending.failed.notified() => tokio::time::sleep(DATABASE_WAIT).await,
        }
    }
}

/// One round of keeping what is ours, and of letting go what is ours no more: letters of a batch whose worker has left without a word,
/// because it panicked, or because the database's answer to the lease was lost. Waits for the journal.
///
/// # Errors
/// A database failure; the next round tries again.
pub fn keep(lab: &Lab) -> DbResult<()> {
    let now = lab.clock.now();
    let ago = |duration| now.checked_sub(duration).unwrap_or(now);
    let until = now.checked_add(LEASE).unwrap_or(now);
    let node = &lab.sending.node;
    let (holding, left) = (node.holding(), node.left());
    let nodes = lab.vault.write(|conn| {
        if !holding.is_empty() {
            deliveries::renew(conn, &holding, until)?;
        }
        deliveries::forget_pace(conn, ago(PACE_KEPT))?;
        deliveries::seen(conn, node.process(), now, ago(SEEN_LATELY))
    })?;
    locked(&lab.sending.throttle).share(nodes);
    if !left.is_empty() {
        lab.journal.flush_here();
        let ended = lab.vault.write(|conn| deliveries::let_go(conn, &left))?;
        node.forget(&left);
        if ended > 0 {
            tracing::warn!(ended, "batches that a worker left behind are taken back");
        }
    }
    Ok(())
}

async fn work_until(lab: Lab, mut stop: watch::Receiver<bool>) {
    let mut worker = Worker::default();
    while !*stop.borrow() {
        let pause = match work(&lab, &mut worker, &stop).await {
            Ok(worked) => match worked.report.relay_trouble {
                Some(trouble) => {
                    tracing::warn!(trouble, "the relay cannot be used now; trying again");
                    (!worked.elsewhere).then_some(RELAY_WAIT)
                }
                None => (worked.taken == 0).then(|| until(worked.look_again, lab.clock.now())),
            },
            Err(error) => {
                tracing::error!("sending failed and is tried again: {error:#}");
                lab.sending.failed.notify_one();
                Some(DATABASE_WAIT)
            }
        };
        if let Some(pause) = pause {
            super::jobs::wait(&lab, &mut stop, pause).await;
        }
    }
    worker.quit().await;
}

fn until(look_again: Option<Timestamp>, now: Timestamp) -> Duration {
    look_again.map_or(ROUND, |moment| moment.duration_since(now).try_into().unwrap_or(THROTTLED).clamp(THROTTLED, ROUND))
}
