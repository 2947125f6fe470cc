//! What the rules of the second pass ask of a letter, worked out once.
//!
//! Cast: [`View`], and the windows of time it looks through.
//!
//! Never looks at another letter; decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::class::{Class, Confidence, Reasons};
use super::super::verdict::{HitKind, Verdict};
use super::{Letter, LetterHit, UNDECIDED};

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
/// Without a machine so long before and after, and so long after the letter was accepted, a click is hardly a scan.
pub(super) const CLEAR: i64 = 3_600_000;

/// A letter with what the rules ask of it, worked out once. Hits are in the order of time.
pub(super) struct View<'a> {
    hits: &'a [LetterHit],
    accepted: Option<i64>,
    traps: Vec<i64>,
    heads: Vec<i64>,
    probes: Vec<(u16, i64)>,
    rescued: Vec<bool>,
    burst: Vec<bool>,
    pub(super) sweep: Vec<bool>,
}

impl<'a> View<'a> {
    pub(super) fn of(hits: &'a [LetterHit], letter: &Letter) -> Self {
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

    pub(super) fn first(&self, hit: usize) -> Verdict {
        self.hits.get(hit).map_or(UNDECIDED, |hit| hit.first)
    }

    /// A link hit that the immediate rules took for a person's or left open.
    pub(super) fn is_open_to_doubt_click(&self, hit: usize) -> bool {
        self.hits.get(hit).is_some_and(is_open_to_doubt)
    }

    /// A pixel hit with nothing but a browser's shape: mail programs and proxies are never doubted for their timing.
    pub(super) fn is_weak_open(&self, hit: usize) -> bool {
        self.hits
            .get(hit)
            .is_some_and(|hit| hit.kind == HitKind::Open && hit.first.class == Class::Human && hit.first.confidence == Confidence::Weak)
    }

    pub(super) fn is_near_trap(&self, hit: usize) -> bool {
        let at = self.at(hit);
        !near(&self.traps, at - TRAP_AROUND, at + TRAP_AROUND, |at| *at).is_empty()
    }

    pub(super) fn is_near_heads(&self, hit: usize) -> bool {
        let at = self.at(hit);
        !near(&self.heads, at - HEAD_AFTER, at + HEAD_BEFORE, |at| *at).is_empty()
    }

    pub(super) fn is_probed(&self, hit: usize) -> bool {
        let (at, link) = (self.at(hit), self.link(hit));
        near(&self.probes, at - PROBE, at + PROBE, |(_, at)| *at).iter().any(|(probed, _)| *probed == link)
    }

    pub(super) fn is_rescued(&self, hit: usize) -> bool {
        self.rescued.get(hit).copied().unwrap_or_default()
    }

    pub(super) fn burst(&self, hit: usize) -> bool {
        self.burst.get(hit).copied().unwrap_or_default()
    }

    /// Within five seconds of a link hit that rules S1 to S3 took for a machine's.
    pub(super) fn is_amid_machine(&self, so_far: &[Verdict], hit: usize) -> bool {
        let at = self.at(hit);
        self.around(hit, BURST_THREE).any(|other| {
            let seen = so_far.get(other).is_some_and(|verdict| {
                verdict.class == Class::Scanner && (verdict.reasons.contains(Reasons::BURST) || verdict.reasons.contains(Reasons::CONTEXT))
            });
            seen && self.is_timed_click(other) && (self.at(other) - at).abs() <= BURST_THREE
        })
    }

    /// A person follows on the same link from another program: the earlier hit checked the link.
    pub(super) fn is_checked_for_another(&self, so_far: &[Verdict], hit: usize) -> bool {
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

    pub(super) fn some_click(&self, so_far: &[Verdict], wanted: impl Fn(&LetterHit, &Verdict) -> bool) -> bool {
        self.hits.iter().zip(so_far).any(|(hit, verdict)| hit.kind == HitKind::Click && wanted(hit, verdict))
    }

    /// No machine within an hour, and either the letter had been shown in a mail program or through a mail provider by then, or it
    /// had been accepted an hour before: scans come with the letter.
    pub(super) fn is_confirmed_person(&self, so_far: &[Verdict], hit: usize) -> bool {
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
