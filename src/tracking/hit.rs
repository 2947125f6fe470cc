//! One request for a pixel or a link: is the token ours, may it be recorded, and what does it mean?
//!
//! Cast: [`admit`] and its answer [`Admission`]; its two steps, [`open`] and [`admit_opened`].
//!
//! Pure but for what is held in memory: no database is asked, so a forged token costs none, and an outage changes nothing.

use jiff::Timestamp;

use crate::ids::{EventId, RecordingMode};
use crate::ledger::event::{Event, EventKind, Hit, Whose};
use crate::ledger::subject::Part;
use crate::signal::client::reduce;
use crate::signal::verdict::trapped;
use crate::signal::{DeliveryAge, HitKind, RequestFacts, classify};
use crate::token::{Bearer, Kind, Payload, TRAP_LINK};
use crate::tracking::Tracker;

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Admission {
    /// Not our token: a pixel is answered as always, a link is not found. Nothing is stored.
    Refused,
    /// Ours, but nothing may be recorded: answer as always.
    Unrecorded(Payload),
    /// Record this, then answer.
    Recorded(Payload, Box<Event>),
}

/// Judges a request. `id` names the event it may become.
pub fn admit(tracker: &Tracker, kind: HitKind, token: &str, facts: RequestFacts<'_>, now: Timestamp, id: EventId) -> Admission {
    let Some(payload) = open(tracker, kind, token) else { return Admission::Refused };
    let measured = tracker.targets.campaign(payload.campaign).is_some_and(|target| target.records);
    match admit_opened(tracker, kind, &payload, measured, facts, now, id) {
        Some(event) => Admission::Recorded(payload, Box::new(event)),
        None => Admission::Unrecorded(payload),
    }
}

/// Opens a token; a forged one is counted.
pub fn open(tracker: &Tracker, kind: HitKind, token: &str) -> Option<Payload> {
    let kind = match kind {
        HitKind::Open => Kind::Open,
        HitKind::Click => Kind::Click,
    };
    let payload = tracker.keys.open(kind, token).ok();
    if payload.is_none() {
        tracker.counts.refused();
    }
    payload
}

/// Judges a request whose token is open. None: nothing may be recorded, and that was counted. `measured` says whether its campaign is.
pub fn admit_opened(
    tracker: &Tracker,
    kind: HitKind,
    payload: &Payload,
    measured: bool,
    facts: RequestFacts<'_>,
    now: Timestamp,
    id: EventId,
) -> Option<Event> {
    if !measured || !may_record(tracker, payload) {
        tracker.counts.unrecorded();
        return None;
    }
    if let Bearer::Recipient(pseudonym) = payload.bearer
        && !tracker.floods.admit(pseudonym, now)
    {
        tracker.counts.flooded();
        tracker.counts.unrecorded();
        return None;
    }
    let client = reduce(facts, &tracker.networks);
    // The relay's clock is not the mailbox's: how long ago a letter was delivered is not known here, so rules on it stay off.
    let is_trap = kind == HitKind::Click && payload.link == Some(TRAP_LINK);
    let verdict = if is_trap { trapped() } else { classify(kind, &client, DeliveryAge::Unknown) };
    tracker.counts.hit(kind, verdict.class);
    Some(Event {
        id,
        campaign: payload.campaign,
        whose: match payload.bearer {
            Bearer::Recipient(pseudonym) => Whose::Recipient(pseudonym),
            Bearer::Arm { rest } => Whose::Arm { variant: payload.variant, part: if rest { Part::Rest } else { Part::Test } },
        },
        kind: match kind {
            HitKind::Open => EventKind::Open,
            HitKind::Click => EventKind::Click,
        },
        at: now,
        hit: Some(Hit { link: payload.link, verdict, family: client.family, device: client.device, multiplicity: 1 }),
        reason: None,
    })
}

fn may_record(tracker: &Tracker, payload: &Payload) -> bool {
    let withdrawn = matches!(payload.bearer, Bearer::Recipient(pseudonym) if tracker.targets.is_withdrawn(pseudonym));
    !withdrawn && payload.mode != RecordingMode::Off
}
