//! The only SQL of walking through all events of a campaign, with as little of each as deriving states and counts needs.
//!
//! Cast: [`Fact`], [`facts_of_campaign`], [`facts_of_letters`] (the same of some recipients).

use std::ops::RangeInclusive;

use diesel::prelude::*;

use super::filed::behind;
use super::{Counter, counted, kind, link, multiplicity, read, whose};
use crate::db::{DbResult, LedgerConn};
use crate::ids::{CampaignNumber, LinkNumber, Pseudonym};
use crate::ledger::event::{EventKind, Whose};
use crate::ledger::schema::{event, filed};
use crate::signal::{Class, Confidence};

/// Most identifiers in one statement.
const CHUNK: usize = 1000;

/// What deriving states and counts needs of an event, and nothing else: millions of them are read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// The event's number.
    pub seq: i64,
    /// The recipient or arm it belongs to.
    pub whose: Whose,
    /// What happened.
    pub kind: EventKind,
    /// When, milliseconds since 1970.
    pub at: i64,
    /// For hits.
    pub hit: Option<HitFact>,
}

/// The same of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HitFact {
    /// The link followed; none for a pixel.
    pub link: Option<LinkNumber>,
    /// What it is taken for.
    pub class: Class,
    /// How surely.
    pub confidence: Confidence,
    /// How many requests it stands for.
    pub multiplicity: u16,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = event)]
struct FactRow {
    seq: i64,
    pseudonym: Option<String>,
    variant: Option<i32>,
    part: Option<String>,
    kind: String,
    at: i64,
    link: Option<i32>,
    class: Option<String>,
    confidence: Option<String>,
    multiplicity: i32,
}

/// As [`events_of_campaign`](super::events_of_campaign), less of each.
///
/// # Errors
/// When the ledger cannot be read.
pub fn facts_of_campaign(
    conn: &mut LedgerConn,
    campaign: CampaignNumber,
    range: RangeInclusive<i64>,
    limit: i64,
) -> DbResult<(Vec<Fact>, i64)> {
    let rows: Vec<FactRow> = event::table
        .filter(event::campaign.eq(i64::from(campaign.0)))
        .filter(event::seq.gt(*range.start()))
        .filter(event::seq.le(*range.end()))
        .order(event::seq)
        .limit(limit)
        .select(FactRow::as_select())
        .load(conn.sql())?;
    let last = rows.last().map_or(*range.start(), |row| row.seq);
    Ok((rows.iter().map(fact_of).collect::<DbResult<_>>()?, last))
}

/// Everything that happened to these recipients' letters, as far as it is counted (numbers up to `until`), in no order; with it whether a hit's
/// judgement is final.
///
/// # Errors
/// When the ledger cannot be read.
pub fn facts_of_letters(conn: &mut LedgerConn, pseudonyms: &[Pseudonym], until: i64) -> DbResult<Vec<(Pseudonym, Fact, bool)>> {
    let mut found = Vec::new();
    let filed_until = counted(conn, Counter::FiledSeq)?;
    let columns = || (FactRow::as_select(), event::settled);
    let mut rows: Vec<(FactRow, bool)> = Vec::new();
    for some in pseudonyms.chunks(CHUNK) {
        let texts: Vec<String> = some.iter().map(ToString::to_string).collect();
        let of_these = filed::table
            .inner_join(event::table.on(event::seq.eq(filed::seq)))
            .filter(filed::pseudonym.eq_any(texts))
            .filter(event::pseudonym.eq(filed::pseudonym.nullable()))
            .filter(filed::seq.le(filed_until.min(until)))
            .select(columns());
        rows.extend(of_these.load::<(FactRow, bool)>(conn.sql())?);
    }
    for some in behind(conn, pseudonyms, filed_until, until)?.chunks(CHUNK) {
        rows.extend(event::table.filter(event::seq.eq_any(some)).select(columns()).load::<(FactRow, bool)>(conn.sql())?);
    }
    for (row, settled) in rows {
        let fact = fact_of(&row)?;
        if let Whose::Recipient(pseudonym) = fact.whose {
            found.push((pseudonym, fact, settled));
        }
    }
    Ok(found)
}

fn fact_of(row: &FactRow) -> DbResult<Fact> {
    let hit = match (&row.class, &row.confidence) {
        (Some(class), Some(confidence)) => Some(HitFact {
            link: link(row.link)?,
            class: read("a class", class)?,
            confidence: read("a confidence", confidence)?,
            multiplicity: multiplicity(row.multiplicity)?,
        }),
        _ => None,
    };
    Ok(Fact {
        seq: row.seq,
        whose: whose(row.pseudonym.as_deref(), row.variant, row.part.as_deref())?,
        kind: kind(&row.kind)?,
        at: row.at,
        hit,
    })
}
