//! The operator's key file: made at first start, read at every start and whenever it has changed.
//!
//! ```toml
//! [[key]]             # the first whose time has come seals new letters; every key opens letters from the moment it is known
//! id = 2
//! from = "2026-11-22T12:00:05Z"
//! secret = "64 hexadecimal characters"
//!
//! [[key]]             # older ones only open letters already sent
//! id = 1
//! secret = "…"
//! ```
//!
//! It is never printed, and once it exists only [`rotate`] writes it: a new key on top, everything else kept. DKIM keys, a PEM file
//! each, are never printed nor written again.
//!
//! Cast: [`read_or_create`], [`read_existing`], [`Ring`] (what it says at a moment), [`rotate`], [`dkim_keys`] (those the settings name), [`write_private`].

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;

use crate::app::config::DkimEntry;
use crate::delivery::dkim::{DkimKey, DkimKeys};
use crate::token::Keys;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    id: u8,
    secret: String,
    from: Option<Timestamp>,
}

/// What a key file says at a moment. Keys are an id and a secret.
pub struct Ring {
    /// The key that seals.
    pub current: (u8, [u8; 32]),
    /// The keys that only open.
    pub others: Vec<(u8, [u8; 32])>,
    /// When another one is to seal; none when that is not known.
    pub next: Option<Timestamp>,
}

struct Stored {
    key: (u8, [u8; 32]),
    from: Option<Timestamp>,
}

/// Reads the keys; when there is no file, makes one with `fresh` as its secret, readable by its owner only.
///
/// # Errors
/// A file that cannot be read, written or understood. An existing file is never replaced.
pub fn read_or_create(path: &Path, fresh: [u8; 32], now: Timestamp) -> anyhow::Result<Keys> {
    if !path.exists() {
        create(path, fresh).with_context(|| format!("the key file {} cannot be made", path.display()))?;
    }
    read_existing(path, now)
}

/// Reads the keys of a file that must be there already.
///
/// # Errors
/// A file that is missing, or cannot be read or understood.
pub fn read_existing(path: &Path, now: Timestamp) -> anyhow::Result<Keys> {
    if !path.exists() {
        bail!(
            "there is no key file {}; copy it from the node that sends letters: with another key no pixel or link would be known here",
            path.display()
        );
    }
    let Ring { current, others, .. } = ring(path, now)?;
    Ok(Keys::new(current, others))
}

/// Reads what a key file says at a moment.
///
/// # Errors
/// A file that cannot be read or understood.
pub fn ring(path: &Path, now: Timestamp) -> anyhow::Result<Ring> {
    let stored = read(path)?;
    let has_come = |stored: &Stored| stored.from.is_none_or(|from| from <= now);
    // Whoever wrote a time into every key gets the oldest one before the first of them.
    let place = stored.iter().position(has_come).unwrap_or(stored.len().saturating_sub(1));
    let next = stored.iter().take(place).filter_map(|stored| stored.from).min();
    let mut keys: Vec<(u8, [u8; 32])> = stored.into_iter().map(|stored| stored.key).collect();
    if place >= keys.len() {
        bail!("the key file {} has no [[key]]", path.display());
    }
    let current = keys.remove(place);
    Ok(Ring { current, others: keys, next })
}

/// The keys of a key file in their order; there is at least one.
fn read(path: &Path) -> anyhow::Result<Vec<Stored>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("the key file {} cannot be read", path.display()))?;
    // Not the parser's own message: it would quote the line, and the line holds a secret.
    let file: File = match toml::from_str(&text) {
        Ok(file) => file,
        Err(_) => bail!(
            "the key file {} is not a list of [[key]] with id (0 to 255), secret and perhaps from (a moment); restore it from a backup",
            path.display()
        ),
    };
    let mut keys: Vec<Stored> = Vec::new();
    for key in file.key {
        let secret: Option<[u8; 32]> =
            data_encoding::HEXLOWER_PERMISSIVE.decode(key.secret.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        match secret {
            Some(secret) if !keys.iter().any(|known| known.key.0 == key.id) => {
                keys.push(Stored { key: (key.id, secret), from: key.from });
            }
            Some(_) => bail!("the key file {} has key {} twice", path.display(), key.id),
            None => bail!("the key file {}: the secret of key {} is not 64 hexadecimal characters", path.display(), key.id),
        }
    }
    if keys.is_empty() {
        bail!("the key file {} has no [[key]]; restore it from a backup", path.display());
    }
    Ok(keys)
}

/// Reads the DKIM keys that the settings name.
///
/// # Errors
/// A file that is missing or no key, by its name.
pub fn dkim_keys(entries: &[DkimEntry]) -> anyhow::Result<DkimKeys> {
    let mut keys = Vec::with_capacity(entries.len());
    for DkimEntry { domain, selector, file } in entries {
        let shown = file.display();
        let pem = std::fs::read_to_string(file)
            .with_context(|| format!("the DKIM key {shown} of {domain} cannot be read; `letterlab domain keys {domain}` makes one"))?;
        let key = DkimKey::from_pem(domain, selector, &pem).with_context(|| format!("the DKIM key {shown} of {domain}"))?;
        let mode = std::fs::metadata(file)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(file = %shown, "this DKIM key can be read by other users of the machine: chmod 600");
        }
        keys.push(key);
    }
    Ok(DkimKeys::new(keys))
}

/// Writes a new file for its owner only; an existing one is never replaced.
///
/// # Errors
/// When it exists or cannot be written.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Made for its owner only (mode 600).
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(|_| ()).map_err(|failed| failed.error)
}

/// Written whole beside its place and then put there: of several processes that start together one makes the file, the others read it.
fn create(path: &Path, fresh: [u8; 32]) -> std::io::Result<()> {
    let secret = data_encoding::HEXLOWER.encode(&fresh);
    let text = format!(
        "# Keys that sign pixels, links and return addresses. Keep them secret and back them up: without them, letters already sent stop working.\n\
         # `letterlab keys rotate` puts a new key on top; the first whose time has come signs, the others keep older letters working.\n\n[[key]]\nid = 1\nsecret = \"{secret}\"\n"
    );
    match write_private(path, &text) {
        Err(failed) if failed.kind() != std::io::ErrorKind::AlreadyExists => Err(failed),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts a new key with `fresh` as its secret before those there are: it opens letters as soon as a process knows it and seals them from
/// `from` on; older letters keep working. Answers the new key's id.
///
/// # Errors
/// A file that cannot be read, understood or replaced, or that has all 256 keys. The file is replaced whole or not at all.
pub fn rotate(path: &Path, fresh: [u8; 32], from: Timestamp) -> anyhow::Result<u8> {
    let keys = read(path)?;
    let newest = keys.first().map_or(0, |newest| newest.key.0);
    let free = (1..=u8::MAX).map(|step| newest.wrapping_add(step)).find(|id| !keys.iter().any(|known| known.key.0 == *id));
    let Some(id) = free else {
        bail!("the key file {} has all 256 keys it can have; remove the oldest: letters signed with it stop working", path.display())
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("the key file {} cannot be read", path.display()))?;
    // Comments at the beginning stay there.
    let first = first_key(&text);
    let (comments, older) = text.split_at(first);
    let secret = data_encoding::HEXLOWER.encode(&fresh);
    let text = format!("{comments}[[key]]\nid = {id}\nfrom = \"{from}\"\nsecret = \"{secret}\"\n\n{older}");
    let replaced = replace(path, &text);
    replaced.with_context(|| format!("the key file {} cannot be replaced; it is as it was", path.display()))?;
    Ok(id)
}

/// Where the first key begins: at the beginning of a line, a comment may speak of keys, too.
fn first_key(text: &str) -> usize {
    let lines = text.split_inclusive('\n').scan(0, |end, line| {
        let begin = *end;
        *end += line.len();
        Some((begin, line))
    });
    lines.into_iter().find(|(_, line)| line.trim_start().starts_with("[[key]]")).map_or(0, |(begin, _)| begin)
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made for its owner only (mode 600).
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

    #[test]
    fn the_file_is_made_once_for_its_owner_only_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/keys.toml");
        read_or_create(&path, [1; 32], NOW).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        read_or_create(&path, [2; 32], NOW).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    }

    #[test]
    fn a_broken_file_is_refused_without_showing_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        for text in
            ["", "[[key]]\nid = 1\nsecret = \"c0ffee\"", "[[key]]\nid = 1\nsecret = c0ffee", "[[key]]\nid = 300\nsecret = \"c0ffee\""]
        {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", read_or_create(&path, [1; 32], NOW).unwrap_err());
            assert!(!error.contains("c0ffee") && error.contains("keys.toml"), "{error}");
        }
    }

    #[test]
    fn dkim_keys_are_read_and_a_file_that_is_none_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |name: &str| DkimEntry { domain: "example.org".into(), selector: "s1".into(), file: folder.path().join(name) };
        write_private(&entry("good.pem").file, &crate::delivery::dkim::generate::ed25519_pem([5; 32])).unwrap();
        assert!(write_private(&entry("good.pem").file, "other").is_err(), "never replaced");
        let keys = dkim_keys(&[entry("good.pem")]).unwrap();
        assert_eq!(keys.all()[0].record_name(), "s1._domainkey.example.org");
        write_private(&entry("bad.pem").file, "c0ffee").unwrap();
        for name in ["bad.pem", "missing.pem"] {
            let error = format!("{:#}", dkim_keys(&[entry(name)]).unwrap_err());
            assert!(error.contains(name) && !error.contains("c0ffee"), "{error}");
        }
    }

    #[test]
    fn rotating_puts_a_new_key_first_and_keeps_the_others_and_the_comments() {
        use crate::token::Kind;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let payload = crate::token::Payload {
            kind: Kind::Open,
            campaign: crate::ids::CampaignNumber(1),
            bearer: crate::token::Bearer::Arm { rest: false },
            variant: crate::ids::VariantNumber(0),
            link: None,
            mode: crate::ids::RecordingMode::Aggregate,
        };
        let mut tokens = vec![read_or_create(&path, [1; 32], NOW).unwrap().seal(&payload)];
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("# Keys that sign; every [[key]] has an id.\n{written}")).unwrap();
        for round in 2..6 {
            assert_eq!(rotate(&path, [round; 32], NOW).unwrap(), round);
            tokens.push(read_or_create(&path, [0; 32], NOW).unwrap().seal(&payload));
        }
        let keys = read_or_create(&path, [0; 32], NOW).unwrap();
        assert!(tokens.iter().all(|token| keys.open(Kind::Open, token) == Ok(payload)), "every letter sent so far still works");
        tokens.dedup();
        assert_eq!(tokens.len(), 5);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# Keys that sign"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no copy of a secret is left behind");
    }

    #[test]
    fn a_key_seals_from_its_time_on_and_opens_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let later = |seconds: i64| NOW.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        read_or_create(&path, [1; 32], NOW).unwrap();
        rotate(&path, [2; 32], later(60)).unwrap();
        rotate(&path, [3; 32], later(30)).unwrap();
        let at = |seconds: i64| {
            let Ring { current, mut others, next } = ring(&path, later(seconds)).unwrap();
            others.push(current);
            assert_eq!(others.len(), 3, "all of them open");
            (current.0, next.map(|next| next.duration_since(NOW).as_secs()))
        };
        assert_eq!([at(0), at(29), at(30), at(99)], [(1, Some(30)), (1, Some(30)), (3, None), (3, None)]);
        let all_later = std::fs::read_to_string(&path).unwrap().replace("id = 1", "id = 1\nfrom = \"2099-01-01T00:00:00Z\"");
        std::fs::write(&path, all_later).unwrap();
        assert_eq!(at(0).0, 1, "the oldest before the first one's time");
    }

    #[test]
    fn a_key_id_is_never_given_twice_and_a_missing_file_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        assert!(rotate(&path, [1; 32], NOW).is_err());
        let key = |id| format!("[[key]]\nid = {id}\nsecret = \"{}\"\n", "ab".repeat(32));
        std::fs::write(&path, key(255) + &key(0)).unwrap();
        assert_eq!(rotate(&path, [1; 32], NOW).unwrap(), 1);
        std::fs::write(&path, (0..=255).map(key).collect::<String>()).unwrap();
        assert!(rotate(&path, [1; 32], NOW).unwrap_err().to_string().contains("256"));
    }
}
