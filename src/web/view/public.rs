//! What recipients, reviewers and strangers see: unsubscribing, privacy, errors, a link that has ended.
//!
//! Cast: [`UnsubscribeView`], [`PrivacyView`], [`ErrorView`], [`EndedView`]. None of them names a person: the token in the address is enough.

use super::{Link, Page};

/// Whether the recipient's opens and clicks are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measurement {
    /// Recorded; may be stopped.
    On,
    /// Stopped just now or before.
    Stopped,
    /// This letter never recorded anything about its reader.
    Never,
}

/// The recipient's page. The two forms POST to `url` with `action` = `unsubscribe`, `stop-measurement`; GET changes nothing.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "public/unsubscribe.html")]
pub struct UnsubscribeView {
    /// The frame.
    pub page: Page,
    /// This page's own address, also the forms' target.
    pub url: String,
    /// Who sends the letters.
    pub sender: String,
    /// Whether the recipient is unsubscribed by now.
    pub unsubscribed: bool,
    /// Whether reading is recorded.
    pub measurement: Measurement,
}

/// What is recorded, for how long, and how to avoid it.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "public/privacy.html")]
pub struct PrivacyView {
    /// The frame.
    pub page: Page,
    /// Who operates this server.
    pub operator: String,
    /// How to reach the operator; may be empty.
    pub contact: String,
    /// The server's own pixel address pattern, for blocking rules, for example `||news.example.org/o/`.
    pub pixel_rule: String,
}

/// A page that says what went wrong, with or without navigation (as `page.account` says).
#[derive(Debug, Clone, askama::Template)]
#[template(path = "public/error.html")]
pub struct ErrorView {
    /// The frame.
    pub page: Page,
    /// HTTP status.
    pub status: u16,
    /// What is wrong, in one short sentence.
    pub heading: String,
    /// What to do about it.
    pub explanation: String,
    /// Number under which the log has the details, or empty.
    pub reference: String,
    /// Where to go from here.
    pub next: Option<Link>,
}

impl ErrorView {
    /// The usual wording for a status, so that public pages say nothing about why.
    pub fn plain(page: Page, status: u16) -> Self {
        let (heading, explanation) = match status {
            400 => ("That request could not be read", "Something in it is missing or malformed. Go back, reload the page and try again."),
            401 => ("Please log in", "This page needs an account."),
            403 => ("That is not allowed", "The form may have been open for too long. Reload it and send it again."),
            404 => ("There is nothing here", "The address may be mistyped, or what it led to has ended."),
            405 => ("That cannot be done here", "The address exists but not for this kind of request."),
            413 => ("That is too large", "The file exceeds what this server accepts."),
            429 => ("That was a little too fast", "Please wait a minute and try again."),
            503 => ("Back in a moment", "The server is starting or finishing up. Please try again shortly."),
            _ => ("Something went wrong on our side", "It has been noted. Please try again; if it stays, tell whoever runs this server."),
        };
        Self { page, status, heading: heading.to_owned(), explanation: explanation.to_owned(), reference: String::new(), next: None }
    }
}

/// A reviewer's link that no longer opens anything.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "review/ended.html")]
pub struct EndedView {
    /// The frame.
    pub page: Page,
}
