//! The only SQL of making states and counts anew: how far that is, and what the states say when counted at once.

use std::collections::{BTreeMap, HashSet};

use diesel::dsl::count_star;
use diesel::prelude::*;
use jiff::Timestamp;

use super::{Counter, ENROLLED, Placed, TallyKey, campaign_number, count, read, variant};
use crate::db::{DbError, DbResult, LedgerConn};
use crate::ids::{CampaignNumber, Pseudonym, RecordingMode};
use crate::ledger::schema::{rebuild, subject, tally};
use crate::ledger::subject::{Part, State};

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When it began.
    pub began_at: Timestamp,
    /// Recipients up to and with this one are done; none before the first.
    pub after: Option<Pseudonym>,
    /// How many were looked at.
    pub recipients: u64,
    /// Of how many the state was not what the events say.
    pub mended: u64,
}

fn scope_number(scope: Option<CampaignNumber>) -> i64 {
    scope.map_or(0, |campaign| i64::from(campaign.0))
}

fn text_of(pseudonym: Option<Pseudonym>) -> String {
    pseudonym.map(|pseudonym| pseudonym.to_string()).unwrap_or_default()
}

fn part_of(word: &str) -> DbResult<Part> {
    Part::from_word(word).ok_or_else(|| DbError::unreadable("test or rest", word))
}

/// The rebuild of a campaign, or of all, that is under way.
///
/// # Errors
/// When the ledger cannot be read.
pub fn rebuild(conn: &mut LedgerConn, scope: Option<CampaignNumber>) -> DbResult<Option<Progress>> {
    let row: Option<(i64, String, i64, i64)> = rebuild::table
        .find(scope_number(scope))
        .select((rebuild::began_at, rebuild::after, rebuild::recipients, rebuild::mended))
        .first(conn.sql())
        .optional()?;
    row.map(|(began_at, after, recipients, mended)| {
        Ok(Progress {
            began_at: Timestamp::from_millisecond(began_at).map_err(|_| DbError::unreadable("a moment", began_at))?,
            after: if after.is_empty() { None } else { Some(read("a pseudonym", &after)?) },
            recipients: recipients.unsigned_abs(),
            mended: mended.unsigned_abs(),
        })
    })
    .transpose()
}

/// Writes down how far a rebuild is. Call inside a transaction.
///
/// # Errors
/// When the ledger cannot be written.
pub fn save_rebuild(conn: &mut LedgerConn, scope: Option<CampaignNumber>, progress: &Progress) -> DbResult<()> {
    // Adding nothing makes another rebuild wait, so that not both of them find no row.
    count(conn, Counter::Recounts, 0)?;
    let number = |many: u64| i64::try_from(many).unwrap_or(i64::MAX);
    let values = (
        rebuild::began_at.eq(progress.began_at.as_millisecond()),
        rebuild::after.eq(text_of(progress.after)),
        rebuild::recipients.eq(number(progress.recipients)),
        rebuild::mended.eq(number(progress.mended)),
    );
    let known = rebuild::table.find(scope_number(scope));
    if diesel::update(known).set(values.clone()).execute(conn.sql())? == 0 {
        diesel::insert_into(rebuild::table).values((rebuild::scope.eq(scope_number(scope)), values)).execute(conn.sql())?;
    }
    Ok(())
}

/// Forgets a rebuild that is done, or that is to begin again.
///
/// # Errors
/// When the ledger cannot be written.
pub fn end_rebuild(conn: &mut LedgerConn, scope: Option<CampaignNumber>) -> DbResult<()> {
    diesel::delete(rebuild::table.find(scope_number(scope))).execute(conn.sql())?;
    Ok(())
}

/// How many recipients a campaign, or all of them, have.
///
/// # Errors
/// When the ledger cannot be read.
pub fn recipients(conn: &mut LedgerConn, scope: Option<CampaignNumber>) -> DbResult<u64> {
    let many: i64 = match scope {
        Some(campaign) => subject::table.filter(subject::campaign.eq(i64::from(campaign.0))).count().get_result(conn.sql())?,
        None => subject::table.count().get_result(conn.sql())?,
    };
    Ok(many.unsigned_abs())
}

/// Up to `limit` recipients of every campaign in the order of pseudonyms, after one. Of all campaigns, because pseudonyms are the order
/// the table is kept in: asked for one campaign, an engine may sort that whole campaign for every page.
///
/// # Errors
/// When the ledger cannot be read.
pub fn recipients_after(conn: &mut LedgerConn, after: Option<Pseudonym>, limit: i64) -> DbResult<Vec<(Pseudonym, CampaignNumber)>> {
    let rows: Vec<(String, i64)> = subject::table
        .filter(subject::pseudonym.gt(text_of(after)))
        .order(subject::pseudonym)
        .limit(limit)
        .select((subject::pseudonym, subject::campaign))
        .load(conn.sql())?;
    rows.into_iter().map(|(text, campaign)| Ok((read("a pseudonym", &text)?, campaign_number(campaign)?))).collect()
}

/// Which of these recipients' hits are to be judged at some time.
///
/// # Errors
/// When the ledger cannot be read.
pub fn awaited(conn: &mut LedgerConn, pseudonyms: &[Pseudonym]) -> DbResult<HashSet<Pseudonym>> {
    let mut found = HashSet::new();
    for some in pseudonyms.chunks(1000) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let of_these = subject::table.filter(subject::pseudonym.eq_any(texts)).filter(subject::judge_at.is_not_null());
        for text in of_these.select(subject::pseudonym).load::<String>(conn.sql())? {
            found.insert(read("a pseudonym", &text)?);
        }
    }
    Ok(found)
}

/// How many recipients of a campaign have a state that is not the first one.
///
/// # Errors
/// When the ledger cannot be read.
pub fn with_state(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<u64> {
    let flags = subject::delivery_flags.ne(0).or(subject::open_flags.ne(0)).or(subject::click_flags.ne(0));
    let any = flags.or(subject::first_open_at.is_not_null()).or(subject::first_click_at.is_not_null());
    let many: i64 = subject::table.filter(subject::campaign.eq(i64::from(campaign.0))).filter(any).count().get_result(conn.sql())?;
    Ok(many.unsigned_abs())
}

type StateRow = (String, i32, String, i32, i32, i32, i64);

/// A campaign's recipients by place and state, and how many are alike. First moments are left out: no count depends on them.
///
/// # Errors
/// When the ledger cannot be read.
pub fn states_by_arm(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Vec<(Placed, i64)>> {
    let flags = (subject::delivery_flags, subject::open_flags, subject::click_flags);
    let rows: Vec<StateRow> = subject::table
        .filter(subject::campaign.eq(i64::from(campaign.0)))
        .group_by((subject::part, subject::variant, subject::recording, flags.0, flags.1, flags.2))
        .select((subject::part, subject::variant, subject::recording, flags.0, flags.1, flags.2, count_star()))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(part, number, recording, delivery, opens, clicks, many)| {
            let placed = Placed {
                campaign,
                part: part_of(&part)?,
                variant: variant(number)?,
                measured: read::<RecordingMode>("a recording mode", &recording)? >= RecordingMode::Pseudonymous,
                at_risk: false,
                state: State { delivery, opens, clicks, ..State::default() },
            };
            Ok((placed, many))
        })
        .collect()
}

/// The tally of recipients enrolled, of the arm this one is in.
pub fn enrolled_key(placed: &Placed) -> TallyKey {
    (placed.campaign, placed.part, placed.variant, ENROLLED.to_owned())
}

/// Every tally of a campaign, that of recipients enrolled included.
///
/// # Errors
/// When the ledger cannot be read.
pub fn all_tallies(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<BTreeMap<TallyKey, i64>> {
    let rows: Vec<(String, i32, String, i64)> = tally::table
        .filter(tally::campaign.eq(i64::from(campaign.0)))
        .select((tally::part, tally::variant, tally::name, tally::value))
        .load(conn.sql())?;
    rows.into_iter().map(|(part, number, name, value)| Ok(((campaign, part_of(&part)?, variant(number)?, name), value))).collect()
}
