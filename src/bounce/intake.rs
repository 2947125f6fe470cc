//! The SMTP listener that returned mail comes to.
//!
//! Cast: [`Listener`] (the handler behind `smtpd`), [`Tallies`] (what came in, for the status page).
//!
//! It accepts mail only for our own return and unsubscribe addresses with genuine tokens, and for postmaster; it never relays. A
//! message is acknowledged after it is stored; what is not understood is kept in a folder for a person to look at.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::bounce::apply::{Applied, apply, token_at};
use crate::db::{VaultDb, blocking};
use crate::ids::{EventId, Mint};
use crate::smtpd::{Envelope, Handler, Reply};
use crate::token::{Keys, Kind};

/// Most messages kept for a person to look at; beyond it they are only counted.
const KEPT_MAX: usize = 1000;

/// Most bytes kept of one.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// What came in since the process started.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Bounces, complaints and unsubscriptions recorded.
    pub recorded: AtomicU64,
    /// Understood, nothing to do.
    pub noted: AtomicU64,
    /// Not understood, or not ours.
    pub not_understood: AtomicU64,
}

/// Takes returned mail in.
#[derive(Clone)]
pub struct Listener {
    /// People, and letters on their way.
    pub vault: VaultDb,
    /// The operator's keys.
    pub keys: Arc<Keys>,
    /// The domain returned mail comes to.
    pub domain: String,
    /// Where messages nobody understood are kept.
    pub kept: PathBuf,
    /// The clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Fresh ids.
    pub mint: Mint,
    /// What came in.
    pub tallies: Arc<Tallies>,
}

impl Handler for Listener {
    fn recipient(&self, _envelope: &Envelope, recipient: &str) -> Reply {
        let domain = recipient.rsplit('@').next().unwrap_or_default();
        if !domain.eq_ignore_ascii_case(&self.domain) {
            return Reply::new(550, [5, 7, 1], "this host takes returned mail only and relays nothing");
        }
        let genuine = |letter, kind| token_at(recipient, letter).is_some_and(|token| self.keys.open(kind, &token).is_ok());
        let postmaster = recipient.split('@').next().is_some_and(|local| local.eq_ignore_ascii_case("postmaster"));
        if postmaster || genuine('b', Kind::Bounce) || genuine('u', Kind::Unsubscribe) {
            Reply::recipient_accepted()
        } else {
            Reply::mailbox_unknown()
        }
    }

    async fn message(&self, envelope: Envelope, message: Vec<u8>) -> Reply {
        let listener = self.clone();
        let done = blocking(move || {
            let now = (listener.now)();
            let applied = apply(&listener.vault, &listener.keys, &message, &envelope.recipients, now, listener.mint)?;
            if applied.wants_eyes() {
                listener.keep(&message);
            }
            Ok::<Applied, crate::db::DbError>(applied)
        })
        .await;
        match done {
            Ok(applied) => {
                self.count(applied);
                tracing::info!(%applied, "returned mail");
                Reply::message_accepted()
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "returned mail cannot be stored yet");
                Reply::try_later()
            }
        }
    }
}

impl Listener {
    fn count(&self, applied: Applied) {
        let tally = match applied {
            Applied::Bounced { .. } | Applied::Complained { .. } | Applied::Unsubscribed { .. } => &self.tallies.recorded,
            Applied::Noted { .. } => &self.tallies.noted,
            Applied::Unmatched | Applied::NotUnderstood => &self.tallies.not_understood,
        };
        tally.fetch_add(1, Ordering::Relaxed);
    }

    /// Best effort: a full disk must not make senders try for days.
    fn keep(&self, message: &[u8]) {
        let kept = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.kept)?;
            if std::fs::read_dir(&self.kept)?.count() < KEPT_MAX {
                let path = self.kept.join(format!("{}.eml", EventId::from_bytes((self.mint)())));
                // It may name people: for its owner only, and no more of it than anybody reads.
                let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
                file.write_all(message.get(..KEPT_BYTES_MAX).unwrap_or(message))?;
            }
            Ok(())
        };
        if let Err(error) = kept() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a returned message could not be kept for reading");
        }
    }
}
