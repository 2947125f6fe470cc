//! `letterlab compare`: two or more counts compared, without a campaign.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::ids::VariantNumber;
use crate::report::page::Estimate;
use crate::report::reading::{CountsReading, chance_words, read};
use crate::report::wording::{interval_words, p_words, percent, points};
use crate::stats::{Count, Level};

/// Compare counts: rates, difference, ratio, p-value, chances and a verdict in words.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: letterlab compare --a 120/10000 --b 180/10000
As a file: arm,successes,trials in the first line, one arm per line, the control first.")]
pub(super) struct Compare {
    #[command(flatten)]
    arms: Arms,
    /// Read the arms from a CSV file with the columns arm, successes, trials; the control first
    #[arg(long, value_name = "FILE", conflicts_with_all = ["a", "b", "c", "d", "e", "f", "g", "h"])]
    csv: Option<PathBuf>,
    /// Chance of calling a difference that is none, two-sided
    #[arg(long, default_value_t = 0.05, value_parser = level)]
    level: f64,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

/// Up to eight arms, each as successes/recipients.
#[derive(Debug, clap::Args)]
struct Arms {
    /// The control, as successes/recipients: 120/10000
    #[arg(long, value_parser = count)]
    a: Option<Count>,
    /// The variant
    #[arg(long, value_parser = count)]
    b: Option<Count>,
    /// A third arm, and so on up to --h
    #[arg(long, value_parser = count)]
    c: Option<Count>,
    #[arg(long, value_parser = count, hide = true)]
    d: Option<Count>,
    #[arg(long, value_parser = count, hide = true)]
    e: Option<Count>,
    #[arg(long, value_parser = count, hide = true)]
    f: Option<Count>,
    #[arg(long, value_parser = count, hide = true)]
    g: Option<Count>,
    #[arg(long, value_parser = count, hide = true)]
    h: Option<Count>,
}

pub(super) fn level(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(level) if (0.0001..=0.2).contains(&level) => Ok(level),
        _ => Err("a level is between 0.0001 and 0.2; 0.05 is usual".to_owned()),
    }
}

fn count(text: &str) -> Result<Count, String> {
    let number = |text: &str| text.trim().replace([',', '_', ' '], "").parse::<u64>();
    let (successes, trials) = text.split_once('/').ok_or("write successes/recipients, for example 120/10000")?;
    match (number(successes), number(trials)) {
        (Ok(successes), Ok(trials)) => Count::new(successes, trials).map_err(|error| error.to_string()),
        _ => Err("both sides of the / are whole numbers, for example 120/10000".to_owned()),
    }
}

pub(super) fn run(command: &Compare) -> anyhow::Result<ExitCode> {
    let arms = match &command.csv {
        Some(file) => from_csv(file)?,
        None => from_options(&command.arms)?,
    };
    if !(2..=8).contains(&arms.len()) {
        bail!("a comparison needs 2 to 8 arms, this one has {}; write --a 120/10000 --b 180/10000, or use --csv", arms.len());
    }
    let counts: Vec<Count> = arms.iter().map(|(_, count)| *count).collect();
    let reading = read(&counts, Level::from_alpha(command.level)?);
    if command.json {
        println!("{}", serde_json::to_string_pretty(&reading)?);
    } else {
        let names: Vec<&str> = arms.iter().map(|(name, _)| name.as_str()).collect();
        print(&reading, &names);
    }
    Ok(ExitCode::SUCCESS)
}

/// The arms in order; one left out between others is a slip worth telling.
fn from_options(arms: &Arms) -> anyhow::Result<Vec<(String, Count)>> {
    let given = [arms.a, arms.b, arms.c, arms.d, arms.e, arms.f, arms.g, arms.h];
    let many = given.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    (0u8..)
        .zip(given.into_iter().take(many))
        .map(|(number, count)| {
            let letter = VariantNumber(number).to_string();
            let count = count.with_context(|| format!("--{} is missing; give the arms from --a on", letter.to_lowercase()))?;
            Ok((letter, count))
        })
        .collect()
}

fn from_csv(file: &Path) -> anyhow::Result<Vec<(String, Count)>> {
    let shown = file.display();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).with_context(|| format!("{shown} cannot be read"))?;
    let headers = reader.headers().with_context(|| format!("{shown} cannot be read as CSV"))?.clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|header| header.eq_ignore_ascii_case(name))
            .with_context(|| format!("{shown}, line 1: there is no column {name:?}; the columns are arm, successes, trials"))
    };
    let (arm, successes, trials) = (column("arm")?, column("successes")?, column("trials")?);
    let mut arms = Vec::new();
    for row in reader.records() {
        let row = row.with_context(|| format!("{shown} cannot be read as CSV"))?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let number = |name: &str, column: usize| {
            let text = cell(column);
            text.parse::<u64>().with_context(|| format!("{shown}, line {line}: {name} must be a whole number, not {text:?}"))
        };
        let count = Count::new(number("successes", successes)?, number("trials", trials)?)
            .with_context(|| format!("{shown}, line {line}: this count is impossible"))?;
        arms.push((cell(arm).to_owned(), count));
    }
    Ok(arms)
}

fn print(reading: &CountsReading, names: &[&str]) {
    println!("{}", reading.verdict.sentence);
    println!("{}", reading.verdict.detail);
    if !reading.chances.is_empty() {
        println!("{}", reading.chances);
    }
    println!("\n     {:>12} {:>12}  {:<28} {:>12} {:>14}  name", "successes", "of", "rate (interval)", "best", "expected loss");
    for (arm, name) in reading.arms.iter().zip(names) {
        let chance = arm.chance_to_be_best.map(chance_words).unwrap_or_default();
        let loss = arm.expected_loss.map(|loss| points(loss).trim_start_matches('+').to_owned()).unwrap_or_default();
        let name = if *name == arm.letter { "" } else { name };
        println!(
            "  {:<2} {:>12} {:>12}  {:<28} {chance:>12} {loss:>14}  {name}",
            arm.letter,
            arm.successes,
            arm.trials,
            rate_words(&arm.rate)
        );
    }
    println!();
    let many = reading.comparisons.len() > 1;
    for comparison in &reading.comparisons {
        println!("  {} − {}: {}", comparison.variant, comparison.control, interval_words(&comparison.difference));
        println!("    ratio {}", ratio_words(&comparison.ratio));
        if let (Some(p), Some(adjusted)) = (comparison.p_value, comparison.adjusted_p_value) {
            let adjusted = if many {
                format!("; adjusted for {} comparisons (Holm): {}", reading.comparisons.len(), p_words(adjusted))
            } else {
                String::new()
            };
            println!("    {} by the {}{adjusted}", p_words(p), comparison.method);
        }
    }
    if let Some(p) = reading.all_equal_p_value {
        println!("  All arms equal: {} (Pearson's chi-square)", p_words(p));
    }
    println!("\n  Intervals hold with {} confidence. {}.", percent(reading.confidence), reading.method);
}

fn rate_words(rate: &Estimate) -> String {
    match rate {
        Estimate::Interval { estimate, lower, upper } => format!("{} ({} – {})", percent(*estimate), percent(*lower), percent(*upper)),
        Estimate::NotEstimable { .. } => "cannot estimate".to_owned(),
    }
}

fn ratio_words(ratio: &Estimate) -> String {
    match ratio {
        Estimate::Interval { estimate, lower, upper } => format!("{estimate:.3}, between {lower:.3} and {upper:.3}"),
        Estimate::NotEstimable { not_estimable } => format!("cannot be estimated: {not_estimable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_slips_are_told() {
        assert_eq!(count("120/10,000"), Ok(Count::new(120, 10_000).unwrap()));
        for (text, words) in [("120", "successes/recipients"), ("12.5/100", "whole numbers"), ("120/100", "at most the number of trials")] {
            assert!(count(text).unwrap_err().contains(words), "{text}");
        }
        assert!(level("0.5").is_err() && level("x").is_err() && level("0.01") == Ok(0.01));
    }

    #[test]
    fn a_file_is_read_and_its_faults_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arms.csv");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            from_csv(&file)
        };
        assert_eq!(read("arm,successes,trials\nold,1,10\nnew, 2,10\n").unwrap().len(), 2);
        let faults = [
            ("arm,clicks,trials\nold,1,10\n", "line 1: there is no column \"successes\""),
            ("arm,successes,trials\nold,1,10\nnew,many,10\n", "line 3: successes must be a whole number"),
            ("arm,successes,trials\nold,11,10\n", "line 2: this count is impossible"),
        ];
        for (text, words) in faults {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
