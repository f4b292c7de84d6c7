//! Drawing one of many: evenly, in turn, one hot and the rest, or by Zipf's law.
//!
//! Pure; the same numbers drawn give the same choice.

use crate::scenario::file::Pick;
use crate::workload::SplitMix;

/// A number below `of`, which is not zero. `turn` is the number of this draw over all threads.
pub(crate) fn draw(pick: Pick, of: u64, turn: u64, random: &mut SplitMix) -> u64 {
    match pick {
        Pick::Even => random.below(of),
        Pick::InTurn => turn % of,
        Pick::Hot(share) => {
            if of == 1 || unit(random) < share.0 {
                0
            } else {
                1 + random.below(of - 1)
            }
        }
        Pick::Zipf(exponent) => zipf(exponent.0, of, unit(random)),
    }
}

/// The rank, from 0, at `share` of the distribution whose density falls with 1 / r^exponent.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 10^11 buyers, exact in an f64; the rank is clamped"
)]
fn zipf(exponent: f64, of: u64, share: f64) -> u64 {
    let n = of as f64 + 1.0;
    let rank = if (exponent - 1.0).abs() < 1e-6 {
        n.powf(share)
    } else {
        let power = 1.0 - exponent;
        (n.powf(power) - 1.0).mul_add(share, 1.0).powf(1.0 / power)
    };
    (rank as u64).clamp(1, of) - 1
}

/// From 0 to below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
fn unit(random: &mut SplitMix) -> f64 {
    (random.next() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::file::{Exponent, Share};

    fn counts(pick: Pick, of: u64) -> Vec<u32> {
        let mut random = SplitMix(7);
        let mut counts = vec![0; usize::try_from(of).unwrap()];
        for turn in 0..10_000 {
            let at = draw(pick, of, turn, &mut random);
            counts[usize::try_from(at).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_way_has_its_shape() {
        let even = counts(Pick::Even, 4);
        assert!(even.iter().all(|n| n.abs_diff(2_500) < 250), "{even:?}");
        assert_eq!(counts(Pick::InTurn, 4), [2_500; 4]);
        let hot = counts(Pick::Hot(Share(0.9)), 11);
        assert!(hot[0].abs_diff(9_000) < 200 && hot[10] > 50, "{hot:?}");
        assert_eq!(counts(Pick::Hot(Share(0.1)), 1), [10_000]);
        for exponent in [0.5, 1.0, 1.5] {
            let zipf = counts(Pick::Zipf(Exponent(exponent)), 50);
            assert!(
                zipf[0] > zipf[5] && zipf[5] > zipf[40],
                "{exponent}: {zipf:?}"
            );
            assert!(zipf[49] > 0 || exponent > 1.0, "{exponent}: {zipf:?}");
        }
    }
}
