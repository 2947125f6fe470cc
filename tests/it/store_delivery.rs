//! Letters on their way, function by function.

use std::collections::BTreeSet;

use jiff::Timestamp;
use letterlab::app::clock;
use letterlab::db::VaultDb;
use letterlab::delivery::mailing::{Finished, Leased, NewMailing, OutcomeKind, Verdict};
use letterlab::delivery::store;
use letterlab::ids::{CampaignNumber, EventId, MailingId, Pseudonym, RecordingMode, VariantNumber};

use crate::world::{Engine, LIST, Room, World, on_both_engines, people};

on_both_engines!(
    a_plan_can_be_thrown_away_until_it_is_released,
    test_and_rest_are_released_apart,
    a_mailing_is_leased_to_one_worker_in_sending_order,
    two_workers_at_once_never_hold_the_same_mailing,
    only_the_holder_may_commit_finish_and_give_back,
    every_verdict_ends_in_its_own_state_with_its_outcome,
    a_deferral_keeps_the_first_attempt_and_comes_back_when_due,
    leases_expire_by_what_was_near,
    an_outcome_is_added_once_per_kind_and_relayed_once,
    a_person_is_mailed_once_per_campaign,
    what_waits_is_skipped_in_steps,
    the_tallies_agree_with_the_rows_whatever_happens,
    of_several_nodes_that_tidy_at_once_one_tells_what_became_of_a_letter,
);

const CAMPAIGN: CampaignNumber = CampaignNumber(3);

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
}

/// Nine planned mailings: six of the test, three of the rest.
async fn planned(engine: Engine) -> World {
    let world = World::new(engine).await;
    world.import(&people(9));
    let everybody = world.lab.vault.read(|conn| letterlab::vault::store::eligible(conn, LIST, None, 100)).unwrap();
    let mailings: Vec<NewMailing<'_>> = (0u8..)
        .zip(everybody)
        .map(|(number, entry)| NewMailing {
            id: MailingId::from_bytes([number + 100; 16]),
            campaign: CAMPAIGN,
            subscriber: entry.id,
            pseudonym: Pseudonym::from_bytes([number + 1; 16]),
            variant: (number < 6).then_some(VariantNumber(number % 2)),
            held_out: false,
            stratum: "other/pseudonymous",
            provider: "other",
            recording: RecordingMode::Pseudonymous,
            position: u64::from(number),
            not_before: None,
        })
        .collect();
    world.lab.vault.write(|conn| store::plan(conn, &mailings)).unwrap();
    world
}

/// The campaign of these mailings was never written: they end with the test.
fn clear(world: &World) {
    world.sql(Room::Vault, "DELETE FROM outcome");
    world.sql(Room::Vault, "DELETE FROM mailing");
}

fn release(vault: &VaultDb) -> usize {
    vault.write(|conn| store::release(conn, CAMPAIGN, at(0))).unwrap()
}

fn lease(vault: &VaultDb, owner: &str, minute: i64, limit: i64) -> Vec<Leased> {
    vault.write(|conn| store::lease(conn, CAMPAIGN, owner, at(minute), at(minute + 30), limit)).unwrap()
}

fn finish(vault: &VaultDb, mailing: &Leased, verdict: Verdict, owner: &str, minute: i64) {
    let end = Finished { mailing: mailing.clone(), verdict, attempt: None, event: EventId::from_bytes(clock::fresh()), at: at(minute) };
    vault.write(|conn| store::finish(conn, &[end], owner)).unwrap();
}

fn counts(vault: &VaultDb) -> letterlab::delivery::mailing::Counts {
    vault.read(|conn| store::counts(conn, CAMPAIGN, None)).unwrap()
}

async fn a_plan_can_be_thrown_away_until_it_is_released(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    assert_eq!((counts(vault).planned, counts(vault).enrolled), (9, 9));
    let positions: Vec<u64> =
        vault.read(|conn| store::planned_test(conn, CAMPAIGN, 1, 3)).unwrap().iter().map(|planned| planned.position).collect();
    assert_eq!(positions, [2, 3, 4]);
    assert_eq!(vault.write(|conn| store::unplan(conn, CampaignNumber(4))).unwrap(), 0);
    assert_eq!(release(vault), 6);
    assert_eq!(vault.write(|conn| store::unplan(conn, CAMPAIGN)).unwrap(), 3, "what is released stays");
    assert_eq!(counts(vault).enrolled, 6);
    clear(&world);
}

async fn test_and_rest_are_released_apart(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    let rest = || vault.write(|conn| store::release_rest(conn, CAMPAIGN, at(5))).unwrap();
    assert!(vault.read(|conn| store::test_is_waiting(conn, CAMPAIGN)).unwrap());
    assert_eq!((release(vault), release(vault)), (6, 0));
    assert_eq!(rest(), 0, "not before their variant is chosen");
    let choose = |variant| vault.write(|conn| store::choose_for_rest(conn, CAMPAIGN, VariantNumber(variant))).unwrap();
    assert_eq!((choose(1), choose(0)), (3, 0), "chosen once");
    let planned = vault.read(|conn| store::planned_rest(conn, CAMPAIGN, -1, 10)).unwrap();
    assert!(planned.len() == 3 && planned.iter().all(|planned| planned.variant == VariantNumber(1)));
    let waits = || vault.read(|conn| store::rest_is_planned(conn, CAMPAIGN)).unwrap();
    assert!(waits());
    assert_eq!((rest(), rest()), (3, 0));
    assert!(!waits());
    let part = |part| vault.read(|conn| store::counts(conn, CAMPAIGN, Some(part))).unwrap().queued;
    assert_eq!((part("test"), part("rest"), counts(vault).queued), (6, 3, 9));
    assert_eq!(vault.read(|conn| store::next_due(conn, CAMPAIGN)).unwrap(), Some(at(0)));
    clear(&world);
}

async fn a_mailing_is_leased_to_one_worker_in_sending_order(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    assert!(lease(vault, "one", 0, 10).is_empty(), "nothing is released");
    release(vault);
    let first = lease(vault, "one", 0, 4);
    let second = lease(vault, "two", 0, 4);
    assert_eq!((first.len(), second.len(), lease(vault, "three", 0, 4).len()), (4, 2, 0));
    let order: Vec<u8> = first.iter().chain(&second).map(|mailing| mailing.pseudonym.as_bytes()[0]).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6]);
    assert_eq!(vault.read(store::leases_open).unwrap(), 6);
    let ids: Vec<MailingId> = first.iter().map(|mailing| mailing.id).collect();
    vault.write(|conn| store::give_back(conn, &ids, "two")).unwrap();
    assert_eq!(counts(vault).queued, 0, "not the holder");
    vault.write(|conn| store::give_back(conn, &ids, "one")).unwrap();
    assert_eq!(lease(vault, "three", 0, 10).iter().map(|mailing| mailing.id).collect::<Vec<_>>(), ids);
    assert_eq!(vault.read(|conn| store::next_due(conn, CAMPAIGN)).unwrap(), None);
    clear(&world);
}

async fn two_workers_at_once_never_hold_the_same_mailing(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held: Vec<MailingId> = std::thread::scope(|scope| {
        let worker = |owner: usize| {
            move || {
                let mut held = Vec::new();
                for _ in 0..6 {
                    held.extend(lease(vault, &format!("worker {owner}"), 0, 2).into_iter().map(|mailing| mailing.id));
                }
                held
            }
        };
        let threads: Vec<_> = (0..4).map(|owner| scope.spawn(worker(owner))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut unique = held.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((held.len(), unique.len()), (6, 6));
    clear(&world);
}

async fn only_the_holder_may_commit_finish_and_give_back(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 2);
    let ids: Vec<MailingId> = held.iter().map(|mailing| mailing.id).collect();
    let commit = |owner: &str, ids: &[MailingId]| vault.write(|conn| store::commit_to(conn, ids, owner)).unwrap();
    assert_eq!(commit("two", &ids), []);
    assert_eq!(commit("one", &ids[..1]), ids[..1]);
    assert_eq!(commit("one", &ids), ids[1..], "a last dot is sent once");
    vault.write(|conn| store::give_back(conn, &ids, "one")).unwrap();
    assert_eq!(counts(vault).in_hand, 2, "nothing is given back that may have left");
    finish(vault, &held[0], Verdict::Accepted, "two", 1);
    assert_eq!((counts(vault).accepted, vault.read(|conn| store::outcomes_waiting(conn, 10)).unwrap().len()), (0, 0));
    finish(vault, &held[0], Verdict::Accepted, "one", 1);
    finish(vault, &held[0], Verdict::Accepted, "one", 2);
    assert_eq!((counts(vault).accepted, vault.read(|conn| store::outcomes_waiting(conn, 10)).unwrap().len()), (1, 1), "once");
    clear(&world);
}

async fn every_verdict_ends_in_its_own_state_with_its_outcome(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let reason = || "hard 550 5.1.1".to_owned();
    let verdicts = [
        Verdict::Accepted,
        Verdict::Refused { reason: reason() },
        Verdict::Failed { reason: reason() },
        Verdict::Skipped { reason: reason() },
        Verdict::Unknown,
        Verdict::Deferred { until: at(60), reason: reason() },
    ];
    for (minute, (mailing, verdict)) in (1..).zip(lease(vault, "one", 0, 6).iter().zip(verdicts)) {
        finish(vault, mailing, verdict, "one", minute);
    }
    let counts = counts(vault);
    assert_eq!((counts.accepted, counts.refused, counts.failed, counts.skipped, counts.unknown, counts.queued), (1, 1, 1, 1, 1, 1));
    assert_eq!((counts.planned, counts.waiting(), counts.enrolled), (3, 4, 9));
    let outcomes = vault.read(|conn| store::outcomes_waiting(conn, 10)).unwrap();
    let told: Vec<(OutcomeKind, &str, Timestamp)> =
        outcomes.iter().map(|outcome| (outcome.kind, outcome.reason.as_str(), outcome.at)).collect();
    let expected = [
        (OutcomeKind::Sent, "", at(1)),
        (OutcomeKind::Refused, "hard 550 5.1.1", at(2)),
        (OutcomeKind::Failed, "hard 550 5.1.1", at(3)),
        (OutcomeKind::Skipped, "hard 550 5.1.1", at(4)),
        (OutcomeKind::Uncertain, "", at(5)),
    ];
    assert_eq!(told, expected);
    assert_eq!(vault.read(store::leases_open).unwrap(), 0);
    clear(&world);
}

async fn a_deferral_keeps_the_first_attempt_and_comes_back_when_due(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let first = lease(vault, "one", 0, 1).remove(0);
    assert_eq!((first.attempts, first.first_attempt_at), (0, None));
    finish(vault, &first, Verdict::Deferred { until: at(10), reason: "later 451".to_owned() }, "one", 1);
    let others = lease(vault, "one", 9, 10);
    assert!(others.len() == 5 && others.iter().all(|mailing| mailing.id != first.id), "not due yet");
    assert_eq!(vault.read(|conn| store::next_due(conn, CAMPAIGN)).unwrap(), Some(at(10)));
    let again = lease(vault, "two", 10, 10).remove(0);
    assert_eq!((again.id, again.attempts, again.first_attempt_at), (first.id, 1, Some(at(1))));
    finish(vault, &again, Verdict::Deferred { until: at(20), reason: "later 451".to_owned() }, "two", 11);
    let third = lease(vault, "two", 20, 10).remove(0);
    assert_eq!((third.attempts, third.first_attempt_at), (2, Some(at(1))));
    clear(&world);
}

async fn leases_expire_by_what_was_near(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 6);
    let near = [held[1].id, held[4].id];
    assert_eq!(vault.write(|conn| store::commit_to(conn, &near, "one")).unwrap(), near);
    let expire = |minute| vault.write(|conn| store::expire_leases(conn, at(minute), clock::fresh, &BTreeSet::new())).unwrap();
    assert_eq!(expire(29), (0, 0));
    assert_eq!(expire(30), (4, 2));
    assert_eq!(expire(31), (0, 0));
    assert_eq!((counts(vault).queued, counts(vault).unknown), (4, 2));
    let outcomes = vault.read(|conn| store::outcomes_waiting(conn, 10)).unwrap();
    assert!(outcomes.len() == 2 && outcomes.iter().all(|outcome| outcome.kind == OutcomeKind::Uncertain));
    // The worker that was thought dead comes back with its answers: too late, nobody may be told twice.
    finish(vault, &held[0], Verdict::Accepted, "one", 32);
    finish(vault, &held[1], Verdict::Accepted, "one", 32);
    assert_eq!((counts(vault).queued, counts(vault).unknown, counts(vault).accepted), (4, 2, 0));
    clear(&world);
}

async fn an_outcome_is_added_once_per_kind_and_relayed_once(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    let pseudonym = Pseudonym::from_bytes([2; 16]);
    let found = vault.read(|conn| store::by_pseudonym(conn, pseudonym)).unwrap().unwrap();
    assert_eq!((found.campaign, found.pseudonym), (CAMPAIGN, pseudonym));
    assert_eq!(vault.read(|conn| store::pseudonyms(conn, found.subscriber)).unwrap(), [pseudonym]);
    assert!(vault.read(|conn| store::by_pseudonym(conn, Pseudonym::from_bytes([99; 16]))).unwrap().is_none());
    let add = |kind, minute| {
        let event = EventId::from_bytes(clock::fresh());
        vault.write(|conn| store::add_outcome(conn, &found, kind, "hard", at(minute), event)).unwrap()
    };
    assert!(add(OutcomeKind::Bounced, 1) && !add(OutcomeKind::Bounced, 2) && add(OutcomeKind::Complained, 3));
    let waiting = || vault.read(|conn| store::outcomes_waiting(conn, 10)).unwrap();
    let outcomes = waiting();
    assert_eq!(
        outcomes.iter().map(|outcome| (outcome.kind, outcome.at)).collect::<Vec<_>>(),
        [(OutcomeKind::Bounced, at(1)), (OutcomeKind::Complained, at(3))]
    );
    assert_eq!(vault.read(|conn| store::outcomes_waiting(conn, 1)).unwrap(), outcomes[..1]);
    vault.write(|conn| store::mark_relayed(conn, &outcomes[..1])).unwrap();
    assert_eq!(waiting(), outcomes[1..]);
    assert!(!add(OutcomeKind::Bounced, 4), "relayed or not");
    vault.write(|conn| store::mark_relayed(conn, &outcomes)).unwrap();
    assert!(waiting().is_empty());
    clear(&world);
}

async fn a_person_is_mailed_once_per_campaign(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    let found = vault.read(|conn| store::by_pseudonym(conn, Pseudonym::from_bytes([1; 16]))).unwrap().unwrap();
    let again = |campaign, pseudonym: u8| {
        let mailing = NewMailing {
            id: MailingId::from_bytes([pseudonym; 16]),
            campaign,
            subscriber: found.subscriber,
            pseudonym: Pseudonym::from_bytes([pseudonym; 16]),
            variant: None,
            held_out: false,
            stratum: "",
            provider: "other",
            recording: RecordingMode::Off,
            position: 50,
            not_before: None,
        };
        vault.write(|conn| store::plan(conn, &[mailing]))
    };
    assert!(again(CAMPAIGN, 200).unwrap_err().is_duplicate());
    assert!(again(CampaignNumber(4), 1).unwrap_err().is_duplicate(), "nor is a pseudonym used again");
    again(CampaignNumber(4), 201).unwrap();
    assert_eq!(vault.read(|conn| store::pseudonyms(conn, found.subscriber)).unwrap().len(), 2);
    clear(&world);
}

async fn the_tallies_agree_with_the_rows_whatever_happens(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    let agree = |when: &str| {
        let rows = vault.read(|conn| store::counts_of_rows(conn, CAMPAIGN)).unwrap();
        assert_eq!(counts(vault), rows, "{when}");
        assert_eq!(rows.enrolled, rows.finished() + rows.waiting(), "{when}");
    };
    agree("planned");
    release(vault);
    agree("released");
    let held = lease(vault, "one", 0, 4);
    agree("leased");
    vault.write(|conn| store::commit_to(conn, &[held[0].id, held[1].id], "one")).unwrap();
    finish(vault, &held[0], Verdict::Accepted, "one", 1);
    finish(vault, &held[2], Verdict::Postponed { until: at(50) }, "one", 1);
    agree("in hand");
    vault.write(|conn| store::withhold(conn, &[held[1].id], "one")).unwrap();
    assert_eq!(vault.write(|conn| store::recall(conn, CAMPAIGN)).unwrap(), 1);
    agree("recalled");
    assert_eq!((counts(vault).queued, lease(vault, "two", 49, 9).len()), (5, 4), "one is postponed");
    vault.write(|conn| store::expire_leases(conn, at(79), clock::fresh, &BTreeSet::new())).unwrap();
    agree("expired");
    // A person goes, with a letter that was sent and with one that was not.
    for mailing in &held[..2] {
        assert_eq!(vault.write(|conn| store::forget(conn, mailing.subscriber)).unwrap(), 1);
    }
    agree("forgotten");
    assert_eq!((counts(vault).enrolled, counts(vault).accepted), (7, 0));
    vault.write(|conn| store::skip_waiting(conn, CAMPAIGN, "campaign closed", at(80), clock::fresh, 100)).unwrap();
    agree("skipped");
    clear(&world);
}

async fn what_waits_is_skipped_in_steps(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 2);
    let skip = || vault.write(|conn| store::skip_waiting(conn, CAMPAIGN, "campaign closed", at(5), clock::fresh, 4)).unwrap();
    assert_eq!((skip(), skip(), skip()), (4, 3, 0));
    assert_eq!((counts(vault).skipped, counts(vault).in_hand), (7, 2), "what a worker holds is the worker's");
    assert_eq!(vault.read(|conn| store::outcomes_waiting(conn, 100)).unwrap().len(), 7);
    finish(vault, &held[0], Verdict::Accepted, "one", 6);
    assert!(vault.read(|conn| store::test_is_waiting(conn, CAMPAIGN)).unwrap(), "one is still in hand");
    finish(vault, &held[1], Verdict::Accepted, "one", 6);
    assert!(!vault.read(|conn| store::test_is_waiting(conn, CAMPAIGN)).unwrap());
    clear(&world);
}

async fn of_several_nodes_that_tidy_at_once_one_tells_what_became_of_a_letter(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held: Vec<MailingId> = lease(vault, "one", 0, 4).into_iter().map(|mailing| mailing.id).collect();
    vault.write(|conn| store::commit_to(conn, &held, "one")).unwrap();
    let start = std::sync::Barrier::new(4);
    let told: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let node = || {
            start.wait();
            let (_, unknown) = vault.write(|conn| store::expire_leases(conn, at(60), clock::fresh, &BTreeSet::new())).unwrap();
            start.wait();
            let skipped = vault.write(|conn| store::skip_waiting(conn, CAMPAIGN, "campaign closed", at(60), clock::fresh, 100)).unwrap();
            (unknown, skipped)
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(node)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sums = told.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sums, (4, 5), "{told:?}");
    assert_eq!((counts(vault).unknown, counts(vault).skipped), (4, 5));
    assert_eq!(vault.read(|conn| store::outcomes_waiting(conn, 100)).unwrap().len(), 9);
    clear(&world);
}
