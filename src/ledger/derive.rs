//! States and counts of a campaign from its events alone: one walk over the events in their order, everything held in memory.
//!
//! Cast: [`derive`], its answer [`Derived`], [`Recipients`] (everybody something happened to), [`Walk`] (how far it is).
//!
//! Time grows with the number of events: a step touches the recipients of its own events only. Memory grows with the number of recipients:
//! 41 to 86 bytes each. It never writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::db::DbResult;
use crate::db::LedgerConn;
use crate::ids::{CampaignNumber, LinkNumber, Pseudonym, VariantNumber};
use crate::ledger::event::{EventKind, Whose};
use crate::ledger::projection::count_state;
use crate::ledger::store::{self, Counter, Fact, Placed, TallyKey};
use crate::ledger::subject::{Part, State, clicked_link, hits_tally, link_tally};
use crate::signal::Class;

/// Most events read at once.
const STEP: i64 = 20_000;

/// How far a walk over events is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// The number of the last event looked at.
    pub at: i64,
    /// The number of the last one to look at.
    pub of: i64,
}

impl Walk {
    /// In per cent; 100 where there is nothing to look at.
    pub fn percent(self) -> i64 {
        self.at.saturating_mul(100).checked_div(self.of).unwrap_or(100).clamp(0, 100)
    }
}

/// Hears of every step, and may end the walk.
pub type Told<'a> = &'a mut dyn FnMut(Walk) -> ControlFlow<()>;

/// What the events say.
pub(super) struct Derived {
    /// Everybody something happened to.
    pub(super) recipients: Recipients,
    /// What their states count for.
    pub(super) states: BTreeMap<TallyKey, i64>,
    /// The counts of hits.
    pub(super) hits: BTreeMap<TallyKey, i64>,
    /// How many events there were.
    pub(super) events: u64,
    /// Those of them that should be filed under their recipients.
    pub(super) to_find: Filing,
}

/// Which events are filed under whom, as two numbers that can be compared: how many, and a sum in which each number counts times its
/// recipient. Pseudonyms are random: what is missing or elsewhere leaves the sum as it is once in 2^64 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Filing {
    pub(super) many: u64,
    sum: u64,
}

impl Filing {
    /// Adds so many events of a recipient, and the sum of their numbers.
    pub(super) fn add(&mut self, pseudonym: Pseudonym, many: u64, sum: i64) {
        let factor = pseudonym.as_bytes().iter().fold(0_u64, |all, byte| all.wrapping_mul(257).wrapping_add(u64::from(*byte)));
        self.many += many;
        self.sum = self.sum.wrapping_add(factor.wrapping_mul(sum.cast_unsigned()));
    }
}

/// A recipient as small as can be: a million of them are held at once. No moment is [`NEVER`].
#[derive(Clone, Copy)]
struct Small {
    first_open_at: i64,
    first_click_at: i64,
    place: u16,
    delivery: u8,
    opens: u8,
    clicks: u8,
}

const NEVER: i64 = i64::MIN;

/// What recipients have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    part: Part,
    variant: VariantNumber,
    measured: bool,
    at_risk: bool,
}

/// Everybody something happened to, with the state that follows from it.
pub(super) struct Recipients {
    campaign: CampaignNumber,
    places: Vec<Place>,
    all: HashMap<Pseudonym, Small>,
}

impl Small {
    fn state(self) -> State {
        let moment = |at: i64| (at != NEVER).then_some(at);
        State {
            delivery: i32::from(self.delivery),
            opens: i32::from(self.opens),
            clicks: i32::from(self.clicks),
            first_open_at: moment(self.first_open_at),
            first_click_at: moment(self.first_click_at),
        }
    }

    fn with(self, state: State) -> Self {
        // No bit is above the eighth: each is given in `ledger/subject.rs`.
        let bits = |flags: i32| u8::try_from(flags).unwrap_or(u8::MAX);
        Self {
            delivery: bits(state.delivery),
            opens: bits(state.opens),
            clicks: bits(state.clicks),
            first_open_at: state.first_open_at.unwrap_or(NEVER),
            first_click_at: state.first_click_at.unwrap_or(NEVER),
            ..self
        }
    }
}

impl Recipients {
    /// Room for as many as will come, so that it never has to be moved to a larger place.
    fn new(campaign: CampaignNumber, many: u64) -> Self {
        Self { campaign, places: Vec::new(), all: HashMap::with_capacity(usize::try_from(many).unwrap_or_default()) }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The state that follows from the events; none for somebody nothing happened to.
    pub(super) fn state(&self, pseudonym: Pseudonym) -> Option<State> {
        self.all.get(&pseudonym).map(|small| small.state())
    }

    /// Everybody, in no order.
    pub(super) fn placed(&self) -> impl Iterator<Item = (Pseudonym, Placed)> {
        self.all.iter().filter_map(|(pseudonym, small)| Some((*pseudonym, self.placed_as(small.place, small.state())?)))
    }

    /// All pseudonyms in the order the store keeps them in, so that reading them again goes through it once.
    pub(super) fn in_order(&self) -> Vec<Pseudonym> {
        let mut all: Vec<Pseudonym> = self.all.keys().copied().collect();
        all.sort_unstable();
        all
    }

    fn placed_as(&self, place: u16, state: State) -> Option<Placed> {
        let Place { part, variant, measured, at_risk } = *self.places.get(usize::from(place))?;
        Some(Placed { campaign: self.campaign, part, variant, measured, at_risk, state })
    }

    /// Looks up where these recipients are who were not met before.
    fn meet(&mut self, conn: &mut LedgerConn, facts: &[Fact]) -> DbResult<()> {
        let whose = facts.iter().filter_map(|fact| match fact.whose {
            Whose::Recipient(pseudonym) => Some(pseudonym),
            Whose::Arm { .. } => None,
        });
        let unseen: HashSet<Pseudonym> = whose.filter(|pseudonym| !self.all.contains_key(pseudonym)).collect();
        for (pseudonym, placed) in store::placed(conn, &unseen)? {
            let place =
                self.place(Place { part: placed.part, variant: placed.variant, measured: placed.measured, at_risk: placed.at_risk });
            let nothing = Small { first_open_at: NEVER, first_click_at: NEVER, place, delivery: 0, opens: 0, clicks: 0 };
            self.all.insert(pseudonym, nothing);
        }
        Ok(())
    }

    /// A place's number: there are a dozen or two of them.
    fn place(&mut self, place: Place) -> u16 {
        let known = self.places.iter().position(|one| *one == place).unwrap_or_else(|| {
            self.places.push(place);
            self.places.len() - 1
        });
        u16::try_from(known).unwrap_or(u16::MAX)
    }

    /// Folds a fact into its recipient's state; answers where that is.
    fn fold(&mut self, fact: &Fact) -> Option<(Part, VariantNumber)> {
        match fact.whose {
            Whose::Arm { variant, part } => Some((part, variant)),
            Whose::Recipient(pseudonym) => {
                let small = self.all.get_mut(&pseudonym)?;
                *small = small.with(small.state().add(fact.kind, fact.at, fact.hit.map(|hit| (hit.class, hit.confidence))));
                self.places.get(usize::from(small.place)).map(|place| (place.part, place.variant))
            }
        }
    }

    /// What all states count for.
    fn count(&self, counts: &mut BTreeMap<TallyKey, i64>) {
        let mut alike: HashMap<(u16, u8, u8, u8), i64> = HashMap::new();
        for small in self.all.values() {
            *alike.entry((small.place, small.delivery, small.opens, small.clicks)).or_default() += 1;
        }
        for ((place, delivery, opens, clicks), many) in alike {
            let flags = |bits: u8| i32::from(bits);
            let state = State { delivery: flags(delivery), opens: flags(opens), clicks: flags(clicks), ..State::default() };
            if let Some(placed) = self.placed_as(place, state) {
                count_state(&placed, many, counts);
            }
        }
    }
}

impl Derived {
    /// All counts.
    pub(super) fn tallies(&self) -> BTreeMap<TallyKey, i64> {
        let all = self.states.iter().chain(&self.hits);
        all.map(|(key, value)| (key.clone(), *value)).collect()
    }
}

type HitKey = (Part, VariantNumber, EventKind, Class, Option<LinkNumber>);

/// Folds a campaign's events with numbers up to `until`; with `before`, only those that happened up to and with that moment. None when
/// `told` ended it.
pub(super) fn derive(
    conn: &mut LedgerConn,
    campaign: CampaignNumber,
    until: i64,
    before: Option<Timestamp>,
    told: Told<'_>,
) -> DbResult<Option<Derived>> {
    let before = before.map(Timestamp::as_millisecond);
    let mut recipients = Recipients::new(campaign, store::recipients(conn, Some(campaign))?);
    let mut hits: HashMap<HitKey, i64> = HashMap::new();
    let (mut cursor, mut events) = (0, 0);
    let (filed_until, mut to_find) = (store::counted(conn, Counter::FiledSeq)?, Filing::default());
    loop {
        let (mut facts, last) = store::facts_of_campaign(conn, campaign, cursor..=until, STEP)?;
        if facts.is_empty() {
            break;
        }
        facts.retain(|fact| before.is_none_or(|before| fact.at <= before));
        recipients.meet(conn, &facts)?;
        for fact in &facts {
            let place = recipients.fold(fact);
            if let (Some(_), Whose::Recipient(pseudonym)) = (place, fact.whose)
                && fact.seq <= filed_until
            {
                to_find.add(pseudonym, 1, fact.seq);
            }
            if let (Some((part, variant)), Some(hit)) = (place, fact.hit) {
                let link = clicked_link(fact.kind, hit.class, hit.link, hit.multiplicity);
                *hits.entry((part, variant, fact.kind, hit.class, link)).or_default() += 1;
            }
        }
        events += facts.len() as u64;
        cursor = last;
        if told(Walk { at: cursor, of: until }).is_break() {
            return Ok(None);
        }
    }
    let (mut states, mut tallies) = (BTreeMap::new(), BTreeMap::new());
    for ((part, variant, kind, class, link), many) in hits {
        let mut add = |name: String| *tallies.entry((campaign, part, variant, name)).or_default() += many;
        add(hits_tally(kind, class));
        link.into_iter().for_each(|link| add(link_tally(link)));
    }
    recipients.count(&mut states);
    Ok(Some(Derived { recipients, states, hits: tallies, events, to_find }))
}
