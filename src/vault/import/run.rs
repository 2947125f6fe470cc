//! The file read in runs: many lines together, their people in order of their addresses.
//!
//! Cast: [`read_runs`], [`Run`], [`Records`] (the data records of a file, each with the line it starts on).
//!
//! People come in any order and are stored in that of their addresses: of a long sorted run each transaction touches a short stretch of the
//! index of addresses, which is otherwise written to disk as a whole every time. It stores nothing, and memory does not grow with the file.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::SyncSender;

use jiff::Timestamp;

use super::columns::Columns;
use super::report::Refusal;
use super::row::read_row;
use super::survey::{Scanner, Survey};
use super::{ImportError, ImportOptions};
use crate::vault::store::IncomingPerson;

/// Lines of a run, at most.
pub(super) const LINES_MOST: u64 = 30_000;
/// Bytes of the file in a run, but for its last line: where lines are long there are fewer of them.
const BYTES_MOST: u64 = 8_000_000;

/// Lines read together.
#[derive(Default)]
pub(super) struct Run {
    /// In order of their addresses, capitals or not; of lines with one address the later comes later.
    pub(super) people: Vec<IncomingPerson>,
    /// In order of their lines.
    pub(super) refusals: Vec<Refusal>,
    /// How many.
    pub(super) lines: u64,
    /// Lines taken that state no recording mode, nor do the options.
    pub(super) defaults_used: u64,
    /// How far into the file it reaches.
    pub(super) bytes: u64,
}

/// Reads the whole file, handing over run by run, until nobody takes them any more.
pub(super) fn read_runs<R: Read>(
    mut records: Records<R>,
    columns: &Columns,
    options: &ImportOptions,
    now: Timestamp,
    hand_over: &SyncSender<Result<Run, ImportError>>,
) {
    loop {
        let run = read_run(&mut records, columns, options, now);
        let goes_on = matches!(&run, Ok(run) if run.lines > 0);
        let is_taken = !matches!(&run, Ok(run) if run.lines == 0) && hand_over.send(run).is_ok();
        if !goes_on || !is_taken {
            return;
        }
    }
}

fn read_run<R: Read>(records: &mut Records<R>, columns: &Columns, options: &ImportOptions, now: Timestamp) -> Result<Run, ImportError> {
    let mut run = Run::default();
    let end = records.bytes().saturating_add(BYTES_MOST);
    while run.lines < LINES_MOST && records.bytes() < end {
        let Some((line, record)) = records.next()? else { break };
        run.lines += 1;
        match read_row(columns, record, options, now) {
            Ok(row) => {
                run.defaults_used += u64::from(row.mode_is_default);
                run.people.push(row.person);
            }
            Err(fault) => run.refusals.push(Refusal { line, why: fault.why, kind: fault.kind }),
        }
    }
    run.bytes = records.bytes();
    // Stable, so that of lines with one address the later comes later.
    run.people.sort_by_cached_key(|person| person.address.folded());
    Ok(run)
}

/// The data records of a file, each with the line it starts on.
pub(super) struct Records<R> {
    pub(super) csv: csv::Reader<Followed<R>>,
    record: csv::StringRecord,
}

impl<R: Read> Records<R> {
    pub(super) fn open(reader: R, survey: &Survey) -> Result<Self, ImportError> {
        let followed = Followed { inner: reader, scanner: Scanner::new(Some(survey.delimiter)), lines: VecDeque::new() };
        let mut builder = csv::ReaderBuilder::new();
        let csv = builder.delimiter(survey.delimiter).has_headers(false).flexible(true).buffer_capacity(64 * 1024).from_reader(followed);
        let mut records = Self { csv, record: csv::StringRecord::new() };
        match records.next()? {
            Some((_, header)) if header.iter().map(str::trim).eq(survey.header.iter().map(String::as_str)) => Ok(records),
            _ => Err(ImportError::Changed),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<(u64, &csv::StringRecord)>, ImportError> {
        let more = self.csv.read_record(&mut self.record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => ImportError::Read(error),
            _ => ImportError::Changed,
        })?;
        if !more {
            return Ok(None);
        }
        let line = self.csv.get_mut().lines.pop_front().ok_or(ImportError::Changed)?;
        Ok(Some((line, &self.record)))
    }

    fn bytes(&self) -> u64 {
        self.csv.position().byte()
    }
}

/// Hands the file's bytes on to the csv reader, noting the line on which each record starts.
pub(super) struct Followed<R> {
    inner: R,
    scanner: Scanner,
    pub(super) lines: VecDeque<u64>,
}

impl<R: Read> Read for Followed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        let lines = &mut self.lines;
        self.scanner.feed(read, |line| lines.push_back(line)).map_err(io::Error::other)?;
        Ok(length)
    }
}
