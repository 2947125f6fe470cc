//! TLS at the front door: rustls with aws-lc-rs, HTTP/2 and HTTP/1.1 by ALPN, certificates read again without a restart.
//!
//! Cast: [`Certificates`]. A file that cannot be used leaves the one before in its place. No key is ever printed.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// How HTTP/2 is called in a handshake.
pub const HTTP_2: &[u8] = b"h2";

/// The certificate in use, and where it comes from.
#[derive(Debug)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files looked like when they were read.
    seen: Mutex<[Option<Look>; 2]>,
}

impl Certificates {
    /// Reads chain and key.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn read(chain: &Path, key: &Path) -> io::Result<Arc<Self>> {
        let seen = Mutex::new(look_at(chain, key));
        let current = RwLock::new(Arc::new(certified(chain, key)?));
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current, seen }))
    }

    /// What does handshakes with whatever certificate is current.
    ///
    /// # Errors
    /// Only when this build has no TLS version.
    pub fn acceptor(self: &Arc<Self>) -> io::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Certificates::read`]; the certificate before stays.
    pub fn reload(&self) -> io::Result<()> {
        let seen = look_at(&self.chain, &self.key);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        let fresh = certified(&self.chain, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Whether the files were changed since they were read.
    pub fn have_changed(&self) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != look_at(&self.chain, &self.key)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Inode, bytes, and seconds and nanoseconds of the last change.
type Look = (u64, u64, i64, i64);

fn look_at(chain: &Path, key: &Path) -> [Option<Look>; 2] {
    let look = |path| std::fs::metadata(path).ok().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
    [chain, key].map(look)
}

fn certified(chain: &Path, key: &Path) -> io::Result<CertifiedKey> {
    let wrong = |setting: &str, path: &Path, what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("setting web.{setting}: {} {what}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|_| wrong("tls_certificate", chain, "cannot be read as PEM certificates"))?;
    if certificates.is_empty() {
        return Err(wrong("tls_certificate", chain, "holds no certificate"));
    }
    // Not the cause: it might quote the file.
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|_| wrong("tls_key", key, "cannot be read as a PEM private key"))?;
    CertifiedKey::from_der(certificates, secret, &aws_lc_rs::default_provider())
        .map_err(|_| wrong("tls_key", key, "is of a kind that is not known here, or not the certificate's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies of a key and its certificate.
    fn make(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
        let (chain, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::copy(from.join(format!("{name}.pem")), &chain).unwrap();
        std::fs::copy(from.join(format!("{name}.key")), &key).unwrap();
        (chain, key)
    }

    #[test]
    fn a_certificate_is_replaced_while_running_and_a_broken_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = make(folder.path(), "one");
        let (other_chain, other_key) = make(folder.path(), "two");
        let certificates = Certificates::read(&chain, &key).unwrap();
        certificates.acceptor().unwrap();
        let current = || certificates.current.read().unwrap().cert.clone();
        let first = current();
        assert!(!certificates.have_changed());

        std::fs::copy(&other_chain, &chain).unwrap();
        assert!(certificates.have_changed());
        let error = certificates.reload().unwrap_err().to_string();
        assert!(error.contains("tls_key"), "{error}");
        assert_eq!(current(), first, "the key is still the first one's");

        std::fs::copy(&other_key, &key).unwrap();
        certificates.reload().unwrap();
        assert_ne!(current(), first);
        std::fs::write(&chain, "nothing").unwrap();
        assert!(certificates.reload().is_err());
        assert!(!certificates.have_changed(), "a broken file is told once");
    }

    #[test]
    fn files_that_are_none_are_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = make(folder.path(), "one");
        let broken = folder.path().join("broken.pem");
        std::fs::write(&broken, "-----BEGIN PRIVATE KEY-----\nc0ffee\n").unwrap();
        for (chain, key, setting) in [(&broken, &key, "tls_certificate"), (&chain, &broken, "tls_key"), (&chain, &chain, "tls_key")] {
            let error = Certificates::read(chain, key).unwrap_err().to_string();
            assert!(error.contains(setting) && !error.contains("c0ffee"), "{error}");
        }
    }
}
