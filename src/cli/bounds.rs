//! Owns reporting how much memory the bounds of `[engine]` allow, and which of them is nearly
//! reached.
//!
//! Invariant: a bound is reported once when it is nearly reached, and again only after it was left
//! by a margin. Deliberately absent: the figures (`engine::footprint`, the journal).

use crate::engine::footprint::Footprint;
use crate::ids::ShardId;
use crate::journal::{Bound, BoundUsed, Journal};

/// From this share on a bound is nearly reached, in percent.
const NEAR_PERCENT: u128 = 80;
/// Below this share it is left, in percent.
const LEFT_PERCENT: u128 = 75;

/// The bounds that are nearly reached.
#[derive(Debug, Default)]
pub(super) struct BoundWatch {
    near: [bool; Bound::ALL.len()],
}

impl BoundWatch {
    /// Reports bounds that are nearly reached since the last check.
    pub(super) fn look(&mut self, journal: &Journal) {
        for (near, used) in self.near.iter_mut().zip(journal.figures().bounds_used()) {
            let percent = (used.used as u128 * 100) / (used.maximum.max(1) as u128);
            if *near {
                *near = percent >= LEFT_PERCENT;
            } else if percent >= NEAR_PERCENT {
                *near = true;
                say_near(used);
            }
        }
    }
}

fn say_near(it: BoundUsed) {
    tracing::warn!(
        event = "bound_near",
        bound = it.bound.as_str(),
        used = it.used,
        maximum = it.maximum,
        shard = it.shard.map(ShardId::index),
        setting = it.bound.setting(),
        "a limit is nearly reached, beyond which requests get 503; raise {} (it needs memory) and restart, or shorten the retention",
        it.bound.setting(),
    );
}

/// Reports at the start how much memory the bounds allow.
pub(super) fn say_memory(journal: &Journal, ring_bytes: usize) {
    let settings = journal.settings();
    let footprint = Footprint::of(&settings.bounds, settings.rate.count);
    let bytes = footprint.bytes().saturating_add(ring_bytes as u64);
    let machine_bytes = machine_bytes();
    tracing::info!(
        event = "memory_bound",
        buyers_bytes = footprint.buyers_bytes,
        purchases_bytes = footprint.purchases_bytes,
        keys_bytes = footprint.keys_bytes,
        velocity_bytes = footprint.velocity_bytes,
        amounts_bytes = footprint.amounts_bytes,
        ring_bytes,
        bytes,
        machine_bytes,
        "memory needed when every limit is reached"
    );
    if machine_bytes.is_some_and(|there| bytes > there) {
        tracing::warn!(
            event = "memory_bound_large",
            bytes,
            machine_bytes,
            "when every limit is reached, holdfast needs more memory than the machine has; lower engine.buyers_max, engine.purchases_max and engine.keys_max to what you sell, or use a larger machine"
        );
    }
}

/// Memory of the machine, or of the control group if that has less; `None`: unknown.
fn machine_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1_024)
    });
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}
