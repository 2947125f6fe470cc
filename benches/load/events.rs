//! Many events in a ledger: what storing and counting one costs, what a result page costs as they grow, how long deriving everything again
//! takes. `events DATABASE SUBJECTS EVENTS`, a location as in the settings, of an empty database.
//!
//! Hits come in any order of recipients, in batches, stored and counted in one transaction as the loader does it. A page is everything but
//! the answer over HTTP. Not part of the product.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a program for measuring")]

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use letterlab::app::clock;
use letterlab::campaign::file;
use letterlab::campaign::store::{self as campaigns, Campaign};
use letterlab::db::{DbError, LedgerDb};
use letterlab::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use letterlab::ledger::event::{Event, EventKind, Hit, Whose};
use letterlab::ledger::projection;
use letterlab::ledger::store::{self, Counter};
use letterlab::ledger::subject::{Part, Subject};
use letterlab::report::results::results;
use letterlab::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const BATCH: u64 = 8_000;
const PAGES: u32 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let db = LedgerDb::open(&arguments[0].parse().unwrap()).unwrap();
    let (subjects, events): (u64, u64) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    let sent = Timestamp::from_second(1_800_000_000).unwrap();
    let definition = file::read(file::template(), &|_| Ok(String::new())).unwrap();
    let number = db.write(|conn| campaigns::create(conn, &definition, sent)).unwrap();
    let mut campaign = db.read(|conn| campaigns::by_number(conn, number)).unwrap().unwrap();
    campaign.observing_at = Some(sent);
    let people: Vec<Pseudonym> = (0..subjects).map(|_| Pseudonym::from_bytes(clock::fresh())).collect();

    let started = Instant::now();
    for some in people.chunks(5000) {
        let some: Vec<Subject> = some.iter().map(|one| subject(number, *one)).collect();
        db.write(|conn| store::enrol(conn, &some)).unwrap();
    }
    tell("subjects enrolled", subjects, started.elapsed());
    let started = Instant::now();
    for some in people.chunks(BATCH as usize) {
        add(&db, &some.iter().map(|one| event(number, *one, EventKind::Sent, sent, None)).collect::<Vec<_>>());
    }
    tell("letters sent, stored and counted", subjects, started.elapsed());

    let mut chance = StdRng::seed_from_u64(5);
    let (mut stored, mut part, mut since) = (0, 0, Instant::now());
    while stored < events {
        let hits: Vec<Event> = (0..BATCH.min(events - stored)).map(|_| hit(number, &people, sent, &mut chance)).collect();
        stored += hits.len() as u64;
        part += hits.len() as u64;
        add(&db, &hits);
        if stored == events || part >= events / 10 {
            tell(&format!("hits stored and counted, {stored} in all"), part, since.elapsed());
            pages(&db, &campaign);
            (part, since) = (0, Instant::now());
        }
    }
    let started = Instant::now();
    let verified = db.read(|conn| projection::verify(conn, number)).unwrap();
    println!("{} differences", verified.differences.len());
    tell("events derived again", verified.events, started.elapsed());
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}

fn tell(what: &str, many: u64, took: Duration) {
    println!("{what}: {many} in {:.1} s, {:.1} µs each", took.as_secs_f64(), took.as_secs_f64() * 1e6 / many as f64);
}

/// Which arm: by the first byte, which is chance.
fn variant(one: Pseudonym) -> VariantNumber {
    VariantNumber(one.as_bytes()[0] & 1)
}

fn subject(campaign: CampaignNumber, pseudonym: Pseudonym) -> Subject {
    let (variant, recording) = (variant(pseudonym), RecordingMode::Pseudonymous);
    Subject { pseudonym, campaign, variant, part: Part::Test, stratum: "other/pseudonymous".to_owned(), recording }
}

fn event(campaign: CampaignNumber, one: Pseudonym, kind: EventKind, at: Timestamp, hit: Option<Hit>) -> Event {
    Event { id: EventId::from_bytes(clock::fresh_in_turn()), campaign, whose: Whose::Recipient(one), kind, at, hit, reason: None }
}

/// A pixel, mostly; one in ten is a click.
fn hit(campaign: CampaignNumber, people: &[Pseudonym], sent: Timestamp, chance: &mut StdRng) -> Event {
    let one = people[chance.random_range(0..people.len())];
    let kind = if chance.random_bool(0.1) { EventKind::Click } else { EventKind::Open };
    let class = [Class::Human, Class::Proxied, Class::Scanner, Class::Prefetch][chance.random_range(0..4)];
    let hit = Hit {
        link: (kind == EventKind::Click).then_some(LinkNumber(1)),
        verdict: Verdict { class, confidence: Confidence::Strong, reasons: Reasons::NONE, ruleset: 1 },
        family: ClientFamily::Unknown,
        device: DeviceClass::Unknown,
        multiplicity: 1,
    };
    let at = sent.checked_add(SignedDuration::from_millis(chance.random_range(1..72 * 3_600_000))).unwrap();
    event(campaign, one, kind, at, Some(hit))
}

fn add(db: &LedgerDb, events: &[Event]) {
    db.write(|conn| {
        let before = store::count(conn, Counter::EventSeq, 0)?;
        store::append_hits(conn, events)?;
        assert!(projection::follow(conn, events, before)?);
        Ok::<_, DbError>(())
    })
    .unwrap();
}

fn pages(db: &LedgerDb, campaign: &Campaign) {
    let now = Timestamp::from_second(1_800_300_000).unwrap();
    let mut took: Vec<Duration> = (0..PAGES)
        .map(|_| {
            let started = Instant::now();
            db.read(|conn| results(conn, campaign, now)).unwrap();
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("  result page: p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99));
}
