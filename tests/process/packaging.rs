//! `packaging/`: the package's configuration is valid and sells, the unit names what is there, and
//! docs/install.md's commands for completions and manual pages work.

use std::path::Path;
use std::process::Command;
use support::{Request, Setup, binary};

const CONFIG: &str = include_str!("../../packaging/holdfast.toml");
const UNIT: &str = include_str!("../../packaging/holdfast.service");

/// The package's configuration with its files below `root`, and the secrets that its installation
/// makes.
fn installed_below(root: &Path) -> String {
    let below = root.display();
    for name in ["shop-key", "admin-key", "receipt-key"] {
        std::fs::write(root.join(name), format!("{name}-0123456789abcdef01234567")).unwrap();
    }
    CONFIG
        .replace("/etc/holdfast", &below.to_string())
        .replace("/var/lib/holdfast", &format!("{below}/data"))
}

#[test]
fn the_configuration_of_the_package_is_valid_and_starts() {
    let root = tempfile::tempdir().unwrap();
    let config = installed_below(root.path()).replace(":8080", ":0");
    let server = Setup::plain().config(&config).start();
    let key = "admin-key-0123456789abcdef01234567";
    let shown = server.ask(&Request::get("/admin/config").key(key)).json();
    assert_eq!(shown["server.leave_s"], 5, "{shown}");
    assert_eq!(shown["payments.gateway"], "sandbox", "{shown}");
}

#[test]
fn the_unit_runs_commands_of_the_binary_on_the_files_of_the_package() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("holdfast.toml");
    std::fs::write(&file, installed_below(root.path())).unwrap();
    let mut commands = 0;
    for line in UNIT.lines().filter(|line| line.starts_with("ExecStart")) {
        let (_, command) = line.split_once("=/usr/bin/holdfast ").unwrap();
        assert!(
            command.contains("--config /etc/holdfast/holdfast.toml"),
            "{line}"
        );
        if command.starts_with("config check") {
            let ended = binary()
                .args(["config", "check", "--config"])
                .arg(&file)
                .output();
            let ended = ended.unwrap();
            assert!(ended.status.success(), "{ended:?}");
        } else {
            let wanted = ["serve", "--data-dir /var/lib/holdfast"];
            assert!(wanted.iter().all(|it| command.contains(it)), "{line}");
        }
        commands += 1;
    }
    assert_eq!(commands, 2);
    for line in ["Type=notify", "StateDirectory=holdfast", "WatchdogSec=30s"] {
        assert!(UNIT.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn the_commands_for_completions_and_manual_pages_work_as_printed() {
    let document = include_str!("../../docs/install.md");
    let block = document.split("```sh").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let script = format!(
        "holdfast() {{ '{}' \"$@\"; }}\n{block}",
        binary().get_program().display()
    );
    let mut bash = Command::new("bash");
    let output = bash
        .args(["-euc", &script])
        .current_dir(&scratch)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for made in [
        "holdfast.bash",
        "_holdfast",
        "holdfast.fish",
        "man1/holdfast-serve.1",
    ] {
        let length = std::fs::metadata(scratch.path().join(made)).unwrap().len();
        assert!(length > 100, "{made}");
    }
}
