//! What a user can do with campaigns: the verbs that web pages, command line and HTTP API all call.
//!
//! Cast: [`draft`], [`redraft`], [`check`], [`launch`], [`schedule`], [`pause`], [`hold`], [`resume`], [`cancel`], [`resend`], [`decide`],
//! [`close`], [`progress`], [`results`], [`share`]. Names are looked up by [`find`].
//!
//! It translates between rooms and keeps nothing; who may do what is the shells' affair.

use jiff::{SignedDuration, Timestamp, Unit};

use crate::app::clock;
use crate::app::lab::Lab;
use crate::app::preflight::{self, Preflight};
use crate::bridge::launch::{self, LaunchError};
use crate::campaign::definition::Definition;
use crate::campaign::file::{self, Problem};
use crate::campaign::state::State;
use crate::campaign::store::{self as campaigns, Campaign, Choice};
use crate::db::DbError;
use crate::delivery::mailing::{Counts as MailingCounts, Reason};
use crate::delivery::store as deliveries;
use crate::ids::{CampaignNumber, VariantNumber};
use crate::ledger::store as events;
use crate::ledger::subject::{Part, Tally};
use crate::report::deviations::against;
use crate::report::page::{Outcome, ResultPage};
use crate::report::results as reports;
use crate::report::wording::moment;
use crate::vault::people::NoSuchList;
use crate::vault::store as people;

/// Over how long the pace of sending is taken.
const PACE: SignedDuration = SignedDuration::from_mins(5);

/// Why something could not be done, in words for the user.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// A step that cannot be taken.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The file says something that cannot be.
    #[error("the campaign has {} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Problems(Vec<Problem>),
    /// No such campaign.
    #[error("no campaign is named {0:?}; `letterlab campaign list` shows them")]
    Unknown(String),
    /// The name is taken.
    #[error("a campaign named {0:?} exists already; choose another name")]
    NameTaken(String),
    /// Before the moment the plan looks at the result, and nobody said that this is meant.
    #[error(
        "the plan of {name} looks at the result on {}; deciding earlier gives up what the test would have shown, and the result page will say so. Wait, or say that it is meant: --early on the command line, {{\"early\": true}} in a request",
        moment(*.due)
    )]
    Early {
        /// The campaign.
        name: String,
        /// When the plan looks.
        due: Timestamp,
    },
    /// The list before launch says stop.
    #[error("the campaign is not ready: {}", .0.stops().join("; "))]
    NotReady(Box<Preflight>),
    /// A time for the first letter that lies behind.
    #[error(
        "the first letter cannot leave at {start}: it is {now} already. Write a later moment; to begin at once write none (leave --at \
             away, or the field empty)"
    )]
    Past {
        /// When it was to leave.
        start: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// A time for the first letter that would send a variant later than its own time.
    #[error(
        "the first letter cannot leave at {start}: a variant of this test is to leave at {first}, and would leave with the others then. \
             Write an earlier moment; to begin at once write none (leave --at away, or the field empty)"
    )]
    AfterSendTime {
        /// When it was to leave.
        start: Timestamp,
        /// The earliest send time of the test.
        first: Timestamp,
    },
    /// Test mail could not be sent.
    #[error("test mail could not be sent: {0}")]
    TestMail(String),
    /// A preview for somebody who is not there. Deliberately without their address.
    #[error("nobody has this address; import the person first, or look with made-up values")]
    NoPerson,
    /// The sealed letter does not compile any more.
    #[error(transparent)]
    Letters(#[from] anyhow::Error),
}

/// The answer of these verbs.
pub type Done<T> = Result<T, CampaignError>;

/// A campaign by name or number.
pub fn find(lab: &Lab, name: &str) -> Done<Campaign> {
    lab.ledger
        .read(|conn| match campaigns::by_name(conn, name)? {
            Some(campaign) => Ok(Some(campaign)),
            None => match name.parse() {
                Ok(number) => campaigns::by_number(conn, number),
                Err(_) => Ok(None),
            },
        })?
        .ok_or_else(|| CampaignError::Unknown(name.to_owned()))
}

/// A campaign by number.
pub fn by_number(lab: &Lab, number: CampaignNumber) -> Done<Campaign> {
    lab.ledger.read(|conn| campaigns::by_number(conn, number))?.ok_or_else(|| CampaignError::Unknown(number.to_string()))
}

/// Every campaign, the newest first.
pub fn all(lab: &Lab) -> Done<Vec<Campaign>> {
    Ok(lab.ledger.read(campaigns::all)?)
}

/// Reads a campaign's text and answers everything wrong with it, form and content, lines included; an empty list is a campaign that
/// can be launched.
/// `load` reads the letter's file, if it names one.
pub fn check(lab: &Lab, text: &str, load: &dyn Fn(&str) -> Result<String, String>) -> Done<(Option<Definition>, Vec<Problem>)> {
    let reading = file::parse(text, load);
    let found = reading.definition.as_ref().map(|definition| check_definition(lab, definition)).transpose()?.unwrap_or_default();
    let problems = reading.all_problems(text, found);
    // With a fault of form it holds stand-ins.
    Ok((reading.definition.filter(|_| reading.problems.is_empty()), problems))
}

/// Everything that keeps a definition from being launched, its list included.
pub fn check_definition(lab: &Lab, definition: &Definition) -> Done<Vec<Problem>> {
    let (fields, lists) = lab.vault.read(|conn| Ok::<_, DbError>((people::fields(conn, &definition.list)?, people::list_names(conn)?)))?;
    let mut problems = definition.problems(fields.as_ref());
    if fields.is_none() && !definition.list.is_empty() {
        let missing = NoSuchList { wanted: definition.list.clone(), known: lists };
        problems.push(Problem::of("list", missing.to_string()));
    }
    if definition.options.inline_images
        && let Ok(arms) = definition.arms()
    {
        let mut ids: Vec<String> = arms.iter().flat_map(|arm| arm.letter.inline_images().to_vec()).collect();
        ids.sort();
        ids.dedup();
        let named = |id: String| {
            Problem::of("letter.text", format!("the picture /i/{id} was never uploaded here; upload it and write its new address"))
        };
        problems.extend(super::images::missing(&lab.ledger, &ids)?.into_iter().map(named));
    }
    Ok(problems)
}

/// Stores a new draft from its text.
///
/// # Errors
/// [`CampaignError::Problems`], [`CampaignError::NameTaken`].
pub fn draft(lab: &Lab, text: &str, load: &dyn Fn(&str) -> Result<String, String>) -> Done<CampaignNumber> {
    let (definition, problems) = check(lab, text, load)?;
    match definition {
        Some(definition) if problems.is_empty() => {
            let now = lab.clock.now();
            lab.ledger.write(|conn| campaigns::create(conn, &definition, now)).map_err(|error| taken(error, &definition))
        }
        _ => Err(CampaignError::Problems(problems)),
    }
}

/// Replaces a draft by another text.
///
/// # Errors
/// [`CampaignError::Problems`], [`CampaignError::NameTaken`], and that it is no draft any more.
pub fn redraft(lab: &Lab, number: CampaignNumber, text: &str, load: &dyn Fn(&str) -> Result<String, String>) -> Done<()> {
    let (definition, problems) = check(lab, text, load)?;
    let Some(definition) = definition.filter(|_| problems.is_empty()) else { return Err(CampaignError::Problems(problems)) };
    let replaced =
        lab.ledger.write(|conn| campaigns::replace_draft(conn, number, &definition)).map_err(|error| taken(error, &definition))?;
    if replaced { Ok(()) } else { Err(not_a_draft(&by_number(lab, number)?)) }
}

/// Throws a draft away.
///
/// # Errors
/// That it is no draft any more: what was sealed is closed, not deleted.
pub fn delete(lab: &Lab, campaign: &Campaign) -> Done<()> {
    if !lab.ledger.write(|conn| campaigns::delete_draft(conn, campaign.number))? {
        return Err(not_a_draft(campaign));
    }
    // Its number may be given again.
    lab.vault.write(|conn| deliveries::set_start(conn, campaign.number, None))?;
    Ok(())
}

fn not_a_draft(campaign: &Campaign) -> CampaignError {
    wrong_state(campaign, "only a draft may be changed or deleted")
}

fn wrong_state(campaign: &Campaign, wanted: &'static str) -> CampaignError {
    LaunchError::State { name: campaign.definition.name.clone(), state: campaign.state, wanted }.into()
}

fn taken(error: DbError, definition: &Definition) -> CampaignError {
    if error.is_duplicate() { CampaignError::NameTaken(definition.name.clone()) } else { error.into() }
}

/// Freezes content and plan without mailing anybody yet.
pub fn seal(lab: &Lab, campaign: &Campaign) -> Done<Campaign> {
    let problems = check_definition(lab, &campaign.definition)?;
    if !problems.is_empty() {
        return Err(LaunchError::Problems(problems).into());
    }
    before_send_times(&campaign.definition, lab.vault.read(|conn| deliveries::start(conn, campaign.number))?)?;
    let seed = clock::fresh_key();
    let proof = super::proof::prove(lab, &campaign.definition, &seed)?;
    preflight::gate(lab, &campaign.definition)?;
    launch::seal(&lab.vault, &lab.ledger, campaign, &proof, seed, lab.clock.now())?;
    super::jobs::refresh_targets(lab)?;
    by_number(lab, campaign.number)
}

/// Seals a draft if need be, assigns everybody and lets the letters go. Run again after a crash, it goes on.
pub fn launch(lab: &Lab, campaign: &Campaign, progress: launch::Progress<'_>) -> Done<()> {
    // Before anything is frozen: a sealed campaign that nobody gets could only be closed.
    let list = &campaign.definition.list;
    if campaign.state == State::Draft
        && lab.vault.read(|conn| people::fields(conn, list))?.is_some()
        && lab.vault.read(|conn| people::eligible_count(conn, list))? == 0
    {
        return Err(LaunchError::Nobody { list: list.clone() }.into());
    }
    let sealed = if campaign.state == State::Draft { seal(lab, campaign)? } else { campaign.clone() };
    launch::enrol(&lab.vault, &lab.ledger, &sealed, &|| lab.clock.now(), clock::fresh, lab.sending.node.process(), progress)?;
    super::jobs::refresh_targets(lab)?;
    lab.nudge.notify_waiters();
    Ok(())
}

/// Stops sending at once: letters in a worker's hands that are not at their last dot stay here. Hits are recorded all the same.
///
/// # Errors
/// That it sends nothing: a draft, or closed.
pub fn pause(lab: &Lab, campaign: &Campaign, reason: &str) -> Done<()> {
    match campaign.state {
        State::Draft => Err(wrong_state(campaign, "it sends nothing that could be paused before it is launched")),
        State::Closed => Err(wrong_state(campaign, "it sends nothing any more that could be paused")),
        _ => hold(lab, campaign, reason).map(|_| ()),
    }
}

/// Pauses it wherever it stands, as a sender does who meets a reason to. Answers whether it was not paused before.
///
/// # Errors
/// When a database fails.
pub fn hold(lab: &Lab, campaign: &Campaign, reason: &str) -> Done<bool> {
    let now = lab.clock.now();
    let is_new = lab.ledger.write(|conn| campaigns::pause(conn, campaign.number, Some(reason), now))?;
    lab.vault.write(|conn| deliveries::recall(conn, campaign.number))?;
    Ok(is_new)
}

/// Says when the first letter may leave; none for as soon as it is launched. May be said before the launch and after it.
///
/// # Errors
/// [`CampaignError::Past`], [`CampaignError::AfterSendTime`], and that its letters are out.
pub fn schedule(lab: &Lab, campaign: &Campaign, start: Option<Timestamp>) -> Done<()> {
    if campaign.state > State::Sending {
        return Err(wrong_state(campaign, "its letters are out; only what has not begun can be scheduled"));
    }
    let now = lab.clock.now();
    if let Some(start) = start.filter(|start| *start < now) {
        let now = now.round(Unit::Second).unwrap_or(now);
        return Err(CampaignError::Past { start, now });
    }
    before_send_times(&campaign.definition, start)?;
    lab.vault.write(|conn| deliveries::set_start(conn, campaign.number, start))?;
    lab.nudge.notify_waiters();
    Ok(())
}

/// A first letter at or after a variant's own time would make a test of send times one of nothing.
fn before_send_times(definition: &Definition, start: Option<Timestamp>) -> Done<()> {
    match (start, definition.first_send_time()) {
        (Some(start), Some(first)) if start >= first => Err(CampaignError::AfterSendTime { start, first }),
        _ => Ok(()),
    }
}

/// Sends no more letters, for good, and goes on measuring those that were sent. Answers how many will not be sent.
pub fn cancel(lab: &Lab, campaign: &Campaign) -> Done<usize> {
    if !campaign.state.sends() {
        return Err(wrong_state(campaign, "only a launched campaign can be cancelled; a draft is deleted"));
    }
    let now = lab.clock.now();
    // Written down first: no worker takes a letter from here on, and background work skips what comes back later, whatever happens to us.
    lab.ledger.write(|conn| campaigns::mark_cancelled(conn, campaign.number, now))?;
    let skipped = launch::cancel(&lab.vault, campaign.number, now, clock::fresh)?;
    let_go(lab, campaign)?;
    Ok(skipped)
}

/// Sends letters again of which nobody knows whether they left: the connection was lost, or the service, between their last dot and the relay's
/// answer. Whoever got one gets it twice, under the same Message-ID. Answers how many.
///
/// # Errors
/// That the campaign sends nothing: a draft, cancelled or closed.
pub fn resend(lab: &Lab, campaign: &Campaign) -> Done<usize> {
    if !campaign.state.sends() {
        return Err(wrong_state(campaign, "only a launched campaign that is not closed can send letters again"));
    }
    if campaign.cancelled_at.is_some() {
        return Err(wrong_state(campaign, "its sending was cancelled, so nothing is sent again"));
    }
    let again = lab.vault.write(|conn| deliveries::send_again(conn, campaign.number, lab.clock.now()))?;
    lab.nudge.notify_waiters();
    Ok(again)
}

/// Goes on sending with exactly those not yet sent.
///
/// # Errors
/// That it is not paused.
pub fn resume(lab: &Lab, campaign: &Campaign) -> Done<()> {
    if campaign.paused.is_none() {
        return Err(wrong_state(campaign, "it is not paused, so there is nothing to resume"));
    }
    let_go(lab, campaign)
}

fn let_go(lab: &Lab, campaign: &Campaign) -> Done<()> {
    let now = lab.clock.now();
    lab.vault.write(|conn| deliveries::forget_judged(conn, campaign.number))?;
    lab.ledger.write(|conn| campaigns::pause(conn, campaign.number, None, now))?;
    lab.nudge.notify_waiters();
    Ok(())
}

/// Chooses what the rest get and sends it to them. Before the plan's time, and without a winner by then, only when it is said to be meant so
/// `early`.
///
/// # Errors
/// [`CampaignError::Early`]; that it is not observing, that the choice was made before, that there is no such variant.
pub fn decide(lab: &Lab, campaign: &Campaign, variant: VariantNumber, by: &str, early: bool) -> Done<()> {
    // A choice is by a person here: what it goes against is kept as it stands now, before later facts can change it.
    let verdict = results(lab, campaign)?.verdict;
    if let Some(due) = reports::due(campaign)
        && !early
        && campaign.state == State::Observing
        && verdict.outcome == Outcome::NotYet
        && lab.clock.now() < due
    {
        return Err(CampaignError::Early { name: campaign.definition.name.clone(), due });
    }
    let against = against(&verdict, campaign.definition.design.rule, variant);
    launch::choose(&lab.ledger, campaign, Choice { variant, by, against: against.as_deref(), at: lab.clock.now() })?;
    let chosen = by_number(lab, campaign.number)?;
    launch::step(&lab.vault, &lab.ledger, &chosen, &|| lab.clock.now(), clock::fresh, lab.sending.node.process())?;
    lab.nudge.notify_waiters();
    Ok(())
}

/// Ends a campaign: what waits is not sent, nothing more is recorded.
pub fn close(lab: &Lab, campaign: &Campaign) -> Done<()> {
    launch::close(&lab.vault, &lab.ledger, campaign, lab.clock.now(), clock::fresh)?;
    super::jobs::refresh_targets(lab)?;
    Ok(())
}

/// How far a campaign is.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Progress {
    /// Letters of test and rest together.
    pub mailings: MailingCounts,
    /// Per arm of the test, the control first.
    pub arms: Vec<ArmProgress>,
    /// Why nothing is sent for the moment.
    pub paused: Option<String>,
    /// Why letters were not accepted, the most frequent reason first.
    pub reasons: Vec<Reason>,
    /// When the first letter may leave, while that is to come.
    pub starts_at: Option<Timestamp>,
    /// When the next letter may leave, where none may now: a variant's own time, a recipient's night, or a relay that wants to be asked later.
    pub next_at: Option<Timestamp>,
    /// Roughly how long until the last letter that may leave now is out, at the pace of the last minutes.
    pub remaining_seconds: Option<u64>,
}

/// How far one arm is, as far as the ledger has learned.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct ArmProgress {
    /// Recipients assigned.
    pub enrolled: u64,
    /// Accepted by the relay.
    pub sent: u64,
    /// Came back, or refused at once.
    pub bounced: u64,
    /// Sent and not come back.
    pub delivered: u64,
    /// People who opened, standard counting.
    pub opened: u64,
    /// People who clicked, standard counting.
    pub clicked: u64,
    /// Unsubscribed.
    pub unsubscribed: u64,
}

/// Counts a campaign's letters and hits.
pub fn progress(lab: &Lab, campaign: &Campaign) -> Done<Progress> {
    let now = lab.clock.now();
    let since = now.checked_sub(PACE).unwrap_or(now).max(campaign.sending_at.unwrap_or(Timestamp::MIN));
    let (mailings, reasons, start, next, accepted) = lab.vault.read(|conn| {
        Ok::<_, DbError>((
            deliveries::counts(conn, campaign.number, None)?,
            deliveries::reasons(conn, campaign.number)?,
            deliveries::start(conn, campaign.number)?,
            deliveries::next_due(conn, campaign.number)?,
            deliveries::accepted_since(conn, campaign.number, since)?,
        ))
    })?;
    let (enrolled, tallies) =
        lab.ledger.read(|conn| Ok::<_, DbError>((events::enrolled(conn, campaign.number)?, events::tallies(conn, campaign.number)?)))?;
    let tally = |variant, tally: Tally| {
        tallies
            .get(&(Part::Test, variant, tally.as_str().to_owned()))
            .copied()
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default()
    };
    let arms = (0..campaign.definition.variants.len())
        .filter_map(|arm| u8::try_from(arm).ok().map(VariantNumber))
        .map(|variant| ArmProgress {
            enrolled: enrolled.get(&(Part::Test, variant)).copied().unwrap_or_default(),
            sent: tally(variant, Tally::Sent),
            bounced: tally(variant, Tally::Bounced),
            delivered: tally(variant, Tally::Delivered),
            opened: tally(variant, Tally::OpenStandard),
            clicked: tally(variant, Tally::ClickStandard),
            unsubscribed: tally(variant, Tally::Unsubscribed),
        })
        .collect();
    let sends = campaign.state.sends() && campaign.paused.is_none();
    let next_at = next.filter(|next| sends && *next > now && mailings.in_hand == 0);
    Ok(Progress {
        mailings,
        arms,
        paused: campaign.paused.clone(),
        reasons,
        starts_at: start.filter(|start| *start > now),
        next_at,
        remaining_seconds: (sends && next_at.is_none())
            .then(|| remaining(mailings.queued + mailings.in_hand, accepted, now.duration_since(since)))
            .flatten(),
    })
}

/// Letters left, at the pace of letters accepted over a while.
fn remaining(left: u64, accepted: u64, over: SignedDuration) -> Option<u64> {
    let seconds = over.as_secs_f64().max(1.0);
    (left > 0 && accepted > 0).then(|| (left as f64 * seconds / accepted as f64).ceil() as u64)
}

/// The result as of now.
pub fn results(lab: &Lab, campaign: &Campaign) -> Done<ResultPage> {
    Ok(lab.ledger.read(|conn| reports::results(conn, campaign, lab.clock.now()))?)
}

/// The address of a reviewer's page, valid for `days` from now.
pub fn share(lab: &Lab, campaign: &Campaign, days: u32) -> String {
    let until = lab.clock.now().checked_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX);
    let mut nonce = [0; 8];
    nonce.copy_from_slice(&clock::fresh()[..8]);
    format!("{}/r/{}", lab.config.web.base_url, lab.keys.seal_share(campaign.number, until, nonce))
}
