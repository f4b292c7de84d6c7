//! The journal gives the engine a clock, a durable log and snapshots.
//!
//! Invariants: a shard changes only in its turn, and only by events that are in the log, in the
//! order of the log; a claim is taken before its event is appended, and given back only after the
//! event that frees it is (every prefix of the log satisfies I1 and I2); nothing here blocks on the
//! disk unless its documentation says so. A result is returned together with the LSN that must be
//! durable before it may be revealed. Deliberately absent: HTTP, payments, receipts.
//!
//! Folders, lowest first: `format` (bytes of events and snapshots, errors), `time` (the clocks),
//! `core` (settings, the gate), `turn` (commands), `reads` (views and figures), `catalogue`, `risk`
//! and `webhooks` (changes outside of shards), `snapshot` and `recovery` (state across restarts),
//! `tail` (readers of the log). `sweeper` works in the background.

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
mod webhooks;

use crate::engine::catalogue::Catalogue;
use crate::engine::lifecycle::PurchaseState;
use crate::engine::risk::program::RuleSet;
use crate::engine::risk::scoring::Scoring;
use crate::engine::settings::{EngineSettings, RateLimit};
use crate::engine::shard::Shard;
use crate::engine::shared::amounts::SharedAmounts;
use crate::engine::stamp::LATEST;
use crate::engine::velocity::Velocity;
use crate::engine::view::{
    AftermathView, BuyerView, HoldView, More, OpenView, Page, PaymentView, PaymentsPage,
    ProductView, PromotionView, PurchaseView, RefundView,
};
use crate::ids::{Lsn, ProductId, PromotionCode, PurchaseId, RequestId, ShardId, UserId};
use crate::money::Tokens;
use crate::random::Random;
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::core::refusals::RefusalsKept;
use time::clock::Timekeeper;
use time::days;

pub use self::core::gate::{CommitGate, Wait};
pub use self::core::refusals::RefusalBounds;
pub use self::core::settings::{Disks, JournalOptions, LogSettings, Sync, Witness};
pub use catalogue::{Created, NotSet, Set};
pub use format::codec;
pub use format::fault::{JournalError, StorageFault, WriteError};
pub use reads::bounds::{Bound, BoundUsed};
pub use reads::status::{DiskRoom, DiskState, Readiness, SYNC_SLOW, Status};
pub use recovery::check::{CheckError, CheckReport, DigestFrom, check, check_on};
pub use recovery::import::{ImportTarget, Imported, NotImported, nonce_fingerprint};
pub use recovery::{Opened, Progress, TakenDirectory, refuse_emptied};
pub use risk::scoring::{NewScoring, ScoringAt};
pub use risk::{InForce, NewRules, Rules, RulesAt, UserCount, digest_of};
pub use snapshot::SnapshotReport;
pub use tail::audit::{
    AuditEntry, AuditPage, AuditQuery, LogEnd, LogExtent, SortOrder, log_extent, read_durable,
    read_log, read_log_on,
};
pub use tail::copying::{
    CopySource, LogSegment, SegmentFacts, SegmentFrames, SnapshotFacts, Stretch, begin_generation,
    cut_log, segment_facts, segment_file_name, snapshot_facts, snapshot_file_name,
};
pub use tail::feed::{Feed, Next, PurchaseAsOf, Retention};
pub use tail::history::{Cursor, Elsewhere, Located, NothingToAccept, Parting};
pub use time::clock::{
    Clock, ClockBehind, ClockDifference, ClockNotice, ClockSettings, ManualClock,
};
pub use time::days::DayZone;
pub use turn::money::{Audit, Recorded, RefundChange};
pub use turn::outcome::{Answered, BuyOutcome, RefundOutcome, Refused, Spent, Submitted};
pub use turn::segments::SegmentTaken;
pub use wal::{Access, Directory, Generation};
pub use webhooks::{WebhookAccepted, WebhookNotAccepted, fingerprint_of};

/// Notices about the clock that wait to be fetched; of more, the oldest go.
const NOTICES_MAX: usize = 16;

/// The engine with its clock, log and snapshots. Shared by all threads.
pub struct Journal {
    slots: Box<[CachePadded<Slot>]>,
    catalogue: ArcSwap<Catalogue>,
    /// One turn at a time over the catalogue, as each shard has its own.
    catalogue_turn: Mutex<()>,
    velocity: Velocity,
    /// Compiled; what the log says of them is in `rules_turn`.
    rules: ArcSwap<RuleSet>,
    /// Likewise how attempts are scored.
    scoring: ArcSwap<Scoring>,
    /// One change of the rules or of the scoring at a time.
    rules_turn: Mutex<InForce>,
    /// What was bought with each card and from each device.
    shared: SharedAmounts,
    days: days::Days,
    seen: webhooks::SeenWebhooks,
    /// One webhook at a time is let in.
    webhook_turn: Mutex<()>,
    /// But for what `rate` has.
    settings: EngineSettings,
    /// Changed only with every shard's turn taken.
    rate: ArcSwap<RateLimit>,
    clock: Timekeeper,
    /// For the operator, until somebody fetches them.
    notices: Mutex<VecDeque<ClockNotice>>,
    random: Random,
    log: Arc<wal::Log>,
    snapshots: snapshot::Snapshots,
    retentions: tail::feed::Retentions,
    history: tail::history::HistoryGate,
    refused_acts: RefusalsKept,
    refused_attempts: RefusalsKept,
    background: sweeper::Background,
    opened: Opened,
    /// Held while the directory is open, so that no other process opens it.
    _lock: Option<wal::FileLock>,
}

/// A shard and what is looked at without its turn.
struct Slot {
    shard: Mutex<Shard>,
    /// When its next hold runs out, in Unix milliseconds; `u64::MAX`: it holds none.
    next_expiry_ms: AtomicU64,
    sizes: reads::bounds::SizesSeen,
}

impl Journal {
    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Names this log, for ever and nowhere else: part of every reference told to a gateway.
    pub fn log_id(&self) -> u64 {
        self.opened.log_id
    }

    /// Which history of this log is written: the next one begins with each restore.
    pub fn generation(&self) -> Generation {
        self.log.generation()
    }

    /// What time it is for events: the core's own, which follows no step of the wall clock.
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// What the wall clock says, right or wrong: for what strangers stamped by theirs.
    pub fn wall_clock(&self) -> UnixMs {
        self.clock.wall()
    }

    /// Milliseconds by which the wall clock lay ahead of the core's time when they were last
    /// compared.
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock.offset_ms()
    }

    /// What the operator should hear of the clock and has not yet; the oldest first.
    pub fn take_clock_notices(&self) -> Vec<ClockNotice> {
        self.notices.lock().drain(..).collect()
    }

    fn notice(&self, notice: ClockNotice) {
        let mut notices = self.notices.lock();
        if notices.len() == NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(notice);
    }

    /// How it decides, but for the rate of attempts, which may have changed since the start.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The purchase, and from which LSN on it may be told.
    pub fn purchase(&self, id: PurchaseId) -> Option<(PurchaseView, Lsn)> {
        let shard = self.shard(id.shard());
        let view = shard.purchase_view(id, &self.catalogue.load(), LATEST)?;
        Some((view, self.appended()))
    }

    /// The purchase as a hold, and from which LSN on it may be told.
    pub fn hold(&self, id: PurchaseId) -> Option<(HoldView, Lsn)> {
        let view = self
            .shard(id.shard())
            .hold_view(id, &self.catalogue.load())?;
        Some((view, self.appended()))
    }

    /// The first `limit` holds and purchases of `user` after the one at `after`, in the order in
    /// which they were begun, and from which LSN on they may be told; `None` where the buyer is
    /// not known. Takes the shard's turn for a few at a time.
    pub fn purchases_of(
        &self,
        user: &UserId,
        after: Option<PurchaseId>,
        limit: usize,
    ) -> Option<(Page<PurchaseView>, Lsn)> {
        const LOOKED_AT_ONCE: usize = 8_192;
        let shard = ShardId::of(user);
        self.shard(shard).knows(user).then_some(())?;
        let mut from = after.map(|id| id.sequence() + 1).or(Some(0));
        let mut entries = Vec::new();
        while let Some(start) = from
            && entries.len() <= limit
        {
            let shard = self.shard(shard);
            let (ids, next) = shard.purchases_of(user, start, LOOKED_AT_ONCE);
            let catalogue = self.catalogue.load();
            let room = limit + 1 - entries.len();
            let views = ids.into_iter().take(room);
            entries.extend(views.filter_map(|id| shard.purchase_view(id, &catalogue, LATEST)));
            from = next;
        }
        let more = if entries.len() > limit {
            More::Yes
        } else {
            More::No
        };
        entries.truncate(limit);
        Some((Page { entries, more }, self.appended()))
    }

    /// The product, and from which LSN on it may be told.
    pub fn product(&self, id: &ProductId) -> Option<(ProductView, Lsn)> {
        let view = self.catalogue.load().product(id)?.view(self.now());
        Some((view, self.appended()))
    }

    /// All products, and from which LSN on they may be told.
    pub fn products(&self) -> (Vec<ProductView>, Lsn) {
        let (page, durable_at) = self.products_after("", usize::MAX);
        (page.entries, durable_at)
    }

    /// The first `limit` products whose ids come after `after` in the order of their text, and
    /// from which LSN on they may be told.
    pub fn products_after(&self, after: &str, limit: usize) -> (Page<ProductView>, Lsn) {
        let at = self.now();
        let catalogue = self.catalogue.load();
        let products = catalogue.products().iter();
        let page = Page::after(products, after, limit, |it| it.terms.product.as_str());
        (page.map(|it| it.view(at)), self.appended())
    }

    /// The promotion, and from which LSN on it may be told.
    pub fn promotion(&self, code: &PromotionCode) -> Option<(PromotionView, Lsn)> {
        let view = self.catalogue.load().promotion(code)?.view();
        Some((view, self.appended()))
    }

    /// The first `limit` promotions whose codes come after `after`, likewise.
    pub fn promotions_after(&self, after: &str, limit: usize) -> (Page<PromotionView>, Lsn) {
        let catalogue = self.catalogue.load();
        let promotions = catalogue.promotions().iter();
        let page = Page::after(promotions, after, limit, |it| it.terms.code.as_str());
        (page.map(|it| it.view()), self.appended())
    }

    /// One refund of a purchase, and from which LSN on it may be told.
    pub fn refund(&self, purchase: PurchaseId, number: u32) -> Option<(RefundView, Lsn)> {
        let view = self.shard(purchase.shard()).refund_view(purchase, number)?;
        Some((view, self.appended()))
    }

    /// The purchase with what became of it, and from which LSN on they may be told.
    pub fn purchase_with_aftermath(
        &self,
        id: PurchaseId,
    ) -> Option<(PurchaseView, AftermathView, Lsn)> {
        let shard = self.shard(id.shard());
        let view = shard.purchase_view(id, &self.catalogue.load(), LATEST)?;
        let aftermath = shard.aftermath_view(id)?;
        Some((view, aftermath, self.appended()))
    }

    /// Reward tokens that a buyer can spend and owes, none of one who is not known; and from which
    /// LSN on they may be told.
    pub fn tokens(&self, user: &UserId) -> (Tokens, Tokens, Lsn) {
        let shard = self.shard(ShardId::of(user));
        (shard.tokens(user), shard.token_debt(user), self.appended())
    }

    /// Every purchase of which a payment or a refund is under way, and from which LSN on they may
    /// be told. Takes each shard's turn one after the other.
    pub fn open_views(&self) -> (Vec<OpenView>, Lsn) {
        let catalogue = self.catalogue.load();
        let of_shard = |id| self.shard(id).open_views(&catalogue);
        let views = ShardId::all().flat_map(of_shard).collect();
        (views, self.appended())
    }

    /// What is known of a buyer, and from which LSN on it may be told.
    pub fn buyer(&self, user: &UserId) -> Option<(BuyerView, Lsn)> {
        let shard = self.shard(ShardId::of(user));
        let today = self.days.start_of(self.now());
        let view = shard.buyer_view(user, &self.catalogue.load(), today)?;
        Some((view, self.appended()))
    }

    /// What our books say of the payment of a purchase that `request` brought; to be told once what
    /// is appended is durable.
    pub fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        self.shard(id.shard()).payment_view(id, request)
    }

    /// The payments of a shard from the sequence number `from` on; `most` purchases are looked at
    /// in one turn.
    pub fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage {
        self.shard(shard).payments(from, most)
    }

    /// Whether a purchase was here once and has been forgotten.
    pub fn has_forgotten(&self, purchase: PurchaseId) -> bool {
        self.shard(purchase.shard()).has_forgotten(purchase)
    }

    /// Every purchase of which a payment or a refund is under way, and when it last changed: to be
    /// driven on after a restart, and watched over.
    pub fn open_payments(&self) -> Vec<(PurchaseId, UnixMs)> {
        let of_shard = |id| self.shard(id).open_payments().collect::<Vec<_>>();
        ShardId::all().flat_map(of_shard).collect()
    }

    /// Whether a payment or a refund of this purchase is under way.
    pub fn is_open(&self, purchase: PurchaseId) -> bool {
        self.shard(purchase.shard()).is_open(purchase)
    }

    /// Every purchase that waits for a person, and when the configuration decides: to be decided
    /// in time after a restart, too.
    pub fn reviews(&self) -> Vec<(PurchaseId, UnixMs)> {
        let of_shard = |id| self.shard(id).reviews().collect::<Vec<_>>();
        ShardId::all().flat_map(of_shard).collect()
    }

    /// Of the purchases that wait for a person, those with the oldest deadlines, at most `most`,
    /// with what is known of their buyers; how many wait; and from which LSN on that may be told.
    /// Takes each shard's turn.
    pub fn review_views(
        &self,
        after: Option<(UnixMs, PurchaseId)>,
        most: usize,
    ) -> (Page<(PurchaseView, BuyerView)>, usize, Lsn) {
        let mut waiting: Vec<_> = self.reviews();
        let total = waiting.len();
        waiting.retain(|(id, due)| after.is_none_or(|after| (*due, *id) > after));
        waiting.sort_unstable_by_key(|(purchase, deadline)| (*deadline, *purchase));
        let more = if waiting.len() > most {
            More::Yes
        } else {
            More::No
        };
        let catalogue = self.catalogue.load();
        let today = self.days.start_of(self.now());
        let first = waiting.iter().take(most);
        let views = first.filter_map(|(purchase, _)| {
            let shard = self.shard(purchase.shard());
            let view = shard.purchase_view(*purchase, &catalogue, LATEST)?;
            let buyer = shard.buyer_view(&view.user, &catalogue, today)?;
            // It may have been decided since it was found.
            (view.state == PurchaseState::UnderReview).then_some((view, buyer))
        });
        let entries = views.collect();
        (Page { entries, more }, total, self.appended())
    }

    /// Waits, blocking this thread, until everything before `lsn` is durable.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<(), StorageFault> {
        Ok(self.log.wait_durable(wal::Lsn::new(lsn.0))?)
    }

    /// What stopped the log, once something has.
    pub fn fault(&self) -> Option<StorageFault> {
        self.log.fault().map(StorageFault::from)
    }

    /// SHA-256 over all state but the velocity counters, in hexadecimal: equal for equal
    /// histories (I6). Takes each shard's turn one after the other, so it means something only
    /// while nothing changes.
    pub fn digest(&self) -> String {
        let shards = ShardId::all().map(|id| self.shard(id).image());
        let in_force = self.rules_turn.lock().clone();
        let catalogue = self.catalogue.load();
        let accepted = self.history.accepted();
        snapshot::digest(&catalogue, self.limits(), accepted, &in_force, shards)
    }

    /// Everything durable, background threads ended. Commands fail from now on. Blocks.
    pub fn close(&self) {
        self.background.stop();
        // A fault was told to everyone who waits, and `fault` keeps saying so.
        let _ = self.log.shutdown();
    }

    fn appended(&self) -> Lsn {
        Lsn(self.log.appended().get())
    }

    fn durable(&self) -> Lsn {
        Lsn(self.log.durable().get())
    }

    fn shard(&self, id: ShardId) -> MutexGuard<'_, Shard> {
        self.slots[id.index()].shard.lock()
    }

    fn log_handle(&self) -> Arc<wal::Log> {
        Arc::clone(&self.log)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Slot {
    fn new(shard: Shard) -> Self {
        let next_expiry_ms = AtomicU64::new(expiry_ms(&shard));
        let sizes = reads::bounds::SizesSeen::default();
        sizes.note(&shard);
        Self {
            shard: Mutex::new(shard),
            next_expiry_ms,
            sizes,
        }
    }

    /// To be called at the end of each turn, still within it.
    fn note(&self, shard: &Shard) {
        self.next_expiry_ms
            .store(expiry_ms(shard), Ordering::Release);
        self.sizes.note(shard);
    }
}

fn expiry_ms(shard: &Shard) -> u64 {
    shard.next_expiry().map_or(u64::MAX, UnixMs::get)
}
