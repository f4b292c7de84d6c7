//! Owns reading typed values from the merged table, with defaults and ranges from the list of keys,
//! and recording them so that they can be shown with secrets hidden.
//!
//! Deliberately absent: rules between keys, which the parent has.

use super::ConfigError;
use super::keys;
use super::secret::{self, HIDDEN};
use super::source::{Demo, Environment};
use crate::money::{Amount, Currency};
use crate::webhooks::WebhookKey;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use toml::{Table, Value};

/// The secrets of the demo.
pub(super) const DEMO_SECRETS: [&str; 5] = [
    "demo-shop-key",
    "demo-admin-key",
    "demo-receipt-key-that-everybody-knows",
    "demo-webhook-secret-that-everybody-knows",
    "64656d6f2d7365656420746861742065766572796f6e65206b6e6f7773212121",
];

pub(super) struct ConfigReader<'a> {
    table: &'a Table,
    environment: &'a Environment,
    demo: Demo,
    shown: Map<String, Json>,
    /// The list that is taken, and which entry of it.
    entry: Option<(&'static str, usize)>,
    secrets: RefCell<SecretDigests>,
    /// Secrets with other purposes than webhooks.
    others: RefCell<Vec<WebhookKey>>,
}

/// The path of the webhook secrets.
pub(super) const WEBHOOK_SECRETS: &str = "webhooks.secrets[].key";

/// For each key with secrets, their digests in order with the list entry of each, to find changes.
#[derive(Clone, Default)]
pub(super) struct SecretDigests(BTreeMap<&'static str, Vec<SecretDigest>>);

#[derive(Copy, Clone, PartialEq, Eq)]
struct SecretDigest {
    digest: [u8; 32],
    /// The list and the place in it.
    entry: Option<(&'static str, usize)>,
}

impl SecretDigest {
    /// The key that the secret stands at.
    fn key(&self, path: &str) -> String {
        let place = self
            .entry
            .and_then(|(list, index)| place_of(path, list, index));
        place.unwrap_or_else(|| path.to_owned())
    }
}

impl SecretDigests {
    /// The keys whose secrets differ in `other`.
    pub(super) fn changed(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let paths: BTreeSet<_> = self.0.keys().chain(other.0.keys()).copied().collect();
        let (ours, theirs) = (self.0.clone(), other.0.clone());
        paths
            .into_iter()
            .filter(move |path| ours.get(path) != theirs.get(path))
    }

    /// Two keys with the same secret, if any. The URLs of PostgreSQL may be the same; they count as
    /// one purpose.
    pub(super) fn reused(&self) -> Option<(String, String)> {
        let purpose = |path: &'static str| match path {
            "report.postgres.migrator_url" => "report.postgres.url",
            path => path,
        };
        let mut seen: BTreeMap<[u8; 32], (&'static str, SecretDigest)> = BTreeMap::new();
        for (path, digests) in &self.0 {
            for digest in digests {
                let (first, other) = *seen.entry(digest.digest).or_insert((path, *digest));
                if purpose(first) != purpose(path) {
                    return Some((other.key(first), digest.key(path)));
                }
            }
        }
        None
    }
}

impl std::fmt::Debug for SecretDigests {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl<'a> ConfigReader<'a> {
    pub(super) fn new(table: &'a Table, environment: &'a Environment, demo: Demo) -> Self {
        Self {
            table,
            environment,
            demo,
            shown: Map::new(),
            entry: None,
            secrets: RefCell::default(),
            others: RefCell::default(),
        }
    }

    /// Digests of the secrets read so far.
    pub(super) fn secret_digests(&self) -> SecretDigests {
        self.secrets.borrow().clone()
    }

    /// The secrets that webhooks must not use: those read so far, and the demo's. With the demo,
    /// one secret may serve two purposes.
    pub(super) fn others(&self) -> Vec<WebhookKey> {
        if self.demo == Demo::Yes {
            return Vec::new();
        }
        let of_the_demo = DEMO_SECRETS.into_iter().flat_map(WebhookKey::readings);
        of_the_demo.chain(self.others.borrow().clone()).collect()
    }

    /// Everything read so far, by dotted path, secrets hidden.
    pub(super) fn into_shown(self) -> Json {
        Json::Object(self.shown)
    }

    /// The value at `path`, if one is set.
    pub(super) fn given(&self, path: &str) -> Option<&'a Value> {
        let (last, way) = path
            .rsplit_once('.')
            .map_or((path, ""), |(way, last)| (last, way));
        let mut table = self.table;
        for part in way.split('.').filter(|part| !part.is_empty()) {
            table = table.get(part)?.as_table()?;
        }
        table.get(last)
    }

    pub(super) fn integer(&mut self, path: &'static str) -> Result<u64, ConfigError> {
        let value = self.given_or_default(path)?;
        let taken = integer_in_range(path, path, &value)?;
        self.show(path, Json::from(taken));
        Ok(taken)
    }

    pub(super) fn integer_if_given(
        &mut self,
        path: &'static str,
    ) -> Result<Option<u64>, ConfigError> {
        if self.given(path).is_none() && default_of(path).is_none() {
            return Ok(None);
        }
        self.integer(path).map(Some)
    }

    pub(super) fn size(&mut self, path: &'static str) -> Result<usize, ConfigError> {
        let taken = self.integer(path)?;
        usize::try_from(taken).map_err(|_| invalid(path, "is too large for this machine"))
    }

    pub(super) fn small(&mut self, path: &'static str) -> Result<u32, ConfigError> {
        let taken = self.integer(path)?;
        u32::try_from(taken).map_err(|_| invalid(path, "is larger than 4294967295"))
    }

    pub(super) fn switch(&mut self, path: &'static str) -> Result<bool, ConfigError> {
        let value = self.given_or_default(path)?;
        let taken = value
            .as_bool()
            .ok_or_else(|| invalid(path, "must be true or false"))?;
        self.show(path, Json::from(taken));
        Ok(taken)
    }

    pub(super) fn text(&mut self, path: &'static str) -> Result<String, ConfigError> {
        self.text_if_given(path)?
            .ok_or_else(|| invalid(path, "is not set and has no default"))
    }

    pub(super) fn text_if_given(
        &mut self,
        path: &'static str,
    ) -> Result<Option<String>, ConfigError> {
        if self.given(path).is_none() && default_of(path).is_none() {
            return Ok(None);
        }
        let value = self.given_or_default(path)?;
        let taken = value
            .as_str()
            .ok_or_else(|| invalid(path, "must be a string"))?
            .to_owned();
        self.show(path, Json::from(taken.clone()));
        Ok(Some(taken))
    }

    pub(super) fn texts(&mut self, path: &'static str) -> Result<Vec<String>, ConfigError> {
        let value = self.given_or_default(path)?;
        let entries = value.as_array().and_then(|entries| {
            let texts = entries
                .iter()
                .map(|entry| entry.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        let taken = entries.ok_or_else(|| invalid(path, "must be a list of strings"))?;
        self.show(path, Json::from(taken.clone()));
        Ok(taken)
    }

    /// Minor units by currency.
    pub(super) fn amounts(
        &mut self,
        path: &'static str,
    ) -> Result<Vec<(Currency, Amount)>, ConfigError> {
        let value = self.given_or_default(path)?;
        let table = value
            .as_table()
            .ok_or_else(|| invalid(path, "must be a table such as { USD = 500000 }"))?;
        let mut taken = Vec::new();
        let mut shown = Map::new();
        for (code, value) in table {
            let currency = Currency::parse(code).ok_or_else(|| {
                invalid(
                    path,
                    "must have ISO 4217 codes in capitals as keys, such as USD",
                )
            })?;
            let minor_units = integer_in_range(path, path, value)?;
            let amount = i64::try_from(minor_units).ok().and_then(Amount::new);
            let amount = amount.ok_or_else(|| invalid(path, "has an amount that is too large"))?;
            shown.insert(code.clone(), Json::from(minor_units));
            taken.push((currency, amount));
        }
        self.show(path, Json::Object(shown));
        Ok(taken)
    }

    /// The tables of the array at `path`; empty if nothing is set.
    fn entries(&self, path: &'static str) -> Result<Vec<&'a Table>, ConfigError> {
        let Some(value) = self.given(path) else {
            return Ok(Vec::new());
        };
        let entries = value.as_array().and_then(|entries| {
            let tables = entries.iter().map(Value::as_table);
            tables.collect::<Option<Vec<_>>>()
        });
        entries.ok_or_else(|| invalid(path, "must be a list of tables"))
    }

    /// Takes each table of the array at `path`, in order. An error about one says which.
    pub(super) fn each_entry(
        &mut self,
        path: &'static str,
        mut take: impl FnMut(&mut Self, &'a Table) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        for (index, entry) in self.entries(path)?.into_iter().enumerate() {
            self.entry = Some((path, index));
            take(self, entry).map_err(|error| error.in_entry(path, index, entry))?;
        }
        self.entry = None;
        Ok(())
    }

    /// The secret in `entry`'s `key`.
    pub(super) fn secret(
        &self,
        path: &'static str,
        entry: &Table,
        chars_min: usize,
    ) -> Result<SecretString, ConfigError> {
        let value = entry
            .get("key")
            .ok_or_else(|| invalid(path, "has an entry without its `key`"))?;
        self.resolved(path, value, chars_min)
    }

    /// The secret in `value`, which stands in a list.
    pub(super) fn secret_value(
        &self,
        path: &'static str,
        value: &Value,
        chars_min: usize,
    ) -> Result<SecretString, ConfigError> {
        self.resolved(path, value, chars_min)
    }

    fn resolved(
        &self,
        path: &'static str,
        value: &Value,
        chars_min: usize,
    ) -> Result<SecretString, ConfigError> {
        let secret = secret::resolve(path, value, self.environment)?;
        if self.demo == Demo::No && DEMO_SECRETS.contains(&secret.expose_secret()) {
            return Err(invalid(
                path,
                "is the demo's secret, which is public; set your own, or start with --demo",
            ));
        }
        if secret.expose_secret().len() < chars_min {
            return Err(invalid(
                path,
                format!("has fewer than {chars_min} characters; use a longer secret"),
            ));
        }
        let digest = Sha256::digest(secret.expose_secret().as_bytes()).into();
        let mut secrets = self.secrets.borrow_mut();
        let entry = self.entry;
        let of_path = secrets.0.entry(path).or_default();
        of_path.push(SecretDigest { digest, entry });
        if path != WEBHOOK_SECRETS {
            let readings = WebhookKey::readings(secret.expose_secret());
            self.others.borrow_mut().extend(readings);
        }
        Ok(secret)
    }

    /// The secret at `path`, if one is set.
    pub(super) fn secret_if_given(
        &mut self,
        path: &'static str,
        chars_min: usize,
    ) -> Result<Option<SecretString>, ConfigError> {
        let Some(value) = self.given(path) else {
            return Ok(None);
        };
        self.show(path, Json::from(HIDDEN));
        self.resolved(path, value, chars_min).map(Some)
    }

    pub(super) fn seconds(&mut self, path: &'static str) -> Result<Duration, ConfigError> {
        self.integer(path).map(Duration::from_secs)
    }

    pub(super) fn milliseconds(&mut self, path: &'static str) -> Result<Duration, ConfigError> {
        self.integer(path).map(Duration::from_millis)
    }

    /// Records the shown value of `path`.
    pub(super) fn show(&mut self, path: &str, value: Json) {
        self.shown.insert(path.to_owned(), value);
    }

    /// Records entries with a secret field.
    pub(super) fn show_entries(&mut self, path: &str, entries: Vec<Vec<(&str, String)>>) {
        let shown = entries.into_iter().map(|fields| {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Json::from(value)));
            let hidden = std::iter::once(("key".to_owned(), Json::from(HIDDEN)));
            Json::Object(fields.chain(hidden).collect())
        });
        self.show(path, Json::Array(shown.collect()));
    }

    fn given_or_default(&self, path: &'static str) -> Result<Value, ConfigError> {
        match self.given(path) {
            Some(value) => Ok(value.clone()),
            None => default_of(path).ok_or_else(|| invalid(path, "is not set and has no default")),
        }
    }
}

/// Reads the fields of one entry of a list, with defaults and ranges from the list of keys.
pub(super) struct EntryReader<'t>(pub(super) &'t Table);

impl EntryReader<'_> {
    fn value(&self, path: &'static str) -> Option<Value> {
        let field = path.rsplit_once("[].").map_or(path, |(_, field)| field);
        self.0.get(field).cloned().or_else(|| default_of(path))
    }

    pub(super) fn text(&self, path: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.value(path) else {
            return Ok(None);
        };
        let text = value
            .as_str()
            .ok_or_else(|| invalid(path, "must be a string"))?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn switch(&self, path: &'static str) -> Result<bool, ConfigError> {
        let value = self.value(path).and_then(|it| it.as_bool());
        value.ok_or_else(|| invalid(path, "must be true or false"))
    }

    pub(super) fn integer(&self, path: &'static str) -> Result<u64, ConfigError> {
        let value = self.value(path);
        let value = value.ok_or_else(|| invalid(path, "is not set and has no default"))?;
        integer_in_range(path, path, &value)
    }
}

/// `value` as a whole number in the range of the key at `path`; errors use the name `named`.
pub(super) fn integer_in_range(path: &str, named: &str, value: &Value) -> Result<u64, ConfigError> {
    let (least, most) = keys::find(path)
        .and_then(|key| key.range)
        .expect("every whole number on the list of keys has its range there");
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            invalid(
                named,
                format!("must be a whole number from {least} to {most}"),
            )
        })
}

impl ConfigError {
    /// Says which entry of `list` it is about: by its place, and by its name, where it has one. A name is
    /// no secret.
    pub(super) fn in_entry(self, list: &str, index: usize, entry: &Table) -> Self {
        let place = |key: &str| place_of(key, list, index);
        let name = ["name", "id"].iter().find_map(|field| entry.get(*field));
        let name = name.and_then(Value::as_str).filter(|it| is_id(it));
        match self {
            Self::Invalid { key, what } => match (place(&key), name) {
                (Some(key), Some(name)) => Self::Invalid {
                    key,
                    what: format!("of `{name}` {what}"),
                },
                (Some(key), None) => Self::Invalid { key, what },
                (None, _) => Self::Invalid { key, what },
            },
            Self::UnknownKey { key, nearest } => Self::UnknownKey {
                key: place(&key).unwrap_or(key),
                nearest,
            },
            other => other,
        }
    }
}

/// The key of a field of one entry, such as `auth.keys[1].role`.
fn place_of(key: &str, list: &str, index: usize) -> Option<String> {
    let field = key.strip_prefix(list)?.strip_prefix("[]")?;
    Some(format!("{list}[{index}]{field}"))
}

/// Whether it has the form of a name or an id.
fn is_id(text: &str) -> bool {
    let may_be = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(may_be)
}

pub(super) fn invalid(key: &str, what: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        what: what.into(),
    }
}

/// The text in `entry`'s `field`.
pub(super) fn entry_text<'t>(
    path: &str,
    entry: &'t Table,
    field: &str,
) -> Result<&'t str, ConfigError> {
    entry
        .get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(path, format!("has an entry without the string `{field}`")))
}

fn default_of(path: &str) -> Option<Value> {
    let key = keys::find(path).expect("only keys on the list are asked for");
    if key.default.is_empty() {
        return None;
    }
    let parsed = format!("value = {}", key.default).parse::<Table>();
    let table = parsed.expect("every default on the list of keys is TOML, as a test shows");
    table.get("value").cloned()
}
