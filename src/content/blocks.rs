//! The named parts of a body: elements that carry `id="name"` or `data-block="name"`.
//!
//! Cast: [`Block`] (a name and what may vary in it), [`Facet`]; [`blocks`] lists them for a page, [`find`] looks one up.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ContentError;
use super::markup::{self, Kind, Token};
use super::merge::Marks;
use super::newsletter::{BodyFormat, Newsletter};
use super::render;
use super::style;

/// What may vary in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Facet {
    /// Its words.
    Text,
    /// Where it leads.
    Link,
    /// Its look.
    Style,
    /// Its picture.
    Image,
}

impl fmt::Display for Facet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Link => "link",
            Self::Style => "style",
            Self::Image => "image",
        })
    }
}

/// A named element of a body whose name is given once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// Its element: `a`, `mj-button`, …
    pub tag: String,
    /// What may vary in it.
    pub facets: Vec<Facet>,
}

/// The blocks a variant may vary, in reading order. Names given twice and elements nothing may vary in are left out.
pub fn blocks(newsletter: &Newsletter) -> Result<Vec<Block>, ContentError> {
    let mut marks = Marks::for_texts(&[&newsletter.body.source]);
    let source = render::html_source(&newsletter.body, &mut marks)?;
    let tokens = markup::tokens(&source);
    let named = named(&tokens, &marks);
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in &named {
        *times.entry(name).or_default() += 1;
    }
    let unique = named.iter().filter(|(name, _)| times.get(name.as_str()) == Some(&1));
    let blocks = unique.map(|(name, index)| {
        let tag = tag_name(&tokens, *index).to_ascii_lowercase();
        Block { name: name.clone(), facets: facets(&tokens, *index, newsletter.body.format), tag }
    });
    Ok(blocks.filter(|block| !block.facets.is_empty()).collect())
}

/// The start tag of the one block of that name, as an index into `tokens`.
pub fn find(name: &str, tokens: &[Token<'_>], marks: &Marks) -> Result<usize, ContentError> {
    let named = named(tokens, marks);
    let mut matching = named.iter().filter(|(other, _)| other == name);
    let mut found: Vec<String> = named.iter().map(|(other, _)| other.clone()).collect();
    found.dedup();
    match (matching.next(), matching.count()) {
        (None, _) => Err(ContentError::NoSuchBlock { name: name.to_owned(), found }),
        (Some((_, index)), 0) => Ok(*index),
        (Some(_), more) => Err(ContentError::BlockRepeated { name: name.to_owned(), times: more + 1, found }),
    }
}

/// Every named element in reading order; one that carries a name twice counts once.
fn named(tokens: &[Token<'_>], marks: &Marks) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Kind::Start { attributes, .. } = &token.kind else { continue };
        for attribute in ["data-block", "id"] {
            let Some(named) = markup::attribute(attributes, attribute) else { continue };
            let name = markup::decode(named.value).trim().to_owned();
            if !name.is_empty() && !marks.any_in(&name) && found.last() != Some(&(name.clone(), index)) {
                found.push((name, index));
            }
        }
    }
    found
}

/// The name of the start tag at `index`, as written.
pub fn tag_name<'s>(tokens: &[Token<'s>], index: usize) -> &'s str {
    match tokens.get(index).map(|token| &token.kind) {
        Some(Kind::Start { name, .. }) => name,
        _ => "",
    }
}

/// What may vary in the element at `index`.
pub fn facets(tokens: &[Token<'_>], index: usize, format: BodyFormat) -> Vec<Facet> {
    let tag = tag_name(tokens, index).to_ascii_lowercase();
    let mjml = format == BodyFormat::Mjml && tag.starts_with("mj");
    let mut facets = Vec::new();
    if has_words(&tag, mjml) && markup::inner_end(tokens, index).is_some() {
        facets.push(Facet::Text);
    }
    let link = if mjml { &["mj-button", "mj-image", "mj-social-element", "mj-navbar-link"][..] } else { &["a", "area"][..] };
    if link.contains(&tag.as_str()) {
        facets.push(Facet::Link);
    }
    let styled = if mjml { !style::mjml_attributes(&tag).is_empty() } else { !UNSHOWN.contains(&tag.as_str()) };
    if styled {
        facets.push(Facet::Style);
    }
    if tag == if mjml { "mj-image" } else { "img" } {
        facets.push(Facet::Image);
    }
    facets
}

const UNSHOWN: [&str; 9] = ["html", "head", "title", "meta", "link", "style", "script", "base", "area"];

/// Whether an element's content may be plain words: not a table's skeleton, not a list's.
fn has_words(tag: &str, mjml: bool) -> bool {
    const SKELETON: [&str; 16] = [
        "html", "head", "body", "title", "style", "script", "table", "tbody", "thead", "tfoot", "tr", "colgroup", "ul", "ol", "dl",
        "select",
    ];
    if mjml {
        return ["mj-text", "mj-button", "mj-social-element", "mj-navbar-link", "mj-accordion-title", "mj-accordion-text"].contains(&tag);
    }
    !SKELETON.contains(&tag)
}
