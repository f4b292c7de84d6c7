//! The servers for comparison, each as small as possible.
//!
//! `ceiling` does no work, `bare` makes each request durable, `redis` does a whole buy in one Lua
//! script. All three share one front: a single-threaded runtime per worker, each with its own
//! listener by `SO_REUSEPORT`, plain hyper over HTTP/1.1. They are for measuring only: no keys, no
//! limits on connections, any path.

pub(crate) mod bare;
pub(crate) mod ceiling;
mod log;
pub(crate) use log::zeroed;
pub(crate) mod redis;

use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::cli::ServeArgs;
use crate::error::{During as _, Fault};

const LISTEN_BACKLOG: i32 = 4_096;

/// The order that every yardstick reads: what a hold and a buy have in common.
#[derive(Debug, Deserialize)]
pub(crate) struct Order<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) product_id: &'a str,
    /// Units.
    pub(crate) quantity: u32,
}

/// The answer that every yardstick writes: a hold, as long as a real one.
#[derive(Debug, Serialize)]
pub(crate) struct Held<'a> {
    hold_id: &'a str,
    product_id: &'a str,
    quantity: u32,
    status: &'a str,
    unit_price: Money,
    discount: Money,
    amount: Money,
    expires_at: &'a str,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Money {
    value: u32,
    currency: &'static str,
}

impl<'a> Held<'a> {
    pub(crate) fn new(order: &Order<'a>, hold_id: &'a str) -> Self {
        let money = |value| Money {
            value,
            currency: "USD",
        };
        Self {
            hold_id,
            product_id: order.product_id,
            quantity: order.quantity,
            status: "held",
            unit_price: money(1_999),
            discount: money(0),
            amount: money(1_999),
            expires_at: "2030-01-01T00:00:00.000Z",
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        serde_json::to_writer(&mut out, self).expect("strings and numbers into memory cannot fail");
        Bytes::from(out)
    }
}

/// Status and JSON body of an answer.
pub(crate) struct Reply(pub(crate) StatusCode, pub(crate) Bytes);

impl Reply {
    /// A problem with nothing but its reason.
    pub(crate) fn problem(status: StatusCode, reason: &str) -> Self {
        Self(status, Bytes::from(format!(r#"{{"reason":"{reason}"}}"#)))
    }
}

/// What a worker does with a request.
pub(crate) trait Handler: Clone + Send + 'static {
    /// Answers one request; `key` is its idempotency key, or empty.
    fn answer(&self, key: Bytes, body: Bytes) -> impl Future<Output = Reply> + Send;
}

/// Serves on `args.listen` with as many runtimes as asked; `make` is called inside each of them.
///
/// Says on stdout where it listens, once every listener takes connections: with port 0 nobody else can know.
pub(crate) fn serve<H, F>(args: &ServeArgs, make: impl Fn(usize) -> F + Sync) -> Result<(), Fault>
where
    H: Handler,
    F: Future<Output = Result<H, Fault>>,
{
    if args.until_stdin_closes {
        std::thread::spawn(|| {
            let mut rest = Vec::new();
            // Closed or failed: whoever started this server is gone.
            let _ = std::io::stdin().take(1 << 10).read_to_end(&mut rest);
            std::process::exit(0);
        });
    }
    let listeners = listeners(args).during(|| format!("listen on {}", args.listen))?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = listeners
            .into_iter()
            .enumerate()
            .map(|(n, listener)| {
                scope.spawn({
                    let make = &make;
                    move || worker(listener, make(n))
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|bug| std::panic::resume_unwind(bug))?;
        }
        Ok(())
    })
}

fn worker<H: Handler>(
    listener: std::net::TcpListener,
    make: impl Future<Output = Result<H, Fault>>,
) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .during(|| "start a runtime".to_owned())?;
    runtime.block_on(async {
        let handler = make.await?;
        let listener =
            TcpListener::from_std(listener).during(|| "watch the listener".to_owned())?;
        loop {
            let (stream, _) = listener
                .accept()
                .await
                .during(|| "accept a connection".to_owned())?;
            // Latency is worse without it, nothing breaks.
            let _ = stream.set_nodelay(true);
            let handler = handler.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| respond(handler.clone(), request));
                // A client that goes away is no news to a yardstick.
                let _ = http1::Builder::new()
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

async fn respond<H: Handler>(
    handler: H,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = request.headers().get("idempotency-key");
    let key = key.map_or_else(Bytes::new, |k| Bytes::copy_from_slice(k.as_bytes()));
    let Reply(status, body) = match request.into_body().collect().await {
        Ok(body) => handler.answer(key, body.to_bytes()).await,
        Err(_) => Reply::problem(StatusCode::BAD_REQUEST, "invalid_request"),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// One listener a worker, all on one address, which is said on stdout.
fn listeners(args: &ServeArgs) -> std::io::Result<Vec<std::net::TcpListener>> {
    let first = listener(args.listen)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..args.workers {
        all.push(listener(address)?);
    }
    println!("listening on {address}");
    Ok(all)
}

fn listener(listen: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(listen),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}
