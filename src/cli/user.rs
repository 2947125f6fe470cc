//! `letterlab user …`: accounts, passwords, API keys. Passwords come from standard input, never from the command line.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;

use crate::app::accounts;
use crate::app::lab::Lab;
use crate::report::wording::{counted, moment};
use crate::vault::account::Role;

/// Create accounts, set passwords, give out API keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum User {
    /// Create an account; the password is read from standard input
    Create {
        /// The name typed at login
        login: String,
        /// May also create accounts and see everything
        #[arg(long)]
        administrator: bool,
    },
    /// Every account, and what its API keys are for
    List,
    /// Set another password, read from standard input; sessions end and API keys are withdrawn
    Password {
        /// The name typed at login
        login: String,
    },
    /// Make a key for the HTTP API; it is shown once
    ApiKey {
        /// The name typed at login
        login: String,
        /// What it is for
        #[arg(long, default_value = "command line")]
        label: String,
    },
    /// Withdraw every API key of an account
    RevokeApiKeys {
        /// The name typed at login
        login: String,
    },
    /// Remove an account with its sessions and API keys; the last administrator stays
    Remove {
        /// The name typed at login
        login: String,
    },
}

impl User {
    /// Whether it makes nothing: all but creating an account, which may come first of all.
    pub(super) const fn reads(&self) -> bool {
        !matches!(self, Self::Create { .. })
    }
}

pub(super) fn run(command: &User, lab: &Lab) -> anyhow::Result<ExitCode> {
    match command {
        User::Create { login, administrator } => {
            let role = if *administrator { Role::Administrator } else { Role::Marketer };
            accounts::create(lab, login, role, &read_password()?)?;
            println!("Account {login} is created as {}.", role.as_str());
        }
        User::List => {
            let all = accounts::all(lab)?;
            if all.is_empty() {
                println!("There is no account yet; `letterlab user create LOGIN` makes one.");
            }
            for listed in all {
                println!("{}, {}, since {}", listed.account.login, listed.account.role.as_str(), moment(listed.created_at));
                for (label, at) in listed.api_keys {
                    println!("    API key for {label}, since {}", moment(at));
                }
            }
        }
        User::Password { login } => {
            accounts::set_password(lab, login, &read_password()?)?;
            println!("The password is set; sessions of {login} have ended and its API keys are withdrawn.");
        }
        User::ApiKey { login, label } => println!("{}", accounts::make_api_key(lab, login, label)?),
        User::RevokeApiKeys { login } => {
            let withdrawn = accounts::withdraw_api_keys(lab, login)?;
            println!("{} withdrawn from {login}.", counted(withdrawn, "key", "keys"));
        }
        User::Remove { login } => {
            accounts::remove(lab, login)?;
            println!("Account {login} is removed; its sessions have ended and its API keys are withdrawn.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> anyhow::Result<String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("Password (it is shown as you type; pipe it in to avoid that):");
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).context("the password cannot be read from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
