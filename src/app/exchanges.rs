//! Whose mailboxes a small domain's are: its MX, asked for in the background, so that letters to a company whose mail a large provider
//! keeps are counted by that provider's limit.
//!
//! Cast: [`ask`] (one round) with [`Asked`], [`run`] (rounds until told to stop).
//!
//! Each domain is asked about once a month, not each person. No launch waits for it: who is enrolled before the answer counts as `other`.
//! What comes of it is a large provider's name or `other`; the domains themselves never leave the vault but for the question.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::app::domain::dns::Dns;
use crate::app::lab::Lab;
use crate::db::{DbResult, blocking};
use crate::vault::address::{OTHER, provider_by_exchange};
use crate::vault::store as people;

/// Domains of one round.
const ROUND: i64 = 256;
/// Questions on their way at the same time.
const AT_ONCE: usize = 16;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long an answer holds.
const HOLDS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// When a domain without an answer is asked about again.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// How long between rounds when nothing is left to ask.
const IDLE: Duration = Duration::from_secs(20);
/// How long nobody is asked after a round without a single answer: there is no DNS here.
const SILENCE: Duration = Duration::from_mins(10);

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Domains asked about.
    pub asked: usize,
    /// Of them those with an answer.
    pub answered: usize,
}

/// Asks about the domains that are due.
///
/// # Errors
/// A database failure; they are asked about again in an hour.
pub async fn ask(lab: &Lab, dns: &Dns) -> DbResult<Asked> {
    let now = lab.clock.now();
    let later = |wait: SignedDuration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
    let (vault, again) = (lab.vault.clone(), later(AGAIN));
    let due = blocking(move || vault.write(|conn| people::domains_to_ask(conn, now, again, ROUND))).await?;
    let asked = due.len();
    let answers: Vec<(String, &'static str)> = stream::iter(due)
        .map(|domain| async move {
            let exchanges = tokio::time::timeout(PATIENCE, dns.mx(&domain)).await.ok()?.ok()?;
            let provider = exchanges.first().map_or(OTHER, |host| provider_by_exchange(host));
            Some((domain, provider))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let answered = answers.len();
    let (vault, again) = (lab.vault.clone(), later(HOLDS));
    blocking(move || vault.write(|conn| people::learn_domains(conn, &answers, again))).await?;
    Ok(Asked { asked, answered })
}

/// Asks until `stop` says so, unless the settings say not to.
pub async fn run(lab: Lab, mut stop: watch::Receiver<bool>) {
    while lab.config.throttle.by_mx && !*stop.borrow() {
        // Dropped half-way nothing is lost: what was not answered is asked about again.
        tokio::select! {
            () = round(&lab) => {}
            _ = stop.changed() => {}
        }
    }
}

/// One round, and the pause after it.
async fn round(lab: &Lab) {
    let pause = match Dns::new(lab.config.domain.resolver()) {
        Err(why) => {
            tracing::debug!(why, "the DNS cannot be asked whose mailboxes a domain's are");
            SILENCE
        }
        Ok(dns) => match ask(lab, &dns).await {
            Ok(Asked { asked: 0, .. }) => IDLE,
            Ok(Asked { answered: 0, .. }) => {
                tracing::info!("the DNS does not answer; domains of people count as \"other\" until it does");
                SILENCE
            }
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "whose mailboxes a domain's are is not known for now");
                SILENCE
            }
        },
    };
    tokio::time::sleep(pause).await;
}
