//! `letterlab simulate`: the promises of the statistics tried out, as a table.

use std::process::ExitCode;

use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;

use crate::experiment::simulate::{Bound, Effort, Promise, Row, try_out};

/// Try the promises of the statistics out by simulation and exact calculation.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Draws per drawn figure
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    runs: u64,
    /// The same seed gives the same table
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only one family: type-one, anytime, coverage, false-winner, power, sample-ratio
    #[arg(long, value_name = "NAME", value_parser = promise)]
    only: Option<Promise>,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

fn promise(word: &str) -> Result<Promise, String> {
    let names: Vec<&str> = Promise::ALL.into_iter().map(Promise::as_str).collect();
    Promise::ALL.into_iter().find(|promise| promise.as_str() == word).ok_or_else(|| format!("there are: {}", names.join(", ")))
}

pub(super) fn run(command: &Simulate) -> anyhow::Result<ExitCode> {
    let effort = Effort::full(command.runs);
    let mut all = Vec::new();
    if !command.json {
        println!(
            "{} draws per drawn figure, seed {}; [bounds] are Clopper–Pearson at 99.9 %, = is every outcome added up\n",
            command.runs, command.seed
        );
        println!("{:<66} {:<40} {:>9} {:<20} {:<10}", "promise", "where", "figure", "", "promised");
    }
    for promise in Promise::ALL.into_iter().filter(|promise| command.only.is_none_or(|only| only == *promise)) {
        // Each family has a generator of its own, so that --only gives the same rows as the whole table.
        let mut rng = ChaCha12Rng::seed_from_u64(command.seed);
        let rows = try_out(promise, effort, &mut rng)?;
        if !command.json {
            rows.iter().for_each(print);
        }
        all.extend(rows);
    }
    let broken = all.iter().filter(|row| !row.holds).count();
    if command.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        println!("\n{} of {} promises hold.", all.len() - broken, all.len());
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(row: &Row) {
    let bounds = row.bounds.map_or_else(|| "=".to_owned(), |(lower, upper)| format!("[{} – {}]", share(lower), share(upper)));
    let promised = match row.promised {
        Bound::AtMost(most) => format!("≤ {}", share(most)),
        Bound::AtLeast(least) => format!("≥ {}", share(least)),
    };
    let word = if row.holds { "pass" } else { "FAIL" };
    println!("{:<66} {:<40} {:>9} {bounds:<20} {promised:<10} {word}", row.name, row.where_, share(row.figure));
}

fn share(value: f64) -> String {
    format!("{:.3} %", value * 100.0)
}
