//! Accounts, sessions and API keys. Keys arrive here already hashed.

use diesel::prelude::*;
use jiff::Timestamp;

use super::moment;
use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::vault::account::{Account, Role, Session};
use crate::vault::schema::{account, api_key, session};

/// How many accounts there are; none means first run.
pub fn account_count(conn: &mut VaultConn) -> DbResult<i64> {
    Ok(account::table.count().get_result(conn.sql())?)
}

/// Adds an account; [`DbError::is_duplicate`] when the login is taken.
pub fn create_account(conn: &mut VaultConn, new: &Account, password_hash: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(account::table)
        .values((
            account::id.eq(&new.id),
            account::login.eq(&new.login),
            account::password_hash.eq(password_hash),
            account::role.eq(new.role.as_str()),
            account::created_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    Ok(())
}

/// The account with this login, and its password hash.
pub fn account_by_login(conn: &mut VaultConn, login: &str) -> DbResult<Option<(Account, String)>> {
    let row: Option<(String, String, String, String)> = account::table
        .filter(account::login.eq(login))
        .select((account::id, account::login, account::role, account::password_hash))
        .first(conn.sql())
        .optional()?;
    row.map(|(id, login, role, hash)| Ok((read_account((id, login, role))?, hash))).transpose()
}

/// Gives an account another password; its sessions end. Answers whether there was such a login.
pub fn set_password(conn: &mut VaultConn, login: &str, password_hash: &str) -> DbResult<bool> {
    let owner = account::table.filter(account::login.eq(login));
    let changed = diesel::update(owner).set(account::password_hash.eq(password_hash)).execute(conn.sql())?;
    let ids = account::table.filter(account::login.eq(login)).select(account::id);
    diesel::delete(session::table.filter(session::account_id.eq_any(ids))).execute(conn.sql())?;
    Ok(changed > 0)
}

/// Starts a session, and forgets those that ended.
pub fn create_session(
    conn: &mut VaultConn,
    key_hash: &str,
    account_id: &str,
    csrf: &str,
    now: Timestamp,
    expires: Timestamp,
) -> DbResult<()> {
    diesel::delete(session::table.filter(session::expires_at.le(now.as_millisecond()))).execute(conn.sql())?;
    diesel::insert_into(session::table)
        .values((
            session::key_hash.eq(key_hash),
            session::account_id.eq(account_id),
            session::csrf.eq(csrf),
            session::created_at.eq(now.as_millisecond()),
            session::expires_at.eq(expires.as_millisecond()),
        ))
        .execute(conn.sql())?;
    Ok(())
}

/// The session with this key, if it has not ended.
pub fn session_by_key(conn: &mut VaultConn, key_hash: &str, now: Timestamp) -> DbResult<Option<Session>> {
    let row: Option<(String, String, String, String)> = session::table
        .inner_join(account::table.on(account::id.eq(session::account_id)))
        .filter(session::key_hash.eq(key_hash))
        .filter(session::expires_at.gt(now.as_millisecond()))
        .select((account::id, account::login, account::role, session::csrf))
        .first(conn.sql())
        .optional()?;
    row.map(|(id, login, role, csrf)| Ok(Session { account: read_account((id, login, role))?, csrf })).transpose()
}

/// Ends a session.
pub fn end_session(conn: &mut VaultConn, key_hash: &str) -> DbResult<()> {
    diesel::delete(session::table.find(key_hash)).execute(conn.sql())?;
    Ok(())
}

/// Gives an account a key for the HTTP API.
pub fn create_api_key(conn: &mut VaultConn, key_hash: &str, account_id: &str, label: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(api_key::table)
        .values((
            api_key::key_hash.eq(key_hash),
            api_key::account_id.eq(account_id),
            api_key::label.eq(label),
            api_key::created_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    Ok(())
}

/// Whose API key this is.
pub fn api_key_account(conn: &mut VaultConn, key_hash: &str) -> DbResult<Option<Account>> {
    let row: Option<(String, String, String)> = api_key::table
        .inner_join(account::table.on(account::id.eq(api_key::account_id)))
        .filter(api_key::key_hash.eq(key_hash))
        .select((account::id, account::login, account::role))
        .first(conn.sql())
        .optional()?;
    row.map(read_account).transpose()
}

/// Withdraws every API key of a login; answers how many.
pub fn api_keys_clear(conn: &mut VaultConn, login: &str) -> DbResult<usize> {
    let ids = account::table.filter(account::login.eq(login)).select(account::id);
    Ok(diesel::delete(api_key::table.filter(api_key::account_id.eq_any(ids))).execute(conn.sql())?)
}

/// Every account with when it was made, by login.
pub fn accounts(conn: &mut VaultConn) -> DbResult<Vec<(Account, Timestamp)>> {
    let rows: Vec<(String, String, String, i64)> =
        account::table.order(account::login).select((account::id, account::login, account::role, account::created_at)).load(conn.sql())?;
    rows.into_iter().map(|(id, login, role, at)| Ok((read_account((id, login, role))?, moment(at)?))).collect()
}

/// Every API key as (account, label, when it was made), the oldest first; the keys themselves are known to nobody.
pub fn api_keys(conn: &mut VaultConn) -> DbResult<Vec<(String, String, Timestamp)>> {
    let rows: Vec<(String, String, i64)> =
        api_key::table.order(api_key::created_at).select((api_key::account_id, api_key::label, api_key::created_at)).load(conn.sql())?;
    rows.into_iter().map(|(owner, label, at)| Ok((owner, label, moment(at)?))).collect()
}

/// Removes an account with its sessions and API keys; answers whether there was such a login.
pub fn remove_account(conn: &mut VaultConn, login: &str) -> DbResult<bool> {
    Ok(diesel::delete(account::table.filter(account::login.eq(login))).execute(conn.sql())? > 0)
}

/// How many administrators there are, and stay until this transaction ends: others that want to know wait.
pub fn administrators_held(conn: &mut VaultConn) -> DbResult<usize> {
    // In one order everywhere, so that nobody waits in a circle.
    let administrators = account::table.filter(account::role.eq(Role::Administrator.as_str())).order(account::id).select(account::id);
    let held: Vec<String> = match conn.sql() {
        // A transaction that writes has SQLite for itself.
        AnyConnection::Sqlite(sqlite) => administrators.load(sqlite)?,
        AnyConnection::Postgres(postgres) => administrators.for_update().load(postgres)?,
    };
    Ok(held.len())
}

fn read_account((id, login, role): (String, String, String)) -> DbResult<Account> {
    let role = Role::from_word(&role).ok_or_else(|| DbError::unreadable("a role", &role))?;
    Ok(Account { id, login, role })
}
