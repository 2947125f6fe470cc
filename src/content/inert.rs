//! A letter as something to look at: nothing in it runs, loads a program or leads away, and it is shown as different readers see it.
//!
//! Cast: [`Look`] (with or without images, in light or dark), [`Shade`], [`inert`].
//!
//! It is the first of three fences: the page also answers with a policy that runs nothing, in a frame that may do nothing. It changes
//! what is looked at, never what is sent.

use super::markup::{self, Attribute, Kind};
use super::preflight::runs;

/// Elements that run, load or lead somewhere by themselves.
const REMOVED: [&str; 10] = ["script", "iframe", "frame", "frameset", "object", "embed", "applet", "base", "link", "portal"];
/// Attributes that load an image.
const IMAGES: [&str; 4] = ["src", "srcset", "background", "poster"];
/// Always at the end: no link leads away from a preview.
const STILL: &str = "a,area{pointer-events:none!important;cursor:default!important}";

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shade {
    /// As by day.
    #[default]
    Light,
    /// Dark, in the letter's own dark style if it has one: Apple Mail.
    Dark,
    /// Dark, colours turned round by the mail program: roughly what the Gmail and Outlook apps do.
    Inverted,
}

/// How a letter is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether images are loaded.
    pub images: bool,
    /// Light or dark.
    pub shade: Shade,
}

impl Default for Look {
    fn default() -> Self {
        Self { images: true, shade: Shade::Light }
    }
}

/// The letter, to be looked at only.
pub fn inert(html: &str, look: Look) -> String {
    let mut shown = String::with_capacity(html.len() + 512);
    let mut inside = Inside::Letter;
    for token in markup::tokens(html) {
        let written = html.get(token.span.clone()).unwrap_or_default();
        match &token.kind {
            Kind::Start { name, attributes, self_closing } => {
                let name = name.to_ascii_lowercase();
                inside = match name.as_str() {
                    "style" => Inside::Style,
                    "script" => Inside::Script,
                    _ => Inside::Letter,
                };
                let leads_away = name == "meta" && markup::attribute(attributes, "http-equiv").is_some();
                if !leads_away && !REMOVED.contains(&name.as_str()) {
                    shown.push_str(&start_tag(&name, attributes, *self_closing, look));
                }
            }
            Kind::End { name } => {
                inside = Inside::Letter;
                if !REMOVED.iter().any(|removed| removed.eq_ignore_ascii_case(name)) {
                    shown.push_str(written);
                }
            }
            Kind::RawText if inside == Inside::Script => {}
            Kind::RawText if inside == Inside::Style => shown.push_str(&sheet(written, look)),
            _ => shown.push_str(written),
        }
    }
    shown.push_str("<style>");
    shown.push_str(STILL);
    shown.push_str(match look.shade {
        Shade::Light => ":root{color-scheme:light!important}",
        Shade::Dark if declares_dark(html) => ":root{color-scheme:dark!important}",
        Shade::Dark => ":root{color-scheme:light!important}",
        Shade::Inverted => {
            ":root{color-scheme:light!important;background:#fff!important;filter:invert(.92) hue-rotate(180deg)}\
             img,video,svg{filter:invert(1) hue-rotate(180deg)}"
        }
    });
    shown.push_str("</style>");
    shown
}

#[derive(PartialEq)]
enum Inside {
    Letter,
    Style,
    Script,
}

fn start_tag(name: &str, attributes: &[Attribute<'_>], self_closing: bool, look: Look) -> String {
    let mut tag = format!("<{name}");
    for attribute in attributes.iter().filter(|attribute| !runs(attribute)) {
        let key = attribute.name.to_ascii_lowercase();
        if !look.images && IMAGES.contains(&key.as_str()) {
            continue;
        }
        // What cannot be an attribute's name would end the tag where nobody expects it.
        if key.is_empty() || key.contains(|found: char| found.is_whitespace() || "\"'<>/=".contains(found)) {
            continue;
        }
        let value = markup::decode(attribute.value);
        let value = match key.as_str() {
            "style" if !look.images => without_images(&value),
            "srcdoc" | "formaction" | "action" | "ping" => continue,
            _ => value.into_owned(),
        };
        tag.push_str(&format!(" {key}=\"{}\"", markup::escape_attribute(&value)));
    }
    tag.push_str(if self_closing { "/>" } else { ">" });
    tag
}

fn sheet(text: &str, look: Look) -> String {
    let own_dark = look.shade == Shade::Dark;
    let text = without_imports(text);
    let text = decided(&text, "dark", own_dark);
    let text = decided(&text, "light", !own_dark);
    if look.images { text } else { without_images(&text) }
}

/// A media condition on light or dark becomes one that is true or false for every reader: the frame follows the one who looks.
fn decided(text: &str, shade: &str, holds: bool) -> String {
    const FEATURE: &str = "prefers-color-scheme";
    let mut decided = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find_ignoring_case(rest, FEATURE) {
        let (before, after) = rest.split_at(at);
        let behind = after.get(FEATURE.len()..).unwrap_or_default();
        let value = behind.trim_start().strip_prefix(':').map(str::trim_start);
        decided.push_str(before);
        match value.filter(|value| value.get(..shade.len()).is_some_and(|word| word.eq_ignore_ascii_case(shade))) {
            Some(value) => {
                decided.push_str(if holds { "min-width:0px" } else { "max-width:0px" });
                rest = value.get(shade.len()..).unwrap_or_default();
            }
            None => {
                decided.push_str(FEATURE);
                rest = behind;
            }
        }
    }
    decided.push_str(rest);
    decided
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Images of a style as if they had not been loaded: colours beside them stay.
fn without_images(style: &str) -> String {
    let mut kept = String::with_capacity(style.len());
    let mut rest = style;
    while let Some(at) = find_ignoring_case(rest, "url(") {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        kept.push_str("none");
        rest = after.find(')').and_then(|end| after.get(end + 1..)).unwrap_or_default();
    }
    kept.push_str(rest);
    kept
}

/// Stylesheets from elsewhere: the policy would refuse them, and most mail programs do.
fn without_imports(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find_ignoring_case(rest, "@import") {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        rest = import_end(after);
    }
    kept.push_str(rest);
    kept
}

/// What follows the semicolon of an import; addresses in quotes or brackets may hold semicolons of their own.
fn import_end(import: &str) -> &str {
    let mut closing = None;
    for (at, character) in import.char_indices() {
        match (closing, character) {
            (Some(wanted), found) if wanted == found => closing = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => closing = Some(character),
            (None, '(') => closing = Some(')'),
            (None, ';') => return import.get(at + 1..).unwrap_or_default(),
            (None, '}') => return import.get(at..).unwrap_or_default(),
            (None, _) => {}
        }
    }
    ""
}

fn declares_dark(html: &str) -> bool {
    find_ignoring_case(html, "color-scheme").is_some() && find_ignoring_case(html, "dark").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DARK: Look = Look { images: true, shade: Shade::Dark };
    const NO_IMAGES: Look = Look { images: false, shade: Shade::Light };

    fn shown(html: &str, look: Look) -> String {
        let shown = inert(html, look);
        shown.rsplit_once("<style>").map(|(before, _)| before.to_owned()).unwrap()
    }

    #[test]
    fn nothing_that_runs_is_left() {
        for (html, expected) in [
            ("<p>a</p><script>x()</script><p>b</p>", "<p>a</p><p>b</p>"),
            ("<SCRIPT src=x></SCRIPT>a", "a"),
            ("<img src=\"x\" onerror=\"x()\" alt=\"\">", "<img src=\"x\" alt=\"\">"),
            ("<a href=\"java&#x0A;script:x()\">a</a>", "<a>a</a>"),
            ("<svg><a xlink:href=\"javascript:x()\">a</a></svg>", "<svg><a>a</a></svg>"),
            ("<iframe srcdoc=\"<script>x()</script>\"></iframe>a", "a"),
            ("<meta http-equiv=\"refresh\" content=\"0;url=https://a.example\">a", "a"),
            ("<base href=\"https://a.example/\"><link rel=stylesheet href=\"https://a.example/x.css\">a", "a"),
            ("<form action=\"https://a.example/\"><button formaction=\"x\">a</button></form>", "<form><button>a</button></form>"),
            ("<style>@import url(https://a.example/x.css;y); p{color:red}</style>", "<style> p{color:red}</style>"),
        ] {
            assert_eq!(shown(html, Look::default()), expected);
        }
    }

    #[test]
    fn without_images_their_places_and_colours_stay() {
        for (html, expected) in [
            ("<img src=\"x.png\" srcset=\"y.png 2x\" alt=\"A dog\" width=\"10\">", "<img alt=\"A dog\" width=\"10\">"),
            ("<td background=\"x.png\" style=\"background:#eee URL('x.png')\">", "<td style=\"background:#eee none\">"),
            ("<style>p{background:url(x.png) red}</style>", "<style>p{background:none red}</style>"),
        ] {
            assert_eq!(shown(html, NO_IMAGES), expected);
        }
    }

    #[test]
    fn light_and_dark_are_decided_here_and_not_by_the_screen_of_who_looks() {
        let css = "<style>@media (Prefers-Color-Scheme : dark){p{color:#fff}}@media(prefers-color-scheme:light){p{color:#000}}</style>";
        assert_eq!(shown(css, Look::default()), "<style>@media (max-width:0px){p{color:#fff}}@media(min-width:0px){p{color:#000}}</style>");
        assert_eq!(shown(css, DARK), "<style>@media (min-width:0px){p{color:#fff}}@media(max-width:0px){p{color:#000}}</style>");
        assert!(inert(css, DARK).contains("color-scheme:dark"), "the letter has a dark style of its own");
        assert!(inert("<p>a</p>", DARK).contains("color-scheme:light"), "a letter that knows no dark stays as it is");
    }

    #[test]
    fn hostile_markup_never_fails_and_stays_inert() {
        for html in
            ["<", "<a", "<a href", "<a href=\"", "<style>", "<style>@import", "<style>url(", "<a \"=\">", "é<é é=é>", "<img/onerror=x()>"]
        {
            let shown = shown(html, DARK);
            assert!(!shown.contains("onerror"), "{html}: {shown}");
        }
    }
}
