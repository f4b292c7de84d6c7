//! Owns the cost of requests without a valid key for their senders, and their log line.
//!
//! Invariants: a peer's first [`FREE`] such requests are answered at once, further ones at a
//! limited rate, each delayed by at most [`KEPT_BACK_MAX_MS`]; requests with a valid key are never
//! delayed, even from the same peer; memory is fixed and nothing locks. Peers that share a slot
//! share a rate, which affects only peers without a valid key. Deliberately absent: bans, with
//! which a stranger behind the shop's proxy could exclude the shop.

use super::peer::Peer;
use super::sampled::Sampled;
use crate::time::UnixMs;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Maximum number of peers with their own rate.
const SLOTS: usize = 4_096;
/// Number of a peer's requests that are answered at once.
const FREE: u64 = 20;
/// Time between two further ones.
const INTERVAL_MS: u64 = 200;
/// Maximum delay of a response; it occupies a connection, but nothing else.
const KEPT_BACK_MAX_MS: u64 = 1_000;

/// The rates of all peers.
pub(in crate::http) struct WrongKeys {
    began: Instant,
    hasher: RandomState,
    /// When the requests so far would have come at one per interval, in milliseconds since `began`.
    due_ms: Box<[AtomicU64]>,
    refused: Sampled,
}

impl WrongKeys {
    pub(in crate::http) fn new() -> Self {
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            due_ms: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            refused: Sampled::default(),
        }
    }

    /// Logs, at most once per second, that `peer` sent no valid key.
    pub(in crate::http) fn log(&self, peer: Peer, now: UnixMs) {
        self.refused.sample(now, |refused| {
            tracing::warn!(
                event = "unauthorized",
                %peer,
                refused,
                "requests without a valid API key were refused; the latest was from this peer"
            );
        });
    }

    /// Counts a request of `peer`; returns the delay of its response.
    pub(in crate::http) fn keep_back(&self, peer: Peer) -> Duration {
        let elapsed = self.began.elapsed().as_millis();
        let now_ms = u64::try_from(elapsed).unwrap_or(u64::MAX >> 1);
        Duration::from_millis(self.keep_back_ms(peer, now_ms))
    }

    fn keep_back_ms(&self, peer: Peer, now_ms: u64) -> u64 {
        let free_until = now_ms + FREE * INTERVAL_MS;
        let next = |due: u64| (due.max(now_ms) + INTERVAL_MS).min(free_until + KEPT_BACK_MAX_MS);
        // Relaxed: one word per peer, and no other memory depends on it.
        let set = self
            .slot(peer)
            .fetch_update(Relaxed, Relaxed, |due| Some(next(due)));
        let before = set.unwrap_or_else(|due| due);
        next(before).saturating_sub(free_until)
    }

    fn slot(&self, peer: Peer) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(peer.network()) % SLOTS as u64);
        &self.due_ms[hash.expect("a remainder of 4096 fits")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn a_peer_has_some_at_once_then_waits_and_is_forgiven_with_time() {
        let wrong = WrongKeys::new();
        let peer = Peer::new(IpAddr::from([192, 0, 2, 1]));
        let at = |now_ms| wrong.keep_back_ms(peer, now_ms);
        assert!((0..FREE).all(|_| at(5) == 0));
        assert_eq!([at(5), at(5), at(5)], [200, 400, 600]);
        assert_eq!([at(5), at(5), at(5), at(5)], [800, 1_000, 1_000, 1_000]);
        let later = 5 + FREE * INTERVAL_MS + KEPT_BACK_MAX_MS;
        assert_eq!(at(later), 0);
    }
}
