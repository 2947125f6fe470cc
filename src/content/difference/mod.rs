//! In what two to eight letters differ: in nothing, in one element, or in several.
//!
//! ```text
//! Letter, Letter, …
//!   └ document   a body as a tree; spelling and sheet: one form for what means the same
//!       └ walk       tree beside tree: what changed, node by node
//!           └ group      changes → differences, one per element and facet; place: where, in words
//!               └ Comparison { Same | One | Several };   marks: two values beside each other
//! finished   the same question asked of finished messages        trials   edits that try the comparison out
//! ```
//!
//! The cast: [`Letter`] (what is compared), [`compare`], [`Comparison`], [`Outcome`], [`Difference`], [`DifferingElement`].
//!
//! White space where it shows nowhere, the order and quotes of attributes, the spelling of characters, comments, the case of names and
//! the layout of style text are no difference; everything a reader or a mail program could notice is. It renders and loads nothing.

mod document;
mod finished;
mod group;
mod marks;
mod place;
mod sheet;
mod spelling;
#[cfg(test)]
mod tests;
mod trials;
mod walk;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::blocks::Facet;
use super::element::{Element, with_override};
use super::error::ContentError;
use super::merge::Marks;
use super::newsletter::{Body, BodyFormat, Newsletter};
use super::render;
use document::Document;
use group::Found;

pub use finished::{FinishedDifference, MASK, compare_finished, differing_words};
pub use marks::{Stretch, marked};
pub use trials::{Expected, Trial, trials};

/// Letters that can be compared at once.
pub const MOST_LETTERS: usize = 8;

/// Longest value shown of one side, in characters.
const LONGEST_VALUE: usize = 400;

/// A letter to compare.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The letter.
    pub newsletter: &'a Newsletter,
    /// Where answers go, if elsewhere.
    pub reply_to: Option<&'a str>,
}

impl<'a> From<&'a Newsletter> for Letter<'a> {
    fn from(newsletter: &'a Newsletter) -> Self {
        Self { newsletter, reply_to: None }
    }
}

/// In what letters differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// How many letters were compared; the first is the control.
    pub letters: usize,
    /// In what they differ.
    pub outcome: Outcome,
    /// Pairs of letters that differ in nothing, counted from 0.
    pub twins: Vec<(usize, usize)>,
}

/// In what letters differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In nothing.
    Same,
    /// In one element, the same in all of them.
    One(DifferingElement),
    /// In several.
    Several(Vec<Difference>),
}

/// The one element in which letters differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingElement {
    /// Where it is.
    pub place: Place,
    /// What of it.
    pub facet: DifferenceFacet,
    /// What exactly: the properties of a style, the name of an attribute; may be empty.
    pub detail: String,
    /// Its value in each letter, the control first; shortened where long.
    pub values: Vec<String>,
}

/// One difference between the control and another letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which letter differs from the control, counted from 0 with the control.
    pub letter: usize,
    /// Where.
    pub place: Place,
    /// What of it.
    pub facet: DifferenceFacet,
    /// What exactly: the properties of a style, the name of an attribute; may be empty.
    pub detail: String,
    /// The control's value, shortened where long.
    pub control: String,
    /// The other letter's value, shortened where long.
    pub variant: String,
}

/// Where letters differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The subject line.
    Subject,
    /// The preheader.
    Preheader,
    /// The sender's name.
    SenderName,
    /// Where answers go.
    ReplyTo,
    /// How the body is written.
    Format,
    /// A part of the body, in words: "button 'Buy now' in section 2".
    Body(String),
}

/// What of an element differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceFacet {
    /// Its words.
    Text,
    /// Where it leads.
    Link,
    /// Its look.
    Formatting,
    /// Its picture.
    Image,
    /// What stands for a picture that is not shown.
    AlternativeText,
    /// Whether it is there.
    Presence,
    /// Another attribute.
    Attribute,
    /// Markup that is no element: a condition, a script, a tag left open.
    Markup,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Subject => "subject",
            Self::Preheader => "preheader",
            Self::SenderName => "sender name",
            Self::ReplyTo => "reply-to address",
            Self::Format => "format of the body",
            Self::Body(path) => path,
        })
    }
}

impl fmt::Display for DifferenceFacet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Link => "link",
            Self::Formatting => "formatting",
            Self::Image => "picture",
            Self::AlternativeText => "alternative text",
            Self::Presence => "presence",
            Self::Attribute => "attribute",
            Self::Markup => "markup",
        })
    }
}

fn words(formatter: &mut fmt::Formatter<'_>, place: &Place, facet: DifferenceFacet, detail: &str) -> fmt::Result {
    write!(formatter, "{place}")?;
    if matches!(place, Place::Body(_)) {
        write!(formatter, ": {facet}")?;
    }
    if detail.is_empty() { Ok(()) } else { write!(formatter, " ({detail})") }
}

impl fmt::Display for DifferingElement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(formatter, &self.place, self.facet, &self.detail)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(formatter, &self.place, self.facet, &self.detail)
    }
}

/// A difference with what is needed to tell whether two are about the same element.
#[derive(Debug, Clone)]
struct Located {
    difference: Difference,
    anchors: BTreeSet<String>,
    block: Option<(String, Facet, String)>,
}

/// Compares letters; the first is the control.
///
/// # Errors
/// A body that cannot be read: too large, nested too deep, merge tags that are none.
pub fn compare(letters: &[Letter<'_>]) -> Result<Comparison, ContentError> {
    let pairs = pairs(letters)?;
    let twins = twins(letters, &pairs)?;
    Ok(Comparison { letters: letters.len(), outcome: outcome(pairs), twins })
}

/// The control beside each other letter.
fn pairs(letters: &[Letter<'_>]) -> Result<Vec<Vec<Located>>, ContentError> {
    let Some((control, others)) = letters.split_first() else { return Ok(Vec::new()) };
    others.iter().zip(1..).map(|(other, number)| pair(control, other, number)).collect()
}

fn twins(letters: &[Letter<'_>], pairs: &[Vec<Located>]) -> Result<Vec<(usize, usize)>, ContentError> {
    let mut twins: Vec<(usize, usize)> = pairs.iter().zip(1..).filter(|(pair, _)| pair.is_empty()).map(|(_, number)| (0, number)).collect();
    for (one, letter) in letters.iter().enumerate().skip(1) {
        for (other, later) in letters.iter().enumerate().skip(one + 1) {
            if pair(letter, later, other)?.is_empty() {
                twins.push((one, other));
            }
        }
    }
    Ok(twins)
}

fn outcome(pairs: Vec<Vec<Located>>) -> Outcome {
    let differing: Vec<&Located> = pairs.iter().flatten().collect();
    let Some(first) = differing.first() else { return Outcome::Same };
    let one_each = pairs.iter().all(|pair| pair.len() <= 1);
    let one_element = differing.iter().all(|other| {
        let (one, other_difference) = (&first.difference, &other.difference);
        one.facet == other_difference.facet
            && match (&one.place, &other_difference.place) {
                (Place::Body(_), Place::Body(_)) => first.anchors == other.anchors,
                (one, other) => one == other,
            }
    });
    if !one_each || !one_element {
        return Outcome::Several(pairs.into_iter().flatten().map(|located| located.difference).collect());
    }
    let mut values = vec![first.difference.control.clone()];
    values.extend(pairs.iter().map(|pair| pair.first().map_or(&first.difference.control, |one| &one.difference.variant).clone()));
    let (place, facet, detail) = (first.difference.place.clone(), first.difference.facet, first.difference.detail.clone());
    Outcome::One(DifferingElement { place, facet, detail, values })
}

fn pair(control: &Letter<'_>, other: &Letter<'_>, number: usize) -> Result<Vec<Located>, ContentError> {
    let mut found = Vec::new();
    let (one, two) = (control.newsletter, other.newsletter);
    let lines = [
        (Place::Subject, one.subject.trim(), two.subject.trim()),
        (Place::Preheader, one.preheader.trim(), two.preheader.trim()),
        (Place::SenderName, one.sender_name.trim(), two.sender_name.trim()),
        (Place::ReplyTo, control.reply_to.unwrap_or_default().trim(), other.reply_to.unwrap_or_default().trim()),
    ];
    for (place, before, after) in lines {
        // What is sent is one line with single spaces.
        let (before, after) = (spelling::collapsed(before), spelling::collapsed(after));
        if before != after {
            found.push(located(number, place, DifferenceFacet::Text, &before, &after));
        }
    }
    // Markdown is the HTML it stands for; a letter whose part was replaced comes back as that.
    if (one.body.format == BodyFormat::Mjml) != (two.body.format == BodyFormat::Mjml) {
        let (before, after) = (one.body.format.to_string(), two.body.format.to_string());
        found.push(located(number, Place::Format, DifferenceFacet::Markup, &before, &after));
        return Ok(found);
    }
    if one.body != two.body {
        found.extend(bodies(&one.body, &two.body)?.into_iter().map(|one| Located {
            block: one.block.clone(),
            anchors: one.anchors.clone(),
            ..located_in_body(number, &one)
        }));
    }
    Ok(found)
}

fn located(letter: usize, place: Place, facet: DifferenceFacet, control: &str, variant: &str) -> Located {
    let (control, variant) = marks::around(control, variant, LONGEST_VALUE);
    let difference = Difference { letter, place, facet, detail: String::new(), control, variant };
    Located { difference, anchors: BTreeSet::new(), block: None }
}

fn located_in_body(letter: usize, found: &Found) -> Located {
    let mut located = located(letter, Place::Body(found.path.clone()), found.facet, &found.from, &found.to);
    located.difference.detail.clone_from(&found.detail);
    located
}

fn bodies(one: &Body, other: &Body) -> Result<Vec<Found>, ContentError> {
    let (a, b) = (tree(one)?, tree(other)?);
    Ok(group::group(&a, &b, walk::changes(&a, &b)))
}

fn tree(body: &Body) -> Result<Document, ContentError> {
    let mut marks = Marks::for_texts(&[&body.source]);
    let masked = render::html_source(body, &mut marks)?;
    Document::read(&masked, Some(&marks), body.format == BodyFormat::Mjml)
}

/// An element, and its value in each letter; none for the letter as written.
pub type Values = (Element, Vec<Option<String>>);

/// The element in which these letters differ as one that a campaign can vary by a value per letter, with the values (none: as the control
/// is), or nothing where it takes whole letters: only what gives exactly these letters again is answered.
///
/// # Errors
/// As [`compare`].
pub fn as_element(letters: &[Letter<'_>]) -> Result<Option<Values>, ContentError> {
    let pairs = pairs(letters)?;
    let (Some(control), Some(first)) = (letters.first(), pairs.iter().flatten().next()) else { return Ok(None) };
    let line = |element: Element, pick: fn(&Newsletter) -> &String| {
        let values = letters.iter().map(|letter| Some(pick(letter.newsletter).clone()));
        // The control is the letter as written.
        Some((element, std::iter::once(None).chain(values.skip(1)).collect()))
    };
    let (element, values): Values = match (&first.difference.place, &first.block) {
        (Place::Subject, _) => return Ok(line(Element::Subject, |letter| &letter.subject)),
        (Place::Preheader, _) => return Ok(line(Element::Preheader, |letter| &letter.preheader)),
        (Place::SenderName, _) => return Ok(line(Element::SenderName, |letter| &letter.sender_name)),
        (Place::Body(_), Some((name, facet, _))) => {
            let element = Element::Block { name: name.clone(), facet: *facet };
            let value = |pair: &Vec<Located>| pair.first().and_then(|one| one.block.as_ref()).map(|(_, _, value)| value.clone());
            (element, std::iter::once(None).chain(pairs.iter().map(value)).collect())
        }
        _ => return Ok(None),
    };
    for (letter, value) in letters.iter().zip(&values).skip(1) {
        let Some(made) = value.as_ref().and_then(|value| with_override(control.newsletter, &element, value).ok()) else { return Ok(None) };
        if !pair(&Letter { newsletter: &made, ..*letter }, letter, 1)?.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some((element, values)))
}
