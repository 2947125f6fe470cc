//! Checks of the experiment itself: were the arms drawn, sent, delivered and touched by machines alike?
//!
//! Cast: [`Checks`].
//!
//! A check that stops forbids a verdict; it never changes a number.

use crate::experiment::decide::CHECK_LEVEL;
use crate::experiment::design::Metric;
use crate::experiment::evenness::even;
use crate::ids::VariantNumber;
use crate::ledger::subject::Tally;
use crate::report::counts::Counts;
use crate::report::page::{Check, CheckLevel};
use crate::report::reading::MaybeCount;
use crate::report::wording::{p_words, percent};
use crate::stats::{Count, PValue, sample_ratio};

/// The checks of the experiment itself.
pub struct Checks {
    assigned: Option<PValue>,
    sent: Option<PValue>,
    delivered: Option<PValue>,
    /// p-value of equal machine rates.
    pub machine_balance: Option<PValue>,
}

impl Checks {
    /// Computes every check.
    pub fn of(counts: &Counts, variants: &[VariantNumber], metric: Metric, weights: &[u32]) -> Self {
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        let enrolled: Vec<u64> = variants.iter().map(|variant| counts.enrolled(*variant)).collect();
        let share_of = |part: Tally, whole: &dyn Fn(VariantNumber) -> u64| {
            let arms: Option<Vec<Count>> =
                variants.iter().map(|variant| Count::new(counts.of(*variant, part).min(whole(*variant)), whole(*variant)).ok()).collect();
            arms.and_then(|arms| even(&arms).ok())
        };
        let machines = match metric {
            Metric::Open => Tally::MachineOpen,
            Metric::Click => Tally::ScannerClick,
        };
        Self {
            assigned: sample_ratio(&enrolled, &weights).ok().map(|test| test.p_value),
            // The sizes were drawn exactly: what is left of each arm is compared with what was drawn, not with the weights.
            sent: share_of(Tally::Sent, &|variant| counts.enrolled(variant)),
            delivered: share_of(Tally::Delivered, &|variant| counts.enrolled(variant)),
            machine_balance: share_of(machines, &|variant| counts.of(variant, Tally::Delivered)),
        }
    }

    /// The smaller of the splits as assigned and as delivered. What sending loses, delivery has lost too.
    pub fn sample_ratio(&self) -> Option<PValue> {
        match (self.assigned, self.delivered) {
            (Some(one), Some(other)) => Some(if one <= other { one } else { other }),
            (one, other) => one.or(other),
        }
    }

    /// The checks in words.
    pub fn shown(&self, counts: &Counts, variants: &[VariantNumber], metric: Metric, standard: &[MaybeCount]) -> Vec<Check> {
        vec![
            by_p_value(
                "Sample ratio, as assigned",
                self.assigned,
                "The arms are as large as they were drawn.",
                "The arms are not as large as they were drawn.",
            ),
            by_p_value(
                "Sample ratio, as sent",
                self.sent,
                "Sending lost no arm more than another.",
                "Sending lost recipients of one arm more than of another.",
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
            links_alike(counts, variants),
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

fn enough_data(standard: &[MaybeCount]) -> Check {
    let fewest =
        standard.iter().map(|count| count.as_ref().map_or(0, |count| count.successes().min(count.failures()))).min().unwrap_or_default();
    let figure = format!("fewest: {fewest}");
    if fewest >= 5 {
        check("Enough data", CheckLevel::Ok, "Every arm has at least 5 on both sides.", figure)
    } else {
        check("Enough data", CheckLevel::Warn, "An arm has fewer than 5 on one side; only large differences can show.", figure)
    }
}

/// Scanners follow every link: an arm with more of them is touched more often, and told from people more easily.
fn links_alike(counts: &Counts, variants: &[VariantNumber]) -> Check {
    const NAME: &str = "Links";
    let links: Vec<u64> = variants.iter().map(|variant| counts.links(*variant)).collect();
    let figure = links.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / ");
    if links.windows(2).all(|pair| pair.first() == pair.last()) {
        check(NAME, CheckLevel::Ok, "The arms' letters have equally many links.", figure)
    } else {
        check(
            NAME,
            CheckLevel::Warn,
            "The arms' letters have different numbers of links; machines that follow all of them touch the arms differently.",
            figure,
        )
    }
}

fn unknown_share(counts: &Counts, variants: &[VariantNumber], metric: Metric) -> Check {
    const NAME: &str = "Unknown clickers";
    let (unknown, people) = (counts.sum(variants, Tally::UnknownClick), counts.sum(variants, Tally::ClickStandard));
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
