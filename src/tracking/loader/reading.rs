//! Segments of the spool → batches of hits, in the order of writing; what is damaged is counted, told and passed over.
//!
//! Cast: [`Reading`] (reads and counts damage), [`Source`] (a folder, and how far it is written), [`Batch`], [`Damage`]; [`left`] (hits
//! not yet read), [`ends_before`] (was the folder set back?), [`put_away`] (a segment that is read).
//!
//! It asks no database and stores nothing.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::BATCH;
use crate::ledger::event::Event;
use crate::ledger::store::Position;
use crate::tracking::segment::{self, FIRST_FRAME, Found, Reader};

/// What was found damaged since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Last groups that a crash tore; they were never acknowledged.
    pub torn: u64,
    /// Places in segments that could not be read; the rest was loaded and the segment set aside.
    pub damaged: u64,
    /// Segments that could not be read at all; set aside.
    pub unreadable: u64,
}

/// A batch, read but not stored.
pub(super) struct Batch {
    pub events: Vec<Event>,
    /// Where reading goes on.
    pub next: Position,
    /// Segments read to their end, to be deleted; with why they are set aside instead.
    pub ended: Vec<(u64, Option<&'static str>)>,
}

/// A folder to load from, and how far.
pub(super) struct Source<'a> {
    pub folder: &'a Path,
    pub id: &'a str,
    /// The segment being written and where it ends for now; none for a dead process's folder.
    pub live: Option<(u64, u64)>,
}

/// Reads, and counts what it finds damaged.
#[derive(Default)]
pub(super) struct Reading {
    torn: AtomicU64,
    damaged: AtomicU64,
    unreadable: AtomicU64,
}

impl Reading {
    /// What was found damaged since the start.
    pub fn damage(&self) -> Damage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Damage { torn: read(&self.torn), damaged: read(&self.damaged), unreadable: read(&self.unreadable) }
    }

    /// Reads about a batch from a position on, over the ends of segments.
    pub fn batch(&self, source: &Source<'_>, from: Position) -> io::Result<Batch> {
        let (numbers, _, highest) = segment::list(source.folder)?;
        let mut batch = Batch { events: Vec::new(), next: from, ended: Vec::new() };
        for number in numbers {
            let is_live = source.live.is_some_and(|(live, _)| number >= live);
            let end = match source.live {
                Some((live, place)) if number == live => place,
                // Made ahead, empty yet.
                Some((live, _)) if number > live => continue,
                _ => u64::MAX,
            };
            if number < from.segment {
                // Loaded long ago; the process ended before it was deleted. The highest stays as a bare head.
                let is_bare = || std::fs::metadata(segment::path(source.folder, number)).map(|file| file.len() <= FIRST_FRAME);
                if number != highest || !is_bare()? {
                    batch.ended.push((number, None));
                }
                continue;
            }
            let start = if number == from.segment { from.place.max(FIRST_FRAME) } else { FIRST_FRAME };
            if start >= end {
                continue;
            }
            let Some(reader) = self.open(source.folder, number)? else {
                self.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(segment = %segment::path(source.folder, number).display(), "a segment of the spool cannot be read and is set aside");
                batch.ended.push((number, Some("unreadable")));
                batch.next = Position { segment: number + 1, place: FIRST_FRAME, damaged: false };
                continue;
            };
            let is_finished = self.read_segment(&reader, number, start..end, &mut batch)?;
            if !is_finished {
                return Ok(batch);
            }
            if !is_live {
                let is_damaged = from.segment == number && from.damaged || batch.next.damaged;
                batch.ended.push((number, is_damaged.then_some("damaged")));
                batch.next = Position { segment: number + 1, place: FIRST_FRAME, damaged: false };
            }
        }
        Ok(batch)
    }

    /// Reads frames until the batch is full (`false`) or the segment ends (`true`).
    fn read_segment(&self, reader: &Reader, number: u64, places: std::ops::Range<u64>, batch: &mut Batch) -> io::Result<bool> {
        let damaged = batch.next.segment == number && batch.next.damaged;
        batch.next = Position { segment: number, place: places.start, damaged };
        while batch.next.place < places.end {
            match reader.at(batch.next.place)? {
                Found::Frame(events, next) => {
                    batch.events.extend(events);
                    batch.next.place = next;
                }
                Found::End => return Ok(true),
                Found::Damage(Some(next)) => {
                    self.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        segment = number,
                        place = batch.next.place,
                        "hits in the spool are damaged; what comes after them is loaded"
                    );
                    batch.next.place = next;
                    batch.next.damaged = true;
                }
                Found::Damage(None) => {
                    self.torn.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        segment = number,
                        place = batch.next.place,
                        "the last group of a segment is torn; it was never acknowledged"
                    );
                    return Ok(true);
                }
            }
            if batch.events.len() >= BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// None for what is no segment, and for what the disk does not give back.
    fn open(&self, folder: &Path, number: u64) -> io::Result<Option<Reader>> {
        match Reader::open(folder, number) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => Ok(None),
            opened => opened,
        }
    }
}

/// Whether a folder ends before a position in it, which nothing lawful leads to: numbers only grow, and a position is never ahead of the
/// writer.
pub(super) fn ends_before(source: &Source<'_>, position: Position) -> io::Result<bool> {
    if let Some(live) = source.live {
        return Ok((position.segment, position.place) > live);
    }
    let (_, _, highest) = segment::list(source.folder)?;
    Ok(position.segment > highest + 1)
}

/// Deletes a segment that is loaded, or sets it aside.
pub(super) fn put_away(source: &Source<'_>, number: u64, why: Option<&'static str>) -> io::Result<()> {
    if let Some(why) = why {
        return segment::set_aside(source.folder, number, why);
    }
    let (_, _, highest) = segment::list(source.folder)?;
    if number == highest {
        // The highest number must stay known: the next segment gets a higher one. Its hits need not.
        return std::fs::File::options().write(true).open(segment::path(source.folder, number))?.set_len(FIRST_FRAME);
    }
    std::fs::remove_file(segment::path(source.folder, number))
}

/// Hits of a folder behind a position, and how many of its segments were set aside.
pub(super) fn left(folder: &Path, position: Position) -> io::Result<(u64, usize)> {
    let (numbers, set_aside, _) = segment::list(folder)?;
    let mut hits = 0;
    for number in numbers.into_iter().filter(|number| *number >= position.segment) {
        hits += glance(folder, number, position)?;
    }
    Ok((hits, set_aside))
}

/// Hits of a segment behind a position; none of one that was loaded and deleted meanwhile. Reads heads of groups only.
fn glance(folder: &Path, number: u64, position: Position) -> io::Result<u64> {
    let reader = match Reader::open(folder, number) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let Some(reader) = reader else { return Ok(0) };
    let mut place = if number == position.segment { position.place.max(FIRST_FRAME) } else { FIRST_FRAME };
    let mut hits = 0;
    while let Some((count, next)) = reader.glance(place)? {
        hits += count;
        place = next;
    }
    Ok(hits)
}
