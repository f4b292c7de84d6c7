//! What operators are shown and told: the exposition is clean by Prometheus's own linter.

use std::io::Write as _;
use std::process::{Command, Stdio};
use support::{ADMIN, Request, Setup};

/// `promtool` with `arguments` and `input`: whether it found nothing wrong, and what it said.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut running = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by ./dev servers");
    let mut stdin = running.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let ended = running.wait_with_output().unwrap();
    let mut said = String::from_utf8(ended.stdout).unwrap();
    said.push_str(&String::from_utf8(ended.stderr).unwrap());
    (ended.status.success(), said)
}

/// The value of the sample `name`, with its labels if it has any.
fn sample(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    value.parse().ok()
}

#[test]
fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let server = Setup::demo().start();
    server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-lint-1"));
    let text = server.ask(&Request::get("/metrics")).text();
    let linted = promtool(&["check", "metrics"], &text);
    assert_eq!(linted, (true, String::new()));
}

#[test]
fn the_process_its_snapshot_and_its_limits_are_shown() {
    let wall_s = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        since.as_secs_f64()
    };
    let before = wall_s();
    let scratch = tempfile::tempdir().unwrap();
    let setup = || {
        Setup::demo()
            .data_dir(scratch.path())
            .config("[server]\nworkers = 2\nmax_connections = 77\nin_flight_max = 40")
            .open_files_max(900)
    };
    let mut server = setup().start();
    let text = server.ask(&Request::get("/metrics")).text();
    let value = |name: &str| sample(&text, name).unwrap_or_else(|| panic!("{name} in\n{text}"));
    // The kernel counts in hundredths of a second from a boot that it says in whole seconds.
    let started = value("process_start_time_seconds");
    assert!(
        before - 2.0 < started && started < wall_s() + 2.0,
        "{started}"
    );
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") > 5.0);
    assert_eq!(value("process_max_fds"), 900.0);
    assert_eq!(value("holdfast_connections_max"), 77.0);
    assert_eq!(value(r#"holdfast_pool_in_flight_max{pool="shop"}"#), 40.0);
    assert_eq!(value("holdfast_stock_units"), 100.0);
    assert_eq!(value("holdfast_oversold_units"), 0.0);
    assert_eq!(value(r#"holdfast_not_ready{reason="disk_full"}"#), 0.0);
    let version = format!(
        "holdfast_build_info{{version=\"{}\",",
        env!("CARGO_PKG_VERSION")
    );
    assert!(text.contains(&version), "{text}");
    assert_eq!(sample(&text, "holdfast_snapshot_age_seconds"), None);

    let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(taken.status, 200, "{taken:?}");
    server.terminate();
    server.wait();
    // The age goes on through a restart.
    let [snapshot] = &snapshots(scratch.path())[..] else {
        panic!("one snapshot");
    };
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    snapshot.set_modified(hour_ago).unwrap();
    let server = setup().start();
    let text = server.ask(&Request::get("/metrics")).text();
    let age = sample(&text, "holdfast_snapshot_age_seconds").unwrap();
    assert!((3_599.0..3_900.0).contains(&age), "{age}");
    assert!(sample(&text, "holdfast_snapshot_lsn").unwrap() > 0.0);
}

fn snapshots(data_dir: &std::path::Path) -> Vec<std::fs::File> {
    let files = std::fs::read_dir(data_dir.join("snapshots")).unwrap();
    let files = files.map(|it| it.unwrap().path());
    let files = files.filter(|it| it.extension().is_some_and(|it| it == "snapshot"));
    let opened = files.map(|it| std::fs::File::options().write(true).open(it).unwrap());
    opened.collect()
}
