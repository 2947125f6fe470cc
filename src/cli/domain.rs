//! `letterlab domain …`: keys that sign letters, and whether the DNS says what it should.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use crate::app::clock::{self, Clock};
use crate::app::config::Config;
use crate::app::domain::keys::{make, settings, usual_selector};
use crate::app::domain::{Level, Report, Request, check};
use crate::app::keyfile::dkim_keys;

/// Make keys that sign letters, and check what the DNS says about a sender.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Domain {
    /// Make DKIM keys for a domain and print what to publish
    Keys {
        /// The domain of senders' addresses
        domain: String,
        /// Name of the key in the DNS; the Ed25519 key gets an "e" at its end. To rotate, make keys under another name [default: llYYYYMM]
        #[arg(long)]
        selector: Option<String>,
    },
    /// Look SPF, DKIM, DMARC, PTR and MX up and say what to change
    Check {
        /// The domain of senders' addresses
        domain: String,
        /// DNS server to ask instead of the system's
        #[arg(long, value_name = "ADDRESS:PORT")]
        resolver: Option<SocketAddr>,
        /// An address letters reach the world from; may be given several times [default: domain.sends_from, then the relay's]
        #[arg(long = "ip", value_name = "ADDRESS")]
        sends_from: Vec<IpAddr>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Domain, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Domain::Keys { domain, selector } => make_keys(config, domain, selector.as_deref()),
        Domain::Check { domain, resolver, sends_from, json } => {
            let request = Request { domain: domain.clone(), resolver: *resolver, sends_from: sends_from.clone() };
            let report = check(config, &dkim_keys(&config.domain.dkim)?, &request)?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print(&report);
            }
            Ok(if report.level == Level::Stop { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

fn make_keys(config: &Config, domain: &str, selector: Option<&str>) -> anyhow::Result<ExitCode> {
    let usual = usual_selector(Clock::wall().now());
    let made = make(&config.domain.key_folder, domain, selector.unwrap_or(&usual), clock::fresh_key)?;
    println!("Private keys, readable by you only; back them up:\n");
    for key in &made {
        println!("  {}", key.entry.file.display());
    }
    println!("\n1. Publish these records:\n");
    for key in &made {
        println!("{}\n", key.record.zone_line());
    }
    println!("2. Put this into letterlab.toml, below older keys of the domain, which go on signing:\n");
    println!("{}", settings(&made));
    println!(
        "3. When `letterlab domain check {domain}` finds the records, move the new keys above the older ones and restart `letterlab serve`."
    );
    println!("   Remove the older keys at the next occasion, and their records a week later.");
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report) {
    println!("{}, return paths at {}: {}\n", report.domain, report.return_domain, report.level.as_str());
    for finding in &report.findings {
        println!("{:<5} {:<6} {}", finding.level.as_str(), finding.subject, finding.name);
        println!("             {}", finding.found);
        if !finding.advice.is_empty() {
            println!("             → {}", finding.advice);
        }
        if let Some(record) = &finding.record {
            println!("             {}", record.zone_line());
        }
    }
}
