//! People from a CSV file, every line accounted for.
//!
//! Cast: [`survey`] (a look through the whole file), [`import`] (streams it into the vault, many lines in one transaction),
//! [`ImportOptions`], [`ImportReport`], [`export`] (a list as a file that imports back unchanged), [`ImportError`], [`read_moment`].
//!
//! Memory is flat but for 8 to 20 bytes per line that tell repeated addresses. It never repeats an address or a cell in a message,
//! and an older or undated consent never overrides a person's choice. A consent is never made up: what needs one and has none is refused.

mod columns;
mod export;
mod moment;
mod report;
mod row;
mod run;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;

use jiff::Timestamp;

pub use export::{ExportError, export};
pub use moment::{WrongMoment, read_moment};
pub use report::{ImportReport, Progress, REFUSALS_KEPT, Refusal, RefusalKind};
pub use survey::{Kind, Survey, survey};

use crate::db::{DbError, VaultDb};
use crate::ids::RecordingMode;
use crate::vault::people::{Consent, NOT_STATED};
use crate::vault::store::{Change, IncomingPerson, upsert};
use columns::Columns;
use run::{Records, Run, read_runs};

/// Rows of one transaction. Fewer would write the same index pages to disk again and again, more would not be flat memory.
const CHUNK_ROWS: usize = 16_000;

/// Why a file cannot be imported as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("the file could not be read")]
    Read(#[source] io::Error),
    /// Nothing but blank lines.
    #[error("the file is empty; it needs a header line that names the columns, one of them email")]
    Empty,
    /// Two bytes a character.
    #[error("the file is UTF-16; save it as 'CSV UTF-8' and import again")]
    Utf16,
    /// Bytes that are no UTF-8.
    #[error("line {line} is not UTF-8; the file looks like Latin-1 / Windows-1252: save it as 'CSV UTF-8' and import again")]
    NotUtf8 {
        /// Counted from 1.
        line: u64,
    },
    /// The line ends of Macintosh computers before 2001.
    #[error("the lines end in carriage returns alone; save the file as 'CSV UTF-8' and import again")]
    LoneCarriageReturns,
    /// A field that goes on to the end of the file, or nearly.
    #[error("the quote opened on line {line} is never closed; close it, or write quotes inside a field twice")]
    OpenQuote {
        /// Counted from 1.
        line: u64,
    },
    /// Nobody to write to.
    #[error(
        "the header has no e-mail column; it has: {found}. Call one of them email (also taken: e-mail, mail, e-mail address, e-mail-adresse, adresse e-mail, courriel, correo)"
    )]
    NoEmailColumn {
        /// The columns there are.
        found: String,
    },
    /// Two columns of one meaning.
    #[error("columns {first} and {second} of the header both mean {meaning}; rename or delete one")]
    RepeatedColumn {
        /// Counted from 1.
        first: usize,
        /// Counted from 1.
        second: usize,
        /// What both stand for.
        meaning: String,
    },
    /// An empty header cell.
    #[error("column {number} of the header has no name; name it or delete it")]
    NamelessColumn {
        /// Counted from 1.
        number: usize,
    },
    /// A name no merge field can have.
    #[error(
        "column {number} of the header, {name:?}, cannot be a merge field: rename it with the letters a to z, digits and _, a letter first, at most 64"
    )]
    UnusableColumn {
        /// Counted from 1.
        number: usize,
        /// As written, shortened.
        name: String,
    },
    /// Probably not a file of people.
    #[error("the header has {found} columns, {most} are the most; delete those that letters do not need")]
    TooManyColumns {
        /// Columns found.
        found: usize,
        /// Columns allowed.
        most: usize,
    },
    /// The file is not the one that was surveyed.
    #[error("the file changed while it was imported; what was stored stays, import it again")]
    Changed,
    /// The database failed.
    #[error("the people could not be stored")]
    Database(#[from] DbError),
}

/// What the operator says about the whole file.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The list for rows that name none.
    pub list: String,
    /// What people agreed to, for rows that state nothing.
    pub stated: Option<Consent>,
}

/// Stores the people of a surveyed file. `mint` answers a fresh, time-ordered id each time.
///
/// The file is read on a thread of its own, a run ahead of what is stored. After every run `progress` is told and may stop the import:
/// what is stored stays, and importing the same file again goes on harmlessly. `refused` hears of every line not taken, in their order.
///
/// # Errors
/// [`ImportError`]; what earlier transactions stored stays.
#[expect(clippy::too_many_arguments, reason = "two callbacks, and time and chance come from the caller")]
pub fn import(
    db: &VaultDb,
    reader: impl Read + Send,
    survey: &Survey,
    options: &ImportOptions,
    mint: &mut dyn FnMut() -> String,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    refused: &mut dyn FnMut(&Refusal),
) -> Result<ImportReport, ImportError> {
    let columns = Columns::read(&survey.header)?;
    let mut report = ImportReport::new(columns.kind, columns.dropped());
    let records = Records::open(reader, survey)?;
    let unstated = Consent { mode: RecordingMode::Aggregate, source: NOT_STATED.to_owned(), at: now };
    let mut seen = Seen { hashes: HashSet::with_capacity(usize::try_from(survey.lines).unwrap_or_default().min(SEEN_AT_FIRST)) };
    std::thread::scope(|scope| {
        // Nothing waits in between: one run is read while the one before is stored.
        let (hand_over, runs) = sync_channel(0);
        scope.spawn(move || read_runs(records, &columns, options, now, &hand_over));
        for run in runs {
            let Run { mut people, refusals, lines, defaults_used, bytes, .. } = run?;
            report.lines += lines;
            report.defaults_used += defaults_used;
            for refusal in refusals {
                refused(&refusal);
                report.refuse(refusal);
            }
            while !people.is_empty() {
                let chunk: Vec<IncomingPerson> = people.drain(..people.len().min(CHUNK_ROWS)).collect();
                let changes = db.write(|conn| upsert(conn, &chunk, &unstated, mint, now))?;
                count(&mut report, &mut seen, chunk.iter().zip(changes));
            }
            let reached = Progress { lines: report.lines, of_lines: survey.lines, bytes, of_bytes: survey.bytes };
            if progress(reached).is_break() && report.lines < survey.lines {
                report.stopped = true;
                return Ok(report);
            }
        }
        if report.lines != survey.lines { Err(ImportError::Changed) } else { Ok(report) }
    })
}

fn count<'a>(report: &mut ImportReport, seen: &mut Seen, changed: impl Iterator<Item = (&'a IncomingPerson, Change)>) {
    for (person, change) in changed {
        report.needing_smtputf8 += u64::from(person.address.needs_smtputf8());
        match change {
            _ if !seen.is_first(&person.address.folded()) => report.repeated += 1,
            Change::Added => report.added += 1,
            Change::Updated => report.updated += 1,
            Change::Unchanged => report.unchanged += 1,
        }
    }
}

/// Room for so many hashes is made at once: growing would need half as much again for a moment.
const SEEN_AT_FIRST: usize = 4_000_000;

/// Which addresses this file had already, by a 64-bit hash: two addresses that share one by chance are miscounted, not lost.
struct Seen {
    hashes: HashSet<u64>,
}

impl Seen {
    fn is_first(&mut self, address: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        self.hashes.insert(hasher.finish())
    }
}
