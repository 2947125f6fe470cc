//! Pixels and links: what is recorded, as what, and what never is.

use letterlab::app::campaigns;
use letterlab::app::outpost::live;
use letterlab::ids::RecordingMode;
use letterlab::ledger::store::{self as events, Counter};
use letterlab::ledger::subject::Tally;
use letterlab::signal::{HitKind, RequestFacts};
use letterlab::token::{Bearer, Keys, Kind};
use letterlab::tracking::floods::MOST_A_DAY;

use crate::world::{APPLE_PREFETCH, Answered, Engine, FIREFOX, GMAIL_PROXY, SCANNER, World, campaign, get, on_both_engines, people};

on_both_engines!(
    a_pixel_and_a_link_are_recorded_under_the_pseudonym,
    a_forged_token_stores_nothing_and_is_counted,
    a_token_of_one_kind_does_not_open_as_another,
    each_user_agent_gets_its_class_and_the_classes_add_up,
    in_aggregate_mode_nothing_tells_one_recipient_from_another,
    in_off_mode_a_letter_has_no_pixel_and_its_links_lead_straight,
    who_withdraws_is_not_recorded_and_what_was_is_gone_and_counts_follow,
    withdrawing_reaches_hits_not_yet_counted,
    a_hit_already_on_its_way_does_not_outlive_the_withdrawal,
    who_opts_out_of_measurement_still_gets_letters,
    a_closed_campaign_records_nothing_and_its_links_still_lead_somewhere,
    before_the_first_letter_nothing_is_recorded,
    many_hits_of_one_recipient_are_one_person,
    a_flood_of_one_letter_is_answered_and_stored_up_to_a_limit_and_takes_nothing_from_others,
    hits_survive_a_restart,
    a_letter_from_before_a_change_of_keys_still_counts,
);

fn sum(world: &World, name: &str, tally: Tally) -> i64 {
    world.tidy();
    let number = world.campaign(name).number;
    let tallies = world.lab.ledger.read(|conn| events::tallies(conn, number)).unwrap();
    tallies.iter().filter(|((_, _, word), _)| word == tally.as_str()).map(|(_, value)| value).sum()
}

fn counted(world: &World, what: Counter) -> i64 {
    world.tidy();
    world.lab.ledger.read(|conn| events::counted(conn, what)).unwrap()
}

async fn a_pixel_and_a_link_are_recorded_under_the_pseudonym(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    let opened = world.open(&letter.pixel().unwrap(), FIREFOX).await;
    let clicked = world.click(&letter.links()[1], FIREFOX).await;
    for (answered, link) in [(&opened, None), (&clicked, Some(2))] {
        let Answered::Recorded(event) = answered else { panic!("{answered:?}") };
        assert_eq!(event.whose, letterlab::ledger::event::Whose::Recipient(world.pseudonym_of(&letter)));
        assert_eq!(event.hit.unwrap().link.map(|link| link.0), link);
        world.load();
        assert!(world.lab.ledger.read(|conn| events::has_event(conn, event.id)).unwrap(), "on its way when it is answered");
    }
    assert_eq!(sum(&world, "autumn", Tally::OpenStandard), 1);
    assert_eq!(sum(&world, "autumn", Tally::ClickStandard), 1);
    let progress = campaigns::progress(&world.lab, &world.campaign("autumn")).unwrap();
    assert_eq!(progress.arms.iter().map(|arm| (arm.opened, arm.clicked)).fold((0, 0), |sum, arm| (sum.0 + arm.0, sum.1 + arm.1)), (1, 1));
}

async fn a_forged_token_stores_nothing_and_is_counted(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let genuine = world.letter_to("p1@example.org").pixel().unwrap();
    let mut last = genuine.clone().into_bytes();
    let end = last.len() - 3;
    last[end] = if last[end] == b'a' { b'b' } else { b'a' };
    let others = Keys::new((1, [7; 32]), Vec::new()).seal(&world.lab.keys.open(Kind::Open, &genuine).unwrap());
    for forged in [String::from_utf8(last).unwrap(), others, "x".repeat(52), String::new(), "é".repeat(26)] {
        assert_eq!(world.open(&forged, FIREFOX).await, Answered::Refused);
        assert_eq!(world.destination(&forged), None);
    }
    assert_eq!(counted(&world, Counter::StoredHits), 0);
    assert_eq!(counted(&world, Counter::RefusedHits), 5);
    assert_eq!(world.status().hits_refused, 5);
}

async fn a_token_of_one_kind_does_not_open_as_another(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(1), &campaign("autumn")).await;
    let letter = world.letter_to("p0@example.org");
    assert_eq!(world.click(&letter.pixel().unwrap(), FIREFOX).await, Answered::Refused);
    assert_eq!(world.open(&letter.links()[0], FIREFOX).await, Answered::Refused);
    assert_eq!(world.open(&letter.unsubscribe_token(), FIREFOX).await, Answered::Refused);
    assert!(world.lab.keys.open(Kind::Unsubscribe, &letter.bounce_token()).is_err());
    world.tidy();
}

async fn each_user_agent_gets_its_class_and_the_classes_add_up(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(12), &campaign("autumn")).await;
    let pixel = |person: usize| world.letter_to(&format!("p{person}@example.org")).pixel().unwrap();
    let link = |person: usize| world.letter_to(&format!("p{person}@example.org")).links()[0].clone();
    assert_eq!(world.open(&pixel(0), FIREFOX).await.class(), "human");
    assert_eq!(world.open(&pixel(1), GMAIL_PROXY).await.class(), "proxied");
    assert_eq!(world.open(&pixel(2), APPLE_PREFETCH).await.class(), "prefetch");
    assert_eq!(world.open(&pixel(3), SCANNER).await.class(), "scanner");
    assert_eq!(world.open(&pixel(4), "").await.class(), "unknown");
    assert_eq!(world.click(&link(5), FIREFOX).await.class(), "human");
    assert_eq!(world.click(&link(6), SCANNER).await.class(), "scanner");
    let head = RequestFacts { method: "HEAD", ..get(FIREFOX) };
    assert_ne!(world.hit(HitKind::Click, &link(7), head).await.class(), "human", "nobody reads a HEAD");
    assert_eq!(sum(&world, "autumn", Tally::OpenRaw), 5);
    assert_eq!(sum(&world, "autumn", Tally::OpenStandard), 2);
    assert_eq!(sum(&world, "autumn", Tally::PrefetchOnly), 1);
    assert_eq!(sum(&world, "autumn", Tally::MachineOpen), 2);
    assert_eq!(sum(&world, "autumn", Tally::ClickRaw), 3);
    assert_eq!(sum(&world, "autumn", Tally::ClickStandard), 1);
    let hits = world.results("autumn").hits;
    let all: u64 = hits.iter().flat_map(|class| class.opens.iter().chain(&class.clicks)).sum();
    assert_eq!((all, counted(&world, Counter::StoredHits)), (8, 8));
}

async fn in_aggregate_mode_nothing_tells_one_recipient_from_another(engine: Engine) {
    let file = people(6).replace(",pseudonymous,", ",aggregate,");
    let world = World::with_campaign_sent(engine, &file, &campaign("autumn")).await;
    let mut pixels: Vec<String> = world.received().iter().map(|letter| letter.pixel().unwrap()).collect();
    pixels.sort();
    pixels.dedup();
    assert_eq!(pixels.len(), 2, "one pixel for each variant");
    for letter in world.received() {
        assert!(matches!(world.lab.keys.open(Kind::Open, &letter.pixel().unwrap()).unwrap().bearer, Bearer::Arm { .. }));
        world.open(&letter.pixel().unwrap(), FIREFOX).await;
        let Answered::Recorded(event) = world.click(&letter.links()[0], FIREFOX).await else { panic!("recorded") };
        assert!(matches!(event.whose, letterlab::ledger::event::Whose::Arm { .. }), "{event:?}");
    }
    let page = world.results("autumn");
    let human = page.hits.iter().find(|class| class.class == "human").unwrap();
    assert_eq!((human.opens.clone(), human.clicks.clone()), (vec![3, 3], vec![3, 3]), "counted");
    assert_eq!(sum(&world, "autumn", Tally::OpenStandard), 0, "and of nobody in particular");
    assert_eq!(page.arms[0].trials, 0, "rates need to know who did not");
    assert!(page.notes.iter().any(|note| note.contains("6 of 6")), "{:?}", page.notes);
}

async fn in_off_mode_a_letter_has_no_pixel_and_its_links_lead_straight(engine: Engine) {
    let file = people(2).replace(",pseudonymous,", ",off,");
    let world = World::with_campaign_sent(engine, &file, &campaign("autumn")).await;
    for letter in world.received() {
        assert_eq!(letter.pixel(), None);
        assert_eq!(letter.links(), Vec::<String>::new());
        assert!(letter.html.contains("https://shop.example/all") && letter.text.contains("https://shop.example/all"));
        assert!(!letter.html.contains("<img"), "{}", letter.html);
        // The ways back are there all the same.
        assert!(world.lab.keys.open(Kind::Bounce, &letter.bounce_token()).is_ok());
        assert_eq!(world.lab.keys.open(Kind::Unsubscribe, &letter.unsubscribe_token()).unwrap().mode, RecordingMode::Off);
    }
}

async fn who_withdraws_is_not_recorded_and_what_was_is_gone_and_counts_follow(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(6), &campaign("autumn")).await;
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    let letters: Vec<_> = world.received().into_iter().filter(|letter| letter.recipient == "p3@example.org").collect();
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        world.open(&letter.pixel().unwrap(), FIREFOX).await;
        world.click(&letter.links()[0], FIREFOX).await;
    }
    world.open(&world.letter_to("p2@example.org").pixel().unwrap(), FIREFOX).await;
    assert_eq!((sum(&world, "autumn", Tally::OpenStandard), sum(&world, "winter", Tally::OpenStandard)), (1, 2));
    let measured = world.results("winter").arms.iter().map(|arm| arm.trials).sum::<u64>();

    world.stop_measuring(&letters[0]);
    world.stop_measuring(&letters[0]);
    for letter in &letters {
        assert_eq!(world.open(&letter.pixel().unwrap(), FIREFOX).await, Answered::Unrecorded, "in every campaign");
        assert!(world.destination(&letter.links()[0]).is_some(), "links lead where they led");
    }
    assert_eq!((sum(&world, "autumn", Tally::OpenStandard), sum(&world, "winter", Tally::OpenStandard)), (0, 1));
    assert_eq!(sum(&world, "autumn", Tally::ClickRaw), 0);
    assert_eq!(world.results("winter").arms.iter().map(|arm| arm.trials).sum::<u64>(), measured - 1, "not in the denominator");
    assert_eq!(counted(&world, Counter::DeletedHits), 4);
    assert_eq!(counted(&world, Counter::UnrecordedHits), 2);
    assert_eq!(world.person("p3@example.org").recording, RecordingMode::Off);

    // And after a restart, when the tracker has to learn of it again.
    world.restart();
    assert_eq!(world.click(&letters[1].links()[0], FIREFOX).await, Answered::Unrecorded);
}

async fn withdrawing_reaches_hits_not_yet_counted(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(3), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    world.tidy();
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    world.click(&letter.links()[0], FIREFOX).await;
    world.load();
    world.stop_measuring(&letter);
    assert_eq!((sum(&world, "autumn", Tally::OpenRaw), sum(&world, "autumn", Tally::ClickRaw)), (0, 0));
    assert_eq!(counted(&world, Counter::DeletedHits), 3);
    // A bounce that comes later is a fact about the letter, not about the reader.
    world.returned(&letter.return_path, &crate::mailboxes::delivery_report(&letter, "5.1.1", "550 5.1.1 unknown"));
    assert_eq!(sum(&world, "autumn", Tally::Bounced), 1);
}

async fn a_hit_already_on_its_way_does_not_outlive_the_withdrawal(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(3), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    // Admitted before the withdrawal, written after it.
    let id = letterlab::ids::EventId::from_bytes(letterlab::app::clock::fresh());
    let admitted =
        letterlab::tracking::hit::admit(&world.lab.tracker, HitKind::Open, &letter.pixel().unwrap(), get(FIREFOX), world.now(), id);
    let letterlab::tracking::hit::Admission::Recorded(_, event) = admitted else { panic!("admitted") };
    world.stop_measuring(&letter);
    world.lab.tracker.intake.record(&event, std::time::Duration::from_secs(60)).await;
    world.tidy();
    assert_eq!(sum(&world, "autumn", Tally::OpenRaw), 0);
    assert!(!world.lab.ledger.read(|conn| events::has_event(conn, id)).unwrap(), "nothing is kept of who withdrew");
}

async fn who_opts_out_of_measurement_still_gets_letters(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(3), &campaign("autumn")).await;
    world.stop_measuring(&world.letter_to("p1@example.org"));
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    let letter = world.letter_to("p1@example.org");
    assert_eq!((world.counts("winter").accepted, letter.pixel()), (3, None));
}

async fn a_closed_campaign_records_nothing_and_its_links_still_lead_somewhere(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    world.close("autumn");
    assert_eq!(world.open(&letter.pixel().unwrap(), FIREFOX).await, Answered::Unrecorded);
    assert_eq!(world.click(&letter.links()[0], FIREFOX).await, Answered::Unrecorded);
    assert_eq!(world.destination(&letter.links()[0]).as_deref(), Some("https://shop.example/first?a=1&b=2"));
    assert_eq!((counted(&world, Counter::StoredHits), counted(&world, Counter::UnrecordedHits)), (1, 2));
    assert!(world.results("autumn").notes.iter().any(|note| note.contains("closed")));
}

async fn before_the_first_letter_nothing_is_recorded(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let draft = world.draft(&campaign("autumn"));
    let sealed = campaigns::seal(&world.lab, &draft).unwrap();
    let token = world.lab.keys.seal(&letterlab::token::Payload {
        kind: Kind::Open,
        campaign: sealed.number,
        bearer: Bearer::Recipient(letterlab::ids::Pseudonym::from_bytes([9; 16])),
        variant: letterlab::ids::VariantNumber(0),
        link: None,
        mode: RecordingMode::Pseudonymous,
    });
    assert_eq!(world.open(&token, FIREFOX).await, Answered::Unrecorded);
    world.tidy();
}

async fn many_hits_of_one_recipient_are_one_person(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    for _ in 0..5 {
        world.open(&letter.pixel().unwrap(), FIREFOX).await;
        world.click(&letter.links()[0], FIREFOX).await;
    }
    assert_eq!((sum(&world, "autumn", Tally::OpenStandard), sum(&world, "autumn", Tally::ClickStandard)), (1, 1));
    assert_eq!(counted(&world, Counter::StoredHits), 10);
}

async fn a_flood_of_one_letter_is_answered_and_stored_up_to_a_limit_and_takes_nothing_from_others(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let (flooded, other) = (world.letter_to("p0@example.org"), world.letter_to("p1@example.org"));
    let whose = world.pseudonym_of(&flooded);
    for _ in 1..MOST_A_DAY {
        assert!(world.lab.tracker.floods.admit(whose, world.lab.clock.now()));
    }
    assert!(matches!(world.open(&flooded.pixel().unwrap(), FIREFOX).await, Answered::Recorded(_)));
    assert_eq!(world.open(&flooded.pixel().unwrap(), FIREFOX).await, Answered::Unrecorded);
    assert_eq!(world.click(&flooded.links()[0], FIREFOX).await, Answered::Unrecorded);
    assert_eq!(world.destination(&flooded.links()[0]).as_deref(), Some("https://shop.example/first?a=1&b=2"));
    assert!(matches!(world.open(&other.pixel().unwrap(), FIREFOX).await, Answered::Recorded(_)));
    assert_eq!(live(&world.lab.outpost()).flooded, 2);
    assert_eq!((counted(&world, Counter::StoredHits), counted(&world, Counter::UnrecordedHits)), (2, 2));
}

async fn hits_survive_a_restart(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    world.restart();
    assert_eq!(sum(&world, "autumn", Tally::OpenStandard), 1);
    assert!(matches!(world.click(&letter.links()[0], FIREFOX).await, Answered::Recorded(_)), "the tracker knows the campaign again");
    assert_eq!(sum(&world, "autumn", Tally::ClickStandard), 1);
}

async fn a_letter_from_before_a_change_of_keys_still_counts(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    let path = world.folder().join("keys.toml");
    let older = std::fs::read_to_string(&path).unwrap();
    let newer = format!("[[key]]\nid = 2\nsecret = \"{}\"\n\n{older}", "0123456789abcdef".repeat(4));
    std::fs::write(&path, newer).unwrap();
    world.restart();
    assert!(matches!(world.open(&letter.pixel().unwrap(), FIREFOX).await, Answered::Recorded(_)));
    world.tidy();
}
