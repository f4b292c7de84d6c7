//! Owns deriving the shared sums from all shards together, and checking them against their bounds.
//!
//! Invariant: stock and promotion uses are never stored; what cannot be derived within its bound (I1, I2)
//! stops the start.

use crate::engine::catalogue::Catalogue;
use crate::engine::lifecycle::Units;
use crate::engine::shard::Shard;
use crate::journal::format::fault::BrokenInvariant;

/// I1 and I4: the units of all purchases of a product are within its total.
pub(in crate::journal) fn derive_stock(
    catalogue: &Catalogue,
    shards: &[Shard],
) -> Result<(), BrokenInvariant> {
    let products = catalogue.products().iter();
    let mut sums: Vec<(u64, u64)> = products
        .map(|it| (0, u64::from(it.imported_sold)))
        .collect();
    for (product, units, quantity) in shards.iter().flat_map(Shard::claimed_units) {
        let (held, sold) = &mut sums[product.place()];
        match units {
            Units::Held => *held += u64::from(quantity),
            Units::Sold => *sold += u64::from(quantity),
            Units::None => {}
        }
    }
    for (product, (held, sold)) in catalogue.products().iter().zip(sums) {
        let total = u64::from(product.terms.stock);
        if held + sold > total {
            return Err(BrokenInvariant::Units {
                product: product.terms.product.clone(),
                held,
                sold,
                total,
            });
        }
        let total = product.terms.stock;
        let set = product.stock.set_total(total);
        set.expect("nothing is committed before the sums are, and the catalogue bounds the total");
        let units = |sum| u32::try_from(sum).expect("it is at most the total");
        product.stock.add_held(units(held));
        product.stock.add_sold(units(sold));
    }
    Ok(())
}

/// I2: the uses of a promotion are within its maximum.
pub(in crate::journal) fn derive_uses(
    catalogue: &Catalogue,
    shards: &[Shard],
) -> Result<(), BrokenInvariant> {
    let promotions = catalogue.promotions().iter();
    let mut uses: Vec<u64> = promotions.map(|it| u64::from(it.imported_uses)).collect();
    for promotion in shards.iter().flat_map(Shard::claimed_uses) {
        uses[promotion.place()] += 1;
    }
    for (promotion, uses) in catalogue.promotions().iter().zip(uses) {
        let most = promotion.terms.uses_max;
        if uses > u64::from(most) {
            return Err(BrokenInvariant::Uses {
                code: promotion.terms.code.clone(),
                uses,
                most,
            });
        }
        promotion
            .uses
            .set_max(most)
            .expect("no uses are counted before the sums are");
        promotion
            .uses
            .add_uses(u32::try_from(uses).expect("it is at most the maximum"));
    }
    Ok(())
}
