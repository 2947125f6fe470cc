//! Whose mailboxes the domains of people are, as their MX told.

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use jiff::Timestamp;

use crate::db::{AnyConnection, DbResult, VaultConn};
use crate::vault::address::OTHER;
use crate::vault::schema::mail_domain;

/// Domains to be asked about; those already there stay as they are. In order, so that two imports at once wait for each other and never
/// in a circle.
pub(super) fn note_domains(conn: &mut VaultConn, domains: &BTreeSet<&str>) -> DbResult<()> {
    for domain in domains {
        let row = (mail_domain::domain.eq(domain), mail_domain::provider.eq(OTHER), mail_domain::ask_at.eq(0));
        let insert = diesel::insert_into(mail_domain::table).values(row).on_conflict_do_nothing();
        match conn.sql() {
            AnyConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
            AnyConnection::Postgres(postgres) => insert.execute(postgres)?,
        };
    }
    Ok(())
}

/// Those of some domains that belong to a large provider.
pub(super) fn large_providers(conn: &mut VaultConn, domains: &BTreeSet<&str>) -> DbResult<HashMap<String, String>> {
    if domains.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, String)> = mail_domain::table
        .filter(mail_domain::domain.eq_any(domains.iter().copied()))
        .filter(mail_domain::provider.ne(OTHER))
        .select((mail_domain::domain, mail_domain::provider))
        .load(conn.sql())?;
    Ok(rows.into_iter().collect())
}

/// Up to `limit` domains the DNS is to be asked about now; without an answer they come again at `again`. Two processes that look at the very
/// same moment on PostgreSQL may both get them: a question asked twice harms nobody.
pub fn domains_to_ask(conn: &mut VaultConn, now: Timestamp, again: Timestamp, limit: i64) -> DbResult<Vec<String>> {
    let domains: Vec<String> = mail_domain::table
        .filter(mail_domain::ask_at.le(now.as_millisecond()))
        .order(mail_domain::ask_at)
        .limit(limit)
        .select(mail_domain::domain)
        .load(conn.sql())?;
    put_off(conn, &domains, again)?;
    Ok(domains)
}

/// Keeps what the DNS said: domains with their providers, to be asked about again at `again`.
pub fn learn_domains(conn: &mut VaultConn, answers: &[(String, &'static str)], again: Timestamp) -> DbResult<()> {
    let mut sorted: Vec<&(String, &str)> = answers.iter().collect();
    sorted.sort_unstable();
    for (domain, provider) in sorted {
        diesel::update(mail_domain::table.find(domain))
            .set((mail_domain::provider.eq(provider), mail_domain::ask_at.eq(again.as_millisecond())))
            .execute(conn.sql())?;
    }
    Ok(())
}

fn put_off(conn: &mut VaultConn, domains: &[String], until: Timestamp) -> DbResult<()> {
    let mut sorted: Vec<&String> = domains.iter().collect();
    sorted.sort_unstable();
    for domain in sorted {
        diesel::update(mail_domain::table.find(domain)).set(mail_domain::ask_at.eq(until.as_millisecond())).execute(conn.sql())?;
    }
    Ok(())
}
