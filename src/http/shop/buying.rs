//! Owns the shop's calls that buy: holds and buys.
//!
//! Invariants: an attempt is refused here for its shape only, and then reported for the audit
//! trail with what of it could be read; everything else the engine decides. A payment goes on
//! when its caller is gone or has waited long enough; the caller is then told where to look.

use super::orders::{BuyOrder, HoldOrder, Malformed, Readable};
use super::render;
use crate::engine::command::{Buy, PlaceHold};
use crate::engine::event::{AttemptRefused, Flow, IdempotencyKey, Origin};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::RefusalFacts;
use crate::engine::score::Appraisal;
use crate::engine::view::{HoldView, PurchaseView, UnderWay};
use crate::http::front::{Call, Front};
use crate::http::route::auth::Caller;
use crate::http::wire::answer::{Answer, IDEMPOTENT_REPLAYED, Kind};
use crate::http::wire::detail::{self, Act};
use crate::http::wire::idempotency;
use crate::http::wire::problem::{self, Limit};
use crate::ids::{Lsn, PurchaseId, RequestId};
use crate::journal::{BuyOutcome, Refused, Replay, StorageFault, Submitted};
use crate::telemetry::metrics::{Attempt, Stage};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::http::StatusCode;
use std::time::Instant;

/// How long a copy of the public keys may be used. A signature by a key that the copy does not
/// have is a reason to fetch it again earlier.
const JWKS_CACHED: &str = "public, max-age=3600";

/// What the caller is told of an attempt, and how it is counted.
pub(in crate::http) type Told = (Answer, Attempt);

impl Front {
    pub(in crate::http) async fn place_hold(&self, call: Call, body: Incoming) -> Answer {
        let (answer, attempt) = self.hold_told(&call, body).await;
        self.counters.attempt(Flow::Hold, attempt);
        answer
    }

    async fn hold_told(&self, call: &Call, body: Incoming) -> Told {
        let body = match self.json_body(call, body).await {
            Ok(body) => body,
            Err(reason) => {
                return self.refused_shape(call, Flow::Hold, reason, Readable::default());
            }
        };
        let order = match HoldOrder::parse(&body, &self.core.currencies) {
            Ok(order) => order,
            Err(malformed) => return self.refused_malformed(call, Flow::Hold, *malformed),
        };
        let Some(key) = idempotency::key_in(&call.parts.headers) else {
            let refusal = Refusal::IdempotencyKeyMissing;
            return self.refused_shape(call, Flow::Hold, refusal, order.readable());
        };
        let path = call.parts.uri.path();
        let canonical = order.canonical(call.parts.method.as_str(), path);
        let owner = &caller_of(call).owner;
        let key = idempotency::digests(owner, order.order.user.as_str(), key, canonical);
        let origin = origin(call, Some(key), &order.readable());
        let HoldOrder { order, currency } = order;
        let command = PlaceHold {
            origin,
            user: order.user,
            product: order.product,
            quantity: order.quantity,
            currency,
            promotion: order.promotion,
            metadata: order.metadata,
        };
        let began = Instant::now();
        let submitted = self.core.journal.place_hold(&command);
        self.counters.took(Stage::Shard, began.elapsed());
        let placed = |view| held(StatusCode::CREATED, &view);
        self.submitted(call, submitted, placed).await
    }

    pub(in crate::http) async fn buy(&self, call: Call, body: Incoming) -> Answer {
        let (answer, attempt) = self.buy_told(&call, body).await;
        self.counters.attempt(Flow::Buy, attempt);
        answer
    }

    async fn buy_told(&self, call: &Call, body: Incoming) -> Told {
        let body = match self.json_body(call, body).await {
            Ok(body) => body,
            Err(reason) => return self.refused_shape(call, Flow::Buy, reason, Readable::default()),
        };
        let order = match BuyOrder::parse(&body, &self.core.currencies) {
            Ok(order) => order,
            Err(malformed) => return self.refused_malformed(call, Flow::Buy, *malformed),
        };
        let Some(key) = idempotency::key_in(&call.parts.headers) else {
            let refusal = Refusal::IdempotencyKeyMissing;
            return self.refused_shape(call, Flow::Buy, refusal, order.readable());
        };
        let path = call.parts.uri.path();
        let canonical = order.canonical(call.parts.method.as_str(), path);
        let owner = &caller_of(call).owner;
        let key = idempotency::digests(owner, order.order.user.as_str(), key, canonical);
        if let Err(reason) = self.core.payments.admission() {
            // No new payment can begin; one that has ended is told all the same.
            if let Some(replay) = self.core.journal.replay_buy(&order.order.user, &key) {
                return self.bought(call, Ok(replay)).await;
            }
            return self.refused_shape(call, Flow::Buy, reason, order.readable());
        }
        let command = Buy {
            origin: origin(call, Some(key), &order.readable()),
            user: order.order.user,
            product: order.order.product,
            quantity: order.order.quantity,
            currency: order.currency,
            card: order.card,
            promotion: order.order.promotion,
            hold: order.pays_for,
            metadata: order.order.metadata,
        };
        let began = Instant::now();
        let submitted = self.core.journal.buy(&command);
        self.counters.took(Stage::Shard, began.elapsed());
        self.bought(call, submitted).await
    }

    async fn bought(
        &self,
        call: &Call,
        submitted: Result<Submitted<BuyOutcome>, StorageFault>,
    ) -> Told {
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(fault) => return Self::faulted(call, &fault),
        };
        let told = match submitted.outcome {
            Ok(BuyOutcome::PaymentStarted(purchase)) => return self.pay(call, purchase).await,
            Ok(BuyOutcome::Paid(view)) => {
                let answer = Answer::json(StatusCode::CREATED, self.purchase_json(&view));
                (answer, Attempt::Success)
            }
            Ok(BuyOutcome::Declined(view)) => {
                let answer = problem::declined(&view);
                (answer, Attempt::Refused(view.reason))
            }
            Err(refused) => Self::refused(refused),
        };
        let (replay, durable_at) = (submitted.replay, submitted.durable_at);
        self.once_durable(call, told, replay, durable_at).await
    }

    /// Pays for a purchase whose payment has just begun. The payment goes on by itself where
    /// this is dropped (the client is gone) or has waited long enough.
    async fn pay(&self, call: &Call, purchase: PurchaseId) -> Told {
        let paying = self.core.payments.pay(purchase, &self.gate);
        let view = match tokio::time::timeout(self.core.answer_within, paying).await {
            Ok(Ok(settled)) => settled.view().clone(),
            Ok(Err(fault)) => return Self::faulted(call, &fault),
            Err(_) => {
                let known = self.core.journal.purchase(purchase);
                let (view, durable_at) = known.expect("a payment began for this purchase");
                if let Err(reason) = self.durable(Some(durable_at)).await {
                    return (call.problem(reason), Attempt::Refused(reason));
                }
                view
            }
        };
        // The purchase may be somewhere else by now: the hold may be paid for once more.
        if let Some(declined) = view.decline_of(RequestId(call.id.0)) {
            let answer = problem::declined(declined);
            return (answer, Attempt::Refused(declined.reason));
        }
        match view.state {
            PurchaseState::Declined | PurchaseState::Voided => {
                let refusal = Refusal::PaymentDeclined;
                (call.problem(refusal), Attempt::Refused(refusal))
            }
            PurchaseState::Authorizing
            | PurchaseState::Authorized
            | PurchaseState::UnderReview
            | PurchaseState::Capturing
            | PurchaseState::Voiding
            | PurchaseState::Stuck
            | PurchaseState::CaptureDiffers
            | PurchaseState::Held
            | PurchaseState::Expired
            | PurchaseState::Released => {
                let answer = Answer::json(StatusCode::ACCEPTED, self.purchase_json(&view));
                let at = location(format!("/limited/purchases/{purchase}"));
                (answer.with(LOCATION, at), Attempt::Pending)
            }
            PurchaseState::Captured
            | PurchaseState::PartiallyRefunded
            | PurchaseState::Refunded
            | PurchaseState::Disputed
            | PurchaseState::ChargedBack => {
                let answer = Answer::json(StatusCode::CREATED, self.purchase_json(&view));
                (answer, Attempt::Success)
            }
        }
    }

    /// What came of a command as `shown` tells it, once it may be told.
    pub(in crate::http) async fn submitted<Outcome>(
        &self,
        call: &Call,
        submitted: Result<Submitted<Outcome>, StorageFault>,
        shown: impl FnOnce(Outcome) -> Told,
    ) -> Told {
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(fault) => return Self::faulted(call, &fault),
        };
        let told = submitted.outcome.map_or_else(Self::refused, shown);
        let (replay, durable_at) = (submitted.replay, submitted.durable_at);
        self.once_durable(call, told, replay, durable_at).await
    }

    /// Tells what came of a command once it may be told, and whether it was told before.
    pub(in crate::http) async fn once_durable(
        &self,
        call: &Call,
        told: Told,
        replay: Replay,
        durable_at: Option<Lsn>,
    ) -> Told {
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

    pub(in crate::http) fn refused(refused: Refused) -> Told {
        (refusal(refused), Attempt::Refused(refused.reason))
    }

    pub(in crate::http) fn faulted(call: &Call, _: &StorageFault) -> Told {
        // What the fault says is for the operator: the process logs it and stops.
        let refusal = Refusal::StorageUnavailable;
        (call.problem(refusal), Attempt::Refused(refusal))
    }

    fn refused_malformed(&self, call: &Call, flow: Flow, malformed: Malformed) -> Told {
        let Malformed {
            reason,
            errors,
            readable,
        } = malformed;
        let (_, attempt) = self.refused_shape(call, flow, reason, readable);
        (call.invalid(reason, &errors), attempt)
    }

    /// Refuses an attempt for its shape and reports it for the audit trail.
    pub(in crate::http) fn refused_shape(
        &self,
        call: &Call,
        flow: Flow,
        reason: Refusal,
        readable: Readable,
    ) -> Told {
        let origin = origin(call, None, &readable);
        // Where the log has stopped there is no trail to add to, and the process stops.
        let _ = self.core.journal.refuse(AttemptRefused {
            flow,
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

    pub(in crate::http) async fn durable_purchase(
        &self,
        id: Option<PurchaseId>,
    ) -> Result<Option<PurchaseView>, Refusal> {
        let Some((view, durable_at)) = id.and_then(|id| self.core.journal.purchase(id)) else {
            return Ok(None);
        };
        self.durable(Some(durable_at)).await?;
        Ok(Some(view))
    }

    /// The refusal of an operator's `act` on a purchase; a wrong state with the state.
    pub(in crate::http) async fn refused_of(
        &self,
        call: &Call,
        reason: Refusal,
        purchase: PurchaseId,
        act: Act,
    ) -> Answer {
        if reason != Refusal::WrongState {
            return call.problem(reason);
        }
        match self.durable_purchase(Some(purchase)).await {
            Ok(Some(view)) => wrong_state(call, &view, act),
            Ok(None) => call.problem(reason),
            Err(reason) => call.problem(reason),
        }
    }

    pub(in crate::http) fn purchase_json(&self, view: &PurchaseView) -> Vec<u8> {
        let receipt = match self.core.sealer.receipt(view) {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::error!(event = "receipt_key_missing", "{error}");
                None
            }
        };
        let gateway = self.core.payments.gateway().name();
        render::purchase(view, gateway, receipt.as_ref())
    }

    pub(in crate::http) async fn verify_receipt(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let verdict = self.core.sealer.verify_json(&body);
        Answer::value(StatusCode::OK, &verdict.to_json())
    }

    /// The public keys, for whoever verifies receipts without us.
    pub(in crate::http) fn jwks(&self) -> Answer {
        Answer {
            status: StatusCode::OK,
            kind: Kind::JwkSet,
            body: self.core.sealer.jwks().to_string().into_bytes(),
            headers: vec![(CACHE_CONTROL, HeaderValue::from_static(JWKS_CACHED))],
        }
    }
}

/// A hold as it was placed or given up.
pub(in crate::http) fn held(status: StatusCode, view: &HoldView) -> Told {
    (Answer::json(status, render::hold(view)), Attempt::Success)
}

/// What a refusal is answered.
fn refusal(refused: Refused) -> Answer {
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
            let errors = [problem::FieldError {
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

/// The purchase's state does not allow `act`: which state it is, and which ones do.
pub(in crate::http) fn wrong_state(call: &Call, view: &PurchaseView, act: Act) -> Answer {
    let facts = serde_json::json!({
        "purchase_id": view.purchase.to_string(),
        "state": view.state.as_str(),
    });
    let detail = detail::wrong_state(view.state, act);
    problem::problem_about(Refusal::WrongState.into(), call.id, &detail, &facts)
}

/// `path`, which is made of words of this program and ids, as the value of a header.
pub(in crate::http) fn location(path: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(path)).expect("a path is of visible ASCII")
}

pub(in crate::http) fn origin(
    call: &Call,
    key: Option<IdempotencyKey>,
    readable: &Readable,
) -> Origin {
    Origin {
        request: RequestId(call.id.0),
        owner: caller_of(call).owner.clone(),
        key,
        ip: readable.ip,
        device: readable.device.clone(),
    }
}

pub(in crate::http) fn caller_of(call: &Call) -> &Caller {
    let caller = call.caller.as_ref();
    caller.expect("every path under /limited and /admin asks for a key")
}
