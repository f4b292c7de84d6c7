//! Owns what the sandbox knows of each payment, and the fold from ledger entries to it.
//!
//! Invariants: live and replayed entries go through the same [`Book::apply`], which refuses what
//! does not follow; what was captured never exceeds what was set aside, nor the refunds what was
//! captured. Deliberately absent: files, behaviours of calls, locks.

use crate::money::{Amount, Currency};
use crate::payments::gateway::{Charged, Reference};
use crate::payments::sandbox::ledger::{LedgerEntry, Misfit};
use crate::payments::sandbox::token::Behaviour;
use hashbrown::HashMap;

/// Maximum number of payments in one book; the sandbox has 64 books.
pub const PAYMENTS_MAX: usize = 1_000_000;

/// Maximum number of refunds of one payment.
pub const REFUNDS_MAX: usize = 1_000;

/// A payment in the sandbox.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SandboxCharge {
    /// Whose it is.
    pub reference: Reference,
    /// What was asked for, in minor units.
    pub amount: Amount,
    pub currency: Currency,
    /// Where it is.
    pub state: ChargeState,
    /// What was taken, in minor units: nothing, the whole amount, or what was taken at its own site.
    pub captured: Amount,
    /// What was given back of it, in minor units.
    pub refunded: Amount,
}

impl SandboxCharge {
    /// What the buyer paid after refunds, in minor units.
    pub fn net(&self) -> Amount {
        self.captured.saturating_minus(self.refunded)
    }

    /// The same as an entry of a gateway's list.
    pub fn listed(&self) -> Charged {
        Charged {
            reference: Some(self.reference),
            gateway_id: self.reference.to_string(),
            currency: self.currency,
            authorized: match self.state {
                ChargeState::Authorized => self.amount,
                ChargeState::Declined
                | ChargeState::Captured
                | ChargeState::Voided
                | ChargeState::Refunded => Amount::ZERO,
            },
            captured: self.captured,
            refunded: self.refunded,
        }
    }
}

/// The state of a payment in the sandbox.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChargeState {
    /// Declined permanently.
    Declined,
    Authorized,
    Captured,
    /// Voided before a capture, or closed before an authorization.
    Voided,
    /// Captured, and completely refunded.
    Refunded,
}

/// A payment as stored in a book.
#[derive(Copy, Clone, Debug)]
pub struct ChargeRecord {
    /// What was asked for.
    pub amount: Amount,
    pub currency: Currency,
    /// Where it is.
    pub state: ChargeState,
    /// What was taken.
    pub captured: Amount,
    /// What its card does.
    pub behaviour: Behaviour,
}

/// One of the parts that payments are spread over.
#[derive(Debug, Default)]
pub struct Book {
    payments: HashMap<Reference, ChargeRecord>,
    /// Only of payments that have refunds, so that the others stay small.
    refunds: HashMap<Reference, Vec<(u32, Amount)>>,
}

impl Book {
    /// The payment under `reference`.
    pub fn get(&self, reference: Reference) -> Option<ChargeRecord> {
        self.payments.get(&reference).copied()
    }

    /// Whether the book has no room for another payment.
    pub fn is_full(&self) -> bool {
        self.payments.len() >= PAYMENTS_MAX
    }

    /// The amount of refund `number` of `reference`, if it was made.
    pub fn refund(&self, reference: Reference, number: u32) -> Option<Amount> {
        let made = self.refunds.get(&reference)?;
        made.iter()
            .find(|(made, _)| *made == number)
            .map(|(_, amount)| *amount)
    }

    /// The total refunded of `reference`.
    pub fn refunded(&self, reference: Reference) -> Amount {
        let made = self.refunds.get(&reference).map_or(&[][..], Vec::as_slice);
        let sum = made.iter().map(|(_, amount)| amount.get()).sum();
        Amount::new(sum).expect("refunds are never negative")
    }

    /// Whether `entry` may follow for `reference`.
    pub fn allows(&self, reference: Reference, entry: &LedgerEntry) -> Result<(), Misfit> {
        let kept = self.payments.get(&reference);
        let fits = match (entry, kept.map(|kept| kept.state)) {
            (
                LedgerEntry::Authorized { .. }
                | LedgerEntry::Declined { .. }
                | LedgerEntry::Closed { .. },
                state,
            ) => state.is_none() && !self.is_full(),
            (
                LedgerEntry::Captured | LedgerEntry::CapturedOther { .. } | LedgerEntry::Voided,
                state,
            ) => state == Some(ChargeState::Authorized),
            (LedgerEntry::Refunded { number, amount }, Some(ChargeState::Captured)) => {
                let left = kept
                    .map_or(Amount::ZERO, |kept| kept.captured)
                    .saturating_minus(self.refunded(reference));
                let made = self.refunds.get(&reference).map_or(0, Vec::len);
                *amount > Amount::ZERO
                    && *amount <= left
                    && made < REFUNDS_MAX
                    && (*number == 0 || self.refund(reference, *number).is_none())
            }
            (LedgerEntry::Refunded { .. }, _) => false,
        };
        fits.then_some(()).ok_or(Misfit)
    }

    /// Applies `entry` to `reference`.
    pub fn apply(&mut self, reference: Reference, entry: &LedgerEntry) -> Result<(), Misfit> {
        self.allows(reference, entry)?;
        match entry {
            LedgerEntry::Authorized {
                amount,
                currency,
                card,
            }
            | LedgerEntry::Declined {
                amount,
                currency,
                card,
            } => {
                let state = if matches!(entry, LedgerEntry::Authorized { .. }) {
                    ChargeState::Authorized
                } else {
                    ChargeState::Declined
                };
                let kept = ChargeRecord {
                    amount: *amount,
                    currency: *currency,
                    state,
                    captured: Amount::ZERO,
                    behaviour: Behaviour::of(card.as_str()),
                };
                self.payments.insert(reference, kept);
            }
            LedgerEntry::Closed { amount, currency } => {
                let kept = ChargeRecord {
                    amount: *amount,
                    currency: *currency,
                    state: ChargeState::Voided,
                    captured: Amount::ZERO,
                    behaviour: Behaviour::Works,
                };
                self.payments.insert(reference, kept);
            }
            LedgerEntry::Captured => {
                if let Some(kept) = self.payments.get_mut(&reference) {
                    kept.state = ChargeState::Captured;
                    kept.captured = kept.amount;
                }
            }
            LedgerEntry::CapturedOther { amount } => {
                if let Some(kept) = self.payments.get_mut(&reference) {
                    kept.state = ChargeState::Captured;
                    kept.captured = *amount;
                }
            }
            LedgerEntry::Voided => self.set(reference, ChargeState::Voided),
            LedgerEntry::Refunded { number, amount } => {
                let made = self.refunds.entry(reference).or_default();
                made.push((*number, *amount));
                let whole = self.payments.get(&reference).map(|kept| kept.captured);
                if whole == Some(self.refunded(reference)) {
                    self.set(reference, ChargeState::Refunded);
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, reference: Reference, state: ChargeState) {
        if let Some(kept) = self.payments.get_mut(&reference) {
            kept.state = state;
        }
    }

    /// Every payment, in an unspecified order.
    pub fn charges(&self) -> impl Iterator<Item = SandboxCharge> + '_ {
        self.payments.iter().map(|(reference, kept)| SandboxCharge {
            reference: *reference,
            amount: kept.amount,
            currency: kept.currency,
            state: kept.state,
            captured: kept.captured,
            refunded: self.refunded(*reference),
        })
    }
}
