//! The message that begins behind the dot of the one before.

use super::*;

fn message() -> super::super::Message {
    super::super::Message::new(FROM, TO, MESSAGE.to_vec()).unwrap()
}

/// Sends a message and begins the next, the same again, behind its dot.
async fn send_and_begin(connection: &mut Connection) -> Outcome {
    let next = message().envelope(connection.offers()).unwrap();
    connection.send(&message(), async { BeforeDot::SendAndBegin(next) }).await
}

fn accepted() -> Outcome {
    Outcome::Accepted { reply: "ok".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn the_next_message_begins_behind_the_dot() {
    let behind = [&[Message(STUFFED)][..], &COMMANDS, &[Silence, Say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")]].concat();
    let script = [&GREETING[..], &COMMANDS, &[READY], &behind, &behind, &[Message(STUFFED), Silence, Say("250 ok\r\n")]].concat();
    let (mut connection, relay) = connection(script).await;
    for _ in 0..2 {
        assert_eq!(send_and_begin(&mut connection).await, accepted());
        assert!(connection.has_begun() && connection.usable());
    }
    assert_eq!(connection.send(&message(), go()).await, accepted());
    assert_eq!((connection.has_begun(), connection.usable(), connection.messages_sent()), (false, true, 3));
    connection.quit().await;
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_is_refused_by_itself_and_goes_on_when_the_one_before_is_refused() {
    let first = [&GREETING[..], &COMMANDS, &[READY, Message(STUFFED)], &COMMANDS].concat();
    let sent = [Message(STUFFED), Say("250 ok\r\n")];
    let again = [&RESET, &COMMANDS[..], &[READY], &sent].concat();
    let cases: [(&'static str, &[Step], [Outcome; 2]); 4] = [
        ("550 no\r\n250 ok\r\n250 ok\r\n354 go\r\n", &sent, [refused(Stage::Dot, 550, None, "no"), accepted()]),
        ("451 no\r\n250 ok\r\n250 ok\r\n354 go\r\n", &sent, [refused(Stage::Dot, 451, None, "no"), accepted()]),
        ("250 ok\r\n250 ok\r\n550 no\r\n503 x\r\n", &again, [accepted(), refused(Stage::Rcpt, 550, None, "no")]),
        ("250 ok\r\n452 no\r\n503 x\r\n503 x\r\n", &again, [accepted(), refused(Stage::Mail, 452, None, "no")]),
    ];
    for (answers, rest, expected) in cases {
        let (mut connection, relay) = connection([&first[..], &[Say(answers)], rest].concat()).await;
        assert_eq!([send_and_begin(&mut connection).await, connection.send(&message(), go()).await], expected, "{answers}");
        if !matches!(expected[1], Outcome::Accepted { .. }) {
            assert_eq!(connection.send(&message(), go()).await, accepted());
        }
        drop(connection);
        relay.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_ends_with_its_connection() {
    let first = [&GREETING[..], &COMMANDS, &[READY, Message(STUFFED)], &COMMANDS].concat();
    let begun = || async {
        let (mut connection, relay) = connection([&first[..], &[Say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")]].concat()).await;
        assert_eq!(send_and_begin(&mut connection).await, accepted());
        (connection, relay)
    };
    // Not even a goodbye: it would be the first line of a message. The relay fails on whatever comes after its script.
    let (connection, relay) = begun().await;
    connection.quit().await;
    relay.await.unwrap();
    // Another message than the one begun.
    let (mut connection, relay) = begun().await;
    let other = super::super::Message::new(FROM, "other@example.net", MESSAGE.to_vec()).unwrap();
    assert!(matches!(connection.send(&other, go()).await, Outcome::Lost { stage: Stage::Connect, after_dot: false, .. }));
    assert!(!connection.usable());
    relay.await.unwrap();
    // Left alone for too long.
    let (connection, relay) = begun().await;
    tokio::time::advance(Duration::from_secs(31)).await;
    assert!(!connection.usable());
    drop(connection);
    relay.await.unwrap();
    // The relay says goodbye at the dot, or is gone behind it.
    for (answer, usable) in [("421 4.3.2 closing\r\n", false), ("250 ok\r\n", true)] {
        let (mut connection, relay) = super::connection([&first[..], &[Say(answer), Close]].concat()).await;
        let outcome = send_and_begin(&mut connection).await;
        assert_eq!(matches!(outcome, Outcome::Accepted { .. }), usable, "{outcome:?}");
        assert_eq!(connection.usable(), usable);
        if usable {
            assert!(matches!(connection.send(&message(), go()).await, Outcome::Lost { stage: Stage::Mail, after_dot: false, .. }));
        }
        relay.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_where_it_may_not_be() {
    let one = [&COMMANDS[..], &[READY, Message(STUFFED), Silence, Say("250 ok\r\n")]].concat();
    let (last, relay) = greet_with(&RelaySettings { messages_per_connection: 1, ..settings() }, [&GREETING[..], &one].concat()).await;
    let mut last = last.unwrap();
    assert_eq!((send_and_begin(&mut last).await, last.has_begun()), (accepted(), false));
    drop(last);
    relay.await.unwrap();
    let answers = ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    let steps = COMMANDS.into_iter().zip(answers).flat_map(|(command, answer)| [command, Say(answer)]);
    let script: Vec<Step> =
        GREETING_WITHOUT_PIPELINING.into_iter().chain(steps).chain([Message(STUFFED), Silence, Say("250 ok\r\n")]).collect();
    let (mut slow, relay) = connection(script).await;
    assert_eq!((send_and_begin(&mut slow).await, slow.has_begun()), (accepted(), false));
    drop(slow);
    relay.await.unwrap();
}
