//! Owns the section `webhooks`: the secrets of webhooks, and how many webhooks are remembered.
//!
//! Invariants: ids are unique and so are secrets; event ids are kept for at least as long as
//! nonces, so that an event is recognized when it is delivered again with a nonce that is
//! forgotten.

use super::read::{ConfigReader, WEBHOOK_SECRETS, entry_text, invalid};
use super::{ConfigError, ID_FORM};
use crate::engine::event::WebhookFormat;
use crate::engine::settings::WebhookMemory;
use crate::ids::WebhookSecretId;
use crate::webhooks::{BadKey, SECRET_BYTES_MIN, SECRETS_MAX, WebhookKey};
use secrecy::ExposeSecret;
use toml::Table;

/// The settings of webhooks.
#[derive(Debug)]
pub struct WebhooksConfig {
    /// Newest first.
    pub secrets: Vec<WebhookSecret>,
    /// Maximum difference of a timestamp from now, in milliseconds.
    pub tolerance_ms: u64,
    pub body_bytes_max: usize,
    /// How much is remembered.
    pub memory: WebhookMemory,
}

/// A webhook secret.
#[derive(Clone, Debug)]
pub struct WebhookSecret {
    pub id: WebhookSecretId,
    pub key: WebhookKey,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<WebhooksConfig, ConfigError> {
    let tolerance_ms = reader.integer("webhooks.tolerance_s")? * 1_000;
    let memory = WebhookMemory::new(
        tolerance_ms,
        reader.size("webhooks.nonces_max")?,
        reader.integer("webhooks.event_retention_s")? * 1_000,
        reader.size("webhooks.events_max")?,
    );
    if memory.event_retention_ms < memory.nonce_retention_ms() {
        return Err(invalid(
            "webhooks.event_retention_s",
            "must be more than twice webhooks.tolerance_s",
        ));
    }
    Ok(WebhooksConfig {
        secrets: secrets(reader)?,
        tolerance_ms,
        body_bytes_max: reader.size("webhooks.body_bytes_max")?,
        memory,
    })
}

fn secrets(reader: &mut ConfigReader<'_>) -> Result<Vec<WebhookSecret>, ConfigError> {
    let list = "webhooks.secrets";
    let mut secrets: Vec<WebhookSecret> = Vec::new();
    let mut shown = Vec::new();
    reader.each_entry(list, |reader, entry| {
        let secret = secret(reader, entry)?;
        if secrets.iter().any(|other| other.id == secret.id) {
            return Err(invalid(
                "webhooks.secrets[].id",
                "is the same for two entries",
            ));
        }
        if secrets.iter().any(|other| other.key.is_same(&secret.key)) {
            return Err(invalid(
                "webhooks.secrets[].key",
                "is the same for two entries; use a different one for each",
            ));
        }
        shown.push(vec![
            ("id", secret.id.to_string()),
            ("format", secret.key.format().as_str().to_owned()),
        ]);
        secrets.push(secret);
        Ok(())
    })?;
    if secrets.len() > SECRETS_MAX {
        return Err(invalid(
            list,
            format!("has more than {SECRETS_MAX} entries; remove those that are not in use"),
        ));
    }
    reader.show_entries(list, shown);
    Ok(secrets)
}

fn secret(reader: &ConfigReader<'_>, entry: &Table) -> Result<WebhookSecret, ConfigError> {
    let path = "webhooks.secrets[].id";
    let id = entry_text(path, entry, "id")?;
    let id = WebhookSecretId::parse(id).ok_or_else(|| invalid(path, ID_FORM))?;
    let path = "webhooks.secrets[].format";
    let format = if entry.contains_key("format") {
        let format = WebhookFormat::parse(entry_text(path, entry, "format")?);
        Some(format.ok_or_else(|| invalid(path, "must be holdfast, standard or stripe"))?)
    } else {
        None
    };
    let path = WEBHOOK_SECRETS;
    let text = reader.secret(path, entry, SECRET_BYTES_MIN)?;
    let key = WebhookKey::parse(text.expose_secret(), format);
    let key = key.map_err(|bad| match bad {
        BadKey::FormatMissing => invalid("webhooks.secrets[].format", bad.to_string()),
        BadKey::TooShort | BadKey::NotBase64 => invalid(path, bad.to_string()),
    })?;
    Ok(WebhookSecret { id, key })
}
