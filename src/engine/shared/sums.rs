//! Owns the table of sums: one for each card, device, currency and day, and the claims on them.
//!
//! Invariants: a claim never takes a sum past its limit; a cell whose sum is zero is removed, and a
//! thread that still has it enters a new one; the table is bounded, except for what is counted
//! without a claim; a forgotten day never gets a sum again, because the new sum would hold only a
//! part of that day, and more might be given back than it holds.

use crate::engine::cells::{AmountCell, Taken};
use crate::engine::state::spending::DAYS_KEPT_MS;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::SpendingScope;
use crate::ids::{CardToken, DeviceId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use dashmap::{DashMap, Entry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The sums, and how many of them are kept.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sums: DashMap<Key, Arc<AmountCell>>,
    pub(super) kept: AtomicUsize,
    pub(super) keys_max: usize,
    /// Days that began before this instant are forgotten.
    pub(super) days_from_ms: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) whose: Whose,
    pub(super) currency: Currency,
    /// The day; `None`: all days.
    pub(super) day: Option<UnixMs>,
}

/// The size of one sum in the table, with its cell and reference counts.
pub(in crate::engine) const SUM_BYTES: usize =
    2 * (size_of::<(Key, Arc<AmountCell>)>() + size_of::<usize>()) + 4 * size_of::<AmountCell>();

/// Whose purchases are added up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Card(CardToken),
    Device(DeviceId),
}

impl Whose {
    pub(super) const fn scope(&self) -> SpendingScope {
        match self {
            Self::Card(_) => SpendingScope::Card,
            Self::Device(_) => SpendingScope::Device,
        }
    }
}

/// Whether an amount fits under a limit.
#[derive(Debug)]
pub(super) enum LimitCheck {
    /// It fits, and is claimed.
    Yes(AmountClaim),
    /// It does not fit; this much is used.
    NoRoom { used: u64 },
}

#[derive(Debug)]
pub(super) struct AmountClaim {
    pub(super) table: Arc<Table>,
    pub(super) key: Key,
    pub(super) cell: Arc<AmountCell>,
    pub(super) amount: u64,
}

impl Drop for AmountClaim {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.cell.give_back(self.amount);
            self.table.tidy(&self.key, &self.cell);
        }
    }
}

impl Table {
    pub(super) fn claim(
        self: &Arc<Self>,
        key: Key,
        amount: u64,
        limit: u64,
    ) -> Result<LimitCheck, Refusal> {
        loop {
            let known = self.sums.view(&key, |_, cell| Arc::clone(cell));
            let cell = match known {
                Some(cell) => cell,
                None if self.kept.load(Ordering::Relaxed) >= self.keys_max => {
                    return Err(Refusal::Overloaded);
                }
                None => self.enter(key.clone()),
            };
            match cell.take(amount, limit) {
                Taken::Yes => {
                    return Ok(LimitCheck::Yes(AmountClaim {
                        table: Arc::clone(self),
                        key,
                        cell,
                        amount,
                    }));
                }
                Taken::NoRoom => {
                    let used = cell.read();
                    // The cell may have been entered for this claim.
                    self.tidy(&key, &cell);
                    return Ok(LimitCheck::NoRoom { used });
                }
                // Any thread that sees a retired cell may remove it, then retries.
                Taken::Retired => self.remove(&key, &cell),
            }
        }
    }

    pub(super) fn give_back(&self, key: &Key, amount: u64) {
        // Limits are fixed at the start, so a key without a cell never had a claim.
        let known = self.sums.view(key, |_, cell| Arc::clone(cell));
        // Checked after the look-up: a cell that was entered while its day was being forgotten
        // holds only a part of the day.
        let known = known.filter(|_| self.counts(key));
        if let Some(cell) = known {
            cell.give_back(amount);
            self.tidy(key, &cell);
        }
    }

    /// Adds without a limit, at most up to a cell's maximum, which is over every limit.
    pub(super) fn count(&self, key: &Key, amount: u64) {
        // Checked again after a retired cell, because its day may have been forgotten just now.
        while self.counts(key) {
            let cell = self.enter(key.clone());
            match cell.count(amount) {
                Taken::Yes | Taken::NoRoom => return,
                Taken::Retired => self.remove(key, &cell),
            }
        }
    }

    /// Whether a day that began at this instant is not forgotten.
    pub(super) fn keeps(&self, day: UnixMs) -> bool {
        day.get() >= self.days_from_ms.load(Ordering::Acquire)
    }

    /// Whether a sum of `key` may exist.
    fn counts(&self, key: &Key) -> bool {
        key.day.is_none_or(|day| self.keeps(day))
    }

    /// The cell of `key`, created if there is none.
    pub(super) fn enter(&self, key: Key) -> Arc<AmountCell> {
        match self.sums.entry(key) {
            Entry::Occupied(there) => Arc::clone(there.get()),
            Entry::Vacant(place) => {
                let new = Arc::new(AmountCell::new());
                // Counted under the map's lock, which removing the cell needs too: no other thread
                // can subtract it first.
                self.kept.fetch_add(1, Ordering::Relaxed);
                place.insert(Arc::clone(&new));
                new
            }
        }
    }

    /// Removes a cell whose sum is zero.
    pub(super) fn tidy(&self, key: &Key, cell: &Arc<AmountCell>) {
        if cell.retire_empty() {
            self.remove(key, cell);
        }
    }

    /// Removes a retired cell, unless another thread has.
    pub(super) fn remove(&self, key: &Key, cell: &Arc<AmountCell>) {
        let removed = self
            .sums
            .remove_if(key, |_, there| Arc::ptr_eq(there, cell));
        if removed.is_some() {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn clear(&self) {
        self.retire_all(|_| true);
    }

    pub(super) fn forget_days(&self, now: UnixMs) {
        // First, so that no other thread enters a cell again that is removed below.
        let days_from = days_from(now).get();
        self.days_from_ms.fetch_max(days_from, Ordering::AcqRel);
        self.retire_all(|key| !self.counts(key));
    }

    /// Removes the cells of these keys. A thread that already has one finds it retired.
    fn retire_all(&self, goes: impl Fn(&Key) -> bool) {
        self.sums.retain(|key, cell| {
            let goes = goes(key);
            if goes {
                cell.retire();
                self.kept.fetch_sub(1, Ordering::Relaxed);
            }
            !goes
        });
    }
}

/// Days that began before this instant are forgotten.
pub(super) fn days_from(now: UnixMs) -> UnixMs {
    UnixMs::new(now.get().saturating_sub(DAYS_KEPT_MS))
}

pub(super) fn minor(amount: Amount) -> u64 {
    amount.get().unsigned_abs()
}

/// As an amount; a larger sum becomes the largest amount.
pub(super) fn narrow(sum: u64) -> Amount {
    let most = Amount::new(i64::MAX).expect("the largest number is not negative");
    i64::try_from(sum)
        .ok()
        .and_then(Amount::new)
        .unwrap_or(most)
}
