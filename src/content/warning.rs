//! What an author should look at before sending. A warning never stops a letter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::newsletter::Part;

/// Above this size in bytes the pixel moves to the front.
pub const LARGE: usize = 90_000;
/// Above this size in bytes Gmail cuts a letter.
pub const CLIPPED: usize = 102_000;
/// Gmail drops a style block longer than this, in characters.
pub const LONG_STYLE: usize = 8_192;

/// Something worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Warning {
    /// The subject is blank.
    NoSubject,
    /// Close to where Gmail cuts.
    Large {
        /// The HTML part's size, without merge values and tracked addresses.
        bytes: usize,
    },
    /// Gmail will cut it.
    Clipped {
        /// The HTML part's size, without merge values and tracked addresses.
        bytes: usize,
    },
    /// Gmail will drop a style block.
    LongStyle {
        /// Its length.
        characters: usize,
    },
    /// A link's text names another host than the link leads to; it is left alone.
    LinkShowsOtherHost {
        /// The host its text names.
        shown: String,
        /// Where it leads.
        url: String,
    },
    /// A link holds a merge field and is therefore not tracked.
    PersonalLinkUntracked {
        /// As written.
        url: String,
    },
    /// A link without scheme leads nowhere from a mail.
    LinkLeadsNowhere {
        /// As written.
        url: String,
    },
    /// An image without scheme cannot be loaded from a mail.
    ImageLeadsNowhere {
        /// Its address as written.
        image: String,
    },
    /// An image has no alternative text.
    NoAltText {
        /// Its address as written.
        image: String,
    },
    /// A screen reader does not know how to pronounce it.
    NoLanguage,
    /// Nothing to click.
    NoLinks,
    /// The letter does not use `{{ unsubscribe_url }}` for every person, so that a plain footer with it was appended.
    FooterAppended,
    /// A tag of another mail system stays as it is.
    ForeignTag {
        /// Where.
        part: Part,
        /// As written.
        tag: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSubject => write!(formatter, "the subject is blank"),
            Self::Large { bytes } => write!(formatter, "the letter has {bytes} bytes; Gmail cuts at {CLIPPED}"),
            Self::Clipped { bytes } => {
                write!(formatter, "the letter has {bytes} bytes; Gmail cuts at {CLIPPED}, and what follows is not seen")
            }
            Self::LongStyle { characters } => {
                write!(formatter, "a style block has {characters} characters; Gmail drops those over {LONG_STYLE}: split it")
            }
            Self::LinkShowsOtherHost { shown, url } => {
                write!(formatter, "a link shows {shown} but leads to {url}; mail providers take that for phishing, and it is not tracked")
            }
            Self::PersonalLinkUntracked { url } => write!(
                formatter,
                "the link {url} holds a merge field and is not tracked; a value that is a part of an address wants `| urlencode`"
            ),
            Self::LinkLeadsNowhere { url } => write!(formatter, "the link '{url}' is not a whole address and leads nowhere from a mail"),
            Self::ImageLeadsNowhere { image } => {
                write!(formatter, "the image '{image}' is not a whole address and cannot be loaded from a mail")
            }
            Self::NoAltText { image } => write!(formatter, "the image '{image}' has no alternative text (alt=\"\" if it is decoration)"),
            Self::NoLanguage => {
                write!(
                    formatter,
                    "the letter does not say its language: write language = \"en\" in the campaign, or <html lang=\"en\"> in the letter"
                )
            }
            Self::NoLinks => write!(formatter, "the letter has no tracked link: there will be no clicks"),
            Self::FooterAppended => write!(formatter, "the letter has no unsubscribe link; a plain footer with one is appended"),
            Self::ForeignTag { part, tag } => write!(formatter, "the {part} holds {tag}, a tag of another mail system; it stays as text"),
        }
    }
}
