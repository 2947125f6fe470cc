//! `letterlab user …`: accounts, passwords, API keys. Passwords come from standard input, never from the command line.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::app::clock;
use crate::app::lab::Lab;
use crate::ids::EventId;
use crate::vault::account::{Account, Role, hash_password, key_hash};
use crate::vault::store;

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
}

pub(super) fn run(command: &User, lab: &Lab) -> anyhow::Result<ExitCode> {
    match command {
        User::Create { login, administrator } => {
            let role = if *administrator { Role::Administrator } else { Role::Marketer };
            create(lab, login, role, &read_password()?)?;
            println!("Account {login} is created as {}.", role.as_str());
        }
        User::Password { login } => {
            let hash = hash_password(&read_password()?, clock::fresh())?;
            // Whoever changes a password wants everybody out who came in with the old one, programs too.
            let known = lab.vault.write(|conn| {
                store::api_keys_clear(conn, login)?;
                store::set_password(conn, login, &hash)
            })?;
            if !known {
                bail!("there is no account {login:?}");
            }
            println!("The password is set; sessions of {login} have ended and its API keys are withdrawn.");
        }
        User::ApiKey { login, label } => println!("{}", create_key(lab, login, label)?),
        User::RevokeApiKeys { login } => {
            let withdrawn = lab.vault.write(|conn| store::api_keys_clear(conn, login))?;
            println!("{withdrawn} keys of {login} are withdrawn.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates an account.
///
/// # Errors
/// When the login is taken, or the password too short.
pub(super) fn create(lab: &Lab, login: &str, role: Role, password: &str) -> anyhow::Result<()> {
    if login.trim().is_empty() || login.chars().count() > 200 {
        bail!("a login is 1 to 200 characters");
    }
    let hash = hash_password(password, clock::fresh())?;
    let account = Account { id: EventId::from_bytes(clock::fresh()).to_string(), login: login.trim().to_owned(), role };
    lab.vault
        .write(|conn| store::create_account(conn, &account, &hash, lab.clock.now()))
        .map_err(|error| if error.is_duplicate() { anyhow::anyhow!("there is an account {login:?} already") } else { error.into() })
}

fn create_key(lab: &Lab, login: &str, label: &str) -> anyhow::Result<String> {
    let key = data_encoding::HEXLOWER.encode(&clock::fresh_key());
    lab.vault.write(|conn| {
        let Some((account, _)) = store::account_by_login(conn, login)? else { bail!("there is no account {login:?}") };
        store::create_api_key(conn, &key_hash(&key), &account.id, label, lab.clock.now())?;
        Ok(key)
    })
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
