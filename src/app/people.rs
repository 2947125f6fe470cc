//! What a user can do with people: the verbs that web pages, command line and HTTP API all call.
//!
//! Cast: [`import_file`], [`letters_to`] ([`Standing`]), [`suppress`], [`unsuppress`], [`erase`].
//!
//! It reads files the shells give it and keeps none of them.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::Path;

use crate::app::clock;
use crate::app::lab::Lab;
use crate::bridge::withdraw;
use crate::campaign::store as campaigns;
use crate::db::DbError;
use crate::delivery::mailing::Fate;
use crate::delivery::store as deliveries;
use crate::ids::{RecordingMode, SubscriberId};
use crate::vault::address::EmailAddress;
use crate::vault::import::{ImportError, ImportOptions, ImportReport, Progress, Refusal, import, survey};
use crate::vault::people::{Person, Suppression};
use crate::vault::store as people;

/// Why somebody cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// No such person.
    #[error("nobody has this address")]
    Unknown,
    /// It was not the operator's doing.
    #[error("this person may still not be mailed: {}; only a suppression by hand is taken back here", .0.as_str())]
    Theirs(Suppression),
    /// The database failed.
    #[error("the person could not be read or changed")]
    Database(#[from] DbError),
}

/// Whether a person may be mailed, and every letter to them.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Standing {
    /// Whether letters go to them.
    pub may_be_mailed: bool,
    /// Why not, if so.
    pub suppressed: Option<Suppression>,
    /// What may be recorded of them.
    pub recording: RecordingMode,
    /// Every letter, the newest campaign first.
    pub letters: Vec<Letter>,
}

/// How the person with this address, in capitals or without, stands, with every letter to them and every try; none when nobody has it.
///
/// # Errors
/// When a database cannot be read.
pub fn letters_to(lab: &Lab, address: &EmailAddress) -> Result<Option<Standing>, DbError> {
    let found = lab.vault.read(|conn| match people::person_by_address(conn, address)? {
        Some(person) => deliveries::fates(conn, person.id).map(|fates| Some((person, fates))),
        None => Ok(None),
    })?;
    let Some((person, fates)) = found else { return Ok(None) };
    let letter = |fate: Fate| {
        let name = lab.ledger.read(|conn| campaigns::by_number(conn, fate.campaign))?.map(|campaign| campaign.definition.name);
        Ok(Letter { campaign_name: name.unwrap_or_else(|| fate.campaign.to_string()), fate })
    };
    let letters = fates.into_iter().map(letter).collect::<Result<_, DbError>>()?;
    let Person { suppressed, recording, .. } = person;
    Ok(Some(Standing { may_be_mailed: suppressed.is_none(), suppressed, recording, letters }))
}

/// No more letters to whoever has this address, in capitals or without, those on their way to the relay aside. Answers whether that is new.
///
/// # Errors
/// [`PersonError::Unknown`]; a database failure.
pub fn suppress(lab: &Lab, address: &EmailAddress) -> Result<bool, PersonError> {
    lab.vault.write(|conn| {
        let mut is_new = false;
        for person in somebody(people::people_spelt(conn, address)?)? {
            is_new |= people::suppress(conn, person.id, Suppression::ByHand, lab.clock.now())?;
        }
        Ok(is_new)
    })
}

/// Takes the operator's suppression back. Answers whether there was one.
///
/// # Errors
/// [`PersonError::Unknown`]; [`PersonError::Theirs`] when something else forbids mail all the same, as an unsubscription does; a database
/// failure.
pub fn unsuppress(lab: &Lab, address: &EmailAddress) -> Result<bool, PersonError> {
    let (was, others) = lab.vault.write(|conn| {
        let everybody = somebody(people::people_spelt(conn, address)?)?;
        let mut was = false;
        for person in &everybody {
            was |= people::unsuppress(conn, person.id, Suppression::ByHand)?;
        }
        let others = everybody.into_iter().filter_map(|person| person.suppressed).find(|reason| *reason != Suppression::ByHand);
        Ok::<_, PersonError>((was, others))
    })?;
    others.map_or(Ok(was), |reason| Err(PersonError::Theirs(reason)))
}

/// Erases whoever has this address, in capitals or without: who they are, what they agreed to, and every hit of theirs. Letters stay counted
/// as sent.
///
/// # Errors
/// [`PersonError::Unknown`]; a database failure, after which erasing again goes on.
pub fn erase(lab: &Lab, address: &EmailAddress) -> Result<(), PersonError> {
    for person in somebody(lab.vault.read(|conn| people::people_spelt(conn, address))?)? {
        let pseudonyms = withdraw::erase(&lab.vault, &lab.ledger, person.id, lab.clock.now())?;
        lab.tracker.targets.withdraw(pseudonyms);
    }
    // The person is erased whether this succeeds or not.
    match lab.vault.cut_log() {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("the log beside the people's database could not be cut: somebody reads; it is cut at the next erasure or stop")
        }
        Err(error) => tracing::warn!(%error, "the log beside the people's database could not be cut"),
    }
    Ok(())
}

fn somebody(people: Vec<Person>) -> Result<Vec<Person>, PersonError> {
    if people.is_empty() { Err(PersonError::Unknown) } else { Ok(people) }
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
