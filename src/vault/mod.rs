//! The vault: people. The only room that holds names and addresses.
//!
//! Cast: [`address`] (an e-mail address, parsed once, printed masked), [`import`] (a CSV file, every line accounted for),
//! [`people`] (lists, subscribers, consent, suppression), [`account`] (who may use Letterlab), `store` (the only SQL).
//!
//! It never names a pseudonym's events, and nothing in it may reach the ledger except through the bridge.

pub mod account;
pub mod address;
pub mod import;
pub mod people;
mod schema;
pub mod store;
