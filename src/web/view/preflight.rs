//! What is looked at before a campaign leaves: the list, the people who would be skipped, the previews.
//!
//! Cast: [`PreflightView`] with [`PointRow`]s, [`SkippedView`], [`PreviewView`] with [`Sight`]s.

use super::{Badge, Choices, Page};

/// One point of the list.
#[derive(Debug, Clone)]
pub struct PointRow {
    /// `ok`, `warn` or `stop`: icon and word.
    pub level: &'static str,
    /// What it is about.
    pub topic: String,
    /// The variants it is about; empty for all.
    pub variants: String,
    /// What was found.
    pub found: String,
    /// What to do; may be empty.
    pub advice: String,
    /// Single findings.
    pub details: Vec<String>,
}

/// The list before launch.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/preflight.html")]
pub struct PreflightView {
    /// The frame.
    pub page: Page,
    /// The campaign's name.
    pub name: String,
    /// Its page.
    pub campaign_url: String,
    /// This page; the form that asks the network goes there, too.
    pub url: String,
    /// Its previews.
    pub preview_url: String,
    /// The people who would be skipped, if there are any.
    pub skipped_url: Option<String>,
    /// The worst level.
    pub overall: Badge,
    /// One sentence over all.
    pub summary: String,
    /// Every point, the worst first.
    pub points: Vec<PointRow>,
    /// What was not looked at.
    pub not_asked: Vec<String>,
    /// What was ticked: links, domain, spam.
    pub asked: [bool; 3],
}

impl PreflightView {
    /// A finding as a sentence: it begins with a capital letter. The template puts the stop.
    fn sentence(&self, text: &str) -> String {
        let mut characters = text.trim_end_matches('.').chars();
        characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
    }
}

/// The people a letter cannot be filled in for.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/skipped.html")]
pub struct SkippedView {
    /// The frame.
    pub page: Page,
    /// The campaign's name.
    pub name: String,
    /// Its page.
    pub campaign_url: String,
    /// One sentence over all.
    pub summary: String,
    /// A person's random id and what they lack; no name and no address.
    pub rows: Vec<(String, String)>,
    /// The preview for a person, with their id behind it.
    pub preview_url: String,
    /// How many more there are, in words; empty when all are listed.
    pub more: String,
}

/// One variant as it is seen.
#[derive(Debug, Clone)]
pub struct Sight {
    /// A to H.
    pub letter: String,
    /// Number of its colour.
    pub colour: usize,
    /// Its sender's name.
    pub sender: String,
    /// Its subject.
    pub subject: String,
    /// The line after it.
    pub preheader: String,
    /// The frame's address, when the letter is shown.
    pub frame_url: Option<String>,
    /// The text, when it is not.
    pub text: String,
    /// Why this reader gets no letter.
    pub problem: Option<String>,
}

/// A merge field to be filled in for somebody made up.
#[derive(Debug, Clone)]
pub struct MergeField {
    /// Its name.
    pub name: String,
    /// What was typed.
    pub value: String,
}

/// Variants beside each other.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/preview.html")]
pub struct PreviewView {
    /// The frame.
    pub page: Page,
    /// The campaign's name.
    pub name: String,
    /// Its page.
    pub campaign_url: String,
    /// This page.
    pub url: String,
    /// Where test mail is asked for.
    pub test_url: String,
    /// Who reads, in words without a name.
    pub reader: String,
    /// The person's id, when it is one of the vault.
    pub person: String,
    /// The next person of the list.
    pub next_url: String,
    /// Back to somebody made up, when it is a person.
    pub made_up_url: Option<String>,
    /// Values of somebody made up.
    pub fields: Vec<MergeField>,
    /// Letter, text, source, message.
    pub part: Choices,
    /// Desktop or telephone.
    pub width: Choices,
    /// Images on or off.
    pub images: Choices,
    /// Light, dark, inverted.
    pub shade: Choices,
    /// `desktop` or `phone`: the class of the frames.
    pub frame_class: String,
    /// Where a test goes, as far as known.
    pub to: String,
    /// The variants.
    pub sights: Vec<Sight>,
}
