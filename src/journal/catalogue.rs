//! Owns setting products and promotions: the catalogue's own turn.
//!
//! Invariants: one change at a time, each an event, in one append with the
//! act that made it; a total is raised after its event and lowered
//! before it, so every prefix of the log keeps I1 and I2; readers see the old catalogue or the
//! new one, never a mixture.

use super::Journal;
use super::fault::StorageFault;
use crate::engine::catalogue::Catalogue;
use crate::engine::cells::{TotalRefused, UNITS_MAX};
use crate::engine::event::{AdminActed, Event, ProductSet, PromotionSet};
use crate::engine::refusal::Refusal;
use crate::engine::view::{ProductView, PromotionView};
use crate::ids::Lsn;
use crate::time::UnixMs;
use smallvec::SmallVec;
use std::sync::Arc;

/// What was set.
#[derive(Clone, Debug)]
pub struct Set<View> {
    /// It, as it is now.
    pub view: View,
    /// Whether it is new.
    pub created: Created,
    /// The LSN that must be durable before it is told.
    pub durable_at: Lsn,
}

/// Whether something is new.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was not there before.
    Yes,
    /// It was changed.
    No,
}

impl Journal {
    /// Sets a product; refused where its units would fall below those held and sold
    /// ([`Refusal::StockBelowCommitted`]), or there is no room for another product.
    pub fn put_product(
        &self,
        set: ProductSet,
    ) -> Result<Result<Set<ProductView>, Refusal>, StorageFault> {
        self.set_product(set, |_, _| None)
    }

    /// The same as an administrative act: what `acted` makes of the product as it was and as it
    /// will be stands in the same append.
    pub fn put_product_acted(
        &self,
        set: ProductSet,
        acted: impl FnOnce(Option<&ProductView>, &ProductView) -> AdminActed,
    ) -> Result<Result<Set<ProductView>, Refusal>, StorageFault> {
        self.set_product(set, |before, after| Some(acted(before, after)))
    }

    fn set_product(
        &self,
        set: ProductSet,
        acted: impl FnOnce(Option<&ProductView>, &ProductView) -> Option<AdminActed>,
    ) -> Result<Result<Set<ProductView>, Refusal>, StorageFault> {
        let _turn = self.catalogue_turn.lock();
        let before = self.catalogue.load_full();
        if set.stock > UNITS_MAX {
            return Ok(Err(Refusal::InvalidRequest));
        }
        if let Err(refusal) = before.admit_product(&set, &self.settings.bounds) {
            return Ok(Err(refusal));
        }
        let known = before.product(&set.product);
        let created = if known.is_some() {
            Created::No
        } else {
            Created::Yes
        };
        let (id, total) = (set.product.clone(), set.stock);
        let at = self.now();
        let view_before = known.map(|product| product.view(at));
        if let Some(product) = known
            && total < product.stock.read().total
        {
            match product.stock.set_total(total) {
                Ok(()) => {}
                Err(TotalRefused::BelowCommitted) => {
                    return Ok(Err(Refusal::StockBelowCommitted));
                }
                Err(TotalRefused::OutOfRange) => return Ok(Err(Refusal::InvalidRequest)),
            }
        }
        let event = Event::ProductSet(set.clone());
        let mut after = Catalogue::clone(&before);
        after.add_product(set);
        let product_after = after.product(&id).expect("it was set in this turn");
        let acted = acted(view_before.as_ref(), &product_after.view_to_be(at));
        let durable_at = self.append_change(event, acted, at)?;
        if let Some(product) = known {
            let raised = product.stock.set_total(total);
            raised.expect("it was lowered before its event, and raising is never below committed");
        }
        let view = product_after.view(at);
        self.catalogue.store(Arc::new(after));
        Ok(Ok(Set {
            view,
            created,
            durable_at,
        }))
    }

    /// Sets a promotion; refused where its uses would fall below those made
    /// ([`Refusal::PromotionBelowUsed`]), or there is no room for another promotion.
    pub fn put_promotion(
        &self,
        set: PromotionSet,
    ) -> Result<Result<Set<PromotionView>, Refusal>, StorageFault> {
        self.set_promotion(set, |_, _| None)
    }

    /// The same as an administrative act: what `acted` makes of the promotion as it was and as it
    /// will be stands in the same append.
    pub fn put_promotion_acted(
        &self,
        set: PromotionSet,
        acted: impl FnOnce(Option<&PromotionView>, &PromotionView) -> AdminActed,
    ) -> Result<Result<Set<PromotionView>, Refusal>, StorageFault> {
        self.set_promotion(set, |before, after| Some(acted(before, after)))
    }

    fn set_promotion(
        &self,
        set: PromotionSet,
        acted: impl FnOnce(Option<&PromotionView>, &PromotionView) -> Option<AdminActed>,
    ) -> Result<Result<Set<PromotionView>, Refusal>, StorageFault> {
        let _turn = self.catalogue_turn.lock();
        let before = self.catalogue.load_full();
        if let Err(refusal) = before.admit_promotion(&set, &self.settings.bounds) {
            return Ok(Err(refusal));
        }
        let known = before.promotion(&set.code);
        let created = if known.is_some() {
            Created::No
        } else {
            Created::Yes
        };
        let (code, uses_max) = (set.code.clone(), set.uses_max);
        let view_before = known.map(|promotion| promotion.view());
        if let Some(promotion) = known
            && uses_max < promotion.uses.read().max
            && promotion.uses.set_max(uses_max).is_err()
        {
            return Ok(Err(Refusal::PromotionBelowUsed));
        }
        let event = Event::PromotionSet(set.clone());
        let mut after = Catalogue::clone(&before);
        after.add_promotion(set);
        let promotion_after = after.promotion(&code).expect("it was set in this turn");
        let acted = acted(view_before.as_ref(), &promotion_after.view());
        let durable_at = self.append_change(event, acted, self.now())?;
        if let Some(promotion) = known {
            let raised = promotion.uses.set_max(uses_max);
            raised.expect("it was lowered before its event, and raising is never below the uses");
        }
        let view = promotion_after.view();
        self.catalogue.store(Arc::new(after));
        Ok(Ok(Set {
            view,
            created,
            durable_at,
        }))
    }

    fn append_change(
        &self,
        change: Event,
        acted: Option<AdminActed>,
        at: UnixMs,
    ) -> Result<Lsn, StorageFault> {
        let mut events = SmallVec::<[Event; 2]>::from_iter([change]);
        events.extend(acted.map(Event::AdminActed));
        self.append(&events, at).map(|(end, _)| end)
    }
}
