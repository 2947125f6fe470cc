//! The rules of a letter's stylesheets, with the places of their declarations, so that one rule can be changed.
//!
//! Cast: [`Rule`]; [`rules`] finds them in a row of tokens, [`address`] writes the same selector always the same way.
//!
//! A rule within `@media (…)` is addressed as `@media (…) { .button`. It judges no property and reads no remote sheet.

use std::ops::Range;

use super::markup::{Kind, Token};

/// A rule of a `<style>` or `<mj-style>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its selectors in one spelling, with the at-rules it lies in before it.
    pub address: String,
    /// Where its declarations stand in the source.
    pub body: Range<usize>,
}

/// The rules of every stylesheet in the source, in reading order.
pub fn rules(source: &str, tokens: &[Token<'_>]) -> Vec<Rule> {
    let mut found = Vec::new();
    let mut in_style = false;
    for token in tokens {
        if in_style && token.kind == Kind::RawText {
            read(source, token.span.clone(), &mut found);
        }
        in_style =
            matches!(&token.kind, Kind::Start { name, .. } if ["style", "mj-style"].iter().any(|style| style.eq_ignore_ascii_case(name)));
    }
    found
}

/// One stylesheet. What lies in braces is a group when another brace opens in it, and declarations otherwise.
fn read(source: &str, span: Range<usize>, found: &mut Vec<Rule>) {
    let text = source.get(span.clone()).unwrap_or_default();
    let mut prelude = String::new();
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut innermost = false;
    let mut at = 0;
    while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            continue;
        }
        if let Some(noise) = ["<!--", "-->"].iter().find(|noise| rest.starts_with(**noise)) {
            at += noise.len();
            continue;
        }
        at += character.len_utf8();
        match character {
            '"' | '\'' => {
                let inside = text.get(at..).unwrap_or_default();
                let length = inside.find(character).map_or(inside.len(), |end| end + 1);
                prelude.push(character);
                prelude.push_str(inside.get(..length).unwrap_or_default());
                at += length;
            }
            '{' => {
                open.push((address(&std::mem::take(&mut prelude)), at));
                innermost = true;
            }
            '}' => {
                if let Some((name, start)) = open.pop()
                    && innermost
                {
                    let outer: Vec<&str> = open.iter().map(|(name, _)| name.as_str()).collect();
                    let address = outer.into_iter().chain([name.as_str()]).collect::<Vec<_>>().join(" { ");
                    found.push(Rule { address, body: span.start + start..span.start + at - 1 });
                }
                innermost = false;
                prelude.clear();
            }
            // Ends an @import, or a declaration of the rule that is open.
            ';' => prelude.clear(),
            _ => prelude.push(character),
        }
    }
}

/// A selector in one spelling: single spaces, none beside commas, combinators and braces but one.
pub fn address(written: &str) -> String {
    let mut spaced = String::with_capacity(written.len());
    for found in written.chars() {
        match found {
            ',' => spaced.push_str(" , "),
            '>' | '{' => {
                spaced.push(' ');
                spaced.push(found);
                spaced.push(' ');
            }
            _ => spaced.push(found),
        }
    }
    spaced.split_whitespace().collect::<Vec<_>>().join(" ").replace(" , ", ", ").replace("( ", "(").replace(": ", ":")
}

#[cfg(test)]
mod tests {
    use super::super::markup;
    use super::*;

    #[test]
    fn rules_are_found_with_their_declarations_and_groups() {
        let source = "<style>/* a{} */ @import url(x); .a,\n.b{color:red; content:\"}\"}\n@media (max-width: 600px){ .a > p{margin:0} #c{} }\
                      @font-face{font-family:x}</style><p>.d{}</p><mj-style>h1{x:y}</mj-style>";
        let tokens = markup::tokens(source);
        let found: Vec<(String, &str)> = rules(source, &tokens).into_iter().map(|rule| (rule.address, &source[rule.body])).collect();
        let expected = [
            (".a, .b", "color:red; content:\"}\""),
            ("@media (max-width:600px) { .a > p", "margin:0"),
            ("@media (max-width:600px) { #c", ""),
            ("@font-face", "font-family:x"),
            ("h1", "x:y"),
        ];
        let found: Vec<(&str, &str)> = found.iter().map(|(address, body)| (address.as_str(), *body)).collect();
        assert_eq!(found, expected);
        assert_eq!(address(" .a ,.b>p "), ".a, .b > p");
        assert_eq!(address("@media (max-width:600px){.a"), "@media (max-width:600px) { .a");
    }

    #[test]
    fn broken_sheets_are_read_to_their_end() {
        for source in ["<style>a{", "<style>}}{{", "<style>a{b:\"", "<style>/*", "<style>é{ü:ö}</style>"] {
            let tokens = markup::tokens(source);
            for rule in rules(source, &tokens) {
                assert!(source.get(rule.body.clone()).is_some(), "{source}: {rule:?}");
            }
        }
    }
}
