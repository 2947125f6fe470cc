//! Many people at once: what an import writes, a chunk in one transaction.
//!
//! Both engines write fastest at the end of an index, so people are written in order of their addresses and ids are handed out in
//! the same order. A person's newer choice is never overwritten by an older file: consent counts by the date it was given. An address in
//! other capitals is the same person, whose address stays as it was first given.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use diesel::prelude::*;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::domain::note_domains;
use super::people::{ids_spelt, suppress_row};
use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::vault::address::{EmailAddress, OTHER, may_have_mailboxes, provider};
use crate::vault::people::{Consent, NOT_STATED, Suppression};
use crate::vault::schema::{consent, list, list_field, membership, subscriber};

/// A person as a file states them.
#[derive(Debug, Clone)]
pub struct IncomingPerson {
    /// Where to.
    pub address: EmailAddress,
    /// Merge fields, each name once; empty texts say nothing and change nothing. The names are shared by all who have them.
    pub attributes: Vec<(Arc<str>, String)>,
    /// What they agreed to, if the file says so.
    pub consent: Option<Consent>,
    /// Whether that consent lacks a date or a mode of its own: then it is for those who are new, and never overrides a choice.
    pub consent_is_weak: bool,
    /// The list to put them on.
    pub list: String,
    /// A reason not to mail them, if the file says so.
    pub suppression: Option<Suppression>,
}

/// What became of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Was not there before.
    Added,
    /// Something of them changed.
    Updated,
    /// All of it was known.
    Unchanged,
}

#[derive(Insertable, Clone)]
#[diesel(table_name = subscriber, treat_none_as_default_value = false)]
struct SubscriberRow<'a> {
    id: &'a str,
    address: &'a str,
    provider: &'static str,
    needs_smtputf8: bool,
    attributes: String,
    recording: &'a str,
    consent_source: &'a str,
    consent_at: i64,
    created_at: i64,
    updated_at: i64,
}

#[derive(Insertable, Clone)]
#[diesel(table_name = membership, treat_none_as_default_value = false)]
struct MembershipRow<'a> {
    list_id: &'a str,
    subscriber_id: &'a str,
    joined_at: i64,
}

#[derive(Insertable, Clone)]
#[diesel(table_name = consent, treat_none_as_default_value = false)]
struct ConsentRow {
    id: String,
    subscriber_id: String,
    recording: String,
    source: String,
    agreed_at: i64,
    recorded_at: i64,
}

/// Most values in one `IN (…)`: SQLite takes 32,766 parameters.
const VALUES_AT_ONCE: usize = 5_000;

/// A person as stored, and what this chunk made of them.
struct Stored<'a> {
    id: String,
    address: Cow<'a, str>,
    attributes: Fields<'a>,
    recording: Cow<'a, str>,
    consent_source: Cow<'a, str>,
    consent_at: i64,
    /// Where to, when they are new.
    fresh: Option<&'a EmailAddress>,
    dirty: bool,
}

/// Merge fields in order of their names: a map would take more room than what is in it.
struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    /// Answers whether it changed anything.
    fn set(&mut self, name: &'a str, text: &'a str) -> bool {
        match self.0.binary_search_by(|(known, _)| known.as_ref().cmp(name)) {
            Ok(place) => match self.0.get_mut(place) {
                Some((_, known)) if known != text => *known = Cow::Borrowed(text),
                _ => return false,
            },
            Err(place) => self.0.insert(place, (Cow::Borrowed(name), Cow::Borrowed(text))),
        }
        true
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text)))
    }
}

/// The list's id, made when the list is new.
pub fn list_id(conn: &mut VaultConn, name: &str, fresh_id: &str, now: Timestamp) -> DbResult<String> {
    let find = list::table.filter(list::name.eq(name)).select(list::id);
    if let Some(id) = find.first::<String>(conn.sql()).optional()? {
        return Ok(id);
    }
    diesel::insert_into(list::table)
        .values((list::id.eq(fresh_id), list::name.eq(name), list::created_at.eq(now.as_millisecond())))
        .execute(conn.sql())?;
    Ok(fresh_id.to_owned())
}

/// Adds and updates people, answering for each in order what became of them. `mint` answers a fresh, time-ordered id each time.
///
/// Who states no consent gets `unstated` when new, and keeps what they have when known.
pub fn upsert(
    conn: &mut VaultConn,
    incoming: &[IncomingPerson],
    unstated: &Consent,
    mint: &mut dyn FnMut() -> String,
    now: Timestamp,
) -> DbResult<Vec<Change>> {
    let mut order: Vec<(String, usize, &IncomingPerson)> =
        incoming.iter().enumerate().map(|(index, person)| (person.address.folded(), index, person)).collect();
    // Stable: of rows with one address the later still comes later.
    order.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let groups: Vec<&[(String, usize, &IncomingPerson)]> = order.chunk_by(|(one, ..), (other, ..)| one == other).collect();

    let mut known = load_known(conn, &groups)?;
    let lists = resolve_lists(conn, incoming, mint, now)?;
    let already = load_memberships(conn, &known, &lists)?;
    let mut ids: Vec<String> = (known.len()..groups.len()).map(|_| mint()).collect();
    ids.sort_unstable();
    let mut ids = ids.into_iter();

    let mut changes = vec![Change::Unchanged; incoming.len()];
    let mut superseded = Vec::new();
    let mut fields: HashSet<(&str, &str)> = HashSet::new();
    let mut last_fields: Option<(&str, &IncomingPerson)> = None;
    let mut people: Vec<Stored<'_>> = Vec::with_capacity(groups.len());
    let mut joined: Vec<(usize, &str)> = Vec::with_capacity(groups.len());
    let mut suppressions = Vec::new();
    for group in &groups {
        let Some((folded, _, first)) = group.first() else { continue };
        let start = people.len();
        match known.remove(folded) {
            Some(spellings) => people.extend(spellings),
            None => people.push(new_person(first, unstated, ids.next().unwrap_or_else(&mut *mint))),
        }
        let end = people.len();
        let mut joining: Vec<&str> = Vec::with_capacity(1);
        for (_, index, person) in *group {
            // Imports of old made a row for each spelling: then it is the one that is spelt so.
            let spelt = (start..end).find(|place| people.get(*place).is_some_and(|stored| stored.address == person.address.reveal()));
            let place = spelt.unwrap_or(start);
            let list = lists.get(person.list.as_str()).map(String::as_str).unwrap_or_default();
            // In any spelling: a second one would get every letter twice.
            let mut stored_ones = people.get(start..end).unwrap_or_default().iter().filter(|stored| stored.fresh.is_none());
            let is_member = joining.contains(&list) || stored_ones.any(|stored| already.contains(&(list.to_owned(), stored.id.clone())));
            if !is_member {
                joining.push(list);
                joined.push((place, list));
            }
            let Some(stored) = people.get_mut(place) else { continue };
            let change = if stored.fresh.is_some() && std::ptr::eq(*person, *first) {
                Change::Added
            } else if merge(stored, person, &mut superseded, mint, now) || !is_member {
                Change::Updated
            } else {
                Change::Unchanged
            };
            if let Some(slot) = changes.get_mut(*index) {
                *slot = change;
            }
            // Nearly every row has the columns of the row before.
            let same = last_fields.is_some_and(|(before, one)| before == list && field_names(one).eq(field_names(person)));
            if !same {
                fields.extend(field_names(person).map(|name| (list, name)));
                last_fields = Some((list, *person));
            }
            if let Some(reason) = person.suppression {
                suppressions.push((*index, start..end, reason));
            }
        }
    }

    write_people(conn, &people, now)?;
    write_memberships(conn, &people, &joined, now)?;
    write_consents(conn, superseded)?;
    write_fields(conn, fields)?;
    for (index, spellings, reason) in suppressions {
        let mut is_new = false;
        for stored in people.get(spellings).unwrap_or_default() {
            is_new |= suppress_row(conn, &stored.id, reason, now)?;
        }
        if let Some(change) = changes.get_mut(index).filter(|change| is_new && **change == Change::Unchanged) {
            *change = Change::Updated;
        }
    }
    Ok(changes)
}

fn field_names(person: &IncomingPerson) -> impl Iterator<Item = &str> {
    person.attributes.iter().map(|(name, _)| name.as_ref())
}

type StoredRow = (String, String, String, String, String, i64);

/// Those that are there, by their folded addresses, locked: PostgreSQL would let somebody erase a person between this and the change of what
/// is known of them, and it would stand in the emptied row. Who was erased since their id was found is not found by the address.
fn load_known<'a>(conn: &mut VaultConn, groups: &[&[(String, usize, &IncomingPerson)]]) -> DbResult<HashMap<String, Vec<Stored<'a>>>> {
    let folded: Vec<String> = groups.iter().filter_map(|group| group.first()).map(|(folded, ..)| folded.clone()).collect();
    let ids = ids_spelt(conn, &folded)?;
    let mut known: HashMap<String, Vec<Stored<'a>>> = HashMap::new();
    for some in ids.chunks(VALUES_AT_ONCE) {
        let columns = (
            subscriber::id,
            subscriber::address,
            subscriber::attributes,
            subscriber::recording,
            subscriber::consent_source,
            subscriber::consent_at,
        );
        let there = subscriber::table.filter(subscriber::id.eq_any(some)).order(subscriber::id).select(columns);
        let rows: Vec<StoredRow> = match conn.sql() {
            AnyConnection::Sqlite(sqlite) => there.load(sqlite)?,
            AnyConnection::Postgres(postgres) => there.for_update().load(postgres)?,
        };
        for (id, address, attributes, recording, consent_source, consent_at) in rows {
            let texts: BTreeMap<String, String> =
                serde_json::from_str(&attributes).map_err(|_| DbError::unreadable("a JSON object of texts", "other text"))?;
            let attributes = Fields(texts.into_iter().map(|(name, text)| (Cow::Owned(name), Cow::Owned(text))).collect());
            let (folded, address) = (address.to_ascii_lowercase(), Cow::Owned(address));
            let (recording, consent_source) = (Cow::Owned(recording), Cow::Owned(consent_source));
            let stored = Stored { id, address, attributes, recording, consent_source, consent_at, fresh: None, dirty: false };
            known.entry(folded).or_default().push(stored);
        }
    }
    Ok(known)
}

fn resolve_lists<'a>(
    conn: &mut VaultConn,
    incoming: &'a [IncomingPerson],
    mint: &mut dyn FnMut() -> String,
    now: Timestamp,
) -> DbResult<HashMap<&'a str, String>> {
    let names: BTreeSet<&str> = incoming.iter().map(|person| person.list.as_str()).collect();
    names.into_iter().map(|name| Ok((name, list_id(conn, name, &mint(), now)?))).collect()
}

fn load_memberships(
    conn: &mut VaultConn,
    known: &HashMap<String, Vec<Stored<'_>>>,
    lists: &HashMap<&str, String>,
) -> DbResult<HashSet<(String, String)>> {
    let ids: Vec<&str> = known.values().flatten().map(|stored| stored.id.as_str()).collect();
    let mut found = HashSet::new();
    for list in lists.values() {
        for some in ids.chunks(VALUES_AT_ONCE) {
            let rows: Vec<String> = membership::table
                .filter(membership::list_id.eq(list))
                .filter(membership::subscriber_id.eq_any(some.iter().copied()))
                .select(membership::subscriber_id)
                .load(conn.sql())?;
            found.extend(rows.into_iter().map(|id| (list.clone(), id)));
        }
    }
    Ok(found)
}

fn new_person<'a>(person: &'a IncomingPerson, unstated: &'a Consent, id: String) -> Stored<'a> {
    let given = person.consent.as_ref().unwrap_or(unstated);
    let mut attributes = Fields(Vec::with_capacity(person.attributes.len()));
    for (name, text) in person.attributes.iter().filter(|(_, text)| !text.is_empty()) {
        attributes.set(name, text);
    }
    Stored {
        id,
        address: Cow::Borrowed(person.address.reveal()),
        attributes,
        recording: Cow::Borrowed(given.mode.as_str()),
        consent_source: Cow::Borrowed(&given.source),
        consent_at: given.at.as_millisecond(),
        fresh: Some(&person.address),
        dirty: true,
    }
}

/// Takes over what is new in `person`; answers whether anything was.
fn merge<'a>(
    stored: &mut Stored<'a>,
    person: &'a IncomingPerson,
    superseded: &mut Vec<ConsentRow>,
    mint: &mut dyn FnMut() -> String,
    now: Timestamp,
) -> bool {
    let mut changed = false;
    for (name, text) in person.attributes.iter().filter(|(_, text)| !text.is_empty()) {
        changed |= stored.attributes.set(name, text);
    }
    if let Some(given) = &person.consent {
        let differs = stored.recording != given.mode.as_str() || stored.consent_source != given.source;
        let newer = given.at.as_millisecond() > stored.consent_at && !person.consent_is_weak;
        // A default is nobody's choice: it gives way to any statement.
        let over_default = stored.consent_source == NOT_STATED && given.source != NOT_STATED;
        if (newer || over_default) && differs {
            superseded.push(ConsentRow {
                id: mint(),
                subscriber_id: stored.id.clone(),
                recording: stored.recording.clone().into_owned(),
                source: stored.consent_source.clone().into_owned(),
                agreed_at: stored.consent_at,
                recorded_at: now.as_millisecond(),
            });
            stored.recording = Cow::Borrowed(given.mode.as_str());
            stored.consent_source = Cow::Borrowed(&given.source);
            stored.consent_at = given.at.as_millisecond();
            changed = true;
        }
    }
    stored.dirty |= changed;
    changed
}

fn write_people(conn: &mut VaultConn, people: &[Stored<'_>], now: Timestamp) -> DbResult<()> {
    let json = |stored: &Stored<'_>| serde_json::to_string(&stored.attributes).map_err(|_| DbError::unreadable("texts", "something else"));
    let mut fresh = Vec::with_capacity(people.len());
    let mut small = BTreeSet::new();
    for stored in people.iter().filter(|stored| stored.dirty) {
        if let Some(address) = stored.fresh {
            let provider = provider(address.domain());
            if provider == OTHER && may_have_mailboxes(address.domain()) {
                small.insert(address.domain());
            }
            fresh.push(SubscriberRow {
                id: &stored.id,
                provider,
                needs_smtputf8: address.needs_smtputf8(),
                address: address.reveal(),
                attributes: json(stored)?,
                recording: &stored.recording,
                consent_source: &stored.consent_source,
                consent_at: stored.consent_at,
                created_at: now.as_millisecond(),
                updated_at: now.as_millisecond(),
            });
        } else {
            diesel::update(subscriber::table.find(&stored.id))
                .set((
                    subscriber::attributes.eq(json(stored)?),
                    subscriber::recording.eq(stored.recording.as_ref()),
                    subscriber::consent_source.eq(stored.consent_source.as_ref()),
                    subscriber::consent_at.eq(stored.consent_at),
                    subscriber::updated_at.eq(now.as_millisecond()),
                ))
                .execute(conn.sql())?;
        }
    }
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for row in &fresh {
                diesel::insert_into(subscriber::table).values(row).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            diesel::copy_from(subscriber::table).from_insertable(&fresh).execute(postgres)?;
        }
    }
    note_domains(conn, &small)
}

fn write_memberships(conn: &mut VaultConn, people: &[Stored<'_>], joined: &[(usize, &str)], now: Timestamp) -> DbResult<()> {
    let joined_at = now.as_millisecond();
    let rows = joined
        .iter()
        .filter_map(|(person, list_id)| people.get(*person).map(|stored| MembershipRow { list_id, subscriber_id: &stored.id, joined_at }));
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for row in rows {
                diesel::insert_into(membership::table).values(&row).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            let rows: Vec<MembershipRow<'_>> = rows.collect();
            diesel::copy_from(membership::table).from_insertable(&rows).execute(postgres)?;
        }
    }
    Ok(())
}

fn write_consents(conn: &mut VaultConn, superseded: Vec<ConsentRow>) -> DbResult<()> {
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for row in superseded {
                diesel::insert_into(consent::table).values(row).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            diesel::copy_from(consent::table).from_insertable(&superseded).execute(postgres)?;
        }
    }
    Ok(())
}

fn write_fields(conn: &mut VaultConn, names: HashSet<(&str, &str)>) -> DbResult<()> {
    for (list, name) in names {
        let insert = diesel::insert_into(list_field::table).values((list_field::list_id.eq(list), list_field::name.eq(name)));
        match conn.sql() {
            AnyConnection::Sqlite(sqlite) => insert.on_conflict_do_nothing().execute(sqlite)?,
            AnyConnection::Postgres(postgres) => insert.on_conflict_do_nothing().execute(postgres)?,
        };
    }
    Ok(())
}
