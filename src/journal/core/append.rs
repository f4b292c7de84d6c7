//! Owns appending events to the log, and the turns of all shards at once.
//!
//! Invariants: the events of one append follow each other in the log, all or none; an append is a
//! copy into the log's ring and does not wait for a sync. Deliberately absent: applying events, which
//! the turn that appended them does.

use super::JournalCore;
use super::order::Held;
use crate::engine::event::{Event, Part};
use crate::engine::shard::Shard;
use crate::engine::stamp::Settled;
use crate::ids::{Lsn, ShardId};
use crate::journal::format::codec;
use crate::journal::format::fault::StorageFault;
use crate::journal::time::clock::Moment;
use crate::time::UnixMs;
use crate::trace;
use smallvec::SmallVec;
use std::cell::RefCell;

/// The turns of all shards.
pub(in crate::journal) struct AllTurns<'a> {
    pub(in crate::journal) shards: Vec<Held<'a, Shard>>,
    /// Now.
    pub(in crate::journal) moment: Moment,
    /// The instant since when a counter that is new now is complete.
    pub(in crate::journal) since: UnixMs,
}

impl JournalCore {
    /// Appends an event that changes no state; returns its end.
    pub(in crate::journal) fn append_fact(&self, event: &Event) -> Result<Lsn, StorageFault> {
        assert!(
            matches!(event.part(), Part::Nothing),
            "{} is appended by the turn that applies it",
            event.kind()
        );
        self.append_one(event, self.clock.moment())
    }

    /// Appends one event, which the caller applies; returns its end.
    pub(in crate::journal) fn append_one(
        &self,
        event: &Event,
        at: Moment,
    ) -> Result<Lsn, StorageFault> {
        self.append(std::slice::from_ref(event), at)
            .map(|(end, _)| end)
    }

    /// Appends events in one append; returns their end, and the beginning of each.
    pub(in crate::journal) fn append(
        &self,
        events: &[Event],
        moment: Moment,
    ) -> Result<(Lsn, SmallVec<[Lsn; 2]>), StorageFault> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            let mut ends = SmallVec::<[usize; 2]>::new();
            let trace = trace::current();
            for event in events {
                let begin = buffer.len();
                codec::encode(event, moment.at, trace, buffer);
                if moment.settled == Settled::No {
                    codec::mark_unsettled(&mut buffer[begin..]);
                }
                ends.push(buffer.len());
            }
            let mut entries = SmallVec::<[wal::Entry<'_>; 2]>::new();
            let mut begin = 0;
            for (event, end) in events.iter().zip(&ends) {
                let codec::Kind { number, version } = codec::kind_of(event);
                entries.push(wal::Entry {
                    kind: number,
                    version,
                    payload: &buffer[begin..*end],
                });
                begin = *end;
            }
            let appended = self.log.append(&entries)?;
            let mut next = appended.first.get();
            let begins = entries.iter().map(|entry| {
                let begin = Lsn(next);
                next += wal::record_bytes(entry.payload.len()) as u64;
                begin
            });
            let begins = begins.collect();
            debug_assert_eq!(
                next,
                appended.end.get(),
                "records stand one behind the other"
            );
            Ok((Lsn(appended.end.get()), begins))
        })
    }

    /// Takes the turns of all shards, so nothing is counted until they are released.
    pub(in crate::journal) fn all_turns(&self) -> AllTurns<'_> {
        let shards: Vec<_> = ShardId::all().map(|id| self.shard(id)).collect();
        let latest = shards.iter().map(|shard| shard.last_at()).max();
        let moment = self.clock.moment_after(latest.unwrap_or_default());
        // Not decided by the buyers that are kept, because earlier ones may be forgotten.
        let never = UnixMs::default();
        let nobody = shards.iter().all(|shard| shard.last_at() == never);
        // Without any turn so far there was nothing to count, so a new counter is complete.
        let since = if nobody && self.velocity.keys() == 0 {
            UnixMs::default()
        } else {
            moment.at
        };
        AllTurns {
            shards,
            moment,
            since,
        }
    }
}
