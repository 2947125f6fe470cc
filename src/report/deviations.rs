//! What was done differently from the sealed plan, in words.
//!
//! Cast: [`deviations`], one function per kind.
//!
//! It forbids nothing and changes no number: it tells, so that a reader can judge.

use jiff::Timestamp;

use crate::campaign::store::{Campaign, Pause};
use crate::experiment::decide::Decision;
use crate::experiment::design::Rule;
use crate::experiment::watch::Watched;
use crate::ids::VariantNumber;
use crate::report::counts::Counts;
use crate::report::results::due;
use crate::report::wording::moment;

/// Every deviation of a campaign from its plan. `decision` is what the plan says by now, `won_at` when an anytime-valid test found its
/// winner.
pub fn deviations(campaign: &Campaign, decision: &Decision, won_at: Option<Timestamp>, pauses: &[Pause]) -> Vec<String> {
    let mut deviations: Vec<String> =
        [chosen_early(campaign, decision, won_at), chosen_against(campaign, decision), closed_early(campaign)]
            .into_iter()
            .flatten()
            .collect();
    deviations.extend(pauses.iter().filter_map(|pause| paused(campaign, pause)));
    deviations
}

/// When the anytime-valid test found its winner, to the minute at least.
pub fn won_at(counts: &Counts, watched: Option<&Watched>) -> Option<Timestamp> {
    let after = watched?.won_after()?;
    counts.firsts.as_ref()?.get(after.checked_sub(1)?).map(|(at, _)| *at)
}

fn chosen_early(campaign: &Campaign, decision: &Decision, won_at: Option<Timestamp>) -> Option<String> {
    let ((variant, by), at, due) = (campaign.chosen.as_ref()?, campaign.decided_at?, due(campaign)?);
    let by_rule = is_rules_word(by);
    // An anytime-valid test may be followed as soon as it has found its winner.
    let found = matches!(decision, Decision::Winner { variant: winner, .. } if winner == variant)
        && campaign.definition.design.method == crate::experiment::design::Method::Anytime
        && won_at.is_some_and(|won| won <= at);
    (at < due && !by_rule && !found)
        .then(|| format!("Variant {variant} was chosen for the rest by {by} on {}, before the sealed time of {}.", moment(at), moment(due)))
}

/// With a rule that leaves the choice to a person, only a winner is something to choose against.
fn chosen_against(campaign: &Campaign, decision: &Decision) -> Option<String> {
    let (variant, by) = campaign.chosen.as_ref()?;
    let automatic = campaign.definition.design.rule == Rule::Automatic;
    let (wanted, why) = match decision {
        Decision::Winner { variant, .. } => (*variant, "the test found it to win"),
        Decision::NoWinner { .. } if automatic => (VariantNumber::CONTROL, "without a winner the rest get the control"),
        _ => return None,
    };
    (wanted != *variant && !is_rules_word(by)).then(|| {
        let at = campaign.decided_at.map(|at| format!(" on {}", moment(at))).unwrap_or_default();
        format!("Variant {variant} was chosen for the rest by {by}{at}, though the plan says {wanted}: {why}.")
    })
}

fn is_rules_word(by: &str) -> bool {
    by.starts_with("the sealed rule")
}

fn closed_early(campaign: &Campaign) -> Option<String> {
    let closed = campaign.closed_at?;
    match due(campaign) {
        None => Some(format!("The campaign was closed on {}, before every letter of the test was out.", moment(closed))),
        Some(due) if closed < due => {
            Some(format!("The campaign was closed on {}, before the sealed time of {}.", moment(closed), moment(due)))
        }
        Some(_) => None,
    }
}

/// Only a pause that touched the test: what the rest wait for changes no comparison.
fn paused(campaign: &Campaign, pause: &Pause) -> Option<String> {
    let during_test = campaign.observing_at.is_none_or(|observing| pause.at < observing);
    during_test.then(|| {
        let until = pause.until.map_or_else(|| "and still is".to_owned(), |until| format!("until {}", moment(until)));
        format!("Sending of the test was paused on {} {until}: {}.", moment(pause.at), pause.reason.trim_end_matches('.'))
    })
}
