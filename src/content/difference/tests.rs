//! Tests of the comparison: what is one element, what is several, what is none; generated letters; hostile ones.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;

use super::*;

const LETTER: &str = r##"<!DOCTYPE html>
<html lang="en"><head><title>News</title>
<style>h1 { color: #c00; margin: 0 } .button { padding: 12px } @media (max-width: 600px) { .half { width: 100% !important; } }</style>
</head><body>
<!-- header -->
<table width="600" cellpadding="0"><tr><td style="font-family: Arial; color: #333"><h1>Autumn news</h1>
<p>Hello &amp; welcome to a <b>new</b> season &copy; 2026.</p></td></tr>
<tr><td style="font-family: Arial; color: #333"><img src="https://x.example/one.png" alt="A leaf" width="300"></td></tr>
<tr><td id="offer" style="font-family: Arial; color: #333">
<!--[if mso]><v:roundrect href="https://x.example/buy?a=1&amp;b=2#top" fillcolor="#00f"><center>Buy now</center></v:roundrect><![endif]-->
<!--[if !mso]><!--><a class="button" href="https://x.example/buy?a=1&amp;b=2#top" style="background-color:#00f">Buy now</a><!--<![endif]-->
</td></tr>
<tr><td class="half"><a href="https://x.example/more">More</a> or <a href="https://x.example/less">less</a></td></tr></table>
</body></html>
"##;

const MJML: &str = r#"<mjml><mj-head><mj-attributes><mj-text color="black" /></mj-attributes><mj-style>.x { color: red }</mj-style></mj-head>
<mj-body><mj-section><mj-column><mj-text id="intro">Hello {{ name | default("you > me") }}</mj-text>
<mj-button href="https://x.example/a" background-color="blue">Buy now</mj-button></mj-column></mj-section>
<mj-section><mj-column><mj-image src="https://x.example/1.png" alt="One" /></mj-column></mj-section></mj-body></mjml>"#;

fn letter(format: BodyFormat, source: &str) -> Newsletter {
    Newsletter {
        subject: "News".to_owned(),
        preheader: String::new(),
        sender_name: "Lab".to_owned(),
        body: Body { format, source: source.to_owned() },
    }
}

fn compared(format: BodyFormat, sources: &[&str]) -> Comparison {
    let letters: Vec<Newsletter> = sources.iter().map(|source| letter(format, source)).collect();
    compare(&letters.iter().map(Letter::from).collect::<Vec<_>>()).unwrap()
}

fn words(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Same => Vec::new(),
        Outcome::One(element) => vec![element.to_string()],
        Outcome::Several(all) => all.iter().map(ToString::to_string).collect(),
    }
}

/// The replacements, each of all that match, change the letter; the comparison says so.
fn check_in(format: BodyFormat, source: &str, changes: &[(&str, &str)], expected: &[&str]) {
    let mut changed = source.to_owned();
    for (from, to) in changes {
        assert!(changed.contains(from), "{from} is in the letter");
        changed = changed.replace(from, to);
    }
    assert_ne!(changed, source);
    let outcome = compared(format, &[source, &changed]).outcome;
    assert_eq!(words(&outcome), expected, "{changes:?}");
    assert_eq!(matches!(outcome, Outcome::One(_)), expected.len() == 1, "{changes:?}");
    let back = compared(format, &[&changed, source]).outcome;
    assert_eq!(words(&back).len(), expected.len(), "the other way round: {changes:?}");
}

fn check(changes: &[(&str, &str)], expected: &[&str]) {
    check_in(BodyFormat::Html, LETTER, changes, expected);
}

#[test]
fn one_element_is_named_with_its_place_and_facet() {
    check(&[("Autumn news", "Winter news")], &["headline 'Autumn news' in section 1: text"]);
    check(&[("/more", "/much")], &["link 'More' in section 4: link"]);
    check(&[("one.png", "two.png")], &["picture 'A leaf' in section 2: picture"]);
    check(&[("A leaf", "A tree")], &["picture 'A leaf' in section 2: alternative text"]);
    check(&[("one.png", "two.png"), ("A leaf", "A tree")], &["picture 'A leaf' in section 2: picture"]);
    check(&[("color: #c00", "color: #0c0")], &["style rule 'h1': formatting (color)"]);
    check(&[("width: 100%", "width: 90%")], &["style rule '@media (max-width:600px) .half': formatting (width)"]);
    check(&[("width=\"600\"", "width=\"640\"")], &["table 'Autumn news Hello & welcome to a new se…': formatting (width)"]);
    check(&[(" or <a href=\"https://x.example/less\">less</a>", " or ")], &["link 'less' in section 4: presence"]);
    check(&[("<tr><td class=\"half\">", "<tr></tr><tr><td class=\"half\">")], &["table row in section 4: presence"]);
    check(&[("lang=\"en\"", "lang=\"de\"")], &["<html>: attribute (lang)"]);
}

#[test]
fn one_change_in_many_places_is_one() {
    check(
        &[("font-family: Arial", "font-family: Verdana")],
        &["table cell 'Autumn news Hello & welcome to a new se…' in section 1 and 2 more: formatting (font-family)"],
    );
    check(&[("Buy now", "Get it")], &["button 'Buy now' in section 3: text"]);
    check(&[("b=2#top", "b=3#top")], &["button 'Buy now' in section 3: link"]);
    check(&[("#top", "#end")], &["button 'Buy now' in section 3: link"]);
    check(
        &[("fillcolor=\"#00f\"", "fillcolor=\"#0f0\""), ("background-color:#00f", "background-color:#0f0")],
        &["button 'Buy now' in section 3 and 1 more: formatting (background-color)"],
    );
}

#[test]
fn several_elements_are_all_named() {
    check(&[("Autumn", "Winter"), ("More", "Much")], &["headline 'Autumn news' in section 1: text", "link 'More' in section 4: text"]);
    check(&[("/more", "/x"), ("/less", "/x")], &["link 'More' in section 4: link", "link 'less' in section 4: link"]);
    check(
        &[(">Buy now</a>", ">Get it</a>"), ("background-color:#00f", "background-color:#fff")],
        &["button 'Buy now' in section 3: text", "button 'Buy now' in section 3: formatting (background-color)"],
    );
    check(
        &[(">Buy now</a>", ">Get it</a>"), ("<center>Buy now", "<center>Other")],
        &["<center> 'Buy now' for Outlook in section 3: text", "button 'Buy now' in section 3: text"],
    );
    check(
        &[("color: #c00", "color: #0c0"), ("padding: 12px", "padding: 9px")],
        &["style rule 'h1': formatting (color)", "style rule '.button': formatting (padding)"],
    );
    let (one, two) = (letter(BodyFormat::Html, LETTER), letter(BodyFormat::Html, &LETTER.replace("Autumn", "Winter")));
    let two = Newsletter { subject: "Other".to_owned(), ..two };
    let outcome = compare(&[Letter::from(&one), Letter { newsletter: &two, reply_to: Some("a@b.example") }]).unwrap().outcome;
    assert_eq!(words(&outcome), ["subject", "reply-to address", "headline 'Autumn news' in section 1: text"]);
}

#[test]
fn what_nobody_could_notice_is_no_difference() {
    for (from, to) in [
        ("<!-- header -->", ""),
        ("<td class=\"half\">", "<TD CLASS='half'>"),
        ("&copy;", "©"),
        ("&amp; welcome", "&#38;\n  welcome"),
        ("width=\"600\" cellpadding=\"0\"", "cellpadding=0   width='600'"),
        ("{ color: #c00; margin: 0 }", "{color:#C00;/* red */margin:0;}"),
        ("style=\"background-color:#00f\"", "style=\"BACKGROUND-COLOR : #00F;\""),
        ("</tr>\n", "</tr>"),
        ("?a=1&amp;b=2", "?a=1&b=2"),
        ("<!DOCTYPE html>", "<!doctype HTML>"),
        ("width=\"300\">", "width=\"300\" />"),
        ("[if mso]>", "[if  mso]>"),
    ] {
        check(&[(from, to)], &[]);
    }
}

#[test]
fn what_somebody_could_notice_is_a_difference() {
    for (from, to) in [
        ("More</a> or", "More</a>or"),
        ("[if mso]", "[if gte mso 9]"),
        ("<!--[if !mso]><!-->", ""),
        ("</b>", ""),
        ("(max-width: 600px)", "(max-width: 601px)"),
        ("!important", ""),
        ("A leaf", ""),
        (" alt=\"A leaf\"", ""),
        ("<title>News", "<title>Old"),
        ("<b>new</b>", "<i>new</i>"),
        ("new</b> season", "new</b>\u{A0}season"),
        ("class=\"half\"", "class=\"Half\""),
        ("h1 { color: #c00; margin: 0 }", "h1 { margin: 0; color: #c00 }"),
        ("<!DOCTYPE html>", ""),
        ("center>Buy", "center>Bye"),
    ] {
        let changed = LETTER.replace(from, to);
        assert_ne!(changed, LETTER, "{from}");
        assert_ne!(compared(BodyFormat::Html, &[LETTER, &changed]).outcome, Outcome::Same, "{from} → {to}");
    }
}

#[test]
fn mjml_is_read_as_its_renderer_reads_it() {
    let check = |changes: &[(&str, &str)], expected: &[&str]| check_in(BodyFormat::Mjml, MJML, changes, expected);
    check(&[("Buy now", "Get it")], &["button 'Buy now' in section 1: text"]);
    check(&[("\"blue\"", "\"red\"")], &["button 'Buy now' in section 1: formatting (background-color)"]);
    check(&[("example/a", "example/b")], &["button 'Buy now' in section 1: link"]);
    check(&[("1.png", "2.png")], &["picture 'One' in section 2: picture"]);
    check(&[("color=\"black\"", "color=\"navy\"")], &["default style of <mj-text>: formatting (color)"]);
    check(&[("color: red", "color: blue")], &["style rule '.x': formatting (color)"]);
    check(&[("default(\"you > me\")", "default(\"all\")")], &["text 'Hello {{ name | default(\"you > me\") }}' in section 1: text"]);
    check(&[("alt=\"One\" />", "alt='One'></mj-image>")], &[]);
    check(&[("<mj-section>", "<mj-section >\n\n")], &[]);
}

#[test]
fn emphasis_belongs_to_the_words_it_is_in() {
    check(&[("a <b>new</b> season", "an old season")], &["paragraph 'Hello & welcome to a new season © 2026.' in section 1: text"]);
    check(&[("<b>new</b>", "new")], &["paragraph 'Hello & welcome to a new season © 2026.' in section 1: formatting (emphasis)"]);
}

#[test]
fn up_to_eight_letters_differ_in_the_same_element_or_in_several() {
    let b = LETTER.replace("Autumn news", "Winter news");
    let c = LETTER.replace("Autumn news", "Spring");
    let three = compared(BodyFormat::Html, &[LETTER, &b, &c]);
    let Outcome::One(element) = three.outcome else { panic!("{three:?}") };
    assert_eq!(element.values, ["Autumn news", "Winter news", "Spring"]);
    assert!(three.twins.is_empty());
    let other = LETTER.replace("More", "Much");
    assert!(matches!(compared(BodyFormat::Html, &[LETTER, &b, &other]).outcome, Outcome::Several(all) if all.len() == 2));
    assert_eq!(compared(BodyFormat::Html, &[LETTER, &b, &b.replace("</tr>", "</tr>\n")]).twins, [(1, 2)]);
    assert_eq!(compared(BodyFormat::Html, &[LETTER, LETTER, &b]).twins, [(0, 1)]);
}

#[test]
fn an_element_found_becomes_one_a_campaign_can_vary_where_it_gives_the_same_letter() {
    let check = |source: &str, changed: &str, expected: Option<(&str, Facet, &str)>| {
        let (one, two) = (letter(BodyFormat::Html, source), letter(BodyFormat::Html, changed));
        let found = as_element(&[Letter::from(&one), Letter::from(&two)]).unwrap();
        let expected =
            expected.map(|(name, facet, value)| (Element::Block { name: name.to_owned(), facet }, vec![None, Some(value.to_owned())]));
        assert_eq!(found, expected, "{changed}");
    };
    let source = "<p id=\"a\">One</p><a id=\"b\" href=\"https://x.example/1\" style=\"color: red\">Go</a><p>Two</p>";
    check(source, &source.replace("One", "Three"), Some(("a", Facet::Text, "Three")));
    check(source, &source.replace("/1", "/2"), Some(("b", Facet::Link, "https://x.example/2")));
    check(source, &source.replace("red", "blue"), Some(("b", Facet::Style, "color: blue")));
    check(source, &source.replace("style=\"color: red\"", ""), None);
    check(source, &source.replace("Two", "Three"), None);
    check(source, &source.replace("<p id=\"a\">One</p>", ""), None);
}

#[test]
fn finished_letters_are_equal_byte_for_byte_once_the_element_is_cut_out() {
    let changed = LETTER.replace("Autumn news", "Winter");
    let found = compare_finished(LETTER, &changed).unwrap();
    assert_eq!(found.differences.len(), 1);
    assert_eq!(found.masked.0, found.masked.1);
    let outcome = compared(BodyFormat::Html, &[LETTER, &changed]).outcome;
    assert!(outcome.explains(&found));
    let spilt = compare_finished(LETTER, &changed.replace("/more", "/much")).unwrap();
    assert!(!outcome.explains(&spilt));
    let spelt = compare_finished(LETTER, &changed.replace("&copy;", "©")).unwrap();
    assert!(outcome.explains(&spelt) && spelt.masked.0 != spelt.masked.1);
}

fn is_right(expected: Expected, outcome: &Outcome) -> bool {
    match (expected, outcome) {
        (Expected::Same, Outcome::Same) | (Expected::Several, Outcome::Several(_)) => true,
        (Expected::One(facet), Outcome::One(element)) => matches!(element.place, Place::Body(_)) && element.facet == facet,
        (Expected::OneLine, Outcome::One(element)) => !matches!(element.place, Place::Body(_) | Place::Format),
        _ => false,
    }
}

fn try_out(newsletter: &Newsletter, seed: u64) -> usize {
    let trials = trials(newsletter, &mut ChaCha12Rng::seed_from_u64(seed)).unwrap();
    for trial in &trials {
        let other = Letter { newsletter: &trial.newsletter, reply_to: trial.reply_to.as_deref() };
        let outcome = compare(&[Letter::from(newsletter), other]).unwrap().outcome;
        assert!(
            is_right(trial.expected, &outcome),
            "{}: {:?} expected, found {outcome:?}\n{}\n---\n{}",
            trial.name,
            trial.expected,
            newsletter.body.source,
            trial.newsletter.body.source
        );
    }
    trials.len()
}

#[test]
fn generated_edits_of_our_own_letters_are_all_judged_rightly() {
    for (format, source) in [(BodyFormat::Html, LETTER), (BodyFormat::Mjml, MJML)] {
        for seed in 0..20 {
            assert!(try_out(&letter(format, source), seed) > 25);
        }
    }
}

/// A part of a letter: a paragraph, a picture, a button, a table of two.
fn part() -> impl Strategy<Value = String> {
    let word = "[a-zé]{2,8}";
    let leaf = prop_oneof![
        (word, word).prop_map(|(one, two)| format!("<p style=\"font-family: Arial; color: #333\">{one} <b>{two}</b> &amp; more</p>")),
        (word, word).prop_map(|(name, alt)| format!("<img src=\"https://x.example/{name}.png\" alt=\"{alt}\" width=\"100\">")),
        (word, word).prop_map(|(path, text)| format!("<a href=\"https://x.example/{path}?a=1&amp;b=2\" class=\"button\">{text}</a>")),
        (word, word).prop_map(|(one, two)| format!("<h2>{one}</h2><!-- c --><ul><li>{two}</li><li>{one}</li></ul>")),
        word.prop_map(|text| format!(
            "<!--[if mso]><table><tr><td>{text}<![endif]--><div>{text}</div><!--[if mso]></td></tr></table><![endif]-->"
        )),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::vec(inner, 1..4).prop_map(|parts| {
            let cells: Vec<String> = parts.iter().map(|part| format!("<td style=\"font-family: Arial\">{part}</td>")).collect();
            format!("<table width=\"100%\"><tr>{}</tr></table>", cells.join("\n"))
        })
    })
}

/// Pairs that the property below tries at least; each of its letters brings a few dozen.
const LEAST_PAIRS: usize = 1_000;

#[test]
fn generated_edits_of_generated_letters_are_all_judged_rightly() {
    let pairs = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let letters = (prop::collection::vec(part(), 1..6), any::<u64>());
    let tried = proptest::test_runner::TestRunner::new(config).run(&letters, |(parts, seed)| {
        let source =
            format!("<html><head><style>p {{ margin: 0 }} a {{ color: red }}</style></head><body>{}</body></html>", parts.join("\n"));
        pairs.set(pairs.get() + try_out(&letter(BodyFormat::Html, &source), seed));
        Ok(())
    });
    tried.unwrap();
    assert!(pairs.get() >= LEAST_PAIRS, "{} pairs", pairs.get());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_at_all_is_compared_or_refused_and_is_like_itself(one in "[<>/a-c \"'=!\\-\\[\\]{};:&#]{0,200}", two in "[<>/a-c \"'=!\\-\\[\\]{};:&#]{0,200}") {
        let (a, b) = (letter(BodyFormat::Html, &one), letter(BodyFormat::Html, &two));
        if let Ok(same) = compare(&[Letter::from(&a), Letter::from(&a)]) {
            prop_assert_eq!(same.outcome, Outcome::Same);
        }
        if let (Ok(there), Ok(back)) = (compare(&[Letter::from(&a), Letter::from(&b)]), compare(&[Letter::from(&b), Letter::from(&a)])) {
            prop_assert_eq!(there.outcome == Outcome::Same, back.outcome == Outcome::Same);
            let (tree_a, tree_b) = (tree(&a.body).unwrap(), tree(&b.body).unwrap());
            prop_assert_eq!(there.outcome == Outcome::Same, tree_a.node(0).hash == tree_b.node(0).hash, "every difference of the trees is found");
        }
        let _ = compare_finished(&one, &two);
    }
}

#[test]
fn hostile_letters_are_refused_or_compared_without_harm() {
    // Every text is as long as a quarter of what is let in, so that the test ends soon without optimisation.
    let most = Body::MOST_BYTES / 4;
    let fill = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len());
    for piece in [
        "<div>",
        "<p>",
        "<b>",
        "</div>",
        "<li>",
        "<td>",
        "<a href=x>",
        "<!--[if mso]>",
        "<!--[if mso]><b><![endif]-->",
        "<",
        "&",
        "&#",
        "<p>x</p>",
        "<style>a{",
        "<style>@media x{",
        "<svg/>",
        "x <i>y</i> ",
        "<!--x-->y",
        "<a b='",
        "<style>/*</style>",
        "<br>t",
    ] {
        let (one, two) = (fill(piece, most), format!("y{}", fill(piece, most - 1)));
        let (one, two) = (letter(BodyFormat::Html, &one), letter(BodyFormat::Html, &two));
        // As much as is let in: an answer, whichever.
        let _ = compare(&[Letter::from(&one), Letter::from(&two)]);
    }
    let large = letter(BodyFormat::Html, &fill("<p>x</p>", 10 * 1024 * 1024));
    let small = letter(BodyFormat::Html, "x");
    assert!(matches!(compare(&[Letter::from(&large), Letter::from(&small)]), Err(ContentError::TooLarge { .. })));
    let deep = format!("{}x{}", "<div>".repeat(100_000), "</div>".repeat(100_000));
    assert!(compare_finished(&deep, "x").is_err());
    let deep = letter(BodyFormat::Mjml, &fill("<mj-section>", Body::MOST_BYTES));
    assert!(matches!(compare(&[Letter::from(&deep), Letter::from(&letter(BodyFormat::Mjml, MJML))]), Err(ContentError::Markup { .. })));
}
