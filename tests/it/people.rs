//! People come in from files: every line accounted for, nobody changed by accident.

use letterlab::app::people as persons;
use letterlab::ids::RecordingMode;
use letterlab::vault::import::ImportError;
use letterlab::vault::people::Suppression;
use letterlab::vault::store as roster;

use crate::world::{Engine, LIST, ParseAddress, World, campaign, on_both_engines, people};

on_both_engines!(
    a_file_is_imported_and_every_line_accounted_for,
    importing_the_same_file_again_changes_nothing,
    refused_lines_are_named_with_their_reason_and_the_others_are_taken,
    an_older_consent_does_not_override_a_newer_choice,
    a_file_that_is_no_list_of_people_is_refused_as_a_whole,
    a_list_written_out_imports_back_unchanged,
    who_unsubscribed_stays_unsubscribed_when_imported_again,
    who_is_suppressed_by_hand_gets_no_letter_until_that_is_taken_back,
    an_address_in_other_capitals_is_the_same_person,
    who_is_on_a_list_in_two_spellings_is_let_go_by_either,
);

async fn a_file_is_imported_and_every_line_accounted_for(engine: Engine) {
    let world = World::new(engine).await;
    // Excel's semicolons and byte order mark, names in several scripts, a domain beyond ASCII, an address given twice.
    let report = world.import(
        "\u{feff}E-Mail;First Name;Recording Mode;Consent Source;Consent Date\r\n\
         anna@example.org;Anna;pseudonymous;shop;2026-05-01\r\n\
         иван@example.org;Иван;aggregate;shop;2026-05-02\r\n\
         minh@bücher.example;\"Minh; Nguyễn\";off;shop;2026-05-03\r\n\
         anna@EXAMPLE.org;Anna;pseudonymous;shop;2026-05-01\r\n",
    );
    assert!(report.adds_up());
    assert_eq!((report.lines, report.added, report.repeated, report.refused), (4, 3, 1, 0));
    assert_eq!(report.needing_smtputf8, 1);

    let minh = world.person("minh@xn--bcher-kva.example");
    assert_eq!(minh.attributes["first_name"], "Minh; Nguyễn");
    assert_eq!(minh.recording, RecordingMode::Off);
    assert!(world.person("иван@example.org").address.needs_smtputf8());
    let (count, fields) = world
        .lab
        .vault
        .read(|conn| Ok::<_, letterlab::db::DbError>((roster::eligible_count(conn, LIST)?, roster::fields(conn, LIST)?)))
        .unwrap();
    assert_eq!(count, 3);
    assert!(fields.unwrap().contains("first_name"));
}

async fn importing_the_same_file_again_changes_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let first = world.import(&people(50));
    assert_eq!((first.added, first.updated, first.unchanged), (50, 0, 0));
    let before = exported(&world);
    world.wait(1);
    let second = world.import(&people(50));
    assert_eq!((second.added, second.updated, second.unchanged), (0, 0, 50));
    assert!(second.adds_up());
    assert_eq!(exported(&world), before);
    let id = world.person("p7@example.org").id;
    assert_eq!(world.lab.vault.read(|conn| roster::consents(conn, id)).unwrap().len(), 1, "no history was written");
}

async fn refused_lines_are_named_with_their_reason_and_the_others_are_taken(engine: Engine) {
    let world = World::new(engine).await;
    let report = world.import(
        "email,first_name,recording_mode,consent_date,consent_source\n\
         good@example.org,Good,pseudonymous,2026-05-01,form\n\
         not an address,Bad,pseudonymous,2026-05-01,form\n\
         mode@example.org,Bad,everything,2026-05-01,form\n\
         date@example.org,Bad,pseudonymous,tomorrow,form\n\
         future@example.org,Bad,pseudonymous,2027-05-01,form\n\
         short@example.org,Bad\n\
         last@example.org,Good,pseudonymous,2026-05-01,form\n\
         where@example.org,Bad,identified,2026-05-01,\n\
         when@example.org,Bad,identified,,form\n",
    );
    assert!(report.adds_up());
    assert_eq!((report.added, report.refused), (2, 7));
    let told: Vec<(u64, &str)> = report.refusals.iter().map(|refusal| (refusal.line, refusal.why.as_str())).collect();
    let expected =
        [(3, "@"), (4, "pseudonymous"), (5, "2026-05-31"), (6, "future"), (7, "2 fields"), (9, "consent_source"), (10, "consent_date")];
    assert_eq!(told.len(), expected.len());
    for ((line, why), (expected_line, words)) in told.iter().zip(expected) {
        assert_eq!(*line, expected_line);
        assert!(why.contains(words), "line {line}: {why}");
        assert!(!why.contains("example.org"), "a report names no person: {why}");
    }
}

async fn an_older_consent_does_not_override_a_newer_choice(engine: Engine) {
    let world = World::new(engine).await;
    let file = |mode: &str, date: &str| format!("email,recording_mode,consent_source,consent_date\nanna@example.org,{mode},form,{date}\n");
    world.import(&file("off", "2026-06-01"));
    world.import(&file("identified", "2026-05-01"));
    assert_eq!(world.person("anna@example.org").recording, RecordingMode::Off, "an older statement");
    world.import("email\nanna@example.org\n");
    assert_eq!(world.person("anna@example.org").recording, RecordingMode::Off, "no statement");
    world.import(&file("pseudonymous", "2026-07-01"));
    let anna = world.person("anna@example.org");
    assert_eq!(anna.recording, RecordingMode::Pseudonymous, "a newer statement");
    let history = world.lab.vault.read(|conn| roster::consents(conn, anna.id)).unwrap();
    let modes: Vec<RecordingMode> = history.iter().map(|consent| consent.mode).collect();
    assert_eq!(modes, [RecordingMode::Off, RecordingMode::Pseudonymous], "what was agreed before is kept");
}

async fn a_file_that_is_no_list_of_people_is_refused_as_a_whole(engine: Engine) {
    let world = World::new(engine).await;
    let check = |file: &str, words: &str| {
        let error = world.import_into(LIST, file).unwrap_err();
        assert!(!matches!(error, ImportError::Database(_)));
        assert!(error.to_string().contains(words), "{error}");
    };
    check("name,city\nAnna,Bern\n", "no e-mail column");
    check("email,mail\na@example.org,b@example.org\n", "both mean");
    check("email,name\na@example.org,\"open\n", "never closed");
    std::fs::write(world.folder().join("latin.csv"), b"email,name\na@example.org,Ren\xe9\n").unwrap();
    let options = letterlab::vault::import::ImportOptions { list: LIST.to_owned(), stated: None };
    let path = world.folder().join("latin.csv");
    let latin = letterlab::app::people::import_file(&world.lab, &path, &options, &mut |_| std::ops::ControlFlow::Continue(()), &mut |_| {});
    assert!(latin.unwrap_err().to_string().contains("UTF-8"));
    assert_eq!(world.lab.vault.read(roster::list_names).unwrap(), Vec::<String>::new(), "nothing was stored");
}

async fn a_list_written_out_imports_back_unchanged(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(5));
    world.import("email,suppression,first_name\ngone@example.org,hard bounce,\"Quote \"\"here\"\", comma\"\n");
    let written = exported(&world);
    let other = World::new(engine).await;
    let report = other.import(&written);
    assert_eq!((report.added, report.refused), (6, 0));
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&exported(&other)), sorted(&written));
    assert_eq!(other.person("gone@example.org").suppressed, Some(Suppression::HardBounce));
}

async fn who_unsubscribed_stays_unsubscribed_when_imported_again(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    world.unsubscribe(&world.letter_to("p1@example.org"));
    world.import(&people(4));
    let address = "p1@example.org".parse_address();
    let person = world.lab.vault.read(|conn| roster::person_by_address(conn, &address)).unwrap().unwrap();
    assert_eq!(person.suppressed, Some(Suppression::Unsubscribed));
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    assert_eq!(world.counts("winter").enrolled, 3);
    assert_eq!(world.mailboxes.offers("p1@example.org"), 1, "only the letter before");
}

async fn who_is_suppressed_by_hand_gets_no_letter_until_that_is_taken_back(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    let address = "p1@example.org".parse_address();
    assert!(persons::suppress(&world.lab, &address).unwrap());
    assert!(!persons::suppress(&world.lab, &address).unwrap(), "twice is once");
    world.import(&people(4));
    let standing = persons::letters_to(&world.lab, &address).unwrap().unwrap();
    assert_eq!((standing.may_be_mailed, standing.suppressed, standing.letters.len()), (false, Some(Suppression::ByHand), 1));
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    assert_eq!(world.counts("winter").enrolled, 3);
    assert!(persons::unsuppress(&world.lab, &address).unwrap());
    assert!(persons::letters_to(&world.lab, &address).unwrap().unwrap().may_be_mailed);
    // What the person did themselves is theirs to take back.
    let other = "p2@example.org".parse_address();
    persons::suppress(&world.lab, &other).unwrap();
    world.unsubscribe(&world.letter_to("p2@example.org"));
    let refused = persons::unsuppress(&world.lab, &other).unwrap_err();
    assert!(matches!(refused, persons::PersonError::Theirs(Suppression::Unsubscribed)), "{refused}");
    assert!(persons::suppress(&world.lab, &other).unwrap(), "what was by hand was taken back all the same");
    // The same mailbox, spelt otherwise.
    world.spell("p3@example.org", "P3@example.org", 3);
    assert!(persons::suppress(&world.lab, &"p3@Example.ORG".parse_address()).unwrap());
    for spelt in ["p3@example.org", "P3@example.org"] {
        assert!(!persons::letters_to(&world.lab, &spelt.parse_address()).unwrap().unwrap().may_be_mailed, "{spelt}");
    }
    persons::erase(&world.lab, &"P3@example.org".parse_address()).unwrap();
    for spelt in ["p3@example.org", "P3@example.org"] {
        assert!(persons::letters_to(&world.lab, &spelt.parse_address()).unwrap().is_none(), "{spelt}");
    }
    let nobody = persons::suppress(&world.lab, &"who@example.org".parse_address());
    assert_eq!(nobody.unwrap_err().to_string(), "nobody has this address");
}

async fn an_address_in_other_capitals_is_the_same_person(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    world.unsubscribe(&world.letter_to("p1@example.org"));
    let report = world.import("email,first_name\nP1@example.org,Other\nP2@Example.org,Changed\n");
    assert!(report.adds_up());
    assert_eq!((report.added, report.updated), (0, 2));
    let p2 = world.person("p2@example.org");
    assert_eq!((p2.attributes["first_name"].as_str(), p2.address.reveal()), ("Changed", "p2@example.org"));
    let standing = persons::letters_to(&world.lab, &"P1@example.org".parse_address()).unwrap().unwrap();
    assert_eq!((standing.may_be_mailed, standing.letters.len()), (false, 1), "found in any spelling");
    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    assert_eq!((world.counts("winter").enrolled, world.mailboxes.offers("P1@example.org")), (3, 0));

    // Two spellings in one file, on either side of the capitals' and the others' place in order; only letters of ASCII are one.
    let report = world.import("email,first_name\nNew@example.org,One\nother@example.org,Two\nnew@example.org,Three\n");
    assert_eq!((report.added, report.updated, report.repeated), (2, 0, 1));
    assert_eq!(world.person("nEW@example.org").attributes["first_name"], "Three", "the later line");
    let report = world.import("email\nÄnne@example.org\nänne@example.org\nÄNNE@example.org\n");
    assert_eq!((report.added, report.repeated), (2, 1));
    assert_eq!(world.lab.vault.read(roster::people_count).unwrap().0, 8);
    let suppressed = world.import("email,suppression\nNEW@example.org,complaint\n");
    assert_eq!((suppressed.added, suppressed.updated), (0, 1));
    assert_eq!(world.person("new@example.org").suppressed, Some(Suppression::Complaint));
}

async fn who_is_on_a_list_in_two_spellings_is_let_go_by_either(engine: Engine) {
    let mut world = World::new(engine).await;
    world.import(&people(5));
    for (number, spelt) in ["p0@example.org", "p1@example.org", "p2@example.org", "p3@example.org"].into_iter().enumerate() {
        world.spell(spelt, &spelt.to_uppercase().replace("EXAMPLE.ORG", "example.org"), u8::try_from(number).unwrap());
    }
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    assert_eq!(world.counts("autumn").enrolled, 9, "as they are");
    world.unsubscribe(&world.letter_to("P0@example.org"));
    let returned = world.letter_to("p1@example.org");
    world.returned(&returned.return_path, &crate::mailboxes::delivery_report(&returned, "5.1.1", "550 5.1.1 user unknown"));
    world.import("email,suppression\np2@example.org,complaint\n");
    for (name, reason) in [("0", Suppression::Unsubscribed), ("1", Suppression::HardBounce), ("2", Suppression::Complaint)] {
        for letter in ["p", "P"] {
            assert_eq!(world.person(&format!("{letter}{name}@example.org")).suppressed, Some(reason), "{letter}{name}");
        }
    }
    // Each line means the row that is spelt so, while there are two.
    let report = world.import("email,first_name\nP3@example.org,Capital\np3@example.org,Small\n");
    assert_eq!((report.added, report.updated, report.repeated), (0, 1, 1));
    for (address, name) in [("P3@example.org", "Capital"), ("p3@example.org", "Small")] {
        let person = world.person(address);
        assert_eq!((person.attributes["first_name"].as_str(), person.suppressed), (name, None));
    }
    // Nobody comes to another list twice.
    for (address, updated) in [("P3@example.org", 1), ("p3@example.org", 0)] {
        let report = world.import_into("other", &format!("email\n{address}\n")).unwrap();
        assert_eq!((report.added, report.updated), (0, updated), "{address}");
    }
    assert_eq!(world.lab.vault.read(|conn| roster::eligible_count(conn, "other")).unwrap(), 1);
}

fn exported(world: &World) -> String {
    let mut bytes = Vec::new();
    world.lab.vault.read(|conn| letterlab::vault::import::export(conn, LIST, &mut bytes)).unwrap();
    String::from_utf8(bytes).unwrap()
}
