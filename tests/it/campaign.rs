//! A campaign's life before and between letters: checked, sealed, and only ever forward.

use letterlab::app::campaigns::{self, CampaignError};
use letterlab::bridge::launch::LaunchError;
use letterlab::campaign::definition::seal_hash;
use letterlab::campaign::file::Problem;
use letterlab::campaign::state::State;
use letterlab::campaign::store as shelf;

use crate::world::{Engine, World, campaign, on_both_engines, people};

on_both_engines!(
    problems_of_a_draft_name_key_and_line,
    an_unknown_merge_field_is_named_with_what_was_meant,
    a_list_that_is_not_there_is_told_with_those_that_are,
    a_name_is_given_once,
    sealing_freezes_letter_links_and_plan_under_a_hash_anyone_can_compute,
    the_proof_of_one_element_is_kept_with_the_plan_and_shown,
    letters_that_differ_in_several_elements_are_not_sealed,
    a_sealed_campaign_is_neither_replaced_nor_deleted,
    a_draft_may_be_replaced_and_thrown_away,
    life_goes_forward_only_in_the_database_too,
    a_campaign_nobody_can_be_mailed_for_is_not_launched,
    closing_stops_what_waits,
    a_campaign_that_moved_on_meanwhile_can_be_closed,
);

fn problems(error: CampaignError) -> Vec<Problem> {
    match error {
        CampaignError::Problems(problems) => problems,
        other => panic!("not problems but {other}"),
    }
}

fn line_of(text: &str, start: &str) -> Option<usize> {
    text.lines().position(|line| line.starts_with(start)).map(|index| index + 1)
}

async fn problems_of_a_draft_name_key_and_line(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let good = campaign("autumn");
    let cases = [
        ("observe_hours = 24", "observe_hours = 24\nshare = 1.5", "test.share", "share"),
        ("observe_hours = 24", "observe_hours = 0", "test.observe_hours", "observe_hours"),
        ("address = \"news@example.org\"", "address = \"news\"", "sender.address", "address"),
        ("subject = \"What changed this autumn\"", "subject = \" \"", "letter.subject", "subject"),
        ("value = \"Two changes, two minutes\"", "value = \"What changed this autumn\"", "variants[1].value", "value"),
        ("observe_hours = 24", "observe_hours = 24\nmetric = \"sales\"", "test.metric", "metric"),
        ("name = \"autumn\"", "name = \"autumn letter\"", "name", "name"),
        ("name = \"autumn\"", "name = \"autumn\"\ncolour = \"red\"", "colour", "colour"),
    ];
    for (from, to, key, line) in cases {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good);
        let found = problems(world.try_draft(&text).unwrap_err());
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((found[0].key.as_str(), found[0].line), (key, line_of(&text, line)), "{}", found[0]);
    }
    assert!(campaigns::all(&world.lab).unwrap().is_empty(), "nothing was stored");
}

async fn an_unknown_merge_field_is_named_with_what_was_meant(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let text = campaign("autumn").replace("first_name | default(\"there\")", "fist_name");
    let found = problems(world.try_draft(&text).unwrap_err());
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("{{ fist_name }}") && found[0].message.contains("did you mean first_name?"), "{}", found[0]);
}

async fn a_list_that_is_not_there_is_told_with_those_that_are(engine: Engine) {
    let world = World::new(engine).await;
    let found = problems(world.try_draft(&campaign("autumn")).unwrap_err());
    assert!(found[0].key == "list" && found[0].message.contains("import people first"), "{}", found[0]);
    world.import_into("friends", &people(1)).unwrap();
    let found = problems(world.try_draft(&campaign("autumn")).unwrap_err());
    assert!(found[0].message.contains("friends") && found[0].line == Some(2), "{}", found[0]);
}

async fn a_name_is_given_once(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    world.draft(&campaign("autumn"));
    assert!(matches!(world.try_draft(&campaign("autumn")), Err(CampaignError::NameTaken(name)) if name == "autumn"));
    assert!(matches!(campaigns::find(&world.lab, "winter"), Err(CampaignError::Unknown(_))));
    assert_eq!(campaigns::find(&world.lab, "1").unwrap().definition.name, "autumn", "found by number as well");
}

async fn sealing_freezes_letter_links_and_plan_under_a_hash_anyone_can_compute(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let draft = world.draft(&campaign("autumn"));
    let sealed = campaigns::seal(&world.lab, &draft).unwrap();
    assert_eq!(sealed.state, State::Sealed);
    assert_eq!(sealed.definition, draft.definition);
    let seal = sealed.sealed.unwrap();
    assert_eq!(seal.hash, seal_hash(&sealed.definition, &seal.seed).unwrap());
    assert_eq!(seal.at, world.now());
    let links = world.lab.ledger.read(|conn| shelf::links(conn, sealed.number)).unwrap();
    let urls: Vec<&str> = links.iter().map(|link| link.url.as_str()).collect();
    assert_eq!(urls, ["https://shop.example/first?a=1&b=2", "https://shop.example/all"].repeat(2));
    let page = world.results("autumn");
    assert_eq!(page.plan.hash, seal.hash, "the result shows it");
}

async fn the_proof_of_one_element_is_kept_with_the_plan_and_shown(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(5));
    let draft = world.draft(&campaign("autumn"));
    assert!(draft.proof.is_none() && world.results("autumn").difference.is_empty(), "nothing is claimed of a draft");
    let sealed = campaigns::seal(&world.lab, &draft).unwrap();
    let proof = sealed.proof.unwrap();
    assert_eq!(proof.statements, ["B differs from A in: subject"]);
    assert_eq!((proof.people, proof.left_out, proof.every_byte, proof.hash.len()), (5, 0, true, 64));
    let page = world.results("autumn");
    assert_eq!(page.difference, proof.sentences());
    assert!(page.difference[1].contains("5 people and a made-up one") && page.difference[1].contains("equal byte for byte"), "{page:?}");
    assert!(letterlab::report::export::table(&page).contains("B differs from A in: subject.\n"));

    let text = campaign("bodies").lines().filter(|line| !line.starts_with("element")).collect::<Vec<_>>().join("\n");
    let control = draft.definition.newsletter.body.source.clone();
    let changed = control.replacen("https://shop.example/all", "https://shop.example/more", 1);
    assert_ne!(changed, control);
    let text = text.replace("value = \"Two changes, two minutes\"", &format!("text = '''\n{changed}'''"));
    let bodies = campaigns::seal(&world.lab, &world.draft(&text)).unwrap();
    let proof = bodies.proof.unwrap();
    assert!(proof.statements[0].ends_with(": link") && proof.every_byte, "{proof:?}");
    let links = world.lab.ledger.read(|conn| shelf::links(conn, bodies.number)).unwrap();
    assert!(links.iter().any(|link| link.variant.0 == 1 && link.url == "https://shop.example/more"), "B's letter is the one brought");
}

async fn letters_that_differ_in_several_elements_are_not_sealed(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(5));
    let mut definition = world.draft(&campaign("autumn")).definition;
    let mut letter = definition.newsletter.clone();
    letter.subject = "Another subject".to_owned();
    letter.sender_name = "Another sender".to_owned();
    definition.name = "several".to_owned();
    definition.variants[1].letter = Some(letter);
    let number = world.lab.ledger.write(|conn| shelf::create(conn, &definition, world.now())).unwrap();
    let draft = campaigns::by_number(&world.lab, number).unwrap();
    let refused = campaigns::launch(&world.lab, &draft, &mut |_, _| {}).unwrap_err();
    let CampaignError::Launch(LaunchError::Problems(found)) = &refused else { panic!("{refused}") };
    assert!(found[0].message.contains("2 elements: subject; sender name"), "{}", found[0]);
    let still = campaigns::by_number(&world.lab, number).unwrap();
    assert_eq!((still.state, still.proof), (State::Draft, None), "nothing was frozen");
}

async fn a_sealed_campaign_is_neither_replaced_nor_deleted(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let draft = world.draft(&campaign("autumn"));
    let sealed = campaigns::seal(&world.lab, &draft).unwrap();
    let other = campaign("autumn").replace("observe_hours = 24", "observe_hours = 48");
    let load = |_: &str| Err(String::new());
    let refused = campaigns::redraft(&world.lab, sealed.number, &other, &load).unwrap_err();
    assert!(refused.to_string().contains("only a draft"), "{refused}");
    assert!(campaigns::delete(&world.lab, &draft).is_err(), "a copy from before sealing does not help");
    assert!(campaigns::seal(&world.lab, &draft).is_err(), "it is sealed once");
    assert_eq!(world.campaign("autumn"), sealed);
}

async fn a_draft_may_be_replaced_and_thrown_away(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(2));
    let draft = world.draft(&campaign("autumn"));
    world.draft(&campaign("winter"));
    let load = |_: &str| Err(String::new());
    campaigns::redraft(&world.lab, draft.number, &campaign("spring"), &load).unwrap();
    assert_eq!(world.campaign("spring").number, draft.number);
    let taken = campaigns::redraft(&world.lab, draft.number, &campaign("winter"), &load);
    assert!(matches!(taken, Err(CampaignError::NameTaken(_))));
    campaigns::delete(&world.lab, &world.campaign("spring")).unwrap();
    assert_eq!(campaigns::all(&world.lab).unwrap().len(), 1);
}

async fn life_goes_forward_only_in_the_database_too(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(4));
    world.draft(&campaign("autumn"));
    assert_eq!(world.state("autumn"), "draft");
    assert!(campaigns::close(&world.lab, &world.campaign("autumn")).is_err(), "a draft is deleted, not closed");
    assert!(world.decide("autumn", 'A').is_err(), "nothing to decide yet");
    let refused = |verb: fn(&World) -> Result<(), CampaignError>, words: &str| {
        let told = verb(&world).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    };
    let pause = |world: &World| campaigns::pause(&world.lab, &world.campaign("autumn"), "by hand");
    let resume = |world: &World| campaigns::resume(&world.lab, &world.campaign("autumn"));
    refused(pause, "campaign autumn is draft; it sends nothing that could be paused before it is launched");
    refused(resume, "campaign autumn is draft; it is not paused");
    campaigns::seal(&world.lab, &world.campaign("autumn")).unwrap();
    assert_eq!(world.state("autumn"), "sealed");
    world.launch("autumn").unwrap();
    assert_eq!(world.state("autumn"), "sending");
    assert!(world.decide("autumn", 'A').is_err(), "letters are still on their way");
    world.deliver_everything().await;
    assert_eq!(world.state("autumn"), "observing");
    assert!(matches!(world.launch("autumn"), Err(CampaignError::Launch(LaunchError::State { .. }))), "launched once");
    world.decide("autumn", 'B').unwrap();
    assert_eq!(world.state("autumn"), "decided");
    assert!(world.decide("autumn", 'A').is_err(), "decided once");
    pause(&world).unwrap();
    resume(&world).unwrap();
    assert!(resume(&world).unwrap_err().to_string().contains("is decided; it is not paused"));
    world.close("autumn");
    assert_eq!(world.state("autumn"), "closed");
    assert!(pause(&world).unwrap_err().to_string().contains("is closed; it sends nothing any more"));
    assert!(campaigns::close(&world.lab, &world.campaign("autumn")).is_err());

    // Whatever is tried, the store takes no step back.
    let number = world.campaign("autumn").number;
    for from in State::ALL {
        for to in State::ALL {
            let now = world.now();
            assert!(!world.lab.ledger.write(|conn| shelf::advance(conn, number, from, to, now)).unwrap(), "{from} → {to}");
        }
    }
    let closed = world.campaign("autumn");
    assert!(closed.sending_at.is_some() && closed.observing_at.is_some() && closed.decided_at.is_some() && closed.closed_at.is_some());
}

async fn a_campaign_nobody_can_be_mailed_for_is_not_launched(engine: Engine) {
    let world = World::new(engine).await;
    world.import("email,suppression\na@example.org,complaint\nb@example.org,unsubscribed\n");
    world.draft(&campaign("autumn").replace(" | default(\"there\")", "").replace("Hello {{ first_name }},", "Hello,"));
    let refused = world.launch("autumn").unwrap_err();
    assert!(matches!(refused, CampaignError::Launch(LaunchError::Nobody { .. })), "{refused}");
    world.import(&people(2));
    world.launch("autumn").unwrap();
    world.close("autumn");
    assert_eq!(world.counts("autumn").skipped, 2);
}

async fn closing_stops_what_waits(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(6));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.close("autumn");
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.enrolled, counts.skipped, counts.waiting()), (6, 6, 0));
    assert!(world.received().is_empty());
    let page = world.results("autumn");
    assert_eq!(page.arms.iter().map(|arm| arm.skipped).sum::<u64>(), 6);
}

async fn a_campaign_that_moved_on_meanwhile_can_be_closed(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(4));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let seen_as_sending = world.campaign("autumn");
    world.deliver_everything().await;
    assert_eq!(world.state("autumn"), "observing");
    campaigns::close(&world.lab, &seen_as_sending).unwrap();
    assert_eq!(world.state("autumn"), "closed");
}
