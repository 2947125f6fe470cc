//! The result page, the same for marketers (with navigation) and reviewers (without).
//!
//! Cast: [`ResultView`], made from [`ResultPage`] by [`ResultView::new`]: every number becomes words once, here, and every chart its positions.
//! It recomputes nothing: what the statistics say is shown as it is.

use super::beside::{BesideView, held_out};
use super::chart::{IntervalChart, Unplaced, interval_chart};
use super::format::{DASH, count, level, lift, p_value, percent, points, share};
use super::{Badge, Fact, Link, Page, Tone};
use crate::report::page::{Arm, Check, CheckLevel, Comparison, Counting, Estimate, HitClass, Outcome, ResultPage};

/// Where the page's links lead.
#[derive(Debug, Clone, Default)]
pub struct ResultLinks {
    /// The campaign's page, for those logged in.
    pub campaign_url: Option<String>,
    /// The draw repeated, for those logged in.
    pub assignment_url: Option<String>,
    /// Counts as CSV.
    pub csv_url: String,
    /// The whole result as JSON.
    pub json_url: String,
    /// The numbers computed again, as a script for R.
    pub r_url: String,
    /// The same for Python.
    pub python_url: String,
    /// Reviewers' links, for those who may create them.
    pub reviewers: Option<ReviewerLinks>,
}

impl ResultLinks {
    /// The downloads below a page's address, which ends in a slash.
    pub fn below(base: &str) -> Self {
        let url = |ending: &str| format!("{base}results.{ending}");
        Self { csv_url: url("csv"), json_url: url("json"), r_url: url("R"), python_url: url("py"), ..Self::default() }
    }
}

/// Creating links for reviewers.
#[derive(Debug, Clone, Default)]
pub struct ReviewerLinks {
    /// Where the form is posted: `days` until it ends.
    pub create_url: String,
    /// The link just created, complete, shown once.
    pub created: Option<String>,
}

/// One arm in words.
#[derive(Debug, Clone)]
pub struct ArmRow {
    /// Letter.
    pub letter: String,
    /// Number of its colour, 0 is the control.
    pub colour: usize,
    /// `control` or `variant`.
    pub role: &'static str,
    /// The varied element's value.
    pub value: String,
    /// Whether it won.
    pub winner: bool,
    /// Counts in words.
    pub enrolled: String,
    /// Accepted by the relay.
    pub sent: String,
    /// Not mailed on purpose.
    pub skipped: String,
    /// Given up.
    pub failed: String,
    /// Still to be mailed.
    pub waiting: String,
    /// Sent and returned, with its share.
    pub bounced: String,
    /// Sent and not returned.
    pub delivered: String,
    /// Unsubscribed, with its share.
    pub unsubscribed: String,
    /// `412 of 9,871`.
    pub successes: String,
    /// The rate, or a dash.
    pub rate: String,
    /// Its interval, or the reason why there is none.
    pub interval: String,
}

/// A comparison in words.
#[derive(Debug, Clone)]
pub struct ComparisonRow {
    /// `B − A`.
    pub name: String,
    /// The difference in points.
    pub difference: String,
    /// Its interval.
    pub interval: String,
    /// Relative change with its interval.
    pub lift: String,
    /// p-value.
    pub p: String,
    /// Adjusted p-value, or empty when there is one variant only.
    pub adjusted: String,
}

/// One way of counting in words.
#[derive(Debug, Clone)]
pub struct CountingRow {
    /// Raw, standard, strict.
    pub name: String,
    /// Which hits count.
    pub meaning: String,
    /// Per arm the rate and `412 of 9,871`.
    pub counts: Vec<(String, String)>,
    /// Difference in points.
    pub difference: String,
    /// Its interval, or the reason why there is none.
    pub interval: String,
    /// p-value.
    pub p: String,
    /// What the verdict would be.
    pub verdict: String,
    /// Whether this is the counting that decides.
    pub decides: bool,
}

/// A check in words.
#[derive(Debug, Clone)]
pub struct CheckRow {
    /// Name.
    pub name: String,
    /// `ok`, `warn`, `stop`: the icon.
    pub icon: &'static str,
    /// The same as a word.
    pub word: &'static str,
    /// What was found.
    pub sentence: String,
    /// The figure behind it, or empty.
    pub figure: String,
}

/// Hits of one class in words.
#[derive(Debug, Clone)]
pub struct HitRow {
    /// The class.
    pub class: String,
    /// What it means.
    pub meaning: String,
    /// Opens per arm.
    pub opens: Vec<String>,
    /// Clicks per arm.
    pub clicks: Vec<String>,
}

/// The result page.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "review/result.html")]
pub struct ResultView {
    /// The frame; `page.account` is `None` for reviewers.
    pub page: Page,
    /// Where links lead.
    pub links: ResultLinks,
    /// The campaign's name.
    pub campaign: String,
    /// The campaign's state.
    pub state: String,
    /// When it was computed.
    pub as_of: String,
    /// `Winner: B`, `No winner`, `Not yet`, `Stopped by a check`, `Not estimable`.
    pub outcome: Badge,
    /// The verdict as one sentence.
    pub sentence: String,
    /// More about it, or empty.
    pub detail: String,
    /// What differs, for example `subject`.
    pub element: String,
    /// `B differs from A in: subject.`
    pub differs: String,
    /// How that was shown before the launch.
    pub proven: String,
    /// What is compared, for example `click rate`.
    pub metric: String,
    /// What the rate is a share of.
    pub denominator: String,
    /// `95 %`.
    pub confidence: String,
    /// Name of the method.
    pub method: String,
    /// What stands beside the verdict.
    pub beside: BesideView,
    /// The arms.
    pub arms: Vec<ArmRow>,
    /// Rates with intervals.
    pub rates: IntervalChart,
    /// The variants against the control.
    pub comparisons: Vec<ComparisonRow>,
    /// Differences with intervals.
    pub differences: IntervalChart,
    /// Raw, standard, strict.
    pub countings: Vec<CountingRow>,
    /// Whether they agree.
    pub agree: bool,
    /// What that means.
    pub agreement: String,
    /// Checks of the experiment.
    pub checks: Vec<CheckRow>,
    /// Hits by class.
    pub hits: Vec<HitRow>,
    /// Doubts.
    pub notes: Vec<String>,
    /// The sealed plan in facts.
    pub plan: Vec<Fact>,
    /// Its hash.
    pub hash: String,
    /// What was done differently.
    pub deviations: Vec<String>,
}

impl ResultView {
    /// Words and positions from numbers.
    pub fn new(page: Page, data: &ResultPage, links: ResultLinks) -> Self {
        let control = data.arms.first().map_or(DASH, |arm| arm.letter.as_str());
        Self {
            page,
            links,
            campaign: data.campaign.clone(),
            state: data.state.clone(),
            as_of: data.as_of.clone(),
            outcome: outcome_badge(data),
            sentence: data.verdict.sentence.clone(),
            detail: data.verdict.detail.clone(),
            element: data.element.clone(),
            differs: differs(data, control),
            proven: data.difference.last().cloned().unwrap_or_default(),
            metric: data.metric.clone(),
            denominator: data.denominator.clone(),
            confidence: level(data.confidence),
            method: sentence_case(&data.method),
            beside: BesideView::new(data),
            arms: data.arms.iter().enumerate().map(|(colour, arm)| arm_row(data, colour, arm)).collect(),
            rates: rate_chart(data),
            comparisons: data.comparisons.iter().map(|comparison| comparison_row(comparison, data.comparisons.len() > 1)).collect(),
            differences: difference_chart(data),
            countings: data.countings.iter().map(counting_row).collect(),
            agree: data.agreement.agree,
            agreement: data.agreement.note.clone(),
            checks: data.checks.iter().map(check_row).collect(),
            hits: data.hits.iter().map(hit_row).collect(),
            notes: data.notes.clone(),
            plan: plan_facts(data),
            hash: data.plan.hash.clone(),
            deviations: data.plan.deviations.clone(),
        }
    }

    /// Columns of the comparison table depend on whether p-values were adjusted for several variants.
    pub fn several_variants(&self) -> bool {
        self.comparisons.len() > 1
    }

    /// Whether the anytime-valid reading decides.
    pub fn looked_at_always(&self) -> bool {
        self.beside.anytime.as_ref().is_some_and(|anytime| anytime.decides)
    }

    /// Letter of the arm at a position, for cells that name their column on a phone.
    pub fn letter_of(&self, index: &usize) -> &str {
        self.arms.get(*index).map_or("", |arm| arm.letter.as_str())
    }

    /// The link for those logged in, if any.
    pub fn back(&self) -> Option<Link> {
        self.links.campaign_url.as_ref().map(|url| Link { url: url.clone(), text: self.campaign.clone() })
    }
}

fn outcome_badge(data: &ResultPage) -> Badge {
    match data.verdict.outcome {
        Outcome::Winner => Badge::new(&format!("Winner: {}", data.verdict.winner.as_deref().unwrap_or(DASH)), Tone::Good),
        Outcome::NoWinner => Badge::new("No winner", Tone::Quiet),
        Outcome::NotYet => Badge::new("Not yet", Tone::Active),
        Outcome::Stopped => Badge::new("Stopped by a check", Tone::Stop),
        Outcome::NotEstimable => Badge::new("Not estimable", Tone::Warn),
    }
}

fn differs(data: &ResultPage, control: &str) -> String {
    let variants: Vec<&str> = data.arms.iter().skip(1).map(|arm| arm.letter.as_str()).collect();
    match variants.as_slice() {
        [] => String::new(),
        [one] => format!("{one} differs from {control} in: {}.", data.element),
        [most @ .., last] => format!("{} and {last} differ from {control} in: {}.", most.join(", "), data.element),
    }
}

/// `(estimate, interval)` in words.
pub fn words(estimate: &Estimate, show: fn(f64) -> String) -> (String, String) {
    match estimate {
        Estimate::Interval { estimate, lower, upper } => (show(*estimate), format!("{} to {}", show(*lower), show(*upper))),
        Estimate::NotEstimable { not_estimable } => (DASH.to_owned(), not_estimable.clone()),
    }
}

fn arm_row(data: &ResultPage, colour: usize, arm: &Arm) -> ArmRow {
    let (rate, interval) = words(&arm.rate, percent);
    let with_share =
        |number: u64, whole: u64| if whole == 0 { count(number) } else { format!("{} ({})", count(number), share(number, whole)) };
    ArmRow {
        letter: arm.letter.clone(),
        colour,
        role: if colour == 0 { "control" } else { "variant" },
        value: arm.value.clone(),
        winner: data.verdict.outcome == Outcome::Winner && data.verdict.winner.as_deref() == Some(arm.letter.as_str()),
        enrolled: count(arm.enrolled),
        sent: count(arm.sent),
        skipped: count(arm.skipped),
        failed: count(arm.failed),
        waiting: count(arm.waiting),
        bounced: with_share(arm.bounced, arm.sent),
        delivered: count(arm.delivered),
        unsubscribed: with_share(arm.unsubscribed, arm.delivered),
        successes: format!("{} of {}", count(arm.successes), count(arm.trials)),
        rate,
        interval,
    }
}

/// A comparison in words; `several` when its p-value was adjusted together with others.
pub fn comparison_row(comparison: &Comparison, several: bool) -> ComparisonRow {
    let (difference, interval) = words(&comparison.difference, points);
    let (relative, relative_interval) = words(&comparison.ratio, lift);
    let in_words = |p: Option<f64>| p.map_or(DASH.to_owned(), p_value);
    ComparisonRow {
        name: format!("{} − {}", comparison.variant, comparison.control),
        difference,
        interval,
        lift: format!("{relative} ({relative_interval})"),
        p: in_words(comparison.p_value),
        adjusted: if several { in_words(comparison.adjusted_p_value) } else { String::new() },
    }
}

fn rate_chart(data: &ResultPage) -> IntervalChart {
    let rows = data.arms.iter().enumerate().map(|(colour, arm)| unplaced(&arm.letter, colour, &arm.value, &arm.rate, percent)).collect();
    interval_chart(&format!("{} with {} interval", sentence_case(&data.metric), level(data.confidence)), rows, false, tick_percent)
}

fn difference_chart(data: &ResultPage) -> IntervalChart {
    let rows = data
        .comparisons
        .iter()
        .enumerate()
        .map(|(index, comparison)| {
            let name = format!("{} − {}", comparison.variant, comparison.control);
            unplaced(&comparison.variant, index + 1, &name, &comparison.difference, points)
        })
        .collect();
    interval_chart(&format!("Difference in percentage points with {} interval", level(data.confidence)), rows, true, tick_points)
}

fn unplaced(letter: &str, colour: usize, label: &str, estimate: &Estimate, show: fn(f64) -> String) -> Unplaced {
    let (point, interval) = words(estimate, show);
    let values = match estimate {
        Estimate::Interval { estimate, lower, upper } => Some((*lower, *estimate, *upper)),
        Estimate::NotEstimable { .. } => None,
    };
    Unplaced { letter: letter.to_owned(), colour, label: label.to_owned(), text: format!("{point} ({interval})"), values }
}

fn tick_percent(value: f64) -> String {
    level(value.max(0.0))
}

fn tick_points(value: f64) -> String {
    let text = points(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn counting_row(counting: &Counting) -> CountingRow {
    let (difference, interval) = words(&counting.difference, points);
    CountingRow {
        name: sentence_case(&counting.counting),
        meaning: counting.meaning.clone(),
        counts: counting.counts.iter().map(|(successes, trials)| counted_share(*successes, *trials)).collect(),
        difference,
        interval,
        p: counting.p_value.map_or(DASH.to_owned(), p_value),
        verdict: counting.verdict.clone(),
        decides: counting.counting == "standard",
    }
}

/// A rate and its counts: `4.17 %`, `412 of 9,871`.
pub fn counted_share(successes: u64, trials: u64) -> (String, String) {
    let rate = if trials == 0 { DASH.to_owned() } else { percent(successes as f64 / trials as f64) };
    (rate, format!("{} of {}", count(successes), count(trials)))
}

/// The icon of a level with its word: those for ok, doubt, stop.
pub fn icon(level: CheckLevel, [ok, warn, stop]: [&'static str; 3]) -> (&'static str, &'static str) {
    match level {
        CheckLevel::Ok => ("ok", ok),
        CheckLevel::Warn => ("warn", warn),
        CheckLevel::Stop => ("stop", stop),
    }
}

fn check_row(check: &Check) -> CheckRow {
    let (icon, word) = icon(check.level, ["OK", "Doubt", "Stop"]);
    CheckRow { name: check.name.clone(), icon, word, sentence: check.sentence.clone(), figure: check.figure.clone() }
}

fn hit_row(hit: &HitClass) -> HitRow {
    let in_words = |numbers: &[u64]| numbers.iter().map(|number| count(*number)).collect();
    HitRow { class: hit.class.clone(), meaning: hit.meaning.clone(), opens: in_words(&hit.opens), clicks: in_words(&hit.clicks) }
}

fn plan_facts(data: &ResultPage) -> Vec<Fact> {
    let plan = &data.plan;
    let mut facts = vec![
        Fact::new("Sealed", &plan.sealed_at),
        Fact::new("Element varied", &data.element),
        Fact::new("Primary metric", &plan.metric),
        Fact::new("Share of the list in the test", &plan.test_share),
        Fact::new("Weights", &plan.weights),
        Fact::new("Significance level", &plan.level),
        Fact::new("Horizon", &plan.horizon),
        Fact::new("Rule", &plan.rule),
        Fact::new("Test and interval", &data.method),
        Fact::new("Seed of the draw", &plan.seed),
    ];
    facts.extend(data.counted_until.as_ref().map(|until| Fact::new("Opens and clicks counted until", until)));
    facts.extend(data.looked_at.as_ref().map(|at| Fact::new("Looked at on", at)));
    facts.extend(data.chosen.as_ref().map(|chosen| {
        let at = chosen.at.as_ref().map(|at| format!(", {at}")).unwrap_or_default();
        Fact::new("The rest get", &format!("{}, chosen by {}{at}", chosen.variant, chosen.by))
    }));
    facts.extend(held_out(data).map(|words| Fact::new("Held out", &words)));
    facts
}

/// The first letter large.
pub fn sentence_case(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_drop_needless_zeros() {
        for (value, text) in [(0.035, "3.5 %"), (0.10, "10 %"), (0.0325, "3.25 %"), (0.0, "0 %")] {
            assert_eq!(tick_percent(value), text);
        }
        for (value, text) in [(0.005, "+0.5"), (-0.01, "−1"), (0.1, "+10"), (0.0, "0")] {
            assert_eq!(tick_points(value), text);
        }
    }

    #[test]
    fn what_cannot_be_estimated_shows_its_reason_instead_of_a_number() {
        let reason = Estimate::NotEstimable { not_estimable: "nobody was delivered".into() };
        assert_eq!(words(&reason, percent), (DASH.to_owned(), "nobody was delivered".to_owned()));
        assert_eq!(counted_share(0, 0), (DASH.to_owned(), "0 of 0".to_owned()));
    }
}
