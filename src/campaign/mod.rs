//! Campaigns: what is to be sent and tested, and the life of it.
//!
//! Cast: [`file`] (campaign.toml, read with key and line of every fault), [`definition`] (the campaign as checked, compiled and
//! sealed), [`state`] (draft → sealed → sending → observing → decided → closed), [`store`] (the only SQL of campaigns and links).
//!
//! It knows lists by name only: it never sees a person.

pub mod adopt;
pub mod definition;
pub mod file;
pub mod proof;
mod schema;
pub mod state;
pub mod store;
