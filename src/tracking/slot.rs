//! A process's own place in the spool: one folder, held by a lock that ends with the process.
//!
//! Cast: [`Slot`], [`claim`] (the first folder nobody holds), [`orphans`] (those whose process is gone), [`folders`].
//!
//! Several processes may share one spool: each has its folder `1`, `2` …. What a dead one left is loaded by whoever lives.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::segment::sync_folder;
use crate::ids::{EventId, Mint};

/// Folders tried at most.
const SLOTS: u32 = 1000;

/// A folder this process holds.
pub struct Slot {
    /// The folder.
    pub folder: PathBuf,
    /// Names its position in the ledger: random, made once.
    pub id: String,
    // Released by the operating system, whatever happens to this process.
    _lock: File,
}

/// Takes the first free folder, making it when needed.
///
/// # Errors
/// When the spool's folder cannot be written, or every slot is held.
pub fn claim(root: &Path, mint: Mint) -> io::Result<Slot> {
    for number in 1..=SLOTS {
        let folder = root.join(number.to_string());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        if let Some(slot) = hold(folder, mint)? {
            sync_folder(root)?;
            return Ok(slot);
        }
    }
    Err(io::Error::other(format!("all {SLOTS} folders of the spool are held by other processes")))
}

/// Folders that hold an id and that no process holds; they are held by the caller until it drops them.
///
/// # Errors
/// When the spool's folder cannot be read.
pub fn orphans(root: &Path, mint: Mint) -> io::Result<Vec<Slot>> {
    let mut found = Vec::new();
    for folder in folders(root)? {
        found.extend(hold(folder, mint)?);
    }
    Ok(found)
}

/// Every slot's folder, held or not.
///
/// # Errors
/// When the spool's folder cannot be read; one that is not there has none.
pub fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.join("id").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The id of a slot's folder.
///
/// # Errors
/// When it cannot be read.
pub fn id_of(folder: &Path) -> io::Result<String> {
    Ok(std::fs::read_to_string(folder.join("id"))?.trim().to_owned())
}

fn hold(folder: PathBuf, mint: Mint) -> io::Result<Option<Slot>> {
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    if !folder.join("id").is_file() {
        // Whole or not there at all.
        let unfinished = folder.join("id.new");
        std::fs::write(&unfinished, format!("{}\n", EventId::from_bytes(mint())))?;
        File::open(&unfinished)?.sync_all()?;
        std::fs::rename(&unfinished, folder.join("id"))?;
        sync_folder(&folder)?;
    }
    Ok(Some(Slot { id: id_of(&folder)?, folder, _lock: lock }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_folder_and_a_dead_ones_is_found() {
        let root = tempfile::tempdir().unwrap();
        let mint: Mint = || [7; 16];
        let first = claim(root.path(), mint).unwrap();
        let second = claim(root.path(), mint).unwrap();
        assert_ne!(first.folder, second.folder);
        assert!(orphans(root.path(), mint).unwrap().is_empty());
        let (folder, id) = (first.folder.clone(), first.id.clone());
        drop(first);
        let found = orphans(root.path(), mint).unwrap();
        assert_eq!(found.iter().map(|slot| (&slot.folder, &slot.id)).collect::<Vec<_>>(), [(&folder, &id)]);
    }
}
