//! Delivery: a queued mailing → accepted by SMTP, or not.
//!
//! Cast: [`mailing`] (a letter to one person and its states), [`store`] (the only SQL), [`message`] (a MIME message as bytes), [`note`] (a plain
//! one to whoever runs this),
//! [`dkim`] (its signatures), [`smtp`] (one SMTP connection), [`address`] (addresses as they go over the wire), [`journal`] (one
//! writer that makes every step durable in groups), [`send`] (the work of one batch), and what steers it: [`relays`] (which relay),
//! [`throttle`] (how many now), [`window`] (at which hours), [`retry`] (when again), [`breaker`] (when to stop).
//!
//! It does not know the ledger: outcomes wait in its own table for the bridge. It does not decide who is mailed.

pub mod address;
pub mod breaker;
pub mod dkim;
pub mod journal;
pub mod mailing;
pub mod message;
pub mod note;
pub mod relays;
pub mod retry;
mod schema;
pub mod send;
pub mod smtp;
pub mod store;
pub mod throttle;
pub mod window;
