//! Style text read into rules and declarations.
//!
//! Cast: [`Rule`], [`Declaration`]; [`rules`] reads a style sheet, [`declarations`] a style attribute.
//!
//! It judges nothing and never fails: what is no rule is kept as written, so that two texts read alike only when they say the same.

use super::spelling::{collapsed, css_prelude, css_value};

/// `property: value`, both in one spelling. What is no declaration is a property without value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Declaration {
    /// Lower case.
    pub property: String,
    /// In one spelling.
    pub value: String,
}

/// At-rules inside one another; what lies deeper is compared as it is written.
const DEEPEST: usize = 8;

/// One rule of a style sheet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The at-rules around it, such as `@media (max-width:600px)`, the outermost first.
    pub context: Vec<String>,
    /// Its selector, or the at-rule it is.
    pub selector: String,
    /// In order: later ones win.
    pub declarations: Vec<Declaration>,
}

impl Rule {
    /// The rule's name for people.
    pub fn name(&self) -> String {
        let mut name = self.context.join(" ");
        if !name.is_empty() {
            name.push(' ');
        }
        name + &self.selector
    }
}

/// The declarations of a style attribute or a rule's body.
pub fn declarations(text: &str) -> Vec<Declaration> {
    let text = without_comments(text);
    pieces(&text).into_iter().map(declaration).collect()
}

fn declaration(piece: &str) -> Declaration {
    match piece.split_once(':') {
        Some((property, value)) => {
            let property = property.trim();
            let property = if property.starts_with("--") { property.to_owned() } else { property.to_ascii_lowercase() };
            Declaration { property, value: css_value(value) }
        }
        None => Declaration { property: collapsed(piece), value: String::new() },
    }
}

/// What stands between semicolons outside strings and brackets, trimmed and not empty.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut brackets, mut quote) = (0, 0_usize, None);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '(' | '{') => brackets += 1,
            (None, ')' | '}') => brackets = brackets.saturating_sub(1),
            (None, ';') if brackets == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|piece| !piece.is_empty());
    found
}

/// Comments, and the marks that once hid style sheets from browsers, are gone; strings stay.
fn without_comments(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut remaining = text;
    let mut quote: Option<char> = None;
    while let Some(character) = remaining.chars().next() {
        let mut skip = None;
        match quote {
            Some(open) if character == open || character == '\n' => quote = None,
            Some(_) => {}
            None if remaining.starts_with("/*") => {
                clean.push(' ');
                skip = Some(remaining[2..].find("*/").map_or(remaining.len(), |end| end + 4));
            }
            None if remaining.starts_with("<!--") => skip = Some(4),
            None if remaining.starts_with("-->") => skip = Some(3),
            None if character == '"' || character == '\'' => quote = Some(character),
            None => {}
        }
        let length = skip.unwrap_or_else(|| {
            clean.push(character);
            character.len_utf8()
        });
        remaining = &remaining[length..];
    }
    clean
}

/// The rules of a style sheet in order.
pub fn rules(text: &str) -> Vec<Rule> {
    let text = without_comments(text);
    let mut found = Vec::new();
    let mut context: Vec<String> = Vec::new();
    let mut rest = text.as_str();
    loop {
        let (end, stop) = first_outside_strings(rest, &['{', '}', ';']);
        let prelude = prelude(&rest[..end]);
        match stop {
            Some('{') => {
                let body = &rest[end + 1..];
                if context.len() < DEEPEST && holds_rules(&prelude) {
                    context.push(prelude);
                    rest = body;
                } else {
                    let close = closing_brace(body);
                    let declarations = pieces(&body[..close]).into_iter().map(declaration).collect();
                    let selector = if close < body.len() { prelude } else { format!("{prelude} (never closed)") };
                    found.push(Rule { context: context.clone(), selector, declarations });
                    rest = body.get(close + 1..).unwrap_or_default();
                }
            }
            Some(other) => {
                if !prelude.is_empty() {
                    found.push(Rule { context: context.clone(), selector: prelude, declarations: Vec::new() });
                }
                if other == '}' && context.pop().is_none() {
                    found.push(Rule { context: Vec::new(), selector: "}".to_owned(), declarations: Vec::new() });
                }
                rest = &rest[end + 1..];
            }
            None => {
                if !prelude.is_empty() || !context.is_empty() {
                    found.push(Rule { context, selector: prelude, declarations: Vec::new() });
                }
                return found;
            }
        }
    }
}

/// The case of an at-rule's own name means nothing.
fn prelude(text: &str) -> String {
    let tidy = css_prelude(text);
    if !tidy.starts_with('@') {
        return tidy;
    }
    let length = tidy.find(|found: char| found.is_ascii_whitespace() || found == '(').unwrap_or(tidy.len());
    tidy[..length].to_ascii_lowercase() + &tidy[length..]
}

fn holds_rules(prelude: &str) -> bool {
    ["@media", "@supports", "@document", "@-moz-document", "@layer", "@container", "@keyframes", "@-webkit-keyframes", "@-moz-keyframes"]
        .iter()
        .any(|name| prelude.starts_with(name))
}

fn first_outside_strings(text: &str, wanted: &[char]) -> (usize, Option<char>) {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match quote {
            Some(open) if character == open || character == '\n' => quote = None,
            Some(_) => {}
            None if character == '"' || character == '\'' => quote = Some(character),
            None if wanted.contains(&character) => return (at, Some(character)),
            None => {}
        }
    }
    (text.len(), None)
}

fn closing_brace(body: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let rest = &body[at..];
        let (offset, found) = first_outside_strings(rest, &['{', '}']);
        match found {
            Some('{') => depth += 1,
            Some(_) if depth == 0 => return at + offset,
            Some(_) => depth -= 1,
            None => return body.len(),
        }
        at += offset + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatting_noise_reads_alike() {
        let plain = "a{color:#fff;margin:0}@media (max-width:600px){.x,.y{width:100%!important}}";
        for noisy in [
            "a { COLOR : #FFF ; margin: 0; }\n@Media (max-width: 600px) { .x , .y { width: 100% !important; } }",
            "<!-- a/* c */{color:#fff;/*;}*/margin:0;;}@media (max-width:600px){.x,.y{width:100%!important;}} -->",
        ] {
            assert_eq!(rules(noisy), rules(plain), "{noisy}");
        }
    }

    #[test]
    fn what_says_something_else_reads_otherwise() {
        let plain = "a{color:red;margin:0}b{}";
        for other in [
            "a{color:blue;margin:0}b{}",
            "a{margin:0;color:red}b{}",
            "b{}a{color:red;margin:0}",
            "A.x{color:red;margin:0}b{}",
            "@media print{a{color:red;margin:0}}b{}",
            "a{color:red;margin:0}b{",
            "a{color:red;margin:0}}b{}",
            "a{color:red;margin:0 }b{}c",
            "@import x;a{color:red;margin:0}b{}",
        ] {
            assert_ne!(rules(other), rules(plain), "{other}");
        }
    }

    #[test]
    fn hostile_style_text_is_read_in_one_pass() {
        for text in ["{".repeat(100_000), "}".repeat(100_000), "@media{".repeat(2_000), "a{\"".repeat(50_000), "/*".repeat(100_000)] {
            assert!(rules(&text).len() <= 100_001);
        }
    }
}
