//! Payments end right for every card of the sandbox: captured with goods, or nothing charged and
//! the stock back; with or without a caller, and however many want to drive them.

use crate::stage::{Stage, offline, settings};
use holdfast::engine::payable::AmountRule;
use holdfast::engine::refusal::Refusal;
use holdfast::money::Currency;
use holdfast::payments::breaker::BreakerSettings;
use holdfast::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallClass, CallResult, Calling,
    CapturedMoney, ChargePage, CoreTime, FoundRefund, Gateway, GatewayCall, Inquiry, LookupResult,
    PageMark, RefundRequest, Trouble,
};
use holdfast::payments::sandbox::Sandbox;
use holdfast::payments::{PaymentOutcome, PaymentSettings};
use holdfast::reconcile::{JobSettings, ReconcileLimits, Reconciler};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;

/// Card, what its caller is told, the state in the end, and the `reason` there.
const CARDS: [(&str, &str, &str, &str); 26] = [
    ("tok_ok", "captured", "captured", ""),
    ("tok_slow_0", "captured", "captured", ""),
    ("tok_slow_5", "captured", "captured", ""),
    ("tok_slow_100", "captured", "captured", ""),
    ("tok_declined", "declined", "declined", "declined_by_issuer"),
    (
        "tok_insufficient_funds",
        "declined",
        "declined",
        "declined_by_issuer",
    ),
    ("tok_misspelt", "declined", "declined", "gateway_failed"),
    ("tok_auth_timeout", "captured", "captured", ""),
    ("tok_auth_unknown", "captured", "captured", ""),
    ("tok_auth_lost_1", "captured", "captured", ""),
    ("tok_auth_lost_9", "open", "captured", ""),
    ("tok_auth_busy_9", "open", "captured", ""),
    ("tok_auth_unreachable_9", "open", "captured", ""),
    ("tok_auth_busy_2", "captured", "captured", ""),
    ("tok_lookup_down_1", "captured", "captured", ""),
    ("tok_lookup_down_9", "open", "captured", ""),
    ("tok_capture_timeout", "captured", "captured", ""),
    ("tok_capture_unknown", "captured", "captured", ""),
    ("tok_capture_lost_1", "captured", "captured", ""),
    ("tok_capture_busy_3", "captured", "captured", ""),
    ("tok_capture_busy_9", "open", "captured", ""),
    ("tok_capture_refused", "voided", "voided", "capture_refused"),
    ("tok_void_timeout", "voided", "voided", "capture_refused"),
    ("tok_void_unknown", "voided", "voided", "capture_refused"),
    ("tok_void_lost_9", "open", "voided", "capture_refused"),
    ("tok_void_busy_2", "voided", "voided", "capture_refused"),
];

fn told(settled: &PaymentOutcome) -> &'static str {
    match settled {
        PaymentOutcome::Captured(_) => "captured",
        PaymentOutcome::Declined(_) => "declined",
        PaymentOutcome::Voided(_) => "voided",
        PaymentOutcome::Open(_) => "open",
    }
}

#[test]
fn every_card_ends_as_it_should() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    stage.resume();
    let mut purchases = Vec::new();
    for (card, expected, state, reason) in CARDS {
        let settled = stage.buy(card);
        assert_eq!(told(&settled), expected, "{card}");
        let purchase = settled.view().purchase;
        stage.settle();
        let view = stage.view(purchase);
        assert_eq!(
            (view.state.as_str(), view.reason.unwrap_or("")),
            (state, reason),
            "{card}"
        );
        purchases.push(purchase);
        stage.check(&purchases, card);
    }
    assert_eq!(stage.payments.in_flight(), 0);
    assert_eq!(stage.sandbox.charges(), offline(dir.path()));
}

/// Nobody said no, so nobody is told so: it ends once the time is over in which its buyer reckons
/// with it, the units go back, and the gateway has nothing that could still come.
#[test]
fn a_payment_that_the_gateway_never_answers_ends_without_a_decline() {
    let dir = TempDir::new().unwrap();
    let impatient = PaymentSettings {
        give_up_after_ms: 100,
        breaker: BreakerSettings {
            failures: 0,
            open_ms: 1,
        },
        ..settings()
    };
    let mut stage = Stage::open_with(dir.path(), impatient, |sandbox| sandbox);
    stage.resume();
    let mut purchases = Vec::new();
    for (card, closed) in [
        ("tok_auth_busy", false),
        ("tok_auth_unreachable", false),
        ("tok_auth_key_refused", false),
        // One may still be on its way: its reference is closed.
        ("tok_auth_lost", true),
    ] {
        let purchase = stage.buy(card).view().purchase;
        stage.settle();
        let view = stage.view(purchase);
        let ended = (view.state.as_str(), view.reason);
        assert_eq!(ended, ("declined", Some("gateway_unavailable")), "{card}");
        let reasons: Vec<_> = view.declines.iter().map(|it| it.reason).collect();
        assert_eq!(reasons, [Refusal::GatewayUnavailable], "{card}");
        let ledger = std::fs::read_to_string(dir.path().join("sandbox/ledger.log")).unwrap();
        assert_eq!(ledger.contains(" closed "), closed, "{card}: {ledger}");
        purchases.push(purchase);
        stage.check(&purchases, card);
    }
}

#[test]
fn a_payment_continues_after_its_client_disconnects() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    let (asked, begun) = (stage.start("tok_ok"), stage.start("tok_slow_10"));
    stage.in_runtime(|stage| {
        drop(stage.payments.pay(asked, &stage.gate));
    });
    stage.run(async {
        let mut paying = pin!(stage.payments.pay(begun, &stage.gate));
        let first = poll_fn(|context| Poll::Ready(paying.as_mut().poll(context))).await;
        assert!(first.is_pending());
    });
    stage.settle();
    for purchase in [asked, begun] {
        assert_eq!(stage.view(purchase).state.as_str(), "captured");
    }
    stage.run(stage.payments.idle());
    stage.check(&[asked, begun], "dropped");
}

#[test]
fn a_purchase_has_one_drive_at_a_time() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open_with(dir.path(), settings(), Recording::around);
    let purchase = stage.start("tok_slow_10");
    let (first, second) = stage.run(async {
        let (first, second) = (
            stage.payments.pay(purchase, &stage.gate),
            stage.payments.pay(purchase, &stage.gate),
        );
        tokio::join!(first, second)
    });
    assert_eq!(told(&first.unwrap()), "captured");
    assert_eq!(told(&second.unwrap()), "open");
    // And who comes when it has ended is told so, without another call.
    let paying = stage.in_runtime(|stage| stage.payments.pay(purchase, &stage.gate));
    assert_eq!(told(&stage.run(paying).unwrap()), "captured");
    let charges = stage.sandbox.charges();
    assert_eq!(charges.len(), 1);
    stage.check(&[purchase], "driven by three");
}

#[test]
fn in_doubt_nothing_is_sent_before_a_look_up() {
    for (card, ..) in CARDS {
        let dir = TempDir::new().unwrap();
        let mut recording = None;
        let mut stage = Stage::open_with(dir.path(), settings(), |sandbox| {
            let around = Recording::around(sandbox);
            recording = Some(Arc::clone(&around));
            around
        });
        stage.resume();
        stage.buy(card);
        stage.settle();
        let calls = recording.unwrap().calls.lock().unwrap().clone();
        let mut doubt = false;
        for (call, class) in &calls {
            assert!(!doubt || *call == GatewayCall::LookUp, "{card}: {calls:?}");
            doubt = match (call, class) {
                (_, Some(CallClass::Approved)) => false,
                (GatewayCall::LookUp, _) => doubt,
                (_, class) => matches!(class, None | Some(CallClass::Unknown)),
            };
        }
    }
}

#[test]
fn no_more_are_driven_at_once_than_allowed() {
    let dir = TempDir::new().unwrap();
    let mut recording = None;
    let bounded = PaymentSettings {
        in_flight_max: 3,
        ..settings()
    };
    let mut stage = Stage::open_with(dir.path(), bounded, |sandbox| {
        let around = Recording::around(sandbox);
        recording = Some(Arc::clone(&around));
        around
    });
    let purchases: Vec<_> = (0..20).map(|_| stage.start("tok_slow_2")).collect();
    stage.run(async {
        let tasks: Vec<_> = purchases
            .iter()
            .map(|purchase| tokio::spawn(stage.payments.pay(*purchase, &stage.gate)))
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(stage.payments.admission(), Err(Refusal::Overloaded));
        for task in tasks {
            assert_eq!(told(&task.await.unwrap().unwrap()), "captured");
        }
    });
    assert_eq!(recording.unwrap().most.load(Ordering::SeqCst), 3);
    assert_eq!(stage.payments.admission(), Ok(()));
    stage.check(&purchases, "20 by 3");
}

#[test]
fn a_stopped_log_is_reported_and_charges_nothing_more() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    let purchase = stage.start("tok_ok");
    stage.journal.close();
    let paying = stage.in_runtime(|stage| stage.payments.pay(purchase, &stage.gate));
    assert!(stage.run(paying).is_err());
}

/// The reconciler asks a gateway of its own, of which the payments know nothing.
#[test]
fn the_reconcilers_gateway_goes_by_the_cores_time() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::open(dir.path());
    let gateway = Recording::around(Arc::clone(&stage.sandbox));
    let settings = JobSettings {
        every: None,
        limits: ReconcileLimits {
            window: None,
            pause: Duration::ZERO,
            call_timeout: Duration::from_secs(1),
            differences_max: 1,
        },
    };
    let asked = Arc::clone(&gateway) as Arc<dyn Gateway>;
    let journal = Arc::clone(&stage.journal);
    let reachable = Box::new(|| true);
    let _reconciler = Reconciler::new(journal, asked, settings, reachable, Box::new(drop));
    let time = gateway.time.lock().unwrap();
    let time = time.as_ref().expect("it was told the time");
    let (before, told, after) = (stage.journal.now(), time(), stage.journal.now());
    assert!(before <= told && told <= after, "{told} is the core's");
}

/// A gateway that writes down each call and how it ended; `None`: nobody waited to the end.
struct Recording {
    inner: Arc<Sandbox>,
    calls: Mutex<Vec<(GatewayCall, Option<CallClass>)>>,
    time: Mutex<Option<CoreTime>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Recording {
    fn around(inner: Arc<Sandbox>) -> Arc<Self> {
        let calls = Mutex::default();
        Arc::new(Self {
            inner,
            calls,
            time: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn note<'a, T: Send + 'a>(
        &'a self,
        call: GatewayCall,
        inner: Calling<'a, T>,
        class: impl Fn(&T) -> CallClass + Send + 'a,
    ) -> Calling<'a, T> {
        let place = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((call, None));
            calls.len() - 1
        };
        Box::pin(async move {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let answer = inner.await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            self.calls.lock().unwrap()[place].1 = Some(class(&answer));
            answer
        })
    }
}

impl Gateway for Recording {
    fn name(&self) -> &'static str {
        "recording"
    }

    fn amounts(&self, _: Currency) -> Option<AmountRule> {
        Some(AmountRule::ANY)
    }

    fn keep_time(&self, time: CoreTime) {
        *self.time.lock().unwrap() = Some(time);
    }

    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>> {
        self.note(
            GatewayCall::Authorize,
            self.inner.authorize(order),
            CallResult::class,
        )
    }

    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>> {
        self.note(
            GatewayCall::Capture,
            self.inner.capture(claim),
            CallResult::class,
        )
    }

    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>> {
        self.note(GatewayCall::Void, self.inner.void(claim), CallResult::class)
    }

    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>> {
        self.note(
            GatewayCall::Refund,
            self.inner.refund(refund),
            CallResult::class,
        )
    }

    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>> {
        self.note(GatewayCall::LookUp, self.inner.look_up(inquiry), class_of)
    }

    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>> {
        self.note(
            GatewayCall::LookUpRefund,
            self.inner.look_up_refund(refund),
            class_of,
        )
    }

    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>> {
        self.inner.list(after)
    }
}

fn class_of<T>(answer: &Result<T, Trouble>) -> CallClass {
    match answer {
        Ok(_) => CallClass::Approved,
        Err(_) => CallClass::Retriable,
    }
}
