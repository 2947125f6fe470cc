//! Single changes of a source: one attribute, one text, one rule; every other byte stays as it was.
//!
//! Cast: [`Edit`], and a maker for each kind of change; [`apply`] does them.
//!
//! It does not choose what is changed: that is [`super::element`].

use super::blocks;
use super::error::ContentError;
use super::links::is_web_address;
use super::markup::{self, Kind, Token};
use super::merge::Marks;
use super::newsletter::{BodyFormat, Part};
use super::outlook::{self, Twin};
use super::style;
use super::tree::attribute_text;

/// Replaces a stretch of the source; edits are in order and do not overlap.
pub struct Edit {
    /// Which bytes.
    pub span: std::ops::Range<usize>,
    /// The new text; as an error where it still holds marks of the old one.
    pub text: Result<String, String>,
}

impl Edit {
    /// Removes a stretch.
    pub fn remove(span: std::ops::Range<usize>) -> Self {
        Self { span, text: Ok(String::new()) }
    }

    /// The same edit in a text that starts at that byte of the source.
    fn shifted(self, start: usize) -> Self {
        Self { span: self.span.start + start..self.span.end + start, text: self.text }
    }
}

/// A link or picture inside the element: with it, more than the words would change.
pub fn would_be_lost<'s>(tokens: &[Token<'s>], index: usize) -> Option<&'s str> {
    let end = markup::inner_end(tokens, index)?;
    tokens.get(index + 1..end)?.iter().find_map(|token| match &token.kind {
        Kind::Start { name, .. } if ["a", "img", "area"].iter().any(|lost| lost.eq_ignore_ascii_case(name)) => Some(*name),
        _ => None,
    })
}

/// The text as it is written between tags, its own tags checked.
pub fn masked_text(value: &str) -> Result<String, ContentError> {
    let mut marks = Marks::for_texts(&[value]);
    let masked = marks.mask(Part::Body, value, false)?;
    Ok(marks.unmask(&markup::escape_text(&masked)))
}

/// The edit that replaces an element's content, and the words that were there.
pub fn text_edit(source: &str, tokens: &[Token<'_>], index: usize, new: &str) -> (Edit, String) {
    let end = markup::inner_end(tokens, index).unwrap_or(index);
    let start = tokens.get(index).map_or(0, |token| token.span.end);
    let stop = tokens.get(end).map_or(start, |token| token.span.start.max(start));
    let inside = tokens.get(index + 1..end).unwrap_or_default();
    let texts = inside.iter().filter(|token| token.kind == Kind::Text);
    let old: Vec<&str> = texts.filter_map(|token| source.get(token.span.clone())).collect();
    (Edit { span: start..stop, text: Ok(new.to_owned()) }, outlook::words(&old.concat()))
}

/// The same words in the drawing for Outlook.
pub fn twin_text_edits(twin: &Twin<'_>, old: &str, new: &str) -> Vec<Edit> {
    let inner = markup::tokens(twin.inner);
    let text = |token: &Token<'_>| twin.inner.get(token.span.clone()).unwrap_or_default();
    let same = |token: &&Token<'_>| token.kind == Kind::Text && !old.is_empty() && outlook::words(text(token)) == old;
    inner.iter().filter(same).map(|token| Edit { span: token.span.clone(), text: Ok(new.to_owned()) }.shifted(twin.start)).collect()
}

/// The same link in the drawing for Outlook.
pub fn twin_link_edits(twin: &Twin<'_>, url: &str) -> Vec<Edit> {
    let inner = markup::tokens(twin.inner);
    let leads_there = |index: &usize| attribute_text(&inner, *index, "href") == twin.url;
    (0..inner.len()).filter(leads_there).map(|index| attribute_edit(&inner, index, "href", url).shifted(twin.start)).collect()
}

/// Puts declarations into a rule of the stylesheet.
pub fn rule_edit(source: &str, body: std::ops::Range<usize>, value: &str) -> Result<Edit, String> {
    let declarations = style::parse(value)?;
    let existing = source.get(body.clone()).unwrap_or_default();
    // The declarations that stay may hold merge tags.
    Ok(Edit { span: body, text: Err(style::merge(existing, &declarations)) })
}

/// Sets an attribute; one that is not there yet comes right after the element's name. The value is escaped here.
pub fn attribute_edit(tokens: &[Token<'_>], index: usize, name: &str, value: &str) -> Edit {
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

pub fn style_edits(tokens: &[Token<'_>], index: usize, format: BodyFormat, value: &str) -> Result<Vec<Edit>, String> {
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
pub fn web_address(value: &str) -> Result<String, String> {
    let url = value.trim();
    if !is_web_address(url) || url.contains(|found: char| found.is_whitespace() || found.is_control()) {
        return Err(format!("'{url}' is not a whole web address; write https://…"));
    }
    if url.contains("{{") || url.contains("{%") {
        return Err("an address under test cannot hold merge fields; everyone needs the same one".to_owned());
    }
    Ok(url.to_owned())
}

/// The source with its edits done and its tags put back.
pub fn apply(source: &str, mut edits: Vec<Edit>, marks: &Marks) -> String {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut changed = String::with_capacity(source.len());
    let mut done = 0;
    for edit in edits {
        // What lies in a part that was replaced is gone with it.
        let Some(before) = source.get(done..edit.span.start) else { continue };
        changed.push_str(&marks.unmask(before));
        changed.push_str(&edit.text.unwrap_or_else(|masked| marks.unmask(&masked)));
        done = edit.span.end;
    }
    changed.push_str(&marks.unmask(source.get(done..).unwrap_or_default()));
    changed
}
