//! One record of the file → one person, or why not.
//!
//! Cast: [`read_row`], [`Row`], [`Fault`].
//!
//! A fault names the column and the rule, never the cell's content: cells hold people's data.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::ImportOptions;
use super::columns::{Columns, Key, OWN_COLUMNS, Role, field_name};
use super::moment::read_moment;
use super::report::RefusalKind;
use super::survey::Kind;
use crate::ids::RecordingMode;
use crate::vault::address::EmailAddress;
use crate::vault::people::{Consent, NOT_STATED, Suppression};
use crate::vault::store::IncomingPerson;

const VALUE_CHARACTERS_MOST: usize = 10_000;
const LIST_CHARACTERS_MOST: usize = 200;

/// A row that can be stored.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) person: IncomingPerson,
    /// Whether neither the row nor the options state a recording mode.
    pub(super) mode_is_default: bool,
}

/// Why a row is refused.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: RefusalKind,
    pub(super) why: String,
}

fn fault<T>(kind: RefusalKind, why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { kind, why: why.into() })
}

/// What the cells say, before it is put together.
#[derive(Default)]
struct Cells<'a> {
    address: &'a str,
    list: &'a str,
    mode: Option<RecordingMode>,
    source: &'a str,
    date: Option<Timestamp>,
    confirmed: Option<Timestamp>,
    opted_in: Option<Timestamp>,
    suppression: Option<Suppression>,
    full_name: &'a str,
    attributes: BTreeMap<Arc<str>, String>,
}

/// Reads a record. `now` only tells dates to come from dates gone by.
pub(super) fn read_row(columns: &Columns, record: &csv::StringRecord, options: &ImportOptions, now: Timestamp) -> Result<Row, Fault> {
    if record.len() != columns.roles.len() {
        let (found, expected) = (record.len(), columns.roles.len());
        let fields = if found == 1 { "field" } else { "fields" };
        return fault(RefusalKind::Fields, format!("{found} {fields} where the header has {expected}; is a quote or a delimiter missing?"));
    }
    let mut cells = Cells::default();
    for (index, (role, text)) in columns.roles.iter().zip(record).enumerate() {
        if *role != Role::Dropped {
            let text = text.trim();
            check_value(columns, index, text)?;
            read_cell(&mut cells, columns, index, role, text, now)?;
        }
    }
    assemble(cells, columns.kind, options, now)
}

fn check_value(columns: &Columns, index: usize, text: &str) -> Result<(), Fault> {
    if text.len() > VALUE_CHARACTERS_MOST && text.chars().count() > VALUE_CHARACTERS_MOST {
        let why = format!("the value of column {:?} is longer than {VALUE_CHARACTERS_MOST} characters", columns.name(index));
        return fault(RefusalKind::Value, why);
    }
    if text.contains('\0') {
        return fault(RefusalKind::Value, format!("the value of column {:?} has a NUL character in it", columns.name(index)));
    }
    Ok(())
}

fn read_cell<'a>(cells: &mut Cells<'a>, columns: &Columns, index: usize, role: &Role, text: &'a str, now: Timestamp) -> Result<(), Fault> {
    let date = || read_date(text, columns.name(index), now);
    match role {
        Role::Email => cells.address = text,
        Role::List => cells.list = text,
        Role::RecordingMode => cells.mode = read_mode(text, columns.name(index))?,
        Role::ConsentSource => cells.source = text,
        Role::ConsentDate => cells.date = date()?,
        Role::ConfirmTime => cells.confirmed = date()?,
        Role::OptinTime => cells.opted_in = date()?,
        Role::Suppression => strengthen(&mut cells.suppression, read_suppression(text, columns.name(index))?),
        Role::UnsubscribeTime => strengthen(&mut cells.suppression, date()?.map(|_| Suppression::Unsubscribed)),
        Role::CleanTime => strengthen(&mut cells.suppression, date()?.map(|_| Suppression::HardBounce)),
        Role::Status => strengthen(&mut cells.suppression, read_status(text, columns.name(index))?),
        Role::FullName => cells.full_name = text,
        Role::Attribute(name) => {
            cells.attributes.insert(name.clone(), text.to_owned());
        }
        Role::JsonAttributes => read_json(&mut cells.attributes, text, columns.name(index))?,
        Role::Dropped => {}
    }
    Ok(())
}

fn read_mode(text: &str, column: &str) -> Result<Option<RecordingMode>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(mode) => Ok(Some(mode)),
        Err(_) => fault(
            RefusalKind::Recording,
            format!("column {column:?} does not say off, aggregate, pseudonymous or identified; leave it empty if nothing was agreed"),
        ),
    }
}

fn read_date(text: &str, column: &str, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    match read_moment(text, now) {
        Ok(moment) => Ok(Some(moment)),
        Err(wrong) => fault(RefusalKind::Date, format!("column {column:?} {wrong}")),
    }
}

fn read_suppression(text: &str, column: &str) -> Result<Option<Suppression>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    match Suppression::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(text)) {
        Some(reason) => Ok(Some(reason)),
        None => fault(RefusalKind::Suppression, format!("column {column:?} does not say unsubscribed, hard bounce, complaint or by hand")),
    }
}

fn read_status(text: &str, column: &str) -> Result<Option<Suppression>, Fault> {
    match text {
        "enabled" | "" => Ok(None),
        "blocklisted" | "blacklisted" => Ok(Some(Suppression::Unsubscribed)),
        "disabled" => Ok(Some(Suppression::ByHand)),
        _ => fault(RefusalKind::Suppression, format!("column {column:?} does not say enabled, disabled or blocklisted")),
    }
}

/// A row holds one reason. What the person did themselves says more than what happened to their mailbox.
fn strengthen(kept: &mut Option<Suppression>, other: Option<Suppression>) {
    let rank = |reason: &Option<Suppression>| match reason {
        None => 0,
        Some(Suppression::ByHand) => 1,
        Some(Suppression::HardBounce) => 2,
        Some(Suppression::Unsubscribed) => 3,
        Some(Suppression::Complaint) => 4,
    };
    if rank(&other) > rank(kept) {
        *kept = other;
    }
}

fn read_json(attributes: &mut BTreeMap<Arc<str>, String>, text: &str, column: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Ok(());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => members.iter().try_for_each(|(name, value)| flatten(attributes, name, value)),
        Ok(Value::Null) => Ok(()),
        _ => fault(RefusalKind::Attributes, format!("column {column:?} is not a JSON object")),
    }
}

/// Nested objects become `outer_inner`, lists of simple values one text.
fn flatten(attributes: &mut BTreeMap<Arc<str>, String>, name: &str, value: &Value) -> Result<(), Fault> {
    let text = match value {
        Value::Object(members) => {
            return members.iter().try_for_each(|(inner, value)| flatten(attributes, &format!("{name}_{inner}"), value));
        }
        Value::Array(values) => values.iter().filter_map(simple_text).collect::<Vec<_>>().join(", "),
        simple => simple_text(simple).unwrap_or_default(),
    };
    if text.is_empty() {
        return Ok(());
    }
    let Some(mut field) = field_name(name) else {
        let why = "a JSON attribute's name cannot be a merge field: use the letters a to z, digits and _, a letter first, at most 64";
        return fault(RefusalKind::Attributes, why);
    };
    if OWN_COLUMNS.contains(&field.as_str()) || Key::of(&field).is_email() {
        field.insert_str(0, "attribute_");
    }
    if text.contains('\0') || text.chars().count() > VALUE_CHARACTERS_MOST {
        let why = format!("a JSON attribute is longer than {VALUE_CHARACTERS_MOST} characters or has a NUL character in it");
        return fault(RefusalKind::Value, why);
    }
    match attributes.insert(field.into(), text) {
        None => Ok(()),
        Some(_) => fault(RefusalKind::Attributes, "two JSON attributes have the same name once written as merge fields"),
    }
}

fn simple_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn assemble(mut cells: Cells<'_>, kind: Kind, options: &ImportOptions, now: Timestamp) -> Result<Row, Fault> {
    let address = match EmailAddress::parse(cells.address) {
        Ok(address) => address,
        Err(invalid) => return fault(RefusalKind::Address, invalid.to_string()),
    };
    let list = if cells.list.is_empty() { options.list.trim() } else { cells.list };
    if list.is_empty() {
        return fault(RefusalKind::List, "no list is named, neither in the row nor for the whole file");
    }
    if list.chars().count() > LIST_CHARACTERS_MOST || list.chars().any(char::is_control) {
        return fault(
            RefusalKind::List,
            format!("the list's name is longer than {LIST_CHARACTERS_MOST} characters or has a line break in it"),
        );
    }
    let (consent, consent_is_weak) = consent(&cells, kind, options, now)?;
    if !cells.full_name.is_empty() {
        let first = cells.full_name.split_whitespace().next().unwrap_or_default();
        cells.attributes.entry("first_name".into()).or_insert_with(|| first.to_owned());
        cells.attributes.entry("name".into()).or_insert_with(|| cells.full_name.to_owned());
    }
    let mode_is_default = cells.mode.is_none() && options.stated.is_none();
    let person = IncomingPerson {
        address,
        attributes: cells.attributes.into_iter().collect::<Box<[_]>>().into_vec(),
        consent,
        consent_is_weak,
        list: list.to_owned(),
        suppression: cells.suppression,
    };
    Ok(Row { person, mode_is_default })
}

/// Each part from the row, else from the options. Without a mode or a date of its own a consent is weak: it is for those who
/// are new, and never overrides a choice. A mode that needs consent is taken only with where and when it was given.
fn consent(cells: &Cells<'_>, kind: Kind, options: &ImportOptions, now: Timestamp) -> Result<(Option<Consent>, bool), Fault> {
    let stated = options.stated.as_ref();
    let at = cells.date.or(cells.confirmed).or(cells.opted_in).or(stated.map(|consent| consent.at));
    let source = source(cells, kind, stated);
    let mode = cells.mode.or(stated.map(|consent| consent.mode));
    if let Some(mode) = mode.filter(|mode| mode.needs_consent()) {
        let lacking = [
            (source.as_deref().is_none_or(|source| source == NOT_STATED), "consent_source (where)"),
            (at.is_none(), "consent_date (when)"),
        ];
        let lacking: Vec<&str> = lacking.into_iter().filter(|(lacks, _)| *lacks).map(|(_, column)| column).collect();
        if !lacking.is_empty() {
            let why = format!(
                "{mode} needs the person's consent: fill in {}, or state it for the whole file; without it write pseudonymous, aggregate or off",
                lacking.join(" and ")
            );
            return fault(RefusalKind::Consent, why);
        }
    }
    if mode.is_none() && at.is_none() && cells.source.is_empty() {
        return Ok((None, true));
    }
    let is_weak = mode.is_none() || at.is_none();
    let source = source.unwrap_or_else(|| if cells.mode.is_some() { "imported file".to_owned() } else { NOT_STATED.to_owned() });
    Ok((Some(Consent { mode: mode.unwrap_or(RecordingMode::Aggregate), source, at: at.unwrap_or(now) }), is_weak))
}

/// Where they agreed, if anything says so.
fn source(cells: &Cells<'_>, kind: Kind, stated: Option<&Consent>) -> Option<String> {
    if !cells.source.is_empty() {
        return Some(cells.source.to_owned());
    }
    let by_mailchimp = || match (kind, cells.confirmed, cells.opted_in) {
        (Kind::Mailchimp, Some(_), _) => Some("Mailchimp export: confirmed".to_owned()),
        (Kind::Mailchimp, None, Some(_)) => Some("Mailchimp export: signed up".to_owned()),
        _ => None,
    };
    stated.map(|consent| consent.source.clone()).or_else(by_mailchimp)
}
