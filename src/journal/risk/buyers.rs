//! Owns the operator's facts about buyers: pauses and ratings.
//!
//! Invariant: a fact and its administrative act are one append, in the buyer's turn.

use super::rules::RiskControl;
use crate::engine::decide::Claims;
use crate::engine::event::{BuyerPaused, BuyerRated, Event, Pause, Rating};
use crate::engine::shard::Shard;
use crate::ids::{Lsn, ShardId, UserId};
use crate::journal::format::fault::WriteError;
use crate::journal::turn::audit::Audit;
use crate::journal::turn::shard_turn::Turn;
use smallvec::SmallVec;

impl RiskControl<'_> {
    /// Pauses a buyer or lifts the pause; `audit` makes the act that asked for it, from the pause before.
    /// Returns the LSN that must be durable before it is confirmed.
    pub fn pause_buyer(
        &self,
        paused: BuyerPaused,
        audit: Audit<'_, Option<Pause>>,
    ) -> Result<Lsn, WriteError> {
        let user = paused.user.clone();
        let now = self.core.now();
        self.say_of_buyer(&user, Event::BuyerPaused(paused), |shard| {
            audit.act_of(|| shard.paused(&user, now).cloned())
        })
    }

    /// Rates a buyer, likewise.
    pub fn rate_buyer(
        &self,
        rated: BuyerRated,
        audit: Audit<'_, Option<Rating>>,
    ) -> Result<Lsn, WriteError> {
        let user = rated.user.clone();
        self.say_of_buyer(&user, Event::BuyerRated(rated), |shard| {
            audit.act_of(|| shard.rating(&user).cloned())
        })
    }

    /// A buyer's current pause and rating, and the LSN that must be durable before they are shown.
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
        act: impl FnOnce(&Shard) -> Option<Event>,
    ) -> Result<Lsn, WriteError> {
        let mut turn = Turn::take(self.core, ShardId::of(user))?;
        let room = turn.shard.room_for_buyer(user, &self.core.settings.bounds);
        room.map_err(WriteError::Refused)?;
        let mut events = SmallVec::<[Event; 2]>::from_iter([event]);
        events.extend(act(&turn.shard));
        Ok(turn.commit_events(&events, Claims::default())?)
    }
}
