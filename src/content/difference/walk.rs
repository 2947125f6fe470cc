//! Two trees → what changed from one to the other, node by node.
//!
//! Cast: [`changes`]; [`Change`] (which nodes, and [`What`]), [`DeclarationChange`].
//!
//! Nodes are the same by their hash, in order (a longest common subsequence per list of children); what is left between two that are the
//! same is paired by likeness, and the pairs are looked into. It groups and judges nothing.

use super::document::{Closing, Document, NodeKind, is_block};
use super::sheet::{Declaration, Rule};
use super::spelling::collapsed;

/// Beyond this many comparisons for one list of children, only its beginning and end are matched exactly.
const MOST_STEPS: usize = 4_000_000;

/// One change between two nodes, or of one that the other tree has not.
#[derive(Debug, Clone)]
pub struct Change {
    /// In the first tree; none for what is new.
    pub a: Option<usize>,
    /// In the second tree; none for what is gone.
    pub b: Option<usize>,
    /// The nodes in whose lists of children it happened: of both trees.
    pub parents: (usize, usize),
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone)]
pub enum What {
    /// The words of a text node.
    Text,
    /// A node is gone (`b` is none) or new (`a` is none).
    Presence,
    /// An attribute other than `style`.
    Attribute {
        /// Its name.
        name: String,
        /// Before.
        from: Option<String>,
        /// After.
        to: Option<String>,
    },
    /// Declarations of a style attribute.
    Style(Vec<DeclarationChange>),
    /// One rule of a style sheet: its place among the first sheet's rules (or, for a new one, the second's), its name, what changed.
    Rule {
        /// Its place.
        place: usize,
        /// Its name for people.
        name: String,
        /// What changed in it.
        changes: Vec<DeclarationChange>,
    },
    /// Anything else a client could notice, in the words of both sides.
    Other {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
}

/// A declaration before and after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeclarationChange {
    /// The property.
    pub property: String,
    /// Before.
    pub from: Option<String>,
    /// After.
    pub to: Option<String>,
}

/// Everything that changed from `a` to `b`.
pub fn changes(a: &Document, b: &Document) -> Vec<Change> {
    let mut walk = Walk { a, b, found: Vec::new() };
    if a.node(0).hash != b.node(0).hash {
        walk.children(0, 0);
    }
    without_stray_spaces(a, b, walk.found)
}

/// Where something came or went, the white space around it did too: it shows between two things only.
fn without_stray_spaces(a: &Document, b: &Document, mut found: Vec<Change>) -> Vec<Change> {
    let text = |document: &Document, node: Option<usize>| match node.map(|node| &document.node(node).kind) {
        Some(NodeKind::Text(text)) => Some(text.trim_ascii().to_owned()),
        _ => None,
    };
    let is_text = |change: &Change| text(a, change.a).is_some() || text(b, change.b).is_some();
    let parents: std::collections::BTreeSet<(usize, usize)> =
        found.iter().filter(|change| matches!(change.what, What::Presence) && !is_text(change)).map(|change| change.parents).collect();
    found.retain(|change| {
        let same_words = is_text(change) && text(a, change.a).unwrap_or_default() == text(b, change.b).unwrap_or_default();
        !(same_words && parents.contains(&change.parents))
    });
    found
}

struct Walk<'d> {
    a: &'d Document,
    b: &'d Document,
    found: Vec<Change>,
}

impl Walk<'_> {
    fn push(&mut self, a: Option<usize>, b: Option<usize>, parents: (usize, usize), what: What) {
        self.found.push(Change { a, b, parents, what });
    }

    /// Two nodes taken for one another: what is different in themselves, then in their children.
    fn pair(&mut self, a: usize, b: usize, parents: (usize, usize)) {
        let (one, other) = (self.a.node(a), self.b.node(b));
        if one.hash == other.hash {
            return;
        }
        match (&one.kind, &other.kind) {
            (NodeKind::Text(_), NodeKind::Text(_)) => self.push(Some(a), Some(b), parents, What::Text),
            (NodeKind::Sheet(before), NodeKind::Sheet(after)) => {
                for (place, name, changes) in rule_changes(before, after) {
                    self.push(Some(a), Some(b), parents, What::Rule { place, name, changes });
                }
            }
            (NodeKind::Element { .. }, NodeKind::Element { .. }) => {
                self.element(a, b, parents);
                self.children(a, b);
            }
            (NodeKind::Conditional(before), NodeKind::Conditional(after)) => {
                if before != after {
                    self.push(Some(a), Some(b), parents, What::Other { from: before.clone(), to: after.clone() });
                }
                self.children(a, b);
            }
            (NodeKind::Marker(before), NodeKind::Marker(after)) | (NodeKind::Raw(before), NodeKind::Raw(after)) => {
                self.push(Some(a), Some(b), parents, What::Other { from: before.clone(), to: after.clone() });
            }
            _ => {
                self.push(Some(a), None, parents, What::Presence);
                self.push(None, Some(b), parents, What::Presence);
            }
        }
    }

    fn element(&mut self, a: usize, b: usize, parents: (usize, usize)) {
        let (NodeKind::Element { name, attributes, closing }, NodeKind::Element { attributes: after, closing: closing_after, .. }) =
            (&self.a.node(a).kind, &self.b.node(b).kind)
        else {
            return;
        };
        if closing != closing_after {
            let words = |closing: Closing| match closing {
                Closing::Whole => format!("<{name}>…</{name}>"),
                Closing::SelfClosed => format!("<{name}/>"),
                Closing::Open => format!("<{name}> without an end tag"),
            };
            self.push(Some(a), Some(b), parents, What::Other { from: words(*closing), to: words(*closing_after) });
        }
        let before_style: &[Declaration] = attributes.iter().find(|one| one.name == "style").map_or(&[], |one| &one.style);
        let after_style: &[Declaration] = after.iter().find(|one| one.name == "style").map_or(&[], |one| &one.style);
        let style = declaration_changes(before_style, after_style);
        if !style.is_empty() {
            self.push(Some(a), Some(b), parents, What::Style(style));
        }
        // An attribute given twice is compared place by place.
        let mut names: Vec<&str> = attributes.iter().chain(after).map(|one| one.name.as_str()).filter(|name| *name != "style").collect();
        names.sort_unstable();
        names.dedup();
        let mut found = Vec::new();
        for name in names {
            let values = |list: &[super::document::Attribute]| -> Vec<String> {
                list.iter().filter(|one| one.name == name).map(|one| one.value.clone()).collect()
            };
            let (before, after) = (values(attributes), values(after));
            for place in 0..before.len().max(after.len()) {
                let (from, to) = (before.get(place).cloned(), after.get(place).cloned());
                if from != to {
                    found.push(What::Attribute { name: name.to_owned(), from, to });
                }
            }
        }
        for what in found {
            self.push(Some(a), Some(b), parents, what);
        }
    }

    fn children(&mut self, a: usize, b: usize) {
        let (before, after) = (self.a.node(a).children.clone(), self.b.node(b).children.clone());
        let same = |one: &usize, other: &usize| self.a.node(*one).hash == self.b.node(*other).hash;
        let matched = common(&before, &after, same);
        let (mut from, mut to) = (0, 0);
        for (place, other) in matched.into_iter().chain([(before.len(), after.len())]) {
            self.gap(&before[from..place], &after[to..other], (a, b));
            (from, to) = (place + 1, other + 1);
        }
    }

    /// A stretch in which no two nodes are the same.
    fn gap(&mut self, before: &[usize], after: &[usize], parents: (usize, usize)) {
        if before.is_empty() && after.is_empty() {
            return;
        }
        let is_text = |document: &Document, node: &usize| matches!(document.node(*node).kind, NodeKind::Text(_));
        let texts = |document: &Document, nodes: &[usize]| -> String {
            let text = |node: &usize| match &document.node(*node).kind {
                NodeKind::Text(text) => text.clone(),
                _ => String::new(),
            };
            collapsed(nodes.iter().map(text).collect::<String>().trim_ascii())
        };
        let without_spaces = |text: &str| text.split(' ').collect::<String>();
        let others = |document: &Document, nodes: &[usize]| -> Vec<usize> {
            nodes.iter().copied().filter(|node| !is_text(document, node)).collect()
        };
        let (gone, new) = (others(self.a, before), others(self.b, after));
        // What stood between two texts is gone, or new: the texts flow together, and their words are the same.
        let (words_before, words_after) = (texts(self.a, before), texts(self.b, after));
        // At a block's edges white space was dropped; without the block it shows.
        let blocks = gone.iter().any(|node| !is_inline(self.a, *node)) || new.iter().any(|node| !is_inline(self.b, *node));
        let same_words = words_before == words_after || (blocks && without_spaces(&words_before) == without_spaces(&words_after));
        if gone.is_empty() != new.is_empty() && same_words {
            gone.into_iter().for_each(|node| self.push(Some(node), None, parents, What::Presence));
            new.into_iter().for_each(|node| self.push(None, Some(node), parents, What::Presence));
            return;
        }
        for (one, other) in self.paired(before, after) {
            match (one, other) {
                (Some(one), Some(other)) => self.pair(one, other, parents),
                (one, other) => self.push(one, other, parents, What::Presence),
            }
        }
    }

    /// Pairs two lists in order so that the likeness is greatest; what is like nothing stays alone.
    fn paired(&self, before: &[usize], after: &[usize]) -> Vec<(Option<usize>, Option<usize>)> {
        let (rows, columns) = (before.len(), after.len());
        if rows.saturating_mul(columns) > MOST_STEPS / 100 {
            let alone = before.iter().map(|node| (Some(*node), None)).chain(after.iter().map(|node| (None, Some(*node))));
            return alone.collect();
        }
        let width = columns + 1;
        let mut best = vec![0_u32; (rows + 1) * width];
        let mut likeness = vec![0_u32; rows * columns];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                let like = self.likeness(before[row], after[column]);
                likeness[row * columns + column] = like;
                let paired = if like > 0 { like + best[(row + 1) * width + column + 1] } else { 0 };
                best[row * width + column] = paired.max(best[(row + 1) * width + column]).max(best[row * width + column + 1]);
            }
        }
        let (mut row, mut column, mut pairs) = (0, 0, Vec::new());
        while row < rows && column < columns {
            let like = likeness[row * columns + column];
            let here = best[row * width + column];
            if like > 0 && here == like + best[(row + 1) * width + column + 1] {
                pairs.push((Some(before[row]), Some(after[column])));
                (row, column) = (row + 1, column + 1);
            } else if here == best[(row + 1) * width + column] {
                pairs.push((Some(before[row]), None));
                row += 1;
            } else {
                pairs.push((None, Some(after[column])));
                column += 1;
            }
        }
        pairs.extend(before[row..].iter().map(|node| (Some(*node), None)));
        pairs.extend(after[column..].iter().map(|node| (None, Some(*node))));
        pairs
    }

    /// How alike two nodes are, 0 to 1000; 0 for nodes of different kinds.
    fn likeness(&self, a: usize, b: usize) -> u32 {
        let (one, other) = (self.a.node(a), self.b.node(b));
        match (&one.kind, &other.kind) {
            (NodeKind::Element { name, attributes, .. }, NodeKind::Element { name: other_name, attributes: other_attributes, .. }) => {
                if name != other_name {
                    return 0;
                }
                let shared = attributes.iter().filter(|one| other_attributes.contains(one)).count();
                let all = attributes.len().max(other_attributes.len());
                let attributes = (200 * shared).checked_div(all).unwrap_or(200);
                let content = self.shared_content(a, b);
                u32::try_from(200 + attributes + content).unwrap_or(200)
            }
            (NodeKind::Text(one), NodeKind::Text(other)) => {
                let words: Vec<&str> = other.split_ascii_whitespace().collect();
                let all = one.split_ascii_whitespace().count().max(words.len()).max(1);
                let shared = if all > 200 { 0 } else { one.split_ascii_whitespace().filter(|word| words.contains(word)).count() };
                u32::try_from(100 + 500 * shared.min(all) / all).unwrap_or(100)
            }
            (NodeKind::Conditional(one), NodeKind::Conditional(other)) => {
                if one == other {
                    500
                } else {
                    200
                }
            }
            (NodeKind::Sheet(_), NodeKind::Sheet(_))
            | (NodeKind::Marker(_), NodeKind::Marker(_))
            | (NodeKind::Raw(_), NodeKind::Raw(_)) => 300,
            _ => 0,
        }
    }

    /// How much of what two elements hold is the same, 0 to 600, looking at children and children's children.
    fn shared_content(&self, a: usize, b: usize) -> usize {
        let content = |document: &Document, node: usize| -> Vec<[u8; 32]> {
            let children = &document.node(node).children;
            let grand = children.iter().flat_map(|child| &document.node(*child).children);
            children.iter().chain(grand).take(200).map(|child| document.node(*child).hash).collect()
        };
        let (mut one, mut other) = (content(self.a, a), content(self.b, b));
        let all = one.len().max(other.len());
        if all == 0 {
            return 600;
        }
        one.sort_unstable();
        other.sort_unstable();
        let shared = one.iter().filter(|hash| other.binary_search(hash).is_ok()).count();
        600 * shared.min(all) / all
    }
}

fn is_inline(document: &Document, node: usize) -> bool {
    matches!(document.node(node).kind, NodeKind::Element { .. }) && !is_block(document.name(node)) && document.name(node) != "br"
}

/// A longest common subsequence, as pairs of places.
fn common<T>(before: &[T], after: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let start = before.iter().zip(after).take_while(|(one, other)| same(one, other)).count();
    let end = before[start..].iter().rev().zip(after[start..].iter().rev()).take_while(|(one, other)| same(one, other)).count();
    let (rows, columns) = (before.len() - start - end, after.len() - start - end);
    let mut pairs: Vec<(usize, usize)> = (0..start).map(|place| (place, place)).collect();
    if rows > 0 && columns > 0 && rows.saturating_mul(columns) <= MOST_STEPS {
        let width = columns + 1;
        let mut best = vec![0_u32; (rows + 1) * width];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                best[row * width + column] = if same(&before[start + row], &after[start + column]) {
                    best[(row + 1) * width + column + 1] + 1
                } else {
                    best[(row + 1) * width + column].max(best[row * width + column + 1])
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        while row < rows && column < columns {
            if same(&before[start + row], &after[start + column]) {
                pairs.push((start + row, start + column));
                (row, column) = (row + 1, column + 1);
            } else if best[(row + 1) * width + column] >= best[row * width + column + 1] {
                row += 1;
            } else {
                column += 1;
            }
        }
    }
    pairs.extend((0..end).rev().map(|back| (before.len() - 1 - back, after.len() - 1 - back)));
    pairs
}

/// What changed between two lists of declarations. Order counts: a later one wins.
pub fn declaration_changes(before: &[Declaration], after: &[Declaration]) -> Vec<DeclarationChange> {
    let mut changes = Vec::new();
    let (mut from, mut to) = (0, 0);
    for (place, other) in common(before, after, |one, other| one == other).into_iter().chain([(before.len(), after.len())]) {
        let mut new: Vec<&Declaration> = after[to..other].iter().collect();
        for gone in &before[from..place] {
            let twin = new.iter().position(|declaration| declaration.property == gone.property).map(|at| new.remove(at));
            let to = twin.map(|declaration| declaration.value.clone());
            changes.push(DeclarationChange { property: gone.property.clone(), from: Some(gone.value.clone()), to });
        }
        let added = |one: &Declaration| DeclarationChange { property: one.property.clone(), from: None, to: Some(one.value.clone()) };
        changes.extend(new.into_iter().map(added));
        (from, to) = (place + 1, other + 1);
    }
    changes
}

/// What changed between two style sheets: place, name and changes per rule.
fn rule_changes(before: &[Rule], after: &[Rule]) -> Vec<(usize, String, Vec<DeclarationChange>)> {
    let mut found = Vec::new();
    let (mut from, mut to) = (0, 0);
    for (place, other) in common(before, after, |one, other| one == other).into_iter().chain([(before.len(), after.len())]) {
        let mut new: Vec<(usize, &Rule)> = (to..other).zip(&after[to..other]).collect();
        let mut left = Vec::new();
        for (number, gone) in (from..place).zip(&before[from..place]) {
            let twin = new.iter().position(|(_, rule)| (&rule.context, &rule.selector) == (&gone.context, &gone.selector));
            match twin.map(|at| new.remove(at)) {
                Some((_, rule)) => found.push((number, gone.name(), declaration_changes(&gone.declarations, &rule.declarations))),
                None => left.push((number, gone)),
            }
        }
        for (number, gone) in left {
            // The same declarations under another selector: the selector changed.
            let twin = new.iter().position(|(_, rule)| !rule.declarations.is_empty() && rule.declarations == gone.declarations);
            match twin.map(|at| new.remove(at)) {
                Some((_, rule)) => {
                    let change = DeclarationChange { property: "selector".to_owned(), from: Some(gone.name()), to: Some(rule.name()) };
                    found.push((number, gone.name(), vec![change]));
                }
                None => found.push((number, gone.name(), whole_rule(gone, true))),
            }
        }
        found.extend(new.into_iter().map(|(number, rule)| (number, rule.name(), whole_rule(rule, false))));
        (from, to) = (place + 1, other + 1);
    }
    found
}

fn whole_rule(rule: &Rule, gone: bool) -> Vec<DeclarationChange> {
    let sides = |value: String| if gone { (Some(value), None) } else { (None, Some(value)) };
    let (from, to) = sides(rule.name());
    let mut changes = vec![DeclarationChange { property: "rule".to_owned(), from, to }];
    for declaration in &rule.declarations {
        let (from, to) = sides(declaration.value.clone());
        changes.push(DeclarationChange { property: declaration.property.clone(), from, to });
    }
    changes
}
