//! `holdfast reconcile`: a ledger of the gateway's tampered with in each way, for a stopped
//! directory and in a running core, and a healthy core under load in which nothing differs.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::money::reconciled;
use support::{ADMIN, Request, SHOP, Server, Setup, binary, until};

/// A stopped data directory: ana, bo and dee bought, cy was declined, eve's payment was voided.
struct Stopped {
    _scratch: tempfile::TempDir,
    dir: PathBuf,
    purchases: BTreeMap<&'static str, String>,
}

/// Lines of the gateway's ledger, without their checksums.
type Lines = Vec<String>;

/// A change of them.
type Tamper<'a> = Box<dyn FnOnce(&mut Lines) + 'a>;

/// The difference's kind, its reference, and what of the gateway's side it has to show.
type Wanted<'a> = Option<(&'a str, &'a str, Value)>;

impl Stopped {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("data");
        let small = "[storage]\nsegment_bytes = 2097152";
        let server = Setup::demo().config(small).data_dir(&dir).start();
        let mut purchases = BTreeMap::new();
        for (user, card) in [
            ("ana", "tok_ok"),
            ("bo", "tok_ok"),
            ("cy", "tok_declined"),
            ("dee", "tok_ok"),
            ("eve", "tok_capture_refused"),
        ] {
            let _ = server.ask(&Request::buy(
                user,
                "drop-1",
                card,
                &format!("key-of-{user}"),
            ));
            let path = format!("/admin/audit?kind=hold_placed&user_id={user}&limit=1");
            let page = server.ask(&Request::get(&path).key(ADMIN)).json();
            let id = page["events"][0]["purchase_id"]
                .as_str()
                .unwrap()
                .to_owned();
            let path = format!("/limited/purchases/{id}");
            until("the payment has ended", || {
                let purchase = server.ask(&Request::get(&path).key(SHOP)).json();
                let status = purchase["status"].as_str().unwrap().to_owned();
                ["captured", "declined", "voided"]
                    .contains(&status.as_str())
                    .then_some(())
            });
            purchases.insert(user, id);
        }
        let (status, log) = server.stop();
        assert!(status.success(), "{log:?}");
        Self {
            _scratch: scratch,
            dir,
            purchases,
        }
    }

    fn lines(&self) -> Lines {
        let text = std::fs::read_to_string(ledger(&self.dir)).unwrap();
        text.lines()
            .skip(1)
            .map(|line| line[9..].to_owned())
            .collect()
    }

    /// The reference that the gateway knows a buyer's payment by.
    fn reference(&self, user: &str) -> String {
        let id = &self.purchases[user];
        let lines = self.lines();
        let of_user = lines.iter().find(|line| line.contains(id.as_str()));
        of_user.unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    /// A copy of the directory with the gateway's ledger as `tamper` makes it.
    fn tampered(&self, into: &Path, tamper: impl FnOnce(&mut Lines)) {
        copy(&self.dir, into);
        let mut lines = self.lines();
        tamper(&mut lines);
        let mut text = "holdfast sandbox ledger 1\n".to_owned();
        for line in lines {
            let rest = format!("{line}\n");
            write!(text, "{:08x} {rest}", crc32c::crc32c(rest.as_bytes())).unwrap();
        }
        std::fs::write(ledger(into), text).unwrap();
    }
}

fn ledger(dir: &Path) -> PathBuf {
    dir.join("sandbox").join("ledger.log")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file with its bytes and when it was last written.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let written = path.metadata().unwrap().modified().unwrap();
            all.insert(path.clone(), (std::fs::read(&path).unwrap(), written));
        }
    }
    all
}

struct CliOutput {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl CliOutput {
    fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("no report: {} {}", self.stdout, self.stderr))
    }
}

fn reconcile(arguments: &[&str]) -> CliOutput {
    let ended = binary().arg("reconcile").args(arguments).output().unwrap();
    CliOutput {
        status: ended.status.code(),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[allow(
    clippy::too_many_lines,
    reason = "a table of every way in which a ledger can differ"
)]
fn each_way_in_which_the_books_can_differ_is_named() {
    let stopped = Stopped::new();
    let [ana, cy, eve] = ["ana", "cy", "eve"].map(|user| stopped.reference(user));
    let log = &ana[..20];
    let other_request = format!("{}{:016x}", &ana[..55], 7);
    let unknown = format!("{log}p_{:032x}-{:016x}", 0x00ff_ffff_0000_u64, 7);
    let foreign = format!("hf-{:016x}{}", 7, &ana[19..]);
    let replaced = |reference: &str, from: &str, to: &str| {
        let (from, to) = (format!("{from} {reference}"), format!("{to} {reference}"));
        move |lines: &mut Lines| {
            let line = lines.iter_mut().find(|line| line.starts_with(&from));
            let line = line.expect("the ledger has such a line");
            *line = line.replacen(&from, &to, 1);
        }
    };
    let added = |more: Vec<String>| move |lines: &mut Lines| lines.extend(more);
    let charge = |reference: &str, amount: i64| {
        vec![
            format!("authorized {reference} {amount} USD tok_ok"),
            format!("captured {reference}"),
        ]
    };
    let gone = |words: Vec<String>| {
        move |lines: &mut Lines| {
            let before = lines.len();
            lines.retain(|line| !words.iter().any(|word| line.starts_with(word.as_str())));
            assert_eq!(lines.len(), before - words.len());
        }
    };
    let amended = |from: &'static str, to: &'static str| {
        let ana = ana.clone();
        move |lines: &mut Lines| {
            let line = lines.iter_mut().find(|line| line.contains(&ana)).unwrap();
            assert!(line.contains(from), "{line}");
            *line = line.replacen(from, to, 1);
        }
    };
    let cases: Vec<(&str, Tamper<'_>, Wanted<'_>)> = vec![
        ("nothing", Box::new(|_| {}), None),
        (
            "a charge that is gone",
            Box::new(gone(vec![
                format!("authorized {ana}"),
                format!("captured {ana}"),
            ])),
            Some(("missing_at_gateway", &ana, json!({"status": "nothing"}))),
        ),
        (
            "a capture that was a void",
            Box::new(replaced(&ana, "captured", "voided")),
            Some(("missing_at_gateway", &ana, json!({"status": "voided"}))),
        ),
        (
            "a capture that did not happen",
            Box::new(gone(vec![format!("captured {ana}")])),
            Some((
                "amount_differs",
                &ana,
                json!({"authorized": 1999, "captured": 0}),
            )),
        ),
        (
            "an amount",
            Box::new(amended(" 1999 ", " 1998 ")),
            Some(("amount_differs", &ana, json!({"captured": 1998}))),
        ),
        (
            "a currency",
            Box::new(amended(" USD ", " EUR ")),
            Some(("amount_differs", &ana, json!({"currency": "EUR"}))),
        ),
        (
            "a refund behind our back",
            Box::new(added(vec![format!("refunded {ana} 1 500")])),
            Some((
                "amount_differs",
                &ana,
                json!({"captured": 1999, "refunded": 500}),
            )),
        ),
        (
            "a charge for what was declined",
            Box::new(|lines: &mut Lines| {
                let declined = format!("declined {cy}");
                lines.retain(|line| !line.starts_with(&declined));
                lines.extend(charge(&cy, 1999));
            }),
            Some(("amount_differs", &cy, json!({"captured": 1999}))),
        ),
        (
            "money set aside for what was declined",
            Box::new(replaced(&cy, "declined", "authorized")),
            Some(("authorized_left", &cy, json!({"authorized": 1999}))),
        ),
        (
            "money set aside for what was voided",
            Box::new(gone(vec![format!("voided {eve}")])),
            Some(("authorized_left", &eve, json!({"authorized": 1999}))),
        ),
        (
            "a capture of what was voided, given back",
            Box::new(|lines: &mut Lines| {
                replaced(&eve, "voided", "captured")(lines);
                lines.push(format!("refunded {eve} 1 1999"));
            }),
            None,
        ),
        (
            "a charge of nobody's",
            Box::new(added(charge(&unknown, 5))),
            Some(("unknown_here", &unknown, json!({"captured": 5}))),
        ),
        (
            "money set aside for nobody",
            Box::new(added(charge(&unknown, 5)[..1].to_vec())),
            Some(("unknown_here", &unknown, json!({"authorized": 5}))),
        ),
        (
            "a charge for our purchase that another request began",
            Box::new(added(charge(&other_request, 1999))),
            Some(("unknown_here", &other_request, json!({"captured": 1999}))),
        ),
        (
            "nobody's payment, declined",
            Box::new(added(vec![format!("declined {unknown} 5 USD tok_ok")])),
            None,
        ),
        (
            "a charge of another log's",
            Box::new(added(charge(&foreign, 5))),
            None,
        ),
    ];
    let scratch = tempfile::tempdir().unwrap();
    for (number, (what, tamper, wanted)) in cases.into_iter().enumerate() {
        let dir = scratch.path().join(number.to_string());
        stopped.tampered(&dir, tamper);
        let before = contents(&dir);
        let ended = reconcile(&[text(&dir), "--json"]);
        assert_eq!(contents(&dir), before, "{what}: nothing is written");
        let report = ended.report();
        let differences = report["differences"].as_array().unwrap();
        let table = reconcile(&[text(&dir)]);
        assert_eq!(table.status, ended.status, "{what}");
        let Some((kind, reference, theirs)) = wanted else {
            assert_eq!(ended.status, Some(0), "{what}: {report}");
            assert_eq!(
                (&report["result"], differences.len()),
                (&json!("agrees"), 0),
                "{what}"
            );
            assert!(
                table.stdout.starts_with("0 differences in "),
                "{}",
                table.stdout
            );
            continue;
        };
        assert_eq!(ended.status, Some(1), "{what}: {report}");
        assert_eq!(differences.len(), 1, "{what}: {report}");
        let difference = &differences[0];
        assert_eq!(difference["kind"], kind, "{what}: {difference}");
        assert_eq!(difference["reference"], reference, "{what}");
        assert_eq!(
            difference["ours"].is_null(),
            kind == "unknown_here",
            "{what}"
        );
        for (name, value) in theirs.as_object().unwrap() {
            assert_eq!(difference["gateway"][name], *value, "{what}: {difference}");
        }
        let purchase = difference["purchase_id"].as_str().unwrap();
        let row = table.stdout.lines().find(|line| line.starts_with(kind));
        assert!(
            row.is_some_and(|row| row.contains(purchase)),
            "{}",
            table.stdout
        );
    }
    let dir = scratch.path().join("foreign");
    stopped.tampered(&dir, added(charge(&foreign, 5)));
    let counts = reconcile(&[text(&dir), "--json"]).report()["counts"].clone();
    let wanted = json!({
        "charges": 6, "agree": 3, "open": 0, "empty": 2, "foreign": 1, "without_reference": 0,
        "unlisted": 0, "payments": 5,
    });
    assert_eq!(counts, wanted);
}

#[test]
fn unreadable_input_exits_with_2() {
    let scratch = tempfile::tempdir().unwrap();
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let running = Setup::demo().start();
    let url = format!("http://{}", running.address);
    let data = running.data_dir.clone();
    let cases: [(&[&str], &str); 11] = [
        (&[], "required"),
        (&[text(&empty)], "no log"),
        (&["/nonexistent"], "no log"),
        (&[text(&data)], "in use by another process"),
        (
            &[text(&data), "--url", &url, "--key", ADMIN],
            "cannot be used with",
        ),
        (&["--url", &url], "--key"),
        (
            &["--url", &url, "--key", "wrong-key-1234"],
            "refuses with 401",
        ),
        (
            &["--url", "ftp://127.0.0.1:1", "--key", ADMIN],
            "must have the form",
        ),
        (
            &["--url", "http://127.0.0.1:1", "--key", ADMIN],
            "cannot be reached",
        ),
        // The key would be readable on the way.
        (
            &["--url", "http://192.0.2.1:8080", "--key", ADMIN],
            "loopback",
        ),
        (
            &["--url", "http://holdfast.invalid", "--key", ADMIN],
            "loopback",
        ),
    ];
    for (arguments, told) in cases {
        let ended = reconcile(arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(told),
            "{arguments:?}: {}",
            ended.stderr
        );
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("wrong-key"));
    }
    let shop = reconcile(&["--url", &url, "--key", SHOP]);
    assert!(shop.stderr.contains("refuses with 403"), "{}", shop.stderr);
}

/// The numbers of runs begin again: the report that was asked for will never come.
#[test]
fn a_core_that_was_started_again_meanwhile_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let core = std::thread::spawn(move || {
        let nothing = r#"{"runs":1,"running":null,"last_success_at":null,"report":null}"#;
        for body in [
            r#"{"run":5,"runs":5}"#,
            r#"{"runs":5,"report":null}"#,
            nothing,
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                let mut part = [0; 1_024];
                let length = stream.read(&mut part).unwrap();
                assert!(length > 0);
                read.extend_from_slice(&part[..length]);
            }
            let head = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n";
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .unwrap();
        }
    });
    let ended = reconcile(&["--url", &url, "--key", ADMIN]);
    assert_eq!(ended.status, Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("restarted"), "{}", ended.stderr);
    core.join().unwrap();
}

#[test]
fn a_running_core_reports_what_differs_everywhere_it_is_looked_for() {
    let stopped = Stopped::new();
    let ana = stopped.reference("ana");
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    stopped.tampered(&dir, |lines| lines.push(format!("refunded {ana} 1 500")));
    let small = "[storage]\nsegment_bytes = 2097152";
    let server = Setup::demo().config(small).data_dir(&dir).start();
    let get = |path: &str| server.ask(&Request::get(path).key(ADMIN));
    let before = get("/admin/reconcile").json();
    let nothing = json!({"runs": 0, "running": null, "last_success_at": null, "report": null});
    assert_eq!(before, nothing);
    let metric = "holdfast_reconcile_last_success_timestamp_seconds 0\n";
    assert!(get("/metrics").text().contains(metric));

    let url = format!("http://{}", server.address);
    let ended = reconcile(&["--url", &url, "--key", ADMIN, "--json"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["differences"][0]["kind"], "amount_differs");
    assert_eq!(report["differences"][0]["reference"], *ana);
    let status = get("/admin/reconcile").json();
    assert_eq!(status["report"], report);
    assert_eq!(status["last_success_at"], report["ended_at"]);
    let short = get("/admin/status").json()["reconcile"].clone();
    assert_eq!(
        (&short["result"], &short["differences"]),
        (&json!("differs"), &json!(1))
    );
    let metrics = get("/metrics").text();
    assert!(metrics.contains("holdfast_reconcile_differences{kind=\"amount_differs\"} 1\n"));
    assert!(metrics.contains("holdfast_reconcile_differences{kind=\"unknown_here\"} 0\n"));
    assert!(!metrics.contains(metric));
    let line = server.log.wait_for("reconcile").unwrap();
    assert_eq!(
        (&line["level"], &line["differences"]),
        (&json!("error"), &json!(1))
    );
    let path = "/admin/audit?kind=admin_acted";
    let acts = get(path).json();
    assert!(
        acts["events"].to_string().contains("\"reconcile\""),
        "{acts}"
    );
    assert!(server.stop().0.success());
}

#[test]
fn a_run_on_demand_may_be_over_everything_or_the_window() {
    let server = Setup::demo().config("[reconcile]\nevery_s = 0").start();
    for (query, whole) in [("", false), ("?full=false", false), ("?full=true", true)] {
        let report = reconciled(&server, query);
        assert_eq!(report["since"].is_null(), whole, "{query}: {report}");
    }
    let wrong = Request::post("/admin/reconcile?full=yes").key(ADMIN);
    assert_eq!(server.ask(&wrong).status, 400);
    let url = format!("http://{}", server.address);
    let report = reconcile(&["--url", &url, "--key", ADMIN, "--json"]).report();
    assert!(report["since"].is_null(), "{report}");
}

#[test]
fn a_comparison_due_while_the_circuit_is_open_is_skipped() {
    let config = "[payments]\nretries_max = 0\nattempt_timeout_ms = 50\n\
                  [payments.circuit]\nfailures = 1\nopen_ms = 600000\n\
                  [reconcile]\nevery_s = 1";
    let server = Setup::demo().config(config).start();
    server.ask(&Request::buy(
        "ana",
        "drop-1",
        "tok_slow_1500",
        "key-of-ana",
    ));
    server.log.wait_for("reconcile_skipped").unwrap();
    // Who asks is answered.
    let url = format!("http://{}", server.address);
    let asked = reconcile(&["--url", &url, "--key", ADMIN, "--json"]);
    assert!(asked.report()["run"].is_u64(), "{}", asked.stderr);
}

#[test]
fn it_runs_by_itself_every_so_often() {
    let server = Setup::demo().config("[reconcile]\nevery_s = 1").start();
    let line = server.log.wait_for("reconcile").unwrap();
    assert_eq!(
        (&line["level"], &line["result"]),
        (&json!("info"), &json!("agrees"))
    );
    let again = until("it has run twice", || {
        let status = server
            .ask(&Request::get("/admin/reconcile").key(ADMIN))
            .json();
        status["report"]["run"].as_u64().filter(|run| *run >= 2)
    });
    assert!(again >= 2);
}

/// Buys go on, with cards that go wrong in every way, while it runs again and again.
#[test]
fn a_healthy_core_under_load_reports_nothing() {
    const CARDS: [&str; 8] = [
        "tok_ok",
        "tok_ok",
        "tok_slow_20",
        "tok_auth_unknown",
        "tok_capture_unknown",
        "tok_capture_refused",
        "tok_void_unknown",
        "tok_declined",
    ];
    let config = "[payments]\nbackoff_first_ms = 1\n[reconcile]\nevery_s = 0\npause_ms = 0";
    let server = Setup::demo().config(config).start();
    server.put_product("many", 100_000);
    let (over, bought) = (AtomicBool::new(false), AtomicU64::new(0));
    let buy = |server: &Server, buyer: usize| {
        let mut client = server.connect();
        for number in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let user = format!("buyer-{buyer}-{number}");
            let card = CARDS[number % CARDS.len()];
            let answer = client.ask(&Request::buy(&user, "many", card, &format!("key-{user}")));
            assert!([201, 202, 402].contains(&answer.status), "{answer:?}");
            bought.fetch_add(1, Ordering::Relaxed);
        }
    };
    let url = format!("http://{}", server.address);
    std::thread::scope(|scope| {
        for buyer in 0..3 {
            let (buy, server) = (&buy, &server);
            scope.spawn(move || buy(server, buyer));
        }
        let mut runs = 0;
        until("it has run ten times beside some hundred buys", || {
            let ended = reconcile(&["--url", &url, "--key", ADMIN, "--json"]);
            assert_eq!(ended.status, Some(0), "{} {}", ended.stdout, ended.stderr);
            runs += 1;
            (runs >= 10 && bought.load(Ordering::Relaxed) >= 400).then_some(())
        });
        over.store(true, Ordering::Relaxed);
    });
    until("no payment is open", || {
        let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
        (status["open_payments"] == 0).then_some(())
    });
    let report = reconcile(&["--url", &url, "--key", ADMIN, "--json"]).report();
    let count = |name: &str| report["counts"][name].as_u64().unwrap();
    let all = bought.load(Ordering::Relaxed);
    assert_eq!(
        (count("charges"), count("payments")),
        (all, all),
        "{report}"
    );
    assert_eq!((count("open"), count("unlisted")), (0, 0), "{report}");
    assert!(
        count("agree") > all / 2 && count("empty") > all / 5,
        "{report}"
    );
}
