//! Which work a process does: all of it, or a part, so that what stands on the internet need not hold people.
//!
//! Cast: [`Roles`], read from `--roles track,web,send,bounce`.

use std::fmt;
use std::str::FromStr;

/// The parts of a service that one process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Answers pixels and links. Alone, it opens the ledger and the spool only.
    pub track: bool,
    /// Pages, reviewers' and recipients' pages, the API.
    pub web: bool,
    /// Sends letters and does what is due in campaigns.
    pub send: bool,
    /// Takes returned mail in.
    pub bounce: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { track: true, web: true, send: true, bounce: true };
    /// Pixels and links only.
    pub const TRACK: Self = Self { track: true, web: false, send: false, bounce: false };

    /// Whether people must be reachable for this work.
    pub const fn need_people(self) -> bool {
        self.web || self.send || self.bounce
    }
}

/// A list of roles that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role; write some of track, web, send, bounce with commas between them")]
pub struct UnknownRole(String);

impl FromStr for Roles {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let mut roles = Self { track: false, web: false, send: false, bounce: false };
        for word in text.split(',').map(str::trim) {
            match word {
                "track" => roles.track = true,
                "web" => roles.web = true,
                "send" => roles.send = true,
                "bounce" => roles.bounce = true,
                other => return Err(UnknownRole(other.to_owned())),
            }
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.track, "track"), (self.web, "web"), (self.send, "send"), (self.bounce, "bounce")];
        let words: Vec<&str> = all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
        formatter.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_read_back_and_only_tracking_does_without_people() {
        for text in ["track", "web", "track,web", "web,send,bounce", "track,web,send,bounce"] {
            let roles: Roles = text.parse().unwrap();
            assert_eq!(roles.to_string(), text);
            assert_eq!(roles.need_people(), text != "track");
        }
        assert_eq!("web, send".parse::<Roles>().map(|roles| roles.to_string()), Ok("web,send".to_owned()));
        for wrong in ["", "tracking", "track,", "Track"] {
            assert!(wrong.parse::<Roles>().unwrap_err().to_string().contains("track, web, send, bounce"));
        }
    }
}
