//! Owns what the operator may set about payments: every wait and every bound of the driver.
//!
//! Deliberately absent: which gateway, its address and its keys (`config`).

use crate::engine::command::Verdict;
use crate::payments::breaker::BreakerSettings;
use crate::payments::scheme::SchemeRules;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest wait before what the gateway refused to give back is tried again.
pub const REFUSED_WAIT_MAX_MS: u64 = 3_600_000;

/// How payments are driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentSettings {
    /// How long one call to the gateway may take, in milliseconds; at least 1. What has not
    /// answered by then is unknown.
    pub attempt_timeout_ms: u64,
    /// How often a call that went wrong is followed by another before the payment is left for
    /// later, or, where the gateway has nothing of it, given up.
    pub retries_max: u32,
    /// The longest that the first wait between two attempts can be, in milliseconds; at least 1.
    /// Each next one can be twice as long; how long it is, is drawn at random (full jitter).
    pub backoff_first_ms: u64,
    /// The longest wait between two attempts, in milliseconds; at least `backoff_first_ms`.
    pub backoff_max_ms: u64,
    /// How long a caller waits before it gets 202, in
    /// milliseconds; a call to the gateway that has begun by then is still waited for.
    pub unknown_after_ms: u64,
    /// Payments driven at once; more wait for their turn. At least 1.
    pub in_flight_max: usize,
    /// Payments among these that were left open and are tried again. At least 1.
    pub resume_parallel_max: usize,
    /// How long after its start a payment may still be authorized, in milliseconds; at least 1.
    /// Later than that nothing new is set aside for a buyer who no longer reckons with it.
    pub give_up_after_ms: u64,
    /// How long giving an authorization back may take before the operator is called, in
    /// milliseconds; at least 1.
    pub void_deadline_ms: u64,
    /// How often all open payments are looked over, in milliseconds; at least 1.
    pub sweep_every_ms: u64,
    /// How long a payment may stay in a transient state with no task driving it, in
    /// milliseconds, before the sweeper takes it up.
    pub pending_after_ms: u64,
    /// When nothing is sent to the gateway for a while.
    pub breaker: BreakerSettings,
    /// What the card networks say about trying a declined card again.
    pub scheme: SchemeRules,
    /// Deadlines of reviews, and the decision at the deadline.
    pub review: ReviewSettings,
}

/// Deadlines of reviews, and the decision at the deadline.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ReviewSettings {
    /// How long a person has, in milliseconds; at least 1.
    pub deadline_ms: u64,
    /// How long before the authorization lapses the review ends at the latest, in milliseconds.
    pub capture_margin_ms: u64,
    /// How it is decided then.
    pub on_deadline: Verdict,
}

impl Default for ReviewSettings {
    fn default() -> Self {
        Self {
            deadline_ms: 86_400_000,
            capture_margin_ms: 3_600_000,
            on_deadline: Verdict::Reject,
        }
    }
}

impl Default for PaymentSettings {
    fn default() -> Self {
        Self {
            attempt_timeout_ms: 8_000,
            retries_max: 4,
            backoff_first_ms: 100,
            backoff_max_ms: 30_000,
            unknown_after_ms: 10_000,
            in_flight_max: 10_000,
            resume_parallel_max: 64,
            give_up_after_ms: 900_000,
            void_deadline_ms: 86_400_000,
            sweep_every_ms: 10_000,
            pending_after_ms: 60_000,
            breaker: BreakerSettings {
                failures: 20,
                open_ms: 5_000,
            },
            scheme: SchemeRules::default(),
            review: ReviewSettings::default(),
        }
    }
}

/// Which setting cannot be.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It must be at least 1.
    #[error("payments.{0} must be at least 1")]
    Zero(&'static str),
    /// The longest wait is shorter than the first.
    #[error("payments.backoff_max_ms must be at least payments.backoff_first_ms")]
    BackoffOrder,
}

impl PaymentSettings {
    /// Whether the driver can run with these.
    pub fn check(&self) -> Result<(), SettingsError> {
        let at_least_one = [
            ("attempt_timeout_ms", self.attempt_timeout_ms == 0),
            ("backoff_first_ms", self.backoff_first_ms == 0),
            ("in_flight_max", self.in_flight_max == 0),
            ("resume_parallel_max", self.resume_parallel_max == 0),
            ("give_up_after_s", self.give_up_after_ms == 0),
            ("void_deadline_s", self.void_deadline_ms == 0),
            ("review_deadline_s", self.review.deadline_ms == 0),
            ("sweep_every_ms", self.sweep_every_ms == 0),
            ("circuit_open_ms", self.breaker.open_ms == 0),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, zero)| *zero) {
            return Err(SettingsError::Zero(name));
        }
        if self.backoff_max_ms < self.backoff_first_ms {
            return Err(SettingsError::BackoffOrder);
        }
        Ok(())
    }

    /// How long one call may take.
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms)
    }

    /// How long a caller is kept waiting.
    pub fn unknown_after(&self) -> Duration {
        Duration::from_millis(self.unknown_after_ms)
    }

    /// The wait before what the gateway refused to give back is tried again, after so many rounds:
    /// doubling from `pending_after_ms` up to [`REFUSED_WAIT_MAX_MS`].
    pub fn refused_backoff(&self, rounds: u32) -> Duration {
        let doubled = 1_u64.checked_shl(rounds).unwrap_or(u64::MAX);
        let wait = self.pending_after_ms.max(1_000).saturating_mul(doubled);
        Duration::from_millis(wait.min(REFUSED_WAIT_MAX_MS))
    }

    /// The wait after the `failed`-th failure (from 1): drawn at random between nothing and a bound
    /// that doubles each time up to the longest, so that those who failed together do not come back
    /// together.
    pub fn backoff(&self, failed: u32) -> Duration {
        let doubled = self
            .backoff_first_ms
            .saturating_mul(
                1_u64
                    .checked_shl(failed.saturating_sub(1))
                    .unwrap_or(u64::MAX),
            )
            .min(self.backoff_max_ms);
        // A new hasher of the standard library is seeded at random.
        let random = RandomState::new().hash_one(failed);
        Duration::from_millis(random % (doubled + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_bounds() {
        let settings = PaymentSettings::default();
        for (failed, longest) in [
            (0, 100),
            (1, 100),
            (2, 200),
            (3, 400),
            (9, 25_600),
            (64, 30_000),
        ] {
            let longest = Duration::from_millis(longest);
            let waits: Vec<_> = (0..200).map(|_| settings.backoff(failed)).collect();
            assert!(waits.iter().all(|wait| *wait <= longest), "{failed}");
            // Full jitter: of 200 draws some fall into the lower and some into the upper half.
            assert!(waits.iter().any(|wait| *wait < longest / 2), "{failed}");
            assert!(waits.iter().any(|wait| *wait > longest / 2), "{failed}");
        }
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let good = PaymentSettings::default();
        assert_eq!(good.check(), Ok(()));
        let zero = PaymentSettings {
            in_flight_max: 0,
            ..good.clone()
        };
        assert_eq!(zero.check(), Err(SettingsError::Zero("in_flight_max")));
        let order = PaymentSettings {
            backoff_max_ms: 99,
            ..good
        };
        assert_eq!(order.check(), Err(SettingsError::BackoffOrder));
    }
}
