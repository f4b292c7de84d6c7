//! Owns the entry of an idempotency key: its buyer, the digest of its request, its outcome.
//!
//! Invariant: a key has one outcome. Deliberately absent: how it is shown (`query`), and when it is
//! forgotten (`apply`).

use crate::engine::state::purchase::BuyerIndex;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::ids::{Digest16, Lsn, PurchaseId, RequestId};
use crate::money::Tokens;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The entry of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KeyEntry {
    pub(in crate::engine) owner: BuyerIndex,
    pub(in crate::engine) fingerprint: Digest16,
    pub(in crate::engine) outcome: KeyOutcome,
    /// When it is forgotten, unless its request is still in progress then.
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
    /// The most frequent refusal of a drop: its two figures fit here without an allocation.
    SoldOut {
        request: RequestId,
        available: u32,
        requested: u32,
    },
    /// The payment of `purchase` that this request made was declined.
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
    /// Known only to the system that sold before.
    Elsewhere,
}

// There is one for every request of a week.
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

    /// The purchase whose view is the response.
    pub(in crate::engine::state) fn names(&self) -> Option<PurchaseId> {
        match self {
            Self::Held(purchase)
            | Self::Paid { purchase, .. }
            | Self::Declined { purchase, .. }
            | Self::Refunded { purchase, .. } => Some(*purchase),
            Self::InFlight
            | Self::Refused { .. }
            | Self::SoldOut { .. }
            | Self::Spent { .. }
            | Self::Elsewhere => None,
        }
    }
}
