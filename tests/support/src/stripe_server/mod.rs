//! A server that speaks Stripe's protocol in the test's own process, on a thread and runtime of
//! its own, so that it outlives a `kill -9` of what is tested, and that goes wrong on demand.
//!
//! It keeps to Stripe's documentation in what money depends on: the states of an intent, stored
//! results under idempotency keys (errors included, validation aside), parameters compared, a
//! declined card, lists with cursors, signed webhooks. Its books say what really happened.
//! `books` is the company, `cards` the issuers, `faults` the bad days, `hooks` the webhooks.
pub mod books;
mod cards;
pub mod faults;
pub mod hooks;
mod shown;
pub mod site;
pub mod wire;

use books::{Booked, StripeBooks};
use bytes::Bytes;
use faults::{Effect, Fault, Faults, Kept, Rates, Silence};
use hooks::{Delivered, Hooks, Webhooks};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use site::{Hasty, Told};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use wire::{Op, Reply, StripeRequest};

/// The key that it lets in.
pub const SECRET_KEY: &str = "sk_test_of_the_server_in_the_test";

/// Longer than anyone waits for an answer that does not come.
const NEVER: Duration = Duration::from_hours(1);

/// A running server; gone when dropped.
pub struct StripeServer {
    state: Arc<State>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    books: Mutex<StripeBooks>,
    faults: Mutex<Faults>,
    hooks: Hooks,
    traces: Mutex<Vec<[Option<String>; 2]>>,
}

impl StripeServer {
    /// Starts on a free port of loopback.
    pub fn start() -> Self {
        let runtime = runtime();
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            books: Mutex::default(),
            faults: Mutex::default(),
            hooks: Hooks::new(runtime.handle().clone()),
            traces: Mutex::default(),
        });
        let mut server = Self {
            state,
            address,
            stop: None,
            thread: None,
        };
        server.serve_on(runtime, listener);
        server
    }

    /// For `payments.stripe.api_base`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests of this kind go wrong in this way; rules are taken in order.
    pub fn script(&self, op: Op, fault: Fault, times: u32) {
        self.state.faults.lock().unwrap().script(op, fault, times);
    }

    /// From now on requests go wrong at random, the same for the same seed and request.
    pub fn rates(&self, rates: Rates) {
        self.state.faults.lock().unwrap().rates(rates);
    }

    /// From now on at most so many requests a second are taken.
    pub fn limit(&self, per_s: u32) {
        self.state.faults.lock().unwrap().limit(per_s);
    }

    /// The same where others have used the limit up: for a second nothing is taken.
    pub fn limit_used_up(&self, per_s: u32) {
        self.state.faults.lock().unwrap().limit_used_up(per_s);
    }

    /// From now on every request is taken, however many.
    pub fn no_limit(&self) {
        self.state.faults.lock().unwrap().no_limit();
    }

    /// Requests beyond that limit.
    pub fn too_many(&self) -> u32 {
        self.state.faults.lock().unwrap().too_many()
    }

    /// From now on every request goes wrong in this way, or none.
    pub fn every(&self, fault: Option<Fault>) {
        self.state.faults.lock().unwrap().every(fault);
    }

    /// Closes the port and every connection; the books stay.
    pub fn go_down(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Opens the port again.
    pub fn come_back(&mut self) {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.serve_on(runtime, listener);
    }

    fn serve_on(&mut self, runtime: Runtime, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let serving = accept(listener, Arc::clone(&self.state));
        self.stop = Some(stop);
        self.thread = Some(std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        }));
    }

    /// Hours of silence, or their end.
    pub fn silence(&self, silence: Silence) {
        self.state.faults.lock().unwrap().silence(silence);
    }

    /// Forgets stored results, as Stripe may after a day.
    pub fn forget_keys(&self) {
        self.state.books.lock().unwrap().forget_keys();
    }

    /// From now on the account has Stripe's search.
    pub fn searchable(&self) {
        self.state.books.lock().unwrap().searchable = true;
    }

    /// From now on the search does not have what is made, as for up to an hour.
    pub fn search_is_behind(&self) {
        self.state.books.lock().unwrap().search_is_behind = true;
    }

    /// Whether a result is stored under a key for a request of this path.
    pub fn stored(&self, path: &str) -> bool {
        self.state.books.lock().unwrap().stored(path)
    }

    /// Lets what is set aside under `reference` lapse, as after seven days.
    pub fn lapse(&self, reference: &str) {
        self.change(|books| books.lapse(reference));
    }

    /// The cardholder disputes what was captured under `reference`: `needs_response`, later `won`
    /// or `lost`.
    pub fn dispute(&self, reference: &str, status: &str) {
        self.change(|books| books.dispute(reference, status));
    }

    /// Somebody captures `amount` of what is set aside under `reference` at Stripe's own site.
    pub fn capture_at_site(&self, reference: &str, amount: i64) {
        self.change(|books| books.capture_at_site(reference, amount));
    }

    /// Somebody gives `amount` of what was captured under `reference` back at Stripe's own site.
    pub fn refund_at_site(&self, reference: &str, amount: i64) {
        self.change(|books| books.refund_at_site(reference, amount));
    }

    /// From now on somebody captures at Stripe's own site what was just authorized.
    pub fn hasty(&self, hasty: Hasty) {
        self.state.books.lock().unwrap().hasty = Some(hasty);
    }

    /// Somebody gives up to so much of an intent back at Stripe's own site; how much was left of it.
    pub fn some_back(&self, intent: &str, most: i64) -> i64 {
        self.change(|books| books.some_back(intent, most))
    }

    /// The cardholder disputes up to so much of an intent, and this is what comes of it; of how much.
    pub fn part_disputed(&self, intent: &str, most: i64, told: &[Told]) -> i64 {
        self.change(|books| books.part_disputed(intent, most, told))
    }

    /// Whether everything that is told until it is taken was taken.
    pub fn all_taken(&self) -> bool {
        self.state.hooks.all_taken()
    }

    /// The payment under `reference` is in another currency from now on.
    pub fn change_currency(&self, reference: &str, currency: &str) {
        self.change(|books| books.change_currency(reference, currency));
    }

    /// Refuses every refund from now on, or not any more.
    pub fn refuse_refunds(&self, refuses: bool) {
        self.change(|books| books.refuses_refunds = refuses);
    }

    /// Tells once more that something was refunded under `reference`; the look at it that this brings
    /// shows so much less than is, as books do that lag behind.
    pub fn lag_once(&self, reference: &str, amount: i64) {
        self.change(|books| {
            books.lags = Some(amount);
            for at in books.of_reference(reference) {
                books.happened(at, "charge.refunded");
            }
        });
    }

    /// Ends refunds that are pending, well or not.
    pub fn settle_refunds(&self, status: &str) {
        self.change(|books| books.settle_refunds(status));
    }

    /// What was given back under `reference` comes back: the refunds failed after all.
    pub fn fail_refunds(&self, reference: &str) {
        self.change(|books| books.fail_refunds(reference));
    }

    /// Tells once more of refunds under `reference` that failed.
    pub fn tell_failed_refunds(&self, reference: &str) {
        self.change(|books| books.tell_failed_refunds(reference));
    }

    fn change<T>(&self, change: impl FnOnce(&mut StripeBooks) -> T) -> T {
        let mut books = self.state.books.lock().unwrap();
        let changed = change(&mut books);
        self.state.hooks.send(books.take_events());
        changed
    }

    /// Every intent, oldest first.
    pub fn books(&self) -> Vec<Booked> {
        self.state.books.lock().unwrap().booked()
    }

    /// The intents of each reference of ours.
    pub fn by_reference(&self) -> BTreeMap<String, Vec<Booked>> {
        let mut sorted: BTreeMap<String, Vec<Booked>> = BTreeMap::new();
        for booked in self.books() {
            if let Some(reference) = booked.reference.clone() {
                sorted.entry(reference).or_default().push(booked);
            }
        }
        sorted
    }

    /// Panics where money was moved that should not have been: two authorizations for one
    /// reference, two captures, a void after a capture, more given back than taken.
    pub fn check(&self) {
        for (reference, intents) in self.by_reference() {
            let authorized: u32 = intents.iter().map(|it| it.authorizations).sum();
            assert!(authorized <= 1, "{reference} authorized twice: {intents:?}");
            for it in &intents {
                assert!(it.captures <= 1, "captured twice: {it:?}");
                assert!(
                    it.captures + it.cancels <= 1,
                    "captured and canceled: {it:?}"
                );
                assert!(it.left() >= 0, "more back than taken: {it:?}");
                assert!(
                    it.by_hand || it.captured == 0 || it.captured == it.amount,
                    "in part: {it:?}"
                );
            }
        }
    }

    /// How many requests of this kind came, answered or not.
    pub fn requests(&self, op: Op) -> u32 {
        self.state.faults.lock().unwrap().seen(op)
    }

    /// `traceparent` and `tracestate` of every request, in their order.
    pub fn traces(&self) -> Vec<[Option<String>; 2]> {
        self.state.traces.lock().unwrap().clone()
    }

    /// Where webhooks go from now on, and how.
    pub fn webhooks(&self, webhooks: Webhooks) {
        self.state.hooks.configure(webhooks);
    }

    /// Every delivery that was answered.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.state.hooks.delivered()
    }
}

impl Drop for StripeServer {
    fn drop(&mut self) {
        self.go_down();
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(Arc::clone(&state), request));
            let http = hyper::server::conn::http1::Builder::new();
            // A cut is an error here, and meant.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Sent>> {
    let asked = read(request).await?;
    state.traces.lock().unwrap().push(asked.trace.clone());
    let fault = state.faults.lock().unwrap().next(&asked);
    let Some(fault) = fault else {
        return Ok(sent(&state.perform(&asked)));
    };
    match fault {
        Fault::Error(effect, kept) => Ok(sent(&state.fail(&asked, effect, kept))),
        Fault::NoAnswer(effect) => {
            state.perform_if(effect, &asked);
            tokio::time::sleep(NEVER).await;
            Err(cut())
        }
        Fault::Cut(effect) => {
            state.perform_if(effect, &asked);
            Err(cut())
        }
        Fault::CutInTheMiddle => {
            let reply = state.perform(&asked);
            let half = reply.body.slice(..reply.body.len() / 2);
            let whole = reply.body.len() as u64;
            let body = Sent {
                part: Some(half),
                left: whole,
            };
            Ok(response(&reply, body))
        }
        Fault::TooMany => Ok(sent(&Reply::error(
            429,
            "invalid_request_error",
            "rate_limit",
        ))),
        Fault::Status(status, retry_after) => {
            let mut answer = sent(&Reply::error(status, "api_error", ""));
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", seconds.into());
            }
            Ok(answer)
        }
        Fault::Garbage => {
            let mut reply = state.perform(&asked);
            reply.body = Bytes::from_static(b"{\"id\": \"pi_");
            Ok(sent(&reply))
        }
        // Done even where nobody waits for it any more; its key is in use until then.
        Fault::Slow(ms) => {
            if !state.books.lock().unwrap().begin(&asked) {
                return Ok(sent(&Reply::error(
                    409,
                    "idempotency_error",
                    "idempotency_key_in_use",
                )));
            }
            let later = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                state.books.lock().unwrap().end(&asked);
                state.perform(&asked)
            });
            Ok(sent(&later.await.map_err(|_| cut())?))
        }
    }
}

impl State {
    fn perform(&self, asked: &StripeRequest) -> Reply {
        let mut books = self.books.lock().unwrap();
        let reply = books.answer(asked);
        self.hooks.send(books.take_events());
        reply
    }

    fn perform_if(&self, effect: Effect, asked: &StripeRequest) {
        if effect == Effect::After {
            self.perform(asked);
        }
    }

    fn fail(&self, asked: &StripeRequest, effect: Effect, kept: Kept) -> Reply {
        if kept == Kept::Yes && self.books.lock().unwrap().knows(asked) {
            return self.perform(asked);
        }
        self.perform_if(effect, asked);
        let reply = Reply::error(500, "api_error", "");
        if kept == Kept::Yes {
            self.books.lock().unwrap().keep(asked, &reply);
        }
        reply
    }
}

async fn read(request: Request<Incoming>) -> io::Result<StripeRequest> {
    let (head, body) = request.into_parts();
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let body = body.collect().await.map_err(|_| cut())?.to_bytes();
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let fields = form_urlencoded::parse(query).chain(form_urlencoded::parse(&body));
    let bearer = format!("Bearer {SECRET_KEY}");
    Ok(StripeRequest {
        op: Op::of(head.method.as_str(), head.uri.path()),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        fields: fields
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        key: header("idempotency-key"),
        let_in: header("authorization").as_deref() == Some(bearer.as_str())
            && header("stripe-version").is_some(),
        trace: [header("traceparent"), header("tracestate")],
    })
}

fn cut() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

fn sent(reply: &Reply) -> Response<Sent> {
    let left = reply.body.len() as u64;
    let part = Some(reply.body.clone());
    response(reply, Sent { part, left })
}

fn response(reply: &Reply, body: Sent) -> Response<Sent> {
    let mut response = Response::builder()
        .status(reply.status)
        .header("content-type", "application/json")
        .header("request-id", "req_of_the_test");
    if reply.replayed {
        response = response.header("idempotent-replayed", "true");
    }
    response.body(body).unwrap()
}

/// A body that says how long it is and may break off before.
struct Sent {
    part: Option<Bytes>,
    left: u64,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.part.take() {
            Some(part) => {
                self.left -= part.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(part))))
            }
            None if self.left > 0 => Poll::Ready(Some(Err(cut()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_none() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
