//! The words of a verdict: class, confidence and the set of reasons.
//!
//! Cast: [`Class`], [`Confidence`], [`Reasons`], and [`InvalidWord`] for text that is none of them.
//!
//! Decides nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word is not one of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}")]
pub struct InvalidWord {
    /// The list.
    pub what: &'static str,
    /// What was found instead, cut to 64 characters.
    pub text: String,
}

pub(super) fn read_word<T: Copy>(all: &[T], word: fn(T) -> &'static str, what: &'static str, text: &str) -> Result<T, InvalidWord> {
    let found = all.iter().copied().find(|value| word(*value) == text);
    found.ok_or_else(|| InvalidWord { what, text: text.chars().take(64).collect() })
}

/// What a hit is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A person.
    Human,
    /// A person, through their mail provider's fetcher.
    Proxied,
    /// Fetched without being shown: says nothing either way.
    Prefetch,
    /// A machine.
    Scanner,
    /// Undecided.
    Unknown,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Human, Self::Proxied, Self::Prefetch, Self::Scanner, Self::Unknown];

    /// The word used in files, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Proxied => "proxied",
            Self::Prefetch => "prefetch",
            Self::Scanner => "scanner",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        read_word(&Self::ALL, Self::as_str, "class (human, proxied, prefetch, scanner, unknown)", text)
    }
}

/// How sure the rule is of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The client said so itself, or cannot be anything else.
    Certain,
    /// Exceptions are known but rare.
    Strong,
    /// The best guess; a second look may change it.
    Weak,
}

impl Confidence {
    /// Every confidence, surest first.
    pub const ALL: [Self; 3] = [Self::Certain, Self::Strong, Self::Weak];

    /// The word used in files, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Strong => "strong",
            Self::Weak => "weak",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Confidence {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        read_word(&Self::ALL, Self::as_str, "confidence (certain, strong, weak)", text)
    }
}

/// Why a hit has its class: a set of up to 16 named reasons. Stored as a number, so a bit never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(pub u16);

impl Reasons {
    /// No reason.
    pub const NONE: Self = Self(0);
    /// The method was not GET.
    pub const METHOD: Self = Self(1);
    /// A header announced a prefetch, preview or prerender.
    pub const PURPOSE: Self = Self(1 << 1);
    /// The user agent was the bare word Apple's prefetch sends.
    pub const BARE_AGENT: Self = Self(1 << 2);
    /// The user agent was that of Gmail's prefetch.
    pub const GMAIL_PREFETCH: Self = Self(1 << 3);
    /// The user agent named a mail provider's fetcher.
    pub const MAIL_PROXY: Self = Self(1 << 4);
    /// The user agent named a mail program.
    pub const MAIL_CLIENT: Self = Self(1 << 5);
    /// The user agent named a security scanner.
    pub const NAMED_SCANNER: Self = Self(1 << 6);
    /// The user agent named a link preview.
    pub const NAMED_PREVIEW: Self = Self(1 << 7);
    /// The user agent was a robot's or a library's.
    pub const ROBOT_AGENT: Self = Self(1 << 8);
    /// The network took part in the decision.
    pub const NETWORK: Self = Self(1 << 9);
    /// There was no user agent, or none that tells anything.
    pub const NO_AGENT: Self = Self(1 << 10);
    /// The hit came within 10 seconds of delivery, or before it.
    pub const INSTANT: Self = Self(1 << 11);
    /// The user agent had the shape of a browser or an app, and nothing spoke against it.
    pub const BROWSER: Self = Self(1 << 12);
    /// The trap link, or a hit near one.
    pub const TRAP: Self = Self(1 << 13);
    /// More links in less time than people manage. Second pass.
    pub const BURST: Self = Self(1 << 14);
    /// Changed by what else happened on the same letter. Second pass.
    pub const CONTEXT: Self = Self(1 << 15);

    const NAMES: [(Self, &'static str); 16] = [
        (Self::METHOD, "method"),
        (Self::PURPOSE, "purpose"),
        (Self::BARE_AGENT, "bare_agent"),
        (Self::GMAIL_PREFETCH, "gmail_prefetch"),
        (Self::MAIL_PROXY, "mail_proxy"),
        (Self::MAIL_CLIENT, "mail_client"),
        (Self::NAMED_SCANNER, "named_scanner"),
        (Self::NAMED_PREVIEW, "named_preview"),
        (Self::ROBOT_AGENT, "robot_agent"),
        (Self::NETWORK, "network"),
        (Self::NO_AGENT, "no_agent"),
        (Self::INSTANT, "instant"),
        (Self::BROWSER, "browser"),
        (Self::TRAP, "trap"),
        (Self::BURST, "burst"),
        (Self::CONTEXT, "context"),
    ];

    /// Both sets together.
    pub const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether every reason of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the reasons, lowest bit first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(reason, _)| self.contains(*reason)).map(|(_, name)| name)
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            let separator = if index == 0 { "" } else { "+" };
            write!(formatter, "{separator}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_confidences_read_back_as_text_and_as_json() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{class}\""));
        }
        for confidence in Confidence::ALL {
            assert_eq!(confidence.as_str().parse(), Ok(confidence));
            assert_eq!(serde_json::to_string(&confidence).unwrap(), format!("\"{confidence}\""));
        }
        assert!("Human".parse::<Class>().is_err());
        assert!("sure".parse::<Confidence>().is_err());
    }

    #[test]
    fn each_of_the_sixteen_reasons_has_one_bit_and_one_name() {
        let mut all = Reasons::NONE;
        for (reason, name) in Reasons::NAMES {
            assert_eq!(reason.0.count_ones(), 1, "{name}");
            assert!(!all.contains(reason), "{name}");
            assert_eq!(reason.names().collect::<Vec<_>>(), [name]);
            all = all.with(reason);
        }
        assert_eq!(all.0, u16::MAX);
    }

    #[test]
    fn reasons_are_shown_by_name() {
        assert_eq!(Reasons::BARE_AGENT.with(Reasons::NETWORK).to_string(), "bare_agent+network");
        assert_eq!(Reasons::NONE.to_string(), "");
    }
}
