//! `letterlab backup`: databases and keys, copied while the service works.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::backup::backup;
use crate::app::lab::Lab;

/// Copy both databases and all keys into a new folder while the service works (SQLite; on PostgreSQL it says what to do instead).
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The folder to make; it holds names, addresses and keys, and is readable by its owner only
    folder: PathBuf,
}

pub(super) fn run(command: &Backup, lab: &Lab) -> anyhow::Result<ExitCode> {
    let kept = backup(lab, &command.folder, &mut |step| eprintln!("{step}"))?;
    let names: Vec<&str> = kept.iter().map(|file| file.name.as_str()).collect();
    println!("{} holds {}. RESTORE.txt beside them says how to restore.", command.folder.display(), names.join(", "));
    Ok(ExitCode::SUCCESS)
}
