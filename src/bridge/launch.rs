//! A campaign's steps that touch people and events: seal, enrol, release, choose for the rest, close.
//!
//! Cast: [`seal`], [`enrol`], [`step`] (whatever is due, for the background), [`choose`], [`cancel`], [`close`], [`LaunchError`].
//!
//! Order makes each crash harmless: mailings are planned, then subjects appended, then the campaign moves on, then the mailings are
//! released, all in steps that keep nobody waiting. A half-made plan is thrown away and made again: nothing of it has left. One process
//! plans at a time; a dead one's planning is taken over. Running a step again does only what is missing.

use jiff::Timestamp;

use crate::campaign::definition::{TRAP_LINK, seal_hash};
use crate::campaign::file::Problem;
use crate::campaign::proof::Proof;
use crate::campaign::state::State;
use crate::campaign::store::{self as campaigns, Campaign, Choice, Link, Sealed};
use crate::db::{DbError, LedgerDb, VaultConn, VaultDb};
use crate::delivery::mailing::{NewMailing, Planned};
use crate::delivery::store::{self as deliveries, Enrolment, Skipped};
use crate::experiment::assign::{Candidate, Seed, draw};
use crate::ids::{CampaignNumber, MailingId, Mint, Pseudonym, RecordingMode, SubscriberId, VariantNumber};
use crate::ledger::store as events;
use crate::ledger::subject::{Part, Subject};
use crate::vault::people::NoSuchList;
use crate::vault::store as people;

/// Rows per step of long work.
const STEP: usize = 5000;
/// Recipients written in one transaction: the indexes of people and pseudonyms are in no order that sending knows, and fewer at a time would
/// read and write each of their pages again and again; more would keep others waiting.
const WRITTEN_AT_ONCE: usize = 20_000;
/// Why a letter of a closed campaign is not sent.
pub const CLOSED: &str = "campaign closed";
/// Why a letter of a cancelled one is not sent.
pub const CANCELLED: &str = "sending cancelled";

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
    /// Another process is at it.
    #[error("campaign {name} is being launched by another process; look again in a minute")]
    Elsewhere {
        /// The campaign.
        name: String,
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
/// What time it is: long work asks again and again.
pub type Clock<'a> = &'a dyn Fn() -> Timestamp;

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
    ledger.write(|conn| {
        if !campaigns::seal(conn, campaign.number, &sealed, &links)? {
            return Err(wrong_state(campaign, "only a draft can be sealed"));
        }
        // Links and proof are of the draft as it was looked at. Whoever changed it since is told by an error, which undoes the seal.
        if campaigns::by_number(conn, campaign.number)?.is_none_or(|now| now.definition != *definition) {
            return Err(wrong_state(campaign, "it was changed by somebody while it was being checked; look at it again"));
        }
        Ok(campaigns::keep_proof(conn, campaign.number, proof)?)
    })?;
    Ok(sealed)
}

fn no_such_list(vault: &VaultDb, wanted: &str) -> Result<Problem, LaunchError> {
    let missing = NoSuchList { wanted: wanted.to_owned(), known: vault.read(people::list_names)? };
    Ok(Problem::of("list", missing.to_string()))
}

fn wrong_state(campaign: &Campaign, wanted: &'static str) -> LaunchError {
    LaunchError::State { name: campaign.definition.name.clone(), state: campaign.state, wanted }
}

/// Assigns everybody on the list and lets the test's letters go. Resumes where an earlier run stopped. `owner` names this process.
///
/// # Errors
/// [`LaunchError::Nobody`]; [`LaunchError::State`] unless it is sealed or already sending; [`LaunchError::Elsewhere`].
pub fn enrol(
    vault: &VaultDb,
    ledger: &LedgerDb,
    campaign: &Campaign,
    now: Clock<'_>,
    mint: Mint,
    owner: &str,
    progress: Progress<'_>,
) -> Result<(), LaunchError> {
    let Some(sealed) = &campaign.sealed else { return Err(wrong_state(campaign, "seal it first")) };
    match campaign.state {
        State::Sealed => {}
        // A crash after the last but one step: only the release is missing.
        State::Sending => return release(vault, campaign.number, now).map(|_| ()),
        _ => return Err(wrong_state(campaign, "only a sealed campaign can be launched")),
    }
    // With a send time behind, its variant would leave together with others: only what was begun before goes on.
    let is_late = !campaign.definition.time_problems(now()).is_empty();
    match vault.write(|conn| deliveries::claim_enrolment(conn, campaign.number, owner, now(), !is_late))? {
        Enrolment::Planned => {}
        Enrolment::Ours => plan(vault, campaign, &sealed.seed, (now, mint, owner), progress)?,
        Enrolment::NotBegun if is_late => {
            return Err(wrong_state(campaign, "a send time of its plan has passed: close it and make one with later times"));
        }
        Enrolment::Elsewhere | Enrolment::NotBegun => return Err(LaunchError::Elsewhere { name: campaign.definition.name.clone() }),
    }
    append_subjects(vault, ledger, campaign.number, Part::Test)?;
    append_subjects(vault, ledger, campaign.number, Part::Holdout)?;
    let (moved, current) = ledger.write(|conn| {
        campaigns::mark_enrolled(conn, campaign.number, now())?;
        let moved = campaigns::advance(conn, campaign.number, State::Sealed, State::Sending, now())?;
        Ok::<_, DbError>((moved, campaigns::by_number(conn, campaign.number)?))
    })?;
    if let Some(closed) = current.filter(|current| !moved && current.state == State::Closed) {
        // Closed while people were assigned: nothing of it may wait for ever.
        while skip_what_waits(vault, campaign.number, CLOSED, now(), mint)?.found > 0 {}
        return Err(wrong_state(&closed, "somebody closed it meanwhile, so nothing was sent"));
    }
    release(vault, campaign.number, now).map(|_| ())
}

/// Lets the test's letters go, step by step.
fn release(vault: &VaultDb, campaign: CampaignNumber, now: Clock<'_>) -> Result<usize, LaunchError> {
    let mut released = 0;
    while vault.read(|conn| deliveries::test_is_planned(conn, campaign))? {
        released += vault.write(|conn| deliveries::release(conn, campaign, now()))?;
    }
    Ok(released)
}

/// Everybody who takes part. What an earlier planner left unfinished is thrown away first: only all pseudonyms together tell who gets
/// what, and nothing was sent.
fn plan(
    vault: &VaultDb,
    campaign: &Campaign,
    seed: &Seed,
    (now, mint, owner): (Clock<'_>, Mint, &str),
    progress: Progress<'_>,
) -> Result<(), LaunchError> {
    let definition = &campaign.definition;
    let send_times = definition.send_times();
    let elsewhere = || LaunchError::Elsewhere { name: definition.name.clone() };
    let ours = |conn: &mut VaultConn| {
        if deliveries::keep_enrolment(conn, campaign.number, owner, now())? { Ok(()) } else { Err(elsewhere()) }
    };
    while vault.write(|conn| {
        ours(conn)?;
        Ok::<_, LaunchError>(deliveries::unplan(conn, campaign.number)?)
    })? > 0
    {}
    let Roster { members, strata } = Roster::read(vault, &definition.list, definition.recording, mint)?;
    if members.is_empty() {
        vault.write(|conn| deliveries::drop_enrolment(conn, campaign.number, owner))?;
        return Err(LaunchError::Nobody { list: definition.list.clone() });
    }
    let candidates = members.iter().map(|member| {
        let stratum = strata.get(usize::from(member.stratum)).map_or("", |stratum| stratum.name.as_str());
        Candidate { pseudonym: member.pseudonym, stratum }
    });
    let drawn = draw(seed, &definition.design.weights, definition.design.share, definition.design.holdout, candidates);
    // Chance, and yet in sending order, and the rows are written in it: letters that leave together then lie together, in the table and in
    // each index that sending changes, and a commit of ten letters writes few pages instead of some for every letter.
    let mut ids: Vec<[u8; 16]> = drawn.iter().map(|_| mint()).collect();
    ids.sort_unstable();
    let mut done = 0;
    for (some, ids) in drawn.chunks(WRITTEN_AT_ONCE).zip(ids.chunks(WRITTEN_AT_ONCE)) {
        let mailings: Vec<NewMailing<'_>> = (done..)
            .zip(some)
            .zip(ids)
            .filter_map(|((position, drawn), id)| {
                let member = members.get(usize::try_from(drawn.index).ok()?)?;
                let stratum = strata.get(usize::from(member.stratum))?;
                Some(NewMailing {
                    id: MailingId::from_bytes(*id),
                    campaign: campaign.number,
                    subscriber: member.subscriber,
                    pseudonym: member.pseudonym,
                    variant: drawn.variant,
                    held_out: drawn.held_out,
                    stratum: &stratum.name,
                    provider: &stratum.provider,
                    recording: stratum.recording,
                    position,
                    not_before: drawn.variant.and_then(|variant| send_times.get(usize::from(variant.0)).copied().flatten()),
                })
            })
            .collect();
        vault.write(|conn| {
            ours(conn)?;
            Ok::<_, LaunchError>(deliveries::plan(conn, &mailings)?)
        })?;
        done += some.len() as u64;
        progress(done, members.len() as u64);
    }
    if vault.write(|conn| deliveries::end_enrolment(conn, campaign.number, owner, now()))? { Ok(()) } else { Err(elsewhere()) }
}

/// Who takes part: 34 bytes each, whatever is common to many beside them.
struct Roster {
    members: Vec<Member>,
    strata: Vec<Stratum>,
}

struct Member {
    subscriber: SubscriberId,
    pseudonym: Pseudonym,
    /// Its number.
    stratum: u16,
}

/// A mailbox provider, and what may be recorded.
struct Stratum {
    name: String,
    provider: String,
    recording: RecordingMode,
}

impl Roster {
    /// Who may be mailed, each with a fresh pseudonym. The most restrictive of person and campaign decides what may be recorded.
    fn read(vault: &VaultDb, list: &str, ceiling: RecordingMode, mint: Mint) -> Result<Self, LaunchError> {
        let most = usize::try_from(vault.read(|conn| people::eligible_count(conn, list))?).unwrap_or_default();
        let mut roster = Self { members: Vec::with_capacity(most), strata: Vec::new() };
        let mut after = None;
        loop {
            let entries = vault.read(|conn| people::eligible(conn, list, after, STEP as i64))?;
            let Some(last) = entries.last() else { return Ok(roster) };
            after = Some(last.id);
            for entry in entries {
                let stratum = roster.stratum(entry.provider, entry.recording.min(ceiling));
                roster.members.push(Member { subscriber: entry.id, pseudonym: Pseudonym::from_bytes(mint()), stratum });
            }
        }
    }

    fn stratum(&mut self, provider: String, recording: RecordingMode) -> u16 {
        let known = self.strata.iter().position(|stratum| stratum.recording == recording && stratum.provider == provider);
        let number = known.unwrap_or_else(|| {
            self.strata.push(Stratum { name: format!("{provider}/{recording}"), provider, recording });
            self.strata.len() - 1
        });
        // A dozen providers times four modes.
        u16::try_from(number).unwrap_or(u16::MAX)
    }
}

fn append_subjects(vault: &VaultDb, ledger: &LedgerDb, campaign: CampaignNumber, part: Part) -> Result<(), LaunchError> {
    let mut after = -1;
    loop {
        let mut planned = vault.read(|conn| match part {
            Part::Test => deliveries::planned_test(conn, campaign, after, WRITTEN_AT_ONCE as i64),
            Part::Rest => deliveries::planned_rest(conn, campaign, after, WRITTEN_AT_ONCE as i64),
            Part::Holdout => deliveries::planned_holdout(conn, campaign, after, WRITTEN_AT_ONCE as i64),
        })?;
        let Some(last) = planned.last() else { return Ok(()) };
        after = i64::try_from(last.position).unwrap_or(i64::MAX);
        planned.sort_unstable_by_key(|planned| planned.pseudonym);
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
pub fn step(vault: &VaultDb, ledger: &LedgerDb, campaign: &Campaign, now: Clock<'_>, mint: Mint, owner: &str) -> Result<bool, LaunchError> {
    let number = campaign.number;
    match campaign.state {
        State::Sealed => {
            // Only what somebody had begun, and nobody is at now.
            let begun = vault.write(|conn| deliveries::claim_enrolment(conn, number, owner, now(), false))?;
            if matches!(begun, Enrolment::NotBegun | Enrolment::Elsewhere) {
                return Ok(false);
            }
            enrol(vault, ledger, campaign, now, mint, owner, &mut |_, _| {})?;
            Ok(true)
        }
        State::Sending => {
            let released = release(vault, number, now)?;
            if vault.read(|conn| deliveries::test_is_waiting(conn, number))? {
                return Ok(released > 0);
            }
            Ok(ledger.write(|conn| campaigns::advance(conn, number, State::Sending, State::Observing, now()))?)
        }
        State::Observing | State::Decided => {
            let Some((variant, _)) = campaign.chosen else { return Ok(false) };
            let advance = || ledger.write(|conn| campaigns::advance(conn, number, State::Observing, State::Decided, now()));
            if !vault.read(|conn| deliveries::rest_is_planned(conn, number))? {
                return Ok(campaign.state == State::Observing && advance()?);
            }
            let sent_at = campaign.sending_at.unwrap_or_else(now);
            let time = campaign.definition.time_for_rest(variant, sent_at, campaign.chosen_at.unwrap_or_else(now));
            while vault.write(|conn| deliveries::choose_for_rest(conn, number, variant, time))? > 0 {}
            append_subjects(vault, ledger, number, Part::Rest)?;
            let mut released = 0;
            loop {
                let step = vault.write(|conn| deliveries::release_rest(conn, number, now()))?;
                if step == 0 {
                    break;
                }
                released += step;
            }
            let moved = advance()?;
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
    loop {
        let current = ledger.read(|conn| campaigns::by_number(conn, campaign.number))?;
        let Some(current) = current.filter(|current| current.state.may_become(State::Closed)) else {
            return Err(wrong_state(campaign, "a draft is deleted, not closed; a closed campaign stays closed"));
        };
        // A campaign takes a handful of steps in its life, so this ends.
        if ledger.write(|conn| campaigns::advance(conn, campaign.number, current.state, State::Closed, now))? {
            break;
        }
    }
    // Out of the workers' hands first: what is not at its last dot does not leave any more.
    vault.write(|conn| deliveries::recall(conn, campaign.number))?;
    while skip_what_waits(vault, campaign.number, CLOSED, now, mint)?.found > 0 {}
    Ok(())
}

/// Sends no more letters of a campaign and keeps it going: what was sent is still measured. Call once it is marked as cancelled, so that
/// no worker takes what comes back from the hands of another. Answers how many are skipped.
///
/// # Errors
/// A database failure; cancelling again goes on.
pub fn cancel(vault: &VaultDb, campaign: CampaignNumber, now: Timestamp, mint: Mint) -> Result<usize, LaunchError> {
    vault.write(|conn| deliveries::recall(conn, campaign))?;
    let mut skipped = 0;
    loop {
        let step = skip_what_waits(vault, campaign, CANCELLED, now, mint)?;
        if step.found == 0 {
            return Ok(skipped);
        }
        skipped += step.skipped;
    }
}

/// Skips letters of a campaign that was closed or cancelled, those too that were in a worker's hands then and came back to the queue since.
///
/// # Errors
/// A database failure.
pub fn skip_what_waits(
    vault: &VaultDb,
    campaign: CampaignNumber,
    reason: &str,
    now: Timestamp,
    mint: Mint,
) -> Result<Skipped, LaunchError> {
    // Asked every half second of whatever ended lately: looking costs no commit.
    if !vault.read(|conn| deliveries::has_waiting(conn, campaign))? {
        return Ok(Skipped::default());
    }
    Ok(vault.write(|conn| deliveries::skip_waiting(conn, campaign, reason, now, mint, STEP as i64))?)
}
