//! Owns what stands under idempotency keys, for a front end that can take no new one just now.

use super::views::JournalReads;
use crate::engine::event::IdempotencyKey;
use crate::engine::keys::KeyAnswer;
use crate::ids::{ShardId, UserId};
use crate::journal::turn::attempt::replayed;
use crate::journal::turn::outcome::{BuyOutcome, RefundOutcome, Refused, Submitted, UnderKey};

impl JournalReads<'_> {
    /// What a key says, whatever kind of command it came with.
    pub fn key_answer(&self, user: &UserId, key: &IdempotencyKey) -> KeyAnswer {
        let shard = self.core.shard(ShardId::of(user));
        shard.key_answer(key, &self.core.catalogue.load())
    }

    /// What stands under the finished key of a buy, for a front end that can take no new one just now.
    pub fn replay_buy(&self, user: &UserId, key: &IdempotencyKey) -> Option<Submitted<BuyOutcome>> {
        self.replay(user, key)
    }

    /// The same of a refund.
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
