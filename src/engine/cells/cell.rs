//! What every cell of a velocity table is: a set that keeps the latest of what is recorded, each with its instant.

/// The most instants one key can keep.
pub const DEPTH_MAX: usize = 1_024;

/// The last millisecond of the Unix epoch that an instant can name, less one so that zero stays free (year 2527).
pub const AT_MS_MAX: u64 = (1 << 44) - 2;

const TIEBREAK_BITS: u32 = 20;
const TIEBREAK_MASK: u64 = (1 << TIEBREAK_BITS) - 1;

/// A millisecond, and 20 bits that tell apart what happened in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptInstant(pub(super) u64);

impl AttemptInstant {
    /// `at_ms` (milliseconds of the Unix epoch; later ones than [`AT_MS_MAX`] become it) and the low 20 bits of
    /// `tiebreak`, which must be the same whenever the same attempt is applied again.
    pub fn new(at_ms: u64, tiebreak: u64) -> Self {
        let at_ms = at_ms.min(AT_MS_MAX);
        Self(((at_ms + 1) << TIEBREAK_BITS) | (tiebreak & TIEBREAK_MASK))
    }

    /// With the place in the log to break ties. Records are aligned to 8 bytes, so this tells apart all that stands
    /// within 8 MiB of log; more than that is not written in a millisecond.
    pub fn at_lsn(at_ms: u64, lsn: u64) -> Self {
        Self::new(at_ms, lsn >> 3)
    }

    /// The millisecond.
    pub fn at_ms(self) -> u64 {
        (self.0 >> TIEBREAK_BITS) - 1
    }

    /// The packed form, for snapshots.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// From the packed form; `None` for what [`to_bits`](Self::to_bits) never gives.
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits >> TIEBREAK_BITS != 0).then_some(Self(bits))
    }
}

/// The cell of one key: a set that keeps the largest of what is recorded, and in which recording
/// again changes nothing.
pub trait Cell {
    /// What is recorded.
    type Item: Copy + Ord;

    /// A cell with this item.
    fn of(item: Self::Item) -> Self;

    /// Adds `item`. It stays unless `depth` (1 to [`DEPTH_MAX`]) later ones are there.
    fn record(&self, item: Self::Item, depth: usize);

    /// The latest instant.
    fn newest(&self) -> Option<AttemptInstant>;

    /// When an item is from.
    fn instant_of(item: Self::Item) -> AttemptInstant;

    /// Adds all items to `all`, in an unspecified order.
    fn items(&self, all: &mut Vec<Self::Item>);
}

pub(super) fn check_depth(depth: usize) {
    assert!(
        (1..=DEPTH_MAX).contains(&depth),
        "a velocity cell keeps 1..={DEPTH_MAX} instants, not {depth}"
    );
}
