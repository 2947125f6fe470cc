//! The table of networks: written new from the publishers' lists, read at start, described on the status page.
//!
//! Cast: [`refresh`], [`Publisher`] (where a kind's lists come from), [`read`], [`describe`] and [`Table`] (what there is and how old).
//!
//! The table is replaced as a whole or not at all. Nothing of a recipient goes to a publisher: a list is fetched by an operator's command.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::app::clock::Clock;
use crate::app::config::{Config, NetworkSources};
use crate::signal::{NetworkKind, NetworkTable};

/// A table older than this is told as old: publishers change their lists every few weeks.
pub const OLD_DAYS: i64 = 60;
/// Apple's list has some 6 MB.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);
/// How the table's first line begins; the moment it was written follows.
const WRITTEN: &str = "# written ";

/// File names in a folder of lists and what they hold. The longest beginning that fits decides; a file may also begin with its kind's word.
const FILES: [(&str, NetworkKind); 6] = [
    ("apple", NetworkKind::AppleRelay),
    ("egress-ip-ranges", NetworkKind::AppleRelay),
    ("googlebot", NetworkKind::GoogleCrawler),
    ("google", NetworkKind::GoogleOther),
    ("user-triggered-fetchers", NetworkKind::GoogleFetcher),
    ("microsoft", NetworkKind::Microsoft),
];

/// Where the networks of one kind come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The kind's word.
    pub kind: &'static str,
    /// An address of the web, or a file.
    pub source: String,
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Where it is.
    pub path: PathBuf,
    /// How many networks there are.
    pub networks: usize,
    /// How many of each kind.
    pub kinds: BTreeMap<String, usize>,
    /// Days since it was written; 0 where it does not say.
    pub days: i64,
}

/// Reads the table; none is an empty one.
///
/// # Errors
/// When there is one that cannot be read, or is not as it should be.
pub fn read(path: &Path) -> anyhow::Result<NetworkTable> {
    let Some(text) = text(path)? else { return Ok(NetworkTable::empty()) };
    NetworkTable::parse(&text).with_context(|| format!("the network table {} is not as it should be", path.display()))
}

fn text(path: &Path) -> anyhow::Result<Option<String>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the network table {} cannot be read", path.display())),
    }
}

/// What the table holds and how old it is; none where there is no table.
///
/// # Errors
/// As for [`read`].
pub fn describe(path: &Path, now: Timestamp) -> anyhow::Result<Option<Table>> {
    let Some(text) = text(path)? else { return Ok(None) };
    let written =
        text.lines().next().and_then(|line| line.strip_prefix(WRITTEN)).and_then(|moment| moment.trim().parse::<Timestamp>().ok());
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for kind in text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_whitespace().nth(1)) {
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    let days = written.map_or(0, |written| now.duration_since(written).as_hours() / 24);
    Ok(Some(Table { path: path.to_owned(), networks: kinds.values().sum(), kinds, days }))
}

/// Writes the table new, from a folder of lists or from the publishers. `say` is told of every list read and how many networks it had.
///
/// # Errors
/// When one list cannot be had or holds no network: the old table stays as it is then.
pub fn refresh(config: &Config, from: Option<&Path>, say: &dyn Fn(&Publisher, usize)) -> anyhow::Result<Table> {
    let path = Path::new(&config.files.networks);
    if path.as_os_str().is_empty() {
        bail!("setting files.networks is empty: give it the path of the table, for instance letterlab-data/networks.txt");
    }
    let lists = match from {
        Some(folder) => in_folder(folder)?,
        None => published(&config.networks),
    };
    let now = Clock::wall().now();
    let mut networks: BTreeMap<NetworkKind, BTreeSet<(IpAddr, u8)>> = BTreeMap::new();
    for (kind, publisher) in &lists {
        let list = fetch(&publisher.source).with_context(|| {
            format!(
                "the list of {} cannot be had from {}; the old table stays. Try later, or give the lists as files with --from FOLDER",
                publisher.kind, publisher.source
            )
        })?;
        let found = prefixes(&list);
        if found.is_empty() {
            bail!(
                "there is no network in {}; the old table stays. The publisher may have moved its list: see [networks] in the settings",
                publisher.source
            );
        }
        say(publisher, found.len());
        networks.entry(*kind).or_default().extend(found);
    }
    let text = write(&networks, &lists, now);
    NetworkTable::parse(&text).context("the table that was made is not as it should be")?;
    replace(path, &text).with_context(|| format!("{} cannot be written", path.display()))?;
    describe(path, now)?.with_context(|| format!("{} cannot be found again", path.display()))
}

/// What is written about most narrowly comes last, because of two equal networks the later line wins.
fn published(sources: &NetworkSources) -> Vec<(NetworkKind, Publisher)> {
    let of = |kind: NetworkKind, sources: &[String]| -> Vec<(NetworkKind, Publisher)> {
        sources.iter().map(|source| (kind, Publisher { kind: kind.as_str(), source: source.clone() })).collect()
    };
    [
        of(NetworkKind::Hosting, &sources.hosting),
        of(NetworkKind::Microsoft, &sources.microsoft),
        of(NetworkKind::GoogleOther, &sources.google_other),
        of(NetworkKind::GoogleCrawler, &sources.google_crawler),
        of(NetworkKind::GoogleFetcher, &sources.google_fetcher),
        of(NetworkKind::AppleRelay, &sources.apple_relay),
        of(NetworkKind::ListedScanner, &sources.listed_scanner),
    ]
    .concat()
}

fn in_folder(folder: &Path) -> anyhow::Result<Vec<(NetworkKind, Publisher)>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("the folder {} cannot be read", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_file()).collect();
    paths.sort();
    let lists: Vec<(NetworkKind, Publisher)> = paths
        .iter()
        .filter_map(|path| {
            let kind = kind_of_file(&path.file_name()?.to_string_lossy())?;
            Some((kind, Publisher { kind: kind.as_str(), source: path.to_string_lossy().into_owned() }))
        })
        .collect();
    if lists.is_empty() {
        bail!(
            "no list is known by its name in {}; names begin with apple, google, googlebot, user-triggered-fetchers, microsoft, listed_scanner or hosting, and end in .txt, .csv or .json",
            folder.display()
        );
    }
    Ok(lists)
}

fn kind_of_file(name: &str) -> Option<NetworkKind> {
    let name = name.to_ascii_lowercase();
    if ![".txt", ".csv", ".json"].iter().any(|ending| name.ends_with(ending)) {
        return None;
    }
    let words = NetworkKind::ALL.into_iter().filter(|kind| *kind != NetworkKind::None).map(|kind| (kind.as_str(), kind));
    let fitting = FILES.into_iter().chain(words).filter(|(beginning, _)| name.starts_with(beginning));
    fitting.max_by_key(|(beginning, _)| beginning.len()).map(|(_, kind)| kind)
}

/// A list from the web, or from a file.
fn fetch(source: &str) -> anyhow::Result<String> {
    let (is_secure, rest) = match (source.strip_prefix("https://"), source.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Ok(std::fs::read_to_string(source)?),
    };
    let (authority, path) = rest.split_once('/').map_or((rest, "/".to_owned()), |(host, path)| (host, format!("/{path}")));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().context("the port is not a number")?),
        None => (authority, if is_secure { 443 } else { 80 }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, get(is_secure, host, port, authority, &path)).await });
    body(&answer.context("it did not answer in time")??)
}

/// One GET, the whole answer. Deliberately HTTP/1.0, which is answered in one piece and then ends.
async fn get(is_secure: bool, host: &str, port: u16, authority: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: letterlab\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    let tcp = tokio::net::TcpStream::connect((host, port)).await?;
    if !is_secure {
        return exchange(tcp, &request).await;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).context("its host has no name that a certificate could hold")?;
    exchange(TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?, &request).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> anyhow::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LIST_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The body of an answer that says 200 and is whole.
fn body(answer: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is not one of HTTP")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let header = |name: &str| {
        let named = head.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim().to_owned())
    };
    match (status, header("location")) {
        ("200", _) => {}
        (_, Some(elsewhere)) => bail!("it has moved to {elsewhere}; write that address into [networks] of the settings"),
        (status, None) => bail!("it answered {status}"),
    }
    if let Some(length) = header("content-length").and_then(|length| length.parse::<usize>().ok())
        && body.len() < length
    {
        bail!("the answer broke off after {} of {length} bytes", body.len());
    }
    Ok(body.to_owned())
}

/// Every network in a text, whatever is around it: publishers write lines, columns or JSON. An address counts where it is all of a line:
/// among other words, a version or an hour may look like one.
fn prefixes(text: &str) -> BTreeSet<(IpAddr, u8)> {
    let outside = |character: char| !(character.is_ascii_hexdigit() || matches!(character, '.' | ':' | '/'));
    let alone = |line: &str| {
        let address = line.split('#').next()?.trim().parse::<IpAddr>().ok()?;
        Some((address, if address.is_ipv4() { 32 } else { 128 }))
    };
    text.split(outside).filter_map(prefix).chain(text.lines().filter_map(alone)).collect()
}

fn prefix(word: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = word.split_once('/')?;
    let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?);
    let width = if address.is_ipv4() { 32 } else { 128 };
    // A whole family is nobody's.
    (1..=width).contains(&length).then_some((address, length))
}

fn write(networks: &BTreeMap<NetworkKind, BTreeSet<(IpAddr, u8)>>, lists: &[(NetworkKind, Publisher)], now: Timestamp) -> String {
    let mut text = format!("{WRITTEN}{now}\n");
    for (_, publisher) in lists {
        let _ = writeln!(text, "# {} from {}", publisher.kind, publisher.source);
    }
    let mut kinds: Vec<NetworkKind> = Vec::new();
    for (kind, _) in lists {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    for kind in kinds {
        for (address, length) in networks.get(&kind).into_iter().flatten() {
            let _ = writeln!(text, "{address}/{length} {}", kind.as_str());
        }
    }
    text
}

/// A reader finds the old table or the new one, never a part.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::app::config;

    fn settings(folder: &Path) -> Config {
        let mut config = config::load(None, std::iter::empty()).unwrap();
        config.files.networks = folder.join("data/networks.txt").to_string_lossy().into_owned();
        config
    }

    #[test]
    fn lists_are_read_in_every_form_publishers_use() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<String> = prefixes(text).into_iter().map(|(address, length)| format!("{address}/{length}")).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("192.0.2.0/24,DE,DE-BE,Berlin,\n2001:db8::/45,FR,,,\n", &["192.0.2.0/24", "2001:db8::/45"]);
        check("203.0.113.7\n  2001:db8::9 # a gateway\n1.2.3.4 at 12:30\n", &["203.0.113.7/32", "2001:db8::9/128"]);
        check(
            r#"{"prefixes":[{"ipv6Prefix":"2001:db8:1::/64"},{"ipv4Prefix": "198.51.100.0/27"}]}"#,
            &["198.51.100.0/27", "2001:db8:1::/64"],
        );
        check("# a comment\n203.0.113.0/24\r\n203.0.113.0/24\n", &["203.0.113.0/24"]);
        check("<html>not found</html> 1.2.3.4 0.0.0.0/0 ::/0 1.2.3.4/33 12/12", &[]);
    }

    #[test]
    fn files_are_known_by_how_their_names_begin() {
        for (name, kind) in [
            ("apple-proxy_ipv4_merged.txt", Some(NetworkKind::AppleRelay)),
            ("google_ipv6.txt", Some(NetworkKind::GoogleOther)),
            ("googlebot_ipv4.txt", Some(NetworkKind::GoogleCrawler)),
            ("user-triggered-fetchers-google.json", Some(NetworkKind::GoogleFetcher)),
            ("Microsoft_ipv4.csv", Some(NetworkKind::Microsoft)),
            ("listed_scanner.txt", Some(NetworkKind::ListedScanner)),
            ("LICENSE", None),
            ("google.pdf", None),
        ] {
            assert_eq!(kind_of_file(name), kind, "{name}");
        }
    }

    #[test]
    fn a_table_is_made_from_a_folder_and_replaced_only_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (config, lists) = (settings(folder.path()), folder.path().join("lists"));
        let path = Path::new(&config.files.networks);
        std::fs::create_dir(&lists).unwrap();
        let nothing = |_: &Publisher, _: usize| {};
        assert!(describe(path, Timestamp::UNIX_EPOCH).unwrap().is_none());
        assert!(read(path).unwrap().is_empty());
        let error = refresh(&config, Some(&lists), &nothing).unwrap_err().to_string();
        assert!(error.contains("names begin with"), "{error}");

        std::fs::write(lists.join("google_ipv4.txt"), "192.0.2.0/24\n").unwrap();
        std::fs::write(lists.join("googlebot_ipv4.txt"), "192.0.2.0/25\n").unwrap();
        std::fs::write(lists.join("LICENSE"), "203.0.113.0/24 is no network here").unwrap();
        let made = refresh(&config, Some(&lists), &nothing).unwrap();
        assert_eq!((made.networks, made.days, made.kinds["google_crawler"]), (2, 0, 1));
        let kind = |address: &str| read(path).unwrap().kind_of(address.parse().unwrap());
        assert_eq!((kind("192.0.2.1"), kind("192.0.2.200")), (NetworkKind::GoogleCrawler, NetworkKind::GoogleOther));

        std::fs::write(lists.join("microsoft.txt"), "moved away").unwrap();
        let error = refresh(&config, Some(&lists), &nothing).unwrap_err().to_string();
        assert!(error.contains("the old table stays"), "{error}");
        assert_eq!(read(path).unwrap().len(), 2);
    }

    #[test]
    fn only_a_whole_answer_that_says_200_counts() {
        let check = |answer: &str, expected: Result<&str, &str>| match (body(answer.as_bytes()), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{found}"),
            (found, _) => panic!("{answer:?}: {found:?}"),
        };
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Ok("ab"));
        check("HTTP/1.0 200 OK\r\n\r\nab", Ok("ab"));
        check("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nab", Err("broke off after 2 of 3"));
        check("HTTP/1.0 302 Found\r\nLocation: https://new.example/\r\n\r\n", Err("moved to https://new.example/"));
        check("HTTP/1.0 503 Later\r\n\r\n192.0.2.0/24", Err("503"));
        check("nonsense", Err("not one of HTTP"));
    }

    #[test]
    fn a_table_is_fetched_from_its_publishers_and_an_error_says_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap();
                let answer = if request[..length].starts_with(b"GET /apple ") {
                    "HTTP/1.1 200 OK\r\nContent-Length: 23\r\nConnection: close\r\n\r\n192.0.2.0/31,GB,GB-ENG,"
                } else {
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                };
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let mut config = settings(folder.path());
        config.networks = NetworkSources { apple_relay: vec![format!("{base}/apple")], ..NetworkSources::default() };
        let said = std::cell::RefCell::new(Vec::new());
        let made = refresh(&config, None, &|publisher, found| said.borrow_mut().push((publisher.kind, found))).unwrap();
        assert_eq!((made.networks, said.into_inner()), (1, vec![("apple_relay", 1)]));
        config.networks.microsoft = vec![format!("{base}/gone")];
        config.networks.apple_relay.clear();
        let error = refresh(&config, None, &|_, _| {}).unwrap_err().to_string();
        assert!(error.contains("/gone") && error.contains("--from FOLDER"), "{error}");
        server.join().unwrap();
        assert_eq!(read(Path::new(&config.files.networks)).unwrap().len(), 1);
    }
}
