//! Who takes part, in which arm, under which pseudonym; and that a crash in the middle harms nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use letterlab::app::campaigns;
use letterlab::bridge::launch;
use letterlab::campaign::store::links;
use letterlab::db::{DbResult, VaultConn};
use letterlab::delivery::mailing::Planned;
use letterlab::delivery::store as deliveries;
use letterlab::experiment::assign::{Candidate, assign};
use letterlab::ids::{CampaignNumber, Pseudonym};
use letterlab::ledger::store as events;
use letterlab::report::page::Arm;

use crate::world::{Engine, Room, World, campaign, on_both_engines, people};

on_both_engines!(
    arms_differ_by_at_most_one_within_each_stratum,
    the_assignment_can_be_computed_again_from_the_sealed_seed,
    a_crash_between_plan_and_subjects_is_repaired_by_running_it_again,
    a_crash_before_the_release_is_repaired_by_background_work,
    a_half_made_plan_is_made_again_by_background_work,
    nobody_is_enrolled_twice,
    a_draft_changed_while_it_is_checked_is_not_sealed,
    a_campaign_closed_while_people_are_assigned_sends_nothing_and_leaves_nothing_waiting,
    the_pseudonyms_of_two_campaigns_share_nothing,
    the_most_restrictive_mode_of_person_and_campaign_counts,
    the_held_out_get_nothing_and_are_counted,
    who_agrees_to_less_before_the_letter_leaves_is_in_no_rate,
);

async fn a_draft_changed_while_it_is_checked_is_not_sealed(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(4));
    let seen = world.draft(&campaign("autumn"));
    let text = campaign("autumn").replace("Two changes, two minutes", "Three changes, one minute");
    campaigns::redraft(&world.lab, seen.number, &text, &|_| Err("no file".to_owned())).unwrap();
    let error = campaigns::launch(&world.lab, &seen, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("it was changed by somebody while it was being checked"), "{error}");
    assert_eq!(world.state("autumn"), "draft");
    assert!(world.lab.ledger.read(|conn| links(conn, seen.number)).unwrap().is_empty());
    let sealed = campaigns::seal(&world.lab, &world.campaign("autumn")).unwrap();
    assert_eq!(sealed.definition.shown_values()[1], "Three changes, one minute");
    world.close("autumn");
}

async fn a_campaign_closed_while_people_are_assigned_sends_nothing_and_leaves_nothing_waiting(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(9));
    let draft = world.draft(&campaign("autumn"));
    let error = campaigns::launch(&world.lab, &draft, &mut |_, _| world.close("autumn")).unwrap_err().to_string();
    assert!(error.contains("somebody closed it meanwhile"), "{error}");
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((world.state("autumn"), counts.enrolled, counts.skipped), ("closed", 9, 9));
    assert!(world.received().is_empty());
}

/// The tally of the enrolled after recipients were taken away by hand.
const TALLY_ANEW: &str = "UPDATE tally SET value = (SELECT COUNT(*) FROM subject WHERE subject.campaign = tally.campaign \
    AND subject.part = tally.part AND subject.variant = tally.variant) WHERE name = 'enrolled'";

/// People at three providers in three modes.
fn mixed(count: usize) -> String {
    let domains = ["gmail.com", "outlook.com", "example.org"];
    let modes = ["pseudonymous", "aggregate", "off", "pseudonymous", "pseudonymous"];
    let row = |number| format!("p{number}@{},Pat,{},form,2026-01-01\n", domains[number % domains.len()], modes[number % modes.len()]);
    format!("email,first_name,recording_mode,consent_source,consent_date\n{}", (0..count).map(row).collect::<String>())
}

async fn arms_differ_by_at_most_one_within_each_stratum(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&mixed(301));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let number = world.campaign("autumn").number;
    let planned = world.lab.vault.read(|conn| deliveries::planned_test(conn, number, -1, 1000)).unwrap();
    assert_eq!(planned.len(), 301);
    let mut arms: BTreeMap<&str, [i64; 2]> = BTreeMap::new();
    for mailing in &planned {
        arms.entry(&mailing.stratum).or_default()[usize::from(mailing.variant.0)] += 1;
    }
    assert_eq!(arms.len(), 9, "three providers in three modes: {arms:?}");
    for (stratum, [a, b]) in &arms {
        assert!((a - b).abs() <= 1, "{stratum}: {a}, {b}");
    }
    let enrolled = world.lab.ledger.read(|conn| events::enrolled(conn, number)).unwrap();
    assert_eq!(enrolled.values().sum::<u64>(), 301, "the ledger knows them all");
    world.close("autumn");
}

async fn the_assignment_can_be_computed_again_from_the_sealed_seed(engine: Engine) {
    let test_of_half = campaign("autumn").replace("observe_hours = 24", "observe_hours = 24\nshare = 0.5");
    let world = World::with_campaign_sent(engine, &mixed(60), &test_of_half).await;
    world.decide("autumn", 'A').unwrap();
    let decided = world.campaign("autumn");
    let planned = |part: fn(&mut VaultConn, CampaignNumber, i64, i64) -> DbResult<Vec<Planned>>| {
        world.lab.vault.read(|conn| part(conn, decided.number, -1, 1000)).unwrap()
    };
    let (test, rest) = (planned(deliveries::planned_test), planned(deliveries::planned_rest));
    assert_eq!(test.len() + rest.len(), 60);
    let candidates: Vec<Candidate<'_>> =
        test.iter().chain(&rest).map(|mailing| Candidate { pseudonym: mailing.pseudonym, stratum: &mailing.stratum }).collect();
    let again = assign(&decided.sealed.unwrap().seed, &decided.definition.design.weights, 0.5, 0.0, &candidates);
    for (mailing, assignment) in test.iter().zip(&again) {
        assert_eq!((Some(mailing.variant), mailing.position), (assignment.variant, assignment.position));
    }
    for (mailing, assignment) in rest.iter().zip(&again[test.len()..]) {
        assert_eq!((None, mailing.position), (assignment.variant, assignment.position), "the rest");
    }
    world.close("autumn");
}

async fn a_crash_between_plan_and_subjects_is_repaired_by_running_it_again(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(40));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let before = plan_of(&world, "autumn");
    // The process died after the mailings were planned and some subjects written, and before the campaign moved on.
    unrelease(&world, 1, 40);
    world.sql(Room::Ledger, "UPDATE campaign SET state = 'sealed', sending_at = NULL, enrolled_at = NULL");
    world.sql(Room::Ledger, "DELETE FROM subject WHERE pseudonym < 'k'");
    world.sql(Room::Ledger, TALLY_ANEW);
    world.restart();
    assert_eq!(world.state("autumn"), "sealed");
    world.launch("autumn").unwrap();
    assert_eq!(plan_of(&world, "autumn"), before, "nobody was assigned anew");
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 40);
    assert_eq!(world.state("autumn"), "observing");
}

async fn a_crash_before_the_release_is_repaired_by_background_work(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(10));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    unrelease(&world, 1, 10);
    world.restart();
    assert_eq!((world.state("autumn"), world.counts("autumn").planned), ("sending", 10));
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 10);

    // The same one step earlier, with nobody at a desk to launch again.
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    unrelease(&world, 2, 10);
    world.sql(Room::Ledger, "UPDATE campaign SET state = 'sealed', sending_at = NULL, enrolled_at = NULL WHERE number = 2");
    world.sql(Room::Ledger, "DELETE FROM subject WHERE campaign = 2");
    world.sql(Room::Ledger, TALLY_ANEW);
    world.restart();
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.state("winter")), (20, "observing"));
}

/// As if the process had died before it let the letters go.
fn unrelease(world: &World, campaign: u32, letters: u32) {
    world.sql(Room::Vault, &format!("UPDATE mailing SET state = 'planned', due_at = 0 WHERE campaign = {campaign}"));
    world.sql(Room::Vault, &format!("UPDATE mailing_tally SET value = {letters} WHERE state = 'planned' AND campaign = {campaign}"));
}

async fn a_half_made_plan_is_made_again_by_background_work(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(30));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let before = plan_of(&world, "autumn");
    // The process died while it planned: whatever is there may not be all.
    unrelease(&world, 1, 30);
    world.sql(Room::Vault, "UPDATE enrolment SET planned_at = NULL");
    world.sql(Room::Ledger, "UPDATE campaign SET state = 'sealed', sending_at = NULL, enrolled_at = NULL");
    world.sql(Room::Ledger, "DELETE FROM subject");
    world.sql(Room::Ledger, TALLY_ANEW);
    world.restart();
    world.tidy();
    assert_eq!(world.state("autumn"), "sealed", "the planner may still be alive");
    assert!(world.launch("autumn").unwrap_err().to_string().contains("another process"));
    world.wait(1);
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.state("autumn")), (30, "observing"));
    let after = plan_of(&world, "autumn");
    assert_eq!((before.len(), after.len()), (30, 30));
    assert!(before.iter().all(|(_, old, _)| after.iter().all(|(_, new, _)| old != new)), "pseudonyms are drawn anew");
}

async fn nobody_is_enrolled_twice(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(20));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.launch("autumn").unwrap();
    let sealed = world.campaign("autumn");
    launch::step(&world.lab.vault, &world.lab.ledger, &sealed, &|| world.now(), letterlab::app::clock::fresh, "another").unwrap();
    // Who joins the list afterwards is not part of the test.
    world.import("email\nlate@example.org\n");
    world.deliver_everything().await;
    let addresses: Vec<String> = world.received().into_iter().map(|letter| letter.recipient).collect();
    assert_eq!(addresses.len(), 20);
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 20);
    assert!(!addresses.contains(&"late@example.org".to_owned()));
    let number = world.campaign("autumn").number;
    assert_eq!(world.lab.ledger.read(|conn| events::enrolled(conn, number)).unwrap().values().sum::<u64>(), 20);
}

async fn the_pseudonyms_of_two_campaigns_share_nothing(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(60));
    for name in ["autumn", "winter"] {
        world.draft(&campaign(name));
        world.launch(name).unwrap();
    }
    let of = |name: &str| -> Vec<Pseudonym> { plan_of(&world, name).into_iter().map(|(_, pseudonym, _)| pseudonym).collect() };
    let (autumn, winter) = (of("autumn"), of("winter"));
    let all: HashSet<&Pseudonym> = autumn.iter().chain(&winter).collect();
    assert_eq!(all.len(), 120, "no pseudonym is used twice");
    // Nor half of one: nothing of a person carries over, such as a common beginning or end.
    for half in [0..8, 8..16] {
        let halves: HashSet<&[u8]> = all.iter().map(|pseudonym| &pseudonym.as_bytes()[half.clone()]).collect();
        assert_eq!(halves.len(), 120);
    }
    // And the sending order does not carry over either: the same people come in another order.
    let order = |name: &str| -> Vec<String> {
        let position: BTreeMap<Pseudonym, u64> =
            plan_of(&world, name).into_iter().map(|(place, pseudonym, _)| (pseudonym, place)).collect();
        let mut people: Vec<(u64, String)> = (0..60)
            .map(|person| format!("p{person}@example.org"))
            .map(|address| {
                let found = world.pseudonyms(&address).into_iter().find_map(|pseudonym| position.get(&pseudonym).copied());
                (found.unwrap(), address)
            })
            .collect();
        people.sort();
        people.into_iter().map(|(_, address)| address).collect()
    };
    assert_ne!(order("autumn"), order("winter"));
    world.close("autumn");
    world.close("winter");
}

async fn the_most_restrictive_mode_of_person_and_campaign_counts(engine: Engine) {
    let world = World::new(engine).await;
    world.import(
        "email,recording_mode,consent_source,consent_date,first_name\n\
         off@example.org,off,form,2026-01-01,O\n\
         aggregate@example.org,aggregate,form,2026-01-01,A\n\
         pseudonymous@example.org,pseudonymous,form,2026-01-01,P\n\
         identified@example.org,identified,form,2026-01-01,I\n\
         nothing@example.org,,,,N\n",
    );
    let modes = |ceiling: &str| -> Vec<String> {
        let text = campaign(ceiling).replacen("list = ", &format!("recording = \"{ceiling}\"\nlist = "), 1);
        world.draft(&text);
        world.launch(ceiling).unwrap();
        let number = world.campaign(ceiling).number;
        let planned = world.lab.vault.read(|conn| deliveries::planned_test(conn, number, -1, 100)).unwrap();
        let mut modes: Vec<String> = planned.iter().map(|mailing| mailing.recording.to_string()).collect();
        modes.sort();
        campaigns::close(&world.lab, &world.campaign(ceiling)).unwrap();
        modes
    };
    assert_eq!(modes("identified"), ["aggregate", "aggregate", "identified", "off", "pseudonymous"]);
    assert_eq!(modes("pseudonymous"), ["aggregate", "aggregate", "off", "pseudonymous", "pseudonymous"]);
    assert_eq!(modes("aggregate"), ["aggregate", "aggregate", "aggregate", "aggregate", "off"]);
    assert_eq!(modes("off"), ["off"; 5]);
}

async fn the_held_out_get_nothing_and_are_counted(engine: Engine) {
    let text = campaign("autumn").replace("observe_hours = 24", "observe_hours = 24\nshare = 0.5\nholdout = 0.1\nrule = \"hand\"");
    let mut world = World::with_campaign_sent(engine, &people(100), &text).await;
    let number = world.campaign("autumn").number;
    let held_out = world.lab.vault.read(|conn| deliveries::planned_holdout(conn, number, -1, 1000)).unwrap();
    assert_eq!((held_out.len(), world.received().len()), (10, 50));
    world.wait(24);
    world.decide("autumn", 'B').unwrap();
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 90, "test and rest");
    let pseudonyms: HashSet<Pseudonym> = held_out.into_iter().map(|planned| planned.pseudonym).collect();
    assert!(world.received().iter().all(|letter| !pseudonyms.contains(&world.pseudonym_of(letter))));
    let page = world.results("autumn");
    assert_eq!((page.held_out, page.arms.iter().map(|arm| arm.enrolled).sum::<u64>()), (10, 50));
    let counts = world.counts("autumn");
    assert_eq!((counts.enrolled, counts.accepted, counts.skipped, counts.waiting()), (100, 90, 10, 0));
    // The world's end checks the conservation laws.
    assert!(world.status().laws.iter().all(|law| law.holds), "{:?}", world.status().laws);
}

async fn who_agrees_to_less_before_the_letter_leaves_is_in_no_rate(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(20), &campaign("summer")).await;
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    // Two by a newer form, one by the switch on the page of an earlier letter.
    world.import(
        "email,recording_mode,consent_source,consent_date\n\
         p0@example.org,off,form,2026-11-22\n\
         p1@example.org,aggregate,form,2026-11-22\n",
    );
    world.stop_measuring(&world.letter_to("p2@example.org"));
    world.deliver_everything().await;
    let letter = |person: usize| world.letter_to(&format!("p{person}@example.org"));
    assert_eq!((letter(0).pixel(), letter(2).pixel()), (None, None));
    assert!(letter(1).pixel().is_some() && letter(3).pixel().is_some());
    // A shared pixel, counted for the arm and for nobody.
    world.open(&letter(1).pixel().unwrap(), crate::world::FIREFOX).await;
    world.click(&letter(3).links()[0], crate::world::FIREFOX).await;
    let page = world.results("autumn");
    let sum = |of: fn(&Arm) -> u64| page.arms.iter().map(of).sum::<u64>();
    assert_eq!((sum(|arm| arm.delivered), sum(|arm| arm.trials), sum(|arm| arm.successes)), (20, 17, 1));
    assert!(page.notes.iter().any(|note| note.contains("3 of 20 delivered letters are not measured")), "{:?}", page.notes);
}

fn plan_of(world: &World, name: &str) -> Vec<(u64, Pseudonym, u8)> {
    let number = world.campaign(name).number;
    let planned = world.lab.vault.read(|conn| deliveries::planned_test(conn, number, -1, 10_000)).unwrap();
    planned.into_iter().map(|mailing| (mailing.position, mailing.pseudonym, mailing.variant.0)).collect()
}
