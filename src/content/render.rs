//! From an author's markup to one HTML document with its styles inlined. Merge tags are marks all the way.
//!
//! Cast: [`html_source`] (Markdown as the HTML it stands for), [`document`] (any format → finished HTML).
//!
//! It loads nothing: no style sheet, no font, no include. Remote addresses stay what they are, text.

use std::collections::BTreeSet;

use css_inline::{CSSInliner, InlineError};
use pulldown_cmark::{Options, Parser};

use super::error::ContentError;
use super::markup::{self, Kind, Token};
use super::merge::{Marks, Piece};
use super::nesting;
use super::newsletter::{Body, BodyFormat, Part};
use super::style;

/// Elements may lie this deep in one another; the tools behind call themselves once per level.
const MOST_NESTING: usize = 120;
/// As [`MOST_NESTING`], of HTML, where every level counts: a table in a table is four of them.
const MOST_RENDERED_NESTING: usize = 480;
/// Every selector is tried on every element: bytes of style sheets times elements, at most. Of 23 published templates (MJML's, Mailchimp's
/// and others') the heaviest comes to 2 million, half to less than 0.4 million.
const MOST_STYLE_WORK: usize = 400_000_000;
/// A compiled letter is refused above this size, in bytes.
const MOST_HTML: usize = 1024 * 1024;

/// The body with its tags lifted out, MJML or HTML: for Markdown the document it renders to.
pub fn html_source(body: &Body, marks: &mut Marks) -> Result<String, ContentError> {
    let bytes = body.source.len();
    if bytes > Body::MOST_BYTES {
        return Err(ContentError::TooLarge { part: Part::Body, bytes, most: Body::MOST_BYTES });
    }
    // A NUL is no character of any markup, and tools disagree on it; the MJML parser stumbles over Windows line ends.
    let source = body.source.trim_start_matches('\u{FEFF}').replace("\r\n", "\n").replace('\0', "");
    let masked = marks.mask(Part::Body, &source, true)?;
    let masked = if body.format == BodyFormat::Markdown { markdown(&masked, marks) } else { masked };
    match body.format {
        BodyFormat::Mjml => check_depth(nesting::mjml_depth(&masked), MOST_NESTING)?,
        BodyFormat::Html | BodyFormat::Markdown => check_depth(nesting::html_depth(&masked), MOST_RENDERED_NESTING)?,
    }
    Ok(masked)
}

fn check_depth(depth: usize, most: usize) -> Result<(), ContentError> {
    if depth <= most {
        return Ok(());
    }
    let problem = format!("elements lie more than {most} deep in one another; close those left open");
    Err(ContentError::Markup { line: None, problem })
}

fn markdown(masked: &str, marks: &Marks) -> String {
    // A condition alone on its line must not become a paragraph of its own.
    let mut source = String::with_capacity(masked.len());
    for line in masked.split_inclusive('\n') {
        let pieces = marks.pieces(line);
        let only_blocks = pieces.iter().all(|piece| match piece {
            Piece::Literal(literal) => literal.trim().is_empty(),
            Piece::Tag(number) => marks.block_tag(*number).is_some(),
            Piece::Link(_) | Piece::Address(_) => false,
        });
        if only_blocks && pieces.iter().any(|piece| matches!(piece, Piece::Tag(_))) {
            // One comment each: a comment stands for one tag from here on.
            let tags = pieces.iter().filter_map(|piece| if let Piece::Tag(number) = piece { Some(comment(*number, marks)) } else { None });
            source.extend(tags);
            source.push('\n');
        } else {
            source.push_str(line);
        }
    }
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut html = String::with_capacity(source.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, Parser::new_ext(&source, options));
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"supported-color-schemes\" content=\"light dark\">\n</head>\n\
         <body style=\"margin:0;padding:16px\">\n\
         <div style=\"max-width:600px;margin:0 auto;font-family:Helvetica,Arial,sans-serif;font-size:16px;line-height:1.5\">\n\
         {html}</div>\n</body>\n</html>\n"
    )
}

/// One HTML document with styles inlined; style blocks stay for media queries. `with_preheader` drops MJML's own preview text.
pub fn document(body: &Body, with_preheader: bool, marks: &mut Marks) -> Result<String, ContentError> {
    let source = html_source(body, marks)?;
    let settled = settle(&source, marks)?;
    let html = match body.format {
        BodyFormat::Mjml => mjml(&prepare_mjml(&settled, with_preheader, marks), marks)?,
        BodyFormat::Html | BodyFormat::Markdown => whole_document(settled),
    };
    // What MJML closes by itself, as in <div/>, HTML may leave open.
    check_depth(nesting::html_depth(&html), MOST_RENDERED_NESTING)?;
    check_styles(&html)?;
    let html = inline_styles(&html)?;
    let kept: BTreeSet<usize> = marks
        .pieces(&html)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Tag(number) => Some(number),
            _ => None,
        })
        .collect();
    let lost = |number: &usize| marks.block_tag(*number).is_some_and(|tag| tag.part == Part::Body) && !kept.contains(number);
    if let Some(tag) = (0..marks.tags.len()).find(lost).and_then(|number| marks.tags.get(number)) {
        let problem = format!("`{}` stands where nothing is shown; in MJML put it inside <mj-raw> or <mj-text>", tag.original);
        return Err(ContentError::Merge { part: Part::Body, line: tag.line, problem });
    }
    if html.len() > MOST_HTML {
        return Err(ContentError::TooLarge { part: Part::Body, bytes: html.len(), most: MOST_HTML });
    }
    Ok(html)
}

/// A piece of HTML as a document; otherwise the parser would put a condition or comment it begins with before the document.
fn whole_document(html: String) -> String {
    let begins_document = |token: &Token<'_>| {
        ["html", "head", "body"].iter().any(|element| starts(Some(token), element)) || is_doctype(html.get(token.span.clone()))
    };
    if markup::tokens(&html).iter().any(begins_document) {
        return html;
    }
    format!("<!DOCTYPE html><html><head><meta charset=\"utf-8\"></head><body>{html}</body></html>")
}

fn is_doctype(written: Option<&str>) -> bool {
    written.and_then(|written| written.get(..9)).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"))
}

/// Wraps conditions and loops that stand between elements into comments, the only thing HTML allows anywhere, and
/// refuses tags where no tool could keep them.
fn settle(masked: &str, marks: &Marks) -> Result<String, ContentError> {
    let mut settled = String::with_capacity(masked.len());
    let tokens = markup::tokens(masked);
    for (index, token) in tokens.iter().enumerate() {
        let text = &masked[token.span.clone()];
        match &token.kind {
            Kind::Text => {
                let before = index.checked_sub(1).and_then(|before| tokens.get(before));
                if starts(before, "table") && starts(tokens.get(index + 1), "tr") && marks.any_in(text) {
                    // The parser would put this between the condition and the row, and a loop would repeat it.
                    settled.push_str("<tbody>");
                }
                for piece in marks.pieces(text) {
                    match piece {
                        Piece::Literal(literal) => settled.push_str(literal),
                        Piece::Tag(number) if marks.block_tag(number).is_some() => {
                            settled.push_str(&comment(number, marks));
                        }
                        Piece::Tag(number) => settled.push_str(&marks.tag_mark(number)),
                        Piece::Link(_) | Piece::Address(_) => {}
                    }
                }
                continue;
            }
            Kind::Start { name, attributes, .. } => {
                let outside = attributes.iter().map(|attribute| attribute.name).chain([*name]).find(|written| marks.any_in(written));
                if let Some(outside) = outside {
                    let tag = marks.pieces(outside).into_iter().find_map(|piece| match piece {
                        Piece::Tag(number) => marks.tags.get(number),
                        _ => None,
                    });
                    let (line, shown) = tag.map_or((1, ""), |tag| (tag.line, tag.original.as_str()));
                    let problem = format!("`{shown}` stands inside a tag but outside its quoted values; put it inside the quotes");
                    return Err(ContentError::Merge { part: Part::Body, line, problem });
                }
            }
            // Outlook's older form of "everyone but Outlook": HTML parsers would turn it into a comment Outlook does not know.
            Kind::Other if text.starts_with("<![if") || text.starts_with("<![IF") => {
                settled.push_str(&format!("<!--{}<!-->", &text[2..]));
                continue;
            }
            Kind::Other if text.to_ascii_lowercase().starts_with("<![endif]>") => {
                settled.push_str("<!--<![endif]-->");
                continue;
            }
            Kind::Comment(inner) if marks.any_in(inner) && !is_conditional(inner) => {
                // A note to authors: what it prints nobody is to read, nor to lack a value for. A condition in it, as some editors write
                // them, is one all the same.
                let blocks = marks.pieces(inner).into_iter().filter_map(|piece| match piece {
                    Piece::Tag(number) if marks.block_tag(number).is_some() => Some(comment(number, marks)),
                    _ => None,
                });
                settled.extend(blocks);
                continue;
            }
            _ => {}
        }
        settled.push_str(text);
    }
    Ok(settled)
}

/// A condition or loop as it is kept in place until every tool is done.
fn comment(tag: usize, marks: &Marks) -> String {
    format!("<!--{}-->", marks.tag_mark(tag))
}

/// Whether a comment is one that Outlook reads as markup.
fn is_conditional(inner: &str) -> bool {
    let inner = inner.trim_start();
    inner.starts_with("<![") || inner.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("[if"))
}

fn starts(token: Option<&Token<'_>>, element: &str) -> bool {
    matches!(token.map(|token| &token.kind), Some(Kind::Start { name, .. }) if name.eq_ignore_ascii_case(element))
}

/// What MJML would not carry over: links that opt out of tracking are hidden from it, its preview text gives way to the
/// preheader, and attribute values are spelt so that the renderer cannot spoil them.
fn prepare_mjml(masked: &str, with_preheader: bool, marks: &mut Marks) -> String {
    let tokens = markup::tokens(masked);
    let mut prepared = String::with_capacity(masked.len());
    let mut done = 0;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        if let Kind::Start { name, attributes, .. } = &token.kind {
            let untracked = markup::attribute(attributes, "data-track").is_some_and(|track| track.value.eq_ignore_ascii_case("off"));
            for attribute in attributes {
                let address = attribute.name == "href" || attribute.name == "src";
                let value = match attribute.name {
                    "href" if untracked => Some(marks.hide_address(attribute.value)),
                    _ => spell_attribute(attribute.value, address),
                };
                if let Some(value) = value {
                    prepared.push_str(&masked[done..attribute.span.start]);
                    prepared.push_str(&format!("{}=\"{value}\"", attribute.name));
                    done = attribute.span.end;
                }
            }
            if with_preheader && *name == "mj-preview" {
                prepared.push_str(&masked[done..token.span.start]);
                let last = markup::inner_end(&tokens, index).unwrap_or(index);
                done = tokens.get(last).map_or(token.span.end, |end| end.span.end);
                index = last;
            }
        }
        index += 1;
    }
    prepared.push_str(&masked[done..]);
    prepared
}

/// An attribute's value without characters that the MJML renderer writes as program escapes (`\n`, `\"`, `\u{200d}`);
/// nothing when there are none. In an address, line breaks and tabs mean nothing; elsewhere they are a space.
fn spell_attribute(value: &str, address: bool) -> Option<String> {
    let spoilt = |found: char| found != '\'' && found.escape_debug().count() != 1;
    if !value.contains(spoilt) {
        return None;
    }
    let mut spelt = String::with_capacity(value.len());
    for found in value.chars() {
        match found {
            '\n' | '\r' | '\t' if address => {}
            '\n' | '\r' | '\t' => spelt.push(' '),
            _ if spoilt(found) => spelt.push_str(&format!("&#{};", u32::from(found))),
            _ => spelt.push(found),
        }
    }
    Some(spelt)
}

fn mjml(masked: &str, marks: &Marks) -> Result<String, ContentError> {
    use mrml::prelude::parser::Error;
    if !markup::tokens(masked).iter().any(|token| matches!(&token.kind, Kind::Start { name, .. } if *name == "mjml")) {
        return Err(ContentError::Markup { line: None, problem: "this is not MJML: there is no <mjml> element".to_owned() });
    }
    let parsed = mrml::parse(masked).map_err(|error| {
        let (position, problem) = match &error {
            Error::UnexpectedElement { position, .. } => (Some(position.start), "this element is not allowed here".to_owned()),
            Error::UnexpectedToken { position, .. } => {
                (Some(position.start), "this is not allowed here; text belongs into <mj-text>".to_owned())
            }
            Error::MissingAttribute { name, position, .. } => (Some(position.start), format!("the attribute `{name}` is missing")),
            Error::InvalidAttribute { position, .. } => (Some(position.start), "this attribute cannot be read".to_owned()),
            Error::InvalidFormat { position, .. } => (Some(position.start), "this cannot be read".to_owned()),
            Error::IncludeLoaderError { position, .. } => {
                (Some(position.start), "mj-include is not available; paste the included part into the letter".to_owned())
            }
            Error::EndOfStream { .. } => (None, "the MJML ends too early; an element is not closed".to_owned()),
            Error::NoRootNode => (None, "this is not MJML: there is no <mjml> element".to_owned()),
            Error::ParserError { .. } | Error::SizeLimit { .. } => {
                (None, "the MJML cannot be read; look for an unclosed tag or quote".to_owned())
            }
        };
        ContentError::Markup { line: position.map(|position| author_line(masked, position, marks)), problem }
    })?;
    let options = mrml::prelude::render::RenderOptions::default();
    parsed
        .element
        .render(&options)
        .map_err(|error| ContentError::Markup { line: None, problem: format!("the MJML cannot be rendered: {error}") })
}

/// The line in the author's text: marks are shorter than the tags they stand for.
fn author_line(masked: &str, position: usize, marks: &Marks) -> usize {
    let before = masked.get(..position).unwrap_or(masked);
    markup::line_of(&marks.unmask(before), usize::MAX)
}

/// Refuses style sheets that would keep the inliner busy for minutes.
fn check_styles(html: &str) -> Result<(), ContentError> {
    let (mut elements, mut bytes, mut in_style) = (0_usize, 0_usize, false);
    for token in markup::tokens(html) {
        match &token.kind {
            Kind::Start { name, .. } => {
                elements += 1;
                in_style = name.eq_ignore_ascii_case("style");
            }
            Kind::RawText if in_style => bytes += token.span.len(),
            _ => {}
        }
    }
    if elements.saturating_mul(bytes) <= MOST_STYLE_WORK {
        return Ok(());
    }
    let problem = format!("{bytes} bytes of style sheets are too many for {elements} elements; remove rules that are not used");
    Err(ContentError::Markup { line: None, problem })
}

fn inline_styles(html: &str) -> Result<String, ContentError> {
    let all = markup::tokens(html);
    let doctype = all.iter().filter_map(|token| html.get(token.span.clone())).find(|written| is_doctype(Some(written)));
    let inliner = CSSInliner::options().load_remote_stylesheets(false).keep_style_tags(true).keep_link_tags(true).build();
    let inlined = inliner.inline(&mend_styles(html)).map_err(|error| {
        let problem = match error {
            InlineError::ParseError(detail) => format!("a style cannot be read ({detail})"),
            _ => "the styles cannot be inlined".to_owned(),
        };
        ContentError::Markup { line: None, problem }
    })?;
    // The inliner shortens the doctype, and the older ones choose how browsers lay tables out.
    let without = inlined.strip_prefix("<!DOCTYPE html>").unwrap_or(&inlined);
    Ok(format!("{}{without}", doctype.unwrap_or("<!DOCTYPE html>")))
}

/// Style attributes without broken declarations; browsers skip those, the inliner refuses the letter.
fn mend_styles(html: &str) -> String {
    let mut mended = String::with_capacity(html.len());
    let mut done = 0;
    for token in markup::tokens(html) {
        let Kind::Start { attributes, .. } = &token.kind else { continue };
        if let Some(style) = markup::attribute(attributes, "style")
            && let Some(better) = style::mend(&markup::decode(style.value))
        {
            mended.push_str(&html[done..style.span.start]);
            mended.push_str(&format!("style=\"{}\"", markup::escape_attribute(&better)));
            done = style.span.end;
        }
    }
    mended.push_str(&html[done..]);
    mended
}
