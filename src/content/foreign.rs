//! Merge tags of other mail systems, rewritten as ours: Mailchimp `*|FNAME|*`, Liquid `{{ person.city | default: "x" }}`, and the Go
//! templates of listmonk `{{ .Subscriber.FirstName }}`.
//!
//! ```text
//! rewrite     finds each tag of a text, asks its language, keeps account     mailchimp, liquid, listmonk   one tag → ours, or why not
//! ```
//!
//! Cast: [`rewrite`], [`Rewriting`] (the text, what was rewritten, what could not be), [`Translation`] (of one tag).
//!
//! What is ours already, and everything between tags, stays byte for byte. Nothing is evaluated.

mod liquid;
mod listmonk;
mod mailchimp;

use serde::Serialize;

use super::markup;

/// A text with foreign tags rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Rewriting {
    /// The text, with our tags.
    pub text: String,
    /// What was rewritten, in order.
    pub rewritten: Vec<Rewritten>,
    /// What could not be and stays as it was, in order.
    pub left: Vec<Left>,
}

/// A tag that was rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Counted from 1.
    pub line: usize,
    /// As it was.
    pub from: String,
    /// As it is now; empty when it was taken away.
    pub to: String,
}

/// A tag that could not be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Counted from 1.
    pub line: usize,
    /// As it is.
    pub tag: String,
    /// Why, and what to do.
    pub why: String,
}

/// What becomes of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// It is no tag of that language.
    Ours,
    /// Prints something, or is taken away.
    Print(String),
    /// Opens a condition or loop: in our words, or why it cannot be.
    Open(Result<String, String>),
    /// Another branch of what is open.
    Turn(Result<String, String>),
    /// Closes what is open.
    Close,
    /// Cannot be rewritten.
    No(String),
}

/// What a branch or an end says when what it belongs to stays as it was.
const BELONGS: &str = "it belongs to a tag above that could not be rewritten";

/// Rewrites every foreign tag of a text.
pub fn rewrite(text: &str) -> Rewriting {
    let mut rewriting = Rewriting { text: String::with_capacity(text.len()), ..Rewriting::default() };
    // What is open: how its end is written, or none where it stays as it was.
    let mut open: Vec<Option<&'static str>> = Vec::new();
    let mut done = 0;
    let mut line = (1, 0);
    while let Some((start, end)) = next_tag(text, done) {
        let tag = text.get(start..end).unwrap_or_default();
        line = (line.0 + markup::line_of(text.get(line.1..start).unwrap_or_default(), usize::MAX) - 1, start);
        rewriting.text.push_str(text.get(done..start).unwrap_or_default());
        done = end;
        let outcome = match translate(tag) {
            Translation::Ours => {
                keep_account_of_ours(tag, &mut open);
                None
            }
            Translation::Print(to) => Some(Ok(to)),
            Translation::No(why) => Some(Err(why)),
            Translation::Open(Ok(to)) => {
                open.push(Some(if to.starts_with("{% for") { "{% endfor %}" } else { "{% endif %}" }));
                Some(Ok(to))
            }
            Translation::Open(Err(why)) => {
                open.push(None);
                Some(Err(why))
            }
            Translation::Turn(to) => match open.last() {
                Some(Some(_)) => Some(to),
                Some(None) => Some(Err(BELONGS.to_owned())),
                None => Some(Err("nothing is open that it could belong to".to_owned())),
            },
            Translation::Close => match open.pop() {
                Some(Some(end)) => Some(Ok(end.to_owned())),
                Some(None) => Some(Err(BELONGS.to_owned())),
                None => Some(Err("nothing is open that it could close".to_owned())),
            },
        };
        match outcome {
            // In our own words already: an `else` is spelt alike in several languages.
            Some(Ok(to)) if to == tag => rewriting.text.push_str(tag),
            Some(Ok(to)) => {
                rewriting.text.push_str(&to);
                rewriting.rewritten.push(Rewritten { line: line.0, from: tag.to_owned(), to });
            }
            Some(Err(why)) => {
                rewriting.text.push_str(tag);
                rewriting.left.push(Left { line: line.0, tag: tag.to_owned(), why });
            }
            None => rewriting.text.push_str(tag),
        }
    }
    rewriting.text.push_str(text.get(done..).unwrap_or_default());
    rewriting
}

fn translate(tag: &str) -> Translation {
    if let Some(inner) = tag.strip_prefix("*|").and_then(|rest| rest.strip_suffix("|*")) {
        return mailchimp::translate(inner);
    }
    if tag == listmonk::TRACKED {
        return Translation::Print(String::new());
    }
    // An editor may have written quotes as entities.
    let decoded = markup::decode(tag);
    let block = decoded.starts_with("{%");
    let Some(inner) = decoded.get(2..decoded.len().saturating_sub(2)) else { return Translation::Ours };
    let inner = inner.trim_matches(['-', ' ', '\n', '\r', '\t']);
    if block {
        return liquid::block(inner);
    }
    match listmonk::translate(inner) {
        Translation::Ours => liquid::print(inner),
        other => other,
    }
}

/// Our own conditions and loops, so that ends and branches find what they belong to.
fn keep_account_of_ours(tag: &str, open: &mut Vec<Option<&'static str>>) {
    let word = tag.trim_start_matches(['{', '%', '-', ' ']).split(|found: char| !found.is_alphanumeric()).next().unwrap_or_default();
    match word {
        _ if !tag.starts_with("{%") => {}
        "if" => open.push(Some("{% endif %}")),
        "for" => open.push(Some("{% endfor %}")),
        "endif" | "endfor" => drop(open.pop()),
        _ => {}
    }
}

/// The next tag from a byte on: where it starts and ends.
fn next_tag(text: &str, from: usize) -> Option<(usize, usize)> {
    const OPENINGS: [(&str, &str); 4] = [("*|", "|*"), ("{{", "}}"), ("{%", "%}"), (listmonk::TRACKED, "")];
    let mut at = from;
    loop {
        let rest = text.get(at..)?;
        let (offset, opening, closing) = OPENINGS
            .iter()
            .filter_map(|(opening, closing)| Some((rest.find(opening)?, *opening, *closing)))
            .min_by_key(|(offset, ..)| *offset)?;
        let start = at + offset;
        let inner = start + opening.len();
        let length = text.get(inner..)?.find(closing);
        // A Mailchimp tag has no line breaks and is short; anything else is text.
        let whole = length.filter(|length| {
            opening != "*|" || ((1..=80).contains(length) && !text.get(inner..inner + length).is_some_and(|inside| inside.contains('\n')))
        });
        match whole {
            Some(length) => return Some((start, inner + length + closing.len())),
            None => at = inner,
        }
    }
}

/// A field's name as ours are written: lower case, words joined by underscores.
fn field(name: &str) -> Option<String> {
    let mut field = String::with_capacity(name.len() + 2);
    let mut after_small = false;
    for letter in name.trim().chars() {
        match letter {
            _ if letter.is_alphanumeric() => {
                if letter.is_uppercase() && after_small {
                    field.push('_');
                }
                after_small = letter.is_lowercase() || letter.is_ascii_digit();
                field.extend(letter.to_lowercase());
            }
            '_' | '-' | ' ' => {
                field.push('_');
                after_small = false;
            }
            _ => return None,
        }
    }
    field.chars().next().is_some_and(|first| first.is_alphabetic()).then_some(field)
}

/// A value in straight double quotes.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Words of a tag between white space; quoted text is one word, quotes included.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(open) => {
                word.push(letter);
                if letter == open {
                    quote = None;
                }
            }
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            None => {
                if matches!(letter, '"' | '\'') {
                    quote = Some(letter);
                }
                word.push(letter);
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Pieces between `separator` outside quotes, trimmed.
fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None if letter == separator => {
                pieces.push(text.get(start..at).unwrap_or_default().trim());
                start = at + separator.len_utf8();
            }
            None => {}
        }
    }
    pieces.push(text.get(start..).unwrap_or_default().trim());
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::merge::Marks;
    use super::super::newsletter::Part;
    use super::*;

    /// The text expected, or the reason expected for the one tag left.
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = rewrite(text);
        match expected {
            Ok(expected) => {
                assert_eq!((found.text.as_str(), &found.left), (expected, &Vec::new()), "{text}");
                let mut marks = Marks::for_texts(&[expected]);
                marks.mask(Part::Body, expected, true).unwrap_or_else(|error| panic!("{text} → {expected}: {error}"));
            }
            Err(why) => {
                assert_eq!(found.text, text);
                assert!(found.left.iter().any(|left| left.why.contains(why)), "{text}: {:?}", found.left);
            }
        }
    }

    #[test]
    fn mailchimp_tags_become_ours() {
        check("Hi *|FNAME|*, *|LNAME|* *|FAVORITE_COLOR|*", Ok("Hi {{ first_name }}, {{ last_name }} {{ favorite_color }}"));
        check("<a href=\"*|UNSUB|*\">x</a>", Ok("<a href=\"{{ unsubscribe_url }}\">x</a>"));
        check("*|TITLE:FNAME|* *|UPPER:CITY|*", Ok("{{ first_name | title }} {{ city | upper }}"));
        check(
            "*|IF:PLAN=gold|*a*|ELSEIF:PLAN|*b*|ELSE:|*c*|END:IF|*",
            Ok("{% if plan == \"gold\" %}a{% elif plan %}b{% else %}c{% endif %}"),
        );
        check("*|IFNOT:FNAME|*a*|END:IF|*", Ok("{% if not first_name %}a{% endif %}"));
        check("*|EMAIL|*", Err("address"));
        check("*|IF:AGE > 3|*a*|ELSE:|*b*|END:IF|*", Err("numbers"));
        check("*|INTERESTED:Hobby:Golf|*a*|END:INTERESTED|*", Err("groups"));
        check("*|CURRENT_YEAR|*", Err("write"));
        assert_eq!(rewrite("a *|\n|* b").text, "a *|\n|* b");
    }

    #[test]
    fn liquid_tags_become_ours() {
        check("Hi {{ person.first_name | default: 'there' }}", Ok("Hi {{ first_name | default(\"there\") }}"));
        check("{{ subscriber.city|upcase|truncate: 20 }}", Ok("{{ city | upper | truncate(20) }}"));
        check("{{ first_name | capitalize }}", Ok("{{ first_name | title }}"));
        check(
            "{% if customer.plan == 'gold' and customer.city != blank %}a{% elsif x %}b{% endif %}",
            Ok("{% if plan == \"gold\" and city %}a{% elif x %}b{% endif %}"),
        );
        check("{% unless vip %}a{% else %}b{% endunless %}", Ok("{% if not vip %}a{% else %}b{% endif %}"));
        check("{% if x == nil %}a{% endif %}", Ok("{% if not x %}a{% endif %}"));
        check("{{ unsubscribe_url }} {{ unsubscribe_link }}", Ok("{{ unsubscribe_url }} {{ unsubscribe_url }}"));
        check("{% assign x = 1 %}", Err("assign"));
        check("{{ person.name | split: ' ' }}", Err("split"));
        check("{{ event.items[0].title }}", Err("person"));
        check("{% if tags contains 'x' %}a{% else %}b{% endif %}", Err("contains"));
        check("{% for item in cart.items %}a{% endfor %}", Err("loop"));
        check("{{ person.email }}", Err("address"));
    }

    #[test]
    fn listmonk_tags_become_ours() {
        check("Hi {{ .Subscriber.FirstName }} {{.Subscriber.Attribs.homeTown}}", Ok("Hi {{ first_name }} {{ home_town }}"));
        check(
            "<a href=\"{{ UnsubscribeURL }}\"><a href=\"https://a.example/?x=1@TrackLink\">",
            Ok("<a href=\"{{ unsubscribe_url }}\"><a href=\"https://a.example/?x=1\">"),
        );
        check("{{ TrackLink \"https://a.example/\" . }}{{ TrackView }}", Ok("https://a.example/"));
        check(
            "{{ if eq .Subscriber.Attribs.city \"Bern\" }}a{{ else if .Subscriber.Attribs.x }}b{{ else }}c{{ end }}",
            Ok("{% if city == \"Bern\" %}a{% elif x %}b{% else %}c{% endif %}"),
        );
        check("{{ .Subscriber.FirstName | default \"you\" | upper }}", Ok("{{ first_name | default(\"you\") | upper }}"));
        check("{{ .Subscriber.Email }}", Err("address"));
        check("{{ range .Subscriber.Lists }}a{{ else }}b{{ end }}", Err("loop"));
        check("{{ .Campaign.Subject }}", Err("campaign"));
        check("{{ MessageURL }}", Err("not available"));
    }

    #[test]
    fn what_is_ours_stays_and_lines_are_told() {
        let ours =
            "{% if a %}{{ b | default(\"x: y\") | upper }}{% else %}{{ c }}{% endif %}{% for s in [\"a\"] %}{{ s }}{% endfor %}{# note #}";
        assert_eq!(rewrite(ours), Rewriting { text: ours.to_owned(), ..Rewriting::default() });
        let found = rewrite("a\n*|FNAME|*\n\n*|EMAIL|*");
        assert_eq!((found.rewritten[0].line, found.left[0].line), (2, 4));
        for text in ["{{", "*|", "{% if", "|*", "{{}}", "{%%}", "*||*", "{{ }}", "{% %}", "ä{{ é }}", "{{-}}"] {
            assert_eq!(rewrite(text).text, text);
        }
    }
}
