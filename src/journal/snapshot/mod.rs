//! Owns snapshots: the state as of an LSN, copied shard by shard without a pause.
//!
//! Invariants: 1. each shard is copied within its own turn and written outside of it, together with
//! the LSN from which events must be applied to it again; 2. the file is named by the smallest of
//! these LSNs;
//! 3. it is finished only once everything that it reveals is durable in the log. The shared sums
//!    are not part of it: stock and promotion uses are derived from the purchases.

use crate::engine::catalogue::Catalogue;
use crate::engine::cells::UNITS_MAX;
use crate::engine::event::{LogGeneration, ProductSet, PromotionSet};
use crate::engine::image::ShardImage;
use crate::engine::settings::{EngineSettings, Limits};
use crate::engine::shard::Shard;
use crate::engine::velocity::Velocity;
use crate::ids::{Lsn, SHARD_COUNT, ShardId};
use crate::journal::Journal;
use crate::journal::format::fault::JournalError;
pub use crate::journal::format::sections as format;
use crate::journal::format::store;
use crate::journal::risk::InForce;
use crate::journal::webhooks::SeenWebhooks;
use format::{Section, SnapshotError, SnapshotReader, Tag};
use parking_lot::Mutex;
use rkyv::{Archive, Deserialize, Serialize, rancor};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What a snapshot took.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Recovery reads the log from this LSN on.
    pub lsn: Lsn,
    /// Size of the file.
    pub bytes: u64,
    pub purchases: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// The journal's snapshots: where they are, and the newest.
pub(in crate::journal) struct Snapshots {
    pub(in crate::journal) storage: Arc<dyn wal::Storage>,
    /// Held while one is taken: one at a time.
    pub(in crate::journal) taking: Mutex<()>,
    pub(in crate::journal) newest: Mutex<Option<Lsn>>,
    /// The size of the newest; 0 where there is none.
    pub(in crate::journal) newest_bytes: AtomicU64,
    /// Why the last one was not taken.
    pub(in crate::journal) failure: Mutex<Option<String>>,
    /// Keeps the log from where recovery would read it.
    pub(in crate::journal) pin: Mutex<wal::Pin>,
}

/// Products and promotions in the order of their places, and what else changes in the catalogue's turn.
#[derive(Archive, Serialize, Deserialize)]
struct CatalogueImage {
    products: Vec<ProductImage>,
    promotions: Vec<PromotionImage>,
    limits: Limits,
    accepted: Option<LogGeneration>,
}

#[derive(Archive, Serialize, Deserialize)]
struct ProductImage {
    terms: ProductSet,
    sold_elsewhere: u32,
}

#[derive(Archive, Serialize, Deserialize)]
struct PromotionImage {
    terms: PromotionSet,
    used_elsewhere: u32,
}

/// In the order of the keys, whatever the order in which they came.
#[derive(Archive, Serialize, Deserialize)]
struct VelocityImage {
    axis_ms: i64,
    keys: Vec<(u128, Vec<u64>)>,
}

/// For each key its values, each with the instant at which it was seen last; in the order of the keys.
#[derive(Archive, Serialize, Deserialize)]
struct DistinctImage {
    keys: Vec<(u128, Vec<(u64, u64)>)>,
}

impl Journal {
    /// Takes a snapshot, and lets go of the log behind the older of the two kept. Blocks this
    /// thread, but no command for longer than it takes to copy one shard.
    pub fn snapshot(&self) -> Result<SnapshotReport, JournalError> {
        let taken = self.take_snapshot();
        *self.snapshots.failure.lock() = taken.as_ref().err().map(ToString::to_string);
        taken
    }

    /// Whether a snapshot is to be taken where one is wanted for every `every_bytes` of log.
    ///
    /// Where the newest is larger than that, only once the log behind it is as long: so snapshots never write more than
    /// the log does, however much there is to copy, and recovery reads about as much log as snapshot at most.
    pub fn snapshot_due(&self, every_bytes: u64) -> bool {
        let newest = self.status_snapshot().unwrap_or_default();
        let behind = self.appended().0.saturating_sub(newest.0);
        behind >= every_bytes.max(self.snapshots.newest_bytes.load(Ordering::Relaxed))
    }

    fn take_snapshot(&self) -> Result<SnapshotReport, JournalError> {
        let began = Instant::now();
        if self.log.disk_free_low() {
            return Err(JournalError::DiskFull);
        }
        let _one_at_a_time = self.snapshots.taking.lock();
        let storage = &*self.snapshots.storage;
        let mut writing = Writing::begin(storage, self.log_id())?;

        // 1. The counters, as of `velocity_lsn`. Recovery counts every event from the smallest LSN of
        // all sections on; counting one again changes nothing, but one that is missing stays missing.
        // A turn appends and counts under its shard's lock, so taking each lock once guarantees that
        // everything appended before `velocity_lsn` has been counted.
        let (in_force, velocity, distinct, velocity_lsn) = {
            // Rules do not change meanwhile: how much is kept is as of this LSN.
            let rules = self.rules_turn.lock();
            let velocity_lsn = self.appended();
            ShardId::all().for_each(|id| drop(self.shard(id)));
            let velocity = velocity_image(&self.velocity);
            let distinct = distinct_image(&self.velocity);
            (rules.clone(), velocity, distinct, velocity_lsn)
        };
        // 2. Nonces and event ids, in the turn of webhooks; remembering one again changes nothing.
        let (seen, seen_lsn) = {
            let _turn = self.webhook_turn.lock();
            let moment = self.clock.moment();
            (self.seen.image(moment), self.appended())
        };
        // 3. Each shard in its own turn. The LSN is read under the lock: events of this shard before
        // it are in the image, and later ones are not, so recovery applies exactly those. The bytes
        // are written after the lock is released, because a write may take long.
        for id in ShardId::all() {
            let (image, lsn) = {
                let shard = self.shard(id);
                (shard.image(), self.appended())
            };
            writing.purchases += image.purchases() as u64;
            writing.section(Tag::Shard(number_of(id)), lsn, &archived(&image))?;
        }
        // 4. The catalogue after the shards, so that it has every product and promotion that their
        // images name by its place.
        let (catalogue, lsn) = {
            let _turn = self.catalogue_turn.lock();
            let catalogue = self.catalogue.load();
            let accepted = self.history.accepted();
            let image = catalogue_image(&catalogue, self.limits(), accepted);
            (image, self.appended())
        };
        writing.section(Tag::Catalogue, lsn, &archived(&catalogue))?;
        writing.section(Tag::Velocity, velocity_lsn, &archived(&velocity))?;
        writing.section(Tag::Distinct, velocity_lsn, &archived(&distinct))?;
        writing.section(Tag::Rules, velocity_lsn, &archived(&in_force))?;
        writing.section(Tag::Webhooks, seen_lsn, &archived(&seen))?;

        // 5. The images may hold events that are not durable yet. A snapshot ahead of the log would
        // bring back what a crash took away, so it gets its name only once the log has them all.
        self.wait_durable(writing.last)?;
        let (lsn, purchases) = (writing.first, writing.purchases);
        let bytes = writing.finish()?;
        *self.snapshots.newest.lock() = Some(lsn);
        self.snapshots.newest_bytes.store(bytes, Ordering::Relaxed);
        // 6. Only now older snapshots go, and then the log that the oldest one kept does not need:
        // whatever a crash leaves, there is a snapshot with all of the log behind it.
        store::remove_old(storage)?;
        if let Some((oldest, _)) = store::list(storage)?.last() {
            let oldest = wal::Lsn::new(oldest.0);
            self.snapshots.pin.lock().advance(oldest);
            self.log.remove_before(oldest).map_err(JournalError::from)?;
        }
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(SnapshotReport {
            lsn,
            bytes,
            purchases,
            elapsed_ms,
        })
    }
}

struct Writing<'a> {
    aside: store::Aside<'a>,
    sections: u32,
    chain: u32,
    first: Lsn,
    last: Lsn,
    purchases: u64,
}

impl<'a> Writing<'a> {
    fn begin(storage: &'a dyn wal::Storage, log_id: u64) -> Result<Self, JournalError> {
        let mut aside = store::Aside::create(storage)?;
        aside.write(&format::header(log_id))?;
        let first = Lsn(u64::MAX);
        Ok(Self {
            aside,
            sections: 0,
            chain: 0,
            first,
            last: Lsn(0),
            purchases: 0,
        })
    }

    fn section(&mut self, tag: Tag, lsn: Lsn, bytes: &[u8]) -> Result<(), JournalError> {
        let header = format::section_header(tag, lsn, bytes);
        self.aside.write(&header)?;
        self.aside.write(bytes)?;
        self.sections += 1;
        self.chain = format::chain(self.chain, &header);
        self.first = self.first.min(lsn);
        self.last = self.last.max(lsn);
        Ok(())
    }

    fn finish(mut self) -> Result<u64, JournalError> {
        self.aside
            .write(&format::trailer(self.sections, self.chain))?;
        self.aside.finish(self.first)
    }
}

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
        match tag {
            Tag::Catalogue => {
                let image: CatalogueImage = unarchived(&bytes)?;
                let settings = (image.limits, image.accepted);
                catalogue = Some((catalogue_of(image)?, settings, lsn));
            }
            Tag::Velocity => {
                let image: VelocityImage = unarchived(&bytes)?;
                velocity.put_axis_ms(image.axis_ms);
                let taken = image
                    .keys
                    .iter()
                    .try_for_each(|(key, it)| velocity.import(*key, it));
                taken.ok_or(refused("the velocity section holds what is no instant"))?;
            }
            Tag::Webhooks => {
                let taken = seen.import(unarchived(&bytes)?);
                taken.map_err(|_| refused(
                    "it remembers more webhooks than there is room for; raise webhooks.events_max \
                     and webhooks.nonces_max",
                ))?;
            }
            Tag::Distinct => {
                let image: DistinctImage = unarchived(&bytes)?;
                let taken = image
                    .keys
                    .iter()
                    .try_for_each(|(key, it)| velocity.import_distinct(*key, it));
                taken.ok_or(refused(
                    "the section of distinct values holds what is no instant",
                ))?;
            }
            Tag::Rules => {
                rules = unarchived(&bytes)?;
                rules_lsn = lsn;
            }
            Tag::Shard(number) => {
                images[usize::from(number)] = Some((unarchived(&bytes)?, lsn));
            }
        }
    }
    velocity.keep(&rules.depths());
    let (catalogue, (limits, accepted), catalogue_lsn) =
        catalogue.ok_or(refused("it has no section for the catalogue"))?;
    let mut shards = Vec::with_capacity(SHARD_COUNT);
    for (id, image) in ShardId::all().zip(images) {
        let (image, lsn) = image.ok_or(refused("it has no section for some shard"))?;
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

/// SHA-256 over the catalogue, the limits, the accepted history, the risk rules, the scoring and all shards, in hexadecimal. Units and
/// uses are in it by way of the purchases; the velocity counters are not.
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

fn number_of(id: ShardId) -> u8 {
    u8::try_from(id.index()).expect("there are 256 shards")
}

fn catalogue_image(
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

fn catalogue_of(image: CatalogueImage) -> Result<Catalogue, SnapshotError> {
    let mut catalogue = Catalogue::default();
    for image in image.products {
        let id = image.terms.product.clone();
        if image.terms.stock > UNITS_MAX || catalogue.product(&id).is_some() {
            return Err(refused("the catalogue holds what is no product"));
        }
        catalogue.add_product(image.terms);
        let set = catalogue.set_imported_sold(&id, image.sold_elsewhere);
        set.expect("the product was just added");
    }
    for image in image.promotions {
        let code = image.terms.code.clone();
        if catalogue.promotion(&code).is_some() {
            return Err(refused("the catalogue holds a promotion twice"));
        }
        catalogue.add_promotion(image.terms);
        let set = catalogue.set_imported_uses(&code, image.used_elsewhere);
        set.expect("the promotion was just added");
    }
    Ok(catalogue)
}

fn velocity_image(velocity: &Velocity) -> VelocityImage {
    let mut keys = Vec::new();
    velocity.export(|key, instants| keys.push((key, instants)));
    keys.sort_unstable_by_key(|(key, _)| *key);
    VelocityImage {
        axis_ms: velocity.axis_ms(),
        keys,
    }
}

fn distinct_image(velocity: &Velocity) -> DistinctImage {
    let mut keys = Vec::new();
    velocity.export_distinct(|key, seen| keys.push((key, seen)));
    keys.sort_unstable_by_key(|(key, _)| *key);
    DistinctImage { keys }
}

fn archived<T>(image: &T) -> rkyv::util::AlignedVec
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

fn unarchived<T>(bytes: &[u8]) -> Result<T, SnapshotError>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rancor::Error>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<rancor::Error>>,
{
    rkyv::from_bytes::<T, rancor::Error>(bytes)
        .map_err(|_| refused("a section's bytes are not what its tag says"))
}

fn refused(what: &'static str) -> SnapshotError {
    SnapshotError::Malformed { offset: 0, what }
}
