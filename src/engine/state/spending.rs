//! Owns how much a buyer has bought: by currency, in all and by day.
//!
//! Invariants:
//! 1. A payment counts from its start until it is known that nothing was charged, with what was to
//!    be paid less what went back, on the day of its start. Holds count nothing; a lost dispute
//!    gives nothing back.
//! 2. What counts follows from the purchases, so an image has none of it.
//! 3. Sums by day are kept by the quarter of an hour, which is what days begin at in every zone,
//!    and for longer than any day lasts: they are exact for the running day.
//!
//! Deliberately absent: when a day begins (the journal knows zones), and the limits (`decide`).

use crate::engine::state::corrections::Corrections;
use crate::engine::state::purchase::Purchase;
use crate::engine::words::lifecycle::PurchaseState;
use crate::ids::{CardToken, DeviceId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use smallvec::SmallVec;

/// Days of every time zone begin at a multiple of this.
const QUARTER_MS: u64 = 900_000;
/// Sums older than this, seen from the newest, are dropped: more than two long days.
pub const DAYS_KEPT_MS: u64 = 52 * 3_600_000;

/// The part of a purchase that counts.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CountedPurchase {
    /// When its payment started, by today's clock.
    pub at: UnixMs,
    pub currency: Currency,
    pub amount: Amount,
}

impl Purchase {
    /// The part of it that counts; `None` if no payment stands or is in progress.
    pub(in crate::engine) fn counted(&self, corrections: &Corrections) -> Option<CountedPurchase> {
        match self.state {
            PurchaseState::Held
            | PurchaseState::Declined
            | PurchaseState::Expired
            | PurchaseState::Released
            | PurchaseState::Voided => return None,
            PurchaseState::Authorizing
            | PurchaseState::Authorized
            | PurchaseState::UnderReview
            | PurchaseState::Capturing
            | PurchaseState::Captured
            | PurchaseState::Voiding
            | PurchaseState::Stuck
            | PurchaseState::CaptureDiffers
            | PurchaseState::PartiallyRefunded
            | PurchaseState::Refunded
            | PurchaseState::Disputed
            | PurchaseState::ChargedBack => {}
        }
        let quote = self.quote();
        let at = corrections.today(&self.payment_start()?);
        Some(CountedPurchase {
            at,
            currency: quote.currency,
            amount: quote.amount.saturating_minus(self.refunded),
        })
    }
}

/// The sums of a buyer; most buyers have only holds, and none.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Spending(Option<Box<Sums>>);

#[derive(Clone, Debug, Default)]
struct Sums {
    /// By currency; wide, so that no number of purchases overflows it.
    lifetime: SmallVec<[(Currency, u128); 1]>,
    /// By quarter of an hour and currency, in this order.
    quarters: SmallVec<[((u64, Currency), u128); 1]>,
    /// Number of purchases that count.
    purchases: u32,
}

impl Spending {
    /// Replaces what counted of a purchase by what counts now.
    pub(in crate::engine::state) fn change(
        &mut self,
        before: Option<CountedPurchase>,
        after: Option<CountedPurchase>,
    ) {
        if before == after {
            return;
        }
        let sums = self.0.get_or_insert_default();
        if let Some(counted) = after {
            sums.add(counted);
        }
        if let Some(counted) = before {
            sums.take(counted);
        }
    }

    pub(in crate::engine::state) fn add(&mut self, counted: CountedPurchase) {
        self.0.get_or_insert_default().add(counted);
    }

    /// What was bought in `currency` since `day_start`, which must be recent.
    pub(in crate::engine) fn since(&self, day_start: UnixMs, currency: Currency) -> Amount {
        let sums = self.0.as_ref();
        narrow(sums.map_or(0, |it| it.since(day_start, currency)))
    }

    /// What was bought in `currency` in all.
    pub(in crate::engine) fn lifetime(&self, currency: Currency) -> Amount {
        let mut sums = self.0.iter().flat_map(|it| &it.lifetime);
        let sum = sums.find(|(it, _)| *it == currency);
        narrow(sum.map_or(0, |(_, sum)| *sum))
    }

    /// The currencies with any sum.
    pub(in crate::engine) fn currencies(&self) -> impl Iterator<Item = Currency> {
        let sums = self.0.iter().flat_map(|it| &it.lifetime);
        let counting = sums.filter(|(_, sum)| *sum > 0);
        counting.map(|(currency, _)| *currency)
    }

    /// Number of purchases that count.
    pub(in crate::engine) fn purchases(&self) -> u32 {
        self.0.as_ref().map_or(0, |it| it.purchases)
    }
}

impl Sums {
    fn add(&mut self, counted: CountedPurchase) {
        self.purchases += 1;
        let more = wide(counted.amount);
        let CountedPurchase { at, currency, .. } = counted;
        match self.lifetime.iter_mut().find(|(it, _)| *it == currency) {
            Some((_, sum)) => *sum += more,
            None => self.lifetime.push((currency, more)),
        }
        let key = (quarter(at), currency);
        match self.quarters.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => self.quarters[place].1 += more,
            Err(place) => self.quarters.insert(place, (key, more)),
        }
        let newest = self.quarters.last().map_or(0, |((quarter, _), _)| *quarter);
        let oldest = newest.saturating_sub(DAYS_KEPT_MS / QUARTER_MS);
        let gone = self.quarters.partition_point(|((it, _), _)| *it < oldest);
        self.quarters.drain(..gone);
    }

    fn take(&mut self, counted: CountedPurchase) {
        self.purchases -= 1;
        let less = wide(counted.amount);
        let CountedPurchase { at, currency, .. } = counted;
        let sum = self.lifetime.iter_mut().find(|(it, _)| *it == currency);
        sum.expect("what is taken was added in its currency").1 -= less;
        // Too old: it is dropped.
        let key = (quarter(at), currency);
        if let Ok(place) = self.quarters.binary_search_by_key(&key, |(key, _)| *key) {
            self.quarters[place].1 -= less;
        }
    }

    fn since(&self, day_start: UnixMs, currency: Currency) -> u128 {
        let from = quarter(day_start);
        let begin = self.quarters.partition_point(|((it, _), _)| *it < from);
        let of_day = self.quarters[begin..].iter();
        let in_currency = of_day.filter(|((_, it), _)| *it == currency);
        in_currency.map(|(_, sum)| *sum).sum()
    }
}

fn quarter(at: UnixMs) -> u64 {
    at.get() / QUARTER_MS
}

fn wide(amount: Amount) -> u128 {
    u128::from(amount.get().unsigned_abs())
}

/// As an amount; a larger sum becomes the largest amount, which is over every limit.
fn narrow(sum: u128) -> Amount {
    let most = Amount::new(i64::MAX).expect("the largest number is not negative");
    i64::try_from(sum)
        .ok()
        .and_then(Amount::new)
        .unwrap_or(most)
}

/// The part of a payment that counts, with its card and device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCount {
    pub(in crate::engine) card: CardToken,
    pub(in crate::engine) device: Option<DeviceId>,
    pub(in crate::engine) counted: CountedPurchase,
}

impl SharedCount {
    pub(in crate::engine) fn new(purchase: &Purchase, counted: CountedPurchase) -> Option<Self> {
        let particulars = purchase.particulars.as_ref();
        Some(Self {
            card: purchase.payment.as_ref()?.card.clone(),
            device: particulars.and_then(|it| it.device.clone()),
            counted,
        })
    }

    pub(in crate::engine) fn of(purchase: &Purchase, corrections: &Corrections) -> Option<Self> {
        Self::new(purchase, purchase.counted(corrections)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(at_ms: u64, code: &str, amount: i64) -> CountedPurchase {
        CountedPurchase {
            at: UnixMs::new(at_ms),
            currency: Currency::parse(code).expect("a currency"),
            amount: Amount::new(amount).expect("an amount"),
        }
    }

    #[test]
    fn sums_are_by_currency_and_day_and_a_refund_lowers_its_own_day() {
        const DAY: u64 = 86_400_000;
        let usd = Currency::parse("USD").expect("a currency");
        let mut spending = Spending::default();
        spending.add(counted(10 * DAY - 1, "USD", 500));
        spending.add(counted(10 * DAY, "USD", 70));
        spending.add(counted(10 * DAY + 5, "EUR", 9));
        let today = UnixMs::new(10 * DAY);
        let sums = |it: &Spending| (it.since(today, usd).get(), it.lifetime(usd).get());
        assert_eq!(sums(&spending), (70, 570));
        // Yesterday's purchase is refunded in part: today's sum stays.
        let before = Some(counted(10 * DAY - 1, "USD", 500));
        spending.change(before, Some(counted(10 * DAY - 1, "USD", 100)));
        assert_eq!(sums(&spending), (70, 170));
        spending.change(Some(counted(10 * DAY, "USD", 70)), None);
        assert_eq!((sums(&spending), spending.purchases()), ((0, 100), 2));
        // Out of order, as an image has them, and old.
        spending.add(counted(10 * DAY - 7, "USD", 3));
        spending.add(counted(2 * DAY, "USD", 11));
        assert_eq!(sums(&spending), (0, 114));
        spending.change(Some(counted(2 * DAY, "USD", 11)), None);
        assert_eq!(sums(&spending), (0, 103));
        assert!(
            spending
                .0
                .iter()
                .flat_map(|sums| &sums.quarters)
                .all(|((it, _), _)| *it > 3 * DAY / QUARTER_MS)
        );
    }
}
