//! Commands that measure Letterlab's own judgement against files of known answers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::content::{Body, BodyFormat, CompiledLetter, LetterUrls, Newsletter, Tracking, report};

/// Run the statistics against reference values.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Stats {
    /// Print cases and the worst relative error of each method
    Score {
        /// A JSON file of cases: method, inputs, expected values, tolerance
        file: PathBuf,
    },
}

/// Run the hit rules against labelled user agents.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Signal {
    /// Print how each label is classified
    Score {
        /// A tab-separated file: label, source, user agent
        file: PathBuf,
    },
}

/// Compile a folder of letters and print what became of each.
#[derive(Debug, clap::Args)]
pub(super) struct Letters {
    /// A folder with .mjml, .html and .md files
    folder: PathBuf,
    /// Write each letter as a recipient would get it into this folder, to look at in a browser
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

pub(super) fn stats(Stats::Score { file }: &Stats) -> anyhow::Result<ExitCode> {
    let scores = crate::stats::score(&read(file)?)?;
    let mut failures = 0;
    println!("{:<44} {:>6} {:>8} {:>12}", "method", "cases", "failures", "worst error");
    for score in &scores {
        failures += score.failures;
        println!("{:<44} {:>6} {:>8} {:>12.2e}", score.method, score.cases, score.failures, score.worst_error);
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn signal(Signal::Score { file }: &Signal) -> anyhow::Result<ExitCode> {
    println!("{}", crate::signal::score(&read(file)?));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn letters(command: &Letters) -> anyhow::Result<ExitCode> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(&command.folder)
        .with_context(|| format!("{} cannot be read", command.folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    files.sort();
    let mut good = true;
    println!("{:<48} {:>7} {:>6} {:>8} {:>9}", "letter", "parsed", "links", "bytes", "warnings");
    for file in files {
        let format = match file.extension().and_then(|extension| extension.to_str()) {
            Some("mjml") => BodyFormat::Mjml,
            Some("html" | "htm") => BodyFormat::Html,
            Some("md") => BodyFormat::Markdown,
            _ => continue,
        };
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let found = report(&name, &read(&file)?, format);
        let parsed = if found.parsed { "yes" } else { "no" };
        println!("{name:<48} {parsed:>7} {:>6} {:>8} {:>9}", found.links, found.size, found.warnings.len());
        if let Some(error) = &found.error {
            println!("    {error}");
        }
        good &= found.parsed;
        if let (Some(out), true) = (&command.out, found.parsed) {
            let html = as_received(&read(&file)?, format).with_context(|| format!("{name} does not render"))?;
            let path = out.join(format!("{name}.html"));
            std::fs::write(&path, html).with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A letter with tracked links and a pixel; merge fields show their names.
fn as_received(source: &str, format: BodyFormat) -> anyhow::Result<String> {
    let body = Body { format, source: source.to_owned() };
    let newsletter = Newsletter { subject: "A letter".to_owned(), preheader: String::new(), sender_name: "Letterlab".to_owned(), body };
    let letter = CompiledLetter::compile(&newsletter)?;
    let values = letter.required_fields().into_iter().map(|name| (name.clone(), format!("[{name}]"))).collect();
    let base = "https://news.example";
    let tracking = Tracking::On {
        pixel: format!("{base}/o/pixel.gif"),
        links: letter.links().iter().map(|link| format!("{base}/c/link-{}", link.number)).collect(),
    };
    Ok(letter.render(&values, &LetterUrls { tracking, unsubscribe: format!("{base}/u/recipient") })?.html)
}
