//! `letterlab results NAME` and `letterlab share NAME`.

use std::process::ExitCode;

use crate::app::campaigns;
use crate::app::lab::Lab;
use crate::report::export;
use crate::report::script::{Language, script};

/// Show a campaign's result.
#[derive(Debug, clap::Args)]
pub(super) struct Results {
    /// Name or number
    name: String,
    /// The whole result as JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// One line per variant as CSV
    #[arg(long)]
    csv: bool,
    /// A script that computes the page's numbers again from the counts: r or python
    #[arg(long, value_name = "LANGUAGE", value_parser = language, conflicts_with_all = ["json", "csv"])]
    script: Option<Language>,
}

fn language(word: &str) -> Result<Language, String> {
    Language::ALL.into_iter().find(|language| language.as_str() == word).ok_or_else(|| "write r or python".to_owned())
}

/// Make a link for a reviewer.
#[derive(Debug, clap::Args)]
pub(super) struct Share {
    /// Name or number
    name: String,
    /// Days until the link ends, 1 to 3650
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

pub(super) fn run(command: &Results, lab: &Lab) -> anyhow::Result<ExitCode> {
    let page = campaigns::results(lab, &campaigns::find(lab, &command.name)?)?;
    if let Some(language) = command.script {
        print!("{}", script(&page, language));
    } else if command.json {
        println!("{}", serde_json::to_string_pretty(&page)?);
    } else if command.csv {
        print!("{}", export::csv(&page)?);
    } else {
        print!("{}", export::table(&page));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn share(command: &Share, lab: &Lab) -> anyhow::Result<ExitCode> {
    println!("{}", campaigns::share(lab, &campaigns::find(lab, &command.name)?, command.days));
    Ok(ExitCode::SUCCESS)
}
