//! Owns authentication: keys by digest, compared in constant time, the rights of each role, and the
//! request rate of a key.
//!
//! Keys may change while requests run: each request is judged by the keys in force when it arrives.
//! Invariants: secrets are kept as SHA-256 only; a presented key is compared with every known one,
//! whatever the earlier comparisons gave; counting requests locks nothing. Deliberately absent:
//! sessions.

use crate::config::{ApiKey, Role};
use crate::ids::KeyOwner;
use hyper::header::{AUTHORIZATION, HeaderMap};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The known keys.
#[derive(Debug)]
pub struct Keys {
    known: Vec<Known>,
}

/// A configured key.
pub struct Known {
    digest: [u8; 32],
    pub caller: Caller,
    pub rate: Option<Arc<KeyRate>>,
}

/// The request rate of a key.
pub struct KeyRate {
    pub per_s: u32,
    began: Instant,
    /// When the requests so far would have come at an even pace, in nanoseconds since `began`.
    due_ns: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl KeyRate {
    fn new(per_s: u32) -> Self {
        Self {
            per_s: per_s.max(1),
            began: Instant::now(),
            due_ns: AtomicU64::new(0),
        }
    }

    /// Whether one more request is allowed now.
    pub fn take(&self) -> bool {
        let elapsed = self.began.elapsed().as_nanos();
        self.take_at(u64::try_from(elapsed).unwrap_or(u64::MAX >> 1))
    }

    fn take_at(&self, now_ns: u64) -> bool {
        let interval_ns = SECOND_NS / u64::from(self.per_s);
        // Relaxed: one word has the whole state, and no other memory depends on its order.
        let taken = self.due_ns.fetch_update(Relaxed, Relaxed, |due| {
            let due = due.max(now_ns);
            (due - now_ns <= SECOND_NS - interval_ns).then_some(due + interval_ns)
        });
        taken.is_ok()
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.caller.fmt(out)
    }
}

/// The caller: name and role of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the key.
    pub owner: KeyOwner,
    pub role: Role,
}

/// The access that a route needs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Open,
    Shop,
    ShopRead,
    Admin,
    AdminRead,
    /// Metrics; open if no key has that role.
    Metrics,
}

impl Keys {
    pub fn new(keys: &[ApiKey]) -> Self {
        let known = keys.iter().map(|key| Known {
            digest: Sha256::digest(key.secret.expose_secret().as_bytes()).into(),
            caller: Caller {
                owner: key.owner.clone(),
                role: key.role,
            },
            rate: key.rate_per_s.map(|per_s| Arc::new(KeyRate::new(per_s))),
        });
        Self {
            known: known.collect(),
        }
    }

    /// These keys, replacing `before`: the used part of an unchanged rate stays used.
    pub fn after(keys: &[ApiKey], before: &Self) -> Self {
        let mut now = Self::new(keys);
        for known in &mut now.known {
            let same = |it: &&Known| it.digest == known.digest;
            let before = before.known.iter().find(same);
            if let (Some(rate), Some(old)) = (&known.rate, before.and_then(|it| it.rate.as_ref()))
                && rate.per_s == old.per_s
            {
                known.rate = Some(Arc::clone(old));
            }
        }
        now
    }

    /// The caller with the key in `headers`; `None` if there is no key, two keys, or an unknown
    /// one.
    pub fn caller(&self, headers: &HeaderMap) -> Option<&Caller> {
        self.known(headers).map(|known| &known.caller)
    }

    /// The key in `headers`, in the same way.
    pub fn known(&self, headers: &HeaderMap) -> Option<&Known> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next()?.as_bytes();
        if values.next().is_some() {
            return None;
        }
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(())?;
        let presented: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        let mut found = u32::MAX;
        for (place, known) in (0_u32..).zip(&self.known) {
            let same: Choice = known.digest[..].ct_eq(&presented[..]);
            found.conditional_assign(&place, same);
        }
        self.known.get(usize::try_from(found).ok()?)
    }

    /// Whether metrics can be read without a key.
    pub fn metrics_are_open(&self) -> bool {
        !self.known.iter().any(|k| k.caller.role == Role::Metrics)
    }
}

impl Caller {
    /// Whether the role allows `access`.
    pub const fn may(&self, access: Access) -> bool {
        match (self.role, access) {
            (_, Access::Open)
            | (Role::Shop, Access::Shop | Access::ShopRead)
            | (
                Role::Admin,
                Access::ShopRead | Access::Admin | Access::AdminRead | Access::Metrics,
            )
            | (Role::Auditor, Access::AdminRead | Access::Metrics)
            | (Role::Metrics, Access::Metrics) => true,
            (Role::Shop, Access::Admin | Access::AdminRead | Access::Metrics)
            | (Role::Admin, Access::Shop)
            | (Role::Auditor, Access::Shop | Access::ShopRead | Access::Admin)
            | (
                Role::Metrics,
                Access::Shop | Access::ShopRead | Access::Admin | Access::AdminRead,
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_requests_at_once_and_then_at_an_even_pace() {
        let rate = KeyRate::new(4);
        let taken = |now_ns| (0..100).filter(|_| rate.take_at(now_ns)).count();
        assert_eq!(taken(7), 4);
        assert_eq!(taken(7 + SECOND_NS / 4 - 1), 0);
        assert_eq!(taken(7 + SECOND_NS / 4), 1);
        assert_eq!(taken(7 + SECOND_NS), 3);
        assert_eq!(taken(100 * SECOND_NS), 4, "what was not used is not kept");
    }
}
