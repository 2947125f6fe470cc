//! What became of every letter to one person.
//!
//! Cast: [`PersonView`], [`LetterRow`], [`TryRow`].

use super::Page;

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

/// One person's letters.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/person.html")]
pub struct PersonView {
    /// The frame.
    pub page: Page,
    /// As typed.
    pub address: String,
    /// Whether anybody has this address.
    pub known: bool,
    /// Their letters, the newest campaign first.
    pub letters: Vec<LetterRow>,
}
