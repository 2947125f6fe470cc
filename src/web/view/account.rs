//! Accounts: first-run creation of the administrator, login, one's own account, everybody's.
//!
//! Cast: [`SetupView`], [`LoginView`], [`OwnAccountView`], [`AccountsView`]. They never hold a password: password fields always come back empty.

use super::{Choices, Field, Page};

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

/// An API key: what it is for, never the key.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// What it is for.
    pub label: String,
    /// When it was made.
    pub made: String,
}

/// One's own account. Posts to `/account/password`, `/account/api-key` and `/account/api-keys/withdraw`.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/account.html")]
pub struct OwnAccountView {
    /// The frame.
    pub page: Page,
    /// The name typed at login.
    pub login: String,
    /// What it may do, as a word.
    pub role: String,
    /// Smallest length of a password, in characters.
    pub password_length: usize,
    /// Its API keys, the oldest first.
    pub keys: Vec<KeyRow>,
    /// The key that was just made.
    pub key: Option<String>,
}

/// One account in the list of all.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// The name typed at login.
    pub login: String,
    /// What it may do, as a word.
    pub role: String,
    /// When it was made.
    pub made: String,
    /// Its API keys.
    pub keys: Vec<KeyRow>,
    /// Whether it is that of whoever looks.
    pub is_own: bool,
}

/// Every account. Posts to `/accounts`, `/accounts/password`, `/accounts/withdraw` and `/accounts/remove`.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/accounts.html")]
pub struct AccountsView {
    /// The frame.
    pub page: Page,
    /// By login.
    pub rows: Vec<AccountRow>,
    /// The login of a new one, as typed.
    pub login: Field,
    /// What a new one may do.
    pub role: Choices,
    /// Smallest length of a password, in characters.
    pub password_length: usize,
}
