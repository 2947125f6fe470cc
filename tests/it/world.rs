//! One whole Letterlab in a temporary folder, and the people around it: what a story is told with.
//!
//! Cast: [`World`] (one verb per user action), [`Engine`], [`on_both_engines`] (a story on SQLite and on PostgreSQL),
//! [`mailboxes`](crate::mailboxes) (the receiving end).
//!
//! The clock stands still until it is moved. A world that ends well ends accounted for: dropped, it fails its test when a mailing stayed
//! leased, an outcome was not relayed, a conservation law is broken, or counts cannot be derived again.

use std::ops::ControlFlow;
use std::path::Path;

use diesel::RunQueryDsl;
use jiff::{SignedDuration, Timestamp};
use letterlab::app::campaigns::{self, CampaignError};
use letterlab::app::clock::{self, Clock};
use letterlab::app::jobs;
use letterlab::app::lab::{Background, Lab};
use letterlab::app::status::{Status, status};
use letterlab::app::{config, people};
use letterlab::bounce::apply::{Applied, apply};
use letterlab::bridge::withdraw;
use letterlab::campaign::store::Campaign;
use letterlab::db::DbError;
use letterlab::delivery::mailing::Counts;
use letterlab::delivery::store as deliveries;
use letterlab::ids::{EventId, Pseudonym, VariantNumber};
use letterlab::ledger::event::Event;
use letterlab::ledger::filing;
use letterlab::ledger::projection;
use letterlab::ledger::store as events;
use letterlab::report::page::ResultPage;
use letterlab::signal::{HitKind, RequestFacts};
use letterlab::token::{Bearer, Kind};
use letterlab::tracking::hit::{Admission, admit};
use letterlab::tracking::intake::Recorded;
use letterlab::vault::import::{ImportError, ImportOptions, ImportReport, Refusal};
use letterlab::vault::people::Person;
use letterlab::vault::store as roster;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::mailboxes::{Mailboxes, Message};
use crate::servers::postgres::{Databases, psql};

/// The moment every story begins.
pub const BEGINNING: &str = "2026-11-22T12:00:00Z";
/// How recipients reach this Letterlab.
pub const SITE: &str = "https://news.example.org";
/// Where letters come back to.
pub const BOUNCES: &str = "bounces.example.org";
/// The list stories mail, unless they say otherwise.
pub const LIST: &str = "customers";

/// A person at a desk.
pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// A person behind Gmail's picture proxy.
pub const GMAIL_PROXY: &str = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
/// Apple's prefetch.
pub const APPLE_PREFETCH: &str = "Mozilla/5.0";
/// A scanner that gives its name.
pub const SCANNER: &str = "Mozilla/5.0 (compatible; BarracudaCentral; +http://www.barracudacentral.org)";

/// Where a world keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Vault,
    Ledger,
}

/// Makes two tests of each story, one per engine. A story is `async fn name(engine: Engine)`.
macro_rules! on_both_engines {
    ($($story:ident),+ $(,)?) => {$(
        mod $story {
            use crate::world::Engine;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$story(Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgresql() {
                super::$story(Engine::Postgres).await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;

/// What became of a request for a pixel or a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// Not our token.
    Refused,
    /// Ours; nothing was recorded.
    Unrecorded,
    /// Recorded, durably.
    Recorded(Box<Event>),
}

impl Answered {
    /// The class the hit was given.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Recorded(event) => event.hit.map(|hit| hit.verdict.class.as_str()).unwrap_or_default(),
            Self::Refused | Self::Unrecorded => "",
        }
    }
}

/// One Letterlab and its surroundings.
pub struct World {
    /// The running parts.
    pub lab: Lab,
    /// The receiving end of every letter.
    pub mailboxes: Mailboxes,
    /// Databases that stories make between their own; must outlive the lab.
    databases: Option<Databases>,
    writers: Option<Background>,
    worker: jobs::Worker,
    stop: watch::Sender<bool>,
    folder: TempDir,
}

impl World {
    /// An empty Letterlab with its mailboxes.
    pub async fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailboxes = Mailboxes::open().await;
        let databases = (engine == Engine::Postgres).then(|| Databases::create().unwrap());
        write_settings(folder.path(), databases.as_ref(), mailboxes.port());
        let (lab, writers) = open(folder.path(), Clock::fixed(BEGINNING.parse().unwrap())).unwrap();
        let (stop, _) = watch::channel(false);
        Self { lab, mailboxes, databases, writers: Some(writers), worker: jobs::Worker::default(), stop, folder }
    }

    /// A world with people on the list and a campaign among them, launched and delivered.
    pub async fn with_campaign_sent(engine: Engine, csv: &str, campaign: &str) -> Self {
        let mut world = Self::new(engine).await;
        world.import(csv);
        world.draft(campaign);
        world.launch(&name_in(campaign)).unwrap();
        world.deliver_everything().await;
        world
    }

    /// The folder everything of this world is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the process and starts it again; whatever was only in memory is gone.
    pub fn restart(&mut self) {
        let clock = self.lab.clock.clone();
        self.worker = jobs::Worker::default();
        let (lab, writers) = open(self.folder.path(), clock).unwrap();
        drop(std::mem::replace(&mut self.lab, lab));
        if let Some(ended) = self.writers.replace(writers) {
            ended.join();
        }
    }

    /// Another process of the same installation, beside this one.
    pub fn another_process(&self) -> anyhow::Result<(Lab, Background)> {
        open(self.folder.path(), self.lab.clock.clone())
    }

    /// Adds to the settings and starts again.
    pub fn settings(&mut self, more: &str) {
        let path = self.folder.path().join("letterlab.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n{more}\n")).unwrap();
        self.restart();
    }

    /// Moves the clock.
    pub fn wait(&self, hours: i64) {
        self.lab.clock.advance(SignedDuration::from_hours(hours));
    }

    /// Now, in this world.
    pub fn now(&self) -> Timestamp {
        self.lab.clock.now()
    }

    // --- people ---------------------------------------------------------------------------------------------------------

    /// Imports people into [`LIST`].
    pub fn import(&self, csv: &str) -> ImportReport {
        self.import_into(LIST, csv).unwrap()
    }

    /// Imports people into a list.
    pub fn import_into(&self, list: &str, csv: &str) -> Result<ImportReport, ImportError> {
        let path = self.folder().join("people.csv");
        std::fs::write(&path, csv).unwrap();
        let options = ImportOptions { list: list.to_owned(), stated: None };
        people::import_file(&self.lab, &path, &options, &mut |_| ControlFlow::Continue(()), &mut |_: &Refusal| {})
    }

    /// The person with this address.
    pub fn person(&self, address: &str) -> Person {
        let address = address.parse_address();
        self.lab.vault.read(|conn| roster::person_by_address(conn, &address)).unwrap().unwrap()
    }

    /// The pseudonyms of the person with this address, one per campaign.
    pub fn pseudonyms(&self, address: &str) -> Vec<Pseudonym> {
        let id = self.person(address).id;
        self.lab.vault.read(|conn| deliveries::pseudonyms(conn, id)).unwrap()
    }

    // --- campaigns --------------------------------------------------------------------------------------------------------

    /// Stores a campaign that has nothing wrong with it.
    pub fn draft(&self, toml: &str) -> Campaign {
        let number = self.try_draft(toml).unwrap_or_else(|error| panic!("{error:#?}"));
        campaigns::by_number(&self.lab, number).unwrap()
    }

    /// Stores a campaign, or says what is wrong with it.
    pub fn try_draft(&self, toml: &str) -> Result<letterlab::ids::CampaignNumber, CampaignError> {
        campaigns::draft(&self.lab, toml, &|_| Err("there is no such file".to_owned()))
    }

    /// A campaign by name, as it stands now.
    pub fn campaign(&self, name: &str) -> Campaign {
        campaigns::find(&self.lab, name).unwrap()
    }

    /// Where a campaign stands.
    pub fn state(&self, name: &str) -> &'static str {
        self.campaign(name).state.as_str()
    }

    /// Seals if need be, assigns everybody, lets the letters go.
    pub fn launch(&self, name: &str) -> Result<(), CampaignError> {
        campaigns::launch(&self.lab, &self.campaign(name), &mut |_, _| {})
    }

    /// Chooses what the rest get.
    pub fn decide(&self, name: &str, variant: char) -> Result<(), CampaignError> {
        let number = u8::try_from(u32::from(variant) - u32::from('A')).unwrap();
        campaigns::decide(&self.lab, &self.campaign(name), VariantNumber(number), "hand, in a story", true)
    }

    /// Ends a campaign.
    pub fn close(&self, name: &str) {
        campaigns::close(&self.lab, &self.campaign(name)).unwrap();
    }

    /// How many letters of a campaign are where.
    pub fn counts(&self, name: &str) -> Counts {
        campaigns::progress(&self.lab, &self.campaign(name)).unwrap().mailings
    }

    /// The result as of now, everything counted.
    pub fn results(&self, name: &str) -> ResultPage {
        self.tidy();
        campaigns::results(&self.lab, &self.campaign(name)).unwrap()
    }

    // --- background work --------------------------------------------------------------------------------------------------

    /// Background work but for sending, until nothing is left.
    pub fn tidy(&self) {
        self.load();
        for _ in 0..1000 {
            if jobs::tidy(&self.lab).unwrap().is_idle() {
                return;
            }
        }
        panic!("background work never comes to an end");
    }

    /// Hits from the spool into the ledger, as the loader does.
    pub fn load(&self) {
        self.lab.tracker.loader.load().unwrap();
    }

    /// One batch of sending; answers how many letters were taken from the queue, and why the relay could not be used.
    pub async fn send_a_batch(&mut self) -> jobs::Worked {
        let stop = self.stop.subscribe();
        let worked = jobs::work(&self.lab, &mut self.worker, &stop).await.unwrap();
        self.lab.journal.flush().await;
        worked
    }

    /// Sends and tidies until nothing is left, moving the clock over deferrals.
    pub async fn deliver_everything(&mut self) {
        for _ in 0..1000 {
            let worked = self.send_a_batch().await;
            self.tidy();
            if worked.taken > 0 && worked.report.relay_trouble.is_none() {
                continue;
            }
            match self.next_due() {
                Some(due) if due > self.now() => self.lab.clock.advance(due.duration_since(self.now())),
                Some(_) if worked.taken > 0 => {}
                Some(_) => self.tidy(),
                None => return,
            }
        }
        panic!("letters are never all delivered");
    }

    fn next_due(&self) -> Option<Timestamp> {
        let sending: Vec<Campaign> = campaigns::all(&self.lab).unwrap();
        let sending = sending.iter().filter(|campaign| campaign.state.sends() && campaign.paused.is_none());
        sending.filter_map(|campaign| self.lab.vault.read(|conn| deliveries::next_due(conn, campaign.number)).unwrap()).min()
    }

    // --- recipients -----------------------------------------------------------------------------------------------------

    /// Every letter received so far, in order of arrival.
    pub fn received(&self) -> Vec<Message> {
        self.mailboxes.received()
    }

    /// The last letter this person received.
    pub fn letter_to(&self, address: &str) -> Message {
        self.received().into_iter().rfind(|message| message.recipient == address).unwrap_or_else(|| panic!("no letter to {address}"))
    }

    /// Loads a pixel.
    pub async fn open(&self, token: &str, user_agent: &str) -> Answered {
        self.hit(HitKind::Open, token, get(user_agent)).await
    }

    /// Follows a link.
    pub async fn click(&self, token: &str, user_agent: &str) -> Answered {
        self.hit(HitKind::Click, token, get(user_agent)).await
    }

    /// Any request for a pixel or link.
    pub async fn hit(&self, kind: HitKind, token: &str, facts: RequestFacts<'_>) -> Answered {
        let id = EventId::from_bytes(clock::fresh());
        match admit(&self.lab.tracker, kind, token, facts, self.now(), id) {
            Admission::Refused => Answered::Refused,
            Admission::Unrecorded(_) => Answered::Unrecorded,
            Admission::Recorded(_, event) => {
                let recorded = self.lab.tracker.intake.record(&event, std::time::Duration::from_secs(60)).await;
                assert_eq!(recorded, Recorded::Durable);
                Answered::Recorded(event)
            }
        }
    }

    /// Where a link leads.
    pub fn destination(&self, token: &str) -> Option<String> {
        let payload = self.lab.keys.open(Kind::Click, token).ok()?;
        let target = self.lab.tracker.targets.campaign(payload.campaign)?;
        target.links.get(&(payload.variant, payload.link?)).map(|url| url.to_string())
    }

    /// The link in the footer or the mail program's button: no more letters.
    pub fn unsubscribe(&self, letter: &Message) -> bool {
        withdraw::unsubscribe(&self.lab.vault, self.pseudonym_of(letter), self.now(), clock::fresh).unwrap()
    }

    /// The switch on the recipient's page: no more measurement.
    pub fn stop_measuring(&self, letter: &Message) {
        let pseudonym = self.pseudonym_of(letter);
        let all = withdraw::stop_measuring(&self.lab.vault, &self.lab.ledger, pseudonym, self.now(), clock::fresh).unwrap();
        self.lab.tracker.targets.withdraw(all);
    }

    /// The pseudonym a letter's unsubscribe link carries.
    pub fn pseudonym_of(&self, letter: &Message) -> Pseudonym {
        match self.lab.keys.open(Kind::Unsubscribe, &letter.unsubscribe_token()).unwrap().bearer {
            Bearer::Recipient(pseudonym) => pseudonym,
            Bearer::Arm { .. } => panic!("an unsubscribe link is never shared"),
        }
    }

    /// A message that came back to an address of ours.
    pub fn returned(&self, recipient: &str, message: &str) -> Applied {
        apply(&self.lab.vault, &self.lab.keys, message.as_bytes(), &[recipient.to_owned()], self.now(), clock::fresh).unwrap()
    }

    /// The same through a mail server's pipe that does not tell to which address.
    pub fn piped(&self, message: &str) -> Applied {
        apply(&self.lab.vault, &self.lab.keys, message.as_bytes(), &[], self.now(), clock::fresh).unwrap()
    }

    /// Puts a person on their lists a second time, their address in other capitals, as imports of old did.
    pub fn spell(&self, address: &str, spelt: &str, number: u8) {
        let id = letterlab::ids::SubscriberId::from_bytes([number; 16]);
        self.sql(
            Room::Vault,
            &format!(
                "INSERT INTO subscriber SELECT '{id}', '{spelt}', provider, needs_smtputf8, attributes, recording, consent_source, \
                 consent_at, created_at, updated_at FROM subscriber WHERE address = '{address}'; \
                 INSERT INTO membership SELECT list_id, '{id}', joined_at FROM membership \
                 WHERE subscriber_id = (SELECT id FROM subscriber WHERE address = '{address}')"
            ),
        );
    }

    // --- accidents --------------------------------------------------------------------------------------------------------

    /// Makes the databases go away or come back; only PostgreSQL can. This world's own connections are gone then, too: restart it.
    pub fn let_databases_connect(&self, may: bool) {
        self.databases.as_ref().expect("PostgreSQL").let_connect(may).unwrap();
    }

    // --- looking behind the scenes ------------------------------------------------------------------------------------------

    /// Whether everything is accounted for.
    pub fn status(&self) -> Status {
        status(&self.lab).unwrap()
    }

    /// Runs SQL beside the application: for accidents, never for asking.
    pub fn sql(&self, room: Room, statement: &str) {
        match &self.databases {
            Some(databases) => {
                psql(&url(databases, room), &[statement.to_owned()]).unwrap();
            }
            None => {
                use diesel::Connection;
                use diesel::connection::SimpleConnection;
                let path = self.folder().join(format!("{}.db", room_name(room)));
                let mut sqlite = diesel::SqliteConnection::establish(&path.to_string_lossy()).unwrap();
                sqlite.batch_execute("PRAGMA busy_timeout = 30000").unwrap();
                sqlite.batch_execute(statement).unwrap();
            }
        }
    }

    /// What SQL beside the application answers; PostgreSQL only.
    pub fn ask_postgresql(&self, room: Room, question: &str) -> String {
        psql(&url(self.databases.as_ref().expect("PostgreSQL"), room), &[question.to_owned()]).unwrap()
    }

    /// The process died after the ledger had the outcomes of letters and before the vault knew.
    pub fn put_outcomes_back(&self) {
        self.sql(
            Room::Vault,
            "INSERT INTO outcome (id, campaign, pseudonym, kind, reason, recording, at) \
             SELECT attempt.id, campaign, pseudonym, 'sent', '', attempt.recording, attempt.at \
             FROM attempt JOIN mailing ON mailing.id = attempt.mailing_id WHERE verdict = 'accepted'",
        );
    }

    /// Every byte a database holds, as text to search in: files on SQLite, all rows of all tables on PostgreSQL.
    pub fn contents(&self, room: Room) -> String {
        match &self.databases {
            Some(databases) => dump(&url(databases, room)),
            None => files_beginning(self.folder(), room_name(room)),
        }
    }

    fn check_accounts(&self) {
        assert_eq!(self.lab.vault.read(deliveries::leases_open).unwrap(), (0, 0), "mailings stayed leased, or leases stayed");
        let status = self.status();
        assert_eq!(status.unrelayed, 0, "outcomes were not relayed");
        assert_eq!(status.uncounted, 0, "events were not counted");
        for law in &status.laws {
            assert!(law.holds, "{}: {}", law.name, law.numbers);
        }
        self.check_filing();
        for campaign in campaigns::all(&self.lab).unwrap() {
            let verified = self.lab.ledger.snapshot(|conn| projection::verify(conn, campaign.number)).unwrap();
            assert_eq!(verified.differences, Vec::<String>::new(), "derived again, {} counts otherwise", campaign.definition.name);
            self.check_enrolment(&campaign);
        }
    }

    /// Every event of a recipient is found under its pseudonym, and nothing else is.
    pub fn check_filing(&self) {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            many: i64,
        }
        while filing::file(&self.lab.ledger).unwrap() {}
        let count = |question: &str| -> i64 {
            self.lab.ledger.read(|conn| Ok::<_, DbError>(diesel::sql_query(question).get_result::<Count>(conn.sql())?)).unwrap().many
        };
        let same = "filed.seq = event.seq AND filed.pseudonym = event.pseudonym";
        let lost = count(&format!(
            "SELECT count(*) AS many FROM event WHERE pseudonym IS NOT NULL AND NOT EXISTS (SELECT 1 FROM filed WHERE {same})"
        ));
        let left = count(&format!("SELECT count(*) AS many FROM filed WHERE NOT EXISTS (SELECT 1 FROM event WHERE {same})"));
        assert_eq!((lost, left), (0, 0), "events that nobody finds, and what is found and is no event");
    }

    /// Both databases hold the same recipients: as many subjects as mailings with an arm.
    fn check_enrolment(&self, campaign: &Campaign) {
        if campaign.enrolled_at.is_none() {
            return;
        }
        let subjects: u64 = self.lab.ledger.read(|conn| events::enrolled(conn, campaign.number)).unwrap().values().sum();
        let count = |part| self.lab.vault.read(|conn| deliveries::counts(conn, campaign.number, Some(part))).unwrap().enrolled;
        let chosen = if campaign.decided_at.is_some() { count("rest") } else { 0 };
        assert_eq!(subjects, count("test") + count("holdout") + chosen, "subjects and mailings of {}", campaign.definition.name);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.tidy();
            self.check_accounts();
        }
    }
}

/// A GET with nothing but a user agent.
pub fn get(user_agent: &str) -> RequestFacts<'_> {
    RequestFacts {
        method: "GET",
        peer: None,
        user_agent,
        purpose: None,
        referer: None,
        accept_language: user_agent.contains("Firefox/140"),
        fetch_user: false,
    }
}

/// A file of `count` people who agreed to be measured under a pseudonym: `p0@example.org`, `p1@example.org` ….
pub fn people(count: usize) -> String {
    let row = |number| format!("p{number}@example.org,Pat{number},pseudonymous,sign-up form,2026-01-01\n");
    format!("email,first_name,recording_mode,consent_source,consent_date\n{}", (0..count).map(row).collect::<String>())
}

/// A subject-line test for [`LIST`] with two links, half the list to each of two variants.
pub fn campaign(name: &str) -> String {
    format!(
        r#"name = "{name}"
list = "{LIST}"

[sender]
name = "Letterlab"
address = "news@example.org"

[letter]
subject = "What changed this autumn"
preheader = "Two minutes"
text = """
Hello {{{{ first_name | default("there") }}}},

the [first change](https://shop.example/first?a=1&b=2) matters most. [See all](https://shop.example/all).
"""

[test]
element = "subject"
observe_hours = 24

[[variants]]

[[variants]]
value = "Two changes, two minutes"
"#
    )
}

fn name_in(campaign: &str) -> String {
    campaign.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"').to_owned()
}

fn open(folder: &Path, clock: Clock) -> anyhow::Result<(Lab, Background)> {
    Lab::open(config::load(Some(&folder.join("letterlab.toml")), std::iter::empty())?, clock)
}

fn write_settings(folder: &Path, databases: Option<&Databases>, relay_port: u16) {
    let location = |room| match databases {
        Some(databases) => url(databases, room),
        None => format!("sqlite:{}/{}.db", folder.display(), room_name(room)),
    };
    let settings = format!(
        r#"
[web]
base_url = "{SITE}"

[database]
vault = "{}"
ledger = "{}"

[files]
keys = "{}/keys.toml"
returned_mail = "{}/returned-mail"
networks = "{}/networks.txt"
spool = "{}/spool"

[relay]
port = {relay_port}

[bounce]
domain = "{BOUNCES}"
"#,
        location(Room::Vault),
        location(Room::Ledger),
        folder.display(),
        folder.display(),
        folder.display(),
        folder.display(),
    );
    std::fs::write(folder.join("letterlab.toml"), settings).unwrap();
}

const fn room_name(room: Room) -> &'static str {
    match room {
        Room::Vault => "vault",
        Room::Ledger => "ledger",
    }
}

fn url(databases: &Databases, room: Room) -> String {
    match room {
        Room::Vault => databases.vault_url().unwrap(),
        Room::Ledger => databases.ledger_url().unwrap(),
    }
}

fn dump(url: &str) -> String {
    let tables = psql(url, &["SELECT tablename FROM pg_tables WHERE schemaname = 'public'".to_owned()]).unwrap();
    let rows: Vec<String> = tables.lines().map(|table| format!("SELECT t::text FROM \"{table}\" t")).collect();
    psql(url, &rows).unwrap()
}

/// The database file with its write-ahead log.
fn files_beginning(folder: &Path, prefix: &str) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
        }
    }
    text
}

/// Addresses written in stories are good ones.
pub trait ParseAddress {
    fn parse_address(&self) -> letterlab::vault::address::EmailAddress;
}

impl ParseAddress for str {
    fn parse_address(&self) -> letterlab::vault::address::EmailAddress {
        letterlab::vault::address::EmailAddress::parse(self).unwrap()
    }
}
