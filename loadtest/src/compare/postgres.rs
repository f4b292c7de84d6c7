//! The peer of a careful team: one PostgreSQL function per buy, on one hot row, durable.
//!
//! A private cluster is created for it and called without HTTP, which gives it an advantage. Closed
//! loops only: it cannot reach the rate of an open one.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio_postgres::{Client, Config, NoTls};

use super::{Figures, Measure, Setup};
use crate::cluster::Cluster;
use crate::drive::run_number;
use crate::error::{During as _, Fault};
use crate::stats::{latencies, nanos, per_second};
use crate::workload::SplitMix;

/// Below the cluster's `max_connections`.
const CLIENTS_MAX: usize = 400;
const USERS: u64 = 50_000_000;

/// Makes a cluster under `dir` and measures every closed loop of `setup`.
pub(super) fn measure(
    dir: &Path,
    setup: &Setup,
    note: &mut dyn FnMut(Measure, Figures),
) -> Result<(), Fault> {
    let cluster = Cluster::create(dir, &setup.dir)?;
    let _server = cluster.start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .during(|| "start a runtime".to_owned())?;
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(cluster.port())
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
