//! Sealed tokens: what a pixel, a link, an unsubscribe address, a bounce address and a reviewer's link carry.
//!
//! Cast: [`Payload`] (what a token says), [`Keys`] (the operator's key file, read), [`Forged`] (every reason to refuse, alike).
//!
//! A token is 32 bytes written as 52 characters of case-insensitive base32, so that it fits a mail address's local part and
//! survives software that folds case:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version (3 bits), kind (3 bits), recording mode (2 bits) |
//! | 1 | key id |
//! | 4 | campaign number, big endian |
//! | 16 | pseudonym; for a shared token of an arm, fifteen zeros, then 0 for the test and 1 for the rest; for a share link, its expiry and eight random bytes |
//! | 2 | variant (4 bits) and link number (12 bits, 0 where there is none) |
//! | 8 | the first 64 bits of keyed BLAKE3 over the 24 bytes before |
//!
//! It never holds an address, a name or a destination, and is opened without asking a database: a forged token costs no query.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::ids::{CampaignNumber, LinkNumber, Pseudonym, RecordingMode, VariantNumber, base32};

const VERSION: u8 = 1;
const SIGNED_BYTES: usize = 24;
const TOKEN_BYTES: usize = 32;
/// Most links a letter may have: a token has 12 bits for them.
pub const LINKS_MAX: u16 = 0x0fff;
/// The number of the link that no person sees, in letters that have one: no link of a letter's own gets it.
pub const TRAP_LINK: LinkNumber = LinkNumber(LINKS_MAX);
/// Characters of a token.
pub const TOKEN_CHARACTERS: usize = 52;

/// What a token is for. A token of one kind never opens as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `/o/{token}.gif`
    Open,
    /// `/c/{token}`
    Click,
    /// `/u/{token}`
    Unsubscribe,
    /// `b+{token}@bounce.domain`
    Bounce,
    /// `/r/{token}`
    Share,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Open, Self::Click, Self::Unsubscribe, Self::Bounce, Self::Share];

    const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Click => 2,
            Self::Unsubscribe => 3,
            Self::Bounce => 4,
            Self::Share => 5,
        }
    }
}

/// Whom a hit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    /// One recipient's pseudonym.
    Recipient(Pseudonym),
    /// Everyone of an arm whose recording mode is `aggregate`: those in the test, or those who got what it chose.
    Arm {
        /// Whether they are the rest.
        rest: bool,
    },
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// What the token is for.
    pub kind: Kind,
    /// The campaign it belongs to.
    pub campaign: CampaignNumber,
    /// The recipient or arm it belongs to.
    pub bearer: Bearer,
    /// The variant sent: with it a link's target is found without asking who the recipient is.
    pub variant: VariantNumber,
    /// The link, for clicks; at most [`LINKS_MAX`].
    pub link: Option<LinkNumber>,
    /// What may be recorded; sealed at send, a request cannot widen it.
    pub mode: RecordingMode,
}

/// A token that this installation did not make, or not for this use. Deliberately without detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct Forged;

/// One signing key.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: u8,
    secret: [u8; 32],
}

/// The operator's keys: one seals, all of them open, so that letters already sent keep working after a rotation. Copies share what they
/// know: a key made while the process runs reaches every part of it.
#[derive(Clone)]
pub struct Keys {
    ring: Arc<RwLock<Ring>>,
}

struct Ring {
    current: Key,
    older: Vec<Key>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.ring();
        write!(formatter, "Keys(current {}, {} older)", ring.current.id, ring.older.len())
    }
}

impl Ring {
    /// One, unless a file was changed by hand: then each of them may have sealed a letter.
    fn with_id(&self, id: u8) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.older).filter(move |key| key.id == id)
    }
}

impl Keys {
    /// `current` seals new tokens; `older` keys only open. Each key is an id and 32 secret bytes.
    pub fn new(current: (u8, [u8; 32]), older: Vec<(u8, [u8; 32])>) -> Self {
        let key = |(id, secret)| Key { id, secret };
        let ring = Ring { current: key(current), older: older.into_iter().map(key).collect() };
        Self { ring: Arc::new(RwLock::new(ring)) }
    }

    /// Takes these keys up, in every copy. Those known so far go on opening letters even where they are missing here: a key file that is
    /// being copied must not cost a hit. Answers whether anything is different now.
    pub fn take_up(&self, current: (u8, [u8; 32]), older: Vec<(u8, [u8; 32])>) -> bool {
        let key = |(id, secret)| Key { id, secret };
        let current = key(current);
        let mut all: Vec<Key> = older.into_iter().map(key).collect();
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for known in std::iter::once(&ring.current).chain(&ring.older) {
            if *known != current && !all.contains(known) {
                all.push(known.clone());
            }
        }
        let is_other = ring.current != current || ring.older.len() != all.len();
        *ring = Ring { current, older: all };
        is_other
    }

    /// The id of the key that seals.
    pub fn current_id(&self) -> u8 {
        self.ring().current.id
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals a payload into a token.
    pub fn seal(&self, payload: &Payload) -> String {
        let link = payload.link.map_or(0, |link| link.0) & LINKS_MAX;
        let variant_and_link = u16::from(payload.variant.0 & 0x0f) << 12 | link;
        self.seal_bytes(payload.kind, payload.mode, payload.campaign, bearer_bytes(payload.bearer), variant_and_link)
    }

    /// Seals a reviewer's link, valid until `expires`; `nonce` are eight random bytes, so that two links differ.
    pub fn seal_share(&self, campaign: CampaignNumber, expires: Timestamp, nonce: [u8; 8]) -> String {
        let mut subject = [0; 16];
        subject[..8].copy_from_slice(&expires.as_second().to_be_bytes());
        subject[8..].copy_from_slice(&nonce);
        self.seal_bytes(Kind::Share, RecordingMode::Off, campaign, subject, 0)
    }

    fn seal_bytes(&self, kind: Kind, mode: RecordingMode, campaign: CampaignNumber, subject: [u8; 16], link: u16) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[0] = VERSION << 5 | kind.code() << 2 | mode_code(mode);
        let ring = self.ring();
        bytes[1] = ring.current.id;
        bytes[2..6].copy_from_slice(&campaign.0.to_be_bytes());
        bytes[6..22].copy_from_slice(&subject);
        bytes[22..24].copy_from_slice(&link.to_be_bytes());
        let mac = mac(&ring.current, &bytes[..SIGNED_BYTES]);
        bytes[SIGNED_BYTES..].copy_from_slice(&mac);
        base32().encode(&bytes)
    }

    /// Opens a token made for `kind`.
    ///
    /// # Errors
    /// [`Forged`] for anything else than a token of this kind sealed by one of these keys.
    pub fn open(&self, kind: Kind, token: &str) -> Result<Payload, Forged> {
        let bytes = self.open_bytes(kind, token)?;
        let mut subject = [0; 16];
        subject.copy_from_slice(&bytes[6..22]);
        let variant_and_link = u16::from_be_bytes([bytes[22], bytes[23]]);
        let link = variant_and_link & LINKS_MAX;
        Ok(Payload {
            kind,
            campaign: campaign_of(&bytes),
            bearer: bearer(subject),
            variant: VariantNumber((variant_and_link >> 12) as u8),
            link: (link > 0).then_some(LinkNumber(link)),
            mode: mode(bytes[0] & 0b11),
        })
    }

    /// Opens a reviewer's link.
    ///
    /// # Errors
    /// [`Forged`] when it is not ours or ended before `now`.
    pub fn open_share(&self, token: &str, now: Timestamp) -> Result<CampaignNumber, Forged> {
        let bytes = self.open_bytes(Kind::Share, token)?;
        let mut expires = [0; 8];
        expires.copy_from_slice(&bytes[6..14]);
        if i64::from_be_bytes(expires) < now.as_second() { Err(Forged) } else { Ok(campaign_of(&bytes)) }
    }

    fn open_bytes(&self, kind: Kind, token: &str) -> Result<[u8; TOKEN_BYTES], Forged> {
        if token.len() != TOKEN_CHARACTERS {
            return Err(Forged);
        }
        let bytes: [u8; TOKEN_BYTES] = base32().decode(token.as_bytes()).map_err(|_| Forged)?.try_into().map_err(|_| Forged)?;
        let is_by = |key: &Key| bool::from(mac(key, &bytes[..SIGNED_BYTES]).ct_eq(&bytes[SIGNED_BYTES..]));
        if !self.ring().with_id(bytes[1]).any(is_by) || bytes[0] >> 5 != VERSION {
            return Err(Forged);
        }
        let found = Kind::ALL.into_iter().find(|kind| kind.code() == bytes[0] >> 2 & 0b111);
        if found == Some(kind) { Ok(bytes) } else { Err(Forged) }
    }
}

fn mac(key: &Key, signed: &[u8]) -> [u8; 8] {
    let hash = blake3::keyed_hash(&key.secret, signed);
    let mut short = [0; 8];
    short.copy_from_slice(&hash.as_bytes()[..8]);
    short
}

fn campaign_of(bytes: &[u8; TOKEN_BYTES]) -> CampaignNumber {
    CampaignNumber(u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]))
}

// An arm is told from a recipient by fifteen zero bytes: a random pseudonym has them once in 2^120.
fn bearer_bytes(bearer: Bearer) -> [u8; 16] {
    match bearer {
        Bearer::Recipient(pseudonym) => *pseudonym.as_bytes(),
        Bearer::Arm { rest } => {
            let mut bytes = [0; 16];
            bytes[15] = u8::from(rest);
            bytes
        }
    }
}

fn bearer(bytes: [u8; 16]) -> Bearer {
    if bytes[..15].iter().all(|byte| *byte == 0) {
        Bearer::Arm { rest: bytes[15] == 1 }
    } else {
        Bearer::Recipient(Pseudonym::from_bytes(bytes))
    }
}

const fn mode_code(mode: RecordingMode) -> u8 {
    match mode {
        RecordingMode::Off => 0,
        RecordingMode::Aggregate => 1,
        RecordingMode::Pseudonymous => 2,
        RecordingMode::Identified => 3,
    }
}

const fn mode(code: u8) -> RecordingMode {
    match code & 0b11 {
        0 => RecordingMode::Off,
        1 => RecordingMode::Aggregate,
        2 => RecordingMode::Pseudonymous,
        _ => RecordingMode::Identified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new((1, [7; 32]), vec![])
    }

    fn payload(kind: Kind) -> Payload {
        Payload {
            kind,
            campaign: CampaignNumber(70_000),
            bearer: Bearer::Recipient(Pseudonym::from_bytes([9; 16])),
            variant: VariantNumber(5),
            link: (kind == Kind::Click).then_some(LinkNumber(300)),
            mode: RecordingMode::Pseudonymous,
        }
    }

    #[test]
    fn a_token_opens_to_what_was_sealed_in_either_case() {
        for kind in [Kind::Open, Kind::Click, Kind::Unsubscribe, Kind::Bounce] {
            let token = keys().seal(&payload(kind));
            assert_eq!(token.len(), TOKEN_CHARACTERS);
            assert_eq!(keys().open(kind, &token), Ok(payload(kind)));
            assert_eq!(keys().open(kind, &token.to_uppercase()), Ok(payload(kind)));
        }
    }

    #[test]
    fn a_token_of_one_kind_does_not_open_as_another() {
        let token = keys().seal(&payload(Kind::Open));
        for kind in [Kind::Click, Kind::Unsubscribe, Kind::Bounce, Kind::Share] {
            assert_eq!(keys().open(kind, &token), Err(Forged));
        }
    }

    #[test]
    fn any_changed_character_is_refused() {
        let token = keys().seal(&payload(Kind::Click));
        for place in 0..token.len() {
            let mut changed: Vec<char> = token.chars().collect();
            changed[place] = if changed[place] == 'a' { 'b' } else { 'a' };
            let changed: String = changed.into_iter().collect();
            // The last character holds four bits of padding in 52 characters of 256 bits: any change there is refused by the decoder.
            assert_eq!(keys().open(Kind::Click, &changed), Err(Forged), "place {place}");
        }
        for broken in ["", "a", &token[1..], &format!("{token}a"), "§".repeat(26).as_str()] {
            assert_eq!(keys().open(Kind::Click, broken), Err(Forged));
        }
    }

    #[test]
    fn tokens_of_an_older_key_keep_working_and_of_a_lost_key_do_not() {
        let token = keys().seal(&payload(Kind::Open));
        let rotated = Keys::new((2, [8; 32]), vec![(1, [7; 32])]);
        assert_eq!(rotated.open(Kind::Open, &token), Ok(payload(Kind::Open)));
        let lost = Keys::new((2, [8; 32]), vec![]);
        assert_eq!(lost.open(Kind::Open, &token), Err(Forged));
        assert_ne!(rotated.seal(&payload(Kind::Open)), token);
    }

    #[test]
    fn every_copy_takes_new_keys_up_and_none_forgets_one() {
        let (keys, old) = (keys(), keys().seal(&payload(Kind::Open)));
        let copy = keys.clone();
        assert!(copy.take_up((2, [8; 32]), vec![(1, [7; 32])]));
        assert!(!copy.take_up((2, [8; 32]), vec![(1, [7; 32])]), "nothing is new");
        let new = keys.seal(&payload(Kind::Open));
        assert_eq!((keys.current_id(), copy.open(Kind::Open, &new)), (2, Ok(payload(Kind::Open))));
        // A file with less in it, and one that gives a known id another secret.
        for lesser in [(2, [8; 32]), (1, [9; 32])] {
            assert!(!keys.take_up(lesser, vec![]) || lesser.0 == 1);
            let newest = keys.seal(&payload(Kind::Open));
            assert!([&old, &new, &newest].into_iter().all(|token| copy.open(Kind::Open, token) == Ok(payload(Kind::Open))));
        }
        assert_eq!(Keys::new((1, [9; 32]), vec![]).open(Kind::Open, &old), Err(Forged), "the same id alone is not enough");
    }

    #[test]
    fn a_genuine_mac_does_not_carry_over_to_another_campaign_recipient_link_or_mode() {
        let token = keys().seal(&payload(Kind::Click));
        let mut parts = base32().decode(token.as_bytes()).unwrap();
        let others = [
            Payload { campaign: CampaignNumber(70_001), ..payload(Kind::Click) },
            Payload { bearer: Bearer::Recipient(Pseudonym::from_bytes([8; 16])), ..payload(Kind::Click) },
            Payload { link: Some(LinkNumber(301)), ..payload(Kind::Click) },
            Payload { variant: VariantNumber(4), ..payload(Kind::Click) },
            Payload { mode: RecordingMode::Identified, ..payload(Kind::Click) },
            Payload { kind: Kind::Open, ..payload(Kind::Click) },
        ];
        for other in others {
            let theirs = base32().decode(keys().seal(&other).as_bytes()).unwrap();
            parts[..SIGNED_BYTES].copy_from_slice(&theirs[..SIGNED_BYTES]);
            let mixed = base32().encode(&parts);
            assert_eq!((keys().open(Kind::Click, &mixed), keys().open(Kind::Open, &mixed)), (Err(Forged), Err(Forged)), "{other:?}");
        }
        for garbage in ["=", " ", "\0", ".gif", "00000000"] {
            assert_eq!(keys().open(Kind::Click, &format!("{token}{garbage}")), Err(Forged));
        }
        for length in 0..token.len() {
            assert_eq!(keys().open(Kind::Click, &token[..length]), Err(Forged));
        }
    }

    #[test]
    fn the_shared_token_of_an_arm_names_no_recipient() {
        let shared = Payload { bearer: Bearer::Arm { rest: true }, mode: RecordingMode::Aggregate, ..payload(Kind::Open) };
        assert_eq!(keys().open(Kind::Open, &keys().seal(&shared)), Ok(shared));
    }

    #[test]
    fn a_reviewers_link_ends_when_it_says() {
        let expires: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let token = keys().seal_share(CampaignNumber(3), expires, [1; 8]);
        let before: Timestamp = "2026-11-30T23:59:59Z".parse().unwrap();
        let after: Timestamp = "2026-12-01T00:00:01Z".parse().unwrap();
        assert_eq!(keys().open_share(&token, before), Ok(CampaignNumber(3)));
        assert_eq!(keys().open_share(&token, after), Err(Forged));
    }
}
