//! A look through the whole file before anything of it is stored: encoding, delimiter, header, quotes.
//!
//! Cast: [`survey`], [`Survey`], [`Kind`], [`Scanner`] (finds where records start and which quotes stay open, byte by byte).
//!
//! It stores nothing and keeps no more of the file than its header.

use std::io::{ErrorKind, Read};

use serde::Serialize;

use super::ImportError;
use super::columns::{Columns, Key};

/// A quoted field longer than this, in bytes, is a quote somebody forgot to close.
pub(super) const QUOTED_BYTES_MOST: u64 = 1_000_000;
const DELIMITERS: [u8; 3] = *b",;\t";
const HEADER_BYTES_MOST: usize = 1_000_000;
const BLOCK_BYTES: usize = 128 * 1024;

/// Where a file comes from, seen by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A header of the user's own.
    Plain,
    /// An audience exported by Mailchimp: subscribed, unsubscribed or cleaned contacts.
    Mailchimp,
    /// Subscribers exported by listmonk.
    Listmonk,
}

/// What is known of a file that can be imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Its size.
    pub bytes: u64,
    /// Data lines: rows after the header. Blank lines are none, and a row whose quoted text spans several lines is one.
    pub lines: u64,
    /// The names of the columns as written.
    pub header: Vec<String>,
    /// Where it comes from.
    pub kind: Kind,
    /// The byte between two fields: comma, semicolon or tab.
    pub delimiter: u8,
}

/// Reads the whole file once, in flat memory.
///
/// # Errors
/// [`ImportError`] says what makes the file unreadable as a whole, where, and what to do.
pub fn survey(mut reader: impl Read) -> Result<Survey, ImportError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut utf8 = Utf8Check::default();
    let mut start = Start::default();
    let mut rest: Option<(Header, Scanner)> = None;
    let mut bytes = 0;
    let mut records = 0;
    loop {
        let length = read_some(&mut reader, &mut block)?;
        let Some(read) = block.get(..length).filter(|read| !read.is_empty()) else { break };
        utf8.feed(read)?;
        bytes += length as u64;
        match &mut rest {
            Some((_, scanner)) => scanner.feed(read, |_| records += 1)?,
            None => rest = start.feed(read, &mut records)?,
        }
    }
    utf8.finish()?;
    let (header, scanner) = match rest {
        Some(found) => found,
        None => start.finish(&mut records)?,
    };
    scanner.finish()?;
    Ok(Survey { bytes, lines: records - 1, header: header.names, kind: header.kind, delimiter: header.delimiter })
}

fn read_some(reader: &mut impl Read, block: &mut [u8]) -> Result<usize, ImportError> {
    loop {
        match reader.read(block) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer.map_err(ImportError::Read),
        }
    }
}

/// The bytes up to the end of the header, gathered until the delimiter can be told.
#[derive(Default)]
struct Start {
    bytes: Vec<u8>,
}

struct Header {
    names: Vec<String>,
    kind: Kind,
    delimiter: u8,
}

impl Start {
    fn feed(&mut self, read: &[u8], records: &mut u64) -> Result<Option<(Header, Scanner)>, ImportError> {
        self.bytes.extend_from_slice(read);
        // Any of the delimiters may precede a quote here; a second record or a long way without one ends the guessing.
        let mut probe = Scanner::new(None);
        let mut seen = 0;
        probe.feed(&self.bytes, |_| seen += 1)?;
        if seen < 2 && self.bytes.len() < HEADER_BYTES_MOST { Ok(None) } else { self.finish(records).map(Some) }
    }

    fn finish(&mut self, records: &mut u64) -> Result<(Header, Scanner), ImportError> {
        let header = read_header(&self.bytes)?;
        let mut scanner = Scanner::new(Some(header.delimiter));
        scanner.feed(&self.bytes, |_| *records += 1)?;
        self.bytes = Vec::new();
        Ok((header, scanner))
    }
}

fn read_header(bytes: &[u8]) -> Result<Header, ImportError> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut best: Option<(Vec<String>, u8)> = None;
    for delimiter in DELIMITERS {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(text);
        let mut record = csv::ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(|error| ImportError::Read(error.into()))? {
            return Err(ImportError::Empty);
        }
        let names: Vec<String> = record.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let rank = |names: &[String]| (names.iter().any(|name| Key::of(name).is_email()), names.len());
        if best.as_ref().is_none_or(|(found, _)| rank(&names) > rank(found)) {
            best = Some((names, delimiter));
        }
    }
    let (names, delimiter) = best.ok_or(ImportError::Empty)?;
    let first_end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    if let Some([b'\r', next]) = text.get(first_end..first_end + 2)
        && *next != b'\n'
    {
        return Err(ImportError::LoneCarriageReturns);
    }
    let kind = Columns::read(&names)?.kind;
    Ok(Header { names, kind, delimiter })
}

/// UTF-8 across block borders, and the line of the first byte that is not.
struct Utf8Check {
    line: u64,
    at_start: bool,
    /// The beginning of a character cut by the end of a block: at most three bytes.
    carried: Vec<u8>,
}

impl Default for Utf8Check {
    fn default() -> Self {
        Self { line: 1, at_start: true, carried: Vec::new() }
    }
}

impl Utf8Check {
    fn feed(&mut self, mut read: &[u8]) -> Result<(), ImportError> {
        if std::mem::take(&mut self.at_start) && looks_like_utf16(read) {
            return Err(ImportError::Utf16);
        }
        // Complete the cut character byte by byte; there are at most three to come.
        while !self.carried.is_empty() {
            let Some((next, rest)) = read.split_first() else { return Ok(()) };
            self.carried.push(*next);
            read = rest;
            match std::str::from_utf8(&self.carried) {
                Ok(_) => self.carried.clear(),
                Err(error) if error.error_len().is_some() => return Err(ImportError::NotUtf8 { line: self.line }),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(read) {
            Ok(_) => self.line += newlines(read),
            Err(error) => {
                let (good, bad) = read.split_at(error.valid_up_to());
                self.line += newlines(good);
                if error.error_len().is_some() {
                    return Err(ImportError::NotUtf8 { line: self.line });
                }
                self.carried = bad.to_vec();
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ImportError> {
        if self.carried.is_empty() { Ok(()) } else { Err(ImportError::NotUtf8 { line: self.line }) }
    }
}

fn looks_like_utf16(start: &[u8]) -> bool {
    match start {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => true,
        [first, second, ..] => *first == 0 || *second == 0,
        _ => false,
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

/// Follows RFC 4180 through a file without keeping it: where records start, and whether every quote is closed.
///
/// The csv crate counts lines by line feeds seen so far, which is off by one after CR LF and after blank lines; this is not.
#[derive(Debug)]
pub(super) struct Scanner {
    delimiter: Option<u8>,
    state: State,
    line: u64,
    /// Bytes seen before the block at hand.
    offset: u64,
    quote_line: u64,
    quote_offset: u64,
}

impl Scanner {
    /// A scanner at the start of a file. Without a delimiter, each that may be one is taken for one.
    pub(super) fn new(delimiter: Option<u8>) -> Self {
        Self { delimiter, state: State::RecordStart, line: 1, offset: 0, quote_line: 1, quote_offset: 0 }
    }

    /// Takes the next bytes, telling for each record that starts in them its line, counted from 1.
    pub(super) fn feed(&mut self, bytes: &[u8], mut started: impl FnMut(u64)) -> Result<(), ImportError> {
        let mut at = 0;
        if self.offset == 0 && bytes.starts_with(b"\xEF\xBB\xBF") {
            at = 3;
        }
        while let Some(byte) = bytes.get(at).copied() {
            // Most bytes say nothing: skip to the next that may.
            let skipped = match self.state {
                State::Plain => self.skip(bytes, at, |scanner, byte| matches!(byte, b'\r' | b'\n') || scanner.delimits(byte)),
                State::Quoted => self.skip(bytes, at, |_, byte| matches!(byte, b'"' | b'\n')),
                _ => 0,
            };
            if skipped > 0 {
                at += skipped;
                continue;
            }
            self.step(byte, at, &mut started);
            self.line += u64::from(byte == b'\n');
            at += 1;
        }
        self.offset += bytes.len() as u64;
        if self.state == State::Quoted && self.offset - self.quote_offset > QUOTED_BYTES_MOST {
            return Err(ImportError::OpenQuote { line: self.quote_line });
        }
        Ok(())
    }

    fn skip(&self, bytes: &[u8], at: usize, ends: impl Fn(&Self, u8) -> bool) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        rest.iter().position(|byte| ends(self, *byte)).unwrap_or(rest.len())
    }

    #[inline]
    fn delimits(&self, byte: u8) -> bool {
        match self.delimiter {
            Some(delimiter) => byte == delimiter,
            None => DELIMITERS.contains(&byte),
        }
    }

    fn step(&mut self, byte: u8, at: usize, started: &mut impl FnMut(u64)) {
        if self.state == State::RecordStart {
            if matches!(byte, b'\r' | b'\n') {
                return;
            }
            started(self.line);
            self.state = State::FieldStart;
        }
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) => State::Quoted,
            (State::QuoteInQuoted, b'"') => State::Quoted,
            (State::FieldStart, b'"') => {
                self.quote_line = self.line;
                self.quote_offset = self.offset + at as u64;
                State::Quoted
            }
            (_, b'\r' | b'\n') => State::RecordStart,
            (_, byte) if self.delimits(byte) => State::FieldStart,
            _ => State::Plain,
        };
    }

    /// The end of the file.
    pub(super) fn finish(&self) -> Result<(), ImportError> {
        if self.state == State::Quoted { Err(ImportError::OpenQuote { line: self.quote_line }) } else { Ok(()) }
    }
}
