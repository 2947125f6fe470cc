//! Tables brought up to date at start, and a database newer than the binary refused.
//!
//! It never changes data on its own account: what happens to the tables is written in `migrations/`.

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel_migrations::MigrationHarness;

use super::{AnyConnection, DbError, DbResult, Room};

// Any number nobody else uses: two nodes that start together must not migrate together.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_lock(7310583)";
const POSTGRES_UNLOCK: &str = "SELECT pg_advisory_unlock(7310583)";
const APPLIED: &str = "SELECT version FROM __diesel_schema_migrations ORDER BY version";

/// Applies what is missing.
pub(super) fn bring_up_to_date<R: Room>(connection: &mut AnyConnection) -> DbResult<()> {
    match connection {
        AnyConnection::Sqlite(sqlite) => {
            // Looking first waits for no lock: a start is not held up by somebody who writes.
            if is_up_to_date::<R, diesel::sqlite::Sqlite>(diesel::sql_query(APPLIED).load(sqlite))? {
                return Ok(());
            }
            // The write lock first: of two processes that start together the second finds everything done.
            sqlite.immediate_transaction(apply::<R, diesel::sqlite::Sqlite>)
        }
        AnyConnection::Postgres(postgres) => {
            // Looking first wants no right to make tables, either: a tracking node's role has none.
            if is_up_to_date::<R, diesel::pg::Pg>(diesel::sql_query(APPLIED).load(postgres))? {
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
fn is_up_to_date<R: Room, B: diesel::backend::Backend>(there: diesel::QueryResult<Vec<Applied>>) -> Result<bool, DbError> {
    let Ok(applied) = there else { return Ok(false) };
    let known = known::<R, B>()?;
    let applied: Vec<MigrationVersion<'static>> = applied.into_iter().map(|row| MigrationVersion::from(row.version)).collect();
    Ok(applied.len() == known.len() && applied.iter().all(|version| known.contains(version)))
}

fn known<R: Room, B: diesel::backend::Backend>() -> Result<Vec<MigrationVersion<'static>>, DbError> {
    let migrations = MigrationSource::<B>::migrations(&R::MIGRATIONS).map_err(|source| DbError::Migration { room: R::NAME, source })?;
    Ok(migrations.iter().map(|migration| migration.name().version().as_owned()).collect())
}

fn apply<R: Room, B: diesel::backend::Backend>(connection: &mut impl MigrationHarness<B>) -> DbResult<()> {
    let failed = |source| DbError::Migration { room: R::NAME, source };
    let applied = connection.applied_migrations().map_err(failed)?;
    let known = known::<R, B>()?;
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        let known = known.iter().max().map(ToString::to_string).unwrap_or_default();
        return Err(DbError::Newer { room: R::NAME, found: newer.to_string(), known });
    }
    connection.run_pending_migrations(R::MIGRATIONS).map_err(failed)?;
    Ok(())
}
