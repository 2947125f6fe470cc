//! When a campaign must stop before it harms its sender's name.
//!
//! Cast: [`Breaker`] (of one campaign), [`Limits`] (from the settings), [`Judged`] (what became of a letter, as the breaker sees it),
//! [`Minute`] (how many of which within a minute).
//!
//! Pure: time is an argument. Processes that send one campaign tell each other what they saw, minute by minute ([`Breaker::tell`],
//! [`Breaker::learn`]): a share of refusals is one of all letters. It never resumes anything: a person does, once the reason is gone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// Letters refused as ours in a row before the campaign pauses.
const IN_A_ROW: u32 = 20;

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// The relay has it.
    Accepted,
    /// Refused for its recipient: an address that is not there, a mailbox that takes nothing.
    Recipient,
    /// Refused for its sender or content.
    Sender,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The share of refusals that is too much, from 0 to 1.
    pub share: f64,
    /// Over how long they are counted.
    pub window: SignedDuration,
    /// Fewer letters than these within the window say nothing.
    pub least: u32,
}

/// What was judged within a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minute {
    /// Letters the relay has.
    pub accepted: u32,
    /// Letters refused, for whatever reason.
    pub refused: u32,
    /// Letters refused for their sender or content since the last one accepted.
    pub in_a_row: u32,
}

impl Minute {
    fn add(&mut self, judged: Judged) {
        match judged {
            Judged::Accepted => *self = Self { accepted: self.accepted + 1, in_a_row: 0, ..*self },
            Judged::Recipient => self.refused += 1,
            Judged::Sender => *self = Self { refused: self.refused + 1, in_a_row: self.in_a_row + 1, ..*self },
        }
    }

    /// Both together, `later` having come later.
    fn then(self, later: Self) -> Self {
        let in_a_row = if later.accepted > 0 { later.in_a_row } else { self.in_a_row + later.in_a_row };
        Self { accepted: self.accepted + later.accepted, refused: self.refused + later.refused, in_a_row }
    }
}

/// By the number of the minute, from 1970.
pub type Minutes = BTreeMap<i64, Minute>;

/// The number of a moment's minute, from 1970.
pub fn minute_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

/// Watches one campaign.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    /// Of all processes, ours included, as they were last compared.
    shared: Minutes,
    /// Ours, on their way to the others.
    telling: Minutes,
    /// Ours since.
    own: Minutes,
}

impl Breaker {
    /// Knows of nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, shared: Minutes::new(), telling: Minutes::new(), own: Minutes::new() }
    }

    /// Notes what became of a letter; answers why the campaign must pause, if so. The breaker then begins anew.
    pub fn note(&mut self, judged: Judged, now: Timestamp) -> Option<String> {
        self.own.entry(minute_of(now)).or_default().add(judged);
        while self.own.len() > self.kept() {
            self.own.pop_first();
        }
        let reason = self.reason(now)?;
        *self = Self::new(self.limits);
        Some(reason)
    }

    /// What the other processes do not know yet; nothing when they know all. Once they do, [`Breaker::learn`] must be called; until then
    /// it is told again.
    pub fn tell(&mut self) -> Option<Minutes> {
        for (minute, later) in std::mem::take(&mut self.own) {
            let known = self.telling.entry(minute).or_default();
            *known = known.then(later);
        }
        while self.telling.len() > self.kept() {
            self.telling.pop_first();
        }
        (!self.telling.is_empty()).then(|| self.telling.clone())
    }

    /// Takes over what all processes together have seen, what this one told included; not when it has begun anew since.
    pub fn learn(&mut self, shared: Minutes) {
        if !std::mem::take(&mut self.telling).is_empty() {
            self.shared = shared;
        }
    }

    /// How many minutes in which something was judged are worth remembering: those of the window, and as many as letters in a row can
    /// lie in.
    pub fn kept(&self) -> usize {
        usize::try_from(self.limits.window.as_mins()).unwrap_or_default() + IN_A_ROW as usize
    }

    fn reason(&self, now: Timestamp) -> Option<String> {
        let known = || self.shared.iter().chain(&self.telling).chain(&self.own);
        let in_a_row = known().fold(Minute::default(), |sum, (_, minute)| sum.then(*minute)).in_a_row;
        if in_a_row >= IN_A_ROW {
            return Some(format!("{in_a_row} letters in a row were refused for their sender or content, not for their recipients"));
        }
        let minutes = self.limits.window.as_mins();
        let before = minute_of(now) - minutes;
        let Minute { accepted, refused, .. } =
            known().filter(|(minute, _)| **minute > before).fold(Minute::default(), |sum, (_, minute)| sum.then(*minute));
        let all = accepted + refused;
        let too_many = f64::from(refused) > self.limits.share * f64::from(all);
        (all >= self.limits.least && too_many).then(|| {
            format!("{refused} of the last {all} letters were refused within {minutes} minutes; look at the reasons below before going on")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { share: 0.3, window: SignedDuration::from_mins(10), least: 50 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    /// The letter at which it stopped, if it did.
    fn stops(letters: impl Iterator<Item = (i64, Judged)>) -> Option<usize> {
        let mut breaker = Breaker::new(LIMITS);
        letters.enumerate().find_map(|(number, (second, judged))| breaker.note(judged, at(second)).map(|_| number + 1))
    }

    #[test]
    fn twenty_refusals_for_the_sender_in_a_row_stop() {
        assert_eq!(stops((0..100).map(|second| (second, Judged::Sender))), Some(20));
        let broken_up = |second| (second, if second % 15 == 14 { Judged::Accepted } else { Judged::Sender });
        assert_eq!(stops((0..49).map(broken_up)), None, "too few to judge by their share");
    }

    #[test]
    fn a_share_of_refusals_stops_once_there_are_enough_letters() {
        let bad_list = |second| (second, if second % 5 < 2 { Judged::Recipient } else { Judged::Accepted });
        assert_eq!(stops((0..1000).map(bad_list)), Some(50));
        let usual = |second| (second, if second % 10 == 0 { Judged::Recipient } else { Judged::Accepted });
        assert_eq!(stops((0..100_000).map(usual)), None);
    }

    #[test]
    fn what_is_long_ago_counts_no_more() {
        let slow = |number: i64| (number * 60, if number % 2 == 0 { Judged::Recipient } else { Judged::Accepted });
        assert_eq!(stops((0..1000).map(slow)), None, "eleven letters in ten minutes say nothing");
    }

    #[test]
    fn what_other_processes_saw_counts_like_ones_own() {
        let (mut one, mut two) = (Breaker::new(LIMITS), Breaker::new(LIMITS));
        let half = |second: i64| if second % 2 == 0 { Judged::Recipient } else { Judged::Accepted };
        for second in 0..30 {
            assert_eq!((one.note(half(second), at(second)), two.note(half(second), at(second))), (None, None));
        }
        let told = one.tell().unwrap();
        assert_eq!(one.tell(), Some(told.clone()), "until it is known it is told again, and counted once");
        let mut all = told;
        for (minute, more) in two.tell().unwrap() {
            let known = all.entry(minute).or_default();
            *known = known.then(more);
        }
        one.learn(all.clone());
        two.learn(all);
        assert_eq!((one.tell(), two.tell()), (None, None));
        assert!(one.note(Judged::Accepted, at(601)).is_none(), "long ago counts no more");
        let reason = two.note(Judged::Accepted, at(30)).unwrap();
        assert!(reason.contains("30 of the last 61 letters"), "{reason}");
        assert_eq!((two.note(Judged::Recipient, at(31)), two.tell().unwrap().len()), (None, 1), "it begins anew");
    }

    #[test]
    fn letters_in_a_row_are_those_of_all_processes() {
        let reason = |accepted| {
            let mut breaker = Breaker::new(LIMITS);
            breaker.note(Judged::Sender, at(61));
            breaker.tell();
            let earlier = Minute { accepted: 0, refused: 15, in_a_row: 15 };
            let later = Minute { accepted, refused: 4, in_a_row: 4 };
            breaker.learn(Minutes::from([(minute_of(at(0)), earlier), (minute_of(at(60)), later)]));
            breaker.note(Judged::Sender, at(62))
        };
        assert!(reason(0).unwrap().contains("20 letters in a row"));
        assert_eq!(reason(1), None, "one was accepted in between");
    }
}
