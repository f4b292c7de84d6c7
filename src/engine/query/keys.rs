//! Owns what an idempotency key says about a request that comes with it.
//!
//! Invariant: what a finished key answers is the same whatever became of its purchase later.

use crate::engine::event::IdempotencyKey;
use crate::engine::query::view::{DeclineView, HoldView, PurchaseView, RefundStatus, RefundView};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::shard::Shard;
use crate::engine::words::lifecycle::PurchaseState;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::ids::RequestId;
use crate::money::Tokens;

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
    /// What `key` says.
    pub fn key_answer(&self, key: &IdempotencyKey, catalogue: &Catalogue) -> KeyAnswer {
        let Some(entry) = self.kept_keys().get(&key.scope) else {
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
                let mut view = self.refund_view(purchase, number).expect(known);
                // As it ended then, whatever became of it.
                if let RefundStatus::Returned { at, clawback, .. } = view.status {
                    view.status = RefundStatus::Succeeded { at, clawback };
                }
                KeyAnswer::Refunded(Box::new(view))
            }
            KeyOutcome::Spent { balance } => KeyAnswer::Spent(balance),
            KeyOutcome::Elsewhere => unreachable!("answered above"),
        }
    }
}
