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
    /// Its request ended so.
    Finished(Finished),
    /// It was refused so, by the answer to this request.
    Refused {
        /// Why, and what it is about.
        rejection: Rejection,
        /// The request that was refused.
        request: RequestId,
    },
}

/// What a request came to, shown as of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It placed this hold.
    Held(HoldView),
    /// It made this purchase, shown as of its capture.
    Paid(Box<PurchaseView>),
    /// Its payment was not made.
    Declined(Box<DeclineView>),
    /// It gave this money back, or the gateway refused to.
    Refunded(Box<RefundView>),
    /// It spent reward tokens, and left this many.
    Spent(Tokens),
}

impl Shard {
    /// What `key` says.
    pub fn key_answer(&self, key: &IdempotencyKey, catalogue: &Catalogue) -> KeyAnswer {
        let Some(entry) = self.kept_keys().get(&key.scope) else {
            return KeyAnswer::Free;
        };
        let known = "a key names a purchase of its own shard, which is kept as long as the key";
        let finished = match entry.outcome.clone() {
            // Which request it was used for is not known here.
            KeyOutcome::Elsewhere => return KeyAnswer::Elsewhere,
            _ if entry.fingerprint != key.fingerprint => return KeyAnswer::Reused,
            KeyOutcome::InFlight => return KeyAnswer::InFlight,
            KeyOutcome::Held(id) => {
                let mut view = self.hold_view(id, catalogue).expect(known);
                view.state = PurchaseState::Held;
                // As it was told: a correction of the clock has moved it since.
                view.expires_at = self.placed_until(id).expect(known);
                Finished::Held(view)
            }
            KeyOutcome::Paid { purchase, as_of } => Finished::Paid(Box::new(
                self.purchase_view(purchase, catalogue, as_of).expect(known),
            )),
            KeyOutcome::Refused {
                reason,
                request,
                facts,
            } => {
                let facts = facts.map(|it| *it);
                let rejection = Rejection { reason, facts };
                return KeyAnswer::Refused { rejection, request };
            }
            KeyOutcome::SoldOut {
                request,
                available,
                requested,
            } => {
                let facts = RefusalFacts::Stock {
                    available,
                    requested,
                };
                let rejection = Refusal::SoldOut.about(facts);
                return KeyAnswer::Refused { rejection, request };
            }
            KeyOutcome::Declined { purchase, request } => {
                Finished::Declined(Box::new(self.decline_view(purchase, request).expect(known)))
            }
            KeyOutcome::Refunded { purchase, number } => {
                let mut view = self.refund_view(purchase, number).expect(known);
                // As it ended then, whatever became of it.
                if let RefundStatus::Returned { at, clawback, .. } = view.status {
                    view.status = RefundStatus::Succeeded { at, clawback };
                }
                Finished::Refunded(Box::new(view))
            }
            KeyOutcome::Spent { balance } => Finished::Spent(balance),
        };
        KeyAnswer::Finished(finished)
    }
}
