//! A list as a CSV file that imports back unchanged.
//!
//! Cast: [`export`], [`ExportError`].
//!
//! It writes people's data to the writer it is given and nowhere else; cells are written as they are, so that a file made for
//! import is not altered. Whoever opens it in a spreadsheet opens text that people typed.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::columns::OWN_COLUMNS;
use crate::db::{DbError, VaultConn};
use crate::vault::store::{ExportedPerson, exported_people};

const PAGE: i64 = 2_000;

/// Why a list could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output could not be written.
    #[error("the file could not be written")]
    Write(#[source] io::Error),
    /// The database failed.
    #[error("the people could not be read")]
    Database(#[from] DbError),
}

/// Writes everyone on a list, suppressed ones with their reason, in order of their ids; answers how many. An unknown list has none.
///
/// # Errors
/// [`ExportError`].
pub fn export(conn: &mut VaultConn, list: &str, writer: impl Write) -> Result<u64, ExportError> {
    let mut fields = BTreeSet::new();
    each(conn, list, &mut |person| {
        fields.extend(person.attributes.keys().filter(|name| !fields.contains(*name)).cloned().collect::<Vec<_>>());
        Ok(())
    })?;
    let mut csv = csv::Writer::from_writer(writer);
    csv.write_record(OWN_COLUMNS.into_iter().chain(fields.iter().map(String::as_str))).map_err(failed)?;
    let count = each(conn, list, &mut |person| {
        let date = person.consent.at.to_string();
        let own = [
            person.address.reveal(),
            list,
            person.consent.mode.as_str(),
            &person.consent.source,
            &date,
            person.suppressed.map(|reason| reason.as_str()).unwrap_or_default(),
        ];
        let attributes = fields.iter().map(|name| person.attributes.get(name).map(String::as_str).unwrap_or_default());
        csv.write_record(own.into_iter().chain(attributes)).map_err(failed)
    })?;
    csv.flush().map_err(ExportError::Write)?;
    Ok(count)
}

fn failed(error: csv::Error) -> ExportError {
    ExportError::Write(error.into())
}

fn each(conn: &mut VaultConn, list: &str, visit: &mut dyn FnMut(&ExportedPerson) -> Result<(), ExportError>) -> Result<u64, ExportError> {
    let mut count = 0;
    let mut after = None;
    loop {
        let page = exported_people(conn, list, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.id);
        for person in &page {
            visit(person)?;
            count += 1;
        }
    }
}
