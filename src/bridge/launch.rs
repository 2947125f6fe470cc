//! A campaign's steps that touch people and events: seal, enrol, release, choose for the rest, close.
//!
//! Cast: [`seal`], [`enrol`], [`step`] (whatever is due, for the background), [`choose`], [`close`], [`LaunchError`].
//!
//! Order makes each crash harmless: mailings are planned in one transaction, then subjects appended, then the campaign moves on, then
//! the mailings are released. Running a step again does only what is missing.

use jiff::Timestamp;

use crate::campaign::definition::{TRAP_LINK, seal_hash};
use crate::campaign::file::Problem;
use crate::campaign::proof::Proof;
use crate::campaign::state::State;
use crate::campaign::store::{self as campaigns, Campaign, Choice, Link, Sealed};
use crate::db::{DbError, LedgerDb, VaultDb};
use crate::delivery::mailing::{NewMailing, Planned};
use crate::delivery::store as deliveries;
use crate::experiment::assign::{Candidate, Seed, assign};
use crate::ids::{CampaignNumber, MailingId, Mint, Pseudonym, RecordingMode, SubscriberId, VariantNumber};
use crate::ledger::store as events;
use crate::ledger::subject::{Part, Subject};
use crate::vault::store as people;

/// Rows per step of long work.
const STEP: usize = 5000;
/// Why a letter of a closed campaign is not sent.
const CLOSED: &str = "campaign closed";

/// Why a step cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The campaign says something that cannot be sent.
    #[error("the campaign cannot be launched: {}", list(.0))]
    Problems(Vec<Problem>),
    /// The campaign is not where this step starts.
    #[error("campaign {name} is {state}; {wanted}")]
    State {
        /// The campaign.
        name: String,
        /// Where it stands.
        state: State,
        /// What would be needed.
        wanted: &'static str,
    },
    /// Nobody to mail.
    #[error("nobody on list {list} may be mailed; import people, or look at who is suppressed")]
    Nobody {
        /// The list.
        list: String,
    },
    /// No such variant.
    #[error("campaign {name} has no variant {variant}; it has {letters}")]
    NoVariant {
        /// The campaign.
        name: String,
        /// What was asked for.
        variant: VariantNumber,
        /// What there is.
        letters: String,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Where the link leads that no person sees: a page that says what it is, on the host of the link itself.
const TRAP_PAGE: &str = "/privacy#hidden-link";

/// Progress of long work: done and in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Checks a draft against its list and freezes content, links and plan, with the proof that the letters differ in one element. `seed`
/// are 32 random bytes.
///
/// # Errors
/// [`LaunchError::Problems`] with everything found; [`LaunchError::State`] unless it is a draft.
pub fn seal(
    vault: &VaultDb,
    ledger: &LedgerDb,
    campaign: &Campaign,
    proof: &Proof,
    seed: Seed,
    now: Timestamp,
) -> Result<Sealed, LaunchError> {
    let definition = &campaign.definition;
    let mut problems = Vec::new();
    let fields = vault.read(|conn| people::fields(conn, &definition.list))?;
    match &fields {
        None => problems.push(no_such_list(vault, &definition.list)?),
        Some(fields) => problems.extend(definition.problems(Some(fields))),
    }
    problems.extend(definition.time_problems(now));
    if !problems.is_empty() {
        return Err(LaunchError::Problems(problems));
    }
    let arms = definition.arms().map_err(LaunchError::Problems)?;
    let links: Vec<Link> = arms
        .iter()
        .flat_map(|arm| arm.letter.links().iter().map(|link| Link { variant: arm.variant, number: link.number, url: link.url.clone() }))
        .chain(arms.iter().filter(|_| definition.trap_link).map(|arm| Link {
            variant: arm.variant,
            number: TRAP_LINK,
            url: TRAP_PAGE.to_owned(),
        }))
        .collect();
    let hash = seal_hash(definition, &seed).map_err(|error| LaunchError::Problems(vec![Problem::of("", error)]))?;
    let sealed = Sealed { hash, seed, at: now };
    let done = ledger.write(|conn| {
        let done = campaigns::seal(conn, campaign.number, &sealed, &links)?;
        if done {
            campaigns::keep_proof(conn, campaign.number, proof)?;
        }
        Ok::<bool, DbError>(done)
    })?;
    if done { Ok(sealed) } else { Err(wrong_state(campaign, "only a draft can be sealed")) }
}

fn no_such_list(vault: &VaultDb, wanted: &str) -> Result<Problem, LaunchError> {
    let names = vault.read(people::list_names)?;
    let there =
        if names.is_empty() { "there are none yet: import people first".to_owned() } else { format!("there are: {}", names.join(", ")) };
    Ok(Problem::of("list", format!("no list is named {wanted:?}; {there}")))
}

fn wrong_state(campaign: &Campaign, wanted: &'static str) -> LaunchError {
    LaunchError::State { name: campaign.definition.name.clone(), state: campaign.state, wanted }
}

/// Assigns everybody on the list and lets the test's letters go. Resumes where an earlier run stopped.
///
/// # Errors
/// [`LaunchError::Nobody`]; [`LaunchError::State`] unless it is sealed or already sending.
pub fn enrol(
    vault: &VaultDb,
    ledger: &LedgerDb,
    campaign: &Campaign,
    now: Timestamp,
    mint: Mint,
    progress: Progress<'_>,
) -> Result<(), LaunchError> {
    let Some(sealed) = &campaign.sealed else { return Err(wrong_state(campaign, "seal it first")) };
    match campaign.state {
        State::Sealed => {}
        // A crash after the last but one step: only the release is missing.
        State::Sending => {
            release(vault, campaign, now)?;
            return Ok(());
        }
        _ => return Err(wrong_state(campaign, "only a sealed campaign can be launched")),
    }
    let planned = vault.read(|conn| deliveries::counts(conn, campaign.number, None))?.enrolled;
    if planned == 0 {
        plan(vault, campaign, &sealed.seed, mint, progress)?;
    }
    append_subjects(vault, ledger, campaign.number, Part::Test)?;
    append_subjects(vault, ledger, campaign.number, Part::Holdout)?;
    ledger.write(|conn| {
        campaigns::mark_enrolled(conn, campaign.number, now)?;
        campaigns::advance(conn, campaign.number, State::Sealed, State::Sending, now)
    })?;
    release(vault, campaign, now)?;
    Ok(())
}

/// Lets the test's letters go; a variant with a send time of its own waits for it.
fn release(vault: &VaultDb, campaign: &Campaign, now: Timestamp) -> Result<(), DbError> {
    vault.write(|conn| {
        deliveries::release(conn, campaign.number, now)?;
        for (variant, time) in (0u8..).zip(campaign.definition.send_times()) {
            if let Some(time) = time {
                deliveries::hold_until(conn, campaign.number, VariantNumber(variant), time)?;
            }
        }
        Ok(())
    })
}

/// Everybody who takes part, in one transaction: either all are planned or nobody is.
fn plan(vault: &VaultDb, campaign: &Campaign, seed: &Seed, mint: Mint, progress: Progress<'_>) -> Result<(), LaunchError> {
    let definition = &campaign.definition;
    let roster = roster(vault, &definition.list, definition.recording, mint)?;
    if roster.is_empty() {
        return Err(LaunchError::Nobody { list: definition.list.clone() });
    }
    let candidates: Vec<Candidate<'_>> =
        roster.iter().map(|member| Candidate { pseudonym: member.pseudonym, stratum: &member.stratum }).collect();
    let assignments = assign(seed, &definition.design.weights, definition.design.share, definition.design.holdout, &candidates);
    let all = roster.len() as u64;
    vault.write(|conn| {
        let mut done = 0;
        for (members, assigned) in roster.chunks(STEP).zip(assignments.chunks(STEP)) {
            let mailings: Vec<NewMailing> = members
                .iter()
                .zip(assigned)
                .map(|(member, assignment)| NewMailing {
                    id: MailingId::from_bytes(mint()),
                    campaign: campaign.number,
                    subscriber: member.subscriber,
                    pseudonym: member.pseudonym,
                    variant: assignment.variant,
                    held_out: assignment.held_out,
                    stratum: member.stratum.clone(),
                    recording: member.recording,
                    position: assignment.position,
                })
                .collect();
            deliveries::plan(conn, &mailings)?;
            done += members.len() as u64;
            progress(done, all);
        }
        Ok::<(), LaunchError>(())
    })
}

struct Member {
    subscriber: SubscriberId,
    pseudonym: Pseudonym,
    stratum: String,
    recording: RecordingMode,
}

/// Who may be mailed, each with a fresh pseudonym. The most restrictive of person and campaign decides what may be recorded.
fn roster(vault: &VaultDb, list: &str, ceiling: RecordingMode, mint: Mint) -> Result<Vec<Member>, LaunchError> {
    let mut members = Vec::new();
    let mut after = None;
    loop {
        let entries = vault.read(|conn| people::eligible(conn, list, after, STEP as i64))?;
        let Some(last) = entries.last() else { return Ok(members) };
        after = Some(last.id);
        members.extend(entries.into_iter().map(|entry| {
            let recording = entry.recording.min(ceiling);
            Member {
                subscriber: entry.id,
                pseudonym: Pseudonym::from_bytes(mint()),
                stratum: format!("{}/{recording}", entry.provider),
                recording,
            }
        }));
    }
}

fn append_subjects(vault: &VaultDb, ledger: &LedgerDb, campaign: CampaignNumber, part: Part) -> Result<(), LaunchError> {
    let mut after = -1;
    loop {
        let planned = vault.read(|conn| match part {
            Part::Test => deliveries::planned_test(conn, campaign, after, STEP as i64),
            Part::Rest => deliveries::planned_rest(conn, campaign, after, STEP as i64),
            Part::Holdout => deliveries::planned_holdout(conn, campaign, after, STEP as i64),
        })?;
        let Some(last) = planned.last() else { return Ok(()) };
        after = i64::try_from(last.position).unwrap_or(i64::MAX);
        let subjects: Vec<Subject> = planned.into_iter().map(|planned| subject(campaign, part, planned)).collect();
        ledger.write(|conn| events::enrol(conn, &subjects))?;
    }
}

fn subject(campaign: CampaignNumber, part: Part, planned: Planned) -> Subject {
    Subject {
        pseudonym: planned.pseudonym,
        campaign,
        variant: planned.variant,
        part,
        stratum: planned.stratum,
        recording: planned.recording,
    }
}

/// Takes the steps of a campaign that are due by themselves: an interrupted launch goes on, sending becomes observing when the last
/// letter of the test is out, and a choice made for the rest is carried out. Answers whether anything moved.
///
/// # Errors
/// A database failure, or what stopped an interrupted launch.
pub fn step(vault: &VaultDb, ledger: &LedgerDb, campaign: &Campaign, now: Timestamp, mint: Mint) -> Result<bool, LaunchError> {
    let number = campaign.number;
    match campaign.state {
        State::Sealed => {
            // Planned mailings tell that a launch had begun.
            let begun = vault.read(|conn| deliveries::counts(conn, number, None))?.enrolled > 0;
            if begun {
                enrol(vault, ledger, campaign, now, mint, &mut |_, _| {})?;
            }
            Ok(begun)
        }
        State::Sending => {
            vault.write(|conn| deliveries::release(conn, number, now))?;
            if vault.read(|conn| deliveries::test_is_waiting(conn, number))? {
                return Ok(false);
            }
            Ok(ledger.write(|conn| campaigns::advance(conn, number, State::Sending, State::Observing, now))?)
        }
        State::Observing | State::Decided => {
            let Some((variant, _)) = campaign.chosen else { return Ok(false) };
            if !vault.read(|conn| deliveries::rest_is_planned(conn, number))? {
                let is_observing = campaign.state == State::Observing;
                return Ok(is_observing && ledger.write(|conn| campaigns::advance(conn, number, State::Observing, State::Decided, now))?);
            }
            vault.write(|conn| deliveries::choose_for_rest(conn, number, variant))?;
            append_subjects(vault, ledger, number, Part::Rest)?;
            let released = vault.write(|conn| deliveries::release_rest(conn, number, now))?;
            let moved = ledger.write(|conn| campaigns::advance(conn, number, State::Observing, State::Decided, now))?;
            Ok(moved || released > 0)
        }
        State::Draft | State::Closed => Ok(false),
    }
}

/// Chooses what the rest get.
///
/// # Errors
/// [`LaunchError::State`] unless the campaign is observing; [`LaunchError::NoVariant`].
pub fn choose(ledger: &LedgerDb, campaign: &Campaign, choice: Choice<'_>) -> Result<(), LaunchError> {
    let variant = choice.variant;
    if campaign.state != State::Observing {
        return Err(wrong_state(campaign, "what the rest get is chosen while observing, once every letter of the test is out"));
    }
    let arms = campaign.definition.variants.len();
    if usize::from(variant.0) >= arms {
        let letters: Vec<String> = (0..arms).filter_map(|arm| u8::try_from(arm).ok()).map(|arm| VariantNumber(arm).to_string()).collect();
        return Err(LaunchError::NoVariant { name: campaign.definition.name.clone(), variant, letters: letters.join(", ") });
    }
    if ledger.write(|conn| campaigns::choose(conn, campaign.number, choice))? {
        return Ok(());
    }
    // Somebody was faster: closed, or chosen.
    let current = ledger.read(|conn| campaigns::by_number(conn, campaign.number))?;
    let wanted = if current.as_ref().is_some_and(|current| current.chosen.is_some()) {
        "the choice was made before"
    } else {
        "what the rest get is chosen while observing"
    };
    Err(wrong_state(current.as_ref().unwrap_or(campaign), wanted))
}

/// Ends a campaign: what waits is not sent any more, nothing more is recorded.
///
/// # Errors
/// [`LaunchError::State`] for a draft, which is deleted instead, and for a closed one.
pub fn close(vault: &VaultDb, ledger: &LedgerDb, campaign: &Campaign, now: Timestamp, mint: Mint) -> Result<(), LaunchError> {
    // From wherever it stands by now: background work may have moved it on since the caller looked.
    let closed = ledger.write(|conn| match campaigns::by_number(conn, campaign.number)? {
        Some(current) => campaigns::advance(conn, campaign.number, current.state, State::Closed, now),
        None => Ok(false),
    })?;
    if !closed {
        return Err(wrong_state(campaign, "a draft is deleted, not closed; a closed campaign stays closed"));
    }
    while skip_what_waits(vault, campaign.number, now, mint)? > 0 {}
    Ok(())
}

/// Skips letters of a closed campaign, those too that were in a worker's hands when it closed and came back to the queue since.
/// Answers how many.
///
/// # Errors
/// A database failure.
pub fn skip_what_waits(vault: &VaultDb, campaign: CampaignNumber, now: Timestamp, mint: Mint) -> Result<usize, LaunchError> {
    Ok(vault.write(|conn| deliveries::skip_waiting(conn, campaign, CLOSED, now, mint, STEP as i64))?)
}
