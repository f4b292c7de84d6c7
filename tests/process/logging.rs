//! Log lines of the real process: they never delay a sale, never flood, and the last ones are there.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::Instant;
use support::{ADMIN, Client, PATIENCE, Request, Setup, binary, until};

/// A server whose stderr is a pipe that is read up to `listening` and then no more.
struct Undrained {
    child: Child,
    stderr: BufReader<std::io::PipeReader>,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Undrained {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        // One page: as much as the kernel allows, so that it is soon full.
        rustix::pipe::fcntl_setpipe_size(reader.as_fd(), 4_096).unwrap();
        let mut command = binary();
        command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(data.path());
        command.env("HOLDFAST_TELEMETRY__LOG", "trace,h2=trace");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(writer).spawn().unwrap();
        let mut stderr = BufReader::with_capacity(1, reader);
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["event"] == "listening" {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
        };
        Self {
            child,
            stderr,
            address,
            _data: data,
        }
    }

    /// Has the HTTP/2 library say much about pings until lines are dropped.
    fn fill(&self) {
        until("lines are dropped", || {
            ping(self.address, &frame(PING, 0, b"how many"), 200);
            let mut client = Client::connect(self.address);
            let text = client.ask(&Request::get("/metrics").key(ADMIN)).text();
            (metric(&text, "holdfast_log_lines_dropped_total") > 0).then_some(())
        });
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Undrained {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn metric(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(known, _)| *known == name);
    found.expect("the metric is there").1.parse().unwrap()
}

#[test]
fn a_stderr_that_is_not_read_delays_no_sale_and_no_shutdown() {
    let mut server = Undrained::start();
    server.fill();
    for number in 0..20 {
        let buyer = format!("u{number}");
        let key = format!("key-undrained-{number}");
        let bought =
            Client::connect(server.address).ask(&Request::buy(&buyer, "drop-1", "tok_ok", &key));
        assert_eq!(bought.status, 201, "{bought:?}");
    }
    server.terminate();
    let status = until("the server ends", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn dropped_lines_are_counted_and_the_last_lines_are_written() {
    let mut server = Undrained::start();
    server.fill();
    server.terminate();
    let mut text = String::new();
    server.stderr.read_to_string(&mut text).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("no line is torn"))
        .collect();
    let told = lines
        .iter()
        .find(|line| line["event"] == "log_lines_dropped");
    assert!(told.expect("a line tells it")["dropped"].as_u64() > Some(0));
    let mut ours = lines.iter().rev();
    let last = ours.find(|line| !line["event"].as_str().unwrap().starts_with("log_lines_"));
    assert_eq!(last.unwrap()["event"], "stopped");
}

/// A frame of HTTP/2 on stream 0.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

/// Sends `flood` on a connection of its own, `times` times, until the server has read all of it.
fn ping(address: SocketAddr, flood: &[u8], times: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    stream.write_all(&frame(SETTINGS, 0, &[])).unwrap();
    stream.write_all(&flood.repeat(times)).unwrap();
    // Its answer shows that everything before was read.
    stream.write_all(&frame(PING, 0, b"are you?")).unwrap();
    let answered = frame(PING, ACK, b"are you?");
    let mut came = Vec::new();
    while !came.windows(answered.len()).any(|it| it == answered) {
        let mut some = [0; 4_096];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "the connection stays");
        came.extend_from_slice(&some[..count]);
    }
}

#[test]
fn acknowledgements_of_pings_that_nobody_sent_write_no_log() {
    let server = Setup::demo().start();
    ping(server.address, &frame(PING, ACK, b"unasked!"), 20_000);
    let (status, lines) = server.stop();
    assert_eq!(status.code(), Some(0));
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(bytes < 16_384, "{bytes} bytes in {} lines", lines.len());
}

#[test]
fn a_word_that_comes_too_fast_is_left_out_with_its_count() {
    // A library's lines, which the operator asked for.
    let began = Instant::now();
    let log = "[telemetry]\nlog = \"info,h2=debug\"";
    let server = Setup::demo().config(log).start();
    ping(server.address, &frame(PING, ACK, b"unasked!"), 2_000);
    let text = server.ask(&Request::get("/metrics")).text();
    assert!(metric(&text, "holdfast_log_lines_left_out_total") > 1_000);
    let (_, lines) = server.stop();
    let intervals = began.elapsed().as_millis() / 100 + 1;
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words = |word: &str| lines.iter().filter(|line| line["event"] == word).count();
    let told = lines
        .iter()
        .filter(|line| line["event"] == "log_lines_left_out");
    let told: Vec<_> = told.collect();
    let counted: u64 = told
        .iter()
        .map(|line| line["left_out"].as_u64().unwrap())
        .sum();
    assert!(counted > 1_000, "{told:?}");
    for line in &told {
        let most = 100 + usize::try_from(intervals).unwrap();
        assert!(
            (100..=most).contains(&words(line["word"].as_str().unwrap())),
            "{line}"
        );
    }
    // Nothing else is missing.
    assert_eq!(["listening", "stopping", "stopped"].map(words), [1; 3]);
}

#[test]
fn the_reason_of_a_start_that_fails_is_there() {
    let server = Setup::demo().start();
    let ended = Setup::demo().data_dir(&server.data_dir).run();
    let text = String::from_utf8(ended.stderr).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], json!("failed"), "{text}");
}
