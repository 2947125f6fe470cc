//! A campaign as the text of its file, key by key: what a form amounts to, and what a stored draft says.
//!
//! Cast: [`CampaignText`] and its tables; [`CampaignText::of`] a definition, [`CampaignText::write`] the file.
//!
//! It judges nothing: the text is read like any other campaign file.
#![allow(missing_docs, reason = "the keys are explained in campaign/template.toml")]

use std::collections::BTreeMap;

use serde::Serialize;

use crate::campaign::definition::Definition;
use crate::content::{BodyFormat, Element};
use crate::experiment::design::{Design, Limit, Rule};

/// `campaign.toml`, its keys in the order people read them.
#[derive(Debug, Serialize)]
pub struct CampaignText {
    pub name: String,
    pub list: String,
    pub recording: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trap_link: bool,
    pub sender: SenderText,
    pub letter: LetterText,
    #[serde(skip_serializing_if = "LinksText::is_empty")]
    pub links: LinksText,
    pub test: TestText,
    pub variants: Vec<VariantText>,
}

#[derive(Debug, Serialize)]
pub struct SenderText {
    pub name: String,
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct LetterText {
    pub subject: String,
    pub preheader: String,
    pub format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    pub text: String,
}

/// Parameters for web analytics.
#[derive(Debug, Default, Serialize)]
pub struct LinksText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_medium: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_campaign: Option<String>,
}

impl LinksText {
    fn is_empty(&self) -> bool {
        self.utm_source.is_none() && self.utm_medium.is_none() && self.utm_campaign.is_none()
    }
}

#[derive(Debug, Serialize)]
pub struct TestText {
    /// Empty where it was found by comparing whole letters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub element: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    pub metric: String,
    pub share: f64,
    pub significance: f64,
    pub observe_hours: u32,
    pub rule: String,
    pub method: String,
    pub planned_lift: f64,
    pub holdout: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub same_letters: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secondary: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub guards: BTreeMap<&'static str, GuardText>,
}

/// A guard that is not at its usual limit.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum GuardText {
    Moved { margin: f64, level: f64 },
    Off { off: bool },
}

fn guards_of(design: &Design) -> BTreeMap<&'static str, GuardText> {
    let changed = |usual: &Limit| match design.guards.iter().find(|limit| limit.guard == usual.guard) {
        None => Some(GuardText::Off { off: true }),
        Some(limit) if limit == usual => None,
        Some(limit) => Some(GuardText::Moved { margin: limit.margin, level: limit.level }),
    };
    Limit::USUAL.iter().filter_map(|usual| Some((usual.guard.as_str(), changed(usual)?))).collect()
}

#[derive(Debug, Serialize)]
pub struct VariantText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub weight: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub letter: Option<WholeLetter>,
}

/// A variant's whole letter; what is left out is as in the control.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WholeLetter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preheader: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl CampaignText {
    /// The file's text. Numbers and texts of ours can always be written, so an empty text is never seen.
    pub fn write(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// What a draft says.
    pub fn of(definition: &Definition) -> Self {
        let (element, block) = match &definition.element {
            Element::Subject => ("subject".to_owned(), None),
            Element::Preheader => ("preheader".to_owned(), None),
            Element::SenderName => ("sender_name".to_owned(), None),
            Element::ReplyTo => ("reply_to".to_owned(), None),
            Element::SendTime => ("send_time".to_owned(), None),
            Element::Found(_) => (String::new(), None),
            Element::Block { name, facet } => (facet.as_str().to_owned(), Some(name.clone())),
        };
        let (letter, design) = (&definition.newsletter, &definition.design);
        let format = format_word(letter.body.format);
        Self {
            name: definition.name.clone(),
            list: definition.list.clone(),
            recording: definition.recording.as_str().to_owned(),
            trap_link: definition.trap_link,
            sender: SenderText {
                name: letter.sender_name.clone(),
                address: definition.sender.address.clone(),
                reply_to: definition.sender.reply_to.clone(),
            },
            letter: LetterText {
                subject: letter.subject.clone(),
                preheader: letter.preheader.clone(),
                format: format.to_owned(),
                language: definition.options.language.clone(),
                images: definition.options.inline_images.then(|| "inline".to_owned()),
                text: letter.body.source.clone(),
            },
            links: definition.options.utm.as_ref().map_or_else(LinksText::default, |utm| LinksText {
                utm_source: Some(utm.source.clone()),
                utm_medium: Some(utm.medium.clone()),
                utm_campaign: Some(utm.campaign.clone()),
            }),
            test: TestText {
                element,
                block,
                metric: design.metric.as_str().to_owned(),
                share: design.share,
                significance: design.significance,
                observe_hours: design.observe_hours,
                rule: if design.rule == Rule::Automatic { "automatic" } else { "hand" }.to_owned(),
                method: design.method.as_str().to_owned(),
                planned_lift: design.planned_lift,
                holdout: design.holdout,
                same_letters: design.same_letters,
                secondary: design.secondary.iter().map(|metric| metric.as_str().to_owned()).collect(),
                guards: guards_of(design),
            },
            variants: definition
                .variants
                .iter()
                .zip(&design.weights)
                .map(|(variant, weight)| VariantText {
                    value: variant.value.clone().filter(|_| variant.letter.is_none()),
                    weight: *weight,
                    letter: variant.letter.as_ref().map(|letter| WholeLetter {
                        subject: Some(letter.subject.clone()),
                        preheader: Some(letter.preheader.clone()),
                        sender_name: Some(letter.sender_name.clone()),
                        format: Some(format_word(letter.body.format).to_owned()),
                        text: Some(letter.body.source.clone()),
                    }),
                })
                .collect(),
        }
    }
}

const fn format_word(format: BodyFormat) -> &'static str {
    match format {
        BodyFormat::Mjml => "mjml",
        BodyFormat::Html => "html",
        BodyFormat::Markdown => "markdown",
    }
}
