//! Owns changing shared cells after an event: what the event frees is given back.
//!
//! Invariant: only once the event is in the log, so that a crash finds too much claimed, never too
//! little.

use crate::engine::shared::amounts::SharedAmounts;
use crate::engine::state::apply::{Effects, StockMove};
use crate::engine::state::catalogue::Catalogue;
use crate::time::UnixMs;

impl Effects {
    /// Changes the cells. Call it only once the event is in the log: give back after it.
    /// `day_start` returns when the day of an instant began.
    pub fn carry_out(
        self,
        catalogue: &Catalogue,
        shared: &SharedAmounts,
        day_start: impl Fn(UnixMs) -> UnixMs,
    ) {
        match self.stock {
            Some(StockMove::GiveBack(product, units)) => {
                catalogue.product_at(product).stock.give_back(units);
            }
            Some(StockMove::Sell(product, units)) => {
                catalogue.product_at(product).stock.sell(units);
            }
            Some(StockMove::Restock(product, units)) => {
                catalogue.product_at(product).stock.take_back(units);
            }
            None => {}
        }
        if let Some(promotion) = self.promotion {
            catalogue.promotion_at(promotion).uses.give_back(1);
        }
        if let Some(count) = self.uncounted {
            shared.give_back(&count, &day_start);
        }
        if let Some(count) = self.counted {
            shared.count_more(&count, day_start);
        }
    }
}
