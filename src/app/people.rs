//! What a user can do with people: the verbs that web pages, command line and HTTP API all call.
//!
//! Cast: [`import_file`].
//!
//! It reads files the shells give it and keeps none of them.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::Path;

use crate::app::clock;
use crate::app::lab::Lab;
use crate::ids::SubscriberId;
use crate::vault::import::{ImportError, ImportOptions, ImportReport, Progress, Refusal, import, survey};

/// Imports a CSV file: looked through once, then stored. `progress` may stop it; what is stored stays, and running it again goes on.
///
/// # Errors
/// [`ImportError`] when the file as a whole cannot be taken; nothing is stored then, unless the database failed half-way.
pub fn import_file(
    lab: &Lab,
    path: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    refused: &mut dyn FnMut(&Refusal),
) -> Result<ImportReport, ImportError> {
    let open = || File::open(path).map(BufReader::new).map_err(ImportError::Read);
    let surveyed = survey(open()?)?;
    let clock = lab.clock.clone();
    let mut mint = || SubscriberId::from_bytes(clock::fresh_ordered(clock.now())).to_string();
    import(&lab.vault, open()?, &surveyed, options, &mut mint, lab.clock.now(), progress, refused)
}
