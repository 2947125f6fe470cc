//! The same comparison under raw, standard and strict counting, and whether they agree.
//!
//! Cast: [`counting`], [`agreement`].
//!
//! Only the standard counting decides; the others tell how much the answer depends on telling machines from people.

use crate::experiment::decide::{Pair, compare};
use crate::experiment::design::Metric;
use crate::ids::VariantNumber;
use crate::report::counts::Way;
use crate::report::page::{Agreement, Counting};
use crate::report::reading::{MaybeCount, cannot, difference};
use crate::stats::{Count, Level, NotEstimable};

/// One way of counting, compared as the verdict is.
pub fn counting(way: Way, metric: Metric, counts: &[MaybeCount], level: Level) -> Counting {
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
    let best = all.and_then(|counts| best_against_control(&counts, level));
    let (difference, p_value, verdict) = match best {
        Ok((variant, pair)) => {
            let verdict = match (pair.p_value.at_most(level.alpha()), pair.difference.estimate > 0.0) {
                (true, true) => format!("{variant} above A"),
                (true, false) => format!("A above {variant}"),
                (false, _) => "no difference shown".to_owned(),
            };
            (difference(&pair), Some(pair.p_value.value()), verdict)
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

/// Whether the countings lead to the same answer.
pub fn agreement(countings: &[Counting]) -> Agreement {
    let told: Vec<&Counting> = countings.iter().filter(|counting| counting.verdict != CANNOT).collect();
    let first = told.first().map(|counting| counting.verdict.as_str());
    let agree = told.iter().all(|counting| Some(counting.verdict.as_str()) == first);
    let note = if told.is_empty() {
        "there is nothing to count yet.".to_owned()
    } else if !agree {
        "they do not agree. The answer depends on how machines are told from people: trust it less, and look at the hits by class."
            .to_owned()
    } else if told.len() < countings.len() {
        "those countings that can be estimated agree.".to_owned()
    } else {
        "the three agree.".to_owned()
    };
    Agreement { agree, note }
}
