//! Owns which part of the state each event changes.
//!
//! Invariants: [`Event::part`] has no default arm, so a new group must be placed here, and a new
//! kind follows its group; live turns, recovery and `check` all call it and match the result
//! without a default arm, so none of them can leave out an event that another one applies.
//! Deliberately absent: how each part changes, which is that part's own `apply`.

use super::{
    AttemptEvent, AttemptRefused, BuyerEvent, CatalogueEvent, ClockCorrected, CoreEvent, Event,
    Group, HistoryAccepted, HoldEvent, HoldPlaced, LimitsSet, RiskEvent, WebhookEvent,
};
use crate::engine::words::lifecycle::Step;
use crate::ids::{PurchaseId, ShardId};

/// A part of the state, with what changes in it.
#[derive(Copy, Clone, Debug)]
pub enum Part<'a> {
    /// Nothing changes: the event is for readers of the log.
    Nothing,
    /// The settings that applying depends on.
    Limits(&'a LimitsSet),
    /// Which history of the log the operator has accepted.
    History(&'a HistoryAccepted),
    /// Products and promotions.
    Catalogue(CatalogueEvent<'a>),
    /// Risk rules and scoring in force.
    Risk(RiskEvent<'a>),
    /// Everything that depends on time: every shard, the counters, the remembered webhooks.
    Time(&'a ClockCorrected),
    /// Nonces and event ids of webhooks.
    Webhooks(WebhookEvent<'a>),
    /// The shard of one buyer.
    Shard(ShardId, ShardChange<'a>),
}

/// What changes in a shard.
#[derive(Copy, Clone, Debug)]
pub enum ShardChange<'a> {
    /// A purchase begins.
    Placed(&'a HoldPlaced),
    /// A purchase takes a step; what the step brings is in the event.
    Step(PurchaseId, Step),
    Refused(&'a AttemptRefused),
    /// A buyer changes, besides their purchases.
    Buyer(BuyerEvent<'a>),
}

impl Event {
    /// The part of the state that this event changes.
    pub fn part(&self) -> Part<'_> {
        match self.group() {
            Group::Hold(HoldEvent::HoldPlaced(e)) => {
                Part::Shard(e.purchase.shard(), ShardChange::Placed(e))
            }
            Group::Hold(HoldEvent::HoldReleased(_) | HoldEvent::HoldExpired(_))
            | Group::Payment(_)
            | Group::Review(_)
            | Group::Refund(_)
            | Group::Dispute(_) => {
                let (purchase, step) = self.step().expect("every kind of these groups is a step");
                Part::Shard(purchase.shard(), ShardChange::Step(purchase, step))
            }
            Group::Attempt(AttemptEvent::AttemptRefused(e)) => match &e.user {
                Some(user) => Part::Shard(ShardId::of(user), ShardChange::Refused(e)),
                // An attempt of an unknown buyer leaves no trace.
                None => Part::Nothing,
            },
            Group::Buyer(e) => {
                let user = self
                    .user()
                    .expect("every kind of this group is about a buyer");
                Part::Shard(ShardId::of(user), ShardChange::Buyer(e))
            }
            Group::Catalogue(e) => Part::Catalogue(e),
            Group::Risk(e) => Part::Risk(e),
            Group::Webhook(e) => Part::Webhooks(e),
            Group::Core(CoreEvent::LimitsSet(e)) => Part::Limits(e),
            Group::Core(CoreEvent::ClockCorrected(e)) => Part::Time(e),
            Group::Core(CoreEvent::HistoryAccepted(e)) => Part::History(e),
            Group::Trail(_) => Part::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::{Flow, Origin};
    use crate::engine::words::refusal::Refusal;
    use crate::engine::words::score::Appraisal;
    use crate::ids::{KeyOwner, RequestId, UserId};

    #[test]
    fn a_refusal_changes_its_buyers_shard_or_nothing() {
        let user = UserId::parse("ana").expect("an id");
        let mut refused = AttemptRefused {
            flow: Flow::Buy,
            reason: Refusal::SoldOut,
            facts: None,
            user: Some(user.clone()),
            product: None,
            quantity: 1,
            card: None,
            origin: Origin {
                request: RequestId(1),
                owner: KeyOwner::parse("shop").expect("an id"),
                key: None,
                ip: None,
                device: None,
            },
            hits: Vec::new(),
            appraisal: Appraisal::Plain,
            left_out: 0,
        };
        let event = Event::AttemptRefused(refused.clone());
        let Part::Shard(shard, ShardChange::Refused(_)) = event.part() else {
            panic!("{event:?}")
        };
        assert_eq!(shard, ShardId::of(&user));
        refused.user = None;
        let event = Event::AttemptRefused(refused);
        assert!(matches!(event.part(), Part::Nothing), "{event:?}");
    }
}
