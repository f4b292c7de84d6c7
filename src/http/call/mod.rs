//! A request with its context, and what all handlers share: reading the body, making one attempt
//! with an idempotency key, leaving an act in the audit trail, waiting for the log.
//!
//! Used by every group of handlers; it knows none of them, and no route.

pub mod acting;
pub mod attempt;
pub mod auth;
mod facts;
pub mod seal;
pub mod worker;

use super::wire::answer::Answer;
use super::wire::fields::{ID_FIELD_FORM, WORD_FIELD_FORM};
use super::wire::problem::{self, FieldError, Reason};
use crate::engine::event::{AdminAct, Flow};
use crate::engine::refusal::Refusal;
use crate::ids::RequestId;
use acting::Acting;
use auth::Caller;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use std::sync::{Arc, OnceLock};
use worker::InFlightSlot;

/// A request with its context.
pub struct Call {
    pub id: RequestId,
    /// Taken once the body has arrived.
    pub slot: InFlightSlot,
    /// The caller; present on every route that needs a key.
    pub caller: Option<Caller>,
    /// The administrative act, if it is one.
    pub acting: Option<Arc<Acting>>,
    /// The flow, if it is an attempt.
    pub flow: Option<Flow>,
    pub parts: Parts,
    /// The id in the path; two ids have a slash between them.
    pub param: String,
    /// The bound of its body, once that is read.
    pub body_bytes_max: OnceLock<usize>,
}

impl Call {
    pub fn caller(&self) -> &Caller {
        let caller = self.caller.as_ref();
        caller.expect("every path under /limited and /admin asks for a key")
    }

    /// The administrative act, if it is one.
    pub fn acting(&self) -> &Arc<Acting> {
        let acting = self.acting.as_ref();
        acting.expect("every path under /admin that writes is an act, which a test holds")
    }

    /// The flow under which it is counted.
    pub fn flow(&self) -> Flow {
        self.flow
            .expect("the table of routes names the flow of each attempt")
    }

    /// The key and the id of the request.
    pub fn by(&self) -> AdminAct {
        AdminAct {
            request: self.id,
            owner: self.caller().owner.clone(),
        }
    }

    /// The problem with what it is about, and a sentence that says it.
    pub fn problem_about(
        &self,
        reason: impl Into<Reason>,
        detail: &str,
        facts: &serde_json::Value,
    ) -> Answer {
        problem::problem_about(reason.into(), self.id, detail, facts)
    }

    pub fn invalid(&self, reason: Refusal, errors: &[FieldError]) -> Answer {
        if errors.is_empty() {
            return self.problem(reason);
        }
        problem::invalid(reason.into(), self.id, errors)
    }

    /// The id in the path is malformed.
    pub fn bad_path_id(&self, field: &'static str) -> Answer {
        self.bad_path(field, ID_FIELD_FORM)
    }

    /// The code in the path is none.
    pub fn bad_path_code(&self, field: &'static str) -> Answer {
        self.bad_path(field, WORD_FIELD_FORM)
    }

    fn bad_path(&self, field: &'static str, form: &str) -> Answer {
        let error = FieldError {
            field: field.into(),
            message: form.to_owned(),
        };
        self.invalid(Refusal::InvalidRequest, &[error])
    }
}

/// `path` as the value of a header; it consists of words of this program and ids.
pub fn location(path: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(path)).expect("a path is of visible ASCII")
}
