//! Integration tests: stories told from inside and outside, on SQLite and on PostgreSQL, against real servers; stores; the map of the house.
//!
//! `world` and `installation` set the scene, `mailboxes` and `servers` are the parts around it; every other file is one kind of story.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod architecture;
mod authentic;
mod backup;
mod bounces;
mod browser_story;
mod campaign;
mod cli_story;
mod crash;
mod crash_mail;
mod databases;
mod delivery;
mod delivery_steering;
mod demo_story;
mod domain;
mod enrolment;
mod hostile;
mod idle;
mod installation;
mod letters;
mod mailboxes;
mod outpost;
mod people;
mod preflight;
mod privacy;
mod real_mail;
mod replay;
mod results;
mod servers;
mod signal;
mod smtp_faults;
mod store_campaign;
mod store_delivery;
mod store_ledger;
mod store_vault;
mod tracking;
mod web;
mod world;
