//! The composition root: configuration, clock and randomness, databases, background work, and what a user can do as verbs.
//!
//! Cast: [`config`] (one struct, the embedded defaults are the defaults), [`clock`] (wall time and fresh ids), [`keyfile`], [`lab`]
//! (everything put together once and passed on), [`campaigns`], [`people`], [`letters`], [`images`] and [`assignment`] (what web,
//! command line and API all call), [`domain`] (whether a sender proves who it is), [`jobs`] (background work).
