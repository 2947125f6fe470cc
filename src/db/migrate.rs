//! Tables brought up to date at start, and a database newer than the binary refused.
//!
//! Cast: [`Step`] (one change of the tables), [`bring_up_to_date`]. The same text is for both engines; where they differ, a line's comment
//! says what stands there on SQLite: `seq BIGINT NOT NULL PRIMARY KEY, -- on SQLite: seq INTEGER PRIMARY KEY,`.
//!
//! It never changes data on its own account: what happens to the tables is written in `migrations/`.

use std::borrow::Cow;
use std::fmt;

use diesel::RunQueryDsl;
use diesel::connection::{BoxableConnection, SimpleConnection};
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel_migrations::MigrationHarness;

use super::{AnyConnection, DbError, DbResult, Room};

/// Introduces what a line is on SQLite.
const ON_SQLITE: &str = " -- on SQLite: ";

/// One change of a room's tables.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The folder's name: a moment and a word.
    pub name: &'static str,
    /// The statements.
    pub up: &'static str,
}

impl Step {
    fn text<B: Engine>(&self) -> Cow<'static, str> {
        if !B::IS_SQLITE || !self.up.contains(ON_SQLITE) {
            return Cow::Borrowed(self.up);
        }
        let line = |line: &'static str| match line.split_once(ON_SQLITE) {
            Some((general, ours)) => {
                let indent = general.len() - general.trim_start().len();
                format!("{}{ours}\n", general.get(..indent).unwrap_or_default())
            }
            None => format!("{line}\n"),
        };
        Cow::Owned(self.up.lines().map(line).collect())
    }
}

/// An engine, and which one it is.
trait Engine: diesel::backend::Backend {
    const IS_SQLITE: bool;
}

impl Engine for diesel::sqlite::Sqlite {
    const IS_SQLITE: bool = true;
}

impl Engine for diesel::pg::Pg {
    const IS_SQLITE: bool = false;
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl MigrationName for Step {
    fn version(&self) -> MigrationVersion<'_> {
        // As the migrations' own tool would name it: the moment without its dashes.
        let moment = self.name.split_once('_').map_or(self.name, |(moment, _)| moment);
        MigrationVersion::from(moment.replace('-', ""))
    }
}

impl MigrationMetadata for Step {}

impl<B: Engine> Migration<B> for Step {
    fn run(&self, connection: &mut dyn BoxableConnection<B>) -> diesel::migration::Result<()> {
        Ok(connection.batch_execute(&self.text::<B>())?)
    }

    fn revert(&self, _: &mut dyn BoxableConnection<B>) -> diesel::migration::Result<()> {
        Err("tables are never taken back; restore a backup made before the upgrade".into())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

/// The steps of a room.
struct Steps(&'static [Step]);

impl<B: Engine> MigrationSource<B> for Steps {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<B>>>> {
        Ok(self.0.iter().map(|step| Box::new(*step) as Box<dyn Migration<B>>).collect())
    }
}

// Any number nobody else uses: two nodes that start together must not migrate together.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_lock(7310583)";
const POSTGRES_UNLOCK: &str = "SELECT pg_advisory_unlock(7310583)";
const APPLIED: &str = "SELECT version FROM __diesel_schema_migrations ORDER BY version";

/// Applies what is missing.
pub(super) fn bring_up_to_date<R: Room>(connection: &mut AnyConnection) -> DbResult<()> {
    match connection {
        AnyConnection::Sqlite(sqlite) => {
            // Looking first waits for no lock: a start is not held up by somebody who writes.
            if is_up_to_date::<R>(diesel::sql_query(APPLIED).load(sqlite)) {
                return Ok(());
            }
            // The write lock first: of two processes that start together the second finds everything done.
            sqlite.immediate_transaction(apply::<R, diesel::sqlite::Sqlite>)
        }
        AnyConnection::Postgres(postgres) => {
            // Looking first wants no right to make tables, either: a tracking node's role has none.
            if is_up_to_date::<R>(diesel::sql_query(APPLIED).load(postgres)) {
                return Ok(());
            }
            postgres.batch_execute(POSTGRES_LOCK)?;
            let applied = apply::<R, diesel::pg::Pg>(postgres);
            postgres.batch_execute(POSTGRES_UNLOCK)?;
            applied
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

/// Whether exactly the known migrations are applied. No: also where that cannot be read, such as in an empty database.
fn is_up_to_date<R: Room>(there: diesel::QueryResult<Vec<Applied>>) -> bool {
    let Ok(applied) = there else { return false };
    let known = known::<R>();
    applied.len() == known.len() && applied.into_iter().all(|row| known.contains(&MigrationVersion::from(row.version)))
}

fn known<R: Room>() -> Vec<MigrationVersion<'static>> {
    R::MIGRATIONS.iter().map(|step| step.version().as_owned()).collect()
}

fn apply<R: Room, B: Engine>(connection: &mut impl MigrationHarness<B>) -> DbResult<()> {
    let failed = |source| DbError::Migration { room: R::NAME, source };
    let applied = connection.applied_migrations().map_err(failed)?;
    let known = known::<R>();
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        let known = known.iter().max().map(ToString::to_string).unwrap_or_default();
        return Err(DbError::Newer { room: R::NAME, found: newer.to_string(), known });
    }
    connection.run_pending_migrations(Steps(R::MIGRATIONS)).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step {
        name: "2026-11-22-000000_foundation",
        up: "CREATE TABLE one (\n    seq BIGINT NOT NULL PRIMARY KEY, -- on SQLite: seq INTEGER PRIMARY KEY,\n    -- A word.\n    id TEXT\n);\n",
    };

    #[test]
    fn a_line_is_what_its_comment_says_on_sqlite_only() {
        assert_eq!(STEP.text::<diesel::pg::Pg>(), STEP.up);
        let sqlite = STEP.text::<diesel::sqlite::Sqlite>();
        assert_eq!(sqlite, "CREATE TABLE one (\n    seq INTEGER PRIMARY KEY,\n    -- A word.\n    id TEXT\n);\n");
        assert_eq!(STEP.version().to_string(), "20261122000000");
    }

    #[test]
    fn event_numbers_are_the_places_of_rows_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = super::super::LedgerDb::open(&super::super::Location::Sqlite(folder.path().join("ledger.db"))).unwrap();
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            many: i64,
        }
        // An index of its own for the numbers would be one tree more to write for every hit.
        let query = "SELECT count(*) AS many FROM pragma_index_list('event') WHERE origin = 'pk'";
        let found = ledger.read(|conn| Ok::<_, DbError>(diesel::sql_query(query).get_result::<Count>(conn.sql())?)).unwrap();
        assert_eq!(found.many, 0);
    }
}
