//! Overrides: one element changes, nothing else.

use super::*;

#[test]
fn one_block_is_changed_and_every_other_byte_stays() {
    let check = |format: BodyFormat, source: &str, name: &str, facet: Facet, value: &str, before: &str, after: &str| {
        let element = Element::Block { name: name.to_owned(), facet };
        let changed = with_override(&newsletter(format, source), &element, value).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(source.matches(before).count(), 1, "{before}");
        assert_eq!(changed, newsletter(format, &source.replace(before, after)), "{name}");
        CompiledLetter::compile(&changed).expect("the variant compiles");
    };
    check(
        BodyFormat::Mjml,
        MJML,
        "offer",
        Facet::Text,
        "Save {{ plan | default(\"5 %\") }} & <more>",
        ">Buy now<",
        ">Save {{ plan | default(\"5 %\") }} &amp; &lt;more&gt;<",
    );
    check(
        BodyFormat::Mjml,
        MJML,
        "offer",
        Facet::Link,
        "https://b.example/?x=1&y=2",
        "href=\"https://shop.example/?a=1&amp;b=2#top\"",
        "href=\"https://b.example/?x=1&amp;y=2\"",
    );
    check(
        BodyFormat::Mjml,
        MJML,
        "offer",
        Facet::Style,
        "color: #000; background-color: #0c0",
        " id=\"offer\" href=\"https://shop.example/?a=1&amp;b=2#top\" background-color=\"#c00\"",
        " color=\"#000\" id=\"offer\" href=\"https://shop.example/?a=1&amp;b=2#top\" background-color=\"#0c0\"",
    );
    check(
        BodyFormat::Mjml,
        MJML,
        "hero",
        Facet::Image,
        "https://img.example/b.png",
        "https://img.example/a.png?v=3&s=200",
        "https://img.example/b.png",
    );
    check(BodyFormat::Html, HTML, "intro", Facet::Text, "Hi", "Hello {{ first_name }}", "Hi");
    check(BodyFormat::Html, HTML, "intro", Facet::Style, "font-size: 20px; margin: 4px", "margin:0", "margin: 4px; font-size: 20px");
    check(
        BodyFormat::Html,
        HTML,
        "offer",
        Facet::Link,
        "https://b.example/",
        "'https://shop.example/b?x=%20y&amp;z=1#f'",
        "\"https://b.example/\"",
    );
    check(
        BodyFormat::Html,
        HTML,
        "hero",
        Facet::Image,
        "https://img.example/b.png",
        "https://img.example/a.png",
        "https://img.example/b.png",
    );
}

#[test]
fn a_markdown_block_is_changed_in_the_html_it_renders_to() {
    let base = newsletter(BodyFormat::Markdown, MARKDOWN);
    let render = |newsletter: &Newsletter| CompiledLetter::compile(newsletter).unwrap().render(&values(&[]), &untracked()).unwrap();
    for (name, old, new) in [("promo", "this \"quote\"", "that"), ("title", "Hello there", "Hi")] {
        let element = Element::Block { name: name.to_owned(), facet: Facet::Text };
        let changed = with_override(&base, &element, new).unwrap();
        assert_eq!(render(&changed).html, render(&base).html.replace(old, new));
    }
}

#[test]
fn what_cannot_be_varied_is_refused_with_the_reason() {
    let check = |format: BodyFormat, source: &str, name: &str, facet: Facet, value: &str, expected: &str| {
        let element = Element::Block { name: name.to_owned(), facet };
        let error = with_override(&newsletter(format, source), &element, value).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    };
    check(BodyFormat::Html, HTML, "none", Facet::Text, "x", "no block is named 'none'; there are: intro, sizes, offer, hero, hero2, twice");
    check(BodyFormat::Html, HTML, "twice", Facet::Text, "x", "2 elements are named 'twice'");
    check(
        BodyFormat::Html,
        HTML,
        "sizes",
        Facet::Text,
        "x",
        "the text of block 'sizes' cannot be changed: it is a <table>, in which style can vary",
    );
    check(BodyFormat::Html, HTML, "offer", Facet::Link, "javascript:alert(1)", "not a whole web address");
    check(BodyFormat::Html, HTML, "offer", Facet::Link, "https://a.example/{{ first_name }}", "not a whole web address");
    check(BodyFormat::Html, HTML, "intro", Facet::Text, "{{ a.b }}", "without dots");
    check(BodyFormat::Html, HTML, "intro", Facet::Style, "red", "no declaration");
    check(BodyFormat::Mjml, MJML, "hero", Facet::Style, "color: red", "a <mj-image> has no color; it has: align");
    check(BodyFormat::Mjml, MJML, "hero", Facet::Text, "x", "in which link, style, image can vary");
    check(
        BodyFormat::Html,
        "<p id=\"x\">a <a href=\"#\">b</a></p>",
        "x",
        Facet::Text,
        "x",
        "it holds an <a>, which a new text would remove",
    );
    check(BodyFormat::Html, "<p>no names</p>", "x", Facet::Text, "x", "there are no named blocks: give an element id=");
}

#[test]
fn blocks_are_offered_with_what_may_vary_in_them() {
    let listed = |format, source| -> Vec<String> {
        let found = blocks(&newsletter(format, source)).expect("blocks");
        found.iter().map(|block| format!("{} {} {:?}", block.name, block.tag, block.facets)).collect()
    };
    assert_eq!(
        listed(BodyFormat::Mjml, MJML),
        [
            "gold mj-section [Style]",
            "greeting mj-text [Text, Style]",
            "hero mj-image [Link, Style, Image]",
            "offer mj-button [Text, Link, Style]",
        ]
    );
    assert_eq!(
        listed(BodyFormat::Html, HTML),
        ["intro p [Text, Style]", "sizes table [Style]", "offer a [Text, Link, Style]", "hero img [Style, Image]", "hero2 p [Text, Style]",]
    );
    assert_eq!(listed(BodyFormat::Markdown, MARKDOWN), ["title h1 [Text, Style]", "promo span [Text, Style]"]);
}

#[test]
fn the_outer_elements_change_one_field_each() {
    let base = newsletter(BodyFormat::Html, HTML);
    let of = |element: Element| with_override(&base, &element, "New").unwrap();
    assert_eq!(of(Element::Subject), Newsletter { subject: "New".to_owned(), ..base.clone() });
    assert_eq!(of(Element::Preheader), Newsletter { preheader: "New".to_owned(), ..base.clone() });
    assert_eq!(of(Element::SenderName), Newsletter { sender_name: "New".to_owned(), ..base.clone() });
    assert!(with_override(&base, &Element::Subject, "{{ a").is_err());
    let block = Element::Block { name: "offer".to_owned(), facet: Facet::Link };
    assert_eq!(block.to_string(), "the link of block 'offer'");
    let json = serde_json::to_string(&block).unwrap();
    assert_eq!(json, r#"{"block":{"name":"offer","facet":"link"}}"#);
    assert_eq!(serde_json::from_str::<Element>(&json).unwrap(), block);
    assert!(serde_json::from_str::<Newsletter>(r#"{"subject":"","sender_name":"","body":{"format":"html","source":""},"x":1}"#).is_err());
}
