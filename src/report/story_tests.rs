//! A page from a ledger with events: frozen at the sealed time, watched while it is open, and computed again by its own script.

use jiff::{SignedDuration, Timestamp};

use crate::campaign::file;
use crate::campaign::store::{self as campaigns, Campaign};
use crate::db::{LedgerDb, Location};
use crate::ids::{EventId, Pseudonym, RecordingMode, VariantNumber};
use crate::ledger::event::{Event, EventKind, Hit, Whose};
use crate::ledger::subject::{Part, Subject};
use crate::ledger::{look, projection, store as events};
use crate::report::judged;
use crate::report::page::{Estimate, Outcome, ResultPage};
use crate::report::results::{due, results};
use crate::report::{export, script};
use crate::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};

struct Ledger {
    db: LedgerDb,
    campaign: Campaign,
    sent_at: Timestamp,
    _folder: tempfile::TempDir,
}

fn bytes(number: u32, tag: u8) -> [u8; 16] {
    let mut bytes = [tag; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

impl Ledger {
    /// `trials` recipients per arm, all delivered at once, three more held out; nobody has clicked.
    fn new(method: &str, trials: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = LedgerDb::open(&Location::Sqlite(folder.path().join("ledger.db"))).unwrap();
        let text = file::template().replace("method = \"fixed\"", &format!("method = \"{method}\"")).replace("share = 1.0", "share = 0.9");
        let definition = file::read(&text, &|_| Ok(String::new())).unwrap();
        let sent_at = Timestamp::from_second(1_800_000_000).unwrap();
        let number = db.write(|conn| campaigns::create(conn, &definition, sent_at)).unwrap();
        let mut campaign = db.read(|conn| campaigns::by_number(conn, number)).unwrap().unwrap();
        campaign.observing_at = Some(sent_at);
        let ledger = Self { db, campaign, sent_at, _folder: folder };
        let subject = |person: u32, part: Part| Subject {
            pseudonym: Pseudonym::from_bytes(bytes(person, 1)),
            campaign: number,
            variant: VariantNumber(u8::from(part == Part::Test && person % 2 == 1)),
            part,
            stratum: "other".to_owned(),
            recording: RecordingMode::Pseudonymous,
        };
        let people = 2 * trials;
        let subjects: Vec<Subject> = (0..people).map(|person| subject(person, Part::Test)).collect();
        let held_out: Vec<Subject> = (people..people + 3).map(|person| subject(person, Part::Holdout)).collect();
        ledger.db.write(|conn| events::enrol(conn, &subjects)).unwrap();
        ledger.db.write(|conn| events::enrol(conn, &held_out)).unwrap();
        ledger.append((0..people).map(|person| ledger.event(person, EventKind::Sent, 0)).collect());
        ledger
    }

    fn event(&self, person: u32, kind: EventKind, hour: i64) -> Event {
        let hit = Hit {
            link: None,
            verdict: Verdict { class: Class::Human, confidence: Confidence::Strong, reasons: Reasons::NONE, ruleset: 1 },
            family: ClientFamily::Unknown,
            device: DeviceClass::Unknown,
            multiplicity: 1,
        };
        Event {
            id: EventId::from_bytes(bytes(person, if kind == EventKind::Sent { 2 } else { 3 })),
            campaign: self.campaign.number,
            whose: Whose::Recipient(Pseudonym::from_bytes(bytes(person, 1))),
            kind,
            at: self.after(hour),
            hit: (kind == EventKind::Click).then_some(hit),
            reason: None,
        }
    }

    fn append(&self, all: Vec<Event>) {
        for some in all.chunks(1000) {
            self.db.write(|conn| events::append(conn, some)).unwrap();
        }
        while projection::advance(&self.db).unwrap() > 0 {}
    }

    fn after(&self, hours: i64) -> Timestamp {
        self.sent_at.checked_add(SignedDuration::from_hours(hours)).unwrap()
    }

    /// `a` and `b` recipients of the arms click for the first time at this hour, from the `from`-th recipient of each arm on.
    fn click(&self, from: u32, a: u32, b: u32, hour: i64) {
        let people = (from..from + a).map(|rank| 2 * rank).chain((from..from + b).map(|rank| 2 * rank + 1));
        self.append(people.map(|person| self.event(person, EventKind::Click, hour)).collect());
    }

    /// Writes the sealed time's facts down, as background work does.
    fn look(&mut self, hour: i64) {
        let (number, due, now) = (self.campaign.number, due(&self.campaign).unwrap(), self.after(hour));
        let taken = self.db.read(|conn| look::take(conn, number, EventKind::Click, due)).unwrap();
        self.db.write(|conn| events::save_look(conn, number, due, &taken)).unwrap();
        self.campaign.looked_at = Some(now);
    }

    /// Writes down who is at risk and what is found, as background work does.
    fn watch(&self, hour: i64) {
        let (number, now) = (self.campaign.number, self.after(hour));
        self.db.write(|conn| events::begin_watch(conn, number, now)).unwrap();
        let found = self.db.read(|conn| judged::found(conn, &self.campaign)).unwrap();
        if let Some(crossing) = &found.crossing {
            self.db.write(|conn| events::save_crossing(conn, number, crossing, now)).unwrap();
            if found.passes {
                self.db.write(|conn| events::settle(conn, number, now)).unwrap();
            }
        }
    }

    /// Letters of an arm come back, from the `from`-th recipient on.
    fn bounce(&self, variant: u32, from: u32, count: u32, hour: i64) {
        let people = (from..from + count).map(|rank| 2 * rank + variant);
        let bounced = |person| Event { id: EventId::from_bytes(bytes(person, 4)), ..self.event(person, EventKind::Bounced, hour) };
        self.append(people.map(bounced).collect());
    }

    fn page(&self, hour: i64) -> ResultPage {
        self.db.read(|conn| results(conn, &self.campaign, self.after(hour))).unwrap()
    }
}

#[test]
fn a_verdict_at_its_sealed_time_stays_whatever_comes_later() {
    let mut ledger = Ledger::new("fixed", 1000);
    ledger.click(0, 20, 60, 10);
    assert_eq!(ledger.page(11).verdict.outcome, Outcome::NotYet);
    let uncounted = ledger.page(72);
    assert!(uncounted.verdict.sentence.contains("being counted") && uncounted.looked_at.is_none(), "{}", uncounted.verdict.sentence);
    ledger.look(73);
    let at_its_time = ledger.page(73);
    assert_eq!((at_its_time.verdict.outcome, at_its_time.verdict.winner.as_deref()), (Outcome::Winner, Some("B")));
    // A late rush to the control would turn it round.
    ledger.click(100, 200, 10, 80);
    let later = ledger.page(100);
    assert_eq!(later.verdict.sentence, at_its_time.verdict.sentence);
    assert_eq!((later.arms[0].successes, later.arms[1].successes), (20, 60));
    assert!(later.notes.iter().any(|note| note.contains("210 recipients clicked for the first time")), "{:?}", later.notes);
    assert_eq!(later.held_out, 3);
    assert_eq!(later.countings[0].counts, vec![(20, 1000), (60, 1000)], "raw counts stay too");
    assert_eq!(later.anytime, at_its_time.anytime);
}

#[test]
fn an_anytime_test_is_decided_as_soon_as_it_is_clear() {
    let ledger = Ledger::new("anytime", 1000);
    ledger.watch(0);
    ledger.click(0, 3, 4, 1);
    ledger.watch(1);
    let early = ledger.page(2);
    assert_eq!(early.verdict.outcome, Outcome::NotYet);
    ledger.click(10, 5, 80, 5);
    let unwritten = ledger.page(5);
    assert_eq!(unwritten.verdict.outcome, Outcome::NotYet, "a crossing counts once it is written down");
    assert!(unwritten.anytime.unwrap().sentence.contains("written down"));
    ledger.watch(5);
    let clear = ledger.page(6);
    assert_eq!((clear.verdict.outcome, clear.verdict.winner.as_deref()), (Outcome::Winner, Some("B")));
    let anytime = clear.anytime.as_ref().unwrap();
    assert!(anytime.decides && anytime.variants[0].p_value < 0.05);
    let band = &anytime.variants[0].band;
    assert!(band.len() > 20 && band.windows(2).all(|pair| pair[0].at <= pair[1].at && pair[0].p_value >= pair[1].p_value));
    assert!(band.last().unwrap().lower > 1.0);
    for point in band {
        let excludes = point.lower >= 1.0 || point.upper.is_some_and(|upper| upper <= 1.0);
        assert_eq!(excludes, point.p_value <= 0.05, "{point:?}");
    }
    let crossing = anytime.crossing.as_ref().unwrap();
    assert_eq!((crossing.variant.as_str(), crossing.successes.iter().sum::<u64>()), ("B", crossing.after));
    assert!(crossing.e_value.unwrap() >= 20.0 && crossing.settled_at.is_some());
    assert_eq!(anytime.at_risk, [1000, 1000]);
}

#[test]
fn a_written_crossing_is_not_taken_back_by_late_bounces_late_clicks_or_a_late_check() {
    let mut ledger = Ledger::new("anytime", 1000);
    ledger.watch(0);
    ledger.click(0, 5, 60, 1);
    ledger.watch(1);
    let found = ledger.page(2);
    assert_eq!(found.verdict.winner.as_deref(), Some("B"));
    let settled = |page: &ResultPage| (page.verdict.sentence.clone(), page.anytime.clone().unwrap().crossing);
    // Most of B's letters come back, the clickers' among them, and the control catches up.
    ledger.bounce(1, 0, 700, 3);
    ledger.click(100, 300, 1, 4);
    ledger.watch(5);
    let later = ledger.page(6);
    assert_eq!(settled(&later), settled(&found));
    assert_eq!(later.anytime.as_ref().unwrap().at_risk, [1000, 1000]);
    assert!(later.checks.iter().any(|check| check.level == crate::report::page::CheckLevel::Stop), "the loss is seen");
    for words in ["700 of the 2000 recipients watched since", "A check of the arms fails by now"] {
        assert!(later.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", later.notes);
    }
    let replayed = later.anytime.as_ref().unwrap().variants[0].band.last().unwrap().p_value;
    assert!(replayed <= found.anytime.as_ref().unwrap().variants[0].p_value, "bounced clickers stay in the sequence");
    ledger.look(72);
    let at_last = ledger.page(73);
    assert_eq!(settled(&at_last), settled(&found));
    assert_eq!(at_last.verdict.outcome, Outcome::Winner);
}

#[test]
fn a_check_that_fails_when_the_bound_is_crossed_forbids_the_verdict_until_it_passes() {
    let ledger = Ledger::new("anytime", 1000);
    ledger.bounce(0, 900, 60, 0);
    ledger.watch(0);
    ledger.click(0, 5, 60, 1);
    ledger.watch(1);
    let stopped = ledger.page(2);
    assert_eq!((stopped.verdict.outcome, stopped.verdict.winner), (Outcome::Stopped, None));
    let anytime = stopped.anytime.unwrap();
    assert_eq!(anytime.at_risk, [940, 1000]);
    assert_eq!(anytime.crossing.unwrap().settled_at, None);
    // The other arm loses as many: the arms can be compared again.
    ledger.bounce(1, 900, 55, 3);
    ledger.watch(4);
    assert_eq!(ledger.page(5).verdict.winner.as_deref(), Some("B"));
}

#[test]
fn the_page_is_said_in_every_form() {
    let mut ledger = Ledger::new("fixed", 1000);
    ledger.click(0, 20, 60, 10);
    ledger.look(72);
    let page = ledger.page(72);
    let ratios = page.clicks_to_opens.as_ref().unwrap();
    assert!(matches!(ratios.ratios[0], Estimate::NotEstimable { .. }), "nobody opened: {ratios:?}");
    let table = export::table(&page);
    for words in
        ["Variant B wins", "Looked at whenever one likes", "found in 4 of 5", "Clicks to opens", "Guard bounce", "Beside it: open rate"]
    {
        assert!(table.contains(words), "{words} is missing in:\n{table}");
    }
    let csv = export::csv(&page).unwrap();
    // The reader refuses lines of another length than the first.
    assert_eq!(csv::Reader::from_reader(csv.as_bytes()).records().filter(Result::is_ok).count(), 2, "{csv}");
    let read: ResultPage = serde_json::from_str(&serde_json::to_string(&page).unwrap()).unwrap();
    assert_eq!(
        read.anytime.map(|anytime| anytime.variants[0].band.len()),
        page.anytime.as_ref().map(|anytime| anytime.variants[0].band.len())
    );
    for language in script::Language::ALL {
        let text = script::script(&page, language);
        assert!(text.contains("20, 60") && text.contains("1000, 1000"), "{text}");
        // For a look by hand: LETTERLAB_SCRIPTS=folder keeps them.
        if let Ok(folder) = std::env::var("LETTERLAB_SCRIPTS") {
            std::fs::write(std::path::Path::new(&folder).join(format!("page.{}", language.as_str())), text).unwrap();
        }
    }
}
