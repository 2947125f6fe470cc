//! Changes of nodes → differences as an author understands them: one per element and facet.
//!
//! Cast: [`group`]; [`Found`] (a difference with the places it covers).
//!
//! The same change of style in forty places is one difference; so is a change of words, link or picture in an element and in its twin for
//! Outlook. A facet of another element is another difference, always.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::document::{Document, NodeKind, is_block};
use super::place::path;
use super::walk::{Change, DeclarationChange, What};
use super::{DifferenceFacet, place};
use crate::content::blocks::Facet;

/// A difference of two bodies.
#[derive(Debug, Clone)]
pub struct Found {
    /// What of the element.
    pub facet: DifferenceFacet,
    /// The element in words.
    pub path: String,
    /// What exactly, for style and attributes: the properties.
    pub detail: String,
    /// In the first body.
    pub from: String,
    /// In the second.
    pub to: String,
    /// Places in the first body it covers: two differences with the same places and facet are about the same element.
    pub anchors: BTreeSet<String>,
    /// Where its two sides stand in the two masked sources.
    pub spans: (Vec<Range<usize>>, Vec<Range<usize>>),
    /// The named part this is, what of it, and the value that makes the second of the first.
    pub block: Option<(String, Facet, String)>,
    /// How many places outside Outlook's comments.
    places: usize,
    /// Order of reading.
    first: usize,
    declarations: BTreeSet<DeclarationChange>,
}

impl Found {
    /// Whether all of it stands in comments only Outlook reads.
    pub const fn is_for_outlook(&self) -> bool {
        self.places == 0
    }
}

/// Letters with more changes than this are different letters.
const MOST_CHANGES: usize = 5_000;

/// Groups the changes between two bodies, in reading order.
pub fn group(a: &Document, b: &Document, mut changes: Vec<Change>) -> Vec<Found> {
    let all = changes.len();
    if all <= MOST_CHANGES {
        return grouped(a, b, changes);
    }
    changes.truncate(20);
    let Some(last) = changes.pop() else { return Vec::new() };
    let more = Sorter { a, b, change: &last }.plain(DifferenceFacet::Markup, &format!("and {} more changes", all - changes.len()), "", "");
    let mut found = grouped(a, b, changes);
    found.push(Found { path: "the letter".to_owned(), anchors: BTreeSet::from(["many".to_owned()]), ..more });
    found
}

fn grouped(a: &Document, b: &Document, changes: Vec<Change>) -> Vec<Found> {
    let (mut found, mut texts, mut formatting) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for change in changes {
        let sorter = Sorter { a, b, change: &change };
        match &change.what {
            What::Text => sorter.add_text(&mut texts),
            What::Presence if sorter.is_emphasis() => sorter.add_text(&mut texts),
            What::Presence => found.push(sorter.presence()),
            What::Other { from, to } => found.push(sorter.plain(DifferenceFacet::Markup, "", from, to)),
            What::Attribute { name, from, to } => sorter.attribute(name, from.as_deref(), to.as_deref(), &mut found, &mut formatting),
            What::Style(list) => sorter.style(list, &mut found, &mut formatting),
            What::Rule { place, name, changes } => {
                let anchor = format!("rule {} {place}", change.a.unwrap_or_default());
                sorter.format(anchor, format!("style rule {}", place::quoted(name)), changes, &mut formatting);
            }
        }
    }
    found.extend(texts.into_values().map(|text| text.found(a, b)));
    found.extend(formatting.into_values());
    found = runs_of_presence(found);
    found = with_alternative_texts(found);
    found = with_twins(found);
    found = same_style_everywhere(found);
    found.sort_by_key(|one| one.first);
    found
}

/// A text, with what emphasises its words, before and after.
struct TextChange {
    anchors: (usize, usize),
    emphasis: bool,
    spans: (Vec<Range<usize>>, Vec<Range<usize>>),
}

impl TextChange {
    fn found(self, a: &Document, b: &Document) -> Found {
        let (one, other) = self.anchors;
        let (from, to) = (a.words(one), b.words(other));
        let same_words = from == to;
        let facet = if same_words && self.emphasis { DifferenceFacet::Formatting } else { DifferenceFacet::Text };
        let detail = if same_words { if self.emphasis { "emphasis" } else { "white space" } } else { "" };
        Found {
            facet,
            path: path(a, one),
            detail: detail.to_owned(),
            block: block(a, one, Facet::Text, to.clone()).filter(|_| facet == DifferenceFacet::Text),
            from,
            to,
            anchors: BTreeSet::from([format!("node {one}")]),
            spans: self.spans,
            places: usize::from(!a.node(one).conditional),
            first: a.node(one).span.start,
            declarations: BTreeSet::new(),
        }
    }
}

fn block(document: &Document, node: usize, facet: Facet, value: String) -> Option<(String, Facet, String)> {
    let name = document.attribute(node, "data-block").or_else(|| document.attribute(node, "id"))?;
    Some((name.trim().to_owned(), facet, value)).filter(|(name, ..)| !name.is_empty())
}

struct Sorter<'d> {
    a: &'d Document,
    b: &'d Document,
    change: &'d Change,
}

impl Sorter<'_> {
    fn spans(&self) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let span = |document: &Document, node: Option<usize>| node.map(|node| document.node(node).span.clone()).into_iter().collect();
        (span(self.a, self.change.a), span(self.b, self.change.b))
    }

    /// Where an attribute stands, or the start of the element that has it not.
    fn attribute_spans(&self, name: &str) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let span = |document: &Document, node: Option<usize>| -> Vec<Range<usize>> {
            let Some(node) = node.map(|node| document.node(node)) else { return Vec::new() };
            let NodeKind::Element { attributes, .. } = &node.kind else { return Vec::new() };
            attributes.iter().filter(|attribute| attribute.name == name).map(|attribute| attribute.span.clone()).collect()
        };
        (span(self.a, self.change.a), span(self.b, self.change.b))
    }

    fn conditional(&self) -> bool {
        let of = |document: &Document, node: Option<usize>| {
            node.is_some_and(|node| document.node(node).conditional || matches!(document.node(node).kind, NodeKind::Conditional(_)))
        };
        of(self.a, self.change.a) || (self.change.a.is_none() && of(self.b, self.change.b))
    }

    /// The place in the first body; for what is new, before which of its siblings it would be.
    fn anchor(&self) -> String {
        match (self.change.a, self.change.b) {
            (Some(node), _) => format!("node {node}"),
            (None, new) => {
                let (parent, parent_b) = self.change.parents;
                let before = self.b.node(parent_b).children.iter().position(|child| Some(*child) == new).unwrap_or_default();
                format!("node {parent} new {before}")
            }
        }
    }

    fn first(&self) -> usize {
        self.change.a.map_or_else(|| self.a.node(self.change.parents.0).span.start, |node| self.a.node(node).span.start)
    }

    fn path(&self) -> String {
        match (self.change.a, self.change.b) {
            (Some(node), _) => path(self.a, node),
            (None, Some(node)) => path(self.b, node),
            (None, None) => String::new(),
        }
    }

    fn plain(&self, facet: DifferenceFacet, detail: &str, from: &str, to: &str) -> Found {
        Found {
            facet,
            path: self.path(),
            detail: detail.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            anchors: BTreeSet::from([self.anchor()]),
            spans: self.spans(),
            block: None,
            places: usize::from(!self.conditional()),
            first: self.first(),
            declarations: BTreeSet::new(),
        }
    }

    fn presence(&self) -> Found {
        let words = |document: &Document, node: Option<usize>| match node {
            Some(node) if matches!(document.node(node).kind, NodeKind::Text(_)) => format!("text {}", place::quoted(&document.words(node))),
            Some(node) => path(document, node),
            None => "not there".to_owned(),
        };
        let (from, to) = (words(self.a, self.change.a), words(self.b, self.change.b));
        self.plain(DifferenceFacet::Presence, "", &from, &to)
    }

    /// Words, or an element that only emphasises words and says nothing else.
    fn is_emphasis(&self) -> bool {
        const EMPHASIS: [&str; 14] = ["b", "strong", "i", "em", "u", "s", "br", "sup", "sub", "small", "big", "code", "wbr", "del"];
        let of = |document: &Document, node: Option<usize>| {
            node.is_some_and(|node| match &document.node(node).kind {
                NodeKind::Text(_) => true,
                NodeKind::Element { name, attributes, .. } => {
                    let plain = document.node(node).children.iter().all(|child| matches!(document.node(*child).kind, NodeKind::Text(_)));
                    EMPHASIS.contains(&name.as_str()) && attributes.is_empty() && plain
                }
                _ => false,
            })
        };
        of(self.a, self.change.a) || of(self.b, self.change.b)
    }

    fn add_text(&self, texts: &mut BTreeMap<usize, TextChange>) {
        let (parent_a, parent_b) = self.change.parents;
        let anchors = (text_anchor(self.a, parent_a), text_anchor(self.b, parent_b));
        let text = texts.entry(anchors.0).or_insert_with(|| TextChange { anchors, emphasis: false, spans: (Vec::new(), Vec::new()) });
        let is_element = |document: &Document, node: Option<usize>| node.is_some_and(|node| !document.name(node).is_empty());
        text.emphasis |= is_element(self.a, self.change.a) || is_element(self.b, self.change.b);
        let spans = self.spans();
        text.spans.0.extend(spans.0);
        text.spans.1.extend(spans.1);
    }

    fn attribute(
        &self,
        name: &str,
        from: Option<&str>,
        to: Option<&str>,
        found: &mut Vec<Found>,
        formatting: &mut BTreeMap<String, Found>,
    ) {
        let node = self.change.a.unwrap_or_default();
        let element = self.a.name(node);
        let lower = name.to_ascii_lowercase();
        let facet = facet_of(element, &lower);
        if facet == DifferenceFacet::Formatting {
            let spelt = |value: Option<&str>| value.map(super::spelling::css_value);
            let change = DeclarationChange { property: property_of(&lower).to_owned(), from: spelt(from), to: spelt(to) };
            self.format_attribute(name, &[change], formatting);
            return;
        }
        let words = |value: Option<&str>| value.unwrap_or("not there").to_owned();
        let detail = if matches!(facet, DifferenceFacet::Attribute) { name } else { "" };
        let block_facet = match facet {
            DifferenceFacet::Link => Some(Facet::Link),
            DifferenceFacet::Image => Some(Facet::Image),
            _ => None,
        };
        let block = block_facet.zip(to).and_then(|(facet, to)| block(self.a, node, facet, to.to_owned()));
        found.push(Found { spans: self.attribute_spans(name), block, ..self.plain(facet, detail, &words(from), &words(to)) });
    }

    fn style(&self, list: &[DeclarationChange], found: &mut Vec<Found>, formatting: &mut BTreeMap<String, Found>) {
        let mut rest = Vec::new();
        for change in list {
            match background_addresses(change) {
                Some((from, to)) => {
                    found.push(Found { spans: self.attribute_spans("style"), ..self.plain(DifferenceFacet::Image, "", &from, &to) });
                }
                None => rest.push(DeclarationChange { property: property_of_declaration(change).to_owned(), ..change.clone() }),
            }
        }
        if !rest.is_empty() {
            self.format_attribute("style", &rest, formatting);
        }
    }

    fn format_attribute(&self, name: &str, changes: &[DeclarationChange], formatting: &mut BTreeMap<String, Found>) {
        let anchor = self.anchor();
        self.format(anchor.clone(), self.path(), changes, formatting);
        if let Some(entry) = formatting.get_mut(&anchor) {
            let node = self.change.a.unwrap_or_default();
            let written: Option<Vec<String>> =
                entry.declarations.iter().map(|one| Some(format!("{}: {}", one.property, one.to.as_ref()?))).collect();
            entry.block = written.and_then(|written| block(self.a, node, Facet::Style, written.join("; ")));
            let spans = self.attribute_spans(name);
            // The spans of the whole element were put there; the attribute is closer.
            let (whole_a, whole_b) = self.spans();
            entry.spans.0.retain(|span| !whole_a.contains(span));
            entry.spans.1.retain(|span| !whole_b.contains(span));
            entry.spans.0.extend(spans.0);
            entry.spans.1.extend(spans.1);
        }
    }

    fn format(&self, anchor: String, path: String, changes: &[DeclarationChange], formatting: &mut BTreeMap<String, Found>) {
        let entry = formatting.entry(anchor.clone()).or_insert_with(|| Found {
            path,
            anchors: BTreeSet::from([anchor]),
            spans: (Vec::new(), Vec::new()),
            ..self.plain(DifferenceFacet::Formatting, "", "", "")
        });
        entry.declarations.extend(changes.iter().cloned());
        let spans = self.spans();
        entry.spans.0.extend(spans.0);
        entry.spans.1.extend(spans.1);
        let side = |pick: fn(&DeclarationChange) -> &Option<String>| -> String {
            let words = |one: &DeclarationChange| Some(format!("{}: {}", one.property, pick(one).as_ref()?));
            let written: Vec<String> = entry.declarations.iter().filter_map(words).collect();
            if written.is_empty() { "not there".to_owned() } else { written.join("; ") }
        };
        let (from, to) = (side(|one| &one.from), side(|one| &one.to));
        let properties: BTreeSet<&str> = entry.declarations.iter().map(|one| one.property.as_str()).collect();
        entry.detail = properties.into_iter().collect::<Vec<_>>().join(", ");
        (entry.from, entry.to) = (from, to);
    }
}

/// The element whose words a text is: a link, a named part, or the nearest block.
fn text_anchor(document: &Document, parent: usize) -> usize {
    let mut node = parent;
    loop {
        let name = document.name(node);
        let named = document.attribute(node, "id").is_some() || document.attribute(node, "data-block").is_some();
        if node == 0 || name.is_empty() || name == "a" || name.contains(':') || named || is_block(name) {
            return node;
        }
        node = document.node(node).parent;
    }
}

fn facet_of(element: &str, attribute: &str) -> DifferenceFacet {
    const LOOK: [&str; 34] = [
        "align",
        "valign",
        "bgcolor",
        "color",
        "width",
        "height",
        "border",
        "bordercolor",
        "cellpadding",
        "cellspacing",
        "face",
        "size",
        "class",
        "css-class",
        "mj-class",
        "fillcolor",
        "strokecolor",
        "stroke",
        "arcsize",
        "fill",
        "hspace",
        "vspace",
        "nowrap",
        "clear",
        "type",
        "link",
        "vlink",
        "alink",
        "text",
        "rules",
        "frame",
        "media",
        "strokeweight",
        "inset",
    ];
    match attribute {
        "href" if !["link", "base", "mj-font"].contains(&element) => DifferenceFacet::Link,
        "src" | "srcset" | "background" | "background-url" | "poster" if element != "script" => DifferenceFacet::Image,
        "alt" => DifferenceFacet::AlternativeText,
        _ if LOOK.contains(&attribute) => DifferenceFacet::Formatting,
        "title" | "name" | "rel" | "target" | "id" | "lang" | "dir" | "data-block" | "data-track" => DifferenceFacet::Attribute,
        _ if element.starts_with("mj-") => DifferenceFacet::Formatting,
        _ => DifferenceFacet::Attribute,
    }
}

/// Attributes that say what a property of CSS says.
fn property_of(attribute: &str) -> &str {
    match attribute {
        "bgcolor" | "fillcolor" => "background-color",
        "face" => "font-family",
        "align" => "text-align",
        "valign" => "vertical-align",
        other => other,
    }
}

/// `background: #fff` says what `background-color: #fff` says.
fn property_of_declaration(change: &DeclarationChange) -> &str {
    let is_colour = |value: &Option<String>| value.as_ref().is_none_or(|value| !value.contains([' ', '(']));
    if change.property == "background" && is_colour(&change.from) && is_colour(&change.to) { "background-color" } else { &change.property }
}

/// The two addresses, if that is all in which a background differs.
fn background_addresses(change: &DeclarationChange) -> Option<(String, String)> {
    let split = |value: &str| -> Option<(String, String)> {
        let start = value.find("url(")? + "url(".len();
        let end = start + value.get(start..)?.find(')')?;
        let address = value[start..end].trim_matches(['"', '\'']).to_owned();
        Some((address, format!("{}{}", &value[..start], &value[end..])))
    };
    let (from, around) = split(change.from.as_deref()?)?;
    let (to, around_after) = split(change.to.as_deref()?)?;
    (around == around_after).then_some((from, to))
}

/// An element and the comments for Outlook beside it come and go together.
fn runs_of_presence(found: Vec<Found>) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for one in found {
        let last = kept.last_mut().filter(|last| {
            let close = |before: &[Range<usize>], after: &[Range<usize>]| match (before.last(), after.first()) {
                (Some(before), Some(after)) => after.start >= before.end && after.start - before.end <= 200,
                (None, None) => true,
                _ => false,
            };
            last.facet == DifferenceFacet::Presence
                && one.facet == DifferenceFacet::Presence
                && last.places + one.places <= 1
                && close(&last.spans.0, &one.spans.0)
                && close(&last.spans.1, &one.spans.1)
        });
        match last {
            Some(last) => absorb(last, one),
            None => kept.push(one),
        }
    }
    kept
}

fn absorb(into: &mut Found, other: Found) {
    if into.places == 0 && other.places > 0 {
        into.path = other.path;
        into.block = other.block;
        into.from = other.from;
        into.to = other.to;
    }
    into.places += other.places;
    into.first = into.first.min(other.first);
    into.anchors.extend(other.anchors);
    into.spans.0.extend(other.spans.0);
    into.spans.1.extend(other.spans.1);
}

/// The alternative text belongs to the picture where the picture itself is another.
fn with_alternative_texts(found: Vec<Found>) -> Vec<Found> {
    let (texts, mut kept): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|one| one.facet == DifferenceFacet::AlternativeText);
    for text in texts {
        match kept.iter_mut().find(|one| one.facet == DifferenceFacet::Image && one.anchors == text.anchors) {
            Some(image) => {
                image.from = format!("{} ({})", image.from, text.from);
                image.to = format!("{} ({})", image.to, text.to);
                image.spans.0.extend(text.spans.0);
                image.spans.1.extend(text.spans.1);
                image.block = None;
            }
            None => kept.push(text),
        }
    }
    kept
}

/// The same change of words, link or picture in one element and in its twin for Outlook is one; in two elements it is two.
fn with_twins(found: Vec<Found>) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for one in found {
        let may_have_twins = [DifferenceFacet::Text, DifferenceFacet::Link, DifferenceFacet::Image].contains(&one.facet);
        let twin = kept.iter_mut().find(|other| {
            may_have_twins
                && (other.facet, &other.from, &other.to) == (one.facet, &one.from, &one.to)
                && (other.places + one.places <= 1 || other.anchors == one.anchors)
        });
        match twin {
            Some(twin) => absorb(twin, one),
            None => kept.push(one),
        }
    }
    kept
}

/// Formatting that changed alike in many places is one difference.
fn same_style_everywhere(found: Vec<Found>) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for one in found {
        let alike = |other: &&mut Found| {
            one.facet == DifferenceFacet::Formatting
                && other.facet == one.facet
                && !one.declarations.is_empty()
                && other.declarations == one.declarations
        };
        match kept.iter_mut().find(alike) {
            Some(same) => {
                same.block = None;
                absorb(same, one);
            }
            None => kept.push(one),
        }
    }
    for one in &mut kept {
        if one.facet == DifferenceFacet::Formatting && one.anchors.len() > 1 {
            one.path = format!("{} and {} more", one.path, one.anchors.len() - 1);
        }
    }
    kept
}
