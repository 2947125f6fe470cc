//! `letterlab relay …` and `letterlab letters-to`: what keeps letters from leaving, and what became of those to one person.

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::app::lab::Lab;
use crate::app::{people, relays};
use crate::vault::address::EmailAddress;

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

/// Show what became of every letter to one person, with every try.
#[derive(Debug, clap::Args)]
pub(super) struct LettersTo {
    /// Their e-mail address
    address: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Relay, lab: &Lab) -> anyhow::Result<ExitCode> {
    let (name, sender, json) = match command {
        Relay::List => {
            for relay in lab.sending.relays.all() {
                let domains = if relay.sender_domains.is_empty() { "all senders".to_owned() } else { relay.sender_domains.join(", ") };
                println!("{:<16} {}:{}  weight {}, {domains}", relay.name, relay.smtp.host, relay.smtp.port(), relay.weight);
            }
            return Ok(ExitCode::SUCCESS);
        }
        Relay::Test { name, sender, json } => (name.as_deref(), sender.as_deref(), *json),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tested = runtime.block_on(relays::test(lab, name, sender));
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

pub(super) fn letters_to(command: &LettersTo, lab: &Lab) -> anyhow::Result<ExitCode> {
    let address = EmailAddress::parse(&command.address)?;
    let letters = people::letters_to(lab, &address)?.context("nobody has this address")?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&letters)?);
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        println!("No letter was planned for this person yet.");
    }
    for letter in letters {
        let reason = letter.fate.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        println!("{}  {}{reason}", letter.campaign_name, letter.fate.state);
        for (at, verdict, tried) in letter.fate.attempts {
            let code = tried.code.map(|code| format!(" {code}")).unwrap_or_default();
            println!("  {at}  {verdict} by {} at {}{code} {} {}", tried.relay, tried.stage, tried.enhanced.unwrap_or_default(), tried.text);
        }
    }
    Ok(ExitCode::SUCCESS)
}
