//! The vault's store of people and accounts, function by function.

use jiff::Timestamp;
use letterlab::db::VaultDb;
use letterlab::ids::{RecordingMode, SubscriberId};
use letterlab::vault::account::{Account, Role};
use letterlab::vault::people::{Consent, Suppression};
use letterlab::vault::store::{self, Change, IncomingPerson};

use crate::world::{Engine, ParseAddress, World, on_both_engines};

on_both_engines!(
    people_are_added_updated_and_left_alone,
    a_person_is_found_by_address_and_by_id,
    lists_are_counted_paged_and_deleted,
    who_is_suppressed_is_not_eligible_until_it_is_taken_back,
    of_several_suppressions_the_persons_own_is_shown,
    consents_are_kept_in_order,
    an_export_holds_suppressed_people_with_their_reason,
    accounts_sessions_and_keys_open_and_end,
    five_thousand_and_one_people_fit_through_every_query,
);

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + hour * 3600).unwrap()
}

fn consent(mode: RecordingMode, hour: i64) -> Consent {
    Consent { mode, source: "form".to_owned(), at: at(hour) }
}

fn incoming(address: &str, list: &str) -> IncomingPerson {
    IncomingPerson {
        address: address.parse_address(),
        attributes: vec![("first_name".into(), "Anna".to_owned())],
        consent: Some(consent(RecordingMode::Pseudonymous, 0)),
        consent_is_weak: false,
        list: list.to_owned(),
        suppression: None,
    }
}

fn upsert(vault: &VaultDb, people: &[IncomingPerson]) -> Vec<Change> {
    let mut mint = || SubscriberId::from_bytes(letterlab::app::clock::fresh_ordered(at(0))).to_string();
    vault.write(|conn| store::upsert(conn, people, &consent(RecordingMode::Aggregate, 0), &mut mint, at(1))).unwrap()
}

fn id_of(vault: &VaultDb, address: &str) -> SubscriberId {
    vault.read(|conn| store::person_by_address(conn, &address.parse_address())).unwrap().unwrap().id
}

async fn people_are_added_updated_and_left_alone(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    let anna = incoming("anna@example.org", "a");
    assert_eq!(upsert(vault, &[anna.clone(), incoming("ben@example.org", "a")]), [Change::Added, Change::Added]);
    assert_eq!(upsert(vault, std::slice::from_ref(&anna)), [Change::Unchanged]);
    let on_another_list = IncomingPerson { list: "b".to_owned(), ..anna.clone() };
    let renamed = IncomingPerson { attributes: vec![("first_name".into(), "Änne".to_owned())], ..anna.clone() };
    let suppressed = IncomingPerson { suppression: Some(Suppression::Complaint), ..renamed.clone() };
    assert_eq!(upsert(vault, &[on_another_list, renamed, suppressed.clone()]), [Change::Updated; 3]);
    assert_eq!(upsert(vault, &[suppressed]), [Change::Unchanged]);
    let person = vault.read(|conn| store::person_by_address(conn, &anna.address)).unwrap().unwrap();
    assert_eq!((person.attributes["first_name"].as_str(), person.suppressed), ("Änne", Some(Suppression::Complaint)));
    assert_eq!(upsert(vault, &[]), []);
}

async fn a_person_is_found_by_address_and_by_id(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    assert_eq!(
        upsert(vault, &[incoming("Anna@example.org", "a"), incoming("ben@example.org", "a"), incoming("anna@example.org", "a")]),
        [Change::Added, Change::Added, Change::Unchanged]
    );
    assert_eq!(id_of(vault, "anna@example.org"), id_of(vault, "Anna@example.org"), "no person tells them apart");
    let (one, other) = (id_of(vault, "aNNA@example.org"), id_of(vault, "ben@example.org"));
    let unknown = SubscriberId::from_bytes([7; 16]);
    let found = vault.read(|conn| store::people_by_id(conn, &[one, unknown, other])).unwrap();
    assert_eq!((found.len(), found[&one].address.reveal()), (2, "Anna@example.org"));
    assert_eq!(format!("{:?}", found[&one].address), "A…@….org", "printed masked");
    assert!(vault.read(|conn| store::person_by_address(conn, &"nobody@example.org".parse_address())).unwrap().is_none());
    assert!(vault.read(|conn| store::people_by_id(conn, &[])).unwrap().is_empty());
}

async fn lists_are_counted_paged_and_deleted(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    let people: Vec<IncomingPerson> = (0..25).map(|number| incoming(&format!("p{number:02}@example.org"), "many")).collect();
    upsert(vault, &people);
    upsert(vault, &[IncomingPerson { list: "few".to_owned(), suppression: Some(Suppression::ByHand), ..people[3].clone() }]);
    let lists = vault.read(store::lists).unwrap();
    let counts: Vec<(&str, u64, u64)> = lists.iter().map(|list| (list.name.as_str(), list.people, list.suppressed)).collect();
    assert_eq!(counts, [("few", 1, 1), ("many", 25, 1)]);
    assert_eq!(vault.read(store::list_names).unwrap(), ["few", "many"]);
    assert_eq!(vault.read(store::people_count).unwrap(), (25, 1), "each once, on however many lists");

    let (mut after, mut addresses) = (String::new(), Vec::new());
    loop {
        let page = vault.read(|conn| store::people_of_list(conn, "many", &after, 10)).unwrap();
        let Some(last) = page.last() else { break };
        after = last.address.reveal().to_owned();
        addresses.extend(page.iter().map(|person| person.address.reveal().to_owned()));
    }
    assert_eq!(addresses, people.iter().map(|person| person.address.reveal().to_owned()).collect::<Vec<_>>());

    let again = vault.write(|conn| store::list_id(conn, "many", "unused", at(2))).unwrap();
    assert_ne!(again, "unused", "a list keeps its id");
    assert!(vault.write(|conn| store::delete_list(conn, "many")).unwrap());
    assert!(!vault.write(|conn| store::delete_list(conn, "many")).unwrap());
    assert_eq!(vault.read(|conn| store::fields(conn, "many")).unwrap(), None);
    assert_eq!(vault.read(|conn| store::eligible_count(conn, "many")).unwrap(), 0);
    assert_eq!(id_of(vault, "p03@example.org").to_string().len(), 26, "the people stay");
}

async fn who_is_suppressed_is_not_eligible_until_it_is_taken_back(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    let people: Vec<IncomingPerson> = (0..7).map(|number| incoming(&format!("p{number}@gmail.com"), "a")).collect();
    upsert(vault, &people);
    let id = id_of(vault, "p3@gmail.com");
    let suppress = |reason| vault.write(|conn| store::suppress(conn, id, reason, at(2))).unwrap();
    assert_eq!((suppress(Suppression::HardBounce), suppress(Suppression::HardBounce), suppress(Suppression::ByHand)), (true, false, true));
    let eligible = || {
        let (mut after, mut ids) = (None, Vec::new());
        loop {
            let page = vault.read(|conn| store::eligible(conn, "a", after, 2)).unwrap();
            let Some(last) = page.last() else { break ids };
            after = Some(last.id);
            assert!(page.iter().all(|entry| entry.provider == "google" && entry.recording == RecordingMode::Pseudonymous));
            ids.extend(page.iter().map(|entry| entry.id));
        }
    };
    assert_eq!((eligible().len(), eligible().contains(&id)), (6, false));
    assert!(eligible().is_sorted_by_key(|id| id.to_string()), "page by page in the order of ids as written");
    let take_back = |reason| vault.write(|conn| store::unsuppress(conn, id, reason)).unwrap();
    assert!(take_back(Suppression::HardBounce) && !take_back(Suppression::HardBounce));
    assert_eq!(eligible().len(), 6, "one reason is enough");
    assert!(take_back(Suppression::ByHand));
    assert_eq!(vault.read(|conn| store::eligible_count(conn, "a")).unwrap(), 7);
    assert!(eligible().contains(&id));
}

async fn of_several_suppressions_the_persons_own_is_shown(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    upsert(vault, &[incoming("anna@example.org", "a")]);
    let id = id_of(vault, "anna@example.org");
    let shown = || {
        let by_id = vault.read(|conn| store::people_by_id(conn, &[id])).unwrap()[&id].suppressed;
        let of_list = vault.read(|conn| store::people_of_list(conn, "a", "", 10)).unwrap()[0].suppressed;
        let exported = vault.read(|conn| store::exported_people(conn, "a", None, 10)).unwrap()[0].suppressed;
        assert!(by_id == of_list && by_id == exported);
        by_id
    };
    assert_eq!(shown(), None);
    for reason in [Suppression::ByHand, Suppression::HardBounce, Suppression::Unsubscribed, Suppression::Complaint] {
        vault.write(|conn| store::suppress(conn, id, reason, at(1))).unwrap();
        assert_eq!(shown(), Some(reason));
    }
}

async fn consents_are_kept_in_order(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    upsert(vault, &[incoming("anna@example.org", "a")]);
    let id = id_of(vault, "anna@example.org");
    for (hour, mode) in [(5, RecordingMode::Off), (6, RecordingMode::Identified)] {
        vault.write(|conn| store::record_consent(conn, id, &consent(mode, hour), &format!("record {hour}"), at(hour))).unwrap();
    }
    let expected = [consent(RecordingMode::Pseudonymous, 0), consent(RecordingMode::Off, 5), consent(RecordingMode::Identified, 6)];
    assert_eq!(vault.read(|conn| store::consents(conn, id)).unwrap(), expected);
    assert_eq!(vault.read(|conn| store::people_by_id(conn, &[id])).unwrap()[&id].recording, RecordingMode::Identified);
    let nobody = SubscriberId::from_bytes([9; 16]);
    vault.write(|conn| store::record_consent(conn, nobody, &consent(RecordingMode::Off, 7), "record 7", at(7))).unwrap();
    assert!(vault.read(|conn| store::consents(conn, nobody)).unwrap().is_empty());
}

async fn an_export_holds_suppressed_people_with_their_reason(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    let mut people: Vec<IncomingPerson> = (0..5).map(|number| incoming(&format!("p{number}@example.org"), "a")).collect();
    people[2].suppression = Some(Suppression::Unsubscribed);
    upsert(vault, &people);
    let (mut after, mut exported) = (None, Vec::new());
    loop {
        let page = vault.read(|conn| store::exported_people(conn, "a", after, 2)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        exported.extend(page);
    }
    assert_eq!(exported.len(), 5);
    let suppressed: Vec<&str> =
        exported.iter().filter(|person| person.suppressed.is_some()).map(|person| person.address.reveal()).collect();
    assert_eq!(suppressed, ["p2@example.org"]);
    assert_eq!(exported[0].consent, consent(RecordingMode::Pseudonymous, 0));
    assert!(vault.read(|conn| store::exported_people(conn, "nothing", None, 2)).unwrap().is_empty());
}

async fn accounts_sessions_and_keys_open_and_end(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    assert_eq!(vault.read(store::account_count).unwrap(), 0);
    let account = |login: &str, role| Account { id: format!("id of {login}"), login: login.to_owned(), role };
    let (ada, ben) = (account("ada", Role::Administrator), account("ben", Role::Marketer));
    for new in [&ada, &ben] {
        vault.write(|conn| store::create_account(conn, new, "hash", at(0))).unwrap();
    }
    let twice = account("ada", Role::Marketer);
    assert!(
        vault
            .write(|conn| store::create_account(conn, &Account { id: "x".to_owned(), ..twice }, "hash", at(0)))
            .unwrap_err()
            .is_duplicate()
    );
    assert_eq!(vault.read(store::account_count).unwrap(), 2);
    let by_login = |login: &str| vault.read(|conn| store::account_by_login(conn, login)).unwrap();
    assert_eq!((by_login("ada"), by_login("Ada")), (Some((ada.clone(), "hash".to_owned())), None));

    let start = |key: &str, who: &Account| vault.write(|conn| store::create_session(conn, key, &who.id, "csrf", at(0), at(8))).unwrap();
    let session = |key: &str, hour| vault.read(|conn| store::session_by_key(conn, key, at(hour))).unwrap();
    start("one", &ada);
    start("two", &ben);
    assert_eq!(session("one", 7).map(|session| (session.account, session.csrf)), Some((ada.clone(), "csrf".to_owned())));
    assert_eq!((session("one", 8), session("three", 1)), (None, None), "ended, or never begun");
    vault.write(|conn| store::end_session(conn, "one")).unwrap();
    assert_eq!(session("one", 1), None);
    start("four", &ben);
    assert!(vault.write(|conn| store::set_password(conn, "ben", "new hash")).unwrap());
    assert!(!vault.write(|conn| store::set_password(conn, "nobody", "new hash")).unwrap());
    assert_eq!((session("two", 1), session("four", 1)), (None, None), "a new password ends every session");
    assert_eq!(by_login("ben").unwrap().1, "new hash");

    let key_of = |key: &str| vault.read(|conn| store::api_key_account(conn, key)).unwrap();
    for key in ["key 1", "key 2"] {
        vault.write(|conn| store::create_api_key(conn, key, &ben.id, "a script", at(0))).unwrap();
    }
    assert_eq!((key_of("key 2"), key_of("key 3")), (Some(ben), None));
    assert_eq!(vault.write(|conn| store::api_keys_clear(conn, "ben")).unwrap(), 2);
    assert_eq!(key_of("key 1"), None);
}

/// More than one chunk of an import and one `IN (…)` holds.
async fn five_thousand_and_one_people_fit_through_every_query(engine: Engine) {
    let world = World::new(engine).await;
    let vault = &world.lab.vault;
    let people: Vec<IncomingPerson> = (0..5_001).map(|number| incoming(&format!("p{number}@example.org"), "a")).collect();
    assert!(upsert(vault, &people).iter().all(|change| *change == Change::Added));
    assert!(upsert(vault, &people).iter().all(|change| *change == Change::Unchanged));
    let ids: Vec<SubscriberId> =
        vault.read(|conn| store::eligible(conn, "a", None, 10_000)).unwrap().into_iter().map(|entry| entry.id).collect();
    assert_eq!(vault.read(|conn| store::people_by_id(conn, &ids)).unwrap().len(), 5_001);
}
