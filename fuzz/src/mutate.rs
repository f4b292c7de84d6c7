//! Deterministic mutations, for tests that run the targets without libFuzzer: the same in every
//! run, so that a failure can be reproduced by its number.

/// A small generator (SplitMix64): numbers that depend on the seed alone.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The numbers that belong to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let drawn = self.draw() % bound as u64;
        usize::try_from(drawn).expect("it is below a usize")
    }
}

/// Lengths and counts are believed most gladly when they are like these.
const TELLING: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];

/// `seed` with one to four changes: a flipped bit, a drawn byte, a telling number, a piece cut
/// out, doubled, or taken from `other`.
pub fn mutated(seed: &[u8], other: &[u8], draws: &mut Draws) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=draws.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = draws.below(bytes.len());
        let length = 1 + draws.below((bytes.len() - at).min(64));
        match draws.below(7) {
            0 | 1 => bytes[at] ^= 1 << draws.below(8),
            2 => bytes[at] = draws.draw().to_le_bytes()[0],
            3 => {
                let telling = TELLING[draws.below(TELLING.len())].to_le_bytes();
                let there = (bytes.len() - at).min(telling.len());
                bytes[at..at + there].copy_from_slice(&telling[..there]);
            }
            4 => drop(bytes.drain(at..at + length)),
            5 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = at.min(other.len());
                let piece = &other[from..(from + length).min(other.len())];
                bytes.splice(
                    at..(at + piece.len()).min(bytes.len()),
                    piece.iter().copied(),
                );
            }
        }
    }
    bytes
}
