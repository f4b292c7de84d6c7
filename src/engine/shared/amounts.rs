//! Owns how much was bought with each card and from each device, whoever bought it: sums that
//! buyers share, where the operator wants one person's accounts counted together.
//!
//! Invariants:
//! 1. A claim never takes a sum past its limit; it is taken before its event is appended, gives
//!    itself back on drop unless the event was, and what counts no more is given back only after
//!    the event that says so stands in the log. A crash can only find too much claimed.
//! 2. Every sum follows from the purchases: [`SharedAmounts::restore`] makes them again.
//! 3. One function says which sums a payment counts in ([`SharedAmounts::sums_of`]): live and at
//!    recovery.
//! 4. The table is bounded: a card or device that is new where it is full is refused
//!    ([`Refusal::Overloaded`]); sums of nothing and of days gone by make room.
//!
//! Deliberately absent: when a day begins (callers say), and each buyer's own sums (`spending`).

use super::sums::{AmountClaim, Key, LimitCheck, Table, Whose, days_from, minor, narrow};
use crate::engine::state::spending::{CountedPurchase, SharedCount};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::engine::words::settings::{AmountLimits, SharedBy};
use crate::ids::{CardToken, DeviceId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use dashmap::DashMap;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Sums of what was bought, by card and device, shared by all shards.
#[derive(Debug)]
pub struct SharedAmounts {
    table: Arc<Table>,
    by: Vec<SharedBy>,
    limits: AmountLimits,
}

/// Amounts claimed from shared sums. They are given back when dropped.
#[derive(Debug, Default)]
#[must_use = "a claim that is dropped gives its amount back at once"]
pub struct AmountClaims(SmallVec<[AmountClaim; 2]>);

/// The payer, and the amount.
#[derive(Copy, Clone, Debug)]
pub struct Payer<'a> {
    pub card: &'a CardToken,
    /// The device, where the shop says it.
    pub device: Option<&'a DeviceId>,
    pub currency: Currency,
    pub amount: Amount,
}

impl SharedAmounts {
    /// Empty sums of up to `keys_max` cards, devices and days.
    pub fn new(limits: &AmountLimits, keys_max: usize) -> Self {
        Self {
            table: Arc::new(Table {
                sums: DashMap::new(),
                kept: AtomicUsize::new(0),
                keys_max,
                days_from_ms: AtomicU64::new(0),
            }),
            by: limits.shared.clone(),
            limits: limits.clone(),
        }
    }

    /// Claims what `payer` pays, on the day that began at `day_start`.
    pub fn claim(&self, payer: Payer<'_>, day_start: UnixMs) -> Result<AmountClaims, Rejection> {
        let mut claims = AmountClaims::default();
        if payer.amount == Amount::ZERO {
            return Ok(claims);
        }
        for whose in self.whose(payer.card, payer.device) {
            for (day, limit, refusal) in self.bounds(payer.currency, day_start) {
                let key = Key {
                    whose: whose.clone(),
                    currency: payer.currency,
                    day,
                };
                match self.table.claim(key, minor(payer.amount), minor(limit))? {
                    LimitCheck::Yes(claim) => claims.0.push(claim),
                    LimitCheck::NoRoom { used } => {
                        return Err(refusal.about(RefusalFacts::Spending {
                            scope: whose.scope(),
                            currency: payer.currency,
                            limit,
                            used: narrow(used),
                            amount: payer.amount,
                        }));
                    }
                }
            }
        }
        Ok(claims)
    }

    /// Gives back what no longer counts. `day_start` returns when the day of an instant began.
    pub fn give_back(&self, count: &SharedCount, day_start: impl Fn(UnixMs) -> UnixMs) {
        if self.by.is_empty() {
            return;
        }
        for key in self.sums_of(count, day_start) {
            self.table.give_back(&key, minor(count.counted.amount));
        }
    }

    /// Counts what was never claimed, whatever the limits say: the money is captured.
    pub fn count_more(&self, count: &SharedCount, day_start: impl Fn(UnixMs) -> UnixMs) {
        for key in self.sums_of(count, day_start) {
            self.table.count(&key, minor(count.counted.amount));
        }
    }

    /// Counts what the recovered state contains, as of `now`. The table's bound does not apply,
    /// because the purchases are bounded.
    pub fn restore(
        &self,
        counts: impl Iterator<Item = SharedCount>,
        now: UnixMs,
        day_start: impl Fn(UnixMs) -> UnixMs,
    ) {
        let days_from = days_from(now).get();
        self.table.days_from_ms.store(days_from, Ordering::Release);
        for count in counts.filter(|it| it.counted.amount > Amount::ZERO) {
            for key in self.sums_of(&count, &day_start) {
                self.table.count(&key, minor(count.counted.amount));
            }
        }
    }

    /// Counts again after a correction of the clock, because days begin at other instants now.
    /// Requires that no claim exists, so the caller holds every shard's turn.
    pub fn restart(
        &self,
        counts: impl Iterator<Item = SharedCount>,
        now: UnixMs,
        day_start: impl Fn(UnixMs) -> UnixMs,
    ) {
        self.table.clear();
        if !self.by.is_empty() {
            self.restore(counts, now, day_start);
        }
    }

    /// Forgets the sums of days that began long before `now`.
    pub fn forget_days(&self, now: UnixMs) {
        self.table.forget_days(now);
    }

    /// Number of sums.
    pub fn keys(&self) -> usize {
        self.table.kept.load(Ordering::Relaxed)
    }

    fn whose<'a>(
        &'a self,
        card: &'a CardToken,
        device: Option<&'a DeviceId>,
    ) -> impl Iterator<Item = Whose> + 'a {
        self.by.iter().filter_map(move |by| match by {
            SharedBy::Card => Some(Whose::Card(card.clone())),
            SharedBy::Device => device.cloned().map(Whose::Device),
        })
    }

    /// The sums that `count` counts in: the one of its day, unless that is forgotten, and the one
    /// of all days.
    fn sums_of<'a>(
        &'a self,
        count: &'a SharedCount,
        day_start: impl Fn(UnixMs) -> UnixMs,
    ) -> impl Iterator<Item = Key> {
        let CountedPurchase { at, currency, .. } = count.counted;
        // A day begins before what happens on it, so an old payment needs no look at the calendar.
        let kept = Some(at).filter(|at| self.table.keeps(*at)).map(day_start);
        let day = kept.filter(|day| self.table.keeps(*day));
        let of_day = day.filter(|_| self.limits.daily_in(currency).is_some());
        let of_all = self.limits.lifetime_in(currency).map(|_| None);
        let days = of_day.map(Some).into_iter().chain(of_all);
        let whose = self.whose(&count.card, count.device.as_ref());
        whose.flat_map(move |whose| {
            days.clone().map(move |day| Key {
                whose: whose.clone(),
                currency,
                day,
            })
        })
    }

    /// The limits in `currency`, each with its day and the refusal at the limit.
    fn bounds(
        &self,
        currency: Currency,
        day_start: UnixMs,
    ) -> impl Iterator<Item = (Option<UnixMs>, Amount, Refusal)> + use<> {
        let daily = self.limits.daily_in(currency);
        let daily = daily.map(|limit| (Some(day_start), limit, Refusal::DailyLimit));
        let lifetime = self.limits.lifetime_in(currency);
        let lifetime = lifetime.map(|limit| (None, limit, Refusal::LifetimeLimit));
        daily.into_iter().chain(lifetime)
    }
}

impl AmountClaims {
    /// The event that owns these amounts is in the log.
    pub fn keep(self) {
        for mut claim in self.0 {
            std::mem::take(&mut claim.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::spending::DAYS_KEPT_MS;
    use crate::engine::words::rejection::SpendingScope;

    fn usd() -> Currency {
        Currency::parse("USD").expect("a currency")
    }

    fn limits(daily: i64, lifetime: i64) -> AmountLimits {
        let limit = |sum| vec![(usd(), Amount::new(sum).expect("an amount"))];
        AmountLimits {
            daily: limit(daily),
            lifetime: limit(lifetime),
            shared: vec![SharedBy::Card, SharedBy::Device],
        }
    }

    fn payer<'a>(card: &'a CardToken, device: Option<&'a DeviceId>, amount: i64) -> Payer<'a> {
        Payer {
            card,
            device,
            currency: usd(),
            amount: Amount::new(amount).expect("an amount"),
        }
    }

    const DAY: UnixMs = UnixMs::new(86_400_000 * 20_000);

    #[test]
    fn claims_stop_at_each_limit_and_give_back_where_they_are_not_kept() {
        let (card, other) = (
            CardToken::parse("tok_1").unwrap(),
            CardToken::parse("tok_2").unwrap(),
        );
        let device = DeviceId::parse("d1").unwrap();
        let sums = SharedAmounts::new(&limits(100, 150), 100);
        sums.claim(payer(&card, Some(&device), 60), DAY)
            .unwrap()
            .keep();
        // By the card, and by the device with another card.
        let refused = |payer, day| sums.claim(payer, day).err().map(|it| it.reason);
        assert_eq!(
            refused(payer(&card, None, 41), DAY),
            Some(Refusal::DailyLimit)
        );
        let same_device = payer(&other, Some(&device), 41);
        let rejection = sums.claim(same_device, DAY).unwrap_err();
        assert_eq!(
            rejection,
            Refusal::DailyLimit.about(RefusalFacts::Spending {
                scope: SpendingScope::Device,
                currency: same_device.currency,
                limit: Amount::new(100).unwrap(),
                used: Amount::new(60).unwrap(),
                amount: Amount::new(41).unwrap(),
            })
        );
        // What the refused one had claimed by its card is back.
        sums.claim(payer(&other, None, 100), DAY).unwrap().keep();
        let tomorrow = DAY.plus_ms(86_400_000);
        drop(sums.claim(payer(&card, None, 90), tomorrow).unwrap());
        let over = payer(&card, None, 91);
        assert_eq!(refused(over, tomorrow), Some(Refusal::LifetimeLimit));
        sums.claim(payer(&card, None, 90), tomorrow).unwrap().keep();
        assert_eq!(
            refused(payer(&card, None, 1), tomorrow),
            Some(Refusal::LifetimeLimit)
        );
    }

    #[test]
    fn a_day_is_counted_again_whole_or_not_at_all() {
        let card = CardToken::parse("tok_1").unwrap();
        let count = |at: UnixMs, sum| SharedCount {
            card: card.clone(),
            device: None,
            counted: CountedPurchase {
                at,
                currency: usd(),
                amount: Amount::new(sum).expect("an amount"),
            },
        };
        // Two purchases of one day, between which the time that days are kept runs out.
        let (early, late) = (count(DAY, 70), count(DAY.plus_ms(7_200_000), 20));
        for after_ms in [0, 1, 3_600_000, 7_200_001, 86_400_000] {
            let now = DAY.plus_ms(DAYS_KEPT_MS + after_ms);
            let sums = SharedAmounts::new(&limits(100, 150), 100);
            let both = [early.clone(), late.clone()].into_iter();
            sums.restore(both, now, |_| DAY);
            let days = usize::from(after_ms == 0);
            assert_eq!(sums.keys(), 1 + days, "{after_ms} ms later");
            sums.give_back(&early, |_| DAY);
            sums.give_back(&late, |_| DAY);
            assert_eq!(sums.keys(), 0, "{after_ms} ms later");
        }
    }

    #[test]
    fn a_sum_beyond_the_largest_amount_is_over_every_limit_and_gives_nothing_back() {
        let card = CardToken::parse("tok_1").unwrap();
        let count = |sum| SharedCount {
            card: card.clone(),
            device: None,
            counted: CountedPurchase {
                at: DAY,
                currency: usd(),
                amount: Amount::new(sum).expect("an amount"),
            },
        };
        let sums = SharedAmounts::new(&limits(i64::MAX, i64::MAX), 100);
        sums.restore([count(i64::MAX - 5)].into_iter(), DAY, |_| DAY);
        // A claim is refused with the figures, and what is counted without one is counted to the end.
        let refused = sums.claim(payer(&card, None, 5), DAY).unwrap_err();
        assert_eq!(refused.reason, Refusal::DailyLimit);
        for _ in 0..3 {
            sums.count_more(&count(i64::MAX), |_| DAY);
        }
        for _ in 0..4 {
            sums.give_back(&count(i64::MAX), |_| DAY);
        }
        let refused = sums.claim(payer(&card, None, 1), DAY).unwrap_err();
        let Some(RefusalFacts::Spending { used, .. }) = refused.facts else {
            panic!("{refused:?}");
        };
        assert_eq!(used.get(), i64::MAX);
    }

    #[test]
    fn a_forgotten_day_gets_no_sum_again() {
        let card = CardToken::parse("tok_1").unwrap();
        let count = |sum| SharedCount {
            card: card.clone(),
            device: None,
            counted: CountedPurchase {
                at: DAY,
                currency: usd(),
                amount: Amount::new(sum).expect("an amount"),
            },
        };
        let sums = SharedAmounts::new(&limits(100, 150), 100);
        sums.claim(payer(&card, None, 70), DAY).unwrap().keep();
        sums.give_back(&count(20), |_| DAY);
        sums.forget_days(DAY.plus_ms(DAYS_KEPT_MS));
        assert_eq!(sums.keys(), 2);
        sums.forget_days(DAY.plus_ms(DAYS_KEPT_MS + 1));
        assert_eq!(sums.keys(), 1);
        sums.count_more(&count(20), |_| DAY);
        assert_eq!(sums.keys(), 1);
        sums.give_back(&count(70), |_| DAY);
        assert_eq!(sums.keys(), 0);
    }

    #[test]
    fn a_full_table_refuses_new_keys_and_empty_sums_make_room() {
        let card = |number: u32| CardToken::parse(&format!("tok_{number}")).unwrap();
        let sums = SharedAmounts::new(&limits(100, 150), 4);
        let (one, two, three) = (card(1), card(2), card(3));
        let held = sums.claim(payer(&one, None, 1), DAY).unwrap();
        sums.claim(payer(&two, None, 1), DAY).unwrap().keep();
        assert_eq!(sums.keys(), 4);
        let full = sums.claim(payer(&three, None, 1), DAY).err();
        assert_eq!(full.map(|it| it.reason), Some(Refusal::Overloaded));
        sums.claim(payer(&two, None, 1), DAY).unwrap().keep();
        drop(held);
        assert_eq!(sums.keys(), 2);
        sums.claim(payer(&three, None, 1), DAY).unwrap().keep();
        sums.forget_days(DAY.plus_ms(DAYS_KEPT_MS));
        assert_eq!(sums.keys(), 4);
        sums.forget_days(DAY.plus_ms(DAYS_KEPT_MS + 1));
        assert_eq!(sums.keys(), 2);
    }

    #[test]
    fn threads_that_claim_and_give_back_never_pass_the_limit() {
        let sums = SharedAmounts::new(&limits(1_000, 1_000), 10);
        let card = CardToken::parse("tok_1").unwrap();
        let kept = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (sums, card, kept) = (&sums, &card, &kept);
                scope.spawn(move || {
                    for round in 0..2_000_u64 {
                        let Ok(claims) = sums.claim(payer(card, None, 7), DAY) else {
                            continue;
                        };
                        if (round + thread).is_multiple_of(16) {
                            claims.keep();
                            kept.fetch_add(7, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let kept = kept.into_inner();
        assert!(kept <= 1_000 && kept > 0, "{kept}");
        let left = i64::try_from(1_000 - kept).unwrap();
        assert!(sums.claim(payer(&card, None, left + 1), DAY).is_err());
        assert!(sums.claim(payer(&card, None, left), DAY).is_ok());
    }
}
