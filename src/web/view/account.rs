//! Pages before anybody is logged in: first-run creation of the administrator, and login.
//!
//! Cast: [`SetupView`], [`LoginView`]. They never hold a password: password fields always come back empty.

use super::{Field, Page};

/// First run: create the administrator. Posts `login`, `password`, `password_again`, `code` to `/setup`.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/setup.html")]
pub struct SetupView {
    /// The frame.
    pub page: Page,
    /// What the administrator will log in with: any name or an e-mail address.
    pub login: Field,
    /// Complaint about the password; its value is never shown.
    pub password_error: Option<String>,
    /// The set-up code printed at start, asked only when the server says so.
    pub code: Option<Field>,
    /// Smallest length of the password, in characters.
    pub password_length: usize,
}

/// Why the login page is shown again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LoginNotice {
    /// First sight.
    #[default]
    None,
    /// Login or password did not match; the page does not say which.
    Refused,
    /// Too many attempts.
    Throttled {
        /// When to try again, in words, for example `40 seconds`.
        wait: String,
    },
    /// The session ended by its age.
    Expired,
    /// Logged out by choice.
    LoggedOut,
}

/// Login. Posts `login`, `password`, `next` to `/login`.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/login.html")]
pub struct LoginView {
    /// The frame.
    pub page: Page,
    /// Why it is shown again.
    pub notice: LoginNotice,
    /// The name or e-mail address as typed.
    pub login: Field,
    /// Where to go afterwards: a path on this site.
    pub next: String,
}
