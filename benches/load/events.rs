//! Many events in a ledger: what storing and counting one costs, what a result page costs as they grow, how long deriving everything again
//! takes. `events DATABASE SUBJECTS EVENTS`, a location as in the settings, of an empty database; of one that it has filled before, it is only
//! read and derived again.
//!
//! Hits come in any order of recipients, in batches, stored and counted in one transaction and filed later as the loader does it. A page is everything but
//! the answer over HTTP; before it the background work has kept a replay of the first successes, as it does every few seconds. Not part of
//! the product.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a program for measuring")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use letterlab::app::clock;
use letterlab::campaign::file;
use letterlab::campaign::store::{self as campaigns, Campaign};
use letterlab::db::{DbError, LedgerDb};
use letterlab::experiment::design::Method;
use letterlab::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use letterlab::ledger::event::{Event, EventKind, Hit, Whose};
use letterlab::ledger::store::{self, Counter, Who};
use letterlab::ledger::subject::{Part, Subject};
use letterlab::ledger::{filing, projection, rebuild};
use letterlab::report::replay;
use letterlab::report::results::results;
use letterlab::signal::{Class, ClientFamily, Confidence, DeviceClass, Reasons, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const BATCH: u64 = 8_000;
const PAGES: u32 = 200;
const NOW: Timestamp = Timestamp::constant(1_800_300_000, 0);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let db = LedgerDb::open(&arguments[0].parse().unwrap()).unwrap();
    let (subjects, events): (u64, u64) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    let sent = Timestamp::from_second(1_800_000_000).unwrap();
    let definition = file::read(file::template(), &|_| Ok(String::new())).unwrap();
    let known = db.read(|conn| campaigns::by_name(conn, &definition.name)).unwrap();
    let is_new = known.is_none();
    let number = known.map_or_else(|| db.write(|conn| campaigns::create(conn, &definition, sent)).unwrap(), |known| known.number);
    let mut campaign = db.read(|conn| campaigns::by_number(conn, number)).unwrap().unwrap();
    campaign.observing_at = Some(sent);
    if is_new {
        fill(&db, &campaign, sent, subjects, events);
    }
    read(&db, &campaign, "fixed");
    campaign.definition.design.method = Method::Anytime;
    let (started, now) = (Instant::now(), Timestamp::from_second(1_800_000_001).unwrap());
    db.write(|conn| store::begin_watch(conn, number, now)).unwrap();
    println!("who is at risk, written down in {:.1} s", started.elapsed().as_secs_f64());
    read(&db, &campaign, "anytime");
    derive(&db, number);
}

/// What pages cost while a replay is kept, when a late hit has just removed it, and when it is kept again.
fn read(db: &LedgerDb, campaign: &Campaign, method: &str) {
    println!("{method}:");
    keep(db, campaign);
    pages(db, campaign);
    let late = Timestamp::from_second(1_800_003_600).unwrap();
    let first = db.read(|conn| {
        let of_clicks = (campaign.number, EventKind::Click, Who::Delivered);
        store::first_successes(conn, of_clicks, (1_800_200_000_000, None), i64::MAX, 1)
    });
    let hit = hit(campaign.number, first.unwrap()[0].pseudonym, EventKind::Click, Class::Human, late);
    db.write(|conn| store::append_hits(conn, &[hit])).unwrap();
    while projection::advance(db).unwrap() > 0 {}
    println!("  after a hit that came two days late:");
    pages(db, campaign);
    keep(db, campaign);
    pages(db, campaign);
}

fn keep(db: &LedgerDb, campaign: &Campaign) {
    let (started, spent) = (Instant::now(), cpu());
    let kept = replay::keep(db, campaign, NOW, NOW).unwrap();
    println!("  a replay kept: {kept}, {:.0} ms, CPU {:.2} s", started.elapsed().as_secs_f64() * 1e3, cpu() - spent);
}

fn derive(db: &LedgerDb, number: CampaignNumber) {
    let (started, spent) = (Instant::now(), cpu());
    let verified = db.snapshot(|conn| projection::verify(conn, number)).unwrap();
    println!("{} differences", verified.differences.len());
    tell("events derived again", verified.events, started.elapsed());
    println!("  CPU {:.1} s, {}", cpu() - spent, memory());
    let (started, spent) = (Instant::now(), cpu());
    let rebuilt = rebuild::run(db, Some(number), &[number], true, Timestamp::UNIX_EPOCH, &mut |_| ControlFlow::Continue(())).unwrap();
    tell(&format!("recipients looked at by a rebuild, {} mended", rebuilt.mended), rebuilt.recipients, started.elapsed());
    println!("  CPU {:.1} s, {}", cpu() - spent, memory());
}

/// Seconds of processor time this process has used.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn memory() -> String {
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    memory.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS")).collect::<Vec<_>>().join(", ")
}

fn fill(db: &LedgerDb, campaign: &Campaign, sent: Timestamp, subjects: u64, events: u64) {
    let number = campaign.number;
    let people: Vec<Pseudonym> = (0..subjects).map(|_| Pseudonym::from_bytes(clock::fresh())).collect();

    let started = Instant::now();
    for some in people.chunks(5000) {
        let some: Vec<Subject> = some.iter().map(|one| subject(number, *one)).collect();
        db.write(|conn| store::enrol(conn, &some)).unwrap();
    }
    tell("subjects enrolled", subjects, started.elapsed());
    let started = Instant::now();
    for some in people.chunks(BATCH as usize) {
        add(db, &some.iter().map(|one| event(number, *one, EventKind::Sent, sent, None)).collect::<Vec<_>>());
    }
    tell("letters sent, stored and counted", subjects, started.elapsed());

    let mut chance = StdRng::seed_from_u64(5);
    let (mut stored, mut part, mut since) = (0, 0, Instant::now());
    while stored < events {
        let mut hits: Vec<Event> = (0..BATCH.min(events - stored)).map(|_| any_hit(number, &people, sent, &mut chance)).collect();
        hits.sort_by_key(|hit| if let Whose::Recipient(pseudonym) = hit.whose { Some(pseudonym) } else { None });
        stored += hits.len() as u64;
        part += hits.len() as u64;
        add(db, &hits);
        if stored == events || part >= events / 10 {
            tell(&format!("hits stored and counted, {stored} in all"), part, since.elapsed());
            since = Instant::now();
            let waiting = db.read(|conn| store::next_to_file(conn, i64::MAX)).unwrap();
            while filing::file(db).unwrap() {}
            tell("  events filed under their recipients", waiting.many().unsigned_abs(), since.elapsed());
            keep(db, campaign);
            pages(db, campaign);
            (part, since) = (0, Instant::now());
        }
    }
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
fn any_hit(campaign: CampaignNumber, people: &[Pseudonym], sent: Timestamp, chance: &mut StdRng) -> Event {
    let one = people[chance.random_range(0..people.len())];
    let kind = if chance.random_bool(0.1) { EventKind::Click } else { EventKind::Open };
    let class = [Class::Human, Class::Proxied, Class::Scanner, Class::Prefetch][chance.random_range(0..4)];
    let at = sent.checked_add(SignedDuration::from_millis(chance.random_range(1..72 * 3_600_000))).unwrap();
    hit(campaign, one, kind, class, at)
}

fn hit(campaign: CampaignNumber, whose: Pseudonym, kind: EventKind, class: Class, at: Timestamp) -> Event {
    let hit = Hit {
        link: (kind == EventKind::Click).then_some(LinkNumber(1)),
        verdict: Verdict { class, confidence: Confidence::Strong, reasons: Reasons::NONE, ruleset: 1 },
        family: ClientFamily::Unknown,
        device: DeviceClass::Unknown,
        multiplicity: 1,
    };
    event(campaign, whose, kind, at, Some(hit))
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
    let spent = cpu();
    let mut took: Vec<Duration> = (0..PAGES)
        .map(|_| {
            let started = Instant::now();
            db.read(|conn| results(conn, campaign, NOW)).unwrap();
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let page = db.read(|conn| results(conn, campaign, NOW)).unwrap();
    let points = page.anytime.map_or(0, |anytime| anytime.variants[0].band.len());
    let cpu = (cpu() - spent) * 1e3 / f64::from(PAGES);
    println!("  result page: p50 {:.1} ms, p99 {:.1} ms, CPU {cpu:.1} ms; the band has {points} points", at(0.5), at(0.99));
}
