//! `serve --demo` on a terminal: what is on sale, the demo's keys, and a first `curl` that works as
//! printed. The terminal is a pseudo terminal of `script`, stopped with Ctrl-C as a person does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use support::{PATIENCE, Setup, binary, until};

/// The demo on a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<String>,
    scratch: tempfile::TempDir,
}

impl Terminal {
    fn start(config: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("holdfast.toml");
        std::fs::write(&file, config).unwrap();
        let serve = format!(
            "'{}' serve --demo --listen 127.0.0.1:0 --config '{}' --data-dir '{}'",
            binary().get_program().display(),
            file.display(),
            scratch.path().join("data").display(),
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &serve]);
        command.arg("/dev/null").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script of util-linux is installed");
        let (shown, screen) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            let _ = lines
                .map_while(Result::ok)
                .try_for_each(|line| shown.send(line));
        });
        Self {
            keyboard: child.stdin.take().unwrap(),
            screen,
            child,
            scratch,
        }
    }

    /// What is on the screen up to the line with `word`.
    fn read_to(&mut self, word: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(word) {
            let Ok(line) = self.screen.recv_timeout(PATIENCE) else {
                panic!("no `{word}` on the screen:\n{seen}");
            };
            seen.push_str(&line);
            seen.push('\n');
        }
        seen
    }

    fn control_c(&mut self) {
        let _ = self.keyboard.write_all(b"\x03");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.control_c();
        until("the demo ends", || self.child.try_wait().unwrap());
    }
}

fn run(command: &str) -> String {
    let output = Command::new("bash").args(["-euc", command]).output();
    let output = output.expect("bash runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn command_on(screen: &str) -> &str {
    let mut lines = screen.lines().map(str::trim);
    lines.find(|line| line.starts_with("curl ")).unwrap()
}

#[test]
fn the_demo_says_on_a_terminal_what_is_on_sale_its_keys_and_a_first_curl_that_works() {
    let mut terminal = Terminal::start("");
    let screen = terminal.read_to("Ctrl-C");
    for word in [
        "drop-1",
        "\"Demo drop\"",
        "100 of 100 left",
        "2 per buyer",
        "19.99 USD",
        "demo-shop-key",
        "demo-admin-key",
        "DEMO10",
        "/console (sign in with the admin key)",
    ] {
        assert!(screen.contains(word), "no `{word}` in\n{screen}");
    }
    let console = screen
        .split_whitespace()
        .find(|it| it.ends_with("/console"));
    let page = run(&format!("curl -s {}", console.unwrap()));
    assert!(page.starts_with("<!doctype html>"), "{page}");
    let first = run(command_on(&screen));
    assert!(first.contains("\"status\":\"captured\""), "{first}");
    assert_eq!(
        first,
        run(command_on(&screen)),
        "the same key, the same purchase"
    );
    terminal.control_c();
    terminal.read_to("everything acknowledged is on disk");
    assert!(terminal.scratch.path().join("data/log").is_dir());
}

#[test]
fn keys_of_the_configuration_are_not_shown() {
    let key = |name: &str, secret: &str| {
        format!("[[auth.keys]]\nname = \"{name}\"\nrole = \"{name}\"\nkey = \"{secret}\"\n")
    };
    let own = key("shop", "own-key-of-the-shop") + &key("admin", "own-key-of-the-admin");
    let mut terminal = Terminal::start(&own);
    let screen = terminal.read_to("Ctrl-C");
    assert!(!screen.contains("own-key"), "{screen}");
    assert!(!screen.contains("demo-shop-key"), "{screen}");
    let bought = run(&format!(
        "export SHOP_KEY=own-key-of-the-shop; {}",
        command_on(&screen)
    ));
    assert!(bought.contains("\"status\":\"captured\""), "{bought}");
}

#[test]
fn where_stderr_is_no_terminal_there_are_log_lines_only() {
    let server = Setup::demo().start();
    let (_, lines) = server.stop();
    for line in lines {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
        assert!(parsed.is_ok(), "{line}");
    }
}

#[test]
fn a_demo_listens_beyond_the_machine_only_by_an_order_of_its_own_and_says_what_it_opens() {
    let config = "[server]\nadmin_listen = \"127.0.0.1:0\"\n";
    let ordered = |flags: &[&str]| {
        let setup = Setup::demo().config(config);
        flags.iter().fold(setup, |setup, flag| setup.flag(flag))
    };
    let server = ordered(&["--demo-listen", "0.0.0.0:0"]).start();
    let warned = server.log.wait_for("demo_open").unwrap();
    assert_eq!(warned["key"], "server.listen", "{warned}");
    assert!(
        warned["message"].as_str().unwrap().contains("public keys"),
        "{warned}"
    );
    drop(server);

    let (_, log) = ordered(&["--listen", "0.0.0.0:0"]).refused();
    assert!(log.join("\n").contains("--demo-listen"), "{log:?}");
    for flags in [
        &["serve", "--demo-listen", "0.0.0.0:0"][..],
        &[
            "serve",
            "--demo",
            "--listen",
            "127.0.0.1:0",
            "--demo-listen",
            "0.0.0.0:0",
        ],
    ] {
        let ended = binary().args(flags).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{flags:?}");
    }
}
