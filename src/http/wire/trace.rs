//! Owns what a trace takes from a request: its headers and its method.
//!
//! Invariant: a header that is wrong or repeated is ignored, and no request is refused for it.
//! Deliberately absent: what a trace is (`crate::trace`).

use crate::trace::{Recording, RequestTrace, TraceContext, TraceState};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

/// The trace in the headers of a request.
fn trace_in(headers: &HeaderMap) -> Option<RequestTrace> {
    let mut parents = headers.get_all("traceparent").iter();
    let context = TraceContext::parse(parents.next()?.as_bytes())?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all("tracestate").iter();
    let state = TraceState::parse(states.map(HeaderValue::as_bytes));
    Some(RequestTrace {
        context,
        state,
        recording: Recording::No,
    })
}

/// The method as one of the words of this program.
pub fn method_word(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let known = known.into_iter().find(|it| method.as_str() == *it);
    known.unwrap_or("_OTHER")
}

/// The head of a request, and its trace. By value: what a future borrows stays in it until its end.
pub fn with_trace(parts: Parts) -> (Parts, Option<RequestTrace>) {
    let trace = trace_in(&parts.headers);
    (parts, trace)
}
