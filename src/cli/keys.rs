//! `letterlab keys`: the keys that sign pixels, links and return addresses.

use std::process::ExitCode;

use clap::Subcommand;

use crate::app::config::Config;
use crate::app::{clock, keyfile};

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a new key that signs from the next start on; older keys are kept, so that letters already sent keep working
    Rotate,
}

pub(super) fn run(command: &Keys, settings: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Rotate => {
            let id = keyfile::rotate(&settings.files.keys, clock::fresh_key())?;
            println!("key {id} is the first in {} now; the older ones are kept.", settings.files.keys.display());
            println!("Copy the file to every node, restart `letterlab serve` on each, and back the file up.");
            Ok(ExitCode::SUCCESS)
        }
    }
}
