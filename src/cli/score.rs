//! Commands that measure Letterlab's own judgement against files of known answers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

/// Run the statistics against reference values.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Stats {
    /// Print cases and the worst relative error of each method
    Score {
        /// A JSON file of cases: method, inputs, expected values, tolerance
        file: PathBuf,
    },
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
