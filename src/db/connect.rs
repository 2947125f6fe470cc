//! A connection to a database, and the file it needs on SQLite.
//!
//! Cast: [`connect`], [`make_private_file`].

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, SqliteConnection};

use super::{AnyConnection, Location, Room};

/// Most processes that may switch a new database to WAL at the same time.
const MOST_AT_ONCE: u32 = 100;

/// An empty file is an empty database. SQLite itself would make it readable by everybody on the machine; its companions take over the
/// rights of this one. A file that is there stays as it is.
pub(super) fn make_private_file(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    if path.exists() {
        return Ok(());
    }
    // Made beside its place and closed before it is there: closing a file takes away every lock this process has on it, SQLite's too.
    let made = tempfile::NamedTempFile::new_in(folder)?.into_temp_path();
    match made.persist_noclobber(path).map_err(|failed| failed.error) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A connection that keeps so many kilobytes of pages, on SQLite.
pub(super) fn connect<R: Room>(location: &Location, cache: u32) -> Result<AnyConnection, diesel::r2d2::Error> {
    use diesel::r2d2::Error;
    match location {
        Location::Postgres(url) => PgConnection::establish(url).map(AnyConnection::Postgres).map_err(Error::ConnectionError),
        Location::Sqlite(path) => {
            let mut sqlite = SqliteConnection::establish(&path.to_string_lossy()).map_err(Error::ConnectionError)?;
            sqlite.batch_execute("PRAGMA busy_timeout = 30000").map_err(Error::QueryError)?;
            use_wal(&mut sqlite).map_err(Error::QueryError)?;
            for pragma in [
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
                "PRAGMA temp_store = MEMORY",
                &format!("PRAGMA secure_delete = {}", if R::FORGETS { "ON" } else { "OFF" }),
                &format!("PRAGMA cache_size = -{cache}"),
                // Four times the usual: pages written again and again while letters leave go to the database's file more seldom.
                "PRAGMA wal_autocheckpoint = 4000",
            ] {
                sqlite.batch_execute(pragma).map_err(Error::QueryError)?;
            }
            Ok(AnyConnection::Sqlite(sqlite))
        }
    }
}

/// Of several that switch a new database to WAL at once, SQLite lets one wait for the others and tells these at once, whatever their
/// time-out, that it is locked: they would wait for each other. They come back when that one is done, and find it switched.
fn use_wal(sqlite: &mut SqliteConnection) -> diesel::QueryResult<()> {
    for _ in 0..MOST_AT_ONCE {
        match sqlite.batch_execute("PRAGMA journal_mode = WAL") {
            // This lock is waited for, up to the time-out.
            Err(error) if error.to_string() == "database is locked" => sqlite.batch_execute("BEGIN IMMEDIATE; COMMIT")?,
            answer => return answer,
        }
    }
    sqlite.batch_execute("PRAGMA journal_mode = WAL")
}

#[cfg(test)]
mod tests {
    use super::super::{READERS_CACHE, Vault, migrate};
    use super::*;

    #[test]
    fn several_may_make_a_database_at_once() {
        for turn in 0..100 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("vault.db");
            let (location, start) = (Location::Sqlite(path.clone()), std::sync::Barrier::new(6));
            let open = || {
                start.wait();
                make_private_file(&path).unwrap();
                let mut connection = connect::<Vault>(&location, READERS_CACHE).unwrap_or_else(|error| panic!("turn {turn}: {error:?}"));
                migrate::bring_up_to_date::<Vault>(&mut connection).unwrap_or_else(|error| panic!("turn {turn}: {error:?}"));
            };
            std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(open))));
        }
    }
}
