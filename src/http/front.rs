//! Owns the handler of one thread: authentication, dispatch, and sending the response.
//!
//! Invariants, in the order of the checks: key and role; path and method; whether this history of
//! the log may sell, for changes by the shop; the limit of requests in flight of the pool, once the
//! body has arrived; then the checks of the handler. Every response has the id of its request and
//! is counted. An act is in the audit trail before it is answered, and continues if its client
//! disconnects. Deliberately absent: the handlers (`route` has their table).

use super::admin::history;
use super::call::Call;
use super::call::acting::{Acting, actor};
use super::call::auth::{Access, Caller, Known};
use super::call::worker::{InFlightSlot, Worker};
use super::core::Core;
use super::route::{self, Groups, Route, RouteMatch, Serves, Who};
use super::server::Handler;
use super::server::presence::ActiveRequest;
use super::wire::answer::{Answer, AnswerBody, IDEMPOTENT_REPLAYED};
use super::wire::framing::{self, After};
use super::wire::problem::{self, Limit, Reason, problem};
use crate::config::Role;
use crate::engine::event::{Act, Target};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::QuotaScope;
use crate::ids::RequestId;
use crate::journal::CommitGate;
use crate::random::Random;
use crate::telemetry::metrics::{Pool, Stage, ThreadCounters};
use crate::time::UnixMs;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use std::sync::Arc;
use std::time::Instant;

/// The window of an API key's rate is a second.
const KEY_RATE_WAIT_MS: u64 = 1_000;

/// The handler of one thread.
pub struct Front {
    core: Arc<Core>,
    worker: Arc<Worker>,
    groups: Groups,
    place: usize,
    serves: Serves,
}

impl Front {
    /// The handler of the thread with index `place`, for the routes in `serves`, waiting at `gate`.
    pub fn new(core: &Arc<Core>, place: usize, serves: Serves, gate: Arc<CommitGate>) -> Arc<Self> {
        let counters = core.metrics.shard(place);
        let worker = Worker::new(&core.journal, gate, counters, core.bounds);
        Arc::new(Self {
            groups: Groups::new(core, &worker),
            core: Arc::clone(core),
            worker,
            place,
            serves,
        })
    }

    /// Answers one request.
    async fn answer(
        self: &Arc<Self>,
        id: RequestId,
        request: Request<Incoming>,
        under_way: &ActiveRequest,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let close = HeaderValue::from_static("close");
        match framing::check(&parts) {
            Ok(After::Open) => self.answer_in_bounds(id, parts, body, under_way).await,
            Ok(After::Close) => {
                let answer = self.answer_in_bounds(id, parts, body, under_way).await;
                answer.with(CONNECTION, close)
            }
            Err(error) => {
                let answer = problem::invalid(Refusal::InvalidRequest.into(), id, &[error]);
                answer.with(CONNECTION, close)
            }
        }
    }

    /// Answers one request whose framing is unambiguous.
    async fn answer_in_bounds(
        self: &Arc<Self>,
        id: RequestId,
        parts: Parts,
        body: Incoming,
        under_way: &ActiveRequest,
    ) -> Answer {
        let found = route::resolve(parts.uri.path());
        let who = found.as_ref().map(RouteMatch::who);
        let who = who.unwrap_or_else(|| Who::of_area(parts.uri.path()));
        if !self.serves.includes(who) {
            return problem(Reason::NotFound, id);
        }
        let access = who.access(&parts.method);
        let admitted = self.admit(access, &parts, under_way);
        let answer = match (admitted, found) {
            (Err(reason), found) => self.turned_down(reason, access, found, &parts, id).await,
            (Ok(_), None) => problem(Reason::NotFound, id),
            (Ok(caller), Some(found)) => match found.route(&parts.method) {
                None => problem(Reason::MethodNotAllowed, id).with(ALLOW, allow(&found)),
                Some(_) if access == Access::Shop && !self.core.journal.history().may_sell() => {
                    history::not_accepted(id)
                }
                Some(route) => {
                    let param = found.param.into_owned();
                    let (acting, slot) = (None, InFlightSlot::of(route.pool(), route.log_use()));
                    let flow = route.flow();
                    let call = Call {
                        id,
                        slot,
                        caller,
                        acting,
                        flow,
                        parts,
                        param,
                    };
                    self.answer_at(route, call, body, under_way).await
                }
            },
        };
        if access == Access::Open {
            return answer;
        }
        // Responses that need a key must not be cached.
        answer.with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// Answers a route for an authorized caller.
    async fn answer_at(
        self: &Arc<Self>,
        route: Route,
        mut call: Call,
        body: Incoming,
        under_way: &ActiveRequest,
    ) -> Answer {
        let pool = route.pool();
        if !matches!(pool, Pool::Probe | Pool::Admin) && under_way.is_reserved() {
            return no_place(call.parts.version, call.id, under_way);
        }
        // A slot is for work: a request whose body has not arrived does not need one yet.
        let waits_for_body = !body.is_end_stream() && route.reads_body();
        if !waits_for_body && let Err(reason) = self.worker.enter(&call.slot).await {
            return call.problem(reason);
        }
        let Some(act) = route.act() else {
            let answer = self.groups.answer(route, call, body).await;
            if pool == Pool::Webhook && answer.status == StatusCode::OK {
                // A genuine signature counts as much as a key.
                under_way.trust();
            }
            return answer;
        };
        call.acting = Some(Arc::new(Acting::new(act, call.caller(), call.id)));
        let (front, id) = (Arc::clone(self), call.id);
        let doing = tokio::spawn(async move { front.act(route, call, body).await });
        match doing.await {
            Ok(answer) => answer,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The process is stopping.
            Err(_) => problem(Reason::NotReady, id),
        }
    }

    /// Carries out an act; it is in the audit trail before this returns.
    async fn act(&self, route: Route, call: Call, body: Incoming) -> Answer {
        let acting = Arc::clone(call.acting());
        let target = Target::parse(&call.param);
        let answer = self.groups.answer(route, call, body).await;
        if let Some(reason) = answer.reason() {
            let refused =
                self.worker
                    .write_down_refused(acting.act(), target, reason, acting.actor());
            refused.await;
            return answer;
        }
        let mut headers = answer.headers.iter();
        let replayed = headers.any(|(name, _)| *name == IDEMPOTENT_REPLAYED);
        debug_assert!(
            replayed || acting.is_described(),
            "{:?} succeeded and left nothing in the audit trail",
            acting.act()
        );
        answer
    }

    /// Authenticates and authorizes the caller.
    fn admit(
        &self,
        access: Access,
        parts: &Parts,
        under_way: &ActiveRequest,
    ) -> Result<Option<Caller>, Reason> {
        if access == Access::Open {
            return Ok(None);
        }
        let keys = self.core.keys.load();
        if access == Access::Metrics && keys.metrics_are_open() {
            return Ok(None);
        }
        let known = keys.known(&parts.headers);
        let Known { caller, rate, .. } = known.ok_or(Reason::Unauthorized)?;
        // Shop connections may not keep places that are reserved for others.
        let has_place = self.serves != Serves::Admin && !under_way.is_reserved();
        if caller.role != Role::Shop || has_place {
            under_way.trust();
        }
        if !caller.may(access) {
            return Err(Reason::Forbidden);
        }
        if rate.as_ref().is_some_and(|rate| !rate.take()) {
            return Err(Refusal::RateLimited.into());
        }
        Ok(Some(caller.clone()))
    }

    async fn turned_down(
        &self,
        reason: Reason,
        access: Access,
        found: Option<RouteMatch<'_>>,
        parts: &Parts,
        id: RequestId,
    ) -> Answer {
        let answer = problem(reason, id);
        // Read the keys after the wait above and do not hold them across the wait below: they may
        // have changed.
        let caller = self.core.keys.load().caller(&parts.headers).cloned();
        if let (Reason::Forbidden, Some(caller)) = (reason, caller)
            && let Some((act, target)) = forbidden(access, found, &parts.method)
        {
            let word = Reason::Forbidden.told().reason;
            let by = actor(&caller, id);
            self.worker.write_down_refused(act, target, word, by).await;
        }
        let keys = self.core.keys.load();
        if let (
            Reason::Refusal(Refusal::RateLimited),
            Some(Known {
                rate: Some(rate), ..
            }),
        ) = (reason, keys.known(&parts.headers))
        {
            self.worker.counters.key_rate_limited();
            let limit = Limit {
                scope: QuotaScope::ApiKey,
                count: rate.per_s.into(),
                window_s: Some(1),
            };
            return problem::rate_limited(id, limit, KEY_RATE_WAIT_MS);
        }
        if reason == Reason::Unauthorized {
            self.worker.counters.unauthorized();
            return answer.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// The audit event for a call that the role does not allow, if it is logged.
fn forbidden(
    access: Access,
    found: Option<RouteMatch<'_>>,
    method: &Method,
) -> Option<(Act, Option<Target>)> {
    let template = |found: Option<RouteMatch<'_>>| Target::parse(found?.template());
    match access {
        Access::AdminRead => Some((Act::Read, template(found))),
        Access::Shop => Some((Act::ShopCall, template(found))),
        Access::Admin => {
            let called = found.and_then(|found| Some((found.route(method)?, found.param)));
            let Some((route, param)) = called else {
                return Some((Act::Unknown, None));
            };
            Some((route.act().unwrap_or(Act::Unknown), Target::parse(&param)))
        }
        Access::Open | Access::ShopRead | Access::Metrics => None,
    }
}

fn allow(found: &RouteMatch<'_>) -> HeaderValue {
    HeaderValue::from_str(&found.allow()).expect("methods and commas are visible ASCII")
}

/// The response on a connection reserved for probes, metrics and administration.
fn no_place(version: Version, id: RequestId, under_way: &ActiveRequest) -> Answer {
    under_way.leave();
    let answer = problem(Refusal::Overloaded.into(), id);
    if version > Version::HTTP_11 {
        return answer;
    }
    answer.with(CONNECTION, HeaderValue::from_static("close"))
}

impl Handler for Front {
    fn counters(&self) -> &Arc<ThreadCounters> {
        &self.worker.counters
    }

    fn request_id(&self) -> RequestId {
        RequestId(Random::System.draw())
    }

    fn now(&self) -> UnixMs {
        self.core.journal.now()
    }

    fn start(self: &Arc<Self>) {
        self.core.metrics.enter_thread(self.place);
        tokio::spawn(Arc::clone(&self.worker.gate).drive());
    }

    fn is_idle(&self) -> bool {
        self.core.payments.in_flight() == 0
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        under_way: ActiveRequest,
    ) -> Response<AnswerBody> {
        let began = Instant::now();
        let id = self.request_id();
        let answer = self.answer(id, request, &under_way).await;
        self.worker.counters.answered(answer.status.as_u16());
        self.worker.counters.took(Stage::Request, began.elapsed());
        if answer.asks_for_key() {
            let peer = under_way.peer();
            self.core.wrong_keys.log(peer, self.core.journal.now());
            // After the request has released its slot, so a delayed response takes no room from
            // others.
            tokio::time::sleep(self.core.wrong_keys.keep_back(peer)).await;
        }
        if answer.status.is_success() {
            under_way.progressed();
        }
        answer.into_response(id)
    }
}
