//! The settings: one struct, built once and passed on.
//!
//! Cast: [`Config`] and its sections, [`load`], [`ConfigError`], [`DEFAULTS`]; `check` knows what a setting may be.
//!
//! The embedded sample file *is* the defaults. Unknown keys are refused; secrets print redacted; nothing here is global.

mod check;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::db::{DbError, Location};
use crate::delivery::relays::Relay;
use crate::delivery::smtp::RelaySettings;
use crate::delivery::throttle::{RelayLimits, Throttles};

/// The sample file with every default.
pub const DEFAULTS: &str = include_str!("letterlab.toml");
/// Environment variables that begin so override settings.
const PREFIX: &str = "LETTERLAB_";

/// Every setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pages, pixels and links.
    pub web: Web,
    /// Where data is.
    pub database: Database,
    /// Where files are.
    pub files: Files,
    /// Where the table of networks comes from.
    pub networks: NetworkSources,
    /// How letters are sent.
    pub delivery: Delivery,
    /// The relay they are handed to.
    pub relay: RelaySettings,
    /// How much that relay may be given.
    pub limits: RelayLimits,
    /// Several relays instead of that one.
    #[serde(default)]
    pub relays: Vec<Relay>,
    /// Limits whatever the relay.
    pub throttle: Throttles,
    /// Returned mail.
    pub bounce: Bounce,
    /// The domains letters come from.
    pub domain: Domain,
    /// Who is told what happens by itself.
    pub notify: Notify,
    /// What is logged.
    pub log: Log,
}

/// Pages, pixels and links.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Address and port to listen on.
    pub listen: String,
    /// How recipients reach us; without a slash at the end.
    pub base_url: String,
    /// Whether a reverse proxy stands in front, so that the peer is named in X-Forwarded-For or Forwarded.
    pub proxied: bool,
    /// Networks whose proxies are believed.
    pub trusted_proxies: Vec<String>,
    /// Whether every connection from those networks begins with a PROXY protocol header (version 1 or 2); others are closed then.
    pub proxy_protocol: bool,
    /// PEM file of the certificate and those above it; empty for no TLS here.
    pub tls_certificate: PathBuf,
    /// PEM file of its private key.
    pub tls_key: PathBuf,
    /// How recipients reach whoever runs this, shown on the page about what is recorded; may be empty.
    pub contact: String,
    /// What `GET /metrics` wants to hear as `Authorization: Bearer …`; empty: there is no such page.
    pub metrics_token: String,
}

/// Where data is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// People.
    pub vault: String,
    /// Events.
    pub ledger: String,
}

impl Database {
    /// Where the people's database should be, when both are files and neither is there. Nothing is made.
    ///
    /// # Errors
    /// A setting that is no location of a database.
    pub fn nowhere(&self) -> Result<Option<PathBuf>, DbError> {
        match (self.vault.parse()?, self.ledger.parse()?) {
            (Location::Sqlite(vault), Location::Sqlite(ledger)) if !vault.exists() && !ledger.exists() => {
                Ok(Some(std::path::absolute(&vault).unwrap_or(vault)))
            }
            _ => Ok(None),
        }
    }
}

/// Where files are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Signing keys.
    pub keys: PathBuf,
    /// Hits on their way to the ledger; on a disk of this machine.
    pub spool: PathBuf,
    /// Returned messages that were not understood.
    pub returned_mail: PathBuf,
    /// Whose networks are whose; empty for none. A file that is not there yet is none.
    pub networks: String,
}

/// Lists of networks by kind: addresses of the web, or files.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSources {
    /// Apple's relay.
    pub apple_relay: Vec<String>,
    /// Google, where a user asked.
    pub google_fetcher: Vec<String>,
    /// Google's crawlers.
    pub google_crawler: Vec<String>,
    /// All of Google.
    pub google_other: Vec<String>,
    /// Microsoft.
    pub microsoft: Vec<String>,
    /// Mail scanners the operator knows.
    pub listed_scanner: Vec<String>,
    /// Hosting companies.
    pub hosting: Vec<String>,
}

/// How letters are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Letters sent at the same time.
    pub workers: usize,
    /// Letters a worker takes at once.
    pub batch: u32,
    /// How long a letter is tried, in hours.
    pub give_up_hours: u32,
    /// The last field of Feedback-ID.
    pub sender_id: String,
    /// When letters may leave, as `Mon-Fri 08:00-18:00`; empty for always.
    pub window: String,
    /// When a recipient is left alone, as `21:00-08:00`, in their own time zone where it is known; empty for never.
    pub quiet_hours: String,
    /// The merge field with a person's time zone.
    pub time_zone_field: String,
    /// The time zone of the window, and of people whose own is not known.
    pub time_zone: String,
    /// The share of refused letters at which a campaign pauses.
    pub pause_share: f64,
    /// Over how many minutes they are counted.
    pub pause_minutes: u32,
    /// The least letters within that time to judge by.
    pub pause_least: u32,
}

impl Config {
    /// Every relay: those of `[[relays]]`, or the one of `[relay]`.
    pub fn all_relays(&self) -> Vec<Relay> {
        if !self.relays.is_empty() {
            return self.relays.clone();
        }
        let only = Relay {
            name: "relay".to_owned(),
            weight: 1,
            sender_domains: Vec::new(),
            limits: self.limits.clone(),
            smtp: self.relay.clone(),
        };
        vec![only]
    }
}

/// Returned mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounce {
    /// The domain of return paths.
    pub domain: String,
    /// Address and port of the listener; empty for none.
    pub listen: String,
}

/// The domains letters come from, and how they prove it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Keys that sign: of each domain the first RSA and the first Ed25519 one.
    pub dkim: Vec<DkimEntry>,
    /// Where new keys are written.
    pub key_folder: PathBuf,
    /// The DNS server that is asked, with port; empty for the system's.
    pub resolver: String,
    /// Addresses letters reach the world from; empty for the relay's.
    pub sends_from: Vec<IpAddr>,
}

/// A DKIM key: whose, under which name in the DNS, in which file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimEntry {
    /// The domain of senders' addresses, or one above it.
    pub domain: String,
    /// The record is `selector._domainkey.domain`.
    pub selector: String,
    /// The private key, PEM.
    pub file: PathBuf,
}

impl Domain {
    /// The DNS server that is asked, if not the system's.
    pub fn resolver(&self) -> Option<SocketAddr> {
        self.resolver.parse().ok()
    }
}

/// Who is told of a campaign that pauses by itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Whose address; empty for nobody's.
    pub mail: String,
    /// Program and arguments; empty for none. It gets one line of JSON.
    pub command: Vec<String>,
}

/// What is logged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Levels, as `tracing` reads them.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not as it should be.
    #[error("{path}{}: {message}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Invalid {
        /// Which file, or `environment`.
        path: String,
        /// The line, where known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// A setting is out of its range.
    #[error("setting {key}: {message}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Reads the settings: the defaults, over them the file (if any), over it the environment.
///
/// # Errors
/// [`ConfigError`] names file and line, or the setting.
pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let mut settings = parse("embedded defaults", DEFAULTS)?;
    if let Some(path) = file {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
        let own = parse(&name, &text)?;
        merge(&mut settings, own);
        // Faults are found once on the file laid over the defaults; the line is looked up in the file's own text.
        typed(settings.clone(), &name, Some(&text))?;
    }
    for (name, value) in environment.filter(|(name, _)| name.starts_with(PREFIX)) {
        // Variables of test runs and tools carry the prefix too, but no section.
        if let Some((section, key)) = name.trim_start_matches(PREFIX).to_lowercase().split_once("__") {
            set(&mut settings, section, key, &value, &name)?;
            // After each one, so that a fault names its variable.
            typed(settings.clone(), &format!("environment variable {name}"), None)?;
        }
    }
    let config = typed(settings, "environment", None)?;
    check::check(&config)?;
    Ok(config)
}

fn parse(name: &str, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse::<toml::Table>().map_err(|error| ConfigError::Invalid {
        path: name.to_owned(),
        line: error.span().map(|span| text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1),
        message: error.message().to_owned(),
    })
}

fn merge(settings: &mut toml::Table, own: toml::Table) {
    for (key, value) in own {
        match (settings.get_mut(&key), value) {
            (Some(toml::Value::Table(known)), toml::Value::Table(table)) => merge(known, table),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}

fn set(settings: &mut toml::Table, section: &str, key: &str, value: &str, variable: &str) -> Result<(), ConfigError> {
    let Some(toml::Value::Table(table)) = settings.get_mut(section) else {
        return Err(ConfigError::Invalid {
            path: format!("environment variable {variable}"),
            line: None,
            message: format!("there is no section [{section}]"),
        });
    };
    // A number, true/false or a list is one where the default is one; everything else is text. A default of 0 may stand for 0.5, too.
    let text = || toml::Value::String(value.to_owned());
    let wanted = match table.get(key) {
        Some(toml::Value::Integer(_) | toml::Value::Float(_)) => Some("a number such as 4 or 0.5"),
        Some(toml::Value::Boolean(_)) => Some("true or false"),
        Some(toml::Value::Array(_)) => Some("a list such as [\"a\", \"b\"]"),
        _ => None,
    };
    let value = match wanted {
        Some(wanted) => read_like(table.get(key), value).ok_or_else(|| ConfigError::Invalid {
            path: format!("environment variable {variable}"),
            line: None,
            message: format!("{section}.{key} is {wanted}"),
        })?,
        None => value.parse().map(toml::Value::Integer).ok().filter(|_| key == "port").unwrap_or_else(text),
    };
    table.insert(key.to_owned(), value);
    Ok(())
}

/// A text read as a value of the default's kind.
fn read_like(default: Option<&toml::Value>, text: &str) -> Option<toml::Value> {
    use toml::Value::{Array, Boolean, Float, Integer};
    let text = text.trim();
    // Shells and scripts pad numbers with zeros, which TOML does not.
    let value = text.parse().map(Integer).ok().or_else(|| format!("value = {text}").parse::<toml::Table>().ok()?.remove("value"))?;
    match (default?, &value) {
        (Integer(_) | Float(_), Integer(_) | Float(_)) | (Boolean(_), Boolean(_)) | (Array(_), Array(_)) => Some(value),
        _ => None,
    }
}

fn typed(settings: toml::Table, path: &str, text: Option<&str>) -> Result<Config, ConfigError> {
    settings.try_into().map_err(|error: toml::de::Error| {
        let message = error.message().to_owned();
        let line = text.and_then(|text| line_naming(text, &message));
        ConfigError::Invalid { path: path.to_owned(), line, message }
    })
}

/// The line of the key that a message puts between backquotes.
fn line_naming(text: &str, message: &str) -> Option<usize> {
    let key = message.split('`').nth(1)?;
    text.lines().position(|line| line.trim_start().trim_start_matches('[').starts_with(key)).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letterlab.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&path), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_embedded_file_is_the_default() {
        let config = load(None, std::iter::empty()).unwrap();
        assert_eq!(config.web.listen, "127.0.0.1:8025");
        assert_eq!(config.delivery.workers, 4);
    }

    #[test]
    fn the_file_overrides_the_defaults_and_the_environment_the_file() {
        let config = check(
            "[web]\nlisten = \"127.0.0.1:1\"\n[delivery]\nworkers = 2",
            &[("LETTERLAB_WEB__LISTEN", "127.0.0.1:2"), ("LETTERLAB_DELIVERY__BATCH", "7")],
        )
        .unwrap();
        assert_eq!((config.web.listen.as_str(), config.delivery.workers, config.delivery.batch), ("127.0.0.1:2", 2, 7));
    }

    #[test]
    fn the_environment_gives_numbers_and_lists_where_the_default_is_one() {
        let config = check(
            "",
            &[
                ("LETTERLAB_DELIVERY__PAUSE_SHARE", "0.2"),
                ("LETTERLAB_THROTTLE__CAMPAIGN_PER_SECOND", "0.5"),
                ("LETTERLAB_WEB__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
                ("LETTERLAB_DELIVERY__BATCH", "07"),
            ],
        )
        .unwrap();
        assert_eq!((config.delivery.pause_share, config.throttle.campaign_per_second, config.delivery.batch), (0.2, 0.5, 7));
        assert_eq!(config.web.trusted_proxies, ["10.0.0.0/8"]);
        for (name, value) in [
            ("LETTERLAB_DELIVERY__PAUSE_SHARE", "much"),
            ("LETTERLAB_DELIVERY__WORKERS", "2.5"),
            ("LETTERLAB_DELIVERY__WORKERS", ""),
            ("LETTERLAB_WEB__TRUSTED_PROXIES", "10.0.0.0/8"),
        ] {
            let error = check("", &[("LETTERLAB_DELIVERY__BATCH", "7"), (name, value)]).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn faults_name_file_line_and_key() {
        let error = check("[web]\nlisten = \"127.0.0.1:1\"\nlisen = 1", &[]).unwrap_err();
        assert!(error.contains("letterlab.toml, line 3") && error.contains("lisen"), "{error}");
        let error = check("[web]\nlisten = ", &[]).unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        for (text, words) in [
            ("[web]\ntrusted_proxies = [\"10.0.0.0/33\"]", ["web.trusted_proxies", "10.0.0.0/33"]),
            ("[web]\ntls_certificate = \"a.pem\"", ["web.tls_certificate", "tls_key"]),
            ("[web]\nmetrics_token = \"short\"", ["web.metrics_token", "16"]),
            ("[delivery]\nwindow = \"morning\"", ["delivery.window", "08:00-18:00"]),
            ("[delivery]\ntime_zone = \"Nowhere\"", ["delivery.time_zone", "Europe/Berlin"]),
            ("[throttle]\nproviders = { goggle = 5 }", ["throttle.providers", "google"]),
            ("[limits]\nwarm_up_from = \"soon\"", ["limits", "2026-12-01"]),
            ("[[relays]]\nname = \"a\"\nweight = 0\nsmtp = { host = \"a\" }", ["relays", "weight"]),
        ] {
            let error = check(text, &[]).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        let error = check("[delivery]\nworkers = 0", &[]).unwrap_err();
        assert!(error.contains("delivery.workers"), "{error}");
        let error = check("", &[("LETTERLAB_WED__LISTEN", "x")]).unwrap_err();
        assert!(error.contains("LETTERLAB_WED__LISTEN") && error.contains("[wed]"), "{error}");
        let error = check("[domain]\nresolver = \"localhost\"", &[]).unwrap_err();
        assert!(error.contains("domain.resolver"), "{error}");
        let key = "[[domain.dkim]]\ndomain = \"a.org\"\nselector = \"s\"\nfile = \"x\"\n";
        assert_eq!(check(key, &[]).unwrap().domain.dkim.len(), 1);
        let error = check(&key.repeat(2), &[]).unwrap_err();
        assert!(error.contains("domain.dkim") && error.contains("twice"), "{error}");
        let error = check("[database]\nvault = \"sqlite:a\"\nledger = \"sqlite:a\"", &[]).unwrap_err();
        assert!(error.contains("database.ledger"), "{error}");
    }
}
