//! Finds the links of a finished document, numbers them in reading order and puts marks in their place.
//!
//! Cast: [`FrozenLink`]; [`freeze`] walks a document once and gives [`Frozen`].
//!
//! Addresses are taken as they are: entities are decoded once, query and fragment stay byte for byte. Only what no header may hold is
//! written as it goes over the wire: international hosts, letters beyond ASCII, spaces.

use serde::{Deserialize, Serialize};
use url::Url;

use super::error::ContentError;
use super::markup::{self, Attribute, Kind, Token};
use super::merge::{Marks, Piece};
use super::syntax::UNSUBSCRIBE;
use super::warning::Warning;
use crate::ids::LinkNumber;

/// A letter with more links than this is refused.
pub const MOST_LINKS: usize = 2_000;

/// A tracked link of a letter. Its number and address never change once the letter is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenLink {
    /// Counted from 1 in reading order.
    pub number: LinkNumber,
    /// Where it leads: http or https, in ASCII.
    pub url: String,
}

/// A document whose tracked links are marks.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The document.
    pub html: String,
    /// In reading order.
    pub links: Vec<FrozenLink>,
    /// What an author should look at.
    pub warnings: Vec<Warning>,
    /// How many links there are, tracked or not.
    pub any_links: bool,
}

/// What becomes of an address.
#[derive(PartialEq, Eq)]
enum Treatment {
    Track(String),
    /// It holds merge fields, so that every person has another address.
    Personal,
    /// It would lead nowhere from a mail.
    Relative,
    /// It is a program.
    Script,
    Leave,
}

/// Replaces the address of every link by its mark.
pub fn freeze(html: &str, marks: &Marks) -> Result<Frozen, ContentError> {
    let mut frozen = Frozen { html: String::with_capacity(html.len()), links: Vec::new(), warnings: Vec::new(), any_links: false };
    rewrite(html, marks, &mut frozen, false)?;
    Ok(frozen)
}

fn rewrite(html: &str, marks: &Marks, frozen: &mut Frozen, in_comment: bool) -> Result<(), ContentError> {
    let tokens = markup::tokens(html);
    for (index, token) in tokens.iter().enumerate() {
        let written = &html[token.span.clone()];
        match &token.kind {
            Kind::Start { name, attributes, .. } if is_link(name, in_comment) => {
                let words = if name.eq_ignore_ascii_case("a") { words_of(html, &tokens, index) } else { String::new() };
                let rewritten = link_tag(html, token.span.start, attributes, &words, marks, frozen)?;
                frozen.html.push_str(&rewritten);
                frozen.html.push_str(&html[token.span.start + consumed(attributes, token.span.start)..token.span.end]);
                continue;
            }
            Kind::Start { name, attributes, .. } if name.eq_ignore_ascii_case("img") => image_warnings(attributes, marks, frozen),
            Kind::Comment(inner) if !in_comment && inner.trim_start().to_ascii_lowercase().starts_with("[if") => {
                frozen.html.push_str("<!--");
                rewrite(inner, marks, frozen, true)?;
                frozen.html.push_str("-->");
                continue;
            }
            _ => {}
        }
        frozen.html.push_str(written);
    }
    Ok(())
}

/// The words of the link that starts at `index`, up to its end or the next link.
fn words_of(html: &str, tokens: &[Token<'_>], index: usize) -> String {
    let is_a = |name: &str| name.eq_ignore_ascii_case("a");
    let inside = tokens.iter().skip(index + 1).take_while(|token| match &token.kind {
        Kind::Start { name, .. } | Kind::End { name } => !is_a(name),
        _ => true,
    });
    let texts = inside.filter(|token| token.kind == Kind::Text).filter_map(|token| html.get(token.span.clone()));
    texts.map(markup::decode).collect()
}

fn is_link(name: &str, in_comment: bool) -> bool {
    let name = name.to_ascii_lowercase();
    // Outlook's drawing language has links too: <v:roundrect href="…">.
    name == "a" || name == "area" || (in_comment && name.starts_with("v:"))
}

/// How many bytes of the tag [`link_tag`] has written: up to its last attribute.
fn consumed(attributes: &[Attribute<'_>], start: usize) -> usize {
    attributes.last().map_or(0, |attribute| attribute.span.end - start)
}

/// The tag up to its last attribute, with the address replaced and the opt-out removed.
fn link_tag(
    html: &str,
    start: usize,
    attributes: &[Attribute<'_>],
    words: &str,
    marks: &Marks,
    frozen: &mut Frozen,
) -> Result<String, ContentError> {
    let opted_out = markup::attribute(attributes, "data-track").is_some_and(|track| track.value.eq_ignore_ascii_case("off"));
    let mut tag = String::new();
    let mut done = start;
    // Where an attribute is given twice, the first one counts.
    let first_href = markup::attribute(attributes, "href").map(|href| href.span.start);
    for attribute in attributes {
        if attribute.name.eq_ignore_ascii_case("data-track") {
            tag.push_str(html[done..attribute.span.start].trim_end());
            done = attribute.span.end;
        } else if Some(attribute.span.start) == first_href {
            frozen.any_links = true;
            let treatment = treat(attribute.value, marks);
            let shown = || marks.unmask(&markup::decode(attribute.value));
            let lies = if let Treatment::Track(url) = &treatment { other_host(words, url) } else { None };
            match treatment {
                _ if opted_out && treatment != Treatment::Script => {}
                // Tracked, it would be one more host that its words do not name.
                Treatment::Track(url) if lies.is_some() => {
                    frozen.warnings.push(Warning::LinkShowsOtherHost { shown: lies.unwrap_or_default(), url });
                }
                Treatment::Track(url) => {
                    if frozen.links.len() >= MOST_LINKS {
                        let problem = format!("there are more than {MOST_LINKS} links");
                        return Err(ContentError::Markup { line: None, problem });
                    }
                    let count = frozen.links.len() + 1;
                    let number = LinkNumber(u16::try_from(count).unwrap_or(u16::MAX));
                    frozen.links.push(FrozenLink { number, url: on_the_wire(url)? });
                    tag.push_str(&html[done..attribute.span.start]);
                    tag.push_str(&format!("href=\"{}\"", marks.link_mark(count)));
                    done = attribute.span.end;
                }
                Treatment::Script => {
                    let problem =
                        format!("a link runs a script (`{}`); no mail program follows it: link to a page instead", shortened(&shown()));
                    return Err(ContentError::Markup { line: None, problem });
                }
                Treatment::Personal => frozen.warnings.push(Warning::PersonalLinkUntracked { url: shown() }),
                Treatment::Relative => frozen.warnings.push(Warning::LinkLeadsNowhere { url: shown() }),
                Treatment::Leave => {}
            }
        }
    }
    tag.push_str(&html[done..start + consumed(attributes, start)]);
    Ok(tag)
}

fn treat(raw: &str, marks: &Marks) -> Treatment {
    // Browsers drop line breaks and tabs inside an address and spaces around it.
    let url = markup::decode(raw).replace(['\n', '\r', '\t'], "");
    let url = url.trim_matches(|found: char| found <= ' ');
    let pieces = marks.pieces(url);
    let hidden = match pieces.first() {
        Some(Piece::Address(number)) => marks.addresses.get(*number).map(|raw| markup::decode(raw)),
        _ => None,
    };
    if runs_script(hidden.as_deref().unwrap_or(url)) {
        return Treatment::Script;
    }
    let personal = pieces.iter().any(|piece| matches!(piece, Piece::Tag(_)));
    if personal {
        let only_unsubscribe = pieces.iter().all(|piece| match piece {
            Piece::Tag(number) => {
                let mut uses = marks.uses.iter().filter(|one| one.tag == *number).peekable();
                uses.peek().is_some() && uses.all(|one| one.field == UNSUBSCRIBE)
            }
            _ => false,
        });
        return if only_unsubscribe { Treatment::Leave } else { Treatment::Personal };
    }
    if pieces.iter().any(|piece| matches!(piece, Piece::Address(_))) {
        return Treatment::Leave;
    }
    if is_web_address(url) {
        return Treatment::Track(url.to_owned());
    }
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    let has_scheme = scheme
        .is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)));
    if has_scheme || url.starts_with('#') { Treatment::Leave } else { Treatment::Relative }
}

/// An address as it may stand in a header: what is ASCII already stays as it is.
fn on_the_wire(url: String) -> Result<String, ContentError> {
    let problem = |what: &str| {
        let problem = format!("the link `{}` {what}; write its address anew", shortened(&url.replace(char::is_control, "\u{FFFD}")));
        ContentError::Markup { line: None, problem }
    };
    if url.contains(char::is_control) {
        return Err(problem("holds a control character"));
    }
    if url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(url);
    }
    Url::parse(&url).map(String::from).map_err(|error| problem(&format!("cannot be followed ({error})")))
}

/// Whether an address is a program instead of a place.
fn runs_script(url: &str) -> bool {
    let start: String = url.chars().filter(|found| *found > ' ').take("data:text/html".len()).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("javascript:") || start.starts_with("vbscript:") || start == "data:text/html"
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(59).chain(['…']).collect() }
}

/// Whether an address is http or https with a host.
pub fn is_web_address(url: &str) -> bool {
    host_of(url).is_some()
}

/// The host of a web address, lower case, without user, port and leading `www.`.
fn host_of(url: &str) -> Option<String> {
    let (scheme, after) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = after.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?.to_lowercase();
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| host.strip_prefix("www.").unwrap_or(&host).to_owned())
}

/// The host a link's text names, when it is another than the one the link leads to: what phishing looks like to a mail provider.
fn other_host(text: &str, url: &str) -> Option<String> {
    let shown = text.trim();
    if shown.contains(char::is_whitespace) || shown.contains('@') {
        return None;
    }
    let shown_host = match host_of(shown) {
        Some(host) => host,
        None => {
            let host = host_of(&format!("http://{shown}"))?;
            let (_, ending) = host.rsplit_once('.')?;
            let plain = host.chars().all(|found| found.is_alphanumeric() || found == '.' || found == '-');
            // "12.50" is a price, "Ready.Steady" might be a name: without a scheme only what begins so or has a common ending counts.
            let common = shown.starts_with("www.") || ["com", "org", "net", "io", "eu", "de", "uk", "fr"].contains(&ending);
            if !plain || !common {
                return None;
            }
            host
        }
    };
    let target = host_of(url)?;
    let same = shown_host == target || target.ends_with(&format!(".{shown_host}"));
    (!same).then_some(shown_host)
}

fn image_warnings(attributes: &[Attribute<'_>], marks: &Marks, frozen: &mut Frozen) {
    let source = markup::attribute(attributes, "src").map_or("", |source| source.value);
    let shown = || marks.unmask(&markup::decode(source));
    if markup::attribute(attributes, "alt").is_none() {
        frozen.warnings.push(Warning::NoAltText { image: shown() });
    }
    let url = markup::decode(source);
    if !marks.any_in(&url) && !is_web_address(url.trim()) && !url.starts_with("data:") && !url.starts_with("cid:") {
        frozen.warnings.push(Warning::ImageLeadsNowhere { image: shown() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::newsletter::Part;
    use super::*;

    fn frozen(html: &str) -> (Marks, Frozen) {
        let mut marks = Marks::for_texts(&[html]);
        let masked = marks.mask(Part::Body, html, true).expect("tags");
        let frozen = freeze(&masked, &marks).expect("freezes");
        (marks, frozen)
    }

    #[test]
    fn an_address_that_no_header_can_hold_is_refused_with_its_place() {
        for (href, expected) in [
            ("https://a.example/x&#1;y", "the link `https://a.example/x\u{FFFD}y` holds a control character; write its address anew"),
            (
                "https://a.example:99999/ö",
                "the link `https://a.example:99999/ö` cannot be followed (invalid port number); write its address anew",
            ),
        ] {
            let html = format!("<a href=\"{href}\">a</a>");
            let fault = freeze(&html, &Marks::for_texts(&[&html])).unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn only_web_addresses_are_tracked_and_each_place_counts() {
        let check = |html: &str, expected: &[&str]| {
            let (_, frozen) = frozen(html);
            let urls: Vec<_> = frozen.links.iter().map(|link| link.url.as_str()).collect();
            assert_eq!(urls, expected, "{html}");
            let numbers: Vec<_> = frozen.links.iter().map(|link| usize::from(link.number.0)).collect();
            assert_eq!(numbers, (1..=expected.len()).collect::<Vec<_>>());
        };
        check("<a href=\"https://a.example/?x=1&amp;y=2#f\">a</a>", &["https://a.example/?x=1&y=2#f"]);
        check("<a href='HTTP://a.example'>a</a><a href=http://a.example>b</a>", &["HTTP://a.example", "http://a.example"]);
        check("<a href=\" https://a.exa\nmple/ä b \">a</a>", &["https://a.example/%C3%A4%20b"]);
        check(
            "<a href=\"https://MÜNCHEN.example?größe=a b&amp;c=%20#ü\">a</a>",
            &["https://xn--mnchen-3ya.example/?gr%C3%B6%C3%9Fe=a%20b&c=%20#%C3%BC"],
        );
        check("<a href=\"https://a.example/%7B?q=a+b%20c&amp;amp;\">a</a>", &["https://a.example/%7B?q=a+b%20c&amp;"]);
        check("<map><area href=\"https://a.example/\"></map>", &["https://a.example/"]);
        for untouched in [
            "mailto:a@b.example",
            "tel:+1",
            "#top",
            "",
            "page.html",
            "//a.example",
            "javascript.html",
            "https://",
            "{{ unsubscribe_url }}",
            "https://a.example/?id={{ id }}",
        ] {
            check(&format!("<a href=\"{untouched}\">a</a>"), &[]);
        }
        check("<link href=\"https://a.example/\"><!-- <a href=\"https://a.example/\"> -->", &[]);
        check("<a data-track=\"off\" href=\"https://a.example/\">a</a>", &[]);
    }

    #[test]
    fn links_for_outlook_in_comments_are_tracked_in_reading_order() {
        let html = "<a href=\"https://a.example/1\">1</a><!--[if mso]><v:roundrect href='https://a.example/2?a&amp;b' x=\"y\"><a href=\"https://a.example/3\">\
                    <![endif]--><!--[if !mso]><!--><a href=\"https://a.example/4\">4</a><!--<![endif]-->";
        let (marks, frozen) = frozen(html);
        let urls: Vec<_> = frozen.links.iter().map(|link| link.url.as_str()).collect();
        assert_eq!(urls, ["https://a.example/1", "https://a.example/2?a&b", "https://a.example/3", "https://a.example/4"]);
        assert!(!frozen.html.contains("a.example"));
        let second = format!("<!--[if mso]><v:roundrect href=\"{}\" x=\"y\"><a", marks.link_mark(2));
        assert!(frozen.html.contains(&second), "{}", frozen.html);
    }

    #[test]
    fn a_link_whose_words_name_another_host_is_left_alone_with_a_warning() {
        let html = "<a href=\"https://evil.example/?a=1&amp;b\"><b>www.bank.com</b></a><a href=\"https://www.bank.com/x\">bank.com</a>";
        let (_, frozen) = frozen(html);
        let urls: Vec<_> = frozen.links.iter().map(|link| link.url.as_str()).collect();
        assert_eq!(urls, ["https://www.bank.com/x"]);
        assert!(frozen.html.starts_with("<a href=\"https://evil.example/?a=1&amp;b\"><b>"), "{}", frozen.html);
        let expected = Warning::LinkShowsOtherHost { shown: "bank.com".to_owned(), url: "https://evil.example/?a=1&b".to_owned() };
        assert_eq!(frozen.warnings, [expected]);
    }

    #[test]
    fn links_that_run_scripts_are_refused_however_they_are_spelt() {
        for address in [
            "javascript:x",
            " JavaScript:x",
            "java\nscript&#58;x",
            "\u{1}javascript:x",
            "vbscript:x",
            "data:text/html,x",
            "javascript:{{ a }}",
        ] {
            for place in ["<a href=\"", "<a data-track=\"off\" href=\"", "<area href=\"", "<!--[if mso]><v:rect href=\""] {
                let end = if place.starts_with("<!") { "\"><![endif]-->" } else { "\">x</a>" };
                let html = format!("{place}{address}{end}");
                let mut marks = Marks::for_texts(&[&html]);
                let masked = marks.mask(Part::Body, &html, true).expect("tags");
                let error = freeze(&masked, &marks).expect_err(&html).to_string();
                assert!(error.contains("runs a script"), "{error}");
            }
        }
    }

    #[test]
    fn opting_out_leaves_the_address_and_removes_the_attribute() {
        let (_, frozen) = frozen("<a class=\"x\" data-track=\"off\" href=\"https://a.example/\" >a</a>");
        assert_eq!(frozen.html, "<a class=\"x\" href=\"https://a.example/\" >a</a>");
    }

    #[test]
    fn a_text_that_names_another_host_is_noticed() {
        for (text, url, expected) in [
            ("www.bank.com", "https://evil.example/", Some("bank.com")),
            ("https://bank.example/x", "https://evil.example/", Some("bank.example")),
            ("bank.com", "https://www.bank.com/x", None),
            ("bank.com", "https://news.bank.com/x", None),
            ("Read more", "https://evil.example/", None),
            ("12.50", "https://evil.example/", None),
            ("me@bank.com", "https://evil.example/", None),
        ] {
            assert_eq!(other_host(text, url).as_deref(), expected, "{text}");
        }
    }
}
