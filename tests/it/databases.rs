//! Starting up: a database of a newer Letterlab, several processes at once, places that cannot be reached.

use std::sync::mpsc;

use diesel::RunQueryDsl as _;
use letterlab::app::accounts::{self, AccountError};
use letterlab::app::clock::Clock;
use letterlab::app::config;
use letterlab::app::lab::Lab;
use letterlab::db::{AnyConnection, DbError, VaultConn};
use letterlab::token::Kind;
use letterlab::vault::account::Role;
use letterlab::vault::people::Suppression;
use letterlab::vault::store;

use crate::world::{BEGINNING, Engine, FIREFOX, Room, World, campaign, on_both_engines, people};

#[derive(diesel::QueryableByName)]
struct Word {
    #[diesel(sql_type = diesel::sql_types::Text)]
    word: String,
}

on_both_engines!(
    a_database_newer_than_the_program_is_refused_with_what_to_do,
    several_processes_may_start_at_once_on_nothing,
    what_one_spelling_of_an_address_forbade_forbids_all_after_an_upgrade,
    a_second_process_sees_what_the_first_did,
    what_need_not_wait_for_the_disk_is_whole_and_leaves_no_trace_of_its_haste,
);

async fn a_database_newer_than_the_program_is_refused_with_what_to_do(engine: Engine) {
    for (room, name) in [(Room::Vault, "vault"), (Room::Ledger, "ledger")] {
        let world = World::new(engine).await;
        world.sql(room, "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')");
        let Err(error) = world.another_process() else { panic!("it opened") };
        let message = format!("{error:#}");
        assert!(message.contains(name) && message.contains("29991231000000"), "{message}");
        assert!(message.contains("start the newer Letterlab, or restore a backup"), "{message}");
    }
}

async fn what_one_spelling_of_an_address_forbade_forbids_all_after_an_upgrade(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(4));
    world.spell("p0@example.org", "P0@example.org", 1);
    world.spell("p1@example.org", "P1@example.org", 2);
    // As it was before: each row for itself.
    world
        .sql(Room::Vault, "DROP INDEX IF EXISTS subscriber_spelt; DELETE FROM __diesel_schema_migrations WHERE version = '20261123000000'");
    for (address, reason) in [("p0@example.org", "unsubscribed"), ("P1@example.org", "complaint"), ("p1@example.org", "complaint")] {
        let who = format!("SELECT id, '{reason}', 1 FROM subscriber WHERE address = '{address}'");
        world.sql(Room::Vault, &format!("INSERT INTO suppression {who}"));
    }
    let (upgraded, _background) = world.another_process().unwrap();
    let suppressed = upgraded.vault.read(store::people_count).unwrap();
    assert_eq!(suppressed, (6, 4));
    assert_eq!(world.person("P0@example.org").suppressed, Some(Suppression::Unsubscribed));
    assert_eq!(world.person("p2@example.org").suppressed, None);
}

async fn several_processes_may_start_at_once_on_nothing(engine: Engine) {
    for _ in 0..3 {
        let world = World::new(engine).await;
        // As if nobody had ever started here.
        let fresh = world.folder().join("fresh");
        std::fs::create_dir(&fresh).unwrap();
        let settings = std::fs::read_to_string(world.folder().join("letterlab.toml")).unwrap();
        let settings = settings.replace(&world.folder().display().to_string(), &fresh.display().to_string());
        std::fs::write(fresh.join("letterlab.toml"), settings).unwrap();
        if engine == Engine::Postgres {
            world.sql(Room::Vault, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
            world.sql(Room::Ledger, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        }
        let start = std::sync::Barrier::new(6);
        let labs: Vec<anyhow::Result<_>> = std::thread::scope(|scope| {
            let open = || {
                let settings = config::load(Some(&fresh.join("letterlab.toml")), std::iter::empty()).unwrap();
                start.wait();
                Lab::open(settings, Clock::fixed(BEGINNING.parse().unwrap()))
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let labs: Vec<Lab> = labs.into_iter().map(|lab| lab.map(|(lab, _)| lab).unwrap_or_else(|error| panic!("{error:#}"))).collect();
        // All have the same keys: what one seals the others open.
        let token = labs[0].keys.seal_share(letterlab::ids::CampaignNumber(1), labs[0].clock.now(), [1; 8]);
        for lab in &labs {
            assert!(lab.keys.open_share(&token, lab.clock.now()).is_ok());
            assert!(lab.keys.open(Kind::Open, &token).is_err());
        }
    }
}

async fn a_second_process_sees_what_the_first_did(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    let letter = world.letter_to("p1@example.org");
    let (other, writers) = world.another_process().unwrap();
    world.open(&letter.pixel().unwrap(), FIREFOX).await;
    world.load();
    letterlab::app::jobs::tidy(&other).unwrap();
    let page = letterlab::app::campaigns::results(&other, &world.campaign("autumn")).unwrap();
    assert_eq!(page.hits.iter().find(|class| class.class == "human").unwrap().opens.iter().sum::<u64>(), 1);
    drop(other);
    writers.join();
    assert_eq!(world.status().uncounted, 0);
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config::load(None, std::iter::empty()).unwrap();
    settings.files.keys = folder.path().join("keys.toml");
    settings.database.vault = "postgres://anna:hunter2@127.0.0.1:1/vault".to_owned();
    let Err(error) = Lab::open(settings.clone(), Clock::fixed(BEGINNING.parse().unwrap())) else { panic!("it opened") };
    let message = format!("{error:#}");
    assert!(message.contains("vault database") && message.contains("anna") && !message.contains("hunter2"), "{message}");
    settings.database.vault = format!("sqlite:{}/a-file/vault.db", folder.path().display());
    std::fs::write(folder.path().join("a-file"), "not a folder").unwrap();
    let Err(error) = Lab::open(settings, Clock::fixed(BEGINNING.parse().unwrap())) else { panic!("it opened") };
    assert!(format!("{error:#}").contains("cannot be reached"), "{error:#}");
}

/// Only PostgreSQL lets two write at once.
#[tokio::test(flavor = "multi_thread")]
async fn two_administrators_who_remove_each_other_at_once_leave_one() {
    let world = World::new(Engine::Postgres).await;
    let (other, _background) = world.another_process().unwrap();
    for login in ["ann", "ben"] {
        accounts::create(&world.lab, login, Role::Administrator, "correct horse battery").unwrap();
    }
    let (began, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // Ann has removed Ben but for the commit, when Ben removes Ann.
        let first = scope.spawn(|| {
            world.lab.vault.write(move |conn| {
                let administrators = store::administrators_held(conn)?;
                store::remove_account(conn, "ben")?;
                began.send(administrators).unwrap();
                may_end.recv().unwrap();
                Ok::<_, DbError>(())
            })
        });
        assert_eq!(has_begun.recv().unwrap(), 2);
        let second = scope.spawn(|| accounts::remove(&other, "ann"));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while !second.is_finished() && world.ask_postgresql(Room::Vault, waiting) == "0" {}
        end.send(()).unwrap();
        first.join().unwrap().unwrap();
        assert!(matches!(second.join().unwrap(), Err(AccountError::LastAdministrator(_))));
    });
    assert_eq!(accounts::all(&world.lab).unwrap().len(), 1);
}

async fn what_need_not_wait_for_the_disk_is_whole_and_leaves_no_trace_of_its_haste(engine: Engine) {
    let world = World::new(engine).await;
    world.import(&people(3));
    let vault = &world.lab.vault;
    let id = world.person("p1@example.org").id;
    let now = world.now();
    let patience = || {
        vault.write(|conn| {
            let ask = match conn.sql() {
                AnyConnection::Sqlite(_) => "SELECT CAST(synchronous AS TEXT) AS word FROM pragma_synchronous",
                AnyConnection::Postgres(_) => "SELECT current_setting('synchronous_commit') AS word",
            };
            Ok::<_, DbError>(diesel::sql_query(ask).get_result::<Word>(conn.sql())?.word)
        })
    };
    let before = patience().unwrap();
    assert_eq!(before, if engine == Engine::Sqlite { "2" } else { "on" });
    let suppress = |conn: &mut VaultConn| store::suppress(conn, id, Suppression::ByHand, now);
    let failed: Result<(), DbError> = vault.write_soon(|conn| {
        suppress(conn)?;
        Err(DbError::unreadable("a test's value", "none"))
    });
    assert!(failed.is_err() && world.person("p1@example.org").suppressed.is_none());
    assert_eq!(patience().unwrap(), before);
    assert!(vault.write_soon(suppress).unwrap());
    assert!(world.person("p1@example.org").suppressed.is_some());
    assert_eq!(patience().unwrap(), before);
}
