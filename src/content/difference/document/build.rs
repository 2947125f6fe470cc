//! Tokens into nodes.
//!
//! Cast: [`build`]; inside, [`Builder`].
//!
//! It never repairs: a stray end tag is a node, and an element left open ends where its parent does.

use std::ops::Range;

use super::super::sheet::{declarations, rules};
use super::super::spelling::{collapsed, decoded};
use super::{Attribute, Closing, Document, Node, NodeKind, is_block};
use crate::content::error::ContentError;
use crate::content::markup::{self, Kind};
use crate::content::merge::Marks;

/// Elements may lie this deep in one another; the comparison calls itself once per level.
const DEEPEST: usize = 300;
/// Most nodes; more markup than this in a letter is an attack.
const MOST_NODES: usize = 200_000;

/// A masked body as a tree, with its white space as it is written and nothing hashed yet.
///
/// # Errors
/// Nesting or size beyond any letter.
pub(super) fn build(masked: &str, marks: Option<&Marks>, mjml: bool) -> Result<Document, ContentError> {
    let mut builder = Builder { document: Document { nodes: Vec::new() }, open: Vec::new(), marks, mjml };
    builder.push(NodeKind::Root, 0..masked.len(), false);
    builder.open.push(0);
    builder.read(masked, 0, false)?;
    Ok(builder.document)
}

struct Builder<'m> {
    document: Document,
    /// The open elements, the root first.
    open: Vec<usize>,
    marks: Option<&'m Marks>,
    mjml: bool,
}

impl Builder<'_> {
    fn push(&mut self, kind: NodeKind, span: Range<usize>, conditional: bool) -> usize {
        let number = self.document.nodes.len();
        let parent = self.open.last().copied().unwrap_or_default();
        self.document.nodes.push(Node { kind, children: Vec::new(), parent, span, hash: [0; 32], size: 1, conditional });
        if number > 0 {
            self.document.nodes[parent].children.push(number);
        }
        number
    }

    /// The author's text of a masked one.
    fn unmasked(&self, text: &str) -> String {
        self.marks.map_or_else(|| text.to_owned(), |marks| marks.unmask(text))
    }

    fn read(&mut self, source: &str, offset: usize, conditional: bool) -> Result<(), ContentError> {
        let floor = self.open.len();
        for token in markup::tokens(source) {
            if self.open.len() > DEEPEST || self.document.nodes.len() > MOST_NODES {
                let problem = "its elements are too many, or lie too deep in one another, to be compared; close those left open".to_owned();
                return Err(ContentError::Markup { line: None, problem });
            }
            let span = token.span.start + offset..token.span.end + offset;
            let written = &source[token.span.clone()];
            match token.kind {
                Kind::Text => self.text(written, span, conditional),
                Kind::RawText => self.raw(written, span, conditional),
                Kind::Start { name, attributes, self_closing } => {
                    self.start(name, &attributes, self_closing, span, offset, conditional);
                }
                Kind::End { name } => self.end(name, span, floor, conditional),
                Kind::Comment(inner) => self.comment(inner, span, conditional)?,
                Kind::Other => {
                    let marker = collapsed(written);
                    let is_doctype = marker.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
                    let marker = if is_doctype { marker.to_ascii_lowercase() } else { self.unmasked(&marker) };
                    self.push(NodeKind::Marker(marker), span, conditional);
                }
            }
        }
        self.open.truncate(floor);
        Ok(())
    }

    fn text(&mut self, written: &str, span: Range<usize>, conditional: bool) {
        let text = self.unmasked(&decoded(written, false));
        let parent = self.open.last().copied().unwrap_or_default();
        // Across a comment that is gone, two texts are one.
        if let Some(&last) = self.document.nodes[parent].children.last()
            && let NodeKind::Text(before) = &mut self.document.nodes[last].kind
        {
            before.push_str(&text);
            self.document.nodes[last].span.end = span.end;
            return;
        }
        self.push(NodeKind::Text(text), span, conditional);
    }

    fn raw(&mut self, written: &str, span: Range<usize>, conditional: bool) {
        let parent = self.open.last().copied().unwrap_or_default();
        let kind = match self.document.name(parent) {
            "style" | "mj-style" => NodeKind::Sheet(rules(&self.unmasked(written))),
            "title" | "mj-title" | "mj-preview" => NodeKind::Text(self.unmasked(&decoded(written, false))),
            _ => NodeKind::Raw(self.unmasked(written)),
        };
        self.push(kind, span, conditional);
    }

    fn start(
        &mut self,
        name: &str,
        written: &[markup::Attribute<'_>],
        self_closing: bool,
        span: Range<usize>,
        offset: usize,
        conditional: bool,
    ) {
        let own = self.mjml && name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("mj"));
        let name = if own { name.to_owned() } else { name.to_ascii_lowercase() };
        while self.open.len() > 1 && self.open.last().is_some_and(|top| ends_before(self.document.name(*top), &name)) {
            self.open.pop();
        }
        let mut attributes: Vec<Attribute> = written.iter().map(|attribute| self.attribute(attribute, own, offset)).collect();
        attributes.sort_by(|one, other| one.name.cmp(&other.name));
        // An empty style says nothing, and of two styles browsers take the first.
        attributes.retain(|attribute| attribute.name != "style" || !attribute.style.is_empty());
        attributes.dedup_by(|later, first| later.name == "style" && first.name == "style");
        let is_void = markup::is_void(&name);
        let closing = match (is_void, self_closing) {
            (true, _) => Closing::Whole,
            // In XML, and in Outlook's own elements, this is how an element without content is written.
            (false, true) if self.mjml || name.contains(':') => Closing::Whole,
            (false, true) => Closing::SelfClosed,
            (false, false) => Closing::Open,
        };
        let number = self.push(NodeKind::Element { name, attributes, closing }, span, conditional);
        if !is_void && !self_closing {
            self.open.push(number);
        }
    }

    fn attribute(&self, written: &markup::Attribute<'_>, own: bool, offset: usize) -> Attribute {
        let name = if own { written.name.to_owned() } else { written.name.to_ascii_lowercase() };
        let value = self.unmasked(&decoded(written.value, true));
        let span = written.span.start + offset..written.span.end + offset;
        match name.as_str() {
            "style" => Attribute { name, value: String::new(), style: declarations(&value), span },
            "class" | "mj-class" | "css-class" => Attribute { value: collapsed(value.trim_ascii()), name, style: Vec::new(), span },
            "href" | "src" => Attribute { value: value.trim_ascii().to_owned(), name, style: Vec::new(), span },
            _ => Attribute { name, value, style: Vec::new(), span },
        }
    }

    fn end(&mut self, name: &str, span: Range<usize>, floor: usize, conditional: bool) {
        let matches = |open: &usize| self.document.name(*open).eq_ignore_ascii_case(name);
        let Some(place) = self.open.iter().rposition(matches).filter(|place| *place >= floor) else {
            self.push(NodeKind::Marker(format!("</{}", name.to_ascii_lowercase())), span, conditional);
            return;
        };
        let closed = self.open[place];
        for open in self.open.drain(place..) {
            self.document.nodes[open].span.end = span.start;
        }
        let node = &mut self.document.nodes[closed];
        node.span.end = span.end;
        if let NodeKind::Element { closing, .. } = &mut node.kind {
            *closing = Closing::Whole;
        }
    }

    fn comment(&mut self, inner: &str, span: Range<usize>, conditional: bool) -> Result<(), ContentError> {
        let begun = inner.trim_ascii_start();
        let is_condition = begun.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("[if"));
        if is_condition
            && let Some(condition_end) = inner.find("]>")
            && !inner[condition_end..].trim_ascii_end().eq_ignore_ascii_case("]><!")
        {
            let condition = collapsed(&inner[..condition_end + 1]).trim().to_owned();
            let content = &inner[condition_end + 2..];
            let content = &content[..content.to_ascii_lowercase().rfind("<![endif]").unwrap_or(content.len())];
            // Behind the comment's opening dashes.
            let offset = span.start + 4 + condition_end + 2;
            let number = self.push(NodeKind::Conditional(condition), span, conditional);
            self.open.push(number);
            let read = self.read(content, offset, true);
            self.open.pop();
            return read;
        }
        let is_half = is_condition || begun.get(..3).is_some_and(|start| start == "<![");
        if is_half {
            let marker = if is_condition { "[if" } else { "<![endif" };
            let rest = collapsed(begun).trim().to_owned();
            let kept = if rest.starts_with(marker) { rest } else { format!("{marker} {rest}") };
            self.push(NodeKind::Marker(kept), span, conditional);
        } else if self.marks.is_some_and(|marks| marks.any_in(inner)) {
            let marker = format!("<!--{}", collapsed(&self.unmasked(inner)));
            self.push(NodeKind::Marker(marker), span, conditional);
        }
        Ok(())
    }
}

/// Whether an element whose end tag may be left out ends where `next` begins (HTML, §13.1.2.4).
fn ends_before(open: &str, next: &str) -> bool {
    match open {
        "li" => next == "li",
        "dt" | "dd" => next == "dt" || next == "dd",
        "td" | "th" => ["td", "th", "tr", "tbody", "tfoot"].contains(&next),
        "tr" => ["tr", "tbody", "tfoot"].contains(&next),
        "tbody" | "thead" => ["tbody", "tfoot"].contains(&next),
        "option" => next == "option",
        "p" => is_block(next) && !["link", "meta", "style", "script", "title", "noscript"].contains(&next),
        _ => false,
    }
}
