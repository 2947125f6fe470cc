//! Letters on their way, function by function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use letterlab::app::clock;
use letterlab::db::VaultDb;
use letterlab::delivery::mailing::{Attempt, Counts, Finished, Leased, NewMailing, OutcomeKind, Verdict};
use letterlab::delivery::store::{self, Said};
use letterlab::ids::{CampaignNumber, EventId, MailingId, Pseudonym, RecordingMode, VariantNumber};
use letterlab::vault::people::Suppression;
use letterlab::vault::store as people_store;

use crate::world::{Engine, LIST, Room, World, on_both_engines, people};

on_both_engines!(
    a_plan_can_be_thrown_away_until_it_is_released,
    test_and_rest_are_released_apart,
    a_mailing_is_leased_to_one_worker_in_sending_order,
    two_workers_at_once_never_hold_the_same_mailing,
    only_the_holder_may_mark_finish_and_give_back,
    every_verdict_ends_in_its_own_state_with_its_outcome,
    a_deferral_keeps_the_first_attempt_and_comes_back_when_due,
    leases_expire_by_what_was_near,
    an_end_that_was_only_written_as_an_attempt_is_found_by_whoever_takes_over,
    a_pause_between_mark_and_dot_stops_every_letter_but_the_marked_one,
    who_unsubscribes_while_a_batch_is_in_hand_gets_no_letter,
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
    world.sql(Room::Vault, "DELETE FROM lease");
    world.sql(Room::Vault, "DELETE FROM mailing");
}

fn release(vault: &VaultDb) -> usize {
    vault.write(|conn| store::release(conn, CAMPAIGN, at(0))).unwrap()
}

fn lease(vault: &VaultDb, owner: &str, minute: i64, limit: i64) -> Vec<Leased> {
    vault.write(|conn| store::lease(conn, CAMPAIGN, owner, at(minute), at(minute + 30), limit)).unwrap()
}

fn end(mailing: &Leased, verdict: Verdict, minute: i64) -> Finished {
    Finished { mailing: mailing.clone(), verdict, attempt: None, event: EventId::from_bytes(clock::fresh()), at: at(minute) }
}

/// Writes down what one worker says; answers whether its mark is there.
fn say(vault: &VaultDb, owner: &str, said: Said) -> bool {
    let said = BTreeMap::from([(Arc::from(owner), said)]);
    let marked = vault.write(|conn| store::write_down(conn, &said)).unwrap();
    vault.write_soon(|conn| store::bring_in(conn, &said, at(90), clock::fresh)).unwrap();
    marked.contains(owner)
}

fn finish(vault: &VaultDb, mailing: &Leased, verdict: Verdict, owner: &str, minute: i64) {
    say(vault, owner, Said { finished: vec![end(mailing, verdict, minute)], fold: true, ..Said::default() });
}

fn mark(vault: &VaultDb, mailing: &Leased, owner: &str) -> bool {
    vault.write(|conn| store::mark(conn, mailing.id, owner)).unwrap()
}

fn give_back(vault: &VaultDb, mailings: &[Leased], owner: &str) {
    say(vault, owner, Said { given_back: mailings.iter().map(|mailing| mailing.id).collect(), ..Said::default() });
}

fn expire(vault: &VaultDb, minute: i64) -> (usize, usize) {
    vault.write(|conn| store::expire_leases(conn, at(minute), clock::fresh, &BTreeSet::new())).unwrap()
}

fn counts(vault: &VaultDb) -> Counts {
    vault.read(|conn| store::counts(conn, CAMPAIGN, None)).unwrap()
}

fn told(vault: &VaultDb) -> Vec<OutcomeKind> {
    vault.read(|conn| store::outcomes_waiting(conn, 100)).unwrap().iter().map(|outcome| outcome.kind).collect()
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
    let choose = |variant| vault.write(|conn| store::choose_for_rest(conn, CAMPAIGN, VariantNumber(variant), None)).unwrap();
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
    assert_eq!(vault.read(store::leases_open).unwrap(), (6, 2));
    let ids: Vec<MailingId> = first.iter().map(|mailing| mailing.id).collect();
    give_back(vault, &first, "two");
    assert_eq!(counts(vault).queued, 0, "not the holder");
    give_back(vault, &first, "one");
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

async fn only_the_holder_may_mark_finish_and_give_back(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 2);
    assert!(!mark(vault, &held[0], "two"));
    let other = lease(vault, "two", 0, 1);
    assert!(!mark(vault, &held[0], "two") && !mark(vault, &other[0], "one"), "each its own");
    assert!(mark(vault, &held[0], "one"));
    assert!(!mark(vault, &held[0], "one"), "a last dot is sent once");
    finish(vault, &held[0], Verdict::Accepted, "two", 1);
    assert_eq!((counts(vault).accepted, told(vault).len()), (0, 0));
    finish(vault, &held[0], Verdict::Accepted, "one", 1);
    finish(vault, &held[0], Verdict::Accepted, "one", 2);
    assert_eq!((counts(vault).accepted, told(vault).len()), (1, 1), "once");
    assert!(!mark(vault, &held[0], "one"), "it has left");
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
    assert_eq!(vault.read(store::leases_open).unwrap(), (0, 1));
    say(vault, "one", Said { is_over: true, ..Said::default() });
    assert_eq!(vault.read(store::leases_open).unwrap(), (0, 0));
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
    let (held, others) = (lease(vault, "one", 0, 3), lease(vault, "two", 0, 3));
    assert!(mark(vault, &held[1], "one") && mark(vault, &others[0], "two"));
    assert_eq!(expire(vault, 29), (0, 0));
    assert_eq!(expire(vault, 30), (4, 2));
    assert_eq!(expire(vault, 31), (0, 0));
    assert_eq!((counts(vault).queued, counts(vault).unknown), (4, 2));
    assert_eq!(told(vault), [OutcomeKind::Uncertain; 2]);
    // The worker that was thought dead comes back with its answers: too late, nobody may be told twice.
    finish(vault, &held[0], Verdict::Accepted, "one", 32);
    finish(vault, &held[1], Verdict::Accepted, "one", 32);
    assert!(!mark(vault, &held[2], "one"));
    assert_eq!((counts(vault).queued, counts(vault).unknown, counts(vault).accepted), (4, 2, 0));
    // And what it said too late is not taken for the word of whoever holds the letter now.
    let again = lease(vault, "three", 33, 1);
    assert_eq!(again[0].id, held[0].id);
    say(vault, "one", Said { finished: vec![end(&held[0], Verdict::Accepted, 33)], ..Said::default() });
    say(vault, "three", Said { fold: true, ..Said::default() });
    assert_eq!((counts(vault).in_hand, counts(vault).accepted), (1, 0));
    clear(&world);
}

/// What a process leaves behind that is killed at any moment between two letters: who takes over finds it all in the rows.
async fn an_end_that_was_only_written_as_an_attempt_is_found_by_whoever_takes_over(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 6);
    let reason = || "hard 550 5.1.1".to_owned();
    let tried = Attempt { relay: "relay".to_owned(), stage: "dot".to_owned(), text: "queued as 1".to_owned(), ..Attempt::default() };
    let accepted = Finished { attempt: Some(tried.clone()), ..end(&held[0], Verdict::Accepted, 1) };
    assert!(mark(vault, &held[0], "one"));
    let step = |finished, next| say(vault, "one", Said { finished, mark: Some(next), ..Said::default() });
    assert!(step(vec![accepted.clone()], held[1].id), "the end of a letter and the mark of the next are written together");
    assert!(step(vec![end(&held[1], Verdict::Deferred { until: at(60), reason: reason() }, 2)], held[2].id));
    assert!(step(vec![end(&held[2], Verdict::Refused { reason: reason() }, 3)], held[3].id));
    assert_eq!((counts(vault).accepted, counts(vault).in_hand, told(vault).len()), (0, 6, 0), "nothing is folded yet");
    let person = |mailing: &Leased| vault.read(|conn| store::fates(conn, mailing.subscriber)).unwrap().remove(0);
    assert_eq!(person(&held[0]).attempts[0].2, tried, "though the person's page has it");
    // Killed between the mark of the fourth letter and its answer.
    assert_eq!(expire(vault, 30), (2, 1));
    let Counts { accepted: sent, refused, unknown, queued, in_hand, .. } = counts(vault);
    assert_eq!((sent, refused, unknown, queued, in_hand), (1, 1, 1, 3, 0));
    assert_eq!(vault.read(|conn| store::counts_of_rows(conn, CAMPAIGN)).unwrap(), counts(vault));
    assert_eq!(told(vault), [OutcomeKind::Sent, OutcomeKind::Refused, OutcomeKind::Uncertain]);
    assert_eq!(vault.read(|conn| store::outcomes_waiting(conn, 1)).unwrap()[0].event, accepted.event);
    assert_eq!(vault.read(|conn| store::accepted_since(conn, CAMPAIGN, at(0))).unwrap(), 1);
    let states: Vec<String> = held.iter().map(|mailing| person(mailing).state).collect();
    assert_eq!(states, ["accepted", "queued", "refused", "unknown", "queued", "queued"]);
    let suppressed = vault.read(|conn| letterlab::vault::store::people_by_id(conn, &[held[2].subscriber])).unwrap();
    assert!(suppressed[&held[2].subscriber].suppressed.is_some(), "a hard refusal is the person's, whoever folds it");
    let later = lease(vault, "two", 60, 9);
    let deferred = later.iter().find(|mailing| mailing.id == held[1].id).unwrap();
    assert_eq!((deferred.attempts, deferred.first_attempt_at), (1, Some(at(2))));
    assert_eq!(vault.read(store::leases_open).unwrap(), (3, 1));
    clear(&world);
}

async fn a_pause_between_mark_and_dot_stops_every_letter_but_the_marked_one(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 4);
    assert!(mark(vault, &held[0], "one"));
    say(vault, "one", Said { finished: vec![end(&held[0], Verdict::Accepted, 1)], mark: Some(held[1].id), ..Said::default() });
    assert_eq!(vault.write(|conn| store::recall(conn, CAMPAIGN)).unwrap(), 2);
    assert_eq!((counts(vault).accepted, counts(vault).in_hand, counts(vault).queued), (1, 1, 4));
    // Resumed at once: what another takes now is no longer the first one's.
    let other = lease(vault, "two", 2, 9);
    assert_eq!(other.len(), 4);
    assert!(!mark(vault, &held[2], "one") && !mark(vault, &held[1], "one"), "nothing more leaves under a lease that was revoked");
    finish(vault, &held[2], Verdict::Refused { reason: "soft 550".to_owned() }, "one", 2);
    assert_eq!(counts(vault).refused, 0, "its word counts for what it still holds only");
    // The letter that was at its last dot is answered after all.
    say(vault, "one", Said { finished: vec![end(&held[1], Verdict::Accepted, 3)], is_over: true, ..Said::default() });
    assert_eq!((counts(vault).accepted, counts(vault).in_hand, counts(vault).queued), (2, 4, 0));
    assert!(mark(vault, &other[0], "two"));
    // One whose relay hangs stays in hand, and is unknown when nobody hears of it again.
    assert_eq!(vault.write(|conn| store::recall(conn, CAMPAIGN)).unwrap(), 3);
    assert_eq!(expire(vault, 60), (0, 1));
    assert_eq!(vault.read(store::leases_open).unwrap(), (0, 0));
    assert_eq!(vault.read(|conn| store::counts_of_rows(conn, CAMPAIGN)).unwrap(), counts(vault));
    clear(&world);
}

async fn who_unsubscribes_while_a_batch_is_in_hand_gets_no_letter(engine: Engine) {
    let world = planned(engine).await;
    let vault = &world.lab.vault;
    release(vault);
    let held = lease(vault, "one", 0, 3);
    let unsubscribe =
        |mailing: &Leased| vault.write(|conn| people_store::suppress(conn, mailing.subscriber, Suppression::Unsubscribed, at(1))).unwrap();
    assert!(unsubscribe(&held[0]) && unsubscribe(&held[1]));
    assert!(!mark(vault, &held[0], "one"));
    let said = Said { finished: Vec::new(), mark: Some(held[1].id), ..Said::default() };
    assert!(!say(vault, "one", said), "neither by the way the journal goes");
    assert!(mark(vault, &held[2], "one"), "the others get theirs");
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
    vault.write(|conn| store::forget_relayed(conn, &outcomes[..1])).unwrap();
    assert_eq!(waiting(), outcomes[1..]);
    assert!(!add(OutcomeKind::Bounced, 4), "relayed or not");
    vault.write(|conn| store::forget_relayed(conn, &outcomes)).unwrap();
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
    assert!(mark(vault, &held[0], "one"));
    say(vault, "one", Said { finished: vec![end(&held[0], Verdict::Accepted, 1)], mark: Some(held[1].id), ..Said::default() });
    agree("not folded");
    finish(vault, &held[2], Verdict::Postponed { until: at(50) }, "one", 1);
    agree("in hand");
    give_back(vault, &held[1..2], "one");
    assert_eq!(vault.write(|conn| store::recall(conn, CAMPAIGN)).unwrap(), 1);
    agree("recalled");
    assert_eq!((counts(vault).queued, lease(vault, "two", 49, 9).len()), (5, 4), "one is postponed");
    expire(vault, 79);
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
    let skip = || vault.write(|conn| store::skip_waiting(conn, CAMPAIGN, "campaign closed", at(5), clock::fresh, 4)).unwrap().skipped;
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
    for owner in ["one", "two", "three", "four"] {
        let held = lease(vault, owner, 0, 1);
        assert!(mark(vault, &held[0], owner));
    }
    let start = std::sync::Barrier::new(4);
    let told: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let node = || {
            start.wait();
            let (_, unknown) = expire(vault, 60);
            start.wait();
            let skipped = vault.write(|conn| store::skip_waiting(conn, CAMPAIGN, "campaign closed", at(60), clock::fresh, 100)).unwrap();
            (unknown, skipped.skipped)
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
