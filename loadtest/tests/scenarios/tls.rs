//! `loadtest run` over TLS and HTTP/2: who is trusted, what is spoken, how many connections are opened.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Case, ended};

const ANSWER: &str = r#"{"hold_id":"h1","stock":{"total":9,"sold":0,"held":0,"available":9}}"#;

/// A server that answers every request alike and counts.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    over_http2: AtomicUsize,
    over_http1: AtomicUsize,
}

struct Server {
    addr: SocketAddr,
    certificate: String,
    seen: Arc<Seen>,
}

impl Server {
    /// Over TLS, both protocols.
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Self {
            addr: listener.local_addr().unwrap(),
            certificate: made.cert.pem(),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&server.seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, TlsAcceptor::from(Arc::new(config)), seen));
        });
        server
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }
}

async fn serve(listener: std::net::TcpListener, tls: TlsAcceptor, seen: Arc<Seen>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            // A client that trusts nobody ends the handshake.
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            seen.connections.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(move |request: Request<_>| {
                let count = match request.version() {
                    Version::HTTP_2 => &seen.over_http2,
                    _ => &seen.over_http1,
                };
                count.fetch_add(1, Ordering::Relaxed);
                let response = Response::builder().status(201);
                let response = response.body(Full::new(Bytes::from_static(ANSWER.as_bytes())));
                async move {
                    drop::<Request<hyper::body::Incoming>>(request);
                    Ok::<_, Infallible>(response.unwrap())
                }
            });
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

const SCENARIO: &str = "thresholds = [\"errors == 0\", \"hold.accepted == 200\"]\n\
     [server]\nconnections_max = 3\n[[stage]]\nduration_s = 0.5\nrate = 400\n[[mix]]\nflow = \"hold\"\n";
/// Set-up and reading have one connection each, and each thread its share of the rest.
const CONNECTIONS_MAX: usize = 3 + 2;

#[test]
fn both_protocols_are_spoken_over_a_bounded_number_of_connections() {
    let server = Server::start();
    let case = Case::new(SCENARIO);
    let ca = case.path("ca.pem");
    fs::write(&ca, &server.certificate).unwrap();
    let trusted = ["--url", &server.url(), "--ca", ca.to_str().unwrap()];
    let said = ended(&case.run(&trusted), 0);
    assert!(said.contains("HTTP/1.1"), "{said}");
    assert_eq!(server.seen.over_http2.load(Ordering::Relaxed), 0);
    let connections = server.seen.connections.swap(0, Ordering::Relaxed);
    assert!(
        (1..=CONNECTIONS_MAX).contains(&connections),
        "{connections}"
    );

    let said = ended(&case.run(&[&trusted[..], &["--http2"]].concat()), 0);
    assert!(
        said.contains("HTTP/2") && !said.contains("NOT verified"),
        "{said}"
    );
    assert!(server.seen.over_http2.load(Ordering::Relaxed) >= 200);
    let connections = server.seen.connections.load(Ordering::Relaxed);
    assert!(
        (1..=CONNECTIONS_MAX).contains(&connections),
        "{connections}"
    );
}

#[test]
fn an_unknown_certificate_is_refused_and_trust_in_anyone_is_said_loudly() {
    let server = Server::start();
    let case = Case::new(SCENARIO);
    let said = ended(&case.run(&["--url", &server.url()]), 3);
    assert!(said.contains("issuer is not trusted; --ca"), "{said}");
    assert_eq!(server.seen.over_http1.load(Ordering::Relaxed), 0);

    let page = case.path("run.html");
    let args = ["--insecure", "--html", page.to_str().unwrap()];
    let said = ended(
        &case.run(&[&["--url", &server.url()], &args[..]].concat()),
        0,
    );
    assert_eq!(said.matches("WARNING: --insecure").count(), 2, "{said}");
    assert!(fs::read_to_string(page).unwrap().contains("NOT verified"));
}

#[test]
fn a_file_without_certificates_is_no_ca() {
    let case = Case::new(SCENARIO);
    let file = case.path("case.toml");
    let said = ended(
        &case.run(&[
            "--url",
            "https://127.0.0.1:1",
            "--ca",
            file.to_str().unwrap(),
        ]),
        2,
    );
    assert!(said.contains("no certificate"), "{said}");
}
