//! Typed identifiers, so that a subscriber can never be passed where a pseudonym is meant.
//!
//! Cast: [`SubscriberId`] (a person, vault only), [`Pseudonym`] (a person within one campaign, random),
//! [`CampaignNumber`], [`VariantNumber`], [`MailingId`], [`EventId`], [`LinkNumber`], and [`RecordingMode`], what may be recorded.
//!
//! Ids are minted from bytes the caller brings: this module knows no clock and no randomness. It never holds an address or a name.

use std::fmt;
use std::str::FromStr;

use data_encoding::Specification;
use serde::{Deserialize, Serialize};

/// An identifier's text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}")]
pub struct InvalidId {
    /// The kind of identifier expected.
    pub what: &'static str,
    /// What was found instead.
    pub text: String,
}

/// Lower-case base32hex (RFC 4648 §7) without padding: its texts sort as the bytes do, so that time-ordered ids go to the end of an
/// index. It reads upper case too, because mail servers fold the case of local parts.
pub fn base32() -> &'static data_encoding::Encoding {
    static ENCODING: std::sync::LazyLock<data_encoding::Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
        specification.translate.from.push_str("ABCDEFGHIJKLMNOPQRSTUV");
        specification.translate.to.push_str("abcdefghijklmnopqrstuv");
        // The specification above is constant and valid; the fallback only keeps this free of panics.
        specification.encoding().unwrap_or(data_encoding::BASE32HEX_NOPAD)
    });
    &ENCODING
}

/// Answers 16 fresh bytes for a new id. Brought by the shells, so that the rooms below hold no randomness of their own.
pub type Mint = fn() -> [u8; 16];

/// 16 bytes written as 26 base32 characters.
fn read_sixteen(what: &'static str, text: &str) -> Result<[u8; 16], InvalidId> {
    let invalid = || InvalidId { what, text: text.chars().take(64).collect() };
    let bytes = base32().decode(text.as_bytes()).map_err(|_| invalid())?;
    bytes.try_into().map_err(|_| invalid())
}

/// The 26 characters of an identifier.
#[derive(Debug, Clone, Copy)]
pub struct IdText([u8; 26]);

impl IdText {
    /// As text.
    pub fn as_str(&self) -> &str {
        // Characters of base32 are always UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

// Four ids share this shape; each stays a type of its own so that the compiler tells them apart.
macro_rules! sixteen_byte_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From 16 bytes minted by the caller.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Its text, without memory of its own: for where there are very many.
            pub fn text(&self) -> IdText {
                let mut text = [0; 26];
                base32().encode_mut(&self.0, &mut text);
                IdText(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&base32().encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($what, " {}"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                read_sixteen($what, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

sixteen_byte_id!(
    /// A person in the vault. Time-ordered (UUID version 7 bytes), so that imports append to the index.
    SubscriberId,
    "subscriber id"
);
sixteen_byte_id!(
    /// A person within one campaign: 16 random bytes, derived from nothing.
    Pseudonym,
    "pseudonym"
);
sixteen_byte_id!(
    /// One letter to one person.
    MailingId,
    "mailing id"
);
sixteen_byte_id!(
    /// One fact in the ledger; the same id is never stored twice.
    EventId,
    "event id"
);

/// A campaign, counted from 1 within an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CampaignNumber(pub u32);

impl fmt::Display for CampaignNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl FromStr for CampaignNumber {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { what: "campaign number", text: text.chars().take(64).collect() };
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(invalid()),
        }
    }
}

/// A variant of a campaign, counted from 0; 0 is the control. Shown as a letter: A, B, C …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VariantNumber(pub u8);

impl VariantNumber {
    /// The variant the others are compared with.
    pub const CONTROL: Self = Self(0);
    /// Most variants a campaign may have, so that each has a letter of its own.
    pub const MOST: u8 = 26;

    /// The letter shown to people: A for the control.
    pub fn letter(self) -> char {
        char::from(b'A' + self.0 % Self::MOST)
    }
}

impl fmt::Display for VariantNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.letter())
    }
}

/// A link of a variant, counted from 1 in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkNumber(pub u16);

impl fmt::Display for LinkNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// What may be recorded about a person in a campaign, from least to most. The most restrictive of person and campaign wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingMode {
    /// No pixel, links untouched.
    Off,
    /// One shared pixel and link per arm: counts only.
    Aggregate,
    /// A random id per person and campaign.
    Pseudonymous,
    /// As pseudonymous, and the person agreed to be identified.
    Identified,
}

impl RecordingMode {
    /// Every mode, least first.
    pub const ALL: [Self; 4] = [Self::Off, Self::Aggregate, Self::Pseudonymous, Self::Identified];

    /// The word used in files, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Aggregate => "aggregate",
            Self::Pseudonymous => "pseudonymous",
            Self::Identified => "identified",
        }
    }

    /// Whether it may be used only with this person's recorded consent to exactly this: one person's reading is told from another's by name.
    pub const fn needs_consent(self) -> bool {
        matches!(self, Self::Identified)
    }
}

impl fmt::Display for RecordingMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for RecordingMode {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text.trim())).ok_or_else(|| InvalidId {
            what: "recording mode (off, aggregate, pseudonymous, identified)",
            text: text.chars().take(64).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixteen_byte_id_reads_back_in_either_case() {
        let id = Pseudonym::from_bytes([0xA7; 16]);
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse::<Pseudonym>(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<Pseudonym>(), Ok(id));
    }

    #[test]
    fn texts_sort_as_the_bytes_do() {
        let texts: Vec<String> = (0..=255).map(|byte| MailingId::from_bytes([byte; 16]).to_string()).collect();
        assert!(texts.is_sorted());
    }

    #[test]
    fn broken_ids_are_refused_with_their_kind() {
        for text in ["", "short", "!!!!!!!!!!!!!!!!!!!!!!!!!!"] {
            let error = text.parse::<MailingId>().unwrap_err();
            assert_eq!(error.what, "mailing id");
        }
        assert!("0".parse::<CampaignNumber>().is_err());
        assert!("some".parse::<RecordingMode>().is_err());
    }

    #[test]
    fn recording_modes_are_ordered_from_least_to_most() {
        assert!(RecordingMode::Off < RecordingMode::Aggregate);
        assert!(RecordingMode::Aggregate < RecordingMode::Pseudonymous);
        assert!(RecordingMode::Pseudonymous < RecordingMode::Identified);
        assert_eq!(" Pseudonymous ".parse(), Ok(RecordingMode::Pseudonymous));
    }
}
