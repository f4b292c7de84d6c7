//! Owns reading stored outcomes by idempotency key, for a front end that cannot take new requests now.

use super::views::JournalReads;
use crate::engine::event::IdempotencyKey;
use crate::engine::keys::KeyAnswer;
use crate::ids::{ShardId, UserId};
use crate::journal::turn::attempt::replayed;
use crate::journal::turn::outcome::{BuyOutcome, RefundOutcome, Refused, Submitted, UnderKey};

impl JournalReads<'_> {
    /// The answer of a key, for any kind of command.
    pub fn key_answer(&self, user: &UserId, key: &IdempotencyKey) -> KeyAnswer {
        let shard = self.core.shard(ShardId::of(user));
        shard.key_answer(key, &self.core.catalogue.load())
    }

    /// The stored outcome of a buy's key; `None` if the key is not finished or belongs to another kind of
    /// command.
    pub fn replay_buy(&self, user: &UserId, key: &IdempotencyKey) -> Option<Submitted<BuyOutcome>> {
        self.replay(user, key)
    }

    /// The same for a refund.
    pub fn replay_refund(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Option<Submitted<RefundOutcome>> {
        self.replay(user, key)
    }

    fn replay<Outcome: UnderKey>(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Option<Submitted<Outcome>> {
        match self.key_answer(user, key) {
            KeyAnswer::Free | KeyAnswer::InFlight | KeyAnswer::Reused | KeyAnswer::Elsewhere => {
                None
            }
            KeyAnswer::Refused { rejection, request } => {
                Some(replayed(self.core, Err(Refused::new(rejection, request))))
            }
            KeyAnswer::Finished(finished) => {
                UnderKey::shown(finished).map(|outcome| replayed(self.core, Ok(outcome)))
            }
        }
    }
}
