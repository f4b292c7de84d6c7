//! What is asked of the server and what it answers.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// What a request asks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Create,
    Confirm,
    Capture,
    Cancel,
    Get,
    List,
    Search,
    Refund,
    ListRefunds,
    Other,
}

impl Op {
    pub(super) fn of(method: &str, path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("POST", ["v1", "payment_intents"]) => Self::Create,
            ("GET", ["v1", "payment_intents"]) => Self::List,
            ("GET", ["v1", "payment_intents", "search"]) => Self::Search,
            ("GET", ["v1", "payment_intents", _]) => Self::Get,
            ("POST", ["v1", "payment_intents", _, "confirm"]) => Self::Confirm,
            ("POST", ["v1", "payment_intents", _, "capture"]) => Self::Capture,
            ("POST", ["v1", "payment_intents", _, "cancel"]) => Self::Cancel,
            ("POST", ["v1", "refunds"]) => Self::Refund,
            ("GET", ["v1", "refunds"]) => Self::ListRefunds,
            _ => Self::Other,
        }
    }
}

/// A request.
#[derive(Clone)]
pub(super) struct StripeRequest {
    pub(super) op: Op,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) key: Option<String>,
    pub(super) let_in: bool,
    /// Its `traceparent` and `tracestate`.
    pub(super) trace: [Option<String>; 2],
}

impl StripeRequest {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(it, _)| it == name)?;
        Some(&found.1)
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.field(name)?.parse().ok()
    }

    pub(super) fn expands(&self, what: &str) -> bool {
        let wanted = |(name, value): &(String, String)| name == "expand[]" && value == what;
        self.fields.iter().any(wanted)
    }

    pub(super) fn metadata(&self) -> Map<String, Value> {
        let entry = |(name, value): &(String, String)| {
            let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((name.to_owned(), Value::from(value.clone())))
        };
        self.fields.iter().filter_map(entry).collect()
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        (&self.method, &self.path, &self.fields) == (&other.method, &other.path, &other.fields)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) replayed: bool,
}

impl Reply {
    pub(super) fn ok(body: &Value) -> Self {
        Self {
            status: 200,
            body: Bytes::from(body.to_string()),
            replayed: false,
        }
    }

    pub(super) fn error(status: u16, kind: &str, code: &str) -> Self {
        let mut error = json!({"type": kind, "message": "said by the server in the test"});
        if !code.is_empty() {
            error["code"] = code.into();
        }
        Self {
            status,
            ..Self::ok(&json!({ "error": error }))
        }
    }

    pub(super) fn invalid(code: &str) -> Self {
        Self::error(400, "invalid_request_error", code)
    }
}
