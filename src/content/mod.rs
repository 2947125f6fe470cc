//! Newsletter in, compiled letter per variant out.
//!
//! ```text
//! newsletter   what the author wrote                      element  the one thing a variant may change: with_override
//!   └ letter   compile once: CompiledLetter               blocks   the named parts of a body; style: their look
//!       ├ merge    tags lifted out as marks … and back     report   does this letter work?
//!       │   ├ syntax   what a tag may say; fields used
//!       │   └ unknown  fields no list has; what was meant
//!       ├ render   MJML | HTML | Markdown → one document, styles inlined
//!       ├ links    found, numbered, frozen                 markup   reads tags with byte positions
//!       ├ text     the plain-text part                     warning  what to look at
//!       └ template per person: values and addresses in     error    why not; nesting: how deep is too deep
//! ```
//!
//! The cast: [`Newsletter`], [`Element`], [`CompiledLetter`], [`LetterUrls`], [`RenderedLetter`].
//!
//! Pure: no files, no network, no clock, no database. It never sees a recipient's e-mail address; merge values and
//! finished addresses come in as values, and no error repeats one.

mod blocks;
mod element;
mod error;
mod letter;
mod links;
mod markup;
mod merge;
mod nesting;
mod newsletter;
mod render;
mod report;
mod style;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod unknown;
mod warning;

pub use blocks::{Block, Facet, blocks};
pub use element::{Element, with_override};
pub use error::ContentError;
pub use letter::{CompiledLetter, LetterUrls, RenderedLetter, Tracking};
pub use links::FrozenLink;
pub use newsletter::{Body, BodyFormat, Newsletter, Part};
pub use report::{LetterReport, report};
pub use syntax::{FILTERS, UNSUBSCRIBE};
pub use unknown::UnknownField;
pub use warning::Warning;
