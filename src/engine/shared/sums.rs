//! Owns the table of sums: one for each card, device, currency and day, and the claims on them.
//!
//! Invariants: a claim never takes a sum past its limit; a cell whose sum is nothing is taken out, and
//! who meets it meanwhile enters another; the table is bounded but for what is counted without a claim.

use crate::engine::cells::{AmountCell, Taken};
use crate::engine::state::spending::DAYS_KEPT_MS;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::SpendingScope;
use crate::ids::{CardToken, DeviceId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use papaya::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sums, and how many of them are kept.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sums: HashMap<Key, Arc<AmountCell>>,
    pub(super) kept: AtomicUsize,
    pub(super) keys_max: usize,
}

/// What a sum is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) whose: Whose,
    pub(super) currency: Currency,
    /// The day that it is of; `None`: all days.
    pub(super) day: Option<UnixMs>,
}

/// What one sum takes, with what counts who has it and where the table has it.
pub(in crate::engine) const SUM_BYTES: usize =
    2 * (size_of::<(Key, Arc<AmountCell>)>() + size_of::<usize>()) + 4 * size_of::<AmountCell>();

/// Whose purchases are summed up.
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
pub(super) enum Claimed {
    /// It does: this is taken.
    Yes(AmountClaim),
    /// It does not: this much is bought.
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
    ) -> Result<Claimed, Refusal> {
        loop {
            let known = self.sums.pin().get(&key).cloned();
            let cell = match known {
                Some(cell) => cell,
                None if self.kept.load(Ordering::Relaxed) >= self.keys_max => {
                    return Err(Refusal::Overloaded);
                }
                None => self.enter(key.clone()),
            };
            match cell.take(amount, limit) {
                Taken::Yes => {
                    return Ok(Claimed::Yes(AmountClaim {
                        table: Arc::clone(self),
                        key,
                        cell,
                        amount,
                    }));
                }
                Taken::NoRoom => {
                    let used = cell.read();
                    // It may have been entered for this.
                    self.tidy(&key, &cell);
                    return Ok(Claimed::NoRoom { used });
                }
                // Whoever retired it takes it out; so does whoever comes first.
                Taken::Retired => self.remove(&key, &cell),
            }
        }
    }

    pub(super) fn give_back(&self, key: &Key, amount: u64) {
        // There is none of a day gone by, and none under a limit that there was not at the start.
        let known = self.sums.pin().get(key).cloned();
        if let Some(cell) = known {
            cell.give_back(amount);
            self.tidy(key, &cell);
        }
    }

    /// Adds without a limit. A sum that no word can hold stays as it is: it is over every limit.
    pub(super) fn count(&self, key: &Key, amount: u64) {
        loop {
            let cell = self.enter(key.clone());
            match cell.take(amount, u64::MAX - 1) {
                Taken::Yes | Taken::NoRoom => return,
                Taken::Retired => self.remove(key, &cell),
            }
        }
    }

    /// The cell of `key`, made where there is none.
    pub(super) fn enter(&self, key: Key) -> Arc<AmountCell> {
        let sums = self.sums.pin();
        let new = Arc::new(AmountCell::new());
        // Counted before it is there: whoever takes it out again must not be first.
        self.kept.fetch_add(1, Ordering::Relaxed);
        let cell = Arc::clone(sums.get_or_insert(key, Arc::clone(&new)));
        if !Arc::ptr_eq(&cell, &new) {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
        cell
    }

    /// Takes a cell out whose sum is nothing.
    pub(super) fn tidy(&self, key: &Key, cell: &Arc<AmountCell>) {
        if cell.retire_empty() {
            self.remove(key, cell);
        }
    }

    /// Takes a retired cell out, unless somebody has.
    pub(super) fn remove(&self, key: &Key, cell: &Arc<AmountCell>) {
        let sums = self.sums.pin();
        let removed = sums.remove_if(key, |_, there| Arc::ptr_eq(there, cell));
        if matches!(removed, Ok(Some(_))) {
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn clear(&self) {
        let sums = self.sums.pin();
        for (key, cell) in &sums {
            cell.retire();
            self.remove(key, cell);
        }
    }

    pub(super) fn forget_days(&self, now: UnixMs) {
        let sums = self.sums.pin();
        for (key, cell) in &sums {
            if key.day.is_some_and(|day| now.since_ms(day) > DAYS_KEPT_MS) {
                cell.retire();
                self.remove(key, cell);
            }
        }
    }
}

pub(super) fn minor(amount: Amount) -> u64 {
    amount.get().unsigned_abs()
}

/// As an amount; where it is larger than any, the largest.
pub(super) fn narrow(sum: u64) -> Amount {
    let most = Amount::new(i64::MAX).expect("the largest number is not negative");
    i64::try_from(sum)
        .ok()
        .and_then(Amount::new)
        .unwrap_or(most)
}
