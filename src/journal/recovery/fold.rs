//! Owns folding the log into the state.
//!
//! Invariants: live and recovery run the same `apply`; an event is applied to a part of the state exactly
//! if the image of that part does not include it. Deliberately absent: repair.

use super::sums::{derive_stock, derive_uses};
use crate::engine::apply::BrokenLog;
use crate::engine::catalogue::Catalogue;
use crate::engine::event::{Event, LogGeneration, Part};
use crate::engine::settings::{EngineSettings, Limits};
use crate::engine::shard::Shard;
use crate::engine::stamp::Stamp;
use crate::engine::velocity::Velocity;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::in_force::InForce;
use crate::journal::core::seen::SeenWebhooks;
use crate::journal::format::codec::{self, Kind};
use crate::journal::format::fault::JournalError;
use crate::journal::snapshot::image::digest;
use crate::journal::snapshot::restoring::Restored;
use crate::time::UnixMs;

/// The state while the log is folded into it.
pub(in crate::journal) struct Folding {
    pub(in crate::journal) catalogue: Catalogue,
    /// `None` until an event sets them.
    limits: Option<Limits>,
    accepted: Option<LogGeneration>,
    catalogue_lsn: Lsn,
    shards: Vec<(Shard, Lsn)>,
    pub(in crate::journal) velocity: Velocity,
    rules: InForce,
    rules_lsn: Lsn,
    pub(in crate::journal) seen: SeenWebhooks,
    pub(in crate::journal) events: u64,
    /// The latest instant in the log.
    last_at: UnixMs,
}

/// The state after the fold.
pub(in crate::journal) struct Folded {
    pub(in crate::journal) catalogue: Catalogue,
    pub(in crate::journal) limits: Option<Limits>,
    pub(in crate::journal) accepted: Option<LogGeneration>,
    pub(in crate::journal) shards: Vec<Shard>,
    pub(in crate::journal) velocity: Velocity,
    pub(in crate::journal) rules: InForce,
    pub(in crate::journal) seen: SeenWebhooks,
    pub(in crate::journal) events: u64,
    /// The instant of the last event.
    pub(in crate::journal) last_at: UnixMs,
}

impl Folded {
    /// As [`Upkeep::digest`](crate::journal::Upkeep::digest).
    pub(in crate::journal) fn digest(&self) -> String {
        let shards = self.shards.iter();
        let images = shards.map(Shard::image);
        let limits = self.limits.unwrap_or_default();
        digest(&self.catalogue, limits, self.accepted, &self.rules, images)
    }
}

impl Folding {
    pub(in crate::journal) fn from(
        restored: Option<Restored>,
        settings: &EngineSettings,
        log_id: u64,
    ) -> Self {
        match restored {
            Some(Restored {
                catalogue,
                limits,
                accepted,
                catalogue_lsn,
                shards,
                velocity,
                rules,
                rules_lsn,
                seen,
                ..
            }) => Self {
                rules,
                rules_lsn,
                seen,
                catalogue,
                limits: Some(limits),
                accepted,
                catalogue_lsn,
                last_at: latest(&shards),
                shards,
                velocity,
                events: 0,
            },
            None => Self {
                catalogue: Catalogue::default(),
                limits: None,
                accepted: None,
                catalogue_lsn: Lsn(0),
                shards: ShardId::all().map(|id| (Shard::new(id), Lsn(0))).collect(),
                velocity: Velocity::new(settings.bounds.velocity_keys_max, log_id),
                rules: InForce::default(),
                rules_lsn: Lsn(0),
                seen: SeenWebhooks::new(settings.webhooks),
                events: 0,
                last_at: UnixMs::default(),
            },
        }
    }

    pub(in crate::journal) fn fold(
        &mut self,
        record: &wal::Record<'_>,
    ) -> Result<(), JournalError> {
        let lsn = Lsn(record.lsn.get());
        let kind = Kind {
            number: record.kind,
            version: record.version,
        };
        let (at, event) = codec::decode(kind, record.payload)
            .map_err(|source| JournalError::Decode { lsn, source })?;
        self.events += 1;
        let settled = codec::settled_of(record.payload);
        let stamp = Stamp { at, lsn, settled };
        self.last_at = if let Part::Time(corrected) = event.part() {
            corrected.after
        } else {
            self.last_at.max(at)
        };
        self.apply(&event, stamp)?;
        self.velocity.record(&event, stamp);
        Ok(())
    }

    /// Applies the event to its part of the state, unless the part's image in the snapshot has it
    /// already: the parts were copied one after the other, each as of its own LSN. Nonces, event ids
    /// and counters take every event, because taking one again changes nothing.
    fn apply(&mut self, event: &Event, stamp: Stamp) -> Result<(), JournalError> {
        match event.part() {
            Part::Nothing => {}
            Part::Limits(set) => {
                if stamp.lsn >= self.catalogue_lsn {
                    self.limits = Some(set.limits);
                }
            }
            Part::History(accepted) => {
                if stamp.lsn >= self.catalogue_lsn {
                    self.accepted = Some(accepted.generation);
                }
            }
            Part::Catalogue(change) => {
                if stamp.lsn >= self.catalogue_lsn {
                    let applied = self.catalogue.apply(change);
                    applied.map_err(|what| {
                        JournalError::Broken(BrokenLog {
                            lsn: stamp.lsn,
                            kind: event.kind(),
                            what,
                        })
                    })?;
                }
            }
            Part::Risk(change) => {
                if stamp.lsn >= self.rules_lsn {
                    self.rules.apply(change, stamp, &self.velocity);
                }
            }
            // A correction is never made while a snapshot is being taken, so either every part has it
            // already, or none has.
            Part::Time(corrected) => {
                let limits = self.limits.unwrap_or_default();
                let shards = self.shards.iter_mut();
                for (shard, _) in shards.filter(|(_, from)| stamp.lsn >= *from) {
                    shard.correct(corrected, stamp.lsn, limits);
                }
                self.velocity.correct(corrected);
                self.seen.correct(corrected);
            }
            Part::Webhooks(change) => {
                let applied = self.seen.apply(change, stamp.into());
                applied.map_err(JournalError::WebhooksFull)?;
            }
            Part::Shard(shard, _) => {
                let (shard, from) = &mut self.shards[shard.index()];
                if stamp.lsn >= *from {
                    let limits = self.limits.unwrap_or_default();
                    shard
                        .apply(event, stamp, &self.catalogue, limits)
                        .map_err(JournalError::Broken)?;
                }
            }
        }
        Ok(())
    }

    /// Derives the shared sums, and checks them against their bounds.
    pub(in crate::journal) fn finish(self) -> Result<Folded, JournalError> {
        let Self {
            catalogue,
            limits,
            accepted,
            shards,
            velocity,
            rules,
            seen,
            events,
            last_at,
            ..
        } = self;
        let shards: Vec<Shard> = shards.into_iter().map(|(shard, _)| shard).collect();
        derive_stock(&catalogue, &shards)?;
        derive_uses(&catalogue, &shards)?;
        Ok(Folded {
            catalogue,
            limits,
            accepted,
            shards,
            velocity,
            rules,
            seen,
            events,
            last_at,
        })
    }
}

fn latest(shards: &[(Shard, Lsn)]) -> UnixMs {
    let latest = shards.iter().map(|(shard, _)| shard.last_at()).max();
    latest.unwrap_or_default()
}
