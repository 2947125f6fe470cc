//! A body as a tree in which what means the same looks the same.
//!
//! Cast: [`Document`] (the tree; nodes are named by their number), [`Node`], [`NodeKind`], [`Attribute`].
//!
//! The tree is built from our own tokens and not by an HTML parser, because such a parser repairs: it moves text out of tables, closes
//! and re-opens elements, cannot read MJML, and sees a conditional comment for Outlook as one opaque text, though half an element may
//! stand in it. Here no byte that could matter is lost: a stray end tag is a node, and how an element ends is part of it.

use std::ops::Range;

use super::sheet::{Declaration, Rule, declarations, rules};
use super::spelling::{collapsed, decoded};
use crate::content::error::ContentError;
use crate::content::markup::{self, Kind};
use crate::content::merge::Marks;

/// Elements may lie this deep in one another; the comparison calls itself once per level.
const DEEPEST: usize = 300;
/// Most nodes; more markup than this in a letter is an attack.
const MOST_NODES: usize = 200_000;

/// A body as a tree.
#[derive(Debug)]
pub struct Document {
    nodes: Vec<Node>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// In order.
    pub children: Vec<usize>,
    /// The root's parent is the root.
    pub parent: usize,
    /// Where it stands in the masked source, its end tag included.
    pub span: Range<usize>,
    /// Over everything in it.
    pub hash: [u8; 32],
    /// Nodes in it, itself included.
    pub size: usize,
    /// It stands in a comment only Outlook reads.
    pub conditional: bool,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// The whole.
    Root,
    /// An element.
    Element {
        /// Lower case, but for MJML's own.
        name: String,
        /// Sorted by name.
        attributes: Vec<Attribute>,
        /// How it ends.
        closing: Closing,
    },
    /// Words, in one spelling.
    Text(String),
    /// `<!--[if mso]> … <![endif]-->`; its content is its children.
    Conditional(String),
    /// Doctype, processing instruction, one half of a revealed condition, a comment that holds merge tags; an end tag of nothing.
    Marker(String),
    /// The content of a style element.
    Sheet(Vec<Rule>),
    /// The content of a script or a text area.
    Raw(String),
}

/// How an element ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// As its kind does: by its end tag, or at once when it is void.
    Whole,
    /// `<div/>`, which browsers read as never closed.
    SelfClosed,
    /// By the end of what it is in.
    Open,
}

/// An attribute in one spelling.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Lower case, but for MJML's own.
    pub name: String,
    /// Decoded; tags as the author wrote them. Empty for a style attribute.
    pub value: String,
    /// A style attribute's declarations.
    pub style: Vec<Declaration>,
    /// Where it stands in the masked source.
    pub span: Range<usize>,
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.value, &self.style) == (&other.name, &other.value, &other.style)
    }
}
impl Eq for Attribute {}

impl Document {
    /// Reads a masked body. `mjml` keeps the case of MJML's own names, which its renderer tells apart.
    ///
    /// # Errors
    /// Nesting or size beyond any letter.
    pub fn read(masked: &str, marks: Option<&Marks>, mjml: bool) -> Result<Self, ContentError> {
        let mut builder = Builder { document: Self { nodes: Vec::new() }, open: Vec::new(), marks, mjml };
        builder.push(NodeKind::Root, 0..masked.len(), false);
        builder.open.push(0);
        builder.read(masked, 0, false)?;
        builder.document.settle_white_space();
        builder.document.hash();
        Ok(builder.document)
    }

    /// The node of that number.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// An element's name; empty for anything else.
    pub fn name(&self, number: usize) -> &str {
        match &self.node(number).kind {
            NodeKind::Element { name, .. } => name,
            _ => "",
        }
    }

    /// An attribute's value.
    pub fn attribute(&self, number: usize, wanted: &str) -> Option<&str> {
        let NodeKind::Element { attributes, .. } = &self.node(number).kind else { return None };
        attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(wanted)).map(|attribute| attribute.value.as_str())
    }

    /// A style attribute's declarations.
    pub fn style(&self, number: usize) -> &[Declaration] {
        let NodeKind::Element { attributes, .. } = &self.node(number).kind else { return &[] };
        attributes.iter().find(|attribute| attribute.name == "style").map_or(&[], |attribute| attribute.style.as_slice())
    }

    /// The words in a node, those for Outlook alone left out.
    pub fn words(&self, number: usize) -> String {
        self.words_up_to(number, usize::MAX)
    }

    /// As [`Document::words`], and no more once there are this many bytes.
    pub fn words_up_to(&self, number: usize, enough: usize) -> String {
        let mut words = String::new();
        let mut left = vec![number];
        while let Some(next) = left.pop().filter(|_| words.len() <= enough) {
            let node = self.node(next);
            match &node.kind {
                NodeKind::Text(text) => words.push_str(text),
                NodeKind::Element { name, .. } if name == "br" || is_block(name) => words.push(' '),
                NodeKind::Conditional(_) if next != number => continue,
                _ => {}
            }
            left.extend(node.children.iter().rev());
        }
        collapsed(words.trim())
    }

    /// White space that shows nowhere is gone: at the edges of blocks. All of it stays where a style asks for it to be kept.
    fn settle_white_space(&mut self) {
        let keeps = |list: &[Declaration]| {
            list.iter().any(|one| one.property == "white-space" && (one.value.starts_with("pre") || one.value.starts_with("break-spaces")))
        };
        let kept = self.nodes.iter().any(|node| match &node.kind {
            NodeKind::Sheet(rules) => rules.iter().any(|rule| keeps(&rule.declarations)),
            NodeKind::Element { attributes, name, .. } => {
                name == "pre" || name == "textarea" || attributes.iter().any(|attribute| keeps(&attribute.style))
            }
            _ => false,
        });
        if kept {
            return;
        }
        let inline = InlineRules::of(&self.nodes);
        for number in 0..self.nodes.len() {
            let NodeKind::Text(text) = &self.nodes[number].kind else { continue };
            let mut text = collapsed(text);
            if text.starts_with(' ') && self.at_block_edge(number, &inline, false) {
                text.remove(0);
            }
            if text.ends_with(' ') && self.at_block_edge(number, &inline, true) {
                text.pop();
            }
            self.nodes[number].kind = NodeKind::Text(text);
        }
        for number in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[number].children);
            children.retain(|child| !matches!(&self.nodes[*child].kind, NodeKind::Text(text) if text.is_empty()));
            self.nodes[number].children = children;
        }
    }

    /// Whether a line of text begins (or, `after`, ends) at this node whatever stands there.
    fn at_block_edge(&self, number: usize, inline: &InlineRules, after: bool) -> bool {
        let mut current = number;
        loop {
            let parent = self.nodes[current].parent;
            let siblings = &self.nodes[parent].children;
            let place = siblings.binary_search(&current).unwrap_or_default();
            let beside = if after { &siblings[place + 1..] } else { &siblings[..place] };
            let mut transparent = true;
            for offset in 0..beside.len() {
                let at = if after { offset } else { beside.len() - 1 - offset };
                let node = &self.nodes[beside[at]];
                match &node.kind {
                    NodeKind::Element { name, .. } if name == "br" => return true,
                    NodeKind::Element { .. } => return !inline.is_inline(node),
                    NodeKind::Text(text) if text.trim_ascii().is_empty() => {}
                    // Outlook sees what is in it, everybody else what is behind it.
                    NodeKind::Conditional(_) => {
                        let near = if after { node.children.first() } else { node.children.last() };
                        if near.is_some_and(|near| !self.is_block_like(*near, inline)) {
                            return false;
                        }
                    }
                    NodeKind::Sheet(_) => {}
                    NodeKind::Marker(marker)
                        if marker.starts_with("[if") || marker.starts_with("<![endif") || marker.starts_with("<!doctype") => {}
                    NodeKind::Marker(marker) => return marker.strip_prefix("</").is_some_and(is_block),
                    _ => {
                        transparent = false;
                        break;
                    }
                }
            }
            if !transparent {
                return false;
            }
            match &self.nodes[parent].kind {
                NodeKind::Root => return true,
                NodeKind::Conditional(_) => current = parent,
                _ => return !inline.is_inline(&self.nodes[parent]),
            }
        }
    }

    fn is_block_like(&self, number: usize, inline: &InlineRules) -> bool {
        let node = &self.nodes[number];
        match &node.kind {
            NodeKind::Element { name, .. } => name == "br" || !inline.is_inline(node),
            NodeKind::Marker(marker) => marker.strip_prefix("</").is_some_and(is_block),
            NodeKind::Text(text) => text.trim_ascii().is_empty(),
            _ => false,
        }
    }

    /// Children have higher numbers than their parents, so one pass from the back meets them first.
    fn hash(&mut self) {
        for number in (0..self.nodes.len()).rev() {
            let mut hasher = blake3::Hasher::new();
            let node = &self.nodes[number];
            feed_kind(&mut hasher, &node.kind);
            let mut size = 1;
            for child in &node.children {
                hasher.update(&self.nodes[*child].hash);
                size += self.nodes[*child].size;
            }
            let hash = *hasher.finalize().as_bytes();
            let node = &mut self.nodes[number];
            node.hash = hash;
            node.size = size;
        }
    }
}

fn feed(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn feed_two(hasher: &mut blake3::Hasher, kind: &str, text: &str) {
    feed(hasher, kind);
    feed(hasher, text);
}

fn feed_declarations(hasher: &mut blake3::Hasher, list: &[Declaration]) {
    hasher.update(&(list.len() as u64).to_le_bytes());
    for declaration in list {
        feed(hasher, &declaration.property);
        feed(hasher, &declaration.value);
    }
}

fn feed_kind(hasher: &mut blake3::Hasher, kind: &NodeKind) {
    match kind {
        NodeKind::Root => feed(hasher, "root"),
        NodeKind::Element { name, attributes, closing } => {
            feed(hasher, "element");
            feed(hasher, name);
            feed(
                hasher,
                if *closing == Closing::Whole {
                    "whole"
                } else if *closing == Closing::Open {
                    "open"
                } else {
                    "self"
                },
            );
            hasher.update(&(attributes.len() as u64).to_le_bytes());
            for attribute in attributes {
                feed(hasher, &attribute.name);
                feed(hasher, &attribute.value);
                feed_declarations(hasher, &attribute.style);
            }
        }
        NodeKind::Text(text) => feed_two(hasher, "text", text),
        NodeKind::Conditional(condition) => feed_two(hasher, "if", condition),
        NodeKind::Marker(marker) => feed_two(hasher, "marker", marker),
        NodeKind::Raw(raw) => feed_two(hasher, "raw", raw),
        NodeKind::Sheet(rules) => {
            feed(hasher, "sheet");
            hasher.update(&(rules.len() as u64).to_le_bytes());
            for rule in rules {
                hasher.update(&(rule.context.len() as u64).to_le_bytes());
                rule.context.iter().for_each(|context| feed(hasher, context));
                feed(hasher, &rule.selector);
                feed_declarations(hasher, &rule.declarations);
            }
        }
    }
}

/// Elements that begin and end a line of text of their own, by their kind. MJML's are all so.
pub fn is_block(name: &str) -> bool {
    const BLOCKS: [&str; 55] = [
        "address",
        "article",
        "aside",
        "base",
        "blockquote",
        "body",
        "caption",
        "center",
        "col",
        "colgroup",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "head",
        "header",
        "hr",
        "html",
        "legend",
        "li",
        "link",
        "main",
        "menu",
        "meta",
        "nav",
        "ol",
        "p",
        "section",
        "style",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
        "xml",
        "mjml",
        "script",
        "noscript",
    ];
    BLOCKS.contains(&name) || name.starts_with("mj-")
}

/// What style sheets may make inline, by the tags, classes and ids their rules name.
struct InlineRules {
    names: Vec<String>,
}

impl InlineRules {
    fn of(nodes: &[Node]) -> Self {
        let mut names = Vec::new();
        let sheets = nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Sheet(rules) => Some(rules),
            _ => None,
        });
        for rule in sheets.flatten().filter(|rule| makes_inline(&rule.declarations)) {
            for selector in rule.selector.split(',') {
                let last = selector.rsplit([' ', '>', '+', '~']).next().unwrap_or_default();
                let last = last.split([':', '[']).next().unwrap_or_default();
                // Of several names in one the last is the narrowest: `td.button` is about the class.
                let start = last.rfind(['.', '#']).unwrap_or_default();
                names.push(last[start..].to_owned());
            }
        }
        Self { names }
    }

    fn is_inline(&self, node: &Node) -> bool {
        let NodeKind::Element { name, attributes, .. } = &node.kind else { return true };
        if !is_block(name) {
            return true;
        }
        attributes.iter().any(|attribute| match attribute.name.as_str() {
            "style" => makes_inline(&attribute.style),
            "class" => attribute.value.split(' ').any(|class| self.names.iter().any(|named| named.strip_prefix('.') == Some(class))),
            "id" => self.names.iter().any(|named| named.strip_prefix('#') == Some(&attribute.value)),
            _ => false,
        }) || self.names.iter().any(|named| named == name || named == "*")
    }
}

fn makes_inline(list: &[Declaration]) -> bool {
    list.iter()
        .any(|one| (one.property == "display" && one.value.starts_with("inline")) || (one.property == "float" && one.value != "none"))
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
