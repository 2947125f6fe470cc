//! One person: whether they may be mailed, and what became of every letter to them.
//!
//! Cast: [`PersonView`], [`LetterRow`], [`TryRow`].

use super::{Badge, Page};

/// One try to hand a letter over.
#[derive(Debug, Clone)]
pub struct TryRow {
    /// When.
    pub at: String,
    /// `accepted`, `deferred` …
    pub verdict: String,
    /// Through which relay.
    pub relay: String,
    /// Where in the conversation it ended.
    pub stage: String,
    /// What the relay said.
    pub words: String,
}

/// One letter.
#[derive(Debug, Clone)]
pub struct LetterRow {
    /// The campaign's page.
    pub url: String,
    /// The campaign's name.
    pub campaign: String,
    /// `queued`, `accepted` …
    pub state: String,
    /// Why, or empty.
    pub reason: String,
    /// Every try, the oldest first.
    pub tries: Vec<TryRow>,
}

/// One person.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/person.html")]
pub struct PersonView {
    /// The frame.
    pub page: Page,
    /// As typed.
    pub address: String,
    /// Whether they may be mailed, or why not; none when nobody has this address.
    pub state: Option<Badge>,
    /// Whether it is the operator's own suppression that keeps letters from them.
    pub is_by_hand: bool,
    /// Their letters, the newest campaign first.
    pub letters: Vec<LetterRow>,
}
