//! Whole sessions over loopback sockets, as a client types them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

type Messages = Vec<(Envelope, Vec<u8>)>;

/// Keeps what it gets; refuses local parts starting with `no`.
#[derive(Clone, Default)]
struct Keeper {
    messages: Arc<Mutex<Messages>>,
}

impl Handler for Keeper {
    fn recipient(&self, _: &Envelope, recipient: &str) -> Reply {
        if recipient.starts_with("no") { Reply::mailbox_unknown() } else { Reply::recipient_accepted() }
    }

    async fn message(&self, envelope: Envelope, message: Vec<u8>) -> Reply {
        self.messages.lock().unwrap().push((envelope, message));
        Reply::message_accepted()
    }
}

fn settings() -> Settings {
    Settings {
        message_bytes_max: 1000,
        recipients_max: 3,
        connections_max: 4,
        command_timeout: Duration::from_secs(20),
        ..Settings::new("mx.example")
    }
}

struct Server {
    address: SocketAddr,
    keeper: Keeper,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(settings: Settings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let keeper = Keeper::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, settings, keeper.clone(), async {
        let _ = stopped.await;
    }));
    Server { address, keeper, stop, task }
}

/// Sends all of `input` at once, reads until the server closes, and returns the first words of each reply line after the greeting.
async fn session(server: &Server, input: &[u8]) -> Vec<String> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(input).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).await.unwrap();
    let lines: Vec<String> = output.lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("220 mx.example "), "{lines:?}");
    lines[1..].to_vec()
}

/// The reply codes of a session, `-` for lines that go on.
async fn check(settings: Settings, input: &str, codes: &str) -> Messages {
    let server = start(settings).await;
    let lines = session(&server, input.as_bytes()).await;
    let found: Vec<&str> = lines.iter().filter(|line| line.as_bytes()[3] != b'-').map(|line| &line[..3]).collect();
    assert_eq!(found.join(" "), codes, "{input:?} got {lines:#?}");
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
    std::mem::take(&mut *server.keeper.messages.lock().unwrap())
}

#[tokio::test]
async fn a_pipelined_session_delivers_to_the_accepted_recipients_only() {
    let input = "EHLO client.example\r\nMAIL FROM:<> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<no@b.example>\r\nDATA\r\n\
                 Subject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<s@t.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n.\r\nQUIT\r\n";
    let messages = check(settings(), input, "250 250 250 550 354 250 250 250 354 250 221").await;
    assert_eq!(messages[0].0.sender, "");
    assert_eq!(messages[0].0.recipients, ["a@b.example"]);
    assert_eq!(messages[0].0.client_name, "client.example");
    assert_eq!(messages[0].1, b"Subject: x\r\n\r\n.dot\r\n");
    assert_eq!(messages[1].0.sender, "s@t.example");
    assert_eq!(messages[1].1, b"");
}

#[tokio::test]
async fn ehlo_names_the_extensions() {
    let server = start(settings()).await;
    let lines = session(&server, b"EHLO c\r\nQUIT\r\n").await;
    let expected = ["250-mx.example", "250-PIPELINING", "250-8BITMIME", "250-SIZE 1000", "250-ENHANCEDSTATUSCODES", "250 SMTPUTF8"];
    assert_eq!(lines[..6], expected);
    assert_eq!(lines[6], "221 2.0.0 goodbye");
}

#[tokio::test]
async fn a_smuggled_second_message_stays_content() {
    let smuggled = "MAIL FROM:<evil@x.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\nfake\r\n.\r\n";
    for fake_end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r"] {
        let input = format!("EHLO c\r\nMAIL FROM:<s@x.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\ntrue{fake_end}{smuggled}QUIT\r\n");
        let messages = check(settings(), &input, "250 250 250 354 250 221").await;
        assert_eq!(messages.len(), 1, "{fake_end:?}");
        assert_eq!(messages[0].0.sender, "s@x.example");
    }
}

#[tokio::test]
async fn commands_must_end_with_cr_lf() {
    let messages = check(settings(), "EHLO c\nMAIL FROM:<>\n", "500").await;
    assert!(messages.is_empty());
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    check(settings(), "MAIL FROM:<>\r\nHELO c\r\nRCPT TO:<a@b.example>\r\nDATA\r\nQUIT\r\n", "503 250 503 503 221").await;
    check(settings(), "EHLO c\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\nRSET\r\nMAIL FROM:<>\r\n", "250 250 503 554 250 250").await;
    check(settings(), "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRSET\r\nDATA\r\n", "250 250 250 250 503").await;
    // A new greeting ends a transaction.
    check(settings(), "EHLO c\r\nMAIL FROM:<>\r\nEHLO c\r\nRCPT TO:<a@b.example>\r\n", "250 250 250 503").await;
}

#[tokio::test]
async fn other_commands_and_bad_arguments_get_their_replies() {
    let input = "EHLO c\r\nNOOP\r\nVRFY a\r\nEXPN a\r\nHELP\r\nWHAT\r\nMAIL FROM:s@x\r\nMAIL FROM:<> FOO=1\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\nQUIT\r\n";
    check(settings(), input, "250 250 252 502 214 500 501 555 250 501 221").await;
    check(settings(), "LHLO c\r\n", "500").await;
    for ending in ["STARTTLS\r\n", "BDAT 20 LAST\r\n", "AUTH PLAIN\r\n"] {
        check(settings(), &format!("EHLO c\r\n{ending}MAIL FROM:<>\r\n"), "250 502").await;
    }
}

#[tokio::test]
async fn addresses_beyond_ascii_need_smtputf8() {
    let greeting = "EHLO c\r\n";
    check(settings(), &format!("{greeting}MAIL FROM:<jürgen@x.example>\r\n"), "250 553").await;
    check(settings(), &format!("{greeting}MAIL FROM:<jürgen@x.example> SMTPUTF8\r\n"), "250 250").await;
    let without = Settings { smtputf8: false, ..settings() };
    check(without, &format!("{greeting}MAIL FROM:<jürgen@x.example> SMTPUTF8\r\n"), "250 555").await;
}

#[tokio::test]
async fn limits_hold() {
    check(settings(), "EHLO c\r\nMAIL FROM:<> SIZE=1001\r\n", "250 552").await;
    let long = "x".repeat(1200);
    let input = format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n{long}\r\n.\r\nNOOP\r\n");
    assert!(check(settings(), &input, "250 250 250 354 552 250").await.is_empty());
    let absurd = "x".repeat(10_000);
    check(settings(), &format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n{absurd}"), "250 250 250 354 552").await;
    let recipients = "RCPT TO:<a@b.example>\r\n".repeat(4);
    check(settings(), &format!("EHLO c\r\nMAIL FROM:<>\r\n{recipients}"), "250 250 250 250 250 452").await;
    for length in [3000, 300_000] {
        check(settings(), &format!("EHLO {}\r\nNOOP\r\n", "x".repeat(length)), "500 250").await;
    }
    let mistakes = format!("{} {}", vec!["500"; 20].join(" "), "421");
    check(settings(), &"GET / HTTP/1.1\r\n".repeat(20), &mistakes).await;
}

#[tokio::test]
async fn lmtp_answers_once_per_recipient() {
    let lmtp = Settings { protocol: Protocol::Lmtp, ..settings() };
    let input =
        "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<no@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n";
    let messages = check(lmtp.clone(), input, "250 250 250 550 250 354 250 250 221").await;
    assert_eq!(messages[0].0.recipients.len(), 2);
    check(lmtp, "EHLO c\r\n", "500").await;
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away_and_shutdown_says_goodbye() {
    let server = start(Settings { connections_max: 1, ..settings() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut greeting = [0; 3];
    first.read_exact(&mut greeting).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let mut refusal = String::new();
    second.read_to_string(&mut refusal).await.unwrap();
    assert!(refusal.starts_with("421 4.7.0"), "{refusal}");
    server.stop.send(()).unwrap();
    let mut rest = String::new();
    first.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("421 4.3.2 shutting down\r\n"), "{rest}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn an_idle_client_is_let_go() {
    let server = start(Settings { command_timeout: Duration::from_millis(30), ..settings() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).await.unwrap();
    assert!(output.ends_with("421 4.4.2 timeout, closing the connection\r\n"), "{output}");
}
