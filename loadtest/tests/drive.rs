//! The generator against the yardstick servers, as a user runs it: every count adds up, in both
//! loops.
//!
//! The servers end with the test, whatever happens: their stdin is a pipe held here.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_loadtest");

struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Started on a port of its own choice: one picked here could be somebody else's by the time it binds.
    fn start(command: &str, more: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args([command, "--until-stdin-closes", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        let address = said
            .trim_end()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{command} did not come up: {said:?}"));
        Self {
            child,
            url: format!("http://{address}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn loadtest(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).output().unwrap()
}

fn drive(server: &Server, dir: &Path, pace: &[&str]) -> Value {
    let json = dir.join("figures.json");
    let svg = dir.join("latency.svg");
    let mut args = vec![
        "drive",
        "--url",
        &server.url,
        "--product",
        "p",
        "--flow",
        "mixed",
    ];
    args.extend(["--warmup", "0.2", "--duration", "0.8"]);
    args.extend([
        "--json",
        json.to_str().unwrap(),
        "--svg",
        svg.to_str().unwrap(),
    ]);
    args.extend(pace);
    let output = loadtest(&args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plot = std::fs::read_to_string(svg).unwrap();
    roxmltree::Document::parse(&plot).expect("a well-formed plot");
    serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap()
}

fn adds_up(figures: &Value) -> u64 {
    let count = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!(
        count("scheduled"),
        count("sent") + count("shed"),
        "{figures}"
    );
    assert_eq!(count("sent"), count("done") + count("errors"), "{figures}");
    let outcomes = figures["outcomes"].as_object().unwrap();
    let kinds: u64 = outcomes.values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(kinds, count("done") + count("errors"), "{figures}");
    count("done")
}

#[test]
fn a_closed_loop_counts_every_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("serve-ceiling", &[]);
    let figures = drive(
        &server,
        dir.path(),
        &["--closed", "--connections", "9", "--threads", "2"],
    );
    assert!(adds_up(&figures) > 100, "{figures}");
    assert_eq!(figures["errors"], 0);
    assert!(figures["outcomes"]["201"].as_u64() > figures["outcomes"]["200"].as_u64());
}

#[test]
fn an_open_loop_schedules_exactly_its_rate() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("serve-ceiling", &[]);
    let figures = drive(
        &server,
        dir.path(),
        &["--rate", "2000", "--connections", "16"],
    );
    adds_up(&figures);
    // The schedule does not depend on the server: 2,000/s for 0.8 s, however fast it answers.
    let scheduled = figures["scheduled"].as_u64().unwrap();
    assert!((1_599..=1_601).contains(&scheduled), "{figures}");
}

#[test]
fn a_durable_yardstick_is_driven_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("serve-bare", &["--dir", dir.path().to_str().unwrap()]);
    let figures = drive(&server, dir.path(), &["--closed", "--connections", "4"]);
    adds_up(&figures);
    // Reads are not its business: it refuses them, and the generator says so.
    assert!(figures["outcomes"]["201"].as_u64() > Some(0), "{figures}");
    assert!(
        figures["outcomes"]["400 invalid_request"].as_u64() > Some(0),
        "{figures}"
    );
}

#[test]
fn an_unreachable_server_is_reported_in_one_sentence() {
    let output = loadtest(&[
        "drive",
        "--url",
        "http://127.0.0.1:1",
        "--closed",
        "--product",
        "p",
    ]);
    assert_eq!(output.status.code(), Some(3), "it could not be run");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("hold, closed loop") && said.contains("connect to 127.0.0.1:1"),
        "{said}"
    );
}

#[test]
fn wrong_usage_has_its_own_exit_status() {
    let output = loadtest(&["drive", "--product", "p"]);
    assert_eq!(output.status.code(), Some(2), "neither --rate nor --closed");
    let output = loadtest(&["drive", "--product", "p", "--rate", "1", "--closed"]);
    assert_eq!(output.status.code(), Some(2), "both");
}
