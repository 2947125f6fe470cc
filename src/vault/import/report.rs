//! What became of every line.
//!
//! Cast: [`ImportReport`], [`Refusal`], [`RefusalKind`], [`Progress`].
//!
//! No address and no cell's content is ever repeated here: reports are printed, mailed and kept.

use std::collections::BTreeMap;

use serde::Serialize;

use super::survey::Kind;

/// Most refusals kept in a report; all are counted, and all are told as they happen.
pub const REFUSALS_KEPT: usize = 1_000;

/// A line that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The line of the file on which the row starts, counted from 1, the header included.
    pub line: u64,
    /// What is wrong and what to do, without the person's data.
    pub why: String,
    /// The sort of fault.
    pub kind: RefusalKind,
}

/// The sorts of faults a line can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// More or fewer fields than the header has.
    Fields,
    /// No address that mail can be sent to.
    Address,
    /// A value longer than allowed, or with a NUL in it.
    Value,
    /// Not one of the recording modes.
    Recording,
    /// Not said where or when a person agreed to what needs their consent.
    Consent,
    /// No date, or one to come.
    Date,
    /// No list, or a name that cannot be one.
    List,
    /// A suppression or status that is not known.
    Suppression,
    /// JSON attributes that cannot be read or named.
    Attributes,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Data lines accounted for and stored.
    pub lines: u64,
    /// Of so many.
    pub of_lines: u64,
    /// Bytes of the file they take.
    pub bytes: u64,
    /// Of so many.
    pub of_bytes: u64,
}

/// Accounts for every data line: `added + updated + unchanged + repeated + refused = lines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Where the file comes from.
    pub kind: Kind,
    /// Data lines read: all of the file's, unless stopped.
    pub lines: u64,
    /// People who were not there before.
    pub added: u64,
    /// People of whom something changed: a field, their choice, a list, a suppression.
    pub updated: u64,
    /// People of whom all was known.
    pub unchanged: u64,
    /// Lines with an address that an earlier line of this file had; what they say was taken over.
    pub repeated: u64,
    /// Lines not taken.
    pub refused: u64,
    /// The same, by sort of fault.
    pub refused_by_kind: BTreeMap<RefusalKind, u64>,
    /// The first [`REFUSALS_KEPT`] of them.
    pub refusals: Vec<Refusal>,
    /// Whether it was stopped before the end. What is stored stays; running it again continues.
    pub stopped: bool,
    /// Lines taken whose file and options state no recording mode: aggregate is used for those who are new.
    pub defaults_used: u64,
    /// Lines taken whose address needs a relay with SMTPUTF8, because its name part is not ASCII.
    pub needing_smtputf8: u64,
    /// Columns whose content was not taken over, such as IP addresses.
    pub dropped_columns: Vec<String>,
}

impl ImportReport {
    pub(super) fn new(kind: Kind, dropped_columns: Vec<String>) -> Self {
        Self {
            kind,
            lines: 0,
            added: 0,
            updated: 0,
            unchanged: 0,
            repeated: 0,
            refused: 0,
            refused_by_kind: BTreeMap::new(),
            refusals: Vec::new(),
            stopped: false,
            defaults_used: 0,
            needing_smtputf8: 0,
            dropped_columns,
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refused += 1;
        *self.refused_by_kind.entry(refusal.kind).or_default() += 1;
        if self.refusals.len() < REFUSALS_KEPT {
            self.refusals.push(refusal);
        }
    }

    /// Whether every line is accounted for.
    pub fn adds_up(&self) -> bool {
        self.added + self.updated + self.unchanged + self.repeated + self.refused == self.lines
    }
}
