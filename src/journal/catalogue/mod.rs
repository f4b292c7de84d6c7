//! Owns setting products and promotions: the catalogue's own turn.
//!
//! Invariants: one change at a time; each is an event, in one append with the administrative act
//! that made it; a total is raised after its event and lowered before it, so every prefix of the
//! log satisfies I1 and I2; readers see the old catalogue or the new one, never a mixture.

use crate::engine::catalogue::Catalogue;
use crate::engine::cells::{PromotionLevels, StockLevels, UNITS_MAX};
use crate::engine::event::{Event, Part, ProductSet, PromotionSet};
use crate::engine::refusal::Refusal;
use crate::engine::view::{ProductView, PromotionView};
use crate::ids::{Lsn, ProductId, PromotionCode};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::{StorageFault, WriteError};
use crate::journal::turn::audit::{Audit, Revision};
use crate::time::UnixMs;
use smallvec::SmallVec;
use std::sync::Arc;

/// The result of setting a product or promotion.
#[derive(Clone, Debug)]
pub struct Set<View> {
    /// The product or promotion after the change.
    pub view: View,
    pub created: Created,
    /// The LSN that must be durable before it is answered.
    pub durable_at: Lsn,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Created {
    Yes,
    No,
}

const fn created(known: bool) -> Created {
    if known { Created::No } else { Created::Yes }
}

/// Why terms were refused; nothing has changed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NotSet {
    /// `engine.products_max` or `engine.promotions_max` is reached.
    Full,
    /// More units than the maximum of a product.
    TooManyUnits,
    /// More units are held and sold than the new total.
    BelowCommitted(StockLevels),
    /// The promotion has more uses than the new maximum.
    BelowUsed(PromotionLevels),
}

impl From<NotSet> for Refusal {
    fn from(why: NotSet) -> Self {
        match why {
            NotSet::Full => Self::Overloaded,
            NotSet::TooManyUnits => Self::InvalidRequest,
            NotSet::BelowCommitted(_) => Self::StockBelowCommitted,
            NotSet::BelowUsed(_) => Self::PromotionBelowUsed,
        }
    }
}

fn refused<E: From<NotSet>>(why: NotSet) -> WriteError<E> {
    WriteError::Refused(why.into())
}

/// Changes of products and promotions.
pub struct CatalogueChanges<'a> {
    core: &'a JournalCore,
}

impl<'a> CatalogueChanges<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl CatalogueChanges<'_> {
    /// Sets a product. Refused if its total would be below the units held and sold
    /// ([`Refusal::StockBelowCommitted`]), or if there is no room for another product.
    pub fn put_product(&self, set: ProductSet) -> Result<Set<ProductView>, WriteError> {
        let id = set.product.clone();
        self.change_product(&id, |_| Ok(set), Audit::Nothing)
    }

    /// Sets a product to the result of `change` on its current terms, with the act that asked for
    /// it in the same append. Nothing else changes the catalogue meanwhile; an error of `change`
    /// changes nothing.
    pub fn change_product<E: From<NotSet>>(
        &self,
        id: &ProductId,
        change: impl FnOnce(Option<&ProductView>) -> Result<ProductSet, E>,
        audit: Audit<'_, Revision<ProductView>>,
    ) -> Result<Set<ProductView>, WriteError<E>> {
        let _turn = self.core.catalogue_turn.lock();
        let before = self.core.catalogue.load_full();
        let at = self.core.now();
        // 1. The current terms, and the new ones.
        let known = before.product(id);
        let view_before = known.map(|product| product.view(at));
        let set = change(view_before.as_ref()).map_err(WriteError::Refused)?;
        debug_assert_eq!(set.product, *id, "a change keeps what it is a change of");
        // 2. Check the change. A lower total takes effect before its event, so that no hold is
        // placed above it.
        if set.stock > UNITS_MAX {
            return Err(refused(NotSet::TooManyUnits));
        }
        if before
            .admit_product(&set, &self.core.settings.bounds)
            .is_err()
        {
            return Err(refused(NotSet::Full));
        }
        let total = set.stock;
        if let Some(product) = known
            && total < product.stock.read().total
            && product.stock.set_total(total).is_err()
        {
            return Err(refused(NotSet::BelowCommitted(product.stock.read())));
        }
        // 3. Append the event, with the act that made it.
        let event = Event::ProductSet(set);
        let after = changed(&before, &event);
        let product_after = after.product(id).expect("it was set in this turn");
        let act = audit.act_of(|| Revision {
            before: view_before,
            after: product_after.view_to_be(at),
        });
        let durable_at = self.append_change(event, act, at)?;
        // 4. A higher total takes effect after its event.
        if let Some(product) = known {
            let raised = product.stock.set_total(total);
            raised.expect("it was lowered before its event, and raising is never below committed");
        }
        let created = created(known.is_some());
        let view = product_after.view(at);
        self.core.catalogue.store(Arc::new(after));
        Ok(Set {
            view,
            created,
            durable_at,
        })
    }

    /// Sets a promotion. Refused if its maximum would be below its uses
    /// ([`Refusal::PromotionBelowUsed`]), or if there is no room for another promotion.
    pub fn put_promotion(&self, set: PromotionSet) -> Result<Set<PromotionView>, WriteError> {
        let code = set.code.clone();
        self.change_promotion(&code, |_| Ok(set), Audit::Nothing)
    }

    /// Sets a promotion to the result of `change` on its current terms, as
    /// [`CatalogueChanges::change_product`] does.
    pub fn change_promotion<E: From<NotSet>>(
        &self,
        code: &PromotionCode,
        change: impl FnOnce(Option<&PromotionView>) -> Result<PromotionSet, E>,
        audit: Audit<'_, Revision<PromotionView>>,
    ) -> Result<Set<PromotionView>, WriteError<E>> {
        let _turn = self.core.catalogue_turn.lock();
        let before = self.core.catalogue.load_full();
        let known = before.promotion(code);
        let view_before = known.map(|promotion| promotion.view());
        let set = change(view_before.as_ref()).map_err(WriteError::Refused)?;
        debug_assert_eq!(set.code, *code, "a change keeps what it is a change of");
        if before
            .admit_promotion(&set, &self.core.settings.bounds)
            .is_err()
        {
            return Err(refused(NotSet::Full));
        }
        let uses_max = set.uses_max;
        if let Some(promotion) = known
            && uses_max < promotion.uses.read().max
            && promotion.uses.set_max(uses_max).is_err()
        {
            return Err(refused(NotSet::BelowUsed(promotion.uses.read())));
        }
        let event = Event::PromotionSet(set);
        let after = changed(&before, &event);
        let promotion_after = after.promotion(code).expect("it was set in this turn");
        let act = audit.act_of(|| Revision {
            before: view_before,
            after: promotion_after.view(),
        });
        let durable_at = self.append_change(event, act, self.core.now())?;
        if let Some(promotion) = known {
            let raised = promotion.uses.set_max(uses_max);
            raised.expect("it was lowered before its event, and raising is never below the uses");
        }
        let created = created(known.is_some());
        let view = promotion_after.view();
        self.core.catalogue.store(Arc::new(after));
        Ok(Set {
            view,
            created,
            durable_at,
        })
    }

    fn append_change(
        &self,
        change: Event,
        act: Option<Event>,
        at: UnixMs,
    ) -> Result<Lsn, StorageFault> {
        let mut events = SmallVec::<[Event; 2]>::from_iter([change]);
        events.extend(act);
        let moment = self.core.clock.moment_after(at);
        self.core.append(&events, moment).map(|(end, _)| end)
    }
}

/// The catalogue after `event`. The event was made in the current turn of the catalogue.
pub(in crate::journal) fn changed(before: &Catalogue, event: &Event) -> Catalogue {
    let mut after = before.clone();
    match event.part() {
        Part::Catalogue(change) => {
            let applied = after.apply(change);
            applied.expect("what it is about is new, or was found in this turn");
        }
        Part::Nothing
        | Part::Limits(_)
        | Part::Time(_)
        | Part::History(_)
        | Part::Risk(_)
        | Part::Webhooks(_)
        | Part::Shard(..) => {
            unreachable!("{} changes no catalogue", event.kind())
        }
    }
    after
}
