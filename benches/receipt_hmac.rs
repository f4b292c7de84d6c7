//! Receipts: making one from a captured purchase (canonical text, SHA-256, HMAC), writing it as
//! JSON, and verifying it, from its fields and from its JSON; and what an Ed25519 signature adds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast::engine::event::{Quote, ReceiptSigner};
use holdfast::engine::lifecycle::{PurchaseState, Step};
use holdfast::engine::metadata::Metadata;
use holdfast::engine::view::{HistoryEntry, PurchaseView};
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, Lsn, ProductId, PurchaseId, PurchaseTag, ReceiptKeyId,
    ShardId, UserId,
};
use holdfast::money::{Amount, Currency, Price};
use holdfast::receipts::{Ed25519Key, ReceiptKey, Sealer};
use holdfast::time::UnixMs;
use std::hint::black_box;

fn receipt_hmac(criterion: &mut Criterion) {
    let key_id = ReceiptKeyId::parse("r1").expect("an id");
    let key = ReceiptKey::new(key_id, &[7; 32]).expect("the secret is long enough");
    let sealer = Sealer::new(vec![key]).expect("one key");
    let purchase = captured();
    let seal = |purchase: &PurchaseView| {
        let receipt = sealer.receipt(purchase).expect("the key is there");
        receipt.expect("it is captured")
    };
    let receipt = seal(&purchase);
    let mut json = Vec::new();
    receipt.write_json(&mut json);
    assert!(sealer.verify_json(&json).valid, "a receipt verifies");

    let mut group = criterion.benchmark_group("receipt_hmac");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal", |bencher| {
        bencher.iter(|| seal(black_box(&purchase)));
    });
    group.bench_function("seal_and_write", |bencher| {
        let mut out = Vec::with_capacity(1_024);
        bencher.iter(|| {
            out.clear();
            seal(black_box(&purchase)).write_json(&mut out);
            out.len()
        });
    });
    group.bench_function("verify", |bencher| {
        bencher.iter(|| sealer.verify(black_box(&receipt)));
    });
    group.bench_function("verify_json", |bencher| {
        bencher.iter(|| sealer.verify_json(black_box(&json)));
    });
    let id = ReceiptKeyId::parse("e1").expect("an id");
    let key = Ed25519Key::from_seed(id, &[7; 32]).expect("every seed makes a key");
    let key_id = ReceiptKeyId::parse("r1").expect("an id");
    let seal_key = ReceiptKey::new(key_id, &[7; 32]).expect("the secret is long enough");
    let sealer = Sealer::new(vec![seal_key]).expect("one key");
    let both = sealer.with_signatures(vec![key]).expect("one key");
    let sign = || both.receipt(black_box(&purchase)).expect("it is there");
    let signed = sign().expect("it is captured");
    assert!(signed.ed25519.is_some() && both.verify(&signed).valid);
    group.bench_function("seal_and_sign", |bencher| bencher.iter(sign));
    group.bench_function("verify_both", |bencher| {
        bencher.iter(|| both.verify(black_box(&signed)));
    });
    group.finish();
}

/// A purchase as its capture left it.
fn captured() -> PurchaseView {
    let at = |ms| UnixMs::new(1_800_000_000_000 + ms);
    let steps = [
        Step::HoldPlaced,
        Step::PaymentStarted,
        Step::PaymentAuthorized,
        Step::CaptureStarted,
        Step::PaymentCaptured,
    ];
    let history = (0..).zip(steps).map(|(number, step)| HistoryEntry {
        at: at(number),
        today: at(number),
        step,
        lsn: Lsn(number * 256),
    });
    PurchaseView {
        purchase: PurchaseId::new(ShardId::new(7), 1, PurchaseTag(0x5a17_c0de_5a17_c0de)),
        user: UserId::parse("buyer-0001").expect("an id"),
        product: ProductId::parse("drop-1").expect("an id"),
        quantity: 2,
        quote: Quote {
            currency: Currency::parse("USD").expect("listed"),
            unit_price: Price::new(1_999).expect("in range"),
            discount: Amount::ZERO,
            amount: Amount::new(3_998).expect("not negative"),
        },
        refunded: Amount::ZERO,
        charged_back: Amount::ZERO,
        disputes: Vec::new(),
        promotion: None,
        state: PurchaseState::Captured,
        reason: None,
        expires_at: at(300_000),
        card: CardToken::parse("tok_ok"),
        authorization: AuthorizationId::parse("auth_0001"),
        capture_before: None,
        capture: CaptureId::parse("cap_0001"),
        captured: None,
        receipt_key: ReceiptKeyId::parse("r1"),
        signing_key: ReceiptKeyId::parse("e1").map(ReceiptSigner::at_capture),
        request: None,
        declines: Vec::new(),
        review: None,
        void_deadline: None,
        refunds: 0,
        pending_refund: None,
        history: history.collect(),
        metadata: Metadata::default(),
    }
}

criterion_group!(benches, receipt_hmac);
criterion_main!(benches);
