//! Owns one thread's handler: who calls, where to, and how the answer leaves.
//!
//! Invariants, in the order of the checks: key and role; path and method; whether this history of the
//! log may sell, for what the shop changes; a bound
//! on requests of the pool under way, once the body is there; then the call's own checks. Every answer carries its request's id and is counted; no
//! answer leaves before what it reveals is durable ([`Front::durable`]).
//! Deliberately absent: the calls themselves (`shop`, `admin`, `operations`).

use crate::backup::Backup;
use crate::config::{ApiKey, Config, Role};
use crate::engine::command::Verdict;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::QuotaScope;
use crate::http::admin::history;
use crate::http::hooks::webhooks::WebhookDesk;
use crate::http::route::audited::Acting;
use crate::http::route::auth::{Access, Caller, Keys, Known};
use crate::http::route::{self, Resource, Serves};
use crate::http::server::Handler;
use crate::http::server::presence::UnderWay;
use crate::http::server::wrong_keys::WrongKeys;
use crate::http::wire::answer::{Answer, AnswerBody};
use crate::http::wire::body::{self, BodyBounds};
use crate::http::wire::framing::{self, After};
use crate::http::wire::problem::{self, Limit, Reason, problem};
use crate::ids::{Lsn, RequestId};
use crate::journal::{CommitGate, Journal};
use crate::money::Currency;
use crate::payments::driver::Payments;
use crate::payments::sandbox::Sandbox;
use crate::random::Random;
use crate::receipts::Sealer;
use crate::reconcile::Reconciler;
use crate::report::feed::{Mode, Sinks};
use crate::report::postgres::segments::SegmentJob;
use crate::telemetry::metrics::{Entered, Metrics, Pool, Shard, Stage};
use crate::time::UnixMs;
use crate::webhooks::{Endpoint, Secrets};
use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What all threads answer from.
pub struct Core {
    pub(in crate::http) journal: Arc<Journal>,
    pub(in crate::http) payments: Arc<Payments>,
    pub(in crate::http) sealer: Sealer,
    pub(in crate::http) sandbox: Option<Arc<Sandbox>>,
    pub(in crate::http) reconciler: Arc<Reconciler>,
    pub(in crate::http) backup: Option<Arc<Backup>>,
    pub(in crate::http) segments: Option<Arc<SegmentJob>>,
    pub(in crate::http) metrics: Arc<Metrics>,
    keys: ArcSwap<Keys>,
    pub(in crate::http) currencies: Vec<Currency>,
    pub(in crate::http) body: BodyBounds,
    pub(in crate::http) answer_within: Duration,
    pub(in crate::http) config_shown: ArcSwap<Vec<u8>>,
    pub(in crate::http) webhooks: WebhookDesk,
    wrong_keys: WrongKeys,
    pub(in crate::http) sinks: Arc<Sinks>,
    pub(in crate::http) stopping: AtomicBool,
    /// Held while a history of the log is being accepted.
    pub(in crate::http) accepting: tokio::sync::Mutex<()>,
    in_flight_max_each: u64,
    in_flight_others_max_each: u64,
    bodies_bytes_max_each: u64,
}

/// Pools that bodies are read for; each has the same share of the bytes.
const BODY_POOLS: usize = 4;
/// Of `server.in_flight_max`, the share of each pool beside the shop's.
const OTHERS_SHARE: usize = 8;
/// Each such pool has room for this many requests at least.
const OTHERS_MIN: usize = 8;

/// After a second an API key has room again.
const KEY_RATE_WAIT_MS: u64 = 1_000;

/// The parts that a [`Core`] is made of.
pub struct Parted {
    /// The engine with its log.
    pub journal: Arc<Journal>,
    /// Drives payments.
    pub payments: Arc<Payments>,
    /// Seals receipts.
    pub sealer: Sealer,
    /// The gateway, where it is the sandbox.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Compares the gateway's charges with ours.
    pub reconciler: Arc<Reconciler>,
    /// Ships the log to a store, where that is set up.
    pub backup: Option<Arc<Backup>>,
    /// Computes segments of buyers, where that is set up.
    pub segments: Option<Arc<SegmentJob>>,
    /// Counters, one shard for each worker and one more.
    pub metrics: Arc<Metrics>,
    /// What carries events out of the log.
    pub sinks: Arc<Sinks>,
    /// The secrets that webhooks are signed with.
    pub webhook_secrets: Arc<Secrets>,
}

impl Core {
    /// What `config` says, over these parts.
    pub fn new(config: &Config, parts: Parted) -> Arc<Self> {
        let workers = config.server.workers.max(1);
        let in_flight_max = config.server.in_flight_max;
        let in_flight_each = in_flight_max.div_ceil(workers);
        let others = (in_flight_max / OTHERS_SHARE).max(OTHERS_MIN);
        // One body of any kind always has room.
        let body_max = config
            .webhooks
            .body_bytes_max
            .max(config.server.body_bytes_max);
        let bodies = (config.server.bodies_bytes_max / BODY_POOLS / workers).max(body_max);
        Arc::new(Self {
            journal: parts.journal,
            payments: parts.payments,
            sealer: parts.sealer,
            sandbox: parts.sandbox,
            reconciler: parts.reconciler,
            backup: parts.backup,
            segments: parts.segments,
            metrics: parts.metrics,
            keys: ArcSwap::from_pointee(Keys::new(&config.keys)),
            currencies: config.sale.currencies.clone(),
            body: BodyBounds {
                bytes_max: config.server.body_bytes_max,
                timeout: config.server.body_read_timeout,
            },
            answer_within: config.payments.answer_within,
            config_shown: ArcSwap::from_pointee(config.shown().to_string().into_bytes()),
            sinks: parts.sinks,
            webhooks: WebhookDesk::new(parts.webhook_secrets, config),
            wrong_keys: WrongKeys::new(),
            stopping: AtomicBool::new(false),
            accepting: tokio::sync::Mutex::new(()),
            in_flight_max_each: in_flight_each as u64,
            in_flight_others_max_each: others.div_ceil(workers) as u64,
            bodies_bytes_max_each: bodies as u64,
        })
    }

    /// From now on these are the keys, also on connections that are open, and this is what the
    /// configuration in force shows.
    pub fn reload(&self, keys: &[ApiKey], shown: &serde_json::Value) {
        let now = Keys::after(keys, &self.keys.load());
        self.keys.store(Arc::new(now));
        self.config_shown
            .store(Arc::new(shown.to_string().into_bytes()));
    }

    /// From now on the program says that it is not ready, and takes requests nevertheless.
    pub fn leave(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Drives on the payments that the log says are open, on the runtime of `gate`. They are
    /// noted at once, before this is first polled.
    pub fn resume(&self, gate: &Arc<CommitGate>) -> impl Future<Output = ()> + Send + 'static {
        self.payments.resume(gate)
    }

    /// From now on the gateway's charges are compared with ours, on a thread of their own.
    pub fn start_reconciling(&self) -> std::io::Result<()> {
        self.reconciler.start()
    }

    /// From now on segments of buyers are computed, on a thread of their own.
    pub fn start_segmenting(&self) -> std::io::Result<()> {
        self.segments.as_ref().map_or(Ok(()), SegmentJob::start)
    }

    /// The same, and what it does beside requests ends.
    pub fn stop(&self) {
        self.leave();
        self.reconciler.stop();
        if let Some(segments) = &self.segments {
            segments.stop();
        }
    }
}

/// Something to run beside the requests of one thread.
pub type Aside = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One thread's handler.
pub struct Front {
    pub(in crate::http) core: Arc<Core>,
    pub(in crate::http) gate: Arc<CommitGate>,
    pub(in crate::http) counters: Arc<Shard>,
    place: usize,
    serves: Serves,
    aside: Mutex<Vec<Aside>>,
}

impl Front {
    /// The handler of the thread at `place`, which answers what it `serves` behind `gate`, and runs
    /// `aside`, too.
    pub fn new(
        core: &Arc<Core>,
        place: usize,
        serves: Serves,
        gate: Arc<CommitGate>,
        aside: Vec<Aside>,
    ) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::clone(core),
            gate,
            counters: Arc::clone(core.metrics.shard(place)),
            place,
            serves,
            aside: Mutex::new(aside),
        })
    }

    /// The answer to one request.
    async fn answer(
        self: &Arc<Self>,
        id: RequestId,
        request: Request<Incoming>,
        under_way: &UnderWay,
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

    /// The answer to one request whose head can be trusted.
    async fn answer_in_bounds(
        self: &Arc<Self>,
        id: RequestId,
        parts: Parts,
        body: Incoming,
        under_way: &UnderWay,
    ) -> Answer {
        let access = route::access(&parts.method, parts.uri.path());
        if !self.serves.includes(access, parts.uri.path()) {
            return problem(Reason::NotFound, id);
        }
        let answer = self.answer_to(id, access, parts, body, under_way).await;
        if access == Access::Open {
            return answer;
        }
        // What a key opens is nobody else's to keep.
        answer.with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// The answer to one request, as far as its key allows it.
    async fn answer_to(
        self: &Arc<Self>,
        id: RequestId,
        access: Access,
        parts: Parts,
        body: Incoming,
        under_way: &UnderWay,
    ) -> Answer {
        let caller = match self.admit(access, &parts, under_way) {
            Ok(caller) => caller,
            Err(reason) => return self.turned_down(reason, access, &parts, id).await,
        };
        let Some((resource, param)) = route::resolve(parts.uri.path()) else {
            return problem(Reason::NotFound, id);
        };
        if !resource.takes(&parts.method) {
            return problem(Reason::MethodNotAllowed, id)
                .with(ALLOW, HeaderValue::from_static(resource.allow()));
        }
        if access == Access::Shop && !self.core.journal.may_sell() {
            return history::not_accepted(id);
        }
        let param = param.into_owned();
        let pool = resource.pool();
        if !matches!(pool, Pool::Probe | Pool::Admin) && under_way.is_reserved() {
            return no_place(parts.version, id, under_way);
        }
        let slot = Slot::of(pool);
        // A slot is for work. A body that its sender withholds is none yet.
        let waits_for_body = !body.is_end_stream() && resource.reads_body(&parts.method);
        if !waits_for_body && self.enter(&slot).is_err() {
            return problem(Refusal::Overloaded.into(), id);
        }
        let call = Call {
            id,
            slot,
            acting: Acting::at(resource, &parts.method, caller.as_ref(), id),
            caller,
            parts,
            param,
        };
        let answer = self.audited(resource, call, body).await;
        if pool == Pool::Webhook && answer.status == StatusCode::OK {
            // A genuine signature shows as much as a key does.
            under_way.trust();
        }
        answer
    }

    /// Counts the request among those under way, once.
    fn enter(&self, slot: &Slot) -> Result<(), Refusal> {
        if slot.entered.get().is_some() {
            return Ok(());
        }
        let max = match slot.pool {
            // Whoever probes would else stop the process mid-sale.
            Pool::Probe => u64::MAX,
            Pool::Shop => self.core.in_flight_max_each,
            Pool::Keyless | Pool::Webhook | Pool::Admin => self.core.in_flight_others_max_each,
        };
        let entered = self.counters.enter(slot.pool, max);
        let entered = entered.ok_or(Refusal::Overloaded)?;
        // Nobody else has this slot.
        let _ = slot.entered.set(entered);
        Ok(())
    }

    /// The whole body, after which the request has its slot.
    pub(in crate::http) async fn whole(
        &self,
        call: &Call,
        body: Incoming,
        bounds: BodyBounds,
    ) -> Result<Bytes, Refusal> {
        let pool = call.slot.pool;
        let keep_room = |bytes: usize| {
            let max = self.core.bodies_bytes_max_each;
            let room = self.counters.expect_body(pool, bytes as u64, max);
            room.ok_or(Refusal::Overloaded)
        };
        let body = body::read(body, bounds, keep_room).await?;
        self.enter(&call.slot)?;
        Ok(body)
    }

    /// Who calls, where that is asked for and they may.
    fn admit(
        &self,
        access: Access,
        parts: &Parts,
        under_way: &UnderWay,
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
        // The shop's connections do not get to keep what is there for others.
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
        let answer = problem(reason, id);
        // Not across the wait below, and as of now: the keys may have changed since.
        let caller = self.core.keys.load().caller(&parts.headers).cloned();
        if let (Reason::Forbidden, Some(caller)) = (reason, caller) {
            self.forbidden(access, &caller, parts, id).await;
        }
        let keys = self.core.keys.load();
        if let (
            Reason::Refusal(Refusal::RateLimited),
            Some(Known {
                rate: Some(rate), ..
            }),
        ) = (reason, keys.known(&parts.headers))
        {
            self.counters.key_rate_limited();
            let limit = Limit {
                scope: QuotaScope::ApiKey,
                count: rate.per_s.into(),
                window_s: Some(1),
            };
            return problem::rate_limited(id, limit, KEY_RATE_WAIT_MS);
        }
        if reason == Reason::Unauthorized {
            self.counters.unauthorized();
            return answer.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }

    pub(in crate::http) async fn dispatch(
        &self,
        resource: Resource,
        call: Call,
        body: Incoming,
    ) -> Answer {
        match resource {
            Resource::Holds => self.place_hold(call, body).await,
            Resource::Buy => self.buy(call, body).await,
            Resource::Hold if call.parts.method == Method::DELETE => self.release_hold(call).await,
            Resource::Hold => self.hold(call).await,
            Resource::Products => self.products(call).await,
            Resource::Product => self.product(call).await,
            Resource::Purchase => self.purchase(call).await,
            Resource::Receipt => self.receipt(call).await,
            Resource::VerifyReceipt => self.verify_receipt(call, body).await,
            Resource::Jwks => self.jwks(),
            Resource::AdminProducts => self.admin_products(call).await,
            Resource::AdminProduct => self.admin_product(call, body).await,
            Resource::ProductStock => self.product_stock(call, body).await,
            Resource::AdminPromotions => self.admin_promotions(call).await,
            Resource::AdminPromotion => self.admin_promotion(call, body).await,
            Resource::Snapshot => self.snapshot(call).await,
            Resource::Status => self.status(call).await,
            Resource::Audit => self.audit(call).await,
            Resource::Config => self.config(),
            Resource::AdminPurchase => self.admin_purchase(call).await,
            Resource::Refunds => self.refunds(call, body).await,
            Resource::Refund => self.refund(call).await,
            Resource::Void => self.void(call, body).await,
            Resource::Settle => self.settle(call, body).await,
            Resource::Reviews => self.reviews(call).await,
            Resource::ApproveReview => self.decide_review(call, body, Verdict::Approve).await,
            Resource::RejectReview => self.decide_review(call, body, Verdict::Reject).await,
            Resource::OpenPayments => self.open_payments(call).await,
            Resource::AdminUser => self.admin_user(call).await,
            Resource::UserPurchases => self.user_purchases(call).await,
            Resource::Rewards => self.rewards(call).await,
            Resource::SpendRewards => self.spend_rewards(call, body).await,
            Resource::RiskRules => self.risk_rules(call, body).await,
            Resource::UserPause => self.pause_buyer(call, body).await,
            Resource::UserRating => self.rate_buyer(call, body).await,
            Resource::SandboxCharges => self.sandbox_charges(&call),
            Resource::PaymentWebhook => self.webhook(call, body, Endpoint::Payment).await,
            Resource::StripeWebhook => self.webhook(call, body, Endpoint::Stripe).await,
            Resource::WebhookSecrets => self.webhook_secrets(call, body).await,
            Resource::WebhookSecret => self.retire_webhook_secret(call).await,
            Resource::Reconcile => self.reconcile(call).await,
            Resource::Segments => self.segments(call).await,
            Resource::AcceptHistory => self.accept_history(call, body).await,
            Resource::Sinks => self.sinks(),
            Resource::PauseSink => self.set_sink(call, Mode::Paused).await,
            Resource::ResumeSink => self.set_sink(call, Mode::Run).await,
            Resource::DeadLetters => self.dead_letters(call).await,
            Resource::Redrive => self.redrive(call, body).await,
            Resource::Live => Self::live(),
            Resource::Ready => self.ready(),
            Resource::Metrics => self.metrics(),
        }
    }

    /// Waits until everything before `lsn` is durable; the reason to tell where it never will be.
    pub(in crate::http) async fn durable(&self, lsn: Option<Lsn>) -> Result<(), Refusal> {
        let Some(lsn) = lsn else { return Ok(()) };
        let began = Instant::now();
        let waited = self.gate.wait(lsn).await;
        self.counters.took(Stage::LogWait, began.elapsed());
        waited.map_err(|_| Refusal::StorageUnavailable)
    }

    /// The body, which must be JSON by its content type.
    pub(in crate::http) async fn json_body(
        &self,
        call: &Call,
        body: Incoming,
    ) -> Result<Bytes, Refusal> {
        self.body_of(call, body, &["application/json"]).await
    }

    /// The body, which must be a JSON merge patch, or JSON, by its content type.
    pub(in crate::http) async fn patch_body(
        &self,
        call: &Call,
        body: Incoming,
    ) -> Result<Bytes, Refusal> {
        let kinds = ["application/merge-patch+json", "application/json"];
        self.body_of(call, body, &kinds).await
    }

    async fn body_of(&self, call: &Call, body: Incoming, kinds: &[&str]) -> Result<Bytes, Refusal> {
        let mut types = call.parts.headers.get_all(CONTENT_TYPE).iter();
        let known = types.next().is_some_and(|it| is_one_of(it, kinds)) && types.next().is_none();
        if !known {
            return Err(Refusal::UnsupportedMediaType);
        }
        self.whole(call, body, self.core.body).await
    }
}

/// The answer on a connection that is there for probes, metrics and administration only.
fn no_place(version: Version, id: RequestId, under_way: &UnderWay) -> Answer {
    under_way.leave();
    let answer = problem(Refusal::Overloaded.into(), id);
    if version > Version::HTTP_11 {
        return answer;
    }
    answer.with(CONNECTION, HeaderValue::from_static("close"))
}

/// One of these kinds of JSON, with or without `charset=utf-8`.
fn is_one_of(value: &HeaderValue, kinds: &[&str]) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let (kind, rest) = text.split_once(';').unwrap_or((text, ""));
    let rest = rest.trim();
    let utf8 = ["charset=utf-8", "charset=\"utf-8\""];
    let kind = kind.trim();
    kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
        && (rest.is_empty() || utf8.iter().any(|known| rest.eq_ignore_ascii_case(known)))
}

impl Handler for Front {
    fn counters(&self) -> &Arc<Shard> {
        &self.counters
    }

    fn request_id(&self) -> RequestId {
        RequestId(Random::System.draw())
    }

    fn now(&self) -> UnixMs {
        self.core.journal.now()
    }

    fn start(self: &Arc<Self>) {
        self.core.metrics.enter_thread(self.place);
        tokio::spawn(Arc::clone(&self.gate).drive());
        for aside in self.aside.lock().drain(..) {
            tokio::spawn(aside);
        }
    }

    fn is_idle(&self) -> bool {
        self.core.payments.in_flight() == 0
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        under_way: UnderWay,
    ) -> Response<AnswerBody> {
        let began = Instant::now();
        let id = self.request_id();
        let answer = self.answer(id, request, &under_way).await;
        self.counters.answered(answer.status.as_u16());
        self.counters.took(Stage::Request, began.elapsed());
        if answer.asks_for_key() {
            let peer = under_way.peer();
            self.core.wrong_keys.log(peer, self.core.journal.now());
            // After the request has given its place back: what is kept back takes no room from others.
            tokio::time::sleep(self.core.wrong_keys.keep_back(peer)).await;
        }
        if answer.status.is_success() {
            under_way.progressed();
        }
        answer.into_response(id)
    }
}

/// A request's place among those under way in its pool.
#[derive(Debug)]
pub(in crate::http) struct Slot {
    pool: Pool,
    entered: OnceLock<Entered>,
}

impl Slot {
    const fn of(pool: Pool) -> Self {
        let entered = OnceLock::new();
        Self { pool, entered }
    }
}

/// One request on its way through a call.
pub(in crate::http) struct Call {
    pub(in crate::http) id: RequestId,
    /// Taken once its body is there.
    slot: Slot,
    /// Who calls; there is one wherever the path asks for a key.
    pub(in crate::http) caller: Option<Caller>,
    /// The administrative act that it is.
    pub(in crate::http) acting: Option<Arc<Acting>>,
    pub(in crate::http) parts: Parts,
    /// The id in the path.
    pub(in crate::http) param: String,
}

impl Call {
    /// The administrative act that it is.
    pub(in crate::http) fn acting(&self) -> &Arc<Acting> {
        let acting = self.acting.as_ref();
        acting.expect("every path under /admin that writes is an act, which a test holds")
    }

    pub(in crate::http) fn problem(&self, reason: impl Into<Reason>) -> Answer {
        problem(reason.into(), self.id)
    }

    /// The problem with what it is about, and a sentence that says it.
    pub(in crate::http) fn problem_about(
        &self,
        reason: impl Into<Reason>,
        detail: &str,
        facts: &serde_json::Value,
    ) -> Answer {
        problem::problem_about(reason.into(), self.id, detail, facts)
    }

    pub(in crate::http) fn invalid(
        &self,
        reason: Refusal,
        errors: &[problem::FieldError],
    ) -> Answer {
        if errors.is_empty() {
            return self.problem(reason);
        }
        problem::invalid(reason.into(), self.id, errors)
    }
}
