//! `letterlab power`: how many recipients a question needs, or what a number of recipients can answer.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use crate::app::lab::Lab;
use crate::app::planning::{self, Past};
use crate::experiment::design::{Method, Metric};
use crate::experiment::plan::{self, Detectable, Needed, Question};
use crate::report::page::Estimate;
use crate::report::reading::rate;
use crate::report::wording::{counted, percent, points};
use crate::stats::Level;
use crate::vault::people::NoSuchList;
use crate::vault::store;

/// Letters differ by about a tenth of their rate; used for the suggested test share where the list's past does not say better.
const USUAL_SPREAD: f64 = 0.1;

/// Plan a test: sample size, detectable lift, power, and a suggested test share.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  letterlab power --base 0.03 --lift 0.2               how many recipients find a fifth more clicks?
  letterlab power --base 0.03 --n 20000                what do 20,000 recipients find?
  letterlab power --base 0.03 --lift 0.2 --n 20000     with which chance?
  letterlab power --list customers --lift 0.1          from the list's own size and past rates")]
pub(super) struct Power {
    /// The control's rate, for example 0.03 or 3%; taken from the list's past when left out
    #[arg(long, value_parser = share)]
    base: Option<f64>,
    /// The relative difference worth finding; 0.2 or 20% is a fifth more
    #[arg(long, value_parser = share, allow_negative_numbers = true)]
    lift: Option<f64>,
    /// Letters that will be sent in all arms together
    #[arg(long)]
    n: Option<u64>,
    /// A list whose size and past rates are used
    #[arg(long, value_name = "NAME")]
    pub(super) list: Option<String>,
    /// What is compared: click or open
    #[arg(long, default_value = "click", value_parser = metric)]
    metric: Metric,
    /// The part of the list that takes part
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    share: f64,
    /// How many arms of equal size
    #[arg(long, default_value_t = 2, conflicts_with = "weights", value_parser = clap::value_parser!(u32).range(2..=8))]
    arms: u32,
    /// Sizes of the arms relative to each other, the control first: 2,1,1
    #[arg(long, value_delimiter = ',')]
    weights: Vec<u32>,
    /// Chance of calling a difference that is none, two-sided
    #[arg(long, default_value_t = 0.05, value_parser = super::compare::level)]
    level: f64,
    /// Chance to find the difference if it is there
    #[arg(long, default_value_t = 0.8, value_parser = share)]
    power: f64,
    /// fixed: looked at once; anytime: may be looked at always
    #[arg(long, default_value = "fixed", value_parser = method)]
    method: Method,
    /// The part of the letters that does not arrive; taken from the list's past when left out
    #[arg(long, value_parser = share)]
    loss: Option<f64>,
    /// The part of recipients whose success is a machine's, in every arm alike
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    machines: f64,
    /// The part of recipients whose pictures are fetched in advance and who are left out, for opens; taken from the list's past when left out
    #[arg(long, value_parser = share)]
    prefetched: Option<f64>,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

/// A part of a whole: 0.03, or 3%.
fn share(text: &str) -> Result<f64, String> {
    let (number, of) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |number| (number.trim_end(), 100.0));
    let share = number.parse::<f64>().ok().filter(|number| number.is_finite());
    share.map(|number| number / of).ok_or_else(|| "write a number such as 0.03, or 3%".to_owned())
}

fn metric(word: &str) -> Result<Metric, String> {
    Metric::ALL.into_iter().find(|metric| metric.as_str() == word).ok_or_else(|| "write click or open".to_owned())
}

fn method(word: &str) -> Result<Method, String> {
    Method::ALL.into_iter().find(|method| method.as_str() == word).ok_or_else(|| "write fixed or anytime".to_owned())
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    question: Question,
    past: Option<Past>,
    lift: Option<f64>,
    letters: Option<u64>,
    needed: Option<Needed>,
    needed_without_machines: Option<Needed>,
    detectable: Option<Detectable>,
    power_reached: Option<f64>,
    suggested_test: Option<u64>,
    spread: Option<f64>,
}

pub(super) fn run(command: &Power, lab: Option<&Lab>) -> anyhow::Result<ExitCode> {
    let past = match (&command.list, lab) {
        (Some(list), Some(lab)) => {
            let past = planning::past(lab, list, command.metric)?;
            if past.is_none() {
                return Err(NoSuchList { wanted: list.clone(), known: lab.vault.read(store::list_names)? }.into());
            }
            past
        }
        _ => None,
    };
    let answer = answer(command, past)?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print(&answer, command);
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(command: &Power, past: Option<Past>) -> anyhow::Result<Answer> {
    if !(command.share > 0.0 && command.share <= 1.0) {
        bail!("--share must be above 0 and at most 1 (1 = the whole list), not {}", command.share);
    }
    let base = match (command.base, past.as_ref().and_then(Past::pooled)) {
        (Some(base), _) => base,
        (None, Some(pooled)) if [0, pooled.trials()].contains(&pooled.successes()) => bail!(
            "in the past campaigns of this list {} of {} recipients {}: that tells no rate to plan with; give one: --base 0.03",
            if pooled.successes() == 0 { "none".to_owned() } else { "all".to_owned() },
            pooled.trials(),
            if command.metric == Metric::Open { "opened" } else { "clicked" }
        ),
        (None, Some(pooled)) => pooled.rate()?,
        (None, None) if past.is_some() => bail!("this list has no past campaigns to take a rate from; give one: --base 0.03"),
        (None, None) => bail!("give the control's rate: --base 0.03, or a list with past campaigns: --list NAME"),
    };
    let weights = if command.weights.is_empty() { vec![1; usize::try_from(command.arms)?] } else { command.weights.clone() };
    if !(2..=8).contains(&weights.len()) {
        bail!("--weights needs 2 to 8 numbers, the control first, for example 2,1,1");
    }
    let question = Question {
        base,
        weights,
        significance: command.level,
        power: command.power,
        method: command.method,
        loss: command.loss.or_else(|| past.as_ref().and_then(|past| past.loss)).unwrap_or(0.0),
        machines: command.machines,
        prefetched: command.prefetched.or_else(|| past.as_ref().and_then(|past| past.prefetched)).unwrap_or(0.0).min(0.99),
    };
    let of_list = past.as_ref().map(|past| (past.mailable as f64 * command.share) as u64);
    let letters = command.n.or(of_list).filter(|letters| *letters > 0);
    if command.lift.is_none() && letters.is_none() {
        bail!("give the difference worth finding: --lift 0.2, or the number of letters: --n 20000, or both");
    }
    let plain = Question { machines: 0.0, prefetched: 0.0, ..question.clone() };
    let diluted = question.machines > 0.0 || question.prefetched > 0.0;
    let needed = command.lift.map(|lift| plan::needed(&question, lift)).transpose()?;
    let list_size = past.as_ref().map(|past| past.mailable).or(command.n);
    let spread = past.as_ref().and_then(Past::spread).unwrap_or(USUAL_SPREAD * base);
    Ok(Answer {
        lift: command.lift,
        letters,
        needed,
        needed_without_machines: command.lift.filter(|_| diluted).map(|lift| plan::needed(&plain, lift)).transpose()?,
        detectable: letters.map(|letters| plan::detectable(&question, letters)).transpose()?,
        power_reached: command.lift.zip(letters).map(|(lift, letters)| plan::power(&question, letters, lift)).transpose()?,
        suggested_test: list_size.filter(|size| *size > 0).map(|size| plan::suggested_test(&question, size, spread)).transpose()?,
        spread: list_size.map(|_| spread),
        question,
        past,
    })
}

fn print(answer: &Answer, command: &Power) {
    let question = &answer.question;
    if let (Some(past), Some(list)) = (&answer.past, &command.list) {
        println!("List {list}: {} may be mailed.", counted(past.mailable, "person", "people"));
        if let Some(pooled) = past.pooled() {
            let range = match rate(&Ok(pooled), Level::USUAL) {
                Estimate::Interval { lower, upper, .. } => format!(" (95 % interval {} – {})", percent(lower), percent(upper)),
                Estimate::NotEstimable { .. } => String::new(),
            };
            println!("  {} past campaigns: {}{range}", past.campaigns.len(), percent(question.base));
        }
    }
    let looks = if question.method == Method::Fixed { "looked at once" } else { "looked at whenever one likes" };
    println!(
        "Rate of the control {}, {} arms ({}), level {}, {looks}.",
        percent(question.base),
        question.weights.len(),
        question.weights.iter().map(ToString::to_string).collect::<Vec<_>>().join(" : "),
        percent(question.significance),
    );
    if question.weights.len() > 2 {
        println!(
            "Each variant is planned at {} so that {} comparisons together keep the level (Holm).",
            percent(question.significance / (question.weights.len() - 1) as f64),
            question.weights.len() - 1
        );
    }
    if question.loss > 0.0 {
        println!("{} of the letters are expected not to arrive.", percent(question.loss));
    }
    if let (Some(needed), Some(lift)) = (&answer.needed, answer.lift) {
        let arms: Vec<String> = needed.arms.iter().map(ToString::to_string).collect();
        println!(
            "\nTo find a lift of {} ({} → {}) with a chance of {}: {} letters ({}).",
            percent(lift),
            percent(question.base),
            percent(question.base * (1.0 + lift)),
            percent(question.power),
            needed.total,
            arms.join(" + ")
        );
    }
    if let (Some(needed), Some(plain)) = (&answer.needed, &answer.needed_without_machines) {
        println!(
            "  Machines make that {:.1} times as many: without them {} letters would do.",
            needed.total as f64 / plain.total as f64,
            plain.total
        );
    }
    if let (Some(letters), Some(found)) = (answer.letters, &answer.detectable) {
        println!(
            "\n{letters} letters find a lift of {} or more ({} → {}, {} points) with a chance of {}.",
            percent(found.relative),
            percent(question.base),
            percent(found.rate),
            points(found.absolute),
            percent(question.power)
        );
    }
    if let (Some(letters), Some(reached), Some(lift)) = (answer.letters, answer.power_reached, answer.lift) {
        let letters = counted(letters, "letter", "letters");
        println!("A lift of {} is found with {letters} with a chance of {}.", percent(lift), percent(reached));
    }
    if let (Some(test), Some(spread)) = (answer.suggested_test, answer.spread) {
        let size = answer.past.as_ref().map(|past| past.mailable).or(command.n).unwrap_or(test).max(1);
        println!(
            "\nIf the rest is to get the better letter, most successes in all come from testing with {test} of {size} ({}), taking letters to differ by {} points\n(test and roll, Feit & Berman 2019). A suggestion: so small a test chooses well on average and proves little.",
            percent(test as f64 / size as f64),
            points(spread).trim_start_matches('+')
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::stats::Count;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        power: Power,
    }

    #[test]
    fn parts_are_numbers_or_percent() {
        for (text, part) in [("0.03", 0.03), ("3%", 0.03), (" 3 % ", 0.03), ("1", 1.0), ("-0.2", -0.2)] {
            assert_eq!(share(text), Ok(part), "{text}");
        }
        for text in ["", "%", "three", "3,5%", "NaN", "inf%"] {
            assert!(share(text).unwrap_err().contains("3%"), "{text}");
        }
    }

    #[test]
    fn a_past_without_successes_tells_no_rate() {
        let line = Line::parse_from(["power", "--list", "customers", "--lift", "20%"]).power;
        let past = |successes| {
            let campaigns = vec![("spring".to_owned(), Count::new(successes, 50).unwrap())];
            Some(Past { mailable: 60, loss: None, prefetched: None, campaigns })
        };
        assert_eq!(answer(&line, past(5)).unwrap().question.base, 0.1);
        for (successes, words) in [(0, "none of 50 recipients clicked"), (50, "all of 50 recipients clicked")] {
            let told = answer(&line, past(successes)).unwrap_err().to_string();
            assert!(told.contains(words) && told.contains("--base 0.03"), "{told}");
        }
    }
}
