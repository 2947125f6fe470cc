//! Lists, people, consent and suppression: reading, and the single changes people and bounces cause.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::sql_types::Text;
use jiff::Timestamp;

use super::domain::large_providers;
use super::{moment, read};
use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbError, DbResult, VaultConn};
use crate::ids::{RecordingMode, SubscriberId};
use crate::vault::address::{EmailAddress, OTHER};
use crate::vault::people::{Consent, List, Person, RosterEntry, Suppression};
use crate::vault::schema::{consent, list, list_field, mail_domain, membership, subscriber, suppression};

/// Every list with its counts, by name.
pub fn lists(conn: &mut VaultConn) -> DbResult<Vec<List>> {
    let sql = conn.sql();
    let names: Vec<(String, String)> = list::table.order(list::name).select((list::id, list::name)).load(sql)?;
    let people: HashMap<String, i64> = membership::table
        .group_by(membership::list_id)
        .select((membership::list_id, diesel::dsl::count_star()))
        .load::<(String, i64)>(sql)?
        .into_iter()
        .collect();
    let mut suppressed = HashMap::new();
    for (id, _) in &names {
        let count: i64 = membership::table
            .filter(membership::list_id.eq(id))
            .filter(membership::subscriber_id.eq_any(suppression::table.select(suppression::subscriber_id)))
            .count()
            .get_result(sql)?;
        suppressed.insert(id.clone(), count);
    }
    let count = |counts: &HashMap<String, i64>, id: &str| counts.get(id).copied().unwrap_or_default().unsigned_abs();
    Ok(names.into_iter().map(|(id, name)| List { people: count(&people, &id), suppressed: count(&suppressed, &id), name }).collect())
}

/// All people, each counted once and erased ones not, and those of them who may not be mailed.
pub fn people_count(conn: &mut VaultConn) -> DbResult<(u64, u64)> {
    let erased = format!("%{ERASED}");
    let people: i64 = subscriber::table.filter(subscriber::address.not_like(&erased)).count().get_result(conn.sql())?;
    let suppressed: i64 = subscriber::table
        .filter(subscriber::address.not_like(&erased))
        .filter(subscriber::id.eq_any(suppression::table.select(suppression::subscriber_id)))
        .count()
        .get_result(conn.sql())?;
    Ok((people.unsigned_abs(), suppressed.unsigned_abs()))
}

/// The names of all lists.
pub fn list_names(conn: &mut VaultConn) -> DbResult<Vec<String>> {
    Ok(list::table.order(list::name).select(list::name).load(conn.sql())?)
}

/// The merge fields that people of a list have; `None` when there is no such list.
pub fn fields(conn: &mut VaultConn, name: &str) -> DbResult<Option<BTreeSet<String>>> {
    let Some(id) = list::table.filter(list::name.eq(name)).select(list::id).first::<String>(conn.sql()).optional()? else {
        return Ok(None);
    };
    let names = list_field::table.filter(list_field::list_id.eq(id)).select(list_field::name).load::<String>(conn.sql())?;
    Ok(Some(names.into_iter().collect()))
}

/// How many people of a list may be mailed.
pub fn eligible_count(conn: &mut VaultConn, name: &str) -> DbResult<u64> {
    let count: i64 = membership::table
        .inner_join(list::table.on(list::id.eq(membership::list_id)))
        .filter(list::name.eq(name))
        .filter(diesel::dsl::not(membership::subscriber_id.eq_any(suppression::table.select(suppression::subscriber_id))))
        .count()
        .get_result(conn.sql())?;
    Ok(count.unsigned_abs())
}

/// Up to `limit` people of a list who may be mailed, in order of their ids, after `after`.
pub fn eligible(conn: &mut VaultConn, name: &str, after: Option<SubscriberId>, limit: i64) -> DbResult<Vec<RosterEntry>> {
    let rows: Vec<(String, String, String, String)> = membership::table
        .inner_join(list::table.on(list::id.eq(membership::list_id)))
        .inner_join(subscriber::table.on(subscriber::id.eq(membership::subscriber_id)))
        .filter(list::name.eq(name))
        .filter(membership::subscriber_id.gt(after.map(|id| id.to_string()).unwrap_or_default()))
        .filter(diesel::dsl::not(membership::subscriber_id.eq_any(suppression::table.select(suppression::subscriber_id))))
        .order(membership::subscriber_id)
        .limit(limit)
        .select((subscriber::id, subscriber::address, subscriber::provider, subscriber::recording))
        .load(conn.sql())?;
    let small: BTreeSet<&str> =
        rows.iter().filter(|(_, _, provider, _)| provider == OTHER).map(|(_, address, ..)| domain(address)).collect();
    let behind = large_providers(conn, &small)?;
    rows.iter()
        .map(|(id, address, provider, recording)| {
            let provider = behind.get(domain(address)).filter(|_| provider == OTHER).unwrap_or(provider).clone();
            Ok(RosterEntry { id: read("a subscriber id", id)?, provider, recording: read("a recording mode", recording)? })
        })
        .collect()
}

fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

type PersonRow = (String, String, String, String);

/// A list of ids as one value: a statement with a place for each would be prepared anew for every batch of letters.
const PEOPLE: &str = "SELECT id, address, attributes, recording FROM subscriber WHERE id IN (SELECT value FROM json_each(?))";
const PEOPLE_OF_ARRAY: &str = "SELECT id, address, attributes, recording FROM subscriber WHERE id = ANY (?)";
const SUPPRESSED: &str = "SELECT subscriber_id, reason FROM suppression WHERE subscriber_id IN (SELECT value FROM json_each(?))";
const SUPPRESSED_OF_ARRAY: &str = "SELECT subscriber_id, reason FROM suppression WHERE subscriber_id = ANY (?)";

/// Ids are letters and digits: nothing in them needs escaping.
fn json<T: AsRef<str>>(ids: &[T]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id.as_ref())).collect();
    format!("[{}]", quoted.join(","))
}

/// People by their ids, with what a letter needs and whether they may be mailed. Unknown ids are missing from the answer.
pub fn people_by_id(conn: &mut VaultConn, ids: &[SubscriberId]) -> DbResult<HashMap<SubscriberId, Person>> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<PersonRow> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => Fixed::<(Text, Text, Text, Text)>::new(PEOPLE, [Value::Text(&json(&texts))]).load(sqlite)?,
        AnyConnection::Postgres(postgres) => {
            let values = [Value::Texts(texts.iter().map(String::as_str).collect())];
            Fixed::<(Text, Text, Text, Text)>::new(PEOPLE_OF_ARRAY, values).load(postgres)?
        }
    };
    let suppressed = suppressions(conn, &texts)?;
    rows.into_iter()
        .map(|row| {
            let reason = suppressed.get(&row.0).copied();
            let person = person(row, reason)?;
            Ok((person.id, person))
        })
        .collect()
}

/// One page of a list, in order of addresses, for those who may see people.
pub fn people_of_list(conn: &mut VaultConn, name: &str, after: &str, limit: i64) -> DbResult<Vec<Person>> {
    let rows: Vec<PersonRow> = membership::table
        .inner_join(list::table.on(list::id.eq(membership::list_id)))
        .inner_join(subscriber::table.on(subscriber::id.eq(membership::subscriber_id)))
        .filter(list::name.eq(name))
        .filter(subscriber::address.gt(after))
        .order(subscriber::address)
        .limit(limit)
        .select((subscriber::id, subscriber::address, subscriber::attributes, subscriber::recording))
        .load(conn.sql())?;
    let ids: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    let suppressed = suppressions(conn, &ids)?;
    rows.into_iter()
        .map(|row| {
            let reason = suppressed.get(&row.0).copied();
            person(row, reason)
        })
        .collect()
}

/// The person with this address, spelt so or else in other capitals.
pub fn person_by_address(conn: &mut VaultConn, address: &EmailAddress) -> DbResult<Option<Person>> {
    let mut people = people_spelt(conn, address)?;
    let place = people.iter().position(|person| person.address == *address).unwrap_or_default();
    Ok((place < people.len()).then(|| people.swap_remove(place)))
}

/// Everybody with this address, in capitals or without, in order of their ids. Imports make no second one, those of old did.
pub fn people_spelt(conn: &mut VaultConn, address: &EmailAddress) -> DbResult<Vec<Person>> {
    let ids = ids_spelt(conn, &[address.folded()])?;
    let ids: Vec<SubscriberId> = ids.iter().map(|id| read("a subscriber id", id)).collect::<DbResult<_>>()?;
    let mut people = people_by_id(conn, &ids)?;
    Ok(ids.iter().filter_map(|id| people.remove(id)).collect())
}

/// Most addresses looked up at once: of more, PostgreSQL would rather read everybody.
const SPELLINGS_AT_ONCE: usize = 5_000;

/// Those without capitals are in the index of addresses; only the others, which are few in most lists, in one of their own.
const SPELT: &str = "SELECT id FROM subscriber WHERE address IN (SELECT value FROM json_each(?)) \
     UNION ALL SELECT id FROM subscriber INDEXED BY subscriber_spelt \
     WHERE lower(address) IN (SELECT value FROM json_each(?)) AND address <> lower(address)";
/// `OFFSET 0` keeps PostgreSQL from reading everybody: it cannot know how few an address has. Its lower-case letters, too, are ASCII's here.
const SPELT_OF_ARRAY: &str = "SELECT id FROM subscriber WHERE address = ANY (?) \
     UNION ALL SELECT spelt.id FROM unnest(?::text[]) AS wanted (folded) CROSS JOIN LATERAL \
     (SELECT id FROM subscriber WHERE lower(address COLLATE \"C\") = wanted.folded AND address <> lower(address COLLATE \"C\") OFFSET 0) \
     AS spelt";

/// The ids of all whose addresses are these but for capitals, in their order. The addresses are [`EmailAddress::folded`], each once.
pub(super) fn ids_spelt(conn: &mut VaultConn, folded: &[String]) -> DbResult<Vec<String>> {
    let mut ids = Vec::new();
    for some in folded.chunks(SPELLINGS_AT_ONCE) {
        let found: Vec<String> = match conn.sql() {
            AnyConnection::Sqlite(sqlite) => {
                let json = serde_json::to_string(some).map_err(|_| DbError::unreadable("texts", "something else"))?;
                Fixed::<Text>::new(SPELT, [Value::Text(&json), Value::Text(&json)]).load(sqlite)?
            }
            AnyConnection::Postgres(postgres) => {
                let texts: Vec<&str> = some.iter().map(String::as_str).collect();
                Fixed::<Text>::new(SPELT_OF_ARRAY, [Value::Texts(texts.clone()), Value::Texts(texts)]).load(postgres)?
            }
        };
        ids.extend(found);
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Why people may not be mailed; of several reasons the one that says most: what they did themselves says more than what happened to
/// their mailbox.
pub(super) fn suppressions<T: AsRef<str>>(conn: &mut VaultConn, ids: &[T]) -> DbResult<HashMap<String, Suppression>> {
    let rank = |reason: Suppression| match reason {
        Suppression::Complaint => 3,
        Suppression::Unsubscribed => 2,
        Suppression::HardBounce => 1,
        Suppression::ByHand => 0,
    };
    let rows: Vec<(String, String)> = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => Fixed::<(Text, Text)>::new(SUPPRESSED, [Value::Text(&json(ids))]).load(sqlite)?,
        AnyConnection::Postgres(postgres) => {
            let values = [Value::Texts(ids.iter().map(AsRef::as_ref).collect())];
            Fixed::<(Text, Text)>::new(SUPPRESSED_OF_ARRAY, values).load(postgres)?
        }
    };
    let mut strongest: HashMap<String, Suppression> = HashMap::with_capacity(rows.len());
    for (id, word) in rows {
        let reason = suppression_word(&word)?;
        let known = strongest.entry(id).or_insert(reason);
        if rank(reason) > rank(*known) {
            *known = reason;
        }
    }
    Ok(strongest)
}

fn suppression_word(word: &str) -> DbResult<Suppression> {
    Suppression::ALL.into_iter().find(|reason| reason.as_str() == word).ok_or_else(|| DbError::unreadable("a suppression", word))
}

fn person((id, address, attributes, recording): PersonRow, suppressed: Option<Suppression>) -> DbResult<Person> {
    let attributes: BTreeMap<String, String> =
        serde_json::from_str(&attributes).map_err(|_| DbError::unreadable("a JSON object of texts", "other text"))?;
    Ok(Person {
        id: read("a subscriber id", &id)?,
        // Parsed when it came in; a stored address that no longer parses was changed by hand.
        address: EmailAddress::parse(&address).map_err(|_| DbError::unreadable("an e-mail address", "other text"))?,
        attributes,
        recording: read("a recording mode", &recording)?,
        suppressed,
    })
}

/// No more letters to this person, for this reason, however their address is spelt: the same mailbox may be there twice. Saying it twice
/// changes nothing. Answers whether it was new.
pub fn suppress(conn: &mut VaultConn, id: SubscriberId, reason: Suppression, now: Timestamp) -> DbResult<bool> {
    let key = id.to_string();
    let address: Option<String> = subscriber::table.find(&key).select(subscriber::address).first(conn.sql()).optional()?;
    let mut ids = match address {
        Some(address) => ids_spelt(conn, &[address.to_ascii_lowercase()])?,
        None => Vec::new(),
    };
    // Also where the address has changed in between.
    if !ids.contains(&key) {
        ids.push(key);
    }
    let mut is_new = false;
    for id in &ids {
        is_new |= suppress_row(conn, id, reason, now)?;
    }
    Ok(is_new)
}

/// Of one row alone: whoever calls it has all that are spelt like it. Answers whether it was new.
pub(super) fn suppress_row(conn: &mut VaultConn, id: &str, reason: Suppression, now: Timestamp) -> DbResult<bool> {
    let row = (suppression::subscriber_id.eq(id), suppression::reason.eq(reason.as_str()), suppression::at.eq(now.as_millisecond()));
    let insert = diesel::insert_into(suppression::table).values(row);
    let changed = match conn.sql() {
        AnyConnection::Sqlite(sqlite) => insert.on_conflict_do_nothing().execute(sqlite)?,
        AnyConnection::Postgres(postgres) => insert.on_conflict_do_nothing().execute(postgres)?,
    };
    Ok(changed > 0)
}

/// Takes a suppression back: the person subscribed again, or the operator knows better.
pub fn unsuppress(conn: &mut VaultConn, id: SubscriberId, reason: Suppression) -> DbResult<bool> {
    let row = suppression::table.find((id.to_string(), reason.as_str()));
    Ok(diesel::delete(row).execute(conn.sql())? > 0)
}

/// What is after the @ of a row that held a person once. Nobody can have such an address (RFC 2606).
const ERASED: &str = "@erased.invalid";

/// Leaves nothing of a person but an empty row that is never mailed, so that letters already counted stay counted.
pub fn empty(conn: &mut VaultConn, id: SubscriberId, now: Timestamp) -> DbResult<()> {
    let key = id.to_string();
    let domain: Option<String> = subscriber::table
        .find(&key)
        .select(subscriber::address)
        .first::<String>(conn.sql())
        .optional()?
        .map(|address| domain(&address).to_owned());
    // The person's row first, as imports do, which then find nobody of this address.
    diesel::update(subscriber::table.find(&key))
        .set((
            subscriber::address.eq(format!("{key}{ERASED}")),
            subscriber::provider.eq(OTHER),
            subscriber::needs_smtputf8.eq(false),
            subscriber::attributes.eq("{}"),
            subscriber::recording.eq(RecordingMode::Off.as_str()),
            subscriber::consent_source.eq("erased"),
            subscriber::consent_at.eq(now.as_millisecond()),
            subscriber::created_at.eq(now.as_millisecond()),
            subscriber::updated_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    diesel::delete(membership::table.filter(membership::subscriber_id.eq(&key))).execute(conn.sql())?;
    diesel::delete(consent::table.filter(consent::subscriber_id.eq(&key))).execute(conn.sql())?;
    let others =
        suppression::table.filter(suppression::subscriber_id.eq(&key)).filter(suppression::reason.ne(Suppression::ByHand.as_str()));
    diesel::delete(others).execute(conn.sql())?;
    suppress(conn, id, Suppression::ByHand, now)?;
    domain.map_or(Ok(()), |domain| forget_domain(conn, &domain))
}

/// A small domain may name a person as well as the whole address does.
fn forget_domain(conn: &mut VaultConn, domain: &str) -> DbResult<()> {
    let shared: Option<String> =
        subscriber::table.filter(subscriber::address.like(format!("%@{domain}"))).select(subscriber::id).first(conn.sql()).optional()?;
    if shared.is_none() {
        diesel::delete(mail_domain::table.find(domain)).execute(conn.sql())?;
    }
    Ok(())
}

/// Makes what a person agreed to what counts; what counted before is kept in the history under `record_id`.
pub fn record_consent(conn: &mut VaultConn, id: SubscriberId, given: &Consent, record_id: &str, now: Timestamp) -> DbResult<()> {
    let Some(before) = current_consent(conn, id)? else { return Ok(()) };
    diesel::insert_into(consent::table)
        .values((
            consent::id.eq(record_id),
            consent::subscriber_id.eq(id.to_string()),
            consent::recording.eq(before.mode.as_str()),
            consent::source.eq(&before.source),
            consent::agreed_at.eq(before.at.as_millisecond()),
            consent::recorded_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    diesel::update(subscriber::table.find(id.to_string()))
        .set((
            subscriber::recording.eq(given.mode.as_str()),
            subscriber::consent_source.eq(&given.source),
            subscriber::consent_at.eq(given.at.as_millisecond()),
            subscriber::updated_at.eq(now.as_millisecond()),
        ))
        .execute(conn.sql())?;
    Ok(())
}

fn current_consent(conn: &mut VaultConn, id: SubscriberId) -> DbResult<Option<Consent>> {
    let row: Option<(String, String, i64)> = subscriber::table
        .find(id.to_string())
        .select((subscriber::recording, subscriber::consent_source, subscriber::consent_at))
        .first(conn.sql())
        .optional()?;
    row.map(consent_value).transpose()
}

fn consent_value((mode, source, at): (String, String, i64)) -> DbResult<Consent> {
    Ok(Consent { mode: read::<RecordingMode>("a recording mode", &mode)?, source, at: moment(at)? })
}

/// Everything a person agreed to, oldest first; the last is what counts.
pub fn consents(conn: &mut VaultConn, id: SubscriberId) -> DbResult<Vec<Consent>> {
    let rows: Vec<(String, String, i64)> = consent::table
        .filter(consent::subscriber_id.eq(id.to_string()))
        .order((consent::recorded_at, consent::id))
        .select((consent::recording, consent::source, consent::agreed_at))
        .load(conn.sql())?;
    let mut consents = rows.into_iter().map(consent_value).collect::<DbResult<Vec<_>>>()?;
    consents.extend(current_consent(conn, id)?);
    Ok(consents)
}

/// Removes a list and its memberships; the people stay. Answers whether there was one.
pub fn delete_list(conn: &mut VaultConn, name: &str) -> DbResult<bool> {
    Ok(diesel::delete(list::table.filter(list::name.eq(name))).execute(conn.sql())? > 0)
}
