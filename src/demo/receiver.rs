//! The mailboxes of the demonstration world.
//!
//! Cast: [`Receiver`], an SMTP receiver; [`Fate`], what happens to a letter by the look of its address; [`Received`], a letter taken.
//!
//! It never forwards anything and keeps nothing but counts and which `later.` addresses were tried before (hashed); letters only when it
//! is told to.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::Progress;
use crate::smtpd::{self, Envelope, Handler, Reply};

/// Letters that are kept, if any.
const KEPT_MOST: u64 = 100;

/// What happens to a letter, decided by the beginning of the local part so that a made-up list can hold some of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// `gone.`: refused at once with 550 5.1.1.
    Refused,
    /// `bounces.`: accepted, then sent back as a delivery status notification.
    Returned,
    /// `later.`: put off with 451 once, then delivered.
    Postponed,
    /// Delivered.
    Delivered,
}

impl Fate {
    /// The fate of a letter to this address.
    pub fn of(address: &str) -> Self {
        let starts = |prefix: &str| address.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if starts("gone.") {
            Self::Refused
        } else if starts("bounces.") {
            Self::Returned
        } else if starts("later.") {
            Self::Postponed
        } else {
            Self::Delivered
        }
    }
}

/// A letter as it arrived, for one recipient.
#[derive(Clone)]
pub struct Received {
    /// The return path.
    pub sender: String,
    /// Whom it is for.
    pub recipient: String,
    /// The message.
    pub message: Arc<Vec<u8>>,
}

/// Counts of what never became a delivered letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Refused at RCPT.
    pub(super) refused: u64,
    /// Put off once.
    pub(super) postponed: u64,
}

/// A handle on the counts that outlives the receiver.
#[derive(Clone, Default)]
pub(super) struct Tallies(Arc<(AtomicU64, AtomicU64)>);

impl Tallies {
    pub(super) fn read(&self) -> Tally {
        Tally { refused: self.0.0.load(Ordering::Relaxed), postponed: self.0.1.load(Ordering::Relaxed) }
    }
}

/// The receiver: takes letters and hands them to readers or to returns.
pub struct Receiver {
    letters: mpsc::Sender<Received>,
    returns: mpsc::Sender<Received>,
    progress: watch::Sender<Progress>,
    tallies: Tallies,
    tried: Mutex<HashSet<u64>>,
    keep: Option<PathBuf>,
    kept: AtomicU64,
}

impl Receiver {
    /// Delivered letters go to `letters`, those to be sent back to `returns`.
    pub fn new(letters: mpsc::Sender<Received>, returns: mpsc::Sender<Received>, progress: watch::Sender<Progress>) -> Self {
        Self {
            letters,
            returns,
            progress,
            tallies: Tallies::default(),
            tried: Mutex::new(HashSet::new()),
            keep: None,
            kept: AtomicU64::new(0),
        }
    }

    /// The first letters are also written to files of this folder.
    pub fn keeping(mut self, folder: Option<PathBuf>) -> Self {
        self.keep = folder;
        self
    }

    fn keep(&self, message: &[u8]) -> std::io::Result<()> {
        let Some(folder) = &self.keep else { return Ok(()) };
        let number = self.kept.fetch_add(1, Ordering::Relaxed) + 1;
        if number > KEPT_MOST { Ok(()) } else { std::fs::write(folder.join(format!("{number:03}.eml")), message) }
    }

    pub(super) fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }

    /// Serves until `stop` completes; closes both channels when done.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send) {
        let settings = smtpd::Settings { connections_max: 1000, ..smtpd::Settings::new("mx.demo.example") };
        smtpd::serve(listener, settings, self, stop).await;
    }

    /// Whether this address is tried for the first time.
    fn is_first_try(&self, address: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        address.to_ascii_lowercase().hash(&mut hasher);
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(hasher.finish())
    }
}

impl Handler for Receiver {
    fn recipient(&self, _: &Envelope, recipient: &str) -> Reply {
        match Fate::of(recipient) {
            Fate::Refused => {
                self.tallies.0.0.fetch_add(1, Ordering::Relaxed);
                Reply::mailbox_unknown()
            }
            Fate::Postponed if self.is_first_try(recipient) => {
                self.tallies.0.1.fetch_add(1, Ordering::Relaxed);
                Reply::new(451, [4, 7, 1], "greylisted, try again later")
            }
            _ => Reply::recipient_accepted(),
        }
    }

    async fn message(&self, envelope: Envelope, message: Vec<u8>) -> Reply {
        if self.keep(&message).is_err() {
            return Reply::try_later();
        }
        let message = Arc::new(message);
        for recipient in envelope.recipients {
            let channel = if Fate::of(&recipient) == Fate::Returned { &self.returns } else { &self.letters };
            let received = Received { sender: envelope.sender.clone(), recipient, message: message.clone() };
            if channel.send(received).await.is_err() {
                return Reply::try_later();
            }
            self.progress.send_modify(|progress| progress.received += 1);
        }
        Reply::message_accepted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_address_is_its_fate() {
        let check = |address: &str, fate: Fate| assert_eq!(Fate::of(address), fate, "{address}");
        check("gone.ann@x.example", Fate::Refused);
        check("GONE.ann@x.example", Fate::Refused);
        check("bounces.ann@x.example", Fate::Returned);
        check("later.ann@x.example", Fate::Postponed);
        check("ann@gone.example", Fate::Delivered);
        check("é@x.example", Fate::Delivered);
        check("", Fate::Delivered);
    }
}
