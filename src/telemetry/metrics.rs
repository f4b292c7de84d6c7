//! Owns what is counted: one [`ThreadCounters`] of counters a thread, added to without a look-up,
//! summed only when `/metrics` is read.
//!
//! Invariants: every family stands in [`families`] with its text; every label's values are listed
//! here. Deliberately absent: gauges of the log and the stock, which the caller of
//! [`Metrics::render`] adds from the journal's status.

use super::exposition::Exposition;
use super::families::{self, Family};
use super::histogram::Histogram;
use super::requests::{RequestTimes, ServedRequest, ServedRoute};
use crate::engine::event::Flow;
use crate::engine::refusal::Refusal;
use crate::payments::gateway::{CallClass, GatewayCall};
use crate::trace::TraceContext;
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is timed of a request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// The turn of the buyer's shard: decide, append, apply.
    Shard = 0,
    /// Waiting for what was appended to be durable.
    LogWait = 1,
    /// One call to the gateway.
    Gateway = 2,
    /// All of a request, from its head read to its answer written into memory.
    Request = 3,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Shard, Self::LogWait, Self::Gateway, Self::Request];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::LogWait => "log_wait",
            Self::Gateway => "gateway",
            Self::Request => "request",
        }
    }
}

/// Requests that share a bound of their own, so that those of one kind refuse none of another.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Pool {
    /// Probes and metrics, which are answered under any load.
    Probe = 0,
    /// Paths without a key.
    Keyless = 1,
    /// Webhooks of gateways.
    Webhook = 2,
    /// Buyers' requests, by the shop.
    Shop = 3,
    /// Administration.
    Admin = 4,
}

impl Pool {
    /// Every one, by number.
    pub const ALL: [Self; 5] = [
        Self::Probe,
        Self::Keyless,
        Self::Webhook,
        Self::Shop,
        Self::Admin,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Keyless => "keyless",
            Self::Webhook => "webhook",
            Self::Shop => "shop",
            Self::Admin => "admin",
        }
    }

    /// Its label of a sample.
    pub fn label(self) -> [(&'static str, &'static str); 1] {
        [("pool", self.as_str())]
    }
}

/// Why a connection without a key had to make room for another one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Eviction {
    /// There were as many as there may be.
    Full = 0,
    /// There were as many of its peer.
    Peer = 1,
}

impl Eviction {
    const ALL: [Self; 2] = [Self::Full, Self::Peer];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Peer => "peer",
        }
    }
}

/// How an attempt ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// Held, paid, given back or spent.
    Success,
    /// A finished key's outcome told again: no new attempt, so not counted.
    Replayed,
    /// Answered 202: the payment is still under way.
    Pending,
    /// Refused, or failed at the gateway or the disk.
    Refused(Refusal),
}

/// Success, pending, and each reason.
const ATTEMPTS: usize = Refusal::ALL.len() + 2;
/// By their numbers.
const FLOWS: [Flow; 5] = [
    Flow::Hold,
    Flow::Buy,
    Flow::Refund,
    Flow::Webhook,
    Flow::Reward,
];

const CALLS: [GatewayCall; 7] = GatewayCall::ALL;
const CLASSES: [CallClass; 4] = CallClass::ALL;

/// One thread's counters.
#[derive(Debug)]
pub struct ThreadCounters {
    attempts: [[AtomicU64; ATTEMPTS]; FLOWS.len()],
    stages: [Histogram; 4],
    requests: RequestTimes,
    answers: [AtomicU64; 6],
    unauthorized: AtomicU64,
    in_flight: [AtomicU64; Pool::ALL.len()],
    body_bytes: [AtomicU64; Pool::ALL.len()],
    refused_full: [AtomicU64; Pool::ALL.len()],
    key_rate_limited: AtomicU64,
    connections: AtomicU64,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    evicted: [AtomicU64; Eviction::ALL.len()],
    payments_left_open: AtomicU64,
    payments_neglected: AtomicU64,
    refunds_failed_late: AtomicU64,
    gateway_calls: [[AtomicU64; CLASSES.len()]; CALLS.len()],
}

impl ThreadCounters {
    fn of_routes(count: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            attempts: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
            stages: std::array::from_fn(|_| Histogram::default()),
            requests: RequestTimes::of_routes(count),
            answers: std::array::from_fn(|_| zero()),
            unauthorized: zero(),
            in_flight: std::array::from_fn(|_| zero()),
            body_bytes: std::array::from_fn(|_| zero()),
            refused_full: std::array::from_fn(|_| zero()),
            key_rate_limited: zero(),
            connections: zero(),
            accepted: zero(),
            turned_away: zero(),
            evicted: std::array::from_fn(|_| zero()),
            payments_left_open: zero(),
            payments_neglected: zero(),
            refunds_failed_late: zero(),
            gateway_calls: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
        }
    }

    /// Counts an attempt.
    pub fn attempt(&self, flow: Flow, attempt: AttemptResult) {
        let place = match attempt {
            AttemptResult::Replayed => return,
            AttemptResult::Success => 0,
            AttemptResult::Pending => 1,
            AttemptResult::Refused(refusal) => 2 + usize::from(refusal.code()),
        };
        self.attempts[flow as usize][place].fetch_add(1, Relaxed);
    }

    /// Counts the time that a stage took; `traced` if its span is recorded.
    pub fn took(&self, stage: Stage, took: Duration, traced: Option<TraceContext>) {
        self.stages[stage as usize].record(took, traced);
    }

    /// Counts an answered request.
    pub fn served(&self, request: ServedRequest) {
        self.answers[usize::from(request.status / 100).min(5)].fetch_add(1, Relaxed);
        self.requests.add(request);
    }

    /// Counts a request without a valid key.
    pub fn unauthorized(&self) {
        self.unauthorized.fetch_add(1, Relaxed);
    }

    /// Counts a request beyond its key's rate.
    pub fn key_rate_limited(&self) {
        self.key_rate_limited.fetch_add(1, Relaxed);
    }

    /// Counts a payment that was left open, to be tried again later.
    pub fn left_open(&self) {
        self.payments_left_open.fetch_add(1, Relaxed);
    }

    /// Counts a payment that the sweeper found in nobody's hand.
    pub fn neglected(&self) {
        self.payments_neglected.fetch_add(1, Relaxed);
    }

    /// Counts a refund that failed at the gateway after it was told as done.
    pub fn refund_failed_late(&self) {
        self.refunds_failed_late.fetch_add(1, Relaxed);
    }

    /// Counts a call to the gateway by how it ended.
    pub fn gateway_call(&self, call: GatewayCall, class: CallClass) {
        self.gateway_calls[call as usize][class as usize].fetch_add(1, Relaxed);
    }

    /// Counts a connection that was turned away because there were too many.
    pub fn turned_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    /// Counts a connection without a key that made room for another one.
    pub fn evicted(&self, why: Eviction) {
        self.evicted[why as usize].fetch_add(1, Relaxed);
    }

    /// One more request of `pool` under way, unless there are `max` on this thread already.
    pub fn enter(self: &Arc<Self>, pool: Pool, max: u64) -> Option<Entered> {
        self.counted(pool, Entered::new(self, Gauge::InFlight(pool), 1, max))
    }

    /// Room for a body of `bytes` that is on its way, unless bodies of `pool` have `max` bytes on
    /// this thread already.
    pub fn expect_body(self: &Arc<Self>, pool: Pool, bytes: u64, max: u64) -> Option<Entered> {
        self.counted(pool, Entered::new(self, Gauge::BodyBytes(pool), bytes, max))
    }

    fn counted(&self, pool: Pool, entered: Option<Entered>) -> Option<Entered> {
        if entered.is_none() {
            self.refused_full[pool as usize].fetch_add(1, Relaxed);
        }
        entered
    }

    /// One more connection open.
    pub fn connected(self: &Arc<Self>) -> Entered {
        self.accepted.fetch_add(1, Relaxed);
        Entered::new(self, Gauge::Connections, 1, u64::MAX).expect("there is no bound here")
    }

    /// Connections open on this thread.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    fn gauge(&self, gauge: Gauge) -> &AtomicU64 {
        match gauge {
            Gauge::InFlight(pool) => &self.in_flight[pool as usize],
            Gauge::BodyBytes(pool) => &self.body_bytes[pool as usize],
            Gauge::Connections => &self.connections,
        }
    }
}

#[derive(Copy, Clone, Debug)]
enum Gauge {
    InFlight(Pool),
    BodyBytes(Pool),
    Connections,
}

/// Something under way; it is not any more once this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Entered {
    shard: Arc<ThreadCounters>,
    gauge: Gauge,
    amount: u64,
}

impl Entered {
    /// Threads do not share a shard, so that looking before adding lets nothing slip past `max`.
    fn new(shard: &Arc<ThreadCounters>, gauge: Gauge, amount: u64, max: u64) -> Option<Self> {
        let count = shard.gauge(gauge);
        (count.load(Relaxed).saturating_add(amount) <= max).then(|| {
            count.fetch_add(amount, Relaxed);
            Self {
                shard: Arc::clone(shard),
                gauge,
                amount,
            }
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let count = self.shard.gauge(self.gauge);
        count.fetch_sub(self.amount, Relaxed);
    }
}

/// All threads' counters.
#[derive(Debug)]
pub struct Metrics {
    shards: Vec<CachePadded<Arc<ThreadCounters>>>,
    routes: Vec<ServedRoute>,
}

impl Metrics {
    /// Counters for `threads` threads, at least one, which serve these routes.
    pub fn new(threads: usize, routes: Vec<ServedRoute>) -> Self {
        let shard = || CachePadded::new(Arc::new(ThreadCounters::of_routes(routes.len())));
        let shards = (0..threads.max(1)).map(|_| shard());
        Self {
            shards: shards.collect(),
            routes,
        }
    }

    /// The counters of the thread at `place`.
    pub fn shard(&self, place: usize) -> &Arc<ThreadCounters> {
        &self.shards[place]
    }

    /// Connections open on all threads.
    pub fn connections(&self) -> u64 {
        self.sum(|shard| &shard.connections)
    }

    /// Makes the counters at `place` those of this thread.
    pub fn enter_thread(&self, place: usize) {
        PLACE.set(place.min(self.shards.len() - 1));
    }

    /// This thread's counters; the last ones where it never entered.
    pub fn of_thread(&self) -> &Arc<ThreadCounters> {
        let place = PLACE.get().min(self.shards.len() - 1);
        &self.shards[place]
    }

    /// Adds everything to `out`.
    pub fn render(&self, out: &mut Exposition) {
        self.render_attempts(out);
        self.render_times(out);
        self.render_gateway_calls(out);
        let answers = out.family(&families::ANSWERS);
        for (class, word) in [(2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")] {
            let count = self.sum(|shard| &shard.answers[class]);
            answers.sample(&[("class", word)], count);
        }
        let counters: [(&'static Family, Of); 7] = [
            (&families::PAYMENTS_LEFT_OPEN, |s| &s.payments_left_open),
            (&families::PAYMENTS_NEGLECTED, |s| &s.payments_neglected),
            (&families::REFUNDS_FAILED_LATE, |s| &s.refunds_failed_late),
            (&families::UNAUTHORIZED, |s| &s.unauthorized),
            (&families::KEY_RATE_LIMITED, |s| &s.key_rate_limited),
            (&families::CONNECTIONS_ACCEPTED, |s| &s.accepted),
            (&families::CONNECTIONS_TURNED_AWAY, |s| &s.turned_away),
        ];
        for (family, of) in counters {
            out.single(family, self.sum(of));
        }
        let evicted = out.family(&families::CONNECTIONS_EVICTED);
        for why in Eviction::ALL {
            let count = self.sum(|shard| &shard.evicted[why as usize]);
            evicted.sample(&[("cause", why.as_str())], count);
        }
        out.single(&families::CONNECTIONS, self.sum(|s| &s.connections));
        self.render_pools(out);
    }

    fn render_pools(&self, out: &mut Exposition) {
        type OfPool = fn(&ThreadCounters, usize) -> &AtomicU64;
        let of_pool = |of: OfPool, pool: Pool| -> u64 {
            let counts = self.shards.iter();
            counts.map(|s| of(s, pool as usize).load(Relaxed)).sum()
        };
        let in_flight = Pool::ALL.iter();
        let in_flight: u64 = in_flight
            .map(|it| of_pool(|s, n| &s.in_flight[n], *it))
            .sum();
        out.single(&families::IN_FLIGHT, in_flight);
        let of_pools: [(&'static Family, OfPool); 3] = [
            (&families::POOL_IN_FLIGHT, |s, n| &s.in_flight[n]),
            (&families::POOL_BODY_BYTES, |s, n| &s.body_bytes[n]),
            (&families::POOL_REFUSED, |s, n| &s.refused_full[n]),
        ];
        for (family, of) in of_pools {
            let samples = out.family(family);
            for pool in Pool::ALL {
                samples.sample(&pool.label(), of_pool(of, pool));
            }
        }
    }

    fn render_attempts(&self, out: &mut Exposition) {
        let attempts = out.family(&families::ATTEMPTS);
        for flow in FLOWS {
            for place in 0..ATTEMPTS {
                let count = self.sum(|shard| &shard.attempts[flow as usize][place]);
                // A series a possible refusal would be noise; success is there from the start.
                if count > 0 || place == 0 {
                    let (result, reason) = words_of(place);
                    let flow = ("flow", flow.as_str());
                    attempts.sample(&[flow, ("result", result), ("reason", reason)], count);
                }
            }
        }
    }

    fn render_gateway_calls(&self, out: &mut Exposition) {
        let calls = out.family(&families::GATEWAY_CALLS);
        for call in CALLS {
            for class in CLASSES {
                let count = self.sum(|shard| &shard.gateway_calls[call as usize][class as usize]);
                let labels = [("call", call.as_str()), ("class", class.as_str())];
                calls.sample(&labels, count);
            }
        }
    }

    fn render_times(&self, out: &mut Exposition) {
        let stages = out.family(&families::STAGES);
        for stage in Stage::ALL {
            let all = self.shards.iter().map(|it| &it.stages[stage as usize]);
            stages.times(&[("stage", stage.as_str())], Histogram::together(all));
        }
        let requests = out.family(&families::REQUESTS);
        let threads = self.shards.iter().map(|it| &it.requests);
        RequestTimes::render(&threads, &self.routes, requests);
    }

    fn sum(&self, of: impl Fn(&ThreadCounters) -> &AtomicU64) -> u64 {
        self.shards
            .iter()
            .map(|shard| of(shard).load(Relaxed))
            .sum()
    }
}

thread_local! {
    static PLACE: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
}

/// Which counter of a thread's.
type Of = fn(&ThreadCounters) -> &AtomicU64;

/// The labels `result` and `reason` of an attempt's place.
fn words_of(place: usize) -> (&'static str, &'static str) {
    match place {
        0 => ("success", "none"),
        1 => ("pending", "none"),
        _ => match Refusal::ALL[place - 2] {
            refusal @ (Refusal::PaymentDeclined
            | Refusal::RefundFailed
            | Refusal::StorageUnavailable) => ("failed", refusal.reason()),
            refusal => ("refused", refusal.reason()),
        },
    }
}
