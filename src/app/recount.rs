//! Whether states and counts are what the events say, and making them so, as a user asks for it: both while the service works.
//!
//! Cast: [`verify`], [`rebuild`], [`Background`] (a rebuild that nobody waits for), [`Stage`] (how far it is).

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::app::lab::Lab;
use crate::campaign::store::{self as campaigns, Campaign};
use crate::db::DbResult;
use crate::ids::CampaignNumber;
use crate::ledger::projection::{self, Verified};
use crate::ledger::rebuild::{self, Rebuilt};
use crate::ledger::store::{self as events, Progress};

/// Derives a campaign's states and counts from its events and compares, all as of one moment.
///
/// # Errors
/// When the ledger cannot be read.
pub fn verify(lab: &Lab, campaign: &Campaign) -> DbResult<Verified> {
    lab.ledger.snapshot(|conn| projection::verify(conn, campaign.number))
}

/// How many recipients a rebuild will look at, and the one that was stopped, if there is one.
///
/// # Errors
/// When the ledger cannot be read.
pub fn to_rebuild(lab: &Lab, scope: Option<CampaignNumber>) -> DbResult<(u64, Option<Progress>)> {
    lab.ledger.snapshot(|conn| Ok((events::recipients(conn, scope)?, events::rebuild(conn, scope)?)))
}

/// Makes states and counts of a campaign, or of all, anew from the events; see [`rebuild::run`].
///
/// # Errors
/// When the ledger cannot be read or written; the next one goes on from there.
pub fn rebuild(
    lab: &Lab,
    scope: Option<CampaignNumber>,
    afresh: bool,
    told: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> DbResult<Rebuilt> {
    let all: Vec<CampaignNumber> = lab.ledger.read(campaigns::states)?.into_iter().map(|(number, _)| number).collect();
    rebuild::run(&lab.ledger, scope, &all, afresh, lab.clock.now(), told)
}

/// How far a rebuild in the background is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Stage {
    /// None was begun since this process started.
    #[default]
    Idle,
    /// At work.
    Running {
        /// Recipients to look at; grows while people arrive.
        of: u64,
        /// Looked at.
        recipients: u64,
        /// Of these mended.
        mended: u64,
    },
    /// At its end, or stopped and to be gone on with.
    Ended {
        /// When.
        at: Timestamp,
        /// What it did.
        #[serde(flatten)]
        rebuilt: Rebuilt,
    },
    /// The ledger failed; the log says how. The next one goes on.
    Failed {
        /// When.
        at: Timestamp,
    },
}

/// A rebuild on a thread of its own, for whoever cannot wait for it: one at a time in a process. Of several processes two may be at it; each
/// thing is corrected once all the same.
#[derive(Debug, Default)]
pub struct Background {
    stage: Mutex<Stage>,
    stop: AtomicBool,
}

impl Background {
    /// How far it is.
    pub fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Begins, or goes on with one that was stopped, over all campaigns; nothing happens when it is at work already.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(self: &Arc<Self>, lab: &Lab) -> std::io::Result<()> {
        {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*stage, Stage::Running { .. }) {
                return Ok(());
            }
            *stage = Stage::Running { of: 0, recipients: 0, mended: 0 };
        }
        self.stop.store(false, Ordering::Relaxed);
        let (this, lab) = (self.clone(), lab.clone());
        let spawned = std::thread::Builder::new().name("rebuild".to_owned()).spawn(move || this.work(&lab));
        if spawned.is_err() {
            self.set(Stage::Idle);
        }
        spawned.map(drop)
    }

    /// Ends it after the thousand recipients it is at.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn work(&self, lab: &Lab) {
        let outcome = to_rebuild(lab, None).and_then(|(of, _)| {
            rebuild(lab, None, false, &mut |progress| {
                self.set(Stage::Running { of, recipients: progress.recipients, mended: progress.mended });
                if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        let at = lab.clock.now();
        self.set(match outcome {
            Ok(rebuilt) => Stage::Ended { at, rebuilt },
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "states and counts could not be made anew; the next try goes on");
                Stage::Failed { at }
            }
        });
    }
}
