//! The process is killed in the middle of a campaign, again and again: nobody is lost, nobody is mailed twice.
//!
//! Cast: [`Receiver`] (counts every letter it takes, by recipient), [`Relay`] (where it listens, also after a restart), [`Sender`] (the real
//! binary in a folder of its own), [`Crash`] (one campaign with its rounds).
//!
//! Between the kills the relay is restarted, and the database breaks down: PostgreSQL's server ends without a word and recovers, SQLite's
//! file is locked by somebody else for a while. No letter may become unknown by that, nor wait for its lease to end.
//! The moments are counted in letters, not in seconds. `tests/crash/mail.sh` asks for more rounds and more people by two variables.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use letterlab::smtpd::{self, Envelope, Handler, Reply};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::installation::wait_until;
use crate::servers::postgres::{Databases, Server};
use crate::world::{Engine, campaign, people};

/// Letters sent at the same time, and so the most that one kill can leave unknown.
const WORKERS: u64 = 4;
/// No letter for so long: none will come.
const QUIET: Duration = Duration::from_millis(300);
/// How long a round may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Takes letters and counts them; every twentieth person does not exist.
#[derive(Clone)]
struct Receiver {
    taken: Arc<Mutex<HashMap<String, u32>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Handler for Receiver {
    fn recipient(&self, _envelope: &Envelope, recipient: &str) -> Reply {
        let number: Option<u32> = recipient.trim_start_matches('p').split('@').next().and_then(|number| number.parse().ok());
        if number.is_some_and(|number| number % 20 == 7) {
            return Reply::mailbox_unknown();
        }
        Reply::recipient_accepted()
    }

    async fn message(&self, envelope: Envelope, _message: Vec<u8>) -> Reply {
        let count = {
            let mut taken = self.taken.lock().unwrap();
            for recipient in envelope.recipients {
                *taken.entry(recipient).or_default() += 1;
            }
            taken.len()
        };
        self.count.send_replace(count);
        Reply::message_accepted()
    }
}

/// A relay that is ended in the middle of everything, its connections cut off, and started again at the same place.
struct Relay {
    port: u16,
    receiver: Receiver,
    running: JoinHandle<()>,
}

impl Relay {
    async fn start(receiver: Receiver) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let running = Self::listen(listener, &receiver);
        Ok(Self { port, receiver, running })
    }

    fn listen(listener: TcpListener, receiver: &Receiver) -> JoinHandle<()> {
        tokio::spawn(smtpd::serve(listener, smtpd::Settings::new("mx.example.org"), receiver.clone(), std::future::pending()))
    }

    async fn restart(&mut self) -> Result<()> {
        self.running.abort();
        let _ = (&mut self.running).await;
        // Somebody's outgoing connection may have been given this very port meanwhile: it is had back when that ends.
        let port = self.port;
        let bind = || match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
            bound => Ok(Some(bound?)),
        };
        let listener = wait_until("the relay's port free again", bind).await?;
        listener.set_nonblocking(true)?;
        self.running = Self::listen(TcpListener::from_std(listener)?, &self.receiver);
        Ok(())
    }
}

/// A process of the installation, in a folder of its own.
struct Sender {
    folder: TempDir,
    child: Option<Child>,
}

impl Sender {
    fn new(vault: &str, ledger: &str, relay: u16, keys: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        if let Some(keys) = keys {
            std::fs::copy(keys, folder.path().join("keys.toml"))?;
        }
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let settings = format!(
            "[web]\nlisten = \"127.0.0.1:0\"\n[database]\nvault = \"{vault}\"\nledger = \"{ledger}\"\n[files]\nkeys = \"{}\"\n\
             returned_mail = \"{}\"\n[delivery]\nworkers = {WORKERS}\nbatch = 25\n[relay]\nport = {relay}\n[log]\nfilter = \"warn\"\n",
            inside("keys.toml"),
            inside("returned"),
        );
        std::fs::write(folder.path().join("letterlab.toml"), settings)?;
        Ok(Self { folder, child: None })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_letterlab"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        if !output.status.success() {
            bail!("{arguments:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn serve(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        self.child = Some(self.command(&["serve"]).stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    /// kill -9: nothing is finished, nothing is said.
    fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it serves")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and whatever it still does.
    fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it serves")?;
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        let status = child.wait()?;
        if !status.success() {
            bail!("{status}: {}", std::fs::read_to_string(self.folder.path().join("log"))?);
        }
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    Terminate,
}

/// The figures at the end.
#[derive(Debug)]
struct Figures {
    enrolled: u64,
    accepted: u64,
    refused: u64,
    unknown: u64,
    received: u64,
    duplicates: u64,
}

struct Crash {
    relay: Relay,
    count: watch::Receiver<usize>,
    senders: Vec<Sender>,
    people: usize,
    database: Database,
}

/// Where people and letters are kept. The pair goes before its server.
enum Database {
    Sqlite(TempDir),
    Postgres(Databases, Server),
}

impl Database {
    fn create(engine: Engine) -> Result<Self> {
        if engine == Engine::Sqlite {
            return Ok(Self::Sqlite(tempfile::tempdir()?));
        }
        let server = Server::start()?;
        Ok(Self::Postgres(Databases::create_on(server.admin_url())?, server))
    }

    fn vault_and_ledger(&self) -> Result<(String, String)> {
        match self {
            Self::Postgres(pair, _) => Ok((pair.vault_url()?, pair.ledger_url()?)),
            Self::Sqlite(folder) => {
                let inside = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
                Ok((inside("vault.db"), inside("ledger.db")))
            }
        }
    }

    async fn break_down(&mut self, mut letters: watch::Receiver<usize>) -> Result<()> {
        match self {
            Self::Postgres(_, server) => tokio::task::block_in_place(|| server.break_down_and_recover()),
            Self::Sqlite(folder) => {
                let mut vault = diesel::SqliteConnection::establish(&folder.path().join("vault.db").to_string_lossy())?;
                vault.batch_execute("PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE")?;
                // Until it is felt: nothing leaves any more.
                while tokio::time::timeout(QUIET, letters.changed()).await.is_ok() {}
                Ok(vault.batch_execute("ROLLBACK")?)
            }
        }
    }
}

impl Crash {
    async fn begin(engine: Engine, senders: usize, count: usize) -> Result<Self> {
        let database = Database::create(engine)?;
        let (vault, ledger) = database.vault_and_ledger()?;
        let (counting, counted) = watch::channel(0);
        let relay = Relay::start(Receiver { taken: Arc::default(), count: Arc::new(counting) }).await?;

        let first = Sender::new(&vault, &ledger, relay.port, None)?;
        std::fs::write(first.folder.path().join("people.csv"), people(count))?;
        std::fs::write(first.folder.path().join("campaign.toml"), campaign("crash"))?;
        first.run(&["import", "people.csv", "--list", "customers"])?;
        first.run(&["campaign", "create", "campaign.toml"])?;
        first.run(&["campaign", "launch", "crash"])?;
        let keys = first.folder.path().join("keys.toml");
        let mut all = vec![first];
        for _ in 1..senders {
            all.push(Sender::new(&vault, &ledger, relay.port, Some(&keys))?);
        }
        Ok(Self { relay, count: counted, senders: all, people: count, database })
    }

    /// Waits until so many more letters arrived; answers whether most are still to come.
    async fn more(&mut self, letters: usize) -> Result<bool> {
        // Not the last ones: letters whose fate is unknown may be missing for good.
        let most = self.people * 8 / 10;
        let wanted = (*self.count.borrow() + letters).min(most);
        let arrived = tokio::time::timeout(DEADLINE, self.count.wait_for(|count| *count >= wanted)).await;
        Ok(*arrived.context("no letters arrive any more")?? < most)
    }

    /// Lets something else break down while letters leave: now and then the relay, where one service sends, and now and then the
    /// database. Answers whether connections to the relay were cut off.
    async fn trouble(&mut self, round: usize) -> Result<bool> {
        match round % 5 {
            1 if self.senders.len() == 1 => {
                self.relay.restart().await?;
                Ok(true)
            }
            3 => {
                self.database.break_down(self.count.clone()).await?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Starts the first sender and ends it, over and over, at moments that differ from round to round. Answers how often connections to
    /// one service to the relay ended without a word.
    async fn rounds(&mut self, rounds: usize, end: End) -> Result<u64> {
        let step = (self.people / (rounds + 2)).max(2);
        let mut ended = 0;
        for round in 0..rounds {
            self.senders[0].serve()?;
            let letters = step / 2 + (round * 7919) % step;
            let goes_on = self.more((letters / 2).max(1)).await?;
            if self.trouble(round).await? {
                ended += self.senders.len() as u64;
            }
            let goes_on = goes_on && self.more((letters / 2).max(1)).await?;
            match end {
                End::Kill => {
                    self.senders[0].kill()?;
                    ended += 1;
                }
                End::Terminate => self.senders[0].stop()?,
            }
            if !goes_on {
                break;
            }
        }
        Ok(ended)
    }

    /// Lets the rest leave, and counts.
    async fn finish(&mut self) -> Result<Figures> {
        self.senders[0].serve()?;
        let show = |sender: &Sender| -> Result<Value> { Ok(serde_json::from_str(&sender.run(&["campaign", "show", "crash", "--json"])?)?) };
        let sender = &self.senders[0];
        let finished = || {
            let mailings = show(sender)?["progress"]["mailings"].clone();
            let open = ["planned", "queued", "in_hand"].iter().filter_map(|state| mailings[state].as_u64()).sum::<u64>();
            Ok((open == 0).then_some(mailings))
        };
        // A letter that the relay turned away while it was stopping is tried again after a minute.
        let mailings = match wait_until("the end of sending", finished).await {
            Ok(mailings) => mailings,
            Err(_) => wait_until("the end of sending, waited for once more,", finished).await?,
        };
        for sender in self.senders.iter_mut().filter(|sender| sender.child.is_some()) {
            sender.stop()?;
        }
        let status = self.senders[0].run(&["status"])?;
        if status.contains("BROKEN") {
            bail!("{status}");
        }
        let taken = self.relay.receiver.taken.lock().unwrap();
        let number = |state: &str| mailings[state].as_u64().unwrap_or_default();
        Ok(Figures {
            enrolled: number("enrolled"),
            accepted: number("accepted"),
            refused: number("refused"),
            unknown: number("unknown"),
            received: taken.len() as u64,
            duplicates: taken.values().filter(|count| **count > 1).count() as u64,
        })
    }
}

fn check(figures: &Figures, people: usize, cut_off: u64) {
    let Figures { enrolled, accepted, refused, unknown, received, duplicates } = *figures;
    println!("{figures:?} after connections ended {cut_off} times without a word");
    assert_eq!(duplicates, 0, "nobody is mailed twice: {figures:?}");
    assert_eq!(enrolled, people as u64, "{figures:?}");
    assert_eq!(accepted, enrolled - refused - unknown, "nobody is lost: {figures:?}");
    assert_eq!(refused, (0..people).filter(|number| number % 20 == 7).count() as u64, "{figures:?}");
    assert!(accepted <= received && received <= accepted + unknown, "{figures:?}");
    assert!(unknown <= cut_off * WORKERS, "at most what was at its last dot: {figures:?}");
}

fn asked(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

async fn killed(engine: Engine) -> Result<()> {
    let (rounds, people) = (asked("LETTERLAB_CRASH_ROUNDS", 5), asked("LETTERLAB_CRASH_PEOPLE", 600));
    let mut crash = Crash::begin(engine, 1, people).await?;
    let cut_off = crash.rounds(rounds, End::Kill).await?;
    check(&crash.finish().await?, people, cut_off);
    Ok(())
}

async fn terminated(engine: Engine) -> Result<()> {
    let (rounds, people) = (asked("LETTERLAB_CRASH_ROUNDS", 4), asked("LETTERLAB_CRASH_PEOPLE", 400));
    let mut crash = Crash::begin(engine, 1, people).await?;
    let cut_off = crash.rounds(rounds, End::Terminate).await?;
    // None unknown but where the relay was gone: what was at its last dot was waited for.
    check(&crash.finish().await?, people, cut_off);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_on_sqlite() -> Result<()> {
    killed(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_on_postgresql() -> Result<()> {
    killed(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_again_and_again_on_sqlite() -> Result<()> {
    terminated(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_again_and_again_on_postgresql() -> Result<()> {
    terminated(Engine::Postgres).await
}

/// Two services on one PostgreSQL, one of them killed and started again all the time.
#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_a_queue_and_one_is_killed_again_and_again() -> Result<()> {
    let (rounds, people) = (asked("LETTERLAB_CRASH_ROUNDS", 5), asked("LETTERLAB_CRASH_PEOPLE", 800));
    let mut crash = Crash::begin(Engine::Postgres, 2, people).await?;
    crash.senders[1].serve()?;
    let cut_off = crash.rounds(rounds, End::Kill).await?;
    check(&crash.finish().await?, people, cut_off);
    Ok(())
}
