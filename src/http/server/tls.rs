//! Owns TLS of the listeners: reading the certificate chain and its key, and the current pair.
//!
//! Invariants: the current pair was read completely, and the key fits the certificate; a change
//! applies to new connections. Deliberately absent: handshakes, which connections do.

use super::ServeError;
use super::validity;
use crate::config::TlsConfig;
use crate::files::{TEXT_BYTES_MAX, read};
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// A certificate chain with its key, ready for connections.
#[derive(Clone)]
pub struct Certified {
    server: Arc<rustls::ServerConfig>,
    /// Digest of the two files.
    digest: [u8; 32],
    /// When the first certificate, the server's own, expires; `None`: it does not say so readably.
    expires_at: Option<UnixMs>,
}

impl std::fmt::Debug for Certified {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certified").finish_non_exhaustive()
    }
}

/// The current certificate, for all listeners.
#[derive(Debug)]
pub struct Tls(ArcSwap<Certified>);

impl Tls {
    pub fn new(certified: Certified) -> Self {
        Self(ArcSwap::from_pointee(certified))
    }

    /// For a new connection.
    pub(in crate::http) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.load().server))
    }

    /// When the current certificate expires.
    pub(in crate::http) fn expires_at(&self) -> Option<UnixMs> {
        self.0.load().expires_at
    }

    /// Uses `certified` for new connections; returns whether it differs.
    pub fn replace(&self, certified: Certified) -> bool {
        let digest = certified.digest;
        self.0.swap(Arc::new(certified)).digest != digest
    }
}

/// TLS from the two files, for HTTP/2 and HTTP/1.1.
pub fn load(config: &TlsConfig) -> Result<Certified, ServeError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |what: String| ServeError::Tls { path, what }
    };
    let bytes = |path: &PathBuf| {
        read(path, TEXT_BYTES_MAX).map_err(|error| failed(path)(error.to_string()))
    };
    let (cert, key) = (bytes(&config.cert)?, SecretSlice::from(bytes(&config.key)?));
    let mut digest = Sha256::new_with_prefix(Sha256::digest(&cert));
    digest.update(key.expose_secret());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&config.cert)(error.to_string()))?;
    let expires_at = chain.first().and_then(|it| validity::expires_at(it));
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret())
        .map_err(|error| failed(&config.key)(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| failed(&config.cert)(error.to_string()))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certified {
        server: Arc::new(tls),
        digest: digest.finalize().into(),
        expires_at,
    })
}
