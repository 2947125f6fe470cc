//! What the tracker knows of campaigns, in a file: a process that starts while the database is away still knows where links lead.
//!
//! Cast: [`save`], [`load`], [`SnapshotError`].
//!
//! One line with a checksum, then JSON; written whole beside its place and then put there. It holds link targets, whether campaigns
//! record, and the pseudonyms of those who withdrew: nothing of people.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::segment::sync_folder;
use super::targets::{Target, Targets};
use crate::ids::{CampaignNumber, LinkNumber, Pseudonym, VariantNumber};

const TITLE: &str = "letterlab campaigns 1";

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk.
    #[error("the snapshot of campaigns cannot be read or written")]
    Disk(#[from] std::io::Error),
    /// Not what was written.
    #[error("the snapshot of campaigns is damaged or of another version; it is written anew as soon as the database answers")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    campaigns: Vec<Campaign>,
    withdrawn: Vec<Pseudonym>,
    withdrawn_until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Campaign {
    number: CampaignNumber,
    records: bool,
    links: Vec<(VariantNumber, LinkNumber, String)>,
}

/// Writes what is known, durably, in place of what was there.
///
/// # Errors
/// [`SnapshotError::Disk`].
pub fn save(path: &Path, targets: &Targets) -> Result<(), SnapshotError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut campaigns: Vec<Campaign> = targets.campaigns().into_iter().map(|(number, target)| saved(number, &target)).collect();
    campaigns.sort_by_key(|campaign| campaign.number);
    let (withdrawn, withdrawn_until) = targets.withdrawals();
    let json = serde_json::to_vec(&Saved { campaigns, withdrawn, withdrawn_until }).map_err(std::io::Error::from)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{TITLE} {}", blake3::hash(&json).to_hex())?;
    file.write_all(&json)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    Ok(sync_folder(folder)?)
}

fn saved(number: CampaignNumber, target: &Target) -> Campaign {
    let mut links: Vec<_> = target.links.iter().map(|((variant, link), url)| (*variant, *link, url.to_string())).collect();
    links.sort();
    Campaign { number, records: target.records, links }
}

/// Reads a snapshot into `targets`. Answers whether there was one.
///
/// # Errors
/// [`SnapshotError`]; `targets` stay as they were.
pub fn load(path: &Path, targets: &Targets) -> Result<bool, SnapshotError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(SnapshotError::Damaged),
        text => text?,
    };
    let (head, json) = text.split_once('\n').ok_or(SnapshotError::Damaged)?;
    if head != format!("{TITLE} {}", blake3::hash(json.as_bytes()).to_hex()) {
        return Err(SnapshotError::Damaged);
    }
    let saved: Saved = serde_json::from_str(json).map_err(|_| SnapshotError::Damaged)?;
    let target = |campaign: Campaign| {
        let links: HashMap<_, Arc<str>> =
            campaign.links.into_iter().map(|(variant, link, url)| ((variant, link), Arc::from(url))).collect();
        (campaign.number, Arc::new(Target { records: campaign.records, links: Arc::new(links) }))
    };
    targets.replace(saved.campaigns.into_iter().map(target).collect());
    targets.withdraw(saved.withdrawn);
    if let Some(until) = saved.withdrawn_until {
        targets.withdrawals_looked_up(until);
    }
    targets.take_changed();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let targets = Targets::default();
        let links = HashMap::from([((VariantNumber(1), LinkNumber(2)), Arc::from("https://shop.example/a?b=1&c=\"ä\"\n"))]);
        targets.replace(HashMap::from([(CampaignNumber(3), Arc::new(Target { records: true, links: Arc::new(links) }))]));
        targets.withdraw([Pseudonym::from_bytes([9; 16])]);
        targets.withdrawals_looked_up("2026-11-22T12:00:00Z".parse().unwrap());
        targets
    }

    #[test]
    fn what_was_known_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/snapshot");
        let again = Targets::default();
        assert!(!load(&path, &again).unwrap());
        save(&path, &targets()).unwrap();
        save(&path, &targets()).unwrap();
        assert!(load(&path, &again).unwrap());
        let (before, after) = (targets().campaign(CampaignNumber(3)).unwrap(), again.campaign(CampaignNumber(3)).unwrap());
        assert_eq!((before.records, &before.links), (after.records, &after.links));
        assert!(again.is_withdrawn(Pseudonym::from_bytes([9; 16])));
        assert_eq!(again.withdrawals(), targets().withdrawals());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_snapshot_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        save(&path, &targets()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 4;
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(load(&path, &Targets::default()), Err(SnapshotError::Damaged)), "byte {place}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(load(&path, &Targets::default()).is_err());
    }
}
