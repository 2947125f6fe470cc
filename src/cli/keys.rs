//! `letterlab keys`: the keys that sign pixels, links and return addresses.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use jiff::SignedDuration;

use crate::app::clock::Clock;
use crate::app::config::Config;
use crate::app::keywatch::HEAD_START_SECONDS;
use crate::app::{clock, keyfile};
use crate::report::wording::counted;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a new signing key; running services take it up, and older keys are kept, so that letters already sent keep working
    Rotate {
        /// Sign with it only so many hours from now: time to copy the key file to every node, which must know a key before letters have it
        #[arg(long, value_name = "HOURS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=8760))]
        in_hours: u16,
    },
}

pub(super) fn run(command: &Keys, settings: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Rotate { in_hours } => {
            let ahead = SignedDuration::from_hours(i64::from(*in_hours)) + SignedDuration::from_secs(HEAD_START_SECONDS);
            let from = Clock::wall().now().checked_add(ahead).context("that moment is too far away")?;
            let id = keyfile::rotate(&settings.files.keys, clock::fresh_key(), from)?;
            println!("key {id} is in {} now and signs from {from} on; the older ones are kept.", settings.files.keys.display());
            println!("Running services that read this file know it within a second; no restart is needed. Back the file up.");
            match in_hours {
                0 => println!("Nodes with a copy of the file need the new one now: until then they do not know the new key's letters."),
                hours => println!("Copy the file to every other node within {}.", counted(*hours, "hour", "hours")),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
