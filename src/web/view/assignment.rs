//! The draw of a campaign repeated, in words.
//!
//! Cast: [`AssignmentView`]. It names strata and numbers; pseudonyms are only in the file.

use super::format::{count, level};
use super::{Fact, Page};
use crate::app::assignment::Assignment;

/// A stratum in words.
#[derive(Debug, Clone)]
pub struct StratumRow {
    /// Mailbox provider class and recording mode.
    pub name: String,
    /// Recipients.
    pub recipients: String,
    /// Recipients per arm.
    pub arms: Vec<String>,
    /// Recipients who get what the test chose.
    pub rest: String,
    /// Recipients held out.
    pub held_out: String,
    /// Recipients who are not where the draw puts them.
    pub different: String,
}

/// The draw of a campaign.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/assignment.html")]
pub struct AssignmentView {
    /// The frame.
    pub page: Page,
    /// The campaign's name.
    pub campaign: String,
    /// The campaign's page.
    pub campaign_url: String,
    /// Everybody as CSV.
    pub csv_url: String,
    /// Whether the draw repeats.
    pub holds: bool,
    /// The same in words.
    pub sentence: String,
    /// Seed, weights, shares.
    pub facts: Vec<Fact>,
    /// The arms' letters.
    pub letters: Vec<String>,
    /// The strata.
    pub strata: Vec<StratumRow>,
    /// The algorithm in words.
    pub algorithm: &'static str,
}

impl AssignmentView {
    /// Words from numbers.
    pub fn new(page: Page, data: &Assignment, campaign_url: &str) -> Self {
        let weights: Vec<String> = data.weights.iter().map(ToString::to_string).collect();
        let letters = (0u8..).take(data.weights.len()).map(|arm| crate::ids::VariantNumber(arm).to_string()).collect();
        Self {
            page,
            campaign: data.campaign.clone(),
            campaign_url: campaign_url.to_owned(),
            csv_url: format!("{campaign_url}/assignment.csv"),
            holds: data.holds,
            sentence: data.sentence.clone(),
            facts: vec![
                Fact::new("Seed of the draw", &data.seed),
                Fact::new("Weights", &weights.join(" : ")),
                Fact::new("Share of the list in the test", &level(data.share)),
                Fact::new("Held out", &level(data.holdout)),
                Fact::new("Plan", &data.plan_hash),
            ],
            letters,
            strata: data
                .strata
                .iter()
                .map(|(name, stratum)| StratumRow {
                    name: name.clone(),
                    recipients: count(stratum.recipients),
                    arms: stratum.arms.iter().map(|arm| count(*arm)).collect(),
                    rest: count(stratum.rest),
                    held_out: count(stratum.held_out),
                    different: count(stratum.different),
                })
                .collect(),
            algorithm: data.algorithm,
        }
    }

    /// The letter of the arm at a position, for cells that name their column on a phone.
    pub fn letter_of(&self, index: &usize) -> &str {
        self.letters.get(*index).map_or("", String::as_str)
    }
}
