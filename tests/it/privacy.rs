//! What is never written: whoever reads the ledger, an export or a log learns of nobody.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use letterlab::app::{campaigns, people, preview};
use letterlab::report::export;
use letterlab::signal::{HitKind, RequestFacts};
use letterlab::smtpd::Reply;
use tracing_subscriber::fmt::MakeWriter;

use crate::mailboxes::{Answer, delivery_report};
use crate::world::{Answered, Engine, ParseAddress as _, Room, World, campaign, on_both_engines};

on_both_engines!(
    the_ledger_exports_and_logs_never_hold_a_person_or_a_machine,
    the_people_side_never_holds_a_machine,
    a_reviewers_link_names_no_person_and_ends,
    urls_carry_nothing_of_the_person,
    an_erased_person_is_in_neither_database_any_more,
);

const NAMES: [&str; 3] = ["Zyxwvutta", "Qanarienvogel", "Шпионова"];
const PERSON: [&str; 4] = ["zyxwvutta.canary", "qanarienvogel", "canary-domain", "шпионова"];
const MACHINE: [&str; 4] = ["CanaryBrowser/77", "203.0.113.177", "canary-referer", "192.0.2.99"];

fn file() -> String {
    let [one, two, three] = NAMES;
    format!(
        "email,first_name,city,recording_mode,consent_source,consent_date\n\
         zyxwvutta.canary@canary-domain.example,{one},Canaryville,pseudonymous,form,2026-01-01\n\
         qanarienvogel@gmail.com,{two},Canaryville,identified,form,2026-01-01\n\
         шпионова@canary-domain.example,{three},Canaryville,aggregate,form,2026-01-01\n\
         qanarienvogel.gone@canary-domain.example,{two},Canaryville,pseudonymous,form,2026-01-01\n\
         qanarienvogel.blocked@canary-domain.example,{two},Canaryville,pseudonymous,form,2026-01-01\n\
         qanarienvogel.later@canary-domain.example,{two},Canaryville,off,form,2026-01-01\n"
    )
}

/// Everything that can happen to a letter and its reader, with words that would give people and machines away.
async fn eventful(engine: Engine) -> World {
    let mut world = World::new(engine).await;
    let report = world.import(&file());
    assert_eq!(report.added, 6, "{report:?}");
    // Relays repeat the address they refuse.
    let gone = "<qanarienvogel.gone@canary-domain.example>: Recipient address rejected: user Qanarienvogel unknown, said 192.0.2.99";
    world.mailboxes.answer("qanarienvogel.gone@canary-domain.example", Answer::Always(Reply::new(550, [5, 1, 1], gone)));
    let blocked = "policy forbids mail to qanarienvogel.blocked@canary-domain.example";
    world.mailboxes.answer("qanarienvogel.blocked@canary-domain.example", Answer::AfterTheLetter(Reply::new(554, [5, 7, 1], blocked)));
    let later = "greylisted qanarienvogel.later@canary-domain.example from 192.0.2.99";
    world.mailboxes.answer("qanarienvogel.later@canary-domain.example", Answer::Once(Reply::new(451, [4, 7, 1], later)));
    let text = campaign("autumn")
        .replace("subject = \"What", "subject = \"{{ first_name }}: what")
        .replace("[See all](https://shop.example/all)", "[See all](https://shop.example/all) in {{ city }}")
        .replacen("list = ", "recording = \"identified\"\nlist = ", 1);
    world.draft(&text);
    world.launch("autumn").unwrap();
    world.deliver_everything().await;
    let (accepted, refused) = (world.counts("autumn").accepted, world.counts("autumn").refused);
    assert_eq!((accepted, refused), (4, 2));

    let facts = |method| RequestFacts {
        method,
        peer: Some("203.0.113.177".parse().unwrap()),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64) CanaryBrowser/77 Firefox/140.0",
        purpose: None,
        referer: Some("https://canary-referer.example/inbox?mail=qanarienvogel"),
        accept_language: true,
        fetch_user: true,
    };
    for letter in world.received() {
        if let Some(pixel) = letter.pixel() {
            world.hit(HitKind::Open, &pixel, facts("GET")).await;
            world.hit(HitKind::Click, &letter.links()[0], facts("GET")).await;
            world.hit(HitKind::Click, &letter.links()[1], facts("HEAD")).await;
        }
        world.hit(HitKind::Open, "qanarienvogel-canary-domain", facts("GET")).await;
    }
    let letter = world.letter_to("zyxwvutta.canary@canary-domain.example");
    let diagnostic = "552 5.2.2 <zyxwvutta.canary@canary-domain.example> mailbox of Zyxwvutta full at 192.0.2.99";
    world.returned(&letter.return_path, &delivery_report(&letter, "5.2.2", diagnostic));
    let other = world.letter_to("qanarienvogel@gmail.com");
    world.returned(&format!("u+{}@bounces.example.org", other.unsubscribe_token()), "From: qanarienvogel@gmail.com\r\n\r\nenough\r\n");
    world.returned("b+wrong@bounces.example.org", "From: qanarienvogel@gmail.com\r\nSubject: canary-domain\r\n\r\nwhat?\r\n");
    world.tidy();
    world
}

async fn the_ledger_exports_and_logs_never_hold_a_person_or_a_machine(engine: Engine) {
    let logs = capture_logs();
    let world = eventful(engine).await;
    world.stop_measuring(&world.letter_to("шпионова@canary-domain.example"));
    let page = world.results("autumn");
    let status = serde_json::to_string(&world.status()).unwrap();
    let written = [
        ("the ledger", world.contents(Room::Ledger)),
        ("the result as JSON", serde_json::to_string(&page).unwrap()),
        ("the result as CSV", export::csv(&page).unwrap()),
        ("the result as a table", export::table(&page)),
        ("the status", status),
        ("the logs", String::from_utf8_lossy(&logs.lock().unwrap()).into_owned()),
    ];
    for (place, text) in &written {
        assert!(!text.is_empty(), "{place}");
        let text = text.to_lowercase();
        for canary in PERSON.iter().chain(&NAMES).chain(&MACHINE).chain(&["Canaryville"]) {
            if let Some(at) = text.find(&canary.to_lowercase()) {
                let around: String = text.chars().skip(text[..at].chars().count().saturating_sub(80)).take(200).collect();
                panic!("{place} of {engine:?} has {canary}: …{around}…");
            }
        }
    }
    // The search itself works: the vault does hold them.
    let vault = world.contents(Room::Vault).to_lowercase();
    assert!(PERSON.iter().all(|canary| vault.contains(canary)));
    assert!(written[0].1.contains("autumn") && written[5].1.contains("TRACE"));
}

async fn the_people_side_never_holds_a_machine(engine: Engine) {
    let world = eventful(engine).await;
    let vault = world.contents(Room::Vault);
    for canary in MACHINE {
        assert!(!vault.contains(canary), "{canary}");
    }
}

async fn an_erased_person_is_in_neither_database_any_more(engine: Engine) {
    let world = eventful(engine).await;
    let address = "zyxwvutta.canary@canary-domain.example".parse_address();
    // A changed row leaves its old words behind in the file, a long value in pages of its own.
    let long = "Zyxwvutta ".repeat(900);
    world.import(&format!("email,note\n{},{long}\n", address.reveal()));
    world.import(&format!("email,note\n{},short\n", address.reveal()));
    assert!(world.contents(Room::Vault).contains("zyxwvutta"));
    let before = world.counts("autumn");
    let pseudonyms = world.pseudonyms(address.reveal());
    people::erase(&world.lab, &address).unwrap();

    if engine == Engine::Postgres {
        world.sql(Room::Vault, "VACUUM");
    }
    for room in [Room::Vault, Room::Ledger] {
        assert!(!world.contents(room).to_lowercase().contains("zyxwvutta"), "{room:?}");
    }
    assert!(world.contents(Room::Vault).contains("canary-domain.example"), "others have this domain");
    assert!(people::letters_to(&world.lab, &address).unwrap().is_none());
    assert!(matches!(people::erase(&world.lab, &address), Err(people::PersonError::Unknown)));
    assert_eq!(world.counts("autumn"), before, "letters stay counted");
    assert!(!pseudonyms.is_empty());
    let letter = world.letter_to(address.reveal());
    let pixel = letter.pixel().unwrap();
    assert_eq!(world.hit(HitKind::Open, &pixel, crate::world::get(crate::world::FIREFOX)).await, Answered::Unrecorded);
    let (all, _) = world.lab.vault.read(letterlab::vault::store::people_count).unwrap();
    assert_eq!(all, 5);

    // Nobody is mailed for it again but by a new import.
    world.import("email,recording_mode\nzyxwvutta.canary@canary-domain.example,off\n");
    assert_eq!(world.person(address.reveal()).suppressed, None);
}

async fn a_reviewers_link_names_no_person_and_ends(engine: Engine) {
    let world = eventful(engine).await;
    let link = campaigns::share(&world.lab, &world.campaign("autumn"), 30);
    let token = link.rsplit('/').next().unwrap();
    assert_eq!(world.lab.keys.open_share(token, world.now()).unwrap(), world.campaign("autumn").number);
    world.wait(24 * 30 + 1);
    assert!(world.lab.keys.open_share(token, world.now()).is_err(), "after its time");
    let made_up = preview::Reader::MadeUp(std::collections::BTreeMap::new());
    let shown = preview::letters(&world.lab, &world.campaign("autumn"), &made_up).unwrap().remove(0).letter.unwrap();
    assert!(shown.subject.contains("[first_name]") && !shown.html.contains("Zyxwvutta"));
}

async fn urls_carry_nothing_of_the_person(engine: Engine) {
    let world = eventful(engine).await;
    for letter in world.received() {
        let local = letter.recipient.split('@').next().unwrap().to_owned();
        let mut tokens = letter.links();
        tokens.extend(letter.pixel());
        tokens.push(letter.unsubscribe_token());
        tokens.push(letter.bounce_token());
        for token in tokens {
            let bytes = letterlab::ids::base32().decode(token.as_bytes()).unwrap();
            assert_eq!(bytes.len(), 32);
            assert!(!token.contains(&local) && !String::from_utf8_lossy(&bytes).contains(&local));
        }
        assert!(!letter.return_path.contains(&local));
        assert!(!letter.header("Message-ID").contains(&local) && !letter.header("Feedback-ID").contains(&local));
        for url in letter.html.split("http").skip(1) {
            let url = url.split(['"', ' ', '<']).next().unwrap();
            assert!(!url.contains(&local) && !url.contains('@'), "{url}");
        }
    }
}

/// Every line logged by this process from the first call on, whatever its level, but for the libraries' own chatter.
fn capture_logs() -> Arc<Mutex<Vec<u8>>> {
    static LINES: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Arc::default();
        let filter = tracing_subscriber::EnvFilter::new("letterlab=trace,diesel=trace,info");
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Lines(Arc::clone(&lines)));
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        tracing::trace!(target: "letterlab", "logs are captured");
        lines
    });
    Arc::clone(lines)
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
