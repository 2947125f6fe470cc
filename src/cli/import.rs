//! `letterlab import people.csv` and `letterlab export LIST`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::app::lab::Lab;
use crate::app::people::import_file;
use crate::ids::RecordingMode;
use crate::report::wording::counted;
use crate::vault::import::{ImportOptions, ImportReport, export as write_list, read_moment};
use crate::vault::people::{Consent, NoSuchList};
use crate::vault::store;

/// Import people from a CSV file.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// UTF-8 with a header; comma, semicolon or tab; Mailchimp's and listmonk's exports are recognised
    file: PathBuf,
    /// The list for lines that name none
    #[arg(long, default_value = "subscribers")]
    list: String,
    /// What people agreed to, for lines that do not say: off, aggregate, pseudonymous, identified
    #[arg(long, value_name = "MODE", requires = "consent_source", requires = "consent_date")]
    recording: Option<RecordingMode>,
    /// Where they agreed, for example "shop checkout 2026"
    #[arg(long, value_name = "TEXT")]
    consent_source: Option<String>,
    /// When they agreed, for example 2026-03-01
    #[arg(long, value_name = "DATE")]
    consent_date: Option<String>,
    /// Write refused lines to this file: line number and why
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Write a list's people as CSV.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The list's name
    list: String,
}

pub(super) fn run(command: &Import, lab: &Lab) -> anyhow::Result<ExitCode> {
    let options = ImportOptions { list: command.list.clone(), stated: stated(command, lab)? };
    let mut refused_file = match &command.refused {
        None => None,
        Some(path) => {
            Some(std::io::BufWriter::new(std::fs::File::create(path).with_context(|| format!("{} cannot be written", path.display()))?))
        }
    };
    let mut write_failed = None;
    let interrupted = interrupted();
    let bar = bar("importing");
    let report = import_file(
        lab,
        &command.file,
        &options,
        &mut |progress| {
            bar.set_length(progress.of_lines);
            bar.set_position(progress.lines);
            if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
        &mut |refusal| {
            if let Some(file) = &mut refused_file
                && let Err(error) = writeln!(file, "{},\"{}\"", refusal.line, refusal.why.replace('"', "\"\""))
            {
                write_failed = Some(error);
            }
        },
    )
    .with_context(|| format!("{} was not imported", command.file.display()))?;
    bar.finish_and_clear();
    if let Some(error) = write_failed {
        return Err(error).context("the file of refused lines could not be written");
    }
    if command.json {
        println!("{}", serde_json::to_string_pretty(&report)?)
    } else {
        print_report(&report, lab, command)?
    }
    Ok(if report.refused > 0 || report.stopped { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

fn stated(command: &Import, lab: &Lab) -> anyhow::Result<Option<Consent>> {
    let (Some(mode), Some(source), Some(date)) = (command.recording, &command.consent_source, &command.consent_date) else {
        if command.consent_source.is_some() || command.consent_date.is_some() {
            bail!("--consent-source and --consent-date say where and when people agreed to --recording; give all three");
        }
        return Ok(None);
    };
    if source.trim().is_empty() {
        bail!("--consent-source is empty; say where these people agreed, for example \"shop checkout\"");
    }
    let at = read_moment(date.trim(), lab.clock.now()).map_err(|wrong| anyhow::anyhow!("--consent-date {date:?} {wrong}"))?;
    Ok(Some(Consent { mode, source: source.trim().to_owned(), at }))
}

fn print_report(report: &ImportReport, lab: &Lab, command: &Import) -> anyhow::Result<()> {
    println!("{}:", counted(report.lines, "line", "lines"));
    for (count, words) in [
        (report.added, "added"),
        (report.updated, "updated"),
        (report.unchanged, "unchanged"),
        (report.repeated, "repeated (the same address again in this file)"),
        (report.refused, "refused"),
    ] {
        println!("  {count:>10} {words}");
    }
    for refusal in report.refusals.iter().take(20) {
        println!("    line {}: {}", refusal.line, refusal.why);
    }
    if report.refused > 20 {
        println!("    … {} more; --refused FILE writes them all", report.refused - 20);
    }
    if report.defaults_used > 0 && command.recording.is_none() {
        println!(
            "{} no consent: who is new is counted in the aggregate only, which allows no test. If they agreed to more, import again with --recording, --consent-source and --consent-date.",
            counted(report.defaults_used, "line states", "lines state")
        );
    }
    if report.needing_smtputf8 > 0 {
        let addresses = counted(report.needing_smtputf8, "address has", "addresses have");
        println!("{addresses} letters beyond ASCII before the @: a relay with SMTPUTF8 is needed.");
    }
    if !report.dropped_columns.is_empty() {
        println!("Left out, as not needed or personal: {}", report.dropped_columns.join(", "));
    }
    if report.stopped {
        println!("Stopped. What is listed above is stored; run the same command again to go on.");
    }
    for list in lab.vault.read(store::lists)? {
        println!("List {}: {}, {} of them may not be mailed.", list.name, counted(list.people, "person", "people"), list.suppressed);
    }
    Ok(())
}

pub(super) fn export(command: &Export, lab: &Lab) -> anyhow::Result<ExitCode> {
    let known = lab.vault.read(store::list_names)?;
    if !known.contains(&command.list) {
        return Err(NoSuchList { wanted: command.list.clone(), known }.into());
    }
    let out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = lab.vault.read(|conn| write_list(conn, &command.list, out).map_err(anyhow::Error::from))?;
    eprintln!("{}", counted(written, "person", "people"));
    Ok(ExitCode::SUCCESS)
}

/// A progress bar on standard error; nothing where that is not a terminal.
pub(super) fn bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("  {msg:<12} {bar:32} {pos:>9}/{len:<9} {per_sec:>12} {eta:>5}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(what.to_owned());
    bar
}

/// Becomes true at the first Ctrl-C, so that long work stops at a good place; the second ends the program.
fn interrupted() -> &'static AtomicBool {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                eprintln!("stopping after this part; press Ctrl-C again to stop at once");
            }
        });
    });
    &INTERRUPTED
}
