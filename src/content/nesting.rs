//! How deep elements lie in one another. The tools behind call themselves once per level, and a stack that overflows
//! ends the whole program, so that depth is measured before any of them sees a letter.
//!
//! Cast: [`html_depth`], [`mjml_depth`]; [`Depths`] (a tree of which only the depth is kept). They repair nothing.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{Attribute, ExpandedName, LocalName, QualName, ns};

use super::markup::is_void;

/// Deeper than any tool is handed a letter; see [`html_depth`].
pub const FAR_TOO_DEEP: usize = 1_000;
/// Bytes read between two looks at the depth.
const PIECE: usize = 1_024;

/// How deep the elements of an HTML source lie in one another, or [`FAR_TOO_DEEP`] where there is no need to know.
///
/// The parser that the tools behind use decides: it leaves elements open that a count of tags takes for closed (`<div></x>`) and closes
/// others by itself. Reading ends at the first piece that lies far too deep, because time grows with the square of the depth.
pub fn html_depth(source: &str) -> usize {
    let mut parser = html5ever::parse_document(Depths::default(), Default::default());
    let mut rest = source;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(PIECE));
        parser.process(piece.into());
        if parser.tokenizer.sink.sink.appended.get() >= FAR_TOO_DEEP {
            return FAR_TOO_DEEP;
        }
        rest = after;
    }
    parser.finish()
}

/// As [`html_depth`] for MJML, whose parser closes nothing by itself and looks for tags inside style blocks and comments too.
/// It counts whatever could be a tag, so that it may find a level too many but never one too few.
pub fn mjml_depth(source: &str) -> usize {
    let mut tags = Vec::new();
    let mut at = 0;
    let mut close = 0;
    while let Some(offset) = source.get(at..).unwrap_or_default().find('<') {
        let start = at + offset;
        at = start + 1;
        if close < at {
            let Some(offset) = source.get(at..).unwrap_or_default().find('>') else { break };
            close = at + offset;
        }
        let after = source.get(at..).unwrap_or_default();
        if after.starts_with('/') {
            tags.push(false);
        } else if after.starts_with(|first: char| first.is_ascii_alphabetic()) {
            // No void element's name is longer than this, and a look at more would be a look at the whole source.
            let length = after.bytes().take(16).position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
            let name = length.and_then(|length| after.get(..length)).unwrap_or_default();
            // That parser knows void elements in lower case only.
            let void = is_void(name) && !name.contains(|letter: char| letter.is_ascii_uppercase());
            if !void && !source[..close].ends_with('/') {
                tags.push(true);
            }
        }
    }
    deepest(tags.into_iter())
}

/// The most elements open at once; true opens one, false closes one.
fn deepest(tags: impl Iterator<Item = bool>) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for opens in tags {
        now = if opens { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// The tree the parser makes, as a table; texts and comments are left out.
struct Depths {
    nodes: RefCell<Vec<Entry>>,
    /// The deepest place a node was put at; later moves are not in it.
    appended: Cell<usize>,
}

/// A node of the tree. Its depth is that of the place it was put at.
#[derive(Default)]
struct Entry {
    parent: Option<usize>,
    children: Vec<usize>,
    depth: usize,
}

/// A node as the parser knows it: its place in the table, and its name.
type Node = (usize, Rc<QualName>);

impl Default for Depths {
    fn default() -> Self {
        Self { nodes: RefCell::new(vec![Entry::default()]), appended: Cell::new(0) }
    }
}

impl Depths {
    fn add(&self, name: QualName) -> Node {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Entry::default());
        (nodes.len() - 1, Rc::new(name))
    }

    fn parent_of(&self, node: usize) -> Option<usize> {
        self.nodes.borrow().get(node)?.parent
    }

    fn put(&self, parent: usize, child: NodeOrText<Node>) {
        let NodeOrText::AppendNode((child, _)) = child else { return };
        self.take_out(child);
        let mut nodes = self.nodes.borrow_mut();
        let Some(entry) = nodes.get_mut(parent) else { return };
        entry.children.push(child);
        let depth = entry.depth + 1;
        if let Some(entry) = nodes.get_mut(child) {
            (entry.parent, entry.depth) = (Some(parent), depth);
        }
        self.appended.set(self.appended.get().max(depth));
    }

    fn take_out(&self, node: usize) {
        let mut nodes = self.nodes.borrow_mut();
        let parent = nodes.get_mut(node).and_then(|entry| entry.parent.take());
        if let Some(entry) = parent.and_then(|parent| nodes.get_mut(parent)) {
            entry.children.retain(|child| *child != node);
        }
    }
}

impl TreeSink for Depths {
    type Handle = Node;
    type Output = usize;
    type ElemName<'a> = ExpandedName<'a>;

    /// The depth of the finished tree, level by level.
    fn finish(self) -> usize {
        let nodes = self.nodes.into_inner();
        let (mut depth, mut level) = (0, vec![0]);
        loop {
            level = level.into_iter().filter_map(|node| nodes.get(node)).flat_map(|entry| entry.children.iter().copied()).collect();
            if level.is_empty() {
                return depth;
            }
            depth += 1;
        }
    }

    fn get_document(&self) -> Node {
        (0, Rc::new(QualName::new(None, ns!(), LocalName::from(""))))
    }

    fn elem_name<'a>(&'a self, target: &'a Node) -> ExpandedName<'a> {
        target.1.expanded()
    }

    fn create_element(&self, name: QualName, _: Vec<Attribute>, _: ElementFlags) -> Node {
        self.add(name)
    }

    fn create_comment(&self, _: StrTendril) -> Node {
        self.add(QualName::new(None, ns!(), LocalName::from("")))
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Node {
        self.add(QualName::new(None, ns!(), LocalName::from("")))
    }

    fn append(&self, parent: &Node, child: NodeOrText<Node>) {
        self.put(parent.0, child);
    }

    fn append_based_on_parent_node(&self, element: &Node, before: &Node, child: NodeOrText<Node>) {
        self.put(self.parent_of(element.0).unwrap_or(before.0), child);
    }

    fn append_before_sibling(&self, sibling: &Node, child: NodeOrText<Node>) {
        if let Some(parent) = self.parent_of(sibling.0) {
            self.put(parent, child);
        }
    }

    fn remove_from_parent(&self, target: &Node) {
        self.take_out(target.0);
    }

    fn reparent_children(&self, node: &Node, parent: &Node) {
        let moved = self.nodes.borrow_mut().get_mut(node.0).map(|entry| std::mem::take(&mut entry.children)).unwrap_or_default();
        for child in moved {
            if let Some(entry) = self.nodes.borrow_mut().get_mut(child) {
                entry.parent = None;
            }
            self.put(parent.0, NodeOrText::AppendNode((child, parent.1.clone())));
        }
    }

    // What a template holds counts as its children.
    fn get_template_contents(&self, target: &Node) -> Node {
        target.clone()
    }

    fn same_node(&self, one: &Node, other: &Node) -> bool {
        one.0 == other.0
    }

    fn parse_error(&self, _: Cow<'static, str>) {}
    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}
    fn set_quirks_mode(&self, _: QuirksMode) {}
    fn add_attrs_if_missing(&self, _: &Node, _: Vec<Attribute>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_nesting_and_not_length() {
        for (source, mjml) in [
            ("<p>x", 500),
            ("<b>", 500),
            ("<mj-image/>", 0),
            ("<div></div>", 1),
            ("<br>", 0),
            ("<BR>", 500),
            ("<style><b>", 1000),
            ("<!--<b>-->", 500),
        ] {
            assert_eq!(mjml_depth(&source.repeat(500)), mjml, "{source}");
        }
        // The document, its body and what stands in that are a handful of levels.
        for flat in ["<p>x", "<div></div>", "<br>", "<style><b>", "<!--<b>-->", "<li>", "<option><p>"] {
            assert!(html_depth(&flat.repeat(500)) < 10, "closed by the parser: {flat}");
        }
        for deep in ["<b>", "<mj-image/>", "<div></x>", "<div><table></div></table>", "<span><div></span></div>"] {
            assert!((500..510).contains(&html_depth(&deep.repeat(500))), "left open by the parser: {deep}");
        }
    }

    #[test]
    fn time_is_not_lost_on_what_is_far_too_deep() {
        // Read to its end this would take minutes.
        assert_eq!(html_depth(&"<div></x>".repeat(100_000)), FAR_TOO_DEEP);
    }
}
