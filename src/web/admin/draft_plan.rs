//! What a draft's test can show, from the list's size and its own past: for the draft's page.
//!
//! Cast: [`outlook`] (in words), [`figures`] (for programs). It suggests and forbids nothing: what is sealed is what the campaign says.

use crate::app::lab::Lab;
use crate::app::planning::{self, Past};
use crate::campaign::definition::Definition;
use crate::db::DbError;
use crate::experiment::design::{Design, Method, Metric};
use crate::experiment::plan::{self, Detectable, Question};
use crate::report::beside::POWER;
use crate::report::page::Estimate;
use crate::report::reading::rate;
use crate::report::wording::metric_words;
use crate::stats::Level;
use crate::web::view::format::{chance, count, counted, level, lift, percent, points};

/// Rates of usual newsletters, used where a list has no past: an assumption, said as one.
const USUAL_CLICKS: f64 = 0.03;
const USUAL_OPENS: f64 = 0.25;
/// Letters differ by about a tenth of their rate; used where the past does not say better.
const USUAL_SPREAD: f64 = 0.1;

/// Sentences about what the test can show; empty when there is nobody to mail.
///
/// # Errors
/// When a database cannot be read.
pub fn outlook(lab: &Lab, definition: &Definition) -> Result<Vec<String>, DbError> {
    let past = planning::past(lab, &definition.list, definition.design.metric)?;
    Ok(past.map(|past| sentences(&definition.design, &past)).unwrap_or_default())
}

/// The same as figures, with the sentences.
#[derive(Debug, serde::Serialize)]
pub struct Outlook {
    /// What is asked: base rate, weights, level, power, method, losses.
    question: Option<Question>,
    /// What the list brings along.
    past: Option<Past>,
    /// The base rate from the past with its 95 % interval; none without a past.
    base: Option<Estimate>,
    /// Letters of the test.
    letters: u64,
    /// The chance to find the planned lift.
    power_reached: Option<f64>,
    /// Letters that find the planned lift.
    needed: Option<u64>,
    /// The same at the lower and at the upper end of the base rate's interval.
    needed_between: Option<(u64, u64)>,
    /// What this many letters detect.
    detectable: Option<Detectable>,
    /// The suggested number of recipients in the test.
    suggested_test: Option<u64>,
    /// All of it in words.
    sentences: Vec<String>,
}

/// What the test can show, as figures; nearly empty when there is nobody to mail.
///
/// # Errors
/// When a database cannot be read.
pub fn figures(lab: &Lab, definition: &Definition) -> Result<Outlook, DbError> {
    let (past, design) = (planning::past(lab, &definition.list, definition.design.metric)?, &definition.design);
    let letters = past.as_ref().map_or(0, |past| letters(design, past));
    let question = past.as_ref().filter(|_| letters > 0).map(|past| question(design, past));
    let asked = question.as_ref();
    let spread = |past: &Past, base: f64| past.spread().unwrap_or(USUAL_SPREAD * base);
    let suggest = |past: &Past, question: &Question| plan::suggested_test(question, past.mailable, spread(past, question.base)).ok();
    Ok(Outlook {
        base: past.as_ref().and_then(|past| past.pooled()).map(|pooled| rate(&Ok(pooled), Level::USUAL)),
        power_reached: asked.and_then(|question| plan::power(question, letters, design.planned_lift).ok()),
        needed: asked.and_then(|question| plan::needed(question, design.planned_lift).ok()).map(|needed| needed.total),
        needed_between: past.as_ref().zip(asked).and_then(|(past, question)| needed_between(design, past, question)),
        detectable: asked.and_then(|question| plan::detectable(question, letters).ok()),
        suggested_test: past.as_ref().zip(asked).and_then(|(past, question)| suggest(past, question)),
        sentences: past.as_ref().map(|past| sentences(design, past)).unwrap_or_default(),
        letters,
        question,
        past,
    })
}

fn letters(design: &Design, past: &Past) -> u64 {
    (past.mailable as f64 * design.share).floor() as u64
}

/// The rate of past campaigns with its 95 % interval.
fn known_base(past: &Past) -> Option<(f64, f64, f64)> {
    let pooled = past.pooled()?;
    match rate(&Ok(pooled), Level::USUAL) {
        Estimate::Interval { estimate, lower, upper } if estimate > 0.0 && estimate < 1.0 => Some((estimate, lower, upper)),
        _ => None,
    }
}

fn question(design: &Design, past: &Past) -> Question {
    let usual = if design.metric == Metric::Open { USUAL_OPENS } else { USUAL_CLICKS };
    Question {
        base: known_base(past).map_or(usual, |(base, _, _)| base),
        weights: design.weights.clone(),
        significance: design.significance,
        power: POWER,
        method: design.method,
        loss: past.loss.unwrap_or(0.0).min(0.99),
        machines: 0.0,
        prefetched: past.prefetched.unwrap_or(0.0).min(0.99),
    }
}

/// Letters needed at the lower and at the upper end of what the past says of the base rate.
fn needed_between(design: &Design, past: &Past, question: &Question) -> Option<(u64, u64)> {
    let (_, lower, upper) = known_base(past)?;
    let at = |base: f64| plan::needed(&Question { base, ..question.clone() }, design.planned_lift).ok().map(|needed| needed.total);
    Some((at(lower)?, at(upper)?))
}

fn sentences(design: &Design, past: &Past) -> Vec<String> {
    let letters = letters(design, past);
    if letters == 0 {
        return Vec::new();
    }
    let question = question(design, past);
    let base = question.base;
    let what = metric_words(design.metric);
    let mut said = vec![match known_base(past) {
        Some((_, lower, upper)) => format!(
            "Base {what}: {} (95 % interval {} to {}), from {} of this list.",
            percent(base),
            percent(lower),
            percent(upper),
            counted(past.campaigns.len() as u64, "past campaign", "past campaigns")
        ),
        None => format!("This list has no past rates yet: a {what} of {} is assumed. The real one may be quite different.", level(base)),
    }];
    if let Some(prefetched) = past.prefetched.filter(|share| *share >= 0.005) {
        said.push(format!(
            "{} of this list's recipients only have their pictures fetched in advance and leave the open rate: the figures reckon with that.",
            level((prefetched * 100.0).round() / 100.0)
        ));
    }
    said.push(found(design, past, &question, letters));
    if let (Ok(reached), Ok(needed)) = (plan::power(&question, letters, design.planned_lift), plan::needed(&question, design.planned_lift))
    {
        said.push(format!(
            "The planned lift of {} is found with a chance of {}; for {} it takes {} letters.",
            level(design.planned_lift),
            chance(reached),
            level(POWER),
            count(needed.total)
        ));
        if let Some((at_lower, at_upper)) = needed_between(design, past, &question) {
            let (fewest, most) = (at_lower.min(at_upper), at_lower.max(at_upper));
            said.push(format!("As the base rate is known only so well, that may be {} to {} letters.", count(fewest), count(most)));
        }
    }
    said.extend(suggested(&question, past));
    if design.method == Method::Anytime {
        said.push("Looking whenever one likes needs more people than looking once; the figures reckon with that.".to_owned());
    }
    said
}

fn found(design: &Design, past: &Past, question: &Question, letters: u64) -> String {
    let who = counted(past.mailable, "person who may be mailed", "people who may be mailed");
    let part = if design.share < 1.0 { format!(", {} of them in the test", count(letters)) } else { String::new() };
    match plan::detectable(question, letters) {
        Ok(found) => format!(
            "With {who}{part} and a base rate of {}, the test detects a difference of {} points ({} to {}, {}) with {} power.",
            percent(question.base),
            points(found.absolute).trim_start_matches('+'),
            percent(question.base),
            percent(found.rate),
            lift(1.0 + found.relative),
            level(question.power)
        ),
        Err(_) => format!(
            "With {who}{part} and a base rate of {}, no difference is detected with {} power: too few people.",
            percent(question.base),
            level(question.power)
        ),
    }
}

fn suggested(question: &Question, past: &Past) -> Option<String> {
    let spread = past.spread().unwrap_or(USUAL_SPREAD * question.base);
    let test = plan::suggested_test(question, past.mailable, spread).ok()?;
    let share = level((test as f64 * 100.0 / past.mailable as f64).round() / 100.0);
    Some(if test >= past.mailable {
        "Suggested test share: 100 %. With so few people the whole list is needed to choose well.".to_owned()
    } else {
        format!(
            "Suggested test share: {share} ({} people) brings the most successes in all when the rest get the better letter (test and roll). \
             So small a test chooses well on average and proves little.",
            count(test)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Count;

    #[test]
    fn without_a_past_the_assumption_is_said_and_with_one_the_past_is_used() {
        let new = Past { mailable: 2_909, loss: None, prefetched: None, campaigns: Vec::new() };
        let said = sentences(&Design::default(), &new).join("\n");
        assert!(said.contains("no past rates") && said.contains("click rate of 3 % is assumed"), "{said}");
        assert!(said.contains("With 2,909 people who may be mailed and a base rate of 3.00 %") && said.contains("80 % power"), "{said}");
        let known = Past { campaigns: vec![("spring".into(), Count::new(100, 1000).unwrap())], ..new.clone() };
        let said = sentences(&Design::default(), &known).join("\n");
        assert!(
            said.contains("Base click rate: 10.00 % (95 % interval 8.29 % to 12.02 %), from 1 past campaign")
                && said.contains("known only so well")
                && said.contains("Suggested test share"),
            "{said}"
        );
        assert!(sentences(&Design::default(), &Past { mailable: 0, ..new }).is_empty());
    }

    #[test]
    fn a_handful_of_people_detects_nothing_and_is_told() {
        let said = sentences(&Design::default(), &Past { mailable: 3, loss: None, prefetched: None, campaigns: Vec::new() }).join("\n");
        assert!(said.contains("too few people"), "{said}");
    }
}
