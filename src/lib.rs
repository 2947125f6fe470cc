//! Letterlab: a newsletter in variants that differ in exactly one element, opens, clicks and bounces under pseudonyms, and honest
//! statistics between the variants.
//!
//! *The vault knows who; the ledger knows what happened; only the bridge knows both.*
//!
//! Facts are stored raw and append-only. Everything shown is derived from them and can be derived again. Work moves one way through
//! rooms; each hand-over is a plain named value; effects happen at the edges.
//!
//! # The house
//!
//! Each module below is a room on a floor; a room names rooms on lower floors only. Who may name whom is a table in
//! `tests/it/architecture.rs`, and that test holds it.
//!
//! | floor | rooms |
//! |---|---|
//! | 0, pure | [`ids`], [`token`], [`stats`], [`experiment`], [`content`], [`signal`] |
//! | 1, plumbing | [`db`] (two databases, two types), [`smtpd`] (an SMTP server that knows nothing of newsletters) |
//! | 2, stores | [`vault`] (people), [`ledger`] (events), [`campaign`] (what is sent and tested) |
//! | 3, work | [`delivery`], [`bounce`], [`tracking`], [`report`], [`bridge`] (the only room with doors to both people and events) |
//! | 4, shells | [`app`] (composition root), [`web`], [`cli`], [`demo`] (a client of the public interfaces, like anybody) |
//!
//! # Walks
//!
//! **A pixel hit.** `GET /o/{token}.gif` → `web::front` → [`tracking::hit`]: the token is opened without a database (forged: the
//! same image, nothing stored), [`signal::client`] reduces address and user agent to a few closed values and drops them →
//! [`tracking::intake`]: one writer appends what has gathered to the spool, one flush for all, and acknowledges the group → the gif.
//! Behind it [`tracking::loader`] moves hits to the ledger, exactly once; later, many at a time, [`ledger::filing`] makes them findable by
//! recipient. A redirect is the same walk; its target comes from the
//! campaign's frozen link table in memory, never from the request. With the database there or away, nothing of this differs.
//!
//! **A subscriber, from CSV to mail.** [`vault::import`] (every line accounted for) → [`bridge::launch`]: roster, a fresh random
//! pseudonym each, [`experiment::assign`], mailings in the vault (this row *is* the pseudonym's only link to the person) and subjects in
//! the ledger. Then [`delivery::send`]: lease a batch → ask the vault again → [`content`] → DKIM → SMTP → outcome →
//! [`bridge::relay`] copies outcomes to the ledger under the pseudonym.
//!
//! **A bounce.** message → [`bounce::read`] → a genuine token → outcome on the mailing, suppression in the vault → relayed.
//!
//! **A result.** [`ledger::projection`] folds events into states and counts → [`report::results`] → one [`report::page::ResultPage`] for
//! page, command line, API and export.
//!
//! # Invariants, mostly absences
//!
//! - Nothing in [`ledger`], [`tracking`] or [`report`] can hold a name or an address of a person, or an address or user agent of a machine.
//! - A pseudonym is random, per person and campaign, and derived from nothing.
//! - `enrolled = accepted + refused + skipped + failed + waiting + unknown`; every stored hit is in exactly one class; both are asserted at the end of stories
//!   and shown by `letterlab status`.
//! - Wall time and unseeded randomness are read in [`app::clock`] only; RSA keys and TLS take their chance from the system themselves.
//! - SQL stands in `store` modules only; status codes of HTTP in `web::error` only.
//!
//! # Where is …?
//!
//! | looked for | found in |
//! |---|---|
//! | the settings and their defaults | `src/app/letterlab.toml` |
//! | what a user can do | [`app::campaigns`], [`app::people`] |
//! | what happens by itself | [`app::jobs`] |
//! | all addresses of pages | `src/web/routes.rs` |
//! | the tables | `migrations/` |
//! | the format of a campaign file | `src/campaign/template.toml` |
//! | what is looked at before a launch | [`content::preflight`], [`app::preflight`] |
//! | DKIM keys and what the DNS must say | [`delivery::dkim`], [`app::domain`] |
//! | which hit is a machine's | [`signal::verdict`] at once, [`signal::context`] once its letter is quiet, [`ledger::judgement`] for what is stored |
//! | a formula and its source | [`stats`] |

// floor 0
pub mod content;
pub mod experiment;
pub mod ids;
pub mod signal;
pub mod stats;
pub mod token;

// floor 1
pub mod db;
pub mod smtpd;

// floor 2
pub mod campaign;
pub mod ledger;
pub mod vault;

// floor 3
pub mod bounce;
pub mod bridge;
pub mod delivery;
pub mod report;
pub mod tracking;

// floor 4
pub mod app;
pub mod cli;
pub mod demo;
pub mod web;
