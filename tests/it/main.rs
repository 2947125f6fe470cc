//! Integration tests: stories told from outside, on SQLite and on PostgreSQL, against real servers.
//!
//! `world` and `installation` set the scene, `servers` are real parts; every other file is one kind of story.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod browser_story;
mod cli_story;
mod demo_story;
mod installation;
mod mailboxes;
mod real_mail;
mod servers;
mod web;
mod world;
