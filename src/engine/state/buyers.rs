//! Owns the buyers of a shard: found by user id, stored in slots that are reused.
//!
//! Invariants: the slot of a forgotten buyer goes to the next new one, the smallest first, so slots
//! follow from the events alone; purchases and keys name their buyers by slot, in images too.
//! Deliberately absent: when a buyer is forgotten (`forget`).

use crate::engine::state::buyer::Buyer;
use crate::engine::state::purchase::BuyerIndex;
use crate::ids::UserId;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

/// Maximum number of buyers in one shard. An image that names a slot beyond is refused, so that it
/// cannot cause an unbounded allocation.
pub const BUYERS_A_SHARD_MAX: u32 = 1 << 22;

#[derive(Debug, Default)]
pub(in crate::engine) struct Buyers {
    /// Boxed, so that growing copies little and a forgotten buyer frees their memory.
    kept: Vec<Option<Box<Buyer>>>,
    free: BTreeSet<u32>,
    /// The slot of each user, found by the hash of their id; the id is in the slot alone. Half of the
    /// hash stands beside it, so that growing touches no buyer.
    places: HashTable<(u32, BuyerIndex)>,
}

fn hash_of(user: &UserId) -> u32 {
    let hash = FixedState::default().hash_one(user.as_str());
    u32::try_from(hash >> 32).expect("32 bits are left")
}

/// The table's hash of a kept one: both its ends must vary.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Buyers {
    pub(in crate::engine) fn len(&self) -> usize {
        self.places.len()
    }

    /// The slot of `user`.
    pub(in crate::engine) fn place(&self, user: &UserId) -> Option<BuyerIndex> {
        self.place_under(hash_of(user), user)
    }

    fn place_under(&self, hash: u32, user: &UserId) -> Option<BuyerIndex> {
        let found = self.places.find(spread(hash), |(kept, place)| {
            *kept == hash && self[*place].user == *user
        });
        found.map(|(_, place)| *place)
    }

    fn note_place(&mut self, hash: u32, place: BuyerIndex) {
        let rehash = |(kept, _): &(u32, BuyerIndex)| spread(*kept);
        let entry = (hash, place);
        self.places.insert_unique(spread(hash), entry, rehash);
    }

    /// The slot of `user`, created if there is none.
    pub(in crate::engine::state) fn place_or_new(&mut self, user: &UserId) -> BuyerIndex {
        let hash = hash_of(user);
        if let Some(place) = self.place_under(hash, user) {
            return place;
        }
        let buyer = Some(Box::new(Buyer::new(user.clone())));
        let place = if let Some(place) = self.free.pop_first() {
            self.kept[place as usize] = buyer;
            place
        } else {
            let place = u32::try_from(self.kept.len());
            self.kept.push(buyer);
            place.expect("buyers are bounded below 2^32")
        };
        self.note_place(hash, BuyerIndex(place));
        BuyerIndex(place)
    }

    /// Stores a new `user` at `place`, behind all others; the slots between are free.
    pub(in crate::engine::state) fn insert_at(
        &mut self,
        place: BuyerIndex,
        user: &UserId,
    ) -> Result<(), &'static str> {
        let BuyerIndex(number) = place;
        if number >= BUYERS_A_SHARD_MAX {
            return Err("place: it is beyond what a shard can keep");
        }
        if (number as usize) < self.kept.len() {
            return Err("place: it is not behind the one before");
        }
        if self.place(user).is_some() {
            return Err("user: it is there twice");
        }
        let behind = u32::try_from(self.kept.len()).expect("it is at most the number");
        self.free.extend(behind..number);
        self.kept.resize_with(number as usize, || None);
        self.kept.push(Some(Box::new(Buyer::new(user.clone()))));
        self.note_place(hash_of(user), place);
        Ok(())
    }

    /// Forgets the buyer at `place`.
    pub(in crate::engine::state) fn remove(&mut self, place: BuyerIndex) {
        let buyer = self.kept[place.0 as usize].take();
        let buyer = buyer.expect("a place is somebody's until they are forgotten");
        let hash = hash_of(&buyer.user);
        let noted = self.places.find_entry(spread(hash), |(_, it)| *it == place);
        noted.expect("each buyer's slot is noted once").remove();
        self.free.insert(place.0);
    }

    /// The buyer at `place`, if there is one.
    pub(in crate::engine) fn get(&self, place: BuyerIndex) -> Option<&Buyer> {
        self.kept.get(place.0 as usize)?.as_deref()
    }

    pub(in crate::engine::state) fn get_mut(&mut self, place: BuyerIndex) -> Option<&mut Buyer> {
        self.kept.get_mut(place.0 as usize)?.as_deref_mut()
    }

    /// All buyers with their slots, in order.
    pub(in crate::engine) fn numbered(&self) -> impl Iterator<Item = (BuyerIndex, &Buyer)> {
        let kept = (0..).zip(&self.kept);
        kept.filter_map(|(place, buyer)| Some((BuyerIndex(place), buyer.as_deref()?)))
    }

    pub(in crate::engine::state) fn numbered_mut(
        &mut self,
    ) -> impl Iterator<Item = (BuyerIndex, &mut Buyer)> {
        let kept = (0..).zip(&mut self.kept);
        kept.filter_map(|(place, buyer)| Some((BuyerIndex(place), buyer.as_deref_mut()?)))
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Buyer> {
        self.kept.iter().flatten().map(AsRef::as_ref)
    }

    pub(in crate::engine::state) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Buyer> {
        self.kept.iter_mut().flatten().map(AsMut::as_mut)
    }
}

impl Index<BuyerIndex> for Buyers {
    type Output = Buyer;

    fn index(&self, place: BuyerIndex) -> &Buyer {
        let buyer = self.get(place);
        buyer.expect("a place is somebody's until they are forgotten")
    }
}

impl IndexMut<BuyerIndex> for Buyers {
    fn index_mut(&mut self, place: BuyerIndex) -> &mut Buyer {
        let buyer = self.get_mut(place);
        buyer.expect("a place is somebody's until they are forgotten")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_forgotten_go_to_new_buyers_the_smallest_first() {
        let user = |name: &str| UserId::parse(name).expect("an id");
        let mut buyers = Buyers::default();
        for name in ["a", "b", "c", "d"] {
            buyers.place_or_new(&user(name));
        }
        for name in ["d", "a", "c"] {
            let place = buyers.place(&user(name)).expect("they are kept");
            buyers.remove(place);
        }
        let mut again = Buyers::default();
        let placed = again.insert_at(BuyerIndex(1), &user("b"));
        placed.expect("an image has the one who is left");
        for buyers in [&mut buyers, &mut again] {
            let taken = ["e", "f", "g", "h"].map(|name| buyers.place_or_new(&user(name)).0);
            assert_eq!(taken, [0, 2, 3, 4]);
            assert_eq!(buyers.len(), 5);
        }
    }

    #[test]
    fn an_image_cannot_ask_for_places_without_end() {
        let user = UserId::parse("a").expect("an id");
        let placed = Buyers::default().insert_at(BuyerIndex(BUYERS_A_SHARD_MAX), &user);
        assert_eq!(placed, Err("place: it is beyond what a shard can keep"));
    }
}
