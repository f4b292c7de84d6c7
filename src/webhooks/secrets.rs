//! Owns the secrets in force: those of the configuration and those added while running, changed
//! without a gap in which a good signature would not be known.
//!
//! Invariants: names are unique, and so are secrets; one that was retired stays so until the
//! process ends, whatever the configuration says when it is read again; each of the two sources
//! has at most [`SECRETS_MAX`]. Deliberately absent: keeping them across a restart, which the
//! configuration does.

use super::key::Key;
use crate::ids::WebhookSecretId;
use crate::time::UnixMs;
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most secrets of the configuration, and again of those added while running. Each costs an
/// HMAC over the body of whatever strangers send.
pub const SECRETS_MAX: usize = 16;

/// A secret with its name.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its name, which may be told and logged.
    pub id: WebhookSecretId,
    /// The secret.
    pub key: Key,
    /// Where it comes from.
    pub source: Source,
    /// Since when this process knows it.
    pub added_at: UnixMs,
}

/// Where a secret comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration: it is there after a restart, too.
    Configuration,
    /// An administrative call: it is gone after a restart.
    Admin,
}

impl Source {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Admin => "admin",
        }
    }
}

/// Why a secret was not added.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// Another secret has the name, or had it until it was retired.
    NameTaken,
    /// It is there under another name.
    KeyTaken,
    /// There are [`SECRETS_MAX`] already.
    Full,
}

/// What reading the configuration again changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Known from now on, or with another secret.
    pub added: Vec<WebhookSecretId>,
    /// Not known any more.
    pub removed: Vec<WebhookSecretId>,
    /// In the configuration, but retired before.
    pub still_retired: Vec<WebhookSecretId>,
}

/// The secrets in force.
#[derive(Debug)]
pub struct Secrets {
    known: ArcSwap<Vec<Secret>>,
    /// Taken by whoever changes `known`: the names retired so far.
    retired: Mutex<BTreeSet<WebhookSecretId>>,
}

impl Secrets {
    /// Those of the configuration, newest first.
    pub fn new(configured: Vec<Secret>) -> Self {
        Self {
            known: ArcSwap::from_pointee(configured),
            retired: Mutex::default(),
        }
    }

    /// All of them, newest first.
    pub fn known(&self) -> Guard<Arc<Vec<Secret>>> {
        self.known.load()
    }

    /// Whether `secret` could be added.
    pub fn may_add(&self, secret: &Secret) -> Result<(), NotAdded> {
        self.addable(secret, &self.retired.lock())
    }

    /// From now on signatures made with `secret` are good.
    pub fn add(&self, secret: Secret) -> Result<(), NotAdded> {
        let retired = self.retired.lock();
        self.addable(&secret, &retired)?;
        let mut known = vec![secret];
        known.extend(self.known.load().iter().cloned());
        self.known.store(Arc::new(known));
        Ok(())
    }

    fn addable(
        &self,
        secret: &Secret,
        retired: &BTreeSet<WebhookSecretId>,
    ) -> Result<(), NotAdded> {
        let known = self.known.load();
        if retired.contains(&secret.id) || known.iter().any(|it| it.id == secret.id) {
            return Err(NotAdded::NameTaken);
        }
        if known.iter().any(|it| it.key.is_same(&secret.key)) {
            return Err(NotAdded::KeyTaken);
        }
        let added = known.iter().filter(|it| it.source == Source::Admin);
        if added.count() >= SECRETS_MAX {
            return Err(NotAdded::Full);
        }
        Ok(())
    }

    /// From now on signatures made with this secret are not good; the secret as it was.
    pub fn retire(&self, id: &WebhookSecretId) -> Option<Secret> {
        let mut retired = self.retired.lock();
        let mut known = self.known.load().to_vec();
        let place = known.iter().position(|it| it.id == *id)?;
        let secret = known.remove(place);
        self.known.store(Arc::new(known));
        retired.insert(id.clone());
        Some(secret)
    }

    /// The configuration has these secrets now, newest first. Where one has the name or the key
    /// of one that was added while running, the configuration's is taken.
    pub fn reload(&self, configured: Vec<Secret>) -> Reloaded {
        let retired = self.retired.lock();
        let before = self.known.load_full();
        let mut reloaded = Reloaded::default();
        let mut now = Vec::with_capacity(configured.len());
        for mut secret in configured {
            if retired.contains(&secret.id) {
                reloaded.still_retired.push(secret.id);
                continue;
            }
            let same = |it: &&Secret| it.id == secret.id && it.key.is_same(&secret.key);
            match before.iter().find(same) {
                Some(known) => secret.added_at = known.added_at,
                None => reloaded.added.push(secret.id.clone()),
            }
            now.push(secret);
        }
        let replaced = |it: &Secret| {
            let same = |new: &Secret| new.id == it.id || new.key.is_same(&it.key);
            now.iter().any(same)
        };
        let added = before.iter().filter(|it| it.source == Source::Admin);
        let kept: Vec<Secret> = added.filter(|it| !replaced(it)).cloned().collect();
        now.splice(0..0, kept);
        let gone = before
            .iter()
            .filter(|it| !now.iter().any(|new| new.id == it.id));
        reloaded.removed = gone.map(|it| it.id.clone()).collect();
        self.known.store(Arc::new(now));
        reloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(id: &str, key: &str, source: Source, at: u64) -> Secret {
        Secret {
            id: WebhookSecretId::parse(id).unwrap(),
            key: Key::parse(&format!("{key}-0123456789abcdef0123456789"), None).unwrap(),
            source,
            added_at: UnixMs::new(at),
        }
    }

    fn names(secrets: &Secrets) -> Vec<String> {
        let known = secrets.known();
        known.iter().map(|it| it.id.to_string()).collect()
    }

    #[test]
    fn names_and_keys_are_unique_and_additions_bounded() {
        let secrets = Secrets::new(vec![secret("c1", "one", Source::Configuration, 0)]);
        let add = |id: &str, key: &str| secrets.add(secret(id, key, Source::Admin, 1));
        assert_eq!(add("c1", "two"), Err(NotAdded::NameTaken));
        assert_eq!(add("a1", "one"), Err(NotAdded::KeyTaken));
        for number in 0..SECRETS_MAX {
            assert_eq!(add(&format!("a{number}"), &format!("key-{number}")), Ok(()));
        }
        assert_eq!(add("b1", "more"), Err(NotAdded::Full));
        assert!(
            secrets
                .retire(&WebhookSecretId::parse("a3").unwrap())
                .is_some()
        );
        assert_eq!(add("a3", "more"), Err(NotAdded::NameTaken));
        assert_eq!(add("b1", "more"), Ok(()));
        assert_eq!(names(&secrets)[0], "b1");
    }

    #[test]
    fn reading_again_keeps_what_was_added_and_revives_nothing() {
        let configured = |names: &[&str], at| {
            let secrets = names.iter();
            let secrets = secrets.map(|id| secret(id, id, Source::Configuration, at));
            secrets.collect::<Vec<_>>()
        };
        let secrets = Secrets::new(configured(&["c2", "c1"], 1));
        secrets.add(secret("a1", "a1", Source::Admin, 2)).unwrap();
        secrets.retire(&WebhookSecretId::parse("c1").unwrap());
        let id = |text| WebhookSecretId::parse(text).unwrap();
        let reloaded = secrets.reload(configured(&["c3", "c2", "c1"], 3));
        assert_eq!(names(&secrets), ["a1", "c3", "c2"]);
        assert_eq!(secrets.known()[2].added_at, UnixMs::new(1));
        assert_eq!(
            reloaded,
            Reloaded {
                added: vec![id("c3")],
                removed: vec![],
                still_retired: vec![id("c1")]
            }
        );
        // What was added comes into the configuration; what the configuration drops goes.
        let reloaded = secrets.reload(configured(&["a1", "c3"], 4));
        assert_eq!(names(&secrets), ["a1", "c3"]);
        assert_eq!(secrets.known()[0].source, Source::Configuration);
        assert_eq!(reloaded.removed, [id("c2")]);
    }
}
