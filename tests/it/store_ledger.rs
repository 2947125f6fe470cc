//! The ledger of events, function by function.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use letterlab::db::LedgerDb;
use letterlab::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use letterlab::ledger::event::{Event, EventKind, Hit, Whose};
use letterlab::ledger::projection;
use letterlab::ledger::store::{self, Counter};
use letterlab::ledger::subject::{Part, State, Subject, Tally};
use letterlab::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};

use crate::world::{Engine, Room, World, on_both_engines};

on_both_engines!(
    an_event_reads_back_as_it_was_written_and_is_stored_once,
    events_come_in_order_page_by_page,
    writers_at_the_same_time_leave_no_gap_behind_the_cursor,
    recipients_are_enrolled_once_and_counted_by_arm,
    states_and_tallies_add_up,
    what_is_counted_while_it_is_stored_counts_as_it_would_later,
    withdrawing_deletes_hits_and_nothing_else,
    a_hit_that_comes_after_the_withdrawal_is_left_out,
    counters_count,
);

const CAMPAIGN: CampaignNumber = CampaignNumber(7);

/// A ledger with a campaign for events to belong to.
async fn with_campaign(engine: Engine) -> World {
    let world = World::new(engine).await;
    let columns = "number, name, state, definition, created_at";
    world.sql(Room::Ledger, &format!("INSERT INTO campaign ({columns}) VALUES ({CAMPAIGN}, 'seven', 'draft', '{{}}', 0)"));
    world
}

fn pseudonym(number: u8) -> Pseudonym {
    Pseudonym::from_bytes([number; 16])
}

fn event(number: u16, whose: u8, kind: EventKind) -> Event {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    let is_hit = matches!(kind, EventKind::Open | EventKind::Click);
    let hit = Hit {
        link: (kind == EventKind::Click).then_some(LinkNumber(3)),
        verdict: Verdict { class: Class::Human, confidence: Confidence::Strong, reasons: Reasons::BROWSER, ruleset: 1 },
        family: ClientFamily::ALL[0],
        device: DeviceClass::Phone,
        multiplicity: 1,
    };
    Event {
        id: EventId::from_bytes(id),
        campaign: CAMPAIGN,
        whose: Whose::Recipient(pseudonym(whose)),
        kind,
        at: Timestamp::from_millisecond(1_790_000_000_123 + i64::from(number)).unwrap(),
        hit: is_hit.then_some(hit),
        reason: (kind == EventKind::Bounced).then(|| "hard".to_owned()),
    }
}

fn subject(number: u8, variant: u8) -> Subject {
    Subject {
        pseudonym: pseudonym(number),
        campaign: CAMPAIGN,
        variant: VariantNumber(variant),
        part: Part::Test,
        stratum: "other/pseudonymous".to_owned(),
        recording: RecordingMode::Pseudonymous,
    }
}

fn append(ledger: &LedgerDb, events: &[Event]) -> usize {
    ledger.write(|conn| store::append(conn, events)).unwrap()
}

fn counted(ledger: &LedgerDb, what: Counter) -> i64 {
    ledger.read(|conn| store::counted(conn, what)).unwrap()
}

async fn an_event_reads_back_as_it_was_written_and_is_stored_once(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    let mut events: Vec<Event> = (0u16..).zip(EventKind::ALL).map(|(number, kind)| event(number, 1, kind)).collect();
    events.push(Event { whose: Whose::Arm { variant: VariantNumber(2), part: Part::Rest }, ..event(100, 1, EventKind::Open) });
    assert_eq!(append(ledger, &events), events.len());
    assert_eq!(append(ledger, &events[..4]), 0, "known already");
    assert_eq!(append(ledger, &[]), 0);
    let (read, last) = ledger.read(|conn| store::events_after(conn, 0, 100)).unwrap();
    assert_eq!((read, last), (events.clone(), i64::try_from(events.len()).unwrap()));
    assert!(ledger.read(|conn| store::has_event(conn, events[3].id)).unwrap());
    assert!(!ledger.read(|conn| store::has_event(conn, EventId::from_bytes([9; 16]))).unwrap());
    projection::advance(ledger).unwrap();
    clear(&world);
}

async fn events_come_in_order_page_by_page(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    for number in 0..10 {
        append(
            ledger,
            &[event(number, 1, EventKind::Sent), Event { campaign: CampaignNumber(8), ..event(100 + number, 1, EventKind::Sent) }],
        );
    }
    let (mut cursor, mut read) = (0, 0);
    loop {
        let (events, last) = ledger.read(|conn| store::events_after(conn, cursor, 3)).unwrap();
        if events.is_empty() {
            assert_eq!(last, cursor);
            break;
        }
        (read, cursor) = (read + events.len(), last);
    }
    assert_eq!((read, cursor), (20, 20));
    let (events, last) = ledger.read(|conn| store::events_of_campaign(conn, CAMPAIGN, 4..=10, 100)).unwrap();
    assert_eq!((events.len(), last), (3, 9), "after the start up to the end, of this campaign");
    assert!(events.iter().all(|event| event.campaign == CAMPAIGN));
    clear(&world);
}

async fn writers_at_the_same_time_leave_no_gap_behind_the_cursor(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = world.lab.ledger.clone();
    ledger.write(|conn| store::enrol(conn, &(0..8).map(|number| subject(number, number % 2)).collect::<Vec<_>>())).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4u16 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..25 {
                    // Every third event is one that was written before.
                    let number = if number % 3 == 2 { number - 1 } else { number };
                    append(ledger, &[event(writer * 100 + number, u8::try_from(writer * 2 + number % 2).unwrap(), EventKind::Click)]);
                }
            });
        }
        for _ in 0..20 {
            projection::advance(&ledger).unwrap();
        }
    });
    while projection::advance(&ledger).unwrap() > 0 {}
    assert_eq!(counted(&ledger, Counter::EventSeq), counted(&ledger, Counter::ProjectedSeq));
    let hits: i64 = ledger
        .read(|conn| store::tallies(conn, CAMPAIGN))
        .unwrap()
        .iter()
        .filter(|((_, _, name), _)| name.contains("link"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(hits, 4 * 17, "each event was counted once");
    let verified = ledger.read(|conn| projection::verify(conn, CAMPAIGN)).unwrap();
    assert_eq!((verified.events, verified.differences), (68, Vec::<String>::new()));
    clear(&world);
}

async fn recipients_are_enrolled_once_and_counted_by_arm(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    let mut subjects: Vec<Subject> = (1..=5).map(|number| subject(number, number % 2)).collect();
    subjects.push(Subject { part: Part::Rest, recording: RecordingMode::Aggregate, ..subject(6, 1) });
    let enrol = |some: &[Subject]| ledger.write(|conn| store::enrol(conn, some)).unwrap();
    assert_eq!((enrol(&subjects[..3]), enrol(&subjects), enrol(&subjects)), (3, 3, 0));
    let arms = ledger.read(|conn| store::enrolled(conn, CAMPAIGN)).unwrap();
    let expected = [((Part::Test, VariantNumber(0)), 2), ((Part::Test, VariantNumber(1)), 3), ((Part::Rest, VariantNumber(1)), 1)];
    assert_eq!(arms, BTreeMap::from(expected));
    assert!(ledger.read(|conn| store::enrolled(conn, CampaignNumber(8))).unwrap().is_empty());
    let all: HashSet<Pseudonym> = (1..=9).map(pseudonym).collect();
    let placed = ledger.read(|conn| store::placed(conn, &all)).unwrap();
    assert_eq!(placed.len(), 6, "unknown ones are missing");
    assert_eq!((placed[&pseudonym(6)].part, placed[&pseudonym(6)].measured, placed[&pseudonym(1)].measured), (Part::Rest, false, true));
    clear(&world);
}

async fn states_and_tallies_add_up(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0)])).unwrap();
    let state = State { delivery: 1, opens: 33, clicks: 2, first_open_at: Some(5), first_click_at: None };
    ledger.write(|conn| store::save_states(conn, &[(pseudonym(1), state)])).unwrap();
    assert_eq!(ledger.read(|conn| store::placed(conn, &HashSet::from([pseudonym(1)]))).unwrap()[&pseudonym(1)].state, state);

    let key = |name: &str| (CAMPAIGN, Part::Test, VariantNumber(0), name.to_owned());
    let save = |name: &str, by, cursor| {
        let changes = BTreeMap::from([(key(name), by), (key("nothing"), 0)]);
        ledger.write(|conn| store::save_tallies(conn, &changes, cursor)).unwrap();
    };
    save("sent", 5, 1);
    save("sent", -2, 2);
    let tallies = ledger.read(|conn| store::tallies(conn, CAMPAIGN)).unwrap();
    assert_eq!(tallies, BTreeMap::from([((Part::Test, VariantNumber(0), "sent".to_owned()), 3)]));
    assert_eq!(counted(ledger, Counter::ProjectedSeq), 2);

    ledger.write(store::reset_projection).unwrap();
    assert!(ledger.read(|conn| store::tallies(conn, CAMPAIGN)).unwrap().is_empty());
    assert_eq!(ledger.read(|conn| store::placed(conn, &HashSet::from([pseudonym(1)]))).unwrap()[&pseudonym(1)].state, State::default());
    assert_eq!(counted(ledger, Counter::ProjectedSeq), 0);
    clear(&world);
}

async fn what_is_counted_while_it_is_stored_counts_as_it_would_later(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 1)])).unwrap();
    let follow = |events: &[Event]| {
        ledger.write(|conn| {
            let before = store::count(conn, Counter::EventSeq, 0)?;
            assert_eq!(store::append(conn, events)?, events.len());
            projection::follow(conn, events, before)
        })
    };
    let everything = || {
        let tallies = ledger.read(|conn| store::tallies(conn, CAMPAIGN)).unwrap();
        let placed = ledger.read(|conn| store::placed(conn, &HashSet::from([1, 2].map(pseudonym)))).unwrap();
        let states: BTreeMap<Pseudonym, State> = placed.into_iter().map(|(one, placed)| (one, placed.state)).collect();
        let due = ledger.read(|conn| store::letters_to_judge(conn, Timestamp::MAX)).unwrap();
        (tallies, states, due, counted(ledger, Counter::ProjectedSeq))
    };
    assert!(follow(&[event(1, 1, EventKind::Sent), event(2, 2, EventKind::Sent), event(3, 1, EventKind::Open)]).unwrap());
    assert!(follow(&[event(4, 1, EventKind::Click), event(5, 2, EventKind::Click), event(6, 2, EventKind::Click)]).unwrap());
    assert_eq!(projection::advance(ledger).unwrap(), 0, "nothing is left to count");
    let (at_once, enrolled) = (everything(), ledger.read(|conn| store::enrolled(conn, CAMPAIGN)).unwrap());
    assert_eq!((at_once.2.1, at_once.3), (2, 6), "both letters will be judged, every event is counted");

    ledger.write(store::reset_projection).unwrap();
    assert_eq!(ledger.read(|conn| store::enrolled(conn, CAMPAIGN)).unwrap(), enrolled, "no event tells who was enrolled");
    assert!(!follow(&[event(7, 1, EventKind::Open)]).unwrap(), "earlier ones wait");
    while projection::advance(ledger).unwrap() > 0 {}
    let (mut later, hits) = (everything(), (Part::Test, VariantNumber(0), "open hits human".to_owned()));
    assert_eq!((later.0.insert(hits, 1), later.3), (Some(2), 7));
    assert_eq!((later.0, later.1, later.2), (at_once.0, at_once.1, at_once.2));
    clear(&world);
}

async fn withdrawing_deletes_hits_and_nothing_else(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 0)])).unwrap();
    let before = [event(1, 1, EventKind::Sent), event(2, 1, EventKind::Open), event(3, 2, EventKind::Open), event(4, 2, EventKind::Sent)];
    append(ledger, &before);
    projection::advance(ledger).unwrap();
    append(ledger, &[event(5, 1, EventKind::Click)]);
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let removed = ledger
        .write(|conn| {
            store::withdraw(conn, &[pseudonym(1)], now)?;
            store::withdraw(conn, &[pseudonym(1)], now)?;
            store::delete_hits(conn, pseudonym(1))
        })
        .unwrap();
    assert_eq!(removed, [before[1].clone()], "the ones already counted");
    let left: Vec<EventId> = ledger.read(|conn| store::events_after(conn, 0, 100)).unwrap().0.into_iter().map(|event| event.id).collect();
    assert_eq!(left, [before[0].id, before[2].id, before[3].id]);
    assert_eq!(counted(ledger, Counter::DeletedHits), 2);
    let since = |moment: Timestamp| ledger.read(|conn| store::withdrawn_since(conn, moment)).unwrap();
    assert_eq!((since(now), since(Timestamp::UNIX_EPOCH)), (vec![pseudonym(1)], vec![pseudonym(1)]));
    assert_eq!(since(now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap()), []);
    assert!(!ledger.read(|conn| store::placed(conn, &HashSet::from([pseudonym(1)]))).unwrap()[&pseudonym(1)].measured);
    clear(&world);
}

async fn a_hit_that_comes_after_the_withdrawal_is_left_out(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 0)])).unwrap();
    projection::withdraw(ledger, &[pseudonym(1)], Timestamp::from_second(1_790_000_000).unwrap()).unwrap();
    let arm = Event { whose: Whose::Arm { variant: VariantNumber(0), part: Part::Test }, ..event(3, 1, EventKind::Open) };
    let hits = [event(1, 1, EventKind::Open), event(2, 2, EventKind::Open), arm];
    assert_eq!(ledger.write(|conn| store::append_hits(conn, &hits)).unwrap(), (2, 1));
    assert_eq!(ledger.write(|conn| store::append_hits(conn, &hits)).unwrap(), (0, 1));
    assert!(!ledger.read(|conn| store::has_event(conn, hits[0].id)).unwrap());
    while projection::advance(ledger).unwrap() > 0 {}
    let tallies = ledger.read(|conn| store::tallies(conn, CAMPAIGN)).unwrap();
    assert_eq!(tallies.get(&(Part::Test, VariantNumber(0), Tally::OpenRaw.as_str().to_owned())), None, "neither was sent a letter");
    clear(&world);
}

async fn counters_count(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    let all = [
        Counter::EventSeq,
        Counter::ProjectedSeq,
        Counter::RefusedHits,
        Counter::UnrecordedHits,
        Counter::StoredHits,
        Counter::DeletedHits,
    ];
    for (by, counter) in (1..).zip(all) {
        assert_eq!(counted(ledger, counter), 0);
        assert_eq!(ledger.write(|conn| store::count(conn, counter, by)).unwrap(), by);
        assert_eq!(ledger.write(|conn| store::count(conn, counter, 10)).unwrap(), by + 10);
        assert_eq!(counted(ledger, counter), by + 10);
    }
    clear(&world);
}

/// These tests write what no Letterlab would; the world's own accounts are not theirs.
fn clear(world: &World) {
    for table in ["event", "tally", "subject", "withdrawal", "campaign"] {
        world.sql(Room::Ledger, &format!("DELETE FROM {table}"));
    }
    world.sql(Room::Ledger, "UPDATE counter SET value = 0");
}
