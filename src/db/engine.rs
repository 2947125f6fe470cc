//! One connection type over both engines.
//!
//! Kept apart because the derive writes public items without documentation of their own.
#![allow(missing_docs)]

use diesel::{PgConnection, SqliteConnection};

/// A connection to either engine. Ordinary queries are written once against it; the few that differ match on its arms.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// PostgreSQL, when one machine is not enough.
    Postgres(PgConnection),
    /// SQLite, embedded, the default.
    Sqlite(SqliteConnection),
}
