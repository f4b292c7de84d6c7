//! The journal gives the engine a clock, a durable log and snapshots.
//!
//! Invariants: a shard changes only in its turn, and only by events that are in the log, in the
//! order of the log; a claim is taken before its event is appended, and given back only after the
//! event that frees it is (every prefix of the log satisfies I1 and I2); nothing here blocks on the
//! disk unless its documentation says so. A result is returned together with the LSN that must be
//! durable before it may be revealed. Deliberately absent: HTTP, payments, receipts.
//!
//! A [`Journal`] is a handle: commands are its own methods, everything else hangs on a part of it
//! ([`JournalReads`], [`CatalogueChanges`], [`RiskControl`], ...). Folders, the lower ones first; each uses those
//! before it: `format`, `time`, `core` (the state and the order of locks), `turn`, `reads`, `catalogue`,
//! `risk`, `webhooks`, `snapshot`, `recovery`, `tail`.

mod catalogue;
mod core;
mod format;
mod reads;
mod recovery;
mod risk;
pub mod snapshot;
mod sweeper;
mod tail;
mod time;
mod turn;
mod upkeep;
mod webhooks;

use self::core::JournalCore;
use crate::engine::command::{Buy, PaymentStep, PlaceHold, ReleaseHold, SpendTokens, StartRefund};
use crate::engine::settings::EngineSettings;
use crate::engine::view::{HoldView, PurchaseView};
use crate::ids::{Lsn, PurchaseId};
use crate::time::UnixMs;
use std::sync::Arc;
use turn::{commands, money};

pub use self::core::directory::{TakenDirectory, refuse_emptied};
pub use self::core::gate::{CommitGate, Wait};
pub use self::core::history::{Cursor, Elsewhere, Located, Parting};
pub use self::core::in_force::{InForce, Rules, RulesAt, ScoringAt, digest_of};
pub use self::core::refusals::RefusalBounds;
pub use self::core::retention::Retention;
pub use self::core::seen::{fingerprint_of, nonce_fingerprint};
pub use self::core::settings::{Disks, JournalOptions, LogSettings, Sync, Witness};
pub use catalogue::{CatalogueChanges, Created, NotSet, Set};
pub use format::codec;
pub use format::fault::{BadSnapshot, BrokenInvariant, JournalError, StorageFault, WriteError};
pub use reads::bounds::{Bound, BoundUsed};
pub use reads::status::{DiskRoom, DiskState, JournalFigures, Readiness, SYNC_SLOW, Status};
pub use reads::views::JournalReads;
pub use recovery::check::{CheckError, CheckReport, DigestFrom, check, check_on};
pub use recovery::import::{ImportTarget, Imported, NotImported, Takeover};
pub use recovery::opening::{Opened, Progress};
pub use risk::rules::{NewRules, RiskControl, UserCount};
pub use risk::scoring::NewScoring;
pub use risk::segments::SegmentTaken;
pub use snapshot::SnapshotReport;
pub use tail::audit::{
    AuditEntry, AuditPage, AuditQuery, LogEnd, LogExtent, SortOrder, log_extent, read_durable,
    read_log, read_log_on,
};
pub use tail::copying::{
    CopySource, LogSegment, SegmentFacts, SegmentFrames, SnapshotFacts, Stretch, begin_generation,
    cut_log, segment_facts, segment_file_name, snapshot_facts, snapshot_file_name,
};
pub use tail::feed::{Feed, LogTail, Next, PurchaseAsOf};
pub use tail::history::{LogHistory, NothingToAccept};
pub use time::clock::{ClockBehind, ClockDifference, ClockNotice, ClockSettings};
pub use time::days::DayZone;
pub use time::source::{Clock, ManualClock};
pub use turn::audit::{Audit, Revision};
pub use turn::money::{Recorded, RefundChange};
pub use turn::outcome::{Answered, BuyOutcome, RefundOutcome, Refused, Spent, Submitted};
pub use turn::trail::Trail;
pub use upkeep::Upkeep;
pub use wal::{Access, Directory, Generation};
pub use webhooks::{WebhookAccepted, WebhookIntake, WebhookNotAccepted};

/// The engine with its clock, log and snapshots. Shared by all threads.
pub struct Journal {
    core: Arc<JournalCore>,
    opened: Opened,
    /// Held while the directory is open, so that no other process opens it.
    _lock: Option<wal::FileLock>,
}

impl Journal {
    /// Opens the data directory, recovers its state, and starts the background threads.
    pub fn open(
        options: JournalOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, JournalError> {
        TakenDirectory::take(&options.data_dir)?.open(options, progress)
    }

    /// The same on other disks, which no other process may have open.
    pub fn open_on(
        disks: Disks,
        options: JournalOptions,
        lock: Option<wal::FileLock>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, JournalError> {
        let snapshot_every_bytes = options.snapshot_every_bytes;
        let (core, opened) = recovery::opening::open(disks, options, progress)?;
        let journal = Arc::new(Self {
            core,
            opened,
            _lock: lock,
        });
        sweeper::start(&journal.core, snapshot_every_bytes)?;
        Ok(journal)
    }

    /// The result of opening.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The log's id, which never changes and which no other log has. It is part of every reference sent
    /// to a gateway.
    pub fn log_id(&self) -> u64 {
        self.core.log_id
    }

    /// The generation of the log that is being written. Each restore begins the next one.
    pub fn generation(&self) -> Generation {
        self.core.generation()
    }

    /// The engine's settings. The rate of attempts in them may be outdated: [`Upkeep::rate`] has it.
    pub fn settings(&self) -> &EngineSettings {
        &self.core.settings
    }

    /// The time of events: the core's own, which does not follow steps of the wall clock.
    pub fn now(&self) -> UnixMs {
        self.core.now()
    }

    /// The fault that stopped the log; `None` while it runs.
    pub fn fault(&self) -> Option<StorageFault> {
        self.core.fault()
    }

    /// Waits, blocking this thread, until everything before `lsn` is durable.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<(), StorageFault> {
        self.core.wait_durable(lsn)
    }

    /// A gate where the answers of one runtime wait for durability.
    pub fn gate(&self) -> Arc<CommitGate> {
        CommitGate::new(&self.core.log)
    }

    /// Makes everything durable and ends the background threads. Commands fail from now on. Blocks.
    pub fn close(&self) {
        self.core.background.stop();
        // Every waiter got the fault already, and `fault` still returns it.
        let _ = self.core.log.shutdown();
    }
}

impl TakenDirectory {
    /// Opens the journal in this directory: see [`Journal::open`]. Ignores the path in `options`.
    pub fn open(
        self,
        options: JournalOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Journal>, JournalError> {
        let disks = Disks::create_in(&self.directory)?;
        Journal::open_on(disks, options, Some(self.lock), progress)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Commands, each in a turn of its shard.
impl Journal {
    /// Holds units for a buyer.
    pub fn place_hold(&self, command: &PlaceHold) -> Result<Submitted<HoldView>, StorageFault> {
        commands::place_hold(&self.core, command)
    }

    /// Holds units, or uses an earlier hold, and records the intent to charge for them.
    pub fn buy(&self, command: &Buy) -> Result<Submitted<BuyOutcome>, StorageFault> {
        commands::buy(&self.core, command)
    }

    /// Takes reward tokens that a buyer spends in the shop.
    pub fn spend_tokens(&self, command: &SpendTokens) -> Result<Submitted<Spent>, StorageFault> {
        commands::spend_tokens(&self.core, command)
    }

    /// Releases a hold.
    pub fn release_hold(&self, command: &ReleaseHold) -> Result<Submitted<HoldView>, StorageFault> {
        commands::release_hold(&self.core, command)
    }

    /// Records a step of a payment: an intent or an outcome. `audit` makes the administrative act that
    /// asked for it, from the purchase before the step.
    /// [`Refusal::WrongState`](crate::engine::refusal::Refusal) if the purchase's state does not allow
    /// the step: another task recorded one first, so read the purchase again.
    pub fn record(
        &self,
        purchase: PurchaseId,
        step: PaymentStep,
        audit: Audit<'_, PurchaseView>,
    ) -> Result<Recorded, WriteError> {
        money::record(&self.core, purchase, step, audit)
    }

    /// Records the intent to refund captured money, with the act that asked for it.
    pub fn start_refund(
        &self,
        command: &StartRefund,
        audit: Audit<'_, RefundChange>,
    ) -> Result<Submitted<RefundOutcome>, StorageFault> {
        money::start_refund(&self.core, command, audit)
    }
}

/// Its parts.
impl Journal {
    /// Views of the state.
    pub fn reads(&self) -> JournalReads<'_> {
        JournalReads::of(&self.core)
    }

    /// Figures for the operator.
    pub fn figures(&self) -> JournalFigures<'_> {
        JournalFigures::of(&self.core)
    }

    /// Records of attempts and acts that change no state.
    pub fn trail(&self) -> Trail<'_> {
        Trail::of(&self.core)
    }

    /// Changes of products and promotions.
    pub fn catalogue(&self) -> CatalogueChanges<'_> {
        CatalogueChanges::of(&self.core)
    }

    /// Risk rules, scoring, and the operator's facts about buyers.
    pub fn risk(&self) -> RiskControl<'_> {
        RiskControl::of(&self.core)
    }

    /// Accepts webhooks.
    pub fn webhooks(&self) -> WebhookIntake<'_> {
        WebhookIntake::of(&self.core)
    }

    /// Imports the sales of another system.
    pub fn takeover(&self) -> Takeover<'_> {
        Takeover::of(&self.core)
    }

    /// The log and its readers.
    pub fn tail(&self) -> LogTail<'_> {
        LogTail::of(&self.core)
    }

    /// Which history of the log may sell.
    pub fn history(&self) -> LogHistory<'_> {
        LogHistory::of(&self.core)
    }

    /// Its upkeep.
    pub fn upkeep(&self) -> Upkeep<'_> {
        Upkeep::of(&self.core)
    }
}
