//! Newsletter in, compiled letter per variant out.
//!
//! ```text
//! newsletter   what the author wrote                      element  the one thing a variant may change: with_override
//!   │                                                       ├ blocks   addresses of parts: names, selector, tree; sheet: rules
//!   │                                                       ├ edit     single changes of a source; style: the look of a part
//!   │                                                       └ outlook  the twin of a link that only Outlook reads
//!   ├ parts    what a person can point at                  foreign  merge tags of other systems, rewritten
//!   └ letter   compile once: CompiledLetter                image    pictures brought along; language, utm: what is added
//!       ├ merge    tags lifted out as marks … and back     report   does this letter work?
//!       │   ├ syntax   what a tag may say; fields used
//!       │   └ unknown  fields no list has; what was meant
//!       ├ render   MJML | HTML | Markdown → one document, styles inlined
//!       ├ links    found, numbered, frozen                 markup   reads tags with byte positions
//!       ├ text     the plain-text part                     warning  what to look at
//!       └ template per person: values and addresses in     error    why not; nesting: how deep is too deep
//! ```
//!
//! [`difference`] asks in what letters differ.
//!
//! The cast: [`Newsletter`], [`Element`], [`CompiledLetter`], [`LetterUrls`], [`RenderedLetter`].
//!
//! `preflight` says what a letter shows before launch, with `support` (what mail programs do not show); `inert` makes it something to
//! look at only.
//!
//! Pure: no files, no network, no clock, no database. It never sees a recipient's e-mail address; merge values and
//! finished addresses come in as values, and no error repeats one.

mod blocks;
pub mod difference;
mod edit;
mod element;
mod error;
mod foreign;
mod image;
mod inert;
mod language;
mod letter;
mod links;
mod markup;
mod merge;
mod nesting;
mod newsletter;
mod outlook;
mod parts;
pub mod preflight;
mod render;
mod report;
mod selector;
mod sheet;
mod style;
mod support;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod trap;
mod tree;
mod unknown;
mod utm;
mod warning;

pub use blocks::{Block, Facet, blocks};
pub use element::{Element, with_override};
pub use error::ContentError;
pub use foreign::{Left, Rewriting, Rewritten, rewrite};
pub use image::{IMAGE_PATH, ImageKind, MOST_IMAGE_BYTES, content_id, uploaded_id};
pub use inert::{Look, Shade, inert};
pub use language::is_language;
pub use letter::{CompiledLetter, LetterSettings, LetterUrls, RenderedLetter, Tracking};
pub use links::FrozenLink;
pub use newsletter::{Body, BodyFormat, Newsletter, Part};
pub use parts::{LetterPart, PART_ATTRIBUTE, PART_CLASS, Parts, marked, parts};
pub use report::{LetterReport, report};
pub use syntax::{FILTERS, UNSUBSCRIBE};
pub use trap::with_trap_link;
pub use unknown::{UnknownField, suggest};
pub use utm::Utm;
pub use warning::Warning;
