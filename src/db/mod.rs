//! Two databases, two types: a [`VaultDb`] is never taken for a [`LedgerDb`], on SQLite and on PostgreSQL alike.
//!
//! Cast: [`Location`] (where a database is), [`Db`] (a pool with one writer on SQLite), [`Conn`] (one connection, typed by its
//! room), [`DbError`], [`blocking`] (runs database work off the async threads), [`fixed`] (statements that stay prepared).
//!
//! It knows no tables and no domain words. Nothing here waits for the network while a transaction is open, and no caller should.

mod connect;
mod copy;
mod engine;
pub mod fixed;
mod migrate;

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::RunQueryDsl as _;
use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager};
use diesel::r2d2::{CustomizeConnection, ManageConnection, Pool, R2D2Connection};

use connect::{connect, make_private_file};
pub use engine::AnyConnection;
pub use migrate::Step;

/// The room of people.
#[derive(Debug, Clone, Copy)]
pub enum Vault {}
/// The room of events.
#[derive(Debug, Clone, Copy)]
pub enum Ledger {}

/// The database of people: the only one that holds names and addresses.
pub type VaultDb = Db<Vault>;
/// The database of events: pseudonyms only.
pub type LedgerDb = Db<Ledger>;
/// A connection to the vault.
pub type VaultConn = Conn<Vault>;
/// A connection to the ledger.
pub type LedgerConn = Conn<Ledger>;

/// What a database call may answer besides its result.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The location does not name a database.
    #[error("{0:?} is not a database location; write sqlite:PATH or postgres://USER@HOST/NAME")]
    Location(String),
    /// No connection could be had.
    #[error("the {room} database at {location} cannot be reached; is it running, and may this user open it?")]
    Unavailable {
        /// Which database.
        room: &'static str,
        /// Where it should be, without credentials.
        location: String,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database was written by a newer Letterlab.
    #[error(
        "the {room} database has version {found}, this Letterlab knows versions up to {known}; start the newer Letterlab, or restore a backup made before the upgrade"
    )]
    Newer {
        /// Which database.
        room: &'static str,
        /// The unknown version.
        found: String,
        /// The newest version known here.
        known: String,
    },
    /// Bringing the tables up to date failed.
    #[error("the {room} database could not be brought up to date")]
    Migration {
        /// Which database.
        room: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A query failed.
    #[error("a database query failed")]
    Query(#[from] diesel::result::Error),
    /// A stored value is not one this version writes.
    #[error("the database holds {value:?} where {expected} is expected; it may have been changed by hand")]
    Unreadable {
        /// What should be there.
        expected: &'static str,
        /// What is there, shortened.
        value: String,
    },
}

impl DbError {
    /// Whether a row with this unique key exists already.
    pub fn is_duplicate(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        matches!(self, Self::Query(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }

    /// A stored text that does not read back as what it should be.
    pub fn unreadable(expected: &'static str, value: impl fmt::Display) -> Self {
        Self::Unreadable { expected, value: value.to_string().chars().take(60).collect() }
    }
}

/// The answer of a store function.
pub type DbResult<T> = Result<T, DbError>;

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A connection string of libpq; may hold a password, so it prints redacted.
    Postgres(String),
}

impl FromStr for Location {
    type Err = DbError;

    fn from_str(text: &str) -> Result<Self, DbError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            if !path.is_empty() {
                return Ok(Self::Sqlite(PathBuf::from(path)));
            }
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(DbError::Location(redact(text)))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => formatter.write_str(&redact(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Hides a password between `//user:` and `@`, and in a query's `password=`.
fn redact(url: &str) -> String {
    let without_query = match url.split_once('?') {
        Some((front, query)) if query.contains("password") => format!("{front}?…"),
        _ => url.to_owned(),
    };
    let Some((scheme, rest)) = without_query.split_once("//") else { return without_query };
    let Some((user, host)) = rest.rsplit_once('@') else { return without_query };
    let name = user.split(':').next().unwrap_or_default();
    if user.contains(':') { format!("{scheme}//{name}:…@{host}") } else { without_query }
}

/// A room's name and tables, implemented for [`Vault`] and [`Ledger`] only.
pub trait Room: Send + Sync + 'static {
    /// The word used in messages.
    const NAME: &'static str;
    /// Whether what is deleted or overwritten becomes zeros in the file, so that nobody who was erased is found in free space. Pages that
    /// are freed are written once more for it.
    const FORGETS: bool;
    /// How its tables came to be, step by step.
    const MIGRATIONS: &'static [Step];
}

impl Room for Vault {
    const NAME: &'static str = "vault";
    const FORGETS: bool = true;
    const MIGRATIONS: &'static [Step] = &[
        Step { name: "2026-11-22-000000_foundation", up: include_str!("../../migrations/vault/2026-11-22-000000_foundation/up.sql") },
        Step { name: "2026-11-23-000000_spellings", up: include_str!("../../migrations/vault/2026-11-23-000000_spellings/up.sql") },
    ];
}

impl Room for Ledger {
    const NAME: &'static str = "ledger";
    const FORGETS: bool = false;
    const MIGRATIONS: &'static [Step] = &[
        Step { name: "2026-11-22-000000_foundation", up: include_str!("../../migrations/ledger/2026-11-22-000000_foundation/up.sql") },
        Step { name: "2026-11-22-000001_filing", up: include_str!("../../migrations/ledger/2026-11-22-000001_filing/up.sql") },
        Step { name: "2026-11-23-000000_cancelled", up: include_str!("../../migrations/ledger/2026-11-23-000000_cancelled/up.sql") },
    ];
}

/// One connection, typed by its room.
pub struct Conn<R> {
    connection: AnyConnection,
    /// Something went wrong on it: whether its server is still there is asked before it is used again.
    is_suspect: bool,
    /// It is not as a fresh one would be, and must not be used again.
    is_lost: bool,
    room: PhantomData<fn() -> R>,
}

impl<R> Conn<R> {
    /// The connection, for the store of this room.
    pub fn sql(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// A room's database: a pool of readers, and on SQLite exactly one writer, so that writers queue in turn instead of failing busy.
pub struct Db<R: Room> {
    readers: Pool<Manager<R>>,
    writer: Pool<Manager<R>>,
    location: Location,
    /// Whether the tables are known to be up to date.
    ready: Arc<AtomicBool>,
}

impl<R: Room> Clone for Db<R> {
    fn clone(&self) -> Self {
        Self { readers: self.readers.clone(), writer: self.writer.clone(), location: self.location.clone(), ready: self.ready.clone() }
    }
}

const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 8;
/// Kilobytes of pages that a connection of SQLite keeps. The system keeps them too: readers need few of their own, who writes needs those
/// that are changed again and again.
const READERS_CACHE: u32 = 1000;
const WRITERS_CACHE: u32 = 10_000;
/// How long a caller waits for a free connection, and a SQLite statement for a lock held by another process.
const WAIT: Duration = Duration::from_secs(30);

impl<R: Room> Db<R> {
    /// Opens a database, creating a SQLite file and its folder when missing, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], [`DbError::Newer`], [`DbError::Migration`].
    pub fn open(location: &Location) -> DbResult<Self> {
        if let Location::Sqlite(path) = location {
            make_private_file(path).map_err(|error| unavailable::<R>(location, error))?;
        }
        let later = Self::open_later(location)?;
        later.bring_up_to_date()?;
        Ok(later)
    }

    /// As [`Db::open`], but without asking the database: the first call that reaches it brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when the pool cannot be made.
    pub fn open_later(location: &Location) -> DbResult<Self> {
        let ready = Arc::new(AtomicBool::new(false));
        let pool = |size, cache| {
            Pool::builder()
                .max_size(size)
                .min_idle(Some(0))
                .connection_timeout(WAIT)
                .test_on_check_out(false)
                .connection_customizer(Box::new(Nothing))
                .build(Manager { location: location.clone(), cache, room: PhantomData })
                .map_err(|error| unavailable::<R>(location, error))
        };
        match location {
            Location::Sqlite(_) => Ok(Self {
                readers: pool(SQLITE_READERS, READERS_CACHE)?,
                writer: pool(1, WRITERS_CACHE)?,
                location: location.clone(),
                ready,
            }),
            Location::Postgres(_) => {
                let shared = pool(POSTGRES_CONNECTIONS, 0)?;
                Ok(Self { readers: shared.clone(), writer: shared, location: location.clone(), ready })
            }
        }
    }

    fn bring_up_to_date(&self) -> DbResult<()> {
        if self.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        // Over a connection of its own: a pool would retry a refusal until its time-out.
        let mut first = connect::<R>(&self.location, READERS_CACHE).map_err(|error| unavailable::<R>(&self.location, error))?;
        migrate::bring_up_to_date::<R>(&mut first)?;
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Where this database is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Runs queries that change nothing.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when no connection can be had, and whatever `work` answers.
    pub fn read<T, E: From<DbError>>(&self, work: impl FnOnce(&mut Conn<R>) -> Result<T, E>) -> Result<T, E> {
        self.bring_up_to_date()?;
        let mut connection = self.readers.get().map_err(|error| unavailable::<R>(&self.location, error))?;
        let answer = work(&mut connection);
        connection.is_suspect = answer.is_err();
        answer
    }

    /// Runs queries that change nothing and see the database as it is at the first of them, whatever others write meanwhile. Nobody waits
    /// for it; what it sees is kept for it as long as it takes.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when no connection can be had, and whatever `work` answers.
    pub fn snapshot<T, E: From<DbError>>(&self, work: impl FnOnce(&mut Conn<R>) -> Result<T, E>) -> Result<T, E> {
        self.bring_up_to_date()?;
        let mut connection = self.readers.get().map_err(|error| unavailable::<R>(&self.location, error))?;
        begin_snapshot(&mut connection.connection).map_err(DbError::from)?;
        let answer = work(&mut connection);
        // There is nothing to commit.
        let ended = <AnyConnection as diesel::Connection>::TransactionManager::rollback_transaction(&mut connection.connection);
        let value = answer?;
        ended.map_err(DbError::from)?;
        Ok(value)
    }

    /// Runs queries in one transaction: all of it happens, or nothing. When it answers, a loss of power takes nothing of it away.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when no connection can be had, a failed commit, and whatever `work` answers.
    pub fn write<T, E: From<DbError>>(&self, work: impl FnOnce(&mut Conn<R>) -> Result<T, E>) -> Result<T, E> {
        self.bring_up_to_date()?;
        let mut connection = self.writer.get().map_err(|error| unavailable::<R>(&self.location, error))?;
        transaction(&mut connection, |_| Ok(()), work)
    }

    /// Cuts SQLite's log to nothing: what was overwritten or deleted is still in it. Answers `false` where somebody reads meanwhile: it then
    /// stays until the next time, or until the last process ends. PostgreSQL takes old rows away by itself (autovacuum).
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when no connection can be had.
    pub fn cut_log(&self) -> DbResult<bool> {
        #[derive(diesel::QueryableByName)]
        struct Cut {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            busy: i32,
        }
        let mut connection = self.writer.get().map_err(|error| unavailable::<R>(&self.location, error))?;
        let AnyConnection::Sqlite(sqlite) = &mut connection.connection else { return Ok(true) };
        // Not as patient as with writers: whoever sends waits for this.
        sqlite.batch_execute("PRAGMA busy_timeout = 1000")?;
        let cut: diesel::QueryResult<Cut> = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(sqlite);
        let restored = sqlite.batch_execute("PRAGMA busy_timeout = 30000");
        connection.is_lost = restored.is_err();
        Ok(cut?.busy == 0)
    }

    /// As [`Db::write`], without waiting for the disk: only a loss of power can take it away, as a whole, and never when anything that
    /// was written later is still there. For what would be done again then.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub fn write_soon<T, E: From<DbError>>(&self, work: impl FnOnce(&mut Conn<R>) -> Result<T, E>) -> Result<T, E> {
        self.bring_up_to_date()?;
        let mut connection = self.writer.get().map_err(|error| unavailable::<R>(&self.location, error))?;
        if matches!(connection.connection, AnyConnection::Postgres(_)) {
            return transaction(&mut connection, |sql| sql.batch_execute("SET LOCAL synchronous_commit = off"), work);
        }
        connection.connection.batch_execute("PRAGMA synchronous = NORMAL").map_err(DbError::from)?;
        let answer = transaction(&mut connection, |_| Ok(()), work);
        // The next one to write waits for the disk, or does not write.
        connection.connection.batch_execute("PRAGMA synchronous = FULL").map_err(|error| {
            connection.is_lost = true;
            DbError::from(error)
        })?;
        answer
    }
}

/// `first` is run at its beginning.
fn transaction<R, T, E: From<DbError>>(
    connection: &mut Conn<R>,
    first: impl FnOnce(&mut AnyConnection) -> diesel::QueryResult<()>,
    work: impl FnOnce(&mut Conn<R>) -> Result<T, E>,
) -> Result<T, E> {
    // Until it has come to a good end.
    connection.is_suspect = true;
    begin(&mut connection.connection).map_err(DbError::from)?;
    let answer = first(&mut connection.connection).map_err(|error| DbError::from(error).into()).and_then(|()| work(connection));
    let sql = &mut connection.connection;
    match answer {
        Ok(value) => {
            <AnyConnection as diesel::Connection>::TransactionManager::commit_transaction(sql).map_err(DbError::from)?;
            connection.is_suspect = false;
            Ok(value)
        }
        Err(error) => {
            // A failed rollback leaves the connection broken; the pool then drops it. The first error tells more.
            let _ = <AnyConnection as diesel::Connection>::TransactionManager::rollback_transaction(sql);
            Err(error)
        }
    }
}

/// On SQLite the write lock is taken at once: a deferred transaction that reads first may fail busy without waiting.
fn begin(connection: &mut AnyConnection) -> Result<(), diesel::result::Error> {
    match connection {
        AnyConnection::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE"),
        AnyConnection::Postgres(postgres) => AnsiTransactionManager::begin_transaction(postgres),
    }
}

/// On SQLite a deferred transaction sees what was committed before its first query; on PostgreSQL only this isolation does.
fn begin_snapshot(connection: &mut AnyConnection) -> Result<(), diesel::result::Error> {
    match connection {
        AnyConnection::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN DEFERRED"),
        AnyConnection::Postgres(postgres) => {
            AnsiTransactionManager::begin_transaction_sql(postgres, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        }
    }
}

fn unavailable<R: Room>(location: &Location, error: impl std::error::Error + Send + Sync + 'static) -> DbError {
    DbError::Unavailable { room: R::NAME, location: location.to_string(), source: Box::new(error) }
}

/// Opens connections for the pool. Our own, because the derived connection would try each engine in turn on any text.
struct Manager<R> {
    location: Location,
    cache: u32,
    room: PhantomData<fn() -> R>,
}

impl<R: Room> ManageConnection for Manager<R> {
    type Connection = Conn<R>;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Conn<R>, Self::Error> {
        connect::<R>(&self.location, self.cache).map(|connection| Conn { connection, is_suspect: false, is_lost: false, room: PhantomData })
    }

    fn is_valid(&self, connection: &mut Conn<R>) -> Result<(), Self::Error> {
        connection.connection.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut Conn<R>) -> bool {
        // A transaction left open (a panic in `work`) or a lost server: never hand this connection out again. Only asking shows that a
        // server is lost: outside of a transaction the connection itself takes no note of it.
        std::thread::panicking()
            || connection.is_lost
            || connection.connection.is_broken()
            || (connection.is_suspect && connection.connection.ping().is_err())
    }
}

#[derive(Debug)]
struct Nothing;
impl<C: Send + 'static, E: 'static> CustomizeConnection<C, E> for Nothing {}

/// Runs database work on a thread made for blocking, and hands its answer back.
///
/// # Errors
/// [`DbError::Query`] when the work panicked; the panic itself is logged by its thread.
pub async fn blocking<T: Send + 'static, E: From<DbError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(_) => Err(DbError::Query(diesel::result::Error::RollbackTransaction).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_ours_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("vault.db");
        let vault = VaultDb::open(&Location::Sqlite(path.clone())).unwrap();
        vault.write(|_| Ok::<_, DbError>(())).unwrap();
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap().flatten() {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.file_name());
        }
        drop(VaultDb::open(&Location::Sqlite(path)).unwrap());
    }

    #[test]
    fn locations_are_read_and_print_without_a_password() {
        assert_eq!("sqlite:a/b.db".parse::<Location>().unwrap(), Location::Sqlite("a/b.db".into()));
        let postgres: Location = "postgres://anna:secret@db.example/vault".parse().unwrap();
        assert_eq!(postgres.to_string(), "postgres://anna:…@db.example/vault");
        let by_query: Location = "postgres:///vault?host=/tmp&password=secret".parse().unwrap();
        assert!(!format!("{by_query:?}").contains("secret"));
        for wrong in ["", "sqlite:", "vault.db", "mysql://a:secret@b/c"] {
            let message = wrong.parse::<Location>().unwrap_err().to_string();
            assert!(!message.contains("secret") && message.contains("sqlite:PATH"), "{message}");
        }
    }
}
