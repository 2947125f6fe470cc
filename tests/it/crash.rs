//! Purpose: no acknowledged hit is ever lost, and links always lead where they should: the real binary, killed under load, with its database
//! there or away.
//!
//! Cast: [`Server`] (the binary, killed when dropped), [`Readers`] (connections that ask until the server is gone, and what they were told).
//!
//! Never: sleeps instead of looking, or counts in sum only: each recipient's hits are compared with what was acknowledged to that recipient.
//!
//! `tests/crash/hits.sh` runs the same story for a hundred rounds.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use letterlab::ids::Pseudonym;
use letterlab::ledger::event::{EventKind, Whose};
use letterlab::ledger::store as events;

use crate::world::{Engine, World, campaign, on_both_engines, people};

on_both_engines!(no_acknowledged_hit_is_lost_when_the_server_is_killed_under_load);

const DEADLINE: Duration = Duration::from_secs(60);
const PEOPLE: usize = 40;
const READERS: usize = 4;

/// How often the server is killed.
fn rounds() -> usize {
    std::env::var("LETTERLAB_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(world: &World) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = std::fs::File::options().create(true).append(true).open(world.folder().join("serve.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_letterlab"))
            .args(["--config", "letterlab.toml", "serve"])
            .current_dir(world.folder())
            .env("LETTERLAB_WEB__LISTEN", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let log = || std::fs::read_to_string(world.folder().join("serve.log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "the server ended: {}", log());
            assert!(began.elapsed() < DEADLINE, "the server does not listen: {}", log());
            std::thread::yield_now();
        }
        Self { child, address }
    }
}

impl Drop for Server {
    /// SIGKILL: nothing is tidied up.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What one recipient's pixel was asked for and answered.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    asked: usize,
    acknowledged: usize,
}

#[derive(Default)]
struct Readers {
    told: Mutex<BTreeMap<usize, Told>>,
    onward: AtomicUsize,
    wrong: AtomicBool,
    acknowledged: AtomicUsize,
}

/// The head and body of one answer; none when the connection broke.
fn ask(stream: &mut TcpStream, path: &str) -> Option<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: news.example.org\r\nUser-Agent: Mozilla/5.0\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut byte = [0; 1024];
    loop {
        let got = stream.read(&mut byte).ok().filter(|got| *got > 0)?;
        answer.extend_from_slice(&byte[..got]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let body = if head.contains("content-length: 43") { 43 } else { 0 };
            let head = head.to_owned();
            let end = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4 + body;
            if answer.len() >= end {
                return Some(head);
            }
        }
    }
}

impl Readers {
    /// Asks for pixels and links until the connection breaks.
    fn read(&self, address: SocketAddr, first: usize, pixels: &[String], links: &[String]) {
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        for person in (0..pixels.len()).cycle().skip(first) {
            self.told.lock().unwrap().entry(person).or_default().asked += 1;
            let Some(head) = ask(&mut stream, &format!("/o/{}.gif", pixels[person])) else { return };
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            self.told.lock().unwrap().entry(person).or_default().acknowledged += 1;
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            let Some(head) = ask(&mut stream, &format!("/c/{}", links[person])) else { return };
            let right = head.starts_with("HTTP/1.1 302") && head.contains("location: https://shop.example/first?a=1&b=2\r\n");
            let right = right || head.ends_with("location: https://shop.example/first?a=1&b=2");
            self.wrong.fetch_or(!right, Ordering::SeqCst);
            self.onward.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn no_acknowledged_hit_is_lost_when_the_server_is_killed_under_load(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(PEOPLE), &campaign("autumn")).await;
    let letters: Vec<_> = (0..PEOPLE).map(|person| world.letter_to(&format!("p{person}@example.org"))).collect();
    let pixels: Vec<String> = letters.iter().map(|letter| letter.pixel().unwrap()).collect();
    let links: Vec<String> = letters.iter().map(|letter| letter.links()[0].clone()).collect();
    let pseudonyms: Vec<Pseudonym> = letters.iter().map(|letter| world.pseudonym_of(letter)).collect();
    let readers = Readers::default();
    for round in 0..rounds() {
        // Every other round begins with the database away; in some of them it comes back under load.
        let away = engine == Engine::Postgres && round % 2 == 1;
        if away {
            world.let_databases_connect(false);
        }
        let server = Server::start(&world);
        let until = readers.acknowledged.load(Ordering::SeqCst) + 60 + round * 37 % 200;
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                let (readers, pixels, links, address) = (&readers, &pixels, &links, server.address);
                scope.spawn(move || readers.read(address, reader * 7, pixels, links));
            }
            let began = Instant::now();
            while readers.acknowledged.load(Ordering::SeqCst) < until {
                assert!(began.elapsed() < DEADLINE, "hits are acknowledged, whether the database is there or not");
                std::thread::yield_now();
            }
            if away && round % 4 == 1 {
                world.let_databases_connect(true);
            }
            drop(server);
        });
        if away && round % 4 != 1 {
            world.let_databases_connect(true);
        }
    }
    assert!(!readers.wrong.load(Ordering::SeqCst), "every link led where it should");
    assert!(readers.onward.load(Ordering::SeqCst) > 100);

    world.restart();
    world.load();
    let mut stored: BTreeMap<usize, usize> = BTreeMap::new();
    let mut cursor = 0;
    loop {
        let (some, last) = world.lab.ledger.read(|conn| events::events_after(conn, cursor, 5000)).unwrap();
        if some.is_empty() {
            break;
        }
        cursor = last;
        for event in some.iter().filter(|event| event.kind == EventKind::Open) {
            let Whose::Recipient(pseudonym) = event.whose else { panic!("nobody is aggregated here") };
            let person = pseudonyms.iter().position(|known| *known == pseudonym).unwrap();
            *stored.entry(person).or_default() += 1;
        }
    }
    for (person, told) in readers.told.lock().unwrap().iter() {
        let rows = stored.get(person).copied().unwrap_or_default();
        assert!(told.acknowledged <= rows && rows <= told.asked, "recipient {person}: {told:?}, {rows} rows");
    }
    assert_eq!(world.status().hits_waiting, 0);
    assert_eq!(world.status().spool_set_aside, 0);
}
