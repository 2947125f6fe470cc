//! What happens to a connection before its first request: a proxy says whose it is, TLS is begun.
//!
//! Cast: [`Door`], [`keep_fresh`] (certificates are read again when they change).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Protocol;
use actix_web::web;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use super::proxy_protocol::read_header;
use super::stream::Stream;
use super::tls::{Certificates, HTTP_2};
use crate::web::edge::Edge;

/// How long a connection may take until its first request can be read.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How connections come in.
#[derive(Clone)]
pub struct Door {
    edge: web::Data<Edge>,
    tls: Option<TlsAcceptor>,
}

impl Door {
    /// The door as the settings want it, with the certificates to keep fresh.
    ///
    /// # Errors
    /// When there is no usable certificate.
    pub fn open(edge: &web::Data<Edge>) -> io::Result<(Self, Option<Arc<Certificates>>)> {
        let settings = &edge.outpost.config.web;
        if settings.tls_certificate.as_os_str().is_empty() {
            return Ok((Self { edge: edge.clone(), tls: None }, None));
        }
        let certificates = Certificates::read(&settings.tls_certificate, &settings.tls_key)?;
        Ok((Self { edge: edge.clone(), tls: Some(certificates.acceptor()?) }, Some(certificates)))
    }

    /// Whether a connection's first bytes are a request's: no proxy announces it, nothing is encrypted.
    pub fn is_open(&self) -> bool {
        self.tls.is_none() && !self.edge.outpost.config.web.proxy_protocol
    }

    /// The connection, whose it is, and what is spoken over it. None: it was not what it should be, or took too long.
    pub async fn welcome(&self, mut stream: TcpStream, mut peer: SocketAddr) -> Option<(Stream, SocketAddr, Protocol)> {
        let by_proxy = self.edge.outpost.config.web.proxy_protocol;
        if self.is_open() {
            return Some((Stream::Plain(stream), peer, Protocol::Http1));
        }
        let welcomed = async {
            if by_proxy {
                if !self.edge.proxies.contain(peer.ip()) {
                    return None;
                }
                peer = read_header(&mut stream).await.ok()?.unwrap_or(peer);
            }
            let Some(tls) = &self.tls else { return Some((Stream::Plain(stream), Protocol::Http1)) };
            // Answers are written whole; waiting for more would only delay them.
            let _ = stream.set_nodelay(true);
            let stream = tls.accept(stream).await.ok()?;
            let protocol = if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) { Protocol::Http2 } else { Protocol::Http1 };
            Some((Stream::Tls(Box::new(stream)), protocol))
        };
        let (stream, protocol) = tokio::time::timeout(PATIENCE, welcomed).await.ok().flatten()?;
        Some((stream, peer, protocol))
    }
}

/// Reads the certificate again when its files change, and at SIGHUP, which ends nothing.
pub async fn keep_fresh(certificates: Option<Arc<Certificates>>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::warn!("SIGHUP cannot be listened for: {error}"),
    };
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let Some(certificates) = &certificates else { continue };
        if !asked && !certificates.have_changed() {
            continue;
        }
        match certificates.reload() {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!("the certificate cannot be read again; the one before stays in use: {error}"),
        }
    }
}
