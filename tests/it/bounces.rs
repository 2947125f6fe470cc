//! Letters that come back, complaints, and people who unsubscribe by mail.

use std::sync::atomic::Ordering;

use letterlab::bounce::apply::Applied;
use letterlab::ledger::store as events;
use letterlab::ledger::subject::Tally;
use letterlab::smtpd::{Envelope, Handler};
use letterlab::token::Keys;
use letterlab::vault::people::Suppression;

use crate::mailboxes::{Message, delivery_report};
use crate::world::{BOUNCES, Engine, World, campaign, on_both_engines, people};

on_both_engines!(
    a_report_for_a_letter_suppresses_the_person_and_counts_as_a_bounce,
    the_same_report_twice_counts_once,
    a_full_mailbox_bounces_and_stays_on_the_list,
    a_report_with_a_forged_token_changes_nothing,
    a_report_is_matched_by_the_returned_headers_when_the_address_tells_nothing,
    a_mail_to_the_unsubscribe_address_unsubscribes,
    a_mail_to_the_unsubscribe_address_unsubscribes_through_a_pipe_that_tells_no_address,
    an_automatic_answer_changes_nothing,
    a_complaint_ends_the_letters,
    the_listener_takes_only_mail_with_a_genuine_token,
    who_unsubscribed_and_bounced_is_shown_as_unsubscribed,
);

const UNKNOWN_USER: (&str, &str) = ("5.1.1", "550 5.1.1 <someone@example.org>: user unknown");

async fn sent(engine: Engine) -> World {
    World::with_campaign_sent(engine, &people(6), &campaign("autumn")).await
}

fn report(letter: &Message) -> String {
    delivery_report(letter, UNKNOWN_USER.0, UNKNOWN_USER.1)
}

fn sum(world: &World, tally: Tally) -> i64 {
    world.tidy();
    let number = world.campaign("autumn").number;
    let tallies = world.lab.ledger.read(|conn| events::tallies(conn, number)).unwrap();
    tallies.iter().filter(|((_, _, word), _)| word == tally.as_str()).map(|(_, value)| value).sum()
}

async fn a_report_for_a_letter_suppresses_the_person_and_counts_as_a_bounce(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let applied = world.returned(&letter.return_path, &report(&letter));
    assert_eq!(applied, Applied::Bounced { class: "hard", suppressed: true, new: true });
    assert_eq!(world.person("p1@example.org").suppressed, Some(Suppression::HardBounce));
    assert_eq!((sum(&world, Tally::Bounced), sum(&world, Tally::Sent), sum(&world, Tally::Delivered)), (1, 6, 5));
    let page = world.results("autumn");
    assert_eq!(page.arms.iter().map(|arm| arm.trials).sum::<u64>(), 5, "who never got it is not asked");
    // What servers write into reports stays out of the ledger.
    assert!(!world.contents(crate::world::Room::Ledger).contains("someone@example.org"));
}

async fn the_same_report_twice_counts_once(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    for new in [true, false, false] {
        world.wait(1);
        assert_eq!(world.returned(&letter.return_path, &report(&letter)), Applied::Bounced { class: "hard", suppressed: true, new });
    }
    assert_eq!(sum(&world, Tally::Bounced), 1);
}

async fn a_full_mailbox_bounces_and_stays_on_the_list(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let full = delivery_report(&letter, "5.2.2", "552 5.2.2 mailbox full");
    let Applied::Bounced { class, suppressed, .. } = world.returned(&letter.return_path, &full) else { panic!("a bounce") };
    assert!(!suppressed && class != "hard", "{class}");
    assert_eq!(world.person("p1@example.org").suppressed, None);
    assert_eq!(sum(&world, Tally::Bounced), 1);
}

async fn a_report_with_a_forged_token_changes_nothing(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    // Sealed by somebody else's key: right in every way but one.
    let payload = world.lab.keys.open(letterlab::token::Kind::Bounce, &letter.bounce_token()).unwrap();
    let forged = Keys::new((1, [9; 32]), Vec::new()).seal(&payload);
    let text = report(&letter).replace(&letter.bounce_token(), &forged).replace(&letter.unsubscribe_token(), &forged);
    assert_eq!(world.returned(&format!("b+{forged}@{BOUNCES}"), &text), Applied::Unmatched);
    assert_eq!(world.returned(&format!("u+{forged}@{BOUNCES}"), &text), Applied::Unmatched);
    assert!(
        (0..6).all(|person| world.person(&format!("p{person}@example.org")).suppressed.is_none()),
        "the address in a report is not believed"
    );
    assert_eq!(sum(&world, Tally::Bounced), 0);
}

async fn a_report_is_matched_by_the_returned_headers_when_the_address_tells_nothing(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let rewritten = report(&letter).replacen(&letter.return_path, "postmaster@example.org", 1);
    assert!(matches!(world.returned("postmaster@example.org", &rewritten), Applied::Bounced { new: true, .. }));
    assert_eq!(world.person("p1@example.org").suppressed, Some(Suppression::HardBounce));
}

async fn a_mail_to_the_unsubscribe_address_unsubscribes(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let address = format!("u+{}@{BOUNCES}", letter.unsubscribe_token());
    // Mail servers fold the case of local parts.
    let shouted = format!("U+{}@{BOUNCES}", letter.unsubscribe_token().to_uppercase());
    let mail = format!("From: p1@example.org\r\nTo: {address}\r\nSubject: unsubscribe\r\n\r\n\r\n");
    assert_eq!(world.returned(&shouted, &mail), Applied::Unsubscribed { new: true });
    assert_eq!(world.returned(&address, &mail), Applied::Unsubscribed { new: false });
    assert_eq!(world.person("p1@example.org").suppressed, Some(Suppression::Unsubscribed));
    assert_eq!((sum(&world, Tally::Unsubscribed), sum(&world, Tally::Delivered)), (1, 6));
}

async fn a_mail_to_the_unsubscribe_address_unsubscribes_through_a_pipe_that_tells_no_address(engine: Engine) {
    let world = sent(engine).await;
    let address = |person: usize| format!("u+{}@{BOUNCES}", world.letter_to(&format!("p{person}@example.org")).unsubscribe_token());
    let mail = |header: &str, address: &str, subject: &str| {
        format!("From: somebody@example.org\r\n{header}: <{address}>\r\nSubject: {subject}\r\n\r\n\r\n")
    };
    assert_eq!(world.piped(&mail("To", &address(0), "unsubscribe")), Applied::Unsubscribed { new: true });
    assert_eq!(world.piped(&mail("To", &address(0), "unsubscribe")), Applied::Unsubscribed { new: false });
    // Whatever is written to it, wherever the mail server notes it, and when the pipe tells an address of the server's own.
    assert_eq!(world.piped(&mail("Delivered-To", &address(1), "Enough")), Applied::Unsubscribed { new: true });
    let shouted = address(2).to_uppercase();
    assert_eq!(world.returned("letterlab@localhost", &mail("X-Original-To", &shouted, "")), Applied::Unsubscribed { new: true });
    for person in 0..3 {
        assert_eq!(world.person(&format!("p{person}@example.org")).suppressed, Some(Suppression::Unsubscribed), "{person}");
    }
    // An automatic answer asks for nothing, nor does what came to a return path or has a token of another kind.
    let away = mail("To", &address(3), "Out of office").replacen("Subject", "Auto-Submitted: auto-replied\r\nSubject", 1);
    assert!(matches!(world.piped(&away), Applied::Noted { .. }));
    let letter = world.letter_to("p4@example.org");
    assert_eq!(world.returned(&letter.return_path, &mail("To", &address(4), "Hello")), Applied::NotUnderstood);
    assert_eq!(world.piped(&mail("To", &format!("u+{}@{BOUNCES}", letter.bounce_token()), "Hello")), Applied::NotUnderstood);
    assert!((3..6).all(|person| world.person(&format!("p{person}@example.org")).suppressed.is_none()));
    assert_eq!(sum(&world, Tally::Unsubscribed), 3);
}

async fn an_automatic_answer_changes_nothing(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let away = |to: &str| {
        format!(
            "From: p1@example.org\r\nTo: {to}\r\nSubject: Out of office: What changed this autumn\r\nAuto-Submitted: auto-replied\r\n\r\n\
             I am away until Monday. To unsubscribe from life, go outside.\r\n"
        )
    };
    assert!(matches!(world.returned(&letter.return_path, &away(&letter.return_path)), Applied::Noted { .. }));
    let address = format!("u+{}@{BOUNCES}", letter.unsubscribe_token());
    assert!(matches!(world.returned(&address, &away(&address)), Applied::Noted { .. }));
    assert_eq!(world.person("p1@example.org").suppressed, None);
    assert_eq!((sum(&world, Tally::Bounced), sum(&world, Tally::Unsubscribed)), (0, 0));
}

async fn a_complaint_ends_the_letters(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let bytes = String::from_utf8_lossy(&letter.bytes);
    let headers = bytes.split("\r\n\r\n").next().unwrap();
    let complaint = format!(
        "From: feedback@isp.example\r\nTo: abuse@example.org\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"arf\"\r\n\r\n\
         --arf\r\nContent-Type: text/plain\r\n\r\nThis is an email abuse report.\r\n\r\n\
         --arf\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: ISP/1.0\r\nVersion: 1\r\n\r\n\
         --arf\r\nContent-Type: message/rfc822\r\n\r\n{headers}\r\n\r\nbody\r\n\r\n--arf--\r\n"
    );
    assert_eq!(world.returned("abuse@example.org", &complaint), Applied::Complained { new: true });
    assert_eq!(world.person("p1@example.org").suppressed, Some(Suppression::Complaint));
    assert_eq!(sum(&world, Tally::Complained), 1);
}

async fn the_listener_takes_only_mail_with_a_genuine_token(engine: Engine) {
    let world = sent(engine).await;
    let letter = world.letter_to("p1@example.org");
    let listener = world.lab.bounce_listener();
    let mut envelope = Envelope {
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        client_name: "mx.example.net".to_owned(),
        sender: String::new(),
        recipients: Vec::new(),
    };
    let check = |recipient: &str, taken: bool| assert_eq!(listener.recipient(&envelope, recipient).accepts(), taken, "{recipient}");
    check(&letter.return_path, true);
    check(&format!("u+{}@{BOUNCES}", letter.unsubscribe_token()), true);
    check(&letter.return_path.to_uppercase(), true);
    check(&format!("postmaster@{BOUNCES}"), true);
    check(&format!("b+{}@elsewhere.example", letter.bounce_token()), false);
    check(&format!("b+{}@{BOUNCES}", letter.unsubscribe_token()), false);
    check(&format!("b+{}@{BOUNCES}", "a".repeat(52)), false);
    check(&format!("someone@{BOUNCES}"), false);

    envelope.recipients = vec![letter.return_path.clone()];
    assert!(listener.message(envelope.clone(), report(&letter).into_bytes()).await.accepts());
    assert_eq!(sum(&world, Tally::Bounced), 1);
    envelope.recipients = vec![format!("postmaster@{BOUNCES}")];
    assert!(listener.message(envelope, b"Subject: hello\r\n\r\nIs anybody there?\r\n".to_vec()).await.accepts());
    let tallies = &world.lab.returned;
    assert_eq!((tallies.recorded.load(Ordering::Relaxed), tallies.not_understood.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(std::fs::read_dir(world.folder().join("returned-mail")).unwrap().count(), 1, "kept for a person to look at");
}

async fn who_unsubscribed_and_bounced_is_shown_as_unsubscribed(engine: Engine) {
    let world = sent(engine).await;
    for person in 0..6 {
        let letter = world.letter_to(&format!("p{person}@example.org"));
        world.unsubscribe(&letter);
        world.returned(&letter.return_path, &report(&letter));
        let pseudonym = world.pseudonym_of(&letter);
        let standing = letterlab::bridge::withdraw::standing(&world.lab.vault, pseudonym).unwrap().unwrap();
        assert!(standing.unsubscribed, "their page says what they did themselves");
    }
    assert_eq!((sum(&world, Tally::Bounced), sum(&world, Tally::Unsubscribed)), (6, 6));
}
