//! `letterlab campaign …`: write, check, launch and steer campaigns.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::Timestamp;

use crate::app::assignment as draw;
use crate::app::campaigns::{self, CampaignError};
use crate::app::lab::Lab;
use crate::app::{preflight, proof};
use crate::bridge::launch::LaunchError;
use crate::campaign::definition::moment;
use crate::campaign::file::{Problem, template};
use crate::campaign::store::Campaign as Stored;
use crate::content::preflight::Level;
use crate::ids::VariantNumber;
use crate::report::wording::counted;

/// Write, check, launch and steer campaigns.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Campaign {
    /// Print a commented campaign.toml to start from
    Template,
    /// Check a campaign file, with line numbers; or a stored campaign: everything to look at before launch
    Check(super::preflight::Check),
    /// Print a variant as a person, or somebody made up, would get it
    Preview(super::preflight::Preview),
    /// Send variants to one address, for a look; no count changes
    TestMail(super::preflight::TestMail),
    /// Store a campaign file as a draft
    Create {
        /// The campaign file
        file: PathBuf,
    },
    /// Replace a draft by a changed file
    Replace {
        /// Name or number
        name: String,
        /// The campaign file
        file: PathBuf,
    },
    /// List all campaigns
    List,
    /// Show one campaign: plan, variants, links, progress
    Show {
        /// Name or number
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Freeze letter and plan without sending yet
    Seal {
        /// Name or number
        name: String,
    },
    /// Freeze letter and plan, assign everybody, and let the letters go (a running `letterlab serve` sends them)
    Launch {
        /// Name or number
        name: String,
        /// Let the first letter leave at this moment, as 2026-12-01T08:00:00+01:00, instead of at once
        #[arg(long, value_name = "TIME", value_parser = moment)]
        at: Option<Timestamp>,
    },
    /// Say when the first letter may leave, before or after the launch
    Schedule {
        /// Name or number
        name: String,
        /// A moment, as 2026-12-01T08:00:00+01:00; without one at once
        #[arg(value_parser = moment)]
        at: Option<Timestamp>,
    },
    /// Stop sending for the moment
    Pause {
        /// Name or number
        name: String,
    },
    /// Go on sending with exactly those not yet sent
    Resume {
        /// Name or number
        name: String,
    },
    /// Send no more letters, for good; those that were sent are still measured
    Cancel {
        /// Name or number
        name: String,
    },
    /// Send letters again of which nobody knows whether they left; whoever got one gets it twice, under the same Message-ID
    Resend {
        /// Name or number
        name: String,
    },
    /// Choose the variant that the rest of the list gets
    Decide {
        /// Name or number
        name: String,
        /// The variant's letter: A, B …
        variant: char,
        /// Before the plan's time, which gives up what the test would have shown
        #[arg(long)]
        early: bool,
    },
    /// Repeat the draw from seed, plan and pseudonyms, and say whether everybody is where it puts them
    Assignment {
        /// Name or number
        name: String,
        /// One line per recipient as CSV: place in the sending order, pseudonym, stratum, arm, arm by repeating the draw
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        /// Everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// End a campaign: what waits is not sent, nothing more is recorded
    Close {
        /// Name or number
        name: String,
    },
    /// Throw a draft away
    Delete {
        /// Name or number
        name: String,
    },
}

impl Campaign {
    /// Whether it makes nothing: it reads, or changes a campaign that must be there.
    pub(super) const fn reads(&self) -> bool {
        !matches!(self, Self::Create { .. })
    }

    /// Whether it needs no data at all.
    pub(super) const fn is_template(&self) -> bool {
        matches!(self, Self::Template)
    }
}

pub(super) fn print_template() -> anyhow::Result<ExitCode> {
    print!("{}", template());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(command: &Campaign, lab: &Lab) -> anyhow::Result<ExitCode> {
    let find = |name: &str| campaigns::find(lab, name);
    match command {
        Campaign::Template => return print_template(),
        Campaign::Check(command) => {
            let file = Path::new(&command.campaign);
            return if file.is_file() { check(lab, file) } else { super::preflight::check(lab, command) };
        }
        Campaign::Preview(command) => return super::preflight::preview(lab, command),
        Campaign::TestMail(command) => return super::preflight::test_mail(lab, command),
        Campaign::Create { file } => {
            let number = shown(campaigns::draft(lab, &text(file)?, &beside(file)), file)?;
            let campaign = campaigns::by_number(lab, number)?;
            println!(
                "Campaign {} is a draft (number {number}). Launch it with: letterlab campaign launch {}",
                campaign.definition.name, campaign.definition.name
            );
        }
        Campaign::Replace { name, file } => {
            shown(campaigns::redraft(lab, find(name)?.number, &text(file)?, &beside(file)), file)?;
            println!("The draft is replaced.");
        }
        Campaign::List => list(lab)?,
        Campaign::Show { name, json } => show(lab, &find(name)?, *json)?,
        Campaign::Seal { name } => {
            let campaign = find(name)?;
            let done = campaigns::seal(lab, &campaign);
            say_why(&campaign, &done);
            let sealed = done?;
            println!("Sealed with {}", sealed.sealed.map(|seal| seal.hash).unwrap_or_default());
        }
        Campaign::Launch { name, at } => {
            let campaign = find(name)?;
            if at.is_some() {
                campaigns::schedule(lab, &campaign, *at)?;
            }
            launch(lab, &campaign)?;
        }
        Campaign::Schedule { name, at } => {
            campaigns::schedule(lab, &find(name)?, *at)?;
            println!("The first letter may leave {}.", at.map_or("at once".to_owned(), |at| format!("at {at}")));
        }
        Campaign::Cancel { name } => {
            let skipped = campaigns::cancel(lab, &find(name)?)?;
            println!("Cancelled: {} will not be sent. Those that were are still measured.", counted(skipped, "letter", "letters"));
        }
        Campaign::Resend { name } => {
            let again = campaigns::resend(lab, &find(name)?)?;
            println!("In the queue again: {}.", counted(again, "letter", "letters"));
        }
        Campaign::Pause { name } => {
            let campaign = find(name)?;
            campaigns::pause(lab, &campaign, "paused by hand")?;
            let waiting = campaigns::progress(lab, &campaign)?.mailings.waiting();
            println!(
                "Paused; {}. Hits are recorded all the same. Go on with: letterlab campaign resume {name}",
                counted(waiting, "letter waits", "letters wait")
            );
        }
        Campaign::Resume { name } => {
            let campaign = find(name)?;
            campaigns::resume(lab, &campaign)?;
            let waiting = campaigns::progress(lab, &campaign)?.mailings.waiting();
            println!("Not paused any more: sending goes on with exactly those not yet sent, {}.", counted(waiting, "letter", "letters"));
        }
        Campaign::Decide { name, variant, early } => decide(lab, &find(name)?, *variant, *early)?,
        Campaign::Assignment { name, csv, json } => return assignment(lab, &find(name)?, *csv, *json),
        Campaign::Close { name } => {
            campaigns::close(lab, &find(name)?)?;
            println!("Closed. Links keep working; nothing more is recorded.");
        }
        Campaign::Delete { name } => {
            campaigns::delete(lab, &find(name)?)?;
            println!("The draft is deleted.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// Reads the letter's file, by its path relative to the campaign file.
fn beside(file: &Path) -> impl Fn(&str) -> Result<String, String> {
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    // Of an error the cause alone: the caller names the file.
    move |name| super::letter::read(&folder.join(name)).map_err(|error| error.root_cause().to_string())
}

fn check(lab: &Lab, file: &Path) -> anyhow::Result<ExitCode> {
    let (definition, problems) = campaigns::check(lab, &text(file)?, &beside(file))?;
    print_problems(file, &problems);
    if let Some(definition) = definition
        && problems.is_empty()
    {
        // What a launch would refuse is not called right.
        let list = preflight::at_hand(lab, &definition)?;
        if list.level == Level::Stop {
            super::preflight::print(&list);
            return Ok(ExitCode::FAILURE);
        }
        let eligible = lab.vault.read(|conn| crate::vault::store::eligible_count(conn, &definition.list))?;
        let people = counted(eligible, "person", "people");
        println!("{}: nothing wrong. {people} of list {} may be mailed.", file.display(), definition.list);
        for item in list.items.iter().filter(|item| item.level == Level::Warn) {
            println!(
                "  look at: {}{}",
                item.topic,
                if item.variants.is_empty() { String::new() } else { format!(" of {}", item.variants) }
            );
            println!("    {}{}", item.found, if item.advice.is_empty() { String::new() } else { format!(": {}", item.advice) });
            item.details.iter().for_each(|detail| println!("    - {detail}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn print_problems(file: &Path, problems: &[Problem]) {
    for problem in problems {
        eprintln!("{}: {problem}", file.display());
    }
}

fn shown<T>(done: Result<T, CampaignError>, file: &Path) -> anyhow::Result<T> {
    if let Err(CampaignError::Problems(problems)) = &done {
        print_problems(file, problems);
    }
    Ok(done?)
}

fn list(lab: &Lab) -> anyhow::Result<()> {
    let all = campaigns::all(lab)?;
    if all.is_empty() {
        println!("No campaigns yet. Start with: letterlab campaign template > campaign.toml");
    }
    for campaign in all {
        let paused = if campaign.paused.is_some() { " (paused)" } else { "" };
        println!("{:>4}  {:<32} {:<10} {}{paused}", campaign.number, campaign.definition.name, campaign.state, campaign.definition.list);
    }
    Ok(())
}

fn show(lab: &Lab, campaign: &Stored, json: bool) -> anyhow::Result<()> {
    let progress = campaigns::progress(lab, campaign)?;
    if json {
        let shown = serde_json::json!({
            "number": campaign.number,
            "state": campaign.state,
            "definition": campaign.definition,
            "seal": campaign.sealed.as_ref().map(|seal| seal.hash.clone()),
            "proof": campaign.proof,
            "progress": progress,
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    let definition = &campaign.definition;
    println!("{} (number {}), {}", definition.name, campaign.number, campaign.state);
    if let Some(reason) = &campaign.paused {
        println!("  paused: {reason}");
    }
    if let Some(at) = campaign.cancelled_at {
        println!("  cancelled {}: no letter leaves any more", at.round(jiff::Unit::Second).unwrap_or(at));
    }
    println!("  list {}, variants differ in: {}", definition.list, definition.element);
    for (number, value) in (0u8..).zip(definition.shown_values()) {
        println!("    {} {value}", VariantNumber(number));
    }
    match proof::shown(lab, campaign) {
        Ok(shown) => shown.iter().flat_map(|shown| &shown.sentences).for_each(|sentence| println!("  {sentence}")),
        Err(CampaignError::Problems(problems) | CampaignError::Launch(LaunchError::Problems(problems))) => {
            problems.iter().for_each(|problem| println!("  not launched like this: {problem}"));
        }
        Err(other) => return Err(other.into()),
    }
    let design = &definition.design;
    println!(
        "  compared by {}, {} of the list, level {}, {} hours of observation",
        crate::report::wording::metric_words(design.metric),
        crate::report::wording::percent(design.share),
        design.significance,
        design.observe_hours
    );
    let mailings = &progress.mailings;
    println!(
        "  letters: {} enrolled, {} accepted, {} refused, {} failed, {} skipped, {} unknown, {} waiting",
        mailings.enrolled,
        mailings.accepted,
        mailings.refused,
        mailings.failed,
        mailings.skipped,
        mailings.unknown,
        mailings.waiting()
    );
    if let Some(start) = progress.starts_at {
        println!("  begins at {start}");
    }
    if let (Some(next), None) = (progress.next_at, progress.starts_at) {
        println!("  the next letter may leave at {next}");
    }
    if let Some(seconds) = progress.remaining_seconds {
        println!("  about {} to go at the pace of the last minutes", crate::report::wording::duration(seconds));
    }
    for reason in &progress.reasons {
        println!("    {:>8} {}{}{}", reason.count, reason.state, if reason.reason.is_empty() { "" } else { ": " }, reason.reason);
    }
    for (number, arm) in (0u8..).zip(&progress.arms) {
        println!(
            "    {} {} enrolled, {} sent, {} bounced, {} opened, {} clicked, {} unsubscribed",
            VariantNumber(number),
            arm.enrolled,
            arm.sent,
            arm.bounced,
            arm.opened,
            arm.clicked,
            arm.unsubscribed
        );
    }
    Ok(())
}

fn launch(lab: &Lab, campaign: &Stored) -> anyhow::Result<()> {
    let bar = super::import::bar("assigning");
    let done = campaigns::launch(lab, campaign, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    say_why(campaign, &done);
    done?;
    let launched = campaigns::by_number(lab, campaign.number)?;
    let progress = campaigns::progress(lab, &launched)?;
    let name = &campaign.definition.name;
    let enrolled = counted(progress.mailings.enrolled, "person", "people");
    let queued = counted(progress.mailings.queued, "letter", "letters");
    match (&launched.paused, progress.starts_at) {
        (Some(reason), _) => {
            println!("Launched: {enrolled} enrolled. It is paused ({reason}): letters leave after `letterlab campaign resume {name}`.");
        }
        (None, Some(start)) => {
            println!("Launched: {enrolled} enrolled, {queued} may leave from {start} on. A running `letterlab serve` sends them then.");
        }
        (None, None) => println!(
            "Launched: {enrolled} enrolled, {queued} may leave now. A running `letterlab serve` sends them; watch with: letterlab campaign show {name}"
        ),
    }
    Ok(())
}

/// What keeps a campaign from being sealed, point by point.
fn say_why<T>(campaign: &Stored, done: &Result<T, CampaignError>) {
    match done {
        Err(CampaignError::Launch(LaunchError::Problems(problems))) => print_problems(Path::new(&campaign.definition.name), problems),
        Err(CampaignError::NotReady(list)) => super::preflight::print(list),
        _ => {}
    }
}

fn assignment(lab: &Lab, campaign: &Stored, csv: bool, json: bool) -> anyhow::Result<ExitCode> {
    let drawn = draw::assignment(lab, campaign)?;
    if csv {
        print!("{}", draw::csv(&drawn)?);
    } else if json {
        println!("{}", serde_json::to_string_pretty(&drawn)?);
    } else {
        let weights: Vec<String> = drawn.weights.iter().map(ToString::to_string).collect();
        println!("{}\n\n  Sealed with  {}\n  Seed         {}", drawn.sentence, drawn.plan_hash, drawn.seed);
        println!("  Weights      {}, test share {}, held out {}\n", weights.join(" : "), drawn.share, drawn.holdout);
        println!("  {:<32} {:>9} {:>9} {:>9}  arms", "stratum", "people", "rest", "held out");
        for (name, stratum) in &drawn.strata {
            let arms: Vec<String> = stratum.arms.iter().map(ToString::to_string).collect();
            let different = if stratum.different > 0 { format!("  ({} elsewhere)", stratum.different) } else { String::new() };
            println!("  {name:<32} {:>9} {:>9} {:>9}  {}{different}", stratum.recipients, stratum.rest, stratum.held_out, arms.join(" : "));
        }
        println!("\nHow to repeat it (--csv has every recipient):\n\n{}", drawn.algorithm);
    }
    Ok(if drawn.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn decide(lab: &Lab, campaign: &Stored, letter: char, early: bool) -> anyhow::Result<()> {
    let letter = letter.to_ascii_uppercase();
    if !letter.is_ascii_uppercase() {
        bail!("{letter:?} is not a variant; write A, B …");
    }
    let variant = VariantNumber(u8::try_from(u32::from(letter) - u32::from('A'))?);
    let rest = campaigns::progress(lab, campaign)?.mailings.waiting();
    campaigns::decide(lab, campaign, variant, "hand, from the command line", early)?;
    if rest == 0 {
        println!("Decided for variant {variant}. Nobody waits for a letter, so nothing is sent.");
    } else {
        let people = counted(rest, "person waiting gets", "people waiting get");
        println!("The {people} variant {variant}. A running `letterlab serve` sends it.");
    }
    Ok(())
}
