//! The sandbox gateway keeps its own books: idempotent by reference, over kill and torn lines.

use holdfast::ids::{
    AuthorizationId, CardToken, GatewayCode, PurchaseId, PurchaseTag, RequestId, ShardId,
};
use holdfast::money::{Amount, Currency};
use holdfast::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallResult, Decline, DeclinedBy,
    FoundRefund, Gateway, Inquiry, LookupResult, Reference, RefundRequest, Trouble,
};
use holdfast::payments::sandbox::{
    ChargeState, Sandbox, SandboxCharge, SandboxError, path_in, read_charges,
};
use holdfast::time::UnixMs;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

fn reference(number: u64) -> Reference {
    let purchase = PurchaseId::new(ShardId::new(3), number, PurchaseTag(0x5a17_c0de_5a17_c0de));
    Reference::new(0xfeed, purchase, RequestId(number))
}

fn inquiry(number: u64) -> Inquiry {
    let claim = claim(number, &AuthorizationId::parse("sa_1").unwrap());
    Inquiry {
        reference: claim.reference,
        authorization: None,
        amount: claim.amount,
        currency: claim.currency,
        card: claim.card,
        started_at: claim.started_at,
    }
}

fn order(number: u64, card: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        reference: reference(number),
        amount: Amount::new(2_500).unwrap(),
        currency: Currency::parse("USD").unwrap(),
        card: CardToken::parse(card).unwrap(),
        started_at: UnixMs::new(1),
    }
}

fn claim(number: u64, authorization: &AuthorizationId) -> AuthorizationClaim {
    AuthorizationClaim {
        reference: reference(number),
        authorization: Some(authorization.clone()),
        amount: Amount::new(2_500).unwrap(),
        currency: Currency::parse("USD").unwrap(),
        card: CardToken::parse("tok_ok").unwrap(),
        started_at: UnixMs::new(1),
    }
}

fn refund(number: u64, refund: u32, amount: i64) -> RefundRequest {
    RefundRequest {
        reference: reference(number),
        capture: None,
        authorization: None,
        number: refund,
        amount: Amount::new(amount).unwrap(),
        currency: Currency::parse("USD").unwrap(),
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(work)
}

/// The answer, or `None` where none comes in 20 ms.
async fn soon<T>(call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), call)
        .await
        .ok()
}

async fn authorized(sandbox: &Sandbox, number: u64, card: &str) -> Authorization {
    match sandbox.authorize(order(number, card)).await {
        CallResult::Approved(authorization) => authorization,
        other => panic!("{card}: {other:?}"),
    }
}

fn states(data_dir: &Path) -> Vec<(ChargeState, i64)> {
    let charges = read_charges(data_dir).unwrap();
    charges
        .iter()
        .map(|c: &SandboxCharge| (c.state, c.net().get()))
        .collect()
}

#[test]
fn a_payment_is_charged_once_however_often_it_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::open(dir.path()).unwrap();
    run(async {
        let first = authorized(&sandbox, 1, "tok_ok").await;
        assert_eq!(authorized(&sandbox, 1, "tok_ok").await, first);
        let captured = sandbox.capture(claim(1, &first.id)).await;
        assert!(matches!(captured, CallResult::Approved(_)));
        assert_eq!(sandbox.capture(claim(1, &first.id)).await, captured);
        assert_eq!(
            sandbox.void(claim(1, &first.id)).await,
            CallResult::Declined(Decline::BY_GATEWAY)
        );
        for (number, amount, approved) in [
            (1, 500, true),
            (1, 500, true),
            (1, 501, false),
            (2, 2_001, false),
            (2, 2_000, true),
        ] {
            let answer = sandbox.refund(refund(1, number, amount)).await;
            assert_eq!(
                answer == CallResult::Approved(()),
                approved,
                "{number} {amount}"
            );
        }
        let found = sandbox.look_up(inquiry(1)).await;
        assert!(matches!(found, Ok(LookupResult::Refunded(_))), "{found:?}");
        let mut other = order(1, "tok_ok");
        other.amount = Amount::new(1).unwrap();
        assert_eq!(
            sandbox.authorize(other).await,
            CallResult::Declined(Decline::BY_GATEWAY)
        );
    });
    assert_eq!(states(dir.path()), [(ChargeState::Refunded, 0)]);
    assert_eq!(sandbox.charges(), read_charges(dir.path()).unwrap());
}

#[test]
fn each_token_does_what_its_name_says() {
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::open(dir.path()).unwrap();
    run(async {
        // Card, what the first authorization is told ("" = nothing), and what is there then.
        let cards = [
            ("tok_ok", "approved", "authorized"),
            ("tok_slow_1", "approved", "authorized"),
            ("tok_declined", "declined", "declined"),
            ("tok_insufficient_funds", "declined", "declined"),
            ("tok_misspelt", "declined", "declined"),
            ("tok_auth_timeout", "", "authorized"),
            ("tok_auth_unknown", "unknown", "authorized"),
            ("tok_auth_lost", "", "nothing"),
            ("tok_auth_lost_1", "", "nothing"),
            ("tok_auth_busy_2", "retriable", "nothing"),
            ("tok_lookup_down_1", "unknown", "down"),
        ];
        for (number, (card, told, there)) in (1..).zip(cards) {
            let answer = soon(sandbox.authorize(order(number, card))).await;
            let word = answer.map_or("", |answer| answer.class().as_str());
            assert_eq!(word, told, "{card}");
            let found = match sandbox.look_up(inquiry(number)).await {
                Ok(LookupResult::Nothing) => "nothing",
                Ok(LookupResult::Authorized(_)) => "authorized",
                Ok(LookupResult::Declined(_)) => "declined",
                Err(Trouble::Unreachable) => "down",
                other => panic!("{card}: {other:?}"),
            };
            assert_eq!(found, there, "{card}");
        }
    });
}

#[test]
fn captures_and_voids_fail_as_often_as_the_token_says() {
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::open(dir.path()).unwrap();
    run(async {
        let captures = [
            ("tok_capture_timeout", &["", "approved"][..], true),
            ("tok_capture_unknown", &["unknown"], true),
            ("tok_capture_lost_1", &[""], false),
            (
                "tok_capture_busy_2",
                &["retriable", "retriable", "approved"],
                true,
            ),
            ("tok_capture_refused", &["declined", "declined"], false),
        ];
        for (number, (card, told, taken)) in (1..).zip(captures) {
            let authorization = authorized(&sandbox, number, card).await;
            for word in told {
                let answer = soon(sandbox.capture(claim(number, &authorization.id))).await;
                assert_eq!(answer.map_or("", |a| a.class().as_str()), *word, "{card}");
            }
            let found = sandbox.look_up(inquiry(number)).await.unwrap();
            assert_eq!(matches!(found, LookupResult::Captured(..)), taken, "{card}");
        }
        let voids = [
            ("tok_capture_refused", "approved", true),
            ("tok_void_timeout", "", true),
            ("tok_void_unknown", "unknown", true),
            ("tok_void_lost_1", "", false),
            ("tok_void_busy_1", "retriable", false),
        ];
        for (number, (card, told, done)) in (100..).zip(voids) {
            let authorization = authorized(&sandbox, number, card).await;
            let refused = sandbox.capture(claim(number, &authorization.id)).await;
            assert_eq!(refused, CallResult::Declined(capture_declined()), "{card}");
            let answer = soon(sandbox.void(claim(number, &authorization.id))).await;
            assert_eq!(answer.map_or("", |a| a.class().as_str()), told, "{card}");
            let found = sandbox.look_up(inquiry(number)).await.unwrap();
            assert_eq!(found == LookupResult::Voided, done, "{card}");
            let again = sandbox.void(claim(number, &authorization.id)).await;
            assert_eq!(again, CallResult::Approved(()), "{card}");
        }
    });
}

#[test]
fn refunds_fail_as_often_as_the_token_says() {
    let dir = TempDir::new().unwrap();
    let sandbox = Sandbox::open(dir.path()).unwrap();
    run(async {
        for (number, (card, told, there)) in (1..).zip([
            ("tok_ok", "approved", FoundRefund::Succeeded),
            ("tok_refund_timeout", "", FoundRefund::Succeeded),
            ("tok_refund_unknown", "unknown", FoundRefund::Succeeded),
            ("tok_refund_lost_1", "", FoundRefund::Nothing),
            ("tok_refund_busy_1", "retriable", FoundRefund::Nothing),
            ("tok_refund_refused", "declined", FoundRefund::Nothing),
        ]) {
            let authorization = authorized(&sandbox, number, card).await;
            sandbox.capture(claim(number, &authorization.id)).await;
            let answer = soon(sandbox.refund(refund(number, 1, 500))).await;
            assert_eq!(answer.map_or("", |a| a.class().as_str()), told, "{card}");
            let found = sandbox.look_up_refund(refund(number, 1, 500)).await;
            assert_eq!(found, Ok(there), "{card}");
        }
    });
}

#[test]
fn a_reference_that_is_closed_takes_nothing_any_more() {
    let dir = TempDir::new().unwrap();
    let close = AuthorizationClaim {
        authorization: None,
        ..claim(1, &AuthorizationId::parse("sa_1").unwrap())
    };
    for _ in 0..2 {
        let sandbox = Sandbox::open(dir.path()).unwrap();
        run(async {
            assert_eq!(sandbox.void(close.clone()).await, CallResult::Approved(()));
            let late = sandbox.authorize(order(1, "tok_ok")).await;
            assert_eq!(late, CallResult::Declined(Decline::BY_GATEWAY));
            assert_eq!(sandbox.look_up(inquiry(1)).await, Ok(LookupResult::Voided));
        });
        assert_eq!(states(dir.path()), [(ChargeState::Voided, 0)]);
    }
}

#[test]
fn its_books_outlive_it_and_a_torn_last_line() {
    let dir = TempDir::new().unwrap();
    let before = {
        let sandbox = Sandbox::open(dir.path()).unwrap();
        run(async {
            let authorization = authorized(&sandbox, 1, "tok_ok").await;
            sandbox.capture(claim(1, &authorization.id)).await;
            sandbox.refund(refund(1, 1, 500)).await;
            authorized(&sandbox, 2, "tok_capture_refused").await;
            sandbox.authorize(order(3, "tok_declined")).await;
        });
        sandbox.charges()
    };
    let whole = fs::read(path_in(dir.path())).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .unwrap()
        + 1;
    for cut in 0..=whole.len() {
        fs::write(path_in(dir.path()), &whole[..cut]).unwrap();
        let offline = read_charges(dir.path()).unwrap();
        let sandbox = Sandbox::open(dir.path()).unwrap();
        assert_eq!(sandbox.charges(), offline, "cut at {cut}");
        assert_eq!(offline == before, cut == whole.len(), "cut at {cut}");
        // And it goes on from there.
        run(authorized(&sandbox, 9, "tok_ok"));
        drop(sandbox);
        assert_eq!(read_charges(dir.path()).unwrap().len(), offline.len() + 1);
        assert!(cut < last || offline.len() >= 2);
    }
    fs::write(path_in(dir.path()), &whole).unwrap();
    let sandbox = Sandbox::open(dir.path()).unwrap();
    let authorization = run(authorized(&sandbox, 2, "tok_capture_refused"));
    let refused = run(sandbox.capture(claim(2, &authorization.id)));
    assert_eq!(refused, CallResult::Declined(capture_declined()));
}

/// The sandbox's own no to a capture.
fn capture_declined() -> Decline {
    Decline {
        by: DeclinedBy::Gateway,
        code: GatewayCode::parse("capture_declined"),
    }
}

#[test]
fn damage_before_the_last_line_is_no_end() {
    let dir = TempDir::new().unwrap();
    {
        let sandbox = Sandbox::open(dir.path()).unwrap();
        run(authorized(&sandbox, 1, "tok_ok"));
        run(authorized(&sandbox, 2, "tok_ok"));
    }
    let whole = fs::read(path_in(dir.path())).unwrap();
    for place in 0..whole.len() - 1 {
        let mut damaged = whole.clone();
        damaged[place] ^= 2;
        fs::write(path_in(dir.path()), &damaged).unwrap();
        let offline = read_charges(dir.path());
        let opened = Sandbox::open(dir.path());
        let refused = matches!(offline, Err(SandboxError::Damaged { .. }))
            && matches!(opened, Err(SandboxError::Damaged { .. }));
        assert!(refused, "byte {place}");
    }
    // A line that reads but does not follow is damage too.
    fs::write(path_in(dir.path()), &whole).unwrap();
    let line = whole.split_inclusive(|b| *b == b'\n').next_back().unwrap();
    let mut file = OpenOptions::new()
        .append(true)
        .open(path_in(dir.path()))
        .unwrap();
    file.write_all(line).unwrap();
    assert!(matches!(
        Sandbox::open(dir.path()),
        Err(SandboxError::Damaged { .. })
    ));
}

#[test]
fn no_ledger_is_no_charges() {
    let dir = TempDir::new().unwrap();
    assert_eq!(read_charges(dir.path()).unwrap(), []);
    assert!(!path_in(dir.path()).exists());
}
