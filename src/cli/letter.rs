//! `letterlab letters parts` and `rewrite`: a look into one letter before it is part of a campaign.
//!
//! Cast: [`Parts`], [`Rewrite`], and what they do; [`read`] (a letter's file, refused unread when it is too large).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::app::letters;
use crate::content::{Body, BodyFormat, ContentError, Part};

/// List everything in a letter that may vary.
#[derive(Debug, clap::Args)]
pub(super) struct Parts {
    /// A .mjml, .html or .md file
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Rewrite merge tags of other systems.
#[derive(Debug, clap::Args)]
pub(super) struct Rewrite {
    /// The letter
    file: PathBuf,
    /// Where to write the result; without it, to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A letter's text. What is larger than any letter may be is refused by its size, not read first.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("{} cannot be read", file.display());
    let opened = File::open(file).with_context(unreadable)?;
    let size = opened.metadata().with_context(unreadable)?.len();
    let most = Body::MOST_BYTES as u64;
    let mut text = String::new();
    if size <= most {
        // A pipe says nothing of its size, and a file may grow: one byte too many is read, and refused by whoever compiles it.
        opened.take(most + 1).read_to_string(&mut text).with_context(unreadable)?;
        return Ok(text);
    }
    let bytes = usize::try_from(size).unwrap_or(usize::MAX);
    Err(ContentError::TooLarge { part: Part::Body, bytes, most: Body::MOST_BYTES }).with_context(unreadable)
}

pub(super) fn parts(command: &Parts) -> anyhow::Result<ExitCode> {
    let file = &command.file;
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("mjml") => BodyFormat::Mjml,
        Some("html" | "htm") => BodyFormat::Html,
        Some("md" | "txt") => BodyFormat::Markdown,
        _ => bail!("{} is neither .mjml, .html nor .md", file.display()),
    };
    let found = letters::parts(format, &read(file)?).with_context(|| file.display().to_string())?;
    if command.json {
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
pub(super) fn rewrite(command: &Rewrite) -> anyhow::Result<ExitCode> {
    let file = &command.file;
    let rewriting = letters::rewrite(&read(file)?);
    for one in &rewriting.rewritten {
        let to = if one.to.is_empty() { "taken away" } else { &one.to };
        eprintln!("{}:{}: {} → {to}", file.display(), one.line, one.from);
    }
    for one in &rewriting.left {
        eprintln!("{}:{}: left as it is: {}: {}", file.display(), one.line, one.tag, one.why);
    }
    match &command.out {
        Some(out) => std::fs::write(out, &rewriting.text).with_context(|| format!("{} cannot be written", out.display()))?,
        None => print!("{}", rewriting.text),
    }
    Ok(if rewriting.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
