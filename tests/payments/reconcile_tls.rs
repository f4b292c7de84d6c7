//! `holdfast reconcile` against a core that has TLS: the key goes only to a server whose certificate was
//! verified.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use support::{ADMIN, Server, Setup, binary};

/// A certificate for this machine and its key, as files.
fn certificate(folder: &Path, name: &str) -> [PathBuf; 2] {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let paths = ["cert", "key"].map(|it| folder.join(format!("{name}-{it}.pem")));
    std::fs::write(&paths[0], made.cert.pem()).unwrap();
    std::fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
    paths
}

fn with_tls(cert: &Path, key: &Path) -> Server {
    let (cert, key) = (cert.display(), key.display());
    let config = format!("[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\"");
    Setup::demo().config(&config).start()
}

fn reconcile(url: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = binary();
    command.args(["reconcile", "--json", "--key", ADMIN, "--url", url]);
    let Output {
        status,
        stdout,
        stderr,
    } = command.args(more).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!said.contains(ADMIN), "the key is shown: {said}");
    (status.code(), String::from_utf8(stdout).unwrap(), said)
}

#[test]
fn a_core_with_tls_is_asked_where_its_certificate_is_trusted() {
    let scratch = tempfile::tempdir().unwrap();
    let [cert, key] = certificate(scratch.path(), "own");
    let [other, _] = certificate(scratch.path(), "other");
    let empty = scratch.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let server = with_tls(&cert, &key);
    let port = server.address.port();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let [cert, other, empty] = [&cert, &other, &empty].map(|it| text(it));
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{port}");
        let (status, report, said) = reconcile(&url, &["--ca", &cert]);
        assert_eq!(status, Some(0), "{said}");
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["result"], json!("agrees"), "{report}");
    }
    let url = format!("https://127.0.0.1:{port}");
    let plain = format!("http://127.0.0.1:{port}");
    for (url, more, words) in [
        (&url, &[][..], "its certificate is not trusted"),
        (
            &url,
            &["--ca", other.as_str()],
            "name its authority's certificate with --ca FILE",
        ),
        (
            &url,
            &["--ca", empty.as_str()],
            "it contains no certificate",
        ),
        (&url, &["--ca", "/nonexistent"], "/nonexistent: "),
        (
            &plain,
            &["--ca", cert.as_str()],
            "--ca is for a URL that begins with https://",
        ),
    ] {
        let (status, report, said) = reconcile(url, more);
        assert_eq!(status, Some(2), "{more:?}: {said}");
        assert!(
            report.is_empty() && said.contains(words),
            "{more:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{more:?}: {said}");
    }
}

#[test]
fn the_name_in_the_url_must_be_the_certificates() {
    let scratch = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["core.example".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|it| scratch.path().join(it));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = with_tls(&cert, &key);
    let url = format!("https://127.0.0.1:{}", server.address.port());
    let (status, _, said) = reconcile(&url, &["--ca", cert.to_str().unwrap()]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("its certificate is not trusted"), "{said}");
}
