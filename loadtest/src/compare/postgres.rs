//! The peer that a careful team builds: one Postgres function a buy, on one hot row, durable.
//!
//! A private cluster is made for it (as user `postgres` when the harness runs as root, since Postgres refuses root) and
//! called without HTTP between: it is the better off for it. Settings are the defaults but for connections and buffers;
//! `fsync` and `synchronous_commit` stay on. Closed loops only: it cannot hold the rate of an open one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use hdrhistogram::Histogram;
use rustix::process::{Signal, geteuid};
use tokio_postgres::{Client, Config, NoTls};

use super::process::{self, Server};
use super::{Figures, Measure, Setup};
use crate::drive::run_number;
use crate::error::{During as _, Fault};
use crate::stats::{latencies, nanos, per_second};
use crate::workload::SplitMix;

const REMEDY: &str = "apt-get install postgresql";
const PLACES: &str = "/usr/lib/postgresql";
/// Below the cluster's `max_connections`.
const CLIENTS_MAX: usize = 400;
const USERS: u64 = 50_000_000;

/// Makes a cluster under `dir` and measures every closed loop of `setup`.
pub(super) fn measure(
    dir: &Path,
    setup: &Setup,
    note: &mut dyn FnMut(Measure, Figures),
) -> Result<(), Fault> {
    let initdb = process::find("initdb", &places(), REMEDY)?;
    let server = initdb.with_file_name("postgres");
    let (_server, port) = start(dir, &setup.dir, &initdb, &server)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .during(|| "start a runtime".to_owned())?;
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("app")
        .dbname("postgres");
    runtime.block_on(async {
        connect(&config)
            .await?
            .batch_execute(include_str!("postgres.sql"))
            .await?;
        for way in &setup.measures {
            if let Measure::Closed(clients) = *way {
                let clients = clients.min(CLIENTS_MAX);
                note(*way, closed_loop(&config, clients, setup).await?);
            }
        }
        Ok(())
    })
}

fn start(dir: &Path, base: &Path, initdb: &Path, program: &Path) -> Result<(Server, u16), Fault> {
    // The server's user has to be able to reach its directory through these two.
    for path in [base, dir] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o711))
            .during(|| format!("open {} to the user postgres", path.display()))?;
    }
    let home = dir.join("pg");
    let data = home.join("data");
    let mut install = Command::new("install");
    install.args(["-d", "-m", "700"]);
    if geteuid().is_root() {
        install.args(["-o", "postgres"]);
    }
    install.arg(&home);
    process::run(install)?;
    let mut init = as_postgres(initdb);
    init.current_dir(&home).arg("-D").arg(&data).args([
        "-U",
        "app",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
        "--no-sync",
    ]);
    process::run(init)?;
    let addr = process::free_address()?;
    let mut command = as_postgres(program);
    command
        .current_dir(&home)
        .arg("-D")
        .arg(&data)
        .args(["-p", &addr.port().to_string()])
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=420",
        ])
        .args(["-c", "shared_buffers=512MB", "-c"])
        .arg(format!("unix_socket_directories={}", home.display()));
    // SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the clients.
    let mut server =
        Server::start("postgres", command, &dir.join("postgres.log"))?.stopped_with(Signal::INT);
    server.wait_until(|| data.join("postmaster.pid").is_file() && is_ready(&data))?;
    Ok((server, addr.port()))
}

/// The last line of the pid file says `ready` once connections are taken.
fn is_ready(data: &Path) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid"));
    text.is_ok_and(|t| t.lines().last().is_some_and(|l| l.trim() == "ready"))
}

fn as_postgres(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

fn places() -> Vec<PathBuf> {
    let versions: io::Result<Vec<_>> = fs::read_dir(PLACES).and_then(Iterator::collect);
    let mut places: Vec<_> = versions
        .unwrap_or_default()
        .iter()
        .map(|version| version.path().join("bin"))
        .collect();
    places.sort();
    places.reverse();
    places
}

async fn connect(config: &Config) -> Result<Client, Fault> {
    let (client, connection) = config.connect(NoTls).await?;
    // Its error reaches the client's calls.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

async fn closed_loop(config: &Config, clients: usize, setup: &Setup) -> Result<Figures, Fault> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(connect(config).await?);
    }
    let count_from = Instant::now() + super::WARMUP;
    let end = count_from + setup.measured;
    let run = run_number();
    let running: Vec<_> = connected
        .into_iter()
        .enumerate()
        .map(|(n, client)| tokio::spawn(one_client(client, n, run, count_from, end)))
        .collect();
    let mut all = latencies();
    for one in running {
        let seen = one
            .await
            .unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()))?;
        all.add(&seen)
            .expect("all histograms here have the same bounds");
    }
    let rate = per_second(all.len(), setup.measured.max(Duration::from_millis(1)));
    Ok(Figures::of_latencies(&all, rate))
}

async fn one_client(
    client: Client,
    number: usize,
    run: u32,
    count_from: Instant,
    end: Instant,
) -> Result<Histogram<u64>, Fault> {
    let buy = client.prepare("select buy($1, $2, $3, $4)").await?;
    let mut random = SplitMix(u64::from(run) << 16 | number as u64);
    let mut latencies = latencies();
    let mut sequence = 0_u64;
    loop {
        let before = Instant::now();
        if before >= end {
            return Ok(latencies);
        }
        let user = format!("u{:011}", random.below(USERS));
        let key = format!("k{run:08x}-{number:03x}-{sequence:012x}");
        sequence += 1;
        client
            .query_one(&buy, &[&user, &"p-0", &1_i32, &key])
            .await?;
        if before >= count_from {
            latencies.saturating_record(nanos(before.elapsed()));
        }
    }
}
