//! Owns reading a snapshot whole.
//!
//! Invariant: nothing of a snapshot is used before all of it reads well.

use super::image::{CatalogueImage, DistinctImage, VelocityImage};
use crate::engine::catalogue::Catalogue;
use crate::engine::cells::UNITS_MAX;
use crate::engine::event::LogGeneration;
use crate::engine::image::ShardImage;
use crate::engine::settings::{EngineSettings, Limits};
use crate::engine::shard::Shard;
use crate::engine::velocity::Velocity;
use crate::ids::{Lsn, SHARD_COUNT, ShardId};
use crate::journal::core::in_force::InForce;
use crate::journal::core::seen::SeenWebhooks;
use crate::journal::format::sections::{
    ContentProblem, Section, SnapshotError, SnapshotReader, Tag,
};
use rkyv::{Archive, Deserialize, rancor};

/// What a snapshot holds, ready to go on from.
pub struct Restored {
    pub log_id: u64,
    /// Products and promotions.
    pub catalogue: Catalogue,
    /// The settings that applying depends on.
    pub limits: Limits,
    /// The generation of the log that the operator accepted last.
    pub accepted: Option<LogGeneration>,
    /// Events from here on are to be applied to the catalogue, the limits and what is accepted.
    pub catalogue_lsn: Lsn,
    /// Each shard, and from where on events are to be applied to it.
    pub shards: Vec<(Shard, Lsn)>,
    /// The counters; events from anywhere may be applied to them again.
    pub velocity: Velocity,
    /// What the log says of risk rules and scoring, with how much is kept of the counters.
    pub rules: InForce,
    /// Rules and scoring set from here on are to be applied.
    pub rules_lsn: Lsn,
    /// Nonces and event ids of webhooks; likewise.
    pub(in crate::journal) seen: SeenWebhooks,
    /// Recovery reads the log from this LSN on.
    pub first: Lsn,
}

/// Reads a snapshot whole.
pub fn restore(
    from: impl std::io::Read,
    engine: &EngineSettings,
) -> Result<Restored, SnapshotError> {
    let mut reader = SnapshotReader::open(from)?;
    let log_id = reader.log_id();
    let velocity = Velocity::new(engine.bounds.velocity_keys_max, log_id);
    let seen = SeenWebhooks::new(engine.webhooks);
    let (mut rules, mut rules_lsn) = (InForce::default(), Lsn(0));
    let mut catalogue = None;
    let mut images: Vec<Option<(ShardImage, Lsn)>> = (0..SHARD_COUNT).map(|_| None).collect();
    let mut first = Lsn(u64::MAX);
    while let Some(Section { tag, lsn, bytes }) = reader.next_section()? {
        first = first.min(lsn);
        let wrong = |problem| SnapshotError::Content {
            section: tag,
            problem,
        };
        match tag {
            Tag::Catalogue => {
                let image: CatalogueImage = unarchived(&bytes).map_err(wrong)?;
                let settings = (image.limits, image.accepted);
                catalogue = Some((catalogue_of(image).map_err(wrong)?, settings, lsn));
            }
            Tag::Velocity => {
                let image: VelocityImage = unarchived(&bytes).map_err(wrong)?;
                velocity.put_axis_ms(image.axis_ms);
                let taken = image
                    .keys
                    .iter()
                    .try_for_each(|(key, it)| velocity.import(*key, it));
                taken.map_err(|_| wrong(ContentProblem::Instant))?;
            }
            Tag::Webhooks => {
                let taken = seen.import(unarchived(&bytes).map_err(wrong)?);
                taken.map_err(|_| wrong(ContentProblem::WebhooksFull))?;
            }
            Tag::Distinct => {
                let image: DistinctImage = unarchived(&bytes).map_err(wrong)?;
                let taken = image
                    .keys
                    .iter()
                    .try_for_each(|(key, it)| velocity.import_distinct(*key, it));
                taken.map_err(|_| wrong(ContentProblem::Instant))?;
            }
            Tag::Rules => {
                rules = unarchived(&bytes).map_err(wrong)?;
                rules_lsn = lsn;
            }
            Tag::Shard(number) => {
                let image = unarchived(&bytes).map_err(wrong)?;
                images[usize::from(number)] = Some((image, lsn));
            }
        }
    }
    velocity.keep(&rules.depths());
    let (catalogue, (limits, accepted), catalogue_lsn) =
        catalogue.ok_or(SnapshotError::NoSection(Tag::Catalogue))?;
    let mut shards = Vec::with_capacity(SHARD_COUNT);
    for ((id, number), image) in ShardId::all().zip(0..=u8::MAX).zip(images) {
        let (image, lsn) = image.ok_or(SnapshotError::NoSection(Tag::Shard(number)))?;
        shards.push((Shard::from_image(id, image, &catalogue)?, lsn));
    }
    Ok(Restored {
        log_id,
        catalogue,
        limits,
        accepted,
        catalogue_lsn,
        shards,
        velocity,
        rules,
        rules_lsn,
        seen,
        first,
    })
}

fn catalogue_of(image: CatalogueImage) -> Result<Catalogue, ContentProblem> {
    let mut catalogue = Catalogue::default();
    for image in image.products {
        let id = image.terms.product.clone();
        if image.terms.stock > UNITS_MAX {
            return Err(ContentProblem::Units(id));
        }
        if catalogue.product(&id).is_some() {
            return Err(ContentProblem::ProductTwice(id));
        }
        catalogue.add_product(image.terms);
        let set = catalogue.set_imported_sold(&id, image.sold_elsewhere);
        set.expect("the product was just added");
    }
    for image in image.promotions {
        let code = image.terms.code.clone();
        if catalogue.promotion(&code).is_some() {
            return Err(ContentProblem::PromotionTwice(code));
        }
        catalogue.add_promotion(image.terms);
        let set = catalogue.set_imported_uses(&code, image.used_elsewhere);
        set.expect("the promotion was just added");
    }
    Ok(catalogue)
}

fn unarchived<T>(bytes: &[u8]) -> Result<T, ContentProblem>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rancor::Error>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<rancor::Error>>,
{
    rkyv::from_bytes::<T, rancor::Error>(bytes).map_err(|_| ContentProblem::OtherKind)
}
