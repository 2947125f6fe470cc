//! What a draft's test can show, from the list's size and its own past: for the draft's page.
//!
//! Cast: [`outlook`]. It suggests and forbids nothing: what is sealed is what the campaign says.

use crate::app::lab::Lab;
use crate::app::planning::{self, Past};
use crate::campaign::definition::Definition;
use crate::db::DbError;
use crate::experiment::design::{Design, Method, Metric};
use crate::experiment::plan::{self, Question};
use crate::report::beside::POWER;
use crate::report::wording::metric_words;
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

fn sentences(design: &Design, past: &Past) -> Vec<String> {
    let letters = (past.mailable as f64 * design.share).floor() as u64;
    if letters == 0 {
        return Vec::new();
    }
    let known = past.pooled().and_then(|pooled| pooled.rate().ok()).filter(|rate| *rate > 0.0 && *rate < 1.0);
    let usual = if design.metric == Metric::Open { USUAL_OPENS } else { USUAL_CLICKS };
    let base = known.unwrap_or(usual);
    let question = Question {
        base,
        weights: design.weights.clone(),
        significance: design.significance,
        power: POWER,
        method: design.method,
        loss: past.loss.unwrap_or(0.0).min(0.99),
        machines: 0.0,
        prefetched: 0.0,
    };
    let what = metric_words(design.metric);
    let mut said = vec![match known {
        Some(_) => format!(
            "Base {what}: {}, from {} of this list.",
            percent(base),
            counted(past.campaigns.len() as u64, "past campaign", "past campaigns")
        ),
        None => format!("This list has no past rates yet: a {what} of {} is assumed. The real one may be quite different.", level(base)),
    }];
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
        let new = Past { mailable: 2_909, loss: None, campaigns: Vec::new() };
        let said = sentences(&Design::default(), &new).join("\n");
        assert!(said.contains("no past rates") && said.contains("click rate of 3 % is assumed"), "{said}");
        assert!(said.contains("With 2,909 people who may be mailed and a base rate of 3.00 %") && said.contains("80 % power"), "{said}");
        let known = Past { campaigns: vec![("spring".into(), Count::new(100, 1000).unwrap())], ..new.clone() };
        let said = sentences(&Design::default(), &known).join("\n");
        assert!(said.contains("Base click rate: 10.00 %, from 1 past campaign") && said.contains("Suggested test share"), "{said}");
        assert!(sentences(&Design::default(), &Past { mailable: 0, ..new }).is_empty());
    }

    #[test]
    fn a_handful_of_people_detects_nothing_and_is_told() {
        let said = sentences(&Design::default(), &Past { mailable: 3, loss: None, campaigns: Vec::new() }).join("\n");
        assert!(said.contains("too few people"), "{said}");
    }
}
