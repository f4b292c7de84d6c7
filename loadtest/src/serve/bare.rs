//! The bare durable server: the ceiling plus one durable record per request.
//!
//! No engine, no idempotency, no limits: it shows the most that a durable server with a log thread
//! and group commit can reach. Its records have the size of holdfast's (about 128 bytes).

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;

use super::log::Log;
use super::{Handler, Held, Order, Reply, serve};
use crate::cli::ServeBareArgs;
use crate::error::Fault;

const RECORD_BYTES: usize = 128;

#[derive(Clone)]
struct Bare {
    log: Arc<Log>,
    worker: usize,
}

impl Handler for Bare {
    async fn answer(&self, key: Bytes, body: Bytes) -> Reply {
        let Ok(order) = serde_json::from_slice::<Order>(&body) else {
            return Reply::problem(StatusCode::BAD_REQUEST, "invalid_request");
        };
        let mut record = [0; RECORD_BYTES];
        fill(
            &mut record,
            &[order.user_id.as_bytes(), order.product_id.as_bytes(), &key],
        );
        let at = self.log.append(&record);
        let answer = Held::new(&order, "h-0000000000000001").bytes();
        self.log.durable(self.worker, at).await;
        Reply(StatusCode::CREATED, answer)
    }
}

/// Serves until the process ends.
pub(crate) fn command(args: &ServeBareArgs) -> Result<(), Fault> {
    let log = Log::start(&args.dir, usize::from(args.serve.workers))?;
    serve(&args.serve, |worker| {
        let log = Arc::clone(&log);
        async move {
            let waker = Arc::clone(&log);
            tokio::spawn(async move { waker.wake_for_ever(worker).await });
            Ok(Bare { log, worker })
        }
    })
}

/// Writes `parts` one after the other, as far as there is room.
fn fill(record: &mut [u8], parts: &[&[u8]]) {
    let mut rest = record;
    for part in parts {
        let n = part.len().min(rest.len());
        rest[..n].copy_from_slice(&part[..n]);
        rest = &mut rest[n..];
    }
}
