//! The template engine behind merge fields, bounded in steps, nesting and output.
//!
//! Cast: [`Engine`] (the compiled templates of one letter), [`Source`] (template text that remembers which tag each
//! stretch came from), [`Values`] (what one person's rendering may look up).
//!
//! It reads no file, includes no other template and knows no clock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use minijinja::value::{Object, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

use super::error::ContentError;
use super::merge::{Marks, Piece};
use super::newsletter::Part;
use super::syntax::UNSUBSCRIBE;

/// Most bytes a rendered part may have.
pub const MOST_OUTPUT: usize = 1024 * 1024;
/// Most steps of the engine per rendering.
const FUEL: u64 = 50_000;
/// Most nested conditions and loops.
const NESTING: usize = 50;

/// A template text under construction, and which tag each stretch of it came from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The template.
    pub text: String,
    origins: Vec<(Range<usize>, usize)>,
}

impl Source {
    /// Adds text that is no template code, whatever braces it holds.
    pub fn push_literal(&mut self, literal: &str) {
        let mut remaining = literal;
        while let Some(offset) = remaining.find('{') {
            let (before, after) = remaining.split_at(offset + 1);
            // A brace that ends the text could join with one that follows.
            let ambiguous = after.is_empty() || after.starts_with(['{', '%', '#']);
            self.text.push_str(&before[..offset]);
            self.text.push_str(if ambiguous { "{{'{'}}" } else { "{" });
            remaining = after;
        }
        self.text.push_str(remaining);
    }

    /// Adds the code of a tag.
    pub fn push_tag(&mut self, number: usize, code: &str) {
        let start = self.text.len();
        self.text.push_str(code);
        self.origins.push((start..self.text.len(), number));
    }

    /// Adds a look-up of one of the letter's own values.
    pub fn push_own(&mut self, name: &str) {
        self.text.push_str("{{");
        self.text.push_str(name);
        self.text.push_str("}}");
    }

    /// Adds masked text that holds tags only.
    pub fn push_masked(&mut self, marks: &Marks, masked: &str) {
        for piece in marks.pieces(masked) {
            match piece {
                Piece::Literal(literal) => self.push_literal(literal),
                Piece::Tag(number) => self.push_tag(number, marks.tags.get(number).map_or("", |tag| &tag.code)),
                Piece::Link(_) | Piece::Address(_) => {}
            }
        }
    }

    fn tag_at(&self, position: usize) -> Option<usize> {
        let index = self.origins.partition_point(|(range, _)| range.start <= position).checked_sub(1)?;
        self.origins.get(index).filter(|(range, _)| position <= range.end).map(|(_, number)| *number)
    }
}

/// What one person's rendering may look up.
#[derive(Debug)]
pub struct Values {
    /// The person's merge values; blank ones are left out.
    pub fields: BTreeMap<String, Value>,
    /// The address of each tracked link, in link order, not escaped.
    pub links: Vec<Value>,
    /// The pixel as markup; empty without tracking.
    pub pixel: Value,
    /// The unsubscribe address, not escaped.
    pub unsubscribe: Value,
}

/// The name a template looks the pixel up by.
pub const PIXEL: &str = "__pixel";
/// The name a template looks a link up by, followed by the link's number.
pub const LINK: &str = "__link";

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if let Some(number) = key.strip_prefix(LINK) {
            return self.links.get(number.parse::<usize>().ok()?.checked_sub(1)?).cloned();
        }
        match key {
            PIXEL => Some(self.pixel.clone()),
            UNSUBSCRIBE => Some(self.unsubscribe.clone()),
            // Absent is "none" and not the engine's "undefined", which could not even be compared: {% if plan == "gold" %}.
            _ => Some(self.fields.get(key).cloned().unwrap_or_else(|| Value::from(()))),
        }
    }
}

/// The compiled templates of one letter.
#[derive(Debug, Clone)]
pub struct Engine {
    environment: Environment<'static>,
    sources: BTreeMap<&'static str, Source>,
}

impl Engine {
    /// An engine without templates.
    pub fn new() -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(NESTING);
        environment.set_debug(false);
        environment.set_auto_escape_callback(|name| if name == "html" { AutoEscape::Html } else { AutoEscape::None });
        environment.set_formatter(print);
        environment.add_filter("default", default);
        environment.add_filter("upper", |value: Value| on_text(value, |text| text.to_uppercase()));
        environment.add_filter("lower", |value: Value| on_text(value, |text| text.to_lowercase()));
        environment.add_filter("title", |value: Value| on_text(value, title));
        environment.add_filter("trim", |value: Value| on_text(value, |text| text.trim().to_owned()));
        environment
            .add_filter("truncate", |value: Value, length: Option<usize>| on_text(value, |text| truncate(text, length.unwrap_or(255))));
        environment.add_filter("urlencode", |value: Value| on_text(value, urlencode));
        environment.add_filter("escape", escape);
        environment.add_test("defined", |value: &Value| !is_absent(value));
        environment.add_test("undefined", is_absent);
        Self { environment, sources: BTreeMap::new() }
    }

    /// Compiles a template; only the one named "html" escapes values.
    pub fn add(&mut self, name: &'static str, source: Source, part: Part, marks: &Marks) -> Result<(), ContentError> {
        // The engine drops one line end at the end of a template.
        let ending = if source.text.ends_with('\n') { "\n" } else { "" };
        let added = self.environment.add_template_owned(name, format!("{}{ending}", source.text));
        added.map_err(|error| {
            let tag = error.range().and_then(|range| source.tag_at(range.start)).and_then(|number| marks.tags.get(number));
            let line = tag.map_or(1, |tag| tag.line);
            let detail = error.detail().unwrap_or("it cannot be read");
            let problem = format!(
                "in the {name} part conditions and loops are no longer properly nested ({detail}); \
                 let each begin and end within the same element"
            );
            ContentError::Merge { part, line, problem }
        })?;
        self.sources.insert(name, source);
        Ok(())
    }

    /// Fills a template in.
    pub fn render(&self, name: &'static str, part: Part, values: &Value, marks: &Marks) -> Result<String, ContentError> {
        let fault = |error: &Error| self.explain(name, part, error, marks);
        let template = self.environment.get_template(name).map_err(|error| fault(&error))?;
        let mut output = Bounded { bytes: Vec::with_capacity(template.source().len() * 9 / 8), overflowed: false };
        let rendered = template.render_captured_to(values.clone(), &mut output).map(|_| ());
        if output.overflowed {
            return Err(ContentError::TooMuchOutput { part, most: MOST_OUTPUT });
        }
        rendered.map_err(|error| fault(&error))?;
        // The engine writes whole strings, so that this is always UTF-8.
        Ok(String::from_utf8(output.bytes).unwrap_or_default())
    }

    /// Says which field or tag an error of the engine is about. The engine's own words could repeat a value; only its kind is used.
    fn explain(&self, name: &str, part: Part, error: &Error, marks: &Marks) -> ContentError {
        let number = error.range().and_then(|range| self.sources.get(name)?.tag_at(range.start));
        let tag = number.and_then(|number| marks.tags.get(number));
        let (part, line) = tag.map_or((part, 1), |tag| (tag.part, tag.line));
        if error.kind() == ErrorKind::UndefinedError
            && let Some(found) = marks.uses.iter().filter(|one| Some(one.tag) == number).find(|one| !one.optional)
        {
            return ContentError::MissingField { field: found.field.clone(), part, line };
        }
        let what = match error.kind() {
            ErrorKind::OutOfFuel => "too many steps; shorten the loops",
            ErrorKind::UndefinedError => "a field has no value and no default",
            ErrorKind::TooManyArguments | ErrorKind::MissingArgument => "a filter has a wrong number of arguments",
            _ => "it cannot be evaluated",
        };
        let shown = tag.map_or_else(String::new, |tag| format!("`{}`: ", tag.original));
        ContentError::Merge { part, line, problem: format!("{shown}{what}") }
    }
}

/// A writer that refuses to grow past [`MOST_OUTPUT`].
struct Bounded {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MOST_OUTPUT {
            self.overflowed = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints a value, escaped where the template is HTML. Unlike the engine's own way this leaves `/` and `=` alone,
/// which stand in every address and mean nothing in HTML.
fn print(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if is_absent(value) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let Some(mut remaining) = value.as_str().filter(|_| *state.auto_escape() == AutoEscape::Html && !value.is_safe()) else {
        return minijinja::escape_formatter(output, state, value);
    };
    while let Some(position) = remaining.find(['&', '<', '>', '"', '\'']) {
        output.write_str(&remaining[..position])?;
        output.write_str(match remaining.as_bytes()[position] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#x27;",
        })?;
        remaining = &remaining[position + 1..];
    }
    Ok(output.write_str(remaining)?)
}

fn is_absent(value: &Value) -> bool {
    value.is_none() || value.is_undefined()
}

/// Applies to a value's text; an absent value stays absent, so that a later `default` still sees it.
fn on_text(value: Value, change: impl Fn(&str) -> String) -> Value {
    if is_absent(&value) {
        return value;
    }
    let text = value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
    Value::from(change(&text))
}

/// The value, or another when it is absent or blank: `Hi ,` is never what is meant.
fn default(value: Value, other: Option<Value>) -> Value {
    let blank = is_absent(&value) || value.as_str().is_some_and(|text| text.trim().is_empty());
    if blank { other.unwrap_or_else(|| Value::from("")) } else { value }
}

fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut start = true;
    for letter in text.chars() {
        if start {
            titled.extend(letter.to_uppercase());
        } else {
            titled.extend(letter.to_lowercase());
        }
        start = letter.is_whitespace() || letter == '-';
    }
    titled
}

fn truncate(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub fn urlencode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Escapes for HTML and marks the result as done; in plain text there is nothing to escape.
fn escape(state: &State<'_, '_>, value: Value) -> Value {
    if value.is_safe() || value.kind() != ValueKind::String || *state.auto_escape() != AutoEscape::Html {
        return value;
    }
    Value::from_safe_string(super::markup::escape_attribute(value.as_str().unwrap_or_default()).replace('\'', "&#x27;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(name: &'static str, text: &str, fields: &[(&str, &str)]) -> Result<String, String> {
        let mut marks = Marks::for_texts(&[text]);
        let masked = marks.mask(Part::Body, text, true).map_err(|error| error.to_string())?;
        let mut source = Source::default();
        source.push_masked(&marks, &masked);
        let mut engine = Engine::new();
        engine.add(name, source, Part::Body, &marks).map_err(|error| error.to_string())?;
        let values = Values {
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect(),
            links: Vec::new(),
            pixel: Value::from(""),
            unsubscribe: Value::from("https://u.example/"),
        };
        engine.render(name, Part::Body, &Value::from_object(values), &marks).map_err(|error| error.to_string())
    }

    #[test]
    fn filters_work_and_an_absent_value_reaches_its_default() {
        for (text, expected) in [
            ("{{ a | upper }}", "ÄB C"),
            ("{{ a | lower | title }}", "Äb C"),
            ("{{ b | default('x') }}", "x"),
            ("{{ b | trim | upper | default('x') }}", "x"),
            ("{{ blank | default('x') }}", "x"),
            ("{{ a | truncate(2) }}", "ä…"),
            ("{{ a | urlencode }}", "%C3%A4b%20c"),
            ("{{ unsubscribe_url }}", "https://u.example/"),
            ("{% if b == 'x' or b in ['y'] or b is defined or b %}1{% endif %}", ""),
            ("{% if b %}1{% elif a == 'äb c' %}2{% endif %}", "2"),
            ("{% for s in ['S', 'M'] %}{{ s }}{% if not loop.last %}, {% endif %}{% endfor %}", "S, M"),
            ("{{{ a }", "!"),
            ("a{#b {#c#} {% if a is defined %}{ {% endif %}{", "a{#b {#c#} { {"),
            ("{{ '{{' }}", "{{"),
        ] {
            let found = render("text", text, &[("a", "äb c"), ("blank", "  ")]);
            if expected == "!" {
                assert!(found.is_err(), "{text}");
            } else {
                assert_eq!(found.as_deref(), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn values_are_escaped_in_html_once_and_in_text_never() {
        let hostile = [("a", "<b>\"&'")];
        for text in ["{{ a }}", "{{ a | escape }}"] {
            let html = render("html", text, &hostile).unwrap();
            assert!(!html.contains(['<', '"', '\'']) && html.contains("&lt;b&gt;"), "{html}");
            assert!(!html.contains("&amp;lt;"), "{html}");
            assert_eq!(render("text", text, &hostile).as_deref(), Ok("<b>\"&'"));
        }
    }

    #[test]
    fn an_absent_value_is_an_error_that_names_the_field_and_line() {
        for text in
            ["a\n{{ b | default('') }}{{ first_name }}", "a\n{{ first_name | upper }}", "a\n{% if true %}{{ first_name }}{% endif %}"]
        {
            let error = render("html", text, &[("c", "secret")]).unwrap_err();
            assert!(error.contains("body, line 2") && error.contains("`first_name`"), "{error}");
        }
    }

    #[test]
    fn steps_and_output_are_bounded() {
        let long = "x".repeat(200_000);
        let error = render("html", "{% for i in [1,2,3,4,5,6] %}{{ a }}{% endfor %}", &[("a", &long)]).unwrap_err();
        assert!(error.contains("larger than 1048576 bytes"), "{error}");
        let list = "1,".repeat(100);
        let nested = format!(
            "{{% for a in [{list}] %}}{{% for b in [{list}] %}}{{% for c in [{list}] %}}{{% endfor %}}{{% endfor %}}{{% endfor %}}"
        );
        assert!(render("html", &nested, &[]).unwrap_err().contains("too many steps"));
    }
}
