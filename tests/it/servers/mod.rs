//! Purpose: real servers for the tests, each private, throw-away and on loopback only.
//!
//! Cast: [`postgres::Databases`] a fresh pair of databases; [`postfix::Postfix`] a mail transfer agent;
//! [`dovecot::Dovecot`] mailboxes behind LMTP and IMAP; [`dns::Dns`] records of a test; [`verifiers::Verifiers`] judges of messages; [`browser::Browser`] Chromium.
//! [`process`] starts and ends programs, [`imap`] is the reading end of a mailbox.
//!
//! Never: touches a server of the machine, uses a fixed port, or skips a test because a program is missing.

pub mod browser;
pub mod dns;
pub mod dovecot;
pub mod imap;
pub mod postfix;
pub mod postgres;
pub mod process;
mod selftest;
pub mod verifiers;
