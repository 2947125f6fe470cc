//! Judging stored hits again, as a user asks for it.
//!
//! Cast: [`reclassify`], [`Reclassified`] (what it did).

use serde::Serialize;

use crate::app::lab::Lab;
use crate::campaign::store::Campaign;
use crate::db::DbResult;
use crate::ids::{CampaignNumber, VariantNumber};
use crate::ledger::judgement::{self, Changes, Extent};
use crate::signal::RULESET;

/// What judging a campaign's hits again did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reclassified {
    /// The campaign.
    pub campaign: String,
    /// The version of the rules.
    pub ruleset: u16,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Letters with hits.
    pub letters: usize,
    /// Hits by class before and after.
    pub changes: Changes,
}

/// Judges all stored hits of a campaign again with the rules of this version. A verdict that was written down stays what it is.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn reclassify(lab: &Lab, campaign: &Campaign, dry_run: bool) -> DbResult<Reclassified> {
    let links = |number: CampaignNumber, variant: VariantNumber| lab.tracker.targets.links(number, variant);
    let round = judgement::campaign(&lab.ledger, campaign.number, Extent::All, &links, lab.clock.now(), dry_run)?;
    Ok(Reclassified {
        campaign: campaign.definition.name.clone(),
        ruleset: RULESET,
        dry_run,
        letters: round.letters,
        changes: round.changes,
    })
}
