//! The ledger: what happened, append-only, under pseudonyms; and what is derived from it.
//!
//! Cast: [`event`] (one fact), [`subject`] (one recipient's arm and folded state), [`projection`] (events → states and tallies,
//! with a cursor, in one transaction), [`filing`] (events found by recipient), [`judgement`] (a letter's hits judged together, later), [`look`] (a test at its sealed time),
//! [`watch`] (a test that may be looked at always), [`moved`] (which first successes changed), [`verify`] (whether states and counts are what the events say), [`rebuild`] (both made
//! anew), [`store`] (the only SQL).
//!
//! It never holds a person's name or address, nor a machine's address or user agent; it does not know the vault.

mod derive;
pub mod event;
pub mod filing;
pub mod judgement;
pub mod look;
pub mod moved;
pub mod projection;
pub mod rebuild;
mod schema;
pub mod store;
pub mod subject;
pub mod verify;
pub mod watch;
