//! Who lies in whom: the elements of a row of tokens, each with its parent and its place among its siblings.
//!
//! Cast: [`Tree`], [`Node`]; [`Tree::of`] builds it in one walk.
//!
//! It repairs only what every parser repairs the same way: list items, table cells, rows and paragraphs that end where the next begins.

use std::collections::HashMap;

use super::markup::{self, Attribute, Kind, Token, is_void};

/// One element.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its start tag, as an index into the tokens.
    pub token: usize,
    /// The element it lies in, as an index into the nodes.
    pub parent: Option<usize>,
    /// Its name in lower case.
    pub tag: String,
    /// Its place among its parent's elements, from 1.
    pub child: usize,
    /// Its place among its parent's elements of the same name, from 1.
    pub of_type: usize,
}

/// The elements of a source in reading order.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// In reading order: a parent comes before what lies in it.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// Finds the elements.
    pub fn of(tokens: &[Token<'_>]) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut children: HashMap<Option<usize>, usize> = HashMap::new();
        let mut of_type: HashMap<(Option<usize>, String), usize> = HashMap::new();
        for (index, token) in tokens.iter().enumerate() {
            match &token.kind {
                Kind::Start { name, self_closing, .. } => {
                    let tag = name.to_ascii_lowercase();
                    while let Some(last) = open.last()
                        && nodes.get(*last).is_some_and(|last| ends_before(&last.tag, &tag))
                    {
                        open.pop();
                    }
                    let parent = open.last().copied();
                    let count = |counter: &mut usize| {
                        *counter += 1;
                        *counter
                    };
                    let child = count(children.entry(parent).or_default());
                    let same = count(of_type.entry((parent, tag.clone())).or_default());
                    if !is_void(&tag) && !self_closing {
                        open.push(nodes.len());
                    }
                    nodes.push(Node { token: index, parent, tag, child, of_type: same });
                }
                Kind::End { name } => {
                    let of_name = |node: &&usize| nodes.get(**node).is_some_and(|node| node.tag.eq_ignore_ascii_case(name));
                    if let Some(place) = open.iter().rev().position(|node| of_name(&node)) {
                        open.truncate(open.len() - 1 - place);
                    }
                }
                _ => {}
            }
        }
        Self { nodes }
    }

    /// The element whose start tag is that token.
    pub fn at_token(&self, token: usize) -> Option<usize> {
        self.nodes.binary_search_by_key(&token, |node| node.token).ok()
    }

    /// The element itself and those it lies in, the innermost first.
    pub fn upwards(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(node), |current| self.nodes.get(*current).and_then(|node| node.parent))
    }
}

/// Elements whose end tag may be left out, by what begins next (HTML standard, "optional tags").
fn ends_before(open: &str, next: &str) -> bool {
    match open {
        "p" => ["p", "div", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "hr", "pre"].contains(&next),
        "li" => next == "li",
        "td" | "th" => ["td", "th", "tr"].contains(&next),
        "tr" => next == "tr",
        _ => false,
    }
}

/// The attributes of the start tag at `index`.
pub fn attributes<'t, 's>(tokens: &'t [Token<'s>], index: usize) -> &'t [Attribute<'s>] {
    match tokens.get(index).map(|token| &token.kind) {
        Some(Kind::Start { attributes, .. }) => attributes,
        _ => &[],
    }
}

/// A decoded attribute of the start tag at `index`; empty when there is none.
pub fn attribute_text(tokens: &[Token<'_>], index: usize, name: &str) -> String {
    markup::attribute(attributes(tokens, index), name).map_or_else(String::new, |found| markup::decode(found.value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_knows_its_parent_and_place() {
        let check = |source: &str, expected: &[(&str, Option<usize>, usize, usize)]| {
            let tree = Tree::of(&markup::tokens(source));
            let found: Vec<_> = tree.nodes.iter().map(|node| (node.tag.as_str(), node.parent, node.child, node.of_type)).collect();
            assert_eq!(found, expected, "{source}");
        };
        check("<div><p>a</p><br><P>b</P></div>", &[("div", None, 1, 1), ("p", Some(0), 1, 1), ("br", Some(0), 2, 1), ("p", Some(0), 3, 2)]);
        check("<ul><li>a<li>b</ul><p>c", &[("ul", None, 1, 1), ("li", Some(0), 1, 1), ("li", Some(0), 2, 2), ("p", None, 2, 1)]);
        check("<tr><td>a<td>b<tr>", &[("tr", None, 1, 1), ("td", Some(0), 1, 1), ("td", Some(0), 2, 2), ("tr", None, 2, 2)]);
        check("<mj-image/><b></i></b><u>", &[("mj-image", None, 1, 1), ("b", None, 2, 1), ("u", None, 3, 1)]);
    }
}
