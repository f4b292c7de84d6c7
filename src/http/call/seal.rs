//! Owns what is the same for every answer of a request: headers that depend on who may read it and on
//! whether the connection goes on, and what the request is counted as.

use super::auth::Access;
use crate::http::wire::answer::Answer;
use crate::http::wire::framing::After;
use hyper::header::{CACHE_CONTROL, CONNECTION, HeaderValue};

/// The headers that every answer of a request has, and what it is counted as.
#[derive(Copy, Clone)]
pub struct Seal {
    pub access: Access,
    pub after: After,
    /// The place in the metrics of what was called.
    pub place: usize,
}

impl Seal {
    pub const fn of(access: Access, after: After, place: usize) -> Self {
        Self {
            access,
            after,
            place,
        }
    }

    /// The answer with these headers.
    pub fn on(self, mut answer: Answer) -> Answer {
        if self.access != Access::Open {
            // No cache may keep an answer that needs a key.
            answer = answer.with(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        match self.after {
            After::Open => answer,
            After::Close => answer.with(CONNECTION, HeaderValue::from_static("close")),
        }
    }
}
