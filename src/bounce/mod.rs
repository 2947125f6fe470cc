//! Returned mail: what a message that came back says about a letter.
//!
//! Cast: [`read`], bytes in, [`Returned`] out; [`BounceClass`], what a failure means for the mailbox; [`TokenCandidate`], whose letter it
//! may have been; [`apply`](apply::apply), what is done about it; [`intake`], the SMTP listener returned mail comes to.
//!
//! One file per standard: `codes` (RFC 3463), `dsn` (RFC 3464), `arf` (RFC 5965), `autoreply` (RFC 3834); `freeform` for what no standard
//! describes but cannot be mistaken. It never decides who a
//! letter went to: tokens are candidates until the caller has authenticated them. It never takes an address or a code from the quoted original.

pub mod apply;
mod arf;
mod autoreply;
mod codes;
mod dsn;
mod freeform;
mod identity;
pub mod intake;
mod mail;
mod reason;
mod returned;

pub use codes::{EnhancedCode, reply_code};
pub use identity::{TokenCandidate, TokenPlace, return_path_token};
pub use reason::{BounceClass, classify};
pub use returned::{Action, MaskedAddress, Obstacle, RecipientStatus, Returned, ReturnedKind, read};
