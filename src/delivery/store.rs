//! The only SQL of letters on their way.
//!
//! A lease is one conditional update; finishing is one too, so that of two workers only the holder's word counts.

use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use jiff::Timestamp;

use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::delivery::mailing::{Counts, Drawn, Finished, Found, Leased, NewMailing, Outcome, OutcomeKind, Planned, Verdict};
use crate::delivery::schema::{mailing, outcome};
use crate::ids::{CampaignNumber, EventId, MailingId, Mint, Pseudonym, RecordingMode, SubscriberId, VariantNumber};

/// States as literals, not as bound values: only then both engines see that a partial index covers the question.
const QUEUED: &str = "mailing.state = 'queued'";
const LEASED: &str = "mailing.state = 'leased'";
const COMMITTING: &str = "mailing.state = 'committing'";
const PLANNED_TEST: &str = "mailing.part = 'test' AND mailing.state = 'planned'";
const PLANNED_REST: &str = "mailing.part = 'rest' AND mailing.state = 'planned'";
const OPEN_TEST: &str = "mailing.part = 'test' AND mailing.state IN ('planned', 'queued', 'leased', 'committing')";

/// What has not left yet and is in nobody's hands; apart, so that each is answered by an index.
const WAITING: [&str; 3] = [PLANNED_TEST, PLANNED_REST, QUEUED];

/// A condition that holds no value from outside.
fn literally(condition: &'static str) -> SqlLiteral<Bool> {
    diesel::dsl::sql(condition)
}

fn read<T: std::str::FromStr>(expected: &'static str, text: &str) -> DbResult<T> {
    text.parse().map_err(|_| DbError::unreadable(expected, text))
}

fn variant(number: Option<i32>) -> DbResult<VariantNumber> {
    let number = number.unwrap_or(-1);
    u8::try_from(number).map(VariantNumber).map_err(|_| DbError::unreadable("a variant", number))
}

fn campaign_number(number: i64) -> DbResult<CampaignNumber> {
    u32::try_from(number).map(CampaignNumber).map_err(|_| DbError::unreadable("a campaign number", number))
}

fn moment(milliseconds: i64) -> DbResult<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| DbError::unreadable("a moment", milliseconds))
}

#[derive(Insertable, Clone)]
#[diesel(table_name = mailing, treat_none_as_default_value = false)]
struct NewRow {
    id: String,
    campaign: i64,
    subscriber_id: String,
    pseudonym: String,
    part: String,
    variant: Option<i32>,
    stratum: String,
    recording: String,
    state: String,
    position: i64,
    due_at: i64,
    reason: Option<String>,
}

/// Plans mailings. Nothing is sent before [`release`].
pub fn plan(conn: &mut VaultConn, mailings: &[NewMailing]) -> DbResult<()> {
    let rows: Vec<NewRow> = mailings
        .iter()
        .map(|new| NewRow {
            id: new.id.to_string(),
            campaign: i64::from(new.campaign.0),
            subscriber_id: new.subscriber.to_string(),
            pseudonym: new.pseudonym.to_string(),
            part: match (new.variant, new.held_out) {
                (Some(_), _) => "test",
                (None, false) => "rest",
                (None, true) => "holdout",
            }
            .to_owned(),
            variant: new.variant.map(|variant| i32::from(variant.0)),
            stratum: new.stratum.clone(),
            recording: new.recording.as_str().to_owned(),
            state: if new.held_out { "skipped" } else { "planned" }.to_owned(),
            reason: new.held_out.then(|| "held out".to_owned()),
            position: i64::try_from(new.position).unwrap_or(i64::MAX),
            due_at: 0,
        })
        .collect();
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for row in rows {
                diesel::insert_into(mailing::table).values(row).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            diesel::copy_from(mailing::table).from_insertable(&rows).execute(postgres)?;
        }
    }
    Ok(())
}

/// Throws a half-made plan away, so that it can be made again.
pub fn unplan(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<usize> {
    let planned = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(mailing::state.eq("planned"));
    Ok(diesel::delete(planned).execute(conn.sql())?)
}

/// Up to `limit` mailings of the test after `after` in the sending order, whatever their state.
pub fn planned_test(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    planned(conn, campaign, "test", after, limit)
}

/// The same for the rest, once their variant is chosen.
pub fn planned_rest(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    planned(conn, campaign, "rest", after, limit)
}

/// The same for the held out; they have no variant, and the control's number stands for that.
pub fn planned_holdout(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    planned(conn, campaign, "holdout", after, limit)
}

fn planned(conn: &mut VaultConn, campaign: CampaignNumber, part: &str, after: i64, limit: i64) -> DbResult<Vec<Planned>> {
    let rows: Vec<(i64, String, Option<i32>, String, String)> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(mailing::part.eq(part))
        .filter(mailing::position.gt(after))
        .order(mailing::position)
        .limit(limit)
        .select((mailing::position, mailing::pseudonym, mailing::variant, mailing::stratum, mailing::recording))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(position, pseudonym, number, stratum, recording)| {
            Ok(Planned {
                position: position.unsigned_abs(),
                pseudonym: read("a pseudonym", &pseudonym)?,
                variant: if part == "holdout" { VariantNumber::CONTROL } else { variant(number)? },
                stratum,
                recording: read("a recording mode", &recording)?,
            })
        })
        .collect()
}

/// Everybody of a campaign as drawn, in the sending order, after a place.
pub fn drawn(conn: &mut VaultConn, campaign: CampaignNumber, after: i64, limit: i64) -> DbResult<Vec<Drawn>> {
    let rows: Vec<(i64, String, Option<i32>, String, String)> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(mailing::position.gt(after))
        .order(mailing::position)
        .limit(limit)
        .select((mailing::position, mailing::pseudonym, mailing::variant, mailing::part, mailing::stratum))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(position, pseudonym, number, part, stratum)| {
            Ok(Drawn {
                position: position.unsigned_abs(),
                pseudonym: read("a pseudonym", &pseudonym)?,
                // The rest get theirs by choice, not by the draw.
                variant: if part == "test" { Some(variant(number)?) } else { None },
                held_out: part == "holdout",
                stratum,
            })
        })
        .collect()
}

/// Lets the planned mailings of the test go. Saying it twice changes nothing.
pub fn release(conn: &mut VaultConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<usize> {
    let waiting = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(literally(PLANNED_TEST));
    let set = (mailing::state.eq("queued"), mailing::due_at.eq(now.as_millisecond()));
    Ok(diesel::update(waiting).set(set).execute(conn.sql())?)
}

/// Lets a variant's letters of the test wait until a moment, unless they were tried already.
pub fn hold_until(conn: &mut VaultConn, campaign: CampaignNumber, variant: VariantNumber, at: Timestamp) -> DbResult<usize> {
    let waiting = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(QUEUED))
        .filter(mailing::part.eq("test"))
        .filter(mailing::variant.eq(i32::from(variant.0)))
        .filter(mailing::attempts.eq(0))
        .filter(mailing::due_at.lt(at.as_millisecond()));
    Ok(diesel::update(waiting).set(mailing::due_at.eq(at.as_millisecond())).execute(conn.sql())?)
}

/// Gives the rest their variant; they stay planned.
pub fn choose_for_rest(conn: &mut VaultConn, campaign: CampaignNumber, variant: VariantNumber) -> DbResult<usize> {
    let rest = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(PLANNED_REST))
        .filter(mailing::variant.is_null());
    Ok(diesel::update(rest).set(mailing::variant.eq(i32::from(variant.0))).execute(conn.sql())?)
}

/// Lets the rest go, once their variant is chosen.
pub fn release_rest(conn: &mut VaultConn, campaign: CampaignNumber, now: Timestamp) -> DbResult<usize> {
    let waiting = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(PLANNED_REST))
        .filter(mailing::variant.is_not_null());
    let set = (mailing::state.eq("queued"), mailing::due_at.eq(now.as_millisecond()));
    Ok(diesel::update(waiting).set(set).execute(conn.sql())?)
}

type LeasedRow = (String, i64, String, String, Option<i32>, String, String, i32, Option<i64>);

/// Takes up to `limit` due mailings of a campaign for `owner` until `until`; they come in sending order.
pub fn lease(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> DbResult<Vec<Leased>> {
    let due: Vec<String> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(QUEUED))
        .filter(mailing::due_at.le(now.as_millisecond()))
        .order((mailing::due_at, mailing::position))
        .limit(limit)
        .select(mailing::id)
        .load(conn.sql())?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    // The state is asked again: on PostgreSQL another node may have taken some in between.
    let rows: Vec<LeasedRow> = diesel::update(mailing::table.filter(mailing::id.eq_any(&due)).filter(mailing::state.eq("queued")))
        .set((mailing::state.eq("leased"), mailing::lease_owner.eq(owner), mailing::lease_until.eq(until.as_millisecond())))
        .returning((
            mailing::id,
            mailing::campaign,
            mailing::subscriber_id,
            mailing::pseudonym,
            mailing::variant,
            mailing::part,
            mailing::recording,
            mailing::attempts,
            mailing::first_attempt_at,
        ))
        .get_results(conn.sql())?;
    let place: std::collections::HashMap<&str, usize> = due.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let mut rows = rows;
    rows.sort_by_key(|row| place.get(row.0.as_str()).copied());
    rows.into_iter()
        .map(|(id, campaign, subscriber, pseudonym, number, part, recording, attempts, first)| {
            Ok(Leased {
                id: read("a mailing id", &id)?,
                campaign: campaign_number(campaign)?,
                subscriber: read("a subscriber id", &subscriber)?,
                pseudonym: read("a pseudonym", &pseudonym)?,
                variant: variant(number)?,
                is_rest: part == "rest",
                recording: read("a recording mode", &recording)?,
                attempts: attempts.unsigned_abs(),
                first_attempt_at: first.map(moment).transpose()?,
            })
        })
        .collect()
}

/// Gives mailings back untried, so that another worker may take them at once.
pub fn give_back(conn: &mut VaultConn, ids: &[MailingId], owner: &str) -> DbResult<()> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let held = mailing::table.filter(mailing::id.eq_any(texts)).filter(mailing::lease_owner.eq(owner)).filter(mailing::state.eq("leased"));
    diesel::update(held)
        .set((mailing::state.eq("queued"), mailing::lease_owner.eq(None::<String>), mailing::lease_until.eq(None::<i64>)))
        .execute(conn.sql())?;
    Ok(())
}

/// Notes that the last dot of these letters is about to be sent; answers those still held by `owner`, the only ones that may be.
pub fn commit_to(conn: &mut VaultConn, ids: &[MailingId], owner: &str) -> DbResult<Vec<MailingId>> {
    let mut held = Vec::with_capacity(ids.len());
    for id in ids {
        let mine = mailing::table.find(id.to_string()).filter(mailing::lease_owner.eq(owner)).filter(mailing::state.eq("leased"));
        if diesel::update(mine).set(mailing::state.eq("committing")).execute(conn.sql())? > 0 {
            held.push(*id);
        }
    }
    Ok(held)
}

/// Writes what became of attempts, and the outcomes the ledger is to learn of.
pub fn finish(conn: &mut VaultConn, finished: &[Finished], owner: &str) -> DbResult<()> {
    for end in finished {
        let (state, due, reason, kind) = match &end.verdict {
            Verdict::Accepted => ("accepted", None, None, Some(OutcomeKind::Sent)),
            Verdict::Deferred { until, reason } => ("queued", Some(until.as_millisecond()), Some(reason), None),
            Verdict::Refused { reason } => ("refused", None, Some(reason), Some(OutcomeKind::Refused)),
            Verdict::Failed { reason } => ("failed", None, Some(reason), Some(OutcomeKind::Failed)),
            Verdict::Skipped { reason } => ("skipped", None, Some(reason), Some(OutcomeKind::Skipped)),
            Verdict::Unknown => ("unknown", None, None, Some(OutcomeKind::Uncertain)),
        };
        let at = end.at.as_millisecond();
        let held = mailing::table
            .find(end.mailing.id.to_string())
            .filter(mailing::lease_owner.eq(owner))
            .filter(mailing::state.eq_any(["leased", "committing"]));
        let changed = diesel::update(held)
            .set((
                mailing::state.eq(state),
                mailing::due_at.eq(due.unwrap_or(at)),
                mailing::reason.eq(reason),
                mailing::attempts.eq(mailing::attempts + 1),
                mailing::first_attempt_at.eq(end.mailing.first_attempt_at.map_or(at, Timestamp::as_millisecond)),
                mailing::finished_at.eq(kind.map(|_| at)),
                mailing::lease_owner.eq(None::<String>),
                mailing::lease_until.eq(None::<i64>),
            ))
            .execute(conn.sql())?;
        if let (1.., Some(kind)) = (changed, kind) {
            insert_outcome(
                conn,
                &end.mailing.id,
                end.mailing.campaign,
                end.mailing.pseudonym,
                kind,
                reason.map_or("", String::as_str),
                matches!(kind, OutcomeKind::Sent | OutcomeKind::Uncertain).then_some(end.mailing.recording),
                at,
                end.event,
            )?;
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // One row, column by column; a struct for it would be written and read once.
fn insert_outcome(
    conn: &mut VaultConn,
    mailing_id: &MailingId,
    campaign: CampaignNumber,
    pseudonym: Pseudonym,
    kind: OutcomeKind,
    reason: &str,
    recording: Option<RecordingMode>,
    at: i64,
    event: EventId,
) -> DbResult<()> {
    diesel::insert_into(outcome::table)
        .values((
            outcome::id.eq(event.to_string()),
            outcome::mailing_id.eq(mailing_id.to_string()),
            outcome::campaign.eq(i64::from(campaign.0)),
            outcome::pseudonym.eq(pseudonym.to_string()),
            outcome::kind.eq(kind.as_str()),
            outcome::reason.eq(reason),
            outcome::recording.eq(recording.map(RecordingMode::as_str)),
            outcome::at.eq(at),
        ))
        .execute(conn.sql())?;
    Ok(())
}

/// Takes leases back that ended without a word: what was not yet at the last dot is queued again, the rest is unknown and stays so.
/// Answers how many of each.
pub fn expire_leases(conn: &mut VaultConn, now: Timestamp, mint: Mint) -> DbResult<(usize, usize)> {
    let ended = |state: &'static str| mailing::table.filter(literally(state)).filter(mailing::lease_until.le(now.as_millisecond()));
    let lost: Vec<(String, i64, String)> =
        ended(COMMITTING).order(mailing::id).select((mailing::id, mailing::campaign, mailing::pseudonym)).load(conn.sql())?;
    let mut unknown = 0;
    for (id, campaign, pseudonym) in &lost {
        // The state is asked again: on PostgreSQL the answer may have been written, or another node have been here, in between.
        let set = (mailing::state.eq("unknown"), mailing::finished_at.eq(now.as_millisecond()), mailing::lease_owner.eq(None::<String>));
        if diesel::update(ended(COMMITTING).filter(mailing::id.eq(id))).set(set).execute(conn.sql())? == 0 {
            continue;
        }
        unknown += 1;
        let (id, pseudonym) = (read("a mailing id", id)?, read("a pseudonym", pseudonym)?);
        let event = EventId::from_bytes(mint());
        insert_outcome(conn, &id, campaign_number(*campaign)?, pseudonym, OutcomeKind::Uncertain, "", None, now.as_millisecond(), event)?;
    }
    let requeued = diesel::update(ended(LEASED))
        .set((mailing::state.eq("queued"), mailing::lease_owner.eq(None::<String>), mailing::lease_until.eq(None::<i64>)))
        .execute(conn.sql())?;
    Ok((requeued, unknown))
}

/// Leases that have not ended, of any owner: zero when nobody sends.
pub fn leases_open(conn: &mut VaultConn) -> DbResult<i64> {
    Ok(mailing::table.filter(mailing::state.eq_any(["leased", "committing"])).count().get_result(conn.sql())?)
}

/// The mailing behind a pseudonym.
pub fn by_pseudonym(conn: &mut VaultConn, pseudonym: Pseudonym) -> DbResult<Option<Found>> {
    let row: Option<(String, i64, String)> = mailing::table
        .filter(mailing::pseudonym.eq(pseudonym.to_string()))
        .select((mailing::id, mailing::campaign, mailing::subscriber_id))
        .first(conn.sql())
        .optional()?;
    row.map(|(id, campaign, subscriber)| {
        Ok(Found {
            id: read("a mailing id", &id)?,
            campaign: campaign_number(campaign)?,
            subscriber: read("a subscriber id", &subscriber)?,
            pseudonym,
        })
    })
    .transpose()
}

/// Every pseudonym of a person.
pub fn pseudonyms(conn: &mut VaultConn, subscriber: SubscriberId) -> DbResult<Vec<Pseudonym>> {
    let texts: Vec<String> =
        mailing::table.filter(mailing::subscriber_id.eq(subscriber.to_string())).select(mailing::pseudonym).load(conn.sql())?;
    texts.iter().map(|text| read("a pseudonym", text)).collect()
}

/// Records something that happened to a mailing after it was sent, once per kind; answers whether it was new.
pub fn add_outcome(conn: &mut VaultConn, found: &Found, kind: OutcomeKind, reason: &str, now: Timestamp, event: EventId) -> DbResult<bool> {
    let known: i64 = outcome::table
        .filter(outcome::mailing_id.eq(found.id.to_string()))
        .filter(outcome::kind.eq(kind.as_str()))
        .count()
        .get_result(conn.sql())?;
    if known > 0 {
        return Ok(false);
    }
    insert_outcome(conn, &found.id, found.campaign, found.pseudonym, kind, reason, None, now.as_millisecond(), event)?;
    Ok(true)
}

type OutcomeRow = (String, i64, String, String, String, Option<String>, i64);

/// Up to `limit` outcomes the ledger has not learned of, the oldest first.
pub fn outcomes_waiting(conn: &mut VaultConn, limit: i64) -> DbResult<Vec<Outcome>> {
    let rows: Vec<OutcomeRow> = outcome::table
        .filter(diesel::dsl::not(outcome::relayed))
        .order(outcome::at)
        .limit(limit)
        .select((outcome::id, outcome::campaign, outcome::pseudonym, outcome::kind, outcome::reason, outcome::recording, outcome::at))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(id, campaign, pseudonym, kind, reason, recording, at)| {
            Ok(Outcome {
                event: read("an event id", &id)?,
                campaign: campaign_number(campaign)?,
                pseudonym: read("a pseudonym", &pseudonym)?,
                kind: OutcomeKind::ALL
                    .into_iter()
                    .find(|known| known.as_str() == kind)
                    .ok_or_else(|| DbError::unreadable("an outcome", &kind))?,
                reason,
                recording: recording.map(|mode| read("a recording mode", &mode)).transpose()?,
                at: moment(at)?,
            })
        })
        .collect()
}

/// Notes that the ledger has these.
pub fn mark_relayed(conn: &mut VaultConn, outcomes: &[Outcome]) -> DbResult<()> {
    for done in outcomes {
        diesel::update(outcome::table.find(done.event.to_string())).set(outcome::relayed.eq(true)).execute(conn.sql())?;
    }
    Ok(())
}

/// How many mailings of a campaign are where; `part` narrows it to `test` or `rest`.
pub fn counts(conn: &mut VaultConn, campaign: CampaignNumber, part: Option<&str>) -> DbResult<Counts> {
    let rows: Vec<(String, String, i64)> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .group_by((mailing::part, mailing::state))
        .select((mailing::part, mailing::state, diesel::dsl::count_star()))
        .load(conn.sql())?;
    let mut counts = Counts::default();
    for (row_part, state, count) in rows {
        if part.is_some_and(|part| part != row_part) {
            continue;
        }
        let count = count.unsigned_abs();
        counts.enrolled += count;
        match state.as_str() {
            "planned" => counts.planned += count,
            "queued" => counts.queued += count,
            "leased" | "committing" => counts.in_hand += count,
            "accepted" => counts.accepted += count,
            "refused" => counts.refused += count,
            "failed" => counts.failed += count,
            "skipped" => counts.skipped += count,
            "unknown" => counts.unknown += count,
            other => return Err(DbError::unreadable("a mailing's state", other)),
        }
    }
    Ok(counts)
}

/// Whether mailings of the test still have to leave.
pub fn test_is_waiting(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<bool> {
    let waiting = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(literally(OPEN_TEST));
    Ok(diesel::select(diesel::dsl::exists(waiting)).get_result(conn.sql())?)
}

/// Whether mailings of the rest still wait for the test's choice to be carried out.
pub fn rest_is_planned(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<bool> {
    let planned = mailing::table.filter(mailing::campaign.eq(i64::from(campaign.0))).filter(literally(PLANNED_REST));
    Ok(diesel::select(diesel::dsl::exists(planned)).get_result(conn.sql())?)
}

/// When the next mailing of a campaign is due, if any is queued.
pub fn next_due(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<Option<Timestamp>> {
    let earliest: Option<i64> = mailing::table
        .filter(mailing::campaign.eq(i64::from(campaign.0)))
        .filter(literally(QUEUED))
        .select(diesel::dsl::min(mailing::due_at))
        .first(conn.sql())?;
    earliest.map(moment).transpose()
}

/// Up to `limit` mailings that will not be sent any more because the campaign ends: skipped, with their outcomes. Answers how many.
pub fn skip_waiting(
    conn: &mut VaultConn,
    campaign: CampaignNumber,
    reason: &str,
    now: Timestamp,
    mint: Mint,
    limit: i64,
) -> DbResult<usize> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for condition in WAITING {
        let found: Vec<(String, String)> = mailing::table
            .filter(mailing::campaign.eq(i64::from(campaign.0)))
            .filter(literally(condition))
            .limit(limit.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX)))
            .select((mailing::id, mailing::pseudonym))
            .load(conn.sql())?;
        rows.extend(found);
    }
    // In one order everywhere, so that two nodes at once wait for each other and never in a circle.
    rows.sort_unstable();
    let mut skipped = 0;
    for (id, pseudonym) in &rows {
        // The state is asked again: on PostgreSQL a worker of another node may have taken it in between, and it is the worker's then.
        let waiting = mailing::table.find(id).filter(mailing::state.eq_any(["planned", "queued"]));
        let set = (mailing::state.eq("skipped"), mailing::reason.eq(reason), mailing::finished_at.eq(now.as_millisecond()));
        if diesel::update(waiting).set(set).execute(conn.sql())? == 0 {
            continue;
        }
        skipped += 1;
        let (id, pseudonym) = (read("a mailing id", id)?, read("a pseudonym", pseudonym)?);
        let event = EventId::from_bytes(mint());
        insert_outcome(conn, &id, campaign, pseudonym, OutcomeKind::Skipped, reason, None, now.as_millisecond(), event)?;
    }
    Ok(skipped)
}
