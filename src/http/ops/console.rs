//! Owns the operator's console: the files of `console/`, which are part of the program.
//!
//! Invariants: the page holds no data and no key, so it needs none; everything that it shows and
//! does goes through the routes of the API, with the key that the operator types. Every answer
//! carries the same strict headers: nothing is loaded from or sent to another origin, and nothing
//! inline runs. Deliberately absent: building, templates, compression.

use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::wire::answer::{Answer, ContentKind, FixedFile};
use crate::http::wire::preconditions::{ETag, Preconditions, ReadCondition};
use crate::http::wire::problem::Reason;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::StatusCode;
use std::sync::LazyLock;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// What the browser may do with the page: load and call its own origin, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    // A browser asks each time, and gets 304 until the program is another one.
    (CACHE_CONTROL, "no-cache"),
];

/// The table of files: each with its media type.
macro_rules! files {
    ($($name:literal: $media_type:expr;)*) => {
        const FILES: &[FixedFile] = &[$(FixedFile {
            name: $name,
            media_type: $media_type,
            bytes: include_bytes!(concat!("../../../console/", $name)),
        }),*];
    };
}

// The page first.
files! {
    "index.html": HTML;
    "console.css": STYLE;
    "icon.svg": IMAGE;
    "app.js": SCRIPT;
    "api.js": SCRIPT;
    "attention.js": SCRIPT;
    "audit.js": SCRIPT;
    "dom.js": SCRIPT;
    "drop.js": SCRIPT;
    "events.js": SCRIPT;
    "format.js": SCRIPT;
    "operations.js": SCRIPT;
    "plot.js": SCRIPT;
    "products.js": SCRIPT;
    "purchases.js": SCRIPT;
    "readings.js": SCRIPT;
    "rules.js": SCRIPT;
    "session.js": SCRIPT;
    "status.js": SCRIPT;
    "words.js": SCRIPT;
    "uPlot.iife.min.js": SCRIPT;
    "uPlot.min.css": STYLE;
    "uPlot.LICENSE.txt": TEXT;
}

static ETAGS: LazyLock<Vec<ETag>> =
    LazyLock::new(|| FILES.iter().map(|it| ETag::of_bytes(it.bytes)).collect());

/// The page.
pub fn page(call: &Call) -> Answer {
    answer(call, 0)
}

/// `/console/` is `/console`: the page names its files relative to that.
pub fn without_slash() -> Answer {
    let to = HeaderValue::from_static("../console");
    Answer::empty(StatusCode::PERMANENT_REDIRECT).with(LOCATION, to)
}

/// A file that the page loads.
pub fn file(call: &Call) -> Answer {
    match FILES.iter().position(|it| it.name == call.param) {
        Some(place) => answer(call, place),
        None => call.problem(Reason::NotFound),
    }
}

fn answer(call: &Call, place: usize) -> Answer {
    let (file, etag) = (&FILES[place], &ETAGS[place]);
    let mut answer = match Preconditions::of(&call.parts.headers) {
        Ok(conditions) => match conditions.reading(etag) {
            ReadCondition::Whole => Answer {
                kind: ContentKind::Fixed(file),
                ..Answer::empty(StatusCode::OK)
            },
            ReadCondition::NotModified => Answer::empty(StatusCode::NOT_MODIFIED),
            ReadCondition::Failed => return call.problem(Reason::PreconditionFailed),
        },
        Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
    };
    answer = answer.with(ETAG, etag.header());
    for (name, value) in HEADERS {
        answer = answer.with(name, HeaderValue::from_static(value));
    }
    answer
}
