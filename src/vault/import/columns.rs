//! The header: what each column means.
//!
//! Cast: [`Columns`] (one [`Role`] per column), [`Key`] (a header cell without case, blanks and signs), [`field_name`].
//!
//! It reads names only, never a person's data.

use std::sync::Arc;

use super::ImportError;
use super::survey::Kind;

/// The columns an export writes and an import understands besides attributes, in their order.
pub(super) const OWN_COLUMNS: [&str; 6] = ["email", "list", "recording_mode", "consent_source", "consent_date", "suppression"];
const FIELD_NAME_CHARACTERS_MOST: usize = 64;
const COLUMNS_MOST: usize = 500;

/// What a column is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Email,
    List,
    RecordingMode,
    ConsentSource,
    ConsentDate,
    Suppression,
    /// A merge field of this name.
    Attribute(Arc<str>),
    /// Mailchimp: when the person confirmed, else subscribed.
    ConfirmTime,
    OptinTime,
    /// Mailchimp: set when the person may not be mailed.
    UnsubscribeTime,
    CleanTime,
    /// listmonk: a JSON object.
    JsonAttributes,
    /// listmonk: the whole name.
    FullName,
    /// listmonk: enabled, disabled or blocklisted.
    Status,
    /// Technical, or more than we want to know.
    Dropped,
}

/// A header cell reduced to its lower-case letters and digits, so that `E-Mail Address` and `email_address` are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn of(name: &str) -> Self {
        Self(name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect())
    }

    pub(super) fn is_email(&self) -> bool {
        const NAMES: [&str; 17] = [
            "email",
            "mail",
            "emails",
            "emailaddress",
            "mailaddress",
            "useremail",
            "emailadresse",
            "mailadresse",
            "adresseemail",
            "adressemail",
            "adresseelectronique",
            "courriel",
            "correo",
            "correoelectronico",
            "correoelectrónico",
            "indirizzoemail",
            "epost",
        ];
        NAMES.contains(&self.0.as_str())
    }
}

/// Every column's role.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) kind: Kind,
    pub(super) roles: Vec<Role>,
    /// The names as written, for messages.
    pub(super) names: Vec<String>,
}

impl Columns {
    /// Reads a header.
    pub(super) fn read(names: &[String]) -> Result<Self, ImportError> {
        if names.len() > COLUMNS_MOST {
            return Err(ImportError::TooManyColumns { found: names.len(), most: COLUMNS_MOST });
        }
        let keys: Vec<Key> = names.iter().map(|name| Key::of(name)).collect();
        if !keys.iter().any(Key::is_email) {
            return Err(ImportError::NoEmailColumn { found: shown(names) });
        }
        let kind = kind(&keys);
        let roles = names.iter().zip(&keys).enumerate();
        let roles = roles.map(|(index, (name, key))| role(kind, index + 1, name, key)).collect::<Result<Vec<Role>, _>>()?;
        for (second, role) in roles.iter().enumerate().filter(|(_, role)| **role != Role::Dropped) {
            if let Some(first) = roles.iter().take(second).position(|earlier| earlier == role) {
                return Err(ImportError::RepeatedColumn { first: first + 1, second: second + 1, meaning: meaning(role) });
            }
        }
        Ok(Self { kind, roles, names: names.to_vec() })
    }

    /// A column's name as written.
    pub(super) fn name(&self, index: usize) -> &str {
        self.names.get(index).map(String::as_str).unwrap_or_default()
    }

    /// The columns whose content is not taken.
    pub(super) fn dropped(&self) -> Vec<String> {
        let dropped = self.roles.iter().zip(&self.names).filter(|(role, _)| **role == Role::Dropped);
        dropped.map(|(_, name)| name.clone()).collect()
    }
}

fn kind(keys: &[Key]) -> Kind {
    let has = |name: &str| keys.iter().any(|key| key.0 == name);
    if has("emailaddress") && (has("leid") || has("euid") || has("memberrating")) {
        Kind::Mailchimp
    } else if has("uuid") && has("email") && has("status") && has("attributes") {
        Kind::Listmonk
    } else {
        Kind::Plain
    }
}

fn role(kind: Kind, number: usize, name: &str, key: &Key) -> Result<Role, ImportError> {
    if key.is_email() {
        return Ok(Role::Email);
    }
    let special = match kind {
        Kind::Mailchimp => mailchimp_role(&key.0),
        Kind::Listmonk => listmonk_role(&key.0),
        Kind::Plain => None,
    };
    if let Some(role) = special {
        return Ok(role);
    }
    match key.0.as_str() {
        "list" => Ok(Role::List),
        "recordingmode" | "recording" | "consent" => Ok(Role::RecordingMode),
        "consentsource" => Ok(Role::ConsentSource),
        "consentdate" => Ok(Role::ConsentDate),
        "suppression" => Ok(Role::Suppression),
        _ if name.is_empty() => Err(ImportError::NamelessColumn { number }),
        _ => field_name(name)
            .map(|name| Role::Attribute(name.into()))
            .ok_or_else(|| ImportError::UnusableColumn { number, name: shorten(name) }),
    }
}

/// IP addresses, places guessed from them, ratings, internal numbers and free-text notes are not taken over.
fn mailchimp_role(key: &str) -> Option<Role> {
    match key {
        "confirmtime" => Some(Role::ConfirmTime),
        "optintime" => Some(Role::OptinTime),
        "unsubtime" => Some(Role::UnsubscribeTime),
        "cleantime" => Some(Role::CleanTime),
        "memberrating" | "optinip" | "confirmip" | "latitude" | "longitude" | "gmtoff" | "dstoff" | "timezone" | "cc" | "region"
        | "lastchanged" | "leid" | "euid" | "notes" => Some(Role::Dropped),
        _ if key.starts_with("unsub") || key.starts_with("clean") => Some(Role::Dropped),
        _ => None,
    }
}

fn listmonk_role(key: &str) -> Option<Role> {
    match key {
        "attributes" => Some(Role::JsonAttributes),
        "name" => Some(Role::FullName),
        "status" => Some(Role::Status),
        "uuid" | "id" | "createdat" | "updatedat" => Some(Role::Dropped),
        _ => None,
    }
}

/// The merge field a column's name stands for: lower-case ASCII letters and digits, everything else one `_`.
///
/// `None` when a letter has no ASCII form or the name would start with a digit: `{{ … }}` could not name it.
pub(super) fn field_name(name: &str) -> Option<String> {
    let mut field = String::with_capacity(name.len());
    for character in name.trim().chars() {
        if character.is_ascii_alphanumeric() {
            field.push(character.to_ascii_lowercase());
        } else if character.is_alphanumeric() {
            return None;
        } else if !field.is_empty() && !field.ends_with('_') {
            field.push('_');
        }
    }
    field.truncate(field.trim_end_matches('_').len());
    let starts_well = field.starts_with(|first: char| first.is_ascii_lowercase());
    (starts_well && field.len() <= FIELD_NAME_CHARACTERS_MOST).then_some(field)
}

fn meaning(role: &Role) -> String {
    match role {
        Role::Email => "the e-mail address".to_owned(),
        Role::Attribute(name) => format!("the field {name}"),
        Role::RecordingMode => "the recording mode".to_owned(),
        _ => "the same thing".to_owned(),
    }
}

/// The header for a message. A file without a header starts with a person: what holds an @ is not repeated.
fn shown(names: &[String]) -> String {
    let shown = names.iter().take(30).map(|name| if name.contains('@') { "(an address)".to_owned() } else { shorten(name) });
    shown.collect::<Vec<_>>().join(", ")
}

fn shorten(name: &str) -> String {
    name.chars().take(60).collect()
}
