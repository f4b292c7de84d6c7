//! The state of a running journal, which every folder above works on, and what all of them need:
//! appending, a shard behind its lock, the time. The [`Journal`](super::Journal) is a handle to it.
//!
//! **The order of locks.** A thread takes a lock only while every lock that it holds stands before it in
//! this list ([`order::LockRank`]); debug builds panic at the first one out of order:
//! 1. a snapshot that is being taken: what must not change between the parts of one waits for it;
//! 2. the catalogue's turn;
//! 3. the turn of risk rules and scoring;
//! 4. the turn of webhooks;
//! 5. the turns of shards, of several the lower number first;
//! 6. small ones that are held for a few instructions: history, the axis of webhooks, notices,
//!    retentions.
//!
//! No lock is held while the disk is waited for, but the first: a snapshot is written under it.
//! Deliberately absent: anything that decides.

pub(in crate::journal) mod append;
pub(in crate::journal) mod axis;
pub(in crate::journal) mod background;
pub(in crate::journal) mod directory;
pub(in crate::journal) mod gate;
pub(in crate::journal) mod history;
pub(in crate::journal) mod in_force;
pub(in crate::journal) mod order;
pub(in crate::journal) mod refusals;
pub(in crate::journal) mod retention;
pub(in crate::journal) mod seen;
pub(in crate::journal) mod settings;
pub(in crate::journal) mod slot;
pub(in crate::journal) mod snapshots;

use crate::engine::catalogue::Catalogue;
use crate::engine::event::{AttemptRefused, WebhookEvent};
use crate::engine::refusal::Trace;
use crate::engine::risk::program::RuleSet;
use crate::engine::risk::scoring::Scoring;
use crate::engine::settings::{EngineSettings, Limits, RateLimit};
use crate::engine::shard::Shard;
use crate::engine::shared::amounts::SharedAmounts;
use crate::engine::velocity::Velocity;
use crate::ids::{Lsn, ShardId};
use crate::journal::format::fault::StorageFault;
use crate::journal::time::clock::{ClockNotice, Moment, Timekeeper};
use crate::journal::time::days::Days;
use crate::random::Random;
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use background::Background;
use crossbeam_utils::CachePadded;
use history::HistoryGate;
use in_force::InForce;
use order::{Held, Ordered};
use refusals::{RefusalsKept, Room};
use retention::Retentions;
use seen::SeenWebhooks;
use slot::Slot;
use snapshots::Snapshots;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wal::Generation;

/// How often a thread that waits for room in the log's ring looks for it.
const ROOM_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Notices about the clock that wait to be fetched; of more, the oldest go.
const NOTICES_MAX: usize = 16;

/// The engine with its clock, log and snapshots. Shared by all threads.
pub(in crate::journal) struct JournalCore {
    /// Names this log, for ever and nowhere else.
    pub(in crate::journal) log_id: u64,
    pub(in crate::journal) slots: Box<[CachePadded<Slot>]>,
    pub(in crate::journal) catalogue: ArcSwap<Catalogue>,
    /// One turn at a time over the catalogue, as each shard has its own.
    pub(in crate::journal) catalogue_turn: Ordered<()>,
    pub(in crate::journal) velocity: Velocity,
    /// Compiled; what the log says of them is in `rules_turn`.
    pub(in crate::journal) rules: ArcSwap<RuleSet>,
    /// Likewise how attempts are scored.
    pub(in crate::journal) scoring: ArcSwap<Scoring>,
    /// One change of the rules or of the scoring at a time.
    pub(in crate::journal) rules_turn: Ordered<InForce>,
    /// What was bought with each card and from each device.
    pub(in crate::journal) shared: SharedAmounts,
    pub(in crate::journal) days: Days,
    pub(in crate::journal) seen: SeenWebhooks,
    /// One webhook at a time is let in.
    pub(in crate::journal) webhook_turn: Ordered<()>,
    /// But for what `rate` has.
    pub(in crate::journal) settings: EngineSettings,
    /// Changed only with every shard's turn taken.
    pub(in crate::journal) rate: ArcSwap<RateLimit>,
    pub(in crate::journal) clock: Timekeeper,
    /// For the operator, until somebody fetches them.
    pub(in crate::journal) notices: Ordered<VecDeque<ClockNotice>>,
    pub(in crate::journal) random: Random,
    pub(in crate::journal) log: Arc<wal::Log>,
    pub(in crate::journal) snapshots: Snapshots,
    pub(in crate::journal) retentions: Retentions,
    pub(in crate::journal) history: HistoryGate,
    pub(in crate::journal) refused_acts: RefusalsKept,
    pub(in crate::journal) refused_attempts: RefusalsKept,
    pub(in crate::journal) background: Background,
}

impl JournalCore {
    /// What time it is for events: the core's own, which follows no step of the wall clock.
    pub(in crate::journal) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Tells the operator, once somebody fetches it.
    pub(in crate::journal) fn notice(&self, notice: ClockNotice) {
        let mut notices = self.notices.lock();
        if notices.len() == NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(notice);
    }

    /// Takes a shard's turn, without letting its holds run out first.
    pub(in crate::journal) fn shard(&self, id: ShardId) -> Held<'_, Shard> {
        self.slots[id.index()].shard.lock()
    }

    /// Everything before is on its way to the disk.
    pub(in crate::journal) fn appended(&self) -> Lsn {
        Lsn(self.log.appended().get())
    }

    /// Everything before is durable.
    pub(in crate::journal) fn durable(&self) -> Lsn {
        Lsn(self.log.durable().get())
    }

    /// Waits, blocking this thread, until everything before `lsn` is durable.
    pub(in crate::journal) fn wait_durable(&self, lsn: Lsn) -> Result<(), StorageFault> {
        Ok(self.log.wait_durable(wal::Lsn::new(lsn.0))?)
    }

    /// What stopped the log, once something has.
    pub(in crate::journal) fn fault(&self) -> Option<StorageFault> {
        self.log.fault().map(StorageFault::from)
    }

    /// Waits until the log takes more, its fault, or the end of the journal. For threads that serve
    /// nobody.
    pub(in crate::journal) fn wait_for_log_room(&self) {
        while !self.log.has_room() && self.fault().is_none() && !self.background.stopped() {
            std::thread::sleep(ROOM_LOOK_EVERY);
        }
    }

    /// Which history of this log is written.
    pub(in crate::journal) fn generation(&self) -> Generation {
        self.log.generation()
    }

    /// Whether this history of the log may sell: it is the first one or accepted, and no reader has
    /// another one that was not given up.
    pub(in crate::journal) fn may_sell(&self) -> bool {
        self.history.may_sell()
    }

    /// The newest snapshot, without waiting for one that is being taken.
    pub(in crate::journal) fn newest_snapshot(&self) -> Option<Lsn> {
        *self.snapshots.newest.lock()
    }

    /// How many attempts a buyer has in a window.
    pub(in crate::journal) fn rate(&self) -> RateLimit {
        **self.rate.load()
    }

    /// The settings that applying depends on, as of the turn that this is called in.
    pub(in crate::journal) fn limits(&self) -> Limits {
        self.settings.limits_at(self.rate())
    }

    /// Remembers a webhook, within the turn of the webhooks that found room for it.
    pub(in crate::journal) fn remember(&self, change: WebhookEvent<'_>, at: Moment) {
        self.seen
            .apply(change, at)
            .expect("there was room when this turn looked, and nobody else remembers in it");
    }

    /// Whether `refused` is written down, then with the count of those left out before it. What
    /// changes the buyer's state always is.
    pub(in crate::journal) fn keeps_refusal(&self, refused: &mut AttemptRefused) -> bool {
        if refused.origin.key.is_some() && refused.reason.trace() != Trace::Nothing {
            return true;
        }
        let owner = &refused.origin.owner;
        let kept = self.refused_attempts.admit(owner, self.room_for_refusals());
        refused.left_out = kept.unwrap_or(0);
        kept.is_some()
    }

    /// Whether the disk has room for refusals.
    pub(in crate::journal) fn room_for_refusals(&self) -> Room {
        if self.log.disk_free_low() || !self.log.has_room() {
            Room::Low
        } else {
            Room::Enough
        }
    }
}
