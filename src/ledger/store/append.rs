//! Many rows at once, the cheapest way each engine has: on SQLite prepared statements used again and again, on PostgreSQL one statement
//! over arrays, or COPY.
//!
//! Cast: [`rows`] (new events), [`subjects`] (new recipients), [`save_states`] (recipients' states), [`save_states_to_judge`] (and when
//! their hits are to be judged).

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::db::fixed::{Fixed, Value};
use crate::db::{AnyConnection, DbResult, LedgerConn};
use crate::ids::{CampaignNumber, IdText, Pseudonym, VariantNumber};
use crate::ledger::event::{Event, Hit, Whose};
use crate::ledger::schema::{event, subject};
use crate::ledger::subject::{Part, State, Subject};

/// Most rows in one statement of PostgreSQL.
const CHUNK: usize = 10_000;
/// Rows made ready together on SQLite, whose statements take one each: few, so that they stay near the processor.
const HANDFUL: usize = 256;
/// Rows from which on PostgreSQL takes them by COPY, which looks at no conflicts.
const COPY: usize = 500;

#[derive(Insertable)]
#[diesel(table_name = event, treat_none_as_default_value = false)]
struct Row<'a> {
    seq: i64,
    id: &'a str,
    campaign: i64,
    variant: Option<i32>,
    part: Option<&'static str>,
    pseudonym: Option<&'a str>,
    kind: &'static str,
    at: i64,
    link: Option<i32>,
    class: Option<&'static str>,
    confidence: Option<&'static str>,
    reasons: Option<i32>,
    ruleset: Option<i32>,
    family: Option<&'static str>,
    device: Option<&'static str>,
    multiplicity: i32,
    reason: Option<&'a str>,
}

/// A recipient's hit as it came in: what is the same for all of them is the table's default, and nothing is bound for it.
struct HitRow<'a> {
    seq: i64,
    id: &'a str,
    campaign: i64,
    pseudonym: &'a str,
    kind: &'static str,
    at: i64,
    link: Option<i32>,
    class: &'static str,
    confidence: &'static str,
    reasons: i32,
    ruleset: i32,
    family: &'static str,
    device: &'static str,
}

const INSERT_HIT: &str = "INSERT OR IGNORE INTO event (seq, id, campaign, pseudonym, kind, at, link, class, confidence, reasons, ruleset, \
     family, device) VALUES (";

/// Written out, because for the query builder each row is a tree of columns to walk, twice: that costs as much as storing it.
impl QueryFragment<Sqlite> for HitRow<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(INSERT_HIT);
        out.push_bind_param::<BigInt, _>(&self.seq)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.id)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.campaign)?;
        for text in [&self.pseudonym, &self.kind] {
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(text)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Integer>, _>(&self.link)?;
        for text in [&self.class, &self.confidence] {
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(text)?;
        }
        for number in [&self.reasons, &self.ruleset] {
            out.push_sql(", ");
            out.push_bind_param::<Integer, _>(number)?;
        }
        for text in [&self.family, &self.device] {
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(text)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for HitRow<'_> {
    type QueryId = HitRow<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<diesel::SqliteConnection> for HitRow<'_> {}

/// None: it is something else.
fn hit_row<'a>(row: &Row<'a>) -> Option<HitRow<'a>> {
    let plain = row.variant.is_none() && row.part.is_none() && row.multiplicity == 1 && row.reason.is_none();
    let hit = HitRow {
        seq: row.seq,
        id: row.id,
        campaign: row.campaign,
        pseudonym: row.pseudonym?,
        kind: row.kind,
        at: row.at,
        link: row.link,
        class: row.class?,
        confidence: row.confidence?,
        reasons: row.reasons?,
        ruleset: row.ruleset?,
        family: row.family?,
        device: row.device?,
    };
    plain.then_some(hit)
}

/// The texts of an event's identifiers, for its row to borrow.
struct Texts {
    id: IdText,
    pseudonym: Option<IdText>,
}

fn texts(event: &Event) -> Texts {
    let pseudonym = match event.whose {
        Whose::Recipient(pseudonym) => Some(pseudonym.text()),
        Whose::Arm { .. } => None,
    };
    Texts { id: event.id.text(), pseudonym }
}

fn row<'a>(event: &'a Event, texts: &'a Texts, seq: i64) -> Row<'a> {
    let (variant, part) = match event.whose {
        Whose::Recipient(_) => (None, None),
        Whose::Arm { variant, part } => (Some(i32::from(variant.0)), Some(part.as_str())),
    };
    let hit = event.hit.as_ref();
    Row {
        seq,
        id: texts.id.as_str(),
        campaign: i64::from(event.campaign.0),
        variant,
        part,
        pseudonym: texts.pseudonym.as_ref().map(IdText::as_str),
        kind: event.kind.as_str(),
        at: event.at.as_millisecond(),
        link: hit.and_then(|hit| hit.link).map(|link| i32::from(link.0)),
        class: hit.map(|hit| hit.verdict.class.as_str()),
        confidence: hit.map(|hit| hit.verdict.confidence.as_str()),
        reasons: hit.map(|hit| i32::from(hit.verdict.reasons.0)),
        ruleset: hit.map(|hit| i32::from(hit.verdict.ruleset)),
        family: hit.map(|hit| hit.family.as_str()),
        device: hit.map(|hit| hit.device.as_str()),
        multiplicity: hit.map_or(1, |hit: &Hit| i32::from(hit.multiplicity)),
        reason: event.reason.as_deref(),
    }
}

/// Stores events under the numbers from `first` on, but those whose id is known. Answers how many were new.
pub(super) fn rows(conn: &mut LedgerConn, events: &[Event], first: i64) -> DbResult<usize> {
    let mut stored = 0;
    let chunk = if matches!(conn.sql(), AnyConnection::Sqlite(_)) { HANDFUL } else { CHUNK };
    for (events, first) in events.chunks(chunk).zip((first..).step_by(chunk)) {
        let texts: Vec<Texts> = events.iter().map(texts).collect();
        let rows: Vec<Row<'_>> = events.iter().zip(&texts).zip(first..).map(|((event, texts), seq)| row(event, texts, seq)).collect();
        stored += match conn.sql() {
            AnyConnection::Sqlite(sqlite) => insert_prepared(sqlite, &rows)?,
            AnyConnection::Postgres(postgres) => copy_or_insert(postgres, &rows)?,
        };
    }
    Ok(stored)
}

/// Not `on_conflict_do_nothing`: its text is written anew for every row. No column here can be wrong but the id.
fn insert_prepared(sqlite: &mut diesel::SqliteConnection, rows: &[Row<'_>]) -> QueryResult<usize> {
    let mut stored = 0;
    for row in rows {
        stored += match hit_row(row) {
            Some(hit) => hit.execute(sqlite)?,
            None => diesel::insert_or_ignore_into(event::table).values(row).execute(sqlite)?,
        };
    }
    Ok(stored)
}

/// Nearly always all rows are new: they are copied, and only if one is not, each is looked at.
fn copy_or_insert(postgres: &mut diesel::PgConnection, rows: &[Row<'_>]) -> QueryResult<usize> {
    if rows.len() >= COPY {
        use diesel::result::{DatabaseErrorKind, Error};
        // Inside of the caller's transaction this is a savepoint: what failed is as if it had not been tried.
        match postgres.transaction(|postgres| diesel::copy_from(event::table).from_insertable(rows).execute(postgres)) {
            Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {}
            copied => return copied,
        }
    }
    insert_arrays(postgres, rows)
}

const INSERT_ARRAYS: &str = "INSERT INTO event (seq, id, campaign, variant, part, pseudonym, kind, at, link, class, confidence, reasons, \
     ruleset, family, device, multiplicity, reason) \
     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT DO NOTHING";

fn insert_arrays(postgres: &mut diesel::PgConnection, rows: &[Row<'_>]) -> QueryResult<usize> {
    fn column<'a, T>(rows: &'a [Row<'a>], of: impl Fn(&'a Row<'a>) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    diesel::sql_query(INSERT_ARRAYS)
        .into_boxed::<Pg>()
        .bind::<Array<BigInt>, _>(column(rows, |row| row.seq))
        .bind::<Array<Text>, _>(column(rows, |row| row.id))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.campaign))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.variant))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.part))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.pseudonym))
        .bind::<Array<Text>, _>(column(rows, |row| row.kind))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.at))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.link))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.class))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.confidence))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.reasons))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.ruleset))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.family))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.device))
        .bind::<Array<Integer>, _>(column(rows, |row| row.multiplicity))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.reason))
        .execute(postgres)
}

#[derive(Insertable)]
#[diesel(table_name = subject, treat_none_as_default_value = false)]
struct SubjectRow<'a> {
    pseudonym: String,
    campaign: i64,
    variant: i32,
    part: &'static str,
    stratum: &'a str,
    recording: &'static str,
}

fn subject_row(subject: &Subject) -> SubjectRow<'_> {
    SubjectRow {
        pseudonym: subject.pseudonym.to_string(),
        campaign: i64::from(subject.campaign.0),
        variant: i32::from(subject.variant.0),
        part: subject.part.as_str(),
        stratum: &subject.stratum,
        recording: subject.recording.as_str(),
    }
}

/// Adds recipients but those that are there. Answers where the new ones are.
pub(super) fn subjects(conn: &mut LedgerConn, subjects: &[Subject]) -> DbResult<Vec<(CampaignNumber, Part, VariantNumber)>> {
    let place = |subject: &Subject| (subject.campaign, subject.part, subject.variant);
    let mut added = Vec::with_capacity(subjects.len());
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for subject in subjects {
                if diesel::insert_or_ignore_into(subject::table).values(subject_row(subject)).execute(sqlite)? > 0 {
                    added.push(place(subject));
                }
            }
        }
        AnyConnection::Postgres(postgres) => {
            for subjects in subjects.chunks(CHUNK) {
                let rows: Vec<SubjectRow<'_>> = subjects.iter().map(subject_row).collect();
                let new = insert_subjects(postgres, &rows)?;
                if new.len() == subjects.len() {
                    added.extend(subjects.iter().map(place));
                } else {
                    let new: std::collections::HashSet<String> = new.into_iter().map(|one| one.pseudonym).collect();
                    added.extend(
                        rows.iter().zip(subjects).filter(|(row, _)| new.contains(&row.pseudonym)).map(|(_, subject)| place(subject)),
                    );
                }
            }
        }
    }
    Ok(added)
}

#[derive(QueryableByName)]
struct Added {
    #[diesel(sql_type = Text)]
    pseudonym: String,
}

const INSERT_SUBJECTS: &str = "INSERT INTO subject (pseudonym, campaign, variant, part, stratum, recording) \
     SELECT * FROM unnest($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING pseudonym";

fn insert_subjects(postgres: &mut diesel::PgConnection, rows: &[SubjectRow<'_>]) -> QueryResult<Vec<Added>> {
    fn column<'a, T>(rows: &'a [SubjectRow<'a>], of: impl Fn(&'a SubjectRow<'a>) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    diesel::sql_query(INSERT_SUBJECTS)
        .into_boxed::<Pg>()
        .bind::<Array<Text>, _>(column(rows, |row| row.pseudonym.as_str()))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.campaign))
        .bind::<Array<Integer>, _>(column(rows, |row| row.variant))
        .bind::<Array<Text>, _>(column(rows, |row| row.part))
        .bind::<Array<Text>, _>(column(rows, |row| row.stratum))
        .bind::<Array<Text>, _>(column(rows, |row| row.recording))
        .load(postgres)
}

/// Writes recipients' states.
pub fn save_states(conn: &mut LedgerConn, states: &[(Pseudonym, State)]) -> DbResult<()> {
    save(conn, states, None)
}

/// Writes recipients' states, and when their hits are to be judged together: one change of a row instead of two.
pub fn save_states_to_judge(conn: &mut LedgerConn, states: &[(Pseudonym, State)], at: i64) -> DbResult<()> {
    save(conn, states, Some(at))
}

/// Without a moment, the one that is set stays.
const UPDATE: &str = "UPDATE subject SET delivery_flags = ?, open_flags = ?, click_flags = ?, first_open_at = ?, first_click_at = ?, \
     judge_at = coalesce(?, judge_at) WHERE pseudonym = ?";

fn save(conn: &mut LedgerConn, states: &[(Pseudonym, State)], judge_at: Option<i64>) -> DbResult<()> {
    match conn.sql() {
        AnyConnection::Sqlite(sqlite) => {
            for (pseudonym, state) in states {
                let pseudonym = pseudonym.text();
                let values = [
                    Value::Number(i64::from(state.delivery)),
                    Value::Number(i64::from(state.opens)),
                    Value::Number(i64::from(state.clicks)),
                    Value::MaybeNumber(state.first_open_at),
                    Value::MaybeNumber(state.first_click_at),
                    Value::MaybeNumber(judge_at),
                    Value::Text(pseudonym.as_str()),
                ];
                Fixed::<()>::new(UPDATE, values).execute(sqlite)?;
            }
        }
        AnyConnection::Postgres(postgres) => {
            for states in states.chunks(CHUNK) {
                update_arrays(postgres, states, judge_at)?;
            }
        }
    }
    Ok(())
}

/// Without a moment, the one that is set stays.
const UPDATE_ARRAYS: &str = "UPDATE subject SET delivery_flags = new.delivery, open_flags = new.opens, click_flags = new.clicks, \
     first_open_at = new.first_open, first_click_at = new.first_click, judge_at = coalesce($7, judge_at) \
     FROM unnest($1, $2, $3, $4, $5, $6) AS new (pseudonym, delivery, opens, clicks, first_open, first_click) \
     WHERE subject.pseudonym = new.pseudonym";

fn update_arrays(postgres: &mut diesel::PgConnection, states: &[(Pseudonym, State)], judge_at: Option<i64>) -> QueryResult<usize> {
    fn column<T>(states: &[(Pseudonym, State)], of: impl Fn(&State) -> T) -> Vec<T> {
        states.iter().map(|(_, state)| of(state)).collect()
    }
    let pseudonyms: Vec<String> = states.iter().map(|(pseudonym, _)| pseudonym.to_string()).collect();
    diesel::sql_query(UPDATE_ARRAYS)
        .into_boxed::<Pg>()
        .bind::<Array<Text>, _>(pseudonyms)
        .bind::<Array<Integer>, _>(column(states, |state| state.delivery))
        .bind::<Array<Integer>, _>(column(states, |state| state.opens))
        .bind::<Array<Integer>, _>(column(states, |state| state.clicks))
        .bind::<Array<Nullable<BigInt>>, _>(column(states, |state| state.first_open_at))
        .bind::<Array<Nullable<BigInt>>, _>(column(states, |state| state.first_click_at))
        .bind::<Nullable<BigInt>, _>(judge_at)
        .execute(postgres)
}
