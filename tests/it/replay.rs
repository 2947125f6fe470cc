//! Replays of the anytime-valid test that are kept: whatever happens to first successes, and whenever one is kept, a page says what a replay
//! from the first success on would say.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use letterlab::campaign::store::Campaign;
use letterlab::experiment::replay::{Base, Replay};
use letterlab::experiment::watch::Watched;
use letterlab::ids::{EventId, Pseudonym, RecordingMode, VariantNumber};
use letterlab::ledger::event::{Event, EventKind, Hit, Whose};
use letterlab::ledger::store::{self as events, Who};
use letterlab::ledger::subject::{MEASURED, Part, Subject};
use letterlab::ledger::{judgement, look, projection, rebuild};
use letterlab::report::counts::Counts;
use letterlab::report::replay::{self, Patience};
use letterlab::report::results::{due, results};
use letterlab::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::world::{Engine, Room, World, campaign, on_both_engines, people};

on_both_engines!(
    a_page_that_goes_on_says_what_one_from_the_first_success_on_would,
    a_replay_is_not_kept_when_a_first_success_before_its_end_came_meanwhile,
    a_look_keeps_its_replay_with_it,
);

const SENT: Timestamp = Timestamp::constant(1_800_000_000, 0);
const PEOPLE: u16 = 160;

struct Story {
    world: World,
    campaign: Campaign,
    people: Vec<Pseudonym>,
    events: u32,
    chance: StdRng,
}

impl Story {
    async fn new(engine: Engine, method: &str) -> Self {
        let world = World::new(engine).await;
        world.import(&people(2));
        let text = campaign("autumn").replace("observe_hours = 24", &format!("observe_hours = 72\nmethod = \"{method}\""));
        let draft = world.draft(&text);
        let people: Vec<Pseudonym> = (0..PEOPLE)
            .map(|person| {
                let mut bytes = [7; 16];
                bytes[..2].copy_from_slice(&person.wrapping_mul(40_503).to_be_bytes());
                Pseudonym::from_bytes(bytes)
            })
            .collect();
        let subjects: Vec<Subject> = people
            .iter()
            .enumerate()
            .map(|(person, pseudonym)| Subject {
                pseudonym: *pseudonym,
                campaign: draft.number,
                variant: VariantNumber(u8::from(person % 2 == 1)),
                part: Part::Test,
                stratum: "other/pseudonymous".to_owned(),
                recording: RecordingMode::Pseudonymous,
            })
            .collect();
        world.lab.ledger.write(|conn| events::enrol(conn, &subjects)).unwrap();
        let campaign = Campaign { observing_at: Some(SENT), ..draft };
        let mut story = Self { world, campaign, people, events: 0, chance: StdRng::seed_from_u64(11) };
        let sent: Vec<Event> = (0..usize::from(PEOPLE)).map(|person| story.event(person, EventKind::Sent, 0)).collect();
        story.append(&sent);
        story
    }

    fn after(minutes: i64) -> Timestamp {
        SENT.checked_add(SignedDuration::from_mins(minutes)).unwrap()
    }

    /// An event of a recipient, so many minutes after the letters left and a little.
    fn event(&mut self, person: usize, kind: EventKind, minutes: i64) -> Event {
        self.events += 1;
        let mut id = [3; 16];
        id[..4].copy_from_slice(&self.events.to_be_bytes());
        let class = if self.chance.random_bool(0.8) { Class::Human } else { Class::Scanner };
        let hit = Hit {
            link: None,
            verdict: Verdict { class, confidence: Confidence::Strong, reasons: Reasons::NONE, ruleset: 1 },
            family: ClientFamily::Unknown,
            device: DeviceClass::Unknown,
            multiplicity: 1,
        };
        Event {
            id: EventId::from_bytes(id),
            campaign: self.campaign.number,
            whose: Whose::Recipient(self.people[person]),
            kind,
            at: Self::after(minutes).checked_add(SignedDuration::from_millis(self.chance.random_range(0..60_000))).unwrap(),
            hit: (kind == EventKind::Click).then_some(hit),
            reason: None,
        }
    }

    fn append(&self, all: &[Event]) {
        self.world.lab.ledger.write(|conn| events::append(conn, all)).unwrap();
        while projection::advance(&self.world.lab.ledger).unwrap() > 0 {}
    }

    fn shown(&self) -> (Counts, Option<Watched>) {
        self.world
            .lab
            .ledger
            .read(|conn| {
                let counts = Counts::without_replay(conn, &self.campaign)?;
                let shown = replay::replayed(conn, &self.campaign, &counts, Patience::Page)?;
                Ok::<_, letterlab::db::DbError>((counts, shown))
            })
            .unwrap()
    }

    /// From the first success on, without anything that is kept.
    fn replayed_anew(&self, counts: &Counts) -> Watched {
        let design = &self.campaign.definition.design;
        let variants = [VariantNumber(0), VariantNumber(1)];
        let (who, trials) = match &counts.watch {
            Some(watch) => (Who::AtRisk, variants.map(|variant| watch.of(variant))),
            None => (Who::Delivered, variants.map(|variant| counts.named(variant, MEASURED))),
        };
        let base =
            Base { trials: trials.to_vec(), effect: design.planned_effect(), alpha: design.significance, fixed: counts.watch.is_some() };
        let mut replay = Replay::begin(base).unwrap();
        let of_campaign = (self.campaign.number, EventKind::Click, who);
        let until = due(&self.campaign).unwrap().as_millisecond();
        let firsts =
            self.world.lab.ledger.read(|conn| events::first_successes(conn, of_campaign, (i64::MIN, None), until, 10_000)).unwrap();
        for first in firsts.iter().filter(|first| first.counts) {
            replay.observe(first.variant, first.at - first.at.rem_euclid(60_000));
        }
        replay.watched()
    }
}

async fn a_page_that_goes_on_says_what_one_from_the_first_success_on_would(engine: Engine) {
    for method in ["fixed", "anytime"] {
        let mut story = Story::new(engine, method).await;
        let (ledger, number) = (story.world.lab.ledger.clone(), story.campaign.number);
        let (mut gone_on_with, mut removed, mut kept_before) = (0, 0, 0);
        for step in 0..160_i64 {
            let person = story.chance.random_range(0..usize::from(PEOPLE));
            let now = 5 * step;
            match story.chance.random_range(0..20) {
                0..=9 => {
                    let hit = story.event(person, EventKind::Click, now);
                    story.append(&[hit]);
                }
                // Late: an hour or so.
                10..=11 => {
                    let hit = story.event(person, EventKind::Click, (now - 60).max(0));
                    story.append(&[hit]);
                }
                12 if step > 60 => {
                    let bounced = story.event(person, EventKind::Bounced, now);
                    story.append(&[bounced]);
                }
                13 if step > 60 => projection::withdraw(&ledger, &[story.people[person]], Story::after(now)).unwrap(),
                14 => {
                    let pseudonym = story.people[person];
                    story.world.sql(
                        Room::Ledger,
                        &format!("UPDATE subject SET first_click_at = 1800000000000, click_flags = 33 WHERE pseudonym = '{pseudonym}'"),
                    );
                    story.world.sql(Room::Ledger, "DELETE FROM replay");
                    rebuild::run(&ledger, Some(number), &[number], true, Story::after(now), &mut |_| ControlFlow::Continue(())).unwrap();
                }
                15 => drop(judgement::step(&ledger, &|_, _| 1, Story::after(now)).unwrap()),
                16 if method == "anytime" && step > 60 => {
                    ledger.write(|conn| events::begin_watch(conn, number, Story::after(now))).unwrap();
                }
                _ => {
                    let until = story.chance.random_range(0..=now);
                    replay::keep(&ledger, &story.campaign, Story::after(until), Story::after(now)).unwrap();
                }
            }
            let kept = ledger.read(|conn| events::kept_replays(conn, number, EventKind::Click)).unwrap();
            removed += usize::from(kept.len() < kept_before);
            kept_before = kept.len();
            let (counts, shown) = story.shown();
            gone_on_with += usize::from(kept.iter().any(|kept| !kept.is_reserved && kept.successes > 0));
            assert_eq!(shown, Some(story.replayed_anew(&counts)), "{method}, step {step}, {kept:?}");
        }
        assert!(gone_on_with > 40 && removed > 4, "{method}: {gone_on_with} times from a kept one, {removed} times some were removed");
        clear(&story);
    }
}

async fn a_replay_is_not_kept_when_a_first_success_before_its_end_came_meanwhile(engine: Engine) {
    let mut story = Story::new(engine, "fixed").await;
    let (ledger, number) = (story.world.lab.ledger.clone(), story.campaign.number);
    for (minutes, is_kept) in [(30, true), (5, false)] {
        let until = Story::after(20).as_millisecond();
        assert!(ledger.write(|conn| events::reserve_replay(conn, number, EventKind::Click, until, SENT)).unwrap());
        assert!(!ledger.write(|conn| events::reserve_replay(conn, number, EventKind::Click, until, SENT)).unwrap(), "one at a time");
        let mut hit = story.event(3, EventKind::Click, minutes);
        hit.hit = hit.hit.map(|hit| Hit { verdict: Verdict { class: Class::Human, ..hit.verdict }, ..hit });
        story.append(&[hit]);
        let saved = ledger.write(|conn| events::save_replay(conn, (number, EventKind::Click, until), 1, "{}", "{}")).unwrap();
        assert_eq!(saved, is_kept, "{minutes} minutes after the letters");
        let kept = ledger.read(|conn| events::replay(conn, number, EventKind::Click, i64::MAX)).unwrap();
        assert_eq!(kept, is_kept.then(|| (until, "{}".to_owned())));
        story.world.sql(Room::Ledger, "DELETE FROM replay");
    }
    clear(&story);
}

/// The world checks at its end that all is accounted for; nobody was ever mailed here.
fn clear(story: &Story) {
    for table in ["event", "tally", "watch", "look", "replay", "subject", "withdrawal", "campaign"] {
        story.world.sql(Room::Ledger, &format!("DELETE FROM {table}"));
    }
    story.world.sql(Room::Ledger, "UPDATE counter SET value = 0");
}

async fn a_look_keeps_its_replay_with_it(engine: Engine) {
    for method in ["fixed", "anytime"] {
        let mut story = Story::new(engine, method).await;
        let ledger = story.world.lab.ledger.clone();
        let number = story.campaign.number;
        if method == "anytime" {
            ledger.write(|conn| events::begin_watch(conn, number, SENT)).unwrap();
        }
        let hits: Vec<Event> = (0..90).map(|person| story.event(person, EventKind::Click, 1 + person as i64)).collect();
        story.append(&hits);
        let due = due(&story.campaign).unwrap();
        let (taken, watched) = ledger
            .snapshot(|conn| {
                let taken = look::take(conn, number, EventKind::Click, due)?;
                let watched = Counts::of_look(conn, &story.campaign, due, &taken)?.watched;
                Ok::<_, letterlab::db::DbError>((taken, watched.unwrap()))
            })
            .unwrap();
        ledger.write(|conn| events::save_look(conn, number, due, &taken)).unwrap();
        story.campaign.looked_at = Some(due);
        let page = |campaign: &Campaign| ledger.read(|conn| results(conn, campaign, due)).unwrap().anytime.unwrap();
        let without = page(&story.campaign);
        ledger.write(|conn| events::keep_frozen_replay(conn, number, &replay::to_text(&watched)?)).unwrap();
        // The first successes are not looked at any more.
        story.world.sql(Room::Ledger, "UPDATE look SET firsts = '[]'");
        let with = page(&story.campaign);
        assert_eq!(with, without);
        assert!(with.variants[0].band.len() > 40, "{}", with.variants[0].band.len());
        clear(&story);
    }
}
