//! Owns what requests without a valid key cost their senders, and what the log says of them.
//!
//! Invariants: a peer's first [`FREE`] of them are answered at once, further ones at a rate, each
//! kept back for [`KEPT_BACK_MAX_MS`] at most; requests with a valid key are never kept back, not
//! from the same peer either; memory is fixed and nothing locks. Peers that share a slot share a
//! rate, which only those notice who have no valid key. Deliberately absent: bans, which would let
//! a stranger behind the shop's proxy shut the shop out.

use super::peer::Peer;
use super::sampled::Sampled;
use crate::time::UnixMs;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Peers with a rate of their own, at most.
const SLOTS: usize = 4_096;
/// Requests of a peer that are answered at once.
const FREE: u64 = 20;
/// Between two further ones.
const INTERVAL_MS: u64 = 200;
/// How long an answer is kept back at most: a connection is held, but nothing else.
const KEPT_BACK_MAX_MS: u64 = 1_000;

/// The rates of all peers.
pub(in crate::http) struct WrongKeys {
    began: Instant,
    hasher: RandomState,
    /// When the requests so far would have come, one an interval, in milliseconds since `began`.
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

    /// Logs, once a second at most, that `peer` sent no valid key.
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

    /// Counts a request of `peer`: how long its answer is to be kept back.
    pub(in crate::http) fn keep_back(&self, peer: Peer) -> Duration {
        let elapsed = self.began.elapsed().as_millis();
        let now_ms = u64::try_from(elapsed).unwrap_or(u64::MAX >> 1);
        Duration::from_millis(self.keep_back_ms(peer, now_ms))
    }

    fn keep_back_ms(&self, peer: Peer, now_ms: u64) -> u64 {
        let free_until = now_ms + FREE * INTERVAL_MS;
        let next = |due: u64| (due.max(now_ms) + INTERVAL_MS).min(free_until + KEPT_BACK_MAX_MS);
        // One word a peer: no other memory depends on it.
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
