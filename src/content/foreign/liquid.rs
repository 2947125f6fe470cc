//! Liquid, as Klaviyo, Braze, Customer.io and others write it: `{{ person.city | default: "x" }}`, `{% unless vip %}`.

use super::super::syntax::FILTERS;
use super::{Translation, field, quoted, split_outside_quotes, words};

/// Names that other systems put before a person's fields.
const PERSONS: [&str; 9] = ["person", "subscriber", "customer", "contact", "user", "profile", "recipient", "custom_attribute", "lead"];
const RENAMED: [(&str, &str); 6] = [
    ("upcase", "upper"),
    ("downcase", "lower"),
    ("capitalize", "title"),
    ("strip", "trim"),
    ("url_encode", "urlencode"),
    ("escape_once", "escape"),
];

/// What stands between `{{` and `}}`.
pub fn print(inner: &str) -> Translation {
    let pieces = split_outside_quotes(inner, '|');
    let Some((head, filters)) = pieces.split_first() else { return Translation::Ours };
    let is_ours = |filter: &&str| {
        let name = filter.split(['(', ' ']).next().unwrap_or_default();
        FILTERS.contains(&name) && !filter.contains(':') || filter.contains('(')
    };
    if head.starts_with("loop.") {
        return Translation::Ours;
    }
    let renamed = ["unsubscribe_link", "unsubscribe", "unsubscribe_href"].contains(head);
    if !head.contains(['.', '[']) && !renamed && filters.iter().all(is_ours) {
        return Translation::Ours;
    }
    if filters.iter().any(|filter| filter.contains('(')) && !head.contains('.') {
        return Translation::Ours;
    }
    let mut printed = match value(head) {
        Ok(value) => value,
        Err(why) => return Translation::No(why),
    };
    for filter in filters {
        match self::filter(filter) {
            Ok(filter) => printed.push_str(&format!(" | {filter}")),
            Err(why) => return Translation::No(why),
        }
    }
    Translation::Print(format!("{{{{ {printed} }}}}"))
}

fn filter(written: &str) -> Result<String, String> {
    let (name, argument) = written.split_once(':').unwrap_or((written, ""));
    let (name, argument) = (name.trim(), argument.trim());
    if written.contains('(') {
        return Ok(written.to_owned());
    }
    let ours = RENAMED.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| *ours);
    if !FILTERS.contains(&ours) {
        return Err(format!("there is no filter `{name}`; there are: {}", FILTERS.join(", ")));
    }
    match argument {
        "" => Ok(ours.to_owned()),
        _ if argument.contains(',') && !argument.starts_with(['"', '\'']) => Err(format!("`{name}` takes one argument here")),
        _ => Ok(format!("{ours}({})", value(argument)?)),
    }
}

/// A literal or a field.
fn value(written: &str) -> Result<String, String> {
    let text = written.trim();
    if text.len() >= 2 && (text.starts_with('"') && text.ends_with('"') || text.starts_with('\'') && text.ends_with('\'')) {
        return Ok(quoted(text.get(1..text.len() - 1).unwrap_or_default()));
    }
    if text.parse::<f64>().is_ok() || text == "true" || text == "false" {
        return Ok(text.to_owned());
    }
    let path: Vec<&str> = text.split('.').collect();
    let name = match path.as_slice() {
        [name] => *name,
        [first, name] if PERSONS.contains(first) => *name,
        [first, "attributes" | "custom_attributes" | "properties", name] if PERSONS.contains(first) => *name,
        _ => return Err(format!("`{text}` is not available: letters know the fields of the person only, by one plain name")),
    };
    match name {
        "unsubscribe_link" | "unsubscribe" | "unsubscribe_href" | "unsubscribe_url" => Ok("unsubscribe_url".to_owned()),
        "email" | "email_address" => {
            Err("a person's address is not available in letters; import it as a column of its own if it must be shown".to_owned())
        }
        _ => field(name).ok_or_else(|| format!("`{text}` is not available: letters know the fields of the person only, by one plain name")),
    }
}

/// What stands between `{%` and `%}`.
pub fn block(inner: &str) -> Translation {
    let (word, rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    match word {
        "if" if is_our_condition(rest) => Translation::Ours,
        "if" => Translation::Open(condition(rest).map(|condition| format!("{{% if {condition} %}}"))),
        "unless" => Translation::Open(condition(rest).map(|condition| {
            let several = condition.contains(" and ") || condition.contains(" or ") || condition.contains(' ');
            if several { format!("{{% if not ({condition}) %}}") } else { format!("{{% if not {condition} %}}") }
        })),
        "elsif" | "elif" => Translation::Turn(condition(rest).map(|condition| format!("{{% elif {condition} %}}"))),
        "else" => Translation::Turn(Ok("{% else %}".to_owned())),
        "for" if rest.contains('[') => Translation::Ours,
        "for" => Translation::Open(Err("a loop runs over a written-out list: {% for size in [\"S\", \"M\"] %}".to_owned())),
        "case" => Translation::Open(Err("`case` is not available; write {% if … %} and {% elif … %}".to_owned())),
        "when" => Translation::Turn(Err("`when` is not available; write {% elif … %}".to_owned())),
        "capture" | "comment" | "tablerow" | "schema" => Translation::Open(Err(format!("`{word}` is not available; take it out"))),
        "endif" | "endfor" | "endunless" | "endcase" | "endcapture" | "endcomment" | "endtablerow" | "endschema" => Translation::Close,
        "assign" | "increment" | "decrement" | "include" | "render" | "cycle" | "break" | "continue" | "connected_content" | "layout" => {
            Translation::No(format!("`{word}` is not available; take it out"))
        }
        "unsubscribe" => Translation::Print("<a href=\"{{ unsubscribe_url }}\">Unsubscribe</a>".to_owned()),
        _ => Translation::Ours,
    }
}

/// Whether a condition is one of ours as it stands.
fn is_our_condition(condition: &str) -> bool {
    let foreign = |word: &String| {
        ["contains", "blank", "nil", "null", "empty"].contains(&word.as_str())
            || (!word.starts_with(['"', '\'']) && word.contains('.') && word.parse::<f64>().is_err())
    };
    !words(condition).iter().any(foreign)
}

fn condition(written: &str) -> Result<String, String> {
    const ABSENT: [&str; 4] = ["blank", "nil", "null", "empty"];
    let words = words(written);
    let mut translated: Vec<String> = Vec::new();
    let mut rest = words.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match (first.as_str(), after) {
            ("and" | "or" | "not", _) => {
                translated.push(first.clone());
                rest = after;
            }
            (_, [operator, ..]) if operator == "contains" => {
                return Err("`contains` is not available; compare whole values with ==".to_owned());
            }
            (left, [operator, right, more @ ..]) if ["==", "!=", "<>", "<", ">", "<=", ">="].contains(&operator.as_str()) => {
                let left = value(left)?;
                let operator = if operator == "<>" { "!=" } else { operator };
                translated.push(match (operator, ABSENT.contains(&right.as_str()) || right == "\"\"" || right == "''") {
                    ("!=", true) => left,
                    ("==", true) => format!("not {left}"),
                    ("==" | "!=", false) => format!("{left} {operator} {}", value(right)?),
                    _ => return Err("numbers cannot be compared in letters; compare whole values with ==".to_owned()),
                });
                rest = more;
            }
            (field, _) => {
                translated.push(value(field)?);
                rest = after;
            }
        }
    }
    if translated.is_empty() { Err("the condition is missing".to_owned()) } else { Ok(translated.join(" ")) }
}
