//! The form of a campaign file: every key that is unknown, missing or of the wrong kind, all told at once.
//!
//! Cast: [`check`] walks a file along the table of its keys ([`CAMPAIGN`]) and takes away what is wrong, so that the rest can be read;
//! [`Key`] and [`Kind`] say what is expected, in the user's words.
//!
//! It never judges what a value says, only what kind of value it is. The tables that are read afterwards have the same keys.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Reader;
use crate::content::suggest;

/// What kind of value a key has.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Flag,
    /// From 0 to the most a `u32` holds; closer ranges are the design's affair.
    Whole,
    Number,
    Table(&'static [Key]),
    Tables(&'static [Key]),
}

/// A key that a table may have.
#[derive(Clone, Copy)]
struct Key {
    name: &'static str,
    kind: Kind,
    /// What to write, after the word "write".
    expected: &'static str,
    needed: bool,
}

const fn key(name: &'static str, kind: Kind, expected: &'static str) -> Key {
    Key { name, kind, expected, needed: false }
}

const fn needed(name: &'static str, kind: Kind, expected: &'static str) -> Key {
    Key { name, kind, expected, needed: true }
}

/// No key is nearly as long; more of an unknown one is neither shown nor compared.
const LONGEST: usize = 40;

const TEXT: &str = "a text in quotes";
const FILE: &str = "the name of a file in quotes, such as \"letter.mjml\"";
const FORMAT: &str = "\"mjml\", \"html\" or \"markdown\"";
const LEVEL: &str = "a number from 0.0001 to 0.2, such as 0.05";
const FLAG: &str = "true or false, without quotes";

const CAMPAIGN: &[Key] = &[
    needed("name", Kind::Text, "a name in quotes, such as \"autumn-letter\""),
    needed("list", Kind::Text, "the name of a list in quotes, such as \"customers\""),
    key("recording", Kind::Text, "\"off\", \"aggregate\", \"pseudonymous\" or \"identified\""),
    key("trap_link", Kind::Flag, FLAG),
    needed("sender", Kind::Table(SENDER), "a line [sender], and below it name and address"),
    needed("letter", Kind::Table(LETTER), "a line [letter], and below it subject, and text or file"),
    key("links", Kind::Table(LINKS), "a line [links], and below it utm_source, utm_medium or utm_campaign"),
    needed("test", Kind::Table(TEST), "a line [test], and below it element and metric"),
    key("variants", Kind::Tables(VARIANT), "a line [[variants]] for each variant, and below it value or weight"),
];

const SENDER: &[Key] = &[
    needed("name", Kind::Text, "a name in quotes, such as \"Letterlab\""),
    needed("address", Kind::Text, "an address in quotes, such as \"news@example.org\""),
    key("reply_to", Kind::Text, "an address in quotes, such as \"office@example.org\""),
];

const LETTER: &[Key] = &[
    needed("subject", Kind::Text, TEXT),
    key("preheader", Kind::Text, TEXT),
    key("format", Kind::Text, FORMAT),
    key("file", Kind::Text, FILE),
    key("text", Kind::Text, "the letter's text between \"\"\" and \"\"\""),
    key("language", Kind::Text, "a language in quotes, such as \"en\" or \"pt-BR\""),
    key("images", Kind::Text, "\"linked\" or \"inline\""),
];

const LINKS: &[Key] = &[key("utm_source", Kind::Text, TEXT), key("utm_medium", Kind::Text, TEXT), key("utm_campaign", Kind::Text, TEXT)];

const TEST: &[Key] = &[
    key("element", Kind::Text, "what varies in quotes, such as \"subject\""),
    key("block", Kind::Text, "the part's name or a CSS selector in quotes, such as \"#hero > a\""),
    key("metric", Kind::Text, "\"open\" or \"click\""),
    key("share", Kind::Number, "a number above 0 and at most 1, such as 0.2"),
    key("significance", Kind::Number, LEVEL),
    key("observe_hours", Kind::Whole, "a whole number from 1 to 2160, such as 72"),
    key("rule", Kind::Text, "\"hand\" or \"automatic\""),
    key("method", Kind::Text, "\"fixed\" or \"anytime\""),
    key("planned_lift", Kind::Number, "a number above 0 and at most 5, such as 0.2"),
    key("secondary", Kind::Texts, "a list of texts, such as [\"open\"]"),
    key("guards", Kind::Table(GUARDS), "a table of guards, such as guards.unsubscribe = { margin = 0.005 }"),
    key("holdout", Kind::Number, "a number from 0 to below 1, such as 0.1"),
    key("same_letters", Kind::Flag, FLAG),
];

const ONE_GUARD: &str = "a table in braces, such as { margin = 0.005 }";

const GUARDS: &[Key] = &[
    key("bounce", Kind::Table(GUARD), ONE_GUARD),
    key("unsubscribe", Kind::Table(GUARD), ONE_GUARD),
    key("complaint", Kind::Table(GUARD), ONE_GUARD),
];

const GUARD: &[Key] = &[
    key("margin", Kind::Number, "a number above 0 and at most 0.5, such as 0.005"),
    key("level", Kind::Number, LEVEL),
    key("off", Kind::Flag, FLAG),
];

const VARIANT: &[Key] = &[
    key("value", Kind::Text, "the element's value in quotes; a moment too, such as \"2026-11-22T10:00:00Z\""),
    key("subject", Kind::Text, TEXT),
    key("preheader", Kind::Text, TEXT),
    key("sender_name", Kind::Text, TEXT),
    key("format", Kind::Text, FORMAT),
    key("file", Kind::Text, FILE),
    key("text", Kind::Text, "the variant's whole text between \"\"\" and \"\"\""),
    key("weight", Kind::Whole, "a whole number from 1 to 100, such as 1"),
];

/// Tells every fault of form and takes its key out of the file.
pub(super) fn check(reader: &mut Reader<'_>, file: &mut DeTable<'_>) {
    walk(reader, "", None, file, CAMPAIGN);
}

fn walk(reader: &mut Reader<'_>, path: &str, place: Option<usize>, table: &mut DeTable<'_>, keys: &[Key]) {
    let mut wrong = BTreeSet::new();
    let present: BTreeSet<String> = table.keys().map(|name| name.get_ref().to_string()).collect();
    for (name, value) in table.iter_mut() {
        let written: &str = name.get_ref();
        let is_right = match keys.iter().find(|key| key.name == written) {
            Some(known) => fits(reader, &join(path, written), known, value),
            None if reader.is_full() => false,
            None => {
                let unknown = Unknown { path, written, place: name.span().start, is_table: value.get_ref().is_table() };
                tell_unknown(reader, &unknown, keys, &present);
                false
            }
        };
        if !is_right {
            wrong.insert(written.to_owned());
        }
    }
    for name in &wrong {
        table.remove(name.as_str());
    }
    for known in keys.iter().filter(|known| known.needed && !table.iter().any(|(name, _)| name.get_ref() == known.name)) {
        let key = join(path, known.name);
        // What was wrong, or misspelt, has been told.
        if !reader.is_spoiled(&key) {
            let there = if matches!(known.kind, Kind::Table(_)) { String::new() } else { format!(" {}", whereabouts(path)) };
            reader.tell(&key, place, format!("this is missing{there}; write {}", known.expected));
        }
    }
}

/// Whether a value is of the kind expected; tells when it is not. What is wrong inside a table is told and taken out there.
fn fits(reader: &mut Reader<'_>, path: &str, known: &Key, value: &mut Spanned<DeValue<'_>>) -> bool {
    let place = value.span().start;
    match (known.kind, value.get_mut()) {
        (Kind::Text, DeValue::String(_)) | (Kind::Flag, DeValue::Boolean(_)) => true,
        (Kind::Texts, DeValue::Array(items)) if items.iter().all(|item| item.get_ref().is_str()) => true,
        (Kind::Whole, DeValue::Integer(number)) if u32::from_str_radix(number.as_str(), number.radix()).is_ok() => true,
        (Kind::Number, DeValue::Integer(number)) if i64::from_str_radix(number.as_str(), number.radix()).is_ok() => true,
        (Kind::Number, DeValue::Float(number)) if number.as_str().parse().is_ok_and(f64::is_finite) => true,
        (Kind::Table(keys), DeValue::Table(table)) => {
            walk(reader, path, Some(place), table, keys);
            true
        }
        (Kind::Tables(keys), DeValue::Array(items)) if items.iter().all(|item| item.get_ref().is_table()) => {
            for (number, item) in items.iter_mut().enumerate() {
                let place = Some(item.span().start);
                if let DeValue::Table(table) = item.get_mut() {
                    walk(reader, &format!("{path}[{number}]"), place, table, keys);
                }
            }
            true
        }
        (_, found) => {
            reader.tell(path, Some(place), format!("this is {}; write {}", described(found), known.expected));
            false
        }
    }
}

/// A key that its table does not know.
struct Unknown<'a> {
    path: &'a str,
    written: &'a str,
    place: usize,
    is_table: bool,
}

/// Tells an unknown key with what was probably meant; `present` are the keys that stand beside it.
fn tell_unknown(reader: &mut Reader<'_>, unknown: &Unknown<'_>, keys: &[Key], present: &BTreeSet<String>) {
    let Unknown { path, written, place, is_table } = *unknown;
    let what = match (is_table, path) {
        (true, "") => "there is no such table".to_owned(),
        _ => format!("there is no such key {}", whereabouts(path)),
    };
    let known: BTreeSet<String> = keys.iter().map(|key| key.name.to_owned()).collect();
    let (advice, meant) = if let [home] = homes("", written, CAMPAIGN).as_slice() {
        let above = if home.is_empty() { ", above the first [table]" } else { "" };
        (format!("it belongs {}{above}", whereabouts(home)), Some(join(home, written)))
    } else if let Some(near) = Some(written).filter(|name| name.len() <= LONGEST).and_then(|name| suggest(name, &known)) {
        let is_there = present.contains(&near);
        let advice = if is_there { format!("`{near}` is there already, take this away") } else { format!("did you mean `{near}`?") };
        (advice, Some(join(path, &near)).filter(|_| !is_there))
    } else {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        (format!("take it away, or write one of: {}", names.join(", ")), None)
    };
    let shown: String = written.chars().take(LONGEST).collect();
    reader.tell(&join(path, &shown), Some(place), format!("{what}; {advice}"));
    reader.spoiled.extend(meant);
}

/// The tables that have a key of this name.
fn homes(path: &str, name: &str, keys: &[Key]) -> Vec<String> {
    let here = keys.iter().filter(|key| key.name == name).map(|_| path.to_owned());
    let below = keys.iter().flat_map(|key| match key.kind {
        Kind::Table(inner) | Kind::Tables(inner) => homes(&join(path, key.name), name, inner),
        _ => Vec::new(),
    });
    here.chain(below).collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn whereabouts(path: &str) -> String {
    match path.split('[').next().unwrap_or_default() {
        "" => "at the top of the file".to_owned(),
        "variants" => "under [[variants]]".to_owned(),
        table => format!("under [{table}]"),
    }
}

/// What was found, in words.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 40 => format!("the text {:?} …", text.chars().take(40).collect::<String>()),
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(moment) => format!("the moment {moment} without quotes"),
        DeValue::Array(items) => match items.iter().map(Spanned::get_ref).find(|item| !item.is_str()) {
            Some(item) => format!("a list that holds {}", described(item)),
            None => "a list".to_owned(),
        },
        DeValue::Table(_) => "a table".to_owned(),
    }
}
