//! The parts of a letter that a person can point at: each with an address that means it alone, what may vary in it, and what it says now.
//!
//! Cast: [`LetterPart`], [`Parts`]; [`parts`] lists them, [`marked`] is the letter with each part marked, so that a click on the
//! rendered letter leads back to the part of the source.
//!
//! The marks are for a preview only: no letter that is sent carries one.

use serde::Serialize;

use super::blocks::{self, Facet};
use super::error::ContentError;
use super::markup::{self, Kind, Token};
use super::merge::Marks;
use super::newsletter::{Body, BodyFormat, Newsletter};
use super::outlook::words;
use super::render;
use super::sheet;
use super::tree::{Tree, attribute_text};

/// The attribute that marks a part of HTML, with its number.
pub const PART_ATTRIBUTE: &str = "data-letterlab-part";
/// What a part of MJML is marked by, a class that ends in its number: MJML carries classes over, but no other attribute.
pub const PART_CLASS: &str = "letterlab-part-";
/// Most parts listed.
const MOST_PARTS: usize = 2_000;
/// Most characters of a part's words shown.
const SHOWN: usize = 120;

/// A part of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetterPart {
    /// Counted from 0 in reading order.
    pub number: usize,
    /// What the campaign calls it: a name or a selector.
    pub address: String,
    /// Its element: `a`, `mj-button`, …
    pub tag: String,
    /// The beginning of its words, or of its picture's alternative text.
    pub words: String,
    /// What may vary in it, and what that is now.
    pub facets: Vec<(Facet, String)>,
}

/// What may vary in a letter's body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Parts {
    /// The parts in reading order.
    pub parts: Vec<LetterPart>,
    /// The addresses of the stylesheet's rules, each once.
    pub rules: Vec<String>,
}

/// Everything that may vary in a body.
pub fn parts(newsletter: &Newsletter) -> Result<Parts, ContentError> {
    marked(newsletter).map(|(_, parts)| parts)
}

/// The letter with each part marked, and the parts.
pub fn marked(newsletter: &Newsletter) -> Result<(Newsletter, Parts), ContentError> {
    let body = &newsletter.body;
    let mut marks = Marks::for_texts(&[&body.source]);
    let source = render::html_source(body, &mut marks)?;
    let tokens = markup::tokens(&source);
    let tree = Tree::of(&tokens);
    let unique = blocks::unique_names(&tokens, &marks);
    let mut rules: Vec<String> = sheet::rules(&source, &tokens).into_iter().map(|rule| rule.address).collect();
    rules.sort();
    // A rule given twice cannot be addressed.
    let once: Vec<String> = rules.chunk_by(|one, other| one == other).filter(|same| same.len() == 1).flatten().cloned().collect();
    let mut found = Parts { parts: Vec::new(), rules: once };
    let mut written = String::with_capacity(source.len() * 5 / 4);
    let mut done = 0;
    for (node, element) in tree.nodes.iter().enumerate() {
        if found.parts.len() >= MOST_PARTS {
            break;
        }
        let facets = pointed_at(&tokens, &tree, node, body.format);
        if facets.is_empty() {
            continue;
        }
        let number = found.parts.len();
        let index = element.token;
        let value = |facet: &Facet| marks.unmask(&value_of(&source, &tokens, index, *facet));
        found.parts.push(LetterPart {
            number,
            address: blocks::address_of(node, &tree, &tokens, &unique),
            tag: element.tag.clone(),
            words: shorten(&marks.unmask(&words_of(&source, &tokens, index))),
            facets: facets.iter().map(|facet| (*facet, value(facet))).collect(),
        });
        let (place, mark) = mark_of(&tokens, index, number, body.format);
        written.push_str(source.get(done..place.start).unwrap_or_default());
        written.push_str(&mark);
        done = place.end;
    }
    written.push_str(source.get(done..).unwrap_or_default());
    let format = if body.format == BodyFormat::Markdown { BodyFormat::Html } else { body.format };
    let marked = Newsletter { body: Body { format, source: marks.unmask(&written) }, ..newsletter.clone() };
    Ok((marked, found))
}

/// What may vary in a part a person points at: less than the campaign allows, so that nothing is offered that would surprise.
fn pointed_at(tokens: &[Token<'_>], tree: &Tree, node: usize, format: BodyFormat) -> Vec<Facet> {
    const NEVER: [&str; 5] = ["head", "mj-head", "mj-attributes", "svg", "map"];
    let unseen = tree.upwards(node).filter_map(|above| tree.nodes.get(above)).any(|above| NEVER.contains(&above.tag.as_str()));
    let Some(element) = tree.nodes.get(node).filter(|_| !unseen) else { return Vec::new() };
    let mut facets = blocks::facets(tokens, element.token, format);
    if !holds_only_words(tokens, element.token) {
        facets.retain(|facet| *facet != Facet::Text);
    }
    facets
}

/// Whether an element holds words, and no other elements than those that only dress words.
fn holds_only_words(tokens: &[Token<'_>], index: usize) -> bool {
    const DRESS: [&str; 13] = ["b", "i", "u", "s", "em", "strong", "small", "sub", "sup", "span", "font", "br", "br/"];
    let Some(end) = markup::inner_end(tokens, index) else { return false };
    let inside = tokens.get(index + 1..end).unwrap_or_default();
    let dressed = inside.iter().all(|token| match &token.kind {
        Kind::Start { name, .. } => DRESS.iter().any(|dress| dress.eq_ignore_ascii_case(name)),
        _ => true,
    });
    dressed && inside.iter().any(|token| token.kind == Kind::Text)
}

fn value_of(source: &str, tokens: &[Token<'_>], index: usize, facet: Facet) -> String {
    match facet {
        Facet::Text => words_of(source, tokens, index),
        Facet::Link => attribute_text(tokens, index, "href"),
        Facet::Image => attribute_text(tokens, index, "src"),
        Facet::Style => attribute_text(tokens, index, "style"),
        Facet::Presence => "present".to_owned(),
        Facet::Rule => String::new(),
    }
}

fn words_of(source: &str, tokens: &[Token<'_>], index: usize) -> String {
    let end = markup::inner_end(tokens, index).unwrap_or(index);
    let inside = tokens.get(index + 1..end).unwrap_or_default();
    let only_words = holds_only_words(tokens, index);
    let mut text = String::new();
    for token in inside.iter().filter(|token| token.kind == Kind::Text) {
        text.push_str(source.get(token.span.clone()).unwrap_or_default());
        // Words of neighbouring cells must not run together.
        if !only_words {
            text.push(' ');
        }
        if text.len() > 4 * SHOWN && !only_words {
            break;
        }
    }
    let text = words(&text);
    if text.is_empty() { attribute_text(tokens, index, "alt") } else { text }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

/// What to write where, so that the part can be found in the rendered letter.
fn mark_of(tokens: &[Token<'_>], index: usize, number: usize, format: BodyFormat) -> (std::ops::Range<usize>, String) {
    let tag = blocks::tag_name(tokens, index);
    let start = tokens.get(index).map_or(0, |token| token.span.start);
    let after_name = start + 1 + tag.len();
    if format != BodyFormat::Mjml || !tag.to_ascii_lowercase().starts_with("mj") {
        return (after_name..after_name, format!(" {PART_ATTRIBUTE}=\"{number}\""));
    }
    match markup::attribute(super::tree::attributes(tokens, index), "css-class") {
        Some(class) => {
            (class.span.clone(), format!("css-class=\"{} {PART_CLASS}{number}\"", markup::escape_attribute(&markup::decode(class.value))))
        }
        None => (after_name..after_name, format!(" css-class=\"{PART_CLASS}{number}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::element::{Element, with_override};
    use super::super::letter::{CompiledLetter, LetterUrls, Tracking};
    use super::*;

    fn letter(format: BodyFormat, source: &str) -> Newsletter {
        Newsletter {
            subject: "s".to_owned(),
            preheader: String::new(),
            sender_name: "n".to_owned(),
            body: Body { format, source: source.to_owned() },
        }
    }

    const HTML: &str = "<html><head><style>.a{color:red} .b{} .b{}</style></head><body><div id=\"top\"><p>One <b>two</b> {{ x }}</p>\
                        <p><a href=\"https://a.example/?a&amp;b\">Go</a></p></div><table><tr><td>a</td><td><img src=\"https://a.example/i.png\" alt=\"Alt\"></td></tr></table></body></html>";
    const MJML: &str = "<mjml><mj-body><mj-section css-class=\"hero\"><mj-column><mj-text>Hello <i>you</i></mj-text>\
                        <mj-button data-block=\"offer\" href=\"https://a.example/\">Buy</mj-button></mj-column></mj-section></mj-body></mjml>";
    const MARKDOWN: &str = "# Title\n\nA [link](https://a.example/).\n";

    #[test]
    fn every_address_means_its_part_alone_and_every_facet_offered_can_vary() {
        for (format, source) in [(BodyFormat::Html, HTML), (BodyFormat::Mjml, MJML), (BodyFormat::Markdown, MARKDOWN)] {
            let base = letter(format, source);
            let found = parts(&base).unwrap();
            assert!(found.parts.len() >= 3, "{found:#?}");
            for part in &found.parts {
                for (facet, _) in &part.facets {
                    let value = match facet {
                        Facet::Text => "Other words",
                        Facet::Link | Facet::Image => "https://b.example/other",
                        Facet::Style if part.tag == "mj-section" || part.tag == "mj-column" => "background-color: #123456",
                        Facet::Style => "color: #123456",
                        Facet::Presence => "absent",
                        Facet::Rule => "color: blue",
                    };
                    let element = Element::Block { name: part.address.clone(), facet: *facet };
                    let changed = with_override(&base, &element, value).unwrap_or_else(|error| panic!("{part:?} {facet}: {error}"));
                    assert_ne!(changed.body.source, base.body.source, "{part:?}");
                    CompiledLetter::compile(&changed).unwrap_or_else(|error| panic!("{part:?} {facet}: {error}"));
                }
            }
        }
    }

    #[test]
    fn parts_say_what_they_are_now() {
        let found = parts(&letter(BodyFormat::Html, HTML)).unwrap();
        let shown: Vec<(&str, &str, &str)> =
            found.parts.iter().map(|part| (part.address.as_str(), part.tag.as_str(), part.words.as_str())).collect();
        let path = "html:nth-of-type(1) > body:nth-of-type(1) > table:nth-of-type(1)";
        let expected = [
            ("top".to_owned(), "div", "One two {{ x }} Go"),
            ("#top > p:nth-of-type(1)".to_owned(), "p", "One two {{ x }}"),
            ("#top > p:nth-of-type(1) > b:nth-of-type(1)".to_owned(), "b", "two"),
            ("#top > p:nth-of-type(2)".to_owned(), "p", "Go"),
            ("#top > p:nth-of-type(2) > a:nth-of-type(1)".to_owned(), "a", "Go"),
            (path.to_owned(), "table", "a"),
            (format!("{path} > tr:nth-of-type(1)"), "tr", "a"),
            (format!("{path} > tr:nth-of-type(1) > td:nth-of-type(1)"), "td", "a"),
            (format!("{path} > tr:nth-of-type(1) > td:nth-of-type(2)"), "td", ""),
            (format!("{path} > tr:nth-of-type(1) > td:nth-of-type(2) > img:nth-of-type(1)"), "img", "Alt"),
        ];
        let body = shown.iter().position(|(_, tag, _)| *tag == "body").map_or(0, |place| place + 1);
        assert_eq!(shown[body..], expected.iter().map(|(address, tag, words)| (address.as_str(), *tag, *words)).collect::<Vec<_>>());
        let link = found.parts.iter().find(|part| part.tag == "a").unwrap();
        assert!(link.facets.contains(&(Facet::Link, "https://a.example/?a&b".to_owned())), "{link:?}");
        assert_eq!(found.rules, [".a"]);
    }

    #[test]
    fn marks_survive_rendering() {
        for (format, source) in [(BodyFormat::Html, HTML), (BodyFormat::Mjml, MJML), (BodyFormat::Markdown, MARKDOWN)] {
            let (marked, found) = marked(&letter(format, source)).unwrap();
            let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: "https://u.example/".to_owned() };
            let values = [("x".to_owned(), "X".to_owned())].into();
            let html = CompiledLetter::compile(&marked).unwrap().render(&values, &urls).unwrap().html;
            for part in &found.parts {
                let by_attribute = html.contains(&format!("{PART_ATTRIBUTE}=\"{}\"", part.number));
                let by_class = html.split(['"', ' ']).any(|word| word == format!("{PART_CLASS}{}", part.number));
                assert!(by_attribute || by_class, "{part:?}\n{html}");
            }
        }
    }
}
