//! Hits from the spool to the ledger: each once, in order, whatever happens in between.

use super::super::intake::{Writer, start_with};
use super::super::record::RECORD;
use super::super::record::tests::click;
use super::super::segment::{self, FRAME_HEAD};
use super::*;
use crate::db::Location;
use crate::ledger::event::Event;

const MINT: Mint = || [7; 16];
const ONE_HIT: u64 = (FRAME_HEAD + RECORD) as u64;

struct Bench {
    _folder: tempfile::TempDir,
    root: PathBuf,
    ledger: LedgerDb,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerDb::open(&Location::Sqlite(folder.path().join("ledger.db"))).unwrap();
        Self { root: folder.path().join("spool"), ledger, _folder: folder }
    }

    /// A process with segments that hold `hits` single hits.
    fn start(&self, hits: u64) -> (Intake, Writer, Loader) {
        let (intake, writer) = start_with(self.root.clone(), MINT, FIRST_FRAME + hits * ONE_HIT).unwrap();
        let loader = Loader::new(self.ledger.clone(), self.root.clone(), MINT, &intake);
        (intake, writer, loader)
    }

    fn stored(&self) -> Vec<Event> {
        self.ledger.read(|conn| store::events_after(conn, 0, 10_000)).unwrap().0
    }
}

/// Hands hits over one group each.
fn submit(intake: &Intake, hits: std::ops::Range<u8>) {
    for hit in hits {
        intake.submit(&click(hit)).unwrap();
        intake.settle(Duration::from_secs(60));
    }
}

fn clicks(hits: std::ops::Range<u8>) -> Vec<Event> {
    hits.map(click).collect()
}

#[test]
fn hits_are_loaded_once_in_order_and_their_segments_deleted() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(3);
    submit(&intake, 0..8);
    assert_eq!(loader.backlog().unwrap(), (8, 0));
    assert_eq!(loader.load().unwrap(), 8);
    assert_eq!((loader.load().unwrap(), loader.waiting()), (0, 0));
    submit(&intake, 8..10);
    assert!((2 * ONE_HIT..4 * ONE_HIT + FIRST_FRAME).contains(&loader.waiting()), "{} bytes", loader.waiting());
    assert_eq!(loader.load().unwrap(), 2);
    assert_eq!((bench.stored(), loader.backlog().unwrap()), (clicks(0..10), (0, 0)));
    let (numbers, _, _) = segment::list(&bench.root.join("1")).unwrap();
    assert!(numbers.len() <= 2, "the live one, and one made ahead: {numbers:?}");
    assert_eq!(loader.damage(), Damage::default());
    drop(intake);
    writer.join();
}

#[test]
fn recipients_of_a_batch_are_stored_one_after_the_other_and_the_hits_of_each_in_their_order() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(100);
    let whose = |hit: u8| Event { whose: click(hit % 3).whose, ..click(hit) };
    for hit in 0..12 {
        intake.submit(&whose(hit)).unwrap();
    }
    intake.settle(Duration::from_secs(60));
    assert_eq!((loader.load().unwrap(), loader.waiting()), (12, 0));
    let expected: Vec<Event> = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11].map(whose).to_vec();
    assert_eq!(bench.stored(), expected);
    drop(intake);
    writer.join();
}

#[test]
fn events_are_filed_once_they_have_waited_for_long_and_only_where_they_are_counted() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(100);
    submit(&intake, 0..5);
    loader.load().unwrap();
    let left = || filing::unfiled(&bench.ledger).unwrap();
    let mut since = None;
    loader.file(&mut since, false).unwrap();
    assert_eq!((left(), since.is_some()), (5, true), "not at once");
    let [long_ago, before_that] = [FILED_AFTER, FILED_IN_A_BURST_AFTER].map(|waited| since.and_then(|now| now.checked_sub(waited)));
    assert!(long_ago.is_some() && before_that.is_some());
    let tracking = Loader::new(bench.ledger.clone(), bench.root.clone(), MINT, &intake).without_counting();
    tracking.file(&mut long_ago.clone(), false).unwrap();
    assert_eq!(left(), 5, "a tracking node has no right to");
    since = long_ago;
    loader.file(&mut since, true).unwrap();
    assert_eq!((left(), since), (5, long_ago), "not in a burst");
    loader.file(&mut since, false).unwrap();
    assert_eq!((left(), since), (0, None));
    submit(&intake, 5..6);
    loader.load().unwrap();
    since = before_that;
    loader.file(&mut since, true).unwrap();
    assert_eq!((left(), since), (0, None), "but in one without end");
    since = long_ago;
    loader.file(&mut since, false).unwrap();
    assert_eq!(since, None, "nothing waits");
    drop(intake);
    writer.join();
}

#[test]
fn a_dead_processs_hits_are_loaded_by_the_next_and_numbers_go_on() {
    let bench = Bench::new();
    for round in 0..4_u8 {
        let (intake, writer, loader) = bench.start(100);
        submit(&intake, round * 5..round * 5 + 5);
        drop(intake);
        writer.join();
        drop(loader);
        // Nothing was loaded by the process itself in even rounds' next start; the last round is loaded twice over.
        let (intake, writer, loader) = bench.start(100);
        loader.load().unwrap();
        loader.load().unwrap();
        assert_eq!(loader.backlog().unwrap(), (0, 0));
        drop(intake);
        writer.join();
    }
    assert_eq!(bench.stored(), clicks(0..20));
}

#[test]
fn a_load_that_was_cut_off_before_the_segment_was_deleted_adds_nothing_when_repeated() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(2);
    submit(&intake, 0..5);
    let kept: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(bench.root.join("1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    loader.load().unwrap();
    drop(intake);
    writer.join();
    for (path, bytes) in kept {
        std::fs::write(path, bytes).unwrap();
    }
    let (_, _, again) = bench.start(2);
    assert_eq!(again.load().unwrap(), 0, "the position is known");
    bench.ledger.write(|conn| store::set_spool_position(conn, &slot::id_of(&bench.root.join("1")).unwrap(), Position::default())).unwrap();
    assert_eq!(again.load().unwrap(), 0, "and so are the hits");
    assert_eq!(bench.stored(), clicks(0..5));
}

#[test]
fn a_spool_that_was_set_back_is_loaded_from_its_beginning() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(2);
    submit(&intake, 0..7);
    loader.load().unwrap();
    drop(intake);
    writer.join();
    drop(loader);
    // The machine is restored from a snapshot that was taken before.
    let folder = bench.root.join("1");
    for number in segment::list(&folder).unwrap().0 {
        std::fs::remove_file(segment::path(&folder, number)).unwrap();
    }
    let (intake, writer, loader) = bench.start(2);
    submit(&intake, 7..9);
    assert_eq!(loader.load().unwrap(), 2);
    submit(&intake, 9..10);
    assert_eq!(loader.load().unwrap(), 1);
    drop(intake);
    writer.join();
    assert_eq!(bench.stored(), clicks(0..10));
    let dead = |segment| reading::ends_before(&Source { folder: &folder, id: "", live: None }, Position { segment, ..Position::default() });
    let (_, _, highest) = segment::list(&folder).unwrap();
    assert_eq!((dead(highest + 1).unwrap(), dead(highest + 2).unwrap()), (false, true));
}

#[test]
fn what_cannot_be_read_of_a_dead_processs_hits_keeps_nobody_elses_waiting() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(4);
    // Folders of processes that ended: of one the disk gives nothing back.
    for (folder, id) in [("7", "one"), ("8", "two")] {
        std::fs::create_dir_all(bench.root.join(folder)).unwrap();
        std::fs::write(bench.root.join(folder).join("id"), id).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", segment::path(&bench.root.join("7"), 1)).unwrap();
    let (other, other_writer) = start_with(bench.root.clone(), MINT, FIRST_FRAME + 4 * ONE_HIT).unwrap();
    submit(&intake, 0..3);
    submit(&other, 3..5);
    drop(other);
    other_writer.join();
    assert!(loader.load().is_err());
    assert_eq!(bench.stored().len(), 5);
    drop(intake);
    writer.join();
}

#[test]
fn damage_costs_its_own_group_and_is_counted_and_set_aside() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(4);
    submit(&intake, 0..12);
    drop(intake);
    writer.join();
    drop(loader);
    let folder = bench.root.join("1");
    let spoil = |number: u64, place: u64, bytes: &[u8]| {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().write(true).open(segment::path(&folder, number)).unwrap();
        file.write_all_at(bytes, place).unwrap();
    };
    // A hit in the middle of the first segment, the head of the second, the last group of the third.
    spoil(1, FIRST_FRAME + ONE_HIT + 40, b"spoilt");
    spoil(2, 0, b"spoilt");
    spoil(3, FIRST_FRAME + 3 * ONE_HIT + 40, b"spoilt");
    let (_, _, loader) = bench.start(4);
    loader.load().unwrap();
    let expected: Vec<Event> = [0, 2, 3, 8, 9, 10].into_iter().map(click).collect();
    assert_eq!(bench.stored(), expected);
    assert_eq!(loader.damage(), Damage { torn: 1, damaged: 1, unreadable: 1 });
    assert_eq!(loader.backlog().unwrap(), (0, 2));
    let (intake, writer, loader) = bench.start(4);
    submit(&intake, 20..21);
    assert_eq!(loader.load().unwrap(), 1, "what comes after it is loaded as always");
    drop(intake);
    writer.join();
}

#[test]
fn a_clock_that_steps_backward_changes_nothing() {
    let bench = Bench::new();
    let (intake, writer, loader) = bench.start(2);
    for hit in 0..6_u8 {
        let mut event = click(hit);
        event.at = jiff::Timestamp::from_second(1_000_000_000 - i64::from(hit) * 86_400).unwrap();
        intake.submit(&event).unwrap();
        intake.settle(Duration::from_secs(60));
    }
    assert_eq!(loader.load().unwrap(), 6);
    assert!(bench.stored().is_sorted_by(|one, next| one.at > next.at));
    drop(intake);
    writer.join();
}
