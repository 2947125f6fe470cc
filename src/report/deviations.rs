//! What was done differently from the sealed plan, in words.
//!
//! Cast: [`deviations`], one function per kind; [`against`], for the moment of a choice.
//!
//! It forbids nothing and changes no number: it tells, so that a reader can judge.

use jiff::Timestamp;

use crate::campaign::store::{Campaign, Pause};
use crate::experiment::decide::Decision;
use crate::experiment::design::{Method, Rule};
use crate::ids::VariantNumber;
use crate::report::page::{Outcome, Verdict};
use crate::report::results::due;
use crate::report::wording::moment;

/// Every deviation of a campaign from its plan. `decision` is what the plan says by now, `settled_at` when an anytime-valid test's winner
/// was written down.
pub fn deviations(campaign: &Campaign, decision: &Decision, settled_at: Option<Timestamp>, pauses: &[Pause]) -> Vec<String> {
    let mut deviations: Vec<String> =
        [chosen_early(campaign, decision, settled_at), chosen_against(campaign), closed_early(campaign)].into_iter().flatten().collect();
    deviations.extend(pauses.iter().filter_map(|pause| paused(campaign, pause)));
    deviations
}

/// What a choice by hand goes against, in words, when it is made: to be kept with the choice. None when the plan leaves it open, and before the
/// sealed time, which is told by its time.
pub fn against(verdict: &Verdict, rule: Rule, variant: VariantNumber) -> Option<String> {
    let chosen = variant.to_string();
    match verdict.outcome {
        Outcome::Winner => {
            let winner = verdict.winner.as_deref().filter(|winner| *winner != chosen)?;
            Some(format!("though the plan says {winner}: the test found it to win"))
        }
        // With a rule that leaves the choice to a person, only a winner is something to choose against.
        Outcome::NoWinner => (rule == Rule::Automatic && variant != VariantNumber::CONTROL)
            .then(|| format!("though the plan says {}: without a winner the rest get the control", VariantNumber::CONTROL)),
        Outcome::Stopped => Some(format!("though a check had stopped the verdict ({})", verdict.sentence.trim_end_matches('.'))),
        Outcome::NotEstimable => Some(format!("though the plan names none: the counts allowed no verdict ({})", verdict.detail)),
        Outcome::NotYet => None,
    }
}

fn chosen_early(campaign: &Campaign, decision: &Decision, settled_at: Option<Timestamp>) -> Option<String> {
    let ((variant, by), at, due) = (campaign.chosen.as_ref()?, campaign.chosen_at.or(campaign.decided_at)?, due(campaign)?);
    let by_rule = is_rules_word(by);
    // An anytime-valid test may be followed as soon as its winner is written down.
    let found = matches!(decision, Decision::Winner { variant: winner, .. } if winner == variant)
        && campaign.definition.design.method == Method::Anytime
        && settled_at.is_some_and(|settled| settled <= at);
    // What stood against it then says more than that it was early.
    (at < due && !by_rule && !found && campaign.chosen_against.is_none())
        .then(|| format!("Variant {variant} was chosen for the rest by {by} on {}, before the sealed time of {}.", moment(at), moment(due)))
}

fn chosen_against(campaign: &Campaign) -> Option<String> {
    let (variant, by) = campaign.chosen.as_ref()?;
    let against = campaign.chosen_against.as_ref()?;
    let at = campaign.chosen_at.map(|at| format!(" on {}", moment(at))).unwrap_or_default();
    Some(format!("Variant {variant} was chosen for the rest by {by}{at}, {against}."))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: Outcome, winner: Option<&str>, rule: Rule, variant: u8, expected: Option<&str>) {
        let verdict = Verdict {
            outcome,
            winner: winner.map(str::to_owned),
            sentence: "No verdict: the arms are not as large as they were drawn.".to_owned(),
            detail: "nobody".to_owned(),
        };
        let found = against(&verdict, rule, VariantNumber(variant));
        match expected {
            None => assert_eq!(found, None),
            Some(words) => assert!(found.as_deref().is_some_and(|found| found.contains(words)), "{found:?}"),
        }
    }

    #[test]
    fn a_choice_goes_against_a_winner_a_rule_or_a_check() {
        check(Outcome::Winner, Some("B"), Rule::Hand, 1, None);
        check(Outcome::Winner, Some("B"), Rule::Hand, 0, Some("the plan says B: the test found it to win"));
        check(Outcome::NoWinner, None, Rule::Hand, 1, None);
        check(Outcome::NoWinner, None, Rule::Automatic, 1, Some("without a winner the rest get the control"));
        check(Outcome::NoWinner, None, Rule::Automatic, 0, None);
        check(Outcome::Stopped, None, Rule::Hand, 0, Some("a check had stopped the verdict (No verdict: the arms are not as large"));
        check(Outcome::NotEstimable, None, Rule::Automatic, 1, Some("no verdict (nobody)"));
        check(Outcome::NotYet, None, Rule::Hand, 1, None);
    }
}
