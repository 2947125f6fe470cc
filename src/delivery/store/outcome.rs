//! Outcomes waiting for the ledger, and the way back from a pseudonym to its mailing.

use diesel::prelude::*;
use jiff::Timestamp;

use super::{campaign_number, moment, read};
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::delivery::mailing::{Attempt, Fate, Found, Outcome, OutcomeKind};
use crate::delivery::schema::{attempt, mailing, outcome};
use crate::ids::{CampaignNumber, EventId, Pseudonym, RecordingMode, SubscriberId};

/// How many outcomes one statement of PostgreSQL takes away.
const TAKEN_TOGETHER: usize = 10_000;

#[allow(clippy::too_many_arguments)] // One row, column by column; a struct for it would be written and read once.
pub(super) fn insert_outcome(
    conn: &mut VaultConn,
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

/// Forgets what relays said of letters to a person: their words may describe somebody. Codes and verdicts stay.
pub fn forget_words(conn: &mut VaultConn, subscriber: SubscriberId) -> DbResult<()> {
    let theirs: Vec<String> =
        mailing::table.filter(mailing::subscriber_id.eq(subscriber.to_string())).select(mailing::id).load(conn.sql())?;
    for mailing in theirs {
        diesel::update(attempt::table.filter(attempt::mailing_id.eq(mailing))).set(attempt::text.eq("")).execute(conn.sql())?;
    }
    Ok(())
}

const COME_BACK: &str = "INSERT INTO came_back (mailing_id, kind) VALUES (?, ?) ON CONFLICT DO NOTHING";

/// Records something that happened to a mailing after it was sent, once per kind; answers whether it was new.
pub fn add_outcome(conn: &mut VaultConn, found: &Found, kind: OutcomeKind, reason: &str, now: Timestamp, event: EventId) -> DbResult<bool> {
    let mailing = found.id.to_string();
    let values = [Value::Text(&mailing), Value::Text(kind.as_str())];
    if Fixed::new(COME_BACK, values).run(conn)? == 0 {
        return Ok(false);
    }
    insert_outcome(conn, found.campaign, found.pseudonym, kind, reason, None, now.as_millisecond(), event)?;
    Ok(true)
}

type OutcomeRow = (String, i64, String, String, String, Option<String>, i64);

/// Up to `limit` outcomes the ledger has not learned of, the oldest first.
pub fn outcomes_waiting(conn: &mut VaultConn, limit: i64) -> DbResult<Vec<Outcome>> {
    let rows: Vec<OutcomeRow> = outcome::table
        .order((outcome::at, outcome::id))
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

const FORGET: &str = "DELETE FROM outcome WHERE at = ? AND id = ?";
const FORGET_ALL: &str = "DELETE FROM outcome USING unnest(?, ?) AS told (at, id) WHERE outcome.at = told.at AND outcome.id = told.id";

/// Takes these away: the ledger has them.
pub fn forget_relayed(conn: &mut VaultConn, outcomes: &[Outcome]) -> DbResult<()> {
    for told in outcomes.chunks(TAKEN_TOGETHER) {
        let ids: Vec<String> = told.iter().map(|outcome| outcome.event.to_string()).collect();
        let moments: Vec<i64> = told.iter().map(|outcome| outcome.at.as_millisecond()).collect();
        match conn.sql() {
            AnyConnection::Sqlite(sqlite) => {
                for (at, id) in moments.into_iter().zip(&ids) {
                    Fixed::<()>::new(FORGET, [Value::Number(at), Value::Text(id)]).execute(sqlite)?;
                }
            }
            AnyConnection::Postgres(postgres) => {
                let values = [Value::Numbers(moments), Value::Texts(ids.iter().map(String::as_str).collect())];
                Fixed::<()>::new(FORGET_ALL, values).execute(postgres)?;
            }
        }
    }
    Ok(())
}

type FateRow = (String, i64, String, Option<String>, Option<i64>);
type AttemptRow = (i64, String, String, String, Option<i32>, Option<String>, String);

/// Every letter to a person, the newest campaign first, with every try.
pub fn fates(conn: &mut VaultConn, subscriber: SubscriberId) -> DbResult<Vec<Fate>> {
    let rows: Vec<FateRow> = mailing::table
        .filter(mailing::subscriber_id.eq(subscriber.to_string()))
        .order(mailing::campaign.desc())
        .select((mailing::id, mailing::campaign, mailing::state, mailing::reason, mailing::finished_at))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(id, campaign, state, reason, finished)| {
            Ok(Fate {
                campaign: campaign_number(campaign)?,
                state,
                reason,
                finished_at: finished.map(moment).transpose()?,
                attempts: attempts(conn, &id)?,
            })
        })
        .collect()
}

fn attempts(conn: &mut VaultConn, mailing: &str) -> DbResult<Vec<(Timestamp, String, Attempt)>> {
    let rows: Vec<AttemptRow> = attempt::table
        .filter(attempt::mailing_id.eq(mailing))
        // A letter that was not tried after all has no stage.
        .filter(attempt::stage.ne(""))
        .order(attempt::number)
        .select((attempt::at, attempt::verdict, attempt::relay, attempt::stage, attempt::code, attempt::enhanced, attempt::text))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(at, verdict, relay, stage, code, enhanced, text)| {
            let code = code.and_then(|code| u16::try_from(code).ok());
            Ok((moment(at)?, verdict, Attempt { relay, stage, code, enhanced, text }))
        })
        .collect()
}
