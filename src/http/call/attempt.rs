//! Owns what every attempt under an idempotency key goes through: read the body, take the key, make
//! the digests, ask whether one can begin, submit, and tell what came of it once that is durable.
//!
//! Invariants: an attempt is refused here for its shape only, or because none can begin just now, and
//! then written down with what of it could be read; everything else the engine decides. An answer
//! that is given again says so, and is not counted again.
//! Deliberately absent: what is attempted ([`AttemptKind`] says it) and payments.

use super::worker::Worker;
use super::{Call, location};
use crate::engine::event::{AttemptRefused, IdempotencyKey, Origin};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::RefusalFacts;
use crate::engine::score::Appraisal;
use crate::engine::view::UnderWay;
use crate::http::wire::answer::{Answer, IDEMPOTENT_REPLAYED};
use crate::http::wire::idempotency::{self, Canonical};
use crate::http::wire::problem::{self, FieldError, Limit};
use crate::ids::{CardToken, DeviceId, Lsn, ProductId, RequestId, UserId};
use crate::journal::{Refused, Replay, StorageFault, Submitted};
use crate::telemetry::metrics::{Attempt, Stage};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use std::future::Future;
use std::net::IpAddr;
use std::time::Instant;

/// What the caller is told of an attempt, and how it is counted.
pub type Reply = (Answer, Attempt);

/// An order whose shape is wrong: why, and what of it could be read.
#[derive(Debug)]
pub struct Malformed {
    /// The reason that is told.
    pub reason: Refusal,
    /// What is wrong with each field.
    pub errors: Vec<FieldError>,
    /// What could be read.
    pub readable: Readable,
}

/// What could be read of an attempt, for the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    /// For whom.
    pub user: Option<UserId>,
    /// Of what.
    pub product: Option<ProductId>,
    /// How many units; 0 where not known.
    pub quantity: u32,
    /// With which card.
    pub card: Option<CardToken>,
    /// The buyer's address.
    pub ip: Option<IpAddr>,
    /// The buyer's device.
    pub device: Option<DeviceId>,
}

/// What an outcome leads to.
pub enum AfterSubmit<Begun> {
    /// Something has begun that goes on outside the journal.
    Drive(Begun),
    /// It came to its end at once; this is what is told of it.
    Tell(Reply),
}

/// One kind of attempt, on behalf of one request.
pub trait AttemptKind {
    /// What the body asks for.
    type Order;
    /// What may have begun once it is submitted.
    type Begun;
    /// What the journal says that came of it.
    type Outcome;

    /// What is known of it before its body is read.
    fn known(&self) -> Readable;

    /// The order in `body`.
    fn parse(&self, body: &[u8]) -> Result<Self::Order, Box<Malformed>>;

    /// Whose key it is, or why there can be no such order.
    fn buyer<'a>(&'a self, order: &'a Self::Order) -> Result<&'a UserId, Box<Malformed>>;

    /// What the audit trail shows of it when it is refused before the engine sees it.
    fn readable(&self, order: &Self::Order) -> Readable;

    /// The fields that make two requests the same.
    fn canonical(&self, order: &Self::Order, method: &str, path: &str) -> Canonical;

    /// Whether one can begin just now.
    fn admission(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// What came of the key before; asked where none can begin.
    fn replay(&self, _: &UserId, _: &IdempotencyKey) -> Option<Submitted<Self::Outcome>> {
        None
    }

    /// Gives it to the journal.
    fn submit(
        &self,
        order: Self::Order,
        key: IdempotencyKey,
    ) -> Result<Submitted<Self::Outcome>, StorageFault>;

    /// What an outcome leads to.
    fn next(&self, outcome: Self::Outcome) -> AfterSubmit<Self::Begun>;

    /// Drives what has begun.
    fn drive(&self, begun: Self::Begun) -> impl Future<Output = Reply> + Send;
}

impl Worker {
    /// Tries once what `body` asks for, and counts it.
    pub async fn attempt<K: AttemptKind>(&self, call: &Call, body: Incoming, kind: &K) -> Answer {
        let told = self.attempted(call, body, kind).await;
        self.counted(call, told)
    }

    /// Counts the attempt that `call` is.
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
        let Some(key) = idempotency::key_in(&call.parts.headers) else {
            let reason = Refusal::IdempotencyKeyMissing;
            return self.refused_shape(call, reason, kind.readable(&order));
        };
        let user = match kind.buyer(&order) {
            Ok(user) => user,
            Err(malformed) => return self.refused_malformed(call, *malformed),
        };
        // 3. What stands for the key and for the request.
        let canonical = kind.canonical(&order, call.parts.method.as_str(), call.parts.uri.path());
        let key = idempotency::digests(&call.caller().owner, user.as_str(), key, canonical);
        // 4. Where none can begin, one that has ended is told all the same.
        if let Err(reason) = kind.admission() {
            return match kind.replay(user, &key) {
                Some(replay) => self.go_on(call, kind, replay).await,
                None => self.refused_shape(call, reason, kind.readable(&order)),
            };
        }
        // 5. Submit, and drive what has begun.
        let start = Instant::now();
        let submitted = kind.submit(order, key);
        self.counters.took(Stage::Shard, start.elapsed());
        match submitted {
            Ok(submitted) => self.go_on(call, kind, submitted).await,
            Err(fault) => faulted(call, &fault),
        }
    }

    async fn go_on<K: AttemptKind>(
        &self,
        call: &Call,
        kind: &K,
        submitted: Submitted<K::Outcome>,
    ) -> Reply {
        let Submitted {
            outcome,
            replay,
            durable_at,
        } = submitted;
        let told = match outcome.map(|outcome| kind.next(outcome)) {
            Ok(AfterSubmit::Drive(begun)) => return kind.drive(begun).await,
            Ok(AfterSubmit::Tell(told)) => told,
            Err(why) => refused(why),
        };
        self.once_durable(call, told, replay, durable_at).await
    }

    /// What came of a command as `tell` tells it, once it may be told.
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

    /// Tells what came of a command once it may be told, and whether it was told before.
    async fn once_durable(
        &self,
        call: &Call,
        told: Reply,
        replay: Replay,
        durable_at: Option<Lsn>,
    ) -> Reply {
        if let Err(reason) = self.durable(durable_at).await {
            return (call.problem(reason), Attempt::Refused(reason));
        }
        let (mut answer, attempt) = told;
        match replay {
            Replay::First => (answer, attempt),
            Replay::Again => {
                let yes = HeaderValue::from_static("true");
                answer.headers.push((IDEMPOTENT_REPLAYED, yes));
                (answer, Attempt::Replayed)
            }
        }
    }

    fn refused_malformed(&self, call: &Call, malformed: Malformed) -> Reply {
        let Malformed {
            reason,
            errors,
            readable,
        } = malformed;
        let (_, attempt) = self.refused_shape(call, reason, readable);
        (call.invalid(reason, &errors), attempt)
    }

    /// Refuses an attempt for its shape and reports it for the audit trail.
    pub fn refused_shape(&self, call: &Call, reason: Refusal, readable: Readable) -> Reply {
        let origin = origin(call, None, &readable);
        // Where the log has stopped there is no trail to add to, and the process stops.
        let _ = self.journal.refuse(AttemptRefused {
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
        (call.problem(reason), Attempt::Refused(reason))
    }
}

/// Where an attempt comes from.
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
    // What the fault says is for the operator: the process logs it and stops.
    let refusal = Refusal::StorageUnavailable;
    (call.problem(refusal), Attempt::Refused(refusal))
}

/// What is told of the engine's refusal.
pub fn refused(refused: Refused) -> Reply {
    (refusal_answer(refused), Attempt::Refused(refused.reason))
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
        // Of what the engine looks at, only a hold's own facts can contradict a request.
        Refusal::InvalidRequest => {
            let errors = [FieldError {
                field: "hold_id",
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

/// The key's first request is still under way: which purchase it is about, and where to look.
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
