//! `letterlab letters …`: what becomes of letters, and in what they differ. Needs no database.
//!
//! Cast: [`Letters`], [`run`]. It reads files and prints; judgement is [`crate::content`]'s. One letter is looked into by `letter`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;

use crate::app::letters::{self, Compared, letter_name};
use crate::cli::letter;
use crate::content::difference::{Comparison, Expected, Letter, MOST_LETTERS, Outcome, Place, Stretch, Trial, compare, trials};
use crate::content::{Body, BodyFormat, CompiledLetter, ContentError, LetterUrls, Newsletter, Tracking, report};
use crate::report::wording::counted;

/// Columns of a side in a comparison.
const SIDE: usize = 56;

/// Look into letters before they are part of a campaign: parts, foreign tags, differences, trials.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Letters {
    /// List everything in a letter that may vary, with the address a campaign calls it by
    Parts(letter::Parts),
    /// Rewrite merge tags of Mailchimp, Liquid and listmonk; tells what was rewritten and what could not be
    Rewrite(letter::Rewrite),
    /// Say in what letters differ: in nothing, in one element, or in several, side by side
    Compare(Compare),
    /// Compile every letter of a folder, and try the comparison on generated edits of each: one element changed, two, or only the spelling
    Check(Check),
}

/// Compile every letter of a folder and try the comparison on it.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A folder with .mjml, .html and .md files
    folder: PathBuf,
    /// Write each letter as a recipient would get it into this folder, to look at in a browser
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Rounds of generated edits per letter; each takes other places
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    rounds: u32,
    /// Decides which places the edits take
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Say in what letters differ.
#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    /// Two to eight letters, the control first: .mjml, .html or .md
    #[arg(required = true, num_args = 2..=MOST_LETTERS)]
    files: Vec<PathBuf>,
    /// The subject lines in the order of the letters, once per letter
    #[arg(long = "subject", value_name = "TEXT")]
    subjects: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Letters) -> anyhow::Result<ExitCode> {
    match command {
        Letters::Parts(command) => letter::parts(command),
        Letters::Rewrite(command) => letter::rewrite(command),
        Letters::Check(check) => check_folder(check),
        Letters::Compare(command) => compare_files(command),
    }
}

fn format_of(file: &Path) -> Option<BodyFormat> {
    match file.extension()?.to_str()? {
        "mjml" => Some(BodyFormat::Mjml),
        "html" | "htm" => Some(BodyFormat::Html),
        "md" => Some(BodyFormat::Markdown),
        _ => None,
    }
}

fn newsletter(source: String, format: BodyFormat, subject: &str) -> Newsletter {
    Newsletter {
        subject: subject.to_owned(),
        preheader: "What is in it".to_owned(),
        sender_name: "Letterlab".to_owned(),
        body: Body { format, source },
    }
}

/// What became of a letter's trials.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    one: (u32, u32),
    two: (u32, u32),
    noise: (u32, u32),
}

impl Tally {
    fn count(&mut self, expected: Expected, right: bool) {
        let (good, all) = match expected {
            Expected::One(_) | Expected::OneLine => &mut self.one,
            Expected::Several => &mut self.two,
            Expected::Same => &mut self.noise,
        };
        *good += u32::from(right);
        *all += 1;
    }

    fn add(&mut self, other: Self) {
        for (mine, theirs) in [(&mut self.one, other.one), (&mut self.two, other.two), (&mut self.noise, other.noise)] {
            mine.0 += theirs.0;
            mine.1 += theirs.1;
        }
    }

    fn sum(self) -> (u32, u32) {
        (self.one.0 + self.two.0 + self.noise.0, self.one.1 + self.two.1 + self.noise.1)
    }
}

fn check_folder(command: &Check) -> anyhow::Result<ExitCode> {
    let mut files: Vec<(PathBuf, BodyFormat)> = std::fs::read_dir(&command.folder)
        .with_context(|| format!("{} cannot be read", command.folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter_map(|file| format_of(&file).map(|format| (file, format)))
        .collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    if files.is_empty() {
        bail!("{} holds no .mjml, .html or .md file", command.folder.display());
    }
    let (mut good, mut letters, mut sum) = (true, 0, Tally::default());
    println!(
        "{:<44} {:>6} {:>5} {:>7} {:>8} {:>10} {:>10} {:>10}",
        "letter", "parsed", "links", "bytes", "warnings", "one", "two", "noise"
    );
    for (file, format) in files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        letters += 1;
        let source = match letter::read(&file) {
            Ok(source) => source,
            // The others are looked at all the same.
            Err(error) => {
                println!("{name:<44} {:>6}\n    {error:#}", "no");
                good = false;
                continue;
            }
        };
        let found = report(&name, &source, format);
        let (tally, faults) = try_out(&newsletter(source.clone(), format, "A letter"), command);
        println!(
            "{name:<44} {:>6} {:>5} {:>7} {:>8} {:>10} {:>10} {:>10}",
            if found.parsed { "yes" } else { "no" },
            found.links,
            found.size,
            found.warnings.len(),
            share(tally.one),
            share(tally.two),
            share(tally.noise)
        );
        for fault in found.error.iter().chain(&faults) {
            println!("    {fault}");
        }
        good &= found.parsed && faults.is_empty();
        sum.add(tally);
        if let (Some(out), true) = (&command.out, found.parsed) {
            let html = as_received(&source, format).with_context(|| format!("{name} does not render"))?;
            let path = out.join(format!("{name}.html"));
            std::fs::write(&path, html).with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    let (right, all) = sum.sum();
    println!(
        "{}; {right} of {all} generated pairs judged rightly: one element {}, two elements {}, spelling only {} (seed {})",
        counted(letters, "letter", "letters"),
        share(sum.one),
        share(sum.two),
        share(sum.noise),
        command.seed
    );
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn share((good, all): (u32, u32)) -> String {
    format!("{good}/{all}")
}

/// Compares a letter with its generated edits; answers the counts and what was judged wrongly.
fn try_out(newsletter: &Newsletter, command: &Check) -> (Tally, Vec<String>) {
    let mut rng = ChaCha12Rng::seed_from_u64(command.seed);
    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    for round in 1..=command.rounds {
        let made = match trials(newsletter, &mut rng) {
            Ok(made) => made,
            Err(error) => return (tally, vec![format!("no edits can be tried: {error}")]),
        };
        for trial in made {
            let reply_to = trial.reply_to.as_deref();
            let compared = compare(&[Letter::from(newsletter), Letter { newsletter: &trial.newsletter, reply_to }]);
            let right = compared.as_ref().is_ok_and(|compared| is_right(trial.expected, &compared.outcome));
            tally.count(trial.expected, right);
            if !right {
                faults.push(fault(round, &trial, compared));
            }
        }
    }
    (tally, faults)
}

fn is_right(expected: Expected, outcome: &Outcome) -> bool {
    match (expected, outcome) {
        (Expected::Same, Outcome::Same) | (Expected::Several, Outcome::Several(_)) => true,
        (Expected::One(facet), Outcome::One(element)) => matches!(element.place, Place::Body(_)) && element.facet == facet,
        (Expected::OneLine, Outcome::One(element)) => !matches!(element.place, Place::Body(_) | Place::Format),
        _ => false,
    }
}

fn fault(round: u32, trial: &Trial, compared: Result<Comparison, ContentError>) -> String {
    let found = match compared.map(|compared| compared.outcome) {
        Err(error) => error.to_string(),
        Ok(Outcome::Same) => "no difference".to_owned(),
        Ok(Outcome::One(element)) => format!("one element: {element}"),
        Ok(Outcome::Several(all)) => {
            let words: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("{} elements: {}", words.len(), words.join("; "))
        }
    };
    format!("round {round}, {}: {found}", trial.name)
}

/// A letter with tracked links and a pixel; merge fields show their names.
fn as_received(source: &str, format: BodyFormat) -> anyhow::Result<String> {
    let letter = CompiledLetter::compile(&Newsletter { preheader: String::new(), ..newsletter(source.to_owned(), format, "A letter") })?;
    let values = letter.required_fields().into_iter().map(|name| (name.clone(), format!("[{name}]"))).collect();
    let base = "https://news.example";
    let tracking = Tracking::On {
        pixel: format!("{base}/o/pixel.gif"),
        links: letter.links().iter().map(|link| format!("{base}/c/link-{}", link.number)).collect(),
    };
    Ok(letter.render(&values, &LetterUrls { tracking, unsubscribe: format!("{base}/u/recipient") })?.html)
}

fn compare_files(command: &Compare) -> anyhow::Result<ExitCode> {
    if !command.subjects.is_empty() && command.subjects.len() != command.files.len() {
        bail!(
            "there are {} letters and {} subjects; give --subject once per letter, or not at all",
            command.files.len(),
            command.subjects.len()
        );
    }
    let mut letters = Vec::new();
    for (place, file) in command.files.iter().enumerate() {
        let format = format_of(file).with_context(|| format!("{} is not .mjml, .html or .md", file.display()))?;
        let subject = command.subjects.get(place).map_or("A letter", String::as_str);
        letters.push((newsletter(letter::read(file)?, format, subject), None));
    }
    let compared = letters::compare(&letters, &[]).map_err(|why| anyhow!(why))?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&compared)?);
    } else {
        show(&compared);
    }
    Ok(if compared.is_test { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(compared: &Compared) {
    println!("{}", compared.sentence);
    for twins in &compared.same_letters {
        println!("{twins}");
    }
    for difference in &compared.differences {
        println!("\n  {}: {}", letter_name(difference.letter), difference.place);
        side_by_side(&difference.control, &difference.variant);
    }
}

/// Two texts beside each other; the parts in which they differ stand in brackets.
fn side_by_side(control: &[Stretch], variant: &[Stretch]) {
    let (left, right) = (wrapped(control), wrapped(variant));
    for line in 0..left.len().max(right.len()) {
        let side = |lines: &[String]| lines.get(line).cloned().unwrap_or_default();
        println!("    {:<SIDE$} | {}", side(&left), side(&right));
    }
}

fn wrapped(stretches: &[Stretch]) -> Vec<String> {
    let bracketed = |stretch: &Stretch| if stretch.differs { format!("[{}]", stretch.text) } else { stretch.text.clone() };
    let text: String = stretches.iter().map(bracketed).collect();
    let text: Vec<char> = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.chunks(SIDE).map(|chunk| chunk.iter().collect()).collect()
}
