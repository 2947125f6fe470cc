//! What stands beside the verdict on the result page, in words: chances, guards, secondary metrics, the anytime-valid reading, the power
//! reached, clicks to opens.
//!
//! Cast: [`BesideView`], made by [`BesideView::new`].
//! None of it is the verdict, and the page says so.

use super::Fact;
use super::band::{BandChart, band_chart};
use super::format::{DASH, chance, count, level, lift, p_value, percent, points};
use super::result::{ComparisonRow, comparison_row, counted_share, icon, sentence_case, words};
use crate::report::page::{Anytime, AnytimeLine, ClicksToOpens, CrossingLine, Estimate, GuardLine, ResultPage, Secondary};

/// An arm's chance to be best.
#[derive(Debug, Clone)]
pub struct ChanceRow {
    /// Its letter.
    pub letter: String,
    /// Number of its colour.
    pub colour: usize,
    /// The chance that it has the highest rate.
    pub best: String,
    /// What choosing it costs on average.
    pub loss: String,
}

/// A guarded rate.
#[derive(Debug, Clone)]
pub struct GuardRow {
    /// `ok`, `warn`, `stop`: the icon.
    pub icon: &'static str,
    /// `Held`, `Open`, `Broken`.
    pub word: &'static str,
    /// What is guarded, and of which variant.
    pub name: String,
    /// What was found.
    pub sentence: String,
    /// The counts behind it.
    pub figure: String,
}

/// A metric that does not decide.
#[derive(Debug, Clone)]
pub struct SecondaryView {
    /// For example `Open rate`.
    pub metric: String,
    /// Per arm the rate and `412 of 9,871`.
    pub rates: Vec<(String, String)>,
    /// Every variant against the control.
    pub comparisons: Vec<ComparisonRow>,
}

/// The anytime-valid reading.
#[derive(Debug, Clone)]
pub struct AnytimeView {
    /// Whether it decides.
    pub decides: bool,
    /// In words.
    pub sentence: String,
    /// The method's name.
    pub method: String,
    /// What the band says.
    pub band_words: String,
    /// Who is watched since when, and the first crossing; empty where this does not decide.
    pub facts: Vec<Fact>,
    /// Confidence of the band.
    pub confidence: String,
    /// One per variant.
    pub lines: Vec<AnytimeRow>,
}

/// A variant's band.
#[derive(Debug, Clone)]
pub struct AnytimeRow {
    /// Its letter.
    pub letter: String,
    /// Number of its colour.
    pub colour: usize,
    /// The last band in words.
    pub text: String,
    /// The band over time, with enough points.
    pub chart: Option<BandChart>,
}

/// Clicks ÷ opens of an arm.
#[derive(Debug, Clone)]
pub struct RatioRow {
    /// Its letter.
    pub letter: String,
    /// Number of its colour.
    pub colour: usize,
    /// The ratio, or a dash.
    pub value: String,
    /// Its interval, or the reason why there is none.
    pub interval: String,
}

/// Everything beside the verdict.
#[derive(Debug, Clone)]
pub struct BesideView {
    /// The chances as a sentence, or empty.
    pub chances: String,
    /// The chances per arm.
    pub best: Vec<ChanceRow>,
    /// Guards.
    pub guards: Vec<GuardRow>,
    /// Metrics that do not decide.
    pub secondary: Vec<SecondaryView>,
    /// The anytime-valid reading.
    pub anytime: Option<AnytimeView>,
    /// What the delivered letters can show, or empty.
    pub reached: String,
    /// The p-value of "all arms are equal", or empty.
    pub all_equal: String,
    /// Clicks ÷ opens per arm.
    pub ratios: Vec<RatioRow>,
    /// Their differences in points with intervals, as one sentence, or empty.
    pub ratio_differences: String,
    /// Name of the method of their intervals.
    pub ratio_method: String,
    /// Why they are not tested.
    pub why_not_tested: String,
}

impl BesideView {
    /// Words from numbers.
    pub fn new(data: &ResultPage) -> Self {
        Self {
            chances: sentence_case(&data.chances),
            best: chances(data),
            guards: data.guards.iter().map(guard_row).collect(),
            secondary: data.secondary.iter().map(secondary_view).collect(),
            anytime: data.anytime.as_ref().map(anytime_view),
            reached: data.reached.as_ref().map(|reached| reached.sentence.clone()).unwrap_or_default(),
            all_equal: data.all_equal_p_value.map(p_value).unwrap_or_default(),
            ratios: data.clicks_to_opens.as_ref().map(|ratios| clicks_to_opens(data, ratios)).unwrap_or_default(),
            ratio_differences: data.clicks_to_opens.as_ref().map(|ratios| ratio_differences(data, ratios)).unwrap_or_default(),
            ratio_method: data.clicks_to_opens.as_ref().map(|ratios| sentence_case(&ratios.method)).unwrap_or_default(),
            why_not_tested: data.clicks_to_opens.as_ref().map(|ratios| ratios.why_not_tested.clone()).unwrap_or_default(),
        }
    }
}

fn chances(data: &ResultPage) -> Vec<ChanceRow> {
    data.arms
        .iter()
        .enumerate()
        .filter_map(|(colour, arm)| {
            let (best, loss) = (arm.chance_to_be_best?, arm.expected_loss?);
            let loss = points(loss).trim_start_matches('+').to_owned();
            Some(ChanceRow { letter: arm.letter.clone(), colour, best: chance(best), loss })
        })
        .collect()
}

fn guard_row(guard: &GuardLine) -> GuardRow {
    let (icon, word) = icon(guard.state, ["Held", "Open", "Broken"]);
    let of = |(cases, trials): (u64, u64)| {
        let (rate, counts) = counted_share(cases, trials);
        format!("{rate} ({counts})")
    };
    GuardRow {
        icon,
        word,
        name: format!("{}, variant {}", sentence_case(&guard.guard), guard.variant),
        sentence: guard.sentence.clone(),
        figure: format!(
            "Variant {}, control {}; p = {} one-sided at {}.",
            of(guard.count),
            of(guard.control_count),
            guard.p_value.map_or(DASH.to_owned(), p_value),
            level(guard.level)
        ),
    }
}

fn secondary_view(metric: &Secondary) -> SecondaryView {
    SecondaryView {
        metric: sentence_case(&metric.metric),
        rates: metric.counts.iter().map(|(successes, trials)| counted_share(*successes, *trials)).collect(),
        comparisons: metric.comparisons.iter().map(|comparison| comparison_row(comparison, true)).collect(),
    }
}

fn anytime_view(anytime: &Anytime) -> AnytimeView {
    AnytimeView {
        decides: anytime.decides,
        sentence: anytime.sentence.clone(),
        method: sentence_case(&anytime.method),
        band_words: anytime.band_words.clone(),
        facts: at_risk(anytime).into_iter().chain(anytime.crossing.iter().flat_map(crossing)).collect(),
        confidence: level(anytime.confidence),
        lines: anytime.variants.iter().enumerate().map(|(index, line)| anytime_row(index + 1, line)).collect(),
    }
}

fn at_risk(anytime: &Anytime) -> Option<Fact> {
    let since = anytime.at_risk_since.as_ref()?;
    let numbers: Vec<String> = anytime.at_risk.iter().map(|number| count(*number)).collect();
    Some(Fact::new("Recipients watched", &format!("{}, fixed on {since}", numbers.join(" : "))))
}

fn crossing(crossing: &CrossingLine) -> Vec<Fact> {
    let successes: Vec<String> = crossing.successes.iter().map(|number| count(*number)).collect();
    let evidence = crossing.e_value.map_or("more than 1e300".to_owned(), |e_value| format!("{e_value:.1}"));
    let mut facts = vec![
        Fact::new("Bound crossed by", &format!("variant {}, on {}", crossing.variant, crossing.at)),
        Fact::new("First successes by then", &format!("{} ({})", count(crossing.after), successes.join(" : "))),
        Fact::new("Evidence", &format!("e-value {evidence}, p = {}", p_value(crossing.p_value)).replace("p = <", "p <")),
    ];
    facts.extend(crossing.found_at.as_ref().map(|at| Fact::new("Written down", at)));
    let settled = crossing.settled_at.as_deref().unwrap_or("not yet: a check forbids a verdict");
    facts.push(Fact::new("Verdict stands since", settled));
    facts
}

fn anytime_row(colour: usize, line: &AnytimeLine) -> AnytimeRow {
    let text = match line.band.last() {
        None => "nothing was seen yet".to_owned(),
        Some(last) => format!(
            "relative change {}, band {} to {}; p = {}",
            last.ratio.map_or(DASH.to_owned(), lift),
            lift(last.lower),
            last.upper.map_or("without end".to_owned(), lift),
            p_value(line.p_value)
        ),
    };
    AnytimeRow { letter: line.variant.clone(), colour, text: text.replace("p = <", "p <"), chart: band_chart(&line.band) }
}

fn clicks_to_opens(data: &ResultPage, ratios: &ClicksToOpens) -> Vec<RatioRow> {
    let letters = data.arms.iter().enumerate().zip(&ratios.ratios);
    letters
        .map(|((colour, arm), ratio)| {
            let (value, interval) = words(ratio, percent);
            RatioRow { letter: arm.letter.clone(), colour, value, interval }
        })
        .collect()
}

fn ratio_differences(data: &ResultPage, ratios: &ClicksToOpens) -> String {
    let control = data.arms.first().map_or(DASH, |arm| arm.letter.as_str());
    let told = data.arms.iter().skip(1).zip(&ratios.differences).filter_map(|(arm, difference)| match difference {
        Estimate::Interval { estimate, lower, upper } => {
            Some(format!("{} − {control}: {} points, between {} and {}", arm.letter, points(*estimate), points(*lower), points(*upper)))
        }
        Estimate::NotEstimable { .. } => None,
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Recipients who received nothing, in words; none when nobody was held out.
pub fn held_out(data: &ResultPage) -> Option<String> {
    (data.held_out > 0).then(|| format!("{} received nothing, to show what the letter does at all", count(data.held_out)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::CheckLevel;

    #[test]
    fn a_guard_shows_word_counts_and_level() {
        let guard = GuardLine {
            guard: "bounce".into(),
            variant: "B".into(),
            control_count: (10, 1000),
            count: (0, 0),
            margin: 0.01,
            level: 0.05,
            p_value: None,
            state: CheckLevel::Warn,
            sentence: "Too few.".into(),
        };
        let row = guard_row(&guard);
        assert_eq!((row.icon, row.word, row.name.as_str()), ("warn", "Open", "Bounce, variant B"));
        assert_eq!(row.figure, "Variant – (0 of 0), control 1.00 % (10 of 1,000); p = – one-sided at 5 %.");
    }

    #[test]
    fn a_band_without_end_says_so() {
        let line = AnytimeLine { variant: "B".into(), p_value: 1e-9, band: Vec::new() };
        assert_eq!(anytime_row(1, &line).text, "nothing was seen yet");
        let point = crate::report::page::BandPoint { at: 0, ratio: None, lower: 0.5, upper: None, p_value: 1e-9, varies: false };
        let line = AnytimeLine { band: vec![point], ..line };
        assert_eq!(anytime_row(1, &line).text, "relative change –, band −50.0 % to without end; p < 0.0001");
    }
}
