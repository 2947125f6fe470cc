//! New keys, and the little DER and PEM around them.
//!
//! Cast: [`rsa_pem`] and [`ed25519_pem`] (private keys as PKCS #8 in PEM), [`read_pem`], [`subject_public_key_info`].
//!
//! The crate `rsa` is here to find primes, which `ring` cannot; it never signs, so its known leak through timing (RUSTSEC-2023-0071) has
//! nothing to leak from. Chance comes in as a seed.

use data_encoding::BASE64;
use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::{self, CryptoRng, RngCore};

use super::DkimError;

/// Bits of an RSA key: 1024 is too short for Gmail and Yahoo, and more than 2048 does not fit into one DNS string of many providers.
const RSA_BITS: usize = 2048;
/// What stands before the 32 bytes of a seed in a PKCS #8 file (RFC 8410 §7).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// SEQUENCE of the object identifier 1.2.840.113549.1.1.1 (rsaEncryption) and NULL.
const RSA_ALGORITHM: [u8; 15] = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

/// A cryptographic generator in the words of the `rsa` crate, which is a generation of traits behind ours.
struct Chance(ChaCha12Rng);

impl RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Chance {}

/// A new RSA key of 2048 bits; takes a second or so. The seed must be secret and fresh.
///
/// # Errors
/// [`DkimError::Unmakeable`], which does not happen with this size.
pub fn rsa_pem(seed: [u8; 32]) -> Result<String, DkimError> {
    let mut chance = Chance(ChaCha12Rng::from_seed(seed));
    let key = RsaPrivateKey::new(&mut chance, RSA_BITS).map_err(|_| DkimError::Unmakeable)?;
    let der = key.to_pkcs8_der().map_err(|_| DkimError::Unmakeable)?;
    Ok(write_pem(der.as_bytes()))
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

/// An RSA public key (PKCS #1) as the SubjectPublicKeyInfo that the DNS holds.
pub(super) fn subject_public_key_info(public_key: &[u8]) -> Vec<u8> {
    // The bit string has no unused bits.
    let bits = element(0x03, &[[0].as_slice(), public_key].concat());
    element(0x30, &[RSA_ALGORITHM.as_slice(), &bits].concat())
}

/// Tag, length and content in DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|&byte| byte == 0).collect();
    let mut element = vec![tag];
    match significant.as_slice() {
        [] => element.push(0),
        [short] if *short < 128 => element.push(*short),
        long => {
            element.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(content);
    element
}
