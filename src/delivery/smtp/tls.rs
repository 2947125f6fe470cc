//! TLS to a relay: rustls with aws-lc-rs, public roots and, where set, one's own.
//!
//! Cast: [`wrap`]. It never connects without checking the certificate against the relay's name.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::wire::Stream;
use super::{RelaySettings, SmtpFault};

/// Does the handshake over a stream, within the time to connect.
pub(super) async fn wrap(stream: Stream, settings: &RelaySettings) -> Result<Stream, SmtpFault> {
    let roots = roots(settings.root_certificates.as_deref())?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| SmtpFault::Settings { what: "this build has no usable TLS version" })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| SmtpFault::Settings { what: "host is neither a host name nor an address, which TLS needs" })?;
    let limit = settings.timeouts.connect();
    match tokio::time::timeout(limit, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(SmtpFault::Tls { source: error }),
        Err(_) => Err(SmtpFault::TlsTimedOut { seconds: limit.as_secs() }),
    }
}

fn roots(own: Option<&Path>) -> Result<RootCertStore, SmtpFault> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(path) = own else { return Ok(roots) };
    let unreadable = |_| SmtpFault::Settings { what: "root_certificates cannot be read: it must be a PEM file of certificates" };
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|_| SmtpFault::Settings { what: "root_certificates holds something that is no certificate" })?;
    }
    Ok(roots)
}
