//! What a campaign found out: the verdict, what it rests on, and that it can be derived again.

use letterlab::app::{assignment, campaigns, jobs};
use letterlab::ids::VariantNumber;
use letterlab::ledger::projection;
use letterlab::ledger::store as events;
use letterlab::report::export;
use letterlab::report::page::{CheckLevel, Estimate, Outcome, ResultPage};
use letterlab::report::script::{Language, script};
use letterlab::token::Kind;

use crate::mailboxes::Message;
use crate::world::{Engine, FIREFOX, Room, SCANNER, World, campaign, on_both_engines, people};

on_both_engines!(
    without_data_nothing_is_estimated,
    before_the_sealed_time_there_is_no_verdict,
    a_clear_difference_wins_once_the_time_has_come,
    a_difference_chance_explains_is_none,
    machines_count_in_raw_reading_only_and_the_page_says_so,
    machines_that_prefer_one_variant_forbid_a_verdict,
    letters_lost_in_one_arm_forbid_a_verdict,
    counts_are_derived_again_without_a_difference_and_a_changed_one_is_found,
    the_projection_started_again_from_the_first_event_ends_the_same,
    exports_hold_no_address_and_agree_with_the_page,
    the_saved_python_script_finds_the_page_s_numbers_again,
    the_automatic_rule_sends_the_winner_to_the_rest,
    without_a_winner_the_automatic_rule_sends_the_control,
    an_outcome_copied_twice_does_not_hold_the_automatic_rule_up,
    a_choice_by_hand_is_carried_out_and_one_before_its_time_is_told,
    opens_are_counted_without_those_only_prefetched,
    what_comes_after_the_sealed_time_moves_no_verdict,
    facts_up_to_the_sealed_time_are_written_down_however_late_one_looks,
    a_campaign_closed_before_its_time_is_told,
    a_choice_against_the_test_is_told,
    a_pause_while_sending_is_told_with_its_times,
    the_same_letter_twice_wins_nothing_and_a_difference_is_an_alarm,
    an_anytime_test_is_decided_early_and_late_bounces_move_nothing,
    a_stopped_verdict_is_judged_once_and_a_choice_after_it_is_told,
    clicks_to_opens_are_described_with_intervals,
    the_draw_repeats_from_the_seed_and_a_moved_recipient_is_found,
);

/// A test of 80 people of 200 in which the first `clicks` letters of each variant are clicked by a person.
async fn clicked(engine: Engine, text: &str, count: usize, clicks: [usize; 2]) -> World {
    let world = World::with_campaign_sent(engine, &people(count), text).await;
    for (letters, clicks) in by_variant(&world).iter().zip(clicks) {
        for letter in letters.iter().take(clicks) {
            world.open(&letter.pixel().unwrap(), FIREFOX).await;
            world.click(&letter.links()[0], FIREFOX).await;
        }
    }
    world.tidy();
    world
}

fn by_variant(world: &World) -> [Vec<Message>; 2] {
    let (control, other) = world.received().into_iter().partition(|letter| letter.subject == "What changed this autumn");
    [control, other]
}

fn automatic() -> String {
    campaign("autumn").replace("observe_hours = 24", "observe_hours = 24\nrule = \"automatic\"\nshare = 0.4")
}

fn level(page: &ResultPage, name: &str) -> CheckLevel {
    page.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}")).level
}

async fn without_data_nothing_is_estimated(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(4));
    world.draft(&campaign("autumn"));
    for step in ["draft", "sealed", "sending"] {
        match step {
            "sealed" => drop(campaigns::seal(&world.lab, &world.campaign("autumn")).unwrap()),
            "sending" => world.launch("autumn").unwrap(),
            _ => {}
        }
        let page = world.results("autumn");
        assert_eq!((page.state.as_str(), page.verdict.outcome), (step, Outcome::NotEstimable));
        assert!(matches!(page.arms[0].rate, Estimate::NotEstimable { .. }));
        assert!(matches!(page.comparisons[0].difference, Estimate::NotEstimable { .. }));
        assert_eq!(page.comparisons[0].p_value, None);
        assert!(page.countings.iter().all(|counting| counting.verdict == "cannot estimate"));
        assert!(export::table(&page).contains("cannot estimate"));
        assert!(!serde_json::to_string(&page).unwrap().contains("NaN"));
        export::csv(&page).unwrap();
    }
    world.close("autumn");
}

async fn before_the_sealed_time_there_is_no_verdict(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [2, 30]).await;
    let page = world.results("autumn");
    assert_eq!(page.verdict.outcome, Outcome::NotYet);
    assert!(page.verdict.sentence.contains("2026-11-23 12:00 UTC"), "{}", page.verdict.sentence);
    assert!(page.comparisons[0].p_value.is_some(), "for information");
    world.wait(23);
    assert_eq!(world.results("autumn").verdict.outcome, Outcome::NotYet);
    world.wait(1);
    assert_eq!(world.results("autumn").verdict.outcome, Outcome::Winner);
}

async fn a_clear_difference_wins_once_the_time_has_come(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [5, 25]).await;
    world.wait(24);
    let page = world.results("autumn");
    assert_eq!((page.verdict.outcome, page.verdict.winner.as_deref()), (Outcome::Winner, Some("B")));
    let numbers: Vec<(u64, u64, u64)> = page.arms.iter().map(|arm| (arm.enrolled, arm.trials, arm.successes)).collect();
    assert_eq!(numbers, [(40, 40, 5), (40, 40, 25)]);
    let Estimate::Interval { estimate, lower, upper } = page.comparisons[0].difference else { panic!("estimable") };
    assert!((estimate - 0.5).abs() < 1e-9 && lower > 0.0 && upper < 1.0 && lower < estimate && estimate < upper, "{lower} {upper}");
    assert!(page.comparisons[0].p_value.unwrap() < 0.001);
    assert!(page.agreement.agree);
    for check in ["Sample ratio, as assigned", "Sample ratio, as delivered", "Machine balance", "Enough data"] {
        assert_ne!(level(&page, check), CheckLevel::Stop, "{check}");
    }
    assert_eq!(page.plan.deviations, Vec::<String>::new());
}

async fn a_difference_chance_explains_is_none(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [10, 13]).await;
    world.wait(24);
    let page = world.results("autumn");
    assert_eq!((page.verdict.outcome, page.verdict.winner.as_deref()), (Outcome::NoWinner, None));
    assert!(page.verdict.sentence.contains("No winner"), "{}", page.verdict.sentence);
}

async fn machines_count_in_raw_reading_only_and_the_page_says_so(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [6, 20]).await;
    let [control, other] = by_variant(&world);
    // A scanner follows the links of many letters, alike in both arms.
    for letter in control.iter().rev().take(14).chain(other.iter().rev().take(14)) {
        world.click(&letter.links()[0], SCANNER).await;
    }
    world.wait(24);
    let page = world.results("autumn");
    let counts: Vec<(&str, Vec<(u64, u64)>)> =
        page.countings.iter().map(|counting| (counting.counting.as_str(), counting.counts.clone())).collect();
    assert_eq!(counts[0], ("raw", vec![(20, 40), (34, 40)]));
    assert_eq!(counts[1], ("standard", vec![(6, 40), (20, 40)]));
    let scanner = page.hits.iter().find(|class| class.class == "scanner").unwrap();
    assert_eq!(scanner.clicks, [14, 14]);
    assert_eq!(page.verdict.outcome, Outcome::Winner, "people decide");
}

async fn machines_that_prefer_one_variant_forbid_a_verdict(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [5, 25]).await;
    for letter in &by_variant(&world)[1] {
        world.click(&letter.links()[0], SCANNER).await;
    }
    world.wait(24);
    let page = world.results("autumn");
    assert_eq!((page.verdict.outcome, level(&page, "Machine balance")), (Outcome::Stopped, CheckLevel::Stop));
    assert_eq!(page.verdict.winner, None);
}

async fn letters_lost_in_one_arm_forbid_a_verdict(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 120, [5, 25]).await;
    for letter in by_variant(&world)[0].iter().rev().take(45) {
        world.returned(&letter.return_path, &crate::mailboxes::delivery_report(letter, "5.1.1", "550 5.1.1 user unknown"));
    }
    world.wait(24);
    let page = world.results("autumn");
    assert_eq!((page.verdict.outcome, level(&page, "Sample ratio, as delivered")), (Outcome::Stopped, CheckLevel::Stop));
    assert_eq!(level(&page, "Sample ratio, as assigned"), CheckLevel::Ok);
}

async fn counts_are_derived_again_without_a_difference_and_a_changed_one_is_found(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 40, [5, 9]).await;
    let number = world.campaign("autumn").number;
    let verify = || world.lab.ledger.read(|conn| projection::verify(conn, number)).unwrap();
    let verified = verify();
    assert_eq!(verified.events, 40 + 28);
    assert!(verified.counts > 5 && verified.differences.is_empty(), "{verified:?}");
    world.sql(Room::Ledger, "UPDATE tally SET value = value + 1 WHERE name = 'click standard' AND variant = 1");
    let differences = verify().differences;
    assert_eq!(differences, ["1/test/B/click standard: 10, 9"]);
    world.sql(Room::Ledger, "UPDATE tally SET value = value - 1 WHERE name = 'click standard' AND variant = 1");
}

async fn the_projection_started_again_from_the_first_event_ends_the_same(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 40, [5, 9]).await;
    let number = world.campaign("autumn").number;
    let tallies = || -> Vec<_> {
        let tallies = world.lab.ledger.read(|conn| events::tallies(conn, number)).unwrap();
        tallies.into_iter().filter(|(_, value)| *value != 0).collect()
    };
    let before = tallies();
    world.lab.ledger.write(events::reset_projection).unwrap();
    assert!(tallies().is_empty());
    world.tidy();
    assert_eq!(tallies(), before);
}

async fn exports_hold_no_address_and_agree_with_the_page(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 40, [5, 9]).await;
    let page = world.results("autumn");
    let csv = export::csv(&page).unwrap();
    let json = serde_json::to_string_pretty(&page).unwrap();
    let table = export::table(&page);
    for text in [&csv, &json, &table] {
        assert!(!text.contains('@'), "{text}");
        assert!(!text.contains("Pat1") && !text.contains("example.org"), "{text}");
    }
    for letter in world.received() {
        let pseudonym = world.pseudonym_of(&letter).to_string();
        assert!(!csv.contains(&pseudonym) && !json.contains(&pseudonym), "not even a pseudonym");
    }
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(csv.as_bytes()).records().map(Result::unwrap).collect();
    assert_eq!((&rows[0][0], &rows[1][0], &rows[1][1]), ("A", "B", "Two changes, two minutes"));
    assert_eq!(rows[1][10].parse::<u64>().unwrap(), page.arms[1].successes);
    let back: ResultPage = serde_json::from_str(&json).unwrap();
    assert_eq!((back.verdict.sentence, back.arms.len(), back.countings.len()), (page.verdict.sentence, 2, 3), "reads back");
}

async fn the_saved_python_script_finds_the_page_s_numbers_again(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [9, 21]).await;
    let text = script(&world.results("autumn"), Language::Python);
    let run = |text: &str| std::process::Command::new("python3").args(["-c", text]).output().unwrap();
    let output = run(&text);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for figure in ["rate A: page ", "difference lower B: page ", "p B: page ", "chance better B: page ", "largest relative difference: "] {
        assert!(printed.contains(figure) && !printed.contains(&format!("{figure}None")), "{figure} in {printed}");
    }
    // It would have told: another count is another result.
    let changed = text.replacen("x = [", "x = [1 + ", 1);
    assert!(changed != text && !run(&changed).status.success());
}

async fn the_automatic_rule_sends_the_winner_to_the_rest(engine: Engine) {
    let mut world = clicked(engine, &automatic(), 200, [4, 24]).await;
    assert_eq!(world.received().len(), 80);
    world.wait(23);
    world.deliver_everything().await;
    assert_eq!((world.received().len(), world.state("autumn")), (80, "observing"));
    world.wait(1);
    world.deliver_everything().await;
    assert_eq!(world.state("autumn"), "decided");
    let letters = world.received();
    assert_eq!(letters.len(), 200);
    assert!(letters[80..].iter().all(|letter| letter.subject == "Two changes, two minutes"));
    assert_eq!(world.campaign("autumn").chosen.unwrap().1, "the sealed rule: winner");
    // What the rest do is never compared.
    let before = world.results("autumn").arms[1].clone();
    for letter in &letters[80..] {
        world.click(&letter.links()[0], FIREFOX).await;
    }
    let page = world.results("autumn");
    assert_eq!((page.arms[1].successes, page.arms[1].trials, page.arms[1].enrolled), (before.successes, before.trials, 40));
    assert_eq!(page.plan.deviations, Vec::<String>::new());
}

async fn without_a_winner_the_automatic_rule_sends_the_control(engine: Engine) {
    let mut world = clicked(engine, &automatic(), 200, [10, 12]).await;
    world.wait(24);
    world.deliver_everything().await;
    let letters = world.received();
    assert_eq!(letters.len(), 200);
    assert!(letters[80..].iter().all(|letter| letter.subject == "What changed this autumn"));
}

async fn an_outcome_copied_twice_does_not_hold_the_automatic_rule_up(engine: Engine) {
    let mut world = clicked(engine, &automatic(), 200, [4, 24]).await;
    world.put_outcomes_back();
    world.wait(24);
    world.deliver_everything().await;
    assert_eq!((world.state("autumn"), world.received().len()), ("decided", 200));
}

async fn a_choice_by_hand_is_carried_out_and_one_before_its_time_is_told(engine: Engine) {
    let by_hand = automatic().replace("rule = \"automatic\"", "rule = \"hand\"");
    let mut world = clicked(engine, &by_hand, 100, [5, 6]).await;
    world.wait(48);
    world.deliver_everything().await;
    assert_eq!(world.state("autumn"), "observing", "nobody chose");
    let refused = world.decide("autumn", 'C').unwrap_err();
    assert!(refused.to_string().contains("A, B"), "{refused}");
    campaigns::decide(&world.lab, &world.campaign("autumn"), VariantNumber(1), "hand", false).unwrap();
    world.deliver_everything().await;
    assert_eq!(world.received().iter().filter(|letter| letter.subject == "Two changes, two minutes").count(), 20 + 60);
    assert_eq!(world.results("autumn").plan.deviations, Vec::<String>::new(), "after its time");

    let mut early = clicked(engine, &by_hand, 100, [5, 6]).await;
    early.wait(1);
    let asked = campaigns::decide(&early.lab, &early.campaign("autumn"), VariantNumber(0), "hand", false).unwrap_err().to_string();
    assert!(asked.contains("the plan of autumn looks at the result on") && asked.contains("--early"), "{asked}");
    assert_eq!(early.state("autumn"), "observing");
    early.decide("autumn", 'A').unwrap();
    early.deliver_everything().await;
    let deviations = early.results("autumn").plan.deviations;
    assert!(deviations.len() == 1 && deviations[0].contains("before the sealed time"), "{deviations:?}");
}

async fn opens_are_counted_without_those_only_prefetched(engine: Engine) {
    let text = campaign("autumn").replace("observe_hours = 24", "observe_hours = 24\nmetric = \"open\"");
    let world = World::with_campaign_sent(engine, &people(80), &text).await;
    for letters in by_variant(&world) {
        for letter in letters.iter().take(10) {
            world.open(&letter.pixel().unwrap(), crate::world::APPLE_PREFETCH).await;
        }
        // Two of them are also opened by their readers.
        for letter in letters.iter().skip(8).take(8) {
            world.open(&letter.pixel().unwrap(), FIREFOX).await;
        }
    }
    let page = world.results("autumn");
    let numbers: Vec<(u64, u64)> = page.arms.iter().map(|arm| (arm.successes, arm.trials)).collect();
    assert_eq!(numbers, [(8, 32), (8, 32)]);
    assert_eq!(page.countings[0].counts, [(16, 40), (16, 40)], "raw");
}

/// What a verdict rests on, without what is only told beside it.
fn settled(page: &ResultPage) -> serde_json::Value {
    let mut settled = serde_json::to_value(page).unwrap();
    for told in ["as_of", "state", "notes"] {
        settled.as_object_mut().unwrap().remove(told);
    }
    settled
}

async fn what_comes_after_the_sealed_time_moves_no_verdict(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 120, [5, 25]).await;
    world.wait(24);
    let uncounted = campaigns::results(&world.lab, &world.campaign("autumn")).unwrap();
    assert_eq!((uncounted.verdict.outcome, uncounted.looked_at), (Outcome::NotYet, None));
    assert!(uncounted.verdict.sentence.contains("being counted"), "{}", uncounted.verdict.sentence);

    let before = world.results("autumn");
    assert_eq!((before.verdict.outcome, before.verdict.winner.as_deref()), (Outcome::Winner, Some("B")));
    assert_eq!(before.looked_at.as_deref(), Some("2026-11-23 12:00 UTC"));
    let [control, other] = by_variant(&world);
    world.wait(2);
    // Each of these alone would have changed the verdict, had it come in time.
    for letter in control.iter().skip(10).take(40) {
        world.click(&letter.links()[0], FIREFOX).await;
    }
    for letter in &other {
        world.click(&letter.links()[0], SCANNER).await;
    }
    for letter in other.iter().take(30) {
        world.returned(&letter.return_path, &crate::mailboxes::delivery_report(letter, "5.1.1", "550 5.1.1 user unknown"));
    }
    for letter in other.iter().skip(30) {
        world.unsubscribe(letter);
    }
    let after = world.results("autumn");
    assert_eq!(settled(&after), settled(&before));
    assert_eq!(after.looked_at, before.looked_at, "a field of its own");
    for words in ["40 recipients clicked", "30 letters came back", "30 recipients unsubscribed"] {
        assert!(after.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", after.notes);
    }
    // Taking measurement back deletes hits; the counts they were part of stay.
    world.stop_measuring(&other[31]);
    assert_eq!(settled(&world.results("autumn")), settled(&before));
    let number = world.campaign("autumn").number;
    assert_eq!(world.lab.ledger.read(|conn| projection::verify(conn, number)).unwrap().differences, Vec::<String>::new());
}

async fn facts_up_to_the_sealed_time_are_written_down_however_late_one_looks(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [5, 25]).await;
    let [control, other] = by_variant(&world);
    // Nobody tidies for two days, as when the machine was off.
    world.wait(24);
    world.click(&control[5].links()[0], FIREFOX).await;
    world.wait(24);
    for letter in control.iter().skip(6) {
        world.click(&letter.links()[0], FIREFOX).await;
    }
    for letter in &other {
        world.returned(&letter.return_path, &crate::mailboxes::delivery_report(letter, "5.1.1", "550 5.1.1 user unknown"));
    }
    let page = world.results("autumn");
    assert_eq!((page.verdict.outcome, page.verdict.winner.as_deref()), (Outcome::Winner, Some("B")));
    let numbers: Vec<(u64, u64)> = page.arms.iter().map(|arm| (arm.successes, arm.trials)).collect();
    assert_eq!(numbers, [(6, 40), (25, 40)], "the sealed moment itself still counts");
    assert_eq!(page.counted_until.as_deref(), Some("2026-11-23 12:00 UTC"));
    assert_eq!(page.looked_at.as_deref(), Some("2026-11-24 12:00 UTC"));
}

async fn a_campaign_closed_before_its_time_is_told(engine: Engine) {
    let world = clicked(engine, &campaign("autumn"), 80, [5, 25]).await;
    world.wait(3);
    world.close("autumn");
    world.wait(30);
    let page = world.results("autumn");
    assert!(page.looked_at.is_some(), "closed campaigns are looked at, too");
    assert_eq!(page.plan.deviations, ["The campaign was closed on 2026-11-22 15:00 UTC, before the sealed time of 2026-11-23 12:00 UTC."]);
}

async fn a_choice_against_the_test_is_told(engine: Engine) {
    let mut world = clicked(engine, &automatic().replace("rule = \"automatic\"", "rule = \"hand\""), 200, [4, 24]).await;
    world.wait(24);
    assert_eq!(world.results("autumn").verdict.winner.as_deref(), Some("B"));
    world.decide("autumn", 'A').unwrap();
    world.deliver_everything().await;
    let deviations = world.results("autumn").plan.deviations;
    assert!(deviations.len() == 1 && deviations[0].contains("though the plan says B: the test found it to win"), "{deviations:?}");
}

async fn a_pause_while_sending_is_told_with_its_times(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(20));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    campaigns::pause(&world.lab, &world.campaign("autumn"), "a typo was found").unwrap();
    world.wait(2);
    campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    world.deliver_everything().await;
    // A pause after the test is out touches no comparison.
    campaigns::pause(&world.lab, &world.campaign("autumn"), "lunch").unwrap();
    world.wait(1);
    assert_eq!(
        world.results("autumn").plan.deviations,
        ["Sending of the test was paused on 2026-11-22 12:00 UTC until 2026-11-22 14:00 UTC: a typo was found."]
    );
}

/// A test of the set-up itself: the same letter in both arms, of which so many are clicked.
async fn same_letter(engine: Engine, clicks: [usize; 2]) -> World {
    let text = campaign("autumn")
        .replace("observe_hours = 24", "observe_hours = 24\nsame_letters = true")
        .replace("value = \"Two changes, two minutes\"\n", "");
    let world = World::with_campaign_sent(engine, &people(80), &text).await;
    let arm = |letter: &Message| usize::from(world.lab.keys.open(Kind::Click, &letter.links()[0]).unwrap().variant.0);
    let mut left = clicks;
    for letter in world.received() {
        assert_eq!(letter.subject, "What changed this autumn");
        let left = &mut left[arm(&letter)];
        if *left > 0 {
            *left -= 1;
            world.click(&letter.links()[0], FIREFOX).await;
        }
    }
    world.wait(24);
    world
}

async fn the_same_letter_twice_wins_nothing_and_a_difference_is_an_alarm(engine: Engine) {
    let even = same_letter(engine, [10, 13]).await.results("autumn");
    assert_eq!((even.verdict.outcome, even.verdict.winner), (Outcome::NoWinner, None));
    assert!(even.verdict.sentence.contains("As it should be"), "{}", even.verdict.sentence);
    let uneven = same_letter(engine, [4, 25]).await.results("autumn");
    assert_eq!((uneven.verdict.outcome, uneven.verdict.winner), (Outcome::Stopped, None));
    assert!(uneven.verdict.sentence.starts_with("Alarm"), "{}", uneven.verdict.sentence);
}

async fn an_anytime_test_is_decided_early_and_late_bounces_move_nothing(engine: Engine) {
    let text = automatic().replace("observe_hours = 24", "observe_hours = 24\nmethod = \"anytime\"");
    let mut world = clicked(engine, &text, 300, [2, 40]).await;
    let page = world.results("autumn");
    let found = page.anytime.clone().unwrap();
    let crossing = found.crossing.clone().unwrap();
    assert_eq!((page.verdict.winner.as_deref(), crossing.variant.as_str()), (Some("B"), "B"));
    assert_eq!((found.at_risk.clone(), crossing.settled_at.is_some()), (vec![60, 60], true));
    world.deliver_everything().await;
    assert_eq!((world.state("autumn"), world.received().len()), ("decided", 300), "the rest need not wait for the sealed time");
    assert_eq!(world.campaign("autumn").chosen.unwrap().1, "the sealed rule: winner");
    // Most of the winner's letters come back after all.
    let late: Vec<Message> =
        world.received().into_iter().take(120).filter(|letter| letter.subject == "Two changes, two minutes").take(45).collect();
    for letter in &late {
        world.returned(&letter.return_path, &crate::mailboxes::delivery_report(letter, "5.1.1", "550 5.1.1 user unknown"));
    }
    let after = world.results("autumn");
    assert_eq!(after.verdict.winner.as_deref(), Some("B"));
    let anytime = after.anytime.unwrap();
    assert_eq!((anytime.crossing.as_ref(), anytime.at_risk), (Some(&crossing), vec![60, 60]));
    assert_eq!(anytime.variants[0].p_value, found.variants[0].p_value);
    assert!(after.notes.iter().any(|note| note.contains("45 of the 120 recipients watched since")), "{:?}", after.notes);
    assert_eq!(after.plan.deviations, Vec::<String>::new());
    world.wait(24);
    let at_last = world.results("autumn");
    assert_eq!((at_last.verdict.winner.as_deref(), at_last.anytime.unwrap().crossing), (Some("B"), Some(crossing)));
}

async fn a_stopped_verdict_is_judged_once_and_a_choice_after_it_is_told(engine: Engine) {
    let mut world = clicked(engine, &automatic(), 400, [4, 24]).await;
    for letter in by_variant(&world)[0].iter().rev().take(45) {
        world.returned(&letter.return_path, &crate::mailboxes::delivery_report(letter, "5.1.1", "550 5.1.1 user unknown"));
    }
    world.wait(24);
    assert_eq!(world.results("autumn").verdict.outcome, Outcome::Stopped);
    let judged = world.campaign("autumn").judged;
    assert!(judged.as_deref().is_some_and(|judged| judged.contains("the sealed time")), "{judged:?}");
    assert!(jobs::tidy(&world.lab).unwrap().is_idle(), "what was judged is not judged again");
    // Were it judged again, what is written here would be replaced.
    assert_eq!(world.campaign("autumn").judged, judged);
    world.decide("autumn", 'B').unwrap();
    world.deliver_everything().await;
    let page = world.results("autumn");
    let told = "Variant B was chosen for the rest by hand, in a story on 2026-11-23 12:00 UTC, though a check had stopped the verdict (No verdict: the arms are not as large as they were drawn).";
    assert_eq!(page.plan.deviations, [told]);
    assert!(page.chosen.unwrap().against.unwrap().contains("a check had stopped"));
    assert_eq!(page.looked_at.as_deref(), Some("2026-11-23 12:00 UTC"));
    let table = export::table(&world.results("autumn"));
    assert!(table.contains("deviation  Variant B was chosen") && table.contains("Looked at on 2026-11-23 12:00 UTC"), "{table}");
    // A second choice comes too late.
    let refused = world.decide("autumn", 'A').unwrap_err();
    assert!(refused.to_string().contains("decided"), "{refused}");
}

async fn clicks_to_opens_are_described_with_intervals(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(80), &campaign("autumn")).await;
    let [control, other] = by_variant(&world);
    for (letters, [opens, clicks]) in [(&control, [20, 10]), (&other, [25, 20])] {
        for letter in letters.iter().take(opens) {
            world.open(&letter.pixel().unwrap(), FIREFOX).await;
        }
        // Five of those who click load no pictures.
        for letter in letters.iter().skip(opens + 5 - clicks).take(clicks) {
            world.click(&letter.links()[0], FIREFOX).await;
        }
    }
    let ratios = world.results("autumn").clicks_to_opens.unwrap();
    assert_eq!(ratios.both, [5, 15]);
    let Estimate::Interval { estimate, lower, upper } = ratios.ratios[0] else { panic!("estimable: {ratios:?}") };
    // Σ (y − r x)² = 10 − 2 · ½ · 5 + ¼ · 20 = 10 over 40 recipients, twice the error of 20 opens.
    let half = 1.959_963_985 * (10.0_f64 * 40.0 / 39.0).sqrt() / 20.0;
    assert!((estimate - 0.5).abs() < 1e-12 && (upper - 0.5 - half).abs() < 1e-6 && (0.5 - lower - half).abs() < 1e-6, "{ratios:?}");
    let Estimate::Interval { estimate, .. } = ratios.differences[0] else { panic!("estimable: {ratios:?}") };
    assert!((estimate - 0.3).abs() < 1e-12, "{ratios:?}");
    assert!(ratios.why_not_tested.contains("never tested"));
}

async fn the_draw_repeats_from_the_seed_and_a_moved_recipient_is_found(engine: Engine) {
    let text = automatic().replace("share = 0.4", "share = 0.4\nholdout = 0.1");
    let mut world = clicked(engine, &text, 200, [4, 24]).await;
    let draw = |world: &World| assignment::assignment(&world.lab, &world.campaign("autumn")).unwrap();
    let before = draw(&world);
    assert!(before.holds && before.sentence.contains("all 200 recipients"), "{}", before.sentence);
    assert_eq!(before.recipients.iter().filter(|recipient| recipient.place == "held out").count(), 20);
    let text = assignment::csv(&before).unwrap();
    assert_eq!(text.lines().count(), 201);
    for letter in world.received() {
        let arm = if letter.subject == "What changed this autumn" { "A" } else { "B" };
        let line = text.lines().find(|line| line.contains(&world.pseudonym_of(&letter).to_string())).unwrap();
        assert!(line.ends_with(&format!(",{arm},{arm}")), "{line}");
    }
    // With the rest sent it is the same draw.
    world.wait(24);
    world.deliver_everything().await;
    assert!(draw(&world).holds);
    let someone = before.recipients.iter().find(|recipient| recipient.place == "A").unwrap();
    world.sql(Room::Ledger, &format!("UPDATE subject SET variant = 1 WHERE pseudonym = '{}'", someone.pseudonym));
    let moved = draw(&world);
    assert_eq!((moved.holds, moved.contradictory), (false, 1), "{}", moved.sentence);
    world.sql(Room::Ledger, &format!("UPDATE subject SET variant = 0 WHERE pseudonym = '{}'", someone.pseudonym));
    assert!(draw(&world).holds);
}
