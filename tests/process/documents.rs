//! The commands of documents for operators work as printed, in their order, on what the package
//! installs: its configuration, keys and directories, below a directory of the test's own.

use std::path::Path;
use std::process::Command;
use support::binary;

/// What an installed machine has, as functions of the shell: `systemctl` starts and stops the real
/// program, `curl` finds it where it listens and ends with an error for an answer that is one.
const MACHINE: &str = r#"
holdfast() { "$HOLDFAST" "${@//127.0.0.1:8080/$(cat "$ROOT/address")}"; }
echo 127.0.0.1:8080 >"$ROOT/address"
sudo() { "$@"; }
chown() { :; }
timedatectl() { :; }
curl() {
    command curl --fail-with-body --show-error "${@//127.0.0.1:8080/$(cat "$ROOT/address")}"
    echo
}
systemctl() {
    case "$1" in
    start)
        # Before the program does: what the one before logged must not be found.
        : >"$ROOT/log"
        # Not by the function: that would be a process between, and this one's end not its.
        "$HOLDFAST" serve --config "$ROOT/holdfast.toml" >"$ROOT/out" 2>"$ROOT/log" &
        pid=$!
        until grep -q '"event":"listening"' "$ROOT/log"; do
            kill -0 "$pid" || { cat "$ROOT/log" >&2; return 1; }
        done
        sed -n 's/.*"event":"listening".*"address":"\([^"]*\)".*/\1/p' "$ROOT/log" >"$ROOT/address"
        ;;
    stop)
        kill -TERM "$pid"
        wait "$pid"
        ;;
    esac
}
trap 'kill "$pid" || true' EXIT
systemctl start holdfast
"#;

/// The blocks of shell of a document, in their order, on paths below `root`.
fn session(document: &str, root: &Path) -> String {
    let blocks = document.split("```sh\n").skip(1);
    let blocks = blocks.map(|it| it.split("```").next().unwrap());
    let (session, root) = (blocks.collect::<String>(), root.display());
    assert!(!session.is_empty(), "the document has commands");
    session
        .replace("/etc/holdfast", &root.to_string())
        .replace("/var/lib/holdfast", &format!("{root}/data"))
        .replace("/var/backups", &format!("{root}/backups"))
}

/// Runs a document's commands, and looks for these words in what they print, in this order.
fn check(document: &str, words: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let config = include_str!("../../packaging/holdfast.toml")
        .replace("/etc/holdfast", &root.path().display().to_string())
        .replace(
            "/var/lib/holdfast",
            &format!("{}/data", root.path().display()),
        )
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("leave_s = 5 ", "leave_s = 0 ");
    std::fs::write(root.path().join("holdfast.toml"), config).unwrap();
    for name in ["shop-key", "admin-key", "receipt-key"] {
        let key = format!("{name}-0123456789abcdef01234567");
        std::fs::write(root.path().join(name), key).unwrap();
    }
    let script = format!("{MACHINE}\n{}", session(document, root.path()));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("HOLDFAST", binary().get_program())
        .env("ROOT", root.path())
        .current_dir(&root)
        .output()
        .expect("bash runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{told}\n{script}");
    let mut rest = &*told;
    for word in words {
        let at = rest.find(word);
        let at = at.unwrap_or_else(|| panic!("`{word}` does not follow in\n{told}\n{stderr}"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn a_drop_goes_by_its_checklist() {
    let words = [
        "\"status\":\"upcoming\"",
        "the configuration is valid",
        "\"ready\"",
        "\"conservation\"",
        "\"sinks\"",
        "0 differences",
        "\"active\":false",
        "\"total\":110",
        "\"conservation\"",
        "0 differences",
        "\"reviews\"",
        "\"dead_letters\"",
    ];
    check(include_str!("../../docs/drop-day.md"), &words);
}

#[test]
fn an_upgrade_and_a_rollback_go_as_written() {
    let words = [
        "the configuration is valid",
        "\"good\":true",
        "\"ready\"",
        "\"digest\"",
        "\"ready\"",
    ];
    check(include_str!("../../docs/upgrade.md"), &words);
}

#[test]
fn what_a_machine_uses_is_measured_as_written() {
    let words = [
        "holdfast_log_durable_lsn",
        "process_resident_memory_bytes",
        "\"conservation\"",
    ];
    check(include_str!("../../docs/sizing.md"), &words);
    check(
        include_str!("../../docs/is-this-for-me.md"),
        &["\"products\""],
    );
}

#[test]
fn the_links_of_alerts_are_made_absolute_as_written() {
    let scratch = tempfile::tempdir().unwrap();
    let rules = scratch.path().join("holdfast.rules.yml");
    std::fs::write(&rules, include_str!("../../alerts/holdfast.rules.yml")).unwrap();
    let script = session(include_str!("../../docs/alerts.md"), scratch.path());
    let ended = Command::new("bash")
        .args(["-euc", &script])
        .current_dir(&scratch)
        .status();
    assert!(ended.unwrap().success(), "{script}");
    let linked = std::fs::read_to_string(rules).unwrap();
    let mut links = 0;
    for line in linked.lines().filter(|it| it.contains("runbook_url: ")) {
        assert!(line.contains("runbook_url: https://"), "{line}");
        links += 1;
    }
    assert!(links > 10, "{links}");
}
