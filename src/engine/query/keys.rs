//! Owns what an idempotency key answers to a request.
//!
//! Invariant: the response of a finished key never changes, whatever happens to its purchase.

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

/// What a key answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It was never used: continue.
    Free,
    /// The first request under it is in progress.
    InFlight,
    /// It was used for another request.
    Reused,
    /// It was used in the system that sold before.
    Elsewhere,
    /// The outcome of its request.
    Finished(Finished),
    /// Its request was refused.
    Refused {
        rejection: Rejection,
        /// The request that was refused.
        request: RequestId,
    },
}

/// The outcome of a request, shown as of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It placed this hold.
    Held(HoldView),
    /// It made this purchase, shown as of its capture.
    Paid(Box<PurchaseView>),
    /// Its payment was declined.
    Declined(Box<DeclineView>),
    /// It made this refund, or the gateway refused it.
    Refunded(Box<RefundView>),
    /// It spent reward tokens, and left this many.
    Spent(Tokens),
}

impl Shard {
    /// What `key` answers.
    pub fn key_answer(&self, key: &IdempotencyKey, catalogue: &Catalogue) -> KeyAnswer {
        let Some(entry) = self.kept_keys().get(&key.scope) else {
            return KeyAnswer::Free;
        };
        let known = "a key names a purchase of its own shard, which is kept as long as the key";
        let finished = match entry.outcome.clone() {
            // Which request used it is known only there.
            KeyOutcome::Elsewhere => return KeyAnswer::Elsewhere,
            _ if entry.fingerprint != key.fingerprint => return KeyAnswer::Reused,
            KeyOutcome::InFlight => return KeyAnswer::InFlight,
            KeyOutcome::Held(id) => {
                let mut view = self.hold_view(id, catalogue).expect(known);
                view.state = PurchaseState::Held;
                // The expiry as first reported: a correction of the clock has moved it since.
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
                // The refund as it ended then, whatever happened later.
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
