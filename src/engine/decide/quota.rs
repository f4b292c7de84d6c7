//! Owns the quotas of one buyer: open holds, and idempotency keys within their retention.
//!
//! Invariants: no buyer has more of either than the bound when an attempt begins, so one account
//! cannot use up what the other buyers of its shard need; the reported wait is exact: after it
//! there is room for one more, unless the same buyer took it. A hold that is being paid is not an
//! open one: its payment ends it or returns it. Deliberately absent: what the whole shard may store
//! ([`Shard::room_for`]), and the rate limit.

use crate::engine::event::Flow;
use crate::engine::state::shard::Shard;
use crate::engine::words::rejection::{QuotaScope, RefusalFacts};
use crate::engine::words::settings::{EngineSettings, RateLimit};
use crate::ids::UserId;
use crate::time::UnixMs;

impl Shard {
    /// How long `user` must wait until the quotas allow an attempt, and for which quota; `None`: no
    /// wait.
    pub fn quota_wait_ms(
        &self,
        user: &UserId,
        flow: Flow,
        settings: &EngineSettings,
        at: UnixMs,
    ) -> Option<(u64, RefusalFacts)> {
        let bounds = &settings.bounds;
        let buyer = self.buyer(user)?;
        let dues = buyer.key_dues.iter().copied();
        let keys = free_at(buyer.key_dues.len(), dues, bounds.keys_per_user_max, at);
        let holds = match flow {
            Flow::Hold => {
                let expiries = buyer.held.iter().filter_map(|it| self.at_place(*it));
                let expiries = expiries.map(|it| it.expires_at);
                free_at(
                    buyer.held.len(),
                    expiries,
                    bounds.open_holds_per_user_max,
                    at,
                )
            }
            // A buy that places its own hold opens none, and one for an earlier hold closes it.
            Flow::Buy | Flow::Refund | Flow::Webhook | Flow::Reward => None,
        };
        let limit = |most: usize| u64::try_from(most).unwrap_or(u64::MAX);
        let (free_at, facts) = if keys >= holds {
            let facts = RefusalFacts::Quota {
                scope: QuotaScope::IdempotencyKeys,
                limit: limit(bounds.keys_per_user_max),
                window_s: Some(settings.idempotency_retention_ms.div_ceil(1_000)),
            };
            (keys?, facts)
        } else {
            let facts = RefusalFacts::Quota {
                scope: QuotaScope::OpenHolds,
                limit: limit(bounds.open_holds_per_user_max),
                window_s: None,
            };
            (holds?, facts)
        };
        Some((free_at.since_ms(at).max(1), facts))
    }
}

/// When fewer than `most` of the `known` things that end at `ends` are left; `None` if that is the
/// case at `at`.
fn free_at(
    known: usize,
    ends: impl Iterator<Item = UnixMs>,
    most: usize,
    at: UnixMs,
) -> Option<UnixMs> {
    // Nearly every attempt ends here and allocates nothing.
    if known < most {
        return None;
    }
    let mut left: Vec<UnixMs> = ends.filter(|end| *end > at).collect();
    let over = left.len().checked_sub(most)?;
    Some(*left.select_nth_unstable(over).1)
}

impl Shard {
    /// How long `user` must wait before the next attempt; `None`: no wait.
    pub fn rate_wait_ms(
        &self,
        user: &UserId,
        rate: RateLimit,
        at: UnixMs,
    ) -> Option<(u64, RefusalFacts)> {
        let buyer = self.buyer(user)?;
        let within = |instant: &&UnixMs| at.since_ms(**instant) < rate.window_ms;
        let counted = buyer.attempts.iter().filter(within).count();
        let over = counted.checked_sub(rate.count as usize)?;
        let oldest = buyer.attempts.iter().filter(within).nth(over)?;
        let facts = RefusalFacts::Quota {
            scope: QuotaScope::Attempts,
            limit: rate.count.into(),
            window_s: Some(rate.window_ms.div_ceil(1_000)),
        };
        Some((oldest.plus_ms(rate.window_ms).since_ms(at).max(1), facts))
    }
}
