//! Owns the bytes of the two marks beside the segments: a slot of the witness, and the mark of a clean stop.
//!
//! Invariant: each is under its own checksum, so a torn write of it reads as none. Deliberately absent: when
//! they are written, and what they prove (`witness`, `clean_stop`).

use super::{Bad, Mismatch, u32_at, u64_at, u128_at};
use crate::config::Witness;
use crc32c::crc32c;

const WITNESS_MAGIC: u32 = u32::from_le_bytes(*b"\xf7WIT");

const WITNESS_USED: usize = 40;

const CLEAN_STOP_MAGIC: u32 = u32::from_le_bytes(*b"\xf7WCS");

/// Bytes of the mark of a clean stop.
pub(crate) const CLEAN_STOP_BYTES: usize = 40;

/// One slot of the witness: what is known to be durable.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct WitnessSlot {
    pub log_id: u128,
    pub durable: u64,
    /// Which write this was; its parity is the slot.
    pub counter: u64,
}

impl WitnessSlot {
    pub(crate) fn encode(&self) -> [u8; WITNESS_USED] {
        let mut bytes = [0; WITNESS_USED];
        bytes[0..4].copy_from_slice(&WITNESS_MAGIC.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.counter.to_le_bytes());
        let checksum = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// What is wrong with a slot that [`WitnessSlot::decode`] does not take.
    pub(crate) fn mismatch(bytes: &[u8]) -> Bad {
        let magic = u32_at(bytes, 0);
        if magic != WITNESS_MAGIC {
            return Bad::new(Mismatch::WitnessMagic, WITNESS_MAGIC, magic);
        }
        Bad::new(
            Mismatch::WitnessChecksum,
            crc32c(&bytes[8..]),
            u32_at(bytes, 4),
        )
    }

    /// `None` if the slot is blank or bad; the caller sees which.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..WITNESS_USED)?;
        let sound = u32_at(bytes, 0) == WITNESS_MAGIC && u32_at(bytes, 4) == crc32c(&bytes[8..]);
        sound.then(|| Self {
            log_id: u128_at(bytes, 8),
            durable: u64_at(bytes, 24),
            counter: u64_at(bytes, 32),
        })
    }
}

/// Where a log ended when it was closed in good order.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct CleanStop {
    pub log_id: u128,
    pub end: u64,
    /// Checksum of the last frame, or of the header of the last segment if it has none.
    pub chain: u32,
    pub witness: Witness,
}

impl CleanStop {
    pub(crate) fn encode(&self) -> [u8; CLEAN_STOP_BYTES] {
        let mut bytes = [0; CLEAN_STOP_BYTES];
        bytes[0..4].copy_from_slice(&CLEAN_STOP_MAGIC.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.chain.to_le_bytes());
        let witness = u32::from(self.witness == Witness::On);
        bytes[36..40].copy_from_slice(&witness.to_le_bytes());
        let checksum = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != CLEAN_STOP_BYTES
            || u32_at(bytes, 0) != CLEAN_STOP_MAGIC
            || u32_at(bytes, 4) != crc32c(&bytes[8..])
        {
            return None;
        }
        Some(Self {
            log_id: u128_at(bytes, 8),
            end: u64_at(bytes, 24),
            chain: u32_at(bytes, 32),
            witness: match u32_at(bytes, 36) {
                0 => Witness::Off,
                1 => Witness::On,
                _ => return None,
            },
        })
    }
}
