//! Counts and sealed plan → a [`ResultPage`].
//!
//! Cast: [`results`]. Each part of the page has a function of its own, named after it, here or in a neighbouring file.
//!
//! After the sealed time a verdict rests on what had happened by then, as background work wrote it down once, whenever the page is asked
//! for. "Cannot estimate" is said where counts do not allow a number.

use jiff::{SignedDuration, Timestamp};

use crate::campaign::state::State;
use crate::campaign::store::{self as campaigns, Campaign, Pause};
use crate::db::{DbResult, LedgerConn};
use crate::experiment::decide::{CHECK_LEVEL, SCORE};
use crate::experiment::design::{Method, Metric, Rule};
use crate::ids::VariantNumber;
use crate::ledger::event::EventKind;
use crate::ledger::look::Silent;
use crate::ledger::subject::{MEASURED, Tally, hits_tally};
use crate::ledger::watch::Watch;
use crate::report::beside;
use crate::report::checks::Checks;
use crate::report::countings::{agreement, counting};
use crate::report::counts::{Counts, Way};
use crate::report::deviations::deviations;
use crate::report::judged::Judged;
use crate::report::page::{Arm, Chosen, Comparison, Counting, Estimate, HitClass, ResultPage, SealedPlan};
use crate::report::reading::{MaybeCount, all_equal, chances, chances_words, comparisons, rate};
use crate::report::replay::{AT_MOST, Patience};
use crate::report::wording::{counted, metric_words, moment, percent, verdict};
use crate::signal::Class;
use crate::stats::{BestReading, Level};

/// Computes a campaign's result as of `now`.
///
/// # Errors
/// When the ledger cannot be read. What cannot be estimated is said on the page.
pub fn results(conn: &mut LedgerConn, campaign: &Campaign, now: Timestamp) -> DbResult<ResultPage> {
    let pauses = campaigns::pauses(conn, campaign.number)?;
    Ok(page(campaign, &Counts::read(conn, campaign, Patience::Page)?, &pauses, now))
}

fn page(campaign: &Campaign, counts: &Counts, pauses: &[Pause], now: Timestamp) -> ResultPage {
    let definition = &campaign.definition;
    let design = &definition.design;
    // A sealed level is in range; a draft's may not be.
    let level = Level::from_alpha(design.significance).unwrap_or(Level::USUAL);
    let Judged { variants, standard, checks, guards, watched, decision } = Judged::of(campaign, counts);
    let counted = |way: Way| -> Vec<MaybeCount> { variants.iter().map(|variant| counts.count(*variant, design.metric, way)).collect() };
    let comparisons = comparisons(&standard, &variants, level);
    let countings: Vec<Counting> =
        [Way::Raw, Way::Standard, Way::Strict].into_iter().map(|way| counting(way, design.metric, &counted(way), level)).collect();
    let chances = chances(&standard);
    ResultPage {
        campaign: definition.name.clone(),
        state: campaign.state.to_string(),
        as_of: moment(now),
        verdict: verdict(&decision, design, leading_difference(&comparisons), due(campaign), now),
        element: definition.element.to_string(),
        metric: metric_words(design.metric).to_owned(),
        denominator: match design.metric {
            Metric::Click => "delivered and measured",
            Metric::Open => "delivered and measured, without those only prefetched",
        }
        .to_owned(),
        confidence: level.confidence(),
        method: format!("{SCORE}; rates with Wilson's interval (1927)"),
        arms: arms(counts, &variants, &definition.shown_values(), &standard, chances.as_deref(), level),
        agreement: agreement(&countings),
        countings,
        hits: hits(counts, &variants),
        notes: notes(campaign, counts, &variants, &checks),
        checks: checks.shown(counts, &variants, design.metric, &standard),
        plan: SealedPlan { deviations: deviations(campaign, &decision, settled_at(counts), pauses), ..plan(campaign) },
        chosen: chosen(campaign),
        chances: chances_words(&variants, chances.as_deref()),
        all_equal_p_value: all_equal(&standard),
        counted_until: counts.until.map(moment),
        looked_at: counts.until.and(campaign.looked_at).map(moment),
        anytime: watched.map(|watched| beside::anytime(design, counts, &watched, &variants, level)),
        guards: beside::guard_lines(&guards),
        secondary: beside::secondary(design, counts, &variants, level),
        reached: beside::reached(design, &standard),
        clicks_to_opens: Some(beside::clicks_to_opens(counts, &variants, level)),
        held_out: counts.held_out(),
        difference: campaign.proof.as_ref().map(|proof| proof.sentences()).unwrap_or_default(),
        comparisons,
    }
}

/// When the sealed observation ends: known once every letter of the test is out.
pub fn due(campaign: &Campaign) -> Option<Timestamp> {
    let hours = i64::from(campaign.definition.design.observe_hours);
    campaign.observing_at.and_then(|since| since.checked_add(SignedDuration::from_hours(hours)).ok())
}

fn arms(
    counts: &Counts,
    variants: &[VariantNumber],
    values: &[String],
    standard: &[MaybeCount],
    chances: Option<&[BestReading]>,
    level: Level,
) -> Vec<Arm> {
    let best = |variant: &VariantNumber| chances.and_then(|chances| chances.get(usize::from(variant.0)));
    variants
        .iter()
        .zip(values)
        .zip(standard)
        .map(|((variant, value), count)| {
            let (enrolled, sent, skipped) =
                (counts.enrolled(*variant), counts.of(*variant, Tally::Sent), counts.of(*variant, Tally::Skipped));
            let failed = [Tally::Refused, Tally::Failed, Tally::Uncertain].into_iter().map(|tally| counts.of(*variant, tally)).sum();
            Arm {
                letter: variant.to_string(),
                value: value.clone(),
                enrolled,
                sent,
                delivered: counts.of(*variant, Tally::Delivered),
                skipped,
                failed,
                waiting: enrolled.saturating_sub(sent + skipped + failed),
                bounced: counts.of(*variant, Tally::Bounced),
                unsubscribed: counts.of(*variant, Tally::Unsubscribed),
                successes: count.as_ref().map_or(0, |count| count.successes()),
                trials: count.as_ref().map_or(0, |count| count.trials()),
                rate: rate(count, level),
                chance_to_be_best: best(variant).map(|best| best.chance),
                expected_loss: best(variant).map(|best| best.expected_loss),
                complained: counts.of(*variant, Tally::Complained),
            }
        })
        .collect()
}

/// The difference that matters most: the largest in size.
fn leading_difference(comparisons: &[Comparison]) -> Option<&Estimate> {
    let size = |estimate: &Estimate| match estimate {
        Estimate::Interval { estimate, .. } => estimate.abs(),
        Estimate::NotEstimable { .. } => -1.0,
    };
    comparisons.iter().map(|comparison| &comparison.difference).max_by(|one, other| size(one).total_cmp(&size(other)))
}

fn hits(counts: &Counts, variants: &[VariantNumber]) -> Vec<HitClass> {
    Class::ALL
        .into_iter()
        .map(|class| {
            let of = |kind| variants.iter().map(|variant| counts.named(*variant, &hits_tally(kind, class))).collect();
            HitClass {
                class: class.as_str().to_owned(),
                meaning: match class {
                    Class::Human => "a person's own mail program or browser",
                    Class::Proxied => "a person, through their mail provider's picture proxy",
                    Class::Prefetch => "fetched without being shown; says nothing either way",
                    Class::Scanner => "a machine",
                    Class::Unknown => "cannot be told",
                }
                .to_owned(),
                opens: of(EventKind::Open),
                clicks: of(EventKind::Click),
            }
        })
        .collect()
}

fn notes(campaign: &Campaign, counts: &Counts, variants: &[VariantNumber], checks: &Checks) -> Vec<String> {
    let design = &campaign.definition.design;
    let mut notes = Vec::new();
    if let Some(watch) = &counts.watch {
        notes.extend(watch_notes(watch, counts, variants, checks));
    }
    if counts.watched.is_none() && counts.successes(design.metric) > AT_MOST as u64 {
        notes.push(match campaign.observing_at {
            Some(_) => "The anytime-valid reading is being brought up to date, which takes a few seconds while Letterlab is running: look again. No verdict rests on when that is done.".to_owned(),
            None => format!(
                "With more than {AT_MOST} first successes the anytime-valid reading is shown once every letter of the test is out; no verdict comes before that."
            ),
        });
    }
    notes.extend(counts.silent.iter().map(silent_note));
    let delivered = counts.sum(variants, Tally::Delivered);
    let measured: u64 = variants.iter().map(|variant| counts.named(*variant, MEASURED)).sum();
    if measured < delivered {
        notes.push(format!(
            "{} of {delivered} delivered letters are not measured one by one, because their recipients agreed to less. They are left out of the rates, in every arm alike.",
            delivered - measured
        ));
    }
    let uncertain = counts.sum(variants, Tally::Uncertain);
    if uncertain > 0 {
        let letters = counted(uncertain, "letter", "letters");
        notes.push(format!(
            "{letters} may or may not have been sent: the connection was lost before the relay answered. They are sent again only if somebody asks for it."
        ));
    }
    if let Some(until) = counts.until {
        let later = counts.later;
        let what = if design.metric == Metric::Open { "opened" } else { "clicked" };
        notes.push(format!(
            "This page counts what had happened by the sealed time, {}, so that the verdict stays what it is. Later and not counted: {} {what} for the first time, {} came back, {} unsubscribed, {} complained.",
            moment(until),
            counted(later.successes, "recipient", "recipients"),
            counted(later.bounced, "letter", "letters"),
            counted(later.unsubscribed, "recipient", "recipients"),
            later.complained
        ));
    }
    if design.same_letters {
        notes.push("All arms got the same letter: this tests the set-up itself. A difference here is an alarm, not a finding.".to_owned());
    }
    if counts.held_out() > 0 {
        let held_out = counted(counts.held_out(), "recipient was", "recipients were");
        notes.push(format!("{held_out} held out and received nothing, and counted in no rate."));
    }
    if design.metric == Metric::Open {
        notes.push(
            "Opens are seen only where pictures are loaded; many machines load them too. Clicks are the sturdier measure.".to_owned(),
        );
    }
    if let Some(reason) = &campaign.paused {
        notes.push(format!("Sending is paused: {reason}"));
    }
    if campaign.state == State::Closed {
        notes.push("The campaign is closed: later hits are answered but not recorded.".to_owned());
    }
    notes
}

/// A tracking node whose hits may be missing.
fn silent_note(silent: &Silent) -> String {
    let last = Timestamp::from_millisecond(silent.alive_at).map_or_else(|_| "some time before".to_owned(), moment);
    format!(
        "A tracking node was silent at the sealed time: hits it had taken and not handed over by then are not counted here. Its spool is {}; it was last heard of on {last}.",
        silent.spool
    )
}

/// What became of an anytime-valid test's facts after they were written down: told, and no part of the verdict.
fn watch_notes(watch: &Watch, counts: &Counts, variants: &[VariantNumber], checks: &Checks) -> Vec<String> {
    let mut notes = vec![
        "This test may be looked at always: its verdict rests on the anytime-valid reading. Intervals and p-values of the table are for a single look and do not decide.".to_owned(),
    ];
    let at_risk: u64 = variants.iter().map(|variant| watch.of(*variant)).sum();
    let measured: u64 = variants.iter().map(|variant| counts.named(*variant, MEASURED)).sum();
    if measured < at_risk {
        notes.push(format!(
            "{} of the {at_risk} recipients watched since {} are no longer delivered and measured: their letters came back later, or they took measurement back. The anytime-valid test goes on with all of them, so that its verdict cannot move by that.",
            at_risk - measured,
            moment(watch.since)
        ));
    }
    let fails = [checks.sample_ratio(), checks.machine_balance].into_iter().flatten().any(|p| p.at_most(CHECK_LEVEL));
    if let (Some(settled), true) = (watch.settled_at, fails) {
        notes.push(format!(
            "A check of the arms fails by now, which it did not when the verdict was written down on {}. The verdict stays; read it with this doubt.",
            moment(settled)
        ));
    }
    notes
}

/// When every check let an anytime-valid test's crossing pass.
fn settled_at(counts: &Counts) -> Option<Timestamp> {
    counts.watch.as_ref()?.settled_at
}

/// What was chosen for the rest.
fn chosen(campaign: &Campaign) -> Option<Chosen> {
    let (variant, by) = campaign.chosen.as_ref()?;
    Some(Chosen {
        variant: variant.to_string(),
        by: by.clone(),
        at: campaign.chosen_at.or(campaign.decided_at).map(moment),
        against: campaign.chosen_against.clone(),
    })
}

fn plan(campaign: &Campaign) -> SealedPlan {
    let design = &campaign.definition.design;
    let sealed = campaign.sealed.as_ref();
    SealedPlan {
        hash: sealed.map(|sealed| sealed.hash.clone()).unwrap_or_default(),
        sealed_at: sealed.map(|sealed| moment(sealed.at)).unwrap_or_default(),
        seed: sealed.map(|sealed| data_encoding::HEXLOWER.encode(&sealed.seed)).unwrap_or_default(),
        metric: metric_words(design.metric).to_owned(),
        test_share: percent(design.share),
        weights: design.weights.iter().map(ToString::to_string).collect::<Vec<_>>().join(" : "),
        level: percent(design.significance),
        horizon: match design.method {
            Method::Fixed => format!("once, {} after the last letter of the test", counted(design.observe_hours, "hour", "hours")),
            Method::Anytime => format!(
                "whenever one likes (anytime-valid, tuned to a lift of {}), at the latest {} after the last letter of the test",
                percent(design.planned_lift),
                counted(design.observe_hours, "hour", "hours")
            ),
        },
        rule: match design.rule {
            Rule::Hand => "the rest get what a person chooses after the verdict",
            Rule::Automatic => "the rest get the winner, or without one the control",
        }
        .to_owned(),
        deviations: Vec::new(),
    }
}
