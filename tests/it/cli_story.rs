//! Purpose: the command line as an operator uses it, and the message each mistake gives.
//!
//! Cast: [`Operator`], a person with a folder and the real binary.
//!
//! Never: a message judged by its presence alone; each says what is wrong, where, and what to do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

struct Operator {
    folder: TempDir,
}

/// What a command printed, and whether it was content.
struct Answer {
    good: bool,
    out: String,
    errors: String,
}

impl Operator {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_letterlab"));
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Answer> {
        self.run_with_input(arguments, b"")
    }

    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Answer> {
        let mut child = self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("standard input")?.write_all(input)?;
        let output = child.wait_with_output()?;
        Ok(Answer {
            good: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A command that must fail, and the words its message must have.
    fn fails(&self, arguments: &[&str], words: &[&str]) -> Result<()> {
        let answer = self.run(arguments)?;
        let said = format!("{}{}", answer.out, answer.errors);
        assert!(!answer.good, "{arguments:?} should fail: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?} should say {word:?}, it says: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        Ok(())
    }

    /// Changes the ledger by hand, as nobody should.
    fn accident(&self, statements: &str) -> Result<()> {
        use diesel::Connection;
        use diesel::connection::SimpleConnection;
        let path = self.folder.path().join("letterlab-data/ledger.db");
        Ok(diesel::SqliteConnection::establish(&path.to_string_lossy())?.batch_execute(statements)?)
    }

    fn succeeds(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.run(arguments)?;
        assert!(answer.good, "{arguments:?}: {}{}", answer.out, answer.errors);
        Ok(answer.out)
    }
}

const PEOPLE: &str = "email,First Name,recording_mode,consent_source,consent_date\n\
    anna@example.com,Anna,pseudonymous,form,2026-01-01\n\
    boris@example.org,Борис,pseudonymous,form,2026-01-01\n\
    lan@example.net,Lan,pseudonymous,form,2026-01-01\n\
    devi@example.com,देवी,pseudonymous,form,2026-01-01\n";

#[test]
fn a_campaign_is_written_checked_launched_and_steered_from_the_command_line() -> Result<()> {
    let operator = Operator::new()?;
    operator.write("people.csv", PEOPLE)?;
    let imported = operator.succeeds(&["import", "people.csv", "--list", "customers"])?;
    assert!(imported.contains("4 added") && imported.contains("List customers: 4 people"), "{imported}");
    let again = operator.succeeds(&["import", "people.csv", "--list", "customers"])?;
    assert!(again.contains("0 added") && again.contains("4 unchanged"), "{again}");

    let template = operator.succeeds(&["campaign", "template"])?;
    operator.write("campaign.toml", &template)?;
    let checked = operator.succeeds(&["campaign", "check", "campaign.toml"])?;
    assert!(checked.contains("nothing wrong") && checked.contains("4 people"), "{checked}");
    let long = template.replace("three things changed this autumn.", &"Three things changed this autumn. ".repeat(4_000));
    operator.write("long.toml", long.replace("\"autumn-letter\"", "\"long-letter\""))?;
    operator.fails(&["campaign", "check", "long.toml"], &["stop  size", "Gmail cuts letters at 102 kB"])?;
    operator.succeeds(&["campaign", "create", "long.toml"])?;
    for verb in ["seal", "launch"] {
        operator.fails(&["campaign", verb, "long-letter"], &["stop  size", "Gmail cuts letters at 102 kB"])?;
    }
    operator.succeeds(&["campaign", "delete", "long-letter"])?;
    operator.succeeds(&["campaign", "create", "campaign.toml"])?;
    operator.fails(&["campaign", "create", "campaign.toml"], &["autumn-letter", "exists already"])?;
    let checked = operator.succeeds(&["campaign", "check", "autumn-letter"])?;
    assert!(checked.contains("ok    one difference") && checked.contains("not looked at: whether links answer"), "{checked}");
    let json: serde_json::Value = serde_json::from_str(&operator.succeeds(&["campaign", "check", "autumn-letter", "--json"])?)?;
    assert!(json["level"] != "stop" && json["items"].as_array().is_some_and(|items| items.len() > 8), "{json}");
    operator.fails(&["campaign", "check", "winter-letter"], &["neither a file nor a stored campaign"])?;
    let shown = operator.succeeds(&["campaign", "preview", "autumn-letter", "--variant", "b", "--person", "anna@example.com"])?;
    assert!(shown.contains("Subject:") && shown.contains("Anna"), "{shown}");
    operator.fails(&["campaign", "preview", "autumn-letter", "--set", "Lan"], &["FIELD=VALUE"])?;
    operator.fails(&["campaign", "preview", "autumn-letter", "--person", "who@example.com"], &["nobody has this address"])?;
    operator.fails(&["campaign", "test-mail", "autumn-letter", "--to", "ada@example.org"], &["test mail could not be sent", "relay"])?;
    let draft = operator.succeeds(&["campaign", "show", "autumn-letter"])?;
    assert!(draft.contains("B differs from A in: subject.") && draft.contains("Tried just now"), "{draft}");
    let past = ["cannot leave at 2020-12-01T07:00:00Z: it is 20", "already", "Write a later moment", "leave --at away"];
    operator.fails(&["campaign", "launch", "autumn-letter", "--at", "2020-12-01T08:00:00+01:00"], &past)?;
    operator.fails(&["campaign", "schedule", "autumn-letter", "2020-12-01T08:00:00+01:00"], &past)?;
    let listed = operator.succeeds(&["campaign", "list"])?;
    assert!(listed.contains("   1  autumn-letter                    draft      customers"), "a refused moment launches nothing: {listed}");
    operator.fails(&["campaign", "pause", "autumn-letter"], &["is draft; it sends nothing that could be paused"])?;
    operator.succeeds(&["campaign", "seal", "autumn-letter"])?;
    operator.succeeds(&["campaign", "pause", "autumn-letter"])?;
    let launched = operator.succeeds(&["campaign", "launch", "autumn-letter"])?;
    assert!(launched.contains("4 people enrolled. It is paused (paused by hand)"), "{launched}");
    let resumed = operator.succeeds(&["campaign", "resume", "autumn-letter"])?;
    assert!(resumed.contains("not yet sent, 4 letters"), "{resumed}");
    operator.fails(&["campaign", "resume", "autumn-letter"], &["it is not paused"])?;
    operator.fails(&["campaign", "replace", "autumn-letter", "campaign.toml"], &["sending", "only a draft"])?;
    operator.fails(&["campaign", "decide", "autumn-letter", "B"], &["observing"])?;
    operator.succeeds(&["campaign", "pause", "autumn-letter"])?;
    assert!(operator.succeeds(&["campaign", "show", "autumn-letter"])?.contains("paused by hand"));
    operator.succeeds(&["campaign", "resume", "autumn-letter"])?;
    let scheduled = operator.succeeds(&["campaign", "schedule", "autumn-letter", "2036-12-01T08:00:00+01:00"])?;
    assert!(scheduled.contains("2036-12-01T07:00:00Z"), "{scheduled}");
    assert!(operator.succeeds(&["campaign", "show", "autumn-letter"])?.contains("begins at 2036-12-01T07:00:00Z"));
    operator.succeeds(&["campaign", "schedule", "autumn-letter"])?;
    operator.fails(&["campaign", "schedule", "autumn-letter", "tomorrow"], &["'tomorrow' is no moment", "2026-12-01T09:00:00+01:00"])?;
    assert!(operator.succeeds(&["letters-to", "anna@example.com"])?.contains("autumn-letter  queued"));
    operator.fails(&["letters-to", "nobody@example.com"], &["nobody has this address"])?;
    assert!(operator.succeeds(&["relay", "list"])?.contains("127.0.0.1:25"));
    operator.fails(&["relay", "test", "other"], &["no relay is named other"])?;

    let results = operator.succeeds(&["results", "autumn-letter"])?;
    assert!(results.contains("annot estimate"), "nothing is delivered yet: {results}");
    let json: serde_json::Value = serde_json::from_str(&operator.succeeds(&["results", "autumn-letter", "--json"])?)?;
    assert_eq!(json["verdict"]["outcome"], "not_estimable");
    assert_eq!(operator.succeeds(&["results", "autumn-letter", "--csv"])?.lines().count(), 3);
    assert!(operator.succeeds(&["share", "autumn-letter"])?.contains("/r/"));
    assert!(operator.succeeds(&["campaign", "resend", "autumn-letter"])?.contains("0 letters"));
    let cancelled = operator.succeeds(&["campaign", "cancel", "autumn-letter"])?;
    assert!(cancelled.contains("4 letters will not be sent"), "{cancelled}");
    assert!(operator.succeeds(&["campaign", "show", "autumn-letter"])?.contains("4 skipped: sending cancelled"));
    assert!(operator.succeeds(&["campaign", "show", "autumn-letter"])?.contains("no letter leaves any more"));
    operator.succeeds(&["campaign", "close", "autumn-letter"])?;
    assert!(operator.succeeds(&["status"])?.contains("holds  autumn-letter"));
    let copied = operator.succeeds(&["backup", "copies/today"])?;
    assert!(copied.starts_with("copies/today holds vault.db, ledger.db, keys.toml. RESTORE.txt"), "{copied}");
    operator.fails(&["backup", "copies/today"], &["copies/today is there already"])?;
    assert!(operator.succeeds(&["verify"])?.contains("0 differences"));
    operator.accident("UPDATE subject SET open_flags = 1 WHERE variant = 0; UPDATE tally SET value = 7 WHERE name = 'enrolled'")?;
    operator.fails(&["verify", "autumn-letter"], &["recipients", "enrolled: 7, ", "`letterlab rebuild`"])?;
    operator.fails(&["rebuild", "winter-letter"], &["winter-letter"])?;
    let rebuilt = operator.succeeds(&["rebuild"])?;
    assert!(rebuilt.starts_with("4 recipients looked at, 2 mended; ") && rebuilt.contains(" counts corrected"), "{rebuilt}");
    assert!(operator.succeeds(&["verify", "autumn-letter"])?.contains("0 differences"));
    let again: serde_json::Value = serde_json::from_str(&operator.succeeds(&["rebuild", "autumn-letter", "--json"])?)?;
    assert_eq!(again, serde_json::json!({"recipients": 4, "mended": 0, "corrected": 0, "is_finished": true}));
    let rotated = operator.succeeds(&["keys", "rotate", "--in-hours", "2"])?;
    assert!(
        rotated.contains("key 2 is in ") && rotated.contains("no restart is needed") && rotated.contains("within 2 hours"),
        "{rotated}"
    );
    operator.fails(&["keys", "rotate", "--in-hours", "9999"], &["--in-hours"])?;
    Ok(())
}

#[test]
fn every_mistake_of_a_campaign_file_is_told_at_once() -> Result<()> {
    let operator = Operator::new()?;
    operator.write("people.csv", PEOPLE)?;
    operator.succeeds(&["import", "people.csv", "--list", "customers"])?;
    let template = operator.succeeds(&["campaign", "template"])?;
    let broken = template
        .replace("name = \"autumn-letter\"", "name = \"autumn letter\"")
        .replace("list = \"customers\"", "list = \"custommers\"")
        .replace("preheader = ", "preheadr = ")
        .replace("metric = \"click\"", "metric = \"sales\"")
        .replace("share = 1.0", "share = \"all\"")
        .replace("observe_hours = 72", "observe_hours = 0")
        .replace("margin = 0.005", "margin = \"small\"");
    operator.write("broken.toml", &broken)?;
    let at = |words: &str| broken.lines().position(|line| line.starts_with(words)).map_or(0, |index| index + 1);
    let told = [
        format!("broken.toml: line {}: name: a campaign's name is 1 to 80 letters", at("name")),
        format!("line {}: list: no list is named \"custommers\"; there are: customers", at("list")),
        format!("line {}: letter.preheadr: there is no such key under [letter]; did you mean `preheader`?", at("preheadr")),
        format!("line {}: test.metric: write open or click", at("metric")),
        format!("line {}: test.share: this is the text \"all\"; write a number above 0 and at most 1, such as 0.2", at("share")),
        format!("line {}: test.observe_hours: the observation must last 1 to 2,160 hours", at("observe_hours")),
        format!("line {}: test.guards.unsubscribe.margin: this is the text \"small\"; write a number", at("guards")),
    ];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    operator.fails(&["campaign", "check", "broken.toml"], &told)?;
    operator.fails(&["campaign", "create", "broken.toml"], &[told.as_slice(), &["the campaign has 7 problems"]].concat())?;

    // Nobody can click a letter without links, or read an empty one.
    let unlinked = template
        .replace("[first one](https://example.org/first)", "first one")
        .replace("[See all of them](https://example.org/all?from=letter)", "");
    operator.write("unlinked.toml", &unlinked)?;
    operator.fails(
        &["campaign", "check", "unlinked.toml"],
        &["letter.text: the letter has no link whose clicks can be counted", "add a link"],
    )?;
    operator.fails(&["campaign", "create", "unlinked.toml"], &["the letter has no link"])?;
    operator.write("letter.md", "\n")?;
    let (before, rest) = unlinked.split_once("text = \"\"\"").context("text")?;
    let (_, after) = rest.split_once("\"\"\"").context("end of text")?;
    operator.write("empty.toml", format!("{before}file = \"letter.md\"{after}"))?;
    operator.fails(&["campaign", "check", "empty.toml"], &["letter.text: the letter is empty", "write what people shall read"])?;
    operator.write("torn.toml", template.replace("name = \"autumn-letter\"", "name = autumn letter"))?;
    operator.fails(&["campaign", "check", "torn.toml"], &["line 3: this is not TOML", "write each line as key = value"])?;
    Ok(())
}

#[test]
fn accounts_and_keys_are_made_from_the_command_line() -> Result<()> {
    let operator = Operator::new()?;
    let made = operator.run_with_input(&["user", "create", "ada", "--administrator"], b"a long password\n")?;
    assert!(made.good && made.out.contains("administrator"), "{}{}", made.out, made.errors);
    let short = operator.run_with_input(&["user", "create", "bob"], b"short\n")?;
    assert!(!short.good && short.errors.contains("at least 10 characters"), "{}", short.errors);
    assert_eq!(operator.succeeds(&["user", "api-key", "ada"])?.trim().len(), 64);
    let changed = operator.run_with_input(&["user", "password", "ada"], b"another long password\n")?;
    assert!(changed.good && changed.out.contains("API keys are withdrawn"), "{}{}", changed.out, changed.errors);
    assert!(operator.succeeds(&["user", "revoke-api-keys", "ada"])?.contains("0 keys"), "none is left to withdraw");
    operator.fails(&["user", "api-key", "nobody"], &["no account", "nobody"])
}

#[test]
fn a_reader_who_stops_reading_is_no_fault() -> Result<()> {
    let operator = Operator::new()?;
    let mut child = operator.command(&["config"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Closed before a line is read; a fast program may have written everything by then, which is as good.
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    Ok(())
}

#[test]
fn broken_people_files_are_refused_with_line_and_remedy() -> Result<()> {
    let operator = Operator::new()?;
    operator.write("latin.csv", b"email,name\nanna@example.com,Andr\xe9\n")?;
    operator.fails(&["import", "latin.csv"], &["latin.csv", "line 2", "Latin-1", "UTF-8"])?;
    operator.write("quote.csv", "email,name\nanna@example.com,\"Anna\nboris@example.org,Boris\n")?;
    operator.fails(&["import", "quote.csv"], &["line 2", "never closed"])?;
    operator.write("header.csv", "name,town\nAnna,Köln\n")?;
    operator.fails(&["import", "header.csv"], &["no e-mail column", "name", "town"])?;
    operator.fails(&["import", "missing.csv"], &["missing.csv"])?;
    operator.write("mixed.csv", "email\nanna@example.com\nnot an address\n")?;
    operator.fails(&["import", "mixed.csv"], &["1 added", "1 refused", "line 3"])?;
    operator.write("modes.csv", "email,recording_mode\nanna@example.com,identified\nboris@example.org,pseudonymous\n")?;
    operator.fails(
        &["import", "modes.csv"],
        &["1 refused", "line 2: identified needs the person's consent", "consent_source", "consent_date"],
    )?;
    let ahead = ["import", "modes.csv", "--recording", "off", "--consent-source", "form", "--consent-date", "2999-01-01"];
    operator.fails(&ahead, &["--consent-date", "in the future"])?;
    operator.fails(&["export", "costumers"], &["no list is named \"costumers\"; there are: subscribers"])?;
    operator.fails(&["power", "--list", "costumers", "--lift", "0.1"], &["no list is named \"costumers\"; there are: subscribers"])
}

#[test]
fn where_nothing_is_yet_reading_says_so_and_makes_nothing() -> Result<()> {
    let operator = Operator::new()?;
    let reading: [&[&str]; 8] = [
        &["status"],
        &["verify"],
        &["campaign", "list"],
        &["campaign", "show", "autumn"],
        &["export", "customers"],
        &["letters-to", "anna@example.com"],
        &["image", "list"],
        &["user", "list"],
    ];
    for command in reading {
        operator.fails(command, &["there is no data yet", "letterlab-data/vault.db", "letterlab import", "--config"])?;
    }
    operator.succeeds(&["campaign", "template"])?;
    operator.succeeds(&["relay", "list"])?;
    assert_eq!(std::fs::read_dir(operator.folder.path())?.count(), 0, "nothing was made");
    operator.write("people.csv", "email\nanna@example.com\n")?;
    let imported = operator.succeeds(&["import", "people.csv"])?;
    assert!(imported.contains("1 line:") && imported.contains("List subscribers: 1 person, 0 of them"), "{imported}");
    assert!(operator.succeeds(&["verify"])?.contains("no campaign yet"));
    assert!(operator.succeeds(&["campaign", "list"])?.contains("No campaigns yet"));
    assert!(operator.succeeds(&["image", "list"])?.contains("No picture is uploaded yet"));
    assert!(operator.succeeds(&["user", "list"])?.contains("There is no account yet"));
    Ok(())
}

#[test]
fn one_person_is_suppressed_let_go_on_and_erased() -> Result<()> {
    let operator = Operator::new()?;
    operator.write("people.csv", PEOPLE)?;
    operator.succeeds(&["import", "people.csv"])?;
    assert!(operator.succeeds(&["letters-to", "anna@example.com"])?.contains("May be mailed; recording: pseudonymous."));
    assert!(operator.succeeds(&["person", "suppress", "anna@example.com"])?.contains("No more letters go"));
    assert!(operator.succeeds(&["person", "suppress", "anna@example.com"])?.contains("already"));
    assert!(operator.succeeds(&["letters-to", "anna@example.com"])?.contains("May not be mailed any more: by hand"));
    assert!(operator.succeeds(&["person", "unsuppress", "anna@example.com"])?.contains("may be mailed again"));
    operator.succeeds(&["person", "erase", "anna@example.com"])?;
    operator.fails(&["letters-to", "anna@example.com"], &["nobody has this address"])?;
    operator.fails(&["person", "erase", "anna@example.com"], &["nobody has this address"])?;
    assert!(!operator.succeeds(&["export", "subscribers"])?.contains("anna"));
    Ok(())
}

#[test]
fn broken_settings_and_campaigns_name_file_line_and_key() -> Result<()> {
    let operator = Operator::new()?;
    operator.write("people.csv", PEOPLE)?;
    operator.succeeds(&["import", "people.csv", "--list", "customers"])?;
    let template = operator.succeeds(&["campaign", "template"])?;
    operator.write("typo.toml", template.replace("{{ first_name |", "{{ frist_name |"))?;
    operator.fails(&["campaign", "check", "typo.toml"], &["typo.toml", "frist_name", "did you mean", "first_name"])?;
    operator.write("list.toml", template.replace("\"customers\"", "\"costumers\""))?;
    operator.fails(&["campaign", "check", "list.toml"], &["costumers", "customers"])?;
    operator.write("key.toml", template.replace("metric = ", "metrik = "))?;
    operator.fails(&["campaign", "create", "key.toml"], &["key.toml", "line", "metrik"])?;
    operator.fails(&["campaign", "launch", "nothing"], &["no campaign is named", "nothing"])?;
    operator.write("letterlab.toml", "[web]\nlisten = \"127.0.0.1:0\"\nlisen = 1\n")?;
    operator.fails(&["campaign", "list"], &["letterlab.toml, line 3", "lisen"])
}

#[test]
fn a_taken_port_a_newer_database_and_a_broken_key_file_are_told() -> Result<()> {
    let operator = Operator::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    operator.write("letterlab.toml", format!("[web]\nlisten = \"{}\"\n", taken.local_addr()?))?;
    operator.fails(&["serve"], &["cannot listen on", "web.listen", "another program"])?;
    operator.write("letterlab.toml", "")?;
    operator.write("people.csv", PEOPLE)?;
    operator.succeeds(&["import", "people.csv"])?;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000000')";
    let database = operator.folder.path().join("letterlab-data/ledger.db");
    assert!(Command::new("sqlite3").arg(&database).arg(newer).status()?.success());
    operator.fails(&["campaign", "list"], &["ledger", "99991231000000", "newer Letterlab"])?;
    operator.write("letterlab-data/keys.toml", "secret = \"c0ffee\"")?;
    let answer = operator.run(&["campaign", "list"])?;
    assert!(!answer.good && answer.errors.contains("keys.toml") && !answer.errors.contains("c0ffee"), "{}", answer.errors);
    Ok(())
}

#[test]
fn a_message_nobody_understands_is_told_apart_from_a_bounce() -> Result<()> {
    let operator = Operator::new()?;
    let answer = operator.run_with_input(&["bounce"], b"From: a@example.com\r\nSubject: hello\r\n\r\nhow are you?\r\n")?;
    assert!(!answer.good && answer.out.contains("not understood"), "{}{}", answer.out, answer.errors);
    Ok(())
}

/// A relay that offers AUTH and refuses every password.
fn refusing_relay() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = refuse(stream);
        }
    });
    Ok(address)
}

fn refuse(mut stream: std::net::TcpStream) -> std::io::Result<()> {
    stream.write_all(b"220 relay.test ESMTP\r\n")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next().transpose()? {
        let answer: &[u8] = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => b"250-relay.test\r\n250 AUTH PLAIN LOGIN\r\n",
            "AUTH" => b"535 5.7.8 authentication failed\r\n",
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => b"503 5.5.1 log in first\r\n",
        };
        stream.write_all(answer)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_at_the_relay_pauses_the_campaign_and_says_why() -> Result<()> {
    let operator = Operator::new()?;
    let relay = refusing_relay()?;
    operator.write(
        "letterlab.toml",
        format!(
            "[web]\nlisten = \"127.0.0.1:0\"\n[relay]\nhost = \"127.0.0.1\"\nport = {}\ncredentials = {{ username = \"news\", password = \"hunter2hunter2\" }}\n",
            relay.port()
        ),
    )?;
    operator.write("people.csv", PEOPLE)?;
    operator.succeeds(&["import", "people.csv", "--list", "customers"])?;
    operator.write("campaign.toml", operator.succeeds(&["campaign", "template"])?)?;
    operator.succeeds(&["campaign", "create", "campaign.toml"])?;
    operator.succeeds(&["campaign", "launch", "autumn-letter"])?;
    let mut serve = operator.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let shown = crate::installation::wait_until("the campaign pausing", || {
        let shown = operator.succeeds(&["campaign", "show", "autumn-letter"])?;
        Ok(shown.contains("paused:").then_some(shown))
    })
    .await;
    // SIGTERM, as a service manager would.
    Command::new("kill").arg(serve.id().to_string()).status()?;
    let ended = serve.wait()?;
    let mut log = String::new();
    std::io::Read::read_to_string(&mut serve.stderr.take().context("log")?, &mut log)?;
    let shown = shown.with_context(|| log.clone())?;
    assert!(shown.contains("535"), "{shown}");
    assert!(shown.contains("4 waiting"), "nobody is lost: {shown}");
    assert!(ended.success(), "SIGTERM drains: {log}");
    assert!(!log.contains("hunter2") && !log.contains("example.com"), "no secret and no address in the log: {log}");
    Ok(())
}

#[test]
fn letters_are_compared_side_by_side_and_tried_out() -> Result<()> {
    let operator = Operator::new()?;
    let letter =
        "<html><head><style>p { margin: 0 }</style></head><body><p>Hello</p><a href=\"https://x.example/a\">Buy now</a></body></html>";
    operator.write("a.html", letter)?;
    operator.write("b.html", letter.replace("Buy now", "Get it"))?;
    operator.write("c.html", letter.replace("Buy now", "Get it").replace("Hello", "Hi"))?;
    operator.write("d.html", letter.replace("<p>", "<P >").replace('"', "'"))?;
    let one = operator.run(&["letters", "compare", "a.html", "b.html"])?;
    assert!(one.good && one.out.contains("one element: link 'Buy now'"), "{}", one.out);
    assert!(one.out.lines().any(|line| line.contains("[Buy now] ") && line.contains("| [Get it]")), "{}", one.out);
    let several = operator.run(&["letters", "compare", "a.html", "c.html"])?;
    assert!(!several.good && several.out.contains("2 elements") && several.out.contains("paragraph 'Hello'"), "{}", several.out);
    assert!(several.out.lines().any(|line| line.contains("[Hello]") && line.contains("| [Hi]")), "{}", several.out);
    let same = operator.run(&["letters", "compare", "a.html", "d.html"])?;
    assert!(!same.good && same.out.contains("differ in nothing"), "{}", same.out);
    let subjects = operator.run(&["letters", "compare", "a.html", "d.html", "--subject", "One", "--subject", "Two", "--json"])?;
    let json: serde_json::Value = serde_json::from_str(&subjects.out)?;
    assert!(subjects.good && json["outcome"]["one"]["place"] == "subject", "{json}");
    assert!(operator.succeeds(&["letters", "parts", "a.html"])?.contains("<a> "), "what may vary is listed");
    operator.write("tags.html", "<p>*|FNAME|*</p>")?;
    assert!(operator.succeeds(&["letters", "rewrite", "tags.html"])?.contains("{{ first_name }}"));
    std::fs::remove_file(operator.folder.path().join("tags.html"))?;
    operator.write("e.txt", letter)?;
    operator.fails(&["letters", "compare", "a.html", "e.txt"], &["e.txt", ".mjml, .html or .md"])?;
    operator.fails(&["letters", "compare", "a.html", "b.html", "--subject", "One"], &["once per letter"])?;
    let tried = operator.run(&["letters", "check", ".", "--rounds", "2"])?;
    let row = tried.out.lines().any(|line| line.starts_with("a.html") && line.contains("yes"));
    assert!(tried.good && row && tried.out.contains("4 letters; "), "{}", tried.out);
    Ok(())
}
