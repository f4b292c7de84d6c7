//! Owns reading idempotency keys: the form of the header, and the two digests that the engine
//! stores instead of the text.
//!
//! Invariants: the scope covers the name of the API key, the user and the key; the fingerprint
//! covers method, path and the canonical fields, each with its length before it, so that neither
//! white space nor the order of fields matters, and no two different requests hash the same bytes.

use crate::engine::event::IdempotencyKey;
use crate::ids::{Digest16, KeyOwner};
use hyper::header::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why a request has no idempotency key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NoKey {
    Missing,
    Twice,
    HalfQuoted,
    Length,
    Characters,
}

impl NoKey {
    /// What is wrong with the header.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Missing => "is missing; this request needs one",
            Self::Twice => "was sent twice; send it once",
            Self::HalfQuoted => "begins with a quote and does not end with one",
            Self::Length => "must have 8 to 255 characters",
            Self::Characters => {
                "must be of visible ASCII characters, without spaces and quotes inside"
            }
        }
    }
}

/// The key in `headers`, without its quotes: 8 to 255 visible ASCII characters.
pub fn key_in(headers: &HeaderMap) -> Result<&[u8], NoKey> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = values.next().ok_or(NoKey::Missing)?.as_bytes();
    if values.next().is_some() {
        return Err(NoKey::Twice);
    }
    let bare = match value {
        [b'"', inner @ .., b'"'] => inner,
        [b'"', ..] => return Err(NoKey::HalfQuoted),
        _ => value,
    };
    if !bare.iter().all(|b| (0x21..=0x7e).contains(b) && *b != b'"') {
        return Err(NoKey::Characters);
    }
    if (8..=255).contains(&bare.len()) {
        Ok(bare)
    } else {
        Err(NoKey::Length)
    }
}

/// The digests that identify a request and its key.
pub fn digests(owner: &KeyOwner, user: &str, key: &[u8], canonical: Canonical) -> IdempotencyKey {
    IdempotencyKey {
        scope: scope(owner, user, key),
        fingerprint: first_half(canonical.0),
    }
}

/// The digest of a key with its owner and user.
pub fn scope(owner: &KeyOwner, user: &str, key: &[u8]) -> Digest16 {
    let mut scope = Sha256::new();
    scope.update(owner.as_str());
    scope.update([0]);
    scope.update(user);
    scope.update([0]);
    scope.update(key);
    first_half(scope)
}

/// The fields of a request in a fixed order and form.
#[derive(Debug)]
pub struct Canonical(Sha256);

impl Canonical {
    /// The fields of a request by `method` on `path`.
    pub fn new(method: &str, path: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(method);
        hash.update([0]);
        hash.update(path);
        hash.update([0]);
        Self(hash)
    }

    /// The next field; an absent one differs from an empty one.
    #[must_use]
    pub fn text(mut self, value: Option<&str>) -> Self {
        match value {
            None => self.0.update(u32::MAX.to_le_bytes()),
            Some(text) => {
                let length = u32::try_from(text.len()).expect("fields are shorter than a body");
                self.0.update(length.to_le_bytes());
                self.0.update(text);
            }
        }
        self
    }

    /// The next field, a number.
    #[must_use]
    pub fn number(mut self, value: u32) -> Self {
        self.0.update(value.to_le_bytes());
        self
    }
}

fn first_half(hash: Sha256) -> Digest16 {
    let whole: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    Digest16(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn quoted_and_bare_are_the_same_key_and_bad_forms_are_none() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(text).unwrap());
            key_in(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(parse("\"abcdefgh\""), parse("abcdefgh"));
        assert_eq!(parse("abcdefgh"), Ok(b"abcdefgh".to_vec()));
        assert!(parse(&"a".repeat(255)).is_ok());
        assert_eq!(parse(&"a".repeat(256)), Err(NoKey::Length));
        for (bad, why) in [
            ("abcdefg", NoKey::Length),
            ("\"abcdefg\"", NoKey::Length),
            ("abcd efgh", NoKey::Characters),
            ("\"abcdefgh", NoKey::HalfQuoted),
            ("abcd\"efgh", NoKey::Characters),
            ("", NoKey::Length),
        ] {
            assert_eq!(parse(bad), Err(why), "{bad}");
        }
    }
}
