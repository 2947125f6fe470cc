//! The same question asked of finished letters: outside the one element, are they the same, byte for byte?
//!
//! Cast: [`compare_finished`], [`FinishedDifference`]; [`differing_words`] for text parts.
//!
//! Every renderer between source and mail is under test here: what it makes of one element must not spill over. Differences are found on
//! the trees, cut out of both texts, and what is left is compared as bytes.

use std::ops::Range;

use super::document::Document;
use super::group::{Found, group};
use super::walk::changes;
use super::{Difference, DifferenceFacet, Outcome, Place, located_in_body};
use crate::content::error::ContentError;

/// What stands for the element in headers.
pub const MASK: &str = "\u{2039}element\u{203A}";

/// Two finished HTML parts beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedDifference {
    /// In what they differ, as a reader or a mail program sees it.
    pub differences: Vec<Difference>,
    /// Which of them stand in comments only Outlook reads.
    pub outlook_only: Vec<bool>,
    /// Both with every difference cut out; equal when nothing else differs, not even spelling.
    pub masked: (String, String),
    /// What differs, in full: of both sides.
    pub values: (String, String),
}

/// Compares two finished HTML parts.
///
/// # Errors
/// Markup beyond any letter.
pub fn compare_finished(control: &str, variant: &str) -> Result<FinishedDifference, ContentError> {
    if control == variant {
        return Ok(FinishedDifference {
            differences: Vec::new(),
            outlook_only: Vec::new(),
            masked: (control.to_owned(), variant.to_owned()),
            values: Default::default(),
        });
    }
    let (a, b) = (Document::read(control, None, false)?, Document::read(variant, None, false)?);
    let found = group(&a, &b, changes(&a, &b));
    let spans = |pick: fn(&Found) -> &Vec<Range<usize>>| found.iter().flat_map(pick).cloned().collect();
    let masked = (cut(control, spans(|one| &one.spans.0)), cut(variant, spans(|one| &one.spans.1)));
    let values = |pick: fn(&Found) -> &String| found.iter().map(pick).cloned().collect::<Vec<_>>().join("\n");
    let values = (values(|one| &one.from), values(|one| &one.to));
    let outlook_only = found.iter().map(Found::is_for_outlook).collect();
    Ok(FinishedDifference {
        values,
        masked,
        outlook_only,
        differences: found.iter().map(|one| located_in_body(1, one).difference).collect(),
    })
}

/// The text without these stretches.
fn cut(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut masked = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.end <= done {
            continue;
        }
        masked.push_str(text.get(done..span.start).unwrap_or_default());
        done = span.end;
    }
    masked.push_str(text.get(done..).unwrap_or_default());
    masked
}

impl Outcome {
    /// Whether the differences of two finished letters follow from this one of their sources: nothing of another kind, and where an
    /// element's own words, link or picture differ, the same change wherever it shows.
    pub fn explains(&self, finished: &FinishedDifference) -> bool {
        let found = &finished.differences;
        let element = match self {
            Self::Same => return found.is_empty(),
            Self::Several(_) => return false,
            Self::One(element) => element,
        };
        let one_change = found.windows(2).all(|pair| {
            let side = |one: &Difference| (one.facet, one.control.clone(), one.variant.clone());
            side(&pair[0]) == side(&pair[1])
        });
        // Tables for Outlook follow from sizes; their markup changes with them.
        let only = |allowed: &[DifferenceFacet], outlook: bool| {
            let outlooks = finished.outlook_only.iter().chain(std::iter::repeat(&false));
            found.iter().zip(outlooks).all(|(one, for_outlook)| allowed.contains(&one.facet) || (outlook && *for_outlook))
        };
        match (&element.place, element.facet) {
            // It stands in the HTML part, hidden: other words there, or no such part where one letter has none.
            (Place::Preheader, _) => found.len() <= 1 && only(&[DifferenceFacet::Text, DifferenceFacet::Presence], false),
            (Place::Subject | Place::SenderName | Place::ReplyTo | Place::Format, _) => found.is_empty(),
            (Place::Body(_), DifferenceFacet::Formatting) => only(&[DifferenceFacet::Formatting, DifferenceFacet::Image], true),
            // What comes or goes makes room: sizes beside it change.
            (Place::Body(_), DifferenceFacet::Presence) => {
                only(&[DifferenceFacet::Presence, DifferenceFacet::Formatting, DifferenceFacet::Text], true)
            }
            (Place::Body(_), facet) => one_change && only(&[facet], false),
        }
    }
}

/// Words of the first text that the second has not, and the other way round, where they stand between a common beginning and end.
pub fn differing_words<'t>(one: &'t str, other: &'t str) -> (Vec<&'t str>, Vec<&'t str>) {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split_whitespace().collect(), other.split_whitespace().collect());
    let start = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let end = one[start..].iter().rev().zip(other[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    (one[start..one.len() - end].to_vec(), other[start..other.len() - end].to_vec())
}
