//! Owns reading a whole snapshot.
//!
//! Invariant: nothing of a snapshot is used before all of it has been read and is valid.

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

/// The content of a snapshot, from which recovery continues.
pub struct Restored {
    pub log_id: u64,
    /// Products and promotions.
    pub catalogue: Catalogue,
    /// The settings that applying depends on.
    pub limits: Limits,
    /// The generation of the log that the operator accepted last.
    pub accepted: Option<LogGeneration>,
    /// Events from this LSN on must be applied to the catalogue, the limits and the accepted
    /// generation.
    pub catalogue_lsn: Lsn,
    /// Each shard, and the LSN from which events must be applied to it.
    pub shards: Vec<(Shard, Lsn)>,
    /// The counters. Applying an event to them again changes nothing.
    pub velocity: Velocity,
    /// The risk rules and scoring in force, and how much is kept of the counters.
    pub rules: InForce,
    /// Rules and scoring set from this LSN on must be applied.
    pub rules_lsn: Lsn,
    /// Nonces and event ids of webhooks. Remembering one again changes nothing.
    pub(in crate::journal) seen: SeenWebhooks,
    /// Recovery reads the log from this LSN on.
    pub first: Lsn,
}

/// Reads a whole snapshot.
pub fn restore(
    from: impl std::io::Read,
    engine: &EngineSettings,
) -> Result<Restored, SnapshotError> {
    let mut reader = SnapshotReader::open(from)?;
    let mut read = Sections::new(reader.log_id(), engine);
    while let Some(section) = reader.next_section()? {
        let tag = section.tag;
        read.add(section)
            .map_err(|problem| SnapshotError::Content {
                section: tag,
                problem,
            })?;
    }
    read.finish()
}

/// The sections read so far. Their order in the file is free, so what needs another section waits
/// for [`Sections::finish`].
struct Sections {
    log_id: u64,
    catalogue: Option<(CatalogueImage, Lsn)>,
    /// By the shard's number.
    shards: Vec<Option<(ShardImage, Lsn)>>,
    velocity: Velocity,
    rules: InForce,
    rules_lsn: Lsn,
    seen: SeenWebhooks,
    /// The smallest LSN of all sections.
    first: Lsn,
}

impl Sections {
    fn new(log_id: u64, engine: &EngineSettings) -> Self {
        Self {
            log_id,
            catalogue: None,
            shards: (0..SHARD_COUNT).map(|_| None).collect(),
            velocity: Velocity::new(engine.bounds.velocity_keys_max, log_id),
            rules: InForce::default(),
            rules_lsn: Lsn(0),
            seen: SeenWebhooks::new(engine.webhooks),
            first: Lsn(u64::MAX),
        }
    }

    fn add(&mut self, Section { tag, lsn, bytes }: Section) -> Result<(), ContentProblem> {
        self.first = self.first.min(lsn);
        match tag {
            Tag::Catalogue => self.catalogue = Some((unarchived(&bytes)?, lsn)),
            Tag::Velocity => {
                let image: VelocityImage = unarchived(&bytes)?;
                self.velocity.put_axis_ms(image.axis_ms);
                let mut keys = image.keys.iter();
                let taken = keys.try_for_each(|(key, it)| self.velocity.import(*key, it));
                taken.map_err(|_| ContentProblem::Instant)?;
            }
            Tag::Distinct => {
                let image: DistinctImage = unarchived(&bytes)?;
                let mut keys = image.keys.iter();
                let taken = keys.try_for_each(|(key, it)| self.velocity.import_distinct(*key, it));
                taken.map_err(|_| ContentProblem::Instant)?;
            }
            Tag::Webhooks => {
                let taken = self.seen.import(unarchived(&bytes)?);
                taken.map_err(|_| ContentProblem::WebhooksFull)?;
            }
            Tag::Rules => {
                self.rules = unarchived(&bytes)?;
                self.rules_lsn = lsn;
            }
            Tag::Shard(number) => {
                self.shards[usize::from(number)] = Some((unarchived(&bytes)?, lsn));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Restored, SnapshotError> {
        // 1. The rules decide how much of the counters is kept.
        self.velocity.keep(&self.rules.depths());
        // 2. The catalogue before the shards, whose images name products by their place in it.
        let (image, catalogue_lsn) = self
            .catalogue
            .ok_or(SnapshotError::NoSection(Tag::Catalogue))?;
        let (limits, accepted) = (image.limits, image.accepted);
        let catalogue = catalogue_of(image).map_err(|problem| SnapshotError::Content {
            section: Tag::Catalogue,
            problem,
        })?;
        let mut shards = Vec::with_capacity(SHARD_COUNT);
        for ((id, number), image) in ShardId::all().zip(0..=u8::MAX).zip(self.shards) {
            let (image, lsn) = image.ok_or(SnapshotError::NoSection(Tag::Shard(number)))?;
            shards.push((Shard::from_image(id, image, &catalogue)?, lsn));
        }
        Ok(Restored {
            log_id: self.log_id,
            catalogue,
            limits,
            accepted,
            catalogue_lsn,
            shards,
            velocity: self.velocity,
            rules: self.rules,
            rules_lsn: self.rules_lsn,
            seen: self.seen,
            first: self.first,
        })
    }
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
