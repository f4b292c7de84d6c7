//! Owns the operator's requests about endpoints of webhooks: a ping, and the latest tries.
//!
//! Invariants: a ping is in the audit trail before it is sent; no answer holds a secret; a ping waits
//! for the endpoint's answer, which has a timeout, and blocks no thread.
//! Deliberately absent: pausing, resuming and dead letters, which endpoints share with other sinks.

use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::Reason;
use crate::report::webhooks::{DeliveryRecord, WebhookEndpoint};
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// The endpoints of webhooks.
pub struct EndpointCalls {
    pub worker: Arc<Worker>,
    pub endpoints: Vec<Arc<WebhookEndpoint>>,
}

impl EndpointCalls {
    pub async fn test(&self, call: Call) -> Answer {
        let Some(endpoint) = self.named(&call.param) else {
            return call.problem(Reason::NotFound);
        };
        let acting = call.acting();
        let acted = acting.acted(Some(&call.param), None, None);
        if let Err(reason) = self.worker.write_down(acted).await {
            return call.problem(reason);
        }
        let result = endpoint.ping().await;
        let shown = json!({
            "id": result.id,
            "accepted": result.failure.is_none(),
            "status": result.status,
            "failure": result.failure,
            "answer": result.answer,
            "took_ms": result.took_ms,
        });
        Answer::value(StatusCode::OK, &shown)
    }

    pub fn deliveries(&self, call: &Call) -> Answer {
        let Some(endpoint) = self.named(&call.param) else {
            return call.problem(Reason::NotFound);
        };
        let recent = endpoint.recent();
        let shown: Vec<_> = recent.iter().map(record_json).collect();
        Answer::value(StatusCode::OK, &json!({ "deliveries": shown }))
    }

    fn named(&self, sink: &str) -> Option<&Arc<WebhookEndpoint>> {
        self.endpoints.iter().find(|it| it.settings().sink == sink)
    }
}

/// What is shown of an endpoint beside its sink.
pub(super) fn endpoint_json(endpoint: &WebhookEndpoint) -> Value {
    let settings = endpoint.settings();
    json!({
        "url": settings.url.without_query(),
        "events": settings.kinds,
        "keys": endpoint.keys(),
        "public_keys": endpoint.public_keys(),
    })
}

fn record_json(record: &DeliveryRecord) -> Value {
    json!({
        "id": record.id,
        "lsn": record.lsn.0,
        "event": record.kind,
        "attempt": record.attempt,
        "at": record.at.to_string(),
        "status": record.status,
        "failure": record.failure,
    })
}
