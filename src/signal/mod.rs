//! The signal room: what a tracking hit means. Request facts → closed values → a class with confidence and reasons.
//!
//! Map, in the order a hit passes through:
//!
//! | module | does | hands over |
//! |---|---|---|
//! | [`network`] | finds the kind of network an address belongs to, longest prefix first | [`NetworkKind`], its meaning per direction |
//! | [`rules`] | the literals that tell user agents apart, as ordered data | [`rules::Sign`] |
//! | [`signs`] | finds them all in one pass | [`signs::Signs`] |
//! | `shape` | marks of programs that write what browsers write | – |
//! | `agent` | what a user agent says, from signs and shapes | kind, family, device |
//! | [`client`] | reduces a request to closed values; address and user agent stop here | [`Client`] |
//! | [`class`] | the words of a verdict | [`Class`], [`Confidence`], [`Reasons`] |
//! | [`verdict`] | the immediate rules, first match wins | [`Verdict`] |
//! | [`context`] | the second pass: all hits of one letter, rules in order | [`context::Judged`] |
//! | [`scenario`] | made-up letters with known truth, and how well both passes do on them | [`scenario::Outcome`] |
//! | [`score`] | how well all of this does on a labelled file | [`Score`] |
//!
//! Hits are classified here, not people. The room never touches a clock, a disk, a socket or a database, and it returns
//! nothing from which an address or a user agent could be recovered.

mod agent;
mod agent_memory;
pub mod class;
pub mod client;
pub mod context;
pub mod network;
pub mod rules;
pub mod scenario;
pub mod score;
mod shape;
pub mod signs;
pub mod verdict;

pub use class::{Class, Confidence, InvalidWord, Reasons};
pub use client::{AgentKind, Client, ClientFamily, DeviceClass, MethodKind, RequestFacts, reduce};
pub use network::{NetworkError, NetworkKind, NetworkTable};
pub use score::{Score, score};
pub use verdict::{DeliveryAge, HitKind, RULESET, Verdict, classify, counts_standard, counts_strict};
