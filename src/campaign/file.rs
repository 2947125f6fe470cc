//! `campaign.toml`, read with the key and line of every fault.
//!
//! Cast: [`parse`] with its [`Reading`] (what could be read, and all that is wrong), [`read`] (all or nothing), [`Problem`] (what is
//! wrong, where, and what to do), [`template`] (a commented file to start from).
//!
//! A faulty value gets a stand-in, so that the rest of the file is judged too; what follows from a stand-in alone is never told.
//! The web form and the HTTP API go through the same reader, so that a campaign is judged alike wherever it comes from.

mod form;
mod tables;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use crate::campaign::adopt::adopt;
use crate::campaign::definition::{Definition, Options, SenderAddress, Variant};
use crate::content::{Body, BodyFormat, Element, Facet, Newsletter, Utm};
use crate::experiment::design::{Design, Guard, Limit, Method, Metric, Rule};
use crate::ids::RecordingMode;
use tables::{File, GuardTables, TestTable, VariantTable};

/// One thing wrong with a campaign.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The key in the file, such as `test.share`; empty for the file as a whole.
    pub key: String,
    /// The line in the file, counted from 1, where known.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// A problem of a key, without a line.
    pub fn of(key: &str, message: impl std::fmt::Display) -> Self {
        Self { key: key.to_owned(), line: None, message: message.to_string() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}

/// A campaign file as far as it could be read.
pub struct Reading {
    /// The campaign, with stand-ins for what is wrong; none where the text is no TOML at all.
    pub definition: Option<Definition>,
    /// What is wrong with the form of the file.
    pub problems: Vec<Problem>,
    /// Keys that have a stand-in beside those of the problems: the ones that misspelt keys were meant to be.
    spoiled: Vec<String>,
}

impl Reading {
    /// All that is wrong, by line: with the form, and `found` in the definition, less what only a stand-in is to blame for.
    pub fn all_problems(&self, text: &str, found: Vec<Problem>) -> Vec<Problem> {
        let Self { problems, spoiled, .. } = self;
        let is_blameless = |key: &str| {
            is_spoiled(problems, spoiled, key)
                || CONSEQUENCES.iter().any(|(cause, then)| *then == key && is_spoiled(problems, spoiled, cause))
                || (["letter", "letter.text"].contains(&key) && spoils_body(problems, spoiled))
                || (key.starts_with("variants[") && spoils_letters(problems, spoiled))
        };
        let mut problems = self.problems.clone();
        problems.extend(with_lines(text, found).into_iter().filter(|problem| !is_blameless(&problem.key)));
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        problems
    }
}

/// A fault in the first may look like one in the second.
const CONSEQUENCES: [(&str, &str); 2] = [("test.metric", "test.secondary"), ("test.share", "test.holdout")];

/// Whether a key, or the table it is in, has a stand-in.
fn is_spoiled(problems: &[Problem], spoiled: &[String], key: &str) -> bool {
    let holds = |outer: &str| key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    problems.iter().map(|problem| &problem.key).chain(spoiled).any(|outer| holds(outer))
}

/// Whether something that the letter all variants share is made of has a stand-in.
fn spoils_body(problems: &[Problem], spoiled: &[String]) -> bool {
    let parts = ["subject", "preheader", "text", "file", "format"];
    parts.iter().any(|name| is_spoiled(problems, spoiled, &format!("letter.{name}")))
}

/// Whether something that the variants' letters are made of has a stand-in.
fn spoils_letters(problems: &[Problem], spoiled: &[String]) -> bool {
    let of_variant = |key: &String| key.starts_with("variants") && !key.ends_with(".weight");
    spoils_body(problems, spoiled)
        || ["test.element", "test.block", "test.same_letters"].iter().any(|key| is_spoiled(problems, spoiled, key))
        || problems.iter().map(|problem| &problem.key).chain(spoiled).any(of_variant)
}

/// Most faults of form told at once: nobody mends more in one go, and a file made to have a million costs no more.
const MOST_TOLD: usize = 100;

/// Collects problems, finding the line of a place in the text.
struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
    spoiled: Vec<String>,
}

impl Reader<'_> {
    fn tell(&mut self, key: &str, place: Option<usize>, message: impl std::fmt::Display) {
        if self.is_full() {
            return;
        }
        let line = place.map(|place| line_at(self.text, place));
        self.problems.push(Problem { key: key.to_owned(), line, message: message.to_string() });
    }

    fn fault<T>(&mut self, key: &str, place: &Spanned<T>, message: impl std::fmt::Display) {
        self.tell(key, Some(place.span().start), message);
    }

    fn is_full(&self) -> bool {
        self.problems.len() >= MOST_TOLD
    }

    fn is_spoiled(&self, key: &str) -> bool {
        is_spoiled(&self.problems, &self.spoiled, key)
    }
}

fn line_at(text: &str, place: usize) -> usize {
    text.as_bytes().iter().take(place).filter(|byte| **byte == b'\n').count() + 1
}

/// Reads a campaign file whose form has no fault. `load` reads the letter's file, by the path written in `letter.file`, and says why
/// when it cannot.
///
/// Ranges and content are checked by [`Definition::problems`]; this checks form only, and finds the lines.
///
/// # Errors
/// Every problem of form; a file that is not TOML answers with that one.
pub fn read(text: &str, load: &dyn Fn(&str) -> Result<String, String>) -> Result<Definition, Vec<Problem>> {
    let reading = parse(text, load);
    match reading.definition {
        Some(definition) if reading.problems.is_empty() => Ok(definition),
        _ => Err(reading.problems),
    }
}

/// Reads as much of a campaign file as can be, with all that is wrong with its form. `load` is that of [`read`].
pub fn parse(text: &str, load: &dyn Fn(&str) -> Result<String, String>) -> Reading {
    let mut reader = Reader { text, problems: Vec::new(), spoiled: Vec::new() };
    let definition = DeTable::parse(text).and_then(|mut table| {
        form::check(&mut reader, table.get_mut());
        File::deserialize(Deserializer::from(table))
    });
    let definition = match definition {
        // What was not told any more would be judged as if it were right.
        _ if reader.is_full() => {
            let message = "there may be more faults; mend these first";
            reader.problems.push(Problem { key: String::new(), line: None, message: message.to_owned() });
            None
        }
        Ok(file) => Some(define(&mut reader, &file, load)),
        Err(error) => {
            reader.problems.push(syntax_problem(text, &error));
            None
        }
    };
    Reading { definition, problems: reader.problems, spoiled: reader.spoiled }
}

fn define(reader: &mut Reader<'_>, file: &File, load: &dyn Fn(&str) -> Result<String, String>) -> Definition {
    let letter = file.letter.get_ref();
    let recording = read_recording(reader, file.recording.as_ref());
    let body = read_body(reader, file, load);
    let options = read_options(reader, file);
    let design = read_design(reader, file.test.get_ref(), &file.variants);
    let newsletter =
        Newsletter { subject: letter.subject.clone(), preheader: letter.preheader.clone(), sender_name: file.sender.name.clone(), body };
    let (newsletter, element, variants) = if file.variants.iter().any(|variant| variant.get_ref().is_whole()) {
        adopt_letters(reader, file, &newsletter, load)
    } else {
        let element = read_element(reader, &file.test);
        // Values of an element that nobody knows would be judged as something else; the letter itself can be judged without them.
        let are_read = !spoils_letters(&reader.problems, &reader.spoiled);
        let value = |table: &VariantTable| table.value.clone().filter(|_| are_read);
        let variants = file.variants.iter().map(|variant| Variant { value: value(variant.get_ref()), letter: None }).collect();
        (newsletter, element, variants)
    };
    Definition {
        name: file.name.trim().to_owned(),
        list: file.list.trim().to_owned(),
        recording,
        trap_link: file.trap_link,
        sender: SenderAddress {
            address: file.sender.address.trim().to_owned(),
            reply_to: file.sender.reply_to.as_ref().map(|text| text.get_ref().trim().to_owned()).filter(|text| !text.is_empty()),
        },
        newsletter,
        element,
        variants,
        design,
        options,
    }
}

/// The problems of a definition, with the lines of their keys in the file it came from.
fn with_lines(text: &str, problems: Vec<Problem>) -> Vec<Problem> {
    problems.into_iter().map(|problem| Problem { line: problem.line.or_else(|| line_of_key(text, &problem.key)), ..problem }).collect()
}

/// Finds `table.key` or `variants[1].value` in the text; an approximation by reading line by line, good for keys written plainly.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let (table, wanted_number) = match table.split_once('[') {
        Some((table, rest)) => (table, rest.trim_end_matches(']').parse::<usize>().ok()?),
        None => (table, 0),
    };
    let (mut current, mut number, mut header) = (String::new(), 0, None);
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if let Some(inner) = content.strip_prefix('[') {
            let inner = inner.trim_start_matches('[').split(']').next().unwrap_or_default().trim().to_owned();
            number = if inner == current && content.starts_with("[[") { number + 1 } else { 0 };
            current = inner;
            if current == table && number == wanted_number {
                header = Some(line);
            }
        } else if current == table
            && number == wanted_number
            && content.split('=').next().is_some_and(|left| left.split('.').next().unwrap_or_default().trim() == name)
        {
            return Some(line);
        }
    }
    header
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    let message = error.message();
    let advice = if message.contains("duplicate key") {
        "a key stands once in its table, and a [table] once in the file: keep one of the two"
    } else if message.contains("multi-line") {
        "a text of several lines further up does not end: close it with \"\"\""
    } else {
        "write each line as key = value, a text in quotes, a text of several lines between \"\"\" and \"\"\""
    };
    let line = error.span().map(|span| line_at(text, span.start));
    Problem { key: String::new(), line, message: format!("this is not TOML ({message}), so nothing below is read; {advice}") }
}

fn read_recording(reader: &mut Reader<'_>, written: Option<&Spanned<String>>) -> RecordingMode {
    let Some(written) = written else { return RecordingMode::Pseudonymous };
    written.get_ref().parse().unwrap_or_else(|_| {
        reader.fault("recording", written, "write off, aggregate, pseudonymous or identified");
        RecordingMode::Pseudonymous
    })
}

impl VariantTable {
    /// Whether it brings a letter of its own instead of a value.
    fn is_whole(&self) -> bool {
        let lines = [&self.subject, &self.preheader, &self.sender_name, &self.text];
        lines.iter().any(|line| line.is_some()) || self.file.is_some()
    }

    fn has_body(&self) -> bool {
        self.file.is_some() || self.text.is_some()
    }
}

/// Each variant's whole letter, compared: the control, the one element found, and the variants.
fn adopt_letters(
    reader: &mut Reader<'_>,
    file: &File,
    newsletter: &Newsletter,
    load: &dyn Fn(&str) -> Result<String, String>,
) -> (Newsletter, Element, Vec<Variant>) {
    if let Some(element) = &file.test.get_ref().element {
        let message = "take this away: the letters are compared, and the one element in which they differ is found";
        reader.fault("test.element", element, message);
    }
    let mut letters = Vec::new();
    for (number, variant) in file.variants.iter().enumerate() {
        let table = variant.get_ref();
        if table.value.is_some() {
            let message =
                "write a value for the element, or a whole letter (subject, file, text …) for every variant that differs, not both";
            reader.fault(&format!("variants[{number}].value"), variant, message);
        }
        let body = match (&table.file, &table.text) {
            (None, None) => newsletter.body.clone(),
            (path, text) => {
                let key = format!("variants[{number}]");
                let source = read_source(reader, &key, variant, path.as_ref(), text.as_deref(), load);
                Body { format: read_format(reader, &key, table.format.as_ref(), path.as_ref(), newsletter.body.format), source }
            }
        };
        letters.push(Newsletter {
            subject: table.subject.clone().unwrap_or_else(|| newsletter.subject.clone()),
            preheader: table.preheader.clone().unwrap_or_else(|| newsletter.preheader.clone()),
            sender_name: table.sender_name.clone().unwrap_or_else(|| newsletter.sender_name.clone()),
            body,
        });
    }
    // Letters that could not be read have been complained of.
    let are_read = !spoils_letters(&reader.problems, &reader.spoiled);
    let adopted = if are_read { adopt(&letters, file.test.get_ref().same_letters) } else { Err(Vec::new()) };
    match (adopted, letters.into_iter().next()) {
        (Ok(adopted), Some(control)) => (control, adopted.element, adopted.variants),
        (Err(problems), _) => {
            reader.problems.extend(with_lines(reader.text, problems));
            (newsletter.clone(), Element::Subject, Vec::new())
        }
        (Ok(_), None) => (newsletter.clone(), Element::Subject, Vec::new()),
    }
}

fn read_source<T>(
    reader: &mut Reader<'_>,
    key: &str,
    place: &Spanned<T>,
    path: Option<&Spanned<String>>,
    text: Option<&str>,
    load: &dyn Fn(&str) -> Result<String, String>,
) -> String {
    match (path, text) {
        (Some(path), None) => load(path.get_ref()).unwrap_or_else(|why| {
            reader.fault(&format!("{key}.file"), path, format!("{} cannot be read: {why}", path.get_ref()));
            String::new()
        }),
        (None, Some(text)) => text.to_owned(),
        // Of a wrong one, or of a [letter] that is missing, something has been said.
        (None, None) if reader.is_spoiled(&format!("{key}.file")) || reader.is_spoiled(&format!("{key}.text")) => String::new(),
        (None, None) => {
            reader.fault(&format!("{key}.text"), place, "the letter needs a body: write file = \"letter.mjml\", or text = \"\"\"…\"\"\"");
            String::new()
        }
        (Some(path), Some(_)) => {
            reader.fault(&format!("{key}.file"), path, "the letter has both file and text; keep one of them");
            String::new()
        }
    }
}

fn read_format(
    reader: &mut Reader<'_>,
    key: &str,
    written: Option<&Spanned<String>>,
    path: Option<&Spanned<String>>,
    otherwise: BodyFormat,
) -> BodyFormat {
    let by_name = path.and_then(|path| format_of(path.get_ref().rsplit('.').next().unwrap_or_default()));
    match written {
        Some(word) => format_of(word.get_ref()).unwrap_or_else(|| {
            reader.fault(&format!("{key}.format"), word, "write mjml, html or markdown");
            BodyFormat::Html
        }),
        None => by_name.unwrap_or(otherwise),
    }
}

/// The body that variants share; none is needed where each brings its own.
fn read_body(reader: &mut Reader<'_>, file: &File, load: &dyn Fn(&str) -> Result<String, String>) -> Body {
    let letter = file.letter.get_ref();
    let all_bring_one = !file.variants.is_empty() && file.variants.iter().all(|variant| variant.get_ref().has_body());
    let source = if all_bring_one && letter.file.is_none() && letter.text.is_none() {
        String::new()
    } else {
        read_source(reader, "letter", &file.letter, letter.file.as_ref(), letter.text.as_deref(), load)
    };
    Body { format: read_format(reader, "letter", letter.format.as_ref(), letter.file.as_ref(), BodyFormat::Markdown), source }
}

fn format_of(word: &str) -> Option<BodyFormat> {
    match word.to_ascii_lowercase().as_str() {
        "mjml" => Some(BodyFormat::Mjml),
        "html" | "htm" => Some(BodyFormat::Html),
        "markdown" | "md" | "txt" => Some(BodyFormat::Markdown),
        _ => None,
    }
}

/// What is added to every letter. One parameter given switches all of them on; the others have their usual values.
fn read_options(reader: &mut Reader<'_>, file: &File) -> Options {
    let filled = |text: &Option<String>| text.as_ref().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let links = [&file.links.utm_source, &file.links.utm_medium, &file.links.utm_campaign].map(filled);
    let [source, medium, campaign] = links;
    let any = source.is_some() || medium.is_some() || campaign.is_some();
    let inline_images = match file.letter.get_ref().images.as_ref().map(|word| (word, word.get_ref().trim())) {
        None | Some((_, "linked")) => false,
        Some((_, "inline")) => true,
        Some((word, _)) => {
            reader.fault("letter.images", word, "write linked (loaded when the letter is read) or inline (inside the message)");
            false
        }
    };
    Options {
        language: filled(&file.letter.get_ref().language),
        utm: any.then(|| Utm {
            source: source.unwrap_or_else(|| "newsletter".to_owned()),
            medium: medium.unwrap_or_else(|| "email".to_owned()),
            campaign: campaign.unwrap_or_else(|| file.name.trim().to_owned()),
        }),
        inline_images,
    }
}

fn read_element(reader: &mut Reader<'_>, table: &Spanned<TestTable>) -> Element {
    let test = table.get_ref();
    let Some(element) = &test.element else {
        if reader.is_spoiled("test.element") {
            return Element::Subject;
        }
        let message = "say what varies: element = \"subject\"; or give each variant its whole letter, and the element is found";
        reader.fault("test.element", table, message);
        return Element::Subject;
    };
    let word = element.get_ref().trim();
    match word {
        "subject" => return Element::Subject,
        "preheader" => return Element::Preheader,
        "sender_name" => return Element::SenderName,
        "reply_to" => return Element::ReplyTo,
        "send_time" => return Element::SendTime,
        _ => {}
    }
    let Some(facet) = Facet::ALL.into_iter().find(|facet| facet.as_str() == word) else {
        let message = "write subject, preheader, sender_name, reply_to, send_time, text, link, style, image, presence or rule";
        reader.fault("test.element", element, message);
        return Element::Subject;
    };
    match test.block.as_ref().filter(|name| !name.get_ref().trim().is_empty()) {
        Some(name) => Element::Block { name: name.get_ref().trim().to_owned(), facet },
        None if reader.is_spoiled("test.block") => Element::Subject,
        None => {
            let message = if facet == Facet::Rule {
                "to vary a rule of the stylesheet, write its selector as it stands there: block = \".button\""
            } else {
                "to vary a part of the letter, name it: block = \"…\" (its id or data-block, or a CSS selector)"
            };
            reader.fault("test.block", element, message);
            Element::Subject
        }
    }
}

fn read_metric(reader: &mut Reader<'_>, key: &str, word: &Spanned<String>) -> Option<Metric> {
    let metric = Metric::ALL.into_iter().find(|metric| metric.as_str() == word.get_ref());
    if metric.is_none() {
        reader.fault(key, word, "write open or click");
    }
    metric
}

/// The usual limits, with what the file says instead.
fn read_guards(tables: Option<&GuardTables>) -> Vec<Limit> {
    let written = |guard: Guard| match (guard, tables) {
        (_, None) => None,
        (Guard::Bounce, Some(tables)) => tables.bounce,
        (Guard::Unsubscribe, Some(tables)) => tables.unsubscribe,
        (Guard::Complaint, Some(tables)) => tables.complaint,
    };
    Limit::USUAL
        .into_iter()
        .filter_map(|usual| match written(usual.guard) {
            None => Some(usual),
            Some(table) if table.off => None,
            Some(table) => Some(Limit { margin: table.margin.unwrap_or(usual.margin), level: table.level.unwrap_or(usual.level), ..usual }),
        })
        .collect()
}

fn read_design(reader: &mut Reader<'_>, test: &TestTable, variants: &[Spanned<VariantTable>]) -> Design {
    let usual = Design::default();
    let metric = test.metric.as_ref().and_then(|word| read_metric(reader, "test.metric", word));
    // Nobody knows whether clicks were meant: the stand-in asks for no links.
    let metric = metric.unwrap_or(if reader.is_spoiled("test.metric") { Metric::Open } else { usual.metric });
    let secondary = test.secondary.iter().filter_map(|word| read_metric(reader, "test.secondary", word)).collect();
    let method = match &test.method {
        None => usual.method,
        Some(word) => Method::ALL.into_iter().find(|method| method.as_str() == word.get_ref()).unwrap_or_else(|| {
            reader.fault("test.method", word, "write fixed (looked at once, at the end) or anytime (may stop as soon as it is clear)");
            usual.method
        }),
    };
    let rule = match test.rule.as_ref().map(|word| (word, word.get_ref().as_str())) {
        None | Some((_, "hand")) => Rule::Hand,
        Some((_, "automatic")) => Rule::Automatic,
        Some((word, _)) => {
            reader.fault("test.rule", word, "write hand or automatic");
            Rule::Hand
        }
    };
    Design {
        metric,
        weights: variants.iter().map(|variant| variant.get_ref().weight.unwrap_or(1)).collect(),
        share: test.share.as_ref().map_or(usual.share, |share| *share.get_ref()),
        significance: test.significance.as_ref().map_or(usual.significance, |level| *level.get_ref()),
        observe_hours: test.observe_hours.as_ref().map_or(usual.observe_hours, |hours| *hours.get_ref()),
        rule,
        method,
        planned_lift: test.planned_lift.as_ref().map_or(usual.planned_lift, |lift| *lift.get_ref()),
        secondary,
        guards: read_guards(test.guards.as_ref()),
        holdout: test.holdout.as_ref().map_or(usual.holdout, |share| *share.get_ref()),
        same_letters: test.same_letters,
    }
}

/// A commented campaign file to start from.
pub fn template() -> &'static str {
    include_str!("template.toml")
}

#[cfg(test)]
mod tests;
