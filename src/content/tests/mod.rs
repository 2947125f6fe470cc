//! Stories across the room: a newsletter compiled, varied and rendered.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

mod limits;
mod places;
mod variants;

fn newsletter(format: BodyFormat, source: &str) -> Newsletter {
    Newsletter {
        subject: "News for {{ first_name | default(\"you\") }}".to_owned(),
        preheader: "Only {{ plan | default('today') }} & <now>".to_owned(),
        sender_name: "Shop".to_owned(),
        body: Body { format, source: source.to_owned() },
    }
}

fn compile(format: BodyFormat, source: &str) -> CompiledLetter {
    CompiledLetter::compile(&newsletter(format, source)).expect("compiles")
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn tracked(letter: &CompiledLetter) -> LetterUrls {
    let links = letter.links().iter().map(|link| format!("https://t.example/c/{}?a=1&b=2", link.number)).collect();
    LetterUrls {
        tracking: Tracking::On { pixel: "https://t.example/o/p.gif".to_owned(), links },
        unsubscribe: "https://t.example/u/p".to_owned(),
    }
}

fn untracked() -> LetterUrls {
    LetterUrls { tracking: Tracking::Off, unsubscribe: "https://t.example/u/p".to_owned() }
}

const MJML: &str = r##"<mjml>
  <mj-head><mj-preview>preview of its own</mj-preview><mj-style>.x { color: red; }</mj-style></mj-head>
  <mj-body>
    {% if plan == "gold" %}
    <mj-section data-block="gold"><mj-column><mj-text>Gold <b title="{{ plan | default("x") }}">only</b></mj-text></mj-column></mj-section>
    {% endif %}
    <mj-section><mj-column>
      <mj-text id="greeting" font-size="14px">Hi {{ first_name | default("friend") }},<br/>caf&eacute;</mj-text>
      <mj-image data-block="hero" src="https://img.example/a.png?v=3&s=200" alt="A" />
      <mj-button id="offer" href="https://shop.example/?a=1&amp;b=2#top" background-color="#c00">Buy now</mj-button>
      <mj-button data-track="off" href="https://shop.example/terms">Terms</mj-button>
      <mj-text><a href="{{ unsubscribe_url }}">No more</a> <a href="https://me.example/{{ first_name | default('x') | urlencode }}">You</a></mj-text>
    </mj-column></mj-section>
  </mj-body>
</mjml>
"##;

const HTML: &str = r##"<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html><head><style>p { color: #333 } @media (max-width:600px){#offer{width:100%}}</style></head>
<body bgcolor="#fff">
<!--[if mso]><v:roundrect href="https://shop.example/vml?a=1&amp;b=2"><![endif]-->
<p id="intro" style="margin:0">Hello {{ first_name }}</p>
<table id="sizes">{% for size in ["S", "M"] %}<tr><td>{{ size }} for {{ first_name }}</td></tr>{% endfor %}</table>
<a id="offer" href='https://shop.example/b?x=%20y&amp;z=1#f'>Buy</a>
<a href="https://shop.example/b?x=%20y&amp;z=1#f">Buy again</a>
<img data-block="hero" src="https://img.example/a.png" alt="">
<p data-block="hero2">one</p><p data-block="twice">a</p><p id="twice">b</p>
</body></html>
"##;

const MARKDOWN: &str = r##"# Hello {{ first_name | default("there") }} {#title}

Read [the **offer**](https://shop.example/?id=1&x={a}) or <span data-block="promo">this "quote"</span>.

{% if plan %}
You have **{{ plan }}**.
{% else %}
No plan yet.
{% endif %}

[Yours](https://shop.example/?who={{ first_name | default("x y") | urlencode }})
"##;

#[test]
fn an_mjml_letter_is_filled_in_with_tracked_links_pixel_and_preheader() {
    let letter = compile(BodyFormat::Mjml, MJML);
    let urls: Vec<_> = letter.links().iter().map(|link| link.url.as_str()).collect();
    assert_eq!(urls, ["https://shop.example/?a=1&b=2#top"]);
    let rendered = letter.render(&values(&[("first_name", "Ann <3"), ("plan", "gold")]), &tracked(&letter)).unwrap();
    assert_eq!(rendered.subject, "News for Ann <3");
    assert_eq!(rendered.preheader, "Only gold & <now>");
    for expected in [
        "Hi Ann &lt;3,",
        "café",
        "href=\"https://t.example/c/1?a=1&amp;b=2\"",
        "href=\"https://shop.example/terms\"",
        "href=\"https://t.example/u/p\"",
        "href=\"https://me.example/Ann%20%3C3\"",
        "title=\"gold\"",
        "src=\"https://img.example/a.png?v=3&amp;s=200\"",
        "Only gold &amp; &lt;now&gt;</div>",
    ] {
        assert!(rendered.html.contains(expected), "{expected}\n{}", rendered.html);
    }
    assert!(!rendered.html.contains("preview of its own"));
    assert!(rendered.html.contains("height:1px;border:0\"></body>"), "the pixel is last in the body");
    for expected in [
        "Hi Ann <3,\ncafé\n",
        "Buy now <https://t.example/c/1?a=1&b=2>",
        "Terms <https://shop.example/terms>",
        "No more <https://t.example/u/p>",
    ] {
        assert!(rendered.text.contains(expected), "{expected}\n{}", rendered.text);
    }
    let other = letter.render(&values(&[]), &tracked(&letter)).unwrap();
    assert!(!other.html.contains("Gold") && !other.text.contains("Gold") && other.html.contains("Hi friend,"));
    assert!(letter.warnings().iter().all(|warning| !matches!(warning, Warning::FooterAppended)));
    assert!(letter.warnings().iter().any(|warning| matches!(warning, Warning::PersonalLinkUntracked { .. })));
}

#[test]
fn an_html_letter_keeps_its_doctype_media_queries_loops_in_tables_and_outlook_links() {
    let letter = compile(BodyFormat::Html, HTML);
    let urls: Vec<_> = letter.links().iter().map(|link| link.url.as_str()).collect();
    assert_eq!(urls, ["https://shop.example/vml?a=1&b=2", "https://shop.example/b?x=%20y&z=1#f", "https://shop.example/b?x=%20y&z=1#f"]);
    let rendered = letter.render(&values(&[("first_name", "Ann")]), &tracked(&letter)).unwrap();
    for expected in [
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"",
        "@media (max-width:600px){#offer{width:100%}}",
        "<tr><td>S for Ann</td></tr><tr><td>M for Ann</td></tr>",
        "<v:roundrect href=\"https://t.example/c/1?a=1&amp;b=2\">",
        "color: #333",
        ">Unsubscribe</a></div><img src=\"https://t.example/o/p.gif\"",
    ] {
        assert!(rendered.html.contains(expected), "{expected}\n{}", rendered.html);
    }
    assert!(rendered.text.contains("S for Ann\nM for Ann\n"), "{:?}", rendered.text);
    assert!(rendered.text.ends_with("\n--\nUnsubscribe: https://t.example/u/p\n"), "{}", rendered.text);
    assert_eq!(letter.required_fields(), BTreeSet::from(["first_name".to_owned()]));
    assert_eq!(letter.merge_fields(), ["first_name", "plan"].map(str::to_owned).into());
}

#[test]
fn a_markdown_letter_keeps_conditions_and_quotes() {
    let letter = compile(BodyFormat::Markdown, MARKDOWN);
    assert_eq!(letter.links().len(), 1);
    assert_eq!(letter.links()[0].url, "https://shop.example/?id=1&x=%7Ba%7D");
    let rendered = letter.render(&values(&[]), &untracked()).unwrap();
    assert!(
        rendered.html.contains("<h1 id=\"title\">Hello there</h1>") && rendered.html.contains("<p>No plan yet.</p>"),
        "{}",
        rendered.html
    );
    assert!(rendered.html.contains("?who=x%20y\""), "{}", rendered.html);
    let rendered = letter.render(&values(&[("plan", "gold")]), &untracked()).unwrap();
    assert!(rendered.html.contains("You have <strong>gold</strong>.") && !rendered.html.contains("No plan"), "{}", rendered.html);
    assert!(rendered.text.contains("You have gold."), "{}", rendered.text);
}

#[test]
fn without_tracking_there_is_no_pixel_and_links_are_as_written() {
    let letter = compile(BodyFormat::Html, HTML);
    let rendered = letter.render(&values(&[("first_name", "Ann")]), &untracked()).unwrap();
    assert!(!rendered.html.contains("width=\"1\""));
    assert!(rendered.html.contains("href=\"https://shop.example/b?x=%20y&amp;z=1#f\""));
    assert!(rendered.text.contains("Buy <https://shop.example/b?x=%20y&z=1#f>"));
}

#[test]
fn a_large_letter_carries_its_pixel_in_front() {
    let source = format!("<body><p>start</p>{}</body>", "<p>filling words</p>".repeat(6_000));
    let letter = compile(BodyFormat::Html, &source);
    let rendered = letter.render(&values(&[]), &tracked(&letter)).unwrap();
    let pixel = rendered.html.find("t.example/o/p.gif").unwrap();
    assert!(pixel < rendered.html.find("start").unwrap());
    assert!(matches!(letter.warnings()[0], Warning::Clipped { bytes } if bytes > 100_000));
}

#[test]
fn a_missing_or_blank_value_without_default_is_an_error_that_names_field_and_line() {
    let letter = compile(BodyFormat::Html, HTML);
    for given in [values(&[]), values(&[("first_name", " ")])] {
        let error = letter.render(&given, &untracked()).unwrap_err();
        assert_eq!(error, ContentError::MissingField { field: "first_name".to_owned(), part: Part::Body, line: 5 });
        assert!(error.to_string().contains("`first_name`; give it one, or a default: {{ first_name | default("), "{error}");
    }
}

#[test]
fn unknown_fields_are_reported_with_part_line_and_suggestion() {
    let mut letter = newsletter(BodyFormat::Html, "<p>a</p>\n\n<p title=\"{{ frist_name }}\">{{ zebra }}{{ unsubscribe_url }}</p>");
    letter.subject = "{{ citty }}".to_owned();
    let known = ["first_name", "city", "plan"].map(str::to_owned).into();
    let found: Vec<_> = CompiledLetter::compile(&letter).unwrap().check_fields(&known).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "unknown merge field `citty` in subject, line 1; did you mean `city`?",
            "unknown merge field `frist_name` in body, line 3; did you mean `first_name`?",
            "unknown merge field `zebra` in body, line 3",
        ]
    );
}

#[test]
fn the_number_of_addresses_must_match() {
    let letter = compile(BodyFormat::Html, HTML);
    let urls = LetterUrls { tracking: Tracking::On { pixel: String::new(), links: Vec::new() }, unsubscribe: String::new() };
    assert_eq!(letter.render(&values(&[]), &urls), Err(ContentError::LinkCount { expected: 3, given: 0 }));
}

#[test]
fn header_lines_lose_control_and_direction_characters() {
    let mut letter = newsletter(BodyFormat::Html, "<p>a</p>");
    letter.sender_name = "{{ first_name }} at Shop".to_owned();
    let letter = CompiledLetter::compile(&letter).unwrap();
    let rendered = letter.render(&values(&[("first_name", "A\r\nBcc: x\u{202E}\u{0}\u{7}  é")]), &untracked()).unwrap();
    assert_eq!(rendered.subject, "News for A Bcc: x é");
    assert_eq!(rendered.sender_name, "A Bcc: x é at Shop");
}
