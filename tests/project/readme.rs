//! What documents say holds: the README's session with `curl` works as printed, against the real
//! binary; the tests that docs/reliability.md and CONTRIBUTING.md name are there, and so are the
//! paths that CONTRIBUTING.md, docs/architecture.md and the decisions name; links lead somewhere.

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

/// What a document names in backquotes or as a link, and means as a path of this repository.
fn paths_in(text: &str, base: &str) -> Vec<String> {
    const ROOTS: [&str; 9] = [
        "src/",
        "wal/",
        "tests/",
        "docs/",
        "loadtest/",
        "fuzz/",
        "benches/",
        "rules/",
        ".ci/",
    ];
    let quoted = text.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|word| {
        let is_path = !word.contains([' ', '{', '…', '*']) && !word.contains("::");
        is_path && ROOTS.iter().any(|root| word.starts_with(root))
    });
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|it| it.split(')').next());
    let links = links.filter(|it| !it.starts_with("http") && !it.starts_with('#'));
    let links = links.map(|it| format!("{base}{}", it.split('#').next().unwrap()));
    quoted.map(str::to_owned).chain(links).collect()
}

#[test]
fn every_path_and_test_that_documents_for_contributors_name_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![
        (String::new(), "CONTRIBUTING.md".to_owned()),
        (String::new(), "SECURITY.md".to_owned()),
        ("docs/".to_owned(), "docs/architecture.md".to_owned()),
        ("docs/".to_owned(), "docs/glossary.md".to_owned()),
    ];
    for entry in std::fs::read_dir(root.join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        documents.push((
            "docs/decisions/".to_owned(),
            format!("docs/decisions/{name}"),
        ));
    }
    let (mut named, mut missing) = (0, Vec::new());
    for (base, document) in documents {
        let text = std::fs::read_to_string(root.join(&document)).unwrap();
        for path in paths_in(&text, &base) {
            named += 1;
            // A folder of the code map is named as its module is.
            let there = [path.clone(), format!("{path}.rs")];
            if !there.iter().any(|it| root.join(it).exists()) {
                missing.push(format!("{document}: {path}"));
            }
        }
        for call in text.split("./dev test ").skip(1) {
            let word = call.split(['`', ' ', '\n']).next().unwrap();
            let at = root.join("tests").join(word.replace("::", "/"));
            let is_test = at.is_dir() || at.with_extension("rs").exists();
            let is_word = word
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || "_:".contains(it));
            if !word.is_empty() && is_word && !is_test {
                missing.push(format!("{document}: ./dev test {word}"));
            }
        }
    }
    assert!(named > 60, "{named}");
    assert!(
        missing.is_empty(),
        "named, but not there:\n{}",
        missing.join("\n")
    );
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

/// The words of a heading as its link has them.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|it| match it {
        ' ' => Some('-'),
        '-' | '_' => Some(it),
        _ if it.is_alphanumeric() => Some(it.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

#[test]
fn every_document_is_in_the_table_of_contents_and_every_link_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let contents = include_str!("../../docs/README.md");
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_listed = contents.contains(&format!("({name})"));
        let is_listed = is_listed || path.is_dir() || name == "README.md";
        assert!(is_listed, "docs/README.md does not name {name}");
        documents.extend(
            path.extension()
                .is_some_and(|it| it == "md")
                .then_some(path.clone()),
        );
    }
    let mut broken = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1);
        for link in links.filter_map(|it| it.split(')').next()) {
            if link.starts_with("http") || link.contains(' ') {
                continue;
            }
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.clone(),
                _ => document.parent().unwrap().join(file),
            };
            let Ok(there) = std::fs::read_to_string(&target) else {
                // A folder or a picture.
                if !target.exists() {
                    broken.push(format!("{}: {link}", document.display()));
                }
                continue;
            };
            let headings = there.lines().filter_map(|it| it.strip_prefix('#'));
            let mut anchors = headings.map(|it| anchor(it.trim_start_matches('#').trim()));
            if !part.is_empty() && !anchors.any(|it| it == part) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
