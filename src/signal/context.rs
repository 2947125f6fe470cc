//! The second pass: the hits of one letter seen together, by rules S1 to S10 as ordered data.
//!
//! Cast: [`LetterHit`] (what is stored of a hit), [`Letter`] (all of one letter's), [`judge`], its answer [`Judged`], and [`settle`]
//! (when a judgement becomes final and times are cut to the hour).
//!
//! Every hit is judged from its first verdict, so judging twice, or in any order of arrival, gives the same. A network, an address or a
//! user agent is not known here. It never looks at another letter, and never at what a person did before or after.

#[cfg(test)]
mod properties;
mod rules;
mod settling;
mod view;

use std::collections::BTreeMap;

use super::class::{Class, Confidence, Reasons};
use super::client::{ClientFamily, DeviceClass};
use super::verdict::{HitKind, RULESET, Verdict, revise};
use rules::RULES;
use view::View;

pub use settling::{FINAL, HOUR, QUIET, Settling, settle, to_the_hour};
pub use view::TRAP_AROUND;

/// The same fetch again within this is a retry, not a second look.
const RETRY: i64 = 60_000;
/// Most hits of one letter that are compared with each other: nobody's reading needs more, and a flood must not cost its square.
const MOST_COMPARED: usize = 2_000;

/// What is stored of one hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterHit {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Pixel or link.
    pub kind: HitKind,
    /// The link's number; 0 for the pixel.
    pub link: u16,
    /// What the immediate rules said.
    pub first: Verdict,
    /// The program.
    pub family: ClientFamily,
    /// The device.
    pub device: DeviceClass,
    /// A final judgement: it stays, and its time is only known to the hour.
    pub settled: Option<Verdict>,
}

/// Everything that happened to one letter.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// Its hits, in any order.
    pub hits: Vec<LetterHit>,
    /// How many different links it has; 0 where that is not known.
    pub links: usize,
    /// When its recipient sent a form, in milliseconds since 1970.
    pub confirmed: Vec<i64>,
    /// When the relay accepted it, in milliseconds since 1970.
    pub accepted: Option<i64>,
}

/// What a hit is taken for once its letter is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Class, confidence and reasons.
    pub verdict: Verdict,
    /// How many requests it stands for; 0 for a retry that an earlier one stands for.
    pub multiplicity: u16,
}

const UNDECIDED: Verdict = Verdict { class: Class::Unknown, confidence: Confidence::Weak, reasons: Reasons::NONE, ruleset: RULESET };

/// Judges all hits of a letter together; answers in the order given.
pub fn judge(letter: &Letter) -> Vec<Judged> {
    let mut order: Vec<usize> = (0..letter.hits.len()).collect();
    order.sort_by_key(|index| letter.hits.get(*index).map(sort_key));
    let hits: Vec<LetterHit> = order.iter().filter_map(|index| letter.hits.get(*index).copied()).collect();
    let hits: Vec<LetterHit> = hits.into_iter().map(|hit| LetterHit { first: revise(hit.kind, hit.first), ..hit }).collect();
    let (verdicts, _) = decide(&hits, letter);
    let multiplicities = collapse(&hits, &verdicts);
    let mut judged = vec![Judged { verdict: UNDECIDED, multiplicity: 1 }; hits.len()];
    for ((index, verdict), multiplicity) in order.into_iter().zip(verdicts).zip(multiplicities) {
        if let Some(one) = judged.get_mut(index) {
            *one = Judged { verdict, multiplicity };
        }
    }
    judged
}

/// Everything that can tell two hits apart, so that their order of arrival cannot.
fn sort_key(hit: &LetterHit) -> (i64, bool, u16, Class, Confidence, u16, ClientFamily, DeviceClass) {
    let is_open = hit.kind == HitKind::Open;
    (hit.at, is_open, hit.link, hit.first.class, hit.first.confidence, hit.first.reasons.0, hit.family, hit.device)
}

/// Verdicts, and the names of the rules that changed a hit.
fn decide(hits: &[LetterHit], letter: &Letter) -> (Vec<Verdict>, Vec<Option<&'static str>>) {
    let view = View::of(hits, letter);
    let mut verdicts: Vec<Verdict> = hits.iter().map(|hit| hit.settled.unwrap_or(hit.first)).collect();
    let mut decided = vec![None; hits.len()];
    for rule in RULES.iter().filter(|rule| !rule.compares || hits.len() <= MOST_COMPARED) {
        let open = |index: &usize| decided.get(*index) == Some(&None) && hits.get(*index).is_some_and(|hit| hit.settled.is_none());
        let matching: Vec<usize> = (0..hits.len()).filter(open).filter(|index| (rule.when)(&view, &verdicts, *index)).collect();
        for index in matching {
            if let (Some(verdict), Some(name)) = (verdicts.get_mut(index), decided.get_mut(index)) {
                let reasons = verdict.reasons.with(rule.reasons);
                *verdict = Verdict { class: rule.class, confidence: rule.confidence, reasons, ruleset: RULESET };
                *name = Some(rule.name);
            }
        }
    }
    (verdicts, decided)
}

/// S9: the same fetch again within a minute, taken for the same, is a retry. The first stands for all.
fn collapse(hits: &[LetterHit], verdicts: &[Verdict]) -> Vec<u16> {
    let mut multiplicities = vec![1_u16; hits.len()];
    let mut leaders: BTreeMap<(bool, u16, Class), (usize, i64)> = BTreeMap::new();
    for (index, (hit, verdict)) in hits.iter().zip(verdicts).enumerate() {
        let key = (hit.kind == HitKind::Open, hit.link, verdict.class);
        match leaders.get(&key).copied() {
            Some((leader, at)) if hit.at - at <= RETRY && hit.settled.is_none() => {
                if let Some(many) = multiplicities.get_mut(leader) {
                    *many = many.saturating_add(1);
                }
                if let Some(none) = multiplicities.get_mut(index) {
                    *none = 0;
                }
            }
            _ if hit.settled.is_none() => {
                leaders.insert(key, (index, hit.at));
            }
            _ => {}
        }
    }
    multiplicities
}

#[cfg(test)]
mod tests {
    use super::view::CLEAR;
    use super::*;

    const HUMAN: Verdict = Verdict { class: Class::Human, confidence: Confidence::Weak, reasons: Reasons::BROWSER, ruleset: RULESET };
    const INSTANT: Verdict = Verdict { class: Class::Unknown, confidence: Confidence::Weak, reasons: Reasons::INSTANT, ruleset: RULESET };
    const HEAD: Verdict = Verdict { class: Class::Scanner, confidence: Confidence::Certain, reasons: Reasons::METHOD, ruleset: RULESET };
    const TRAP: Verdict = Verdict { class: Class::Scanner, confidence: Confidence::Certain, reasons: Reasons::TRAP, ruleset: RULESET };
    const NAMED: Verdict =
        Verdict { class: Class::Scanner, confidence: Confidence::Certain, reasons: Reasons::NAMED_SCANNER, ruleset: RULESET };
    const PROXY: Verdict =
        Verdict { class: Class::Proxied, confidence: Confidence::Certain, reasons: Reasons::MAIL_PROXY, ruleset: RULESET };

    fn click(at: i64, link: u16, first: Verdict) -> LetterHit {
        LetterHit { at, kind: HitKind::Click, link, first, family: ClientFamily::Chrome, device: DeviceClass::Desktop, settled: None }
    }

    fn open(at: i64, first: Verdict) -> LetterHit {
        LetterHit { kind: HitKind::Open, ..click(at, 0, first) }
    }

    fn on_phone(hit: LetterHit) -> LetterHit {
        LetterHit { family: ClientFamily::Safari, device: DeviceClass::Phone, ..hit }
    }

    fn letter(hits: &[LetterHit], links: usize) -> Letter {
        Letter { hits: hits.to_vec(), links, confirmed: Vec::new(), accepted: None }
    }

    /// The rule that decides each hit (`-` for none), for hits in the order of time.
    fn check(letter: &Letter, expected: &[&str]) {
        let found: Vec<&str> = decide(&letter.hits, letter).1.into_iter().map(|name| name.unwrap_or("-")).collect();
        assert_eq!(found, expected, "{letter:#?}");
    }

    #[test]
    fn the_rules_stand_in_their_order() {
        let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names, ["S1", "S2", "S7", "S3", "S3 sweep", "S3 open", "S2 probe", "S4", "S5", "S10"]);
    }

    #[test]
    fn each_rule_decides_what_it_is_for() {
        for (hits, links, expected) in [
            // S1: the trap, a minute around it.
            (vec![click(0, 1, HUMAN), click(60_000, 9, TRAP), click(120_001, 2, HUMAN)], 9, vec!["S1", "-", "-"]),
            // S2: HEAD on two links, ten seconds before to a minute after.
            (
                vec![click(0, 1, HUMAN), click(10_000, 1, HEAD), click(20_000, 2, HEAD), click(80_000, 1, HUMAN), click(80_001, 3, HUMAN)],
                9,
                vec!["S2", "-", "-", "S2", "S3"],
            ),
            (vec![click(0, 1, HEAD), click(60_001, 2, HEAD), click(61_000, 3, HUMAN)], 9, vec!["-", "-", "S3"]),
            // HEAD on one link: some mail programs probe.
            (vec![click(0, 1, HEAD), click(2_000, 1, HUMAN), click(9_000, 1, HUMAN)], 9, vec!["-", "S2 probe", "-"]),
            // S3: two links in under a second, three in five, four of five in thirty.
            (vec![click(0, 1, HUMAN), click(999, 2, HUMAN)], 9, vec!["S3", "S3"]),
            (vec![click(0, 1, HUMAN), click(1_000, 2, HUMAN)], 9, vec!["-", "-"]),
            (vec![click(0, 1, HUMAN), click(500, 1, HUMAN), click(900, 1, HUMAN)], 9, vec!["-", "-", "-"]),
            (vec![click(0, 1, HUMAN), click(2_500, 2, HUMAN), click(5_000, 3, HUMAN)], 9, vec!["S3", "S3", "S3"]),
            (vec![click(0, 1, HUMAN), click(2_500, 2, HUMAN), click(5_001, 3, HUMAN)], 9, vec!["-", "-", "-"]),
            (
                vec![click(0, 1, HUMAN), click(10_000, 2, HUMAN), click(20_000, 3, HUMAN), click(30_000, 4, HUMAN)],
                5,
                vec!["S3", "S3", "S3", "S3"],
            ),
            (
                vec![click(0, 1, HUMAN), click(10_000, 2, HUMAN), click(20_000, 3, HUMAN), click(30_000, 4, HUMAN)],
                6,
                vec!["-", "-", "-", "-"],
            ),
            // Six of seven, at most two minutes apart; five of five a reader might.
            ((1..=6).map(|link| click(i64::from(link) * 120_000, link, HUMAN)).collect(), 7, vec!["S3 sweep"; 6]),
            ((1..=6).map(|link| click(i64::from(link) * 120_001, link, HUMAN)).collect(), 7, vec!["-"; 6]),
            ((1..=5).map(|link| click(i64::from(link) * 60_000, link, HUMAN)).collect(), 5, vec!["-"; 5]),
            // Two of two links is what a person may do.
            (vec![click(0, 1, HUMAN), click(10_000, 2, HUMAN)], 2, vec!["-", "-"]),
            // The picture, by a browser, amid a burst; a proxy's is a person's all the same.
            (vec![open(0, HUMAN), open(0, PROXY), click(1_000, 1, HUMAN), click(1_900, 2, HUMAN)], 9, vec!["S3 open", "-", "S3", "S3"]),
            // S4: another program on the same link.
            (vec![click(0, 1, HUMAN), on_phone(click(15_000, 1, HUMAN))], 9, vec!["S4", "-"]),
            (vec![click(0, 1, HUMAN), on_phone(click(15_001, 1, HUMAN))], 9, vec!["-", "-"]),
            (vec![click(0, 1, HUMAN), click(300, 1, HUMAN)], 9, vec!["-", "-"]),
            // S5: too soon, and a machine was there.
            (vec![click(0, 1, INSTANT), click(90_000, 2, NAMED)], 9, vec!["S5", "-"]),
            (vec![click(0, 1, INSTANT)], 9, vec!["-"]),
            // S10: shown by a mail provider before, and no machine near.
            (vec![open(0, PROXY), click(9_000, 1, HUMAN)], 9, vec!["-", "S10"]),
            (vec![click(0, 1, HUMAN), open(9_000, PROXY)], 9, vec!["-", "-"]),
            (vec![open(0, PROXY), click(9_000, 1, HUMAN), click(3_000_000, 2, NAMED)], 9, vec!["-", "-", "-"]),
            // S6: a click without an open says nothing.
            (vec![click(0, 1, HUMAN)], 9, vec!["-"]),
        ] {
            check(&letter(&hits, links), &expected);
        }
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        // Near a trap, amid HEADs, in a burst, instant, and a form was sent: each rule in turn loses its cause.
        let hits = [click(0, 1, INSTANT), click(500, 2, HEAD), click(700, 3, HEAD), click(900, 9, TRAP)];
        let with_form = |hits: &[LetterHit]| Letter { confirmed: vec![100_000], ..letter(hits, 9) };
        check(&with_form(&hits), &["S1", "-", "-", "-"]);
        check(&with_form(&hits[..3]), &["S2", "-", "-"]);
        check(&with_form(&hits[..2]), &["S7", "-"]);
        check(&letter(&hits[..2], 9), &["S3", "-"]);
        check(&letter(&[click(0, 1, INSTANT), click(1_500, 1, HEAD)], 9), &["S2 probe", "-"]);
        check(&letter(&[click(0, 1, INSTANT), on_phone(click(1_500, 1, HUMAN)), click(99_000, 1, NAMED)], 9), &["S4", "-", "-"]);
        check(&letter(&[click(0, 1, INSTANT), click(99_000, 1, NAMED)], 9), &["S5", "-"]);
    }

    #[test]
    fn a_form_rescues_the_last_link_before_it_and_never_a_machine_by_name() {
        let hits = [click(0, 1, HUMAN), click(300, 2, HUMAN), click(700, 3, NAMED)];
        let rescue = |at| Letter { confirmed: vec![at], ..letter(&hits, 9) };
        check(&rescue(60_000), &["S3", "S7", "-"]);
        check(&rescue(600_301), &["S3", "S3", "-"]);
        check(&rescue(-1), &["S3", "S3", "-"]);
        let judged = judge(&rescue(60_000));
        assert_eq!((judged[1].verdict.class, judged[1].verdict.confidence), (Class::Human, Confidence::Certain));
    }

    #[test]
    fn a_click_long_after_the_letter_is_surely_a_persons() {
        let hits = [click(CLEAR, 1, HUMAN)];
        check(&Letter { accepted: Some(0), ..letter(&hits, 9) }, &["S10"]);
        check(&Letter { accepted: Some(1), ..letter(&hits, 9) }, &["-"]);
    }

    #[test]
    fn retries_are_one_hit_that_stands_for_several() {
        let hits = [open(0, PROXY), open(20_000, PROXY), open(60_000, PROXY), open(60_001, PROXY), open(60_002, HUMAN)];
        let multiplicities: Vec<u16> = judge(&letter(&hits, 0)).iter().map(|judged| judged.multiplicity).collect();
        assert_eq!(multiplicities, [3, 0, 0, 1, 1]);
    }

    #[test]
    fn final_judgements_stay_and_their_times_say_nothing() {
        let settled = |hit: LetterHit, verdict| LetterHit { settled: Some(verdict), ..hit };
        let hits = [settled(click(0, 1, NAMED), NAMED), settled(click(0, 2, HUMAN), HUMAN), click(500, 3, HUMAN), click(800, 9, INSTANT)];
        check(&letter(&hits, 9), &["-", "-", "S3", "S3"]);
        check(&letter(&[hits[0], hits[1], hits[3]], 9), &["-", "-", "S5"]);
    }

    #[test]
    fn judging_again_changes_nothing() {
        let hits = [click(0, 1, HUMAN), click(500, 2, HUMAN), open(700, HUMAN), click(99_000, 1, HUMAN)];
        let once = judge(&letter(&hits, 9));
        assert_eq!(once, judge(&letter(&hits, 9)));
        // Once final, the same verdicts come out.
        let settled: Vec<LetterHit> = hits
            .iter()
            .zip(&once)
            .map(|(hit, judged)| LetterHit { at: to_the_hour(hit.at), settled: Some(judged.verdict), ..*hit })
            .collect();
        let again = judge(&letter(&settled, 9));
        assert!(again.iter().zip(&once).all(|(again, once)| again.verdict == once.verdict));
    }

    #[test]
    fn a_flood_of_hits_is_judged_in_a_moment() {
        let flood: Vec<LetterHit> = (0..300_000_u32).map(|number| click(i64::from(number / 100), (number % 7) as u16, HUMAN)).collect();
        let judged = judge(&letter(&flood, 9));
        assert!(judged.iter().all(|judged| judged.verdict.class == Class::Scanner));
    }
}
