//! The state of a running journal, and the functions that every folder above needs: appending, a shard
//! behind its lock, the time. The [`Journal`](super::Journal) is a handle to it.
//!
//! **The order of locks.** A thread takes a lock only while every lock that it holds stands before it in
//! this list ([`order::LockRank`]); debug builds panic at the first one out of order:
//! 1. a snapshot in progress: changes that must not happen between its parts wait for it;
//! 2. the catalogue's turn;
//! 3. the turn of risk rules and scoring;
//! 4. the turn of webhooks;
//! 5. the turns of shards, of several the lower number first;
//! 6. small ones that are held for a few instructions: history, the axis of webhooks, notices,
//!    retentions.
//!
//! Only the first is held during a wait for the disk: a snapshot is written under it.
//! Deliberately absent: anything that decides.

pub(in crate::journal) mod append;
pub(in crate::journal) mod axis;
pub(in crate::journal) mod background;
pub(in crate::journal) mod directory;
pub(in crate::journal) mod gate;
pub(in crate::journal) mod history;
pub(in crate::journal) mod in_force;
pub(in crate::journal) mod order;
pub(in crate::journal) mod pace;
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

/// How often a thread checks for room in a full ring of the log.
const ROOM_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Maximum number of notices about the clock that wait to be fetched; beyond it the oldest are dropped.
const NOTICES_MAX: usize = 16;

/// The engine with its clock, log and snapshots. Shared by all threads.
pub(in crate::journal) struct JournalCore {
    /// The log's id, which never changes and which no other log has.
    pub(in crate::journal) log_id: u64,
    pub(in crate::journal) slots: Box<[CachePadded<Slot>]>,
    pub(in crate::journal) catalogue: ArcSwap<Catalogue>,
    /// The catalogue's turn.
    pub(in crate::journal) catalogue_turn: Ordered<()>,
    pub(in crate::journal) velocity: Velocity,
    /// The compiled rules; `rules_turn` has them as the log does.
    pub(in crate::journal) rules: ArcSwap<RuleSet>,
    /// The compiled scoring, likewise.
    pub(in crate::journal) scoring: ArcSwap<Scoring>,
    /// The turn of rules and scoring, with both as the log has them.
    pub(in crate::journal) rules_turn: Ordered<InForce>,
    /// The amounts bought with each card and from each device.
    pub(in crate::journal) shared: SharedAmounts,
    pub(in crate::journal) days: Days,
    pub(in crate::journal) seen: SeenWebhooks,
    /// The turn of webhooks: one is decided at a time.
    pub(in crate::journal) webhook_turn: Ordered<()>,
    /// The settings, except the rate limit, which is in `rate`.
    pub(in crate::journal) settings: EngineSettings,
    /// Changed only with every shard's turn taken.
    pub(in crate::journal) rate: ArcSwap<RateLimit>,
    pub(in crate::journal) clock: Timekeeper,
    /// Notices for the operator that were not fetched yet.
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
    /// The time of events: the core's own, which does not follow steps of the wall clock.
    pub(in crate::journal) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Adds a notice for the operator.
    pub(in crate::journal) fn notice(&self, notice: ClockNotice) {
        let mut notices = self.notices.lock();
        if notices.len() == NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(notice);
    }

    /// Takes a shard's lock, without expiring its due holds first.
    pub(in crate::journal) fn shard(&self, id: ShardId) -> Held<'_, Shard> {
        self.slots[id.index()].shard.lock()
    }

    /// The end of the appended log, durable or not.
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

    /// The fault that stopped the log; `None` while it runs.
    pub(in crate::journal) fn fault(&self) -> Option<StorageFault> {
        self.log.fault().map(StorageFault::from)
    }

    /// Waits until the log's ring has room, or for its fault, or for the end of the journal. For
    /// background threads only: it blocks.
    pub(in crate::journal) fn wait_for_log_room(&self) {
        while !self.log.has_room() && self.fault().is_none() && !self.background.stopped() {
            std::thread::sleep(ROOM_LOOK_EVERY);
        }
    }

    /// The generation of the log that is being written.
    pub(in crate::journal) fn generation(&self) -> Generation {
        self.log.generation()
    }

    /// Whether this history of the log may sell: it is the first one or accepted, and no reader has
    /// another history that the operator has not given up.
    pub(in crate::journal) fn may_sell(&self) -> bool {
        self.history.may_sell()
    }

    /// The LSN of the newest snapshot. Does not wait for one in progress.
    pub(in crate::journal) fn newest_snapshot(&self) -> Option<Lsn> {
        *self.snapshots.newest.lock()
    }

    /// The rate limit of a buyer's attempts.
    pub(in crate::journal) fn rate(&self) -> RateLimit {
        **self.rate.load()
    }

    /// The settings that applying depends on, as of the current turn.
    pub(in crate::journal) fn limits(&self) -> Limits {
        self.settings.limits_at(self.rate())
    }

    /// Remembers a webhook. Call it within the turn of webhooks that found room for it.
    pub(in crate::journal) fn remember(&self, change: WebhookEvent<'_>, at: Moment) {
        self.seen
            .apply(change, at)
            .expect("there was room when this turn looked, and nobody else remembers in it");
    }

    /// Whether `refused` is recorded; if so, it gets the count of refusals left out before it. One that
    /// changes the buyer's state is always recorded.
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
