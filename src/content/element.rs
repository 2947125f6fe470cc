//! The one thing a variant may change, and the newsletter with exactly that changed.
//!
//! Cast: [`Element`]; [`with_override`] cuts the new value into the source: every other byte stays as it was.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::blocks::{self, Facet};
use super::edit::{
    Edit, apply, attribute_edit, masked_text, rule_edit, style_edits, text_edit, twin_link_edits, twin_text_edits, web_address,
    would_be_lost,
};
use super::error::ContentError;
use super::markup::{self, Token};
use super::merge::Marks;
use super::newsletter::{Body, BodyFormat, Newsletter, Part};
use super::outlook;
use super::render;
use super::tree::Tree;

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
    /// Where answers go; outside of the letter itself.
    ReplyTo,
    /// When the letter may leave; outside of the letter itself.
    SendTime,
    /// One facet of one part of the body.
    Block {
        /// The part's address: a block's name, a CSS selector, or for [`Facet::Rule`] the rule's selector.
        name: String,
        /// What of it.
        facet: Facet,
    },
    /// The part in which whole letters were found to differ, in words. It has no value of its own: each variant brings its letter.
    Found(String),
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => formatter.write_str("subject"),
            Self::Preheader => formatter.write_str("preheader"),
            Self::SenderName => formatter.write_str("sender name"),
            Self::ReplyTo => formatter.write_str("reply-to address"),
            Self::SendTime => formatter.write_str("send time"),
            Self::Block { name, facet: Facet::Rule } => write!(formatter, "the stylesheet rule '{name}'"),
            Self::Found(place) => formatter.write_str(place),
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
        // Who answers and when is sent is no part of the letter; the campaign keeps them beside it.
        Element::ReplyTo | Element::SendTime => {}
        Element::Found(_) => {
            let problem = "it was found by comparing whole letters; change the letters and compare them again".to_owned();
            return Err(ContentError::Override { element: element.to_string(), problem });
        }
        Element::Block { name, facet } => changed.body = with_block(&newsletter.body, name, *facet, element, value)?,
    }
    Ok(changed)
}

fn with_block(body: &Body, name: &str, facet: Facet, element: &Element, value: &str) -> Result<Body, ContentError> {
    let refuse = |problem: String| ContentError::Override { element: element.to_string(), problem };
    let mut marks = Marks::for_texts(&[&body.source]);
    let source = render::html_source(body, &mut marks)?;
    let tokens = markup::tokens(&source);
    let mut edits = Vec::new();
    if facet == Facet::Rule {
        edits.push(rule_edit(&source, blocks::find_rule(name, &source, &tokens)?, value).map_err(refuse)?);
    } else {
        let tree = Tree::of(&tokens);
        for index in blocks::find(name, facet, &tokens, &marks)? {
            let available = blocks::facets(&tokens, index, body.format);
            if !available.contains(&facet) {
                let tag = blocks::tag_name(&tokens, index);
                let words: Vec<String> = available.iter().map(Facet::to_string).collect();
                let what = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
                return Err(refuse(format!("it is a <{tag}>, in which {what} can vary")));
            }
            if facet == Facet::Presence && presence(value).map_err(refuse)? == Presence::Present {
                return Ok(body.clone());
            }
            edits.extend(facet_edits((&source, &tokens), &tree, index, facet, body.format, value, &refuse)?);
        }
    }
    let format = if body.format == BodyFormat::Markdown { BodyFormat::Html } else { body.format };
    Ok(Body { format, source: apply(&source, edits, &marks) })
}

/// What changes in the source so that one facet of the element at `index` gets its value.
fn facet_edits(
    (source, tokens): (&str, &[Token<'_>]),
    tree: &Tree,
    index: usize,
    facet: Facet,
    format: BodyFormat,
    value: &str,
    refuse: &dyn Fn(String) -> ContentError,
) -> Result<Vec<Edit>, ContentError> {
    let twin = outlook::twin(tokens, tree, index);
    Ok(match facet {
        Facet::Text => {
            if let Some(inner) = would_be_lost(tokens, index) {
                let problem =
                    format!("it holds an <{inner}>, which a new text would remove; name the words alone: <span data-block=\"…\">");
                return Err(refuse(problem));
            }
            let new = masked_text(value)?;
            let (edit, old) = text_edit(source, tokens, index, &new);
            let mut edits = vec![edit];
            edits.extend(twin.iter().flat_map(|twin| twin_text_edits(twin, &old, &new)));
            edits
        }
        Facet::Link => {
            let url = web_address(value).map_err(refuse)?;
            let mut edits = vec![attribute_edit(tokens, index, "href", &url)];
            edits.extend(twin.iter().flat_map(|twin| twin_link_edits(twin, &url)));
            edits
        }
        Facet::Image => vec![attribute_edit(tokens, index, "src", &web_address(value).map_err(refuse)?)],
        Facet::Style => style_edits(tokens, index, format, value).map_err(refuse)?,
        Facet::Presence => {
            let is_link = blocks::tag_name(tokens, index).eq_ignore_ascii_case("a");
            let whole = blocks::extent(tokens, index).map(Edit::remove);
            let twin = twin.filter(|_| is_link).and_then(|twin| tokens.get(twin.token)).map(|token| Edit::remove(token.span.clone()));
            whole.into_iter().chain(twin).collect()
        }
        // The address of a rule is no element.
        Facet::Rule => Vec::new(),
    })
}

/// Whether a part is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Present,
    Absent,
}

fn presence(value: &str) -> Result<Presence, String> {
    match value.trim() {
        "present" => Ok(Presence::Present),
        "absent" => Ok(Presence::Absent),
        other => Err(format!("'{other}' is neither present nor absent; write one of these two words")),
    }
}
