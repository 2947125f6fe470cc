//! The draw repeated: from seed, plan and pseudonyms, is everybody where the draw put them?
//!
//! Cast: [`Drawn`] (a recipient as recorded), [`Place`], [`Redraw`] (what repeating it found), [`redraw`].
//!
//! It changes nothing and knows pseudonyms only. Somebody who is no longer recorded moves everybody after them in the stratum: how many are
//! missing is said, so that differences are read with that.

use std::collections::{BTreeMap, BTreeSet};

use crate::experiment::assign::{Candidate, Seed, assign};
use crate::experiment::design::Design;
use crate::ids::{Pseudonym, VariantNumber};

/// Where a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In an arm of the test.
    Test(VariantNumber),
    /// Gets what the test chose.
    Rest,
    /// Gets nothing.
    HeldOut,
}

impl Place {
    /// The word used in lists: the arm's letter, `rest` or `held out`.
    pub fn word(self) -> String {
        match self {
            Self::Test(variant) => variant.to_string(),
            Self::Rest => "rest".to_owned(),
            Self::HeldOut => "held out".to_owned(),
        }
    }
}

/// A recipient as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Who.
    pub pseudonym: Pseudonym,
    /// What the draw was balanced within.
    pub stratum: String,
    /// Place in the sending order; none where only the events' side still knows the recipient.
    pub position: Option<u64>,
    /// As recorded.
    pub place: Place,
}

/// A stratum's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Stratum {
    /// Recipients recorded.
    pub recipients: u64,
    /// Recipients in each arm, the control first.
    pub arms: Vec<u64>,
    /// Recipients who get what the test chose.
    pub rest: u64,
    /// Recipients held out.
    pub held_out: u64,
    /// Recipients who are not where the draw puts them.
    pub different: u64,
}

/// What repeating the draw found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redraw {
    /// By name.
    pub strata: BTreeMap<String, Stratum>,
    /// Where the draw puts each recipient, in the order given.
    pub places: Vec<Place>,
    /// Places of the sending order nobody is recorded for any more, as after an erasure.
    pub missing: u64,
    /// Recipients who are not where the draw puts them.
    pub different: u64,
}

impl Redraw {
    /// Everybody is recorded and where the draw puts them.
    pub fn holds(&self) -> bool {
        self.missing == 0 && self.different == 0
    }
}

/// Repeats the draw of a sealed plan.
pub fn redraw(seed: &Seed, design: &Design, drawn: &[Drawn]) -> Redraw {
    let candidates: Vec<Candidate<'_>> =
        drawn.iter().map(|drawn| Candidate { pseudonym: drawn.pseudonym, stratum: &drawn.stratum }).collect();
    let assigned = assign(seed, &design.weights, design.share, design.holdout, &candidates);
    let mut strata: BTreeMap<String, Stratum> = BTreeMap::new();
    let mut places = Vec::with_capacity(drawn.len());
    for (drawn, assignment) in drawn.iter().zip(&assigned) {
        let place = match assignment.variant {
            Some(variant) => Place::Test(variant),
            None if assignment.held_out => Place::HeldOut,
            None => Place::Rest,
        };
        let stratum = strata.entry(drawn.stratum.clone()).or_default();
        stratum.arms.resize(design.weights.len(), 0);
        stratum.recipients += 1;
        match drawn.place {
            Place::Test(variant) => {
                if let Some(arm) = stratum.arms.get_mut(usize::from(variant.0)) {
                    *arm += 1;
                }
            }
            Place::Rest => stratum.rest += 1,
            Place::HeldOut => stratum.held_out += 1,
        }
        stratum.different += u64::from(place != drawn.place);
        places.push(place);
    }
    let known: BTreeSet<u64> = drawn.iter().filter_map(|drawn| drawn.position).collect();
    let without_position = drawn.iter().filter(|drawn| drawn.position.is_none()).count() as u64;
    let gaps = known.last().map_or(0, |last| last + 1 - known.len() as u64);
    let different = strata.values().map(|stratum| stratum.different).sum();
    Redraw { strata, places, missing: gaps.saturating_sub(without_position), different }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(design: &Design, count: u32) -> Vec<Drawn> {
        let people: Vec<Pseudonym> = (0..count)
            .map(|number| {
                let mut bytes = [7; 16];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                Pseudonym::from_bytes(bytes)
            })
            .collect();
        let stratum = |index: usize| if index.is_multiple_of(3) { "other/off" } else { "google/pseudonymous" };
        let candidates: Vec<Candidate<'_>> =
            people.iter().enumerate().map(|(index, pseudonym)| Candidate { pseudonym: *pseudonym, stratum: stratum(index) }).collect();
        let assigned = assign(&[4; 32], &design.weights, design.share, design.holdout, &candidates);
        candidates
            .iter()
            .zip(assigned)
            .map(|(candidate, assignment)| Drawn {
                pseudonym: candidate.pseudonym,
                stratum: candidate.stratum.to_owned(),
                position: Some(assignment.position),
                place: match assignment.variant {
                    Some(variant) => Place::Test(variant),
                    None if assignment.held_out => Place::HeldOut,
                    None => Place::Rest,
                },
            })
            .collect()
    }

    fn design() -> Design {
        Design { weights: vec![2, 1], share: 0.5, holdout: 0.1, ..Design::default() }
    }

    #[test]
    fn a_draw_repeats_in_any_order() {
        let mut all = drawn(&design(), 300);
        all.reverse();
        let found = redraw(&[4; 32], &design(), &all);
        assert!(found.holds(), "{found:?}");
        let other = &found.strata["other/off"];
        assert_eq!((other.recipients, other.arms.iter().sum::<u64>(), other.held_out), (100, 50, 10));
    }

    #[test]
    fn another_seed_a_moved_recipient_and_a_missing_one_are_seen() {
        let all = drawn(&design(), 300);
        assert!(redraw(&[5; 32], &design(), &all).different > 50);
        let mut moved = all.clone();
        let someone = moved.iter().position(|drawn| drawn.place == Place::Test(VariantNumber(0))).unwrap();
        moved[someone].place = Place::Test(VariantNumber(1));
        let found = redraw(&[4; 32], &design(), &moved);
        assert_eq!((found.different, found.missing, found.holds()), (1, 0, false));
        let mut fewer = all.clone();
        fewer.remove(someone);
        assert_eq!(redraw(&[4; 32], &design(), &fewer).missing, 1);
        // Known to the events' side only: nobody is missing, and the draw repeats.
        let mut half_known = all;
        half_known[someone].position = None;
        assert!(redraw(&[4; 32], &design(), &half_known).holds());
    }
}
