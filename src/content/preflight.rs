//! What a letter itself shows before it is launched: each point ok, worth a look, or to be mended first.
//!
//! Cast: [`Item`] (one point of the list), [`Level`], [`Topic`], [`letter_items`] (everything that one variant's letter shows).
//!
//! Pure: points that need people, the network or other programs are gathered elsewhere and put into the same list.

use std::fmt;

use serde::Serialize;

use super::letter::{CompiledLetter, RenderedLetter};
use super::markup::{self, Attribute, Kind};
use super::support;
use super::warning::{CLIPPED, LARGE, Warning};

/// A longer subject is cut in most inboxes, in characters; telephones cut from about 40.
pub const LONG_SUBJECT: usize = 60;
/// A letter whose text part has fewer words is nearly empty for who reads text only.
const FEW_WORDS: usize = 8;
/// A feature that so many mail programs do not show is worth a look.
const MANY_PROGRAMS: usize = 4;
/// Most details listed for one point; all are counted.
const MOST_DETAILS: usize = 20;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth a look.
    Warn,
    /// To be mended before launch.
    Stop,
}

impl Level {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Stop => "stop",
        }
    }
}

/// What a point is about, in the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Whether the campaign can be sealed at all.
    Campaign,
    /// The proof that variants differ in one element.
    OneDifference,
    /// The subject line.
    Subject,
    /// The line after it.
    Preheader,
    /// How large the letter is.
    Size,
    /// The text part.
    TextPart,
    /// Alternative texts of images.
    AltTexts,
    /// Whether every reader can unsubscribe.
    Unsubscribe,
    /// Links as they are written.
    Links,
    /// Merge fields without a value.
    MissingFields,
    /// Scripts and forms.
    ActiveContent,
    /// What mail programs do not show.
    ClientSupport,
    /// Anything else in the letter.
    Letter,
    /// Links as they answer.
    LinkAnswers,
    /// What the DNS says of the sender's domain.
    Domain,
    /// What SpamAssassin says.
    SpamScore,
}

impl Topic {
    /// The name shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::OneDifference => "one difference",
            Self::Subject => "subject",
            Self::Preheader => "preheader",
            Self::Size => "size",
            Self::TextPart => "text part",
            Self::AltTexts => "alternative texts",
            Self::Unsubscribe => "unsubscribe",
            Self::Links => "links",
            Self::MissingFields => "missing fields",
            Self::ActiveContent => "scripts and forms",
            Self::ClientSupport => "mail programs",
            Self::Letter => "letter",
            Self::LinkAnswers => "link answers",
            Self::Domain => "sender's domain",
            Self::SpamScore => "spam score",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One point of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is about.
    pub topic: Topic,
    /// How good it is.
    pub level: Level,
    /// The variants it is about, such as `A B`; empty when it is about the whole campaign.
    pub variants: String,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing needs to be done.
    pub advice: String,
    /// Single findings behind it, at most twenty.
    pub details: Vec<String>,
}

impl Item {
    /// A point without advice and details.
    pub fn new(topic: Topic, level: Level, found: impl Into<String>) -> Self {
        Self { topic, level, variants: String::new(), found: found.into(), advice: String::new(), details: Vec::new() }
    }

    /// With what to do.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// With single findings; the first of them are kept.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        let more = details.len().saturating_sub(MOST_DETAILS);
        self.details = details.into_iter().take(MOST_DETAILS).collect();
        if more > 0 {
            self.details.push(format!("and {more} more"));
        }
        self
    }
}

/// Everything one variant shows. `rendered` is its letter with tracked addresses of real length, `unsubscribe` the address in it.
pub fn letter_items(letter: &CompiledLetter, rendered: &RenderedLetter, unsubscribe: &str) -> Vec<Item> {
    let mut items = vec![
        subject(&rendered.subject),
        preheader(&rendered.preheader),
        size(rendered.html.len()),
        text_part(&rendered.text),
        unsubscribe_item(letter, rendered, unsubscribe),
        active_content(&rendered.html),
        client_support(&rendered.html),
    ];
    items.extend(from_warnings(letter.warnings()));
    items
}

fn subject(subject: &str) -> Item {
    let characters = subject.chars().count();
    if subject.trim().is_empty() {
        return Item::new(Topic::Subject, Level::Stop, "the subject is blank").advice("write one");
    }
    let found = format!("{characters} characters");
    if characters > LONG_SUBJECT {
        return Item::new(Topic::Subject, Level::Warn, found)
            .advice(format!("most inboxes cut after about {LONG_SUBJECT}, telephones after about 40: begin with what matters"));
    }
    Item::new(Topic::Subject, Level::Ok, found)
}

fn preheader(preheader: &str) -> Item {
    if preheader.trim().is_empty() {
        return Item::new(Topic::Preheader, Level::Warn, "there is none")
            .advice("inboxes show the first words of the letter after the subject; write a preheader to say something better");
    }
    Item::new(Topic::Preheader, Level::Ok, format!("{} characters", preheader.chars().count()))
}

fn size(bytes: usize) -> Item {
    let found = format!("{:.1} kB of HTML as sent", bytes as f64 / 1000.0);
    if bytes > CLIPPED {
        Item::new(Topic::Size, Level::Stop, found)
            .advice("Gmail cuts letters at 102 kB, and with the end the unsubscribe link is gone: shorten it, or split it into two letters")
    } else if bytes > LARGE {
        Item::new(Topic::Size, Level::Warn, found).advice("Gmail cuts letters at 102 kB; take out what is not needed")
    } else {
        Item::new(Topic::Size, Level::Ok, found)
    }
}

fn text_part(text: &str) -> Item {
    let words = text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic) && !word.contains("://")).count();
    if text.trim().is_empty() {
        return Item::new(Topic::TextPart, Level::Stop, "the text part is empty")
            .advice("write words into the letter: a letter of images only is spam to most filters and silent to a screen reader");
    }
    let found = if words == 1 { "1 word".to_owned() } else { format!("{words} words") };
    if words < FEW_WORDS && !has_much_unspaced_text(text) {
        return Item::new(Topic::TextPart, Level::Warn, found)
            .advice("who reads text only sees next to nothing: say in words what the images show, at least in their alternative texts");
    }
    Item::new(Topic::TextPart, Level::Ok, found)
}

/// Chinese, Japanese and Thai put no spaces between words.
fn has_much_unspaced_text(text: &str) -> bool {
    text.chars().filter(|character| character.is_alphabetic() && *character >= '\u{0E00}').count() > 2 * FEW_WORDS
}

fn unsubscribe_item(letter: &CompiledLetter, rendered: &RenderedLetter, unsubscribe: &str) -> Item {
    let in_html = rendered.html.contains(&markup::escape_attribute(unsubscribe)) || rendered.html.contains(unsubscribe);
    if !in_html {
        return Item::new(Topic::Unsubscribe, Level::Stop, "the letter has no unsubscribe link")
            .advice("put {{ unsubscribe_url }} where every reader sees it, outside conditions");
    }
    if !rendered.text.contains(unsubscribe) {
        return Item::new(Topic::Unsubscribe, Level::Warn, "the text part has no unsubscribe link")
            .advice("give the link words, or its image an alternative text: then the text part shows it, too");
    }
    if letter.warnings().contains(&Warning::FooterAppended) {
        return Item::new(Topic::Unsubscribe, Level::Ok, "a plain footer with the link is appended")
            .advice("to place the link yourself, use {{ unsubscribe_url }}");
    }
    Item::new(Topic::Unsubscribe, Level::Ok, "the letter has its own link")
}

fn from_warnings(warnings: &[Warning]) -> Vec<Item> {
    let in_words = |wanted: fn(&Warning) -> bool| warnings.iter().filter(|one| wanted(one)).map(ToString::to_string).collect::<Vec<_>>();
    let images = in_words(|one| matches!(one, Warning::NoAltText { .. }));
    let links = in_words(is_about_links);
    let others = in_words(|one| !is_about_links(one) && !is_told_elsewhere(one));
    let mut items = Vec::new();
    items.push(match images.len() {
        0 => Item::new(Topic::AltTexts, Level::Ok, "every image has one"),
        count => Item::new(Topic::AltTexts, Level::Warn, format!("{} without", counted(count, "image", "images")))
            .advice("write alt=\"what it shows\", or alt=\"\" for decoration: many people see letters without images")
            .details(images),
    });
    items.push(match links.len() {
        0 => Item::new(Topic::Links, Level::Ok, "all lead somewhere"),
        count => Item::new(Topic::Links, Level::Warn, format!("{} to look at", counted(count, "link", "links"))).details(links),
    });
    if !others.is_empty() {
        items.push(
            Item::new(Topic::Letter, Level::Warn, format!("{} to look at", counted(others.len(), "thing", "things"))).details(others),
        );
    }
    items
}

const fn is_about_links(warning: &Warning) -> bool {
    matches!(
        warning,
        Warning::NoLinks | Warning::LinkLeadsNowhere { .. } | Warning::LinkShowsOtherHost { .. } | Warning::PersonalLinkUntracked { .. }
    )
}

/// Measured here on the letter as it is sent, and therefore better.
const fn is_told_elsewhere(warning: &Warning) -> bool {
    matches!(
        warning,
        Warning::NoAltText { .. } | Warning::FooterAppended | Warning::NoSubject | Warning::Large { .. } | Warning::Clipped { .. }
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What mail programs remove and filters take for an attack.
fn active_content(html: &str) -> Item {
    let (mut scripts, mut forms) = (Vec::new(), Vec::new());
    for token in markup::tokens(html) {
        let Kind::Start { name, attributes, .. } = &token.kind else { continue };
        let line = || markup::line_of(html, token.span.start);
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "script" if !is_data(attributes) => scripts.push(format!("<script>, line {}", line())),
            "iframe" | "frame" | "object" | "embed" | "applet" => scripts.push(format!("<{name}>, line {}", line())),
            "form" | "input" | "button" | "select" | "textarea" => forms.push(format!("<{name}>, line {}", line())),
            _ => {}
        }
        for attribute in attributes.iter().filter(|attribute| runs(attribute)) {
            scripts.push(format!("{} of <{name}>, line {}", attribute.name.to_ascii_lowercase(), line()));
        }
    }
    if !scripts.is_empty() {
        return Item::new(Topic::ActiveContent, Level::Stop, "the letter holds something that would run")
            .advice("take it out: every mail program removes it, and filters take it for an attack")
            .details(scripts);
    }
    if !forms.is_empty() {
        return Item::new(Topic::ActiveContent, Level::Warn, "the letter holds a form")
            .advice("few mail programs show one: link to a page with the form")
            .details(forms);
    }
    Item::new(Topic::ActiveContent, Level::Ok, "none")
}

/// Data for the mail program, such as the order or event a letter is about.
fn is_data(attributes: &[Attribute<'_>]) -> bool {
    markup::attribute(attributes, "type").is_some_and(|kind| kind.value.eq_ignore_ascii_case("application/ld+json"))
}

/// Whether an attribute is a program: `onclick`, or an address such as `javascript:…`, however it is spelled.
pub(super) fn runs(attribute: &Attribute<'_>) -> bool {
    let name = attribute.name.to_ascii_lowercase();
    if name.len() > 2 && name.starts_with("on") {
        return true;
    }
    let value: String = markup::decode(attribute.value)
        .chars()
        .filter(|character| !character.is_control() && !character.is_whitespace())
        .take(16)
        .collect::<String>()
        .to_ascii_lowercase();
    ["javascript:", "vbscript:", "data:text/html"].iter().any(|scheme| value.starts_with(scheme))
}

fn client_support(html: &str) -> Item {
    let gaps = support::gaps(html);
    let programs = support::programs();
    let Some(worst) = gaps.iter().map(|gap| gap.missing.len()).max() else {
        return Item::new(Topic::ClientSupport, Level::Ok, format!("all {programs} show everything the letter uses"));
    };
    let level = if worst >= MANY_PROGRAMS { Level::Warn } else { Level::Ok };
    let found = format!("{} not shown by every one of {programs}", counted(gaps.len(), "feature", "features"));
    let detail = |gap: &support::Gap| format!("{} ({}): not in {}", gap.feature, counted(gap.uses, "use", "uses"), gap.missing.join(", "));
    let mut item = Item::new(Topic::ClientSupport, level, found).details(gaps.iter().map(detail).collect());
    if level == Level::Warn {
        item.advice = format!("see that the letter reads well without them (data of caniemail.com, {})", support::updated());
    }
    item
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::letter::{LetterUrls, Tracking};
    use super::super::newsletter::{Body, BodyFormat, Newsletter};
    use super::*;

    const UNSUBSCRIBE: &str = "https://t.example/u/x?a=1&b=2";

    fn items(subject: &str, html: &str) -> Vec<Item> {
        let newsletter = Newsletter {
            subject: subject.to_owned(),
            preheader: String::new(),
            sender_name: "Letterlab".to_owned(),
            body: Body { format: BodyFormat::Html, source: html.to_owned() },
        };
        let letter = CompiledLetter::compile(&newsletter).unwrap();
        let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: UNSUBSCRIBE.to_owned() };
        let rendered = letter.render(&BTreeMap::new(), &urls).unwrap();
        letter_items(&letter, &rendered, UNSUBSCRIBE)
    }

    fn check(subject: &str, html: &str, topic: Topic, level: Level) -> Item {
        let found = items(subject, html);
        let item = found.iter().find(|item| item.topic == topic).unwrap_or_else(|| panic!("{topic} of {html}")).clone();
        assert_eq!(item.level, level, "{html}: {item:?}");
        assert!(level == Level::Ok || !item.advice.is_empty() || !item.details.is_empty(), "says what to do: {item:?}");
        item
    }

    const GOOD: &str = "<p>Ten words are enough for a text part to be read.</p><img src=\"https://a.example/x.png\" alt=\"x\">\
                        <a href=\"https://a.example/\">read</a>";

    #[test]
    fn a_plain_letter_is_ok_in_everything_but_its_missing_preheader() {
        let found = items("Hello", GOOD);
        let bad: Vec<&Item> = found.iter().filter(|item| item.level != Level::Ok).collect();
        let topics: Vec<Topic> = bad.iter().map(|item| item.topic).filter(|topic| *topic != Topic::Letter).collect();
        assert_eq!(topics, [Topic::Preheader], "{bad:?}");
    }

    #[test]
    fn each_fault_is_told_with_what_to_do() {
        check(&"x".repeat(61), GOOD, Topic::Subject, Level::Warn);
        check("Hello", GOOD, Topic::Unsubscribe, Level::Ok);
        check("Hello", "<img src=\"https://a.example/x.png\">", Topic::AltTexts, Level::Warn);
        check("Hello", "<img src=\"https://a.example/x.png\" alt=\"\">", Topic::TextPart, Level::Warn);
        check("Hello", "<p>a</p>", Topic::Links, Level::Warn);
        check("Hello", "<form><input></form>", Topic::ActiveContent, Level::Warn);
        check("Hello", &format!("<p>{}</p>", "letter ".repeat(13_000)), Topic::Size, Level::Warn);
        check("Hello", &format!("<p>{}</p>", "letter ".repeat(15_000)), Topic::Size, Level::Stop);
        let item = check("Hello", "<p style=\"position:absolute\">a</p>", Topic::ClientSupport, Level::Warn);
        assert!(item.details[0].contains("position (1 use): not in") && item.details[0].contains("Gmail (web)"), "{item:?}");
    }

    #[test]
    fn everything_that_would_run_stops_the_launch() {
        for html in [
            "<script>x()</script>",
            "<img src=x ONERROR=x()>",
            "<img src=\"java&#10;script:x()\">",
            "<img src=\" JavaScript:x()\">",
            "<iframe src=\"https://a.example/\"></iframe>",
            "<svg onload=x()></svg>",
        ] {
            check("Hello", html, Topic::ActiveContent, Level::Stop);
        }
        check(
            "Hello",
            "<script type=\"application/ld+json\">{}</script><a href=\"https://a.example/\">on</a>",
            Topic::ActiveContent,
            Level::Ok,
        );
    }

    #[test]
    fn languages_without_spaces_are_not_taken_for_empty_letters() {
        let text = "これは日本語のニュースレターです。言葉の間に空白はありませんが、十分に長い文章です。";
        check("Hello", &format!("<p>{text}</p>"), Topic::TextPart, Level::Ok);
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let item = Item::new(Topic::Links, Level::Warn, "x").details((0..25).map(|number| number.to_string()).collect());
        assert_eq!((item.details.len(), item.details.last().map(String::as_str)), (21, Some("and 5 more")));
    }
}
