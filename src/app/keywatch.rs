//! The keys of a running process: what `letterlab keys rotate` or a copied key file brings is taken up without a restart.
//!
//! Cast: [`KeyWatch`] (one look), [`run`] (a look twice a second and at SIGHUP).
//!
//! It needs no database, so an outage delays nothing. A file that cannot be read changes nothing; no secret is ever printed.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as channel;

use crate::app::clock::Clock;
use crate::app::keyfile::{self, Ring};
use crate::app::outpost::Outpost;
use crate::token::Keys;

/// How often the key file is looked at: far more often than [`HEAD_START_SECONDS`].
const LOOK: Duration = Duration::from_millis(500);
/// How long a new key only opens before it seals, in seconds, so that every process that shares its file knows it before the first letter.
pub const HEAD_START_SECONDS: i64 = 5;

/// Inode, bytes, and seconds and nanoseconds of the last change.
type Look = (u64, u64, i64, i64);

/// A key file and the keys it is for.
pub struct KeyWatch {
    path: PathBuf,
    keys: Keys,
    /// What the file looked like when it was read; none before the first time.
    seen: Option<Option<Look>>,
    /// When another key is to seal.
    next: Option<Timestamp>,
}

impl KeyWatch {
    /// Watches a process's key file.
    pub fn new(outpost: &Outpost) -> Self {
        Self { path: outpost.config.files.keys.clone(), keys: outpost.tracker.keys.clone(), seen: None, next: None }
    }

    /// Reads the file if it has changed, or another key's time has come, or it is `asked` for. Answers whether the keys are others now.
    ///
    /// # Errors
    /// A file that cannot be used, told once; the keys stay as they are.
    pub fn look(&mut self, now: Timestamp, asked: bool) -> anyhow::Result<bool> {
        // Before it is read: what is written in between is seen the next time.
        let look = std::fs::metadata(&self.path).ok().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
        let is_time = self.next.is_some_and(|next| next <= now);
        if !asked && !is_time && self.seen == Some(look) {
            return Ok(false);
        }
        self.seen = Some(look);
        self.next = None;
        let Ring { current, others, next } = keyfile::ring(&self.path, now)?;
        self.next = next;
        Ok(self.keys.take_up(current, others))
    }
}

/// Looks until `stop` says so.
pub async fn run(mut watch: KeyWatch, clock: Clock, mut stop: channel::Receiver<bool>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!("SIGHUP cannot be listened for: {error}");
            None
        }
    };
    let mut asked = false;
    while !*stop.borrow() {
        let now = clock.now();
        // A small file, now and then: not worth a thread of its own.
        match watch.look(now, asked) {
            Ok(false) => {}
            Ok(true) => tracing::info!(key = watch.keys.current_id(), "signing keys were read again; this one signs"),
            Err(error) => tracing::error!("signing keys cannot be read again; those known stay in use: {error:#}"),
        }
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        asked = tokio::select! {
            _ = hung_up => true,
            () = tokio::time::sleep(LOOK) => false,
            _ = stop.changed() => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Bearer, Kind, Payload};
    use jiff::SignedDuration;

    #[test]
    fn a_new_key_opens_at_once_seals_in_its_time_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let now = Timestamp::constant(1_790_000_000, 0);
        let keys = keyfile::read_or_create(&path, [1; 32], now).unwrap();
        let mut watch = KeyWatch { path: path.clone(), keys: keys.clone(), seen: None, next: None };
        assert!(!watch.look(now, false).unwrap());

        let from = now.checked_add(SignedDuration::from_secs(HEAD_START_SECONDS)).unwrap();
        assert_eq!(keyfile::rotate(&path, [2; 32], from).unwrap(), 2);
        assert!(watch.look(now, false).unwrap());
        let payload = Payload {
            kind: Kind::Open,
            campaign: crate::ids::CampaignNumber(1),
            bearer: Bearer::Arm { rest: false },
            variant: crate::ids::VariantNumber(0),
            link: None,
            mode: crate::ids::RecordingMode::Aggregate,
        };
        let by_the_new_one = Keys::new((2, [2; 32]), vec![]).seal(&payload);
        assert_eq!((keys.current_id(), keys.open(Kind::Open, &by_the_new_one)), (1, Ok(payload)));
        assert!(!watch.look(now, false).unwrap(), "its time has not come");
        assert!(watch.look(from, false).unwrap());
        assert_eq!(keys.current_id(), 2);

        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(watch.look(from, false).is_err());
        assert!(!watch.look(from, false).unwrap(), "told once");
        std::fs::remove_file(&path).unwrap();
        assert!(watch.look(from, false).is_err());
        assert_eq!((keys.current_id(), keys.open(Kind::Open, &by_the_new_one)), (2, Ok(payload)));
        std::fs::write(&path, whole).unwrap();
        assert!(!watch.look(from, false).unwrap(), "as before");
    }
}
