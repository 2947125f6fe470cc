//! What stands beside the verdict: guards, secondary metrics, the anytime-valid reading, the power reached, clicks to opens.
//!
//! Cast: one function per part of the page.
//!
//! Of these only a broken guard, and the anytime-valid reading where it is the sealed method, touch the verdict; both do so in
//! [`decide`](crate::experiment::decide::decide), not here.

use crate::experiment::decide::{GuardReading, GuardState, judge_guard};
use crate::experiment::design::{Design, Guard, Method, Metric};
use crate::experiment::plan::{self, Question};
use crate::experiment::watch::{Mark, Watched};
use crate::ids::VariantNumber;
use crate::ledger::subject::Tally;
use crate::report::counts::{Counts, Way};
use crate::report::page::{Anytime, AnytimeLine, BandPoint, CheckLevel, ClicksToOpens, GuardLine, Reached, Secondary};
use crate::report::reading::{MaybeCount, comparisons, rate};
use crate::report::wording::{metric_words, p_words, percent, points};
use crate::stats::{Count, Level, PValue, benjamini_hochberg, label_sequence};

/// Points of a band.
const POINTS: usize = 60;
/// Strength of the mixture of the band, in successes: tightest where a few hundred have been seen.
const BAND_STRENGTH: f64 = 100.0;
/// The power every plan is reckoned with unless it says otherwise.
pub const POWER: f64 = 0.8;

/// Every guard of every variant; none where nobody can be counted.
pub fn guards(design: &Design, counts: &Counts, variants: &[VariantNumber]) -> Vec<GuardReading> {
    let count = |variant: VariantNumber, guard: Guard| {
        let sent = counts.of(variant, Tally::Sent);
        let (cases, trials) = match guard {
            Guard::Bounce => (Tally::Bounced, sent + counts.of(variant, Tally::Refused)),
            Guard::Unsubscribe => (Tally::Unsubscribed, sent),
            Guard::Complaint => (Tally::Complained, sent),
        };
        Count::new(counts.of(variant, cases).min(trials), trials).ok()
    };
    let judged = |variant: VariantNumber| {
        design.guards.iter().filter_map(move |limit| {
            let (control, count) = (count(VariantNumber::CONTROL, limit.guard)?, count(variant, limit.guard)?);
            Some(judge_guard(*limit, variant, control, count))
        })
    };
    variants.iter().skip(1).flat_map(|variant| judged(*variant)).collect()
}

/// The guards in words.
pub fn guard_lines(guards: &[GuardReading]) -> Vec<GuardLine> {
    guards.iter().map(guard_line).collect()
}

fn guard_line(reading: &GuardReading) -> GuardLine {
    let limit = reading.limit;
    let what = guard_words(limit.guard);
    let margin = points(limit.margin);
    let margin = margin.trim_start_matches('+');
    let (state, sentence) = match reading.state {
        GuardState::Held => (CheckLevel::Ok, format!("Variant {}: {what} are not worse by {margin} points or more.", reading.variant)),
        GuardState::Open => (
            CheckLevel::Warn,
            format!("Variant {}: too few recipients to exclude that {what} are worse by {margin} points.", reading.variant),
        ),
        GuardState::Broken => (
            CheckLevel::Stop,
            format!("Variant {}: {what} are worse by more than {margin} points, and by more than chance explains.", reading.variant),
        ),
    };
    GuardLine {
        guard: limit.guard.as_str().to_owned(),
        variant: reading.variant.to_string(),
        control_count: (reading.control.successes(), reading.control.trials()),
        count: (reading.count.successes(), reading.count.trials()),
        margin: limit.margin,
        level: limit.level,
        p_value: reading.not_worse.map(PValue::value),
        state,
        sentence,
    }
}

/// A guarded rate, in the plural.
pub const fn guard_words(guard: Guard) -> &'static str {
    match guard {
        Guard::Bounce => "bounces",
        Guard::Unsubscribe => "unsubscriptions",
        Guard::Complaint => "complaints",
    }
}

/// The metrics that do not decide, their p-values adjusted together (Benjamini & Hochberg 1995).
pub fn secondary(design: &Design, counts: &Counts, variants: &[VariantNumber], level: Level) -> Vec<Secondary> {
    let mut all: Vec<Secondary> = design
        .secondary
        .iter()
        .map(|metric| {
            let arms: Vec<MaybeCount> = variants.iter().map(|variant| counts.count(*variant, *metric, Way::Standard)).collect();
            Secondary {
                metric: metric_words(*metric).to_owned(),
                counts: arms.iter().map(|count| count.as_ref().map_or((0, 0), |count| (count.successes(), count.trials()))).collect(),
                rates: arms.iter().map(|count| rate(count, level)).collect(),
                comparisons: comparisons(&arms, variants, level),
            }
        })
        .collect();
    let p_values: Vec<PValue> =
        all.iter().flat_map(|metric| &metric.comparisons).filter_map(|comparison| comparison.p_value).map(PValue::from_value).collect();
    let mut adjusted = benjamini_hochberg(&p_values).into_iter();
    for comparison in all.iter_mut().flat_map(|metric| &mut metric.comparisons).filter(|comparison| comparison.p_value.is_some()) {
        comparison.adjusted_p_value = adjusted.next().map(PValue::value);
    }
    all
}

/// Replays the first successes, for verdict and band; none where they were not read or an arm is empty.
pub fn watched(design: &Design, counts: &Counts, standard: &[MaybeCount]) -> Option<Watched> {
    let firsts: Vec<VariantNumber> = counts.firsts.as_ref()?.iter().map(|(_, variant)| *variant).collect();
    let trials: Vec<u64> = standard.iter().map(|count| count.as_ref().map(|count| count.trials())).collect::<Result<_, _>>().ok()?;
    Watched::replay(&trials, &firsts, design.planned_effect(), design.significance, &marks(firsts.len())).ok()
}

/// Up to [`POINTS`] numbers of events, evenly spread, the last included.
fn marks(events: usize) -> Vec<usize> {
    let points = events.min(POINTS);
    (1..=points).map(|point| point * events / points).collect()
}

/// The anytime-valid reading as lines and bands.
pub fn anytime(design: &Design, counts: &Counts, watched: &Watched, standard: &[MaybeCount], level: Level) -> Option<Anytime> {
    let firsts = counts.firsts.as_ref()?;
    let control = standard.first()?.as_ref().ok()?;
    let point = |mark: &Mark, index: usize, count: &Count| -> Option<BandPoint> {
        let (at, _) = firsts.get(mark.after.checked_sub(1)?)?;
        let (a, b) = (*mark.successes.first()?, *mark.successes.get(index)?);
        let share = count.trials() as f64 / (count.trials() + control.trials()) as f64;
        let band = label_sequence(a, b, share, BAND_STRENGTH, level).ok()?;
        let ratio = (a > 0).then(|| (b as f64 / count.trials() as f64) / (a as f64 / control.trials() as f64));
        let p_value = mark.p_values.get(index - 1)?.value();
        Some(BandPoint { at: at.as_millisecond(), ratio, lower: band.ratio.lower, upper: band.ratio.upper, p_value })
    };
    let variants: Vec<AnytimeLine> = (1u8..)
        .zip(standard.iter().skip(1))
        .filter_map(|(number, count)| {
            let (variant, count) = (VariantNumber(number), count.as_ref().ok()?);
            Some(AnytimeLine {
                variant: variant.to_string(),
                p_value: watched.p_value(VariantNumber::CONTROL, variant).value(),
                band: watched.marks().iter().filter_map(|mark| point(mark, usize::from(number), count)).collect(),
            })
        })
        .collect();
    let decides = design.method == Method::Anytime;
    Some(Anytime {
        decides,
        method: "urn e-process (safe log-rank, Grünwald et al. 2020); band: success labels, beta-binomial mixture (Robbins 1970)"
            .to_owned(),
        confidence: level.confidence(),
        sentence: anytime_sentence(decides, watched, design.significance),
        variants,
    })
}

fn anytime_sentence(decides: bool, watched: &Watched, significance: f64) -> String {
    let level = percent(significance);
    match (watched.won(), watched.won_after(), decides) {
        (Some((variant, p_value)), Some(after), true) => format!(
            "After {after} first successes variant {variant} had shown to be better than every other ({}); looking often does not weaken this.",
            p_words(p_value.value())
        ),
        (Some((variant, _)), Some(after), false) => format!(
            "Somebody who had looked all the time could have told after {after} first successes that variant {variant} is better. The plan waits for its sealed time all the same."
        ),
        (_, _, true) => format!("No variant has shown to be better yet at the level of {level}, however often one looked."),
        (_, _, false) => {
            format!(
                "Safe to look at whenever one likes: no variant has shown to be better at the level of {level} in this stricter reading."
            )
        }
    }
}

/// What the delivered letters can show, reckoned with the control's rate as it came out.
pub fn reached(design: &Design, standard: &[MaybeCount]) -> Option<Reached> {
    let counts: Vec<Count> = standard.iter().cloned().collect::<Result<_, _>>().ok()?;
    let question = Question {
        base: counts.first()?.rate().ok()?,
        weights: counts.iter().map(|count| u32::try_from(count.trials()).unwrap_or(u32::MAX)).collect(),
        significance: design.significance,
        power: POWER,
        method: design.method,
        loss: 0.0,
        machines: 0.0,
        prefetched: 0.0,
    };
    let letters = counts.iter().map(|count| count.trials()).sum();
    let found = plan::detectable(&question, letters).ok()?;
    let chance_of_planned = plan::power(&question, letters, design.planned_lift).ok();
    let planned = chance_of_planned.map_or_else(String::new, |chance| {
        format!(
            " The planned lift of {} had a chance of {:.0} % to be found.",
            percent_plain(design.planned_lift),
            (chance * 100.0).clamp(0.0, 99.9).floor()
        )
    });
    Some(Reached {
        power: POWER,
        lift: found.relative,
        difference: found.absolute,
        planned_lift: design.planned_lift,
        chance_of_planned,
        sentence: format!(
            "With this many recipients a lift of {} ({} points) or more is found in 4 of 5 such tests; smaller ones are easily missed.{planned}",
            percent_plain(found.relative),
            points(found.absolute)
        ),
    })
}

fn percent_plain(share: f64) -> String {
    if share < 0.1 { format!("{:.1} %", share * 100.0) } else { format!("{:.0} %", share * 100.0) }
}

/// Clicks ÷ opens, for those who are used to it.
pub fn clicks_to_opens(counts: &Counts, variants: &[VariantNumber]) -> ClicksToOpens {
    let successes =
        |variant: VariantNumber, metric: Metric| counts.count(variant, metric, Way::Standard).map_or(0, |count| count.successes());
    let ratio = |variant: &VariantNumber| {
        let opens = successes(*variant, Metric::Open);
        (opens > 0).then(|| successes(*variant, Metric::Click) as f64 / opens as f64)
    };
    ClicksToOpens {
        ratios: variants.iter().map(ratio).collect(),
        why_not_tested: "Who opens is itself an effect of the variant, so that those who opened are no longer comparable between the arms; and opens are seen only where pictures load. Described, never tested.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_spread_evenly_and_end_at_the_last_event() {
        assert_eq!(marks(0), Vec::<usize>::new());
        assert_eq!(marks(3), vec![1, 2, 3]);
        let many = marks(1000);
        assert_eq!((many.len(), many.last()), (POINTS, Some(&1000)));
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn power_reached_is_told_from_the_rates_that_came_out() {
        let arms: Vec<MaybeCount> =
            [(417, 13_914), (480, 13_914)].map(|(successes, trials)| Ok(Count::new(successes, trials).unwrap())).to_vec();
        let reached = reached(&Design::default(), &arms).unwrap();
        assert!((reached.lift - 0.2).abs() < 0.002 && (reached.chance_of_planned.unwrap() - 0.8).abs() < 0.005, "{reached:?}");
        assert!(super::reached(&Design::default(), &[Ok(Count::new(0, 100).unwrap()), Ok(Count::new(1, 100).unwrap())]).is_none());
    }
}
