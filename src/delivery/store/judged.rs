//! What the breakers of all processes saw, minute by minute.

use diesel::prelude::*;

use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::delivery::breaker::{Minute, Minutes};
use crate::delivery::schema::judged;
use crate::ids::CampaignNumber;

/// Adds what one process saw of a campaign.
pub fn add_judged(conn: &mut VaultConn, campaign: CampaignNumber, seen: &Minutes) -> DbResult<()> {
    for (minute, more) in seen {
        let in_a_row = i64::from(more.in_a_row);
        let row = (
            judged::campaign.eq(i64::from(campaign.0)),
            judged::minute.eq(minute),
            judged::accepted.eq(i64::from(more.accepted)),
            judged::refused.eq(i64::from(more.refused)),
            judged::in_a_row.eq(in_a_row),
        );
        let insert = diesel::insert_into(judged::table).values(row);
        let key = (judged::campaign, judged::minute);
        // Whatever was refused before the last letter accepted is in no row with what came after.
        let before = if more.accepted > 0 { 0 } else { 1 };
        let sum = (
            judged::accepted.eq(judged::accepted + i64::from(more.accepted)),
            judged::refused.eq(judged::refused + i64::from(more.refused)),
            judged::in_a_row.eq(judged::in_a_row * before + in_a_row),
        );
        match conn.sql() {
            AnyConnection::Sqlite(sqlite) => insert.on_conflict(key).do_update().set(sum).execute(sqlite)?,
            AnyConnection::Postgres(postgres) => insert.on_conflict(key).do_update().set(sum).execute(postgres)?,
        };
    }
    Ok(())
}

/// What all processes saw of a campaign, in the last `minutes` minutes in which anything was judged.
pub fn judged(conn: &mut VaultConn, campaign: CampaignNumber, minutes: usize) -> DbResult<Minutes> {
    let rows: Vec<(i64, i64, i64, i64)> = judged::table
        .filter(judged::campaign.eq(i64::from(campaign.0)))
        .order(judged::minute.desc())
        .limit(i64::try_from(minutes).unwrap_or(i64::MAX))
        .select((judged::minute, judged::accepted, judged::refused, judged::in_a_row))
        .load(conn.sql())?;
    let count = |stored: i64| u32::try_from(stored).unwrap_or_default();
    let minute = |(minute, accepted, refused, in_a_row)| {
        (minute, Minute { accepted: count(accepted), refused: count(refused), in_a_row: count(in_a_row) })
    };
    Ok(rows.into_iter().map(minute).collect())
}

/// A campaign goes on after a pause: what was before it counts no more.
pub fn forget_judged(conn: &mut VaultConn, campaign: CampaignNumber) -> DbResult<()> {
    diesel::delete(judged::table.filter(judged::campaign.eq(i64::from(campaign.0)))).execute(conn.sql())?;
    Ok(())
}

/// Forgets the minutes before this one, of all campaigns.
pub fn forget_judged_before(conn: &mut VaultConn, minute: i64) -> DbResult<()> {
    diesel::delete(judged::table.filter(judged::minute.lt(minute))).execute(conn.sql())?;
    Ok(())
}
