//! The parts of a body that may vary, and how they are addressed: by a name of their own (`id="name"` or `data-block="name"`), by a
//! CSS selector, and the rules of a stylesheet by their selectors.
//!
//! Cast: [`Block`] (an address and what may vary there), [`Facet`]; [`blocks`] lists those with a name, [`find`] looks an address up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ContentError;
use super::markup::{self, Kind, Token};
use super::merge::Marks;
use super::newsletter::{BodyFormat, Newsletter};
use super::render;
use super::selector::{Selector, Simple};
use super::sheet;
use super::style;
use super::tree::Tree;
use super::unknown;

/// Addresses offered in a message.
const OFFERED: usize = 12;

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
    /// Whether it is there at all.
    Presence,
    /// The declarations of one rule of the stylesheet; the address is the rule's selector.
    Rule,
}

impl Facet {
    /// Every facet.
    pub const ALL: [Self; 6] = [Self::Text, Self::Link, Self::Style, Self::Image, Self::Presence, Self::Rule];

    /// The word used in files and forms.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Link => "link",
            Self::Style => "style",
            Self::Image => "image",
            Self::Presence => "presence",
            Self::Rule => "rule",
        }
    }
}

impl fmt::Display for Facet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
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
    let blocks = unique_names(&tokens, &marks).into_iter().map(|(index, name)| {
        let tag = tag_name(&tokens, index).to_ascii_lowercase();
        Block { name, facets: facets(&tokens, index, newsletter.body.format), tag }
    });
    Ok(blocks.filter(|block| !block.facets.is_empty()).collect())
}

/// The names that are given once, by the element that carries them; of two names of one element the first counts.
pub fn unique_names(tokens: &[Token<'_>], marks: &Marks) -> BTreeMap<usize, String> {
    let named = named(tokens, marks);
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in &named {
        *times.entry(name).or_default() += 1;
    }
    let mut unique = BTreeMap::new();
    for (name, index) in named.iter().filter(|(name, _)| times.get(name.as_str()) == Some(&1)) {
        unique.entry(*index).or_insert_with(|| name.clone());
    }
    unique
}

/// The start tags an address means, as indexes into `tokens`: one, or for a look all that a selector finds.
///
/// # Errors
/// That nothing or more than one is meant, with what there is.
pub fn find(address: &str, facet: Facet, tokens: &[Token<'_>], marks: &Marks) -> Result<Vec<usize>, ContentError> {
    let named = named(tokens, marks);
    let mut matching = named.iter().filter(|(other, _)| other == address);
    match (matching.next(), matching.count()) {
        (None, _) => {}
        (Some((_, index)), 0) => return Ok(vec![*index]),
        (Some(_), more) => {
            return Err(ContentError::BlockRepeated { name: address.to_owned(), times: more + 1, found: offered(&named) });
        }
    }
    let tree = Tree::of(tokens);
    let plain = address.chars().all(|found| found.is_alphanumeric() || found == '-' || found == '_');
    if plain && !tree.nodes.iter().any(|node| node.tag.eq_ignore_ascii_case(address)) {
        return Err(ContentError::NoSuchBlock { name: address.to_owned(), found: offered(&named) });
    }
    let refuse = |problem: String| Err(ContentError::Selector { selector: address.to_owned(), problem });
    let selector = match Selector::parse(address) {
        Ok(selector) => selector,
        Err(problem) => return refuse(problem),
    };
    let found = selector.matches(&tree, tokens);
    match found.as_slice() {
        [] => refuse(nothing_found(&selector, &tree, tokens)),
        [_, _, ..] if facet != Facet::Style => {
            let unique = unique_names(tokens, marks);
            let some: Vec<String> = found.iter().take(4).map(|node| address_of(*node, &tree, tokens, &unique)).collect();
            let more = if found.len() > some.len() { " …" } else { "" };
            refuse(format!(
                "it means {} parts of the letter, but the {facet} of one can vary; write one of: {}{more}",
                found.len(),
                some.join(" · ")
            ))
        }
        _ => Ok(found.into_iter().filter_map(|node| tree.nodes.get(node)).map(|node| node.token).collect()),
    }
}

/// Where the declarations of the one rule with these selectors stand.
///
/// # Errors
/// That there is no such rule or more than one, with the rules there are.
pub fn find_rule(address: &str, source: &str, tokens: &[Token<'_>]) -> Result<std::ops::Range<usize>, ContentError> {
    let refuse = |problem: String| Err(ContentError::Selector { selector: address.to_owned(), problem });
    let rules = sheet::rules(source, tokens);
    let wanted = sheet::address(address.trim_end_matches(['{', '}', ' ']));
    let mut matching = rules.iter().filter(|rule| rule.address == wanted);
    let there = || {
        let known: BTreeSet<&str> = rules.iter().map(|rule| rule.address.as_str()).collect();
        let some: Vec<&str> = known.into_iter().take(OFFERED).collect();
        if some.is_empty() { "the letter has no stylesheet".to_owned() } else { format!("there are: {}", some.join(" · ")) }
    };
    match (matching.next(), matching.count()) {
        (None, _) => refuse(format!("the letter's stylesheet has no such rule; {}", there())),
        (Some(rule), 0) => Ok(rule.body.clone()),
        (Some(_), more) => refuse(format!("the letter's stylesheet has this rule {} times; write it once", more + 1)),
    }
}

/// Which condition of a selector nothing fulfils, and what was probably meant.
fn nothing_found(selector: &Selector, tree: &Tree, tokens: &[Token<'_>]) -> String {
    let all = 0..tree.nodes.len();
    let unfulfilled = selector.conditions().find(|simple| !all.clone().any(|node| simple.holds(node, tree, tokens)));
    let values = |name: &str| -> BTreeSet<String> {
        tree.nodes
            .iter()
            .flat_map(|node| {
                super::tree::attribute_text(tokens, node.token, name).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    };
    let (what, written, known) = match unfulfilled {
        Some(Simple::Tag(tag)) => ("element", tag, tree.nodes.iter().map(|node| node.tag.clone()).collect()),
        Some(Simple::Id(id)) => ("id", id, values("id")),
        Some(Simple::Class(class)) => ("class", class, values("class").into_iter().chain(values("css-class")).collect()),
        Some(Simple::Attribute { name, .. }) => return format!("no element of the letter has the attribute `{name}` with that value"),
        _ => return "no part of the letter lies so".to_owned(),
    };
    let hint = match unknown::suggest(written, &known) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None if known.is_empty() => format!("; there is no {what} at all"),
        None => format!("; there are: {}", known.iter().take(OFFERED).cloned().collect::<Vec<_>>().join(", ")),
    };
    format!("the letter has no {what} `{written}`{hint}")
}

fn offered(named: &[(String, usize)]) -> Vec<String> {
    let mut found: Vec<String> = named.iter().map(|(other, _)| other.clone()).collect();
    found.dedup();
    found.truncate(40);
    found
}

/// An address that means this element alone: its name, or a path from the nearest named element around it.
pub fn address_of(node: usize, tree: &Tree, tokens: &[Token<'_>], unique: &BTreeMap<usize, String>) -> String {
    let mut steps: Vec<String> = Vec::new();
    for above in tree.upwards(node) {
        let Some(found) = tree.nodes.get(above) else { break };
        if let Some(name) = unique.get(&found.token) {
            if steps.is_empty() {
                return name.clone();
            }
            let attribute = if super::tree::attribute_text(tokens, found.token, "data-block").trim() == name { "data-block" } else { "id" };
            let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
            let by_id = attribute == "id" && plain && super::tree::attribute_text(tokens, found.token, "id") == *name;
            steps.push(if by_id { format!("#{name}") } else { format!("[{attribute}=\"{}\"]", name.replace('"', "")) });
            break;
        }
        steps.push(format!("{}:nth-of-type({})", super::selector::escape(&found.tag), found.of_type));
    }
    steps.reverse();
    steps.join(" > ")
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
    if may_be_absent(&tag, mjml) && extent(tokens, index).is_some() {
        facets.push(Facet::Presence);
    }
    facets
}

/// From the start of an element to its end, as bytes of the source; none when where it ends is a guess.
pub fn extent(tokens: &[Token<'_>], index: usize) -> Option<std::ops::Range<usize>> {
    let start = tokens.get(index)?;
    let Kind::Start { name, self_closing, .. } = &start.kind else { return None };
    if *self_closing || markup::is_void(name) {
        return Some(start.span.clone());
    }
    let end = tokens.get(markup::inner_end(tokens, index)?)?;
    Some(start.span.start..end.span.end)
}

const UNSHOWN: [&str; 9] = ["html", "head", "title", "meta", "link", "style", "script", "base", "area"];

/// Whether a letter without the element is still a letter: not its skeleton, not a table's.
fn may_be_absent(tag: &str, mjml: bool) -> bool {
    const SKELETON: [&str; 6] = ["body", "tbody", "thead", "tfoot", "colgroup", "col"];
    if mjml {
        const SHOWN: [&str; 15] = [
            "mj-text",
            "mj-button",
            "mj-image",
            "mj-section",
            "mj-wrapper",
            "mj-column",
            "mj-group",
            "mj-hero",
            "mj-divider",
            "mj-spacer",
            "mj-social",
            "mj-social-element",
            "mj-navbar",
            "mj-table",
            "mj-accordion",
        ];
        return SHOWN.contains(&tag);
    }
    !SKELETON.contains(&tag) && (!UNSHOWN.contains(&tag) || tag == "area")
}

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
