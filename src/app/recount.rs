//! Whether states and counts are what the events say, and making them so, as a user asks for it: both while the service works.
//!
//! Cast: [`verify`], [`rebuild`].

use std::ops::ControlFlow;

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
