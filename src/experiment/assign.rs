//! Who gets which arm: seeded, balanced within strata, and recomputable by anyone from the seed and the pseudonyms.
//!
//! Cast: [`Seed`], [`Candidate`] (a pseudonym and its stratum), [`draw`] (everybody in the sending order), [`assign`] (the same in the order given).
//!
//! The algorithm, so that a reviewer can repeat it in any language:
#![doc = include_str!("assign.md")]
//!
//! Within a stratum the arms differ by at most one recipient per unit of weight. It knows no clock, and no chance but the seed.

use sha2::{Digest, Sha256};

use crate::ids::{Pseudonym, VariantNumber};

/// The algorithm in words, for reviewers.
pub const ALGORITHM: &str = include_str!("assign.md");

/// 32 bytes drawn once when the campaign is sealed, and published with the plan.
pub type Seed = [u8; 32];

/// A recipient to be assigned.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Who.
    pub pseudonym: Pseudonym,
    /// Mailbox provider class and recording mode.
    pub stratum: &'a str,
}

/// What a recipient gets, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The arm; none for the rest and the held out.
    pub variant: Option<VariantNumber>,
    /// Gets nothing.
    pub held_out: bool,
    /// Place in the sending order, from 0.
    pub position: u64,
}

/// A recipient's turn, as [`draw`] answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Which of the candidates, counted from 0.
    pub index: u32,
    /// The arm; none for the rest and the held out.
    pub variant: Option<VariantNumber>,
    /// Gets nothing.
    pub held_out: bool,
}

/// The first half of a hash: enough to tell recipients apart (two of a million share it once in 10^26 draws), and half as much to keep.
type Order = [u8; 16];

struct Ranked {
    order: Order,
    index: u32,
}

/// Assigns everybody, answering in the order given.
///
/// `weights` are at least 1 each and at most 26 of them; `share` is above 0, `holdout` at least 0, and both together are at most 1 (checked by
/// the design).
pub fn assign(seed: &Seed, weights: &[u32], share: f64, holdout: f64, candidates: &[Candidate<'_>]) -> Vec<Assignment> {
    let mut assignments = vec![Assignment { variant: None, held_out: false, position: 0 }; candidates.len()];
    let drawn = draw(seed, weights, share, holdout, candidates.iter().cloned());
    for (position, Drawn { index, variant, held_out }) in (0..).zip(drawn) {
        if let Some(assignment) = usize::try_from(index).ok().and_then(|index| assignments.get_mut(index)) {
            *assignment = Assignment { variant, held_out, position };
        }
    }
    assignments
}

/// The same, answering in the sending order. Of up to four thousand million candidates it holds about 60 bytes each.
pub fn draw<'a>(seed: &Seed, weights: &[u32], share: f64, holdout: f64, candidates: impl IntoIterator<Item = Candidate<'a>>) -> Vec<Drawn> {
    let slots = slots(weights);
    let mut strata: std::collections::BTreeMap<&str, Vec<Ranked>> = std::collections::BTreeMap::new();
    let mut count = 0;
    for (index, candidate) in (0..).zip(candidates) {
        let hash = digest(&[seed, b"order", candidate.pseudonym.as_bytes()]);
        let order: Order = hash.first_chunk().copied().unwrap_or_default();
        strata.entry(candidate.stratum).or_default().push(Ranked { order, index });
        count += 1;
    }
    let mut placed: Vec<Placed> = Vec::with_capacity(count);
    for (stratum, mut members) in strata {
        members.sort_unstable_by_key(|member| member.order);
        let size = members.len() as f64;
        let taking_part = (size * share + 0.5).floor() as usize;
        let held_out = ((size * holdout + 0.5).floor() as usize).min(members.len().saturating_sub(taking_part));
        let mut block = Vec::new();
        for (rank, member) in members.iter().enumerate() {
            let turn = if rank < taking_part {
                Turn::Test
            } else if rank < members.len() - held_out {
                Turn::Rest
            } else {
                Turn::HeldOut
            };
            let variant = if turn != Turn::Test {
                None
            } else {
                if rank % slots.len() == 0 {
                    block = shuffled_block(seed, stratum, (rank / slots.len()) as u64, &slots);
                }
                block.get(rank % slots.len()).copied()
            };
            let place = (rank as f64 + 0.5) / size;
            placed.push(Placed { turn, place, order: member.order, index: member.index, variant });
        }
    }
    placed.sort_unstable_by(|one, other| {
        one.turn.cmp(&other.turn).then(one.place.total_cmp(&other.place)).then_with(|| one.order.cmp(&other.order))
    });
    placed
        .into_iter()
        .map(|placed| Drawn { index: placed.index, variant: placed.variant, held_out: placed.turn == Turn::HeldOut })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Test,
    Rest,
    HeldOut,
}

/// A recipient's place in the sending order.
struct Placed {
    turn: Turn,
    place: f64,
    order: Order,
    index: u32,
    variant: Option<VariantNumber>,
}

fn slots(weights: &[u32]) -> Vec<VariantNumber> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    (0u8..)
        .zip(weights)
        .flat_map(|(arm, weight)| std::iter::repeat_n(VariantNumber(arm), usize::try_from(weight / divisor).unwrap_or(1)))
        .collect()
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

fn shuffled_block(seed: &Seed, stratum: &str, block: u64, slots: &[VariantNumber]) -> Vec<VariantNumber> {
    let mut keyed: Vec<([u8; 32], VariantNumber)> = (0u64..)
        .zip(slots)
        .map(|(slot, arm)| (digest(&[seed, b"block", stratum.as_bytes(), &[0], &block.to_be_bytes(), &slot.to_be_bytes()]), *arm))
        .collect();
    keyed.sort_unstable_by_key(|(hash, _)| *hash);
    keyed.into_iter().map(|(_, arm)| arm).collect()
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn people(count: u32) -> Vec<Pseudonym> {
        (0..count)
            .map(|number| {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                bytes[15] = 1;
                Pseudonym::from_bytes(bytes)
            })
            .collect()
    }

    fn candidates<'a>(people: &[Pseudonym], stratum: impl Fn(usize) -> &'a str) -> Vec<Candidate<'a>> {
        people.iter().enumerate().map(|(index, pseudonym)| Candidate { pseudonym: *pseudonym, stratum: stratum(index) }).collect()
    }

    #[test]
    fn arms_differ_by_at_most_one_within_each_stratum() {
        let people = people(1003);
        let of = |index: usize| if index.is_multiple_of(7) { "google" } else { "other" };
        let given = candidates(&people, of);
        let assigned = assign(&[5; 32], &[1, 1, 1], 0.37, 0.0, &given);
        let mut counts: BTreeMap<(&str, Option<VariantNumber>), i64> = BTreeMap::new();
        for (candidate, assignment) in given.iter().zip(&assigned) {
            *counts.entry((candidate.stratum, assignment.variant)).or_default() += 1;
        }
        for stratum in ["google", "other"] {
            let arms: Vec<i64> = (0..3).map(|arm| counts[&(stratum, Some(VariantNumber(arm)))]).collect();
            assert!(arms.iter().max().unwrap() - arms.iter().min().unwrap() <= 1, "{arms:?}");
            let tested: i64 = arms.iter().sum();
            let all = tested + counts[&(stratum, None)];
            assert!((tested as f64 - all as f64 * 0.37).abs() <= 0.5);
        }
    }

    #[test]
    fn a_hold_out_is_taken_from_the_rest_and_leaves_the_test_as_it_was() {
        let people = people(1000);
        let given = candidates(&people, |index| if index % 3 == 0 { "a" } else { "b" });
        let (without, with) = (assign(&[9; 32], &[1, 1], 0.4, 0.0, &given), assign(&[9; 32], &[1, 1], 0.4, 0.25, &given));
        let variants = |assigned: &[Assignment]| assigned.iter().map(|assignment| assignment.variant).collect::<Vec<_>>();
        assert_eq!(variants(&without), variants(&with));
        let held_out = with.iter().filter(|assignment| assignment.held_out).count();
        assert!((249..=251).contains(&held_out), "{held_out}");
        assert!(with.iter().all(|assignment| !(assignment.held_out && assignment.variant.is_some())));
        let everybody = assign(&[9; 32], &[1, 1], 0.5, 0.5, &given);
        assert!(everybody.iter().all(|assignment| assignment.held_out != assignment.variant.is_some()));
    }

    #[test]
    fn weights_are_kept() {
        let people = people(1000);
        let assigned = assign(&[1; 32], &[90, 10], 1.0, 0.0, &candidates(&people, |_| "all"));
        let control = assigned.iter().filter(|assignment| assignment.variant == Some(VariantNumber::CONTROL)).count();
        assert_eq!(control, 900);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter_and_the_seed_does() {
        let people = people(200);
        let forward = candidates(&people, |_| "all");
        let mut backward = forward.clone();
        backward.reverse();
        let mut reversed = assign(&[2; 32], &[1, 1], 0.5, 0.0, &backward);
        reversed.reverse();
        let once = assign(&[2; 32], &[1, 1], 0.5, 0.0, &forward);
        assert_eq!(once, reversed);
        assert_ne!(once, assign(&[3; 32], &[1, 1], 0.5, 0.0, &forward));
    }

    #[test]
    fn sending_alternates_between_the_arms() {
        let people = people(400);
        let assigned = assign(&[4; 32], &[1, 1], 1.0, 0.0, &candidates(&people, |_| "all"));
        let mut by_position: Vec<_> = assigned.iter().collect();
        by_position.sort_by_key(|assignment| assignment.position);
        for pair in by_position.chunks(2) {
            assert_ne!(pair[0].variant, pair[1].variant);
        }
        assert_eq!(by_position.last().unwrap().position, 399);
    }

    // Computed once with Python's hashlib from the description above, so that a change of the algorithm is noticed.
    #[test]
    fn the_published_vector_holds() {
        let people = people(6);
        let assigned = assign(&[0; 32], &[1, 1], 1.0, 0.0, &candidates(&people, |index| if index < 4 { "a" } else { "b" }));
        let letters: String = assigned.iter().map(|assignment| assignment.variant.map_or('-', VariantNumber::letter)).collect();
        let positions: Vec<u64> = assigned.iter().map(|assignment| assignment.position).collect();
        assert_eq!((letters.as_str(), positions), ("AABBBA", vec![2, 5, 0, 3, 4, 1]));
    }

    // Computed in the same way: '-' is the rest, 'x' held out.
    #[test]
    fn the_published_vector_with_weights_strata_rest_and_hold_out_holds() {
        let seed: Seed = std::array::from_fn(|index| index as u8);
        let people = people(24);
        let of = |index: usize| if index.is_multiple_of(3) { "other/off" } else { "google/pseudonymous" };
        let assigned = assign(&seed, &[4, 2], 0.5, 0.2, &candidates(&people, of));
        let word = |assignment: &Assignment| match assignment.variant {
            Some(variant) => variant.letter(),
            None if assignment.held_out => 'x',
            None => '-',
        };
        assert_eq!(assigned.iter().map(word).collect::<String>(), "AA--Axxx-BABA-x-AAxABA--");
        let positions: Vec<u64> = assigned.iter().map(|assignment| assignment.position).collect();
        assert_eq!(positions, [4, 8, 14, 13, 0, 21, 22, 20, 15, 1, 9, 6, 7, 12, 23, 16, 5, 3, 19, 11, 2, 10, 17, 18]);
    }
}
