//! What a finished letter uses that large mail programs do not show, after the data of Can I email.
//!
//! Cast: [`Gap`] (a feature and who lacks it), [`gaps`] (all of a letter's), [`updated`] (how old the data is).
//!
//! The data is embedded and closed: an extract of thirteen mail programs and of the features that can be told from markup alone. What
//! stands in comments is not looked at: conditional comments are for one mail program only, whose author knew it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::markup::{self, Attribute, Kind};

/// The data, its licence beside it.
const DATA: &str = include_str!("../../assets/client-support.json");
/// The page about a feature begins so.
const PAGES: &str = "https://www.caniemail.com/features/";

#[derive(Deserialize)]
struct Table {
    updated: String,
    clients: Vec<String>,
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    kind: String,
    name: String,
    title: String,
    page: String,
    no: Vec<usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // A test reads the file; if it were broken all the same, letters would go without this one advice.
    serde_json::from_str(DATA).unwrap_or(Table { updated: String::new(), clients: Vec::new(), features: Vec::new() })
});

/// A feature that a letter uses and some mail programs do not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The feature, for example `display:flex`.
    pub feature: String,
    /// How often the letter uses it.
    pub uses: usize,
    /// The mail programs that do not show it.
    pub missing: Vec<&'static str>,
    /// A page about it.
    pub page: String,
}

/// The day of the data, as `2025-09-09`.
pub fn updated() -> &'static str {
    &TABLE.updated
}

/// How many mail programs the data knows.
pub fn programs() -> usize {
    TABLE.clients.len()
}

/// Everything in the letter that at least one of the mail programs does not show; what most programs lack comes first.
pub fn gaps(html: &str) -> Vec<Gap> {
    let mut used = Uses::default();
    let mut in_style = false;
    for token in markup::tokens(html) {
        match &token.kind {
            Kind::Start { name, attributes, .. } => {
                let name = name.to_ascii_lowercase();
                used.element(&name, attributes);
                in_style = name == "style";
                continue;
            }
            Kind::RawText if in_style => used.sheet(html.get(token.span.clone()).unwrap_or_default()),
            _ => {}
        }
        in_style = false;
    }
    let mut by_page: BTreeMap<&str, Gap> = BTreeMap::new();
    for feature in &TABLE.features {
        let Some(uses) = used.0.get(&(feature.kind.clone(), feature.name.clone())) else { continue };
        let missing = || feature.no.iter().filter_map(|number| TABLE.clients.get(*number)).map(String::as_str).collect();
        let gap = by_page.entry(feature.page.as_str()).or_insert_with(|| Gap {
            feature: feature.title.clone(),
            uses: 0,
            missing: missing(),
            page: format!("{PAGES}{}/", feature.page),
        });
        gap.uses += uses;
    }
    let mut gaps: Vec<Gap> = by_page.into_values().collect();
    gaps.sort_by(|one, other| other.missing.len().cmp(&one.missing.len()).then_with(|| one.feature.cmp(&other.feature)));
    gaps
}

/// What is used, by kind and name, and how often.
#[derive(Default)]
struct Uses(BTreeMap<(String, String), usize>);

impl Uses {
    fn note(&mut self, kind: &str, name: &str) {
        *self.0.entry((kind.to_owned(), name.to_owned())).or_default() += 1;
    }

    fn element(&mut self, name: &str, attributes: &[Attribute<'_>]) {
        self.note("element", name);
        for attribute in attributes {
            let key = attribute.name.to_ascii_lowercase();
            self.note("attribute", &key);
            let value = markup::decode(attribute.value);
            match key.as_str() {
                "style" => self.declarations(&value),
                "src" if name == "img" => self.image(&value),
                "href" if name == "a" && value.len() > 1 && value.starts_with('#') => self.note("link", "anchor"),
                _ => {}
            }
        }
    }

    fn image(&mut self, address: &str) {
        let address = address.trim().to_ascii_lowercase();
        if address.starts_with("data:") {
            return self.note("image", "data");
        }
        let path = address.split(['?', '#']).next().unwrap_or_default();
        if let Some((_, ending)) = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')) {
            self.note("image", ending);
        }
    }

    /// A stylesheet: what stands before a brace is a selector or an at-rule, what ends with a semicolon or a brace a declaration.
    fn sheet(&mut self, sheet: &str) {
        let sheet = without_comments(sheet);
        let mut piece = String::new();
        for character in sheet.chars() {
            match character {
                '{' => self.prelude(&std::mem::take(&mut piece)),
                '}' | ';' => self.statement(&std::mem::take(&mut piece)),
                other => piece.push(other),
            }
        }
        self.statement(&piece);
    }

    fn statement(&mut self, text: &str) {
        if text.trim_start().starts_with('@') { self.prelude(text) } else { self.declarations(text) }
    }

    fn prelude(&mut self, text: &str) {
        let text = text.trim().to_ascii_lowercase();
        if let Some(rule) = text.strip_prefix('@') {
            let end = rule.find(|character: char| !character.is_ascii_alphanumeric() && character != '-').unwrap_or(rule.len());
            let (name, condition) = rule.split_at(end);
            self.note("at_rule", name);
            if name == "media" {
                for part in condition.split('(').skip(1) {
                    let feature = part.split([':', ')', '<', '>']).next().unwrap_or_default().trim();
                    let feature = feature.trim_start_matches("-webkit-").trim_start_matches("min-").trim_start_matches("max-");
                    self.note("media", feature);
                }
            }
            return;
        }
        for part in text.split(':').skip(1).filter(|part| !part.is_empty()) {
            let end = part.find(|character: char| !character.is_ascii_alphanumeric() && character != '-').unwrap_or(part.len());
            self.note("pseudo", &part[..end]);
        }
    }

    fn declarations(&mut self, text: &str) {
        for declaration in text.split(';') {
            let Some((property, value)) = declaration.split_once(':') else { continue };
            let (property, value) = (property.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase());
            self.note("property", &property);
            let first = value.split([' ', '!']).next().unwrap_or_default();
            self.note("declaration", &format!("{property}:{first}"));
            // Addresses hold anything.
            if value.contains("url(") {
                continue;
            }
            for (name, after) in words(&value) {
                if after == Some('(') {
                    self.note("function", name);
                } else if let Some(unit) = unit(name) {
                    self.note("unit", unit);
                }
            }
        }
    }
}

/// The words of a value, each with the character behind it.
fn words(value: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    value.split_inclusive(|character: char| !character.is_ascii_alphanumeric() && character != '-' && character != '.').map(|piece| {
        let word = piece.trim_end_matches(|character: char| !character.is_ascii_alphanumeric() && character != '-' && character != '.');
        (word, piece.get(word.len()..).and_then(|rest| rest.chars().next()))
    })
}

/// The unit of a number such as `1.5rem`.
fn unit(word: &str) -> Option<&str> {
    let number = word.trim_start_matches('-');
    let unit = number.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    (unit.len() < number.len() && !unit.is_empty()).then_some(unit)
}

fn without_comments(sheet: &str) -> String {
    let mut kept = String::with_capacity(sheet.len());
    let mut rest = sheet;
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, behind)| behind);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(html: &str) -> Vec<(String, usize)> {
        gaps(html).into_iter().map(|gap| (gap.feature, gap.uses)).collect()
    }

    #[test]
    fn the_embedded_data_is_whole() {
        let table: Table = serde_json::from_str(DATA).unwrap();
        assert_eq!(table.clients.len(), 13);
        assert!(table.features.len() > 100 && table.updated.starts_with("20"), "{} of {}", table.features.len(), table.updated);
        for feature in &table.features {
            assert!(!feature.no.is_empty() && feature.no.iter().all(|number| *number < 13), "{}", feature.page);
        }
    }

    #[test]
    fn what_a_letter_uses_is_found_wherever_it_is_written() {
        let check = |html: &str, feature: &str, uses: usize| {
            let found = features(html);
            assert!(found.contains(&(feature.to_owned(), uses)), "{html}: {found:?}");
        };
        check("<p style=\"display: flex\">a</p><div style='display:flex!important'></div>", "display:flex", 2);
        check("<style>/* position:fixed */ .a { position : absolute }</style>", "position", 1);
        check("<style>@font-face { font-family: x; src: url(https://a.example/x.woff) }</style>", "@font-face", 1);
        check("<style>@media (prefers-color-scheme: dark) { a { color: red } }</style>", "@media (prefers-color-scheme)", 1);
        check("<style>a:hover{color:red}</style>", ":hover", 1);
        check("<p style=\"width:calc(100% - 2px)\">a</p>", "CSS calc() function", 1);
        check("<img src=\"https://a.example/x.webp?y=1\" alt=\"\">", "webP image format", 1);
        check("<video></video>", "<video> element", 1);
    }

    #[test]
    fn what_everybody_shows_is_no_gap_and_comments_are_not_looked_at() {
        assert_eq!(features("<table><tr><td style=\"color:red\">a</td></tr></table>"), []);
        assert_eq!(features("<!--[if mso]><p style=\"display:flex\"></p><![endif]--><style>/*display:flex*/</style>"), []);
        assert_eq!(features("<p>display:flex</p>"), []);
    }

    #[test]
    fn each_gap_says_who_lacks_it() {
        let found = gaps("<p style=\"display:flex\">a</p>");
        assert_eq!(found[0].missing, ["Outlook (Windows)"]);
        assert_eq!(found[0].page, "https://www.caniemail.com/features/css-display-flex/");
    }

    #[test]
    fn broken_style_never_fails() {
        for css in ["{", "}", "@", "@media", "a:", ":", "::::", "@media(((((", "a{b:c", "/*", "é{é:é(é)}", "a:é{}", "--x:var(--y)"] {
            let _ = gaps(&format!("<style>{css}</style><p style=\"{css}\">"));
        }
    }
}
