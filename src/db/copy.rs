//! A copy of a database as it is at one moment, while others go on reading and writing.
//!
//! Cast: [`Db::copy_to`]. SQLite only: PostgreSQL's own tools do it there.

use std::path::Path;

use diesel::RunQueryDsl as _;
use diesel::sql_types::Text;

use super::connect::{connect, make_private_file};
use super::{Conn, Db, DbError, DbResult, Location, READERS_CACHE, Room, transaction, unavailable};

impl<R: Room> Db<R> {
    /// Copies the database into a new file, readable by its owner only, and does `finish` in the copy.
    ///
    /// # Errors
    /// [`DbError::Location`] on PostgreSQL; when the file is there or cannot be written.
    pub fn copy_to(&self, file: &Path, finish: impl FnOnce(&mut Conn<R>) -> DbResult<()>) -> DbResult<()> {
        if !matches!(self.location(), Location::Sqlite(_)) {
            return Err(DbError::Location(self.location().to_string()));
        }
        let copy = Location::Sqlite(file.to_path_buf());
        make_private_file(file).map_err(|error| unavailable::<R>(&copy, error))?;
        let name = file.to_string_lossy().into_owned();
        self.read(|conn| Ok::<_, DbError>(diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(name).execute(conn.sql())?))?;
        let connection = connect::<R>(&copy, READERS_CACHE).map_err(|error| unavailable::<R>(&copy, error))?;
        let mut conn = Conn { connection, is_suspect: false, is_lost: false, room: std::marker::PhantomData };
        // The last connection that is closed takes the files beside the database away.
        transaction(&mut conn, |_| Ok(()), finish)
    }
}
