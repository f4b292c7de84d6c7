//! Owns lists that are read page by page in the order of names: `after` and `limit` in, `next` out.

use super::problem::FieldError;
use super::query::Query;
use crate::engine::view::{More, Page};
use crate::ids::is_id;

/// Maximum number of entries per page.
const LIMIT_MAX: u64 = 1_000;
const LIMIT_DEFAULT: u64 = 100;

/// Start and size of the page.
pub fn page_query(query: Option<&str>) -> Result<(String, usize), Vec<FieldError>> {
    let mut query = Query::of(query, &["after", "limit"]);
    let form = "must be the value of next from an earlier answer";
    let after = query.parsed("after", form, |text| is_id(text).then(|| text.to_owned()));
    let after = after.unwrap_or_default();
    let limit = query
        .integer("limit", 1, LIMIT_MAX)
        .unwrap_or(LIMIT_DEFAULT);
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok((after, usize::try_from(limit).expect("at most a thousand")))
    } else {
        Err(errors)
    }
}

/// The value of `next`, if there is more.
pub fn next_of<T>(page: &Page<T>, name: impl Fn(&T) -> &str) -> Option<&str> {
    match page.more {
        More::Yes => page.entries.last().map(name),
        More::No => None,
    }
}
