//! Machines told from people by what else happened to the same letter, and what is kept of it afterwards.

use jiff::SignedDuration;
use letterlab::app::signals::reclassify;
use letterlab::ids::Pseudonym;
use letterlab::ledger::projection;
use letterlab::ledger::store::{self as events, JudgedHit};
use letterlab::ledger::subject::Tally;
use letterlab::signal::{Class, Confidence, HitKind, RULESET, Reasons, RequestFacts};

use crate::mailboxes::Message;
use crate::world::{APPLE_PREFETCH, Engine, FIREFOX, GMAIL_PROXY, Room, SCANNER, World, campaign, get, on_both_engines, people};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1";

on_both_engines!(
    a_burst_is_taken_for_a_machine_once_its_letter_is_quiet_and_a_later_reader_still_counts,
    pseudonyms_are_names_only_and_another_recipient_changes_nothing,
    a_click_after_the_letter_was_shown_counts_strictly,
    heads_on_several_links_give_their_machine_away,
    a_form_sent_after_a_link_was_followed_makes_the_click_certain,
    retries_are_one_hit_and_a_double_click_is_one_click,
    after_a_day_times_are_cut_to_the_hour_and_the_class_stays,
    a_letter_that_is_read_again_after_its_hits_were_final_is_judged_anew,
    judging_may_stop_anywhere_and_goes_on,
    a_newer_rule_set_is_run_over_stored_hits_by_command,
    the_trap_link_is_in_every_arm_and_tells_the_machine_that_follows_it,
    without_being_asked_for_there_is_no_trap_link,
    what_a_look_wrote_down_is_judged_first_and_does_not_move,
);

async fn sent(engine: Engine) -> World {
    World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await
}

fn seconds(world: &World, seconds: i64) {
    world.lab.clock.advance(SignedDuration::from_secs(seconds));
}

fn tally(world: &World, tally: Tally) -> i64 {
    world.tidy();
    named(world, tally.as_str())
}

fn named(world: &World, name: &str) -> i64 {
    let number = world.campaign("autumn").number;
    let tallies = world.lab.ledger.read(|conn| events::tallies(conn, number)).unwrap();
    tallies.iter().filter(|((_, _, word), _)| word == name).map(|(_, value)| value).sum()
}

/// A letter's hits in order, as they are stored.
fn stored(world: &World, letter: &Message) -> Vec<JudgedHit> {
    let whose: Pseudonym = world.pseudonym_of(letter);
    let found = world.lab.ledger.read(|conn| events::letters(conn, &[whose], i64::MAX)).unwrap();
    found[&whose].iter().filter(|one| one.event.hit.is_some()).cloned().collect()
}

fn classes(world: &World, letter: &Message) -> Vec<(Class, Confidence)> {
    let words = |one: JudgedHit| one.event.hit.map(|hit| (hit.verdict.class, hit.verdict.confidence)).unwrap();
    stored(world, letter).into_iter().map(words).collect()
}

async fn a_burst_is_taken_for_a_machine_once_its_letter_is_quiet_and_a_later_reader_still_counts(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    for link in letter.links() {
        world.click(&link, FIREFOX).await;
    }
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (1, 0), "not yet");
    assert_eq!((named(&world, "link 1 clicks"), world.status().letters_to_judge), (1, (0, 1)));
    seconds(&world, 599);
    assert_eq!(tally(&world, Tally::ClickStandard), 1, "not quiet for ten minutes");
    seconds(&world, 1);
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (0, 1));
    assert_eq!((tally(&world, Tally::OpenStandard), tally(&world, Tally::MachineOpen)), (0, 1), "the picture went with it");
    assert_eq!((tally(&world, Tally::ClickRaw), named(&world, "link 1 clicks")), (1, 0));
    let first = &stored(&world, &letter)[0];
    assert_eq!(first.first.unwrap().class, Class::Human, "what was said at first is kept");
    assert!(first.event.hit.unwrap().verdict.reasons.contains(Reasons::BURST));

    // Hits are classified, not people.
    seconds(&world, 300);
    world.click(&letter.links()[0], IPHONE).await;
    world.wait(1);
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (1, 1));
}

async fn pseudonyms_are_names_only_and_another_recipient_changes_nothing(engine: Engine) {
    let world = sent(engine).await;
    let (one, same, other) = (world.letter_to("p0@example.org"), world.letter_to("p1@example.org"), world.letter_to("p2@example.org"));
    for letter in [&one, &same] {
        world.open(&letter.pixel().unwrap(), GMAIL_PROXY).await;
        world.click(&letter.links()[0], FIREFOX).await;
    }
    seconds(&world, 5);
    for link in other.links() {
        world.click(&link, SCANNER).await;
        world.hit(HitKind::Click, &link, RequestFacts { method: "HEAD", ..get(FIREFOX) }).await;
    }
    world.wait(1);
    world.tidy();
    let found = classes(&world, &one);
    assert_eq!(found, [(Class::Proxied, Confidence::Certain), (Class::Human, Confidence::Strong)]);
    assert_eq!(classes(&world, &same), found);
    assert!(classes(&world, &other).iter().all(|(class, _)| *class == Class::Scanner));
    // The other comes back much later and amid nothing of theirs: what they did stays what it was.
    for link in other.links() {
        world.click(&link, FIREFOX).await;
    }
    world.wait(1);
    world.tidy();
    assert_eq!((classes(&world, &one), classes(&world, &same)), (found.clone(), found));
}

async fn a_click_after_the_letter_was_shown_counts_strictly(engine: Engine) {
    let world = sent(engine).await;
    let (shown, unseen, late) = (world.letter_to("p0@example.org"), world.letter_to("p1@example.org"), world.letter_to("p2@example.org"));
    world.open(&shown.pixel().unwrap(), GMAIL_PROXY).await;
    world.open(&unseen.pixel().unwrap(), APPLE_PREFETCH).await;
    seconds(&world, 20);
    world.click(&shown.links()[0], FIREFOX).await;
    world.click(&unseen.links()[0], IPHONE).await;
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ClickStrict)), (2, 0));
    world.wait(1);
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ClickStrict)), (2, 1));
    assert_eq!(classes(&world, &unseen)[1], (Class::Human, Confidence::Weak), "a prefetch shows nothing");
    // Machines come with the letter; who comes an hour after it, without one near, is a person.
    world.click(&late.links()[0], IPHONE).await;
    world.wait(1);
    assert_eq!(tally(&world, Tally::ClickStrict), 2);
    assert_eq!(world.results("autumn").countings.iter().find(|way| way.counting == "strict").unwrap().meaning, "people beyond doubt only");
}

async fn heads_on_several_links_give_their_machine_away(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    for link in letter.links() {
        world.hit(HitKind::Click, &link, RequestFacts { method: "HEAD", ..get(FIREFOX) }).await;
        seconds(&world, 5);
    }
    world.click(&letter.links()[1], FIREFOX).await;
    world.wait(1);
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (0, 1));
    assert_eq!(classes(&world, &letter)[2], (Class::Scanner, Confidence::Strong));
}

async fn a_form_sent_after_a_link_was_followed_makes_the_click_certain(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    world.click(&letter.links()[0], FIREFOX).await;
    seconds(&world, 90);
    assert!(world.unsubscribe(&letter));
    world.tidy();
    world.wait(1);
    assert_eq!((tally(&world, Tally::ClickStrict), tally(&world, Tally::Unsubscribed)), (1, 1));
    assert_eq!(classes(&world, &letter), [(Class::Human, Confidence::Certain)]);
}

async fn retries_are_one_hit_and_a_double_click_is_one_click(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    for _ in 0..4 {
        world.open(&letter.pixel().unwrap(), GMAIL_PROXY).await;
        world.click(&letter.links()[0], FIREFOX).await;
        seconds(&world, 2);
    }
    assert_eq!((tally(&world, Tally::ClickStandard), named(&world, "link 1 clicks")), (1, 4));
    world.wait(1);
    assert_eq!((tally(&world, Tally::ClickStandard), named(&world, "link 1 clicks")), (1, 1));
    // Every request stays counted, in one class.
    assert_eq!((named(&world, "open hits proxied"), named(&world, "click hits human")), (4, 4));
    let multiplicities: Vec<u16> = stored(&world, &letter).iter().map(|one| one.event.hit.unwrap().multiplicity).collect();
    assert_eq!(multiplicities, [4, 4, 0, 0, 0, 0, 0, 0]);
}

async fn after_a_day_times_are_cut_to_the_hour_and_the_class_stays(engine: Engine) {
    let world = World::with_campaign_sent(
        engine,
        &people(4).replace("p3@example.org,Pat3,pseudonymous", "p3@example.org,Pat3,aggregate"),
        &campaign("autumn").replace("observe_hours = 24", "observe_hours = 72"),
    )
    .await;
    seconds(&world, 1_234);
    let (letter, shared) = (world.letter_to("p1@example.org"), world.letter_to("p3@example.org"));
    let links = letter.links();
    for link in &links {
        world.click(link, FIREFOX).await;
    }
    world.open(&letter.pixel().unwrap(), GMAIL_PROXY).await;
    world.click(&shared.links()[0], FIREFOX).await;
    world.wait(1);
    world.tidy();
    let before = classes(&world, &letter);
    let exact = |world: &World| {
        let number = world.campaign("autumn").number;
        let (hits, _) = world.lab.ledger.read(|conn| events::events_of_campaign(conn, number, 0..=i64::MAX, 1000)).unwrap();
        let hits = hits.into_iter().filter(|event| event.hit.is_some());
        hits.filter(|event| event.at.as_millisecond() % 3_600_000 != 0).count()
    };
    let first_open = |world: &World| {
        let whose = world.pseudonym_of(&letter);
        world.lab.ledger.read(|conn| events::placed(conn, &[whose].into())).unwrap()[&whose].state.first_open_at.unwrap()
    };
    assert_eq!((exact(&world), first_open(&world) % 3_600_000), (4, 1_234_000));
    world.wait(22);
    world.tidy();
    assert_eq!(exact(&world), 4, "a rule may still need them");
    world.wait(1);
    world.tidy();
    seconds(&world, 1);
    world.tidy();
    assert_eq!((exact(&world), first_open(&world) % 3_600_000), (0, 0));
    assert_eq!(classes(&world, &letter), before);
    assert!(stored(&world, &letter).iter().all(|one| one.settled));
    assert_eq!((tally(&world, Tally::ScannerClick), world.status().letters_to_judge), (1, (0, 0)));
}

async fn a_letter_that_is_read_again_after_its_hits_were_final_is_judged_anew(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    world.click(&letter.links()[0], FIREFOX).await;
    world.wait(25);
    world.tidy();
    // To the hour, the two would be a burst with the first.
    world.click(&letter.links()[1], IPHONE).await;
    world.wait(1);
    world.tidy();
    assert_eq!(classes(&world, &letter).iter().map(|(class, _)| *class).collect::<Vec<_>>(), [Class::Human, Class::Human]);
    let settled: Vec<bool> = stored(&world, &letter).iter().map(|one| one.settled).collect();
    assert_eq!(settled, [true, false]);
}

async fn judging_may_stop_anywhere_and_goes_on(engine: Engine) {
    let mut world = sent(engine).await;
    for person in 0..4 {
        let letter = world.letter_to(&format!("p{person}@example.org"));
        for link in letter.links() {
            world.click(&link, FIREFOX).await;
        }
    }
    world.tidy();
    world.wait(1);
    // Another process at the same time: whatever either does is done once.
    let (other, writers) = world.another_process().unwrap();
    std::thread::scope(|scope| {
        for lab in [&world.lab, &other] {
            scope.spawn(move || while !letterlab::app::jobs::tidy(lab).unwrap().is_idle() {});
        }
    });
    drop(other);
    writers.join();
    world.restart();
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (0, 4));
    let number = world.campaign("autumn").number;
    let verified = world.lab.ledger.read(|conn| projection::verify(conn, number)).unwrap();
    assert_eq!(verified.differences, Vec::<String>::new());
    // From nothing again, classes and all.
    world.lab.ledger.write(events::reset_projection).unwrap();
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (0, 4));
}

async fn a_newer_rule_set_is_run_over_stored_hits_by_command(engine: Engine) {
    let world = sent(engine).await;
    let (open, done) = (world.letter_to("p1@example.org"), world.letter_to("p2@example.org"));
    world.click(&done.links()[0], SCANNER).await;
    world.load();
    // As an older Letterlab took them.
    let older = "UPDATE event SET class = 'unknown', confidence = 'weak', ruleset = 1 WHERE class = 'scanner'";
    world.sql(Room::Ledger, older);
    // Its own time has passed with the rules of then: final, and cut to the hour.
    world.sql(Room::Ledger, "UPDATE event SET settled = TRUE WHERE ruleset = 1");
    world.tidy();
    world.click(&open.links()[0], SCANNER).await;
    world.load();
    world.sql(Room::Ledger, older);
    world.lab.ledger.write(events::reset_projection).unwrap();
    assert_eq!((tally(&world, Tally::UnknownClick), tally(&world, Tally::ScannerClick)), (2, 0));
    let autumn = world.campaign("autumn");
    let dry = reclassify(&world.lab, &autumn, true).unwrap();
    assert_eq!((dry.changes.hits, dry.changes.changed, dry.changes.moves[&("click", Class::Unknown, Class::Scanner)]), (2, 2, 2));
    assert_eq!(tally(&world, Tally::UnknownClick), 2, "a dry run changes nothing");
    let done_now = reclassify(&world.lab, &autumn, false).unwrap();
    assert_eq!((done_now.changes, done_now.ruleset), (dry.changes, RULESET));
    assert_eq!((tally(&world, Tally::UnknownClick), tally(&world, Tally::ScannerClick)), (0, 2));
    assert_eq!(reclassify(&world.lab, &autumn, false).unwrap().changes.changed, 0, "again changes nothing");
    assert_eq!(stored(&world, &open)[0].first.unwrap().class, Class::Unknown);
}

async fn the_trap_link_is_in_every_arm_and_tells_the_machine_that_follows_it(engine: Engine) {
    let text = campaign("autumn").replacen("list = ", "trap_link = true\nlist = ", 1);
    let world = World::with_campaign_sent(engine, &people(4), &text).await;
    let hidden = "aria-hidden=\"true\" tabindex=\"-1\"";
    for letter in world.received() {
        assert_eq!((letter.html.matches(hidden).count(), letter.links().len()), (1, 3));
        let token = letter.links().pop().unwrap();
        assert!(!letter.text.contains(&token), "only in the HTML part");
        assert_eq!(world.destination(&token).as_deref(), Some("/privacy#hidden-link"));
    }
    let letter = world.letter_to("p1@example.org");
    let links = letter.links();
    world.click(&links[0], FIREFOX).await;
    seconds(&world, 55);
    assert_eq!(world.click(&links[2], FIREFOX).await.class(), "scanner", "at once");
    seconds(&world, 61);
    world.click(&links[1], IPHONE).await;
    world.wait(1);
    assert_eq!((tally(&world, Tally::ClickStandard), tally(&world, Tally::ScannerClick)), (1, 1));
    let found: Vec<Class> = classes(&world, &letter).iter().map(|(class, _)| *class).collect();
    assert_eq!(found, [Class::Scanner, Class::Scanner, Class::Human]);
    let links = world.results("autumn").checks.into_iter().find(|check| check.name == "Links").unwrap();
    assert_eq!(links.figure, "2 / 2", "the trap is no link of the letter's own");
}

async fn without_being_asked_for_there_is_no_trap_link(engine: Engine) {
    let world = sent(engine).await;
    assert!(world.received().iter().all(|letter| !letter.html.contains("aria-hidden") && letter.links().len() == 2));
}

async fn what_a_look_wrote_down_is_judged_first_and_does_not_move(engine: Engine) {
    let world = sent(engine).await;
    world.wait(23);
    world.lab.clock.advance(SignedDuration::from_mins(58));
    let letter = world.letter_to("p1@example.org");
    for link in letter.links() {
        world.click(&link, FIREFOX).await;
    }
    world.lab.clock.advance(SignedDuration::from_mins(3));
    world.tidy();
    let page = world.results("autumn");
    assert!(page.counted_until.is_some());
    let counted = |page: &letterlab::report::page::ResultPage| -> Vec<(String, u64)> {
        page.countings.iter().map(|way| (way.counting.clone(), way.counts.iter().map(|count| count.0).sum())).collect()
    };
    let before = counted(&page);
    world.wait(26);
    world.tidy();
    assert_eq!(counted(&world.results("autumn")), before);
}
