//! One recipient under the pseudonym: the arm, and a small state folded from events.
//!
//! Cast: [`Subject`] (as enrolled), [`Part`] (test, rest or hold-out), [`State`] (bit sets), [`Tally`] (what a state or a hit counts for).
//!
//! Folding is a pure function and does not depend on the order of events, so states can be derived again at any time.

use crate::ids::{CampaignNumber, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use crate::ledger::event::{Event, EventKind};
use crate::signal::{Class, Confidence};

/// Test, the rest who get what the test chose, or the hold-out who get nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Assigned to an arm by chance.
    Test,
    /// Sent the chosen variant afterwards; never compared.
    Rest,
    /// Sent nothing, by plan.
    Holdout,
}

impl Part {
    /// The word used in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Rest => "rest",
            Self::Holdout => "holdout",
        }
    }

    /// Reads the word used in tables.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Test, Self::Rest, Self::Holdout].into_iter().find(|part| part.as_str() == word)
    }
}

/// A recipient as enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Who, within this campaign only.
    pub pseudonym: Pseudonym,
    /// The campaign.
    pub campaign: CampaignNumber,
    /// The arm.
    pub variant: VariantNumber,
    /// Test, rest or hold-out.
    pub part: Part,
    /// Mailbox provider class and recording mode: assignment is balanced within it.
    pub stratum: String,
    /// What may be recorded.
    pub recording: RecordingMode,
}

/// What has happened to a recipient so far, as bit sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// One bit per delivery outcome.
    pub delivery: i32,
    /// One bit per class of pixel hit seen, and one for a strict one.
    pub opens: i32,
    /// The same for link hits.
    pub clicks: i32,
    /// The first open that counts in the standard reading, milliseconds since 1970.
    pub first_open_at: Option<i64>,
    /// The first click that counts in the standard reading, milliseconds since 1970.
    pub first_click_at: Option<i64>,
}

const STRICT: i32 = 1 << 5;

const fn class_bit(class: Class) -> i32 {
    match class {
        Class::Human => 1,
        Class::Proxied => 1 << 1,
        Class::Prefetch => 1 << 2,
        Class::Scanner => 1 << 3,
        Class::Unknown => 1 << 4,
    }
}

const fn delivery_bit(kind: EventKind) -> i32 {
    match kind {
        EventKind::Sent => 1,
        EventKind::Refused => 1 << 1,
        EventKind::Failed => 1 << 2,
        EventKind::Skipped => 1 << 3,
        EventKind::Uncertain => 1 << 4,
        EventKind::Bounced => 1 << 5,
        EventKind::Complained => 1 << 6,
        EventKind::Unsubscribed => 1 << 7,
        EventKind::Open | EventKind::Click => 0,
    }
}

impl State {
    /// The state after one more event.
    pub fn fold(self, event: &Event) -> Self {
        self.add(event.kind, event.at.as_millisecond(), event.hit.map(|hit| (hit.verdict.class, hit.verdict.confidence)))
    }

    /// The same, told of the event only what matters: kind, moment (milliseconds since 1970), and of a hit class and confidence.
    pub fn add(mut self, kind: EventKind, at: i64, hit: Option<(Class, Confidence)>) -> Self {
        self.delivery |= delivery_bit(kind);
        if let Some((class, confidence)) = hit {
            match kind {
                EventKind::Open => {
                    self.opens |= hit_bits(class, confidence);
                    if counts_as_open(class) {
                        self.first_open_at = earliest(self.first_open_at, at);
                    }
                }
                EventKind::Click => {
                    self.clicks |= hit_bits(class, confidence);
                    if class == Class::Human {
                        self.first_click_at = earliest(self.first_click_at, at);
                    }
                }
                _ => {}
            }
        }
        self
    }

    /// Accepted and not come back.
    pub fn is_delivered(self) -> bool {
        self.counts_for(Tally::Delivered)
    }

    fn has(self, kind: EventKind) -> bool {
        self.delivery & delivery_bit(kind) != 0
    }

    /// Every tally this state counts for, once.
    pub fn tallies(self) -> impl Iterator<Item = Tally> {
        Tally::OF_SUBJECTS.into_iter().filter(move |tally| self.counts_for(*tally))
    }

    fn counts_for(self, tally: Tally) -> bool {
        let opened = |classes: &[Class]| classes.iter().any(|class| self.opens & class_bit(*class) != 0);
        let clicked = |classes: &[Class]| classes.iter().any(|class| self.clicks & class_bit(*class) != 0);
        let delivered = self.has(EventKind::Sent) && !self.has(EventKind::Bounced);
        match tally {
            Tally::Sent => self.has(EventKind::Sent),
            Tally::Delivered => delivered,
            // A retry that succeeded supersedes an earlier refusal.
            Tally::Refused => self.has(EventKind::Refused) && !self.has(EventKind::Sent),
            Tally::Failed => self.has(EventKind::Failed) && !self.has(EventKind::Sent),
            Tally::Skipped => self.has(EventKind::Skipped),
            // One that was sent again is what came of that.
            Tally::Uncertain => {
                let known = [EventKind::Sent, EventKind::Refused, EventKind::Failed, EventKind::Skipped];
                self.has(EventKind::Uncertain) && !known.into_iter().any(|kind| self.has(kind))
            }
            Tally::Bounced => self.has(EventKind::Bounced) || (self.has(EventKind::Refused) && !self.has(EventKind::Sent)),
            Tally::Complained => self.has(EventKind::Complained),
            Tally::Unsubscribed => self.has(EventKind::Unsubscribed),
            Tally::OpenRaw => delivered && self.opens != 0,
            Tally::OpenStandard => delivered && (opened(&[Class::Human, Class::Proxied])),
            Tally::OpenStrict => delivered && self.opens & STRICT != 0,
            Tally::PrefetchOnly => delivered && opened(&[Class::Prefetch]) && !opened(&[Class::Human, Class::Proxied]),
            Tally::MachineOpen => delivered && opened(&[Class::Scanner, Class::Prefetch]),
            Tally::ClickRaw => delivered && self.clicks != 0,
            Tally::ClickStandard => delivered && clicked(&[Class::Human]),
            Tally::ClickStrict => delivered && self.clicks & STRICT != 0,
            Tally::ScannerClick => delivered && clicked(&[Class::Scanner]),
            Tally::UnknownClick => delivered && clicked(&[Class::Unknown]) && !clicked(&[Class::Human]),
            Tally::OpenAndClick => self.counts_for(Tally::OpenStandard) && self.counts_for(Tally::ClickStandard),
        }
    }
}

fn hit_bits(class: Class, confidence: Confidence) -> i32 {
    let strict = class == Class::Human && matches!(confidence, Confidence::Certain | Confidence::Strong);
    class_bit(class) | if strict { STRICT } else { 0 }
}

const fn counts_as_open(class: Class) -> bool {
    matches!(class, Class::Human | Class::Proxied)
}

fn earliest(known: Option<i64>, at: i64) -> Option<i64> {
    Some(known.map_or(at, |known| known.min(at)))
}

/// A count of recipients per arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tally {
    /// Accepted by the relay.
    Sent,
    /// Accepted and not come back.
    Delivered,
    /// Refused by the relay.
    Refused,
    /// Given up after too long.
    Failed,
    /// Not sent: unsubscribed or suppressed since enrolment, or not sendable.
    Skipped,
    /// Sent or not, nobody knows.
    Uncertain,
    /// Came back, or refused at once.
    Bounced,
    /// Reported as spam.
    Complained,
    /// Unsubscribed through this letter.
    Unsubscribed,
    /// Any pixel hit.
    OpenRaw,
    /// A pixel hit of a person, directly or through a mail provider's proxy.
    OpenStandard,
    /// A pixel hit of a person, certain or strong.
    OpenStrict,
    /// Only prefetched: says nothing either way, so it leaves the denominator of open rates.
    PrefetchOnly,
    /// Touched by a machine: prefetched or scanned.
    MachineOpen,
    /// Any link hit.
    ClickRaw,
    /// A link hit of a person.
    ClickStandard,
    /// A link hit of a person, certain or strong.
    ClickStrict,
    /// A link hit of a scanner.
    ScannerClick,
    /// Link hits of unknown class only.
    UnknownClick,
    /// Counted both as a standard open and as a standard click.
    OpenAndClick,
}

impl Tally {
    /// Every tally counted per recipient.
    pub const OF_SUBJECTS: [Self; 20] = [
        Self::Sent,
        Self::Delivered,
        Self::Refused,
        Self::Failed,
        Self::Skipped,
        Self::Uncertain,
        Self::Bounced,
        Self::Complained,
        Self::Unsubscribed,
        Self::OpenRaw,
        Self::OpenStandard,
        Self::OpenStrict,
        Self::PrefetchOnly,
        Self::MachineOpen,
        Self::ClickRaw,
        Self::ClickStandard,
        Self::ClickStrict,
        Self::ScannerClick,
        Self::UnknownClick,
        Self::OpenAndClick,
    ];

    /// The word used in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Uncertain => "uncertain",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
            Self::OpenRaw => "open raw",
            Self::OpenStandard => "open standard",
            Self::OpenStrict => "open strict",
            Self::PrefetchOnly => "prefetch only",
            Self::MachineOpen => "machine open",
            Self::ClickRaw => "click raw",
            Self::ClickStandard => "click standard",
            Self::ClickStrict => "click strict",
            Self::ScannerClick => "scanner click",
            Self::UnknownClick => "unknown click",
            Self::OpenAndClick => "open and click",
        }
    }
}

/// The name of the tally of delivered recipients whose own opens and clicks are recorded: the denominator of every rate. Who is only
/// counted in the aggregate, or not at all, can never be seen opening and would only blur the rates.
pub const MEASURED: &str = "measured";

/// The name of the tally that counts hits (not recipients) of a kind and class: `open hits human`.
pub fn hits_tally(kind: EventKind, class: Class) -> String {
    format!("{} hits {}", kind.as_str(), class.as_str())
}

/// The link whose clicks this hit counts for: a person's click on it. A double click on a link is one click.
pub fn clicked_link(kind: EventKind, class: Class, link: Option<LinkNumber>, multiplicity: u16) -> Option<LinkNumber> {
    link.filter(|_| kind == EventKind::Click && class == Class::Human && multiplicity > 0)
}

/// The name of the tally that counts persons' clicks on one link: `link 3 clicks`.
pub fn link_tally(link: LinkNumber) -> String {
    format!("link {} clicks", link.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EventId;
    use crate::ledger::event::Hit;
    use crate::ledger::event::Whose;
    use crate::signal::{ClientFamily, DeviceClass};
    use crate::signal::{Reasons, Verdict};
    use jiff::Timestamp;

    fn event(kind: EventKind, class: Option<(Class, Confidence)>, second: i64) -> Event {
        Event {
            id: EventId::from_bytes([1; 16]),
            campaign: CampaignNumber(1),
            whose: Whose::Recipient(Pseudonym::from_bytes([2; 16])),
            kind,
            at: Timestamp::from_second(second).unwrap(),
            hit: class.map(|(class, confidence)| Hit {
                link: None,
                verdict: Verdict { class, confidence, reasons: Reasons::NONE, ruleset: 1 },
                family: ClientFamily::Unknown,
                device: DeviceClass::Unknown,
                multiplicity: 1,
            }),
            reason: None,
        }
    }

    fn check(events: &[Event], expected: &[Tally]) {
        let forward = events.iter().fold(State::default(), |state, event| state.fold(event));
        let backward = events.iter().rev().fold(State::default(), |state, event| state.fold(event));
        assert_eq!(forward, backward, "the order of events does not matter");
        let found: Vec<Tally> = forward.tallies().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn prefetch_alone_is_no_open_and_leaves_the_denominator() {
        use Tally::{Delivered, MachineOpen, OpenRaw, PrefetchOnly, Sent};
        let events = [event(EventKind::Sent, None, 1), event(EventKind::Open, Some((Class::Prefetch, Confidence::Certain)), 2)];
        check(&events, &[Sent, Delivered, OpenRaw, PrefetchOnly, MachineOpen]);
    }

    #[test]
    fn a_person_after_a_prefetch_counts_as_open() {
        use Tally::{Delivered, MachineOpen, OpenRaw, OpenStandard, OpenStrict, Sent};
        let events = [
            event(EventKind::Sent, None, 1),
            event(EventKind::Open, Some((Class::Prefetch, Confidence::Certain)), 2),
            event(EventKind::Open, Some((Class::Human, Confidence::Strong)), 3),
        ];
        check(&events, &[Sent, Delivered, OpenRaw, OpenStandard, OpenStrict, MachineOpen]);
    }

    #[test]
    fn who_opened_and_clicked_is_counted_for_both_together() {
        use Tally::{ClickRaw, ClickStandard, Delivered, OpenAndClick, OpenRaw, OpenStandard, Sent};
        let events = [
            event(EventKind::Sent, None, 1),
            event(EventKind::Open, Some((Class::Proxied, Confidence::Certain)), 2),
            event(EventKind::Click, Some((Class::Human, Confidence::Weak)), 3),
        ];
        check(&events, &[Sent, Delivered, OpenRaw, OpenStandard, ClickRaw, ClickStandard, OpenAndClick]);
    }

    #[test]
    fn a_letter_that_came_back_counts_as_bounced_and_not_as_delivered() {
        check(&[event(EventKind::Sent, None, 1), event(EventKind::Bounced, None, 2)], &[Tally::Sent, Tally::Bounced]);
        check(&[event(EventKind::Refused, None, 1)], &[Tally::Refused, Tally::Bounced]);
    }

    #[test]
    fn a_scanners_click_is_raw_only() {
        use Tally::{ClickRaw, Delivered, ScannerClick, Sent};
        let events = [event(EventKind::Sent, None, 1), event(EventKind::Click, Some((Class::Scanner, Confidence::Strong)), 2)];
        check(&events, &[Sent, Delivered, ClickRaw, ScannerClick]);
    }

    #[test]
    fn first_moments_are_the_earliest_that_count() {
        let state = [
            event(EventKind::Click, Some((Class::Human, Confidence::Weak)), 9),
            event(EventKind::Click, Some((Class::Human, Confidence::Weak)), 5),
            event(EventKind::Click, Some((Class::Scanner, Confidence::Strong)), 1),
        ]
        .iter()
        .fold(State::default(), |state, event| state.fold(event));
        assert_eq!(state.first_click_at, Some(5000));
    }
}
