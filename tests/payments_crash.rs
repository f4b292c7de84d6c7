//! Payments end right over crashes: whatever stood in the log and at the gateway when the process
//! was killed, after a restart the money and the goods go together again.

mod payments_stage;

use holdfast::engine::command::PaymentStep;
use holdfast::engine::event::VoidCause;
use holdfast::engine::lifecycle::PurchaseState;
use holdfast::engine::view::RefundStatus;
use holdfast::ids::{AuthorizationId, CaptureId, CardToken, PurchaseId};
use holdfast::money::Amount;
use holdfast::payments::gateway::{
    Answer, Authorization, Calling, Claim, Found, FoundRefund, Gateway, Inquiry, Order, Page,
    PageMark, Refund, Trouble,
};
use holdfast::payments::sandbox::Sandbox;
use holdfast::time::UnixMs;
use payments_stage::{PRICE, Stage, copy_as_killed, offline, settings, usd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// What the log says, what the gateway has, where it has to end, and its `reason` there.
const LEFT: &str = "
    started    nothing     captured
    started    authorized  captured
    started    captured    captured
    started    declined    declined  declined_by_issuer
    started    voided      declined  gateway_failed
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
fn whatever_a_crash_leaves_is_driven_to_its_end() {
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
    assert_eq!(stage.journal.open_payments().len(), rows.len());
    stage.resume();
    for (row, purchase) in rows.iter().zip(&left) {
        let view = stage.view(*purchase);
        let expected = (row[2], row.get(3).copied());
        assert_eq!((view.state.as_str(), view.reason), expected, "{row:?}");
    }
    stage.check(&left, "every state");
    assert_eq!(stage.sandbox.charges(), offline(dir.path()));
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
            let refund = Refund {
                reference: stage.reference(purchase),
                capture: None,
                authorization: None,
                number,
                amount: Amount::new(700).unwrap(),
                currency: usd(),
            };
            let answer = stage.run(stage.sandbox.refund(refund));
            assert_eq!(answer, Answer::Approved(()), "{what}");
        }
        stage.close();

        let stage = Stage::open(dir.path());
        assert_eq!(stage.journal.open_payments().len(), 1, "{what}");
        stage.resume();
        let (refund, _) = stage.journal.refund(purchase, number).unwrap();
        let ended = match refund.status {
            RefundStatus::Succeeded { .. } => "succeeded",
            RefundStatus::Failed { .. } => "failed",
            RefundStatus::Pending => "pending",
        };
        assert_eq!(ended, end, "{what}");
        stage.check(&[purchase], &what);
    }
}

/// Brings the gateway where the word says; its name for the authorization.
fn at_gateway(stage: &Stage, purchase: PurchaseId, card: &str, word: &str) -> AuthorizationId {
    let reference = stage.reference(purchase);
    let amount = Amount::new(PRICE).unwrap();
    let order = Order {
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
        let Answer::Approved(authorization) = stage.sandbox.authorize(order).await else {
            return unheard_of;
        };
        let authorization = authorization.id;
        let claim = Claim {
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
                Answer::Approved(_)
            )),
            "voided" => assert_eq!(stage.sandbox.void(claim).await, Answer::Approved(())),
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
                within_ms: 60_000,
                by: None,
            },
        ],
        other => panic!("{other}"),
    };
    for step in steps {
        stage.journal.record(purchase, step).unwrap().unwrap();
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

#[test]
fn killed_before_or_after_any_call_every_card_ends_right() {
    let mut killed = 0;
    for card in CARDS {
        let (dir, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut killing = None;
        let mut stage = Stage::open_with(dir.path(), settings(), |sandbox| {
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
            let stage = Stage::open(&copy);
            stage.resume();
            stage.check(&[purchase], &what);
            killed += 1;
            if place == last {
                let charges = stage.sandbox.charges();
                stage.close();
                let again = Stage::open(&copy);
                assert_eq!(again.journal.open_payments(), [], "{what}");
                assert_eq!(again.sandbox.charges(), charges, "{what}");
                again.check(&[purchase], &what);
            }
        }
    }
    println!("{killed} kills over {} cards", CARDS.len());
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

    fn authorize(&self, order: Order) -> Calling<'_, Answer<Authorization>> {
        self.around_call("authorize", || self.inner.authorize(order))
    }

    fn capture(&self, claim: Claim) -> Calling<'_, Answer<CaptureId>> {
        self.around_call("capture", || self.inner.capture(claim))
    }

    fn void(&self, claim: Claim) -> Calling<'_, Answer<()>> {
        self.around_call("void", || self.inner.void(claim))
    }

    fn refund(&self, refund: Refund) -> Calling<'_, Answer<()>> {
        self.around_call("refund", || self.inner.refund(refund))
    }

    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<Found, Trouble>> {
        self.around_call("look_up", || self.inner.look_up(inquiry))
    }

    fn look_up_refund(&self, refund: Refund) -> Calling<'_, Result<FoundRefund, Trouble>> {
        self.around_call("look_up_refund", || self.inner.look_up_refund(refund))
    }

    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<Page, Trouble>> {
        self.inner.list(after)
    }
}
