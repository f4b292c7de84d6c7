//! Owns the images in a snapshot's sections, except those of shards and webhooks, and the digest of a
//! state.
//!
//! Invariant: equal states have equal images; the order in which keys arrived makes no difference.

use crate::engine::catalogue::Catalogue;
use crate::engine::event::{LogGeneration, ProductSet, PromotionSet};
use crate::engine::image::ShardImage;
use crate::engine::settings::Limits;
use crate::engine::velocity::Velocity;
use crate::journal::core::in_force::InForce;
use rkyv::{Archive, Deserialize, Serialize, rancor};
use sha2::{Digest, Sha256};

/// Products and promotions in the order of their places, and the settings that change in the
/// catalogue's turn.
#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct CatalogueImage {
    pub(in crate::journal) products: Vec<ProductImage>,
    pub(in crate::journal) promotions: Vec<PromotionImage>,
    pub(in crate::journal) limits: Limits,
    pub(in crate::journal) accepted: Option<LogGeneration>,
}

#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct ProductImage {
    pub(in crate::journal) terms: ProductSet,
    pub(in crate::journal) sold_elsewhere: u32,
}

#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct PromotionImage {
    pub(in crate::journal) terms: PromotionSet,
    pub(in crate::journal) used_elsewhere: u32,
}

/// Sorted by key.
#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct VelocityImage {
    pub(in crate::journal) axis_ms: i64,
    pub(in crate::journal) keys: Vec<(u128, Vec<u64>)>,
}

/// For each key its values, each with the instant at which it was last seen; sorted by key.
#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct DistinctImage {
    pub(in crate::journal) keys: Vec<(u128, Vec<(u64, u64)>)>,
}

/// SHA-256 over the catalogue, the limits, the accepted generation, the risk rules, the scoring and
/// all shards, in hexadecimal. The purchases stand for units and uses; the velocity counters are left
/// out.
pub fn digest(
    catalogue: &Catalogue,
    limits: Limits,
    accepted: Option<LogGeneration>,
    in_force: &InForce,
    shards: impl Iterator<Item = ShardImage>,
) -> String {
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(archived(&catalogue_image(
        catalogue, limits, accepted,
    ))));
    hash.update(Sha256::digest(archived(in_force)));
    for image in shards {
        hash.update(Sha256::digest(archived(&image)));
    }
    hex::encode(hash.finalize())
}

pub(in crate::journal) fn catalogue_image(
    catalogue: &Catalogue,
    limits: Limits,
    accepted: Option<LogGeneration>,
) -> CatalogueImage {
    let products = catalogue.products().iter().map(|it| ProductImage {
        terms: it.terms.clone(),
        sold_elsewhere: it.imported_sold,
    });
    let promotions = catalogue.promotions().iter().map(|it| PromotionImage {
        terms: it.terms.clone(),
        used_elsewhere: it.imported_uses,
    });
    CatalogueImage {
        products: products.collect(),
        promotions: promotions.collect(),
        limits,
        accepted,
    }
}

pub(in crate::journal) fn velocity_image(velocity: &Velocity) -> VelocityImage {
    let mut keys = Vec::new();
    velocity.export(|key, instants| keys.push((key, instants)));
    keys.sort_unstable_by_key(|(key, _)| *key);
    VelocityImage {
        axis_ms: velocity.axis_ms(),
        keys,
    }
}

pub(in crate::journal) fn distinct_image(velocity: &Velocity) -> DistinctImage {
    let mut keys = Vec::new();
    velocity.export_distinct(|key, seen| keys.push((key, seen)));
    keys.sort_unstable_by_key(|(key, _)| *key);
    DistinctImage { keys }
}

pub(in crate::journal) fn archived<T>(image: &T) -> rkyv::util::AlignedVec
where
    T: for<'a> Serialize<
        rkyv::api::high::HighSerializer<
            rkyv::util::AlignedVec,
            rkyv::ser::allocator::ArenaHandle<'a>,
            rancor::Error,
        >,
    >,
{
    rkyv::to_bytes::<rancor::Error>(image)
        .expect("images hold no shared pointers and memory grows or aborts, so archiving succeeds")
}
