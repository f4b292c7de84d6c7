//! The feed by way of its smallest sink, JSON lines: what is in the files, what a crash leaves, how
//! a sink is given up when the disk is nearly full, and one that comes when the log has begun to go.

use holdfast::ids::Lsn;
use holdfast::journal::{Cursor, Generation, Journal, JournalOptions};
use holdfast::report::feed::sink::{
    Batch, Batching, Begins, Class, Convert, Deliver, Delivered, Fed, Kept, PutOff, Sink,
    SinkRecord, Unfit,
};
use holdfast::report::feed::{Backoff, FeedSettings, Mode, OnDiskFull, Sinks};
use holdfast::time::UnixMs;
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::{ADMIN, Request, Server, Setup, binary, until};

fn setup(data_dir: &Path, report: &str) -> Setup {
    Setup::demo().data_dir(data_dir).config(&format!(
        "[storage]\nsegment_bytes = 1_049_088\nsnapshot_every_bytes = 1_099_511_627_776\n\
         [limits.rate]\ncount = 1000\nper_s = 1\n{report}"
    ))
}

fn with_lines(path: &Path, more: &str) -> String {
    let path = path.display();
    format!(
        "[report]\n{more}\n[report.batch]\nwait_ms = 2\n[report.jsonl]\npath = \"{path}\"\nrotate_bytes = 20_000\nkeep = 1000\n"
    )
}

fn sink(server: &Server) -> Value {
    let body = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
    body["sinks"][0].clone()
}

fn status(server: &Server) -> Value {
    server.ask(&Request::get("/admin/status").key(ADMIN)).json()
}

fn post(server: &Server, path: &str) -> Value {
    let answer = server.ask(&Request::post(path).key(ADMIN).json(&json!({})));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn caught_up(server: &Server) {
    let durable = status(server)["durable_lsn"].as_u64().unwrap();
    until("the sink has caught up", || {
        (sink(server)["cursor_lsn"].as_u64()? >= durable).then_some(())
    });
}

/// Holds by many buyers, until the log has so many segments more.
fn fill(server: &Server, segments: u64, name: &str) {
    let count = || status(server)["log"]["segments"].as_u64().unwrap();
    let wanted = count() + segments;
    let mut client = server.connect();
    let mut number = 0;
    while count() < wanted {
        for _ in 0..400 {
            number += 1;
            let (user, key) = (
                format!("user-{}", number % 200),
                format!("{name}-key-{number}"),
            );
            let answer = client.ask(&Request::hold(&user, "drop", 1, &key));
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
}

/// Two snapshots, after which nothing but a sink keeps what is before them.
fn snapshots(server: &Server) {
    for _ in 0..2 {
        post(server, "/admin/snapshot");
    }
}

/// The lines of all files, in their order.
fn lines(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|it| it.unwrap().path())
        .filter(|it| {
            let other = it.file_name().unwrap().to_string_lossy().into_owned();
            other.starts_with(&name) && !other.contains("cursor")
        })
        .collect();
    files.sort_by_key(|it| (it == path, it.clone()));
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let text: String = files.iter().map(read).collect();
    text.lines().map(str::to_owned).collect()
}

/// The lines of `holdfast log`.
pub(crate) fn log_of(data_dir: &Path) -> Vec<String> {
    let printed = binary().arg("log").arg(data_dir).output().unwrap();
    assert!(printed.status.success());
    let text = String::from_utf8(printed.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_lines_are_those_of_holdfast_log_and_what_a_crash_leaves_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, path) = (dir.path().join("data"), dir.path().join("out/events.jsonl"));
    let mut server = setup(&data_dir, &with_lines(&path, "")).start();
    server.put_product("drop", 1_000);
    for number in 0..40 {
        let user = format!("user-{number}");
        let buy = Request::buy(&user, "drop", "tok_ok", &format!("buy-key-{number}"));
        assert_eq!(server.ask(&buy).status, 201);
    }
    caught_up(&server);
    server.kill();
    assert_eq!(lines(&path), log_of(&data_dir));
    assert!(lines(&path).len() > 200);

    // What a crash in the middle of a batch leaves behind the last good line.
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"lsn\":1,\"twice\":true}\n{\"torn")
        .unwrap();
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    server.put_product("other", 5);
    caught_up(&server);
    assert!(server.stop().0.success());
    assert_eq!(lines(&path), log_of(&data_dir));

    // Lines that nothing accounts for are not written over.
    std::fs::remove_file(path.with_file_name("events.jsonl.cursor")).unwrap();
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    let failure = until("it says what is wrong", || {
        sink(&server)["failure"].as_str().map(str::to_owned)
    });
    assert!(failure.contains("move them away"), "{failure}");
    assert_eq!(sink(&server)["up"], false);
}

#[test]
fn rotated_lines_that_nothing_accounts_for_are_not_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, path) = (dir.path().join("data"), dir.path().join("out/events.jsonl"));
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    let is_empty = || std::fs::metadata(&path).is_ok_and(|it| it.len() == 0);
    let mut rotated = (0..1_000).map(|number| {
        server.put_product(&format!("drop-{number}"), 5);
        caught_up(&server);
        is_empty()
    });
    assert!(rotated.any(|is_rotated| is_rotated), "no file was filled");
    assert!(server.stop().0.success());
    let before = lines(&path);
    assert_eq!(before, log_of(&data_dir));
    assert!(is_empty());

    std::fs::remove_file(path.with_file_name("events.jsonl.cursor")).unwrap();
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    let failure = until("it says what is wrong", || {
        sink(&server)["failure"].as_str().map(str::to_owned)
    });
    assert!(failure.contains("move them away"), "{failure}");
    assert_eq!(lines(&path), before);
}

#[test]
fn a_paused_sink_stays_paused_over_a_restart_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, path) = (dir.path().join("data"), dir.path().join("events.jsonl"));
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    caught_up(&server);
    assert_eq!(post(&server, "/admin/sinks/jsonl/pause")["mode"], "paused");
    server.put_product("drop", 1_000_000);
    fill(&server, 2, "one");
    snapshots(&server);
    assert!(server.stop().0.success());
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    fill(&server, 1, "two");
    snapshots(&server);
    assert_eq!(
        (&sink(&server)["mode"], &status(&server)["first_lsn"]),
        (&json!("paused"), &json!(0))
    );
    post(&server, "/admin/sinks/jsonl/resume");
    caught_up(&server);
    until("the log behind it goes", || {
        (status(&server)["first_lsn"].as_u64()? > 0).then_some(())
    });
    assert_eq!(sink(&server)["gaps"], json!([]));
    assert!(server.stop().0.success());
    let (all, left) = (lines(&path), log_of(&data_dir));
    assert!(all.ends_with(&left) && all.len() > left.len());
    let mut places: Vec<u64> = all
        .iter()
        .map(|it| {
            serde_json::from_str::<Value>(it).unwrap()["lsn"]
                .as_u64()
                .unwrap()
        })
        .collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(
        (places.len(), places[0]),
        (count, 0),
        "from the beginning, each once"
    );
}

#[test]
fn with_the_disk_nearly_full_the_named_sink_is_given_up_and_sales_continue() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, path) = (dir.path().join("data"), dir.path().join("events.jsonl"));
    // As if no disk were large enough.
    let full = "on_disk_full = { give_up = [\"jsonl\", \"webhooks_away\"] }\n\
                give_up_below_bytes = 1_125_899_906_842_624";
    let away = "[[report.webhooks]]\nname = \"away\"\nurl = \"http://127.0.0.1:9/\"\nallow_private = true\n\
                secret = \"whsec_CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=\"\n";
    let server = setup(&data_dir, &(with_lines(&path, full) + away)).start();
    caught_up(&server);
    assert_eq!(
        sink(&server)["mode"],
        "run",
        "one that keeps up holds nothing back"
    );
    for name in ["jsonl", "webhooks_away"] {
        post(&server, &format!("/admin/sinks/{name}/pause"));
    }
    let held_at = sink(&server)["cursor_lsn"].as_u64().unwrap();
    server.put_product("drop", 1_000_000);
    fill(&server, 3, "one");
    let told = server.log.wait_for("sink_given_up").unwrap();
    assert_eq!(
        (&told["level"], &told["sink"]),
        (&json!("error"), &json!("jsonl"))
    );
    assert_eq!(sink(&server)["mode"], "given_up");
    until("the next one follows, since the disk is still full", || {
        let sinks = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
        (sinks["sinks"][1]["mode"] == "given_up").then_some(())
    });
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    assert!(
        metrics.contains("holdfast_sink_given_up{sink=\"jsonl\"} 1"),
        "{metrics}"
    );
    snapshots(&server);
    let first = status(&server)["first_lsn"].as_u64().unwrap();
    assert!(first > held_at, "the log is no longer kept for it");
    // Less than a segment: further behind, it would be given up again before it has caught up.
    let mut client = server.connect();
    for number in 0..50 {
        let key = format!("two-key-{number}");
        let answer = client.ask(&Request::hold("user-two", "drop", 1, &key));
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    post(&server, "/admin/sinks/jsonl/resume");
    let told = server.log.wait_for("sink_gap").unwrap();
    assert_eq!(
        (&told["level"], &told["from_lsn"], &told["to_lsn"]),
        (&json!("error"), &json!(held_at), &json!(first))
    );
    caught_up(&server);
    assert_eq!(
        sink(&server)["gaps"],
        json!([{"from_lsn": held_at, "to_lsn": first}])
    );
    assert!(server.stop().0.success());
    assert!(lines(&path).ends_with(&log_of(&data_dir)));
}

#[test]
fn a_sink_added_later_starts_at_the_beginning_of_the_log_and_reports_the_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, path) = (dir.path().join("data"), dir.path().join("events.jsonl"));
    let server = setup(&data_dir, "").start();
    server.put_product("drop", 1_000_000);
    fill(&server, 2, "one");
    snapshots(&server);
    let first = status(&server)["first_lsn"].as_u64().unwrap();
    assert!(first > 0, "nobody keeps it");
    assert!(server.stop().0.success());
    let server = setup(&data_dir, &with_lines(&path, "")).start();
    let told = server.log.wait_for("sink_gap").unwrap();
    assert_eq!(
        (&told["from_lsn"], &told["to_lsn"]),
        (&json!(0), &json!(first))
    );
    caught_up(&server);
    assert!(server.stop().0.success());
    assert_eq!(lines(&path), log_of(&data_dir));
}

#[test]
fn only_a_sink_that_is_set_up_can_be_named_to_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(
        dir.path(),
        "[report]\non_disk_full = { give_up = \"postgres\" }\n",
    );
    let ended = setup.run();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("report.on_disk_full"), "{told}");
}

/// A sink that looks a name up which no server answers.
struct Unanswered {
    asked: mpsc::Sender<()>,
    answer: Arc<Mutex<mpsc::Receiver<()>>>,
}

struct Nothing;

impl Convert for Nothing {
    type Item = ();

    fn convert(&mut self, _: &Fed) -> Result<Option<()>, Unfit> {
        Ok(None)
    }

    fn bytes((): &()) -> usize {
        0
    }
}

impl Deliver for Unanswered {
    type Item = ();
    type Error = io::Error;

    async fn open(&mut self, _: u64, _: Generation) -> io::Result<Option<Cursor>> {
        let (asked, answer) = (self.asked.clone(), Arc::clone(&self.answer));
        let looking_up = tokio::task::spawn_blocking(move || {
            asked.send(()).unwrap();
            let _ = answer.lock().unwrap().recv();
        });
        looking_up.await.unwrap();
        Ok(None)
    }

    async fn deliver(&mut self, _: Batch<'_, ()>) -> io::Result<Delivered> {
        Ok(Delivered::default())
    }

    async fn newest(&mut self, _: Lsn, _: Lsn) -> io::Result<Option<SinkRecord>> {
        Ok(None)
    }

    async fn take_back(&mut self, _: &Cursor, _: &Cursor) -> io::Result<u64> {
        Ok(0)
    }

    fn classify(_: &io::Error) -> Class {
        Class::Retriable
    }
}

fn feed_settings(data_dir: &Path, on_disk_full: OnDiskFull) -> FeedSettings {
    FeedSettings {
        data_dir: data_dir.to_owned(),
        backoff: Backoff::new(10, 100),
        deliver_timeout: Duration::from_mins(1),
        dead_letters_bytes_max: 1 << 20,
        on_disk_full,
        // As if no disk were large enough.
        give_up_below_bytes: 1 << 50,
        segment_bytes: 1,
    }
}

fn sink_of<D>(name: &'static str, deliver: D, begins: Begins) -> Sink<Nothing, D> {
    let batching = Batching {
        events_max: 1,
        bytes_max: 1,
        wait_ms: 1,
    };
    Sink {
        name,
        convert: Nothing,
        deliver,
        cursor: Kept::InFile,
        begins,
        batching,
    }
}

#[test]
fn a_stop_waits_for_no_look_up_of_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions::new(dir.path()), &mut |_| {}).unwrap();
    let settings = feed_settings(dir.path(), OnDiskFull::RefuseSales);
    let sinks = Sinks::new(Arc::clone(&journal), settings).unwrap();
    let (asked, is_asked) = mpsc::channel();
    let (answers, answer) = mpsc::channel::<()>();
    let unanswered = Unanswered {
        asked,
        answer: Arc::new(Mutex::new(answer)),
    };
    let sink = sink_of("unanswered", unanswered, Begins::AtTheEnd);
    sinks.start(sink).unwrap();
    is_asked.recv().unwrap();
    let (stopped, is_stopped) = mpsc::channel();
    thread::spawn(move || {
        sinks.stop();
        stopped.send(()).unwrap();
    });
    let ended = is_stopped.recv_timeout(Duration::from_secs(30));
    drop(answers);
    ended.expect("the sinks stop while the look-up goes on");
    journal.close();
}

/// A sink with a delivery that it has put off since the first event.
struct PuttingOff;

impl Deliver for PuttingOff {
    type Item = ();
    type Error = io::Error;

    async fn open(&mut self, _: u64, _: Generation) -> io::Result<Option<Cursor>> {
        Ok(None)
    }

    async fn deliver(&mut self, _: Batch<'_, ()>) -> io::Result<Delivered> {
        Ok(Delivered::default())
    }

    fn put_off(&mut self) -> PutOff {
        PutOff {
            oldest: Some((Lsn(0), UnixMs::new(1))),
            ..PutOff::default()
        }
    }

    async fn newest(&mut self, _: Lsn, _: Lsn) -> io::Result<Option<SinkRecord>> {
        Ok(None)
    }

    async fn take_back(&mut self, _: &Cursor, _: &Cursor) -> io::Result<u64> {
        Ok(0)
    }

    fn classify(_: &io::Error) -> Class {
        Class::Retriable
    }
}

#[test]
fn with_the_disk_nearly_full_a_sink_that_only_put_a_delivery_off_is_not_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions::new(dir.path()), &mut |_| {}).unwrap();
    let begun = journal.upkeep().snapshot().unwrap();
    assert!(
        begun.lsn > Lsn(0),
        "the log has something that is kept for a sink"
    );
    let names = ["putting_off", "behind"].map(str::to_owned).to_vec();
    let settings = feed_settings(dir.path(), OnDiskFull::GiveUp(names));
    let sinks = Sinks::new(Arc::clone(&journal), settings).unwrap();
    let current = sink_of("putting_off", PuttingOff, Begins::AtTheEnd);
    sinks.start(current).unwrap();
    until("operators see the delivery that waits", || {
        (sinks.status()[0].cursor == Lsn(0)).then_some(())
    });
    let (asked, _is_asked) = mpsc::channel();
    let (answers, answer) = mpsc::channel::<()>();
    let unanswered = Unanswered {
        asked,
        answer: Arc::new(Mutex::new(answer)),
    };
    let behind = sink_of("behind", unanswered, Begins::AtTheBeginning);
    sinks.start(behind).unwrap();
    // The first of the two that keeps a part of the log goes.
    let given_up = until("one of them is given up", || {
        let status = sinks.status();
        let given_up = status.iter().find(|it| it.mode == Mode::GivenUp);
        given_up.map(|it| it.name)
    });
    assert_eq!(given_up, "behind");
    assert_eq!(sinks.status()[0].mode, Mode::Run);
    drop(answers);
    sinks.stop();
    journal.close();
}
