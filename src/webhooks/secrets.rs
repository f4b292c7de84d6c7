//! Owns the current secrets: those of the configuration and those added at run time, changed
//! without a gap in which a valid signature would be refused.
//!
//! Invariants: ids are unique, and so are secrets; a retired secret stays retired until the
//! process ends, under any id and after any reload; a reserved id or secret cannot be added by
//! another caller; each of the two sources has at most [`SECRETS_MAX`]; no secret that has another
//! purpose is valid here. Deliberately absent: keeping them across a restart, which the
//! configuration does.

use super::key::WebhookKey;
use crate::ids::WebhookSecretId;
use crate::time::UnixMs;
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of secrets in the configuration, and of those added at run time. Each costs an HMAC
/// over the body of every request, before its sender is known.
pub const SECRETS_MAX: usize = 16;

/// A secret with its name.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its id, which may be shown and logged.
    pub id: WebhookSecretId,
    pub key: WebhookKey,
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
    /// It is there under another name, or was until it was retired.
    KeyTaken,
    /// It serves another purpose.
    OtherPurpose,
    /// There are [`SECRETS_MAX`] already.
    Full,
}

/// A secret that was added while running, and that the configuration uses for something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the webhook secret `{0}`, which was added at run time, is used for another purpose in the configuration; use a separate secret for each purpose"
)]
pub struct TwoPurposes(pub WebhookSecretId);

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
    /// Locked during a change of `known`.
    aside: Mutex<InactiveSecrets>,
}

/// Secrets that are not in force.
#[derive(Debug, Default)]
struct InactiveSecrets {
    /// Those that serve other purposes.
    others: Vec<WebhookKey>,
    /// Those that were in force, and will not be again.
    retired: BTreeMap<WebhookSecretId, WebhookKey>,
    /// Those that are about to be.
    reserved: Vec<Secret>,
}

impl InactiveSecrets {
    fn serves_another_purpose(&self, key: &WebhookKey) -> bool {
        self.others.iter().any(|other| other.is_same(key))
    }

    fn is_retired(&self, secret: &Secret) -> bool {
        self.retired.contains_key(&secret.id)
            || self.retired.values().any(|key| key.is_same(&secret.key))
    }
}

/// The right to add one secret. No other caller can take its name or key meanwhile; dropping it
/// releases both.
#[derive(Debug)]
pub struct Reservation {
    secrets: Arc<Secrets>,
    id: WebhookSecretId,
}

impl Secrets {
    /// Those of the configuration, newest first; `others` are its secrets that serve other
    /// purposes.
    pub fn new(configured: Vec<Secret>, others: Vec<WebhookKey>) -> Self {
        Self {
            known: ArcSwap::from_pointee(configured),
            aside: Mutex::new(InactiveSecrets {
                others,
                ..InactiveSecrets::default()
            }),
        }
    }

    /// All of them, newest first.
    pub fn known(&self) -> Guard<Arc<Vec<Secret>>> {
        self.known.load()
    }

    /// Sets a place aside for `secret`, until the reservation is used or dropped.
    pub fn reserve(self: &Arc<Self>, secret: Secret) -> Result<Reservation, NotAdded> {
        let mut aside = self.aside.lock();
        self.addable(&secret, &aside)?;
        let id = secret.id.clone();
        aside.reserved.push(secret);
        Ok(Reservation {
            secrets: Arc::clone(self),
            id,
        })
    }

    fn addable(&self, secret: &Secret, aside: &InactiveSecrets) -> Result<(), NotAdded> {
        let known = self.known.load();
        let mut all = known.iter().chain(&aside.reserved);
        if aside.retired.contains_key(&secret.id) || all.clone().any(|it| it.id == secret.id) {
            return Err(NotAdded::NameTaken);
        }
        if aside.is_retired(secret) || all.any(|it| it.key.is_same(&secret.key)) {
            return Err(NotAdded::KeyTaken);
        }
        if aside.serves_another_purpose(&secret.key) {
            return Err(NotAdded::OtherPurpose);
        }
        let added = known.iter().filter(|it| it.source == Source::Admin);
        if added.count() + aside.reserved.len() >= SECRETS_MAX {
            return Err(NotAdded::Full);
        }
        Ok(())
    }

    /// From now on signatures made with this secret are not good; the secret as it was.
    pub fn retire(&self, id: &WebhookSecretId) -> Option<Secret> {
        let mut aside = self.aside.lock();
        let mut known = self.known.load().to_vec();
        let place = known.iter().position(|it| it.id == *id)?;
        let secret = known.remove(place);
        self.known.store(Arc::new(known));
        aside.retired.insert(id.clone(), secret.key.clone());
        Some(secret)
    }

    /// The configuration has these secrets now, newest first, and `others` serve other purposes.
    /// Where one has the name or the key of one that was added while running, the configuration's
    /// is taken. Nothing changes where one that was added serves another purpose now.
    pub fn reload(
        &self,
        configured: Vec<Secret>,
        others: Vec<WebhookKey>,
    ) -> Result<Reloaded, TwoPurposes> {
        let mut aside = self.aside.lock();
        let before = self.known.load_full();
        let added = before.iter().filter(|it| it.source == Source::Admin);
        let mut added = added.chain(&aside.reserved);
        let twice = |it: &&Secret| others.iter().any(|other| other.is_same(&it.key));
        if let Some(secret) = added.find(twice) {
            return Err(TwoPurposes(secret.id.clone()));
        }
        aside.others = others;
        let mut reloaded = Reloaded::default();
        let mut now = Vec::with_capacity(configured.len());
        for mut secret in configured {
            if aside.is_retired(&secret) {
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
        Ok(reloaded)
    }
}

impl Reservation {
    /// From now on signatures made with the secret are good. Where the configuration got its name
    /// or key meanwhile, the configuration's is taken.
    pub fn admit(self) {
        let mut aside = self.secrets.aside.lock();
        let Some(secret) = self.take(&mut aside) else {
            return;
        };
        let known = self.secrets.known.load();
        let taken = |it: &Secret| it.id == secret.id || it.key.is_same(&secret.key);
        if known.iter().any(taken) || aside.is_retired(&secret) {
            return;
        }
        let mut now = vec![secret];
        now.extend(known.iter().cloned());
        self.secrets.known.store(Arc::new(now));
    }

    fn take(&self, aside: &mut InactiveSecrets) -> Option<Secret> {
        let place = aside.reserved.iter().position(|it| it.id == self.id)?;
        Some(aside.reserved.swap_remove(place))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let secrets = Arc::clone(&self.secrets);
        drop(self.take(&mut secrets.aside.lock()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(secrets: &Arc<Secrets>, secret: Secret) -> Result<(), NotAdded> {
        secrets.reserve(secret).map(Reservation::admit)
    }

    fn secret(id: &str, key: &str, source: Source, at: u64) -> Secret {
        Secret {
            id: WebhookSecretId::parse(id).unwrap(),
            key: WebhookKey::parse(&format!("{key}-0123456789abcdef0123456789"), None).unwrap(),
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
        let configured = vec![secret("c1", "one", Source::Configuration, 0)];
        let secrets = Arc::new(Secrets::new(configured, Vec::new()));
        let add = |id: &str, key: &str| add(&secrets, secret(id, key, Source::Admin, 1));
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
    fn a_reserved_secret_is_exclusive_until_the_reservation_is_dropped() {
        let secrets = Arc::new(Secrets::new(Vec::new(), Vec::new()));
        let reserve = |id, key| secrets.reserve(secret(id, key, Source::Admin, 1));
        let first = reserve("a1", "one").unwrap();
        assert_eq!(reserve("a1", "two").unwrap_err(), NotAdded::NameTaken);
        assert_eq!(reserve("a2", "one").unwrap_err(), NotAdded::KeyTaken);
        assert!(names(&secrets).is_empty());
        drop(first);
        reserve("a2", "one").unwrap().admit();
        assert_eq!(names(&secrets), ["a2"]);
        // The configuration has it before it is admitted.
        let late = reserve("a3", "three").unwrap();
        secrets
            .reload(
                vec![secret("c3", "three", Source::Configuration, 2)],
                Vec::new(),
            )
            .unwrap();
        late.admit();
        assert_eq!(names(&secrets), ["a2", "c3"]);
    }

    #[test]
    fn reading_again_keeps_what_was_added_and_revives_nothing() {
        let configured = |names: &[&str], at| {
            let secrets = names.iter();
            let secrets = secrets.map(|id| secret(id, id, Source::Configuration, at));
            secrets.collect::<Vec<_>>()
        };
        let secrets = Arc::new(Secrets::new(configured(&["c2", "c1"], 1), Vec::new()));
        add(&secrets, secret("a1", "a1", Source::Admin, 2)).unwrap();
        secrets.retire(&WebhookSecretId::parse("c1").unwrap());
        let id = |text| WebhookSecretId::parse(text).unwrap();
        let reloaded = secrets
            .reload(configured(&["c3", "c2", "c1"], 3), Vec::new())
            .unwrap();
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
        // Nor does another name, in the configuration or from an operator.
        let mut renamed = configured(&["c3", "c2"], 3);
        renamed.push(secret("c9", "c1", Source::Configuration, 3));
        assert_eq!(
            secrets.reload(renamed, Vec::new()).unwrap().still_retired,
            [id("c9")]
        );
        assert_eq!(names(&secrets), ["a1", "c3", "c2"]);
        let again = add(&secrets, secret("a9", "c1", Source::Admin, 3));
        assert_eq!(again, Err(NotAdded::KeyTaken));
        // What was added comes into the configuration; what the configuration drops goes.
        let reloaded = secrets
            .reload(configured(&["a1", "c3"], 4), Vec::new())
            .unwrap();
        assert_eq!(names(&secrets), ["a1", "c3"]);
        assert_eq!(secrets.known()[0].source, Source::Configuration);
        assert_eq!(reloaded.removed, [id("c2")]);
    }

    #[test]
    fn no_secret_serves_two_purposes_whichever_comes_first() {
        let others = |key: &str| WebhookKey::readings(&format!("{key}-0123456789abcdef0123456789"));
        let secrets = Arc::new(Secrets::new(Vec::new(), others("one")));
        let refused = add(&secrets, secret("a1", "one", Source::Admin, 1));
        assert_eq!(refused, Err(NotAdded::OtherPurpose));
        assert_eq!(add(&secrets, secret("a2", "two", Source::Admin, 1)), Ok(()));
        let configured = || vec![secret("c1", "three", Source::Configuration, 2)];
        let a2 = WebhookSecretId::parse("a2").unwrap();
        let twice = secrets.reload(configured(), others("two"));
        assert_eq!(twice, Err(TwoPurposes(a2)));
        assert_eq!(names(&secrets), ["a2"], "nothing has changed");
        // What is no longer used for anything else may be used.
        assert!(secrets.reload(configured(), others("four")).is_ok());
        assert_eq!(add(&secrets, secret("a1", "one", Source::Admin, 1)), Ok(()));
        // One way to write a secret of Standard Webhooks is the other's, too.
        let text = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=";
        let key = WebhookKey::parse(text, Some(crate::engine::event::WebhookFormat::Standard));
        assert!(WebhookKey::readings(text)[1].is_same(&key.unwrap()));
    }
}
