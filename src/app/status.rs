//! Whether everything is accounted for: the conservation laws, and how far background work is.
//!
//! Cast: [`status`], [`Status`], [`Law`].
//!
//! It only counts; it mends nothing.

use std::path::Path;

use serde::Serialize;

use crate::app::lab::Lab;
use crate::app::networks::{self, Table};
use crate::campaign::state::State;
use crate::campaign::store as campaigns;
use crate::db::DbError;
use crate::delivery::store as deliveries;
use crate::ledger::event::EventKind;
use crate::ledger::store::{self as events, Counter};
use crate::ledger::subject::hits_tally;
use crate::signal::Class;

/// How an installation stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Where people are kept.
    pub vault: String,
    /// Where events are kept.
    pub ledger: String,
    /// Laws that must hold.
    pub laws: Vec<Law>,
    /// Campaigns that send nothing for the moment, and why.
    pub paused: Vec<(String, String)>,
    /// Relays this process rests from, and why.
    pub relays_in_trouble: Vec<(String, String)>,
    /// Events stored and not yet folded into counts.
    pub uncounted: i64,
    /// Events stored and not yet filed under their recipients, which is done many at a time: until then letters are looked up more slowly.
    pub unfiled: i64,
    /// Outcomes not yet copied to the ledger; at most 1,000 are counted.
    pub unrelayed: usize,
    /// Hits on their way to the ledger: in memory and in the spool.
    pub hits_waiting: u64,
    /// Whether the spool can be written; when not, hits wait in memory and may be shed.
    pub spool_works: bool,
    /// Segments of the spool that could not be read, or not all of them, and were set aside.
    pub spool_set_aside: usize,
    /// Hits shed because too many were waiting, since the start.
    pub hits_shed: u64,
    /// Hits stored.
    pub hits_stored: i64,
    /// Hits with a token that is not ours.
    pub hits_refused: i64,
    /// Hits answered without recording.
    pub hits_unrecorded: i64,
    /// Letters whose hits are due to be judged together, and letters with hits that are not final.
    pub letters_to_judge: (i64, i64),
    /// The table of networks; none where there is none, and then what to do.
    pub networks: Result<Option<Table>, String>,
}

/// A law with its numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Law {
    /// What it is about.
    pub name: String,
    /// The sum, written out.
    pub numbers: String,
    /// Whether it holds.
    pub holds: bool,
}

/// Counts everything.
///
/// # Errors
/// When a database cannot be read.
pub fn status(lab: &Lab) -> anyhow::Result<Status> {
    let mut laws = Vec::new();
    let mut paused = Vec::new();
    let mut counted_hits = 0;
    let (all, given, projected, stored, refused, unrecorded) = lab.ledger.read(|conn| {
        Ok::<_, DbError>((
            campaigns::all(conn)?,
            events::counted(conn, Counter::EventSeq)?,
            events::counted(conn, Counter::ProjectedSeq)?,
            events::counted(conn, Counter::StoredHits)?,
            events::counted(conn, Counter::RefusedHits)?,
            events::counted(conn, Counter::UnrecordedHits)?,
        ))
    })?;
    for campaign in all.iter().filter(|campaign| campaign.state != State::Draft) {
        let name = &campaign.definition.name;
        let counts = lab.vault.read(|conn| deliveries::counts_of_rows(conn, campaign.number))?;
        laws.push(Law {
            name: format!("{name}: enrolled = accepted + refused + skipped + failed + waiting + unknown"),
            numbers: format!(
                "{} = {} + {} + {} + {} + {} + {}",
                counts.enrolled,
                counts.accepted,
                counts.refused,
                counts.skipped,
                counts.failed,
                counts.waiting(),
                counts.unknown
            ),
            holds: counts.enrolled == counts.finished() + counts.waiting(),
        });
        if let Some(reason) = &campaign.paused {
            paused.push((name.clone(), reason.clone()));
        }
        let tallies = lab.ledger.read(|conn| events::tallies(conn, campaign.number))?;
        let hits = |kind| -> i64 {
            let names: Vec<String> = Class::ALL.into_iter().map(|class| hits_tally(kind, class)).collect();
            tallies.iter().filter(|((_, _, name), _)| names.contains(name)).map(|(_, value)| value).sum()
        };
        counted_hits += hits(EventKind::Open) + hits(EventKind::Click);
    }
    let deleted = lab.ledger.read(|conn| events::counted(conn, Counter::DeletedHits))?;
    // Only when everything is folded can the classes add up to all hits.
    if projected == given {
        laws.push(Law {
            name: "hits: stored = sum of all classes + deleted on request".to_owned(),
            numbers: format!("{stored} = {counted_hits} + {deleted}"),
            holds: stored == counted_hits + deleted,
        });
    }
    let (spooled, spool_set_aside) = lab.tracker.loader.backlog()?;
    Ok(Status {
        vault: lab.vault.location().to_string(),
        ledger: lab.ledger.location().to_string(),
        laws,
        paused,
        relays_in_trouble: lab.sending.relays.troubled(lab.clock.now()),
        uncounted: given - projected,
        unfiled: lab.ledger.read(|conn| events::next_to_file(conn, i64::MAX))?.many(),
        unrelayed: lab.vault.read(|conn| deliveries::outcomes_waiting(conn, 1000))?.len(),
        hits_waiting: lab.tracker.intake.waiting() + spooled,
        spool_works: !lab.tracker.intake.is_stalled(),
        spool_set_aside,
        hits_shed: lab.tracker.intake.shed(),
        hits_stored: stored,
        hits_refused: refused,
        hits_unrecorded: unrecorded,
        letters_to_judge: lab.ledger.read(|conn| events::letters_to_judge(conn, lab.clock.now()))?,
        networks: networks::describe(Path::new(&lab.config.files.networks), lab.clock.now()).map_err(|error| format!("{error:#}")),
    })
}
