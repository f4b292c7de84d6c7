//! Owns the seal at the end of every object: its identity, its length, and a SHA-256 over all of
//! it, so that an object is known to be the one that its name says, complete and unchanged.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `HFBKUP\r\n` |
//! | 8 | 4 | version: 1 |
//! | 12 | 4 | number of the generation |
//! | 16 | 8 | tag of the generation |
//! | 24 | 8 | the low half of the log id |
//! | 32 | 8 | bytes of content |
//! | 40 | 32 | SHA-256 over the object's name, the content, and bytes 0 to 39 |
//!
//! Invariants: no content is used before its seal is verified; numbers are little-endian.

use super::names::Name;
use sha2::{Digest, Sha256};

const MAGIC: [u8; 8] = *b"HFBKUP\r\n";
const VERSION: u32 = 1;

pub(super) const SEAL_BYTES: usize = 72;
const SUMMED_BYTES: usize = 40;

/// Why an object is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    #[error("it has {0} bytes, too few for a seal")]
    Short(u64),
    #[error("it does not end with a seal of this format")]
    Magic,
    #[error("it has format version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("it belongs to generation {0}, not to the one in its name")]
    Generation(String),
    #[error("it belongs to log {found:016x}, not to {expected:016x}")]
    Log { expected: u64, found: u64 },
    #[error("it has {found} bytes of content, but its seal says {sealed}")]
    Length { sealed: u64, found: u64 },
    #[error("its SHA-256 differs from the one in its seal")]
    Digest,
}

/// Computes the seal of an object while its content is written or read.
pub(super) struct Sealing {
    name: Name,
    log_id: u64,
    content_bytes: u64,
    digest: Sha256,
}

impl Sealing {
    pub(super) fn new(name: Name, log_id: u64) -> Self {
        Self {
            name,
            log_id,
            content_bytes: 0,
            digest: Sha256::new_with_prefix(name.to_string()),
        }
    }

    /// Adds the next part of the content.
    pub(super) fn update(&mut self, content: &[u8]) {
        self.digest.update(content);
        self.content_bytes += content.len() as u64;
    }

    /// The bytes of the seal.
    pub(super) fn finish(self) -> [u8; SEAL_BYTES] {
        let mut seal = [0; SEAL_BYTES];
        let generation = self.name.generation;
        seal[..8].copy_from_slice(&MAGIC);
        seal[8..12].copy_from_slice(&VERSION.to_le_bytes());
        seal[12..16].copy_from_slice(&generation.number().to_le_bytes());
        seal[16..24].copy_from_slice(&generation.tag().to_le_bytes());
        seal[24..32].copy_from_slice(&self.log_id.to_le_bytes());
        seal[32..40].copy_from_slice(&self.content_bytes.to_le_bytes());
        let digest = self.digest.chain_update(&seal[..SUMMED_BYTES]).finalize();
        seal[SUMMED_BYTES..].copy_from_slice(&digest);
        seal
    }

    /// Verifies `seal` against the content, and returns the log that it names. Without an expected
    /// log, any log is accepted.
    pub(super) fn check(self, seal: &[u8; SEAL_BYTES], log: Option<u64>) -> Result<u64, Unsealed> {
        use crate::journal::Generation;
        let u32_at = |at: usize| u32::from_le_bytes(array(&seal[at..at + 4]));
        let u64_at = |at: usize| u64::from_le_bytes(array(&seal[at..at + 8]));
        if seal[..8] != MAGIC {
            return Err(Unsealed::Magic);
        }
        if u32_at(8) != VERSION {
            return Err(Unsealed::Version(u32_at(8)));
        }
        let digest = self.digest.chain_update(&seal[..SUMMED_BYTES]).finalize();
        if seal[SUMMED_BYTES..] != digest[..] {
            return Err(Unsealed::Digest);
        }
        let generation = Generation::new(u32_at(12), u64_at(16));
        if generation != self.name.generation {
            return Err(Unsealed::Generation(generation.to_string()));
        }
        let (sealed, found) = (u64_at(32), self.content_bytes);
        if sealed != found {
            return Err(Unsealed::Length { sealed, found });
        }
        match (log, u64_at(24)) {
            (Some(expected), found) if expected != found => Err(Unsealed::Log { expected, found }),
            (_, found) => Ok(found),
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("it was sliced to that length")
}

#[cfg(test)]
mod tests {
    use super::super::names::What;
    use super::*;
    use crate::journal::Generation;
    use crate::time::UnixMs;

    fn name(tag: u64) -> Name {
        Name {
            generation: Generation::new(3, tag),
            what: What::Begun(UnixMs::new(9)),
        }
    }

    fn checked(name: Name, content: &[u8], seal: [u8; SEAL_BYTES]) -> Result<u64, Unsealed> {
        let mut sealing = Sealing::new(name, 0);
        sealing.update(content);
        sealing.check(&seal, Some(7))
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut sealing = Sealing::new(name(1), 7);
        sealing.update(b"content");
        let seal = sealing.finish();
        assert_eq!(checked(name(1), b"content", seal), Ok(7));
        for bit in 0..SEAL_BYTES * 8 {
            let mut flipped = seal;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(checked(name(1), b"content", flipped).is_err(), "{bit}");
        }
        for bit in 0..7 * 8 {
            let mut content = *b"content";
            content[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checked(name(1), &content, seal), Err(Unsealed::Digest));
        }
        assert_eq!(checked(name(2), b"content", seal), Err(Unsealed::Digest));
        assert_eq!(checked(name(1), b"conten", seal), Err(Unsealed::Digest));
    }
}
