//! Owns the operator's requests about webhook secrets.
//!
//! Invariants: a secret is never shown; the audit trail has only its id; a secret added or retired
//! here lasts until the process ends, and the response says so. Secrets are stored in one place,
//! the configuration; neither log nor data directory has one. A secret becomes valid once its act
//! is durable, and is retired before the act is durable; what the audit trail says was added is
//! valid, even if the client has disconnected.

use crate::engine::event::WebhookFormat;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, WORD_FIELD_FORM, optional, required};
use crate::http::wire::problem::{FieldError, Reason};
use crate::ids::WebhookSecretId;
use crate::webhooks::{BadKey, NotAdded, SECRETS_MAX, Secret, Secrets, Source, WebhookKey};
use hyper::body::Incoming;
use hyper::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;

/// Webhook secrets.
pub struct WebhookSecrets {
    pub worker: Arc<Worker>,
    pub secrets: Arc<Secrets>,
}

impl WebhookSecrets {
    pub fn list(&self) -> Answer {
        let known = self.secrets.known();
        let secrets: Vec<_> = known.iter().map(shown).collect();
        Answer::value(StatusCode::OK, &json!({ "secrets": secrets }))
    }

    pub async fn add(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let secret = match self.secret_in(&body) {
            Ok(secret) => secret,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (shown, id) = (shown(&secret), secret.id.clone());
        let reserved = match self.secrets.reserve(secret) {
            Ok(reserved) => reserved,
            Err(not_added) => {
                return call.invalid(Refusal::InvalidRequest, &[field_error(not_added)]);
            }
        };
        let acted = call.acting().acted(Some(id.as_str()), None, Some(&shown));
        let Ok(durable_at) = self.worker.journal.trail().admin_acted(acted) else {
            return call.problem(Refusal::StorageUnavailable);
        };
        match self.worker.durable(Some(durable_at)).await {
            Ok(()) => {
                reserved.admit();
                Answer::value(StatusCode::CREATED, &shown)
            }
            Err(reason) => call.problem(reason),
        }
    }

    pub async fn retire(&self, call: Call) -> Answer {
        let id = WebhookSecretId::parse(&call.param);
        let retired = id.and_then(|id| self.secrets.retire(&id));
        let Some(secret) = retired else {
            return call.problem(Reason::NotFound);
        };
        let shown = shown(&secret);
        let target = Some(secret.id.as_str());
        let acted = call.acting().acted(target, Some(&shown), None);
        match self.worker.write_down(acted).await {
            Ok(()) => Answer::value(StatusCode::OK, &shown),
            Err(reason) => call.problem(reason),
        }
    }

    fn secret_in(&self, body: &[u8]) -> Result<Secret, Vec<FieldError>> {
        let mut fields = Fields::of(body, &["id", "key", "format"]);
        let id = fields.parsed(required("id"), WORD_FIELD_FORM, WebhookSecretId::parse);
        let text = fields.text(required("key")).map(SecretString::from);
        let forms = "must be holdfast, standard or stripe";
        let format = fields.parsed(optional("format"), forms, WebhookFormat::parse);
        let key = text.and_then(|text| {
            let key = WebhookKey::parse(text.expose_secret(), format);
            key.map_err(|bad| {
                let field = match bad {
                    BadKey::FormatMissing => "format",
                    BadKey::TooShort | BadKey::NotBase64 => "key",
                };
                fields.wrong(field, bad.to_string());
            })
            .ok()
        });
        let errors = fields.into_errors();
        match (id, key) {
            (Some(id), Some(key)) if errors.is_empty() => Ok(Secret {
                id,
                key,
                source: Source::Admin,
                added_at: self.worker.journal.now(),
            }),
            _ => Err(errors),
        }
    }
}

fn field_error(not_added: NotAdded) -> FieldError {
    let (field, message) = match not_added {
        NotAdded::NameTaken => (
            "id",
            "is the id of another secret, current or retired; choose a new id".to_owned(),
        ),
        NotAdded::KeyTaken => (
            "key",
            "is already in use under another id, current or retired; use a new secret".to_owned(),
        ),
        NotAdded::OtherPurpose => (
            "key",
            "is already used for another purpose; use a new secret".to_owned(),
        ),
        NotAdded::Full => (
            "id",
            format!("would exceed the maximum of {SECRETS_MAX} added secrets; retire one first"),
        ),
    };
    FieldError {
        field: field.into(),
        message,
    }
}

fn shown(secret: &Secret) -> Value {
    json!({
        "id": secret.id.as_str(),
        "format": secret.key.format().as_str(),
        "source": secret.source.as_str(),
        "added_at": secret.added_at.to_string(),
        "persisted": secret.source == Source::Configuration,
    })
}
