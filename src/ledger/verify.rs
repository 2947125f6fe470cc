//! Whether states and counts are what the events say, and each recipient's events are found under it.
//!
//! Cast: [`verify`], [`verify_and_tell`] (the same, telling how far it is), [`Verified`] (what it found).
//!
//! It changes nothing; what differs is mended by a [rebuild](crate::ledger::rebuild).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::db::{DbResult, LedgerConn};
use crate::ids::{CampaignNumber, VariantNumber};
use crate::ledger::derive::{Derived, Filing, Told, derive};
use crate::ledger::store::{self, Counter, TallyKey};
use crate::ledger::subject::{Part, State};

pub use crate::ledger::derive::Walk;

/// Recipients compared at once.
const STEP: usize = 5_000;

/// What deriving everything again found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Events read.
    pub events: u64,
    /// Counts compared.
    pub counts: u64,
    /// Recipients whose states were compared.
    pub recipients: u64,
    /// Counts that differed, as `campaign/part/variant/name: stored, derived`, of how many recipients the states did, and whether events
    /// are not found under their recipients.
    pub differences: Vec<String>,
}

/// Derives every recipient's state and every count from the events alone and compares; nothing is changed. Events after the cursor are
/// left out. Call inside a [snapshot](crate::db::Db::snapshot): otherwise what is written meanwhile looks like a difference.
///
/// Holds one small state per recipient in memory, up to 100 bytes each.
///
/// # Errors
/// When the ledger cannot be read.
pub fn verify(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<Verified> {
    let nothing = Verified { events: 0, counts: 0, recipients: 0, differences: Vec::new() };
    Ok(verify_and_tell(conn, campaign, &mut |_| ControlFlow::Continue(()))?.unwrap_or(nothing))
}

/// As [`verify`]; `told` hears how far it is and may end it: then there is no answer.
///
/// # Errors
/// When the ledger cannot be read.
pub fn verify_and_tell(conn: &mut LedgerConn, campaign: CampaignNumber, told: Told<'_>) -> DbResult<Option<Verified>> {
    let until = store::counted(conn, Counter::ProjectedSeq)?;
    let stored = store::all_tallies(conn, campaign)?;
    let Some(derived) = derive(conn, campaign, until, None, told)? else { return Ok(None) };
    let mut tallies = derived.tallies();
    for (placed, many) in store::states_by_arm(conn, campaign)? {
        *tallies.entry(store::enrolled_key(&placed)).or_default() += many;
    }
    let (counts, mut differences) = compare(&stored, &tallies);
    let Some(states) = compare_recipients(conn, campaign, &derived, until, told)? else { return Ok(None) };
    differences.extend(states);
    Ok(Some(Verified { events: derived.events, counts, recipients: derived.recipients.len() as u64, differences }))
}

fn compare_recipients(
    conn: &mut LedgerConn,
    campaign: CampaignNumber,
    derived: &Derived,
    until: i64,
    told: Told<'_>,
) -> DbResult<Option<Vec<String>>> {
    let walk = Walk { at: until, of: until };
    let filed_until = store::counted(conn, Counter::FiledSeq)?.min(until);
    let mut differing: BTreeMap<(Part, VariantNumber), u64> = BTreeMap::new();
    let mut with_state = 0;
    let mut found = Filing::default();
    for some in derived.recipients.in_order().chunks(STEP) {
        for (pseudonym, stored) in store::placed(conn, &some.iter().copied().collect())? {
            with_state += u64::from(stored.state != State::default());
            if derived.recipients.state(pseudonym) != Some(stored.state) {
                *differing.entry((stored.part, stored.variant)).or_default() += 1;
            }
        }
        for (pseudonym, many, sum) in store::filed_under(conn, some, filed_until)? {
            found.add(pseudonym, many, sum);
        }
        if told(walk).is_break() {
            return Ok(None);
        }
    }
    let states = |((part, variant), many): ((Part, VariantNumber), u64)| {
        format!("{campaign}/{}/{variant}: the states of {many} recipients", part.as_str())
    };
    let mut differences: Vec<String> = differing.into_iter().map(states).collect();
    let without_events = store::with_state(conn, campaign)?.saturating_sub(with_state);
    if without_events > 0 {
        differences.push(format!("{campaign}: {without_events} recipients have a state without events"));
    }
    let should = derived.to_find;
    if found.many != should.many {
        differences.push(format!("{campaign}: {} events are filed under their recipients, where {} should be", found.many, should.many));
    } else if found != should {
        differences.push(format!("{campaign}: some of {} events are filed under others than their recipients", should.many));
    }
    Ok(Some(differences))
}

/// How many counts there are, and those that differ.
fn compare(stored: &BTreeMap<TallyKey, i64>, derived: &BTreeMap<TallyKey, i64>) -> (u64, Vec<String>) {
    let keys: BTreeSet<_> = stored.keys().chain(derived.keys()).collect();
    let mut differences = Vec::new();
    for key in &keys {
        let (have, should) = (stored.get(key).copied().unwrap_or_default(), derived.get(key).copied().unwrap_or_default());
        if have != should {
            differences.push(format!("{}/{}/{}/{}: {have}, {should}", key.0, key.1.as_str(), key.2, key.3));
        }
    }
    (keys.len() as u64, differences)
}
