//! DKIM (RFC 6376, RFC 8463): signatures over finished messages.
//!
//! Cast: [`DkimKey`] (a private key with the place of its public half in the DNS), [`DkimKeys`] (all keys of an installation; of each
//! algorithm the first of a domain signs), [`DkimKeys::sign`], `canonical` (what is hashed), [`generate`] (new keys).
//!
//! It signs bytes and changes none of them: its headers go in front. It never reads a file or the DNS, never prints a private key,
//! and writes no `l=`, so that nothing can be appended to a signed letter.

mod canonical;
pub mod generate;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64;
use jiff::Timestamp;

use canonical::{Header, relax_header, relaxed_body, split};

/// Headers a signature covers where the message has them. `From` stands twice: a second one added on the way breaks the signature.
const SIGNED: [&str; 14] = [
    "From",
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Id",
    "Feedback-ID",
];
/// Lines of the signature header are folded before this column (RFC 5322 §2.1.1), where a tag allows it.
const LINE: usize = 78;
/// Bytes of the longest RSA modulus: receivers need not verify keys of more than 4096 bits (RFC 6376 §3.3.3 asks for 2048).
const LONGEST_MODULUS: usize = 512;

/// Which signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// `rsa-sha256`: what every receiver verifies.
    Rsa,
    /// `ed25519-sha256`: small and fast, verified by some; only ever beside the other.
    Ed25519,
}

impl KeyKind {
    /// The word of the tag `k=` in the DNS.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// Why a key or a message cannot be used. Never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    /// Not a key file.
    #[error("it is not a private key in PEM (PRIVATE KEY or RSA PRIVATE KEY)")]
    NotPem,
    /// A key that cannot be used.
    #[error("the private key cannot be used: an RSA key must have 2048 to 4096 bits, any other key must be Ed25519")]
    Rejected,
    /// A domain or selector that cannot be written into a header.
    #[error("{0:?} is not a domain name or selector: letters, digits, hyphens and dots only")]
    Name(String),
    /// A new key cannot be made.
    #[error("a new key cannot be made: the system gives no random numbers")]
    Unmakeable,
    /// Signing failed.
    #[error("the letter could not be signed: the system gives no random numbers, or the letter has no headers")]
    Unsigned,
}

enum Signer {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// The public half as the tag `p=` holds it: a SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), the 32 bytes alone for Ed25519
    /// (RFC 8463 §4).
    fn public(&self) -> Result<String, Unspecified> {
        Ok(match self {
            Self::Rsa(key) => {
                let info: PublicKeyX509Der<'_> = key.public_key().as_der()?;
                BASE64.encode(info.as_ref())
            }
            Self::Ed25519(key) => BASE64.encode(key.public_key().as_ref()),
        })
    }
}

/// A private key, and where its public half is to be found.
pub struct DkimKey {
    domain: String,
    selector: String,
    signer: Signer,
    public: String,
}

impl std::fmt::Debug for DkimKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "DkimKey({}, {:?})", self.record_name(), self.kind())
    }
}

impl DkimKey {
    /// Reads a private key: PKCS #8 (`PRIVATE KEY`, RSA or Ed25519) or PKCS #1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`DkimError`] when it is no such key, or the names cannot stand in a header.
    pub fn from_pem(domain: &str, selector: &str, pem: &str) -> Result<Self, DkimError> {
        let domain = domain_name(domain)?;
        let selector = domain_name(selector)?;
        let (label, der) = generate::read_pem(pem).ok_or(DkimError::NotPem)?;
        let signer = match label {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).map(Signer::Rsa),
            "PRIVATE KEY" => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
                Ok(key) => Ok(Signer::Ed25519(key)),
                Err(_) => RsaKeyPair::from_pkcs8(&der).map(Signer::Rsa),
            },
            _ => return Err(DkimError::NotPem),
        };
        let signer = signer.map_err(|_| DkimError::Rejected)?;
        if let Signer::Rsa(key) = &signer
            && key.public_modulus_len() > LONGEST_MODULUS
        {
            return Err(DkimError::Rejected);
        }
        let public = signer.public().map_err(|_| DkimError::Rejected)?;
        Ok(Self { domain, selector, signer, public })
    }

    /// The domain it signs for (`d=`), in ASCII and lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Its selector (`s=`).
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// Which signature it makes.
    pub fn kind(&self) -> KeyKind {
        match self.signer {
            Signer::Rsa(_) => KeyKind::Rsa,
            Signer::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// Where the public half is published.
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The public half as the tag `p=` holds it.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The TXT record to publish.
    pub fn record_value(&self) -> String {
        format!("v=DKIM1; k={}; p={}", self.kind().as_str(), self.public())
    }

    /// The header, ended by CRLF, that signs these headers and this body.
    fn signature(&self, headers: &[Header<'_>], body_hash: &str, now: Timestamp) -> Result<Vec<u8>, DkimError> {
        let (names, mut signed) = chosen(headers);
        let mut value = Folded::new("DKIM-Signature:");
        let algorithm = format!("a={}-sha256;", self.kind().as_str());
        for tag in ["v=1;", algorithm.as_str(), "c=relaxed/relaxed;"] {
            value.tag(tag);
        }
        value.tag(&format!("d={};", self.domain));
        value.tag(&format!("s={};", self.selector));
        value.tag(&format!("t={};", now.as_second().max(0)));
        value.names(&names);
        value.tag(&format!("bh={body_hash};"));
        value.tag_on_a_new_line("b=");
        relax_header(value.text.as_bytes(), &mut signed);
        let signature = match &self.signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                // The signature follows from key and letter; the library asks for a source of chance and uses its own to hide how long the sum takes.
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut signature).map_err(|_| DkimError::Unsigned)?;
                BASE64.encode(&signature)
            }
            // RFC 8463 §3: what Ed25519 signs is the hash.
            Signer::Ed25519(key) => BASE64.encode(key.sign(digest(&SHA256, &signed).as_ref()).as_ref()),
        };
        let mut header = value.text.into_bytes();
        header.extend_from_slice(signature.as_bytes());
        header.extend_from_slice(b"\r\n");
        Ok(header)
    }
}

/// A domain name or selector in ASCII and lower case.
///
/// # Errors
/// [`DkimError::Name`].
pub fn domain_name(text: &str) -> Result<String, DkimError> {
    let refused = || DkimError::Name(text.to_owned());
    let ascii = if text.is_ascii() { text.to_ascii_lowercase() } else { idna::domain_to_ascii_strict(text).map_err(|_| refused())? };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if ascii.len() <= 253 && ascii.split('.').all(is_label) { Ok(ascii) } else { Err(refused()) }
}

/// The names of `h=`, and their headers as they are hashed. Of several headers of one name the last is taken first (RFC 6376 §5.4.2).
fn chosen<'a>(headers: &[Header<'a>]) -> (Vec<&'static str>, Vec<u8>) {
    let mut names = Vec::with_capacity(SIGNED.len());
    let mut signed = Vec::with_capacity(2048);
    let mut previous = "";
    for name in SIGNED {
        let mut found = headers.iter().rev().filter(|header| header.name.eq_ignore_ascii_case(name));
        // The second From finds nothing: that is what forbids another.
        let is_again = previous == name;
        let header = if is_again { found.nth(1) } else { found.next() };
        if header.is_some() || is_again {
            names.push(name);
        }
        if let Some(header) = header {
            relax_header(header.bytes, &mut signed);
            signed.extend_from_slice(b"\r\n");
        }
        previous = name;
    }
    (names, signed)
}

/// A header under construction, folded between tags and, in `h=`, behind colons.
struct Folded {
    text: String,
    column: usize,
}

impl Folded {
    fn new(name: &str) -> Self {
        Self { text: name.to_owned(), column: name.len() }
    }

    fn tag(&mut self, tag: &str) {
        if self.column + 1 + tag.len() > LINE {
            self.fold();
        }
        self.text.push(' ');
        self.text.push_str(tag);
        self.column += 1 + tag.len();
    }

    fn tag_on_a_new_line(&mut self, tag: &str) {
        self.fold();
        self.text.push(' ');
        self.text.push_str(tag);
    }

    fn names(&mut self, names: &[&str]) {
        for (place, name) in names.iter().enumerate() {
            let end = if place + 1 == names.len() { ';' } else { ':' };
            let item = if place == 0 { format!("h={name}{end}") } else { format!("{name}{end}") };
            if place == 0 {
                self.tag(&item);
                continue;
            }
            if self.column + item.len() > LINE {
                self.fold();
                self.text.push(' ');
                self.column = 1;
            }
            self.text.push_str(&item);
            self.column += item.len();
        }
    }

    fn fold(&mut self) {
        self.text.push_str("\r\n");
        self.column = 0;
    }
}

/// Every key of an installation.
#[derive(Debug, Default)]
pub struct DkimKeys {
    keys: Vec<DkimKey>,
}

impl DkimKeys {
    /// Keys in the operator's order.
    pub fn new(keys: Vec<DkimKey>) -> Self {
        Self { keys }
    }

    /// Every key, those included that only wait for their turn.
    pub fn all(&self) -> &[DkimKey] {
        &self.keys
    }

    /// The keys of the domain itself or, if it has none, of the nearest domain above it: a signature of `example.org` is aligned with
    /// a sender at `news.example.org` (RFC 7489 §3.1.1, relaxed).
    pub fn of_domain(&self, domain: &str) -> Vec<&DkimKey> {
        let domain = domain_name(domain).unwrap_or_default();
        let mut name = domain.as_str();
        while !name.is_empty() {
            let found: Vec<&DkimKey> = self.keys.iter().filter(|key| key.domain == name).collect();
            if !found.is_empty() {
                return found;
            }
            name = name.split_once('.').map_or("", |(_, above)| above);
        }
        Vec::new()
    }

    /// Those of them that sign: the first RSA key and the first Ed25519 key.
    pub fn signing(&self, domain: &str) -> Vec<&DkimKey> {
        let of_domain = self.of_domain(domain);
        let first = |kind| of_domain.iter().copied().find(|key| key.kind() == kind);
        [first(KeyKind::Rsa), first(KeyKind::Ed25519)].into_iter().flatten().collect()
    }

    /// Puts the signatures of a sender's domain in front of a finished message, RSA on top; without a key it stays as it is.
    ///
    /// # Errors
    /// [`DkimError::Unsigned`], which only a broken system brings about.
    pub fn sign(&self, sender_domain: &str, message: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, DkimError> {
        let signing = self.signing(sender_domain);
        if signing.is_empty() {
            return Ok(message);
        }
        let (headers, body) = split(&message).ok_or(DkimError::Unsigned)?;
        let body_hash = BASE64.encode(digest(&SHA256, &relaxed_body(body)).as_ref());
        let mut signed = Vec::with_capacity(message.len() + 1536);
        for key in signing {
            signed.extend_from_slice(&key.signature(&headers, &body_hash, now)?);
        }
        signed.extend_from_slice(&message);
        Ok(signed)
    }
}

#[cfg(test)]
mod tests;
