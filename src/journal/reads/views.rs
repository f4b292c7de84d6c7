//! Owns views of what is kept: purchases, holds, products, buyers, payments.
//!
//! Invariants: what is shown is returned with the LSN from which on it may be told; each look takes the
//! turn of one shard at a time, and of long lists a few entries in each turn.

use crate::engine::lifecycle::PurchaseState;
use crate::engine::stamp::LATEST;
use crate::engine::view::{
    BuyerView, HoldView, More, OpenView, Page, PaymentView, PaymentsPage, PostCaptureView,
    ProductView, PromotionView, PurchaseView, RefundView,
};
use crate::ids::{Lsn, ProductId, PromotionCode, PurchaseId, RequestId, ShardId, UserId};
use crate::journal::core::JournalCore;
use crate::money::Tokens;
use crate::time::UnixMs;

/// Views of a running journal.
pub struct JournalReads<'a> {
    pub(super) core: &'a JournalCore,
}

impl<'a> JournalReads<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl JournalReads<'_> {
    /// The purchase, and from which LSN on it may be told.
    pub fn purchase(&self, id: PurchaseId) -> Option<(PurchaseView, Lsn)> {
        let shard = self.core.shard(id.shard());
        let view = shard.purchase_view(id, &self.core.catalogue.load(), LATEST)?;
        Some((view, self.core.appended()))
    }

    /// The purchase as a hold, and from which LSN on it may be told.
    pub fn hold(&self, id: PurchaseId) -> Option<(HoldView, Lsn)> {
        let view = self
            .core
            .shard(id.shard())
            .hold_view(id, &self.core.catalogue.load())?;
        Some((view, self.core.appended()))
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
        self.core.shard(shard).knows(user).then_some(())?;
        let mut from = after.map(|id| id.sequence() + 1).or(Some(0));
        let mut entries = Vec::new();
        while let Some(start) = from
            && entries.len() <= limit
        {
            let shard = self.core.shard(shard);
            let (ids, next) = shard.purchases_of(user, start, LOOKED_AT_ONCE);
            let catalogue = self.core.catalogue.load();
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
        Some((Page { entries, more }, self.core.appended()))
    }

    /// The product, and from which LSN on it may be told.
    pub fn product(&self, id: &ProductId) -> Option<(ProductView, Lsn)> {
        let view = self
            .core
            .catalogue
            .load()
            .product(id)?
            .view(self.core.now());
        Some((view, self.core.appended()))
    }

    /// All products, and from which LSN on they may be told.
    pub fn products(&self) -> (Vec<ProductView>, Lsn) {
        let (page, durable_at) = self.products_after("", usize::MAX);
        (page.entries, durable_at)
    }

    /// The first `limit` products whose ids come after `after` in the order of their text, and
    /// from which LSN on they may be told.
    pub fn products_after(&self, after: &str, limit: usize) -> (Page<ProductView>, Lsn) {
        let at = self.core.now();
        let catalogue = self.core.catalogue.load();
        let products = catalogue.products().iter();
        let page = Page::after(products, after, limit, |it| it.terms.product.as_str());
        (page.map(|it| it.view(at)), self.core.appended())
    }

    /// The promotion, and from which LSN on it may be told.
    pub fn promotion(&self, code: &PromotionCode) -> Option<(PromotionView, Lsn)> {
        let view = self.core.catalogue.load().promotion(code)?.view();
        Some((view, self.core.appended()))
    }

    /// The first `limit` promotions whose codes come after `after`, likewise.
    pub fn promotions_after(&self, after: &str, limit: usize) -> (Page<PromotionView>, Lsn) {
        let catalogue = self.core.catalogue.load();
        let promotions = catalogue.promotions().iter();
        let page = Page::after(promotions, after, limit, |it| it.terms.code.as_str());
        (page.map(|it| it.view()), self.core.appended())
    }

    /// One refund of a purchase, and from which LSN on it may be told.
    pub fn refund(&self, purchase: PurchaseId, number: u32) -> Option<(RefundView, Lsn)> {
        let view = self
            .core
            .shard(purchase.shard())
            .refund_view(purchase, number)?;
        Some((view, self.core.appended()))
    }

    /// The purchase with what became of it, and from which LSN on they may be told.
    pub fn purchase_with_post_capture(
        &self,
        id: PurchaseId,
    ) -> Option<(PurchaseView, PostCaptureView, Lsn)> {
        let shard = self.core.shard(id.shard());
        let view = shard.purchase_view(id, &self.core.catalogue.load(), LATEST)?;
        let post_capture = shard.post_capture_view(id)?;
        Some((view, post_capture, self.core.appended()))
    }

    /// Reward tokens that a buyer can spend and owes, none of one who is not known; and from which
    /// LSN on they may be told.
    pub fn tokens(&self, user: &UserId) -> (Tokens, Tokens, Lsn) {
        let shard = self.core.shard(ShardId::of(user));
        (
            shard.tokens(user),
            shard.token_debt(user),
            self.core.appended(),
        )
    }

    /// Every purchase of which a payment or a refund is under way, and from which LSN on they may
    /// be told. Takes each shard's turn one after the other.
    pub fn open_views(&self) -> (Vec<OpenView>, Lsn) {
        let catalogue = self.core.catalogue.load();
        let of_shard = |id| self.core.shard(id).open_views(&catalogue);
        let views = ShardId::all().flat_map(of_shard).collect();
        (views, self.core.appended())
    }

    /// What is known of a buyer, and from which LSN on it may be told.
    pub fn buyer(&self, user: &UserId) -> Option<(BuyerView, Lsn)> {
        let shard = self.core.shard(ShardId::of(user));
        let today = self.core.days.start_of(self.core.now());
        let view = shard.buyer_view(user, &self.core.catalogue.load(), today)?;
        Some((view, self.core.appended()))
    }

    /// What our books say of the payment of a purchase that `request` brought; to be told once what
    /// is appended is durable.
    pub fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        self.core.shard(id.shard()).payment_view(id, request)
    }

    /// The payments of a shard from the sequence number `from` on; `most` purchases are looked at
    /// in one turn.
    pub fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage {
        self.core.shard(shard).payments(from, most)
    }

    /// Whether a purchase was here once and has been forgotten.
    pub fn has_forgotten(&self, purchase: PurchaseId) -> bool {
        self.core.shard(purchase.shard()).has_forgotten(purchase)
    }

    /// Every purchase of which a payment or a refund is under way, and when it last changed: to be
    /// driven on after a restart, and watched over.
    pub fn open_payments(&self) -> Vec<(PurchaseId, UnixMs)> {
        let of_shard = |id| self.core.shard(id).open_payments().collect::<Vec<_>>();
        ShardId::all().flat_map(of_shard).collect()
    }

    /// Whether a payment or a refund of this purchase is under way.
    pub fn is_open(&self, purchase: PurchaseId) -> bool {
        self.core.shard(purchase.shard()).is_open(purchase)
    }

    /// Every purchase that waits for a person, and when the configuration decides: to be decided
    /// in time after a restart, too.
    pub fn reviews(&self) -> Vec<(PurchaseId, UnixMs)> {
        let of_shard = |id| self.core.shard(id).reviews().collect::<Vec<_>>();
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
        let catalogue = self.core.catalogue.load();
        let today = self.core.days.start_of(self.core.now());
        let first = waiting.iter().take(most);
        let views = first.filter_map(|(purchase, _)| {
            let shard = self.core.shard(purchase.shard());
            let view = shard.purchase_view(*purchase, &catalogue, LATEST)?;
            let buyer = shard.buyer_view(&view.user, &catalogue, today)?;
            // It may have been decided since it was found.
            (view.state == PurchaseState::UnderReview).then_some((view, buyer))
        });
        let entries = views.collect();
        (Page { entries, more }, total, self.core.appended())
    }
}
