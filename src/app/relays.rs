//! Relays tried out: the verb that page, command line and HTTP API all call.
//!
//! Cast: [`test`], [`Tested`]. It sends no letter, and asks no database: whoever sets up may try relays before anything else is there.

use std::sync::Arc;

use serde::Serialize;

use crate::delivery::relays::Relay;
use crate::delivery::smtp::{ProbeStep, probe};

/// How a relay fared.
#[derive(Debug, Clone, Serialize)]
pub struct Tested {
    /// Its name in the settings.
    pub relay: String,
    /// Whether every step went well.
    pub good: bool,
    /// Step by step, up to the first that failed.
    pub steps: Vec<ProbeStep>,
}

/// Tries the relay of this name, or all of them. `sender` is an address letters come from. Answers nothing for a name that is not there.
pub async fn test(relays: &[Arc<Relay>], name: Option<&str>, sender: Option<&str>) -> Vec<Tested> {
    let mut tested = Vec::new();
    for relay in relays.iter().filter(|relay| name.is_none_or(|name| name == relay.name)) {
        let steps = probe(&relay.smtp, sender).await;
        tested.push(Tested { relay: relay.name.clone(), good: steps.iter().all(|step| step.good), steps });
    }
    tested
}
