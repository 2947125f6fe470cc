//! People of a list with all that is kept of them, a page at a time.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::people::suppressions;
use super::{moment, read};
use crate::db::{DbError, DbResult, VaultConn};
use crate::ids::SubscriberId;
use crate::vault::address::EmailAddress;
use crate::vault::people::{Consent, Suppression};
use crate::vault::schema::{list, membership, subscriber};

/// A person as an export writes them.
#[derive(Debug)]
pub struct ExportedPerson {
    /// Who.
    pub id: SubscriberId,
    /// Where to.
    pub address: EmailAddress,
    /// Merge fields.
    pub attributes: BTreeMap<String, String>,
    /// What they agreed to last.
    pub consent: Consent,
    /// Why they may not be mailed, if so: of several reasons the one that says most.
    pub suppressed: Option<Suppression>,
}

type Columns = (String, String, String, String, String, i64);

/// Up to `limit` people of a list, suppressed ones included, in order of their ids, after `after`.
pub fn exported_people(conn: &mut VaultConn, name: &str, after: Option<SubscriberId>, limit: i64) -> DbResult<Vec<ExportedPerson>> {
    let rows: Vec<Columns> = membership::table
        .inner_join(list::table.on(list::id.eq(membership::list_id)))
        .inner_join(subscriber::table.on(subscriber::id.eq(membership::subscriber_id)))
        .filter(list::name.eq(name))
        .filter(membership::subscriber_id.gt(after.map(|id| id.to_string()).unwrap_or_default()))
        .order(membership::subscriber_id)
        .limit(limit)
        .select((
            subscriber::id,
            subscriber::address,
            subscriber::attributes,
            subscriber::recording,
            subscriber::consent_source,
            subscriber::consent_at,
        ))
        .load(conn.sql())?;
    let ids: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    let suppressed = suppressions(conn, &ids)?;
    rows.into_iter()
        .map(|(id, address, attributes, mode, source, at)| {
            Ok(ExportedPerson {
                id: read("a subscriber id", &id)?,
                address: EmailAddress::parse(&address).map_err(|_| DbError::unreadable("an e-mail address", "other text"))?,
                attributes: serde_json::from_str(&attributes).map_err(|_| DbError::unreadable("a JSON object of texts", "other text"))?,
                consent: Consent { mode: read("a recording mode", &mode)?, source, at: moment(at)? },
                suppressed: suppressed.get(&id).copied(),
            })
        })
        .collect()
}
