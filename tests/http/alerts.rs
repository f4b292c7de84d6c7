//! What operators are shown and told: the exposition is clean by Prometheus's own linter; alert rules,
//! their tests, their page and the dashboard agree with each other and with the table of metrics; a
//! Prometheus that scrapes a server in trouble raises its alerts.

use holdfast::telemetry::families;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use support::{ADMIN, Client, Request, Server, Setup, free_port, until};

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
    let is = |name: &str, value: &str| text.lines().any(|it| it == format!("{name} {value}"));
    // The kernel counts in hundredths of a second from a boot that it says in whole seconds.
    let started = value("process_start_time_seconds");
    assert!(
        before - 2.0 < started && started < wall_s() + 2.0,
        "{started}"
    );
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") > 5.0);
    assert!(is("process_max_fds", "900"));
    assert!(is("holdfast_connections_max", "77"));
    assert!(is(r#"holdfast_pool_in_flight_max{pool="shop"}"#, "40"));
    assert!(is("holdfast_stock_units", "100"));
    assert!(is("holdfast_oversold_units", "0"));
    assert!(is(r#"holdfast_not_ready{reason="disk_full"}"#, "0"));
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
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
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

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const RULES: &str = include_str!("../../alerts/holdfast.rules.yml");
const RULE_TESTS: &str = include_str!("../../alerts/holdfast.test.yml");
const DASHBOARD: &str = include_str!("../../dashboards/holdfast.json");
const PAGE: &str = include_str!("../../docs/alerts.md");

/// What follows `before` in each line that begins with it.
fn after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim_start);
    lines.filter_map(|line| line.strip_prefix(before)).collect()
}

#[test]
fn each_alert_fires_at_its_case_and_stays_quiet_beside_it() {
    let checked = promtool(&["check", "rules", "alerts/holdfast.rules.yml"], "");
    assert!(checked.0, "{}", checked.1);
    let tested = promtool(&["test", "rules", "alerts/holdfast.test.yml"], "");
    assert!(tested.0, "{}", tested.1);
    let cases: BTreeSet<&str> = after(RULE_TESTS, "- name: ").into_iter().collect();
    let alerts = after(RULES, "- alert: ");
    let wanted = alerts
        .iter()
        .flat_map(|it| [format!("{it} fires"), format!("{it} stays quiet")]);
    let wanted: BTreeSet<String> = wanted.collect();
    assert!(cases.iter().copied().eq(&wanted), "{cases:?}\n{wanted:?}");
}

#[test]
fn each_alert_says_how_urgent_it_is_and_leads_to_its_section() {
    let alerts = after(RULES, "- alert: ");
    let sections = after(PAGE, "## ");
    assert!(alerts.len() > 20, "{alerts:?}");
    assert_eq!(alerts, sections, "one section for each alert, in its order");
    let links = after(RULES, "runbook_url: ");
    let wanted = alerts.iter();
    let wanted = wanted.map(|it| format!("docs/alerts.md#{}", it.to_lowercase()));
    assert_eq!(links, wanted.collect::<Vec<_>>());
    assert_eq!(after(RULES, "summary: ").len(), alerts.len());
    let severities = after(RULES, "labels: { severity: ");
    assert_eq!(severities.len(), alerts.len());
    let known = ["critical }", "warning }"];
    assert!(severities.iter().all(|it| known.contains(it)));
    let sections = PAGE.split("\n## ").skip(1);
    for (section, severity) in sections.zip(severities) {
        let severity = severity.trim_end_matches(" }");
        let begins = format!("`{severity}`. **Meaning:** ");
        let parts = [begins.as_str(), "**See:** ", "**Do:** "];
        assert!(parts.iter().all(|it| section.contains(it)), "{section}");
    }
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let ours = |word: &&str| {
        let prefixes = ["holdfast_", "process_", "purchase_attempt_", "http_server_"];
        prefixes.iter().any(|it| word.starts_with(it))
    };
    words.filter(ours).collect()
}

/// That `/metrics` has the families of the table, `operations` proves.
#[test]
fn rules_dashboard_and_page_name_metrics_that_exist() {
    let mut known = BTreeSet::new();
    for family in families::ALL {
        match family.kind {
            families::Type::Histogram => {
                known.extend(
                    ["_bucket", "_sum", "_count", ""].map(|it| family.name.to_owned() + it),
                );
            }
            families::Type::Counter | families::Type::Gauge => {
                known.insert(family.name.to_owned());
            }
        }
    }
    for (file, text) in [
        ("rules", RULES),
        ("rules' tests", RULE_TESTS),
        ("dashboard", DASHBOARD),
        ("page", PAGE),
    ] {
        let named = metrics_in(text);
        assert!(named.len() > 10, "{file}: {named:?}");
        let unknown: Vec<_> = named.iter().filter(|it| !known.contains(**it)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_has_panels_that_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let grid = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for y in grid("y")..grid("y") + grid("h") {
            for x in grid("x")..grid("x") + grid("w") {
                assert!(x < 24 && places.insert((x, y)), "{panel}");
            }
        }
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        assert_eq!(queries == 0, panel["type"] == "row", "{panel}");
    }
}

/// A running Prometheus; it ends with the test.
struct Prometheus {
    running: Child,
    address: SocketAddr,
    _scratch: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

impl Prometheus {
    /// Scrapes `servers` and evaluates the rules, each second.
    fn start(servers: &[&Server]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let targets: Vec<String> = servers.iter().map(|it| it.address.to_string()).collect();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/alerts/holdfast.rules.yml");
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "holdfast", "static_configs": [{"targets": targets}]}],
        });
        // YAML includes JSON.
        let file = scratch.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let running = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.path().join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed by ./dev servers");
        Self {
            running,
            address,
            _scratch: scratch,
        }
    }

    /// What `path` of its API answers, if it answers well.
    fn data(&self, path: &str) -> Option<Value> {
        let mut connection = Client::try_connect(self.address).ok()?;
        let answer = connection.try_ask(&Request::get(path)).ok()?;
        (answer.status == 200).then(|| answer.json()["data"].take())
    }

    /// The alerts of `server` that wait for their time or fire: name and state.
    fn alerts_of(&self, server: &Server) -> Option<BTreeMap<String, String>> {
        let data = self.data("/api/v1/alerts")?;
        let instance = server.address.to_string();
        let alerts = data["alerts"].as_array()?.iter();
        let alerts = alerts.filter(|it| it["labels"]["instance"] == instance.as_str());
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        Some(
            alerts
                .map(|it| (text(&it["labels"]["alertname"]), text(&it["state"])))
                .collect(),
        )
    }
}

/// The trace of an exemplar that Prometheus has of this series.
fn exemplar_of(prometheus: &Prometheus, series: &str) -> Option<String> {
    let asked: Vec<String> = series.bytes().map(|it| format!("%{it:02x}")).collect();
    let asked = asked.concat();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let (from, to) = (now - 600, now + 600);
    let data = prometheus.data(&format!(
        "/api/v1/query_exemplars?query={asked}&start={from}&end={to}"
    ))?;
    let exemplar = &data.as_array()?.first()?["exemplars"][0];
    Some(exemplar["labels"]["trace_id"].as_str()?.to_owned())
}

#[test]
fn metrics_come_in_the_format_that_the_scraper_prefers() {
    let server = Setup::demo().start();
    server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-format"));
    let in_format = |accept: &str| {
        let request = Request::get("/metrics").header("accept", accept);
        let answer = server.ask(&request);
        (
            answer.header("content-type").unwrap().to_owned(),
            answer.text(),
        )
    };
    let (kind, open) = in_format("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.ends_with("# EOF\n"));
    assert!(
        open.contains("\n# TYPE holdfast_log_records counter\n"),
        "{open}"
    );
    assert!(
        open.contains("\n# UNIT holdfast_stage_seconds seconds\n"),
        "{open}"
    );
    let (kind, plain) = in_format("text/plain");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(plain.contains("\n# TYPE holdfast_log_records_total counter\n"));
    // The same series in both.
    let series = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|it| !it.starts_with('#'));
        lines
            .map(|it| it.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    };
    let (open, plain) = (series(&open), series(&plain));
    // Reading the metrics is a request, too.
    let later = plain.difference(&open);
    let later: Vec<_> = later.filter(|it| !it.contains("\"/metrics\"")).collect();
    assert!(open.is_subset(&plain) && later.is_empty(), "{later:?}");
}

/// The causes are real: nothing listens where PostgreSQL should, the gateway captures half, and four
/// of four products are set.
#[test]
fn a_prometheus_that_scrapes_a_server_in_trouble_raises_its_alerts() {
    let config = format!(
        "[report.postgres]\nurl = \"postgres://nobody@127.0.0.1:{}/nothing?sslmode=disable\"\n\
         [engine]\nproducts_max = 4",
        free_port()
    );
    let troubled = Setup::demo().config(&config).start();
    // Its requests are traced, although no collector takes their spans.
    let telemetry = format!(
        "[telemetry]\notlp_endpoint = \"http://127.0.0.1:{}\"",
        free_port()
    );
    let well = Setup::demo().config(&telemetry).start();
    let traced = Request::buy("ana", "drop-1", "tok_ok", "key-traced")
        .header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01"));
    assert_eq!(well.ask(&traced).status, 201);
    for id in ["one", "two", "three"] {
        troubled.put_product(id, 1);
    }
    let half = Request::buy("ana", "drop-1", "tok_capture_half", "key-half-1");
    assert_eq!(troubled.ask(&half).status, 202);
    let prometheus = Prometheus::start(&[&troubled, &well]);
    let caused = [
        // At once; the others fire if this lasts.
        ("HoldfastCaptureDiffers", "firing"),
        ("HoldfastSinkDown", "pending"),
        ("HoldfastBoundNear", "pending"),
    ];
    until("Prometheus raises the alerts", || {
        let alerts = prometheus.alerts_of(&troubled)?;
        let raised = |(name, state): &(&str, &str)| alerts.get(*name).is_some_and(|it| it == state);
        caused.iter().all(raised).then_some(())
    });
    // It took `OpenMetrics`, with the trace of the request that was traced.
    for series in [
        "http_server_request_duration_seconds_bucket{http_route=\"/limited/buy\"}",
        "holdfast_stage_seconds_bucket{stage=\"request\"}",
        "holdfast_stage_seconds_bucket{stage=\"shard\"}",
        "holdfast_stage_seconds_bucket{stage=\"log_wait\"}",
        "holdfast_stage_seconds_bucket{stage=\"gateway\"}",
    ] {
        let trace = until("Prometheus has the exemplar", || {
            exemplar_of(&prometheus, series)
        });
        assert_eq!(trace, TRACE, "{series}");
    }
    let others = prometheus.alerts_of(&well).unwrap();
    for (name, _) in caused {
        assert_eq!(others.get(name), None, "{others:?}");
    }
}
