//! The only SQL of campaigns and their frozen links.
//!
//! Steps of a campaign's life are conditional updates: of two that try the same step, one does it and the other is told.

mod images;

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::Timestamp;

use crate::campaign::definition::Definition;
use crate::campaign::proof::Proof;
use crate::campaign::schema::{campaign, link, pause as pause_table};
use crate::campaign::state::State;
use crate::db::{AnyConnection, DbError, DbResult, LedgerConn};
use crate::experiment::assign::Seed;
use crate::ids::{CampaignNumber, LinkNumber, VariantNumber};
use crate::token::TRAP_LINK;

pub use images::{Image, ImageInfo, image, images, save_image};

/// A campaign as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// Its number.
    pub number: CampaignNumber,
    /// Where it stands.
    pub state: State,
    /// What it says; frozen once sealed.
    pub definition: Definition,
    /// When it was written.
    pub created_at: Timestamp,
    /// What froze it.
    pub sealed: Option<Sealed>,
    /// When everybody had been assigned.
    pub enrolled_at: Option<Timestamp>,
    /// When the first letter might leave.
    pub sending_at: Option<Timestamp>,
    /// When the last letter of the test was out.
    pub observing_at: Option<Timestamp>,
    /// When the rest's variant was chosen.
    pub decided_at: Option<Timestamp>,
    /// When the facts of the sealed time were written down, on which the result rests from then on.
    pub looked_at: Option<Timestamp>,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// When sending was ended for good.
    pub cancelled_at: Option<Timestamp>,
    /// Why nothing is sent for the moment.
    pub paused: Option<String>,
    /// What the rest get, and who or what chose it.
    pub chosen: Option<(VariantNumber, String)>,
    /// When it was chosen.
    pub chosen_at: Option<Timestamp>,
    /// What the choice went against, in words, as it stood when it was made.
    pub chosen_against: Option<String>,
    /// What was last judged without a verdict.
    pub judged: Option<String>,
    /// What shows that the letters differ in one element, kept when it was sealed.
    pub proof: Option<Proof>,
}

/// What froze a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 over definition and seed.
    pub hash: String,
    /// Decides the assignment.
    pub seed: Seed,
    /// When.
    pub at: Timestamp,
}

/// A link as frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Of which variant.
    pub variant: VariantNumber,
    /// Which link.
    pub number: LinkNumber,
    /// Where it leads.
    pub url: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = campaign)]
struct Row {
    number: i64,
    state: String,
    definition: String,
    created_at: i64,
    seal: Option<String>,
    seed: Option<String>,
    sealed_at: Option<i64>,
    enrolled_at: Option<i64>,
    sending_at: Option<i64>,
    observing_at: Option<i64>,
    decided_at: Option<i64>,
    looked_at: Option<i64>,
    closed_at: Option<i64>,
    cancelled_at: Option<i64>,
    paused: bool,
    pause_reason: Option<String>,
    chosen_variant: Option<i32>,
    chosen_by: Option<String>,
    chosen_at: Option<i64>,
    chosen_against: Option<String>,
    judged: Option<String>,
    proof: Option<String>,
}

fn number_of(number: i64) -> DbResult<CampaignNumber> {
    u32::try_from(number).map(CampaignNumber).map_err(|_| DbError::unreadable("a campaign number", number))
}

fn variant_of(number: i32) -> DbResult<VariantNumber> {
    u8::try_from(number).map(VariantNumber).map_err(|_| DbError::unreadable("a variant", number))
}

impl Row {
    fn read(self) -> DbResult<Campaign> {
        let moment =
            |milliseconds: i64| Timestamp::from_millisecond(milliseconds).map_err(|_| DbError::unreadable("a moment", milliseconds));
        let maybe = |milliseconds: Option<i64>| milliseconds.map(moment).transpose();
        let sealed = match (self.seal, self.seed, self.sealed_at) {
            (Some(hash), Some(seed), Some(at)) => Some(Sealed {
                hash,
                seed: data_encoding::HEXLOWER
                    .decode(seed.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or_else(|| DbError::unreadable("a seed", seed))?,
                at: moment(at)?,
            }),
            _ => None,
        };
        Ok(Campaign {
            number: number_of(self.number)?,
            state: State::from_word(&self.state).ok_or_else(|| DbError::unreadable("a campaign state", &self.state))?,
            definition: serde_json::from_str(&self.definition).map_err(|error| DbError::unreadable("a campaign definition", error))?,
            created_at: moment(self.created_at)?,
            sealed,
            enrolled_at: maybe(self.enrolled_at)?,
            sending_at: maybe(self.sending_at)?,
            observing_at: maybe(self.observing_at)?,
            decided_at: maybe(self.decided_at)?,
            looked_at: maybe(self.looked_at)?,
            closed_at: maybe(self.closed_at)?,
            cancelled_at: maybe(self.cancelled_at)?,
            paused: self.paused.then(|| self.pause_reason.unwrap_or_default()),
            chosen: match (self.chosen_variant, self.chosen_by) {
                (Some(variant), Some(by)) => Some((variant_of(variant)?, by)),
                _ => None,
            },
            chosen_at: maybe(self.chosen_at)?,
            chosen_against: self.chosen_against,
            judged: self.judged,
            proof: self
                .proof
                .map(|proof| serde_json::from_str(&proof))
                .transpose()
                .map_err(|error| DbError::unreadable("a proof", error))?,
        })
    }
}

fn json(definition: &Definition) -> DbResult<String> {
    serde_json::to_string(definition).map_err(|error| DbError::unreadable("a campaign definition", error))
}

/// Stores a new draft under the next number; [`DbError::is_duplicate`] when the name is taken. Call inside a transaction.
pub fn create(conn: &mut LedgerConn, definition: &Definition, now: Timestamp) -> DbResult<CampaignNumber> {
    let highest: Option<i64> = campaign::table.select(diesel::dsl::max(campaign::number)).first(conn.sql())?;
    let number = highest.unwrap_or_default() + 1;
    diesel::insert_into(campaign::table)
        .values((
            campaign::number.eq(number),
            campaign::name.eq(&definition.name),
            campaign::state.eq(State::Draft.as_str()),
            campaign::definition.eq(json(definition)?),
            campaign::created_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    number_of(number)
}

/// Replaces a draft; answers whether it still was one.
pub fn replace_draft(conn: &mut LedgerConn, number: CampaignNumber, definition: &Definition) -> DbResult<bool> {
    let draft = campaign::table.find(i64::from(number.0)).filter(campaign::state.eq(State::Draft.as_str()));
    let set = (campaign::name.eq(&definition.name), campaign::definition.eq(json(definition)?));
    Ok(diesel::update(draft).set(set).execute(conn.sql())? > 0)
}

/// Throws a draft away; answers whether it still was one.
pub fn delete_draft(conn: &mut LedgerConn, number: CampaignNumber) -> DbResult<bool> {
    let draft = campaign::table.find(i64::from(number.0)).filter(campaign::state.eq(State::Draft.as_str()));
    Ok(diesel::delete(draft).execute(conn.sql())? > 0)
}

/// A campaign by its number.
pub fn by_number(conn: &mut LedgerConn, number: CampaignNumber) -> DbResult<Option<Campaign>> {
    let row = campaign::table.find(i64::from(number.0)).select(Row::as_select()).first(conn.sql()).optional()?;
    row.map(Row::read).transpose()
}

/// A campaign by its name.
pub fn by_name(conn: &mut LedgerConn, name: &str) -> DbResult<Option<Campaign>> {
    let row = campaign::table.filter(campaign::name.eq(name)).select(Row::as_select()).first(conn.sql()).optional()?;
    row.map(Row::read).transpose()
}

/// Every campaign, the newest first.
pub fn all(conn: &mut LedgerConn) -> DbResult<Vec<Campaign>> {
    let rows: Vec<Row> = campaign::table.order(campaign::number.desc()).select(Row::as_select()).load(conn.sql())?;
    rows.into_iter().map(Row::read).collect()
}

/// Campaigns in one of these states, the oldest first.
pub fn in_states(conn: &mut LedgerConn, states: &[State]) -> DbResult<Vec<Campaign>> {
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let rows: Vec<Row> =
        campaign::table.filter(campaign::state.eq_any(words)).order(campaign::number).select(Row::as_select()).load(conn.sql())?;
    rows.into_iter().map(Row::read).collect()
}

/// Number and state of every campaign: all that must be looked at often.
pub fn states(conn: &mut LedgerConn) -> DbResult<Vec<(CampaignNumber, State)>> {
    let rows: Vec<(i64, String)> = campaign::table.order(campaign::number).select((campaign::number, campaign::state)).load(conn.sql())?;
    rows.into_iter()
        .map(|(number, state)| {
            Ok((number_of(number)?, State::from_word(&state).ok_or_else(|| DbError::unreadable("a campaign state", &state))?))
        })
        .collect()
}

/// Campaigns that closed at or after a moment.
pub fn closed_since(conn: &mut LedgerConn, since: Timestamp) -> DbResult<Vec<CampaignNumber>> {
    let numbers: Vec<i64> = campaign::table
        .filter(campaign::state.eq(State::Closed.as_str()))
        .filter(campaign::closed_at.ge(since.as_millisecond()))
        .select(campaign::number)
        .load(conn.sql())?;
    numbers.into_iter().map(number_of).collect()
}

/// Freezes a draft with its links; answers whether this call did it. Nobody can change the draft from here to the end of the transaction.
/// Call inside one.
pub fn seal(conn: &mut LedgerConn, number: CampaignNumber, sealed: &Sealed, links: &[Link]) -> DbResult<bool> {
    let draft = campaign::table.find(i64::from(number.0)).filter(campaign::state.eq(State::Draft.as_str()));
    let changed = diesel::update(draft)
        .set((
            campaign::state.eq(State::Sealed.as_str()),
            campaign::seal.eq(&sealed.hash),
            campaign::seed.eq(data_encoding::HEXLOWER.encode(&sealed.seed)),
            campaign::sealed_at.eq(sealed.at.as_millisecond()),
        ))
        .execute(conn.sql())?;
    if changed == 0 {
        return Ok(false);
    }
    for frozen in links {
        diesel::insert_into(link::table)
            .values((
                link::campaign.eq(i64::from(number.0)),
                link::variant.eq(i32::from(frozen.variant.0)),
                link::number.eq(i32::from(frozen.number.0)),
                link::url.eq(&frozen.url),
            ))
            .execute(conn.sql())?;
    }
    Ok(true)
}

/// Keeps the proof of a campaign just sealed. Call in the transaction that seals it.
pub fn keep_proof(conn: &mut LedgerConn, number: CampaignNumber, proof: &Proof) -> DbResult<()> {
    let json = serde_json::to_string(proof).map_err(|error| DbError::unreadable("a proof", error))?;
    diesel::update(campaign::table.find(i64::from(number.0))).set(campaign::proof.eq(json)).execute(conn.sql())?;
    Ok(())
}

/// Takes one step of a campaign's life; answers whether this call took it. A step that may not follow is never taken.
pub fn advance(conn: &mut LedgerConn, number: CampaignNumber, from: State, to: State, now: Timestamp) -> DbResult<bool> {
    if !from.may_become(to) {
        return Ok(false);
    }
    let there = campaign::table.find(i64::from(number.0)).filter(campaign::state.eq(from.as_str()));
    let at = Some(now.as_millisecond());
    let state = campaign::state.eq(to.as_str());
    let sql = conn.sql();
    let changed = match to {
        State::Sending => diesel::update(there).set((state, campaign::sending_at.eq(at))).execute(sql)?,
        State::Observing => diesel::update(there).set((state, campaign::observing_at.eq(at))).execute(sql)?,
        State::Decided => diesel::update(there).set((state, campaign::decided_at.eq(at))).execute(sql)?,
        State::Closed => diesel::update(there).set((state, campaign::closed_at.eq(at))).execute(sql)?,
        State::Draft | State::Sealed => 0,
    };
    Ok(changed > 0)
}

/// What the rest get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The variant.
    pub variant: VariantNumber,
    /// Who or what chose it, in words for the result page.
    pub by: &'a str,
    /// What it goes against, in words; none when it follows the plan.
    pub against: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

/// Records what the rest get; answers whether the campaign was observing and nothing was chosen before.
pub fn choose(conn: &mut LedgerConn, number: CampaignNumber, choice: Choice<'_>) -> DbResult<bool> {
    let open = campaign::table
        .find(i64::from(number.0))
        .filter(campaign::state.eq(State::Observing.as_str()))
        .filter(campaign::chosen_variant.is_null());
    let set = (
        campaign::chosen_variant.eq(i32::from(choice.variant.0)),
        campaign::chosen_by.eq(choice.by),
        campaign::chosen_at.eq(choice.at.as_millisecond()),
        campaign::chosen_against.eq(choice.against),
    );
    Ok(diesel::update(open).set(set).execute(conn.sql())? > 0)
}

/// Remembers what was judged without a verdict.
pub fn mark_judged(conn: &mut LedgerConn, number: CampaignNumber, judged: &str) -> DbResult<()> {
    diesel::update(campaign::table.find(i64::from(number.0))).set(campaign::judged.eq(judged)).execute(conn.sql())?;
    Ok(())
}

/// Records that everybody has been assigned.
pub fn mark_enrolled(conn: &mut LedgerConn, number: CampaignNumber, now: Timestamp) -> DbResult<()> {
    diesel::update(campaign::table.find(i64::from(number.0)).filter(campaign::enrolled_at.is_null()))
        .set(campaign::enrolled_at.eq(now.as_millisecond()))
        .execute(conn.sql())?;
    Ok(())
}

/// A time in which nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// From when.
    pub at: Timestamp,
    /// Until when; none while it lasts.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// Stops sending for the moment, or goes on, and keeps when. Pausing a paused campaign changes its reason only. Answers
/// whether it was otherwise before. Call inside a transaction.
pub fn pause(conn: &mut LedgerConn, number: CampaignNumber, reason: Option<&str>, now: Timestamp) -> DbResult<bool> {
    let changed = diesel::update(campaign::table.find(i64::from(number.0)).filter(campaign::paused.ne(reason.is_some())))
        .set((campaign::paused.eq(reason.is_some()), campaign::pause_reason.eq(reason)))
        .execute(conn.sql())?;
    match reason {
        Some(reason) if changed == 0 => {
            diesel::update(campaign::table.find(i64::from(number.0))).set(campaign::pause_reason.eq(reason)).execute(conn.sql())?;
        }
        Some(reason) => begin_pause(conn, number, reason, now)?,
        None => {
            let open = pause_table::table.filter(pause_table::campaign.eq(i64::from(number.0))).filter(pause_table::until.is_null());
            diesel::update(open).set(pause_table::until.eq(now.as_millisecond())).execute(conn.sql())?;
        }
    }
    Ok(changed > 0)
}

fn begin_pause(conn: &mut LedgerConn, number: CampaignNumber, reason: &str, now: Timestamp) -> DbResult<()> {
    let values = (
        pause_table::campaign.eq(i64::from(number.0)),
        pause_table::at.eq(now.as_millisecond()),
        pause_table::until.eq(None::<i64>),
        pause_table::reason.eq(reason),
    );
    // Paused twice within one millisecond is one pause, which lasts again.
    let key = (pause_table::campaign, pause_table::at);
    let insert = diesel::insert_into(pause_table::table).values(values);
    let again = pause_table::until.eq(None::<i64>);
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => insert.on_conflict(key).do_update().set(again).execute(sqlite)?,
        AnyConnection::Postgres(postgres) => insert.on_conflict(key).do_update().set(again).execute(postgres)?,
    };
    Ok(())
}

/// Ends a campaign's sending for good; the first moment stays.
pub fn mark_cancelled(conn: &mut LedgerConn, number: CampaignNumber, now: Timestamp) -> DbResult<()> {
    let first = campaign::table.find(i64::from(number.0)).filter(campaign::cancelled_at.is_null());
    diesel::update(first).set(campaign::cancelled_at.eq(now.as_millisecond())).execute(conn.sql())?;
    Ok(())
}

/// Every pause of a campaign, the oldest first.
pub fn pauses(conn: &mut LedgerConn, number: CampaignNumber) -> DbResult<Vec<Pause>> {
    let rows: Vec<(i64, Option<i64>, String)> = pause_table::table
        .filter(pause_table::campaign.eq(i64::from(number.0)))
        .order(pause_table::at)
        .select((pause_table::at, pause_table::until, pause_table::reason))
        .load(conn.sql())?;
    let moment = |milliseconds: i64| Timestamp::from_millisecond(milliseconds).map_err(|_| DbError::unreadable("a moment", milliseconds));
    rows.into_iter().map(|(at, until, reason)| Ok(Pause { at: moment(at)?, until: until.map(moment).transpose()?, reason })).collect()
}

/// Campaigns whose test is out and whose sealed time's facts are not written down yet, closed ones included.
pub fn not_looked_at(conn: &mut LedgerConn) -> DbResult<Vec<Campaign>> {
    let rows: Vec<Row> = campaign::table
        .filter(campaign::observing_at.is_not_null())
        .filter(campaign::looked_at.is_null())
        .order(campaign::number)
        .select(Row::as_select())
        .load(conn.sql())?;
    rows.into_iter().map(Row::read).collect()
}

/// Notes that the sealed time's facts are written down; answers whether they were not before.
pub fn mark_looked_at(conn: &mut LedgerConn, number: CampaignNumber, now: Timestamp) -> DbResult<bool> {
    let open = campaign::table.find(i64::from(number.0)).filter(campaign::looked_at.is_null());
    Ok(diesel::update(open).set(campaign::looked_at.eq(now.as_millisecond())).execute(conn.sql())? > 0)
}

/// Every frozen link of a campaign.
pub fn links(conn: &mut LedgerConn, number: CampaignNumber) -> DbResult<Vec<Link>> {
    let rows: Vec<(i32, i32, String)> = link::table
        .filter(link::campaign.eq(i64::from(number.0)))
        .order((link::variant, link::number))
        .select((link::variant, link::number, link::url))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(variant, number, url)| {
            let number = u16::try_from(number).map_err(|_| DbError::unreadable("a link number", number))?;
            Ok(Link { variant: variant_of(variant)?, number: LinkNumber(number), url })
        })
        .collect()
}

/// How many different links each variant's letter has, the trap link left out.
pub fn link_counts(conn: &mut LedgerConn, number: CampaignNumber) -> DbResult<BTreeMap<VariantNumber, u64>> {
    let rows: Vec<(i32, i64)> = link::table
        .filter(link::campaign.eq(i64::from(number.0)))
        .filter(link::number.ne(i32::from(TRAP_LINK.0)))
        .group_by(link::variant)
        .select((link::variant, diesel::dsl::count_star()))
        .load(conn.sql())?;
    rows.into_iter().map(|(variant, count)| Ok((variant_of(variant)?, count.unsigned_abs()))).collect()
}

/// Whether the ledger answers, for readiness checks.
pub fn ping(conn: &mut LedgerConn) -> DbResult<()> {
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => diesel::sql_query("SELECT 1").execute(sqlite)?,
        AnyConnection::Postgres(postgres) => diesel::sql_query("SELECT 1").execute(postgres)?,
    };
    Ok(())
}
