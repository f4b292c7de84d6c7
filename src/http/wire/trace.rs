//! Owns reading the trace of a request from its headers.
//!
//! Invariant: a header that is wrong or repeated is ignored, and no request is refused for it.
//! Deliberately absent: what a trace is (`crate::trace`).

use crate::trace::{RequestTrace, TraceContext, TraceState};
use hyper::HeaderMap;
use hyper::header::HeaderValue;

/// The trace in the headers of a request.
pub fn trace_in(headers: &HeaderMap) -> Option<RequestTrace> {
    let mut parents = headers.get_all("traceparent").iter();
    let context = TraceContext::parse(parents.next()?.as_bytes())?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all("tracestate").iter();
    let state = TraceState::parse(states.map(HeaderValue::as_bytes));
    Some(RequestTrace { context, state })
}
