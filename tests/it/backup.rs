//! Backups are made while letters leave and hits come in, and restored to a Letterlab that mails nobody by itself.

use std::os::unix::fs::PermissionsExt as _;

use letterlab::app::backup::backup;
use letterlab::app::campaigns;

use crate::world::{Engine, FIREFOX, World, campaign, people};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_sending_is_restored_paused_and_goes_on_from_there() {
    let mut world = World::new(Engine::Sqlite).await;
    world.import(&people(120));
    world.draft(&campaign("autumn"));
    world.draft(&campaign("winter"));
    world.draft(&campaign("spring"));
    world.launch("autumn").unwrap();
    world.send_a_batch().await;
    let read = world.received()[0].clone();
    world.open(&read.pixel().unwrap(), FIREFOX).await;
    // Some of it is counted, and some is on its way there.
    world.tidy();
    world.send_a_batch().await;

    let folder = world.folder().join("restored");
    let mut told = Vec::new();
    // Work goes on between the copies: outcomes are copied from one database to the other, a campaign is launched.
    let mut meanwhile = |step: &str| {
        told.push(step.to_owned());
        world.tidy();
        if told.len() == 2 {
            world.launch("spring").unwrap();
        }
    };
    let kept = backup(&world.lab, &world.folder().join("restored/"), &mut meanwhile).unwrap();
    let names: Vec<&str> = kept.iter().map(|file| file.name.as_str()).collect();
    assert_eq!((names, told.len()), (vec!["vault.db", "ledger.db", "keys.toml"], 4), "copied again after the launch: {told:?}");
    let mut inside: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    inside.sort_unstable();
    assert_eq!(inside, ["RESTORE.txt", "keys.toml", "ledger.db", "vault.db"], "whole without anything beside it");
    for file in std::iter::once(folder.clone()).chain(inside.iter().map(|name| folder.join(name))) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", file.display());
    }
    let how = std::fs::read_to_string(folder.join("RESTORE.txt")).unwrap();
    assert!(how.contains(&world.folder().join("vault.db").display().to_string()) && how.contains("paused"), "{how}");
    let refused = backup(&world.lab, &folder, &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("restored is there already"), "{refused}");
    std::fs::create_dir(world.folder().join("other.partial")).unwrap();
    let refused = backup(&world.lab, &world.folder().join("other"), &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("other.partial was left by a backup that was cut off"), "{refused}");

    assert_eq!(world.campaign("autumn").paused, None, "the running one sends on");
    world.deliver_everything().await;
    assert_eq!(world.received().len(), 240);

    // The disk is lost, and with it what happened since.
    let settings = world.folder().join("letterlab.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let place = world.folder().display().to_string();
    std::fs::write(&settings, text.replace(&place, &folder.display().to_string())).unwrap();
    world.restart();
    world.tidy();
    for name in ["autumn", "winter", "spring"] {
        let paused = world.campaign(name).paused.unwrap_or_default();
        assert!(paused.starts_with("restored from a backup of 20") && paused.contains("would be sent again"), "{paused}");
    }
    assert_eq!((world.state("winter"), world.state("spring")), ("draft", "sending"));
    assert_eq!(world.send_a_batch().await.taken, 0, "nobody is mailed by itself");
    let sent = |name: &str| campaigns::progress(&world.lab, &world.campaign(name)).unwrap().arms.iter().map(|arm| arm.sent).sum::<u64>();
    assert_eq!((world.counts("autumn").accepted, sent("autumn")), (100, 100), "every letter that was sent is counted");
    assert_eq!((world.counts("spring").queued, sent("spring")), (120, 0));
    let again = world.open(&read.pixel().unwrap(), FIREFOX).await;
    assert_eq!(again.class(), "human", "the keys are the same");
    campaigns::resume(&world.lab, &world.campaign("autumn")).unwrap();
    world.deliver_everything().await;
    assert_eq!((world.counts("autumn").accepted, world.received().len()), (120, 260));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_backup_names_the_tool_that_makes_it() {
    let world = World::new(Engine::Postgres).await;
    let folder = world.folder().join("copy");
    let told = backup(&world.lab, &folder, &mut |_| {}).unwrap_err().to_string();
    assert!(told.contains("pg_dump") && told.contains("keys.toml") && !folder.exists(), "{told}");
}
