//! A newsletter as its author wrote it.
//!
//! Cast: [`Newsletter`], [`Body`], [`BodyFormat`], and [`Part`], the word for a place in it that messages use.
//!
//! Plain data: it checks nothing and renders nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is sent, before anything is filled in. Every part may hold merge fields: `{{ first_name | default("there") }}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newsletter {
    /// The subject line.
    pub subject: String,
    /// The line shown after the subject in an inbox; may be empty.
    #[serde(default)]
    pub preheader: String,
    /// The name shown as sender; the address belongs to delivery.
    pub sender_name: String,
    /// The letter itself.
    pub body: Body,
}

/// The letter's markup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// How `source` is written.
    pub format: BodyFormat,
    /// As the author wrote it, at most [`Body::MOST_BYTES`].
    pub source: String,
}

impl Body {
    /// The largest source accepted: Gmail cuts a letter at 102 kB, so that more is a mistake or an attack.
    pub const MOST_BYTES: usize = 256 * 1024;
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// MJML 4.
    Mjml,
    /// A whole HTML document or a piece of one.
    Html,
    /// CommonMark with tables and strikethrough; HTML may be mixed in.
    Markdown,
}

impl fmt::Display for BodyFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Mjml => "MJML",
            Self::Html => "HTML",
            Self::Markdown => "Markdown",
        })
    }
}

/// A place in a newsletter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The subject line.
    Subject,
    /// The preheader.
    Preheader,
    /// The sender's name.
    SenderName,
    /// The letter itself.
    Body,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Subject => "subject",
            Self::Preheader => "preheader",
            Self::SenderName => "sender name",
            Self::Body => "body",
        })
    }
}
