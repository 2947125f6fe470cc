//! CSS selectors, as far as a part of a letter needs them: names, ids, classes, attributes, places, within and directly within.
//!
//! Cast: [`Selector`]; [`Selector::parse`] reads one, [`Selector::matches`] finds the elements.
//!
//! Source: W3C Selectors Level 4, a subset. It finds elements and changes none.

use super::markup::Token;
use super::tree::{Tree, attribute_text, attributes};

/// One or more alternatives between commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    alternatives: Vec<Vec<Step>>,
}

/// An element on the way, and how it lies below the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    directly: bool,
    simple: Vec<Simple>,
}

/// One condition on one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simple {
    /// Any element.
    Any,
    /// By its name, lower case.
    Tag(String),
    /// By its id.
    Id(String),
    /// By one of its classes.
    Class(String),
    /// By an attribute.
    Attribute {
        /// Its name, lower case.
        name: String,
        /// How its value compares: `=`, `~=`, `^=`, `$=`, `*=`; none when it only has to be there.
        test: Option<(String, String)>,
    },
    /// Its place among its parent's elements.
    Child(usize),
    /// Its place among its parent's elements of the same name.
    OfType(usize),
}

impl Selector {
    /// Reads a selector. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text.trim() };
        let mut alternatives = vec![Vec::new()];
        let mut directly = false;
        loop {
            let simple = reader.compound()?;
            if let Some(last) = alternatives.last_mut() {
                last.push(Step { directly, simple });
            }
            let spaced = reader.skip_space();
            directly = false;
            match reader.peek() {
                None => return Ok(Self { alternatives }),
                Some(',') => {
                    reader.take();
                    reader.skip_space();
                    alternatives.push(Vec::new());
                }
                Some('>') => {
                    reader.take();
                    reader.skip_space();
                    directly = true;
                }
                Some(found @ ('+' | '~')) => {
                    return Err(format!("`{found}` is not available here; use names, #ids, .classes, [attributes] and >"));
                }
                Some(_) if spaced => {}
                Some(found) => return Err(format!("`{found}` is not expected")),
            }
        }
    }

    /// The elements it describes, as indexes into the tree's nodes, in reading order.
    pub fn matches(&self, tree: &Tree, tokens: &[Token<'_>]) -> Vec<usize> {
        let fits = |node: usize| self.alternatives.iter().any(|steps| lies(steps, node, tree, tokens));
        (0..tree.nodes.len()).filter(|node| fits(*node)).collect()
    }

    /// Every single condition it makes, for telling which of them nothing fulfils.
    pub fn conditions(&self) -> impl Iterator<Item = &Simple> {
        self.alternatives.iter().flatten().flat_map(|step| &step.simple)
    }
}

/// Whether an element is where the steps lead. Going up is tried at every ancestor, so that each step costs at most the depth.
fn lies(steps: &[Step], node: usize, tree: &Tree, tokens: &[Token<'_>]) -> bool {
    let Some((last, before)) = steps.split_last() else { return true };
    if !last.simple.iter().all(|simple| simple.holds(node, tree, tokens)) {
        return false;
    }
    if before.is_empty() {
        return true;
    }
    let mut above = tree.upwards(node).skip(1);
    if last.directly {
        above.next().is_some_and(|parent| lies(before, parent, tree, tokens))
    } else {
        above.any(|parent| lies(before, parent, tree, tokens))
    }
}

impl Simple {
    /// Whether an element fulfils it.
    pub fn holds(&self, node: usize, tree: &Tree, tokens: &[Token<'_>]) -> bool {
        let Some(node) = tree.nodes.get(node) else { return false };
        let value = |name: &str| attribute_text(tokens, node.token, name);
        match self {
            Self::Any => true,
            Self::Tag(tag) => node.tag == *tag,
            Self::Id(id) => value("id").trim() == id,
            Self::Class(class) => {
                value("class").split_ascii_whitespace().chain(value("css-class").split_ascii_whitespace()).any(|one| one == class)
            }
            Self::Attribute { name, test } => {
                let is_there = attributes(tokens, node.token).iter().any(|attribute| attribute.name.eq_ignore_ascii_case(name));
                is_there
                    && test.as_ref().is_none_or(|(how, wanted)| {
                        let value = value(name);
                        let empty = wanted.is_empty();
                        match how.as_str() {
                            "~=" => value.split_ascii_whitespace().any(|one| one == wanted),
                            "^=" => !empty && value.starts_with(wanted),
                            "$=" => !empty && value.ends_with(wanted),
                            "*=" => !empty && value.contains(wanted),
                            _ => value == *wanted,
                        }
                    })
            }
            Self::Child(place) => node.child == *place,
            Self::OfType(place) => node.of_type == *place,
        }
    }
}

struct Reader<'s> {
    rest: &'s str,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.rest = self.rest.get(found.len_utf8()..).unwrap_or_default();
        Some(found)
    }

    fn skip_space(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start();
        self.rest.len() < before
    }

    fn compound(&mut self) -> Result<Vec<Simple>, String> {
        let mut simple = Vec::new();
        match self.peek() {
            Some('*') => {
                self.take();
                simple.push(Simple::Any);
            }
            Some(first) if is_name(first) || first == '\\' => simple.push(Simple::Tag(self.name()?.to_ascii_lowercase())),
            _ => {}
        }
        loop {
            match self.peek() {
                Some('#') => {
                    self.take();
                    simple.push(Simple::Id(self.name()?));
                }
                Some('.') => {
                    self.take();
                    simple.push(Simple::Class(self.name()?));
                }
                Some('[') => simple.push(self.attribute()?),
                Some(':') => simple.push(self.place()?),
                found if simple.is_empty() => {
                    return Err(match found {
                        Some(found) => format!("`{found}` is not expected"),
                        None => "a name, #id, .class or [attribute] is missing".to_owned(),
                    });
                }
                _ => return Ok(simple),
            }
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        while let Some(found) = self.peek() {
            if found == '\\' {
                self.take();
                name.extend(self.take());
            } else if is_name(found) {
                name.extend(self.take());
            } else {
                break;
            }
        }
        if name.is_empty() { Err("a name is missing after `#`, `.`, `[` or `:`".to_owned()) } else { Ok(name) }
    }

    fn attribute(&mut self) -> Result<Simple, String> {
        self.take();
        self.skip_space();
        let name = self.name()?.to_ascii_lowercase();
        self.skip_space();
        let mut how = String::new();
        while let Some(found @ ('=' | '~' | '^' | '$' | '*' | '|')) = self.peek() {
            how.push(found);
            self.take();
        }
        self.skip_space();
        if !["", "=", "~=", "^=", "$=", "*="].contains(&how.as_str()) {
            return Err(format!("`{how}` is not available in [attribute]; use =, ~=, ^=, $= or *="));
        }
        let mut value = String::new();
        if !how.is_empty() {
            let quote = self.peek().filter(|found| matches!(found, '"' | '\''));
            if quote.is_some() {
                self.take();
            }
            loop {
                match self.peek() {
                    None => return Err("`[` is not closed by `]`".to_owned()),
                    found if quote.is_some() && found == quote => {
                        self.take();
                        break;
                    }
                    Some(']') if quote.is_none() => break,
                    _ => value.extend(self.take()),
                }
            }
            self.skip_space();
        }
        if self.take() != Some(']') {
            return Err("`[` is not closed by `]`".to_owned());
        }
        Ok(Simple::Attribute { name, test: (!how.is_empty()).then_some((how, value)) })
    }

    fn place(&mut self) -> Result<Simple, String> {
        self.take();
        let name = self.name()?;
        let number = if self.peek() == Some('(') {
            let (inside, after) = self.rest.split_once(')').ok_or("`(` is not closed by `)`")?;
            self.rest = after;
            inside.trim_start_matches('(').trim().parse::<usize>().ok()
        } else {
            None
        };
        match (name.as_str(), number) {
            ("first-child", None) => Ok(Simple::Child(1)),
            ("first-of-type", None) => Ok(Simple::OfType(1)),
            ("nth-child", Some(place)) => Ok(Simple::Child(place)),
            ("nth-of-type", Some(place)) => Ok(Simple::OfType(place)),
            _ => Err(format!("`:{name}` is not available here; there are :first-child, :nth-child(2), :first-of-type, :nth-of-type(2)")),
        }
    }
}

fn is_name(found: char) -> bool {
    found.is_alphanumeric() || found == '-' || found == '_' || !found.is_ascii()
}

/// A name as a selector writes it: what is no letter, digit, hyphen or underscore is escaped.
pub fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for found in name.chars() {
        if !is_name(found) {
            escaped.push('\\');
        }
        escaped.push(found);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::markup;
    use super::*;

    const SOURCE: &str = "<div id=\"top\" class=\"wide box\"><p>a</p><p class=\"lead\">b <a href=\"https://a.example/x\" title=\"T\">c</a></p></div>\
                          <mj-section css-class=\"hero\"><mj-text>d</mj-text></mj-section><div><p class=\"a:b\">e</p></div>";

    #[test]
    fn selectors_find_what_they_describe() {
        let tokens = markup::tokens(SOURCE);
        let tree = Tree::of(&tokens);
        let check = |selector: &str, expected: &[&str]| {
            let found = Selector::parse(selector).expect(selector).matches(&tree, &tokens);
            let words: Vec<&str> = found
                .iter()
                .map(|node| {
                    let start = tokens[tree.nodes[*node].token].span.end;
                    SOURCE[start..]
                        .split('<')
                        .find(|text| !text.is_empty() && !text.contains('>'))
                        .map_or_else(|| SOURCE[start..].split(['<', '>']).nth(2).unwrap_or_default(), str::trim)
                })
                .collect();
            assert_eq!(words.len(), expected.len(), "{selector}: {words:?}");
            for (word, expected) in words.iter().zip(expected) {
                assert!(word.starts_with(expected), "{selector}: {words:?}");
            }
        };
        check("p", &["a", "b", "e"]);
        check("#top p", &["a", "b"]);
        check("div > p.lead", &["b"]);
        check("#top > a", &[]);
        check("#top a[href^='https://a.example']", &["c"]);
        check("a[title]", &["c"]);
        check("a[title=T][href$=x][href*=\"example\"]", &["c"]);
        check("[class~=lead]", &["b"]);
        check("p:nth-of-type(2)", &["b"]);
        check("div:first-child > p:first-of-type", &["a"]);
        check(".hero mj-text", &["d"]);
        check(".a\\:b", &["e"]);
        check("p.lead, mj-text", &["b", "d"]);
        check("* > P", &["a", "b", "e"]);
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", "missing"),
            ("p >", "missing"),
            ("p,", "missing"),
            ("#", "missing"),
            ("p + p", "`+` is not available"),
            ("p:hover", "`:hover` is not available"),
            ("p[a", "not closed"),
            ("p[a|=b]", "not available in [attribute]"),
            ("p:nth-of-type(2n)", "not available"),
            ("p{", "not expected"),
        ] {
            let error = Selector::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
        let odd = "a:b c";
        assert_eq!(Selector::parse(&format!("#{}", escape(odd))).unwrap().alternatives[0][0].simple, [Simple::Id(odd.to_owned())]);
    }
}
