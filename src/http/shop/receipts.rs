//! Owns the requests about receipts: reading one, verifying one, and the public keys.

use super::purchases::PurchaseLookup;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::{Answer, ContentKind};
use crate::http::wire::problem::Reason;
use crate::ids::PurchaseId;
use crate::receipts::Sealer;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::http::StatusCode;
use std::sync::Arc;

/// How long the public keys may be cached. A client should fetch them earlier if a signature names
/// an unknown key.
const JWKS_CACHED: &str = "public, max-age=3600";

/// Receipts.
pub struct Receipts {
    pub worker: Arc<Worker>,
    pub sealer: Arc<Sealer>,
    pub purchases: Arc<PurchaseLookup>,
}

impl Receipts {
    pub async fn receipt(&self, call: Call) -> Answer {
        let id = PurchaseId::parse_receipt(&call.param);
        let view = match self.purchases.of_owner(&call, id).await {
            Ok(Some(view)) => view,
            Ok(None) => return call.problem(Reason::ReceiptNotFound),
            Err(answer) => return answer,
        };
        match self.sealer.receipt(&view) {
            Ok(Some(receipt)) => {
                let mut body = Vec::new();
                receipt.write_json(&mut body);
                Answer::json(StatusCode::OK, body)
            }
            Ok(None) => call.problem(Reason::ReceiptNotFound),
            Err(error) => {
                tracing::error!(event = "receipt_key_missing", "{error}");
                let facts = serde_json::json!({"key_id": error.key_id.as_str()});
                let detail = format!(
                    "This receipt was sealed with the key {}, which is not configured. Ask the operator to put it back.",
                    error.key_id
                );
                call.problem_about(Reason::ReceiptUnavailable, &detail, &facts)
            }
        }
    }

    pub async fn verify(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let verdict = self.sealer.verify_json(&body);
        Answer::value(StatusCode::OK, &verdict.to_json())
    }

    /// The public keys, for verifying receipts elsewhere.
    pub fn jwks(&self) -> Answer {
        Answer {
            status: StatusCode::OK,
            kind: ContentKind::JwkSet,
            body: self.sealer.jwks().to_string().into_bytes(),
            headers: vec![(CACHE_CONTROL, HeaderValue::from_static(JWKS_CACHED))],
        }
    }
}
