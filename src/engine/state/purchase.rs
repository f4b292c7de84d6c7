//! Owns a purchase as its shard keeps it: what it is of, its payment and its history.
//!
//! Invariants: its state is the fold of its history over the life cycle's table; a step that the
//! table refuses is a broken log, never a changed purchase.

use crate::engine::event::{
    CaptureDifference, Clawback, DeclineCause, HeldQuote, PaysFor, Quote, RefundFailure, Restock,
    ReturnedMoney, VoidCause, VoidStuckCause,
};
use crate::engine::state::catalogue::{ProductIndex, PromotionIndex};
use crate::engine::state::tries::Tries;
use crate::engine::words::dispute::Dispute;
use crate::engine::words::lifecycle::{PurchaseState, Stands, Step, Units, next_state, stands};
use crate::engine::words::metadata::Metadata;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::stamp::LATEST;
use crate::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, GatewayCode, Lsn, PurchaseTag,
    ReceiptKeyId, RequestId,
};
use crate::money::{Amount, Currency, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

/// A buyer's place in their shard.
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
    /// The payment under way, or the one that was made or given back.
    pub(in crate::engine) payment: Option<Box<Payment>>,
    /// Payments that ended with nothing charged.
    pub(in crate::engine) tries: Option<Box<Tries>>,
    pub(in crate::engine) history: Vec<Happened>,
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
    /// What it costs in other currencies, until it is paid.
    pub(in crate::engine) other_quotes: Vec<HeldQuote>,
    /// What the shop attached.
    pub(in crate::engine) metadata: Metadata,
    /// Where an earlier hold came from, until it is paid or over: what its expiry is counted by.
    pub(in crate::engine) ip: Option<IpAddr>,
    /// The device, likewise.
    pub(in crate::engine) device: Option<DeviceId>,
}

impl Extras {
    /// These, where there is anything.
    pub(in crate::engine) fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// What only some payments have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Particulars {
    /// The device that the shop says it came from.
    pub(in crate::engine) device: Option<DeviceId>,
    /// Why a person decides before the money is taken; empty: nobody does.
    pub(in crate::engine) review_reasons: Vec<String>,
    /// Until when they have to.
    pub(in crate::engine) review_deadline: Option<UnixMs>,
}

/// What becomes of a purchase beyond a plain capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PostCapture {
    /// When a void under way is to be done.
    pub(in crate::engine) void_deadline: Option<UnixMs>,
    /// Why it is stuck, where it was.
    pub(in crate::engine) stuck: Option<VoidStuckCause>,
    /// What the gateway took, where it was another sum than was asked for.
    pub(in crate::engine) differing: Option<DifferingCapture>,
    /// What the gateway had captured without goods, and refunded.
    pub(in crate::engine) returned: Option<ReturnedMoney>,
    pub(in crate::engine) signing_key: Option<ReceiptKeyId>,
    /// Reward tokens that it brought, and how many were asked back since.
    pub(in crate::engine) tokens: Tokens,
    pub(in crate::engine) tokens_asked_back: Tokens,
    /// In the order of their numbers, from 1; at most the last is under way.
    pub(in crate::engine) refunds: Vec<Refund>,
    /// In the order in which they were heard of.
    pub(in crate::engine) disputes: Vec<Dispute>,
}

impl PostCapture {
    /// What is kept of it once the authorization was given back: what the gateway had taken, where
    /// that was another sum than was asked for, and what it had refunded.
    pub(in crate::engine) fn voided(
        differing: Option<DifferingCapture>,
        returned: Option<ReturnedMoney>,
    ) -> Option<Box<Self>> {
        let kept = Self {
            differing,
            returned,
            ..Self::default()
        };
        (kept != Self::default()).then(|| Box::new(kept))
    }
}

/// A capture of another sum than was asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DifferingCapture {
    pub(in crate::engine) difference: CaptureDifference,
    /// What the gateway took.
    pub(in crate::engine) captured: Amount,
    /// In which currency; `None`: one that is none of ISO 4217.
    pub(in crate::engine) currency: Option<Currency>,
}

/// Money that went back, is to go back or was refused to.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Refund {
    pub(in crate::engine) amount: Amount,
    pub(in crate::engine) previously_refunded: Amount,
    pub(in crate::engine) note: String,
    /// Whether the units go back into stock with it.
    pub(in crate::engine) restock: Restock,
    pub(in crate::engine) request: RequestId,
    /// The key that the outcome stands under.
    pub(in crate::engine) key: Digest16,
    pub(in crate::engine) started: UnixMs,
    pub(in crate::engine) state: RefundState,
}

/// Where a refund is.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) enum RefundState {
    /// The gateway is being asked, or what it answered is not known.
    Pending,
    /// The money went back.
    Succeeded {
        at: UnixMs,
        /// The reward tokens that went with it.
        clawback: Clawback,
    },
    /// The gateway refused.
    Failed {
        at: UnixMs,
        /// The gateway's word for why.
        code: Option<GatewayCode>,
        /// What its caller is told.
        failure: RefundFailure,
    },
    /// The money went back, and came back later: the refund failed after all.
    Returned {
        /// When it went back.
        at: UnixMs,
        /// The reward tokens that went with it then.
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
    /// The key that the outcome will stand under, and the request that brought it.
    pub(in crate::engine) key: Option<Digest16>,
    pub(in crate::engine) request: RequestId,
    pub(in crate::engine) authorization: Option<AuthorizationId>,
    pub(in crate::engine) capture_before: Option<UnixMs>,
    pub(in crate::engine) capture: Option<CaptureId>,
    pub(in crate::engine) receipt_key: Option<ReceiptKeyId>,
    /// The buyer's address, until its outcome is known. Most have none any more: archived, that
    /// takes four bytes.
    #[rkyv(with = rkyv::with::MapNiche<rkyv::with::AsBox, rkyv::niche::niching::Null>)]
    pub(in crate::engine) ip: Option<IpAddr>,
}

/// Why a purchase is where it is, where there is more to say than the state does.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum StateReason {
    /// The payment ended with nothing charged.
    Declined(DeclineCause),
    /// The authorization is, or was, given back.
    Void(VoidCause),
}

impl StateReason {
    pub(in crate::engine) const fn as_str(self) -> &'static str {
        match self {
            Self::Declined(cause) => cause.as_str(),
            Self::Void(cause) => cause.as_str(),
        }
    }

    /// Whether it is told as a decline, and counts as one of a hold's tries.
    pub(in crate::engine) const fn is_refusal(self) -> bool {
        match self {
            Self::Declined(cause) => cause.is_refusal(),
            Self::Void(_) => true,
        }
    }
}

/// What a purchase has of what is shared and limited.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Claimed {
    /// Of its product's units.
    pub(in crate::engine) units: Units,
    /// Whether it counts for its buyer's limit, and keeps its promotion's use.
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
    /// Where it is.
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

    /// What it costs in `currency`, by the terms when the hold was placed.
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

    /// What the shop attached.
    pub(in crate::engine) fn metadata(&self) -> Metadata {
        let extras = self.extras.as_ref();
        extras.map_or_else(Metadata::default, |it| it.metadata.clone())
    }

    /// From now on this is attached; quotes in other currencies stay.
    pub(in crate::engine::state) fn set_metadata(&mut self, metadata: &Metadata) {
        let extras = self.extras.take().map_or_else(Extras::default, |it| *it);
        let metadata = metadata.clone();
        self.extras = Extras { metadata, ..extras }.kept();
    }

    /// It is paid or over: what it would have cost in other currencies, and where it came from, is of
    /// no use any more.
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

    /// Takes `step`; what it was before, or `None` with nothing changed where the table refuses.
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

    /// The refund under way, with its number.
    pub(in crate::engine) fn pending_refund(&self) -> Option<(u32, &Refund)> {
        let refunds = &self.post_capture.as_ref()?.refunds;
        let last = refunds.last()?;
        let number = u32::try_from(refunds.len()).ok()?;
        (last.state == RefundState::Pending).then_some((number, last))
    }

    /// What it has of what is shared and limited.
    pub(in crate::engine) fn claimed(&self) -> Claimed {
        let steps = self.history.iter().map(|it| it.step);
        let stands = stands(steps);
        let units = if self.restocked() {
            Units::None
        } else {
            self.state.units()
        };
        Claimed { units, stands }
    }

    /// Whether a refund put its units back into stock.
    fn restocked(&self) -> bool {
        let refunds = self.post_capture.iter().flat_map(|it| &it.refunds);
        // What was put back into stock may be somebody else's by the time that the money comes back.
        let restocked = |it: &Refund| match it.state {
            RefundState::Succeeded { .. } | RefundState::Returned { .. } => {
                it.restock == Restock::Yes
            }
            RefundState::Pending | RefundState::Failed { .. } => false,
        };
        refunds.into_iter().any(restocked)
    }

    /// Why it is where it is, in one word.
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

    /// What the gateway is known to have taken.
    pub(in crate::engine) fn captured_money(&self) -> Option<(Amount, Option<Currency>)> {
        let differing = self.post_capture.as_ref().and_then(|it| it.differing);
        if let Some(it) = differing {
            return Some((it.captured, it.currency));
        }
        let payment = self.payment.as_deref()?;
        payment.capture.as_ref()?;
        Some((payment.quote.amount, Some(payment.quote.currency)))
    }

    /// Whether somebody has to drive a payment or a refund on.
    pub(in crate::engine) fn is_open(&self) -> bool {
        self.state.is_open_payment() || self.pending_refund().is_some()
    }

    pub(in crate::engine::state) fn particulars_mut(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }

    /// Whether a person has to decide, or had to, before the money is taken.
    pub(in crate::engine) fn wants_review(&self) -> bool {
        let particulars = self.particulars.as_ref();
        particulars.is_some_and(|it| !it.review_reasons.is_empty())
    }

    /// When the configuration decides where no person has, while it is under review.
    pub(in crate::engine) fn review_deadline(&self) -> Option<UnixMs> {
        let under_review = self.state == PurchaseState::UnderReview;
        let particulars = self.particulars.as_ref().filter(|_| under_review);
        particulars.and_then(|it| it.review_deadline)
    }

    pub(in crate::engine::state) fn post_capture_mut(&mut self) -> &mut PostCapture {
        self.post_capture.get_or_insert_default()
    }

    /// Whether it may take `step` now.
    pub(in crate::engine) fn may(&self, step: Step) -> bool {
        next_state(Some(self.state), step).is_some()
    }

    /// The refund of this number, from 1.
    pub(in crate::engine) fn refund(&self, number: u32) -> Option<&Refund> {
        let refunds = &self.post_capture.as_ref()?.refunds;
        refunds.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}
