//! Owns the responses while the log is being read: the probes, and 503 for everything else.
//!
//! Invariants: it answers on the address that `serve` has bound, before the log is known, so it
//! reveals only the progress of reading; once the real server takes over, no further connection is
//! accepted here.
//! Deliberately absent: keys, because no response here needs one.

use super::probes::live;
use super::readiness::{NotReady, readiness_json};
use crate::config::ServerConfig;
use crate::engine::refusal::Refusal;
use crate::http::server::listener::Listener;
use crate::http::server::presence::ActiveRequest;
use crate::http::server::tls::Tls;
use crate::http::server::{Face, Handler, ServeError, Server};
use crate::http::wire::answer::{Answer, AnswerBody};
use crate::http::wire::problem::problem;
use crate::ids::RequestId;
use crate::journal::Progress;
use crate::random::Random;
use crate::telemetry::metrics::{Metrics, ThreadCounters};
use crate::time::UnixMs;
use hyper::body::Incoming;
use hyper::http::StatusCode;
use hyper::{Method, Request, Response};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

/// Maximum connections per address: enough for probes, and within the reserve of descriptors.
const CONNECTIONS_MAX: usize = 16;

/// A server that answers during recovery.
pub struct Recovering {
    server: Server,
    progress: Arc<Mutex<Progress>>,
}

impl Recovering {
    /// Answers on the address of `main`, and of `admin` if there is one.
    pub fn start(
        main: &Listener,
        admin: Option<&Listener>,
        tls: Option<&Arc<Tls>>,
        config: &ServerConfig,
    ) -> Result<Self, ServeError> {
        let progress = Arc::new(Mutex::new(Progress {
            stage: "opening the data directory",
            done: 0,
            total: 0,
        }));
        let probes = Arc::new(Probes {
            counters: Arc::clone(Metrics::new(1, Vec::new()).shard(0)),
            progress: Arc::clone(&progress),
            began: Instant::now(),
        });
        let face = |name, listener: &Listener| -> Result<_, ServeError> {
            Ok(Face {
                name,
                listener: listener.first()?,
                connections_max: CONNECTIONS_MAX,
                per_peer_max: CONNECTIONS_MAX.div_ceil(2),
                handlers: vec![Arc::clone(&probes)],
            })
        };
        let admin = admin.map(|it| face("probes-admin", it)).transpose()?;
        let server = Server::start(config, tls, face("probes", main)?, admin)?;
        Ok(Self { server, progress })
    }

    /// Updates the progress.
    pub fn at(&self, progress: Progress) {
        *self.progress.lock() = progress;
    }

    /// Accepts no further connection. Open ones end by themselves.
    pub fn stop(self) {
        self.server.retire();
    }
}

struct Probes {
    counters: Arc<ThreadCounters>,
    progress: Arc<Mutex<Progress>>,
    began: Instant,
}

impl Probes {
    fn ready(&self) -> Answer {
        let Progress { stage, done, total } = *self.progress.lock();
        let mut told = readiness_json(Some(NotReady::Recovering));
        if let Some(detail) = told["detail"].as_str() {
            let come = format!("{detail} Now {stage}: {done} of {total} bytes.");
            told["detail"] = come.into();
        }
        Answer::value(StatusCode::SERVICE_UNAVAILABLE, &told)
    }

    fn answer(&self, id: RequestId, request: &Request<Incoming>) -> Answer {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" if reads => live(),
            "/readyz" if reads => self.ready(),
            _ => problem(Refusal::StorageUnavailable.into(), id),
        }
    }
}

impl Handler for Probes {
    fn counters(&self) -> &Arc<ThreadCounters> {
        &self.counters
    }

    fn request_id(&self) -> RequestId {
        RequestId(Random::System.draw())
    }

    fn start(self: &Arc<Self>) {}

    fn is_idle(&self) -> bool {
        true
    }

    /// The time since the start of this server; it is unrelated to the time of events.
    fn now(&self) -> UnixMs {
        let age_ms = self.began.elapsed().as_millis();
        UnixMs::new(u64::try_from(age_ms).unwrap_or(u64::MAX))
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        under_way: ActiveRequest,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let id = self.request_id();
        let answer = self.answer(id, &request).into_response(id);
        drop(under_way);
        Ok(answer)
    }
}
