//! What processes that send one campaign tell each other of refused letters, so that its breaker sees all of them.
//!
//! Cast: [`compare`] (one round), [`run`] (rounds until told to stop).
//!
//! It pauses nothing: the next letter that is judged does, in whichever process.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;

use crate::app::lab::Lab;
use crate::db::DbResult;
use crate::delivery::breaker::minute_of;
use crate::delivery::store as deliveries;

/// How long between rounds.
const ROUND: Duration = Duration::from_secs(5);
/// How long what was said is remembered: longer than any window.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Tells the others what relays said to our letters, and learns what they said to theirs. A process that has nothing to tell asks nothing.
///
/// # Errors
/// A database failure; until the next round a campaign is paused by our own letters only.
pub fn compare(lab: &Lab) -> DbResult<()> {
    let now = lab.clock.now();
    let oldest = minute_of(now.checked_sub(KEPT).unwrap_or(now));
    for (campaign, breaker) in lab.sending.breakers() {
        let (told, kept) = {
            let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
            (breaker.tell(), breaker.kept())
        };
        let Some(told) = told else { continue };
        let shared = lab.vault.write(|conn| {
            deliveries::forget_judged_before(conn, oldest)?;
            deliveries::add_judged(conn, campaign, &told)?;
            deliveries::judged(conn, campaign, kept)
        })?;
        breaker.lock().unwrap_or_else(PoisonError::into_inner).learn(shared);
    }
    Ok(())
}

/// Compares until `stop` says so.
pub async fn run(lab: Lab, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let round = lab.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || compare(&round)).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what other processes see of refused letters is not known for now");
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            _ = stop.changed() => {}
        }
    }
}
