//! The only SQL of looks: what was known of a campaign's test at its sealed time.
//!
//! A look is written once and never changed.

use diesel::prelude::*;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::db::{DbError, DbResult, LedgerConn};
use crate::ids::CampaignNumber;
use crate::ledger::look::{ArmTallies, Firsts, Look, Silent};
use crate::ledger::schema::look;

fn json(value: &impl serde::Serialize) -> DbResult<String> {
    serde_json::to_string(value).map_err(|error| DbError::unreadable("a look", error))
}

fn read<T: DeserializeOwned>(text: &str) -> DbResult<T> {
    serde_json::from_str(text).map_err(|error| DbError::unreadable("a look", error))
}

/// Writes a look down. Call inside the transaction that made sure that there is none yet.
///
/// # Errors
/// When the ledger cannot be written, or holds a look already.
pub fn save_look(conn: &mut LedgerConn, campaign: CampaignNumber, until: Timestamp, taken: &Look) -> DbResult<()> {
    diesel::insert_into(look::table)
        .values((
            look::campaign.eq(i64::from(campaign.0)),
            look::until.eq(until.as_millisecond()),
            look::counts.eq(json(&taken.tallies)?),
            look::firsts.eq(json(&taken.firsts)?),
            look::silent.eq(json(&taken.silent)?),
        ))
        .execute(conn.sql())?;
    Ok(())
}

/// A look without its first successes, which are many.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    /// Until when its facts count.
    pub until: Timestamp,
    /// Tallies by arm and name.
    pub tallies: ArmTallies,
    /// Tracking nodes whose hits may be missing.
    pub silent: Vec<Silent>,
    /// What the anytime-valid test says of its first successes, as it was handed over; none where nobody has replayed them.
    pub replay: Option<String>,
}

/// A campaign's look; none while there is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn frozen(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Option<Frozen>> {
    let row: Option<(i64, String, String, Option<String>)> = look::table
        .find(i64::from(campaign.0))
        .select((look::until, look::counts, look::silent, look::replay))
        .first(conn.sql())
        .optional()?;
    row.map(|(until, counts, silent, replay)| {
        let until = Timestamp::from_millisecond(until).map_err(|_| DbError::unreadable("a moment", until))?;
        Ok(Frozen { until, tallies: read(&counts)?, silent: read(&silent)?, replay })
    })
    .transpose()
}

/// The first successes of a look; empty while there is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn frozen_firsts(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Firsts> {
    let text: Option<String> = look::table.find(i64::from(campaign.0)).select(look::firsts).first(conn.sql()).optional()?;
    text.map_or_else(|| Ok(Firsts::default()), |text| read(&text))
}

/// Keeps what the anytime-valid test says of a look's first successes; once.
///
/// # Errors
/// When the ledger cannot be written.
pub fn keep_frozen_replay(conn: &mut LedgerConn, campaign: CampaignNumber, replay: &str) -> DbResult<()> {
    diesel::update(look::table.find(i64::from(campaign.0)).filter(look::replay.is_null()))
        .set(look::replay.eq(replay))
        .execute(conn.sql())?;
    Ok(())
}
