//! What a user can do with accounts: the verbs that web pages and command line both call.
//!
//! Cast: [`create`], [`set_password`], [`remove`], [`make_api_key`], [`withdraw_api_keys`], [`all`], [`Listed`], [`AccountError`].
//!
//! A program with an API key can do none of this: a stolen key must not make itself another. No password and no key is ever kept or
//! logged; a key is answered once, by the call that makes it.

use jiff::Timestamp;

use crate::app::clock;
use crate::app::lab::Lab;
use crate::db::DbError;
use crate::ids::EventId;
use crate::vault::account::{Account, PasswordFault, Role, hash_password, key_hash};
use crate::vault::store;

/// Most characters of a login.
pub const LOGIN_CHARACTERS_MOST: usize = 200;
/// Most bytes of a password: hashing takes longer the longer it is.
pub const PASSWORD_BYTES_MOST: usize = 1024;
/// Most characters of what a key is for.
const LABEL_CHARACTERS_MOST: usize = 200;

/// Why something was not done with an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Not a login.
    #[error("a login is a name or an e-mail address of 1 to {LOGIN_CHARACTERS_MOST} characters, without control characters")]
    Login,
    /// Somebody has it.
    #[error("there is an account {0:?} already; choose another login")]
    Taken(String),
    /// Nobody has it.
    #[error("there is no account {0:?}")]
    Unknown(String),
    /// The password cannot be taken.
    #[error("{0}")]
    Password(PasswordFault),
    /// More than is hashed.
    #[error("a password has at most {PASSWORD_BYTES_MOST} bytes")]
    PasswordTooLong,
    /// Not a label.
    #[error("say what the key is for, in 1 to {LABEL_CHARACTERS_MOST} characters")]
    Label,
    /// Nobody could make accounts any more.
    #[error("{0:?} is the last administrator; make another one first")]
    LastAdministrator(String),
    /// A database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// An account as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Whose.
    pub account: Account,
    /// When it was made.
    pub created_at: Timestamp,
    /// What its API keys are for, and since when there are, the oldest first.
    pub api_keys: Vec<(String, Timestamp)>,
}

/// Every account, by login.
///
/// # Errors
/// A database failure.
pub fn all(lab: &Lab) -> Result<Vec<Listed>, DbError> {
    let (accounts, keys) = lab.vault.read(|conn| Ok::<_, DbError>((store::accounts(conn)?, store::api_keys(conn)?)))?;
    let listed = |(account, created_at): (Account, Timestamp)| {
        let api_keys = keys.iter().filter(|(owner, ..)| *owner == account.id).map(|(_, label, at)| (label.clone(), *at)).collect();
        Listed { account, created_at, api_keys }
    };
    Ok(accounts.into_iter().map(listed).collect())
}

/// Makes an account.
///
/// # Errors
/// [`AccountError`].
pub fn create(lab: &Lab, login: &str, role: Role, password: &str) -> Result<(), AccountError> {
    let login = login.trim();
    if login.is_empty() || login.chars().count() > LOGIN_CHARACTERS_MOST || login.chars().any(char::is_control) {
        return Err(AccountError::Login);
    }
    let hash = hashed(password)?;
    let account = Account { id: EventId::from_bytes(clock::fresh()).to_string(), login: login.to_owned(), role };
    lab.vault
        .write(|conn| store::create_account(conn, &account, &hash, lab.clock.now()))
        .map_err(|error| if error.is_duplicate() { AccountError::Taken(login.to_owned()) } else { error.into() })
}

/// Sets another password. Whoever changes one wants everybody out who came in with the old one: sessions end, and API keys are withdrawn.
///
/// # Errors
/// [`AccountError`].
pub fn set_password(lab: &Lab, login: &str, password: &str) -> Result<(), AccountError> {
    let hash = hashed(password)?;
    let known = lab.vault.write(|conn| {
        store::api_keys_clear(conn, login)?;
        store::set_password(conn, login, &hash)
    })?;
    if known { Ok(()) } else { Err(AccountError::Unknown(login.to_owned())) }
}

fn hashed(password: &str) -> Result<String, AccountError> {
    if password.len() > PASSWORD_BYTES_MOST {
        return Err(AccountError::PasswordTooLong);
    }
    hash_password(password, clock::fresh()).map_err(AccountError::Password)
}

/// Removes an account with its sessions and keys.
///
/// # Errors
/// [`AccountError`]; the last administrator stays.
pub fn remove(lab: &Lab, login: &str) -> Result<(), AccountError> {
    lab.vault.write(|conn| {
        let accounts = store::accounts(conn)?;
        let Some((account, _)) = accounts.iter().find(|(account, _)| account.login == login) else {
            return Err(AccountError::Unknown(login.to_owned()));
        };
        // Two who remove each other at once wait for each other here, and the second sees what the first left.
        if account.role == Role::Administrator && store::administrators_held(conn)? <= 1 {
            return Err(AccountError::LastAdministrator(login.to_owned()));
        }
        store::remove_account(conn, login)?;
        Ok(())
    })
}

/// Makes a key for the HTTP API and answers it: it is known nowhere afterwards.
///
/// # Errors
/// [`AccountError`].
pub fn make_api_key(lab: &Lab, login: &str, label: &str) -> Result<String, AccountError> {
    let label = label.trim();
    if label.is_empty() || label.chars().count() > LABEL_CHARACTERS_MOST || label.chars().any(char::is_control) {
        return Err(AccountError::Label);
    }
    let key = data_encoding::HEXLOWER.encode(&clock::fresh_key());
    lab.vault.write(|conn| {
        let Some((account, _)) = store::account_by_login(conn, login)? else { return Err(AccountError::Unknown(login.to_owned())) };
        store::create_api_key(conn, &key_hash(&key), &account.id, label, lab.clock.now())?;
        Ok(key)
    })
}

/// Withdraws every API key of an account; answers how many there were.
///
/// # Errors
/// [`AccountError`].
pub fn withdraw_api_keys(lab: &Lab, login: &str) -> Result<usize, AccountError> {
    lab.vault.write(|conn| {
        if store::account_by_login(conn, login)?.is_none() {
            return Err(AccountError::Unknown(login.to_owned()));
        }
        Ok(store::api_keys_clear(conn, login)?)
    })
}
