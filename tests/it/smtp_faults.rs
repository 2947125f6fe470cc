//! Whatever a relay does wrong: nobody is lost, nobody is mailed twice, nothing secret leaves. A [`Peer`] misbehaves on purpose.
//!
//! The checklist, row by row. Tests without a place are in this file; single conversations, byte by byte and in paused time, are in
//! `src/delivery/smtp/tests.rs`.
//!
//! | row | what | test |
//! |---|---|---|
//! | 15 | international domain: A-label in envelope and header | `addresses_and_return_paths_reach_the_wire_as_they_must` |
//! | 16 | international local part without SMTPUTF8: skipped with a reason | `a_relay_that_offers_nothing_is_enough` |
//! | 17 | quoted local part, plus tag, 64/254 limits, dots, upper-case domains | `vault::address`, `delivery::address` (their unit tests) |
//! | 18 | return path in other case | `addresses_and_return_paths_reach_the_wire_as_they_must`; its change of case: `bounces` |
//! | 19 | local part of the return path at most 64 | `addresses_and_return_paths_reach_the_wire_as_they_must` |
//! | 20 | 550 at RCPT keeps the connection | `a_refused_recipient_costs_no_connection` |
//! | 21 | 452, 421, 450: again, later and later | `who_is_put_off_gets_it_once_and_each_wait_is_longer` |
//! | 22 | 421 in the middle: soon again; for a recipient: later | `an_end_announced_at_any_stage_costs_nobody_a_letter` |
//! | 23 | hang at banner, EHLO, STARTTLS, TLS, AUTH, MAIL, RCPT, DATA, letter, dot, RSET | `a_hanging_relay_is_left_in_time_at_every_stage` |
//! | 24 | lost after the dot: unknown, no duplicate; before it: sent once | `a_letter_lost_after_its_dot_is_unknown_and_never_sent_again`, `a_connection_lost_before_the_dot_costs_nobody_a_letter` |
//! | 25 | 354 after all RCPT failed | `a_message_asked_for_without_recipients_ends_at_once` |
//! | 26 | replies of many lines, in pieces, without enhanced code, malformed | `answers_are_understood_however_they_come`, `answers_that_are_none_end_the_connection` |
//! | 27 | the relay's limits: connections, letters per connection; rate | `a_relay_s_own_limits_cost_nobody_a_letter`; rate: row 21 |
//! | 28 | no PIPELINING, 8BITMIME, STARTTLS | `a_relay_that_offers_nothing_is_enough` |
//! | 29 | STARTTLS stripped; certificates; injected plain text | `without_the_encryption_asked_for_nothing_is_said`, `only_a_valid_certificate_will_do`, `plain_text_injected_around_starttls_is_not_believed` |
//! | 30 | a crash at any point | `crash_mail` |

mod peer;

use std::path::Path;

use futures_util::future::join_all;
use letterlab::delivery::smtp::{
    BeforeDot, Connection, Credentials, Judgement, Outcome, RelaySettings, Secret, Security, SmtpFault, Stage, Timeouts,
};
use letterlab::delivery::store as deliveries;
use letterlab::token::Kind;

use self::peer::{Act, At, Fault, Manners, Peer};
use crate::world::{BEGINNING, Engine, World, campaign, on_both_engines, people};

on_both_engines!(
    a_refused_recipient_costs_no_connection,
    who_is_put_off_gets_it_once_and_each_wait_is_longer,
    an_end_announced_at_any_stage_costs_nobody_a_letter,
    a_letter_lost_after_its_dot_is_unknown_and_never_sent_again,
    a_connection_lost_before_the_dot_costs_nobody_a_letter,
    a_relay_s_own_limits_cost_nobody_a_letter,
    a_relay_that_offers_nothing_is_enough,
    addresses_and_return_paths_reach_the_wire_as_they_must,
);

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nHello\r\n";

/// The shortest patience there is: a hanging relay costs the test a second.
const HASTE: Timeouts = Timeouts { connect_seconds: 1, command_seconds: 1, data_seconds: 1, dot_seconds: 1 };
const PATIENCE: Timeouts = Timeouts { connect_seconds: 60, command_seconds: 60, data_seconds: 60, dot_seconds: 60 };

fn relay(peer: &Peer, security: Security) -> RelaySettings {
    RelaySettings {
        host: "127.0.0.1".to_owned(),
        port: Some(peer.port),
        security,
        credentials: None,
        hello_name: Some("letters.example.org".to_owned()),
        root_certificates: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/faults/authority.pem")),
        timeouts: PATIENCE,
        messages_per_connection: 100,
        minutes_per_connection: 5,
    }
}

fn with_password(settings: RelaySettings) -> RelaySettings {
    let credentials = Credentials { username: "ann".to_owned(), secret: Secret::Password("open sesame".to_owned()) };
    RelaySettings { credentials: Some(credentials), ..settings }
}

async fn send(connection: &mut Connection, recipient: &str) -> Outcome {
    connection.transact("b+abc234@bounce.example.org", recipient, MESSAGE, async { BeforeDot::Send }).await
}

/// A campaign of so many people over this peer, not yet sent.
async fn launched(engine: Engine, peer: &Peer, count: usize, more: &str) -> World {
    let mut world = World::new(engine).await;
    world.settings(&format!(
        "[[relays]]\nname = \"peer\"\nsmtp = {{ host = \"127.0.0.1\", port = {}, security = \"none\"{more} }}",
        peer.port
    ));
    world.import(&people(count));
    world.draft(&campaign("autumn"));
    world.launch("autumn").unwrap();
    world
}

/// Everybody got exactly one letter, and the counts say so.
fn everybody_got_one(world: &World, peer: &Peer, count: usize) {
    let letters = peer.letters();
    assert_eq!((letters.len(), letters.values().max()), (count, Some(&1)), "{letters:?}");
    assert_eq!(world.counts("autumn").accepted, count as u64);
}

// --- refusals -------------------------------------------------------------------------------------------------------------

async fn a_refused_recipient_costs_no_connection(engine: Engine) {
    for keywords in [&["PIPELINING"][..], &[]] {
        let no = |at: At, recipient| Fault::always(at, Act::Say("550 5.1.1 no such user")).of(recipient);
        let faults = vec![no(At::Rcpt, "p1@example.org"), no(At::Rcpt, "p2@example.org"), no(At::Dot, "p5@example.org")];
        let peer = Peer::start(Manners { keywords, ..Manners::default() }, faults).await;
        let mut world = launched(engine, &peer, 8, "").await;
        world.deliver_everything().await;
        let counts = world.counts("autumn");
        assert_eq!((counts.accepted, counts.refused, peer.taken().len(), peer.heard().len()), (5, 3, 5, 1));
        // Behind a dot another letter may have begun already: nothing is reset then.
        let least = if keywords.is_empty() { 3 } else { 2 };
        assert!((least..=3).contains(&peer.heard()[0].iter().filter(|command| *command == "RSET").count()));
    }
}

async fn who_is_put_off_gets_it_once_and_each_wait_is_longer(engine: Engine) {
    let later = |recipient, code| Fault::once(At::Rcpt, Act::Say(code)).of(recipient);
    let mut faults = Vec::new();
    for _ in 0..3 {
        faults.push(later("p0@example.org", "450 4.2.0 greylisted"));
        faults.push(later("p1@example.org", "452 4.2.2 mailbox full"));
        faults.push(later("p2@example.org", "451 no enhanced code"));
        faults.push(Fault::once(At::Dot, Act::Say("451 4.7.1 try again later")).of("p3@example.org"));
        faults.push(Fault::once(At::Rcpt, Act::SayAndClose("421 4.3.2 going down")).of("p4@example.org"));
    }
    let peer = Peer::start(Manners::default(), faults).await;
    let mut world = launched(engine, &peer, 6, "").await;
    world.deliver_everything().await;
    everybody_got_one(&world, &peer, 6);
    for person in 0..5 {
        let id = world.person(&format!("p{person}@example.org")).id;
        let attempts = world.lab.vault.read(|conn| deliveries::fates(conn, id)).unwrap().remove(0).attempts;
        let verdicts: Vec<&str> = attempts.iter().map(|(_, verdict, _)| verdict.as_str()).collect();
        assert_eq!(verdicts, ["deferred", "deferred", "deferred", "accepted"], "p{person}");
        let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0)).collect();
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "p{person} waited {waits:?}");
    }
}

async fn an_end_announced_at_any_stage_costs_nobody_a_letter(engine: Engine) {
    for at in [At::Greeting, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Dot, At::Rset] {
        let mut faults = vec![Fault::once(at, Act::SayAndClose("421 4.3.2 shutting down"))];
        if at == At::Rset {
            faults.push(Fault::once(At::Rcpt, Act::Say("450 4.2.0 later")));
        }
        let peer = Peer::start(Manners::default(), faults).await;
        let mut world = launched(engine, &peer, 4, "").await;
        world.deliver_everything().await;
        everybody_got_one(&world, &peer, 4);
        assert_eq!(peer.heard().len(), 2, "{at:?}: one connection more");
        let waited = world.now().duration_since(BEGINNING.parse().unwrap()).as_secs();
        assert!(waited < 20 || at == At::Rset, "{at:?}: said to nobody, so nobody waits for long, but {waited} s");
    }
    // Said to one recipient it is as any other wish for patience.
    let patience = Act::SayAndClose("421 4.7.0 slow down, try again later");
    let peer = Peer::start(Manners::default(), vec![Fault::once(At::Rcpt, patience)]).await;
    let mut world = launched(engine, &peer, 4, "").await;
    world.deliver_everything().await;
    everybody_got_one(&world, &peer, 4);
    let waited = world.now().duration_since(BEGINNING.parse().unwrap()).as_secs();
    assert!((48..=72).contains(&waited), "{waited} s");
}

async fn a_relay_s_own_limits_cost_nobody_a_letter(engine: Engine) {
    // Ours is the same: the relay never has to say no.
    let manners = Manners { letters_per_connection: 3, ..Manners::default() };
    let peer = Peer::start(manners.clone(), vec![]).await;
    let mut world = launched(engine, &peer, 9, ", messages_per_connection = 3").await;
    world.deliver_everything().await;
    everybody_got_one(&world, &peer, 9);
    assert_eq!(peer.heard().len(), 3);
    assert!(peer.heard().iter().all(|heard| heard.last().is_some_and(|last| last == "QUIT") || heard.len() == 10));
    // Ours is higher: the letter it says no to is put off.
    let peer = Peer::start(manners, vec![]).await;
    let mut world = launched(engine, &peer, 9, "").await;
    world.deliver_everything().await;
    everybody_got_one(&world, &peer, 9);
    // As many connections as it takes are open.
    let peer = Peer::start(Manners { connections: 1, ..Manners::default() }, vec![]).await;
    let held = Connection::open(&relay(&peer, Security::None)).await.unwrap();
    let fault = Connection::open(&relay(&peer, Security::None)).await.err().unwrap();
    assert!(matches!(fault, SmtpFault::Refused { stage: Stage::Connect, code: 421, .. }) && fault.judgement() == Judgement::Retry);
    let mut world = launched(engine, &peer, 3, "").await;
    let worked = world.send_a_batch().await;
    assert_eq!((worked.report.accepted, worked.report.given_back), (0, 3), "no try is counted");
    held.quit().await;
    world.deliver_everything().await;
    everybody_got_one(&world, &peer, 3);
}

// --- lost connections -----------------------------------------------------------------------------------------------------

async fn a_letter_lost_after_its_dot_is_unknown_and_never_sent_again(engine: Engine) {
    for act in [Act::Close, Act::Hang, Act::Say("what?"), Act::SayAndClose("250-half an answer")] {
        let peer = Peer::start(Manners::default(), vec![Fault::once(At::Dot, act).of("p1@example.org")]).await;
        let mut world = launched(engine, &peer, 5, ", timeouts = { dot_seconds = 1 }").await;
        world.deliver_everything().await;
        world.wait(48);
        world.deliver_everything().await;
        let counts = world.counts("autumn");
        assert_eq!((counts.accepted, counts.unknown, counts.waiting()), (4, 1, 0), "{act:?}");
        let letters = peer.letters();
        assert_eq!((letters.len(), letters.values().max()), (5, Some(&1)), "{act:?}: {letters:?}");
    }
}

async fn a_connection_lost_before_the_dot_costs_nobody_a_letter(engine: Engine) {
    for at in [At::Greeting, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Letter] {
        for act in [Act::Close, Act::Say("9x no code at all")] {
            // In the middle of a letter nothing is asked, and nothing said is read as an answer before the dot.
            if at == At::Letter && !matches!(act, Act::Close) {
                continue;
            }
            let peer = Peer::start(Manners::default(), vec![Fault::once(at, act)]).await;
            let mut world = launched(engine, &peer, 3, "").await;
            world.deliver_everything().await;
            if at == At::Letter {
                // The letter was small and had left whole when the relay went: nobody can know that it was not taken.
                let (counts, letters) = (world.counts("autumn"), peer.letters());
                assert_eq!((counts.accepted, counts.unknown, letters.len()), (2, 1, 2));
                assert_eq!(letters.values().max(), Some(&1));
            } else {
                everybody_got_one(&world, &peer, 3);
            }
        }
    }
}

/// A letter too large for any buffer does not leave whole, so it was certainly not taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_did_not_leave_whole_was_not_taken() {
    let letter = [&b"Subject: x\r\n\r\n"[..], &b"sixteen bytes ..\r\n".repeat(3_000_000)].concat();
    for act in [Act::Close, Act::Hang] {
        let peer = Peer::start(Manners::default(), vec![Fault::once(At::Letter, act)]).await;
        let mut connection = Connection::open(&RelaySettings { timeouts: HASTE, ..relay(&peer, Security::None) }).await.unwrap();
        let outcome = connection.transact("b+a@example.org", "ann@example.org", &letter, async { BeforeDot::Send }).await;
        assert!(matches!(outcome, Outcome::Lost { stage: Stage::Data, after_dot: false, .. }), "{act:?}: {outcome:?}");
        assert!(!connection.usable() && peer.taken().is_empty());
    }
}

/// What a relay that hangs `at` some stage leads to: the fault of opening, or the outcome and whether the connection is still used.
async fn hang(at: At) -> Result<(Outcome, bool), SmtpFault> {
    let is_tls = matches!(at, At::StartTls | At::Handshake);
    let keywords: &[&str] = if is_tls { &["STARTTLS"] } else { &["PIPELINING", "AUTH PLAIN"] };
    let mut faults = vec![Fault::always(at, Act::Hang)];
    if at == At::Rset {
        faults.push(Fault::always(At::Rcpt, Act::Say("550 5.1.1 no")));
    }
    let peer = Peer::start(Manners { keywords, ..Manners::default() }, faults).await;
    let security = if is_tls { Security::StartTls } else { Security::None };
    let settings = RelaySettings { timeouts: HASTE, ..relay(&peer, security) };
    let settings = if is_tls { settings } else { with_password(settings) };
    let mut connection = Connection::open(&settings).await?;
    let outcome = send(&mut connection, "ann@example.org").await;
    Ok((outcome, connection.usable()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_relay_is_left_in_time_at_every_stage() {
    let opening = [(At::Greeting, Stage::Connect), (At::Ehlo, Stage::Hello), (At::StartTls, Stage::Hello), (At::Auth, Stage::Auth)];
    let sending =
        [(At::Mail, Stage::Mail, false), (At::Rcpt, Stage::Rcpt, false), (At::Data, Stage::Data, false), (At::Dot, Stage::Dot, true)];
    let (opened, sent, reset, handshake) = tokio::join!(
        join_all(opening.map(|(at, _)| hang(at))),
        join_all(sending.map(|(at, ..)| hang(at))),
        hang(At::Rset),
        hang(At::Handshake)
    );
    assert!(matches!(&handshake, Err(SmtpFault::TlsTimedOut { seconds: 1 })), "{handshake:?}");
    for ((at, stage), ended) in opening.into_iter().zip(opened) {
        assert!(matches!(&ended, Err(SmtpFault::TimedOut { stage: found, seconds: 1 }) if *found == stage), "{at:?}: {ended:?}");
    }
    for ((at, stage, dot), ended) in sending.into_iter().zip(sent) {
        let (outcome, usable) = ended.unwrap();
        let Outcome::Lost { stage: found, after_dot, .. } = outcome else { panic!("{at:?}: {outcome:?}") };
        assert_eq!((found, after_dot, usable), (stage, dot, false), "{at:?}");
    }
    let (outcome, usable) = reset.unwrap();
    assert!(matches!(outcome, Outcome::Refused { stage: Stage::Rcpt, code: 550, .. }) && !usable, "{outcome:?}");
}

// --- answers --------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_message_asked_for_without_recipients_ends_at_once() {
    let faults =
        || vec![Fault::once(At::Rcpt, Act::Say("550 5.1.1 no such user")), Fault::once(At::Data, Act::Say("354 go on all the same"))];
    let peer = Peer::start(Manners::default(), faults()).await;
    let mut connection = Connection::open(&relay(&peer, Security::None)).await.unwrap();
    assert!(matches!(send(&mut connection, "nobody@example.org").await, Outcome::Refused { stage: Stage::Rcpt, code: 550, .. }));
    assert!(matches!(send(&mut connection, "ann@example.org").await, Outcome::Accepted { .. }));
    let letters: Vec<String> = peer.taken().into_iter().map(|taken| taken.recipient).collect();
    assert_eq!((letters.as_slice(), peer.heard().len()), (&["ann@example.org".to_owned()][..], 1));
    // Without PIPELINING there is no DATA after a refusal.
    let peer = Peer::start(Manners { keywords: &[], ..Manners::default() }, faults()).await;
    let mut connection = Connection::open(&relay(&peer, Security::None)).await.unwrap();
    send(&mut connection, "nobody@example.org").await;
    assert!(!peer.heard()[0].iter().any(|command| command == "DATA"), "{:?}", peer.heard());
}

#[tokio::test]
async fn answers_are_understood_however_they_come() {
    let refused = |code: u16, enhanced: Option<&str>, text: &str| {
        let (enhanced, text) = (enhanced.map(str::to_owned), text.to_owned());
        if code < 500 {
            Outcome::Deferred { stage: Stage::Dot, code, enhanced, text }
        } else {
            Outcome::Refused { stage: Stage::Dot, code, enhanced, text }
        }
    };
    let accepted = |reply: &str| Outcome::Accepted { reply: reply.to_owned() };
    let cases = [
        (Act::Say("250 2.0.0 queued as 4ABC"), accepted("2.0.0 queued as 4ABC")),
        (Act::Say("250"), accepted("")),
        (Act::Bytes(b"250 bare line end\n"), accepted("bare line end")),
        (Act::InPieces("250-2.0.0 one\r\n250-2.0.0 two\r\n250 2.0.0 three"), accepted("2.0.0 one two three")),
        (Act::InPieces("451 4.7.1 later"), refused(451, Some("4.7.1"), "later")),
        (Act::Say("550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three"), refused(550, Some("5.7.1"), "one two three")),
        (Act::Say("550 no enhanced code"), refused(550, None, "no enhanced code")),
        (Act::Say("550 4.1.1 of another class"), refused(550, None, "4.1.1 of another class")),
        (Act::Bytes(b"552 bo\xeete pleine\r\n"), refused(552, None, "bo\u{fffd}te pleine")),
        (Act::Say("550 5.1.1 <ann.smith@example.org> unknown"), refused(550, Some("5.1.1"), "<<address>> unknown")),
    ];
    for (act, expected) in cases {
        let peer = Peer::start(Manners::default(), vec![Fault::once(At::Dot, act)]).await;
        let mut connection = Connection::open(&relay(&peer, Security::None)).await.unwrap();
        assert_eq!(send(&mut connection, "ann.smith@example.org").await, expected);
        assert!(matches!(send(&mut connection, "ben@example.org").await, Outcome::Accepted { .. }), "{act:?}: the next one leaves");
        assert_eq!(peer.heard().len(), 1);
    }
}

#[tokio::test]
async fn answers_that_are_none_end_the_connection() {
    let garbage = [
        Act::Say("ok"),
        Act::Say("25"),
        Act::Say("999 what"),
        Act::Say("250_ok"),
        Act::Say("250-one\r\n550 two"),
        Act::Bytes(b"\x00\xff\xfe\r\n"),
        Act::Bytes(&[b'2'; 10_000]),
        Act::Say("334 more?"),
    ];
    for act in garbage {
        for (at, stage, dot) in [(At::Mail, Stage::Mail, false), (At::Rcpt, Stage::Rcpt, false), (At::Dot, Stage::Dot, true)] {
            let peer = Peer::start(Manners::default(), vec![Fault::always(at, act)]).await;
            let mut connection = Connection::open(&relay(&peer, Security::None)).await.unwrap();
            let outcome = send(&mut connection, "ann@example.org").await;
            let Outcome::Lost { stage: found, after_dot, .. } = outcome else { panic!("{act:?} {at:?}: {outcome:?}") };
            assert_eq!((found, after_dot, connection.usable()), (stage, dot, false), "{act:?}");
        }
    }
}

// --- what is offered ------------------------------------------------------------------------------------------------------

async fn a_relay_that_offers_nothing_is_enough(engine: Engine) {
    let peer = Peer::start(Manners { keywords: &[], ..Manners::default() }, vec![]).await;
    let mut world = launched(engine, &peer, 3, "").await;
    world.import_into("more", "email,first_name\nanna@example.org,Ánh\nдмитрий@example.org,Дмитрий\n").unwrap();
    world.draft(&campaign("winter").replace("list = \"customers\"", "list = \"more\""));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    assert_eq!(world.counts("autumn").accepted, 3);
    let counts = world.counts("winter");
    assert_eq!((counts.accepted, counts.skipped), (1, 1));
    let reasons = letterlab::app::campaigns::progress(&world.lab, &world.campaign("winter")).unwrap().reasons;
    assert!(reasons[0].reason.contains("SMTPUTF8"), "{:?}", reasons[0].reason);
    let heard = peer.heard().concat();
    assert!(
        heard.iter().filter(|command| command.starts_with("MAIL")).all(|command| !command.contains("BODY") && !command.contains("UTF8"))
    );
    assert!(peer.taken().iter().all(|taken| taken.letter.is_ascii()), "seven bits only");
}

async fn addresses_and_return_paths_reach_the_wire_as_they_must(engine: Engine) {
    let peer = Peer::start(Manners::default(), vec![]).await;
    let mut world = launched(engine, &peer, 1, "").await;
    world.import_into("more", "email,first_name\nanna+news@Bücher.example,A\nдмитрий@bücher.example,D\n").unwrap();
    world.draft(&campaign("winter").replace("list = \"customers\"", "list = \"more\""));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    let mut taken = peer.taken();
    taken.retain(|taken| taken.recipient != "p0@example.org");
    taken.sort_by(|one, other| one.recipient.cmp(&other.recipient));
    let recipients: Vec<&str> = taken.iter().map(|taken| taken.recipient.as_str()).collect();
    assert_eq!(recipients, ["anna+news@xn--bcher-kva.example", "дмитрий@xn--bcher-kva.example"]);
    for letter in &taken {
        assert!(letter.letter.contains(&format!("To: {}\r\n", letter.recipient)), "{}", letter.letter);
        let local = letter.sender.split('@').next().unwrap();
        assert!(local.len() <= 64, "{local}");
        // Some relays fold addresses to capitals.
        let folded = local.to_ascii_uppercase();
        assert!(world.lab.keys.open(Kind::Bounce, folded.trim_start_matches("B+")).is_ok());
    }
    let announced: Vec<bool> =
        peer.heard().concat().iter().filter(|command| command.starts_with("MAIL")).map(|mail| mail.ends_with(" SMTPUTF8")).collect();
    assert_eq!(announced.iter().filter(|announced| **announced).count(), 1, "only for the address that needs it");
}

// --- encryption -----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn without_the_encryption_asked_for_nothing_is_said() {
    // Removed by somebody on the way, or never there.
    let peer = Peer::start(Manners { keywords: &["PIPELINING", "AUTH PLAIN"], ..Manners::default() }, vec![]).await;
    let fault = Connection::open(&with_password(relay(&peer, Security::StartTls))).await.err();
    assert!(matches!(fault, Some(SmtpFault::NoStartTls)), "{fault:?}");
    assert_eq!(peer.heard().concat(), ["EHLO letters.example.org"]);
    // Offered and then refused.
    let refusal = vec![Fault::always(At::StartTls, Act::Say("454 4.7.0 not now"))];
    let peer = Peer::start(Manners { keywords: &["STARTTLS", "AUTH PLAIN"], ..Manners::default() }, refusal).await;
    let fault = Connection::open(&with_password(relay(&peer, Security::StartTls))).await.err();
    assert!(matches!(fault, Some(SmtpFault::Refused { stage: Stage::Hello, code: 454, .. })), "{fault:?}");
    assert_eq!(peer.heard().concat(), ["EHLO letters.example.org", "STARTTLS"]);
}

#[tokio::test]
async fn only_a_valid_certificate_will_do() {
    for (security, is_tls) in [(Security::Tls, true), (Security::StartTls, false), (Security::Opportunistic, false)] {
        for (certificate, good) in [("good.pem", true), ("expired.pem", false), ("elsewhere.pem", false), ("selfsigned.pem", false)] {
            let keywords = &["STARTTLS", "PIPELINING", "AUTH PLAIN"];
            let peer = Peer::start(Manners { keywords, certificate, is_tls, ..Manners::default() }, vec![]).await;
            let settings = with_password(relay(&peer, security));
            match Connection::open(&settings).await {
                Ok(mut connection) => {
                    assert!(good, "{certificate} over {security:?}");
                    assert!(matches!(send(&mut connection, "ann@example.org").await, Outcome::Accepted { .. }));
                    assert!(peer.heard().concat().iter().any(|command| command.starts_with("AUTH PLAIN")));
                }
                Err(fault) => {
                    assert!(!good && matches!(fault, SmtpFault::Tls { .. }), "{certificate} over {security:?}: {fault}");
                    assert_eq!(fault.judgement(), Judgement::SenderFault, "somebody must change something");
                    assert!(!peer.heard().concat().iter().any(|command| command.starts_with("AUTH")));
                }
            }
            // An authority nobody knows of.
            let unknown = RelaySettings { root_certificates: None, ..settings };
            assert!(matches!(Connection::open(&unknown).await, Err(SmtpFault::Tls { .. })));
        }
    }
}

#[tokio::test]
async fn plain_text_injected_around_starttls_is_not_believed() {
    // An answer to a command not yet given, put behind the go-ahead by somebody on the way.
    let manners = Manners { keywords: &["STARTTLS", "AUTH PLAIN"], ..Manners::default() };
    let injected = vec![Fault::always(At::StartTls, Act::Bytes(b"220 go ahead\r\n250-relay.test\r\n250 AUTH PLAIN\r\n"))];
    let peer = Peer::start(manners.clone(), injected).await;
    for security in [Security::StartTls, Security::Opportunistic] {
        let fault = Connection::open(&with_password(relay(&peer, security))).await.err();
        assert!(matches!(fault, Some(SmtpFault::Broken { stage: Stage::Hello, .. })), "{fault:?}");
    }
    // Something that is not TLS after the go-ahead.
    let garbage = vec![Fault::always(At::Handshake, Act::Bytes(b"250 this is no handshake\r\n"))];
    let peer = Peer::start(manners, garbage).await;
    let fault = Connection::open(&with_password(relay(&peer, Security::StartTls))).await.err();
    // It may come together with the go-ahead, or after it.
    assert!(matches!(fault, Some(SmtpFault::Tls { .. } | SmtpFault::Broken { stage: Stage::Hello, .. })), "{fault:?}");
    assert!(!peer.heard().concat().iter().any(|command| command.starts_with("AUTH")));
    // What was offered before is not offered any more: after TLS only what is said there counts.
    let once = vec![Fault::once(At::Ehlo, Act::Say("250-relay.test\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 AUTH PLAIN"))];
    let peer = Peer::start(Manners { keywords: &[], ..Manners::default() }, once).await;
    let fault = Connection::open(&with_password(relay(&peer, Security::StartTls))).await.err();
    assert!(matches!(fault, Some(SmtpFault::NoMechanism)), "{fault:?}");
}

#[tokio::test]
async fn where_encryption_is_welcome_but_not_asked_for_letters_leave_either_way() {
    for (keywords, encrypted) in [(&["STARTTLS"][..], true), (&[][..], false)] {
        let peer = Peer::start(Manners { keywords, ..Manners::default() }, vec![]).await;
        let mut connection = Connection::open(&relay(&peer, Security::Opportunistic)).await.unwrap();
        assert!(matches!(send(&mut connection, "ann@example.org").await, Outcome::Accepted { .. }));
        assert_eq!(peer.heard().concat().iter().any(|command| command == "STARTTLS"), encrypted);
    }
}
