//! Owns the threads that serve: one runtime and one listener each, all on one port except the
//! thread for administration if that has its own address, and their end.
//!
//! Invariants: a connection stays on the thread that accepted it; the number of open connections is
//! limited; stopping closes the listeners first, then lets requests in flight end, within the given
//! time. Deliberately absent: the meaning of requests (the [`Handler`]) and signals (`cli`).

pub mod admission;
mod connection;
pub mod listener;
pub mod peer;
pub mod presence;
pub mod pulse;
pub mod sampled;
pub mod tls;
mod unasked;
mod validity;
pub mod wrong_keys;

use crate::config::ServerConfig;
use crate::engine::refusal::Refusal;
use crate::http::wire::answer::AnswerBody;
use crate::http::wire::problem;
use crate::ids::RequestId;
use crate::telemetry::metrics::ThreadCounters;
use crate::time::UnixMs;
use admission::{ConnectionBounds, ConnectionTable, Entrance, RESERVED_MAX};
use hyper::body::Incoming;
use hyper::{Request, Response};
use listener::Listener;
use peer::Peer;
use presence::ActiveRequest;
use pulse::Pulse;
use sampled::Sampled;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tls::Tls;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long accepting waits at a time while evicted connections close.
const CLOSING_WAIT: Duration = Duration::from_millis(1);
/// Maximum number of waits: a second in total, in which every worker runs many times.
const CLOSING_WAITS_MAX: u32 = 1_000;

/// The request handler of one thread.
pub trait Handler: Send + Sync + 'static {
    /// The thread's counters.
    fn counters(&self) -> &Arc<ThreadCounters>;

    /// A new request's id.
    fn request_id(&self) -> RequestId;

    /// The current time.
    fn now(&self) -> UnixMs;

    /// Called once on the thread's runtime, before the first connection.
    fn start(self: &Arc<Self>);

    /// Whether no background work is in progress.
    fn is_idle(&self) -> bool;

    /// Answers one request. The type of the answer is hyper's, so that nothing wraps the future: hyper
    /// moves it as a whole.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        under_way: ActiveRequest,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + 'static;
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address could not be bound.
    #[error("cannot listen on {address}: {source}; free the address, or set {key} to another one")]
    Listen {
        /// The setting.
        key: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    /// A file for TLS cannot be used.
    #[error("cannot use the TLS file `{}`: {what}; check server.tls.cert and server.tls.key", path.display())]
    Tls { path: PathBuf, what: String },
    /// A thread cannot be started.
    #[error("cannot start an HTTP thread: {0}; check the limits of threads and open files")]
    Thread(std::io::Error),
}

/// The state shared by the threads.
pub(in crate::http) struct ServerShared {
    pub(in crate::http) limits: ServerLimits,
    pub(in crate::http) tls: Option<Arc<Tls>>,
    pub(in crate::http) stop: Arc<Stop>,
    admission: Arc<ConnectionTable>,
    evictions: Sampled,
    refusals: Sampled,
}

/// Limits of connections.
#[derive(Clone, Debug)]
pub(in crate::http) struct ServerLimits {
    pub(in crate::http) header_read_timeout: Duration,
    pub(in crate::http) header_bytes_max: usize,
    pub(in crate::http) body_bytes_max: usize,
    pub(in crate::http) send_timeout: Duration,
    pub(in crate::http) http2_streams_max: u32,
    pub(in crate::http) drain: Duration,
}

/// The running threads.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    runtimes: Vec<Handle>,
    stop: Arc<Stop>,
    /// The accepting threads hold the other ends.
    accepting: Receiver<Infallible>,
}

/// An address with its handlers.
pub struct Face<H> {
    /// The name of its threads.
    pub name: &'static str,
    /// Its sockets.
    pub listener: Listener,
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// Maximum of one peer without a key.
    pub per_peer_max: usize,
    /// One per thread.
    pub handlers: Vec<Arc<H>>,
}

impl ServerLimits {
    fn of(config: &ServerConfig) -> Self {
        Self {
            header_read_timeout: config.header_read_timeout,
            header_bytes_max: config.header_bytes_max,
            body_bytes_max: config.body_bytes_max,
            send_timeout: config.send_timeout,
            http2_streams_max: config.http2_streams_max,
            drain: config.drain,
        }
    }
}

impl std::fmt::Debug for ServerShared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.limits.fmt(out)
    }
}

impl Server {
    /// Listens, and starts one thread for each handler of `main` and `admin`.
    pub fn start<H: Handler>(
        config: &ServerConfig,
        tls: Option<&Arc<Tls>>,
        main: Face<H>,
        admin: Option<Face<H>>,
    ) -> Result<Self, ServeError> {
        let (accepts, accepting) = channel();
        let mut server = Self {
            address: main.listener.address(),
            admin_address: admin.as_ref().map(|admin| admin.listener.address()),
            threads: Vec::new(),
            runtimes: Vec::new(),
            stop: Arc::default(),
            accepting,
        };
        for face in std::iter::once(main).chain(admin) {
            let shared = Arc::new(ServerShared {
                limits: ServerLimits::of(config),
                tls: tls.cloned(),
                stop: Arc::clone(&server.stop),
                admission: ConnectionTable::new(ConnectionBounds {
                    max: face.connections_max,
                    per_peer_max: face.per_peer_max,
                    reserved_max: RESERVED_MAX,
                }),
                evictions: Sampled::default(),
                refusals: Sampled::default(),
            });
            server.start_threads(face, &shared, &accepts)?;
        }
        Ok(server)
    }

    fn start_threads<H: Handler>(
        &mut self,
        face: Face<H>,
        shared: &Arc<ServerShared>,
        accepts: &Sender<Infallible>,
    ) -> Result<(), ServeError> {
        let listeners = face.listener.listen()?;
        for (place, (listener, handler)) in listeners.into_iter().zip(face.handlers).enumerate() {
            let (shared, accepts) = (Arc::clone(shared), accepts.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(4)
                .build()
                .map_err(ServeError::Thread)?;
            self.runtimes.push(runtime.handle().clone());
            let thread = std::thread::Builder::new()
                .name(format!("{}-{place}", face.name))
                .spawn(move || {
                    runtime.block_on(work(listener, handler, shared, accepts));
                    runtime.shutdown_background();
                })
                .map_err(ServeError::Thread)?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// The main address, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for administration, metrics and probes.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// What asks the threads for a sign of life.
    pub fn pulse(&self) -> Pulse {
        Pulse::of(&self.runtimes)
    }

    /// Stops accepting. Requests in flight end within `server.drain_s`.
    pub(in crate::http) fn retire(self) {
        self.stop.set();
        // Nothing is ever sent: this returns once every thread has dropped its end.
        let _ = self.accepting.recv();
    }

    /// Stops accepting and waits for requests in flight, at most `server.drain_s`.
    pub fn drain(self) {
        self.stop.set();
        for thread in self.threads {
            // The hook has reported a panic of a thread; nothing is left to end.
            let _ = thread.join();
        }
    }
}

/// Runs one thread.
async fn work<H: Handler>(
    listener: std::net::TcpListener,
    handler: Arc<H>,
    shared: Arc<ServerShared>,
    accepts: Sender<Infallible>,
) {
    handler.start();
    match TcpListener::from_std(listener) {
        Ok(listener) => accept(listener, &handler, &shared).await,
        Err(error) => {
            tracing::error!(event = "listener_failed", error = %error, "cannot use a listener; this thread serves no connections, restart the process");
        }
    }
    drop(accepts);
    let deadline = Instant::now() + shared.limits.drain;
    let counters = handler.counters();
    let under_way = || counters.connections() > 0 || !handler.is_idle();
    while under_way() && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Accepts connections until stopped.
async fn accept<H: Handler>(listener: TcpListener, handler: &Arc<H>, shared: &Arc<ServerShared>) {
    let mut stopped = std::pin::pin!(shared.stop.wait());
    loop {
        room_to_close(&shared.admission).await;
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer::new(address.ip());
                if take_in(stream, peer, handler, shared) == TakenIn::InPlaceOfAnother {
                    // The evicted task may be on this thread, and closes its connection when it
                    // runs.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                // Usually out of file descriptors: open connections must close first.
                tracing::warn!(event = "accept_failed", error = %error, "cannot accept a connection; check the limit of open files");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Waits until evicted connections have closed, if the maximum number is closing. Otherwise a
/// shop's connection would be refused because a stranger's closes slowly; so all wait in the
/// kernel's queue, in order.
async fn room_to_close(admission: &ConnectionTable) {
    for _ in 0..CLOSING_WAITS_MAX {
        if !admission.is_closing_full() {
            return;
        }
        sleep(CLOSING_WAIT).await;
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum TakenIn {
    InPlaceOfAnother,
    Otherwise,
}

fn take_in<H: Handler>(
    stream: TcpStream,
    peer: Peer,
    handler: &Arc<H>,
    shared: &Arc<ServerShared>,
) -> TakenIn {
    let (place, taken_in) = match shared.admission.enter(peer) {
        Entrance::Free(place) => (place, TakenIn::Otherwise),
        Entrance::InPlaceOf(place, evicted, cause) => {
            handler.counters().evicted(cause);
            shared.evictions.sample(handler.now(), |evicted_count| {
                tracing::warn!(
                    event = "connections_evicted",
                    peer = %evicted.peer(),
                    cause = cause.as_str(),
                    evicted = evicted_count,
                    "connections without a valid key were closed to make room; the latest was from this peer"
                );
            });
            (place, TakenIn::InPlaceOfAnother)
        }
        Entrance::TurnedAway => {
            turn_away(&stream, peer, handler, shared);
            return TakenIn::Otherwise;
        }
    };
    let socket = socket2::SockRef::from(&stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(shared.limits.send_timeout)));
    if set.is_err() {
        // The peer has already disconnected.
        return taken_in;
    }
    let connected = handler.counters().connected();
    let (handler, shared) = (Arc::clone(handler), Arc::clone(shared));
    tokio::spawn(async move {
        // In this order: the place is released after the socket, which `life` owns, is closed.
        let (_connected, place) = (connected, place);
        // Pinned here: moved into another future, it would need its space twice.
        let life = pin!(connection::serve(
            stream,
            place.connection(),
            handler,
            shared
        ));
        place.connection().until_evicted(life).await;
    });
    taken_in
}

fn turn_away<H: Handler>(stream: &TcpStream, peer: Peer, handler: &Arc<H>, shared: &ServerShared) {
    handler.counters().turned_away();
    shared.refusals.sample(handler.now(), |refused| {
        tracing::warn!(
            event = "connections_refused",
            %peer,
            refused,
            "connections were refused because too many are open; the latest was from this peer"
        );
    });
    let told = problem::on_the_wire(Refusal::Overloaded.into(), handler.request_id());
    // The buffer of the new connection is empty; if not, the peer only sees the close.
    let _ = stream.try_write(&told);
}

/// A stop signal for many tasks.
#[derive(Debug, Default)]
pub(in crate::http) struct Stop {
    set: AtomicBool,
    notify: Notify,
}

impl Stop {
    fn set(&self) {
        self.set.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    pub(in crate::http) fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    pub(in crate::http) async fn wait(&self) {
        let mut notified = std::pin::pin!(self.notify.notified());
        // Register before checking, so that a stop in between is not missed.
        notified.as_mut().enable();
        if !self.set.load(Ordering::SeqCst) {
            notified.await;
        }
    }
}
