//! Campaign files with one thing wrong, or otherwise than usual.

use super::*;

fn check(change: (&str, &str), expected: &[(&str, Option<usize>, &str)]) {
    let text = template().replace(change.0, change.1);
    assert!(change.0 == change.1 || text != template(), "the change {change:?} applies");
    expect(&text, expected);
}

/// All that is wrong with a text, in order.
fn expect(text: &str, expected: &[(&str, Option<usize>, &str)]) {
    let reading = parse(text, &|_| Ok("Hello".to_owned()));
    let found = reading.definition.as_ref().map(|definition| definition.problems(None)).unwrap_or_default();
    let problems = reading.all_problems(text, found);
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, (key, line, words)) in problems.iter().zip(expected) {
        assert_eq!(problem.key, *key, "{problem}");
        if line.is_some() {
            assert_eq!(problem.line, *line, "{problem}");
        }
        assert!(problem.message.contains(words), "{problem}");
    }
}

fn line_of(words: &str) -> Option<usize> {
    template().lines().position(|line| line.starts_with(words)).map(|index| index + 1)
}

#[test]
fn the_template_itself_is_a_good_campaign() {
    check(("", ""), &[]);
}

#[test]
fn faults_name_key_and_line() {
    check(("share = 1.0", "share = 1.5"), &[("test.share", line_of("share"), "at most 1")]);
    check(("metric = \"click\"", "metric = \"sales\""), &[("test.metric", line_of("metric"), "open or click")]);
    check(("element = \"subject\"", "element = \"links\""), &[("test.element", line_of("element"), "sender_name")]);
    check(("element = \"subject\"", "element = \"link\""), &[("test.block", line_of("element"), "block = ")]);
    check(("list = ", "lists = "), &[("lists", line_of("list"), "did you mean `list`?")]);
    check(
        ("significance = 0.05", "significance = \"high\""),
        &[("test.significance", line_of("significance"), "the text \"high\"; write a number from")],
    );
    check(("recording = \"pseudonymous\"", "recording = \"all\""), &[("recording", line_of("recording"), "aggregate")]);
}

#[test]
fn faults_of_method_guards_and_hold_out_name_key_and_line() {
    check(("method = \"fixed\"", "method = \"bayes\""), &[("test.method", line_of("method"), "fixed")]);
    check(("holdout = 0.0", "holdout = 0.1"), &[("test.holdout", line_of("holdout"), "together with the test share")]);
    check(("planned_lift = 0.2", "planned_lift = 20.0"), &[("test.planned_lift", line_of("planned_lift"), "a fifth more")]);
    check(("secondary = [\"open\"]", "secondary = [\"sales\"]"), &[("test.secondary", line_of("secondary"), "open or click")]);
    check(("secondary = [\"open\"]", "secondary = [\"click\"]"), &[("test.secondary", line_of("secondary"), "named twice")]);
    check(("margin = 0.005", "margin = 5.0"), &[("test.guards", line_of("guards.unsubscribe"), "half a percentage point")]);
    check(("margin = 0.005", "size = 0.005"), &[("test.guards.unsubscribe.size", line_of("guards.unsubscribe"), "margin, level, off")]);
}

#[test]
fn a_guard_may_be_moved_and_taken_away() {
    let text = template().replace("{ margin = 0.005 }", "{ margin = 0.02 }\nguards.complaint = { off = true }");
    let guards = read(&text, &|_| Ok(String::new())).unwrap().design.guards;
    let [bounce, unsubscribe, _] = Limit::USUAL;
    assert_eq!(guards, vec![bounce, Limit { margin: 0.02, ..unsubscribe }]);
}

#[test]
fn the_same_letter_in_every_arm_is_asked_for_by_name() {
    let same = template().replace("value = \"Three changes, two minutes\"\n", "");
    let problems = |text: &str| read(text, &|_| Ok(String::new())).unwrap().problems(None).len();
    assert_ne!(problems(&same), 0);
    assert_eq!(problems(&same.replace("same_letters = false", "same_letters = true")), 0);
    assert_ne!(problems(&template().replace("same_letters = false", "same_letters = true")), 0);
}

/// The template with whole letters: these lines for the second variant, and its body read from a file.
fn whole(variant: &str, keep_element: bool) -> String {
    let lines = template().lines().filter(|line| keep_element || !line.starts_with("element"));
    lines.map(|line| if line.starts_with("value") { variant } else { line }).collect::<Vec<_>>().join("\n")
}

fn with_words(from: &'static str, to: &'static str) -> impl Fn(&str) -> Result<String, String> {
    let source = read(template(), &|_| Ok(String::new())).unwrap().newsletter.body.source;
    move |_| Ok(source.replace(from, to))
}

#[test]
fn whole_letters_are_compared_and_the_one_element_is_adopted() {
    let subject = read(&whole("subject = \"Other\"", false), &|_| Ok(String::new())).unwrap();
    assert_eq!((subject.element, subject.variants[1].value.as_deref()), (Element::Subject, Some("Other")));
    assert!(subject.variants[1].letter.is_none());

    let body = read(&whole("file = \"b.md\"", false), &with_words("three things", "some things")).unwrap();
    let Element::Found(place) = &body.element else { panic!("{:?}", body.element) };
    assert!(place.starts_with("paragraph 'three things changed") && place.ends_with(": text"), "{place}");
    assert_eq!(body.problems(None), []);
    let arms = body.arms().unwrap();
    assert!(arms[0].newsletter.body.source.contains("three things") && arms[1].newsletter.body.source.contains("some things"));
    assert!(body.shown_values()[0].starts_with("three things") && body.shown_values()[1].starts_with("some things"));
}

#[test]
fn whole_letters_that_differ_in_more_or_less_than_one_element_are_refused() {
    let problems = |text: &str, load: &dyn Fn(&str) -> Result<String, String>| -> Vec<(String, bool)> {
        read(text, load).unwrap_err().into_iter().map(|problem| (problem.message, problem.line.is_some())).collect()
    };
    let several = problems(&whole("subject = \"Other\"\nfile = \"b.md\"", false), &with_words("three things", "some things"));
    assert_eq!(several.len(), 2);
    assert!(several.iter().all(|(message, line)| message.contains("letter B differs from letter A in more than one element") && *line));
    assert!(several[0].0.contains("subject") && several[1].0.contains("paragraph 'three things"));
    let same = problems(&whole("file = \"b.md\"", false), &with_words("changed this", "changed  this"));
    assert!(same[0].0.contains("in nothing a reader"), "{same:?}");
    let named = problems(&whole("subject = \"Other\"", true), &|_| Ok(String::new()));
    assert!(named[0].0.contains("is found"), "{named:?}");
    let both = problems(&whole("subject = \"Other\"\nvalue = \"x\"", false), &|_| Ok(String::new()));
    assert!(both[0].0.contains("not both"), "{both:?}");
    let neither = problems(&whole("value = \"Other\"", false), &|_| Ok(String::new()));
    assert!(neither[0].0.contains("say what varies"), "{neither:?}");
}

/// The template with every change made.
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(template().to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn every_fault_of_a_file_is_told_at_once_with_line_key_and_what_to_write() {
    let text = changed(&[
        ("list = \"customers\"", "lists = \"customers\""),
        ("trap_link = false", "trap_link = \"no\""),
        ("address = ", "adress = "),
        ("subject = \"What", "recording = \"off\"\nsubject = \"What"),
        ("metric = \"click\"", "metric = \"sales\""),
        ("share = 1.0", "share = 1.5"),
        ("observe_hours = 72", "observe_hours = -3"),
        ("secondary = [\"open\"]", "secondary = [\"open\", 5]"),
        ("margin = 0.005", "margin = \"small\""),
        ("weight = 1", "weight = 1.5"),
    ]);
    let line = |words: &str| text.lines().position(|line| line.starts_with(words)).map(|index| index + 1);
    expect(
        &text,
        &[
            ("lists", line("lists"), "there is no such key at the top of the file; did you mean `list`?"),
            ("trap_link", line("trap_link"), "this is the text \"no\"; write true or false, without quotes"),
            ("sender.adress", line("adress"), "there is no such key under [sender]; did you mean `address`?"),
            ("letter.recording", line("recording = \"off\""), "under [letter]; it belongs at the top of the file"),
            ("test.metric", line("metric"), "write open or click"),
            ("test.share", line("share"), "at most 1"),
            ("test.observe_hours", line("observe_hours"), "this is the number -3; write a whole number from 1 to 2160"),
            ("test.secondary", line("secondary"), "this is a list that holds the number 5; write a list of texts"),
            ("test.guards.unsubscribe.margin", line("guards.unsubscribe"), "this is the text \"small\"; write a number above 0"),
            ("variants[0].weight", line("weight"), "this is the number 1.5; write a whole number from 1 to 100"),
        ],
    );
}

#[test]
fn what_is_missing_is_told_once_and_nothing_follows_from_a_stand_in() {
    expect(
        "",
        &[
            ("name", None, "this is missing at the top of the file"),
            ("list", None, "write the name of a list"),
            ("sender", None, "this is missing; write a line [sender]"),
            ("letter", None, "write a line [letter]"),
            ("test", None, "write a line [test]"),
            ("variants", None, "2 to 8 variants"),
        ],
    );
    let bodiless = "name = \"a\"\nlist = \"l\"\n[sender]\nname = \"L\"\naddress = \"a@b.example\"\n[letter]\nformat = \"html\"\n[test]\n";
    expect(
        &format!("{bodiless}element = \"subject\"\n[[variants]]\n[[variants]]\nvalue = 2026-11-22T10:00:00Z\n"),
        &[
            ("letter.subject", Some(6), "this is missing under [letter]; write a text in quotes"),
            ("letter.text", Some(6), "the letter needs a body"),
            ("variants[1].value", Some(12), "this is the moment 2026-11-22T10:00:00Z without quotes; write the element's value in quotes"),
        ],
    );
    let sections = changed(&[("[test]", "[tests]"), ("[[variants]]", "[[variant]]"), ("[[variants]]", "[[variant]]")]);
    expect(&sections, &[("tests", None, "did you mean `test`?"), ("variant", None, "did you mean `variants`?")]);
    check(("guards.unsubscribe = ", "unsubscribe = "), &[("test.unsubscribe", line_of("guards"), "it belongs under [test.guards]")]);
    // What stands beside a misspelt key under its right name is judged all the same.
    let twice = changed(&[("[test]", "[tests]\n[test]"), ("share = 1.0", "share = 1.5")]);
    expect(&twice, &[("tests", None, "there is no such table; `test` is there already"), ("test.share", None, "at most 1")]);
}

#[test]
fn every_key_there_is_can_be_written() {
    let text = changed(&[
        ("# reply_to", "reply_to"),
        ("# language", "language"),
        ("# images", "images"),
        ("# [links]", "[links]"),
        ("# utm_source", "utm_source"),
        ("# utm_medium", "utm_medium"),
        ("# utm_campaign", "utm_campaign"),
        ("# block", "block"),
        ("observe_hours = 72", "observe_hours = 0x48"),
        ("share = 1.0", "share = 1"),
        ("{ margin = 0.005 }", "{ margin = 0.005, level = 5e-2 }\nguards.bounce = { off = true }\nguards.complaint = { off = false }"),
    ]);
    expect(&text, &[]);
    let whole = "file = \"b.md\"\nformat = \"markdown\"\nsubject = \"S\"\npreheader = \"P\"\nsender_name = \"N\"";
    assert!(
        read(&format!("{}{whole}\ntext = \"T\"", template()), &|_| Ok(String::new())).is_err_and(|found| {
            found.iter().all(|problem| !problem.message.contains("TOML") && !problem.message.contains("no such key"))
        })
    );
}

#[test]
fn a_word_that_is_none_hides_no_other_fault() {
    let text = changed(&[("metric = \"click\"", "metric = \"sales\""), ("element = \"subject\"", "element = \"subjekt\"")]);
    let text = text.replace("(https://example.org/first)", "(https://example.org/first) {{ first_name | shout }}");
    let line = |words: &str| text.lines().position(|line| line.starts_with(words)).map(|index| index + 1);
    expect(
        &text,
        &[
            ("letter.text", line("text = "), "shout"),
            ("test.element", line("element"), "sender_name"),
            ("test.metric", line("metric"), "open or click"),
        ],
    );
}

#[test]
fn a_letter_that_nobody_can_read_or_click_is_refused() {
    let letter = |body: &str| {
        let (before, rest) = template().split_once("text = \"\"\"").unwrap();
        format!("{before}text = \"\"\"{body}{}", rest.split_once("\"\"\"").map(|(_, after)| format!("\"\"\"{after}")).unwrap())
    };
    let opens = |text: &str| text.replace("metric = \"click\"", "metric = \"open\"").replace("secondary = [\"open\"]", "secondary = []");
    expect(&letter("Hello"), &[("letter.text", line_of("text = "), "the letter has no link whose clicks can be counted")]);
    expect(&opens(&letter("Hello")), &[]);
    for empty in ["", " \n\n", "<p> </p>"] {
        expect(&letter(empty), &[("letter.text", line_of("text = "), "the letter is empty")]);
        expect(&opens(&letter(empty)), &[("letter.text", line_of("text = "), "the letter is empty")]);
    }
    expect(&opens(&letter("![](https://example.org/a.png)")), &[]);
    let without = letter("Look [here](https://example.org/)")
        .replace("element = \"subject\"", "element = \"presence\"\nblock = \"a\"")
        .replace("value = \"Three changes, two minutes\"", "value = \"absent\"");
    expect(&without, &[("variants[1].value", None, "the letter of variant B has no link")]);
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    check(("name = \"", "name = "), &[("", line_of("name"), "write each line as key = value")]);
    expect(&template().replace("letter)\n\"\"\"", "letter)\n"), &[("", None, "close it with \"\"\"")]);
    check(("share = 1.0", "metric = 1.0"), &[("", line_of("share"), "keep one of the two")]);
}

#[test]
fn of_very_many_faults_the_first_are_told() {
    let long = "k".repeat(1_000_000);
    let text = format!("{}{long} = 1\n", (0..100_000).map(|number| format!("unknown{number} = 1\n")).collect::<String>());
    let problems = read(&text, &|_| Ok(String::new())).unwrap_err();
    assert_eq!(problems.len(), MOST_TOLD + 1);
    assert!(problems.last().unwrap().message.contains("more faults"), "{problems:?}");
    let problems = read(&format!("{long} = 1\n"), &|_| Ok(String::new())).unwrap_err();
    assert!(problems.iter().all(|problem| problem.to_string().len() < 400), "a key is shown in part");
}
