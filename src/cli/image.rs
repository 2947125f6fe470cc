//! `letterlab image …`: pictures for letters.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::app::images;
use crate::app::lab::Lab;

/// Upload pictures for letters and list them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Image {
    /// Upload pictures (PNG, JPEG, GIF, WebP) and print their addresses, to be written into a letter
    Add {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List all pictures, the newest first
    List,
}

impl Image {
    /// Whether it changes nothing.
    pub(super) const fn reads(&self) -> bool {
        matches!(self, Self::List)
    }
}

pub(super) fn run(command: &Image, lab: &Lab) -> anyhow::Result<ExitCode> {
    match command {
        Image::Add { files } => {
            for file in files {
                let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
                let stored = images::upload(lab, &bytes).with_context(|| format!("{} was not taken", file.display()))?;
                println!("{}", stored.url);
            }
        }
        Image::List => {
            let all = images::all(lab)?;
            if all.is_empty() {
                println!("No picture is uploaded yet; `letterlab image add FILE` takes one.");
            }
            for image in all {
                println!("{}  {:>7} kB  {}", image.uploaded_at, image.bytes.div_ceil(1024), image.url);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
