//! `letterlab status`: is everything accounted for?

use std::process::ExitCode;

use crate::app::lab::Lab;
use crate::app::status;
use crate::report::wording::counted;

/// Show whether every letter and every hit is accounted for.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Status, lab: &Lab) -> anyhow::Result<ExitCode> {
    let status = status::status(lab)?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        println!("vault {}, ledger {}", status.vault, status.ledger);
        for law in &status.laws {
            println!("  {:<6} {}: {}", if law.holds { "holds" } else { "BROKEN" }, law.name, law.numbers);
        }
        println!(
            "  hits: {} stored, {} on their way, {} refused, {} unrecorded, {} shed since the start",
            status.hits_stored, status.hits_waiting, status.hits_refused, status.hits_unrecorded, status.hits_shed
        );
        if status.spool_set_aside > 0 {
            let segments = counted(status.spool_set_aside, "segment", "segments");
            println!("  set aside, because not all of it could be read: {segments} of the spool");
        }
        for (name, reason) in &status.paused {
            println!("  PAUSED {name}: {reason}");
        }
        println!(
            "  {} to be counted, {} to be filed under their recipients, {} to be copied",
            counted(status.uncounted, "event", "events"),
            status.unfiled,
            counted(status.unrelayed, "outcome", "outcomes")
        );
        let letters = counted(status.letters_to_judge.0, "letter", "letters");
        println!("  hits of {letters} to be judged together, {} not final", status.letters_to_judge.1);
        match &status.networks {
            Ok(Some(table)) => {
                println!("  {} known, {} old", counted(table.networks, "network", "networks"), counted(table.days, "day", "days"))
            }
            Ok(None) => println!("  no table of networks: run `letterlab signal networks refresh`"),
            Err(error) => println!("  {error}: run `letterlab signal networks refresh`"),
        }
    }
    Ok(if status.laws.iter().all(|law| law.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
