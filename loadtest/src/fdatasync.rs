//! The speed of the disk: 4 KiB written into written zeroes and synced, one after the other.
//!
//! No log can answer a single buyer faster than this; group commit shares one sync among many
//! buyers.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cli::FdatasyncArgs;
use crate::error::{During as _, Fault};
use crate::serve::zeroed;
use crate::stats::{latencies, millis, nanos, per_second};

const FILE_BYTES: u64 = 64 << 20;
const BLOCK_BYTES: usize = 4 << 10;

/// Syncs a second and their latencies.
pub(crate) struct Syncs {
    /// Syncs a second.
    pub(crate) rate: f64,
    /// Latencies of write and sync, ns.
    pub(crate) latencies: Histogram<u64>,
}

/// Runs `fdatasync` as asked on the command line.
pub(crate) fn command(args: &FdatasyncArgs) -> Result<(), Fault> {
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let syncs = measure(&dir, Duration::from_secs_f64(args.duration))?;
    let ms = |p| millis(syncs.latencies.value_at_percentile(p));
    println!(
        "fdatasync of 4 KiB into written zeroes in {}: {:.0}/s, p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        dir.display(),
        syncs.rate,
        ms(50.0),
        ms(99.0),
        ms(100.0)
    );
    Ok(())
}

/// Writes and syncs in a file under `dir` for `time`.
pub(crate) fn measure(dir: &Path, time: Duration) -> Result<Syncs, Fault> {
    let what = || format!("write and sync in {}", dir.display());
    let dir_guard = tempfile::tempdir_in(dir).during(what)?;
    let file = zeroed(&dir_guard.path().join("sync.probe"), FILE_BYTES)?;
    let block = [0x5a; BLOCK_BYTES];
    let mut latencies = latencies();
    let start = Instant::now();
    let mut at = 0;
    while start.elapsed() < time {
        let before = Instant::now();
        file.write_all_at(&block, at).during(what)?;
        file.sync_data().during(what)?;
        latencies.saturating_record(nanos(before.elapsed()));
        at = (at + BLOCK_BYTES as u64) % FILE_BYTES;
    }
    Ok(Syncs {
        rate: per_second(latencies.len(), start.elapsed()),
        latencies,
    })
}
