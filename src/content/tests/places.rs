//! Where tags may stand, and what becomes of them there.

use super::*;

fn text_for(letter: &CompiledLetter, pairs: &[(&str, &str)]) -> (String, String) {
    let rendered = letter.render(&values(pairs), &untracked()).unwrap();
    assert!(!rendered.html.contains("-->"), "{}", rendered.html);
    (rendered.html, rendered.text)
}

#[test]
fn conditions_may_share_a_line_or_stand_in_comments() {
    let markdown = compile(
        BodyFormat::Markdown,
        "Hi\n\n{% if a %}\nXX\n{% endif %} {% if b %}\n\nYY\n\n{% endif %}{% if a %}{% if b %}\nZZ\n{% endif %}{% endif %}\nend\n",
    );
    let html = compile(
        BodyFormat::Html,
        "<p>Hi</p><!-- {% if a %} --><p>XX</p><!--{% endif %}{% if b %}--><p>YY</p><!-- {% endif %} the best of both: {% if a %}\n{% if b %} --><p>ZZ</p>\
         <!-- {% endif %}{% endif %} --><p>end</p>",
    );
    for letter in [&markdown, &html] {
        for (pairs, expected) in [
            (&[][..], [false, false, false]),
            (&[("a", "1")], [true, false, false]),
            (&[("b", "1")], [false, true, false]),
            (&[("a", "1"), ("b", "1")], [true, true, true]),
        ] {
            let (html, text) = text_for(letter, pairs);
            for part in [&html, &text] {
                assert_eq!(["XX", "YY", "ZZ"].map(|word| part.contains(word)), expected, "{pairs:?}: {part}");
                assert!(part.contains("Hi") && part.contains("end") && !part.contains("best"), "{part}");
            }
        }
    }
}

#[test]
fn what_a_comment_would_print_nobody_needs() {
    let letter = compile(
        BodyFormat::Html,
        "<!-- Hi {{ first_name }} --><p>Hello</p><!--[If mso]><p>{{ shop | default(\"s\") }}</p><![endif]--><!-- mine -->",
    );
    let rendered = letter.render(&values(&[]), &untracked()).unwrap();
    assert!(!rendered.html.contains("Hi ") && rendered.html.contains("<!--[If mso]><p>s</p><![endif]-->"), "{}", rendered.html);
    assert!(rendered.html.contains("<!-- mine -->"), "what holds no tag stays: {}", rendered.html);
    assert_eq!(letter.lacks(&values(&[])), None);
}

#[test]
fn words_longer_than_a_line_cut_no_tag_and_no_address() {
    for (open, close) in [("<p>", "</p>"), ("<ul><li>", "</li></ul>"), ("<blockquote><p>", "</p></blockquote>")] {
        for before in 0..90 {
            let source = format!(
                "{open}{}{{{{ name }}}}字字字<a href=\"https://a.example/\">読む</a>{}{{% if vip %}}金{{% endif %}}{}{close}",
                "汉".repeat(before),
                "x".repeat(before),
                "{{ name }}".repeat(12),
            );
            let letter = compile(BodyFormat::Html, &source);
            let rendered = letter.render(&values(&[("name", "Ann")]), &tracked(&letter)).unwrap();
            assert_eq!(rendered.text.matches("Ann").count(), 13, "{before}: {}", rendered.text);
            assert!(rendered.text.contains("<https://t.example/") && !rendered.text.contains('金'), "{before}: {}", rendered.text);
            assert!(!rendered.text.contains("zqm") && !rendered.text.contains("00"), "{before}: {}", rendered.text);
        }
    }
}

#[test]
fn the_footer_is_left_out_only_where_every_reader_sees_the_authors_own() {
    for (source, is_appended) in [
        ("<p><a href=\"{{ unsubscribe_url }}\">out</a></p>", false),
        ("<p>{{ unsubscribe_url }}</p>", false),
        ("<map><area href=\"{{ unsubscribe_url }}\" alt=\"out\"></map><p>x</p>", false),
        ("<p>x</p><!--[if !mso]><!--><a href=\"{{ unsubscribe_url }}\">out</a><!--<![endif]-->", false),
        ("<p>x</p><!-- <a href=\"{{ unsubscribe_url }}\">out</a> -->", true),
        ("<p>x</p><!--[if mso]><a href=\"{{ unsubscribe_url }}\">out</a><![endif]-->", true),
        ("<p>x</p><div style=\"display: none\"><a href=\"{{ unsubscribe_url }}\">out</a></div>", true),
        ("<p><a href=\"{{ shop if vip else unsubscribe_url }}\">out</a></p>", true),
        ("<p><a href=\"{{ shop | default(unsubscribe_url) }}\">out</a></p>", true),
        ("{% if unsubscribe_url %}<p>x</p>{% endif %}", true),
        ("<link rel=\"help\" href=\"{{ unsubscribe_url }}\"><p>x</p>", true),
    ] {
        let letter = compile(BodyFormat::Html, source);
        assert_eq!(letter.warnings().contains(&Warning::FooterAppended), is_appended, "{source}");
        let rendered = letter.render(&values(&[("shop", "https://s.example/")]), &untracked()).unwrap();
        assert!(rendered.text.contains(&untracked().unsubscribe), "{source}: {}", rendered.text);
    }
}

#[test]
fn the_text_part_tells_where_parts_of_a_picture_lead() {
    let letter = compile(
        BodyFormat::Html,
        "<img src=\"https://a.example/i.png\" alt=\"\" usemap=\"#m\"><map name=\"m\"><area href=\"https://a.example/one\" alt=\"One &amp; only\">\
         <area href=\"https://a.example/two\"></map>",
    );
    assert_eq!(letter.links().len(), 2);
    let text = letter.render(&values(&[]), &untracked()).unwrap().text;
    assert!(text.contains("One & only <https://a.example/one>") && text.contains("<https://a.example/two>"), "{text}");
}
