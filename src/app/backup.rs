//! A backup of everything that cannot be made again: both databases, the keys.
//!
//! Cast: [`backup`], [`Kept`] (a file and where it belongs), [`BackupError`].
//!
//! A backup restored knows nothing of the letters that left since. So that nobody is mailed twice, its copies of campaigns are paused, which
//! the running ones never are by it.

use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::app::config::DkimEntry;
use crate::app::keyfile::write_private;
use crate::app::lab::Lab;
use crate::campaign::state::State;
use crate::campaign::store as campaigns;
use crate::db::{DbError, DbResult, LedgerConn, Location};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A server's database.
    #[error(
        "the {room} is on PostgreSQL, whose own tool backs it up: `pg_dump --format=custom` of the ledger first, of the vault after it. Keep {keys} and the DKIM keys with them; after a restore, pause what was being sent before you start the service"
    )]
    Server {
        /// Which database.
        room: &'static str,
        /// The file of keys.
        keys: String,
    },
    /// The folder is taken.
    #[error("{} is there already; a backup is written into a folder of its own", .0.display())]
    Taken(PathBuf),
    /// A file.
    #[error("{} cannot be written or read", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A database.
    #[error("the {room} cannot be copied")]
    Database {
        /// Which.
        room: &'static str,
        /// What went wrong.
        #[source]
        source: DbError,
    },
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name in the backup.
    pub name: String,
    /// Where it belongs.
    pub place: PathBuf,
}

/// Writes a backup into a new folder while the service works; `told` hears what is being copied. Cut off, it leaves a folder whose name
/// ends with `.partial`.
///
/// # Errors
/// [`BackupError`]; then there is no folder of this name.
pub fn backup(lab: &Lab, folder: &Path, told: &mut dyn FnMut(&str)) -> Result<Vec<Kept>, BackupError> {
    let keys = &lab.config.files.keys;
    let place = |room, location: &Location| match location {
        Location::Sqlite(path) => Ok(path.clone()),
        Location::Postgres(_) => Err(BackupError::Server { room, keys: keys.display().to_string() }),
    };
    let (ledger, vault) = (place("ledger", lab.ledger.location())?, place("vault", lab.vault.location())?);
    let partial = PathBuf::from(format!("{}.partial", folder.display()));
    if let Some(taken) = [folder, &partial].into_iter().find(|path| path.exists()) {
        return Err(BackupError::Taken(taken.to_path_buf()));
    }
    let failed = |file: &Path| {
        let file = file.to_path_buf();
        move |source| BackupError::File { file, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial).map_err(failed(&partial))?;

    let mut kept = Vec::new();
    // The ledger first: what it has not heard of yet it learns from the vault, never the other way round.
    told(&format!("copying the ledger, {}", ledger.display()));
    let reason = format!("restored from a backup of {}: letters that left since then would be sent again", lab.clock.now());
    let pause = |conn: &mut LedgerConn| pause_all(conn, &reason, lab.clock.now());
    lab.ledger.copy_to(&partial.join("ledger.db"), pause).map_err(|source| BackupError::Database { room: "ledger", source })?;
    kept.push(Kept { name: "ledger.db".to_owned(), place: ledger });
    told(&format!("copying the vault, {}", vault.display()));
    lab.vault.copy_to(&partial.join("vault.db"), |_| Ok(())).map_err(|source| BackupError::Database { room: "vault", source })?;
    kept.push(Kept { name: "vault.db".to_owned(), place: vault });
    let dkim = |entry: &DkimEntry| (format!("{}.{}.pem", entry.selector, entry.domain), entry.file.clone());
    let files = std::iter::once(("keys.toml".to_owned(), keys.clone())).chain(lab.config.domain.dkim.iter().map(dkim));
    for (name, place) in files {
        let text = std::fs::read_to_string(&place).map_err(failed(&place))?;
        write_private(&partial.join(&name), &text).map_err(failed(&partial.join(&name)))?;
        kept.push(Kept { name, place });
    }
    let how = partial.join("RESTORE.txt");
    write_private(&how, &how_to_restore(&kept)).map_err(failed(&how))?;
    // What is in the folder has reached the disk before it gets its name.
    for name in kept.iter().map(|kept| kept.name.as_str()).chain([".", "RESTORE.txt"]) {
        let file = partial.join(name);
        std::fs::File::open(&file).and_then(|open| open.sync_all()).map_err(failed(&file))?;
    }
    std::fs::rename(&partial, folder).map_err(failed(folder))?;
    Ok(kept)
}

fn pause_all(conn: &mut LedgerConn, reason: &str, now: jiff::Timestamp) -> DbResult<()> {
    for campaign in campaigns::all(conn)? {
        if !matches!(campaign.state, State::Draft | State::Closed) && campaign.paused.is_none() {
            campaigns::pause(conn, campaign.number, Some(reason), now)?;
        }
    }
    Ok(())
}

fn how_to_restore(kept: &[Kept]) -> String {
    let mut text = "To restore this backup, stop the service and put each file where it belongs, without the files\n\
                    beside a database whose names end with -wal or -shm:\n\n"
        .to_owned();
    for file in kept {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {:<24} {}", file.name, file.place.display());
    }
    text.push_str(
        "\nThen start the service. Its campaigns are paused: this backup does not know which letters left after\n\
         it was made, and would send them again. Look at each campaign before you resume or cancel it.\n\n\
         Not in it: the settings file, hits on their way to the ledger (the spool), returned mail that was not\n\
         understood, and the table of networks, which `letterlab signal networks refresh` makes again.\n",
    );
    text
}
