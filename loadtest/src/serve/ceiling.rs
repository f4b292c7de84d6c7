//! The hyper ceiling: reads the order, writes a hold, does nothing in between.
//!
//! It shows the limit set by HTTP, JSON and the kernel. A request without a body (a read) gets a
//! short JSON response.

use bytes::Bytes;
use hyper::StatusCode;

use super::{Handler, Held, Order, Reply, serve};
use crate::cli::ServeArgs;
use crate::error::Fault;

#[derive(Clone)]
struct Ceiling;

impl Handler for Ceiling {
    async fn answer(&self, _key: Bytes, body: Bytes) -> Reply {
        if body.is_empty() {
            return Reply(StatusCode::OK, Bytes::from_static(b"{\"status\":\"open\"}"));
        }
        match serde_json::from_slice::<Order>(&body) {
            Ok(order) => Reply(
                StatusCode::CREATED,
                Held::new(&order, "h-0000000000000001").bytes(),
            ),
            Err(_) => Reply::problem(StatusCode::BAD_REQUEST, "invalid_request"),
        }
    }
}

/// Serves until the process ends.
pub(crate) fn command(args: &ServeArgs) -> Result<(), Fault> {
    serve(args, async |_| Ok(Ceiling))
}
