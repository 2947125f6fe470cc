//! Campaign files with one thing wrong, or otherwise than usual.

use super::*;

fn check(change: (&str, &str), expected: &[(&str, Option<usize>, &str)]) {
    let text = template().replace(change.0, change.1);
    assert!(change.0 == change.1 || text != template(), "the change {change:?} applies");
    let problems = match read(&text, &|_| Ok("Hello".to_owned())) {
        Ok(definition) => with_lines(&text, definition.problems(None)),
        Err(problems) => problems,
    };
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
    check(("list = ", "lists = "), &[("", line_of("list"), "unknown field `lists`")]);
    check(("significance = 0.05", "significance = \"high\""), &[("", line_of("significance"), "invalid type")]);
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
    check(("margin = 0.005", "size = 0.005"), &[("", line_of("guards.unsubscribe"), "unknown field `size`")]);
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

#[test]
fn broken_toml_is_refused_with_its_line() {
    check(("name = \"", "name = "), &[("", line_of("name"), "")]);
}
