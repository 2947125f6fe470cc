//! When a campaign must stop before it harms its sender's name.
//!
//! Cast: [`Breaker`] (of one campaign), [`Limits`] (from the settings), [`Judged`] (what became of a letter, as the breaker sees it).
//!
//! Pure: time is an argument. It never resumes anything: a person does, once the reason is gone.

use std::collections::VecDeque;

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

/// Watches one campaign.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    recent: VecDeque<(Timestamp, Judged)>,
    refused: u32,
    in_a_row: u32,
}

impl Breaker {
    /// Knows of nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, recent: VecDeque::new(), refused: 0, in_a_row: 0 }
    }

    /// Notes what became of a letter; answers why the campaign must pause, if so. The breaker then begins anew.
    pub fn note(&mut self, judged: Judged, now: Timestamp) -> Option<String> {
        self.in_a_row = match judged {
            Judged::Accepted => 0,
            Judged::Sender => self.in_a_row + 1,
            Judged::Recipient => self.in_a_row,
        };
        self.recent.push_back((now, judged));
        self.refused += u32::from(judged != Judged::Accepted);
        while let Some((at, oldest)) = self.recent.front().copied()
            && now.duration_since(at) > self.limits.window
        {
            self.recent.pop_front();
            self.refused -= u32::from(oldest != Judged::Accepted);
        }
        let reason = self.reason()?;
        *self = Self::new(self.limits);
        Some(reason)
    }

    fn reason(&self) -> Option<String> {
        if self.in_a_row >= IN_A_ROW {
            return Some(format!("{} letters in a row were refused for their sender or content, not for their recipients", self.in_a_row));
        }
        let all = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        let too_many = f64::from(self.refused) > self.limits.share * f64::from(all);
        (all >= self.limits.least && too_many).then(|| {
            let minutes = self.limits.window.as_mins();
            format!(
                "{} of the last {all} letters were refused within {minutes} minutes; look at the reasons below before going on",
                self.refused
            )
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
}
