//! The composition root: configuration, clock and randomness, databases, background work, and what a user can do as verbs.
//!
//! Cast: [`config`] (one struct, the embedded defaults are the defaults), [`clock`] (wall time and fresh ids), [`keyfile`], [`keywatch`]
//! (keys taken up while running), [`lab`] (everything put together once and passed on), [`accounts`], [`campaigns`], [`people`],
//! [`letters`], [`images`] and [`assignment`] (what web,
//! command line and API all call), [`domain`] (whether a sender proves who it is), [`exchanges`] (whose mailboxes a domain's are), [`proof`] (that letters differ in one element),
//! [`preflight`] (the list before launch), [`preview`] and [`test_mail`] (letters before they leave), [`jobs`] (background work), [`notices`] (who is told), [`comparing`] (what processes tell each other),
//! [`outpost`] (what answers pixels and links, without people), [`roles`] (which of all this a process does), [`proxies`] (whose word
//! counts on where a request comes from), [`recount`] (states and counts from the events), [`backup`].
//!
//! It holds no SQL and no markup; it is the only place below the shells that reads the clock.

pub mod accounts;
pub mod assignment;
pub mod backup;
pub mod campaigns;
pub mod clock;
pub mod comparing;
pub mod config;
pub mod domain;
pub mod exchanges;
pub mod images;
pub mod jobs;
pub mod keyfile;
pub mod keywatch;
pub mod lab;
pub mod letters;
pub mod networks;
pub mod node;
pub mod notices;
pub mod outpost;
pub mod people;
pub mod planning;
pub mod preflight;
pub mod preview;
pub mod proof;
pub mod proxies;
pub mod recount;
pub mod relays;
pub mod roles;
pub mod sending;
pub mod signals;
pub mod status;
pub mod test_mail;
