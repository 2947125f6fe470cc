//! Sending is steered: stopped at once, shared fairly, kept within hours and limits, moved from a relay in trouble; and whatever
//! happens, each letter's fate is known.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use letterlab::app::domain::dns;
use letterlab::app::exchanges::{self, Asked};
use letterlab::app::{campaigns, clock, comparing, jobs, sending};
use letterlab::delivery::mailing::{Counts, Finished, Verdict};
use letterlab::delivery::store as deliveries;
use letterlab::ids::EventId;
use letterlab::smtpd::Reply;

use crate::mailboxes::{Answer, Mailboxes};
use crate::servers::dns::Dns;
use crate::world::{Engine, Room, World, campaign, on_both_engines, people};

on_both_engines!(
    a_pause_lets_nothing_more_leave_not_even_the_batch_in_hand,
    a_close_lets_nothing_more_leave_not_even_the_batch_in_hand,
    a_cancelled_campaign_sends_nothing_more_and_is_still_measured,
    a_letter_at_its_dot_when_its_campaign_is_cancelled_is_not_tried_again,
    campaigns_take_turns,
    the_reason_of_every_end_is_known_in_numbers_and_per_person,
    leases_of_letters_being_worked_on_are_renewed_and_no_others,
    an_outage_of_the_database_leaves_no_letter_waiting_and_none_unknown,
    what_an_earlier_process_of_the_node_held_is_free_at_once,
    a_scheduled_campaign_begins_at_its_time,
    letters_leave_within_the_window_only,
    nobody_gets_a_letter_in_their_own_quiet_hours,
    letters_that_are_not_tried_take_nothing_of_a_limit,
    limits_hold_and_the_others_letters_go_on,
    a_new_sender_is_warmed_up_day_by_day,
    arms_stay_even_at_every_moment_of_a_throttled_and_paused_campaign,
    the_load_of_a_relay_in_trouble_moves_to_the_other,
    a_sender_that_no_relay_is_for_is_told_and_waits_for_nobody,
    too_many_refusals_pause_the_campaign_and_a_resume_forgets_nobody,
    refusals_seen_by_several_processes_pause_the_campaign_together,
    letters_to_a_company_count_for_the_provider_that_keeps_its_mail,
    a_relay_is_tried_out_and_said_precisely_what_is_wrong,
);

/// Everybody is somewhere, and only there.
fn adds_up(counts: &Counts) -> bool {
    let Counts { enrolled, accepted, refused, skipped, failed, unknown, .. } = *counts;
    enrolled == accepted + refused + skipped + failed + unknown + counts.waiting()
}

async fn a_pause_lets_nothing_more_leave_not_even_the_batch_in_hand(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(80));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let lab = world.lab.clone();
    world.mailboxes.interrupt_at(10, move || {
        campaigns::pause(&lab, &campaigns::find(&lab, "autumn").unwrap(), "a typo was found").unwrap();
    });
    let worked = world.send_a_batch().await;
    assert_eq!((worked.taken, worked.report.accepted, worked.report.given_back), (50, 9, 41));
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted, counts.in_hand, counts.queued), (9, 0, 71), "nobody waits for a lease to end");
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 9);
    campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.counts("autumn").accepted), (80, 80), "exactly those not yet sent");
}

async fn a_close_lets_nothing_more_leave_not_even_the_batch_in_hand(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(80));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let lab = world.lab.clone();
    world.mailboxes.interrupt_at(5, move || campaigns::close(&lab, &campaigns::find(&lab, "autumn").unwrap()).unwrap());
    world.send_a_batch().await;
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((world.received().len(), counts.accepted, counts.skipped, counts.waiting()), (4, 4, 76, 0));
    assert!(adds_up(&counts));
}

async fn a_cancelled_campaign_sends_nothing_more_and_is_still_measured(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(120));
    world.draft(&campaign("autumn"));
    assert!(campaigns::cancel(&world.lab, &world.campaign("autumn")).is_err(), "a draft is deleted");
    world.launch("autumn").unwrap();
    world.send_a_batch().await;
    assert_eq!(campaigns::cancel(&world.lab, &world.campaign("autumn")).unwrap(), 70);
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.state("autumn")), (50, "observing"));
    let letter = world.received()[0].clone();
    assert_eq!(world.open(&letter.pixel().unwrap(), crate::world::FIREFOX).await.class(), "human");
    let progress = campaigns::progress(&world.lab, &world.campaign("autumn")).unwrap();
    assert_eq!((progress.reasons[0].reason.as_str(), progress.reasons[0].count), ("sending cancelled", 70));
}

async fn a_letter_at_its_dot_when_its_campaign_is_cancelled_is_not_tried_again(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(20));
    world.mailboxes.answer("p7@example.org", Answer::AfterTheLetter(Reply::new(451, [4, 3, 0], "try again later")));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let lab = world.lab.clone();
    world.mailboxes.interrupt_at_dot("p7@example.org", move || {
        campaigns::cancel(&lab, &campaigns::find(&lab, "autumn").unwrap()).unwrap();
    });
    world.send_a_batch().await;
    world.tidy();
    world.wait(30);
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.waiting(), counts.accepted + counts.skipped), (0, 20), "{counts:?}");
    assert_eq!(usize::try_from(counts.accepted).unwrap(), world.received().len());
    assert_eq!(world.mailboxes.offers("p7@example.org"), 1);
    assert_eq!(world.state("autumn"), "observing");
    world.close("autumn");
}

async fn campaigns_take_turns(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(150));
    for name in ["autumn", "winter", "spring"] {
        world.draft(&campaign(name));
        world.launch(name).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(world.send_a_batch().await.taken, 50);
    }
    let accepted = |name: &str| world.counts(name).accepted;
    assert_eq!((accepted("autumn"), accepted("winter"), accepted("spring")), (50, 50, 50));
    campaigns::pause(&world.lab, &world.campaign("winter"), "by hand").unwrap();
    for _ in 0..4 {
        world.send_a_batch().await;
    }
    assert_eq!((world.counts("autumn").accepted, world.counts("winter").accepted, world.counts("spring").accepted), (150, 50, 150));
    world.close("winter");
}

async fn the_reason_of_every_end_is_known_in_numbers_and_per_person(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(6));
    world.mailboxes.answer("p1@example.org", Answer::Always(Reply::new(550, [5, 1, 1], "no such user p1@example.org here")));
    world.mailboxes.answer("p2@example.org", Answer::Once(Reply::new(451, [4, 7, 1], "greylisted")));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    let reasons = campaigns::progress(&world.lab, &world.campaign("autumn")).unwrap().reasons;
    let told: Vec<_> = reasons.iter().map(|reason| (reason.state.as_str(), reason.reason.as_str(), reason.count)).collect();
    assert_eq!(told, [("refused", "hard 550 5.1.1", 1)]);
    let fate = |address: &str| {
        let id = world.person(address).id;
        world.lab.vault.read(|conn| deliveries::fates(conn, id)).unwrap().remove(0)
    };
    let refused = fate("p1@example.org");
    assert_eq!((refused.state.as_str(), refused.reason.as_deref()), ("refused", Some("hard 550 5.1.1")));
    let (_, verdict, tried) = &refused.attempts[0];
    assert_eq!((verdict.as_str(), tried.relay.as_str(), tried.stage.as_str(), tried.code), ("refused", "relay", "rcpt", Some(550)));
    assert!(tried.text.contains("no such user") && !tried.text.contains("p1@"), "{}", tried.text);
    let later = fate("p2@example.org");
    let verdicts: Vec<&str> = later.attempts.iter().map(|(_, verdict, _)| verdict.as_str()).collect();
    assert_eq!((later.state.as_str(), verdicts), ("accepted", vec!["deferred", "accepted"]));
    assert!(later.attempts[1].2.text.contains("message accepted"), "the relay's answer is kept: {:?}", later.attempts);
}

async fn leases_of_letters_being_worked_on_are_renewed_and_no_others(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(10));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let (number, vault, now) = (world.campaign("autumn").number, world.lab.vault.clone(), world.now());
    let until = now.checked_add(SignedDuration::from_mins(3)).unwrap();
    let (alive, dead) = (world.lab.sending.node.batch(), world.lab.sending.node.batch());
    let lease = |owner: &str| vault.write(|conn| deliveries::lease(conn, number, owner, now, until, 5)).unwrap();
    let (held, lost) = (lease(alive.owner()), lease(dead.owner()));
    assert_eq!((held.len(), lost.len()), (5, 5));
    // A worker that panics drops its batch: its letters do not wait for their lease to end.
    drop(dead);
    sending::keep(&world.lab).unwrap();
    world.tidy();
    assert_eq!((world.counts("autumn").in_hand, world.counts("autumn").queued), (5, 5));
    for _ in 0..3 {
        world.lab.clock.advance(SignedDuration::from_mins(2));
        sending::keep(&world.lab).unwrap();
        world.tidy();
    }
    let counts = world.counts("autumn");
    assert_eq!((counts.in_hand, counts.queued), (5, 5));
    let ids: Vec<_> = held.iter().map(|mailing| mailing.id).collect();
    world.lab.journal.give_back(ids, alive.owner().clone()).await;
    world.lab.journal.over(alive.owner().clone());
    world.lab.journal.flush().await;
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 10);
}

/// The database goes away while letters are in hand and one has just been answered, for longer than a lease, and comes back.
async fn an_outage_of_the_database_leaves_no_letter_waiting_and_none_unknown(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(10));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let (number, vault, now) = (world.campaign("autumn").number, world.lab.vault.clone(), world.now());
    let until = now.checked_add(SignedDuration::from_mins(3)).unwrap();
    let batch = world.lab.sending.node.batch();
    let held = vault.write(|conn| deliveries::lease(conn, number, batch.owner(), now, until, 10)).unwrap();
    let journal = world.lab.journal.clone();
    assert!(journal.mark(held[0].id, batch.owner().clone()).await);
    for table in ["mailing", "lease"] {
        world.sql(Room::Vault, &format!("ALTER TABLE {table} RENAME TO {table}_away"));
    }
    let end = Finished {
        mailing: held[0].clone(),
        verdict: Verdict::Accepted,
        attempt: None,
        event: EventId::from_bytes(clock::fresh()),
        at: now,
    };
    journal.finish(end, batch.owner().clone()).await;
    assert!(!journal.mark(held[1].id, batch.owner().clone()).await, "nobody at his last dot waits for the database");
    journal.give_back(held[1..].iter().map(|mailing| mailing.id).collect(), batch.owner().clone()).await;
    drop(batch);
    assert!(sending::keep(&world.lab).is_err());
    world.lab.clock.advance(SignedDuration::from_mins(4));
    for table in ["mailing", "lease"] {
        world.sql(Room::Vault, &format!("ALTER TABLE {table}_away RENAME TO {table}"));
    }
    // Whoever is first after the outage: leases have ended, and what the workers said may not be written yet.
    world.tidy();
    journal.flush().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted, counts.queued, counts.in_hand, counts.unknown), (1, 9, 0, 0));
    // The batch that was left goes with the next round of keeping.
    sending::keep(&world.lab).unwrap();
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 9);
    assert!(adds_up(&world.counts("autumn")));
}

async fn what_an_earlier_process_of_the_node_held_is_free_at_once(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(9));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let (number, vault, now) = (world.campaign("autumn").number, world.lab.vault.clone(), world.now());
    let until = now.checked_add(SignedDuration::from_mins(3)).unwrap();
    let lease = |owner: &str| vault.write(|conn| deliveries::lease(conn, number, owner, now, until, 3)).unwrap();
    let (killed, ours, elsewhere) = (lease("home/dead/0"), lease("home/alive/0"), lease("away/dead/0"));
    assert!(vault.write(|conn| deliveries::mark(conn, killed[0].id, "home/dead/0")).unwrap());
    assert_eq!(vault.write(|conn| deliveries::end_leases(conn, "home", "alive")).unwrap(), 1);
    world.tidy();
    let counts = world.counts("autumn");
    assert_eq!((counts.queued, counts.unknown, counts.in_hand), (2, 1, 6), "the one at its last dot may have left");
    for (held, owner) in [(ours, "home/alive/0"), (elsewhere, "away/dead/0")] {
        let ids: Vec<_> = held.iter().map(|mailing| mailing.id).collect();
        world.lab.journal.give_back(ids, owner.into()).await;
        world.lab.journal.over(owner.into());
    }
    world.lab.journal.flush().await;
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 8);
    assert!(adds_up(&world.counts("autumn")));
}

async fn a_scheduled_campaign_begins_at_its_time(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(5));
    world.draft(&campaign("autumn"));
    let start = world.now().checked_add(SignedDuration::from_hours(8)).unwrap();
    campaigns::schedule(&world.lab, &world.campaign("autumn"), Some(start)).unwrap();
    world.launch("autumn").unwrap();
    let worked = world.send_a_batch().await;
    assert_eq!((worked.taken, worked.look_again), (0, Some(start)));
    assert_eq!(campaigns::progress(&world.lab, &world.campaign("autumn")).unwrap().starts_at, Some(start));
    world.wait(8);
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 5);
    assert!(campaigns::schedule(&world.lab, &world.campaign("autumn"), None).is_err(), "it is out");
}

async fn letters_leave_within_the_window_only(engine: Engine) {
    let mut world = World::new(engine).await;
    // It is Sunday noon.
    world.settings("[delivery]\nwindow = \"Mon-Fri 08:00-18:00\"\ntime_zone = \"Europe/Berlin\"");
    world.import(&people(5));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let monday = "2026-11-23T07:00:00Z".parse().unwrap();
    let worked = world.send_a_batch().await;
    assert_eq!((worked.taken, worked.look_again), (0, Some(monday)));
    world.lab.clock.advance(monday.duration_since(world.now()));
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 5);
}

async fn nobody_gets_a_letter_in_their_own_quiet_hours(engine: Engine) {
    let mut world = World::new(engine).await;
    world.settings("[delivery]\nquiet_hours = \"21:00-08:00\"");
    // Noon in Greenwich: night in Tokyo, four in the morning in Los Angeles.
    world.import("email,time_zone\nlondon@example.org,Europe/London\ntokyo@example.org,Asia/Tokyo\nangeles@example.org,America/Los_Angeles\nnowhere@example.org,\n");
    world.draft(&campaign("autumn").replace("{{ first_name | default(\"there\") }}", "there"));
    world.launch("autumn").unwrap();
    let worked = world.send_a_batch().await;
    assert_eq!((worked.report.accepted, worked.report.postponed), (2, 2));
    let mut arrived = BTreeMap::new();
    for hour in 0..24 {
        for letter in world.received() {
            arrived.entry(letter.recipient).or_insert(hour);
        }
        world.wait(1);
        world.send_a_batch().await;
    }
    world.tidy();
    let hours: Vec<(&str, i32)> = arrived.iter().map(|(address, hour)| (address.split('@').next().unwrap(), *hour)).collect();
    assert_eq!(hours, [("angeles", 4), ("london", 0), ("nowhere", 0), ("tokyo", 11)], "eight in the morning of each");
    let attempts = world.lab.vault.read(|conn| deliveries::fates(conn, world.person("tokyo@example.org").id)).unwrap().remove(0).attempts;
    assert_eq!(attempts.len(), 1, "waiting is no attempt");
}

async fn letters_that_are_not_tried_take_nothing_of_a_limit(engine: Engine) {
    let mut world = World::new(engine).await;
    world.settings("[delivery]\nquiet_hours = \"21:00-08:00\"\n[throttle]\ncampaign_per_second = 5\nproviders = { other = 5 }\n[limits]\nper_second = 5");
    // Night in Tokyo.
    let rows = (0..20).map(|person| format!("t{person}@example.org,Asia/Tokyo\nl{person}@example.org,Europe/London\n")).collect::<String>();
    world.import(&format!("email,time_zone\n{rows}"));
    world.draft(&campaign("autumn").replace("{{ first_name | default(\"there\") }}", "there"));
    world.launch("autumn").unwrap();
    // One saved, then five for each second: as many leave, whoever else is left alone.
    for second in 0..4 {
        while world.send_a_batch().await.taken > 0 {}
        assert_eq!(world.received().len(), 1 + 5 * second);
        world.lab.clock.advance(SignedDuration::from_secs(1));
    }
    while world.send_a_batch().await.taken > 0 {}
    assert_eq!((world.received().len(), world.counts("autumn").queued), (20, 20));
    world.close("autumn");
}

async fn limits_hold_and_the_others_letters_go_on(engine: Engine) {
    let mut world = World::new(engine).await;
    world.settings("[throttle]\nproviders = { google = 1 }\n[limits]\nper_day = 60");
    let rows = (0..40).map(|person| format!("g{person}@gmail.com,G\np{person}@example.org,P\n")).collect::<String>();
    world.import(&format!("email,first_name\n{rows}"));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let to_google = |world: &World| world.received().iter().filter(|letter| letter.recipient.ends_with("gmail.com")).count();
    world.send_a_batch().await;
    assert_eq!((to_google(&world), world.received().len()), (1, 41));
    assert_eq!(world.send_a_batch().await.taken, 0);
    for second in 1..=19 {
        world.lab.clock.advance(SignedDuration::from_secs(1));
        world.send_a_batch().await;
        assert_eq!(to_google(&world), 1 + second);
    }
    let worked = world.send_a_batch().await;
    assert_eq!(
        (world.received().len(), worked.look_again),
        (60, Some("2026-11-23T00:00:00Z".parse().unwrap())),
        "the day's letters are out"
    );
    world.restart();
    world.wait(1);
    assert_eq!(world.send_a_batch().await.taken, 0, "a restart is no new day");
    world.wait(11);
    for _ in 0..20 {
        world.lab.clock.advance(SignedDuration::from_secs(1));
        world.send_a_batch().await;
    }
    world.tidy();
    assert_eq!((world.received().len(), world.counts("autumn").accepted), (80, 80));
}

async fn a_new_sender_is_warmed_up_day_by_day(engine: Engine) {
    let mut world = World::new(engine).await;
    // It is noon: the first day is that of the clock, in UTC.
    world.settings("[limits]\nwarm_up_from = \"2026-11-22\"\nwarm_up_first = 20\nwarm_up_growth = 2\nper_day = 70");
    world.import(&people(200));
    world.mailboxes.answer("p3@example.org", Answer::Once(Reply::try_later()));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let mut arrived = vec![0];
    for _ in 0..4 {
        for _ in 0..4 {
            world.wait(1);
            world.send_a_batch().await;
            world.restart();
        }
        arrived.push(world.received().len());
        world.wait(20);
    }
    let days: Vec<usize> = arrived.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(days, [20, 40, 70, 70], "what was put off is of no day but the one it left on");
}

async fn arms_stay_even_at_every_moment_of_a_throttled_and_paused_campaign(engine: Engine) {
    let mut world = World::new(engine).await;
    world.settings("[throttle]\nproviders = { google = 3, microsoft = 1 }");
    let domains = ["gmail.com", "outlook.com", "example.org", "example.net"];
    let rows = (0..200).map(|person| format!("p{person}@{},P,pseudonymous,form,2026-01-01\n", domains[person % 4])).collect::<String>();
    world.import(&format!("email,first_name,recording_mode,consent_source,consent_date\n{rows}"));
    world.mailboxes.answer("p1@outlook.com", Answer::Once(Reply::try_later()));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    for second in 0..400 {
        world.lab.clock.advance(SignedDuration::from_secs(1));
        if second == 20 {
            campaigns::pause(&world.lab, &world.campaign("autumn"), "by hand").unwrap();
        }
        if second == 60 {
            campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
        }
        world.send_a_batch().await;
    }
    world.tidy();
    assert_eq!(world.received().len(), 200);
    // In the order of arrival: within each provider and over all, neither arm ever runs ahead.
    let mut ahead: BTreeMap<&str, i32> = BTreeMap::new();
    let mut last = 0;
    for letter in world.received() {
        let step = if letter.subject.contains("autumn") { 1 } else { -1 };
        let provider = match letter.recipient.rsplit('@').next().unwrap() {
            "gmail.com" => "google",
            "outlook.com" => "microsoft",
            _ => "other",
        };
        *ahead.entry(provider).or_default() += step;
        assert!(ahead[provider].abs() <= 2, "{provider}: {ahead:?}");
        last = ahead.values().sum::<i32>();
        assert!(last.abs() <= 4, "{ahead:?}");
    }
    assert_eq!(last, 0);
}

async fn the_load_of_a_relay_in_trouble_moves_to_the_other(engine: Engine) {
    let mut world = World::new(engine).await;
    let other = Mailboxes::open().await;
    // A port nobody listens on any more.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let relay = |name: &str, port: u16| {
        format!("[[relays]]\nname = \"{name}\"\nsmtp = {{ host = \"127.0.0.1\", port = {port}, security = \"none\" }}\n")
    };
    world.settings(&format!("{}{}{}", relay("dead", dead), relay("first", world.mailboxes.port()), relay("second", other.port())));
    world.import(&people(200));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    let (first, second) = (world.received().len(), other.received().len());
    assert_eq!(first + second, 200);
    assert!(first >= 50 && second >= 50, "both took their part: {first}, {second}");
    assert_eq!(world.status().relays_in_trouble.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["dead"]);
    assert_eq!(world.campaign("autumn").paused, None);
}

async fn a_sender_that_no_relay_is_for_is_told_and_waits_for_nobody(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(3));
    for name in ["autumn", "winter"] {
        world.draft(&campaign(name));
    }
    world.launch("autumn").unwrap();
    let port = world.mailboxes.port();
    let relay = format!("smtp = {{ host = \"127.0.0.1\", port = {port}, security = \"none\" }}");
    world.settings(&format!("[[relays]]\nname = \"other\"\nsender_domains = [\"shop.example\"]\n{relay}"));
    let refused = world.launch("winter").unwrap_err().to_string();
    assert!(refused.contains("no relay") && refused.contains("example.org") && refused.contains("sender_domains"), "{refused}");
    world.deliver_everything().await;
    let paused = world.campaign("autumn").paused.unwrap();
    assert!(paused.contains("no relay") && paused.contains("example.org"), "{paused}");
    assert_eq!(world.counts("autumn").queued, 3);
    world.close("autumn");
}

async fn too_many_refusals_pause_the_campaign_and_a_resume_forgets_nobody(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(200));
    for person in (0..200).filter(|person| person % 2 == 0) {
        world.mailboxes.answer(&format!("p{person}@example.org"), Answer::Always(Reply::mailbox_unknown()));
    }
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    let paused = world.campaign("autumn").paused.unwrap();
    assert!(paused.contains("of the last 50 letters were refused within 10 minutes"), "{paused}");
    assert_eq!(world.status().paused, [("autumn".to_owned(), paused)]);
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted + counts.refused, counts.in_hand), (50, 0));
    for person in 0..200 {
        world.mailboxes.answer(&format!("p{person}@example.org"), Answer::Once(Reply::new(451, [4, 7, 1], "greylisted")));
    }
    campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert!(adds_up(&counts) && counts.waiting() == 0 && world.campaign("autumn").paused.is_none());
    assert_eq!(world.received().len() as u64, counts.accepted);
}

async fn refusals_seen_by_several_processes_pause_the_campaign_together(engine: Engine) {
    let mut world = World::new(engine).await;
    world.settings("[delivery]\nbatch = 30");
    world.import(&people(200));
    for person in 0..200 {
        world.mailboxes.answer(&format!("p{person}@example.org"), Answer::Always(Reply::mailbox_unknown()));
    }
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let (other, _background) = world.another_process().unwrap();
    let (mut worker, stop) = (jobs::Worker::default(), tokio::sync::watch::channel(false).1);
    // Fewer than 50 each: neither says anything alone.
    assert_eq!((world.send_a_batch().await.report.refused, jobs::work(&other, &mut worker, &stop).await.unwrap().report.refused), (30, 30));
    for lab in [&world.lab, &other] {
        assert!(campaigns::find(lab, "autumn").unwrap().paused.is_none());
        comparing::compare(lab).unwrap();
    }
    let worked = jobs::work(&other, &mut worker, &stop).await.unwrap();
    assert_eq!((worked.report.refused, worked.report.given_back), (1, 29), "the first letter that is judged by both");
    let paused = world.campaign("autumn").paused.unwrap();
    assert!(paused.contains("61 of the last 61 letters were refused within 10 minutes"), "{paused}");
    assert_eq!(world.status().paused, [("autumn".to_owned(), paused)]);
    assert_eq!(world.send_a_batch().await.taken, 0);
    for person in 0..200 {
        world.mailboxes.answer(&format!("p{person}@example.org"), Answer::Once(Reply::new(451, [4, 7, 1], "greylisted")));
    }
    campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    // What was before the pause counts no more, in neither of them.
    assert!(jobs::work(&other, &mut worker, &stop).await.unwrap().taken == 30);
    comparing::compare(&other).unwrap();
    other.journal.flush().await;
    worker.quit().await;
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert!(adds_up(&counts) && counts.waiting() == 0 && world.campaign("autumn").paused.is_none(), "{counts:?}");
    assert_eq!((counts.accepted, counts.refused), (139, 61));
}

async fn letters_to_a_company_count_for_the_provider_that_keeps_its_mail(engine: Engine) {
    let mut world = World::new(engine).await;
    world.settings("[throttle]\nproviders = { microsoft = 0.01 }");
    let addresses = ["a@firma.de", "b@firma.de", "c@laden.fr", "d@none.de", "e@away.de", "f@firma.example", "g@hotmail.com"];
    let rows: String = addresses.iter().map(|address| format!("{address},Pat,pseudonymous,sign-up form,2026-01-01\n")).collect();
    world.import(&format!("email,first_name,recording_mode,consent_source,consent_date\n{rows}"));
    let server = Dns::start(&[
        ("firma.de", "MX", "20 mail.laden.fr"),
        ("firma.de", "MX", "10 firma-de.mail.protection.outlook.com"),
        ("laden.fr", "MX", "10 mail.laden.fr"),
        ("away.de", "SERVFAIL", ""),
    ])
    .unwrap();
    let dns = dns::Dns::new(Some(server.address())).unwrap();
    assert_eq!(exchanges::ask(&world.lab, &dns).await.unwrap(), Asked { asked: 4, answered: 3 }, "each domain once, no reserved name");
    assert_eq!(exchanges::ask(&world.lab, &dns).await.unwrap(), Asked { asked: 0, answered: 0 });
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let drawn = world.lab.vault.read(|conn| deliveries::drawn(conn, world.campaign("autumn").number, -1, 100)).unwrap();
    let mut strata: Vec<&str> = drawn.iter().map(|drawn| drawn.stratum.as_str()).collect();
    strata.sort_unstable();
    assert_eq!(strata, [["microsoft/pseudonymous"; 3].as_slice(), ["other/pseudonymous"; 4].as_slice()].concat());
    let worked = world.send_a_batch().await;
    assert_eq!((worked.taken, worked.report.accepted), (5, 5), "one of Microsoft's three, and all others");
    assert!(!world.contents(Room::Ledger).contains("firma.de"));
    for _ in 0..2 {
        world.lab.clock.advance(SignedDuration::from_mins(2));
        assert_eq!(world.send_a_batch().await.report.accepted, 1);
    }
    world.wait(1);
    assert_eq!(exchanges::ask(&world.lab, &dns).await.unwrap().asked, 1, "what had no answer comes again");
    world.wait(30 * 24);
    assert_eq!(exchanges::ask(&world.lab, &dns).await.unwrap().asked, 4);
}

async fn a_relay_is_tried_out_and_said_precisely_what_is_wrong(engine: Engine) {
    let mut world = World::new(engine).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = world.mailboxes.port();
    world.settings(&format!(
        "[[relays]]\nname = \"good\"\nsmtp = {{ host = \"127.0.0.1\", port = {port}, security = \"none\" }}\n\
         [[relays]]\nname = \"plain\"\nsmtp = {{ host = \"127.0.0.1\", port = {port}, security = \"starttls\" }}\n\
         [[relays]]\nname = \"password\"\nsmtp = {{ host = \"127.0.0.1\", port = {port}, security = \"none\", credentials = {{ username = \"a\", password = \"b\" }} }}\n\
         [[relays]]\nname = \"dead\"\nsmtp = {{ host = \"127.0.0.1\", port = {dead}, security = \"none\" }}\n\
         [[relays]]\nname = \"nowhere\"\nsmtp = {{ host = \"no.such.host.invalid\", security = \"none\" }}\n"
    ));
    let tested = letterlab::app::relays::test(world.lab.sending.relays.all(), None, Some("news@example.org")).await;
    let last = |name: &str| {
        let relay = tested.iter().find(|relay| relay.relay == name).unwrap();
        let step = relay.steps.last().unwrap();
        (relay.good, step.what, step.detail.clone())
    };
    assert_eq!(last("good"), (true, "sender", "letters from this address are taken".to_owned()));
    for (name, what, words) in [
        ("plain", "encryption", "STARTTLS"),
        ("password", "sign-in", "AUTH"),
        ("dead", "connection", "cannot be reached"),
        ("nowhere", "name", "check relay.host"),
    ] {
        let (good, failed, detail) = last(name);
        assert!(!good && failed == what && detail.contains(words), "{name}: {failed}: {detail}");
    }
    let one = letterlab::app::relays::test(world.lab.sending.relays.all(), Some("good"), None).await;
    assert!(one.len() == 1 && one[0].steps.iter().all(|step| step.what != "sender"));
    assert!(world.received().is_empty(), "no letter is sent");
}
