//! A button for Outlook is written twice: as a link, and as a drawing (VML) in a comment only Outlook reads. What changes in one must
//! change in the other, or a part of the readers would see another letter.
//!
//! Cast: [`Twin`] (the comment that belongs to a link), [`twin`]. It changes nothing itself.

use super::markup::{self, Kind, Token};
use super::tree::{Tree, attribute_text};

/// A comment for Outlook that repeats a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin<'s> {
    /// The comment, as an index into the tokens.
    pub token: usize,
    /// Where its inner text starts, as a byte of the source.
    pub start: usize,
    /// Its inner text.
    pub inner: &'s str,
    /// The address both lead to, decoded.
    pub url: String,
}

/// The comment that repeats the link at or around the element at `index`: the one before it, as every generator writes it, or else the
/// one after, as long as no other link to the same address lies between.
pub fn twin<'s>(tokens: &[Token<'s>], tree: &Tree, index: usize) -> Option<Twin<'s>> {
    let link = tree.upwards(tree.at_token(index)?).filter_map(|node| tree.nodes.get(node)).find(|node| node.tag == "a")?;
    let url = attribute_text(tokens, link.token, "href");
    if url.is_empty() {
        return None;
    }
    let leads_there = |token: &Token<'_>| {
        matches!(&token.kind, Kind::Start { name, attributes, .. } if name.eq_ignore_ascii_case("a")
        && markup::attribute(attributes, "href").is_some_and(|href| markup::decode(href.value) == url))
    };
    let of = |position: usize| {
        let token = tokens.get(position)?;
        let Kind::Comment(inner) = &token.kind else { return None };
        repeats(inner, &url).then(|| Twin { token: position, start: token.span.start + "<!--".len(), inner, url: url.clone() })
    };
    let before = (0..link.token).rev().take_while(|position| !tokens.get(*position).is_some_and(leads_there)).find_map(of);
    before.or_else(|| (link.token + 1..tokens.len()).take_while(|position| !tokens.get(*position).is_some_and(leads_there)).find_map(of))
}

/// Whether a comment is for Outlook and holds a drawing that leads there.
fn repeats(inner: &str, url: &str) -> bool {
    inner.trim_start().to_ascii_lowercase().starts_with("[if")
        && markup::tokens(inner).iter().any(|token| match &token.kind {
            Kind::Start { name, attributes, .. } => {
                name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("v:"))
                    && markup::attribute(attributes, "href").is_some_and(|href| markup::decode(href.value) == url)
            }
            _ => false,
        })
}

/// Words as a reader sees them: entities decoded, white space single.
pub fn words(text: &str) -> String {
    markup::decode(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
