//! `letterlab relay …`: what keeps letters from leaving.

use std::process::ExitCode;

use anyhow::bail;

use crate::app::config::Config;
use crate::app::relays;
use crate::delivery::relays::Relays;

/// Relays letters are handed to.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Relay {
    /// Try a relay out and say precisely what is wrong: name, connection, encryption, sign-in, sender. No letter is sent
    Test {
        /// Its name in the settings; without one all of them
        name: Option<String>,
        /// Ask whether letters from this address are taken, too
        #[arg(long, value_name = "ADDRESS")]
        sender: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the relays of the settings
    List,
}

pub(super) fn run(command: &Relay, config: &Config) -> anyhow::Result<ExitCode> {
    let relays = Relays::new(config.all_relays());
    let (name, sender, json) = match command {
        Relay::List => {
            for relay in relays.all() {
                let domains = if relay.sender_domains.is_empty() { "all senders".to_owned() } else { relay.sender_domains.join(", ") };
                println!("{:<16} {}:{}  weight {}, {domains}", relay.name, relay.smtp.host, relay.smtp.port(), relay.weight);
            }
            return Ok(ExitCode::SUCCESS);
        }
        Relay::Test { name, sender, json } => (name.as_deref(), sender.as_deref(), *json),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tested = runtime.block_on(relays::test(relays.all(), name, sender));
    if tested.is_empty() {
        bail!("no relay is named {}; `letterlab relay list` shows them", name.unwrap_or_default());
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&tested)?);
    }
    for relay in tested.iter().filter(|_| !json) {
        println!("{}", relay.relay);
        for step in &relay.steps {
            let colon = if step.detail.is_empty() { "" } else { ": " };
            println!("  {:<6} {}{colon}{}", if step.good { "good" } else { "WRONG" }, step.what, step.detail);
        }
    }
    Ok(if tested.iter().all(|relay| relay.good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
