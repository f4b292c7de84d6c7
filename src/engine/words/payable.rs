//! Owns which amounts a gateway can take and give back, as data: one rule for each currency.
//!
//! Invariants: a rule takes at least one amount, and its least and its most are amounts that it
//! takes; nothing to pay is always fine, because no gateway is asked for it. Deliberately absent:
//! which gateway has which rule (`payments`), and I/O of any kind.

use crate::money::{Amount, Currency};

/// The amounts of one currency that can be charged: the multiples of a step between two bounds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AmountRule {
    least: i64,
    most: i64,
    step: i64,
}

/// The amounts next to one that cannot be charged.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The next smaller one.
    pub below: Option<Amount>,
    /// The next larger one.
    pub above: Option<Amount>,
}

impl AmountRule {
    /// Any amount.
    pub const ANY: Self = Self {
        least: 1,
        most: i64::MAX,
        step: 1,
    };

    /// The multiples of `step` from `least` to `most`; `None` where there is none above zero.
    pub const fn new(least: i64, most: i64, step: i64) -> Option<Self> {
        if least < 1 || step < 1 || most < least {
            return None;
        }
        // Unsigned, so that rounding up cannot overflow.
        let (least, step) = (least.cast_unsigned(), step.cast_unsigned());
        let least = least.div_ceil(step) * step;
        let most = most.cast_unsigned() / step * step;
        if least > most {
            return None;
        }
        Some(Self {
            least: least.cast_signed(),
            most: most.cast_signed(),
            step: step.cast_signed(),
        })
    }

    /// The smallest amount that can be charged.
    pub const fn least(self) -> i64 {
        self.least
    }

    /// The largest one.
    pub const fn most(self) -> i64 {
        self.most
    }

    /// What all of them are multiples of.
    pub const fn step(self) -> i64 {
        self.step
    }

    /// Whether `amount` can be charged.
    pub const fn takes(self, amount: Amount) -> bool {
        let amount = amount.get();
        self.least <= amount && amount <= self.most && amount % self.step == 0
    }

    /// Whether `amount` of what was charged can be given back. There is no least: what is left of
    /// a charge may be small.
    pub const fn gives_back(self, amount: Amount) -> bool {
        amount.get() % self.step == 0
    }

    /// The chargeable amounts just below and above `amount`.
    pub fn nearest(self, amount: Amount) -> Nearest {
        let amount = amount.get();
        let below = (amount >= self.least).then(|| (amount / self.step * self.step).min(self.most));
        let above = if amount <= self.least {
            Some(self.least)
        } else {
            let up = amount.checked_add(self.step - 1);
            let up = up.map(|up| up / self.step * self.step);
            up.filter(|up| *up <= self.most)
        };
        let of = |minor_units: Option<i64>| minor_units.and_then(Amount::new);
        Nearest {
            below: of(below),
            above: of(above),
        }
    }

    /// The amount to charge for goods of `whole` with as much of `discount` as possible taken off.
    /// `None` if no discount up to that one leaves a chargeable amount. A discount that leaves
    /// nothing to pay needs no gateway.
    pub fn charged(self, whole: Amount, discount: Amount) -> Option<Amount> {
        let amount = whole.saturating_minus(discount);
        if amount == Amount::ZERO {
            return Some(Amount::ZERO);
        }
        self.nearest(amount).above.filter(|it| *it <= whole)
    }
}

/// One rule for each currency that has one; in any other currency every amount can be charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmountRules(Vec<(Currency, AmountRule)>);

impl AmountRules {
    pub const fn new(rules: Vec<(Currency, AmountRule)>) -> Self {
        Self(rules)
    }

    /// The rule of `currency`.
    pub fn of(&self, currency: Currency) -> AmountRule {
        let mut rules = self.0.iter();
        let found = rules.find(|(known, _)| *known == currency);
        found.map_or(AmountRule::ANY, |(_, rule)| *rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(minor_units: i64) -> Amount {
        Amount::new(minor_units).expect("not negative")
    }

    #[test]
    fn a_rule_begins_and_ends_at_amounts_that_it_takes() {
        let rule = AmountRule::new(5, 99_999_999, 10).unwrap();
        assert_eq!(
            (rule.least(), rule.most(), rule.step()),
            (10, 99_999_990, 10)
        );
        for wrong in [(0, 9, 1), (1, 0, 1), (1, 9, 0), (1, 9, 10), (11, 19, 10)] {
            assert_eq!(
                AmountRule::new(wrong.0, wrong.1, wrong.2),
                None,
                "{wrong:?}"
            );
        }
        let widest = AmountRule::new(i64::MAX - 1, i64::MAX, 1).unwrap();
        assert_eq!(widest.most(), i64::MAX);
        assert_eq!(AmountRule::new(i64::MAX, i64::MAX, 2), None);
    }

    #[test]
    fn an_accepted_amount_has_accepted_neighbours() {
        let rule = AmountRule::new(50, 1_000, 10).unwrap();
        for (given, takes, below, above) in [
            (0, false, None, Some(50)),
            (49, false, None, Some(50)),
            (50, true, Some(50), Some(50)),
            (123, false, Some(120), Some(130)),
            (995, false, Some(990), Some(1_000)),
            (1_000, true, Some(1_000), Some(1_000)),
            (1_001, false, Some(1_000), None),
            (i64::MAX, false, Some(1_000), None),
        ] {
            let found = rule.nearest(amount(given));
            assert_eq!(rule.takes(amount(given)), takes, "{given}");
            let expected = [below, above].map(|it| it.map(amount));
            assert_eq!([found.below, found.above], expected, "{given}");
        }
        assert!(rule.gives_back(amount(10)) && !rule.gives_back(amount(15)));
        assert!(AmountRule::ANY.takes(amount(1)) && AmountRule::ANY.takes(amount(i64::MAX)));
    }

    #[test]
    fn a_discount_is_rounded_down_to_what_can_be_charged() {
        let rule = AmountRule::new(50, 1_000, 10).unwrap();
        for (whole, discount, charged) in [
            (600, 0, Some(600)),
            (600, 60, Some(540)),
            // 61 off would leave 539.
            (600, 61, Some(540)),
            (600, 69, Some(540)),
            (600, 600, Some(0)),
            (600, 599, Some(50)),
            (600, 9, Some(600)),
            (1_200, 0, None),
            (1_200, 200, Some(1_000)),
            (1_200, 199, None),
            (40, 0, None),
            (40, 10, None),
            (40, 40, Some(0)),
        ] {
            let found = rule.charged(amount(whole), amount(discount));
            assert_eq!(found, charged.map(amount), "{whole} less {discount}");
        }
    }
}
