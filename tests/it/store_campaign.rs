//! The shelf of campaigns, function by function.

use jiff::Timestamp;
use letterlab::campaign::definition::Definition;
use letterlab::campaign::file;
use letterlab::campaign::state::State;
use letterlab::campaign::store::{self, Campaign, Choice, Link, Sealed};
use letterlab::db::LedgerDb;
use letterlab::ids::{CampaignNumber, LinkNumber, VariantNumber};

use crate::world::{Engine, World, campaign, on_both_engines};

on_both_engines!(
    numbers_count_up_and_names_are_unique,
    a_campaign_reads_back_as_it_was_written,
    of_two_that_seal_one_does,
    a_step_is_taken_once_and_stamped,
    a_choice_is_made_once_and_while_observing_only,
    of_a_choice_and_an_end_at_the_same_time_one_is_first,
    a_pause_keeps_its_reason,
    campaigns_are_found_by_state_oldest_first,
);

fn definition(name: &str) -> Definition {
    file::read(&campaign(name), &|_| Err(String::new())).unwrap()
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + hour * 3600).unwrap()
}

fn create(ledger: &LedgerDb, name: &str) -> CampaignNumber {
    ledger.write(|conn| store::create(conn, &definition(name), at(0))).unwrap()
}

fn stored(ledger: &LedgerDb, number: CampaignNumber) -> Campaign {
    ledger.read(|conn| store::by_number(conn, number)).unwrap().unwrap()
}

async fn numbers_count_up_and_names_are_unique(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    assert_eq!((create(ledger, "a"), create(ledger, "b")), (CampaignNumber(1), CampaignNumber(2)));
    let again = ledger.write(|conn| store::create(conn, &definition("a"), at(1))).unwrap_err();
    assert!(again.is_duplicate(), "{again:?}");
    assert!(ledger.write(|conn| store::replace_draft(conn, CampaignNumber(2), &definition("a"))).unwrap_err().is_duplicate());
    let names: Vec<String> = ledger.read(store::all).unwrap().into_iter().map(|campaign| campaign.definition.name).collect();
    assert_eq!(names, ["b", "a"], "the newest first");
    assert!(ledger.read(|conn| store::by_number(conn, CampaignNumber(3))).unwrap().is_none());
    assert!(ledger.read(|conn| store::by_name(conn, "c")).unwrap().is_none());
    ledger.read(store::ping).unwrap();
}

async fn a_campaign_reads_back_as_it_was_written(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    let number = create(ledger, "a");
    let read = ledger.read(|conn| store::by_name(conn, "a")).unwrap().unwrap();
    assert_eq!((read.number, read.state, read.created_at, &read.definition), (number, State::Draft, at(0), &definition("a")));
    assert!(read.sealed.is_none() && read.paused.is_none() && read.chosen.is_none() && read.enrolled_at.is_none());
    assert!(ledger.write(|conn| store::replace_draft(conn, number, &definition("z"))).unwrap());
    assert_eq!(stored(ledger, number).definition, definition("z"));
    assert!(ledger.write(|conn| store::delete_draft(conn, number)).unwrap());
    assert!(!ledger.write(|conn| store::delete_draft(conn, number)).unwrap());
}

async fn of_two_that_seal_one_does(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    let number = create(ledger, "a");
    let seal = |byte: u8| {
        let sealed = Sealed { hash: format!("hash {byte}"), seed: [byte; 32], at: at(1) };
        let url = format!("https://shop.example/{byte}");
        let link = Link { variant: VariantNumber(1), number: LinkNumber(2), url };
        ledger.write(|conn| store::seal(conn, number, &sealed, &[link])).unwrap()
    };
    let sealed: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4).map(|byte| scope.spawn(move || seal(byte))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(sealed.iter().filter(|done| **done).count(), 1);
    let read = stored(ledger, number);
    let seal = read.sealed.unwrap();
    let links = ledger.read(|conn| store::links(conn, number)).unwrap();
    assert_eq!((read.state, seal.hash, links.len()), (State::Sealed, format!("hash {}", seal.seed[0]), 1));
    assert_eq!(links[0].url, format!("https://shop.example/{}", seal.seed[0]), "the links are those of the one that did it");
    assert!(!ledger.write(|conn| store::replace_draft(conn, number, &definition("z"))).unwrap());
    assert!(!ledger.write(|conn| store::delete_draft(conn, number)).unwrap());
}

async fn a_step_is_taken_once_and_stamped(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    let number = create(ledger, "a");
    let advance = |from, to, hour| ledger.write(|conn| store::advance(conn, number, from, to, at(hour))).unwrap();
    assert!(!advance(State::Draft, State::Sending, 1), "no step is left out");
    let sealed = Sealed { hash: String::new(), seed: [0; 32], at: at(1) };
    assert!(ledger.write(|conn| store::seal(conn, number, &sealed, &[])).unwrap());
    for (hour, (from, to)) in (2..).zip([
        (State::Sealed, State::Sending),
        (State::Sending, State::Observing),
        (State::Observing, State::Decided),
        (State::Decided, State::Closed),
    ]) {
        assert!(advance(from, to, hour));
        assert!(!advance(from, to, hour + 10), "once");
        assert!(!advance(to, from, hour + 10), "not back");
    }
    ledger.write(|conn| store::mark_enrolled(conn, number, at(7))).unwrap();
    ledger.write(|conn| store::mark_enrolled(conn, number, at(8))).unwrap();
    let read = stored(ledger, number);
    let times = [read.sending_at, read.observing_at, read.decided_at, read.closed_at, read.enrolled_at];
    assert_eq!(times, [2, 3, 4, 5, 7].map(|hour| Some(at(hour))));
    // The story of this world ends here: nobody was ever enrolled.
    world.sql(crate::world::Room::Ledger, "DELETE FROM campaign");
}

fn choice(variant: u8, by: &str) -> Choice<'_> {
    Choice { variant: VariantNumber(variant), by, against: (variant == 0).then_some("though the plan says B"), at: at(9) }
}

/// A campaign that is observing.
fn observing(ledger: &LedgerDb, name: &str) -> CampaignNumber {
    let number = create(ledger, name);
    let sealed = Sealed { hash: String::new(), seed: [0; 32], at: at(1) };
    assert!(ledger.write(|conn| store::seal(conn, number, &sealed, &[])).unwrap());
    for (from, to) in [(State::Sealed, State::Sending), (State::Sending, State::Observing)] {
        assert!(ledger.write(|conn| store::advance(conn, number, from, to, at(2))).unwrap());
    }
    number
}

async fn a_choice_is_made_once_and_while_observing_only(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    let choose = |number, variant, by: &str| ledger.write(|conn| store::choose(conn, number, choice(variant, by))).unwrap();
    let draft = create(ledger, "draft");
    assert!(!choose(draft, 1, "somebody"), "nothing is observed yet");
    let number = observing(ledger, "a");
    assert!(choose(number, 0, "somebody"));
    assert!(!choose(number, 1, "somebody else"));
    let read = stored(ledger, number);
    assert_eq!((read.chosen, read.chosen_at), (Some((VariantNumber(0), "somebody".to_owned())), Some(at(9))));
    assert_eq!(read.chosen_against.as_deref(), Some("though the plan says B"));
    let closed = observing(ledger, "closed");
    assert!(ledger.write(|conn| store::advance(conn, closed, State::Observing, State::Closed, at(3))).unwrap());
    assert!(!choose(closed, 1, "somebody"), "what is closed stays closed");
    assert_eq!(stored(ledger, closed).chosen, None);
    world.sql(crate::world::Room::Ledger, "DELETE FROM campaign");
}

async fn of_a_choice_and_an_end_at_the_same_time_one_is_first(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    for round in 0..10 {
        let number = observing(ledger, &format!("race-{round}"));
        let gate = std::sync::Barrier::new(3);
        let (chosen, other, closed) = std::thread::scope(|scope| {
            let choose = |variant| {
                gate.wait();
                ledger.write(|conn| store::choose(conn, number, choice(variant, "somebody"))).unwrap()
            };
            let first = scope.spawn(move || choose(1));
            let second = scope.spawn(move || choose(0));
            let end = scope.spawn(|| {
                gate.wait();
                ledger.write(|conn| store::advance(conn, number, State::Observing, State::Closed, at(3))).unwrap()
            });
            (first.join().unwrap(), second.join().unwrap(), end.join().unwrap())
        });
        assert!(closed, "an end needs no choice");
        assert!(!(chosen && other), "one choice at most");
        assert_eq!(stored(ledger, number).chosen.map(|(variant, _)| variant.0), if chosen { Some(1) } else { other.then_some(0) });
    }
    world.sql(crate::world::Room::Ledger, "DELETE FROM campaign");
}

async fn a_pause_keeps_its_reason(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    let number = create(ledger, "a");
    let pause = |reason: Option<&str>, second| {
        ledger.write(|conn| store::pause(conn, number, reason, at(second))).unwrap();
        stored(ledger, number).paused
    };
    assert_eq!(pause(Some("a typo"), 1), Some("a typo".to_owned()));
    assert_eq!(pause(Some("another"), 2), Some("another".to_owned()));
    assert_eq!(pause(None, 3), None);
    assert_eq!(pause(None, 4), None);
    assert_eq!(pause(Some("once more"), 5), Some("once more".to_owned()));
    let pauses = ledger.read(|conn| store::pauses(conn, number)).unwrap();
    let times: Vec<_> = pauses.into_iter().map(|pause| (pause.at, pause.until, pause.reason)).collect();
    assert_eq!(times, [(at(1), Some(at(3)), "a typo".to_owned()), (at(5), None, "once more".to_owned())]);
}

async fn campaigns_are_found_by_state_oldest_first(engine: Engine) {
    let world = World::new(engine).await;
    let ledger = &world.lab.ledger;
    for name in ["a", "b", "c"] {
        let number = create(ledger, name);
        if name != "b" {
            let sealed = Sealed { hash: String::new(), seed: [0; 32], at: at(1) };
            ledger.write(|conn| store::seal(conn, number, &sealed, &[])).unwrap();
        }
    }
    let named = |states: &[State]| -> Vec<String> {
        ledger.read(|conn| store::in_states(conn, states)).unwrap().into_iter().map(|campaign| campaign.definition.name).collect()
    };
    assert_eq!(named(&[State::Sealed]), ["a", "c"]);
    assert_eq!(named(&[State::Draft, State::Sealed]), ["a", "b", "c"]);
    assert_eq!(named(&[]), Vec::<String>::new());
    let states: Vec<State> = ledger.read(store::states).unwrap().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [State::Sealed, State::Draft, State::Sealed]);
}
