//! The sentences of a result: words a marketer understands and a statistician accepts.
//!
//! It computes nothing and decides nothing: it says what was decided.

use std::fmt::Display;

use jiff::Timestamp;

use crate::experiment::decide::{Decision, Veto};
use crate::experiment::design::{Design, Method, Metric};
use crate::report::beside::guard_words;
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

/// A share as per cent: two digits after the point, none where it is exactly a whole number of per cent, as levels are.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if (percent - percent.round()).abs() < 1e-9 { format!("{percent:.0} %") } else { format!("{percent:.2} %") }
}

/// A p-value as people write it.
pub fn p_words(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

/// The verdict in words. `difference` is the leader's against the control (or the next best, when the control leads); `due` is when
/// the observation ends, where known.
pub fn verdict(decision: &Decision, design: &Design, difference: Option<&Estimate>, due: Option<Timestamp>, now: Timestamp) -> Verdict {
    let (what, significance) = (metric_words(design.metric), design.significance);
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
        Decision::NoWinner { p_value, .. } if design.same_letters => make(
            Outcome::NoWinner,
            None,
            format!("As it should be: the same letter has the same {what} in every arm."),
            format!("{}; the set-up shows no difference where there is none.", p_words(p_value.value())),
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
        Decision::NotYet if due.is_some_and(|due| now >= due) => make(
            Outcome::NotYet,
            None,
            "Not yet: the sealed time has come, and what happened up to then is being counted.".to_owned(),
            "This takes a moment while Letterlab is running; then it is written down once and stays.".to_owned(),
        ),
        Decision::NotYet if design.method == Method::Anytime => make(
            Outcome::NotYet,
            None,
            match due {
                Some(due) => format!("Not yet: no variant has shown to be better so far. The test ends on {} at the latest.", moment(due)),
                None => "Not yet: letters of the test are still on their way.".to_owned(),
            },
            "This test may be looked at as often as one likes; it ends by itself as soon as the difference is clear.".to_owned(),
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
        Decision::Stopped(Veto::Guard(variant, guard)) => make(
            Outcome::Stopped,
            None,
            format!("No winner: variant {variant} has the higher {what}, but it also drives more people away ({}).", guard_words(*guard)),
            "The plan allows no winner that is worse in this respect by more than its margin. The figures stand under the guards.".to_owned(),
        ),
        Decision::Stopped(Veto::SameLetters) => make(
            Outcome::Stopped,
            None,
            "Alarm: the arms got the same letter and differ by more than chance explains.".to_owned(),
            format!(
                "Something in the set-up treats the arms unequally. By chance alone this happens in {} of such tests: repeat it before searching.",
                percent(significance)
            ),
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

/// A plural that counts, without marks between thousands: `1 line`, `2000 lines`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    let words = if number == N::from(1) { one } else { many };
    format!("{number} {words}")
}

/// A rough duration: `40 seconds`, `12 minutes`, `3 hours`, `2 days`.
pub fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds.div_ceil(60), "minute"),
        7_200..=172_799 => (seconds.div_ceil(3600), "hour"),
        _ => (seconds.div_ceil(86_400), "day"),
    };
    counted(count, unit, &format!("{unit}s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_show_no_needless_zeros_and_rates_two_digits() {
        for (share, text) in [(0.05, "5 %"), (0.95, "95 %"), (1.0, "100 %"), (0.0, "0 %"), (0.1828, "18.28 %"), (0.001, "0.10 %")] {
            assert_eq!(percent(share), text);
        }
        assert_eq!(percent(0.0501), "5.01 %");
    }
}
