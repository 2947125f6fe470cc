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
        "the text of block 'sizes' cannot be changed: it is a <table>, in which style, presence can vary",
    );
    check(BodyFormat::Html, HTML, "offer", Facet::Link, "javascript:alert(1)", "not a whole web address");
    check(BodyFormat::Html, HTML, "offer", Facet::Link, "https://a.example/{{ first_name }}", "not a whole web address");
    check(BodyFormat::Html, HTML, "intro", Facet::Text, "{{ a.b }}", "without dots");
    check(BodyFormat::Html, HTML, "intro", Facet::Style, "red", "no declaration");
    check(BodyFormat::Mjml, MJML, "hero", Facet::Style, "color: red", "a <mj-image> has no color; it has: align");
    check(BodyFormat::Mjml, MJML, "hero", Facet::Text, "x", "in which link, style, image, presence can vary");
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
            "gold mj-section [Style, Presence]",
            "greeting mj-text [Text, Style, Presence]",
            "hero mj-image [Link, Style, Image, Presence]",
            "offer mj-button [Text, Link, Style, Presence]",
        ]
    );
    assert_eq!(
        listed(BodyFormat::Html, HTML),
        [
            "intro p [Text, Style, Presence]",
            "sizes table [Style, Presence]",
            "offer a [Text, Link, Style, Presence]",
            "hero img [Style, Image, Presence]",
            "hero2 p [Text, Style, Presence]",
        ]
    );
    assert_eq!(listed(BodyFormat::Markdown, MARKDOWN), ["title h1 [Text, Style, Presence]", "promo span [Text, Style, Presence]"]);
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

#[test]
fn a_part_may_be_absent_and_a_rule_of_the_stylesheet_changed() {
    let check = |format: BodyFormat, source: &str, name: &str, facet: Facet, value: &str, before: &str, after: &str| {
        let element = Element::Block { name: name.to_owned(), facet };
        let changed = with_override(&newsletter(format, source), &element, value).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(source.matches(before).count(), 1, "{before}");
        assert_eq!(changed, newsletter(format, &source.replace(before, after)), "{name}");
        CompiledLetter::compile(&changed).expect("the variant compiles");
    };
    let intro = "<p id=\"intro\" style=\"margin:0\">Hello {{ first_name }}</p>";
    check(BodyFormat::Html, HTML, "intro", Facet::Presence, "absent", intro, "");
    check(BodyFormat::Html, HTML, "intro", Facet::Presence, "present", intro, intro);
    check(
        BodyFormat::Html,
        HTML,
        "hero",
        Facet::Presence,
        "absent",
        "<img data-block=\"hero\" src=\"https://img.example/a.png\" alt=\"\">",
        "",
    );
    check(
        BodyFormat::Mjml,
        MJML,
        "hero",
        Facet::Presence,
        "absent",
        "<mj-image data-block=\"hero\" src=\"https://img.example/a.png?v=3&s=200\" alt=\"A\" />",
        "",
    );
    check(
        BodyFormat::Html,
        HTML,
        "p",
        Facet::Rule,
        "font-family: Georgia, serif; color: #000",
        " color: #333 ",
        "color: #000; font-family: Georgia, serif",
    );
    check(BodyFormat::Html, HTML, "@media (max-width: 600px) { #offer", Facet::Rule, "width: 50%", "width:100%", "width: 50%");
    check(BodyFormat::Mjml, MJML, ".x", Facet::Rule, "color: blue", " color: red; ", "color: blue");
    let error = |name: &str, facet, value: &str| {
        let element = Element::Block { name: name.to_owned(), facet };
        with_override(&newsletter(BodyFormat::Html, HTML), &element, value).expect_err(name).to_string()
    };
    assert!(error("intro", Facet::Presence, "no").contains("neither present nor absent"));
    assert!(error(".button", Facet::Rule, "color: red").contains("there are: @media (max-width:600px) { #offer · p"));
}

#[test]
fn parts_are_found_by_selectors_and_a_look_may_be_of_several() {
    let changed = |format, source: &str, name: &str, facet, value: &str| {
        let element = Element::Block { name: name.to_owned(), facet };
        with_override(&newsletter(format, source), &element, value).map(|changed| changed.body.source).map_err(|error| error.to_string())
    };
    let html = |name: &str, facet, value: &str| changed(BodyFormat::Html, HTML, name, facet, value);
    assert_eq!(html("#intro", Facet::Text, "Hi"), Ok(HTML.replace("Hello {{ first_name }}", "Hi")));
    assert_eq!(html("a:nth-of-type(2)", Facet::Text, "Now"), Ok(HTML.replace("Buy again", "Now")));
    let both = html("a[href*='shop.example']", Facet::Style, "color: red").unwrap();
    assert_eq!(both.matches("<a style=\"color: red\" ").count(), 2, "{both}");
    let mjml = changed(BodyFormat::Mjml, MJML, "mj-section > mj-column > mj-text", Facet::Style, "font-size: 20px").unwrap();
    assert_eq!(mjml.matches("font-size=\"20px\"").count(), 3, "{mjml}");
    let markdown = changed(BodyFormat::Markdown, MARKDOWN, "h1", Facet::Text, "Hi").unwrap();
    assert!(markdown.contains("<h1 id=\"title\">Hi</h1>"), "{markdown}");
    for (name, facet, expected) in [
        (
            "a",
            Facet::Text,
            "it means 2 parts of the letter, but the text of one can vary; write one of: offer · html:nth-of-type(1) > body",
        ),
        (".button", Facet::Style, "there is no class at all"),
        ("p#intor", Facet::Text, "no id `intor`; did you mean `intro`?"),
        ("table > a", Facet::Text, "no part of the letter lies so"),
        ("a:hover", Facet::Text, "`:hover` is not available"),
        ("blink", Facet::Text, "no block is named 'blink'"),
        ("blink > a", Facet::Text, "no element `blink`"),
    ] {
        let error = html(name, facet, "x: y").expect_err(name);
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn the_drawing_for_outlook_changes_with_its_link() {
    let vml = |url: &str, words: &str| {
        format!(
            "<!--[if mso]><v:roundrect xmlns:v=\"urn:v\" href=\"{url}\" arcsize=\"8%\"><center>{words}</center></v:roundrect><![endif]-->"
        )
    };
    let link = |name: &str, url: &str, words: &str| {
        format!("<!--[if !mso]><!--><a id=\"{name}\" href=\"{url}\"><b>{words}</b></a><!--<![endif]-->")
    };
    let letter = |one: (&str, &str), drawing: (&str, &str)| {
        let same = "https://a.example/?x=1&amp;y=2";
        format!(
            "<body><p>{}{}</p><p>{}{}</p></body>",
            vml(drawing.0, drawing.1),
            link("one", one.0, one.1),
            vml(same, "Buy &amp; go"),
            link("two", same, "Buy &amp; go")
        )
    };
    let same = "https://a.example/?x=1&amp;y=2";
    let base = letter((same, "Buy &amp; go"), (same, "Buy &amp; go"));
    let changed = |facet, value: &str| {
        let element = Element::Block { name: "one".to_owned(), facet };
        with_override(&newsletter(BodyFormat::Html, &base), &element, value).unwrap().body.source
    };
    let new = "https://b.example/?p&amp;q";
    assert_eq!(changed(Facet::Link, "https://b.example/?p&q"), letter((new, "Buy &amp; go"), (new, "Buy &amp; go")));
    assert_eq!(changed(Facet::Text, "Now"), letter((same, "Now"), (same, "Now")).replacen("<b>Now</b>", "Now", 1));
    let absent = changed(Facet::Presence, "absent");
    assert!(
        !absent.contains("id=\"one\"") && absent.matches("v:roundrect xmlns").count() == 1 && absent.contains("id=\"two\""),
        "{absent}"
    );
    let tracked = CompiledLetter::compile(&newsletter(BodyFormat::Html, &changed(Facet::Link, "https://b.example/?p&q"))).unwrap();
    let urls: Vec<&str> = tracked.links().iter().map(|link| link.url.as_str()).collect();
    assert_eq!(urls, ["https://b.example/?p&q", "https://b.example/?p&q", "https://a.example/?x=1&y=2", "https://a.example/?x=1&y=2"]);
}

#[test]
fn settings_add_language_parameters_and_pictures() {
    let id = "0123456789abcdefghijklmnop";
    let source = format!(
        "<p>Hallo</p><img alt=\"\" src=\"https://n.example/i/{id}.png\"><a href=\"https://a.example/#f\">x</a><a data-track=\"off\" href=\"https://a.example/\">y</a>"
    );
    let settings = LetterSettings {
        language: Some("de".to_owned()),
        parameters: vec![("utm_source".to_owned(), "shop".to_owned())],
        inline_images: true,
    };
    let letter = CompiledLetter::compile_with(&newsletter(BodyFormat::Html, &source), &settings).unwrap();
    let urls: Vec<&str> = letter.links().iter().map(|link| link.url.as_str()).collect();
    assert_eq!(urls, ["https://a.example/?utm_source=shop#f"]);
    assert_eq!((letter.language(), letter.inline_images()), (Some("de"), &[id.to_owned()][..]));
    let rendered = letter.render(&values(&[]), &untracked()).unwrap();
    for expected in [
        "<html lang=\"de\">",
        ">Abmelden</a>",
        &format!("src=\"cid:{id}@images.letterlab\""),
        "href=\"https://a.example/?utm_source=shop#f\"",
        "href=\"https://a.example/\">y",
    ] {
        assert!(rendered.html.contains(expected), "{expected}\n{}", rendered.html);
    }
    assert!(rendered.text.contains("\n--\nAbmelden: https://t.example/u/p"), "{}", rendered.text);
    assert!(letter.warnings().iter().all(|warning| *warning != Warning::NoLanguage));
    let arabic = LetterSettings { language: Some("ar".to_owned()), ..LetterSettings::default() };
    let letter = CompiledLetter::compile_with(&newsletter(BodyFormat::Markdown, "مرحبا"), &arabic).unwrap();
    let html = letter.render(&values(&[]), &untracked()).unwrap().html;
    assert!(html.contains("<html lang=\"ar\" dir=\"rtl\">") && html.contains("color-scheme"), "{html}");
}
