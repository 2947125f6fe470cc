//! Live progress of a campaign: the same fragment stands in the campaign's page and is fetched again by the script.
//!
//! Cast: [`ProgressCounts`] (plain numbers, as the tallies give them), [`ProgressView`] (the same as words and a bar).
//! The time still needed is told from the pace of the last minutes; everything else is counted.

use super::chart::{Segment, stacked_bar};
use super::format::{count, share};

/// Totals and totals per arm, as counted.
#[derive(Debug, Clone, Default)]
pub struct ProgressCounts {
    /// Recipients assigned to an arm.
    pub enrolled: u64,
    /// Accepted by the relay.
    pub sent: u64,
    /// Not mailed on purpose (unsubscribed since, suppressed).
    pub skipped: u64,
    /// Given up.
    pub failed: u64,
    /// Still to be mailed.
    pub waiting: u64,
    /// Came back, or refused at once.
    pub bounced: u64,
    /// Sent and not come back.
    pub delivered: u64,
    /// Recipients with an open, standard counting.
    pub opened: u64,
    /// Recipients with a click, standard counting.
    pub clicked: u64,
    /// The same per arm, control first.
    pub arms: Vec<ArmCounts>,
    /// Why letters were not accepted: the state, the reason, how many.
    pub reasons: Vec<(String, String, u64)>,
    /// When the first letter may leave or how long the rest takes, in words; empty where neither is known.
    pub outlook: String,
}

/// Counts of one arm.
#[derive(Debug, Clone, Default)]
pub struct ArmCounts {
    /// Letter.
    pub letter: String,
    /// Recipients assigned.
    pub enrolled: u64,
    /// Accepted by the relay.
    pub sent: u64,
    /// Sent and returned.
    pub bounced: u64,
    /// Recipients with an open.
    pub opened: u64,
    /// Recipients with a click.
    pub clicked: u64,
}

/// A count with its label and, where it makes sense, its share.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Stable name for tests and scripts, for example `sent`.
    pub key: &'static str,
    /// What is counted.
    pub label: &'static str,
    /// The count in words.
    pub value: String,
    /// Share of a named whole, or empty.
    pub note: String,
}

/// One arm's row.
#[derive(Debug, Clone)]
pub struct ArmRow {
    /// Letter.
    pub letter: String,
    /// Number of the arm's colour, 0 is the control.
    pub colour: usize,
    /// Enrolled, sent, bounced, opened, clicked in words.
    pub enrolled: String,
    /// Accepted by the relay.
    pub sent: String,
    /// Sent and returned.
    pub bounced: String,
    /// Recipients with an open.
    pub opened: String,
    /// Recipients with a click.
    pub clicked: String,
}

/// Live progress; also a page fragment of its own for the script.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/progress.html")]
pub struct ProgressView {
    /// Address of the fragment, fetched every two seconds while `running`.
    pub url: String,
    /// Whether anything may still change; `false` stops the script.
    pub running: bool,
    /// One sentence, read aloud now and then.
    pub summary: String,
    /// When it was counted, in words.
    pub as_of: String,
    /// Sent, skipped, failed, waiting as a bar.
    pub bar: Vec<Segment>,
    /// All counts.
    pub figures: Vec<Figure>,
    /// Counts per arm.
    pub arms: Vec<ArmRow>,
    /// Why letters were not accepted: the state, the reason, how many.
    pub reasons: Vec<(String, String, String)>,
}

impl ProgressView {
    /// Words from numbers. `sending` says whether letters are leaving now; `running` whether the page should keep asking.
    pub fn new(url: String, counts: &ProgressCounts, sending: bool, running: bool, as_of: String) -> Self {
        let done = counts.enrolled.saturating_sub(counts.waiting);
        let summary = if sending && counts.waiting > 0 {
            let outlook = if counts.outlook.is_empty() { String::new() } else { format!(" {}", counts.outlook) };
            format!("{} of {} done, {} waiting.{outlook}", count(done), count(counts.enrolled), count(counts.waiting))
        } else if counts.waiting > 0 {
            format!("Paused or not started: {} waiting.", count(counts.waiting))
        } else {
            format!(
                "All {} done: {} sent, {} skipped, {} failed.",
                count(counts.enrolled),
                count(counts.sent),
                count(counts.skipped),
                count(counts.failed)
            )
        };
        let delivered = counts.delivered;
        let of_delivered = |number: u64| if delivered == 0 { String::new() } else { format!("{} of delivered", share(number, delivered)) };
        let of_enrolled =
            |number| if counts.enrolled == 0 { String::new() } else { format!("{} of enrolled", share(number, counts.enrolled)) };
        let figure = |key, label, number, note: String| Figure { key, label, value: count(number), note };
        Self {
            url,
            running,
            summary,
            as_of,
            bar: stacked_bar(&[
                ("sent", "Sent", counts.sent),
                ("skipped", "Skipped", counts.skipped),
                ("failed", "Failed", counts.failed),
                ("waiting", "Waiting", counts.waiting),
            ]),
            figures: vec![
                figure("enrolled", "Enrolled", counts.enrolled, String::new()),
                figure("sent", "Sent", counts.sent, of_enrolled(counts.sent)),
                figure("skipped", "Skipped", counts.skipped, String::new()),
                figure("failed", "Failed", counts.failed, String::new()),
                figure("waiting", "Waiting", counts.waiting, String::new()),
                figure("bounced", "Bounced", counts.bounced, if done == 0 { String::new() } else { of_enrolled(counts.bounced) }),
                figure("opened", "Opened", counts.opened, of_delivered(counts.opened)),
                figure("clicked", "Clicked", counts.clicked, of_delivered(counts.clicked)),
            ],
            reasons: counts.reasons.iter().map(|(state, reason, number)| (state.clone(), reason.clone(), count(*number))).collect(),
            arms: counts.arms.iter().enumerate().map(|(colour, arm)| arm_row(colour, arm)).collect(),
        }
    }
}

fn arm_row(colour: usize, arm: &ArmCounts) -> ArmRow {
    ArmRow {
        letter: arm.letter.clone(),
        colour,
        enrolled: count(arm.enrolled),
        sent: count(arm.sent),
        bounced: count(arm.bounced),
        opened: count(arm.opened),
        clicked: count(arm.clicked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_is_left_and_shares_of_nothing_are_left_out() {
        let mut counts = ProgressCounts { enrolled: 10, waiting: 10, ..ProgressCounts::default() };
        let view = ProgressView::new(String::new(), &counts, false, true, String::new());
        assert_eq!(view.summary, "Paused or not started: 10 waiting.");
        assert!(view.figures.iter().all(|figure| figure.note.is_empty() || figure.key == "sent"));
        counts.waiting = 4;
        counts.sent = 6;
        assert_eq!(ProgressView::new(String::new(), &counts, true, true, String::new()).summary, "6 of 10 done, 4 waiting.");
        counts.waiting = 0;
        counts.skipped = 4;
        assert_eq!(
            ProgressView::new(String::new(), &counts, false, false, String::new()).summary,
            "All 10 done: 6 sent, 4 skipped, 0 failed."
        );
    }
}
