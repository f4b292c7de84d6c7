//! Owns the shard's idempotency keys: the outcome of each, and the purchases that they name.
//!
//! Invariants: the queue holds every key once, in the order in which they are forgotten; each
//! purchase counts the keys that name it. Deliberately absent: when they are forgotten (`forget`).

use crate::engine::event::IdempotencyKey;
use crate::engine::state::keys::{KeyEntry, KeyOutcome};
use crate::engine::state::purchase::BuyerIndex;
use crate::engine::state::shard::Shard;
use crate::engine::words::settings::Limits;
use crate::ids::{Digest16, PurchaseId};
use crate::time::UnixMs;

impl Shard {
    /// Stores `entry` under the key, in place of what was there.
    pub(in crate::engine::state) fn remember(
        &mut self,
        owner: BuyerIndex,
        key: Option<IdempotencyKey>,
        outcome: KeyOutcome,
        at: UnixMs,
        limits: Limits,
    ) {
        let Some(key) = key else { return };
        let forget_at = at.plus_ms(limits.idempotency_retention_ms);
        self.drop_key(key.scope);
        self.name(outcome.names());
        let entry = KeyEntry {
            owner,
            fingerprint: key.fingerprint,
            outcome,
            forget_at,
        };
        self.keys.insert(key.scope, entry);
        self.buyers[owner].key_dues.push(forget_at);
        self.key_expiries.push_back((forget_at, key.scope));
        self.note_idle(owner);
    }

    /// Frees the key before its time.
    pub(in crate::engine::state) fn drop_key(&mut self, scope: Digest16) {
        let Some(entry) = self.keys.get(&scope) else {
            return;
        };
        // A freed key was used a moment ago, so it is near the end. It must leave the queue, which
        // follows from the keys, so that an image has all of it.
        let queued = (entry.forget_at, scope);
        let place = self.key_expiries.iter().rposition(|it| *it == queued);
        let place = place.expect("the queue has the keys that there are, each once");
        self.key_expiries.remove(place);
        self.forget_key(scope);
    }

    /// Sets the outcome of the key, if it is stored.
    pub(in crate::engine::state) fn set_outcome(&mut self, scope: Digest16, outcome: KeyOutcome) {
        let names = outcome.names();
        let Some(entry) = self.keys.get_mut(&scope) else {
            return;
        };
        let before = std::mem::replace(&mut entry.outcome, outcome);
        self.name(names);
        self.unname(before.names());
    }

    /// Removes a key that has left the queue already.
    pub(super) fn forget_key(&mut self, scope: Digest16) {
        if let Some(entry) = self.keys.remove(&scope) {
            self.buyers[entry.owner].key_due_moved(entry.forget_at, None);
            self.note_idle(entry.owner);
            self.unname(entry.outcome.names());
        }
    }

    pub(super) fn name(&mut self, purchase: Option<PurchaseId>) {
        let Some(place) = purchase.and_then(|id| self.purchases.place(id.sequence())) else {
            return;
        };
        *self.purchases.named_mut(place) += 1;
        if let Some(due) = self.ended_at(place) {
            self.ended.remove(&due);
        }
    }

    pub(super) fn unname(&mut self, purchase: Option<PurchaseId>) {
        let Some(place) = purchase.and_then(|id| self.purchases.place(id.sequence())) else {
            return;
        };
        *self.purchases.named_mut(place) -= 1;
        self.note_ended(place);
    }

    /// Adds a key of an image: counts what it names, and queues it.
    pub(in crate::engine::state) fn take_key(&mut self, scope: Digest16, entry: KeyEntry) {
        self.key_expiries.push_back((entry.forget_at, scope));
        let (owner, forget_at, names) = (entry.owner, entry.forget_at, entry.outcome.names());
        self.keys.insert(scope, entry);
        self.buyers[owner].key_dues.push(forget_at);
        self.name(names);
    }
}
