//! Merge tags are lifted out of a letter before any tool touches its markup, and put back when every tool is done.
//!
//! `{{ x | default("y") }}` holds quotes, angle brackets and spaces that MJML, CSS and HTML tools would escape, move
//! or break. So each tag becomes a mark, a word of letters and digits that survives them all.
//!
//! Cast: [`Tag`] and [`TagKind`], [`Marks`] (the table of what was lifted out), [`Piece`] (a masked text read again).
//!
//! It evaluates nothing; what a tag may say is checked in [`super::syntax`].

use std::ops::Range;

use super::error::ContentError;
use super::markup;
use super::newsletter::Part;
use super::syntax::{self, FieldUse};

/// Most merge tags a part may have.
const MOST_TAGS: usize = 2_000;
/// Most digits of a mark's number.
const LONGEST_NUMBER: usize = 8;
/// Longest merge tag, in bytes.
const LONGEST_TAG: usize = 4_096;

/// What a tag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    /// `{{ … }}`: prints.
    Print,
    /// `{% … %}`: opens, turns or closes a condition or loop.
    Block,
    /// `{# … #}`: a note to authors, dropped.
    Note,
}

/// A tag as found in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Where it was found.
    pub part: Part,
    /// What it does.
    pub kind: TagKind,
    /// As the author wrote it.
    pub original: String,
    /// As the template engine shall read it: entities decoded.
    pub code: String,
    /// Counted from 1.
    pub line: usize,
}

/// Everything lifted out of a letter. A tag's number is its place in the table.
#[derive(Debug, Clone)]
pub struct Marks {
    prefix: String,
    /// The tags of all parts masked so far.
    pub tags: Vec<Tag>,
    /// The fields they use.
    pub uses: Vec<FieldUse>,
    /// Addresses kept away from the tools, raw as in an attribute and masked.
    pub addresses: Vec<String>,
}

/// A stretch of masked text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'s> {
    /// Text without marks.
    Literal(&'s str),
    /// The tag of that number.
    Tag(usize),
    /// The tracked link of that number, counted from 1.
    Link(usize),
    /// The address of that number.
    Address(usize),
}

impl Marks {
    /// A table whose marks occur in none of these texts.
    pub fn for_texts(texts: &[&str]) -> Self {
        let mut prefix = "zqm".to_owned();
        while texts.iter().any(|text| text.to_ascii_lowercase().contains(&prefix)) {
            prefix.push('q');
        }
        Self { prefix, tags: Vec::new(), uses: Vec::new(), addresses: Vec::new() }
    }

    /// The mark of a tag. Marks are equally wide, so that a tag more in the subject breaks no line of the body elsewhere.
    pub fn tag_mark(&self, number: usize) -> String {
        format!("{}{number:04}t", self.prefix)
    }

    /// The mark of a tracked link.
    pub fn link_mark(&self, number: usize) -> String {
        format!("{}{number:04}k", self.prefix)
    }

    /// Keeps an address away from the tools; returns its mark.
    pub fn hide_address(&mut self, raw: &str) -> String {
        self.addresses.push(raw.to_owned());
        self.address_mark(self.addresses.len() - 1)
    }

    /// The mark of an address kept away from the tools.
    pub fn address_mark(&self, number: usize) -> String {
        format!("{}{number:04}a", self.prefix)
    }

    /// The text with each tag replaced by its mark, and the tags checked and entered in the table.
    /// `markup` says that the text is HTML or MJML, where an editor may have written quotes as entities.
    pub fn mask(&mut self, part: Part, source: &str, markup: bool) -> Result<String, ContentError> {
        let first = self.tags.len();
        let mut masked = String::with_capacity(source.len());
        let mut done = 0;
        let (mut line, mut line_start) = (1, 0);
        let found = find_tags(part, source)?;
        for (kind, span) in found {
            let original = &source[span.clone()];
            let code = match kind {
                TagKind::Note => String::new(),
                _ if markup => markup::decode(original).into_owned(),
                _ => original.to_owned(),
            };
            masked.push_str(&source[done..span.start]);
            masked.push_str(&self.tag_mark(self.tags.len()));
            done = span.end;
            line += markup::line_of(&source[line_start..span.start], usize::MAX) - 1;
            line_start = span.start;
            self.tags.push(Tag { part, kind, original: original.to_owned(), code, line });
        }
        masked.push_str(&source[done..]);
        let uses = syntax::check(part, self.tags.get(first..).unwrap_or_default(), first)?;
        self.uses.extend(uses);
        Ok(masked)
    }

    /// The text as its author wrote it.
    pub fn unmask(&self, masked: &str) -> String {
        let mut text = String::with_capacity(masked.len());
        for piece in self.pieces(masked) {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Tag(number) => text.push_str(self.tags.get(number).map_or("", |tag| &tag.original)),
                Piece::Address(number) => text.push_str(&self.addresses.get(number).map_or_else(String::new, |raw| self.unmask(raw))),
                Piece::Link(_) => {}
            }
        }
        text
    }

    /// A masked text, piece by piece.
    pub fn pieces<'s>(&self, masked: &'s str) -> Vec<Piece<'s>> {
        let mut pieces = Vec::new();
        let mut remaining = masked;
        let mut literal_length = 0;
        while let Some(offset) = remaining[literal_length..].find(&self.prefix) {
            let start = literal_length + offset;
            let after = &remaining[start + self.prefix.len()..];
            let Some((piece, length)) = read_mark(after) else {
                literal_length = start + self.prefix.len();
                continue;
            };
            if start > 0 {
                pieces.push(Piece::Literal(&remaining[..start]));
            }
            pieces.push(piece);
            remaining = &after[length..];
            literal_length = 0;
        }
        if !remaining.is_empty() {
            pieces.push(Piece::Literal(remaining));
        }
        pieces
    }

    /// How many bytes of `next` belong to a mark that begins at the end of `before` and was cut; 0 for none.
    pub fn rest_of_mark(&self, before: &str, next: &str) -> usize {
        let longest = self.prefix.len() + LONGEST_NUMBER + 1;
        let line = before.rsplit('\n').next().unwrap_or_default();
        let next = &next[..next.floor_char_boundary(longest)];
        for length in 1..=line.len().min(longest) {
            let Some(begun) = line.get(line.len() - length..) else { continue };
            let joined = format!("{begun}{next}");
            if let Some((_, read)) = joined.strip_prefix(&self.prefix).and_then(read_mark)
                && self.prefix.len() + read > length
            {
                return self.prefix.len() + read - length;
            }
        }
        0
    }

    /// Whether a masked text holds any mark.
    pub fn any_in(&self, masked: &str) -> bool {
        self.pieces(masked).iter().any(|piece| !matches!(piece, Piece::Literal(_)))
    }

    /// The tag of that number, if it opens, turns or closes a condition or loop.
    pub fn block_tag(&self, number: usize) -> Option<&Tag> {
        self.tags.get(number).filter(|tag| tag.kind == TagKind::Block)
    }
}

fn read_mark(after_prefix: &str) -> Option<(Piece<'static>, usize)> {
    let digits = after_prefix.bytes().take_while(u8::is_ascii_digit).count();
    let number = after_prefix.get(..digits)?.parse().ok()?;
    let piece = match after_prefix.as_bytes().get(digits)? {
        b't' => Piece::Tag(number),
        b'k' => Piece::Link(number),
        b'a' => Piece::Address(number),
        _ => return None,
    };
    Some((piece, digits + 1))
}

/// Every tag of a source with its place. A lone `{#` is no note unless white space follows: style sheets hold `{#name`.
pub fn find_tags(part: Part, source: &str) -> Result<Vec<(TagKind, Range<usize>)>, ContentError> {
    let mut found = Vec::new();
    let mut at = 0;
    // Where one note does not end no later one does: asked again for each, this would take minutes.
    let mut notes_end = true;
    while let Some(offset) = source[at..].find('{') {
        let start = at + offset;
        let after = &source[start + 1..];
        let (kind, close) = match after.as_bytes() {
            [b'{', ..] => (TagKind::Print, "}}"),
            [b'%', ..] => (TagKind::Block, "%}"),
            [b'#', next, ..] if notes_end && next.is_ascii_whitespace() => (TagKind::Note, "#}"),
            _ => {
                at = start + 1;
                continue;
            }
        };
        let inner = start + 2;
        let Some(length) = find_close(&source[inner..], kind, close) else {
            if kind == TagKind::Note {
                notes_end = false;
                at = inner;
                continue;
            }
            let opening = &source[start..inner];
            let line = markup::line_of(source, start);
            let far = if source[inner..].contains(close) { format!(" within {LONGEST_TAG} bytes") } else { String::new() };
            return Err(ContentError::Merge { part, line, problem: format!("`{opening}` is not closed by `{close}`{far}") });
        };
        at = inner + length + close.len();
        found.push((kind, start..at));
        if found.len() > MOST_TAGS {
            let problem = format!("there are more than {MOST_TAGS} merge tags");
            return Err(ContentError::Merge { part, line: markup::line_of(source, start), problem });
        }
    }
    Ok(found)
}

/// Where the closing braces start; those inside quotes do not count, unless the quotes are never closed.
fn find_close(inner: &str, kind: TagKind, close: &str) -> Option<usize> {
    if kind == TagKind::Note {
        return inner.find(close);
    }
    let inner = &inner[..inner.floor_char_boundary(LONGEST_TAG)];
    let plain = inner.find(close)?;
    let mut quote = None;
    let mut escaped = false;
    for (position, byte) in inner.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            None if inner.as_bytes()[position..].starts_with(close.as_bytes()) => return Some(position),
            None => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(source: &str) -> (Marks, String) {
        let mut marks = Marks::for_texts(&[source]);
        let masked = marks.mask(Part::Body, source, true).expect("valid tags");
        (marks, masked)
    }

    #[test]
    fn unmasking_gives_back_every_byte() {
        for source in [
            "",
            "no tags { } {# {#id}",
            "Hi {{ first_name | default(\"}} there\") }}!",
            "{% if a %}x{% else %}{{ b }}{% endif %}{# note #}",
            "zqm0t zqmq {{ a }}zqm {{ b }}0t",
            "{{ a | default(&quot;x&quot;) }}",
        ] {
            let (marks, masked) = masked(source);
            assert!(!masked.contains("{{") && !masked.contains("{%"), "{masked}");
            assert_eq!(marks.unmask(&masked), source);
        }
    }

    #[test]
    fn quotes_written_as_entities_are_decoded_for_the_engine_only() {
        let (marks, _) = masked("<p>{{ a | default(&quot;x&quot;) }}</p>");
        assert_eq!(marks.tags[0].code, "{{ a | default(\"x\") }}");
        assert_eq!(marks.tags[0].original, "{{ a | default(&quot;x&quot;) }}");
    }

    #[test]
    fn style_sheets_are_not_taken_for_notes() {
        let (marks, masked) = masked("@media print{#outlook a{padding:0}} #}");
        assert!(marks.tags.is_empty(), "{masked}");
    }

    #[test]
    fn sources_that_would_be_read_again_for_each_tag_are_read_once() {
        // Each of these once took minutes.
        assert_eq!(find_tags(Part::Body, &"{# ".repeat(80_000)), Ok(Vec::new()));
        for (source, expected) in [
            ("{{\\\"}}".repeat(40_000), "more than 2000 merge tags"),
            (format!("{{{{ {} }}}}", "a".repeat(5_000)), "is not closed by `}}` within 4096 bytes"),
        ] {
            let error = find_tags(Part::Body, &source).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_open_tag_is_reported_with_its_line() {
        let error = find_tags(Part::Body, "a\nb {{ name }\n").unwrap_err();
        assert_eq!(error.to_string(), "body, line 2: `{{` is not closed by `}}`");
    }
}
