//! New keys, and the little PEM around them.
//!
//! Cast: [`rsa_pem`] and [`ed25519_pem`] (private keys as PKCS #8 in PEM), [`read_pem`].
//!
//! Chance comes in as a seed, but for RSA keys: the library that finds their primes asks the system for it and takes no seed.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use data_encoding::BASE64;

use super::DkimError;

/// What stands before the 32 bytes of a seed in a PKCS #8 file (RFC 8410 §7).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A new RSA key of 2048 bits: 1024 is too short for Gmail and Yahoo, and more does not fit into one DNS string of many providers. Takes
/// a tenth of a second or so.
///
/// # Errors
/// [`DkimError::Unmakeable`], when the system gives no chance.
pub fn rsa_pem() -> Result<String, DkimError> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| DkimError::Unmakeable)?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| DkimError::Unmakeable)?;
    Ok(write_pem(der.as_ref()))
}

/// A new Ed25519 key: the seed is the key.
pub fn ed25519_pem(seed: [u8; 32]) -> String {
    write_pem(&[ED25519_PKCS8.as_slice(), &seed].concat())
}

fn write_pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// Label and content of the first PEM block.
pub(super) fn read_pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (content, _) = rest.split_once("-----END ")?;
    let content: String = content.split_whitespace().collect();
    Some((label, BASE64.decode(content.as_bytes()).ok()?))
}
