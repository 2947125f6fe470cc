//! What a user can do with a letter before it is sent: see its parts, have the tags of other systems rewritten, and find the people
//! it cannot be filled in for.
//!
//! Cast: [`parts`], [`pointable`], [`rewrite`], [`compare`] ([`Compared`]), [`lacking`] ([`Lacking`]). Nothing is stored.

use std::collections::BTreeMap;

use crate::app::lab::Lab;
use crate::campaign::definition::Definition;
use crate::content::difference::{self, Comparison, Letter, MOST_LETTERS, Outcome, Stretch};
use crate::content::{self, Body, BodyFormat, CompiledLetter, ContentError, LetterUrls, Newsletter, Parts, Rewriting, Tracking};
use crate::db::DbError;
use crate::ids::SubscriberId;
use crate::report::wording::counted;
use crate::vault::store as people;

fn letter(format: BodyFormat, source: &str) -> Newsletter {
    let body = Body { format, source: source.to_owned() };
    Newsletter { subject: "A letter".to_owned(), preheader: String::new(), sender_name: "Letterlab".to_owned(), body }
}

/// Everything in a letter that may vary, with the addresses a campaign calls it by.
///
/// # Errors
/// Why the letter cannot be read.
pub fn parts(format: BodyFormat, source: &str) -> Result<Parts, ContentError> {
    content::parts(&letter(format, source))
}

/// The letter as HTML with every part marked, for pointing at, and the parts. Merge fields show their names in brackets.
///
/// # Errors
/// Why the letter cannot be read.
pub fn pointable(format: BodyFormat, source: &str) -> Result<(String, Parts), ContentError> {
    let (marked, parts) = content::marked(&letter(format, source))?;
    let compiled = CompiledLetter::compile(&marked)?;
    let values: BTreeMap<String, String> = compiled.merge_fields().into_iter().map(|name| (name.clone(), format!("[{name}]"))).collect();
    let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: "#".to_owned() };
    Ok((compiled.render(&values, &urls)?.html, parts))
}

/// The tags of Mailchimp, Liquid and listmonk as ours.
pub fn rewrite(text: &str) -> Rewriting {
    content::rewrite(text)
}

/// Whole letters compared, in words and as they are.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Compared {
    /// Whether they are a test of one element: a campaign adopts them.
    pub is_test: bool,
    /// What was found, in one sentence.
    pub sentence: String,
    /// Each difference: of the one element in every other letter, or of all that were found.
    pub differences: Vec<SideBySide>,
    /// Pairs of the same letter, in words, where that keeps them from being a test.
    pub same_letters: Vec<String>,
    /// The comparison itself.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// A value in the control and in another letter.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SideBySide {
    /// Which letter differs from the control, counted from 0 with the control.
    pub letter: usize,
    /// Where and in what: `button 'Buy now' in section 2: text`.
    pub place: String,
    /// The control's value, in stretches.
    pub control: Vec<Stretch>,
    /// The other letter's value, in stretches.
    pub variant: Vec<Stretch>,
}

/// A letter's name by its place: A is the control.
pub fn letter_name(number: usize) -> char {
    u8::try_from(number).ok().and_then(|number| b'A'.checked_add(number)).map_or('?', char::from)
}

/// Compares two to eight whole letters, the control first. `names` says what each is called where it is not A, B, C in order.
///
/// # Errors
/// Which letter cannot be read, and why; too few or too many.
pub fn compare(newsletters: &[(Newsletter, Option<String>)], names: &[char]) -> Result<Compared, String> {
    if !(2..=MOST_LETTERS).contains(&newsletters.len()) {
        return Err(format!("two to {MOST_LETTERS} letters are compared, here are {}", newsletters.len()));
    }
    let name = |number: usize| names.get(number).copied().unwrap_or_else(|| letter_name(number));
    let letters: Vec<Letter<'_>> =
        newsletters.iter().map(|(newsletter, reply_to)| Letter { newsletter, reply_to: reply_to.as_deref() }).collect();
    let comparison = difference::compare(&letters).map_err(|error| unreadable(&letters, &name, &error))?;
    let side = |letter: usize, place: String, one: &str, other: &str| {
        let (control, variant) = difference::marked(one, other);
        SideBySide { letter, place, control, variant }
    };
    let (sentence, differences) = match &comparison.outcome {
        Outcome::Same => ("The letters differ in nothing a reader or a mail program could notice.".to_owned(), Vec::new()),
        Outcome::One(element) => {
            let control = element.values.first().map(String::as_str).unwrap_or_default();
            let others = element.values.iter().enumerate().skip(1).filter(|(_, value)| *value != control);
            let sides = others.map(|(number, value)| side(number, element.to_string(), control, value)).collect();
            (format!("The letters differ in one element: {element}."), sides)
        }
        Outcome::Several(all) => {
            let sides = all.iter().map(|one| side(one.letter, one.to_string(), &one.control, &one.variant)).collect();
            (several(all, &name), sides)
        }
    };
    let same_letters: Vec<String> = match comparison.outcome {
        Outcome::Same if newsletters.len() == 2 => Vec::new(),
        _ => comparison.twins.iter().map(|(one, other)| format!("{} and {} are the same letter.", name(*one), name(*other))).collect(),
    };
    let is_test = matches!(comparison.outcome, Outcome::One(_)) && comparison.twins.is_empty();
    Ok(Compared { is_test, sentence, differences, same_letters, comparison })
}

/// How many elements there are in which letter.
fn several(all: &[difference::Difference], name: &dyn Fn(usize) -> char) -> String {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one.letter).or_default() += 1;
    }
    let elements = |count: usize| if count == 1 { "1 element".to_owned() } else { format!("{count} elements") };
    let each: Vec<String> = counts.iter().map(|(letter, count)| format!("{} from A in {}", name(*letter), elements(*count))).collect();
    let other = if counts.values().all(|count| *count == 1) { ", and not in the same one" } else { "" };
    format!("The letters differ in more than one element: {}{other}. A test varies one.", each.join(", "))
}

/// The error with the name of the letter it is about, found by reading each alone.
fn unreadable(letters: &[Letter<'_>], name: &dyn Fn(usize) -> char, error: &ContentError) -> String {
    let unread = letters.iter().position(|letter| CompiledLetter::compile(letter.newsletter).is_err());
    unread.map_or_else(|| error.to_string(), |number| format!("letter {} cannot be read: {error}", name(number)))
}

/// People per step of a look through a list.
const STEP: i64 = 1_000;
/// People named; all are counted.
const NAMED: usize = 200;

/// The people of a list who would get no letter, because a field they need has neither value nor default.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Lacking {
    /// People looked at: all who may be mailed.
    pub people: u64,
    /// Of those, how many lack something in at least one variant.
    pub lacking: u64,
    /// How many lack which field first.
    pub fields: BTreeMap<String, u64>,
    /// The first of them, and what each lacks.
    pub named: Vec<(SubscriberId, String)>,
}

impl Lacking {
    /// In words; nothing when everybody has everything.
    pub fn words(&self) -> Option<String> {
        let fields: Vec<String> = self.fields.iter().map(|(field, people)| format!("{field} ({people})")).collect();
        let who = counted(self.lacking, "person has", "people have");
        (self.lacking > 0).then(|| {
            format!("{who} no value for a field the letter needs and would be skipped: {}; give the field a default: {{{{ name | default(\"…\") }}}}", fields.join(", "))
        })
    }
}

/// Tries every variant on everybody who may be mailed. A letter that does not compile lacks nothing: that is told elsewhere.
///
/// # Errors
/// A database failure.
pub fn lacking(lab: &Lab, definition: &Definition) -> Result<Lacking, DbError> {
    let letters: Vec<CompiledLetter> = definition.arms().unwrap_or_default().into_iter().map(|arm| arm.letter).collect();
    let mut found = Lacking::default();
    if letters.iter().all(|letter| letter.required_fields().is_empty()) {
        return Ok(found);
    }
    let mut after: Option<SubscriberId> = None;
    loop {
        let page = lab.vault.read(|conn| people::exported_people(conn, &definition.list, after, STEP))?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id);
        for person in page.iter().filter(|person| person.suppressed.is_none()) {
            found.people += 1;
            let Some(lack) = letters.iter().find_map(|letter| letter.lacks(&person.attributes)) else { continue };
            found.lacking += 1;
            let (field, words) = match &lack {
                ContentError::MissingField { field, .. } => (field.clone(), field.clone()),
                other => ("something else".to_owned(), other.to_string()),
            };
            *found.fields.entry(field).or_default() += 1;
            if found.named.len() < NAMED {
                found.named.push((person.id, words));
            }
        }
    }
}
