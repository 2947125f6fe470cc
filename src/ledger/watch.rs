//! An anytime-valid test as far as it is written down: who was at risk when its observation began, and the first crossing of its bound.
//!
//! Cast: [`Watch`], [`Crossing`].
//!
//! It keeps counts per arm and moments to the minute: no person, no pseudonym. Nothing here is ever taken back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{DbError, DbResult};
use crate::ids::VariantNumber;

const MINUTE: i64 = 60_000;

/// A test that may be looked at whenever one likes.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// When the recipients at risk were counted.
    pub since: Timestamp,
    /// The last event known then.
    pub seq: i64,
    /// Recipients at risk by arm: measured and delivered by then. Letters that come back later change nothing.
    pub at_risk: BTreeMap<u8, u64>,
    /// The first crossing of the bound; none while there was none.
    pub crossing: Option<Crossing>,
    /// When it was found.
    pub found_at: Option<Timestamp>,
    /// When every check let it pass: from then on the verdict stays.
    pub settled_at: Option<Timestamp>,
}

impl Watch {
    /// Recipients at risk in an arm.
    pub fn of(&self, variant: VariantNumber) -> u64 {
        self.at_risk.get(&variant.0).copied().unwrap_or_default()
    }
}

/// The first time an arm's evidence against every other reached the bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// The arm.
    pub variant: u8,
    /// Minute since 1970 of the success that did it.
    pub minute: i64,
    /// First successes up to and with that one.
    pub after: u64,
    /// Logarithm of the largest anytime p-value against any other arm: minus the logarithm of the evidence.
    pub ln_p: f64,
    /// First successes of each arm by then, the control first.
    pub successes: Vec<u64>,
}

impl Crossing {
    /// The minute a moment, milliseconds since 1970, lies in.
    pub const fn minute_of(at: i64) -> i64 {
        at.div_euclid(MINUTE)
    }

    /// When, rounded down to the minute.
    ///
    /// # Errors
    /// A minute that is none.
    pub fn at(&self) -> DbResult<Timestamp> {
        Timestamp::from_millisecond(self.minute.saturating_mul(MINUTE)).map_err(|_| DbError::unreadable("a minute", self.minute))
    }
}
