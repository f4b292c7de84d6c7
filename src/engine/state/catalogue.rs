//! Owns products and promotions: the operator's terms, each with its shared cell.
//!
//! Invariants: a catalogue is never changed, only replaced as a whole, so readers need no lock; a
//! product keeps its index and its cell through every change of its terms; indices follow the order
//! of the log, so recovery assigns the same ones. Deliberately absent: who may change it and when
//! (the journal's catalogue turn).

use crate::engine::cells::{PromotionCell, StockCell, UNITS_MAX};
use crate::engine::event::{Active, CatalogueEvent, Discount, ProductSet, PromotionSet};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{CurrencyList, PromotionBar, RefusalFacts, Rejection};
use crate::engine::words::settings::Bounds;
use crate::ids::{ProductId, PromotionCode, Segment};
use crate::money::{Amount, Currency, Price};
use crate::time::UnixMs;
use hashbrown::HashMap;
use std::sync::Arc;

/// A product's place in the catalogue.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct ProductIndex(u32);

/// A promotion's place in the catalogue.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct PromotionIndex(u32);

impl ProductIndex {
    /// As a place in [`Catalogue::products`].
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

impl PromotionIndex {
    /// As a place in [`Catalogue::promotions`].
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

/// A product: its terms and its units.
#[derive(Debug)]
pub struct Product {
    pub index: ProductIndex,
    pub terms: ProductSet,
    /// Its units, shared by all terms it ever had.
    pub stock: Arc<StockCell>,
    /// Units among the sold ones that the system before sold.
    pub imported_sold: u32,
}

/// A promotion: its terms and its uses.
#[derive(Debug)]
pub struct Promotion {
    pub index: PromotionIndex,
    pub terms: PromotionSet,
    /// Its uses, shared by all terms it ever had.
    pub uses: Arc<PromotionCell>,
    /// Uses among them that were made in the system before.
    pub imported_uses: u32,
}

/// No such product or promotion was ever set.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NeverSet;

/// Every product and promotion, as of one instant.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    products: Vec<Arc<Product>>,
    promotions: Vec<Arc<Promotion>>,
    product_places: HashMap<ProductId, ProductIndex>,
    promotion_places: HashMap<PromotionCode, PromotionIndex>,
}

impl Catalogue {
    /// The product named `id`.
    pub fn product(&self, id: &ProductId) -> Option<&Arc<Product>> {
        self.product_places
            .get(id)
            .map(|index| self.product_at(*index))
    }

    /// The product at `index`, which this catalogue or an earlier one gave.
    pub fn product_at(&self, index: ProductIndex) -> &Arc<Product> {
        &self.products[index.0 as usize]
    }

    /// Whether `index` is a place in this catalogue.
    pub fn has_product(&self, index: ProductIndex) -> bool {
        (index.0 as usize) < self.products.len()
    }

    /// Whether `index` is a place in this catalogue.
    pub fn has_promotion(&self, index: PromotionIndex) -> bool {
        (index.0 as usize) < self.promotions.len()
    }

    /// The promotion with this code.
    pub fn promotion(&self, code: &PromotionCode) -> Option<&Arc<Promotion>> {
        self.promotion_places
            .get(code)
            .map(|index| self.promotion_at(*index))
    }

    /// The promotion at `index`, which this catalogue or an earlier one gave.
    pub fn promotion_at(&self, index: PromotionIndex) -> &Arc<Promotion> {
        &self.promotions[index.0 as usize]
    }

    /// All products, by place.
    pub fn products(&self) -> &[Arc<Product>] {
        &self.products
    }

    /// All promotions, by place.
    pub fn promotions(&self) -> &[Arc<Promotion>] {
        &self.promotions
    }

    /// Whether there is room for the product of `set`.
    pub fn admit_product(&self, set: &ProductSet, bounds: &Bounds) -> Result<(), Refusal> {
        let known = self.product_places.contains_key(&set.product);
        if known || self.products.len() < bounds.products_max {
            Ok(())
        } else {
            Err(Refusal::Overloaded)
        }
    }

    /// Whether there is room for the promotion of `set`.
    pub fn admit_promotion(&self, set: &PromotionSet, bounds: &Bounds) -> Result<(), Refusal> {
        let known = self.promotion_places.contains_key(&set.code);
        if known || self.promotions.len() < bounds.promotions_max {
            Ok(())
        } else {
            Err(Refusal::Overloaded)
        }
    }

    /// Applies an event; returns why, if no turn can have written it. Live and recovery alike; the
    /// caller changes the cells.
    pub fn apply(&mut self, change: CatalogueEvent<'_>) -> Result<(), &'static str> {
        match change {
            CatalogueEvent::ProductSet(set) if set.stock > UNITS_MAX => {
                Err("its total is more than can be counted")
            }
            CatalogueEvent::ProductSet(set) => {
                self.add_product(set.clone());
                Ok(())
            }
            CatalogueEvent::PromotionSet(set) => {
                self.add_promotion(set.clone());
                Ok(())
            }
            CatalogueEvent::StockImported(it) => {
                let put = self.set_imported_sold(&it.product, it.sold);
                put.map_err(|NeverSet| "what it is about was never set")
            }
            CatalogueEvent::PromotionUsesImported(it) => {
                let put = self.set_imported_uses(&it.code, it.uses);
                put.map_err(|NeverSet| "what it is about was never set")
            }
        }
    }

    /// Sets the terms of a product.
    ///
    /// The caller changes the cell's total: it is raised after the event, and lowered before it.
    pub fn add_product(&mut self, set: ProductSet) {
        if let Some(index) = self.product_places.get(&set.product) {
            let known = &mut self.products[index.0 as usize];
            let stock = Arc::clone(&known.stock);
            *known = Arc::new(Product {
                index: *index,
                imported_sold: known.imported_sold,
                terms: set,
                stock,
            });
            return;
        }
        let index = ProductIndex(place(self.products.len()));
        let stock = StockCell::new(set.stock);
        let stock = Arc::new(stock.expect("whoever sets a product bounds its stock first"));
        self.product_places.insert(set.product.clone(), index);
        self.products.push(Arc::new(Product {
            index,
            terms: set,
            stock,
            imported_sold: 0,
        }));
    }

    /// Sets how many units of a product were sold elsewhere.
    ///
    /// The cell's units are the caller's, as with its total.
    pub fn set_imported_sold(&mut self, product: &ProductId, sold: u32) -> Result<(), NeverSet> {
        let index = *self.product_places.get(product).ok_or(NeverSet)?;
        let known = &mut self.products[index.0 as usize];
        *known = Arc::new(Product {
            index,
            terms: known.terms.clone(),
            stock: Arc::clone(&known.stock),
            imported_sold: sold,
        });
        Ok(())
    }

    /// Sets how many uses of a promotion the system before made; likewise.
    pub fn set_imported_uses(&mut self, code: &PromotionCode, uses: u32) -> Result<(), NeverSet> {
        let index = *self.promotion_places.get(code).ok_or(NeverSet)?;
        let known = &mut self.promotions[index.0 as usize];
        *known = Arc::new(Promotion {
            index,
            terms: known.terms.clone(),
            uses: Arc::clone(&known.uses),
            imported_uses: uses,
        });
        Ok(())
    }

    /// Sets the terms of a promotion; likewise.
    pub fn add_promotion(&mut self, set: PromotionSet) {
        if let Some(index) = self.promotion_places.get(&set.code) {
            let known = &mut self.promotions[index.0 as usize];
            let uses = Arc::clone(&known.uses);
            *known = Arc::new(Promotion {
                index: *index,
                imported_uses: known.imported_uses,
                terms: set,
                uses,
            });
            return;
        }
        let index = PromotionIndex(place(self.promotions.len()));
        let uses = Arc::new(PromotionCell::new(set.uses_max));
        self.promotion_places.insert(set.code.clone(), index);
        self.promotions.push(Arc::new(Promotion {
            index,
            terms: set,
            uses,
            imported_uses: 0,
        }));
    }
}

fn place(length: usize) -> u32 {
    u32::try_from(length).expect("the catalogue's bounds are far below 2^32")
}

impl Product {
    /// Whether a unit can be requested at `at`.
    pub fn on_sale(&self, at: UnixMs) -> Result<(), Rejection> {
        let reason = match self.window(at) {
            SaleStatus::Inactive => Refusal::SaleInactive,
            SaleStatus::Upcoming => Refusal::SaleNotStarted,
            SaleStatus::Ended => Refusal::SaleEnded,
            SaleStatus::Open | SaleStatus::SoldOut => return Ok(()),
        };
        Err(reason.about(RefusalFacts::Window {
            starts_at: self.terms.starts_at,
            ends_at: self.terms.ends_at,
        }))
    }

    /// The price of one unit in `currency`.
    pub fn price(&self, currency: Currency) -> Option<Price> {
        self.terms
            .prices
            .iter()
            .find(|(listed, _)| *listed == currency)
            .map(|(_, price)| *price)
    }

    /// The status of its sale at `at`, without regard to stock.
    pub(in crate::engine) fn window(&self, at: UnixMs) -> SaleStatus {
        match &self.terms {
            terms if terms.active == Active::No => SaleStatus::Inactive,
            terms if terms.starts_at.is_some_and(|opens| at < opens) => SaleStatus::Upcoming,
            terms if terms.ends_at.is_some_and(|closes| at >= closes) => SaleStatus::Ended,
            _ => SaleStatus::Open,
        }
    }
}

impl Promotion {
    /// Whether it applies to `product` at `at`, without regard to its uses.
    pub fn applies(&self, product: &ProductId, at: UnixMs) -> Result<(), Rejection> {
        let terms = &self.terms;
        if terms.active == Active::No {
            return Err(barred(PromotionBar::Inactive));
        }
        if let Some(starts_at) = terms.starts_at.filter(|begins| at < *begins) {
            return Err(barred(PromotionBar::NotStarted { starts_at }));
        }
        if let Some(ends_at) = terms.ends_at.filter(|ends| at >= *ends) {
            return Err(barred(PromotionBar::Ended { ends_at }));
        }
        if terms.products.is_empty() || terms.products.contains(product) {
            Ok(())
        } else {
            Err(barred(PromotionBar::Product))
        }
    }

    /// Whether it is for buyers in `segment`.
    pub fn is_for(&self, segment: Option<&Segment>) -> Result<(), Rejection> {
        let named = &self.terms.segments;
        if named.is_empty() || segment.is_some_and(|it| named.contains(it)) {
            Ok(())
        } else {
            Err(barred(PromotionBar::Segment))
        }
    }

    /// The discount on `whole` in `currency`; refused if it is zero.
    pub fn discount(&self, whole: Amount, currency: Currency) -> Result<Amount, Rejection> {
        let off = match &self.terms.discount {
            Discount::Percent(percent) => Some(whole.percent(*percent)),
            Discount::Fixed(sums) => sums
                .iter()
                .find(|(listed, _)| *listed == currency)
                .map(|(_, sum)| (*sum).min(whole)),
        };
        off.filter(|off| *off > Amount::ZERO)
            .ok_or(barred(PromotionBar::Currency(CurrencyList::default())))
    }
}

pub(in crate::engine) fn barred(bar: PromotionBar) -> Rejection {
    Refusal::PromotionNotApplicable.about(RefusalFacts::Promotion(bar))
}

/// The status of a product's sale.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SaleStatus {
    /// The window has not opened.
    Upcoming,
    Open,
    /// On sale, but nothing is left.
    SoldOut,
    /// The window has closed.
    Ended,
    /// Switched off.
    Inactive,
}

impl SaleStatus {
    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upcoming => "upcoming",
            Self::Open => "open",
            Self::SoldOut => "sold_out",
            Self::Ended => "ended",
            Self::Inactive => "inactive",
        }
    }
}
