//! Purpose: a tracking node as it stands on the internet: no way to people, TLS, proxies in front, loud guessing, live numbers.
//!
//! Cast: [`Node`] (one with the role `track`, beside a world whose ledger it fills), [`exchange`] (one request over any stream).
//!
//! Never: leaves loopback or waits for time instead of for something.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use letterlab::app::clock::fresh;
use letterlab::app::config;
use letterlab::app::keyfile;
use letterlab::app::keywatch::{HEAD_START_SECONDS, KeyWatch};
use letterlab::app::outpost::{Outpost, round};
use letterlab::cli::service::Service;
use letterlab::ids::EventId;
use letterlab::ledger::event::Event;
use letterlab::ledger::store::{self as events, Counter};
use letterlab::signal::HitKind;
use letterlab::tracking::hit::{Admission, admit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::crash::Server;
use crate::installation::wait_until;
use crate::servers::postgres::psql;
use crate::world::{Engine, FIREFOX, Room, World, campaign, get, on_both_engines, people};

on_both_engines!(
    a_tracking_node_answers_and_records_and_shows_nothing_of_people,
    live_numbers_are_told_to_who_knows_the_token,
    a_key_made_while_serving_reaches_every_node_and_letters_of_both_keys_count,
    a_look_is_taken_with_the_hits_of_every_node,
    a_look_waits_a_while_for_a_node_that_is_silent_and_then_names_it,
);

const TOKEN: &str = "0123456789abcdef-metrics";

struct Node {
    address: SocketAddr,
    outpost: Outpost,
    service: Service,
}

impl Node {
    /// A node with a folder of its own and a copy of the keys, as an operator would make it.
    fn start(world: &World, folder: &Path, more: &[(&str, &str)]) -> Self {
        std::fs::copy(world.folder().join("keys.toml"), folder.join("keys.toml")).unwrap();
        let outpost = open(world, folder, more).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (outpost, writers) = outpost;
        Self { address, service: Service::start_outpost(outpost.clone(), writers, listener).unwrap(), outpost }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        exchange(&mut self.connect().await, &request(path)).await
    }

    /// Everything it took is in the ledger afterwards.
    fn stop(self) {
        let Self { outpost, service, .. } = self;
        drop(outpost);
        service.stop().unwrap();
    }
}

fn open(world: &World, folder: &Path, more: &[(&str, &str)]) -> anyhow::Result<(Outpost, letterlab::app::lab::Background)> {
    let inside = |name: &str| folder.join(name).display().to_string();
    let own = [("LETTERLAB_FILES__KEYS", inside("keys.toml")), ("LETTERLAB_FILES__SPOOL", inside("spool"))];
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(more);
    let config = config::load(Some(&world.folder().join("letterlab.toml")), environment)?;
    Outpost::open(config, world.lab.clock.clone())
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {FIREFOX}\r\nAccept-Language: de\r\n\r\n")
}

/// Sends a request and reads its answer; empty when the connection was closed instead.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if answer.len() >= head.len() + 4 + length {
                return text;
            }
        }
        let mut some = [0; 4096];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(read) => answer.extend_from_slice(&some[..read]),
        }
    }
}

fn counted(world: &World, what: Counter) -> i64 {
    world.lab.ledger.read(|conn| events::counted(conn, what)).unwrap()
}

async fn a_tracking_node_answers_and_records_and_shows_nothing_of_people(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("people/vault.db");
    let vault = format!("sqlite:{}", nobody.display());
    let node = Node::start(&world, folder.path(), &[("LETTERLAB_DATABASE__VAULT", &vault)]);
    let letter = world.letter_to("p1@example.org");
    assert!(node.get(&format!("/o/{}.gif", letter.pixel().unwrap())).await.starts_with("HTTP/1.1 200 OK"));
    let onward = node.get(&format!("/c/{}", letter.links()[0])).await;
    assert!(onward.starts_with("HTTP/1.1 302") && onward.contains("location: https://shop.example/first?a=1&b=2\r\n"), "{onward}");
    for (path, status) in [
        ("/", 404),
        ("/login", 404),
        ("/setup", 404),
        ("/people", 404),
        ("/status", 404),
        ("/api/v1/campaigns", 404),
        ("/metrics", 404),
        ("/privacy", 200),
        ("/robots.txt", 200),
        ("/favicon.ico", 200),
        ("/healthz", 200),
        ("/readyz", 200),
    ] {
        let answer = node.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let unsubscribing = node.get(&format!("/u/{}", letter.unsubscribe_token())).await;
    assert!(unsubscribing.starts_with("HTTP/1.1 404"), "that takes people: {unsubscribing}");
    node.stop();
    assert!(!nobody.exists() && !nobody.parent().unwrap().exists(), "the people's database was never touched");
    assert_eq!(counted(&world, Counter::StoredHits), 2);
    world.tidy();
}

async fn a_key_made_while_serving_reaches_every_node_and_letters_of_both_keys_count(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&world, folder.path(), &[]);
    let old = world.letter_to("p1@example.org");

    let path = world.folder().join("keys.toml");
    let from = world.now().checked_add(jiff::SignedDuration::from_secs(HEAD_START_SECONDS)).unwrap();
    assert_eq!(keyfile::rotate(&path, [9; 32], from).unwrap(), 2);
    std::fs::copy(&path, folder.path().join("keys.toml")).unwrap();
    // This world's own process does no background work by itself: what its watch does twice a second is done here.
    let mut watch = KeyWatch::new(&world.lab.outpost());
    assert!(watch.look(world.now(), false).unwrap());
    assert_eq!(world.lab.keys.current_id(), 1, "known, and not used before every node can know it");
    world.lab.clock.advance(jiff::SignedDuration::from_secs(HEAD_START_SECONDS));
    assert!(watch.look(world.now(), false).unwrap());
    assert_eq!(world.lab.keys.current_id(), 2);

    world.draft(&campaign("winter"));
    world.launch("winter").unwrap();
    world.deliver_everything().await;
    let new = world.letter_to("p1@example.org");
    let by_the_new_one = letterlab::token::Keys::new((2, [9; 32]), Vec::new());
    assert!(by_the_new_one.open(letterlab::token::Kind::Click, &new.links()[0]).is_ok());
    let address = node.address;
    let handle = tokio::runtime::Handle::current();
    let link = format!("/c/{}", new.links()[0]);
    wait_until("the new key known to the node", || {
        let ask = async { exchange(&mut TcpStream::connect(address).await.unwrap(), &request(&link)).await };
        Ok(tokio::task::block_in_place(|| handle.block_on(ask)).starts_with("HTTP/1.1 302").then_some(()))
    })
    .await
    .unwrap();
    for letter in [&old, &new] {
        assert!(node.get(&format!("/c/{}", letter.links()[1])).await.starts_with("HTTP/1.1 302"));
        assert!(node.get(&format!("/o/{}.gif", letter.pixel().unwrap())).await.starts_with("HTTP/1.1 200"));
    }
    node.stop();
    assert_eq!(counted(&world, Counter::StoredHits), 5);
    world.tidy();
}

async fn a_look_is_taken_with_the_hits_of_every_node(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&world, folder.path(), &[]);
    wait_until("the node known to others", || {
        let there = world.lab.ledger.read(|conn| events::silent_spools(conn, None, jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX))?;
        Ok(there.iter().any(|spool| Some(&spool.spool) == node.outpost.tracker.presence.id().as_ref()).then_some(()))
    })
    .await
    .unwrap();
    for person in 1..=2 {
        let letter = world.letter_to(&format!("p{person}@example.org"));
        assert!(node.get(&format!("/c/{}", letter.links()[0])).await.starts_with("HTTP/1.1 302"));
    }
    world.wait(24);
    world.lab.clock.advance(jiff::SignedDuration::from_secs(30));
    wait_until("the look", || {
        letterlab::app::jobs::tidy(&world.lab)?;
        Ok(world.campaign("autumn").looked_at)
    })
    .await
    .unwrap();
    let page = world.results("autumn");
    assert_eq!(page.arms.iter().map(|arm| arm.successes).sum::<u64>(), 2);
    assert!(!page.notes.iter().any(|note| note.contains("silent")), "{:?}", page.notes);
    let id = node.outpost.tracker.presence.id().unwrap();
    assert!(world.lab.ledger.read(|conn| events::is_there(conn, &id)).unwrap());
    node.stop();
    assert!(!world.lab.ledger.read(|conn| events::is_there(conn, &id)).unwrap(), "nobody waits for one that ended well");
    world.tidy();
}

async fn a_look_waits_a_while_for_a_node_that_is_silent_and_then_names_it(engine: Engine) {
    for (loaded, minutes, expected, is_named) in [(false, 1, false, false), (true, 1, true, false), (false, 2, true, true)] {
        let world = World::with_campaign_sent(engine, &people(4), &campaign("autumn")).await;
        let due = letterlab::report::results::due(&world.campaign("autumn")).unwrap();
        let note = |id: &str, at, loaded| world.lab.ledger.write(|conn| events::note_alive(conn, id, at, loaded)).unwrap();
        note("long-gone", due.checked_sub(jiff::SignedDuration::from_hours(25)).unwrap(), None);
        note("absent", due.checked_sub(jiff::SignedDuration::from_mins(5)).unwrap(), loaded.then_some(due));
        world.wait(24);
        world.lab.clock.advance(jiff::SignedDuration::from_mins(minutes));
        let page = world.results("autumn");
        assert_eq!(world.campaign("autumn").looked_at.is_some(), expected, "loaded: {loaded}, {minutes} minutes later");
        let named: Vec<&String> = page.notes.iter().filter(|note| note.contains("silent")).collect();
        assert_eq!(named.len(), usize::from(is_named), "{named:?}");
        assert!(named.iter().all(|note| note.contains("absent") && note.contains("not counted")), "{named:?}");
    }
}

async fn live_numbers_are_told_to_who_knows_the_token(engine: Engine) {
    let world = World::with_campaign_sent(engine, &people(2), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&world, folder.path(), &[("LETTERLAB_WEB__METRICS_TOKEN", TOKEN)]);
    let pixel = world.letter_to("p1@example.org").pixel().unwrap();
    for token in [&*pixel, &*pixel, "forged"] {
        node.get(&format!("/o/{token}.gif")).await;
    }
    let ask = |token: &str| format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    for wrong in ["", "0123456789abcdef-metricz", "0123456789abcdef"] {
        assert!(exchange(&mut node.connect().await, &ask(wrong)).await.starts_with("HTTP/1.1 404"));
    }
    let told = exchange(&mut node.connect().await, &ask(TOKEN)).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let number = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {told}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(number("letterlab_hits_total{kind=\"open\",class=\"human\"}"), 2.0);
    assert_eq!((number("letterlab_hits_refused_total"), number("letterlab_hits_shed_total")), (1.0, 0.0));
    assert_eq!((number("letterlab_spool_works"), number("letterlab_hits_waiting")), (1.0, 0.0));
    let commits = number("letterlab_commit_seconds_count");
    assert!((1.0..=2.0).contains(&commits) && number("letterlab_commit_seconds_sum") > 0.0, "{told}");
    round(&node.outpost).unwrap();
    node.stop();
    assert_eq!((counted(&world, Counter::StoredHits), counted(&world, Counter::RefusedHits)), (2, 1));
    world.tidy();
}

/// Makes a database role for a tracking node, as documented; answers how it would reach vault and ledger.
fn own_role(world: &World) -> (String, String) {
    let databases = config::load(Some(&world.folder().join("letterlab.toml")), std::iter::empty()).unwrap().database;
    let name = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let role = format!("track_{}", name(&databases.ledger));
    let admin = std::env::var("LETTERLAB_TEST_POSTGRES").unwrap();
    psql(&admin, &[format!("CREATE ROLE {role} LOGIN")]).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/postgresql-roles.sql");
    let granted = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--dbname", &databases.ledger.replace("//letterlab@", "//admin@")])
        .args(["-v", &format!("vault={}", name(&databases.vault)), "-v", &format!("ledger={}", name(&databases.ledger))])
        .args(["-v", "owner=letterlab", "-v", &format!("tracker={role}")])
        .arg("-f")
        .arg(&script)
        .output()
        .unwrap();
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));

    let as_tracker = |url: &str| url.replace("//letterlab@", &format!("//{role}@"));
    (as_tracker(&databases.vault), as_tracker(&databases.ledger))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracking_nodes_own_database_role_reaches_no_people_and_reads_no_hits() {
    let mut world = World::with_campaign_sent(Engine::Postgres, &people(4), &campaign("autumn")).await;
    let (vault, ledger) = own_role(&world);
    let refused = |url: &str, statement: &str| psql(url, &[statement.to_owned()]).unwrap_err().to_string();
    assert!(refused(&vault, "SELECT 1").contains("permission denied for database"));
    for statement in [
        "SELECT count(*) FROM event",
        "SELECT count(*) FROM filed",
        "SELECT count(*) FROM subject",
        "SELECT definition FROM campaign",
        "DELETE FROM event",
        "UPDATE event SET class = 'human'",
        "UPDATE campaign SET state = 'closed'",
        "INSERT INTO withdrawal (pseudonym, at) VALUES ('x', 1)",
        "CREATE TABLE mine (a INTEGER)",
    ] {
        assert!(refused(&ledger, statement).contains("permission denied"), "{statement}");
    }
    assert_eq!(psql(&ledger, &["SELECT count(*) FROM campaign WHERE number > 0".to_owned()]).unwrap(), "1");

    let folder = tempfile::tempdir().unwrap();
    let settings = [("LETTERLAB_DATABASE__VAULT", vault.as_str()), ("LETTERLAB_DATABASE__LEDGER", ledger.as_str())];
    let node = Node::start(&world, folder.path(), &settings);
    let letter = world.letter_to("p1@example.org");
    assert!(node.get(&format!("/o/{}.gif", letter.pixel().unwrap())).await.starts_with("HTTP/1.1 200 OK"));
    assert!(node.get("/o/forged.gif").await.starts_with("HTTP/1.1 200 OK"));
    node.stop();
    assert_eq!((counted(&world, Counter::StoredHits), counted(&world, Counter::RefusedHits)), (1, 1));

    // Started again while the database is away, it works from its snapshot; what it took is loaded when the database is back.
    world.let_databases_connect(false);
    let node = Node::start(&world, folder.path(), &settings);
    let onward = node.get(&format!("/c/{}", letter.links()[0])).await;
    assert!(onward.contains("location: https://shop.example/first"), "{onward}");
    world.let_databases_connect(true);
    world.restart();
    node.stop();
    assert_eq!(counted(&world, Counter::StoredHits), 2);
    world.tidy();
}

/// Notes by which statements events are stored, as the ledger's owner.
const WATCH: &str = "CREATE TABLE stored_by (nr serial, statement text); \
     CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
     $$ BEGIN INSERT INTO stored_by (statement) VALUES (upper(split_part(current_query(), ' ', 1))); RETURN NULL; END $$; \
     CREATE TRIGGER noting AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION note_statement()";

#[tokio::test(flavor = "multi_thread")]
async fn under_a_tracking_nodes_own_role_hundreds_of_hits_at_once_are_stored_once_however_often_they_come() {
    let world = World::with_campaign_sent(Engine::Postgres, &people(20), &campaign("autumn")).await;
    let (vault, ledger) = own_role(&world);
    world.tidy();
    world.sql(Room::Ledger, WATCH);
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(world.folder().join("keys.toml"), folder.path().join("keys.toml")).unwrap();
    let settings = [("LETTERLAB_DATABASE__VAULT", vault.as_str()), ("LETTERLAB_DATABASE__LEDGER", ledger.as_str())];
    let (outpost, writers) = open(&world, folder.path(), &settings).unwrap();
    let tracker = outpost.tracker.clone();

    let admitted = |kind, token: &str| match admit(&tracker, kind, token, get(FIREFOX), world.now(), EventId::from_bytes(fresh())) {
        Admission::Recorded(_, hit) => *hit,
        other => panic!("{other:?}"),
    };
    let of = |person: usize| {
        let letter = world.letter_to(&format!("p{person}@example.org"));
        let (pixel, link) = (letter.pixel().unwrap(), letter.links()[0].clone());
        (0..18).flat_map(move |_| [(HitKind::Open, pixel.clone()), (HitKind::Click, link.clone())])
    };
    let hits: Vec<Event> = (0..20).flat_map(of).map(|(kind, token)| admitted(kind, &token)).collect();
    let (first, late) = hits.split_at(650);
    // In one batch: nobody loads before all of them are on the disk.
    let load = |hits: &[&[Event]]| {
        for hit in hits.iter().copied().flatten() {
            tracker.intake.submit(hit).unwrap();
        }
        tracker.intake.settle(std::time::Duration::from_secs(60));
        tracker.loader.load().unwrap()
    };
    let in_ledger = || world.ask_postgresql(Room::Ledger, "SELECT count(*), count(DISTINCT id) FROM event WHERE kind IN ('open', 'click')");
    let stored_by = || world.ask_postgresql(Room::Ledger, "SELECT string_agg(statement, ' ' ORDER BY nr) FROM stored_by");
    assert_eq!((load(&[first]), in_ledger(), stored_by()), (650, "650|650".to_owned(), "COPY".to_owned()));
    assert_eq!((load(&[first]), in_ledger(), stored_by()), (0, "650|650".to_owned(), "COPY INSERT".to_owned()), "the same again");
    let mixed = load(&[first, late, late]);
    assert_eq!((mixed, in_ledger(), stored_by()), (70, "720|720".to_owned(), "COPY INSERT INSERT".to_owned()), "known and new ones");
    drop((tracker, outpost));
    writers.join();
    assert_eq!(counted(&world, Counter::StoredHits), 720);
    // The world checks, as it ends, that every hit is counted for the recipient it belongs to.
    world.tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracking_node_without_the_keys_does_not_start_and_makes_none() {
    let world = World::with_campaign_sent(Engine::Sqlite, &people(2), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let Err(error) = open(&world, folder.path(), &[]) else { panic!("it starts") };
    assert!(error.to_string().contains("keys.toml") && error.to_string().contains("copy it"), "{error:#}");
    assert!(!folder.path().join("keys.toml").exists());
    world.tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_knows_its_roles() {
    let run = |roles: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_letterlab"));
        command.args(["serve", "--roles", roles]).current_dir(folder.path()).env("LETTERLAB_WEB__LISTEN", "127.0.0.1:0");
        let ended = command.stdin(Stdio::null()).output().unwrap();
        (String::from_utf8_lossy(&ended.stderr).into_owned(), folder)
    };
    assert!(run("tracks").0.contains("track, web, send, bounce"));
    let (error, folder) = run("track");
    assert!(error.contains("keys.toml"), "{error}");
    assert!(!folder.path().join("letterlab-data/vault.db").exists());
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// A connection over TLS that trusts both certificates of the tests.
async fn secure(address: SocketAddr, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    for name in ["one.pem", "two.pem"] {
        roots.add(CertificateDer::from_pem_file(fixture(name)).unwrap()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), TcpStream::connect(address).await.unwrap()).await.unwrap()
}

fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_answers_over_both_versions_of_http_and_takes_a_new_certificate_while_running() {
    let world = World::with_campaign_sent(Engine::Sqlite, &people(4), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::copy(fixture("one.pem"), &chain).unwrap();
    std::fs::copy(fixture("one.key"), &key).unwrap();
    let settings = [("LETTERLAB_WEB__TLS_CERTIFICATE", chain.to_str().unwrap()), ("LETTERLAB_WEB__TLS_KEY", key.to_str().unwrap())];
    let node = Node::start(&world, folder.path(), &settings);
    let letter = world.letter_to("p1@example.org");
    let (pixel, link) = (format!("/o/{}.gif", letter.pixel().unwrap()), format!("/c/{}", letter.links()[0]));

    let mut stream = secure(node.address, b"http/1.1").await;
    for _ in 0..2 {
        let answer = exchange(&mut stream, &request(&pixel)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("GIF89a"), "{answer}");
    }
    // The same connection goes on to the application.
    let page = exchange(&mut stream, &request("/privacy")).await;
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("how to block it"), "{page}");
    let nowhere = exchange(&mut stream, &request("/c/forged")).await;
    assert!(nowhere.starts_with("HTTP/1.1 404 Not Found") && nowhere.contains("This link leads nowhere"), "{nowhere}");

    let (mut client, connection) = h2::client::handshake(secure(node.address, b"h2").await).await.unwrap();
    let connection = tokio::spawn(connection);
    for (path, status) in [(&pixel, 200), (&link, 302), (&"/c/forged".to_owned(), 404), (&"/robots.txt".to_owned(), 200)] {
        let mut asked = over_http_2(path);
        asked.headers_mut().insert("user-agent", FIREFOX.parse().unwrap());
        let (answer, _) = client.send_request(asked, true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        if status == 404 {
            let page = answer.into_body().data().await.unwrap().unwrap();
            assert!(page.starts_with(b"<!doctype html>") && page.ends_with(b"</html>\n"), "{page:?}");
        }
    }
    drop(client);
    connection.abort();

    let before = certificate(&stream);
    std::fs::copy(fixture("two.pem"), &chain).unwrap();
    std::fs::copy(fixture("two.key"), &key).unwrap();
    let address = node.address;
    let handle = tokio::runtime::Handle::current();
    wait_until("a new certificate in use", || {
        let now = tokio::task::block_in_place(|| handle.block_on(async { certificate(&secure(address, b"http/1.1").await) }));
        Ok((now != before).then_some(()))
    })
    .await
    .unwrap();
    // A connection of before goes on.
    assert!(exchange(&mut stream, &request("/robots.txt")).await.starts_with("HTTP/1.1 200"));
    drop(stream);
    node.stop();
    assert_eq!(counted(&world, Counter::StoredHits), 4);
    world.tidy();
}

/// Puts a certificate and its key in the place of others so that only who reads them can tell: same files, sizes and times.
fn exchange_unseen(chain: &Path, key: &Path, name: &str) {
    for (path, ending) in [(chain, "pem"), (key, "key")] {
        let content = std::fs::read(fixture(&format!("{name}.{ending}"))).unwrap();
        let before = std::fs::metadata(path).unwrap();
        assert_eq!(before.len(), content.len() as u64);
        let mut file = std::fs::File::options().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, &content).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sighup_the_certificate_is_read_again_and_nothing_ends() {
    use rustix::process::Signal;
    let world = World::with_campaign_sent(Engine::Sqlite, &people(4), &campaign("autumn")).await;
    let (chain, key) = (world.folder().join("chain.pem"), world.folder().join("key.pem"));
    std::fs::copy(fixture("one.pem"), &chain).unwrap();
    std::fs::copy(fixture("one.key"), &key).unwrap();
    let settings = [("LETTERLAB_WEB__TLS_CERTIFICATE", chain.to_str().unwrap()), ("LETTERLAB_WEB__TLS_KEY", key.to_str().unwrap())];
    let mut server = Server::start_with(&world, &["--roles", "track"], &settings);
    let letter = world.letter_to("p1@example.org");
    let (pixel, link) = (format!("/o/{}.gif", letter.pixel().unwrap()), format!("/c/{}", letter.links()[0]));
    let mut stream = secure(server.address, b"http/1.1").await;
    assert!(exchange(&mut stream, &request(&pixel)).await.starts_with("HTTP/1.1 200 OK"));
    let before = certificate(&stream);

    exchange_unseen(&chain, &key, "two");
    let (address, handle) = (server.address, tokio::runtime::Handle::current());
    let now = || tokio::task::block_in_place(|| handle.block_on(async { certificate(&secure(address, b"http/1.1").await) }));
    assert_eq!(now(), before, "nobody said so, and nothing shows it");
    server.signal(Signal::HUP);
    let after = wait_until("the new certificate in use", || Ok(Some(now()).filter(|now| *now != before))).await.unwrap();
    assert!(exchange(&mut stream, &request(&link)).await.starts_with("HTTP/1.1 302"), "a connection of before goes on");

    // A key that is not the certificate's: told, and not taken. The next good one is.
    let broken = std::fs::read(fixture("one.key")).unwrap();
    std::fs::write(&key, broken).unwrap();
    server.signal(Signal::HUP);
    let told = || std::fs::read_to_string(world.folder().join("serve.log")).unwrap();
    wait_until("a word on the broken one", || Ok(told().contains("the one before stays in use").then_some(()))).await.unwrap();
    assert_eq!(now(), after);
    exchange_unseen(&chain, &key, "one");
    server.signal(Signal::HUP);
    wait_until("the first certificate again", || Ok((now() == before).then_some(()))).await.unwrap();
    assert!(exchange(&mut stream, &request(&link)).await.starts_with("HTTP/1.1 302"), "and on");
    drop(stream);
    server.signal(Signal::TERM);
    assert!(server.ended(), "{}", told());
    world.load();
    assert_eq!(counted(&world, Counter::StoredHits), 3);
    world.tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_ends_no_service_that_has_just_begun_to_listen() {
    use rustix::process::Signal;
    let world = World::new(Engine::Sqlite).await;
    for roles in ["track", "track,web,send,bounce"].repeat(5) {
        let mut server = Server::start_with(&world, &["--roles", roles], &[]);
        server.signal(Signal::HUP);
        let answer = exchange(&mut TcpStream::connect(server.address).await.unwrap(), &request("/robots.txt")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{roles}: {answer}");
        server.signal(Signal::TERM);
        assert!(server.ended(), "{roles}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_every_role_takes_up_the_key_of_the_command_and_sighup_does_not_end_it() {
    use rustix::process::Signal;
    let world = World::with_campaign_sent(Engine::Sqlite, &people(4), &campaign("autumn")).await;
    let mut server = Server::start(&world);
    let path = world.folder().join("keys.toml");
    let rotated = Command::new(env!("CARGO_BIN_EXE_letterlab"))
        .args(["--config", "letterlab.toml", "keys", "rotate"])
        .current_dir(world.folder())
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    server.signal(Signal::HUP);
    let old = world.letter_to("p1@example.org").links()[0].clone();
    let payload = world.lab.keys.open(letterlab::token::Kind::Click, &old).unwrap();
    let newest = keyfile::ring(&path, jiff::Timestamp::MAX).unwrap().current;
    assert_eq!(newest.0, 2);
    let new = letterlab::token::Keys::new(newest, Vec::new()).seal(&payload);
    let (address, handle) = (server.address, tokio::runtime::Handle::current());
    let ask = |token: &str| {
        let request = request(&format!("/c/{token}"));
        let asked = async { exchange(&mut TcpStream::connect(address).await.unwrap(), &request).await };
        tokio::task::block_in_place(|| handle.block_on(asked))
    };
    wait_until("the new key known", || Ok(ask(&new).starts_with("HTTP/1.1 302").then_some(()))).await.unwrap();
    assert!(ask(&old).starts_with("HTTP/1.1 302"));
    let log = || std::fs::read_to_string(world.folder().join("serve.log")).unwrap();
    wait_until("the new key to sign in its time", || Ok(log().contains("key=2").then_some(()))).await.unwrap();
    server.signal(Signal::TERM);
    assert!(server.ended(), "{}", log());
    assert_eq!(counted(&world, Counter::StoredHits), 2);
    world.tidy();
}

fn over_http_2(path: &str) -> http::Request<()> {
    http::Request::builder().uri(format!("https://localhost{path}")).body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_says_whose_connection_it_is_nobody_else_is_heard() {
    let world = World::with_campaign_sent(Engine::Sqlite, &people(2), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&world, folder.path(), &[("LETTERLAB_WEB__PROXY_PROTOCOL", "true")]);
    let pixel = format!("/o/{}.gif", world.letter_to("p1@example.org").pixel().unwrap());
    let line = "PROXY TCP4 198.51.100.9 127.0.0.1 4711 80\r\n";
    assert!(exchange(&mut node.connect().await, &format!("{line}{}", request(&pixel))).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(&mut node.connect().await, &format!("{line}{}", request("/robots.txt"))).await.starts_with("HTTP/1.1 200"));
    assert_eq!(exchange(&mut node.connect().await, &request(&pixel)).await, "", "without the line the connection is closed");
    node.stop();
    assert_eq!(counted(&world, Counter::StoredHits), 1);
    world.tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_tokens_loudly_is_turned_away_and_genuine_ones_still_work() {
    let world = World::with_campaign_sent(Engine::Sqlite, &people(2), &campaign("autumn")).await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&world, folder.path(), &[]);
    let mut stream = node.connect().await;
    let (mut guesses, mut turned_away) = (0, String::new());
    while guesses < 1_000 && turned_away.is_empty() {
        let answer = exchange(&mut stream, &request("/c/forged")).await;
        guesses += 1;
        if !answer.starts_with("HTTP/1.1 404") {
            turned_away = answer;
        }
    }
    assert_eq!(guesses, 301);
    assert!(turned_away.starts_with("HTTP/1.1 429") && turned_away.contains("connection: close"), "{turned_away}");
    let pixel = world.letter_to("p1@example.org").pixel().unwrap();
    assert!(node.get(&format!("/o/{pixel}.gif")).await.contains("GIF89a"), "somebody else behind the same address");
    assert!(node.get("/o/forged.gif").await.starts_with("HTTP/1.1 429"));
    node.stop();
    assert_eq!((counted(&world, Counter::StoredHits), counted(&world, Counter::RefusedHits)), (1, 302));
    world.tidy();
}
