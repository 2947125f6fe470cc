//! What a user can do with a letter before it is sent: see its parts, have the tags of other systems rewritten, and find the people
//! it cannot be filled in for.
//!
//! Cast: [`parts`], [`pointable`], [`rewrite`], [`lacking`] ([`Lacking`]). Nothing is stored.

use std::collections::BTreeMap;

use crate::app::lab::Lab;
use crate::campaign::definition::Definition;
use crate::content::{self, Body, BodyFormat, CompiledLetter, ContentError, LetterUrls, Newsletter, Parts, Rewriting, Tracking};
use crate::db::DbError;
use crate::ids::SubscriberId;
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
        let who = if self.lacking == 1 { "1 person has".to_owned() } else { format!("{} people have", self.lacking) };
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
