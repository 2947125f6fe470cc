//! Purpose: the test servers themselves work: what they are trusted for elsewhere is shown here once.
//!
//! Cast: one test per server; a small SMTP sender and an SMTP sink that keeps what it is given.
//!
//! Never: tests the application.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mail_parser::MimeHeaders;
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::browser::Browser;
use super::dovecot::{Dovecot, Mailboxes};
use super::imap::{Imap, MAIL_DEADLINE};
use super::postfix::{Postfix, Routes};
use super::postgres::{Databases, psql};
use super::process::processes_in;

const SENDER: &str = "bounce+token1@bounces.news.test";

#[test]
fn each_test_gets_two_empty_databases_of_its_own_which_disappear_with_it() -> Result<()> {
    let began = Instant::now();
    let databases = Databases::create()?;
    println!("database pair ready after {:?}", began.elapsed());
    let other = Databases::create()?;
    let (vault, ledger) = (databases.vault_url()?, databases.ledger_url()?);
    psql(&vault, &["CREATE TABLE person (id BIGINT)".to_owned()])?;
    let tables = ["SELECT count(*) FROM pg_tables WHERE schemaname = 'public'".to_owned()];
    assert_eq!(psql(&vault, &tables)?, "1");
    assert_eq!(psql(&ledger, &tables)?, "0");
    assert_eq!(psql(&other.vault_url()?, &tables)?, "0");
    assert_eq!(psql(&vault, &["SELECT usesuper FROM pg_user WHERE usename = current_user".to_owned()])?, "f");
    let began = Instant::now();
    drop(databases);
    println!("database pair dropped after {:?}", began.elapsed());
    assert!(psql(&vault, &tables).is_err());
    assert!(psql(&ledger, &tables).is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_handed_to_postfix_lies_in_the_dovecot_mailbox() -> Result<()> {
    let mail = MailServers::start().await?;
    assert!(mail.dovecot.fetch_all("anna@readers.test").await?.is_empty());
    assert!(Imap::login(mail.dovecot.imap_address(), "anna@readers.test", "wrong").await.is_err(), "the password counts");
    send(mail.postfix.address(), "anna@readers.test", "First").await?;
    let first = mail.dovecot.wait_for_message("anna@readers.test").await?;
    assert_eq!(subject(&first)?, "First");
    assert!(String::from_utf8_lossy(&first).contains("\r\n.begins with a dot\r\n"));

    // A detail after "+" is the same mailbox; and waiting while the message is still under way also ends.
    let (waited, sent) = tokio::join!(
        mail.dovecot.wait_for_messages("anna@readers.test", 2),
        send(mail.postfix.address(), "anna+letters@readers.test", "Second")
    );
    sent?;
    let both = waited?;
    assert_eq!(both.iter().map(|message| subject(message)).collect::<Result<Vec<_>>>()?, ["First", "Second"]);
    mail.end_and_check_nothing_is_left()
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_cannot_be_delivered_comes_back_as_a_real_delivery_status_notification() -> Result<()> {
    let mut mail = MailServers::start().await?;
    let refusal = send(mail.postfix.address(), "anna@elsewhere.test", "Lost").await;
    assert!(refusal.is_err_and(|error| error.to_string().contains("550 5.1.2")), "an unknown domain is refused at once");

    let cases = [("nobody@readers.test", "5.1.1"), ("full@readers.test", "5.2.2")];
    for (recipient, status) in cases {
        send(mail.postfix.address(), recipient, "Lost").await?;
        let returned = tokio::time::timeout(MAIL_DEADLINE, mail.bounces.recv()).await;
        let returned = returned.with_context(|| format!("no notification: {}", mail.postfix.log()))?.context("the sink ended")?;
        assert_eq!(returned.sender, "<>", "a notification has the empty envelope sender");
        assert_eq!(returned.recipient, format!("<{SENDER}>"));
        assert_notification(&returned.data, recipient, status)?;
    }
    mail.end_and_check_nothing_is_left()
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_opens_a_page_loads_its_pixel_and_can_be_used_like_a_person_does() -> Result<()> {
    let (site, mut requests) = serve_pages().await?;
    let began = Instant::now();
    let browser = Browser::start(800, 600).await?;
    println!("browser ready after {:?}", began.elapsed());
    browser.goto(&format!("http://{site}/")).await?;

    assert_eq!(browser.title().await?, "A page");
    assert!(browser.source().await?.contains("<h1>"));
    assert_eq!(browser.text("h1").await?, "Hello");
    let pixel = tokio::time::timeout(Duration::from_secs(20), async {
        while requests.recv().await.context("the site ended")? != "/pixel.gif" {}
        anyhow::Ok(())
    });
    pixel.await.context("the pixel was not asked for")??;

    browser.type_text("input", "Anna").await?;
    assert_eq!(browser.execute("return arguments[0] + document.querySelector('input').value", json!(["Dear "])).await?, "Dear Anna");
    browser.click("button").await?;
    assert_eq!(browser.wait_until("#thanks").await?.text().await?, "Thanks");
    assert!(browser.url().await?.ends_with("/sent?name=Anna"));
    assert!(browser.find("#absent").await.is_err());

    let cookies = browser.cookies().await?;
    assert_eq!((cookies.len(), &cookies[0]["name"], &cookies[0]["httpOnly"]), (1, &json!("seen"), &json!(true)));
    let logs = browser.logs().await?;
    assert!(logs.iter().any(|entry| entry.source == "security" && entry.level == "SEVERE"), "no refused script in {logs:?}");

    browser.set_window(375, 700).await?;
    let file = browser.directory().join("page.png");
    browser.screenshot(&file).await?;
    let png = std::fs::read(&file)?;
    assert_eq!(&png[1..4], b"PNG");
    let width = u32::from_be_bytes([png[16], png[17], png[18], png[19]]);
    assert_eq!(width, 375, "the picture is as wide as the window");

    let folder = browser.directory().to_owned();
    drop(browser);
    check_nothing_is_left(&folder)
}

/// Postfix, Dovecot and the listener to which notifications return.
struct MailServers {
    postfix: Postfix,
    dovecot: Dovecot,
    bounces: mpsc::UnboundedReceiver<Returned>,
}

impl MailServers {
    async fn start() -> Result<MailServers> {
        let (bounce_listener, bounces) = smtp_sink().await?;
        let began = Instant::now();
        let dovecot = Dovecot::start(&Mailboxes { open: &["anna@readers.test"], full: &["full@readers.test"] }).await?;
        println!("Dovecot ready after {:?}", began.elapsed());
        let routes = Routes {
            readers_domain: "readers.test",
            readers_lmtp: dovecot.lmtp_address(),
            bounce_domain: "bounces.news.test",
            bounce_listener,
        };
        let began = Instant::now();
        let postfix = Postfix::start(&routes).await?;
        println!("Postfix ready after {:?}", began.elapsed());
        Ok(MailServers { postfix, dovecot, bounces })
    }

    fn end_and_check_nothing_is_left(self) -> Result<()> {
        let folders = [self.postfix.directory().to_owned(), self.dovecot.directory().to_owned()];
        assert!(folders.iter().all(|folder| !processes_in(folder).is_empty()), "the servers work in their own folders");
        let began = Instant::now();
        drop(self);
        println!("mail servers ended after {:?}", began.elapsed());
        folders.iter().map(PathBuf::as_path).try_for_each(check_nothing_is_left)
    }
}

fn check_nothing_is_left(folder: &Path) -> Result<()> {
    if folder.exists() || !processes_in(folder).is_empty() {
        bail!("{} or a process in it is left", folder.display());
    }
    Ok(())
}

fn subject(message: &[u8]) -> Result<String> {
    let message = mail_parser::MessageParser::new().parse(message).context("not a message")?;
    message.subject().map(str::to_owned).context("no subject")
}

fn assert_notification(data: &[u8], recipient: &str, status: &str) -> Result<()> {
    let message = mail_parser::MessageParser::new().parse(data).context("not a message")?;
    let kind = message.content_type().context("no content type")?;
    assert_eq!((kind.ctype(), kind.subtype(), kind.attribute("report-type")), ("multipart", Some("report"), Some("delivery-status")));
    let text = String::from_utf8_lossy(data);
    assert!(text.contains(&format!("Final-Recipient: rfc822; {recipient}")), "{text}");
    assert!(text.contains("Action: failed"), "{text}");
    assert!(text.contains(&format!("Status: {status}")), "{text}");
    Ok(())
}

async fn send(server: SocketAddr, recipient: &str, subject: &str) -> Result<()> {
    let (reader, mut writer) = TcpStream::connect(server).await?.into_split();
    let mut reader = BufReader::new(reader);
    let message =
        format!("From: News <news@news.test>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n\r\nHello\r\n..begins with a dot\r\n.");
    let lines = ["HELO sender.test", &format!("MAIL FROM:<{SENDER}>"), &format!("RCPT TO:<{recipient}>"), "DATA", &message, "QUIT"];
    read_reply(&mut reader).await?;
    for line in lines {
        writer.write_all(format!("{line}\r\n").as_bytes()).await?;
        let reply = read_reply(&mut reader).await?;
        if !reply.starts_with(['2', '3']) {
            bail!("the server refused: {reply}");
        }
    }
    Ok(())
}

/// The last line of a reply (RFC 5321, section 4.2: earlier lines have a hyphen after the code).
async fn read_reply(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<String> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            bail!("the server closed the connection");
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
    }
}

/// A message as the sink took it.
struct Returned {
    sender: String,
    recipient: String,
    data: Vec<u8>,
}

/// Listens on a free port and accepts every message.
async fn smtp_sink() -> Result<(SocketAddr, mpsc::UnboundedReceiver<Returned>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take_messages(stream, sender.clone()));
        }
    });
    Ok((address, receiver))
}

async fn take_messages(stream: TcpStream, kept: mpsc::UnboundedSender<Returned>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut sender, mut recipient) = (String::new(), String::new());
    writer.write_all(b"220 sink.test\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let argument = line.split_once(':').and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default().to_owned();
        let reply = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "MAIL" => {
                sender = argument;
                "250 ok"
            }
            "RCPT" => {
                recipient = argument;
                "250 ok"
            }
            "DATA" => {
                writer.write_all(b"354 go\r\n").await?;
                let mut data = String::new();
                while let Some(line) = lines.next_line().await?
                    && line != "."
                {
                    data += &format!("{line}\r\n");
                }
                kept.send(Returned { sender: sender.clone(), recipient: recipient.clone(), data: data.into_bytes() })?;
                "250 kept"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// A tiny site; the receiver tells each path that was asked for.
async fn serve_pages() -> Result<(SocketAddr, mpsc::UnboundedReceiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_request(stream, sender.clone()));
        }
    });
    Ok((address, receiver))
}

async fn answer_request(mut stream: TcpStream, asked: mpsc::UnboundedSender<String>) -> Result<()> {
    let mut request = vec![0; 8192];
    let length = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split_whitespace().nth(1).unwrap_or_default();
    let body = match path {
        "/" => {
            "<!doctype html><title>A page</title><h1>Hello</h1><img src=/pixel.gif alt=''>\
             <form action=/sent><input name=name><button>Send</button></form><script>document.title = 'changed'</script>"
        }
        _ if path.starts_with("/sent") => "<!doctype html><title>Sent</title><p id=thanks>Thanks</p>",
        _ => "",
    };
    let headers =
        "Content-Type: text/html\r\nContent-Security-Policy: script-src 'none'\r\nSet-Cookie: seen=1; HttpOnly\r\nConnection: close";
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    asked.send(path.to_owned())?;
    Ok(())
}
