//! Who may use Letterlab: accounts, sessions, API keys, and the password check.
//!
//! Cast: [`Account`], [`Role`], [`Session`], [`hash_password`], [`password_matches`], [`key_hash`].
//!
//! A password or a session key is never stored: only an Argon2id hash of the one and a BLAKE3 hash of the other.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use serde::Serialize;

use crate::ids::base32;

/// Fewest characters of a password.
pub const PASSWORD_CHARACTERS_MIN: usize = 10;

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, accounts included.
    Administrator,
    /// People, campaigns and results.
    Marketer,
}

impl Role {
    /// The word used in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Marketer => "marketer",
        }
    }

    /// Reads the word used in tables.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Administrator, Self::Marketer].into_iter().find(|role| role.as_str() == word)
    }
}

/// A person who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Identifier, 26 characters.
    pub id: String,
    /// The name typed at login.
    pub login: String,
    /// What the account may do.
    pub role: Role,
}

/// A login that is still good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub account: Account,
    /// The text every form of this session carries, so that another site cannot post in its name.
    pub csrf: String,
}

/// Why a password is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PasswordFault {
    /// Shorter than [`PASSWORD_CHARACTERS_MIN`].
    #[error("the password needs at least {PASSWORD_CHARACTERS_MIN} characters")]
    TooShort,
    /// The hash function refused.
    #[error("the password could not be hashed")]
    Hash,
}

/// Argon2id with the crate's defaults (19 MiB, 2 passes: OWASP's first recommendation); `salt` are 16 random bytes.
///
/// # Errors
/// [`PasswordFault`].
pub fn hash_password(password: &str, salt: [u8; 16]) -> Result<String, PasswordFault> {
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(PasswordFault::TooShort);
    }
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash: PasswordHash| hash.to_string())
        .map_err(|_| PasswordFault::Hash)
}

/// Whether the password belongs to the stored hash. An unreadable hash matches nothing.
pub fn password_matches(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// How a session or API key is stored.
pub fn key_hash(key: &str) -> String {
    base32().encode(blake3::hash(key.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hash = hash_password("correct horse", [3; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(password_matches("correct horse", &hash));
        assert!(!password_matches("correct hors", &hash));
        assert!(!password_matches("correct horse", "nonsense"));
        assert_eq!(hash_password("short", [3; 16]), Err(PasswordFault::TooShort));
    }
}
