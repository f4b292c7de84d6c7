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

/// Changes the rate limit of a buyer's attempts. Returns the LSN that must be durable before the
/// change is confirmed; `None` if the rate is in force already. Waits for a snapshot in progress.
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
    // The window's length changes decisions only, and events have their outcomes.
    if limits != core.limits() {
        let event = Event::LimitsSet(LimitsSet { limits });
        end = core.append_one(&event, core.clock.moment())?;
    }
    core.rate.store(Arc::new(rate));
    Ok(Some(end))
}
