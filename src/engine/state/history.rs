//! Owns the steps of a purchase, packed: a plain capture has five of them in 28 to 40 bytes, where a
//! list has 192.
//!
//! The first step is its number in [`Step::ALL`], its instant and its LSN; each later one has the
//! differences to the first. Numbers are variable in length: seven bits a byte, the lowest first, and
//! differences alternate between the two signs. Every instant and LSN can be stored, whatever the
//! order, so an image with any history can be read.
//!
//! Invariants: what was pushed comes out unchanged; archived it is a list of [`Happened`].
//! Deliberately absent: which step may follow which (`lifecycle`).

use crate::engine::state::purchase::{ArchivedHappened, Happened};
use crate::engine::words::lifecycle::Step;
use crate::ids::Lsn;
use crate::time::UnixMs;
use rkyv::rancor::{Fallible, Source};
use rkyv::ser::{Allocator, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Deserialize, Place, Serialize};
use smallvec::SmallVec;

/// What fits beside the length without an allocation: a hold, and mostly the start of its payment.
const IN_PLACE_BYTES: usize = 23;

/// Room for a plain capture, allocated at once.
const CAPTURE_BYTES: usize = 40;

/// The longest number: 64 bits, seven to a byte.
const NUMBER_BYTES_MAX: usize = 10;

/// The steps of a purchase, oldest first.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PurchaseHistory(SmallVec<[u8; IN_PLACE_BYTES]>);

impl PurchaseHistory {
    pub(in crate::engine) fn starting(first: Happened) -> Self {
        let mut history = Self::default();
        history.push(first);
        history
    }

    pub(in crate::engine::state) fn push(&mut self, happened: Happened) {
        let number = Step::ALL.iter().position(|step| *step == happened.step);
        let number = number.and_then(|it| u8::try_from(it).ok());
        let mut bytes = SmallVec::<[u8; 1 + 2 * NUMBER_BYTES_MAX]>::new();
        bytes.push(number.expect("Step::ALL has every step, and fewer than 256"));
        match self.first() {
            None => {
                put(&mut bytes, happened.at.get());
                put(&mut bytes, happened.lsn.0);
            }
            Some(first) => {
                put_difference(&mut bytes, first.at.get(), happened.at.get());
                put_difference(&mut bytes, first.lsn.0, happened.lsn.0);
            }
        }
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let room = needed.max(CAPTURE_BYTES) - self.0.len();
            self.0.reserve_exact(room);
        }
        self.0.extend_from_slice(&bytes);
    }

    pub(in crate::engine) fn iter(&self) -> Steps<'_> {
        Steps {
            packed: &self.0,
            first: None,
        }
    }

    pub(in crate::engine) fn first(&self) -> Option<Happened> {
        self.iter().next()
    }

    pub(in crate::engine) fn last(&self) -> Option<Happened> {
        self.iter().last()
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.iter().count()
    }
}

impl std::fmt::Debug for PurchaseHistory {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

/// The steps of a [`PurchaseHistory`], one after the other.
#[derive(Clone)]
pub(in crate::engine) struct Steps<'a> {
    packed: &'a [u8],
    /// What later steps differ from.
    first: Option<Happened>,
}

impl Iterator for Steps<'_> {
    type Item = Happened;

    fn next(&mut self) -> Option<Happened> {
        let (number, rest) = self.packed.split_first()?;
        self.packed = rest;
        let step = Step::ALL[usize::from(*number)];
        let (at, lsn) = (take(&mut self.packed), take(&mut self.packed));
        let (at, lsn) = match &self.first {
            None => (at, lsn),
            Some(first) => (moved(first.at.get(), at), moved(first.lsn.0, lsn)),
        };
        let happened = Happened {
            at: UnixMs::new(at),
            lsn: Lsn(lsn),
            step,
        };
        self.first.get_or_insert(happened);
        Some(happened)
    }
}

fn put(bytes: &mut SmallVec<[u8; 1 + 2 * NUMBER_BYTES_MAX]>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(packed: &mut &[u8]) -> u64 {
    // Indices instead of iterators: this runs for each step of each turn, unoptimized in tests, too.
    let (mut number, mut shift, mut place) = (0, 0, 0);
    loop {
        // Whole numbers only: `push` writes them.
        let byte = packed[place];
        number |= u64::from(byte & 0x7f) << shift;
        place += 1;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    *packed = &packed[place..];
    number
}

/// How far `to` lies from `from`, small in both directions.
fn put_difference(bytes: &mut SmallVec<[u8; 1 + 2 * NUMBER_BYTES_MAX]>, from: u64, to: u64) {
    let difference = to.wrapping_sub(from).cast_signed();
    put(
        bytes,
        (difference << 1 ^ difference >> (u64::BITS - 1)).cast_unsigned(),
    );
}

fn moved(from: u64, difference: u64) -> u64 {
    let difference = difference >> 1 ^ (difference & 1).wrapping_neg();
    from.wrapping_add(difference)
}

impl Archive for PurchaseHistory {
    type Archived = ArchivedVec<ArchivedHappened>;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(self.len(), resolver, out);
    }
}

impl<S: Fallible<Error: Source> + Allocator + Writer + ?Sized> Serialize<S> for PurchaseHistory {
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        let steps: SmallVec<[Happened; 8]> = self.iter().collect();
        ArchivedVec::serialize_from_slice(&steps, serializer)
    }
}

impl<D: Fallible + ?Sized> Deserialize<PurchaseHistory, D> for ArchivedVec<ArchivedHappened>
where
    ArchivedHappened: Deserialize<Happened, D>,
{
    fn deserialize(&self, deserializer: &mut D) -> Result<PurchaseHistory, D::Error> {
        let mut history = PurchaseHistory::default();
        for happened in self.as_slice() {
            history.push(happened.deserialize(deserializer)?);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_capture_fits_without_growing() {
        let steps = [0, 3, 4, 7, 8].map(|number| Step::ALL[number]);
        let mut history = PurchaseHistory::default();
        for (nth, step) in (0..).zip(steps) {
            history.push(Happened {
                at: UnixMs::new(1_800_000_000_000 + nth * 400),
                lsn: Lsn(300_000_000_000 + nth * 60_000),
                step,
            });
            let room = if nth < 2 {
                IN_PLACE_BYTES
            } else {
                CAPTURE_BYTES
            };
            assert_eq!(history.0.capacity(), room, "after {} steps", nth + 1);
        }
    }

    proptest! {
        #[test]
        fn what_was_pushed_comes_out_and_is_archived_as_a_list(
            steps in prop::collection::vec((any::<u64>(), any::<u64>(), 0..Step::ALL.len()), 0..9)
        ) {
            let steps = steps.into_iter().map(|(at, lsn, number)| Happened {
                at: UnixMs::new(at),
                lsn: Lsn(lsn),
                step: Step::ALL[number],
            });
            let steps: Vec<_> = steps.collect();
            let mut history = PurchaseHistory::default();
            for happened in &steps {
                history.push(*happened);
            }
            prop_assert_eq!(&history.iter().collect::<Vec<_>>(), &steps);
            prop_assert_eq!(history.last(), steps.last().copied());
            let archived = rkyv::to_bytes::<rkyv::rancor::Error>(&history).expect("memory");
            let list = rkyv::to_bytes::<rkyv::rancor::Error>(&steps).expect("memory");
            prop_assert_eq!(&archived[..], &list[..]);
            let again = rkyv::from_bytes::<PurchaseHistory, rkyv::rancor::Error>(&archived);
            prop_assert_eq!(again.expect("it was archived"), history);
        }
    }
}
