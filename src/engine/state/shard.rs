//! Owns one shard: the buyers hashed to it, their purchases, keys, rate windows and timers.
//!
//! Invariants: purchases are numbered in the order in which they begin; a buyer's committed
//! units and promotion uses are the sums over their purchases; every held purchase has a timer.
//! Changed by `apply` alone. Deliberately absent: the lock around it and the cells beside it.

use crate::engine::apply::forget::Idle;
use crate::engine::event::{IdempotencyKey, RetryAdvice};
use crate::engine::query::view::{
    BuyerView, DeclineView, HistoryEntry, HoldView, Kept, PaymentView, Payments, PaymentsPage,
    PurchaseView, RefundStatus, RefundView, ReviewView, SpendingView, UnderWay,
};
use crate::engine::shared::amounts::SharedCount;
use crate::engine::state::buyers::Buyers;
use crate::engine::state::catalogue::{Catalogue, ProductIndex, PromotionIndex};
use crate::engine::state::correction::Corrections;
use crate::engine::state::profile::Profile;
use crate::engine::state::purchase::{BuyerIndex, Purchase, RefundState};
use crate::engine::state::purchases::{Place, Purchases};
use crate::engine::state::scrutiny::BuyerRisk;
use crate::engine::state::segments::Segmented;
use crate::engine::state::spending::Spending;
use crate::engine::words::lifecycle::{PurchaseState, Stands, Units, next_state};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{QuotaScope, RefusalFacts, Rejection};
use crate::engine::words::settings::{Bounds, CardRetries, RateLimit};
use crate::ids::{
    AuthorizationId, CardToken, Digest16, Lsn, PurchaseId, PurchaseTag, RequestId, ShardId, UserId,
};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::ops::ControlFlow;

/// One shard of buyers.
#[derive(Debug)]
pub struct Shard {
    pub(in crate::engine) id: ShardId,
    pub(in crate::engine) buyers: Buyers,
    pub(in crate::engine) purchases: Purchases,
    pub(in crate::engine) keys: HashMap<Digest16, KeyEntry, FixedState>,
    /// Every key, in the order in which they are to be forgotten.
    pub(in crate::engine) key_expiries: VecDeque<(UnixMs, Digest16)>,
    /// May name purchases that are no longer held: read over when due.
    pub(in crate::engine) timers: BinaryHeap<Reverse<(UnixMs, u64)>>,
    pub(in crate::engine) last_at: UnixMs,
    pub(in crate::engine) corrections: Corrections,
    /// Purchases of which a payment or a refund is under way, by sequence: derived from them.
    pub(in crate::engine) open: BTreeSet<u64>,
    /// Purchases under review, by sequence: derived from them.
    pub(in crate::engine) reviews: BTreeSet<u64>,
    /// Purchases whose capture was of another sum, by sequence: derived from them.
    pub(in crate::engine) differing: BTreeSet<u64>,
    /// Holds that ended without a payment and that no key names, by when they ended: derived.
    pub(in crate::engine) ended: BTreeSet<(UnixMs, u64)>,
    /// Buyers of whom nothing is left but that they tried: derived.
    pub(in crate::engine) idle: BTreeSet<(Idle, BuyerIndex)>,
}

/// A buyer's state beside their purchases.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Buyer {
    pub(in crate::engine) user: UserId,
    /// The latest attempts, oldest first, at most the rate limit's count.
    pub(in crate::engine) attempts: VecDeque<UnixMs>,
    /// Units of open holds and standing purchases by product; no zeroes.
    pub(in crate::engine) committed: Vec<(ProductIndex, u32)>,
    /// Promotion uses by promotion; no zeroes.
    pub(in crate::engine) promotion_uses: Vec<(PromotionIndex, u32)>,
    /// What was bought, in money: derived from the purchases.
    pub(in crate::engine) spending: Spending,
    /// When each of the buyer's purchases was paid, by sequence, oldest first: derived from them.
    pub(in crate::engine) captures: Vec<(UnixMs, u64)>,
    /// Purchases that are kept: derived from them.
    pub(in crate::engine) owned: u32,
    /// Since when nothing is left of the buyer, where nothing is: derived.
    pub(in crate::engine) idle: Option<Idle>,
    /// Holds that are neither paid nor being paid, by sequence: derived from the purchases.
    pub(in crate::engine) held: Vec<u64>,
    /// When each of the buyer's keys is to be forgotten: derived from the keys.
    pub(in crate::engine) key_dues: VecDeque<UnixMs>,
    /// What only few buyers have.
    pub(in crate::engine) more: Option<Box<BuyerMore>>,
    /// What the operator said of the buyer.
    pub(in crate::engine) risk: Option<Box<BuyerRisk>>,
    /// The segment that was computed from what the buyer bought.
    pub(in crate::engine) segmented: Option<Box<Segmented>>,
    /// What is remembered of the buyer for judging.
    pub(in crate::engine) profile: Option<Box<Profile>>,
}

/// What only some buyers have: reward tokens, cards whose networks limit another try, and what they
/// bought elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerMore {
    pub(in crate::engine) tokens: Tokens,
    /// Tokens asked back that were not there any more.
    pub(in crate::engine) debt: Tokens,
    /// Oldest first, bounded.
    pub(in crate::engine) declines: Vec<CardDecline>,
    /// Units that the buyer bought elsewhere, before: part of what is committed. No zeroes.
    pub(in crate::engine) imported: Vec<(ProductIndex, u32)>,
}

impl Buyer {
    /// A buyer of whom nothing is known yet.
    pub(in crate::engine) fn new(user: UserId) -> Self {
        Self {
            user,
            attempts: VecDeque::new(),
            committed: Vec::new(),
            promotion_uses: Vec::new(),
            spending: Spending::default(),
            captures: Vec::new(),
            owned: 0,
            idle: None,
            held: Vec::new(),
            key_dues: VecDeque::new(),
            more: None,
            risk: None,
            segmented: None,
            profile: None,
        }
    }

    pub(in crate::engine) fn more_mut(&mut self) -> &mut BuyerMore {
        self.more.get_or_insert_default()
    }
}

/// A decline that says something about another try.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) struct CardDecline {
    pub(in crate::engine) card: CardToken,
    pub(in crate::engine) advice: RetryAdvice,
    pub(in crate::engine) at: UnixMs,
}

/// What stands under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Whose it is.
    pub(in crate::engine) owner: BuyerIndex,
    pub(in crate::engine) fingerprint: Digest16,
    pub(in crate::engine) outcome: KeyOutcome,
    /// When it is forgotten, unless its request still runs then.
    pub(in crate::engine) forget_at: UnixMs,
}

/// The outcome under a key.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) enum KeyOutcome {
    InFlight,
    Held(PurchaseId),
    Paid {
        purchase: PurchaseId,
        as_of: Lsn,
    },
    Refused {
        reason: Refusal,
        request: RequestId,
        facts: Option<Box<RefusalFacts>>,
    },
    /// What most refused keys of a drop are: its two figures need no memory of their own.
    SoldOut {
        request: RequestId,
        available: u32,
        requested: u32,
    },
    /// The payment of `purchase` that this request brought was not made.
    Declined {
        purchase: PurchaseId,
        request: RequestId,
    },
    Refunded {
        purchase: PurchaseId,
        number: u32,
    },
    Spent {
        balance: Tokens,
    },
    /// In the system that sold before.
    Elsewhere,
}

// There are as many as requests of a week.
const _: () = assert!(size_of::<KeyOutcome>() <= 32, "a key grew");

impl KeyOutcome {
    /// The outcome of a refused request.
    pub(in crate::engine) fn refused(rejection: Rejection, request: RequestId) -> Self {
        let Rejection { reason, facts } = rejection;
        match (reason, facts) {
            (
                Refusal::SoldOut,
                Some(RefusalFacts::Stock {
                    available,
                    requested,
                }),
            ) => Self::SoldOut {
                request,
                available,
                requested,
            },
            (reason, facts) => Self::Refused {
                reason,
                request,
                facts: facts.map(Box::new),
            },
        }
    }
}

/// What a key says about a request that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It was never used: go on.
    Free,
    /// The first request under it is still running.
    InFlight,
    /// It was used for another request.
    Reused,
    /// It was used in the system that sold before.
    Elsewhere,
    /// It placed this hold.
    Held(HoldView),
    /// It made this purchase, shown as of its capture.
    Paid(Box<PurchaseView>),
    /// Its payment was not made.
    Declined(Box<DeclineView>),
    /// It gave this money back.
    Refunded(Box<RefundView>),
    /// It spent reward tokens, and left this many.
    Spent(Tokens),
    /// It was refused so, by the answer to this request.
    Refused {
        /// Why, and what it is about.
        rejection: Rejection,
        /// The request that was refused.
        request: RequestId,
    },
}

impl Shard {
    /// A shard without buyers.
    pub fn new(id: ShardId) -> Self {
        Self {
            id,
            buyers: Buyers::default(),
            purchases: Purchases::default(),
            keys: HashMap::with_hasher(FixedState::default()),
            key_expiries: VecDeque::new(),
            timers: BinaryHeap::new(),
            last_at: UnixMs::default(),
            corrections: Corrections::default(),
            open: BTreeSet::new(),
            reviews: BTreeSet::new(),
            differing: BTreeSet::new(),
            ended: BTreeSet::new(),
            idle: BTreeSet::new(),
        }
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The instant of the latest event.
    pub fn last_at(&self) -> UnixMs {
        self.last_at
    }

    /// Buyers, purchases and keys kept.
    pub fn sizes(&self) -> ShardSizes {
        ShardSizes {
            open_payments: self.open.len(),
            reviews: self.reviews.len(),
            differing_captures: self.differing.len(),
            stuck_voids: self
                .opened()
                .filter(|(_, it)| it.state == PurchaseState::Stuck)
                .count(),
            ..self.kept()
        }
    }

    /// The same without what is under way, which must be looked for.
    pub fn kept(&self) -> ShardSizes {
        ShardSizes {
            buyers: self.buyers.len(),
            purchases: self.purchases.len(),
            keys: self.keys.len(),
            ..ShardSizes::default()
        }
    }

    /// What `key` says.
    pub fn key_answer(&self, key: &IdempotencyKey, catalogue: &Catalogue) -> KeyAnswer {
        let Some(entry) = self.keys.get(&key.scope) else {
            return KeyAnswer::Free;
        };
        if entry.outcome == KeyOutcome::Elsewhere {
            // Which request it was used for is not known here.
            return KeyAnswer::Elsewhere;
        }
        if entry.fingerprint != key.fingerprint {
            return KeyAnswer::Reused;
        }
        let known = "a key names a purchase of its own shard, which is kept as long as the key";
        match entry.outcome.clone() {
            KeyOutcome::InFlight => KeyAnswer::InFlight,
            KeyOutcome::Held(id) => {
                let mut view = self.hold_view(id, catalogue).expect(known);
                view.state = PurchaseState::Held;
                KeyAnswer::Held(view)
            }
            KeyOutcome::Paid { purchase, as_of } => KeyAnswer::Paid(Box::new(
                self.purchase_view(purchase, catalogue, as_of).expect(known),
            )),
            KeyOutcome::Refused {
                reason,
                request,
                facts,
            } => KeyAnswer::Refused {
                rejection: Rejection {
                    reason,
                    facts: facts.map(|it| *it),
                },
                request,
            },
            KeyOutcome::SoldOut {
                request,
                available,
                requested,
            } => KeyAnswer::Refused {
                rejection: Refusal::SoldOut.about(RefusalFacts::Stock {
                    available,
                    requested,
                }),
                request,
            },
            KeyOutcome::Declined { purchase, request } => {
                KeyAnswer::Declined(Box::new(self.decline_view(purchase, request).expect(known)))
            }
            KeyOutcome::Refunded { purchase, number } => {
                KeyAnswer::Refunded(Box::new(self.refund_view(purchase, number).expect(known)))
            }
            KeyOutcome::Spent { balance } => KeyAnswer::Spent(balance),
            KeyOutcome::Elsewhere => unreachable!("answered above"),
        }
    }

    /// The answer of the payment of a purchase that `request` brought, where it was not made.
    pub fn decline_view(&self, id: PurchaseId, request: RequestId) -> Option<DeclineView> {
        self.find(id)?.decline_view(id, request)
    }

    /// One refund of a purchase.
    pub fn refund_view(&self, id: PurchaseId, number: u32) -> Option<RefundView> {
        let purchase = self.find(id)?;
        let refunds = &purchase.aftermath.as_ref()?.refunds;
        let refund = refunds.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        let status = match &refund.state {
            RefundState::Pending => RefundStatus::Pending,
            RefundState::Succeeded { at, clawback } => RefundStatus::Succeeded {
                at: *at,
                clawback: *clawback,
            },
            RefundState::Failed { at, code, failure } => RefundStatus::Failed {
                failure: *failure,
                at: *at,
                code: code.clone(),
            },
        };
        Some(RefundView {
            purchase: id,
            number,
            amount: refund.amount,
            currency: purchase.quote().currency,
            previously_refunded: refund.previously_refunded,
            note: refund.note.clone(),
            restock: refund.restock,
            request: refund.request,
            started_at: refund.started,
            status,
        })
    }

    /// What the shard knows of a buyer; `day_start` is when today began.
    pub fn buyer_view(
        &self,
        user: &UserId,
        catalogue: &Catalogue,
        day_start: UnixMs,
    ) -> Option<BuyerView> {
        let buyer = self.buyer(user)?;
        // Sums stand in the order in which they came, which a restart changes: shown sorted.
        let committed = buyer.committed.iter().map(|(product, units)| {
            let terms = &catalogue.product_at(*product).terms;
            (terms.product.clone(), *units)
        });
        let mut committed: Vec<_> = committed.collect();
        committed.sort_unstable();
        let spending = buyer.spending.currencies();
        let spending = spending.map(|currency| SpendingView {
            currency,
            today: buyer.spending.since(day_start, currency),
            lifetime: buyer.spending.lifetime(currency),
        });
        let mut spending: Vec<_> = spending.collect();
        spending.sort_unstable_by_key(|it| it.currency);
        Some(BuyerView {
            user: user.clone(),
            tokens: self.tokens(user),
            token_debt: self.token_debt(user),
            committed,
            attempts: buyer.attempts.iter().copied().collect(),
            spending,
            purchases: buyer.spending.purchases(),
            segment: self.segment(user).cloned(),
            rating: self.rating(user).cloned().unwrap_or_default(),
            profile: buyer.profile.as_deref().cloned(),
        })
    }

    /// Reward tokens that the buyer can spend.
    pub fn tokens(&self, user: &UserId) -> Tokens {
        let more = self.buyer(user).and_then(|buyer| buyer.more.as_ref());
        more.map_or(Tokens::NONE, |more| more.tokens)
    }

    /// Reward tokens that the buyer owes.
    pub fn token_debt(&self, user: &UserId) -> Tokens {
        let more = self.buyer(user).and_then(|buyer| buyer.more.as_ref());
        more.map_or(Tokens::NONE, |more| more.debt)
    }

    /// Whether the card's network allows `user` to try `card` again.
    pub(in crate::engine) fn may_try_card(
        &self,
        user: &UserId,
        card: &CardToken,
        rules: CardRetries,
        at: UnixMs,
    ) -> bool {
        let Some(more) = self.buyer(user).and_then(|buyer| buyer.more.as_ref()) else {
            return true;
        };
        let counts = |it: &&CardDecline| it.card == *card && at.since_ms(it.at) < rules.window_ms;
        let mut limited = 0;
        for decline in more.declines.iter().filter(counts) {
            match decline.advice {
                RetryAdvice::Never => return false,
                RetryAdvice::Later => limited += 1,
                RetryAdvice::OtherCard => {}
            }
        }
        limited < rules.limited_max
    }

    /// The purchase as a hold, with the quote it was placed at.
    pub fn hold_view(&self, id: PurchaseId, catalogue: &Catalogue) -> Option<HoldView> {
        let purchase = self.find(id)?;
        Some(HoldView {
            purchase: id,
            user: self.buyers[purchase.buyer].user.clone(),
            product: catalogue.product_at(purchase.product).terms.product.clone(),
            quantity: purchase.quantity,
            state: purchase.state,
            payments: if purchase.payment_start().is_some() {
                Payments::Some
            } else {
                Payments::None
            },
            quote: purchase.hold_quote,
            expires_at: purchase.expires_at,
        })
    }

    /// The purchase as it was when the record at `as_of` had been applied; [`LATEST`] for now.
    pub fn purchase_view(
        &self,
        id: PurchaseId,
        catalogue: &Catalogue,
        as_of: Lsn,
    ) -> Option<PurchaseView> {
        let purchase = self.find(id)?;
        let until = purchase
            .history
            .iter()
            .take_while(|happened| happened.lsn <= as_of);
        let history: Vec<HistoryEntry> = until
            .map(|it| HistoryEntry {
                at: it.at,
                today: self.corrections.today(it),
                step: it.step,
                lsn: it.lsn,
            })
            .collect();
        let state = history
            .iter()
            .fold(None, |state, entry| next_state(state, entry.step))?;
        let whole = history.len() == purchase.history.len();
        let payment = purchase.payment.as_deref();
        let shown = purchase.shown_as_of(as_of);
        Some(PurchaseView {
            purchase: id,
            user: self.buyers[purchase.buyer].user.clone(),
            product: catalogue.product_at(purchase.product).terms.product.clone(),
            quantity: purchase.quantity,
            quote: shown.as_ref().map_or(purchase.hold_quote, |it| it.quote),
            refunded: if whole {
                purchase.refunded
            } else {
                Amount::ZERO
            },
            charged_back: if whole {
                purchase.charged_back()
            } else {
                Amount::ZERO
            },
            disputes: if whole {
                purchase.disputes().to_vec()
            } else {
                Vec::new()
            },
            promotion: purchase
                .promotion
                .map(|index| catalogue.promotion_at(index).terms.code.clone()),
            metadata: purchase.metadata(),
            state,
            reason: purchase.reason_word().filter(|_| whole),
            expires_at: purchase.expires_at,
            card: shown.as_ref().map(|it| it.card.clone()),
            authorization: payment.and_then(|payment| payment.authorization.clone()),
            capture_before: payment.and_then(|payment| payment.capture_before),
            capture: payment.and_then(|payment| payment.capture.clone()),
            captured: purchase.captured_money(),
            receipt_key: payment.and_then(|payment| payment.receipt_key.clone()),
            signing_key: purchase
                .aftermath
                .as_ref()
                .and_then(|aftermath| aftermath.signing_key.clone()),
            request: shown.as_ref().map(|it| it.request),
            declines: purchase.decline_views(id, as_of),
            review: review_of(purchase),
            void_deadline: purchase
                .aftermath
                .as_ref()
                .and_then(|aftermath| aftermath.void_deadline),
            refunds: purchase
                .aftermath
                .as_ref()
                .filter(|_| whole)
                .map_or(0, |aftermath| aftermath.refunds.len()),
            pending_refund: purchase
                .pending_refund()
                .filter(|_| whole)
                .map(|(number, _)| number),
            history,
        })
    }

    /// The user whose purchase `id` is.
    pub fn owner_of(&self, id: PurchaseId) -> Option<&UserId> {
        self.find(id)
            .map(|purchase| &self.buyers[purchase.buyer].user)
    }

    /// The purchase whose payment the gateway calls `authorization`, among `most` purchases from
    /// the sequence number `from` on; where it is not one of them, where to go on.
    pub fn purchase_of(
        &self,
        authorization: &AuthorizationId,
        from: u64,
        most: usize,
    ) -> ControlFlow<Option<PurchaseId>, u64> {
        let named = |purchase: &Purchase| {
            let payment = purchase.payment.as_ref();
            payment.and_then(|it| it.authorization.as_ref()) == Some(authorization)
        };
        let mut numbered = self.purchases.from(from);
        for (sequence, purchase) in numbered.by_ref().take(most) {
            if named(purchase) {
                return ControlFlow::Break(Some(self.id_of(sequence, purchase)));
            }
        }
        match numbered.next() {
            Some((next, _)) => ControlFlow::Continue(next),
            None => ControlFlow::Break(None),
        }
    }

    /// Whether the refund of this number, or the last one, succeeded by our books.
    pub fn refund_succeeded(&self, id: PurchaseId, number: Option<u32>) -> bool {
        let aftermath = self.find(id).and_then(|it| it.aftermath.as_ref());
        let refunds = aftermath.map_or(&[][..], |it| &it.refunds);
        let refund = match number {
            Some(number) => (number as usize)
                .checked_sub(1)
                .and_then(|place| refunds.get(place)),
            None => refunds.last(),
        };
        refund.is_some_and(|it| matches!(it.state, RefundState::Succeeded { .. }))
    }

    /// Whether a payment is under way that was begun by this instant and of which it is not known
    /// what the gateway calls it.
    pub fn awaits_authorization(&self, begun_by: UnixMs) -> bool {
        let payments = self
            .opened()
            .filter_map(|(id, it)| it.payment_view(id, &self.corrections));
        let mut begun = payments.filter(|it| it.started_at <= begun_by);
        begun.any(|it| it.authorization.is_none())
    }

    /// Every purchase of which a payment or a refund is under way, and when it last changed by
    /// today's clock.
    pub fn open_payments(&self) -> impl Iterator<Item = (PurchaseId, UnixMs)> + '_ {
        self.opened().map(|(id, purchase)| {
            let last = purchase.history.last();
            let last = last.map(|last| self.corrections.today(last));
            (id, last.unwrap_or_default())
        })
    }

    /// Whether a payment or a refund of this purchase is under way.
    pub fn is_open(&self, id: PurchaseId) -> bool {
        self.find(id).is_some_and(Purchase::is_open)
    }

    /// Every purchase whose capture was of another sum than was asked for.
    pub(in crate::engine) fn differing_captures(&self) -> impl Iterator<Item = PurchaseId> + '_ {
        let id = |sequence: &u64| {
            let purchase = self.purchases.get(*sequence)?;
            Some(self.id_of(*sequence, purchase))
        };
        self.differing.iter().filter_map(id)
    }

    /// What is under way under the key `scope`: a payment, a review or a refund. It looks only at
    /// purchases that somebody drives or decides about, of which there are few.
    pub fn under_way(&self, scope: Digest16) -> Option<UnderWay> {
        let undecided = self.open.iter().chain(&self.reviews);
        let undecided = undecided.chain(&self.differing);
        undecided.copied().find_map(|sequence| {
            let purchase = self.at_place(sequence)?;
            let id = self.id_of(sequence, purchase);
            match purchase.pending_refund() {
                Some((number, refund)) if refund.key == scope => {
                    return Some(UnderWay::Refund(id, number));
                }
                Some(_) | None => {}
            }
            let payment = purchase.payment.as_deref()?;
            (payment.key == Some(scope)).then_some(UnderWay::Payment(id))
        })
    }

    fn opened(&self) -> impl Iterator<Item = (PurchaseId, &Purchase)> + '_ {
        self.open.iter().filter_map(|sequence| {
            let purchase = self.at_place(*sequence)?;
            Some((self.id_of(*sequence, purchase), purchase))
        })
    }

    /// Every purchase that has been paid, and what of the money was not given back.
    pub fn captures(&self) -> impl Iterator<Item = (PurchaseId, Kept)> + '_ {
        let sold = self
            .numbered()
            .filter(|(_, it)| it.state.units() == Units::Sold);
        sold.map(|(id, it)| {
            let quote = it.quote();
            let kept = Kept {
                amount: quote.amount.saturating_minus(it.refunded),
                currency: quote.currency,
            };
            (id, kept)
        })
    }

    /// Every purchase that waits for a person, and when the configuration decides.
    pub fn reviews(&self) -> impl Iterator<Item = (PurchaseId, UnixMs)> + '_ {
        self.reviews.iter().filter_map(|sequence| {
            let purchase = self.at_place(*sequence)?;
            let id = self.id_of(*sequence, purchase);
            Some((id, purchase.review_deadline()?))
        })
    }

    /// When the purchase that waits longest for a person was put before one, by today's clock.
    pub fn oldest_review(&self) -> Option<UnixMs> {
        let purchases = self.reviews.iter().filter_map(|sequence| {
            let purchase = self.at_place(*sequence)?;
            let last = purchase.history.last()?;
            Some(self.corrections.today(last))
        });
        purchases.min()
    }

    /// What `user` has bought in `currency` since `day_start`, and ever.
    pub(in crate::engine) fn spent(
        &self,
        user: &UserId,
        currency: Currency,
        day_start: UnixMs,
    ) -> (Amount, Amount) {
        self.buyer(user)
            .map_or((Amount::ZERO, Amount::ZERO), |buyer| {
                let spending = &buyer.spending;
                (
                    spending.since(day_start, currency),
                    spending.lifetime(currency),
                )
            })
    }

    /// What counts of each payment that stands or is under way, for the sums that buyers share.
    pub fn shared_counts(&self) -> impl Iterator<Item = SharedCount> + '_ {
        self.purchases
            .iter()
            .filter_map(|it| SharedCount::of(it, &self.corrections))
    }

    /// What the books say of the payment of a purchase that `request` brought.
    pub fn payment_view(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        let mut payments = self.find(id)?.payment_views(id, &self.corrections);
        payments.find(|it| it.request == request)
    }

    /// The payments among the purchases from the sequence number `from` on, of which at most
    /// `most` are looked at.
    pub fn payments(&self, from: u64, most: usize) -> PaymentsPage {
        let mut numbered = self.purchases.from(from);
        let looked_at = numbered.by_ref().take(most);
        let payments = looked_at.flat_map(|(sequence, it)| {
            it.payment_views(self.id_of(sequence, it), &self.corrections)
        });
        PaymentsPage {
            payments: payments.collect(),
            next: numbered.next().map(|(sequence, _)| sequence),
        }
    }

    /// Holds and purchases of `user` among the purchases from the sequence number `from` on, of
    /// which at most `most` are looked at; and the sequence number from which to go on.
    pub fn purchases_of(
        &self,
        user: &UserId,
        from: u64,
        most: usize,
    ) -> (Vec<PurchaseId>, Option<u64>) {
        let Some(buyer) = self.buyers.place(user) else {
            return (Vec::new(), None);
        };
        let mut numbered = self.purchases.from(from);
        let looked_at = numbered.by_ref().take(most);
        let theirs = looked_at.filter(|(_, it)| it.buyer == buyer);
        let ids = theirs.map(|(sequence, it)| self.id_of(sequence, it));
        (ids.collect(), numbered.next().map(|(sequence, _)| sequence))
    }

    /// When the next hold runs out, at the earliest.
    pub fn next_expiry(&self) -> Option<UnixMs> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// How long `user` has to wait before the next attempt; `None`: not at all.
    pub fn rate_wait_ms(
        &self,
        user: &UserId,
        rate: RateLimit,
        at: UnixMs,
    ) -> Option<(u64, RefusalFacts)> {
        let buyer = self.buyer(user)?;
        let within = |instant: &&UnixMs| at.since_ms(**instant) < rate.window_ms;
        let counted = buyer.attempts.iter().filter(within).count();
        let over = counted.checked_sub(rate.count as usize)?;
        let oldest = buyer.attempts.iter().filter(within).nth(over)?;
        let facts = RefusalFacts::Quota {
            scope: QuotaScope::Attempts,
            limit: rate.count.into(),
            window_s: Some(rate.window_ms.div_ceil(1_000)),
        };
        Some((oldest.plus_ms(rate.window_ms).since_ms(at).max(1), facts))
    }

    /// Whether there is room for one more purchase.
    pub fn room_for_purchase(&self, bounds: &Bounds) -> Result<(), Refusal> {
        if self.purchases.len() >= bounds.purchases_max {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    /// Whether there is room for one more buyer, where `user` is new.
    pub fn room_for_buyer(&self, user: &UserId, bounds: &Bounds) -> Result<(), Refusal> {
        if self.buyer(user).is_none() && self.buyers.len() >= bounds.buyers_max {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    /// Whether there is room for one more buyer (where `user` is new) and key.
    pub fn room_for(&self, user: &UserId, bounds: &Bounds) -> Result<(), Refusal> {
        let buyers = self.buyers.len() + usize::from(self.buyer(user).is_none());
        let full = buyers > bounds.buyers_max || self.keys.len() >= bounds.keys_max;
        if full {
            Err(Refusal::Overloaded)
        } else {
            Ok(())
        }
    }

    pub(in crate::engine) fn find(&self, id: PurchaseId) -> Option<&Purchase> {
        self.place_of(id).map(|place| &self.purchases[place])
    }

    /// Where the purchase is kept, if it is.
    pub(in crate::engine) fn place_of(&self, id: PurchaseId) -> Option<Place> {
        (id.shard() == self.id).then_some(())?;
        let place = self.purchases.place(id.sequence())?;
        self.purchases[place].tag.is(id.tag()).then_some(place)
    }

    pub(in crate::engine) fn at_place(&self, sequence: u64) -> Option<&Purchase> {
        self.purchases.get(sequence)
    }

    pub(in crate::engine) fn id_of(&self, sequence: u64, purchase: &Purchase) -> PurchaseId {
        PurchaseId::new(self.id, sequence, purchase.tag)
    }

    /// Every hold and purchase, in order.
    pub fn purchases(&self) -> impl Iterator<Item = PurchaseId> {
        self.numbered().map(|(id, _)| id)
    }

    pub(in crate::engine) fn numbered(&self) -> impl Iterator<Item = (PurchaseId, &Purchase)> {
        self.purchases
            .from(0)
            .map(|(sequence, it)| (self.id_of(sequence, it), it))
    }

    pub(in crate::engine) fn buyer(&self, user: &UserId) -> Option<&Buyer> {
        self.buyers.place(user).map(|place| &self.buyers[place])
    }

    pub(in crate::engine) fn next_id(&self, tag: PurchaseTag) -> PurchaseId {
        PurchaseId::new(self.id, self.purchases.next(), tag)
    }

    pub(in crate::engine) fn committed(&self, user: &UserId, product: ProductIndex) -> u32 {
        let of_product = |buyer: &Buyer| tally_of(&buyer.committed, product);
        self.buyer(user).map_or(0, of_product)
    }

    pub(in crate::engine) fn promotion_uses(
        &self,
        user: &UserId,
        promotion: PromotionIndex,
    ) -> u32 {
        let of_promotion = |buyer: &Buyer| tally_of(&buyer.promotion_uses, promotion);
        self.buyer(user).map_or(0, of_promotion)
    }

    /// Units of each purchase in each product's cell, for recovery and for checking I1 and I4.
    pub fn claimed_units(&self) -> impl Iterator<Item = (ProductIndex, Units, u32)> + '_ {
        self.purchases
            .iter()
            .map(|it| (it.product, it.claimed().units, it.quantity))
    }

    /// The promotion of each purchase that has one and keeps its use, likewise for I2.
    pub fn claimed_uses(&self) -> impl Iterator<Item = PromotionIndex> + '_ {
        let stands = |it: &&Purchase| it.claimed().stands == Stands::Always;
        self.purchases
            .iter()
            .filter(stands)
            .filter_map(|it| it.promotion)
    }
}

fn review_of(purchase: &Purchase) -> Option<ReviewView> {
    purchase.wants_review().then_some(())?;
    let particulars = purchase.particulars.as_ref()?;
    Some(ReviewView {
        reasons: particulars.review_reasons.clone(),
        deadline: purchase.review_deadline(),
    })
}

/// As of no record in particular: now.
pub const LATEST: Lsn = Lsn(u64::MAX);

/// How much a shard keeps.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSizes {
    /// Buyers kept.
    pub buyers: usize,
    /// Purchases kept.
    pub purchases: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    /// Payments and refunds under way.
    pub open_payments: usize,
    /// Purchases that wait for a person.
    pub reviews: usize,
    /// Voids among the open payments that are overdue or refused.
    pub stuck_voids: usize,
    /// Captures of another sum than was asked for, which an operator has to settle.
    pub differing_captures: usize,
}

pub(in crate::engine) fn tally_of<K: PartialEq + Copy>(tallies: &[(K, u32)], key: K) -> u32 {
    tallies
        .iter()
        .find(|(named, _)| *named == key)
        .map_or(0, |(_, tally)| *tally)
}

pub(in crate::engine) fn tally_add<K: PartialEq + Copy>(
    tallies: &mut Vec<(K, u32)>,
    key: K,
    more: u32,
) {
    match tallies.iter_mut().find(|(named, _)| *named == key) {
        Some((_, tally)) => *tally += more,
        None => tallies.push((key, more)),
    }
}

pub(in crate::engine) fn tally_take<K: PartialEq + Copy>(
    tallies: &mut Vec<(K, u32)>,
    key: K,
    less: u32,
) {
    let place = tallies.iter().position(|(named, _)| *named == key);
    let place = place.expect("what is given back was tallied when it was taken");
    tallies[place].1 -= less;
    if tallies[place].1 == 0 {
        tallies.swap_remove(place);
    }
}
