//! Owns how products and promotions are shown, with what is left of them.

use crate::engine::cells::StockLevels;
use crate::engine::event::{Active, Discount};
use crate::engine::state::catalogue::{Product, Promotion, SaleStatus};
use crate::ids::{ProductId, PromotionCode, Segment};
use crate::money::{Currency, Price};
use crate::time::UnixMs;

/// A product with its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductView {
    pub product: ProductId,
    /// What it is called.
    pub name: String,
    /// A price for each currency it is sold in, in the order of the codes.
    pub prices: Vec<(Currency, Price)>,
    /// When the sale opens.
    pub starts_at: Option<UnixMs>,
    /// When the sale closes.
    pub ends_at: Option<UnixMs>,
    /// Whether it is for sale at all.
    pub active: Active,
    /// Where the sale is.
    pub status: SaleStatus,
    /// All units ever for sale.
    pub total: u32,
    /// Units set aside.
    pub held: u32,
    /// Units sold.
    pub sold: u32,
    /// Units that one buyer may hold and own at once.
    pub per_user_limit: Option<u32>,
    /// How long its holds last, where the product says.
    pub hold_ttl_ms: Option<u64>,
    /// Tokens that a purchase of one unit grants.
    pub reward_tokens: u32,
}

impl ProductView {
    /// Units that can still be held.
    pub fn available(&self) -> u32 {
        self.total - self.held - self.sold
    }
}

/// A promotion with its uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionView {
    pub code: PromotionCode,
    pub discount: Discount,
    /// Uses by all buyers together, at most.
    pub uses_max: u32,
    /// Uses made, those of open holds included.
    pub uses: u32,
    pub uses_per_user_max: Option<u32>,
    /// The products it applies to; empty: all.
    pub products: Vec<ProductId>,
    /// The segments of buyers it applies to; empty: all buyers.
    pub segments: Vec<Segment>,
    /// When it begins.
    pub starts_at: Option<UnixMs>,
    pub ends_at: Option<UnixMs>,
    /// Whether it applies at all.
    pub active: Active,
}

impl Product {
    /// What it shows of itself at `at`.
    pub fn view(&self, at: UnixMs) -> ProductView {
        self.view_with(self.stock.read(), at)
    }

    /// The same with the units of its terms, which the caller has not set in the cell yet.
    pub fn view_to_be(&self, at: UnixMs) -> ProductView {
        let levels = StockLevels {
            total: self.terms.stock,
            ..self.stock.read()
        };
        self.view_with(levels, at)
    }

    fn view_with(&self, levels: StockLevels, at: UnixMs) -> ProductView {
        let status = match self.window(at) {
            SaleStatus::Open if levels.available() == 0 => SaleStatus::SoldOut,
            status => status,
        };
        let terms = &self.terms;
        ProductView {
            product: terms.product.clone(),
            name: terms.name.clone(),
            prices: terms.prices.clone(),
            starts_at: terms.starts_at,
            ends_at: terms.ends_at,
            active: terms.active,
            status,
            total: levels.total,
            held: levels.held,
            sold: levels.sold,
            per_user_limit: terms.per_user_limit,
            hold_ttl_ms: terms.hold_ttl_ms,
            reward_tokens: terms.reward_tokens,
        }
    }
}

impl Promotion {
    /// What it shows of itself.
    pub fn view(&self) -> PromotionView {
        let terms = &self.terms;
        PromotionView {
            code: terms.code.clone(),
            discount: terms.discount.clone(),
            uses_max: terms.uses_max,
            uses: self.uses.read().uses,
            uses_per_user_max: terms.uses_per_user_max,
            products: terms.products.clone(),
            segments: terms.segments.clone(),
            starts_at: terms.starts_at,
            ends_at: terms.ends_at,
            active: terms.active,
        }
    }
}
