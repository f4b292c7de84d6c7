//! A sale in a journal, as sinks get it, and how long one takes to catch up with it.

use super::{Bench, hold};
use holdfast::engine::command::{Buy, PaymentStep};
use holdfast::engine::metadata::Metadata;
use holdfast::ids::{AuthorizationId, CaptureId, CardToken, ProductId, ReceiptKeyId};
use holdfast::journal::{Audit, BuyOutcome, Journal};
use holdfast::money::Currency;
use holdfast::report::feed::{Backoff, FeedSettings, OnDiskFull, Sinks};
use std::path::Path;
use std::time::Duration;

const EVENTS: u64 = 1_000_000;

/// How many events there are to be: `HOLDFAST_BENCH_EVENTS`, or 1,000,000.
pub fn events_wanted() -> u64 {
    let wanted = std::env::var("HOLDFAST_BENCH_EVENTS").ok();
    wanted.map_or(EVENTS, |text| text.parse().expect("a whole number"))
}

/// A sale: of ten attempts six buy, two hold, two are refused; how many events that makes.
pub fn fill(bench: &Bench, wanted: u64) -> u64 {
    let journal = &bench.journal;
    let nothing = ProductId::parse("nothing").expect("an id");
    let mut product = bench.fresh_product();
    let mut number = 0_u64;
    while journal.figures().status().log.records < wanted {
        for _ in 0..10_000 {
            number += 1;
            if number.is_multiple_of(2_000_000) {
                product = bench.fresh_product();
            }
            match number % 10 {
                0..6 => buy(bench, &product, number),
                6..8 => drop(journal.place_hold(&hold(&product, number))),
                _ => drop(journal.place_hold(&hold(&nothing, number))),
            }
        }
    }
    let (_, appended) = journal.reads().products();
    journal.wait_durable(appended).expect("the log is well");
    journal.figures().status().log.records
}

fn buy(bench: &Bench, product: &ProductId, number: u64) {
    let held = hold(product, number);
    let command = Buy {
        origin: held.origin,
        user: held.user,
        product: held.product,
        quantity: 1,
        currency: Currency::parse("USD").expect("listed"),
        card: CardToken::parse("tok_ok").expect("a token"),
        promotion: None,
        hold: None,
        metadata: Metadata::default(),
    };
    let submitted = bench.journal.buy(&command).expect("the log is well");
    let Ok(BuyOutcome::PaymentStarted(purchase)) = submitted.outcome else {
        panic!("it was bought: {:?}", submitted.outcome);
    };
    let quote = bench
        .journal
        .reads()
        .purchase(purchase)
        .expect("it was begun")
        .0
        .quote;
    let steps = [
        PaymentStep::Authorized {
            authorization: AuthorizationId::parse(&format!("auth_{number}")).expect("an id"),
            capture_before: None,
        },
        PaymentStep::StartCapture,
        PaymentStep::captured(
            quote,
            CaptureId::parse(&format!("cap_{number}")).expect("an id"),
            ReceiptKeyId::parse("r1").expect("an id"),
        ),
    ];
    for step in steps {
        let recorded = bench.journal.record(purchase, step, Audit::Nothing);
        recorded.expect("it goes");
    }
}

/// How sinks are run.
pub fn feed_settings(scratch: &Path) -> FeedSettings {
    FeedSettings {
        data_dir: scratch.to_owned(),
        backoff: Backoff::new(100, 1_000),
        deliver_timeout: Duration::from_secs(30),
        dead_letters_bytes_max: 1 << 20,
        on_disk_full: OnDiskFull::RefuseSales,
        give_up_below_bytes: 0,
        segment_bytes: 64 << 20,
    }
}

/// Waits until the one sink has everything.
pub fn until_caught_up(sinks: &Sinks, journal: &Journal) {
    let durable = journal.tail().durable_lsn();
    loop {
        let status = sinks.status().remove(0);
        if status.cursor >= durable {
            assert_eq!(status.rejected, 0, "{status:?}");
            return;
        }
        assert!(status.failure.is_none(), "{status:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
