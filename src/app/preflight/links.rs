//! Whether the links of a letter answer: HEAD, then GET where HEAD is refused, within a time, never twice the same address.
//!
//! Cast: [`item`] (all links of a campaign as one point), [`Asking`] (what may be asked, and how long), [`Answer`].
//!
//! It sends no cookie, no referrer and nothing of a person. The address that was judged is the address that is connected to, and every
//! redirect is judged anew: no letter can make this machine ask its own neighbours, unless that was allowed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::app::domain::is_public;
use crate::campaign::definition::Arm;
use crate::content::preflight::{Item, Level, Topic};

/// Links asked at most; a letter with more is told so.
const MOST_LINKS: usize = 200;
/// Links asked at the same time.
const AT_ONCE: usize = 8;
/// Redirects followed.
const MOST_REDIRECTS: usize = 6;
/// How long one address may take, redirects included.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long all may take together.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of an answer's head.
const HEAD_BYTES: usize = 32 * 1024;

/// What became of asking one address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It is there.
    There,
    /// It is gone, or no such host.
    Gone(String),
    /// Not known: it refused us, was late, or could not be asked.
    Unknown(String),
}

/// All links of all variants as one point.
pub(super) fn item(arms: &[Arm], private_addresses: bool) -> Item {
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for link in arms.iter().flat_map(|arm| arm.letter.links()) {
        wanted.entry(link.url.clone()).or_insert_with(|| link.number.to_string());
    }
    if wanted.is_empty() {
        return Item::new(Topic::LinkAnswers, Level::Ok, "there are no links to ask");
    }
    let asking = match Asking::new(private_addresses, PATIENCE) {
        Ok(asking) => Arc::new(asking),
        Err(why) => {
            return Item::new(Topic::LinkAnswers, Level::Warn, format!("links could not be asked: {why}")).advice("try again later");
        }
    };
    let left_out = wanted.len().saturating_sub(MOST_LINKS);
    let urls: Vec<String> = wanted.keys().take(MOST_LINKS).cloned().collect();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => summary(&wanted, &runtime.block_on(ask_all(asking, urls)), left_out),
        Err(error) => Item::new(Topic::LinkAnswers, Level::Warn, format!("links could not be asked: {error}")).advice("try again later"),
    }
}

async fn ask_all(asking: Arc<Asking>, urls: Vec<String>) -> Vec<(String, Answer)> {
    let mut answers: BTreeMap<String, Answer> =
        urls.iter().map(|url| (url.clone(), Answer::Unknown("there was no time left to ask it".to_owned()))).collect();
    let mut asked = futures_util::stream::iter(urls)
        .map(|url| {
            let asking = asking.clone();
            async move {
                let answer = asking.ask(&url).await;
                (url, answer)
            }
        })
        .buffer_unordered(AT_ONCE);
    let gathering = async {
        while let Some((url, answer)) = asked.next().await {
            answers.insert(url, answer);
        }
    };
    // What is not answered by then keeps its first answer.
    let _ = tokio::time::timeout(DEADLINE, gathering).await;
    drop(asked);
    answers.into_iter().collect()
}

fn summary(wanted: &BTreeMap<String, String>, answers: &[(String, Answer)], left_out: usize) -> Item {
    let named = |url: &str| format!("link {} {url}", wanted.get(url).map_or("", String::as_str));
    let mut details = Vec::new();
    let (mut there, mut gone) = (0, 0);
    for (url, answer) in answers {
        match answer {
            Answer::There => there += 1,
            Answer::Gone(why) => {
                gone += 1;
                details.insert(gone - 1, format!("{}: {why}", named(url)));
            }
            Answer::Unknown(why) => details.push(format!("{}: {why}", named(url))),
        }
    }
    if left_out > 0 {
        details.push(format!("{left_out} more were not asked: at most {MOST_LINKS} are"));
    }
    let found = format!("{there} of {} answer", answers.len() + left_out);
    if gone > 0 {
        return Item::new(Topic::LinkAnswers, Level::Stop, found).advice("mend the addresses that lead nowhere").details(details);
    }
    if !details.is_empty() {
        let advice = "open these yourself: some sites refuse programs, others may be down";
        return Item::new(Topic::LinkAnswers, Level::Warn, found).advice(advice).details(details);
    }
    Item::new(Topic::LinkAnswers, Level::Ok, found)
}

/// How addresses are asked.
struct Asking {
    private_addresses: bool,
    patience: Duration,
    tls: TlsConnector,
}

/// The head of an answer.
struct Head {
    status: u16,
    location: Option<String>,
}

/// Why there is no head.
enum Trouble {
    Gone(String),
    Other(String),
}

impl Asking {
    fn new(private_addresses: bool, patience: Duration) -> Result<Self, String> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { private_addresses, patience, tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn ask(&self, url: &str) -> Answer {
        match tokio::time::timeout(self.patience, self.follow(url)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Unknown(format!("no answer within {} seconds", self.patience.as_secs().max(1))),
        }
    }

    async fn follow(&self, url: &str) -> Answer {
        let Ok(mut url) = Url::parse(url) else { return Answer::Gone("it is not a whole address".to_owned()) };
        for _ in 0..=MOST_REDIRECTS {
            let head = match self.head(&url).await {
                Ok(head) => head,
                Err(Trouble::Gone(why)) => return Answer::Gone(why),
                Err(Trouble::Other(why)) => return Answer::Unknown(why),
            };
            let next = match (head.status, head.location) {
                (300..=399, Some(location)) => url.join(&location),
                (status, _) => return judged(status),
            };
            match next {
                Ok(next) => url = next,
                Err(_) => return Answer::Gone("it leads on to something that is no address".to_owned()),
            }
        }
        Answer::Unknown(format!("it leads on more than {MOST_REDIRECTS} times"))
    }

    /// Asks by HEAD, and by GET when that is not taken.
    async fn head(&self, url: &Url) -> Result<Head, Trouble> {
        let head = self.request("HEAD", url).await;
        match head {
            Ok(head) if head.status < 400 => Ok(head),
            Err(Trouble::Gone(why)) => Err(Trouble::Gone(why)),
            // Servers that refuse HEAD answer with all kinds of statuses, or hang up.
            _ => self.request("GET", url).await,
        }
    }

    async fn request(&self, method: &str, url: &Url) -> Result<Head, Trouble> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(Trouble::Other(format!("it leads on to {other}:, which cannot be asked"))),
        };
        let host = url.host_str().ok_or_else(|| Trouble::Gone("it names no host".to_owned()))?.to_owned();
        let port = url.port_or_known_default().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = self.connect(host.trim_matches(['[', ']']), port).await?;
        let asked = request_text(method, url, &host);
        if is_tls {
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|_| Trouble::Gone("its host is no name".to_owned()))?;
            let stream =
                self.tls.connect(name, stream).await.map_err(|error| Trouble::Other(format!("no TLS with its server: {error}")))?;
            converse(stream, &asked).await
        } else {
            converse(stream, &asked).await
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Trouble> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Trouble::Gone(format!("there is no host {host}")))?;
        let addresses: Vec<SocketAddr> = found.collect();
        if !self.private_addresses && addresses.iter().any(|address| !is_reachable_for_all(address.ip())) {
            return Err(Trouble::Other(format!("{host} has a private address, which is not asked unless that is allowed")));
        }
        let mut last = Trouble::Gone(format!("there is no host {host}"));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Trouble::Other(format!("its server cannot be reached: {error}")),
            }
        }
        Err(last)
    }
}

fn request_text(method: &str, url: &Url, host: &str) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!(
        "{method} {}{query} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: Mozilla/5.0 (compatible; Letterlab link check)\r\n\
         Accept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nConnection: close\r\n\r\n",
        url.path()
    )
}

/// Sends a request and reads the answer's head; what follows it is not read.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Result<Head, Trouble> {
    let broken = |_| Trouble::Other("its server hung up".to_owned());
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !ends(&head) && head.len() < HEAD_BYTES {
        let read = stream.read(&mut chunk).await.map_err(broken)?;
        if read == 0 {
            break;
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    parse(&String::from_utf8_lossy(&head)).ok_or_else(|| Trouble::Other("what its server answers is not HTTP".to_owned()))
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|window| window == b"\r\n\r\n") || head.windows(2).any(|window| window == b"\n\n")
}

fn parse(head: &str) -> Option<Head> {
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()?;
    let location = lines
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("location")))
        .map(|(_, value)| value.trim().to_owned());
    Some(Head { status, location })
}

fn judged(status: u16) -> Answer {
    match status {
        200..=299 => Answer::There,
        404 | 410 => Answer::Gone(format!("there is nothing at this address (status {status})")),
        _ => Answer::Unknown(format!("it answers with status {status}")),
    }
}

/// Whether an address is one that everybody reaches, and not of this machine, its network, or one that leads there in disguise.
fn is_reachable_for_all(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let embedded = match address {
        IpAddr::V4(v4) => {
            let octets = v4.octets();
            let is_special = matches!(octets, [0 | 240..=255, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..])
                || v4.is_multicast()
                || v4.is_broadcast();
            return is_public(address) && !is_special;
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            let last = |high: u16, low: u16| IpAddr::from([high.to_be_bytes(), low.to_be_bytes()].concat().try_into().unwrap_or([0; 4]));
            match segments {
                // NAT64 and 6to4 hold an IPv4 address.
                [0x64, 0xff9b, .., high, low] => Some(last(high, low)),
                [0x2002, high, low, ..] => Some(last(high, low)),
                [0, 0, 0, 0, 0, 0, high, low] => Some(last(high, low)),
                _ if v6.is_multicast() => return false,
                _ => None,
            }
        }
    };
    is_public(address) && embedded.is_none_or(is_reachable_for_all)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each connection with the next of its answers; `None` never answers.
    async fn server(answers: Vec<Option<String>>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = asked.clone();
        let mut answers: VecDeque<_> = answers.into();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
                noted.lock().unwrap().push(line);
                match answers.pop_front().flatten() {
                    Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    None => silent.push(stream),
                }
            }
        });
        (base, asked)
    }

    fn status(status: &str) -> Option<String> {
        Some(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
    }

    fn to(place: &str) -> Option<String> {
        Some(format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\n\r\n"))
    }

    async fn ask(answers: Vec<Option<String>>, private: bool) -> (Answer, Vec<String>) {
        let (base, asked) = server(answers).await;
        let answer = Asking::new(private, Duration::from_secs(5)).unwrap().ask(&format!("{base}/a?b=c&d#e")).await;
        let asked = asked.lock().unwrap().clone();
        (answer, asked)
    }

    #[tokio::test]
    async fn a_link_is_asked_by_head_and_where_that_is_refused_by_get() {
        let (answer, asked) = ask(vec![status("200 OK")], true).await;
        assert_eq!((answer, asked), (Answer::There, vec!["HEAD /a?b=c&d HTTP/1.1".to_owned()]));
        let (answer, asked) = ask(vec![status("405 Method Not Allowed"), status("200 OK")], true).await;
        assert_eq!((answer, asked.last().map(String::as_str)), (Answer::There, Some("GET /a?b=c&d HTTP/1.1")));
        let (answer, _) = ask(vec![status("404 Not Found"), status("404 Not Found")], true).await;
        assert!(matches!(answer, Answer::Gone(_)), "{answer:?}");
        let (answer, _) = ask(vec![status("503 Busy"), status("403 Forbidden")], true).await;
        assert_eq!(answer, Answer::Unknown("it answers with status 403".to_owned()));
        let (answer, _) = ask(vec![Some("hello\r\n\r\n".to_owned()), Some(String::new())], true).await;
        assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    }

    #[tokio::test]
    async fn redirects_are_followed_and_end() {
        let (answer, asked) = ask(vec![to("/b"), status("204 No Content")], true).await;
        assert_eq!((answer, asked.last().map(String::as_str)), (Answer::There, Some("HEAD /b HTTP/1.1")));
        let (answer, _) = ask((0..20).map(|_| to("/b")).collect(), true).await;
        assert_eq!(answer, Answer::Unknown("it leads on more than 6 times".to_owned()));
        let (answer, _) = ask(vec![to("file:///etc/passwd")], true).await;
        assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    }

    #[tokio::test]
    async fn private_addresses_are_not_asked_unless_allowed() {
        let (answer, asked) = ask(vec![status("200 OK")], false).await;
        assert!(matches!(&answer, Answer::Unknown(why) if why.contains("private")), "{answer:?}");
        assert!(asked.is_empty(), "nobody was connected to");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_waited_for_no_longer_than_patience() {
        let (base, _) = server(vec![None]).await;
        let answer = Asking::new(true, Duration::from_millis(50)).unwrap().ask(&base).await;
        assert_eq!(answer, Answer::Unknown("no answer within 1 seconds".to_owned()));
    }

    #[test]
    fn addresses_of_this_machine_and_its_network_are_known_in_every_spelling() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(!is_reachable_for_all(private.parse().unwrap()), "{private}");
        }
        for public in ["93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e"] {
            assert!(is_reachable_for_all(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn what_is_gone_stops_and_what_is_unknown_is_worth_a_look() {
        let wanted: BTreeMap<String, String> = [("https://a.example/".to_owned(), "1".to_owned())].into();
        let level = |answer| summary(&wanted, &[("https://a.example/".to_owned(), answer)], 0);
        assert_eq!(level(Answer::There).level, Level::Ok);
        assert_eq!(level(Answer::Unknown("x".to_owned())).level, Level::Warn);
        let gone = level(Answer::Gone("nothing there".to_owned()));
        assert_eq!((gone.level, gone.details[0].as_str()), (Level::Stop, "link 1 https://a.example/: nothing there"));
    }
}
