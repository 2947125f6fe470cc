//! The command line: one file per command, and [`run`] as the table of contents.
//!
//! Cast: [`Arguments`] (exactly what was typed), [`run`], [`service`] (the parts of a running server, also used by tests).
//!
//! Commands translate: what can be done is in `app`, and said in words here.

mod backup;
mod bounce;
mod campaign;
mod compare;
mod demo;
mod domain;
mod ending;
mod image;
mod import;
mod keys;
mod letter;
mod letters;
mod person;
mod power;
mod preflight;
mod rebuild;
mod relay;
mod results;
mod score;
mod serve;
pub mod service;
mod signal;
mod simulate;
mod status;
mod user;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::app::clock::Clock;
use crate::app::config::{self, Config, LogFormat};
use crate::app::lab::{Background, Lab};

/// Newsletter tests with one difference, pseudonymous tracking and honest statistics.
#[derive(Debug, Parser)]
#[command(name = "letterlab", version)]
pub struct Arguments {
    /// Settings; without it ./letterlab.toml if there is one, otherwise the defaults (see `letterlab config`)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See a whole newsletter test happen on this machine, with made-up people and simulated readers
    Demo(demo::Demo),
    /// Serve pages, pixels and links, send letters, take returned mail in
    Serve(serve::Serve),
    /// Import people from a CSV file
    Import(import::Import),
    /// Write a list's people to standard output as CSV that imports back
    Export(import::Export),
    /// Write, check, launch and steer campaigns
    #[command(subcommand)]
    Campaign(campaign::Campaign),
    /// Upload pictures for letters and list them
    #[command(subcommand)]
    Image(image::Image),
    /// Show a campaign's result
    Results(results::Results),
    /// Make a link to a campaign's result for a reviewer without an account
    Share(results::Share),
    /// List relays and try them out
    #[command(subcommand)]
    Relay(relay::Relay),
    /// Show whether one person may be mailed, and what became of every letter to them
    LettersTo(person::LettersTo),
    /// Stop mailing one person, or erase them
    #[command(subcommand)]
    Person(person::Person),
    /// Take in one returned message from standard input
    Bounce(bounce::Bounce),
    /// Make keys that sign letters, and check what the DNS says about a sender
    #[command(subcommand)]
    Domain(domain::Domain),
    /// Create accounts, set passwords, give out API keys
    #[command(subcommand)]
    User(user::User),
    /// Show whether every letter and every hit is accounted for
    Status(status::Status),
    /// Copy databases and keys while the service works
    Backup(backup::Backup),
    /// Derive every count from the events again and compare
    Verify(rebuild::Verify),
    /// Make every state and count anew from the events, while the service works
    Rebuild(rebuild::Rebuild),
    /// Compare counts without a campaign: rates, difference, p-value, chances, verdict
    Compare(compare::Compare),
    /// Plan a test: how many recipients, which lift, what power
    Power(power::Power),
    /// Try the promises of the statistics out by simulation and exact calculation
    Simulate(simulate::Simulate),
    /// Run the statistics against a file of reference values
    #[command(subcommand)]
    Stats(score::Stats),
    /// Machines told from people: networks, judging stored hits again, trials of the rules
    #[command(subcommand)]
    Signal(signal::Signal),
    /// Look into letters: what may vary, tags of other systems, in what letters differ, trials of a folder
    #[command(subcommand)]
    Letters(letters::Letters),
    /// Change the keys that sign pixels and links
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Print the settings file with every default
    Config,
}

/// Runs the command that was typed.
///
/// # Errors
/// Whatever keeps the command from being done, as a chain of causes for the user.
pub fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let file = arguments.config;
    match arguments.command {
        Command::Demo(command) => demo::run(&command),
        Command::Serve(command) => serve::run(&command, settings(file)?),
        Command::Import(command) => with_lab(file, |lab| import::run(&command, lab)),
        Command::Export(command) => with_data(file, |lab| import::export(&command, lab)),
        Command::Campaign(command) if command.is_template() => campaign::print_template(),
        Command::Campaign(command) if command.reads() => with_data(file, |lab| campaign::run(&command, lab)),
        Command::Campaign(command) => with_lab(file, |lab| campaign::run(&command, lab)),
        Command::Image(command) if command.reads() => with_data(file, |lab| image::run(&command, lab)),
        Command::Image(command) => with_lab(file, |lab| image::run(&command, lab)),
        Command::Results(command) => with_data(file, |lab| results::run(&command, lab)),
        Command::Share(command) => with_data(file, |lab| results::share(&command, lab)),
        Command::Relay(command) => relay::run(&command, &settings(file)?),
        Command::LettersTo(command) => with_data(file, |lab| person::letters_to(&command, lab)),
        Command::Person(command) => with_data(file, |lab| person::run(&command, lab)),
        Command::Bounce(command) => with_lab(file, |lab| bounce::run(&command, lab)),
        Command::Domain(command) => domain::run(&command, &settings(file)?),
        Command::User(command) if command.reads() => with_data(file, |lab| user::run(&command, lab)),
        Command::User(command) => with_lab(file, |lab| user::run(&command, lab)),
        Command::Status(command) => with_data(file, |lab| status::run(&command, lab)),
        Command::Backup(command) => with_data(file, |lab| backup::run(&command, lab)),
        Command::Verify(command) => with_data(file, |lab| rebuild::verify(&command, lab)),
        Command::Rebuild(command) => with_data(file, |lab| rebuild::rebuild(&command, lab)),
        Command::Compare(command) => compare::run(&command),
        Command::Power(command) if command.list.is_none() => power::run(&command, None),
        Command::Power(command) => with_data(file, |lab| power::run(&command, Some(lab))),
        Command::Simulate(command) => simulate::run(&command),
        Command::Stats(command) => score::stats(&command),
        Command::Signal(command) if command.needs_data() => with_data(file, |lab| signal::with_lab(&command, lab)),
        Command::Signal(command) => signal::run(&command, || settings(file)),
        Command::Letters(command) => letters::run(&command),
        Command::Keys(command) => keys::run(&command, &settings(file)?),
        Command::Config => {
            print!("{}", config::DEFAULTS);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn settings(file: Option<PathBuf>) -> anyhow::Result<Config> {
    let file = file.or_else(|| Some(PathBuf::from("letterlab.toml")).filter(|path| path.exists()));
    Ok(config::load(file.as_deref(), std::env::vars())?)
}

/// Opens everything, runs a command, and waits until what it did is durable.
fn with_lab(file: Option<PathBuf>, work: impl FnOnce(&Lab) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    with_settings(settings(file)?, work)
}

/// The same for a command that only reads, or changes only what is there: where there is nothing it says so and makes nothing.
fn with_data(file: Option<PathBuf>, work: impl FnOnce(&Lab) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let settings = settings(file)?;
    if let Some(place) = settings.database.nowhere()? {
        bail!(
            "there is no data yet: {} does not exist. `letterlab import people.csv` or `letterlab serve` begins here, `letterlab demo` shows a \
             whole test; if your data is elsewhere, go to its folder or name its settings with --config FILE",
            place.display()
        );
    }
    with_settings(settings, work)
}

fn with_settings(settings: Config, work: impl FnOnce(&Lab) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    log_to_stderr(LogFormat::Text, "warn")?;
    let (lab, background) = open(settings, Clock::wall())?;
    let done = work(&lab);
    drop(lab);
    background.join();
    done
}

fn open(settings: Config, clock: Clock) -> anyhow::Result<(Lab, Background)> {
    Lab::open(settings, clock).context("Letterlab cannot start")
}

/// Log lines go to standard error: standard output belongs to the command.
fn log_to_stderr(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_new(filter).with_context(|| format!("setting log.filter: {filter:?} is not a filter"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // A second time in one process (tests) the first logger stays.
    let _ = installed;
    Ok(())
}
