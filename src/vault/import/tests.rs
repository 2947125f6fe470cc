//! Files as people really send them, each line accounted for, on a temporary vault.

use std::ops::ControlFlow;

use super::*;
use crate::db::Location;
use crate::ids::SubscriberId;
use crate::vault::address::EmailAddress;
use crate::vault::people::{Person, Suppression};
use crate::vault::store::{consents, lists, person_by_address, record_consent};

struct Vault {
    db: VaultDb,
    minted: u64,
    refusals_told: Vec<Refusal>,
    _folder: tempfile::TempDir,
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn options(list: &str) -> ImportOptions {
    ImportOptions { list: list.to_owned(), stated: None }
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = VaultDb::open(&Location::Sqlite(folder.path().join("vault.db"))).unwrap();
        Self { db, minted: 0, refusals_told: Vec::new(), _folder: folder }
    }

    fn import_with(&mut self, file: &[u8], options: &ImportOptions, chunks_most: u64) -> ImportReport {
        let survey = survey(file).unwrap();
        let minted = &mut self.minted;
        let mut mint = || {
            *minted += 1;
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&minted.to_be_bytes());
            SubscriberId::from_bytes(bytes).to_string()
        };
        let mut chunks = 0;
        let told = &mut self.refusals_told;
        told.clear();
        let report = import(
            &self.db,
            file,
            &survey,
            options,
            &mut mint,
            now(),
            &mut |progress| {
                chunks += 1;
                assert!(progress.bytes <= progress.of_bytes && progress.lines <= progress.of_lines);
                if chunks >= chunks_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
            &mut |refusal| told.push(refusal.clone()),
        )
        .unwrap();
        assert!(report.adds_up(), "{report:?}");
        assert_eq!(report.refused, self.refusals_told.len() as u64);
        assert_eq!(report.refused, report.refused_by_kind.values().sum::<u64>());
        if !report.stopped {
            assert_eq!(report.lines, survey.lines);
        }
        report
    }

    fn import(&mut self, file: &str) -> ImportReport {
        self.import_with(file.as_bytes(), &options("main"), u64::MAX)
    }

    fn find(&self, address: &str) -> Option<Person> {
        let address = EmailAddress::parse(address).unwrap();
        self.db.read(|conn| person_by_address(conn, &address)).unwrap()
    }

    fn person(&self, address: &str) -> Person {
        self.find(address).unwrap_or_else(|| panic!("{address} is missing"))
    }

    fn consent(&self, address: &str) -> Consent {
        let id = self.person(address).id;
        self.db.read(|conn| consents(conn, id)).unwrap().pop().unwrap()
    }

    fn export(&self, list: &str) -> String {
        let mut file = Vec::new();
        self.db.read(|conn| export(conn, list, &mut file)).unwrap();
        String::from_utf8(file).unwrap()
    }
}

fn counts(report: &ImportReport) -> [u64; 5] {
    [report.added, report.updated, report.unchanged, report.repeated, report.refused]
}

#[test]
fn quotes_commas_and_line_breaks_inside_fields_are_read_as_rfc_4180_says() {
    let mut vault = Vault::new();
    let report = vault.import("email,note\r\na@example.com,\"says \"\"hi\"\",\r\nthen goes\"\r\n\"b@example.com\",un\"quoted\n");
    assert_eq!(counts(&report), [2, 0, 0, 0, 0]);
    assert_eq!(vault.person("a@example.com").attributes["note"], "says \"hi\",\r\nthen goes");
    assert_eq!(vault.person("b@example.com").attributes["note"], "un\"quoted");
}

#[test]
fn delimiters_and_byte_order_marks_of_spreadsheets_are_understood() {
    for (file, delimiter) in [
        ("\u{feff}E-Mail;First Name\r\na@example.com;Zoë\r\n", b';'),
        ("\u{feff}\"E-Mail\";\"First, Name\"\na@example.com;Zoë", b';'),
        ("E-mail-Adresse\tFirst Name\na@example.com\tZoë\n", b'\t'),
        ("adresse e-mail,First-Name\n\n\na@example.com,Zoë\n", b','),
        ("CORREO\na@example.com\n", b','),
    ] {
        let survey = survey(file.as_bytes()).unwrap();
        assert_eq!((survey.delimiter, survey.lines, survey.bytes), (delimiter, 1, file.len() as u64), "{file:?}");
        let mut vault = Vault::new();
        assert_eq!(counts(&vault.import(file)), [1, 0, 0, 0, 0], "{file:?}");
        let person = vault.person("a@example.com");
        assert!(survey.header.len() == 1 || person.attributes["first_name"] == "Zoë", "{file:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_as_a_whole_is_refused_before_anything_is_stored() {
    let mut latin_1 = b"email,name\r\n".to_vec();
    latin_1.extend((0..9_000).flat_map(|_| *b"a@example.com,\"two\nlines\"\n"));
    latin_1.extend(b"b@example.com,J\xF6rg\n");
    let endless = format!("email,name\na@example.com,\"{}\n", "x\n".repeat(600_000));
    for (file, message) in [
        (&b""[..], "the file is empty"),
        (b"\xEF\xBB\xBF\r\n\n", "the file is empty"),
        (b"\xFF\xFEe\0m\0", "UTF-16"),
        (b"\xFE\xFF\0e\0m", "UTF-16"),
        (b"e\0m\0a\0", "UTF-16"),
        (b"email,name\na@example.com,J\xF6rg\n", "line 2 is not UTF-8; the file looks like Latin-1 / Windows-1252: save it as 'CSV UTF-8'"),
        (&latin_1, "line 18002 is not UTF-8"),
        (b"email\ncut@example.com\xC3", "line 2 is not UTF-8"),
        (b"email,name\n\na@example.com,ok\nb@example.com,\"open\nand on", "the quote opened on line 4 is never closed"),
        (endless.as_bytes(), "the quote opened on line 2 is never closed"),
        (b"name,city\nAnna,Ulm\n", "it has: name, city. Call one of them email (also taken: e-mail"),
        (b"a@example.com,Anna\n", "it has: (an address), Anna"),
        (b"email,E-Mail\n", "columns 1 and 2 of the header both mean the e-mail address"),
        (b"email,First Name,first_name\n", "columns 2 and 3 of the header both mean the field first_name"),
        (b"email,,city\n", "column 2 of the header has no name"),
        ("email,Prénom\n".as_bytes(), "column 2 of the header, \"Prénom\", cannot be a merge field"),
        (b"email,2nd\n", "column 2 of the header, \"2nd\""),
        (b"email\ra@example.com\r", "carriage returns alone"),
    ] {
        let found = survey(file).unwrap_err().to_string();
        assert!(found.contains(message), "{found:?} should say {message:?}");
        assert!(!found.contains("a@example.com"));
    }
}

#[test]
fn a_character_cut_by_any_border_between_reads_is_still_one_character() {
    struct Crumbs<'a>(&'a [u8], usize);
    impl Read for Crumbs<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }
    let file = "email,name\nа@example.com,\"नमस्ते 👋\nZoë\"\n".as_bytes();
    for size in 1..9 {
        assert_eq!(survey(Crumbs(file, size)).unwrap(), survey(file).unwrap());
    }
    assert!(survey(Crumbs(b"email\n\xE0\xA4\n", 2)).is_err());
}

#[test]
fn refused_lines_carry_their_line_number_and_why_but_never_what_stood_there() {
    let long = "x".repeat(10_001);
    let file = format!(
        "email,recording_mode,consent_date,name\r\n\
         a@secret.example,,,\"one\r\ntwo\r\nthree\"\r\n\
         nobody.secret,,,x\r\n\
         \r\n\
         b@secret.example,everything,,x\r\n\
         c@secret.example,off,31.12.2025,x\r\n\
         d@secret.example,off,2030-01-01,x\r\n\
         e@secret.example,off\r\n\
         ,,,\r\n\
         f@secret.example,off,,{long}\r\n\
         g@secret.example,off,,nul\0secret\r\n\
         h@secret.example,off,2025-12-31,x"
    );
    let mut vault = Vault::new();
    let report = vault.import(&file);
    assert_eq!(counts(&report), [2, 0, 0, 0, 8]);
    use RefusalKind::{Address, Date, Fields, Recording, Value};
    let found: Vec<_> = report.refusals.iter().map(|refusal| (refusal.line, refusal.kind)).collect();
    assert_eq!(found, [(5, Address), (7, Recording), (8, Date), (9, Date), (10, Fields), (11, Address), (12, Value), (13, Value)]);
    assert!(report.refusals[4].why.starts_with("2 fields where the header has 4"));
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains("secret") && json.contains("\"kind\":\"plain\""), "{json}");
    assert_eq!(report.refusals, vault.refusals_told);
}

#[test]
fn only_the_first_thousand_refusals_are_kept_and_all_are_counted() {
    let mut vault = Vault::new();
    let report = vault.import(&format!("email\n{}", "wrong\n".repeat(1_500)));
    assert_eq!((report.refused, report.refusals.len(), vault.refusals_told.len()), (1_500, REFUSALS_KEPT, 1_500));
}

#[test]
fn one_address_in_several_spellings_is_one_person_and_the_later_line_adds_to_the_earlier() {
    let mut vault = Vault::new();
    let file = "email,city,size\na@Bücher.example,Ulm,\na@xn--bcher-kva.EXAMPLE,,L\nA@bücher.example,Bonn,\nиван@example.com,Пермь,\n";
    let report = vault.import(file);
    assert_eq!((counts(&report), report.needing_smtputf8), ([2, 0, 0, 2, 0], 1));
    let person = vault.person("A@bücher.example");
    assert_eq!((person.attributes["city"].as_str(), person.attributes["size"].as_str()), ("Bonn", "L"));
    assert_eq!(person.address.reveal(), "a@xn--bcher-kva.example", "as it was first given");
    assert!(vault.person("иван@example.com").address.needs_smtputf8());
    assert_eq!(counts(&vault.import(file)), [0, 1, 1, 2, 0], "Ulm, then Bonn again");
}

#[test]
fn running_the_same_file_again_changes_nothing_and_a_changed_line_is_an_update() {
    let mut vault = Vault::new();
    let file = "email,city,list,recording_mode,suppression\na@example.com,Ulm,,aggregate,\nb@example.com,Bonn,other,off,by hand\n";
    assert_eq!(counts(&vault.import(file)), [2, 0, 0, 0, 0]);
    assert_eq!(counts(&vault.import(file)), [0, 0, 2, 0, 0]);
    assert_eq!(counts(&vault.import("email,city\na@example.com,Trier\nb@example.com,\n")), [0, 2, 0, 0, 0], "b joins the list main");
    assert_eq!(counts(&vault.import("email,suppression\na@example.com,complaint\n")), [0, 1, 0, 0, 0]);
    assert_eq!(vault.person("a@example.com").attributes["city"], "Trier");
    let lists = vault.db.read(lists).unwrap();
    let lists: Vec<_> = lists.iter().map(|list| (list.name.as_str(), list.people, list.suppressed)).collect();
    assert_eq!(lists, [("main", 2, 2), ("other", 1, 1)]);
}

#[test]
fn consent_is_taken_from_the_row_then_from_the_options_then_is_the_default() {
    let mut vault = Vault::new();
    let file = "email,consent,consent_source,consent_date\n\
                a@example.com,identified,form,2025-05-01T10:00:00+02:00\nb@example.com,,,\nc@example.com,Off,,\n";
    let report = vault.import(file);
    assert_eq!(report.defaults_used, 1);
    let form = Consent { mode: RecordingMode::Identified, source: "form".to_owned(), at: "2025-05-01T08:00:00Z".parse().unwrap() };
    assert_eq!(vault.consent("a@example.com"), form);
    assert_eq!(vault.consent("b@example.com"), Consent { mode: RecordingMode::Aggregate, source: "not stated".to_owned(), at: now() });
    assert_eq!(vault.person("c@example.com").recording, RecordingMode::Off);

    // What the operator states later, though older than the import, replaces the default, and no choice.
    let at = "2024-01-01T00:00:00Z".parse().unwrap();
    let stated = Consent { mode: RecordingMode::Pseudonymous, source: "shop".to_owned(), at };
    let options = ImportOptions { list: "main".to_owned(), stated: Some(stated.clone()) };
    let report = vault.import_with(file.as_bytes(), &options, u64::MAX);
    assert_eq!((counts(&report), report.defaults_used), ([0, 1, 2, 0, 0], 0));
    assert_eq!(vault.consent("b@example.com"), stated);
    let id = vault.person("b@example.com").id;
    assert_eq!(vault.db.read(|conn| consents(conn, id)).unwrap().len(), 2, "the default stays in the history");
}

#[test]
fn a_consent_is_never_made_up() {
    let mut vault = Vault::new();
    let file = "email,recording_mode,consent_source,consent_date\n\
                a@example.com,identified,,\nb@example.com,identified,form,\nc@example.com,identified,,2025-05-01\n\
                d@example.com,identified,not stated,2025-05-01\ne@example.com,pseudonymous,,\nf@example.com,off,,\n\
                g@example.com,identified,form,2025-05-01\n";
    let report = vault.import(file);
    assert_eq!(counts(&report), [3, 0, 0, 0, 4]);
    assert_eq!(report.refused_by_kind[&RefusalKind::Consent], 4);
    let told: Vec<(u64, &str)> = report.refusals.iter().map(|refusal| (refusal.line, refusal.why.as_str())).collect();
    let both = "identified needs the person's consent: fill in consent_source (where) and consent_date (when), or state it for the whole file; \
                without it write pseudonymous, aggregate or off";
    assert_eq!(told[0], (2, both));
    for (index, line, says) in [(1, 3, "fill in consent_date (when),"), (2, 4, "fill in consent_source (where),"), (3, 5, "consent_source")]
    {
        assert!(told[index].0 == line && told[index].1.contains(says), "{:?}", told[index]);
    }
    assert!(vault.find("a@example.com").is_none());
    // What the operator states for the whole file is what a line leaves out.
    let stated = Consent { mode: RecordingMode::Aggregate, source: "shop".to_owned(), at: "2024-01-01T00:00:00Z".parse().unwrap() };
    let options = ImportOptions { list: "main".to_owned(), stated: Some(stated.clone()) };
    assert_eq!(vault.import_with(file.as_bytes(), &options, u64::MAX).refused, 1, "the line that says nobody stated it");
    assert_eq!(vault.consent("a@example.com"), Consent { mode: RecordingMode::Identified, ..stated });
}

#[test]
fn an_older_or_undated_consent_in_a_file_does_not_override_a_newer_choice() {
    let mut vault = Vault::new();
    let dated = "email,recording_mode,consent_source,consent_date\na@example.com,identified,form,2025-01-01\n";
    let undated = "email,recording_mode\na@example.com,aggregate\n";
    vault.import(dated);
    let id = vault.person("a@example.com").id;
    let choice = Consent { mode: RecordingMode::Off, source: "own page".to_owned(), at: "2025-06-01T00:00:00Z".parse().unwrap() };
    vault.db.write(|conn| record_consent(conn, id, &choice, "0", now())).unwrap();
    for file in [dated, undated] {
        assert_eq!(counts(&vault.import(file)), [0, 0, 1, 0, 0]);
        assert_eq!(vault.consent("a@example.com"), choice);
    }
    assert_eq!(counts(&vault.import("email,recording_mode,consent_date\na@example.com,aggregate,2026-01-01\n")), [0, 1, 0, 0, 0]);
    assert_eq!(vault.person("a@example.com").recording, RecordingMode::Aggregate);
    let history = vault.db.read(|conn| consents(conn, id)).unwrap();
    assert_eq!(history.iter().map(|consent| consent.mode.as_str()).collect::<Vec<_>>(), ["identified", "off", "aggregate"]);
}

#[test]
fn a_mailchimp_export_gives_dates_and_suppressions_and_leaves_technical_columns_behind() {
    let file = "Email Address,First Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,UNSUB_TIME,CLEAN_TIME,LEID,NOTES,TAGS\n\
                a@example.com,Anna,4,\"2023-03-01 10:00:00\",192.0.2.7,\"2023-03-02 11:00:00\",192.0.2.8,48.1,,,1,private,\"\"\"vip\"\"\"\n\
                b@example.com,Ben,2,2023-03-01 10:00:00,,,,,2024-01-01 00:00:00,,2,,\n\
                c@example.com,Cem,2,,,,,,,2024-01-01 00:00:00,3,,\n";
    let mut vault = Vault::new();
    let report = vault.import(file);
    assert_eq!((report.kind, counts(&report), report.defaults_used), (Kind::Mailchimp, [3, 0, 0, 0, 0], 3));
    assert_eq!(report.dropped_columns, ["MEMBER_RATING", "OPTIN_IP", "CONFIRM_IP", "LATITUDE", "LEID", "NOTES"]);
    let anna = vault.person("a@example.com");
    assert_eq!(anna.attributes.keys().collect::<Vec<_>>(), ["first_name", "tags"]);
    assert_eq!((anna.recording, anna.suppressed), (RecordingMode::Aggregate, None));
    assert_eq!(vault.consent("a@example.com").at.to_string(), "2023-03-02T11:00:00Z");
    assert_eq!(vault.consent("b@example.com").at.to_string(), "2023-03-01T10:00:00Z");
    assert_eq!(vault.person("b@example.com").suppressed, Some(Suppression::Unsubscribed));
    assert_eq!(vault.person("c@example.com").suppressed, Some(Suppression::HardBounce));
    assert_eq!(counts(&vault.import(file)), [0, 0, 3, 0, 0]);
}

#[test]
fn a_listmonk_export_has_its_attributes_flattened_and_its_status_kept() {
    let file = "uuid,email,name,attributes,status,created_at,updated_at\n\
                u1,a@example.com,Anna Maria Rossi,\"{\"\"city\"\": \"\"Ulm\"\", \"\"shop\"\": {\"\"orders\"\": 3, \"\"vip\"\": true}, \"\"likes\"\": [\"\"tea\"\", 2], \"\"none\"\": null, \"\"list\"\": \"\"x\"\"}\",enabled,2024-01-01,2024-01-01\n\
                u2,b@example.com,Ben,{},blocklisted,,\n\
                u3,c@example.com,,,disabled,,\n\
                u4,d@example.com,Dan,not json,enabled,,\n\
                u5,e@example.com,Eve,\"{\"\"città\"\": \"\"Roma\"\"}\",enabled,,\n\
                u6,f@example.com,Fay,{},lost,,\n";
    let mut vault = Vault::new();
    let report = vault.import(file);
    assert_eq!((report.kind, counts(&report)), (Kind::Listmonk, [3, 0, 0, 0, 3]));
    let anna = vault.person("a@example.com");
    let attributes: Vec<_> = anna.attributes.iter().map(|(name, text)| format!("{name}={text}")).collect();
    assert_eq!(
        attributes,
        ["attribute_list=x", "city=Ulm", "first_name=Anna", "likes=tea, 2", "name=Anna Maria Rossi", "shop_orders=3", "shop_vip=true"]
    );
    assert_eq!(vault.person("b@example.com").suppressed, Some(Suppression::Unsubscribed));
    assert_eq!(vault.person("c@example.com").suppressed, Some(Suppression::ByHand));
    assert_eq!(counts(&vault.import(file)), [0, 0, 3, 0, 3]);
}

#[test]
fn a_stopped_import_keeps_what_is_stored_and_goes_on_when_run_again() {
    let run = run::LINES_MOST;
    let rows = run + 500;
    let mut file = "email\n".to_owned();
    // Backwards, so that neither the order of the lines nor that of the addresses alone can be what is stored first.
    (0..rows).for_each(|number| file.push_str(&format!("p{}@example.com\n", rows - 1 - number)));
    let mut vault = Vault::new();
    let report = vault.import_with(file.as_bytes(), &options("main"), 1);
    assert!(report.stopped);
    assert_eq!((report.lines, counts(&report)), (run, [run, 0, 0, 0, 0]));
    assert!(vault.find("p0@example.com").is_none());
    assert!(vault.find(&format!("p{}@example.com", rows - 1)).is_some());
    let report = vault.import(&file);
    assert_eq!((report.stopped, counts(&report)), (false, [500, 0, run, 0, 0]));
    // An address of the first run that comes again in the second is repeated.
    file.push_str(&format!("p{}@example.com\n", rows - 7));
    assert_eq!(counts(&vault.import(&file)), [0, 0, rows, 1, 0]);
}

#[test]
fn lines_of_one_address_count_in_their_order_whatever_run_or_transaction_they_are_in() {
    let mut file = "email,city,consent_date,recording_mode,consent_source\n".to_owned();
    let people = CHUNK_ROWS as u64 + 10;
    (0..people).for_each(|number| file.push_str(&format!("p{number:06}@example.com,first,2025-01-01,off,form\n")));
    file.push_str(
        "zoe@example.com,one,2025-01-01,off,form\nanna@example.com,one,2025-01-01,off,form\nnobody\nanna@example.com,two,2025-03-01,identified,form\n",
    );
    (0..people).rev().for_each(|number| file.push_str(&format!("p{number:06}@example.com,last,2025-02-01,pseudonymous,form\n")));
    file.push_str("anna@example.com,three,2025-02-01,aggregate,form\n");
    let mut vault = Vault::new();
    let report = vault.import(&file);
    assert_eq!(counts(&report), [people + 2, 0, 0, people + 2, 1]);
    assert_eq!(report.refusals[0].line, people + 4);
    assert_eq!(vault.person("anna@example.com").attributes["city"], "three");
    assert_eq!(vault.person("anna@example.com").recording, RecordingMode::Identified, "the newest consent counts");
    for number in [0, people / 2, people - 1] {
        let person = vault.person(&format!("p{number:06}@example.com"));
        assert_eq!((person.attributes["city"].as_str(), person.recording), ("last", RecordingMode::Pseudonymous));
    }
}

#[test]
fn an_exported_list_imports_back_unchanged_here_and_the_same_elsewhere() {
    let file = "email,note,city,recording_mode,consent_source,consent_date,suppression\n\
                a@example.com,\"says \"\"hi\"\",\nand goes\",Ulm,identified,form,2025-01-01T10:00:00.5Z,\n\
                иван@пример.example,;,,off,form,2025-01-01,unsubscribed\nb@example.com,,,,,,hard bounce\n";
    let mut vault = Vault::new();
    vault.import(file);
    let exported = vault.export("main");
    assert!(exported.starts_with("email,list,recording_mode,consent_source,consent_date,suppression,city,note\n"), "{exported}");
    assert_eq!(counts(&vault.import(&exported)), [0, 0, 3, 0, 0]);
    assert_eq!(vault.export("main"), exported);
    let mut other = Vault::new();
    assert_eq!(counts(&other.import_with(exported.as_bytes(), &options(""), u64::MAX)), [3, 0, 0, 0, 0]);
    assert_eq!(other.export("main"), exported);
    assert_eq!(vault.export("unknown").lines().count(), 1);
}

#[test]
fn a_row_without_any_list_is_refused() {
    let mut vault = Vault::new();
    let report = vault.import_with(b"email,list\na@example.com,\nb@example.com,news\n", &options(" "), u64::MAX);
    assert_eq!((counts(&report), report.refusals[0].kind), ([1, 0, 0, 0, 1], RefusalKind::List));
}

#[test]
fn a_file_that_changed_after_the_survey_is_noticed() {
    let vault = Vault::new();
    let survey = survey(&b"email\na@example.com\n"[..]).unwrap();
    for changed in [&b"mail\na@example.com\n"[..], b"email\na@example.com\nb@example.com\n", b"email\nJ\xF6rg\n"] {
        let answer = import(
            &vault.db,
            changed,
            &survey,
            &options("main"),
            &mut || "a".repeat(26),
            now(),
            &mut |_| ControlFlow::Continue(()),
            &mut |_| {},
        );
        // The one address is stored once; ids repeat here, so a second person cannot be.
        assert!(answer.is_err(), "{changed:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn survey_and_import_agree_on_records_and_lines_whatever_the_bytes(body in "[a\",;@.\r\n ]{0,60}") {
        let file = format!("email,x\n{body}");
        if let Ok(survey) = survey(file.as_bytes()) {
            let mut records = Records::open(file.as_bytes(), &survey).unwrap();
            let mut count = 0;
            let mut line_before = 1;
            while let Some((line, _)) = records.next().unwrap() {
                proptest::prop_assert!(line >= line_before);
                line_before = line;
                count += 1;
            }
            proptest::prop_assert_eq!(count, survey.lines);
            proptest::prop_assert!(records.csv.get_ref().lines.is_empty());
        }
    }
}
