//! Owns the steps of every attempt with an idempotency key: read the body, read the key, compute
//! the digests, check whether an attempt can start, submit, and answer with the outcome once it is
//! durable.
//!
//! Invariants: an attempt is refused here only for its shape, or because none can start now, and is
//! then logged with its readable fields; the engine decides everything else. A replayed response is
//! marked, and not counted again.
//! Deliberately absent: the kinds of attempts ([`AttemptKind`]) and payments.

use super::worker::Worker;
use super::{Call, location};
use crate::engine::event::{AttemptRefused, IdempotencyKey, Origin};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::RefusalFacts;
use crate::engine::score::Appraisal;
use crate::engine::view::UnderWay;
use crate::http::wire::answer::{Answer, IDEMPOTENT_REPLAYED};
use crate::http::wire::idempotency::{self, Canonical};
use crate::http::wire::problem::{self, FieldError, Limit, Reason};
use crate::ids::{CardToken, DeviceId, Lsn, ProductId, RequestId, UserId};
use crate::journal::{Answered, Refused, StorageFault, Submitted};
use crate::telemetry::metrics::AttemptResult;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use serde_json::Value;
use std::future::Future;
use std::net::IpAddr;
use std::time::Instant;

/// The response to an attempt, and how it is counted.
pub type Reply = (Answer, AttemptResult);

/// A malformed order: why, and the fields that could be read.
#[derive(Debug)]
pub struct Malformed {
    pub reason: Refusal,
    pub errors: Vec<FieldError>,
    pub readable: Readable,
    /// What it says beside, where it is about something.
    pub about: Option<AboutOrder>,
}

/// The part of a refusal about the order: what it asked for, and what would be accepted.
#[derive(Debug)]
pub struct AboutOrder {
    /// A sentence without characters that JSON escapes; `None`: the reason's sentence.
    pub detail: Option<String>,
    /// An object.
    pub facts: Value,
    /// The LSN that must be durable before the answer.
    pub durable_at: Option<Lsn>,
}

impl AboutOrder {
    /// Facts that stand in the order itself.
    pub const fn of_order(facts: Value) -> Self {
        Self {
            detail: None,
            facts,
            durable_at: None,
        }
    }
}

/// The readable fields of an attempt, for the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    pub user: Option<UserId>,
    pub product: Option<ProductId>,
    /// Number of units; 0 if not known.
    pub quantity: u32,
    pub card: Option<CardToken>,
    /// The buyer's address.
    pub ip: Option<IpAddr>,
    /// The buyer's device.
    pub device: Option<DeviceId>,
}

/// The next step after an outcome.
pub enum AfterSubmit<Begun> {
    /// Drive what has started, outside of the journal.
    Drive(Begun),
    /// It ended at once, with this response.
    Tell(Reply),
}

/// One kind of attempt, on behalf of one request.
pub trait AttemptKind {
    /// The order in the body.
    type Order;
    /// What may have started once it is submitted.
    type Begun;
    /// The outcome from the journal.
    type Outcome;

    /// What is known before the body is read.
    fn known(&self) -> Readable;

    /// The order in `body`.
    fn parse(&self, body: &[u8]) -> Result<Self::Order, Box<Malformed>>;

    /// The buyer to whom the key belongs, or why the order is impossible.
    fn buyer<'a>(&'a self, order: &'a Self::Order) -> Result<&'a UserId, Box<Malformed>>;

    /// The fields for the audit trail if it is refused before the engine.
    fn readable(&self, order: &Self::Order) -> Readable;

    /// The fields of the fingerprint.
    fn canonical(&self, order: &Self::Order, method: &str, path: &str) -> Canonical;

    /// Whether an attempt can start now.
    fn admission(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// The stored outcome of the key; used if no attempt can start.
    fn replay(&self, _: &UserId, _: &IdempotencyKey) -> Option<Submitted<Self::Outcome>> {
        None
    }

    /// Submits it to the journal.
    fn submit(
        &self,
        order: Self::Order,
        key: IdempotencyKey,
    ) -> Result<Submitted<Self::Outcome>, StorageFault>;

    /// The next step after an outcome.
    fn next(&self, outcome: Self::Outcome) -> AfterSubmit<Self::Begun>;

    /// The facts of `reason` about the order, beside the engine's. If the refusal is stored under its key,
    /// they must follow from the order alone, so that a replay shows the same.
    fn about(&self, _order: &Self::Order, _reason: Refusal) -> Option<AboutOrder> {
        None
    }

    /// Drives what has begun.
    fn drive(&self, begun: Self::Begun) -> impl Future<Output = Reply> + Send;
}

impl Worker {
    /// Makes one attempt for `body`, and counts it.
    pub async fn attempt<K: AttemptKind>(&self, call: &Call, body: Incoming, kind: &K) -> Answer {
        let told = self.attempted(call, body, kind).await;
        self.counted(call, told)
    }

    /// Counts the attempt of `call`.
    pub fn counted(&self, call: &Call, (answer, attempt): Reply) -> Answer {
        self.counters.attempt(call.flow(), attempt);
        answer
    }

    async fn attempted<K: AttemptKind>(&self, call: &Call, body: Incoming, kind: &K) -> Reply {
        // 1. Read the body, and the order in it.
        let body = match self.json_body(call, body).await {
            Ok(body) => body,
            Err(reason) => return self.refused_shape(call, reason, kind.known()),
        };
        let order = match kind.parse(&body) {
            Ok(order) => order,
            Err(malformed) => return self.refused_malformed(call, *malformed),
        };
        // 2. Take the key. The buyer is asked for after it: the order of refusals is the contract's.
        let key = match idempotency::key_in(&call.parts.headers) {
            Ok(key) => key,
            Err(why) => {
                let reason = Refusal::IdempotencyKeyMissing;
                let (_, attempt) = self.refused_shape(call, reason, kind.readable(&order));
                return (call.no_key(why), attempt);
            }
        };
        let user = match kind.buyer(&order) {
            Ok(user) => user,
            Err(malformed) => return self.refused_malformed(call, *malformed),
        };
        // 3. Compute scope and fingerprint.
        let canonical = kind.canonical(&order, call.parts.method.as_str(), call.parts.uri.path());
        let key = idempotency::digests(&call.caller().owner, user.as_str(), key, canonical);
        // 4. If no attempt can start now, a finished one is replayed nevertheless.
        if let Err(reason) = kind.admission() {
            return match kind.replay(user, &key) {
                Some(replay) => self.go_on(call, kind, &body, replay).await,
                None => self.refused_shape(call, reason, kind.readable(&order)),
            };
        }
        // 5. Submit, and drive what has started.
        let start = Instant::now();
        let submitted = kind.submit(order, key);
        self.shard_took(start.elapsed());
        match submitted {
            Ok(submitted) => self.go_on(call, kind, &body, submitted).await,
            Err(fault) => faulted(call, &fault),
        }
    }

    async fn go_on<K: AttemptKind>(
        &self,
        call: &Call,
        kind: &K,
        body: &[u8],
        submitted: Submitted<K::Outcome>,
    ) -> Reply {
        let Submitted {
            outcome,
            replay,
            mut durable_at,
        } = submitted;
        let told = match outcome.map(|outcome| kind.next(outcome)) {
            Ok(AfterSubmit::Drive(begun)) => return kind.drive(begun).await,
            Ok(AfterSubmit::Tell(told)) => told,
            Err(why) => {
                let about = about_order(kind, body, why.reason);
                durable_at = durable_at.max(about.as_ref().and_then(|it| it.durable_at));
                refused_about(why, about)
            }
        };
        self.once_durable(call, told, replay, durable_at).await
    }

    /// The response that `tell` makes of an outcome, once it is durable.
    pub async fn tell_once_durable<Outcome>(
        &self,
        call: &Call,
        submitted: Result<Submitted<Outcome>, StorageFault>,
        tell: impl FnOnce(Outcome) -> Reply,
    ) -> Reply {
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(fault) => return faulted(call, &fault),
        };
        let told = submitted.outcome.map_or_else(refused, tell);
        let (replay, durable_at) = (submitted.replay, submitted.durable_at);
        self.once_durable(call, told, replay, durable_at).await
    }

    /// Answers with the outcome once it is durable, and marks a replay.
    async fn once_durable(
        &self,
        call: &Call,
        told: Reply,
        replay: Answered,
        durable_at: Option<Lsn>,
    ) -> Reply {
        if let Err(reason) = self.durable(durable_at).await {
            return (call.problem(reason), AttemptResult::Refused(reason));
        }
        let (mut answer, attempt) = told;
        match replay {
            Answered::First => (answer, attempt),
            Answered::Again => {
                let yes = HeaderValue::from_static("true");
                answer.headers.push((IDEMPOTENT_REPLAYED, yes));
                (answer, AttemptResult::Replayed)
            }
        }
    }

    fn refused_malformed(&self, call: &Call, malformed: Malformed) -> Reply {
        let Malformed {
            reason,
            errors,
            readable,
            about,
        } = malformed;
        let (_, attempt) = self.refused_shape(call, reason, readable);
        let answer = match about {
            Some(about) => problem_with(reason, call.id, &about),
            None => call.invalid(reason, &errors),
        };
        (answer, attempt)
    }

    /// Refuses a malformed attempt, and logs it for the audit trail.
    pub fn refused_shape(&self, call: &Call, reason: Refusal, readable: Readable) -> Reply {
        let origin = origin(call, None, &readable);
        // If the log has stopped, nothing can be added to the audit trail, and the process stops.
        let _ = self.journal.trail().refuse(AttemptRefused {
            flow: call.flow(),
            reason,
            facts: None,
            user: readable.user,
            product: readable.product,
            quantity: readable.quantity,
            card: readable.card,
            origin,
            hits: Vec::new(),
            appraisal: Appraisal::Plain,
            left_out: 0,
        });
        (call.problem(reason), AttemptResult::Refused(reason))
    }
}

/// The origin of an attempt.
pub fn origin(call: &Call, key: Option<IdempotencyKey>, readable: &Readable) -> Origin {
    Origin {
        request: RequestId(call.id.0),
        owner: call.caller().owner.clone(),
        key,
        ip: readable.ip,
        device: readable.device.clone(),
    }
}

pub fn faulted(call: &Call, _: &StorageFault) -> Reply {
    // The fault is for the operator: the process logs it and stops.
    let refusal = Refusal::StorageUnavailable;
    (call.problem(refusal), AttemptResult::Refused(refusal))
}

/// The response to a refusal of the engine.
pub fn refused(refused: Refused) -> Reply {
    (
        refusal_answer(refused),
        AttemptResult::Refused(refused.reason),
    )
}

/// The order is read once more: few refusals are about it, and the engine took it over.
fn about_order<K: AttemptKind>(kind: &K, body: &[u8], reason: Refusal) -> Option<AboutOrder> {
    match reason {
        Refusal::InvalidRequest
        | Refusal::ProductNotFound
        | Refusal::HoldNotFound
        | Refusal::PromotionNotFound
        | Refusal::CardRetryForbidden => kind.about(&kind.parse(body).ok()?, reason),
        _ => None,
    }
}

fn refused_about(why: Refused, about: Option<AboutOrder>) -> Reply {
    let answer = match about {
        Some(about) if about.detail.is_some() => problem_with(why.reason, why.request, &about),
        Some(about) => refusal_answer(why).with_facts(&about.facts),
        None => refusal_answer(why),
    };
    (answer, AttemptResult::Refused(why.reason))
}

fn problem_with(reason: Refusal, request: RequestId, about: &AboutOrder) -> Answer {
    let detail = about
        .detail
        .as_deref()
        .unwrap_or(Reason::from(reason).texts().detail);
    problem::problem_about(reason.into(), request, detail, &about.facts)
}

fn refusal_answer(refused: Refused) -> Answer {
    if let Some(RefusalFacts::Quota {
        scope,
        limit,
        window_s,
    }) = refused.facts
    {
        let limit = Limit {
            scope,
            count: limit,
            window_s,
        };
        let wait_ms = refused.retry_after_ms.unwrap_or_default();
        return problem::rate_limited(refused.request, limit, wait_ms);
    }
    match refused.reason {
        // In the engine, only the facts of a hold can contradict a request.
        Refusal::InvalidRequest => {
            let errors = [FieldError {
                field: "hold_id".into(),
                message: "is a hold for another product or quantity".to_owned(),
            }];
            problem::invalid(refused.reason.into(), refused.request, &errors)
        }
        reason => match refused.under_way {
            Some(under_way) => in_flight(refused.request, under_way),
            None => problem::problem_of(reason.into(), refused.request, refused.facts.as_ref()),
        },
    }
}

/// The first request with the key is still in progress: names its purchase and where to read it.
fn in_flight(request: RequestId, under_way: UnderWay) -> Answer {
    let (purchase, path) = match under_way {
        UnderWay::Payment(purchase) => (purchase, format!("/limited/purchases/{purchase}")),
        UnderWay::Refund(purchase, number) => {
            let path = format!("/admin/purchases/{purchase}/refunds/{number}");
            (purchase, path)
        }
    };
    let facts = serde_json::json!({"purchase_id": purchase.to_string()});
    let detail = format!(
        "The first request with this idempotency key is still in progress. Read {purchase} at the path in Location."
    );
    let reason = Refusal::IdempotencyInFlight.into();
    problem::problem_about(reason, request, &detail, &facts).with(LOCATION, location(path))
}
