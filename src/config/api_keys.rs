//! Owns the section `auth`: the API keys with their roles.
//!
//! Invariants: at least one key; no two entries have the same secret; a secret has at least
//! [`API_KEY_CHARS_MIN`] characters, except for the demo's.

use super::read::{ConfigReader, DEMO_SECRETS, entry_text, integer_in_range, invalid};
use super::{ConfigError, Demo, ID_FORM};
use crate::ids::KeyOwner;
use secrecy::{ExposeSecret, SecretString};
use toml::Table;

const API_KEY_CHARS_MIN: usize = 24;

/// For the demo, whose keys are public and which listens on loopback only.
const API_KEY_CHARS_MIN_OF_DEMO: usize = 1;

/// The role of an API key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything under `/limited`.
    Shop,
    /// Everything under `/admin`, and reading under `/limited`.
    Admin,
    /// Reading under `/admin`.
    Auditor,
    /// `/metrics`.
    Metrics,
}

impl Role {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "shop" => Some(Self::Shop),
            "admin" => Some(Self::Admin),
            "auditor" => Some(Self::Auditor),
            "metrics" => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// An API key.
#[derive(Debug)]
pub struct ApiKey {
    pub owner: KeyOwner,
    pub role: Role,
    pub secret: SecretString,
    /// Maximum requests per second, if limited.
    pub rate_per_s: Option<u32>,
}

impl ApiKey {
    /// The secret, if it is one of the demo's, which everybody knows.
    pub fn public(&self) -> Option<&'static str> {
        let secret = self.secret.expose_secret();
        DEMO_SECRETS.into_iter().find(|known| *known == secret)
    }
}

pub(super) fn read(reader: &mut ConfigReader<'_>, demo: Demo) -> Result<Vec<ApiKey>, ConfigError> {
    let chars_min = match demo {
        Demo::Yes => API_KEY_CHARS_MIN_OF_DEMO,
        Demo::No => API_KEY_CHARS_MIN,
    };
    let mut keys: Vec<ApiKey> = Vec::new();
    let mut shown = Vec::new();
    reader.each_entry("auth.keys", |reader, entry| {
        let name = entry_text("auth.keys[].name", entry, "name")?;
        let role = entry_text("auth.keys[].role", entry, "role")?;
        let key = ApiKey {
            owner: KeyOwner::parse(name).ok_or_else(|| invalid("auth.keys[].name", ID_FORM))?,
            role: Role::parse(role).ok_or_else(|| {
                invalid(
                    "auth.keys[].role",
                    "must be shop, admin, auditor or metrics",
                )
            })?,
            secret: reader.secret("auth.keys[].key", entry, chars_min)?,
            rate_per_s: rate_of(entry)?,
        };
        let visible = |text: &str| text.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if !visible(key.secret.expose_secret()) {
            return Err(invalid(
                "auth.keys[].key",
                "must be visible ASCII, because it is sent in a header",
            ));
        }
        let same = |other: &ApiKey| other.secret.expose_secret() == key.secret.expose_secret();
        if keys.iter().any(same) {
            return Err(invalid(
                "auth.keys[].key",
                "is the same for two entries; use a different one for each",
            ));
        }
        let mut fields = vec![("name", name.to_owned()), ("role", role.to_owned())];
        fields.extend(key.rate_per_s.map(|rate| ("rate_per_s", rate.to_string())));
        shown.push(fields);
        keys.push(key);
        Ok(())
    })?;
    if keys.is_empty() {
        return Err(invalid(
            "auth.keys",
            "has no entry, so no request would be accepted; add [[auth.keys]] with name, role and key, or start with --demo",
        ));
    }
    reader.show_entries("auth.keys", shown);
    Ok(keys)
}

fn rate_of(entry: &Table) -> Result<Option<u32>, ConfigError> {
    let path = "auth.keys[].rate_per_s";
    let Some(value) = entry.get("rate_per_s") else {
        return Ok(None);
    };
    let rate = integer_in_range(path, path, value)?;
    Ok(u32::try_from(rate).ok())
}
