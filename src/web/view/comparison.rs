//! Whole letters beside each other: what they differ in, each side with its differing words marked.
//!
//! Cast: [`ComparisonView`], [`ComparisonRow`]. What differs was found before; letters are text here and never markup.

use crate::app::letters::{Compared, letter_name};
use crate::content::difference::Stretch;

/// What a comparison found.
#[derive(Debug, Clone)]
pub struct ComparisonView {
    /// `ok` or `stop`: the icon.
    pub icon: &'static str,
    /// What was found.
    pub sentence: String,
    /// Letters that are the same.
    pub twins: Vec<String>,
    /// What follows from it.
    pub advice: &'static str,
    /// Differences, in reading order.
    pub rows: Vec<ComparisonRow>,
}

/// One difference between the control and another letter.
#[derive(Debug, Clone)]
pub struct ComparisonRow {
    /// The other letter, B to H.
    pub letter: char,
    /// Number of its colour.
    pub colour: usize,
    /// Where and in what.
    pub place: String,
    /// The control's value.
    pub control: Vec<Stretch>,
    /// The other's.
    pub variant: Vec<Stretch>,
}

impl ComparisonView {
    /// In words; `names` are what the form calls its letters, in order.
    pub fn new(compared: &Compared, names: &[char]) -> Self {
        let rows = compared.differences.iter().map(|one| {
            let letter = names.get(one.letter).copied().unwrap_or_else(|| letter_name(one.letter));
            let colour = usize::from(u8::try_from(letter).unwrap_or(b'A').saturating_sub(b'A'));
            ComparisonRow { letter, colour, place: one.place.clone(), control: one.control.clone(), variant: one.variant.clone() }
        });
        Self {
            icon: if compared.is_test { "ok" } else { "stop" },
            sentence: compared.sentence.clone(),
            twins: compared.same_letters.clone(),
            advice: if compared.is_test {
                "A result can only come from this. White space, the order of attributes, comments and other spellings of the same thing do not count."
            } else {
                "Make the letters equal but for one element: copy what belongs to none of the test from A into the others. Nothing is stored yet."
            },
            rows: rows.collect(),
        }
    }
}
