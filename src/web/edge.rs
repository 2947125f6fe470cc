//! What every handler shares that needs no people: the tracker, where requests come from, who asks for too much.
//!
//! Cast: [`Edge`]. A tracking node has this and nothing else.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use super::error::Fault;
use super::misses::Misses;
use crate::app::outpost::{Outpost, refresh_targets};
use crate::app::proxies::TrustedProxies;
use crate::app::roles::Roles;

/// How often an unknown campaign may make the tracker look again, in milliseconds.
const LOOK_AGAIN_MS: i64 = 1_000;
/// How long who asked for too much is told to wait, in seconds.
pub const PAUSE_SECONDS: u64 = 60;

/// Shared by every connection.
pub struct Edge {
    /// Pixels and links.
    pub outpost: Outpost,
    /// What this process answers.
    pub roles: Roles,
    /// Whether recipients and users come by https.
    pub secure: bool,
    /// Proxies that are believed.
    pub proxies: TrustedProxies,
    /// Forged tokens of late.
    misses: Misses,
    looked_again: AtomicI64,
}

impl Edge {
    /// The edge of a process with these roles.
    pub fn new(outpost: Outpost, roles: Roles) -> Self {
        let web = &outpost.config.web;
        let secure = web.base_url.starts_with("https://");
        // The settings were checked when they were read.
        let proxies = TrustedProxies::parse(&web.trusted_proxies).unwrap_or_default();
        Self { outpost, roles, secure, proxies, misses: Misses::default(), looked_again: AtomicI64::new(0) }
    }

    /// Runs work that waits for the ledger, off the threads that answer requests.
    ///
    /// # Errors
    /// What `work` answers, and a panic in it.
    pub async fn run<T, E>(&self, work: impl FnOnce(&Outpost) -> Result<T, E> + Send + 'static) -> Result<T, Fault>
    where
        T: Send + 'static,
        E: Into<Fault> + Send + 'static,
    {
        let outpost = self.outpost.clone();
        match tokio::task::spawn_blocking(move || work(&outpost)).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Fault::internal(anyhow::anyhow!("a request's work ended unexpectedly"))),
        }
    }

    /// Lets the tracker learn of campaigns launched elsewhere, now and then.
    pub async fn look_again(&self) {
        let now = self.outpost.clock.now().as_millisecond();
        let last = self.looked_again.load(Ordering::Relaxed);
        let due = now - last >= LOOK_AGAIN_MS;
        if due && self.looked_again.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let looked = self.run(refresh_targets);
            // The answer goes out in time all the same; the next request may look again.
            let _ = tokio::time::timeout(Duration::from_secs(1), looked).await;
        }
    }

    /// The address a request comes from, or the one a trusted proxy named.
    pub fn peer(&self, request: &HttpRequest) -> Option<IpAddr> {
        let headers = request.headers();
        let (forwarded_for, forwarded) = (list(headers, "x-forwarded-for"), list(headers, "forwarded"));
        self.peer_behind(request.peer_addr().map(|address| address.ip()), forwarded_for.as_deref(), forwarded.as_deref())
    }

    /// The same, from its parts.
    pub fn peer_behind(&self, socket: Option<IpAddr>, forwarded_for: Option<&str>, forwarded: Option<&str>) -> Option<IpAddr> {
        if self.outpost.config.web.proxied { self.proxies.client(socket?, forwarded_for, forwarded) } else { socket }
    }

    /// Notes a token that is not ours. Answers whether its source has had too many of late.
    pub fn miss(&self, peer: Option<IpAddr>) -> bool {
        let too_many = peer.is_some_and(|peer| self.misses.note(peer, self.outpost.clock.now()));
        if too_many {
            self.outpost.tracker.counts.limited();
        }
        too_many
    }
}

/// All lines of a header that is a list (RFC 9110 §5.3): a proxy may add a line of its own instead of lengthening the one that is there. A
/// line that is no text stays in its place, as nobody's address.
fn list(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).map(|header| header.to_str().unwrap_or("?")).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
