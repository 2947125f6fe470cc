//! The status page: conservation laws, background jobs, health.
//!
//! Cast: [`StatusView`] and its rows. It names ids and counts, never a person.

use super::{Badge, Fact, Page};

/// A sum that must come out.
#[derive(Debug, Clone)]
pub struct LawRow {
    /// What is conserved, for example `Recipients of spring-sale`.
    pub name: String,
    /// In words: `enrolled = accepted + refused + …`.
    pub law: String,
    /// In numbers: `20,000 = 19,810 + 120 + …`.
    pub numbers: String,
    /// Whether it comes out.
    pub holds: bool,
}

/// Something that must be well for the whole to be well.
#[derive(Debug, Clone)]
pub struct HealthRow {
    /// What.
    pub name: String,
    /// How it is.
    pub state: Badge,
    /// Details.
    pub detail: String,
}

/// The status page.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/status.html")]
pub struct StatusView {
    /// The frame.
    pub page: Page,
    /// One sentence over all, for example `Everything adds up and every job is on time.`
    pub summary: String,
    /// Its badge.
    pub overall: Badge,
    /// Sums that must come out.
    pub laws: Vec<LawRow>,
    /// Databases, relay, disk.
    pub health: Vec<HealthRow>,
    /// Relays that were just tried: the relay, the step, whether it went well, the details.
    pub tried: Vec<(String, &'static str, bool, String)>,
    /// How far making states and counts anew is, in words, and whether it is at work.
    pub recount: (String, bool),
    /// The same of comparing them with the events.
    pub check: (String, bool),
    /// Version, engine, started when.
    pub facts: Vec<Fact>,
    /// When all this was read.
    pub as_of: String,
}
