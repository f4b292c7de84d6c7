//! Owns what a reload may change of an endpoint: the keys that sign, and the authorities that are trusted.
//!
//! Invariants: both are read and valid before anything uses them; nothing here is printed.
//! Deliberately absent: when they change (`cli`), and using them (`endpoint`, `post`).

use super::keys::OutgoingKey;
use super::settings::EndpointSettings;
use crate::trust;
use rustls::{ClientConfig, RootCertStore};

#[derive(Clone, Debug)]
pub struct EndpointCredentials {
    /// Each signs; at least one.
    pub(super) keys: Vec<OutgoingKey>,
    authorities: RootCertStore,
}

impl EndpointCredentials {
    /// Reads the file with the authorities. An error: it cannot be used.
    pub fn read(settings: &EndpointSettings) -> Result<Self, String> {
        let authorities = trust::authorities(settings.ca_file.as_deref());
        let named = |why| format!("the `ca_file` of the endpoint {}: {why}", settings.sink);
        Ok(Self {
            keys: settings.keys.clone(),
            authorities: authorities.map_err(named)?,
        })
    }

    pub(super) fn tls(&self) -> ClientConfig {
        trust::tls_client_of(self.authorities.clone())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let keys = |it: &Self| -> Vec<_> { it.keys.iter().map(OutgoingKey::proof).collect() };
        keys(self) == keys(other) && self.authorities.roots == other.authorities.roots
    }
}
