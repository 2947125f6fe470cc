//! A backup of everything that cannot be made again: both databases, the keys.
//!
//! Cast: [`backup`], [`Kept`] (a file and where it belongs), [`BackupError`].
//!
//! A backup restored knows nothing of the letters that left since, nor of who unsubscribed. So that nobody is mailed by itself, its copies of
//! campaigns are paused, which the running ones never are by it.

use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::app::config::DkimEntry;
use crate::app::keyfile::write_private;
use crate::app::lab::Lab;
use crate::campaign::state::State;
use crate::campaign::store as campaigns;
use crate::db::{DbError, DbResult, LedgerConn, Location};
use crate::ids::CampaignNumber;
use crate::ledger::store as events;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A server's database.
    #[error(
        "the {room} is on PostgreSQL, whose own tool backs it up: `pg_dump --format=custom` of the vault first, of the ledger after it, with no launch in between. Keep {keys} and the DKIM keys with them; after a restore, pause every campaign before you start the service"
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
    /// What an earlier one left that was cut off.
    #[error("{} was left by a backup that was cut off; delete it and try again", .0.display())]
    Leftover(PathBuf),
    /// Not a name for a folder.
    #[error("{} names no folder that could be made; write for example backups/today", .0.display())]
    NoName(PathBuf),
    /// Campaigns are launched again and again.
    #[error("a campaign is being launched or has just taken a step; make the backup when that is done")]
    Moving,
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

const VAULT: &str = "vault.db";
const LEDGER: &str = "ledger.db";
/// How often databases are copied that do not belong together.
const TRIES: u32 = 5;

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
    let (vault, ledger) = (place("vault", lab.vault.location())?, place("ledger", lab.ledger.location())?);
    let name = folder.file_name().ok_or_else(|| BackupError::NoName(folder.to_path_buf()))?;
    let folder = folder.with_file_name(name);
    let partial = folder.with_file_name(format!("{}.partial", name.to_string_lossy()));
    if folder.exists() {
        return Err(BackupError::Taken(folder));
    }
    if partial.exists() {
        return Err(BackupError::Leftover(partial));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial).map_err(failed(&partial))?;
    match fill(lab, &partial, [vault, ledger], told) {
        Ok(kept) => {
            std::fs::rename(&partial, &folder).map_err(failed(&folder))?;
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            sync(above)?;
            Ok(kept)
        }
        Err(error) => {
            // It holds nothing that is not elsewhere; what cannot be removed is told of by the next one.
            let _ = std::fs::remove_dir_all(&partial);
            Err(error)
        }
    }
}

fn failed(file: &Path) -> impl FnOnce(std::io::Error) -> BackupError + use<> {
    let file = file.to_path_buf();
    move |source| BackupError::File { file, source }
}

fn sync(file: &Path) -> Result<(), BackupError> {
    std::fs::File::open(file).and_then(|open| open.sync_all()).map_err(failed(file))
}

fn fill(lab: &Lab, partial: &Path, places: [PathBuf; 2], told: &mut dyn FnMut(&str)) -> Result<Vec<Kept>, BackupError> {
    let (keys, [vault, ledger]) = (&lab.config.files.keys, places);
    let mut tries = TRIES;
    while !copied_together(lab, partial, [&vault, &ledger], told)? {
        tries -= 1;
        if tries == 0 {
            return Err(BackupError::Moving);
        }
    }
    let mut kept = vec![Kept { name: VAULT.to_owned(), place: vault }, Kept { name: LEDGER.to_owned(), place: ledger }];
    let dkim = |entry: &DkimEntry| (format!("{}.{}.pem", entry.selector, entry.domain), entry.file.clone());
    let files = std::iter::once(("keys.toml".to_owned(), keys.clone())).chain(lab.config.domain.dkim.iter().map(dkim));
    for (name, place) in files {
        let text = std::fs::read_to_string(&place).map_err(failed(&place))?;
        write_private(&partial.join(&name), &text).map_err(failed(&partial.join(&name)))?;
        kept.push(Kept { name, place });
    }
    let how = partial.join("RESTORE.txt");
    write_private(&how, &how_to_restore(&kept)).map_err(failed(&how))?;
    for name in kept.iter().map(|kept| kept.name.as_str()).chain(["RESTORE.txt", "."]) {
        sync(&partial.join(name))?;
    }
    Ok(kept)
}

/// Copies both databases; `false` when a campaign took a step in between, so that they do not belong together.
///
/// The vault first: what became of letters goes from it to the ledger and is then deleted, so that the other way round it could be in
/// neither. In both, it is told apart by its id. Launching goes the other way and must not lie in between.
fn copied_together(lab: &Lab, partial: &Path, places: [&Path; 2], told: &mut dyn FnMut(&str)) -> Result<bool, BackupError> {
    let now = lab.clock.now();
    let reason = format!(
        "restored from a backup of {now}: it knows neither which letters left since then, which would be sent again, nor who unsubscribed or was erased"
    );
    let of = |room| move |source| BackupError::Database { room, source };
    let [vault, ledger] = places;
    for name in [VAULT, LEDGER] {
        let file = partial.join(name);
        if file.exists() {
            std::fs::remove_file(&file).map_err(failed(&file))?;
        }
    }
    let before = lab.ledger.read(steps).map_err(of("ledger"))?;
    told(&format!("copying the vault, {}", vault.display()));
    lab.vault.copy_to(&partial.join(VAULT), |_| Ok(())).map_err(of("vault"))?;
    told(&format!("copying the ledger, {}", ledger.display()));
    let mut after = Vec::new();
    let pause = |conn: &mut LedgerConn| {
        after = steps(conn)?;
        pause_all(conn, &reason, now)
    };
    lab.ledger.copy_to(&partial.join(LEDGER), pause).map_err(of("ledger"))?;
    Ok(before == after)
}

/// Where every campaign stands, and how many it has enrolled.
fn steps(conn: &mut LedgerConn) -> DbResult<Vec<(CampaignNumber, State, u64)>> {
    let all = campaigns::all(conn)?;
    all.iter().map(|campaign| Ok((campaign.number, campaign.state, events::enrolled(conn, campaign.number)?.values().sum()))).collect()
}

/// A draft may have been launched since, too.
fn pause_all(conn: &mut LedgerConn, reason: &str, now: Timestamp) -> DbResult<()> {
    for campaign in campaigns::all(conn)? {
        if campaign.state != State::Closed {
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
        "\nThen start the service. Its campaigns are paused, drafts too: this backup does not know which letters\n\
         left after it was made, or that a draft was launched, and would send them again. Nor does it know who\n\
         unsubscribed, complained, took measurement back or was suppressed or erased since: they would be mailed\n\
         again. Suppress or erase them before you resume a campaign; better cancel one that was being sent.\n\n\
         Not in it: the settings file, hits on their way to the ledger (the spool), returned mail that was not\n\
         understood, and the table of networks, which `letterlab signal networks refresh` makes again.\n",
    );
    text
}
