//! Fields that no list of people has, and what was probably meant.
//!
//! Cast: [`UnknownField`]; [`suggest`] finds the closest known name. It knows names of fields, never values.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::newsletter::Part;

/// A field no list of people has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnknownField {
    /// As written.
    pub field: String,
    /// Where.
    pub part: Part,
    /// Counted from 1.
    pub line: usize,
    /// The known field that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown merge field `{}` in {}, line {}", self.field, self.part, self.line)?;
        match &self.suggestion {
            Some(suggestion) => write!(formatter, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

/// The known name closest to a misspelt one, if it is close: at most one slip in four letters.
pub fn suggest(written: &str, known: &BTreeSet<String>) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let written = plain(written);
    let most = 1 + written.chars().count() / 4;
    known
        .iter()
        .map(|name| (slips(&written, &plain(name)), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.clone())
}

/// How many letters were missed, added, changed or swapped with their neighbour
/// (optimal string alignment; Damerau 1964, with Levenshtein's recurrence).
fn slips(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let changed = previous[column] + usize::from(letter != other);
            let mut best = changed.min(previous[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other {
                best = best.min(before_previous[column - 1] + 1);
            }
            current.push(best);
        }
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_gets_a_suggestion() {
        let known: BTreeSet<String> = ["first_name", "city", "plan"].map(str::to_owned).into();
        for (written, expected) in
            [("frist_name", Some("first_name")), ("FirstName", Some("first_name")), ("citty", Some("city")), ("zebra", None), ("x", None)]
        {
            assert_eq!(suggest(written, &known).as_deref(), expected, "{written}");
        }
        assert_eq!(slips("abcd", "acbd"), 1);
        assert_eq!(slips("", "abc"), 3);
    }
}
