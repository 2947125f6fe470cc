//! What the tracker knows of campaigns, held in memory: where links lead, whether hits are recorded, whose measurement was withdrawn.
//!
//! Cast: [`Targets`], [`Target`] (one campaign). Filled by the composition root, which may read campaigns; this room may not.
//!
//! A link's destination comes from here, never from the request. A campaign that is not here yet is asked for once by the caller.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};

use crate::ids::{CampaignNumber, LinkNumber, Pseudonym, VariantNumber};
use crate::token::TRAP_LINK;

/// One campaign, as the tracker needs it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// Whether its hits are recorded now.
    pub records: bool,
    /// Where its links lead.
    pub links: Arc<HashMap<(VariantNumber, LinkNumber), Arc<str>>>,
}

/// Every campaign with letters out in the world.
#[derive(Debug, Default)]
pub struct Targets {
    campaigns: RwLock<HashMap<CampaignNumber, Arc<Target>>>,
    withdrawn: RwLock<HashSet<Pseudonym>>,
    withdrawn_until: Mutex<Option<Timestamp>>,
    changed: AtomicBool,
}

impl Targets {
    /// A campaign, if it is known here.
    pub fn campaign(&self, number: CampaignNumber) -> Option<Arc<Target>> {
        self.campaigns.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// How many links of its own a variant's letter has; 0 where the campaign is not known here.
    pub fn links(&self, number: CampaignNumber, variant: VariantNumber) -> usize {
        self.campaign(number).map_or(0, |target| target.links.keys().filter(|(of, link)| *of == variant && *link != TRAP_LINK).count())
    }

    /// Replaces everything known of campaigns.
    pub fn replace(&self, campaigns: HashMap<CampaignNumber, Arc<Target>>) {
        let mut known = self.campaigns.write().unwrap_or_else(PoisonError::into_inner);
        // Links never change once sealed: comparing whose they are is enough.
        let is_same = known.len() == campaigns.len()
            && campaigns.iter().all(|(number, new)| {
                known
                    .get(number)
                    .is_some_and(|old| old.records == new.records && (Arc::ptr_eq(&old.links, &new.links) || old.links == new.links))
            });
        if !is_same {
            *known = campaigns;
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Whether this recipient's measurement was withdrawn.
    pub fn is_withdrawn(&self, pseudonym: Pseudonym) -> bool {
        self.withdrawn.read().unwrap_or_else(PoisonError::into_inner).contains(&pseudonym)
    }

    /// From which moment on withdrawals have to be looked up: a little before the last look, because clocks of several nodes differ.
    pub fn withdrawals_known_until(&self) -> Timestamp {
        let overlap = SignedDuration::from_mins(10);
        let last = *self.withdrawn_until.lock().unwrap_or_else(PoisonError::into_inner);
        last.and_then(|last| last.checked_sub(overlap).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Notes when withdrawals were looked up.
    pub fn withdrawals_looked_up(&self, at: Timestamp) {
        *self.withdrawn_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Stops recording these recipients from now on.
    pub fn withdraw(&self, pseudonyms: impl IntoIterator<Item = Pseudonym>) {
        let mut withdrawn = self.withdrawn.write().unwrap_or_else(PoisonError::into_inner);
        let before = withdrawn.len();
        withdrawn.extend(pseudonyms);
        if withdrawn.len() != before {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Whether anything changed since this was asked last.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// Asks for the next [`Targets::take_changed`] to say yes: what it was asked for did not work.
    pub fn keep_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Every campaign known.
    pub(super) fn campaigns(&self) -> HashMap<CampaignNumber, Arc<Target>> {
        self.campaigns.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everybody who withdrew, in order, and when that was looked up last.
    pub(super) fn withdrawals(&self) -> (Vec<Pseudonym>, Option<Timestamp>) {
        let mut all: Vec<Pseudonym> = self.withdrawn.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        all.sort_unstable();
        (all, *self.withdrawn_until.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
