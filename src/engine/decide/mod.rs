//! Owns deciding: from a shard, a command and an instant to events and claims, or to a refusal.
//!
//! Invariants: deciding changes nothing except the claims it takes, and a claim gives itself back
//! on drop unless its events are appended; the checks run in the contract's order, and the first
//! refusal wins. Deliberately absent: I/O, clock, randomness, and what follows from a decision
//! (`apply`, the journal). One file for each command.

mod amounts;
mod buy;
pub mod command;
mod dispute;
mod hold;
mod payment;
mod quota;
mod quote;
mod refund;
mod release;
mod risk;
mod room;

use crate::engine::cells::{OwnedPromotionClaim, OwnedStockClaim};
use crate::engine::event::Event;
use crate::engine::risk::program::RuleMatches;
use crate::engine::shared::amounts::{AmountClaims, SharedAmounts};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::shard::Shard;
use crate::engine::words::settings::EngineSettings;
use crate::ids::{PurchaseId, PurchaseTag, UserId};
use crate::time::UnixMs;
use smallvec::SmallVec;

pub use buy::decide_buy;
pub use dispute::{DisputeWord, Unplaced, decide_dispute};
pub use hold::decide_hold;
pub use payment::decide_payment;
pub use refund::{decide_refund, decide_spending};
pub use release::{decide_expiries, decide_release};
pub use risk::{RejectedAttempt, Watch};

/// What deciding reads besides the command.
#[derive(Copy, Clone, Debug)]
pub struct Context<'a> {
    /// The buyer's shard.
    pub shard: &'a Shard,
    /// The products and promotions on sale.
    pub catalogue: &'a Catalogue,
    pub settings: &'a EngineSettings,
    /// The amounts bought with each card and from each device.
    pub shared: &'a SharedAmounts,
    /// The risk rules in force, the scoring, and the counters; `None`: neither rules nor scores.
    pub watch: Option<Watch<'a>>,
    pub at: UnixMs,
    /// The beginning of today.
    pub day_start: UnixMs,
    /// The random part of a new purchase's id.
    pub tag: PurchaseTag,
}

/// A purchase as the buyer's shard has it.
#[derive(Copy, Clone)]
struct OwnedPurchase<'a> {
    id: PurchaseId,
    owner: &'a UserId,
    stored: &'a Purchase,
}

impl<'a> OwnedPurchase<'a> {
    fn find(shard: &'a Shard, id: PurchaseId) -> Option<Self> {
        let (stored, owner) = (shard.find(id)?, shard.owner_of(id)?);
        Some(Self { id, owner, stored })
    }
}

/// The events of one command, appended together.
pub type Events = SmallVec<[Event; 2]>;

/// A decision: events to append, the claims that they take over once appended, and what they make.
#[derive(Debug)]
pub struct Decision<Made = ()> {
    /// In the order in which they happen.
    pub events: Events,
    /// Units and uses that are reserved until then.
    pub claims: Claims,
    /// The risk rules that matched.
    pub found: RuleMatches,
    /// What the events make, once they are applied.
    pub made: Made,
}

/// Claims on shared cells. They give back what they took when dropped.
#[derive(Debug, Default)]
#[must_use = "dropping claims gives them back; keep them once their events are appended"]
pub struct Claims {
    stock: Option<OwnedStockClaim>,
    promotion: Option<OwnedPromotionClaim>,
    amounts: AmountClaims,
}

impl Claims {
    /// The events that own these claims are in the log: from now on only a later event gives back.
    pub fn keep(self) {
        if let Some(stock) = self.stock {
            stock.keep();
        }
        if let Some(promotion) = self.promotion {
            promotion.keep();
        }
        self.amounts.keep();
    }
}

impl Decision {
    fn without_claims(event: Event) -> Self {
        Self {
            events: SmallVec::from_iter([event]),
            claims: Claims::default(),
            found: RuleMatches::default(),
            made: (),
        }
    }

    fn making<Made>(self, made: Made) -> Decision<Made> {
        let Self {
            events,
            claims,
            found,
            made: (),
        } = self;
        Decision {
            events,
            claims,
            found,
            made,
        }
    }
}
