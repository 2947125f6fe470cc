//! Who holds this process's leases, and which of them are still being worked on.
//!
//! Cast: [`Node`], [`Batch`] (one worker's letters: held while it lives, and until everything its worker said is written).
//!
//! A node's name is kept in a file beside the keys, locked while its process lives. Whoever gets the lock knows that no earlier process
//! of that name is left, and may end its leases at once instead of waiting for them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::app::clock;
use crate::ids::EventId;

/// One process that may send.
pub struct Node {
    process: String,
    name: OnceLock<(String, Option<File>)>,
    held: Mutex<Held>,
    batches: AtomicU64,
}

/// Owners of batches.
#[derive(Default)]
struct Held {
    live: BTreeSet<String>,
    /// Left by their workers; what those said last may not be written yet.
    left: BTreeSet<String>,
}

/// Letters one worker is at; dropped when it is done with them, or has panicked.
pub struct Batch {
    node: Arc<Node>,
    owner: Arc<str>,
}

impl Node {
    /// A process that has no name yet.
    pub fn new() -> Self {
        Self {
            process: EventId::from_bytes(clock::fresh()).to_string(),
            name: OnceLock::new(),
            held: Mutex::default(),
            batches: AtomicU64::new(0),
        }
    }

    /// This process, different from every other.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The name, this process's own while none was taken.
    pub fn name(&self) -> &str {
        self.name.get().map_or(&self.process, |(name, _)| name)
    }

    /// Takes the name kept in a file, making it when missing. Answers whether it is ours alone: another living process may have it.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn take_name(&self, path: &Path) -> std::io::Result<bool> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.try_lock().is_err() {
            return Ok(false);
        }
        let mut name = String::new();
        file.read_to_string(&mut name)?;
        let good = |name: &str| name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !good(name.trim()) {
            name = EventId::from_bytes(clock::fresh()).to_string();
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
        }
        Ok(self.name.set((name.trim().to_owned(), Some(file))).is_ok())
    }

    /// A batch about to be leased.
    pub fn batch(self: &Arc<Self>) -> Batch {
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        let owner: Arc<str> = format!("{}/{}/{number}", self.name(), self.process).into();
        self.held().live.insert(owner.to_string());
        Batch { node: self.clone(), owner }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Owners of the batches being worked on, and of those that were left but not [forgotten](Node::forget) yet.
    pub fn holding(&self) -> BTreeSet<String> {
        let held = self.held();
        held.live.union(&held.left).cloned().collect()
    }

    /// Owners of the batches that were left.
    pub fn left(&self) -> BTreeSet<String> {
        self.held().left.clone()
    }

    /// Forgets batches that were left: everything their workers said is written, and no lease of theirs stands.
    pub fn forget(&self, owners: &BTreeSet<String>) {
        self.held().left.retain(|owner| !owners.contains(owner));
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Who holds its leases.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut held = self.node.held();
        held.live.remove(&*self.owner);
        held.left.insert(self.owner.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_living_process_s_and_passes_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sender");
        let (first, second, third) = (Node::new(), Node::new(), Node::new());
        assert!(first.take_name(&path).unwrap());
        assert!(!second.take_name(&path).unwrap(), "the first one lives");
        assert_eq!(second.name(), second.process());
        let name = first.name().to_owned();
        drop(first);
        assert!(third.take_name(&path).unwrap());
        assert_eq!(third.name(), name);
    }

    #[test]
    fn a_batch_is_held_until_what_its_worker_said_is_written() {
        let node = Arc::new(Node::new());
        let (one, other) = (node.batch(), node.batch());
        let owner = |batch: &Batch| batch.owner().to_string();
        let (first, second) = (owner(&one), owner(&other));
        assert_eq!((node.holding(), node.left()), ([first.clone(), second.clone()].into(), BTreeSet::new()));
        drop(one);
        assert_eq!((node.holding(), node.left()), ([first.clone(), second.clone()].into(), [first].into()));
        node.forget(&node.left());
        assert_eq!((node.holding(), node.left()), ([second].into(), BTreeSet::new()));
    }
}
