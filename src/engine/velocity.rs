//! Owns who is counted together: which attempts count towards which card, address, device and
//! product, across buyers.
//!
//! Invariants: every attempt counts once for each thing it names, whoever makes it and however it
//! ends; applying an event twice counts it once (the cells are sets of instants); which key a
//! value has depends on the log alone, so snapshots of one log can be read back.
//! Deliberately absent: thresholds and what follows from them.

use crate::engine::apply::Stamp;
use crate::engine::cells::{AttemptInstant, KeyDigest, VelocityTable};
use crate::engine::event::{Event, Origin, PaysFor};
use crate::engine::refusal::Refusal;
use crate::ids::{CardToken, ProductId};
use std::net::IpAddr;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Instants kept a key: windows with thresholds below this are exact.
pub const INSTANTS_KEPT: usize = 16;

/// What attempts are counted by.
#[derive(Copy, Clone, Debug)]
pub enum Dimension<'a> {
    /// A card token.
    Card(&'a CardToken),
    /// An address.
    Ip(IpAddr),
    /// A device.
    Device(&'a str),
    /// A product.
    Product(&'a ProductId),
}

/// The latest attempts by card, address, device and product.
#[derive(Debug)]
pub struct Velocity {
    table: VelocityTable,
    seed: u64,
}

impl Velocity {
    /// Counters for up to `keys_max` things; `log_id` seeds their keys, so that nobody outside
    /// can choose a value that shares another's counter.
    pub fn new(keys_max: usize, log_id: u64) -> Self {
        Self {
            table: VelocityTable::new(keys_max, INSTANTS_KEPT),
            seed: log_id,
        }
    }

    /// Counts the attempt that `event` tells of, if it tells of one.
    pub fn record(&self, event: &Event, stamp: Stamp) {
        let instant = AttemptInstant::at_lsn(stamp.at.get(), stamp.lsn.0);
        match event {
            Event::HoldPlaced(placed) => {
                self.count(Dimension::Product(&placed.product), instant);
                self.count_origin(&placed.origin, instant);
            }
            Event::PaymentStarted(started) => {
                self.count(Dimension::Card(&started.card), instant);
                // The hold of the same call has counted where it came from.
                if started.pays_for == PaysFor::EarlierHold {
                    self.count_origin(&started.origin, instant);
                }
            }
            Event::AttemptRefused(refused) if refused.reason != Refusal::InvalidRequest => {
                if let Some(product) = &refused.product {
                    self.count(Dimension::Product(product), instant);
                }
                if let Some(card) = &refused.card {
                    self.count(Dimension::Card(card), instant);
                }
                self.count_origin(&refused.origin, instant);
            }
            Event::AttemptRefused(_)
            | Event::VoidStuck(_)
            | Event::RefundStarted(_)
            | Event::RefundSucceeded(_)
            | Event::RefundFailed(_)
            | Event::DisputeOpened(_)
            | Event::DisputeClosed(_)
            | Event::TokensSpent(_)
            | Event::WebhookReceived(_)
            | Event::StockImported(_)
            | Event::PromotionUsesImported(_)
            | Event::HoldingsImported(_)
            | Event::KeyImported(_)
            | Event::NoncesImported(_)
            | Event::ProductSet(_)
            | Event::PromotionSet(_)
            | Event::LimitsSet(_)
            | Event::AdminActed(_)
            | Event::AdminRefused(_)
            | Event::HoldReleased(_)
            | Event::HoldExpired(_)
            | Event::PaymentAuthorized(_)
            | Event::PaymentDeclined(_)
            | Event::ReviewOpened(_)
            | Event::ReviewDecided(_)
            | Event::CaptureStarted(_)
            | Event::PaymentCaptured(_)
            | Event::VoidStarted(_)
            | Event::PaymentVoided(_) => {}
        }
    }

    /// Attempts by `dimension` at `since_ms` or later; exact below [`INSTANTS_KEPT`], else "at
    /// least".
    pub fn attempts_since(&self, dimension: Dimension<'_>, since_ms: u64) -> u32 {
        self.table
            .count_since(self.key(dimension), since_ms, u32::MAX)
    }

    /// Things that are counted by.
    pub fn keys(&self) -> usize {
        self.table.keys()
    }

    /// Every key and its packed instants, for a snapshot.
    pub fn export(&self, mut visit: impl FnMut(KeyDigest, Vec<u64>)) {
        self.table.export(|key, instants| {
            visit(
                key,
                instants.iter().map(|instant| instant.to_bits()).collect(),
            );
        });
    }

    /// Takes over one key of an export; `None` where the instants are none.
    pub fn import(&self, key: KeyDigest, packed: &[u64]) -> Option<()> {
        let instants: Option<Vec<_>> = packed
            .iter()
            .map(|bits| AttemptInstant::from_bits(*bits))
            .collect();
        self.table.import(key, &instants?);
        Some(())
    }

    fn count_origin(&self, origin: &Origin, instant: AttemptInstant) {
        if let Some(ip) = origin.ip {
            self.count(Dimension::Ip(ip), instant);
        }
        if let Some(device) = &origin.device {
            self.count(Dimension::Device(device.as_str()), instant);
        }
    }

    fn count(&self, dimension: Dimension<'_>, instant: AttemptInstant) {
        self.table.record(self.key(dimension), instant);
    }

    /// The first byte says which dimension, so that no value of one is a value of another.
    fn key(&self, dimension: Dimension<'_>) -> KeyDigest {
        let mut named = smallvec::SmallVec::<[u8; 72]>::new();
        match dimension {
            Dimension::Card(card) => {
                named.push(b'c');
                named.extend_from_slice(card.as_str().as_bytes());
            }
            Dimension::Ip(IpAddr::V4(ip)) => {
                named.push(b'4');
                named.extend_from_slice(&ip.octets());
            }
            Dimension::Ip(IpAddr::V6(ip)) => {
                named.push(b'6');
                named.extend_from_slice(&ip.octets());
            }
            Dimension::Device(device) => {
                named.push(b'd');
                named.extend_from_slice(device.as_bytes());
            }
            Dimension::Product(product) => {
                named.push(b'p');
                named.extend_from_slice(product.as_str().as_bytes());
            }
        }
        xxh3_128_with_seed(&named, self.seed)
    }
}
