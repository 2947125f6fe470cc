//! The whole demonstration world on loopback, with a small web server and bounce listener of this test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::smtpd::{self, Envelope, Handler, Reply};

type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// Answers everything with 302 to a place that must never be asked, and notes request line and user agent.
async fn web_server(listener: TcpListener, requests: Requests) {
    while let Ok((stream, _)) = listener.accept().await {
        let requests = requests.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            let (mut agent, mut length) = (String::new(), 0);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let text = line.trim().to_owned();
                line.clear();
                if request.is_empty() {
                    request = text;
                } else if let Some((name, value)) = text.split_once(": ") {
                    match name.to_lowercase().as_str() {
                        "user-agent" => agent = value.to_owned(),
                        "content-length" => length = value.parse().unwrap(),
                        _ => {}
                    }
                } else {
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    let body = String::from_utf8(body).unwrap();
                    requests.lock().unwrap().push((format!("{} {body}", std::mem::take(&mut request)), std::mem::take(&mut agent)));
                    length = 0;
                    stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://some.example/\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            }
        });
    }
}

#[derive(Clone, Default)]
struct Bounces(Arc<Mutex<Vec<(Envelope, String)>>>);

impl Handler for Bounces {
    fn recipient(&self, _: &Envelope, _: &str) -> Reply {
        Reply::recipient_accepted()
    }

    async fn message(&self, envelope: Envelope, message: Vec<u8>) -> Reply {
        self.0.lock().unwrap().push((envelope, String::from_utf8(message).unwrap()));
        Reply::message_accepted()
    }
}

/// Sends one letter to each address over one connection; the reply code to each RCPT.
async fn send(to: SocketAddr, tracking: &str, addresses: &[String]) -> HashMap<String, String> {
    let mut stream = BufReader::new(TcpStream::connect(to).await.unwrap());
    let mut codes = HashMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    stream.write_all(b"HELO sender.example\r\n").await.unwrap();
    stream.read_line(&mut line).await.unwrap();
    for (at, address) in addresses.iter().enumerate() {
        let subject = if at % 2 == 0 { "Autumn letter" } else { "Autumn letter, shorter" };
        let body = format!(
            "Subject: {subject}\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nList-Unsubscribe: <{tracking}/u/{at}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
             Content-Type: text/html\r\n\r\n<a href=\"{tracking}/c/{at}-1\">one</a><a href=\"{tracking}/c/{at}-2\">two</a>\r\n\
             <a href=\"http://outside.example/\">three</a><img src=\"{tracking}/o/{at}.gif\" width=\"1\" height=\"1\">\r\n.\r\n"
        );
        let token = "a".repeat(52);
        for command in
            [format!("MAIL FROM:<b+{token}@bounce.example>\r\n"), format!("RCPT TO:<{address}>\r\n"), "DATA\r\n".to_owned(), body]
        {
            stream.write_all(command.as_bytes()).await.unwrap();
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            if command.starts_with("RCPT") {
                codes.insert(address.clone(), line[..3].to_owned());
                if !line.starts_with('2') {
                    stream.write_all(b"RSET\r\n").await.unwrap();
                    stream.read_line(&mut line).await.unwrap();
                    break;
                }
            }
        }
    }
    codes
}

/// Runs a demonstration over a fixed list; what was simulated, the requests made, the bounces sent, the replies at RCPT.
async fn demonstrate(seed: u64, reverse: bool) -> (Simulated, Vec<(String, String)>, Bounces, HashMap<String, String>) {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (web, mail, bounce_listener) = (bind().await.unwrap(), bind().await.unwrap(), bind().await.unwrap());
    let requests = Requests::default();
    let tracking = format!("http://{}", web.local_addr().unwrap());
    let mail_address = mail.local_addr().unwrap();
    let bounces_to = bounce_listener.local_addr().unwrap();
    let bounces = Bounces::default();
    let web = tokio::spawn(web_server(web, requests.clone()));
    let returned =
        tokio::spawn(smtpd::serve(bounce_listener, smtpd::Settings::new("bounce.example"), bounces.clone(), std::future::pending()));
    let variant = |subject: &str, open_lift| VariantTruth { subject: subject.into(), open_lift, click_lift: 0.0 };
    let settings = Settings {
        seed,
        truth: Truth { open: 0.5, click: 0.4, variants: vec![variant("Autumn letter", 0.0), variant("Autumn letter, shorter", 0.4)] },
        tracking: tracking.clone(),
        bounces_to,
        requests_max: 16,
        patience: Duration::ZERO,
        keep: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let last = Arc::new(Mutex::new(Progress::default()));
    let seen = last.clone();
    let run = tokio::spawn(run(mail, settings, move |progress| *seen.lock().unwrap() = progress, async {
        let _ = stopped.await;
    }));
    let domains = ["gmail.example", "icloud.example", "corp.example", "yahoo.example", "x.example"];
    let mut addresses: Vec<String> = (0..500).map(|n| format!("p{n}@{}", domains[n / 2 % 5])).collect();
    addresses.extend(["gone.a@x.example", "bounces.b@x.example", "later.c@x.example", "later.c@x.example"].map(str::to_owned));
    if reverse {
        addresses[..500].reverse();
        // Each keeps its variant: even numbers the first, odd numbers the second.
        for pair in addresses[..500].chunks_mut(2) {
            pair.reverse();
        }
    }
    let codes = send(mail_address, &tracking, &addresses).await;
    stop.send(()).unwrap();
    let simulated = run.await.unwrap().unwrap();
    assert_eq!(*last.lock().unwrap(), Progress { received: 502, read: 501, returned: 1 });
    web.abort();
    returned.abort();
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    (simulated, requests, bounces, codes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_do_what_is_counted_and_nothing_else() {
    let (simulated, requests, bounces, codes) = demonstrate(11, false).await;
    let [first, second] = simulated.variants.as_slice() else { panic!("{simulated:?}") };
    assert_eq!((simulated.refused, simulated.postponed, simulated.returned, simulated.returns_failed), (1, 1, 1, 0));
    assert_eq!((first.delivered + second.delivered + simulated.others.delivered, simulated.unreadable), (501, 0));
    assert_eq!(codes["gone.a@x.example"], "550");
    assert_eq!(codes["later.c@x.example"], "250", "the second try is taken");

    // The lift is visible, and machines do not care about variants.
    assert!(second.opened > first.opened + 20, "{simulated:?}");
    assert!(first.opened_visibly < first.opened && first.clicked_visibly <= first.clicked, "{simulated:?}");
    assert!(first.machine_opened > 40 && first.machine_clicked > 20, "{simulated:?}");

    // Every count is borne out by requests, and nobody left the tracking address or followed the redirect.
    let count = |test: &dyn Fn(&str, &str) -> bool| requests.iter().filter(|(request, agent)| test(request, agent)).count() as u64;
    let by_proxy = count(&|request, agent| request.starts_with("GET /o/") && agent == "Mozilla/5.0");
    assert!(by_proxy > 80);
    let pixels = count(&|request, _| request.contains(" /o/"));
    let total: u64 = [first, second].iter().map(|counts| counts.opened_visibly + counts.machine_opened).sum();
    assert!(pixels >= total && pixels <= total + 60, "{pixels} pixel requests for {total} openings");
    assert!(count(&|request, _| request.starts_with("HEAD /c/")) > 0);
    assert_eq!(count(&|request, _| request.contains("some.example") || request.contains("outside.example")), 0);
    let posts = count(&|request, _| request.starts_with("POST /u/") && request.ends_with(" List-Unsubscribe=One-Click"));
    assert_eq!(posts, first.unsubscribed + second.unsubscribed);

    // The bounce came back under the return path.
    let bounces = bounces.0.lock().unwrap();
    let [(envelope, report)] = bounces.as_slice() else { panic!("one bounce") };
    assert_eq!(envelope.sender, "");
    assert_eq!(envelope.recipients, [format!("b+{}@bounce.example", "a".repeat(52))]);
    assert!(report.contains("Final-Recipient: rfc822; bounces.b@x.example\r\nAction: failed\r\n"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_arrival_changes_nothing() {
    let (one, ..) = demonstrate(11, false).await;
    let (other, ..) = demonstrate(11, true).await;
    assert_eq!(one, other);
    let (different, ..) = demonstrate(12, false).await;
    assert_ne!(one, different);
}

#[test]
fn tracking_addresses_are_checked_and_probabilities_stay_within_bounds() {
    let settings = |tracking: &str| Settings {
        seed: 1,
        truth: Truth { open: 0.5, click: 0.1, variants: Vec::new() },
        tracking: tracking.into(),
        bounces_to: SocketAddr::from(([127, 0, 0, 1], 1)),
        requests_max: 1,
        patience: Duration::ZERO,
        keep: None,
    };
    assert!(matches!(readers::Readers::new(&settings("https://t.example")), Err(DemoError::TrackingAddress(_))));
    assert!(matches!(readers::Readers::new(&settings("http://")), Err(DemoError::TrackingAddress(_))));
    let truth = Truth { variants: vec![VariantTruth { subject: "a".into(), open_lift: 3.0, click_lift: -2.0 }], ..settings("").truth };
    assert_eq!(truth.probabilities(Some(0)), (1.0, 0.0));
    assert_eq!(truth.probabilities(None), (0.5, 0.1));
}
