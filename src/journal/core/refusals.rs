//! Owns how many refusals of one API key are logged as events per second, and the count of the
//! others.
//!
//! Invariants: 1. only a refusal that changes nothing in the engine may be left out, so that
//! recovery reaches the same state; 2. no refusal is logged while the disk is nearly full; 3. the
//! next logged refusal of the key's name says how many were left out before it.
//! Deliberately absent: which refusals these are; the callers know.

use crate::ids::KeyOwner;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Maximum number of refusals recorded per second, for the keys of one name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RefusalBounds {
    /// Refused administrative acts.
    pub acts_per_s: u32,
    /// Refused attempts that change no state.
    pub attempts_per_s: u32,
}

impl Default for RefusalBounds {
    fn default() -> Self {
        Self {
            acts_per_s: 10,
            attempts_per_s: 1_000,
        }
    }
}

/// Refusals of one kind, by the name of the key. The number of names is bounded by the keys that the
/// configuration has had since the start.
#[derive(Debug)]
pub(in crate::journal) struct RefusalsKept {
    per_s: u32,
    began: Instant,
    windows: RwLock<HashMap<KeyOwner, Mutex<Window>>>,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    kept: u32,
    left_out: u64,
}

/// Whether the disk and the log's ring have room for refusals, which may be left out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Room {
    Enough,
    Low,
}

impl RefusalsKept {
    pub(in crate::journal) fn new(per_s: u32) -> Self {
        Self {
            per_s,
            began: Instant::now(),
            windows: RwLock::default(),
            left_out: AtomicU64::new(0),
        }
    }

    /// Counts a refusal of `owner`. Returns how many were left out before it if it is to be recorded;
    /// `None` if it is left out.
    pub(in crate::journal) fn admit(&self, owner: &KeyOwner, room: Room) -> Option<u64> {
        if let Some(window) = self.windows.read().get(owner) {
            return self.admit_in(&mut window.lock(), room);
        }
        let mut windows = self.windows.write();
        let window = windows.entry(owner.clone()).or_default();
        self.admit_in(window.get_mut(), room)
    }

    fn admit_in(&self, window: &mut Window, room: Room) -> Option<u64> {
        let second = self.began.elapsed().as_secs();
        if window.second != second {
            (window.second, window.kept) = (second, 0);
        }
        if window.kept >= self.per_s || room == Room::Low {
            window.left_out += 1;
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        window.kept += 1;
        Some(std::mem::take(&mut window.left_out))
    }

    /// How many were left out, of all keys.
    pub(in crate::journal) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}
