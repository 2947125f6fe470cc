//! The sentences of a result: words a marketer understands and a statistician accepts.
//!
//! It computes nothing and decides nothing: it says what was decided.

use jiff::Timestamp;

use crate::experiment::decide::{Decision, Veto};
use crate::experiment::design::Metric;
use crate::report::page::{Estimate, Outcome, Verdict};

/// A moment as people write it, in UTC.
pub fn moment(at: Timestamp) -> String {
    format!("{} UTC", at.strftime("%Y-%m-%d %H:%M"))
}

/// What is compared, in words.
pub const fn metric_words(metric: Metric) -> &'static str {
    match metric {
        Metric::Open => "open rate",
        Metric::Click => "click rate",
    }
}

/// A share as per cent with two digits after the point.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A p-value as people write it.
pub fn p_words(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

/// The verdict in words. `difference` is the leader's against the control (or the next best, when the control leads); `due` is when
/// the observation ends, where known.
pub fn verdict(decision: &Decision, metric: Metric, significance: f64, difference: Option<&Estimate>, due: Option<Timestamp>) -> Verdict {
    let what = metric_words(metric);
    let make = |outcome, winner: Option<String>, sentence: String, detail: String| Verdict { outcome, winner, sentence, detail };
    match decision {
        Decision::Winner { variant, p_value } => make(
            Outcome::Winner,
            Some(variant.to_string()),
            format!("Variant {variant} wins: its {what} is higher, and the difference is larger than chance explains."),
            format!(
                "{}{} at the sealed level of {}.",
                difference.map(|difference| format!("Difference {}; ", interval_words(difference))).unwrap_or_default(),
                p_words(p_value.value()),
                percent(significance)
            ),
        ),
        Decision::NoWinner { leader, p_value } => make(
            Outcome::NoWinner,
            None,
            format!("No winner: the {what}s do not differ by more than chance explains. Send the control."),
            format!(
                "Variant {leader} is ahead, but {} is not below the sealed level of {}. {}",
                p_words(p_value.value()),
                percent(significance),
                difference.map(|difference| format!("The difference may be anything {}.", range_words(difference))).unwrap_or_default()
            )
            .trim()
            .to_owned(),
        ),
        Decision::NotYet => make(
            Outcome::NotYet,
            None,
            match due {
                Some(due) => format!("Not yet: the plan looks once, on {}.", moment(due)),
                None => "Not yet: letters of the test are still on their way.".to_owned(),
            },
            "Looking earlier and stopping at a good moment would find differences that are none; the figures below are for information.".to_owned(),
        ),
        Decision::Stopped(Veto::SampleRatio) => make(
            Outcome::Stopped,
            None,
            "No verdict: the arms are not as large as they were drawn.".to_owned(),
            "Something lost recipients of one arm and not of the other (sample ratio mismatch), so the arms can no longer be compared. Find out what, and test again.".to_owned(),
        ),
        Decision::Stopped(Veto::MachineBalance) => make(
            Outcome::Stopped,
            None,
            "No verdict: machines touched the arms unequally.".to_owned(),
            "Scanners and prefetching differ between the arms by more than chance explains, so the difference may be theirs and not people's.".to_owned(),
        ),
        Decision::NotEstimable(reason) => {
            make(Outcome::NotEstimable, None, "Cannot estimate: the counts do not allow a comparison.".to_owned(), reason.to_string())
        }
    }
}

/// `+0.80 points (95 % interval …)` without the level: `+0.80 points, between +0.30 and +1.30`.
pub fn interval_words(estimate: &Estimate) -> String {
    match estimate {
        Estimate::Interval { estimate, lower, upper } => {
            format!("{} points, between {} and {}", points(*estimate), points(*lower), points(*upper))
        }
        Estimate::NotEstimable { not_estimable } => format!("cannot estimate ({not_estimable})"),
    }
}

fn range_words(estimate: &Estimate) -> String {
    match estimate {
        Estimate::Interval { lower, upper, .. } => format!("between {} and {} points", points(*lower), points(*upper)),
        Estimate::NotEstimable { not_estimable } => format!("(cannot estimate: {not_estimable})"),
    }
}

/// A difference of shares in percentage points, signed.
pub fn points(difference: f64) -> String {
    let points = difference * 100.0;
    if points < 0.0 { format!("−{:.2}", -points) } else { format!("+{points:.2}") }
}
