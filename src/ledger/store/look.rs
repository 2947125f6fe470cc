//! The only SQL of looks: what was known of a campaign's test at its sealed time.
//!
//! A look is written once and never changed.

use diesel::prelude::*;
use jiff::Timestamp;

use crate::db::{DbError, DbResult, LedgerConn};
use crate::ids::CampaignNumber;
use crate::ledger::look::Look;
use crate::ledger::schema::look;

/// Writes a look down. Call inside the transaction that made sure that there is none yet.
///
/// # Errors
/// When the ledger cannot be written, or holds a look already.
pub fn save_look(conn: &mut LedgerConn, campaign: CampaignNumber, until: Timestamp, taken: &Look) -> DbResult<()> {
    let counts = serde_json::to_string(taken).map_err(|error| DbError::unreadable("a look", error))?;
    diesel::insert_into(look::table)
        .values((look::campaign.eq(i64::from(campaign.0)), look::until.eq(until.as_millisecond()), look::counts.eq(counts)))
        .execute(conn.sql())?;
    Ok(())
}

/// A campaign's look and until when its facts count; none while there is none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn look(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Option<(Timestamp, Look)>> {
    let row: Option<(i64, String)> =
        look::table.find(i64::from(campaign.0)).select((look::until, look::counts)).first(conn.sql()).optional()?;
    row.map(|(until, counts)| {
        let until = Timestamp::from_millisecond(until).map_err(|_| DbError::unreadable("a moment", until))?;
        Ok((until, serde_json::from_str(&counts).map_err(|error| DbError::unreadable("a look", error))?))
    })
    .transpose()
}
