//! Owns which part of the state each event changes.
//!
//! Invariants: [`Event::part`] has no default arm, so a new kind must be placed here; live turns,
//! recovery and `check` all ask it and match what it says without a default arm, so none of them
//! can leave out an event that another one applies.
//! Deliberately absent: how each part changes, which is that part's own `apply`.

use super::{
    AttemptRefused, BuyerPaused, BuyerRated, BuyerSegmented, ClockCorrected, Event,
    HistoryAccepted, HoldPlaced, HoldingsImported, KeyImported, LimitsSet, NoncesImported,
    ProductSet, PromotionSet, PromotionUsesImported, RiskRulesSet, RiskScoringSet, StockImported,
    TokensSpent, WebhookReceived,
};
use crate::engine::words::lifecycle::Step;
use crate::ids::{PurchaseId, ShardId};

/// A part of the state, with what changes in it.
#[derive(Copy, Clone, Debug)]
pub enum Part<'a> {
    /// Nothing changes: the event is for those who read the log.
    Nothing,
    /// The settings that applying depends on.
    Limits(&'a LimitsSet),
    /// Which history of the log the operator has accepted.
    History(&'a HistoryAccepted),
    /// Products and promotions.
    Catalogue(CatalogueChange<'a>),
    /// Risk rules and scoring in force.
    Risk(RiskChange<'a>),
    /// All that has to do with time: every shard, what is counted, what is remembered of webhooks.
    Time(&'a ClockCorrected),
    /// Nonces and event ids of webhooks.
    Webhooks(WebhookChange<'a>),
    /// The shard of one buyer.
    Shard(ShardId, ShardChange<'a>),
}

/// What changes in the catalogue.
#[derive(Copy, Clone, Debug)]
pub enum CatalogueChange<'a> {
    /// A product's terms.
    Product(&'a ProductSet),
    /// A promotion's terms.
    Promotion(&'a PromotionSet),
    /// Units of a product that were sold elsewhere.
    Sold(&'a StockImported),
    /// Uses of a promotion that were made elsewhere.
    Used(&'a PromotionUsesImported),
}

/// What changes in how risk is judged.
#[derive(Copy, Clone, Debug)]
pub enum RiskChange<'a> {
    /// The rules.
    Rules(&'a RiskRulesSet),
    /// The scoring.
    Scoring(&'a RiskScoringSet),
}

/// What changes in what is remembered of webhooks.
#[derive(Copy, Clone, Debug)]
pub enum WebhookChange<'a> {
    /// One was let in.
    Received(&'a WebhookReceived),
    /// Nonces that were used elsewhere.
    Nonces(&'a NoncesImported),
}

/// What changes in a shard.
#[derive(Copy, Clone, Debug)]
pub enum ShardChange<'a> {
    /// A purchase begins.
    Placed(&'a HoldPlaced),
    /// A purchase takes a step; what the step brings is in the event.
    Step(PurchaseId, Step),
    /// An attempt was refused.
    Refused(&'a AttemptRefused),
    /// Reward tokens were spent.
    Spent(&'a TokensSpent),
    /// A buyer was paused, or is not any more.
    Paused(&'a BuyerPaused),
    /// A buyer was rated.
    Rated(&'a BuyerRated),
    /// A buyer's segment was computed.
    Segmented(&'a BuyerSegmented),
    /// Units that a buyer bought elsewhere.
    Holdings(&'a HoldingsImported),
    /// An idempotency key that was used elsewhere.
    Key(&'a KeyImported),
}

impl Event {
    /// The part of the state that this event changes.
    pub fn part(&self) -> Part<'_> {
        match self {
            // An attempt whose buyer is not known leaves nothing behind.
            Self::AttemptRefused(e) => match &e.user {
                Some(user) => Part::Shard(ShardId::of(user), ShardChange::Refused(e)),
                None => Part::Nothing,
            },
            Self::AdminActed(_) | Self::AdminRefused(_) => Part::Nothing,
            Self::LimitsSet(e) => Part::Limits(e),
            Self::ClockCorrected(e) => Part::Time(e),
            Self::HistoryAccepted(e) => Part::History(e),
            Self::ProductSet(e) => Part::Catalogue(CatalogueChange::Product(e)),
            Self::PromotionSet(e) => Part::Catalogue(CatalogueChange::Promotion(e)),
            Self::StockImported(e) => Part::Catalogue(CatalogueChange::Sold(e)),
            Self::PromotionUsesImported(e) => Part::Catalogue(CatalogueChange::Used(e)),
            Self::RiskRulesSet(e) => Part::Risk(RiskChange::Rules(e)),
            Self::RiskScoringSet(e) => Part::Risk(RiskChange::Scoring(e)),
            Self::WebhookReceived(e) => Part::Webhooks(WebhookChange::Received(e)),
            Self::NoncesImported(e) => Part::Webhooks(WebhookChange::Nonces(e)),
            Self::TokensSpent(e) => Part::Shard(ShardId::of(&e.user), ShardChange::Spent(e)),
            Self::BuyerPaused(e) => Part::Shard(ShardId::of(&e.user), ShardChange::Paused(e)),
            Self::BuyerRated(e) => Part::Shard(ShardId::of(&e.user), ShardChange::Rated(e)),
            Self::BuyerSegmented(e) => Part::Shard(ShardId::of(&e.user), ShardChange::Segmented(e)),
            Self::HoldingsImported(e) => {
                Part::Shard(ShardId::of(&e.user), ShardChange::Holdings(e))
            }
            Self::KeyImported(e) => Part::Shard(ShardId::of(&e.user), ShardChange::Key(e)),
            Self::HoldPlaced(e) => Part::Shard(e.purchase.shard(), ShardChange::Placed(e)),
            Self::HoldReleased(_)
            | Self::HoldExpired(_)
            | Self::PaymentStarted(_)
            | Self::PaymentAuthorized(_)
            | Self::PaymentDeclined(_)
            | Self::ReviewOpened(_)
            | Self::ReviewDecided(_)
            | Self::CaptureStarted(_)
            | Self::PaymentCaptured(_)
            | Self::CaptureDiffered(_)
            | Self::VoidStarted(_)
            | Self::PaymentVoided(_)
            | Self::VoidStuck(_)
            | Self::RefundStarted(_)
            | Self::RefundSucceeded(_)
            | Self::RefundFailed(_)
            | Self::RefundFound(_)
            | Self::RefundReturned(_)
            | Self::DisputeOpened(_)
            | Self::DisputeClosed(_) => {
                let (purchase, step) = self.step().expect("`step` names all of these");
                Part::Shard(purchase.shard(), ShardChange::Step(purchase, step))
            }
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
