//! What a user can do with people: the verbs that web pages, command line and HTTP API all call.
//!
//! Cast: [`import_file`], [`letters_to`].
//!
//! It reads files the shells give it and keeps none of them.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::Path;

use crate::app::clock;
use crate::app::lab::Lab;
use crate::campaign::store as campaigns;
use crate::db::DbError;
use crate::delivery::mailing::Fate;
use crate::delivery::store as deliveries;
use crate::ids::SubscriberId;
use crate::vault::address::EmailAddress;
use crate::vault::import::{ImportError, ImportOptions, ImportReport, Progress, Refusal, import, survey};
use crate::vault::store as people;

/// Every letter to the person with this address, with every try; none when nobody has it.
///
/// # Errors
/// When a database cannot be read.
pub fn letters_to(lab: &Lab, address: &EmailAddress) -> Result<Option<Vec<Letter>>, DbError> {
    let fates = lab.vault.read(|conn| match people::person_by_address(conn, address)? {
        Some(person) => deliveries::fates(conn, person.id).map(Some),
        None => Ok(None),
    })?;
    let Some(fates) = fates else { return Ok(None) };
    let letter = |fate: Fate| {
        let name = lab.ledger.read(|conn| campaigns::by_number(conn, fate.campaign))?.map(|campaign| campaign.definition.name);
        Ok(Letter { campaign_name: name.unwrap_or_else(|| fate.campaign.to_string()), fate })
    };
    fates.into_iter().map(letter).collect::<Result<_, DbError>>().map(Some)
}

/// A letter to a person, and what became of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Letter {
    /// Of which campaign, by name.
    pub campaign_name: String,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

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
