//! The usual first solution of a team: hyper in front, one Redis Lua script per buy.
//!
//! The script (`buy.lua`) does what one hold of holdfast does, except velocity: idempotency key,
//! per-user limit, exact rate window, stock, hold with expiry, audit entry. Each worker has one
//! multiplexed connection, so requests are pipelined. Durability depends on `appendfsync` of that
//! Redis; the harness starts it with `always`.

use bytes::Bytes;
use hyper::StatusCode;
use redis::Script;
use redis::aio::MultiplexedConnection;
use std::sync::Arc;

use super::{Handler, Held, Order, Reply, serve};
use crate::cli::ServeRedisArgs;
use crate::error::Fault;

/// Units put on sale of any product when the server starts; more than a run can sell.
const STOCK: u64 = 1_000_000_000;
/// Products `p-0` to `p-63` are on sale: those that `compare` may ask for.
const PRODUCTS: usize = crate::compare::PRODUCTS_MAX;

#[derive(Clone)]
struct Peer {
    connection: MultiplexedConnection,
    script: Arc<Script>,
}

impl Handler for Peer {
    async fn answer(&self, key: Bytes, body: Bytes) -> Reply {
        let parsed = serde_json::from_slice::<Order>(&body);
        let (Ok(order), Ok(key)) = (parsed, std::str::from_utf8(&key)) else {
            return Reply::problem(StatusCode::BAD_REQUEST, "invalid_request");
        };
        match self.buy(&order, key).await.as_deref() {
            Ok("held") => Reply(StatusCode::CREATED, Held::new(&order, key).bytes()),
            Ok("rate_limited") => Reply::problem(StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Ok(refusal) => Reply::problem(StatusCode::CONFLICT, refusal),
            Err(_) => Reply::problem(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable"),
        }
    }
}

impl Peer {
    async fn buy(&self, order: &Order<'_>, key: &str) -> redis::RedisResult<String> {
        let (user, product) = (order.user_id, order.product_id);
        self.script
            .key(format!("idem:{user}:{key}"))
            .key(format!("rate:{user}"))
            .key(format!("units:{user}:{product}"))
            .key(format!("stock:{product}"))
            .key(format!("holds:{product}"))
            .key("audit")
            .arg(user)
            .arg(product)
            .arg(order.quantity)
            .arg(key)
            .invoke_async(&mut self.connection.clone())
            .await
    }
}

/// Serves until the process ends.
pub(crate) fn command(args: &ServeRedisArgs) -> Result<(), Fault> {
    let client = redis::Client::open(args.redis.as_str())?;
    serve(&args.serve, |_| {
        let client = client.clone();
        async move {
            let mut connection = client.get_multiplexed_async_connection().await?;
            for n in 0..PRODUCTS {
                let () = redis::cmd("SET")
                    .arg(format!("stock:p-{n}"))
                    .arg(STOCK)
                    .query_async(&mut connection)
                    .await?;
            }
            let script = Arc::new(Script::new(include_str!("buy.lua")));
            let () = script
                .prepare_invoke()
                .load_async(&mut connection)
                .await
                .map(|_| ())?;
            Ok(Peer { connection, script })
        }
    })
}
