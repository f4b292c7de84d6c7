//! Owns which connections may be open: how many in total, how many per peer, and which one is
//! closed for a new one.
//!
//! Invariants:
//! 1. The total is limited. At the limit, the connection without a valid key whose last successful
//!    response is oldest is evicted; a connection that showed a key never is.
//! 2. Connections of one peer without a key have their own limit. At it, the idlest of the same
//!    peer is evicted: strangers behind the shop's proxy exclude neither the shop nor anyone else.
//! 3. If all connections have shown keys, [`RESERVED_MAX`] more are accepted, for probes, metrics
//!    and administration.
//! 4. The number of evicted connections that are not closed yet is limited, too, so that
//!    descriptors do not run out.
//!
//! A connection takes the lock when it arrives, when it first shows a key and when it ends;
//! requests never do. A tree orders connections by their last successful response, as known when
//! the connection was inserted. The first one is the candidate. If it has had a newer response
//! since, it is inserted again, at most [`LOOKS_MAX`] times for each new connection, and once for
//! all its responses in between.

use super::peer::{Network, Peer};
use super::presence::Connection;
use crate::telemetry::metrics::Eviction;
use parking_lot::Mutex;
use std::collections::hash_map;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// Connections beyond the limit, for probes, metrics and administration.
pub const RESERVED_MAX: usize = 16;

/// Maximum number of evicted connections that are not closed yet: their tasks run within one turn
/// of their worker. At the limit, new connections wait in the kernel's queue, and are refused after
/// too long a wait.
pub const CLOSING_MAX: usize = 32;

/// Maximum re-insertions before a connection is evicted regardless of newer responses.
const LOOKS_MAX: usize = 16;

/// The connections of one listener.
#[derive(Debug)]
pub struct ConnectionTable {
    began: Instant,
    bounds: ConnectionBounds,
    state: Mutex<State>,
}

/// The limits of connections.
#[derive(Copy, Clone, Debug)]
pub(in crate::http) struct ConnectionBounds {
    /// In total.
    pub(in crate::http) max: usize,
    /// Per peer, without a key.
    pub(in crate::http) per_peer_max: usize,
    /// Beyond `max`.
    pub(in crate::http) reserved_max: usize,
}

#[derive(Debug, Default)]
struct State {
    ordinary: usize,
    reserved: usize,
    closing: usize,
    next_number: u64,
    /// Connections without a key.
    keyless: BTreeMap<Rank, Arc<Connection>>,
    /// The same by peer; peers without connections are absent.
    peers: HashMap<Network, BTreeSet<Rank>>,
}

/// The order of eviction.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: ConnectionClass,
    progress_ms: u64,
    number: u64,
}

/// The kind of place that a connection has.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ConnectionClass {
    Ordinary,
    Reserved,
}

/// The decision about a new connection.
pub(in crate::http) enum Entrance {
    /// It gets a free place.
    Free(ConnectionPlace),
    /// It replaces another connection.
    InPlaceOf(ConnectionPlace, Arc<Connection>, Eviction),
    /// There is no place.
    TurnedAway,
}

/// A connection's place, until dropped.
pub(in crate::http) struct ConnectionPlace(Arc<Connection>);

impl ConnectionTable {
    pub(in crate::http) fn new(bounds: ConnectionBounds) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            bounds,
            state: Mutex::default(),
        })
    }

    pub(in crate::http) fn now_ms(&self) -> u64 {
        let elapsed = self.began.elapsed().as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    /// Whether the maximum number of connections is closing; the next one may have to be refused.
    pub(in crate::http) fn is_closing_full(&self) -> bool {
        self.state.lock().closing >= CLOSING_MAX
    }

    /// Admits a connection of `peer`.
    pub(in crate::http) fn enter(self: &Arc<Self>, peer: Peer) -> Entrance {
        let now_ms = self.now_ms();
        let mut state = self.state.lock();
        let Some(room) = state.make_room(peer.network(), self.bounds) else {
            return Entrance::TurnedAway;
        };
        let number = state.next_number;
        state.next_number += 1;
        let connection = Connection::new(peer, number, Arc::clone(self), now_ms);
        if state.ordinary >= self.bounds.max {
            connection.mark_reserved();
        }
        let connection = Arc::new(connection);
        *state.places(ConnectionClass::of(&connection)) += 1;
        state.add_keyless(&connection);
        drop(state);
        let place = ConnectionPlace(connection);
        match room {
            RoomSource::Free => Entrance::Free(place),
            RoomSource::Of(evicted, why) => {
                evicted.wake();
                Entrance::InPlaceOf(place, evicted, why)
            }
        }
    }

    /// Protects `connection` from eviction from now on.
    #[cold]
    pub(in crate::http) fn trust(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock();
        if !connection.is_evicted() && !connection.is_trusted() {
            state.remove_keyless(connection);
            connection.mark_trusted();
        }
    }

    /// Moves `connection` from its reserved place to an ordinary one; returns whether there was
    /// one.
    #[cold]
    pub(in crate::http) fn make_ordinary(&self, connection: &Arc<Connection>) -> bool {
        let mut state = self.state.lock();
        if !connection.is_reserved() {
            return true;
        }
        if state.ordinary >= self.bounds.max || connection.is_evicted() {
            return false;
        }
        let is_keyless = !connection.is_trusted();
        if is_keyless {
            state.remove_keyless(connection);
        }
        connection.mark_ordinary();
        state.reserved -= 1;
        state.ordinary += 1;
        if is_keyless {
            state.add_keyless(connection);
        }
        true
    }

    fn leave(&self, connection: &Connection) {
        let mut state = self.state.lock();
        if connection.is_evicted() {
            state.closing -= 1;
            return;
        }
        if !connection.is_trusted() {
            state.remove_keyless(connection);
        }
        *state.places(ConnectionClass::of(connection)) -= 1;
    }
}

/// How room is made for a new connection.
enum RoomSource {
    Free,
    Of(Arc<Connection>, Eviction),
}

/// The candidates for eviction.
#[derive(Copy, Clone)]
enum Among {
    Peer(Network),
    Class(ConnectionClass),
}

impl State {
    /// Room for a connection from `network`; `None` if there is none.
    fn make_room(&mut self, network: Network, bounds: ConnectionBounds) -> Option<RoomSource> {
        if self.peers.get(&network).map_or(0, BTreeSet::len) >= bounds.per_peer_max {
            let one = self.evict(Among::Peer(network))?;
            return Some(RoomSource::Of(one, Eviction::Peer));
        }
        if self.ordinary < bounds.max {
            return Some(RoomSource::Free);
        }
        if let Some(one) = self.evict(Among::Class(ConnectionClass::Ordinary)) {
            return Some(RoomSource::Of(one, Eviction::Full));
        }
        if self.reserved < bounds.reserved_max {
            return Some(RoomSource::Free);
        }
        let one = self.evict(Among::Class(ConnectionClass::Reserved))?;
        Some(RoomSource::Of(one, Eviction::Full))
    }

    /// Evicts the idlest of these; its task must be woken afterwards.
    fn evict(&mut self, among: Among) -> Option<Arc<Connection>> {
        if self.closing >= CLOSING_MAX {
            return None;
        }
        let one = self.idlest(among)?;
        self.remove_keyless(&one);
        *self.places(ConnectionClass::of(&one)) -= 1;
        self.closing += 1;
        one.mark_evicted();
        Some(one)
    }

    /// The one whose last successful response is oldest.
    fn idlest(&mut self, among: Among) -> Option<Arc<Connection>> {
        for _ in 0..LOOKS_MAX {
            let one = self.first(among)?;
            if one.progress_ms() <= one.ranked_ms() {
                return Some(one);
            }
            self.remove_keyless(&one);
            self.add_keyless(&one);
        }
        self.first(among)
    }

    fn first(&self, among: Among) -> Option<Arc<Connection>> {
        let rank = match among {
            Among::Peer(network) => *self.peers.get(&network)?.first()?,
            Among::Class(class) => {
                let least = Rank {
                    class,
                    progress_ms: 0,
                    number: 0,
                };
                *self.keyless.range(least..).next()?.0
            }
        };
        if let Among::Class(class) = among
            && rank.class != class
        {
            return None;
        }
        self.keyless.get(&rank).cloned()
    }

    fn places(&mut self, class: ConnectionClass) -> &mut usize {
        match class {
            ConnectionClass::Ordinary => &mut self.ordinary,
            ConnectionClass::Reserved => &mut self.reserved,
        }
    }

    fn add_keyless(&mut self, one: &Arc<Connection>) {
        one.rank_now();
        let rank = Rank::of(one);
        self.keyless.insert(rank, Arc::clone(one));
        let of_peer = self.peers.entry(one.peer().network());
        of_peer.or_default().insert(rank);
    }

    fn remove_keyless(&mut self, one: &Connection) {
        let rank = Rank::of(one);
        self.keyless.remove(&rank);
        if let hash_map::Entry::Occupied(mut of_peer) = self.peers.entry(one.peer().network()) {
            of_peer.get_mut().remove(&rank);
            if of_peer.get().is_empty() {
                of_peer.remove();
            }
        }
    }
}

impl Rank {
    /// The rank under which `one` was inserted.
    fn of(one: &Connection) -> Self {
        Self {
            class: ConnectionClass::of(one),
            progress_ms: one.ranked_ms(),
            number: one.number(),
        }
    }
}

impl ConnectionClass {
    fn of(one: &Connection) -> Self {
        if one.is_reserved() {
            Self::Reserved
        } else {
            Self::Ordinary
        }
    }
}

impl ConnectionPlace {
    pub(in crate::http) fn connection(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.admission().leave(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server::presence::ActiveRequest;
    use std::net::IpAddr;

    fn admission(max: usize, per_peer_max: usize) -> Arc<ConnectionTable> {
        ConnectionTable::new(ConnectionBounds {
            max,
            per_peer_max,
            reserved_max: 2,
        })
    }

    fn peer(last: u8) -> Peer {
        Peer::new(IpAddr::from([192, 0, 2, last]))
    }

    /// The new connection's place, and the number of the connection that it replaced.
    fn enter(admission: &Arc<ConnectionTable>, last: u8) -> Option<(ConnectionPlace, Option<u64>)> {
        match admission.enter(peer(last)) {
            Entrance::Free(place) => Some((place, None)),
            Entrance::InPlaceOf(place, evicted, _) => Some((place, Some(evicted.number()))),
            Entrance::TurnedAway => None,
        }
    }

    fn trusted(admission: &Arc<ConnectionTable>, last: u8) -> ConnectionPlace {
        let (place, _) = enter(admission, last).expect("there is room");
        ActiveRequest::new(place.connection()).trust();
        place
    }

    #[test]
    fn the_idlest_without_a_key_goes_first_and_one_with_a_key_never() {
        let admission = admission(3, 3);
        let shop = trusted(&admission, 1);
        let (first, _) = enter(&admission, 2).unwrap();
        let (second, _) = enter(&admission, 2).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        ActiveRequest::new(first.connection()).progressed();
        let (third, evicted) = enter(&admission, 3).unwrap();
        assert_eq!(evicted, Some(second.connection().number()));
        let (fourth, evicted) = enter(&admission, 3).unwrap();
        assert_eq!(evicted, Some(first.connection().number()));
        let (_fifth, evicted) = enter(&admission, 3).unwrap();
        assert_eq!(evicted, Some(third.connection().number()));
        assert!(!shop.connection().is_evicted() && !fourth.connection().is_evicted());
        assert_eq!(admission.state.lock().closing, 3);
        drop((first, second, third));
        assert_eq!(admission.state.lock().closing, 0);
    }

    #[test]
    fn a_peer_at_its_bound_makes_room_for_itself_and_its_connections_with_keys_do_not_count() {
        let admission = admission(10, 2);
        let _shop: Vec<ConnectionPlace> = (0..4).map(|_| trusted(&admission, 1)).collect();
        let (other, _) = enter(&admission, 2).unwrap();
        let (first, evicted) = enter(&admission, 1).unwrap();
        assert_eq!(evicted, None);
        let (_second, evicted) = enter(&admission, 1).unwrap();
        assert_eq!(evicted, None);
        let (_third, evicted) = enter(&admission, 1).unwrap();
        assert_eq!(evicted, Some(first.connection().number()));
        assert!(!other.connection().is_evicted());
    }

    #[test]
    fn beyond_keys_alone_there_are_reserved_places_which_become_ordinary() {
        let admission = admission(1, 5);
        let shop = trusted(&admission, 1);
        let (first, _) = enter(&admission, 2).unwrap();
        let (second, evicted) = enter(&admission, 2).unwrap();
        assert_eq!(evicted, None);
        assert!(first.connection().is_reserved() && second.connection().is_reserved());
        let (third, evicted) = enter(&admission, 2).unwrap();
        assert_eq!(evicted, Some(first.connection().number()));
        ActiveRequest::new(second.connection()).trust();
        ActiveRequest::new(third.connection()).trust();
        assert!(enter(&admission, 2).is_none(), "all are under keys");
        assert!(ActiveRequest::new(third.connection()).is_reserved());
        drop(shop);
        assert!(!ActiveRequest::new(third.connection()).is_reserved());
        drop((first, second, third));
        let state = admission.state.lock();
        assert_eq!((state.ordinary, state.reserved, state.closing), (0, 0, 0));
        assert!(state.keyless.is_empty() && state.peers.is_empty());
    }

    #[test]
    fn the_number_of_closing_connections_is_limited() {
        let admission = admission(1, 1_000);
        let mut kept = Vec::new();
        let turned_away = (0..100).filter(|_| match enter(&admission, 1) {
            Some((place, _)) => {
                kept.push(place);
                false
            }
            None => true,
        });
        // One ordinary, two reserved, and those that are closing.
        assert_eq!(turned_away.count(), 100 - 3 - CLOSING_MAX);
    }
}
