//! Reads markup (HTML and MJML alike) as a flat row of tokens with byte positions, so that one attribute or one
//! text can be changed and every other byte stays as it was.
//!
//! Cast: [`Token`], [`Kind`], [`Attribute`]; [`tokens`] reads, [`inner_end`] finds the matching end tag,
//! [`escape_text`], [`escape_attribute`] and [`decode`] translate entities.
//!
//! It builds no tree, repairs nothing and never fails: what is not a tag is text. Merge tags must have been masked before.

use std::borrow::Cow;
use std::ops::Range;

/// One piece of markup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'s> {
    /// Where it stands, as bytes of the source.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind<'s>,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'s> {
    /// Characters between tags.
    Text,
    /// The content of an element whose content is not markup: style, script, title, textarea.
    RawText,
    /// `<name …>`.
    Start {
        /// As written.
        name: &'s str,
        /// In order.
        attributes: Vec<Attribute<'s>>,
        /// `<name … />`.
        self_closing: bool,
    },
    /// `</name>`.
    End {
        /// As written.
        name: &'s str,
    },
    /// `<!-- … -->`; the text between the dashes.
    Comment(&'s str),
    /// Doctype, processing instruction, CDATA, downlevel-revealed condition.
    Other,
}

/// `name="value"` in a start tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute<'s> {
    /// As written.
    pub name: &'s str,
    /// As written, entities not decoded; empty when there is none.
    pub value: &'s str,
    /// From the first byte of the name to the closing quote.
    pub span: Range<usize>,
}

/// The attribute of that name, in any case.
pub fn attribute<'t, 's>(attributes: &'t [Attribute<'s>], name: &str) -> Option<&'t Attribute<'s>> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// Elements that have no content and no end tag.
pub fn is_void(name: &str) -> bool {
    const VOID: [&str; 14] =
        ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
    VOID.iter().any(|void| void.eq_ignore_ascii_case(name))
}

fn has_raw_content(name: &str) -> bool {
    ["style", "script", "title", "textarea", "mj-style", "mj-title", "mj-preview"].iter().any(|raw| raw.eq_ignore_ascii_case(name))
}

/// The whole source as tokens; their spans touch and cover it.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut text_start = 0;
    let mut at = 0;
    while let Some(offset) = rest(source, at).find('<') {
        let start = at + offset;
        let (kind, end) = match read_tag(source, start) {
            Ok(tag) => tag,
            Err(NoTag::JustText) => {
                at = start + 1;
                continue;
            }
            Err(NoTag::NeverEnds) => break,
        };
        push_text(&mut found, text_start, start, Kind::Text);
        let raw_name = match &kind {
            Kind::Start { name, self_closing: false, .. } if has_raw_content(name) => Some(*name),
            _ => None,
        };
        found.push(Token { span: start..end, kind });
        text_start = end;
        at = end;
        if let Some(name) = raw_name {
            let close = find_close(source, end, name).unwrap_or(source.len());
            push_text(&mut found, end, close, Kind::RawText);
            text_start = close;
            at = close;
        }
    }
    push_text(&mut found, text_start, source.len(), Kind::Text);
    found
}

fn push_text<'s>(found: &mut Vec<Token<'s>>, start: usize, end: usize, kind: Kind<'s>) {
    if start < end {
        found.push(Token { span: start..end, kind });
    }
}

/// The source from a position on; empty past its end.
fn rest(source: &str, at: usize) -> &str {
    source.get(at..).unwrap_or_default()
}

fn find_close(source: &str, from: usize, name: &str) -> Option<usize> {
    let mut at = from;
    while let Some(offset) = rest(source, at).find("</") {
        let start = at + offset;
        let after = rest(source, start + 2);
        if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return Some(start);
        }
        at = start + 2;
    }
    None
}

/// Why a `<` begins no tag.
enum NoTag {
    /// It is a character like any other.
    JustText,
    /// The source ends within the tag: nothing after it is one.
    NeverEnds,
}

/// Reads the tag that starts at the `<` at `start`: its kind and where it ends.
fn read_tag(source: &str, start: usize) -> Result<(Kind<'_>, usize), NoTag> {
    let after = rest(source, start + 1);
    let first = after.bytes().next().ok_or(NoTag::JustText)?;
    let tag_like = match first {
        b'!' | b'?' => true,
        b'/' => after[1..].starts_with(|first: char| first.is_ascii_alphabetic()),
        _ => first.is_ascii_alphabetic(),
    };
    if tag_like { read_whole_tag(source, start, first).ok_or(NoTag::NeverEnds) } else { Err(NoTag::JustText) }
}

fn read_whole_tag(source: &str, start: usize, first: u8) -> Option<(Kind<'_>, usize)> {
    let after = rest(source, start + 1);
    match first {
        b'!' if after.starts_with("!--") => {
            let inner = start + 4;
            // "<!-->" and "<!--->" are whole, empty comments.
            for short in [">", "->"] {
                if rest(source, inner).starts_with(short) {
                    return Some((Kind::Comment(""), inner + short.len()));
                }
            }
            let length = rest(source, inner).find("-->")?;
            Some((Kind::Comment(&source[inner..inner + length]), inner + length + 3))
        }
        b'!' if after.starts_with("![CDATA[") => Some((Kind::Other, start + 1 + after.find("]]>")? + 3)),
        b'!' | b'?' => Some((Kind::Other, start + 1 + after.find('>')? + 1)),
        b'/' => {
            let name = tag_name(source, start + 2);
            let close = after.find('>')?;
            Some((Kind::End { name }, start + 1 + close + 1))
        }
        _ => read_start_tag(source, start),
    }
}

fn tag_name(source: &str, start: usize) -> &str {
    let after = rest(source, start);
    let length = after.find(|found: char| found.is_ascii_whitespace() || found == '/' || found == '>').unwrap_or(after.len());
    &after[..length]
}

fn read_start_tag(source: &str, start: usize) -> Option<(Kind<'_>, usize)> {
    let bytes = source.as_bytes();
    let name = tag_name(source, start + 1);
    let mut at = start + 1 + name.len();
    let mut attributes = Vec::new();
    loop {
        match *bytes.get(at)? {
            b'>' => return Some((Kind::Start { name, attributes, self_closing: false }, at + 1)),
            b'/' if bytes.get(at + 1) == Some(&b'>') => return Some((Kind::Start { name, attributes, self_closing: true }, at + 2)),
            byte if byte.is_ascii_whitespace() || byte == b'/' => at += 1,
            _ => {
                let attribute = read_attribute(source, at)?;
                at = attribute.span.end;
                attributes.push(attribute);
            }
        }
    }
}

fn read_attribute(source: &str, start: usize) -> Option<Attribute<'_>> {
    let bytes = source.as_bytes();
    let skip_space = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    // A leading "=" belongs to the name, as browsers read it.
    let mut name_end = start + 1;
    while bytes.get(name_end).is_some_and(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'>' | b'/')) {
        name_end += 1;
    }
    let name = source.get(start..name_end)?;
    let equals = skip_space(name_end);
    if bytes.get(equals) != Some(&b'=') {
        return Some(Attribute { name, value: "", span: start..name_end });
    }
    let value_start = skip_space(equals + 1);
    match *bytes.get(value_start)? {
        quote @ (b'"' | b'\'') => {
            let inner = value_start + 1;
            let length = rest(source, inner).find(char::from(quote))?;
            Some(Attribute { name, value: &source[inner..inner + length], span: start..inner + length + 1 })
        }
        b'>' => Some(Attribute { name, value: "", span: start..value_start }),
        _ => {
            let after = rest(source, value_start);
            let length = after.find(|found: char| found.is_ascii_whitespace() || found == '>').unwrap_or(after.len());
            // In "<mj-image src=x />" the space ends the value; in "<a href=x/>" the slash belongs to it, as in browsers.
            Some(Attribute { name, value: &after[..length], span: start..value_start + length })
        }
    }
}

/// The index of the end tag that closes the start tag at `index`; none when it is void, self-closed or never closed.
pub fn inner_end(tokens: &[Token<'_>], index: usize) -> Option<usize> {
    let Kind::Start { name, self_closing: false, .. } = &tokens.get(index)?.kind else { return None };
    if is_void(name) {
        return None;
    }
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate().skip(index) {
        match &token.kind {
            Kind::Start { name: other, self_closing: false, .. } if other.eq_ignore_ascii_case(name) => {
                // A paragraph cannot hold a paragraph: the first was left open, and where it ends is a guess.
                if depth > 0 && name.eq_ignore_ascii_case("p") {
                    return None;
                }
                depth += 1;
            }
            Kind::End { name: other } if other.eq_ignore_ascii_case(name) => {
                depth -= 1;
                if depth == 0 {
                    return Some(position);
                }
            }
            _ => {}
        }
    }
    None
}

/// The line a byte stands on, counted from 1.
pub fn line_of(source: &str, byte: usize) -> usize {
    1 + source.as_bytes().iter().take(byte).filter(|found| **found == b'\n').count()
}

/// Text as it is written between tags.
pub fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text as it is written between double quotes.
pub fn escape_attribute(text: &str) -> String {
    escape_text(text).replace('"', "&quot;")
}

/// Decodes entities once, as in an attribute: numbers and the five names that matter in addresses; others stay as written.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some(start) = remaining.find('&') {
        decoded.push_str(&remaining[..start]);
        remaining = &remaining[start..];
        let (character, length) = read_entity(remaining).unwrap_or(('&', 1));
        decoded.push(character);
        remaining = &remaining[length..];
    }
    decoded.push_str(remaining);
    Cow::Owned(decoded)
}

fn read_entity(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 6] =
        [("&amp;", '&'), ("&quot;", '"'), ("&lt;", '<'), ("&gt;", '>'), ("&apos;", '\''), ("&nbsp;", '\u{A0}')];
    if let Some((name, character)) = NAMES.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((*character, name.len()));
    }
    // No entity of a real character is longer than this.
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let number = text.get(2..end).filter(|_| text.starts_with("&#"))?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
        None => number.parse().ok()?,
    };
    Some((char::from_u32(code)?, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(source: &str) -> Vec<&str> {
        tokens(source).into_iter().map(|token| &source[token.span]).collect()
    }

    #[test]
    fn tokens_cover_the_source_without_gaps() {
        for source in [
            "",
            "plain < text",
            "<p>a</p>",
            "<a href='x > y' b>t</a>",
            "<!-- a -- <b> --><br/>",
            "<style>a > b {}</style>x",
            "<title>a<b></title>",
            "<p",
            "<a href=\"open",
            "<!--",
            "<!-->x",
            "</",
            "<![endif]>",
            "<é>",
            "<a é=\"ü\" =x>",
        ] {
            assert_eq!(pieces(source).concat(), source);
        }
    }

    #[test]
    fn attributes_are_read_in_all_spellings() {
        let source = r#"<a id=one HREF = 'two' data-block="th>ree" checked/>"#;
        let all = tokens(source);
        let Kind::Start { name, attributes, self_closing } = &all[0].kind else { panic!("no start tag") };
        assert_eq!((*name, *self_closing, all.len()), ("a", true, 1));
        let read: Vec<_> = attributes.iter().map(|attribute| (attribute.name, attribute.value)).collect();
        assert_eq!(read, [("id", "one"), ("HREF", "two"), ("data-block", "th>ree"), ("checked", "")]);
        assert_eq!(&source[attributes[1].span.clone()], "HREF = 'two'");
    }

    #[test]
    fn the_matching_end_tag_is_found_past_nested_ones_of_the_same_name() {
        let source = "<div><div></div><DIV></DIV>x</div><div></div>";
        let all = tokens(source);
        let end = inner_end(&all, 0).expect("closed");
        assert_eq!(all[end].span, 28..34);
        assert_eq!(inner_end(&tokens("<p>a<p>b</p>"), 0), None);
        assert_eq!(inner_end(&tokens("<br>a</br>"), 0), None);
    }

    #[test]
    fn entities_are_decoded_once() {
        for (raw, decoded) in [
            ("a=1&amp;b=2", "a=1&b=2"),
            ("a=1&b=2", "a=1&b=2"),
            ("&amp;amp;", "&amp;"),
            ("&#38;&#x26;&#X26;", "&&&"),
            ("a&copy=1", "a&copy=1"),
            ("&#xD800;&#;&", "&#xD800;&#;&"),
            ("&ü;", "&ü;"),
        ] {
            assert_eq!(decode(raw), decoded, "{raw}");
        }
    }
}
