//! `letterlab bounce < message.eml`: for pipes of mail servers (Postfix, Exim, maildrop …).

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::app::clock;
use crate::app::lab::Lab;
use crate::bounce::apply::apply;

/// Largest message read; a larger one is refused.
const MESSAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Take in one returned message from standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Bounce {
    /// The address it was delivered to, if the mail server tells: the surest place of the token
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Bounce, lab: &Lab) -> anyhow::Result<ExitCode> {
    let mut message = Vec::new();
    std::io::stdin()
        .lock()
        .take(MESSAGE_BYTES_MAX + 1)
        .read_to_end(&mut message)
        .context("the message cannot be read from standard input")?;
    if message.len() as u64 > MESSAGE_BYTES_MAX {
        bail!("the message is larger than {MESSAGE_BYTES_MAX} bytes");
    }
    let applied = apply(&lab.vault, &lab.keys, &message, &command.recipient, lab.clock.now(), clock::fresh)?;
    crate::bridge::relay::relay(&lab.vault, &lab.ledger)?;
    if command.json {
        println!("{}", serde_json::to_string(&applied)?)
    } else {
        println!("{applied}")
    }
    // A message nobody understood is told apart, so that the mail server's pipe may keep it.
    Ok(if applied.wants_eyes() { ExitCode::from(3) } else { ExitCode::SUCCESS })
}
