//! `loadtest run`: a scenario against one server, in stages, with a report and a verdict.
//!
//! 1. Latency counts from when a request was due (`worker`, `buyer`), through lost connections and a restart of the server.
//! 2. Threads share nothing while they send: each has its pool, its buyers and its counts, and sends slices here.
//! 3. What could not be prepared is a fault; what happens during the run is counted, never a fault.
//!
//! `origin` says where the server is, `pool` connects, `worker` lets buyers arrive, `buyer` acts, `tally` counts, `shop` puts
//! products on sale and reads them afterwards. Unlike `generator` it knows TLS, HTTP/2, retries and flows of several
//! requests, and costs more of the shared cores; `drive` and `compare` measure with `generator`.

mod buyer;
mod draw;
pub(crate) mod origin;
mod pool;
mod shop;
mod tally;
mod worker;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::cli::RunArgs;
use crate::drive::run_number;
use crate::error::Fault;
use crate::generator::SLICE;
use crate::progress::Progress;
use crate::report::{self, Facts, Run};
use crate::scenario::Scenario;
use crate::scenario::file::HttpVersion;
use crate::scenario::pace::Stage;
use crate::scenario::threshold::StepName;
use crate::stats::{Slice, Summary};
use crate::{process, scenario};
use origin::{Origin, Trust};
use pool::Pool;
use shop::Shop;
use tally::Window;
use worker::Worker;

/// What the threads of a run share.
pub(crate) struct Setup {
    pub(crate) scenario: Scenario,
    /// The stages, scaled as asked on the command line.
    pub(crate) stages: Vec<Stage>,
    /// Product ids, at least one.
    pub(crate) products: Vec<String>,
    /// Unlike in any other run against the same server.
    pub(crate) run: u32,
    pub(crate) threads: usize,
    pub(crate) timeout: Duration,
}

/// What a thread tells.
pub(crate) enum FromWorker {
    Slice(Slice),
    End { steps: Vec<Slice>, bought: Vec<u64> },
}

/// What a run counted.
pub(crate) struct Counted {
    pub(crate) summary: Summary,
    pub(crate) steps: Vec<Slice>,
    /// Units bought, by product.
    pub(crate) bought: Vec<u64>,
}

/// Runs `run` as asked on the command line.
pub(crate) fn command(args: &RunArgs) -> Result<(), Fault> {
    let scenario = scenario(args)?;
    let origin = origin(args, &scenario)?;
    let usage = |why| Fault::Usage { why };
    let key = scenario.server.key.read().map_err(usage)?;
    let admin_key = scenario.server.admin_key.read().map_err(usage)?;
    let run = run_number();
    let stages = scenario.stages.0.iter();
    let stages = stages.map(|s| s.scaled(args.duration_scale, args.load_scale));
    let setup = Arc::new(Setup {
        stages: stages.collect(),
        products: shop::ids(&scenario.products, run),
        run,
        threads: usize::from(args.threads),
        timeout: Duration::from_millis(scenario.server.timeout_ms.get() as u64),
        scenario,
    });
    process::allow_connections(setup.scenario.server.connections_max.get());
    let shop = Shop::new(&origin, &key, &admin_key, &setup)?;
    let start = shop.open()?;
    let window = window(&setup.stages, start);
    let facts = facts(args, &setup, &origin);
    let mut progress = Progress::new(&facts.title_line(), window.end - start);
    let counted = measure(&setup, &origin, &key, window, &mut progress)?;
    progress.finish();
    let oversold = shop.oversold(&counted.bought);
    let run = Run::new(facts, &counted, oversold, &setup.scenario);
    print!("{}", report::terminal::text(&run));
    report::write(&run, &counted.summary.total.latencies, args)?;
    run.verdict()
}

fn scenario(args: &RunArgs) -> Result<Scenario, Fault> {
    let mut scenario = Scenario::load(&args.scenario)?;
    let server = &mut scenario.server;
    if let Some(url) = &args.url {
        server.url.clone_from(url);
    }
    if let Some(key) = &args.key {
        server.key = scenario::file::Secret::Given(key.clone());
    }
    if let Some(key) = &args.admin_key {
        server.admin_key = scenario::file::Secret::Given(key.clone());
    }
    if args.http2 {
        server.http = HttpVersion::Two;
    }
    Ok(scenario)
}

fn origin(args: &RunArgs, scenario: &Scenario) -> Result<Origin, Fault> {
    let trust = match (&args.ca, args.insecure) {
        (_, true) => Trust::Anyone,
        (Some(file), false) => Trust::Ca(file),
        (None, false) => Trust::PublicRoots,
    };
    let origin = Origin::parse(&scenario.server.url, scenario.server.http, trust)?;
    if args.insecure {
        eprintln!("{}", report::INSECURE);
    }
    Ok(origin)
}

fn window(stages: &[Stage], start: Instant) -> Window {
    let warmup = stages.iter().take_while(|stage| !stage.measured);
    Window {
        start,
        count_from: start + warmup.map(|stage| stage.length).sum::<Duration>(),
        end: start + stages.iter().map(|stage| stage.length).sum::<Duration>(),
    }
}

fn facts(args: &RunArgs, setup: &Setup, origin: &Origin) -> Facts {
    let http = match origin.version {
        HttpVersion::One => "HTTP/1.1",
        HttpVersion::Two => "HTTP/2",
    };
    Facts {
        title: scenario::title(&args.scenario),
        about: setup.scenario.about.clone(),
        url: format!("{}://{}", origin.scheme(), origin.authority),
        http: http.to_owned(),
        started_at: format!("{:.0}", jiff::Timestamp::now()),
        is_insecure: args.insecure,
        duration_scale: args.duration_scale,
        load_scale: args.load_scale,
    }
}

fn measure(
    setup: &Arc<Setup>,
    origin: &Origin,
    key: &str,
    window: Window,
    progress: &mut Progress,
) -> Result<Counted, Fault> {
    let measured = window.end - window.count_from;
    let mut counted = Counted {
        summary: Summary::new(measured, SLICE),
        steps: StepName::ALL.iter().map(|_| Slice::new(0)).collect(),
        bought: vec![0; setup.products.len()],
    };
    let (to, from) = mpsc::channel();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..setup.threads)
            .map(|index| {
                let to = to.clone();
                scope.spawn(move || {
                    let pool = pool(setup, origin, key, index)?;
                    Worker::new(setup, pool, window, index).run(&to)
                })
            })
            .collect();
        drop(to);
        for told in from {
            match told {
                FromWorker::Slice(slice) => {
                    counted.summary.add(slice);
                    progress.show(&counted.summary);
                }
                FromWorker::End { steps, bought } => {
                    for (sum, step) in counted.steps.iter_mut().zip(&steps) {
                        sum.merge(step);
                    }
                    for (sum, units) in counted.bought.iter_mut().zip(bought) {
                        *sum += units;
                    }
                }
            }
        }
        for thread in running {
            // A panic in a worker is a bug of the harness: let it through with its own message.
            thread
                .join()
                .unwrap_or_else(|bug| std::panic::resume_unwind(bug))?;
        }
        Ok(counted)
    })
}

/// The share of the connections of thread `index`; every thread has at least one.
fn pool(setup: &Setup, origin: &Origin, key: &str, index: usize) -> Result<Pool, Fault> {
    let server = &setup.scenario.server;
    let all = server.connections_max.get();
    let own = all / setup.threads + usize::from(index < all % setup.threads);
    Pool::new(origin.clone(), key, own.max(1), server.streams_max.get())
        .map_err(|why| Fault::Usage { why })
}
