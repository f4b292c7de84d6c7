//! Owns who calls: keys by digest, compared in constant time, and what each role may do.
//!
//! Invariants: secrets are kept as SHA-256 only; a presented key is compared with every known
//! one, whatever the earlier comparisons gave. Deliberately absent: sessions and anything that
//! outlives a request.

use crate::config::{ApiKey, Role};
use crate::ids::KeyOwner;
use hyper::header::{AUTHORIZATION, HeaderMap};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The known keys.
#[derive(Debug)]
pub struct Keys {
    known: Vec<Known>,
}

struct Known {
    digest: [u8; 32],
    caller: Caller,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.caller.fmt(out)
    }
}

/// Whose key it was and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the key.
    pub owner: KeyOwner,
    /// Its role.
    pub role: Role,
}

/// What a path asks of its caller.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// Buying.
    Shop,
    /// Reading what a shop reads.
    ShopRead,
    /// Administration.
    Admin,
    /// Reading in administration.
    AdminRead,
    /// Metrics; open where no key has that role.
    Metrics,
}

impl Keys {
    /// These keys.
    pub fn new(keys: &[ApiKey]) -> Self {
        let known = keys.iter().map(|key| Known {
            digest: Sha256::digest(key.secret.expose_secret().as_bytes()).into(),
            caller: Caller {
                owner: key.owner.clone(),
                role: key.role,
            },
        });
        Self {
            known: known.collect(),
        }
    }

    /// Who presents a key in `headers`; `None` where there is none, two, or an unknown one.
    pub fn caller(&self, headers: &HeaderMap) -> Option<&Caller> {
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
        let known = self.known.get(usize::try_from(found).ok()?)?;
        Some(&known.caller)
    }

    /// Whether anybody may read metrics.
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
            | (Role::Auditor, Access::AdminRead)
            | (Role::Metrics, Access::Metrics) => true,
            (Role::Shop, Access::Admin | Access::AdminRead | Access::Metrics)
            | (Role::Admin, Access::Shop)
            | (Role::Auditor, Access::Shop | Access::ShopRead | Access::Admin | Access::Metrics)
            | (
                Role::Metrics,
                Access::Shop | Access::ShopRead | Access::Admin | Access::AdminRead,
            ) => false,
        }
    }
}
