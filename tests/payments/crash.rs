//! Payments end right over crashes: whatever stood in the log and at the gateway when the process
//! was killed, after a restart the money and the goods go together again.

use crate::stage::{PRICE, Stage, copy_as_killed, judgement, offline, settings};
use holdfast::engine::command::{PaymentStep, Verdict};
use holdfast::engine::event::{Decider, VoidCause};
use holdfast::engine::lifecycle::{PurchaseState, Step};
use holdfast::engine::payable::AmountRule;
use holdfast::engine::refusal::Refusal;
use holdfast::engine::view::RefundStatus;
use holdfast::ids::{AuthorizationId, CardToken, PurchaseId};
use holdfast::journal::Audit;
use holdfast::money::{Amount, Currency};
use holdfast::payments::PaymentSettings;
use holdfast::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallResult, Calling, CapturedMoney,
    ChargePage, FoundRefund, Gateway, Inquiry, LookupResult, PageMark, RefundRequest, Trouble,
};
use holdfast::payments::sandbox::Sandbox;
use holdfast::payments::settings::ReviewSettings;
use holdfast::time::UnixMs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use support::commands::usd;
use tempfile::TempDir;

/// What the log says, what the gateway has, where it has to end, and its `reason` there.
const LEFT: &str = "
    started    nothing     captured
    started    authorized  captured
    started    captured    captured
    started    declined    declined  declined_by_issuer
    started    voided      declined  gateway_unavailable
    authorized nothing     voided    authorization_lapsed
    authorized authorized  captured
    authorized captured    captured
    authorized voided      voided    authorization_lapsed
    capturing  nothing     voided    authorization_lapsed
    capturing  authorized  captured
    capturing  captured    captured
    capturing  voided      voided    authorization_lapsed
    voiding    nothing     voided    capture_refused
    voiding    authorized  voided    capture_refused
    voiding    captured    voided    capture_refused
    voiding    voided      voided    capture_refused
";

#[test]
fn after_any_crash_payments_are_completed() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open(dir.path());
    let rows: Vec<Vec<&str>> = LEFT
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| !row.is_empty())
        .collect();
    let mut left = Vec::new();
    for row in &rows {
        let card = if row[1] == "declined" {
            "tok_declined"
        } else {
            "tok_ok"
        };
        let purchase = stage.start(card);
        let authorization = at_gateway(&stage, purchase, card, row[1]);
        in_log(&stage, purchase, row[0], authorization);
        left.push(purchase);
    }
    stage.close();

    let stage = Stage::open(dir.path());
    assert_eq!(stage.journal.reads().open_payments().len(), rows.len());
    stage.resume();
    for (row, purchase) in rows.iter().zip(&left) {
        let view = stage.view(*purchase);
        let expected = (row[2], row.get(3).copied());
        assert_eq!((view.state.as_str(), view.reason), expected, "{row:?}");
    }
    stage.check(&left, "every state");
    assert_eq!(stage.sandbox.charges(), offline(dir.path()));
}

/// The same where a person decides: what the log says, what the gateway has, how it is decided
/// (`-`: not needed), where it has to end, and its `reason` there.
const REVIEWS_LEFT: &str = "
    started    nothing     approve captured
    started    authorized  reject  voided    review_rejected
    started    captured    approve captured
    started    captured    reject  voided    review_rejected
    started    declined    -       declined  declined_by_issuer
    started    voided      -       declined  gateway_unavailable
    authorized nothing     -       voided    authorization_lapsed
    authorized authorized  approve captured
    authorized authorized  reject  voided    review_rejected
    authorized captured    approve captured
    authorized captured    reject  voided    review_rejected
    authorized voided      -       voided    authorization_lapsed
    opened     nothing     approve voided    authorization_lapsed
    opened     nothing     reject  voided    review_rejected
    opened     authorized  approve captured
    opened     authorized  reject  voided    review_rejected
    opened     captured    approve captured
    opened     captured    reject  voided    review_rejected
    opened     voided      approve voided    authorization_lapsed
    opened     voided      reject  voided    review_rejected
    approved   nothing     -       voided    authorization_lapsed
    approved   authorized  -       captured
    approved   captured    -       captured
    approved   voided      -       voided    authorization_lapsed
    rejected   nothing     -       voided    review_rejected
    rejected   authorized  -       voided    review_rejected
    rejected   captured    -       voided    review_rejected
    rejected   voided      -       voided    review_rejected
";

#[test]
fn after_any_crash_a_review_waits_for_a_person_and_is_completed() {
    let dir = TempDir::new().unwrap();
    let open = || Stage::open_reviewing(dir.path(), settings(), |sandbox| sandbox);
    let mut stage = open();
    let rows: Vec<Vec<&str>> = REVIEWS_LEFT
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| !row.is_empty())
        .collect();
    let mut left = Vec::new();
    for row in &rows {
        let card = if row[1] == "declined" {
            "tok_declined"
        } else {
            "tok_ok"
        };
        let purchase = stage.start(card);
        let authorization = at_gateway(&stage, purchase, card, row[1]);
        in_log(&stage, purchase, row[0], authorization);
        left.push(purchase);
    }
    let digest = stage.journal.upkeep().digest();
    stage.close();

    let stage = open();
    assert_eq!(stage.journal.opened().digest, digest);
    let resumed = stage.in_runtime(|it| it.payments.resume(&it.gate));
    stage.runtime.spawn(resumed);
    for (row, purchase) in rows.iter().zip(&left) {
        if row[2] != "-" {
            stage.until(*purchase, PurchaseState::UnderReview);
            stage.decide(*purchase, verdict(row[2])).unwrap();
        }
    }
    stage.settle();
    for (row, purchase) in rows.iter().zip(&left) {
        let view = stage.view(*purchase);
        let expected = (row[3], row.get(4).copied());
        assert_eq!((view.state.as_str(), view.reason), expected, "{row:?}");
        let again = stage.decide(*purchase, Verdict::Approve);
        assert_eq!(again, Err(Refusal::WrongState), "{row:?}");
    }
    stage.check(&left, "every review");
    assert_eq!(stage.sandbox.charges(), offline(dir.path()));
    let digest = stage.journal.upkeep().digest();
    stage.close();
    assert_eq!(open().journal.opened().digest, digest);
}

#[test]
fn an_undecided_review_is_decided_at_its_deadline_also_across_a_crash() {
    for (on_deadline, end, reason) in [
        (Verdict::Approve, "captured", None),
        (Verdict::Reject, "voided", Some("review_timed_out")),
    ] {
        for killed in [false, true] {
            let what = format!("{on_deadline:?}, killed: {killed}");
            let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
            // Long enough that the kill finds reviews open, however slow the machine.
            let deadline_ms = if killed { 1_500 } else { 300 };
            let mut settings = settings();
            settings.review = ReviewSettings {
                deadline_ms,
                capture_margin_ms: 0,
                on_deadline,
            };
            settings.sweep_every_ms = 5_000;
            let open = |at: &Path| Stage::open_reviewing(at, settings.clone(), |it| it);
            let mut stage = open(dir.path());
            let resumed = stage.in_runtime(|it| it.payments.resume(&it.gate));
            stage.runtime.spawn(resumed);
            let purchases: Vec<_> = (0..80)
                .map(|_| stage.buy("tok_ok").view().purchase)
                .collect();
            let waiting = stage.journal.reads().reviews().len();
            if killed {
                assert_ne!(waiting, 0, "{what}: reviews are open when it is killed");
                let copied = copy.path().join("data");
                copy_as_killed(dir.path(), &copied);
                stage.close();
                stage = open(&copied);
                stage.resume();
            }
            stage.settle();
            for purchase in &purchases {
                let view = stage.view(*purchase);
                assert_eq!((view.state.as_str(), view.reason), (end, reason), "{what}");
                let deadline = view.review_opened_at().unwrap().plus_ms(deadline_ms);
                let decided = view.history.iter().find(|entry| {
                    matches!(entry.step, Step::ReviewApproved | Step::ReviewRejected)
                });
                assert!(decided.unwrap().at >= deadline, "{what}");
            }
            stage.check(&purchases, &what);
        }
    }
}

#[test]
fn a_review_ends_in_time_before_the_authorization_lapses() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::open_reviewing(dir.path(), settings(), |it| it);
    for (capture_in_ms, expected_ms) in [
        (None, 1_000),
        (Some(5_000), 1_000),
        (Some(900), 800),
        (Some(50), 0),
    ] {
        let purchase = stage.start("tok_ok");
        let started = stage.view(purchase).payment_started_at().unwrap();
        let authorized = PaymentStep::Authorized {
            authorization: AuthorizationId::parse("sa_1").unwrap(),
            capture_before: capture_in_ms.map(|ms| started.plus_ms(ms)),
        };
        stage
            .journal
            .record(purchase, authorized, Audit::Nothing)
            .unwrap();
        let start = stage
            .journal
            .record(purchase, PaymentStep::StartCapture, Audit::Nothing);
        assert_eq!(
            start.unwrap_err().refusal().unwrap(),
            Refusal::WrongState,
            "a person decides first"
        );
        let open = PaymentStep::OpenReview {
            within_ms: 1_000,
            margin_ms: 100,
        };
        let view = stage
            .journal
            .record(purchase, open, Audit::Nothing)
            .unwrap()
            .view;
        let deadline = view.review.clone().unwrap().deadline.unwrap();
        let opened = view.review_opened_at().unwrap();
        let expected = match capture_in_ms {
            Some(ms) if ms < 1_000 => started.plus_ms(expected_ms).max(opened),
            _ => opened.plus_ms(expected_ms),
        };
        assert_eq!(deadline, expected, "{capture_in_ms:?}");
        let by_deadline = PaymentStep::DecideReview {
            verdict: Verdict::Approve,
            decider: Decider::Deadline,
            void_within_ms: 60_000,
        };
        if stage.journal.now().plus_ms(100) < deadline {
            let early = stage.journal.record(purchase, by_deadline, Audit::Nothing);
            let refusal = early.unwrap_err().refusal().unwrap();
            assert_eq!(refusal, Refusal::WrongState, "nobody is hurried");
        } else {
            stage.run(async {
                while stage.journal.now() < deadline {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            });
            let due = stage.journal.record(purchase, by_deadline, Audit::Nothing);
            assert_eq!(due.unwrap().view.state, PurchaseState::Capturing);
        }
    }
}

fn verdict(word: &str) -> Verdict {
    match word {
        "approve" => Verdict::Approve,
        "reject" => Verdict::Reject,
        other => panic!("{other}"),
    }
}

/// What the gateway has of a refund that stands in the log, and what becomes of it.
const REFUNDS_LEFT: [(&str, &str, &str); 4] = [
    ("tok_ok", "nothing", "succeeded"),
    ("tok_ok", "done", "succeeded"),
    ("tok_refund_refused", "nothing", "failed"),
    ("tok_refund_timeout", "nothing", "succeeded"),
];

#[test]
fn a_refund_that_a_crash_leaves_ends_once() {
    for (card, at_gateway, end) in REFUNDS_LEFT {
        let what = format!("{card} {at_gateway}");
        let dir = TempDir::new().unwrap();
        let mut stage = Stage::open(dir.path());
        let purchase = stage.buy(card).view().purchase;
        let number = stage.start_refund(purchase, Some(700));
        if at_gateway == "done" {
            let refund = RefundRequest {
                reference: stage.reference(purchase),
                capture: None,
                authorization: None,
                number,
                amount: Amount::new(700).unwrap(),
                currency: usd(),
            };
            let answer = stage.run(stage.sandbox.refund(refund));
            assert_eq!(answer, CallResult::Approved(()), "{what}");
        }
        stage.close();

        let stage = Stage::open(dir.path());
        assert_eq!(stage.journal.reads().open_payments().len(), 1, "{what}");
        stage.resume();
        let (refund, _) = stage.journal.reads().refund(purchase, number).unwrap();
        let ended = match refund.status {
            RefundStatus::Succeeded { .. } => "succeeded",
            RefundStatus::Failed { .. } => "failed",
            RefundStatus::Pending => "pending",
            RefundStatus::Returned { .. } => "returned",
        };
        assert_eq!(ended, end, "{what}");
        stage.check(&[purchase], &what);
    }
}

/// Brings the gateway where the word says; its name for the authorization.
fn at_gateway(stage: &Stage, purchase: PurchaseId, card: &str, word: &str) -> AuthorizationId {
    let reference = stage.reference(purchase);
    let amount = Amount::new(PRICE).unwrap();
    let order = AuthorizeRequest {
        reference,
        amount,
        currency: usd(),
        card: CardToken::parse(card).unwrap(),
        started_at: UnixMs::new(1),
    };
    let unheard_of = AuthorizationId::parse("sa_unheard_of").unwrap();
    stage.run(async {
        if word == "nothing" {
            return unheard_of;
        }
        let CallResult::Approved(authorization) = stage.sandbox.authorize(order).await else {
            return unheard_of;
        };
        let authorization = authorization.id;
        let claim = AuthorizationClaim {
            reference,
            authorization: Some(authorization.clone()),
            amount,
            currency: usd(),
            card: CardToken::parse(card).unwrap(),
            started_at: UnixMs::new(1),
        };
        match word {
            "captured" => assert!(matches!(
                stage.sandbox.capture(claim).await,
                CallResult::Approved(_)
            )),
            "voided" => assert_eq!(stage.sandbox.void(claim).await, CallResult::Approved(())),
            _ => {}
        }
        authorization
    })
}

/// Brings the log where the word says.
fn in_log(stage: &Stage, purchase: PurchaseId, word: &str, authorization: AuthorizationId) {
    let authorized = PaymentStep::Authorized {
        authorization,
        capture_before: None,
    };
    let steps = match word {
        "started" => vec![],
        "authorized" => vec![authorized],
        "capturing" => vec![authorized, PaymentStep::StartCapture],
        "voiding" => vec![
            authorized,
            PaymentStep::StartCapture,
            PaymentStep::StartVoid {
                cause: VoidCause::CaptureRefused,
                code: None,
                within_ms: 60_000,
                by: None,
            },
        ],
        "opened" => vec![authorized, open_review()],
        "approved" => vec![authorized, open_review(), decide(Verdict::Approve)],
        "rejected" => vec![authorized, open_review(), decide(Verdict::Reject)],
        other => panic!("{other}"),
    };
    for step in steps {
        stage
            .journal
            .record(purchase, step, Audit::Nothing)
            .unwrap();
    }
}

fn open_review() -> PaymentStep {
    PaymentStep::OpenReview {
        within_ms: 3_600_000,
        margin_ms: 0,
    }
}

fn decide(verdict: Verdict) -> PaymentStep {
    PaymentStep::DecideReview {
        verdict,
        decider: judgement(),
        void_within_ms: 60_000,
    }
}

/// Every card whose payment makes a call more, or another one, than the others do.
const CARDS: [&str; 23] = [
    "tok_ok",
    "tok_slow_3",
    "tok_declined",
    "tok_misspelt",
    "tok_auth_timeout",
    "tok_auth_unknown",
    "tok_auth_lost",
    "tok_auth_lost_1",
    "tok_auth_busy_1",
    "tok_lookup_down_2",
    "tok_capture_timeout",
    "tok_capture_unknown",
    "tok_capture_lost_1",
    "tok_capture_busy_1",
    "tok_capture_refused",
    "tok_void_timeout",
    "tok_void_unknown",
    "tok_void_lost_1",
    "tok_refund_timeout",
    "tok_refund_unknown",
    "tok_refund_lost_1",
    "tok_refund_busy_1",
    "tok_refund_refused",
];

/// One that never answers is given up soon.
fn patience(card: &str) -> PaymentSettings {
    PaymentSettings {
        give_up_after_ms: if card == "tok_auth_lost" { 60 } else { 900_000 },
        ..settings()
    }
}

#[test]
fn killed_before_or_after_any_call_every_card_ends_right() {
    let mut killed = 0;
    for card in CARDS {
        let (dir, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut killing = None;
        let mut stage = Stage::open_with(dir.path(), patience(card), |sandbox| {
            let around = Killing::around(sandbox, dir.path(), copies.path());
            killing = Some(Arc::clone(&around));
            around
        });
        stage.resume();
        let purchase = stage.buy(card).view().purchase;
        stage.settle();
        if stage.view(purchase).state == PurchaseState::Captured {
            for amount in [Some(500), None] {
                stage.refund(purchase, amount);
                stage.settle();
            }
        }
        stage.check(&[purchase], card);
        let copies = killing.unwrap().copies.lock().unwrap().clone();
        assert!(copies.len() >= 2, "{card}: it was killed around each call");
        let last = copies.len() - 1;
        for (place, copy) in copies.into_iter().enumerate() {
            let what = format!("{card} killed at {}", copy.display());
            let stage = Stage::open_with(&copy, patience(card), |it| it);
            stage.resume();
            stage.check(&[purchase], &what);
            killed += 1;
            if place == last {
                let charges = stage.sandbox.charges();
                stage.close();
                let again = Stage::open(&copy);
                assert_eq!(again.journal.reads().open_payments(), [], "{what}");
                assert_eq!(again.sandbox.charges(), charges, "{what}");
                again.check(&[purchase], &what);
            }
        }
    }
    println!("{killed} kills over {} cards", CARDS.len());
}

#[test]
fn killed_around_any_call_of_a_review_it_ends_as_it_was_decided_or_waits() {
    let mut killed = 0;
    for card in [
        "tok_ok",
        "tok_auth_timeout",
        "tok_capture_timeout",
        "tok_capture_refused",
        "tok_void_timeout",
    ] {
        for verdict in [Verdict::Approve, Verdict::Reject] {
            let (dir, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
            let mut killing = None;
            let mut stage = Stage::open_reviewing(dir.path(), settings(), |sandbox| {
                let around = Killing::around(sandbox, dir.path(), copies.path());
                killing = Some(Arc::clone(&around));
                around
            });
            let resumed = stage.in_runtime(|it| it.payments.resume(&it.gate));
            stage.runtime.spawn(resumed);
            let purchase = stage.buy(card).view().purchase;
            stage.until(purchase, PurchaseState::UnderReview);
            stage.decide(purchase, verdict).unwrap();
            stage.settle();
            let end = stage.view(purchase).state;
            stage.check(&[purchase], card);
            let copies = killing.unwrap().copies.lock().unwrap().clone();
            assert!(copies.len() >= 4, "{card}: it was killed around each call");
            for copy in copies {
                let what = format!("{card} {verdict:?} killed at {}", copy.display());
                let stage = Stage::open_reviewing(&copy, settings(), |it| it);
                let resumed = stage.in_runtime(|it| it.payments.resume(&it.gate));
                stage.runtime.spawn(resumed);
                // Before the decision it waits; after, nobody is asked again.
                let reached = stage.run(async {
                    loop {
                        let view = stage.view(purchase);
                        let waits = view.state == PurchaseState::UnderReview;
                        if waits || !view.state.is_open_payment() {
                            return view.state;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                });
                if reached == PurchaseState::UnderReview {
                    stage.decide(purchase, verdict).unwrap();
                    stage.settle();
                }
                assert_eq!(stage.view(purchase).state, end, "{what}");
                stage.check(&[purchase], &what);
                killed += 1;
            }
        }
    }
    println!("{killed} kills around reviews");
}

/// A gateway around which the process is killed: copies what would be left of the data directory
/// before each call and after each effect.
struct Killing {
    inner: Arc<Sandbox>,
    data_dir: PathBuf,
    target: PathBuf,
    copies: Mutex<Vec<PathBuf>>,
}

impl Killing {
    fn around(inner: Arc<Sandbox>, data_dir: &Path, target: &Path) -> Arc<Self> {
        Arc::new(Self {
            inner,
            data_dir: data_dir.to_owned(),
            target: target.to_owned(),
            copies: Mutex::default(),
        })
    }

    fn around_call<T>(&self, name: &str, call: impl FnOnce() -> T) -> T {
        self.kill(name, "before");
        // The sandbox's effects happen when the call is made, its answer comes when it is awaited.
        let made = call();
        self.kill(name, "after");
        made
    }

    fn kill(&self, name: &str, when: &str) {
        let mut copies = self.copies.lock().unwrap();
        let copy = self.target.join(format!("{}-{when}-{name}", copies.len()));
        copy_as_killed(&self.data_dir, &copy);
        copies.push(copy);
    }
}

impl Gateway for Killing {
    fn name(&self) -> &'static str {
        "killing"
    }

    fn amounts(&self, _: Currency) -> Option<AmountRule> {
        Some(AmountRule::ANY)
    }

    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>> {
        self.around_call("authorize", || self.inner.authorize(order))
    }

    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>> {
        self.around_call("capture", || self.inner.capture(claim))
    }

    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>> {
        self.around_call("void", || self.inner.void(claim))
    }

    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>> {
        self.around_call("refund", || self.inner.refund(refund))
    }

    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>> {
        self.around_call("look_up", || self.inner.look_up(inquiry))
    }

    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>> {
        self.around_call("look_up_refund", || self.inner.look_up_refund(refund))
    }

    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>> {
        self.inner.list(after)
    }
}
