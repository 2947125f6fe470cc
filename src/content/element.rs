//! The one thing a variant may change, and the newsletter with exactly that changed.
//!
//! Cast: [`Element`]; [`with_override`] cuts the new value into the source: every other byte stays as it was.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::blocks::{self, Facet};
use super::error::ContentError;
use super::links::is_web_address;
use super::markup::{self, Kind, Token};
use super::merge::Marks;
use super::newsletter::{Body, BodyFormat, Newsletter, Part};
use super::render;
use super::style;

/// The element in which variants differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Element {
    /// The subject line.
    Subject,
    /// The preheader.
    Preheader,
    /// The sender's name.
    SenderName,
    /// One facet of one named block of the body.
    Block {
        /// The block's name.
        name: String,
        /// What of it.
        facet: Facet,
    },
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => formatter.write_str("subject"),
            Self::Preheader => formatter.write_str("preheader"),
            Self::SenderName => formatter.write_str("sender name"),
            Self::Block { name, facet } => write!(formatter, "the {facet} of block '{name}'"),
        }
    }
}

/// The newsletter with one element replaced. A Markdown body comes back as the HTML it renders to, because that is where blocks are.
pub fn with_override(newsletter: &Newsletter, element: &Element, value: &str) -> Result<Newsletter, ContentError> {
    let line = |part: Part| {
        // Reads the value's tags now, so that an error names the override and not the letter.
        Marks::for_texts(&[value]).mask(part, value, false).map(|_| value.to_owned())
    };
    let mut changed = newsletter.clone();
    match element {
        Element::Subject => changed.subject = line(Part::Subject)?,
        Element::Preheader => changed.preheader = line(Part::Preheader)?,
        Element::SenderName => changed.sender_name = line(Part::SenderName)?,
        Element::Block { name, facet } => changed.body = with_block(&newsletter.body, name, *facet, element, value)?,
    }
    Ok(changed)
}

fn with_block(body: &Body, name: &str, facet: Facet, element: &Element, value: &str) -> Result<Body, ContentError> {
    let refuse = |problem: String| ContentError::Override { element: element.to_string(), problem };
    let mut marks = Marks::for_texts(&[&body.source]);
    let source = render::html_source(body, &mut marks)?;
    let tokens = markup::tokens(&source);
    let index = blocks::find(name, &tokens, &marks)?;
    let tag = blocks::tag_name(&tokens, index);
    let available = blocks::facets(&tokens, index, body.format);
    if !available.contains(&facet) {
        let words: Vec<String> = available.iter().map(Facet::to_string).collect();
        let what = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
        return Err(refuse(format!("it is a <{tag}>, in which {what} can vary")));
    }
    let edits = match facet {
        Facet::Text => {
            if let Some(inner) = would_be_lost(&tokens, index) {
                let problem =
                    format!("it holds an <{inner}>, which a new text would remove; name the words alone: <span data-block=\"…\">");
                return Err(refuse(problem));
            }
            vec![text_edit(&tokens, index, value)?]
        }
        Facet::Link => vec![attribute_edit(&tokens, index, "href", &web_address(value).map_err(refuse)?)],
        Facet::Image => vec![attribute_edit(&tokens, index, "src", &web_address(value).map_err(refuse)?)],
        Facet::Style => style_edits(&tokens, index, body.format, value).map_err(refuse)?,
    };
    let mut changed = String::with_capacity(source.len() + value.len());
    let mut done = 0;
    for edit in edits {
        changed.push_str(&marks.unmask(&source[done..edit.span.start]));
        changed.push_str(&edit.text.unwrap_or_else(|masked| marks.unmask(&masked)));
        done = edit.span.end;
    }
    changed.push_str(&marks.unmask(&source[done..]));
    let format = if body.format == BodyFormat::Markdown { BodyFormat::Html } else { body.format };
    Ok(Body { format, source: changed })
}

/// Replaces a stretch of the source; edits are in order and do not overlap.
struct Edit {
    span: std::ops::Range<usize>,
    /// The new text; as an error where it still holds marks of the old one.
    text: Result<String, String>,
}

/// A link or picture inside the element: with it, more than the words would change.
fn would_be_lost<'s>(tokens: &[Token<'s>], index: usize) -> Option<&'s str> {
    let end = markup::inner_end(tokens, index)?;
    tokens.get(index + 1..end)?.iter().find_map(|token| match &token.kind {
        Kind::Start { name, .. } if ["a", "img", "area"].iter().any(|lost| lost.eq_ignore_ascii_case(name)) => Some(*name),
        _ => None,
    })
}

fn text_edit(tokens: &[Token<'_>], index: usize, value: &str) -> Result<Edit, ContentError> {
    let mut marks = Marks::for_texts(&[value]);
    let masked = marks.mask(Part::Body, value, false)?;
    let start = tokens.get(index).map_or(0, |token| token.span.end);
    let end = markup::inner_end(tokens, index).and_then(|last| tokens.get(last)).map_or(start, |token| token.span.start);
    Ok(Edit { span: start..end, text: Ok(marks.unmask(&markup::escape_text(&masked))) })
}

/// Sets an attribute; one that is not there yet comes right after the element's name. The value is escaped here.
fn attribute_edit(tokens: &[Token<'_>], index: usize, name: &str, value: &str) -> Edit {
    let written = format!("{name}=\"{}\"", markup::escape_attribute(value));
    let Some(token) = tokens.get(index) else { return Edit { span: 0..0, text: Ok(String::new()) } };
    let attributes = match &token.kind {
        Kind::Start { attributes, .. } => attributes.as_slice(),
        _ => &[],
    };
    match markup::attribute(attributes, name) {
        Some(attribute) => Edit { span: attribute.span.clone(), text: Ok(written) },
        None => {
            let after_name = token.span.start + 1 + blocks::tag_name(tokens, index).len();
            Edit { span: after_name..after_name, text: Ok(format!(" {written}")) }
        }
    }
}

fn style_edits(tokens: &[Token<'_>], index: usize, format: BodyFormat, value: &str) -> Result<Vec<Edit>, String> {
    let declarations = style::parse(value)?;
    let tag = blocks::tag_name(tokens, index).to_ascii_lowercase();
    if format == BodyFormat::Mjml && tag.starts_with("mj") {
        let known = style::mjml_attributes(&tag);
        if let Some(unknown) = declarations.iter().find(|declaration| !known.contains(&declaration.property.as_str())) {
            return Err(format!("a <{tag}> has no {}; it has: {}", unknown.property, known.join(", ")));
        }
        let mut edits: Vec<Edit> =
            declarations.iter().map(|declaration| attribute_edit(tokens, index, &declaration.property, &declaration.value)).collect();
        edits.sort_by_key(|edit| edit.span.start);
        return Ok(edits);
    }
    let existing = match tokens.get(index).map(|token| &token.kind) {
        Some(Kind::Start { attributes, .. }) => markup::attribute(attributes, "style").map_or("", |style| style.value),
        _ => "",
    };
    let merged = style::merge(&markup::decode(existing), &declarations);
    let edit = attribute_edit(tokens, index, "style", &merged);
    // The declarations that stay may hold merge tags.
    Ok(vec![Edit { span: edit.span, text: Err(edit.text.unwrap_or_else(|text| text)) }])
}

/// A whole web address without merge fields: a link that differs per person could not be tracked.
fn web_address(value: &str) -> Result<String, String> {
    let url = value.trim();
    if !is_web_address(url) || url.contains(|found: char| found.is_whitespace() || found.is_control()) {
        return Err(format!("'{url}' is not a whole web address; write https://…"));
    }
    if url.contains("{{") || url.contains("{%") {
        return Err("an address under test cannot hold merge fields; everyone needs the same one".to_owned());
    }
    Ok(url.to_owned())
}
