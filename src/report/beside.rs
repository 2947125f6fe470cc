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
use crate::ledger::subject::{MEASURED, Tally};
use crate::ledger::watch::Watch;
use crate::report::counts::{Counts, Way};
use crate::report::page::{
    Anytime, AnytimeLine, BandPoint, CheckLevel, ClicksToOpens, CrossingLine, Estimate, GuardLine, Reached, Secondary,
};
use crate::report::reading::{MaybeCount, cannot, comparisons, rate};
use crate::report::wording::{metric_words, moment, p_words, percent, points};
use crate::stats::{Count, Level, PValue, RatioSums, benjamini_hochberg, delta_ratio};

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

/// The anytime-valid reading as lines and bands.
pub fn anytime(design: &Design, counts: &Counts, watched: &Watched, variants: &[VariantNumber], level: Level) -> Anytime {
    let point = |mark: &Mark, index: usize| -> Option<BandPoint> {
        let (p_value, band) = (mark.p_values.get(index)?, mark.bands.get(index)?);
        Some(BandPoint {
            at: mark.at,
            ratio: band.ratio,
            lower: band.band.lower,
            upper: band.band.upper,
            p_value: p_value.value(),
            varies: band.varies,
        })
    };
    let lines: Vec<AnytimeLine> = variants
        .iter()
        .skip(1)
        .enumerate()
        .map(|(index, variant)| AnytimeLine {
            variant: variant.to_string(),
            p_value: watched.p_value(VariantNumber::CONTROL, *variant).value(),
            band: watched.marks().iter().filter_map(|mark| point(mark, index)).collect(),
        })
        .collect();
    let decides = design.method == Method::Anytime;
    let varies = lines.iter().any(|line| line.band.last().is_some_and(|point| point.varies));
    let watch = counts.watch.as_ref();
    let crossing = watch.and_then(crossing_line);
    Anytime {
        decides,
        method: "urn e-process (safe log-rank, Grünwald, Ly, Pérez-Ortiz & ter Schure 2020); band: the same process turned round"
            .to_owned(),
        confidence: level.confidence(),
        band_words: band_words(design, varies),
        at_risk_since: watch.map(|watch| moment(watch.since)),
        at_risk: watch.map(|watch| variants.iter().map(|variant| watch.of(*variant)).collect()).unwrap_or_default(),
        sentence: anytime_sentence(decides, watched, crossing.as_ref(), design.significance),
        crossing,
        variants: lines,
    }
}

fn crossing_line(watch: &Watch) -> Option<CrossingLine> {
    let crossing = watch.crossing.as_ref()?;
    let e_value = (-crossing.ln_p).exp();
    Some(CrossingLine {
        variant: VariantNumber(crossing.variant).to_string(),
        at: crossing.at().map(moment).ok()?,
        after: crossing.after,
        successes: crossing.successes.clone(),
        p_value: PValue::from_ln(crossing.ln_p).value(),
        e_value: (e_value <= 1e300).then_some(e_value),
        found_at: watch.found_at.map(moment),
        settled_at: watch.settled_at.map(moment),
    })
}

fn band_words(design: &Design, varies: bool) -> String {
    let what = if design.metric == Metric::Open { "open" } else { "click" };
    let mut words = format!(
        "The band holds every relative change that the same test has not ruled out at any time so far, so that it leaves out 0 exactly when the p-value is at most {}; the change is that of the pace of first {what}s among those who have not {what}ed yet, which is the change of the rate where few {what}.",
        percent(design.significance)
    );
    if varies {
        words.push_str(" No single change fits all the time so far: the effect was larger at one time than at another.");
    }
    words
}

fn anytime_sentence(decides: bool, watched: &Watched, crossing: Option<&CrossingLine>, significance: f64) -> String {
    let level = percent(significance);
    if let (Some(crossing), true) = (crossing, decides) {
        let stands = match &crossing.settled_at {
            Some(_) => "It was written down and is never taken back.",
            None => "It was written down and is never taken back; a check has forbidden a verdict so far.",
        };
        return format!(
            "On {}, after {} first successes, variant {} had shown to be better than every other ({}); looking often does not weaken this. {stands}",
            crossing.at,
            crossing.after,
            crossing.variant,
            p_words(crossing.p_value)
        );
    }
    match (watched.crossing(), decides) {
        (Some(_), true) => {
            "The bound has just been crossed; it counts once it is written down, which takes a moment while Letterlab is running."
                .to_owned()
        }
        (Some(crossing), false) => format!(
            "Somebody who had looked all the time could have told after {} first successes that variant {} is better. The plan waits for its sealed time all the same.",
            crossing.after, crossing.variant
        ),
        (None, true) => format!("No variant has shown to be better yet at the level of {level}, however often one looked."),
        (None, false) => {
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
pub fn clicks_to_opens(counts: &Counts, variants: &[VariantNumber], level: Level) -> ClicksToOpens {
    let sums = |variant: &VariantNumber| {
        let of = |tally: Tally| counts.of(*variant, tally) as f64;
        let (clicks, opens, both) = (of(Tally::ClickStandard), of(Tally::OpenStandard), of(Tally::OpenAndClick));
        // Each recipient is 0 or 1 in both, so that squares are the counts themselves.
        RatioSums { n: counts.named(*variant, MEASURED), sum_y: clicks, sum_x: opens, sum_yy: clicks, sum_xx: opens, sum_xy: both }
    };
    let arms: Vec<RatioSums> = variants.iter().map(sums).collect();
    let ratio = |arm: &RatioSums| match arm.reading(level) {
        Ok((estimate, interval)) => Estimate::Interval { estimate, lower: interval.lower, upper: interval.upper },
        Err(reason) => cannot(&reason),
    };
    let against = |control: &RatioSums, arm: &RatioSums| match delta_ratio(*control, *arm, level) {
        Ok(reading) => Estimate::Interval { estimate: reading.difference, lower: reading.interval.lower, upper: reading.interval.upper },
        Err(reason) => cannot(&reason),
    };
    ClicksToOpens {
        ratios: arms.iter().map(ratio).collect(),
        differences: arms.first().map(|control| arms.iter().skip(1).map(|arm| against(control, arm)).collect()).unwrap_or_default(),
        both: variants.iter().map(|variant| counts.of(*variant, Tally::OpenAndClick)).collect(),
        method: "delta method for a ratio of means (Deng, Knoblich & Lu 2018)".to_owned(),
        why_not_tested: "Who opens is itself an effect of the variant, so that those who opened are no longer comparable between the arms; and opens are seen only where pictures load. Described, never tested.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_reached_is_told_from_the_rates_that_came_out() {
        let arms: Vec<MaybeCount> =
            [(417, 13_914), (480, 13_914)].map(|(successes, trials)| Ok(Count::new(successes, trials).unwrap())).to_vec();
        let reached = reached(&Design::default(), &arms).unwrap();
        assert!((reached.lift - 0.2).abs() < 0.002 && (reached.chance_of_planned.unwrap() - 0.8).abs() < 0.005, "{reached:?}");
        assert!(super::reached(&Design::default(), &[Ok(Count::new(0, 100).unwrap()), Ok(Count::new(1, 100).unwrap())]).is_none());
    }
}
