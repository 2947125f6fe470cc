//! The only SQL of the ledger's events, subjects, tallies and counters.
//!
//! Events get their number in commit order: the counter's row is locked first, so that a reader with a cursor never passes a number
//! that is committed later.

mod append;
mod facts;
mod filed;
mod firsts;
mod judgement;
mod look;
mod rebuild;
mod replay;
mod spools;
mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::prelude::*;
use jiff::Timestamp;

use crate::db::{AnyConnection, DbError, DbResult, LedgerConn};
use crate::ids::{CampaignNumber, EventId, LinkNumber, Pseudonym, RecordingMode, VariantNumber};
use crate::ledger::event::{Event, EventKind, Hit, Whose};
use crate::ledger::schema::{counter, event, spool, subject, tally, withdrawal};
use crate::ledger::subject::{Part, State, Subject};
use crate::signal::{Reasons, Verdict};

pub use append::{save_states, save_states_to_judge};
pub use facts::{Fact, HitFact, facts_of_campaign, facts_of_letters};
pub use filed::{
    Unfiled, delete_hits, file, file_again, filed_under, first_moment_behind, misfiled, next_to_file, note_filed, unfile, whose_between,
};
pub use firsts::{First, Who, first_successes, late_successes};
pub use judgement::{
    Change, JudgedHit, LetterEvents, await_judgement, await_quiet, cut_shared_hits, has_shared_hits, letters, letters_to_judge,
    pseudonyms_after, rulesets, save_judgements, to_judge,
};
pub use look::{Frozen, frozen, frozen_firsts, keep_frozen_replay, save_look};
pub use rebuild::{
    Progress, all_tallies, awaited, end_rebuild, enrolled_key, rebuild, recipients, recipients_after, save_rebuild, states_by_arm,
    with_state,
};
pub use replay::{Kept, drop_replays, forget_replays, kept_replays, replay, reserve_replay, save_replay};
pub use spools::{is_there, note_alive, note_gone, silent_spools};
pub use watch::{begin_watch, save_crossing, settle, watch};

/// A running number kept in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// The last event number given.
    EventSeq,
    /// The last event number projected.
    ProjectedSeq,
    /// The last event number filed under its recipient.
    FiledSeq,
    /// Hits with a token that is not ours.
    RefusedHits,
    /// Hits answered without recording: measuring ended or was withdrawn.
    UnrecordedHits,
    /// Hits stored.
    StoredHits,
    /// Stored hits deleted because their recipient withdrew.
    DeletedHits,
    /// How often counts were corrected.
    Recounts,
}

impl Counter {
    const fn name(self) -> &'static str {
        match self {
            Self::EventSeq => "event seq",
            Self::ProjectedSeq => "projected seq",
            Self::FiledSeq => "filed seq",
            Self::RefusedHits => "refused hits",
            Self::UnrecordedHits => "unrecorded hits",
            Self::StoredHits => "stored hits",
            Self::DeletedHits => "deleted hits",
            Self::Recounts => "recounts",
        }
    }
}

/// Adds to a counter and answers its new value. Inside a transaction this also makes every other adder wait.
pub fn count(conn: &mut LedgerConn, what: Counter, by: i64) -> DbResult<i64> {
    Ok(diesel::update(counter::table.find(what.name()))
        .set(counter::value.eq(counter::value + by))
        .returning(counter::value)
        .get_result(conn.sql())?)
}

/// A counter's value.
pub fn counted(conn: &mut LedgerConn, what: Counter) -> DbResult<i64> {
    Ok(counter::table.find(what.name()).select(counter::value).first(conn.sql())?)
}

fn set_counter(conn: &mut LedgerConn, what: Counter, value: i64) -> DbResult<()> {
    diesel::update(counter::table.find(what.name())).set(counter::value.eq(value)).execute(conn.sql())?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = event)]
struct EventRow {
    seq: i64,
    id: String,
    campaign: i64,
    variant: Option<i32>,
    part: Option<String>,
    pseudonym: Option<String>,
    kind: String,
    at: i64,
    link: Option<i32>,
    class: Option<String>,
    confidence: Option<String>,
    reasons: Option<i32>,
    ruleset: Option<i32>,
    family: Option<String>,
    device: Option<String>,
    multiplicity: i32,
    reason: Option<String>,
}

fn read<T: std::str::FromStr>(expected: &'static str, text: &str) -> DbResult<T> {
    text.parse().map_err(|_| DbError::unreadable(expected, text))
}

fn variant(number: i32) -> DbResult<VariantNumber> {
    u8::try_from(number).map(VariantNumber).map_err(|_| DbError::unreadable("a variant", number))
}

fn campaign_number(number: i64) -> DbResult<CampaignNumber> {
    u32::try_from(number).map(CampaignNumber).map_err(|_| DbError::unreadable("a campaign number", number))
}

fn whose(pseudonym: Option<&str>, number: Option<i32>, part: Option<&str>) -> DbResult<Whose> {
    match (pseudonym, number) {
        (Some(pseudonym), _) => Ok(Whose::Recipient(read("a pseudonym", pseudonym)?)),
        (None, Some(number)) => {
            let part = part.and_then(Part::from_word).ok_or_else(|| DbError::unreadable("test or rest", "something else"))?;
            Ok(Whose::Arm { variant: variant(number)?, part })
        }
        (None, None) => Err(DbError::unreadable("a pseudonym or a variant", "neither")),
    }
}

fn kind(word: &str) -> DbResult<EventKind> {
    EventKind::from_word(word).ok_or_else(|| DbError::unreadable("an event kind", word))
}

fn link(number: Option<i32>) -> DbResult<Option<LinkNumber>> {
    let read = |number: i32| u16::try_from(number).map(LinkNumber).map_err(|_| DbError::unreadable("a link number", number));
    number.map(read).transpose()
}

fn multiplicity(number: i32) -> DbResult<u16> {
    u16::try_from(number).map_err(|_| DbError::unreadable("a multiplicity", number))
}

fn event_of(row: EventRow) -> DbResult<Event> {
    let hit = match (row.class, row.confidence) {
        (Some(class), Some(confidence)) => Some(Hit {
            link: link(row.link)?,
            verdict: Verdict {
                class: read("a class", &class)?,
                confidence: read("a confidence", &confidence)?,
                reasons: Reasons(u16::try_from(row.reasons.unwrap_or_default()).unwrap_or_default()),
                ruleset: u16::try_from(row.ruleset.unwrap_or_default()).unwrap_or_default(),
            },
            family: read("a client family", &row.family.unwrap_or_default())?,
            device: read("a device class", &row.device.unwrap_or_default())?,
            multiplicity: multiplicity(row.multiplicity)?,
        }),
        _ => None,
    };
    Ok(Event {
        id: read("an event id", &row.id)?,
        campaign: campaign_number(row.campaign)?,
        whose: whose(row.pseudonym.as_deref(), row.variant, row.part.as_deref())?,
        kind: kind(&row.kind)?,
        at: Timestamp::from_millisecond(row.at).map_err(|_| DbError::unreadable("a moment", row.at))?,
        hit,
        reason: row.reason,
    })
}

/// Appends events; one whose id is stored already is passed over. Answers how many were new. Call inside a transaction.
pub fn append(conn: &mut LedgerConn, events: &[Event]) -> DbResult<usize> {
    let Ok(many) = i64::try_from(events.len()) else { return Ok(0) };
    if many == 0 {
        return Ok(0);
    }
    let last = count(conn, Counter::EventSeq, many)?;
    append::rows(conn, events, last - many + 1)
}

/// Appends hits but those of recipients who withdrew while their hit was on its way. Answers how many were stored, and how many were
/// left out because of that. Call inside a transaction.
pub fn append_hits(conn: &mut LedgerConn, hits: &[Event]) -> DbResult<(usize, usize)> {
    // Adding nothing makes a withdrawal wait, or waits for it.
    count(conn, Counter::EventSeq, 0)?;
    let of = |event: &Event| match event.whose {
        Whose::Recipient(pseudonym) => Some(pseudonym),
        Whose::Arm { .. } => None,
    };
    let pseudonyms: HashSet<Pseudonym> = hits.iter().filter_map(of).collect();
    let withdrawn = withdrawn(conn, &pseudonyms)?;
    if withdrawn.is_empty() {
        return Ok((append(conn, hits)?, 0));
    }
    let kept: Vec<Event> = hits.iter().filter(|hit| of(hit).is_none_or(|pseudonym| !withdrawn.contains(&pseudonym))).cloned().collect();
    Ok((append(conn, &kept)?, hits.len() - kept.len()))
}

/// Those of them whose measurement was withdrawn.
fn withdrawn(conn: &mut LedgerConn, pseudonyms: &HashSet<Pseudonym>) -> DbResult<HashSet<Pseudonym>> {
    let texts: Vec<String> = pseudonyms.iter().map(ToString::to_string).collect();
    let mut found = HashSet::new();
    for some in texts.chunks(1000) {
        let those: Vec<String> =
            withdrawal::table.filter(withdrawal::pseudonym.eq_any(some)).select(withdrawal::pseudonym).load(conn.sql())?;
        for text in those {
            found.insert(read("a pseudonym", &text)?);
        }
    }
    Ok(found)
}

/// How far a spool of hits is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Segments before this one are loaded.
    pub segment: u64,
    /// Bytes of this one that are.
    pub place: u64,
    /// Whether something in them could not be read.
    pub damaged: bool,
}

/// How far a spool is loaded; the beginning for one never heard of.
pub fn spool_position(conn: &mut LedgerConn, id: &str) -> DbResult<Position> {
    let row: Option<(i64, i64, bool)> =
        spool::table.find(id).select((spool::segment, spool::place, spool::damaged)).first(conn.sql()).optional()?;
    let number = |value: i64| u64::try_from(value).map_err(|_| DbError::unreadable("a place in a spool", value));
    row.map_or(Ok(Position::default()), |(segment, place, damaged)| {
        Ok(Position { segment: number(segment)?, place: number(place)?, damaged })
    })
}

/// Notes how far a spool is loaded. Call inside the transaction that stores its hits.
pub fn set_spool_position(conn: &mut LedgerConn, id: &str, position: Position) -> DbResult<()> {
    let number = |value: u64| i64::try_from(value).map_err(|_| DbError::unreadable("a place in a spool", value));
    let values =
        (spool::segment.eq(number(position.segment)?), spool::place.eq(number(position.place)?), spool::damaged.eq(position.damaged));
    if diesel::update(spool::table.find(id)).set(values).execute(conn.sql())? == 0 {
        diesel::insert_into(spool::table).values((spool::id.eq(id), values.0, values.1, values.2)).execute(conn.sql())?;
    }
    Ok(())
}

/// Up to `limit` events after the cursor, in order, with the number of the last.
pub fn events_after(conn: &mut LedgerConn, cursor: i64, limit: i64) -> DbResult<(Vec<Event>, i64)> {
    let rows: Vec<EventRow> =
        event::table.filter(event::seq.gt(cursor)).order(event::seq).limit(limit).select(EventRow::as_select()).load(conn.sql())?;
    let last = rows.last().map_or(cursor, |row| row.seq);
    Ok((rows.into_iter().map(event_of).collect::<DbResult<_>>()?, last))
}

/// The name of the tally of recipients enrolled: counted where they are added, so that no page counts a million of them. No event tells it.
const ENROLLED: &str = "enrolled";

/// Adds recipients; those there already stay as they are. Answers how many were new.
pub fn enrol(conn: &mut LedgerConn, subjects: &[Subject]) -> DbResult<usize> {
    let added = append::subjects(conn, subjects)?;
    let mut changes: BTreeMap<TallyKey, i64> = BTreeMap::new();
    for (campaign, part, variant) in &added {
        *changes.entry((*campaign, *part, *variant, ENROLLED.to_owned())).or_default() += 1;
    }
    add_to_tallies(conn, &changes)?;
    Ok(added.len())
}

/// Lowers what may be recorded of recipients; a mode that is lower already stays. Call before their letters' events are appended, so
/// that the counts have not taken them for measured.
pub fn lower_recording(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], mode: RecordingMode) -> DbResult<()> {
    let above: Vec<&str> = RecordingMode::ALL.into_iter().filter(|known| *known > mode).map(RecordingMode::as_str).collect();
    if above.is_empty() {
        return Ok(());
    }
    for some in pseudonyms.chunks(1000) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let higher = subject::table.filter(subject::pseudonym.eq_any(texts)).filter(subject::recording.eq_any(&above));
        diesel::update(higher).set(subject::recording.eq(mode.as_str())).execute(conn.sql())?;
    }
    Ok(())
}

/// Where each recipient of a campaign is, by pseudonym: part, arm and stratum. The held out and the rest of undecided tests have no arm that means
/// anything.
pub fn places(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<BTreeMap<Pseudonym, (Part, VariantNumber, String)>> {
    let rows: Vec<(String, String, i32, String)> = subject::table
        .filter(subject::campaign.eq(i64::from(campaign.0)))
        .select((subject::pseudonym, subject::part, subject::variant, subject::stratum))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(pseudonym, part, number, stratum)| {
            let part = Part::from_word(&part).ok_or_else(|| DbError::unreadable("test or rest", &part))?;
            Ok((read("a pseudonym", &pseudonym)?, (part, variant(number)?, stratum)))
        })
        .collect()
}

/// How many recipients each arm has.
pub fn enrolled(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<BTreeMap<(Part, VariantNumber), u64>> {
    let rows: Vec<(String, i32, i64)> = tally::table
        .filter(tally::campaign.eq(i64::from(campaign.0)))
        .filter(tally::name.eq(ENROLLED))
        .select((tally::part, tally::variant, tally::value))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(part, number, count)| {
            let part = Part::from_word(&part).ok_or_else(|| DbError::unreadable("test or rest", &part))?;
            Ok(((part, variant(number)?), count.unsigned_abs()))
        })
        .collect()
}

/// A recipient's place and state, as the projection needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The campaign.
    pub campaign: CampaignNumber,
    /// Test or rest.
    pub part: Part,
    /// The arm.
    pub variant: VariantNumber,
    /// Whether this recipient's own opens and clicks are recorded, so that a missing one means none.
    pub measured: bool,
    /// Whether the recipient was at risk when the observation of an anytime-valid test began.
    pub at_risk: bool,
    /// What has happened so far.
    pub state: State,
}

type PlacedRow = (String, i64, i32, String, String, i32, i32, i32, Option<i64>, Option<i64>, bool);

/// Recipients by pseudonym; unknown ones are missing from the answer.
pub fn placed(conn: &mut LedgerConn, pseudonyms: &HashSet<Pseudonym>) -> DbResult<HashMap<Pseudonym, Placed>> {
    let texts: Vec<String> = pseudonyms.iter().map(ToString::to_string).collect();
    let mut found = HashMap::with_capacity(texts.len());
    for texts in texts.chunks(1000) {
        let rows: Vec<PlacedRow> = subject::table
            .filter(subject::pseudonym.eq_any(texts))
            .select((
                subject::pseudonym,
                subject::campaign,
                subject::variant,
                subject::part,
                subject::recording,
                subject::delivery_flags,
                subject::open_flags,
                subject::click_flags,
                subject::first_open_at,
                subject::first_click_at,
                subject::at_risk,
            ))
            .load(conn.sql())?;
        for (pseudonym, campaign, number, part, recording, delivery, opens, clicks, first_open_at, first_click_at, at_risk) in rows {
            let placed = Placed {
                campaign: campaign_number(campaign)?,
                part: Part::from_word(&part).ok_or_else(|| DbError::unreadable("test or rest", &part))?,
                variant: variant(number)?,
                measured: read::<RecordingMode>("a recording mode", &recording)? >= RecordingMode::Pseudonymous,
                at_risk,
                state: State { delivery, opens, clicks, first_open_at, first_click_at },
            };
            found.insert(read("a pseudonym", &pseudonym)?, placed);
        }
    }
    Ok(found)
}

fn measured_modes() -> [&'static str; 2] {
    [RecordingMode::Pseudonymous.as_str(), RecordingMode::Identified.as_str()]
}

/// The key of a tally: campaign, part, arm and name.
pub type TallyKey = (CampaignNumber, Part, VariantNumber, String);

/// Adds differences to tallies and moves the cursor. Call inside the transaction that read the cursor.
pub fn save_tallies(conn: &mut LedgerConn, changes: &BTreeMap<TallyKey, i64>, cursor: i64) -> DbResult<()> {
    add_to_tallies(conn, changes)?;
    set_counter(conn, Counter::ProjectedSeq, cursor)
}

fn add_to_tallies(conn: &mut LedgerConn, changes: &BTreeMap<TallyKey, i64>) -> DbResult<()> {
    for ((campaign, part, variant, name), by) in changes.iter().filter(|(_, by)| **by != 0) {
        let key = (i64::from(campaign.0), part.as_str(), i32::from(variant.0), name.as_str());
        let changed = diesel::update(tally::table.find(key)).set(tally::value.eq(tally::value + *by)).execute(conn.sql())?;
        if changed == 0 {
            diesel::insert_into(tally::table)
                .values((
                    tally::campaign.eq(key.0),
                    tally::part.eq(key.1),
                    tally::variant.eq(key.2),
                    tally::name.eq(key.3),
                    tally::value.eq(*by),
                ))
                .execute(conn.sql())?;
        }
    }
    Ok(())
}

/// The tallies of a campaign that follow from its events.
pub fn tallies(conn: &mut LedgerConn, campaign: CampaignNumber) -> DbResult<BTreeMap<(Part, VariantNumber, String), i64>> {
    let rows: Vec<(String, i32, String, i64)> = tally::table
        .filter(tally::campaign.eq(i64::from(campaign.0)))
        .filter(tally::name.ne(ENROLLED))
        .select((tally::part, tally::variant, tally::name, tally::value))
        .load(conn.sql())?;
    rows.into_iter()
        .map(|(part, number, name, value)| {
            let part = Part::from_word(&part).ok_or_else(|| DbError::unreadable("test or rest", &part))?;
            Ok(((part, variant(number)?, name), value))
        })
        .collect()
}

/// Forgets every derived value, so that the projection starts again from the first event.
pub fn reset_projection(conn: &mut LedgerConn) -> DbResult<()> {
    diesel::delete(tally::table.filter(tally::name.ne(ENROLLED))).execute(conn.sql())?;
    replay::forget_all(conn)?;
    diesel::update(subject::table)
        .set((
            subject::delivery_flags.eq(0),
            subject::open_flags.eq(0),
            subject::click_flags.eq(0),
            subject::first_open_at.eq(None::<i64>),
            subject::first_click_at.eq(None::<i64>),
        ))
        .execute(conn.sql())?;
    set_counter(conn, Counter::ProjectedSeq, 0)
}

/// Stops measuring these recipients: later hits are answered, never recorded, and what their hits said is deleted.
/// The counts they had are corrected by the caller's replay of the projection for them.
pub fn withdraw(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], now: Timestamp) -> DbResult<()> {
    for pseudonym in pseudonyms {
        let insert = diesel::insert_into(withdrawal::table)
            .values((withdrawal::pseudonym.eq(pseudonym.to_string()), withdrawal::at.eq(now.as_millisecond())));
        match conn.sql() {
            AnyConnection::Sqlite(sqlite) => insert.on_conflict_do_nothing().execute(sqlite)?,
            AnyConnection::Postgres(postgres) => insert.on_conflict_do_nothing().execute(postgres)?,
        };
        diesel::update(subject::table.find(pseudonym.to_string()))
            .set(subject::recording.eq(RecordingMode::Off.as_str()))
            .execute(conn.sql())?;
    }
    Ok(())
}

/// Pseudonyms whose measurement was withdrawn at or after a moment.
pub fn withdrawn_since(conn: &mut LedgerConn, since: Timestamp) -> DbResult<Vec<Pseudonym>> {
    let texts: Vec<String> =
        withdrawal::table.filter(withdrawal::at.ge(since.as_millisecond())).select(withdrawal::pseudonym).load(conn.sql())?;
    texts.iter().map(|text| read("a pseudonym", text)).collect()
}

/// Up to `limit` events of a campaign with numbers after the range's start up to and with its end, in order, with the last number.
pub fn events_of_campaign(
    conn: &mut LedgerConn,
    campaign: CampaignNumber,
    range: std::ops::RangeInclusive<i64>,
    limit: i64,
) -> DbResult<(Vec<Event>, i64)> {
    let rows: Vec<EventRow> = event::table
        .filter(event::campaign.eq(i64::from(campaign.0)))
        .filter(event::seq.gt(*range.start()))
        .filter(event::seq.le(*range.end()))
        .order(event::seq)
        .limit(limit)
        .select(EventRow::as_select())
        .load(conn.sql())?;
    let last = rows.last().map_or(*range.start(), |row| row.seq);
    Ok((rows.into_iter().map(event_of).collect::<DbResult<_>>()?, last))
}

/// Whether this event is stored.
pub fn has_event(conn: &mut LedgerConn, id: EventId) -> DbResult<bool> {
    Ok(diesel::select(diesel::dsl::exists(event::table.filter(event::id.eq(id.to_string())))).get_result(conn.sql())?)
}
