//! Statements whose text never changes, kept prepared.
//!
//! Cast: [`Fixed`] (a statement with its values), [`Value`].
//!
//! The query builder prepares anew, every time, whatever holds a literal condition, a list of values or a conflict clause: for statements
//! asked with every letter or batch that costs more than answering them. Texts here are constants; values are bound, never written in.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, HasSqlType, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::{AnyConnection, Conn, DbResult};

/// A statement with a `?` for each of its values; `Row` is what its rows are made of.
pub struct Fixed<'a, Row = ()> {
    /// The text between the values: it is walked through several times for each execution, and looked through once.
    pieces: Vec<&'static str>,
    values: Vec<Value<'a>>,
    row: PhantomData<Row>,
}

/// A value of a statement; arrays exist on PostgreSQL only.
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A text or NULL.
    MaybeText(Option<&'a str>),
    /// A number.
    Number(i64),
    /// A number or NULL.
    MaybeNumber(Option<i64>),
    /// An array of texts.
    Texts(Vec<&'a str>),
    /// One with NULLs in it.
    MaybeTexts(Vec<Option<&'a str>>),
    /// An array of numbers.
    Numbers(Vec<i64>),
    /// One with NULLs in it.
    MaybeNumbers(Vec<Option<i64>>),
}

impl<'a, Row> Fixed<'a, Row> {
    /// As many values as the text has question marks.
    pub fn new(text: &'static str, values: impl Into<Vec<Value<'a>>>) -> Self {
        Self { pieces: text.split('?').collect(), values: values.into(), row: PhantomData }
    }

    /// The text between the values, each with the value after it.
    fn pieces(&self) -> impl Iterator<Item = (&'static str, Option<&Value<'a>>)> {
        self.pieces.iter().copied().zip(self.values.iter().map(Some).chain([None]))
    }
}

impl Fixed<'_> {
    /// Answers how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    pub fn run<R>(self, conn: &mut Conn<R>) -> DbResult<usize> {
        Ok(match conn.sql() {
            AnyConnection::Sqlite(sqlite) => self.execute(sqlite)?,
            AnyConnection::Postgres(postgres) => self.execute(postgres)?,
        })
    }
}

/// Binds a value that both engines have; answers whether it is one.
fn bind<'b, DB>(out: &mut AstPass<'_, 'b, DB>, value: &'b Value<'_>) -> QueryResult<bool>
where
    DB: Backend + HasSqlType<Text> + HasSqlType<BigInt>,
    str: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
    Option<&'b str>: ToSql<Nullable<Text>, DB>,
    Option<i64>: ToSql<Nullable<BigInt>, DB>,
{
    match value {
        Value::Text(text) => out.push_bind_param::<Text, str>(text)?,
        Value::MaybeText(text) => out.push_bind_param::<Nullable<Text>, Option<&'b str>>(text)?,
        Value::Number(number) => out.push_bind_param::<BigInt, i64>(number)?,
        Value::MaybeNumber(number) => out.push_bind_param::<Nullable<BigInt>, Option<i64>>(number)?,
        _ => return Ok(false),
    }
    Ok(true)
}

impl<Row> QueryFragment<Sqlite> for Fixed<'_, Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        for (text, value) in self.pieces() {
            out.push_sql(text);
            if let Some(value) = value
                && !bind(&mut out, value)?
            {
                return Err(Error::QueryBuilderError("an array is given to SQLite".into()));
            }
        }
        Ok(())
    }
}

impl<Row> QueryFragment<Pg> for Fixed<'_, Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (text, value) in self.pieces() {
            out.push_sql(text);
            match value {
                Some(Value::Texts(texts)) => out.push_bind_param::<Array<Text>, _>(texts)?,
                Some(Value::MaybeTexts(texts)) => out.push_bind_param::<Array<Nullable<Text>>, _>(texts)?,
                Some(Value::Numbers(numbers)) => out.push_bind_param::<Array<BigInt>, _>(numbers)?,
                Some(Value::MaybeNumbers(numbers)) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(numbers)?,
                Some(value) => {
                    bind(&mut out, value)?;
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// Known by its text: statements differ in nothing else.
impl<Row> QueryId for Fixed<'_, Row> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Row> Query for Fixed<'_, Row> {
    type SqlType = Row;
}

impl<Row, Connection> RunQueryDsl<Connection> for Fixed<'_, Row> {}

#[cfg(test)]
mod tests {
    use diesel::sqlite::SqliteConnection;

    use super::*;

    type Asked = (Text, Nullable<Text>, BigInt, Nullable<BigInt>);
    type Answered = (String, Option<String>, i64, Option<i64>);

    #[test]
    fn sqlite_gets_every_value_in_its_place_and_no_array() {
        let mut sqlite = SqliteConnection::establish(":memory:").unwrap();
        let mut ask = |values: [Value<'static>; 4]| Fixed::<Asked>::new("SELECT ?, ?, ?, ?", values).load::<Answered>(&mut sqlite);
        let told = ask([Value::Text("1' ? --"), Value::MaybeText(Some("two")), Value::Number(3), Value::MaybeNumber(Some(4))]);
        assert_eq!(told.unwrap(), [("1' ? --".to_owned(), Some("two".to_owned()), 3, Some(4))]);
        let told = ask([Value::Text(""), Value::MaybeText(None), Value::Number(i64::MIN), Value::MaybeNumber(None)]);
        assert_eq!(told.unwrap(), [(String::new(), None, i64::MIN, None)], "the same statement, NULLs");
        for array in [Value::Texts(vec![]), Value::MaybeTexts(vec![]), Value::Numbers(vec![]), Value::MaybeNumbers(vec![])] {
            let refused = ask([array, Value::MaybeText(None), Value::Number(0), Value::MaybeNumber(None)]).unwrap_err();
            assert!(refused.to_string().contains("an array is given to SQLite"), "{refused}");
        }
    }

    #[test]
    fn postgresql_gets_arrays_too() {
        let values = [
            Value::Texts(vec!["a", "b"]),
            Value::Number(1),
            Value::MaybeTexts(vec![Some("c"), None]),
            Value::MaybeText(None),
            Value::Numbers(vec![2, 3]),
            Value::MaybeNumbers(vec![None, Some(4)]),
        ];
        let statement = Fixed::<()>::new("f(?, ?, ?, ?, ?, ?)", values);
        let told = diesel::debug_query::<Pg, _>(&statement).to_string();
        assert_eq!(told, "f($1, $2, $3, $4, $5, $6) -- binds: [[\"a\", \"b\"], 1, [Some(\"c\"), None], None, [2, 3], [None, Some(4)]]");
    }
}
