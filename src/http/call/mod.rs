//! One request on its way through its call, and what all handlers do alike: reading the body,
//! trying once under an idempotency key, leaving an act in the audit trail, waiting for the log.
//!
//! Used by every group of handlers; it knows none of them, and no route.

pub mod acting;
pub mod attempt;
pub mod auth;
pub mod worker;

use super::wire::answer::Answer;
use super::wire::fields::ID_FORM;
use super::wire::problem::{self, FieldError, Reason, problem};
use crate::engine::event::{AdminAct, Flow};
use crate::engine::refusal::Refusal;
use crate::ids::RequestId;
use acting::Acting;
use auth::Caller;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use std::sync::Arc;
use worker::InFlightSlot;

/// One request on its way through its call.
pub struct Call {
    pub id: RequestId,
    /// Taken once its body is there.
    pub slot: InFlightSlot,
    /// Who calls; there is one wherever the path asks for a key.
    pub caller: Option<Caller>,
    /// The administrative act that it is.
    pub acting: Option<Arc<Acting>>,
    /// What it is counted as, where it is an attempt.
    pub flow: Option<Flow>,
    pub parts: Parts,
    /// The id in the path; of two, with a slash between them.
    pub param: String,
}

impl Call {
    /// Who calls.
    pub fn caller(&self) -> &Caller {
        let caller = self.caller.as_ref();
        caller.expect("every path under /limited and /admin asks for a key")
    }

    /// The administrative act that it is.
    pub fn acting(&self) -> &Arc<Acting> {
        let acting = self.acting.as_ref();
        acting.expect("every path under /admin that writes is an act, which a test holds")
    }

    /// What it is counted as.
    pub fn flow(&self) -> Flow {
        self.flow
            .expect("the table of routes names the flow of each attempt")
    }

    /// Which key asked for it, by which request.
    pub fn by(&self) -> AdminAct {
        AdminAct {
            request: self.id,
            owner: self.caller().owner.clone(),
        }
    }

    pub fn problem(&self, reason: impl Into<Reason>) -> Answer {
        problem(reason.into(), self.id)
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

    /// The id in the path is none.
    pub fn bad_path_id(&self, field: &'static str) -> Answer {
        let error = FieldError {
            field,
            message: ID_FORM.to_owned(),
        };
        self.invalid(Refusal::InvalidRequest, &[error])
    }
}

/// `path`, which is made of words of this program and ids, as the value of a header.
pub fn location(path: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(path)).expect("a path is of visible ASCII")
}
