//! A result as CSV, and as a table for a terminal.
//!
//! The same struct as the page; nothing is computed here, and nothing in it names a person.

use std::fmt::Write as _;

use crate::report::page::{CheckLevel, Estimate, ResultPage};
use crate::report::wording::{interval_words, p_words, percent};

/// One line per arm: counts, rate and interval.
///
/// # Errors
/// Only if memory for the text cannot be had.
pub fn csv(page: &ResultPage) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "variant",
        "value",
        "enrolled",
        "sent",
        "delivered",
        "skipped",
        "failed",
        "waiting",
        "bounced",
        "unsubscribed",
        "successes",
        "trials",
        "rate",
        "rate_lower",
        "rate_upper",
        "difference",
        "difference_lower",
        "difference_upper",
        "p_value",
        "adjusted_p_value",
        "complained",
        "chance_to_be_best",
        "expected_loss",
        "chance_better",
        "anytime_p_value",
    ])?;
    for (index, arm) in page.arms.iter().enumerate() {
        let comparison = index.checked_sub(1).and_then(|index| page.comparisons.get(index));
        let mut row = vec![arm.letter.clone(), arm.value.clone()];
        let numbers = [
            arm.enrolled,
            arm.sent,
            arm.delivered,
            arm.skipped,
            arm.failed,
            arm.waiting,
            arm.bounced,
            arm.unsubscribed,
            arm.successes,
            arm.trials,
        ];
        row.extend(numbers.iter().map(ToString::to_string));
        row.extend(cells(Some(&arm.rate)));
        row.extend(cells(comparison.map(|comparison| &comparison.difference)));
        let p = |value: Option<f64>| value.map(|p| p.to_string()).unwrap_or_default();
        row.push(p(comparison.and_then(|comparison| comparison.p_value)));
        row.push(p(comparison.and_then(|comparison| comparison.adjusted_p_value)));
        row.push(arm.complained.to_string());
        row.push(p(arm.chance_to_be_best));
        row.push(p(arm.expected_loss));
        row.push(p(comparison.and_then(|comparison| comparison.chance_better)));
        let watched = page.anytime.as_ref().and_then(|anytime| anytime.variants.iter().find(|line| line.variant == arm.letter));
        row.push(p(watched.map(|line| line.p_value)));
        writer.write_record(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn cells(estimate: Option<&Estimate>) -> [String; 3] {
    match estimate {
        Some(Estimate::Interval { estimate, lower, upper }) => [estimate.to_string(), lower.to_string(), upper.to_string()],
        Some(Estimate::NotEstimable { .. }) | None => [String::new(), String::new(), String::new()],
    }
}

/// A table to read in a terminal, at most 100 characters wide but for the varied values.
pub fn table(page: &ResultPage) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(&mut text, page);
    text
}

fn write_table(text: &mut String, page: &ResultPage) -> std::fmt::Result {
    writeln!(text, "{} ({}), {}\n", page.campaign, page.state, page.as_of)?;
    writeln!(text, "  {}", page.verdict.sentence)?;
    if !page.verdict.detail.is_empty() {
        writeln!(text, "  {}", page.verdict.detail)?;
    }
    writeln!(text, "\n  What differs: {}. Compared by: {} of those {}.\n", page.element, page.metric, page.denominator)?;
    for sentence in &page.difference {
        writeln!(text, "  {sentence}")?;
    }
    writeln!(
        text,
        "  {:<3} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9}  {:<26} value",
        "", "enrolled", "sent", "delivered", "bounced", "success", "of", "rate (interval)"
    )?;
    for arm in &page.arms {
        writeln!(
            text,
            "  {:<3} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9}  {:<26} {}",
            arm.letter,
            arm.enrolled,
            arm.sent,
            arm.delivered,
            arm.bounced,
            arm.successes,
            arm.trials,
            rate_words(&arm.rate),
            arm.value
        )?;
    }
    writeln!(text)?;
    for comparison in &page.comparisons {
        let p = comparison.adjusted_p_value.map(|p| format!(", {}", p_words(p))).unwrap_or_default();
        writeln!(text, "  {} − {}: {}{p}", comparison.variant, comparison.control, interval_words(&comparison.difference))?;
    }
    if let Some(p) = page.all_equal_p_value {
        writeln!(text, "  All arms equal: {}", p_words(p))?;
    }
    if !page.chances.is_empty() {
        writeln!(text, "  {}", page.chances)?;
    }
    write_beside(text, page)?;
    writeln!(text, "\n  Counted raw, standard and strict: {}", page.agreement.note)?;
    for counting in &page.countings {
        writeln!(text, "    {:<9} {}", counting.counting, counting.verdict)?;
    }
    writeln!(text, "\n  Checks")?;
    for check in &page.checks {
        let word = level_word(check.level);
        let figure = if check.figure.is_empty() { String::new() } else { format!(" ({})", check.figure) };
        writeln!(text, "    {word:<6} {}: {}{figure}", check.name, check.sentence)?;
    }
    for guard in &page.guards {
        let word = level_word(guard.state);
        writeln!(
            text,
            "    {word:<6} Guard {}: {} ({} of {} against {} of {})",
            guard.guard, guard.sentence, guard.count.0, guard.count.1, guard.control_count.0, guard.control_count.1
        )?;
    }
    for note in &page.notes {
        writeln!(text, "    note   {note}")?;
    }
    if let Some(chosen) = &page.chosen {
        let at = chosen.at.as_ref().map(|at| format!(" on {at}")).unwrap_or_default();
        writeln!(text, "\n  The rest get {}, chosen by {}{at}", chosen.variant, chosen.by)?;
    }
    if let Some(at) = &page.looked_at {
        writeln!(text, "\n  Looked at on {at}")?;
    }
    if !page.plan.hash.is_empty() {
        writeln!(text, "\n  Sealed {} with {}", page.plan.sealed_at, page.plan.hash)?;
        for deviation in &page.plan.deviations {
            writeln!(text, "    deviation  {deviation}")?;
        }
    }
    Ok(())
}

fn level_word(level: CheckLevel) -> &'static str {
    match level {
        CheckLevel::Ok => "ok",
        CheckLevel::Warn => "doubt",
        CheckLevel::Stop => "STOP",
    }
}

/// What stands beside the verdict.
fn write_beside(text: &mut String, page: &ResultPage) -> std::fmt::Result {
    if let Some(anytime) = &page.anytime {
        writeln!(text, "\n  Looked at whenever one likes: {}", anytime.sentence)?;
        for line in &anytime.variants {
            let band = line.band.last().map(|point| match point.upper {
                Some(upper) => format!(", ratio of paces between {:.3} and {upper:.3}", point.lower),
                None => format!(", ratio of paces above {:.3}", point.lower),
            });
            writeln!(text, "    {} against A: {}{}", line.variant, p_words(line.p_value), band.unwrap_or_default())?;
        }
        writeln!(text, "    {}", anytime.band_words)?;
    }
    if let Some(reached) = &page.reached {
        writeln!(text, "\n  {}", reached.sentence)?;
    }
    for metric in &page.secondary {
        writeln!(text, "\n  Beside it: {}", metric.metric)?;
        for (arm, rate) in page.arms.iter().zip(&metric.rates) {
            writeln!(text, "    {:<3} {}", arm.letter, rate_words(rate))?;
        }
        for comparison in &metric.comparisons {
            let p = comparison.adjusted_p_value.map(|p| format!(", adjusted {}", p_words(p))).unwrap_or_default();
            writeln!(text, "    {} − {}: {}{p}", comparison.variant, comparison.control, interval_words(&comparison.difference))?;
        }
    }
    if let Some(ratios) = &page.clicks_to_opens {
        let shown: Vec<String> =
            page.arms.iter().zip(&ratios.ratios).map(|(arm, ratio)| format!("{} {}", arm.letter, rate_words(ratio))).collect();
        writeln!(text, "\n  Clicks to opens: {}. {}", shown.join(", "), ratios.why_not_tested)?;
    }
    Ok(())
}

fn rate_words(rate: &Estimate) -> String {
    match rate {
        Estimate::Interval { estimate, lower, upper } => format!("{} ({} – {})", percent(*estimate), percent(*lower), percent(*upper)),
        Estimate::NotEstimable { .. } => "cannot estimate".to_owned(),
    }
}
