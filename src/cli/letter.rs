//! `letterlab letter …`: a look into one letter before it is part of a campaign.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::app::letters;
use crate::content::BodyFormat;

/// Look into one letter: its parts, tags of other systems.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Letter {
    /// List everything that may vary, with the address a campaign calls it by
    Parts {
        /// A .mjml, .html or .md file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Rewrite merge tags of Mailchimp, Liquid and listmonk; tells what was rewritten and what could not be
    Rewrite {
        /// The letter
        file: PathBuf,
        /// Where to write the result; without it, to standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(super) fn run(command: &Letter) -> anyhow::Result<ExitCode> {
    match command {
        Letter::Parts { file, json } => list_parts(file, *json),
        Letter::Rewrite { file, out } => rewrite(file, out.as_deref()),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn list_parts(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("mjml") => BodyFormat::Mjml,
        Some("html" | "htm") => BodyFormat::Html,
        Some("md" | "txt") => BodyFormat::Markdown,
        _ => bail!("{} is neither .mjml, .html nor .md", file.display()),
    };
    let found = letters::parts(format, &read(file)?).with_context(|| file.display().to_string())?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(ExitCode::SUCCESS);
    }
    for part in found.parts {
        let facets: Vec<&str> = part.facets.iter().map(|(facet, _)| facet.as_str()).collect();
        println!("{}\n    <{}> {}\n    {}", part.address, part.tag, facets.join(", "), part.words);
    }
    for rule in found.rules {
        println!("{rule}\n    rule");
    }
    Ok(ExitCode::SUCCESS)
}

/// The account goes to standard error, so that the letter alone is on standard output. Tags left make the command fail.
fn rewrite(file: &Path, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let rewriting = letters::rewrite(&read(file)?);
    for one in &rewriting.rewritten {
        let to = if one.to.is_empty() { "taken away" } else { &one.to };
        eprintln!("{}:{}: {} → {to}", file.display(), one.line, one.from);
    }
    for one in &rewriting.left {
        eprintln!("{}:{}: left as it is: {}: {}", file.display(), one.line, one.tag, one.why);
    }
    match out {
        Some(out) => std::fs::write(out, &rewriting.text).with_context(|| format!("{} cannot be written", out.display()))?,
        None => print!("{}", rewriting.text),
    }
    Ok(if rewriting.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
