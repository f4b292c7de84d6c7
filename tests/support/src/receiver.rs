//! A shop's endpoint of webhooks in the test's own process, on a thread and runtime of its own, so that
//! it outlives a `kill -9` of what is tested, and that answers as the test says.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A delivery as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `webhook-id`.
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// The buyer of its event.
    pub fn user(&self) -> String {
        self.json()["data"]["user_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn lsn(&self) -> u64 {
        self.json()["data"]["lsn"].as_u64().unwrap()
    }
}

/// How a delivery is answered.
#[derive(Clone, Debug)]
pub struct HookReply {
    status: u16,
    header: Option<(&'static str, String)>,
    is_held: bool,
    rest: BodyRest,
}

/// What follows after the beginning of an answer's body.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum BodyRest {
    Nothing,
    /// Nothing, but the body does not end.
    Silence,
    /// More and more.
    Flood,
}

impl HookReply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            header: None,
            is_held: false,
            rest: BodyRest::Nothing,
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.header = Some((name, value.to_owned()));
        self
    }

    /// With another status, if that holds.
    pub fn or_if(mut self, holds: bool, status: u16) -> Self {
        if holds {
            self.status = status;
        }
        self
    }

    pub fn followed_by(mut self, rest: BodyRest) -> Self {
        self.rest = rest;
        self
    }

    /// Not before [`Receiver::release`].
    pub fn held(mut self) -> Self {
        self.is_held = true;
        self
    }
}

type Answering = Box<dyn Fn(&Received) -> HookReply + Send>;

struct ReceiverState {
    received: Mutex<Vec<(Received, u16)>>,
    answering: Mutex<Answering>,
    released: watch::Sender<bool>,
    /// Requests under way, and the most at one time.
    under_way: Mutex<(usize, usize)>,
}

/// A running endpoint; gone when dropped.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<ReceiverState>,
    _runtime: Runtime,
}

impl Receiver {
    /// Starts on a free port of loopback, and accepts everything.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ReceiverState {
            received: Mutex::default(),
            answering: Mutex::new(Box::new(|_| HookReply::status(204))),
            released: watch::Sender::new(false),
            under_way: Mutex::default(),
        });
        runtime.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on deliveries are answered in this way.
    pub fn answer(&self, how: impl Fn(&Received) -> HookReply + Send + 'static) {
        *self.state.answering.lock().unwrap() = Box::new(how);
    }

    /// Answers what is held.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Everything that arrived, with the status that it was answered with.
    pub fn all(&self) -> Vec<(Received, u16)> {
        self.state.received.lock().unwrap().clone()
    }

    /// The most requests that were under way at one time.
    pub fn most_at_once(&self) -> usize {
        self.state.under_way.lock().unwrap().1
    }

    /// What was accepted.
    pub fn accepted(&self) -> Vec<Received> {
        let all = self.all().into_iter();
        all.filter(|it| it.1 < 300).map(|it| it.0).collect()
    }
}

async fn serve(listener: TcpListener, state: Arc<ReceiverState>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, Arc::clone(&state)));
            let connection = hyper::server::conn::http1::Builder::new();
            // It ends when the client closes it.
            let _ = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<ReceiverState>,
) -> Result<Response<AnswerBody>, Infallible> {
    {
        let mut under_way = state.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
    }
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| {
        let value = value.to_str().unwrap().to_owned();
        (name.to_string(), value)
    });
    let received = Received {
        path: parts.uri.to_string(),
        headers: headers.collect(),
        body: body.to_vec(),
        at: Instant::now(),
    };
    let reply = (state.answering.lock().unwrap())(&received);
    let all = (received, reply.status);
    state.received.lock().unwrap().push(all);
    if reply.is_held {
        let mut released = state.released.subscribe();
        let _ = released.wait_for(|it| *it).await;
    }
    let mut response = Response::builder().status(reply.status);
    if let Some((name, value)) = reply.header {
        response = response.header(name, value);
    }
    state.under_way.lock().unwrap().0 -= 1;
    let body = AnswerBody {
        beginning: Some(Bytes::from("thanks")),
        rest: reply.rest,
    };
    Ok(response.body(body).unwrap())
}

struct AnswerBody {
    beginning: Option<Bytes>,
    rest: BodyRest,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        match self.rest {
            BodyRest::Nothing => Poll::Ready(None),
            BodyRest::Silence => Poll::Pending,
            BodyRest::Flood => Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; 1024]))))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (self.rest, &self.beginning) {
            (BodyRest::Nothing, Some(beginning)) => SizeHint::with_exact(beginning.len() as u64),
            (BodyRest::Nothing, None) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
