//! Owns applying attempts: placed holds, and refusals that leave a trace.

use crate::engine::event::{AttemptRefused, Flow, HoldPlaced};
use crate::engine::state::buyer::tally_add;
use crate::engine::state::catalogue::{Catalogue, ProductIndex, PromotionIndex};
use crate::engine::state::history::PurchaseHistory;
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::purchase::{BuyerIndex, Extras, Happened, Purchase};
use crate::engine::state::shard::Shard;
use crate::engine::words::lifecycle::{PurchaseState, Step, next_state};
use crate::engine::words::refusal::Trace;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::Stamp;
use crate::ids::UserId;
use crate::money::Amount;
use crate::time::UnixMs;
use std::cmp::Reverse;

impl Shard {
    pub(super) fn apply_placed(
        &mut self,
        placed: &HoldPlaced,
        stamp: Stamp,
        catalogue: &Catalogue,
        limits: Limits,
    ) -> Result<(), &'static str> {
        if placed.purchase != self.next_id(placed.purchase.tag()) {
            return Err("its purchase is not the next of its shard");
        }
        let product = catalogue
            .product(&placed.product)
            .ok_or("its product was never set")?
            .index;
        let promotion = match &placed.promotion {
            Some(code) => Some(
                catalogue
                    .promotion(code)
                    .ok_or("its promotion was never set")?
                    .index,
            ),
            None => None,
        };
        let state =
            next_state(None, Step::HoldPlaced).ok_or("a purchase must begin with a hold")?;
        let buyer = self.buyer_index(&placed.user);
        let standing = &mut self.buyers[buyer];
        tally_add(&mut standing.committed, product, placed.quantity);
        if let Some(promotion) = promotion {
            tally_add(&mut standing.promotion_uses, promotion, 1);
        }
        standing.held.push(placed.purchase.sequence());
        standing.owned += 1;
        self.count_attempt(buyer, stamp.at, limits);
        self.profile_placed(buyer, placed, stamp);
        self.timers
            .push(Reverse((placed.expires_at, placed.purchase.sequence())));
        let owners = Owners {
            buyer,
            product,
            promotion,
        };
        let purchase = begun(placed, owners, state, stamp);
        self.purchases.insert(placed.purchase.sequence(), purchase);
        self.note_idle(buyer);
        if placed.flow == Flow::Hold {
            let key = placed.origin.key;
            let outcome = KeyOutcome::Held(placed.purchase);
            self.remember(buyer, key, outcome, stamp.at, limits);
        }
        Ok(())
    }

    pub(super) fn apply_refused(&mut self, refused: &AttemptRefused, stamp: Stamp, limits: Limits) {
        let Some(user) = &refused.user else { return };
        let (counts, remembers) = match refused.reason.trace() {
            Trace::Nothing => return,
            Trace::Attempt => (true, false),
            Trace::AttemptAndKey => (true, true),
            Trace::Key => (false, true),
        };
        // A refund or a spending of tokens is no attempt to buy, whatever the reason of its
        // refusal.
        let buys = matches!(refused.flow, Flow::Hold | Flow::Buy);
        if counts && buys && refused.origin.key.is_some() {
            let buyer = self.buyer_index(user);
            self.count_attempt(buyer, stamp.at, limits);
            self.profile_refused(buyer, refused, stamp);
            self.note_idle(buyer);
        }
        if remembers {
            let outcome = KeyOutcome::refused(refused.rejection(), refused.origin.request);
            let owner = self.buyer_index(user);
            self.remember(owner, refused.origin.key, outcome, stamp.at, limits);
        }
    }

    pub(super) fn count_attempt(&mut self, buyer: BuyerIndex, at: UnixMs, limits: Limits) {
        let attempts = &mut self.buyers[buyer].attempts;
        attempts.push(at);
        let over = attempts.len().saturating_sub(limits.rate_count as usize);
        attempts.drain(..over);
    }

    pub(in crate::engine::state) fn buyer_index(&mut self, user: &UserId) -> BuyerIndex {
        self.buyers.place_or_new(user)
    }
}

/// The owner of a purchase, by index.
#[derive(Clone, Copy)]
struct Owners {
    buyer: BuyerIndex,
    product: ProductIndex,
    promotion: Option<PromotionIndex>,
}

/// A purchase with its hold and nothing more.
fn begun(placed: &HoldPlaced, owners: Owners, state: PurchaseState, stamp: Stamp) -> Purchase {
    // The hold of a buy never expires: its payment ends it.
    let origin = (placed.flow == Flow::Hold).then_some(&placed.origin);
    let extras = Extras {
        other_quotes: placed.other_quotes.clone(),
        metadata: placed.metadata.clone(),
        ip: origin.and_then(|it| it.ip),
        device: origin.and_then(|it| it.device.clone()),
    };
    Purchase {
        tag: placed.purchase.tag(),
        buyer: owners.buyer,
        product: owners.product,
        promotion: owners.promotion,
        quantity: placed.quantity,
        state,
        reason: None,
        hold_quote: placed.quote,
        reward_tokens: placed.reward_tokens,
        refunded: Amount::ZERO,
        expires_at: placed.expires_at,
        payment: None,
        tries: None,
        history: PurchaseHistory::starting(Happened {
            at: stamp.at,
            lsn: stamp.lsn,
            step: Step::HoldPlaced,
        }),
        post_capture: None,
        particulars: None,
        extras: extras.kept(),
    }
}
