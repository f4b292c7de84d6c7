//! Owns whom a TLS client of this process trusts: the public authorities, or those in a file.
//!
//! Invariants: a server's certificate is always verified; a file without a certificate is an error.
//! Deliberately absent: connections, and certificates of our own (`http::server`).

use crate::files;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// TLS of a client that trusts the authorities in `ca_file`, or the public ones.
pub fn tls_client(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    Ok(tls_client_of(authorities(ca_file)?))
}

/// TLS of a client that trusts the public authorities.
pub fn public_tls_client() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    tls_client_of(roots)
}

/// The authorities in `ca_file`, or the public ones.
pub fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
            let pem = files::read(path, files::TEXT_BYTES_MAX).map_err(|why| named(&why))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|why| named(&why))?;
                roots.add(certificate).map_err(|why| named(&why))?;
            }
            if roots.is_empty() {
                return Err(named(&"it contains no certificate"));
            }
        }
    }
    Ok(roots)
}

/// TLS of a client that trusts these authorities.
pub fn tls_client_of(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what the default versions need");
    builder.with_root_certificates(roots).with_no_client_auth()
}
