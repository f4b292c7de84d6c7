//! Owns the features of an attempt: a fixed list of numbers from which a model scores it.
//!
//! Invariants: 1. the list has a version; within one version no feature is added, removed or
//! redefined; 2. an unknown feature is absent, not zero. Counts stop at [`COUNT_MAX`], so they are
//! exact with what is stored of each counter.
//! Deliberately absent: computing them (`risk::attempt`), and what follows from them
//! (`risk::model`, `risk::program`).

use crate::engine::words::counter::{
    By, COUNTERS, Counted, Counter, DEPTH_ALWAYS, Depths, depths_always,
};
use rkyv::{Archive, Deserialize, Serialize};

/// The version of the list.
pub const FEATURES_VERSION: u16 = 1;
/// How many features there are.
pub const FEATURES: usize = 20;
/// Counts stop here: this many, or more.
pub const COUNT_MAX: u32 = DEPTH_ALWAYS as u32;

const MINUTE_MS: u64 = 60_000;
pub(in crate::engine) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(in crate::engine) const DAY_MS: u64 = 24 * HOUR_MS;

/// The longest window of a feature; some features use the buyer's whole history.
pub const WINDOW_MS_MAX: u64 = DAY_MS;

/// One feature.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Feature {
    /// The amount in minor units, before any discount.
    Amount = 0,
    /// Units.
    Quantity = 1,
    /// The hour of the day, UTC.
    HourUtc = 2,
    /// The age of the buyer's account, as set by the operator.
    AccountAgeS = 3,
    /// How long ago the buyer was first seen here.
    KnownForS = 4,
    /// The buyer's captured payments.
    PurchasesBefore = 5,
    /// Disputes that the buyer's cardholders won.
    ChargebacksBefore = 6,
    /// Attempts of the buyer in ten minutes.
    AttemptsUser10m = 7,
    /// In an hour.
    AttemptsUser1h = 8,
    /// In a day.
    AttemptsUser24h = 9,
    /// Attempts with the card in a day.
    AttemptsCard24h = 10,
    /// Attempts from the address in ten minutes.
    AttemptsIp10m = 11,
    /// In an hour.
    AttemptsIp1h = 12,
    /// Attempts from the device in a day.
    AttemptsDevice24h = 13,
    /// The buyer's payments that an issuer declined in a day.
    DeclinesUser24h = 14,
    /// The card's.
    DeclinesCard24h = 15,
    /// Different cards of the buyer in a day.
    CardsUser24h = 16,
    /// Different buyers with the card in a day.
    UsersCard24h = 17,
    /// Different buyers on the device in a day.
    UsersDevice24h = 18,
    /// Different buyers at the address in an hour.
    UsersIp1h = 19,
}

impl Feature {
    /// All, in order.
    pub const ALL: [Self; FEATURES] = [
        Self::Amount,
        Self::Quantity,
        Self::HourUtc,
        Self::AccountAgeS,
        Self::KnownForS,
        Self::PurchasesBefore,
        Self::ChargebacksBefore,
        Self::AttemptsUser10m,
        Self::AttemptsUser1h,
        Self::AttemptsUser24h,
        Self::AttemptsCard24h,
        Self::AttemptsIp10m,
        Self::AttemptsIp1h,
        Self::AttemptsDevice24h,
        Self::DeclinesUser24h,
        Self::DeclinesCard24h,
        Self::CardsUser24h,
        Self::UsersCard24h,
        Self::UsersDevice24h,
        Self::UsersIp1h,
    ];

    /// Its name, in events and in models.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Quantity => "quantity",
            Self::HourUtc => "hour_utc",
            Self::AccountAgeS => "account_age_s",
            Self::KnownForS => "known_for_s",
            Self::PurchasesBefore => "purchases_before",
            Self::ChargebacksBefore => "chargebacks_before",
            Self::AttemptsUser10m => "attempts_user_10m",
            Self::AttemptsUser1h => "attempts_user_1h",
            Self::AttemptsUser24h => "attempts_user_24h",
            Self::AttemptsCard24h => "attempts_card_24h",
            Self::AttemptsIp10m => "attempts_ip_10m",
            Self::AttemptsIp1h => "attempts_ip_1h",
            Self::AttemptsDevice24h => "attempts_device_24h",
            Self::DeclinesUser24h => "declines_user_24h",
            Self::DeclinesCard24h => "declines_card_24h",
            Self::CardsUser24h => "cards_user_24h",
            Self::UsersCard24h => "users_card_24h",
            Self::UsersDevice24h => "users_device_24h",
            Self::UsersIp1h => "users_ip_1h",
        }
    }

    /// The feature with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// The counter and window of this feature; `None` if it does not come from a counter.
    pub fn counter(self) -> Option<(Counter, u64)> {
        let (counted, by, window_ms) = match self {
            Self::Amount
            | Self::Quantity
            | Self::HourUtc
            | Self::AccountAgeS
            | Self::KnownForS
            | Self::PurchasesBefore
            | Self::ChargebacksBefore => return None,
            Self::AttemptsUser10m => (Counted::Attempt, By::User, 10 * MINUTE_MS),
            Self::AttemptsUser1h => (Counted::Attempt, By::User, HOUR_MS),
            Self::AttemptsUser24h => (Counted::Attempt, By::User, DAY_MS),
            Self::AttemptsCard24h => (Counted::Attempt, By::Card, DAY_MS),
            Self::AttemptsIp10m => (Counted::Attempt, By::Ip, 10 * MINUTE_MS),
            Self::AttemptsIp1h => (Counted::Attempt, By::Ip, HOUR_MS),
            Self::AttemptsDevice24h => (Counted::Attempt, By::Device, DAY_MS),
            Self::DeclinesUser24h => (Counted::Declined, By::User, DAY_MS),
            Self::DeclinesCard24h => (Counted::Declined, By::Card, DAY_MS),
            Self::CardsUser24h => (Counted::Card, By::User, DAY_MS),
            Self::UsersCard24h => (Counted::User, By::Card, DAY_MS),
            Self::UsersDevice24h => (Counted::User, By::Device, DAY_MS),
            Self::UsersIp1h => (Counted::User, By::Ip, HOUR_MS),
        };
        Some((Counter::new(counted, by)?, window_ms))
    }
}

/// The features of one attempt.
#[derive(Copy, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Features {
    /// By the feature's place; [`UNKNOWN`] where it is not known.
    values: [u32; FEATURES],
}

const UNKNOWN: u32 = u32::MAX;

impl Default for Features {
    fn default() -> Self {
        Self::unknown()
    }
}

impl Features {
    /// Nothing is known.
    pub const fn unknown() -> Self {
        Self {
            values: [UNKNOWN; FEATURES],
        }
    }

    /// A feature; `None` where it is not known.
    pub fn get(&self, feature: Feature) -> Option<u32> {
        let value = self.values[feature as usize];
        (value != UNKNOWN).then_some(value)
    }

    /// The same with another value of one feature. A value that is too large becomes the largest
    /// one.
    #[must_use]
    pub fn with(mut self, feature: Feature, value: Option<u64>) -> Self {
        let most = UNKNOWN - 1;
        let kept = |value| u32::try_from(value).unwrap_or(most).min(most);
        self.values[feature as usize] = value.map_or(UNKNOWN, kept);
        self
    }

    /// Every feature with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Feature, Option<u32>)> + '_ {
        Feature::ALL.into_iter().map(|it| (it, self.get(it)))
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.iter().filter_map(|(it, value)| Some((it, value?)));
        out.debug_map()
            .entries(known.map(|(it, value)| (it.as_str(), value)))
            .finish()
    }
}

/// How deep each counter must be stored for the features.
pub fn depths_for_features() -> Depths {
    let mut depths = depths_always();
    debug_assert_eq!(depths.len(), COUNTERS);
    for (counter, _) in Feature::ALL.into_iter().filter_map(Feature::counter) {
        let depth = &mut depths[counter.index()];
        *depth = DEPTH_ALWAYS.max(*depth);
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_lead_back_to_their_features() {
        for (place, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, place);
            assert_eq!(Feature::parse(feature.as_str()), Some(feature));
        }
        assert_eq!(Feature::parse("amounts"), None);
    }

    #[test]
    fn what_is_not_known_is_not_zero_and_what_is_too_large_is_the_largest() {
        let none = Features::unknown();
        assert_eq!(none.get(Feature::Amount), None);
        let table = [
            (Some(0), Some(0)),
            (Some(u64::from(u32::MAX) - 1), Some(u32::MAX - 1)),
            (Some(u64::from(u32::MAX)), Some(u32::MAX - 1)),
            (Some(u64::MAX), Some(u32::MAX - 1)),
            (None, None),
        ];
        for (given, kept) in table {
            let taken = none.with(Feature::Amount, given);
            assert_eq!(taken.get(Feature::Amount), kept, "{given:?}");
            assert_eq!(taken.get(Feature::Quantity), None);
        }
    }

    #[test]
    fn counters_are_kept_as_deep_as_counts_go_and_no_deeper() {
        let depths = depths_for_features();
        for counter in Counter::all() {
            let mut asked = Feature::ALL.into_iter().filter_map(Feature::counter);
            let asked = asked.any(|(it, _)| it == counter);
            let depth = depths[counter.index()];
            if asked {
                assert_eq!(u32::from(depth), COUNT_MAX, "{counter}");
            } else {
                assert_eq!(depth, counter.depth_always(), "{counter}");
            }
        }
    }
}
