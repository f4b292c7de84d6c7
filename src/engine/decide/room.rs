//! Decides whether a shard has room for more: the bounds on what all of its buyers store together.

use crate::engine::state::shard::Shard;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::settings::Bounds;
use crate::ids::UserId;

impl Shard {
    /// Whether there is room for one more purchase.
    pub fn room_for_purchase(&self, bounds: &Bounds) -> Result<(), Refusal> {
        if self.kept_purchases().len() >= bounds.purchases_max {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    /// Whether there is room for one more buyer, where `user` is new.
    pub fn room_for_buyer(&self, user: &UserId, bounds: &Bounds) -> Result<(), Refusal> {
        if self.buyer(user).is_none() && self.kept_buyers().len() >= bounds.buyers_max {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    /// Whether there is room for one more buyer (where `user` is new) and key.
    pub fn room_for(&self, user: &UserId, bounds: &Bounds) -> Result<(), Refusal> {
        let buyers = self.kept_buyers().len() + usize::from(self.buyer(user).is_none());
        let full = buyers > bounds.buyers_max || self.kept_keys().len() >= bounds.keys_max;
        if full {
            Err(Refusal::Overloaded)
        } else {
            Ok(())
        }
    }
}
