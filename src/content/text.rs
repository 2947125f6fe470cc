//! The plain-text part, made from the same document as the HTML part, with the same tracked links.
//!
//! Layout tables become plain blocks, hidden elements and images without alternative text disappear, and each link's
//! address follows its text in angle brackets: inside loops and conditions it must stay where the link is.
//!
//! Once per letter; nothing here runs per person.

use super::links::is_web_address;
use super::markup::{self, Attribute, Kind};
use super::merge::{Marks, Piece};

/// Characters per line, where words allow.
const WIDTH: usize = 76;

/// The text of a document whose links and tags are marks; the marks stay.
pub fn from_html(html: &str, marks: &mut Marks) -> String {
    let simple = simplify(html, marks);
    let converted = html2text::config::plain_no_decorate().allow_width_overflow().string_from_read(simple.as_bytes(), WIDTH);
    tidy(&mend(&converted.unwrap_or_default(), marks), marks)
}

/// A word longer than a line is broken wherever the line ends, in the middle of a mark as well: Chinese and Japanese sentences are such
/// words. Marks are made whole again, on the line where they begin.
fn mend(converted: &str, marks: &Marks) -> String {
    let mut mended = String::with_capacity(converted.len());
    for (number, line) in converted.lines().enumerate() {
        // A quotation or a list begins each of its lines so.
        let words = line.trim_start_matches([' ', '>']);
        let (rest_of_mark, rest) = words.split_at(marks.rest_of_mark(&mended, words));
        mended.push_str(rest_of_mark);
        if rest_of_mark.is_empty() || !rest.is_empty() {
            if number > 0 {
                mended.push('\n');
            }
            mended.push_str(line.strip_suffix(words).unwrap_or_default());
            mended.push_str(rest);
        }
    }
    mended
}

/// Whether a document shows a mark to everybody who sees it: in its words, or as an address to follow. What only a comment or a hidden
/// element holds it does not show.
pub(super) fn shows(html: &str, mark: &str, marks: &Marks) -> bool {
    let holds = |text: &str| {
        text.contains(mark)
            || marks.pieces(text).iter().any(|piece| {
                matches!(piece, Piece::Address(number) if marks.addresses.get(*number).is_some_and(|address| address.contains(mark)))
            })
    };
    let tokens = markup::tokens(html);
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match &token.kind {
            Kind::Start { name, attributes, .. } if is_hidden(name, attributes) => {
                index = markup::inner_end(&tokens, index).unwrap_or(index);
            }
            Kind::Start { name, attributes, .. }
                if ["a", "area"].iter().any(|link| link.eq_ignore_ascii_case(name))
                    && markup::attribute(attributes, "href").is_some_and(|href| holds(href.value)) =>
            {
                return true;
            }
            Kind::Text if holds(&html[token.span.clone()]) => return true,
            _ => {}
        }
        index += 1;
    }
    false
}

/// The document as blocks and words, without what is not shown.
fn simplify(html: &str, marks: &mut Marks) -> String {
    let tokens = markup::tokens(html);
    let mut simple = String::with_capacity(html.len() / 2);
    let mut open_link: Option<(String, usize)> = None;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match &token.kind {
            Kind::Start { name, attributes, .. } if is_hidden(name, attributes) => {
                index = markup::inner_end(&tokens, index).unwrap_or(index);
            }
            Kind::Start { name, attributes, .. } => match name.to_ascii_lowercase().as_str() {
                "a" => {
                    let href = markup::attribute(attributes, "href").map_or("", |href| href.value);
                    open_link = Some((href.to_owned(), simple.len()));
                }
                "img" => {
                    let alt = markup::attribute(attributes, "alt").map_or("", |alt| alt.value);
                    simple.push_str(&alt.replace('<', "&lt;"));
                }
                "area" => {
                    // A part of a picture: without the picture there is its word and its address.
                    let value = |name| markup::attribute(attributes, name).map_or("", |attribute| attribute.value);
                    let shown = value("alt").replace('<', "&lt;");
                    if let Some(address) = address_mark(value("href"), &shown, marks) {
                        simple.push_str(&format!("<div>{shown} &lt;{address}&gt;</div>"));
                    }
                }
                name => simple.push_str(&format!("<{}>", plain_name(name))),
            },
            Kind::End { name } if name.eq_ignore_ascii_case("a") => {
                if let Some((href, start)) = open_link.take() {
                    let shown = simple.get(start..).unwrap_or_default().to_owned();
                    if let Some(address) = address_mark(&href, &shown, marks) {
                        let space = if shown.is_empty() || shown.ends_with(char::is_whitespace) { "" } else { " " };
                        simple.push_str(&format!("{space}&lt;{address}&gt;"));
                    }
                }
            }
            Kind::End { name } => simple.push_str(&format!("</{}>", plain_name(&name.to_ascii_lowercase()))),
            Kind::Text => simple.push_str(&html[token.span.clone()]),
            Kind::Comment(inner) => {
                for piece in marks.pieces(inner) {
                    if let Piece::Tag(number) = piece
                        && marks.block_tag(number).is_some()
                        && *inner == marks.tag_mark(number)
                    {
                        simple.push_str(inner);
                    }
                }
            }
            Kind::RawText | Kind::Other => {}
        }
        index += 1;
    }
    simple
}

fn plain_name(name: &str) -> &str {
    match name {
        "table" | "tbody" | "thead" | "tfoot" | "tr" | "td" | "th" | "caption" | "center" => "div",
        other => other,
    }
}

fn is_hidden(name: &str, attributes: &[Attribute<'_>]) -> bool {
    let unseen = ["head", "style", "script", "title", "noscript", "svg"].iter().any(|unseen| unseen.eq_ignore_ascii_case(name));
    unseen
        || markup::attribute(attributes, "hidden").is_some()
        || markup::attribute(attributes, "style").is_some_and(|style| {
            let plain: String = style.value.to_ascii_lowercase().split_whitespace().collect();
            plain.split(';').any(|declaration| declaration == "display:none" || declaration == "display:none!important")
        })
}

/// What to show for a link's address: its mark, or nothing where the text says it already or there is nothing to follow.
fn address_mark(href: &str, shown: &str, marks: &mut Marks) -> Option<String> {
    let pieces = marks.pieces(href);
    if let [mark @ (Piece::Link(_) | Piece::Address(_))] = pieces.as_slice() {
        let leads_somewhere = match mark {
            Piece::Address(number) => marks.addresses.get(*number).is_some_and(|raw| is_web_address(&markup::decode(raw))),
            _ => true,
        };
        return leads_somewhere.then(|| href.to_owned());
    }
    let url = markup::decode(href).into_owned();
    let followable = marks.any_in(&url) || is_web_address(&url);
    if followable {
        return Some(marks.hide_address(href));
    }
    let (scheme, rest) = url.split_once(':')?;
    let plain = scheme.eq_ignore_ascii_case("mailto") || scheme.eq_ignore_ascii_case("tel");
    let address = rest.split('?').next().unwrap_or_default().to_owned();
    (plain && !address.is_empty() && !shown.contains(&address)).then(|| marks.hide_address(&markup::escape_attribute(&address)))
}

/// No invisible characters, no trailing spaces, no towers of empty lines; a line of conditions alone leaves no line behind.
fn tidy(converted: &str, marks: &Marks) -> String {
    let mut text = String::with_capacity(converted.len());
    let mut blank = true;
    for line in converted.lines() {
        let line: String = line
            .chars()
            .filter(|found| !matches!(found, '\u{200B}'..='\u{200D}' | '\u{FEFF}' | '\u{00AD}' | '\u{034F}' | '\u{2060}'))
            .map(|found| if matches!(found, '\u{A0}' | '\u{2007}' | '\u{202F}') { ' ' } else { found })
            .collect();
        let line = line.trim_end();
        let pieces = marks.pieces(line);
        let only_blocks = !pieces.is_empty()
            && pieces.iter().all(|piece| match piece {
                Piece::Tag(number) => marks.block_tag(*number).is_some(),
                Piece::Literal(literal) => literal.trim().is_empty(),
                _ => false,
            });
        if only_blocks {
            text.push_str(line.trim());
            continue;
        }
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        text.push_str(line);
        text.push('\n');
    }
    text.truncate(text.trim_end_matches('\n').len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::newsletter::Part;
    use super::*;

    #[test]
    fn a_document_reads_as_its_words_with_addresses_after_links() {
        let check = |html: &str, expected: &str| {
            let mut marks = Marks::for_texts(&[html]);
            let masked = marks.mask(Part::Body, html, true).expect("tags");
            let text = from_html(&masked, &mut marks);
            assert_eq!(marks.unmask(&text), expected, "{html}");
        };
        check("<head><title>t</title></head><p>Hello&nbsp;<b>you</b> &amp; me</p>", "Hello you & me\n");
        check("<table><tr><td>a</td><td>b</td></tr></table>", "a\nb\n");
        check("<p><a href=\"https://a.example/?x&amp;y\">Shop</a> now</p>", "Shop <https://a.example/?x&amp;y> now\n");
        check("<a href=\"https://a.example/\"><img src=x alt=\"A &amp; B\"></a>", "A & B <https://a.example/>\n");
        check(
            "<a href=\"#\">top</a> <a href=\"mailto:a@b.example\">a@b.example</a> <a href=\"tel:+1\">call</a>",
            "top a@b.example call <+1>\n",
        );
        check("<div style=\"color:red; display: none\">hidden<div>x</div></div><p>seen</p>", "seen\n");
        check(
            "<p>Hi {{ a | default(\"x\") }}</p><a href=\"{{ unsubscribe_url }}\">out</a>",
            "Hi {{ a | default(\"x\") }}\n\nout <{{ unsubscribe_url }}>\n",
        );
        check("<ul><li>one</li><li>two</li></ul>", "* one\n* two\n");
    }
}
