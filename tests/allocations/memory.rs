//! Bytes in memory for each hold, captured purchase, buyer, key and velocity key, indexes included,
//! against committed bounds. Counted by the allocator on the thread that submits, so neither the load
//! nor the speed of the machine changes a figure.
//!
//! `HOLDFAST_MEMORY_COUNT` measures with another number of each: `HOLDFAST_MEMORY_COUNT=10000000 cargo
//! test --release --test allocations memory -- --nocapture`. The bounds hold for the default only,
//! because tables grow by doubling.

use crate::live_bytes;
use holdfast::engine::cells::{AttemptInstant, VelocityTable};
use holdfast::engine::command::{Buy, PaymentStep, PlaceHold};
use holdfast::engine::event::{
    Active, AdminAct, IdempotencyKey, Origin, ProductSet, ReceiptSigner,
};
use holdfast::engine::metadata::Metadata;
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, Digest16, KeyOwner, ProductId, ReceiptKeyId, RequestId,
    UserId,
};
use holdfast::journal::{Audit, BuyOutcome, Journal, JournalOptions};
use holdfast::money::{Currency, Price};
use std::sync::Arc;

/// How many of each, unless the environment says otherwise.
const COUNT: u64 = 10_000;

/// The product that everybody gets, and the one that nobody gets.
const HOT: &str = "hot";
const NONE: &str = "none";
const UNITS_MAX: u32 = 2_097_151;
const BEGIN_MS: u64 = 1_800_000_000_000;

/// At most so many bytes each.
const BOUNDS: [(&str, u64); 5] = [
    ("hold with buyer and key", 770),
    ("captured purchase with buyer and key", 1310),
    ("buyer with key", 535),
    ("another key", 175),
    ("velocity key", 168),
];

#[test]
fn what_is_kept_takes_no_more_memory_than_before() {
    let wanted = std::env::var("HOLDFAST_MEMORY_COUNT").ok();
    let count = wanted.as_ref().map_or(COUNT, |it| it.parse().unwrap());
    let figures = [
        each(count, |sale, number| sale.hold(number, Some(key(number)))),
        each(count, MeasuredJournal::buy),
        each(count, |sale, number| sale.refuse(number, Some(key(number)))),
        key_bytes(count),
        velocity_bytes(count),
    ];
    let mut grown = Vec::new();
    for ((what, bound), bytes) in BOUNDS.into_iter().zip(figures) {
        println!("{what:40} {bytes:6} bytes, at most {bound}");
        if bytes > bound {
            grown.push(format!("{what}: {bytes} bytes, at most {bound}"));
        }
    }
    assert!(wanted.is_some() || grown.is_empty(), "{}", grown.join("\n"));
}

/// Bytes that `one` leaves in a journal of its own, a call.
fn each(count: u64, one: impl Fn(&MeasuredJournal, u64)) -> u64 {
    let sale = MeasuredJournal::open();
    grown(count, || (0..count).for_each(|number| one(&sale, number)))
}

/// A second key for each buyer.
fn key_bytes(count: u64) -> u64 {
    let sale = MeasuredJournal::open();
    let refuse = |keys: u64| {
        (0..count).for_each(|number| sale.refuse(number, Some(key(keys + number))));
    };
    refuse(0);
    grown(count, || refuse(count))
}

/// A full table of attempts.
fn velocity_bytes(count: u64) -> u64 {
    let mut table = None::<VelocityTable>;
    grown(count, || {
        let table = table.insert(VelocityTable::new(usize::try_from(count).unwrap()));
        for number in 0..count {
            let key = u128::from(number) << 64 | u128::from(scattered(number));
            table.record(key, AttemptInstant::at_lsn(BEGIN_MS, number), 16);
        }
    })
}

fn grown(count: u64, work: impl FnOnce()) -> u64 {
    let before = live_bytes();
    work();
    u64::try_from(live_bytes() - before).unwrap() / count
}

/// A journal with a product that is for sale and one that is sold out.
struct MeasuredJournal {
    journal: Arc<Journal>,
    _directory: tempfile::TempDir,
}

impl MeasuredJournal {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = JournalOptions::new(directory.path());
        let journal = Journal::open(options, &mut |_| {}).unwrap();
        for (product, stock) in [(HOT, UNITS_MAX), (NONE, 0)] {
            journal
                .catalogue()
                .put_product(terms(product, stock))
                .unwrap();
        }
        let sale = Self {
            journal,
            _directory: directory,
        };
        // What is made once: the thread's buffers, and the counters of the products.
        sale.hold(u64::MAX, None);
        sale.refuse(u64::MAX, None);
        sale
    }

    fn hold(&self, number: u64, key: Option<IdempotencyKey>) {
        let held = self.journal.place_hold(&hold(HOT, number, key)).unwrap();
        assert!(held.outcome.is_ok(), "{held:?}");
    }

    fn refuse(&self, number: u64, key: Option<IdempotencyKey>) {
        let refused = self.journal.place_hold(&hold(NONE, number, key)).unwrap();
        assert!(refused.outcome.is_err(), "{refused:?}");
    }

    /// A purchase as the sandbox gateway makes it.
    fn buy(&self, number: u64) {
        let bought = self.journal.buy(&buy(number)).unwrap();
        let Ok(BuyOutcome::PaymentStarted(purchase)) = bought.outcome else {
            panic!("{bought:?}");
        };
        let authorization = AuthorizationId::parse(&format!("sa_{number:016x}")).unwrap();
        let (view, _) = self.journal.reads().purchase(purchase).unwrap();
        let steps = [
            PaymentStep::Authorized {
                authorization,
                capture_before: None,
            },
            PaymentStep::StartCapture,
            PaymentStep::Captured {
                capture: CaptureId::parse(&format!("sc_{number:016x}")).unwrap(),
                amount: view.quote.amount,
                currency: view.quote.currency,
                receipt_key: ReceiptKeyId::parse("r1").unwrap(),
                signing_key: Some(ReceiptSigner::at_capture(
                    ReceiptKeyId::parse("s1").unwrap(),
                )),
            },
        ];
        for step in steps {
            self.journal.record(purchase, step, Audit::Nothing).unwrap();
        }
    }
}

fn terms(product: &str, stock: u32) -> ProductSet {
    ProductSet {
        product: ProductId::parse(product).unwrap(),
        name: product.to_owned(),
        prices: vec![(Currency::parse("USD").unwrap(), Price::new(1_999).unwrap())],
        stock,
        per_user_limit: None,
        starts_at: None,
        ends_at: None,
        active: Active::Yes,
        hold_ttl_ms: None,
        reward_tokens: 0,
        by: AdminAct {
            request: RequestId(0),
            owner: KeyOwner::parse("admin").unwrap(),
        },
    }
}

fn hold(product: &str, number: u64, key: Option<IdempotencyKey>) -> PlaceHold {
    PlaceHold {
        origin: origin(number, key),
        user: user(number),
        product: ProductId::parse(product).unwrap(),
        quantity: 1,
        currency: None,
        promotion: None,
        metadata: Metadata::default(),
    }
}

fn buy(number: u64) -> Buy {
    Buy {
        origin: origin(number, Some(key(number))),
        user: user(number),
        product: ProductId::parse(HOT).unwrap(),
        quantity: 1,
        currency: Currency::parse("USD").unwrap(),
        card: CardToken::parse(&format!("tok_{number:020}")).unwrap(),
        promotion: None,
        hold: None,
        metadata: Metadata::default(),
    }
}

fn origin(number: u64, key: Option<IdempotencyKey>) -> Origin {
    Origin {
        request: RequestId(number),
        owner: KeyOwner::parse("shop").unwrap(),
        key,
        ip: None,
        device: None,
    }
}

fn user(number: u64) -> UserId {
    UserId::parse(&format!("user-{number:015}")).unwrap()
}

fn key(number: u64) -> IdempotencyKey {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&scattered(number).to_le_bytes());
    digest[8..].copy_from_slice(&number.to_le_bytes());
    IdempotencyKey {
        scope: Digest16(digest),
        fingerprint: Digest16(digest),
    }
}

fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
