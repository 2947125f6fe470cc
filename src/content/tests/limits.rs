//! Letters that cannot be handled, that are odd, or that mean harm; and properties that hold for any letter.

use proptest::prelude::*;

use super::*;

#[test]
fn letters_that_cannot_be_handled_say_why_and_where() {
    for (format, source, expected) in [
        (BodyFormat::Mjml, "<p>no mjml</p>", "there is no <mjml> element"),
        (BodyFormat::Mjml, "<mjml><mj-body>\n<mj-section>", "ends too early"),
        (BodyFormat::Mjml, "<mjml><mj-body><mj-include path=\"/etc/passwd\" /></mj-body></mjml>", "mj-include is not available"),
        (
            BodyFormat::Mjml,
            "<mjml><mj-head>{% if a %}\n<mj-title>x</mj-title>{% endif %}</mj-head><mj-body></mj-body></mjml>",
            "stands where nothing is shown",
        ),
        (BodyFormat::Html, "a\n<p {% if a %}class=\"b\"{% endif %}>x</p>", "body, line 2: `{% if a %}` stands inside a tag"),
        (BodyFormat::Html, "<p>{{ .Subscriber.FirstName }}</p>", "listmonk"),
        (BodyFormat::Html, "<p>{{ a </p>", "is not closed by `}}`"),
        (BodyFormat::Html, "<table><tr>{% if a %}<td>x</td></tr></table>", "line 1"),
    ] {
        let error = CompiledLetter::compile(&newsletter(format, source)).expect_err(source).to_string();
        assert!(error.contains(expected), "{source}: {error}");
    }
    let deep = "<div>".repeat(100_000 / 5);
    let error = CompiledLetter::compile(&newsletter(BodyFormat::Html, &deep)).unwrap_err().to_string();
    assert!(error.contains("deep in one another"), "{error}");
    for inner in ["<p>", "<BR>", "<style><b>", "<table><tr><td>"] {
        let source = format!("<mjml><mj-body><mj-section><mj-column><mj-text>{}", inner.repeat(15_000));
        let error = CompiledLetter::compile(&newsletter(BodyFormat::Mjml, &source)).unwrap_err().to_string();
        assert!(error.contains("deep in one another"), "{error}");
    }
    let error = CompiledLetter::compile(&newsletter(BodyFormat::Html, &"x".repeat(300_000))).unwrap_err().to_string();
    assert_eq!(error, "the body has 300000 bytes; at most 262144 are accepted");
}

#[test]
fn letters_that_mean_harm_are_refused_with_a_message() {
    let words = |words: &str, times: usize| words.repeat(times);
    for (format, source, expected) in [
        // The parser leaves open what seems to be closed.
        (BodyFormat::Html, words("<div></x>", 20_000), "deep in one another"),
        (BodyFormat::Html, words("<span><div></span></div>", 8_000), "deep in one another"),
        (BodyFormat::Markdown, format!("{}x", words("> ", 100_000)), "deep in one another"),
        (
            BodyFormat::Html,
            format!("<style>{}</style>{}", words("p{color:red}", 9_000), words("<p>x</p>", 15_000)),
            "bytes of style sheets are too many",
        ),
        (
            BodyFormat::Html,
            format!("<style>{}</style>{}", words(":nth-last-child(2n+1)~*{color:red}", 2_000), words("<b>x</b>", 14_000)),
            "style sheets",
        ),
        (BodyFormat::Html, words("<a href=\"https://a.example/\">x</a>", 3_000), "more than 2000 links"),
        (BodyFormat::Mjml, mjml_text("<a href=\"javascript:alert(1)\">x</a>"), "runs a script"),
        (BodyFormat::Mjml, mjml_text("<a data-track=\"off\" href=\"javascript:alert(1)\">x</a>"), "runs a script"),
        (BodyFormat::Html, "<a href=\"java&Tab;script&colon;alert(1)\">x</a>".to_owned(), "runs a script"),
        (BodyFormat::Markdown, "[x](javascript:alert)".to_owned(), "runs a script"),
        (BodyFormat::Html, "{{ 'a' * 99999999 }}".to_owned(), "arithmetic"),
        (BodyFormat::Html, "{{ [1] * 90000000 }}".to_owned(), "arithmetic"),
        (BodyFormat::Html, format!("{{% set a = 'x' %}}{}", words("{% set a = a ~ a %}", 40)), "`set`"),
        (BodyFormat::Html, "{% for x in range(100000) %}x{% endfor %}".to_owned(), "written-out list"),
        (BodyFormat::Html, format!("{}x{}", words("{% if a %}", 990), words("{% endif %}", 990)), "line 1"),
        (BodyFormat::Html, format!("{{{{ {}a }}}}", words("not ", 900)), "more than 200 signs"),
        (BodyFormat::Html, format!("{{{{ {}a }}}}", words("not ", 60_000)), "within 4096 bytes"),
        (BodyFormat::Html, words("{{ a }}", 2_001), "more than 2000 merge tags"),
    ] {
        let begin: String = source.chars().take(60).collect();
        let error = CompiledLetter::compile(&newsletter(format, &source)).map(|_| ()).expect_err(&begin).to_string();
        assert!(error.contains(expected) && error.len() < 400, "{begin}: {error}");
    }
}

fn mjml_text(inner: &str) -> String {
    format!("<mjml><mj-body><mj-section><mj-column><mj-text>{inner}</mj-text></mj-column></mj-section></mj-body></mjml>")
}

#[test]
fn loops_in_loops_end_at_a_limit() {
    let bomb = format!("{}{}{}", "{% for x in [1,2,3,4,5,6,7,8,9,0] %}".repeat(6), "x".repeat(1_000), "{% endfor %}".repeat(6));
    let letter = compile(BodyFormat::Html, &format!("<p>a</p>{bomb}"));
    let error = letter.render(&values(&[]), &untracked()).unwrap_err().to_string();
    assert!(error.contains("too many steps") || error.contains("larger than 1048576 bytes"), "{error}");
}

#[test]
fn conditions_have_many_branches_and_not_too_many() {
    let branches = |times: usize| format!("{{% if a %}}{}x{{% endif %}}", "{%- elif a %}".repeat(times));
    for times in [10, 100] {
        compile(BodyFormat::Html, &branches(times)).render(&values(&[]), &untracked()).unwrap();
    }
    // With 1,900 the stack once overflowed.
    for times in [101, 1_900] {
        let error = CompiledLetter::compile(&newsletter(BodyFormat::Html, &branches(times))).unwrap_err().to_string();
        assert!(error.contains("more than 100 `elif` in the body; let the list"), "{error}");
    }
}

#[test]
fn a_value_is_text_whatever_it_holds() {
    let hostile = "{{ 7 * 6 }}{% for x in [1] %}<script>alert(1)</script>\r\nBcc: x@y.example\u{2028}\u{0}' onload=\"x";
    let mut base = newsletter(BodyFormat::Html, "<p title=\"{{ first_name }}\">{{ first_name }}</p>");
    for line in [&mut base.subject, &mut base.preheader, &mut base.sender_name] {
        *line = "Hi {{ first_name }}".to_owned();
    }
    let rendered = CompiledLetter::compile(&base).unwrap().render(&values(&[("first_name", hostile)]), &untracked()).unwrap();
    for line in [&rendered.subject, &rendered.preheader, &rendered.sender_name] {
        assert!(line.starts_with("Hi {{ 7 * 6 }}") && !line.chars().any(|found| found.is_control() || found == '\u{2028}'), "{line:?}");
    }
    assert!(
        !rendered.html.contains("<script>") && !rendered.html.contains("\" onload") && !rendered.html.contains("' onload"),
        "{}",
        rendered.html
    );
    assert_eq!(rendered.html.matches("{{ 7 * 6 }}").count(), 3, "title, text and preheader: {}", rendered.html);
}

#[test]
fn windows_line_ends_and_broken_styles_and_odd_attributes_are_survived() {
    let source = "<mjml>\r\n <mj-head>\r\n </mj-head>\r\n<mj-body><mj-section><mj-column><mj-text>\
                  <span style=\"color: red;;\n font-size: 9px; bold\" title='say \"é \u{200D}\\'>x</span></mj-text></mj-column></mj-section></mj-body></mjml>";
    let letter = compile(BodyFormat::Mjml, source);
    let html = letter.render(&values(&[]), &untracked()).unwrap().html;
    assert!(
        html.contains("<span title=\"say &quot;é \u{200D}\\\" style=\"color: red; font-size: 9px\">x</span>")
            || html.contains("<span style=\"color: red; font-size: 9px\" title=\"say &quot;é \u{200D}\\\">x</span>"),
        "{html}"
    );
}

#[test]
fn a_piece_of_html_may_begin_with_a_condition() {
    let letter = compile(BodyFormat::Html, "{% if plan %}<p>Gold</p>{% endif %}<p>All</p>");
    let html = letter.render(&values(&[]), &untracked()).unwrap().html;
    assert!(html.contains("<body><div style") && html.contains("</div><p>All</p>") && !html.contains("Gold"), "{html}");
}

#[test]
fn conditions_for_outlook_survive_in_both_of_their_forms() {
    let html = "<![if !mso]><i>modern</i><![endif]><!--[if mso]><v:rect href=\"https://a.example/1\"></v:rect><![endif]-->";
    let mjml = format!("<mjml><mj-body><mj-raw>{html}</mj-raw></mj-body></mjml>");
    for (format, source) in [(BodyFormat::Html, html), (BodyFormat::Mjml, mjml.as_str())] {
        let letter = compile(format, source);
        let rendered = letter.render(&values(&[]), &tracked(&letter)).unwrap();
        for expected in
            ["<!--[if !mso]><!--><i>modern</i><!--<![endif]-->", "<!--[if mso]><v:rect href=\"https://t.example/c/1?a=1&amp;b=2\""]
        {
            assert!(rendered.html.contains(expected), "{expected}\n{}", rendered.html);
        }
    }
}

#[test]
fn letters_of_many_languages_come_through_unchanged() {
    let words = "Größe, naïve, Tiếng Việt, हिन्दी, עברית, 日本語, 👩‍🔬";
    for source in [
        format!("<p title=\"{words}\">{words}</p>"),
        format!(
            "<mjml><mj-body><mj-section><mj-column><mj-text><span title=\"{words}\">{words}</span></mj-text></mj-column></mj-section></mj-body></mjml>"
        ),
    ] {
        let format = if source.starts_with("<mjml") { BodyFormat::Mjml } else { BodyFormat::Html };
        let rendered = compile(format, &source).render(&values(&[("first_name", words)]), &untracked()).unwrap();
        assert_eq!(rendered.html.matches(words).count(), 2, "{}", rendered.html);
        assert_eq!(rendered.subject, format!("News for {words}"));
    }
}

#[test]
fn nesting_up_to_the_limit_compiles() {
    for (open, close) in [
        ("<div>", "</div>"),
        ("<table><tr><td>", "</td></tr></table>"),
        ("<b>", "</b>"),
        ("<ul><li><p>", "</ul>"),
        ("<blockquote>", "</blockquote>"),
    ] {
        let source = format!("{}x{}", open.repeat(119), close.repeat(119));
        compile(BodyFormat::Html, &source).render(&values(&[]), &untracked()).unwrap();
        let levels = 110 / open.matches('<').count();
        let inner = format!("{}x{}", open.repeat(levels), close.replace("</ul>", "</p></li></ul>").repeat(levels));
        compile(
            BodyFormat::Mjml,
            &format!("<mjml><mj-body><mj-section><mj-column><mj-text>{inner}</mj-text></mj-column></mj-section></mj-body></mjml>"),
        );
    }
}

#[test]
fn a_letter_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&compile(BodyFormat::Html, "<p>a</p>"));
}

#[test]
fn conditions_must_nest_with_the_elements_in_both_parts() {
    // A condition around a hidden half would leave the text part with an `if` that never ends.
    let source = "<p>{% if plan %}a</p><p style=\"display:none\">b{% endif %}</p>";
    let error = CompiledLetter::compile(&newsletter(BodyFormat::Html, source)).unwrap_err().to_string();
    assert!(error.contains("in the text part"), "{error}");
}

#[test]
fn foreign_tags_stay_and_are_warned_of() {
    let letter = compile(BodyFormat::Html, "<p>Hi *|FNAME|*</p><a href=\"*|UNSUB|*\">x</a>");
    let words: Vec<_> = letter.warnings().iter().map(ToString::to_string).collect();
    assert!(words.contains(&"the body holds *|FNAME|*, a tag of another mail system; it stays as text".to_owned()), "{words:?}");
    assert!(letter.render(&values(&[]), &untracked()).unwrap().html.contains("Hi *|FNAME|*"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_given_address_appears_and_no_tracked_one_stays(
        paths in prop::collection::vec("[a-z0-9/?&=%#._~+-]{0,20}", 1..8),
        name in "\\PC{1,30}",
    ) {
        let source: String = paths.iter().enumerate()
            .map(|(index, path)| format!("<p>{{{{ n | default('-') }}}} <a href=\"https://o{index}.example/{}\">x</a></p>", path.replace('&', "&amp;")))
            .collect();
        let base = newsletter(BodyFormat::Html, &source);
        let letter = CompiledLetter::compile(&base).unwrap();
        for (index, (link, path)) in letter.links().iter().zip(&paths).enumerate() {
            prop_assert_eq!(&link.url, &format!("https://o{index}.example/{path}"));
        }
        let given = values(&[("n", &name)]);
        let rendered = letter.render(&given, &tracked(&letter)).unwrap();
        for (index, link) in letter.links().iter().enumerate() {
            let expected = format!("https://t.example/c/{}?a=1&amp;b=2", link.number);
            let html_expected = format!("href=\"{expected}\"");
            prop_assert_eq!(rendered.html.matches(&html_expected).count(), 1);
            let original = format!("href=\"https://o{index}.example");
            prop_assert!(!rendered.html.contains(&original));
        }
        let other = with_override(&base, &Element::Subject, &name.replace(['{', '}'], "")).unwrap();
        let again = CompiledLetter::compile(&other).unwrap().render(&given, &tracked(&letter)).unwrap();
        prop_assert_eq!(again.html, rendered.html);
    }

    #[test]
    fn no_source_makes_the_compiler_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<mjml>", "<mj-body>", "<mj-section>", "</mj-section>", "<mj-text id=\"a\">", "</mj-text>", "</mj-body>", "</mjml>", "<p", ">",
            "<a href=\"https://a.example/\">", "</a>", "{{ a }}", "{% if a %}", "{% endif %}", "{#", "{{", "<!--", "-->", "<!--[if mso]>", "<![endif]-->",
            "<style>", "</style>", "<table>", "<td>", "\"", "'", "&#x110000;", "&amp", "é", "\u{0}", "\n", "zqm0t", "*|X|*", "<title>", "<![if !mso]>", "<body>", "</body>", "`", "# ",
        ]), 0..24),
        format in prop::sample::select(vec![BodyFormat::Mjml, BodyFormat::Html, BodyFormat::Markdown]),
    ) {
        let base = newsletter(format, &pieces.concat());
        if let Ok(letter) = CompiledLetter::compile(&base) {
            let _ = letter.render(&values(&[("a", "zqm0t {{ a }} __link1")]), &tracked(&letter));
        }
        let _ = blocks(&base);
        let _ = with_override(&base, &Element::Block { name: "a".to_owned(), facet: Facet::Text }, "x");
    }
}
