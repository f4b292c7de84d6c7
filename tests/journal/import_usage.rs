//! `holdfast import redis` with a mapping or a URL that is wrong: one sentence, which repeats no
//! value.

use support::binary;

/// How it ends with this mapping and this URL, and what it says.
fn import(mapping: &str, url: &str) -> (Option<i32>, String) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("mapping.toml");
    std::fs::write(&path, mapping).unwrap();
    let mut command = binary();
    command.args(["import", "redis", "--demo", "--url", url]);
    command.arg("--mapping").arg(&path);
    command.arg("--data-dir").arg(scratch.path().join("data"));
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("hunter2"), "a value is shown: {said}");
    (output.status.code(), said)
}

#[test]
fn a_mapping_that_is_wrong_is_said_in_one_sentence_with_its_place() {
    for (mapping, words) in [
        (
            "key_owner = \"hunter2",
            "line 1, column 21: this is not TOML",
        ),
        (
            "[stock]\nskip = \"hunter2\"",
            "line 2, column 8: the value does not fit its key",
        ),
        (
            "[stock]\ntype = \"hunter2\"",
            "line 2, column 8: the value does not fit its key",
        ),
        (
            "stock = \"hunter2\"",
            "line 1, column 9: the value does not fit its key",
        ),
        (
            "[stocks]\npattern = \"hunter2\"",
            "line 1, column 2: unknown field `stocks`",
        ),
        (
            "[nonces]\npattern = \"{nonce}:{hunter2}\"",
            "[nonces]: pattern or field has a name",
        ),
        (
            "[nonces]\npattern = \"hunter2{nonce\"",
            "[nonces]: a pattern has an unclosed brace",
        ),
        (
            "[stock]\npattern = \"hunter2\"",
            "[stock]: {product_id} must occur exactly once",
        ),
    ] {
        let (status, said) = import(mapping, "redis://127.0.0.1:1/0");
        assert_eq!(status, Some(1), "{mapping}: {said}");
        assert!(
            said.contains(words) && said.contains("mapping.toml"),
            "{mapping}: {said}"
        );
    }
}

#[test]
fn an_invalid_url_is_a_bad_argument() {
    for url in [
        "hunter2",
        "",
        "http://:hunter2@127.0.0.1/",
        "redis://:hunter2@127.0.0.1:port/",
        "redis://:hunter2@127.0.0.1/database",
    ] {
        let (status, said) = import("", url);
        assert_eq!(status, Some(2), "{url}: {said}");
        assert!(
            said.contains("--url must have the form redis://"),
            "{url}: {said}"
        );
    }
    let (status, said) = import("", "redis://:hunter2@127.0.0.1:1/0");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("cannot connect to Redis at --url"), "{said}");
}
