//! The map of the house, held: which room names which, where outside crates live, and what is nowhere.
//!
//! It reads the sources as text, so that the whole of them is seen whatever is compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may name whom. A room may always name itself; rooms not listed here do not exist.
const DOORS: [(&str, &[&str]); 20] = [
    // floor 0, pure
    ("ids", &[]),
    ("token", &["ids"]),
    ("stats", &[]),
    ("signal", &["ids"]),
    ("content", &["ids", "token"]),
    ("experiment", &["ids", "stats"]),
    // floor 1, plumbing
    ("db", &[]),
    ("smtpd", &[]),
    // floor 2, stores
    ("vault", &["ids", "db"]),
    ("ledger", &["ids", "db", "signal"]),
    // token for the number of links one can hold
    ("campaign", &["ids", "token", "db", "content", "experiment"]),
    // floor 3, work: whoever is handed a database or a connection names its type
    ("delivery", &["ids", "token", "content", "vault", "db"]),
    ("bounce", &["ids", "token", "delivery", "vault", "db", "smtpd"]),
    ("tracking", &["ids", "token", "signal", "ledger", "db"]),
    ("report", &["ids", "stats", "experiment", "signal", "campaign", "ledger", "db"]),
    ("bridge", &["ids", "experiment", "campaign", "vault", "ledger", "delivery", "db"]),
    // floor 4, shells
    (
        "app",
        &[
            "ids",
            "token",
            "stats",
            "signal",
            "content",
            "experiment",
            "db",
            "smtpd",
            "vault",
            "ledger",
            "campaign",
            "delivery",
            "bounce",
            "tracking",
            "report",
            "bridge",
        ],
    ),
    (
        "web",
        &[
            "ids",
            "token",
            "stats",
            "signal",
            "content",
            "experiment",
            "db",
            "vault",
            "ledger",
            "campaign",
            "delivery",
            "bounce",
            "tracking",
            "report",
            "bridge",
            "app",
        ],
    ),
    ("demo", &["smtpd"]),
    (
        "cli",
        &[
            "ids",
            "token",
            "stats",
            "signal",
            "content",
            "experiment",
            "db",
            "smtpd",
            "vault",
            "ledger",
            "campaign",
            "delivery",
            "bounce",
            "tracking",
            "report",
            "bridge",
            "app",
            "web",
            "demo",
        ],
    ),
];

/// Outside crates and the places they live in: a path ends with one of these, or has one of these folders in it.
const HOMES: [(&str, &[&str]); 15] = [
    ("diesel", &["db/", "schema.rs", "store.rs", "store/"]),
    ("diesel_migrations", &["db/"]),
    ("actix_web", &["web/"]),
    ("actix_http", &["web/front/"]),
    ("actix_service", &["web/front/"]),
    ("httparse", &["web/front/"]),
    ("prometheus_client", &["web/public/"]),
    ("socket2", &["web/front/"]),
    ("rustix", &["tracking/", "web/front/"]),
    ("askama", &["web/"]),
    ("lettre", &["delivery/"]),
    ("aws_lc_rs", &["delivery/", "app/networks.rs", "app/preflight/links.rs", "web/front/tls.rs"]),
    ("hickory_resolver", &["app/domain/"]),
    ("statrs", &["stats/"]),
    ("html5ever", &["content/"]),
];

/// Ways to ask for the time or for chance, and the files that may. `smtpd` and `cli/demo.rs` measure their own patience with clients,
/// `cli/signal.rs` the rules' speed, `tracking/commits.rs` and `delivery/journal.rs` the disk's, `delivery/smtp.rs` and `delivery/smtp/open.rs` the age of their
/// connections.
const TIME_AND_CHANCE: [(&str, &[&str]); 7] = [
    ("Timestamp::now", &["app/clock.rs"]),
    ("Zoned::now", &["app/clock.rs"]),
    ("SystemTime", &["app/clock.rs"]),
    (
        "Instant::now",
        &[
            "app/clock.rs",
            "cli/demo.rs",
            "cli/signal.rs",
            "delivery/journal.rs",
            "delivery/smtp.rs",
            "delivery/smtp/open.rs",
            "smtpd/session.rs",
            "tracking/commits.rs",
            "tracking/loader.rs",
        ],
    ),
    ("rand::rng(", &["app/clock.rs"]),
    ("thread_rng", &[]),
    ("OsRng", &[]),
];

struct Source {
    /// Relative to `src/`.
    path: String,
    /// As written.
    text: String,
    /// Without comments.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_in(&self, homes: &[&str]) -> bool {
        homes
            .iter()
            .any(|home| self.path.starts_with(home) || self.path.ends_with(&format!("/{home}")) || self.path.contains(&format!("/{home}")))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 50, "the sources are where they should be");
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        Source { path, code: without_comments(&text), text }
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Line comments only; a `//` right behind a colon is an address in a text.
fn without_comments(text: &str) -> String {
    let line = |line: &str| -> String {
        let comment = line.match_indices("//").map(|(at, _)| at).find(|at| *at == 0 || line.as_bytes()[at - 1] != b':');
        comment.map_or(line, |at| &line[..at]).to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn word(text: &str) -> &str {
    &text[..text.find(|character| !is_word(character)).unwrap_or(text.len())]
}

/// Rooms named as `crate::room` or `crate::{room::…, room}`.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        // `$crate::` and `crate::` are the crate; `some_crate::` is not.
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = code[at + path.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(first_words(group)),
            None => drop(rooms.insert(word(rest).to_owned())),
        }
    }
    rooms.remove("");
    rooms
}

/// The first word of each entry of a `{…}` group, inner groups passed over.
fn first_words(group: &str) -> Vec<String> {
    let (mut depth, mut words, mut at_start) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            _ if at_start && is_word(character) => {
                words.push(word(&group[at..]).to_owned());
                at_start = false;
            }
            _ => {}
        }
    }
    words
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let code = without_comments(
        "use crate::ids::X; // crate::comment\nuse crate::{db::{A, B}, vault, ledger::store::{self}};\nlet a = \"https://x\"; pub(crate) fn f() {}\nmy_crate::other();",
    );
    assert_eq!(named_rooms(&code).into_iter().collect::<Vec<_>>(), ["db", "ids", "ledger", "vault"]);
    assert!(code.contains("https://x"));
}

#[test]
fn every_room_names_only_rooms_it_has_a_door_to() {
    let doors: BTreeMap<&str, &[&str]> = DOORS.into_iter().collect();
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !["lib", "main"].contains(&source.room())) {
        let Some(allowed) = doors.get(source.room()) else {
            broken.push(format!("{}: there is no room {}", source.path, source.room()));
            continue;
        };
        for named in named_rooms(&source.code) {
            let is_room = doors.contains_key(named.as_str());
            if is_room && named != source.room() && !allowed.contains(&named.as_str()) {
                broken.push(format!("{} names {named}", source.path));
            }
            if !is_room {
                broken.push(format!("{} names crate::{named}, which is no room", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_doors_lead_one_way() {
    // Each room may name only rooms listed before it, so the table has no circle.
    for (place, (room, doors)) in DOORS.iter().enumerate() {
        for door in *doors {
            assert!(DOORS[..place].iter().any(|(earlier, _)| earlier == door), "{room} names {door}, which comes later");
        }
    }
    let never = |room: &str, others: &[&str]| {
        let doors = DOORS.iter().find(|(name, _)| *name == room).unwrap().1;
        assert!(others.iter().all(|other| !doors.contains(other)), "{room}");
    };
    never("ledger", &["vault", "delivery"]);
    never("tracking", &["vault", "delivery", "bridge"]);
    never("report", &["vault", "delivery", "bridge"]);
    never("vault", &["ledger", "campaign"]);
    never("delivery", &["ledger", "campaign"]);
    never("bounce", &["ledger", "campaign"]);
    never("demo", &["vault", "ledger", "db", "app", "token", "delivery"]);
}

#[test]
fn the_map_in_the_library_and_the_table_list_the_same_rooms() {
    let sources = sources();
    let library = &sources.iter().find(|source| source.path == "lib.rs").unwrap().code;
    let listed: BTreeSet<&str> = library.lines().filter_map(|line| line.strip_prefix("pub mod ")).map(word).collect();
    assert_eq!(listed, DOORS.iter().map(|(room, _)| *room).collect());
}

#[test]
fn outside_crates_have_a_home() {
    let mut strays = Vec::new();
    for source in &sources() {
        for (name, homes) in HOMES {
            let is_named = source.code.match_indices(&format!("{name}::")).any(|(at, _)| !source.code[..at].ends_with(is_word));
            if is_named && !source.is_in(homes) {
                strays.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn schemas_are_private_to_their_store() {
    for source in &sources() {
        assert!(!source.code.contains("pub mod schema") && !source.code.contains("pub(crate) mod schema"), "{}", source.path);
    }
}

#[test]
fn time_and_chance_are_asked_for_in_one_place() {
    let mut strays = Vec::new();
    for source in &sources() {
        for (way, homes) in TIME_AND_CHANCE {
            if source.code.contains(way) && !homes.contains(&source.path.as_str()) {
                strays.push(format!("{} asks {way}", source.path));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn every_module_opens_with_its_purpose() {
    for source in &sources() {
        assert!(source.text.starts_with("//! "), "{} opens without a word", source.path);
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    for source in &sources() {
        for word in ["todo!", "unimplemented!", "FIXME", "TODO", "XXX"] {
            assert!(!source.text.contains(word), "{} has {word}", source.path);
        }
    }
}

#[test]
fn the_ledger_has_no_column_for_a_person_or_a_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/ledger");
    let mut columns = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        columns.extend(columns_of(&std::fs::read_to_string(entry.unwrap().path().join("up.sql")).unwrap()));
    }
    assert!(columns.len() > 40, "the migrations are read: {columns:?}");
    for (table, column) in &columns {
        for word in column.split('_') {
            let forbidden = [
                "address",
                "email",
                "mail",
                "mailbox",
                "recipient",
                "subscriber",
                "person",
                "phone",
                "ip",
                "peer",
                "host",
                "agent",
                "ua",
                "referer",
                "cookie",
                "header",
                "fingerprint",
                "first",
                "last",
                "surname",
            ];
            let is_moment = ["first_open_at", "first_click_at"].contains(&column.as_str());
            assert!(is_moment || !forbidden.contains(&word), "{table}.{column}");
        }
        // Names of campaigns and counts are nobody's.
        assert!(column != "name" || ["campaign", "tally", "counter"].contains(&table.as_str()), "{table}.{column}");
    }
}

/// `(table, column)` of every CREATE TABLE and ADD COLUMN.
fn columns_of(sql: &str) -> Vec<(String, String)> {
    let sql: String = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut columns = Vec::new();
    for statement in sql.split(';').map(str::trim) {
        if let Some(rest) = statement.strip_prefix("CREATE TABLE ") {
            let (table, body) = rest.split_once('(').unwrap();
            let names = body.lines().filter_map(|line| line.split_whitespace().next());
            let names = names.filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
            columns.extend(names.map(|name| (table.trim().to_owned(), name.to_owned())));
        } else if let Some(rest) = statement.strip_prefix("ALTER TABLE ") {
            let table = word(rest);
            let added = rest.split("ADD COLUMN ").skip(1).map(|column| word(column.trim_start_matches("IF NOT EXISTS ")));
            columns.extend(added.map(|column| (table.to_owned(), column.to_owned())));
        }
    }
    columns
}
