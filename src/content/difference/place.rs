//! Where something stands in a letter, as a person would say it: "button 'Buy now' in section 2".
//!
//! Cast: [`path`] (a node), [`shortened`] (a text as it is shown).

use super::document::{Document, NodeKind, is_block};

/// Longest text shown of a node, in characters.
const LONGEST: usize = 40;

/// A node's place: what it is, what it says, and in which section of the letter it stands.
pub fn path(document: &Document, number: usize) -> String {
    let node = document.node(number);
    let mut path = match &node.kind {
        NodeKind::Element { name, .. } => element(document, number, name),
        NodeKind::Text(_) => return path(document, node.parent),
        NodeKind::Root => "the letter".to_owned(),
        NodeKind::Conditional(condition) => format!("Outlook comment {condition}"),
        NodeKind::Marker(marker) => format!("markup {}", quoted(marker)),
        NodeKind::Sheet(_) => "style sheet".to_owned(),
        NodeKind::Raw(_) => format!("content of <{}>", document.name(node.parent)),
    };
    if node.conditional {
        path.push_str(" for Outlook");
    }
    if let Some(section) = section(document, number) {
        path.push_str(&format!(" in section {section}"));
    }
    path
}

fn element(document: &Document, number: usize, name: &str) -> String {
    let mut words = noun(document, number, name);
    let alt = document.attribute(number, "alt").filter(|alt| !alt.is_empty());
    let file = document.attribute(number, "src").map(|source| source.rsplit('/').next().unwrap_or_default());
    // Everything says all of the letter.
    let said = if ["html", "head", "body", "mjml", "mj-head", "mj-body"].contains(&name) {
        String::new()
    } else {
        document.words_up_to(number, 8 * LONGEST)
    };
    let label = if said.is_empty() { alt.or(file).unwrap_or_default().to_owned() } else { said };
    if !label.is_empty() {
        words.push(' ');
        words.push_str(&quoted(&label));
    } else if let Some(id) = document.attribute(number, "id") {
        words.push_str(&format!(" #{id}"));
    }
    words
}

fn noun(document: &Document, number: usize, name: &str) -> String {
    let parent = document.name(document.node(number).parent);
    if parent == "mj-attributes" || parent == "mj-html-attributes" {
        return match document.attribute(number, "name") {
            Some(class) => format!("style class {class}"),
            None => format!("default style of <{name}>"),
        };
    }
    let class = document.attribute(number, "class").unwrap_or_default().to_ascii_lowercase();
    let styled = document.style(number).iter().any(|one| one.property.starts_with("background") || one.property.starts_with("padding"));
    let noun = match name {
        "a" if class.contains("button") || class.contains("btn") || styled => "button",
        "mj-button" | "v:roundrect" | "button" => "button",
        "a" | "mj-navbar-link" | "area" => "link",
        "mj-social-element" => "social link",
        "img" | "mj-image" | "v:imagedata" | "amp-img" => "picture",
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => "headline",
        "p" => "paragraph",
        "li" => "list item",
        "td" | "th" => "table cell",
        "tr" => "table row",
        "table" | "mj-table" => "table",
        "ul" | "ol" => "list",
        "mj-text" => "text",
        "mj-section" | "mj-wrapper" | "section" => "section",
        "mj-column" => "column",
        "mj-hero" => "hero",
        "mj-divider" | "hr" => "line",
        "mj-spacer" => "spacer",
        "title" | "mj-title" => "document title",
        "mj-preview" => "preview text",
        "v:fill" | "v:rect" => "background",
        "div" => "block",
        "body" | "mj-body" => "body",
        "span" | "b" | "strong" | "i" | "em" | "font" | "u" => "words",
        other => return format!("<{other}>"),
    };
    noun.to_owned()
}

/// The number of the letter's section a node stands in: on the way down from the body, the first place with several parts.
fn section(document: &Document, number: usize) -> Option<usize> {
    let mut way = vec![number];
    let mut current = number;
    while current != 0 {
        current = document.node(current).parent;
        way.push(current);
    }
    way.reverse();
    let body = way.iter().position(|node| ["body", "mj-body"].contains(&document.name(*node)));
    // A piece of HTML without a body is its own body; a head has no sections.
    if body.is_none() && way.iter().any(|node| ["head", "mj-head", "html", "mjml"].contains(&document.name(*node))) {
        return None;
    }
    for pair in way[body.unwrap_or_default()..].windows(2) {
        let &[parent, child] = pair else { continue };
        let counts = |node: &usize| is_block(document.name(*node)) && !["style", "link", "meta"].contains(&document.name(*node));
        let parts: Vec<usize> = document.node(parent).children.iter().copied().filter(counts).collect();
        if parts.len() > 1 {
            return parts.iter().position(|part| *part >= child).map(|place| place + 1).or(Some(parts.len()));
        }
    }
    None
}

/// `'text'`, shortened.
pub fn quoted(text: &str) -> String {
    format!("'{}'", shortened(text, LONGEST))
}

/// The text, or its beginning and an ellipsis.
pub fn shortened(text: &str, most: usize) -> String {
    let text = text.trim();
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", beginning.trim_end())
}
