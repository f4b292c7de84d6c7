//! Owns watching the wall clock and correcting the core's time.
//!
//! Invariants: a step that does not last changes nothing. A correction is one event in the log, and
//! every part of the state follows it at that LSN, live and in recovery: it holds the turns of all
//! shards and of the webhooks, and never runs during a snapshot, so all parts of a snapshot are
//! from before it or all from after it.
//! Deliberately absent: reading the clocks (`clock`), and what each part of the state does with a
//! correction (`engine::apply`, `engine::velocity`, `webhooks`).

use crate::engine::event::{ClockCorrected, CorrectedBy, Event};
use crate::engine::settings::Limits;
use crate::engine::shard::Shard;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;
use crate::journal::time::clock::{ClockNotice, Moment, Observed};

/// Compares the wall clock with the core's time, reports a step, and corrects the core's time
/// if the step has lasted.
pub(in crate::journal) fn watch_clock(core: &JournalCore) -> Result<(), StorageFault> {
    match core.clock.observe() {
        Observed::Agreement | Observed::Waiting => Ok(()),
        Observed::Stepped(difference) => {
            core.notice(ClockNotice::Stepped(difference));
            Ok(())
        }
        Observed::Lasting(_) => {
            // If a snapshot is being taken, the next look corrects: the difference lasts.
            let Some(_no_snapshot) = core.snapshots.taking.try_lock() else {
                return Ok(());
            };
            correct_clock(core, CorrectedBy::Settled, core.limits()).map(drop)
        }
    }
}

/// Sets the core's time to the wall clock; `limits` are those in force in the log. Call it only while
/// no snapshot is being taken.
pub(in crate::journal) fn correct_clock(
    core: &JournalCore,
    by: CorrectedBy,
    limits: Limits,
) -> Result<Lsn, StorageFault> {
    // 1. Stop everything else. Lock order: the webhooks' turn, then the shards, as for a
    // webhook; otherwise two threads could deadlock.
    let _webhooks = core.webhook_turn.lock();
    let mut shards: Vec<_> = ShardId::all().map(|id| core.shard(id)).collect();
    let latest = shards.iter().map(|shard| shard.last_at()).max();
    // 2. From here on the core's time is the new one. If the append fails, the log has stopped
    // anyway.
    let settled = core.clock.settled();
    let difference = core.clock.correct();
    let corrected = ClockCorrected {
        before: difference.core.max(latest.unwrap_or_default()),
        after: difference.wall,
        by,
    };
    let moment = Moment {
        at: corrected.after,
        settled,
    };
    let event = [Event::ClockCorrected(corrected)];
    let (end, begins) = core.append(&event, moment)?;
    // 3. Shift every part of the state.
    for shard in &mut shards {
        shard.correct(&corrected, begins[0], limits);
    }
    core.velocity.correct(&corrected);
    core.seen.correct(&corrected);
    let counts = shards.iter().flat_map(|shard| Shard::shared_counts(shard));
    let day_start = |at| core.days.start_of(at);
    core.shared.restart(counts, corrected.after, day_start);
    for (slot, shard) in core.slots.iter().zip(&shards) {
        slot.note(shard);
    }
    core.notice(ClockNotice::Corrected(difference));
    Ok(end)
}
