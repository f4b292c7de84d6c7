//! Owns what the operator says of buyers: pauses and ratings.
//!
//! Invariant: what is said and the act that said it are one append, in the buyer's turn.

use super::rules::RiskControl;
use crate::engine::decide::Claims;
use crate::engine::event::{AdminActed, BuyerPaused, BuyerRated, Event, Pause, Rating};
use crate::engine::refusal::Refusal;
use crate::engine::shard::Shard;
use crate::ids::{Lsn, ShardId, UserId};
use crate::journal::format::fault::StorageFault;
use crate::journal::turn::shard_turn::Turn;
use smallvec::SmallVec;

impl RiskControl<'_> {
    /// Pauses a buyer or lifts the pause; the LSN that must be durable before that is told.
    pub fn pause_buyer(&self, paused: BuyerPaused) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = paused.user.clone();
        self.say_of_buyer(&user, Event::BuyerPaused(paused), |_| None)
    }

    /// The same as an administrative act: what `acted` makes of the pause before stands in the same
    /// append.
    pub fn pause_buyer_acted(
        &self,
        paused: BuyerPaused,
        acted: impl FnOnce(Option<&Pause>) -> AdminActed,
    ) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = paused.user.clone();
        let now = self.core.now();
        self.say_of_buyer(&user, Event::BuyerPaused(paused), |shard| {
            Some(acted(shard.paused(&user, now)))
        })
    }

    /// Rates a buyer, likewise.
    pub fn rate_buyer(&self, rated: BuyerRated) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = rated.user.clone();
        self.say_of_buyer(&user, Event::BuyerRated(rated), |_| None)
    }

    /// The same as an administrative act: what `acted` makes of the rating before stands in the same
    /// append.
    pub fn rate_buyer_acted(
        &self,
        rated: BuyerRated,
        acted: impl FnOnce(Option<&Rating>) -> AdminActed,
    ) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = rated.user.clone();
        self.say_of_buyer(&user, Event::BuyerRated(rated), |shard| {
            Some(acted(shard.rating(&user)))
        })
    }

    /// A buyer's pause, while it lasts, and rating, and from which LSN on they may be told.
    pub fn buyer(&self, user: &UserId) -> (Option<Pause>, Option<Rating>, Lsn) {
        let shard = self.core.shard(ShardId::of(user));
        let pause = shard.paused(user, self.core.now()).cloned();
        let rating = shard.rating(user).cloned();
        (pause, rating, self.core.appended())
    }

    fn say_of_buyer(
        &self,
        user: &UserId,
        event: Event,
        acted: impl FnOnce(&Shard) -> Option<AdminActed>,
    ) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let mut turn = Turn::take(self.core, ShardId::of(user))?;
        if let Err(refusal) = turn.shard.room_for_buyer(user, &self.core.settings.bounds) {
            return Ok(Err(refusal));
        }
        let acted = acted(&turn.shard);
        let mut events = SmallVec::<[Event; 2]>::from_iter([event]);
        events.extend(acted.map(Event::AdminActed));
        let told = turn.commit_events(&events, Claims::default())?;
        Ok(Ok(told))
    }
}
