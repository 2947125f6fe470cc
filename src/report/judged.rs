//! What the facts say by now, before it is put into words.
//!
//! Cast: [`Judged`] (made by [`Judged::of`], for the page), [`Found`] (made by [`found`], for the background work that writes an anytime-valid
//! test's first crossing down).
//!
//! A verdict of an anytime-valid test rests on the crossing that was written down, never on one that was only seen.

use crate::campaign::store::Campaign;
use crate::db::{DbResult, LedgerConn};
use crate::experiment::decide::{Decision, Evidence, GuardReading, Recorded, decide};
use crate::experiment::watch::Watched;
use crate::ids::VariantNumber;
use crate::ledger::watch::Crossing;
use crate::report::beside;
use crate::report::checks::Checks;
use crate::report::counts::{Counts, Way};
use crate::report::reading::MaybeCount;
use crate::report::replay::Patience;
use crate::stats::{Count, NotEstimable, PValue};

/// A test judged by its counts.
pub struct Judged {
    /// The arms, the control first.
    pub variants: Vec<VariantNumber>,
    /// Their counts in the counting that decides.
    pub standard: Vec<MaybeCount>,
    /// The checks.
    pub checks: Checks,
    /// The guards.
    pub guards: Vec<GuardReading>,
    /// The first successes replayed.
    pub watched: Option<Watched>,
    /// What follows from the sealed rule.
    pub decision: Decision,
}

/// The variants of a campaign.
pub fn variants(campaign: &Campaign) -> Vec<VariantNumber> {
    (0..campaign.definition.variants.len()).filter_map(|arm| u8::try_from(arm).ok()).map(VariantNumber).collect()
}

impl Judged {
    /// Judges.
    pub fn of(campaign: &Campaign, counts: &Counts) -> Self {
        let crossing = counts.watch.as_ref().and_then(|watch| Some((watch.crossing.as_ref()?, watch.settled_at.is_some())));
        let recorded = crossing.map(|(crossing, settled)| Recorded {
            variant: VariantNumber(crossing.variant),
            p_value: PValue::from_ln(crossing.ln_p),
            settled,
        });
        Self::with(campaign, counts, recorded)
    }

    fn with(campaign: &Campaign, counts: &Counts, crossing: Option<Recorded>) -> Self {
        let design = &campaign.definition.design;
        let variants = variants(campaign);
        let standard: Vec<MaybeCount> = variants.iter().map(|variant| counts.count(*variant, design.metric, Way::Standard)).collect();
        let checks = Checks::of(counts, &variants, design.metric, &design.weights);
        let guards = beside::guards(design, counts, &variants);
        let watched = counts.watched.clone();
        let decision = match standard.iter().cloned().collect::<Result<Vec<Count>, NotEstimable>>() {
            Ok(arms) => decide(
                design,
                &Evidence {
                    arms,
                    sample_ratio: checks.sample_ratio(),
                    machine_balance: checks.machine_balance,
                    guards: guards.clone(),
                    watched: watched.clone(),
                    crossing,
                    all_sent: campaign.observing_at.is_some(),
                    is_due: counts.until.is_some(),
                },
            ),
            Err(reason) => Decision::NotEstimable(reason),
        };
        Self { variants, standard, checks, guards, watched, decision }
    }
}

/// What an anytime-valid test shows by now.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The first crossing: the one written down, or one seen now.
    pub crossing: Option<Crossing>,
    /// Whether every check lets it pass.
    pub passes: bool,
}

/// Looks whether an anytime-valid test has crossed its bound.
///
/// # Errors
/// When the ledger cannot be read.
pub fn found(conn: &mut LedgerConn, campaign: &Campaign) -> DbResult<Found> {
    let counts = Counts::read(conn, campaign, Patience::Endless)?;
    let known = counts.watch.as_ref().and_then(|watch| watch.crossing.clone());
    let crossing = match known {
        Some(known) => Some(known),
        None => seen(&counts),
    };
    let recorded = crossing.as_ref().map(|crossing| Recorded {
        variant: VariantNumber(crossing.variant),
        p_value: PValue::from_ln(crossing.ln_p),
        settled: false,
    });
    let passes = recorded.is_some() && matches!(Judged::with(campaign, &counts, recorded).decision, Decision::Winner { .. });
    Ok(Found { crossing, passes })
}

fn seen(counts: &Counts) -> Option<Crossing> {
    let found = counts.watched.as_ref()?.crossing()?;
    Some(Crossing {
        variant: found.variant.0,
        minute: Crossing::minute_of(found.at),
        after: found.after as u64,
        ln_p: found.p_value.ln(),
        successes: found.successes.clone(),
    })
}
