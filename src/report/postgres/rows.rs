//! Owns the rows: the content of each table, and how rows of one batch are combined.
//!
//! Invariants: the rows of an event never change (audit, actions, rewards, ledger) or
//! commute: sums are added, an end is set once, the later state of a dispute wins by its LSN. So an
//! event may arrive late, from the dead letters, and the tables end up the same.

use super::encode::{Tuple, bigint};
use super::tables::{ATTEMPTS, LEDGER, RISK, TRANSACTIONS, USES};
use crate::ids::Lsn;
use crate::time::UnixMs;
use std::collections::BTreeMap;

/// The rows of one event.
#[derive(Debug, Default)]
pub struct Rows {
    /// Tuples of tables that only grow.
    pub(super) audit: Vec<u8>,
    pub(super) action: Vec<u8>,
    pub(super) reward: Vec<u8>,
    pub(super) ledger: Vec<u8>,
    /// Rows that other events change, too.
    pub(super) attempt: Option<Box<AttemptRow>>,
    pub(super) transaction: Option<Box<Transaction>>,
    pub(super) promotion: Option<PromotionUse>,
    pub(super) risk: Option<Risk>,
    /// The event, if it sets the terms of a product or promotion: its row in the audit log has them.
    pub(super) terms: Option<Lsn>,
    /// Day of the event, UTC, since 1970: the sink makes its month.
    pub(super) day: i32,
}

impl Rows {
    /// Its approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        let encoded = self.audit.len() + self.action.len() + self.reward.len() + self.ledger.len();
        let boxed = usize::from(self.attempt.is_some()) + usize::from(self.transaction.is_some());
        encoded + 256 * boxed
    }
}

/// The result of an attempt.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum RowResult {
    Pending,
    Success,
    Refused,
    Failed,
}

impl RowResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A row of `purchase_attempts`.
#[derive(Clone, Debug)]
pub(super) struct AttemptRow {
    pub(super) lsn: Lsn,
    pub(super) at: UnixMs,
    pub(super) flow: &'static str,
    pub(super) result: RowResult,
    pub(super) reason: Option<String>,
    pub(super) user: Option<String>,
    pub(super) product: Option<String>,
    pub(super) quantity: Option<u32>,
    pub(super) purchase: Option<String>,
    pub(super) amount: Option<i64>,
    pub(super) currency: Option<String>,
    pub(super) promotion: Option<String>,
    pub(super) card: Option<String>,
    pub(super) ip: Option<String>,
    pub(super) device: Option<String>,
    pub(super) request: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) ended: Option<(Lsn, UnixMs)>,
}

impl AttemptRow {
    /// Merges another event's part of the same row.
    fn merge(&mut self, later: Self) {
        if later.result != RowResult::Pending {
            self.result = later.result;
            self.reason = later.reason.or(self.reason.take());
        }
        self.ended = later.ended.or(self.ended);
        self.ip = self.ip.take().or(later.ip);
        self.device = self.device.take().or(later.device);
        self.owner = self.owner.take().or(later.owner);
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        Tuple::new(into, ATTEMPTS.columns.len())
            .lsn(self.lsn)
            .instant(self.at)
            .text(self.flow)
            .text(self.result.as_str())
            .text_or_null(self.reason.as_deref())
            .text_or_null(self.user.as_deref())
            .text_or_null(self.product.as_deref())
            .integer_or_null(self.quantity.map(integer))
            .text_or_null(self.purchase.as_deref())
            .bigint_or_null(self.amount)
            .text_or_null(self.currency.as_deref())
            .text_or_null(self.promotion.as_deref())
            .text_or_null(self.card.as_deref())
            .text_or_null(self.ip.as_deref())
            .text_or_null(self.device.as_deref())
            .text_or_null(self.request.as_deref())
            .text_or_null(self.owner.as_deref())
            .lsn_or_null(self.ended.map(|it| it.0))
            .instant_or_null(self.ended.map(|it| it.1));
    }
}

/// A row of `shop_transactions`: the purchase as captured, and the effect of the event.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) purchase: String,
    pub(super) user: String,
    pub(super) product: String,
    pub(super) quantity: u32,
    pub(super) currency: String,
    pub(super) unit_price: i64,
    pub(super) discount: i64,
    pub(super) amount: i64,
    pub(super) promotion: Option<String>,
    /// As JSON.
    pub(super) metadata: Vec<u8>,
    pub(super) card: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) capture: Option<String>,
    pub(super) captured_lsn: Lsn,
    pub(super) captured_at: UnixMs,
    pub(super) receipt: String,
    pub(super) integrity_hash: [u8; 32],
    pub(super) receipt_key: String,
    pub(super) hmac: [u8; 32],
    pub(super) signing_key: Option<String>,
    pub(super) signature: Option<[u8; 64]>,
    /// Number of refunds; the refund of a free order counts, with amount 0.
    pub(super) refunds: u32,
    pub(super) refunded: i64,
    pub(super) dispute: Option<Disputed>,
    pub(super) updated: Lsn,
}

/// The dispute columns of a transaction. They are replaced, not added: the state with the latest
/// LSN counts, in any order of arrival.
#[derive(Copy, Clone, Debug)]
pub(super) struct Disputed {
    pub(super) word: &'static str,
    pub(super) lsn: Lsn,
    /// Total amount of lost disputes.
    pub(super) charged_back: i64,
}

impl Transaction {
    fn merge(&mut self, later: &Self) {
        self.refunds += later.refunds;
        self.refunded += later.refunded;
        if later.dispute.map(|it| it.lsn) > self.dispute.map(|it| it.lsn) {
            self.dispute = later.dispute;
        }
        self.updated = self.updated.max(later.updated);
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        Tuple::new(into, TRANSACTIONS.columns.len())
            .text(&self.purchase)
            .text(&self.user)
            .text(&self.product)
            .integer_or_null(Some(integer(self.quantity)))
            .text(&self.currency)
            .bigint(self.unit_price)
            .bigint(self.discount)
            .bigint(self.amount)
            .text_or_null(self.promotion.as_deref())
            .json(&self.metadata)
            .text_or_null(self.card.as_deref())
            .text_or_null(self.authorization.as_deref())
            .text_or_null(self.capture.as_deref())
            .lsn(self.captured_lsn)
            .instant(self.captured_at)
            .text(&self.receipt)
            .bytes(&self.integrity_hash)
            .text(&self.receipt_key)
            .bytes(&self.hmac)
            .text_or_null(self.signing_key.as_deref())
            .bytes_or_null(self.signature.as_ref().map(<[u8; 64]>::as_slice))
            .integer_or_null(Some(integer(self.refunds)))
            .bigint(self.refunded)
            .bigint(self.dispute.map_or(0, |it| it.charged_back))
            .text_or_null(self.dispute.map(|it| it.word))
            .lsn_or_null(self.dispute.map(|it| it.lsn))
            .lsn(self.updated);
    }
}

/// A row of `promotion_uses`.
#[derive(Clone, Debug)]
pub(super) struct PromotionUse {
    pub(super) purchase: String,
    pub(super) code: String,
    pub(super) user: String,
    pub(super) used: Option<(Lsn, UnixMs)>,
    pub(super) given_back: Option<(Lsn, UnixMs)>,
}

impl PromotionUse {
    fn merge(&mut self, later: &Self) {
        self.used = self.used.or(later.used);
        self.given_back = self.given_back.or(later.given_back);
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        Tuple::new(into, USES.columns.len())
            .text(&self.purchase)
            .text(&self.code)
            .text(&self.user)
            .lsn_or_null(self.used.map(|it| it.0))
            .instant_or_null(self.used.map(|it| it.1))
            .lsn_or_null(self.given_back.map(|it| it.0))
            .instant_or_null(self.given_back.map(|it| it.1));
    }
}

/// The effect of an event on a row of `risk_profiles`.
#[derive(Clone, Debug)]
pub(super) struct Risk {
    pub(super) user: String,
    pub(super) declines: i64,
    pub(super) blocks: i64,
    pub(super) disputes: i64,
    pub(super) chargebacks: i64,
    pub(super) updated: Lsn,
}

impl Risk {
    pub(super) fn none(user: &str, updated: Lsn) -> Self {
        Self {
            user: user.to_owned(),
            declines: 0,
            blocks: 0,
            disputes: 0,
            chargebacks: 0,
            updated,
        }
    }

    fn merge(&mut self, later: &Self) {
        self.declines += later.declines;
        self.blocks += later.blocks;
        self.disputes += later.disputes;
        self.chargebacks += later.chargebacks;
        self.updated = self.updated.max(later.updated);
    }

    fn write(&self, into: &mut Vec<u8>) {
        Tuple::new(into, RISK.columns.len())
            .text(&self.user)
            .bigint(self.declines)
            .bigint(self.blocks)
            .bigint(self.disputes)
            .bigint(self.chargebacks)
            .lsn(self.updated);
    }
}

#[derive(Debug, Default)]
pub(super) struct RowBatch {
    /// Tuples to insert, per table, with their number.
    pub(super) audit: Vec<u8>,
    pub(super) actions: Vec<u8>,
    pub(super) rewards: Vec<u8>,
    pub(super) ledger: Vec<u8>,
    pub(super) new_attempts: Vec<u8>,
    pub(super) new_transactions: Vec<u8>,
    pub(super) new_uses: Vec<u8>,
    /// Tuples to merge into existing rows.
    pub(super) attempts: Vec<u8>,
    pub(super) transactions: Vec<u8>,
    pub(super) uses: Vec<u8>,
    pub(super) risks: Vec<u8>,
    /// Events that set the terms of products or promotions.
    pub(super) terms: Vec<i64>,
}

impl RowBatch {
    /// Combines the rows of a batch. Rows with an LSN of at least `from` are new, so they can be
    /// inserted without a look-up; `None`: none is known to be new.
    pub(super) fn of<'r>(rows: impl Iterator<Item = &'r Rows>, from: Option<Lsn>) -> Self {
        let mut written = Self::default();
        let mut attempts: BTreeMap<Lsn, AttemptRow> = BTreeMap::new();
        let mut transactions: BTreeMap<&str, Transaction> = BTreeMap::new();
        let mut uses: BTreeMap<&str, PromotionUse> = BTreeMap::new();
        let mut risks: BTreeMap<&str, Risk> = BTreeMap::new();
        for row in rows {
            written.audit.extend_from_slice(&row.audit);
            written.actions.extend_from_slice(&row.action);
            written.rewards.extend_from_slice(&row.reward);
            written.ledger.extend_from_slice(&row.ledger);
            written.terms.extend(row.terms.map(bigint));
            if let Some(it) = &row.attempt {
                match attempts.get_mut(&it.lsn) {
                    Some(there) => there.merge((**it).clone()),
                    None => drop(attempts.insert(it.lsn, (**it).clone())),
                }
            }
            if let Some(it) = &row.transaction {
                match transactions.get_mut(it.purchase.as_str()) {
                    Some(there) => there.merge(it),
                    None => drop(transactions.insert(&it.purchase, (**it).clone())),
                }
            }
            if let Some(it) = &row.promotion {
                match uses.get_mut(it.purchase.as_str()) {
                    Some(there) => there.merge(it),
                    None => drop(uses.insert(&it.purchase, it.clone())),
                }
            }
            if let Some(it) = &row.risk {
                match risks.get_mut(it.user.as_str()) {
                    Some(there) => there.merge(it),
                    None => drop(risks.insert(&it.user, it.clone())),
                }
            }
        }
        let is_new = |lsn: Lsn| from.is_some_and(|from| lsn >= from);
        for it in attempts.values() {
            it.write(if is_new(it.lsn) {
                &mut written.new_attempts
            } else {
                &mut written.attempts
            });
        }
        for it in transactions.values() {
            it.write(if is_new(it.captured_lsn) {
                &mut written.new_transactions
            } else {
                &mut written.transactions
            });
        }
        for it in uses.values() {
            it.write(if it.used.is_some_and(|it| is_new(it.0)) {
                &mut written.new_uses
            } else {
                &mut written.uses
            });
        }
        for it in risks.values() {
            it.write(&mut written.risks);
        }
        written
    }
}

fn integer(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// One side of a ledger entry.
pub(super) struct LedgerRow<'e> {
    pub(super) account: &'static str,
    pub(super) currency: &'e str,
    pub(super) amount: i64,
}

/// The common columns of all ledger entries of one event.
pub(super) struct Booking<'e> {
    pub(super) lsn: Lsn,
    pub(super) at: UnixMs,
    pub(super) purchase: Option<&'e str>,
    pub(super) user: &'e str,
}

impl Booking<'_> {
    /// Writes the entries, which sum to zero in each currency; entries of 0 are left out.
    pub(super) fn write(&self, entries: &[LedgerRow<'_>], into: &mut Vec<u8>) {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        let mut number = 0;
        for entry in entries.iter().filter(|it| it.amount != 0) {
            *sums.entry(entry.currency).or_default() += entry.amount;
            number += 1;
            Tuple::new(into, LEDGER.columns.len())
                .bigint(bigint(self.lsn))
                .smallint(number)
                .instant(self.at)
                .text_or_null(self.purchase)
                .text(self.user)
                .text(entry.account)
                .text(entry.currency)
                .bigint(entry.amount);
        }
        assert!(
            sums.values().all(|sum| *sum == 0),
            "the entries of the event at {} do not sum to zero",
            self.lsn
        );
    }
}
