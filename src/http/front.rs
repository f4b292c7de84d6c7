//! Owns the handler of one thread: authentication, dispatch, and sending the response.
//!
//! Invariants, in the order of the checks: key and role; path and method; whether this history of
//! the log may sell, for changes by the shop; the limit of requests in flight of the pool, once the
//! body has arrived; then the checks of the handler. Every response has the id of its request and
//! is counted. An act is in the audit trail before it is answered, and continues if its client
//! disconnects. Deliberately absent: the handlers (`route` has their table).

use super::admin::history;
use super::call::Call;
use super::call::acting::{Acting, actor, role_of};
use super::call::auth::{Access, Caller, Known};
use super::call::seal::Seal;
use super::call::worker::{InFlightSlot, Worker};
use super::core::Core;
use super::route::{self, Groups, Route, RouteMatch, Serves, Who};
use super::server::Handler;
use super::server::presence::ActiveRequest;
use super::wire::answer::{Answer, AnswerBody, IDEMPOTENT_REPLAYED};
use super::wire::framing::{self, After};
use super::wire::problem::{self, Limit, Reason, problem};
use super::wire::trace::{method_word, with_trace};
use crate::config::Role;
use crate::engine::event::{Act, Target};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::QuotaScope;
use crate::ids::RequestId;
use crate::journal::CommitGate;
use crate::random::Random;
use crate::telemetry::metrics::{Pool, Stage, ThreadCounters};
use crate::telemetry::requests::ServedRequest;
use crate::telemetry::tracer::{CallerTrust, RequestSpan};
use crate::time::UnixMs;
use crate::trace::{self, Recording, RequestTrace, Scoped, TraceContext};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use serde_json::json;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

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
        let worker = Worker::new(&core.journal, gate, counters, &core.tracer, core.bounds);
        Arc::new(Self {
            groups: Groups::new(core, &worker),
            core: Arc::clone(core),
            worker,
            place,
            serves,
        })
    }

    /// Where a request goes: to a route, by a caller who may call it, or nowhere.
    fn head(
        &self,
        id: RequestId,
        parts: Parts,
        under_way: &ActiveRequest,
    ) -> Result<(Route, Call, Seal), Box<Halted>> {
        let after = match framing::check(&parts) {
            Ok(after) => after,
            Err(error) => {
                let answer = problem::invalid(Refusal::InvalidRequest.into(), id, &[error]);
                // In HTTP/2 a request that is not understood harms no other one.
                let after = if parts.version > Version::HTTP_11 {
                    After::Open
                } else {
                    After::Close
                };
                let place = route::served_place(None, &parts.method);
                return Err(Halted::answered(
                    answer,
                    Seal::of(Access::Open, after, place),
                ));
            }
        };
        let found = route::resolve(parts.uri.path());
        let route = found.as_ref().and_then(|it| it.route(&parts.method));
        let place = route::served_place(route, &parts.method);
        let open = Seal::of(Access::Open, after, place);
        let who = found.as_ref().map(RouteMatch::who);
        let who = who.unwrap_or_else(|| Who::of_area(parts.uri.path()));
        if !self.serves.includes(who) {
            return Err(Halted::answered(problem(Reason::NotFound, id), open));
        }
        // What a path takes is no secret, and who asks by OPTIONS often has no key.
        if let Some(found) = &found
            && parts.method == Method::OPTIONS
        {
            return Err(Halted::answered(not_allowed(id, found), open));
        }
        let access = who.access(&parts.method);
        let seal = Seal { access, ..open };
        let caller = match self.admit(access, &parts, under_way) {
            Ok(caller) => caller,
            Err(reason) => return Err(Box::new(Halted::TurnedDown(reason, parts, seal))),
        };
        let found = found.ok_or_else(|| Halted::answered(problem(Reason::NotFound, id), seal))?;
        let route = route.ok_or_else(|| Halted::answered(not_allowed(id, &found), seal))?;
        if access == Access::Shop && !self.core.journal.history().may_sell() {
            return Err(Halted::answered(history::not_accepted(id), seal));
        }
        let pool = route.pool();
        if !matches!(pool, Pool::Probe | Pool::Admin) && under_way.is_reserved() {
            return Err(Halted::answered(
                no_place(parts.version, id, under_way),
                seal,
            ));
        }
        let call = Call {
            id,
            slot: InFlightSlot::of(pool, route.log_use()),
            caller,
            acting: None,
            flow: route.flow(),
            param: found.param.into_owned(),
            body_bytes_max: OnceLock::new(),
            parts,
        };
        Ok((route, call, seal))
    }

    /// The answer to a request that goes nowhere.
    async fn answer_halted(
        &self,
        (began, id): (Instant, RequestId),
        halted: Halted,
        under_way: &ActiveRequest,
    ) -> Response<AnswerBody> {
        let (answer, seal) = match halted {
            Halted::Answered(answer, seal) => (answer, seal),
            Halted::TurnedDown(reason, parts, seal) => {
                let answer = self.turned_down(reason, seal.access, &parts, id).await;
                (answer, seal)
            }
        };
        let asks_for_key = answer.asks_for_key();
        let took = began.elapsed();
        self.worker.counters.took(Stage::Request, took, None);
        let response = self.leave(id, (answer, seal), (took, None), under_way);
        if asks_for_key {
            let peer = under_way.peer();
            self.core.wrong_keys.log(peer, self.core.journal.now());
            // What is kept back takes no room from others.
            tokio::time::sleep(self.core.wrong_keys.keep_back(peer)).await;
        }
        response
    }

    /// Counts an answer on its way out.
    fn leave(
        &self,
        id: RequestId,
        (answer, seal): (Answer, Seal),
        (took, traced): (Duration, Option<TraceContext>),
        under_way: &ActiveRequest,
    ) -> Response<AnswerBody> {
        self.worker.counters.served(ServedRequest {
            route: seal.place,
            status: answer.status.as_u16(),
            took,
            traced,
        });
        if answer.status.is_success() {
            under_way.progressed();
        }
        seal.on(answer).into_response(id)
    }

    /// The answer to an administrative act. The act continues if its client disconnects.
    async fn answer_act(
        self: &Arc<Self>,
        act: Act,
        route: Route,
        mut call: Call,
        body: Incoming,
    ) -> Answer {
        // Before it is an act: one that finds no slot is none.
        let waits_for_body = !body.is_end_stream() && route.reads_body();
        if !waits_for_body && let Err(reason) = self.worker.enter(&call.slot).await {
            return call.problem(reason);
        }
        call.acting = Some(Arc::new(Acting::new(act, call.caller(), call.id)));
        let (front, id) = (Arc::clone(self), call.id);
        let doing = async move { front.act(route, call, body).await };
        let doing = tokio::spawn(trace::carry(doing));
        match doing.await {
            Ok(answer) => answer,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The process is stopping.
            Err(_) => problem(Reason::NotReady, id),
        }
    }

    /// The trace that a request goes on in, and its span, if that is recorded. The call by value: what
    /// a future borrows stays in it until its end.
    fn traced(
        &self,
        parent: Option<RequestTrace>,
        route: Route,
        call: Call,
    ) -> (Call, Option<RequestTrace>, Option<Box<RequestSpan>>) {
        let tracer = &self.core.tracer;
        if !tracer.is_on() {
            return (call, parent, None);
        }
        let trust = match &call.caller {
            Some(_) => CallerTrust::Key,
            None => CallerTrust::Stranger,
        };
        let above = parent.as_ref().map(|it| it.context.span());
        let trace = tracer.request(parent, trust);
        let recorded = trace.clone().filter(|it| it.recording == Recording::Yes);
        let span = recorded.map(|trace| {
            Box::new(RequestSpan {
                trace,
                parent: above,
                method: method_word(&call.parts.method),
                route: route.template(),
            })
        });
        (call, trace, span)
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
        parts: &Parts,
        id: RequestId,
    ) -> Answer {
        let mut answer = problem(reason, id);
        let found = route::resolve(parts.uri.path());
        // Not across the wait below, and as of now: the keys may have changed since.
        let caller = self.core.keys.load().caller(&parts.headers).cloned();
        if let (Reason::Forbidden, Some(caller)) = (reason, caller) {
            answer = wrong_role(id, &caller, access);
            if let Some((act, target)) = forbidden(access, found, &parts.method) {
                let word = Reason::Forbidden.texts().reason;
                let by = actor(&caller, id);
                self.worker.write_down_refused(act, target, word, by).await;
            }
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

/// A request that goes nowhere.
enum Halted {
    /// This is its answer.
    Answered(Answer, Seal),
    /// Its caller may not.
    TurnedDown(Reason, Parts, Seal),
}

impl Halted {
    fn answered(answer: Answer, seal: Seal) -> Box<Self> {
        Box::new(Self::Answered(answer, seal))
    }
}

/// What the trail says of a call that the caller's role does not allow, where it says anything.
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

fn not_allowed(id: RequestId, found: &RouteMatch<'_>) -> Answer {
    let methods = HeaderValue::from_str(&found.allow());
    let methods = methods.expect("methods and commas are visible ASCII");
    problem(Reason::MethodNotAllowed, id).with(ALLOW, methods)
}

/// The caller's role does not allow this: which it is, and which ones do.
fn wrong_role(id: RequestId, caller: &Caller, access: Access) -> Answer {
    let role = role_of(caller.role).as_str();
    let may = |role: &Role| {
        Caller {
            role: *role,
            ..caller.clone()
        }
        .may(access)
    };
    let needed = [Role::Shop, Role::Admin, Role::Auditor, Role::Metrics].into_iter();
    let needed: Vec<_> = needed.filter(may).map(|it| role_of(it).as_str()).collect();
    let detail = format!(
        "This API key has the role {role}; this request needs the role {}.",
        needed.join(" or ")
    );
    let facts = json!({ "role": role, "roles_needed": needed });
    problem::problem_about(Reason::Forbidden, id, &detail, &facts)
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
    ) -> Result<Response<AnswerBody>, Infallible> {
        let began = Instant::now();
        let id = self.request_id();
        let (parts, body) = request.into_parts();
        // Only what holds and buys go through stands in this future itself: hyper moves it as a whole.
        let (parts, trace) = with_trace(parts);
        let (route, call, seal) = match self.head(id, parts, &under_way) {
            Ok(admitted) => admitted,
            Err(halted) => {
                let answering = self.answer_halted((began, id), *halted, &under_way);
                return Ok(Box::pin(Scoped::new(trace, answering)).await);
            }
        };
        let (call, trace, span) = self.traced(trace, route, call);
        let answer = match (route.act(), trace) {
            (None, None) => self.groups.answer(route, call, body).await,
            (None, trace) => {
                Box::pin(Scoped::new(trace, self.groups.answer(route, call, body))).await
            }
            (Some(act), trace) => {
                Box::pin(Scoped::new(trace, self.answer_act(act, route, call, body))).await
            }
        };
        if route.pool() == Pool::Webhook && answer.status == StatusCode::OK {
            // A genuine signature shows as much as a key does.
            under_way.trust();
        }
        let (took, traced) = (began.elapsed(), span.as_ref().map(|it| it.trace.context));
        if let Some(span) = span {
            let result = (answer.status.as_u16(), answer.reason());
            self.core.tracer.request_ended(*span, took, id, result);
        }
        // A request that waits for an event says nothing of how long requests take.
        if route != Route::Events {
            self.worker.counters.took(Stage::Request, took, traced);
        }
        Ok(self.leave(id, (answer, seal), (took, traced), &under_way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_an_answer_is_small_because_hyper_moves_it() {
        let bytes = bytes_of(<Front as Handler>::handle);
        assert!(
            bytes <= 3_584,
            "{bytes} bytes: box what is neither a hold nor a buy"
        );
    }
}
