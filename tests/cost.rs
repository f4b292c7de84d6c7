//! What a request and recovery cost, in instructions and allocations: the real server under callgrind,
//! one request after the other, compared with `tests/golden/cost.json`.
//!
//! Counted, not timed, so a loaded machine gives the same figures: two runs differ by less than 1 %.
//! A request's figure is that of the HTTP worker, from reading the request to writing the answer,
//! without the kernel. The log thread and the thread of payments are not in it: how often they wake
//! depends on how the threads take turns. Recovery is what a start does on the main thread until it
//! listens, less the same of an empty directory.
//!
//! It is the debug build, which the tests need anyway: a release build would take minutes more. Its
//! figures are four to nine times those of a release build and move with them. `./dev cost --release`
//! prints those, and compares nothing. `HOLDFAST_COST_CONFIG` has settings to measure instead of the
//! baseline's; the figures are shown beside it, and nothing is judged. `HOLDFAST_BLESS=1` writes an intended change down. Other
//! compilers give other figures, so the file names its own.

use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{ADMIN, Client, Request, Server, Setup, product_terms};

/// More instructions than the baseline by more than this part are a regression.
const TOLERANCE: f64 = 0.05;
/// More allocations than the baseline by more than this: a fraction of one is how seldom a table grows.
const ALLOCATIONS_SLACK: f64 = 0.5;
/// Requests of a kind that are counted, and those before, which find everything grown and cached.
const COUNTED: usize = 300;
const BEFORE: usize = 150;
const BASELINE: &str = "tests/golden/cost.json";
/// One HTTP worker: all requests are counted on one thread. A small segment: a start looks through what
/// is left of it.
const CONFIG: &str =
    "[server]\nworkers = 1\n[storage]\nsegment_bytes = 2_097_664\n[clock]\nsettle_s = 1";

/// A kind of request: its name, the one with this number, and the status of its answer.
type RequestKind = (&'static str, fn(usize) -> Request, u16);

/// What one request or event costs.
#[derive(Copy, Clone, Debug, PartialEq)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

#[test]
fn requests_and_recovery_cost_no_more_than_before() {
    let scratch = tempfile::tempdir().unwrap();
    let measured = measure(scratch.path());
    if !cfg!(debug_assertions) {
        print!("{}", shown(&measured, None));
        return;
    }
    let compiler = compiler();
    let is_baselines = other_settings().is_none();
    if std::env::var_os("HOLDFAST_BLESS").is_some() && is_baselines {
        std::fs::write(BASELINE, to_json(&measured, &compiler)).unwrap();
        return;
    }
    let text = std::fs::read(BASELINE).expect("HOLDFAST_BLESS=1 writes it");
    let baseline: Value = serde_json::from_slice(&text).unwrap();
    print!("{}", shown(&measured, Some(&baseline)));
    let dearer = dearer(&measured, &baseline);
    assert!(
        dearer.is_empty() || !is_baselines,
        "{}\nThe baseline is of {}, this is {compiler}. If the cost is meant, or only the compiler \
         changed, write it down: HOLDFAST_BLESS=1 ./dev cost",
        dearer.join("\n"),
        baseline["compiler"],
    );
}

/// A figure beyond the tolerance is found, and one within it is not.
#[test]
fn a_dearer_request_is_told_from_noise() {
    let base = Cost {
        instructions: 100_000.0,
        allocations: 20.0,
    };
    let baseline = to_json(&BTreeMap::from([("hold", base)]), "any");
    let baseline: Value = serde_json::from_str(&baseline).unwrap();
    let found = |instructions, allocations| {
        let cost = Cost {
            instructions,
            allocations,
        };
        dearer(&BTreeMap::from([("hold", cost)]), &baseline).len()
    };
    assert_eq!(found(104_900.0, 20.4), 0);
    assert_eq!(found(50_000.0, 2.0), 0);
    assert_eq!(found(105_100.0, 20.0), 1);
    assert_eq!(found(100_000.0, 20.6), 1);
    assert_eq!(found(105_100.0, 20.6), 2);
    let unknown = BTreeMap::from([("new", base)]);
    assert_eq!(dearer(&unknown, &baseline).len(), 1, "it has no baseline");
}

fn other_settings() -> Option<String> {
    std::env::var("HOLDFAST_COST_CONFIG").ok()
}

fn measure(scratch: &Path) -> BTreeMap<&'static str, Cost> {
    let data = scratch.join("data");
    let first = CountedServer::start(&data, scratch.join("first"));
    let mut costs = BTreeMap::new();
    let empty = first.dump(1).start();
    let mut client = first.server.connect();
    put_product(&first.server, "hot", 1_000_000);
    put_product(&first.server, "none", 0);
    // In this order: the replay is of the buys.
    let kinds: [RequestKind; 4] = [
        ("hold", |n| hold("hot", n), 201),
        ("refusal", |n| hold("none", n), 409),
        ("buy", buy, 201),
        ("replay", buy, 201),
    ];
    for (_, request, status) in &kinds[..3] {
        ask(&mut client, (0..BEFORE).map(request), *status);
    }
    first.dump(2);
    for (place, (kind, request, status)) in (3..).zip(kinds) {
        let counted = BEFORE..BEFORE + COUNTED;
        ask(&mut client, counted.map(request), status);
        let cost = first.dump(place).worker().each(COUNTED);
        costs.insert(kind, cost);
    }
    drop(client);
    let CountedServer { server, .. } = first;
    let (status, log) = server.stop();
    assert!(status.success(), "{}", log.join("\n"));

    let events = events_of(&data);
    let again = CountedServer::start(&data, scratch.join("again"));
    let recovered = again.dump(1).start();
    let of_events = Totals {
        instructions: recovered.instructions - empty.instructions,
        allocations: recovered.allocations - empty.allocations,
    };
    costs.insert("recovery, an event", of_events.each(events));
    costs
}

fn put_product(server: &Server, id: &str, stock: u64) {
    let terms = json!({"name": id, "price": {"USD": 1999}, "stock": stock});
    let path = format!("/admin/products/{id}");
    let put = Request::put(&path).key(ADMIN).json(&product_terms(&terms));
    assert_eq!(server.ask(&put).status, 201);
}

fn hold(product: &str, number: usize) -> Request {
    let (user, key) = (format!("h{number:06}"), format!("{product}-{number:06}"));
    Request::hold(&user, product, 1, &key)
}

fn buy(number: usize) -> Request {
    let (user, key) = (format!("b{number:06}"), format!("buy-{number:06}"));
    Request::buy(&user, "hot", "tok_ok", &key)
}

fn ask(client: &mut Client, requests: impl Iterator<Item = Request>, status: u16) {
    for request in requests {
        let answer = client.ask(&request);
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

/// How many events the log of a stopped directory has.
fn events_of(data: &Path) -> usize {
    let ended = support::binary().arg("check").arg(data).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    let figures: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    usize::try_from(figures["events"].as_u64().unwrap()).unwrap()
}

/// A server whose instructions are counted.
struct CountedServer {
    server: Server,
    /// Where the counts are written; a dump adds its number and the thread's.
    counts: PathBuf,
}

impl CountedServer {
    fn start(data: &Path, counts: PathBuf) -> Self {
        let out = format!("--callgrind-out-file={}", counts.display());
        let valgrind = [
            "valgrind",
            "--quiet",
            "--tool=callgrind",
            "--separate-threads=yes",
            // Threads take turns in order, so that a request finds the log thread where it always does.
            "--fair-sched=yes",
            &out,
        ];
        let valgrind = valgrind.map(str::to_owned).into();
        let config = format!("{CONFIG}\n{}", other_settings().unwrap_or_default());
        let setup = Setup::demo().config(&config).data_dir(data);
        let setup = setup.under(valgrind);
        Self {
            server: setup.start(),
            counts,
        }
    }

    /// Writes what was counted since the last time, its `number` from 1, and counts from zero.
    fn dump(&self, number: usize) -> Threads {
        let mut vgdb = Command::new("vgdb");
        vgdb.args([&format!("--pid={}", self.server.pid()), "dump"]);
        let ended = vgdb.output().expect("valgrind is installed");
        assert!(ended.status.success(), "{ended:?}");
        let prefix = format!("{}.{number}-", self.counts.display());
        let folder = self.counts.parent().unwrap();
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let mine = files.filter(|path| path.to_str().unwrap().starts_with(&prefix));
        Threads(mine.map(|path| Totals::read(&path)).collect())
    }
}

/// What each thread has done.
struct Threads(Vec<Totals>);

impl Threads {
    /// The one that works off requests: it does most of all while they come one after the other.
    fn worker(&self) -> Totals {
        let most = self
            .0
            .iter()
            .max_by(|a, b| a.instructions.total_cmp(&b.instructions));
        *most.expect("threads were counted")
    }

    /// The one that starts the process: it does most until it listens.
    fn start(&self) -> Totals {
        self.worker()
    }
}

/// What one thread has done.
#[derive(Copy, Clone, Debug, Default)]
struct Totals {
    instructions: f64,
    allocations: f64,
}

impl Totals {
    /// From callgrind's format: `summary:` has the instructions; `cfn=` names who is called, by a
    /// number with its name at the first time, and `calls=` says how often.
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut totals, mut called) = (Self::default(), "");
        for line in text.lines() {
            let (word, rest) = line.split_once(['=', ':']).unwrap_or((line, ""));
            match word {
                "summary" => totals.instructions += number(rest),
                "fn" | "cfn" => {
                    let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
                    let name = if name.is_empty() {
                        names.get(id).copied().unwrap_or_default()
                    } else {
                        names.insert(id, name);
                        name
                    };
                    if word == "cfn" {
                        called = name;
                    }
                }
                "calls" if ALLOCATES.contains(&called) => totals.allocations += number(rest),
                _ => {}
            }
        }
        totals
    }

    #[expect(clippy::cast_precision_loss, reason = "there are a few hundred")]
    fn each(self, count: usize) -> Cost {
        Cost {
            instructions: self.instructions / count as f64,
            allocations: self.allocations / count as f64,
        }
    }
}

/// The allocator's functions that Rust's `GlobalAlloc` calls.
const ALLOCATES: [&str; 3] = [
    "mi_malloc_aligned",
    "mi_zalloc_aligned",
    "mi_realloc_aligned",
];

fn number(text: &str) -> f64 {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// What costs more than the baseline allows, as sentences.
fn dearer(measured: &BTreeMap<&'static str, Cost>, baseline: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (kind, cost) in measured {
        let Some(base) = base_of(baseline, kind) else {
            found.push(format!("{kind}: has no baseline"));
            continue;
        };
        let instructions_max = base.instructions * (1.0 + TOLERANCE);
        if cost.instructions > instructions_max {
            let (now, was) = (cost.instructions, base.instructions);
            found.push(format!(
                "{kind}: {now:.0} instructions; the baseline is {was:.0}"
            ));
        }
        if cost.allocations > base.allocations + ALLOCATIONS_SLACK {
            let (now, was) = (cost.allocations, base.allocations);
            found.push(format!(
                "{kind}: {now:.1} allocations; the baseline is {was:.1}"
            ));
        }
    }
    found
}

fn base_of(baseline: &Value, kind: &str) -> Option<Cost> {
    let base = &baseline["costs"][kind];
    Some(Cost {
        instructions: base["instructions"].as_f64()?,
        allocations: base["allocations"].as_f64()?,
    })
}

/// A table; with how much each figure differs from the baseline, where there is one.
fn shown(measured: &BTreeMap<&'static str, Cost>, baseline: Option<&Value>) -> String {
    let mut text = String::new();
    for (kind, cost) in measured {
        let (instructions, allocations) = (cost.instructions, cost.allocations);
        write!(
            text,
            "{kind:20} {instructions:12.0} instructions {allocations:7.1} allocations"
        )
        .unwrap();
        if let Some(base) = baseline.and_then(|it| base_of(it, kind)) {
            let percent = (instructions / base.instructions - 1.0) * 100.0;
            write!(text, " {percent:+6.1} %").unwrap();
        }
        text.push('\n');
    }
    text
}

fn to_json(measured: &BTreeMap<&'static str, Cost>, compiler: &str) -> String {
    let tenth = |figure: f64| (figure * 10.0).round() / 10.0;
    let costs = measured.iter().map(|(kind, cost)| {
        let cost = json!({
            "instructions": cost.instructions.round(),
            "allocations": tenth(cost.allocations),
        });
        ((*kind).to_owned(), cost)
    });
    let costs: serde_json::Map<_, _> = costs.collect();
    let text =
        serde_json::to_string_pretty(&json!({"compiler": compiler, "costs": costs})).unwrap();
    text + "\n"
}

fn compiler() -> String {
    let ended = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}
