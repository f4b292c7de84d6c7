//! Owns the payments of a purchase that ended with nothing charged: what is kept of each.
//!
//! Invariants: a try is never changed once it stands here; its answer follows from it alone, so
//! that the key of a failed try answers the same whatever became of the purchase later. At most
//! [`PAYMENTS_PER_PURCHASE_MAX`] stand here.
//! Deliberately absent: whether a hold lives on after a try (`decide`), and the payment under way.

use crate::engine::event::{DeclineCause, Quote, RetryAdvice};
use crate::ids::{CardToken, GatewayCode, Lsn, RequestId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Payments of one purchase, those that the gateway never answered included; each is kept. Far
/// more than a buyer can begin within a hold's life.
pub(in crate::engine) const PAYMENTS_PER_PURCHASE_MAX: usize = 100;

/// The ended payments of one purchase, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Tries {
    pub(in crate::engine) ended: Vec<Try>,
}

/// A payment that ended with nothing charged.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) struct Try {
    pub(in crate::engine) quote: Quote,
    pub(in crate::engine) card: CardToken,
    /// The request that brought it: it names the payment at the gateway.
    pub(in crate::engine) request: RequestId,
    pub(in crate::engine) started_at: UnixMs,
    /// Where its first and its last step stand.
    pub(in crate::engine) started: Lsn,
    pub(in crate::engine) ended: Lsn,
    pub(in crate::engine) cause: DeclineCause,
    pub(in crate::engine) code: Option<GatewayCode>,
    pub(in crate::engine) advice: RetryAdvice,
    /// Until when the hold lived on, where it did.
    pub(in crate::engine) hold: Option<UnixMs>,
}

/// A payment as it is shown of its purchase.
pub(in crate::engine) struct Shown<'a> {
    pub(in crate::engine) quote: Quote,
    pub(in crate::engine) card: &'a CardToken,
    pub(in crate::engine) request: RequestId,
}

impl Try {
    pub(in crate::engine::state) fn shown(&self) -> Shown<'_> {
        Shown {
            quote: self.quote,
            card: &self.card,
            request: self.request,
        }
    }
}
