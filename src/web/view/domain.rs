//! The page about a sender's domain.
//!
//! Cast: [`DomainView`], [`FindingRow`]. It shows what is public in the DNS, and nothing else.

use super::{Badge, Page};

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct FindingRow {
    /// `SPF`, `DKIM` …
    pub subject: String,
    /// A name or an address.
    pub name: String,
    /// How good it is.
    pub state: Badge,
    /// What is there.
    pub found: String,
    /// What to change; may be empty.
    pub advice: String,
    /// What to publish.
    pub record: Option<String>,
}

/// The page.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/domain.html")]
pub struct DomainView {
    /// The frame.
    pub page: Page,
    /// The domain asked for; may be empty.
    pub name: String,
    /// Addresses typed; may be empty.
    pub ip: String,
    /// Domains with keys.
    pub known: Vec<String>,
    /// One sentence over all, once asked.
    pub summary: Option<String>,
    /// Its badge.
    pub overall: Option<Badge>,
    /// Everything looked at.
    pub findings: Vec<FindingRow>,
}
