//! The parts of requests and responses: bodies, fields, problem details, keys, entity tags,
//! paging. It knows no connections and no routes, and uses nothing else of `http`.

pub mod accept;
pub mod answer;
pub mod body;
pub mod detail;
pub mod fields;
pub mod framing;
pub mod idempotency;
pub mod paging;
pub mod percent;
pub mod preconditions;
pub mod problem;
pub mod query;
pub mod raw;
pub mod reason;
pub mod trace;
