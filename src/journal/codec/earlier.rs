//! Owns the shapes that events had in earlier versions, and what they are today.
//!
//! Invariants: a shape here is never changed; what it did not say yet becomes what was true then.
//! Deliberately absent: writing them to the log.

use crate::engine::event::{
    Active, Actor, ActorRole, AdminAct, AdminActed, AttemptRefused, DeclineCause, DeviceKept,
    Discount, Flow, HoldPlaced, Origin, PaymentCaptured, PaymentDeclined, PaymentStarted, PaysFor,
    PromotionSet, Quote, RetryAdvice, Shown, Target, VoidCause, VoidStarted,
};
use crate::engine::refusal::Refusal;
use crate::ids::{
    CaptureId, CardToken, GatewayCode, ProductId, PromotionCode, PurchaseId, ReceiptKeyId,
    RequestId, UserId,
};
use crate::money::Tokens;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// A promotion as it was before it could name segments. Snapshots keep promotions in this shape,
/// and the segments beside them.
#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct PromotionSetV1 {
    code: PromotionCode,
    discount: Discount,
    uses_max: u32,
    uses_per_user_max: Option<u32>,
    products: Vec<ProductId>,
    starts_at: Option<UnixMs>,
    ends_at: Option<UnixMs>,
    active: Active,
    by: AdminAct,
}

impl From<PromotionSetV1> for PromotionSet {
    /// It was for all buyers.
    fn from(old: PromotionSetV1) -> Self {
        Self {
            code: old.code,
            discount: old.discount,
            uses_max: old.uses_max,
            uses_per_user_max: old.uses_per_user_max,
            products: old.products,
            segments: Vec::new(),
            starts_at: old.starts_at,
            ends_at: old.ends_at,
            active: old.active,
            by: old.by,
        }
    }
}

impl From<PromotionSet> for PromotionSetV1 {
    fn from(set: PromotionSet) -> Self {
        Self {
            code: set.code,
            discount: set.discount,
            uses_max: set.uses_max,
            uses_per_user_max: set.uses_per_user_max,
            products: set.products,
            starts_at: set.starts_at,
            ends_at: set.ends_at,
            active: set.active,
            by: set.by,
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct AdminActedV1 {
    act: String,
    by: AdminAct,
}

impl From<AdminActedV1> for AdminActed {
    /// What it was done to stood behind the word: an id, or several. Only administrators could act,
    /// and signals, which have no request.
    fn from(old: AdminActedV1) -> Self {
        let (act, rest) = old.act.split_once(' ').unwrap_or((&old.act, ""));
        let target = Target::parse(rest);
        let several = target.is_none() && !rest.is_empty();
        let role = if old.by.request == RequestId(0) {
            ActorRole::Process
        } else {
            ActorRole::Admin
        };
        Self {
            act: act.to_owned(),
            target,
            before: None,
            after: several.then(|| Shown::new(format!("\"{rest}\""))),
            by: Actor::of(old.by, role),
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PaymentStartedV1 {
    purchase: PurchaseId,
    user: UserId,
    quote: Quote,
    card: CardToken,
    pays_for: PaysFor,
    origin: Origin,
}

impl From<PaymentStartedV1> for PaymentStarted {
    /// There were no reviews, and snapshots kept no device.
    fn from(old: PaymentStartedV1) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            quote: old.quote,
            card: old.card,
            pays_for: old.pays_for,
            origin: old.origin,
            review: Vec::new(),
            device: DeviceKept::No,
            hits: Vec::new(),
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PaymentDeclinedV1 {
    purchase: PurchaseId,
    user: UserId,
    cause: DeclineCause,
}

impl From<PaymentDeclinedV1> for PaymentDeclined {
    fn from(old: PaymentDeclinedV1) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            cause: old.cause,
            code: None,
            advice: RetryAdvice::Free,
            whence: None,
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PaymentCapturedV1 {
    purchase: PurchaseId,
    user: UserId,
    capture: CaptureId,
    receipt_key: ReceiptKeyId,
}

impl From<PaymentCapturedV1> for PaymentCaptured {
    fn from(old: PaymentCapturedV1) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            capture: old.capture,
            receipt_key: old.receipt_key,
            signing_key: None,
            tokens: Tokens::NONE,
            debt_paid: Tokens::NONE,
            whence: None,
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct VoidStartedV1 {
    purchase: PurchaseId,
    user: UserId,
    cause: VoidCause,
}

impl From<VoidStartedV1> for VoidStarted {
    /// There were no deadlines: it is overdue at the first look.
    fn from(old: VoidStartedV1) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            cause: old.cause,
            deadline: UnixMs::new(0),
            by: None,
        }
    }
}

/// Risk rules said nothing of attempts yet, and outcomes did not say where the payment came from.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct AttemptRefusedV1 {
    flow: Flow,
    reason: Refusal,
    user: Option<UserId>,
    product: Option<ProductId>,
    quantity: u32,
    card: Option<CardToken>,
    origin: Origin,
}

impl From<AttemptRefusedV1> for AttemptRefused {
    fn from(old: AttemptRefusedV1) -> Self {
        Self {
            flow: old.flow,
            reason: old.reason,
            user: old.user,
            product: old.product,
            quantity: old.quantity,
            card: old.card,
            origin: old.origin,
            hits: Vec::new(),
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct HoldPlacedV1 {
    purchase: PurchaseId,
    user: UserId,
    product: ProductId,
    quantity: u32,
    quote: Quote,
    promotion: Option<PromotionCode>,
    expires_at: UnixMs,
    flow: Flow,
    origin: Origin,
}

impl From<HoldPlacedV1> for HoldPlaced {
    fn from(old: HoldPlacedV1) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            product: old.product,
            quantity: old.quantity,
            quote: old.quote,
            promotion: old.promotion,
            expires_at: old.expires_at,
            flow: old.flow,
            origin: old.origin,
            hits: Vec::new(),
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PaymentStartedV2 {
    purchase: PurchaseId,
    user: UserId,
    quote: Quote,
    card: CardToken,
    pays_for: PaysFor,
    origin: Origin,
    review: Vec<String>,
    device: DeviceKept,
}

impl From<PaymentStartedV2> for PaymentStarted {
    fn from(old: PaymentStartedV2) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            quote: old.quote,
            card: old.card,
            pays_for: old.pays_for,
            origin: old.origin,
            review: old.review,
            device: old.device,
            hits: Vec::new(),
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PaymentDeclinedV2 {
    purchase: PurchaseId,
    user: UserId,
    cause: DeclineCause,
    code: Option<GatewayCode>,
    advice: RetryAdvice,
}

impl From<PaymentDeclinedV2> for PaymentDeclined {
    fn from(old: PaymentDeclinedV2) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            cause: old.cause,
            code: old.code,
            advice: old.advice,
            whence: None,
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PaymentCapturedV2 {
    purchase: PurchaseId,
    user: UserId,
    capture: CaptureId,
    receipt_key: ReceiptKeyId,
    signing_key: Option<ReceiptKeyId>,
    tokens: Tokens,
    debt_paid: Tokens,
}

impl From<PaymentCapturedV2> for PaymentCaptured {
    fn from(old: PaymentCapturedV2) -> Self {
        Self {
            purchase: old.purchase,
            user: old.user,
            capture: old.capture,
            receipt_key: old.receipt_key,
            signing_key: old.signing_key,
            tokens: old.tokens,
            debt_paid: old.debt_paid,
            whence: None,
        }
    }
}
