//! `letterlab letters-to` and `letterlab person …`: how one person stands, no more letters to them, and forgetting them.

use std::process::ExitCode;

use anyhow::Context;

use crate::app::lab::Lab;
use crate::app::people;
use crate::vault::address::EmailAddress;

/// Show whether somebody may be mailed, and what became of every letter to them, with every try.
#[derive(Debug, clap::Args)]
pub(super) struct LettersTo {
    /// Their e-mail address
    address: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Stop mailing one person, or erase them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Person {
    /// Send no more letters to this person, whatever is imported later
    Suppress {
        /// Their e-mail address
        address: String,
    },
    /// Take that back; an unsubscription, a complaint or a bounce stays
    Unsuppress {
        /// Their e-mail address
        address: String,
    },
    /// Erase everything that says who this person is, and every open and click of theirs. Cannot be undone
    Erase {
        /// Their e-mail address
        address: String,
    },
}

pub(super) fn run(command: &Person, lab: &Lab) -> anyhow::Result<ExitCode> {
    match command {
        Person::Suppress { address } => match people::suppress(lab, &EmailAddress::parse(address)?)? {
            true => println!("No more letters go to this person."),
            false => println!("No more letters went to this person already."),
        },
        Person::Unsuppress { address } => match people::unsuppress(lab, &EmailAddress::parse(address)?)? {
            true => println!("This person may be mailed again."),
            false => println!("This person was not suppressed."),
        },
        Person::Erase { address } => {
            people::erase(lab, &EmailAddress::parse(address)?)?;
            println!("This person is erased. Importing the address again makes a new person, and backups still hold the old one.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn letters_to(command: &LettersTo, lab: &Lab) -> anyhow::Result<ExitCode> {
    let address = EmailAddress::parse(&command.address)?;
    let standing = people::letters_to(lab, &address)?.context("nobody has this address")?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&standing)?);
        return Ok(ExitCode::SUCCESS);
    }
    match standing.suppressed {
        None => println!("May be mailed; recording: {}.", standing.recording),
        Some(reason) => println!("May not be mailed any more: {}; recording: {}.", reason.as_str(), standing.recording),
    }
    if standing.letters.is_empty() {
        println!("No letter was planned for this person yet.");
    }
    for letter in standing.letters {
        let reason = letter.fate.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        println!("{}  {}{reason}", letter.campaign_name, letter.fate.state);
        for (at, verdict, tried) in letter.fate.attempts {
            let code = tried.code.map(|code| format!(" {code}")).unwrap_or_default();
            println!("  {at}  {verdict} by {} at {}{code} {} {}", tried.relay, tried.stage, tried.enhanced.unwrap_or_default(), tried.text);
        }
    }
    Ok(ExitCode::SUCCESS)
}
