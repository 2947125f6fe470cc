//! A newsletter compiled once, then filled in per person.
//!
//! Cast: [`CompiledLetter`] (templates, links, warnings), [`LetterUrls`] and [`Tracking`] (one person's addresses),
//! [`RenderedLetter`] (what that person gets).
//!
//! It never sees an e-mail address: merge values and finished addresses are given as values.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value;

use super::error::ContentError;
use super::image;
use super::language;
use super::links::{self, FrozenLink};
use super::markup::{self, Kind};
use super::merge::{Marks, Piece};
use super::newsletter::{Newsletter, Part};
use super::render;
use super::syntax::{FieldUse, UNSUBSCRIBE};
use super::template::{Engine, LINK, PIXEL, Source, Values};
use super::text;
use super::unknown::{self, UnknownField};
use super::utm;
use super::warning::{CLIPPED, LARGE, LONG_STYLE, Warning};

/// Most bytes of a subject, preheader or sender name as written.
const MOST_LINE: usize = 4_096;

const PREHEADER_OPEN: &str = "<div style=\"display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;\
                              opacity:0;overflow:hidden;mso-hide:all\">";
const FOOTER_OPEN: &str = "<div style=\"padding:16px;text-align:center;font-family:Helvetica,Arial,sans-serif;\
                           font-size:12px;color:#666666\"><a href=\"";
const FOOTER_LINK: &str = "\" style=\"color:#666666\">";
const FOOTER_CLOSE: &str = "</a></div>";

/// What a campaign says of a letter beside its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterSettings {
    /// The language of a letter that does not state its own.
    pub language: Option<String>,
    /// Added to the query of every tracked link: name and value.
    pub parameters: Vec<(String, String)>,
    /// Uploaded pictures become parts of the message instead of being loaded when it is read.
    pub inline_images: bool,
}

/// A newsletter ready to be filled in. Compile once per variant, render once per person; rendering shares it freely.
#[derive(Debug, Clone)]
pub struct CompiledLetter {
    engine: Engine,
    marks: Marks,
    links: Vec<FrozenLink>,
    untracked: Vec<Value>,
    warnings: Vec<Warning>,
    /// Fields whose values are looked up; the unsubscribe address is not among them.
    fields: BTreeSet<String>,
    size: usize,
    language: Option<String>,
    images: Vec<String>,
    is_blank: bool,
}

/// The addresses made for one person's copy. All are finished; none is changed or checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterUrls {
    /// Pixel and links, or neither.
    pub tracking: Tracking,
    /// Where the person can unsubscribe.
    pub unsubscribe: String,
}

/// Whether this person's copy is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracking {
    /// No pixel, and links lead where the author pointed them.
    Off,
    /// A pixel, and links by way of the tracker.
    On {
        /// The pixel's address.
        pixel: String,
        /// One address per link, in link order: the first is for link number 1.
        links: Vec<String>,
    },
}

/// One person's copy. Line ends are `\n`; encoding for transport is delivery's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedLetter {
    /// One line, without control characters.
    pub subject: String,
    /// One line; it is in `html` already.
    pub preheader: String,
    /// One line, without control characters.
    pub sender_name: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub text: String,
}

impl CompiledLetter {
    /// Checks and compiles a newsletter with usual settings. The same newsletter always gives the same letter.
    pub fn compile(newsletter: &Newsletter) -> Result<Self, ContentError> {
        Self::compile_with(newsletter, &LetterSettings::default())
    }

    /// Checks and compiles a newsletter. The same newsletter and settings always give the same letter.
    pub fn compile_with(newsletter: &Newsletter, settings: &LetterSettings) -> Result<Self, ContentError> {
        let lines =
            [(Part::Subject, &newsletter.subject), (Part::Preheader, &newsletter.preheader), (Part::SenderName, &newsletter.sender_name)];
        if let Some((part, text)) = lines.iter().find(|(_, text)| text.len() > MOST_LINE) {
            return Err(ContentError::TooLarge { part: *part, bytes: text.len(), most: MOST_LINE });
        }
        let texts = [&newsletter.subject, &newsletter.preheader, &newsletter.sender_name, &newsletter.body.source];
        let mut marks = Marks::for_texts(&texts.map(String::as_str));
        let subject = marks.mask(Part::Subject, &newsletter.subject, false)?;
        let preheader = marks.mask(Part::Preheader, &newsletter.preheader, false)?;
        let sender_name = marks.mask(Part::SenderName, &newsletter.sender_name, false)?;
        let with_preheader = !preheader.trim().is_empty();

        let document = render::document(&newsletter.body, with_preheader, &mut marks)?;
        let document = language::declare(&document, settings.language.as_deref().filter(|tag| language::is_language(tag)));
        let stated = language::declared(&document);
        let (document, images) = if settings.inline_images { image::inline_uploaded(&document) } else { (document, Vec::new()) };
        let mut frozen = links::freeze(&document, &marks)?;
        for link in &mut frozen.links {
            link.url = utm::with_parameters(&link.url, &settings.parameters);
        }
        let text = text::from_html(&frozen.html, &mut marks);
        let is_blank = text.trim().is_empty() && !has_picture(&frozen.html);
        let html = unwrap_blocks(&frozen.html, &marks);
        let size = size_of(&html, &marks, &frozen.links) + preheader.len();
        let with_footer = !offers_unsubscribe(&html, &marks);

        let mut engine = Engine::new();
        let plain = |masked: &str| {
            let mut source = Source::default();
            source.push_masked(&marks, masked);
            source
        };
        engine.add("subject", plain(&subject), Part::Subject, &marks)?;
        engine.add("preheader", plain(&preheader), Part::Preheader, &marks)?;
        engine.add("sender name", plain(&sender_name), Part::SenderName, &marks)?;
        let preheader = with_preheader.then_some(preheader.as_str());
        let footer = with_footer.then(|| language::unsubscribe_word(stated.as_deref()));
        engine.add("html", html_template(&html, preheader, footer, size > LARGE, &marks), Part::Body, &marks)?;
        engine.add("text", text_template(&text, footer, &marks), Part::Body, &marks)?;

        let mut warnings = warnings(newsletter, &html, size, with_footer);
        if frozen.links.is_empty() {
            warnings.push(Warning::NoLinks);
        }
        if stated.is_none() {
            warnings.push(Warning::NoLanguage);
        }
        warnings.extend(frozen.warnings);
        let fields = marks.uses.iter().map(|one| one.field.clone()).filter(|field| field != UNSUBSCRIBE).collect();
        let untracked = frozen.links.iter().map(|link| Value::from(link.url.as_str())).collect();
        Ok(Self { engine, marks, links: frozen.links, untracked, warnings, fields, size, language: stated, images, is_blank })
    }

    /// The tracked links, in reading order.
    pub fn links(&self) -> &[FrozenLink] {
        &self.links
    }

    /// The fields used anywhere; the unsubscribe address is not among them.
    pub fn merge_fields(&self) -> BTreeSet<String> {
        self.fields.clone()
    }

    /// The fields a person must have a value for: used somewhere without a default.
    pub fn required_fields(&self) -> BTreeSet<String> {
        let needed = |one: &&FieldUse| !one.optional && one.field != UNSUBSCRIBE;
        self.marks.uses.iter().filter(needed).map(|one| one.field.clone()).collect()
    }

    /// What an author should look at.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The HTML part's size in bytes before anything is filled in.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The language the letter states, such as `fr`.
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    /// The ids of the uploaded pictures that are parts of the message, each once.
    pub fn inline_images(&self) -> &[String] {
        &self.images
    }

    /// Whether there is neither text nor picture in it, for nobody.
    pub fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Why this person would get no letter: the first field they lack, with its place, if any. Conditions are evaluated where it
    /// matters, because a field is needed only where it is reached.
    pub fn lacks(&self, values: &BTreeMap<String, String>) -> Option<ContentError> {
        let has = |field: &String| values.get(field).is_some_and(|value| !value.trim().is_empty());
        if self.required_fields().iter().all(has) {
            return None;
        }
        let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: String::new() };
        self.render(values, &urls).err()
    }

    /// The uses of fields that are not known, each field once per part, in order.
    pub fn check_fields(&self, known: &BTreeSet<String>) -> Vec<UnknownField> {
        let mut seen = BTreeSet::new();
        let unknown = |one: &&FieldUse| one.field != UNSUBSCRIBE && !known.contains(&one.field);
        self.marks
            .uses
            .iter()
            .filter(unknown)
            .filter(|one| seen.insert((one.part, one.field.clone())))
            .map(|one| UnknownField {
                field: one.field.clone(),
                part: one.part,
                line: one.line,
                suggestion: unknown::suggest(&one.field, known),
            })
            .collect()
    }

    /// One person's copy. A blank value counts as none: `Hi ,` is never what is meant.
    pub fn render(&self, values: &BTreeMap<String, String>, urls: &LetterUrls) -> Result<RenderedLetter, ContentError> {
        let (pixel, links) = match &urls.tracking {
            Tracking::Off => (Value::from_safe_string(String::new()), self.untracked.clone()),
            Tracking::On { pixel, links } => {
                if links.len() != self.links.len() {
                    return Err(ContentError::LinkCount { expected: self.links.len(), given: links.len() });
                }
                (Value::from_safe_string(pixel_markup(pixel)), links.iter().map(|link| Value::from(link.as_str())).collect())
            }
        };
        let fields = self
            .fields
            .iter()
            .filter_map(|field| Some((field.clone(), values.get(field).filter(|value| !value.trim().is_empty())?)))
            .map(|(field, value)| (field, Value::from(value.as_str())))
            .collect();
        let values = Value::from_object(Values { fields, links, pixel, unsubscribe: Value::from(urls.unsubscribe.as_str()) });
        let fill = |name, part| self.engine.render(name, part, &values, &self.marks);
        Ok(RenderedLetter {
            subject: one_line(&fill("subject", Part::Subject)?),
            preheader: one_line(&fill("preheader", Part::Preheader)?),
            sender_name: one_line(&fill("sender name", Part::SenderName)?),
            html: fill("html", Part::Body)?,
            text: fill("text", Part::Body)?,
        })
    }
}

fn has_picture(html: &str) -> bool {
    markup::tokens(html).iter().any(|token| matches!(&token.kind, Kind::Start { name, .. } if name.eq_ignore_ascii_case("img")))
}

fn pixel_markup(url: &str) -> String {
    let url = markup::escape_attribute(url);
    format!("<img src=\"{url}\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block;width:1px;height:1px;border:0\">")
}

/// Conditions and loops out of the comments that kept them in place.
fn unwrap_blocks(html: &str, marks: &Marks) -> String {
    let mut unwrapped = String::with_capacity(html.len());
    let mut after_block = false;
    for piece in marks.pieces(html) {
        match piece {
            Piece::Literal(literal) if after_block => unwrapped.push_str(literal.strip_prefix("-->").unwrap_or(literal)),
            Piece::Literal(literal) => unwrapped.push_str(literal),
            Piece::Tag(number) => {
                after_block = marks.block_tag(number).is_some() && unwrapped.ends_with("<!--");
                if after_block {
                    unwrapped.truncate(unwrapped.len() - "<!--".len());
                }
                unwrapped.push_str(&marks.tag_mark(number));
                continue;
            }
            Piece::Link(number) => unwrapped.push_str(&marks.link_mark(number)),
            Piece::Address(number) => unwrapped.push_str(&marks.address_mark(number)),
        }
        after_block = false;
    }
    unwrapped
}

/// Whether every person sees the unsubscribe address.
fn offers_unsubscribe(html: &str, marks: &Marks) -> bool {
    marks.uses.iter().any(|one| one.field == UNSUBSCRIBE && one.always && text::shows(html, &marks.tag_mark(one.tag), marks))
}

fn html_template(html: &str, preheader: Option<&str>, footer: Option<&str>, pixel_first: bool, marks: &Marks) -> Source {
    let tokens = markup::tokens(html);
    let start = tokens
        .iter()
        .find(|token| matches!(&token.kind, Kind::Start { name, .. } if name.eq_ignore_ascii_case("body")))
        .map_or(0, |token| token.span.end);
    let end = tokens
        .iter()
        .rfind(|token| matches!(&token.kind, Kind::End { name } if name.eq_ignore_ascii_case("body")))
        .map_or(html.len(), |token| token.span.start.max(start));
    let mut source = Source::default();
    push_body(&mut source, &html[..start], marks);
    if let Some(preheader) = preheader {
        source.push_literal(PREHEADER_OPEN);
        source.push_masked(marks, &markup::escape_text(preheader));
        source.push_literal("</div>");
    }
    if pixel_first {
        source.push_own(PIXEL);
    }
    push_body(&mut source, &html[start..end], marks);
    if let Some(word) = footer {
        source.push_literal(FOOTER_OPEN);
        source.push_own(UNSUBSCRIBE);
        source.push_literal(FOOTER_LINK);
        source.push_literal(word);
        source.push_literal(FOOTER_CLOSE);
    }
    if !pixel_first {
        source.push_own(PIXEL);
    }
    push_body(&mut source, &html[end..], marks);
    source
}

fn push_body(source: &mut Source, html: &str, marks: &Marks) {
    for piece in marks.pieces(html) {
        match piece {
            Piece::Literal(literal) => source.push_literal(literal),
            Piece::Tag(number) => source.push_tag(number, marks.tags.get(number).map_or("", |tag| &tag.code)),
            Piece::Link(number) => source.push_own(&format!("{LINK}{number}")),
            Piece::Address(number) => source.push_masked(marks, marks.addresses.get(number).map_or("", String::as_str)),
        }
    }
}

fn text_template(text: &str, footer: Option<&str>, marks: &Marks) -> Source {
    let mut source = Source::default();
    for piece in marks.pieces(text) {
        match piece {
            Piece::Literal(literal) => source.push_literal(literal),
            Piece::Tag(number) => source.push_tag(number, marks.tags.get(number).map_or("", |tag| &tag.code)),
            Piece::Link(number) => source.push_own(&format!("{LINK}{number}")),
            Piece::Address(number) => {
                let raw = marks.addresses.get(number).map_or("", String::as_str);
                source.push_masked(marks, &markup::decode(raw));
            }
        }
    }
    if let Some(word) = footer {
        source.push_literal(&format!("\n--\n{word}: "));
        source.push_own(UNSUBSCRIBE);
        source.push_literal("\n");
    }
    source
}

fn size_of(html: &str, marks: &Marks, links: &[FrozenLink]) -> usize {
    let piece_size = |piece| match piece {
        Piece::Literal(literal) => literal.len(),
        Piece::Tag(number) => marks.tags.get(number).map_or(0, |tag| tag.original.len()),
        Piece::Link(number) => links.get(number.saturating_sub(1)).map_or(0, |link| link.url.len()),
        Piece::Address(number) => marks.addresses.get(number).map_or(0, String::len),
    };
    marks.pieces(html).into_iter().map(piece_size).sum()
}

fn warnings(newsletter: &Newsletter, html: &str, size: usize, with_footer: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if newsletter.subject.trim().is_empty() {
        warnings.push(Warning::NoSubject);
    }
    if size > CLIPPED {
        warnings.push(Warning::Clipped { bytes: size });
    } else if size > LARGE {
        warnings.push(Warning::Large { bytes: size });
    }
    let mut in_style = false;
    for token in markup::tokens(html) {
        let characters = html[token.span.clone()].chars().count();
        if in_style && token.kind == Kind::RawText && characters > LONG_STYLE {
            warnings.push(Warning::LongStyle { characters });
        }
        in_style = matches!(&token.kind, Kind::Start { name, .. } if name.eq_ignore_ascii_case("style"));
    }
    if with_footer {
        warnings.push(Warning::FooterAppended);
    }
    let parts = [
        (Part::Subject, &newsletter.subject),
        (Part::Preheader, &newsletter.preheader),
        (Part::SenderName, &newsletter.sender_name),
        (Part::Body, &newsletter.body.source),
    ];
    for (part, text) in parts {
        warnings.extend(mailchimp_tags(text).into_iter().map(|tag| Warning::ForeignTag { part, tag }));
    }
    warnings
}

/// `*|FNAME|*` and the like, each once.
fn mailchimp_tags(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut remaining = text;
    while let Some(start) = remaining.find("*|") {
        let after = &remaining[start + 2..];
        match after.find("|*").filter(|length| (1..=60).contains(length)) {
            Some(length) if !after[..length].contains('\n') => {
                found.insert(format!("*|{}|*", &after[..length]));
                remaining = &after[length + 2..];
            }
            _ => remaining = after,
        }
    }
    found
}

/// Fit for a header: white space of any kind becomes one space; other control characters and those that turn the
/// reading direction, with which a subject can be made to read as something else, are removed.
fn one_line(text: &str) -> String {
    let turns = |found: char| matches!(found, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    let spaced: String = text
        .chars()
        .map(|found| if matches!(found, '\n' | '\r' | '\t') { ' ' } else { found })
        .filter(|found| !found.is_control() && !turns(*found))
        .collect();
    let mut line = String::with_capacity(spaced.len());
    for character in spaced.trim().chars() {
        if character != ' ' || !line.ends_with(' ') {
            line.push(character);
        }
    }
    line
}
