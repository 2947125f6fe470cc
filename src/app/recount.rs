//! Whether states and counts are what the events say, and making them so, as a user asks for it: both while the service works.
//!
//! Cast: [`verify`], [`rebuild`], [`Background`] (a rebuild that nobody waits for), [`Stage`] (how far it is); [`Checking`] (the one place for
//! verifying in a process), [`Place`] (taken by whoever is at it), [`CheckStage`].

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::app::lab::Lab;
use crate::campaign::store as campaigns;
use crate::db::{DbError, DbResult};
use crate::ids::CampaignNumber;
use crate::ledger::rebuild::{self, Rebuilt};
use crate::ledger::store::{self as events, Progress};
use crate::ledger::verify::{self, Verified, Walk};

/// Derives a campaign's states and counts from its events and compares, all as of one moment. `told` hears how far it is and may end it:
/// then there is no answer.
///
/// # Errors
/// When the ledger cannot be read.
pub fn verify(lab: &Lab, campaign: CampaignNumber, told: &mut dyn FnMut(Walk) -> ControlFlow<()>) -> DbResult<Option<Verified>> {
    lab.ledger.snapshot(|conn| verify::verify_and_tell(conn, campaign, told))
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
        let _place = Begun(self);
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

/// A rebuild that ends without a word, by a panic, is not at work any more.
struct Begun<'a>(&'a Background);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut stage = self.0.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*stage, Stage::Running { .. }) {
            *stage = Stage::Idle;
        }
    }
}

/// How far verifying is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum CheckStage {
    /// Nobody asked since this process started.
    #[default]
    Idle,
    /// At work.
    Running {
        /// The campaign it is at.
        campaign: CampaignNumber,
        /// Of all events up to the last one counted, those of other campaigns included, in per cent.
        percent: u8,
    },
    /// At its end.
    Ended {
        /// When.
        at: Timestamp,
        /// What it found, by campaign.
        campaigns: Vec<Checked>,
    },
    /// Stopped before its end.
    Stopped {
        /// When.
        at: Timestamp,
    },
    /// The ledger failed; the log says how.
    Failed {
        /// When.
        at: Timestamp,
    },
}

/// What verifying a campaign found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The campaign.
    pub campaign: CampaignNumber,
    /// What was found.
    #[serde(flatten)]
    pub verified: Verified,
}

/// Why nothing is verified now.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Somebody else is at it.
    #[error("states and counts are being verified already, which reads every event: wait until that has ended, or stop it")]
    UnderWay,
    /// Somebody ended it.
    #[error("verifying was stopped; nothing was changed")]
    Stopped,
    /// No thread for it.
    #[error("no thread can be had to verify on")]
    Thread(#[from] std::io::Error),
    /// The ledger.
    #[error("the ledger cannot be read")]
    Ledger(#[from] DbError),
}

/// The one place for verifying in a process: it reads every event and holds every recipient in memory, so that two at a time would be twice
/// as much of either.
#[derive(Debug, Default)]
pub struct Checking {
    stage: Mutex<CheckStage>,
    stop: AtomicBool,
}

impl Checking {
    /// How far it is.
    pub fn stage(&self) -> CheckStage {
        self.locked().clone()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, CheckStage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place, for as long as the answer lives; `campaign` is the one it begins with.
    ///
    /// # Errors
    /// [`CheckError::UnderWay`].
    pub fn take(self: &Arc<Self>, campaign: CampaignNumber, now: Timestamp) -> Result<Place, CheckError> {
        let mut stage = self.locked();
        if matches!(*stage, CheckStage::Running { .. }) {
            return Err(CheckError::UnderWay);
        }
        *stage = CheckStage::Running { campaign, percent: 0 };
        self.stop.store(false, Ordering::Relaxed);
        Ok(Place { checking: self.clone(), leaves: CheckStage::Failed { at: now } })
    }

    /// Verifies one campaign while the caller waits.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn one(self: &Arc<Self>, lab: &Lab, campaign: CampaignNumber) -> Result<Verified, CheckError> {
        let place = self.take(campaign, lab.clock.now())?;
        place.work(lab, &[campaign])?.pop().map(|checked| checked.verified).ok_or(CheckError::Stopped)
    }

    /// Begins to verify all campaigns on a thread of its own.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn start(self: &Arc<Self>, lab: &Lab) -> Result<(), CheckError> {
        let all: Vec<CampaignNumber> = lab.ledger.read(campaigns::states)?.into_iter().map(|(number, _)| number).collect();
        let place = self.take(all.first().copied().unwrap_or(CampaignNumber(0)), lab.clock.now())?;
        let lab = lab.clone();
        let spawned = std::thread::Builder::new().name("verify".to_owned()).spawn(move || {
            if let Err(error) = place.work(&lab, &all) {
                tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
            }
        });
        Ok(spawned.map(drop)?)
    }

    /// Ends it after the step it is at.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn verify_all(&self, lab: &Lab, all: &[CampaignNumber]) -> Result<Vec<Checked>, CheckError> {
        let mut found = Vec::new();
        for campaign in all {
            let told = &mut |walk: Walk| {
                let percent = u8::try_from(walk.percent()).unwrap_or(100);
                *self.locked() = CheckStage::Running { campaign: *campaign, percent };
                if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let verified = verify(lab, *campaign, told)?.ok_or(CheckError::Stopped)?;
            found.push(Checked { campaign: *campaign, verified });
        }
        Ok(found)
    }
}

/// The place, taken. Left when dropped, whatever became of the work: a panic, too, must not keep it for ever.
#[derive(Debug)]
pub struct Place {
    checking: Arc<Checking>,
    /// What is told from then on.
    leaves: CheckStage,
}

impl Place {
    fn work(mut self, lab: &Lab, all: &[CampaignNumber]) -> Result<Vec<Checked>, CheckError> {
        let found = self.checking.verify_all(lab, all);
        let at = lab.clock.now();
        self.leaves = match &found {
            Ok(campaigns) => CheckStage::Ended { at, campaigns: campaigns.clone() },
            Err(CheckError::Stopped) => CheckStage::Stopped { at },
            Err(_) => CheckStage::Failed { at },
        };
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.checking.locked() = std::mem::take(&mut self.leaves);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_verifies_at_a_time_and_the_place_is_free_again_whatever_became_of_it() {
        let (checking, now) = (Arc::new(Checking::default()), Timestamp::UNIX_EPOCH);
        let place = checking.take(CampaignNumber(1), now).unwrap();
        let refused = checking.take(CampaignNumber(2), now).unwrap_err();
        assert!(refused.to_string().contains("already"), "{refused}");
        assert_eq!(checking.stage(), CheckStage::Running { campaign: CampaignNumber(1), percent: 0 });
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _place = place;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(checking.stage(), CheckStage::Failed { at: now });
        checking.take(CampaignNumber(2), now).unwrap();
    }
}
