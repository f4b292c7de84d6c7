//! Owns TLS of the listeners: reading the certificate chain and its key.
//!
//! Deliberately absent: handshakes, which connections do.

use super::server::ServeError;
use crate::config::TlsConfig;
use crate::files::{TEXT_BYTES_MAX, read};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;

/// TLS as the two files say, for HTTP/2 and HTTP/1.1.
pub fn load(config: &TlsConfig) -> Result<Arc<rustls::ServerConfig>, ServeError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |what: String| ServeError::Tls { path, what }
    };
    let bytes = |path: &PathBuf| {
        read(path, TEXT_BYTES_MAX).map_err(|error| failed(path)(error.to_string()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes(&config.cert)?)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&config.cert)(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&config.key)?)
        .map_err(|error| failed(&config.key)(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| failed(&config.cert)(error.to_string()))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}
