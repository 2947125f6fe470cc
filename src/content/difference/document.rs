//! A body as a tree in which what means the same looks the same.
//!
//! Cast: [`Document`] (the tree; nodes are named by their number), [`Node`], [`NodeKind`], [`Attribute`].
//!
//! The tree is built from our own tokens and not by an HTML parser, because such a parser repairs: it moves text out of tables, closes
//! and re-opens elements, cannot read MJML, and sees a conditional comment for Outlook as one opaque text, though half an element may
//! stand in it. Here no byte that could matter is lost: a stray end tag is a node, and how an element ends is part of it.

mod build;

use std::ops::Range;

use super::sheet::{Declaration, Rule};
use super::spelling::collapsed;
use crate::content::error::ContentError;
use crate::content::merge::Marks;

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
        let mut document = build::build(masked, marks, mjml)?;
        document.settle_white_space();
        document.hash();
        Ok(document)
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
