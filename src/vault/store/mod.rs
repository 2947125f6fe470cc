//! The only SQL of the vault: lists and people in [`people`], a CSV's rows in [`upsert`] and
//! back out in [`export`], logins in [`account`], whose mailboxes a domain's are in [`domain`].
//!
//! Functions take a connection to the vault and answer values of this room; moments and identifiers come from the caller.

mod account;
mod domain;
mod export;
mod people;
mod upsert;

pub use account::{
    account_by_login, account_count, accounts, administrators_held, api_key_account, api_keys, api_keys_clear, create_account,
    create_api_key, create_session, end_session, remove_account, session_by_key, set_password,
};
pub use domain::{domains_to_ask, learn_domains};
pub use export::{ExportedPerson, exported_people};
pub use people::{
    consents, delete_list, eligible, eligible_count, empty, fields, list_names, lists, people_by_id, people_count, people_of_list,
    people_spelt, person_by_address, record_consent, suppress, unsuppress,
};
pub use upsert::{Change, IncomingPerson, list_id, upsert};

use jiff::Timestamp;

use crate::db::{DbError, DbResult};

/// A stored number of milliseconds as a moment.
fn moment(milliseconds: i64) -> DbResult<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| DbError::unreadable("a moment", milliseconds))
}

/// A stored text as a value of ours.
fn read<T: std::str::FromStr>(expected: &'static str, text: &str) -> DbResult<T> {
    text.parse().map_err(|_| DbError::unreadable(expected, text))
}
