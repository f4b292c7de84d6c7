//! What documents say holds: the README's session with `curl` works as printed, against the real
//! binary, and the tests that docs/reliability.md names are there.

use std::process::Command;
use support::{SHOP, Server, Setup};

#[test]
fn the_session_with_curl_works_as_printed() {
    let server = Setup::demo().start();
    let output = run(&server, &session());
    let expected = [
        "\"product_id\":\"drop-1\"",
        "\"status\":\"captured\"",
        "idempotent-replayed: true",
        "\"reason\":\"payment_declined\"",
        "\"status\":\"held\"",
        "\"charges\"",
        "\"conservation\"",
    ];
    let mut rest = output.as_str();
    for word in expected {
        let at = rest.find(word);
        let at = at.unwrap_or_else(|| panic!("`{word}` does not follow in\n{output}"));
        rest = &rest[at + word.len()..];
    }
    assert_eq!(
        server.stock("drop-1"),
        [100, 2, 1, 97],
        "one sold, two held"
    );
    assert_eq!(SHOP, "demo-shop-key", "the README prints the demo's key");
}

#[test]
fn every_test_that_the_table_of_reliability_names_is_there() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let table = include_str!("../../docs/reliability.md");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let mut named = 0;
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let mut source = String::new();
        for word in cell.split('`').skip(1).step_by(2) {
            // A binary, or a module of one.
            let at = tests.join(word.replace("::", "/"));
            let file = at.with_extension("rs");
            if word == "data_directory" || file.exists() || at.join("main.rs").exists() {
                source = std::fs::read_to_string(file).unwrap_or_default();
                let below = std::fs::read_dir(at).into_iter().flatten();
                source.extend(below.filter_map(|it| std::fs::read_to_string(it.ok()?.path()).ok()));
            } else {
                let name = word.trim_end_matches('…');
                assert!(source.contains(&format!("fn {name}")), "{word}, in {row}");
            }
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}

/// The README's lines of shell that talk to the running demo.
fn session() -> String {
    let readme = include_str!("../../README.md");
    let mut session = String::new();
    for block in readme.split("```sh").skip(1) {
        let block = block.split("```").next().unwrap();
        if block.contains("curl") {
            session.push_str(block);
        }
    }
    assert!(
        session.matches("curl").count() >= 6,
        "the session has moved: {session}"
    );
    session
}

fn run(server: &Server, session: &str) -> String {
    let address = server.address.to_string();
    let script = session.replace("127.0.0.1:8080", &address);
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .output();
    let output = output.expect("bash runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{script}");
    String::from_utf8(output.stdout).expect("answers are UTF-8")
}
