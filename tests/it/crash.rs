//! Purpose: no acknowledged hit is ever lost, and links always lead where they should: the real binary, killed under load, with its database
//! there or away, and with a full disk.
//!
//! Cast: [`Server`] (the binary, killed when dropped), [`Readers`] (connections that ask until the server is gone, and what they were told),
//! [`Away`] (databases that cannot be used for a while), [`SmallDisk`] (a disk that can be filled).
//!
//! Never: sleeps instead of looking, or counts in sum only: each recipient's hits are compared with what was acknowledged to that recipient.
//!
//! `tests/crash/hits.sh` runs the same story for a hundred rounds.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use letterlab::ids::Pseudonym;
use letterlab::ledger::event::{EventKind, Whose};
use letterlab::ledger::store as events;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};

use crate::installation::wait_until;
use crate::world::{Engine, World, campaign, on_both_engines, people};

on_both_engines!(
    no_acknowledged_hit_is_lost_when_the_server_is_killed_under_load,
    a_full_disk_loses_no_acknowledged_hit_and_keeps_nobody_waiting,
);

const DEADLINE: Duration = Duration::from_secs(60);
const PEOPLE: usize = 40;
const READERS: usize = 4;
const METRICS: &str = "0123456789abcdef-metrics";

/// How often the server is killed.
fn rounds() -> usize {
    std::env::var("LETTERLAB_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// What decides the moments of killing.
fn seed() -> u64 {
    std::env::var("LETTERLAB_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// The real binary; SIGKILL when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(world: &World) -> Self {
        Self::start_with(world, &[], &[])
    }

    /// With more arguments and settings; answers once it listens.
    pub fn start_with(world: &World, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = std::fs::File::options().create(true).append(true).open(world.folder().join("serve.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_letterlab"))
            .args(["--config", "letterlab.toml", "serve"])
            .args(arguments)
            .current_dir(world.folder())
            .env("LETTERLAB_WEB__LISTEN", address.to_string())
            .envs(settings.iter().copied())
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

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended by itself; answers whether it was content.
    pub fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// One of its live numbers.
    fn number(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {METRICS}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
    }
}

impl Drop for Server {
    /// SIGKILL: nothing is tidied up.
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Databases that cannot be used: on PostgreSQL nobody may connect, on SQLite nobody can write the ledger. Back when dropped.
enum Away<'a> {
    Refusing(&'a World),
    Locked { _holds: diesel::SqliteConnection },
}

impl<'a> Away<'a> {
    fn take(world: &'a World, engine: Engine) -> Self {
        match engine {
            Engine::Postgres => {
                world.let_databases_connect(false);
                Self::Refusing(world)
            }
            Engine::Sqlite => {
                let mut connection = diesel::SqliteConnection::establish(&world.folder().join("ledger.db").to_string_lossy()).unwrap();
                connection.batch_execute("PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE").unwrap();
                Self::Locked { _holds: connection }
            }
        }
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if let Self::Refusing(world) = self {
            world.let_databases_connect(true);
        }
    }
}

/// A disk of a few megabytes, in memory; gone when dropped.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Needs root, as Postfix and Dovecot do.
    fn mount(place: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place).output().unwrap();
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(
            mounted.status.success(),
            "PRECONDITION NOT MET, nothing was tested: the story of the full disk mounts a small tmpfs, which takes root and a machine or \
             container where mounting is permitted (CAP_SYS_ADMIN). mount said: {said}"
        );
        Self { place: place.to_owned() }
    }

    /// To the last byte.
    fn fill(&self) {
        let mut filler = std::fs::File::options().create(true).append(true).open(self.place.join("filler")).unwrap();
        for size in [65_536, 4096, 1] {
            let zeros = vec![0; size];
            let refused = loop {
                if let Err(error) = filler.write_all(&zeros) {
                    break error;
                }
            };
            assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.place.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there keeps it until it is closed.
        let ended = Command::new("umount").arg("--lazy").arg(&self.place).status();
        if !ended.is_ok_and(|ended| ended.success()) {
            eprintln!("a small disk is left behind: umount {}", self.place.display());
        }
    }
}

/// What one recipient's pixel and link were asked for and answered.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    asked: usize,
    acknowledged: usize,
    asked_onward: usize,
}

#[derive(Default)]
struct Readers {
    told: Mutex<BTreeMap<usize, Told>>,
    onward: AtomicUsize,
    wrong: AtomicUsize,
    acknowledged: AtomicUsize,
    /// Set to let them end after the request they are at.
    enough: AtomicBool,
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
    /// Asks for pixels and links until the connection breaks, or it is enough.
    fn read(&self, address: SocketAddr, first: usize, letters: &Letters) {
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        for person in (0..letters.pixels.len()).cycle().skip(first) {
            if self.enough.load(Ordering::SeqCst) {
                return;
            }
            self.told.lock().unwrap().entry(person).or_default().asked += 1;
            let Some(head) = ask(&mut stream, &format!("/o/{}.gif", letters.pixels[person])) else { return };
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            self.told.lock().unwrap().entry(person).or_default().acknowledged += 1;
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            self.told.lock().unwrap().entry(person).or_default().asked_onward += 1;
            let Some(head) = ask(&mut stream, &format!("/c/{}", letters.links[person])) else { return };
            let right = head.starts_with("HTTP/1.1 302") && head.contains("location: https://shop.example/first?a=1&b=2\r\n");
            let right = right || head.ends_with("location: https://shop.example/first?a=1&b=2");
            self.wrong.fetch_add(usize::from(!right), Ordering::SeqCst);
            self.onward.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn answered(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Reads on several connections while `meanwhile` lasts, which decides when the server goes or that it is enough.
    fn while_reading(&self, address: SocketAddr, letters: &Letters, meanwhile: impl FnOnce()) {
        self.enough.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                scope.spawn(move || self.read(address, reader * 7, letters));
            }
            meanwhile();
        });
    }

    /// Waits, under load, until a moment at which everything answered so far is on the disk.
    fn wait_for_the_disk(server: &Server) {
        let began = Instant::now();
        while server.number("letterlab_spool_works") != 1.0 || server.number("letterlab_hits_waiting") != 0.0 {
            assert!(began.elapsed() < DEADLINE, "hits are written as soon as there is room");
            std::thread::yield_now();
        }
    }

    /// Waits until so many more are answered.
    fn wait_for(&self, more: usize) {
        let (began, until) = (Instant::now(), self.answered() + more);
        while self.answered() < until {
            assert!(began.elapsed() < DEADLINE, "hits are acknowledged, whether the database is there or not");
            std::thread::yield_now();
        }
    }

    /// Compares what was told with what is stored, recipient by recipient.
    fn compare(&self, world: &World, letters: &Letters, what: &str) {
        let mut stored: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let mut cursor = 0;
        loop {
            let (some, last) = world.lab.ledger.read(|conn| events::events_after(conn, cursor, 5000)).unwrap();
            if some.is_empty() {
                break;
            }
            cursor = last;
            for event in some.iter().filter(|event| event.hit.is_some()) {
                let Whose::Recipient(pseudonym) = event.whose else { panic!("nobody is aggregated here") };
                let person = letters.pseudonyms.iter().position(|known| *known == pseudonym).unwrap();
                *stored.entry((person, event.kind.as_str())).or_default() += 1;
            }
        }
        let (mut asked, mut rows, mut missing, mut beyond) = (0, 0, 0, 0);
        for (person, told) in self.told.lock().unwrap().iter() {
            let opens = stored.remove(&(*person, EventKind::Open.as_str())).unwrap_or_default();
            let clicks = stored.remove(&(*person, EventKind::Click.as_str())).unwrap_or_default();
            (asked, rows) = (asked + told.asked, rows + opens);
            missing += told.acknowledged.saturating_sub(opens);
            beyond += opens.saturating_sub(told.asked) + clicks.saturating_sub(told.asked_onward);
        }
        let (wrong, acknowledged) = (self.wrong.load(Ordering::SeqCst), self.answered());
        println!(
            "{what}: {asked} pixels asked for, {acknowledged} acknowledged, {rows} rows; acknowledged without a row {missing}, rows beyond \
             what was asked for {beyond}; {} redirects, {wrong} to a wrong place",
            self.onward.load(Ordering::SeqCst)
        );
        assert_eq!((missing, beyond, wrong, stored.len()), (0, 0, 0, 0), "{what}");
        assert!(acknowledged > 100 && self.onward.load(Ordering::SeqCst) > 100, "{what}: there was load");
    }
}

/// What readers have in their hands.
struct Letters {
    pixels: Vec<String>,
    links: Vec<String>,
    pseudonyms: Vec<Pseudonym>,
}

impl Letters {
    fn of(world: &World) -> Self {
        let letters: Vec<_> = (0..PEOPLE).map(|person| world.letter_to(&format!("p{person}@example.org"))).collect();
        Self {
            pixels: letters.iter().map(|letter| letter.pixel().unwrap()).collect(),
            links: letters.iter().map(|letter| letter.links()[0].clone()).collect(),
            pseudonyms: letters.iter().map(|letter| world.pseudonym_of(letter)).collect(),
        }
    }
}

async fn no_acknowledged_hit_is_lost_when_the_server_is_killed_under_load(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(PEOPLE), &campaign("autumn")).await;
    let letters = Letters::of(&world);
    let readers = Readers::default();
    let mut chance = ChaCha12Rng::seed_from_u64(seed());
    let mut outages = 0;
    for round in 0..rounds() {
        // Every other round begins with the database away; in half of them it comes back under load, in the others after the kill.
        let mut away = (round % 2 == 1).then(|| Away::take(&world, engine));
        outages += usize::from(away.is_some());
        let server = Server::start(&world);
        let (hits, moments) = (chance.random_range(1..300), chance.random_range(0..200_000));
        readers.while_reading(server.address, &letters, || {
            readers.wait_for(hits);
            if round % 4 == 1 {
                drop(away.take());
                readers.wait_for(hits / 2 + 1);
            }
            // Anywhere between the arrival of one hit and the flush of the next.
            for _ in 0..moments {
                std::hint::spin_loop();
            }
            drop(server);
        });
    }
    world.restart();
    world.load();
    let what = format!("{} kills on {engine:?}, {outages} with the database away, seed {}", rounds(), seed());
    readers.compare(&world, &letters, &what);
    assert_eq!(world.status().hits_waiting, 0);
    assert_eq!(world.status().spool_set_aside, 0);
}

async fn a_full_disk_loses_no_acknowledged_hit_and_keeps_nobody_waiting(engine: Engine) {
    let mut world = World::with_campaign_sent(engine, &people(PEOPLE), &campaign("autumn")).await;
    let letters = Letters::of(&world);
    let disk = SmallDisk::mount(&world.folder().join("spool"), 20);
    let readers = Readers::default();
    let settings = [("LETTERLAB_WEB__METRICS_TOKEN", METRICS)];
    let start = || Server::start_with(&world, &[], &settings);

    // The disk fills up while hits come in: what is acknowledged is in space that was taken before. Then the server is killed.
    let server = start();
    readers.while_reading(server.address, &letters, || {
        readers.wait_for(50);
        Readers::wait_for_the_disk(&server);
        disk.fill();
        readers.wait_for(100);
        drop(server);
    });

    // Started with the disk full and the database away, which nothing can be loaded into to make room: hits wait in memory, are answered
    // all the same, and are shown. Somebody makes room; then they are on the disk, whatever happens.
    let away = Away::take(&world, engine);
    disk.fill();
    let server = start();
    readers.while_reading(server.address, &letters, || {
        readers.wait_for(150);
        readers.enough.store(true, Ordering::SeqCst);
    });
    assert_eq!((server.number("letterlab_spool_works"), server.number("letterlab_hits_shed_total")), (0.0, 0.0));
    assert!(server.number("letterlab_hits_waiting") >= 250.0, "pixels and links");
    disk.make_room();
    let settled = || Ok((server.number("letterlab_hits_waiting") == 0.0 && server.number("letterlab_spool_works") == 1.0).then_some(()));
    wait_until("hits on the disk again", settled).await.unwrap();
    drop(server);
    drop(away);

    // The database is back and what waited is loaded, which makes room; full once more, and to the end.
    let server = start();
    readers.while_reading(server.address, &letters, || {
        readers.wait_for(50);
        Readers::wait_for_the_disk(&server);
        disk.fill();
        readers.wait_for(100);
        drop(server);
    });
    world.restart();
    world.load();
    readers.compare(&world, &letters, &format!("a disk full three times on {engine:?}"));
    assert_eq!((world.status().hits_waiting, world.status().spool_set_aside), (0, 0));
    drop(world);
    drop(disk);
}
