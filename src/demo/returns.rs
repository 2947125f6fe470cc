//! Returned mail: a mailbox server that took a letter and then could not deliver it.
//!
//! Cast: [`send_all`], sends what is due; `report`, the delivery status notification (RFC 3464).
//!
//! It writes its own reports, so that a mistake in our reader of reports cannot be hidden by the same mistake in a shared writer. It
//! never answers a letter without a return path.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::receiver::Received;
use super::{Progress, chance};

/// How often a report is tried.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(300);
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// What became of the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Returns {
    /// Taken by the bounce listener.
    pub(super) sent: u64,
    /// Given up, or there was no return path.
    pub(super) failed: u64,
}

/// Reasons a demonstration mailbox gives: share in percent, status, diagnostic.
const REASONS: [(u32, &str, &str); 4] = [
    (55, "5.1.1", "550 5.1.1 The mailbox does not exist"),
    (20, "5.2.2", "552 5.2.2 Mailbox is over quota"),
    (15, "5.7.1", "554 5.7.1 Message rejected by local policy"),
    (10, "5.4.4", "Host or domain name not found"),
];

/// Sends reports until the channel closes.
pub(super) async fn send_all(
    mut letters: mpsc::Receiver<Received>,
    to: SocketAddr,
    seed: u64,
    progress: watch::Sender<Progress>,
) -> Returns {
    let mut returns = Returns::default();
    while let Some(letter) = letters.recv().await {
        if !letter.sender.is_empty() && send_patiently(&letter, to, seed).await {
            returns.sent += 1;
            progress.send_modify(|progress| progress.returned += 1);
        } else {
            returns.failed += 1;
        }
    }
    returns
}

async fn send_patiently(letter: &Received, to: SocketAddr, seed: u64) -> bool {
    let report = report(letter, seed);
    for attempt in 1..=TRIES {
        match send(&letter.sender, &report, to).await {
            Ok(()) => return true,
            Err(error) => tracing::debug!(%error, attempt, "a returned letter was not taken"),
        }
        if attempt < TRIES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    false
}

/// One SMTP session, MAIL FROM:<> as for every report (RFC 5321 §4.5.5).
async fn send(recipient: &str, report: &str, to: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    expect(&mut stream, 2).await?;
    for (command, class) in [
        ("EHLO mx.demo.example\r\n".to_owned(), 2),
        ("MAIL FROM:<>\r\n".to_owned(), 2),
        (format!("RCPT TO:<{recipient}>\r\n"), 2),
        ("DATA\r\n".to_owned(), 3),
        (format!("{}\r\n.\r\n", report.trim_end().replace("\r\n.", "\r\n..")), 2),
        ("QUIT\r\n".to_owned(), 2),
    ] {
        stream.write_all(command.as_bytes()).await?;
        expect(&mut stream, class).await?;
    }
    Ok(())
}

/// Reads one reply, however many lines, of the given class.
async fn expect(stream: &mut BufReader<TcpStream>, class: u8) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        let read = tokio::time::timeout(REPLY_TIMEOUT, stream.read_line(&mut line)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            break;
        }
    }
    if line.as_bytes().first() == Some(&(b'0' + class)) {
        Ok(())
    } else {
        Err(io::Error::other(format!("refused with {}", line.get(..3).unwrap_or_default())))
    }
}

/// The delivery status notification for a letter, in CRLF lines.
fn report(letter: &Received, seed: u64) -> String {
    let mut chance = chance::of(seed, &letter.recipient, "return");
    let (status, diagnostic) = reason(chance.random_range(0..100));
    let boundary = format!("=_report_{:016x}", chance.random::<u64>());
    let headers = headers(&letter.message);
    // The demonstration has no clock of its own: the report bears the date of the letter.
    let date = headers
        .lines()
        .find(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("date:")))
        .unwrap_or("Date: Thu, 01 Jan 1970 00:00:00 +0000");
    let id: u64 = chance.random();
    let (sender, recipient) = (&letter.sender, &letter.recipient);
    let lines = [
        "From: Mail Delivery System <MAILER-DAEMON@mx.demo.example>".to_owned(),
        format!("To: <{sender}>"),
        "Subject: Undelivered mail returned to sender".to_owned(),
        date.to_owned(),
        format!("Message-ID: <{id:016x}@mx.demo.example>"),
        "Auto-Submitted: auto-replied".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        format!("Content-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\""),
        String::new(),
        format!("--{boundary}"),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        String::new(),
        "Your letter could not be delivered. The reason follows.".to_owned(),
        String::new(),
        format!("--{boundary}"),
        "Content-Type: message/delivery-status".to_owned(),
        String::new(),
        "Reporting-MTA: dns; mx.demo.example".to_owned(),
        String::new(),
        format!("Final-Recipient: rfc822; {recipient}"),
        "Action: failed".to_owned(),
        format!("Status: {status}"),
        format!("Diagnostic-Code: smtp; {diagnostic}"),
        String::new(),
        format!("--{boundary}"),
        "Content-Type: text/rfc822-headers".to_owned(),
        String::new(),
        headers.clone(),
        format!("--{boundary}--"),
        String::new(),
    ];
    lines.join("\r\n")
}

fn reason(percent: u32) -> (&'static str, &'static str) {
    let mut sum = 0;
    for (share, status, diagnostic) in REASONS {
        sum += share;
        if percent < sum {
            return (status, diagnostic);
        }
    }
    ("5.0.0", "550 not delivered")
}

/// The header section of a message with CRLF line ends.
fn headers(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let mut headers = String::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        headers.push_str(line);
        headers.push_str("\r\n");
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_report_has_the_three_parts_and_repeats_by_seed() {
        let message = b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nSubject: x\r\n\r\nbody that must not come back\r\n".to_vec();
        let letter = Received { sender: "b+t@bounce.example".into(), recipient: "bounces.a@x.example".into(), message: Arc::new(message) };
        let text = report(&letter, 3);
        assert_eq!(text, report(&letter, 3));
        for part in [
            "To: <b+t@bounce.example>\r\n",
            "Date: Mon, 02 Nov",
            "Final-Recipient: rfc822; bounces.a@x.example\r\nAction: failed\r\nStatus: 5.",
            "Subject: x\r\n",
        ] {
            assert!(text.contains(part), "{part} missing in {text}");
        }
        assert!(!text.contains("must not come back"));
    }

    #[test]
    fn the_shares_of_the_reasons_add_up() {
        assert_eq!(REASONS.iter().map(|(share, ..)| share).sum::<u32>(), 100);
    }
}
