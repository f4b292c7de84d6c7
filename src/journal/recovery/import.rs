//! Owns importing what another system sold before: the state to compare with, and the events.
//!
//! Invariants: units and uses are taken before their event and given back after it, as everywhere,
//! so I1 and I2 hold with imported units; an unchanged figure makes no event.
//! Deliberately absent: reading the other system, and handling conflicts (`cli`).

use super::fold::{Folded, Folding};
use super::newest::newest_good;
use crate::engine::cells::{PromotionLevels, StockLevels};
use crate::engine::decide::Claims;
use crate::engine::event::{
    Event, HoldingsImported, KeyImported, NoncesImported, PromotionUsesImported, StockImported,
};
use crate::engine::settings::{Bounds, EngineSettings};
use crate::engine::stamp::Settled;
use crate::ids::{Digest16, Lsn, ProductId, PromotionCode, ShardId, UserId};
use crate::journal::catalogue::changed;
use crate::journal::core::JournalCore;
use crate::journal::core::directory::refuse_running;
use crate::journal::core::settings::Disks;
use crate::journal::format::fault::{JournalError, WriteError};
use crate::journal::time::clock::Moment;
use crate::journal::turn::shard_turn::Turn;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Maximum number of nonces in one event, which keeps it below the largest record.
const NONCES_AN_EVENT: usize = 4096;

/// Why an import was refused; nothing has changed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NotImported {
    /// No such product or promotion.
    Unknown,
    /// The figure exceeds the total of the product or the maximum of the promotion.
    BeyondTotal,
    /// There is no room for another buyer, key or nonce.
    Full,
}

/// The effect of an import.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is in the log; this LSN must be durable before it is confirmed.
    Stands(Lsn),
    There,
}

type ImportResult<T> = Result<T, WriteError<NotImported>>;

/// Imports the sales of another system.
pub struct Takeover<'a> {
    core: &'a JournalCore,
}

impl<'a> Takeover<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl Takeover<'_> {
    /// Imports the number of units of `product` sold elsewhere, in total.
    pub fn sold(&self, product: &ProductId, sold: u32) -> ImportResult<Imported> {
        let _turn = self.core.catalogue_turn.lock();
        let before = self.core.catalogue.load_full();
        let Some(known) = before.product(product) else {
            return Err(WriteError::Refused(NotImported::Unknown));
        };
        let (was, stock) = (known.imported_sold, &known.stock);
        if was == sold {
            return Ok(Imported::There);
        }
        let Some(claim) = stock.claim(sold.saturating_sub(was)) else {
            return Err(WriteError::Refused(NotImported::BeyondTotal));
        };
        let event = Event::StockImported(StockImported {
            product: product.clone(),
            sold,
        });
        let after = changed(&before, &event);
        let durable_at = self.core.append_one(&event, self.core.clock.moment())?;
        claim.keep();
        stock.sell(sold.saturating_sub(was));
        stock.take_back(was.saturating_sub(sold));
        self.core.catalogue.store(Arc::new(after));
        Ok(Imported::Stands(durable_at))
    }

    /// Imports the number of uses of a promotion elsewhere, in total.
    pub fn uses(&self, code: &PromotionCode, uses: u32) -> ImportResult<Imported> {
        let _turn = self.core.catalogue_turn.lock();
        let before = self.core.catalogue.load_full();
        let Some(known) = before.promotion(code) else {
            return Err(WriteError::Refused(NotImported::Unknown));
        };
        let (was, cell) = (known.imported_uses, &known.uses);
        if was == uses {
            return Ok(Imported::There);
        }
        let Some(claim) = cell.claim(uses.saturating_sub(was)) else {
            return Err(WriteError::Refused(NotImported::BeyondTotal));
        };
        let event = Event::PromotionUsesImported(PromotionUsesImported {
            code: code.clone(),
            uses,
        });
        let after = changed(&before, &event);
        let durable_at = self.core.append_one(&event, self.core.clock.moment())?;
        claim.keep();
        cell.give_back(was.saturating_sub(uses));
        self.core.catalogue.store(Arc::new(after));
        Ok(Imported::Stands(durable_at))
    }

    /// Imports the number of units of `product` that a buyer bought elsewhere, in total.
    pub fn holdings(
        &self,
        user: &UserId,
        product: &ProductId,
        units: u32,
    ) -> ImportResult<Imported> {
        let mut turn = Turn::take(self.core, ShardId::of(user))?;
        let context = turn.context();
        if context.catalogue.product(product).is_none() {
            return Err(WriteError::Refused(NotImported::Unknown));
        }
        let was = turn.shard.imported_units(user, product, context.catalogue);
        if was == units {
            return Ok(Imported::There);
        }
        if units > crate::engine::cells::UNITS_MAX {
            return Err(WriteError::Refused(NotImported::BeyondTotal));
        }
        if turn
            .shard
            .room_for(user, &self.core.settings.bounds)
            .is_err()
        {
            return Err(WriteError::Refused(NotImported::Full));
        }
        let event = Event::HoldingsImported(HoldingsImported {
            user: user.clone(),
            product: product.clone(),
            units,
        });
        let durable_at = turn.commit_events(&[event], Claims::default())?;
        Ok(Imported::Stands(durable_at))
    }

    /// Imports an idempotency key that was used elsewhere.
    pub fn key(&self, user: &UserId, scope: Digest16) -> ImportResult<Imported> {
        let mut turn = Turn::take(self.core, ShardId::of(user))?;
        if turn.shard.knows_key(scope) {
            return Ok(Imported::There);
        }
        if turn
            .shard
            .room_for(user, &self.core.settings.bounds)
            .is_err()
        {
            return Err(WriteError::Refused(NotImported::Full));
        }
        let event = Event::KeyImported(KeyImported {
            user: user.clone(),
            scope,
        });
        let durable_at = turn.commit_events(&[event], Claims::default())?;
        Ok(Imported::Stands(durable_at))
    }

    /// Imports webhook nonces that were used elsewhere; returns how many are new, and their end in the log.
    pub fn nonces(&self, nonces: &[String]) -> ImportResult<(usize, Option<Lsn>)> {
        let _one_at_a_time = self.core.webhook_turn.lock();
        // The event gets the same instant, so recovery remembers the nonces as of it, too.
        let at = self.core.clock.moment();
        let Some(fresh) = self.core.seen.fresh_nonces(nonces, at) else {
            return Err(WriteError::Refused(NotImported::Full));
        };
        let mut durable_at = None;
        for nonces in fresh.chunks(NONCES_AN_EVENT) {
            let event = Event::NoncesImported(NoncesImported {
                nonces: nonces.to_vec(),
            });
            durable_at = Some(self.core.append_one(&event, at)?);
        }
        Ok((fresh.len(), durable_at))
    }
}

/// The state of a stopped directory with the planned imports, to check them against; nothing is
/// written.
pub struct ImportTarget {
    folded: Folded,
    bounds: Bounds,
    planned: Planned,
}

/// The planned imports.
#[derive(Default)]
struct Planned {
    products: usize,
    buyers: HashSet<UserId>,
    buyers_of: BTreeMap<ShardId, usize>,
    keys_of: BTreeMap<ShardId, usize>,
}

impl ImportTarget {
    /// Reads `data_dir`; the state is empty if there is no log yet.
    pub fn read(data_dir: &Path, settings: &EngineSettings) -> Result<Self, JournalError> {
        let of = |folded| Self {
            folded,
            bounds: settings.bounds,
            planned: Planned::default(),
        };
        if !data_dir.join("log").is_dir() {
            return Folding::from(None, settings, 0).finish().map(of);
        }
        refuse_running(data_dir)?;
        let disks = Disks::open_read_only(data_dir)?;
        let newest = newest_good(&*disks.snapshots, settings)?.restored;
        let from = newest.as_ref().map_or(Lsn(0), |it| it.first);
        let mut folding = Folding::from(newest, settings, 0);
        let mut failed = None;
        let scan = wal::scan(&*disks.log, wal::Lsn::ZERO, |record| {
            if failed.is_none() && record.lsn.get() >= from.0 {
                failed = folding.fold(record).err();
            }
        })?;
        if let wal::Verdict::Damaged(damage) = scan.verdict {
            return Err(wal::OpenError::Damaged(damage).into());
        }
        match failed {
            Some(error) => Err(error),
            None => folding.finish().map(of),
        }
    }

    /// A product's units, and how many of them were sold elsewhere.
    pub fn product(&self, id: &ProductId) -> Option<(StockLevels, u32)> {
        let product = self.folded.catalogue.product(id)?;
        Some((product.stock.read(), product.imported_sold))
    }

    /// A promotion's uses, and how many of them were made elsewhere.
    pub fn promotion(&self, code: &PromotionCode) -> Option<(PromotionLevels, u32)> {
        let promotion = self.folded.catalogue.promotion(code)?;
        Some((promotion.uses.read(), promotion.imported_uses))
    }

    /// Units that a buyer bought elsewhere.
    pub fn holdings(&self, user: &UserId, product: &ProductId) -> u32 {
        let shard = &self.folded.shards[ShardId::of(user).index()];
        shard.imported_units(user, product, &self.folded.catalogue)
    }

    /// Plans a new product; `false` if there is no room.
    pub fn room_for_product(&mut self) -> bool {
        let products = self.folded.catalogue.products().len() + self.planned.products;
        let fits = products < self.bounds.products_max;
        self.planned.products += usize::from(fits);
        fits
    }

    /// Plans units of `user`; `false` if there is no room.
    pub fn room_for_holding(&mut self, user: &UserId) -> bool {
        self.room_for(user, 0)
    }

    /// Plans an idempotency key of `user`; `false` if there is no room.
    pub fn room_for_key(&mut self, user: &UserId) -> bool {
        self.room_for(user, 1)
    }

    /// Checks the same bounds as [`Takeover::holdings`] and [`Takeover::key`].
    fn room_for(&mut self, user: &UserId, more_keys: usize) -> bool {
        let id = ShardId::of(user);
        let shard = &self.folded.shards[id.index()];
        let is_new = !shard.knows_buyer(user) && !self.planned.buyers.contains(user);
        let sizes = shard.sizes();
        let buyers = self.planned.buyers_of.entry(id).or_default();
        let keys = self.planned.keys_of.entry(id).or_default();
        let fits = sizes.buyers + *buyers + usize::from(is_new) <= self.bounds.buyers_max
            && sizes.keys + *keys < self.bounds.keys_max;
        if fits {
            *keys += more_keys;
            *buyers += usize::from(is_new);
            if is_new {
                self.planned.buyers.insert(user.clone());
            }
        }
        fits
    }

    /// Whether an idempotency key is known.
    pub fn knows_key(&self, user: &UserId, scope: Digest16) -> bool {
        self.folded.shards[ShardId::of(user).index()].knows_key(scope)
    }

    /// Plans `nonces`; returns how many of them are new, or `None` if there is no room.
    pub fn unknown_nonces(&self, nonces: &[String], at: crate::time::UnixMs) -> Option<usize> {
        let moment = Moment {
            at,
            settled: Settled::Yes,
        };
        self.folded
            .seen
            .fresh_nonces(nonces, moment)
            .map(|fresh| fresh.len())
    }
}
