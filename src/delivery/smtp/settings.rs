//! How a relay is reached.
//!
//! Cast: [`RelaySettings`] with its [`Security`], [`Credentials`] ([`Secret`], [`TokenSource`]) and [`Timeouts`].
//!
//! It never shows a password or a token, and never lets one leave unencrypted for another machine.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// One relay, as read from the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySettings {
    /// Host name or address; over TLS the certificate must be valid for it.
    pub host: String,
    /// Port; without one, the usual port for the kind of security.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub security: Security,
    /// Name and password or token, where the relay asks for them.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Fully qualified name for EHLO; without one, the address of our end of the connection.
    #[serde(default)]
    pub hello_name: Option<String>,
    /// PEM file with root certificates of one's own, trusted beside the public ones.
    #[serde(default)]
    pub root_certificates: Option<PathBuf>,
    /// How long each step may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// A connection is used for this many messages, then replaced; at least 1.
    #[serde(default = "hundred")]
    pub messages_per_connection: u32,
    /// A connection is used for this many minutes, then replaced; at least 1.
    #[serde(default = "five")]
    pub minutes_per_connection: u32,
}

const fn hundred() -> u32 {
    100
}

const fn five() -> u32 {
    5
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Plain text, for a relay on the same machine or network.
    None,
    /// STARTTLS, and no sending where the relay does not offer it.
    #[default]
    StartTls,
    /// STARTTLS where it is offered, with a certificate as valid as always; otherwise plain text. Never with credentials, because
    /// somebody on the way can remove the offer.
    Opportunistic,
    /// TLS from the first byte.
    Tls,
}

/// Who we are, and how we show it.
#[derive(Clone, Deserialize)]
#[serde(try_from = "WrittenCredentials")]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// What only we know.
    pub secret: Secret,
}

/// What only we know.
#[derive(Clone)]
pub enum Secret {
    /// For AUTH PLAIN or LOGIN.
    Password(String),
    /// For AUTH XOAUTH2: an access token, asked for anew with each connection, because it ends after an hour or so.
    Token(TokenSource),
}

/// Where an access token is found.
#[derive(Clone)]
pub enum TokenSource {
    /// In the settings themselves.
    Written(String),
    /// In a file that another program keeps fresh.
    File(PathBuf),
    /// On the first line of what a command prints: its path, then its arguments; no shell.
    Command(Vec<String>),
}

/// As the settings write it: a name and exactly one of the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCredentials {
    username: String,
    password: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    token_command: Option<Vec<String>>,
}

impl TryFrom<WrittenCredentials> for Credentials {
    type Error = &'static str;

    fn try_from(written: WrittenCredentials) -> Result<Self, Self::Error> {
        let WrittenCredentials { username, password, token, token_file, token_command } = written;
        let secret = match (password, token, token_file, token_command) {
            (Some(password), None, None, None) => Secret::Password(password),
            (None, Some(token), None, None) => Secret::Token(TokenSource::Written(token)),
            (None, None, Some(file), None) => Secret::Token(TokenSource::File(file)),
            (None, None, None, Some(command)) if !command.is_empty() => Secret::Token(TokenSource::Command(command)),
            _ => return Err("credentials need username and exactly one of password, token, token_file and token_command"),
        };
        Ok(Self { username, secret })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(hidden)")
    }
}

/// Longest waits, in seconds; the defaults follow RFC 5321 §4.5.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Finding the host, each attempt to connect, and the TLS handshake.
    pub connect_seconds: u32,
    /// The greeting and each command but the ones below.
    pub command_seconds: u32,
    /// The answer to DATA, and each block of the message on its way out.
    pub data_seconds: u32,
    /// The answer to the final dot: giving up early here means not knowing whether the message was taken.
    pub dot_seconds: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_seconds: 30, command_seconds: 300, data_seconds: 180, dot_seconds: 600 }
    }
}

impl Timeouts {
    pub(super) fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_seconds.into())
    }

    pub(super) fn command(&self) -> Duration {
        Duration::from_secs(self.command_seconds.into())
    }

    pub(super) fn data(&self) -> Duration {
        Duration::from_secs(self.data_seconds.into())
    }

    pub(super) fn dot(&self) -> Duration {
        Duration::from_secs(self.dot_seconds.into())
    }
}

impl RelaySettings {
    /// The port to connect to: 25, 587 or 465 where none is set.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::None | Security::Opportunistic => 25,
            Security::StartTls => 587,
            Security::Tls => 465,
        })
    }

    /// What is wrong with the settings, if anything. [`super::Connection::open`] asks too.
    pub fn problem(&self) -> Option<&'static str> {
        let is_local = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let hello_is_good = |name: &String| !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
        let waits = [self.timeouts.connect_seconds, self.timeouts.command_seconds, self.timeouts.data_seconds, self.timeouts.dot_seconds];
        if self.host.trim().is_empty() {
            Some("host is empty: name the relay")
        } else if self.credentials.is_some() && matches!(self.security, Security::None | Security::Opportunistic) && !is_local {
            Some("credentials would travel unencrypted, or could be made to: set security to starttls or tls")
        } else if !self.hello_name.as_ref().is_none_or(hello_is_good) {
            Some("hello_name must be a host name in ASCII without spaces")
        } else if waits.contains(&0) {
            Some("a timeout is 0: give at least 1 second")
        } else if self.messages_per_connection == 0 {
            Some("messages_per_connection is 0: give at least 1")
        } else if self.minutes_per_connection == 0 {
            Some("minutes_per_connection is 0: give at least 1")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_enough_and_the_rest_has_defaults() {
        let settings: RelaySettings = toml::from_str("host = \"mail.example.org\"").unwrap();
        assert_eq!((settings.port(), settings.security, settings.messages_per_connection), (587, Security::StartTls, 100));
        assert_eq!(settings.timeouts, Timeouts { connect_seconds: 30, command_seconds: 300, data_seconds: 180, dot_seconds: 600 });
        assert_eq!(settings.problem(), None);
    }

    #[test]
    fn unknown_keys_are_refused_and_passwords_are_never_shown() {
        assert!(toml::from_str::<RelaySettings>("host = \"a\"\nprot = 25").is_err());
        assert!(toml::from_str::<RelaySettings>("host = \"a\"\ntimeouts = { dott_seconds = 1 }").is_err());
        let settings: RelaySettings = toml::from_str("host = \"a\"\ncredentials = { username = \"ann\", password = \"secret\" }").unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("secret") && !shown.contains("ann"), "{shown}");
    }

    #[test]
    fn credentials_are_a_name_and_exactly_one_secret() {
        let cases = [
            ("password = \"p\"", true),
            ("token = \"t\"", true),
            ("token_file = \"/run/token\"", true),
            ("token_command = [\"/usr/bin/token\", \"mail\"]", true),
            ("token_command = []", false),
            ("password = \"p\", token = \"t\"", false),
            ("pasword = \"p\"", false),
        ];
        for (secret, good) in cases {
            let text = format!("host = \"a\"\ncredentials = {{ username = \"ann\", {secret} }}");
            assert_eq!(toml::from_str::<RelaySettings>(&text).is_ok(), good, "{secret}");
        }
        assert!(toml::from_str::<RelaySettings>("host = \"a\"\ncredentials = { username = \"ann\" }").is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let cases = [
            ("host = \"\"", "host"),
            ("host = \"a.example\"\nsecurity = \"none\"\ncredentials = { username = \"a\", password = \"b\" }", "credentials"),
            ("host = \"a\"\nhello_name = \"a b\"", "hello_name"),
            ("host = \"a\"\ntimeouts = { dot_seconds = 0 }", "timeout"),
            ("host = \"a\"\nmessages_per_connection = 0", "messages_per_connection"),
            ("host = \"a\"\nminutes_per_connection = 0", "minutes_per_connection"),
            ("host = \"a.example\"\nsecurity = \"opportunistic\"\ncredentials = { username = \"a\", token = \"b\" }", "credentials"),
        ];
        for (text, word) in cases {
            let settings: RelaySettings = toml::from_str(text).unwrap();
            assert!(settings.problem().is_some_and(|problem| problem.contains(word)), "{text}");
        }
    }
}
