//! `letterlab campaign check`, `preview` and `test-mail`: what is looked at before a campaign leaves.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::app::campaigns;
use crate::app::lab::Lab;
use crate::app::preflight::{self, Preflight, Wishes};
use crate::app::preview::{self, Messages, Reader, Seen};
use crate::app::test_mail as mail;
use crate::campaign::store::Campaign;
use crate::content::preflight::Level;
use crate::ids::VariantNumber;

/// What is to be checked.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A campaign file, or the name or number of a stored campaign
    #[arg(value_name = "FILE OR CAMPAIGN")]
    pub(super) campaign: String,
    /// Ask every link of the letters whether it answers
    #[arg(long)]
    links: bool,
    /// With --links: ask links on private addresses, too
    #[arg(long, requires = "links")]
    private_addresses: bool,
    /// Ask the DNS about the sender's domain
    #[arg(long)]
    domain: bool,
    /// Ask SpamAssassin, if it is installed
    #[arg(long)]
    spam: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is to be shown.
#[derive(Debug, clap::Args)]
pub(super) struct Preview {
    /// Name or number
    name: String,
    /// The variant's letter
    #[arg(long, default_value = "A")]
    variant: char,
    #[command(flatten)]
    reader: Whom,
    /// What to print: text, html, or the whole message
    #[arg(long, value_enum, default_value_t = Part::Text)]
    part: Part,
}

/// Where test mail goes.
#[derive(Debug, clap::Args)]
pub(super) struct TestMail {
    /// Name or number
    name: String,
    /// Your own address
    #[arg(long)]
    to: String,
    /// Only these variants, such as A B; otherwise all
    #[arg(long, num_args = 1.., value_name = "LETTER")]
    variants: Vec<char>,
    #[command(flatten)]
    reader: Whom,
}

/// Who reads.
#[derive(Debug, clap::Args)]
struct Whom {
    /// As this person of the vault would get it
    #[arg(long, value_name = "ADDRESS", conflicts_with = "set")]
    person: Option<String>,
    /// A merge field's value for somebody made up: first_name=Lan
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Text,
    Html,
    Message,
}

pub(super) fn check(lab: &Lab, command: &Check) -> anyhow::Result<ExitCode> {
    let campaign = campaigns::find(lab, &command.campaign)
        .with_context(|| format!("{:?} is neither a file nor a stored campaign", command.campaign))?;
    let wishes = Wishes { links: command.links, private_addresses: command.private_addresses, domain: command.domain, spam: command.spam };
    let list = preflight::check(lab, &campaign, wishes)?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        print(&list);
    }
    Ok(if list.level == Level::Stop { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The list, the worst first.
pub(super) fn print(list: &Preflight) {
    for item in &list.items {
        let variants = if item.variants.is_empty() { String::new() } else { format!(" ({})", item.variants) };
        println!("{:<5} {}{variants}: {}", item.level.as_str(), item.topic, item.found);
        if !item.advice.is_empty() {
            println!("      → {}", item.advice);
        }
        for detail in &item.details {
            println!("      - {detail}");
        }
    }
    for one in &list.not_asked {
        println!("      not looked at: {one}");
    }
}

fn reader(lab: &Lab, whom: &Whom) -> anyhow::Result<Reader> {
    if let Some(address) = &whom.person {
        return Ok(Reader::Person(preview::person(lab, address)?));
    }
    let mut values = BTreeMap::new();
    for pair in &whom.set {
        let Some((field, value)) = pair.split_once('=') else { bail!("{pair:?} is not FIELD=VALUE; write --set first_name=Lan") };
        values.insert(field.trim().to_owned(), value.to_owned());
    }
    Ok(Reader::MadeUp(values))
}

fn variant(letter: char) -> anyhow::Result<VariantNumber> {
    let letter = letter.to_ascii_uppercase();
    if !letter.is_ascii_uppercase() {
        bail!("{letter:?} is not a variant; write A, B …");
    }
    Ok(VariantNumber(u8::try_from(u32::from(letter) - u32::from('A'))?))
}

pub(super) fn preview(lab: &Lab, command: &Preview) -> anyhow::Result<ExitCode> {
    let campaign = campaigns::find(lab, &command.name)?;
    let (wanted, reader) = (variant(command.variant)?, reader(lab, &command.reader)?);
    let seen = preview::letters(lab, &campaign, &reader)?.into_iter().find(|seen| seen.variant == wanted);
    let seen = seen.with_context(|| format!("campaign {} has no variant {wanted}", campaign.definition.name))?;
    match command.part {
        Part::Message => print_message(lab, &campaign, wanted, &reader)?,
        part => print_letter(seen, part)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_letter(seen: Seen, part: Part) -> anyhow::Result<()> {
    let letter = seen.letter.map_err(|why| anyhow::anyhow!("this reader would get no letter: {why}"))?;
    if part == Part::Html {
        print!("{}", letter.html);
    } else {
        println!("From:      {}\nSubject:   {}\nPreheader: {}\n\n{}", letter.sender_name, letter.subject, letter.preheader, letter.text);
    }
    Ok(())
}

fn print_message(lab: &Lab, campaign: &Campaign, variant: VariantNumber, reader: &Reader) -> anyhow::Result<()> {
    let message = Messages::of(lab, campaign)?.for_reader(lab, variant, "reader@example.org", reader)?;
    print!("{}", String::from_utf8_lossy(&message));
    Ok(())
}

pub(super) fn test_mail(lab: &Lab, command: &TestMail) -> anyhow::Result<ExitCode> {
    let campaign = campaigns::find(lab, &command.name)?;
    let variants = command.variants.iter().map(|letter| variant(*letter)).collect::<anyhow::Result<Vec<_>>>()?;
    let sent = mail::send(lab, &campaign, &command.to, &variants, &reader(lab, &command.reader)?)?;
    for one in &sent {
        if one.accepted {
            println!("{}: taken by the relay", one.variant);
        } else {
            println!("{}: {}", one.variant, one.why);
        }
    }
    Ok(if sent.iter().all(|one| one.accepted) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
