//! New DKIM keys: written for their owner only, and what to do with them.
//!
//! Cast: [`make`], [`MadeKey`], [`settings`] (the lines for the settings file).
//!
//! It never replaces a key and never prints a private one.

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Record;
use crate::app::config::DkimEntry;
use crate::app::keyfile::write_private;
use crate::delivery::dkim::{DkimKey, domain_name, generate};

/// A key that now exists.
#[derive(Debug, Clone)]
pub struct MadeKey {
    /// As the settings name it.
    pub entry: DkimEntry,
    /// What to publish.
    pub record: Record,
}

/// The usual selector: the month. The next rotation has another one.
pub fn usual_selector(now: Timestamp) -> String {
    format!("ll{}", now.to_zoned(TimeZone::UTC).strftime("%Y%m"))
}

/// Makes an RSA key under `selector` and an Ed25519 key under `selector` with an `e` at its end.
///
/// # Errors
/// A name that is none, or a file that exists already or cannot be written.
pub fn make(folder: &std::path::Path, domain: &str, selector: &str, fresh: impl Fn() -> [u8; 32]) -> anyhow::Result<Vec<MadeKey>> {
    let domain = domain_name(domain)?;
    let selector = domain_name(selector)?;
    let planned = [(selector.clone(), true), (format!("{selector}e"), false)];
    let file = |selector: &str| -> PathBuf { folder.join(format!("{selector}.{domain}.pem")) };
    // Both or none: half a pair would only puzzle.
    if let Some((taken, _)) = planned.iter().find(|(selector, _)| file(selector).exists()) {
        anyhow::bail!("there is a key {} already; choose another selector with --selector to rotate", file(taken).display());
    }
    let mut made = Vec::new();
    for (selector, is_rsa) in planned {
        let pem = if is_rsa { generate::rsa_pem()? } else { generate::ed25519_pem(fresh()) };
        let key = DkimKey::from_pem(&domain, &selector, &pem)?;
        let file = file(&selector);
        write_private(&file, &pem).with_context(|| format!("the key {} cannot be written", file.display()))?;
        let record = Record::new("TXT", &key.record_name(), key.record_value());
        made.push(MadeKey { entry: DkimEntry { domain: domain.clone(), selector, file }, record });
    }
    Ok(made)
}

/// The lines of the settings file that name these keys.
pub fn settings(made: &[MadeKey]) -> String {
    let mut text = String::new();
    for MadeKey { entry, .. } in made {
        let file = toml::Value::String(entry.file.display().to_string());
        text.push_str(&format!("[[domain.dkim]]\ndomain = \"{}\"\nselector = \"{}\"\nfile = {file}\n", entry.domain, entry.selector));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config;
    use crate::app::keyfile::dkim_keys;

    #[test]
    fn keys_are_made_once_and_work_with_the_settings_printed() {
        let folder = tempfile::tempdir().unwrap();
        let made = make(folder.path(), "Example.org", "ll202611", || [9; 32]).unwrap();
        let file = folder.path().join("letterlab.toml");
        std::fs::write(&file, settings(&made)).unwrap();
        let config = config::load(Some(&file), std::iter::empty()).unwrap();
        let keys = dkim_keys(&config.domain.dkim).unwrap();
        let signing: Vec<String> = keys.signing("news.example.org").iter().map(|key| key.record_name()).collect();
        assert_eq!(signing, ["ll202611._domainkey.example.org", "ll202611e._domainkey.example.org"]);
        assert_eq!(keys.all()[0].record_value(), made[0].record.value);
        let again = make(folder.path(), "example.org", "ll202611", || [9; 32]).unwrap_err().to_string();
        assert!(again.contains("--selector"), "{again}");
        assert_eq!(usual_selector("2026-11-30T23:59:59Z".parse().unwrap()), "ll202611");
    }
}
