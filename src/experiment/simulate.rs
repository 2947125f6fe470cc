//! Whether the promises of the statistics hold: by adding up every outcome where that is possible, by drawing outcomes where it is not.
//!
//! Cast: [`Promise`] (which), [`Effort`] (how thoroughly), [`Row`] (what came out, with exact binomial bounds), [`try_out`].
//!
//! Chance comes from the generator that is handed in, so that a table can be had again. A drawn figure keeps its promise unless its
//! Clopper–Pearson interval lies wholly on the wrong side; an added-up one must keep it as it stands.

use rand::{Rng, RngExt};

use crate::experiment::decide::{CHECK_LEVEL, Decision, judge, test};
use crate::experiment::design::Method;
use crate::experiment::enumerate::{Binomial, Place, inside};
use crate::experiment::evenness::even;
use crate::experiment::plan::{Question, needed};
use crate::experiment::watch::Watched;
use crate::ids::VariantNumber;
use crate::stats::{
    Count, Estimate, Interval, Level, NotEstimable, PValue, ScoreFamily, clopper_pearson, fisher, newcombe_difference, scas_difference,
    score_test,
};

const ALPHA: f64 = 0.05;

/// A family of promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Errors of the test looked at once.
    FixedTypeOne,
    /// Errors of the test looked at after every event.
    AnytimeTypeOne,
    /// Coverage of intervals.
    Coverage,
    /// A winner among equal arms.
    FalseWinner,
    /// Power against the planned effect.
    Power,
    /// Alarms of the sample-ratio check.
    SampleRatio,
}

impl Promise {
    /// Every family.
    pub const ALL: [Self; 6] =
        [Self::FixedTypeOne, Self::AnytimeTypeOne, Self::Coverage, Self::FalseWinner, Self::Power, Self::SampleRatio];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FixedTypeOne => "type-one",
            Self::AnytimeTypeOne => "anytime",
            Self::Coverage => "coverage",
            Self::FalseWinner => "false-winner",
            Self::Power => "power",
            Self::SampleRatio => "sample-ratio",
        }
    }
}

/// How thoroughly.
#[derive(Debug, Clone, Copy)]
pub struct Effort<'a> {
    /// Draws per drawn figure.
    pub runs: u64,
    /// Error of the Clopper–Pearson bounds.
    pub error: f64,
    /// True rates.
    pub rates: &'a [f64],
    /// Recipients in all.
    pub totals: &'a [u64],
    /// Arms relative to each other, A : B.
    pub splits: &'a [(u64, u64)],
    /// Recipients per arm in drawn tests; larger ones take longer.
    pub drawn_arm: u64,
}

impl Effort<'_> {
    /// The grid the promises are made for.
    pub const fn full(runs: u64) -> Effort<'static> {
        Effort {
            runs,
            error: 0.001,
            rates: &[0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.6],
            totals: &[200, 1_000, 5_000, 20_000, 100_000],
            splits: &[(1, 1), (2, 1), (4, 1), (9, 1), (1, 9)],
            drawn_arm: 4_000,
        }
    }

    /// A grid for every day: seconds without optimisation, bounds that cannot fail by chance.
    pub const fn short() -> Effort<'static> {
        Effort { runs: 200, error: 1e-9, rates: &[0.01, 0.1, 0.3], totals: &[200, 2_000], splits: &[(1, 1), (9, 1)], drawn_arm: 1_000 }
    }

    fn cells(&self) -> impl Iterator<Item = (f64, u64, u64)> {
        let arms = |total: u64, (a, b): (u64, u64)| (total * a / (a + b), total * b / (a + b));
        self.totals.iter().flat_map(move |total| {
            self.splits.iter().flat_map(move |split| {
                let (n_a, n_b) = arms(*total, *split);
                self.rates.iter().map(move |rate| (*rate, n_a, n_b))
            })
        })
    }
}

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub enum Bound {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// One figure.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// What it is about.
    pub name: String,
    /// Under which circumstances.
    pub where_: String,
    /// The figure.
    pub figure: f64,
    /// Its exact binomial bounds when it was drawn; none when every outcome was added up.
    pub bounds: Option<(f64, f64)>,
    /// What was promised.
    pub promised: Bound,
    /// Whether it holds.
    pub holds: bool,
}

impl Row {
    fn added_up(name: &str, where_: String, figure: f64, promised: Bound) -> Self {
        let holds = match promised {
            Bound::AtMost(most) => figure <= most,
            Bound::AtLeast(least) => figure >= least,
        };
        Self { name: name.to_owned(), where_, figure, bounds: None, promised, holds }
    }

    fn drawn(name: &str, where_: String, hits: u64, effort: Effort<'_>, promised: Bound) -> Estimate<Self> {
        let count = Count::new(hits, effort.runs)?;
        let Interval { lower, upper } = clopper_pearson(count, Level::from_alpha(effort.error)?)?;
        let holds = match promised {
            Bound::AtMost(most) => lower <= most,
            Bound::AtLeast(least) => upper >= least,
        };
        Ok(Self { name: name.to_owned(), where_, figure: count.rate()?, bounds: Some((lower, upper)), promised, holds })
    }
}

/// Tries one family of promises out.
///
/// # Errors
/// Only for an effort that makes no sense, such as no runs.
pub fn try_out(promise: Promise, effort: Effort<'_>, rng: &mut impl Rng) -> Estimate<Vec<Row>> {
    match promise {
        Promise::FixedTypeOne => fixed_type_one(effort),
        Promise::AnytimeTypeOne => anytime_type_one(effort, rng),
        Promise::Coverage => coverage(effort),
        Promise::FalseWinner => false_winner(effort, rng),
        Promise::Power => power(effort, rng),
        Promise::SampleRatio => sample_ratio(),
    }
}

fn place(rejected: bool, a: Count, b: Count) -> Place {
    let above = u128::from(b.successes()) * u128::from(a.trials()) > u128::from(a.successes()) * u128::from(b.trials());
    match (rejected, above) {
        (false, _) => Place::Inside,
        (true, true) => Place::Above,
        (true, false) => Place::Below,
    }
}

fn rejection(a: &Binomial, b: &Binomial, p_value: impl Fn(Count, Count) -> Estimate<PValue>, alpha: f64) -> f64 {
    1.0 - inside(a, b, |a, b| place(p_value(a, b).is_ok_and(|p| p.at_most(alpha)), a, b))
}

fn where_words((rate, n_a, n_b): (f64, u64, u64)) -> String {
    format!("worst at {:.1} %, {n_a} : {n_b}", rate * 100.0)
}

fn fixed_type_one(effort: Effort<'_>) -> Estimate<Vec<Row>> {
    let worst = |p_value: &dyn Fn(Count, Count) -> Estimate<PValue>| {
        let mut worst = (0.0, (0.0, 0, 0));
        for (rate, n_a, n_b) in effort.cells() {
            let chance = rejection(&Binomial::new(n_a, rate), &Binomial::new(n_b, rate), p_value, ALPHA);
            if chance > worst.0 {
                worst = (chance, (rate, n_a, n_b));
            }
        }
        worst
    };
    let scas = worst(&|a, b| Ok(score_test(ScoreFamily::SkewnessCorrected, a, b)?.p_value));
    let exact = worst(&fisher);
    let page = worst(&|a, b| Ok(test(a, b)?.0));
    let row = |name: &str, (chance, cell): (f64, _), most: f64| Row::added_up(name, where_words(cell), chance, Bound::AtMost(most));
    Ok(vec![
        row("type I, looked at once: SCAS", scas, 0.055),
        row("type I, looked at once: Fisher", exact, 0.05),
        row("type I, looked at once: the page's rule (Fisher under 5 expected)", page, 0.055),
    ])
}

/// The arms of the first successes in the order of time: with the same delays in every arm every order is equally likely.
fn draw_firsts(arms: &[Binomial], rng: &mut impl Rng) -> Vec<VariantNumber> {
    let mut firsts: Vec<VariantNumber> = Vec::new();
    for (number, arm) in (0u8..).zip(arms) {
        let successes = usize::try_from(arm.draw(rng)).unwrap_or_default();
        firsts.extend(std::iter::repeat_n(VariantNumber(number), successes));
    }
    // Fisher and Yates (1938).
    for last in (1..firsts.len()).rev() {
        firsts.swap(last, rng.random_range(0..=last));
    }
    firsts
}

/// How often the replayed test names a winner that `counts` asks for.
fn winners(arms: &[Binomial], effect: f64, runs: u64, rng: &mut impl Rng, counts: impl Fn(VariantNumber) -> bool) -> Estimate<u64> {
    let trials: Vec<u64> = arms.iter().map(Binomial::trials).collect();
    let mut hits = 0;
    for _ in 0..runs {
        let watched = Watched::replay(&trials, &draw_firsts(arms, rng), effect, ALPHA, &[])?;
        hits += u64::from(watched.won().is_some_and(|(variant, _)| counts(variant)));
    }
    Ok(hits)
}

fn anytime_type_one(effort: Effort<'_>, rng: &mut impl Rng) -> Estimate<Vec<Row>> {
    let n = effort.drawn_arm;
    let effect = 1.2f64.ln();
    let mut rows = Vec::new();
    for (n_a, n_b, rate) in [(n, n, 0.05), (n * 9 / 5, n / 5, 0.03), (n / 4, n / 4, 0.4)] {
        let hits = winners(&[Binomial::new(n_a, rate), Binomial::new(n_b, rate)], effect, effort.runs, rng, |_| true)?;
        let where_ = format!("{:.0} %, {n_a} : {n_b}", rate * 100.0);
        rows.push(Row::drawn("type I, looked at after every event: urn e-process", where_, hits, effort, Bound::AtMost(ALPHA))?);
    }
    rows.extend(band_coverage(effort, rng)?);
    Ok(rows)
}

/// The arms of the first `events` successes when B's pace is `ratio` times A's all the time.
fn draw_paced(n_a: u64, n_b: u64, ratio: f64, events: u64, rng: &mut impl Rng) -> Vec<VariantNumber> {
    let (mut a, mut b) = (n_a as f64, n_b as f64);
    let mut draw = || {
        let is_b = rng.random::<f64>() * b.mul_add(ratio, a) < b * ratio;
        *if is_b { &mut b } else { &mut a } -= 1.0;
        VariantNumber(u8::from(is_b))
    };
    (0..events).map(|_| draw()).collect()
}

/// How often the band holds the true ratio at every mark, and so at the end, from which nothing that was once ruled out comes back.
fn band_holds(trials: [u64; 2], firsts: &[VariantNumber], truth: f64) -> Estimate<bool> {
    let marks: Vec<usize> = (1..=firsts.len()).filter(|after| after % 10 == 0 || *after == firsts.len()).collect();
    let watched = Watched::replay(&trials, firsts, 1.2f64.ln(), ALPHA, &marks)?;
    let band = watched.marks().last().and_then(|mark| mark.bands.first()).map(|band| band.band);
    Ok(band.is_none_or(|band| band.lower < truth && band.upper.is_none_or(|upper| truth < upper)))
}

fn band_coverage(effort: Effort<'_>, rng: &mut impl Rng) -> Estimate<Vec<Row>> {
    let n = effort.drawn_arm;
    let promised = Bound::AtLeast(1.0 - ALPHA);
    let mut rows = Vec::new();
    for (n_a, n_b, ratio, part) in [(n, n, 1.0, 10), (n, n, 1.2, 10), (n / 2, n / 2, 1.5, 3), (n * 9 / 5, n / 5, 0.7, 20)] {
        let mut hits = 0;
        for _ in 0..effort.runs {
            hits += u64::from(band_holds([n_a, n_b], &draw_paced(n_a, n_b, ratio, (n_a + n_b) / part, rng), ratio)?);
        }
        let where_ = format!("pace × {ratio}, {n_a} : {n_b}, 1 of {part} succeeds");
        rows.push(Row::drawn("coverage at all times: band of the urn", where_, hits, effort, promised)?);
    }
    let mut hits = 0;
    for _ in 0..effort.runs {
        let arms = [Binomial::new(n, 0.03), Binomial::new(n, 0.036)];
        hits += u64::from(band_holds([n, n], &draw_firsts(&arms, rng), 1.2)?);
    }
    let where_ = format!("3 % + 20 %, {n} : {n}");
    rows.push(Row::drawn("coverage at all times: band of the urn, for the ratio of rates", where_, hits, effort, promised)?);
    Ok(rows)
}

fn coverage(effort: Effort<'_>) -> Estimate<Vec<Row>> {
    let scas = covered(effort, |a, b| Ok(scas_difference(a, b, Level::USUAL)?.interval));
    let newcombe = covered(effort, |a, b| newcombe_difference(a, b, Level::USUAL));
    let rows = |name: &str, (mean, least, cell): (f64, f64, _)| {
        [
            Row::added_up(&format!("coverage of {name}, mean"), "whole grid".to_owned(), mean, Bound::AtLeast(0.948)),
            Row::added_up(&format!("coverage of {name}, least"), where_words(cell), least, Bound::AtLeast(0.93)),
        ]
    };
    Ok(rows("SCAS", scas).into_iter().chain(rows("Newcombe", newcombe)).collect())
}

/// Mean and least coverage of the difference where at least 5 are expected in every cell, for no difference and for a fifth more in B.
fn covered(effort: Effort<'_>, interval: impl Fn(Count, Count) -> Estimate<Interval>) -> (f64, f64, (f64, u64, u64)) {
    let (mut sum, mut many, mut least) = (0.0, 0.0, (1.0, (0.0, 0, 0)));
    for (rate, n_a, n_b) in effort.cells() {
        let fewest = n_a.min(n_b) as f64 * rate.min(1.0 - rate * 1.2);
        if fewest < 5.0 {
            continue;
        }
        for rate_b in [rate, rate * 1.2] {
            let truth = rate_b - rate;
            let chance = inside(&Binomial::new(n_a, rate), &Binomial::new(n_b, rate_b), |a, b| match interval(a, b) {
                Ok(found) if found.upper < truth => Place::Below,
                Ok(found) if found.lower > truth => Place::Above,
                _ => Place::Inside,
            });
            sum += chance;
            many += 1.0;
            if chance < least.0 {
                least = (chance, (rate, n_a, n_b));
            }
        }
    }
    (sum / many, least.0, least.1)
}

fn false_winner(effort: Effort<'_>, rng: &mut impl Rng) -> Estimate<Vec<Row>> {
    let mut rows = Vec::new();
    for (n, rate) in [(effort.drawn_arm, 0.05), (effort.drawn_arm / 4, 0.01), (effort.drawn_arm, 0.4)] {
        let arm = Binomial::new(n, rate);
        let mut hits = 0;
        for _ in 0..effort.runs {
            let arms: Vec<Count> = (0..8).map(|_| Count::new(arm.draw(rng), n)).collect::<Result<_, _>>()?;
            hits += u64::from(matches!(judge(&arms, ALPHA), Decision::Winner { .. }));
        }
        let where_ = format!("8 arms of {n}, {:.0} %", rate * 100.0);
        rows.push(Row::drawn("false winner, looked at once", where_, hits, effort, Bound::AtMost(ALPHA))?);
    }
    let n = effort.drawn_arm / 2;
    let arms = vec![Binomial::new(n, 0.05); 8];
    let hits = winners(&arms, 1.2f64.ln(), effort.runs, rng, |_| true)?;
    rows.push(Row::drawn("false winner, looked at after every event", format!("8 arms of {n}, 5 %"), hits, effort, Bound::AtMost(ALPHA))?);
    Ok(rows)
}

fn power(effort: Effort<'_>, rng: &mut impl Rng) -> Estimate<Vec<Row>> {
    let mut rows = Vec::new();
    // In small tests discreteness alone moves the power by more than the promised point.
    for (base, lift, weights) in [(0.03, 0.2, [1, 1]), (0.2, 0.1, [1, 1]), (0.03, 0.3, [3, 1]), (0.1, 0.2, [1, 1])] {
        let question = Question {
            base,
            weights: weights.to_vec(),
            significance: ALPHA,
            power: 0.8,
            method: Method::Fixed,
            loss: 0.0,
            machines: 0.0,
            prefetched: 0.0,
        };
        let size = needed(&question, lift)?;
        let [n_a, n_b] = size.arms[..] else { return Err(NotEstimable::TooFewArms) };
        let arms = [Binomial::new(n_a, base), Binomial::new(n_b, base * (1.0 + lift))];
        let [a, b] = &arms;
        let fixed = rejection(a, b, |a, b| Ok(test(a, b)?.0), ALPHA);
        let where_ = format!("{:.0} % + {:.0} %, {n_a} : {n_b}", base * 100.0, lift * 100.0);
        rows.push(Row::added_up("power, looked at once: at least planned − 1 point", where_.clone(), fixed, Bound::AtLeast(0.79)));
        rows.push(Row::added_up("power, looked at once: at most planned + 1 point", where_.clone(), fixed, Bound::AtMost(0.81)));
        let hits = winners(&arms, lift.ln_1p(), effort.runs, rng, |variant| variant == VariantNumber(1))?;
        let promised = Bound::AtLeast(0.75 * fixed);
        rows.push(Row::drawn("power, looked at after every event: 0.75 of the fixed one", where_, hits, effort, promised)?);
    }
    Ok(rows)
}

/// Every letter of an arm arrives with a chance of its own; the sizes of the arms are those drawn.
fn sample_ratio() -> Estimate<Vec<Row>> {
    let alarm = |n_a: u64, n_b: u64, kept_a: f64, kept_b: f64| {
        rejection(&Binomial::new(n_a, kept_a), &Binomial::new(n_b, kept_b), |a, b| even(&[a, b]), CHECK_LEVEL)
    };
    let mut rows = Vec::new();
    for (n_a, n_b, kept) in [(25_000, 25_000, 0.98), (25_000, 25_000, 0.9995), (45_000, 5_000, 0.98), (500, 500, 0.99)] {
        let where_ = format!("{n_a} : {n_b}, {:.2} % lost in both", (1.0 - kept) * 100.0);
        rows.push(Row::added_up("sample-ratio alarm without a fault", where_, alarm(n_a, n_b, kept, kept), Bound::AtMost(0.001)));
    }
    for (n_a, n_b, kept) in [(25_000, 25_000, 1.0), (25_000, 25_000, 0.97), (45_000, 5_000, 0.99)] {
        let where_ = format!("{n_a} : {n_b}, 2 % more lost in B than {:.0} %", (1.0 - kept) * 100.0);
        rows.push(Row::added_up("sample-ratio alarm at a loss of 2 %", where_, alarm(n_a, n_b, kept, kept - 0.02), Bound::AtLeast(0.99)));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha12Rng;

    // Added-up figures do not depend on chance; drawn ones have a fixed seed and bounds with an error of 1e-9.
    fn check(promise: Promise) {
        let mut rng = ChaCha12Rng::seed_from_u64(20_261_122);
        let rows = try_out(promise, Effort::short(), &mut rng).unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            assert!(row.holds, "{row:?}");
        }
    }

    #[test]
    fn errors_of_the_test_looked_at_once_keep_their_promise() {
        check(Promise::FixedTypeOne);
    }

    #[test]
    fn errors_of_the_test_looked_at_after_every_event_keep_their_promise() {
        check(Promise::AnytimeTypeOne);
    }

    #[test]
    fn intervals_cover_as_promised() {
        check(Promise::Coverage);
    }

    #[test]
    fn equal_arms_have_no_winner_more_often_than_promised() {
        check(Promise::FalseWinner);
    }

    #[test]
    fn the_sample_ratio_check_raises_its_alarm_as_promised() {
        check(Promise::SampleRatio);
    }

    #[test]
    fn a_broken_promise_is_seen() {
        let effort = Effort { runs: 1000, ..Effort::short() };
        assert!(!Row::drawn("", String::new(), 200, effort, Bound::AtMost(0.05)).unwrap().holds);
        assert!(!Row::drawn("", String::new(), 20, effort, Bound::AtLeast(0.5)).unwrap().holds);
        assert!(!Row::added_up("", String::new(), 0.051, Bound::AtMost(0.05)).holds);
    }
}
