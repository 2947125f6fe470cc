//! The second pass: the hits of one letter seen together, by rules S1 to S10 as ordered data.
//!
//! Cast: [`LetterHit`] (what is stored of a hit), [`Letter`] (all of one letter's), [`judge`], its answer [`Judged`], and [`settle`]
//! (when a judgement becomes final and times are cut to the hour).
//!
//! Every hit is judged from its first verdict, so judging twice, or in any order of arrival, gives the same. A network, an address or a
//! user agent is not known here. It never looks at another letter, and never at what a person did before or after.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{Class, Confidence, Reasons};
use super::client::{ClientFamily, DeviceClass};
use super::verdict::{HitKind, RULESET, Verdict, revise};

/// Milliseconds around a trap hit within which links are followed by the same machine.
pub const TRAP_AROUND: i64 = 60_000;
/// Milliseconds before and after a HEAD within which links are fetched by the same machine.
const HEAD_BEFORE: i64 = 10_000;
const HEAD_AFTER: i64 = 60_000;
/// Some mail programs ask with HEAD right before they open a link.
const PROBE: i64 = 2_000;
/// Two links nearer than this, three within that, nearly all within the last: more than people manage.
const BURST_TWO: i64 = 1_000;
const BURST_THREE: i64 = 5_000;
const BURST_MOST: i64 = 30_000;
/// Links followed with less than this between them, nearly all the letter has and at least so many: a machine that takes its time.
const SWEEP_GAP: i64 = 120_000;
const SWEEP_LEAST: usize = 6;
/// A second program on the same link so soon: one of the two checked the link for the other.
const ANOTHER_CLIENT: i64 = 15_000;
/// A form sent so soon after a link was followed was sent by who followed it.
const RESCUE: i64 = 600_000;
/// The same fetch again within this is a retry, not a second look.
const RETRY: i64 = 60_000;
/// Without a machine so long before and after, and so long after the letter was accepted, a click is hardly a scan.
const CLEAR: i64 = 3_600_000;
/// A letter is judged when it has been quiet for so long.
pub const QUIET: i64 = 600_000;
/// Judgements are final so long after the last hit nearby, and at the latest twice as long after the hit itself.
pub const FINAL: i64 = 24 * 3_600_000;
/// Most hits of one letter that are compared with each other: nobody's reading needs more, and a flood must not cost its square.
const MOST_COMPARED: usize = 2_000;
/// Final times are cut to this.
pub const HOUR: i64 = 3_600_000;

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

/// One rule of the second pass. It sees the letter and what all rules before it said, never what a rule says at the same time.
struct Rule {
    /// As in the design; S10 is our own.
    name: &'static str,
    /// Whether it compares hits with each other one by one: left out for letters with more than [`MOST_COMPARED`].
    compares: bool,
    when: fn(&View<'_>, &[Verdict], usize) -> bool,
    class: Class,
    confidence: Confidence,
    reasons: Reasons,
}

/// The rules. The order is the meaning: the first that matches a hit decides it.
///
/// S6 (a click without an open is no evidence) and S8 (a click implies an open) change no class. S9 (retries) is [`collapse`].
const RULES: [Rule; 10] = [
    Rule {
        name: "S1",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.is_near_trap(hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::TRAP.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S2",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.is_near_heads(hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::METHOD.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S7",
        compares: false,
        when: |view, _, hit| view.is_rescued(hit),
        class: Class::Human,
        confidence: Confidence::Certain,
        reasons: Reasons::CONTEXT,
    },
    Rule {
        name: "S3",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.burst(hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BURST,
    },
    Rule {
        // Our own: patience alone makes no person.
        name: "S3 sweep",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.sweep.get(hit).copied().unwrap_or_default(),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BURST.with(Reasons::CONTEXT),
    },
    Rule {
        // The machine that followed the links loaded the picture too. Only what has a browser's shape is doubted.
        name: "S3 open",
        compares: true,
        when: |view, so_far, hit| view.is_weak_open(hit) && view.is_amid_machine(so_far, hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::BURST.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S2 probe",
        compares: false,
        when: |view, _, hit| view.is_open_to_doubt_click(hit) && view.is_probed(hit),
        class: Class::Unknown,
        confidence: Confidence::Weak,
        reasons: Reasons::METHOD.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S4",
        compares: true,
        when: |view, so_far, hit| view.is_checked_for_another(so_far, hit),
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::CONTEXT,
    },
    Rule {
        name: "S5",
        compares: true,
        when: |view, so_far, hit| {
            view.is_open_to_doubt_click(hit)
                && view.first(hit).reasons.contains(Reasons::INSTANT)
                && view.some_click(so_far, |_, verdict| verdict.class == Class::Scanner)
        },
        class: Class::Scanner,
        confidence: Confidence::Strong,
        reasons: Reasons::INSTANT.with(Reasons::CONTEXT),
    },
    Rule {
        name: "S10",
        compares: true,
        when: |view, so_far, hit| view.is_confirmed_person(so_far, hit),
        class: Class::Human,
        confidence: Confidence::Strong,
        reasons: Reasons::CONTEXT,
    },
];

/// A letter with what the rules ask of it, worked out once. Hits are in the order of time.
struct View<'a> {
    hits: &'a [LetterHit],
    accepted: Option<i64>,
    traps: Vec<i64>,
    heads: Vec<i64>,
    probes: Vec<(u16, i64)>,
    rescued: Vec<bool>,
    burst: Vec<bool>,
    sweep: Vec<bool>,
}

impl<'a> View<'a> {
    fn of(hits: &'a [LetterHit], letter: &Letter) -> Self {
        let is_head = |hit: &&LetterHit| hit.kind == HitKind::Click && hit.settled.is_none() && hit.first.reasons.contains(Reasons::METHOD);
        let probes: Vec<(u16, i64)> = hits.iter().filter(is_head).map(|hit| (hit.link, hit.at)).collect();
        let several = |(link, at): &(u16, i64)| {
            near(&probes, *at - HEAD_AFTER, *at + HEAD_AFTER, |(_, at)| *at).iter().any(|(other, _)| other != link)
        };
        let traps = hits.iter().filter(|hit| hit.settled.is_none() && hit.first.reasons.contains(Reasons::TRAP)).map(|hit| hit.at);
        Self {
            hits,
            accepted: letter.accepted,
            traps: traps.collect(),
            heads: probes.iter().filter(|one| several(one)).map(|(_, at)| *at).collect(),
            rescued: rescued(hits, &letter.confirmed),
            burst: bursts(hits, letter.links),
            sweep: sweeps(hits, letter.links),
            probes,
        }
    }

    fn first(&self, hit: usize) -> Verdict {
        self.hits.get(hit).map_or(UNDECIDED, |hit| hit.first)
    }

    /// A link hit that the immediate rules took for a person's or left open.
    fn is_open_to_doubt_click(&self, hit: usize) -> bool {
        self.hits.get(hit).is_some_and(is_open_to_doubt)
    }

    /// A pixel hit with nothing but a browser's shape: mail programs and proxies are never doubted for their timing.
    fn is_weak_open(&self, hit: usize) -> bool {
        self.hits
            .get(hit)
            .is_some_and(|hit| hit.kind == HitKind::Open && hit.first.class == Class::Human && hit.first.confidence == Confidence::Weak)
    }

    fn is_near_trap(&self, hit: usize) -> bool {
        let at = self.at(hit);
        !near(&self.traps, at - TRAP_AROUND, at + TRAP_AROUND, |at| *at).is_empty()
    }

    fn is_near_heads(&self, hit: usize) -> bool {
        let at = self.at(hit);
        !near(&self.heads, at - HEAD_AFTER, at + HEAD_BEFORE, |at| *at).is_empty()
    }

    fn is_probed(&self, hit: usize) -> bool {
        let (at, link) = (self.at(hit), self.link(hit));
        near(&self.probes, at - PROBE, at + PROBE, |(_, at)| *at).iter().any(|(probed, _)| *probed == link)
    }

    fn is_rescued(&self, hit: usize) -> bool {
        self.rescued.get(hit).copied().unwrap_or_default()
    }

    fn burst(&self, hit: usize) -> bool {
        self.burst.get(hit).copied().unwrap_or_default()
    }

    /// Within five seconds of a link hit that rules S1 to S3 took for a machine's.
    fn is_amid_machine(&self, so_far: &[Verdict], hit: usize) -> bool {
        let at = self.at(hit);
        self.around(hit, BURST_THREE).any(|other| {
            let seen = so_far.get(other).is_some_and(|verdict| {
                verdict.class == Class::Scanner && (verdict.reasons.contains(Reasons::BURST) || verdict.reasons.contains(Reasons::CONTEXT))
            });
            seen && self.is_timed_click(other) && (self.at(other) - at).abs() <= BURST_THREE
        })
    }

    /// A person follows on the same link from another program: the earlier hit checked the link.
    fn is_checked_for_another(&self, so_far: &[Verdict], hit: usize) -> bool {
        let Some(this) = self.hits.get(hit).filter(|hit| is_open_to_doubt(hit)) else { return false };
        let mut later = (hit + 1..self.hits.len()).map_while(|other| {
            let next = self.hits.get(other)?;
            (next.at - this.at <= ANOTHER_CLIENT).then_some((other, next))
        });
        later.any(|(other, next)| {
            let is_other = (next.family, next.device) != (this.family, this.device);
            let is_person = so_far.get(other).is_some_and(|verdict| verdict.class == Class::Human);
            next.link == this.link && next.at > this.at && is_other && is_person && is_open_to_doubt(next)
        })
    }

    fn some_click(&self, so_far: &[Verdict], wanted: impl Fn(&LetterHit, &Verdict) -> bool) -> bool {
        self.hits.iter().zip(so_far).any(|(hit, verdict)| hit.kind == HitKind::Click && wanted(hit, verdict))
    }

    /// No machine within an hour, and either the letter had been shown in a mail program or through a mail provider by then, or it
    /// had been accepted an hour before: scans come with the letter.
    fn is_confirmed_person(&self, so_far: &[Verdict], hit: usize) -> bool {
        let Some(this) = self.hits.get(hit) else { return false };
        if this.kind != HitKind::Click || so_far.get(hit).is_none_or(|verdict| verdict.class != Class::Human) {
            return false;
        }
        let is_machine_near =
            self.hits.iter().zip(so_far).any(|(other, verdict)| verdict.class == Class::Scanner && (other.at - this.at).abs() <= CLEAR);
        let is_shown = self.hits.iter().zip(so_far).any(|(other, verdict)| {
            let surely = verdict.class == Class::Proxied || (verdict.class == Class::Human && verdict.confidence != Confidence::Weak);
            other.kind == HitKind::Open && other.at <= this.at && surely
        });
        let is_late = self.accepted.is_some_and(|accepted| this.at - accepted >= CLEAR);
        !is_machine_near && (is_shown || is_late)
    }

    fn at(&self, hit: usize) -> i64 {
        self.hits.get(hit).map_or(0, |hit| hit.at)
    }

    fn link(&self, hit: usize) -> u16 {
        self.hits.get(hit).map_or(0, |hit| hit.link)
    }

    fn is_timed_click(&self, hit: usize) -> bool {
        self.hits.get(hit).is_some_and(|hit| hit.kind == HitKind::Click && hit.settled.is_none())
    }

    /// Hits at most so many milliseconds away.
    fn around(&self, hit: usize, distance: i64) -> std::ops::Range<usize> {
        let at = self.at(hit);
        let from = self.hits.partition_point(|other| other.at < at - distance);
        let to = self.hits.partition_point(|other| other.at <= at + distance);
        from..to
    }
}

const UNDECIDED: Verdict = Verdict { class: Class::Unknown, confidence: Confidence::Weak, reasons: Reasons::NONE, ruleset: RULESET };

fn is_open_to_doubt(hit: &LetterHit) -> bool {
    hit.kind == HitKind::Click && hit.settled.is_none() && matches!(hit.first.class, Class::Human | Class::Unknown)
}

/// The part of a list in the order of time that lies between two moments, both included.
fn near<T>(ordered: &[T], from: i64, to: i64, at: impl Fn(&T) -> i64) -> &[T] {
    let first = ordered.partition_point(|one| at(one) < from);
    let last = ordered.partition_point(|one| at(one) <= to);
    ordered.get(first..last.max(first)).unwrap_or_default()
}

/// For each form that was sent, the last link followed before it, if that may have been a person.
fn rescued(hits: &[LetterHit], confirmed: &[i64]) -> Vec<bool> {
    let mut rescued = vec![false; hits.len()];
    for confirmed in confirmed {
        let last = hits.iter().rposition(|hit| is_open_to_doubt(hit) && hit.at <= *confirmed && confirmed - hit.at <= RESCUE);
        if let Some(one) = last.and_then(|last| rescued.get_mut(last)) {
            *one = true;
        }
    }
    rescued
}

/// Link hits that came in a burst. Only different links count: twice the same link is one click. The letter has `links` of them.
fn bursts(hits: &[LetterHit], links: usize) -> Vec<bool> {
    let most = if links >= 4 { (links * 4).div_ceil(5) } else { usize::MAX };
    let clicks: Vec<usize> =
        (0..hits.len()).filter(|at| hits.get(*at).is_some_and(|hit| hit.kind == HitKind::Click && hit.settled.is_none())).collect();
    let mut burst = vec![false; hits.len()];
    // "Less than a second" is one millisecond less than within a second.
    for (within, different) in [(BURST_TWO - 1, 2), (BURST_THREE, 3), (BURST_MOST, most)] {
        let mut in_window: BTreeMap<u16, usize> = BTreeMap::new();
        let (mut from, mut marked) = (0, 0);
        for (to, index) in clicks.iter().enumerate() {
            let Some(hit) = hits.get(*index) else { continue };
            *in_window.entry(hit.link).or_default() += 1;
            while let Some(oldest) = clicks.get(from).and_then(|index| hits.get(*index)).filter(|oldest| hit.at - oldest.at > within) {
                if let Some(count) = in_window.get_mut(&oldest.link) {
                    *count -= 1;
                    if *count == 0 {
                        in_window.remove(&oldest.link);
                    }
                }
                from += 1;
            }
            if in_window.len() >= different {
                for index in clicks.get(from.max(marked)..=to).unwrap_or_default() {
                    if let Some(one) = burst.get_mut(*index) {
                        *one = true;
                    }
                }
                marked = to + 1;
            }
        }
    }
    burst
}

/// Link hits of a chain that took in nearly all the letter's links, however slowly, but without a pause a reader would make.
fn sweeps(hits: &[LetterHit], links: usize) -> Vec<bool> {
    let mut swept = vec![false; hits.len()];
    let clicks: Vec<usize> =
        (0..hits.len()).filter(|at| hits.get(*at).is_some_and(|hit| hit.kind == HitKind::Click && hit.settled.is_none())).collect();
    let at = |index: &usize| hits.get(*index).map_or(0, |hit| hit.at);
    for chain in clicks.chunk_by(|one, next| at(next) - at(one) <= SWEEP_GAP) {
        let different: BTreeSet<u16> = chain.iter().filter_map(|index| hits.get(*index)).map(|hit| hit.link).collect();
        if links > 0 && different.len() >= SWEEP_LEAST.max((links * 4).div_ceil(5)) {
            for index in chain {
                if let Some(one) = swept.get_mut(*index) {
                    *one = true;
                }
            }
        }
    }
    swept
}

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

/// Which hits are final now, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settling {
    /// One answer per hit, in the order given. A hit that was final stays so.
    pub is_final: Vec<bool>,
    /// The next moment worth looking, milliseconds since 1970; none once everything is final.
    pub look_again: Option<i64>,
}

/// Decides what is final at `now`, from each hit's moment (milliseconds) and whether it was final before.
///
/// Hits with less than [`QUIET`] between them become final together, [`FINAL`] after the last of them, because a rule may need them
/// all to the second; one that goes on for longer does not keep its beginning open for more than twice that.
pub fn settle(hits: &[(i64, bool)], now: i64) -> Settling {
    let mut open: Vec<(i64, usize)> = hits.iter().enumerate().filter(|(_, (_, done))| !done).map(|(index, (at, _))| (*at, index)).collect();
    open.sort_unstable();
    let mut is_final: Vec<bool> = hits.iter().map(|(_, done)| *done).collect();
    let mut look_again: Option<i64> = None;
    for cluster in open.chunk_by(|one, next| next.0 - one.0 < QUIET) {
        let (Some((begin, _)), Some((end, _))) = (cluster.first(), cluster.last()) else { continue };
        let mut left = None;
        for (at, index) in cluster {
            let done = now >= end.saturating_add(FINAL) || now >= at.saturating_add(2 * FINAL);
            if let Some(one) = is_final.get_mut(*index) {
                *one = done;
            }
            if !done && left.is_none() {
                left = Some(*at);
            }
        }
        let Some(left) = left else { continue };
        let quiet = end.saturating_add(QUIET);
        let final_at = end.saturating_add(FINAL).min(left.max(*begin).saturating_add(2 * FINAL));
        let next = if now < quiet { quiet.min(final_at) } else { final_at };
        look_again = Some(look_again.map_or(next, |known| known.min(next)));
    }
    Settling { is_final, look_again }
}

/// A final moment: the beginning of its hour, in milliseconds since 1970.
pub const fn to_the_hour(at: i64) -> i64 {
    at - at.rem_euclid(HOUR)
}

#[cfg(test)]
mod tests {
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
    fn a_letter_is_looked_at_when_quiet_and_becomes_final_after_a_day() {
        let at = |hits: &[(i64, bool)], now: i64, is_final: &[bool], look_again: Option<i64>| {
            assert_eq!(settle(hits, now), Settling { is_final: is_final.to_vec(), look_again }, "{hits:?} at {now}");
        };
        at(&[], 0, &[], None);
        at(&[(0, false)], 0, &[false], Some(QUIET));
        at(&[(0, false)], QUIET, &[false], Some(FINAL));
        at(&[(0, false)], FINAL, &[true], None);
        at(&[(0, true), (9, false)], FINAL, &[true, false], Some(FINAL + 9));
        // Near each other: together. Far from each other: each in its time.
        at(&[(0, false), (QUIET - 1, false)], FINAL, &[false, false], Some(FINAL + QUIET - 1));
        at(&[(QUIET, false), (0, false)], FINAL, &[false, true], Some(FINAL + QUIET));
        // A stream that never ends does not keep its beginning to the second for ever.
        let stream: Vec<(i64, bool)> = (0..400).map(|number| (number * (QUIET - 1), false)).collect();
        let settled = settle(&stream, 2 * FINAL + 5);
        assert_eq!(settled.is_final.iter().filter(|done| **done).count(), 1);
        assert_eq!(settled.look_again, Some(QUIET - 1 + 2 * FINAL));
    }

    #[test]
    fn a_flood_of_hits_is_judged_in_a_moment() {
        let flood: Vec<LetterHit> = (0..300_000_u32).map(|number| click(i64::from(number / 100), (number % 7) as u16, HUMAN)).collect();
        let judged = judge(&letter(&flood, 9));
        assert!(judged.iter().all(|judged| judged.verdict.class == Class::Scanner));
    }

    #[test]
    fn hours_begin_before_their_moments_on_both_sides_of_1970() {
        assert_eq!((to_the_hour(0), to_the_hour(HOUR - 1), to_the_hour(-1)), (0, 0, -HOUR));
    }
}
