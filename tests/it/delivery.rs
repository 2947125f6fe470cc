//! Letters leave by SMTP: what they look like, and what becomes of each whatever the relay answers.

use jiff::SignedDuration;
use letterlab::app::{campaigns, jobs};
use letterlab::delivery::store as deliveries;
use letterlab::smtpd::Reply;
use letterlab::token::{Bearer, Kind};
use letterlab::vault::people::Suppression;
use letterlab::vault::store as roster;

use crate::mailboxes::Answer;
use crate::world::{BOUNCES, Engine, SITE, World, campaign, on_both_engines, people};

on_both_engines!(
    a_letter_has_both_parts_its_variant_pixel_links_and_ways_back,
    variants_differ_in_the_subject_alone,
    an_unknown_mailbox_is_refused_suppressed_and_counted_as_bounced,
    a_mailbox_that_wants_it_later_gets_it_later,
    a_relay_that_ends_the_session_is_asked_again,
    a_letter_put_off_for_too_long_is_given_up,
    a_refusal_for_the_sender_is_not_held_against_the_recipient,
    twenty_such_refusals_in_a_row_pause_the_campaign,
    whoever_is_to_be_told_of_a_pause_is_told_once,
    who_unsubscribed_since_enrolment_is_not_mailed,
    a_list_deleted_after_enrolment_stops_no_letter,
    a_paused_campaign_sends_nothing_and_goes_on_where_it_stopped,
    a_lease_that_ended_is_queued_again_unless_the_last_dot_was_near,
    an_outcome_copied_twice_counts_once,
    a_list_may_be_called_newsletter,
    a_letter_that_lacks_a_value_is_skipped_and_the_others_leave,
    names_in_every_script_arrive_as_they_were,
);

async fn a_letter_has_both_parts_its_variant_pixel_links_and_ways_back(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    assert_eq!(world.received().len(), 2);
    for letter in world.received() {
        let name = letter.recipient.replace("@example.org", "").replace('p', "Pat");
        assert!(letter.text.contains(&format!("Hello {name},")), "{}", letter.text);
        assert!(letter.html.contains(&format!("Hello {name},")), "{}", letter.html);
        assert!(letter.header("Content-Type").starts_with("multipart/alternative"));
        assert!(letter.header("From").contains("<news@example.org>"));
        assert_eq!(letter.header("To"), format!("<{}>", letter.recipient).trim_matches(['<', '>']));
        assert!(letter.header("Message-ID").ends_with("@example.org>"));
        assert!(letter.header("Date").starts_with("Sun, 22 Nov 2026 12:00:00"));

        // Every token is genuine, of its kind, and of one recipient.
        let keys = &world.lab.keys;
        let pseudonym = world.pseudonym_of(&letter);
        let pixel = keys.open(Kind::Open, &letter.pixel().unwrap()).unwrap();
        assert_eq!(pixel.bearer, Bearer::Recipient(pseudonym));
        assert_eq!(letter.links().len(), 2, "{}", letter.html);
        for (link, expected) in letter.links().iter().zip(["https://shop.example/first?a=1&b=2", "https://shop.example/all"]) {
            assert_eq!(keys.open(Kind::Click, link).unwrap().bearer, Bearer::Recipient(pseudonym));
            assert_eq!(world.destination(link).as_deref(), Some(expected));
        }
        assert!(!letter.html.contains("shop.example") && !letter.text.contains("shop.example"), "every link is tracked");
        assert_eq!(world.pseudonyms(&letter.recipient), [pseudonym]);

        // The ways back.
        let token = letter.unsubscribe_token();
        let unsubscribe = letter.header("List-Unsubscribe");
        assert_eq!(unsubscribe, format!("<{SITE}/u/{token}>, <mailto:u+{token}@{BOUNCES}?subject=unsubscribe>"));
        assert_eq!(letter.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        assert!(letter.text.contains(&format!("{SITE}/u/{token}")) && letter.html.contains(&format!("{SITE}/u/{token}")));
        assert_eq!(letter.return_path, format!("b+{}@{BOUNCES}", letter.bounce_token()));
        assert_eq!(keys.open(Kind::Bounce, &letter.bounce_token()).unwrap().bearer, Bearer::Recipient(pseudonym));
        assert_eq!(letter.header("List-Id"), "<customers.example.org>");
    }
    let counts = world.counts("autumn");
    assert_eq!((counts.enrolled, counts.accepted, counts.waiting()), (2, 2, 0));
    assert_eq!(world.state("autumn"), "observing", "the last letter is out");
}

async fn variants_differ_in_the_subject_alone(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(10), &campaign("autumn")).await;
    let letters = world.received();
    let count = |subject: &str| letters.iter().filter(|letter| letter.subject == subject).count();
    assert_eq!((count("What changed this autumn"), count("Two changes, two minutes")), (5, 5));
    let bare = |index: usize| {
        let letter = &letters[index];
        let mut text = letter.html.clone();
        for token in letter.links().iter().chain(&letter.pixel()).chain([&letter.unsubscribe_token()]) {
            text = text.replace(token.as_str(), "");
        }
        text.replace(&letter.recipient.replace("@example.org", "").replace('p', "Pat"), "")
    };
    for index in 1..letters.len() {
        assert_eq!(bare(0), bare(index));
    }
}

async fn an_unknown_mailbox_is_refused_suppressed_and_counted_as_bounced(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(4));
    world.mailboxes.answer("p2@example.org", Answer::Always(Reply::mailbox_unknown()));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted, counts.refused), (3, 1));
    assert_eq!(world.mailboxes.offers("p2@example.org"), 1, "not tried again");
    assert_eq!(world.person("p2@example.org").suppressed, Some(Suppression::HardBounce));
    let arms = world.results("autumn").arms;
    assert_eq!(arms.iter().map(|arm| arm.bounced).sum::<u64>(), 1);
    assert_eq!(arms.iter().map(|arm| arm.delivered).sum::<u64>(), 3);
}

async fn a_mailbox_that_wants_it_later_gets_it_later(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(3));
    world.mailboxes.answer("p1@example.org", Answer::Once(Reply::new(451, [4, 7, 1], "greylisted, try again later")));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let began = world.now();
    let worked = world.send_a_batch().await;
    assert_eq!((worked.taken, worked.report.accepted, worked.report.deferred), (3, 2, 1));
    world.tidy();
    assert_eq!(world.state("autumn"), "sending", "one letter of the test is not out yet");
    assert_eq!(world.send_a_batch().await.taken, 0, "not before its time");
    world.deliver_everything().await;
    assert!(world.now() > began, "the clock was moved");
    assert_eq!(world.mailboxes.offers("p1@example.org"), 2);
    assert_eq!(world.counts("autumn").accepted, 3);
    assert!(world.letter_to("p1@example.org").header("Date").contains("12:00:00"), "dated when it was first tried");
    assert_eq!(world.person("p1@example.org").suppressed, None);
}

async fn a_relay_that_ends_the_session_is_asked_again(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(5));
    world.mailboxes.answer("p3@example.org", Answer::Once(Reply::new(421, [4, 3, 2], "shutting down")));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    assert_eq!(world.counts("autumn").accepted, 5);
    assert_eq!(world.received().len(), 5, "nobody got two");
    assert_eq!(world.mailboxes.offers("p3@example.org"), 2);
}

async fn a_letter_put_off_for_too_long_is_given_up(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(2));
    world.mailboxes.answer("p0@example.org", Answer::Always(Reply::try_later()));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let began = world.now();
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted, counts.failed), (1, 1));
    assert!(world.now().duration_since(began) >= SignedDuration::from_hours(24), "the setting says a day");
    assert!((5..20).contains(&world.mailboxes.offers("p0@example.org")), "{}", world.mailboxes.offers("p0@example.org"));
    assert_eq!(world.person("p0@example.org").suppressed, None, "the next campaign tries again");
    assert_eq!(world.state("autumn"), "observing");
    assert_eq!(world.results("autumn").arms.iter().map(|arm| arm.failed).sum::<u64>(), 1);
}

async fn a_refusal_for_the_sender_is_not_held_against_the_recipient(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(4));
    let blocked = Reply::new(554, [5, 7, 1], "message refused by policy");
    world.mailboxes.answer("p1@example.org", Answer::AfterTheLetter(blocked));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    assert_eq!((world.counts("autumn").refused, world.counts("autumn").accepted), (1, 3));
    assert_eq!(world.person("p1@example.org").suppressed, None);
}

/// A campaign of which every letter is refused, for its sender or content.
async fn refuse_sixty(world: &mut World) {
    world.import(&people(60));
    for person in 0..60 {
        let blocked = Reply::new(554, [5, 7, 1], "message refused by policy");
        world.mailboxes.answer(&format!("p{person}@example.org"), Answer::AfterTheLetter(blocked));
    }
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
}

async fn twenty_such_refusals_in_a_row_pause_the_campaign(engine: Engine) {
    let mut world = World::new(engine).await;
    refuse_sixty(&mut world).await;
    let paused = world.campaign("autumn").paused.unwrap();
    assert!(paused.contains("in a row"), "{paused}");
    let offers: usize = (0..60).map(|person| world.mailboxes.offers(&format!("p{person}@example.org"))).sum();
    // One more than twenty: its envelope stood behind the dot of the last, and the letter itself stayed here.
    assert_eq!((offers, world.counts("autumn").queued), (21, 60), "not even the whole batch was burnt, and nobody is given up for it");
    world.close("autumn");
}

async fn whoever_is_to_be_told_of_a_pause_is_told_once(engine: Engine) {
    let mut world = World::new(engine).await;
    let told = world.folder().join("told");
    world.settings(&format!("[notify]\nmail = \"ops@example.net\"\ncommand = [\"sh\", \"-c\", 'cat >> \"$0\"', \"{}\"]", told.display()));
    refuse_sixty(&mut world).await;
    let mail = world.letter_to("ops@example.net");
    assert_eq!((mail.subject.as_str(), mail.return_path.as_str()), ("Letterlab: campaign autumn is paused", "news@example.org"));
    let paused = world.campaign("autumn").paused.unwrap();
    assert!(mail.text.contains(&paused) && mail.text.contains("/campaigns/1"), "{}", mail.text);
    let lines = std::fs::read_to_string(&told).unwrap();
    let notice: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!((&notice["event"], &notice["campaign"], &notice["reason"]), (&"paused".into(), &"autumn".into(), &paused.as_str().into()));
    // By hand, or once more by another worker: nothing new.
    assert!(!campaigns::hold(&world.lab, &world.campaign("autumn"), "the same again").unwrap());
    campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    campaigns::pause(&world.lab, &world.campaign("autumn"), "by hand").unwrap();
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 1);
    world.close("autumn");
}

async fn who_unsubscribed_since_enrolment_is_not_mailed(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(6), &campaign("autumn")).await;
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    world.unsubscribe(&world.letter_to("p4@example.org"));
    world.deliver_everything().await;
    let counts = world.counts("winter");
    assert_eq!((counts.enrolled, counts.accepted, counts.skipped), (6, 5, 1));
    assert_eq!(world.received().iter().filter(|letter| letter.recipient == "p4@example.org").count(), 1);
    assert_eq!(world.results("winter").arms.iter().map(|arm| arm.skipped).sum::<u64>(), 1);
    assert_eq!(world.results("autumn").arms.iter().map(|arm| arm.unsubscribed).sum::<u64>(), 1);
}

async fn a_list_deleted_after_enrolment_stops_no_letter(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(4));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    // Their list is deleted: the people stay, and so do letters already planned.
    assert!(world.lab.vault.write(|conn| roster::delete_list(conn, crate::world::LIST)).unwrap());
    world.deliver_everything().await;
    assert_eq!(world.counts("autumn").accepted, 4);
}

async fn a_paused_campaign_sends_nothing_and_goes_on_where_it_stopped(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(120));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    assert_eq!(world.send_a_batch().await.taken, 50);
    letterlab::app::campaigns::pause(&world.lab, &world.campaign("autumn"), "a typo was found").unwrap();
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 50);
    assert_eq!(world.campaign("autumn").paused.as_deref(), Some("a typo was found"));
    assert!(world.results("autumn").notes.iter().any(|note| note.contains("a typo was found")));
    letterlab::app::campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 120);
    assert_eq!(world.counts("autumn").accepted, 120);
}

async fn a_lease_that_ended_is_queued_again_unless_the_last_dot_was_near(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(6));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let number = world.campaign("autumn").number;
    // Two workers of another process took everything, were about to send the last dot of a letter each, and died.
    let now = world.now();
    let until = now.checked_add(SignedDuration::from_mins(30)).unwrap();
    let vault = &world.lab.vault;
    for owner in ["the other's first", "the other's second"] {
        let held = vault.write(|conn| deliveries::lease(conn, number, owner, now, until, 3)).unwrap();
        assert!(vault.write(|conn| deliveries::mark(conn, held[0].id, owner)).unwrap());
    }
    world.deliver_everything().await;
    assert!(world.received().is_empty(), "what another holds is not touched");
    assert_eq!(world.counts("autumn").in_hand, 6);
    world.wait(1);
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted, counts.unknown, counts.in_hand), (4, 2, 0));
    assert_eq!(world.received().len(), 4, "nobody may get a letter twice");
    let page = world.results("autumn");
    assert!(page.notes.iter().any(|note| note.contains("2 letters may or may not have been sent")), "{:?}", page.notes);
    assert_eq!(world.state("autumn"), "observing");
    // Unless somebody wants it so.
    assert_eq!(campaigns::resend(&world.lab, &world.campaign("autumn")).unwrap(), 2);
    assert_eq!((world.counts("autumn").unknown, world.counts("autumn").waiting()), (0, 2));
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.counts("autumn").accepted), (6, 6));
    let page = world.results("autumn");
    assert!(!page.notes.iter().any(|note| note.contains("may or may not have been sent")), "{:?}", page.notes);
    assert_eq!(page.arms.iter().map(|arm| arm.sent).sum::<u64>(), 6);
    assert_eq!(campaigns::resend(&world.lab, &world.campaign("autumn")).unwrap(), 0);
    campaigns::cancel(&world.lab, &world.campaign("autumn")).unwrap();
    assert!(campaigns::resend(&world.lab, &world.campaign("autumn")).unwrap_err().to_string().contains("cancelled"));
}

async fn an_outcome_copied_twice_counts_once(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(8), &campaign("autumn")).await;
    let before = world.results("autumn");
    world.put_outcomes_back();
    assert_eq!(jobs::tidy(&world.lab).unwrap().relayed, 8);
    let after = world.results("autumn");
    assert_eq!(after.arms.iter().map(|arm| arm.sent).sum::<u64>(), 8);
    assert_eq!(before.arms.len(), after.arms.len());
    assert_eq!(world.status().uncounted, 0, "nothing is waiting to be counted");
}

async fn a_list_may_be_called_newsletter(engine: Engine) {
    for list in ["newsletter", "letterlab", "c1", "Клиенты"] {
        let mut world = World::new(engine).await;
        world.import_into(list, &people(2)).unwrap();
        world.draft(&campaign("autumn").replace("list = \"customers\"", &format!("list = \"{list}\"")));
        world.launch("autumn").unwrap();
        world.deliver_everything().await;
        let counts = world.counts("autumn");
        assert_eq!((counts.accepted, counts.skipped), (2, 0), "{list}");
    }
}

async fn a_letter_that_lacks_a_value_is_skipped_and_the_others_leave(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import("email,first_name\nanna@example.org,Anna\nnobody@example.org,\n");
    world.draft(&campaign("autumn").replace(" | default(\"there\")", ""));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    let counts = world.counts("autumn");
    assert_eq!((counts.accepted, counts.skipped), (1, 1));
    assert_eq!(world.received()[0].recipient, "anna@example.org");
}

async fn names_in_every_script_arrive_as_they_were(engine: Engine) {
    let names = ["Zoë", "Дмитрий", "Nguyễn Thị Ánh", "अनुष्का", "<b>Bobby</b> & \"Co\"", "🙂"];
    let rows: String =
        (0..).zip(names).map(|(number, name)| format!("p{number}@example.org,\"{}\"\n", name.replace('"', "\"\""))).collect();
    let file = format!("email,first_name\n{rows}дмитрий@bücher.example,Дмитрий\n");
    let text = campaign("autumn").replace("subject = \"What changed", "subject = \"{{ first_name }}: what changed");
    let world = World::with_campaign_sent(engine, &file, &text).await;
    for (number, name) in (0..).zip(names) {
        let letter = world.letter_to(&format!("p{number}@example.org"));
        assert!(letter.text.contains(&format!("Hello {name},")), "{}", letter.text);
        if letter.subject.contains("autumn") {
            assert_eq!(letter.subject, format!("{name}: what changed this autumn"));
        }
        assert!(!letter.html.contains("<b>Bobby"), "values are text, not markup: {}", letter.html);
    }
    assert_eq!(world.letter_to("дмитрий@xn--bcher-kva.example").text.matches("Дмитрий").count(), 1);
}

/// Two workers of one campaign never take the same letter.
#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_send_each_letter_once() {
    let mut world = World::new(Engine::Postgres).await;
    world.import(&people(300));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    let (other, writers) = world.another_process().unwrap();
    let stop = tokio::sync::watch::channel(false).1;
    let away = {
        let other = other.clone();
        tokio::spawn(async move {
            let (mut worker, mut accepted) = (jobs::Worker::default(), 0);
            loop {
                let worked = jobs::work(&other, &mut worker, &stop).await.unwrap();
                if worked.taken == 0 {
                    break accepted;
                }
                accepted += worked.report.accepted;
            }
        })
    };
    world.deliver_everything().await;
    let _accepted_by_the_other = away.await.unwrap();
    other.journal.flush().await;
    drop(other);
    writers.join();
    world.deliver_everything().await;
    let mut addresses: Vec<String> = world.received().into_iter().map(|letter| letter.recipient).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), world.received().len(), world.counts("autumn").accepted), (300, 300, 300));
}
