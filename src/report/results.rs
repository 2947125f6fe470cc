//! Counts and sealed plan → a [`ResultPage`].
//!
//! Cast: [`results`]; [`Counts`] (what is read of the ledger). Each part of the page has a function of its own, named after it.
//!
//! Its cost does not grow with events: it reads tallies. "Cannot estimate" is said where counts do not allow a number.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::db::{DbResult, LedgerConn};
use crate::experiment::decide::{CHECK_LEVEL, Decision, Evidence, Pair, SCORE, compare, decide};
use crate::experiment::design::{Metric, Rule};
use crate::ids::VariantNumber;
use crate::ledger::event::EventKind;
use crate::ledger::store as events;
use crate::ledger::subject::{MEASURED, Part, Tally, hits_tally};
use crate::report::page::{Agreement, Arm, Check, CheckLevel, Comparison, Counting, Estimate, HitClass, Reading, ResultPage, SealedPlan};
use crate::report::wording::{metric_words, moment, p_words, percent, verdict};
use crate::signal::Class;
use crate::stats::{Count, Level, NotEstimable, PValue, holm, machine_balance, newcombe_difference, pooled_z, sample_ratio, wilson};

/// Counts of a campaign's test, read once.
pub struct Counts {
    enrolled: BTreeMap<VariantNumber, u64>,
    tallies: BTreeMap<(VariantNumber, String), u64>,
}

impl Counts {
    fn enrolled(&self, variant: VariantNumber) -> u64 {
        self.enrolled.get(&variant).copied().unwrap_or_default()
    }

    fn named(&self, variant: VariantNumber, name: &str) -> u64 {
        self.tallies.get(&(variant, name.to_owned())).copied().unwrap_or_default()
    }

    fn of(&self, variant: VariantNumber, tally: Tally) -> u64 {
        self.named(variant, tally.as_str())
    }
}

/// How hits are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Raw,
    Standard,
    Strict,
}

/// Computes a campaign's result as of `now`.
///
/// # Errors
/// When the ledger cannot be read. What cannot be estimated is said on the page.
pub fn results(conn: &mut LedgerConn, campaign: &Campaign, now: Timestamp) -> DbResult<ResultPage> {
    let counts = read_counts(conn, campaign)?;
    Ok(page(campaign, &counts, now))
}

fn read_counts(conn: &mut LedgerConn, campaign: &Campaign) -> DbResult<Counts> {
    let of_test = |part: Part| part == Part::Test;
    let enrolled = events::enrolled(conn, campaign.number)?;
    let tallies = events::tallies(conn, campaign.number)?;
    Ok(Counts {
        enrolled: enrolled.into_iter().filter(|((part, _), _)| of_test(*part)).map(|((_, variant), count)| (variant, count)).collect(),
        tallies: tallies
            .into_iter()
            .filter(|((part, _, _), _)| of_test(*part))
            .map(|((_, variant, name), value)| ((variant, name), u64::try_from(value).unwrap_or_default()))
            .collect(),
    })
}

fn page(campaign: &Campaign, counts: &Counts, now: Timestamp) -> ResultPage {
    let definition = &campaign.definition;
    let design = &definition.design;
    let variants: Vec<VariantNumber> = (0..definition.variants.len()).filter_map(|arm| u8::try_from(arm).ok()).map(VariantNumber).collect();
    let successes = |way: Way| -> Vec<Result<Count, NotEstimable>> {
        variants.iter().map(|variant| count_of(counts, *variant, design.metric, way)).collect()
    };
    let standard = successes(Way::Standard);
    let due = due(campaign);
    let checks = Checks::of(counts, &variants, design.metric, &design.weights);
    let decision = match standard.iter().cloned().collect::<Result<Vec<Count>, NotEstimable>>() {
        Ok(arms) => decide(
            design,
            &Evidence {
                arms,
                sample_ratio: checks.sample_ratio(),
                machine_balance: checks.machine_balance,
                is_due: due.is_some_and(|due| now >= due),
            },
        ),
        Err(reason) => Decision::NotEstimable(reason),
    };
    let level = Level::from_alpha(design.significance);
    let comparisons = comparisons(&standard, &variants, &level);
    let countings: Vec<Counting> = [Way::Raw, Way::Standard, Way::Strict]
        .into_iter()
        .map(|way| counting(way, design.metric, &successes(way), &level, design.significance))
        .collect();
    let leading = leading_difference(&comparisons);
    ResultPage {
        campaign: definition.name.clone(),
        state: campaign.state.to_string(),
        as_of: moment(now),
        verdict: verdict(&decision, design.metric, design.significance, leading, due),
        element: definition.element.to_string(),
        metric: metric_words(design.metric).to_owned(),
        denominator: match design.metric {
            Metric::Click => "delivered and measured",
            Metric::Open => "delivered and measured, without those only prefetched",
        }
        .to_owned(),
        confidence: 1.0 - design.significance,
        method: format!("{SCORE}; rates with Wilson's interval (1927)"),
        arms: arms(counts, &variants, &definition.shown_values(), &standard, &level),
        agreement: agreement(&countings),
        comparisons,
        countings,
        hits: hits(counts, &variants),
        notes: notes(campaign, counts, &variants),
        checks: checks.shown(counts, &variants, design.metric, &standard),
        plan: plan(campaign),
    }
}

/// When the sealed observation ends: known once every letter of the test is out.
pub fn due(campaign: &Campaign) -> Option<Timestamp> {
    let hours = i64::from(campaign.definition.design.observe_hours);
    campaign.observing_at.and_then(|since| since.checked_add(SignedDuration::from_hours(hours)).ok())
}

fn count_of(counts: &Counts, variant: VariantNumber, metric: Metric, way: Way) -> Result<Count, NotEstimable> {
    let measured = counts.named(variant, MEASURED);
    let (tally, trials) = match (metric, way) {
        (Metric::Click, Way::Raw) => (Tally::ClickRaw, measured),
        (Metric::Click, Way::Standard) => (Tally::ClickStandard, measured),
        (Metric::Click, Way::Strict) => (Tally::ClickStrict, measured),
        (Metric::Open, Way::Raw) => (Tally::OpenRaw, measured),
        // Prefetching says nothing either way and is a property of the mailbox, not of the arm: it leaves both sides.
        (Metric::Open, Way::Standard) => (Tally::OpenStandard, measured.saturating_sub(counts.of(variant, Tally::PrefetchOnly))),
        (Metric::Open, Way::Strict) => (Tally::OpenStrict, measured.saturating_sub(counts.of(variant, Tally::PrefetchOnly))),
    };
    Ok(Count::new(counts.of(variant, tally).min(trials), trials)?)
}

fn cannot(reason: &impl ToString) -> Estimate {
    Estimate::NotEstimable { not_estimable: reason.to_string() }
}

fn arms(
    counts: &Counts,
    variants: &[VariantNumber],
    values: &[String],
    standard: &[Result<Count, NotEstimable>],
    level: &Result<Level, crate::stats::InvalidInput>,
) -> Vec<Arm> {
    let rate = |count: &Result<Count, NotEstimable>| -> Result<Estimate, NotEstimable> {
        let count = count.clone()?;
        let interval = wilson(count, level.clone()?)?;
        Ok(Estimate::Interval { estimate: count.rate()?, lower: interval.lower, upper: interval.upper })
    };
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
                rate: rate(count).unwrap_or_else(|reason| cannot(&reason)),
            }
        })
        .collect()
}

fn comparisons(
    standard: &[Result<Count, NotEstimable>],
    variants: &[VariantNumber],
    level: &Result<Level, crate::stats::InvalidInput>,
) -> Vec<Comparison> {
    let Some(control) = standard.first() else { return Vec::new() };
    let pair = |count: &Result<Count, NotEstimable>| -> Result<(Count, Count, Pair), NotEstimable> {
        let (a, b) = (control.clone()?, count.clone()?);
        Ok((a, b, compare(a, b, level.clone()?)?))
    };
    let pairs: Vec<Result<(Count, Count, Pair), NotEstimable>> = standard.iter().skip(1).map(pair).collect();
    let p_values: Vec<PValue> = pairs.iter().flatten().map(|(_, _, pair)| pair.p_value).collect();
    let mut adjusted = holm(&p_values).into_iter();
    variants
        .iter()
        .skip(1)
        .zip(pairs)
        .map(|(variant, pair)| match pair {
            Ok((a, b, pair)) => Comparison {
                variant: variant.to_string(),
                control: VariantNumber::CONTROL.to_string(),
                difference: Estimate::Interval {
                    estimate: pair.difference.estimate,
                    lower: pair.difference.interval.lower,
                    upper: pair.difference.interval.upper,
                },
                ratio: ratio(&pair),
                p_value: Some(pair.p_value.value()),
                adjusted_p_value: adjusted.next().map(PValue::value),
                method: pair.method.to_owned(),
                also: also(a, b, level),
            },
            Err(reason) => Comparison {
                variant: variant.to_string(),
                control: VariantNumber::CONTROL.to_string(),
                difference: cannot(&reason),
                ratio: cannot(&reason),
                p_value: None,
                adjusted_p_value: None,
                method: String::new(),
                also: Vec::new(),
            },
        })
        .collect()
}

fn ratio(pair: &Pair) -> Estimate {
    match (pair.ratio.estimate, pair.ratio.interval.upper) {
        (Some(estimate), Some(upper)) => Estimate::Interval { estimate, lower: pair.ratio.interval.lower, upper },
        _ => cannot(&"the control has no successes, so a ratio has no upper end"),
    }
}

fn also(a: Count, b: Count, level: &Result<Level, crate::stats::InvalidInput>) -> Vec<Reading> {
    let newcombe = level.clone().map_err(NotEstimable::from).and_then(|level| newcombe_difference(a, b, level));
    let difference = match (newcombe, a.rate(), b.rate()) {
        (Ok(interval), Ok(a), Ok(b)) => Estimate::Interval { estimate: b - a, lower: interval.lower, upper: interval.upper },
        (Err(reason), _, _) | (_, Err(reason), _) | (_, _, Err(reason)) => cannot(&reason),
    };
    vec![
        Reading { method: "pooled score z".to_owned(), p_value: pooled_z(a, b).ok().map(|test| test.p_value.value()), difference: None },
        Reading { method: "hybrid score interval (Newcombe 1998, method 10)".to_owned(), p_value: None, difference: Some(difference) },
    ]
}

/// The difference that matters most: the largest in size.
fn leading_difference(comparisons: &[Comparison]) -> Option<&Estimate> {
    let size = |estimate: &Estimate| match estimate {
        Estimate::Interval { estimate, .. } => estimate.abs(),
        Estimate::NotEstimable { .. } => -1.0,
    };
    comparisons.iter().map(|comparison| &comparison.difference).max_by(|one, other| size(one).total_cmp(&size(other)))
}

fn counting(
    way: Way,
    metric: Metric,
    counts: &[Result<Count, NotEstimable>],
    level: &Result<Level, crate::stats::InvalidInput>,
    significance: f64,
) -> Counting {
    let (name, meaning) = match (way, metric) {
        (Way::Raw, _) => ("raw", "any hit, machines included"),
        (Way::Standard, Metric::Open) => ("standard", "opens by people, directly or through their mail provider"),
        (Way::Standard, Metric::Click) => ("standard", "clicks by people"),
        (Way::Strict, _) => ("strict", "people beyond doubt only"),
    };
    let numbers = counts.iter().map(|count| count.as_ref().map_or((0, 0), |count| (count.successes(), count.trials()))).collect();
    let all: Result<Vec<Count>, NotEstimable> = counts.iter().cloned().collect();
    let nobody = all.as_ref().is_ok_and(|counts| counts.iter().all(|count| count.successes() == 0));
    if nobody {
        let why = if way == Way::Strict { "nobody is beyond doubt in any arm" } else { "nobody in any arm" };
        return Counting {
            counting: name.to_owned(),
            meaning: meaning.to_owned(),
            counts: numbers,
            difference: cannot(&why),
            p_value: None,
            verdict: CANNOT.to_owned(),
        };
    }
    let best = all.and_then(|counts| best_against_control(&counts, level.clone()?));
    let (difference, p_value, verdict) = match best {
        Ok((variant, pair)) => {
            let difference = Estimate::Interval {
                estimate: pair.difference.estimate,
                lower: pair.difference.interval.lower,
                upper: pair.difference.interval.upper,
            };
            let verdict = match (pair.p_value.at_most(significance), pair.difference.estimate > 0.0) {
                (true, true) => format!("{variant} above A"),
                (true, false) => format!("A above {variant}"),
                (false, _) => "no difference shown".to_owned(),
            };
            (difference, Some(pair.p_value.value()), verdict)
        }
        Err(reason) => (cannot(&reason), None, CANNOT.to_owned()),
    };
    Counting { counting: name.to_owned(), meaning: meaning.to_owned(), counts: numbers, difference, p_value, verdict }
}

const CANNOT: &str = "cannot estimate";

/// The variant that differs most clearly from the control.
fn best_against_control(counts: &[Count], level: Level) -> Result<(VariantNumber, Pair), NotEstimable> {
    let (control, others) = counts.split_first().ok_or(NotEstimable::TooFewArms)?;
    let mut best: Option<(VariantNumber, Pair)> = None;
    for (number, other) in (1u8..).zip(others) {
        let pair = compare(*control, *other, level)?;
        if best.as_ref().is_none_or(|(_, known)| pair.p_value < known.p_value) {
            best = Some((VariantNumber(number), pair));
        }
    }
    best.ok_or(NotEstimable::TooFewArms)
}

fn agreement(countings: &[Counting]) -> Agreement {
    let told: Vec<&Counting> = countings.iter().filter(|counting| counting.verdict != CANNOT).collect();
    let first = told.first().map(|counting| counting.verdict.as_str());
    let agree = told.iter().all(|counting| Some(counting.verdict.as_str()) == first);
    let note = if told.is_empty() {
        "There is nothing to count yet.".to_owned()
    } else if !agree {
        "The answer depends on how machines are told from people. Trust it less, and look at the hits by class.".to_owned()
    } else if told.len() < countings.len() {
        "Those countings that can be estimated lead to the same answer.".to_owned()
    } else {
        "Raw, standard and strict counting lead to the same answer.".to_owned()
    };
    Agreement { agree, note }
}

/// The checks of the experiment itself.
struct Checks {
    assigned: Option<PValue>,
    delivered: Option<PValue>,
    machine_balance: Option<PValue>,
}

impl Checks {
    fn of(counts: &Counts, variants: &[VariantNumber], metric: Metric, weights: &[u32]) -> Self {
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        let split = |numbers: Vec<u64>| sample_ratio(&numbers, &weights).ok().map(|test| test.p_value);
        let tally = match metric {
            Metric::Open => Tally::MachineOpen,
            Metric::Click => Tally::ScannerClick,
        };
        let machines: Option<Vec<Count>> = variants
            .iter()
            .map(|variant| {
                let delivered = counts.of(*variant, Tally::Delivered);
                Count::new(counts.of(*variant, tally).min(delivered), delivered).ok()
            })
            .collect();
        Self {
            assigned: split(variants.iter().map(|variant| counts.enrolled(*variant)).collect()),
            delivered: split(variants.iter().map(|variant| counts.of(*variant, Tally::Delivered)).collect()),
            machine_balance: machines.and_then(|machines| machine_balance(&machines).ok()).map(|test| test.p_value),
        }
    }

    fn sample_ratio(&self) -> Option<PValue> {
        match (self.assigned, self.delivered) {
            (Some(one), Some(other)) => Some(if one <= other { one } else { other }),
            (one, other) => one.or(other),
        }
    }

    fn shown(&self, counts: &Counts, variants: &[VariantNumber], metric: Metric, standard: &[Result<Count, NotEstimable>]) -> Vec<Check> {
        vec![
            by_p_value(
                "Sample ratio, as assigned",
                self.assigned,
                "The arms are as large as they were drawn.",
                "The arms are not as large as they were drawn.",
            ),
            by_p_value(
                "Sample ratio, as delivered",
                self.delivered,
                "Delivery lost no arm more than another.",
                "Delivery lost recipients of one arm more than of another.",
            ),
            by_p_value(
                "Machine balance",
                self.machine_balance,
                "Machines touched the arms alike.",
                "Machines touched the arms unequally; the difference may be theirs.",
            ),
            enough_data(standard),
            unknown_share(counts, variants, metric),
        ]
    }
}

fn check(name: &str, level: CheckLevel, sentence: impl Into<String>, figure: String) -> Check {
    Check { name: name.to_owned(), level, sentence: sentence.into(), figure }
}

fn by_p_value(name: &str, p_value: Option<PValue>, good: &str, bad: &str) -> Check {
    match p_value {
        None => check(name, CheckLevel::Warn, "Cannot be told yet.", String::new()),
        Some(p) if p.at_most(CHECK_LEVEL) => check(name, CheckLevel::Stop, bad, p_words(p.value())),
        Some(p) => check(name, CheckLevel::Ok, good, p_words(p.value())),
    }
}

fn enough_data(standard: &[Result<Count, NotEstimable>]) -> Check {
    let fewest =
        standard.iter().map(|count| count.as_ref().map_or(0, |count| count.successes().min(count.failures()))).min().unwrap_or_default();
    let figure = format!("fewest: {fewest}");
    if fewest >= 5 {
        check("Enough data", CheckLevel::Ok, "Every arm has at least 5 on both sides.", figure)
    } else {
        check("Enough data", CheckLevel::Warn, "An arm has fewer than 5 on one side; only large differences can show.", figure)
    }
}

fn unknown_share(counts: &Counts, variants: &[VariantNumber], metric: Metric) -> Check {
    const NAME: &str = "Unknown clickers";
    let sum = |tally: Tally| variants.iter().map(|variant| counts.of(*variant, tally)).sum::<u64>();
    let (unknown, people) = (sum(Tally::UnknownClick), sum(Tally::ClickStandard));
    if unknown + people == 0 {
        let level = if metric == Metric::Click { CheckLevel::Warn } else { CheckLevel::Ok };
        return check(NAME, level, "Nobody clicked yet.", String::new());
    }
    let share = unknown as f64 / (unknown + people) as f64;
    if share > 0.1 {
        check(
            NAME,
            CheckLevel::Warn,
            "More than a tenth of those who clicked are neither clearly people nor clearly machines.",
            percent(share),
        )
    } else {
        check(NAME, CheckLevel::Ok, "Nearly all who clicked could be told apart from machines.", percent(share))
    }
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

fn notes(campaign: &Campaign, counts: &Counts, variants: &[VariantNumber]) -> Vec<String> {
    let sum = |tally: Tally| variants.iter().map(|variant| counts.of(*variant, tally)).sum::<u64>();
    let mut notes = Vec::new();
    let delivered = sum(Tally::Delivered);
    let measured: u64 = variants.iter().map(|variant| counts.named(*variant, MEASURED)).sum();
    if measured < delivered {
        notes.push(format!(
            "{} of {delivered} delivered letters are not measured one by one, because their recipients agreed to less. They are left out of the rates, in every arm alike.",
            delivered - measured
        ));
    }
    let uncertain = sum(Tally::Uncertain);
    if uncertain > 0 {
        notes.push(format!("{uncertain} letters may or may not have been sent: the connection was lost before the relay answered. They were not sent again."));
    }
    if campaign.definition.design.metric == Metric::Open {
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
        horizon: format!("once, {} hours after the last letter of the test", design.observe_hours),
        rule: match design.rule {
            Rule::Hand => "the rest get what a person chooses after the verdict",
            Rule::Automatic => "the rest get the winner, or without one the control",
        }
        .to_owned(),
        deviations: deviations(campaign),
    }
}

fn deviations(campaign: &Campaign) -> Vec<String> {
    let mut deviations = Vec::new();
    if let (Some((variant, by)), Some(due), Some(at)) = (&campaign.chosen, due(campaign), campaign.decided_at)
        && at < due
    {
        deviations.push(format!(
            "Variant {variant} was chosen for the rest by {by} on {}, before the sealed time of {}.",
            moment(at),
            moment(due)
        ));
    }
    deviations
}
