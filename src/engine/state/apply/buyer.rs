//! Owns applying events about a buyer alone: pauses, ratings, segments, spent tokens, payment
//! times.

use crate::engine::event::{BuyerPaused, BuyerRated, BuyerSegmented, TokensSpent};
use crate::engine::state::buyer::BuyerRisk;
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::segments::{SegmentCursor, Segmented};
use crate::engine::state::shard::Shard;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::Stamp;
use crate::ids::UserId;
use crate::time::UnixMs;

impl Shard {
    pub(in crate::engine::state) fn apply_paused(&mut self, paused: &BuyerPaused) {
        self.change_risk(&paused.user, |risk| risk.pause.clone_from(&paused.pause));
    }

    pub(in crate::engine::state) fn apply_rated(&mut self, rated: &BuyerRated) {
        self.change_risk(&rated.user, |risk| risk.rating.clone_from(&rated.rating));
    }

    /// Removes the record of a buyer about whom the operator says nothing any more.
    pub(super) fn change_risk(&mut self, user: &UserId, change: impl FnOnce(&mut BuyerRisk)) {
        let index = self.buyer_index(user);
        let kept = &mut self.buyers[index].risk;
        let mut risk = kept.take().unwrap_or_default();
        change(&mut risk);
        *kept = (*risk != BuyerRisk::default()).then_some(risk);
        self.note_idle(index);
    }

    pub(in crate::engine::state) fn apply_segmented(
        &mut self,
        segmented: &BuyerSegmented,
        stamp: Stamp,
    ) {
        let index = self.buyer_index(&segmented.user);
        self.buyers[index].segmented = Some(Box::new(Segmented {
            segment: segmented.segment.clone(),
            fed: SegmentCursor {
                series: segmented.series,
                change: segmented.change,
            },
            run: segmented.run,
            at: stamp.at,
            lsn: stamp.lsn,
        }));
        self.note_idle(index);
    }

    pub(in crate::engine::state) fn apply_spent(
        &mut self,
        spent: &TokensSpent,
        stamp: Stamp,
        limits: Limits,
    ) {
        let buyer = self.buyer_index(&spent.user);
        let more = self.buyer_more(buyer);
        more.tokens = more.tokens.minus(spent.tokens);
        // A repeat of the key reports this balance, whatever the balance is by then.
        let balance = more.tokens;
        let outcome = KeyOutcome::Spent { balance };
        self.remember(buyer, spent.origin.key, outcome, stamp.at, limits);
        self.note_idle(buyer);
    }

    pub(in crate::engine::state) fn note_capture(&mut self, place: PurchaseIndex, at: UnixMs) {
        let buyer = self.purchases[place].buyer;
        let captures = &mut self.buyers[buyer].captures;
        captures.push((at, self.purchases.sequence(place)));
    }
}
