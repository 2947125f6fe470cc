//! What must hold for every letter, whatever happens to it: machines more, times shifted, names changed, arrival in any order.
//!
//! Cast: [`a_letter`] and its parts (letters made by chance), and the properties. Tests only.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::super::class::{Class, Confidence, Reasons};
use super::super::client::{ClientFamily, DeviceClass};
use super::super::verdict::{HitKind, RULESET, Verdict, counts_standard};
use super::{Judged, Letter, LetterHit, judge, to_the_hour};

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![
        (Class::Human, Confidence::Weak, Reasons::BROWSER),
        (Class::Human, Confidence::Weak, Reasons::MAIL_CLIENT),
        (Class::Unknown, Confidence::Weak, Reasons::INSTANT),
        (Class::Unknown, Confidence::Weak, Reasons::NO_AGENT),
        (Class::Scanner, Confidence::Certain, Reasons::METHOD),
        (Class::Scanner, Confidence::Certain, Reasons::TRAP),
        (Class::Scanner, Confidence::Strong, Reasons::ROBOT_AGENT),
        (Class::Prefetch, Confidence::Certain, Reasons::PURPOSE),
    ])
    .prop_map(|(class, confidence, reasons)| Verdict { class, confidence, reasons, ruleset: RULESET })
}

fn click() -> impl Strategy<Value = LetterHit> {
    let family = prop::sample::select(vec![ClientFamily::Chrome, ClientFamily::Safari]);
    // Near each other, so that every window is met.
    let at = prop_oneof![0_i64..3_000, 0_i64..120_000, 0_i64..4_000_000];
    (at, 1_u16..6, verdict(), family).prop_map(|(at, link, first, family)| LetterHit {
        at,
        kind: HitKind::Click,
        link,
        first,
        family,
        device: DeviceClass::Desktop,
        settled: None,
    })
}

fn any_hit() -> impl Strategy<Value = LetterHit> {
    let first = prop::sample::select(vec![
        (Class::Human, Confidence::Weak, Reasons::BROWSER),
        (Class::Proxied, Confidence::Certain, Reasons::MAIL_PROXY),
        (Class::Prefetch, Confidence::Certain, Reasons::BARE_AGENT.with(Reasons::NETWORK)),
    ]);
    let open = (click(), first).prop_map(|(hit, (class, confidence, reasons))| LetterHit {
        kind: HitKind::Open,
        link: 0,
        first: Verdict { class, confidence, reasons, ruleset: RULESET },
        ..hit
    });
    prop_oneof![3 => click(), 1 => open]
}

fn a_letter() -> impl Strategy<Value = Letter> {
    let confirmed = prop::collection::vec(0_i64..700_000, 0..2);
    (prop::collection::vec(any_hit(), 0..14), 0_usize..8, confirmed, prop::option::of(-4_000_000_i64..1_000))
        .prop_map(|(hits, links, confirmed, accepted)| Letter { hits, links, confirmed, accepted })
}

fn opened(first: Verdict) -> LetterHit {
    LetterHit { at: 0, kind: HitKind::Open, link: 0, first, family: ClientFamily::Unknown, device: DeviceClass::Unknown, settled: None }
}

/// The links that people followed.
fn followed(letter: &Letter, judged: &[Judged]) -> BTreeSet<u16> {
    let people = letter.hits.iter().zip(judged).filter(|(hit, one)| hit.kind == HitKind::Click && one.verdict.class == Class::Human);
    people.map(|(hit, _)| hit.link).collect()
}

fn is_clicker(letter: &Letter) -> bool {
    letter.hits.iter().zip(judge(letter)).any(|(hit, judged)| hit.kind == HitKind::Click && judged.verdict.class == Class::Human)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_machine_more_never_makes_a_clicker(letter in a_letter(), mut machine in click()) {
        machine.first = Verdict { class: Class::Scanner, confidence: Confidence::Strong, reasons: Reasons::ROBOT_AGENT, ruleset: RULESET };
        let mut more = letter.clone();
        more.hits.push(machine);
        prop_assert!(is_clicker(&letter) || !is_clicker(&more));
    }

    #[test]
    fn a_burst_more_never_makes_a_clicker_where_no_form_was_sent(letter in a_letter(), start in 0_i64..200_000, gap in 0_i64..999) {
        let letter = Letter { confirmed: Vec::new(), ..letter };
        let person = Verdict { class: Class::Human, confidence: Confidence::Weak, reasons: Reasons::BROWSER, ruleset: RULESET };
        let mut more = letter.clone();
        more.hits.extend((0..4_u16).map(|step| LetterHit {
            at: start + i64::from(step) * gap,
            kind: HitKind::Click,
            link: 10 + step,
            first: person,
            family: ClientFamily::Chrome,
            device: DeviceClass::Desktop,
            settled: None,
        }));
        prop_assert!(is_clicker(&letter) || !is_clicker(&more));
    }

    #[test]
    fn a_person_five_minutes_after_every_machine_always_counts(letter in a_letter(), wait in 300_000_i64..90_000_000, link in 1_u16..6) {
        let last = letter.hits.iter().map(|hit| hit.at).max().unwrap_or_default();
        let person = Verdict { class: Class::Human, confidence: Confidence::Weak, reasons: Reasons::BROWSER, ruleset: RULESET };
        let mut more = letter;
        more.hits.push(LetterHit {
            at: last + wait,
            kind: HitKind::Click,
            link,
            first: person,
            family: ClientFamily::Firefox,
            device: DeviceClass::Desktop,
            settled: None,
        });
        prop_assert!(judge(&more).last().is_some_and(|judged| judged.verdict.class == Class::Human));
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(letter in a_letter(), seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..letter.hits.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let shuffled = Letter { hits: order.iter().map(|index| letter.hits[*index]).collect(), ..letter.clone() };
        let (one, other) = (judge(&letter), judge(&shuffled));
        for (place, index) in order.iter().enumerate() {
            prop_assert_eq!(one[*index].verdict, other[place].verdict);
        }
    }

    #[test]
    fn every_hit_is_in_one_class_and_in_one_count(letter in a_letter()) {
        let judged = judge(&letter);
        prop_assert_eq!(judged.len(), letter.hits.len());
        // Retries are counted with the hit that stands for them: nothing is lost and nothing twice.
        let requests: u64 = judged.iter().map(|judged| u64::from(judged.multiplicity)).sum();
        prop_assert_eq!(requests, letter.hits.len() as u64);
        let of = |class: Class| judged.iter().filter(|judged| judged.verdict.class == class).map(|one| u64::from(one.multiplicity)).sum::<u64>();
        prop_assert_eq!(Class::ALL.into_iter().map(of).sum::<u64>(), letter.hits.len() as u64);
        let seen: BTreeSet<u16> = judged.iter().map(|judged| judged.verdict.ruleset).collect();
        prop_assert!(seen.into_iter().all(|ruleset| ruleset == RULESET));
    }

    #[test]
    fn a_machine_more_never_adds_a_link_that_people_followed(letter in a_letter(), mut machine in click(), what in 0_usize..4) {
        let kinds = [Reasons::ROBOT_AGENT, Reasons::NAMED_SCANNER, Reasons::METHOD, Reasons::TRAP];
        machine.first = Verdict { class: Class::Scanner, confidence: Confidence::Certain, reasons: kinds[what], ruleset: RULESET };
        let mut more = letter.clone();
        more.hits.push(machine);
        let (before, after) = (judge(&letter), judge(&more));
        prop_assert!(followed(&more, &after).is_subset(&followed(&letter, &before)));
        let opens = |letter: &Letter, judged: &[Judged]| {
            letter.hits.iter().zip(judged).filter(|(hit, one)| hit.kind == HitKind::Open && counts_standard(one.verdict.class)).count()
        };
        prop_assert!(opens(&more, &after) <= opens(&letter, &before));
    }

    #[test]
    fn a_prefetch_more_changes_nothing(letter in a_letter(), at in 0_i64..4_000_000) {
        let prefetch = Verdict { class: Class::Prefetch, confidence: Confidence::Certain, reasons: Reasons::BARE_AGENT, ruleset: RULESET };
        let mut more = letter.clone();
        more.hits.push(LetterHit { at, ..opened(prefetch) });
        let before: Vec<Verdict> = judge(&letter).iter().map(|one| one.verdict).collect();
        let after: Vec<Verdict> = judge(&more).iter().map(|one| one.verdict).collect();
        prop_assert_eq!(&before[..], &after[..before.len()]);
    }

    #[test]
    fn the_time_of_day_changes_nothing(letter in a_letter(), later in -2_000_000_000_000_i64..2_000_000_000_000) {
        let shifted = Letter {
            hits: letter.hits.iter().map(|hit| LetterHit { at: hit.at + later, ..*hit }).collect(),
            links: letter.links,
            confirmed: letter.confirmed.iter().map(|at| at + later).collect(),
            accepted: letter.accepted.map(|at| at + later),
        };
        prop_assert_eq!(judge(&shifted), judge(&letter));
    }

    #[test]
    fn the_numbers_of_links_are_names_only(letter in a_letter(), by in 1_u16..50) {
        // Of hits in the same millisecond, the link's number says which is called the later one.
        let moments: BTreeSet<i64> = letter.hits.iter().map(|hit| hit.at).collect();
        prop_assume!(moments.len() == letter.hits.len());
        let renamed = |hit: &LetterHit| if hit.kind == HitKind::Click { LetterHit { link: 60 - hit.link + by, ..*hit } } else { *hit };
        let other = Letter { hits: letter.hits.iter().map(renamed).collect(), ..letter.clone() };
        prop_assert_eq!(judge(&other), judge(&letter));
    }

    #[test]
    fn the_same_hit_twice_is_the_same_hit(letter in a_letter(), which in any::<prop::sample::Index>()) {
        // A form rescues one hit, not two.
        let letter = Letter { confirmed: Vec::new(), ..letter };
        let Some(index) = (!letter.hits.is_empty()).then(|| which.index(letter.hits.len())) else { return Ok(()) };
        let mut more = letter.clone();
        more.hits.push(letter.hits[index]);
        let (before, after) = (judge(&letter), judge(&more));
        for (one, again) in before.iter().zip(&after) {
            prop_assert_eq!(one.verdict, again.verdict);
        }
        prop_assert_eq!(after[before.len()].verdict, before[index].verdict);
        prop_assert_eq!(followed(&more, &after), followed(&letter, &before));
        // Both are one hit that stands for one request more.
        let leaders = |judged: &[Judged]| judged.iter().filter(|one| one.multiplicity > 0).count();
        prop_assert_eq!(leaders(&after), leaders(&before));
    }

    #[test]
    fn judging_what_was_judged_changes_nothing(letter in a_letter()) {
        let once = judge(&letter);
        let settled = |(hit, judged): (&LetterHit, &Judged)| LetterHit { settled: Some(judged.verdict), at: to_the_hour(hit.at), ..*hit };
        let again = judge(&Letter { hits: letter.hits.iter().zip(&once).map(settled).collect(), ..letter.clone() });
        prop_assert!(again.iter().zip(&once).all(|(again, once)| again.verdict == once.verdict));
    }
}
