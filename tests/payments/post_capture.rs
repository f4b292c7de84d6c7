//! What becomes of a payment that does not simply end: voids with deadlines, what the operator
//! steers, what the sweeper finds, a gateway that is down, free purchases, refunds.

use crate::stage::{Stage, acted, operator, settings};
use holdfast::engine::command::PaymentStep;
use holdfast::engine::event::{DeclineCause, VoidCause, VoidStuckCause};
use holdfast::engine::lifecycle::{PurchaseState, Step};
use holdfast::engine::payable::AmountRule;
use holdfast::engine::refusal::Refusal;
use holdfast::engine::view::RefundStatus;
use holdfast::ids::{AuthorizationId, PurchaseId};
use holdfast::journal::Audit;
use holdfast::money::Currency;
use holdfast::payments::breaker::{BreakerSettings, Circuit};
use holdfast::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallClass, CallResult, Calling,
    CapturedMoney, ChargePage, Decline, FoundRefund, Gateway, GatewayCall, Inquiry, LookupResult,
    PageMark, RefundRequest, Trouble,
};
use holdfast::payments::sandbox::Sandbox;
use holdfast::payments::{Meter, PaymentOutcome, PaymentSettings};
use holdfast::trace::RequestTrace;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Counts what the operator is told.
#[derive(Default)]
struct AlarmCounter {
    stuck: AtomicUsize,
    neglected: AtomicUsize,
}

impl Meter for AlarmCounter {
    fn gateway_call(&self, _: Option<RequestTrace>, _: GatewayCall, _: CallClass, _: Duration) {}

    fn log_waited(&self, _: Duration) {}

    fn left_open(&self) {}

    fn void_stuck(&self, _: PurchaseId) {
        self.stuck.fetch_add(1, Ordering::SeqCst);
    }

    fn neglected(&self, _: PurchaseId) {
        self.neglected.fetch_add(1, Ordering::SeqCst);
    }
}

fn void(stage: &Stage, purchase: PurchaseId) -> Result<PurchaseState, Refusal> {
    let voiding = stage.in_runtime(|it| it.payments.void(purchase, operator(), acted, &it.gate));
    let told = stage.run(voiding).map(|view| view.state);
    told.map_err(|error| error.refusal().unwrap())
}

#[test]
fn a_void_past_its_deadline_is_stuck_and_is_done_all_the_same() {
    let dir = TempDir::new().unwrap();
    let told = Arc::new(AlarmCounter::default());
    let short = PaymentSettings {
        void_deadline_ms: 1,
        retries_max: 1,
        ..settings()
    };
    let mut stage = Stage::open_measured(dir.path(), short, |sandbox| sandbox, told.clone());
    stage.resume();
    let settled = stage.buy("tok_void_lost_9");
    assert!(matches!(settled, PaymentOutcome::Open(_)));
    let purchase = settled.view().purchase;
    stage.settle();
    let view = stage.view(purchase);
    let steps: Vec<Step> = view.history.iter().map(|it| it.step).collect();
    assert!(steps.contains(&Step::VoidStuck), "{steps:?}");
    assert_eq!(view.state, PurchaseState::Voided);
    assert_eq!(told.stuck.load(Ordering::SeqCst), 1, "told once");
    stage.check(&[purchase], "stuck");
}

#[test]
fn a_stuck_void_is_still_stuck_after_a_restart_and_is_tried_again() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    let purchase = stage.start("tok_capture_refused");
    let authorization = AuthorizationId::parse("sa_unheard_of").unwrap();
    for step in [
        PaymentStep::Authorized {
            authorization,
            capture_before: None,
        },
        PaymentStep::StartVoid {
            cause: VoidCause::CaptureRefused,
            code: None,
            within_ms: 0,
            by: None,
        },
        PaymentStep::VoidStuck(VoidStuckCause::Overdue),
    ] {
        stage
            .journal
            .record(purchase, step, Audit::Nothing)
            .unwrap();
    }
    stage.close();
    let stage = Stage::open(dir.path());
    assert_eq!(stage.journal.figures().status().stuck_voids, 1);
    assert_eq!(stage.view(purchase).state, PurchaseState::Stuck);
    stage.resume();
    assert_eq!(stage.view(purchase).state, PurchaseState::Voided);
    assert_eq!(stage.journal.figures().status().stuck_voids, 0);
    stage.check(&[purchase], "after a restart");
}

#[test]
fn a_void_is_not_stuck_before_its_deadline() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    let purchase = stage.start("tok_ok");
    let within = PaymentStep::StartVoid {
        cause: VoidCause::Operator,
        code: None,
        within_ms: 3_600_000,
        by: None,
    };
    stage
        .journal
        .record(purchase, within, Audit::Nothing)
        .unwrap();
    let stuck = stage.journal.record(
        purchase,
        PaymentStep::VoidStuck(VoidStuckCause::Overdue),
        Audit::Nothing,
    );
    let refusal = stuck.unwrap_err().refusal().unwrap();
    assert_eq!(refusal, Refusal::WrongState);
}

/// What the operator voids, and where it ends.
#[test]
fn the_operator_voids_what_is_open_and_nothing_else() {
    for (card, state) in [
        // Not known at the gateway, under way there, and taken behind our back.
        ("tok_auth_lost", PurchaseState::Voided),
        ("tok_lookup_down_9", PurchaseState::Voided),
        ("tok_capture_busy_99", PurchaseState::Voided),
    ] {
        let dir = TempDir::new().unwrap();
        let patient = PaymentSettings {
            retries_max: 0,
            ..settings()
        };
        let mut stage = Stage::open_with(dir.path(), patient, |sandbox| sandbox);
        let purchase = stage.start(card);
        if card != "tok_auth_lost" {
            let paying = stage.in_runtime(|it| it.payments.pay(purchase, &it.gate));
            assert!(
                matches!(stage.run(paying).unwrap(), PaymentOutcome::Open(_)),
                "{card}"
            );
        }
        let voided = void(&stage, purchase).unwrap();
        assert!(
            [PurchaseState::Voiding, PurchaseState::Voided].contains(&voided),
            "{card}: {voided:?}"
        );
        stage.resume();
        assert_eq!(stage.view(purchase).state, state, "{card}");
        assert_eq!(stage.view(purchase).reason, Some("operator"), "{card}");
        stage.check(&[purchase], card);
        assert_eq!(void(&stage, purchase), Err(Refusal::WrongState), "{card}");
    }
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    for card in ["tok_ok", "tok_declined"] {
        let purchase = stage.buy(card).view().purchase;
        assert_eq!(void(&stage, purchase), Err(Refusal::WrongState), "{card}");
    }
}

#[test]
fn a_payment_without_a_task_driving_it_is_found() {
    let dir = TempDir::new().unwrap();
    let told = Arc::new(AlarmCounter::default());
    let alert = PaymentSettings {
        sweep_every_ms: 1,
        pending_after_ms: 1,
        ..settings()
    };
    let mut stage = Stage::open_measured(dir.path(), alert, |sandbox| sandbox, told.clone());
    stage.resume();
    assert_eq!(told.neglected.load(Ordering::SeqCst), 0);
    // Its intent is written, and whoever wrote it never pays.
    let purchase = stage.start("tok_ok");
    stage.run(async {
        while stage.journal.reads().is_open(purchase) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(stage.view(purchase).state, PurchaseState::Captured);
    assert_eq!(told.neglected.load(Ordering::SeqCst), 1);
    stage.settle();
    stage.check(&[purchase], "neglected");
}

#[test]
fn while_the_gateway_is_down_nothing_is_sent_and_nothing_new_is_taken() {
    let dir = TempDir::new().unwrap();
    let touchy = PaymentSettings {
        breaker: BreakerSettings {
            failures: 3,
            open_ms: 50,
        },
        ..settings()
    };
    let mut stage = Stage::open_with(dir.path(), touchy, |sandbox| sandbox);
    stage.resume();
    assert_eq!(stage.payments.circuit(), Circuit::Closed);
    let down = stage.buy("tok_lookup_down_3");
    assert!(matches!(down, PaymentOutcome::Open(_)));
    assert_eq!(stage.payments.circuit(), Circuit::Open);
    assert_eq!(stage.payments.admission(), Err(Refusal::GatewayUnavailable));
    // One that slipped through goes on later: nothing of it was sent yet.
    let slipped = stage.buy("tok_ok");
    assert!(matches!(slipped, PaymentOutcome::Open(_)));
    assert_eq!(stage.sandbox.charges().len(), 1, "the first one's alone");
    stage.settle();
    stage.run(async {
        while stage.payments.admission().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    // A gateway that asks for a slower pace is there: the circuit stays closed.
    let busy = stage.buy("tok_auth_busy_9");
    assert!(matches!(busy, PaymentOutcome::Open(_)));
    assert_eq!(stage.payments.circuit(), Circuit::Closed);
    stage.settle();
    for ended in [&slipped, &busy] {
        let now = stage.view(ended.view().purchase).state;
        assert_eq!(now, PurchaseState::Captured);
    }
    let back = stage.buy("tok_ok");
    assert!(matches!(back, PaymentOutcome::Captured(_)));
    let purchases = [&down, &slipped, &busy, &back].map(|it| it.view().purchase);
    stage.check(&purchases, "down and up");
}

#[test]
fn a_free_order_calls_no_gateway() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    stage.put_free_promotion();
    let purchase = stage.start_with("tok_declined", Some("FREE"));
    let paying = stage.in_runtime(|it| it.payments.pay(purchase, &it.gate));
    assert!(matches!(
        stage.run(paying).unwrap(),
        PaymentOutcome::Captured(_)
    ));
    assert!(stage.sandbox.charges().is_empty());
    stage.check(&[purchase], "free");
}

#[test]
fn too_late_to_authorize_is_declined_and_closed_at_the_gateway() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    let purchase = stage.start("tok_ok");
    stage.close();
    let late = PaymentSettings {
        give_up_after_ms: 1,
        ..settings()
    };
    let stage = Stage::open_with(dir.path(), late, |sandbox| sandbox);
    stage.resume();
    let view = stage.view(purchase);
    assert_eq!(view.reason, Some(DeclineCause::GatewayUnavailable.as_str()));
    stage.check(&[purchase], "late");
    // An attempt that was on its way all the time comes too late.
    assert_eq!(stage.sandbox.charges().len(), 1);
}

/// The sandbox, at which the first refund of every payment fails, for good.
struct FirstRefundFails(Arc<Sandbox>);

impl Gateway for FirstRefundFails {
    fn name(&self) -> &'static str {
        "first_refund_fails"
    }

    fn amounts(&self, _: Currency) -> Option<AmountRule> {
        Some(AmountRule::ANY)
    }

    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>> {
        self.0.authorize(order)
    }

    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>> {
        self.0.capture(claim)
    }

    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>> {
        self.0.void(claim)
    }

    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>> {
        if refund.number == 1 {
            return Box::pin(std::future::ready(CallResult::Declined(
                Decline::BY_GATEWAY,
            )));
        }
        self.0.refund(refund)
    }

    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>> {
        self.0.look_up(inquiry)
    }

    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>> {
        if refund.number == 1 {
            return Box::pin(std::future::ready(Ok(FoundRefund::Failed)));
        }
        self.0.look_up_refund(refund)
    }

    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>> {
        self.0.list(after)
    }
}

#[test]
fn money_taken_without_goods_goes_back_though_a_refund_failed() {
    let dir = TempDir::new().unwrap();
    let wrap = |sandbox| Arc::new(FirstRefundFails(sandbox));
    let mut stage = Stage::open_with(dir.path(), settings(), wrap);
    let purchase = stage.start("tok_ok");
    let view = stage.view(purchase);
    let (reference, card) = (stage.reference(purchase), view.card.clone().unwrap());
    let started_at = view.payment_started_at().unwrap();
    let (amount, currency) = (view.quote.amount, view.quote.currency);
    let order = AuthorizeRequest {
        reference,
        amount,
        currency,
        card: card.clone(),
        started_at,
    };
    let CallResult::Approved(authorization) = stage.run(stage.sandbox.authorize(order)) else {
        panic!("the card works");
    };
    let claim = AuthorizationClaim {
        reference,
        authorization: Some(authorization.id.clone()),
        amount,
        currency,
        card,
        started_at,
    };
    let captured = stage.run(stage.sandbox.capture(claim));
    assert!(matches!(captured, CallResult::Approved(_)));
    for step in [
        PaymentStep::Authorized {
            authorization: authorization.id,
            capture_before: None,
        },
        PaymentStep::StartVoid {
            cause: VoidCause::CaptureRefused,
            code: None,
            within_ms: 60_000,
            by: None,
        },
    ] {
        stage
            .journal
            .record(purchase, step, Audit::Nothing)
            .unwrap();
    }
    stage.resume();
    assert_eq!(stage.view(purchase).state, PurchaseState::Voided);
    stage.check(&[purchase], "given back by the second refund");
}

/// Nothing ever arrives there, and closing a reference has no answer that says so.
struct Silent(std::sync::atomic::AtomicU32);

impl Gateway for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn amounts(&self, _: Currency) -> Option<AmountRule> {
        Some(AmountRule::ANY)
    }

    fn authorize(&self, _: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(CallResult::Unknown(Trouble::Internal)))
    }

    fn capture(&self, _: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>> {
        unreachable!("nothing was authorized")
    }

    fn void(&self, _: AuthorizationClaim) -> Calling<'_, CallResult<()>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(CallResult::Unknown(Trouble::Internal)))
    }

    fn refund(&self, _: RefundRequest) -> Calling<'_, CallResult<()>> {
        unreachable!("nothing was captured")
    }

    fn look_up(&self, _: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(LookupResult::Nothing)))
    }

    fn look_up_refund(&self, _: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>> {
        unreachable!("nothing was captured")
    }

    fn list(&self, _: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>> {
        unreachable!("nobody asks")
    }
}

#[test]
fn a_drive_ends_where_nothing_can_be_closed() {
    let dir = TempDir::new().unwrap();
    let silent = Arc::new(Silent(std::sync::atomic::AtomicU32::new(0)));
    let mut stage = Stage::open_with(dir.path(), settings(), |_| Arc::clone(&silent));
    let settled = stage.buy("tok_ok");
    assert!(
        matches!(settled, PaymentOutcome::Open(_)),
        "it may still arrive"
    );
    assert_eq!(settled.view().state, PurchaseState::Authorizing);
    let calls = silent.0.load(Ordering::SeqCst);
    assert!(calls <= 12, "{calls} calls in one drive");
}

/// Card, and what the first refund's caller is told, and what becomes of it.
const REFUNDS: [(&str, &str, &str); 7] = [
    ("tok_ok", "succeeded", "succeeded"),
    ("tok_refund_timeout", "succeeded", "succeeded"),
    ("tok_refund_unknown", "succeeded", "succeeded"),
    ("tok_refund_lost_1", "succeeded", "succeeded"),
    ("tok_refund_busy_1", "succeeded", "succeeded"),
    ("tok_refund_busy_9", "pending", "succeeded"),
    ("tok_refund_refused", "failed", "failed"),
];

#[test]
fn refunds_end_once_for_every_card() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    stage.resume();
    let mut purchases = Vec::new();
    for (card, told, end) in REFUNDS {
        let purchase = stage.buy(card).view().purchase;
        let word = |status: &RefundStatus| match status {
            RefundStatus::Succeeded { .. } => "succeeded",
            RefundStatus::Failed { .. } => "failed",
            RefundStatus::Pending => "pending",
            RefundStatus::Returned { .. } => "returned",
        };
        let refund = stage.refund(purchase, Some(700));
        assert_eq!(word(&refund.status), told, "{card}");
        stage.settle();
        let (refund, _) = stage
            .journal
            .reads()
            .refund(purchase, refund.number)
            .unwrap();
        assert_eq!(word(&refund.status), end, "{card}");
        purchases.push(purchase);
        stage.check(&purchases, card);
    }
}
