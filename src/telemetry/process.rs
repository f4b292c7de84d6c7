//! Owns the metrics that every Prometheus client exposes about its process, and the build.
//!
//! Invariants: names and units are the conventional ones, so that dashboards made for any program
//! show this one; a file of `/proc` that cannot be read or parsed leaves its family out and fails
//! nothing. Reading takes no lock of the core. The thread that renders `/metrics` calls this.

use super::exposition::Exposition;
use super::families;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// The unit of times in `/proc`, which Linux fixes for programs whatever the kernel's own rate is.
const TICKS_PER_SECOND: u64 = 100;
const MS_PER_TICK: u64 = 1_000 / TICKS_PER_SECOND;

/// What `/proc/self/stat` says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Stat {
    /// Processor time of all threads, in user and kernel mode.
    cpu_ms: u64,
    /// From the boot of the machine to the start of the process.
    started_ms: u64,
}

/// When the process started, as far as the kernel says.
#[cfg(feature = "otlp")]
pub(super) fn started_at() -> std::time::SystemTime {
    let text = |path: &str| fs::read_to_string(path).ok();
    let stat = text("/proc/self/stat").and_then(|it| stat_of(&it));
    let boot_s = text("/proc/stat").and_then(|it| number_after(&it, "btime "));
    let now = std::time::SystemTime::now();
    let (Some(stat), Some(boot_s)) = (stat, boot_s) else {
        return now;
    };
    let since = std::time::Duration::from_millis(boot_s.saturating_mul(1_000) + stat.started_ms);
    // The kernel says its boot in whole seconds.
    now.min(std::time::UNIX_EPOCH + since)
}

/// The families of the process.
pub fn process(out: &mut Exposition) {
    let text = |path: &str| fs::read_to_string(path).ok();
    let stat = text("/proc/self/stat").and_then(|it| stat_of(&it));
    let boot_s = text("/proc/stat").and_then(|it| number_after(&it, "btime "));
    if let (Some(stat), Some(boot_s)) = (stat, boot_s) {
        let start_ms = boot_s.saturating_mul(1_000) + stat.started_ms;
        out.family(&families::PROCESS_START)
            .sample_ms(&[], start_ms);
    }
    if let Some(stat) = stat {
        out.family(&families::PROCESS_CPU)
            .sample_ms(&[], stat.cpu_ms);
    }
    let status = text("/proc/self/status").unwrap_or_default();
    for (family, key) in [
        (&families::PROCESS_RESIDENT, "VmRSS:"),
        (&families::PROCESS_VIRTUAL, "VmSize:"),
    ] {
        if let Some(kib) = number_after(&status, key) {
            out.single(family, kib.saturating_mul(1_024));
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Listing them opens one, which is closed when the list ends.
        let open = open.count().saturating_sub(1);
        out.single(&families::PROCESS_OPEN_FDS, open as u64);
    }
    let max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    out.single(&families::PROCESS_MAX_FDS, max);
}

/// The family of the build.
pub fn build(out: &mut Exposition) {
    let built_in = [
        ("kafka", cfg!(feature = "kafka")),
        ("otlp", cfg!(feature = "otlp")),
        ("postgres", cfg!(feature = "postgres")),
        ("redis-import", cfg!(feature = "redis-import")),
    ];
    let features = built_in.iter().filter(|(_, is_in)| *is_in);
    let features: Vec<&str> = features.map(|(name, _)| *name).collect();
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("features", &features.join(",")),
        ("arch", std::env::consts::ARCH),
    ];
    out.family(&families::BUILD_INFO).sample(&labels, 1);
}

/// Fields are counted after the name of the program, which may hold spaces and parentheses.
fn stat_of(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // The first one here is the third in proc(5).
    let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let cpu = ticks(14)?.saturating_add(ticks(15)?);
    Some(Stat {
        cpu_ms: cpu.saturating_mul(MS_PER_TICK),
        started_ms: ticks(22)?.saturating_mul(MS_PER_TICK),
    })
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Stat, number_after, stat_of};

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 4200 1 2";
        let stat = Stat {
            cpu_ms: 2_000,
            started_ms: 42_000,
        };
        assert_eq!(stat_of(text), Some(stat));
    }

    #[test]
    fn cut_and_foreign_text_is_not_a_figure() {
        for text in [
            "",
            "7 (a",
            "7 (a) S 1",
            "7 (a) S x x x x x x x x x x x x x x x x x x x x",
        ] {
            assert_eq!(stat_of(text), None, "{text}");
        }
        assert_eq!(number_after("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(number_after("VmRSS:\n", "VmRSS:"), None);
        assert_eq!(number_after("", "VmRSS:"), None);
    }
}
