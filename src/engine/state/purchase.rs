//! Owns a purchase as stored in its shard: its terms, its payment and its history.
//!
//! Invariants: its state is the fold of its history over the life cycle's table; a step that the
//! table refuses is a broken log, never a changed purchase.

use crate::engine::event::{
    CaptureDifference, Clawback, DeclineCause, HeldQuote, PaysFor, Quote, ReceiptSigner,
    RefundFailure, Restock, ReturnedMoney, VoidCause, VoidStuckCause,
};
use crate::engine::state::catalogue::{ProductIndex, PromotionIndex};
use crate::engine::state::history::PurchaseHistory;
use crate::engine::state::tries::Tries;
use crate::engine::words::dispute::Dispute;
use crate::engine::words::lifecycle::{PurchaseState, Stands, Step, Units, next_state, stands};
use crate::engine::words::metadata::Metadata;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::CurrencyList;
use crate::engine::words::stamp::LATEST;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, GatewayCode, Lsn, PurchaseTag,
    ReceiptKeyId, RequestId,
};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

/// A buyer's slot in their shard.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct BuyerIndex(pub(in crate::engine) u32);

/// A purchase, from its hold on.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Purchase {
    /// The random part of its id.
    pub(in crate::engine) tag: PurchaseTag,
    pub(in crate::engine) buyer: BuyerIndex,
    pub(in crate::engine) product: ProductIndex,
    pub(in crate::engine) promotion: Option<PromotionIndex>,
    pub(in crate::engine) quantity: u32,
    pub(in crate::engine) state: PurchaseState,
    pub(in crate::engine) reason: Option<StateReason>,
    pub(in crate::engine) hold_quote: Quote,
    /// Reward tokens that each unit brings once it is paid.
    pub(in crate::engine) reward_tokens: u32,
    pub(in crate::engine) refunded: Amount,
    pub(in crate::engine) expires_at: UnixMs,
    /// The payment in progress, captured or voided.
    pub(in crate::engine) payment: Option<Box<Payment>>,
    /// Payments that ended with nothing charged.
    pub(in crate::engine) tries: Option<Box<Tries>>,
    pub(in crate::engine) history: PurchaseHistory,
    /// What only few purchases have.
    pub(in crate::engine) post_capture: Option<Box<PostCapture>>,
    /// What only some payments have.
    pub(in crate::engine) particulars: Option<Box<Particulars>>,
    /// What only some holds and purchases have.
    pub(in crate::engine) extras: Option<Box<Extras>>,
}

/// What only some holds and purchases have. Never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Extras {
    /// The price in other currencies, until it is paid.
    pub(in crate::engine) other_quotes: Vec<HeldQuote>,
    /// The shop's metadata.
    pub(in crate::engine) metadata: Metadata,
    /// The address of an earlier hold, until it is paid or over; its expiry is counted by it.
    pub(in crate::engine) ip: Option<IpAddr>,
    /// The device, likewise.
    pub(in crate::engine) device: Option<DeviceId>,
}

impl Extras {
    /// This, unless it is empty.
    pub(in crate::engine) fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// What only some payments have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Particulars {
    /// The buyer's device, if the shop names it.
    pub(in crate::engine) device: Option<DeviceId>,
    /// Why a person must decide before the capture; empty: no review.
    pub(in crate::engine) review_reasons: Vec<String>,
    /// The deadline of the review.
    pub(in crate::engine) review_deadline: Option<UnixMs>,
}

/// What happens to a purchase beyond a plain capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PostCapture {
    /// The deadline of a void in progress.
    pub(in crate::engine) void_deadline: Option<UnixMs>,
    /// The gateway's word for why it refused the capture, where it gave one.
    pub(in crate::engine) void_code: Option<GatewayCode>,
    /// Why it is stuck, where it was.
    pub(in crate::engine) stuck: Option<VoidStuckCause>,
    /// What the gateway captured, if it differs from the request.
    pub(in crate::engine) differing: Option<DifferingCapture>,
    /// What the gateway had captured without goods, and refunded.
    pub(in crate::engine) returned: Option<ReturnedMoney>,
    /// In images only: in memory it is the payment's.
    pub(in crate::engine::state) signing_key: Option<ReceiptSigner>,
    /// Reward tokens that it brought, and how many were clawed back.
    pub(in crate::engine) tokens: Tokens,
    pub(in crate::engine) tokens_asked_back: Tokens,
    /// In the order of their numbers, from 1; at most the last one is in progress.
    pub(in crate::engine) refunds: Vec<Refund>,
    /// In the order in which they were first reported.
    pub(in crate::engine) disputes: Vec<Dispute>,
}

impl PostCapture {
    /// What is kept of it once the authorization was given back: why the gateway refused the capture,
    /// what it had taken, where that was another sum than was asked for, and what it had refunded.
    pub(in crate::engine) fn voided(self, returned: Option<ReturnedMoney>) -> Option<Box<Self>> {
        let kept = Self {
            void_code: self.void_code,
            differing: self.differing,
            returned,
            ..Self::default()
        };
        (kept != Self::default()).then(|| Box::new(kept))
    }
}

/// A capture that differs from the request.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DifferingCapture {
    pub(in crate::engine) difference: CaptureDifference,
    pub(in crate::engine) captured: Amount,
    /// `None`: not one of ISO 4217.
    pub(in crate::engine) currency: Option<Currency>,
}

/// A refund: in progress, done or failed.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Refund {
    pub(in crate::engine) amount: Amount,
    pub(in crate::engine) previously_refunded: Amount,
    pub(in crate::engine) note: String,
    /// Whether the units return to stock with it.
    pub(in crate::engine) restock: Restock,
    pub(in crate::engine) request: RequestId,
    /// The key of its outcome.
    pub(in crate::engine) key: Digest16,
    pub(in crate::engine) started: UnixMs,
    pub(in crate::engine) state: RefundState,
}

#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) enum RefundState {
    /// It was requested; its outcome is not known yet.
    Pending,
    Succeeded {
        at: UnixMs,
        /// The reward tokens clawed back with it.
        clawback: Clawback,
    },
    /// The gateway refused it.
    Failed {
        at: UnixMs,
        /// The gateway's reason code.
        code: Option<GatewayCode>,
        /// The reason that the caller gets.
        failure: RefundFailure,
    },
    /// It was made, and came back later: it failed after all.
    Returned {
        /// When it was made.
        at: UnixMs,
        /// The tokens that were clawed back with it.
        clawback: Clawback,
        /// When it came back.
        returned_at: UnixMs,
    },
}

/// The payment of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Payment {
    pub(in crate::engine) quote: Quote,
    pub(in crate::engine) pays_for: PaysFor,
    pub(in crate::engine) card: CardToken,
    /// The key of the outcome, and the request that started it.
    pub(in crate::engine) key: Option<Digest16>,
    pub(in crate::engine) request: RequestId,
    pub(in crate::engine) authorization: Option<AuthorizationId>,
    pub(in crate::engine) capture_before: Option<UnixMs>,
    pub(in crate::engine) capture: Option<CaptureId>,
    pub(in crate::engine) receipt_key: Option<ReceiptKeyId>,
    /// What signs the receipt. An image has it in [`PostCapture`], which most purchases would have for
    /// this alone.
    #[rkyv(with = rkyv::with::Skip)]
    pub(in crate::engine) signing_key: Option<ReceiptSigner>,
    /// The buyer's address, until the outcome is known. Most payments have none any more; archived,
    /// that takes four bytes.
    #[rkyv(with = rkyv::with::MapNiche<rkyv::with::AsBox, rkyv::niche::niching::Null>)]
    pub(in crate::engine) ip: Option<IpAddr>,
}

/// The reason of a purchase's state, if there is more to say.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum StateReason {
    /// The payment ended with nothing charged.
    Declined(DeclineCause),
    /// The authorization is being voided, or was.
    Void(VoidCause),
}

impl StateReason {
    pub(in crate::engine) const fn as_str(self) -> &'static str {
        match self {
            Self::Declined(cause) => cause.as_str(),
            Self::Void(cause) => cause.as_str(),
        }
    }

    /// Whether it is reported as a decline, and counts as one of a hold's tries.
    pub(in crate::engine) const fn is_refusal(self) -> bool {
        match self {
            Self::Declined(cause) => cause.is_refusal(),
            Self::Void(_) => true,
        }
    }
}

/// What a purchase claims of shared and limited things.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Claimed {
    pub(in crate::engine) units: Units,
    /// Whether it counts for its buyer's limit, and uses its promotion.
    pub(in crate::engine) stands: Stands,
}

/// One step of a purchase's history.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Happened {
    pub(in crate::engine) at: UnixMs,
    pub(in crate::engine) lsn: Lsn,
    pub(in crate::engine) step: Step,
}

impl Purchase {
    /// As an image has it.
    pub(in crate::engine::state) fn to_image(&self) -> Self {
        let mut image = self.clone();
        let signer = image.payment.as_mut().and_then(|it| it.signing_key.take());
        if signer.is_some() {
            image.post_capture_mut().signing_key = signer;
        }
        image
    }

    /// As memory has it.
    pub(in crate::engine::state) fn of_image(mut self) -> Self {
        if let (Some(payment), Some(more)) = (&mut self.payment, &mut self.post_capture)
            && more.signing_key.is_some()
        {
            payment.signing_key = more.signing_key.take();
            if **more == PostCapture::default() {
                self.post_capture = None;
            }
        }
        self
    }

    pub fn state(&self) -> PurchaseState {
        self.state
    }

    pub(in crate::engine) fn quote(&self) -> Quote {
        match &self.payment {
            Some(payment) => payment.quote,
            None => self
                .shown_as_of(LATEST)
                .map_or(self.hold_quote, |shown| shown.quote),
        }
    }

    /// The price in `currency`, by the terms when the hold was placed.
    pub(in crate::engine) fn held_quote(&self, currency: Currency) -> Result<Quote, Refusal> {
        if self.hold_quote.currency == currency {
            return Ok(self.hold_quote);
        }
        let others = self.extras.as_ref().map(|it| &it.other_quotes[..]);
        let mut others = others.unwrap_or_default().iter();
        match others.find(|it| it.currency() == currency) {
            Some(HeldQuote::Payable(quote)) => Ok(*quote),
            Some(HeldQuote::Refused(_, reason)) => Err(*reason),
            None => Err(Refusal::CurrencyNotAllowed),
        }
    }

    /// In which currencies it can be paid, by the terms when the hold was placed.
    pub(in crate::engine) fn held_currencies(&self) -> CurrencyList {
        let others = self.extras.as_ref().map(|it| &it.other_quotes[..]);
        let payable = others.unwrap_or_default().iter().filter_map(|it| match it {
            HeldQuote::Payable(quote) => Some(quote.currency),
            HeldQuote::Refused(..) => None,
        });
        std::iter::once(self.hold_quote.currency)
            .chain(payable)
            .collect()
    }

    /// What the shop attached.
    pub(in crate::engine) fn metadata(&self) -> Metadata {
        let extras = self.extras.as_ref();
        extras.map_or_else(Metadata::default, |it| it.metadata.clone())
    }

    /// Replaces the metadata; quotes in other currencies stay.
    pub(in crate::engine::state) fn set_metadata(&mut self, metadata: &Metadata) {
        let extras = self.extras.take().map_or_else(Extras::default, |it| *it);
        let metadata = metadata.clone();
        self.extras = Extras { metadata, ..extras }.kept();
    }

    /// Drops what only a hold needs: its prices in other currencies, and its origin.
    pub(in crate::engine::state) fn forget_hold(&mut self) {
        if let Some(extras) = self.extras.take() {
            let metadata = extras.metadata;
            let extras = Extras {
                metadata,
                ..Extras::default()
            };
            self.extras = extras.kept();
        }
    }

    /// Takes `step`; returns the claims before it, or `None` with nothing changed if the table
    /// refuses it.
    pub(in crate::engine::state) fn take(
        &mut self,
        step: Step,
        at: UnixMs,
        lsn: Lsn,
    ) -> Option<PurchaseState> {
        let next = next_state(Some(self.state), step)?;
        let before = std::mem::replace(&mut self.state, next);
        self.history.push(Happened { at, lsn, step });
        Some(before)
    }

    /// The refund in progress, with its number.
    pub(in crate::engine) fn pending_refund(&self) -> Option<(u32, &Refund)> {
        let refunds = &self.post_capture.as_ref()?.refunds;
        let last = refunds.last()?;
        let number = u32::try_from(refunds.len()).ok()?;
        (last.state == RefundState::Pending).then_some((number, last))
    }

    /// Its claims on shared and limited things.
    pub(in crate::engine) fn claimed(&self) -> Claimed {
        let (units, stands) = match self.state.units() {
            // Units that were sold or given back are never held again, so nothing has ended before.
            Units::Held => (Units::Held, Stands::Always),
            Units::None => (Units::None, Stands::No),
            Units::Sold => {
                let units = if self.restocked() {
                    Units::None
                } else {
                    Units::Sold
                };
                (units, stands(self.history.iter().map(|it| it.step)))
            }
        };
        Claimed { units, stands }
    }

    /// Whether a refund put its units back into stock.
    fn restocked(&self) -> bool {
        let refunds = self.post_capture.iter().flat_map(|it| &it.refunds);
        // Restocked units may belong to another buyer when the money comes back.
        let restocked = |it: &Refund| match it.state {
            RefundState::Succeeded { .. } | RefundState::Returned { .. } => {
                it.restock == Restock::Yes
            }
            RefundState::Pending | RefundState::Failed { .. } => false,
        };
        refunds.into_iter().any(restocked)
    }

    /// The reason of its state, in one word.
    pub(in crate::engine) fn reason_word(&self) -> Option<&'static str> {
        let post_capture = self.post_capture.as_deref();
        let differing = post_capture.and_then(|it| it.differing);
        let stuck = post_capture.and_then(|it| it.stuck);
        match (self.state, differing, stuck) {
            (PurchaseState::CaptureDiffers, Some(differing), _) => {
                Some(differing.difference.as_str())
            }
            (PurchaseState::Stuck, _, Some(cause @ VoidStuckCause::Refused)) => {
                Some(cause.as_str())
            }
            _ => self.reason.map(StateReason::as_str),
        }
    }

    /// What the gateway is known to have captured.
    pub(in crate::engine) fn captured_money(&self) -> Option<(Amount, Option<Currency>)> {
        let differing = self.post_capture.as_ref().and_then(|it| it.differing);
        if let Some(it) = differing {
            return Some((it.captured, it.currency));
        }
        let payment = self.payment.as_deref()?;
        payment.capture.as_ref()?;
        Some((payment.quote.amount, Some(payment.quote.currency)))
    }

    /// Whether a payment or a refund needs a task that drives it.
    pub(in crate::engine) fn is_open(&self) -> bool {
        self.state.is_open_payment() || self.pending_refund().is_some()
    }

    pub(in crate::engine::state) fn particulars_mut(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }

    /// Whether a person must decide, or had to, before the capture.
    pub(in crate::engine) fn wants_review(&self) -> bool {
        let particulars = self.particulars.as_ref();
        particulars.is_some_and(|it| !it.review_reasons.is_empty())
    }

    /// The deadline of its review, while it is under review.
    pub(in crate::engine) fn review_deadline(&self) -> Option<UnixMs> {
        let under_review = self.state == PurchaseState::UnderReview;
        let particulars = self.particulars.as_ref().filter(|_| under_review);
        particulars.and_then(|it| it.review_deadline)
    }

    pub(in crate::engine::state) fn post_capture_mut(&mut self) -> &mut PostCapture {
        self.post_capture.get_or_insert_default()
    }

    pub(in crate::engine) fn may(&self, step: Step) -> bool {
        next_state(Some(self.state), step).is_some()
    }

    /// The refund with this number, from 1.
    pub(in crate::engine) fn refund(&self, number: u32) -> Option<&Refund> {
        let refunds = &self.post_capture.as_ref()?.refunds;
        refunds.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}
