//! Against a relay that plays a script, in memory and with paused time: nothing here waits for a clock.

mod begun;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const FROM: &str = "b+abc234@bounce.example.org";
const TO: &str = "jane.doe@example.net";
const MESSAGE: &[u8] = b"Subject: x\r\n\r\nHello\r\n.\r\n..two\r\n";
const STUFFED: &str = "Subject: x\r\n\r\nHello\r\n..\r\n...two\r\n.\r\n";

/// What the scripted relay does next.
#[derive(Clone, Copy)]
enum Step {
    /// Says this, as it is.
    Say(&'static str),
    /// Reads one line, which must begin so.
    Hear(&'static str),
    /// Makes sure that nothing more comes for a minute.
    Silence,
    /// Reads a message up to its final dot, which must be this.
    Message(&'static str),
    /// Reads this many bytes.
    Swallow(usize),
    /// Says nothing more but keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
}

use Step::{Close, Hang, Hear, Message, Say, Silence, Swallow};

const GREETING: [Step; 3] =
    [Say("220 relay.test ready\r\n"), Hear("EHLO letters.example.org\r\n"), Say("250-relay.test\r\n250 PIPELINING\r\n")];
const GREETING_WITHOUT_PIPELINING: [Step; 3] = [Say("220 relay.test\r\n"), Hear("EHLO "), Say("250 relay.test\r\n")];
const COMMANDS: [Step; 3] =
    [Hear("MAIL FROM:<b+abc234@bounce.example.org>\r\n"), Hear("RCPT TO:<jane.doe@example.net>\r\n"), Hear("DATA\r\n")];
const READY: Step = Say("250 ok\r\n250 ok\r\n354 go\r\n");
const RESET: [Step; 2] = [Hear("RSET\r\n"), Say("250 ok\r\n")];

async fn line(stream: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        match stream.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(line).unwrap()
}

/// Plays the script, then keeps the stream open until the test is over.
fn relay(mut stream: DuplexStream, script: Vec<Step>) -> JoinHandle<()> {
    tokio::spawn(async move {
        for step in script {
            match step {
                Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                Hear(start) => {
                    let heard = line(&mut stream).await;
                    assert!(heard.starts_with(start), "heard {heard:?} instead of {start:?}");
                }
                Silence => {
                    let heard = tokio::time::timeout(Duration::from_secs(60), stream.read_u8()).await;
                    assert!(heard.is_err(), "heard {heard:?} too early");
                }
                Message(expected) => {
                    let mut message = String::new();
                    while message != ".\r\n" && !message.ends_with("\r\n.\r\n") {
                        let next = line(&mut stream).await;
                        assert!(!next.is_empty(), "the message broke off");
                        message.push_str(&next);
                    }
                    assert_eq!(message, expected);
                }
                Swallow(count) => {
                    stream.read_exact(&mut vec![0; count]).await.unwrap();
                }
                Hang => std::future::pending().await,
                Close => return,
            }
        }
        let heard = line(&mut stream).await;
        assert!(heard.is_empty() || heard == "QUIT\r\n", "heard {heard:?} after the script");
    })
}

fn settings() -> RelaySettings {
    RelaySettings {
        host: "relay.test".to_owned(),
        port: None,
        security: Security::None,
        credentials: None,
        hello_name: Some("letters.example.org".to_owned()),
        root_certificates: None,
        timeouts: Timeouts::default(),
        messages_per_connection: 100,
        minutes_per_connection: 5,
    }
}

async fn greet_with(settings: &RelaySettings, script: Vec<Step>) -> (Result<Connection, SmtpFault>, JoinHandle<()>) {
    let (ours, theirs) = duplex(4096);
    let relay = relay(theirs, script);
    (open::greet(Box::new(ours), settings, IpAddr::V4(Ipv4Addr::LOCALHOST)).await, relay)
}

async fn connection(script: Vec<Step>) -> (Connection, JoinHandle<()>) {
    let (connection, relay) = greet_with(&settings(), script).await;
    (connection.unwrap(), relay)
}

async fn go() -> BeforeDot {
    BeforeDot::Send
}

/// Sends one message after the greeting; gives the outcome and whether the connection is still good. The script must have been kept to.
async fn check(greeting: &[Step], script: &[&[Step]]) -> (Outcome, bool) {
    let (mut connection, relay) = connection([greeting, &script.concat()].concat()).await;
    let outcome = connection.transact(FROM, TO, MESSAGE, go()).await;
    let usable = connection.usable();
    drop(connection);
    if relay.is_finished() || !script.concat().iter().any(|step| matches!(step, Hang)) {
        relay.await.unwrap();
    }
    (outcome, usable)
}

fn refused(stage: Stage, code: u16, enhanced: Option<&str>, text: &str) -> Outcome {
    let (enhanced, text) = (enhanced.map(str::to_owned), text.to_owned());
    if code < 500 { Outcome::Deferred { stage, code, enhanced, text } } else { Outcome::Refused { stage, code, enhanced, text } }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_taken_in_one_group_and_the_reply_kept_without_addresses() {
    let done = [Message(STUFFED), Say("250 2.0.0 Ok: <jane.doe@example.net> queued as 4ABC\r\n")];
    let found = check(&GREETING, &[&COMMANDS, &[READY], &done]).await;
    assert_eq!(found, (Outcome::Accepted { reply: "2.0.0 Ok: <<address>> queued as 4ABC".to_owned() }, true));
}

#[tokio::test(start_paused = true)]
async fn a_relay_without_pipelining_gets_one_command_at_a_time() {
    let script = [
        COMMANDS[0],
        Silence,
        Say("250 ok\r\n"),
        COMMANDS[1],
        Silence,
        Say("251 will forward\r\n"),
        COMMANDS[2],
        Silence,
        Say("354 go\r\n"),
        Message(STUFFED),
        Say("250-first\r\n250 second\r\n"),
    ];
    let found = check(&GREETING_WITHOUT_PIPELINING, &[&script]).await;
    assert_eq!(found, (Outcome::Accepted { reply: "first second".to_owned() }, true));
}

#[tokio::test(start_paused = true)]
async fn refusals_keep_the_connection_after_a_reset() {
    let cases: [(&[Step], Outcome); 9] = [
        (
            &[Say("250 ok\r\n550 5.1.1 <jane.doe@example.net> user unknown\r\n503 no recipients\r\n")],
            refused(Stage::Rcpt, 550, Some("5.1.1"), "<<address>> user unknown"),
        ),
        (&[Say("250 ok\r\n451 4.7.1 greylisted\r\n503 x\r\n")], refused(Stage::Rcpt, 451, Some("4.7.1"), "greylisted")),
        (
            &[Say("250 ok\r\n550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n503 x\r\n")],
            refused(Stage::Rcpt, 550, Some("5.7.1"), "one two three"),
        ),
        (&[Say("550 sender no\r\n503 x\r\n503 x\r\n")], refused(Stage::Mail, 550, None, "sender no")),
        (&[Say("250 ok\r\n250 ok\r\n452 4.3.1 disk full\r\n")], refused(Stage::Data, 452, Some("4.3.1"), "disk full")),
        (&[READY, Message(STUFFED), Say("550 5.7.26 unauthenticated\r\n")], refused(Stage::Dot, 550, Some("5.7.26"), "unauthenticated")),
        (&[READY, Message(STUFFED), Say("451 later\r\n")], refused(Stage::Dot, 451, None, "later")),
        // The relay takes DATA although the recipient was refused: a lone dot ends it.
        (
            &[Say("250 ok\r\n550 no\r\n354 go\r\n"), Message(".\r\n"), Say("554 no valid recipients\r\n")],
            refused(Stage::Rcpt, 550, None, "no"),
        ),
        (
            &[Say("250 ok\r\n550 mailbox jane.doe n'existe pas\r\n503 x\r\n")],
            refused(Stage::Rcpt, 550, None, "mailbox <address> n'existe pas"),
        ),
    ];
    for (script, expected) in cases {
        let next = [Message(STUFFED), Say("250 ok\r\n")];
        let whole = [&GREETING, &COMMANDS, script, &RESET, &COMMANDS, &[READY], &next].concat();
        let (mut connection, relay) = connection(whole).await;
        assert_eq!(connection.transact(FROM, TO, MESSAGE, go()).await, expected);
        assert!(connection.usable());
        assert_eq!(connection.transact(FROM, TO, MESSAGE, go()).await, Outcome::Accepted { reply: "ok".to_owned() });
        assert_eq!(connection.messages_sent(), 1);
        connection.quit().await;
        relay.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_step_by_step_send_no_further_command() {
    let script = [COMMANDS[0], Say("250 ok\r\n"), COMMANDS[1], Say("550 no\r\n")];
    let found = check(&GREETING_WITHOUT_PIPELINING, &[&script, &RESET]).await;
    assert_eq!(found, (refused(Stage::Rcpt, 550, None, "no"), true));
}

#[tokio::test(start_paused = true)]
async fn a_421_closes_the_connection_wherever_it_comes() {
    let cases: [(&[Step], Stage); 4] = [
        (&[Say("421 4.3.2 closing\r\n")], Stage::Mail),
        (&[Say("250 ok\r\n421 4.3.2 closing\r\n")], Stage::Rcpt),
        (&[Say("250 ok\r\n250 ok\r\n421 4.3.2 closing\r\n")], Stage::Data),
        (&[READY, Message(STUFFED), Say("421 4.3.2 closing\r\n")], Stage::Dot),
    ];
    for (script, stage) in cases {
        let found = check(&GREETING, &[&COMMANDS, script]).await;
        assert_eq!(found, (refused(stage, 421, Some("4.3.2"), "closing"), false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_says_whether_the_dot_had_left() {
    let cases: [(&[Step], Stage, bool); 10] = [
        (&[Hang], Stage::Mail, false),
        (&[Say("250 ok\r\n"), Hang], Stage::Rcpt, false),
        (&[Say("250 ok\r\n250 ok\r\n"), Hang], Stage::Data, false),
        (&[Say("250 ok\r\n550 no\r\n354 go\r\n"), Message(".\r\n"), Hang], Stage::Data, false),
        (&[READY, Message(STUFFED), Hang], Stage::Dot, true),
        (&[Close], Stage::Mail, false),
        (&[Say("250 ok\r\n250 ok\r\n"), Close], Stage::Data, false),
        (&[READY, Message(STUFFED), Close], Stage::Dot, true),
        (&[READY, Message(STUFFED), Say("what?\r\n")], Stage::Dot, true),
        (&[READY, Message(STUFFED), Say("250-half an answer\r\n"), Close], Stage::Dot, true),
    ];
    for (script, expected_stage, expected) in cases {
        match check(&GREETING, &[&COMMANDS, script]).await {
            (Outcome::Lost { stage, after_dot, .. }, false) => assert_eq!((stage, after_dot), (expected_stage, expected)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_did_not_leave_whole_was_not_taken() {
    // The pipe holds 4,096 bytes, so that a message of 100,000 cannot leave unless somebody reads it.
    let message = [&b"Subject: x\r\n\r\n"[..], &b"sixteen bytes ..\r\n".repeat(6000)].concat();
    for end in [Hang, Close] {
        let (mut connection, relay) = connection([&GREETING[..], &COMMANDS, &[READY, Swallow(50_000), end]].concat()).await;
        let outcome = connection.transact(FROM, TO, &message, go()).await;
        assert!(matches!(outcome, Outcome::Lost { stage: Stage::Data, after_dot: false, .. }), "{outcome:?}");
        assert!(!connection.usable());
        relay.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_reset_ends_the_connection_but_not_the_outcome() {
    for end in [Hang, Close, Say("500 what\r\n")] {
        let script = [Say("250 ok\r\n550 no\r\n503 x\r\n"), Hear("RSET"), end];
        assert_eq!(check(&GREETING, &[&COMMANDS, &script]).await, (refused(Stage::Rcpt, 550, None, "no"), false));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_word_is_asked_when_all_but_the_dot_has_left_and_only_then() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let withhold = || async {
        ASKED.fetch_add(1, Ordering::SeqCst);
        BeforeDot::Withhold
    };
    let whole = STUFFED.strip_suffix(".\r\n").unwrap();
    let refused_first = [&GREETING[..], &COMMANDS, &[Say("250 ok\r\n550 no\r\n503 x\r\n")], &RESET, &COMMANDS, &[READY]].concat();
    let (mut connection, relay) = connection([&refused_first[..], &[Swallow(whole.len())]].concat()).await;
    assert!(matches!(connection.transact(FROM, TO, MESSAGE, withhold()).await, Outcome::Refused { .. }));
    assert_eq!(ASKED.load(Ordering::SeqCst), 0);
    assert_eq!(connection.transact(FROM, TO, MESSAGE, withhold()).await, Outcome::Withheld);
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    assert!(!connection.usable());
    // The relay hears the end of the connection, and no dot.
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_no_connection_to_go_on_with() {
    let (mut connection, relay) = connection([&GREETING[..], &COMMANDS, &[READY, Hang]].concat()).await;
    let limit = Duration::from_secs(1);
    assert!(tokio::time::timeout(limit, connection.transact(FROM, TO, MESSAGE, go())).await.is_err());
    assert!(!connection.usable());
    assert!(matches!(connection.transact(FROM, TO, MESSAGE, go()).await, Outcome::Lost { stage: Stage::Connect, after_dot: false, .. }));
    relay.abort();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_unsupported_and_the_connection_unharmed() {
    let done = [Message(STUFFED), Say("250 ok\r\n")];
    let (mut connection, relay) = connection([&GREETING[..], &COMMANDS, &[READY], &done].concat()).await;
    let cases: [(&str, &str, &[u8], Unsupported); 8] = [
        (FROM, TO, "Subject: x\r\n\r\né\r\n".as_bytes(), Unsupported::NeedsEightBitMime),
        (FROM, "आन@example.net", MESSAGE, Unsupported::NeedsSmtpUtf8),
        (FROM, TO, "To: é\r\n".as_bytes(), Unsupported::NeedsSmtpUtf8),
        (FROM, "jane", MESSAGE, Unsupported::Recipient(UnusableAddress::Malformed)),
        (FROM, "a@b.example>\r\nRCPT TO:<c@d.example", MESSAGE, Unsupported::Recipient(UnusableAddress::ControlCharacter)),
        ("", TO, MESSAGE, Unsupported::Sender(UnusableAddress::Malformed)),
        (FROM, TO, b"Subject: x\r\n\r\nsmuggled\n.\nMAIL FROM:<eve@example.org>\r\n", Unsupported::LineEnds),
        (FROM, TO, b"no line end", Unsupported::LineEnds),
    ];
    for (from, to, message, why) in cases {
        assert_eq!(connection.transact(from, to, message, go()).await, Outcome::Unsupported { why });
    }
    assert!(matches!(connection.transact(FROM, TO, MESSAGE, go()).await, Outcome::Accepted { .. }));
    drop(connection);
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn size_and_international_names_are_announced_where_offered() {
    let script = vec![
        Say("220 x\r\n"),
        Hear("EHLO"),
        Say("250-x\r\n250-SMTPUTF8\r\n250 SIZE 1000000\r\n"),
        Hear("MAIL FROM:<b+abc234@bounce.example.org> SIZE=31 BODY=8BITMIME SMTPUTF8\r\n"),
        Say("250 ok\r\n"),
        Hear("RCPT TO:<आन@xn--bcher-kva.example>\r\n"),
        Say("550 no\r\n"),
        Hear("RSET"),
        Say("250 ok\r\n"),
    ];
    let (mut connection, relay) = connection(script).await;
    let outcome = connection.transact(FROM, "आन@bücher.example", MESSAGE, go()).await;
    assert_eq!(outcome, refused(Stage::Rcpt, 550, None, "no"));
    drop(connection);
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_of_eight_bits_is_announced_where_that_is_offered() {
    let script = vec![
        Say("220 x\r\n"),
        Hear("EHLO"),
        Say("250-x\r\n250 8BITMIME\r\n"),
        Hear("MAIL FROM:<b+abc234@bounce.example.org> BODY=8BITMIME\r\n"),
        Say("250 ok\r\n"),
        COMMANDS[1],
        Say("250 ok\r\n"),
        COMMANDS[2],
        Say("354 go\r\n"),
        Message("Subject: x\r\n\r\né\r\n.\r\n"),
        Say("250 ok\r\n"),
        // The next letter needs nothing of the kind.
        Hear("MAIL FROM:<b+abc234@bounce.example.org>\r\n"),
        Say("550 no\r\n"),
    ];
    let (mut connection, relay) = connection([&script[..], &RESET].concat()).await;
    let outcome = connection.transact(FROM, TO, "Subject: x\r\n\r\né\r\n".as_bytes(), go()).await;
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    connection.transact(FROM, TO, MESSAGE, go()).await;
    drop(connection);
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_when_old_or_left_alone() {
    let one = [&COMMANDS[..], &[READY, Message(STUFFED), Say("250 ok\r\n")]].concat();
    let (mut connection, relay) = connection([&GREETING[..], &one.repeat(15)].concat()).await;
    let mut minutes = 0.0;
    while connection.usable() {
        assert!(matches!(connection.transact(FROM, TO, MESSAGE, go()).await, Outcome::Accepted { .. }));
        tokio::time::advance(Duration::from_secs(24)).await;
        minutes += 0.4;
    }
    assert!((4.9..5.5).contains(&minutes), "five minutes, as set: {minutes}");
    relay.abort();
    let (connection, relay) = self::connection(GREETING.to_vec()).await;
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(connection.usable());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!connection.usable(), "the relay may have closed it by now");
    relay.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_for_as_many_messages_as_set() {
    let one = [&COMMANDS[..], &[READY, Message(STUFFED), Say("250 ok\r\n")]].concat();
    let script = [&GREETING[..], &one, &one].concat();
    let (connection, relay) = greet_with(&RelaySettings { messages_per_connection: 2, ..settings() }, script).await;
    let mut connection = connection.unwrap();
    for sent in 1..=2 {
        assert!(connection.usable());
        connection.transact(FROM, TO, MESSAGE, go()).await;
        assert_eq!(connection.messages_sent(), sent);
    }
    assert!(!connection.usable());
    drop(connection);
    relay.await.unwrap();
}

fn signing_in() -> RelaySettings {
    signing_in_with(Secret::Password("secret".to_owned()))
}

fn signing_in_with(secret: Secret) -> RelaySettings {
    RelaySettings { credentials: Some(Credentials { username: "ann".to_owned(), secret }), ..settings() }
}

/// What opening ends in, as a word and a stage.
fn name(result: &Result<Connection, SmtpFault>) -> (&'static str, Option<Stage>) {
    match result {
        Ok(_) => ("open", None),
        Err(SmtpFault::Settings { .. }) => ("settings", None),
        Err(SmtpFault::Unreachable { .. }) => ("unreachable", None),
        Err(SmtpFault::TimedOut { stage, .. }) => ("timed out", Some(*stage)),
        Err(SmtpFault::NoStartTls) => ("no STARTTLS", None),
        Err(SmtpFault::Tls { .. }) => ("TLS", None),
        Err(SmtpFault::TlsTimedOut { .. }) => ("TLS timed out", None),
        Err(SmtpFault::NoMechanism) => ("no mechanism", None),
        Err(SmtpFault::NoToken { .. }) => ("no token", None),
        Err(SmtpFault::Refused { stage, .. }) => ("refused", Some(*stage)),
        Err(SmtpFault::Broken { stage, .. }) => ("broken", Some(*stage)),
    }
}

/// Settings, a script, and what opening ends in.
type Opening<'a> = (&'a RelaySettings, Vec<Step>, (&'static str, Option<Stage>));

#[tokio::test(start_paused = true)]
async fn opening_ends_as_it_should_at_every_stage() {
    let plain = RelaySettings { security: Security::None, ..settings() };
    let start_tls = RelaySettings { security: Security::StartTls, ..signing_in() };
    let auth = signing_in();
    let auth_ehlo = [Say("220 x\r\n"), Hear("EHLO"), Say("250-x\r\n250 AUTH PLAIN LOGIN\r\n")];
    let login_ehlo = [Say("220 x\r\n"), Hear("EHLO"), Say("250-x\r\n250 AUTH LOGIN\r\n")];
    let tls_ehlo = [Say("220 x\r\n"), Hear("EHLO"), Say("250-x\r\n250 STARTTLS\r\n"), Hear("STARTTLS\r\n")];
    let opportunistic = RelaySettings { security: Security::Opportunistic, ..settings() };
    let token = signing_in_with(Secret::Token(TokenSource::Written("ya29.secret".to_owned())));
    let printed =
        |words: &[&str]| signing_in_with(Secret::Token(TokenSource::Command(words.iter().map(|word| (*word).to_owned()).collect())));
    let (echo, fails) = (printed(&["/bin/echo", "ya29.secret"]), printed(&["/bin/false"]));
    let (silent, missing) = (printed(&["/bin/true"]), printed(&["/no/such/program"]));
    let no_file = signing_in_with(Secret::Token(TokenSource::File("/no/such/file".into())));
    let token_ehlo = [Say("220 x\r\n"), Hear("EHLO"), Say("250-x\r\n250 AUTH PLAIN XOAUTH2\r\n")];
    // user=ann^Aauth=Bearer ya29.secret^A^A
    let bearer = Hear("AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgeWEyOS5zZWNyZXQBAQ==\r\n");
    let login = [Hear("AUTH LOGIN\r\n"), Say("334 VXNlcm5hbWU6\r\n"), Hear("YW5u\r\n"), Say("334 UGFzc3dvcmQ6\r\n"), Hear("c2VjcmV0\r\n")];
    let cases: Vec<Opening> = vec![
        (&plain, vec![Hang], ("timed out", Some(Stage::Connect))),
        (&plain, vec![Close], ("broken", Some(Stage::Connect))),
        (&plain, vec![Say("554 go away\r\n")], ("refused", Some(Stage::Connect))),
        (&plain, vec![Say("HTTP/1.1 400 Bad Request\r\n")], ("broken", Some(Stage::Connect))),
        (&plain, vec![Say("220 x\r\n"), Hear("EHLO"), Hang], ("timed out", Some(Stage::Hello))),
        (&plain, vec![Say("220 x\r\n"), Hear("EHLO"), Say("502 what\r\n")], ("refused", Some(Stage::Hello))),
        // STARTTLS stripped: nothing more may be said, least of all the password.
        (&start_tls, auth_ehlo.to_vec(), ("no STARTTLS", None)),
        (&start_tls, [&tls_ehlo[..], &[Say("454 not now\r\n")]].concat(), ("refused", Some(Stage::Hello))),
        (&start_tls, [&tls_ehlo[..], &[Say("220 go\r\n250 injected\r\n")]].concat(), ("broken", Some(Stage::Hello))),
        (&start_tls, [&tls_ehlo[..], &[Say("220 go\r\n"), Swallow(1), Hang]].concat(), ("TLS timed out", None)),
        (&start_tls, [&tls_ehlo[..], &[Say("220 go\r\n"), Swallow(1), Close]].concat(), ("TLS", None)),
        (&auth, [&auth_ehlo[..], &[Hear("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), Say("235 ok\r\n")]].concat(), ("open", None)),
        (&auth, [&auth_ehlo[..], &[Hear("AUTH PLAIN"), Say("535 5.7.8 bad password\r\n")]].concat(), ("refused", Some(Stage::Auth))),
        (&auth, [&auth_ehlo[..], &[Hear("AUTH PLAIN"), Hang]].concat(), ("timed out", Some(Stage::Auth))),
        (&auth, [&login_ehlo[..], &login, &[Say("235 ok\r\n")]].concat(), ("open", None)),
        (&auth, [&login_ehlo[..], &login, &[Say("535 no\r\n")]].concat(), ("refused", Some(Stage::Auth))),
        (&auth, [&login_ehlo[..], &[Hear("AUTH LOGIN"), Say("334 c29tZXRoaW5n\r\n")]].concat(), ("broken", Some(Stage::Auth))),
        (&auth, vec![Say("220 x\r\n"), Hear("EHLO"), Say("250-x\r\n250 AUTH CRAM-MD5\r\n")], ("no mechanism", None)),
        (&token, [&token_ehlo[..], &[bearer, Say("235 ok\r\n")]].concat(), ("open", None)),
        (&echo, [&token_ehlo[..], &[bearer, Say("235 ok\r\n")]].concat(), ("open", None)),
        // An expired token: the reason is asked for by an empty line before the refusal comes.
        (
            &token,
            [&token_ehlo[..], &[bearer, Say("334 eyJzdGF0dXMiOiI0MDAifQ==\r\n"), Hear("\r\n"), Say("535 5.7.8 expired\r\n")]].concat(),
            ("refused", Some(Stage::Auth)),
        ),
        (&token, [&token_ehlo[..], &[bearer, Hang]].concat(), ("timed out", Some(Stage::Auth))),
        (&token, auth_ehlo.to_vec(), ("no mechanism", None)),
        (&fails, token_ehlo.to_vec(), ("no token", None)),
        (&silent, token_ehlo.to_vec(), ("no token", None)),
        (&missing, token_ehlo.to_vec(), ("no token", None)),
        (&no_file, token_ehlo.to_vec(), ("no token", None)),
        (&opportunistic, GREETING.to_vec(), ("open", None)),
        (&opportunistic, [&tls_ehlo[..], &[Say("220 go\r\n"), Swallow(1), Close]].concat(), ("TLS", None)),
        (&opportunistic, [&tls_ehlo[..], &[Say("454 not now\r\n")]].concat(), ("refused", Some(Stage::Hello))),
    ];
    for (number, (settings, script, expected)) in cases.into_iter().enumerate() {
        let ends_by_itself = !script.iter().any(|step| matches!(step, Hang));
        let (result, relay) = greet_with(settings, script).await;
        assert_eq!(name(&result), expected, "case {number}");
        if let Err(fault) = &result {
            assert!(!format!("{fault} {fault:?}").contains("secret"));
        }
        drop(result);
        if ends_by_itself {
            relay.await.unwrap();
        }
    }
}

fn test_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// A relay that speaks TLS after `plain`, then offers AUTH and takes one message.
async fn tls_relay(mut stream: DuplexStream, plain: bool) {
    if plain {
        stream.write_all(b"220 relay.test\r\n").await.unwrap();
        assert!(line(&mut stream).await.starts_with("EHLO"));
        stream.write_all(b"250-relay.test\r\n250 STARTTLS\r\n").await.unwrap();
        assert_eq!(line(&mut stream).await, "STARTTLS\r\n");
        stream.write_all(b"220 go\r\n").await.unwrap();
    }
    let certificates = vec![CertificateDer::from_pem_file(test_file("relay.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(test_file("relay.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
    if !plain {
        stream.write_all(b"220 relay.test\r\n").await.unwrap();
    }
    let conversation: [(&str, &str); 4] = [
        ("EHLO", "250-relay.test\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"),
        ("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "235 ok\r\n"),
        ("DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"),
        ("\r\n.\r\n", "250 taken\r\n"),
    ];
    let mut heard = String::new();
    for (wanted, answer) in conversation {
        while !heard.contains(wanted) || !heard.ends_with("\r\n") {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed before {wanted:?}");
            heard.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        heard.clear();
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_over_tls_from_the_start_and_after_starttls() {
    for security in [Security::Tls, Security::StartTls, Security::Opportunistic] {
        let settings = RelaySettings { security, root_certificates: Some(test_file("ca.pem")), ..signing_in() };
        let (ours, theirs) = duplex(64 * 1024);
        let relay = tokio::spawn(tls_relay(theirs, security != Security::Tls));
        let mut stream: wire::Stream = Box::new(ours);
        if security == Security::Tls {
            stream = tls::wrap(stream, &settings).await.unwrap();
        }
        let mut connection = open::greet(stream, &settings, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap();
        let outcome = connection.transact(FROM, TO, MESSAGE, go()).await;
        assert_eq!(outcome, Outcome::Accepted { reply: "taken".to_owned() });
        relay.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_trusted_or_for_another_name_is_refused() {
    let trusting = RelaySettings { root_certificates: Some(test_file("ca.pem")), ..settings() };
    for settings in [settings(), RelaySettings { host: "other.test".to_owned(), ..trusting }] {
        let (ours, theirs) = duplex(64 * 1024);
        let relay = tokio::spawn(tls_relay(theirs, false));
        assert!(matches!(tls::wrap(Box::new(ours), &settings).await, Err(SmtpFault::Tls { .. })));
        relay.await.unwrap();
    }
}

#[tokio::test]
async fn opening_over_tcp_finds_the_relay_or_says_that_it_is_not_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Some(listener.local_addr().unwrap().port());
    let settings = RelaySettings { host: "127.0.0.1".to_owned(), port, hello_name: None, ..settings() };
    let relay = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 x\r\n").await.unwrap();
        let mut heard = vec![0; "EHLO [127.0.0.1]\r\n".len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, b"EHLO [127.0.0.1]\r\n");
        stream.write_all(b"250 x\r\n").await.unwrap();
    });
    assert!(Connection::open(&settings).await.is_ok());
    relay.await.unwrap();
    // Nobody listens at an address of the loopback network that no other test uses.
    let nowhere = RelaySettings { host: "127.83.19.7".to_owned(), ..settings };
    assert_eq!(name(&Connection::open(&nowhere).await), ("unreachable", None));
    let in_clear = RelaySettings { host: "relay.test".to_owned(), ..signing_in() };
    assert_eq!(name(&Connection::open(&in_clear).await), ("settings", None));
}
