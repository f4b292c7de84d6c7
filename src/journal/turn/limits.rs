//! Owns the limits that may change while commands run: the rate of a buyer's attempts.
//!
//! Invariants: a change is one event in the log, and every shard follows it at that LSN, live and
//! in recovery: it holds the turns of all shards, and never runs during a snapshot, because a
//! snapshot has the limits once for all its parts.
//! Deliberately absent: limits that change with a restart, which `recovery` logs.

use crate::engine::event::{Event, LimitsSet};
use crate::engine::settings::RateLimit;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;
use std::sync::Arc;

/// From now on attempts of a buyer have this rate; the LSN that must be durable before that is
/// said, where it was another. Waits for a snapshot that is being taken.
pub(in crate::journal) fn set_rate(
    core: &JournalCore,
    rate: RateLimit,
) -> Result<Option<Lsn>, StorageFault> {
    if rate == core.rate() {
        return Ok(None);
    }
    let _no_snapshot = core.snapshots.taking.lock();
    let _turns: Vec<_> = ShardId::all().map(|id| core.shard(id)).collect();
    let limits = core.settings.limits_at(rate);
    let mut end = core.appended();
    // How long the window is changes only what is decided: that is in the events.
    if limits != core.limits() {
        let event = Event::LimitsSet(LimitsSet { limits });
        end = core.append_one(&event, core.clock.moment())?;
    }
    core.rate.store(Arc::new(rate));
    Ok(Some(end))
}
