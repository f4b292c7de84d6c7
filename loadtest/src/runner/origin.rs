//! Where the server is and how it is spoken to: scheme, address, certificates.
//!
//! 1. Certificates are verified against `--ca`, or the public roots without it; `--insecure` verifies nothing, and every
//!    report of such a run says so.
//! 2. The address is looked up once.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::Fault;
use crate::scenario::file::HttpVersion;

/// Whom to trust.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust<'a> {
    PublicRoots,
    Ca(&'a Path),
    /// Nothing is verified.
    Anyone,
}

/// A server, ready to be connected to.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    /// `HOST:PORT`, as it stands in the URL.
    pub(crate) authority: String,
    pub(crate) tls: Option<Tls>,
    pub(crate) version: HttpVersion,
}

#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

impl Origin {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`; the port may be left out.
    pub(crate) fn parse(url: &str, version: HttpVersion, trust: Trust<'_>) -> Result<Self, Fault> {
        let bad = || Fault::BadOrigin {
            url: url.to_owned(),
        };
        let uri: hyper::Uri = url.parse().map_err(|_| bad())?;
        let (scheme, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        if uri.path_and_query().is_some_and(|p| p.as_str() != "/")
            || authority.as_str().contains('@')
        {
            return Err(bad());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(port);
        let addr = (host, port).to_socket_addrs().ok();
        let addr = addr.and_then(|mut all| all.next()).ok_or_else(bad)?;
        let tls = if scheme {
            Some(Tls {
                name: ServerName::try_from(host.to_owned()).map_err(|_| bad())?,
                config: Arc::new(config(version, trust)?),
            })
        } else {
            None
        };
        Ok(Self {
            addr,
            authority: authority.to_string(),
            tls,
            version,
        })
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

fn config(version: HttpVersion, trust: Trust<'_>) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions of TLS");
    let builder = match trust {
        Trust::PublicRoots => {
            let mut roots = RootCertStore::empty();
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            builder.with_root_certificates(roots)
        }
        Trust::Ca(file) => builder.with_root_certificates(roots_of(file)?),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider))),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![match version {
        HttpVersion::One => b"http/1.1".to_vec(),
        HttpVersion::Two => b"h2".to_vec(),
    }];
    Ok(config)
}

fn roots_of(file: &Path) -> Result<RootCertStore, Fault> {
    let bad = |why: String| Fault::BadCa {
        file: file.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| bad(e.to_string()))? {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it has no certificate".to_owned()));
    }
    Ok(roots)
}

/// Takes every certificate; the handshake's signatures are still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Origin, Fault> {
        Origin::parse(url, HttpVersion::One, Trust::PublicRoots)
    }

    #[test]
    fn urls_with_and_without_tls_are_taken() {
        let plain = parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!(
            (plain.authority.as_str(), plain.scheme()),
            ("127.0.0.1:8080", "http")
        );
        let tls = parse("https://127.0.0.1").unwrap();
        assert_eq!((tls.addr.port(), tls.scheme()), (443, "https"));
        assert_eq!(parse("http://[::1]:81").unwrap().addr.port(), 81);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "127.0.0.1:80",
            "ftp://127.0.0.1",
            "http://127.0.0.1/x",
            "http://u@127.0.0.1",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad} was taken");
        }
    }
}
