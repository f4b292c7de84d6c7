//! `loadtest run` as a user runs it: scenarios, thresholds and their exit codes, reports, a server that goes away.

mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::shop::{self, Flaw};

const BINARY: &str = env!("CARGO_BIN_EXE_loadtest");

/// A scenario file and what a run of it wrote.
struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("case.toml"), scenario).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, scenario: &Path, more: &[&str]) -> Child {
        Command::new(BINARY)
            .arg("run")
            .arg(scenario)
            .arg("--json")
            .arg(self.path("run.json"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, more: &[&str]) -> Output {
        let child = self.start(&self.path("case.toml"), more);
        child.wait_with_output().unwrap()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("run.json")).unwrap()).unwrap()
    }
}

fn honest() -> String {
    format!("http://{}", shop::start(Flaw::None))
}

#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said.into_owned()
}

/// 200 buys in half a second.
fn buys(head: &str, stock: u32) -> String {
    format!(
        "{head}\n[products]\nstock = {stock}\n[buyers]\npick = \"in_turn\"\n\
         [[stage]]\nduration_s = 0.5\nrate = 400\n[[mix]]\nflow = \"buy\"\n"
    )
}

/// What is true of every report.
fn adds_up(report: &Value) {
    let all = &report["all"];
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap();
    assert_eq!(
        count(all, "scheduled"),
        count(all, "sent") + count(all, "shed"),
        "{all}"
    );
    assert_eq!(
        count(all, "sent"),
        count(all, "done") + count(all, "errors"),
        "{all}"
    );
    let sum = |name: &str| -> u64 {
        let series = report["series"].as_array().unwrap();
        series.iter().map(|moment| count(moment, name)).sum()
    };
    for name in ["done", "accepted", "refused"] {
        assert_eq!(sum(name), count(all, name), "{name}");
    }
    let steps = report["steps"].as_array().unwrap();
    let done: u64 = steps.iter().map(|step| count(step, "done")).sum();
    assert_eq!(done, count(all, "done"));
}

#[test]
fn every_shipped_scenario_runs_and_sells_nothing_twice() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let cases = fs::read_dir(folder).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // By its name, as it is shipped: not the file.
        let name = name.strip_suffix(".toml").unwrap().to_owned();
        let case = Case::new("");
        let scale = ["--duration-scale", "0.05", "--load-scale", "0.05"];
        let child = case.start(
            Path::new(&name),
            &[&["--url", &honest()], scale.as_slice()].concat(),
        );
        (name, case, child)
    });
    let running: Vec<_> = cases.collect();
    assert!(running.len() >= 9);
    for (name, case, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = case.report();
        adds_up(&report);
        assert_eq!(report["all"]["errors"], 0, "{name}: {said}");
        assert_eq!(report["oversold"], 0, "{name}: {said}");
        assert!(
            report["all"]["accepted"].as_u64() > Some(0),
            "{name}: {report}"
        );
        // Latency depends on the machine that runs the tests, and shares on how few requests these are.
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_run_that_is_good_enough_ends_with_0_and_one_that_is_not_with_1() {
    let good = "thresholds = [\"errors == 0\", \"oversold == 0\", \"buy.accepted == 200\", \"replayed == 0\"]";
    let case = Case::new(&buys(good, 1_000));
    ended(&case.run(&["--url", &honest()]), 0);
    let report = case.report();
    adds_up(&report);
    assert_eq!(report["all"]["scheduled"], 200);

    let bad = "thresholds = [\"errors == 0\", \"throughput > 1_000_000\"]";
    let said = ended(&Case::new(&buys(bad, 1_000)).run(&["--url", &honest()]), 1);
    assert!(said.contains("1 of 2 thresholds are not met"), "{said}");
    assert!(
        said.lines()
            .any(|l| l.contains("throughput > 1_000_000") && l.contains("NO")),
        "{said}"
    );
}

#[test]
fn a_unit_sold_twice_is_found() {
    let scenario = buys(
        "expect_refusals = true\nthresholds = [\"oversold == 0\"]",
        20,
    );
    let url = format!("http://{}", shop::start(Flaw::Oversells));
    let case = Case::new(&scenario);
    let said = ended(&case.run(&["--url", &url]), 1);
    assert!(said.contains("units oversold: 1"), "{said}");
    ended(&Case::new(&scenario).run(&["--url", &honest()]), 0);
}

#[test]
fn a_run_of_refusals_fails_unless_it_is_meant() {
    let said = ended(&Case::new(&buys("", 20)).run(&["--url", &honest()]), 1);
    assert!(
        said.contains("MOSTLY REFUSED: 90.0 %") && said.contains("409 sold_out"),
        "{said}"
    );
    let meant = buys(
        "expect_refusals = true\nthresholds = [\"refused.sold_out_ratio == 0.9\"]",
        20,
    );
    ended(&Case::new(&meant).run(&["--url", &honest()]), 0);
}

#[test]
fn wrong_usage_ends_with_2_and_says_where() {
    let case = Case::new("about = \"x\"\n[products]\nstok = 5\n");
    let said = ended(&case.run(&[]), 2);
    assert!(
        said.contains("line 3, column 1") && said.contains("stok"),
        "{said}"
    );
    let said = ended(&case.run(&["--insecure", "--ca", "x"]), 2);
    assert!(said.contains("--insecure"), "{said}");
    let none = Command::new(BINARY)
        .args(["run", "no-such-scenario"])
        .output();
    let said = ended(&none.unwrap(), 2);
    assert!(
        said.contains("no-such-scenario") && said.contains("loadtest scenarios"),
        "{said}"
    );
    let case = Case::new(&buys("", 1));
    ended(&case.run(&["--url", "localhost"]), 2);
}

#[test]
fn a_server_that_is_not_there_ends_with_3() {
    let case = Case::new(&buys("", 1));
    let said = ended(&case.run(&["--url", "http://127.0.0.1:1"]), 3);
    assert!(
        said.contains("connection refused") && said.contains("is the server running"),
        "{said}"
    );
}

#[test]
fn retries_keep_or_change_their_key_and_repeats_are_replays() {
    let scenario = |key: &str| {
        let retry = format!("[[retry]]\non = \"sold_out\"\ntimes = 2\nkey = \"{key}\"\n");
        buys("expect_refusals = true", 0) + &retry
    };
    let run = |scenario: &str| {
        let case = Case::new(scenario);
        ended(&case.run(&["--url", &honest()]), 0);
        let all = case.report()["all"].clone();
        (
            all["done"].as_u64().unwrap(),
            all["replayed"].as_u64().unwrap(),
        )
    };
    assert_eq!(run(&scenario("same")), (600, 400));
    assert_eq!(run(&scenario("new")), (600, 0));
    assert_eq!(run(&(buys("", 1_000) + "repeat = 3\n")), (800, 600));
}

#[test]
fn a_closed_loop_pays_holds_and_releases_them() {
    let case = Case::new(
        "thresholds = [\"errors == 0\", \"oversold == 0\", \"pay.accepted > 0\", \"release.accepted > 0\"]\n\
         [products]\ncount = 3\npick = { zipf = 1.0 }\n\
         [[stage]]\nduration_s = 0.3\nconnections = { from = 1, to = 6 }\nmeasured = false\n\
         [[stage]]\nduration_s = 0.5\nconnections = 6\n\
         [[mix]]\nflow = \"hold_then_pay\"\n[[mix]]\nflow = \"hold_then_release\"\n[[mix]]\nflow = \"read\"\n",
    );
    ended(&case.run(&["--url", &honest(), "--threads", "2"]), 0);
    adds_up(&case.report());
}

#[test]
fn a_request_that_waits_behind_a_stall_counts_from_when_it_was_due() {
    let case = Case::new(
        "[server]\nconnections_max = 1\n\
         [[stage]]\nduration_s = 0.5\nat_once = 50\n[[mix]]\nflow = \"read\"\n",
    );
    let url = format!(
        "http://{}",
        shop::start_with_stall(Duration::from_millis(300))
    );
    ended(&case.run(&["--url", &url]), 0);
    // All were due before the stall, and the only connection stood in it: none can have been answered faster.
    let all = case.report()["all"].clone();
    assert!(all["curve"][0][1].as_f64() >= Some(299.0), "{all}");
}

#[test]
fn a_restart_leaves_a_report_with_its_gap_and_its_errors() {
    let outage = shop::Outage {
        after: 100,
        lasts: Duration::from_millis(900),
    };
    let url = format!("http://{}", shop::start_with_outage(outage));
    let case = Case::new(
        "thresholds = [\"gap_s < 30\", \"oversold == 0\"]\n[server]\nconnections_max = 8\n\
         [[stage]]\nduration_s = 2\nrate = 200\n[[mix]]\nflow = \"hold\"\n",
    );
    let said = ended(&case.run(&["--url", &url]), 0);
    let report = case.report();
    adds_up(&report);
    let refused = report["all"]["outcomes"]["connection refused"].as_u64();
    assert!(refused > Some(0), "{said}");
    // An outage of 0.9 s covers at least three whole slices of 0.2 s.
    assert!(report["gap_s"].as_f64() > Some(0.5), "{said}");
    let series = report["series"].as_array().unwrap();
    let errors = series
        .iter()
        .position(|m| m["errors"].as_u64() > Some(0))
        .unwrap();
    let later = series[errors..]
        .iter()
        .map(|m| m["accepted"].as_u64().unwrap());
    assert!(later.sum::<u64>() > 0, "it did not come back: {said}");
    assert_eq!(
        report["all"]["scheduled"], 400,
        "all of the schedule, outage or not"
    );
}

#[test]
fn reports_are_whole_files_and_two_runs_are_compared() {
    let case = Case::new(&buys(
        "about = \"a <b> & c\"\nthresholds = [\"errors == 0\"]",
        1_000,
    ));
    let (page, hgrm) = (case.path("run.html"), case.path("run.hgrm"));
    let (page, hgrm) = (page.to_str().unwrap(), hgrm.to_str().unwrap());
    ended(
        &case.run(&["--url", &honest(), "--html", page, "--hgrm", hgrm]),
        0,
    );
    let html = fs::read_to_string(page).unwrap();
    is_whole(&html, 4);
    assert!(html.contains("a &lt;b&gt; &amp; c") && html.contains("<td>errors == 0</td>"));
    assert!(
        fs::read_to_string(hgrm)
            .unwrap()
            .contains("1/(1-Percentile)")
    );

    let other = case.path("other.json");
    fs::copy(case.path("run.json"), &other).unwrap();
    let both = case.path("both.html");
    let report = |more: &[&Path]| {
        let mut command = Command::new(BINARY);
        command.arg("report").args(more).arg("--html").arg(&both);
        ended(&command.output().unwrap(), 0)
    };
    let said = report(&[&case.path("run.json")]);
    assert!(said.contains("errors == 0"), "{said}");
    let said = report(&[&case.path("run.json"), &other]);
    assert!(
        said.lines()
            .any(|l| l.contains("p99 ms") && l.contains("1.00")),
        "{said}"
    );
    assert!(!said.contains("NOT THE SAME LOAD"), "{said}");
    is_whole(&fs::read_to_string(&both).unwrap(), 3);
    fs::write(&other, "{}").unwrap();
    let wrong = Command::new(BINARY).arg("report").arg(&other).output();
    ended(&wrong.unwrap(), 2);
}

/// A page that is well formed and asks the network for nothing.
#[track_caller]
fn is_whole(html: &str, charts: usize) {
    let page = html.strip_prefix("<!doctype html>").unwrap();
    let page = roxmltree::Document::parse(page).expect("a well-formed page");
    let all = page.descendants();
    assert_eq!(
        all.filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "svg")))
            .count(),
        charts
    );
    for node in page.descendants() {
        assert!(!matches!(
            node.tag_name().name(),
            "script" | "link" | "img" | "iframe"
        ));
        let outside = |name| node.attribute(name).is_some();
        assert!(!outside("src") && !outside("href"));
    }
    assert!(!html.contains("@import") && !html.contains("url("));
}

#[test]
fn shipped_scenarios_are_listed_and_printed() {
    let output = Command::new(BINARY).arg("scenarios").output().unwrap();
    let said = ended(&output, 0);
    assert!(
        said.contains("thundering-start\n") && said.contains("loadtest run NAME"),
        "{said}"
    );
    let output = Command::new(BINARY).args(["scenarios", "steady"]).output();
    let said = ended(&output.unwrap(), 0);
    assert!(
        said.starts_with("about = ") && said.contains("[[stage]]"),
        "{said}"
    );
}

#[test]
fn growth_measures_every_point_and_draws_the_curves() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, svg) = (file("growth.json"), file("growth.svg"));
    let output = Command::new(BINARY)
        .args([
            "growth",
            "--url",
            &honest(),
            "--rounds",
            "1",
            "--duration",
            "0.1",
        ])
        .args([
            "--connections",
            "1,3",
            "--products",
            "2",
            "--preload",
            "5,0",
        ])
        .args(["--json", &json, "--svg", &svg])
        .output();
    let said = ended(&output.unwrap(), 0);
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let points: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {}", row["curve"].as_str().unwrap(), row["at"]))
        .collect();
    let expect = [
        "base 64",
        "connections 1",
        "connections 3",
        "products 2",
        "purchases 0",
        "purchases 5",
    ];
    assert_eq!(points, expect, "{said}");
    assert_eq!(rows[0]["ratio"], 1.0);
    assert!(
        rows.iter()
            .all(|row| row["per_second"].as_f64() > Some(0.0)),
        "{said}"
    );
    let curves = fs::read_to_string(svg).unwrap();
    let curves = roxmltree::Document::parse(&curves).expect("a well-formed drawing");
    let lines = curves
        .descendants()
        .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "polyline")));
    assert_eq!(lines.count(), 3 * 3, "a rate and two latencies a curve");
}

#[test]
fn growth_over_refusals_is_void() {
    let url = format!("http://{}", shop::start(Flaw::SellsNothing));
    let output = Command::new(BINARY)
        .args([
            "growth",
            "--url",
            &url,
            "--rounds",
            "1",
            "--duration",
            "0.1",
        ])
        .args(["--connections", "1", "--products", "1"])
        .output();
    let said = ended(&output.unwrap(), 1);
    assert!(said.contains("VOID") && said.contains("3 rows"), "{said}");
}

fn drive(url: &str, stock: &str, more: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["drive", "--url", url, "--product", "p", "--stock", stock]);
    command.args(["--warmup", "0"]).args(more).output().unwrap()
}

#[test]
fn drive_goes_on_through_a_restart_in_both_loops() {
    std::thread::scope(|scope| {
        let closed = scope.spawn(|| through_a_restart(&["--closed"]));
        let open = through_a_restart(&["--rate", "200"]);
        assert_eq!(open["scheduled"], 400);
        // What was due in the outage waited for its end.
        assert!(open["latency_ms"]["max"].as_f64() > Some(300.0), "{open}");
        // In the closed loop a request is always in flight; in the open one maybe none was.
        let closed = closed.join().unwrap();
        let lost = &closed["outcomes"]["connection lost"];
        assert!(lost.as_u64() > Some(0), "{closed}");
    });
}

#[track_caller]
fn through_a_restart(pace: &[&str]) -> Value {
    let outage = shop::Outage {
        after: 100,
        lasts: Duration::from_millis(700),
    };
    let url = format!("http://{}", shop::start_with_outage(outage));
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("drive.json");
    let json = json.to_str().unwrap();
    let rest = ["--connections", "4", "--duration", "2", "--json", json];
    let said = ended(
        &drive(&url, "1000000", &[pace, rest.as_slice()].concat()),
        0,
    );
    let figures: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(
        figures["done"].as_u64() > Some(100),
        "it did not go on: {said}"
    );
    // An outage of 0.7 s covers at least two whole slices of 0.2 s.
    assert!(figures["gap_s"].as_f64() > Some(0.3), "{said}");
    figures
}

#[test]
fn drive_over_refusals_fails_unless_it_is_meant() {
    let short = ["--rate", "200", "--duration", "0.3"];
    let said = ended(&drive(&honest(), "1", &short), 1);
    assert!(
        said.contains("MOSTLY REFUSED") && said.contains("409 sold_out"),
        "{said}"
    );
    let meant = [short.as_slice(), &["--expect-refusals"]].concat();
    ended(&drive(&honest(), "1", &meant), 0);
}
