//! `letterlab signal …`: machines told from people.
//!
//! The tables of networks, judging stored hits again, and trials of the rules on labelled user agents and on made-up letters.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::app::campaigns;
use crate::app::config::Config;
use crate::app::lab::Lab;
use crate::app::networks::{self, Publisher};
use crate::app::signals;
use crate::report::wording::counted;
use crate::signal::scenario::{self, Outcome, SCENARIOS, Scenario};
use crate::signal::score::{Half, Score, class_of, misses, score_some};
use crate::signal::{Class, HitKind};
use crate::stats::{Count, Level, wilson};

/// Machines told from people.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Signal {
    /// Print how each label of a file of user agents is classified, and how long that takes
    Score {
        /// A tab-separated file: label, source, user agent
        file: PathBuf,
        /// Print the lines of one label that got another class; only of the half meant for looking at
        #[arg(long, value_name = "LABEL")]
        misses: Option<String>,
    },
    /// Play the nineteen scenarios of machines and people with known truth, and print what the rules make of them
    Scenarios {
        /// The same seed gives the same letters
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Letters per scenario
        #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        letters: u32,
        /// So many seeds after each other, added up; the worst of them is printed too
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        seeds: u32,
    },
    /// Judge stored hits again with the rules of this version, and print what changed
    Reclassify {
        /// One campaign by name or number; without it all of them
        #[arg(long)]
        campaign: Option<String>,
        /// Change nothing
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The tables that say whose networks are whose
    #[command(subcommand)]
    Networks(Networks),
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Networks {
    /// Fetch the publishers' lists and write the table new
    Refresh {
        /// Read the lists from files in this folder instead of fetching them
        #[arg(long, value_name = "FOLDER")]
        from: Option<PathBuf>,
    },
    /// Print how old the table is and what is in it
    Show,
    /// Print what an address is known as
    Lookup {
        /// An IPv4 or IPv6 address
        address: std::net::IpAddr,
    },
}

impl Signal {
    /// Whether the command works on stored hits.
    pub(super) const fn needs_data(&self) -> bool {
        matches!(self, Self::Reclassify { .. })
    }
}

pub(super) fn run(command: &Signal, settings: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    match command {
        Signal::Score { file, misses } => score_file(file, misses.as_deref()),
        Signal::Scenarios { seed, letters, seeds } => {
            play_scenarios(*seed, *letters, *seeds);
            Ok(ExitCode::SUCCESS)
        }
        Signal::Networks(command) => run_networks(command, &settings()?),
        Signal::Reclassify { .. } => anyhow::bail!("this command needs the databases"),
    }
}

pub(super) fn with_lab(command: &Signal, lab: &Lab) -> anyhow::Result<ExitCode> {
    let Signal::Reclassify { campaign, dry_run, json } = command else { anyhow::bail!("this command needs no databases") };
    let chosen = match campaign {
        Some(name) => vec![campaigns::find(lab, name)?],
        None => campaigns::all(lab)?,
    };
    for campaign in chosen {
        let report = signals::reclassify(lab, &campaign, *dry_run)?;
        if *json {
            println!("{}", serde_json::to_string(&report)?);
            continue;
        }
        let verb = if *dry_run { "would change" } else { "changed" };
        let changes = &report.changes;
        println!(
            "{}: {} letters, {} hits, {} {verb} under rules {}",
            report.campaign, report.letters, changes.hits, changes.changed, report.ruleset
        );
        for ((kind, before, after), hits) in changes.moves.iter().filter(|((_, before, after), _)| before != after) {
            println!("  {kind:<6} {before:<9} -> {after:<9} {hits:>9}");
        }
        for class in Class::ALL {
            let sum = |of: &dyn Fn(Class, Class) -> bool| -> u64 {
                changes.moves.iter().filter(|((_, before, after), _)| of(*before, *after)).map(|(_, hits)| hits).sum()
            };
            let (before, after) = (sum(&|before, _| before == class), sum(&|_, after| after == class));
            println!("  {:<16} {before:>9} -> {after:>9}", class.as_str());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn score_file(file: &Path, label: Option<&str>) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    if let Some(label) = label {
        let wanted = match label {
            "robot" => Class::Scanner,
            "mail_proxy" => Class::Proxied,
            "apple_prefetch" | "gmail_prefetch" => Class::Prefetch,
            _ => Class::Human,
        };
        for number in misses(&text, label, wanted, Half::Seen) {
            println!("{number}\t{}", text.lines().nth(number - 1).unwrap_or_default());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let whole = score_some(&text, None);
    print!("{whole}");
    println!("opens called scanner {:>18}{:>18}{:>18}", "all", "half seen", "half unseen");
    let (seen, unseen) = (score_some(&text, Some(Half::Seen)), score_some(&text, Some(Half::Unseen)));
    for label in whole.opens.keys() {
        let cell = |score: &Score| {
            score.opens.get(label).map_or_else(String::new, |row| {
                format!("{}/{} {:.2} %", row.count(Class::Scanner), row.total(), 100.0 * row.share(Class::Scanner))
            })
        };
        println!("{label:<20} {:>18}{:>18}{:>18}", cell(&whole), cell(&seen), cell(&unseen));
    }
    println!("\ntime per hit: {:.2} µs", micros_per_hit(&text));
    Ok(ExitCode::SUCCESS)
}

/// Every user agent as an open, several times over, the best round.
fn micros_per_hit(text: &str) -> f64 {
    let agents: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.splitn(3, '\t').nth(2)).collect();
    let rounds = (0..5).map(|_| {
        let began = Instant::now();
        for agent in &agents {
            std::hint::black_box(class_of(std::hint::black_box(agent), HitKind::Open));
        }
        began.elapsed().as_secs_f64() * 1e6 / agents.len().max(1) as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// What came out of one scenario: all seeds together, and the smallest shares of any of them.
struct Played {
    all: Outcome,
    worst_sensitivity: f64,
    worst_specificity: f64,
}

fn play_scenarios(seed: u64, letters: u32, seeds: u32) {
    println!(
        "{letters} letters each, {seeds} seeds from {seed}. Sensitivity: requests of machines not counted as a person's. Specificity: requests of people"
    );
    println!(
        "counted as such. With Wilson's 95 % intervals; \"worst\" is the smallest share of any seed. Clickers: recipients of whom a person"
    );
    println!("clicked, how many of them are counted, and how many are invented.\n");
    println!(
        "{:<42} {:>26} {:>6} {:>26} {:>6} {:>9} {:>9} {:>9}",
        "scenario", "sensitivity %", "worst", "specificity %", "worst", "clickers", "counted", "invented"
    );
    let began = Instant::now();
    let mut sum = Outcome::default();
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        let played = play_seeds(scenario, number as u64, letters, seed..seed.saturating_add(seeds.into()));
        print_outcome(scenario.name, &played.all, Some(&played));
        sum = sum.plus(played.all);
    }
    print_outcome("all of them", &sum, None);
    let micros = began.elapsed().as_secs_f64() * 1e6 / (sum.machine + sum.person).max(1) as f64;
    println!("\ntime per request, making it up and both passes: {micros:.2} µs");
}

fn play_seeds(scenario: &Scenario, number: u64, letters: u32, seeds: Range<u64>) -> Played {
    let mut played = Played { all: Outcome::default(), worst_sensitivity: 1.0, worst_specificity: 1.0 };
    for seed in seeds {
        // Every scenario has chances of its own.
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(number));
        let outcome = scenario::play(scenario, letters, &mut rng);
        played.worst_sensitivity = played.worst_sensitivity.min(share(outcome.caught, outcome.machine));
        played.worst_specificity = played.worst_specificity.min(share(outcome.kept, outcome.person));
        played.all = played.all.plus(outcome);
    }
    played
}

/// 1 where there is nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

fn print_outcome(name: &str, outcome: &Outcome, played: Option<&Played>) {
    let interval = |part: u64, whole: u64| match Count::new(part, whole).ok().and_then(|count| wilson(count, Level::USUAL).ok()) {
        Some(interval) if whole > 0 => {
            format!("{:6.2} [{:6.2}, {:6.2}]", 100.0 * share(part, whole), 100.0 * interval.lower, 100.0 * interval.upper)
        }
        _ => "-".to_owned(),
    };
    let worst =
        |whole: u64, worst: Option<f64>| worst.filter(|_| whole > 0).map_or_else(String::new, |worst| format!("{:.2}", 100.0 * worst));
    println!(
        "{name:<42} {:>26} {:>6} {:>26} {:>6} {:>9} {:>9} {:>9}",
        interval(outcome.caught, outcome.machine),
        worst(outcome.machine, played.map(|played| played.worst_sensitivity)),
        interval(outcome.kept, outcome.person),
        worst(outcome.person, played.map(|played| played.worst_specificity)),
        outcome.clickers,
        outcome.clickers_counted,
        outcome.clickers_invented
    );
}

fn run_networks(command: &Networks, config: &Config) -> anyhow::Result<ExitCode> {
    let path = Path::new(&config.files.networks);
    match command {
        Networks::Refresh { from } => {
            let say =
                |publisher: &Publisher, found: usize| println!("  {:<16} {found:>7} networks from {}", publisher.kind, publisher.source);
            let table = networks::refresh(config, from.as_deref(), &say)?;
            let networks = counted(table.networks, "network", "networks");
            println!("{networks} written to {}; a running service reads them when it starts again", table.path.display());
        }
        Networks::Show => match networks::describe(path, crate::app::clock::Clock::wall().now())? {
            Some(table) => {
                let (networks, days) = (counted(table.networks, "network", "networks"), counted(table.days, "day", "days"));
                println!("{}: {networks}, {days} old", path.display());
                for (kind, count) in &table.kinds {
                    println!("  {kind:<16} {count:>7}");
                }
            }
            None => println!("{}: there is no table yet; `letterlab signal networks refresh` makes it", path.display()),
        },
        Networks::Lookup { address } => {
            let table = networks::read(path)?;
            let kind = table.kind_of(*address);
            println!("{}: an open {:?}, a click {:?}", kind.as_str(), kind.meaning(HitKind::Open), kind.meaning(HitKind::Click));
        }
    }
    Ok(ExitCode::SUCCESS)
}
