//! What was told from the user agents seen lately, per thread: a newsletter's readers use few programs, again and again.
//!
//! Cast: [`remembered`].
//!
//! It holds closed values under keyed hashes whose key is random and ends with the thread: in memory only, never written anywhere. It
//! changes how fast an answer comes, never which.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::agent::Agent;

/// User agents remembered by one thread; beyond it all are forgotten.
const MOST: usize = 4096;

thread_local! {
    static KNOWN: RefCell<(RandomState, HashMap<u64, Agent>)> = RefCell::default();
}

/// What `find` tells of a user agent, remembered.
pub(super) fn remembered(user_agent: &str, find: fn(&str) -> Agent) -> Agent {
    KNOWN.with_borrow_mut(|(key, known)| {
        let hash = key.hash_one(user_agent);
        if let Some(agent) = known.get(&hash) {
            return *agent;
        }
        if known.len() >= MOST {
            known.clear();
        }
        let agent = find(user_agent);
        known.insert(hash, agent);
        agent
    })
}
