//! `letterlab verify` and `letterlab rebuild`: do states and counts follow from the events, and making them do so.

use std::ops::ControlFlow;
use std::process::ExitCode;

use crate::app::lab::Lab;
use crate::app::{campaigns, recount};
use crate::report::wording::counted;

/// With fewer events it is not told how far verifying is.
const TOLD_FROM: i64 = 100_000;

/// Derive every count from the events again and compare, while the service works. Nothing is changed: it may be ended at any time.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// One campaign by name or number; without it all of them
    name: Option<String>,
}

/// Make every recipient's state and every count anew from the events, while the service works. Stopped, it goes on the next time.
#[derive(Debug, clap::Args)]
pub(super) struct Rebuild {
    /// One campaign by name or number; without it all of them
    name: Option<String>,
    /// Begin again instead of going on with one that was stopped
    #[arg(long)]
    afresh: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(command: &Verify, lab: &Lab) -> anyhow::Result<ExitCode> {
    let chosen = match &command.name {
        Some(name) => vec![campaigns::find(lab, name)?],
        None => campaigns::all(lab)?,
    };
    if chosen.is_empty() {
        println!("There is no campaign yet: nothing to verify.");
    }
    let mut good = true;
    for campaign in chosen {
        let name = &campaign.definition.name;
        let mut shown = 0;
        let verified = recount::verify(lab, campaign.number, &mut |walk| {
            // A small ledger is verified before anybody could read how far it is.
            if walk.of > TOLD_FROM && walk.percent() >= shown {
                eprintln!("{:>3} %: {name}, {} of {} events looked at", walk.percent(), walk.at, walk.of);
                shown = walk.percent() + 5;
            }
            ControlFlow::Continue(())
        })?;
        let Some(verified) = verified else { continue };
        println!(
            "{name}: {}, {}, {} with events, {}",
            counted(verified.events, "event", "events"),
            counted(verified.counts, "count", "counts"),
            counted(verified.recipients, "recipient", "recipients"),
            counted(verified.differences.len(), "difference", "differences")
        );
        for difference in &verified.differences {
            println!("  {difference}");
        }
        good &= verified.differences.is_empty();
    }
    if !good {
        println!("`letterlab rebuild` makes states and counts anew from the events.");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn rebuild(command: &Rebuild, lab: &Lab) -> anyhow::Result<ExitCode> {
    let scope = command.name.as_deref().map(|name| campaigns::find(lab, name)).transpose()?.map(|campaign| campaign.number);
    let (all, stopped) = recount::to_rebuild(lab, scope)?;
    if let Some(stopped) = stopped.filter(|_| !command.afresh) {
        let (began, done) = (stopped.began_at, counted(stopped.recipients, "recipient", "recipients"));
        eprintln!("going on with the rebuild begun at {began}, after {done}; --afresh begins again");
    }
    let mut shown = None;
    let rebuilt = recount::rebuild(lab, scope, command.afresh, &mut |progress| {
        let percent = (progress.recipients.saturating_mul(100)).checked_div(all).unwrap_or(100).min(100);
        if shown != Some(percent) {
            eprintln!("{percent:>3} %: {} of {all} recipients looked at, {} mended", progress.recipients, progress.mended);
            shown = Some(percent);
        }
        ControlFlow::Continue(())
    })?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&rebuilt)?);
    } else {
        let (recipients, counts) = (counted(rebuilt.recipients, "recipient", "recipients"), counted(rebuilt.corrected, "count", "counts"));
        println!("{recipients} looked at, {} mended; {counts} corrected", rebuilt.mended);
    }
    Ok(ExitCode::SUCCESS)
}
