//! Scores the room against a file of reference cases: an array of {id, method, inputs, expected, source}, optionally with a tolerance.
//!
//! Cast: [`score`], [`MethodScore`], [`ScoreError`]. The methods themselves are called in `score_cases`. Never holds reference values of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::score_cases::{Outcome, run};

/// Default relative tolerance.
const TOLERANCE: f64 = 1e-9;
/// Default relative tolerance of interval end points.
const END_POINT_TOLERANCE: f64 = 1e-6;
/// Below this an f64 has lost digits itself, so only the absolute distance counts.
const DENORMAL: f64 = 1e-307;
/// Figures that are differences and so carry an absolute error of their own, in the reference too, with the size below which they are judged
/// by absolute distance. A ln E of −2e-50 is an exact 0 after 60-digit rounding; losses near 0 are rounding of the reference's f64 sums.
const ABSOLUTE_BELOW: [(&str, f64); 5] =
    [("ln_e", 1e-4), ("log10_p", 1e-4), ("expected_loss", 1e-7), ("expected_loss_choose_a", 1e-7), ("expected_loss_choose_b", 1e-7)];

/// Why a file could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The text is not an array of cases; line and column are in the source.
    #[error("the reference file is not an array of cases with id, method, inputs and expected: correct the file")]
    Format(#[from] serde_json::Error),
}

/// How one method fared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodScore {
    /// Name as in the file.
    pub method: String,
    /// Whether the room has such a method; its cases count as failures if not.
    pub known: bool,
    /// Number of cases.
    pub cases: usize,
    /// Cases with at least one figure outside its tolerance, or without an answer.
    pub failures: usize,
    /// Cases that pass only because a figure near 0 (a logarithm, an expected loss) is judged by its absolute distance.
    pub near_zero: usize,
    /// Worst relative error of any figure (infinite when an answer is missing or of another kind).
    pub worst_error: f64,
    /// Case and figure of the worst error.
    pub worst_case: String,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    method: String,
    inputs: Map<String, Value>,
    expected: Map<String, Value>,
    #[serde(default)]
    tolerance: Option<Value>,
}

/// Runs every case and reports per method, in alphabetical order.
///
/// A figure passes when its relative error is at most 1e-9 (1e-6 for lower and upper ends), or at most the case's own `tolerance` (a number, or
/// an object of numbers by figure).
///
/// # Errors
/// [`ScoreError::Format`] when the text is not such a file.
pub fn score(json_text: &str) -> Result<Vec<MethodScore>, ScoreError> {
    let cases: Vec<Case> = serde_json::from_str(json_text)?;
    let mut methods: BTreeMap<String, MethodScore> = BTreeMap::new();
    for case in &cases {
        let entry = methods.entry(case.method.clone()).or_insert_with(|| MethodScore {
            method: case.method.clone(),
            known: true,
            cases: 0,
            failures: 0,
            near_zero: 0,
            worst_error: 0.0,
            worst_case: String::new(),
        });
        entry.cases += 1;
        let mut failed = false;
        match run(&case.method, &case.inputs) {
            Outcome::Unknown => {
                entry.known = false;
                failed = true;
                note_worst(entry, f64::INFINITY, || "no such method".to_owned());
            }
            Outcome::Failed(reason) => {
                failed = true;
                note_worst(entry, f64::INFINITY, || format!("{}: {reason}", case.id));
            }
            Outcome::Figures(got) => {
                let mut excused = false;
                for (figure, want) in &case.expected {
                    let tolerance = tolerance_of(case, figure);
                    let error = got.get(figure).map_or(f64::INFINITY, |value| worst_error(value, want, smallest_scale(figure)));
                    let strict = got.get(figure).map_or(f64::INFINITY, |value| worst_error(value, want, 0.0));
                    failed |= error.is_nan() || error > tolerance;
                    excused |= error <= tolerance && strict > tolerance;
                    note_worst(entry, error, || format!("{}: {figure}", case.id));
                }
                entry.near_zero += usize::from(excused && !failed);
            }
        }
        entry.failures += usize::from(failed);
    }
    Ok(methods.into_values().collect())
}

fn note_worst(entry: &mut MethodScore, error: f64, place: impl Fn() -> String) {
    if entry.worst_case.is_empty() || error > entry.worst_error {
        entry.worst_error = error;
        entry.worst_case = place();
    }
}

fn tolerance_of(case: &Case, figure: &str) -> f64 {
    let own = match &case.tolerance {
        Some(Value::Object(by_figure)) => by_figure.get(figure).and_then(Value::as_f64),
        Some(value) => value.as_f64(),
        None => None,
    };
    own.unwrap_or(if figure.ends_with("lower") || figure.ends_with("upper") { END_POINT_TOLERANCE } else { TOLERANCE })
}

fn smallest_scale(figure: &str) -> f64 {
    ABSOLUTE_BELOW.iter().find(|(name, _)| *name == figure).map_or(0.0, |(_, scale)| *scale)
}

/// Error relative to the wanted value (or to the smallest scale, if that is larger): lists by their worst element, words ("inf", null) by
/// equality.
fn worst_error(got: &Value, want: &Value, smallest_scale: f64) -> f64 {
    match (got, want) {
        (Value::Array(got), Value::Array(want)) if got.len() == want.len() => {
            got.iter().zip(want).map(|(one, other)| worst_error(one, other, smallest_scale)).fold(0.0, f64::max)
        }
        (Value::Number(got), Value::Number(want)) => match (got.as_f64(), want.as_f64()) {
            (Some(got), Some(want)) => number_error(got, want, smallest_scale),
            _ => f64::INFINITY,
        },
        _ if got == want => 0.0,
        _ => f64::INFINITY,
    }
}

fn number_error(got: f64, want: f64, smallest_scale: f64) -> f64 {
    let distance = (got - want).abs();
    if distance == 0.0 || (got.abs() < DENORMAL && want.abs() < DENORMAL) {
        return 0.0;
    }
    let scale = want.abs().max(smallest_scale);
    if scale == 0.0 { distance } else { distance / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_wrong_and_unknown_cases_are_told_apart() {
        let text = r#"[
            {"id": "1", "method": "norm_sf", "inputs": {"x": 0}, "expected": {"value": 0.5}},
            {"id": "2", "method": "norm_sf", "inputs": {"x": 0}, "expected": {"value": 0.6}},
            {"id": "3", "method": "norm_sf", "inputs": {"x": 0}, "expected": {"value": 0.6}, "tolerance": 0.5},
            {"id": "4", "method": "astrology", "inputs": {}, "expected": {"value": 1}},
            {"id": "5", "method": "wilson", "inputs": {"x": 9, "n": 2, "conf": 0.95}, "expected": {"lower": 0.0}}
        ]"#;
        let scores = score(text).unwrap();
        let brief: Vec<_> = scores.iter().map(|score| (score.method.as_str(), score.known, score.cases, score.failures)).collect();
        assert_eq!(brief, [("astrology", false, 1, 1), ("norm_sf", true, 3, 1), ("wilson", true, 1, 1)]);
        assert!(score("{}").is_err());
    }
}
