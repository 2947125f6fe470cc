//! The ledger of events, function by function.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use letterlab::db::LedgerDb;
use letterlab::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use letterlab::ledger::event::{Event, EventKind, Hit, Whose};
use letterlab::ledger::filing;
use letterlab::ledger::projection::{self, Verified};
use letterlab::ledger::rebuild::{self, Rebuilt};
use letterlab::ledger::store::{self, Counter};
use letterlab::ledger::subject::{Part, State, Subject, Tally};
use letterlab::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};

use crate::world::{Engine, Room, World, on_both_engines};

on_both_engines!(
    an_event_reads_back_as_it_was_written_and_is_stored_once,
    of_very_many_events_at_once_only_new_ones_are_stored,
    a_letter_opened_again_and_again_is_not_written_every_time,
    events_come_in_order_page_by_page,
    writers_at_the_same_time_leave_no_gap_behind_the_cursor,
    recipients_are_enrolled_once_and_counted_by_arm,
    states_and_tallies_add_up,
    what_is_counted_while_it_is_stored_counts_as_it_would_later,
    a_letters_events_are_found_whether_they_are_filed_or_not,
    what_is_being_filed_when_a_rebuild_begins_is_filed_all_the_same,
    what_is_withdrawn_while_it_is_being_filed_leaves_nothing,
    events_that_no_loader_files_are_filed_after_a_while,
    withdrawing_deletes_hits_and_nothing_else,
    a_hit_that_comes_after_the_withdrawal_is_left_out,
    whatever_is_wrong_with_states_and_counts_is_found_and_mended,
    a_rebuild_that_was_stopped_goes_on_where_it_was,
    hits_that_come_during_a_rebuild_and_a_verification_are_counted_right,
    a_snapshot_shows_the_ledger_as_it_was_when_it_began,
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

async fn of_very_many_events_at_once_only_new_ones_are_stored(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    let numbered =
        |numbers: std::ops::Range<u16>| numbers.map(|number| event(number, (number % 200) as u8, EventKind::ALL[usize::from(number % 10)]));
    let some: Vec<Event> = numbered(0..1200).collect();
    assert_eq!(append(ledger, &some), 1200);
    // Known ones among them, and one twice.
    let more: Vec<Event> = numbered(1000..2200).chain(numbered(2199..2200)).collect();
    assert_eq!(append(ledger, &more), 1000);
    let arm = |event: Event| Event { whose: Whose::Arm { variant: VariantNumber(1), part: Part::Test }, ..event };
    let arms: Vec<Event> = (3000..3600).map(|number| arm(event(number, 0, EventKind::Open))).collect();
    assert_eq!(append(ledger, &arms), 600);
    let (read, _) = ledger.read(|conn| store::events_after(conn, 0, 9000)).unwrap();
    let expected: Vec<Event> = some.iter().chain(&more[200..1200]).chain(&arms).cloned().collect();
    assert!(read == expected, "as written, in order");
    assert_eq!(counted(ledger, Counter::EventSeq), 1200 + 1201 + 600);
    clear(&world);
}

async fn a_letter_opened_again_and_again_is_not_written_every_time(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 0)])).unwrap();
    let opened = |number: u16, whose: u8, second: i64| {
        let at = Timestamp::from_second(1_790_000_000 + second).unwrap();
        append(ledger, &[Event { at, ..event(number, whose, EventKind::Open) }]);
        projection::advance(ledger).unwrap();
    };
    let due_by = |second: i64| {
        let now = Timestamp::from_second(1_790_000_000 + second).unwrap();
        ledger.read(|conn| store::to_judge(conn, now, 10)).unwrap()
    };
    let (one, other) = (pseudonym(1), pseudonym(2));
    opened(0, 1, 0);
    assert_eq!((due_by(599), due_by(600)), (vec![], vec![one]), "a new letter is looked at once it has been quiet");
    opened(1, 1, 59);
    assert_eq!(due_by(600), [one], "soon enough: it is looked at again then");
    opened(2, 1, 60);
    assert_eq!((due_by(659), due_by(660)), (vec![], vec![one]));
    // Its hits were judged, to be final in a day: a new one is looked at earlier.
    ledger.write(|conn| store::await_judgement(conn, &[one], Some(1_790_000_000_000 + 86_400_000))).unwrap();
    opened(3, 1, 700);
    opened(4, 2, 701);
    assert_eq!((due_by(1299), due_by(1300), due_by(1301)), (vec![], vec![one], vec![one, other]));
    assert!(verify(ledger).differences.is_empty());
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

async fn a_letters_events_are_found_whether_they_are_filed_or_not(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 0), subject(3, 1)])).unwrap();
    let kinds = [EventKind::Sent, EventKind::Open, EventKind::Click];
    let some = |numbers: std::ops::Range<u16>| -> Vec<Event> {
        numbers.map(|number| event(number, u8::try_from(number % 3 + 1).unwrap(), kinds[usize::from(number / 3 % 3)])).collect()
    };
    let arm = Event { whose: Whose::Arm { variant: VariantNumber(0), part: Part::Test }, ..event(999, 1, EventKind::Open) };
    let expect = |until: u16, when: &str| {
        let asked = [pseudonym(1), pseudonym(3)];
        let letters = ledger.read(|conn| store::letters(conn, &asked, i64::from(until))).unwrap();
        let numbers = |whose: u8| -> Vec<i64> { letters[&pseudonym(whose)].iter().map(|hit| hit.seq).collect() };
        let expected = |rest: u16| -> Vec<i64> { (1..=until).filter(|seq| (seq - 1) % 3 == rest).map(i64::from).collect() };
        assert_eq!((letters.len(), numbers(1), numbers(3)), (2, expected(0), expected(2)), "{when}");
        let facts = ledger.read(|conn| store::facts_of_letters(conn, &asked, i64::from(until))).unwrap();
        assert_eq!(facts.len(), expected(0).len() + expected(2).len(), "{when}");
    };
    append(ledger, &some(0..12));
    assert_eq!(filing::unfiled(ledger).unwrap(), 12);
    expect(12, "nothing is filed");
    assert!(filing::file(ledger).unwrap());
    assert_eq!((filing::unfiled(ledger).unwrap(), counted(ledger, Counter::FiledSeq)), (0, 12));
    assert!(!filing::file(ledger).unwrap());
    expect(12, "all is filed");
    append(ledger, &some(12..24));
    append(ledger, &[arm]);
    expect(24, "half of it is filed");
    expect(15, "and some of it is not yet counted");
    // As a process leaves it that was killed in the middle.
    let begun = ledger.read(|conn| store::next_to_file(conn, 100)).unwrap();
    assert_eq!((begun.from, begun.until), (12, 25));
    let half = ledger.read(|conn| store::whose_between(conn, begun.from, begun.until)).unwrap();
    assert_eq!(half.len(), 12, "an arm's are nobody's");
    assert!(ledger.write(|conn| store::file(conn, begun, &half[..7])).unwrap());
    expect(24, "some is filed that nobody knows of");
    filing::keep_up(ledger, 13).unwrap();
    assert_eq!(filing::unfiled(ledger).unwrap(), 13, "few are looked through");
    assert!(filing::file(ledger).unwrap());
    expect(24, "and filed again");
    // Two nodes at once: the later one changes nothing.
    assert!(!ledger.write(|conn| store::file(conn, begun, &half)).unwrap());
    ledger.write(|conn| store::note_filed(conn, begun)).unwrap();
    assert_eq!(counted(ledger, Counter::FiledSeq), 25);
    // As a rebuild does it.
    ledger.write(store::file_again).unwrap();
    expect(24, "nothing is taken for filed");
    filing::keep_up(ledger, 0).unwrap();
    assert_eq!(counted(ledger, Counter::FiledSeq), 25);
    expect(24, "all is filed again");
    clear(&world);
}

async fn what_is_being_filed_when_a_rebuild_begins_is_filed_all_the_same(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 0)])).unwrap();
    append(ledger, &[event(1, 1, EventKind::Sent), event(2, 1, EventKind::Open), event(3, 2, EventKind::Open)]);
    while projection::advance(ledger).unwrap() > 0 {}
    // From the first event on, which is where a rebuild begins, too.
    let begun = ledger.read(|conn| store::next_to_file(conn, 100)).unwrap();
    let read = ledger.read(|conn| store::whose_between(conn, begun.from, begun.until)).unwrap();
    assert!(ledger.write(|conn| store::file(conn, begun, &read[..2])).unwrap());
    rebuild(ledger);
    assert!(ledger.write(|conn| store::file(conn, begun, &read[2..])).unwrap());
    ledger.write(|conn| store::note_filed(conn, begun)).unwrap();
    assert_eq!(counted(ledger, Counter::FiledSeq), 3);
    assert_eq!(verify(ledger).differences, Vec::<String>::new());
    world.check_filing();
    clear(&world);
}

async fn what_is_withdrawn_while_it_is_being_filed_leaves_nothing(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0), subject(2, 0)])).unwrap();
    append(ledger, &[event(1, 1, EventKind::Sent), event(2, 1, EventKind::Open), event(3, 2, EventKind::Open)]);
    filing::file(ledger).unwrap();
    append(ledger, &[event(4, 1, EventKind::Click), event(5, 2, EventKind::Click)]);
    while projection::advance(ledger).unwrap() > 0 {}
    // One node has read them and filed nothing, another has filed them without taking note of it.
    let begun = ledger.read(|conn| store::next_to_file(conn, 100)).unwrap();
    let read = ledger.read(|conn| store::whose_between(conn, begun.from, begun.until)).unwrap();
    assert!(ledger.write(|conn| store::file(conn, begun, &read)).unwrap());
    projection::withdraw(ledger, &[pseudonym(1)], Timestamp::from_second(1_790_000_000).unwrap()).unwrap();
    assert!(!ledger.write(|conn| store::file(conn, begun, &read)).unwrap(), "what was read may be gone");
    filing::file(ledger).unwrap();
    assert!(!ledger.write(|conn| store::file(conn, begun, &read)).unwrap(), "and is no more when others have filed it");
    let all = [pseudonym(1), pseudonym(2)];
    let letters = ledger.read(|conn| store::letters(conn, &all, 5)).unwrap();
    let numbers = |whose: u8| -> Vec<i64> { letters[&pseudonym(whose)].iter().map(|hit| hit.seq).collect() };
    assert_eq!((numbers(1), numbers(2)), (vec![1], vec![3, 5]));
    world.check_filing();
    clear(&world);
}

async fn events_that_no_loader_files_are_filed_after_a_while(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    let now = world.now();
    append(ledger, &[Event { at: now, ..event(1, 1, EventKind::Sent) }]);
    world.tidy();
    assert_eq!(filing::unfiled(ledger).unwrap(), 1, "not for one event by itself");
    world.wait(1);
    world.tidy();
    assert_eq!(filing::unfiled(ledger).unwrap(), 0);
    // Its node's clock was ahead.
    append(ledger, &[Event { at: world.now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap(), ..event(2, 1, EventKind::Sent) }]);
    world.tidy();
    assert_eq!(filing::unfiled(ledger).unwrap(), 0);
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
            store::delete_hits(conn, &[pseudonym(1)])
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

const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

fn verify(ledger: &LedgerDb) -> Verified {
    ledger.snapshot(|conn| projection::verify(conn, CAMPAIGN)).unwrap()
}

fn rebuild(ledger: &LedgerDb) -> Rebuilt {
    rebuild::run(ledger, Some(CAMPAIGN), &[CAMPAIGN], false, NOW, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// States, counts and letters to be judged: everything that follows from events.
type Everything = (BTreeMap<(Part, VariantNumber, String), i64>, BTreeMap<Pseudonym, State>, (i64, i64));

fn everything(ledger: &LedgerDb, recipients: impl Iterator<Item = Pseudonym>) -> Everything {
    ledger
        .snapshot(|conn| {
            let placed = store::placed(conn, &recipients.collect())?;
            let mut tallies = store::tallies(conn, CAMPAIGN)?;
            tallies.retain(|_, count| *count != 0);
            let states = placed.into_iter().map(|(one, placed)| (one, placed.state)).collect();
            Ok::<_, letterlab::db::DbError>((tallies, states, store::letters_to_judge(conn, Timestamp::MAX)?))
        })
        .unwrap()
}

async fn whatever_is_wrong_with_states_and_counts_is_found_and_mended(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    let mut subjects: Vec<Subject> = (1..=8).map(|number| subject(number, number % 2)).collect();
    subjects[5].part = Part::Rest;
    subjects[6].recording = RecordingMode::Aggregate;
    ledger.write(|conn| store::enrol(conn, &subjects)).unwrap();
    let sent = (1..=7).map(|whose| event(u16::from(whose), whose, EventKind::Sent));
    let hits = (1..=6)
        .flat_map(|whose| [event(100 + u16::from(whose), whose, EventKind::Open), event(200 + u16::from(whose), whose, EventKind::Click)]);
    let of_arms = [(301, EventKind::Open), (302, EventKind::Click)]
        .map(|(number, kind)| Event { whose: Whose::Arm { variant: VariantNumber(1), part: Part::Rest }, ..event(number, 1, kind) });
    let mut of_machines = event(303, 2, EventKind::Click);
    of_machines.hit = of_machines.hit.map(|hit| Hit { multiplicity: 0, ..hit });
    let nobody = event(304, 99, EventKind::Open);
    let bounced = event(305, 3, EventKind::Bounced);
    let all: Vec<Event> = sent.chain(hits).chain(of_arms).chain([of_machines, nobody, bounced]).collect();
    append(ledger, &all);
    while projection::advance(ledger).unwrap() > 0 {}
    projection::withdraw(ledger, &[pseudonym(5)], NOW).unwrap();
    let verified = verify(ledger);
    assert_eq!((verified.differences, verified.recipients), (Vec::new(), 7));
    let before = everything(ledger, (1..=8).map(pseudonym));
    let nothing_to_do = Rebuilt { recipients: 8, mended: 0, corrected: 0, is_finished: true };
    assert_eq!(rebuild(ledger), nothing_to_do);
    assert_eq!(everything(ledger, (1..=8).map(pseudonym)), before);

    let (third, first) = (pseudonym(3), pseudonym(1));
    let accidents = [
        (format!("UPDATE subject SET open_flags = 16 WHERE pseudonym = '{first}'"), "7/test/B: the states of 1 recipients", 1, 0),
        (format!("UPDATE subject SET first_click_at = 5 WHERE pseudonym = '{third}'"), "7/test/B: the states of 1 recipients", 1, 0),
        (
            format!("UPDATE subject SET delivery_flags = 1 WHERE pseudonym = '{}'", pseudonym(8)),
            "1 recipients have a state without events",
            1,
            0,
        ),
        ("UPDATE subject SET judge_at = NULL".to_owned(), "", 5, 0),
        ("UPDATE tally SET value = value + 3 WHERE name = 'open raw' AND variant = 0".to_owned(), "7/test/A/open raw: 5, 2", 0, 2),
        ("DELETE FROM tally WHERE name = 'link 3 clicks' AND part = 'rest'".to_owned(), "7/rest/B/link 3 clicks: 0, 1", 0, 2),
        ("UPDATE tally SET value = 0 WHERE name = 'click hits human'".to_owned(), "click hits human: 0, ", 0, 4),
        ("UPDATE tally SET value = 9 WHERE name = 'enrolled' AND part = 'rest'".to_owned(), "7/rest/A/enrolled: 9, 1", 0, 1),
        (
            "INSERT INTO tally (campaign, part, variant, name, value) VALUES (7, 'test', 3, 'made up', 4)".to_owned(),
            "7/test/D/made up: 4, 0",
            0,
            1,
        ),
    ];
    for (accident, told, mended, corrected) in &accidents {
        world.sql(Room::Ledger, accident);
        let found = verify(ledger).differences;
        assert_eq!(found.iter().any(|one| one.contains(told)), !told.is_empty(), "{accident}: {found:?}");
        let rebuilt = rebuild(ledger);
        // Counts follow states there and back again where a state is wrong.
        let corrected = if *mended > 0 { rebuilt.corrected } else { *corrected };
        assert_eq!(rebuilt, Rebuilt { mended: *mended, corrected, ..nothing_to_do }, "{accident}");
        assert_eq!(verify(ledger).differences, Vec::<String>::new(), "{accident}");
        assert_eq!(everything(ledger, (1..=8).map(pseudonym)).0, before.0, "{accident}");
        assert_eq!(everything(ledger, (1..=8).map(pseudonym)).1, before.1, "{accident}");
        assert_eq!(rebuild(ledger), nothing_to_do, "{accident}");
    }
    // What letters' events are found by is not derived, and made anew all the same.
    let of_first = format!("(SELECT MIN(seq) FROM filed WHERE pseudonym = '{first}')");
    for accident in [
        format!("DELETE FROM filed WHERE seq = {of_first}"),
        format!("UPDATE filed SET pseudonym = '{third}' WHERE seq = {of_first}"),
        format!("INSERT INTO filed (pseudonym, seq) VALUES ('{first}', (SELECT MIN(seq) FROM filed WHERE pseudonym = '{third}'))"),
    ] {
        while filing::file(ledger).unwrap() {}
        world.sql(Room::Ledger, &accident);
        let found = verify(ledger).differences;
        let told = if accident.starts_with("UPDATE") {
            "under others than their recipients"
        } else {
            "events are filed under their recipients, where"
        };
        assert!(found.len() == 1 && found[0].contains(told), "{accident}: {found:?}");
        assert_eq!(rebuild(ledger), nothing_to_do, "{accident}");
        assert_eq!(verify(ledger).differences, Vec::<String>::new(), "{accident}, before anything is filed again");
        while filing::file(ledger).unwrap() {}
        assert_eq!(verify(ledger).differences, Vec::<String>::new(), "{accident}");
    }
    // All at once, and folded over meanwhile by hits that trust what is wrong.
    for (accident, ..) in &accidents[..5] {
        world.sql(Room::Ledger, accident);
    }
    append(ledger, &[event(401, 1, EventKind::Open), event(402, 3, EventKind::Click)]);
    while projection::advance(ledger).unwrap() > 0 {}
    rebuild(ledger);
    assert_eq!(verify(ledger).differences, Vec::<String>::new());
    assert_eq!(everything(ledger, (1..=8).map(pseudonym)).1[&first], before.1[&first], "an open as there were before");
    // Two at the same time correct what is wrong once.
    for _ in 0..5 {
        world.sql(Room::Ledger, &accidents[4].0);
        std::thread::scope(|scope| {
            scope.spawn(|| rebuild(ledger));
            rebuild(ledger);
        });
        assert_eq!(verify(ledger).differences, Vec::<String>::new());
    }
    clear(&world);
}

/// Pseudonyms in the order of numbers.
fn one_of_many(number: u16) -> Pseudonym {
    let mut bytes = [7; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Pseudonym::from_bytes(bytes)
}

fn enrol_many(ledger: &LedgerDb, many: u16) {
    let subjects: Vec<Subject> =
        (0..many).map(|number| Subject { pseudonym: one_of_many(number), ..subject(1, u8::try_from(number % 2).unwrap()) }).collect();
    ledger.write(|conn| store::enrol(conn, &subjects)).unwrap();
    let sent: Vec<Event> =
        (0..many).map(|number| Event { whose: Whose::Recipient(one_of_many(number)), ..event(number, 1, EventKind::Sent) }).collect();
    append(ledger, &sent);
    while projection::advance(ledger).unwrap() > 0 {}
}

async fn a_rebuild_that_was_stopped_goes_on_where_it_was(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    enrol_many(ledger, 2_500);
    let before = everything(ledger, (0..2_500).map(one_of_many));
    world.sql(Room::Ledger, "UPDATE subject SET delivery_flags = 32");
    let stop = |after: u64, afresh: bool| {
        let mut told =
            |progress: &store::Progress| if progress.recipients >= after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        rebuild::run(ledger, None, &[CAMPAIGN], afresh, NOW, &mut told).unwrap()
    };
    let stopped = |recipients, mended, corrected| Rebuilt { recipients, mended, corrected, is_finished: false };
    // Sent, delivered, measured and bounced of two arms, as long as the states say so; then each mended state takes its counts with it.
    assert_eq!(stop(1, false), stopped(1_000, 1_000, 8));
    let found = verify(ledger).differences;
    assert!(["7/test/A", "7/test/B"].iter().all(|arm| found.contains(&format!("{arm}: the states of 750 recipients"))), "{found:?}");
    assert!(found.contains(&"7/test/A/sent: 500, 1250".to_owned()), "{found:?}");
    assert_eq!(stop(1_500, false), stopped(2_000, 2_000, 0), "the second thousand");
    assert_eq!(stop(1, true), stopped(1_000, 0, 0), "begun again");
    let late = NOW.checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    let begun = ledger.read(|conn| store::rebuild(conn, None)).unwrap().unwrap();
    assert_eq!((begun.began_at, begun.recipients), (NOW, 1_000));
    let done = rebuild::run(ledger, None, &[CAMPAIGN], false, late, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(done, Rebuilt { recipients: 2_500, mended: 500, corrected: 0, is_finished: true });
    assert_eq!(ledger.read(|conn| store::rebuild(conn, None)).unwrap(), None);
    assert_eq!(everything(ledger, (0..2_500).map(one_of_many)), before);
    clear(&world);
}

async fn hits_that_come_during_a_rebuild_and_a_verification_are_counted_right(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = world.lab.ledger.clone();
    enrol_many(&ledger, 2_500);
    let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let hit = |number: u16, whose: u16| {
        let kind = if number.is_multiple_of(3) { EventKind::Click } else { EventKind::Open };
        Event { whose: Whose::Recipient(one_of_many(whose)), ..event(number, 1, kind) }
    };
    let add = |hits: &[Event]| {
        ledger
            .write(|conn| {
                let before = store::count(conn, Counter::EventSeq, 0)?;
                store::append(conn, hits)?;
                projection::follow(conn, hits, before)
            })
            .unwrap()
    };
    let mut rounds = 0;
    let mended = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 10_000..50_000_u16 {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                add(&[hit(number, number.wrapping_mul(31) % 2_500)]);
                written.fetch_add(1, Ordering::SeqCst);
            }
        });
        // Until a good many came during all of this, and at least five times.
        while rounds < 5 || written.load(Ordering::SeqCst) < 200 {
            // The cursor first, as everybody who writes here does; on PostgreSQL these are one transaction.
            let accidents = "UPDATE subject SET click_flags = 8 WHERE variant = 1; UPDATE tally SET value = value + 17";
            world.sql(Room::Ledger, &format!("UPDATE counter SET value = value WHERE name = 'projected seq'; {accidents}"));
            let mut number = 50_000 + rounds * 10;
            // In the midst of it: one behind where it is, one before.
            let mut told = |_: &store::Progress| {
                add(&[hit(number, number % 900), hit(number + 1, 2_499 - number % 300)]);
                number += 2;
                ControlFlow::Continue(())
            };
            let rebuilt = rebuild::run(&ledger, Some(CAMPAIGN), &[CAMPAIGN], false, NOW, &mut told).unwrap();
            assert!(rebuilt.mended > 500 && rebuilt.corrected > 5, "{rebuilt:?}");
            let seen = verify(&ledger);
            assert_eq!(seen.differences, Vec::<String>::new(), "round {rounds}, {} events", seen.events);
            rounds += 1;
        }
        is_over.store(true, Ordering::SeqCst);
        rounds
    });
    let hits = written.load(Ordering::SeqCst) + usize::from(mended) * 6;
    let verified = verify(&ledger);
    assert_eq!((verified.differences, verified.events), (Vec::new(), 2_500 + hits as u64));
    let tallies = ledger.read(|conn| store::tallies(conn, CAMPAIGN)).unwrap();
    let counted: i64 = tallies.iter().filter(|((_, _, name), _)| name.contains(" hits ")).map(|(_, count)| count).sum();
    assert_eq!(counted, i64::try_from(hits).unwrap());
    clear(&world);
}

async fn a_snapshot_shows_the_ledger_as_it_was_when_it_began(engine: Engine) {
    let world = with_campaign(engine).await;
    let ledger = &world.lab.ledger;
    ledger.write(|conn| store::enrol(conn, &[subject(1, 0)])).unwrap();
    let come = |number: u16| {
        append(ledger, &[event(number, 1, EventKind::Open)]);
        projection::advance(ledger).unwrap()
    };
    come(1);
    let (before, after, verified) = ledger
        .snapshot(|conn| {
            let before = store::counted(conn, Counter::ProjectedSeq)?;
            assert_eq!((come(2), come(3)), (1, 1), "nobody waits for it");
            Ok::<_, letterlab::db::DbError>((before, store::counted(conn, Counter::EventSeq)?, projection::verify(conn, CAMPAIGN)?))
        })
        .unwrap();
    assert_eq!((before, after, verified.events, verified.differences), (1, 1, 1, Vec::new()));
    assert_eq!(verify(ledger).events, 3, "the next one shows what came");
    // Without one, a look in between two changes is seen half before and half after.
    let torn = ledger.read(|conn| {
        let tallies = store::tallies(conn, CAMPAIGN)?;
        come(4);
        Ok::<_, letterlab::db::DbError>(tallies != store::tallies(conn, CAMPAIGN)?)
    });
    assert!(torn.unwrap());
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
        Counter::Recounts,
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
    for table in ["event", "filed", "tally", "subject", "withdrawal", "campaign"] {
        world.sql(Room::Ledger, &format!("DELETE FROM {table}"));
    }
    world.sql(Room::Ledger, "UPDATE counter SET value = 0");
}
