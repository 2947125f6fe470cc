//! Pages of people who log in: marketers and administrators.
//!
//! One file per group of pages; `steer` holds the forms that change a campaign's life, `draft` those that write it,
//! `accounts` says who may log in, `letter` looks into a letter that is being written, `images` takes pictures in, `preflight` and `preview`
//! show what would leave.

pub mod accounts;
pub mod assignment;
pub mod campaign;
pub mod campaign_text;
pub mod campaigns;
pub mod domain;
pub mod draft;
mod draft_form;
mod draft_letters;
pub mod draft_plan;
pub mod images;
pub mod import;
pub mod letter;
pub mod login;
pub mod people;
pub mod person;
pub mod preflight;
pub mod preview;
pub mod results;
pub mod setup;
pub mod status;
pub mod steer;
