//! A letter and generated edits of it, to try the comparison out: each is one element, or two, or nothing but another spelling.
//!
//! Cast: [`trials`] (everything that can be done to a letter), [`Trial`], [`Expected`].
//!
//! Edits are cut into the source by byte positions; the comparison's own tree has no part in them. All chance comes from the caller.

use std::ops::Range;

use rand::{Rng, RngExt};

use super::DifferenceFacet;
use crate::content::error::ContentError;
use crate::content::markup::{self, Kind, Token};
use crate::content::merge::Marks;
use crate::content::newsletter::{Body, BodyFormat, Newsletter, Part};

/// What the comparison must say of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The letters are the same.
    Same,
    /// One element, in this facet of the body.
    One(DifferenceFacet),
    /// One element, and not of the body.
    OneLine,
    /// More than one.
    Several,
}

/// A letter changed in a known way.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What was done, in a few words.
    pub name: String,
    /// The changed letter.
    pub newsletter: Newsletter,
    /// The changed reply-to address.
    pub reply_to: Option<String>,
    /// What the comparison must say.
    pub expected: Expected,
}

/// One cut: a stretch of the masked source, and what stands there instead.
#[derive(Debug, Clone)]
struct Cut {
    span: Range<usize>,
    text: String,
}

/// What one edit did.
#[derive(Debug, Clone)]
struct Edit {
    name: &'static str,
    facet: DifferenceFacet,
    cuts: Vec<Cut>,
    /// The stretch of source this edit is about: two edits of different elements do not touch.
    reach: Range<usize>,
}

/// The edits tried on a letter in one round: every facet and every kind of noise it has a place for, and pairs of edits.
///
/// # Errors
/// A letter whose merge tags are none.
pub fn trials(newsletter: &Newsletter, rng: &mut impl Rng) -> Result<Vec<Trial>, ContentError> {
    let source = newsletter.body.source.replace("\r\n", "\n");
    let mut marks = Marks::for_texts(&[&source]);
    let masked = marks.mask(Part::Body, &source, true)?;
    let letter = Source::read(&masked, newsletter.body.format);
    let build = |cuts: &[Cut]| Newsletter {
        body: Body { format: newsletter.body.format, source: marks.unmask(&letter.with(cuts)) },
        ..newsletter.clone()
    };
    let mut found = lines(newsletter);
    let edits: Vec<Edit> = letter.edits(rng);
    for edit in &edits {
        let expected = Expected::One(edit.facet);
        found.push(Trial { name: edit.name.to_owned(), newsletter: build(&edit.cuts), reply_to: None, expected });
    }
    for (place, one) in edits.iter().enumerate() {
        for other in edits.iter().skip(place + 1).filter(|other| apart(one, other)) {
            let cuts: Vec<Cut> = one.cuts.iter().chain(&other.cuts).cloned().collect();
            let name = format!("{} and {}", one.name, other.name);
            found.push(Trial { name, newsletter: build(&cuts), reply_to: None, expected: Expected::Several });
        }
        let mut newsletter = build(&one.cuts);
        newsletter.subject.push_str(" today");
        found.push(Trial { name: format!("{} and subject", one.name), newsletter, reply_to: None, expected: Expected::Several });
    }
    for (name, cuts) in letter.noise(rng) {
        if !cuts.is_empty() {
            found.push(Trial { name: name.to_owned(), newsletter: build(&cuts), reply_to: None, expected: Expected::Same });
        }
    }
    Ok(found)
}

/// A new picture and its new alternative text are one element; so are two changes of one element's look.
fn apart(one: &Edit, other: &Edit) -> bool {
    let touch = one.reach.start < other.reach.end && other.reach.start < one.reach.end;
    let same_kind = one.facet == other.facet;
    let picture = |edit: &Edit| matches!(edit.facet, DifferenceFacet::Image | DifferenceFacet::AlternativeText);
    let one_picture = picture(one) && picture(other);
    !(touch || same_kind || one_picture)
}

fn lines(newsletter: &Newsletter) -> Vec<Trial> {
    let change = |name: &str, newsletter: Newsletter, reply_to: Option<&str>, expected| Trial {
        name: name.to_owned(),
        newsletter,
        reply_to: reply_to.map(str::to_owned),
        expected,
    };
    let with = |edit: fn(&mut Newsletter)| {
        let mut changed = newsletter.clone();
        edit(&mut changed);
        changed
    };
    vec![
        change("subject", with(|letter| letter.subject.push_str(" now")), None, Expected::OneLine),
        change("preheader", with(|letter| letter.preheader.push_str(" now")), None, Expected::OneLine),
        change("sender name", with(|letter| letter.sender_name.push_str(" team")), None, Expected::OneLine),
        change("reply-to", newsletter.clone(), Some("answers@example.org"), Expected::OneLine),
        change("the letter itself", newsletter.clone(), None, Expected::Same),
        change(
            "subject and sender name",
            with(|letter| {
                letter.subject.push_str(" now");
                letter.sender_name.push_str(" team");
            }),
            None,
            Expected::Several,
        ),
    ]
}

/// A letter's tokens, with what the edits need to know of them.
struct Source<'s> {
    text: &'s str,
    format: BodyFormat,
    tokens: Vec<Token<'s>>,
}

impl<'s> Source<'s> {
    fn read(text: &'s str, format: BodyFormat) -> Self {
        Self { text, format, tokens: markup::tokens(text) }
    }

    fn with(&self, cuts: &[Cut]) -> String {
        let mut cuts: Vec<&Cut> = cuts.iter().collect();
        cuts.sort_by_key(|cut| (cut.span.start, cut.span.end));
        let mut changed = String::with_capacity(self.text.len() + 256);
        let mut done = 0;
        for cut in cuts.into_iter().filter(|cut| cut.span.end <= self.text.len()) {
            changed.push_str(self.text.get(done..cut.span.start).unwrap_or_default());
            changed.push_str(&cut.text);
            done = cut.span.end;
        }
        changed.push_str(self.text.get(done..).unwrap_or_default());
        changed
    }

    fn mjml(&self) -> bool {
        self.format == BodyFormat::Mjml
    }

    /// Start tags of these elements, as places among the tokens.
    fn starts(&self, wanted: impl Fn(&str, &[markup::Attribute<'s>]) -> bool) -> Vec<usize> {
        let start = |(place, token): (usize, &Token<'s>)| match &token.kind {
            Kind::Start { name, attributes, .. } if wanted(&name.to_ascii_lowercase(), attributes) => Some(place),
            _ => None,
        };
        self.tokens.iter().enumerate().filter_map(start).collect()
    }

    fn attribute(&self, place: usize, name: &str) -> Option<&markup::Attribute<'s>> {
        match &self.tokens.get(place)?.kind {
            Kind::Start { attributes, .. } => markup::attribute(attributes, name),
            _ => None,
        }
    }

    fn set(&self, place: usize, name: &str, value: &str) -> Option<Cut> {
        let written = format!("{name}=\"{value}\"");
        if let Some(attribute) = self.attribute(place, name) {
            return Some(Cut { span: attribute.span.clone(), text: written });
        }
        let token = self.tokens.get(place)?;
        let Kind::Start { name: element, .. } = &token.kind else { return None };
        let at = token.span.start + 1 + element.len();
        Some(Cut { span: at..at, text: format!(" {written}") })
    }

    /// From a start tag to its end tag.
    fn whole(&self, place: usize) -> Range<usize> {
        let Some(token) = self.tokens.get(place) else { return 0..0 };
        let end = markup::inner_end(&self.tokens, place).and_then(|end| self.tokens.get(end)).map_or(token.span.end, |end| end.span.end);
        token.span.start..end
    }

    fn edits(&self, rng: &mut impl Rng) -> Vec<Edit> {
        let mut edits = Vec::new();
        edits.extend(pick(&self.texts(), rng).map(|place| self.text_edit(place)));
        edits.extend(self.link_edit(rng));
        edits.extend(self.style_edit(rng));
        edits.extend(self.rule_edit(rng));
        edits.extend(self.everywhere_edit(rng));
        edits.extend(self.picture_edit(rng, "image", "src"));
        edits.extend(self.picture_edit(rng, "alt", "alt"));
        edits.extend(self.presence_edit(rng));
        edits
    }

    /// Texts with words in them, outside heads.
    fn texts(&self) -> Vec<usize> {
        let body = self.starts(|name, _| name == "body" || name == "mj-body").first().copied().unwrap_or_default();
        let words = |place: &usize| {
            self.tokens.get(*place).is_some_and(|token| {
                token.kind == Kind::Text
                    && self.text[token.span.clone()].split_ascii_whitespace().any(|word| word.chars().all(char::is_alphabetic))
            })
        };
        (body..self.tokens.len()).filter(words).collect()
    }

    fn text_edit(&self, place: usize) -> Edit {
        let span = self.tokens.get(place).map(|token| token.span.clone()).unwrap_or_default();
        let end = span.start + self.text[span.clone()].trim_ascii_end().len();
        Edit { name: "text", facet: DifferenceFacet::Text, cuts: vec![Cut { span: end..end, text: " quickly".to_owned() }], reach: span }
    }

    fn link_edit(&self, rng: &mut impl Rng) -> Option<Edit> {
        let links = self.starts(|name, attributes| {
            ["a", "area", "mj-button"].contains(&name) && markup::attribute(attributes, "href").is_some_and(|href| href.value.len() > 1)
        });
        let place = pick(&links, rng)?;
        let href = self.attribute(place, "href")?;
        let changes = [format!("{}x", href.value), format!("https://other.example/?q=1&amp;r={}", rng.random_range(0..1000))];
        let cut = self.set(place, "href", &changes[rng.random_range(0..changes.len())])?;
        Some(Edit { name: "link", facet: DifferenceFacet::Link, cuts: vec![cut], reach: self.tokens.get(place)?.span.clone() })
    }

    fn style_edit(&self, rng: &mut impl Rng) -> Option<Edit> {
        let (name, places) = if self.mjml() {
            ("padding", self.starts(|name, _| ["mj-text", "mj-button", "mj-image", "mj-section"].contains(&name)))
        } else {
            ("style", self.starts(|name, _| ["td", "table", "p", "h1", "h2", "a", "div", "img"].contains(&name)))
        };
        let place = pick(&places, rng)?;
        let before = self.attribute(place, name).map(|attribute| attribute.value.trim_end().trim_end_matches(';')).unwrap_or_default();
        let size = rng.random_range(31..99);
        let value = match (self.mjml(), before) {
            (true, _) => format!("{size}px 7px"),
            (false, "") => format!("letter-spacing: {size}px"),
            (false, before) => format!("{}; letter-spacing: {size}px", before.replace('"', "'")),
        };
        let cut = self.set(place, name, &value)?;
        Some(Edit { name: "style", facet: DifferenceFacet::Formatting, cuts: vec![cut], reach: self.tokens.get(place)?.span.clone() })
    }

    fn sheets(&self) -> Vec<Range<usize>> {
        let is_sheet = |name: &str| name.eq_ignore_ascii_case("style") || name.eq_ignore_ascii_case("mj-style");
        self.tokens
            .windows(2)
            .filter(|pair| matches!(&pair[0].kind, Kind::Start { name, .. } if is_sheet(name)) && pair[1].kind == Kind::RawText)
            .map(|pair| pair[1].span.clone())
            .collect()
    }

    /// Where in style sheets a rule's declarations begin.
    fn rules(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for sheet in self.sheets() {
            let text = &self.text[sheet.clone()];
            for (at, _) in text.match_indices('{') {
                let after = &text[at + 1..];
                let next = after.find(['{', '}', '"', '\'']).and_then(|next| after.as_bytes().get(next));
                let in_comment = text[..at].rfind("/*").is_some_and(|open| !text[open..at].contains("*/"));
                if next == Some(&b'}') && !in_comment {
                    found.push(sheet.start + at + 1);
                }
            }
        }
        found
    }

    fn rule_edit(&self, rng: &mut impl Rng) -> Option<Edit> {
        let at = pick(&self.rules(), rng)?;
        let cut = Cut { span: at..at, text: format!("word-spacing:{}px;", rng.random_range(2..30)) };
        Some(Edit { name: "stylesheet rule", facet: DifferenceFacet::Formatting, cuts: vec![cut], reach: at..at + 1 })
    }

    /// The same declaration in every style attribute that has it.
    fn everywhere_edit(&self, rng: &mut impl Rng) -> Option<Edit> {
        let styled: Vec<(usize, &str)> =
            self.starts(|_, _| true).into_iter().filter_map(|place| Some((place, self.attribute(place, "style")?.value))).collect();
        let family = |value: &str| -> Option<String> {
            let start = value.find("font-family:")?;
            Some(value[start..].split(';').next()?.trim_end().to_owned())
        };
        let families: Vec<String> = styled.iter().filter_map(|(_, value)| family(value)).filter(|one| !one.contains('"')).collect();
        let wanted = families.get(rng.random_range(0..families.len().max(1)))?.clone();
        let holders: Vec<&(usize, &str)> = styled.iter().filter(|(_, value)| family(value).as_ref() == Some(&wanted)).collect();
        let cuts: Option<Vec<Cut>> = holders
            .iter()
            .map(|(place, value)| {
                self.set(*place, "style", &value.replacen(&wanted, "font-family: Verdana, monospace", 1).replace('"', "'"))
            })
            .collect();
        let (first, last) = (holders.first()?.0, holders.last()?.0);
        let reach = self.tokens.get(first)?.span.start..self.tokens.get(last)?.span.end;
        Some(Edit { name: "one declaration everywhere", facet: DifferenceFacet::Formatting, cuts: cuts?, reach })
    }

    fn picture_edit(&self, rng: &mut impl Rng, name: &'static str, attribute: &str) -> Option<Edit> {
        let pictures = self.starts(|element, _| element == if self.mjml() { "mj-image" } else { "img" });
        let place = pick(&pictures, rng)?;
        let number = rng.random_range(0..1000);
        let (facet, value) = match attribute {
            "alt" => (DifferenceFacet::AlternativeText, format!("Picture {number}")),
            _ => (DifferenceFacet::Image, format!("https://img.example/{number}.png")),
        };
        let cut = self.set(place, attribute, &value)?;
        Some(Edit { name, facet, cuts: vec![cut], reach: self.tokens.get(place)?.span.clone() })
    }

    fn presence_edit(&self, rng: &mut impl Rng) -> Option<Edit> {
        const PARTS: [&str; 14] =
            ["p", "h1", "h2", "h3", "img", "a", "li", "tr", "ul", "mj-text", "mj-button", "mj-image", "mj-divider", "mj-section"];
        let mut places = self.starts(|name, _| PARTS.contains(&name));
        places.retain(|place| {
            let whole = self.whole(*place);
            let token = &self.tokens[*place];
            let closed = matches!(&token.kind, Kind::Start { name, self_closing, .. } if *self_closing || markup::is_void(name));
            (closed || whole.end > token.span.end) && balanced(&self.text[whole])
        });
        let span = self.whole(pick(&places, rng)?);
        let cut = Cut { span: span.clone(), text: String::new() };
        Some(Edit { name: "presence", facet: DifferenceFacet::Presence, cuts: vec![cut], reach: span })
    }

    fn noise(&self, rng: &mut impl Rng) -> Vec<(&'static str, Vec<Cut>)> {
        let mut noise = vec![
            ("white space", self.white_space(rng)),
            ("order of attributes", self.rewritten_tags(|_, attributes| attributes.reverse())),
            ("quotes", self.rewritten_tags(|_, attributes| attributes.iter_mut().for_each(|(_, value)| other_quotes(value)))),
            ("spelling of characters", self.entities(rng)),
            ("comments", self.comments(rng)),
            ("layout of style sheets", self.sheet_layout()),
            ("layout of style attributes", self.style_layout()),
        ];
        if !self.mjml() {
            let upper = self.rewritten_tags(|name, attributes| {
                name.make_ascii_uppercase();
                attributes.iter_mut().for_each(|(attribute, _)| attribute.make_ascii_uppercase());
            });
            noise.push(("case of names", upper));
        }
        let all: Vec<Cut> = [&noise[0].1, &noise[4].1, &noise[5].1].into_iter().flatten().cloned().collect();
        noise.push(("white space, comments and style sheets", apart_only(all)));
        noise
    }

    /// More white space where there is some, and some between the parts of tables.
    fn white_space(&self, rng: &mut impl Rng) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for pair in self.tokens.windows(2) {
            let tabular = |token: &Token<'_>| match &token.kind {
                Kind::Start { name, .. } | Kind::End { name } => {
                    ["tr", "td", "tbody", "mj-section", "mj-column"].contains(&&*name.to_ascii_lowercase())
                }
                _ => false,
            };
            if tabular(&pair[0]) && tabular(&pair[1]) && rng.random_range(0..3) == 0 {
                let at = pair[0].span.end;
                cuts.push(Cut { span: at..at, text: "\n\t  ".to_owned() });
            }
        }
        for token in self.tokens.iter().filter(|token| token.kind == Kind::Text) {
            let text = &self.text[token.span.clone()];
            for (at, _) in text.match_indices(' ') {
                if rng.random_range(0..4) == 0 {
                    let at = token.span.start + at;
                    cuts.push(Cut { span: at..at + 1, text: [" \n ", "\t", "  "][rng.random_range(0..3)].to_owned() });
                }
            }
        }
        cuts
    }

    /// Start tags written anew from name and attributes.
    fn rewritten_tags(&self, change: impl Fn(&mut String, &mut Vec<(String, String)>)) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for token in &self.tokens {
            let Kind::Start { name, attributes, self_closing } = &token.kind else { continue };
            let quoted = |attribute: &markup::Attribute<'_>| -> (String, String) {
                let written = &self.text[attribute.span.clone()];
                (attribute.name.to_owned(), written[attribute.name.len()..].trim_ascii_start().to_owned())
            };
            let mut name = (*name).to_owned();
            let mut attributes: Vec<(String, String)> = attributes.iter().map(quoted).collect();
            let mut names: Vec<String> = attributes.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            names.sort_unstable();
            names.dedup();
            // Of an attribute given twice the first counts: there order is no noise.
            if names.len() < attributes.len() || attributes.iter().any(|(name, _)| name.is_empty()) {
                continue;
            }
            change(&mut name, &mut attributes);
            let mut written = format!("<{name}");
            for (name, value) in &attributes {
                written.push_str(&format!(" {name}{value}"));
            }
            written.push_str(if *self_closing { " />" } else { ">" });
            cuts.push(Cut { span: token.span.clone(), text: written });
        }
        cuts
    }

    /// Letters as numbers, and a few characters by name.
    fn entities(&self, rng: &mut impl Rng) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for place in self.texts() {
            let Some(token) = self.tokens.get(place) else { continue };
            let text = &self.text[token.span.clone()];
            for (at, character) in text.char_indices() {
                let spelt = match character {
                    '©' => "&copy;".to_owned(),
                    '—' => "&mdash;".to_owned(),
                    '\u{A0}' => "&nbsp;".to_owned(),
                    _ if !character.is_ascii() => format!("&#x{:x};", u32::from(character)),
                    // Not within what might be a merge tag or a character reference.
                    'e' if !text.contains(['&', '{', '|', '%']) && !text.contains("zq") && rng.random_range(0..5) == 0 => {
                        "&#101;".to_owned()
                    }
                    _ => continue,
                };
                let at = token.span.start + at;
                cuts.push(Cut { span: at..at + character.len_utf8(), text: spelt });
            }
            for (at, reference) in text.match_indices("&nbsp;") {
                let at = token.span.start + at;
                cuts.push(Cut { span: at..at + reference.len(), text: "&#160;".to_owned() });
            }
        }
        cuts
    }

    fn comments(&self, rng: &mut impl Rng) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for place in self.starts(|name, _| ["td", "tr", "div", "p", "mj-section", "mj-column", "a"].contains(&name)) {
            if let Some(token) = self.tokens.get(place)
                && rng.random_range(0..3) == 0
                && !matches!(token.kind, Kind::Start { self_closing: true, .. })
            {
                let at = token.span.end;
                cuts.push(Cut { span: at..at, text: "<!-- note -->".to_owned() });
            }
        }
        cuts
    }

    fn sheet_layout(&self) -> Vec<Cut> {
        let mut cuts: Vec<Cut> = self.rules().into_iter().map(|at| Cut { span: at..at, text: "\n /* note; } */ ".to_owned() }).collect();
        for sheet in self.sheets() {
            cuts.push(Cut { span: sheet.end..sheet.end, text: "\n\n".to_owned() });
        }
        cuts
    }

    fn style_layout(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for place in self.starts(|_, attributes| {
            markup::attribute(attributes, "style").is_some_and(|style| !style.value.contains(['"', '(', '&', '\'']))
        }) {
            let Some(style) = self.attribute(place, "style") else { continue };
            let spaced = style.value.replace(';', " ;\n").replace(':', " : ");
            cuts.extend(self.set(place, "style", &format!("{spaced};")));
        }
        cuts
    }
}

/// Those that do not lie in one another.
fn apart_only(mut cuts: Vec<Cut>) -> Vec<Cut> {
    cuts.sort_by_key(|cut| (cut.span.start, cut.span.end));
    let mut done = 0;
    cuts.retain(|cut| {
        let apart = cut.span.start >= done;
        done = done.max(cut.span.end);
        apart
    });
    cuts
}

fn pick(places: &[usize], rng: &mut impl Rng) -> Option<usize> {
    if places.is_empty() { None } else { places.get(rng.random_range(0..places.len())).copied() }
}

fn other_quotes(value: &mut String) {
    let inner = value.strip_prefix('=').map(str::trim_ascii_start);
    let Some((quote, inner)) = inner.and_then(|value| Some((value.chars().next()?, value.get(1..value.len().checked_sub(1)?)?))) else {
        return;
    };
    match quote {
        '"' if !inner.contains('\'') => *value = format!("='{inner}'"),
        '\'' if !inner.contains('"') => *value = format!(" = \"{inner}\""),
        _ => {}
    }
}

/// Whether as many conditions open as close in it, so that it can be taken away whole.
fn balanced(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.matches("[if").count() == lower.matches("[endif]").count()
}
